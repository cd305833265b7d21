#include "common/hpke.h"

#include "common/limits.h"
#include "tests/lib/leaks.h"
#include "tests/lib/vectors.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(hpke, .fini = leaks_check);

static void count_up(void *ctx, void *out, size_t len)
{
    uint8_t *next = ctx;

    for (size_t i = 0; i < len; i++)
        ((uint8_t *)out)[i] = (*next)++;
}

static const struct span info = {.data = (const uint8_t *)"info", .len = 4};
static const struct span aad = {.data = (const uint8_t *)"aad", .len = 3};
static const struct span plain = {.data = (const uint8_t *)"0123456789abcdef", .len = 16};

/* A key pair, and its public key beside it. */
static struct secret *key_new(uint8_t first, uint8_t public_key[HPKE_PUBLIC])
{
    uint8_t ikm[32];
    struct secret *s;

    memset(ikm, first, sizeof(ikm));
    cr_assert_eq(hpke_derive_key(span_of(ikm, sizeof(ikm)), &s), ERR_OK);
    cr_assert_eq(secret_len(s), 64);
    cr_assert_eq(x25519_public_of(s, public_key), ERR_OK);
    return s;
}

static struct hpke_sender *sender_new(uint8_t first, const uint8_t *public_key, uint64_t max)
{
    const struct env env = {.ctx = &first, .random = count_up};
    struct hpke_sender *s;

    cr_assert_eq(hpke_sender_new(&env, public_key, info, max, &s), ERR_OK);
    return s;
}

static void expect_hex(const json_t *v, const char *key, const uint8_t *got, size_t len)
{
    struct span want = vectors_hex(v, key);

    cr_assert_eq(want.len, len, "%s", key);
    cr_assert_eq(memcmp(want.data, got, len), 0, "%s", key);
    vectors_free(want);
}

static unsigned run_encryptions(const json_t *list, struct hpke_sender *s,
                                const struct hpke_receiver *r)
{
    unsigned ran = 0;
    json_t *v;
    size_t i;

    json_array_foreach(list, i, v)
    {
        struct span a = vectors_hex(v, "aad");
        struct span ct = vectors_hex(v, "ct");
        struct span pt = vectors_hex(v, "pt");
        uint8_t *made = malloc(pt.len + HPKE_TAG);
        uint64_t seq = 99999;

        cr_assert_eq(ct.len, pt.len + HPKE_TAG);
        cr_assert_eq(hpke_seal(s, a, pt, made, &seq), ERR_OK);
        cr_assert_eq(seq, i);
        cr_assert_eq(memcmp(made, ct.data, ct.len), 0);
        memset(made, 0, ct.len);
        cr_assert_eq(hpke_open(r, i, a, ct, made), ERR_OK);
        cr_assert_eq(memcmp(made, pt.data, pt.len), 0);
        free(made);
        vectors_free(a);
        vectors_free(ct);
        vectors_free(pt);
        ran++;
    }
    return ran;
}

static unsigned run_base_vector(const json_t *v)
{
    struct span ikm_e = vectors_hex(v, "ikmE");
    struct span ikm_r = vectors_hex(v, "ikmR");
    struct span the_info = vectors_hex(v, "info");
    const json_t *list = json_object_get(v, "encryptions");
    uint8_t public_key[HPKE_PUBLIC], enc[HPKE_ENC];
    struct hpke_sender *s;
    struct hpke_receiver *r;
    struct secret *ours, *ephemeral;
    unsigned ran;

    cr_assert_eq(hpke_derive_key(ikm_r, &ours), ERR_OK);
    cr_assert_eq(x25519_public_of(ours, public_key), ERR_OK);
    expect_hex(v, "skRm", secret_bytes(ours).data, 32);
    expect_hex(v, "pkRm", public_key, sizeof(public_key));
    cr_assert_eq(hpke_derive_key(ikm_e, &ephemeral), ERR_OK);
    expect_hex(v, "skEm", secret_bytes(ephemeral).data, 32);
    cr_assert_eq(hpke_sender_new_from_ikm(ikm_e, public_key, the_info, json_array_size(list), &s),
                 ERR_OK);
    memcpy(enc, hpke_sender_enc(s), sizeof(enc));
    expect_hex(v, "enc", enc, sizeof(enc));
    cr_assert_eq(hpke_receiver_new(ours, enc, the_info, &r), ERR_OK);
    ran = run_encryptions(list, s, r);
    cr_assert_eq(hpke_sender_left(s), 0);
    hpke_sender_free(s);
    hpke_receiver_free(r);
    secret_free(ours);
    secret_free(ephemeral);
    vectors_free(ikm_e);
    vectors_free(ikm_r);
    vectors_free(the_info);
    return ran;
}

