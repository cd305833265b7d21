/* Drafts: sealed, signed and chained in the step, and refused without a trace. */
#include "certs/verify.h"
#include "proto/pb.h"
#include "tests/lib/leaks.h"
#include "tests/unit/agent/desk.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

TestSuite(draft, .fini = leaks_check);

#define URGENT SP__URGENCY__URGENCY_URGENT

static const struct envelope *envelope_of(struct desk *d, int m)
{
    cr_assert_not_null(d->messages[m].envelope, "m%d was not sealed", m);
    return d->messages[m].envelope;
}

/* Number of envelopes under its signature. */
static uint64_t signed_together(const struct envelope *e)
{
    struct pb *pb;
    const Sp__Envelope *wire;
    uint64_t n;

    cr_assert_eq(pb_decode(&sp__envelope__descriptor, envelope_bytes(e), LIMIT_ENVELOPE, &pb),
                 ERR_OK);
    wire = pb_view(pb);
    cr_assert_eq(wire->n_signatures, 1);
    n = wire->signatures[0]->batch == NULL ? 1 : wire->signatures[0]->batch->size;
    pb_free(pb);
    return n;
}

/* As the recipient sees it. */
static void check_opens(struct desk *d, int m, const char *agency)
{
    struct federation_agency *to = federation_agency(d->federation, agency);
    struct secret *key;
    struct verified verified;

    cr_assert_eq(
        verify_envelope(d->federation->trust, envelope_of(d, m), d->env.now_ms, NULL, &verified),
        ERR_OK);
    cr_assert_eq(open_envelope(envelope_of(d, m), agency, federation_find_encrypt, to, &key),
                 ERR_OK);
    cr_assert(secret_equal(key, d->messages[m].file_key));
    secret_free(key);
}

static void check_place(struct desk *d, int m, const char *agency, uint64_t seq, int after)
{
    static const struct digest none;
    const struct envelope *e = envelope_of(d, m);
    size_t i;

    cr_assert_eq(envelope_find_recipient(e, agency, &i), ERR_OK);
    cr_assert_eq(envelope_recipient(e, i)->seq, seq, "m%d is number %llu for %s", m,
                 (unsigned long long)envelope_recipient(e, i)->seq, agency);
    cr_assert(digest_equal(&envelope_recipient(e, i)->prev_hash,
                           after == 0 ? &none : envelope_digest(envelope_of(d, after))));
}

Test(draft, one)
{
    struct desk *d = desk_new("EE.POLICE");
    int m = desk_send_one(d, &(struct desk_mail){.to = {"LT.POLICE", "LV.POLICE"}, .file = true});
    const struct envelope_header *h = envelope_header(envelope_of(d, m));
    struct mail r = desk_record(d, MAIL_OUT, 1);

    cr_assert_eq(desk_result(d, 1)->code, ERR_OK);
    cr_assert(uuid_equal(&desk_result(d, 1)->id, &d->messages[m].id));
    cr_assert_eq(signed_together(envelope_of(d, m)), 1);
    check_opens(d, m, "LT.POLICE");
    check_opens(d, m, "LV.POLICE");
    check_place(d, m, "LT.POLICE", 1, 0);
    check_place(d, m, "LV.POLICE", 1, 0);
    cr_assert_str_eq(h->sender, "EE.POLICE");
    cr_assert_str_eq(h->agent, "main");
    cr_assert_eq(memcmp(h->epoch, d->options.epoch, 8), 0);
    cr_assert_eq(h->directory_version, d->federation->directory_version);
    cr_assert_eq(h->created_ms, d->env.now_ms);
    cr_assert_str_eq(r.officer, "tamm");
    cr_assert_eq(r.n_recipients, 2);
    cr_assert_eq(r.recipients[0].state, STATE_QUEUED);
    cr_assert_eq(r.leaf, 0);
    cr_assert(digest_equal(&r.content_digest, &d->messages[m].draft.content_digest));
    cr_assert(digest_equal(&r.digest, envelope_digest(envelope_of(d, m))));
    /* Only the part that does not travel beside the envelope is a file. */
    cr_assert_eq(memview_count(d->state, AGENT_PART), 1);
    cr_assert_eq(desk_count_sent(d, AGENT_SEND_TRANSFER), 0);
    cr_assert_eq(agent_core_pending(d->core), 1);
    mail_fini(&r);
    desk_free(d);
}

