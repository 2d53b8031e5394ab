/*
 * TLS: names, dates, authorities, client certificates, broken handshakes and a
 * flood both ways. Certificates are made at run time in a temporary folder.
 */
#include "wire/conn.h"

#include "base/bytes.h"
#include "support/fault_server.h"

#include <arpa/inet.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#define LONG_MS 60000
#define SHORT_MS 20
#define FLOOD_BYTES ((size_t)10 << 20)
#define DAY_S (24L * 3600)

static char folder[] = "/tmp/reeve-test-tls-XXXXXX";

/* ---- certificates -------------------------------------------------------- */

typedef struct identity {
    EVP_PKEY *key;
    X509 *certificate;
} identity;

typedef struct recipe {
    const char *name; /* of the files NAME.pem and NAME.key, and the subject */
    const char *alternatives; /* "DNS:a,IP:b" or NULL */
    const identity *issuer;   /* NULL = self-signed authority */
    long from_s, until_s;     /* from now */
} recipe;

static const char *path_of(char out[128], const char *name,
                           const char *suffix) {
    snprintf(out, 128, "%s/%s%s", folder, name, suffix);
    return out;
}

static void add_extension(X509 *certificate, int nid, const char *value) {
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(certificate, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static void write_pem(const identity *id, const char *name) {
    char path[128];
    FILE *file = fopen(path_of(path, name, ".pem"), "w");
    assert_non_null(file);
    assert_int_equal(PEM_write_X509(file, id->certificate), 1);
    assert_int_equal(fclose(file), 0);
    file = fopen(path_of(path, name, ".key"), "w");
    assert_non_null(file);
    assert_int_equal(
        PEM_write_PrivateKey(file, id->key, NULL, NULL, 0, NULL, NULL), 1);
    assert_int_equal(fclose(file), 0);
}

static identity make_identity(const recipe *how) {
    static long serial = 1;
    identity id = { EVP_EC_gen("P-256"), X509_new() };
    X509 *certificate = id.certificate;
    assert_non_null(id.key);
    assert_int_equal(X509_set_version(certificate, 2), 1);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial++);
    X509_gmtime_adj(X509_getm_notBefore(certificate), how->from_s);
    X509_gmtime_adj(X509_getm_notAfter(certificate), how->until_s);
    X509_set_pubkey(certificate, id.key);
    X509_NAME *subject = X509_get_subject_name(certificate);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                               (const unsigned char *)how->name, -1, -1, 0);
    const identity *issuer = how->issuer ? how->issuer : &id;
    X509_set_issuer_name(certificate,
                         X509_get_subject_name(issuer->certificate));
    if (!how->issuer)
        add_extension(certificate, NID_basic_constraints, "critical,CA:TRUE");
    if (how->alternatives)
        add_extension(certificate, NID_subject_alt_name, how->alternatives);
    assert_true(X509_sign(certificate, issuer->key, EVP_sha256()) > 0);
    write_pem(&id, how->name);
    return id;
}

static const char *const file_names[] = { "authority", "stranger", "right",
                                          "wrong",     "old",      "client",
                                          "plain" };

