#include "broker/core_internal.h"
#include "common/store.h"
#include "proto/pb.h"

#include <stdio.h>
#include <string.h>

void step_send_back(struct step *s, const struct exchange *x, uint64_t leaf, struct span receipt)
{
    struct broker_core *c = s->core;
    struct control control = {.leaf = leaf, .receipt = receipt};
    uint64_t number = c->next_control++;
    struct hop *h = queue_hop(c->controls, x->from);
    struct entry *e;
    uint8_t key[8];

    if (h == NULL || queue_add(c->controls, h, number, UINT64_MAX, false, false, &e) != ERR_OK) {
        step_fail(s, ERR_NO_MEMORY);
        return;
    }
    snprintf(control.peer, sizeof control.peer, "%s", x->from);
    snprintf(control.to, sizeof control.to, "%s", x->sender);
    buf_reset(&c->scratch);
    control_encode(&control, &c->scratch);
    store_key_u64(number, key);
    batch_append(c->batch, BROKER_CONTROL, span_of(key, 8), buf_span(&c->scratch));
    store_key_u64(c->next_control, key);
    batch_put(c->batch, BROKER_META, span_str(BROKER_META_CONTROL), span_of(key, 8));
}

/* The state in which a recipient is after `event`; 0 for events that change none. */
static enum exchange_state state_after(Sp__AuditEvent event)
{
    switch (event) {
    case SP__AUDIT_EVENT__AUDIT_EVENT_DELIVERED:
        return EXCHANGE_DELIVERED;
    case SP__AUDIT_EVENT__AUDIT_EVENT_OPENED:
        return EXCHANGE_OPENED;
    case SP__AUDIT_EVENT__AUDIT_EVENT_REFUSED:
        return EXCHANGE_REFUSED;
    case SP__AUDIT_EVENT__AUDIT_EVENT_EXPIRED:
        return EXCHANGE_EXPIRED;
    default:
        return 0;
    }
}

/* May the log that this leaf stands in say this about this recipient, and does it follow what is
 * known: delivered and opened only from the recipient itself, the end of a custody only from a
 * broker or the recipient, and never a second end. */
static bool may_say(struct step *s, const Sp__Leaf *leaf, const struct exchange_recipient *p)
{
    bool recipient = strcmp(leaf->log, p->agency) == 0;
    bool broker = trust_broker(s->event->trust, leaf->log) != NULL;

    switch (leaf->event) {
    case SP__AUDIT_EVENT__AUDIT_EVENT_ACCEPTED:
        return broker && p->state == EXCHANGE_RELAYED;
    case SP__AUDIT_EVENT__AUDIT_EVENT_DELIVERED:
        return recipient && p->state == EXCHANGE_RELAYED;
    case SP__AUDIT_EVENT__AUDIT_EVENT_OPENED:
        return recipient && (p->state == EXCHANGE_DELIVERED || p->state == EXCHANGE_RELAYED);
    case SP__AUDIT_EVENT__AUDIT_EVENT_REFUSED:
    case SP__AUDIT_EVENT__AUDIT_EVENT_EXPIRED:
        return (broker || recipient) && p->state == EXCHANGE_RELAYED;
    default:
        return false;
    }
}

bool leaf_names(const Sp__Leaf *leaf, const char *agency)
{
    for (size_t i = 0; i < leaf->n_recipients; i++) {
        if (strcmp(leaf->recipients[i], agency) == 0)
            return true;
    }
    return false;
}

/* It speaks of a copy whose hand-over we have no proof of yet: the answer that has it is still to
 * come, and only then can this be judged. */
static bool is_early(const struct step *s, const struct exchange *x)
{
    const Sp__Leaf *said = receipt_leaf(s->event->control.receipt);

    for (size_t i = 0; i < x->n_recipients; i++) {
        const struct exchange_recipient *p = &x->recipients[i];

        if (p->state == EXCHANGE_QUEUED && p->offered && strcmp(p->next, s->event->peer) == 0 &&
            leaf_names(said, p->agency))
            return true;
    }
    return false;
}

/* Applies the statement to everyone behind the peer whom it names; logs and passes it on if that
 * was anyone. */
static void apply(struct step *s, uint64_t number, struct exchange *x)
{
    const struct receipt *receipt = s->event->control.receipt;
    const Sp__Leaf *said = receipt_leaf(receipt);
    enum exchange_state state = state_after(said->event);
    struct leaf_room room;
    Sp__Leaf leaf;

    exchange_leaf(x,
                  said->event == SP__AUDIT_EVENT__AUDIT_EVENT_ACCEPTED
                      ? SP__AUDIT_EVENT__AUDIT_EVENT_RELAYED
                      : said->event,
                  &leaf, &room);
    for (size_t i = 0; i < x->n_recipients; i++) {
        struct exchange_recipient *p = &x->recipients[i];

        if (strcmp(p->next, s->event->peer) != 0 || !leaf_names(said, p->agency) ||
            !may_say(s, said, p))
            continue;
        room.recipients[leaf.n_recipients++] = pb_string(p->agency);
        if (state != 0)
            p->state = state;
    }
    if (leaf.n_recipients == 0 || !exchange_note(x, receipt_leaf_hash(receipt)))
        return;
    leaf.from = pb_string(s->event->peer);
    leaf.to = pb_string(x->from);
    leaf.code = said->code;
    leaf.cause = pb_bytes(digest_span(receipt_leaf_hash(receipt)));
    step_leaf(s, &leaf, span_of(NULL, 0));
    step_send_back(s, x, NO_LEAF, receipt_bytes(receipt));
    step_save_exchange(s, number, x);
    if (said->event == SP__AUDIT_EVENT__AUDIT_EVENT_DELIVERED)
        s->core->stats.delivered++;
}

void step_control(struct step *s)
{
    const struct broker_control *c = &s->event->control;
    struct exchange x;
    uint64_t number = 0;
    bool early = false;
    enum err e = ERR_NOT_FOUND;

    if (c->receipt != NULL) {
        const Sp__Leaf *leaf = receipt_leaf(c->receipt);

        e = step_find_exchange(s, pb_span(leaf->id), c->to, &number, &x);
        if (e == ERR_OK) {
            if (span_equal(pb_span(leaf->envelope), digest_span(&x.digest))) {
                early = is_early(s, &x);
                if (!early)
                    apply(s, number, &x);
            }
            exchange_fini(&x);
        }
    }
    if (e == ERR_CORRUPT)
        core_quarantine(s->core, BROKER_EXCHANGE, number);
    else if (e != ERR_OK && e != ERR_NOT_FOUND && e != ERR_MALFORMED)
        step_fail(s, e);
    /* Also what has no effect here is acknowledged: repeating it would not help. */
    if (!early)
        step_send(s, BROKER_SEND_CONTROL_ACK, s->event->peer)->number = c->tag;
}

void step_control_ack(struct step *s)
{
    struct broker_core *c = s->core;
    struct hop *h = queue_find_hop(c->controls, s->event->peer);
    struct entry *e = h == NULL ? NULL : hop_find(h, s->event->control_tag);
    uint8_t key[8];

    if (e == NULL)
        return;
    store_key_u64(e->number, key);
    batch_delete(c->batch, BROKER_CONTROL, span_of(key, 8));
    queue_remove(c->controls, e);
}
