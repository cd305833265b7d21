#include "proto/partflow.h"

#include "common/limits.h"
#include "proto/pb.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define INPUT_BYTES_MAX (32 * LIMIT_MIB) /* chunks not written yet; above it they are dropped */
#define OFFERS_MAX 4096
#define REPEAT_MS 10000 /* a want without progress is sent again */
#define TICK_MS 1000
#define CONGESTED_MS 5

enum input_kind {
    INPUT_WANT_LOCAL,
    INPUT_CANCEL,
    INPUT_OFFER,
    INPUT_WITHDRAW,
    INPUT_WANT,
    INPUT_CHUNK,
    INPUT_DOWN,
    INPUT_UP,
};

struct input {
    struct input *next;
    enum input_kind kind;
    char peer[LIMIT_PEER];
    struct digest sha256;
    uint64_t len;
    uint64_t offset;
    uint64_t credit;
    struct buf data;
};

/* A part that we fetch. */
struct want {
    struct want *next;
    char peer[LIMIT_PEER];
    struct digest sha256;
    uint64_t len;
    uint64_t received; /* read under the lock by partflow_received */
    uint64_t granted;  /* the peer may send up to here */
    uint64_t asked_ms;
    uint64_t progress_ms;
    bool peer_up;
    struct part_receiver *receiver; /* NULL while it waits for its turn */
};

/* A part that a peer may fetch, and how far it is. */
struct offer {
    struct offer *next;
    char peer[LIMIT_PEER];
    struct digest sha256;
    uint64_t len;
    uint64_t asked;  /* offset of its last want; UINT64_MAX: none yet */
    uint64_t offset; /* next to be sent */
    uint64_t until;
};

struct partflow {
    struct part_dir *dir;
    const struct env *env;
    struct partflow_ops ops;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct input *first;
    struct input **last;
    size_t input_bytes;
    bool stopping;
    size_t n_wants; /* also those still in the inputs */
    size_t n_offers;
    struct want *wants;   /* changed by the thread, under the lock */
    struct offer *offers; /* the thread's own */
    uint8_t *block;
};

static void push(struct partflow *f, struct input *in)
{
    pthread_mutex_lock(&f->lock);
    f->input_bytes += in->data.len;
    *f->last = in;
    f->last = &in->next;
    pthread_cond_signal(&f->work);
    pthread_mutex_unlock(&f->lock);
}

static struct input *input_new(enum input_kind kind, const char *peer, const struct digest *sha256)
{
    struct input *in = calloc(1, sizeof *in);

    if (in == NULL)
        return NULL;
    in->kind = kind;
    if (peer != NULL && strlen(peer) < sizeof in->peer)
        memcpy(in->peer, peer, strlen(peer) + 1);
    if (sha256 != NULL)
        in->sha256 = *sha256;
    return in;
}

static void input_free(struct input *in)
{
    buf_fini(&in->data);
    free(in);
}

static struct want *find_want(struct partflow *f, const struct digest *sha256)
{
    struct want *w = f->wants;

    while (w != NULL && !digest_equal(&w->sha256, sha256))
        w = w->next;
    return w;
}

static void remove_want(struct partflow *f, struct want *gone)
{
    struct want **at = &f->wants;

    pthread_mutex_lock(&f->lock);
    while (*at != gone)
        at = &(*at)->next;
    *at = gone->next;
    f->n_wants--;
    pthread_mutex_unlock(&f->lock);
    part_receiver_free(gone->receiver);
    free(gone);
}

static void done(struct partflow *f, struct want *w, enum err result)
{
    struct digest sha256 = w->sha256;

    remove_want(f, w);
    f->ops.done(f->ops.ctx, &sha256, result);
}

