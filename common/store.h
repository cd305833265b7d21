/* The store: one LMDB environment per daemon, the only user of <lmdb.h>.
 *
 * Tables map keys (1 to 511 bytes, in memcmp order) to values. Each record carries a checksum over
 * (table name, key, value): keyed in tables that say so, else plain, so that an auditor needs no
 * key. What does not hold is reported with its key and never served.
 *
 * One process writes, one transaction at a time, which stays on its thread; read transactions may
 * be used by any thread, one at a time. A store is never used across fork (asserted). Commits are
 * synchronous: what store_commit says ERR_OK to survives a power cut.
 *
 * Files in the directory, which is the store's alone:
 *   data.mdb      the environment, allocated ahead of use so that no commit finds the disk full
 *   lock.mdb      LMDB's reader table, allocated in full before it is mapped
 *   data.mdb.new  a store or copy being made
 * Crash cases:
 *   while making   data.mdb is not there or is whole: it is made and synced under the other name,
 *                  then renamed; a left-over data.mdb.new is removed by the next store_open
 *   while writing  the last commit that was acknowledged, or one that was under way, is what the
 *                  next store_open finds; nothing has to be repaired
 *   reader killed  its slot is freed by a later write transaction
 * LMDB's own pages have no checksums: opening for writing and reading through a copy walk all of
 * them once (about a second for each GiB of small records) and refuse a file that LMDB could
 * stumble over; a live store that is read in place is trusted. docs/DISK-FORMAT.md describes the
 * records.
 *
 * Errors, unless a function says more: ERR_IO, ERR_NO_MEMORY, ERR_CORRUPT (the file is not what was
 * written). After an I/O error or a commit that failed the store is latched: a failed sync may be
 * followed by one that succeeds without the lost pages, so every later begin gives that error again
 * and the process has to stop. */
#ifndef SEALPOST_COMMON_STORE_H
#define SEALPOST_COMMON_STORE_H

#include "common/err.h"
#include "common/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A caller's tables are numbered by their place in its list, 0 to LIMIT_STORE_TABLES - 1. Tables
 * may be added to the end of a list; a name keeps its meaning for ever. */
struct store_table {
    const char *name; /* 1 to LIMIT_STORE_NAME - 1 bytes */
    bool keyed;       /* checksums under the store's secret key, else under 16 zero bytes */
};

#define STORE_CHECKSUM_KEY ((size_t)16)

/* A seam for tests: called by each commit, returns 0 or the errno that the commit shall meet. */
enum store_fault_point {
    STORE_FAULT_BEFORE_COMMIT, /* the transaction is lost */
    STORE_FAULT_AFTER_COMMIT,  /* it is durable, but nobody is told */
};
struct store_fault {
    void *ctx;
    int (*hit)(void *ctx, enum store_fault_point point);
};

struct store_options {
    const char *dir;                  /* made (0700) when it is missing, unless read_only */
    uint64_t map_bytes;               /* greatest size; an existing larger store keeps its own */
    const struct store_table *tables; /* copied */
    unsigned table_count;
    const char *kind;            /* "broker", "agent": stored at creation, checked ever after */
    uint32_t format;             /* of the caller's records, likewise */
    const uint8_t *checksum_key; /* STORE_CHECKSUM_KEY bytes, copied into locked memory; NULL: keyed
                                  * tables cannot be read (ERR_NOT_ALLOWED), only with read_only */
    uint64_t disk_floor;         /* bytes left to others on the file system; 0: LIMIT_STORE_FLOOR */
    bool read_only;
    bool snapshot;                   /* with read_only: read a private copy, for long reads */
    const char *scratch;             /* where private copies lie, without a name; NULL: /var/tmp */
    const struct store_fault *fault; /* borrowed; NULL outside tests */
};

/* What the store's own record says. */
#define STORE_KIND_SIZE 16
struct store_found {
    uint32_t format;
    char kind[STORE_KIND_SIZE];
    bool created; /* by this call */
};

struct store;

/* Opens the store, makes it when there is none. `found` may be NULL; it is also filled when the
 * answer is ERR_FORMAT or ERR_CONFIG, so that both sides can be named.
 *
 * With read_only nothing in the directory is changed but reader slots. A live store is read in
 * place, through the reader table (by a process that has it open only once); when that cannot be
 * opened (another uid, a read-only file system, missing) or with `snapshot`, through a consistent
 * copy in `scratch` that vanishes with the process. A process that has the store open for writing
 * uses store_copy instead.
 *
 * ERR_FORMAT: made by a newer version. An older number is fine: the caller upgrades its records and
 * says store_set_format in the same transaction. ERR_CONFIG: another kind, the wrong checksum key,
 * a keyed table without key, options out of bounds. ERR_LOCKED: another process (or this one) has
 * it open for writing. ERR_NOT_FOUND: read_only and not there. ERR_NOT_ALLOWED: permissions.
 * ERR_CORRUPT: truncated, or no store. ERR_DISK_FULL: no room to make it. ERR_UNAVAILABLE: a copy
 * without the reader table was overtaken by the writer each time; ask the daemon for one. */
enum err store_open(const struct store_options *options, struct store_found *found,
                    struct store **ret);
/* All transactions have ended. Accepts NULL. */
void store_close(struct store *s);

/* Transactions. Both kinds see the committed state of their begin, a write transaction also its own
 * changes. Keep read transactions short: pages that they see cannot be used again. */
