/* Partflows joined in memory by a transport that the test controls, with a clock that it moves.
 * Waiting is for conditions; the clock moves only when told. */
#ifndef SEALPOST_TESTS_UNIT_PROTO_PARTFLOW_KIT_H
#define SEALPOST_TESTS_UNIT_PROTO_PARTFLOW_KIT_H

#include "proto/partflow.h"

#include "common/limits.h"
#include "proto/pb.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DEADLINE_MS 30000
#define DONE_MAX 256
#define ASKED_MAX 64

static atomic_ullong clock_ms = 1000000;

static uint64_t fake_ms(void *ctx)
{
    (void)ctx;
    return clock_ms;
}

static void fake_random(void *ctx, void *out, size_t len)
{
    env_random(env_system(), out, len);
    (void)ctx;
}

static const struct env env = {.now_ms = fake_ms, .mono_ms = fake_ms, .random = fake_random};

struct message {
    struct message *next;
    struct node *to;
    char from[LIMIT_PEER];
    struct buf frame;
};

/* What a part was granted, as its sender saw it. */
struct asked {
    struct digest sha256;
    uint64_t until;
};

struct node {
    char name[LIMIT_PEER];
    char path[64];
    struct part_dir *dir;
    struct partflow *flow;
    struct world *world;
    struct digest done[DONE_MAX];
    enum err result[DONE_MAX];
    size_t n_done;
    struct asked asked[ASKED_MAX];
    size_t n_asked;
    uint64_t chunks; /* sent */
    bool limited;    /* what may be sent is counted */
    unsigned allowance;
};

enum fate { DELIVER, LOSE, TWICE, LATER };

struct world {
    pthread_mutex_t lock;
    struct node nodes[3];
    struct message *first;
    struct message **last;
    struct message *late; /* one that lets another pass */
    enum fate (*fate)(struct world *w, const struct message *m, const Sp__Frame *frame);
    uint64_t counter;
    uint64_t wants;
    uint64_t over_credit;
    size_t most_active;
};

static void send_frame(void *ctx, const char *peer, struct buf *frame)
{
    struct node *n = ctx;
    struct world *w = n->world;
    struct message *m = calloc(1, sizeof *m);

    if (m == NULL)
        abort();
    memcpy(m->from, n->name, sizeof m->from);
    m->frame = *frame;
    *frame = (struct buf){.max = frame->max};
    for (size_t i = 0; i < 3; i++) {
        if (strcmp(w->nodes[i].name, peer) == 0)
            m->to = &w->nodes[i];
    }
    pthread_mutex_lock(&w->lock);
    *w->last = m;
    w->last = &m->next;
    pthread_mutex_unlock(&w->lock);
}

static bool can_send(void *ctx)
{
    struct node *n = ctx;
    bool yes;

    pthread_mutex_lock(&n->world->lock);
    yes = !n->limited || n->allowance > 0;
    n->allowance -= n->limited && yes;
    pthread_mutex_unlock(&n->world->lock);
    return yes;
}

static void on_done(void *ctx, const struct digest *sha256, enum err result)
{
    struct node *n = ctx;

    pthread_mutex_lock(&n->world->lock);
    if (n->n_done < DONE_MAX) {
        n->done[n->n_done] = *sha256;
        n->result[n->n_done++] = result;
    }
    pthread_mutex_unlock(&n->world->lock);
}

static void node_start(struct node *n)
{
    struct partflow_ops ops = {.ctx = n, .send = send_frame, .can_send = can_send, .done = on_done};

    cr_assert_eq(part_dir_open(n->path, &n->dir), ERR_OK);
    cr_assert_eq(partflow_new(n->dir, &env, &ops, &n->flow), ERR_OK);
}

static void node_stop(struct node *n)
{
    partflow_free(n->flow);
    part_dir_close(n->dir);
    n->flow = NULL;
    n->dir = NULL;
}

static void message_free(struct message *m)
{
    buf_fini(&m->frame);
    free(m);
}

