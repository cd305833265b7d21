/* What becomes of sent mail: answers of the home broker, receipts of others, time. */
#include "tests/lib/leaks.h"
#include "tests/unit/agent/desk.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(sent, .fini = leaks_check);

#define ACCEPTED SP__AUDIT_EVENT__AUDIT_EVENT_ACCEPTED
#define RELAYED SP__AUDIT_EVENT__AUDIT_EVENT_RELAYED
#define DELIVERED SP__AUDIT_EVENT__AUDIT_EVENT_DELIVERED
#define OPENED SP__AUDIT_EVENT__AUDIT_EVENT_OPENED
#define REFUSED SP__AUDIT_EVENT__AUDIT_EVENT_REFUSED
#define EXPIRED SP__AUDIT_EVENT__AUDIT_EVENT_EXPIRED
#define COMMITTED SP__OUTCOME__OUTCOME_COMMITTED
#define NO SP__OUTCOME__OUTCOME_REFUSED
#define RETRY SP__OUTCOME__OUTCOME_RETRY

/* One mail on its way to `to`, offered to tallinn. */
static struct desk *offered(const char *to)
{
    struct desk *d = desk_new("EE.POLICE");

    desk_up(d, "tallinn");
    desk_send_one(d, &(struct desk_mail){.to = {to}});
    cr_assert_eq(desk_count_sent(d, AGENT_SEND_TRANSFER), 1);
    cr_assert_eq(desk_sent(d, AGENT_SEND_TRANSFER)->number, 1);
    return d;
}

static const struct receipt *said(struct desk *d, Sp__AuditEvent event, const char *log,
                                  uint32_t hop)
{
    return desk_receipt(d, &(struct desk_statement){.event = event,
                                                    .log = log,
                                                    .hop = hop,
                                                    .code = event == REFUSED   ? ERR_BAD_COMMITMENT
                                                            : event == EXPIRED ? ERR_EXPIRED
                                                                               : ERR_OK,
                                                    .m = 1});
}

Test(sent, offered_when_the_broker_is_up)
{
    struct desk *d = desk_new("EE.POLICE");

    cr_assert_str_eq(agent_core_home(d->core), "");
    desk_send_one(d, &(struct desk_mail){.to = {"LV.POLICE"}});
    cr_assert_eq(desk_count_sent(d, AGENT_SEND_TRANSFER), 0);
    cr_assert_str_eq(agent_core_home(d->core), "");
    desk_up(d, "riga");
    cr_assert_eq(desk_count_sent(d, AGENT_SEND_TRANSFER), 0, "riga is not our home");
    desk_up(d, "tallinn");
    cr_assert_eq(desk_count_sent(d, AGENT_SEND_TRANSFER), 1);
    cr_assert_str_eq(desk_sent(d, AGENT_SEND_TRANSFER)->peer, "tallinn");
    cr_assert_str_eq(agent_core_home(d->core), "tallinn");
    desk_wait(d, 1);
    cr_assert_eq(desk_count_sent(d, AGENT_SEND_TRANSFER), 0);
    desk_free(d);
}

Test(sent, urgent_first_and_never_more_than_the_window)
{
    struct desk *d = desk_new("EE.POLICE");
    struct agent_options options = d->options;

    options.in_flight_max = 2;
    d->options = options;
    desk_restart(d);
    for (int i = 0; i < 3; i++)
        desk_send_one(d, &(struct desk_mail){.to = {"LV.POLICE"}});
    desk_send_one(d,
                  &(struct desk_mail){.to = {"LV.POLICE"}, .urgency = SP__URGENCY__URGENCY_URGENT});
    desk_up(d, "tallinn");
    cr_assert_eq(desk_count_sent(d, AGENT_SEND_TRANSFER), 2);
    cr_assert_eq(desk_sent(d, AGENT_SEND_TRANSFER)->number, 4);
    desk_accept(d, 4, 4);
    cr_assert_eq(desk_count_sent(d, AGENT_SEND_TRANSFER), 1);
    cr_assert_eq(desk_sent(d, AGENT_SEND_TRANSFER)->number, 2);
    cr_assert_eq(agent_core_pending(d->core), 3);
    desk_free(d);
}