struct store_txn;
/* Waits for the writer before. The error that latched the store; ERR_NOT_ALLOWED when read-only. */
enum err store_write_begin(struct store *s, struct store_txn **ret);
/* ERR_FULL when too many read already; ERR_UNAVAILABLE when the writer enlarged the map: reopen. */
enum err store_read_begin(struct store *s, struct store_txn **ret);
/* Ends a transaction of either kind without effect. Accepts NULL. */
void store_abort(struct store_txn *txn);
static inline void store_read_end(struct store_txn *txn)
{
    store_abort(txn);
}
/* Ends it in every case. With a sticky error nothing happened, and the answer is that error. So is
 * ERR_DISK_FULL: nothing happened, the store stays usable. Any other failure is ERR_IN_DOUBT: it is
 * not known whether the commit happened, and the store is latched. */
enum err store_commit(struct store_txn *txn);

/* Changes. The first error sticks to the transaction, later changes do nothing, and commit gives
 * it: ERR_TOO_LARGE (key not 1 to 511 bytes, value over LIMIT_STORE_VALUE), ERR_DISK_FULL (the map
 * is full), ERR_EXISTS (store_append out of order), ERR_FULL (over the pages of one transaction).
 * Keys and values may be spans borrowed from the same transaction. */
void store_put(struct store_txn *txn, unsigned table, struct span key, struct span value);
/* `key` is behind every key in the table: cheaper, and fills pages to the brim. */
void store_append(struct store_txn *txn, unsigned table, struct span key, struct span value);
/* Fine when it is not there. */
void store_delete(struct store_txn *txn, unsigned table, struct span key);
/* Makes `e` the sticky error when there is none yet: for callers whose own checks fail. */
void store_fail(struct store_txn *txn, enum err e);
enum err store_txn_error(const struct store_txn *txn);

/* Reading. Spans are borrowed until the transaction ends or its next change. ERR_NOT_FOUND;
 * ERR_CORRUPT when the checksum does not hold; ERR_NOT_ALLOWED for a keyed table without key. A
 * read does not touch the sticky error. A table that an older store does not have is empty. */
enum err store_get(struct store_txn *txn, unsigned table, struct span key, struct span *ret);
/* The first record with a key >= `from` (empty: the first of all). On ERR_CORRUPT `key` is set, so
 * that the caller can name it and go on behind it. */
enum err store_seek(struct store_txn *txn, unsigned table, struct span from, struct span *key,
                    struct span *value);
/* Records in the table. */
enum err store_count(struct store_txn *txn, unsigned table, uint64_t *ret);

/* The keys that a cursor walks: `from` <= key < `until`. Copied by store_cursor_new. */
struct store_range {
    struct span from;
    struct span until;  /* empty: no bound */
    struct span prefix; /* keys must begin with it; empty: any */
};
static inline struct store_range store_all(void)
{
    return (struct store_range){0};
}
static inline struct store_range store_prefix(struct span prefix)
{
    return (struct store_range){.prefix = prefix};
}
static inline struct store_range store_between(struct span from, struct span until)
{
    return (struct store_range){.from = from, .until = until};
}

/* A cursor walks one table. It stands on a record, or nowhere (new, or past an end). Steps give
 * ERR_NOT_FOUND past the end of the range. On ERR_CORRUPT `key` is set and the cursor stands on
 * that record, so that next and prev go on. Changes through the transaction are allowed in between,
 * also deleting the record that it stands on. */
struct store_cursor;
/* ERR_TOO_LARGE for bounds over 511 bytes. */
enum err store_cursor_new(struct store_txn *txn, unsigned table, struct store_range range,
                          struct store_cursor **ret);
/* Before the transaction ends (asserted). Accepts NULL. */
void store_cursor_free(struct store_cursor *c);
enum err store_cursor_first(struct store_cursor *c, struct span *key, struct span *value);
enum err store_cursor_last(struct store_cursor *c, struct span *key, struct span *value);
/* The first record with a key >= `from`, within the range. */
enum err store_cursor_seek(struct store_cursor *c, struct span from, struct span *key,
                           struct span *value);
/* From nowhere, next is first and prev is last. */
enum err store_cursor_next(struct store_cursor *c, struct span *key, struct span *value);
enum err store_cursor_prev(struct store_cursor *c, struct span *key, struct span *value);

/* Keys that sort like the numbers: 8 bytes, big-endian. */
#define STORE_KEY_U64 ((size_t)8)
void store_key_u64(uint64_t number, uint8_t out[STORE_KEY_U64]);
/* ERR_CORRUPT when the key has another length. */
enum err store_key_to_u64(struct span key, uint64_t *ret);

/* Records the caller's new format number. */
void store_set_format(struct store_txn *txn, uint32_t format);

struct store_usage {
    uint64_t used_bytes;      /* live pages, and freed ones that a reader still holds */
    uint64_t map_bytes;       /* bound of used_bytes */
    uint64_t allocated_bytes; /* of the file */
    uint64_t free_bytes;      /* of the file system */
};
/* As of the last commit. Any thread. */
enum err store_usage(struct store *s, struct store_usage *ret);

enum store_class {
    STORE_ORDINARY, /* new custody: up to 80 % of the map, and not below the disk floor */
    STORE_RESERVE,  /* receipts, terminal states, deletes: up to 95 % and what is allocated */
};
/* ERR_OK when about `bytes` more may be written, else ERR_DISK_FULL. For the writer, before it
 * takes custody: changes themselves are only bound by the map. */
enum err store_room(struct store *s, uint64_t bytes, enum store_class class);

/* A consistent copy without free pages into `dir`, made (0700) when it is missing; the copy has
 * mode 0600. Writers go on meanwhile. ERR_EXISTS when a store is there, ERR_DISK_FULL. */
enum err store_copy(struct store *s, const char *dir);

#endif
