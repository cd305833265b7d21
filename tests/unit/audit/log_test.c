#include "audit/log.h"

#include "audit/checkpoint.h"
#include "audit/receipt.h"
#include "tests/lib/leaks.h"
#include "tests/unit/audit/fixture.h"

#include <criterion/criterion.h>

TestSuite(log, .fini = leaks_check);

static struct buf receipt_of(struct fixture *f, uint64_t index)
{
    struct store_txn *txn;
    struct buf b;

    buf_init(&b, LIMIT_RECEIPT);
    cr_assert_eq(store_read_begin(f->store, &txn), ERR_OK);
    cr_assert_eq(audit_log_receipt(f->log, txn, index, &b), ERR_OK);
    store_read_end(txn);
    return b;
}

static void check_receipt(struct fixture *f, uint64_t index)
{
    struct buf b = receipt_of(f, index);
    struct receipt *r;

    cr_assert_eq(receipt_decode(buf_span(&b), &r), ERR_OK);
    cr_assert_eq(receipt_index(r), index);
    cr_assert_str_eq(receipt_leaf(r)->log, f->name);
    cr_assert_eq(receipt_verify(r, FIXTURE_FEDERATION, &f->public, NULL), ERR_OK);
    receipt_free(r);
    buf_fini(&b);
}

Test(log, a_new_log_is_empty)
{
    struct fixture f;
    struct buf b;

    fixture_init(&f, "riga", 1);
    cr_assert_eq(audit_log_size(f.log), 0);
    cr_assert_str_eq(audit_log_origin(f.log), "baltic.example/riga");
    buf_init(&b, LIMIT_CHECKPOINT);
    cr_assert_eq(audit_log_checkpoint(f.log), ERR_OK);
    cr_assert_eq(audit_log_latest(f.log, &b), ERR_NOT_FOUND);
    cr_assert_not(audit_log_unsaved(f.log));
    buf_fini(&b);
    fixture_fini(&f);
}

Test(log, every_leaf_has_a_receipt_that_holds)
{
    const uint32_t commits[] = {1, 1, 2, 60, 191, 1, 1, 255, 256, 257, 700, 3};
    uint32_t size = 0;
    struct fixture f;

    fixture_init(&f, "riga", 1);
    for (size_t i = 0; i < sizeof(commits) / sizeof(commits[0]); i++) {
        fixture_commit(&f, size, commits[i]);
        size += commits[i];
        cr_assert_eq(audit_log_size(f.log), size);
        for (uint64_t at = size - commits[i]; at < size; at++)
            check_receipt(&f, at);
        for (uint64_t at = 0; at < size; at += 1 + size / 37)
            check_receipt(&f, at);
    }
    fixture_fini(&f);
}

Test(log, the_checkpoint_is_of_the_durable_head)
{
    struct checkpoint c;
    struct note_key key;
    struct fixture f;
    struct buf b;

    fixture_init(&f, "riga", 1);
    fixture_commit(&f, 0, 5);
    cr_assert(audit_log_unsaved(f.log));
    buf_init(&b, LIMIT_CHECKPOINT);
    cr_assert_eq(audit_log_latest(f.log, &b), ERR_OK);
    cr_assert_eq(note_key_make("baltic.example/riga", NOTE_ED25519, &f.public, &key), ERR_OK);
    cr_assert_eq(checkpoint_verify(buf_span(&b), &key, &c), ERR_OK);
    cr_assert_eq(c.size, 5);
    fixture_save(&f);
    buf_fini(&b);
    fixture_fini(&f);
}

Test(log, the_same_question_has_the_same_answer)
{
    struct buf before[300];
    struct fixture f;

    fixture_init(&f, "riga", 1);
    for (uint32_t i = 0; i < 300; i += 50)
        fixture_commit(&f, i, 50);
    for (uint64_t i = 0; i < 300; i++)
        before[i] = receipt_of(&f, i);
    fixture_commit(&f, 300, 400);
    for (int round = 0; round < 2; round++) {
        for (uint64_t i = 0; i < 300; i++) {
            struct buf after = receipt_of(&f, i);

            cr_assert(span_equal(buf_span(&before[i]), buf_span(&after)), "leaf %u", (unsigned)i);
            buf_fini(&after);
        }
        fixture_close(&f);
        fixture_open(&f);
        cr_assert_eq(audit_log_checkpoint(f.log), ERR_OK);
    }
    for (uint64_t i = 0; i < 300; i++)
        buf_fini(&before[i]);
    fixture_fini(&f);
}

