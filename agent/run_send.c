/* From what the core wants sent to frames. Runs after the commit, over what it made durable. */
#include "agent/run_internal.h"

#include "agent/record.h"
#include "audit/read.h"
#include "common/limits.h"

#include <stdio.h>
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

static enum err send_answer(struct sending *s, const struct agent_send *send)
{
    Sp__Answer a = SP__ANSWER__INIT;
    enum err e = ERR_OK;

    a.tag = send->number;
    a.id = pb_bytes(uuid_bytes(&send->id));
    a.digest = pb_bytes(digest_span(&send->digest));
    a.outcome = send->outcome;
    a.code = pb_string(send->code == ERR_OK ? "" : err_code(send->code));
    a.rule = pb_string(send->rule);
    if (send->leaf != AGENT_NO_LEAF)
        e = make_receipt(s, send->leaf);
    if (e != ERR_OK) {
        tell_unsent("audit-leaf", send->leaf, e);
        return ERR_OK;
    }
    if (send->leaf != AGENT_NO_LEAF)
        a.receipt = pb_bytes(buf_span(&s->receipt));
    outbound_answer(s->run->out, send->peer, &a);
    return ERR_OK;
}

static enum err offer_files(struct sending *s, const struct agent_send *send, const Sp__Transfer *t)
{
    struct envelope *envelope;
    enum err e = envelope_decode(pb_span(t->envelope), &envelope);

    if (e != ERR_OK)
        return e;
    if (t->n_parts < envelope_part_count(envelope))
        e = parts_offer(s->run->parts, send->peer, send->number, envelope, t);
    envelope_free(envelope);
    return e == ERR_FULL ? ERR_OK : e;
}

/* How long it lay here: the broker measures its clock against that. */
static enum err read_delay(struct sending *s, uint64_t number, uint64_t *ret)
{
    uint64_t now = env_now_ms(s->run->options.env);
    uint8_t key[MAIL_KEY];
    struct span value;
    struct mail m;
    enum err e;

    mail_key(MAIL_OUT, number, key);
    e = store_get(s->txn, AGENT_STATE, span_of(key, sizeof key), &value);
    if (e == ERR_OK)
        e = mail_decode(value, &m);
    if (e != ERR_OK)
        return e;
    *ret = now > m.at_ms ? now - m.at_ms : 0;
    if (*ret > LIMIT_EXPIRY_MS)
        *ret = LIMIT_EXPIRY_MS;
    mail_fini(&m);
    return ERR_OK;
}

static enum err send_transfer(struct sending *s, const struct agent_send *send)
{
    struct span sealed_key;
    struct span transfer;
    uint8_t key[MAIL_KEY];
    struct pb *pb = NULL;
    struct span value;
    uint64_t delay_ms = 0;
    Sp__Transfer t;
    enum err e;

    mail_key(MAIL_OUT, send->number, key);
    e = store_get(s->txn, AGENT_MAIL, span_of(key, sizeof key), &value);
    if (e == ERR_OK)
        e = mail_bulk_decode(value, &sealed_key, &transfer);
    if (e == ERR_OK)
        e = pb_decode(&sp__transfer__descriptor, transfer, LIMIT_FRAME, &pb);
    if (e == ERR_OK)
        e = read_delay(s, send->number, &delay_ms);
    if (e == ERR_OK)
        e = offer_files(s, send, pb_view(pb));
    if (e == ERR_OK) {
        t = *(const Sp__Transfer *)pb_view(pb);
        t.tag = send->number;
        t.delay_in_ms = delay_ms;
        outbound_transfer(s->run->out, send->peer, &t);
    }
    pb_free(pb);
    if (e != ERR_OK && e != ERR_NO_MEMORY) {
        tell_unsent("mail", send->number, e);
        return ERR_OK;
    }
    return e;
}

static enum err send_control(struct sending *s, const struct agent_send *send)
{
    Sp__Control wire = SP__CONTROL__INIT;
    uint8_t key[STORE_KEY_U64];
    struct mail_control c;
    struct span value;
    enum err e = store_get(s->txn, AGENT_CONTROL, number_key(send->number, key), &value);

