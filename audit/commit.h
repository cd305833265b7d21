/* The commit seam: how a core's decisions become durable.
 *
 * A core reads stored state through a `struct view` and puts what shall change into a `struct
 * batch`: plain data, so it can be printed in a trace, replayed, or committed elsewhere. The shell
 * applies batches one after the other to one transaction (each later step sees the earlier ones'
 * changes), then ends it: effect and audit leaves are durable together, or neither is. */
#ifndef SEALPOST_AUDIT_COMMIT_H
#define SEALPOST_AUDIT_COMMIT_H

#include "audit/log.h"
#include "common/err.h"
#include "common/span.h"
#include "common/store.h"

#include "audit.pb-c.h"

/* Stored state as a core sees it. Tables are the daemon's own numbers. */
struct view {
    void *ctx;
    /* ERR_NOT_FOUND, ERR_CORRUPT. Borrowed until the next change. */
    enum err (*get)(void *ctx, unsigned table, struct span key, struct span *ret);
    /* The first record with a key >= `from`; ERR_NOT_FOUND past the end. On ERR_CORRUPT `key` is
     * set, so that the caller can name it and go on behind it. */
    enum err (*seek)(void *ctx, unsigned table, struct span from, struct span *key,
                     struct span *value);
};

static inline enum err view_get(const struct view *v, unsigned table, struct span key,
                                struct span *ret)
{
    return v->get(v->ctx, table, key, ret);
}

static inline enum err view_seek(const struct view *v, unsigned table, struct span from,
                                 struct span *key, struct span *value)
{
    return v->seek(v->ctx, table, from, key, value);
}

enum change_op { CHANGE_PUT, CHANGE_APPEND, CHANGE_DELETE };

struct change {
    enum change_op op;
    unsigned table;
    struct span key;
    struct span value;
};

struct batch_leaf {
    struct span leaf;   /* encoded Leaf without version and log, which the log fills in */
    struct span detail; /* erasable, or empty */
};

/* Grows; owns copies of what is put into it. Errors are sticky: ask once, or let commit_apply. */
struct batch;
enum err batch_new(struct batch **ret);
void batch_free(struct batch *b);
/* Forgets everything, keeps memory. */
void batch_reset(struct batch *b);
void batch_put(struct batch *b, unsigned table, struct span key, struct span value);
/* `key` is behind every key in the table. */
void batch_append(struct batch *b, unsigned table, struct span key, struct span value);
void batch_delete(struct batch *b, unsigned table, struct span key);
/* Adds a leaf; at_ms must be set. Leaves get consecutive indices in the log in this order. */
void batch_leaf(struct batch *b, const Sp__Leaf *leaf, struct span detail);
enum err batch_error(const struct batch *b);
/* What is in it, for traces, tests and other stores. Borrowed until the next change of `b`. */
size_t batch_change_count(const struct batch *b);
struct change batch_change_at(const struct batch *b, size_t i);
size_t batch_leaf_count(const struct batch *b);
struct batch_leaf batch_leaf_at(const struct batch *b, size_t i);

/* How a commit ended. Anything but COMMIT_DONE: discard the core, rebuild it from the store, send
 * nothing. */
enum commit_outcome {
    COMMIT_DONE,
    COMMIT_FAILED,   /* nothing happened; `why` says why */
    COMMIT_IN_DOUBT, /* not known: stop the daemon, the disk knows */
};

struct committer;
/* Borrows both. */
enum err committer_new(struct store *store, struct audit_log *log, struct committer **ret);
void committer_free(struct committer *c);
enum err commit_begin(struct committer *c);
/* Reads through the open transaction; valid between begin and end. */
const struct view *commit_view(struct committer *c);
/* The open transaction, for receipts. */
struct store_txn *commit_txn(struct committer *c);
/* Applies a batch; the first error sticks and makes commit_end fail. */
enum err commit_apply(struct committer *c, const struct batch *b);
/* Gives up the transaction. */
void commit_abort(struct committer *c);
/* Flushes the log, commits, and signs the new head. */
enum commit_outcome commit_end(struct committer *c, enum err *why);

#endif
