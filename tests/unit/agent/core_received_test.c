/* Incoming mail: delivered once, refused with a signed reason, or asked for again. */
#include "proto/pb.h"
#include "tests/lib/leaks.h"
#include "tests/unit/agent/desk.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(received, .fini = leaks_check);

#define ACCEPTED SP__AUDIT_EVENT__AUDIT_EVENT_ACCEPTED
#define DELIVERED SP__AUDIT_EVENT__AUDIT_EVENT_DELIVERED
#define REFUSED SP__AUDIT_EVENT__AUDIT_EVENT_REFUSED
#define EXPIRED SP__AUDIT_EVENT__AUDIT_EVENT_EXPIRED
#define COMMITTED SP__OUTCOME__OUTCOME_COMMITTED
#define NO SP__OUTCOME__OUTCOME_REFUSED
#define RETRY SP__OUTCOME__OUTCOME_RETRY
#define FROM_CUSTOMS .sender = "EE.CUSTOMS", .to = {"EE.POLICE"}

static const struct receipt *accepted_by(struct desk *d, const char *log, uint32_t hop, int m)
{
    return desk_receipt(
        d, &(struct desk_statement){.event = ACCEPTED, .log = log, .hop = hop, .m = m});
}

static void check_answer(const struct desk *d, Sp__Outcome outcome, enum err code)
{
    const struct agent_send *a = desk_the_answer(d);

    cr_assert_eq(a->outcome, outcome, "outcome %d, %s", a->outcome, err_code(a->code));
    cr_assert_eq(a->code, code, "%s instead of %s", err_code(a->code), err_code(code));
}

Test(received, delivered_once)
{
    struct desk *d = desk_new("EE.POLICE");
    int m = desk_mail(d, &(struct desk_mail){FROM_CUSTOMS, .seq = 1, .file = true});
    struct mail r;

    desk_deliver(d, "tallinn", m, 5);
    check_answer(d, COMMITTED, ERR_OK);
    cr_assert_eq(desk_the_answer(d)->number, 5);
    cr_assert_eq(desk_the_answer(d)->leaf, 0);
    cr_assert_eq(d->n_leaves, 1);
    cr_assert(desk_sent(d, AGENT_LOCAL_CHANGED)->is_new);
    cr_assert_eq(memview_count(d->state, AGENT_PART), 1);
    r = desk_record(d, MAIL_IN, 1);
    cr_assert_str_eq(r.sender, "EE.CUSTOMS");
    cr_assert_str_eq(r.peer, "tallinn");
    cr_assert_eq(r.seq, 1);
    cr_assert_not(r.gap);
    cr_assert_eq(r.opened_ms, 0);
    mail_fini(&r);
    desk_free(d);
}

Test(received, the_same_bytes_get_the_first_answer)
{
    struct desk *d = desk_new("EE.POLICE");
    int m = desk_mail(d, &(struct desk_mail){FROM_CUSTOMS, .lives_ms = 60000});
    int other = desk_mail(d, &(struct desk_mail){FROM_CUSTOMS});

    desk_deliver(d, "tallinn", other, 1);
    desk_deliver(d, "tallinn", m, 2);
    for (int i = 0; i < 2; i++) {
        desk_deliver(d, "tallinn", m, 3);
        check_answer(d, COMMITTED, ERR_OK);
        cr_assert_eq(desk_the_answer(d)->leaf, 1);
        cr_assert_eq(desk_count_sent(d, AGENT_LOCAL_CHANGED), 0);
        desk_nothing(d);
        desk_restart(d);
    }
    /* Whatever is thought of it since then. */
    desk_pass(d, 60000);
    desk_incoming(d, "tallinn", m, &(struct desk_incoming){.verdict = ERR_REVOKED});
    check_answer(d, COMMITTED, ERR_OK);
    cr_assert_eq(desk_the_answer(d)->leaf, 1);
    desk_nothing(d);
    desk_free(d);
}

