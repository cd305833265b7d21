#include "tests/lib/leaks.h"
#include "tests/unit/broker/stage.h"

#include "broker/record.h"
#include "common/store.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <string.h>

TestSuite(answer, .fini = leaks_check);

#define ACCEPTED SP__AUDIT_EVENT__AUDIT_EVENT_ACCEPTED
#define DELIVERED SP__AUDIT_EVENT__AUDIT_EVENT_DELIVERED
#define OPENED SP__AUDIT_EVENT__AUDIT_EVENT_OPENED
#define REFUSAL SP__AUDIT_EVENT__AUDIT_EVENT_REFUSED
#define EXPIRED SP__AUDIT_EVENT__AUDIT_EVENT_EXPIRED
#define RELAYED SP__AUDIT_EVENT__AUDIT_EVENT_RELAYED
#define COMMITTED SP__OUTCOME__OUTCOME_COMMITTED
#define HOUR_MS ((uint64_t)3600000)

static void damage(struct stage *s, unsigned table, uint64_t number)
{
    uint8_t key[8];

    store_key_u64(number, key);
    memview_damage(s->state, table, span_of(key, sizeof key));
}

/* tallinn with one message for LT.POLICE and LV.POLICE on its way to riga. */
static int one_sent(struct stage *s)
{
    int m;

    stage_init(s, "tallinn");
    stage_up(s, "riga");
    m = stage_mail(s,
                   &(struct stage_mail){.sender = "EE.POLICE", .to = {"LT.POLICE", "LV.POLICE"}});
    stage_submit(s, "EE.POLICE", m);
    cr_assert_not_null(stage_sent(s, BROKER_SEND_TRANSFER, "riga"));
    return m;
}

static const struct receipt *riga_has_it(struct stage *s, int m)
{
    return stage_receipt(
        s, &(struct stage_statement){
               ACCEPTED, "riga", {"LT.POLICE", "LV.POLICE"}, "tallinn", 1, ERR_OK, m});
}

static void nothing_happened(const struct stage *s)
{
    cr_assert_eq(s->n_changes, 0);
    cr_assert_eq(s->n_leaves, 0);
}

Test(answer, twice)
{
    struct stage s;
    int m = one_sent(&s);

    stage_answer(&s, "riga", 1, COMMITTED, ERR_OK, riga_has_it(&s, m));
    cr_assert_eq(stage_leaves(&s, RELAYED), 1);
    stage_answer(&s, "riga", 1, COMMITTED, ERR_OK, riga_has_it(&s, m));
    nothing_happened(&s);
    stage_answer(&s, "riga", 1, SP__OUTCOME__OUTCOME_REFUSED, ERR_EXPIRED, NULL);
    nothing_happened(&s);
    cr_assert_eq(memview_count(s.state, BROKER_OPEN), 0);
    stage_fini(&s);
}

Test(answer, not_asked)
{
    struct stage s;
    int m = one_sent(&s);

    stage_answer(&s, "vilnius", 1, COMMITTED, ERR_OK, riga_has_it(&s, m));
    nothing_happened(&s);
    stage_answer(&s, "riga", 2, COMMITTED, ERR_OK, riga_has_it(&s, m));
    nothing_happened(&s);
    cr_assert_eq(broker_core_queued(s.core, "riga"), 1);
    stage_fini(&s);
}

/* An answer may come after the connection on which the question went. */
Test(answer, late)
{
    struct stage s;
    int m = one_sent(&s);

    stage_down(&s, "riga");
    stage_answer(&s, "riga", 1, COMMITTED, ERR_OK, riga_has_it(&s, m));
    cr_assert_eq(stage_leaves(&s, RELAYED), 1);
    cr_assert_eq(broker_core_queued(s.core, "riga"), 0);
    stage_fini(&s);
}

/* What was never offered cannot have been answered. */
Test(answer, never_offered)
{
    struct stage s;
    int m;

    stage_init(&s, "tallinn");
    m = stage_mail(&s,
                   &(struct stage_mail){.sender = "EE.POLICE", .to = {"LT.POLICE", "LV.POLICE"}});
    stage_submit(&s, "EE.POLICE", m);
    stage_answer(&s, "riga", 1, COMMITTED, ERR_OK, riga_has_it(&s, m));
    nothing_happened(&s);
    cr_assert_eq(broker_core_queued(s.core, "riga"), 1);
    stage_fini(&s);
}

