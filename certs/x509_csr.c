#include "certs/x509_internal.h"

#include "certs/documents.h"
#include "common/text.h"

static enum err csr_fill(X509_REQ *req, EVP_PKEY *key, const char *agency, const char *uri)
{
    char san[LIMIT_DOMAIN + LIMIT_AGENCY + 32];
    snprintf(san, sizeof(san), "URI:%s", uri);
    enum err e = x509_set_subject(X509_REQ_get_subject_name(req), agency, "agent");
    if (e != ERR_OK)
        return e;
    struct x509_ext_target exts = {.list = sk_X509_EXTENSION_new_null()};
    if (exts.list == NULL)
        return x509_fail(ERR_NO_MEMORY);
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, NULL, NULL, req, NULL, 0);
    e = x509_add_ext(&exts, &ctx, NID_subject_alt_name, san);
    if (e == ERR_OK)
        e = x509_add_ext(&exts, &ctx, NID_key_usage, "critical,digitalSignature");
    if (e == ERR_OK &&
        (X509_REQ_set_version(req, X509_REQ_VERSION_1) != 1 || X509_REQ_set_pubkey(req, key) != 1 ||
         X509_REQ_add_extensions(req, exts.list) != 1 || X509_REQ_sign(req, key, NULL) <= 0))
        e = x509_fail(ERR_CRYPTO);
    sk_X509_EXTENSION_pop_free(exts.list, X509_EXTENSION_free);
    return e;
}

enum err x509_make_csr(const struct secret *seed, const char *agency, const char *trust_domain,
                       struct buf *csr)
{
    if (!text_is_agency(span_str(agency)) || !name_is_domain(trust_domain))
        return ERR_MALFORMED;
    struct buf uri;
    buf_init(&uri, LIMIT_DOMAIN + LIMIT_AGENCY + 32);
    x509_agent_uri(trust_domain, agency, &uri);
    const char *text = buf_cstr(&uri);
    uint8_t *der = NULL;
    EVP_PKEY *key =
        EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, secret_bytes(seed).data, ED25519_SEED);
    X509_REQ *req = X509_REQ_new();
    enum err e = ERR_NO_MEMORY;
    if (key != NULL && req != NULL && text != NULL)
        e = csr_fill(req, key, agency, text);
    if (e != ERR_OK)
        goto out;
    int len = i2d_X509_REQ(req, &der);
    if (len <= 0) {
        e = x509_fail(ERR_NO_MEMORY);
        goto out;
    }
    buf_put(csr, span_of(der, (size_t)len));
    e = csr->err;
out:
    OPENSSL_free(der);
    X509_REQ_free(req);
    EVP_PKEY_free(key);
    buf_fini(&uri);
    return e;
}

static enum err csr_check(X509_REQ *req, struct span uri, struct ed25519_public *ret,
                          struct why *why)
{
    EVP_PKEY *key = X509_REQ_get0_pubkey(req);
    size_t len = sizeof(ret->b);
    struct ed25519_public pub;
    if (key == NULL || EVP_PKEY_get_base_id(key) != EVP_PKEY_ED25519 ||
        EVP_PKEY_get_raw_public_key(key, pub.b, &len) != 1 || len != sizeof(pub.b))
        return why_set(why, x509_fail(ERR_WRONG_USAGE), "the request's key is not Ed25519");
    if (X509_REQ_verify(req, key) != 1)
        return why_set(why, x509_fail(ERR_BAD_SIGNATURE), "the request is not signed by its key");
    STACK_OF(X509_EXTENSION) *exts = X509_REQ_get_extensions(req);
    GENERAL_NAMES *names = X509V3_get_d2i(exts, NID_subject_alt_name, NULL, NULL);
    bool ok = x509_san_is(names, uri);
    GENERAL_NAMES_free(names);
    sk_X509_EXTENSION_pop_free(exts, X509_EXTENSION_free);
    if (!ok)
        return why_set(why, x509_fail(ERR_WRONG_USAGE),
                       "the request asks for another name than %.*s", (int)uri.len,
                       (const char *)uri.data);
    *ret = pub;
    return ERR_OK;
}

enum err x509_read_csr(struct span csr, const char *agency, const char *trust_domain,
                       struct ed25519_public *ret, struct why *why)
{
    if (csr.len == 0 || csr.len > LIMIT_CERT)
        return why_set(why, csr.len == 0 ? ERR_MALFORMED : ERR_TOO_LARGE, "no request");
    const uint8_t *at = csr.data;
    X509_REQ *req = d2i_X509_REQ(NULL, &at, (long)csr.len);
    if (req == NULL || at != csr.data + csr.len) {
        X509_REQ_free(req);
        return why_set(why, x509_fail(ERR_MALFORMED), "not a certificate request");
    }
    struct buf uri;
    buf_init(&uri, LIMIT_DOMAIN + LIMIT_AGENCY + 32);
    x509_agent_uri(trust_domain, agency, &uri);
    enum err e = uri.err == ERR_OK ? csr_check(req, buf_span(&uri), ret, why)
                                   : why_set(why, uri.err, "the name is too long");
    buf_fini(&uri);
    X509_REQ_free(req);
    return e;
}