Test(received, other_bytes_under_the_id)
{
    struct desk *d = desk_new("EE.POLICE");
    int m = desk_mail(d, &(struct desk_mail){FROM_CUSTOMS});
    int twin = desk_mail(d, &(struct desk_mail){FROM_CUSTOMS, .same_id_as = m});
    int stranger = desk_mail(
        d, &(struct desk_mail){.sender = "LV.POLICE", .to = {"EE.POLICE"}, .same_id_as = m});

    desk_deliver(d, "tallinn", m, 1);
    desk_deliver(d, "tallinn", twin, 2);
    check_answer(d, NO, ERR_REPLAY);
    cr_assert_eq(desk_the_answer(d)->leaf, 1);
    cr_assert_eq(memview_count(d->state, AGENT_MAIL), 1);
    /* A forgery must not learn that the id is known. */
    desk_incoming(d, "tallinn", twin, &(struct desk_incoming){.verdict = ERR_BAD_SIGNATURE});
    check_answer(d, NO, ERR_BAD_SIGNATURE);
    /* Ids are each sender's own. */
    desk_incoming(d, "tallinn", stranger,
                  &(struct desk_incoming){.trail = {accepted_by(d, "riga", 0, stranger),
                                                    accepted_by(d, "tallinn", 1, stranger)}});
    check_answer(d, COMMITTED, ERR_OK);
    cr_assert_eq(memview_count(d->state, AGENT_MAIL), 2);
    desk_free(d);
}

Test(received, the_trail_leads_from_the_senders_home_to_the_peer)
{
    struct desk *d = desk_new("EE.POLICE");
    int m = desk_mail(d, &(struct desk_mail){.sender = "LT.POLICE", .to = {"EE.POLICE"}});
    int other = desk_mail(d, &(struct desk_mail){.sender = "LT.POLICE", .to = {"EE.POLICE"}});
    const struct receipt *vilnius = accepted_by(d, "vilnius", 0, m);
    const struct receipt *riga = accepted_by(d, "riga", 1, m);
    const struct receipt *tallinn = accepted_by(d, "tallinn", 2, m);
    const struct receipt *wrong_kind = desk_receipt(
        d, &(struct desk_statement){.event = DELIVERED, .log = "tallinn", .hop = 2, .m = m});
    const struct desk_incoming rows[] = {
        {.trail = {NULL}},
        {.trail = {accepted_by(d, "tallinn", 0, m)}}, /* not its home */
        {.trail = {vilnius}},                         /* not the peer */
        {.trail = {vilnius, riga}},                   /* nor this */
        {.trail = {vilnius, tallinn}},                /* a hop is missing */
        {.trail = {riga, vilnius, tallinn}},          /* in another order */
        {.trail = {vilnius, accepted_by(d, "riga", 1, other), tallinn}},
        {.trail = {vilnius, riga, wrong_kind}},
        {.trail = {accepted_by(d, "LT.POLICE", 0, m), riga, tallinn}},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        desk_incoming(d, "tallinn", m, &rows[i]);
        cr_assert_eq(desk_the_answer(d)->code, ERR_WRONG_USAGE, "row %zu: %s", i,
                     err_code(desk_the_answer(d)->code));
        cr_assert_eq(d->n_leaves, 1);
    }
    /* By an agency. */
    desk_incoming(d, "LT.POLICE", m, &(struct desk_incoming){.trail = {vilnius, riga, tallinn}});
    check_answer(d, NO, ERR_WRONG_USAGE);
    cr_assert_eq(memview_count(d->state, AGENT_MAIL), 0);
    desk_incoming(d, "tallinn", m, &(struct desk_incoming){.trail = {vilnius, riga, tallinn}});
    check_answer(d, COMMITTED, ERR_OK);
    desk_free(d);
}

/* Every broker of the way is named like the peer, so that only the length decides. */
static void check_hops(size_t n, enum err code)
{
    struct desk *d = desk_new("EE.POLICE");
    int m = desk_mail(d, &(struct desk_mail){FROM_CUSTOMS});
    const struct receipt *trail[LIMIT_HOPS + 2];
    struct agent_event event = {.kind = AGENT_INCOMING, .peer = "tallinn"};
    const struct agent_update *u;
    Sp__Transfer wire = SP__TRANSFER__INIT;

    for (size_t i = 0; i < n; i++)
        trail[i] = accepted_by(d, "tallinn", (uint32_t)i, m);
    event.now_ms = d->env.now_ms;
    event.trust = d->federation->trust;
    event.room = true;
    event.incoming = (struct agent_incoming){.envelope = d->messages[m].envelope,
                                             .rule = "",
                                             .wire = &wire,
                                             .trail = trail,
                                             .n_trail = n};
    cr_assert_eq(agent_step(d->core, memview_view(d->state), &event, &u), ERR_OK);
    cr_assert_eq(u->sends[0].kind, AGENT_SEND_ANSWER);
    cr_assert_eq(u->sends[0].code, code, "%zu hops: %s", n, err_code(u->sends[0].code));
    desk_free(d);
}

