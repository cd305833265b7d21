#include "broker/record.h"

#include "common/record.h"

#include <stdlib.h>
#include <string.h>

#define RECORD_VERSION 0

enum err exchange_init(struct exchange *x, size_t n_recipients)
{
    memset(x, 0, sizeof *x);
    if (n_recipients == 0 || n_recipients > LIMIT_RECIPIENTS)
        return ERR_MALFORMED;
    x->recipients = calloc(n_recipients, sizeof *x->recipients);
    if (x->recipients == NULL)
        return ERR_NO_MEMORY;
    x->n_recipients = n_recipients;
    return ERR_OK;
}

void exchange_fini(struct exchange *x)
{
    if (x == NULL)
        return;
    free(x->recipients);
    x->recipients = NULL;
    x->n_recipients = 0;
}

void exchange_encode(const struct exchange *x, struct buf *out)
{
    buf_put_u8(out, RECORD_VERSION);
    buf_put(out, uuid_bytes(&x->id));
    buf_put(out, digest_span(&x->digest));
    record_put_text(out, x->from);
    record_put_text(out, x->sender);
    buf_put_u64be(out, x->accepted_ms);
    buf_put_u64be(out, x->created_ms);
    buf_put_u64be(out, x->expires_ms);
    buf_put_u64be(out, x->directory_version);
    buf_put_u64be(out, x->leaf);
    buf_put_u8(out, x->level);
    buf_put_u8(out, x->urgency);
    buf_put_u8(out, x->hop);
    buf_put_u8(out, x->files);
    buf_put_u8(out, x->n_handling);
    for (size_t i = 0; i < x->n_handling; i++)
        record_put_text(out, x->handling[i]);
    buf_put_u8(out, x->n_seen);
    buf_put(out, span_of(x->seen, (size_t)x->n_seen * sizeof x->seen[0]));
    buf_put_u16be(out, (uint16_t)x->n_recipients);
    for (size_t i = 0; i < x->n_recipients; i++) {
        const struct exchange_recipient *p = &x->recipients[i];

        record_put_text(out, p->agency);
        record_put_text(out, p->next);
        buf_put_u8(out, (uint8_t)p->state);
        buf_put_u8(out, p->offered);
    }
}

static void get_recipients(struct rd *r, struct exchange *x)
{
    for (size_t i = 0; i < x->n_recipients; i++) {
        struct exchange_recipient *p = &x->recipients[i];
        uint8_t state;
        uint8_t offered;

        record_get_text(r, p->agency, sizeof p->agency);
        record_get_text(r, p->next, sizeof p->next);
        state = rd_u8(r);
        offered = rd_u8(r);
        record_check(r, state >= EXCHANGE_QUEUED && state <= EXCHANGE_EXPIRED && offered <= 1);
        p->state = (enum exchange_state)state;
        p->offered = offered == 1;
    }
}

/* Everything before the recipients. */
static void get_head(struct rd *r, struct exchange *x)
{
    uint8_t files;

    record_get_version(r, RECORD_VERSION);
    record_get_bytes(r, x->id.b, sizeof x->id.b);
    record_get_bytes(r, x->digest.b, sizeof x->digest.b);
    record_get_text(r, x->from, sizeof x->from);
    record_get_text(r, x->sender, sizeof x->sender);
    x->accepted_ms = rd_u64be(r);
    x->created_ms = rd_u64be(r);
    x->expires_ms = rd_u64be(r);
    x->directory_version = rd_u64be(r);
    x->leaf = rd_u64be(r);
    x->level = rd_u8(r);
    x->urgency = rd_u8(r);
    x->hop = rd_u8(r);
    files = rd_u8(r);
    record_check(r, files <= 1);
    x->files = files == 1;
    x->n_handling = rd_u8(r);
    record_check(r, x->n_handling <= LIMIT_HANDLING);
    for (size_t i = 0; r->err == ERR_OK && i < x->n_handling; i++)
        record_get_text(r, x->handling[i], sizeof x->handling[i]);
    x->n_seen = rd_u8(r);
    record_check(r, x->n_seen <= EXCHANGE_SEEN);
    if (r->err == ERR_OK)
        record_get_bytes(r, x->seen, (size_t)x->n_seen * sizeof x->seen[0]);
}

