#include "audit/commit.h"

#include "audit/receipt.h"
#include "tests/lib/leaks.h"
#include "tests/unit/audit/fixture.h"

#include <criterion/criterion.h>

TestSuite(commit, .fini = leaks_check);

/* The tables of a small daemon: the log's, and one of its own. */
#define OWN_TABLE AUDIT_TABLES

static enum store_fault_point fault_point;
static bool fault_armed;

static int hit(void *ctx, enum store_fault_point point)
{
    (void)ctx;
    return fault_armed && point == fault_point ? 5 : 0; /* EIO */
}

static const struct store_fault fault = {.hit = hit};

struct daemon {
    struct fixture f; /* its store is opened here, with one table more */
    struct committer *committer;
};

static void daemon_open(struct daemon *d)
{
    struct store_table tables[AUDIT_TABLES + 1];
    struct store_options o = {.dir = d->f.store_dir,
                              .map_bytes = d->f.map_bytes,
                              .tables = tables,
                              .table_count = AUDIT_TABLES + 1,
                              .kind = "test",
                              .checksum_key = (const uint8_t[STORE_CHECKSUM_KEY]){1},
                              .fault = &fault};

    memcpy(tables, audit_tables, sizeof(tables[0]) * AUDIT_TABLES);
    tables[OWN_TABLE] = (struct store_table){.name = "own"};
    cr_assert_eq(store_open(&o, NULL, &d->f.store), ERR_OK);
    cr_assert_eq(audit_signer_local("baltic.example/riga", d->f.key, d->f.state, &d->f.signer),
                 ERR_OK);
    cr_assert_eq(audit_log_open(d->f.store, FIXTURE_FEDERATION, "riga", &d->f.signer,
                                &d->f.clock.env, &d->f.log),
                 ERR_OK);
    cr_assert_eq(audit_log_checkpoint(d->f.log), ERR_OK);
    cr_assert_eq(committer_new(d->f.store, d->f.log, &d->committer), ERR_OK);
}

static void daemon_close(struct daemon *d)
{
    committer_free(d->committer);
    d->committer = NULL;
    fixture_close(&d->f);
}

static void daemon_init(struct daemon *d)
{
    fault_armed = false;
    fixture_prepare(&d->f, "riga", 1);
    daemon_open(d);
}

static void daemon_fini(struct daemon *d)
{
    daemon_close(d);
    fixture_fini(&d->f);
}

/* One effect and the leaf that records it. */
static struct batch *effect(uint32_t number, const char *key)
{
    struct fixture_leaf l;
    struct batch *b;

    cr_assert_eq(batch_new(&b), ERR_OK);
    batch_put(b, OWN_TABLE, span_str(key), span_str("value"));
    fixture_leaf(&l, number, SP__AUDIT_EVENT__AUDIT_EVENT_ACCEPTED);
    l.leaf.at_ms = FIXTURE_START_MS;
    batch_leaf(b, &l.leaf, span_str("why"));
    cr_assert_eq(batch_error(b), ERR_OK);
    return b;
}

static enum commit_outcome commit_one(struct daemon *d, uint32_t number, const char *key,
                                      enum err *why)
{
    struct batch *b = effect(number, key);
    enum commit_outcome outcome = COMMIT_FAILED;
    enum err e;

    cr_assert_eq(commit_begin(d->committer), ERR_OK);
    e = commit_apply(d->committer, b);
    cr_assert_eq(e, ERR_OK);
    outcome = commit_end(d->committer, why);
    batch_free(b);
    return outcome;
}

static bool is_there(struct daemon *d, const char *key)
{
    struct store_txn *txn;
    struct span value;
    enum err e;

    cr_assert_eq(store_read_begin(d->f.store, &txn), ERR_OK);
    e = store_get(txn, OWN_TABLE, span_str(key), &value);
    store_read_end(txn);
    return e == ERR_OK;
}

Test(commit, effect_and_leaf_come_together)
{
    struct store_txn *txn;
    struct daemon d;
    struct buf b;
    enum err why;

    daemon_init(&d);
    cr_assert_eq(commit_one(&d, 1, "one", &why), COMMIT_DONE);
    cr_assert(is_there(&d, "one"));
    cr_assert_eq(audit_log_size(d.f.log), 1);
    buf_init(&b, LIMIT_RECEIPT);
    cr_assert_eq(store_read_begin(d.f.store, &txn), ERR_OK);
    cr_assert_eq(audit_log_receipt(d.f.log, txn, 0, &b), ERR_OK);
    store_read_end(txn);
    buf_fini(&b);
    daemon_fini(&d);
}

