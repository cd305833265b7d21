#include "tests/lib/leaks.h"
#include "tests/unit/broker/stage.h"

#include "broker/record.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <string.h>

TestSuite(transfer, .fini = leaks_check);

#define ACCEPTED SP__AUDIT_EVENT__AUDIT_EVENT_ACCEPTED
#define REFUSAL SP__AUDIT_EVENT__AUDIT_EVENT_REFUSED
#define DAY_MS ((int64_t)86400000)
#define MINUTE_MS 60000

/* The last step answered so, and changed the log and the store as such an answer may. */
static void expect(struct stage *s, Sp__Outcome outcome, enum err code)
{
    const struct broker_send *a = stage_the_answer(s);

    cr_assert_eq(a->code, code, "%s instead of %s (%s)", err_code(a->code), err_code(code),
                 a->rule);
    cr_assert_eq(a->outcome, outcome);
    if (outcome == SP__OUTCOME__OUTCOME_RETRY) {
        cr_assert_eq(s->n_leaves, 0, "a passing answer is not logged");
        cr_assert_eq(s->n_changes, 0);
        cr_assert_eq(a->leaf, NO_LEAF);
    }
    if (outcome == SP__OUTCOME__OUTCOME_REFUSED)
        cr_assert_eq(memview_count(s->state, BROKER_SPOOL), 0, "refused and kept");
}

static void expect_refused(struct stage *s, enum err code)
{
    expect(s, SP__OUTCOME__OUTCOME_REFUSED, code);
    cr_assert_eq(s->n_leaves, 1);
    cr_assert_eq(stage_the_answer(s)->leaf, memview_leaf_count(s->state) - 1);
}

static void no_h3_for_lv_police(void *ctx, Sp__Directory *d)
{
    (void)ctx;
    for (size_t i = 0; i < d->n_agencies; i++) {
        if (strcmp(d->agencies[i]->name, "LV.POLICE") == 0)
            d->agencies[i]->n_handling = 3; /* H0 H1 H2 */
    }
}

static void first_link_only(void *ctx, Sp__Directory *d)
{
    (void)ctx;
    /* riga-tallinn sorts before riga-vilnius. */
    d->n_links = 1;
}

static void short_lived(void *ctx, Sp__Directory *d)
{
    d->expires_ms = *(const uint64_t *)ctx;
}

Test(transfer, home_refuses_for_each_reason)
{
    struct stage s;
    int m;

    stage_init(&s, "tallinn");
    stage_note(&s, "tallinn refuses, and says why");
    cr_assert_eq(federation_edit(s.federation, no_h3_for_lv_police, NULL), ERR_OK);

    stage_note(&s, "a recipient that nobody knows");
    m = stage_mail(&s, &(struct stage_mail){.sender = "EE.POLICE", .to = {"FI.POLICE"}});
    stage_submit(&s, "EE.POLICE", m);
    expect_refused(&s, ERR_UNKNOWN_AGENCY);

    stage_note(&s, "one of two recipients may not have this level");
    m = stage_mail(&s, &(struct stage_mail){.sender = "EE.POLICE",
                                            .to = {"LT.CUSTOMS", "LT.POLICE"},
                                            .level = SP__LEVEL__LEVEL_CONFIDENTIAL});
    stage_submit(&s, "EE.POLICE", m);
    expect_refused(&s, ERR_LEVEL_CEILING);

    stage_note(&s, "a code that the recipient may not have");
    m = stage_mail(&s, &(struct stage_mail){
                           .sender = "EE.POLICE", .to = {"LV.POLICE"}, .handling = {"H1", "H3"}});
    stage_submit(&s, "EE.POLICE", m);
    expect_refused(&s, ERR_HANDLING_NOT_ALLOWED);

    stage_note(&s, "past its expiry");
    m = stage_mail(&s, &(struct stage_mail){.sender = "EE.POLICE",
                                            .to = {"LV.POLICE"},
                                            .created_ms = -MINUTE_MS,
                                            .lives_ms = MINUTE_MS});
    stage_submit(&s, "EE.POLICE", m);
    expect_refused(&s, ERR_EXPIRED);

    stage_note(&s, "another agency brings it");
    m = stage_mail(&s, &(struct stage_mail){.sender = "EE.POLICE", .to = {"LV.POLICE"}});
    stage_submit(&s, "EE.CUSTOMS", m);
    expect_refused(&s, ERR_WRONG_USAGE);

    stage_note(&s, "the signature does not hold: the id stays free for its owner");
    stage_transfer(&s, "EE.POLICE", m,
                   &(struct stage_transfer){.tag = 9, .verdict = ERR_BAD_SIGNATURE});
    expect_refused(&s, ERR_BAD_SIGNATURE);
    cr_assert_eq(memview_count(s.state, BROKER_DEDUP), 4);
    stage_compare(&s, "refusals");

    stage_submit(&s, "EE.POLICE", m);
    expect(&s, SP__OUTCOME__OUTCOME_COMMITTED, ERR_OK);
    stage_fini(&s);
}

