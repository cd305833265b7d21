/* What happens to the files: damage, truncation, other versions, copies. */
#include "common/store.h"

#include "tests/unit/common/store_fixture.h"

#include <fcntl.h>
#include <sys/stat.h>

TestSuite(store_file, .fini = leaks_check);

static uint8_t *read_file(const char *path, size_t *len)
{
    struct stat st;
    int fd = open(path, O_RDONLY);
    uint8_t *bytes;

    cr_assert_geq(fd, 0);
    cr_assert_eq(fstat(fd, &st), 0);
    bytes = malloc((size_t)st.st_size + 1);
    cr_assert_not_null(bytes);
    cr_assert_eq(read(fd, bytes, (size_t)st.st_size), st.st_size);
    close(fd);
    *len = (size_t)st.st_size;
    return bytes;
}

/* Flips one bit of each place where `what` stands in data.mdb. */
static unsigned flip(const struct box *b, const char *what)
{
    char path[128];
    size_t len;
    size_t n = strlen(what);
    unsigned found = 0;
    uint8_t *bytes;
    int fd;

    box_path(b, "data.mdb", path);
    bytes = read_file(path, &len);
    fd = open(path, O_RDWR);
    for (size_t i = 0; i + n <= len; i++) {
        if (memcmp(bytes + i, what, n) != 0)
            continue;
        bytes[i + n / 2] ^= 4;
        cr_assert_eq(pwrite(fd, bytes + i, n, (off_t)i), (ssize_t)n);
        found++;
    }
    close(fd);
    free(bytes);
    return found;
}

Test(store_file, a_flipped_bit_is_never_served)
{
    struct box b;
    char big[9000] = "begin-of-a-large-value";

    for (unsigned table = PLAIN; table <= KEYED; table++) {
        memset(big + 22, 'z', sizeof big - 23);
        memcpy(big + 8000, "deep-inside-it", 14);
        box_init(&b);
        box_open(&b);
        cr_assert_eq(put_one(b.store, table, "good", "sound"), ERR_OK);
        cr_assert_eq(put_one(b.store, table, "value", "value-to-be-damaged"), ERR_OK);
        cr_assert_eq(put_one(b.store, table, "key-to-be-damaged", "x"), ERR_OK);
        cr_assert_eq(put_one(b.store, table, "large", big), ERR_OK);
        box_close(&b);
        cr_assert_geq(flip(&b, "value-to-be-damaged"), 1);
        cr_assert_geq(flip(&b, "key-to-be-damaged"), 1);
        cr_assert_geq(flip(&b, "deep-inside-it"), 1);
        box_open(&b);
        cr_assert_eq(has(b.store, table, "good", "sound"), ERR_OK);
        cr_assert_eq(has(b.store, table, "value", "?"), ERR_CORRUPT);
        cr_assert_eq(has(b.store, table, "large", "?"), ERR_CORRUPT);
        cr_assert_eq(has(b.store, table, "key-to-be-damaged", "x"), ERR_NOT_FOUND);
        cr_assert_eq(has(b.store, table, "key-to-ba-damaged", "x"), ERR_CORRUPT);
        /* It can be replaced and deleted. */
        cr_assert_eq(put_one(b.store, table, "value", "anew"), ERR_OK);
        cr_assert_eq(has(b.store, table, "value", "anew"), ERR_OK);
        box_fini(&b);
    }
}

Test(store_file, cursors_name_a_damaged_record_and_go_on)
{
    struct box b;
    struct store_txn *txn;
    struct store_cursor *c;
    struct span k;
    struct span v;

    box_init(&b);
    box_open(&b);
    cr_assert_eq(put_one(b.store, KEYED, "a", "first"), ERR_OK);
    cr_assert_eq(put_one(b.store, KEYED, "b", "value-to-be-damaged"), ERR_OK);
    cr_assert_eq(put_one(b.store, KEYED, "c", "third"), ERR_OK);
    box_close(&b);
    cr_assert_geq(flip(&b, "value-to-be-damaged"), 1);
    box_open(&b);
    cr_assert_eq(store_write_begin(b.store, &txn), ERR_OK);
    cr_assert_eq(store_seek(txn, KEYED, text("aa"), &k, &v), ERR_CORRUPT);
    cr_assert(span_equal(k, text("b")));
    cr_assert_eq(store_cursor_new(txn, KEYED, store_all(), &c), ERR_OK);
    cr_assert_eq(store_cursor_first(c, &k, &v), ERR_OK);
    cr_assert_eq(store_cursor_next(c, &k, &v), ERR_CORRUPT);
    cr_assert(span_equal(k, text("b")));
    store_delete(txn, KEYED, k);
    cr_assert_eq(store_cursor_next(c, &k, &v), ERR_OK);
    cr_assert(span_equal(k, text("c")));
    cr_assert_eq(store_cursor_prev(c, &k, &v), ERR_OK);
    cr_assert(span_equal(k, text("a")));
    store_cursor_free(c);
    cr_assert_eq(store_commit(txn), ERR_OK);
    box_fini(&b);
}

