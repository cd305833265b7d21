/* The agent's commit thread: takes what workers and officers' connections prepared, steps the core,
 * commits, and only then sends and tells. Drafts that are ready at the same time are sealed and
 * signed together. */
#ifndef SEALPOST_AGENT_RUN_H
#define SEALPOST_AGENT_RUN_H

#include "agent/board.h"
#include "agent/core.h"
#include "agent/opening.h"
#include "audit/log.h"
#include "common/shell.h"
#include "common/store.h"
#include "peer/inbound.h"
#include "proto/partflow.h"

struct run_options {
    const struct env *env;
    struct agent_options core; /* what it points to is borrowed; the epoch is the store's */
    struct opener_options opener;
    struct store *store; /* borrowed, as the next ones */
    struct audit_log *log;
    struct trusting *trusting;
    struct part_dir *parts;
    struct board *board;
};

enum task_kind {
    TASK_PEER,    /* `job` of peer/inbound.h: a frame, a part, a snapshot */
    TASK_DRAFT,   /* `ticket->draft` is to be sealed and sent */
    TASK_OPEN,    /* an officer opens received mail `number` */
    TASK_RECEIPT, /* the receipt of leaf `number` of our log is to be appended to `receipt` */
};

/* What is handed to the commit thread. It owns the task, but not the ticket, which is done in every
 * case. */
struct task {
    enum task_kind kind;
    struct job *job;
    struct ticket *ticket;
    uint64_t number;
    struct buf *receipt; /* of the thread that waits */
    char officer[LIMIT_OFFICER];
};
/* NULL when out of memory. */
struct task *task_new(enum task_kind kind);
/* For what will not be run: ends the waiting of its ticket, frees the job. Accepts NULL. */
void task_discard(struct task *t);

struct run;
/* Makes the core from the store, adds the stored documents to the snapshot. */
enum err run_new(const struct run_options *options, struct run **ret);
/* After the shell has ended. Accepts NULL. */
void run_free(struct run *r);
/* Before the shell starts; both borrowed. */
void run_bind(struct run *r, struct shell *shell, struct partflow *flow);

/* For struct shell_ops. `ctx` is the struct run; jobs are struct task. */
enum err run_jobs(void *ctx, struct shell_job *jobs, size_t count, uint64_t *wake_at_ms);
/* After the shell has ended: what is signed but not stored yet is stored. */
enum err run_save(struct run *r);

#endif