/* Everything that the peer may do wrong around a good envelope. None of it may keep the envelope
 * from being accepted afterwards. */
Test(transfer, the_peer_is_at_fault)
{
    struct stage s;
    const struct receipt *trail;
    int m;

    stage_init(&s, "tallinn");
    m = stage_mail(&s,
                   &(struct stage_mail){.sender = "EE.POLICE", .to = {"LT.POLICE", "LV.POLICE"}});
    trail = stage_receipt(&s, &(struct stage_statement){
                                  ACCEPTED, "tallinn", {"LT.POLICE"}, "EE.POLICE", 0, ERR_OK, m});
    stage_transfer(&s, "EE.POLICE", m, &(struct stage_transfer){.tag = 1, .trail = {trail}});
    expect_refused(&s, ERR_WRONG_USAGE);
    stage_transfer(&s, "EE.POLICE", m,
                   &(struct stage_transfer){.tag = 1, .verdict = ERR_BAD_DIGEST});
    expect_refused(&s, ERR_BAD_DIGEST);
    stage_transfer(&s, "EE.POLICE", m,
                   &(struct stage_transfer){.tag = 1, .delay_ms = LIMIT_EXPIRY_MS + 1});
    expect_refused(&s, ERR_MALFORMED);
    stage_transfer(&s, "EE.POLICE", m,
                   &(struct stage_transfer){.tag = 1, .to = {"LV.POLICE", "LT.POLICE"}});
    expect_refused(&s, ERR_NON_CANONICAL);
    stage_transfer(&s, "EE.POLICE", m,
                   &(struct stage_transfer){.tag = 1, .to = {"LV.POLICE", "LV.POLICE"}});
    expect_refused(&s, ERR_NON_CANONICAL);
    cr_assert_eq(memview_count(s.state, BROKER_DEDUP), 0);
    stage_submit(&s, "EE.POLICE", m);
    expect(&s, SP__OUTCOME__OUTCOME_COMMITTED, ERR_OK);
    stage_fini(&s);
}

Test(transfer, a_copy_for_somebody_else)
{
    struct stage s;
    int m;

    stage_init(&s, "tallinn");
    m = stage_mail(&s, &(struct stage_mail){.sender = "EE.POLICE", .to = {"LV.POLICE"}});
    stage_transfer(&s, "EE.POLICE", m, &(struct stage_transfer){.tag = 1, .to = {"LT.POLICE"}});
    expect_refused(&s, ERR_NOT_A_RECIPIENT);
    stage_fini(&s);
}

Test(transfer, no_route)
{
    struct stage s;
    int m;

    stage_init(&s, "tallinn");
    cr_assert_eq(federation_edit(s.federation, first_link_only, NULL), ERR_OK);
    m = stage_mail(&s, &(struct stage_mail){.sender = "EE.POLICE", .to = {"LT.POLICE"}});
    stage_submit(&s, "EE.POLICE", m);
    expect_refused(&s, ERR_NO_ROUTE);
    stage_fini(&s);
}

struct clock_row {
    int64_t created_ms;
    uint64_t delay_ms;
    enum err code;
};