Test(store_file, records_are_bound_to_their_table_and_to_the_key)
{
    static const struct store_table swapped[TABLES] = {{"keyed", false}, {"plain", false}};
    struct box b;
    struct store_found found;

    box_init(&b);
    box_open(&b);
    cr_assert_eq(put_one(b.store, PLAIN, "k", "v"), ERR_OK);
    cr_assert_eq(put_one(b.store, KEYED, "k", "v"), ERR_OK);
    box_close(&b);
    /* As plain, the keyed record does not hold. */
    b.options.tables = swapped;
    box_open(&b);
    cr_assert_eq(has(b.store, 0, "k", "v"), ERR_CORRUPT);
    cr_assert_eq(has(b.store, 1, "k", "v"), ERR_OK);
    box_close(&b);
    b.options.tables = tables;
    b.options.checksum_key = (const uint8_t *)"another key here";
    cr_assert_eq(store_open(&b.options, &found, &b.store), ERR_CONFIG);
    b.options.checksum_key = NULL;
    cr_assert_eq(store_open(&b.options, &found, &b.store), ERR_CONFIG);
    b.options.read_only = true;
    box_open(&b);
    cr_assert_eq(has(b.store, PLAIN, "k", "v"), ERR_OK);
    cr_assert_eq(has(b.store, KEYED, "k", "v"), ERR_NOT_ALLOWED);
    box_fini(&b);
}

static void truncate_to(const struct box *b, const char *name, size_t len)
{
    char path[128];

    box_path(b, name, path);
    cr_assert_eq(truncate(path, (off_t)len), 0);
}

Test(store_file, a_truncated_file_is_refused)
{
    struct box b;
    struct store_usage usage;
    char path[128];
    char big[50000] = {0};

    box_init(&b);
    box_open(&b);
    memset(big, 'b', sizeof big - 1);
    cr_assert_eq(put_one(b.store, PLAIN, "big", big), ERR_OK);
    cr_assert_eq(store_usage(b.store, &usage), ERR_OK);
    box_close(&b);
    /* What was allocated ahead may go. */
    truncate_to(&b, "data.mdb", usage.used_bytes + 10 * 4096);
    box_open(&b);
    cr_assert_eq(has(b.store, PLAIN, "big", big), ERR_OK);
    box_close(&b);
    for (size_t len = 12 * 4096; len > 0; len -= 4096) {
        truncate_to(&b, "data.mdb", len + 1);
        cr_assert_eq(store_open(&b.options, NULL, &b.store), ERR_CORRUPT, "%zu", len + 1);
        truncate_to(&b, "data.mdb", len);
        cr_assert_eq(store_open(&b.options, NULL, &b.store), ERR_CORRUPT, "%zu", len);
        b.options.read_only = true;
        cr_assert_eq(store_open(&b.options, NULL, &b.store), ERR_CORRUPT, "%zu", len);
        b.options.snapshot = true;
        cr_assert_eq(store_open(&b.options, NULL, &b.store), ERR_CORRUPT, "%zu", len);
        b.options.read_only = false;
        b.options.snapshot = false;
    }
    truncate_to(&b, "data.mdb", 0);
    cr_assert_eq(store_open(&b.options, NULL, &b.store), ERR_CORRUPT);
    /* Not an environment at all. */
    truncate_to(&b, "data.mdb", 100000);
    cr_assert_eq(store_open(&b.options, NULL, &b.store), ERR_CORRUPT);
    box_path(&b, "data.mdb", path);
    cr_assert_eq(access(path, F_OK), 0);
    box_fini(&b);
}

Test(store_file, truncation_under_an_open_store_is_noticed_by_the_next_transaction)
{
    struct box b;
    struct store_txn *txn;

    box_init(&b);
    box_open(&b);
    cr_assert_eq(put_one(b.store, PLAIN, "k", "v"), ERR_OK);
    truncate_to(&b, "data.mdb", 2 * 4096);
    cr_assert_eq(store_read_begin(b.store, &txn), ERR_CORRUPT);
    cr_assert_eq(store_write_begin(b.store, &txn), ERR_CORRUPT);
    box_fini(&b);
}

