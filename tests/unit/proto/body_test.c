/* The padding of bodies (proto/part.h). */
#include "common/limits.h"
#include "proto/part.h"
#include "tests/lib/leaks.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(body, .fini = leaks_check, .timeout = 240);

static void padded(size_t content)
{
    static uint8_t bytes[LIMIT_BODY];
    size_t len = body_padded_len(content);
    size_t bare = content + 4 < LIMIT_BODY_PAD_MIN ? LIMIT_BODY_PAD_MIN : content + 4;
    struct buf b;
    struct span back;

    memset(bytes, 0xa5, content);
    buf_init(&b, 2 * LIMIT_BODY);
    body_pad(span_of(bytes, content), &b);
    cr_assert_eq(b.err, ERR_OK);
    cr_assert_eq(b.len, len);
    cr_assert(body_is_padded_len(len));
    cr_assert_geq(len, bare);
    cr_assert_leq((len - bare) * 100, bare * 12);
    cr_assert_eq(body_unpad(buf_span(&b), &back), ERR_OK);
    cr_assert(span_equal(back, span_of(bytes, content)));
    /* Any other padding is refused: longer, shorter, not zero. */
    buf_put_u8(&b, 0);
    cr_assert_eq(body_unpad(buf_span(&b), &back), ERR_NON_CANONICAL);
    b.len -= 2;
    cr_assert_eq(body_unpad(buf_span(&b), &back), ERR_NON_CANONICAL);
    b.len++;
    if (content + 4 < len) {
        b.data[len - 1] = 1;
        cr_assert_eq(body_unpad(buf_span(&b), &back), ERR_NON_CANONICAL);
        b.data[len - 1] = 0;
        b.data[content + 4] = 1;
        cr_assert_eq(body_unpad(buf_span(&b), &back), ERR_NON_CANONICAL);
    }
    buf_fini(&b);
}

Test(body, bodies_are_padded_and_unpadded_at_every_edge)
{
    static const size_t contents[] = {0,     1,     1019,  1020,           1021,
                                      1083,  1084,  1085,  2044,           2045,
                                      65531, 65532, 65533, LIMIT_BODY - 1, LIMIT_BODY};

    for (size_t i = 0; i < sizeof(contents) / sizeof(contents[0]); i++)
        padded(contents[i]);
    for (size_t content = 0; content < 5000; content++)
        padded(content);
}

Test(body, padme_gives_the_lengths_of_its_paper)
{
    /* Exponent 10 keeps 4 bits below the first: steps of 64 up to 2048, then of 128. */
    cr_assert_eq(body_padded_len(0), 1024);
    cr_assert_eq(body_padded_len(1020), 1024);
    cr_assert_eq(body_padded_len(1021), 1088);
    cr_assert_eq(body_padded_len(2044), 2048);
    cr_assert_eq(body_padded_len(2045), 2176);
    cr_assert_eq(body_padded_len(65532), 65536);
    cr_assert_eq(body_padded_len(65533), 67584);
    cr_assert_eq(body_padded_len(LIMIT_BODY), 2097152 + 65536);
}

Test(body, lengths_that_no_body_has_are_told)
{
    uint64_t max = body_padded_len(LIMIT_BODY);

    cr_assert_not(body_is_padded_len(0));
    cr_assert_not(body_is_padded_len(1023));
    cr_assert(body_is_padded_len(1024));
    cr_assert_not(body_is_padded_len(1025));
    cr_assert(body_is_padded_len(1088));
    cr_assert(body_is_padded_len(max));
    cr_assert_not(body_is_padded_len(max + 1));
    cr_assert_not(body_is_padded_len(2 * max));
    cr_assert_not(body_is_padded_len(UINT64_MAX));
}

Test(body, a_body_over_its_limit_is_not_padded)
{
    static uint8_t bytes[LIMIT_BODY + 100];
    uint8_t prefix[1024] = {0xff, 0xff, 0xff, 0xff};
    struct span back;
    struct buf b;

    buf_init(&b, 4 * LIMIT_BODY);
    body_pad(span_of(bytes, LIMIT_BODY + 1), &b);
    cr_assert_eq(b.err, ERR_TOO_LARGE);
    cr_assert_eq(b.len, 0);
    buf_fini(&b);
    bytes[1] = 0x20;
    bytes[3] = 0x01; /* LIMIT_BODY + 1, and there are as many bytes and more */
    cr_assert_eq(LIMIT_BODY, (size_t)0x200000);
    cr_assert_eq(body_unpad(span_of(bytes, sizeof(bytes)), &back), ERR_NON_CANONICAL);
    cr_assert_eq(body_unpad(span_of(prefix, sizeof(prefix)), &back), ERR_NON_CANONICAL);
    cr_assert_eq(body_unpad(span_of(prefix, 3), &back), ERR_NON_CANONICAL);
    cr_assert_eq(body_unpad(span_of(NULL, 0), &back), ERR_NON_CANONICAL);
}
