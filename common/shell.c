#include "common/shell.h"

#include "common/limits.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define INBOUND_DEFAULT 2048
#define INBOUND_BYTES (16 * LIMIT_MIB)
#define BATCH_DEFAULT 512
#define OUTBOUND_DEFAULT (16 * LIMIT_MIB)
#define POSTED_MAX 4096
#define WORKERS_MAX 64
#define NET_IDLE_MS 1000
#define NET_FULL_MS 20

enum slot_state { SLOT_FREE, SLOT_RAW, SLOT_BUSY, SLOT_DONE };

/* One place in the ring between net thread and commit thread. Places are filled, prepared and taken
 * in the order of arrival; that keeps each peer's order. */
struct slot {
    enum slot_state state;
    struct shell_job job;
    struct net_event event;
    size_t bytes;
};

struct outgoing {
    struct outgoing *next;
    char peer[LIMIT_PEER];
    struct buf message;
};

struct posted {
    struct posted *next;
    void *job;
};

struct shell {
    struct shell_options options;
    struct shell_ops ops;
    struct net *net; /* made, used and freed by the net thread */

    pthread_mutex_t lock;
    pthread_cond_t started; /* `running` or `result` is set */
    pthread_cond_t raw;     /* a slot waits for a worker */
    pthread_cond_t ready;   /* a job waits for the commit thread */
    pthread_cond_t room;    /* ring, posted or outgoing queue has room again */

    struct slot *ring;
    size_t head; /* next to be taken by the commit thread */
    size_t next; /* next to be prepared */
    size_t tail; /* next to be filled */
    size_t ring_bytes;

    struct posted *posted_first;
    struct posted **posted_last;
    size_t posted_count;

    struct outgoing *out_first;
    struct outgoing **out_last;
    size_t out_bytes;

    bool running;
    bool committing; /* the commit thread has not ended: what it decides to send must still go */
    bool stopping;
    bool reload;
    enum err result;
    int stopped_fd;
    struct shell_stats stats;

    pthread_t net_thread;
    pthread_t commit_thread;
    pthread_t workers[WORKERS_MAX];
    unsigned worker_count;
    unsigned threads_started; /* net, commit, workers in that order */
};

static void cond_init(pthread_cond_t *c)
{
    pthread_condattr_t a;

    pthread_condattr_init(&a);
    pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
    pthread_cond_init(c, &a);
    pthread_condattr_destroy(&a);
}

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

/* Wakes the net thread, whether it waits for sockets or for room. Holds the lock. */
static void poke_net(struct shell *s)
{
    if (s->net != NULL)
        net_wake(s->net);
    pthread_cond_broadcast(&s->room);
}

/* Holds the lock. */
static void stop_locked(struct shell *s, enum err why)
{
    if (!s->stopping) {
        s->stopping = true;
        s->result = why;
        (void)eventfd_write(s->stopped_fd, 1);
    }
    pthread_cond_broadcast(&s->raw);
    pthread_cond_broadcast(&s->ready);
    pthread_cond_broadcast(&s->started);
    poke_net(s);
}

enum err shell_new(const struct shell_options *options, const struct shell_ops *ops,
                   struct shell **ret)
{
    struct shell *s = calloc(1, sizeof *s);
    long processors = sysconf(_SC_NPROCESSORS_ONLN);

    if (s == NULL)
        return ERR_NO_MEMORY;
    s->options = *options;
    s->ops = *ops;
    if (s->options.inbound_max == 0)
        s->options.inbound_max = INBOUND_DEFAULT;
    if (s->options.batch_max == 0)
        s->options.batch_max = BATCH_DEFAULT;
    if (s->options.outbound_max == 0)
        s->options.outbound_max = OUTBOUND_DEFAULT;
    s->worker_count = options->workers != 0 ? options->workers : (unsigned)processors;
    if (s->worker_count < 1)
        s->worker_count = 1;
    if (s->worker_count > WORKERS_MAX)
        s->worker_count = WORKERS_MAX;
    s->ring = calloc(s->options.inbound_max, sizeof *s->ring);
    if (s->ring == NULL) {
        free(s);
        return ERR_NO_MEMORY;
    }
    s->stopped_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->stopped_fd < 0) {
        free(s->ring);
        free(s);
        return ERR_IO;
    }
    s->posted_last = &s->posted_first;
    s->out_last = &s->out_first;
    pthread_mutex_init(&s->lock, NULL);
    cond_init(&s->started);
    cond_init(&s->raw);
    cond_init(&s->ready);
    cond_init(&s->room);
    *ret = s;
    return ERR_OK;
}