Test(store_file, files_are_allocated_ahead)
{
    struct box b;
    struct stat st;
    struct store_usage usage;
    char path[128];
    char big[100000] = {0};

    box_init(&b);
    b.options.map_bytes = 64 * LIMIT_MIB;
    box_open(&b);
    box_path(&b, "lock.mdb", path);
    cr_assert_eq(stat(path, &st), 0);
    cr_assert_geq((uint64_t)st.st_blocks * 512, (uint64_t)st.st_size);
    cr_assert_eq(st.st_mode & 0777, 0600);
    box_path(&b, "data.mdb", path);
    memset(big, 'b', sizeof big - 1);
    for (int i = 0; i < 200; i++) {
        char key[] = {(char)('A' + i / 26), (char)('A' + i % 26), 0};

        cr_assert_eq(put_one(b.store, PLAIN, key, big), ERR_OK);
        cr_assert_eq(stat(path, &st), 0);
        cr_assert_eq(st.st_mode & 0777, 0600);
        cr_assert_geq((uint64_t)st.st_blocks * 512, (uint64_t)st.st_size);
        cr_assert_eq(store_usage(b.store, &usage), ERR_OK);
        cr_assert_eq(usage.allocated_bytes, (uint64_t)st.st_size);
        cr_assert_gt(usage.allocated_bytes, usage.used_bytes);
    }
    box_fini(&b);
}

