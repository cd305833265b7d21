#include "certs/trust_internal.h"

#include "certs/directory.h"

#include <string.h>

/* NULL with the reason: not listed, or nothing known of it. */
static const struct record *find(const struct trust *t, const char *agency, enum err *why)
{
    const Sp__Directory *d = trust_directory(t);
    size_t i = directory_agency_index(d, agency);
    if (i == d->n_agencies) {
        *why = ERR_UNKNOWN_AGENCY;
        return NULL;
    }
    *why = ERR_NEED_DOCUMENTS;
    return t->records[i];
}

struct span trust_documents(const struct trust *t, const char *agency)
{
    enum err why;
    const struct record *r = find(t, agency, &why);
    return r == NULL ? span_of(NULL, 0) : buf_span(&r->documents);
}

static bool is_key(const struct held *h, const struct key_id *id)
{
    return memcmp(h->leaf.key_id.b, id->b, sizeof(id->b)) == 0;
}

struct span trust_documents_for(const struct trust *t, const char *agency, const struct key_id *id)
{
    enum err why;
    const struct record *r = find(t, agency, &why);
    if (r == NULL)
        return span_of(NULL, 0);
    if (is_key(r->newest, id))
        return buf_span(&r->documents);
    for (size_t i = 0; i < r->n_earlier; i++) {
        if (is_key(r->earlier[i], id))
            return buf_span(&r->earlier[i]->documents);
    }
    return span_of(NULL, 0);
}

enum err trust_signing_key(const struct trust *t, const char *agency, const struct key_id *id,
                           uint64_t at_ms, struct ed25519_public *ret)
{
    enum err e;
    const struct record *r = find(t, agency, &e);
    if (r == NULL)
        return e;
    /* One key may have several certificates, one after the other: any that is good will do. */
    for (size_t i = 0; i <= r->n_earlier; i++) {
        const struct held *h = i == 0 ? r->newest : r->earlier[i - 1];
        if (!is_key(h, id))
            continue;
        enum err good = record_leaf_good(r, h, at_ms);
        if (good == ERR_OK) {
            *ret = h->leaf.key;
            return ERR_OK;
        }
        if (e == ERR_NEED_DOCUMENTS || good == ERR_REVOKED)
            e = good;
    }
    return e;
}

enum err trust_encryption_key(const struct trust *t, const char *agency, uint32_t suite,
                              uint64_t now_ms, struct trust_encryption *ret)
{
    enum err e;
    const struct record *r = find(t, agency, &e);
    if (r == NULL)
        return e;
    if (suite != 1)
        return ERR_VERSION;
    e = record_leaf_listed(r, r->newest) ? ERR_REVOKED : record_leaf_good(r, r->newest, now_ms);
    if (e != ERR_OK)
        return e;
    const Sp__Statement *s = document_statement(&r->newest->statement);
    if (s->expires_ms <= now_ms)
        return ERR_EXPIRED;
    const Sp__EncryptionKey *best = NULL;
    for (size_t i = 0; i < s->n_keys; i++) {
        const Sp__EncryptionKey *k = s->keys[i];
        if (k->suite != suite || k->not_before_ms > now_ms || k->not_after_ms <= now_ms)
            continue;
        /* Sorted by start: a later one of the same sort replaces an earlier. */
        if (best == NULL || best->last_resort || !k->last_resort)
            best = k;
    }
    if (best == NULL)
        return ERR_EXPIRED;
    memcpy(ret->key_id.b, best->key_id.data, sizeof(ret->key_id.b));
    memcpy(ret->public_key, best->public_key.data, sizeof(ret->public_key));
    ret->not_after_ms = best->not_after_ms;
    ret->last_resort = best->last_resort;
    return ERR_OK;
}

enum err trust_log_key(const struct trust *t, const char *name, struct ed25519_public *ret)
{
    const Sp__BrokerEntry *b = trust_broker(t, name);
    if (b != NULL) {
        memcpy(ret->b, b->log_key.data, sizeof(ret->b));
        return ERR_OK;
    }
    enum err e;
    const struct record *r = find(t, name, &e);
    if (r == NULL)
        return e;
    memcpy(ret->b, document_statement(&r->newest->statement)->log_key.data, sizeof(ret->b));
    return ERR_OK;
}

uint64_t trust_leaf_expires_ms(const struct trust *t, const char *agency)
{
    enum err why;
    const struct record *r = find(t, agency, &why);
    return r == NULL ? 0 : r->newest->leaf.not_after_ms;
}

size_t trust_transport_keys(const struct trust *t, const char *name, uint64_t now_ms,
                            uint8_t (*keys)[32], size_t max)
{
    Sp__CurveKey *const *list = NULL;
    size_t n = 0;
    enum err why;
    const Sp__BrokerEntry *b = trust_broker(t, name);
    const struct record *r = b != NULL ? NULL : find(t, name, &why);
    if (b != NULL) {
        list = b->keys;
        n = b->n_keys;
    } else if (r != NULL && !record_leaf_listed(r, r->newest)) {
        const Sp__Statement *s = document_statement(&r->newest->statement);
        list = s->transport;
        n = s->n_transport;
    }
    size_t found = 0;
    for (size_t i = 0; i < n && found < max; i++) {
        if (list[i]->not_before_ms <= now_ms && now_ms < list[i]->not_after_ms)
            memcpy(keys[found++], list[i]->public_key.data, sizeof(keys[0]));
    }
    return found;
}
