#include "audit/verify.h"

#include "common/env.h"
#include "common/text.h"
#include "tests/lib/leaks.h"
#include "tests/unit/audit/fixture.h"

#include <criterion/criterion.h>
#include <inttypes.h>

TestSuite(verify, .fini = leaks_check);

#define FOUND_MAX 8
#define LEAVES 600

struct found {
    struct verify_finding items[FOUND_MAX];
    size_t n;
};

static void collect(void *ctx, const struct verify_finding *f)
{
    struct found *found = ctx;

    if (found->n < FOUND_MAX)
        found->items[found->n] = *f;
    found->n++;
}

/* Leaves in commits of 100, all checkpoints stored; closed. */
static void make_log(struct fixture *f, uint8_t seed)
{
    fixture_init(f, "riga", seed);
    for (uint32_t i = 0; i < LEAVES; i += 100)
        fixture_commit(f, i, 100);
    fixture_save(f);
}

static enum err check(struct fixture *f, const struct checkpoint *since, bool anchored,
                      struct verify_result *r, struct found *found)
{
    struct verify_options o = {.since = since, .ctx = found, .found = collect};
    struct note_key key;
    struct source *s;
    char why[256] = "";
    enum err e;

    *found = (struct found){0};
    cr_assert_eq(note_key_make("baltic.example/riga", NOTE_ED25519, &f->public, &key), ERR_OK);
    o.key = anchored ? &key : NULL;
    cr_assert_eq(source_open(f->dir, &s, why, sizeof(why)), ERR_OK, "%s", why);
    e = verify_log(s, &o, r);
    source_free(s);
    return e;
}

Test(verify, a_sound_log_holds)
{
    struct verify_result r;
    struct found found;
    struct fixture f;

    make_log(&f, 1);
    fixture_close(&f);
    for (int anchored = 0; anchored < 2; anchored++) {
        cr_assert_eq(check(&f, NULL, anchored, &r, &found), ERR_OK);
        cr_assert_eq(found.n, 0);
        cr_assert_eq(r.leaves, LEAVES);
        cr_assert_eq(r.head.size, LEAVES);
        cr_assert_eq(r.tiles, 4); /* three of level 0, one of level 1 */
        cr_assert_eq(r.checkpoints, 6);
        cr_assert_eq(r.signatures, anchored ? 6 : 0);
        cr_assert_eq(r.covered, LEAVES);
        cr_assert_eq(r.ids, LEAVES);
        cr_assert_eq(r.details, LEAVES / 4);
        cr_assert_eq(r.erased, 0);
        cr_assert_eq(r.time_breaks, 0);
        cr_assert_eq(r.events[SP__AUDIT_EVENT__AUDIT_EVENT_ACCEPTED], LEAVES);
        cr_assert_eq(r.first_ms, FIXTURE_START_MS);
        cr_assert_eq(r.last_ms, FIXTURE_START_MS + 5000);
    }
    fixture_fini(&f);
}

Test(verify, an_empty_log_holds)
{
    struct verify_result r;
    struct found found;
    struct fixture f;

    fixture_init(&f, "riga", 1);
    fixture_close(&f);
    cr_assert_eq(check(&f, NULL, true, &r, &found), ERR_OK);
    cr_assert_eq(r.head.size, 0);
    cr_assert_eq(r.covered, 0);
    fixture_fini(&f);
}

Test(verify, a_live_log_can_be_read)
{
    struct verify_result r;
    struct found found;
    struct fixture f;

    make_log(&f, 1);
    fixture_commit(&f, LEAVES, 7); /* the checkpoint over these is in memory only */
    cr_assert_eq(check(&f, NULL, true, &r, &found), ERR_OK);
    cr_assert_eq(r.head.size, LEAVES + 7);
    cr_assert_eq(r.covered, LEAVES);
    fixture_fini(&f);
}

/* One change behind the log's back, and what must be found first. */
struct damage {
    enum audit_table table;
    bool tile;
    unsigned level;
    uint64_t index;
    enum { FLIP, CUT, GROW, REMOVE, JUNK } how;
    size_t at; /* byte that is flipped */
    enum verify_what what;
    uint64_t where;
};

