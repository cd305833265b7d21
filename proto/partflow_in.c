#include "proto/partflow_internal.h"

#include <stdlib.h>
#include <string.h>

#define REPEAT_MS 10000 /* a want without progress is sent again */

struct partflow_want *partflow_find_want(struct partflow *f, const struct digest *sha256)
{
    struct partflow_want *w = f->wants;

    while (w != NULL && !digest_equal(&w->sha256, sha256))
        w = w->next;
    return w;
}

static void forget_one(struct partflow *f)
{
    pthread_mutex_lock(&f->lock);
    f->n_wants--;
    pthread_mutex_unlock(&f->lock);
}

void partflow_remove_want(struct partflow *f, struct partflow_want *gone)
{
    struct partflow_want **at = &f->wants;

    pthread_mutex_lock(&f->lock);
    while (*at != gone)
        at = &(*at)->next;
    *at = gone->next;
    f->n_wants--;
    pthread_mutex_unlock(&f->lock);
    part_receiver_free(gone->receiver);
    free(gone);
}

static void done(struct partflow *f, struct partflow_want *w, enum err result)
{
    struct digest sha256 = w->sha256;

    partflow_remove_want(f, w);
    f->ops.done(f->ops.ctx, &sha256, result);
}

static void set_received(struct partflow *f, struct partflow_want *w)
{
    pthread_mutex_lock(&f->lock);
    w->received = part_receiver_offset(w->receiver);
    pthread_mutex_unlock(&f->lock);
}

/* Asks for what comes next. `again`: what was granted before was lost on the way. The sender knows
 * this by an end that is not beyond the one before. */
static void ask(struct partflow *f, struct partflow_want *w, bool again)
{
    Sp__PartWant want = SP__PART_WANT__INIT;
    Sp__PartWant *wants[] = {&want};
    Sp__Frame frame = SP__FRAME__INIT;
    struct buf out;

    want.sha256 = pb_bytes(digest_span(&w->sha256));
    want.offset = part_receiver_offset(w->receiver);
    if (!again || w->granted <= want.offset || w->granted - want.offset > LIMIT_CREDIT)
        w->granted = want.offset + LIMIT_CREDIT;
    want.credit = (uint32_t)(w->granted - want.offset);
    frame.part_wants = wants;
    frame.n_part_wants = 1;
    buf_init(&out, LIMIT_FRAME);
    pb_encode(&frame, &out);
    w->asked_ms = env_mono_ms(f->env);
    f->ops.send(f->ops.ctx, w->peer, &out);
}

/* Finishes the part when all has come. True when it ended. */
static bool finish(struct partflow *f, struct partflow_want *w)
{
    if (part_receiver_offset(w->receiver) != w->len)
        return false;
    done(f, w, part_receiver_finish(w->receiver));
    return true;
}

/* A peer that is away keeps its turn only while nobody else waits for one. */
static bool give_way(struct partflow *f)
{
    for (struct partflow_want *w = f->wants; w != NULL; w = w->next) {
        if (w->receiver != NULL && !w->peer_up) {
            part_receiver_free(w->receiver);
            w->receiver = NULL;
            return true;
        }
    }
    return false;
}

/* True when it took a turn. */
static bool start(struct partflow *f, struct partflow_want *w)
{
    enum err e;

    if (part_dir_has(f->dir, &w->sha256, w->len)) {
        done(f, w, ERR_OK);
        return false;
    }
    e = part_receiver_new(f->dir, &w->sha256, w->len, &w->receiver);
    if (e != ERR_OK) {
        done(f, w, e);
        return false;
    }
    set_received(f, w);
    w->progress_ms = env_mono_ms(f->env);
    if (finish(f, w))
        return false;
    ask(f, w, true);
    return true;
}

void partflow_activate(struct partflow *f)
{
    size_t active = 0;
    struct partflow_want *next;

    for (struct partflow_want *w = f->wants; w != NULL; w = w->next)
        active += w->receiver != NULL;
    for (struct partflow_want *w = f->wants; w != NULL; w = next) {
        next = w->next;
        if (w->receiver != NULL || !w->peer_up)
            continue;
        if (active >= PARTFLOW_ACTIVE_MAX) {
            if (!give_way(f))
                return;
            active--;
        }
        active += start(f, w);
    }
}

