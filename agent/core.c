#include "agent/core.h"

#include "agent/core_internal.h"
#include "common/store.h"
#include "proto/pb.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define SENDS_MAX 65536
#define CONTROL_WINDOW 256

/* Where the content's keys and summaries lie the checksums are keyed. */
const struct store_table agent_tables[AGENT_TABLES] = {
    [AUDIT_LEAF] = {"audit-leaf", false},
    [AUDIT_TILE] = {"audit-tile", false},
    [AUDIT_ID] = {"audit-id", false},
    [AUDIT_CHECKPOINT] = {"audit-checkpoint", false},
    [AUDIT_DETAIL] = {"audit-detail", false},
    [AUDIT_META] = {"audit-meta", false},
    [AGENT_STATE] = {"state", true},
    [AGENT_MAIL] = {"mail", true},
    [AGENT_SUMMARY] = {"summary", true},
    [AGENT_ID] = {"id", true},
    [AGENT_RECEIPT] = {"receipt", true},
    [AGENT_STREAM] = {"stream", true},
    [AGENT_SEEN] = {"seen", true},
    [AGENT_PENDING] = {"pending", true},
    [AGENT_CONTROL] = {"control", true},
    [AGENT_PART] = {"part", true},
    [AGENT_DOCUMENT] = {"document", true},
    [AGENT_META] = {"meta", true},
};

struct agent_options agent_options_default(const char *agency)
{
    return (struct agent_options){
        .agency = agency,
        .agent = "main",
        .in_flight_max = 256,
        .answer_ms = 10000,
        .retry_ms_min = 100,
        .retry_ms_max = 30000,
        .refusals_logged = 60,
    };
}

void act_fail(struct step *s, enum err e)
{
    if (s->core->err == ERR_OK)
        s->core->err = e;
}

struct agent_send *act_send(struct step *s, enum agent_send_kind kind, const char *peer)
{
    struct agent_core *c = s->core;
    struct agent_send *send;

    assert(strlen(peer) < LIMIT_PEER);
    if (c->n_sends == c->cap_sends) {
        size_t cap = 2 * c->cap_sends;
        struct agent_send *grown = cap > SENDS_MAX ? NULL : realloc(c->sends, cap * sizeof *grown);

        if (grown == NULL) {
            act_fail(s, ERR_NO_MEMORY);
            c->n_sends = 0; /* the step fails: what it wanted to send is void */
        } else {
            c->sends = grown;
            c->cap_sends = cap;
        }
    }
    send = &c->sends[c->n_sends++];
    memset(send, 0, sizeof *send);
    send->kind = kind;
    send->leaf = AGENT_NO_LEAF;
    memcpy(send->peer, peer, strlen(peer) + 1);
    return send;
}

bool act_damaged(struct step *s, enum err e)
{
    if (e == ERR_CORRUPT || e == ERR_NOT_FOUND) {
        s->core->quarantined++;
        return true;
    }
    act_fail(s, e);
    return false;
}

void act_changed(struct step *s, enum mail_box box, uint64_t number, bool is_new)
{
    struct agent_send *send = act_send(s, AGENT_LOCAL_CHANGED, "");

    send->box = (uint8_t)box;
    send->number = number;
    send->is_new = is_new;
}

uint64_t act_leaf(struct step *s, Sp__Leaf *leaf)
{
    leaf->at_ms = s->event->now_ms;
    batch_leaf(s->core->batch, leaf, span_of(NULL, 0));
    return s->core->log_size++;
}

enum err agent_core_new(const struct agent_options *options, const struct view *view,
                        uint64_t log_size, struct agent_core **ret)
{
    struct agent_core *c = calloc(1, sizeof *c);
    enum err e;

    if (c == NULL)
        return ERR_NO_MEMORY;
    c->options = *options;
    c->log_size = log_size;
    c->next_mail = 1;
    c->next_control = 1;
    buf_init(&c->scratch, 2 * LIMIT_FRAME);
    buf_init(&c->scratch_more, 2 * LIMIT_FRAME);
    c->cap_sends = 64;
    c->sends = calloc(c->cap_sends, sizeof *c->sends);
    e = c->sends == NULL ? ERR_NO_MEMORY : batch_new(&c->batch);
    if (e == ERR_OK)
        e = queue_new(&c->outgoing);
    if (e == ERR_OK)
        e = queue_new(&c->controls);
    if (e == ERR_OK)
        e = agent_core_rebuild(c, view);
    if (e != ERR_OK) {
        agent_core_free(c);
        return e;
    }
    *ret = c;
    return ERR_OK;
}

void agent_core_free(struct agent_core *c)
{
    if (c == NULL)
        return;
    queue_free(c->outgoing);
    queue_free(c->controls);
    batch_free(c->batch);
    buf_fini(&c->scratch);
    buf_fini(&c->scratch_more);
    free(c->sends);
    free(c);
}

static void peer_up(struct step *s)
{
    enum err e = queue_peer_up(s->core->outgoing, s->event->peer);

    if (e == ERR_OK)
        e = queue_peer_up(s->core->controls, s->event->peer);
    if (e != ERR_OK)
        act_fail(s, e);
    else
        act_send(s, AGENT_SEND_DOCUMENTS, s->event->peer);
}

static void peer_down(struct step *s)
{
    queue_peer_down(s->core->outgoing, s->event->peer);
    queue_peer_down(s->core->controls, s->event->peer);
}