static void do_damage(struct fixture *f, const struct damage *d)
{
    uint8_t number[STORE_KEY_U64], tile[AUDIT_KEY_TILE];
    struct store_txn *txn;
    struct span key, value = {0};
    struct buf copy;

    store_key_u64(d->index, number);
    audit_key_tile(d->level, d->index, tile);
    key = d->tile ? span_of(tile, sizeof(tile)) : span_of(number, sizeof(number));
    buf_init(&copy, LIMIT_MIB);
    cr_assert_eq(store_write_begin(f->store, &txn), ERR_OK);
    if (d->how != JUNK)
        cr_assert_eq(store_get(txn, d->table, key, &value), ERR_OK);
    buf_put(&copy, value);
    if (d->how == FLIP)
        copy.data[d->at] ^= 1;
    if (d->how == CUT)
        copy.len -= 32;
    if (d->how == GROW || d->how == JUNK)
        memset(buf_extend(&copy, 32), 9, 32);
    if (d->how == REMOVE)
        store_delete(txn, d->table, key);
    else
        store_put(txn, d->table, key, buf_span(&copy));
    cr_assert_eq(store_commit(txn), ERR_OK);
    buf_fini(&copy);
}

Test(verify, every_alteration_is_found_and_named)
{
    static const struct damage cases[] = {
        {AUDIT_LEAF, false, 0, 0, FLIP, 40, VERIFY_LEAF_HASH, 0},
        {AUDIT_LEAF, false, 0, 17, FLIP, 3, VERIFY_LEAF_HASH, 17},
        {AUDIT_LEAF, false, 0, 599, FLIP, 60, VERIFY_LEAF_HASH, 599},
        {AUDIT_LEAF, false, 0, 300, CUT, 0, VERIFY_LEAF_HASH, 300},
        {AUDIT_LEAF, false, 0, 300, GROW, 0, VERIFY_LEAF_HASH, 300},
        {AUDIT_LEAF, false, 0, 300, REMOVE, 0, VERIFY_LEAF_MISSING, 300},
        {AUDIT_LEAF, false, 0, 599, REMOVE, 0, VERIFY_LEAF_MISSING, 599},
        {AUDIT_LEAF, false, 0, 600, JUNK, 0, VERIFY_LEAF_BEYOND, 600},
        {AUDIT_TILE, true, 0, 0, FLIP, 32, VERIFY_LEAF_HASH, 1},
        {AUDIT_TILE, true, 0, 0, CUT, 0, VERIFY_TILE_WIDTH, 0},
        {AUDIT_TILE, true, 0, 2, CUT, 0, VERIFY_TILE_WIDTH, 2},
        {AUDIT_TILE, true, 0, 2, GROW, 0, VERIFY_TILE_WIDTH, 2},
        {AUDIT_TILE, true, 0, 1, REMOVE, 0, VERIFY_TILE_MISSING, 1},
        {AUDIT_TILE, true, 1, 0, FLIP, 0, VERIFY_TILE_HASH, 0},
        {AUDIT_TILE, true, 1, 0, REMOVE, 0, VERIFY_TILE_MISSING, 0},
        {AUDIT_TILE, true, 0, 3, JUNK, 0, VERIFY_TILE_BEYOND, 0},
        {AUDIT_TILE, true, 2, 0, JUNK, 0, VERIFY_TILE_BEYOND, 0},
        {AUDIT_CHECKPOINT, false, 0, 300, FLIP, 21, VERIFY_CHECKPOINT_FORM, 300},
        {AUDIT_CHECKPOINT, false, 0, 300, FLIP, 0, VERIFY_CHECKPOINT_FORM, 300},
        {AUDIT_CHECKPOINT, false, 0, 300, FLIP, 30, VERIFY_CHECKPOINT_ROOT, 300},
        {AUDIT_CHECKPOINT, false, 0, 300, FLIP, 110, VERIFY_CHECKPOINT_SIGNATURE, 300},
        {AUDIT_CHECKPOINT, false, 0, 700, JUNK, 0, VERIFY_CHECKPOINT_BEYOND, 700},
        {AUDIT_DETAIL, false, 0, 3, FLIP, 0, VERIFY_DETAIL_MISMATCH, 3},
        {AUDIT_DETAIL, false, 0, 3, FLIP, 35, VERIFY_DETAIL_MISMATCH, 3},
        {AUDIT_DETAIL, false, 0, 4, JUNK, 0, VERIFY_DETAIL_BEYOND, 0},
        {AUDIT_ID, false, 0, 4, JUNK, 0, VERIFY_ID_BEYOND, 0},
        {AUDIT_META, false, 0, 0, FLIP, 0, VERIFY_HEAD_ROOT, LEAVES},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct verify_result r = {0};
        struct found found;
        struct fixture f;

        make_log(&f, 1);
        if (cases[i].table == AUDIT_META) {
            uint8_t bytes[AUDIT_HEAD_SIZE];
            struct audit_head head = {.size = LEAVES, .root = {{1}}};
            struct store_txn *txn;

            audit_head_encode(&head, bytes);
            cr_assert_eq(store_write_begin(f.store, &txn), ERR_OK);
            store_put(txn, AUDIT_META, audit_key_head, span_of(bytes, sizeof(bytes)));
            cr_assert_eq(store_commit(txn), ERR_OK);
        } else {
            do_damage(&f, &cases[i]);
        }
        fixture_close(&f);
        cr_assert_eq(check(&f, NULL, true, &r, &found), ERR_BAD_PROOF, "case %zu", i);
        cr_assert_geq(found.n, 1);
        cr_assert_eq(r.findings, found.n);
        cr_assert_eq(found.items[0].what, cases[i].what, "case %zu: %s", i,
                     verify_code(found.items[0].what));
        cr_assert_eq(found.items[0].index, cases[i].where, "case %zu", i);
        fixture_fini(&f);
    }
}

