#include "agent/record.h"

#include "common/record.h"
#include "common/store.h"

#include <stdlib.h>
#include <string.h>

#define RECORD_VERSION 0

enum err mail_init(struct mail *m, size_t n_recipients)
{
    memset(m, 0, sizeof *m);
    if (n_recipients == 0 || n_recipients > LIMIT_RECIPIENTS)
        return ERR_MALFORMED;
    m->recipients = calloc(n_recipients, sizeof *m->recipients);
    if (m->recipients == NULL)
        return ERR_NO_MEMORY;
    m->n_recipients = n_recipients;
    return ERR_OK;
}

void mail_fini(struct mail *m)
{
    if (m == NULL)
        return;
    free(m->recipients);
    m->recipients = NULL;
    m->n_recipients = 0;
}

void mail_encode(const struct mail *m, struct buf *out)
{
    buf_put_u8(out, RECORD_VERSION);
    buf_put_u8(out, (uint8_t)m->box);
    buf_put(out, uuid_bytes(&m->id));
    buf_put(out, digest_span(&m->digest));
    record_put_text(out, m->sender);
    buf_put_u64be(out, m->created_ms);
    buf_put_u64be(out, m->expires_ms);
    buf_put_u64be(out, m->at_ms);
    buf_put_u64be(out, m->directory_version);
    buf_put_u64be(out, m->leaf);
    buf_put_u64be(out, m->opened_ms);
    buf_put_u64be(out, m->opened_leaf);
    buf_put_u64be(out, m->seq);
    buf_put_u8(out, m->gap);
    buf_put_u8(out, m->level);
    buf_put_u8(out, m->urgency);
    buf_put_u8(out, m->n_handling);
    for (size_t i = 0; i < m->n_handling; i++)
        record_put_text(out, m->handling[i]);
    buf_put(out, digest_span(&m->content_digest));
    record_put_text(out, m->officer);
    record_put_text(out, m->peer);
    buf_put_u16be(out, (uint16_t)m->n_recipients);
    for (size_t i = 0; i < m->n_recipients; i++) {
        const struct mail_recipient *p = &m->recipients[i];

        record_put_text(out, p->agency);
        buf_put_u8(out, (uint8_t)p->state);
        buf_put_u64be(out, p->at_ms);
        record_put_text(out, err_code(p->code));
        record_put_text(out, p->reason);
    }
}

static bool get_bool(struct rd *r)
{
    uint8_t v = rd_u8(r);

    record_check(r, v <= 1);
    return v == 1;
}

static void get_head(struct rd *r, struct mail *m)
{
    uint8_t box;

    record_get_version(r, RECORD_VERSION);
    box = rd_u8(r);
    record_check(r, box == MAIL_OUT || box == MAIL_IN);
    m->box = (enum mail_box)box;
    record_get_bytes(r, m->id.b, sizeof m->id.b);
    record_get_bytes(r, m->digest.b, sizeof m->digest.b);
    record_get_text(r, m->sender, sizeof m->sender);
    m->created_ms = rd_u64be(r);
    m->expires_ms = rd_u64be(r);
    m->at_ms = rd_u64be(r);
    m->directory_version = rd_u64be(r);
    m->leaf = rd_u64be(r);
    m->opened_ms = rd_u64be(r);
    m->opened_leaf = rd_u64be(r);
    m->seq = rd_u64be(r);
    m->gap = get_bool(r);
    m->level = rd_u8(r);
    m->urgency = rd_u8(r);
    m->n_handling = rd_u8(r);
    record_check(r, m->n_handling <= LIMIT_HANDLING);
    for (size_t i = 0; r->err == ERR_OK && i < m->n_handling; i++)
        record_get_text(r, m->handling[i], sizeof m->handling[i]);
    record_get_bytes(r, m->content_digest.b, sizeof m->content_digest.b);
    record_get_text(r, m->officer, sizeof m->officer);
    record_get_text(r, m->peer, sizeof m->peer);
}

static void get_recipient(struct rd *r, struct mail_recipient *p)
{
    char code[64];
    uint8_t state;

    record_get_text(r, p->agency, sizeof p->agency);
    state = rd_u8(r);
    record_check(r, state >= STATE_QUEUED && state <= STATE_UNRESOLVED);
    p->state = (enum transport_state)state;
    p->at_ms = rd_u64be(r);
    record_get_text(r, code, sizeof code);
    record_get_text(r, p->reason, sizeof p->reason);
    if (r->err != ERR_OK)
        return;
    p->code = err_from_code(code);
    record_check(r, strcmp(err_code(p->code), code) == 0);
}

enum err mail_decode(struct span bytes, struct mail *ret)
{
    struct mail m;
    struct rd r = rd_of(bytes);
    enum err e;

