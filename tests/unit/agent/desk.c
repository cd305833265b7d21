#include "tests/unit/agent/desk.h"

#include "common/record.h"
#include "common/store.h"
#include "proto/names.h"
#include "proto/pb.h"
#include "tests/unit/agent/desk_internal.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static void make_core(struct desk *d)
{
    cr_assert_eq(
        agent_core_new(&d->options, memview_view(d->state), memview_leaf_count(d->state), &d->core),
        ERR_OK);
}

struct desk *desk_new(const char *agency)
{
    struct desk *d = calloc(1, sizeof *d);

    cr_assert_not_null(d);
    cr_assert_eq(secret_process_init(true), ERR_OK);
    test_env_init(&d->env, 1);
    d->start_ms = d->env.now_ms;
    cr_assert_eq(federation_new(&d->env.env, 3, &d->federation), ERR_OK);
    d->self = federation_agency(d->federation, agency);
    d->state = memview_new(AGENT_TABLES);
    d->options = agent_options_default(agency);
    memset(d->options.epoch, 7, sizeof d->options.epoch);
    d->options.sign = d->self->sign;
    d->options.sign_id = d->self->sign_id;
    d->options.env = &d->env.env;
    d->room = true;
    buf_init(&d->text, LIMIT_MIB);
    make_core(d);
    return d;
}

void desk_free(struct desk *d)
{
    agent_core_free(d->core);
    memview_free(d->state);
    for (int i = 1; i <= d->n_messages; i++) {
        envelope_free(d->messages[i].envelope);
        secret_free(d->messages[i].file_key);
        buf_fini(&d->messages[i].bytes);
        buf_fini(&d->messages[i].body);
    }
    for (size_t i = 0; i < d->n_receipts; i++)
        receipt_free(d->receipts[i]);
    federation_free(d->federation);
    free(d->sends);
    buf_fini(&d->text);
    free(d);
}

/* What is sent is durable before: mail that is marked as offered. */
static void check_offers(struct desk *d)
{
    for (size_t i = 0; i < d->n_sends; i++) {
        struct span value;
        uint8_t key[8];

        if (d->sends[i].kind != AGENT_SEND_TRANSFER)
            continue;
        store_key_u64(d->sends[i].number, key);
        cr_assert_eq(
            view_get(memview_view(d->state), AGENT_PENDING, span_of(key, sizeof key), &value),
            ERR_OK, "sent, but not pending");
        cr_assert_eq(value.data[0], 1, "sent, but not marked as offered");
    }
}

/* A core made from the state alone has the same in its queues. */
static void check_rebuilt(struct desk *d)
{
    struct agent_core *other;

    if (d->damaged)
        return;
    cr_assert_eq(
        agent_core_new(&d->options, memview_view(d->state), memview_leaf_count(d->state), &other),
        ERR_OK);
    cr_assert_eq(agent_core_pending(d->core), memview_count(d->state, AGENT_PENDING));
    cr_assert_eq(agent_core_pending(other), memview_count(d->state, AGENT_PENDING));
    cr_assert_eq(agent_core_quarantined(other), 0);
    agent_core_free(other);
}

static void keep_sends(struct desk *d, const struct agent_update *u)
{
    d->sends = realloc(d->sends, (u->n_sends + 1) * sizeof *d->sends);
    cr_assert_not_null(d->sends);
    if (u->n_sends > 0)
        memcpy(d->sends, u->sends, u->n_sends * sizeof *d->sends);
    d->n_sends = u->n_sends;
    d->n_leaves = batch_leaf_count(u->batch);
    d->n_changes = batch_change_count(u->batch);
}

enum err desk_try(struct desk *d, struct agent_event *event)
{
    struct memview *before;
    const struct agent_update *u;
    enum err e;

