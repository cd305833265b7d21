#include "certs/x509_internal.h"

#include "common/text.h"

#include <openssl/x509_vfy.h>
#include <string.h>

static enum err map_error(int code)
{
    switch (code) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return ERR_EXPIRED;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return ERR_CLOCK;
    case X509_V_ERR_CERT_REVOKED:
        return ERR_REVOKED;
    case X509_V_ERR_UNABLE_TO_GET_CRL:
    case X509_V_ERR_CRL_HAS_EXPIRED:
    case X509_V_ERR_CRL_NOT_YET_VALID:
        return ERR_STALE_CRL;
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
    case X509_V_ERR_CRL_SIGNATURE_FAILURE:
    case X509_V_ERR_UNABLE_TO_DECRYPT_CERT_SIGNATURE:
    case X509_V_ERR_UNABLE_TO_DECRYPT_CRL_SIGNATURE:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        return ERR_BAD_SIGNATURE;
    case X509_V_ERR_OUT_OF_MEM:
        return ERR_NO_MEMORY;
    default:
        return ERR_WRONG_USAGE;
    }
}

struct objects {
    X509 *leaf;
    X509 *ca;
    X509_CRL *crl;
};

static enum err set_params(X509_STORE_CTX *ctx, uint64_t at_ms, bool with_crl)
{
    X509_VERIFY_PARAM *p = X509_STORE_CTX_get0_param(ctx);
    /* Only the CA's key is pinned: a self-signed CA shall still be as it was signed. */
    unsigned long flags =
        X509_V_FLAG_X509_STRICT | X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_CHECK_SS_SIGNATURE;
    if (with_crl)
        flags |= X509_V_FLAG_CRL_CHECK;
    if (X509_VERIFY_PARAM_set_flags(p, flags) != 1 ||
        X509_VERIFY_PARAM_set_purpose(p, X509_PURPOSE_SSL_CLIENT) != 1)
        return x509_fail(ERR_CRYPTO);
    X509_VERIFY_PARAM_set_time(p, (time_t)(at_ms / 1000));
    X509_VERIFY_PARAM_set_depth(p, 0);      /* no CA between the leaf and the one that is pinned */
    X509_VERIFY_PARAM_set_auth_level(p, 2); /* 112 bits: no SHA-1, no RSA under 2048 */
    return ERR_OK;
}

static enum err verify_path(const struct objects *o, uint64_t at_ms, struct why *why)
{
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    STACK_OF(X509_CRL) *crls = sk_X509_CRL_new_null();
    enum err e = ERR_NO_MEMORY;
    if (store == NULL || ctx == NULL || crls == NULL || X509_STORE_add_cert(store, o->ca) != 1 ||
        X509_STORE_CTX_init(ctx, store, o->leaf, NULL) != 1)
        goto out;
    if (o->crl != NULL) {
        if (sk_X509_CRL_push(crls, o->crl) <= 0)
            goto out;
        X509_STORE_CTX_set0_crls(ctx, crls);
    }
    e = set_params(ctx, at_ms, o->crl != NULL);
    if (e == ERR_OK && X509_verify_cert(ctx) != 1) {
        int code = X509_STORE_CTX_get_error(ctx);
        e = map_error(code);
        e = why_set(why, e, "%s: %s", X509_STORE_CTX_get_error_depth(ctx) == 0 ? "leaf" : "CA",
                    X509_verify_cert_error_string(code));
    }
out:
    sk_X509_CRL_free(crls);
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    return x509_fail(e);
}

static enum err check_names(X509 *leaf, const struct x509_check *check, struct why *why)
{
    struct buf uri;
    buf_init(&uri, LIMIT_DOMAIN + LIMIT_AGENCY + 32);
    x509_agent_uri(check->trust_domain, check->agency, &uri);
    enum err e = uri.err;
    int place = -1;
    GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, &place, NULL);
    if (e == ERR_OK && !x509_san_is(names, buf_span(&uri)))
        e = why_set(why, ERR_WRONG_USAGE, "leaf: the names are not exactly one URI %.*s",
                    (int)uri.len, (const char *)uri.data);
    GENERAL_NAMES_free(names);
    buf_fini(&uri);
    return x509_fail(e);
}