ParameterizedTestParameters(transfer, clock)
{
    static struct clock_row rows[] = {
        {0, 0, ERR_OK},
        {5 * MINUTE_MS, 0, ERR_OK},
        {5 * MINUTE_MS + 1, 0, ERR_CLOCK},
        {-5 * MINUTE_MS, 0, ERR_OK},
        {-5 * MINUTE_MS - 1, 0, ERR_CLOCK},
        {-5 * MINUTE_MS - 1, 1, ERR_OK},
        {-DAY_MS, (uint64_t)DAY_MS, ERR_OK},
        {5 * MINUTE_MS + 1, (uint64_t)DAY_MS, ERR_CLOCK}, /* a delay is no excuse for the future */
        {-DAY_MS, LIMIT_EXPIRY_MS, ERR_OK},
    };

    return cr_make_param_array(struct clock_row, rows, sizeof rows / sizeof rows[0]);
}

ParameterizedTest(struct clock_row *row, transfer, clock)
{
    struct stage s;
    int m;

    stage_init(&s, "tallinn");
    stage_pass(&s, 2 * (uint64_t)DAY_MS); /* after the leaf's start */
    cr_assert_eq(federation_refresh(s.federation), ERR_OK);
    m = stage_mail(&s, &(struct stage_mail){.sender = "EE.POLICE",
                                            .to = {"LV.POLICE"},
                                            .created_ms = row->created_ms});
    stage_transfer(&s, "EE.POLICE", m,
                   &(struct stage_transfer){.tag = 1, .delay_ms = row->delay_ms});
    expect(&s, row->code == ERR_OK ? SP__OUTCOME__OUTCOME_COMMITTED : SP__OUTCOME__OUTCOME_RETRY,
           row->code);
    stage_fini(&s);
}

Test(transfer, passing_answers)
{
    struct stage s;
    uint64_t end;
    int m;

    stage_init(&s, "tallinn");
    s.options.queue_max = 1;
    stage_restart(&s);
    m = stage_mail(&s, &(struct stage_mail){.sender = "EE.POLICE", .to = {"LV.POLICE"}});
    s.room = false;
    stage_submit(&s, "EE.POLICE", m);
    expect(&s, SP__OUTCOME__OUTCOME_RETRY, ERR_DISK_FULL);
    s.room = true;
    stage_transfer(&s, "EE.POLICE", m,
                   &(struct stage_transfer){.tag = 1, .verdict = ERR_NEED_DOCUMENTS});
    expect(&s, SP__OUTCOME__OUTCOME_RETRY, ERR_NEED_DOCUMENTS);
    stage_submit(&s, "EE.POLICE", m);
    expect(&s, SP__OUTCOME__OUTCOME_COMMITTED, ERR_OK);
    m = stage_mail(&s, &(struct stage_mail){.sender = "EE.POLICE", .to = {"LV.POLICE"}});
    stage_submit(&s, "EE.POLICE", m);
    expect(&s, SP__OUTCOME__OUTCOME_RETRY, ERR_QUOTA);

    stage_pass(&s, (uint64_t)DAY_MS + 1);
    m = stage_mail(&s, &(struct stage_mail){.sender = "EE.POLICE", .to = {"LT.POLICE"}});
    stage_submit(&s, "EE.POLICE", m);
    expect(&s, SP__OUTCOME__OUTCOME_RETRY, ERR_STALE_TIMESTAMP);
    end = s.env.now_ms + 1000;
    cr_assert_eq(federation_edit(s.federation, short_lived, &end), ERR_OK);
    stage_pass(&s, 1001);
    stage_submit(&s, "EE.POLICE", m);
    expect(&s, SP__OUTCOME__OUTCOME_RETRY, ERR_STALE_DIRECTORY);
    stage_fini(&s);
}

/* Staleness stops new submissions only: what another broker accepted flows. */
Test(transfer, relays_flow_while_documents_are_stale)
{
    struct stage s;
    const struct receipt *home;
    int m;

    stage_init(&s, "riga");
    m = stage_mail(&s, &(struct stage_mail){.sender = "EE.POLICE", .to = {"LV.POLICE"}});
    home = stage_receipt(&s, &(struct stage_statement){
                                 ACCEPTED, "tallinn", {"LV.POLICE"}, "EE.POLICE", 0, ERR_OK, m});
    stage_pass(&s, 3 * (uint64_t)DAY_MS);
    stage_transfer(&s, "tallinn", m, &(struct stage_transfer){.tag = 7, .trail = {home}});
    expect(&s, SP__OUTCOME__OUTCOME_COMMITTED, ERR_OK);
    stage_fini(&s);
}

