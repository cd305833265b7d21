#include "tests/unit/broker/stage.h"

#include "broker/record.h"
#include "common/record.h"
#include "common/store.h"
#include "proto/names.h"
#include "proto/pb.h"
#include "tests/unit/broker/stage_internal.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void make_core(struct stage *s)
{
    cr_assert_eq(broker_core_new(&s->options, memview_view(s->state), memview_leaf_count(s->state),
                                 s->env.now_ms, &s->core),
                 ERR_OK);
}

void stage_init(struct stage *s, const char *name)
{
    stage_init_at(s, name, 0);
}

void stage_init_at(struct stage *s, const char *name, uint64_t now_ms)
{
    memset(s, 0, sizeof *s);
    cr_assert_eq(secret_process_init(true), ERR_OK);
    test_env_init(&s->env, 1);
    if (now_ms != 0)
        s->env.now_ms = now_ms;
    s->start_ms = s->env.now_ms;
    cr_assert_eq(federation_new(&s->env.env, 3, &s->federation), ERR_OK);
    s->state = memview_new(BROKER_TABLES);
    s->options = broker_options_default(name);
    s->room = true;
    buf_init(&s->text, LIMIT_MIB);
    make_core(s);
}

void stage_fini(struct stage *s)
{
    broker_core_free(s->core);
    memview_free(s->state);
    for (int i = 1; i <= s->n_messages; i++) {
        envelope_free(s->messages[i].envelope);
        secret_free(s->messages[i].file_key);
        buf_fini(&s->messages[i].bytes);
        buf_fini(&s->messages[i].body);
        buf_fini(&s->messages[i].file);
    }
    for (size_t i = 0; i < s->n_receipts; i++)
        receipt_free(s->receipts[i]);
    federation_free(s->federation);
    free(s->sends);
    buf_fini(&s->text);
}

struct seen {
    size_t spooled, dedups, controls, closed, exchanges, forgotten;
    size_t accepted, ended, refused, leaves;
};

static struct seen look(const struct batch *b)
{
    struct seen n = {.leaves = batch_leaf_count(b)};

    for (size_t i = 0; i < batch_change_count(b); i++) {
        struct change c = batch_change_at(b, i);

        n.spooled += c.table == BROKER_SPOOL && c.op == CHANGE_APPEND;
        n.forgotten += c.table == BROKER_SPOOL && c.op == CHANGE_DELETE;
        n.dedups += c.table == BROKER_DEDUP && c.op != CHANGE_DELETE;
        n.controls += c.table == BROKER_CONTROL && c.op == CHANGE_APPEND;
        n.closed += c.table == BROKER_OPEN && c.op == CHANGE_DELETE;
        n.exchanges += c.table == BROKER_EXCHANGE && c.op != CHANGE_DELETE;
    }
    for (size_t i = 0; i < batch_leaf_count(b); i++) {
        struct pb *pb;
        Sp__AuditEvent event;

        cr_assert_eq(pb_decode(&sp__leaf__descriptor, batch_leaf_at(b, i).leaf, LIMIT_LEAF, &pb),
                     ERR_OK);
        event = ((const Sp__Leaf *)pb_view(pb))->event;
        n.accepted += event == SP__AUDIT_EVENT__AUDIT_EVENT_ACCEPTED;
        n.refused += event == SP__AUDIT_EVENT__AUDIT_EVENT_REFUSED;
        n.ended += event == SP__AUDIT_EVENT__AUDIT_EVENT_RELAYED ||
                   event == SP__AUDIT_EVENT__AUDIT_EVENT_DELIVERED ||
                   event == SP__AUDIT_EVENT__AUDIT_EVENT_OPENED ||
                   event == SP__AUDIT_EVENT__AUDIT_EVENT_EXPIRED;
        pb_free(pb);
    }
    return n;
}

/* No effect without its leaf, no leaf without its effect. */
static void check_leaves(const struct batch *b)
{
    struct seen n = look(b);

    cr_assert_eq(n.spooled, n.accepted, "custody and its leaf belong together");
    cr_assert_leq(n.dedups, n.accepted + n.refused, "a decision without a leaf");
    cr_assert_leq(n.controls, n.ended + n.refused, "a receipt passed on without a leaf");
    cr_assert_leq(n.closed, n.ended + n.refused, "custody ended without a leaf");
    cr_assert(n.ended == 0 || n.exchanges > 0, "a leaf that changes nothing");
}

/* What leaves is durable before: offered, and still in our custody. */
static void check_offers(struct stage *s)
{
    for (size_t i = 0; i < s->n_sends; i++) {
        const struct broker_send *send = &s->sends[i];
        struct exchange x;
        struct span value;
        bool offered = false;
        uint8_t key[8];

        if (send->kind != BROKER_SEND_TRANSFER)
            continue;
        store_key_u64(send->number, key);
        cr_assert_eq(view_get(memview_view(s->state), BROKER_EXCHANGE, span_of(key, 8), &value),
                     ERR_OK);
        cr_assert_eq(exchange_decode(value, &x), ERR_OK);
        for (size_t j = 0; j < x.n_recipients; j++)
            offered |= strcmp(x.recipients[j].next, send->peer) == 0 &&
                       x.recipients[j].state == EXCHANGE_QUEUED && x.recipients[j].offered;
        cr_assert(offered, "sent, but not marked as offered");
        exchange_fini(&x);
    }
}