static void documents_in(struct step *s)
{
    Sp__Leaf leaf = SP__LEAF__INIT;
    struct digest digest;

    if (!s->event->documents.news)
        return;
    digest = sha256(s->event->documents.bytes);
    batch_put(s->core->batch, AGENT_DOCUMENT, span_str(s->event->documents.agency),
              s->event->documents.bytes);
    leaf.event = SP__AUDIT_EVENT__AUDIT_EVENT_STATEMENT;
    leaf.sender = pb_string(s->event->documents.agency);
    leaf.from = pb_string(s->event->peer);
    leaf.cause = pb_bytes(digest_span(&digest));
    act_leaf(s, &leaf);
}

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
    if (view_get(s->view, AGENT_META, span_str(AGENT_META_FLOOR), &known) != ERR_OK ||
        !span_equal(known, span_of(bytes, sizeof bytes)))
        batch_put(s->core->batch, AGENT_META, span_str(AGENT_META_FLOOR),
                  span_of(bytes, sizeof bytes));
    if (view_get(s->view, AGENT_META, span_str(AGENT_META_DIRECTORY), &known) == ERR_OK &&
        span_equal(known, digest_span(digest)))
        return;
    batch_put(s->core->batch, AGENT_META, span_str(AGENT_META_DIRECTORY), digest_span(digest));
    leaf.event = SP__AUDIT_EVENT__AUDIT_EVENT_DIRECTORY;
    leaf.directory_version = s->directory->version;
    leaf.cause = pb_bytes(digest_span(digest));
    act_leaf(s, &leaf);
}

static void mark_offered(struct step *s, struct entry *e)
{
    act_save_pending(s, e->number, e->hop->name, true);
    e->offered = true;
}

static void pump(struct step *s)
{
    struct agent_core *c = s->core;
    uint64_t now = s->event->now_ms;

    for (size_t i = 0; i < queue_hop_count(c->outgoing); i++) {
        struct hop *h = queue_hop_at(c->outgoing, i);
        struct entry *e;

        while (c->err == ERR_OK && (e = hop_next(h, now, c->options.in_flight_max)) != NULL) {
            if (!e->offered)
                mark_offered(s, e);
            act_send(s, AGENT_SEND_TRANSFER, h->name)->number = e->number;
            entry_sent(c->outgoing, e, now + c->options.answer_ms);
        }
    }
    for (size_t i = 0; i < queue_hop_count(c->controls); i++) {
        struct hop *h = queue_hop_at(c->controls, i);
        struct entry *e;

        while (c->err == ERR_OK && (e = hop_next(h, now, CONTROL_WINDOW)) != NULL) {
            act_send(s, AGENT_SEND_CONTROL, h->name)->number = e->number;
            entry_sent(c->controls, e, now + c->options.answer_ms);
        }
    }
}

static void handle_due(struct step *s)
{
    struct agent_core *c = s->core;
    struct entry *e;

    act_refusal_summaries(s);
    while (c->err == ERR_OK && (e = queue_due(c->outgoing, s->event->now_ms)) != NULL)
        act_outgoing_due(s, e);
    while (c->err == ERR_OK && (e = queue_due(c->controls, s->event->now_ms)) != NULL)
        entry_wait(c->controls, e);
}

static void dispatch(struct step *s)
{
    switch (s->event->kind) {
    case AGENT_DRAFTS:
        act_drafts(s);
        break;
    case AGENT_ANSWER:
        act_answer(s);
        break;
    case AGENT_INCOMING:
        act_incoming(s);
        break;
    case AGENT_CONTROL_IN:
        act_control(s);
        break;
    case AGENT_CONTROL_ACK:
        act_control_ack(s);
        break;
    case AGENT_OPENED:
        act_opened(s);
        break;
    case AGENT_DOCUMENTS_IN:
        documents_in(s);
        break;
    case AGENT_PEER_UP:
        peer_up(s);
        break;
    case AGENT_PEER_DOWN:
        peer_down(s);
        break;
    case AGENT_TRUST:
        trust_adopted(s);
        break;
    case AGENT_GARBAGE:
        act_garbage(s);
        break;
    case AGENT_TICK:
        break;
    }
}

enum err agent_step(struct agent_core *c, const struct view *view, const struct agent_event *event,
                    const struct agent_update **ret)
{
    struct step s = {
        .core = c, .view = view, .event = event, .directory = trust_directory(event->trust)};

    batch_reset(c->batch);
    c->n_sends = 0;
    c->err = ERR_OK;
    dispatch(&s);
    if (c->err == ERR_OK && event->now_ms >= agent_core_wake_at(c))
        handle_due(&s);
    if (c->err == ERR_OK)
        pump(&s);
    if (c->err == ERR_OK)
        c->err = batch_error(c->batch);
    if (c->err != ERR_OK)
        return c->err;
    c->update = (struct agent_update){.batch = c->batch, .sends = c->sends, .n_sends = c->n_sends};
    *ret = &c->update;
    return ERR_OK;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t agent_core_wake_at(const struct agent_core *c)
{
    uint64_t at = earlier(queue_first_due(c->outgoing), queue_first_due(c->controls));

    at = earlier(at, queue_first_pause_end(c->outgoing));
    for (size_t i = 0; i < queue_hop_count(c->outgoing); i++) {
        const struct hop *h = queue_hop_at(c->outgoing, i);

        if (h->suppressed > 0)
            at = earlier(at, (h->minute + 1) * AGENT_MINUTE_MS);
    }
    return at;
}

uint64_t agent_core_pending(const struct agent_core *c)
{
    uint64_t n = 0;

    for (size_t i = 0; i < queue_hop_count(c->outgoing); i++)
        n += hop_count(queue_hop_at(c->outgoing, i));
    return n;
}

const char *agent_core_home(const struct agent_core *c)
{
    for (size_t i = 0; i < queue_hop_count(c->outgoing); i++) {
        if (queue_hop_at(c->outgoing, i)->up)
            return queue_hop_at(c->outgoing, i)->name;
    }
    return "";
}

uint64_t agent_core_quarantined(const struct agent_core *c)
{
    return c->quarantined;
}