static enum err check_use(X509 *leaf, struct x509_leaf *ret, struct why *why)
{
    EVP_PKEY *key = X509_get0_pubkey(leaf);
    size_t len = sizeof(ret->key.b);
    if (key == NULL || EVP_PKEY_get_base_id(key) != EVP_PKEY_ED25519 ||
        EVP_PKEY_get_raw_public_key(key, ret->key.b, &len) != 1 || len != sizeof(ret->key.b))
        return why_set(why, x509_fail(ERR_WRONG_USAGE), "leaf: the key is not Ed25519");
    /* X509_check_ca alone passes a CA without keyCertSign. */
    if (X509_check_ca(leaf) != 0 || (X509_get_extension_flags(leaf) & EXFLAG_CA) != 0)
        return why_set(why, ERR_WRONG_USAGE, "leaf: it is a CA");
    uint32_t usage = X509_get_key_usage(leaf);
    if (usage == UINT32_MAX || (usage & KU_DIGITAL_SIGNATURE) == 0)
        return why_set(why, ERR_WRONG_USAGE, "leaf: keyUsage lacks digitalSignature");
    if ((usage & (KU_KEY_CERT_SIGN | KU_CRL_SIGN)) != 0)
        return why_set(why, ERR_WRONG_USAGE, "leaf: keyUsage allows signing certificates");
    ret->key_id = key_id_of(KEY_LABEL_SIGN, span_of(ret->key.b, sizeof(ret->key.b)));
    return ERR_OK;
}

static enum err read_times(X509 *leaf, struct x509_leaf *ret, struct why *why)
{
    if (x509_time_ms(X509_get0_notBefore(leaf), &ret->not_before_ms) != ERR_OK ||
        x509_time_ms(X509_get0_notAfter(leaf), &ret->not_after_ms) != ERR_OK ||
        ret->not_after_ms <= ret->not_before_ms)
        return why_set(why, ERR_MALFORMED, "leaf: the validity does not decode");
    if (ret->not_after_ms - ret->not_before_ms > LIMIT_LEAF_LIFETIME_MS)
        return why_set(why, ERR_WRONG_USAGE, "leaf: it lives longer than 30 days");
    return ERR_OK;
}

static enum err check_all(const struct x509_check *check, const struct objects *o,
                          struct x509_leaf *ret, struct why *why)
{
    enum err e = read_times(o->leaf, ret, why);
    if (e == ERR_OK)
        e = check_use(o->leaf, ret, why);
    if (e == ERR_OK)
        e = check_names(o->leaf, check, why);
    if (e == ERR_OK && x509_serial_bytes(X509_get0_serialNumber(o->leaf), ret->serial) != ERR_OK)
        e = why_set(why, ERR_MALFORMED, "leaf: the serial number does not decode");
    if (e != ERR_OK)
        return e;
    /* OpenSSL counts a certificate as expired in its last second. */
    uint64_t at = check->at_ms != 0 ? check->at_ms : ret->not_after_ms - 1000;
    return verify_path(o, at, why);
}

static enum err parse_objects(const struct x509_check *check, struct objects *o, struct why *why)
{
    enum err e = x509_parse_cert(check->leaf, &o->leaf);
    if (e != ERR_OK)
        return why_set(why, e, "leaf: it does not decode");
    e = x509_parse_cert(check->ca, &o->ca);
    if (e != ERR_OK)
        return why_set(why, e, "CA: it does not decode");
    if (check->crl.len == 0)
        return ERR_OK;
    if (check->crl.len > LIMIT_CRL)
        return why_set(why, ERR_TOO_LARGE, "the revocation list is too large");
    const uint8_t *at = check->crl.data;
    o->crl = d2i_X509_CRL(NULL, &at, (long)check->crl.len);
    if (o->crl == NULL || at != check->crl.data + check->crl.len)
        return why_set(why, x509_fail(ERR_MALFORMED), "the revocation list does not decode");
    return ERR_OK;
}

enum err x509_check_leaf(const struct x509_check *check, struct x509_leaf *ret, struct why *why)
{
    struct objects o = {0};
    struct x509_leaf leaf = {0};
    struct digest spki;
    enum err e = parse_objects(check, &o, why);
    if (e == ERR_OK)
        e = x509_spki_digest(check->ca, &spki);
    if (e == ERR_OK && !digest_equal(&spki, check->ca_spki))
        e = why_set(why, ERR_BAD_SIGNATURE, "CA: it is not the one that the directory pins");
    if (e == ERR_OK)
        e = check_all(check, &o, &leaf, why);
    X509_free(o.leaf);
    X509_free(o.ca);
    X509_CRL_free(o.crl);
    if (e == ERR_OK)
        *ret = leaf;
    return e;
}
