#include "common/store_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct bound {
    uint8_t b[LIMIT_STORE_KEY + 1];
    size_t len;
};

struct store_cursor {
    struct store_txn *txn;
    const struct store_map *map;
    MDB_cursor *mdb; /* NULL for a table that is not there */
    struct bound from;
    struct bound until; /* empty: none */
    struct bound at;    /* key of the record that it stands on; empty: nowhere */
    uint64_t changes;   /* of the transaction when `mdb` was placed */
};

static struct span bound_span(const struct bound *b)
{
    return span_of(b->b, b->len);
}

static void bound_set(struct bound *b, struct span s)
{
    assert(s.len <= sizeof b->b);
    if (s.len > 0)
        memcpy(b->b, s.data, s.len);
    b->len = s.len;
}

/* The first key behind all that begin with the prefix; none (empty) when it is all ones. */
static void bound_behind(struct bound *b, struct span prefix)
{
    bound_set(b, prefix);
    while (b->len > 0 && b->b[b->len - 1] == 0xff)
        b->len--;
    if (b->len > 0)
        b->b[b->len - 1]++;
}

static void set_range(struct store_cursor *c, struct store_range range)
{
    struct bound behind;

    bound_set(&c->from, range.from);
    bound_set(&c->until, range.until);
    if (range.prefix.len == 0)
        return;
    if (span_compare(range.prefix, bound_span(&c->from)) > 0)
        bound_set(&c->from, range.prefix);
    bound_behind(&behind, range.prefix);
    if (behind.len > 0 &&
        (c->until.len == 0 || span_compare(bound_span(&behind), bound_span(&c->until)) < 0))
        c->until = behind;
}

static enum err open_cursor(struct store_cursor *c)
{
    int rc;

    if (c->mdb != NULL)
        mdb_cursor_close(c->mdb);
    c->mdb = NULL;
    rc = mdb_cursor_open(c->txn->mdb, c->map->dbi, &c->mdb);
    if (rc == 0)
        c->changes = c->txn->changes;
    return rc == 0 ? ERR_OK : store_failed(c->txn->store, rc);
}

enum err store_cursor_new(struct store_txn *txn, unsigned table, struct store_range range,
                          struct store_cursor **ret)
{
    struct store_cursor *c;

    assert(table < txn->store->table_count);
    if (range.from.len > LIMIT_STORE_KEY || range.until.len > LIMIT_STORE_KEY ||
        range.prefix.len > LIMIT_STORE_KEY)
        return ERR_TOO_LARGE;
    c = calloc(1, sizeof *c);
    if (c == NULL)
        return ERR_NO_MEMORY;
    c->txn = txn;
    c->map = &txn->store->tables[table];
    set_range(c, range);
    if (c->map->present) {
        enum err e = open_cursor(c);

        if (e != ERR_OK) {
            free(c);
            return e;
        }
    }
    txn->cursors++;
    *ret = c;
    return ERR_OK;
}

void store_cursor_free(struct store_cursor *c)
{
    if (c == NULL)
        return;
    c->txn->cursors--;
    if (c->mdb != NULL)
        mdb_cursor_close(c->mdb);
    free(c);
}

/* What LMDB found becomes the answer when it lies within the range. */
static enum err answer(struct store_cursor *c, int rc, MDB_val k, MDB_val data, struct span *key,
                       struct span *value)
{
    struct span found = span_of(k.mv_data, k.mv_size);
    enum err e;

    c->at.len = 0;
    if (rc != 0)
        return store_failed(c->txn->store, rc);
    if (!store_key_holds(c->txn, k))
        return ERR_IO;
    if (span_compare(found, bound_span(&c->from)) < 0)
        return ERR_NOT_FOUND;
    if (c->until.len > 0 && span_compare(found, bound_span(&c->until)) >= 0)
        return ERR_NOT_FOUND;
    e = store_unpack(c->txn, c->map, k, data, value);
    if (e != ERR_OK && e != ERR_CORRUPT)
        return e;
    bound_set(&c->at, found);
    *key = found;
    return e;
}