/* A crash after the commit and before the next one: the checkpoint was in memory only. */
Test(log, the_same_head_is_signed_again_with_the_same_bytes)
{
    struct buf receipt, again;
    struct fixture f;

    fixture_init(&f, "riga", 1);
    fixture_commit(&f, 0, 3);
    fixture_commit(&f, 3, 3);
    receipt = receipt_of(&f, 4);
    fixture_close(&f);
    fixture_open(&f);
    cr_assert_eq(audit_log_checkpoint(f.log), ERR_OK);
    again = receipt_of(&f, 4);
    cr_assert(span_equal(buf_span(&receipt), buf_span(&again)));
    buf_fini(&receipt);
    buf_fini(&again);
    fixture_fini(&f);
}

Test(log, no_receipt_before_the_checkpoint)
{
    struct store_txn *txn;
    struct fixture f;
    struct buf b;

    fixture_init(&f, "riga", 1);
    buf_init(&b, LIMIT_RECEIPT);
    cr_assert_eq(store_write_begin(f.store, &txn), ERR_OK);
    fixture_append(&f, txn, 0, 1);
    cr_assert_eq(audit_log_receipt(f.log, txn, 0, &b), ERR_NOT_FOUND);
    audit_log_flush(f.log, txn);
    cr_assert_eq(store_commit(txn), ERR_OK);
    audit_log_committed(f.log);
    cr_assert_eq(store_read_begin(f.store, &txn), ERR_OK);
    cr_assert_eq(audit_log_receipt(f.log, txn, 0, &b), ERR_NOT_FOUND);
    cr_assert_eq(audit_log_checkpoint(f.log), ERR_OK);
    cr_assert_eq(audit_log_receipt(f.log, txn, 1, &b), ERR_NOT_FOUND);
    cr_assert_eq(b.len, 0);
    cr_assert_eq(audit_log_receipt(f.log, txn, 0, &b), ERR_OK);
    store_read_end(txn);
    buf_fini(&b);
    fixture_fini(&f);
}

/* Aborts of any size at any size leave the log as it was: the next commit gives the root that a log
 * without aborts has. */
Test(log, aborts_leave_no_trace)
{
    const uint32_t sizes[] = {0, 1, 2, 255, 256, 257, 511, 512, 600};
    const uint32_t lost[] = {1, 2, 255, 256, 300, 1100};
    struct buf plain, aborted;
    struct fixture f, g;
    struct store_txn *txn;
    uint32_t size = 0;

    fixture_init(&f, "riga", 1);
    fixture_init(&g, "riga", 1);
    buf_init(&plain, LIMIT_CHECKPOINT);
    buf_init(&aborted, LIMIT_CHECKPOINT);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        for (size_t k = 0; k < sizeof(lost) / sizeof(lost[0]); k++) {
            cr_assert_eq(store_write_begin(g.store, &txn), ERR_OK);
            fixture_append(&g, txn, 5000, lost[k]);
            if (k % 2 == 0)
                audit_log_flush(g.log, txn);
            store_abort(txn);
            audit_log_aborted(g.log);
            cr_assert_eq(audit_log_size(g.log), size);
        }
        f.clock.next = g.clock.next = 0; /* the same salts */
        fixture_commit(&f, size, sizes[i] + 1 - size);
        fixture_commit(&g, size, sizes[i] + 1 - size);
        size = sizes[i] + 1;
    }
    cr_assert_eq(audit_log_latest(f.log, &plain), ERR_OK);
    cr_assert_eq(audit_log_latest(g.log, &aborted), ERR_OK);
    cr_assert(span_equal(buf_span(&plain), buf_span(&aborted)));
    for (uint64_t i = 0; i < size; i += 3)
        check_receipt(&g, i);
    buf_fini(&plain);
    buf_fini(&aborted);
    fixture_fini(&f);
    fixture_fini(&g);
}

