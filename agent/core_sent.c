#include "agent/core_internal.h"
#include "common/record.h"
#include "common/store.h"
#include "proto/pb.h"

#include <stdio.h>
#include <string.h>

#define RECEIPT_KEY 16

static void receipt_key(uint64_t number, const struct digest *leaf_hash, uint8_t out[RECEIPT_KEY])
{
    store_key_u64(number, out);
    memcpy(out + 8, leaf_hash->b, RECEIPT_KEY - 8);
}

static void save_receipt(struct step *s, uint64_t number, const struct receipt *r)
{
    uint8_t key[RECEIPT_KEY];

    receipt_key(number, receipt_leaf_hash(r), key);
    batch_put(s->core->batch, AGENT_RECEIPT, span_of(key, sizeof key), receipt_bytes(r));
}

static bool have_receipt(struct step *s, uint64_t number, const struct receipt *r)
{
    uint8_t key[RECEIPT_KEY];
    struct span value;

    receipt_key(number, receipt_leaf_hash(r), key);
    return view_get(s->view, AGENT_RECEIPT, span_of(key, sizeof key), &value) == ERR_OK;
}

/* Receipts without effect (late, or of somebody who may not say it) are evidence too, but a hostile
 * log could make any number of them. */
static bool has_room_for_idle_receipt(struct step *s, uint64_t number)
{
    uint8_t from[RECEIPT_KEY] = {0};
    struct span key;
    struct span value;
    size_t n = 0;

    store_key_u64(number, from);
    while (n < LIMIT_IDLE_RECEIPTS &&
           view_seek(s->view, AGENT_RECEIPT, span_of(from, sizeof from), &key, &value) !=
               ERR_NOT_FOUND &&
           key.len == sizeof from && memcmp(key.data, from, 8) == 0) {
        memcpy(from, key.data, sizeof from);
        n++;
        if (!record_key_after(from, sizeof from))
            break;
    }
    return n < LIMIT_IDLE_RECEIPTS;
}

static bool is_about(const struct receipt *r, const struct mail *m)
{
    return span_equal(pb_span(receipt_leaf(r)->envelope), digest_span(&m->digest));
}

/* Puts one recipient into `state` and logs it with what it rests on. */
static void advance(struct step *s, struct mail *m, size_t i, enum transport_state state,
                    Sp__AuditEvent event, enum err code, const char *reason,
                    const struct receipt *cause)
{
    struct mail_recipient *p = &m->recipients[i];
    struct leaf_room room;
    Sp__Leaf leaf;

    p->state = state;
    p->at_ms = cause == NULL ? s->event->now_ms : receipt_leaf(cause)->at_ms;
    p->code = code;
    snprintf(p->reason, sizeof p->reason, "%s", reason);
    mail_leaf(m, event, i, &leaf, &room);
    leaf.from = pb_string(s->event->peer);
    if (code != ERR_OK)
        leaf.code = pb_string(err_code(code));
    if (cause != NULL)
        leaf.cause = pb_bytes(digest_span(receipt_leaf_hash(cause)));
    act_leaf(s, &leaf);
}

/* The submission is decided: out of the line to the broker. */
static void finish_entry(struct step *s, struct entry *e, const struct mail *m)
{
    uint64_t number = e->number;

    queue_remove(s->core->outgoing, e);
    act_drop_pending(s, number);
    act_save_mail(s, number, m);
    act_changed(s, MAIL_OUT, number, false);
}

static void try_later(struct step *s, struct entry *e, enum err code)
{
    const struct agent_options *o = &s->core->options;

    if (code == ERR_NEED_DOCUMENTS)
        act_send(s, AGENT_SEND_DOCUMENTS, e->hop->name);
    entry_back_off(s->core->outgoing, e, code, s->event->now_ms, o->retry_ms_min, o->retry_ms_max);
}

static bool proves_acceptance(struct step *s, const struct mail *m)
{
    const struct receipt *r = s->event->answer.receipt;

    return r != NULL && is_about(r, m) &&
           receipt_leaf(r)->event == SP__AUDIT_EVENT__AUDIT_EVENT_ACCEPTED &&
           strcmp(receipt_leaf(r)->log, s->event->peer) == 0;
}

/* The broker's own word that it refuses; anything else is no reason to show anybody. */
static bool proves_refusal(struct step *s, const struct mail *m)
{
    const struct receipt *r = s->event->answer.receipt;

    return r != NULL && is_about(r, m) &&
           (receipt_leaf(r)->event == SP__AUDIT_EVENT__AUDIT_EVENT_REFUSED ||
            receipt_leaf(r)->event == SP__AUDIT_EVENT__AUDIT_EVENT_EXPIRED) &&
           strcmp(receipt_leaf(r)->log, s->event->peer) == 0;
}

static void decided(struct step *s, struct entry *e, struct mail *m)
{
    const struct receipt *r = s->event->answer.receipt;
    enum err code = s->event->answer.code;

    switch (s->event->answer.outcome) {
    case SP__OUTCOME__OUTCOME_COMMITTED:
        if (!proves_acceptance(s, m)) {
            try_later(s, e, ERR_BAD_PROOF);
            return;
        }
        e->hop->pauses = 0;
        save_receipt(s, e->number, r);
        for (size_t i = 0; i < m->n_recipients; i++) {
            if (m->recipients[i].state == STATE_QUEUED)
                advance(s, m, i, STATE_ACCEPTED, SP__AUDIT_EVENT__AUDIT_EVENT_ACCEPTED, ERR_OK, "",
                        r);
        }
        finish_entry(s, e, m);
        return;
    case SP__OUTCOME__OUTCOME_REFUSED:
        e->hop->pauses = 0;
        if (!proves_refusal(s, m))
            r = NULL;
        if (r != NULL)
            save_receipt(s, e->number, r);
        for (size_t i = 0; i < m->n_recipients; i++) {
            if (m->recipients[i].state != STATE_QUEUED)
                continue;
            advance(s, m, i, code == ERR_EXPIRED ? STATE_EXPIRED : STATE_REFUSED,
                    code == ERR_EXPIRED ? SP__AUDIT_EVENT__AUDIT_EVENT_EXPIRED
                                        : SP__AUDIT_EVENT__AUDIT_EVENT_REFUSED,
                    code, s->event->answer.rule, r);
        }
        finish_entry(s, e, m);
        return;
    default:
        try_later(s, e, code);
        return;
    }
}

