#include "common/file.h"
#include "common/store_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

/* Pages beside those that records touch: roots, the free list, the table of tables. */
#define NEED_PAGES 64
/* The same for a transaction of deletes alone, and the depth of a tree of a milliard records. */
#define DELETE_PAGES 16
#define DEPTH 4

static uint64_t lower(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static enum err allocated(const struct store *s, uint64_t *ret)
{
    struct stat st;

    if (fstat(s->data_fd, &st) != 0)
        return file_error(errno);
    *ret = (uint64_t)st.st_size;
    return ERR_OK;
}

/* Bytes up to the last page that any commit used. */
static uint64_t used_end(const struct store *s, uint64_t *map_bytes)
{
    MDB_envinfo info;

    mdb_env_info(s->env, &info);
    *map_bytes = info.me_mapsize / s->page_bytes * s->page_bytes;
    return (info.me_last_pgno + 1) * s->page_bytes;
}

enum err store_extend(struct store *s, uint64_t bytes, uint64_t ahead)
{
    uint64_t map;
    uint64_t size = 0;
    uint64_t want = used_end(s, &map);
    enum err e;

    want = lower(want + bytes, map);
    pthread_mutex_lock(&s->extend);
    e = allocated(s, &size);
    if (e == ERR_OK && size < want) {
        e = ERR_DISK_FULL;
        if (ahead > 0)
            e = file_preallocate(s->data_fd, lower(want + ahead, map));
        if (e == ERR_DISK_FULL)
            e = file_preallocate(s->data_fd, want);
    }
    pthread_mutex_unlock(&s->extend);
    return e;
}

/* Each old page is copied once at most, and a page that was split has half of its room left; so
 * twice the pages touched, twice the bytes put, are enough. */
uint64_t store_need(const struct store_txn *txn)
{
    const struct store *s = txn->store;
    uint64_t map;
    uint64_t pages = used_end(s, &map) / s->page_bytes;

    return 2 * s->page_bytes * lower(2 * txn->changes + NEED_PAGES, pages + NEED_PAGES) +
           2 * txn->value_need;
}

enum err store_reserve(struct store_txn *txn)
{
    struct store *s = txn->store;
    struct store_usage usage;
    uint64_t need = store_need(txn);
    enum err e = store_extend(s, need, LIMIT_STORE_AHEAD);

    if (e != ERR_DISK_FULL)
        return e;
    /* On a full disk it goes on in freed pages. LMDB takes those first; only where it needs several
     * in a row it may have gone behind them. What puts must leave over is there for deletes. */
    e = store_usage(s, &usage);
    if (e != ERR_OK)
        return e;
    need = txn->puts > 0 ? 2 * need : (DEPTH * txn->changes + DELETE_PAGES) * s->page_bytes;
    return txn->large_end <= usage.allocated_bytes &&
                   usage.allocated_bytes >= usage.used_bytes + need
               ? ERR_OK
               : ERR_DISK_FULL;
}

static uint64_t live_pages(const MDB_stat *stat)
{
    return stat->ms_branch_pages + stat->ms_leaf_pages + stat->ms_overflow_pages;
}

static int oldest_reader(const char *line, void *ctx)
{
    unsigned long long *oldest = ctx;
    unsigned long long id;

    if (sscanf(line, "%*d %*x %llu", &id) == 1 && id < *oldest)
        *oldest = id;
    return 0;
}

/* Pages on the free list that a reader may still see: those freed by `oldest` and later. */
static enum err held_pages(MDB_txn *txn, size_t oldest, uint64_t *ret)
{
    MDB_cursor *cursor;
    MDB_val key = {.mv_size = sizeof oldest, .mv_data = &oldest};
    MDB_val data;
    int rc = mdb_cursor_open(txn, 0, &cursor);

    if (rc != 0)
        return store_error(rc);
    *ret = 0;
    for (rc = mdb_cursor_get(cursor, &key, &data, MDB_SET_RANGE); rc == 0;
         rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT)) {
        size_t count = 0;

        if (data.mv_size >= sizeof count)
            memcpy(&count, data.mv_data, sizeof count);
        *ret += count;
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? ERR_OK : store_error(rc);
}

static enum err used_pages(struct store_txn *txn, uint64_t *ret)
{
    struct store *s = txn->store;
    MDB_stat stat;
    uint64_t held = 0;
    uint64_t pages = 2;
    unsigned long long oldest = mdb_txn_id(txn->mdb);
    int rc = mdb_env_stat(s->env, &stat);
    enum err e;

    pages += live_pages(&stat);
    if (rc == 0)
        rc = mdb_stat(txn->mdb, 0, &stat);
    pages += live_pages(&stat);
    if (rc == 0)
        rc = mdb_stat(txn->mdb, s->own.dbi, &stat);
    pages += live_pages(&stat);
    for (unsigned i = 0; rc == 0 && i < s->table_count; i++) {
        if (!s->tables[i].present)
            continue;
        rc = mdb_stat(txn->mdb, s->tables[i].dbi, &stat);
        pages += live_pages(&stat);
    }
    if (rc == 0)
        mdb_reader_list(s->env, oldest_reader, &oldest);
    e = rc == 0 ? held_pages(txn->mdb, oldest, &held) : store_error(rc);
    if (e == ERR_OK)
        *ret = pages + held;
    return e;
}

enum err store_usage(struct store *s, struct store_usage *ret)
{
    struct store_usage usage;
    struct store_txn *txn;
    struct statvfs fs;
    uint64_t pages;
    enum err e = store_read_begin(s, &txn);

    if (e != ERR_OK)
        return e;
    e = used_pages(txn, &pages);
    store_read_end(txn);
    if (e == ERR_OK)
        e = allocated(s, &usage.allocated_bytes);
    if (e != ERR_OK)
        return e;
    if (fstatvfs(s->data_fd, &fs) != 0)
        return file_error(errno);
    used_end(s, &usage.map_bytes);
    usage.used_bytes = pages * s->page_bytes;
    usage.free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    *ret = usage;
    return ERR_OK;
}

enum err store_room(struct store *s, uint64_t bytes, enum store_class class)
{
    struct store_usage u;
    unsigned percent = class == STORE_ORDINARY ? LIMIT_STORE_ORDINARY : LIMIT_STORE_RESERVE;
    uint64_t ahead = class == STORE_ORDINARY ? LIMIT_STORE_AHEAD : 0;
    enum err e = store_usage(s, &u);

    if (e != ERR_OK)
        return e;
    if (bytes > u.map_bytes || u.used_bytes + bytes > u.map_bytes / 100 * percent)
        return ERR_DISK_FULL;
    if (class == STORE_ORDINARY && u.free_bytes < s->disk_floor)
        return ERR_DISK_FULL;
    e = store_extend(s, bytes + ahead, 0);
    /* Pages that were freed are as good. */
    if (e == ERR_DISK_FULL && u.allocated_bytes >= u.used_bytes + bytes + ahead)
        e = ERR_OK;
    return e;
}