Test(transfer, replay)
{
    struct stage s;
    size_t leaves;
    int m;
    int other;

    stage_init(&s, "tallinn");
    m = stage_mail(&s, &(struct stage_mail){.sender = "EE.POLICE", .to = {"LV.POLICE"}});
    other = stage_mail(
        &s, &(struct stage_mail){.sender = "EE.POLICE", .to = {"LT.POLICE"}, .same_id_as = m});
    stage_submit(&s, "EE.POLICE", m);
    expect(&s, SP__OUTCOME__OUTCOME_COMMITTED, ERR_OK);
    leaves = memview_leaf_count(s.state);

    /* The first answer again: same leaf, nothing new. */
    stage_pass(&s, 10 * MINUTE_MS);
    stage_submit(&s, "EE.POLICE", m);
    expect(&s, SP__OUTCOME__OUTCOME_COMMITTED, ERR_OK);
    cr_assert_eq(stage_the_answer(&s)->leaf, leaves - 1);
    cr_assert_eq(memview_leaf_count(s.state), leaves);
    cr_assert_eq(memview_count(s.state, BROKER_SPOOL), 1);

    stage_submit(&s, "EE.POLICE", other);
    cr_assert_eq(stage_the_answer(&s)->code, ERR_REPLAY);
    cr_assert_eq(stage_the_answer(&s)->outcome, SP__OUTCOME__OUTCOME_REFUSED);
    cr_assert(span_equal(memview_leaf(s.state, leaves).detail,
                         envelope_bytes(s.messages[other].envelope)),
              "the conflicting bytes are the evidence");
    stage_submit(&s, "EE.CUSTOMS", m);
    cr_assert_eq(stage_the_answer(&s)->code, ERR_REPLAY);
    cr_assert_eq(memview_count(s.state, BROKER_SPOOL), 1);

    /* And after all of that the first answer is still the first answer. */
    stage_restart(&s);
    stage_submit(&s, "EE.POLICE", m);
    expect(&s, SP__OUTCOME__OUTCOME_COMMITTED, ERR_OK);
    stage_fini(&s);
}

Test(transfer, a_refusal_is_final)
{
    struct stage s;
    uint64_t leaf;
    int m;

    stage_init(&s, "tallinn");
    cr_assert_eq(federation_edit(s.federation, first_link_only, NULL), ERR_OK);
    m = stage_mail(&s, &(struct stage_mail){.sender = "EE.POLICE", .to = {"LT.POLICE"}});
    stage_submit(&s, "EE.POLICE", m);
    expect_refused(&s, ERR_NO_ROUTE);
    leaf = stage_the_answer(&s)->leaf;
    cr_assert_eq(federation_edit(s.federation, NULL, NULL), ERR_OK);
    stage_submit(&s, "EE.POLICE", m);
    expect(&s, SP__OUTCOME__OUTCOME_REFUSED, ERR_NO_ROUTE);
    cr_assert_eq(stage_the_answer(&s)->leaf, leaf);
    cr_assert_eq(s.n_leaves, 0);
    stage_fini(&s);
}

/* Two agencies may by chance, or malice, use one id: it is one id of each. */
Test(transfer, an_id_is_its_senders)
{
    struct stage s;
    int m;
    int other;

    stage_init(&s, "tallinn");
    m = stage_mail(&s, &(struct stage_mail){.sender = "EE.CUSTOMS", .to = {"LV.POLICE"}});
    other = stage_mail(
        &s, &(struct stage_mail){.sender = "EE.POLICE", .to = {"LV.POLICE"}, .same_id_as = m});
    stage_submit(&s, "EE.CUSTOMS", m);
    expect(&s, SP__OUTCOME__OUTCOME_COMMITTED, ERR_OK);
    stage_submit(&s, "EE.POLICE", other);
    expect(&s, SP__OUTCOME__OUTCOME_COMMITTED, ERR_OK);
    stage_fini(&s);
}

