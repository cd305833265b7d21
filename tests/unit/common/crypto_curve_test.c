#include "common/crypto.h"

#include "tests/lib/leaks.h"
#include "tests/lib/vectors.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(crypto_curve, .fini = leaks_check);

static struct secret *secret_of(struct span bytes)
{
    struct secret *s;

    cr_assert_eq(secret_copy(bytes, &s), ERR_OK);
    return s;
}

Test(crypto_curve, ed25519_rfc8032)
{
    json_t *root = vectors_load("rfc8032-ed25519/rfc8032-7.1.json");
    unsigned ran = 0;
    json_t *v;
    size_t i;

    json_array_foreach(root, i, v)
    {
        struct span seed_bytes = vectors_hex(v, "seed");
        struct span want_public = vectors_hex(v, "public_key");
        struct span message = vectors_hex(v, "message");
        struct span want_sig = vectors_hex(v, "signature");
        struct secret *keys[2] = {secret_of(seed_bytes), NULL};

        cr_assert_eq(ed25519_expand(keys[0], &keys[1]), ERR_OK);
        for (size_t k = 0; k < 2; k++) {
            struct ed25519_public public;
            uint8_t sig[ED25519_SIG];

            cr_assert_eq(ed25519_public_of(keys[k], &public), ERR_OK);
            cr_assert_eq(memcmp(public.b, want_public.data, 32), 0);
            cr_assert_eq(ed25519_sign(keys[k], message, sig), ERR_OK);
            cr_assert_eq(memcmp(sig, want_sig.data, sizeof(sig)), 0);
            cr_assert_eq(ed25519_verify(&public, message, want_sig), ERR_OK);
            sig[63] ^= 1;
            cr_assert_eq(ed25519_verify(&public, message, span_of(sig, 64)), ERR_BAD_SIGNATURE);
            secret_free(keys[k]);
        }
        vectors_free(seed_bytes);
        vectors_free(want_public);
        vectors_free(message);
        vectors_free(want_sig);
        ran++;
    }
    cr_assert_eq(ran, 5);
    json_decref(root);
}

static struct ed25519_public public_of_hex(const json_t *o, const char *key)
{
    struct span s = vectors_hex(o, key);
    struct ed25519_public public;

    cr_assert_eq(s.len, sizeof(public.b));
    memcpy(public.b, s.data, sizeof(public.b));
    vectors_free(s);
    return public;
}

static bool run_ed25519(const json_t *group, const json_t *test, bool valid)
{
    struct ed25519_public key = public_of_hex(json_object_get(group, "publicKey"), "pk");
    struct span message = vectors_hex(test, "msg");
    struct span sig = vectors_hex(test, "sig");

    cr_assert_eq(ed25519_verify(&key, message, sig), valid ? ERR_OK : ERR_BAD_SIGNATURE);
    vectors_free(message);
    vectors_free(sig);
    return true;
}

Test(crypto_curve, ed25519_wycheproof)
{
    cr_assert_eq(vectors_wycheproof("wycheproof/ed25519_test.json", run_ed25519), 151);
}

/* Signatures with components of low order verify without the cofactor exactly when the flaws cancel
 * out, that is, when no residue is left; everything else that the flags name is refused. */
static bool cctv_accepts(const json_t *flags)
{
    const json_t *flag;
    size_t i;

    json_array_foreach(flags, i, flag)
    {
        const char *s = json_string_value(flag);

        if (strcmp(s, "low_order_component_R") != 0 && strcmp(s, "low_order_component_A") != 0)
            return false;
    }
    return true;
}

Test(crypto_curve, ed25519_cctv_verdicts)
{
    json_t *root = vectors_load("cctv-ed25519/ed25519vectors.json");
    unsigned accepted = 0, refused = 0;
    json_t *v;
    size_t i;

    json_array_foreach(root, i, v)
    {
        struct ed25519_public key = public_of_hex(v, "key");
        struct span sig = vectors_hex(v, "sig");
        const char *message = vectors_text(v, "msg");
        bool accepts = cctv_accepts(json_object_get(v, "flags"));

        cr_assert_eq(ed25519_verify(&key, span_of(message, strlen(message)), sig),
                     accepts ? ERR_OK : ERR_BAD_SIGNATURE, "number %u", (unsigned)i);
        if (accepts)
            accepted++;
        else
            refused++;
        vectors_free(sig);
    }
    cr_assert_eq(accepted, 43);
    cr_assert_eq(refused, 871);
    json_decref(root);
}

