#include "common/crypto.h"

#include "tests/lib/leaks.h"
#include "tests/lib/vectors.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(crypto_hash, .fini = leaks_check);

static void expect_digest(struct digest got, const char *hex)
{
    struct span want = vectors_unhex(hex);

    cr_assert_eq(want.len, sizeof(got.b));
    cr_assert_eq(memcmp(want.data, got.b, sizeof(got.b)), 0);
    vectors_free(want);
}

/* FIPS 180-4 examples. */
Test(crypto_hash, sha256_of_known_texts)
{
    const char *abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    const struct span parts[] = {span_of("a", 1), span_of(NULL, 0), span_of("bc", 2)};
    struct sha256 h;

    expect_digest(sha256(span_of(NULL, 0)),
                  "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    expect_digest(sha256(span_of("abc", 3)), abc);
    expect_digest(sha256_parts(parts, 3), abc);
    expect_digest(sha256(span_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56)),
                  "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    sha256_init(&h);
    for (size_t i = 0; i < 1000000 / 1000; i++) {
        uint8_t many[1000];

        memset(many, 'a', sizeof(many));
        sha256_update(&h, span_of(many, sizeof(many)));
    }
    expect_digest(sha256_final(&h),
                  "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    sha256_fini(&h);
    for (size_t i = 0; i < sizeof(h.state) / sizeof(h.state[0]); i++)
        cr_assert_eq(h.state[i], 0);
    sha256_fini(NULL);
}

Test(crypto_hash, sha256_does_not_depend_on_the_cuts)
{
    uint8_t bytes[200];

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)i;
    for (size_t cut = 0; cut <= sizeof(bytes); cut++) {
        struct digest whole = sha256(span_of(bytes, sizeof(bytes)));
        struct digest cut_up;
        struct sha256 h;

        sha256_init(&h);
        sha256_update(&h, span_of(bytes, cut));
        sha256_update(&h, span_of(bytes + cut, sizeof(bytes) - cut));
        cut_up = sha256_final(&h);
        cr_assert(digest_equal(&whole, &cut_up));
    }
}

Test(crypto_hash, equal_looks_at_every_byte)
{
    struct digest a = {{0}};

    for (size_t i = 0; i < sizeof(a.b) * 8; i++) {
        struct digest b = a;

        cr_assert(digest_equal(&a, &b));
        b.b[i / 8] ^= (uint8_t)(1 << i % 8);
        cr_assert_not(digest_equal(&a, &b));
        cr_assert_not(crypto_equal(&a, &b, sizeof(a)));
        cr_assert(crypto_equal(&a, &b, i / 8));
    }
    cr_assert(crypto_equal(NULL, NULL, 0));
}

/* RFC 4231, test cases 1, 2, 3, 4, 6 and 7. */
Test(crypto_hash, hmac_sha256_rfc4231)
{
    const struct {
        const char *key, *data, *mac;
    } cases[] = {
        {"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "4869205468657265",
         "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
        {"4a656665", "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
         "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
    };
    uint8_t key[131], data[50];
    const char *long_text = "This is a test using a larger than block-size key and a larger than "
                            "block-size data. The key needs to be hashed before being used by the "
                            "HMAC algorithm.";

    for (size_t i = 0; i < 2; i++) {
        struct span k = vectors_unhex(cases[i].key);
        struct span d = vectors_unhex(cases[i].data);
        const struct span cut[2] = {span_of(d.data, 3), span_of(d.data + 3, d.len - 3)};

        expect_digest(hmac_sha256(k, d), cases[i].mac);
        expect_digest(hmac_sha256_parts(k, cut, 2), cases[i].mac);
        vectors_free(k);
        vectors_free(d);
    }
    memset(key, 0xaa, sizeof(key));
    memset(data, 0xdd, sizeof(data));
    expect_digest(hmac_sha256(span_of(key, 20), span_of(data, 50)),
                  "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
    expect_digest(
        hmac_sha256(span_of(key, 131),
                    span_of("Test Using Larger Than Block-Size Key - Hash Key First", 54)),
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    expect_digest(hmac_sha256(span_of(key, 131), span_of(long_text, strlen(long_text))),
                  "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2");
    for (size_t i = 0; i < 25; i++)
        key[i] = (uint8_t)(i + 1);
    memset(data, 0xcd, sizeof(data));
    expect_digest(hmac_sha256(span_of(key, 25), span_of(data, 50)),
                  "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b");
}

/* A key of one block is used as it is, one of a byte more is hashed: RFC 2104 2. */
Test(crypto_hash, hmac_key_at_the_block_length)
{
    uint8_t key[65];
    struct digest hashed, a, b;

    memset(key, 0x5a, sizeof(key));
    hashed = sha256(span_of(key, 65));
    a = hmac_sha256(span_of(key, 65), span_of("x", 1));
    b = hmac_sha256(digest_span(&hashed), span_of("x", 1));
    cr_assert(digest_equal(&a, &b));
    hashed = sha256(span_of(key, 64));
    a = hmac_sha256(span_of(key, 64), span_of("x", 1));
    b = hmac_sha256(digest_span(&hashed), span_of("x", 1));
    cr_assert_not(digest_equal(&a, &b));
    memset(key + 63, 0, 2);
    a = hmac_sha256(span_of(key, 63), span_of("x", 1));
    b = hmac_sha256(span_of(key, 64), span_of("x", 1));
    cr_assert(digest_equal(&a, &b));
}

static bool run_hkdf(const json_t *group, const json_t *test, bool valid)
{
    struct span ikm = vectors_hex(test, "ikm");
    struct span salt = vectors_hex(test, "salt");
    struct span info = vectors_hex(test, "info");
    struct span okm = vectors_hex(test, "okm");
    size_t size = (size_t)json_integer_value(json_object_get(test, "size"));
    uint8_t *out = calloc(1, size);
    enum err e;

    (void)group;
    cr_assert_not_null(out);
    e = hkdf(ikm, salt, info, out, size);
    cr_assert_eq(e, valid ? ERR_OK : ERR_TOO_LARGE);
    if (valid) {
        cr_assert_eq(okm.len, size);
        cr_assert_eq(memcmp(out, okm.data, size), 0);
    } else {
        cr_assert_eq(out[0], 0);
    }
    free(out);
    vectors_free(ikm);
    vectors_free(salt);
    vectors_free(info);
    vectors_free(okm);
    return true;
}

Test(crypto_hash, hkdf_wycheproof)
{
    cr_assert_eq(vectors_wycheproof("wycheproof/hkdf_sha256_test.json", run_hkdf), 86);
}

Test(crypto_hash, hkdf_length_limit)
{
    uint8_t out[HKDF_MAX + 1];
    const struct span ikm = span_of("ikm", 3);

    cr_assert_eq(hkdf(ikm, span_of(NULL, 0), span_of(NULL, 0), out, HKDF_MAX - 1), ERR_OK);
    cr_assert_eq(hkdf(ikm, span_of(NULL, 0), span_of(NULL, 0), out, HKDF_MAX), ERR_OK);
    cr_assert_eq(hkdf(ikm, span_of(NULL, 0), span_of(NULL, 0), out, HKDF_MAX + 1), ERR_TOO_LARGE);
    cr_assert_eq(hkdf(ikm, span_of(NULL, 0), span_of(NULL, 0), out, 0), ERR_OK);
}
