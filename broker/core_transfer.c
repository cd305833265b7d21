#include "broker/core_internal.h"
#include "common/store.h"
#include "proto/pb.h"

#include <stdio.h>
#include <string.h>

#define MINUTE_MS 60000

/* What is decided about a transfer on its way through the rules. */
struct admission {
    const struct broker_transfer *transfer;
    const struct envelope_header *header;
    bool home;             /* from the sender itself, not from a broker */
    uint64_t judged_at_ms; /* when the sender's key is judged */
    char rule[POLICY_RULE];
};

static struct broker_send *answer(struct step *s, const struct envelope *e, Sp__Outcome outcome,
                                  enum err code, const char *rule, uint64_t leaf)
{
    struct broker_send *send = step_send(s, BROKER_SEND_ANSWER, s->event->peer);

    send->number = s->event->transfer.tag;
    send->id = envelope_header(e)->id;
    send->digest = *envelope_digest(e);
    send->outcome = outcome;
    send->code = code;
    send->leaf = leaf;
    snprintf(send->rule, sizeof send->rule, "%s", rule);
    return send;
}

/* A minute that is over gets its leaf, if anything in it was only counted, and makes room. */
static void begin_minute(struct step *s, struct hop *h)
{
    uint64_t minute = s->event->now_ms / MINUTE_MS;
    Sp__Leaf leaf = SP__LEAF__INIT;

    if (h->minute == minute)
        return;
    if (h->suppressed > 0) {
        leaf.event = SP__AUDIT_EVENT__AUDIT_EVENT_SUMMARY;
        leaf.from = pb_string(h->name);
        leaf.count = h->suppressed;
        step_leaf(s, &leaf, span_of(NULL, 0));
    }
    h->suppressed = 0;
    h->refusals = 0;
    h->minute = minute;
}

/* True when the peer may still have leaves of its own for refusals in this minute. */
static bool may_log_refusal(struct step *s)
{
    struct hop *h = queue_hop(s->core->exchanges, s->event->peer);

    if (h == NULL) {
        step_fail(s, ERR_NO_MEMORY);
        return false;
    }
    begin_minute(s, h);
    if (h->refusals < s->core->options.refusals_logged) {
        h->refusals++;
        return true;
    }
    h->suppressed++;
    return false;
}

void step_garbage(struct step *s)
{
    struct hop *h = queue_hop(s->core->exchanges, s->event->peer);

    if (h == NULL) {
        step_fail(s, ERR_NO_MEMORY);
        return;
    }
    begin_minute(s, h);
    h->suppressed += s->event->count;
}

void step_refusal_summaries(struct step *s)
{
    for (size_t i = 0; i < queue_hop_count(s->core->exchanges); i++)
        begin_minute(s, queue_hop_at(s->core->exchanges, i));
}

/* A leaf about an envelope that is not in the store. */
static void envelope_leaf(const struct envelope *e, Sp__AuditEvent event, Sp__Leaf *leaf,
                          struct leaf_room *room)
{
    const struct envelope_header *h = envelope_header(e);

    *leaf = (Sp__Leaf)SP__LEAF__INIT;
    leaf->event = event;
    leaf->id = pb_bytes(uuid_bytes(&h->id));
    leaf->envelope = pb_bytes(digest_span(envelope_digest(e)));
    leaf->sender = pb_string(h->sender);
    leaf->level = h->level;
    leaf->urgency = h->urgency;
    leaf->created_ms = h->created_ms;
    leaf->expires_ms = h->expires_ms;
    leaf->directory_version = h->directory_version;
    for (size_t i = 0; i < h->n_handling; i++)
        room->codes[i] = pb_string(h->handling[i]);
    leaf->handling = room->codes;
    leaf->n_handling = h->n_handling;
    for (size_t i = 0; i < envelope_recipient_count(e); i++)
        room->recipients[i] = pb_string(envelope_recipient(e, i)->agency);
    leaf->recipients = room->recipients;
    leaf->n_recipients = envelope_recipient_count(e);
}

/* Codes that say nothing about who is behind the envelope or whether its bytes arrived whole: they
 * must not occupy an id of the agency that it claims to be from. */