Test(commit, steps_see_what_earlier_ones_changed)
{
    struct batch *first = effect(1, "one"), *second = effect(2, "two");
    struct span value, key;
    struct daemon d;
    enum err why;

    daemon_init(&d);
    cr_assert_eq(commit_begin(d.committer), ERR_OK);
    cr_assert_eq(commit_apply(d.committer, first), ERR_OK);
    cr_assert_eq(view_get(commit_view(d.committer), OWN_TABLE, span_str("one"), &value), ERR_OK);
    cr_assert_eq(view_get(commit_view(d.committer), OWN_TABLE, span_str("two"), &value),
                 ERR_NOT_FOUND);
    batch_delete(second, OWN_TABLE, span_str("one"));
    cr_assert_eq(commit_apply(d.committer, second), ERR_OK);
    cr_assert_eq(view_seek(commit_view(d.committer), OWN_TABLE, (struct span){0}, &key, &value),
                 ERR_OK);
    cr_assert(span_equal(key, span_str("two")));
    cr_assert_eq(commit_end(d.committer, &why), COMMIT_DONE);
    cr_assert_eq(audit_log_size(d.f.log), 2);
    batch_free(first);
    batch_free(second);
    daemon_fini(&d);
}

Test(commit, an_abort_has_no_effect)
{
    struct batch *b = effect(1, "one");
    struct daemon d;
    enum err why;

    daemon_init(&d);
    cr_assert_eq(commit_begin(d.committer), ERR_OK);
    cr_assert_eq(commit_apply(d.committer, b), ERR_OK);
    commit_abort(d.committer);
    cr_assert_not(is_there(&d, "one"));
    cr_assert_eq(audit_log_size(d.f.log), 0);
    cr_assert_eq(commit_one(&d, 2, "two", &why), COMMIT_DONE);
    cr_assert_eq(audit_log_size(d.f.log), 1);
    batch_free(b);
    daemon_fini(&d);
}

/* A leaf that the log refuses takes its effect with it. */
Test(commit, no_effect_without_its_leaf)
{
    struct batch *b = effect(1, "one");
    struct fixture_leaf l;
    struct daemon d;
    enum err why = ERR_OK, e;

    fixture_leaf(&l, 2, SP__AUDIT_EVENT__AUDIT_EVENT_UNSPECIFIED);
    l.leaf.at_ms = FIXTURE_START_MS;
    batch_leaf(b, &l.leaf, (struct span){0});
    daemon_init(&d);
    cr_assert_eq(commit_begin(d.committer), ERR_OK);
    e = commit_apply(d.committer, b);
    cr_assert_eq(commit_end(d.committer, &why), COMMIT_FAILED);
    cr_assert(e == ERR_MALFORMED || why == ERR_MALFORMED);
    cr_assert_not(is_there(&d, "one"));
    cr_assert_eq(audit_log_size(d.f.log), 0);
    batch_free(b);
    daemon_fini(&d);
}

/* An I/O error before or after the disk has it: never "done", and after reopening effect and leaf
 * are both there or both not. */
Test(commit, in_doubt_is_settled_by_the_disk)
{
    for (int point = STORE_FAULT_BEFORE_COMMIT; point <= STORE_FAULT_AFTER_COMMIT; point++) {
        struct daemon d;
        enum err why = ERR_OK;
        bool there;

        daemon_init(&d);
        cr_assert_eq(commit_one(&d, 1, "one", &why), COMMIT_DONE);
        fault_point = (enum store_fault_point)point;
        fault_armed = true;
        cr_assert_eq(commit_one(&d, 2, "two", &why), COMMIT_IN_DOUBT);
        cr_assert_neq(why, ERR_OK);
        fault_armed = false;
        daemon_close(&d);
        daemon_open(&d);
        there = point == STORE_FAULT_AFTER_COMMIT;
        cr_assert_eq(is_there(&d, "two"), there);
        cr_assert_eq(audit_log_size(d.f.log), there ? 2 : 1);
        cr_assert_eq(commit_one(&d, 3, "three", &why), COMMIT_DONE);
        daemon_fini(&d);
    }
}