struct trail_row {
    const char *peer;
    struct {
        const char *log;
        uint32_t hop;
        bool other; /* about another envelope */
        bool relayed;
    } hops[LIMIT_HOPS + 1];
    enum err code;
};

static const struct trail_row trail_rows[] = {
    {"tallinn", {{"tallinn", 0, false, false}}, ERR_OK},
    {"tallinn", {{NULL, 0, false, false}}, ERR_WRONG_USAGE},
    {"tallinn", {{"tallinn", 0, true, false}}, ERR_WRONG_USAGE},
    {"tallinn", {{"tallinn", 0, false, true}}, ERR_WRONG_USAGE},
    {"tallinn", {{"tallinn", 1, false, false}}, ERR_WRONG_USAGE},
    /* The first is no home of the sender. */
    {"vilnius", {{"vilnius", 0, false, false}}, ERR_WRONG_USAGE},
    /* The last is not the peer. */
    {"vilnius", {{"tallinn", 0, false, false}}, ERR_WRONG_USAGE},
    {"vilnius", {{"tallinn", 0, false, false}, {"vilnius", 1, false, false}}, ERR_OK},
    {"vilnius", {{"tallinn", 0, false, false}, {"vilnius", 2, false, false}}, ERR_WRONG_USAGE},
    /* It was here before. */
    {"vilnius",
     {{"tallinn", 0, false, false}, {"riga", 1, false, false}, {"vilnius", 2, false, false}},
     ERR_HOP_LIMIT},
    {"tallinn",
     {{"tallinn", 0, false, false},
      {"vilnius", 1, false, false},
      {"vilnius", 2, false, false},
      {"vilnius", 3, false, false},
      {"vilnius", 4, false, false},
      {"vilnius", 5, false, false},
      {"tallinn", 6, false, false}},
     ERR_OK},
    {"tallinn",
     {{"tallinn", 0, false, false},
      {"vilnius", 1, false, false},
      {"vilnius", 2, false, false},
      {"vilnius", 3, false, false},
      {"vilnius", 4, false, false},
      {"vilnius", 5, false, false},
      {"vilnius", 6, false, false},
      {"tallinn", 7, false, false}},
     ERR_HOP_LIMIT},
};

static void try_trail(const struct trail_row *row)
{
    struct stage_transfer t = {.tag = 7};
    struct stage s;
    int m;
    int other;

    stage_init(&s, "riga");
    m = stage_mail(&s, &(struct stage_mail){.sender = "EE.POLICE", .to = {"LV.POLICE"}});
    other = stage_mail(&s, &(struct stage_mail){.sender = "EE.POLICE", .to = {"LV.POLICE"}});
    for (size_t i = 0; i <= LIMIT_HOPS && row->hops[i].log != NULL; i++)
        t.trail[i] = stage_receipt(
            &s, &(struct stage_statement){
                    row->hops[i].relayed ? SP__AUDIT_EVENT__AUDIT_EVENT_RELAYED : ACCEPTED,
                    row->hops[i].log,
                    {"LV.POLICE"},
                    "",
                    row->hops[i].hop,
                    ERR_OK,
                    row->hops[i].other ? other : m});
    stage_transfer(&s, row->peer, m, &t);
    if (row->code == ERR_OK) {
        expect(&s, SP__OUTCOME__OUTCOME_COMMITTED, ERR_OK);
    } else {
        expect_refused(&s, row->code);
        /* A bad trail is the peer's fault, not the envelope's. */
        cr_assert_eq(memview_count(s.state, BROKER_DEDUP), 0);
    }
    stage_fini(&s);
}

Test(transfer, trail)
{
    for (size_t i = 0; i < sizeof trail_rows / sizeof trail_rows[0]; i++)
        try_trail(&trail_rows[i]);
}

