#include "certs/x509_internal.h"

#include "common/text.h"

#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>
#include <time.h>

enum err x509_fail(enum err e)
{
    ERR_clear_error();
    return e;
}

enum err x509_parse_cert(struct span der, X509 **ret)
{
    if (der.len == 0)
        return ERR_MALFORMED;
    if (der.len > LIMIT_CERT)
        return ERR_TOO_LARGE;
    const uint8_t *at = der.data;
    X509 *cert = d2i_X509(NULL, &at, (long)der.len);
    if (cert == NULL)
        return x509_fail(ERR_MALFORMED);
    if (at != der.data + der.len) {
        X509_free(cert);
        return x509_fail(ERR_MALFORMED);
    }
    *ret = cert;
    return ERR_OK;
}

enum err x509_parse_key(const struct secret *pkcs8, EVP_PKEY **ret)
{
    struct span der = secret_bytes(pkcs8);
    const uint8_t *at = der.data;
    PKCS8_PRIV_KEY_INFO *info = d2i_PKCS8_PRIV_KEY_INFO(NULL, &at, (long)der.len);
    EVP_PKEY *key = info == NULL ? NULL : EVP_PKCS82PKEY(info);
    PKCS8_PRIV_KEY_INFO_free(info);
    if (key == NULL)
        return x509_fail(ERR_CORRUPT);
    *ret = key;
    return ERR_OK;
}

const EVP_MD *x509_digest_for(const EVP_PKEY *key)
{
    switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_ED25519:
        return NULL;
    case EVP_PKEY_EC:
        return EVP_PKEY_get_bits(key) > 256 ? EVP_sha384() : EVP_sha256();
    default:
        return EVP_sha256();
    }
}

enum err x509_time_ms(const ASN1_TIME *t, uint64_t *ret)
{
    struct tm tm;
    if (t == NULL || ASN1_TIME_to_tm(t, &tm) != 1)
        return x509_fail(ERR_MALFORMED);
    time_t seconds = timegm(&tm);
    if (seconds < 0)
        return ERR_MALFORMED;
    *ret = (uint64_t)seconds * 1000;
    return ERR_OK;
}

ASN1_TIME *x509_time_new(uint64_t ms)
{
    return ASN1_TIME_set(NULL, (time_t)(ms / 1000));
}

enum err x509_serial_bytes(const ASN1_INTEGER *n, uint8_t ret[X509_SERIAL])
{
    BIGNUM *bn = n == NULL ? NULL : ASN1_INTEGER_to_BN(n, NULL);
    enum err e = ERR_MALFORMED;
    if (bn != NULL && !BN_is_negative(bn) && BN_bn2binpad(bn, ret, X509_SERIAL) == X509_SERIAL)
        e = ERR_OK;
    BN_free(bn);
    return x509_fail(e);
}

enum err x509_add_ext(const struct x509_ext_target *to, X509V3_CTX *ctx, int nid, const char *value)
{
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, ctx, nid, value);
    if (ext == NULL)
        return x509_fail(ERR_CRYPTO);
    int ok;
    if (to->cert != NULL)
        ok = X509_add_ext(to->cert, ext, -1);
    else if (to->crl != NULL)
        ok = X509_CRL_add_ext(to->crl, ext, -1);
    else
        ok = sk_X509_EXTENSION_push(to->list, ext) > 0;
    /* A stack keeps the pointer, the others a copy. */
    if (!ok || to->list == NULL)
        X509_EXTENSION_free(ext);
    return ok ? ERR_OK : x509_fail(ERR_NO_MEMORY);
}

enum err x509_set_subject(X509_NAME *name, const char *agency, const char *role)
{
    char common_name[LIMIT_AGENCY + 32];
    snprintf(common_name, sizeof(common_name), "%s %s", agency, role);
    /* X.520 bounds a common name to 64 characters; the SAN is what counts. */
    common_name[64] = '\0';
    if (X509_NAME_add_entry_by_NID(name, NID_organizationName, MBSTRING_UTF8,
                                   (const unsigned char *)agency, (int)strnlen(agency, 64), -1,
                                   0) != 1 ||
        X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8,
                                   (const unsigned char *)common_name, -1, -1, 0) != 1)
        return x509_fail(ERR_CRYPTO);
    return ERR_OK;
}

