#include "agent/core_internal.h"
#include "common/store.h"
#include "proto/pb.h"

#include <stdio.h>
#include <string.h>

static void answer(struct step *s, Sp__Outcome outcome, enum err code, const char *rule,
                   uint64_t leaf)
{
    const struct envelope *e = s->event->incoming.envelope;
    struct agent_send *send = act_send(s, AGENT_SEND_ANSWER, s->event->peer);

    send->number = s->event->incoming.tag;
    send->id = envelope_header(e)->id;
    send->digest = *envelope_digest(e);
    send->outcome = outcome;
    send->code = code;
    send->leaf = leaf;
    snprintf(send->rule, sizeof send->rule, "%s", rule);
}

static enum err fill_mail(struct step *s, struct mail *m)
{
    const struct envelope *e = s->event->incoming.envelope;
    const struct envelope_header *h = envelope_header(e);
    enum err err = mail_init(m, envelope_recipient_count(e));

    if (err != ERR_OK)
        return err;
    m->box = MAIL_IN;
    m->id = h->id;
    m->digest = *envelope_digest(e);
    snprintf(m->sender, sizeof m->sender, "%s", h->sender);
    m->created_ms = h->created_ms;
    m->expires_ms = h->expires_ms;
    m->at_ms = s->event->now_ms;
    snprintf(m->peer, sizeof m->peer, "%s", s->event->peer);
    m->directory_version = h->directory_version;
    m->level = (uint8_t)h->level;
    m->urgency = (uint8_t)h->urgency;
    m->n_handling = (uint8_t)h->n_handling;
    for (size_t i = 0; i < h->n_handling; i++)
        snprintf(m->handling[i], sizeof m->handling[i], "%s", h->handling[i]);
    for (size_t i = 0; i < m->n_recipients; i++) {
        snprintf(m->recipients[i].agency, sizeof m->recipients[i].agency, "%s",
                 envelope_recipient(e, i)->agency);
        m->recipients[i].state = STATE_DELIVERED;
        m->recipients[i].at_ms = s->event->now_ms;
    }
    return ERR_OK;
}

static size_t own_place(const struct agent_core *c, const struct mail *m)
{
    size_t i = 0;

    while (i + 1 < m->n_recipients && strcmp(m->recipients[i].agency, c->options.agency) != 0)
        i++;
    return i;
}

/* True when the peer may still have leaves of its own for refusals in this minute. */
static bool may_log_refusal(struct step *s)
{
    struct hop *h = queue_hop(s->core->outgoing, s->event->peer);
    uint64_t minute = s->event->now_ms / AGENT_MINUTE_MS;

    if (h == NULL) {
        act_fail(s, ERR_NO_MEMORY);
        return false;
    }
    if (h->minute != minute && h->suppressed == 0) {
        h->minute = minute;
        h->refusals = 0;
    }
    if (h->minute == minute && h->refusals < s->core->options.refusals_logged) {
        h->refusals++;
        return true;
    }
    h->suppressed++;
    return false;
}

void act_garbage(struct step *s)
{
    struct hop *h = queue_hop(s->core->outgoing, s->event->peer);

    if (h == NULL) {
        act_fail(s, ERR_NO_MEMORY);
        return;
    }
    if (h->suppressed == 0)
        h->minute = s->event->now_ms / AGENT_MINUTE_MS;
    h->suppressed += s->event->count;
}

void act_refusal_summaries(struct step *s)
{
    uint64_t minute = s->event->now_ms / AGENT_MINUTE_MS;

    for (size_t i = 0; i < queue_hop_count(s->core->outgoing); i++) {
        struct hop *h = queue_hop_at(s->core->outgoing, i);
        Sp__Leaf leaf = SP__LEAF__INIT;

        if (h->suppressed == 0 || h->minute == minute)
            continue;
        leaf.event = SP__AUDIT_EVENT__AUDIT_EVENT_SUMMARY;
        leaf.from = pb_string(h->name);
        leaf.count = h->suppressed;
        act_leaf(s, &leaf);
        h->suppressed = 0;
        h->refusals = 0;
        h->minute = minute;
    }
}

