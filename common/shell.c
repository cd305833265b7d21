#include "common/shell_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define INBOUND_DEFAULT 2048
#define BATCH_DEFAULT 512
#define OUTBOUND_DEFAULT (16 * LIMIT_MIB)

static void cond_init(pthread_cond_t *c)
{
    pthread_condattr_t a;

    pthread_condattr_init(&a);
    pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
    pthread_cond_init(c, &a);
    pthread_condattr_destroy(&a);
}

/* Holds the lock. */
void shell_stop_locked(struct shell *s, enum err why)
{
    if (!s->stopping) {
        s->stopping = true;
        s->result = why;
        (void)eventfd_write(s->stopped_fd, 1);
    }
    pthread_cond_broadcast(&s->raw);
    pthread_cond_broadcast(&s->ready);
    pthread_cond_broadcast(&s->started);
    shell_poke_net(s);
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
    if (s->worker_count > SHELL_WORKERS_MAX)
        s->worker_count = SHELL_WORKERS_MAX;
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

static enum err start_workers(struct shell *s)
{
    for (unsigned i = 0; i < s->worker_count; i++) {
        struct shell_worker_arg *a = malloc(sizeof *a);

        if (a == NULL)
            return ERR_NO_MEMORY;
        *a = (struct shell_worker_arg){.shell = s, .number = i};
        if (pthread_create(&s->workers[i], NULL, shell_worker_main, a) != 0) {
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

    if (pthread_create(&s->net_thread, NULL, shell_net_main, s) != 0)
        return ERR_IO;
    s->threads_started = 1;
    pthread_mutex_lock(&s->lock);
    while (!s->running && !s->stopping)
        pthread_cond_wait(&s->started, &s->lock);
    if (s->stopping)
        e = s->result;
    else if (pthread_create(&s->commit_thread, NULL, shell_commit_main, s) != 0)
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
        shell_stop_locked(s, e);
        pthread_mutex_unlock(&s->lock);
        e = shell_wait(s) == ERR_OK ? ERR_IO : e;
    }
    return e;
}

void shell_stop(struct shell *s)
{
    pthread_mutex_lock(&s->lock);
    shell_stop_locked(s, ERR_OK);
    pthread_mutex_unlock(&s->lock);
}

int shell_stopped_fd(const struct shell *s)
{
    return s->stopped_fd;
}

/* Whoever waits for a posted job must not wait for ever. */
static void discard_posted(struct shell *s)
{
    struct shell_posted *p;

    pthread_mutex_lock(&s->lock);
    p = s->posted_first;
    s->posted_first = NULL;
    s->posted_last = &s->posted_first;
    s->posted_count = 0;
    pthread_mutex_unlock(&s->lock);
    while (p != NULL) {
        struct shell_posted *next = p->next;

        s->ops.discard(s->ops.ctx, p->job);
        free(p);
        p = next;
    }
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
    discard_posted(s);
    return s->result;
}

void shell_free(struct shell *s)
{
    if (s == NULL)
        return;
    assert(s->threads_started == 0);
    for (; s->head != s->tail; s->head++) {
        struct shell_slot *slot = shell_slot_at(s, s->head);

        if (slot->state == SHELL_SLOT_RAW)
            net_event_release(&slot->event);
        if (slot->job.job != NULL)
            s->ops.discard(s->ops.ctx, slot->job.job);
    }
    discard_posted(s);
    while (s->out_first != NULL) {
        struct shell_outgoing *o = s->out_first;

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

void shell_reload(struct shell *s)
{
    pthread_mutex_lock(&s->lock);
    s->reload = true;
    shell_poke_net(s);
    pthread_mutex_unlock(&s->lock);
}

void shell_stats(struct shell *s, struct shell_stats *ret)
{
    pthread_mutex_lock(&s->lock);
    *ret = s->stats;
    pthread_mutex_unlock(&s->lock);
}
