#include "audit/evidence.h"

#include "common/limits.h"
#include "common/secret.h"
#include "proto/part.h"
#include "proto/seal.h"

#include <stdlib.h>

struct evidence {
    struct pb *pb;
    const Sp__Evidence *view;
    struct envelope *envelope;
    struct receipt **receipts;
};

static enum err decode_receipt(struct evidence *ev, size_t i)
{
    const struct envelope_header *h = envelope_header(ev->envelope);
    const Sp__Leaf *leaf;
    enum err e;

    e = receipt_decode(pb_span(ev->view->receipts[i]), &ev->receipts[i]);
    if (e != ERR_OK)
        return e;
    leaf = receipt_leaf(ev->receipts[i]);
    if (!span_equal(pb_span(leaf->envelope), digest_span(envelope_digest(ev->envelope))) ||
        !span_equal(pb_span(leaf->id), uuid_bytes(&h->id)))
        return ERR_BAD_PROOF;
    return ERR_OK;
}

static enum err evidence_read(struct evidence *ev)
{
    const Sp__Evidence *v = ev->view;
    enum err e;

    if (v->version != 0)
        return ERR_VERSION;
    if (v->n_receipts > LIMIT_EVIDENCE_RECEIPTS)
        return ERR_TOO_LARGE;
    if (v->file_key.len != 0 && v->file_key.len != FILE_KEY)
        return ERR_MALFORMED;
    e = envelope_decode(pb_span(v->envelope), &ev->envelope);
    if (e != ERR_OK)
        return e;
    ev->receipts = calloc(v->n_receipts + 1, sizeof(struct receipt *));
    if (ev->receipts == NULL)
        return ERR_NO_MEMORY;
    for (size_t i = 0; i < v->n_receipts; i++) {
        e = decode_receipt(ev, i);
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

enum err evidence_decode(struct span bytes, struct evidence **ret)
{
    struct evidence *ev = calloc(1, sizeof(*ev));
    enum err e;

    if (ev == NULL)
        return ERR_NO_MEMORY;
    e = pb_decode(&sp__evidence__descriptor, bytes, LIMIT_EVIDENCE, &ev->pb);
    if (e != ERR_OK)
        goto out;
    ev->view = pb_view(ev->pb);
    e = evidence_read(ev);
    if (e != ERR_OK)
        goto out;
    *ret = ev;
    ev = NULL;
out:
    evidence_free(ev);
    return e;
}

void evidence_free(struct evidence *ev)
{
    if (ev == NULL)
        return;
    for (size_t i = 0; ev->receipts != NULL && i < ev->view->n_receipts; i++)
        receipt_free(ev->receipts[i]);
    free(ev->receipts);
    envelope_free(ev->envelope);
    pb_free(ev->pb);
    free(ev);
}

const Sp__Evidence *evidence_view(const struct evidence *ev)
{
    return ev->view;
}

const struct envelope *evidence_envelope(const struct evidence *ev)
{
    return ev->envelope;
}

size_t evidence_receipt_count(const struct evidence *ev)
{
    return ev->view->n_receipts;
}

const struct receipt *evidence_receipt(const struct evidence *ev, size_t i)
{
    return ev->receipts[i];
}

uint64_t evidence_judged_at_ms(const struct evidence *ev)
{
    for (size_t i = 0; i < ev->view->n_receipts; i++) {
        const Sp__Leaf *leaf = receipt_leaf(ev->receipts[i]);

        if (leaf->event == SP__AUDIT_EVENT__AUDIT_EVENT_ACCEPTED && leaf->hop == 0)
            return leaf->at_ms;
    }
    return envelope_header(ev->envelope)->created_ms;
}

static enum err check_signature(const struct evidence *ev, const struct evidence_keys *keys)
{
    const struct envelope_header *h = envelope_header(ev->envelope);
    struct ed25519_public key;
    enum err e;

    e = keys->signing_key(keys->ctx, h->sender, &h->key_id, evidence_judged_at_ms(ev), &key);
    if (e != ERR_OK)
        return e;
    return envelope_verify(ev->envelope, &key, NULL);
}

static enum err check_commitment(const struct evidence *ev)
{
    struct secret *key;
    enum err e;

    e = secret_copy(pb_span(ev->view->file_key), &key);
    if (e != ERR_OK)
        return e;
    e = open_check_commitment(ev->envelope, key);
    secret_free(key);
    return e;
}

static enum err check_receipt(const struct receipt *r, const struct evidence_keys *keys,
                              struct receipt_cache *cache)
{
    struct ed25519_public key;
    enum err e;

    e = keys->log_key(keys->ctx, receipt_leaf(r)->log, &key);
    if (e != ERR_OK)
        return e;
    return receipt_verify(r, keys->federation, &key, cache);
}

enum err evidence_verify(const struct evidence *ev, const struct evidence_keys *keys,
                         struct evidence_verdict *verdict, enum err *receipts)
{
    struct evidence_verdict v = {.commitment = ERR_OK};
    struct receipt_cache *cache;
    enum err first, e;

    e = receipt_cache_new(LIMIT_RECEIPT_CACHE, &cache);
    if (e != ERR_OK)
        return e;
    v.signature = check_signature(ev, keys);
    v.disclosed = ev->view->file_key.len > 0;
    if (v.disclosed)
        v.commitment = check_commitment(ev);
    first = v.signature != ERR_OK ? v.signature : v.commitment;
    for (size_t i = 0; i < ev->view->n_receipts; i++) {
        e = check_receipt(ev->receipts[i], keys, cache);
        if (receipts != NULL)
            receipts[i] = e;
        if (e == ERR_OK)
            v.receipts_good++;
        else if (first == ERR_OK)
            first = e;
    }
    receipt_cache_free(cache);
    *verdict = v;
    return first;
}