Test(received, number_of_hops)
{
    check_hops(LIMIT_HOPS - 1, ERR_OK);
    check_hops(LIMIT_HOPS, ERR_OK);
    check_hops(LIMIT_HOPS + 1, ERR_HOP_LIMIT);
}

Test(received, what_comes_from_ourselves)
{
    struct desk *d = desk_new("EE.POLICE");
    int m = desk_mail(d, &(struct desk_mail){.sender = "EE.POLICE", .to = {"LV.POLICE"}});
    int sent = desk_send_one(d, &(struct desk_mail){.to = {"LV.POLICE"}});

    desk_deliver(d, "tallinn", m, 1);
    check_answer(d, NO, ERR_NOT_A_RECIPIENT);
    desk_deliver(d, "tallinn", sent, 2);
    check_answer(d, NO, ERR_NOT_A_RECIPIENT);
    cr_assert_eq(memview_count(d->state, AGENT_MAIL), 1);
    cr_assert_eq(desk_state(d, 1, 0), STATE_QUEUED);
    desk_free(d);
}

Test(received, expired)
{
    struct desk *d = desk_new("EE.POLICE");
    int a = desk_mail(d, &(struct desk_mail){FROM_CUSTOMS, .lives_ms = 60000});
    int b = desk_mail(d, &(struct desk_mail){FROM_CUSTOMS, .lives_ms = 60000});

    desk_pass(d, 59999);
    desk_deliver(d, "tallinn", a, 1);
    check_answer(d, COMMITTED, ERR_OK);
    desk_pass(d, 1);
    desk_deliver(d, "tallinn", b, 2);
    check_answer(d, NO, ERR_EXPIRED);
    cr_assert_eq(desk_leaves(d, EXPIRED), 1);
    cr_assert_eq(desk_leaves(d, REFUSED), 0);
    desk_free(d);
}

Test(received, verdicts_are_passed_on)
{
    struct desk *d = desk_new("EE.POLICE");
    int m = desk_mail(d, &(struct desk_mail){FROM_CUSTOMS});
    size_t refused = 0;

    d->options.refusals_logged = ERR_COUNT;
    desk_restart(d);
    for (int e = ERR_OK + 1; e < ERR_COUNT; e++) {
        struct desk_incoming in = {.trail = {accepted_by(d, "tallinn", 0, m)},
                                   .verdict = (enum err)e};

        switch (err_class((enum err)e)) {
        case ERR_CLASS_PEER:
            desk_incoming(d, "tallinn", m, &in);
            check_answer(d, NO, (enum err)e);
            cr_assert_eq(desk_the_answer(d)->leaf, memview_leaf_count(d->state) - 1);
            refused++;
            break;
        case ERR_CLASS_RETRY:
            desk_incoming(d, "tallinn", m, &in);
            check_answer(d, RETRY, (enum err)e);
            cr_assert_eq(desk_the_answer(d)->leaf, AGENT_NO_LEAF);
            desk_nothing(d);
            break;
        case ERR_CLASS_LOCAL:
            cr_assert_eq(desk_try_incoming(d, "tallinn", m, &in), (enum err)e);
            break;
        }
    }
    cr_assert_eq(memview_leaf_count(d->state), refused);
    cr_assert_eq(memview_count(d->state, AGENT_MAIL), 0);
    desk_deliver(d, "tallinn", m, 1);
    check_answer(d, COMMITTED, ERR_OK);
    desk_free(d);
}

static void lower_ceiling(void *ctx, Sp__Directory *directory)
{
    (void)ctx;
    for (size_t i = 0; i < directory->n_agencies; i++) {
        if (strcmp(directory->agencies[i]->name, "EE.POLICE") == 0)
            directory->agencies[i]->ceiling = SP__LEVEL__LEVEL_BPL;
    }
}

