/*
 * The public view of a Redis URL, for those who open the socket themselves.
 */
#include <reeve/sys/protocol.h>

#include "base/bytes.h"
#include "wire/url.h"

struct reeve_redis_url {
    reeve__url url;
    bool allow_eviction;
};

reeve_rc reeve_redis_url_parse(reeve_redis_url **out, reeve_env *env,
                               const char *text, reeve_error *err) {
    static const char *const extras[] = { "allow_eviction", NULL };
    *out = NULL;
    reeve_redis_url *url = reeve__calloc(env, 1, sizeof(*url));
    if (!url) {
        return reeve__fail_nomem(err);
    }
    reeve_rc rc = reeve__url_parse(&url->url, env, text, extras, err);
    if (rc == REEVE_OK) {
        rc = reeve__url_extra_bool(&url->allow_eviction, &url->url,
                                   "allow_eviction", false, err);
    }
    if (rc < 0) {
        reeve__url_dispose(&url->url);
        reeve__free(env, url);
        return rc;
    }
    url->url.env = reeve__env_ref(env);
    *out = url;
    return REEVE_OK;
}

reeve_rc reeve_redis_url_read(reeve_redis_url_view *out,
                              const reeve_redis_url *url, reeve_error *err) {
    const reeve__url *parts = &url->url;
    reeve_redis_url_view view = {
        .size = (uint32_t)sizeof(view),
        .port = parts->port,
        .host = parts->host,
        .path = parts->path,
        .label = parts->label,
        .user = parts->user,
        .password = parts->password,
        .client_name = parts->client_name,
        .tls_ca = parts->tls_ca,
        .tls_cert = parts->tls_cert,
        .tls_key = parts->tls_key,
        .tls_server_name = parts->tls_server_name,
        .database = parts->db,
        .tls = parts->tls,
        .tls_verify = parts->tls_verify,
        .allow_eviction = url->allow_eviction,
        .connect_timeout_ms = parts->connect_timeout_ms,
    };
    return reeve__struct_store(out, &view, sizeof(view), "reeve_redis_url_view",
                               err);
}

void reeve_redis_url_free(reeve_redis_url *url) {
    if (!url) {
        return;
    }
    reeve_env *env = url->url.env;
    reeve__url_dispose(&url->url);
    reeve__free(env, url);
    reeve_env_free(env);
}