static void send_want(struct partflow *f, struct want *w)
{
    Sp__PartWant want = SP__PART_WANT__INIT;
    Sp__PartWant *wants[] = {&want};
    Sp__Frame frame = SP__FRAME__INIT;
    struct buf out;

    want.sha256 = pb_bytes(digest_span(&w->sha256));
    want.offset = part_receiver_offset(w->receiver);
    want.credit = (uint32_t)LIMIT_CREDIT;
    frame.part_wants = wants;
    frame.n_part_wants = 1;
    buf_init(&out, LIMIT_FRAME);
    pb_encode(&frame, &out);
    w->granted = want.offset + want.credit;
    w->asked_ms = env_mono_ms(f->env);
    f->ops.send(f->ops.ctx, w->peer, &out);
}

/* Finishes the part when all has come. True when it ended. */
static bool finish(struct partflow *f, struct want *w)
{
    if (part_receiver_offset(w->receiver) != w->len)
        return false;
    done(f, w, part_receiver_finish(w->receiver));
    return true;
}

/* Gives waiting wants their turn. */
static void activate(struct partflow *f)
{
    size_t active = 0;
    struct want *next;

    for (struct want *w = f->wants; w != NULL; w = w->next)
        active += w->receiver != NULL;
    for (struct want *w = f->wants; w != NULL && active < PARTFLOW_ACTIVE_MAX; w = next) {
        enum err e;

        next = w->next;
        if (w->receiver != NULL || !w->peer_up)
            continue;
        if (part_dir_has(f->dir, &w->sha256, w->len)) {
            done(f, w, ERR_OK);
            continue;
        }
        e = part_receiver_new(f->dir, &w->sha256, w->len, &w->receiver);
        if (e != ERR_OK) {
            done(f, w, e);
            continue;
        }
        active++;
        w->progress_ms = env_mono_ms(f->env);
        if (!finish(f, w))
            send_want(f, w);
    }
}

static void on_want_local(struct partflow *f, const struct input *in)
{
    struct want *w = find_want(f, &in->sha256);

    if (w != NULL) {
        /* Known already: another source, and the time starts anew. */
        pthread_mutex_lock(&f->lock);
        f->n_wants--;
        pthread_mutex_unlock(&f->lock);
        w->progress_ms = env_mono_ms(f->env);
        w->peer_up = true;
        if (strcmp(w->peer, in->peer) != 0) {
            memcpy(w->peer, in->peer, sizeof w->peer);
            if (w->receiver != NULL)
                send_want(f, w);
        }
        return;
    }
    w = calloc(1, sizeof *w);
    if (w == NULL) {
        pthread_mutex_lock(&f->lock);
        f->n_wants--;
        pthread_mutex_unlock(&f->lock);
        f->ops.done(f->ops.ctx, &in->sha256, ERR_NO_MEMORY);
        return;
    }
    memcpy(w->peer, in->peer, sizeof w->peer);
    w->sha256 = in->sha256;
    w->len = in->len;
    w->peer_up = true;
    w->progress_ms = env_mono_ms(f->env);
    pthread_mutex_lock(&f->lock);
    w->next = f->wants;
    f->wants = w;
    pthread_mutex_unlock(&f->lock);
}

static void on_chunk_in(struct partflow *f, const struct input *in)
{
    struct want *w = find_want(f, &in->sha256);
    enum err e;

    /* Late chunks of an earlier source or connection are no error: they are not needed. */
    if (w == NULL || w->receiver == NULL || strcmp(w->peer, in->peer) != 0 ||
        in->offset != part_receiver_offset(w->receiver))
        return;
    e = part_receiver_put(w->receiver, in->offset, buf_span(&in->data));
    if (e != ERR_OK) {
        done(f, w, e == ERR_TOO_LARGE ? ERR_BAD_DIGEST : e);
        return;
    }
    w->progress_ms = env_mono_ms(f->env);
    pthread_mutex_lock(&f->lock);
    w->received = part_receiver_offset(w->receiver);
    pthread_mutex_unlock(&f->lock);
    if (!finish(f, w) && w->granted < w->len && w->granted - w->received <= LIMIT_CREDIT / 2)
        send_want(f, w);
}

