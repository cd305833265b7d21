/* From what the core wants sent to frames. Runs after the commit, over what it made durable. */
#include "broker/run_internal.h"

#include "broker/record.h"
#include "common/limits.h"

#include <stdlib.h>
#include <string.h>

struct sending {
    struct run *run;
    struct store_txn *txn;
    struct buf receipt;
};

static struct span number_key(uint64_t number, uint8_t out[STORE_KEY_U64])
{
    store_key_u64(number, out);
    return span_of(out, STORE_KEY_U64);
}

/* A record that cannot be read is named and not sent; the process goes on. */
static void tell_unsent(const char *table, uint64_t number, enum err e)
{
    log_event(log_error("not-sent"), log_str("table", table), log_u64("number", number),
              log_code(e));
}

static enum err make_receipt(struct sending *s, uint64_t leaf)
{
    buf_reset(&s->receipt);
    return audit_log_receipt(s->run->options.log, s->txn, leaf, &s->receipt);
}

static enum err send_answer(struct sending *s, const struct broker_send *send)
{
    Sp__Answer a = SP__ANSWER__INIT;
    enum err e = ERR_OK;

    a.tag = send->number;
    a.id = pb_bytes(uuid_bytes(&send->id));
    a.digest = pb_bytes(digest_span(&send->digest));
    a.outcome = send->outcome;
    a.code = pb_string(send->code == ERR_OK ? "" : err_code(send->code));
    a.rule = pb_string(send->rule);
    if (send->leaf != NO_LEAF)
        e = make_receipt(s, send->leaf);
    if (e != ERR_OK) {
        tell_unsent("audit-leaf", send->leaf, e);
        return ERR_OK;
    }
    if (send->leaf != NO_LEAF)
        a.receipt = pb_bytes(buf_span(&s->receipt));
    outbound_answer(s->run->out, send->peer, &a);
    return ERR_OK;
}

static enum err offer_files(struct sending *s, const struct broker_send *send,
                            const Sp__Transfer *t)
{
    struct envelope *envelope;
    enum err e = envelope_decode(pb_span(t->envelope), &envelope);

    if (e != ERR_OK)
        return e;
    e = parts_offer(s->run->parts, send->peer, send->number, envelope, t);
    envelope_free(envelope);
    return e == ERR_FULL ? ERR_OK : e;
}

/* The stored transfer with what belongs to this hop: number, recipients behind it, our receipt. */
static enum err compose_transfer(struct sending *s, const struct broker_send *send,
                                 const struct exchange *x, const Sp__Transfer *stored)
{
    Sp__Transfer t = *stored;
    char *to[LIMIT_RECIPIENTS];
    ProtobufCBinaryData trail[LIMIT_HOPS + 1];
    enum err e = ERR_OK;

    t.tag = send->number;
    t.to = to;
    t.n_to = 0;
    for (size_t i = 0; i < x->n_recipients; i++) {
        if (x->recipients[i].state == EXCHANGE_QUEUED &&
            strcmp(x->recipients[i].next, send->peer) == 0)
            to[t.n_to++] = pb_string(x->recipients[i].agency);
    }
    if (t.n_to == 0 || stored->n_trail > LIMIT_HOPS)
        return ERR_OK; /* ended by a later step of the same commit */
    for (size_t i = 0; i < stored->n_trail; i++)
        trail[i] = stored->trail[i];
    e = make_receipt(s, x->leaf);
    if (e == ERR_OK && x->files)
        e = offer_files(s, send, stored);
    if (e != ERR_OK)
        return e;
    trail[stored->n_trail] = pb_bytes(buf_span(&s->receipt));
    t.trail = trail;
    t.n_trail = stored->n_trail + 1;
    outbound_transfer(s->run->out, send->peer, &t);
    return ERR_OK;
}

static enum err send_transfer(struct sending *s, const struct broker_send *send)
{
    uint8_t key[STORE_KEY_U64];
    struct exchange x = {0};
    struct pb *pb = NULL;
    struct span value;
    enum err e = store_get(s->txn, BROKER_EXCHANGE, number_key(send->number, key), &value);

    if (e == ERR_OK)
        e = exchange_decode(value, &x);
    if (e == ERR_OK)
        e = store_get(s->txn, BROKER_SPOOL, span_of(key, sizeof key), &value);
    if (e == ERR_OK)
        e = pb_decode(&sp__transfer__descriptor, value, LIMIT_FRAME, &pb);
    if (e == ERR_OK)
        e = compose_transfer(s, send, &x, pb_view(pb));
    pb_free(pb);
    exchange_fini(&x);
    if (e != ERR_OK && e != ERR_NO_MEMORY) {
        tell_unsent("spool", send->number, e);
        return ERR_OK;
    }
    return e;
}