Test(sent, accepted_once)
{
    struct desk *d = offered("LV.POLICE");

    desk_accept(d, 1, 1);
    cr_assert_eq(desk_state(d, 1, 0), STATE_ACCEPTED);
    cr_assert_eq(d->n_leaves, 1);
    cr_assert_eq(desk_leaves(d, ACCEPTED), 1);
    cr_assert_eq(memview_count(d->state, AGENT_RECEIPT), 1);
    cr_assert_eq(memview_count(d->state, AGENT_PENDING), 0);
    cr_assert_eq(agent_core_pending(d->core), 0);
    cr_assert_eq(desk_count_sent(d, AGENT_LOCAL_CHANGED), 1);
    /* The answer again, and a contrary one: both too late. */
    desk_accept(d, 1, 1);
    desk_nothing(d);
    desk_answer(d, "tallinn", 1, NO, ERR_NO_ROUTE, NULL);
    desk_nothing(d);
    desk_restart(d);
    desk_accept(d, 1, 1);
    desk_nothing(d);
    cr_assert_eq(desk_state(d, 1, 0), STATE_ACCEPTED);
    desk_free(d);
}

Test(sent, answers_of_others_and_about_nothing)
{
    struct desk *d = offered("LV.POLICE");

    desk_answer(d, "riga", 1, COMMITTED, ERR_OK, said(d, ACCEPTED, "riga", 0));
    desk_nothing(d);
    desk_answer(d, "tallinn", 2, COMMITTED, ERR_OK, said(d, ACCEPTED, "tallinn", 0));
    desk_nothing(d);
    desk_answer(d, "vilnius", 1, NO, ERR_NO_ROUTE, NULL);
    desk_nothing(d);
    cr_assert_eq(desk_state(d, 1, 0), STATE_QUEUED);
    desk_free(d);
}

/* Acceptance is believed only with its proof; else the broker is asked again. */
static void check_unproven(struct desk *d, const struct receipt *r)
{
    desk_answer(d, "tallinn", 1, COMMITTED, ERR_OK, r);
    desk_nothing(d);
    cr_assert_eq(desk_state(d, 1, 0), STATE_QUEUED);
    cr_assert_eq(agent_core_pending(d->core), 1);
    desk_wait(d, agent_core_wake_at(d->core) - d->env.now_ms);
    cr_assert_eq(desk_count_sent(d, AGENT_SEND_TRANSFER), 1, "not asked again");
}

Test(sent, acceptance_without_proof)
{
    struct desk *d = offered("LV.POLICE");
    int other = desk_mail(d, &(struct desk_mail){.sender = "LV.POLICE", .to = {"EE.POLICE"}});

    check_unproven(d, NULL);
    check_unproven(d, said(d, DELIVERED, "tallinn", 0));
    check_unproven(d, said(d, REFUSED, "tallinn", 0));
    check_unproven(d, said(d, ACCEPTED, "riga", 0));
    check_unproven(d, desk_receipt(d, &(struct desk_statement){
                                          .event = ACCEPTED, .log = "tallinn", .m = other}));
    desk_accept(d, 1, 1);
    cr_assert_eq(desk_state(d, 1, 0), STATE_ACCEPTED);
    desk_free(d);
}

Test(sent, refused_with_its_reason)
{
    struct desk *d = offered("LV.POLICE");
    struct mail m;

    desk_answer(d, "tallinn", 1, NO, ERR_NO_ROUTE, said(d, REFUSED, "tallinn", 0));
    m = desk_record(d, MAIL_OUT, 1);
    cr_assert_eq(m.recipients[0].state, STATE_REFUSED);
    cr_assert_eq(m.recipients[0].code, ERR_NO_ROUTE);
    cr_assert_str_eq(m.recipients[0].reason, "said so");
    cr_assert_eq(desk_leaves(d, REFUSED), 1);
    cr_assert_eq(memview_count(d->state, AGENT_RECEIPT), 1);
    cr_assert_eq(agent_core_pending(d->core), 0);
    mail_fini(&m);
    desk_free(d);
}

Test(sent, refused_without_or_with_another_receipt)
{
    struct desk *d = offered("LV.POLICE");
    struct mail m;
    int other;

    desk_answer(d, "tallinn", 1, NO, ERR_NO_ROUTE, NULL);
    cr_assert_eq(desk_state(d, 1, 0), STATE_REFUSED);
    desk_send_one(d, &(struct desk_mail){.to = {"LV.POLICE"}});
    other = desk_mail(d, &(struct desk_mail){.sender = "LV.POLICE", .to = {"EE.POLICE"}});
    desk_answer(
        d, "tallinn", 2, NO, ERR_NO_ROUTE,
        desk_receipt(d, &(struct desk_statement){.event = REFUSED, .log = "tallinn", .m = other}));
    cr_assert_eq(desk_state(d, 2, 0), STATE_REFUSED);
    /* What it shows is no refusal: not kept as the cause of one. */
    desk_send_one(d, &(struct desk_mail){.to = {"LV.POLICE"}});
    desk_pass(d, 1000);
    desk_answer(d, "tallinn", 3, NO, ERR_NO_ROUTE,
                desk_receipt(d, &(struct desk_statement){
                                    .event = ACCEPTED, .log = "tallinn", .m = d->n_messages}));
    cr_assert_eq(memview_count(d->state, AGENT_RECEIPT), 0);
    m = desk_record(d, MAIL_OUT, 3);
    cr_assert_eq(m.recipients[0].state, STATE_REFUSED);
    cr_assert_eq(m.recipients[0].at_ms, d->env.now_ms);
    mail_fini(&m);
    desk_free(d);
}