/* A core made from the state alone has the same in its queues. */
static void check_rebuilt(struct stage *s)
{
    struct broker_core *other;
    struct broker_core_stats a, b;

    cr_assert_eq(broker_core_new(&s->options, memview_view(s->state), memview_leaf_count(s->state),
                                 s->env.now_ms, &other),
                 ERR_OK);
    broker_core_stats(s->core, &a);
    broker_core_stats(other, &b);
    cr_assert_eq(a.queued, b.queued, "%llu queued, %llu after a restart",
                 (unsigned long long)a.queued, (unsigned long long)b.queued);
    cr_assert_eq(a.controls, b.controls);
    cr_assert_leq(a.in_flight, a.queued);
    broker_core_free(other);
}

static void step(struct stage *s, struct broker_event *event)
{
    const struct broker_update *u;
    enum err e;

    event->now_ms = s->env.now_ms;
    event->trust = s->federation->trust;
    event->room = s->room;
    e = broker_step(s->core, memview_view(s->state), event, &u);
    cr_assert_eq(e, ERR_OK, "%s", err_code(e));
    memview_apply(s->state, u->batch);
    s->sends = realloc(s->sends, (u->n_sends + 1) * sizeof *s->sends);
    cr_assert_not_null(s->sends);
    if (u->n_sends > 0)
        memcpy(s->sends, u->sends, u->n_sends * sizeof *s->sends);
    s->n_sends = u->n_sends;
    s->n_leaves = batch_leaf_count(u->batch);
    s->n_changes = batch_change_count(u->batch);
    stage_tell(s, u->batch);
    check_leaves(u->batch);
    check_offers(s);
    check_rebuilt(s);
}

/* As a worker of the shell does. */
static void judge(struct stage *s, const char *peer, struct broker_transfer *t)
{
    bool relayed = trust_broker(s->federation->trust, peer) != NULL;
    uint64_t at = relayed && t->n_trail > 0 ? receipt_leaf(t->trail[0])->at_ms : s->env.now_ms;

    t->verdict = verify_envelope(s->federation->trust, t->envelope, at, NULL, &t->verified);
}

void stage_transfer(struct stage *s, const char *peer, int m, const struct stage_transfer *t)
{
    struct stage_message *message = &s->messages[m];
    struct broker_event event = {.kind = BROKER_TRANSFER, .peer = peer};
    Sp__InlinePart body = SP__INLINE_PART__INIT;
    Sp__InlinePart *parts[] = {&body};
    Sp__Transfer wire = SP__TRANSFER__INIT;
    ProtobufCBinaryData trail[LIMIT_HOPS + 1];
    char *to[STAGE_TO];

    cr_assert(m >= 1 && m <= s->n_messages);
    body.data = pb_bytes(buf_span(&message->body));
    wire.tag = t->tag;
    wire.envelope = pb_bytes(buf_span(&message->bytes));
    wire.parts = parts;
    wire.n_parts = 1;
    wire.to = to;
    while (wire.n_to < STAGE_TO && t->to[wire.n_to] != NULL) {
        to[wire.n_to] = pb_string(t->to[wire.n_to]);
        wire.n_to++;
    }
    wire.trail = trail;
    while (wire.n_trail <= LIMIT_HOPS && t->trail[wire.n_trail] != NULL) {
        trail[wire.n_trail] = pb_bytes(receipt_bytes(t->trail[wire.n_trail]));
        wire.n_trail++;
    }
    wire.delay_in_ms = t->delay_ms;
    event.transfer = (struct broker_transfer){.tag = t->tag,
                                              .delay_ms = t->delay_ms,
                                              .incomplete = t->incomplete,
                                              .envelope = message->envelope,
                                              .wire = &wire,
                                              .trail = t->trail,
                                              .n_trail = wire.n_trail};
    judge(s, peer, &event.transfer);
    if (t->verdict != ERR_OK)
        event.transfer.verdict = t->verdict;
    stage_line(s, "%s %s: transfer %llu of m%d%s", stage_time(s), peer, (unsigned long long)t->tag,
               m, t->incomplete ? ", a part is missing" : "");
    step(s, &event);
}

void stage_submit(struct stage *s, const char *peer, int m)
{
    struct stage_transfer t = {.tag = (uint64_t)m};

    stage_transfer(s, peer, m, &t);
}

void stage_answer(struct stage *s, const char *peer, uint64_t tag, Sp__Outcome outcome,
                  enum err code, const struct receipt *receipt)
{
    static const char *const words[] = {"?", "committed", "refused", "retry"};
    struct broker_event event = {.kind = BROKER_ANSWER, .peer = peer};