static struct slot *slot_at(struct shell *s, size_t n)
{
    return &s->ring[n % s->options.inbound_max];
}

/* Holds the lock. */
static bool ring_full(const struct shell *s)
{
    return s->tail - s->head >= s->options.inbound_max || s->ring_bytes >= INBOUND_BYTES;
}

/* Puts one event of the transport into the ring. Holds the lock; there is room. */
static void ring_put(struct shell *s, struct net_event *event)
{
    struct slot *slot = slot_at(s, s->tail);

    assert(slot->state == SLOT_FREE);
    memset(&slot->job, 0, sizeof slot->job);
    memcpy(slot->job.peer, event->peer, sizeof slot->job.peer);
    slot->bytes = 0;
    slot->state = SLOT_DONE;
    switch (event->kind) {
    case NET_MESSAGE:
        slot->event = *event;
        slot->bytes = event->parts[0].len;
        slot->state = SLOT_RAW;
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
    if (slot->state == SLOT_RAW)
        pthread_cond_signal(&s->raw);
    else
        pthread_cond_signal(&s->ready);
}

/* Net thread: takes events while there is room. Gives false when the ring is full. */
static bool take_events(struct shell *s)
{
    struct net_event event;
    bool full;

    for (;;) {
        pthread_mutex_lock(&s->lock);
        full = ring_full(s);
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
            ring_put(s, &event);
        }
        pthread_mutex_unlock(&s->lock);
    }
}

/* Net thread: hands everything queued to the transport. */
static void send_queued(struct shell *s)
{
    struct outgoing *list;
    struct outgoing *o;
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
        bytes += o->message.len;
        if (net_send(s->net, o->peer, &part, 1) != ERR_OK)
            dropped++;
        buf_fini(&o->message);
        free(o);
    }
    if (bytes == 0 && dropped == 0)
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
    enum err e = ERR_OK;

    send_queued(s);
    pthread_mutex_lock(&s->lock);
    stopping = s->stopping;
    pthread_mutex_unlock(&s->lock);
    if (stopping || !take_events(s)) {
        pthread_mutex_lock(&s->lock);
        if ((s->stopping ? s->committing : ring_full(s)) && s->out_first == NULL)
            cond_wait_ms(&s->room, &s->lock, NET_FULL_MS);
        pthread_mutex_unlock(&s->lock);
        e = net_wait(s->net, 0);
    } else {
        e = net_wait(s->net, NET_IDLE_MS);
    }
    if (e == ERR_TIMEOUT)
        e = ERR_OK;
    pthread_mutex_lock(&s->lock);
    reload = s->reload;
    s->reload = false;
    stopping = s->stopping && !s->committing;
    net_stats(s->net, &s->stats.net);
    pthread_mutex_unlock(&s->lock);
    if (e == ERR_OK && reload)
        e = s->ops.setup(s->ops.ctx, s->net);
    if (e != ERR_OK) {
        pthread_mutex_lock(&s->lock);
        stop_locked(s, e);
        pthread_mutex_unlock(&s->lock);
        return false;
    }
    return !stopping;
}

static void *net_main(void *arg)
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
        stop_locked(s, e);
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

struct worker_arg {
    struct shell *shell;
    unsigned number;
};