Test(received, the_present_policy_decides)
{
    struct desk *d = desk_new("EE.POLICE");
    int m = desk_mail(d, &(struct desk_mail){FROM_CUSTOMS, .level = SP__LEVEL__LEVEL_RESTRICTED});
    int n = desk_mail(d, &(struct desk_mail){FROM_CUSTOMS, .level = SP__LEVEL__LEVEL_BPL});

    cr_assert_eq(federation_edit(d->federation, lower_ceiling, NULL), ERR_OK);
    desk_deliver(d, "tallinn", m, 1);
    check_answer(d, NO, ERR_LEVEL_CEILING);
    cr_assert_neq(desk_the_answer(d)->rule[0], '\0');
    desk_deliver(d, "tallinn", n, 2);
    check_answer(d, COMMITTED, ERR_OK);
    desk_free(d);
}

Test(received, the_key_is_judged_again)
{
    struct desk *d = desk_new("EE.POLICE");
    int m = desk_mail(d, &(struct desk_mail){FROM_CUSTOMS});
    struct trust *before = trust_ref(d->federation->trust);
    struct agent_event event = {.kind = AGENT_INCOMING, .peer = "tallinn"};
    const struct receipt *trail[] = {accepted_by(d, "tallinn", 0, m)};
    const struct agent_update *u;
    Sp__Transfer wire = SP__TRANSFER__INIT;

    /* A worker verified it under the earlier snapshot. */
    desk_pass(d, 1000);
    cr_assert_eq(federation_revoke(d->federation, "EE.CUSTOMS", d->start_ms - 1000), ERR_OK);
    event.now_ms = d->env.now_ms;
    event.trust = d->federation->trust;
    event.room = true;
    event.incoming = (struct agent_incoming){.envelope = d->messages[m].envelope,
                                             .rule = "",
                                             .wire = &wire,
                                             .trail = trail,
                                             .n_trail = 1};
    cr_assert_eq(verify_envelope(before, d->messages[m].envelope, d->start_ms, NULL,
                                 &event.incoming.verified),
                 ERR_OK);
    cr_assert_eq(agent_step(d->core, memview_view(d->state), &event, &u), ERR_OK);
    cr_assert_eq(u->sends[0].code, ERR_REVOKED, "%s", err_code(u->sends[0].code));
    trust_free(before);
    desk_free(d);
}

Test(received, no_room)
{
    struct desk *d = desk_new("EE.POLICE");
    int m = desk_mail(d, &(struct desk_mail){FROM_CUSTOMS});

    d->room = false;
    desk_deliver(d, "tallinn", m, 1);
    check_answer(d, RETRY, ERR_DISK_FULL);
    desk_nothing(d);
    d->room = true;
    desk_deliver(d, "tallinn", m, 2);
    check_answer(d, COMMITTED, ERR_OK);
    /* What is decided already needs no room. */
    d->room = false;
    desk_deliver(d, "tallinn", m, 3);
    check_answer(d, COMMITTED, ERR_OK);
    desk_free(d);
}

Test(received, parts_are_fetched_only_for_what_is_accepted)
{
    struct desk *d = desk_new("EE.POLICE");
    int m = desk_mail(d, &(struct desk_mail){FROM_CUSTOMS, .file = true});
    const struct receipt *r = accepted_by(d, "tallinn", 0, m);
    struct desk_incoming in = {.tag = 4, .trail = {r}, .incomplete = true};

    desk_incoming(d, "tallinn", m, &in);
    desk_nothing(d);
    cr_assert_eq(desk_count_sent(d, AGENT_SEND_ANSWER), 0);
    cr_assert_eq(desk_sent(d, AGENT_NEED_PARTS)->number, 4);
    in.verdict = ERR_BAD_SIGNATURE;
    desk_incoming(d, "tallinn", m, &in);
    cr_assert_eq(desk_count_sent(d, AGENT_NEED_PARTS), 0);
    check_answer(d, NO, ERR_BAD_SIGNATURE);
    in.verdict = ERR_OK;
    in.incomplete = false;
    desk_incoming(d, "tallinn", m, &in);
    check_answer(d, COMMITTED, ERR_OK);
    desk_free(d);
}

static bool gap_of(struct desk *d, const struct desk_mail *mail)
{
    int m = desk_mail(d, mail);
    struct mail r;
    bool gap;

    desk_deliver(d, "tallinn", m, 1);
    check_answer(d, COMMITTED, ERR_OK);
    r = desk_record(d, MAIL_IN, desk_sent(d, AGENT_LOCAL_CHANGED)->number);
    gap = r.gap;
    mail_fini(&r);
    return gap;
}