/* The key is judged when the home broker accepted, here when the step happens. */
Test(transfer, revoked_key)
{
    struct stage s;
    const struct receipt *home;
    int m;

    stage_init(&s, "riga");
    m = stage_mail(&s, &(struct stage_mail){.sender = "EE.POLICE", .to = {"LV.POLICE"}});
    home = stage_receipt(&s, &(struct stage_statement){
                                 ACCEPTED, "tallinn", {"LV.POLICE"}, "EE.POLICE", 0, ERR_OK, m});
    stage_pass(&s, 60000);
    cr_assert_eq(federation_revoke(s.federation, "EE.POLICE", s.start_ms - 1000), ERR_OK);
    stage_transfer(&s, "tallinn", m, &(struct stage_transfer){.tag = 7, .trail = {home}});
    expect(&s, SP__OUTCOME__OUTCOME_REFUSED, ERR_REVOKED);
    stage_fini(&s);

    stage_init(&s, "riga");
    m = stage_mail(&s, &(struct stage_mail){.sender = "EE.POLICE", .to = {"LV.POLICE"}});
    home = stage_receipt(&s, &(struct stage_statement){
                                 ACCEPTED, "tallinn", {"LV.POLICE"}, "EE.POLICE", 0, ERR_OK, m});
    stage_pass(&s, 60000);
    cr_assert_eq(federation_revoke(s.federation, "EE.POLICE", 0), ERR_OK);
    stage_transfer(&s, "tallinn", m, &(struct stage_transfer){.tag = 7, .trail = {home}});
    expect(&s, SP__OUTCOME__OUTCOME_COMMITTED, ERR_OK);
    stage_fini(&s);
}

/* Verified by a worker under the snapshot before the revocation: the step looks again. */
Test(transfer, verdict_of_an_older_snapshot)
{
    struct stage s;
    const struct broker_update *u;
    struct broker_event event = {.kind = BROKER_TRANSFER, .peer = "EE.POLICE", .room = true};
    Sp__Transfer wire = SP__TRANSFER__INIT;
    int m;

    stage_init(&s, "tallinn");
    m = stage_mail(&s, &(struct stage_mail){.sender = "EE.POLICE", .to = {"LV.POLICE"}});
    wire.tag = 1;
    event.transfer.tag = 1;
    event.transfer.wire = &wire;
    event.transfer.envelope = s.messages[m].envelope;
    event.transfer.verdict = verify_envelope(s.federation->trust, s.messages[m].envelope,
                                             s.env.now_ms, NULL, &event.transfer.verified);
    cr_assert_eq(event.transfer.verdict, ERR_OK);
    cr_assert_eq(federation_revoke(s.federation, "EE.POLICE", 0), ERR_OK);
    stage_pass(&s, 1000);
    event.now_ms = s.env.now_ms;
    event.trust = s.federation->trust;
    cr_assert_eq(broker_step(s.core, memview_view(s.state), &event, &u), ERR_OK);
    cr_assert_eq(u->sends[0].code, ERR_REVOKED);
    stage_fini(&s);
}

Test(transfer, parts_are_fetched_only_when_all_else_holds)
{
    struct stage s;
    struct stage_transfer t = {.tag = 1, .incomplete = true};
    int m;

    stage_init(&s, "tallinn");
    m = stage_mail(&s,
                   &(struct stage_mail){.sender = "EE.POLICE", .to = {"FI.POLICE"}, .file = true});
    stage_transfer(&s, "EE.POLICE", m, &t);
    expect_refused(&s, ERR_UNKNOWN_AGENCY);
    m = stage_mail(&s,
                   &(struct stage_mail){.sender = "EE.POLICE", .to = {"LV.POLICE"}, .file = true});
    s.room = false;
    stage_transfer(&s, "EE.POLICE", m, &t);
    expect(&s, SP__OUTCOME__OUTCOME_RETRY, ERR_DISK_FULL);
    s.room = true;
    stage_transfer(&s, "EE.POLICE", m, &t);
    cr_assert_eq(s.n_changes, 0);
    cr_assert_eq(s.n_sends, 1);
    cr_assert_eq(s.sends[0].kind, BROKER_NEED_PARTS);
    t.incomplete = false;
    stage_transfer(&s, "EE.POLICE", m, &t);
    expect(&s, SP__OUTCOME__OUTCOME_COMMITTED, ERR_OK);
    cr_assert_eq(memview_count(s.state, BROKER_PART), 1);
    /* Repeated with its parts gone from the disk: decided is decided. */
    t.incomplete = true;
    stage_transfer(&s, "EE.POLICE", m, &t);
    expect(&s, SP__OUTCOME__OUTCOME_COMMITTED, ERR_OK);
    stage_fini(&s);
}