static void world_init(struct world *w)
{
    static const char *const names[] = {"receiver", "sender", "other"};

    memset(w, 0, sizeof *w);
    pthread_mutex_init(&w->lock, NULL);
    w->last = &w->first;
    for (size_t i = 0; i < 3; i++) {
        struct node *n = &w->nodes[i];

        n->world = w;
        (void)snprintf(n->name, sizeof n->name, "%s", names[i]);
        (void)snprintf(n->path, sizeof n->path, "/tmp/sealpost-flow-XXXXXX");
        cr_assert_not_null(mkdtemp(n->path));
        node_start(n);
    }
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static struct message *take(struct world *w)
{
    struct message *m;

    pthread_mutex_lock(&w->lock);
    m = w->first;
    if (m != NULL) {
        w->first = m->next;
        if (w->first == NULL)
            w->last = &w->first;
    }
    pthread_mutex_unlock(&w->lock);
    return m;
}

static void world_fini(struct world *w)
{
    struct message *m;

    for (size_t i = 0; i < 3; i++) {
        node_stop(&w->nodes[i]);
        (void)nftw(w->nodes[i].path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    }
    while ((m = take(w)) != NULL)
        message_free(m);
    if (w->late != NULL)
        message_free(w->late);
    pthread_mutex_destroy(&w->lock);
}

static struct asked *asked_of(struct node *n, ProtobufCBinaryData sha256)
{
    for (size_t i = 0; i < n->n_asked; i++) {
        if (memcmp(n->asked[i].sha256.b, sha256.data, sizeof n->asked[i].sha256.b) == 0)
            return &n->asked[i];
    }
    cr_assert_lt(n->n_asked, ASKED_MAX);
    memcpy(n->asked[n->n_asked].sha256.b, sha256.data, 32);
    return &n->asked[n->n_asked++];
}

static void hand_over(struct world *w, const struct message *m)
{
    struct pb *pb;
    const Sp__Frame *f;

    cr_assert_eq(pb_decode(&sp__frame__descriptor, buf_span(&m->frame), LIMIT_FRAME, &pb), ERR_OK);
    f = pb_view(pb);
    if (m->to != NULL && m->to->flow != NULL) {
        for (size_t i = 0; i < f->n_part_wants; i++) {
            const Sp__PartWant *want = f->part_wants[i];
            struct asked *a = asked_of(m->to, want->sha256);

            w->wants++;
            if (want->offset + want->credit > a->until)
                a->until = want->offset + want->credit;
            partflow_on_want(m->to->flow, m->from, want);
        }
        for (size_t i = 0; i < f->n_chunks; i++)
            partflow_on_chunk(m->to->flow, m->from, f->chunks[i]);
    }
    pb_free(pb);
}

/* Checks at the sender's side that no chunk is beyond what was granted. */
static void check_credit(struct world *w, const struct message *m, const Sp__Frame *f)
{
    for (size_t i = 0; i < f->n_chunks; i++) {
        const Sp__PartChunk *c = f->chunks[i];

        for (size_t k = 0; k < 3; k++) {
            struct node *n = &w->nodes[k];

            if (strcmp(n->name, m->from) != 0)
                continue;
            n->chunks++;
            w->over_credit += c->offset + c->data.len > asked_of(n, c->sha256)->until;
        }
        cr_assert_leq(c->data.len, LIMIT_CHUNK);
    }
}

/* Delivers what is on the way now. True when there was something. */
static bool pump(struct world *w)
{
    struct message *m;
    bool any = false;

    while ((m = take(w)) != NULL) {
        enum fate fate = DELIVER;
        struct message *late = w->late;
        struct pb *pb;

        any = true;
        cr_assert_eq(pb_decode(&sp__frame__descriptor, buf_span(&m->frame), LIMIT_FRAME, &pb),
                     ERR_OK);
        check_credit(w, m, pb_view(pb));
        if (w->fate != NULL)
            fate = w->fate(w, m, pb_view(pb));
        pb_free(pb);
        w->late = NULL;
        if (fate == LATER) {
            w->late = m;
        } else {
            if (fate != LOSE)
                hand_over(w, m);
            if (fate == TWICE)
                hand_over(w, m);
            message_free(m);
        }
        if (late != NULL) {
            hand_over(w, late);
            message_free(late);
        }
    }
    return any;
}

static uint64_t real_ms(void)
{
    return env_mono_ms(env_system());
}

static size_t done_count(struct node *n)
{
    size_t count;

    pthread_mutex_lock(&n->world->lock);
    count = n->n_done;
    pthread_mutex_unlock(&n->world->lock);
    return count;
}

static void pause_a_little(void)
{
    struct timespec t = {.tv_nsec = 500000};

    (void)nanosleep(&t, NULL);
}

#define AWAIT(w, condition)                                         \
    do {                                                            \
        uint64_t end_ = real_ms() + DEADLINE_MS;                    \
        while (!(condition)) {                                      \
            cr_assert_lt(real_ms(), end_, "never: %s", #condition); \
            if (!pump(w))                                           \
                pause_a_little();                                   \
        }                                                           \
    } while (0)

/* Moves the clock, and makes the threads look at it. */
static void advance(struct world *w, uint64_t ms)
{
    clock_ms += ms;
    for (size_t i = 0; i < 3; i++)
        partflow_peer_up(w->nodes[i].flow, "nobody");
}

/* Returns when `n` has handled all that it was told before: it answers a want for an offer. */
static void settle(struct world *w, struct node *n)
{
    static uint64_t tag;
    struct digest d;
    size_t before = done_count(n);
    struct span bytes;
    struct part_writer *pw;
    uint64_t len;

    tag++;
    bytes = span_of(&tag, sizeof tag);
    cr_assert_eq(part_writer_new(n->dir, env_system(), &pw), ERR_OK);
    cr_assert_eq(part_writer_put(pw, bytes), ERR_OK);
    cr_assert_eq(part_writer_finish(pw, &d, &len), ERR_OK);
    part_writer_free(pw);
    cr_assert_eq(partflow_want(n->flow, "nobody", &d, len), ERR_OK);
    AWAIT(w, done_count(n) == before + 1);
    pthread_mutex_lock(&w->lock);
    cr_assert(digest_equal(&n->done[before], &d));
    cr_assert_eq(n->result[before], ERR_OK);
    n->n_done = before;
    pthread_mutex_unlock(&w->lock);
    pump(w);
}

static struct digest make_part(struct node *n, uint32_t seed, size_t len)
{
    struct part_writer *w;
    struct digest d;
    uint64_t got;
    uint8_t *block = malloc(LIMIT_CHUNK);

    cr_assert_not_null(block);
    cr_assert_eq(part_writer_new(n->dir, env_system(), &w), ERR_OK);
    for (size_t at = 0; at < len; at += LIMIT_CHUNK) {
        for (size_t i = 0; i < LIMIT_CHUNK; i++) {
            seed = seed * 1664525 + 1013904223;
            block[i] = (uint8_t)(seed >> 24);
        }
        cr_assert_eq(
            part_writer_put(w, span_of(block, len - at < LIMIT_CHUNK ? len - at : LIMIT_CHUNK)),
            ERR_OK);
    }
    cr_assert_eq(part_writer_finish(w, &d, &got), ERR_OK);
    part_writer_free(w);
    free(block);
    return d;
}

static struct digest offer_part(struct world *w, uint32_t seed, size_t len)
{
    struct digest d = make_part(&w->nodes[1], seed, len);

    cr_assert_eq(partflow_offer(w->nodes[1].flow, "receiver", &d, len), ERR_OK);
    return d;
}

static void expect_done(struct node *n, const struct digest *d, enum err result)
{
    cr_assert_eq(n->n_done, 1);
    cr_assert(digest_equal(&n->done[0], d));
    cr_assert_eq(n->result[0], result, "%s", err_code(n->result[0]));
}

#endif