static int place(struct store_cursor *c, struct span from, MDB_val *k, MDB_val *data)
{
    *k = (MDB_val){.mv_size = from.len, .mv_data = (void *)(uintptr_t)from.data};
    return mdb_cursor_get(c->mdb, k, data, from.len == 0 ? MDB_FIRST : MDB_SET_RANGE);
}

/* A fresh cursor after changes: LMDB's would be moved along with the pages in ways of its own. */
static enum err ready(struct store_cursor *c)
{
    if (c->mdb == NULL)
        return ERR_NOT_FOUND;
    return c->changes == c->txn->changes ? ERR_OK : open_cursor(c);
}

enum err store_cursor_seek(struct store_cursor *c, struct span from, struct span *key,
                           struct span *value)
{
    struct bound copy;
    MDB_val k;
    MDB_val data = {0};
    enum err e;
    int rc;

    if (from.len > LIMIT_STORE_KEY)
        return ERR_TOO_LARGE;
    if (span_compare(from, bound_span(&c->from)) < 0)
        from = bound_span(&c->from);
    bound_set(&copy, from);
    e = ready(c);
    if (e != ERR_OK)
        return e;
    rc = place(c, bound_span(&copy), &k, &data);
    return answer(c, rc, k, data, key, value);
}

enum err store_cursor_first(struct store_cursor *c, struct span *key, struct span *value)
{
    return store_cursor_seek(c, span_of(NULL, 0), key, value);
}

/* The record before the first one with a key >= `limit`; an empty limit is behind everything. */
static int place_before(struct store_cursor *c, struct span limit, MDB_val *k, MDB_val *data)
{
    int rc = limit.len == 0 ? MDB_NOTFOUND : place(c, limit, k, data);

    if (rc == MDB_NOTFOUND)
        return mdb_cursor_get(c->mdb, k, data, MDB_LAST);
    return rc == 0 ? mdb_cursor_get(c->mdb, k, data, MDB_PREV) : rc;
}

enum err store_cursor_last(struct store_cursor *c, struct span *key, struct span *value)
{
    MDB_val k = {0};
    MDB_val data = {0};
    enum err e = ready(c);
    int rc;

    if (e != ERR_OK)
        return e;
    rc = place_before(c, bound_span(&c->until), &k, &data);
    return answer(c, rc, k, data, key, value);
}

enum err store_cursor_next(struct store_cursor *c, struct span *key, struct span *value)
{
    bool moved = c->changes != c->txn->changes;
    MDB_val k = {0};
    MDB_val data = {0};
    enum err e;
    int rc;

    if (c->at.len == 0)
        return store_cursor_first(c, key, value);
    e = ready(c);
    if (e != ERR_OK)
        return e;
    if (!moved) {
        rc = mdb_cursor_get(c->mdb, &k, &data, MDB_NEXT);
        return answer(c, rc, k, data, key, value);
    }
    rc = place(c, bound_span(&c->at), &k, &data);
    if (rc == 0 && span_equal(span_of(k.mv_data, k.mv_size), bound_span(&c->at)))
        rc = mdb_cursor_get(c->mdb, &k, &data, MDB_NEXT);
    return answer(c, rc, k, data, key, value);
}

enum err store_cursor_prev(struct store_cursor *c, struct span *key, struct span *value)
{
    bool moved = c->changes != c->txn->changes;
    MDB_val k = {0};
    MDB_val data = {0};
    enum err e;
    int rc;

    if (c->at.len == 0)
        return store_cursor_last(c, key, value);
    e = ready(c);
    if (e != ERR_OK)
        return e;
    rc = moved ? place_before(c, bound_span(&c->at), &k, &data)
               : mdb_cursor_get(c->mdb, &k, &data, MDB_PREV);
    return answer(c, rc, k, data, key, value);
}
