/*
 * Arbitrary text as a Redis URL. What parses has its invariants; what is
 * refused has a message of one line and leaves a disposable value.
 */
#include "wire/url.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const reeve__url *url) {
    if ((url->host == NULL) == (url->path == NULL) || !url->label)
        abort();
    if (url->port < 1 || url->port > 65535 || url->db < 0 ||
        url->db > REEVE__URL_DB_MAX || url->connect_timeout_ms < 1)
        abort();
    if (url->host && strlen(url->host) > REEVE__URL_HOST_BYTES_MAX)
        abort();
    if (url->path && strlen(url->path) > REEVE__URL_PATH_BYTES_MAX)
        abort();
    if (url->path && url->tls)
        abort();
    if (!url->tls_cert != !url->tls_key)
        abort();
    for (size_t i = 0; i < url->extra_count; i++)
        if (reeve__url_extra_get(url, url->extras[i].name) !=
            url->extras[i].value)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const extra_names[] = { "allow_eviction", "x", NULL };
    char *text = malloc(size + 1);
    reeve__url url;
    reeve_error err = { 0 };
    bool flag = false;
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    reeve_rc rc = reeve__url_parse(&url, NULL, text, extra_names, &err);
    if (rc == 0) {
        check(&url);
        (void)reeve__url_extra_bool(&flag, &url, "x", false, &err);
    } else if (!err.message[0] || strchr(err.message, '\n')) {
        abort();
    }
    reeve__url_dispose(&url);
    free(text);
    return 0;
}