/* Known already: another source, and the time starts anew. */
static void change_source(struct partflow *f, struct partflow_want *w,
                          const struct partflow_input *in)
{
    bool other = strcmp(w->peer, in->peer) != 0;

    forget_one(f);
    w->progress_ms = env_mono_ms(f->env);
    if (other) {
        memcpy(w->peer, in->peer, sizeof w->peer);
        w->granted = 0;
        w->gap_at = UINT64_MAX;
    }
    if (w->receiver != NULL && (other || !w->peer_up))
        ask(f, w, true);
    w->peer_up = true;
}

void partflow_take_want(struct partflow *f, const struct partflow_input *in)
{
    struct partflow_want **last = &f->wants;
    struct partflow_want *w = partflow_find_want(f, &in->sha256);

    if (w != NULL) {
        change_source(f, w, in);
        return;
    }
    if (part_dir_has(f->dir, &in->sha256, in->len)) {
        forget_one(f);
        f->ops.done(f->ops.ctx, &in->sha256, ERR_OK);
        return;
    }
    w = calloc(1, sizeof *w);
    if (w == NULL) {
        forget_one(f);
        f->ops.done(f->ops.ctx, &in->sha256, ERR_NO_MEMORY);
        return;
    }
    memcpy(w->peer, in->peer, sizeof w->peer);
    w->sha256 = in->sha256;
    w->len = in->len;
    w->gap_at = UINT64_MAX;
    w->peer_up = true;
    w->progress_ms = env_mono_ms(f->env);
    /* At the end: they get their turns in the order in which they came. */
    while (*last != NULL)
        last = &(*last)->next;
    pthread_mutex_lock(&f->lock);
    *last = w;
    pthread_mutex_unlock(&f->lock);
}

void partflow_take_chunk(struct partflow *f, const struct partflow_input *in)
{
    struct partflow_want *w = partflow_find_want(f, &in->sha256);
    enum err e;

    /* Late chunks of an earlier source or connection are no error: they are not needed. */
    if (w == NULL || w->receiver == NULL || strcmp(w->peer, in->peer) != 0)
        return;
    if (in->offset != w->received) {
        /* One before it was dropped: ask once, the others that are on their way say nothing new. */
        if (in->offset > w->received && in->offset < w->granted && w->gap_at != w->received) {
            w->gap_at = w->received;
            ask(f, w, true);
        }
        return;
    }
    if (w->granted - w->received < in->data.len)
        return; /* more than it was asked for */
    e = part_receiver_put(w->receiver, in->offset, buf_span(&in->data));
    if (e == ERR_TOO_LARGE) {
        /* Not the part that it should be, so what came before is not to be resumed either. */
        e = part_dir_remove(f->dir, &w->sha256);
        done(f, w, e == ERR_OK ? ERR_BAD_DIGEST : e);
        return;
    }
    if (e != ERR_OK) {
        done(f, w, e);
        return;
    }
    w->progress_ms = env_mono_ms(f->env);
    set_received(f, w);
    if (!finish(f, w) && w->granted < w->len && w->granted - w->received <= LIMIT_CREDIT / 2)
        ask(f, w, false);
}

void partflow_wants_of_peer(struct partflow *f, const char *peer, bool up)
{
    for (struct partflow_want *w = f->wants; w != NULL; w = w->next) {
        if (strcmp(w->peer, peer) != 0)
            continue;
        w->peer_up = up;
        w->gap_at = UINT64_MAX;
        w->progress_ms = env_mono_ms(f->env);
        if (up && w->receiver != NULL)
            ask(f, w, true);
    }
}

void partflow_watch_time(struct partflow *f)
{
    uint64_t now = env_mono_ms(f->env);
    struct partflow_want *next;

    for (struct partflow_want *w = f->wants; w != NULL; w = next) {
        next = w->next;
        if (w->receiver == NULL && w->peer_up)
            continue; /* waits for its turn */
        if (now - w->progress_ms >= PARTFLOW_STALL_MS)
            done(f, w, ERR_TIMEOUT);
        else if (w->peer_up && now - w->progress_ms >= REPEAT_MS && now - w->asked_ms >= REPEAT_MS)
            ask(f, w, true);
    }
}
