/* Receipts of others about sent mail: in every order, and only from whom they count. */
#include "tests/lib/leaks.h"
#include "tests/unit/agent/desk.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(control, .fini = leaks_check);

#define ACCEPTED SP__AUDIT_EVENT__AUDIT_EVENT_ACCEPTED
#define RELAYED SP__AUDIT_EVENT__AUDIT_EVENT_RELAYED
#define DELIVERED SP__AUDIT_EVENT__AUDIT_EVENT_DELIVERED
#define OPENED SP__AUDIT_EVENT__AUDIT_EVENT_OPENED
#define REFUSED SP__AUDIT_EVENT__AUDIT_EVENT_REFUSED
#define EXPIRED SP__AUDIT_EVENT__AUDIT_EVENT_EXPIRED

/* Mail 1 to LV.POLICE is accepted by tallinn. */
static struct desk *accepted(void)
{
    struct desk *d = desk_new("EE.POLICE");

    desk_up(d, "tallinn");
    desk_send_one(d, &(struct desk_mail){.to = {"LV.POLICE"}});
    desk_accept(d, 1, 1);
    return d;
}

struct statement {
    Sp__AuditEvent event;
    const char *log;
    uint32_t hop;
    enum err code;
};

static const struct receipt *said(struct desk *d, const struct statement *s, int m)
{
    return desk_receipt(
        d, &(struct desk_statement){
               .event = s->event, .log = s->log, .hop = s->hop, .code = s->code, .m = m});
}

/* From the copy `base` of the state, with a new core. */
static void back_to(struct desk *d, const struct memview *base)
{
    memview_free(d->state);
    d->state = memview_copy(base);
    desk_restart(d);
}

/* What follows, by the words of the protocol: an end stays, opening follows delivery, and what is
 * behind the present state says nothing new. */
static enum transport_state expected_after(enum transport_state now, const struct statement *s)
{
    bool ended = now >= STATE_DELIVERED;

    switch (s->event) {
    case ACCEPTED:
        return ended ? now : STATE_RELAYED;
    case DELIVERED:
        return ended ? now : STATE_DELIVERED;
    case OPENED:
        return now <= STATE_DELIVERED ? STATE_OPENED : now;
    case REFUSED:
        return ended ? now : STATE_REFUSED;
    default:
        return ended ? now : STATE_EXPIRED;
    }
}

static const struct statement statements[] = {
    {ACCEPTED, "riga", 1, ERR_OK},     {DELIVERED, "LV.POLICE", 0, ERR_OK},
    {OPENED, "LV.POLICE", 0, ERR_OK},  {REFUSED, "LV.POLICE", 0, ERR_BAD_COMMITMENT},
    {EXPIRED, "riga", 0, ERR_EXPIRED},
};
#define N (sizeof statements / sizeof *statements)

/* The `which`-th order of the numbers below N. */
static void order_of(size_t which, size_t out[N])
{
    size_t left[N];

    for (size_t i = 0; i < N; i++)
        left[i] = i;
    for (size_t i = 0; i < N; i++) {
        size_t at = which % (N - i);

        which /= N - i;
        out[i] = left[at];
        memmove(&left[at], &left[at + 1], (N - i - at - 1) * sizeof *left);
    }
}

static void check_order(struct desk *d, const struct receipt *const receipts[N], size_t which)
{
    enum transport_state state = desk_state(d, 1, 0);
    size_t order[N];

    order_of(which, order);
    for (size_t i = 0; i < N; i++) {
        enum transport_state next = expected_after(state, &statements[order[i]]);

        desk_control(d, "tallinn", i, receipts[order[i]]);
        cr_assert_eq(desk_state(d, 1, 0), next, "order %zu, place %zu", which, i);
        cr_assert_eq(d->n_leaves, next == state ? 0 : 1, "order %zu, place %zu", which, i);
        cr_assert_eq(desk_count_sent(d, AGENT_SEND_CONTROL_ACK), 1);
        cr_assert_eq(desk_sent(d, AGENT_SEND_CONTROL_ACK)->number, i);
        state = next;
        /* Again: acknowledged, and nothing else. */
        desk_control(d, "tallinn", 50 + i, receipts[order[i]]);
        desk_nothing(d);
        cr_assert_eq(desk_sent(d, AGENT_SEND_CONTROL_ACK)->number, 50 + i);
    }
}