static bool occupies_id(const struct broker_transfer *t, enum err code)
{
    if (code == ERR_UNKNOWN_AGENCY)
        return t->verdict == ERR_OK; /* a recipient, not the sender */
    return code != ERR_BAD_SIGNATURE && code != ERR_WRONG_USAGE && code != ERR_BAD_DIGEST &&
           code != ERR_MALFORMED && code != ERR_NON_CANONICAL && code != ERR_TOO_LARGE &&
           code != ERR_HOP_LIMIT;
}

/* Conflicting bytes under a used id are evidence: what was signed is kept, erasable, beside the
 * log. */
static struct span evidence(struct step *s, const struct envelope *e)
{
    struct span bytes = envelope_bytes(e);
    struct pb *pb;

    if (bytes.len <= LIMIT_DETAIL)
        return bytes;
    buf_reset(&s->core->scratch);
    if (pb_decode(&sp__envelope__descriptor, bytes, LIMIT_ENVELOPE, &pb) == ERR_OK) {
        Sp__Envelope bare = *(const Sp__Envelope *)pb_view(pb);

        bare.header = bare.recipients = bare.wraps = bare.parts = pb_bytes(span_of(NULL, 0));
        pb_encode(&bare, &s->core->scratch);
        pb_free(pb);
    }
    return buf_span(&s->core->scratch);
}

static void refuse(struct step *s, enum err code, const char *rule)
{
    const struct envelope *e = s->event->transfer.envelope;
    const struct envelope_header *h = envelope_header(e);
    struct dedup row = {.digest = *envelope_digest(e), .code = code, .leaf = NO_LEAF};
    struct leaf_room room;
    struct dedup before;
    Sp__Leaf leaf;

    s->core->stats.refused++;
    if (!may_log_refusal(s)) {
        answer(s, e, SP__OUTCOME__OUTCOME_REFUSED, code, rule, NO_LEAF);
        return;
    }
    envelope_leaf(e, SP__AUDIT_EVENT__AUDIT_EVENT_REFUSED, &leaf, &room);
    leaf.from = pb_string(s->event->peer);
    leaf.code = pb_string(err_code(code));
    leaf.hop = (uint32_t)s->event->transfer.n_trail;
    row.leaf = step_leaf(s, &leaf, code == ERR_REPLAY ? evidence(s, e) : span_of(NULL, 0));
    if (occupies_id(&s->event->transfer, code) &&
        step_load_dedup(s, &h->id, h->sender, &before) == ERR_NOT_FOUND) {
        snprintf(row.peer, sizeof row.peer, "%s", s->event->peer);
        step_save_dedup(s, &h->id, h->sender, &row);
    }
    answer(s, e, SP__OUTCOME__OUTCOME_REFUSED, code, rule, row.leaf);
}

/* Refuses or asks to repeat, as the class of `code` says. */
static void decline(struct step *s, enum err code, const char *rule)
{
    if (err_class(code) == ERR_CLASS_RETRY)
        answer(s, s->event->transfer.envelope, SP__OUTCOME__OUTCOME_RETRY, code, rule, NO_LEAF);
    else if (err_class(code) == ERR_CLASS_PEER)
        refuse(s, code, rule);
    else
        step_fail(s, code);
}

/* Gives the first answer again when this was decided before. */
static bool answered_before(struct step *s)
{
    const struct envelope *e = s->event->transfer.envelope;
    const struct envelope_header *h = envelope_header(e);
    struct dedup d;
    enum err err = step_load_dedup(s, &h->id, h->sender, &d);

    if (err == ERR_NOT_FOUND)
        return false;
    if (err != ERR_OK) {
        /* What was decided is not known any more: neither yes nor no. */
        if (step_damaged(s, err, BROKER_DEDUP, 0))
            answer(s, e, SP__OUTCOME__OUTCOME_RETRY, ERR_UNAVAILABLE, "its record is damaged",
                   NO_LEAF);
        return true;
    }
    if (!digest_equal(&d.digest, envelope_digest(e)))
        refuse(s, ERR_REPLAY, "this id was used with other bytes");
    else if (strcmp(d.peer, s->event->peer) != 0)
        refuse(s, ERR_REPLAY, "this envelope came from another peer before");
    else if (d.code == ERR_OK)
        answer(s, e, SP__OUTCOME__OUTCOME_COMMITTED, ERR_OK, "", d.leaf);
    else
        answer(s, e, SP__OUTCOME__OUTCOME_REFUSED, d.code, "decided before", d.leaf);
    return true;
}

