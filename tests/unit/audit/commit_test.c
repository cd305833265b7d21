#include "audit/commit.h"

#include "tests/lib/leaks.h"
#include "tests/unit/audit/fixture.h"

#include <errno.h>

/* A table of the daemon's own, behind the log's. */
#define TABLE_OWN AUDIT_TABLES

struct fault_plan {
    bool armed;
    enum store_fault_point point;
    int number;
};

static int hit(void *ctx, enum store_fault_point point)
{
    const struct fault_plan *f = ctx;

    return f->armed && f->point == point ? f->number : 0;
}

struct box {
    struct fixture f;
    struct audit_signer signer; /* that of the fixture, unless it fails */
    enum err sign_error;
    struct fault_plan plan;
    struct store_fault fault;
    struct committer *committer;
    struct batch *batch;
};

static enum err last(void *ctx, uint64_t *size, struct digest *root)
{
    const struct box *b = ctx;

    return b->f.signer.last(b->f.signer.ctx, size, root);
}

static enum err sign(void *ctx, uint64_t size, const struct digest *root,
                     const struct digest *proof, size_t proof_len, struct buf *checkpoint)
{
    const struct box *b = ctx;

    if (b->sign_error != ERR_OK)
        return b->sign_error;
    return b->f.signer.sign(b->f.signer.ctx, size, root, proof, proof_len, checkpoint);
}

static void box_open(struct box *b)
{
    struct store_table tables[AUDIT_TABLES + 1];
    struct store_options o = {.dir = b->f.store_dir,
                              .map_bytes = b->f.map_bytes,
                              .tables = tables,
                              .table_count = AUDIT_TABLES + 1,
                              .kind = "test",
                              .checksum_key = (const uint8_t[STORE_CHECKSUM_KEY]){1},
                              .fault = &b->fault};

    memcpy(tables, audit_tables, sizeof audit_tables);
    tables[TABLE_OWN] = (struct store_table){.name = "own", .keyed = true};
    cr_assert_eq(store_open(&o, NULL, &b->f.store), ERR_OK);
    cr_assert_eq(audit_signer_local(FIXTURE_FEDERATION "/riga", b->f.key, b->f.state, &b->f.signer),
                 ERR_OK);
    b->signer = (struct audit_signer){.ctx = b, .last = last, .sign = sign};
    cr_assert_eq(audit_log_open(b->f.store, FIXTURE_FEDERATION, "riga", &b->signer, &b->f.clock.env,
                                &b->f.log),
                 ERR_OK);
    cr_assert_eq(committer_new(b->f.store, b->f.log, &b->committer), ERR_OK);
}

static void box_close(struct box *b)
{
    committer_free(b->committer);
    fixture_close(&b->f);
}

static void box_init(struct box *b)
{
    memset(b, 0, sizeof *b);
    fixture_prepare(&b->f, "riga", 7);
    b->fault = (struct store_fault){.ctx = &b->plan, .hit = hit};
    cr_assert_eq(batch_new(&b->batch), ERR_OK);
    box_open(b);
}

static void box_fini(struct box *b)
{
    committer_free(b->committer);
    batch_free(b->batch);
    fixture_fini(&b->f);
}

static void put(struct box *b, const char *key, const char *value)
{
    batch_put(b->batch, TABLE_OWN, span_str(key), span_str(value));
}

static void leaf(struct box *b, uint32_t number, const char *detail)
{
    struct fixture_leaf l;

    fixture_leaf(&l, number, SP__AUDIT_EVENT__AUDIT_EVENT_ACCEPTED);
    l.leaf.at_ms = FIXTURE_START_MS + number;
    batch_leaf(b->batch, &l.leaf, span_str(detail));
}

/* One effect and one leaf. */
static void step(struct box *b, uint32_t number)
{
    char key[16];

    (void)snprintf(key, sizeof key, "k%u", number);
    batch_reset(b->batch);
    put(b, key, "value");
    leaf(b, number, number % 2 == 1 ? "detail" : "");
}

static bool has(struct box *b, const char *key, const char *value)
{
    struct store_txn *txn;
    struct span got;
    enum err e;
    bool yes;

    cr_assert_eq(store_read_begin(b->f.store, &txn), ERR_OK);
    e = store_get(txn, TABLE_OWN, span_str(key), &got);
    cr_assert(e == ERR_OK || e == ERR_NOT_FOUND);
    yes = e == ERR_OK && span_equal(got, span_str(value));
    store_read_end(txn);
    return yes;
}