    event->now_ms = d->env.now_ms;
    event->trust = d->trust != NULL ? d->trust : d->federation->trust;
    event->room = d->room;
    e = agent_step(d->core, memview_view(d->state), event, &u);
    if (e != ERR_OK)
        return e;
    before = memview_copy(d->state);
    memview_apply(d->state, u->batch);
    keep_sends(d, u);
    desk_tell(d, u->batch);
    desk_check(d, before, u->batch);
    check_offers(d);
    check_rebuilt(d);
    memview_free(before);
    return ERR_OK;
}

void desk_step(struct desk *d, struct agent_event *event)
{
    enum err e = desk_try(d, event);

    cr_assert_eq(e, ERR_OK, "%s", err_code(e));
    if (++d->steps == d->restart_at) {
        struct agent_send *sends = d->sends;
        size_t n_sends = d->n_sends;

        d->sends = NULL;
        desk_restart(d);
        desk_up(d, "tallinn");
        free(d->sends);
        d->sends = sends;
        d->n_sends = n_sends;
    }
}

void desk_send(struct desk *d, int first, size_t n)
{
    struct agent_draft *items = calloc(n, sizeof *items);
    struct agent_event event = {.kind = AGENT_DRAFTS, .peer = ""};

    cr_assert_not_null(items);
    for (size_t i = 0; i < n; i++)
        items[i] = d->messages[first + (int)i].draft;
    event.drafts.items = items;
    event.drafts.count = n;
    desk_line(d, "%s officer: %zu draft%s from m%d", desk_time(d), n, n == 1 ? "" : "s", first);
    desk_step(d, &event);
    free(items);
}

int desk_send_one(struct desk *d, const struct desk_mail *mail)
{
    int m = desk_mail(d, mail);

    desk_send(d, m, 1);
    return m;
}

/* As a worker of the shell does. */
static enum err judge(struct desk *d, int m, const struct desk_incoming *t, struct verified *ret)
{
    const struct trust *trust = d->trust != NULL ? d->trust : d->federation->trust;
    uint64_t at = t->trail[0] != NULL ? receipt_leaf(t->trail[0])->at_ms : d->env.now_ms;
    struct secret *key;
    enum err e = verify_envelope(trust, d->messages[m].envelope, at, NULL, ret);

    if (e == ERR_OK)
        e = open_envelope(d->messages[m].envelope, d->self->name, federation_find_encrypt, d->self,
                          &key);
    if (e == ERR_OK)
        secret_free(key);
    return e;
}

enum err desk_try_incoming(struct desk *d, const char *peer, int m, const struct desk_incoming *t)
{
    struct desk_message *message = &d->messages[m];
    struct agent_event event = {.kind = AGENT_INCOMING, .peer = peer};
    Sp__InlinePart *parts[] = {&message->inline_part};
    Sp__Transfer wire = SP__TRANSFER__INIT;
    size_t n = 0;
    enum err e;

    wire.tag = t->tag;
    wire.envelope = pb_bytes(envelope_bytes(message->envelope));
    wire.parts = parts;
    wire.n_parts = 1;
    while (n <= LIMIT_HOPS && t->trail[n] != NULL)
        n++;
    event.incoming = (struct agent_incoming){.tag = t->tag,
                                             .incomplete = t->incomplete,
                                             .envelope = message->envelope,
                                             .rule = "",
                                             .wire = &wire,
                                             .trail = t->trail,
                                             .n_trail = n,
                                             .sealed_key = span_str("sealed key"),
                                             .summary = span_str("summary")};
    event.incoming.verdict = judge(d, m, t, &event.incoming.verified);
    if (t->verdict != ERR_OK)
        event.incoming.verdict = t->verdict;
    desk_line(d, "%s %s: transfer %llu of m%d%s", desk_time(d), peer, (unsigned long long)t->tag, m,
              t->incomplete ? ", a part is missing" : "");
    if (err_class(event.incoming.verdict) == ERR_CLASS_LOCAL && event.incoming.verdict != ERR_OK)
        return desk_try(d, &event);
    e = ERR_OK;
    desk_step(d, &event);
    return e;
}