/* The trail must begin at one of the sender's homes, each receipt must be the acceptance of these
 * bytes, and its last broker must be the peer. */
static enum err check_trail(struct step *s, struct admission *a)
{
    const struct broker_transfer *t = a->transfer;
    const Sp__AgencyEntry *sender = trust_agency(s->event->trust, a->header->sender);
    const Sp__Leaf *first;
    bool home = false;

    if (t->n_trail == 0)
        return ERR_WRONG_USAGE;
    if (t->n_trail >= LIMIT_HOPS)
        return ERR_HOP_LIMIT;
    for (size_t i = 0; i < t->n_trail; i++) {
        const Sp__Leaf *leaf = receipt_leaf(t->trail[i]);

        if (leaf->event != SP__AUDIT_EVENT__AUDIT_EVENT_ACCEPTED || leaf->hop != i ||
            !span_equal(pb_span(leaf->envelope), digest_span(envelope_digest(t->envelope))))
            return ERR_WRONG_USAGE;
        if (strcmp(leaf->log, s->core->options.name) == 0)
            return ERR_HOP_LIMIT; /* it was here before: a loop */
    }
    first = receipt_leaf(t->trail[0]);
    for (size_t i = 0; sender != NULL && i < sender->n_homes; i++)
        home |= strcmp(sender->homes[i], first->log) == 0;
    if (!home || strcmp(receipt_leaf(t->trail[t->n_trail - 1])->log, s->event->peer) != 0)
        return ERR_WRONG_USAGE;
    a->judged_at_ms = first->at_ms;
    return ERR_OK;
}

/* A new submission: fresh documents, and the clock within the skew and the declared delay. */
static enum err check_submission(struct step *s, struct admission *a)
{
    uint64_t now = s->event->now_ms;
    uint64_t created = a->header->created_ms;
    uint64_t delay = a->transfer->delay_ms;
    enum err e = trust_fresh(s->event->trust, now);

    if (e != ERR_OK)
        return e;
    if (delay > LIMIT_EXPIRY_MS)
        return ERR_MALFORMED;
    if (created > now + LIMIT_SKEW_MS || created + LIMIT_SKEW_MS + delay < now) {
        snprintf(a->rule, sizeof a->rule, "created %lld s from this broker's clock",
                 (long long)((int64_t)(created - now) / 1000));
        return ERR_CLOCK;
    }
    a->judged_at_ms = now;
    return ERR_OK;
}

static struct policy_request request_of(const struct envelope_header *h)
{
    return (struct policy_request){.sender = h->sender,
                                   .handling = h->handling,
                                   .n_handling = h->n_handling,
                                   .level = h->level};
}

/* The rules for a message that says that it passes on another one. */
static enum err check_source(const struct step *s, struct admission *a)
{
    const struct envelope_source *source = envelope_source(a->transfer->envelope);

    if (source == NULL)
        return ERR_OK;
    return policy_onward(s->directory, a->header->handling, a->header->n_handling, source->handling,
                         source->n_handling, a->header->release.len > 0, a->rule);
}

/* Everything that does not depend on a single recipient. */
static enum err check_message(struct step *s, struct admission *a)
{
    struct ed25519_public key;
    enum err e;