static uint64_t records(struct box *b, unsigned table)
{
    struct store_txn *txn;
    uint64_t n;

    cr_assert_eq(store_read_begin(b->f.store, &txn), ERR_OK);
    cr_assert_eq(store_count(txn, table, &n), ERR_OK);
    store_read_end(txn);
    return n;
}

/* Leaf `index` is about message `number`. */
static void expect_leaf(struct box *b, uint64_t index, uint32_t number)
{
    struct fixture_leaf want;
    struct store_txn *txn;
    struct span got;
    uint8_t key[STORE_KEY_U64];
    struct pb *pb;
    const Sp__Leaf *l;

    fixture_leaf(&want, number, SP__AUDIT_EVENT__AUDIT_EVENT_ACCEPTED);
    store_key_u64(index, key);
    cr_assert_eq(store_read_begin(b->f.store, &txn), ERR_OK);
    cr_assert_eq(store_get(txn, AUDIT_LEAF, span_of(key, sizeof key), &got), ERR_OK);
    cr_assert_eq(pb_decode(&sp__leaf__descriptor, got, LIMIT_LEAF, &pb), ERR_OK);
    l = pb_view(pb);
    cr_assert(span_equal(pb_span(l->id), pb_span(want.leaf.id)));
    cr_assert_eq(l->at_ms, FIXTURE_START_MS + number);
    cr_assert_str_eq(l->log, "riga");
    pb_free(pb);
    store_read_end(txn);
}

/* The newest leaf can be proven. */
static void expect_receipt(struct box *b, uint64_t index)
{
    struct store_txn *txn;
    struct buf receipt;

    buf_init(&receipt, LIMIT_RECEIPT);
    cr_assert_eq(store_read_begin(b->f.store, &txn), ERR_OK);
    cr_assert_eq(audit_log_receipt(b->f.log, txn, index, &receipt), ERR_OK);
    store_read_end(txn);
    buf_fini(&receipt);
}

static enum commit_outcome commit_step(struct box *b, uint32_t number, enum err *why)
{
    step(b, number);
    cr_assert_eq(commit_begin(b->committer), ERR_OK);
    cr_assert_eq(commit_apply(b->committer, b->batch), ERR_OK);
    return commit_end(b->committer, why);
}

TestSuite(commit, .fini = leaks_check);

Test(commit, a_batch_is_plain_data)
{
    struct box b;
    struct change c;
    char key[] = "key";

    box_init(&b);
    put(&b, key, "value");
    key[0] = 'x'; /* it has a copy */
    batch_append(b.batch, 3, span_str("a"), span_of(NULL, 0));
    batch_delete(b.batch, 4, span_str("gone"));
    leaf(&b, 1, "detail");
    leaf(&b, 2, "");
    cr_assert_eq(batch_error(b.batch), ERR_OK);
    cr_assert_eq(batch_change_count(b.batch), 3);
    c = batch_change_at(b.batch, 0);
    cr_assert_eq(c.op, CHANGE_PUT);
    cr_assert_eq(c.table, TABLE_OWN);
    cr_assert(span_equal(c.key, span_str("key")));
    cr_assert(span_equal(c.value, span_str("value")));
    c = batch_change_at(b.batch, 1);
    cr_assert_eq(c.op, CHANGE_APPEND);
    cr_assert_eq(c.table, 3);
    cr_assert_eq(c.value.len, 0);
    c = batch_change_at(b.batch, 2);
    cr_assert_eq(c.op, CHANGE_DELETE);
    cr_assert(span_equal(c.key, span_str("gone")));
    cr_assert_eq(batch_leaf_count(b.batch), 2);
    cr_assert(span_equal(batch_leaf_at(b.batch, 0).detail, span_str("detail")));
    cr_assert_eq(batch_leaf_at(b.batch, 1).detail.len, 0);
    cr_assert_gt(batch_leaf_at(b.batch, 1).leaf.len, 0);
    batch_reset(b.batch);
    cr_assert_eq(batch_change_count(b.batch), 0);
    cr_assert_eq(batch_leaf_count(b.batch), 0);
    batch_free(NULL);
    committer_free(NULL);
    box_fini(&b);
}

