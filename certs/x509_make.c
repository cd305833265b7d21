#include "certs/x509_internal.h"

#include "certs/documents.h"
#include "common/text.h"

#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <string.h>

static enum err key_export(const EVP_PKEY *key, struct secret **ret)
{
    PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(key);
    uint8_t *der = NULL;
    int len = info == NULL ? -1 : i2d_PKCS8_PRIV_KEY_INFO(info, &der);
    PKCS8_PRIV_KEY_INFO_free(info);
    if (len <= 0)
        return x509_fail(ERR_CRYPTO);
    enum err e = secret_copy(span_of(der, (size_t)len), ret);
    OPENSSL_clear_free(der, (size_t)len);
    return e;
}

static EVP_PKEY *ed25519_new(const struct env *env)
{
    uint8_t seed[ED25519_SEED];
    env_random(env, seed, sizeof(seed));
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, sizeof(seed));
    crypto_wipe(seed, sizeof(seed));
    return key;
}

enum err x509_key_new(const struct env *env, enum x509_algorithm algorithm, struct secret **pkcs8)
{
    EVP_PKEY *key = NULL;
    switch (algorithm) {
    case X509_ALG_P384:
        key = EVP_EC_gen("P-384");
        break;
    case X509_ALG_RSA3072:
        key = EVP_RSA_gen(3072);
        break;
    case X509_ALG_ED25519:
        key = ed25519_new(env);
        break;
    }
    if (key == NULL)
        return x509_fail(ERR_CRYPTO);
    enum err e = key_export(key, pkcs8);
    EVP_PKEY_free(key);
    return e;
}

static enum err set_serial(X509 *cert, const struct env *env)
{
    /* 127 random bits, positive, never short (RFC 5280 4.1.2.2). */
    uint8_t bytes[16];
    env_random(env, bytes, sizeof(bytes));
    bytes[0] = (uint8_t)((bytes[0] & 0x7f) | 0x40);
    BIGNUM *n = BN_bin2bn(bytes, sizeof(bytes), NULL);
    bool ok = n != NULL && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(cert)) != NULL;
    BN_free(n);
    return ok ? ERR_OK : x509_fail(ERR_NO_MEMORY);
}

static enum err set_validity(X509 *cert, uint64_t from_ms, uint64_t until_ms)
{
    ASN1_TIME *from = x509_time_new(from_ms);
    ASN1_TIME *until = x509_time_new(until_ms);
    bool ok = from != NULL && until != NULL && X509_set1_notBefore(cert, from) == 1 &&
              X509_set1_notAfter(cert, until) == 1;
    ASN1_TIME_free(from);
    ASN1_TIME_free(until);
    return ok ? ERR_OK : x509_fail(ERR_NO_MEMORY);
}

struct ext_row {
    int nid;
    const char *value;
};

