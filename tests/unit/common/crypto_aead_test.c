#include "common/crypto.h"

#include "tests/lib/leaks.h"
#include "tests/lib/vectors.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(crypto_aead, .fini = leaks_check);

static bool all_zero(const uint8_t *b, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (b[i] != 0)
            return false;
    }
    return true;
}

/* One test of an AEAD file. */
struct aead_case {
    struct span key, nonce, aad, plain, sealed;
};

static struct aead_case aead_case_of(const json_t *test)
{
    struct span ct = vectors_hex(test, "ct");
    struct span tag = vectors_hex(test, "tag");
    uint8_t *sealed = malloc(ct.len + tag.len);

    cr_assert_not_null(sealed);
    if (ct.len > 0)
        memcpy(sealed, ct.data, ct.len);
    if (tag.len > 0)
        memcpy(sealed + ct.len, tag.data, tag.len);
    vectors_free(ct);
    vectors_free(tag);
    return (struct aead_case){
        .key = vectors_hex(test, "key"),
        .nonce = vectors_hex(test, "iv"),
        .aad = vectors_hex(test, "aad"),
        .plain = vectors_hex(test, "msg"),
        .sealed = span_of(sealed, ct.len + tag.len),
    };
}

static void aead_case_fini(struct aead_case *c)
{
    vectors_free(c->key);
    vectors_free(c->nonce);
    vectors_free(c->aad);
    vectors_free(c->plain);
    vectors_free(c->sealed);
}

static void expect_opened(enum err e, const struct aead_case *c, const uint8_t *out, bool valid)
{
    cr_assert_eq(e, valid ? ERR_OK : ERR_BAD_DIGEST);
    if (valid)
        cr_assert_eq(memcmp(out, c->plain.data, c->plain.len), 0);
    else
        cr_assert(all_zero(out, c->plain.len));
}

/* Makes the context use OpenSSL from now on. */
static void force_bulk(struct aead *a)
{
    static uint8_t longer[4096 + AEAD_TAG];
    const uint8_t nonce[AEAD_NONCE] = {0};

    cr_assert_eq(aead_seal(a, nonce, span_of(NULL, 0), span_of(longer, 4096), longer), ERR_OK);
}

static void run_context(const struct aead_case *c, bool bulk, bool valid)
{
    uint8_t *out = malloc(c->sealed.len);
    struct aead *a;

    cr_assert_not_null(out);
    cr_assert_eq(aead_new(c->key.data, &a), ERR_OK);
    if (bulk)
        force_bulk(a);
    for (int round = 0; round < 2; round++) {
        if (valid) {
            cr_assert_eq(aead_seal(a, c->nonce.data, c->aad, c->plain, out), ERR_OK);
            cr_assert_eq(memcmp(out, c->sealed.data, c->sealed.len), 0);
        }
        memset(out, 0x77, c->sealed.len);
        expect_opened(aead_open(a, c->nonce.data, c->aad, c->sealed, out), c, out, valid);
        memcpy(out, c->sealed.data, c->sealed.len);
        expect_opened(aead_open(a, c->nonce.data, c->aad, span_of(out, c->sealed.len), out), c, out,
                      valid);
    }
    aead_free(a);
    free(out);
}

static bool run_chacha(const json_t *group, const json_t *test, bool valid)
{
    struct aead_case c = aead_case_of(test);
    bool fits = json_integer_value(json_object_get(group, "ivSize")) == 8 * (int)AEAD_NONCE;
    uint8_t *out = malloc(c.sealed.len);

    cr_assert_not_null(out);
    if (fits) {
        cr_assert_eq(c.sealed.len, c.plain.len + AEAD_TAG);
        if (valid) {
            cr_assert_eq(chacha20poly1305_seal(c.key.data, c.nonce.data, c.aad, c.plain, out),
                         ERR_OK);
            cr_assert_eq(memcmp(out, c.sealed.data, c.sealed.len), 0);
        }
        memset(out, 0x77, c.sealed.len);
        expect_opened(chacha20poly1305_open(c.key.data, c.nonce.data, c.aad, c.sealed, out), &c,
                      out, valid);
        run_context(&c, false, valid);
        run_context(&c, true, valid);
    } else {
        cr_assert_not(valid, "a nonce of another size, which our types cannot carry");
    }
    free(out);
    aead_case_fini(&c);
    return fits;
}

Test(crypto_aead, chacha20poly1305_wycheproof)
{
    cr_assert_eq(vectors_wycheproof("wycheproof/chacha20_poly1305_test.json", run_chacha), 325 - 9);
}

