#include "common/record.h"

#include "tests/lib/leaks.h"

#include <stdlib.h>
#include <string.h>

TestSuite(record, .fini = leaks_check);

/* A copy of its own size, so that the address sanitizer sees every byte read past it. */
static struct span exact(struct span s)
{
    uint8_t *copy = malloc(s.len > 0 ? s.len : 1);

    cr_assert_not_null(copy);
    if (s.len > 0)
        memcpy(copy, s.data, s.len);
    return span_of(copy, s.len);
}

static void drop(struct span s)
{
    free((void *)(uintptr_t)s.data);
}

static void text_of(size_t len, char *out)
{
    memset(out, 'a', len);
    out[len] = '\0';
}

Test(record, texts_up_to_the_length_byte)
{
    static const size_t lens[] = {0, 1, 254, 255};
    char text[257];
    char got[256];

    for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
        struct buf out;
        struct rd r;

        buf_init(&out, 1024);
        text_of(lens[i], text);
        record_put_text(&out, text);
        cr_assert_eq(out.err, ERR_OK);
        cr_assert_eq(out.len, 1 + lens[i]);
        r = rd_of(buf_span(&out));
        record_get_text(&r, got, sizeof got);
        cr_assert_eq(record_end(&r), ERR_OK);
        cr_assert_str_eq(got, text);
        buf_fini(&out);
    }
}

Test(record, a_longer_text_sticks)
{
    char text[257];
    struct buf out;

    buf_init(&out, 1024);
    text_of(256, text);
    record_put_text(&out, text);
    cr_assert_eq(out.err, ERR_TOO_LARGE);
    cr_assert_eq(out.len, 0);
    record_put_text(&out, "short");
    cr_assert_eq(out.err, ERR_TOO_LARGE);
    cr_assert_eq(out.len, 0);
    buf_fini(&out);

    buf_init(&out, 3);
    buf_put_str(&out, "1234");
    cr_assert_eq(out.err, ERR_TOO_LARGE);
    out.err = ERR_NO_MEMORY;
    record_put_text(&out, text);
    cr_assert_eq(out.err, ERR_NO_MEMORY, "the first error is the one that stays");
    buf_fini(&out);
}

Test(record, texts_that_do_not_fit_or_hold_a_nul)
{
    char got[4];
    struct rd r = rd_of(span_of("\3abc", 4));

    record_get_text(&r, got, sizeof got);
    cr_assert_eq(record_end(&r), ERR_OK);
    cr_assert_str_eq(got, "abc");
    r = rd_of(span_of("\4abcd", 5));
    record_get_text(&r, got, sizeof got);
    cr_assert_eq(record_end(&r), ERR_CORRUPT);
    r = rd_of(span_of("\3a\0c", 4));
    record_get_text(&r, got, sizeof got);
    cr_assert_eq(record_end(&r), ERR_CORRUPT);
}

static enum err read_all(struct span s, char *name, uint8_t *id, uint64_t *n)
{
    struct rd r = rd_of(s);

    record_get_version(&r, 1);
    record_get_text(&r, name, 16);
    record_get_bytes(&r, id, 4);
    *n = rd_u64be(&r);
    record_check(&r, *n != 0);
    return record_end(&r);
}

Test(record, truncation_at_every_byte)
{
    char name[16];
    uint8_t id[4];
    uint64_t n;
    struct buf out;

    buf_init(&out, 64);
    buf_put_u8(&out, 1);
    record_put_text(&out, "LV.POLICE");
    buf_put(&out, span_of("\1\2\3\4", 4));
    buf_put_u64be(&out, 77);
    cr_assert_eq(out.err, ERR_OK);
    for (size_t len = 0; len < out.len; len++) {
        struct span s = exact(span_of(out.data, len));

        cr_assert_eq(read_all(s, name, id, &n), ERR_CORRUPT, "at %zu", len);
        drop(s);
    }
    cr_assert_eq(read_all(buf_span(&out), name, id, &n), ERR_OK);
    cr_assert_str_eq(name, "LV.POLICE");
    cr_assert_arr_eq(id, "\1\2\3\4", 4);
    cr_assert_eq(n, 77);
    buf_put_u8(&out, 0);
    cr_assert_eq(read_all(buf_span(&out), name, id, &n), ERR_CORRUPT, "a byte too many");
    out.len--;
    out.data[out.len - 1] = 0;
    cr_assert_eq(read_all(buf_span(&out), name, id, &n), ERR_CORRUPT, "a value that none writes");
    out.data[out.len - 1] = 77;
    out.data[0] = 2;
    cr_assert_eq(read_all(buf_span(&out), name, id, &n), ERR_CORRUPT, "another version");
    buf_fini(&out);
}

Test(record, the_key_behind)
{
    uint8_t key[3] = {1, 2, 3};

    cr_assert(record_key_after(key, 3));
    cr_assert_arr_eq(key, "\1\2\4", 3);
    memcpy(key, "\1\xff\xff", 3);
    cr_assert(record_key_after(key, 3));
    cr_assert_arr_eq(key, "\2\0\0", 3);
    memcpy(key, "\xff\xff\xff", 3);
    cr_assert_not(record_key_after(key, 3));
    cr_assert_not(record_key_after(key, 0));
}
