#include "common/store.h"

#include "tests/unit/common/store_fixture.h"

TestSuite(store, .fini = leaks_check);

Test(store, records_survive_closing)
{
    struct box b;
    struct store_found found;

    box_init(&b);
    cr_assert_eq(store_open(&b.options, &found, &b.store), ERR_OK);
    cr_assert(found.created);
    cr_assert_eq(put_one(b.store, PLAIN, "a", "one"), ERR_OK);
    cr_assert_eq(put_one(b.store, KEYED, "a", "two"), ERR_OK);
    cr_assert_eq(put_one(b.store, KEYED, "empty", ""), ERR_OK);
    box_close(&b);
    cr_assert_eq(store_open(&b.options, &found, &b.store), ERR_OK);
    cr_assert_not(found.created);
    cr_assert_eq(found.format, 3);
    cr_assert_str_eq(found.kind, "test");
    cr_assert_eq(has(b.store, PLAIN, "a", "one"), ERR_OK);
    cr_assert_eq(has(b.store, KEYED, "a", "two"), ERR_OK);
    cr_assert_eq(has(b.store, KEYED, "empty", ""), ERR_OK);
    cr_assert_eq(has(b.store, PLAIN, "b", ""), ERR_NOT_FOUND);
    cr_assert_eq(has(b.store, PLAIN, "", ""), ERR_NOT_FOUND);
    box_fini(&b);
}

Test(store, a_transaction_sees_its_own_changes_and_a_reader_does_not)
{
    struct box b;
    struct store_txn *txn;
    struct span v;
    uint64_t n = 9;

    box_init(&b);
    box_open(&b);
    cr_assert_eq(put_one(b.store, PLAIN, "k", "old"), ERR_OK);
    cr_assert_eq(store_write_begin(b.store, &txn), ERR_OK);
    store_put(txn, PLAIN, text("k"), text("new"));
    store_delete(txn, PLAIN, text("missing"));
    cr_assert_eq(store_get(txn, PLAIN, text("k"), &v), ERR_OK);
    cr_assert(span_equal(v, text("new")));
    cr_assert_eq(has(b.store, PLAIN, "k", "old"), ERR_OK);
    store_delete(txn, PLAIN, text("k"));
    cr_assert_eq(store_get(txn, PLAIN, text("k"), &v), ERR_NOT_FOUND);
    cr_assert_eq(store_count(txn, PLAIN, &n), ERR_OK);
    cr_assert_eq(n, 0);
    store_abort(txn);
    cr_assert_eq(has(b.store, PLAIN, "k", "old"), ERR_OK);
    store_abort(NULL);
    box_fini(&b);
    store_close(NULL);
}

Test(store, the_first_error_sticks_and_nothing_is_committed)
{
    uint8_t key[LIMIT_STORE_KEY + 1] = {1};
    struct box b;
    struct store_txn *txn;
    struct span v;

    box_init(&b);
    box_open(&b);
    cr_assert_eq(store_write_begin(b.store, &txn), ERR_OK);
    store_put(txn, PLAIN, text("before"), text("x"));
    cr_assert_eq(store_txn_error(txn), ERR_OK);
    store_put(txn, PLAIN, span_of(key, sizeof key), text("x"));
    store_append(txn, PLAIN, text("aaa"), text("x"));
    store_fail(txn, ERR_QUOTA);
    cr_assert_eq(store_txn_error(txn), ERR_TOO_LARGE);
    cr_assert_eq(store_get(txn, PLAIN, text("before"), &v), ERR_OK);
    cr_assert_eq(store_commit(txn), ERR_TOO_LARGE);
    cr_assert_eq(has(b.store, PLAIN, "before", "x"), ERR_NOT_FOUND);

    cr_assert_eq(store_write_begin(b.store, &txn), ERR_OK);
    store_append(txn, PLAIN, text("b"), text("x"));
    store_append(txn, PLAIN, text("a"), text("x"));
    cr_assert_eq(store_commit(txn), ERR_EXISTS);

    cr_assert_eq(store_write_begin(b.store, &txn), ERR_OK);
    store_put(txn, PLAIN, text("b"), text("x"));
    store_fail(txn, ERR_QUOTA);
    cr_assert_eq(store_commit(txn), ERR_QUOTA);
    cr_assert_eq(has(b.store, PLAIN, "b", "x"), ERR_NOT_FOUND);

    cr_assert_eq(put_one(b.store, PLAIN, "b", "still usable"), ERR_OK);
    box_fini(&b);
}