static bool run_xchacha(const json_t *group, const json_t *test, bool valid)
{
    struct aead_case c = aead_case_of(test);
    bool fits = json_integer_value(json_object_get(group, "ivSize")) == 8 * (int)XCHACHA_NONCE;
    uint8_t *out = malloc(c.sealed.len);

    cr_assert_not_null(out);
    if (fits) {
        cr_assert_eq(c.sealed.len, c.plain.len + AEAD_TAG);
        if (valid) {
            cr_assert_eq(xchacha20poly1305_seal(c.key.data, c.nonce.data, c.aad, c.plain, out),
                         ERR_OK);
            cr_assert_eq(memcmp(out, c.sealed.data, c.sealed.len), 0);
        }
        memset(out, 0x77, c.sealed.len);
        expect_opened(xchacha20poly1305_open(c.key.data, c.nonce.data, c.aad, c.sealed, out), &c,
                      out, valid);
    } else {
        cr_assert_not(valid, "a nonce of another size, which our types cannot carry");
    }
    free(out);
    aead_case_fini(&c);
    return fits;
}

Test(crypto_aead, xchacha20poly1305_wycheproof)
{
    cr_assert_eq(vectors_wycheproof("wycheproof/xchacha20_poly1305_test.json", run_xchacha),
                 315 - 9);
}

/* Both libraries at the length where one takes over from the other, and at a chunk of a part. */
Test(crypto_aead, aead_libraries_agree_at_every_length)
{
    const size_t lens[] = {0, 1, 15, 16, 17, 2047, 2048, 2049, 65535, 65536, 65537};
    const uint8_t key[AEAD_KEY] = {9};
    uint8_t *plain = calloc(1, 65537);
    uint8_t *a_out = malloc(65537 + AEAD_TAG);
    uint8_t *b_out = malloc(65537 + AEAD_TAG);
    struct aead *a;

    cr_assert_eq(aead_new(key, &a), ERR_OK);
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        const uint8_t nonce[AEAD_NONCE] = {(uint8_t)i};
        size_t len = lens[i];
        const struct span aad = span_of("associated", i);

        cr_assert_eq(aead_seal(a, nonce, aad, span_of(plain, len), a_out), ERR_OK);
        cr_assert_eq(chacha20poly1305_seal(key, nonce, aad, span_of(plain, len), b_out), ERR_OK);
        cr_assert_eq(memcmp(a_out, b_out, len + AEAD_TAG), 0);
        cr_assert_eq(aead_open(a, nonce, aad, span_of(a_out, len + AEAD_TAG), b_out), ERR_OK);
        cr_assert_eq(memcmp(b_out, plain, len), 0);
        a_out[len / 2] ^= 1;
        memset(b_out, 0x77, len);
        cr_assert_eq(aead_open(a, nonce, aad, span_of(a_out, len + AEAD_TAG), b_out),
                     ERR_BAD_DIGEST);
        cr_assert(all_zero(b_out, len));
    }
    aead_free(a);
    aead_free(NULL);
    free(plain);
    free(a_out);
    free(b_out);
}

Test(crypto_aead, aead_lengths_outside_the_limits)
{
    const uint8_t key[AEAD_KEY] = {9};
    const uint8_t nonce[XCHACHA_NONCE] = {0};
    const struct span none = span_of(NULL, 0);
    const struct span longer = span_of(key, AEAD_MAX + 1);
    const struct span sealed = span_of(key, AEAD_MAX + AEAD_TAG + 1);
    uint8_t out[1];
    struct aead *a;

    cr_assert_eq(aead_new(key, &a), ERR_OK);
    cr_assert_eq(aead_seal(a, nonce, none, longer, out), ERR_TOO_LARGE);
    cr_assert_eq(aead_seal(a, nonce, longer, none, out), ERR_TOO_LARGE);
    cr_assert_eq(aead_open(a, nonce, none, sealed, out), ERR_TOO_LARGE);
    cr_assert_eq(chacha20poly1305_seal(key, nonce, none, longer, out), ERR_TOO_LARGE);
    cr_assert_eq(chacha20poly1305_open(key, nonce, none, sealed, out), ERR_TOO_LARGE);
    cr_assert_eq(xchacha20poly1305_seal(key, nonce, none, longer, out), ERR_TOO_LARGE);
    cr_assert_eq(xchacha20poly1305_open(key, nonce, none, sealed, out), ERR_TOO_LARGE);
    for (size_t len = 0; len < AEAD_TAG; len++) {
        cr_assert_eq(aead_open(a, nonce, none, span_of(key, len), out), ERR_BAD_DIGEST);
        cr_assert_eq(chacha20poly1305_open(key, nonce, none, span_of(key, len), out),
                     ERR_BAD_DIGEST);
        cr_assert_eq(xchacha20poly1305_open(key, nonce, none, span_of(key, len), out),
                     ERR_BAD_DIGEST);
    }
    aead_free(a);
}