/* A flipped bit of a leaf is one finding: roots and checkpoints tell that the tile is right. */
Test(verify, a_flipped_leaf_is_told_from_a_flipped_tile)
{
    static const struct damage leaf = {AUDIT_LEAF, false, 0, 17, FLIP, 3, VERIFY_LEAF_HASH, 17};
    static const struct damage tile = {AUDIT_TILE, true, 0, 0, FLIP, 17 * 32, VERIFY_LEAF_HASH, 17};
    struct verify_result r;
    struct found found;
    struct fixture f;

    make_log(&f, 1);
    do_damage(&f, &leaf);
    fixture_close(&f);
    cr_assert_eq(check(&f, NULL, true, &r, &found), ERR_BAD_PROOF);
    for (size_t i = 0; i < found.n; i++)
        cr_assert_eq(found.items[i].index, 17);
    cr_assert_eq(r.signatures, 6);
    fixture_fini(&f);

    make_log(&f, 1);
    do_damage(&f, &tile);
    fixture_close(&f);
    cr_assert_eq(check(&f, NULL, true, &r, &found), ERR_BAD_PROOF);
    cr_assert_eq(r.signatures, 0);
    cr_assert_eq(found.items[found.n - 1].what, VERIFY_CHECKPOINT_ROOT);
    cr_assert_eq(found.items[found.n - 1].index, 100);
    cr_assert_eq(found.items[found.n - 1].count, 6);
    fixture_fini(&f);
}

/* The head set back by somebody who can write the store: leaves, tiles, checkpoints give it away.
 */
Test(verify, a_rolled_back_head_is_found)
{
    struct verify_result r;
    struct store_txn *txn;
    struct found found;
    struct fixture f, g;
    struct span head;
    struct buf copy;
    bool leaf = false, checkpoint = false;

    make_log(&f, 1);
    fixture_init(&g, "riga", 1);
    g.clock = f.clock;
    g.clock.env.ctx = &g.clock;
    g.clock.next = 0;
    g.clock.now_ms = FIXTURE_START_MS;
    for (uint32_t i = 0; i < 300; i += 100)
        fixture_commit(&g, i, 100);
    buf_init(&copy, 64);
    cr_assert_eq(store_read_begin(g.store, &txn), ERR_OK);
    cr_assert_eq(store_get(txn, AUDIT_META, audit_key_head, &head), ERR_OK);
    buf_put(&copy, head);
    store_read_end(txn);
    cr_assert_eq(store_write_begin(f.store, &txn), ERR_OK);
    store_put(txn, AUDIT_META, audit_key_head, buf_span(&copy));
    cr_assert_eq(store_commit(txn), ERR_OK);
    fixture_close(&f);
    cr_assert_eq(check(&f, NULL, true, &r, &found), ERR_BAD_PROOF);
    for (size_t i = 0; i < found.n; i++) {
        const struct verify_finding *one = &found.items[i];

        leaf = leaf || (one->what == VERIFY_LEAF_BEYOND && one->index == 300 && one->count == 300);
        checkpoint = checkpoint || (one->what == VERIFY_CHECKPOINT_BEYOND && one->index == 400 &&
                                    one->count == 3);
        cr_assert_neq(one->what, VERIFY_HEAD_ROOT, "the head is a true one of the past");
    }
    cr_assert(leaf && checkpoint);
    buf_fini(&copy);
    fixture_fini(&f);
    fixture_fini(&g);
}

Test(verify, another_key_is_found)
{
    struct verify_result r;
    struct found found;
    struct fixture f;
    struct secret *right;
    const uint8_t seed[32] = {2};

    make_log(&f, 1);
    fixture_close(&f);
    right = f.key;
    cr_assert_eq(secret_copy(span_of(seed, sizeof(seed)), &f.key), ERR_OK);
    cr_assert_eq(ed25519_public_of(f.key, &f.public), ERR_OK);
    cr_assert_eq(check(&f, NULL, true, &r, &found), ERR_BAD_PROOF);
    cr_assert_eq(found.items[0].what, VERIFY_CHECKPOINT_SIGNATURE);
    cr_assert_eq(r.covered, 0);
    /* Without an anchor a change of the key is told. */
    fixture_open(&f);
    fixture_commit(&f, LEAVES, 1);
    fixture_save(&f);
    fixture_close(&f);
    cr_assert_eq(check(&f, NULL, false, &r, &found), ERR_BAD_PROOF);
    cr_assert_eq(found.n, 1);
    cr_assert_eq(found.items[0].what, VERIFY_CHECKPOINT_KEY);
    cr_assert_eq(found.items[0].index, LEAVES + 1);
    secret_free(right);
    fixture_fini(&f);
}

