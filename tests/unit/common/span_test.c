#include "common/span.h"

#include <criterion/criterion.h>
#include <string.h>

/* The sanitizer shall let malloc fail, as it does without. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

Test(span, compares_by_bytes_then_length)
{
    cr_assert(span_equal(span_str("ab"), span_of("ab", 2)));
    cr_assert(span_equal(span_str(NULL), span_str("")));
    cr_assert_not(span_equal(span_str("ab"), span_str("ac")));
    cr_assert_not(span_equal(span_str("ab"), span_str("abc")));
    cr_assert_eq(span_compare(span_str("a"), span_str("b")), -1);
    cr_assert_eq(span_compare(span_str("ab"), span_str("a")), 1);
    cr_assert_eq(span_compare(span_str("a"), span_str("ab")), -1);
    cr_assert_eq(span_compare(span_str("a"), span_str("a")), 0);
    cr_assert_eq(span_compare(span_str(""), span_str(NULL)), 0);
    cr_assert_eq(span_compare(span_str("\xff"), span_str("a")), 1);
    cr_assert(span_starts_with(span_str("@group"), span_str("@")));
    cr_assert(span_starts_with(span_str("a"), span_str("")));
    cr_assert_not(span_starts_with(span_str("a"), span_str("ab")));
    cr_assert_not(span_starts_with(span_str("ba"), span_str("a")));
}

Test(span, to_str_needs_room_for_the_nul_and_refuses_nul)
{
    char out[4] = "zzz";

    cr_assert_eq(span_to_str(span_str("abcd"), out, sizeof(out)), ERR_TOO_LARGE);
    cr_assert_eq(span_to_str(span_of("a\0b", 3), out, sizeof(out)), ERR_MALFORMED);
    cr_assert_str_eq(out, "zzz");
    cr_assert_eq(span_to_str(span_str("abc"), out, sizeof(out)), ERR_OK);
    cr_assert_str_eq(out, "abc");
    cr_assert_eq(span_to_str(span_str(""), out, 1), ERR_OK);
    cr_assert_str_eq(out, "");
    cr_assert_eq(span_to_str(span_str(""), out, 0), ERR_TOO_LARGE);
}

struct utf8_case {
    const char *text;
    bool good;
};

/* The borders of RFC 3629 section 4, from both sides. */
Test(span, utf8_is_well_formed_only)
{
    static const struct utf8_case cases[] = {
        {"", true},
        {"plain", true},
        {"\xc2\x80", true},
        {"\xdf\xbf", true},
        {"\xe0\xa0\x80", true},
        {"\xed\x9f\xbf", true},
        {"\xee\x80\x80", true},
        {"\xef\xbf\xbd", true}, /* U+FFFD itself */
        {"\xef\xbf\xbf", true},
        {"\xf0\x90\x80\x80", true},
        {"\xf4\x8f\xbf\xbf", true},
        {"\x80", false},
        {"\xbf", false},
        {"\xc0\x80", false},
        {"\xc1\xbf", false},
        {"\xc2", false},
        {"\xc2\x7f", false},
        {"\xc2\xc0", false},
        {"\xe0\x9f\xbf", false},
        {"\xe0\xa0", false},
        {"\xe1\x80\x7f", false},
        {"\xed\xa0\x80", false},
        {"\xed\xbf\xbf", false},
        {"\xf0\x8f\xbf\xbf", false},
        {"\xf0\x90\x80", false},
        {"\xf1\x80\x80\x41", false},
        {"\xf4\x90\x80\x80", false},
        {"\xf5\x80\x80\x80", false},
        {"\xff", false},
        {"ok\xef\xbf\xbd\xfe", false},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        cr_assert_eq(span_is_utf8(span_str(cases[i].text)), cases[i].good, "case %zu", i);
    cr_assert_not(span_is_utf8(span_of("a\0b", 3)));
}

Test(buf, holds_its_maximum_and_not_one_byte_more)
{
    for (size_t max = 0; max < 200; max += 33) {
        struct buf b;
        uint8_t fill[256];

        memset(fill, 7, sizeof(fill));
        buf_init(&b, max);
        for (size_t i = 0; i < max; i++)
            buf_put(&b, span_of(fill, 1));
        cr_assert_eq(b.err, ERR_OK);
        cr_assert_eq(b.len, max);
        cr_assert_not_null(buf_cstr(&b));
        cr_assert_eq(b.data[max], 0);
        buf_put_u8(&b, 1);
        cr_assert_eq(b.err, ERR_TOO_LARGE);
        cr_assert_eq(b.len, max);
        cr_assert_null(buf_cstr(&b));
        cr_assert_null(buf_extend(&b, 0));
        buf_reset(&b);
        cr_assert_eq(b.err, ERR_OK);
        cr_assert_eq(b.len, 0);
        buf_put(&b, span_of(fill, max));
        cr_assert_eq(b.err, ERR_OK);
        buf_reset(&b);
        buf_put(&b, span_of(fill, max + 1));
        cr_assert_eq(b.err, ERR_TOO_LARGE);
        cr_assert_eq(b.len, 0);
        buf_fini(&b);
        cr_assert_null(b.data);
    }
}

Test(buf, a_length_that_would_wrap_is_too_large)
{
    struct buf b;

    buf_init(&b, SIZE_MAX);
    buf_put_u8(&b, 1);
    cr_assert_null(buf_extend(&b, SIZE_MAX));
    cr_assert_eq(b.err, ERR_TOO_LARGE);
    buf_reset(&b);
    cr_assert_null(buf_extend(&b, SIZE_MAX));
    cr_assert_eq(b.err, ERR_TOO_LARGE);
    cr_assert_eq(b.len, 0);
    buf_fini(&b);
}

Test(buf, out_of_memory_is_sticky_and_keeps_the_bytes)
{
    struct buf b;

    buf_init(&b, SIZE_MAX / 2);
    buf_put_str(&b, "kept");
    cr_assert_null(buf_extend(&b, SIZE_MAX / 2 - 64));
    cr_assert_eq(b.err, ERR_NO_MEMORY);
    buf_put_str(&b, "x");
    cr_assert_eq(b.err, ERR_NO_MEMORY);
    cr_assert(span_equal(buf_span(&b), span_str("kept")));
    buf_fini(&b);
}

Test(buf, numbers_are_big_endian_and_read_back)
{
    static const uint8_t expected[] = {1, 1, 2, 1, 2, 3, 4, 1, 2, 3, 4, 5, 6, 7, 8, 'a', 'b'};
    struct buf b;
    struct rd r;

    buf_init(&b, 64);
    buf_put_u8(&b, 1);
    buf_put_u16be(&b, 0x0102);
    buf_put_u32be(&b, 0x01020304);
    buf_put_u64be(&b, 0x0102030405060708);
    buf_put_str(&b, "ab");
    buf_put_str(&b, NULL);
    cr_assert(span_equal(buf_span(&b), span_of(expected, sizeof(expected))));
    r = rd_of(buf_span(&b));
    cr_assert_eq(rd_u8(&r), 1);
    cr_assert_eq(rd_u16be(&r), 0x0102);
    cr_assert_eq(rd_u32be(&r), 0x01020304);
    cr_assert_eq(rd_u64be(&r), 0x0102030405060708);
    cr_assert_eq(rd_left(&r), 2);
    cr_assert_eq(rd_end(&r), ERR_MALFORMED);
    cr_assert(span_equal(rd_bytes(&r, 2), span_str("ab")));
    cr_assert_eq(rd_end(&r), ERR_OK);
    buf_wipe(&b);
    cr_assert_null(b.data);
}

Test(buf, printf_appends_across_growth)
{
    struct buf b;

    buf_init(&b, 1000);
    for (int i = 0; i < 100; i++)
        buf_printf(&b, "%d,%s;", i, "x");
    cr_assert_eq(b.err, ERR_OK);
    cr_assert_eq(strncmp(buf_cstr(&b), "0,x;1,x;2,x;", 12), 0);
    cr_assert_eq(b.len, 10 * 4 + 90 * 5);
    buf_printf(&b, "%600s", "");
    cr_assert_eq(b.err, ERR_TOO_LARGE);
    cr_assert_eq(b.len, 490);
    buf_fini(&b);
    buf_fini(&b);
    buf_wipe(&b);
}

Test(rd, a_short_read_is_sticky)
{
    struct rd r = rd_of(span_str("abc"));

    cr_assert_eq(rd_u32be(&r), 0);
    cr_assert_eq(rd_u8(&r), 0);
    cr_assert_eq(rd_bytes(&r, 1).len, 0);
    cr_assert_eq(rd_left(&r), 3);
    cr_assert_eq(rd_end(&r), ERR_MALFORMED);
    r = rd_of(span_str("abc"));
    cr_assert_eq(rd_bytes(&r, SIZE_MAX).len, 0);
    cr_assert_eq(rd_end(&r), ERR_MALFORMED);
    r = rd_of(span_of(NULL, 0));
    cr_assert_eq(rd_end(&r), ERR_OK);
    cr_assert_eq(rd_bytes(&r, 0).len, 0);
    cr_assert_eq(rd_end(&r), ERR_OK);
    cr_assert_eq(rd_u8(&r), 0);
    cr_assert_eq(rd_end(&r), ERR_MALFORMED);
}