Test(received, gaps_in_a_stream)
{
    struct desk *d = desk_new("EE.POLICE");

    cr_assert_not(gap_of(d, &(struct desk_mail){FROM_CUSTOMS, .seq = 1}));
    cr_assert_not(gap_of(d, &(struct desk_mail){FROM_CUSTOMS, .seq = 2, .after = 1}));
    desk_restart(d);
    cr_assert_not(gap_of(d, &(struct desk_mail){FROM_CUSTOMS, .seq = 3, .after = 2}));
    cr_assert(gap_of(d, &(struct desk_mail){FROM_CUSTOMS, .seq = 5, .after = 3}), "4 is missing");
    cr_assert_not(gap_of(d, &(struct desk_mail){FROM_CUSTOMS, .seq = 6, .after = 4}));
    cr_assert(gap_of(d, &(struct desk_mail){FROM_CUSTOMS, .seq = 7, .after = 2}), "other history");
    cr_assert(gap_of(d, &(struct desk_mail){FROM_CUSTOMS, .seq = 4, .after = 3}), "an older one");
    cr_assert_not(gap_of(d, &(struct desk_mail){FROM_CUSTOMS, .seq = 8, .after = 6}));
    /* Streams of another urgency or store begin by themselves. */
    cr_assert_not(gap_of(
        d, &(struct desk_mail){FROM_CUSTOMS, .urgency = SP__URGENCY__URGENCY_URGENT, .seq = 1}));
    cr_assert_not(gap_of(d, &(struct desk_mail){FROM_CUSTOMS, .epoch = 9, .seq = 1}));
    cr_assert(gap_of(d, &(struct desk_mail){FROM_CUSTOMS, .epoch = 8, .seq = 2}));
    desk_free(d);
}

Test(received, too_many_refusals_are_counted)
{
    struct desk *d = desk_new("EE.POLICE");
    int m = desk_mail(d, &(struct desk_mail){FROM_CUSTOMS});
    struct desk_incoming in = {.trail = {NULL}};

    d->options.refusals_logged = 3;
    desk_restart(d);
    for (int i = 0; i < 5; i++) {
        desk_incoming(d, "tallinn", m, &in);
        check_answer(d, NO, ERR_WRONG_USAGE);
        cr_assert_eq(d->n_leaves, i < 3 ? 1 : 0);
        cr_assert_eq(desk_the_answer(d)->leaf == AGENT_NO_LEAF, i >= 3);
    }
    desk_garbage(d, "tallinn", 10);
    desk_nothing(d);
    desk_wait(d, agent_core_wake_at(d->core) - d->env.now_ms);
    cr_assert_eq(d->n_leaves, 1);
    cr_assert_eq(desk_leaves(d, SP__AUDIT_EVENT__AUDIT_EVENT_SUMMARY), 1);
    desk_incoming(d, "tallinn", m, &in);
    cr_assert_eq(d->n_leaves, 1, "a new minute, a new leaf");
    desk_free(d);
}

Test(received, garbage_is_one_leaf_a_minute)
{
    struct desk *d = desk_new("EE.POLICE");
    struct batch_leaf leaf;
    struct pb *pb;

    desk_garbage(d, "tallinn", 3);
    desk_garbage(d, "tallinn", 4);
    desk_nothing(d);
    desk_wait(d, 60000);
    cr_assert_eq(d->n_leaves, 1);
    leaf = memview_leaf(d->state, 0);
    cr_assert_eq(pb_decode(&sp__leaf__descriptor, leaf.leaf, LIMIT_LEAF, &pb), ERR_OK);
    cr_assert_eq(((const Sp__Leaf *)pb_view(pb))->count, 7);
    cr_assert_str_eq(((const Sp__Leaf *)pb_view(pb))->from, "tallinn");
    pb_free(pb);
    desk_wait(d, 60000);
    desk_nothing(d);
    desk_free(d);
}

Test(received, a_damaged_record_is_neither_yes_nor_no)
{
    struct desk *d = desk_new("EE.POLICE");
    int m = desk_mail(d, &(struct desk_mail){FROM_CUSTOMS});
    uint8_t key[MAIL_KEY];

    desk_deliver(d, "tallinn", m, 1);
    d->damaged = true;
    mail_key(MAIL_IN, 1, key);
    memview_damage(d->state, AGENT_STATE, span_of(key, sizeof key));
    desk_deliver(d, "tallinn", m, 2);
    check_answer(d, RETRY, ERR_UNAVAILABLE);
    desk_nothing(d);
    cr_assert_eq(agent_core_quarantined(d->core), 1);
    desk_open(d, 1);
    cr_assert_eq(desk_result(d, 91)->code, ERR_CORRUPT);
    desk_nothing(d);
    desk_free(d);
}

