#include "audit/commit.h"

#include "common/limits.h"
#include "proto/pb.h"

#include <assert.h>
#include <stdlib.h>

#define BATCH_BYTES (64 * LIMIT_MIB)

/* Places in `bytes`, since it moves as it grows. */
struct place {
    size_t at;
    size_t len;
};

struct change_row {
    enum change_op op;
    unsigned table;
    struct place key;
    struct place value;
};

struct leaf_row {
    struct place leaf;
    struct place detail;
};

struct batch {
    struct buf bytes;
    struct buf changes; /* change_row after change_row */
    struct buf leaves;  /* leaf_row after leaf_row */
};

enum err batch_new(struct batch **ret)
{
    struct batch *b = calloc(1, sizeof *b);

    if (b == NULL)
        return ERR_NO_MEMORY;
    buf_init(&b->bytes, BATCH_BYTES);
    buf_init(&b->changes, BATCH_BYTES);
    buf_init(&b->leaves, BATCH_BYTES);
    *ret = b;
    return ERR_OK;
}

void batch_free(struct batch *b)
{
    if (b == NULL)
        return;
    buf_fini(&b->bytes);
    buf_fini(&b->changes);
    buf_fini(&b->leaves);
    free(b);
}

void batch_reset(struct batch *b)
{
    buf_reset(&b->bytes);
    buf_reset(&b->changes);
    buf_reset(&b->leaves);
}

static struct place keep(struct batch *b, struct span s)
{
    struct place p = {.at = b->bytes.len, .len = s.len};

    buf_put(&b->bytes, s);
    return p;
}

static void add_change(struct batch *b, enum change_op op, unsigned table, struct span key,
                       struct span value)
{
    struct change_row row = {.op = op, .table = table};

    row.key = keep(b, key);
    row.value = keep(b, value);
    buf_put(&b->changes, span_of(&row, sizeof row));
}

void batch_put(struct batch *b, unsigned table, struct span key, struct span value)
{
    add_change(b, CHANGE_PUT, table, key, value);
}

void batch_append(struct batch *b, unsigned table, struct span key, struct span value)
{
    add_change(b, CHANGE_APPEND, table, key, value);
}

void batch_delete(struct batch *b, unsigned table, struct span key)
{
    add_change(b, CHANGE_DELETE, table, key, span_of(NULL, 0));
}

void batch_leaf(struct batch *b, const Sp__Leaf *leaf, struct span detail)
{
    struct leaf_row row = {.leaf.at = b->bytes.len};

    assert(leaf->at_ms != 0);
    pb_encode(leaf, &b->bytes);
    row.leaf.len = b->bytes.len - row.leaf.at;
    row.detail = keep(b, detail);
    buf_put(&b->leaves, span_of(&row, sizeof row));
}

enum err batch_error(const struct batch *b)
{
    if (b->bytes.err != ERR_OK)
        return b->bytes.err;
    return b->changes.err != ERR_OK ? b->changes.err : b->leaves.err;
}

static struct span at(const struct batch *b, struct place p)
{
    return span_of(p.len == 0 ? NULL : b->bytes.data + p.at, p.len);
}

size_t batch_change_count(const struct batch *b)
{
    return b->changes.len / sizeof(struct change_row);
}

struct change batch_change_at(const struct batch *b, size_t i)
{
    const struct change_row *row = (const struct change_row *)(const void *)b->changes.data + i;

    assert(i < batch_change_count(b));
    return (struct change){
        .op = row->op, .table = row->table, .key = at(b, row->key), .value = at(b, row->value)};
}

size_t batch_leaf_count(const struct batch *b)
{
    return b->leaves.len / sizeof(struct leaf_row);
}

struct batch_leaf batch_leaf_at(const struct batch *b, size_t i)
{
    const struct leaf_row *row = (const struct leaf_row *)(const void *)b->leaves.data + i;

    assert(i < batch_leaf_count(b));
    return (struct batch_leaf){.leaf = at(b, row->leaf), .detail = at(b, row->detail)};
}

struct committer {
    struct store *store;
    struct audit_log *log;
    struct store_txn *txn;
    struct view view;
    enum err err; /* sticky while a transaction is open */
};