/* Custody passes only with a proof of the right statement by the right log about these bytes. */
Test(answer, without_proof)
{
    struct stage s;
    int m = one_sent(&s);
    int other = stage_mail(&s, &(struct stage_mail){.sender = "EE.POLICE", .to = {"LV.POLICE"}});
    const struct stage_statement wrong[] = {
        {ACCEPTED, "vilnius", {"LT.POLICE", "LV.POLICE"}, "tallinn", 1, ERR_OK, m},
        {DELIVERED, "riga", {"LT.POLICE", "LV.POLICE"}, "tallinn", 1, ERR_OK, m},
        {ACCEPTED, "riga", {"LV.POLICE"}, "tallinn", 1, ERR_OK, other},
    };

    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        stage_answer(&s, "riga", 1, COMMITTED, ERR_OK, stage_receipt(&s, &wrong[i]));
        nothing_happened(&s);
        stage_wait(&s, 60000);
        cr_assert_not_null(stage_sent(&s, BROKER_SEND_TRANSFER, "riga"), "asked again");
    }
    stage_answer(&s, "riga", 1, COMMITTED, ERR_OK, NULL);
    nothing_happened(&s);
    stage_answer(&s, "riga", 1, COMMITTED, ERR_OK, riga_has_it(&s, m));
    cr_assert_eq(stage_leaves(&s, RELAYED), 1);
    stage_fini(&s);
}

/* A receipt for some of the recipients is no proof for the others. */
Test(answer, proof_for_one_of_two)
{
    struct stage s;
    int m = one_sent(&s);

    stage_answer(&s, "riga", 1, COMMITTED, ERR_OK,
                 stage_receipt(&s, &(struct stage_statement){
                                       ACCEPTED, "riga", {"LV.POLICE"}, "tallinn", 1, ERR_OK, m}));
    nothing_happened(&s);
    cr_assert_eq(broker_core_queued(s.core, "riga"), 1);
    stage_fini(&s);
}

/* All recipients behind one hop end together; those behind another do not. */
Test(answer, refusal_by_the_hop)
{
    struct stage s;
    int m;

    stage_init(&s, "tallinn");
    stage_up(&s, "riga");
    stage_up(&s, "EE.CUSTOMS");
    m = stage_mail(&s, &(struct stage_mail){.sender = "EE.POLICE",
                                            .to = {"EE.CUSTOMS", "LT.POLICE", "LV.POLICE"}});
    stage_submit(&s, "EE.POLICE", m);
    cr_assert_eq(stage_count_sent(&s, BROKER_SEND_TRANSFER), 2);
    stage_answer(&s, "riga", 1, SP__OUTCOME__OUTCOME_REFUSED, ERR_NO_ROUTE, NULL);
    cr_assert_eq(stage_leaves(&s, REFUSAL), 2);
    cr_assert_eq(memview_count(s.state, BROKER_CONTROL), 2);
    cr_assert_eq(memview_count(s.state, BROKER_OPEN), 1);
    stage_answer(&s, "EE.CUSTOMS", 1, COMMITTED, ERR_OK,
                 stage_receipt(&s, &(struct stage_statement){
                                       DELIVERED, "EE.CUSTOMS", {"EE.CUSTOMS"}, "", 1, ERR_OK, m}));
    cr_assert_eq(memview_count(s.state, BROKER_OPEN), 0);
    cr_assert_eq(memview_count(s.state, BROKER_DONE), 1);
    stage_fini(&s);
}

Test(answer, back_off_grows_to_its_bound)
{
    struct stage s;
    uint64_t waits[12];

    (void)one_sent(&s);
    for (size_t i = 0; i < 12; i++) {
        uint64_t ms = 0;

        stage_answer(&s, "riga", 1, SP__OUTCOME__OUTCOME_RETRY, ERR_CLOCK, NULL);
        nothing_happened(&s);
        do {
            ms += 100;
            stage_wait(&s, 100);
        } while (stage_sent(&s, BROKER_SEND_TRANSFER, "riga") == NULL && ms < 100000);
        cr_assert_eq(stage_sent(&s, BROKER_SEND_TRANSFER, "riga")->number, 1);
        waits[i] = ms;
    }
    for (size_t i = 0; i < 12; i++)
        cr_assert_eq(waits[i], i < 9 ? 100u << i : 30000, "%zu: %llu", i,
                     (unsigned long long)waits[i]);
    stage_fini(&s);
}