    if (a->transfer->verdict != ERR_OK)
        return a->transfer->verdict;
    if (trust_broker(s->event->trust, s->event->peer) != NULL) {
        e = check_trail(s, a);
    } else if (strcmp(s->event->peer, a->header->sender) != 0) {
        snprintf(a->rule, sizeof a->rule, "an agency submits only what it sent itself");
        return ERR_WRONG_USAGE;
    } else if (a->transfer->n_trail != 0) {
        return ERR_WRONG_USAGE;
    } else {
        a->home = true;
        e = check_submission(s, a);
    }
    if (e != ERR_OK)
        return e;
    if (a->header->expires_ms <= s->event->now_ms)
        return ERR_EXPIRED;
    /* Verified in a worker under an earlier snapshot: the key is judged again under this one. */
    e = trust_signing_key(s->event->trust, a->header->sender, &a->header->key_id, a->judged_at_ms,
                          &key);
    if (e == ERR_OK)
        e = check_source(s, a);
    if (e == ERR_OK && !s->event->room)
        e = ERR_DISK_FULL;
    return e;
}

/* The recipients that this copy is for, with their next hops. At home any recipient that cannot be
 * served refuses the whole; a relay takes custody and ends those itself. */
static enum err route(struct step *s, struct admission *a, struct exchange *x, enum err *codes)
{
    const struct envelope *e = a->transfer->envelope;
    const Sp__Transfer *wire = a->transfer->wire;
    struct policy_request request = request_of(a->header);
    size_t n = wire->n_to > 0 ? wire->n_to : envelope_recipient_count(e);
    enum err err = exchange_init(x, n);

    for (size_t i = 0; err == ERR_OK && i < n; i++) {
        const char *agency = wire->n_to > 0 ? wire->to[i] : envelope_recipient(e, i)->agency;
        const char *next = "";
        size_t at;

        if (i > 0 && strcmp(x->recipients[i - 1].agency, agency) >= 0)
            return ERR_NON_CANONICAL;
        if (envelope_find_recipient(e, agency, &at) != ERR_OK)
            return ERR_NOT_A_RECIPIENT;
        codes[i] = policy_admits(s->directory, &request, agency, a->rule);
        if (codes[i] == ERR_OK)
            codes[i] = policy_next_hop(s->directory, &request, s->core->options.name, agency, &next,
                                       a->rule);
        if (codes[i] == ERR_OK && strcmp(next, s->event->peer) == 0)
            codes[i] = ERR_NO_ROUTE;
        if (codes[i] != ERR_OK && a->home)
            err = codes[i];
        x->recipients[i].state = EXCHANGE_QUEUED;
        snprintf(x->recipients[i].agency, sizeof x->recipients[i].agency, "%s", agency);
        snprintf(x->recipients[i].next, sizeof x->recipients[i].next, "%s", next);
    }
    return err;
}

static void fill_exchange(struct step *s, const struct admission *a, struct exchange *x)
{
    const struct envelope_header *h = a->header;

    x->id = h->id;
    x->digest = *envelope_digest(a->transfer->envelope);
    snprintf(x->from, sizeof x->from, "%s", s->event->peer);
    snprintf(x->sender, sizeof x->sender, "%s", h->sender);
    x->accepted_ms = s->event->now_ms;
    x->created_ms = h->created_ms;
    x->expires_ms = h->expires_ms;
    x->directory_version = h->directory_version;
    x->level = (uint8_t)h->level;
    x->urgency = (uint8_t)h->urgency;
    x->hop = (uint8_t)a->transfer->n_trail;
    x->files = a->transfer->wire->n_parts < envelope_part_count(a->transfer->envelope);
    x->n_handling = (uint8_t)h->n_handling;
    for (size_t i = 0; i < h->n_handling; i++)
        snprintf(x->handling[i], sizeof x->handling[i], "%s", h->handling[i]);
}

static void save_spool(struct step *s, uint64_t number)
{
    Sp__Transfer t = *s->event->transfer.wire;
    uint8_t key[8];

    t.tag = 0;
    t.to = NULL;
    t.n_to = 0;
    t.delay_in_ms = 0;
    buf_reset(&s->core->scratch);
    pb_encode(&t, &s->core->scratch);
    if (s->core->scratch.err != ERR_OK)
        step_fail(s, s->core->scratch.err);
    store_key_u64(number, key);
    batch_append(s->core->batch, BROKER_SPOOL, span_of(key, 8), buf_span(&s->core->scratch));
    batch_append(s->core->batch, BROKER_OPEN, span_of(key, 8), span_of(NULL, 0));
    store_key_u64(s->core->next_number, key);
    batch_put(s->core->batch, BROKER_META, span_str(BROKER_META_EXCHANGE), span_of(key, 8));
}