Test(draft, several_are_signed_together)
{
    struct desk *d = desk_new("EE.POLICE");
    int a = desk_mail(d, &(struct desk_mail){.to = {"LV.POLICE"}});
    int b = desk_mail(d, &(struct desk_mail){.to = {"LT.POLICE", "LV.POLICE"}});
    int c = desk_mail(d, &(struct desk_mail){.to = {"LV.POLICE"}, .urgency = URGENT});

    desk_send(d, a, 3);
    for (int m = a; m <= c; m++) {
        cr_assert_eq(desk_result(d, (uint64_t)m)->code, ERR_OK);
        cr_assert_eq(signed_together(envelope_of(d, m)), 3);
        check_opens(d, m, "LV.POLICE");
    }
    cr_assert_eq(d->n_leaves, 3);
    check_place(d, a, "LV.POLICE", 1, 0);
    check_place(d, b, "LV.POLICE", 2, a);
    check_place(d, b, "LT.POLICE", 1, 0);
    check_place(d, c, "LV.POLICE", 1, 0); /* another stream */
    desk_free(d);
}

Test(draft, streams_go_on_in_later_steps_and_after_a_restart)
{
    struct desk *d = desk_new("EE.POLICE");
    int a = desk_send_one(d, &(struct desk_mail){.to = {"LV.POLICE"}});
    int u = desk_send_one(d, &(struct desk_mail){.to = {"LV.POLICE"}, .urgency = URGENT});
    int b = desk_mail(d, &(struct desk_mail){.to = {"LT.POLICE", "LV.POLICE"}});
    int c = desk_mail(d, &(struct desk_mail){.to = {"LV.POLICE"}});
    int v;
    int e;

    desk_send(d, b, 2);
    desk_restart(d);
    v = desk_send_one(d, &(struct desk_mail){.to = {"LV.POLICE"}, .urgency = URGENT});
    e = desk_send_one(d, &(struct desk_mail){.to = {"LT.POLICE", "LV.POLICE"}});
    check_place(d, b, "LV.POLICE", 2, a);
    check_place(d, c, "LV.POLICE", 3, b);
    check_place(d, e, "LV.POLICE", 4, c);
    check_place(d, e, "LT.POLICE", 2, b);
    check_place(d, u, "LV.POLICE", 1, 0);
    check_place(d, v, "LV.POLICE", 2, u);
    desk_free(d);
}

Test(draft, as_many_as_one_commit_takes)
{
    struct desk *d = desk_new("EE.POLICE");
    int first = 0;

    d->quiet = true;
    for (int i = 0; i < LIMIT_BATCH; i++) {
        int m = desk_mail(d, &(struct desk_mail){.to = {"LV.POLICE"}});

        first = i == 0 ? m : first;
    }
    desk_send(d, first, LIMIT_BATCH);
    cr_assert_eq(d->n_leaves, LIMIT_BATCH);
    cr_assert_eq(signed_together(envelope_of(d, first)), LIMIT_BATCH);
    check_place(d, first + LIMIT_BATCH - 1, "LV.POLICE", LIMIT_BATCH, first + LIMIT_BATCH - 2);
    check_opens(d, first + LIMIT_BATCH - 1, "LV.POLICE");
    desk_free(d);
}

Test(draft, the_same_again_has_its_answer)
{
    struct desk *d = desk_new("EE.POLICE");
    int a = desk_send_one(d, &(struct desk_mail){.to = {"LV.POLICE"}});
    int again = desk_mail(d, &(struct desk_mail){.to = {"LV.POLICE"}, .same_id_as = a});
    int other =
        desk_mail(d, &(struct desk_mail){.to = {"LV.POLICE"}, .same_id_as = a, .other = true});

    for (int restarts = 0; restarts < 2; restarts++) {
        desk_send(d, again, 1);
        cr_assert_eq(desk_result(d, (uint64_t)again)->code, ERR_OK);
        desk_nothing(d);
        desk_send(d, other, 1);
        cr_assert_eq(desk_result(d, (uint64_t)other)->code, ERR_REPLAY);
        desk_nothing(d);
        desk_restart(d);
        /* Long after: what was committed is not judged anew. */
        desk_pass(d, LIMIT_SKEW_MS + 1);
    }
    cr_assert_eq(agent_core_pending(d->core), 1);
    desk_free(d);
}