static enum err add_exts(const struct x509_ext_target *to, X509V3_CTX *ctx,
                         const struct ext_row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        enum err e = x509_add_ext(to, ctx, rows[i].nid, rows[i].value);
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

static enum err sign_and_put(X509 *cert, EVP_PKEY *key, struct buf *out)
{
    uint8_t *der = NULL;
    if (X509_sign(cert, key, x509_digest_for(key)) <= 0)
        return x509_fail(ERR_CRYPTO);
    int len = i2d_X509(cert, &der);
    if (len <= 0)
        return x509_fail(ERR_NO_MEMORY);
    buf_put(out, span_of(der, (size_t)len));
    OPENSSL_free(der);
    return out->err;
}

enum err x509_make_ca(const struct env *env, const struct secret *pkcs8, const char *agency,
                      const char *trust_domain, uint64_t lifetime_ms, struct buf *cert)
{
    if (!text_is_agency(span_str(agency)) || !name_is_domain(trust_domain))
        return ERR_MALFORMED;
    if (lifetime_ms > LIMIT_CA_LIFETIME_MS)
        return ERR_TOO_LARGE;
    char constraint[LIMIT_DOMAIN + 32];
    snprintf(constraint, sizeof(constraint), "critical,permitted;URI:%s", trust_domain);
    const struct ext_row rows[] = {
        {NID_basic_constraints, "critical,CA:TRUE,pathlen:0"},
        {NID_key_usage, "critical,keyCertSign,cRLSign"},
        {NID_name_constraints, constraint},
        {NID_subject_key_identifier, "hash"},
        {NID_authority_key_identifier, "keyid:always"},
    };
    EVP_PKEY *key = NULL;
    X509 *x = X509_new();
    enum err e = x == NULL ? ERR_NO_MEMORY : x509_parse_key(pkcs8, &key);
    if (e != ERR_OK)
        goto out;
    uint64_t from = env_now_ms(env) - LIMIT_SKEW_MS;
    e = set_serial(x, env);
    if (e == ERR_OK)
        e = set_validity(x, from, from + lifetime_ms);
    if (e == ERR_OK)
        e = x509_set_subject(X509_get_subject_name(x), agency, "CA");
    if (e != ERR_OK)
        goto out;
    if (X509_set_version(x, X509_VERSION_3) != 1 || X509_set_pubkey(x, key) != 1 ||
        X509_set_issuer_name(x, X509_get_subject_name(x)) != 1) {
        e = x509_fail(ERR_CRYPTO);
        goto out;
    }
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
    e = add_exts(&(struct x509_ext_target){.cert = x}, &ctx, rows, sizeof(rows) / sizeof(rows[0]));
    if (e == ERR_OK)
        e = sign_and_put(x, key, cert);
out:
    EVP_PKEY_free(key);
    X509_free(x);
    return e;
}

/* The issuer as OpenSSL objects, checked to belong together. */
static enum err issuer_open(const struct x509_issuer *issuer, X509 **cert, EVP_PKEY **key)
{
    X509 *x = NULL;
    EVP_PKEY *k = NULL;
    enum err e = x509_parse_cert(issuer->cert, &x);
    if (e == ERR_OK)
        e = x509_parse_key(issuer->pkcs8, &k);
    if (e == ERR_OK && (X509_check_ca(x) != 1 || X509_check_private_key(x, k) != 1))
        e = x509_fail(ERR_WRONG_USAGE);
    if (e != ERR_OK) {
        X509_free(x);
        EVP_PKEY_free(k);
        return e;
    }
    *cert = x;
    *key = k;
    return ERR_OK;
}

static enum err leaf_fill(X509 *x, const struct env *env, X509 *ca, const char *agency,
                          const char *uri, const struct ed25519_public *key, uint64_t lifetime_ms)
{
    char san[LIMIT_DOMAIN + LIMIT_AGENCY + 32];
    snprintf(san, sizeof(san), "URI:%s", uri);
    const struct ext_row rows[] = {
        {NID_basic_constraints, "critical,CA:FALSE"},
        {NID_key_usage, "critical,digitalSignature"},
        {NID_subject_alt_name, san},
        {NID_subject_key_identifier, "hash"},
        {NID_authority_key_identifier, "keyid:always"},
    };
    uint64_t from = env_now_ms(env) - LIMIT_SKEW_MS;
    uint64_t ca_until;
    enum err e = x509_time_ms(X509_get0_notAfter(ca), &ca_until);
    if (e != ERR_OK)
        return e;
    if (from + lifetime_ms > ca_until)
        return ERR_EXPIRED;
    e = set_serial(x, env);
    if (e == ERR_OK)
        e = set_validity(x, from, from + lifetime_ms);
    if (e == ERR_OK)
        e = x509_set_subject(X509_get_subject_name(x), agency, "agent");
    if (e != ERR_OK)
        return e;
    EVP_PKEY *pub = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key->b, sizeof(key->b));
    bool ok = pub != NULL && X509_set_version(x, X509_VERSION_3) == 1 &&
              X509_set_pubkey(x, pub) == 1 &&
              X509_set_issuer_name(x, X509_get_subject_name(ca)) == 1;
    EVP_PKEY_free(pub);
    if (!ok)
        return x509_fail(ERR_CRYPTO);
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, ca, x, NULL, NULL, 0);
    return add_exts(&(struct x509_ext_target){.cert = x}, &ctx, rows,
                    sizeof(rows) / sizeof(rows[0]));
}

enum err x509_make_leaf(const struct env *env, const struct x509_issuer *issuer, const char *agency,
                        const char *trust_domain, const struct ed25519_public *key,
                        uint64_t lifetime_ms, struct buf *cert)
{
    if (!text_is_agency(span_str(agency)) || !name_is_domain(trust_domain))
        return ERR_MALFORMED;
    if (lifetime_ms > LIMIT_LEAF_LIFETIME_MS)
        return ERR_TOO_LARGE;
    X509 *ca = NULL;
    EVP_PKEY *ca_key = NULL;
    struct buf uri;
    buf_init(&uri, LIMIT_DOMAIN + LIMIT_AGENCY + 32);
    x509_agent_uri(trust_domain, agency, &uri);
    X509 *x = X509_new();
    const char *text = buf_cstr(&uri);
    enum err e = x == NULL || text == NULL ? ERR_NO_MEMORY : issuer_open(issuer, &ca, &ca_key);
    if (e == ERR_OK)
        e = leaf_fill(x, env, ca, agency, text, key, lifetime_ms);
    if (e == ERR_OK)
        e = sign_and_put(x, ca_key, cert);
    buf_fini(&uri);
    X509_free(x);
    X509_free(ca);
    EVP_PKEY_free(ca_key);
    return e;
}

