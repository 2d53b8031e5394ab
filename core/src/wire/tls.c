/*
 * TLS sessions. Bytes go through our own BIO (send with MSG_NOSIGNAL), waiting
 * is the caller's. The verify callback changes nothing: it only notes whom the
 * certificate is for, so that a wrong name can be reported by name.
 */
#include "wire/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define NAME_BYTES_MAX 96

struct reeve__tls {
    reeve_env *env; /* borrowed */
    const char *peer;
    int fd;
    int io_errno; /* of the last failed send or recv */
    SSL_CTX *ctx;
    BIO_METHOD *method;
    SSL *ssl;
    char wanted_name[256];
    char given_name[NAME_BYTES_MAX + 1]; /* whom the certificate is for */
};

/* ---- BIO over the socket ------------------------------------------------- */

static int bio_result(BIO *bio, ssize_t done, bool writing) {
    reeve__tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (done >= 0)
        return (int)done;
    tls->io_errno = errno;
    if (reeve__socket_would_block(errno)) {
        if (writing)
            BIO_set_retry_write(bio);
        else
            BIO_set_retry_read(bio);
    }
    return -1;
}

static int bio_write(BIO *bio, const char *data, int size) {
    reeve__tls *tls = BIO_get_data(bio);
    ssize_t done = reeve__socket_send(tls->fd, data, (size_t)size);
    return bio_result(bio, done, true);
}

static int bio_read(BIO *bio, char *data, int size) {
    reeve__tls *tls = BIO_get_data(bio);
    ssize_t done = reeve__socket_recv(tls->fd, data, (size_t)size);
    return bio_result(bio, done, false);
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer) {
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

static reeve_rc set_bio(reeve__tls *tls, reeve_error *err) {
    tls->method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "reeve socket");
    if (!tls->method)
        return reeve__fail_nomem(err);
    BIO_meth_set_write(tls->method, bio_write);
    BIO_meth_set_read(tls->method, bio_read);
    BIO_meth_set_ctrl(tls->method, bio_ctrl);
    BIO *bio = BIO_new(tls->method);
    if (!bio)
        return reeve__fail_nomem(err);
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    SSL_set_bio(tls->ssl, bio, bio); /* consumes bio */
    return 0;
}

/* ---- whom a certificate is for ------------------------------------------- */

static void note_text(reeve__tls *tls, const unsigned char *text, int size) {
    size_t count = size < 0 ? 0 : (size_t)size;
    if (count > NAME_BYTES_MAX)
        count = NAME_BYTES_MAX;
    for (size_t i = 0; i < count; i++)
        tls->given_name[i] =
            text[i] > ' ' && text[i] < 0x7f ? (char)text[i] : '?';
    tls->given_name[count] = '\0';
}

static bool note_alternative(reeve__tls *tls, const GENERAL_NAME *name) {
    char text[INET6_ADDRSTRLEN];
    if (name->type == GEN_DNS) {
        note_text(tls, ASN1_STRING_get0_data(name->d.dNSName),
                  ASN1_STRING_length(name->d.dNSName));
        return true;
    }
    if (name->type != GEN_IPADD)
        return false;
    int size = ASN1_STRING_length(name->d.iPAddress);
    if (!inet_ntop(size == 4 ? AF_INET : AF_INET6,
                   ASN1_STRING_get0_data(name->d.iPAddress), text,
                   sizeof text) ||
        (size != 4 && size != 16))
        return false;
    note_text(tls, (const unsigned char *)text, (int)strlen(text));
    return true;
}

/* First alternative name, else the subject's common name. */
static void note_certificate(reeve__tls *tls, X509 *certificate) {
    GENERAL_NAMES *names =
        X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    bool noted = false;
    for (int i = 0; !noted && i < sk_GENERAL_NAME_num(names); i++)
        noted = note_alternative(tls, sk_GENERAL_NAME_value(names, i));
    GENERAL_NAMES_free(names);
    X509_NAME *subject = X509_get_subject_name(certificate);
    int index = noted || !subject
                    ? -1
                    : X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    if (index >= 0) {
        const ASN1_STRING *common =
            X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, index));
        note_text(tls, ASN1_STRING_get0_data(common),
                  ASN1_STRING_length(common));
    }
}

static int on_verify(int good, X509_STORE_CTX *store) {
    SSL *ssl =
        X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    int error = X509_STORE_CTX_get_error(store);
    if (!good && (error == X509_V_ERR_HOSTNAME_MISMATCH ||
                  error == X509_V_ERR_IP_ADDRESS_MISMATCH))
        note_certificate(SSL_get_app_data(ssl),
                         X509_STORE_CTX_get0_cert(store));
    return good;
}

/* ---- setting up ---------------------------------------------------------- */

