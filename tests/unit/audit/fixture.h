/* A log in a folder of its own, with a clock that moves when told and reproducible random bytes. */
#ifndef SEALPOST_TESTS_UNIT_AUDIT_FIXTURE_H
#define SEALPOST_TESTS_UNIT_AUDIT_FIXTURE_H

#include "audit/log.h"
#include "audit/read.h"
#include "common/limits.h"
#include "common/secret.h"
#include "common/store.h"
#include "proto/pb.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIXTURE_FEDERATION "baltic.example"
#define FIXTURE_START_MS ((uint64_t)1772438400000) /* 2026-03-02T08:00:00Z */

struct fixture_env {
    struct env env;
    uint64_t now_ms;
    uint8_t next;
};

[[maybe_unused]] static uint64_t fixture_now(void *ctx)
{
    return ((struct fixture_env *)ctx)->now_ms;
}

[[maybe_unused]] static void fixture_random(void *ctx, void *out, size_t len)
{
    struct fixture_env *e = ctx;

    for (size_t i = 0; i < len; i++)
        ((uint8_t *)out)[i] = e->next++;
}

/* One daemon's store, signer and log. */
struct fixture {
    char dir[64];
    char state[96];
    char store_dir[96];
    const char *name;
    uint64_t map_bytes;
    struct fixture_env clock;
    struct secret *key;
    struct ed25519_public public;
    struct store *store;
    struct audit_signer signer;
    struct audit_log *log;
};