/* Reading old receipts while a transaction is open must not push out what is not stored yet. */
Test(log, reading_between_appends_loses_nothing)
{
    struct store_txn *txn, *reading;
    struct fixture f;
    struct buf b;

    fixture_init(&f, "riga", 1);
    fixture_commit(&f, 0, 2100);
    buf_init(&b, LIMIT_MIB);
    cr_assert_eq(store_write_begin(f.store, &txn), ERR_OK);
    for (uint32_t i = 0; i < 600; i++) {
        fixture_append(&f, txn, 2100 + i, 1);
        buf_reset(&b);
        cr_assert_eq(store_read_begin(f.store, &reading), ERR_OK);
        cr_assert_eq(audit_log_receipt(f.log, reading, i * 3, &b), ERR_OK);
        store_read_end(reading);
    }
    audit_log_flush(f.log, txn);
    cr_assert_eq(store_commit(txn), ERR_OK);
    audit_log_committed(f.log);
    cr_assert_eq(audit_log_checkpoint(f.log), ERR_OK);
    fixture_close(&f);
    fixture_open(&f);
    cr_assert_eq(audit_log_checkpoint(f.log), ERR_OK);
    for (uint64_t i = 0; i < 2700; i += 5)
        check_receipt(&f, i);
    buf_fini(&b);
    fixture_fini(&f);
}

static int fail_commit(void *ctx, enum store_fault_point point)
{
    return (int)point == *(int *)ctx ? 5 : 0; /* EIO */
}

/* The commit fails, or succeeds without anybody being told: after reopening the log is whole. */
Test(log, survives_commits_in_doubt)
{
    for (int point = STORE_FAULT_BEFORE_COMMIT; point <= STORE_FAULT_AFTER_COMMIT; point++) {
        struct store_fault fault = {.ctx = &point, .hit = fail_commit};
        struct store_options o;
        struct store_txn *txn;
        struct fixture f;
        uint64_t want;

        fixture_init(&f, "riga", 1);
        fixture_commit(&f, 0, 300);
        fixture_close(&f);
        o = (struct store_options){.dir = f.store_dir,
                                   .map_bytes = f.map_bytes,
                                   .tables = audit_tables,
                                   .table_count = AUDIT_TABLES,
                                   .kind = "test",
                                   .checksum_key = (const uint8_t[STORE_CHECKSUM_KEY]){1},
                                   .fault = &fault};
        cr_assert_eq(store_open(&o, NULL, &f.store), ERR_OK);
        cr_assert_eq(audit_signer_local("baltic.example/riga", f.key, f.state, &f.signer), ERR_OK);
        cr_assert_eq(
            audit_log_open(f.store, FIXTURE_FEDERATION, "riga", &f.signer, &f.clock.env, &f.log),
            ERR_OK);
        cr_assert_eq(store_write_begin(f.store, &txn), ERR_OK);
        fixture_append(&f, txn, 300, 300);
        audit_log_flush(f.log, txn);
        cr_assert_neq(store_commit(txn), ERR_OK);
        audit_log_aborted(f.log);
        fixture_close(&f);
        fixture_open(&f);
        want = point == STORE_FAULT_AFTER_COMMIT ? 600 : 300;
        cr_assert_eq(audit_log_size(f.log), want);
        cr_assert_eq(audit_log_checkpoint(f.log), ERR_OK);
        fixture_commit(&f, (uint32_t)want, 10);
        for (uint64_t i = 0; i < want + 10; i += 7)
            check_receipt(&f, i);
        fixture_fini(&f);
    }
}