Test(commit, a_batch_is_bounded)
{
    size_t max = 64 * LIMIT_MIB;
    uint8_t *big = calloc(1, 16 * LIMIT_MIB);
    struct box b;

    cr_assert_not_null(big);
    box_init(&b);
    /* Each put is its key of one byte and its value. */
    for (size_t n = max - 1; n <= max + 1; n++) {
        batch_reset(b.batch);
        for (int i = 0; i < 3; i++)
            batch_put(b.batch, TABLE_OWN, span_str("k"), span_of(big, max / 4 - 1));
        batch_put(b.batch, TABLE_OWN, span_str("k"), span_of(big, n - max / 4 * 3 - 1));
        cr_assert_eq(batch_error(b.batch), n > max ? ERR_TOO_LARGE : ERR_OK);
    }
    /* It sticks, nothing of it is applied, and reset forgives. */
    cr_assert_eq(commit_begin(b.committer), ERR_OK);
    put(&b, "later", "x");
    cr_assert_eq(batch_error(b.batch), ERR_TOO_LARGE);
    cr_assert_eq(commit_apply(b.committer, b.batch), ERR_TOO_LARGE);
    commit_abort(b.committer);
    batch_reset(b.batch);
    cr_assert_eq(batch_error(b.batch), ERR_OK);
    put(&b, "k", "x");
    cr_assert_eq(batch_error(b.batch), ERR_OK);
    cr_assert_eq(records(&b, TABLE_OWN), 0);
    free(big);
    box_fini(&b);
}

Test(commit, effect_and_leaf_together)
{
    struct box b;
    enum err why = ERR_IO;

    box_init(&b);
    cr_assert_eq(commit_step(&b, 1, &why), COMMIT_DONE);
    cr_assert_eq(why, ERR_OK);
    cr_assert(has(&b, "k1", "value"));
    cr_assert_eq(audit_log_size(b.f.log), 1);
    expect_leaf(&b, 0, 1);
    expect_receipt(&b, 0);
    cr_assert_eq(records(&b, AUDIT_DETAIL), 1);
    box_close(&b);
    box_open(&b);
    cr_assert(has(&b, "k1", "value"));
    cr_assert_eq(audit_log_size(b.f.log), 1);
    box_fini(&b);
}

Test(commit, neither_after_an_abort)
{
    struct box b;
    enum err why;

    box_init(&b);
    cr_assert_eq(commit_step(&b, 1, &why), COMMIT_DONE);
    step(&b, 2);
    cr_assert_eq(commit_begin(b.committer), ERR_OK);
    cr_assert_eq(commit_apply(b.committer, b.batch), ERR_OK);
    commit_abort(b.committer);
    commit_abort(b.committer); /* nothing is open */
    cr_assert_not(has(&b, "k2", "value"));
    cr_assert_eq(audit_log_size(b.f.log), 1);
    cr_assert_eq(commit_step(&b, 3, &why), COMMIT_DONE);
    cr_assert_eq(audit_log_size(b.f.log), 2);
    expect_leaf(&b, 1, 3);
    cr_assert_eq(records(&b, AUDIT_LEAF), 2);

    /* One that is open when the committer goes is given up. */
    step(&b, 4);
    cr_assert_eq(commit_begin(b.committer), ERR_OK);
    cr_assert_eq(commit_apply(b.committer, b.batch), ERR_OK);
    box_close(&b);
    box_open(&b);
    cr_assert_not(has(&b, "k4", "value"));
    cr_assert_eq(audit_log_size(b.f.log), 2);
    box_fini(&b);
}

