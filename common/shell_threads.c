#include "common/shell_internal.h"

#include <stdlib.h>
#include <time.h>

#define NET_IDLE_MS 1000
#define NET_FULL_MS 20
#define WAKE_MS 3600000 /* longest wait in one piece */

static void cond_wait_ms(pthread_cond_t *c, pthread_mutex_t *m, uint64_t ms)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += (time_t)(ms / 1000);
    t.tv_nsec += (long)(ms % 1000) * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    pthread_cond_timedwait(c, m, &t);
}

/* Net thread: takes events while there is room. Gives false when the ring is full. */
static bool take_events(struct shell *s)
{
    struct net_event event;
    bool full;

    for (;;) {
        pthread_mutex_lock(&s->lock);
        full = shell_ring_full(s);
        pthread_mutex_unlock(&s->lock);
        if (full)
            return false;
        if (!net_next(s->net, &event))
            return true;
        pthread_mutex_lock(&s->lock);
        if (event.kind == NET_MESSAGE && event.part_count != 1) {
            s->stats.dropped_in++;
            net_event_release(&event);
        } else {
            shell_ring_put(s, &event);
        }
        pthread_mutex_unlock(&s->lock);
    }
}

/* Net thread: hands everything queued to the transport. */
static void send_queued(struct shell *s)
{
    struct shell_outgoing *list;
    struct shell_outgoing *o;
    size_t bytes = 0;
    uint64_t dropped = 0;

    pthread_mutex_lock(&s->lock);
    list = s->out_first;
    s->out_first = NULL;
    s->out_last = &s->out_first;
    pthread_mutex_unlock(&s->lock);
    while ((o = list) != NULL) {
        struct span part = buf_span(&o->message);

        list = o->next;
        bytes += shell_out_cost(&o->message);
        if (net_send(s->net, o->peer, &part, 1) != ERR_OK)
            dropped++;
        buf_fini(&o->message);
        free(o);
    }
    if (bytes == 0)
        return;
    pthread_mutex_lock(&s->lock);
    s->out_bytes -= bytes;
    s->stats.dropped_out += dropped;
    pthread_cond_broadcast(&s->room);
    pthread_mutex_unlock(&s->lock);
}

/* One turn of the net thread's loop; false to end it. */
static bool net_turn(struct shell *s)
{
    bool reload;
    bool stopping;
    bool full;
    enum err e;

    send_queued(s);
    pthread_mutex_lock(&s->lock);
    stopping = s->stopping;
    pthread_mutex_unlock(&s->lock);
    full = stopping || !take_events(s);
    pthread_mutex_lock(&s->lock);
    net_stats(s->net, &s->stats.net);
    if (full && (s->stopping ? s->committing : shell_ring_full(s)) && s->out_first == NULL)
        cond_wait_ms(&s->room, &s->lock, NET_FULL_MS);
    pthread_mutex_unlock(&s->lock);
    e = net_wait(s->net, full ? 0 : NET_IDLE_MS);
    if (e == ERR_TIMEOUT)
        e = ERR_OK;
    pthread_mutex_lock(&s->lock);
    reload = s->reload;
    s->reload = false;
    stopping = s->stopping && !s->committing;
    pthread_mutex_unlock(&s->lock);
    if (e == ERR_OK && reload)
        e = s->ops.setup(s->ops.ctx, s->net);
    if (e != ERR_OK) {
        pthread_mutex_lock(&s->lock);
        shell_stop_locked(s, e);
        pthread_mutex_unlock(&s->lock);
        return false;
    }
    return !stopping;
}

void *shell_net_main(void *arg)
{
    struct shell *s = arg;
    struct net *net = NULL;
    enum err e = net_new(&s->options.net, &net);

    if (e == ERR_OK)
        e = s->ops.setup(s->ops.ctx, net);
    pthread_mutex_lock(&s->lock);
    if (e == ERR_OK) {
        s->net = net;
        s->running = true;
    } else {
        shell_stop_locked(s, e);
    }
    pthread_cond_broadcast(&s->started);
    pthread_mutex_unlock(&s->lock);
    if (e == ERR_OK) {
        while (net_turn(s))
            ;
        send_queued(s);
    }
    pthread_mutex_lock(&s->lock);
    s->net = NULL;
    pthread_mutex_unlock(&s->lock);
    net_free(net);
    return NULL;
}

void *shell_worker_main(void *arg)
{
    struct shell_worker_arg a = *(struct shell_worker_arg *)arg;
    struct shell *s = a.shell;

    free(arg);
    pthread_mutex_lock(&s->lock);
    for (;;) {
        struct shell_slot *slot;
        void *job;

        while (!s->stopping &&
               (s->next == s->tail || shell_slot_at(s, s->next)->state != SHELL_SLOT_RAW)) {
            if (s->next != s->tail)
                s->next++; /* an event that needs no worker */
            else
                pthread_cond_wait(&s->raw, &s->lock);
        }
        if (s->stopping)
            break;
        slot = shell_slot_at(s, s->next++);
        slot->state = SHELL_SLOT_BUSY;
        pthread_mutex_unlock(&s->lock);
        job = s->ops.prepare(s->ops.ctx, a.number, slot->job.peer, slot->event.parts[0]);
        net_event_release(&slot->event);
        pthread_mutex_lock(&s->lock);
        slot->job.job = job;
        slot->state = SHELL_SLOT_DONE;
        if (job == NULL)
            s->stats.dropped_in++;
        if (slot == shell_slot_at(s, s->head))
            pthread_cond_signal(&s->ready);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* Holds the lock; waits until there is a job, or wake_at. Gives false at a stop. */
static bool wait_for_jobs(struct shell *s, uint64_t wake_at)
{
    while (!s->stopping) {
        uint64_t now = env_mono_ms(s->options.env);

        if (s->head != s->tail && shell_slot_at(s, s->head)->state == SHELL_SLOT_DONE)
            return true;
        if (s->posted_first != NULL || now >= wake_at)
            return true;
        if (wake_at == UINT64_MAX)
            pthread_cond_wait(&s->ready, &s->lock);
        else
            cond_wait_ms(&s->ready, &s->lock, wake_at - now < WAKE_MS ? wake_at - now : WAKE_MS);
    }
    return false;
}

void *shell_commit_main(void *arg)
{
    struct shell *s = arg;
    struct shell_job *jobs = calloc(s->options.batch_max, sizeof *jobs);
    uint64_t wake_at = 0;

    pthread_mutex_lock(&s->lock);
    if (jobs == NULL)
        shell_stop_locked(s, ERR_NO_MEMORY);
    while (wait_for_jobs(s, wake_at)) {
        size_t n = shell_collect(s, jobs);
        enum err e;

        if (n > 0) {
            s->stats.batches++;
            s->stats.jobs += n;
            if (n > s->stats.batch_largest)
                s->stats.batch_largest = n;
        }
        shell_poke_net(s);
        pthread_mutex_unlock(&s->lock);
        wake_at = UINT64_MAX;
        e = s->ops.run(s->ops.ctx, jobs, n, &wake_at);
        pthread_mutex_lock(&s->lock);
        if (e != ERR_OK)
            shell_stop_locked(s, e);
    }
    s->committing = false;
    shell_poke_net(s);
    pthread_mutex_unlock(&s->lock);
    free(jobs);
    return NULL;
}