/* A paused hop does not keep the shell awake, and waits no longer than it must. */
Test(answer, pause)
{
    struct stage s;
    int m;

    (void)one_sent(&s);
    stage_answer(&s, "riga", 1, SP__OUTCOME__OUTCOME_RETRY, ERR_DISK_FULL, NULL);
    cr_assert_null(stage_sent(&s, BROKER_SEND_TRANSFER, "riga"));
    m = stage_mail(&s, &(struct stage_mail){.sender = "EE.POLICE", .to = {"LV.POLICE"}});
    stage_submit(&s, "EE.POLICE", m);
    cr_assert_null(stage_sent(&s, BROKER_SEND_TRANSFER, "riga"));
    cr_assert_eq(broker_core_wake_at(s.core), s.env.now_ms + 100);
    stage_wait(&s, 100);
    cr_assert_eq(stage_count_sent(&s, BROKER_SEND_TRANSFER), 2);
    cr_assert_gt(broker_core_wake_at(s.core), s.env.now_ms);
    /* A new connection ends a pause. */
    stage_answer(&s, "riga", 1, SP__OUTCOME__OUTCOME_RETRY, ERR_DISK_FULL, NULL);
    stage_up(&s, "riga");
    cr_assert_eq(stage_count_sent(&s, BROKER_SEND_TRANSFER), 2);
    stage_fini(&s);
}

/* What is about one recipient or one message holds up nothing else. */
Test(answer, no_pause)
{
    const enum err codes[] = {ERR_QUOTA, ERR_UNAVAILABLE, ERR_CLOCK, ERR_NEED_DOCUMENTS};

    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        struct stage s;
        int m;

        (void)one_sent(&s);
        stage_answer(&s, "riga", 1, SP__OUTCOME__OUTCOME_RETRY, codes[i], NULL);
        m = stage_mail(&s, &(struct stage_mail){.sender = "EE.POLICE", .to = {"LV.CUSTOMS"}});
        stage_submit(&s, "EE.POLICE", m);
        cr_assert_eq(stage_sent(&s, BROKER_SEND_TRANSFER, "riga")->number, 2);
        stage_fini(&s);
    }
}

Test(answer, pause_with_a_full_window)
{
    struct stage s;
    int m;

    stage_init(&s, "tallinn");
    s.options.in_flight_max = 1;
    stage_restart(&s);
    stage_up(&s, "riga");
    for (int i = 0; i < 2; i++) {
        m = stage_mail(&s, &(struct stage_mail){.sender = "EE.POLICE", .to = {"LV.POLICE"}});
        stage_submit(&s, "EE.POLICE", m);
    }
    stage_answer(&s, "riga", 1, SP__OUTCOME__OUTCOME_RETRY, ERR_DISK_FULL, NULL);
    stage_wait(&s, 100);
    cr_assert_eq(stage_count_sent(&s, BROKER_SEND_TRANSFER), 1);
    cr_assert_gt(broker_core_wake_at(s.core), s.env.now_ms, "the pause is over");
    stage_fini(&s);
}

Test(answer, time_out_keeps_the_order)
{
    struct stage s;

    stage_init(&s, "tallinn");
    stage_up(&s, "riga");
    for (int i = 0; i < 20; i++) {
        int m = stage_mail(&s, &(struct stage_mail){.sender = "EE.POLICE", .to = {"LV.POLICE"}});

        stage_submit(&s, "EE.POLICE", m);
        stage_pass(&s, i % 3);
    }
    stage_wait(&s, 20000);
    cr_assert_eq(stage_count_sent(&s, BROKER_SEND_TRANSFER), 20);
    for (size_t i = 0; i < s.n_sends; i++)
        cr_assert_eq(s.sends[i].number, i + 1);
    stage_fini(&s);
}