void desk_incoming(struct desk *d, const char *peer, int m, const struct desk_incoming *t)
{
    cr_assert_eq(desk_try_incoming(d, peer, m, t), ERR_OK);
}

void desk_deliver(struct desk *d, const char *broker, int m, uint64_t tag)
{
    const struct receipt *r =
        desk_receipt(d, &(struct desk_statement){
                            .event = SP__AUDIT_EVENT__AUDIT_EVENT_ACCEPTED, .log = broker, .m = m});

    desk_incoming(d, broker, m, &(struct desk_incoming){.tag = tag, .trail = {r}});
}

void desk_answer(struct desk *d, const char *peer, uint64_t tag, Sp__Outcome outcome, enum err code,
                 const struct receipt *receipt)
{
    static const char *const words[] = {"?", "committed", "refused", "retry"};
    struct agent_event event = {.kind = AGENT_ANSWER, .peer = peer};

    event.answer.tag = tag;
    event.answer.outcome = outcome;
    event.answer.code = code;
    event.answer.rule = code == ERR_OK ? "" : "said so";
    event.answer.receipt = receipt;
    desk_line(d, "%s %s: answer to %llu: %s%s%s%s", desk_time(d), peer, (unsigned long long)tag,
              words[outcome], code == ERR_OK ? "" : ", ", code == ERR_OK ? "" : err_code(code),
              receipt == NULL ? "" : ", with receipt");
    desk_step(d, &event);
}

void desk_accept(struct desk *d, uint64_t number, int m)
{
    desk_answer(
        d, "tallinn", number, SP__OUTCOME__OUTCOME_COMMITTED, ERR_OK,
        desk_receipt(d, &(struct desk_statement){.event = SP__AUDIT_EVENT__AUDIT_EVENT_ACCEPTED,
                                                 .log = "tallinn",
                                                 .from = d->options.agency,
                                                 .m = m}));
}

void desk_control(struct desk *d, const char *peer, uint64_t tag, const struct receipt *receipt)
{
    struct agent_event event = {.kind = AGENT_CONTROL_IN, .peer = peer};

    event.control.tag = tag;
    event.control.receipt = receipt;
    desk_line(d, "%s %s: control %llu: %s %s by %s", desk_time(d), peer, (unsigned long long)tag,
              receipt == NULL ? "nothing proven"
                              : name_of(NAME_EVENT, (int)receipt_leaf(receipt)->event),
              receipt == NULL ? "" : desk_label(d, pb_span(receipt_leaf(receipt)->envelope)),
              receipt == NULL ? "?" : receipt_leaf(receipt)->log);
    desk_step(d, &event);
}

void desk_ack(struct desk *d, const char *peer, uint64_t tag)
{
    struct agent_event event = {.kind = AGENT_CONTROL_ACK, .peer = peer, .control_tag = tag};

    desk_line(d, "%s %s: acknowledges control %llu", desk_time(d), peer, (unsigned long long)tag);
    desk_step(d, &event);
}

void desk_open(struct desk *d, uint64_t number)
{
    struct agent_event event = {.kind = AGENT_OPENED, .peer = ""};

    event.opened.token = 90 + number;
    event.opened.number = number;
    event.opened.officer = "kask";
    desk_line(d, "%s officer: opens received mail %llu", desk_time(d), (unsigned long long)number);
    desk_step(d, &event);
}

void desk_documents(struct desk *d, const char *peer, const char *agency, bool news)
{
    struct agent_event event = {.kind = AGENT_DOCUMENTS_IN, .peer = peer};

    event.documents.agency = agency;
    event.documents.bytes = buf_span(&federation_agency(d->federation, agency)->documents);
    event.documents.news = news;
    desk_line(d, "%s %s: documents of %s%s", desk_time(d), peer, agency, news ? "" : ", known");
    desk_step(d, &event);
}

