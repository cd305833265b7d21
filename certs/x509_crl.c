#include "certs/x509_internal.h"

#include <stdlib.h>
#include <string.h>

static enum err parse_crl(struct span der, X509_CRL **ret, struct why *why)
{
    if (der.len == 0)
        return why_set(why, ERR_MALFORMED, "no revocation list");
    if (der.len > LIMIT_CRL)
        return why_set(why, ERR_TOO_LARGE, "the revocation list is over %zu bytes", LIMIT_CRL);
    const uint8_t *at = der.data;
    X509_CRL *crl = d2i_X509_CRL(NULL, &at, (long)der.len);
    if (crl == NULL || at != der.data + der.len) {
        X509_CRL_free(crl);
        return why_set(why, x509_fail(ERR_MALFORMED), "not a revocation list");
    }
    *ret = crl;
    return ERR_OK;
}

static bool weak_signature(const X509_CRL *crl)
{
    int digest = NID_undef;
    if (OBJ_find_sigid_algs(X509_CRL_get_signature_nid(crl), &digest, NULL) != 1)
        return true;
    return digest == NID_sha1 || digest == NID_md5;
}

/* A list that speaks for the whole CA and says nothing that we would pass over. */
static enum err check_scope(X509_CRL *crl, struct why *why)
{
    if (X509_CRL_get_ext_by_NID(crl, NID_delta_crl, -1) >= 0)
        return why_set(why, ERR_WRONG_USAGE, "a delta revocation list");
    if (X509_CRL_get_ext_by_NID(crl, NID_issuing_distribution_point, -1) >= 0)
        return why_set(why, ERR_WRONG_USAGE, "a partial revocation list");
    for (int i = 0; i < X509_CRL_get_ext_count(crl); i++) {
        if (X509_EXTENSION_get_critical(X509_CRL_get_ext(crl, i)))
            return why_set(why, ERR_WRONG_USAGE, "a critical extension that is not understood");
    }
    return ERR_OK;
}

static enum err check_signature(X509_CRL *crl, struct span ca, struct why *why)
{
    X509 *issuer = NULL;
    enum err e = x509_parse_cert(ca, &issuer);
    if (e != ERR_OK)
        return why_set(why, e, "the CA does not decode");
    if (X509_NAME_cmp(X509_CRL_get_issuer(crl), X509_get_subject_name(issuer)) != 0)
        e = why_set(why, ERR_BAD_SIGNATURE, "the revocation list is of another CA");
    else if ((X509_get_key_usage(issuer) & KU_CRL_SIGN) == 0)
        e = why_set(why, ERR_WRONG_USAGE, "the CA may not sign revocation lists");
    else if (weak_signature(crl) || X509_CRL_verify(crl, X509_get0_pubkey(issuer)) != 1)
        e = why_set(why, ERR_BAD_SIGNATURE, "the revocation list is not signed by the CA");
    X509_free(issuer);
    return x509_fail(e);
}

static enum err read_entry(const X509_REVOKED *entry, struct x509_revoked *ret)
{
    enum err e = x509_serial_bytes(X509_REVOKED_get0_serialNumber(entry), ret->serial);
    if (e == ERR_OK)
        e = x509_time_ms(X509_REVOKED_get0_revocationDate(entry), &ret->revoked_ms);
    if (e != ERR_OK)
        return e;
    for (int i = 0; i < X509_REVOKED_get_ext_count(entry); i++) {
        if (X509_EXTENSION_get_critical(X509_REVOKED_get_ext(entry, i)))
            return ERR_WRONG_USAGE;
    }
    ASN1_ENUMERATED *reason = X509_REVOKED_get_ext_d2i(entry, NID_crl_reason, NULL, NULL);
    if (reason != NULL) {
        long r = ASN1_ENUMERATED_get(reason);
        ret->compromise = r == CRL_REASON_KEY_COMPROMISE || r == CRL_REASON_CA_COMPROMISE;
        ASN1_ENUMERATED_free(reason);
    }
    ASN1_GENERALIZEDTIME *since = X509_REVOKED_get_ext_d2i(entry, NID_invalidity_date, NULL, NULL);
    if (since != NULL && ret->compromise)
        e = x509_time_ms(since, &ret->invalid_since_ms);
    ASN1_GENERALIZEDTIME_free(since);
    return x509_fail(e);
}