bool x509_san_is(const GENERAL_NAMES *names, struct span uri)
{
    if (names == NULL || sk_GENERAL_NAME_num(names) != 1)
        return false;
    const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, 0);
    if (name->type != GEN_URI)
        return false;
    const ASN1_IA5STRING *text = name->d.uniformResourceIdentifier;
    return span_equal(span_of(ASN1_STRING_get0_data(text), (size_t)ASN1_STRING_length(text)), uri);
}

void x509_agent_uri(const char *trust_domain, const char *agency, struct buf *out)
{
    buf_printf(out, "spiffe://%s/agent/%s", trust_domain, agency);
}

enum err x509_spki_digest(struct span cert, struct digest *ret)
{
    X509 *x = NULL;
    uint8_t *der = NULL;
    enum err e = x509_parse_cert(cert, &x);
    if (e != ERR_OK)
        return e;
    int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &der);
    if (len <= 0) {
        e = x509_fail(ERR_MALFORMED);
        goto out;
    }
    *ret = sha256(span_of(der, (size_t)len));
out:
    OPENSSL_free(der);
    X509_free(x);
    return e;
}

enum err x509_ed25519_key(struct span cert, struct ed25519_public *ret)
{
    X509 *x = NULL;
    struct ed25519_public pub;
    size_t len = sizeof(pub.b);
    enum err e = x509_parse_cert(cert, &x);
    if (e != ERR_OK)
        return e;
    EVP_PKEY *key = X509_get0_pubkey(x);
    if (key == NULL || EVP_PKEY_get_base_id(key) != EVP_PKEY_ED25519 ||
        EVP_PKEY_get_raw_public_key(key, pub.b, &len) != 1 || len != sizeof(pub.b))
        e = ERR_WRONG_USAGE;
    else
        *ret = pub;
    X509_free(x);
    return x509_fail(e);
}

enum err x509_subject(struct span cert, char *out, size_t size)
{
    X509 *x = NULL;
    enum err e = x509_parse_cert(cert, &x);
    if (e != ERR_OK)
        return e;
    BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;
    if (bio == NULL || X509_NAME_print_ex(bio, X509_get_subject_name(x), 0, XN_FLAG_RFC2253) < 0) {
        e = x509_fail(ERR_NO_MEMORY);
    } else {
        long len = BIO_get_mem_data(bio, &text);
        snprintf(out, size, "%.*s", (int)len, text);
    }
    BIO_free(bio);
    X509_free(x);
    return e;
}

enum err x509_validity(struct span cert, uint64_t *not_before_ms, uint64_t *not_after_ms)
{
    X509 *x = NULL;
    uint64_t before, after;
    enum err e = x509_parse_cert(cert, &x);
    if (e == ERR_OK)
        e = x509_time_ms(X509_get0_notBefore(x), &before);
    if (e == ERR_OK)
        e = x509_time_ms(X509_get0_notAfter(x), &after);
    if (e == ERR_OK) {
        *not_before_ms = before;
        *not_after_ms = after;
    }
    X509_free(x);
    return e;
}

enum err x509_pem_write(const char *label, struct span der, struct buf *out)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;
    enum err e = ERR_OK;
    if (bio == NULL || PEM_write_bio(bio, label, "", der.data, (long)der.len) <= 0) {
        e = x509_fail(ERR_NO_MEMORY);
    } else {
        long len = BIO_get_mem_data(bio, &text);
        buf_put(out, span_of(text, (size_t)len));
        e = out->err;
    }
    BIO_free(bio);
    return e;
}

enum err x509_pem_read(const char *label, struct span text, size_t index, size_t max,
                       struct buf *der)
{
    if (text.len > LIMIT_DOCUMENT)
        return ERR_TOO_LARGE;
    BIO *bio = BIO_new_mem_buf(text.data, (int)text.len);
    if (bio == NULL)
        return x509_fail(ERR_NO_MEMORY);
    enum err e = ERR_NOT_FOUND;
    for (size_t i = 0;; i++) {
        char *name = NULL, *header = NULL;
        unsigned char *data = NULL;
        long len = 0;
        if (PEM_read_bio(bio, &name, &header, &data, &len) != 1)
            break;
        bool here = i == index;
        if (here && (strcmp(name, label) != 0 || header[0] != '\0'))
            e = ERR_MALFORMED;
        else if (here && (size_t)len > max)
            e = ERR_TOO_LARGE;
        else if (here)
            e = ERR_OK;
        if (here && e == ERR_OK) {
            buf_put(der, span_of(data, (size_t)len));
            e = der->err;
        }
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_free(data);
        if (here)
            break;
    }
    BIO_free(bio);
    return x509_fail(e);
}