void act_answer(struct step *s)
{
    struct hop *h = queue_find_hop(s->core->outgoing, s->event->peer);
    struct entry *e = h == NULL ? NULL : hop_find(h, s->event->answer.tag);
    struct mail m;
    enum err err;

    if (e == NULL)
        return;
    err = act_load_mail(s, MAIL_OUT, e->number, &m);
    if (err != ERR_OK) {
        if (act_damaged(s, err))
            queue_remove(s->core->outgoing, e);
        return;
    }
    decided(s, e, &m);
    mail_fini(&m);
}

void act_outgoing_due(struct step *s, struct entry *e)
{
    struct mail m;
    enum err err;

    if (e->state == ENTRY_IN_FLIGHT || e->expires_ms > s->event->now_ms) {
        entry_wait(s->core->outgoing, e);
        return;
    }
    if (e->offered) {
        /* The broker may have it: only its answer can end this. */
        e->expires_ms = UINT64_MAX;
        queue_touch(s->core->outgoing, e);
        return;
    }
    err = act_load_mail(s, MAIL_OUT, e->number, &m);
    if (err != ERR_OK) {
        if (act_damaged(s, err))
            queue_remove(s->core->outgoing, e);
        return;
    }
    for (size_t i = 0; i < m.n_recipients; i++)
        advance(s, &m, i, STATE_EXPIRED, SP__AUDIT_EVENT__AUDIT_EVENT_EXPIRED, ERR_EXPIRED,
                "no broker could be reached in time", NULL);
    finish_entry(s, e, &m);
    mail_fini(&m);
}

/* What a statement makes of one recipient's state; 0 when it may not be said or changes nothing. */
static enum transport_state state_after(struct step *s, const Sp__Leaf *said,
                                        const struct mail_recipient *p)
{
    bool recipient = strcmp(said->log, p->agency) == 0;
    bool broker = trust_broker(s->event->trust, said->log) != NULL;
    bool open = p->state < STATE_DELIVERED;

    switch (said->event) {
    case SP__AUDIT_EVENT__AUDIT_EVENT_ACCEPTED:
        if (!broker || !open || (said->hop == 0 && p->state != STATE_QUEUED))
            return 0;
        return said->hop == 0 ? STATE_ACCEPTED : STATE_RELAYED;
    case SP__AUDIT_EVENT__AUDIT_EVENT_DELIVERED:
        return recipient && open ? STATE_DELIVERED : 0;
    case SP__AUDIT_EVENT__AUDIT_EVENT_OPENED:
        return recipient && (open || p->state == STATE_DELIVERED) ? STATE_OPENED : 0;
    case SP__AUDIT_EVENT__AUDIT_EVENT_REFUSED:
        return (recipient || broker) && open ? STATE_REFUSED : 0;
    case SP__AUDIT_EVENT__AUDIT_EVENT_EXPIRED:
        return (recipient || broker) && open ? STATE_EXPIRED : 0;
    default:
        return 0;
    }
}

static bool names(const Sp__Leaf *leaf, const char *agency)
{
    for (size_t i = 0; i < leaf->n_recipients; i++) {
        if (strcmp(leaf->recipients[i], agency) == 0)
            return true;
    }
    return false;
}

static bool apply(struct step *s, struct mail *m)
{
    const struct receipt *r = s->event->control.receipt;
    const Sp__Leaf *said = receipt_leaf(r);
    bool any = false;

    for (size_t i = 0; i < m->n_recipients; i++) {
        enum transport_state state;

        if (!names(said, m->recipients[i].agency))
            continue;
        state = state_after(s, said, &m->recipients[i]);
        if (state == 0)
            continue;
        any = true;
        advance(s, m, i, state,
                state == STATE_RELAYED ? SP__AUDIT_EVENT__AUDIT_EVENT_RELAYED : said->event,
                said->code[0] == '\0' ? ERR_OK : err_from_code(said->code), "", r);
    }
    return any;
}

void act_control(struct step *s)
{
    const struct receipt *r = s->event->control.receipt;
    struct uuid id;
    struct mail m;
    enum mail_box box;
    uint64_t number;

    if (r != NULL && uuid_from_bytes(pb_span(receipt_leaf(r)->id), &id) == ERR_OK) {
        enum err e = act_find_mail(s, &id, s->core->options.agency, &box, &number, &m);

        if (e == ERR_OK) {
            if (box == MAIL_OUT && is_about(r, &m) && !have_receipt(s, number, r)) {
                bool any = apply(s, &m);

                if (any || has_room_for_idle_receipt(s, number))
                    save_receipt(s, number, r);
                if (any) {
                    act_save_mail(s, number, &m);
                    act_changed(s, MAIL_OUT, number, false);
                }
            }
            mail_fini(&m);
        } else if (e != ERR_NOT_FOUND) {
            act_damaged(s, e);
        }
    }
    /* Also what has no effect is acknowledged: repeating it would not help. */
    act_send(s, AGENT_SEND_CONTROL_ACK, s->event->peer)->number = s->event->control.tag;
}
