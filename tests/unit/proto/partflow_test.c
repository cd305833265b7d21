#include "tests/unit/proto/partflow_kit.h"

#include "tests/lib/leaks.h"

#include <sys/resource.h>

TestSuite(partflow, .fini = leaks_check, .timeout = 120);

Test(partflow, whole_transfers)
{
    static const size_t lens[] = {0,
                                  1,
                                  LIMIT_CHUNK - 1,
                                  LIMIT_CHUNK,
                                  LIMIT_CHUNK + 1,
                                  LIMIT_CREDIT,
                                  LIMIT_CREDIT + 1,
                                  3 * LIMIT_CREDIT + 7};
    struct world w;

    world_init(&w);
    for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
        struct digest d = offer_part(&w, (uint32_t)i, lens[i]);

        w.nodes[0].n_done = 0;
        cr_assert_eq(partflow_want(w.nodes[0].flow, "sender", &d, lens[i]), ERR_OK);
        AWAIT(&w, done_count(&w.nodes[0]) > 0);
        expect_done(&w.nodes[0], &d, ERR_OK);
        cr_assert(part_dir_has(w.nodes[0].dir, &d, lens[i]));
        cr_assert_eq(partflow_received(w.nodes[0].flow, &d), 0, "wanted no longer");
    }
    cr_assert_eq(w.over_credit, 0);

    /* What is there already is never sent again. */
    {
        struct digest d = offer_part(&w, 3, LIMIT_CHUNK);
        uint64_t wants = w.wants;

        w.nodes[0].n_done = 0;
        cr_assert_eq(partflow_want(w.nodes[0].flow, "sender", &d, LIMIT_CHUNK), ERR_OK);
        AWAIT(&w, done_count(&w.nodes[0]) > 0);
        expect_done(&w.nodes[0], &d, ERR_OK);
        cr_assert_eq(w.wants, wants);
    }
    world_fini(&w);
}

/* Every seventh chunk is lost, every fifth doubled, every third late. */
static enum fate bad_line(struct world *w, const struct message *m, const Sp__Frame *f)
{
    (void)m;
    if (f->n_chunks == 0)
        return DELIVER;
    w->counter++;
    if (w->counter % 7 == 0)
        return LOSE;
    if (w->counter % 5 == 0)
        return TWICE;
    return w->counter % 3 == 0 ? LATER : DELIVER;
}

Test(partflow, a_bad_line)
{
    size_t len = 40 * LIMIT_CHUNK + 5;
    struct digest d;
    uint64_t end = real_ms() + DEADLINE_MS;
    struct world w;

    world_init(&w);
    w.fate = bad_line;
    d = offer_part(&w, 1, len);
    cr_assert_eq(partflow_want(w.nodes[0].flow, "sender", &d, len), ERR_OK);
    while (done_count(&w.nodes[0]) == 0) {
        uint64_t quiet = real_ms() + 20;

        cr_assert_lt(real_ms(), end);
        while (real_ms() < quiet) {
            if (pump(&w))
                quiet = real_ms() + 20;
            else
                pause_a_little();
        }
        advance(&w, 10000); /* less than a stall: the want is repeated */
    }
    expect_done(&w.nodes[0], &d, ERR_OK);
    cr_assert_eq(w.over_credit, 0);
    world_fini(&w);
}

/* Loses the second chunk, once. */
static enum fate lose_second(struct world *w, const struct message *m, const Sp__Frame *f)
{
    (void)m;
    return f->n_chunks > 0 && ++w->counter == 2 ? LOSE : DELIVER;
}

Test(partflow, a_gap_is_closed_without_waiting)
{
    size_t len = 8 * LIMIT_CREDIT;
    struct digest d;
    struct world w;

    world_init(&w);
    w.fate = lose_second;
    d = offer_part(&w, 1, len);
    cr_assert_eq(partflow_want(w.nodes[0].flow, "sender", &d, len), ERR_OK);
    AWAIT(&w, done_count(&w.nodes[0]) > 0); /* the clock stands still */
    expect_done(&w.nodes[0], &d, ERR_OK);
    cr_assert_geq(w.counter, len / LIMIT_CHUNK + 1);
    cr_assert_leq(w.counter, len / LIMIT_CHUNK + LIMIT_CREDIT / LIMIT_CHUNK);
    cr_assert_eq(w.over_credit, 0);
    world_fini(&w);
}