/* A refusal is a leaf of our log; its receipt is the signed reason that the sender gets. */
static void refuse(struct step *s, enum err code, const char *rule)
{
    struct leaf_room room;
    struct mail m;
    Sp__Leaf leaf;
    enum err e;

    if (!may_log_refusal(s)) {
        answer(s, SP__OUTCOME__OUTCOME_REFUSED, code, rule, AGENT_NO_LEAF);
        return;
    }
    e = fill_mail(s, &m);
    if (e != ERR_OK) {
        act_fail(s, e);
        return;
    }
    mail_leaf(&m, SP__AUDIT_EVENT__AUDIT_EVENT_REFUSED, own_place(s->core, &m), &leaf, &room);
    if (code == ERR_EXPIRED)
        leaf.event = SP__AUDIT_EVENT__AUDIT_EVENT_EXPIRED;
    leaf.from = pb_string(s->event->peer);
    leaf.code = pb_string(err_code(code));
    answer(s, SP__OUTCOME__OUTCOME_REFUSED, code, rule, act_leaf(s, &leaf));
    mail_fini(&m);
}

static void decline(struct step *s, enum err code, const char *rule)
{
    if (err_class(code) == ERR_CLASS_RETRY)
        answer(s, SP__OUTCOME__OUTCOME_RETRY, code, rule, AGENT_NO_LEAF);
    else if (err_class(code) == ERR_CLASS_PEER)
        refuse(s, code, rule);
    else
        act_fail(s, code);
}

/* The trail must begin at a home of the sender and end at the peer, and be about these bytes. */
static enum err check_trail(struct step *s, uint64_t *accepted_ms)
{
    const struct agent_incoming *in = &s->event->incoming;
    const Sp__AgencyEntry *sender =
        trust_agency(s->event->trust, envelope_header(in->envelope)->sender);
    bool home = false;

    if (sender == NULL)
        return ERR_UNKNOWN_AGENCY;
    if (in->n_trail == 0 || trust_broker(s->event->trust, s->event->peer) == NULL)
        return ERR_WRONG_USAGE;
    if (in->n_trail > LIMIT_HOPS)
        return ERR_HOP_LIMIT;
    for (size_t i = 0; i < in->n_trail; i++) {
        const Sp__Leaf *leaf = receipt_leaf(in->trail[i]);

        if (leaf->event != SP__AUDIT_EVENT__AUDIT_EVENT_ACCEPTED || leaf->hop != i ||
            !span_equal(pb_span(leaf->envelope), digest_span(envelope_digest(in->envelope))))
            return ERR_WRONG_USAGE;
    }
    for (size_t i = 0; i < sender->n_homes; i++)
        home |= strcmp(sender->homes[i], receipt_leaf(in->trail[0])->log) == 0;
    if (!home || strcmp(receipt_leaf(in->trail[in->n_trail - 1])->log, s->event->peer) != 0)
        return ERR_WRONG_USAGE;
    *accepted_ms = receipt_leaf(in->trail[0])->at_ms;
    return ERR_OK;
}

static enum err check(struct step *s, char rule[POLICY_RULE])
{
    const struct agent_incoming *in = &s->event->incoming;
    const struct envelope_header *h = envelope_header(in->envelope);
    struct policy_request request = {.sender = h->sender,
                                     .handling = h->handling,
                                     .n_handling = h->n_handling,
                                     .level = h->level};
    struct ed25519_public key;
    uint64_t accepted_ms = 0;
    enum err e = in->verdict;

    if (e != ERR_OK) {
        snprintf(rule, POLICY_RULE, "%s", in->rule);
        return e;
    }
    if (strcmp(h->sender, s->core->options.agency) == 0) {
        snprintf(rule, POLICY_RULE, "an agency sends nothing to itself");
        return ERR_WRONG_USAGE;
    }
    e = check_trail(s, &accepted_ms);
    if (e == ERR_OK && h->expires_ms <= s->event->now_ms)
        e = ERR_EXPIRED;
    if (e == ERR_OK)
        e = policy_admits(s->directory, &request, s->core->options.agency, rule);
    /* Verified in a worker under an earlier snapshot: the key is judged again under this one. */
    if (e == ERR_OK)
        e = trust_signing_key(s->event->trust, h->sender, &h->key_id, accepted_ms, &key);
    if (e == ERR_OK && !s->event->room)
        e = ERR_DISK_FULL;
    return e;
}