    event.answer = (struct broker_answer){
        .tag = tag, .outcome = outcome, .code = code, .rule = "", .receipt = receipt};
    stage_line(s, "%s %s: answer to %llu: %s%s%s%s", stage_time(s), peer, (unsigned long long)tag,
               words[outcome], code == ERR_OK ? "" : ", ", code == ERR_OK ? "" : err_code(code),
               receipt == NULL ? "" : ", with receipt");
    step(s, &event);
}

void stage_control(struct stage *s, const char *peer, const char *to, uint64_t tag,
                   const struct receipt *receipt)
{
    struct broker_event event = {.kind = BROKER_CONTROL_IN, .peer = peer};

    event.control = (struct broker_control){.tag = tag, .to = to, .receipt = receipt};
    stage_line(s, "%s %s: control %llu for %s: %s %s by %s", stage_time(s), peer,
               (unsigned long long)tag, to,
               receipt == NULL ? "nothing proven"
                               : name_of(NAME_EVENT, (int)receipt_leaf(receipt)->event),
               receipt == NULL ? "" : stage_label(s, pb_span(receipt_leaf(receipt)->envelope)),
               receipt == NULL ? "?" : receipt_leaf(receipt)->log);
    step(s, &event);
}

void stage_ack(struct stage *s, const char *peer, uint64_t tag)
{
    struct broker_event event = {.kind = BROKER_CONTROL_ACK, .peer = peer, .control_tag = tag};

    stage_line(s, "%s %s: acknowledges control %llu", stage_time(s), peer, (unsigned long long)tag);
    step(s, &event);
}

void stage_documents(struct stage *s, const char *peer, const char *agency, bool news)
{
    struct broker_event event = {.kind = BROKER_DOCUMENTS_IN, .peer = peer};

    event.documents = (struct broker_documents){
        .agency = agency,
        .bytes = buf_span(&federation_agency(s->federation, agency)->documents),
        .news = news};
    stage_line(s, "%s %s: documents of %s%s", stage_time(s), peer, agency, news ? "" : ", known");
    step(s, &event);
}

void stage_garbage(struct stage *s, const char *peer, uint64_t count)
{
    struct broker_event event = {.kind = BROKER_GARBAGE, .peer = peer, .count = count};

    stage_line(s, "%s %s: %llu inputs that do not decode", stage_time(s), peer,
               (unsigned long long)count);
    step(s, &event);
}

static void plain(struct stage *s, enum broker_event_kind kind, const char *peer, const char *what)
{
    struct broker_event event = {.kind = kind, .peer = peer};

    stage_line(s, "%s %s%s", stage_time(s), peer, what);
    step(s, &event);
}

void stage_up(struct stage *s, const char *peer)
{
    plain(s, BROKER_PEER_UP, peer, " is up");
}

void stage_down(struct stage *s, const char *peer)
{
    plain(s, BROKER_PEER_DOWN, peer, " is down");
}

void stage_trust(struct stage *s)
{
    plain(s, BROKER_TRUST, "", "a new directory");
}

void stage_pass(struct stage *s, uint64_t ms)
{
    test_env_advance(&s->env, ms);
}

void stage_wait(struct stage *s, uint64_t ms)
{
    stage_pass(s, ms);
    plain(s, BROKER_TICK, "", "time passed");
}

void stage_restart(struct stage *s)
{
    stage_line(s, "%s restart", stage_time(s));
    broker_core_free(s->core);
    make_core(s);
}

const struct broker_send *stage_sent(const struct stage *s, enum broker_send_kind kind,
                                     const char *peer)
{
    for (size_t i = 0; i < s->n_sends; i++) {
        if (s->sends[i].kind == kind && strcmp(s->sends[i].peer, peer) == 0)
            return &s->sends[i];
    }
    return NULL;
}

size_t stage_count_sent(const struct stage *s, enum broker_send_kind kind)
{
    size_t n = 0;

    for (size_t i = 0; i < s->n_sends; i++)
        n += s->sends[i].kind == kind;
    return n;
}

const struct broker_send *stage_the_answer(const struct stage *s)
{
    const struct broker_send *found = NULL;

    cr_assert_eq(stage_count_sent(s, BROKER_SEND_ANSWER), 1);
    for (size_t i = 0; i < s->n_sends; i++) {
        if (s->sends[i].kind == BROKER_SEND_ANSWER)
            found = &s->sends[i];
    }
    return found;
}

size_t stage_leaves(const struct stage *s, Sp__AuditEvent event)
{
    size_t n = 0;

    for (size_t i = 0; i < memview_leaf_count(s->state); i++) {
        struct pb *pb;

        cr_assert_eq(
            pb_decode(&sp__leaf__descriptor, memview_leaf(s->state, i).leaf, LIMIT_LEAF, &pb),
            ERR_OK);
        n += ((const Sp__Leaf *)pb_view(pb))->event == event;
        pb_free(pb);
    }
    return n;
}