static struct offer *find_offer(struct partflow *f, const char *peer, const struct digest *sha256)
{
    struct offer *o = f->offers;

    while (o != NULL && (!digest_equal(&o->sha256, sha256) || strcmp(o->peer, peer) != 0))
        o = o->next;
    return o;
}

static void on_offer(struct partflow *f, const struct input *in)
{
    struct offer *o;

    if (find_offer(f, in->peer, &in->sha256) != NULL)
        return;
    o = calloc(1, sizeof *o);
    if (o == NULL)
        return; /* the peer's want finds nothing and is repeated with the transfer */
    memcpy(o->peer, in->peer, sizeof o->peer);
    o->sha256 = in->sha256;
    o->len = in->len;
    o->asked = UINT64_MAX;
    o->next = f->offers;
    f->offers = o;
    f->n_offers++;
}

static void on_want_in(struct partflow *f, const struct input *in)
{
    struct offer *o = find_offer(f, in->peer, &in->sha256);

    if (o == NULL || in->offset > o->len)
        return;
    /* A want that does not move on asks for a repetition; one that does extends the credit. */
    if (o->asked == UINT64_MAX || in->offset <= o->asked || in->offset > o->offset)
        o->offset = in->offset;
    o->asked = in->offset;
    o->until = in->credit > o->len - in->offset ? o->len : in->offset + in->credit;
}

/* Removes the offers to `peer`, all or the one of this digest. */
static void remove_offers(struct partflow *f, const char *peer, const struct digest *sha256)
{
    struct offer **at = &f->offers;

    while (*at != NULL) {
        struct offer *o = *at;

        if (strcmp(o->peer, peer) == 0 && (sha256 == NULL || digest_equal(&o->sha256, sha256))) {
            *at = o->next;
            free(o);
            f->n_offers--;
        } else {
            at = &o->next;
        }
    }
}

static void on_peer(struct partflow *f, const char *peer, bool up)
{
    if (!up)
        remove_offers(f, peer, NULL);
    for (struct want *w = f->wants; w != NULL; w = w->next) {
        if (strcmp(w->peer, peer) != 0)
            continue;
        w->peer_up = up;
        w->progress_ms = env_mono_ms(f->env);
        if (up && w->receiver != NULL)
            send_want(f, w);
    }
}

static void handle(struct partflow *f, struct input *in)
{
    struct want *w;

    switch (in->kind) {
    case INPUT_WANT_LOCAL:
        on_want_local(f, in);
        break;
    case INPUT_CANCEL:
        w = find_want(f, &in->sha256);
        if (w != NULL)
            remove_want(f, w);
        break;
    case INPUT_OFFER:
        if (f->n_offers < OFFERS_MAX)
            on_offer(f, in);
        break;
    case INPUT_WITHDRAW:
        remove_offers(f, in->peer, &in->sha256);
        break;
    case INPUT_WANT:
        on_want_in(f, in);
        break;
    case INPUT_CHUNK:
        on_chunk_in(f, in);
        break;
    case INPUT_DOWN:
        on_peer(f, in->peer, false);
        break;
    case INPUT_UP:
        on_peer(f, in->peer, true);
        break;
    }
}

static void send_chunk(struct partflow *f, struct offer *o)
{
    Sp__PartChunk chunk = SP__PART_CHUNK__INIT;
    Sp__PartChunk *chunks[] = {&chunk};
    Sp__Frame frame = SP__FRAME__INIT;
    uint64_t left = o->until - o->offset;
    size_t want = left < LIMIT_CHUNK ? (size_t)left : LIMIT_CHUNK;
    struct buf out;
    size_t got;

    if (part_dir_read(f->dir, &o->sha256, o->offset, f->block, want, &got) != ERR_OK || got == 0) {
        o->until = o->offset; /* gone: the peer's wait ends with its time-out */
        return;
    }
    chunk.sha256 = pb_bytes(digest_span(&o->sha256));
    chunk.offset = o->offset;
    chunk.data = pb_bytes(span_of(f->block, got));
    frame.chunks = chunks;
    frame.n_chunks = 1;
    buf_init(&out, LIMIT_FRAME);
    pb_encode(&frame, &out);
    f->ops.send(f->ops.ctx, o->peer, &out);
    o->offset += got;
}