static enum err revoked_add_dates(X509_REVOKED *entry, const struct x509_revoked *item)
{
    if (!item->compromise)
        return ERR_OK;
    ASN1_ENUMERATED *reason = ASN1_ENUMERATED_new();
    bool ok = reason != NULL && ASN1_ENUMERATED_set(reason, CRL_REASON_KEY_COMPROMISE) == 1 &&
              X509_REVOKED_add1_ext_i2d(entry, NID_crl_reason, reason, 0, 0) == 1;
    ASN1_ENUMERATED_free(reason);
    if (ok && item->invalid_since_ms != 0) {
        ASN1_GENERALIZEDTIME *since =
            ASN1_GENERALIZEDTIME_set(NULL, (time_t)(item->invalid_since_ms / 1000));
        ok = since != NULL &&
             X509_REVOKED_add1_ext_i2d(entry, NID_invalidity_date, since, 0, 0) == 1;
        ASN1_GENERALIZEDTIME_free(since);
    }
    return ok ? ERR_OK : x509_fail(ERR_NO_MEMORY);
}

static enum err crl_add(X509_CRL *crl, const struct x509_revoked *item)
{
    X509_REVOKED *entry = X509_REVOKED_new();
    BIGNUM *n = BN_bin2bn(item->serial, sizeof(item->serial), NULL);
    ASN1_INTEGER *serial = n == NULL ? NULL : BN_to_ASN1_INTEGER(n, NULL);
    ASN1_TIME *at = x509_time_new(item->revoked_ms);
    enum err e = ERR_NO_MEMORY;
    if (entry != NULL && serial != NULL && at != NULL &&
        X509_REVOKED_set_serialNumber(entry, serial) == 1 &&
        X509_REVOKED_set_revocationDate(entry, at) == 1)
        e = revoked_add_dates(entry, item);
    if (e == ERR_OK && X509_CRL_add0_revoked(crl, entry) == 1)
        entry = NULL;
    else if (e == ERR_OK)
        e = ERR_NO_MEMORY;
    X509_REVOKED_free(entry);
    BN_free(n);
    ASN1_INTEGER_free(serial);
    ASN1_TIME_free(at);
    return e == ERR_OK ? e : x509_fail(e);
}

static enum err crl_fill(X509_CRL *crl, X509 *ca, const struct env *env, uint64_t number,
                         uint64_t lifetime_ms)
{
    uint64_t now = env_now_ms(env);
    ASN1_TIME *from = x509_time_new(now - LIMIT_SKEW_MS);
    ASN1_TIME *until = x509_time_new(now + lifetime_ms);
    ASN1_INTEGER *n = ASN1_INTEGER_new();
    bool ok = from != NULL && until != NULL && n != NULL &&
              X509_CRL_set_version(crl, X509_CRL_VERSION_2) == 1 &&
              X509_CRL_set_issuer_name(crl, X509_get_subject_name(ca)) == 1 &&
              X509_CRL_set1_lastUpdate(crl, from) == 1 &&
              X509_CRL_set1_nextUpdate(crl, until) == 1 &&
              ASN1_INTEGER_set_uint64(n, number) == 1 &&
              X509_CRL_add1_ext_i2d(crl, NID_crl_number, n, 0, 0) == 1;
    ASN1_TIME_free(from);
    ASN1_TIME_free(until);
    ASN1_INTEGER_free(n);
    if (!ok)
        return x509_fail(ERR_NO_MEMORY);
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, ca, NULL, NULL, crl, 0);
    return x509_add_ext(&(struct x509_ext_target){.crl = crl}, &ctx, NID_authority_key_identifier,
                        "keyid:always");
}

enum err x509_make_crl(const struct env *env, const struct x509_issuer *issuer,
                       const struct x509_revoked *items, size_t n, uint64_t number,
                       uint64_t lifetime_ms, struct buf *crl)
{
    if (n > LIMIT_CRL_ENTRIES)
        return ERR_TOO_LARGE;
    X509 *ca = NULL;
    EVP_PKEY *key = NULL;
    uint8_t *der = NULL;
    X509_CRL *list = X509_CRL_new();
    enum err e = list == NULL ? ERR_NO_MEMORY : issuer_open(issuer, &ca, &key);
    if (e == ERR_OK)
        e = crl_fill(list, ca, env, number, lifetime_ms);
    for (size_t i = 0; e == ERR_OK && i < n; i++)
        e = crl_add(list, &items[i]);
    if (e != ERR_OK)
        goto out;
    int len = -1;
    if (X509_CRL_sort(list) == 1 && X509_CRL_sign(list, key, x509_digest_for(key)) > 0)
        len = i2d_X509_CRL(list, &der);
    if (len <= 0) {
        e = x509_fail(ERR_CRYPTO);
        goto out;
    }
    buf_put(crl, span_of(der, (size_t)len));
    e = crl->err;
out:
    OPENSSL_free(der);
    X509_CRL_free(list);
    X509_free(ca);
    EVP_PKEY_free(key);
    return e;
}
