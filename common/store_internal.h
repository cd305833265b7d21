/* What the files of the store share. */
#ifndef SEALPOST_COMMON_STORE_INTERNAL_H
#define SEALPOST_COMMON_STORE_INTERNAL_H

#include "common/crypto.h"
#include "common/limits.h"
#include "common/secret.h"
#include "common/store.h"

#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#define STORE_DATA "data.mdb"
#define STORE_LOCK "lock.mdb"
#define STORE_NEW "data.mdb.new"
#define STORE_SUM ((size_t)8)
/* The table with the store's own record. */
#define STORE_OWN_NAME "sealpost"
#define STORE_OWN_FORMAT "format"
#define STORE_OWN_KIND "kind"
#define STORE_OWN_KEY_CHECK "key-check"

struct store_map {
    char name[LIMIT_STORE_NAME];
    bool keyed;
    bool present;
    MDB_dbi dbi;
};

struct store {
    MDB_env *env;
    int lock_fd; /* the directory, flocked by the writer; -1 for readers */
    int data_fd; /* LMDB's */
    pid_t pid;
    bool read_only;
    uint64_t page_bytes;
    uint64_t disk_floor;
    const struct store_fault *fault;
    struct secret *key;
    struct store_map own;
    struct store_map tables[LIMIT_STORE_TABLES];
    unsigned table_count;
    uintptr_t map_at;         /* where page 0 is mapped; 0: not known */
    atomic_int latched;       /* enum err */
    atomic_uint transactions; /* open ones */
    unsigned writes;          /* begun; the writer's */
    pthread_mutex_t extend;   /* one thread at a time allocates */
};

struct store_txn {
    struct store *store;
    MDB_txn *mdb;
    bool write;
    enum err err;
    uintptr_t map_end;   /* of the file in the map */
    uint64_t changes;    /* cursors find their place again after a change */
    uint64_t puts;       /* those of them that are no deletes */
    uint64_t value_need; /* bytes that the changes may add, see store_need */
    uint64_t large_end;  /* behind the last of the pages in a row that large values got */
    unsigned cursors;    /* open ones */
    struct buf scratch;  /* a record being put */
    MDB_cursor *seek[LIMIT_STORE_TABLES];
    uint64_t seek_changes[LIMIT_STORE_TABLES];
};

enum err store_error(int rc);
/* The same; an I/O error latches the store. */
enum err store_failed(struct store *s, int rc);
void store_latch(struct store *s, enum err e);

/* store_record.c: one record of any table, the own one included. */
enum err store_map_get(struct store_txn *txn, const struct store_map *map, struct span key,
                       struct span *ret);
void store_map_put(struct store_txn *txn, const struct store_map *map, struct span key,
                   struct span value, unsigned flags);
/* A damaged length must not lead behind the file: false when `v` begins in the map and ends
 * outside. What lies elsewhere is a page that this transaction has copied. */
bool store_inside(const struct store_txn *txn, MDB_val v);
/* False for keys that LMDB cannot have written: such a record cannot be named or gone on behind, so
 * reading ends with ERR_IO. */
bool store_key_holds(const struct store_txn *txn, MDB_val key);
/* Checks what LMDB has found. `value` is written only on ERR_OK. */
enum err store_unpack(struct store_txn *txn, const struct store_map *map, MDB_val key, MDB_val data,
                      struct span *value);

/* What the two meta pages say (LMDB 0.9 data format 1). */
struct store_meta {
    uint64_t page_bytes;
    uint64_t need_bytes; /* that the file must have */
    uint64_t txn;
    unsigned newest; /* 0 or 1 */
};
/* store_file.c. By reading, never through a map: ERR_CORRUPT when it is no environment or the file
 * is shorter than what it uses. */
enum err store_file_meta(int fd, struct store_meta *ret);
/* Exactly `len` bytes; ERR_CORRUPT when the file ends before. */
enum err store_file_read(int fd, uint64_t at, void *out, size_t len);
/* store_check.c. Walks every tree of a file that nobody writes: ERR_CORRUPT when LMDB could stumble
 * over a page. Does not look into records, which have their checksums. */
enum err store_file_check(int fd, const struct store_meta *meta);
/* Allocates lock.mdb in full. */
enum err store_file_lock(const char *dir);
/* A consistent copy of the file `path` that needs no reader table. */
enum err store_file_copy(const char *path, int out);
/* A file in `scratch` that has no name any more. */
enum err store_file_scratch(const char *scratch, int *ret);
/* mdb_env_copy to a descriptor. */
enum err store_env_copy(MDB_env *env, int fd);

/* store_room.c. Makes the file so large that `bytes` behind the last used page are allocated;
 * `ahead` asks for more when there is room. */
enum err store_extend(struct store *s, uint64_t bytes, uint64_t ahead);
/* Upper bound of the bytes that the transaction's pages take. */
uint64_t store_need(const struct store_txn *txn);
/* Before a commit: allocates what it needs. ERR_DISK_FULL. */
enum err store_reserve(struct store_txn *txn);

#endif
