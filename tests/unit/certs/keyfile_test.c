#include "certs/keyfile.h"

#include "common/limits.h"
#include "tests/lib/federation.h"
#include "tests/lib/leaks.h"

#include <criterion/criterion.h>
#include <string.h>

#define HEADER 214

static const struct keyfile_cost cheap = {.passes = 1, .memory_kib = 8};
static struct test_env env;

static void start(void)
{
    cr_assert_eq(secret_process_init(true), ERR_OK);
    test_env_init(&env, 3);
}

TestSuite(keyfile, .init = start, .fini = leaks_check);

/* A key file of purpose sign. */
static void make(struct key_info *info, struct secret **key, struct buf *file)
{
    *info = (struct key_info){.purpose = KEY_SIGN, .owner = "EE.POLICE", .created_ms = 77};
    cr_assert_eq(secret_random(&env.env, 32, key), ERR_OK);
    cr_assert_eq(keyfile_public(KEY_SIGN, *key, info->public_key), ERR_OK);
    buf_init(file, LIMIT_KEY_FILE);
    cr_assert_eq(keyfile_seal(&env.env, info, *key, span_str("open sesame"), &cheap, file), ERR_OK);
}

Test(keyfile, opens_with_its_pass_phrase_alone)
{
    struct key_info info, found;
    struct secret *key, *opened = NULL;
    struct buf file;
    make(&info, &key, &file);
    cr_assert_eq(keyfile_open(buf_span(&file), span_str("open sesame"), &found, &opened), ERR_OK);
    cr_assert(secret_equal(key, opened));
    cr_assert_eq(found.purpose, KEY_SIGN);
    cr_assert_str_eq(found.owner, "EE.POLICE");
    cr_assert_eq(found.created_ms, 77);
    cr_assert_arr_eq(found.public_key, info.public_key, 32);
    secret_free(opened);
    cr_assert_eq(keyfile_open(buf_span(&file), span_str("open sesam"), &found, &opened),
                 ERR_WRONG_PASSPHRASE);
    cr_assert_eq(keyfile_peek(buf_span(&file), &found), ERR_OK);
    secret_free(key);
    buf_fini(&file);
}

Test(keyfile, every_altered_byte_is_noticed)
{
    struct key_info info, found;
    struct secret *key, *opened = NULL;
    struct buf file;
    make(&info, &key, &file);
    for (size_t i = 0; i < file.len; i++) {
        for (unsigned bit = 0; bit < 8; bit += 7) {
            file.data[i] ^= (uint8_t)(1u << bit);
            enum err e = keyfile_open(buf_span(&file), span_str("open sesame"), &found, &opened);
            cr_assert(e == ERR_CORRUPT || e == ERR_WRONG_PASSPHRASE || e == ERR_FORMAT,
                      "byte %zu bit %u: %s", i, bit, err_code(e));
            cr_assert_null(opened);
            file.data[i] ^= (uint8_t)(1u << bit);
        }
    }
    secret_free(key);
    buf_fini(&file);
}

Test(keyfile, every_other_length_is_noticed)
{
    struct key_info info, found;
    struct secret *key, *opened = NULL;
    struct buf file;
    make(&info, &key, &file);
    for (size_t len = 0; len < file.len; len++)
        cr_assert_eq(
            keyfile_open(span_of(file.data, len), span_str("open sesame"), &found, &opened),
            ERR_CORRUPT, "%zu bytes", len);
    buf_put_u8(&file, 0);
    cr_assert_eq(keyfile_open(buf_span(&file), span_str("open sesame"), &found, &opened),
                 ERR_CORRUPT);
    secret_free(key);
    buf_fini(&file);
}

/* What a file asks for is bounded before it is spent. */
Test(keyfile, bounds_the_cost_that_a_file_asks_for)
{
    static const struct {
        size_t at;
        uint32_t value;
        bool possible;
    } rows[] = {
        {132, 0, false},
        {132, LIMIT_ARGON2_OPS, true},
        {132, LIMIT_ARGON2_OPS + 1, false},
        {132, UINT32_MAX, false},
        {136, 7, false},
        {136, 9, true},
        {136, LIMIT_ARGON2_MEM / LIMIT_KIB + 1, false},
        {136, UINT32_MAX, false},
    };
    struct key_info info, found;
    struct secret *key, *opened = NULL;
    struct buf file;
    make(&info, &key, &file);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint8_t old[4];
        memcpy(old, file.data + rows[i].at, 4);
        for (size_t b = 0; b < 4; b++)
            file.data[rows[i].at + b] = (uint8_t)(rows[i].value >> (24 - 8 * b));
        cr_assert_eq(keyfile_open(buf_span(&file), span_str("open sesame"), &found, &opened),
                     rows[i].possible ? ERR_WRONG_PASSPHRASE : ERR_CORRUPT, "row %zu", i);
        memcpy(file.data + rows[i].at, old, 4);
    }
    secret_free(key);
    buf_fini(&file);
}

Test(keyfile, a_newer_version_is_told_apart)
{
    struct key_info info, found;
    struct secret *key;
    struct buf file;
    make(&info, &key, &file);
    file.data[9] = 1;
    cr_assert_eq(keyfile_peek(buf_span(&file), &found), ERR_FORMAT);
    secret_free(key);
    buf_fini(&file);
}

Test(keyfile, a_public_key_that_is_not_the_secrets_is_corrupt)
{
    struct key_info info, found;
    struct secret *key, *opened = NULL;
    struct buf file;
    make(&info, &key, &file);
    info.public_key[5] ^= 1;
    buf_reset(&file);
    cr_assert_eq(keyfile_seal(&env.env, &info, key, span_str("x"), &cheap, &file), ERR_OK);
    cr_assert_eq(keyfile_open(buf_span(&file), span_str("x"), &found, &opened), ERR_CORRUPT);
    secret_free(key);
    buf_fini(&file);
}

Test(keyfile, a_secret_of_the_largest_size_fits_and_one_more_byte_does_not)
{
    struct key_info info = {.purpose = KEY_CA, .owner = "CA"};
    size_t fits = LIMIT_KEY_FILE - HEADER - AEAD_TAG;
    for (size_t extra = 0; extra < 2; extra++) {
        struct secret *key;
        struct buf file;
        buf_init(&file, LIMIT_KEY_FILE);
        cr_assert_eq(secret_new(fits + extra, &key), ERR_OK);
        cr_assert_eq(keyfile_seal(&env.env, &info, key, span_str("x"), &cheap, &file),
                     extra == 0 ? ERR_OK : ERR_TOO_LARGE);
        secret_free(key);
        buf_fini(&file);
    }
}