/* The system's policy may refuse old protocols before we do: switch it off. */
static void allow_everything(void) {
    char path[128];
    FILE *file = fopen(path_of(path, "openssl", ".cnf"), "w");
    assert_non_null(file);
    fputs("openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n"
          "[c]\nCipherString = DEFAULT@SECLEVEL=0\nMinProtocol = TLSv1\n",
          file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(setenv("OPENSSL_CONF", path, 1), 0);
}

static int make_all(void **state) {
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    allow_everything(); /* before OpenSSL is first used */
    const long year = 365 * DAY_S;
    recipe how = { "authority", NULL, NULL, -DAY_S, year };
    identity authority = make_identity(&how);
    how.name = "stranger";
    identity stranger = make_identity(&how);
    const recipe leaves[] = {
        { "right", "DNS:localhost,DNS:*.right.example,IP:127.0.0.1", &authority,
          -DAY_S, year },
        { "wrong", "DNS:other.example", &authority, -DAY_S, year },
        { "old", "IP:127.0.0.1", &authority, -2 * DAY_S, -DAY_S },
        { "client", NULL, &authority, -DAY_S, year },
        { "plain", NULL, &authority, -DAY_S, year },
    };
    for (size_t i = 0; i < sizeof leaves / sizeof leaves[0]; i++) {
        identity leaf = make_identity(&leaves[i]);
        EVP_PKEY_free(leaf.key);
        X509_free(leaf.certificate);
    }
    EVP_PKEY_free(authority.key);
    X509_free(authority.certificate);
    EVP_PKEY_free(stranger.key);
    X509_free(stranger.certificate);
    return 0;
}

static int remove_all(void **state) {
    char path[128];
    (void)state;
    for (size_t i = 0; i < sizeof file_names / sizeof file_names[0]; i++) {
        unlink(path_of(path, file_names[i], ".pem"));
        unlink(path_of(path, file_names[i], ".key"));
    }
    unlink(path_of(path, "openssl", ".cnf"));
    return rmdir(folder);
}

/* ---- a TLS server for one connection ------------------------------------- */

typedef struct tls_server {
    const char *name; /* of its certificate */
    bool wants_client;
    bool floods;
    int max_version; /* 0 = any */
    int listen_fd;
    int port;
    int stop_fds[2];
    char sni[64]; /* what the client asked for */
    pthread_t thread;
} tls_server;

static SSL_CTX *server_context(const tls_server *server) {
    char path[128];
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    assert_non_null(ctx);
    SSL_CTX_use_certificate_file(ctx, path_of(path, server->name, ".pem"),
                                 SSL_FILETYPE_PEM);
    SSL_CTX_use_PrivateKey_file(ctx, path_of(path, server->name, ".key"),
                                SSL_FILETYPE_PEM);
    if (server->max_version) {
        SSL_CTX_set_security_level(ctx, 0);
        SSL_CTX_set_min_proto_version(ctx, 0);
        SSL_CTX_set_max_proto_version(ctx, server->max_version);
    }
    if (server->wants_client) {
        SSL_CTX_load_verify_locations(ctx, path_of(path, "authority", ".pem"),
                                      NULL);
        SSL_CTX_set_verify(
            ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    }
    return ctx;
}

static bool flood(SSL *ssl) {
    size_t size = FLOOD_BYTES;
    size_t done = 0;
    char *block = malloc(size);
    memset(block, 'x', size);
    bool fine = SSL_write_ex(ssl, block, size, &done) == 1;
    for (size_t got = 0; fine && got < size; got += done)
        fine = SSL_read_ex(ssl, block, size - got, &done) == 1;
    free(block);
    return fine;
}

static void talk(tls_server *server, SSL *ssl) {
    char block[4096];
    size_t got = 0;
    size_t done = 0;
    const char *sni = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    snprintf(server->sni, sizeof server->sni, "%s", sni ? sni : "");
    if (server->floods && !flood(ssl))
        return;
    while (SSL_read_ex(ssl, block, sizeof block, &got) == 1)
        if (SSL_write_ex(ssl, block, got, &done) != 1)
            return;
}

static void *serve(void *arg) {
    tls_server *server = arg;
    struct pollfd polled[2] = {
        { .fd = server->listen_fd, .events = POLLIN },
        { .fd = server->stop_fds[0], .events = POLLIN },
    };
    /* on this thread only: OpenSSL's own socket writes do raise it */
    sigset_t pipe_only;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_only, NULL);
    poll(polled, 2, -1);
    if (polled[1].revents)
        return NULL;
    int fd = accept(server->listen_fd, NULL, NULL);
    SSL_CTX *ctx = server_context(server);
    SSL *ssl = SSL_new(ctx);
    SSL_set_fd(ssl, fd);
    if (SSL_accept(ssl) == 1)
        talk(server, ssl);
    else /* let the alert arrive before a reset could */
        shutdown(fd, SHUT_WR);
    char sink[512];
    while (recv(fd, sink, sizeof sink, 0) > 0)
        continue;
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    close(fd);
    return NULL;
}

static void start(tls_server *server) {
    struct sockaddr_in address = { .sin_family = AF_INET };
    socklen_t size = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server->listen_fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(server->listen_fd >= 0);
    assert_int_equal(
        bind(server->listen_fd, (const struct sockaddr *)&address, size), 0);
    assert_int_equal(
        getsockname(server->listen_fd, (struct sockaddr *)&address, &size), 0);
    assert_int_equal(listen(server->listen_fd, 8), 0);
    assert_int_equal(pipe(server->stop_fds), 0);
    server->port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&server->thread, NULL, serve, server), 0);
}