static enum err txn_get(void *ctx, unsigned table, struct span key, struct span *ret)
{
    const struct committer *c = ctx;

    assert(c->txn != NULL);
    return store_get(c->txn, table, key, ret);
}

static enum err txn_seek(void *ctx, unsigned table, struct span from, struct span *key,
                         struct span *value)
{
    const struct committer *c = ctx;

    assert(c->txn != NULL);
    return store_seek(c->txn, table, from, key, value);
}

enum err committer_new(struct store *store, struct audit_log *log, struct committer **ret)
{
    struct committer *c = calloc(1, sizeof *c);

    if (c == NULL)
        return ERR_NO_MEMORY;
    c->store = store;
    c->log = log;
    c->view = (struct view){.ctx = c, .get = txn_get, .seek = txn_seek};
    *ret = c;
    return ERR_OK;
}

void committer_free(struct committer *c)
{
    if (c == NULL)
        return;
    commit_abort(c);
    free(c);
}

enum err commit_begin(struct committer *c)
{
    assert(c->txn == NULL);
    c->err = ERR_OK;
    return store_write_begin(c->store, &c->txn);
}

const struct view *commit_view(struct committer *c)
{
    return &c->view;
}

struct store_txn *commit_txn(struct committer *c)
{
    assert(c->txn != NULL);
    return c->txn;
}

static void apply_changes(struct committer *c, const struct batch *b)
{
    size_t n = batch_change_count(b);

    for (size_t i = 0; i < n; i++) {
        struct change change = batch_change_at(b, i);

        switch (change.op) {
        case CHANGE_PUT:
            store_put(c->txn, change.table, change.key, change.value);
            break;
        case CHANGE_APPEND:
            store_append(c->txn, change.table, change.key, change.value);
            break;
        case CHANGE_DELETE:
            store_delete(c->txn, change.table, change.key);
            break;
        }
    }
}

static enum err apply_leaf(struct committer *c, struct batch_leaf row)
{
    struct pb *pb;
    Sp__Leaf leaf;
    uint64_t index;
    enum err e = pb_decode(&sp__leaf__descriptor, row.leaf, LIMIT_LEAF, &pb);

    if (e != ERR_OK)
        return e;
    leaf = *(const Sp__Leaf *)pb_view(pb);
    audit_log_append(c->log, c->txn, &leaf, row.detail, &index);
    pb_free(pb);
    return ERR_OK;
}

enum err commit_apply(struct committer *c, const struct batch *b)
{
    size_t n = batch_leaf_count(b);

    assert(c->txn != NULL);
    if (c->err == ERR_OK)
        c->err = batch_error(b);
    if (c->err == ERR_OK)
        apply_changes(c, b);
    for (size_t i = 0; c->err == ERR_OK && i < n; i++)
        c->err = apply_leaf(c, batch_leaf_at(b, i));
    if (c->err == ERR_OK)
        c->err = store_txn_error(c->txn);
    return c->err;
}

void commit_abort(struct committer *c)
{
    if (c->txn == NULL)
        return;
    store_abort(c->txn);
    c->txn = NULL;
    audit_log_aborted(c->log);
}

enum commit_outcome commit_end(struct committer *c, enum err *why)
{
    enum err e = c->err;

    assert(c->txn != NULL);
    if (e == ERR_OK) {
        audit_log_flush(c->log, c->txn);
        e = store_txn_error(c->txn);
    }
    if (e != ERR_OK) {
        commit_abort(c);
        *why = e;
        return COMMIT_FAILED;
    }
    e = store_commit(c->txn);
    c->txn = NULL;
    if (e != ERR_OK) {
        audit_log_aborted(c->log);
        *why = e;
        /* Of the store's errors only this one leaves it open what the disk holds. */
        return e == ERR_IN_DOUBT ? COMMIT_IN_DOUBT : COMMIT_FAILED;
    }
    audit_log_committed(c->log);
    *why = audit_log_checkpoint(c->log);
    /* The effect is durable but nobody can be told: the daemon stops and signs after its restart.
     */
    return *why == ERR_OK ? COMMIT_DONE : COMMIT_IN_DOUBT;
}