Test(draft, the_same_twice_in_one_step)
{
    struct desk *d = desk_new("EE.POLICE");
    int a = desk_mail(d, &(struct desk_mail){.to = {"LV.POLICE"}});
    int again = desk_mail(d, &(struct desk_mail){.to = {"LV.POLICE"}, .same_id_as = a});
    int other =
        desk_mail(d, &(struct desk_mail){.to = {"LV.POLICE"}, .same_id_as = a, .other = true});

    desk_send(d, a, 3);
    cr_assert_eq(desk_result(d, (uint64_t)a)->code, ERR_OK);
    cr_assert_eq(desk_result(d, (uint64_t)again)->code, ERR_OK);
    cr_assert_eq(desk_result(d, (uint64_t)other)->code, ERR_REPLAY);
    cr_assert_eq(d->n_leaves, 1);
    cr_assert_eq(memview_count(d->state, AGENT_MAIL), 1);
    desk_free(d);
}

static void check_refused(struct desk *d, const struct desk_mail *mail, enum err code)
{
    int m = desk_send_one(d, mail);

    cr_assert_eq(desk_result(d, (uint64_t)m)->code, code, "%s instead of %s",
                 err_code(desk_result(d, (uint64_t)m)->code), err_code(code));
    desk_nothing(d);
    cr_assert_eq(agent_core_pending(d->core), 0);
}

Test(draft, refused_without_a_trace)
{
    static const struct {
        struct desk_mail mail;
        enum err code;
    } rows[] = {
        {{.to = {"PL.POLICE"}}, ERR_UNKNOWN_AGENCY},
        {{.to = {"LV.POLICE", "PL.POLICE"}}, ERR_UNKNOWN_AGENCY},
        {{.to = {"LV.POLICE"}, .level = SP__LEVEL__LEVEL_SECRET}, ERR_LEVEL_CEILING},
        {{.to = {"LT.CUSTOMS"}, .level = SP__LEVEL__LEVEL_CONFIDENTIAL}, ERR_LEVEL_CEILING},
        {{.to = {"LV.POLICE"}, .handling = {"H9"}}, ERR_HANDLING_NOT_ALLOWED},
        {{.to = {"LV.POLICE"}, .created_ms = (int64_t)LIMIT_SKEW_MS + 1}, ERR_CLOCK},
        {{.to = {"LV.POLICE"}, .created_ms = -(int64_t)LIMIT_SKEW_MS - 1}, ERR_CLOCK},
        {{.to = {"LV.POLICE"}, .created_ms = -1000, .lives_ms = 1000}, ERR_EXPIRED},
        {{.to = {"LV.POLICE"}, .lives_ms = LIMIT_EXPIRY_MS + 1}, ERR_TOO_LARGE},
        {{.to = {NULL}}, ERR_MALFORMED},
        {{.to = {"EE.POLICE"}}, ERR_MALFORMED},
        {{.to = {"LV.POLICE", "LV.POLICE"}}, ERR_MALFORMED},
    };
    struct desk *d = desk_new("EE.POLICE");

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        check_refused(d, &rows[i].mail, rows[i].code);
    cr_assert_eq(memview_leaf_count(d->state), 0);
    cr_assert_eq(agent_core_quarantined(d->core), 0);
    desk_free(d);
}

Test(draft, good_at_the_bounds)
{
    static const struct desk_mail rows[] = {
        {.to = {"LV.POLICE"}, .created_ms = (int64_t)LIMIT_SKEW_MS},
        {.to = {"LV.POLICE"}, .created_ms = -(int64_t)LIMIT_SKEW_MS},
        {.to = {"LV.POLICE"}, .created_ms = -1000, .lives_ms = 1001},
        {.to = {"LV.POLICE"}, .level = SP__LEVEL__LEVEL_CONFIDENTIAL},
        {.to = {"LT.CUSTOMS"}, .level = SP__LEVEL__LEVEL_RESTRICTED},
    };
    struct desk *d = desk_new("EE.POLICE");

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int m = desk_send_one(d, &rows[i]);

        cr_assert_eq(desk_result(d, (uint64_t)m)->code, ERR_OK, "row %zu: %s", i,
                     err_code(desk_result(d, (uint64_t)m)->code));
        cr_assert_eq(d->n_leaves, 1);
    }
    desk_free(d);
}