enum err exchange_decode(struct span bytes, struct exchange *ret)
{
    struct exchange x;
    struct rd r = rd_of(bytes);
    enum err e;

    memset(&x, 0, sizeof x);
    get_head(&r, &x);
    x.n_recipients = rd_u16be(&r);
    if (r.err != ERR_OK || x.n_recipients == 0 || x.n_recipients > LIMIT_RECIPIENTS)
        return ERR_CORRUPT;
    x.recipients = calloc(x.n_recipients, sizeof *x.recipients);
    if (x.recipients == NULL)
        return ERR_NO_MEMORY;
    get_recipients(&r, &x);
    e = record_end(&r);
    if (e != ERR_OK) {
        exchange_fini(&x);
        return e;
    }
    *ret = x;
    return ERR_OK;
}

bool exchange_note(struct exchange *x, const struct digest *leaf_hash)
{
    for (size_t i = 0; i < x->n_seen; i++) {
        if (memcmp(x->seen[i], leaf_hash->b, sizeof x->seen[i]) == 0)
            return false;
    }
    if (x->n_seen == EXCHANGE_SEEN) {
        memmove(x->seen[0], x->seen[1], (EXCHANGE_SEEN - 1) * sizeof x->seen[0]);
        x->n_seen--;
    }
    memcpy(x->seen[x->n_seen++], leaf_hash->b, sizeof x->seen[0]);
    return true;
}

void dedup_encode(const struct dedup *d, struct buf *out)
{
    buf_put_u8(out, RECORD_VERSION);
    buf_put(out, digest_span(&d->digest));
    record_put_text(out, d->peer);
    record_put_text(out, err_code(d->code));
    buf_put_u64be(out, d->number);
    buf_put_u64be(out, d->leaf);
}

enum err dedup_decode(struct span bytes, struct dedup *ret)
{
    struct dedup d = {0};
    struct rd r = rd_of(bytes);
    char code[64];
    enum err e;

    record_get_version(&r, RECORD_VERSION);
    record_get_bytes(&r, d.digest.b, sizeof d.digest.b);
    record_get_text(&r, d.peer, sizeof d.peer);
    record_get_text(&r, code, sizeof code);
    d.number = rd_u64be(&r);
    d.leaf = rd_u64be(&r);
    e = record_end(&r);
    if (e != ERR_OK)
        return e;
    d.code = err_from_code(code);
    *ret = d;
    return ERR_OK;
}

void dedup_key(const struct uuid *id, const char *sender, uint8_t out[DEDUP_KEY])
{
    struct digest h = sha256(span_str(sender));

    memcpy(out, id->b, sizeof id->b);
    memcpy(out + sizeof id->b, h.b, DEDUP_KEY - sizeof id->b);
}

void control_encode(const struct control *c, struct buf *out)
{
    buf_put_u8(out, RECORD_VERSION);
    record_put_text(out, c->peer);
    record_put_text(out, c->to);
    buf_put_u64be(out, c->leaf);
    buf_put(out, c->receipt);
}

enum err control_decode(struct span bytes, struct control *ret)
{
    struct control c = {0};
    struct rd r = rd_of(bytes);
    enum err e;

    record_get_version(&r, RECORD_VERSION);
    record_get_text(&r, c.peer, sizeof c.peer);
    record_get_text(&r, c.to, sizeof c.to);
    c.leaf = rd_u64be(&r);
    c.receipt = rd_bytes(&r, rd_left(&r));
    e = record_end(&r);
    if (e != ERR_OK)
        return e;
    *ret = c;
    return ERR_OK;
}
