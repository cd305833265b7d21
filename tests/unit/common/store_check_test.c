/* Damage to LMDB's own structure, which has no checksum. */
#include "tests/unit/common/store_fixture.h"

#include <fcntl.h>
#include <sys/stat.h>

#define PAGE 4096
#define RECORDS 600

TestSuite(store_check, .fini = leaks_check);

/* Trees of two levels, values in pages of their own, a free list. */
static void fill(struct box *b)
{
    static uint8_t value[20000];
    uint8_t key[STORE_KEY_U64];
    struct store_txn *txn;

    memset(value, 'v', sizeof value);
    for (uint64_t n = 0; n < RECORDS; n++) {
        if (n % 100 == 0)
            cr_assert_eq(store_write_begin(b->store, &txn), ERR_OK);
        store_key_u64(n, key);
        store_append(txn, PLAIN, span_of(key, sizeof key),
                     span_of(value, n % 200 == 0 ? 20000 : 9));
        store_put(txn, KEYED, span_of(key, sizeof key), text("record-to-look-for"));
        if (n % 100 == 99)
            cr_assert_eq(store_commit(txn), ERR_OK);
    }
}

struct image {
    uint8_t *bytes;
    size_t len;
};

static struct image take(const struct box *b)
{
    struct image i;
    struct stat st;
    char path[128];
    int fd;

    box_path(b, "data.mdb", path);
    fd = open(path, O_RDONLY);
    cr_assert_eq(fstat(fd, &st), 0);
    i.len = (size_t)st.st_size;
    i.bytes = malloc(i.len);
    cr_assert_not_null(i.bytes);
    cr_assert_eq(read(fd, i.bytes, i.len), st.st_size);
    close(fd);
    return i;
}

static void write_at(const struct box *b, size_t at, const void *bytes, size_t len)
{
    char path[128];
    int fd;

    box_path(b, "data.mdb", path);
    fd = open(path, O_WRONLY);
    cr_assert_eq(pwrite(fd, bytes, len, (off_t)at), (ssize_t)len);
    close(fd);
}

/* Flips one bit at `offset` of each page that holds `what`, opens, and puts the pages back. */
static enum err open_flipped(struct box *b, const struct image *image, const char *what,
                             size_t offset, uint8_t bit)
{
    unsigned pages = 0;
    enum err e;

    for (size_t at = 2 * PAGE; at + PAGE <= image->len; at += PAGE) {
        uint8_t flipped = image->bytes[at + offset] ^ bit;

        if (memmem(image->bytes + at, PAGE, what, strlen(what)) == NULL)
            continue;
        write_at(b, at + offset, &flipped, 1);
        pages++;
    }
    cr_assert_gt(pages, 0);
    e = store_open(&b->options, NULL, &b->store);
    box_close(b);
    for (size_t at = 2 * PAGE; at + PAGE <= image->len; at += PAGE)
        write_at(b, at + offset, image->bytes + at + offset, 1);
    return e;
}

Test(store_check, each_part_of_a_page_is_checked)
{
    /* Page number, flags, lower, upper, the first node's place. */
    static const size_t offsets[] = {0, 1, 7, 10, 11, 12, 13, 14, 15, 16, 17};
    struct box b;
    struct image image;

    box_init(&b);
    box_open(&b);
    fill(&b);
    box_close(&b);
    image = take(&b);
    for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++) {
        for (unsigned bit = 0; bit < 8; bit++)
            cr_assert_eq(
                open_flipped(&b, &image, "record-to-look-for", offsets[i], (uint8_t)(1u << bit)),
                ERR_CORRUPT, "offset %zu bit %u", offsets[i], bit);
    }
    /* The table of tables. */
    for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++)
        cr_assert_eq(open_flipped(&b, &image, "sealpost", offsets[i], 1), ERR_CORRUPT);
    free(image.bytes);
    box_open(&b);
    box_fini(&b);
}