Test(store_file, kind_format_and_options_are_checked)
{
    static const struct store_table twice[2] = {{"t", false}, {"t", false}};
    static const struct store_table own[1] = {{"sealpost", false}};
    struct box b;
    struct store_found found;
    struct store_options o;
    struct store_txn *txn;

    box_init(&b);
    box_open(&b);
    cr_assert_eq(store_write_begin(b.store, &txn), ERR_OK);
    store_set_format(txn, 4);
    cr_assert_eq(store_commit(txn), ERR_OK);
    box_close(&b);
    cr_assert_eq(store_open(&b.options, &found, &b.store), ERR_FORMAT);
    cr_assert_eq(found.format, 4);
    for (b.options.format = 4; b.options.format <= 5; b.options.format++) {
        cr_assert_eq(store_open(&b.options, &found, &b.store), ERR_OK);
        cr_assert_eq(found.format, 4);
        box_close(&b);
    }
    b.options.kind = "other";
    cr_assert_eq(store_open(&b.options, &found, &b.store), ERR_CONFIG);
    cr_assert_str_eq(found.kind, "test");
    b.options.kind = "test";

#define REFUSED(change)                                                          \
    do {                                                                         \
        o = b.options;                                                           \
        change;                                                                  \
        cr_assert_eq(store_open(&o, NULL, &b.store), ERR_CONFIG, "%s", #change); \
    } while (0)
    REFUSED(o.kind = "");
    REFUSED(o.kind = "sixteen-letters-");
    REFUSED(o.map_bytes = LIMIT_STORE_MAP_MIN - 1);
    REFUSED(o.map_bytes = LIMIT_STORE_MAP + 1);
    REFUSED(o.snapshot = true);
    REFUSED(o.table_count = LIMIT_STORE_TABLES + 1);
    REFUSED(o.tables = twice);
    REFUSED(o.tables = own; o.table_count = 1);
    box_fini(&b);
}

Test(store_file, as_many_tables_as_the_limit_and_names_as_long)
{
    struct box b;
    struct store_table many[LIMIT_STORE_TABLES];
    char names[LIMIT_STORE_TABLES][LIMIT_STORE_NAME + 1];

    for (unsigned i = 0; i < LIMIT_STORE_TABLES; i++) {
        memset(names[i], 'n', LIMIT_STORE_NAME - 1);
        names[i][LIMIT_STORE_NAME - 1] = 0;
        names[i][0] = (char)('0' + i);
        many[i] = (struct store_table){.name = names[i]};
    }
    box_init(&b);
    b.options.tables = many;
    b.options.table_count = LIMIT_STORE_TABLES - 1;
    box_open(&b);
    box_close(&b);
    b.options.table_count = LIMIT_STORE_TABLES;
    box_open(&b);
    cr_assert_eq(put_one(b.store, LIMIT_STORE_TABLES - 1, "k", "last"), ERR_OK);
    cr_assert_eq(has(b.store, LIMIT_STORE_TABLES - 1, "k", "last"), ERR_OK);
    box_close(&b);
    names[3][LIMIT_STORE_NAME - 1] = 'n';
    names[3][LIMIT_STORE_NAME] = 0;
    cr_assert_eq(store_open(&b.options, NULL, &b.store), ERR_CONFIG);
    box_fini(&b);
}

Test(store_file, one_process_writes)
{
    struct box b;
    struct store *second = NULL;

    box_init(&b);
    box_open(&b);
    cr_assert_eq(store_open(&b.options, NULL, &second), ERR_LOCKED);
    cr_assert_null(second);
    box_close(&b);
    box_open(&b);
    box_fini(&b);
}

Test(store_file, what_was_being_made_is_made_again)
{
    struct box b;
    struct store_found found;
    char path[128];
    int fd;

    box_init(&b);
    b.options.read_only = true;
    cr_assert_eq(store_open(&b.options, &found, &b.store), ERR_NOT_FOUND);
    b.options.read_only = false;
    box_path(&b, "data.mdb.new", path);
    fd = open(path, O_CREAT | O_WRONLY, 0600);
    cr_assert_eq(write(fd, "half", 4), 4);
    close(fd);
    cr_assert_eq(store_open(&b.options, &found, &b.store), ERR_OK);
    cr_assert(found.created);
    cr_assert_eq(access(path, F_OK), -1);
    box_fini(&b);
}

Test(store_file, a_store_without_lock_file_is_read_through_a_copy)
{
    struct box b;
    struct store_txn *txn;
    char path[128];

    box_init(&b);
    box_open(&b);
    cr_assert_eq(put_one(b.store, PLAIN, "k", "v"), ERR_OK);
    box_close(&b);
    box_path(&b, "lock.mdb", path);
    cr_assert_eq(unlink(path), 0);
    b.options.read_only = true;
    b.options.scratch = "/tmp";
    box_open(&b);
    cr_assert_eq(access(path, F_OK), -1);
    cr_assert_eq(has(b.store, PLAIN, "k", "v"), ERR_OK);
    cr_assert_eq(has(b.store, KEYED, "k", "v"), ERR_NOT_FOUND);
    cr_assert_eq(store_write_begin(b.store, &txn), ERR_NOT_ALLOWED);
    box_close(&b);
    b.options.scratch = "/nowhere";
    cr_assert_eq(store_open(&b.options, NULL, &b.store), ERR_NOT_FOUND);
    box_fini(&b);
}

Test(store_file, a_table_that_an_older_store_lacks_is_empty)
{
    static const struct store_table more[] = {{"plain", false}, {"keyed", true}, {"later", false}};
    struct box b;
    struct store_txn *txn;
    struct store_cursor *c;
    struct span k;
    struct span v;
    uint64_t n = 9;

    box_init(&b);
    box_open(&b);
    box_close(&b);
    b.options.tables = more;
    b.options.table_count = 3;
    b.options.read_only = true;
    box_open(&b);
    cr_assert_eq(has(b.store, 2, "k", "v"), ERR_NOT_FOUND);
    cr_assert_eq(store_read_begin(b.store, &txn), ERR_OK);
    cr_assert_eq(store_seek(txn, 2, text("a"), &k, &v), ERR_NOT_FOUND);
    cr_assert_eq(store_count(txn, 2, &n), ERR_OK);
    cr_assert_eq(n, 0);
    cr_assert_eq(store_cursor_new(txn, 2, store_all(), &c), ERR_OK);
    cr_assert_eq(store_cursor_first(c, &k, &v), ERR_NOT_FOUND);
    cr_assert_eq(store_cursor_last(c, &k, &v), ERR_NOT_FOUND);
    store_cursor_free(c);
    store_read_end(txn);
    box_close(&b);
    b.options.read_only = false;
    box_open(&b);
    cr_assert_eq(put_one(b.store, 2, "k", "v"), ERR_OK);
    box_fini(&b);
}

Test(store_file, a_copy_holds_the_committed_records)
{
    struct box b;
    struct store_options o;
    struct store *copy;
    struct store_txn *txn;
    char path[128];

    box_init(&b);
    box_open(&b);
    cr_assert_eq(put_one(b.store, PLAIN, "k", "v"), ERR_OK);
    cr_assert_eq(put_one(b.store, KEYED, "k", "w"), ERR_OK);
    cr_assert_eq(store_write_begin(b.store, &txn), ERR_OK);
    store_put(txn, PLAIN, text("open"), text("x"));
    box_path(&b, "copy", path);
    cr_assert_eq(store_copy(b.store, path), ERR_OK);
    store_abort(txn);
    cr_assert_eq(store_copy(b.store, path), ERR_EXISTS);
    o = b.options;
    o.dir = path;
    o.read_only = true;
    cr_assert_eq(store_open(&o, NULL, &copy), ERR_OK);
    cr_assert_eq(has(copy, PLAIN, "k", "v"), ERR_OK);
    cr_assert_eq(has(copy, KEYED, "k", "w"), ERR_OK);
    cr_assert_eq(has(copy, PLAIN, "open", "x"), ERR_NOT_FOUND);
    store_close(copy);
    o.read_only = false;
    cr_assert_eq(store_open(&o, NULL, &copy), ERR_OK);
    cr_assert_eq(put_one(copy, PLAIN, "k", "changed"), ERR_OK);
    store_close(copy);
    box_fini(&b);
}