Test(crypto_curve, ed25519_signature_of_another_length)
{
    uint8_t seed[32] = {1};
    uint8_t sig[ED25519_SIG + 1] = {0};
    struct secret *key = secret_of(span_of(seed, sizeof(seed)));
    const struct span message = span_of("m", 1);
    struct ed25519_public public;

    cr_assert_eq(ed25519_public_of(key, &public), ERR_OK);
    cr_assert_eq(ed25519_sign(key, message, sig), ERR_OK);
    cr_assert_eq(ed25519_verify(&public, message, span_of(sig, 64)), ERR_OK);
    cr_assert_eq(ed25519_verify(&public, message, span_of(sig, 63)), ERR_BAD_SIGNATURE);
    cr_assert_eq(ed25519_verify(&public, message, span_of(sig, 65)), ERR_BAD_SIGNATURE);
    cr_assert_eq(ed25519_verify(&public, message, span_of(NULL, 0)), ERR_BAD_SIGNATURE);
    cr_assert_eq(ed25519_verify(&public, span_of("n", 1), span_of(sig, 64)), ERR_BAD_SIGNATURE);
    secret_free(key);
}

static bool all_zero(const uint8_t *b, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (b[i] != 0)
            return false;
    }
    return true;
}

/* "acceptable" leaves the all-zero secret to the user: RFC 9180 7.1.4 refuses it. */
static bool run_x25519(const json_t *group, const json_t *test, bool valid)
{
    struct span private = vectors_hex(test, "private");
    struct span public = vectors_hex(test, "public");
    struct span want = vectors_hex(test, "shared");
    struct secret *key = secret_of(private);
    bool zero = all_zero(want.data, want.len);
    uint8_t got[X25519_KEY];

    (void)group;
    cr_assert(valid);
    memset(got, 0x77, sizeof(got));
    cr_assert_eq(x25519_shared(key, public.data, got), zero ? ERR_MALFORMED : ERR_OK);
    cr_assert_eq(memcmp(got, want.data, sizeof(got)), 0);
    secret_free(key);
    vectors_free(private);
    vectors_free(public);
    vectors_free(want);
    return !zero;
}

Test(crypto_curve, x25519_wycheproof)
{
    cr_assert_eq(vectors_wycheproof("wycheproof/x25519_test.json", run_x25519), 518 - 31);
}

Test(crypto_curve, x25519_both_forms_of_a_key_agree)
{
    uint8_t bytes[2][32] = {{1}, {2}};
    struct secret *seed[2], *expanded[2];
    uint8_t public[2][X25519_KEY], again[X25519_KEY], shared[4][X25519_KEY];

    for (size_t i = 0; i < 2; i++) {
        seed[i] = secret_of(span_of(bytes[i], 32));
        cr_assert_eq(x25519_expand(seed[i], &expanded[i]), ERR_OK);
        cr_assert_eq(x25519_public_of(seed[i], public[i]), ERR_OK);
        cr_assert_eq(x25519_public_of(expanded[i], again), ERR_OK);
        cr_assert_eq(memcmp(public[i], again, sizeof(again)), 0);
    }
    cr_assert_eq(x25519_shared(seed[0], public[1], shared[0]), ERR_OK);
    cr_assert_eq(x25519_shared(expanded[0], public[1], shared[1]), ERR_OK);
    cr_assert_eq(x25519_shared(seed[1], public[0], shared[2]), ERR_OK);
    cr_assert_eq(x25519_shared(expanded[1], public[0], shared[3]), ERR_OK);
    for (size_t i = 1; i < 4; i++)
        cr_assert_eq(memcmp(shared[0], shared[i], X25519_KEY), 0);
    for (size_t i = 0; i < 2; i++) {
        secret_free(seed[i]);
        secret_free(expanded[i]);
    }
}