/* Offered at once where the window has room, so that the record is not written twice. */
static void mark_offers(struct step *s, struct exchange *x)
{
    for (size_t i = 0; i < x->n_recipients; i++) {
        struct exchange_recipient *p = &x->recipients[i];
        struct hop *h = queue_hop(s->core->exchanges, p->next);

        if (h == NULL)
            step_fail(s, ERR_NO_MEMORY);
        else if (p->state == EXCHANGE_QUEUED)
            p->offered = h->urgent.count + h->normal.count == 0 && h->up &&
                         s->event->now_ms >= h->paused_until_ms &&
                         h->in_flight.count < s->core->options.in_flight_max;
    }
}

/* A relay ends what it cannot pass on: it has the custody now. */
static void end_unroutable(struct step *s, struct exchange *x, const enum err *codes)
{
    for (size_t i = 0; i < x->n_recipients; i++) {
        if (codes[i] != ERR_OK)
            step_end_custody(s, x, &x->recipients[i], SP__AUDIT_EVENT__AUDIT_EVENT_REFUSED,
                             codes[i], NULL);
    }
}

static void accept(struct step *s, struct exchange *x, const enum err *codes)
{
    const struct envelope *e = s->event->transfer.envelope;
    struct broker_core *c = s->core;
    uint64_t number = c->next_number++;
    struct dedup row = {.digest = x->digest, .code = ERR_OK, .number = number};
    struct leaf_room room;
    Sp__Leaf leaf;

    exchange_leaf(x, SP__AUDIT_EVENT__AUDIT_EVENT_ACCEPTED, &leaf, &room);
    for (size_t i = 0; i < x->n_recipients; i++)
        room.recipients[leaf.n_recipients++] = pb_string(x->recipients[i].agency);
    leaf.from = pb_string(x->from);
    x->leaf = step_leaf(s, &leaf, span_of(NULL, 0));
    row.leaf = x->leaf;
    snprintf(row.peer, sizeof row.peer, "%s", x->from);
    save_spool(s, number);
    step_hold_parts(s, e);
    step_save_dedup(s, &x->id, x->sender, &row);
    end_unroutable(s, x, codes);
    mark_offers(s, x);
    step_save_exchange(s, number, x);
    if (exchange_is_open(x))
        step_fail(s, core_enqueue(c, number, x));
    else
        step_close_exchange(s, number, x);
    c->stats.accepted++;
    answer(s, e, SP__OUTCOME__OUTCOME_COMMITTED, ERR_OK, "", x->leaf);
}

/* ERR_QUOTA when a next hop has too much waiting for it already. */
static enum err check_queues(struct step *s, const struct exchange *x)
{
    for (size_t i = 0; i < x->n_recipients; i++) {
        if (broker_core_queued(s->core, x->recipients[i].next) >= s->core->options.queue_max)
            return ERR_QUOTA;
    }
    return ERR_OK;
}

void step_transfer(struct step *s)
{
    struct admission a = {.transfer = &s->event->transfer,
                          .header = envelope_header(s->event->transfer.envelope)};
    enum err codes[LIMIT_RECIPIENTS];
    struct exchange x = {0};
    enum err e = ERR_OK;

    /* A signature that does not hold must not learn what was decided about this id. */
    if (a.transfer->verdict == ERR_OK && answered_before(s))
        return;
    e = check_message(s, &a);
    if (e == ERR_OK)
        e = route(s, &a, &x, codes);
    if (e == ERR_OK)
        e = check_queues(s, &x);
    if (e != ERR_OK) {
        decline(s, e, a.rule);
    } else if (a.transfer->incomplete) {
        step_send(s, BROKER_NEED_PARTS, s->event->peer)->number = a.transfer->tag;
    } else {
        fill_exchange(s, &a, &x);
        accept(s, &x, codes);
    }
    exchange_fini(&x);
}