Test(commit, later_steps_see_the_earlier_ones)
{
    const struct view *v;
    struct span key, value;
    enum err why;
    struct box b;

    box_init(&b);
    cr_assert_eq(commit_begin(b.committer), ERR_OK);
    v = commit_view(b.committer);
    cr_assert_eq(view_get(v, TABLE_OWN, span_str("b"), &value), ERR_NOT_FOUND);
    cr_assert_eq(view_seek(v, TABLE_OWN, span_str("a"), &key, &value), ERR_NOT_FOUND);
    put(&b, "b", "1");
    put(&b, "d", "1");
    cr_assert_eq(commit_apply(b.committer, b.batch), ERR_OK);
    cr_assert_eq(view_get(v, TABLE_OWN, span_str("b"), &value), ERR_OK);
    cr_assert(span_equal(value, span_str("1")));
    batch_reset(b.batch);
    batch_append(b.batch, TABLE_OWN, span_str("e"), span_str("2"));
    batch_delete(b.batch, TABLE_OWN, span_str("b"));
    put(&b, "d", "2");
    cr_assert_eq(commit_apply(b.committer, b.batch), ERR_OK);
    cr_assert_eq(view_get(v, TABLE_OWN, span_str("b"), &value), ERR_NOT_FOUND);
    cr_assert_eq(view_seek(v, TABLE_OWN, span_str("a"), &key, &value), ERR_OK);
    cr_assert(span_equal(key, span_str("d")));
    cr_assert(span_equal(value, span_str("2")));
    cr_assert_eq(store_get(commit_txn(b.committer), TABLE_OWN, span_str("e"), &value), ERR_OK);
    cr_assert_eq(commit_end(b.committer, &why), COMMIT_DONE);
    cr_assert(has(&b, "d", "2"));
    cr_assert(has(&b, "e", "2"));
    cr_assert_not(has(&b, "b", "1"));
    box_fini(&b);
}

Test(commit, indices_are_consecutive)
{
    enum err why;
    uint32_t number = 0;
    struct box b;

    box_init(&b);
    for (int commits = 0; commits < 3; commits++) {
        cr_assert_eq(commit_begin(b.committer), ERR_OK);
        for (int batches = 0; batches < 3; batches++) {
            batch_reset(b.batch);
            for (int i = 0; i < 100; i++)
                leaf(&b, number++, "");
            cr_assert_eq(commit_apply(b.committer, b.batch), ERR_OK);
        }
        cr_assert_eq(commit_end(b.committer, &why), COMMIT_DONE);
        cr_assert_eq(audit_log_size(b.f.log), number);
    }
    cr_assert_eq(records(&b, AUDIT_LEAF), 900);
    for (uint32_t i = 0; i < 900; i++)
        expect_leaf(&b, i, i);
    box_fini(&b);
}

/* A commit that fails before it reaches the disk. */
static void fails_with(struct box *b, enum err want)
{
    enum err why = ERR_OK;

    cr_assert_eq(commit_begin(b->committer), ERR_OK);
    cr_assert_eq(commit_apply(b->committer, b->batch), want);
    /* The first error sticks: a good batch does not mend it. */
    step(b, 9);
    cr_assert_eq(commit_apply(b->committer, b->batch), want);
    cr_assert_eq(commit_end(b->committer, &why), COMMIT_FAILED);
    cr_assert_eq(why, want);
    cr_assert_not(has(b, "k9", "value"));
    cr_assert_not(has(b, "before", "x"));
    cr_assert_eq(audit_log_size(b->f.log), 1);
    batch_reset(b->batch);
}

Test(commit, a_failure_has_no_effect)
{
    struct fixture_leaf l;
    uint8_t key[LIMIT_STORE_KEY + 1] = {1};
    uint8_t *big = calloc(1, LIMIT_DETAIL + 1);
    enum err why;
    struct box b;

    cr_assert_not_null(big);
    box_init(&b);
    cr_assert_eq(commit_step(&b, 1, &why), COMMIT_DONE);
    batch_reset(b.batch);

    put(&b, "before", "x");
    batch_put(b.batch, TABLE_OWN, span_of(key, sizeof key), span_str("x"));
    leaf(&b, 2, "");
    fails_with(&b, ERR_TOO_LARGE);

    put(&b, "before", "x");
    batch_append(b.batch, TABLE_OWN, span_str("a"), span_str("x"));
    fails_with(&b, ERR_EXISTS);

    put(&b, "before", "x");
    fixture_leaf(&l, 2, SP__AUDIT_EVENT__AUDIT_EVENT_UNSPECIFIED);
    l.leaf.at_ms = 1;
    batch_leaf(b.batch, &l.leaf, span_of(NULL, 0));
    fails_with(&b, ERR_MALFORMED);

    put(&b, "before", "x");
    fixture_leaf(&l, 2, SP__AUDIT_EVENT__AUDIT_EVENT_ACCEPTED);
    l.leaf.at_ms = 1;
    batch_leaf(b.batch, &l.leaf, span_of(big, LIMIT_DETAIL + 1));
    fails_with(&b, ERR_TOO_LARGE);

    /* The store is as good as before. */
    cr_assert_eq(commit_step(&b, 3, &why), COMMIT_DONE);
    cr_assert(has(&b, "k3", "value"));
    cr_assert_eq(audit_log_size(b.f.log), 2);
    free(big);
    box_fini(&b);
}