Test(log, leaves_are_bounded)
{
    char code[LIMIT_REFUSAL_CODE + 1];
    uint8_t *detail = calloc(1, LIMIT_DETAIL + 1);

    for (size_t n = LIMIT_REFUSAL_CODE - 2; n <= LIMIT_REFUSAL_CODE; n++) {
        struct fixture_leaf l;
        struct store_txn *txn;
        struct fixture f;
        uint64_t index;

        fixture_init(&f, "riga", 1);
        memset(code, 'c', sizeof(code));
        code[n] = '\0';
        fixture_leaf(&l, 1, SP__AUDIT_EVENT__AUDIT_EVENT_REFUSED);
        l.leaf.code = code;
        cr_assert_eq(store_write_begin(f.store, &txn), ERR_OK);
        audit_log_append(f.log, txn, &l.leaf, (struct span){0}, &index);
        cr_assert_eq(store_txn_error(txn), n < LIMIT_REFUSAL_CODE ? ERR_OK : ERR_MALFORMED);
        store_abort(txn);
        audit_log_aborted(f.log);
        fixture_fini(&f);
    }
    for (size_t n = LIMIT_DETAIL - 1; n <= LIMIT_DETAIL + 1; n++) {
        struct fixture_leaf l;
        struct store_txn *txn;
        struct fixture f;
        uint64_t index;

        fixture_init(&f, "riga", 1);
        fixture_leaf(&l, 1, SP__AUDIT_EVENT__AUDIT_EVENT_REFUSED);
        cr_assert_eq(store_write_begin(f.store, &txn), ERR_OK);
        audit_log_append(f.log, txn, &l.leaf, span_of(detail, n), &index);
        cr_assert_eq(store_txn_error(txn), n <= LIMIT_DETAIL ? ERR_OK : ERR_TOO_LARGE);
        store_abort(txn);
        audit_log_aborted(f.log);
        fixture_fini(&f);
    }
    free(detail);
}

Test(log, details_are_committed_to_and_erasable)
{
    struct span leaf_bytes, salt, detail;
    const Sp__Leaf *leaf;
    struct store_txn *txn;
    struct fixture f;
    struct digest d;
    struct pb *pb;

    fixture_init(&f, "riga", 1);
    fixture_commit(&f, 0, 8);
    cr_assert_eq(store_read_begin(f.store, &txn), ERR_OK);
    cr_assert_eq(audit_read_leaf(txn, 3, &leaf_bytes), ERR_OK);
    cr_assert_eq(leaf_decode(leaf_bytes, &pb, &leaf), ERR_OK);
    cr_assert_eq(audit_read_detail(txn, 3, &salt, &detail), ERR_OK);
    cr_assert(span_equal(detail, span_str("detail 3")));
    d = leaf_commit(salt.data, detail);
    cr_assert(span_equal(digest_span(&d), pb_span(leaf->detail)));
    cr_assert_eq(audit_read_detail(txn, 2, &salt, &detail), ERR_NOT_FOUND);
    store_read_end(txn);
    pb_free(pb);

    cr_assert_eq(store_write_begin(f.store, &txn), ERR_OK);
    cr_assert_eq(audit_log_erase(f.log, txn, 3), ERR_OK);
    cr_assert_eq(audit_log_erase(f.log, txn, 3), ERR_NOT_FOUND);
    cr_assert_eq(audit_log_erase(f.log, txn, 2), ERR_NOT_FOUND);
    cr_assert_eq(audit_log_erase(f.log, txn, 8), ERR_NOT_FOUND);
    cr_assert_eq(store_commit(txn), ERR_OK);
    check_receipt(&f, 3);
    fixture_fini(&f);
}

Test(log, salts_differ)
{
    struct span salt[2], detail;
    struct store_txn *txn;
    struct fixture f;

    fixture_init(&f, "riga", 1);
    fixture_commit(&f, 0, 8);
    cr_assert_eq(store_read_begin(f.store, &txn), ERR_OK);
    cr_assert_eq(audit_read_detail(txn, 3, &salt[0], &detail), ERR_OK);
    cr_assert_eq(audit_read_detail(txn, 7, &salt[1], &detail), ERR_OK);
    cr_assert_not(span_equal(salt[0], salt[1]));
    store_read_end(txn);
    fixture_fini(&f);
}