Test(hpke, rfc9180_base_vectors)
{
    json_t *root = vectors_load("rfc9180-hpke/dhkem-x25519-hkdf-sha256-chacha20poly1305.json");
    unsigned bases = 0, sealed = 0;
    json_t *v;
    size_t i;

    json_array_foreach(root, i, v)
    {
        if (json_integer_value(json_object_get(v, "mode")) != 0)
            continue;
        sealed += run_base_vector(v);
        bases++;
    }
    cr_assert_eq(bases, 1);
    cr_assert_eq(sealed, 257);
    json_decref(root);
}

Test(hpke, messages_open_in_any_order_and_with_either_form_of_key)
{
    uint8_t public_key[HPKE_PUBLIC];
    struct secret *key = key_new(7, public_key);
    struct secret *seed;
    struct hpke_sender *s = sender_new(1, public_key, LIMIT_WRAP_SEQ);
    struct hpke_receiver *r[2];
    uint8_t ct[LIMIT_WRAP_SEQ][16 + HPKE_TAG];

    cr_assert_eq(secret_copy(span_of(secret_bytes(key).data, 32), &seed), ERR_OK);
    for (uint64_t i = 0; i < LIMIT_WRAP_SEQ; i++) {
        uint64_t seq = 9999;

        cr_assert_eq(hpke_sender_left(s), LIMIT_WRAP_SEQ - i);
        cr_assert_eq(hpke_seal(s, aad, plain, ct[i], &seq), ERR_OK);
        cr_assert_eq(seq, i);
    }
    cr_assert_eq(hpke_receiver_new(key, hpke_sender_enc(s), info, &r[0]), ERR_OK);
    cr_assert_eq(hpke_receiver_new(seed, hpke_sender_enc(s), info, &r[1]), ERR_OK);
    for (uint64_t i = LIMIT_WRAP_SEQ; i-- > 0;) {
        uint8_t out[16];

        cr_assert_eq(hpke_open(r[i & 1], i, aad, span_of(ct[i], sizeof(ct[i])), out), ERR_OK);
        cr_assert_eq(memcmp(out, plain.data, 16), 0);
        cr_assert_eq(hpke_open(r[i & 1], i + 1, aad, span_of(ct[i], sizeof(ct[i])), out),
                     ERR_BAD_DIGEST);
    }
    hpke_receiver_free(r[0]);
    hpke_receiver_free(r[1]);
    hpke_sender_free(s);
    secret_free(seed);
    secret_free(key);
}

Test(hpke, no_seal_past_the_last_seq)
{
    const uint64_t maxima[] = {0, 1, LIMIT_WRAP_SEQ - 1, LIMIT_WRAP_SEQ, LIMIT_WRAP_SEQ + 1};
    uint8_t public_key[HPKE_PUBLIC];
    struct secret *key = key_new(7, public_key);

    for (size_t m = 0; m < sizeof(maxima) / sizeof(maxima[0]); m++) {
        struct hpke_sender *s = sender_new(1, public_key, maxima[m]);
        uint8_t ct[16 + HPKE_TAG];
        uint64_t seq = 9999;

        for (uint64_t i = 0; i < maxima[m]; i++)
            cr_assert_eq(hpke_seal(s, aad, plain, ct, &seq), ERR_OK);
        seq = 9999;
        memset(ct, 0x77, sizeof(ct));
        cr_assert_eq(hpke_seal(s, aad, plain, ct, &seq), ERR_FULL);
        cr_assert_eq(hpke_seal(s, aad, plain, ct, &seq), ERR_FULL);
        cr_assert_eq(seq, 9999);
        cr_assert_eq(ct[0], 0x77);
        hpke_sender_free(s);
    }
    secret_free(key);
}

Test(hpke, a_failed_seal_burns_its_seq)
{
    uint8_t public_key[HPKE_PUBLIC];
    struct secret *key = key_new(7, public_key);
    struct hpke_sender *s = sender_new(1, public_key, 3);
    const struct span too_long = {.data = plain.data, .len = AEAD_MAX + 1};
    uint8_t ct[16 + HPKE_TAG];
    uint64_t seq = 9999;

    cr_assert_eq(hpke_seal(s, aad, too_long, ct, &seq), ERR_TOO_LARGE);
    cr_assert_eq(seq, 9999);
    cr_assert_eq(hpke_sender_left(s), 2);
    cr_assert_eq(hpke_seal(s, aad, plain, ct, &seq), ERR_OK);
    cr_assert_eq(seq, 1);
    cr_assert_eq(hpke_seal(s, aad, too_long, ct, &seq), ERR_TOO_LARGE);
    cr_assert_eq(hpke_seal(s, aad, plain, ct, &seq), ERR_FULL);
    hpke_sender_free(s);
    secret_free(key);
}

