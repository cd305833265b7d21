#include "broker/core.h"

#include "broker/core_internal.h"
#include "proto/pb.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define SENDS_MAX 65536
#define CONTROL_WINDOW 256

const struct store_table broker_tables[BROKER_TABLES] = {
    [AUDIT_LEAF] = {"audit-leaf", false},     [AUDIT_TILE] = {"audit-tile", false},
    [AUDIT_ID] = {"audit-id", false},         [AUDIT_CHECKPOINT] = {"audit-checkpoint", false},
    [AUDIT_DETAIL] = {"audit-detail", false}, [AUDIT_META] = {"audit-meta", false},
    [BROKER_SPOOL] = {"spool", false},        [BROKER_EXCHANGE] = {"exchange", false},
    [BROKER_OPEN] = {"open", false},          [BROKER_DONE] = {"done", false},
    [BROKER_DEDUP] = {"dedup", false},        [BROKER_CONTROL] = {"control", false},
    [BROKER_PART] = {"part", false},          [BROKER_DOCUMENT] = {"document", false},
    [BROKER_META] = {"meta", false},
};

struct broker_options broker_options_default(const char *name)
{
    return (struct broker_options){
        .name = name,
        .keep_ms = (uint64_t)72 * 3600000,
        .queue_max = 100000,
        .in_flight_max = 256,
        .answer_ms = 10000,
        .retry_ms_min = 100,
        .retry_ms_max = 30000,
        .refusals_logged = 60,
    };
}

void step_fail(struct step *s, enum err e)
{
    if (s->core->err == ERR_OK)
        s->core->err = e;
}

void core_quarantine(struct broker_core *c, unsigned table, uint64_t number)
{
    c->stats.quarantined++;
    c->stats.quarantined_table = table;
    c->stats.quarantined_number = number;
}

bool step_damaged(struct step *s, enum err e, unsigned table, uint64_t number)
{
    if (e != ERR_CORRUPT && e != ERR_NOT_FOUND) {
        step_fail(s, e);
        return false;
    }
    core_quarantine(s->core, table, number);
    return true;
}

struct broker_send *step_send(struct step *s, enum broker_send_kind kind, const char *peer)
{
    struct broker_core *c = s->core;
    struct broker_send *send;

    assert(strlen(peer) < LIMIT_PEER);
    if (c->n_sends == c->cap_sends) {
        size_t cap = c->cap_sends == 0 ? 64 : 2 * c->cap_sends;
        struct broker_send *grown = cap > SENDS_MAX ? NULL : realloc(c->sends, cap * sizeof *grown);

        if (grown == NULL) {
            step_fail(s, ERR_NO_MEMORY);
            c->n_sends = 0; /* the step fails: what it wanted to send is void */
        } else {
            c->sends = grown;
            c->cap_sends = cap;
        }
    }
    send = &c->sends[c->n_sends++];
    memset(send, 0, sizeof *send);
    send->kind = kind;
    send->leaf = NO_LEAF;
    memcpy(send->peer, peer, strlen(peer) + 1);
    return send;
}

uint64_t step_leaf(struct step *s, Sp__Leaf *leaf, struct span detail)
{
    leaf->at_ms = s->event->now_ms;
    batch_leaf(s->core->batch, leaf, detail);
    return s->core->log_size++;
}

enum err broker_core_new(const struct broker_options *options, const struct view *view,
                         uint64_t log_size, uint64_t now_ms, struct broker_core **ret)
{
    struct broker_core *c = calloc(1, sizeof *c);
    enum err e;

    if (c == NULL)
        return ERR_NO_MEMORY;
    c->options = *options;
    c->log_size = log_size;
    c->next_number = 1;
    c->next_control = 1;
    c->next_due_ms = now_ms;
    c->next_prune_ms = now_ms;
    buf_init(&c->scratch, 2 * LIMIT_FRAME);
    c->cap_sends = 64;
    c->sends = calloc(c->cap_sends, sizeof *c->sends);
    e = c->sends == NULL ? ERR_NO_MEMORY : batch_new(&c->batch);
    if (e == ERR_OK)
        e = queue_new(&c->exchanges);
    if (e == ERR_OK)
        e = queue_new(&c->controls);
    if (e == ERR_OK)
        e = core_rebuild(c, view, now_ms);
    if (e != ERR_OK) {
        broker_core_free(c);
        return e;
    }
    *ret = c;
    return ERR_OK;
}

