#include "agent/vault.h"

#include "tests/lib/federation.h"
#include "tests/lib/leaks.h"

#include <stdlib.h>
#include <string.h>

static void ready(void)
{
    cr_assert_eq(secret_process_init(true), ERR_OK);
}

TestSuite(vault, .init = ready, .fini = leaks_check);

static struct vault *vault_of(uint8_t first)
{
    struct secret *storage;
    struct vault *v;

    cr_assert_eq(secret_new(32, &storage), ERR_OK);
    secret_data(storage)[0] = first;
    cr_assert_eq(vault_new(storage, &v), ERR_OK);
    secret_free(storage);
    return v;
}

Test(vault, storage_key_has_32_bytes)
{
    static const size_t lens[] = {1, 31, 33, 64};
    struct secret *storage;
    struct vault *v;

    for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
        cr_assert_eq(secret_new(lens[i], &storage), ERR_OK);
        cr_assert_eq(vault_new(storage, &v), ERR_WRONG_USAGE);
        secret_free(storage);
    }
    vault_free(NULL);
}

Test(vault, checksum_key_follows_from_the_storage_key)
{
    struct vault *a = vault_of(1);
    struct vault *b = vault_of(1);
    struct vault *c = vault_of(2);

    cr_assert_eq(memcmp(vault_checksum_key(a), vault_checksum_key(b), CHECKSUM_KEY), 0);
    cr_assert_neq(memcmp(vault_checksum_key(a), vault_checksum_key(c), CHECKSUM_KEY), 0);
    vault_free(a);
    vault_free(b);
    vault_free(c);
}

Test(vault, texts_of_any_length)
{
    static const size_t lens[] = {0, 1, 63, 64, 65, 4096};
    struct vault *v = vault_of(1);
    struct test_env env;
    uint8_t plain[4096];

    test_env_init(&env, 1);
    memset(plain, 'x', sizeof plain);
    for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
        struct buf sealed;
        struct buf back;

        buf_init(&sealed, 8192);
        buf_init(&back, 8192);
        buf_put_str(&sealed, "before");
        buf_put_str(&back, "before");
        cr_assert_eq(vault_seal(v, &env.env, span_str("name"), span_of(plain, lens[i]), &sealed),
                     ERR_OK);
        cr_assert_eq(sealed.len, 6 + lens[i] + VAULT_OVERHEAD);
        cr_assert_eq(
            vault_open(v, span_str("name"), span_of(sealed.data + 6, sealed.len - 6), &back),
            ERR_OK);
        cr_assert_eq(back.len, 6 + lens[i]);
        cr_assert_eq(memcmp(back.data, "before", 6), 0);
        cr_assert_eq(memcmp(back.data + 6, plain, lens[i]), 0);
        buf_fini(&sealed);
        buf_fini(&back);
    }
    vault_free(v);
}

Test(vault, the_same_text_twice_has_other_bytes)
{
    struct vault *v = vault_of(1);
    struct test_env env;
    struct buf a;
    struct buf b;

    test_env_init(&env, 1);
    buf_init(&a, 128);
    buf_init(&b, 128);
    cr_assert_eq(vault_seal(v, &env.env, span_str("n"), span_str("text"), &a), ERR_OK);
    cr_assert_eq(vault_seal(v, &env.env, span_str("n"), span_str("text"), &b), ERR_OK);
    cr_assert_neq(memcmp(a.data, b.data, XCHACHA_NONCE), 0, "a nonce was used twice");
    cr_assert_neq(memcmp(a.data + XCHACHA_NONCE, b.data + XCHACHA_NONCE, 4), 0);
    buf_fini(&a);
    buf_fini(&b);
    vault_free(v);
}

static void check_closed(struct vault *v, struct span name, struct span sealed)
{
    struct secret *key;
    struct buf out;

    buf_init(&out, 1024);
    buf_put_str(&out, "before");
    cr_assert_eq(vault_open(v, name, sealed, &out), ERR_CORRUPT);
    cr_assert(span_equal(buf_span(&out), span_str("before")));
    cr_assert_eq(vault_open_key(v, name, sealed, &key), ERR_CORRUPT);
    buf_fini(&out);
}