static enum fate lose_all(struct world *w, const struct message *m, const Sp__Frame *f)
{
    (void)w;
    (void)m;
    (void)f;
    return LOSE;
}

static enum fate lose_chunks_after(struct world *w, const struct message *m, const Sp__Frame *f)
{
    (void)m;
    return f->n_chunks > 0 && ++w->counter > 9 ? LOSE : DELIVER;
}

Test(partflow, resumed_after_a_lost_connection)
{
    size_t len = 30 * LIMIT_CHUNK;
    uint64_t before;
    struct digest d;
    struct world w;

    world_init(&w);
    w.fate = lose_chunks_after;
    d = offer_part(&w, 1, len);
    cr_assert_eq(partflow_want(w.nodes[0].flow, "sender", &d, len), ERR_OK);
    AWAIT(&w, partflow_received(w.nodes[0].flow, &d) == 9 * LIMIT_CHUNK);
    partflow_peer_down(w.nodes[0].flow, "sender");
    partflow_peer_down(w.nodes[1].flow, "receiver");
    settle(&w, &w.nodes[0]);
    settle(&w, &w.nodes[1]);
    w.fate = NULL;
    before = w.nodes[1].chunks;

    /* What was offered is withdrawn with the connection: asking alone gets nothing. */
    partflow_peer_up(w.nodes[0].flow, "sender");
    settle(&w, &w.nodes[0]);
    settle(&w, &w.nodes[1]);
    cr_assert_eq(w.nodes[1].chunks, before);
    cr_assert_eq(done_count(&w.nodes[0]), 0);

    cr_assert_eq(partflow_offer(w.nodes[1].flow, "receiver", &d, len), ERR_OK);
    partflow_peer_up(w.nodes[0].flow, "sender");
    AWAIT(&w, done_count(&w.nodes[0]) > 0);
    expect_done(&w.nodes[0], &d, ERR_OK);
    cr_assert_eq(w.nodes[1].chunks, before + 21, "from where it stood");
    cr_assert_eq(w.over_credit, 0);
    world_fini(&w);
}

Test(partflow, resumed_after_a_crash_of_the_receiver)
{
    size_t len = 30 * LIMIT_CHUNK;
    uint64_t before;
    struct digest d;
    struct world w;

    world_init(&w);
    w.fate = lose_chunks_after;
    d = offer_part(&w, 1, len);
    cr_assert_eq(partflow_want(w.nodes[0].flow, "sender", &d, len), ERR_OK);
    AWAIT(&w, partflow_received(w.nodes[0].flow, &d) == 9 * LIMIT_CHUNK);
    node_stop(&w.nodes[0]);
    while (pump(&w))
        ;
    settle(&w, &w.nodes[1]);
    node_start(&w.nodes[0]);
    w.fate = NULL;
    before = w.nodes[1].chunks;
    /* The sender did not notice: its offer stands as it was. */
    cr_assert_eq(partflow_want(w.nodes[0].flow, "sender", &d, len), ERR_OK);
    settle(&w, &w.nodes[0]);
    advance(&w, 10000);
    AWAIT(&w, done_count(&w.nodes[0]) > 0);
    expect_done(&w.nodes[0], &d, ERR_OK);
    cr_assert_geq(w.nodes[1].chunks, before + 21);
    cr_assert_leq(w.nodes[1].chunks, before + 21 + LIMIT_CREDIT / LIMIT_CHUNK);
    world_fini(&w);
}