static int by_serial(const void *a, const void *b)
{
    return memcmp(((const struct x509_revoked *)a)->serial,
                  ((const struct x509_revoked *)b)->serial, X509_SERIAL);
}

static enum err read_entries(X509_CRL *crl, struct x509_crl *ret, struct why *why)
{
    STACK_OF(X509_REVOKED) *entries = X509_CRL_get_REVOKED(crl);
    int n = entries == NULL ? 0 : sk_X509_REVOKED_num(entries);
    if (n > LIMIT_CRL_ENTRIES)
        return why_set(why, ERR_TOO_LARGE, "the revocation list has over %d entries",
                       LIMIT_CRL_ENTRIES);
    if (n <= 0)
        return ERR_OK;
    ret->items = calloc((size_t)n, sizeof(*ret->items));
    if (ret->items == NULL)
        return why_set(why, ERR_NO_MEMORY, "out of memory");
    for (int i = 0; i < n; i++) {
        enum err e = read_entry(sk_X509_REVOKED_value(entries, i), &ret->items[i]);
        if (e != ERR_OK)
            return why_set(why, e, "entry %d of the revocation list is not understood", i);
    }
    ret->n = (size_t)n;
    qsort(ret->items, ret->n, sizeof(*ret->items), by_serial);
    return ERR_OK;
}

static enum err read_head(X509_CRL *crl, struct x509_crl *ret, struct why *why)
{
    if (X509_CRL_get0_nextUpdate(crl) == NULL)
        return why_set(why, ERR_STALE_CRL, "the revocation list has no nextUpdate");
    if (x509_time_ms(X509_CRL_get0_lastUpdate(crl), &ret->this_update_ms) != ERR_OK ||
        x509_time_ms(X509_CRL_get0_nextUpdate(crl), &ret->next_update_ms) != ERR_OK)
        return why_set(why, ERR_MALFORMED, "the revocation list's times do not decode");
    ASN1_INTEGER *number = X509_CRL_get_ext_d2i(crl, NID_crl_number, NULL, NULL);
    if (number != NULL && ASN1_INTEGER_get_uint64(&ret->number, number) != 1)
        ret->number = 0;
    ASN1_INTEGER_free(number);
    return x509_fail(ERR_OK);
}

enum err x509_read_crl(struct span crl, struct span ca, struct x509_crl *ret, struct why *why)
{
    X509_CRL *list = NULL;
    struct x509_crl found = {0};
    enum err e = parse_crl(crl, &list, why);
    if (e == ERR_OK)
        e = check_scope(list, why);
    if (e == ERR_OK)
        e = check_signature(list, ca, why);
    if (e == ERR_OK)
        e = read_head(list, &found, why);
    if (e == ERR_OK)
        e = read_entries(list, &found, why);
    X509_CRL_free(list);
    if (e != ERR_OK) {
        x509_crl_fini(&found);
        return e;
    }
    *ret = found;
    return ERR_OK;
}

void x509_crl_fini(struct x509_crl *crl)
{
    if (crl == NULL)
        return;
    free(crl->items);
    memset(crl, 0, sizeof(*crl));
}

const struct x509_revoked *x509_crl_find(const struct x509_crl *crl,
                                         const uint8_t serial[X509_SERIAL])
{
    struct x509_revoked key = {0};
    memcpy(key.serial, serial, X509_SERIAL);
    if (crl->n == 0)
        return NULL;
    return bsearch(&key, crl->items, crl->n, sizeof(*crl->items), by_serial);
}
