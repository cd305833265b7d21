#include "common/store_internal.h"

#include <assert.h>
#include <string.h>

/* LMDB 0.9 mdb.c, MDB_page and MDB_node. */
#define PAGE_HEAD 16
#define PAGE_COUNT 12
#define NODE_HEAD 8

static const uint8_t plain_key[CHECKSUM_KEY];

static bool can_check(const struct store *s, const struct store_map *map)
{
    return !map->keyed || s->key != NULL;
}

static uint64_t sum_of(const struct store *s, const struct store_map *map, struct span key,
                       struct span value)
{
    const uint8_t *k = map->keyed ? secret_bytes(s->key).data : plain_key;
    struct span parts[] = {span_str(map->name), key, value};

    return checksum64(k, parts, 3);
}

static MDB_val val(struct span s)
{
    return (MDB_val){.mv_size = s.len, .mv_data = (void *)(uintptr_t)s.data};
}

static struct span span_val(MDB_val v)
{
    return span_of(v.mv_data, v.mv_size);
}

static bool key_fits(struct span key)
{
    return key.len > 0 && key.len <= LIMIT_STORE_KEY;
}

bool store_inside(const struct store_txn *txn, MDB_val v)
{
    uintptr_t at = (uintptr_t)v.mv_data;

    if (txn->store->map_at == 0 || at < txn->store->map_at || at >= txn->map_end)
        return true;
    return v.mv_size <= txn->map_end - at;
}

bool store_key_holds(const struct store_txn *txn, MDB_val key)
{
    return key_fits(span_val(key)) && store_inside(txn, key);
}

enum err store_unpack(struct store_txn *txn, const struct store_map *map, MDB_val key, MDB_val data,
                      struct span *value)
{
    uint8_t sum[STORE_SUM];
    struct span found;

    if (data.mv_size < STORE_SUM || data.mv_size > STORE_SUM + LIMIT_STORE_VALUE ||
        !store_inside(txn, data))
        return ERR_CORRUPT;
    if (!can_check(txn->store, map))
        return ERR_NOT_ALLOWED;
    found = span_of((const uint8_t *)data.mv_data + STORE_SUM, data.mv_size - STORE_SUM);
    store_key_u64(sum_of(txn->store, map, span_val(key), found), sum);
    if (memcmp(sum, data.mv_data, STORE_SUM) != 0)
        return ERR_CORRUPT;
    *value = found;
    return ERR_OK;
}

enum err store_map_get(struct store_txn *txn, const struct store_map *map, struct span key,
                       struct span *ret)
{
    MDB_val k = val(key);
    MDB_val data;
    int rc;

    if (!map->present || !key_fits(key))
        return ERR_NOT_FOUND;
    rc = mdb_get(txn->mdb, map->dbi, &k, &data);
    if (rc != 0)
        return store_failed(txn->store, rc);
    return store_unpack(txn, map, k, data, ret);
}

enum err store_get(struct store_txn *txn, unsigned table, struct span key, struct span *ret)
{
    assert(table < txn->store->table_count);
    return store_map_get(txn, &txn->store->tables[table], key, ret);
}

/* LMDB's rule for what goes into pages of its own: two records must fit into one page. */
static bool is_large(const struct store *s, struct span key, struct span value)
{
    uint64_t most = (s->page_bytes - PAGE_HEAD) / 2 / 2 * 2 - 2;

    return NODE_HEAD + key.len + STORE_SUM + value.len > most;
}

static void account(struct store_txn *txn, struct span key, struct span value)
{
    txn->changes++;
    txn->value_need += key.len + value.len + 32;
    if (is_large(txn->store, key, value))
        txn->value_need += txn->store->page_bytes;
}

/* Where LMDB has placed a large record: its page number and count stand before it. */
static void note_large(struct store_txn *txn, const uint8_t *record)
{
    uint64_t number;
    uint32_t count;
    uint64_t end;

    memcpy(&number, record - PAGE_HEAD, sizeof number);
    memcpy(&count, record - PAGE_HEAD + PAGE_COUNT, sizeof count);
    end = (number + count) * txn->store->page_bytes;
    if (end > txn->large_end)
        txn->large_end = end;
}

void store_fail(struct store_txn *txn, enum err e)
{
    if (txn->err == ERR_OK)
        txn->err = e;
}

enum err store_txn_error(const struct store_txn *txn)
{
    return txn->err;
}

/* The record is put together aside, since key and value may lie in pages that LMDB is about to
 * change. */
void store_map_put(struct store_txn *txn, const struct store_map *map, struct span key,
                   struct span value, unsigned flags)
{
    struct span record;
    MDB_val k;
    MDB_val data;
    int rc;