/* OpenSSL's words for the last error on this thread. */
static const char *reason(char out[REEVE__WHY_BYTES]) {
    const char *text = ERR_reason_error_string(ERR_peek_last_error());
    snprintf(out, REEVE__WHY_BYTES, "%s", text ? text : "unknown error");
    return out;
}

static reeve_rc bad_file(const char *option, const char *path,
                         reeve_error *err) {
    char why[REEVE__WHY_BYTES];
    return reeve__fail(err, REEVE_E_INVALID, "tls: %s %.100s: %s", option, path,
                       reason(why));
}

/* An encrypted key must fail, not ask on the terminal. */
static int no_passphrase(char *data, int size, int writing, void *ctx) {
    (void)data;
    (void)size;
    (void)writing;
    (void)ctx;
    return 0;
}

static reeve_rc load_trust(reeve__tls *tls, const reeve__url *url,
                           reeve_error *err) {
    struct stat info;
    if (!url->tls_verify)
        return 0;
    if (!url->tls_ca) {
        if (SSL_CTX_set_default_verify_paths(tls->ctx) != 1)
            return bad_file("tls_ca", "(the system's)", err);
        return 0;
    }
    bool folder = stat(url->tls_ca, &info) == 0 && S_ISDIR(info.st_mode);
    if (SSL_CTX_load_verify_locations(tls->ctx, folder ? NULL : url->tls_ca,
                                      folder ? url->tls_ca : NULL) != 1)
        return bad_file("tls_ca", url->tls_ca, err);
    return 0;
}

static reeve_rc load_identity(reeve__tls *tls, const reeve__url *url,
                              reeve_error *err) {
    if (!url->tls_cert)
        return 0;
    if (SSL_CTX_use_certificate_chain_file(tls->ctx, url->tls_cert) != 1)
        return bad_file("tls_cert", url->tls_cert, err);
    if (SSL_CTX_use_PrivateKey_file(tls->ctx, url->tls_key, SSL_FILETYPE_PEM) !=
            1 ||
        SSL_CTX_check_private_key(tls->ctx) != 1)
        return bad_file("tls_key", url->tls_key, err);
    return 0;
}

static reeve_rc set_context(reeve__tls *tls, const reeve__url *url,
                            reeve_error *err) {
    tls->ctx = SSL_CTX_new(TLS_client_method());
    if (!tls->ctx ||
        SSL_CTX_set_min_proto_version(tls->ctx, TLS1_2_VERSION) != 1)
        return reeve__fail_nomem(err);
    SSL_CTX_set_mode(tls->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                   SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                   SSL_MODE_RELEASE_BUFFERS);
#ifdef SSL_OP_IGNORE_UNEXPECTED_EOF
    /* RESP says where a reply ends; a bare close is an end like any other. */
    SSL_CTX_set_options(tls->ctx, SSL_OP_IGNORE_UNEXPECTED_EOF);
#endif
    SSL_CTX_set_default_passwd_cb(tls->ctx, no_passphrase);
    SSL_CTX_set_verify(tls->ctx,
                       url->tls_verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE,
                       on_verify);
    reeve_rc rc = load_trust(tls, url, err);
    return rc ? rc : load_identity(tls, url, err);
}

static bool is_address(const char *name) {
    unsigned char bytes[16];
    return inet_pton(AF_INET, name, bytes) == 1 ||
           inet_pton(AF_INET6, name, bytes) == 1;
}