static enum err put_sizes(struct box *b, size_t key_len, size_t value_len)
{
    struct store_txn *txn;
    uint8_t *bytes = calloc(1, value_len + 1);
    uint8_t key[LIMIT_STORE_KEY + 1] = {0};

    cr_assert_not_null(bytes);
    cr_assert_eq(store_write_begin(b->store, &txn), ERR_OK);
    store_put(txn, PLAIN, span_of(key, key_len), span_of(bytes, value_len));
    free(bytes);
    return store_commit(txn);
}

Test(store, keys_and_values_have_limits)
{
    struct box b;
    struct store_txn *txn;

    box_init(&b);
    b.options.map_bytes = 128 * LIMIT_MIB;
    box_open(&b);
    cr_assert_eq(put_sizes(&b, 0, 1), ERR_TOO_LARGE);
    cr_assert_eq(put_sizes(&b, 1, 1), ERR_OK);
    cr_assert_eq(put_sizes(&b, LIMIT_STORE_KEY - 1, 1), ERR_OK);
    cr_assert_eq(put_sizes(&b, LIMIT_STORE_KEY, 1), ERR_OK);
    cr_assert_eq(put_sizes(&b, LIMIT_STORE_KEY + 1, 1), ERR_TOO_LARGE);
    cr_assert_eq(put_sizes(&b, 1, LIMIT_STORE_VALUE - 1), ERR_OK);
    cr_assert_eq(put_sizes(&b, 1, LIMIT_STORE_VALUE), ERR_OK);
    cr_assert_eq(put_sizes(&b, 1, LIMIT_STORE_VALUE + 1), ERR_TOO_LARGE);
    cr_assert_eq(store_write_begin(b.store, &txn), ERR_OK);
    store_delete(txn, PLAIN, span_of(NULL, 0));
    cr_assert_eq(store_commit(txn), ERR_TOO_LARGE);
    box_fini(&b);
}

Test(store, spans_of_the_same_transaction_may_be_put_again)
{
    struct box b;
    struct store_txn *txn;
    struct span k;
    struct span v;
    char value[1500];

    box_init(&b);
    box_open(&b);
    memset(value, 'v', sizeof value);
    cr_assert_eq(store_write_begin(b.store, &txn), ERR_OK);
    store_put(txn, PLAIN, text("m"), span_of(value, sizeof value));
    /* Each put moves or splits the page that holds the borrowed record. */
    for (int i = 0; i < 20; i++) {
        char name[] = {(char)('a' + i), 0};

        cr_assert_eq(store_get(txn, PLAIN, text("m"), &v), ERR_OK);
        store_put(txn, PLAIN, text(name), v);
        cr_assert_eq(store_get(txn, PLAIN, text(name), &v), ERR_OK);
        cr_assert_eq(v.len, sizeof value);
        cr_assert_eq(memcmp(v.data, value, sizeof value), 0);
    }
    cr_assert_eq(store_seek(txn, PLAIN, text("t"), &k, &v), ERR_OK);
    store_put(txn, KEYED, k, v);
    cr_assert_eq(store_seek(txn, PLAIN, text("c"), &k, &v), ERR_OK);
    store_delete(txn, PLAIN, k);
    cr_assert_eq(store_commit(txn), ERR_OK);
    cr_assert_eq(has(b.store, KEYED, "t", "?"), ERR_BAD_DIGEST);
    cr_assert_eq(has(b.store, PLAIN, "c", "?"), ERR_NOT_FOUND);
    box_fini(&b);
}