    memset(&m, 0, sizeof m);
    get_head(&r, &m);
    m.n_recipients = rd_u16be(&r);
    if (r.err != ERR_OK || m.n_recipients == 0 || m.n_recipients > LIMIT_RECIPIENTS)
        return ERR_CORRUPT;
    m.recipients = calloc(m.n_recipients, sizeof *m.recipients);
    if (m.recipients == NULL)
        return ERR_NO_MEMORY;
    for (size_t i = 0; i < m.n_recipients; i++)
        get_recipient(&r, &m.recipients[i]);
    e = record_end(&r);
    if (e != ERR_OK) {
        mail_fini(&m);
        return e;
    }
    *ret = m;
    return ERR_OK;
}

#define UNRESOLVED_AFTER_MS ((uint64_t)86400000)

enum transport_state mail_recipient_state(const struct mail *m, size_t i, uint64_t now_ms)
{
    enum transport_state state = m->recipients[i].state;

    if (m->box == MAIL_OUT && state < STATE_DELIVERED &&
        now_ms > m->expires_ms + UNRESOLVED_AFTER_MS)
        return STATE_UNRESOLVED;
    return state;
}

/* A recipient that was refused holds the message back more than one that waits: it stands first. */
static int advance_of(enum transport_state state)
{
    switch (state) {
    case STATE_REFUSED:
        return 0;
    case STATE_EXPIRED:
        return 1;
    case STATE_RECALLED:
        return 2;
    case STATE_UNRESOLVED:
        return 3;
    default:
        return 3 + (int)state;
    }
}

enum transport_state mail_state(const struct mail *m, uint64_t now_ms)
{
    enum transport_state least = mail_recipient_state(m, 0, now_ms);

    for (size_t i = 1; i < m->n_recipients; i++) {
        enum transport_state state = mail_recipient_state(m, i, now_ms);

        if (advance_of(state) < advance_of(least))
            least = state;
    }
    return least;
}

void mail_key(enum mail_box box, uint64_t number, uint8_t out[MAIL_KEY])
{
    out[0] = (uint8_t)box;
    store_key_u64(number, out + 1);
}

void mail_id_key(const struct uuid *id, const char *sender, uint8_t out[MAIL_ID_KEY])
{
    struct digest h = sha256(span_str(sender));

    memcpy(out, id->b, sizeof id->b);
    memcpy(out + sizeof id->b, h.b, MAIL_ID_KEY - sizeof id->b);
}

enum err mail_ref_decode(struct span bytes, enum mail_box *box, uint64_t *number)
{
    struct rd r = rd_of(bytes);
    uint8_t b = rd_u8(&r);
    uint64_t n = rd_u64be(&r);

    record_check(&r, b == MAIL_OUT || b == MAIL_IN);
    if (record_end(&r) != ERR_OK)
        return ERR_CORRUPT;
    *box = (enum mail_box)b;
    *number = n;
    return ERR_OK;
}

void mail_bulk_encode(struct span sealed_key, struct span transfer, struct buf *out)
{
    buf_put_u8(out, RECORD_VERSION);
    buf_put_u16be(out, (uint16_t)sealed_key.len);
    buf_put(out, sealed_key);
    buf_put(out, transfer);
}

enum err mail_bulk_decode(struct span bytes, struct span *sealed_key, struct span *transfer)
{
    struct rd r = rd_of(bytes);
    struct span key;
    struct span rest;

    record_get_version(&r, RECORD_VERSION);
    key = rd_bytes(&r, rd_u16be(&r));
    rest = rd_bytes(&r, rd_left(&r));
    if (record_end(&r) != ERR_OK)
        return ERR_CORRUPT;
    *sealed_key = key;
    *transfer = rest;
    return ERR_OK;
}

void stream_encode(const struct stream_position *p, struct buf *out)
{
    buf_put_u8(out, RECORD_VERSION);
    buf_put_u64be(out, p->seq);
    buf_put(out, digest_span(&p->digest));
}

enum err stream_decode(struct span bytes, struct stream_position *ret)
{
    struct rd r = rd_of(bytes);
    struct stream_position p = {0};

    record_get_version(&r, RECORD_VERSION);
    p.seq = rd_u64be(&r);
    record_get_bytes(&r, p.digest.b, sizeof p.digest.b);
    if (record_end(&r) != ERR_OK)
        return ERR_CORRUPT;
    *ret = p;
    return ERR_OK;
}

void mail_control_encode(const struct mail_control *c, struct buf *out)
{
    buf_put_u8(out, RECORD_VERSION);
    record_put_text(out, c->to);
    record_put_text(out, c->peer);
    buf_put_u64be(out, c->leaf);
}

enum err mail_control_decode(struct span bytes, struct mail_control *ret)
{
    struct rd r = rd_of(bytes);
    struct mail_control c = {0};

    record_get_version(&r, RECORD_VERSION);
    record_get_text(&r, c.to, sizeof c.to);
    record_get_text(&r, c.peer, sizeof c.peer);
    c.leaf = rd_u64be(&r);
    if (record_end(&r) != ERR_OK)
        return ERR_CORRUPT;
    *ret = c;
    return ERR_OK;
}