static void expect_closed(const struct secret *key, const uint8_t *enc, struct span the_info,
                          struct span the_aad, struct span ct)
{
    struct hpke_receiver *r;
    uint8_t out[64];

    memset(out, 0x77, sizeof(out));
    cr_assert_eq(hpke_receiver_new(key, enc, the_info, &r), ERR_OK);
    cr_assert_eq(hpke_open(r, 0, the_aad, ct, out), ERR_BAD_DIGEST);
    for (size_t i = 0; i + HPKE_TAG < ct.len; i++)
        cr_assert_eq(out[i], 0);
    hpke_receiver_free(r);
}

Test(hpke, whatever_was_altered_does_not_open)
{
    uint8_t public_key[HPKE_PUBLIC], other_public[HPKE_PUBLIC];
    struct secret *key = key_new(7, public_key);
    struct secret *other = key_new(8, other_public);
    struct hpke_sender *s = sender_new(1, public_key, 1);
    struct hpke_sender *unrelated = sender_new(99, public_key, 1);
    const uint8_t *enc = hpke_sender_enc(s);
    uint8_t ct[16 + HPKE_TAG];
    uint64_t seq;

    cr_assert_eq(hpke_seal(s, aad, plain, ct, &seq), ERR_OK);
    for (size_t i = 0; i < sizeof(ct) * 8; i++) {
        ct[i / 8] ^= (uint8_t)(1 << i % 8);
        expect_closed(key, enc, info, aad, span_of(ct, sizeof(ct)));
        ct[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    for (size_t len = 0; len < sizeof(ct); len++)
        expect_closed(key, enc, info, aad, span_of(ct, len));
    expect_closed(other, enc, info, aad, span_of(ct, sizeof(ct)));
    expect_closed(key, hpke_sender_enc(unrelated), info, aad, span_of(ct, sizeof(ct)));
    expect_closed(key, enc, span_of("inf", 3), aad, span_of(ct, sizeof(ct)));
    expect_closed(key, enc, info, span_of("aae", 3), span_of(ct, sizeof(ct)));
    expect_closed(key, enc, info, span_of(NULL, 0), span_of(ct, sizeof(ct)));
    hpke_sender_free(s);
    hpke_sender_free(unrelated);
    secret_free(key);
    secret_free(other);
}

Test(hpke, small_order_keys_are_refused)
{
    uint8_t public_key[HPKE_PUBLIC];
    struct secret *key = key_new(7, public_key);
    const uint8_t points[2][32] = {{0}, {1}};
    uint8_t first = 1;
    const struct env env = {.ctx = &first, .random = count_up};

    for (size_t i = 0; i < 2; i++) {
        struct hpke_sender *s = NULL;
        struct hpke_receiver *r = NULL;

        cr_assert_eq(hpke_sender_new(&env, points[i], info, 1, &s), ERR_MALFORMED);
        cr_assert_eq(hpke_receiver_new(key, points[i], info, &r), ERR_MALFORMED);
        cr_assert_null(s);
        cr_assert_null(r);
    }
    hpke_sender_free(NULL);
    hpke_receiver_free(NULL);
    secret_free(key);
}

Test(hpke, keying_material_is_at_least_as_long_as_a_key)
{
    uint8_t ikm[33] = {1};
    struct secret *s = NULL;

    cr_assert_eq(hpke_derive_key(span_of(ikm, 31), &s), ERR_MALFORMED);
    cr_assert_null(s);
    cr_assert_eq(hpke_derive_key(span_of(ikm, 32), &s), ERR_OK);
    secret_free(s);
    cr_assert_eq(hpke_derive_key(span_of(ikm, 33), &s), ERR_OK);
    secret_free(s);
}

Test(hpke, every_context_has_its_own_encapsulation)
{
    uint8_t public_key[HPKE_PUBLIC];
    struct secret *key = key_new(7, public_key);
    uint8_t first = 1;
    const struct env env = {.ctx = &first, .random = count_up};
    struct hpke_sender *a, *b;

    cr_assert_eq(hpke_sender_new(&env, public_key, info, 1, &a), ERR_OK);
    cr_assert_eq(hpke_sender_new(&env, public_key, info, 1, &b), ERR_OK);
    cr_assert_neq(memcmp(hpke_sender_enc(a), hpke_sender_enc(b), HPKE_ENC), 0);
    hpke_sender_free(a);
    hpke_sender_free(b);
    secret_free(key);
}