/* Records a0 … a9, b0 … b9, and one whose key is two bytes of ones. */
static void fill(struct box *b)
{
    struct store_txn *txn;

    cr_assert_eq(store_write_begin(b->store, &txn), ERR_OK);
    for (char c = 'a'; c <= 'b'; c++) {
        for (char d = '0'; d <= '9'; d++) {
            char key[] = {c, d};

            store_append(txn, PLAIN, span_of(key, 2), span_of(key, 2));
        }
    }
    store_put(txn, PLAIN, text("\xff\xff"), text("end"));
    cr_assert_eq(store_commit(txn), ERR_OK);
}

static void expect(enum err e, struct span key, const char *want, int line)
{
    if (want == NULL) {
        cr_assert_eq(e, ERR_NOT_FOUND, "line %d: %s", line, err_code(e));
        return;
    }
    cr_assert_eq(e, ERR_OK, "line %d: %s", line, err_code(e));
    cr_assert(span_equal(key, text(want)), "line %d: %.*s", line, (int)key.len,
              (const char *)key.data);
}

#define STEP(step, want)                             \
    do {                                             \
        enum err e = store_cursor_##step(c, &k, &v); \
        expect(e, k, want, __LINE__);                \
    } while (0)

Test(store, cursors_stay_within_their_range)
{
    struct box b;
    struct store_txn *txn;
    struct store_cursor *c;
    struct span k = {0};
    struct span v;

    box_init(&b);
    box_open(&b);
    fill(&b);
    cr_assert_eq(store_read_begin(b.store, &txn), ERR_OK);

    cr_assert_eq(store_cursor_new(txn, PLAIN, store_prefix(text("b")), &c), ERR_OK);
    STEP(first, "b0");
    STEP(prev, NULL);
    STEP(prev, "b9");
    STEP(next, NULL);
    STEP(next, "b0");
    STEP(next, "b1");
    STEP(last, "b9");
    STEP(prev, "b8");
    cr_assert_eq(store_cursor_seek(c, text("a5"), &k, &v), ERR_OK);
    expect(ERR_OK, k, "b0", __LINE__);
    cr_assert_eq(store_cursor_seek(c, text("b55"), &k, &v), ERR_OK);
    expect(ERR_OK, k, "b6", __LINE__);
    cr_assert_eq(store_cursor_seek(c, text("c"), &k, &v), ERR_NOT_FOUND);
    store_cursor_free(c);

    cr_assert_eq(store_cursor_new(txn, PLAIN, store_between(text("a3"), text("a5")), &c), ERR_OK);
    STEP(first, "a3");
    STEP(next, "a4");
    STEP(next, NULL);
    STEP(last, "a4");
    STEP(prev, "a3");
    STEP(prev, NULL);
    store_cursor_free(c);

    cr_assert_eq(store_cursor_new(txn, PLAIN, store_prefix(text("\xff")), &c), ERR_OK);
    STEP(last, "\xff\xff");
    STEP(first, "\xff\xff");
    STEP(next, NULL);
    store_cursor_free(c);

    cr_assert_eq(store_cursor_new(txn, PLAIN, store_prefix(text("ab")), &c), ERR_OK);
    STEP(first, NULL);
    STEP(last, NULL);
    store_cursor_free(c);

    cr_assert_eq(store_cursor_new(txn, KEYED, store_all(), &c), ERR_OK);
    STEP(first, NULL);
    STEP(last, NULL);
    STEP(next, NULL);
    STEP(prev, NULL);
    store_cursor_free(c);
    store_cursor_free(NULL);
    store_read_end(txn);
    box_fini(&b);
}