Test(sent, expired_at_the_broker)
{
    struct desk *d = offered("LV.POLICE");

    desk_answer(d, "tallinn", 1, NO, ERR_EXPIRED, said(d, EXPIRED, "tallinn", 0));
    cr_assert_eq(desk_state(d, 1, 0), STATE_EXPIRED);
    cr_assert_eq(desk_leaves(d, EXPIRED), 1);
    desk_free(d);
}

/* Time until the mail is offered again after a transient answer. */
static uint64_t pause_after(struct desk *d, enum err code)
{
    uint64_t from = d->env.now_ms;

    desk_answer(d, "tallinn", 1, RETRY, code, NULL);
    desk_nothing(d);
    cr_assert_eq(desk_count_sent(d, AGENT_SEND_TRANSFER), 0);
    desk_wait(d, agent_core_wake_at(d->core) - 1 - from);
    cr_assert_eq(desk_count_sent(d, AGENT_SEND_TRANSFER), 0, "too early");
    desk_wait(d, 1);
    cr_assert_eq(desk_count_sent(d, AGENT_SEND_TRANSFER), 1);
    return d->env.now_ms - from;
}

Test(sent, backs_off_and_begins_anew)
{
    static const enum err codes[] = {ERR_DISK_FULL, ERR_CLOCK, ERR_UNAVAILABLE, ERR_QUOTA};

    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        struct desk *d = offered("LV.POLICE");
        uint64_t expected = 100;

        for (int n = 0; n < 12; n++) {
            cr_assert_eq(pause_after(d, codes[i]), expected, "%s, %d", err_code(codes[i]), n);
            expected = 2 * expected < 30000 ? 2 * expected : 30000;
        }
        desk_accept(d, 1, 1);
        cr_assert_eq(desk_state(d, 1, 0), STATE_ACCEPTED);
        desk_free(d);
    }
}

Test(sent, a_new_connection_ends_the_pause)
{
    struct desk *d = offered("LV.POLICE");

    for (int n = 0; n < 5; n++)
        pause_after(d, ERR_DISK_FULL);
    desk_answer(d, "tallinn", 1, RETRY, ERR_DISK_FULL, NULL);
    desk_down(d, "tallinn");
    desk_up(d, "tallinn");
    cr_assert_eq(desk_count_sent(d, AGENT_SEND_TRANSFER), 1);
    cr_assert_eq(pause_after(d, ERR_DISK_FULL), 100);
    desk_free(d);
}

Test(sent, a_refusal_ends_the_row_of_pauses)
{
    struct desk *d = offered("LV.POLICE");

    pause_after(d, ERR_DISK_FULL);
    cr_assert_eq(pause_after(d, ERR_DISK_FULL), 200);
    desk_answer(d, "tallinn", 1, SP__OUTCOME__OUTCOME_REFUSED, ERR_NO_ROUTE, NULL);
    desk_send_one(d, &(struct desk_mail){.to = {"LV.POLICE"}});
    desk_answer(d, "tallinn", 2, RETRY, ERR_DISK_FULL, NULL);
    cr_assert_eq(agent_core_wake_at(d->core), d->env.now_ms + 100);
    desk_free(d);
}

/* What is about one message holds up nothing else. */
Test(sent, one_that_waits_lets_others_pass)
{
    static const enum err codes[] = {ERR_QUOTA, ERR_UNAVAILABLE, ERR_CLOCK};

    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        struct desk *d = offered("LV.POLICE");

        desk_answer(d, "tallinn", 1, RETRY, codes[i], NULL);
        desk_send_one(d, &(struct desk_mail){.to = {"LV.POLICE"}});
        cr_assert_eq(desk_count_sent(d, AGENT_SEND_TRANSFER), 1, "%s", err_code(codes[i]));
        desk_free(d);
    }
}

