/* A store in a directory of its own, for the tests of the store. */
#ifndef SEALPOST_TESTS_STORE_FIXTURE_H
#define SEALPOST_TESTS_STORE_FIXTURE_H

#include "common/limits.h"
#include "common/store.h"
#include "tests/lib/leaks.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PLAIN, KEYED, TABLES };

static const struct store_table tables[TABLES] = {{"plain", false}, {"keyed", true}};
static const uint8_t checksum_key[STORE_CHECKSUM_KEY] = "0123456789abcdef";

struct box {
    char dir[64];
    struct store_options options;
    struct store *store;
};

static inline void box_init(struct box *b)
{
    *b = (struct box){.dir = "/tmp/sealpost-store-XXXXXX"};
    cr_assert_not_null(mkdtemp(b->dir));
    b->options = (struct store_options){.dir = b->dir,
                                        .map_bytes = 16 * LIMIT_MIB,
                                        .tables = tables,
                                        .table_count = TABLES,
                                        .kind = "test",
                                        .format = 3,
                                        .checksum_key = checksum_key,
                                        .disk_floor = 1};
}

static inline void box_open(struct box *b)
{
    cr_assert_eq(store_open(&b->options, NULL, &b->store), ERR_OK);
}

static inline void box_close(struct box *b)
{
    store_close(b->store);
    b->store = NULL;
}

static inline void box_path(const struct box *b, const char *name, char out[128])
{
    snprintf(out, 128, "%s/%s", b->dir, name);
}

static inline void box_fini(struct box *b)
{
    static const char *const names[] = {"data.mdb",      "lock.mdb",      "data.mdb.new",
                                        "copy/data.mdb", "copy/lock.mdb", "copy"};

    box_close(b);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[128];

        box_path(b, names[i], path);
        (void)remove(path);
    }
    cr_assert_eq(rmdir(b->dir), 0, "%s: %s", b->dir, strerror(errno));
}

static inline struct span text(const char *s)
{
    return span_str(s);
}

/* Puts one record in a transaction of its own. */
static inline enum err put_one(struct store *s, unsigned table, const char *key, const char *value)
{
    struct store_txn *txn;
    enum err e = store_write_begin(s, &txn);

    if (e != ERR_OK)
        return e;
    store_put(txn, table, text(key), text(value));
    return store_commit(txn);
}

/* ERR_OK when the record is there with this value; ERR_BAD_DIGEST when with another. */
static inline enum err has(struct store *s, unsigned table, const char *key, const char *value)
{
    struct store_txn *txn;
    struct span found;
    enum err e = store_read_begin(s, &txn);

    if (e != ERR_OK)
        return e;
    e = store_get(txn, table, text(key), &found);
    if (e == ERR_OK && !span_equal(found, text(value)))
        e = ERR_BAD_DIGEST;
    store_read_end(txn);
    return e;
}

#endif