Test(partflow, only_what_was_offered_is_served)
{
    size_t len = 2 * LIMIT_CHUNK;
    struct digest d, later;
    struct world w;

    world_init(&w);
    d = make_part(&w.nodes[1], 1, len);
    later = make_part(&w.nodes[1], 2, len);
    cr_assert_eq(partflow_offer(w.nodes[1].flow, "other", &d, len), ERR_OK);
    cr_assert_eq(partflow_offer(w.nodes[1].flow, "receiver", &later, len), ERR_OK);
    partflow_withdraw(w.nodes[1].flow, "receiver", &later);
    cr_assert_eq(partflow_want(w.nodes[0].flow, "sender", &d, len), ERR_OK);
    cr_assert_eq(partflow_want(w.nodes[0].flow, "sender", &later, len), ERR_OK);
    AWAIT(&w, w.wants == 2);
    settle(&w, &w.nodes[1]);
    cr_assert_eq(w.nodes[1].chunks, 0, "knowing a digest is not enough");
    advance(&w, PARTFLOW_STALL_MS);
    AWAIT(&w, done_count(&w.nodes[0]) == 2);
    cr_assert_eq(w.nodes[0].result[0], ERR_TIMEOUT);
    cr_assert_eq(w.nodes[0].result[1], ERR_TIMEOUT);

    cr_assert_eq(partflow_want(w.nodes[2].flow, "sender", &d, len), ERR_OK);
    AWAIT(&w, done_count(&w.nodes[2]) > 0);
    expect_done(&w.nodes[2], &d, ERR_OK);
    world_fini(&w);
}

/* A chunk as a peer may make it. */
static void chunk_to(struct node *n, const char *from, const struct digest *d, uint64_t offset,
                     struct span data)
{
    Sp__PartChunk c = SP__PART_CHUNK__INIT;

    c.sha256 = pb_bytes(digest_span(d));
    c.offset = offset;
    c.data = pb_bytes(data);
    partflow_on_chunk(n->flow, from, &c);
}

Test(partflow, wrong_bytes_are_thrown_away)
{
    static const uint8_t zeros[LIMIT_CHUNK + 1];
    struct digest d = sha256(span_str("something else"));
    struct part_receiver *r;
    struct world w;

    world_init(&w);
    w.fate = lose_all;
    cr_assert_eq(partflow_want(w.nodes[0].flow, "sender", &d, 10), ERR_OK);
    settle(&w, &w.nodes[0]);
    chunk_to(&w.nodes[0], "sender", &d, 0, span_of(NULL, 0));
    chunk_to(&w.nodes[0], "sender", &d, 0, span_of(zeros, sizeof zeros));
    chunk_to(&w.nodes[0], "other", &d, 0, span_of(zeros, 9));
    chunk_to(&w.nodes[0], "sender", &d, 1, span_of(zeros, 9));
    settle(&w, &w.nodes[0]);
    cr_assert_eq(partflow_received(w.nodes[0].flow, &d), 0, "none of these was asked for");
    chunk_to(&w.nodes[0], "sender", &d, 0, span_of(zeros, 9));
    settle(&w, &w.nodes[0]);
    cr_assert_eq(partflow_received(w.nodes[0].flow, &d), 9);
    chunk_to(&w.nodes[0], "sender", &d, 9, span_of(zeros, 1));
    AWAIT(&w, done_count(&w.nodes[0]) > 0);
    expect_done(&w.nodes[0], &d, ERR_BAD_DIGEST);
    cr_assert_eq(part_receiver_new(w.nodes[0].dir, &d, 10, &r), ERR_OK);
    cr_assert_eq(part_receiver_offset(r), 0, "gone");
    part_receiver_free(r);

    /* Likewise when it does not end where it should. */
    w.nodes[0].n_done = 0;
    cr_assert_eq(partflow_want(w.nodes[0].flow, "sender", &d, 10), ERR_OK);
    settle(&w, &w.nodes[0]);
    chunk_to(&w.nodes[0], "sender", &d, 0, span_of(zeros, 9));
    chunk_to(&w.nodes[0], "sender", &d, 9, span_of(zeros, 2));
    AWAIT(&w, done_count(&w.nodes[0]) > 0);
    expect_done(&w.nodes[0], &d, ERR_BAD_DIGEST);
    cr_assert_eq(part_receiver_new(w.nodes[0].dir, &d, 10, &r), ERR_OK);
    cr_assert_eq(part_receiver_offset(r), 0, "gone");
    part_receiver_free(r);
    world_fini(&w);
}