/* Every connection must be closed by now. */
static void stop(tls_server *server) {
    assert_int_equal(write(server->stop_fds[1], "", 1), 1);
    pthread_join(server->thread, NULL);
    close(server->listen_fd);
    close(server->stop_fds[0]);
    close(server->stop_fds[1]);
}

/* ---- the client's side --------------------------------------------------- */

static int64_t in_ms(int64_t span_ms) {
    return reeve__by_ns(NULL, span_ms);
}

static reeve_rc dial(reeve__conn **out, const char *host, int port,
                     const char *query, int64_t by_ns, reeve_error *err) {
    char text[1024];
    reeve__url url;
    snprintf(text, sizeof text, "rediss://%s:%d?%s", host, port, query);
    reeve_rc rc = reeve__url_parse(&url, NULL, text, NULL, err);
    if (!rc)
        rc = reeve__conn_open(out, NULL, &url, by_ns, -1, err);
    reeve__url_dispose(&url);
    return rc;
}

static const char *trust(char out[640], const char *authority,
                         const char *more) {
    snprintf(out, 640, "tls_ca=%s/%s.pem%s", folder, authority, more);
    return out;
}

static reeve_rc ping(reeve__conn *conn, reeve_error *err) {
    reeve__reply_reader *reader = NULL;
    reeve__reply *reply = NULL;
    size_t sent = 0;
    assert_int_equal(reeve__reply_reader_new(&reader, NULL, NULL, NULL), 0);
    reeve_rc rc = reeve__conn_write(&sent, conn, reeve_bytes_of("+PONG\r\n"),
                                    in_ms(LONG_MS), -1, err);
    if (!rc)
        rc = reeve__conn_reply(&reply, conn, reader, in_ms(LONG_MS), -1, err);
    if (!rc)
        assert_true(reeve__reply_is_status(reply, "PONG"));
    reeve__reply_reader_free(reader);
    return rc;
}

/* Connects and exchanges one message. */
static reeve_rc visit(tls_server *server, const char *host, const char *query,
                      reeve_error *err) {
    reeve__conn *conn = NULL;
    start(server);
    reeve_rc rc = dial(&conn, host, server->port, query, in_ms(LONG_MS), err);
    if (!rc) {
        assert_true(reeve__conn_is_tls(conn));
        rc = ping(conn, err);
    }
    reeve__conn_close(conn);
    stop(server);
    return rc;
}

static void assert_welcome(tls_server server, const char *host,
                           const char *query, const char *sni) {
    reeve_error err;
    if (visit(&server, host, query, &err))
        fail_msg("%s", err.message);
    assert_string_equal(server.sni, sni);
}

static void assert_refused(tls_server server, const char *host,
                           const char *query, const char *says) {
    reeve_error err;
    reeve_rc rc = visit(&server, host, query, &err);
    if (rc != REEVE_E_TLS || !strstr(err.message, says))
        fail_msg("%d: %s", (int)rc, rc ? err.message : "");
}

/* ---- tests --------------------------------------------------------------- */

static void accepts_the_right_certificate(void **state) {
    char query[640];
    const tls_server right = { .name = "right" };
    (void)state;
    trust(query, "authority", "");
    assert_welcome(right, "127.0.0.1", query, "");
    assert_welcome(right, "localhost", query, "localhost");
    assert_welcome(
        right, "127.0.0.1",
        trust(query, "authority", "&tls_server_name=a.right.example"),
        "a.right.example");
    assert_welcome(
        (tls_server){ .name = "right", .max_version = TLS1_2_VERSION },
        "localhost", trust(query, "authority", ""), "localhost");
}