/* In memory of exactly this size. */
static void check_closed_exact(struct vault *v, struct span name, struct span sealed)
{
    uint8_t *copy = malloc(sealed.len > 0 ? sealed.len : 1);

    cr_assert_not_null(copy);
    if (sealed.len > 0)
        memcpy(copy, sealed.data, sealed.len);
    check_closed(v, name, span_of(copy, sealed.len));
    free(copy);
}

static void check_tampering(struct vault *v, struct buf *sealed)
{
    struct vault *other = vault_of(2);

    for (size_t i = 0; i < sealed->len; i++) {
        sealed->data[i] ^= 0x40;
        check_closed_exact(v, span_str("name"), buf_span(sealed));
        sealed->data[i] ^= 0x40;
        check_closed_exact(v, span_str("name"), span_of(sealed->data, i));
    }
    check_closed_exact(v, span_str("Name"), buf_span(sealed));
    check_closed_exact(v, span_str("nam"), buf_span(sealed));
    check_closed_exact(v, span_str(""), buf_span(sealed));
    check_closed_exact(other, span_str("name"), buf_span(sealed));
    buf_put_u8(sealed, 0);
    check_closed_exact(v, span_str("name"), buf_span(sealed));
    vault_free(other);
}

Test(vault, text_tampered_at_every_byte)
{
    struct vault *v = vault_of(1);
    struct test_env env;
    struct buf sealed;

    test_env_init(&env, 1);
    buf_init(&sealed, 128);
    cr_assert_eq(vault_seal(v, &env.env, span_str("name"), span_str("sixteen bytes..."), &sealed),
                 ERR_OK);
    check_tampering(v, &sealed);
    buf_fini(&sealed);
    vault_free(v);
}

Test(vault, key_tampered_at_every_byte)
{
    struct vault *v = vault_of(1);
    struct secret *key;
    struct test_env env;
    struct buf sealed;

    test_env_init(&env, 1);
    buf_init(&sealed, 128);
    cr_assert_eq(secret_random(&env.env, 16, &key), ERR_OK);
    cr_assert_eq(vault_seal_key(v, &env.env, span_str("name"), key, &sealed), ERR_OK);
    check_tampering(v, &sealed);
    secret_free(key);
    buf_fini(&sealed);
    vault_free(v);
}

Test(vault, keys_of_their_use_only)
{
    struct vault *v = vault_of(1);
    struct secret *key;
    struct secret *back;
    struct test_env env;
    struct buf as_key;
    struct buf as_text;
    struct buf out;

    test_env_init(&env, 1);
    buf_init(&as_key, 128);
    buf_init(&as_text, 128);
    buf_init(&out, 128);
    cr_assert_eq(secret_random(&env.env, 16, &key), ERR_OK);
    cr_assert_eq(vault_seal_key(v, &env.env, span_str("name"), key, &as_key), ERR_OK);
    cr_assert_eq(vault_open_key(v, span_str("name"), buf_span(&as_key), &back), ERR_OK);
    cr_assert(secret_equal(key, back));
    secret_free(back);
    cr_assert_eq(vault_open(v, span_str("name"), buf_span(&as_key), &out), ERR_CORRUPT);
    cr_assert_eq(vault_seal(v, &env.env, span_str("name"), secret_bytes(key), &as_text), ERR_OK);
    cr_assert_eq(vault_open_key(v, span_str("name"), buf_span(&as_text), &back), ERR_CORRUPT);
    secret_free(key);
    buf_fini(&as_key);
    buf_fini(&as_text);
    buf_fini(&out);
    vault_free(v);
}

Test(vault, full_buffers)
{
    struct vault *v = vault_of(1);
    struct test_env env;
    struct buf sealed;
    struct buf out;

    test_env_init(&env, 1);
    buf_init(&sealed, VAULT_OVERHEAD + 3);
    cr_assert_eq(vault_seal(v, &env.env, span_str("n"), span_str("1234"), &sealed), ERR_TOO_LARGE);
    buf_fini(&sealed);
    buf_init(&sealed, VAULT_OVERHEAD + 4);
    cr_assert_eq(vault_seal(v, &env.env, span_str("n"), span_str("1234"), &sealed), ERR_OK);
    buf_init(&out, 3);
    cr_assert_eq(vault_open(v, span_str("n"), buf_span(&sealed), &out), ERR_TOO_LARGE);
    buf_fini(&out);
    buf_fini(&sealed);
    vault_free(v);
}
