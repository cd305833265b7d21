/* The commit thread: takes what the workers prepared, steps the core, commits, and only then sends.
 * The order decode, verify, step, commit, send is never changed. */
#ifndef SEALPOST_BROKER_RUN_H
#define SEALPOST_BROKER_RUN_H

#include "audit/log.h"
#include "broker/core.h"
#include "common/env.h"
#include "common/partfile.h"
#include "common/shell.h"
#include "common/store.h"
#include "peer/trusting.h"
#include "proto/partflow.h"

struct run_options {
    const struct env *env;
    struct broker_options core; /* what it points to is borrowed */
    struct store *store;        /* borrowed, as the next ones */
    struct audit_log *log;
    struct trusting *trusting;
    struct part_dir *parts;
};

struct run;
/* Makes the core from the store, adds the stored documents to the snapshot. */
enum err run_new(const struct run_options *options, struct run **ret);
/* After the shell has ended. Accepts NULL. */
void run_free(struct run *r);
/* Before the shell starts; both borrowed. */
void run_bind(struct run *r, struct shell *shell, struct partflow *flow);

/* For struct shell_ops. `ctx` is the struct run; jobs are struct job of peer/inbound.h. */
enum err run_jobs(void *ctx, struct shell_job *jobs, size_t count, uint64_t *wake_at_ms);
/* After the shell has ended: what is signed but not stored yet is stored. */
enum err run_save(struct run *r);

#endif