Test(draft, no_room_no_key_no_fresh_directory)
{
    const struct desk_mail mail = {.to = {"LV.POLICE"}};
    struct desk *d = desk_new("EE.POLICE");

    d->room = false;
    check_refused(d, &mail, ERR_DISK_FULL);
    d->room = true;
    d->trust = d->federation->bare;
    check_refused(d, &mail, ERR_NEED_DOCUMENTS);
    d->trust = NULL;
    desk_pass(d, LIMIT_TIMESTAMP_MS + 1);
    check_refused(d, &mail, ERR_STALE_TIMESTAMP);
    cr_assert_eq(federation_refresh(d->federation), ERR_OK);
    desk_send_one(d, &mail);
    cr_assert_eq(d->n_leaves, 1);
    desk_free(d);
}

Test(draft, one_bad_among_good_ones)
{
    struct desk *d = desk_new("EE.POLICE");
    int a = desk_mail(d, &(struct desk_mail){.to = {"LV.POLICE"}});
    int bad = desk_mail(
        d, &(struct desk_mail){.to = {"LT.POLICE", "LV.POLICE"}, .lives_ms = LIMIT_EXPIRY_MS + 1});
    int c = desk_mail(d, &(struct desk_mail){.to = {"LV.POLICE"}});
    int e;

    desk_send(d, a, 3);
    cr_assert_eq(desk_result(d, (uint64_t)a)->code, ERR_OK);
    cr_assert_eq(desk_result(d, (uint64_t)bad)->code, ERR_TOO_LARGE);
    cr_assert_eq(desk_result(d, (uint64_t)c)->code, ERR_OK);
    cr_assert_eq(d->n_leaves, 2);
    cr_assert_eq(signed_together(envelope_of(d, a)), 2);
    check_place(d, c, "LV.POLICE", 2, a);
    cr_assert_eq(memview_count(d->state, AGENT_STREAM), 1, "the refused one moved a stream");
    e = desk_send_one(d, &(struct desk_mail){.to = {"LT.POLICE"}});
    check_place(d, e, "LT.POLICE", 1, 0);
    desk_free(d);
}

Test(draft, damaged_records_stand_in_nobodys_way)
{
    static const char stream[] = "LV.POLICE\0\1";
    struct desk *d = desk_new("EE.POLICE");
    int a = desk_send_one(d, &(struct desk_mail){.to = {"LV.POLICE"}});
    int again = desk_mail(d, &(struct desk_mail){.to = {"LV.POLICE"}, .same_id_as = a});
    uint8_t key[MAIL_ID_KEY];
    int b;
    int c;

    d->damaged = true;
    mail_id_key(&d->messages[a].id, "EE.POLICE", key);
    memview_damage(d->state, AGENT_ID, span_of(key, sizeof key));
    desk_send(d, again, 1);
    cr_assert_eq(desk_result(d, (uint64_t)again)->code, ERR_CORRUPT);
    desk_nothing(d);
    cr_assert_eq(agent_core_quarantined(d->core), 1);

    memview_damage(d->state, AGENT_STREAM, span_of(stream, sizeof stream - 1));
    b = desk_mail(d, &(struct desk_mail){.to = {"LT.POLICE", "LV.POLICE"}});
    c = desk_mail(d, &(struct desk_mail){.to = {"LT.POLICE"}});
    desk_send(d, b, 2);
    cr_assert_eq(desk_result(d, (uint64_t)b)->code, ERR_CORRUPT, "a place was guessed");
    cr_assert_eq(desk_result(d, (uint64_t)c)->code, ERR_OK);
    cr_assert_eq(agent_core_quarantined(d->core), 2);
    check_place(d, c, "LT.POLICE", 1, 0);
    desk_free(d);
}