static void check_all_orders(struct desk *d)
{
    const struct receipt *receipts[N];
    struct memview *base = memview_copy(d->state);

    d->quiet = true;
    for (size_t i = 0; i < N; i++)
        receipts[i] = said(d, &statements[i], 1);
    for (size_t which = 0; which < 120; which++) {
        check_order(d, receipts, which);
        back_to(d, base);
    }
    memview_free(base);
}

Test(control, every_order_after_acceptance)
{
    struct desk *d = accepted();

    check_all_orders(d);
    desk_free(d);
}

Test(control, every_order_before_the_answer)
{
    struct desk *d = desk_new("EE.POLICE");

    desk_up(d, "tallinn");
    desk_send_one(d, &(struct desk_mail){.to = {"LV.POLICE"}});
    check_all_orders(d);
    desk_free(d);
}

Test(control, the_late_answer_takes_nothing_back)
{
    struct desk *d = desk_new("EE.POLICE");

    desk_up(d, "tallinn");
    desk_send_one(d, &(struct desk_mail){.to = {"LV.POLICE"}});
    desk_control(d, "tallinn", 1, said(d, &statements[1], 1));
    cr_assert_eq(desk_state(d, 1, 0), STATE_DELIVERED);
    cr_assert_eq(agent_core_pending(d->core), 1);
    desk_accept(d, 1, 1);
    cr_assert_eq(desk_state(d, 1, 0), STATE_DELIVERED);
    cr_assert_eq(d->n_leaves, 0);
    cr_assert_eq(agent_core_pending(d->core), 0);
    desk_free(d);
}

Test(control, acceptance_by_control_and_by_answer_is_one)
{
    struct desk *d = desk_new("EE.POLICE");
    const struct receipt *r;

    desk_up(d, "tallinn");
    desk_send_one(d, &(struct desk_mail){.to = {"LV.POLICE"}});
    r = said(d, &(struct statement){ACCEPTED, "tallinn", 0, ERR_OK}, 1);
    desk_control(d, "tallinn", 1, r);
    cr_assert_eq(desk_state(d, 1, 0), STATE_ACCEPTED);
    desk_answer(d, "tallinn", 1, SP__OUTCOME__OUTCOME_COMMITTED, ERR_OK, r);
    cr_assert_eq(d->n_leaves, 0);
    cr_assert_eq(desk_leaves(d, ACCEPTED), 1);
    cr_assert_eq(memview_count(d->state, AGENT_RECEIPT), 1);
    cr_assert_eq(memview_count(d->state, AGENT_PENDING), 0);
    desk_free(d);
}

Test(control, only_who_may_say_it)
{
    static const struct statement rows[] = {
        {ACCEPTED, "LV.POLICE", 1, ERR_OK},
        {ACCEPTED, "LT.POLICE", 1, ERR_OK},
        {ACCEPTED, "riga", 0, ERR_OK}, /* the first place is taken */
        {DELIVERED, "LT.POLICE", 0, ERR_OK},
        {DELIVERED, "riga", 0, ERR_OK},
        {DELIVERED, "EE.POLICE", 0, ERR_OK},
        {OPENED, "LT.POLICE", 0, ERR_OK},
        {OPENED, "tallinn", 0, ERR_OK},
        {REFUSED, "LT.POLICE", 0, ERR_MALFORMED},
        {REFUSED, "EE.POLICE", 0, ERR_MALFORMED},
        {EXPIRED, "LT.POLICE", 0, ERR_EXPIRED},
        {RELAYED, "riga", 0, ERR_OK},
        {SP__AUDIT_EVENT__AUDIT_EVENT_SUBMITTED, "LV.POLICE", 0, ERR_OK},
        {SP__AUDIT_EVENT__AUDIT_EVENT_RECALLED, "LV.POLICE", 0, ERR_OK},
        {SP__AUDIT_EVENT__AUDIT_EVENT_SUMMARY, "riga", 0, ERR_OK},
    };
    struct desk *d = accepted();

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        desk_control(d, "tallinn", i, said(d, &rows[i], 1));
        cr_assert_eq(desk_state(d, 1, 0), STATE_ACCEPTED, "row %zu", i);
        cr_assert_eq(d->n_leaves, 0, "row %zu", i);
        cr_assert_eq(desk_count_sent(d, AGENT_LOCAL_CHANGED), 0);
        cr_assert_eq(desk_sent(d, AGENT_SEND_CONTROL_ACK)->number, i);
    }
    desk_free(d);
}