    if (e == ERR_NOT_FOUND)
        return ERR_OK; /* acknowledged in the same commit */
    if (e == ERR_OK)
        e = mail_control_decode(value, &c);
    if (e == ERR_OK)
        e = make_receipt(s, c.leaf);
    if (e != ERR_OK) {
        tell_unsent("control", send->number, e);
        return ERR_OK;
    }
    wire.kind = SP__CONTROL_KIND__CONTROL_KIND_RECEIPT;
    wire.to = pb_string(c.to);
    wire.body = pb_bytes(buf_span(&s->receipt));
    wire.tag = send->number;
    outbound_control(s->run->out, send->peer, &wire);
    return ERR_OK;
}

static void send_documents(struct sending *s, const struct agent_send *send)
{
    struct run *r = s->run;
    struct span own = trust_documents(r->trust, r->options.core.agency);

    if (own.len > 0)
        outbound_documents(r->out, send->peer, own);
}

static void count_change(struct run *r, const struct agent_send *send)
{
    if (send->kind != AGENT_LOCAL_CHANGED || send->box != MAIL_IN)
        return;
    if (send->is_new) {
        r->facts.inbox++;
        r->facts.unopened++;
    } else if (r->facts.unopened > 0) {
        r->facts.unopened--; /* the only change of received mail is that it was opened */
    }
}

static void tell_change(struct run *r, const struct agent_send *send)
{
    struct board_change change = {
        .box = (enum mail_box)send->box, .number = send->number, .is_new = send->is_new};

    board_tell(r->options.board, &change);
}

static enum err send_one(struct sending *s, const struct agent_send *send)
{
    switch (send->kind) {
    case AGENT_SEND_ANSWER:
        return send_answer(s, send);
    case AGENT_SEND_TRANSFER:
        return send_transfer(s, send);
    case AGENT_SEND_CONTROL:
        return send_control(s, send);
    case AGENT_SEND_CONTROL_ACK:
        outbound_ack(s->run->out, send->peer, send->number);
        return ERR_OK;
    case AGENT_SEND_DOCUMENTS:
        send_documents(s, send);
        return ERR_OK;
    case AGENT_LOCAL_RESULT:
    case AGENT_LOCAL_CHANGED:
        return ERR_OK; /* are told last */
    case AGENT_NEED_PARTS:
        return ERR_OK; /* was heard before the commit */
    }
    return ERR_OK;
}

void run_publish(struct run *r)
{
    struct store_txn *txn;
    struct audit_head head;

    snprintf(r->facts.home, sizeof r->facts.home, "%s", agent_core_home(r->core));
    r->facts.pending = agent_core_pending(r->core);
    r->facts.quarantined = agent_core_quarantined(r->core);
    if (store_read_begin(r->options.store, &txn) == ERR_OK) {
        if (audit_read_head(txn, &head) == ERR_OK) {
            r->facts.log_size = head.size;
            r->facts.log_root = head.root;
        }
        store_read_end(txn);
    }
    board_set_facts(r->options.board, &r->facts);
}

/* Officers' programs hear of it when the facts that they may ask for next are there. */
static enum err tell_locals(struct run *r)
{
    for (size_t i = 0; i < r->n_sends; i++)
        count_change(r, &r->sends[i]);
    run_publish(r);
    for (size_t i = 0; i < r->n_sends; i++) {
        if (r->sends[i].kind == AGENT_LOCAL_CHANGED)
            tell_change(r, &r->sends[i]);
        else if (r->sends[i].kind == AGENT_LOCAL_RESULT)
            run_result(r, &r->sends[i]);
    }
    return outbound_flush(r->out); /* a result may have asked for documents */
}

/* A later step of the same commit may have named the part again: what is durable decides. */
static void unlink_orphans(struct sending *s)
{
    struct run *r = s->run;

    for (size_t i = 0; i < r->n_orphans; i++) {
        struct span value;
        enum err e = store_get(s->txn, AGENT_PART, digest_span(&r->orphans[i]), &value);

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
    if (e == ERR_OK)
        e = tell_locals(r);
    if (e != ERR_OK)
        log_event(log_error("send-failed"), log_code(e));
    return e;
}

enum err run_send_retries(struct run *r, enum err why)
{
    for (size_t i = 0; i < r->n_sends; i++) {
        const struct agent_send *send = &r->sends[i];
        Sp__Answer a = SP__ANSWER__INIT;

        if (send->kind == AGENT_LOCAL_RESULT) {
            struct agent_send failed = *send;

            failed.code = why;
            run_result(r, &failed);
        }
        if (send->kind != AGENT_SEND_ANSWER)
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