Test(store, a_prefix_narrows_bounds_and_bounds_narrow_a_prefix)
{
    struct box b;
    struct store_txn *txn;
    struct store_cursor *c;
    struct span k = {0};
    struct span v;
    uint8_t longest[LIMIT_STORE_KEY + 1] = {'a'};
    struct store_range r = {.from = text("a7"), .until = text("b2"), .prefix = text("a")};

    box_init(&b);
    box_open(&b);
    fill(&b);
    cr_assert_eq(store_read_begin(b.store, &txn), ERR_OK);
    cr_assert_eq(store_cursor_new(txn, PLAIN, r, &c), ERR_OK);
    STEP(first, "a7");
    STEP(last, "a9");
    store_cursor_free(c);
    r.prefix = text("b");
    cr_assert_eq(store_cursor_new(txn, PLAIN, r, &c), ERR_OK);
    STEP(first, "b0");
    STEP(last, "b1");
    store_cursor_free(c);
    r = store_prefix(span_of(longest, LIMIT_STORE_KEY));
    cr_assert_eq(store_cursor_new(txn, PLAIN, r, &c), ERR_OK);
    STEP(first, NULL);
    cr_assert_eq(store_cursor_seek(c, span_of(longest, sizeof longest), &k, &v), ERR_TOO_LARGE);
    store_cursor_free(c);
    r = store_prefix(span_of(longest, sizeof longest));
    cr_assert_eq(store_cursor_new(txn, PLAIN, r, &c), ERR_TOO_LARGE);
    store_read_end(txn);
    box_fini(&b);
}

Test(store, a_cursor_goes_on_after_changes)
{
    struct box b;
    struct store_txn *txn;
    struct store_cursor *c;
    struct span k = {0};
    struct span v;
    unsigned n = 0;
    uint64_t left = 9;

    box_init(&b);
    box_open(&b);
    fill(&b);
    cr_assert_eq(store_write_begin(b.store, &txn), ERR_OK);
    cr_assert_eq(store_cursor_new(txn, PLAIN, store_all(), &c), ERR_OK);
    STEP(first, "a0");
    store_delete(txn, PLAIN, k);
    STEP(next, "a1");
    store_put(txn, PLAIN, text("a1x"), text("new"));
    STEP(next, "a1x");
    STEP(next, "a2");
    store_delete(txn, PLAIN, k);
    STEP(prev, "a1x");
    store_delete(txn, PLAIN, text("\xff\xff"));
    STEP(last, "b9");
    store_delete(txn, PLAIN, k);
    STEP(next, NULL);
    STEP(last, "b8");
    store_delete(txn, PLAIN, k);
    STEP(prev, "b7");
    /* Everything goes while it walks. */
    for (enum err e = store_cursor_first(c, &k, &v); e == ERR_OK;
         e = store_cursor_next(c, &k, &v)) {
        store_delete(txn, PLAIN, k);
        n++;
    }
    cr_assert_eq(n, 17);
    cr_assert_eq(store_count(txn, PLAIN, &left), ERR_OK);
    cr_assert_eq(left, 0);
    store_cursor_free(c);
    cr_assert_eq(store_commit(txn), ERR_OK);
    box_fini(&b);
}

Test(store, seek_finds_the_next_key)
{
    struct box b;
    struct store_txn *txn;
    struct span k = {0};
    struct span v;
    uint8_t longest[LIMIT_STORE_KEY + 1] = {'a'};

    box_init(&b);
    box_open(&b);
    fill(&b);
    cr_assert_eq(store_write_begin(b.store, &txn), ERR_OK);
    expect(store_seek(txn, PLAIN, span_of(NULL, 0), &k, &v), k, "a0", __LINE__);
    expect(store_seek(txn, PLAIN, text("a0"), &k, &v), k, "a0", __LINE__);
    expect(store_seek(txn, PLAIN, text("a00"), &k, &v), k, "a1", __LINE__);
    store_put(txn, PLAIN, text("a01"), text("x"));
    expect(store_seek(txn, PLAIN, text("a00"), &k, &v), k, "a01", __LINE__);
    store_delete(txn, PLAIN, text("a01"));
    expect(store_seek(txn, PLAIN, text("a00"), &k, &v), k, "a1", __LINE__);
    expect(store_seek(txn, PLAIN, text("\xff\xff\x01"), &k, &v), k, NULL, __LINE__);
    expect(store_seek(txn, KEYED, span_of(NULL, 0), &k, &v), k, NULL, __LINE__);
    expect(store_seek(txn, PLAIN, span_of(longest, LIMIT_STORE_KEY), &k, &v), k, "a0", __LINE__);
    cr_assert_eq(store_seek(txn, PLAIN, span_of(longest, sizeof longest), &k, &v), ERR_TOO_LARGE);
    store_abort(txn);
    box_fini(&b);
}

