#include "certs/trust_record.h"

#include <stdlib.h>
#include <string.h>

#define CHAIN 2 /* the leaf and the CA that issued it */

static struct held *held_ref(struct held *h)
{
    if (h != NULL)
        atomic_fetch_add_explicit(&h->refs, 1, memory_order_relaxed);
    return h;
}

void held_free(struct held *h)
{
    if (h == NULL || atomic_fetch_sub_explicit(&h->refs, 1, memory_order_acq_rel) != 1)
        return;
    document_fini(&h->statement);
    buf_fini(&h->documents);
    free(h);
}

static struct held_crl *held_crl_ref(struct held_crl *c)
{
    if (c != NULL)
        atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void held_crl_free(struct held_crl *c)
{
    if (c == NULL || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
        return;
    x509_crl_fini(&c->list);
    buf_fini(&c->der);
    free(c);
}

struct record *record_ref(struct record *r)
{
    if (r != NULL)
        atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
    return r;
}

void record_free(struct record *r)
{
    if (r == NULL || atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) != 1)
        return;
    held_free(r->newest);
    for (size_t i = 0; i < r->n_earlier; i++)
        held_free(r->earlier[i]);
    held_crl_free(r->crl);
    buf_fini(&r->documents);
    free(r);
}

/* When to judge the path: now while the leaf lives, else at its end. */
static enum err judging_time(struct span leaf, uint64_t now_ms, uint64_t *ret, struct why *why)
{
    uint64_t before, after;
    enum err e = x509_validity(leaf, &before, &after);
    if (e != ERR_OK)
        return why_set(why, e, "leaf: it does not decode");
    if (before > now_ms + LIMIT_SKEW_MS)
        return why_set(why, ERR_CLOCK, "leaf: it is not valid yet");
    if (after < now_ms && now_ms - after > LIMIT_EXPIRED_LEAF_MS)
        return why_set(why, ERR_EXPIRED, "leaf: it ended too long ago");
    *ret = after <= now_ms + 1000 ? 0 : now_ms < before ? before : now_ms;
    return ERR_OK;
}

static enum err judge_leaf(const Sp__AgencyEntry *agency, const Sp__AgencyDocuments *d,
                           uint64_t now_ms, struct x509_leaf *ret, struct why *why)
{
    if (d->n_chain != CHAIN)
        return why_set(why, ERR_MALFORMED, "the chain is not a leaf and the CA that issued it");
    struct digest spki;
    memcpy(spki.b, agency->ca_spki.data, sizeof(spki.b));
    struct x509_check check = {
        .leaf = pb_span(d->chain[0]),
        .ca = pb_span(d->chain[1]),
        .ca_spki = &spki,
        .agency = agency->name,
        .trust_domain = agency->trust_domain,
    };
    enum err e = judging_time(check.leaf, now_ms, &check.at_ms, why);
    return e != ERR_OK ? e : x509_check_leaf(&check, ret, why);
}

static enum err judge_statement(const Sp__AgencyEntry *agency, struct span bytes,
                                const struct x509_leaf *leaf, uint64_t now_ms, struct document *ret,
                                struct why *why)
{
    struct document d = {0};
    enum err e = document_read(DOCUMENT_STATEMENT, bytes, &d, why);
    if (e != ERR_OK)
        return e;
    const Sp__Statement *s = document_statement(&d);
    size_t signatures = 0;
    if (strcmp(s->agency, agency->name) != 0)
        e = why_set(why, ERR_WRONG_USAGE, "statement: of another agency");
    else if (s->issued_ms > now_ms + LIMIT_SKEW_MS)
        e = why_set(why, ERR_CLOCK, "statement: it is issued in the future");
    else if (s->issued_ms + LIMIT_SKEW_MS < leaf->not_before_ms ||
             s->issued_ms > leaf->not_after_ms)
        e = why_set(why, ERR_WRONG_USAGE, "statement: it is issued outside the leaf's life");
    if (e == ERR_OK)
        e = dsse_count(d.dsse, DSSE_TYPE_STATEMENT, &leaf->key, 1, &signatures);
    if (e == ERR_OK && signatures != 1)
        e = why_set(why, ERR_BAD_SIGNATURE, "statement: it is not signed by the leaf");
    if (e != ERR_OK) {
        document_fini(&d);
        return e;
    }
    *ret = d;
    return ERR_OK;
}

static enum err judge_crl(const Sp__AgencyDocuments *d, uint64_t crl_max_ms, uint64_t now_ms,
                          struct held_crl **ret, struct why *why)
{
    if (d->crl.len == 0) {
        *ret = NULL;
        return ERR_OK;
    }
    struct held_crl *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return why_set(why, ERR_NO_MEMORY, "out of memory");
    atomic_init(&c->refs, 1);
    buf_init(&c->der, LIMIT_CRL);
    buf_put(&c->der, pb_span(d->crl));
    enum err e = c->der.err;
    if (e == ERR_OK)
        e = x509_read_crl(buf_span(&c->der), pb_span(d->chain[1]), &c->list, why);
    if (e == ERR_OK && c->list.this_update_ms > now_ms + LIMIT_SKEW_MS)
        e = why_set(why, ERR_CLOCK, "the revocation list is of the future");
    if (e != ERR_OK) {
        held_crl_free(c);
        return e;
    }
    uint64_t bound = c->list.this_update_ms + crl_max_ms;
    c->good_until_ms = c->list.next_update_ms < bound ? c->list.next_update_ms : bound;
    *ret = c;
    return ERR_OK;
}

enum err record_judge(const Sp__AgencyEntry *agency, uint64_t crl_max_ms,
                      const Sp__AgencyDocuments *documents, struct span encoded, uint64_t now_ms,
                      struct held **held, struct held_crl **crl, struct why *why)
{
    struct held *h = calloc(1, sizeof(*h));
    if (h == NULL)
        return why_set(why, ERR_NO_MEMORY, "out of memory");
    atomic_init(&h->refs, 1);
    buf_init(&h->documents, LIMIT_DOCUMENT);
    buf_put(&h->documents, encoded);
    enum err e = h->documents.err;
    if (e == ERR_OK)
        e = judge_leaf(agency, documents, now_ms, &h->leaf, why);
    if (e == ERR_OK)
        e = judge_statement(agency, pb_span(documents->statement), &h->leaf, now_ms, &h->statement,
                            why);
    if (e == ERR_OK)
        e = judge_crl(documents, crl_max_ms, now_ms, crl, why);
    if (e != ERR_OK) {
        held_free(h);
        return e;
    }
    h->leaf_sha256 = sha256(pb_span(documents->chain[0]));
    *held = h;
    return ERR_OK;
}

static uint64_t serial_of(const struct held *h)
{
    return document_statement(&h->statement)->serial;
}

static bool crl_newer(const struct held_crl *a, const struct held_crl *b)
{
    if (a == NULL)
        return false;
    if (b == NULL)
        return true;
    if (a->list.number != 0 && b->list.number != 0 && a->list.number != b->list.number)
        return a->list.number > b->list.number;
    return a->list.this_update_ms > b->list.this_update_ms;
}

static bool knows_leaf(const struct record *r, const struct held *h)
{
    if (digest_equal(&r->newest->leaf_sha256, &h->leaf_sha256))
        return true;
    for (size_t i = 0; i < r->n_earlier; i++) {
        if (digest_equal(&r->earlier[i]->leaf_sha256, &h->leaf_sha256))
            return true;
    }
    return false;
}

/* Keeps the leaves that end last. True when `h` found a place; then it holds a reference. */
static bool put_earlier(struct record *r, struct held *h)
{
    if (knows_leaf(r, h))
        return false;
    size_t at = 0;
    while (at < r->n_earlier && r->earlier[at]->leaf.not_after_ms >= h->leaf.not_after_ms)
        at++;
    if (at == LIMIT_EARLIER_LEAVES)
        return false;
    if (r->n_earlier == LIMIT_EARLIER_LEAVES)
        held_free(r->earlier[--r->n_earlier]);
    memmove(&r->earlier[at + 1], &r->earlier[at], (r->n_earlier - at) * sizeof(r->earlier[0]));
    r->earlier[at] = held_ref(h);
    r->n_earlier++;
    return true;
}

/* What travels: the newest leaf and statement with the newest list. */
static enum err encode_documents(struct record *r)
{
    struct pb *pb = NULL;
    enum err e = pb_decode(&sp__agency_documents__descriptor, buf_span(&r->newest->documents),
                           LIMIT_DOCUMENT, &pb);
    if (e != ERR_OK)
        return e;
    Sp__AgencyDocuments d = *(const Sp__AgencyDocuments *)pb_view(pb);
    if (r->crl != NULL)
        d.crl = pb_bytes(buf_span(&r->crl->der));
    buf_init(&r->documents, LIMIT_DOCUMENT);
    pb_encode(&d, &r->documents);
    pb_free(pb);
    return r->documents.err;
}

static struct record *record_copy(const struct record *old)
{
    struct record *r = calloc(1, sizeof(*r));
    if (r == NULL)
        return NULL;
    atomic_init(&r->refs, 1);
    if (old == NULL)
        return r;
    r->newest = held_ref(old->newest);
    for (size_t i = 0; i < old->n_earlier; i++)
        r->earlier[r->n_earlier++] = held_ref(old->earlier[i]);
    r->crl = held_crl_ref(old->crl);
    return r;
}

enum err record_merge(const struct record *old, struct held *held, struct held_crl *crl,
                      bool *changed, struct record **ret)
{
    struct record *r = record_copy(old);
    if (r == NULL)
        return ERR_NO_MEMORY;
    bool news = false;
    if (r->newest == NULL) {
        r->newest = held_ref(held);
        news = true;
    } else if (serial_of(held) > serial_of(r->newest)) {
        struct held *before = r->newest;
        r->newest = held_ref(held);
        put_earlier(r, before);
        held_free(before);
        news = true;
    } else {
        news = put_earlier(r, held);
    }
    if (crl_newer(crl, r->crl)) {
        held_crl_free(r->crl);
        r->crl = held_crl_ref(crl);
        news = true;
    }
    enum err e = news ? encode_documents(r) : ERR_OK;
    if (e != ERR_OK || !news) {
        record_free(r);
        if (e == ERR_OK)
            *changed = false;
        return e;
    }
    *changed = true;
    *ret = r;
    return ERR_OK;
}

bool record_leaf_listed(const struct record *r, const struct held *h)
{
    return r->crl != NULL && x509_crl_find(&r->crl->list, h->leaf.serial) != NULL;
}

enum err record_leaf_good(const struct record *r, const struct held *h, uint64_t at_ms)
{
    if (r->crl == NULL)
        return ERR_STALE_CRL;
    const struct x509_revoked *entry = x509_crl_find(&r->crl->list, h->leaf.serial);
    if (entry != NULL) {
        uint64_t since = entry->compromise ? entry->invalid_since_ms : entry->revoked_ms;
        if (at_ms >= since)
            return ERR_REVOKED;
    }
    if (at_ms < h->leaf.not_before_ms || at_ms > h->leaf.not_after_ms)
        return ERR_EXPIRED;
    return at_ms > r->crl->good_until_ms ? ERR_STALE_CRL : ERR_OK;
}