static enum err send_control(struct sending *s, const struct broker_send *send)
{
    Sp__Control wire = SP__CONTROL__INIT;
    uint8_t key[STORE_KEY_U64];
    struct control c;
    struct span value;
    enum err e = store_get(s->txn, BROKER_CONTROL, number_key(send->number, key), &value);

    if (e == ERR_NOT_FOUND)
        return ERR_OK; /* acknowledged in the same commit */
    if (e == ERR_OK)
        e = control_decode(value, &c);
    if (e == ERR_OK && c.leaf != NO_LEAF)
        e = make_receipt(s, c.leaf);
    if (e != ERR_OK) {
        tell_unsent("control", send->number, e);
        return ERR_OK;
    }
    wire.kind = SP__CONTROL_KIND__CONTROL_KIND_RECEIPT;
    wire.to = pb_string(c.to);
    wire.body = pb_bytes(c.leaf != NO_LEAF ? buf_span(&s->receipt) : c.receipt);
    wire.tag = send->number;
    outbound_control(s->run->out, send->peer, &wire);
    return ERR_OK;
}

static void send_documents(struct sending *s, const struct broker_send *send)
{
    const struct trust *trust = s->run->trust;
    const Sp__Directory *d = trust_directory(trust);
    struct span bytes;

    if (send->agency[0] != '\0') {
        bytes = trust_documents(trust, send->agency);
        if (bytes.len > 0)
            outbound_documents(s->run->out, send->peer, bytes);
        return;
    }
    for (size_t i = 0; i < d->n_agencies; i++) {
        bytes = trust_documents(trust, d->agencies[i]->name);
        if (bytes.len > 0)
            outbound_documents(s->run->out, send->peer, bytes);
    }
}

static enum err send_one(struct sending *s, const struct broker_send *send)
{
    switch (send->kind) {
    case BROKER_SEND_ANSWER:
        return send_answer(s, send);
    case BROKER_SEND_TRANSFER:
        return send_transfer(s, send);
    case BROKER_SEND_CONTROL:
        return send_control(s, send);
    case BROKER_SEND_CONTROL_ACK:
        outbound_ack(s->run->out, send->peer, send->number);
        return ERR_OK;
    case BROKER_SEND_DOCUMENTS:
        send_documents(s, send);
        return ERR_OK;
    case BROKER_DROP_PART:
        return run_orphan(s->run, &send->digest);
    case BROKER_END_OFFER:
        parts_withdraw(s->run->parts, send->peer, send->number);
        return ERR_OK;
    case BROKER_NEED_PARTS:
        return ERR_OK; /* was heard before the commit */
    }
    return ERR_OK;
}

/* A later step of the same commit may have named the part again: what is durable decides. */
static void unlink_orphans(struct sending *s)
{
    struct run *r = s->run;

    for (size_t i = 0; i < r->n_orphans; i++) {
        struct span value;
        enum err e = store_get(s->txn, BROKER_PART, digest_span(&r->orphans[i]), &value);

        if (e == ERR_NOT_FOUND)
            e = part_dir_remove(r->options.parts, &r->orphans[i]);
        if (e != ERR_OK)
            log_event(log_warn("part-not-removed"), log_hex("part", digest_span(&r->orphans[i])),
                      log_code(e));
    }
    r->n_orphans = 0;
}

enum err run_send_all(struct run *r)
{
    struct sending s = {.run = r};
    enum err e = ERR_OK;
    enum err flushed;

    buf_init(&s.receipt, LIMIT_RECEIPT);
    if (r->n_sends + r->n_orphans > 0)
        e = store_read_begin(r->options.store, &s.txn);
    for (size_t i = 0; e == ERR_OK && i < r->n_sends; i++)
        e = send_one(&s, &r->sends[i]);
    if (e == ERR_OK)
        unlink_orphans(&s);
    store_read_end(s.txn);
    buf_fini(&s.receipt);
    flushed = outbound_flush(r->out);
    if (e == ERR_OK)
        e = flushed;
    if (e != ERR_OK)
        log_event(log_error("send-failed"), log_code(e));
    return e;
}

enum err run_send_retries(struct run *r, enum err why)
{
    for (size_t i = 0; i < r->n_sends; i++) {
        const struct broker_send *send = &r->sends[i];
        Sp__Answer a = SP__ANSWER__INIT;

        if (send->kind != BROKER_SEND_ANSWER)
            continue;
        a.tag = send->number;
        a.id = pb_bytes(uuid_bytes(&send->id));
        a.digest = pb_bytes(digest_span(&send->digest));
        a.outcome = SP__OUTCOME__OUTCOME_RETRY;
        a.code = pb_string(err_code(why));
        outbound_answer(r->out, send->peer, &a);
    }
    return outbound_flush(r->out);
}