Test(log, another_origin_is_refused)
{
    struct audit_log *log;
    struct fixture f;

    fixture_init(&f, "riga", 1);
    fixture_commit(&f, 0, 1);
    cr_assert_eq(
        audit_log_open(f.store, FIXTURE_FEDERATION, "tallinn", &f.signer, &f.clock.env, &log),
        ERR_CONFIG);
    cr_assert_eq(audit_log_open(f.store, "other.example", "riga", &f.signer, &f.clock.env, &log),
                 ERR_CONFIG);
    cr_assert_eq(audit_log_open(f.store, "other example", "riga", &f.signer, &f.clock.env, &log),
                 ERR_CONFIG);
    fixture_fini(&f);
}

/* What open looks at: head, edges, the last leaf and what stands behind it. */
Test(log, opening_finds_what_does_not_fit)
{
    static const struct {
        enum audit_table table;
        bool tile;
        uint64_t index;
        bool remove;
    } cases[] = {
        {AUDIT_META, false, 0, false},         {AUDIT_META, false, 0, true},
        {AUDIT_TILE, true, 2, false},          {AUDIT_TILE, true, 2, true},
        {AUDIT_LEAF, false, 599, false},       {AUDIT_LEAF, false, 599, true},
        {AUDIT_LEAF, false, 600, false},       {AUDIT_CHECKPOINT, false, 600, false},
        {AUDIT_CHECKPOINT, false, 601, false},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t number[STORE_KEY_U64], tile[AUDIT_KEY_TILE], junk[88 * 32] = {7};
        struct store_txn *txn;
        struct fixture f;
        struct span key;

        fixture_init(&f, "riga", 1);
        fixture_commit(&f, 0, 600);
        fixture_save(&f);
        store_key_u64(cases[i].index, number);
        audit_key_tile(0, cases[i].index, tile);
        key = span_of(number, sizeof(number));
        if (cases[i].tile)
            key = span_of(tile, sizeof(tile));
        else if (cases[i].table == AUDIT_META)
            key = audit_key_head;
        cr_assert_eq(store_write_begin(f.store, &txn), ERR_OK);
        if (cases[i].remove)
            store_delete(txn, cases[i].table, key);
        else
            store_put(txn, cases[i].table, key,
                      span_of(junk, cases[i].table == AUDIT_META ? 40 : sizeof(junk)));
        cr_assert_eq(store_commit(txn), ERR_OK);
        fixture_close(&f);
        cr_assert_eq(fixture_try_open(&f), ERR_CORRUPT, "case %zu", i);
        fixture_fini(&f);
    }
}

/* The store was set back to an earlier state, the signer was not. */
Test(log, a_restored_store_is_not_signed_for)
{
    struct fixture f;
    struct buf b;
    char copy[80];

    fixture_init(&f, "riga", 1);
    fixture_commit(&f, 0, 10);
    (void)snprintf(copy, sizeof(copy), "%s/copy", f.dir);
    cr_assert_eq(store_copy(f.store, copy), ERR_OK);
    fixture_commit(&f, 10, 10);
    fixture_close(&f);
    (void)snprintf(f.store_dir, sizeof(f.store_dir), "%s", copy);
    fixture_open(&f);
    cr_assert_eq(audit_log_size(f.log), 10);
    cr_assert_eq(audit_log_checkpoint(f.log), ERR_BAD_PROOF);
    /* Going on from there does not help: it is another history. */
    {
        struct store_txn *txn;

        cr_assert_eq(store_write_begin(f.store, &txn), ERR_OK);
        fixture_append(&f, txn, 100, 10);
        audit_log_flush(f.log, txn);
        cr_assert_eq(store_commit(txn), ERR_OK);
        audit_log_committed(f.log);
        cr_assert_eq(audit_log_checkpoint(f.log), ERR_BAD_PROOF);
        cr_assert_eq(store_write_begin(f.store, &txn), ERR_OK);
        fixture_append(&f, txn, 110, 10);
        audit_log_flush(f.log, txn);
        cr_assert_eq(store_commit(txn), ERR_OK);
        audit_log_committed(f.log);
        cr_assert_eq(audit_log_checkpoint(f.log), ERR_BAD_PROOF);
    }
    buf_init(&b, LIMIT_CHECKPOINT);
    cr_assert_eq(audit_log_latest(f.log, &b), ERR_NOT_FOUND);
    buf_fini(&b);
    fixture_fini(&f);
}
