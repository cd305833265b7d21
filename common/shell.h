/* The shell around a sans-I/O core: one net thread that owns the sockets, workers that decode and
 * verify, one commit thread that steps the core and owns the store for writing.
 *
 * A message goes: net thread -> worker (`prepare`) -> commit thread (`run`), which gets every job
 * that is ready at once, so that one commit covers them, and while it waits for the disk the next
 * jobs gather. Jobs of one peer reach `run` in the order in which their messages arrived, whichever
 * worker prepared them. What `run` decides to send leaves through shell_send, after its commit.
 *
 * Every queue is bounded. When the way in is full the net thread stops reading, so that the peers'
 * transport pushes back; when the way out to a peer is full the message is dropped and counted:
 * whoever needs an answer repeats. */
#ifndef SEALPOST_COMMON_SHELL_H
#define SEALPOST_COMMON_SHELL_H

#include "common/env.h"
#include "common/err.h"
#include "common/net.h"
#include "common/span.h"

#include <stdbool.h>
#include <stdint.h>

struct shell;

enum shell_job_kind {
    SHELL_PREPARED, /* `job` came from prepare */
    SHELL_POSTED,   /* `job` came from shell_post */
    SHELL_PEER_UP,
    SHELL_PEER_DOWN,
    SHELL_REFUSED, /* `count` handshakes or messages refused; peer is "" when the key is unknown */
};

struct shell_job {
    enum shell_job_kind kind;
    char peer[LIMIT_PEER];
    void *job;
    uint64_t count;
};

struct shell_ops {
    void *ctx;
    /* Worker thread number `worker`. `message` is borrowed until it returns. Gives the job, or NULL
     * when nothing shall reach the commit thread (garbage, counted by the callee). */
    void *(*prepare)(void *ctx, unsigned worker, const char *peer, struct span message);
    /* Commit thread: jobs in order, at least one or, when `wake_at_ms` came, none. Owns each
     * `job`. Returns when it wants to be called again at the latest (env mono_ms; UINT64_MAX:
     * never). An error other than ERR_OK stops the shell: shell_wait gives it. */
    enum err (*run)(void *ctx, struct shell_job *jobs, size_t count, uint64_t *wake_at_ms);
    /* Frees a job that will not be run, at a stop. Any thread. */
    void (*discard)(void *ctx, void *job);
    /* Net thread, before the loop starts and after each shell_reload: set peers, listen, connect.
     */
    enum err (*setup)(void *ctx, struct net *net);
};

struct shell_options {
    const struct env *env;
    struct net_options net;
    unsigned workers;    /* 0: one for each processor */
    size_t inbound_max;  /* messages between net thread and commit thread; 0: default */
    size_t batch_max;    /* jobs in one run; 0: default */
    size_t outbound_max; /* bytes queued for the net thread; 0: default */
};

/* Makes the queues; starts nothing. */
enum err shell_new(const struct shell_options *options, const struct shell_ops *ops,
                   struct shell **ret);
/* Starts the threads. All of the process's signals should be blocked by then. ERR_IO, or what
 * `setup` said. */
enum err shell_start(struct shell *s);
/* Asks it to stop; any thread, or a signalfd's reader. */
void shell_stop(struct shell *s);
/* Readable once it stops, by shell_stop or an error: for the poll of the thread that waits. Belongs
 * to the shell. */
int shell_stopped_fd(const struct shell *s);
/* Waits until it has stopped and gives the error that stopped it; ERR_OK after shell_stop. Posted
 * jobs that were not run are discarded by then. */
enum err shell_wait(struct shell *s);
/* After shell_wait. Accepts NULL. */
void shell_free(struct shell *s);

/* Hands a job to the commit thread from any thread. ERR_FULL at the bound (the caller keeps the
 * job), ERR_UNAVAILABLE when stopped. */
enum err shell_post(struct shell *s, void *job);
/* As shell_post but waits for room; for threads that may wait. */
enum err shell_post_wait(struct shell *s, void *job);

/* Queues one message to a peer; takes over the bytes of `message` (left empty). Any thread. A
 * message that cannot go (not connected, queue full) is dropped and counted. */
void shell_send(struct shell *s, const char *peer, struct buf *message);
/* True when the bytes queued for the net thread are under half of the bound: producers of bulk data
 * wait for this. */
bool shell_can_send(struct shell *s);
/* Runs `setup` again in the net thread: the table of peers or the links have changed. */
void shell_reload(struct shell *s);

struct shell_stats {
    struct net_stats net;
    uint64_t dropped_out; /* messages that could not be sent */
    uint64_t dropped_in;  /* prepare gave nothing */
    uint64_t batches;
    uint64_t jobs;
    uint64_t batch_largest;
};
void shell_stats(struct shell *s, struct shell_stats *ret);

#endif