Test(control, brokers_and_recipients_may_end_it)
{
    static const struct {
        struct statement said;
        enum transport_state state;
    } rows[] = {
        {{REFUSED, "LV.POLICE", 0, ERR_BAD_COMMITMENT}, STATE_REFUSED},
        {{REFUSED, "riga", 0, ERR_NO_ROUTE}, STATE_REFUSED},
        {{EXPIRED, "LV.POLICE", 0, ERR_EXPIRED}, STATE_EXPIRED},
        {{EXPIRED, "riga", 0, ERR_EXPIRED}, STATE_EXPIRED},
    };
    struct desk *d = accepted();
    struct memview *base = memview_copy(d->state);

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct mail m;

        desk_control(d, "tallinn", i, said(d, &rows[i].said, 1));
        m = desk_record(d, MAIL_OUT, 1);
        cr_assert_eq(m.recipients[0].state, rows[i].state);
        cr_assert_eq(m.recipients[0].code, rows[i].said.code);
        mail_fini(&m);
        back_to(d, base);
    }
    memview_free(base);
    desk_free(d);
}

Test(control, about_another_message_or_nothing)
{
    struct desk *d = accepted();
    int unsent = desk_mail(d, &(struct desk_mail){.sender = "LT.POLICE", .to = {"LV.POLICE"}});
    /* The id of our mail, with other bytes. */
    int twin = desk_mail(
        d, &(struct desk_mail){.sender = "LT.POLICE", .to = {"LV.POLICE"}, .same_id_as = 1});

    desk_control(d, "tallinn", 7, NULL);
    desk_nothing(d);
    cr_assert_eq(desk_sent(d, AGENT_SEND_CONTROL_ACK)->number, 7);
    desk_control(d, "tallinn", 8, said(d, &statements[1], unsent));
    desk_nothing(d);
    cr_assert_eq(desk_sent(d, AGENT_SEND_CONTROL_ACK)->number, 8);
    desk_control(d, "tallinn", 9, said(d, &statements[1], twin));
    desk_nothing(d);
    cr_assert_eq(desk_state(d, 1, 0), STATE_ACCEPTED);
    desk_free(d);
}

Test(control, for_the_recipients_that_it_names)
{
    struct desk *d = desk_new("EE.POLICE");

    desk_up(d, "tallinn");
    desk_send_one(d, &(struct desk_mail){.to = {"LT.POLICE", "LV.POLICE"}});
    desk_accept(d, 1, 1);
    cr_assert_eq(d->n_leaves, 2, "one leaf for each recipient");
    desk_control(d, "tallinn", 1,
                 desk_receipt(d, &(struct desk_statement){.event = ACCEPTED,
                                                          .log = "riga",
                                                          .recipients = {"LT.POLICE"},
                                                          .hop = 1,
                                                          .m = 1}));
    cr_assert_eq(desk_state(d, 1, 0), STATE_RELAYED);
    cr_assert_eq(desk_state(d, 1, 1), STATE_ACCEPTED);
    /* A recipient speaks for itself alone. */
    desk_control(d, "tallinn", 2,
                 desk_receipt(d, &(struct desk_statement){.event = DELIVERED,
                                                          .log = "LV.POLICE",
                                                          .recipients = {"LT.POLICE", "LV.POLICE"},
                                                          .m = 1}));
    cr_assert_eq(desk_state(d, 1, 0), STATE_RELAYED);
    cr_assert_eq(desk_state(d, 1, 1), STATE_DELIVERED);
    desk_control(d, "tallinn", 3,
                 desk_receipt(d, &(struct desk_statement){.event = DELIVERED,
                                                          .log = "LT.POLICE",
                                                          .recipients = {"LV.POLICE"},
                                                          .m = 1}));
    cr_assert_eq(desk_state(d, 1, 0), STATE_RELAYED);
    desk_free(d);
}