Test(answer, damaged_exchange)
{
    struct stage s;
    struct broker_core_stats stats;
    int m = one_sent(&s);

    s.quiet = true;
    damage(&s, BROKER_EXCHANGE, 1);
    broker_core_stats(s.core, &stats);
    cr_assert_eq(stats.quarantined, 0);
    stage_answer(&s, "riga", 1, COMMITTED, ERR_OK, riga_has_it(&s, m));
    nothing_happened(&s);
    broker_core_stats(s.core, &stats);
    cr_assert_eq(stats.quarantined, 1);
    cr_assert_eq(stats.quarantined_table, BROKER_EXCHANGE);
    cr_assert_eq(stats.quarantined_number, 1);
    stage_control(&s, "riga", "EE.POLICE", 8,
                  stage_receipt(&s, &(struct stage_statement){
                                        DELIVERED, "LV.POLICE", {"LV.POLICE"}, "", 2, ERR_OK, m}));
    cr_assert_not_null(stage_sent(&s, BROKER_SEND_CONTROL_ACK, "riga"));
    stage_restart(&s);
    stage_up(&s, "riga");
    cr_assert_eq(stage_count_sent(&s, BROKER_SEND_TRANSFER), 0, "never served");
    stage_fini(&s);
}

/* Who may say what about a recipient, and after what. */
Test(control, who_may_say_what)
{
    struct stage s;
    int m = one_sent(&s);
    int other = stage_mail(&s, &(struct stage_mail){.sender = "EE.POLICE", .to = {"LV.POLICE"}});
    const struct stage_statement wrong[] = {
        /* only the recipient itself */
        {DELIVERED, "riga", {"LV.POLICE"}, "", 2, ERR_OK, m},
        {DELIVERED, "LV.CUSTOMS", {"LV.POLICE"}, "", 2, ERR_OK, m},
        {OPENED, "vilnius", {"LT.POLICE"}, "", 2, ERR_OK, m},
        /* a broker's end of custody is for brokers and the recipient */
        {REFUSAL, "LV.CUSTOMS", {"LV.POLICE"}, "", 2, ERR_NO_ROUTE, m},
        /* nobody is named, or somebody who is no recipient */
        {DELIVERED, "LV.POLICE", {NULL}, "", 2, ERR_OK, m},
        {DELIVERED, "LV.CUSTOMS", {"LV.CUSTOMS"}, "", 2, ERR_OK, m},
        /* another envelope */
        {DELIVERED, "LV.POLICE", {"LV.POLICE"}, "", 2, ERR_OK, other},
        /* not a statement about an exchange's way */
        {SP__AUDIT_EVENT__AUDIT_EVENT_SUBMITTED, "LV.POLICE", {"LV.POLICE"}, "", 2, ERR_OK, m},
    };

    stage_answer(&s, "riga", 1, COMMITTED, ERR_OK, riga_has_it(&s, m));
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        stage_control(&s, "riga", "EE.POLICE", 40 + i, stage_receipt(&s, &wrong[i]));
        nothing_happened(&s);
        cr_assert_eq(stage_sent(&s, BROKER_SEND_CONTROL_ACK, "riga")->number, 40 + i);
    }
    /* From a peer that is not on this way; for another sender; without proof. */
    stage_control(&s, "vilnius", "EE.POLICE", 60,
                  stage_receipt(&s, &(struct stage_statement){
                                        DELIVERED, "LV.POLICE", {"LV.POLICE"}, "", 2, ERR_OK, m}));
    nothing_happened(&s);
    stage_control(&s, "riga", "EE.CUSTOMS", 61,
                  stage_receipt(&s, &(struct stage_statement){
                                        DELIVERED, "LV.POLICE", {"LV.POLICE"}, "", 2, ERR_OK, m}));
    nothing_happened(&s);
    stage_control(&s, "riga", "EE.POLICE", 62, NULL);
    nothing_happened(&s);
    cr_assert_not_null(stage_sent(&s, BROKER_SEND_CONTROL_ACK, "riga"));
    stage_fini(&s);
}