/* The same bytes get the first answer, whatever became of their keys since; other bytes under the
 * id are refused, but only when they are proven: a forgery must not learn that the id is known. */
static bool answered_before(struct step *s)
{
    const struct envelope *e = s->event->incoming.envelope;
    const struct envelope_header *h = envelope_header(e);
    bool decided = false;
    enum mail_box box;
    uint64_t number;
    struct mail m;
    enum err err = act_find_mail(s, &h->id, h->sender, &box, &number, &m);

    if (err == ERR_NOT_FOUND)
        return false;
    if (err == ERR_CORRUPT) {
        act_damaged(s, err);
        /* What was decided is not known any more: neither yes nor no. */
        answer(s, SP__OUTCOME__OUTCOME_RETRY, ERR_UNAVAILABLE, "its record is damaged",
               AGENT_NO_LEAF);
        return true;
    }
    if (err != ERR_OK) {
        act_fail(s, err);
        return true;
    }
    if (box == MAIL_IN && digest_equal(&m.digest, envelope_digest(e))) {
        answer(s, SP__OUTCOME__OUTCOME_COMMITTED, ERR_OK, "", m.leaf);
        decided = true;
    } else if (s->event->incoming.verdict == ERR_OK) {
        refuse(s, ERR_REPLAY, "this id was used with other bytes");
        decided = true;
    }
    mail_fini(&m);
    return decided;
}

#define SEEN_KEY (LIMIT_AGENCY + 64)

static struct span seen_key(const struct envelope_header *h, uint8_t out[SEEN_KEY])
{
    size_t sender = strlen(h->sender) + 1;
    size_t agent = strlen(h->agent) + 1;

    memcpy(out, h->sender, sender);
    memcpy(out + sender, h->agent, agent);
    memcpy(out + sender + agent, h->epoch, sizeof h->epoch);
    out[sender + agent + sizeof h->epoch] = (uint8_t)h->urgency;
    return span_of(out, sender + agent + sizeof h->epoch + 1);
}

/* Follows the stream: true when this one does not follow the last one that was seen. */
static bool follow_stream(struct step *s, const struct envelope_recipient *self)
{
    const struct envelope *e = s->event->incoming.envelope;
    struct stream_position last = {0};
    struct stream_position now = {.seq = self->seq, .digest = *envelope_digest(e)};
    uint8_t key[SEEN_KEY];
    struct span k = seen_key(envelope_header(e), key);
    struct span value;
    enum err err = view_get(s->view, AGENT_SEEN, k, &value);
    bool gap;

    if (err == ERR_OK)
        err = stream_decode(value, &last);
    if (err == ERR_CORRUPT)
        act_damaged(s, err); /* shows as a gap */
    else if (err != ERR_OK && err != ERR_NOT_FOUND)
        act_fail(s, err);
    gap = self->seq != last.seq + 1 || !digest_equal(&self->prev_hash, &last.digest);
    if (self->seq > last.seq) {
        buf_reset(&s->core->scratch);
        stream_encode(&now, &s->core->scratch);
        batch_put(s->core->batch, AGENT_SEEN, k, buf_span(&s->core->scratch));
    }
    return gap;
}

static void deliver(struct step *s)
{
    const struct agent_incoming *in = &s->event->incoming;
    uint64_t number = s->core->next_mail++;
    struct envelope_part parts[LIMIT_PARTS];
    Sp__Transfer transfer = *in->wire;
    struct leaf_room room;
    struct mail m;
    Sp__Leaf leaf;
    size_t self;
    enum err e = fill_mail(s, &m);

    if (e != ERR_OK) {
        act_fail(s, e);
        return;
    }
    self = own_place(s->core, &m);
    m.seq = envelope_recipient(in->envelope, self)->seq;
    m.gap = follow_stream(s, envelope_recipient(in->envelope, self));
    mail_leaf(&m, SP__AUDIT_EVENT__AUDIT_EVENT_DELIVERED, self, &leaf, &room);
    leaf.from = pb_string(s->event->peer);
    leaf.cause = pb_bytes(digest_span(receipt_leaf_hash(in->trail[in->n_trail - 1])));
    m.leaf = act_leaf(s, &leaf);
    transfer.tag = 0;
    transfer.to = NULL;
    transfer.n_to = 0;
    for (size_t i = 0; i < envelope_part_count(in->envelope); i++)
        parts[i] = *envelope_part(in->envelope, i);
    act_save_new(s, number, &m, in->sealed_key, &transfer, in->summary, parts,
                 envelope_part_count(in->envelope));
    answer(s, SP__OUTCOME__OUTCOME_COMMITTED, ERR_OK, "", m.leaf);
    act_changed(s, MAIL_IN, number, true);
    mail_fini(&m);
}