[[maybe_unused]] static int fixture_remove(const char *path, const struct stat *st, int flag,
                                           struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

[[maybe_unused]] static enum err fixture_try_open(struct fixture *f)
{
    struct store_options o = {.dir = f->store_dir,
                              .map_bytes = f->map_bytes,
                              .tables = audit_tables,
                              .table_count = AUDIT_TABLES,
                              .kind = "test",
                              .format = 0,
                              .checksum_key = (const uint8_t[STORE_CHECKSUM_KEY]){1}};
    char origin[NOTE_NAME];
    enum err e;

    (void)snprintf(origin, sizeof(origin), "%s/%s", FIXTURE_FEDERATION, f->name);
    e = store_open(&o, NULL, &f->store);
    if (e == ERR_OK)
        e = audit_signer_local(origin, f->key, f->state, &f->signer);
    if (e == ERR_OK)
        e = audit_log_open(f->store, FIXTURE_FEDERATION, f->name, &f->signer, &f->clock.env,
                           &f->log);
    return e;
}

[[maybe_unused]] static void fixture_open(struct fixture *f)
{
    cr_assert_eq(fixture_try_open(f), ERR_OK);
}

[[maybe_unused]] static void fixture_close(struct fixture *f)
{
    audit_log_close(f->log);
    f->log = NULL;
    audit_signer_local_fini(&f->signer);
    store_close(f->store);
    f->store = NULL;
}

/* `seed` gives the log's key. */
[[maybe_unused]] static void fixture_prepare(struct fixture *f, const char *name, uint8_t seed)
{
    const uint8_t bytes[32] = {seed};

    *f = (struct fixture){.name = name, .map_bytes = 64 * LIMIT_MIB};
    f->clock.now_ms = FIXTURE_START_MS;
    f->clock.env = (struct env){
        .ctx = &f->clock, .now_ms = fixture_now, .mono_ms = fixture_now, .random = fixture_random};
    (void)snprintf(f->dir, sizeof(f->dir), "/tmp/sealpost-audit-XXXXXX");
    cr_assert_not_null(mkdtemp(f->dir));
    (void)snprintf(f->state, sizeof(f->state), "%s/signer", f->dir);
    (void)snprintf(f->store_dir, sizeof(f->store_dir), "%s/store", f->dir);
    cr_assert_eq(secret_copy(span_of(bytes, sizeof(bytes)), &f->key), ERR_OK);
    cr_assert_eq(ed25519_public_of(f->key, &f->public), ERR_OK);
}

/* Another key than that of the seed; copied. Before the opening. */
[[maybe_unused]] static void fixture_use_key(struct fixture *f, const struct secret *key)
{
    secret_free(f->key);
    cr_assert_eq(secret_copy(secret_bytes(key), &f->key), ERR_OK);
    cr_assert_eq(ed25519_public_of(f->key, &f->public), ERR_OK);
}

[[maybe_unused]] static void fixture_init(struct fixture *f, const char *name, uint8_t seed)
{
    fixture_prepare(f, name, seed);
    fixture_open(f);
}

[[maybe_unused]] static void fixture_fini(struct fixture *f)
{
    fixture_close(f);
    secret_free(f->key);
    (void)nftw(f->dir, fixture_remove, 16, FTW_DEPTH | FTW_PHYS);
}

/* A leaf about message `number`: id, digest and names filled in. `bytes` must live as long. */
struct fixture_leaf {
    Sp__Leaf leaf;
    uint8_t id[16];
    uint8_t envelope[32];
    char *recipients[1];
    char *handling[1];
};

[[maybe_unused]] static void fixture_leaf(struct fixture_leaf *l, uint32_t number,
                                          Sp__AuditEvent event)
{
    Sp__Leaf leaf = SP__LEAF__INIT;

    *l = (struct fixture_leaf){.id = {1, 0x9c, 0, 0, 0, 0, 0x70, 0, 0x80}};
    for (size_t i = 0; i < 4; i++)
        l->id[12 + i] = (uint8_t)(number >> (24 - 8 * i));
    memset(l->envelope, 0xe0, sizeof(l->envelope));
    memcpy(l->envelope, l->id, sizeof(l->id));
    l->recipients[0] = pb_string("LV.POLICE");
    l->handling[0] = pb_string("H0");
    leaf.event = event;
    leaf.id = pb_bytes(span_of(l->id, sizeof(l->id)));
    leaf.envelope = pb_bytes(span_of(l->envelope, sizeof(l->envelope)));
    leaf.sender = pb_string("EE.POLICE");
    leaf.n_recipients = 1;
    leaf.recipients = l->recipients;
    leaf.n_handling = 1;
    leaf.handling = l->handling;
    leaf.level = SP__LEVEL__LEVEL_BPL;
    leaf.urgency = SP__URGENCY__URGENCY_NORMAL;
    leaf.created_ms = FIXTURE_START_MS;
    leaf.expires_ms = FIXTURE_START_MS + 86400000;
    leaf.directory_version = 1;
    l->leaf = leaf;
}

/* Appends leaves about messages `from` to `from` + n - 1 to an open transaction; every fourth has a
 * detail. */
[[maybe_unused]] static void fixture_append(struct fixture *f, struct store_txn *txn, uint32_t from,
                                            uint32_t n)
{
    for (uint32_t i = from; i < from + n; i++) {
        struct fixture_leaf l;
        uint64_t index;
        char detail[32] = "";

        fixture_leaf(&l, i, SP__AUDIT_EVENT__AUDIT_EVENT_ACCEPTED);
        if (i % 4 == 3)
            (void)snprintf(detail, sizeof(detail), "detail %u", i);
        audit_log_append(f->log, txn, &l.leaf, span_str(detail), &index);
    }
}

/* One commit of n leaves, and its checkpoint. */
[[maybe_unused]] static void fixture_commit(struct fixture *f, uint32_t from, uint32_t n)
{
    struct store_txn *txn;

    cr_assert_eq(store_write_begin(f->store, &txn), ERR_OK);
    fixture_append(f, txn, from, n);
    audit_log_flush(f->log, txn);
    cr_assert_eq(store_commit(txn), ERR_OK);
    audit_log_committed(f->log);
    cr_assert_eq(audit_log_checkpoint(f->log), ERR_OK);
    f->clock.now_ms += 1000;
}

/* As a daemon that idles: the newest checkpoint goes into the store. */
[[maybe_unused]] static void fixture_save(struct fixture *f)
{
    fixture_commit(f, 0, 0);
    cr_assert_not(audit_log_unsaved(f->log));
}

#endif