/* One chunk of each part that has credit: nobody waits for another's end. True when more could be
 * sent. */
static bool serve(struct partflow *f, bool *congested)
{
    bool more = false;

    *congested = false;
    for (struct offer *o = f->offers; o != NULL; o = o->next) {
        if (o->offset >= o->until)
            continue;
        if (!f->ops.can_send(f->ops.ctx)) {
            *congested = true;
            return true;
        }
        send_chunk(f, o);
        more |= o->offset < o->until;
    }
    return more;
}

static void watch_time(struct partflow *f)
{
    uint64_t now = env_mono_ms(f->env);
    struct want *next;

    for (struct want *w = f->wants; w != NULL; w = next) {
        next = w->next;
        if (w->receiver == NULL && w->peer_up)
            continue; /* waits for its turn */
        if (now - w->progress_ms >= PARTFLOW_STALL_MS)
            done(f, w, ERR_TIMEOUT);
        else if (w->peer_up && now - w->progress_ms >= REPEAT_MS && now - w->asked_ms >= REPEAT_MS)
            send_want(f, w);
    }
}

static void wait_for_work(struct partflow *f, uint64_t ms)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += (time_t)(ms / 1000);
    t.tv_nsec += (long)(ms % 1000) * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    pthread_cond_timedwait(&f->work, &f->lock, &t);
}

static void *partflow_main(void *arg)
{
    struct partflow *f = arg;
    bool more = false;
    bool congested = false;

    pthread_mutex_lock(&f->lock);
    while (!f->stopping) {
        struct input *in;

        if (f->first == NULL && (!more || congested))
            wait_for_work(f, congested ? CONGESTED_MS : TICK_MS);
        in = f->first;
        f->first = NULL;
        f->last = &f->first;
        f->input_bytes = 0;
        pthread_mutex_unlock(&f->lock);
        while (in != NULL) {
            struct input *gone = in;

            handle(f, in);
            in = in->next;
            input_free(gone);
        }
        activate(f);
        watch_time(f);
        more = serve(f, &congested);
        pthread_mutex_lock(&f->lock);
    }
    pthread_mutex_unlock(&f->lock);
    return NULL;
}

enum err partflow_new(struct part_dir *dir, const struct env *env, const struct partflow_ops *ops,
                      struct partflow **ret)
{
    struct partflow *f = calloc(1, sizeof *f);
    pthread_condattr_t a;

    if (f == NULL)
        return ERR_NO_MEMORY;
    f->block = malloc(LIMIT_CHUNK);
    if (f->block == NULL) {
        free(f);
        return ERR_NO_MEMORY;
    }
    f->dir = dir;
    f->env = env;
    f->ops = *ops;
    f->last = &f->first;
    pthread_mutex_init(&f->lock, NULL);
    pthread_condattr_init(&a);
    pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
    pthread_cond_init(&f->work, &a);
    pthread_condattr_destroy(&a);
    if (pthread_create(&f->thread, NULL, partflow_main, f) != 0) {
        pthread_cond_destroy(&f->work);
        pthread_mutex_destroy(&f->lock);
        free(f->block);
        free(f);
        return ERR_IO;
    }
    *ret = f;
    return ERR_OK;
}