/* A disk that fails in the commit: what is durable is known after the next start only. */
static void in_doubt(enum store_fault_point point, bool durable)
{
    enum err why = ERR_OK;
    struct box b;

    box_init(&b);
    cr_assert_eq(commit_step(&b, 1, &why), COMMIT_DONE);
    b.plan = (struct fault_plan){.armed = true, .point = point, .number = EIO};
    cr_assert_eq(commit_step(&b, 2, &why), COMMIT_IN_DOUBT);
    cr_assert_eq(why, ERR_IN_DOUBT);
    cr_assert_eq(commit_begin(b.committer), ERR_IN_DOUBT, "the store is latched");
    commit_abort(b.committer);
    b.plan.armed = false;
    box_close(&b);
    box_open(&b);
    cr_assert(has(&b, "k1", "value"));
    cr_assert_eq(has(&b, "k2", "value"), durable);
    cr_assert_eq(audit_log_size(b.f.log), durable ? 2 : 1, "effect and leaf alike");
    cr_assert_eq(records(&b, AUDIT_LEAF), durable ? 2 : 1);
    cr_assert_eq(audit_log_checkpoint(b.f.log), ERR_OK, "nothing was signed that is not there");
    cr_assert_eq(commit_step(&b, 3, &why), COMMIT_DONE);
    expect_leaf(&b, durable ? 2 : 1, 3);
    box_fini(&b);
}

Test(commit, in_doubt_before)
{
    in_doubt(STORE_FAULT_BEFORE_COMMIT, false);
}

Test(commit, in_doubt_after)
{
    in_doubt(STORE_FAULT_AFTER_COMMIT, true);
}

Test(commit, a_full_store_is_a_failure)
{
    struct box b;
    enum err why = ERR_OK;
    enum commit_outcome outcome = COMMIT_DONE;
    uint8_t *big = calloc(1, LIMIT_MIB);
    uint64_t size = 0;
    uint32_t n = 0;

    cr_assert_not_null(big);
    box_init(&b);
    while (outcome == COMMIT_DONE && n < 200) {
        size = audit_log_size(b.f.log);
        step(&b, n++);
        batch_put(b.batch, TABLE_OWN, span_of(&n, sizeof n), span_of(big, LIMIT_MIB));
        cr_assert_eq(commit_begin(b.committer), ERR_OK);
        (void)(commit_apply(b.committer, b.batch) == ERR_OK);
        outcome = commit_end(b.committer, &why);
    }
    cr_assert_eq(outcome, COMMIT_FAILED);
    cr_assert_eq(why, ERR_DISK_FULL);
    cr_assert_eq(audit_log_size(b.f.log), size);
    cr_assert_eq(records(&b, AUDIT_LEAF), size);
    cr_assert_eq(records(&b, TABLE_OWN), 2 * size);
    /* Small things go on. */
    cr_assert_eq(commit_step(&b, 1000, &why), COMMIT_DONE);
    free(big);
    box_fini(&b);
}

Test(commit, durable_but_not_signed_is_in_doubt)
{
    enum err why = ERR_OK;
    struct box b;

    box_init(&b);
    b.sign_error = ERR_UNAVAILABLE;
    cr_assert_eq(commit_step(&b, 1, &why), COMMIT_IN_DOUBT);
    cr_assert_eq(why, ERR_UNAVAILABLE);
    b.sign_error = ERR_OK;
    box_close(&b);
    box_open(&b);
    cr_assert(has(&b, "k1", "value"));
    cr_assert_eq(audit_log_checkpoint(b.f.log), ERR_OK);
    cr_assert_eq(audit_log_size(b.f.log), 1);
    box_fini(&b);
}