Test(partflow, more_than_the_credit_is_not_taken)
{
    static const uint8_t zeros[LIMIT_CHUNK];
    struct digest d = sha256(span_str("something else"));
    size_t n = LIMIT_CREDIT / LIMIT_CHUNK;
    struct world w;

    world_init(&w);
    w.fate = lose_all;
    cr_assert_eq(partflow_want(w.nodes[0].flow, "sender", &d, 100 * LIMIT_CHUNK), ERR_OK);
    settle(&w, &w.nodes[0]);
    /* Odd sizes, so that a chunk crosses what is granted. */
    chunk_to(&w.nodes[0], "sender", &d, 0, span_of(zeros, LIMIT_CHUNK - 1));
    for (size_t i = 1; i < n / 2; i++)
        chunk_to(&w.nodes[0], "sender", &d, i * LIMIT_CHUNK - 1, span_of(zeros, LIMIT_CHUNK));
    settle(&w, &w.nodes[0]);
    cr_assert_eq(partflow_received(w.nodes[0].flow, &d), n / 2 * LIMIT_CHUNK - 1);
    for (size_t i = n / 2; i < n; i++)
        chunk_to(&w.nodes[0], "sender", &d, i * LIMIT_CHUNK - 1, span_of(zeros, LIMIT_CHUNK));
    settle(&w, &w.nodes[0]);
    cr_assert_eq(partflow_received(w.nodes[0].flow, &d), n * LIMIT_CHUNK - 1,
                 "more was granted at the half");
    for (size_t i = n; i < 4 * n; i++)
        chunk_to(&w.nodes[0], "sender", &d, i * LIMIT_CHUNK - 1, span_of(zeros, LIMIT_CHUNK));
    settle(&w, &w.nodes[0]);
    cr_assert_gt(partflow_received(w.nodes[0].flow, &d), n * LIMIT_CHUNK,
                 "an unsolicited burst does not stop the credit");
    world_fini(&w);
}

Test(partflow, a_stall_ends_with_the_time)
{
    size_t len = 30 * LIMIT_CHUNK;
    struct digest d;
    struct world w;
    uint64_t wants;

    world_init(&w);
    w.fate = lose_chunks_after;
    d = offer_part(&w, 1, len);
    cr_assert_eq(partflow_want(w.nodes[0].flow, "sender", &d, len), ERR_OK);
    AWAIT(&w, partflow_received(w.nodes[0].flow, &d) == 9 * LIMIT_CHUNK);
    settle(&w, &w.nodes[0]);
    settle(&w, &w.nodes[1]);
    settle(&w, &w.nodes[0]);
    w.fate = lose_all;
    wants = w.nodes[1].asked[0].until;
    advance(&w, PARTFLOW_STALL_MS - 1);
    settle(&w, &w.nodes[0]);
    cr_assert_eq(done_count(&w.nodes[0]), 0);
    advance(&w, 1);
    AWAIT(&w, done_count(&w.nodes[0]) > 0);
    expect_done(&w.nodes[0], &d, ERR_TIMEOUT);
    cr_assert_eq(w.nodes[1].asked[0].until, wants);

    /* What has come stays: wanted again, it goes on there. */
    w.fate = NULL;
    w.nodes[0].n_done = 0;
    cr_assert_eq(partflow_want(w.nodes[0].flow, "sender", &d, len), ERR_OK);
    AWAIT(&w, partflow_received(w.nodes[0].flow, &d) >= 9 * LIMIT_CHUNK);
    advance(&w, 10000);
    AWAIT(&w, done_count(&w.nodes[0]) > 0);
    expect_done(&w.nodes[0], &d, ERR_OK);
    world_fini(&w);
}

static enum fate count_wanted(struct world *w, const struct message *m, const Sp__Frame *f)
{
    (void)m;
    w->most_active += f->n_part_wants;
    return LOSE;
}

