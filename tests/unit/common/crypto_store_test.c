#include "common/crypto.h"

#include "common/limits.h"
#include "tests/lib/leaks.h"
#include "tests/lib/vectors.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(crypto_store, .fini = leaks_check);

static void expect_digest(struct digest got, const char *hex)
{
    struct span want = vectors_unhex(hex);

    cr_assert_eq(want.len, sizeof(got.b));
    cr_assert_eq(memcmp(want.data, got.b, sizeof(got.b)), 0);
    vectors_free(want);
}

/* Made with the reference program, `argon2 0123456789abcdef -id -t 2 -k 64 -p 1 -l 32 -v 13 -r` of
 * Debian's argon2 0~20171227: libsodium offers neither the lanes nor the secret of RFC 9106 5.3. */
Test(crypto_store, argon2id_agrees_with_the_reference)
{
    const uint8_t *salt = (const uint8_t *)"0123456789abcdef";
    struct digest d;

    cr_assert_eq(argon2id(span_of("password", 8), salt, 2, 65536, d.b, sizeof(d.b)), ERR_OK);
    expect_digest(d, "fb83b5711fd91df630b63677dee62ccd13ee6f0c4897d856b49542b9b1e9975b");
    cr_assert_eq(argon2id(span_of("Password", 8), salt, 2, 65536, d.b, sizeof(d.b)), ERR_OK);
    expect_digest(d, "b859e181387b732216a6d7cd5b3b9416beebfe93dad3adc9a12c0960168008c1");
}

Test(crypto_store, argon2id_limits)
{
    const uint8_t salt[ARGON2_SALT] = {1};
    const struct span pass = span_of("correct horse", 13);
    const size_t least = 8192;
    uint8_t out[65], again[65];

    cr_assert_eq(argon2id(pass, salt, 0, least, out, 32), ERR_TOO_LARGE);
    cr_assert_eq(argon2id(pass, salt, 1, least, out, 32), ERR_OK);
    cr_assert_eq(argon2id(pass, salt, LIMIT_ARGON2_OPS, least, out, 32), ERR_OK);
    cr_assert_eq(argon2id(pass, salt, LIMIT_ARGON2_OPS + 1, least, out, 32), ERR_TOO_LARGE);
    cr_assert_eq(argon2id(pass, salt, 1, least - 1, out, 32), ERR_TOO_LARGE);
    cr_assert_eq(argon2id(pass, salt, 1, LIMIT_ARGON2_MEM, out, 32), ERR_OK);
    cr_assert_eq(argon2id(pass, salt, 1, LIMIT_ARGON2_MEM + 1, out, 32), ERR_TOO_LARGE);
    cr_assert_eq(argon2id(pass, salt, 1, least, out, 15), ERR_TOO_LARGE);
    cr_assert_eq(argon2id(pass, salt, 1, least, out, 16), ERR_OK);
    cr_assert_eq(argon2id(pass, salt, 1, least, out, 64), ERR_OK);
    cr_assert_eq(argon2id(pass, salt, 1, least, out, 65), ERR_TOO_LARGE);
    cr_assert_eq(argon2id(span_of(NULL, 0), salt, 1, least, out, 32), ERR_OK);
    cr_assert_eq(argon2id(pass, salt, 1, least, again, 32), ERR_OK);
    cr_assert_neq(memcmp(out, again, 32), 0);
}

/* SipHash-2-4-64 of 00 01 02 ... under the key 00 01 ... 0f: the vectors of the paper (Aumasson and
 * Bernstein 2012, appendix A: 15 bytes) and of its reference code (0 and 8 bytes). */
Test(crypto_store, checksum_of_one_part_is_siphash)
{
    uint8_t key[CHECKSUM_KEY], bytes[16];
    struct span part;

    for (uint8_t i = 0; i < 16; i++)
        key[i] = bytes[i] = i;
    part = span_of(bytes, 15);
    cr_assert_eq(checksum64(key, &part, 1), 0xa129ca6149be45e5u);
    part = span_of(NULL, 0);
    cr_assert_eq(checksum64(key, &part, 1), 0x726fdb47dd0e0e31u);
    part = span_of(bytes, 8);
    cr_assert_eq(checksum64(key, &part, 1), 0x93f5f5799a932462u);
}

Test(crypto_store, checksum_depends_on_every_byte_of_every_part)
{
    const uint8_t key[CHECKSUM_KEY] = {0};
    uint8_t bytes[CHECKSUM_PARTS][3] = {{0}};
    struct span parts[CHECKSUM_PARTS];

    for (size_t n = 1; n <= CHECKSUM_PARTS; n++) {
        uint64_t before;

        parts[n - 1] = span_of(bytes[n - 1], sizeof(bytes[n - 1]));
        before = checksum64(key, parts, n);
        for (size_t i = 0; i < n * 3; i++) {
            bytes[i / 3][i % 3] ^= 0x80;
            cr_assert_neq(checksum64(key, parts, n), before);
            bytes[i / 3][i % 3] ^= 0x80;
        }
    }
}

Test(crypto_store, checksum_of_parts_depends_on_their_borders)
{
    const uint8_t key[CHECKSUM_KEY] = {0};
    const struct span a[] = {span_of("ab", 2), span_of("c", 1)};
    const struct span b[] = {span_of("a", 1), span_of("bc", 2)};
    const struct span c[] = {span_of("ab", 2), span_of("c", 1), span_of(NULL, 0)};
    const struct span most[CHECKSUM_PARTS] = {span_of("ab", 2)};

    cr_assert_eq(checksum64(key, a, 2), checksum64(key, a, 2));
    cr_assert_neq(checksum64(key, a, 2), checksum64(key, b, 2));
    cr_assert_neq(checksum64(key, a, 2), checksum64(key, c, 3));
    cr_assert_neq(checksum64(key, a, 1), checksum64(key, most, CHECKSUM_PARTS));
    cr_assert_neq(checksum64(key, a, 2), checksum64((const uint8_t[CHECKSUM_KEY]){1}, a, 2));
}
