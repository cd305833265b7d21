/* What the files of the shell share. Private to common/shell*.c.
 *
 * shell.c          its life: made, started, stopped, freed
 * shell_queue.c    the bounded queues between the threads
 * shell_threads.c  the threads */
#ifndef SEALPOST_COMMON_SHELL_INTERNAL_H
#define SEALPOST_COMMON_SHELL_INTERNAL_H

#include "common/limits.h"
#include "common/shell.h"

#include <pthread.h>

#define SHELL_INBOUND_BYTES (16 * LIMIT_MIB) /* messages between net thread and commit thread */
#define SHELL_POSTED_MAX 4096
#define SHELL_WORKERS_MAX 64

enum shell_slot_state { SHELL_SLOT_FREE, SHELL_SLOT_RAW, SHELL_SLOT_BUSY, SHELL_SLOT_DONE };

/* One place in the ring between net thread and commit thread. Places are filled, prepared and taken
 * in the order of arrival; that keeps each peer's order. */
struct shell_slot {
    enum shell_slot_state state;
    struct shell_job job;
    struct net_event event;
    size_t bytes;
};

struct shell_outgoing {
    struct shell_outgoing *next;
    char peer[LIMIT_PEER];
    struct buf message;
};

struct shell_posted {
    struct shell_posted *next;
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

    struct shell_slot *ring;
    size_t head; /* next to be taken by the commit thread */
    size_t next; /* next to be prepared */
    size_t tail; /* next to be filled */
    size_t ring_bytes;

    struct shell_posted *posted_first;
    struct shell_posted **posted_last;
    size_t posted_count;
    bool batches_odd; /* whose turn the odd job of a batch is */

    struct shell_outgoing *out_first;
    struct shell_outgoing **out_last;
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
    pthread_t workers[SHELL_WORKERS_MAX];
    unsigned worker_count;
    unsigned threads_started; /* net, commit, workers in that order */
};

struct shell_worker_arg {
    struct shell *shell;
    unsigned number;
};

/* ---- shell.c ---- */

/* Holds the lock. */
void shell_stop_locked(struct shell *s, enum err why);

/* ---- shell_queue.c; those of the ring hold the lock ---- */

/* Wakes the net thread, whether it waits for sockets or for room. Holds the lock. */
void shell_poke_net(struct shell *s);
struct shell_slot *shell_slot_at(struct shell *s, size_t n);
bool shell_ring_full(const struct shell *s);
/* Puts one event of the transport into the ring; there is room. */
void shell_ring_put(struct shell *s, struct net_event *event);
/* Takes what is ready, in order: at most batch_max jobs. */
size_t shell_collect(struct shell *s, struct shell_job *jobs);

/* What a queued message counts for in `out_bytes`: empty ones take memory too. */
size_t shell_out_cost(const struct buf *message);

/* ---- shell_threads.c ---- */

void *shell_net_main(void *arg);    /* struct shell */
void *shell_worker_main(void *arg); /* struct shell_worker_arg, which it frees */
void *shell_commit_main(void *arg); /* struct shell */

#endif