Test(sent, documents_that_are_needed_go_along)
{
    struct desk *d = offered("LV.POLICE");

    desk_answer(d, "tallinn", 1, RETRY, ERR_NEED_DOCUMENTS, NULL);
    cr_assert_eq(desk_count_sent(d, AGENT_SEND_DOCUMENTS), 1);
    cr_assert_eq(desk_count_sent(d, AGENT_SEND_TRANSFER), 0);
    /* It is this one that waits, not the whole line. */
    desk_send_one(d, &(struct desk_mail){.to = {"LV.POLICE"}});
    cr_assert_eq(desk_count_sent(d, AGENT_SEND_TRANSFER), 1);
    desk_wait(d, 100);
    cr_assert_eq(desk_sent(d, AGENT_SEND_TRANSFER)->number, 1);
    desk_free(d);
}

Test(sent, unanswered_is_sent_again)
{
    struct desk *d = offered("LV.POLICE");

    desk_wait(d, 9999);
    cr_assert_eq(desk_count_sent(d, AGENT_SEND_TRANSFER), 0);
    desk_wait(d, 1);
    cr_assert_eq(desk_count_sent(d, AGENT_SEND_TRANSFER), 1);
    desk_nothing(d);
    desk_down(d, "tallinn");
    desk_wait(d, 20000);
    cr_assert_eq(desk_count_sent(d, AGENT_SEND_TRANSFER), 0);
    desk_up(d, "tallinn");
    cr_assert_eq(desk_count_sent(d, AGENT_SEND_TRANSFER), 1);
    desk_free(d);
}

Test(sent, expires_here_when_never_offered)
{
    struct desk *d = desk_new("EE.POLICE");
    struct mail m;

    desk_send_one(d, &(struct desk_mail){.to = {"LT.POLICE", "LV.POLICE"}, .lives_ms = 60000});
    cr_assert_eq(agent_core_wake_at(d->core), d->env.now_ms + 60000);
    desk_wait(d, 59999);
    desk_nothing(d);
    desk_pass(d, 1);
    desk_up(d, "tallinn"); /* too late for it */
    cr_assert_eq(desk_count_sent(d, AGENT_SEND_TRANSFER), 0);
    cr_assert_eq(d->n_leaves, 2);
    m = desk_record(d, MAIL_OUT, 1);
    cr_assert_eq(m.recipients[0].state, STATE_EXPIRED);
    cr_assert_eq(m.recipients[1].state, STATE_EXPIRED);
    cr_assert_eq(m.recipients[0].code, ERR_EXPIRED);
    cr_assert_eq(agent_core_pending(d->core), 0);
    mail_fini(&m);
    desk_free(d);
}

static void check_in_doubt(bool restart)
{
    struct desk *d = desk_new("EE.POLICE");

    desk_up(d, "tallinn");
    desk_send_one(d, &(struct desk_mail){.to = {"LV.POLICE"}, .lives_ms = 60000});
    desk_down(d, "tallinn");
    if (restart)
        desk_restart(d);
    desk_wait(d, 120000);
    desk_nothing(d);
    cr_assert_eq(desk_state(d, 1, 0), STATE_QUEUED, "ended although the broker may have it");
    cr_assert_gt(agent_core_wake_at(d->core), d->env.now_ms);
    desk_up(d, "tallinn");
    cr_assert_eq(desk_count_sent(d, AGENT_SEND_TRANSFER), 1);
    desk_accept(d, 1, 1);
    cr_assert_eq(desk_state(d, 1, 0), STATE_ACCEPTED);
    desk_free(d);
}

Test(sent, in_doubt_it_waits_for_the_answer)
{
    check_in_doubt(false);
    check_in_doubt(true);
}

Test(sent, a_damaged_record_ends_its_place_in_the_line)
{
    struct desk *d = offered("LV.POLICE");
    uint8_t key[MAIL_KEY];

    d->damaged = true;
    mail_key(MAIL_OUT, 1, key);
    memview_damage(d->state, AGENT_STATE, span_of(key, sizeof key));
    desk_accept(d, 1, 1);
    desk_nothing(d);
    cr_assert_eq(agent_core_quarantined(d->core), 1);
    cr_assert_eq(agent_core_pending(d->core), 0);
    desk_restart(d);
    cr_assert_eq(agent_core_quarantined(d->core), 1);
    desk_up(d, "tallinn");
    cr_assert_eq(desk_count_sent(d, AGENT_SEND_TRANSFER), 0);
    desk_free(d);
}