static void refuses_a_wrong_name(void **state) {
    char query[640];
    char says[128];
    (void)state;
    trust(query, "authority", "");
    snprintf(says, sizeof says, "is for 'other.example', not '127.0.0.1'");
    assert_refused((tls_server){ .name = "wrong" }, "127.0.0.1", query, says);
    assert_refused((tls_server){ .name = "wrong" }, "localhost", query,
                   "is for 'other.example', not 'localhost'");
    assert_refused((tls_server){ .name = "plain" }, "localhost", query,
                   "is for 'plain', not 'localhost'");
    trust(query, "authority", "&tls_server_name=b.example");
    assert_refused((tls_server){ .name = "right" }, "127.0.0.1", query,
                   "is for 'localhost', not 'b.example'");
}

static void refuses_an_expired_certificate(void **state) {
    char query[640];
    (void)state;
    assert_refused((tls_server){ .name = "old" }, "127.0.0.1",
                   trust(query, "authority", ""), "certificate has expired");
}

static void refuses_an_unknown_authority(void **state) {
    char query[640];
    (void)state;
    assert_refused((tls_server){ .name = "right" }, "127.0.0.1",
                   trust(query, "stranger", ""),
                   "unable to get local issuer certificate");
    /* the system's authorities do not know ours either */
    assert_refused((tls_server){ .name = "right" }, "127.0.0.1", "",
                   "unable to get local issuer certificate");
}

static void verifies_nothing_when_told_so(void **state) {
    (void)state;
    assert_welcome((tls_server){ .name = "wrong" }, "127.0.0.1",
                   "tls_verify=no", "");
    assert_welcome((tls_server){ .name = "old" }, "localhost", "tls_verify=no",
                   "localhost");
}

static void shows_its_own_certificate(void **state) {
    char query[640];
    char more[256];
    (void)state;
    snprintf(more, sizeof more, "&tls_cert=%s/client.pem&tls_key=%s/client.key",
             folder, folder);
    const tls_server strict = { .name = "right", .wants_client = true };
    assert_welcome(strict, "127.0.0.1", trust(query, "authority", more), "");
    assert_refused(strict, "127.0.0.1", trust(query, "authority", ""),
                   "alert certificate required");
}

static void refuses_old_protocols(void **state) {
    char query[640];
    reeve_error err;
    (void)state;
    tls_server old = { .name = "right", .max_version = TLS1_1_VERSION };
    assert_int_equal(
        visit(&old, "127.0.0.1", trust(query, "authority", ""), &err),
        REEVE_E_TLS);
}

static void names_unusable_files(void **state) {
    static const fault_step steps[] = { FAULT_HOLD };
    const fault_script script = FAULT_SCRIPT(steps);
    static const char *const queries[] = {
        "tls_ca=/nowhere.pem",
        "tls_verify=no&tls_cert=/nowhere.pem&tls_key=/nowhere.key",
    };
    static const char *const says[] = { "tls: tls_ca /nowhere.pem: ",
                                        "tls: tls_cert /nowhere.pem: " };
    char query[640];
    reeve__conn *conn = NULL;
    reeve_error err;
    (void)state;
    fault_server *server = fault_server_start(NULL, &script, 1);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(dial(&conn, "127.0.0.1", fault_server_port(server),
                              queries[i], in_ms(LONG_MS), &err),
                         REEVE_E_INVALID);
        assert_int_equal(strncmp(err.message, says[i], strlen(says[i])), 0);
    }
    snprintf(query, sizeof query,
             "tls_verify=no&tls_cert=%s/client.pem&tls_key=%s/right.key",
             folder, folder);
    assert_int_equal(dial(&conn, "127.0.0.1", fault_server_port(server), query,
                          in_ms(LONG_MS), &err),
                     REEVE_E_INVALID);
    assert_non_null(strstr(err.message, "tls_key"));
    fault_server_stop(server);
}