Test(store, number_keys_sort_like_numbers)
{
    static const uint64_t numbers[] = {0, 1, 255, 256, (uint64_t)1 << 32, UINT64_MAX};
    uint8_t key[STORE_KEY_U64];
    uint8_t before[STORE_KEY_U64] = {0};
    uint64_t back = 7;

    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        store_key_u64(numbers[i], key);
        cr_assert_eq(store_key_to_u64(span_of(key, sizeof key), &back), ERR_OK);
        cr_assert_eq(back, numbers[i]);
        cr_assert(i == 0 || memcmp(before, key, sizeof key) < 0);
        memcpy(before, key, sizeof key);
    }
    cr_assert_eq(store_key_to_u64(span_of(key, 7), &back), ERR_CORRUPT);
    cr_assert_eq(store_key_to_u64(span_of("123456789", 9), &back), ERR_CORRUPT);
    cr_assert_eq(back, UINT64_MAX);
}

/* Puts values of `bytes` until it is refused; tells how many were committed. */
static unsigned put_until_full(struct store *s, size_t bytes, enum err *last)
{
    uint8_t key[STORE_KEY_U64];
    uint8_t *value = calloc(1, bytes);
    unsigned n = 0;

    cr_assert_not_null(value);
    do {
        struct store_txn *txn;

        cr_assert_eq(store_write_begin(s, &txn), ERR_OK);
        store_key_u64(n, key);
        store_append(txn, PLAIN, span_of(key, sizeof key), span_of(value, bytes));
        *last = store_commit(txn);
    } while (*last == ERR_OK && ++n < 100000);
    free(value);
    return n;
}

Test(store, a_full_map_refuses_and_stays_usable)
{
    struct box b;
    struct store_txn *txn;
    struct store_usage usage;
    uint8_t key[STORE_KEY_U64];
    enum err e;
    unsigned n;

    box_init(&b);
    b.options.map_bytes = LIMIT_STORE_MAP_MIN;
    box_open(&b);
    cr_assert_eq(store_room(b.store, 4096, STORE_ORDINARY), ERR_OK);
    cr_assert_eq(store_room(b.store, LIMIT_STORE_MAP_MIN, STORE_RESERVE), ERR_DISK_FULL);
    cr_assert_eq(store_room(b.store, UINT64_MAX, STORE_RESERVE), ERR_DISK_FULL);
    n = put_until_full(b.store, 3000, &e);
    cr_assert_eq(e, ERR_DISK_FULL);
    cr_assert_gt(n, 200);
    cr_assert_eq(store_usage(b.store, &usage), ERR_OK);
    cr_assert_eq(usage.map_bytes, LIMIT_STORE_MAP_MIN);
    cr_assert_leq(usage.used_bytes, usage.map_bytes);
    cr_assert_gt(usage.used_bytes, usage.map_bytes / 100 * LIMIT_STORE_RESERVE);
    cr_assert_eq(store_room(b.store, 0, STORE_RESERVE), ERR_DISK_FULL);
    for (unsigned i = 0; i < n; i++) {
        cr_assert_eq(store_write_begin(b.store, &txn), ERR_OK);
        store_key_u64(i, key);
        store_delete(txn, PLAIN, span_of(key, sizeof key));
        cr_assert_eq(store_commit(txn), ERR_OK, "delete %u", i);
    }
    cr_assert_eq(store_room(b.store, LIMIT_STORE_MAP_MIN / 2, STORE_ORDINARY), ERR_OK);
    cr_assert_geq(put_until_full(b.store, 3000, &e), n - 2);
    box_fini(&b);
}