void broker_core_free(struct broker_core *c)
{
    if (c == NULL)
        return;
    queue_free(c->exchanges);
    queue_free(c->controls);
    batch_free(c->batch);
    buf_fini(&c->scratch);
    free(c->sends);
    free(c);
}

static void peer_up(struct step *s)
{
    enum err e = queue_peer_up(s->core->exchanges, s->event->peer);

    if (e == ERR_OK)
        e = queue_peer_up(s->core->controls, s->event->peer);
    if (e != ERR_OK)
        step_fail(s, e);
    else
        step_send(s, BROKER_SEND_DOCUMENTS, s->event->peer);
}

static void peer_down(struct step *s)
{
    queue_peer_down(s->core->exchanges, s->event->peer);
    queue_peer_down(s->core->controls, s->event->peer);
}

/* Stores an agency's documents and passes news on to every other peer. */
static void documents_in(struct step *s)
{
    const struct broker_documents *d = &s->event->documents;
    struct broker_core *c = s->core;
    Sp__Leaf leaf = SP__LEAF__INIT;
    struct digest digest;

    if (!d->news)
        return;
    digest = sha256(d->bytes);
    batch_put(c->batch, BROKER_DOCUMENT, span_str(d->agency), d->bytes);
    leaf.event = SP__AUDIT_EVENT__AUDIT_EVENT_STATEMENT;
    leaf.sender = pb_string(d->agency);
    leaf.from = pb_string(s->event->peer);
    leaf.cause = pb_bytes(digest_span(&digest));
    step_leaf(s, &leaf, span_of(NULL, 0));
    for (size_t i = 0; i < queue_hop_count(c->exchanges); i++) {
        struct hop *h = queue_hop_at(c->exchanges, i);

        if (h->up && strcmp(h->name, s->event->peer) != 0) {
            struct broker_send *send = step_send(s, BROKER_SEND_DOCUMENTS, h->name);

            memcpy(send->agency, d->agency, strlen(d->agency) + 1);
        }
    }
}

/* The floor keeps a restart from believing older documents. A directory is logged once. */
static void trust_adopted(struct step *s)
{
    const struct digest *digest = trust_directory_digest(s->event->trust);
    struct trust_floor floor = trust_versions(s->event->trust);
    Sp__Leaf leaf = SP__LEAF__INIT;
    struct span known;
    uint8_t bytes[24];

    store_key_u64(floor.root_version, bytes);
    store_key_u64(floor.directory_version, bytes + 8);
    store_key_u64(floor.timestamp_version, bytes + 16);
    if (view_get(s->view, BROKER_META, span_str(BROKER_META_FLOOR), &known) != ERR_OK ||
        !span_equal(known, span_of(bytes, sizeof bytes)))
        batch_put(s->core->batch, BROKER_META, span_str(BROKER_META_FLOOR),
                  span_of(bytes, sizeof bytes));
    if (view_get(s->view, BROKER_META, span_str(BROKER_META_DIRECTORY), &known) == ERR_OK &&
        span_equal(known, digest_span(digest)))
        return;
    batch_put(s->core->batch, BROKER_META, span_str(BROKER_META_DIRECTORY), digest_span(digest));
    leaf.event = SP__AUDIT_EVENT__AUDIT_EVENT_DIRECTORY;
    leaf.directory_version = s->directory->version;
    leaf.cause = pb_bytes(digest_span(digest));
    step_leaf(s, &leaf, span_of(NULL, 0));
}

/* The first offer makes the hand-over possible, which has to be durable before it happens. False
 * when the exchange's record does not hold: then its entry is gone. */
static bool mark_offered(struct step *s, struct entry *e)
{
    struct exchange x;
    enum err err = step_load_exchange(s, e->number, &x);

    if (err != ERR_OK) {
        if (step_damaged(s, err, BROKER_EXCHANGE, e->number))
            queue_remove(s->core->exchanges, e);
        return false;
    }
    for (size_t i = 0; i < x.n_recipients; i++) {
        if (strcmp(x.recipients[i].next, e->hop->name) == 0)
            x.recipients[i].offered = true;
    }
    step_save_exchange(s, e->number, &x);
    exchange_fini(&x);
    return true;
}