static void *worker_main(void *arg)
{
    struct worker_arg a = *(struct worker_arg *)arg;
    struct shell *s = a.shell;

    free(arg);
    pthread_mutex_lock(&s->lock);
    for (;;) {
        struct slot *slot;
        void *job;

        while (!s->stopping && (s->next == s->tail || slot_at(s, s->next)->state != SLOT_RAW)) {
            if (s->next != s->tail)
                s->next++; /* an event that needs no worker */
            else
                pthread_cond_wait(&s->raw, &s->lock);
        }
        if (s->stopping)
            break;
        slot = slot_at(s, s->next++);
        slot->state = SLOT_BUSY;
        pthread_mutex_unlock(&s->lock);
        job = s->ops.prepare(s->ops.ctx, a.number, slot->job.peer, slot->event.parts[0]);
        net_event_release(&slot->event);
        pthread_mutex_lock(&s->lock);
        slot->job.job = job;
        slot->state = SLOT_DONE;
        if (job == NULL)
            s->stats.dropped_in++;
        if (slot == slot_at(s, s->head))
            pthread_cond_signal(&s->ready);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* Takes what is ready, in order. Holds the lock. */
static size_t collect(struct shell *s, struct shell_job *jobs)
{
    size_t n = 0;

    while (n < s->options.batch_max && s->head != s->tail &&
           slot_at(s, s->head)->state == SLOT_DONE) {
        struct slot *slot = slot_at(s, s->head);

        /* Events need no worker, so that `next` may lag behind them. */
        if (s->next == s->head)
            s->next++;
        s->head++;
        s->ring_bytes -= slot->bytes;
        slot->state = SLOT_FREE;
        if (slot->job.kind != SHELL_PREPARED || slot->job.job != NULL)
            jobs[n++] = slot->job;
    }
    while (n < s->options.batch_max && s->posted_first != NULL) {
        struct posted *p = s->posted_first;

        s->posted_first = p->next;
        if (s->posted_first == NULL)
            s->posted_last = &s->posted_first;
        s->posted_count--;
        jobs[n++] = (struct shell_job){.kind = SHELL_POSTED, .job = p->job};
        free(p);
    }
    return n;
}

/* Holds the lock; waits until there is a job, or wake_at. Gives false at a stop. */
static bool wait_for_jobs(struct shell *s, uint64_t wake_at)
{
    while (!s->stopping) {
        uint64_t now = env_mono_ms(s->options.env);

        if (s->head != s->tail && slot_at(s, s->head)->state == SLOT_DONE)
            return true;
        if (s->posted_first != NULL || now >= wake_at)
            return true;
        if (wake_at == UINT64_MAX)
            pthread_cond_wait(&s->ready, &s->lock);
        else
            cond_wait_ms(&s->ready, &s->lock, wake_at - now);
    }
    return false;
}

static void *commit_main(void *arg)
{
    struct shell *s = arg;
    struct shell_job *jobs = calloc(s->options.batch_max, sizeof *jobs);
    uint64_t wake_at = 0;

    pthread_mutex_lock(&s->lock);
    if (jobs == NULL)
        stop_locked(s, ERR_NO_MEMORY);
    while (wait_for_jobs(s, wake_at)) {
        size_t n = collect(s, jobs);
        enum err e;

        if (n > 0) {
            s->stats.batches++;
            s->stats.jobs += n;
            if (n > s->stats.batch_largest)
                s->stats.batch_largest = n;
        }
        poke_net(s);
        pthread_mutex_unlock(&s->lock);
        wake_at = UINT64_MAX;
        e = s->ops.run(s->ops.ctx, jobs, n, &wake_at);
        pthread_mutex_lock(&s->lock);
        if (e != ERR_OK)
            stop_locked(s, e);
    }
    s->committing = false;
    poke_net(s);
    pthread_mutex_unlock(&s->lock);
    free(jobs);
    return NULL;
}

static enum err start_workers(struct shell *s)
{
    for (unsigned i = 0; i < s->worker_count; i++) {
        struct worker_arg *a = malloc(sizeof *a);

        if (a == NULL)
            return ERR_NO_MEMORY;
        *a = (struct worker_arg){.shell = s, .number = i};
        if (pthread_create(&s->workers[i], NULL, worker_main, a) != 0) {
            free(a);
            return ERR_IO;
        }
        s->threads_started++;
    }
    return ERR_OK;
}

enum err shell_start(struct shell *s)
{
    enum err e = ERR_OK;

    if (pthread_create(&s->net_thread, NULL, net_main, s) != 0)
        return ERR_IO;
    s->threads_started = 1;
    pthread_mutex_lock(&s->lock);
    while (!s->running && !s->stopping)
        pthread_cond_wait(&s->started, &s->lock);
    if (s->stopping)
        e = s->result;
    else if (pthread_create(&s->commit_thread, NULL, commit_main, s) != 0)
        e = ERR_IO;
    else
        s->committing = true;
    pthread_mutex_unlock(&s->lock);
    if (e != ERR_OK)
        goto out;
    s->threads_started = 2;
    e = start_workers(s);
out:
    if (e != ERR_OK) {
        pthread_mutex_lock(&s->lock);
        stop_locked(s, e);
        pthread_mutex_unlock(&s->lock);
        e = shell_wait(s) == ERR_OK ? ERR_IO : e;
    }
    return e;
}

void shell_stop(struct shell *s)
{
    pthread_mutex_lock(&s->lock);
    stop_locked(s, ERR_OK);
    pthread_mutex_unlock(&s->lock);
}

int shell_stopped_fd(const struct shell *s)
{
    return s->stopped_fd;
}

enum err shell_wait(struct shell *s)
{
    if (s->threads_started > 1)
        pthread_join(s->commit_thread, NULL);
    for (unsigned i = 0; i + 2 < s->threads_started; i++)
        pthread_join(s->workers[i], NULL);
    if (s->threads_started > 0)
        pthread_join(s->net_thread, NULL);
    s->threads_started = 0;
    return s->result;
}

void shell_free(struct shell *s)
{
    if (s == NULL)
        return;
    assert(s->threads_started == 0);
    for (; s->head != s->tail; s->head++) {
        struct slot *slot = slot_at(s, s->head);

        if (slot->state == SLOT_RAW)
            net_event_release(&slot->event);
        if (slot->job.job != NULL)
            s->ops.discard(s->ops.ctx, slot->job.job);
    }
    while (s->posted_first != NULL) {
        struct posted *p = s->posted_first;

        s->posted_first = p->next;
        s->ops.discard(s->ops.ctx, p->job);
        free(p);
    }
    while (s->out_first != NULL) {
        struct outgoing *o = s->out_first;

        s->out_first = o->next;
        buf_fini(&o->message);
        free(o);
    }
    pthread_cond_destroy(&s->started);
    pthread_cond_destroy(&s->raw);
    pthread_cond_destroy(&s->ready);
    pthread_cond_destroy(&s->room);
    pthread_mutex_destroy(&s->lock);
    close(s->stopped_fd);
    free(s->ring);
    free(s);
}

static enum err post(struct shell *s, void *job, bool wait)
{
    struct posted *p = malloc(sizeof *p);
    enum err e = ERR_OK;

    if (p == NULL)
        return ERR_NO_MEMORY;
    *p = (struct posted){.job = job};
    pthread_mutex_lock(&s->lock);
    while (wait && !s->stopping && s->posted_count >= POSTED_MAX)
        pthread_cond_wait(&s->room, &s->lock);
    if (s->stopping) {
        e = ERR_UNAVAILABLE;
    } else if (s->posted_count >= POSTED_MAX) {
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

void shell_send(struct shell *s, const char *peer, struct buf *message)
{
    struct outgoing *o = calloc(1, sizeof *o);
    bool dropped = o == NULL;

    pthread_mutex_lock(&s->lock);
    if (message->err != ERR_OK || s->out_bytes + message->len > s->options.outbound_max)
        dropped = true;
    if (!dropped) {
        memcpy(o->peer, peer, strlen(peer) + 1);
        o->message = *message;
        s->out_bytes += message->len;
        *s->out_last = o;
        s->out_last = &o->next;
        *message = (struct buf){.max = o->message.max};
        poke_net(s);
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

void shell_reload(struct shell *s)
{
    pthread_mutex_lock(&s->lock);
    s->reload = true;
    poke_net(s);
    pthread_mutex_unlock(&s->lock);
}

void shell_stats(struct shell *s, struct shell_stats *ret)
{
    pthread_mutex_lock(&s->lock);
    *ret = s->stats;
    pthread_mutex_unlock(&s->lock);
}