void partflow_free(struct partflow *f)
{
    struct input *in;
    struct want *w;
    struct offer *o;

    if (f == NULL)
        return;
    pthread_mutex_lock(&f->lock);
    f->stopping = true;
    pthread_cond_signal(&f->work);
    pthread_mutex_unlock(&f->lock);
    pthread_join(f->thread, NULL);
    while ((in = f->first) != NULL) {
        f->first = in->next;
        input_free(in);
    }
    while ((w = f->wants) != NULL) {
        f->wants = w->next;
        part_receiver_free(w->receiver);
        free(w);
    }
    while ((o = f->offers) != NULL) {
        f->offers = o->next;
        free(o);
    }
    pthread_cond_destroy(&f->work);
    pthread_mutex_destroy(&f->lock);
    free(f->block);
    free(f);
}

enum err partflow_want(struct partflow *f, const char *peer, const struct digest *sha256,
                       uint64_t len)
{
    struct input *in = input_new(INPUT_WANT_LOCAL, peer, sha256);
    bool full;

    if (in == NULL)
        return ERR_NO_MEMORY;
    pthread_mutex_lock(&f->lock);
    full = f->n_wants >= PARTFLOW_WANTS_MAX;
    if (!full)
        f->n_wants++;
    pthread_mutex_unlock(&f->lock);
    if (full) {
        input_free(in);
        return ERR_FULL;
    }
    in->len = len;
    push(f, in);
    return ERR_OK;
}

void partflow_cancel(struct partflow *f, const struct digest *sha256)
{
    struct input *in = input_new(INPUT_CANCEL, NULL, sha256);

    if (in != NULL)
        push(f, in);
}

enum err partflow_offer(struct partflow *f, const char *peer, const struct digest *sha256,
                        uint64_t len)
{
    struct input *in = input_new(INPUT_OFFER, peer, sha256);

    if (in == NULL)
        return ERR_NO_MEMORY;
    in->len = len;
    push(f, in);
    return ERR_OK;
}

void partflow_withdraw(struct partflow *f, const char *peer, const struct digest *sha256)
{
    struct input *in = input_new(INPUT_WITHDRAW, peer, sha256);

    if (in != NULL)
        push(f, in);
}

void partflow_on_want(struct partflow *f, const char *peer, const Sp__PartWant *want)
{
    struct input *in;

    if (want->sha256.len != sizeof(struct digest) || want->credit > LIMIT_CREDIT)
        return;
    in = input_new(INPUT_WANT, peer, NULL);
    if (in == NULL)
        return;
    memcpy(in->sha256.b, want->sha256.data, sizeof in->sha256.b);
    in->offset = want->offset;
    in->credit = want->credit;
    push(f, in);
}

void partflow_on_chunk(struct partflow *f, const char *peer, const Sp__PartChunk *chunk)
{
    struct input *in;
    bool full;

    if (chunk->sha256.len != sizeof(struct digest) || chunk->data.len == 0 ||
        chunk->data.len > LIMIT_CHUNK)
        return;
    pthread_mutex_lock(&f->lock);
    full = f->input_bytes + chunk->data.len > INPUT_BYTES_MAX;
    pthread_mutex_unlock(&f->lock);
    in = full ? NULL : input_new(INPUT_CHUNK, peer, NULL);
    if (in == NULL)
        return; /* dropped: the want is repeated when nothing moves */
    memcpy(in->sha256.b, chunk->sha256.data, sizeof in->sha256.b);
    in->offset = chunk->offset;
    buf_init(&in->data, LIMIT_CHUNK);
    buf_put(&in->data, pb_span(chunk->data));
    push(f, in);
}

void partflow_peer_down(struct partflow *f, const char *peer)
{
    struct input *in = input_new(INPUT_DOWN, peer, NULL);

    if (in != NULL)
        push(f, in);
}

void partflow_peer_up(struct partflow *f, const char *peer)
{
    struct input *in = input_new(INPUT_UP, peer, NULL);

    if (in != NULL)
        push(f, in);
}

uint64_t partflow_received(struct partflow *f, const struct digest *sha256)
{
    const struct want *w;
    uint64_t received;

    pthread_mutex_lock(&f->lock);
    w = find_want(f, sha256);
    received = w == NULL ? 0 : w->received;
    pthread_mutex_unlock(&f->lock);
    return received;
}