static void survives_a_broken_handshake(void **state) {
    static const fault_step steps[][2] = {
        { FAULT_ANY, FAULT_DROP },
        { FAULT_ANY, FAULT_RESET },
        { FAULT_TEXT("-ERR plain text\r\n"), FAULT_HOLD },
        { FAULT_HOLD, FAULT_DROP },
    };
    static const struct {
        int32_t code;
        const char *says;
    } want[] = {
        { REEVE_E_NET, " closed the connection" },
        { REEVE_E_NET, "connection reset by peer" },
        { REEVE_E_TLS, "tls: 127.0.0.1:" },
        { REEVE_E_TIMEOUT, "no tls handshake in time" },
    };
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        const fault_script script = FAULT_SCRIPT(steps[i]);
        fault_server *server = fault_server_start(NULL, &script, 1);
        reeve__conn *conn = NULL;
        reeve_error err;
        reeve_rc rc = dial(&conn, "127.0.0.1", fault_server_port(server), "",
                           in_ms(i == 3 ? SHORT_MS : LONG_MS), &err);
        if (rc != want[i].code || !strstr(err.message, want[i].says))
            fail_msg("case %zu: %d %s", i, (int)rc, rc ? err.message : "");
        assert_null(conn);
        fault_server_stop(server);
    }
}

static void does_not_deadlock_on_two_floods(void **state) {
    char query[640];
    reeve__conn *conn = NULL;
    reeve_error err;
    size_t sent = 0;
    size_t got = 0;
    (void)state;
    tls_server server = { .name = "right", .floods = true };
    start(&server);
    assert_int_equal(dial(&conn, "127.0.0.1", server.port,
                          trust(query, "authority", ""), in_ms(LONG_MS), NULL),
                     0);
    char *block = calloc(1, FLOOD_BYTES);
    if (reeve__conn_write(&sent, conn, (reeve_bytes){ block, FLOOD_BYTES },
                          in_ms(LONG_MS), -1, &err))
        fail_msg("%s", err.message);
    while (got < FLOOD_BYTES) {
        reeve_bytes bytes;
        if (reeve__conn_read(&bytes, conn, in_ms(LONG_MS), -1, &err))
            fail_msg("after %zu bytes: %s", got, err.message);
        for (size_t i = 0; i < bytes.size; i++)
            assert_int_equal(bytes.data[i], 'x');
        got += bytes.size;
    }
    assert_int_equal(got, FLOOD_BYTES);
    assert_int_equal(ping(conn, NULL), 0);
    free(block);
    reeve__conn_close(conn);
    stop(&server);
}

static void raises_no_sigpipe(void **state) {
    char query[640];
    reeve__conn *conn = NULL;
    reeve_rc rc = 0;
    (void)state;
    tls_server server = { .name = "right", .floods = true };
    start(&server);
    assert_int_equal(dial(&conn, "127.0.0.1", server.port,
                          trust(query, "authority", ""), in_ms(LONG_MS), NULL),
                     0);
    shutdown(reeve__conn_fd(conn), SHUT_WR); /* a write now gives EPIPE */
    while (!rc) {
        size_t sent = 0;
        rc = reeve__conn_write(&sent, conn, reeve_bytes_of("PING\r\n"),
                               in_ms(LONG_MS), -1, NULL);
    }
    assert_int_equal(rc, REEVE_E_NET);
    reeve__conn_close(conn);
    stop(&server);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_the_right_certificate),
        cmocka_unit_test(refuses_a_wrong_name),
        cmocka_unit_test(refuses_an_expired_certificate),
        cmocka_unit_test(refuses_an_unknown_authority),
        cmocka_unit_test(verifies_nothing_when_told_so),
        cmocka_unit_test(shows_its_own_certificate),
        cmocka_unit_test(refuses_old_protocols),
        cmocka_unit_test(names_unusable_files),
        cmocka_unit_test(survives_a_broken_handshake),
        cmocka_unit_test(does_not_deadlock_on_two_floods),
        cmocka_unit_test(raises_no_sigpipe),
    };
    return cmocka_run_group_tests(tests, make_all, remove_all);
}
