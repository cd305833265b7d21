#include "certs/keystore.h"

#include "common/file.h"
#include "common/limits.h"
#include "tests/lib/federation.h"
#include "tests/lib/leaks.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct test_env env;
static char dir[] = "/tmp/sealpost-keystore-XXXXXX";
static char path[PATH_MAX];

static void start(void)
{
    cr_assert_eq(secret_process_init(true), ERR_OK);
    test_env_init(&env, 3);
    cr_assert_not_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/a.key", dir);
}

static void stop(void)
{
    unlink(path);
    rmdir(dir);
    leaks_check();
}

TestSuite(keystore, .init = start, .fini = stop);

static void create(enum key_purpose purpose, struct key_info *info)
{
    cr_assert_eq(keystore_create(path, &env.env, purpose, "EE.POLICE", span_str("secret"),
                                 KEYSTORE_DAEMON, info),
                 ERR_OK);
}

Test(keystore, makes_a_private_file_that_is_never_overwritten)
{
    struct key_info info, again;
    struct stat st;
    create(KEY_ROOT, &info);
    cr_assert_eq(stat(path, &st), 0);
    cr_assert_eq(st.st_mode & 07777, 0600);
    cr_assert_eq(
        keystore_create(path, &env.env, KEY_ROOT, "x", span_str("secret"), KEYSTORE_DAEMON, &again),
        ERR_EXISTS);
    cr_assert_eq(keystore_peek(path, &again), ERR_OK);
    cr_assert_arr_eq(again.public_key, info.public_key, 32);
}

Test(keystore, opens_for_its_purpose_alone)
{
    struct key_info info, found;
    struct secret *key = NULL;
    create(KEY_LOG, &info);
    cr_assert_eq(keystore_open(path, KEY_SIGN, span_str("secret"), &found, &key), ERR_WRONG_USAGE);
    cr_assert_eq(keystore_open(path, KEY_LOG, span_str("Secret"), &found, &key),
                 ERR_WRONG_PASSPHRASE);
    cr_assert_null(key);
    cr_assert_eq(keystore_open(path, KEY_LOG, span_str("secret"), &found, &key), ERR_OK);
    struct ed25519_public pub;
    cr_assert_eq(ed25519_public_of(key, &pub), ERR_OK);
    cr_assert_arr_eq(pub.b, info.public_key, 32);
    secret_free(key);
    cr_assert_eq(keystore_open(path, 0, span_str("secret"), &found, &key), ERR_OK);
    secret_free(key);
}

Test(keystore, refuses_a_file_that_others_may_read)
{
    static const mode_t modes[] = {0640, 0604, 0620, 0602, 0610, 0601};
    struct key_info info;
    struct secret *key = NULL;
    create(KEY_LOG, &info);
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        cr_assert_eq(chmod(path, modes[i]), 0);
        cr_assert_eq(keystore_open(path, 0, span_str("secret"), &info, &key), ERR_NOT_ALLOWED);
        cr_assert_eq(keystore_passphrase(path, &key), ERR_NOT_ALLOWED);
    }
}

Test(keystore, imports_only_what_fits_the_purpose)
{
    struct key_info info;
    struct secret *key;
    cr_assert_eq(secret_random(&env.env, 31, &key), ERR_OK);
    cr_assert_eq(keystore_import(path, &env.env, KEY_SIGN, "x", key, span_str("secret"),
                                 KEYSTORE_DAEMON, &info),
                 ERR_CORRUPT);
    secret_free(key);
    cr_assert_eq(
        keystore_create(path, &env.env, KEY_CA, "x", span_str("secret"), KEYSTORE_DAEMON, &info),
        ERR_WRONG_USAGE);
    cr_assert_eq(
        keystore_create(path, &env.env, KEY_LOG, "x", span_str(""), KEYSTORE_DAEMON, &info),
        ERR_WRONG_PASSPHRASE);
    cr_assert_neq(access(path, F_OK), 0);
}

Test(keystore, what_is_missing_is_not_found)
{
    struct key_info info;
    struct secret *key = NULL;
    cr_assert_eq(keystore_open(path, 0, span_str("secret"), &info, &key), ERR_NOT_FOUND);
    cr_assert_eq(keystore_peek(path, &info), ERR_NOT_FOUND);
    cr_assert_eq(keystore_passphrase(path, &key), ERR_NOT_FOUND);
}

static enum err passphrase_of(struct span bytes, struct secret **ret)
{
    cr_assert_eq(file_write_atomic(path, bytes, 0600), ERR_OK);
    return keystore_passphrase(path, ret);
}

Test(keystore, a_pass_phrase_is_the_first_line)
{
    struct secret *s = NULL;
    char longest[LIMIT_PASSPHRASE + 1];
    memset(longest, 'x', sizeof(longest));
    cr_assert_eq(passphrase_of(span_str("one two\nthree\n"), &s), ERR_OK);
    cr_assert(span_equal(secret_bytes(s), span_str("one two")));
    secret_free(s);
    cr_assert_eq(passphrase_of(span_str("bare"), &s), ERR_OK);
    cr_assert_eq(secret_len(s), 4);
    secret_free(s);
    cr_assert_eq(passphrase_of(span_str(""), &s), ERR_WRONG_PASSPHRASE);
    cr_assert_eq(passphrase_of(span_str("\nx"), &s), ERR_WRONG_PASSPHRASE);
    cr_assert_eq(passphrase_of(span_of(longest, LIMIT_PASSPHRASE), &s), ERR_OK);
    cr_assert_eq(secret_len(s), LIMIT_PASSPHRASE);
    secret_free(s);
    cr_assert_eq(passphrase_of(span_of(longest, LIMIT_PASSPHRASE + 1), &s), ERR_TOO_LARGE);
}

/* Reckoned with Python: int(sha256(key)) % 10**60. */
Test(keystore, fingerprints_are_the_digest_in_decimal)
{
    char text[FINGERPRINT_TEXT];
    uint8_t key[32] = {0};
    key_fingerprint(span_of(key, sizeof(key)), text);
    cr_assert_str_eq(text,
                     "10658 24234 93727 32015 22022 37096 31479 19918 10382 90276 65309 30981");
    for (size_t i = 0; i < sizeof(key); i++)
        key[i] = (uint8_t)i;
    key_fingerprint(span_of(key, sizeof(key)), text);
    cr_assert_str_eq(text,
                     "93515 96820 36559 51511 79895 77163 29441 73203 52847 08350 29652 97373");
}