/* SNI, and the name or address that the certificate must carry. */
static reeve_rc set_name(reeve__tls *tls, const reeve__url *url,
                         reeve_error *err) {
    const char *name = url->tls_server_name ? url->tls_server_name : url->host;
    X509_VERIFY_PARAM *param = SSL_get0_param(tls->ssl);
    /* an IPv6 zone is ours, not the certificate's */
    snprintf(tls->wanted_name, sizeof tls->wanted_name, "%.*s",
             (int)strcspn(name, "%"), name);
    name = tls->wanted_name;
    X509_VERIFY_PARAM_set_hostflags(param,
                                    X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    bool done =
        is_address(name)
            ? X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1
            : X509_VERIFY_PARAM_set1_host(param, name, 0) == 1 &&
                  SSL_set_tlsext_host_name(tls->ssl, tls->wanted_name) == 1;
    if (!done)
        return reeve__fail(err, REEVE_E_INVALID,
                           "tls: server name '%.100s' is not usable", name);
    return 0;
}

reeve_rc reeve__tls_new(reeve__tls **out, reeve_env *env, const reeve__url *url,
                        int fd, const char *peer, reeve_error *err) {
    *out = NULL;
    ERR_clear_error();
    reeve__tls *tls = reeve__calloc(env, 1, sizeof *tls);
    if (!tls)
        return reeve__fail_nomem(err);
    tls->env = env;
    tls->fd = fd;
    tls->peer = peer;
    reeve_rc rc = set_context(tls, url, err);
    if (!rc) {
        tls->ssl = SSL_new(tls->ctx);
        rc = tls->ssl ? 0 : reeve__fail_nomem(err);
    }
    if (!rc) {
        SSL_set_app_data(tls->ssl, tls);
        SSL_set_connect_state(tls->ssl);
        rc = set_name(tls, url, err);
    }
    if (!rc)
        rc = set_bio(tls, err);
    if (rc)
        reeve__tls_free(tls, false);
    else
        *out = tls;
    ERR_clear_error();
    return rc;
}

void reeve__tls_free(reeve__tls *tls, bool notify) {
    if (!tls)
        return;
    ERR_clear_error();
    if (tls->ssl && notify && SSL_is_init_finished(tls->ssl))
        (void)SSL_shutdown(tls->ssl); /* one try; we do not wait */
    SSL_free(tls->ssl);
    BIO_meth_free(tls->method);
    SSL_CTX_free(tls->ctx);
    ERR_clear_error();
    reeve__free(tls->env, tls);
}

/* ---- running ------------------------------------------------------------- */

static reeve_rc verify_failed(const reeve__tls *tls, long result,
                              reeve_error *err) {
    if (result == X509_V_ERR_HOSTNAME_MISMATCH ||
        result == X509_V_ERR_IP_ADDRESS_MISMATCH)
        return reeve__fail(err, REEVE_E_TLS,
                           "tls: certificate of %s is for '%s', not '%.80s'",
                           tls->peer, tls->given_name, tls->wanted_name);
    return reeve__fail(err, REEVE_E_TLS, "tls: certificate of %s: %s",
                       tls->peer, X509_verify_cert_error_string(result));
}

static reeve_rc protocol_failed(const reeve__tls *tls, reeve_error *err) {
    char why[REEVE__WHY_BYTES];
    long result = SSL_get_verify_result(tls->ssl);
    if (result != X509_V_OK &&
        (SSL_get_verify_mode(tls->ssl) & SSL_VERIFY_PEER))
        return verify_failed(tls, result, err);
#ifdef SSL_R_UNEXPECTED_EOF_WHILE_READING
    if (ERR_GET_REASON(ERR_peek_last_error()) ==
        SSL_R_UNEXPECTED_EOF_WHILE_READING)
        return reeve__fail(err, REEVE_E_NET,
                           "redis at %s closed the connection", tls->peer);
#endif
    return reeve__fail(err, REEVE_E_TLS, "tls: %s: %s", tls->peer, reason(why));
}

/* Turns OpenSSL's result into want or an error. */
static reeve_rc outcome(int *want, reeve__tls *tls, int result,
                        reeve_error *err) {
    char why[REEVE__WHY_BYTES];
    *want = REEVE__WANT_NOTHING;
    switch (SSL_get_error(tls->ssl, result)) {
    case SSL_ERROR_NONE:
        return 0;
    case SSL_ERROR_WANT_READ:
        *want = REEVE__WANT_READ;
        return 0;
    case SSL_ERROR_WANT_WRITE:
        *want = REEVE__WANT_WRITE;
        return 0;
    case SSL_ERROR_ZERO_RETURN:
        *want = REEVE__WANT_EOF;
        return 0;
    case SSL_ERROR_SSL:
        return protocol_failed(tls, err);
    default:
        if (tls->io_errno == 0) {
            *want = REEVE__WANT_EOF;
            return 0;
        }
        return reeve__fail(err, REEVE_E_NET, "redis at %s: %s", tls->peer,
                           reeve__socket_why(why, tls->io_errno));
    }
}

static void begin(reeve__tls *tls) {
    ERR_clear_error(); /* SSL_get_error looks at the thread's queue */
    tls->io_errno = 0;
}

reeve_rc reeve__tls_handshake(int *want, reeve__tls *tls, reeve_error *err) {
    begin(tls);
    return outcome(want, tls, SSL_do_handshake(tls->ssl), err);
}

reeve_rc reeve__tls_read(int *want, size_t *out_bytes, reeve__tls *tls,
                         char *data, size_t size, reeve_error *err) {
    *out_bytes = 0;
    begin(tls);
    return outcome(want, tls, SSL_read_ex(tls->ssl, data, size, out_bytes),
                   err);
}

reeve_rc reeve__tls_write(int *want, size_t *out_bytes, reeve__tls *tls,
                          const char *data, size_t size, reeve_error *err) {
    *out_bytes = 0;
    begin(tls);
    return outcome(want, tls, SSL_write_ex(tls->ssl, data, size, out_bytes),
                   err);
}

bool reeve__tls_has_data(const reeve__tls *tls) {
    return SSL_pending(tls->ssl) > 0;
}