    assert(txn->write);
    if (txn->err != ERR_OK)
        return;
    if (!key_fits(key) || value.len > LIMIT_STORE_VALUE) {
        txn->err = ERR_TOO_LARGE;
        return;
    }
    buf_reset(&txn->scratch);
    buf_put(&txn->scratch, key);
    buf_put_u64be(&txn->scratch, sum_of(txn->store, map, key, value));
    buf_put(&txn->scratch, value);
    if (txn->scratch.err != ERR_OK) {
        txn->err = txn->scratch.err;
        return;
    }
    account(txn, key, value);
    txn->puts++;
    k = val(span_of(txn->scratch.data, key.len));
    record = span_of(txn->scratch.data + key.len, txn->scratch.len - key.len);
    data = val(record);
    if (is_large(txn->store, key, value))
        flags |= MDB_RESERVE;
    rc = mdb_put(txn->mdb, map->dbi, &k, &data, flags);
    if (rc != 0) {
        txn->err = store_failed(txn->store, rc);
    } else if ((flags & MDB_RESERVE) != 0) {
        memcpy(data.mv_data, record.data, record.len);
        note_large(txn, data.mv_data);
    }
}

void store_put(struct store_txn *txn, unsigned table, struct span key, struct span value)
{
    assert(table < txn->store->table_count);
    store_map_put(txn, &txn->store->tables[table], key, value, 0);
}

void store_append(struct store_txn *txn, unsigned table, struct span key, struct span value)
{
    assert(table < txn->store->table_count);
    store_map_put(txn, &txn->store->tables[table], key, value, MDB_APPEND);
}

void store_delete(struct store_txn *txn, unsigned table, struct span key)
{
    uint8_t copy[LIMIT_STORE_KEY];
    MDB_val k;
    int rc;

    assert(txn->write && table < txn->store->table_count);
    if (txn->err != ERR_OK)
        return;
    if (!key_fits(key)) {
        txn->err = ERR_TOO_LARGE;
        return;
    }
    memcpy(copy, key.data, key.len);
    account(txn, key, span_of(NULL, 0));
    k = val(span_of(copy, key.len));
    rc = mdb_del(txn->mdb, txn->store->tables[table].dbi, &k, NULL);
    if (rc != 0 && rc != MDB_NOTFOUND)
        txn->err = store_failed(txn->store, rc);
}

/* Looking up costs a cursor less when the transaction keeps it. */
static enum err seek_cursor(struct store_txn *txn, unsigned table, MDB_cursor **ret)
{
    MDB_cursor **kept = &txn->seek[table];
    int rc;

    if (*kept != NULL && txn->seek_changes[table] != txn->changes) {
        mdb_cursor_close(*kept);
        *kept = NULL;
    }
    if (*kept == NULL) {
        rc = mdb_cursor_open(txn->mdb, txn->store->tables[table].dbi, kept);
        if (rc != 0) {
            *kept = NULL;
            return store_failed(txn->store, rc);
        }
        txn->seek_changes[table] = txn->changes;
    }
    *ret = *kept;
    return ERR_OK;
}

enum err store_seek(struct store_txn *txn, unsigned table, struct span from, struct span *key,
                    struct span *value)
{
    const struct store_map *map = &txn->store->tables[table];
    MDB_cursor *cursor = NULL;
    MDB_val k = val(from);
    MDB_val data;
    enum err e;
    int rc;

    assert(table < txn->store->table_count);
    /* No key is longer; LMDB would compare what it cannot hold. */
    if (from.len > LIMIT_STORE_KEY)
        return ERR_TOO_LARGE;
    if (!map->present)
        return ERR_NOT_FOUND;
    e = seek_cursor(txn, table, &cursor);
    if (e != ERR_OK)
        return e;
    rc = mdb_cursor_get(cursor, &k, &data, from.len == 0 ? MDB_FIRST : MDB_SET_RANGE);
    if (rc != 0)
        return store_failed(txn->store, rc);
    if (!store_key_holds(txn, k))
        return ERR_IO;
    e = store_unpack(txn, map, k, data, value);
    if (e == ERR_OK || e == ERR_CORRUPT)
        *key = span_val(k);
    return e;
}

enum err store_count(struct store_txn *txn, unsigned table, uint64_t *ret)
{
    const struct store_map *map = &txn->store->tables[table];
    MDB_stat stat;
    int rc;

    assert(table < txn->store->table_count);
    if (!map->present) {
        *ret = 0;
        return ERR_OK;
    }
    rc = mdb_stat(txn->mdb, map->dbi, &stat);
    if (rc != 0)
        return store_failed(txn->store, rc);
    *ret = stat.ms_entries;
    return ERR_OK;
}

void store_key_u64(uint64_t number, uint8_t out[STORE_KEY_U64])
{
    for (size_t i = 0; i < STORE_KEY_U64; i++)
        out[i] = (uint8_t)(number >> (56 - 8 * i));
}

enum err store_key_to_u64(struct span key, uint64_t *ret)
{
    uint64_t v = 0;

    if (key.len != STORE_KEY_U64)
        return ERR_CORRUPT;
    for (size_t i = 0; i < STORE_KEY_U64; i++)
        v = v << 8 | key.data[i];
    *ret = v;
    return ERR_OK;
}