Test(transfer, refusals_are_capped_and_summed_up)
{
    struct stage s;
    int m;

    stage_init(&s, "tallinn");
    s.options.refusals_logged = 3;
    stage_restart(&s);
    stage_note(&s, "three refusals a minute have a leaf, the others are summed up");
    m = stage_mail(&s, &(struct stage_mail){.sender = "EE.POLICE", .to = {"LV.POLICE"}});
    for (int i = 0; i < 5; i++) {
        stage_submit(&s, "EE.CUSTOMS", m);
        cr_assert_eq(stage_the_answer(&s)->outcome, SP__OUTCOME__OUTCOME_REFUSED);
        cr_assert_eq(stage_the_answer(&s)->code, ERR_WRONG_USAGE);
        cr_assert_eq(s.n_leaves, i < 3 ? 1 : 0);
        cr_assert_eq(stage_the_answer(&s)->leaf == NO_LEAF, i >= 3);
    }
    stage_garbage(&s, "EE.CUSTOMS", 40);
    stage_note(&s, "another peer has its own count");
    stage_garbage(&s, "riga", 2);
    stage_wait(&s, MINUTE_MS);
    cr_assert_eq(stage_leaves(&s, SP__AUDIT_EVENT__AUDIT_EVENT_SUMMARY), 2);
    cr_assert_eq(stage_leaves(&s, REFUSAL), 3);
    stage_note(&s, "and the next minute begins anew");
    stage_submit(&s, "EE.CUSTOMS", m);
    stage_compare(&s, "summaries");
    stage_fini(&s);
}

Test(transfer, damaged_dedup_row)
{
    struct stage s;
    uint8_t key[DEDUP_KEY];
    struct broker_core_stats stats;
    int m;

    stage_init(&s, "tallinn");
    m = stage_mail(&s, &(struct stage_mail){.sender = "EE.POLICE", .to = {"LV.POLICE"}});
    stage_submit(&s, "EE.POLICE", m);
    dedup_key(&envelope_header(s.messages[m].envelope)->id, "EE.POLICE", key);
    memview_damage(s.state, BROKER_DEDUP, span_of(key, sizeof key));
    stage_submit(&s, "EE.POLICE", m);
    expect(&s, SP__OUTCOME__OUTCOME_RETRY, ERR_UNAVAILABLE);
    broker_core_stats(s.core, &stats);
    cr_assert_eq(stats.quarantined, 1);
    cr_assert_eq(stats.quarantined_table, BROKER_DEDUP);
    stage_fini(&s);
}

/* Passing on: the source's codes stay, and H2 asks for a release. */
Test(transfer, onward)
{
    struct stage s;
    int free_to_pass;
    int bound;
    int m;

    stage_init(&s, "tallinn");
    free_to_pass = stage_mail(
        &s, &(struct stage_mail){.sender = "LV.POLICE", .to = {"EE.POLICE"}, .handling = {"H1"}});
    bound = stage_mail(
        &s, &(struct stage_mail){.sender = "LV.POLICE", .to = {"EE.POLICE"}, .handling = {"H2"}});
    m = stage_mail(&s, &(struct stage_mail){.sender = "EE.POLICE",
                                            .to = {"LT.POLICE"},
                                            .handling = {"H3"},
                                            .source = free_to_pass});
    stage_submit(&s, "EE.POLICE", m);
    expect_refused(&s, ERR_HANDLING_ONWARD);
    m = stage_mail(
        &s, &(struct stage_mail){
                .sender = "EE.POLICE", .to = {"LT.POLICE"}, .handling = {"H2"}, .source = bound});
    stage_submit(&s, "EE.POLICE", m);
    expect_refused(&s, ERR_RELEASE_MISSING);
    m = stage_mail(&s, &(struct stage_mail){.sender = "EE.POLICE",
                                            .to = {"LT.POLICE"},
                                            .handling = {"H1", "H3"},
                                            .source = free_to_pass});
    stage_submit(&s, "EE.POLICE", m);
    expect(&s, SP__OUTCOME__OUTCOME_COMMITTED, ERR_OK);
    stage_fini(&s);
}