void step_pump(struct step *s)
{
    struct broker_core *c = s->core;
    uint64_t now = s->event->now_ms;

    for (size_t i = 0; i < queue_hop_count(c->exchanges); i++) {
        struct hop *h = queue_hop_at(c->exchanges, i);
        struct entry *e;

        while (c->err == ERR_OK && (e = hop_next(h, now, c->options.in_flight_max)) != NULL) {
            if (!e->offered && !mark_offered(s, e))
                continue;
            step_send(s, BROKER_SEND_TRANSFER, h->name)->number = e->number;
            entry_sent(c->exchanges, e, now + c->options.answer_ms);
        }
    }
    for (size_t i = 0; i < queue_hop_count(c->controls); i++) {
        struct hop *h = queue_hop_at(c->controls, i);
        struct entry *e;

        while (c->err == ERR_OK && (e = hop_next(h, now, CONTROL_WINDOW)) != NULL) {
            step_send(s, BROKER_SEND_CONTROL, h->name)->number = e->number;
            entry_sent(c->controls, e, now + c->options.answer_ms);
        }
    }
}

static void handle_due(struct step *s)
{
    struct broker_core *c = s->core;
    uint64_t now = s->event->now_ms;
    struct entry *e;

    while (c->err == ERR_OK && (e = queue_due(c->exchanges, now)) != NULL)
        step_exchange_due(s, e);
    while (c->err == ERR_OK && (e = queue_due(c->controls, now)) != NULL)
        entry_wait(c->controls, e);
    step_refusal_summaries(s);
    step_forget(s);
}

static void dispatch(struct step *s)
{
    switch (s->event->kind) {
    case BROKER_TRANSFER:
        step_transfer(s);
        break;
    case BROKER_ANSWER:
        step_answer(s);
        break;
    case BROKER_CONTROL_IN:
        step_control(s);
        break;
    case BROKER_CONTROL_ACK:
        step_control_ack(s);
        break;
    case BROKER_DOCUMENTS_IN:
        documents_in(s);
        break;
    case BROKER_GARBAGE:
        step_garbage(s);
        break;
    case BROKER_PEER_UP:
        peer_up(s);
        break;
    case BROKER_PEER_DOWN:
        peer_down(s);
        break;
    case BROKER_TRUST:
        trust_adopted(s);
        break;
    case BROKER_TICK:
        break;
    }
}

enum err broker_step(struct broker_core *c, const struct view *view,
                     const struct broker_event *event, const struct broker_update **ret)
{
    struct step s = {
        .core = c, .view = view, .event = event, .directory = trust_directory(event->trust)};

    batch_reset(c->batch);
    c->n_sends = 0;
    c->err = ERR_OK;
    dispatch(&s);
    if (c->err == ERR_OK && event->now_ms >= broker_core_wake_at(c))
        handle_due(&s);
    if (c->err == ERR_OK)
        step_pump(&s);
    if (c->err == ERR_OK)
        c->err = batch_error(c->batch);
    if (c->err != ERR_OK)
        return c->err;
    c->update = (struct broker_update){.batch = c->batch, .sends = c->sends, .n_sends = c->n_sends};
    *ret = &c->update;
    return ERR_OK;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t broker_core_wake_at(const struct broker_core *c)
{
    uint64_t at = earlier(queue_first_due(c->exchanges), queue_first_due(c->controls));

    at = earlier(at, queue_first_pause_end(c->exchanges));
    return earlier(at, earlier(c->next_due_ms, c->next_prune_ms));
}

void broker_core_stats(const struct broker_core *c, struct broker_core_stats *ret)
{
    *ret = c->stats;
    ret->queued = 0;
    ret->in_flight = 0;
    ret->controls = 0;
    for (size_t i = 0; i < queue_hop_count(c->exchanges); i++) {
        const struct hop *h = queue_hop_at(c->exchanges, i);

        ret->queued += hop_count(h);
        ret->in_flight += h->in_flight.count;
    }
    for (size_t i = 0; i < queue_hop_count(c->controls); i++)
        ret->controls += hop_count(queue_hop_at(c->controls, i));
}

uint64_t broker_core_queued(const struct broker_core *c, const char *peer)
{
    const struct hop *h = queue_find_hop(c->exchanges, peer);

    return h == NULL ? 0 : hop_count(h);
}