Test(partflow, many_parts_at_once)
{
    enum { PARTS = 40 };
    struct digest d[PARTS];
    struct world w;

    world_init(&w);
    w.fate = count_wanted;
    for (uint32_t i = 0; i < PARTS; i++) {
        d[i] = offer_part(&w, i, LIMIT_CHUNK + i);
        cr_assert_eq(partflow_want(w.nodes[0].flow, "sender", &d[i], LIMIT_CHUNK + i), ERR_OK);
    }
    settle(&w, &w.nodes[0]);
    AWAIT(&w, w.most_active >= PARTFLOW_ACTIVE_MAX);
    settle(&w, &w.nodes[0]);
    cr_assert_eq(w.most_active, PARTFLOW_ACTIVE_MAX, "the others wait for their turn");
    w.fate = NULL;
    advance(&w, 10000);
    AWAIT(&w, done_count(&w.nodes[0]) == PARTS);
    for (size_t i = 0; i < PARTS; i++) {
        cr_assert_eq(w.nodes[0].result[i], ERR_OK);
        cr_assert(part_dir_has(w.nodes[0].dir, &d[i], LIMIT_CHUNK + i));
    }
    cr_assert_eq(w.over_credit, 0);
    world_fini(&w);
}

Test(partflow, a_peer_that_is_away_does_not_keep_the_others_waiting)
{
    struct digest d;
    struct world w;

    world_init(&w);
    for (uint32_t i = 0; i < 2 * PARTFLOW_ACTIVE_MAX; i++) {
        struct digest absent = sha256(span_of(&i, sizeof i));

        cr_assert_eq(partflow_want(w.nodes[0].flow, "away", &absent, 100), ERR_OK);
    }
    d = offer_part(&w, 1, LIMIT_CHUNK);
    cr_assert_eq(partflow_want(w.nodes[0].flow, "sender", &d, LIMIT_CHUNK), ERR_OK);
    settle(&w, &w.nodes[0]);
    cr_assert_eq(done_count(&w.nodes[0]), 0, "all turns are taken");
    partflow_peer_down(w.nodes[0].flow, "away");
    AWAIT(&w, done_count(&w.nodes[0]) > 0); /* the clock stands still */
    expect_done(&w.nodes[0], &d, ERR_OK);
    world_fini(&w);
}

Test(partflow, bounds)
{
    struct world w;
    struct digest d;

    world_init(&w);
    w.fate = lose_all;
    for (uint32_t i = 0; i < PARTFLOW_WANTS_MAX; i++) {
        d = sha256(span_of(&i, sizeof i));
        cr_assert_eq(partflow_want(w.nodes[0].flow, "away", &d, 100), ERR_OK);
    }
    d = sha256(span_str("one more"));
    cr_assert_eq(partflow_want(w.nodes[0].flow, "away", &d, 100), ERR_FULL);
    {
        uint32_t i = 7;
        struct digest known = sha256(span_of(&i, sizeof i));

        partflow_cancel(w.nodes[0].flow, &known);
        partflow_cancel(w.nodes[0].flow, &d);
    }
    AWAIT(&w, partflow_want(w.nodes[0].flow, "away", &d, 100) == ERR_OK);
    cr_assert_eq(partflow_want(w.nodes[0].flow, "away", &d, 100), ERR_FULL);

    for (uint32_t i = 0; i < PARTFLOW_OFFERS_MAX; i++) {
        d = sha256(span_of(&i, sizeof i));
        cr_assert_eq(partflow_offer(w.nodes[0].flow, "away", &d, 100), ERR_OK);
    }
    d = sha256(span_str("one more"));
    cr_assert_eq(partflow_offer(w.nodes[0].flow, "away", &d, 100), ERR_FULL);
    partflow_peer_down(w.nodes[0].flow, "away");
    AWAIT(&w, partflow_offer(w.nodes[0].flow, "away", &d, 100) == ERR_OK);
    world_fini(&w);
}