/* Every place in every page, sparsely: whatever is not found at opening must show a wrong record as
 * such or be harmless. Crashing is failing. */
Test(store_check, no_flipped_bit_crashes_or_alters_a_record)
{
    struct box b;
    struct image image;
    unsigned refused = 0;
    unsigned state = 12345;

    box_init(&b);
    box_open(&b);
    fill(&b);
    box_close(&b);
    image = take(&b);
    for (unsigned round = 0; round < 400; round++) {
        size_t at;
        uint8_t flipped;
        enum err e;

        state = state * 1664525 + 1013904223;
        at = (state >> 8) % 200 * PAGE + (round % 2 == 0 ? round % 64 : (state >> 4) % PAGE);
        flipped = image.bytes[at] ^ (uint8_t)(1u << (round % 8));
        write_at(&b, at, &flipped, 1);
        e = store_open(&b.options, NULL, &b.store);
        refused += e != ERR_OK;
        for (uint64_t n = 0; e == ERR_OK && n < RECORDS; n++) {
            struct store_txn *txn;
            struct span v;
            uint8_t key[STORE_KEY_U64];
            enum err found;

            store_key_u64(n, key);
            cr_assert_eq(store_read_begin(b.store, &txn), ERR_OK);
            found = store_get(txn, KEYED, span_of(key, sizeof key), &v);
            if (found == ERR_OK)
                cr_assert(span_equal(v, text("record-to-look-for")), "%zu", at);
            /* Only a flipped key makes a record go, within the order of its page. */
            cr_assert(found == ERR_OK || found == ERR_CORRUPT || found == ERR_NOT_FOUND);
            store_read_end(txn);
        }
        box_close(&b);
        write_at(&b, at, image.bytes + at, 1);
    }
    cr_assert_gt(refused, 20);
    free(image.bytes);
    box_fini(&b);
}

Test(store_check, a_damaged_copy_is_refused_before_it_is_read)
{
    struct box b;
    struct image image;
    char path[128];

    box_init(&b);
    box_open(&b);
    fill(&b);
    box_close(&b);
    image = take(&b);
    b.options.read_only = true;
    b.options.snapshot = true;
    b.options.scratch = "/tmp";
    box_open(&b);
    box_close(&b);
    /* Through the reader table LMDB itself walks the file; here nothing but reading is involved. */
    box_path(&b, "lock.mdb", path);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(open_flipped(&b, &image, "record-to-look-for", 10, 1), ERR_CORRUPT);
    box_open(&b);
    free(image.bytes);
    box_fini(&b);
}

/* Whatever LMDB makes of a file must pass. */
Test(store_check, a_store_that_was_worked_with_passes)
{
    static uint8_t value[60000];
    struct box b;
    unsigned state = 1;

    box_init(&b);
    for (unsigned round = 0; round < 12; round++) {
        box_open(&b);
        for (unsigned n = 0; n < 8; n++) {
            struct store_txn *txn;
            enum err e;

            cr_assert_eq(store_write_begin(b.store, &txn), ERR_OK);
            for (unsigned i = 0; i < (n == 0 ? 2000 : 60); i++) {
                uint8_t key[LIMIT_STORE_KEY] = {0};

                state = state * 1664525 + 1013904223;
                store_key_u64((state >> 8) % 900, key);
                if ((state >> 20) % 3 == 0)
                    store_delete(txn, state >> 31, span_of(key, i % 20 == 0 ? 300 : 8));
                else
                    store_put(txn, state >> 31, span_of(key, i % 20 == 0 ? 300 : 8),
                              span_of(value, n > 0 && i == 3 ? sizeof value : (state >> 9) % 2500));
            }
            e = store_commit(txn);
            cr_assert(e == ERR_OK || e == ERR_DISK_FULL, "%s", err_code(e));
        }
        box_close(&b);
    }
    box_fini(&b);
}