void act_incoming(struct step *s)
{
    char rule[POLICY_RULE] = "";
    enum err e;

    if (answered_before(s))
        return;
    e = check(s, rule);
    if (e == ERR_OK && s->event->incoming.incomplete)
        act_send(s, AGENT_NEED_PARTS, s->event->peer)->number = s->event->incoming.tag;
    else if (e == ERR_OK)
        deliver(s);
    else
        decline(s, e, rule);
}

/* The receipt goes back by the broker that brought the message: it knows the exchange. */
static void queue_control(struct step *s, const struct mail *m, uint64_t leaf)
{
    struct agent_core *c = s->core;
    struct mail_control control = {.leaf = leaf};
    uint64_t number = c->next_control++;
    struct hop *h = queue_hop(c->controls, m->peer);
    struct entry *entry;
    uint8_t key[8];

    snprintf(control.to, sizeof control.to, "%s", m->sender);
    snprintf(control.peer, sizeof control.peer, "%s", m->peer);
    act_fail(s, h == NULL ? ERR_NO_MEMORY
                          : queue_add(c->controls, h, number, UINT64_MAX, false, true, &entry));
    buf_reset(&c->scratch);
    mail_control_encode(&control, &c->scratch);
    store_key_u64(number, key);
    batch_append(c->batch, AGENT_CONTROL, span_of(key, 8), buf_span(&c->scratch));
    store_key_u64(c->next_control, key);
    batch_put(c->batch, AGENT_META, span_str(AGENT_META_CONTROL), span_of(key, 8));
}

static void opened_result(struct step *s, const struct mail *m, enum err code)
{
    struct agent_send *send = act_send(s, AGENT_LOCAL_RESULT, "");

    send->number = s->event->opened.token;
    send->code = code;
    if (m != NULL)
        send->id = m->id;
}

void act_opened(struct step *s)
{
    struct leaf_room room;
    struct mail m;
    Sp__Leaf leaf;
    enum err e = act_load_mail(s, MAIL_IN, s->event->opened.number, &m);

    if (e != ERR_OK) {
        if (act_damaged(s, e))
            opened_result(s, NULL, e);
        return;
    }
    if (m.opened_ms == 0) {
        size_t self = own_place(s->core, &m);

        m.opened_ms = s->event->now_ms;
        m.recipients[self].state = STATE_OPENED;
        m.recipients[self].at_ms = s->event->now_ms;
        mail_leaf(&m, SP__AUDIT_EVENT__AUDIT_EVENT_OPENED, self, &leaf, &room);
        leaf.officer = pb_string(s->event->opened.officer);
        m.opened_leaf = act_leaf(s, &leaf);
        queue_control(s, &m, m.opened_leaf);
        act_save_mail(s, s->event->opened.number, &m);
        act_changed(s, MAIL_IN, s->event->opened.number, false);
    }
    opened_result(s, &m, ERR_OK);
    mail_fini(&m);
}

void act_control_ack(struct step *s)
{
    struct agent_core *c = s->core;
    struct hop *h = queue_find_hop(c->controls, s->event->peer);
    struct entry *e = h == NULL ? NULL : hop_find(h, s->event->control_tag);
    uint8_t key[8];

    if (e == NULL)
        return;
    store_key_u64(e->number, key);
    batch_delete(c->batch, AGENT_CONTROL, span_of(key, 8));
    queue_remove(c->controls, e);
}