Test(received, opened_once)
{
    struct desk *d = desk_new("EE.POLICE");
    int m = desk_mail(d, &(struct desk_mail){FROM_CUSTOMS});
    struct mail r;

    desk_up(d, "tallinn");
    desk_deliver(d, "tallinn", m, 1);
    desk_pass(d, 1000);
    desk_open(d, 1);
    cr_assert_eq(desk_result(d, 91)->code, ERR_OK);
    cr_assert(uuid_equal(&desk_result(d, 91)->id, &d->messages[m].id));
    cr_assert_eq(d->n_leaves, 1);
    cr_assert_str_eq(desk_sent(d, AGENT_SEND_CONTROL)->peer, "tallinn");
    cr_assert_eq(desk_sent(d, AGENT_SEND_CONTROL)->number, 1);
    r = desk_record(d, MAIL_IN, 1);
    cr_assert_eq(r.opened_ms, d->env.now_ms);
    cr_assert_eq(r.opened_leaf, 1);
    cr_assert_eq(r.recipients[0].state, STATE_OPENED);
    mail_fini(&r);
    desk_open(d, 1);
    cr_assert_eq(desk_result(d, 91)->code, ERR_OK);
    desk_nothing(d);
    /* The answer to a repeated transfer is still the delivery. */
    desk_deliver(d, "tallinn", m, 2);
    cr_assert_eq(desk_the_answer(d)->leaf, 0);
    desk_open(d, 77);
    cr_assert_eq(desk_result(d, 167)->code, ERR_NOT_FOUND);
    desk_nothing(d);
    desk_free(d);
}

Test(received, the_receipt_is_repeated_until_it_is_acknowledged)
{
    struct desk *d = desk_new("EE.POLICE");
    int m = desk_mail(d, &(struct desk_mail){FROM_CUSTOMS});

    desk_deliver(d, "tallinn", m, 1);
    desk_open(d, 1);
    cr_assert_eq(desk_count_sent(d, AGENT_SEND_CONTROL), 0, "no broker is up");
    desk_up(d, "tallinn");
    cr_assert_eq(desk_count_sent(d, AGENT_SEND_CONTROL), 1);
    desk_wait(d, 9999);
    cr_assert_eq(desk_count_sent(d, AGENT_SEND_CONTROL), 0);
    desk_wait(d, 1);
    cr_assert_eq(desk_count_sent(d, AGENT_SEND_CONTROL), 1);
    desk_restart(d);
    desk_up(d, "tallinn");
    cr_assert_eq(desk_sent(d, AGENT_SEND_CONTROL)->number, 1);
    desk_ack(d, "riga", 1);
    desk_ack(d, "tallinn", 2);
    desk_nothing(d);
    desk_ack(d, "tallinn", 1);
    cr_assert_eq(memview_count(d->state, AGENT_CONTROL), 0);
    desk_ack(d, "tallinn", 1);
    desk_nothing(d);
    desk_wait(d, 60000);
    cr_assert_eq(desk_count_sent(d, AGENT_SEND_CONTROL), 0);
    desk_free(d);
}

Test(received, documents_and_directory_once)
{
    struct desk *d = desk_new("EE.POLICE");

    desk_documents(d, "tallinn", "LV.POLICE", true);
    cr_assert_eq(d->n_leaves, 1);
    desk_documents(d, "tallinn", "LV.POLICE", false);
    desk_nothing(d);
    desk_trust(d);
    cr_assert_eq(d->n_leaves, 1);
    desk_trust(d);
    desk_nothing(d);
    desk_restart(d);
    desk_trust(d);
    desk_nothing(d);
    /* A new timestamp moves the floor, and says nothing else. */
    desk_pass(d, 60000);
    cr_assert_eq(federation_refresh(d->federation), ERR_OK);
    desk_trust(d);
    cr_assert_eq(d->n_leaves, 0);
    cr_assert_eq(d->n_changes, 1);
    cr_assert_eq(federation_edit(d->federation, NULL, NULL), ERR_OK);
    desk_trust(d);
    cr_assert_eq(d->n_leaves, 1);
    desk_free(d);
}
