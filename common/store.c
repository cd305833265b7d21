#include "common/store.h"

#include "common/file.h"
#include "common/store_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Write transactions between two looks for readers that died. */
#define READER_CHECK 256

enum err store_error(int rc)
{
    switch (rc) {
    case 0:
        return ERR_OK;
    case MDB_NOTFOUND:
        return ERR_NOT_FOUND;
    case MDB_KEYEXIST:
        return ERR_EXISTS;
    case MDB_MAP_FULL:
        return ERR_DISK_FULL;
    case MDB_TXN_FULL:
    case MDB_CURSOR_FULL:
    case MDB_READERS_FULL:
        return ERR_FULL;
    case MDB_MAP_RESIZED:
        return ERR_UNAVAILABLE;
    case MDB_BAD_VALSIZE:
        return ERR_TOO_LARGE;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
    case MDB_INCOMPATIBLE:
        return ERR_CORRUPT;
    default:
        return rc > 0 ? file_error(rc) : ERR_IO;
    }
}

void store_latch(struct store *s, enum err e)
{
    int none = ERR_OK;

    atomic_compare_exchange_strong(&s->latched, &none, (int)e);
}

enum err store_failed(struct store *s, int rc)
{
    if (rc == EIO || rc == MDB_PANIC)
        store_latch(s, ERR_IO);
    return store_error(rc);
}

/* The file may have been truncated since it was opened; a map behind its end is a SIGBUS. */
static enum err check_size(const struct store *s, uintptr_t *map_end)
{
    MDB_envinfo info;
    struct stat st;
    uint64_t end;

    mdb_env_info(s->env, &info);
    if (fstat(s->data_fd, &st) != 0)
        return file_error(errno);
    end = (uint64_t)st.st_size < info.me_mapsize ? (uint64_t)st.st_size : info.me_mapsize;
    if (end < (info.me_last_pgno + 1) * s->page_bytes)
        return ERR_CORRUPT;
    *map_end = s->map_at == 0 ? 0 : s->map_at + end;
    return ERR_OK;
}

static enum err begin(struct store *s, bool write, struct store_txn **ret)
{
    struct store_txn *txn;
    enum err e = (enum err)atomic_load(&s->latched);
    int rc;

    assert(s->pid == getpid());
    if (e != ERR_OK)
        return e;
    txn = calloc(1, sizeof *txn);
    if (txn == NULL)
        return ERR_NO_MEMORY;
    txn->store = s;
    txn->write = write;
    buf_init(&txn->scratch, LIMIT_STORE_KEY + STORE_SUM + LIMIT_STORE_VALUE);
    rc = mdb_txn_begin(s->env, NULL, write ? 0 : MDB_RDONLY, &txn->mdb);
    e = store_failed(s, rc);
    if (e == ERR_OK) {
        /* The writer before may have failed while this one waited. */
        e = (enum err)atomic_load(&s->latched);
        if (e == ERR_OK)
            e = check_size(s, &txn->map_end);
        if (e != ERR_OK)
            mdb_txn_abort(txn->mdb);
    }
    if (e != ERR_OK) {
        free(txn);
        return e;
    }
    atomic_fetch_add(&s->transactions, 1);
    *ret = txn;
    return ERR_OK;
}

enum err store_write_begin(struct store *s, struct store_txn **ret)
{
    enum err e;

    if (s->read_only)
        return ERR_NOT_ALLOWED;
    e = begin(s, true, ret);
    if (e == ERR_OK && s->writes++ % READER_CHECK == 0) {
        int dead;

        mdb_reader_check(s->env, &dead);
    }
    return e;
}

enum err store_read_begin(struct store *s, struct store_txn **ret)
{
    return begin(s, false, ret);
}

/* All but LMDB's own part. */
static void end(struct store_txn *txn)
{
    assert(txn->cursors == 0);
    for (unsigned i = 0; i < LIMIT_STORE_TABLES; i++) {
        if (txn->seek[i] != NULL)
            mdb_cursor_close(txn->seek[i]);
        txn->seek[i] = NULL;
    }
}

static void discard(struct store_txn *txn)
{
    atomic_fetch_sub(&txn->store->transactions, 1);
    buf_wipe(&txn->scratch);
    free(txn);
}

void store_abort(struct store_txn *txn)
{
    if (txn == NULL)
        return;
    end(txn);
    mdb_txn_abort(txn->mdb);
    discard(txn);
}

static int fault(const struct store *s, enum store_fault_point point)
{
    return s->fault == NULL ? 0 : s->fault->hit(s->fault->ctx, point);
}

/* LMDB's own refusals come before it writes anything. */
static bool surely_failed(int rc)
{
    return rc == MDB_MAP_FULL || rc == MDB_TXN_FULL;
}

enum err store_commit(struct store_txn *txn)
{
    struct store *s = txn->store;
    enum err e = txn->err;
    int rc;

    assert(txn->write);
    if (e == ERR_OK)
        e = store_reserve(txn);
    if (e != ERR_OK) {
        store_abort(txn);
        return e;
    }
    end(txn);
    rc = fault(s, STORE_FAULT_BEFORE_COMMIT);
    if (rc == 0)
        rc = mdb_txn_commit(txn->mdb);
    else
        mdb_txn_abort(txn->mdb);
    if (rc == 0)
        rc = fault(s, STORE_FAULT_AFTER_COMMIT);
    discard(txn);
    if (rc == 0)
        return ERR_OK;
    if (surely_failed(rc))
        return store_error(rc);
    store_latch(s, ERR_IN_DOUBT);
    return ERR_IN_DOUBT;
}

void store_set_format(struct store_txn *txn, uint32_t format)
{
    uint8_t b[] = {(uint8_t)(format >> 24), (uint8_t)(format >> 16), (uint8_t)(format >> 8),
                   (uint8_t)format};

    store_map_put(txn, &txn->store->own, span_str(STORE_OWN_FORMAT), span_of(b, sizeof b), 0);
}