Test(store, the_reserve_lies_between_80_and_95_percent)
{
    struct box b;
    struct store_usage u;
    uint64_t ordinary;
    uint64_t reserve;

    box_init(&b);
    b.options.map_bytes = LIMIT_STORE_MAP_MIN;
    box_open(&b);
    cr_assert_eq(put_one(b.store, PLAIN, "a", "b"), ERR_OK);
    cr_assert_eq(store_usage(b.store, &u), ERR_OK);
    ordinary = u.map_bytes / 100 * LIMIT_STORE_ORDINARY - u.used_bytes;
    reserve = u.map_bytes / 100 * LIMIT_STORE_RESERVE - u.used_bytes;
    cr_assert_eq(store_room(b.store, ordinary - 1, STORE_ORDINARY), ERR_OK);
    cr_assert_eq(store_room(b.store, ordinary, STORE_ORDINARY), ERR_OK);
    cr_assert_eq(store_room(b.store, ordinary + 1, STORE_ORDINARY), ERR_DISK_FULL);
    cr_assert_eq(store_room(b.store, ordinary + 1, STORE_RESERVE), ERR_OK);
    cr_assert_eq(store_room(b.store, reserve, STORE_RESERVE), ERR_OK);
    cr_assert_eq(store_room(b.store, reserve + 1, STORE_RESERVE), ERR_DISK_FULL);
    box_close(&b);
    /* No file system has that much free. */
    b.options.disk_floor = UINT64_MAX;
    box_open(&b);
    cr_assert_eq(store_room(b.store, 1, STORE_ORDINARY), ERR_DISK_FULL);
    cr_assert_eq(store_room(b.store, 1, STORE_RESERVE), ERR_OK);
    box_fini(&b);
}

Test(store, pages_that_a_reader_holds_count_as_used)
{
    struct box b;
    struct store_txn *reader;
    struct store_usage held;
    struct store_usage freed;
    char big[20000] = {0};

    box_init(&b);
    box_open(&b);
    memset(big, 'x', sizeof big - 1);
    cr_assert_eq(put_one(b.store, PLAIN, "k", big), ERR_OK);
    cr_assert_eq(store_read_begin(b.store, &reader), ERR_OK);
    for (int i = 0; i < 10; i++)
        cr_assert_eq(put_one(b.store, PLAIN, "k", big), ERR_OK);
    cr_assert_eq(store_usage(b.store, &held), ERR_OK);
    store_read_end(reader);
    cr_assert_eq(put_one(b.store, PLAIN, "k", big), ERR_OK);
    cr_assert_eq(store_usage(b.store, &freed), ERR_OK);
    cr_assert_gt(held.used_bytes, freed.used_bytes + 5 * sizeof big);
    box_fini(&b);
}

struct fault_state {
    enum store_fault_point at;
    unsigned countdown;
};

static int hit(void *ctx, enum store_fault_point point)
{
    struct fault_state *f = ctx;

    return point == f->at && --f->countdown == 0 ? EIO : 0;
}

static void latches(enum store_fault_point at, enum err want)
{
    struct box b;
    struct store_txn *txn;
    struct fault_state state = {.at = at, .countdown = 2};
    struct store_fault seam = {.ctx = &state, .hit = hit};

    box_init(&b);
    b.options.fault = &seam;
    box_open(&b);
    cr_assert_eq(put_one(b.store, PLAIN, "first", "x"), ERR_OK);
    cr_assert_eq(put_one(b.store, PLAIN, "second", "x"), ERR_IN_DOUBT);
    cr_assert_eq(store_write_begin(b.store, &txn), ERR_IN_DOUBT);
    cr_assert_eq(store_read_begin(b.store, &txn), ERR_IN_DOUBT);
    cr_assert_eq(store_room(b.store, 1, STORE_RESERVE), ERR_IN_DOUBT);
    box_close(&b);
    b.options.fault = NULL;
    box_open(&b);
    cr_assert_eq(has(b.store, PLAIN, "first", "x"), ERR_OK);
    cr_assert_eq(has(b.store, PLAIN, "second", "x"), want);
    box_fini(&b);
}

Test(store, a_failed_commit_latches_the_store)
{
    latches(STORE_FAULT_BEFORE_COMMIT, ERR_NOT_FOUND);
    latches(STORE_FAULT_AFTER_COMMIT, ERR_OK);
}
