#include "common/shell_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Wakes the net thread, whether it waits for sockets or for room. Holds the lock. */
void shell_poke_net(struct shell *s)
{
    if (s->net != NULL)
        net_wake(s->net);
    pthread_cond_broadcast(&s->room);
}

struct shell_slot *shell_slot_at(struct shell *s, size_t n)
{
    return &s->ring[n % s->options.inbound_max];
}

/* Holds the lock. */
bool shell_ring_full(const struct shell *s)
{
    return s->tail - s->head >= s->options.inbound_max || s->ring_bytes >= SHELL_INBOUND_BYTES;
}

/* Puts one event of the transport into the ring. Holds the lock; there is room. */
void shell_ring_put(struct shell *s, struct net_event *event)
{
    struct shell_slot *slot = shell_slot_at(s, s->tail);

    assert(slot->state == SHELL_SLOT_FREE);
    memset(&slot->job, 0, sizeof slot->job);
    memcpy(slot->job.peer, event->peer, sizeof slot->job.peer);
    slot->bytes = 0;
    slot->state = SHELL_SLOT_DONE;
    switch (event->kind) {
    case NET_MESSAGE:
        slot->event = *event;
        slot->bytes = event->parts[0].len;
        slot->state = SHELL_SLOT_RAW;
        slot->job.kind = SHELL_PREPARED;
        break;
    case NET_PEER_UP:
        slot->job.kind = SHELL_PEER_UP;
        break;
    case NET_PEER_DOWN:
        slot->job.kind = SHELL_PEER_DOWN;
        break;
    case NET_REFUSED:
        slot->job.kind = SHELL_REFUSED;
        slot->job.count = event->count;
        break;
    }
    s->ring_bytes += slot->bytes;
    s->tail++;
    if (slot->state == SHELL_SLOT_RAW)
        pthread_cond_signal(&s->raw);
    else
        pthread_cond_signal(&s->ready);
}

static size_t take_posted(struct shell *s, struct shell_job *jobs, size_t n, size_t max)
{
    while (n < max && s->posted_first != NULL) {
        struct shell_posted *p = s->posted_first;

        s->posted_first = p->next;
        if (s->posted_first == NULL)
            s->posted_last = &s->posted_first;
        s->posted_count--;
        jobs[n++] = (struct shell_job){.kind = SHELL_POSTED, .job = p->job};
        free(p);
    }
    return n;
}

/* Takes what is ready, in order. Half of a batch is for posted jobs, so that neither peers nor this
 * machine can keep the other out. Holds the lock. */
size_t shell_collect(struct shell *s, struct shell_job *jobs)
{
    size_t share = (s->options.batch_max + s->batches_odd) / 2;
    size_t n = take_posted(s, jobs, 0, share);

    s->batches_odd = !s->batches_odd;
    while (n < s->options.batch_max && s->head != s->tail &&
           shell_slot_at(s, s->head)->state == SHELL_SLOT_DONE) {
        struct shell_slot *slot = shell_slot_at(s, s->head);

        /* Events need no worker, so that `next` may lag behind them. */
        if (s->next == s->head)
            s->next++;
        s->head++;
        s->ring_bytes -= slot->bytes;
        slot->state = SHELL_SLOT_FREE;
        if (slot->job.kind != SHELL_PREPARED || slot->job.job != NULL)
            jobs[n++] = slot->job;
    }
    return take_posted(s, jobs, n, s->options.batch_max);
}

static enum err post(struct shell *s, void *job, bool wait)
{
    struct shell_posted *p = malloc(sizeof *p);
    enum err e = ERR_OK;

    if (p == NULL)
        return ERR_NO_MEMORY;
    *p = (struct shell_posted){.job = job};
    pthread_mutex_lock(&s->lock);
    while (wait && !s->stopping && s->posted_count >= SHELL_POSTED_MAX)
        pthread_cond_wait(&s->room, &s->lock);
    if (s->stopping) {
        e = ERR_UNAVAILABLE;
    } else if (s->posted_count >= SHELL_POSTED_MAX) {
        e = ERR_FULL;
    } else {
        *s->posted_last = p;
        s->posted_last = &p->next;
        s->posted_count++;
        pthread_cond_signal(&s->ready);
    }
    pthread_mutex_unlock(&s->lock);
    if (e != ERR_OK)
        free(p);
    return e;
}

enum err shell_post(struct shell *s, void *job)
{
    return post(s, job, false);
}

enum err shell_post_wait(struct shell *s, void *job)
{
    return post(s, job, true);
}

size_t shell_out_cost(const struct buf *message)
{
    return message->len + sizeof(struct shell_outgoing);
}

void shell_send(struct shell *s, const char *peer, struct buf *message)
{
    struct shell_outgoing *o = calloc(1, sizeof *o);
    size_t cost = shell_out_cost(message);
    bool dropped = o == NULL;

    assert(strlen(peer) < sizeof o->peer);
    pthread_mutex_lock(&s->lock);
    if (message->err != ERR_OK || s->out_bytes + cost > s->options.outbound_max)
        dropped = true;
    if (!dropped) {
        memcpy(o->peer, peer, strlen(peer) + 1);
        o->message = *message;
        s->out_bytes += cost;
        *s->out_last = o;
        s->out_last = &o->next;
        *message = (struct buf){.max = o->message.max};
        shell_poke_net(s);
    } else {
        s->stats.dropped_out++;
    }
    pthread_mutex_unlock(&s->lock);
    if (dropped) {
        buf_fini(message);
        free(o);
    }
}

bool shell_can_send(struct shell *s)
{
    bool yes;

    pthread_mutex_lock(&s->lock);
    yes = s->out_bytes < s->options.outbound_max / 2;
    pthread_mutex_unlock(&s->lock);
    return yes;
}