void desk_garbage(struct desk *d, const char *peer, uint64_t count)
{
    struct agent_event event = {.kind = AGENT_GARBAGE, .peer = peer, .count = count};

    desk_line(d, "%s %s: %llu inputs that do not decode", desk_time(d), peer,
              (unsigned long long)count);
    desk_step(d, &event);
}

static void plain(struct desk *d, enum agent_event_kind kind, const char *peer, const char *what)
{
    struct agent_event event = {.kind = kind, .peer = peer};

    desk_line(d, "%s %s%s", desk_time(d), peer, what);
    desk_step(d, &event);
}

void desk_up(struct desk *d, const char *peer)
{
    plain(d, AGENT_PEER_UP, peer, " is up");
}

void desk_down(struct desk *d, const char *peer)
{
    plain(d, AGENT_PEER_DOWN, peer, " is down");
}

void desk_trust(struct desk *d)
{
    plain(d, AGENT_TRUST, "", "a new directory");
}

void desk_pass(struct desk *d, uint64_t ms)
{
    test_env_advance(&d->env, ms);
}

void desk_wait(struct desk *d, uint64_t ms)
{
    desk_pass(d, ms);
    plain(d, AGENT_TICK, "", "time passed");
}

void desk_restart(struct desk *d)
{
    desk_line(d, "%s restart", desk_time(d));
    agent_core_free(d->core);
    make_core(d);
}

const struct agent_send *desk_sent(const struct desk *d, enum agent_send_kind kind)
{
    for (size_t i = 0; i < d->n_sends; i++) {
        if (d->sends[i].kind == kind)
            return &d->sends[i];
    }
    return NULL;
}

size_t desk_count_sent(const struct desk *d, enum agent_send_kind kind)
{
    size_t n = 0;

    for (size_t i = 0; i < d->n_sends; i++)
        n += d->sends[i].kind == kind;
    return n;
}

const struct agent_send *desk_the_answer(const struct desk *d)
{
    cr_assert_eq(desk_count_sent(d, AGENT_SEND_ANSWER), 1);
    return desk_sent(d, AGENT_SEND_ANSWER);
}

const struct agent_send *desk_result(const struct desk *d, uint64_t token)
{
    const struct agent_send *found = NULL;

    for (size_t i = 0; i < d->n_sends; i++) {
        if (d->sends[i].kind != AGENT_LOCAL_RESULT || d->sends[i].number != token)
            continue;
        cr_assert_null(found, "two results for one token");
        found = &d->sends[i];
    }
    cr_assert_not_null(found, "no result for token %llu", (unsigned long long)token);
    return found;
}

void desk_nothing(const struct desk *d)
{
    cr_assert_eq(d->n_leaves, 0, "%zu leaves", d->n_leaves);
    cr_assert_eq(d->n_changes, 0, "%zu changes", d->n_changes);
}

size_t desk_leaves(const struct desk *d, Sp__AuditEvent event)
{
    size_t n = 0;

    for (size_t i = 0; i < memview_leaf_count(d->state); i++) {
        struct pb *pb;

        cr_assert_eq(
            pb_decode(&sp__leaf__descriptor, memview_leaf(d->state, i).leaf, LIMIT_LEAF, &pb),
            ERR_OK);
        n += ((const Sp__Leaf *)pb_view(pb))->event == event;
        pb_free(pb);
    }
    return n;
}

struct mail desk_record(struct desk *d, enum mail_box box, uint64_t number)
{
    uint8_t key[MAIL_KEY];
    struct span value;
    struct mail m;

    mail_key(box, number, key);
    cr_assert_eq(view_get(memview_view(d->state), AGENT_STATE, span_of(key, sizeof key), &value),
                 ERR_OK);
    cr_assert_eq(mail_decode(value, &m), ERR_OK);
    return m;
}

enum transport_state desk_state(struct desk *d, uint64_t number, size_t recipient)
{
    struct mail m = desk_record(d, MAIL_OUT, number);
    enum transport_state state = m.recipients[recipient].state;

    mail_fini(&m);
    return state;
}