Test(verify, continues_a_checkpoint_or_says_so)
{
    struct checkpoint since = {0};
    struct verify_result r;
    struct found found;
    struct fixture f;
    struct source *s;
    char why[256];

    make_log(&f, 1);
    fixture_close(&f);
    cr_assert_eq(source_open(f.dir, &s, why, sizeof(why)), ERR_OK);
    since.size = 437;
    cr_assert_eq(merkle_root(source_get, s, since.size, &since.root), ERR_OK);
    source_free(s);
    cr_assert_eq(check(&f, &since, true, &r, &found), ERR_OK);
    since.root.b[0] ^= 1;
    cr_assert_eq(check(&f, &since, true, &r, &found), ERR_BAD_PROOF);
    cr_assert_eq(found.items[0].what, VERIFY_SINCE_ROOT);
    since.size = LEAVES + 1;
    cr_assert_eq(check(&f, &since, true, &r, &found), ERR_BAD_PROOF);
    cr_assert_eq(found.items[0].what, VERIFY_SINCE_ROOT);
    since.size = 0;
    since.root = merkle_empty_root();
    cr_assert_eq(check(&f, &since, true, &r, &found), ERR_OK);
    fixture_fini(&f);
}

Test(verify, clocks_set_back_and_erasures_are_told_not_blamed)
{
    struct verify_result r;
    struct store_txn *txn;
    struct found found;
    struct fixture f;

    make_log(&f, 1);
    f.clock.now_ms = FIXTURE_START_MS - 60000;
    fixture_commit(&f, LEAVES, 2);
    cr_assert_eq(store_write_begin(f.store, &txn), ERR_OK);
    cr_assert_eq(audit_log_erase(f.log, txn, 7), ERR_OK);
    cr_assert_eq(audit_log_erase(f.log, txn, 11), ERR_OK);
    audit_log_flush(f.log, txn);
    cr_assert_eq(store_commit(txn), ERR_OK);
    fixture_close(&f);
    cr_assert_eq(check(&f, NULL, true, &r, &found), ERR_OK);
    cr_assert_eq(r.time_breaks, 1);
    cr_assert_eq(r.time_break, LEAVES);
    cr_assert_eq(r.erased, 2);
    cr_assert_eq(r.details, LEAVES / 4 - 2);
    fixture_fini(&f);
}

Test(verify, sources_that_are_none)
{
    struct source *s;
    struct fixture f;
    char why[256] = "";

    fixture_prepare(&f, "riga", 1);
    cr_assert_eq(source_open(f.dir, &s, why, sizeof(why)), ERR_NOT_FOUND);
    cr_assert_not_null(strstr(why, "not a data directory"));
    cr_assert_eq(source_open("/nonexistent", &s, why, sizeof(why)), ERR_NOT_FOUND);
    cr_assert_not_null(strstr(why, "no such directory"));
    cr_assert_eq(source_open("https://log.example/riga", &s, why, sizeof(why)), ERR_NOT_FOUND);
    cr_assert_not_null(strstr(why, "not a data directory"));
    fixture_fini(&f);
}

/* The rate is told, not judged: machines differ. */
Test(verify, a_hundred_thousand_leaves, .timeout = 120)
{
    const struct env *env = env_system();
    struct verify_result r;
    struct found found;
    struct fixture f;
    uint64_t start, made, done;

    fixture_prepare(&f, "riga", 1);
    f.map_bytes = 512 * LIMIT_MIB;
    fixture_open(&f);
    start = env_mono_ms(env);
    for (uint32_t i = 0; i < 100000; i += 1000)
        fixture_commit(&f, i, 1000);
    fixture_save(&f);
    fixture_close(&f);
    made = env_mono_ms(env);
    cr_assert_eq(check(&f, NULL, true, &r, &found), ERR_OK);
    done = env_mono_ms(env);
    cr_assert_eq(r.leaves, 100000);
    cr_assert_eq(r.signatures, 100);
    cr_log_info("100000 leaves: appended in %" PRIu64 " ms, verified in %" PRIu64 " ms",
                made - start, done - made);
    fixture_fini(&f);
}