/* A control that overtakes the answer waits for nothing: custody is still here. */
Test(control, before_the_answer)
{
    struct stage s;
    int m = one_sent(&s);

    stage_control(&s, "riga", "EE.POLICE", 5,
                  stage_receipt(&s, &(struct stage_statement){
                                        DELIVERED, "LV.POLICE", {"LV.POLICE"}, "", 2, ERR_OK, m}));
    cr_assert_null(stage_sent(&s, BROKER_SEND_CONTROL_ACK, "riga"),
                   "it must come again when the answer is here");
    nothing_happened(&s);
    stage_answer(&s, "riga", 1, COMMITTED, ERR_OK, riga_has_it(&s, m));
    stage_control(&s, "riga", "EE.POLICE", 5,
                  stage_receipt(&s, &(struct stage_statement){
                                        DELIVERED, "LV.POLICE", {"LV.POLICE"}, "", 2, ERR_OK, m}));
    cr_assert_eq(stage_leaves(&s, DELIVERED), 1);
    cr_assert_not_null(stage_sent(&s, BROKER_SEND_CONTROL_ACK, "riga"));
    stage_fini(&s);
}

/* One end for each recipient, whatever is said afterwards. */
Test(control, one_end)
{
    struct stage s;
    int m = one_sent(&s);
    const struct stage_statement later[] = {
        {DELIVERED, "LV.POLICE", {"LV.POLICE"}, "", 3, ERR_OK, m},
        {REFUSAL, "vilnius", {"LV.POLICE"}, "", 2, ERR_NO_ROUTE, m},
        {EXPIRED, "riga", {"LV.POLICE"}, "", 1, ERR_EXPIRED, m},
        {ACCEPTED, "vilnius", {"LV.POLICE"}, "", 2, ERR_OK, m},
    };

    stage_answer(&s, "riga", 1, COMMITTED, ERR_OK, riga_has_it(&s, m));
    stage_control(&s, "riga", "EE.POLICE", 5,
                  stage_receipt(&s, &(struct stage_statement){
                                        EXPIRED, "riga", {"LV.POLICE"}, "", 2, ERR_EXPIRED, m}));
    cr_assert_eq(stage_leaves(&s, EXPIRED), 1);
    for (size_t i = 0; i < sizeof later / sizeof later[0]; i++) {
        stage_control(&s, "riga", "EE.POLICE", 6 + i, stage_receipt(&s, &later[i]));
        nothing_happened(&s);
    }
    stage_fini(&s);
}

Test(control, repeated_until_acknowledged)
{
    struct stage s;
    int m;

    stage_init(&s, "tallinn");
    stage_up(&s, "EE.POLICE");
    stage_up(&s, "EE.CUSTOMS");
    m = stage_mail(&s, &(struct stage_mail){.sender = "EE.POLICE", .to = {"EE.CUSTOMS"}});
    stage_submit(&s, "EE.POLICE", m);
    stage_answer(&s, "EE.CUSTOMS", 1, SP__OUTCOME__OUTCOME_REFUSED, ERR_REVOKED, NULL);
    cr_assert_not_null(stage_sent(&s, BROKER_SEND_CONTROL, "EE.POLICE"));
    stage_wait(&s, 9999);
    cr_assert_null(stage_sent(&s, BROKER_SEND_CONTROL, "EE.POLICE"));
    stage_wait(&s, 1);
    cr_assert_not_null(stage_sent(&s, BROKER_SEND_CONTROL, "EE.POLICE"));
    stage_restart(&s);
    stage_up(&s, "EE.POLICE");
    cr_assert_not_null(stage_sent(&s, BROKER_SEND_CONTROL, "EE.POLICE"));
    stage_ack(&s, "EE.CUSTOMS", 1);
    nothing_happened(&s);
    stage_ack(&s, "EE.POLICE", 1);
    cr_assert_eq(memview_count(s.state, BROKER_CONTROL), 0);
    stage_ack(&s, "EE.POLICE", 1);
    nothing_happened(&s);
    stage_restart(&s);
    stage_up(&s, "EE.POLICE");
    cr_assert_null(stage_sent(&s, BROKER_SEND_CONTROL, "EE.POLICE"));
    stage_fini(&s);
}

