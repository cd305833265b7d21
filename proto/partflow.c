#include "proto/partflow_internal.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define INPUT_BYTES_MAX (32 * LIMIT_MIB) /* not handled yet; above it what peers say is dropped */
#define TICK_MS 1000                     /* while something is wanted */
#define CONGESTED_MS 5

static size_t input_bytes(const struct partflow_input *in)
{
    return sizeof *in + in->data.len;
}

static void push(struct partflow *f, struct partflow_input *in)
{
    pthread_mutex_lock(&f->lock);
    f->input_bytes += input_bytes(in);
    *f->last = in;
    f->last = &in->next;
    pthread_cond_signal(&f->work);
    pthread_mutex_unlock(&f->lock);
}

static struct partflow_input *input_new(enum partflow_input_kind kind, const char *peer,
                                        const struct digest *sha256)
{
    struct partflow_input *in = calloc(1, sizeof *in);

    if (in == NULL)
        return NULL;
    in->kind = kind;
    if (peer != NULL && strlen(peer) < sizeof in->peer)
        memcpy(in->peer, peer, strlen(peer) + 1);
    if (sha256 != NULL)
        in->sha256 = *sha256;
    return in;
}

static void input_free(struct partflow_input *in)
{
    buf_fini(&in->data);
    free(in);
}

static void handle(struct partflow *f, struct partflow_input *in)
{
    struct partflow_want *w;

    switch (in->kind) {
    case INPUT_WANT_LOCAL:
        partflow_take_want(f, in);
        break;
    case INPUT_CANCEL:
        w = partflow_find_want(f, &in->sha256);
        if (w != NULL)
            partflow_remove_want(f, w);
        break;
    case INPUT_OFFER:
        partflow_take_offer(f, in);
        break;
    case INPUT_WITHDRAW:
        partflow_remove_offers(f, in->peer, &in->sha256);
        break;
    case INPUT_WANT:
        partflow_take_ask(f, in);
        break;
    case INPUT_CHUNK:
        partflow_take_chunk(f, in);
        break;
    case INPUT_DOWN:
        partflow_remove_offers(f, in->peer, NULL);
        partflow_wants_of_peer(f, in->peer, false);
        break;
    case INPUT_UP:
        partflow_wants_of_peer(f, in->peer, true);
        break;
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
        struct partflow_input *in;

        if (f->first == NULL && congested)
            wait_for_work(f, CONGESTED_MS);
        else if (f->first == NULL && !more && f->n_wants > 0)
            wait_for_work(f, TICK_MS);
        while (f->first == NULL && !more && f->n_wants == 0 && !f->stopping)
            pthread_cond_wait(&f->work, &f->lock);
        in = f->first;
        f->first = NULL;
        f->last = &f->first;
        f->input_bytes = 0;
        pthread_mutex_unlock(&f->lock);
        while (in != NULL) {
            struct partflow_input *gone = in;

            handle(f, in);
            in = in->next;
            input_free(gone);
        }
        partflow_activate(f);
        partflow_watch_time(f);
        more = partflow_serve(f, &congested);
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
    struct partflow_input *in;
    struct partflow_want *w;
    struct partflow_offer *o;

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

/* Takes one of `max` places. */
static enum err take_place(struct partflow *f, size_t *count, size_t max)
{
    bool full;

    pthread_mutex_lock(&f->lock);
    full = *count >= max;
    if (!full)
        ++*count;
    pthread_mutex_unlock(&f->lock);
    return full ? ERR_FULL : ERR_OK;
}

enum err partflow_want(struct partflow *f, const char *peer, const struct digest *sha256,
                       uint64_t len)
{
    struct partflow_input *in = input_new(INPUT_WANT_LOCAL, peer, sha256);

    if (in == NULL)
        return ERR_NO_MEMORY;
    if (take_place(f, &f->n_wants, PARTFLOW_WANTS_MAX) != ERR_OK) {
        input_free(in);
        return ERR_FULL;
    }
    in->len = len;
    push(f, in);
    return ERR_OK;
}

void partflow_cancel(struct partflow *f, const struct digest *sha256)
{
    struct partflow_input *in = input_new(INPUT_CANCEL, NULL, sha256);

    if (in != NULL)
        push(f, in);
}

enum err partflow_offer(struct partflow *f, const char *peer, const struct digest *sha256,
                        uint64_t len)
{
    struct partflow_input *in = input_new(INPUT_OFFER, peer, sha256);

    if (in == NULL)
        return ERR_NO_MEMORY;
    if (take_place(f, &f->n_offers, PARTFLOW_OFFERS_MAX) != ERR_OK) {
        input_free(in);
        return ERR_FULL;
    }
    in->len = len;
    push(f, in);
    return ERR_OK;
}

void partflow_withdraw(struct partflow *f, const char *peer, const struct digest *sha256)
{
    struct partflow_input *in = input_new(INPUT_WITHDRAW, peer, sha256);

    if (in != NULL)
        push(f, in);
}

/* An input from a peer, or NULL: what it says is dropped, and repeated when nothing moves. */
static struct partflow_input *heard(struct partflow *f, enum partflow_input_kind kind,
                                    const char *peer, ProtobufCBinaryData sha256, size_t data)
{
    struct partflow_input *in;
    bool full;

    if (sha256.len != sizeof(struct digest))
        return NULL;
    pthread_mutex_lock(&f->lock);
    full = f->input_bytes + sizeof *in + data > INPUT_BYTES_MAX;
    pthread_mutex_unlock(&f->lock);
    in = full ? NULL : input_new(kind, peer, NULL);
    if (in != NULL)
        memcpy(in->sha256.b, sha256.data, sizeof in->sha256.b);
    return in;
}

void partflow_on_want(struct partflow *f, const char *peer, const Sp__PartWant *want)
{
    struct partflow_input *in = heard(f, INPUT_WANT, peer, want->sha256, 0);

    if (in == NULL)
        return;
    in->offset = want->offset;
    in->credit = want->credit > LIMIT_CREDIT ? LIMIT_CREDIT : want->credit;
    push(f, in);
}

void partflow_on_chunk(struct partflow *f, const char *peer, const Sp__PartChunk *chunk)
{
    struct partflow_input *in;

    if (chunk->data.len == 0 || chunk->data.len > LIMIT_CHUNK)
        return;
    in = heard(f, INPUT_CHUNK, peer, chunk->sha256, chunk->data.len);
    if (in == NULL)
        return;
    in->offset = chunk->offset;
    buf_init(&in->data, LIMIT_CHUNK);
    buf_put(&in->data, pb_span(chunk->data));
    if (in->data.err == ERR_OK)
        push(f, in);
    else
        input_free(in);
}

void partflow_peer_down(struct partflow *f, const char *peer)
{
    struct partflow_input *in = input_new(INPUT_DOWN, peer, NULL);

    if (in != NULL)
        push(f, in);
}

void partflow_peer_up(struct partflow *f, const char *peer)
{
    struct partflow_input *in = input_new(INPUT_UP, peer, NULL);

    if (in != NULL)
        push(f, in);
}

uint64_t partflow_received(struct partflow *f, const struct digest *sha256)
{
    const struct partflow_want *w;
    uint64_t received;

    pthread_mutex_lock(&f->lock);
    w = partflow_find_want(f, sha256);
    received = w == NULL ? 0 : w->received;
    pthread_mutex_unlock(&f->lock);
    return received;
}
