/* Waiting for large parts. Here and not beside its source's other tests because it needs real
 * envelopes. */
#include "peer/parts.h"

#include "tests/lib/leaks.h"
#include "tests/unit/broker/stage.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(parts, .fini = leaks_check, .timeout = 120);

struct shelf {
    struct stage stage;
    char dir[64];
    struct part_dir *part_dir;
    struct partflow *flow;
    struct parts *parts;
};

static void drop_frame(void *ctx, const char *peer, struct buf *frame)
{
    (void)ctx;
    (void)peer;
    buf_fini(frame);
}

static bool yes(void *ctx)
{
    (void)ctx;
    return true;
}

static void nothing(void *ctx, const struct digest *sha256, enum err result)
{
    (void)ctx;
    (void)sha256;
    (void)result;
}

static void shelf_init(struct shelf *s)
{
    struct partflow_ops ops = {.send = drop_frame, .can_send = yes, .done = nothing};

    stage_init(&s->stage, "tallinn");
    snprintf(s->dir, sizeof s->dir, "/tmp/sealpost-parts-XXXXXX");
    cr_assert_not_null(mkdtemp(s->dir));
    cr_assert_eq(part_dir_open(s->dir, &s->part_dir), ERR_OK);
    cr_assert_eq(partflow_new(s->part_dir, env_system(), &ops, &s->flow), ERR_OK);
    cr_assert_eq(parts_new(s->part_dir, &s->parts), ERR_OK);
    parts_bind(s->parts, s->flow);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static void shelf_fini(struct shelf *s)
{
    parts_free(s->parts);
    partflow_free(s->flow);
    part_dir_close(s->part_dir);
    (void)nftw(s->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    stage_fini(&s->stage);
}

/* A transfer of message `m`; the body travels beside, a second part does not. */
static struct parcel *parcel_of(struct shelf *s, int m)
{
    struct stage_message *message = &s->stage.messages[m];
    struct parcel *p = calloc(1, sizeof *p);
    Sp__InlinePart body = SP__INLINE_PART__INIT;
    Sp__InlinePart *parts[] = {&body};
    Sp__Transfer t = SP__TRANSFER__INIT;

    cr_assert_not_null(p);
    body.data = pb_bytes(buf_span(&message->body));
    t.tag = (uint64_t)m;
    t.envelope = pb_bytes(buf_span(&message->bytes));
    t.parts = parts;
    t.n_parts = 1;
    p->wire = &t;
    cr_assert_eq(envelope_decode(buf_span(&message->bytes), &p->envelope), ERR_OK);
    cr_assert_eq(parcel_keep(p), ERR_OK);
    return p;
}

static int mail(struct shelf *s, size_t file_bytes)
{
    struct stage_mail mail = {.sender = "EE.POLICE", .to = {"LV.POLICE"}};

    mail.file = file_bytes == 0;
    mail.file_bytes = file_bytes;
    return stage_mail(&s->stage, &mail);
}

static const struct digest *file_of(struct shelf *s, int m)
{
    return &envelope_part(s->stage.messages[m].envelope, 1)->sha256;
}

/* Puts the second part of `m` where it belongs. */
static void bring(struct shelf *s, int m)
{
    struct part_writer *w;
    struct digest digest;
    uint64_t len;

    cr_assert_eq(part_writer_new(s->part_dir, env_system(), &w), ERR_OK);
    cr_assert_eq(part_writer_put(w, buf_span(&s->stage.messages[m].file)), ERR_OK);
    cr_assert_eq(part_writer_finish(w, &digest, &len), ERR_OK);
    part_writer_free(w);
    cr_assert(digest_equal(&digest, file_of(s, m)));
}

static struct parcel *next(struct shelf *s, const char *peer, enum err result)
{
    char from[LIMIT_PEER];
    struct parcel *p;
    enum err e;

    cr_assert(parts_next(s->parts, from, &p, &e));
    cr_assert_str_eq(from, peer);
    cr_assert_eq(e, result);
    return p;
}

static void none_next(struct shelf *s)
{
    char from[LIMIT_PEER];
    struct parcel *p;
    enum err e;

    cr_assert(!parts_next(s->parts, from, &p, &e));
}

Test(parts, comes)
{
    struct shelf s;
    struct parcel *p;
    int m;

    shelf_init(&s);
    m = mail(&s, 100000);
    p = parcel_of(&s, m);
    cr_assert_eq(parts_missing(s.parts, p), s.stage.messages[m].file.len);
    cr_assert_eq(parts_park(s.parts, "EE.POLICE", p), ERR_OK);
    cr_assert_eq(parts_parked(s.parts), 1);
    none_next(&s);
    bring(&s, m);
    parts_came(s.parts, file_of(&s, m), ERR_OK);
    cr_assert_eq(next(&s, "EE.POLICE", ERR_OK), p);
    none_next(&s);
    cr_assert_eq(parts_missing(s.parts, p), 0);
    cr_assert_eq(parts_parked(s.parts), 0);
    /* Parked although it came meanwhile: it does not wait. */
    cr_assert_eq(parts_park(s.parts, "EE.POLICE", p), ERR_OK);
    cr_assert_eq(next(&s, "EE.POLICE", ERR_OK), p);
    parcel_free(p);
    shelf_fini(&s);
}

Test(parts, cannot_be_had)
{
    struct shelf s;
    int m;

    shelf_init(&s);
    m = mail(&s, 0);
    cr_assert_eq(parts_park(s.parts, "EE.POLICE", parcel_of(&s, m)), ERR_OK);
    /* A part that nobody waits for. */
    parts_came(s.parts, &(struct digest){{1}}, ERR_BAD_DIGEST);
    none_next(&s);
    parts_came(s.parts, file_of(&s, m), ERR_BAD_DIGEST);
    parcel_free(next(&s, "EE.POLICE", ERR_BAD_DIGEST));
    shelf_fini(&s);
}

Test(parts, repeated)
{
    struct shelf s;
    struct parcel *p;
    int m;

    shelf_init(&s);
    m = mail(&s, 0);
    cr_assert_eq(parts_park(s.parts, "riga", parcel_of(&s, m)), ERR_OK);
    p = parcel_of(&s, m);
    cr_assert_eq(parts_park(s.parts, "riga", p), ERR_OK, "it replaces the former");
    cr_assert_eq(parts_parked(s.parts), 1);
    /* Another peer's is another one; both wait for the same part. */
    cr_assert_eq(parts_park(s.parts, "EE.POLICE", parcel_of(&s, m)), ERR_OK);
    cr_assert_eq(parts_parked(s.parts), 2);
    parts_came(s.parts, file_of(&s, m), ERR_TIMEOUT);
    parcel_free(next(&s, "EE.POLICE", ERR_TIMEOUT));
    cr_assert_eq(next(&s, "riga", ERR_TIMEOUT), p);
    parcel_free(p);
    shelf_fini(&s);
}

Test(parts, peer_goes)
{
    struct shelf s;
    int m;

    shelf_init(&s);
    m = mail(&s, 0);
    cr_assert_eq(parts_park(s.parts, "riga", parcel_of(&s, m)), ERR_OK);
    cr_assert_eq(parts_park(s.parts, "EE.POLICE", parcel_of(&s, m)), ERR_OK);
    parts_peer_down(s.parts, "riga");
    cr_assert_eq(parts_parked(s.parts), 1);
    parts_came(s.parts, file_of(&s, m), ERR_OK);
    parcel_free(next(&s, "EE.POLICE", ERR_OK));
    none_next(&s);
    shelf_fini(&s);
}

/* One peer cannot take all the places. */
Test(parts, bound_of_a_peer)
{
    struct shelf s;
    struct parcel *p;
    int m;

    shelf_init(&s);
    for (int i = 0; i < PARKED_OF_PEER_MAX; i++) {
        m = mail(&s, 0);
        cr_assert_eq(parts_park(s.parts, "EE.POLICE", parcel_of(&s, m)), ERR_OK, "%d", i);
    }
    m = mail(&s, 0);
    p = parcel_of(&s, m);
    cr_assert_eq(parts_park(s.parts, "EE.POLICE", p), ERR_UNAVAILABLE);
    cr_assert_eq(parts_park(s.parts, "riga", p), ERR_OK, "the caller kept it; another's place");
    /* A repetition of one that waits needs no new place. */
    cr_assert_eq(parts_park(s.parts, "EE.POLICE", parcel_of(&s, 1)), ERR_OK);
    cr_assert_eq(parts_parked(s.parts), PARKED_OF_PEER_MAX + 1);
    shelf_fini(&s);
}

Test(parts, offers)
{
    struct shelf s;
    struct parcel *p;
    int m;

    shelf_init(&s);
    m = mail(&s, 0);
    p = parcel_of(&s, m);
    cr_assert_eq(parts_offer(s.parts, "riga", 7, p->envelope, p->wire), ERR_OK);
    cr_assert_eq(parts_offer(s.parts, "riga", 7, p->envelope, p->wire), ERR_OK, "sent again");
    cr_assert_eq(parts_offer(s.parts, "vilnius", 7, p->envelope, p->wire), ERR_OK);
    parts_withdraw(s.parts, "riga", 8);
    parts_withdraw(s.parts, "riga", 7);
    parts_withdraw(s.parts, "riga", 7);
    parts_peer_down(s.parts, "vilnius");
    parts_withdraw(s.parts, "vilnius", 7);
    parcel_free(p);
    shelf_fini(&s);
}