/* Numbers are not used again, also when every record with one is gone. */
Test(forget, numbers_are_never_used_again)
{
    struct stage s;
    int m = one_sent(&s);

    stage_answer(&s, "riga", 1, SP__OUTCOME__OUTCOME_REFUSED, ERR_NO_ROUTE, NULL);
    stage_up(&s, "EE.POLICE");
    stage_ack(&s, "EE.POLICE", 1);
    stage_ack(&s, "EE.POLICE", 2);
    stage_wait(&s, 73 * HOUR_MS);
    stage_wait(&s, HOUR_MS);
    cr_assert_eq(memview_count(s.state, BROKER_SPOOL), 0);
    cr_assert_eq(memview_count(s.state, BROKER_EXCHANGE), 0);
    cr_assert_eq(memview_count(s.state, BROKER_CONTROL), 0);
    cr_assert_eq(federation_refresh(s.federation), ERR_OK);
    stage_restart(&s);
    m = stage_mail(&s, &(struct stage_mail){.sender = "EE.POLICE", .to = {"EE.CUSTOMS"}});
    stage_submit(&s, "EE.POLICE", m);
    stage_up(&s, "EE.CUSTOMS");
    cr_assert_eq(stage_sent(&s, BROKER_SEND_TRANSFER, "EE.CUSTOMS")->number, 2);
    stage_fini(&s);
}

/* The row that keeps an id from taking effect twice outlives every time at which the envelope could
 * still be accepted. */
Test(forget, dedup_outlives_expiry)
{
    struct stage s;
    int m = one_sent(&s);

    stage_answer(&s, "riga", 1, SP__OUTCOME__OUTCOME_REFUSED, ERR_NO_ROUTE, NULL);
    stage_wait(&s, LIMIT_EXPIRY_MS);
    stage_wait(&s, 2 * 24 * HOUR_MS);
    cr_assert_eq(memview_count(s.state, BROKER_DEDUP), 1);
    cr_assert_eq(federation_refresh(s.federation), ERR_OK);
    stage_transfer(&s, "EE.POLICE", m, &(struct stage_transfer){.tag = 9});
    cr_assert_eq(stage_the_answer(&s)->outcome, COMMITTED, "the first answer");
    cr_assert_eq(stage_the_answer(&s)->leaf, 0);
    nothing_happened(&s);
    stage_wait(&s, 2 * 24 * HOUR_MS);
    cr_assert_eq(memview_count(s.state, BROKER_DEDUP), 0);
    stage_fini(&s);
}

/* Receipts about what was relayed may come until well after the expiry. */
Test(forget, relayed_is_kept_longer)
{
    struct stage s;
    int m = one_sent(&s);

    stage_answer(&s, "riga", 1, COMMITTED, ERR_OK, riga_has_it(&s, m));
    stage_wait(&s, LIMIT_EXPIRY_MS + 24 * HOUR_MS);
    cr_assert_eq(memview_count(s.state, BROKER_EXCHANGE), 1);
    stage_wait(&s, 25 * HOUR_MS);
    cr_assert_eq(memview_count(s.state, BROKER_EXCHANGE), 0);
    stage_fini(&s);
}

/* More than one turn's worth, and parts that two exchanges name. */
Test(forget, many)
{
    struct stage s;
    int m;

    stage_init(&s, "tallinn");
    s.quiet = true;
    s.options.keep_ms = HOUR_MS;
    stage_restart(&s);
    stage_up(&s, "EE.CUSTOMS");
    for (int i = 0; i < 150; i++) {
        m = stage_mail(
            &s, &(struct stage_mail){.sender = "EE.POLICE", .to = {"EE.CUSTOMS"}, .file = i < 2});
        stage_submit(&s, "EE.POLICE", m);
        stage_answer(&s, "EE.CUSTOMS", (uint64_t)i + 1, SP__OUTCOME__OUTCOME_REFUSED, ERR_REVOKED,
                     NULL);
    }
    cr_assert_eq(memview_count(s.state, BROKER_PART), 2);
    cr_assert_eq(memview_count(s.state, BROKER_SPOOL), 150);
    stage_wait(&s, 2 * HOUR_MS);
    for (int i = 0; i < 4; i++) {
        cr_assert_leq(broker_core_wake_at(s.core), s.env.now_ms + 60000);
        stage_wait(&s, broker_core_wake_at(s.core) > s.env.now_ms
                           ? broker_core_wake_at(s.core) - s.env.now_ms
                           : 0);
    }
    cr_assert_eq(memview_count(s.state, BROKER_SPOOL), 0);
    cr_assert_eq(memview_count(s.state, BROKER_PART), 0);
    cr_assert_eq(memview_count(s.state, BROKER_DONE), 0);
    stage_fini(&s);
}
