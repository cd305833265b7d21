#include "broker/core_internal.h"
#include "proto/pb.h"

#include <stdio.h>
#include <string.h>

static bool is_behind(const struct exchange_recipient *p, const char *hop)
{
    return p->state == EXCHANGE_QUEUED && strcmp(p->next, hop) == 0;
}

/* Is this receipt, already proven, the statement `event` of `hop` about exchange `x` and everyone
 * behind that hop? */
static bool receipt_is(const struct receipt *r, Sp__AuditEvent event, const char *hop,
                       const struct exchange *x)
{
    const Sp__Leaf *leaf;

    if (r == NULL)
        return false;
    leaf = receipt_leaf(r);
    for (size_t i = 0; i < x->n_recipients; i++) {
        if (is_behind(&x->recipients[i], hop) && !leaf_names(leaf, x->recipients[i].agency))
            return false;
    }
    return leaf->event == event && strcmp(leaf->log, hop) == 0 &&
           span_equal(pb_span(leaf->envelope), digest_span(&x->digest));
}

/* Hand-over proven: custody of everyone behind the hop passes with this one leaf. */
static void handed_over(struct step *s, struct exchange *x, const struct receipt *receipt,
                        bool to_agency)
{
    enum exchange_state state = to_agency ? EXCHANGE_DELIVERED : EXCHANGE_RELAYED;
    struct leaf_room room;
    Sp__Leaf leaf;

    exchange_leaf(x,
                  to_agency ? SP__AUDIT_EVENT__AUDIT_EVENT_DELIVERED
                            : SP__AUDIT_EVENT__AUDIT_EVENT_RELAYED,
                  &leaf, &room);
    for (size_t i = 0; i < x->n_recipients; i++) {
        if (!is_behind(&x->recipients[i], s->event->peer))
            continue;
        x->recipients[i].state = state;
        room.recipients[leaf.n_recipients++] = pb_string(x->recipients[i].agency);
    }
    leaf.to = pb_string(s->event->peer);
    leaf.cause = pb_bytes(digest_span(receipt_leaf_hash(receipt)));
    step_leaf(s, &leaf, span_of(NULL, 0));
    exchange_note(x, receipt_leaf_hash(receipt));
    step_send_back(s, x, NO_LEAF, receipt_bytes(receipt));
    if (to_agency)
        s->core->stats.delivered++;
    else
        s->core->stats.relayed++;
}

void step_end_custody(struct step *s, struct exchange *x, struct exchange_recipient *recipient,
                      Sp__AuditEvent event, enum err code, const struct receipt *cause)
{
    bool expired = event == SP__AUDIT_EVENT__AUDIT_EVENT_EXPIRED;
    struct leaf_room room;
    Sp__Leaf leaf;

    exchange_leaf(x, event, &leaf, &room);
    room.recipients[leaf.n_recipients++] = pb_string(recipient->agency);
    leaf.to = pb_string(recipient->next);
    leaf.code = pb_string(err_code(code));
    if (cause != NULL)
        leaf.cause = pb_bytes(digest_span(receipt_leaf_hash(cause)));
    recipient->state = expired ? EXCHANGE_EXPIRED : EXCHANGE_REFUSED;
    step_send_back(s, x, step_leaf(s, &leaf, span_of(NULL, 0)), span_of(NULL, 0));
    if (expired)
        s->core->stats.expired++;
    else
        s->core->stats.refused++;
}

/* Ends everyone behind the hop. */
static void end_behind(struct step *s, struct exchange *x, const char *hop, enum err code,
                       const struct receipt *cause)
{
    for (size_t i = 0; i < x->n_recipients; i++) {
        if (is_behind(&x->recipients[i], hop))
            step_end_custody(s, x, &x->recipients[i],
                             code == ERR_EXPIRED ? SP__AUDIT_EVENT__AUDIT_EVENT_EXPIRED
                                                 : SP__AUDIT_EVENT__AUDIT_EVENT_REFUSED,
                             code, cause);
    }
}

static void try_later(struct step *s, struct entry *e, const struct exchange *x, enum err code)
{
    const struct broker_options *o = &s->core->options;

    if (code == ERR_NEED_DOCUMENTS) {
        struct broker_send *send = step_send(s, BROKER_SEND_DOCUMENTS, e->hop->name);

        memcpy(send->agency, x->sender, strlen(x->sender) + 1);
    }
    entry_back_off(s->core->exchanges, e, code, s->event->now_ms, o->retry_ms_min, o->retry_ms_max);
}

/* Saves the exchange after its entry came to an end. */
static void finish_entry(struct step *s, struct entry *e, const struct exchange *x)
{
    uint64_t number = e->number;

    if (x->files)
        step_send(s, BROKER_END_OFFER, e->hop->name)->number = number;
    queue_remove(s->core->exchanges, e);
    step_save_exchange(s, number, x);
    if (!exchange_is_open(x))
        step_close_exchange(s, number, x);
}

static void decided(struct step *s, struct entry *e, struct exchange *x)
{
    const struct broker_answer *a = &s->event->answer;
    bool to_agency = trust_broker(s->event->trust, s->event->peer) == NULL;
    Sp__AuditEvent proof =
        to_agency ? SP__AUDIT_EVENT__AUDIT_EVENT_DELIVERED : SP__AUDIT_EVENT__AUDIT_EVENT_ACCEPTED;

    switch (a->outcome) {
    case SP__OUTCOME__OUTCOME_COMMITTED:
        /* Without its proof custody stays here: ask again, it will say the same. */
        if (!receipt_is(a->receipt, proof, s->event->peer, x)) {
            try_later(s, e, x, ERR_BAD_PROOF);
            return;
        }
        e->hop->pauses = 0;
        handed_over(s, x, a->receipt, to_agency);
        finish_entry(s, e, x);
        return;
    case SP__OUTCOME__OUTCOME_REFUSED:
        e->hop->pauses = 0;
        end_behind(s, x, s->event->peer, a->code, a->receipt);
        finish_entry(s, e, x);
        return;
    default:
        try_later(s, e, x, a->code);
        return;
    }
}

void step_answer(struct step *s)
{
    struct hop *h = queue_find_hop(s->core->exchanges, s->event->peer);
    struct entry *e = h == NULL ? NULL : hop_find(h, s->event->answer.tag);
    struct exchange x;
    enum err err;

    /* Answers come twice when a transfer was repeated. */
    if (e == NULL)
        return;
    err = step_load_exchange(s, e->number, &x);
    if (err != ERR_OK) {
        if (step_damaged(s, err, BROKER_EXCHANGE, e->number))
            queue_remove(s->core->exchanges, e);
        return;
    }
    decided(s, e, &x);
    exchange_fini(&x);
}

void step_exchange_due(struct step *s, struct entry *e)
{
    struct exchange x;
    enum err err;

    if (e->state == ENTRY_IN_FLIGHT || e->expires_ms > s->event->now_ms) {
        entry_wait(s->core->exchanges, e);
        return;
    }
    if (e->offered) {
        /* The hop may have it: only its answer can end this. */
        e->expires_ms = UINT64_MAX;
        queue_touch(s->core->exchanges, e);
        return;
    }
    err = step_load_exchange(s, e->number, &x);
    if (err != ERR_OK) {
        if (step_damaged(s, err, BROKER_EXCHANGE, e->number))
            queue_remove(s->core->exchanges, e);
        return;
    }
    end_behind(s, &x, e->hop->name, ERR_EXPIRED, NULL);
    finish_entry(s, e, &x);
    exchange_fini(&x);
}