Test(partflow, cancelled)
{
    size_t len = 30 * LIMIT_CHUNK;
    struct digest d;
    struct world w;

    world_init(&w);
    w.fate = lose_chunks_after;
    d = offer_part(&w, 1, len);
    cr_assert_eq(partflow_want(w.nodes[0].flow, "sender", &d, len), ERR_OK);
    AWAIT(&w, partflow_received(w.nodes[0].flow, &d) == 9 * LIMIT_CHUNK);
    partflow_cancel(w.nodes[0].flow, &d);
    settle(&w, &w.nodes[0]);
    cr_assert_eq(partflow_received(w.nodes[0].flow, &d), 0);
    advance(&w, PARTFLOW_STALL_MS);
    settle(&w, &w.nodes[0]);
    cr_assert_eq(done_count(&w.nodes[0]), 0, "nobody is told");
    world_fini(&w);
}

Test(partflow, another_source)
{
    size_t len = 30 * LIMIT_CHUNK;
    struct digest d;
    struct world w;

    world_init(&w);
    w.fate = lose_chunks_after;
    d = offer_part(&w, 1, len);
    cr_assert_eq(partflow_want(w.nodes[0].flow, "sender", &d, len), ERR_OK);
    AWAIT(&w, partflow_received(w.nodes[0].flow, &d) == 9 * LIMIT_CHUNK);
    w.fate = NULL;
    (void)make_part(&w.nodes[2], 1, len);
    cr_assert_eq(partflow_offer(w.nodes[2].flow, "receiver", &d, len), ERR_OK);
    cr_assert_eq(partflow_want(w.nodes[0].flow, "other", &d, len), ERR_OK);
    AWAIT(&w, done_count(&w.nodes[0]) > 0);
    expect_done(&w.nodes[0], &d, ERR_OK);
    cr_assert_eq(w.nodes[2].chunks, 21);
    world_fini(&w);
}

/* Notes whose chunks come, in `done` of the third node, which has nothing to do. */
static enum fate note_chunks(struct world *w, const struct message *m, const Sp__Frame *f)
{
    struct node *n = &w->nodes[2];

    (void)m;
    for (size_t i = 0; i < f->n_chunks && n->n_done < DONE_MAX; i++)
        memcpy(n->done[n->n_done++].b, f->chunks[i]->sha256.data, sizeof n->done[0].b);
    return DELIVER;
}

Test(partflow, congestion_is_shared)
{
    size_t len = 4 * LIMIT_CHUNK;
    struct digest d[4];
    struct world w;
    struct node *notes = &w.nodes[2];

    world_init(&w);
    w.nodes[1].limited = true;
    w.fate = note_chunks;
    for (uint32_t i = 0; i < 4; i++) {
        d[i] = offer_part(&w, i, len);
        cr_assert_eq(partflow_want(w.nodes[0].flow, "sender", &d[i], len), ERR_OK);
    }
    AWAIT(&w, w.wants == 4);
    settle(&w, &w.nodes[1]);
    cr_assert_eq(w.nodes[1].chunks, 0, "chunks wait");
    for (uint64_t i = 1; i <= 16; i++) {
        pthread_mutex_lock(&w.lock);
        w.nodes[1].allowance = 1;
        pthread_mutex_unlock(&w.lock);
        AWAIT(&w, w.nodes[1].chunks == i);
    }
    AWAIT(&w, done_count(&w.nodes[0]) == 4);
    /* Each round brings one chunk of each part. */
    for (size_t i = 0; i < 16; i++) {
        for (size_t k = i - i % 4; k < i; k++)
            cr_assert_not(digest_equal(&notes->done[k], &notes->done[i]), "chunk %zu", i);
    }
    cr_assert_eq(w.over_credit, 0);
    world_fini(&w);
}

static long switches(void)
{
    struct rusage u;

    cr_assert_eq(getrusage(RUSAGE_SELF, &u), 0);
    return u.ru_nvcsw + u.ru_nivcsw;
}

Test(partflow, an_idle_one_sleeps)
{
    struct timespec t = {.tv_sec = 2, .tv_nsec = 500000000};
    struct world w;
    long before;

    world_init(&w);
    settle(&w, &w.nodes[0]);
    before = switches();
    (void)nanosleep(&t, NULL);
    cr_assert_leq(switches() - before, 4, "three idle threads do not tick");
    world_fini(&w);
}
