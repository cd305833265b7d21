#include "certs/keystore.h"

#include "certs/keyfile.h"
#include "common/file.h"
#include "common/limits.h"

#include <assert.h>
#include <string.h>
#include <sys/stat.h>

static const char *const purpose_names[] = {
    [KEY_ROOT] = "root",       [KEY_TIMESTAMP] = "timestamp", [KEY_SIGN] = "sign",
    [KEY_ENCRYPT] = "encrypt", [KEY_TRANSPORT] = "transport", [KEY_LOG] = "log",
    [KEY_WITNESS] = "witness", [KEY_STORAGE] = "storage",     [KEY_CA] = "ca",
};

static const struct keyfile_cost costs[] = {
    [KEYSTORE_DAEMON] = {.passes = 2, .memory_kib = 64 * 1024},
    [KEYSTORE_PERSON] = {.passes = 4, .memory_kib = 256 * 1024},
};

const char *key_purpose_name(enum key_purpose p)
{
    assert(p >= KEY_ROOT && p <= KEY_CA);
    return purpose_names[p];
}

enum err keystore_import(const char *path, const struct env *env, enum key_purpose purpose,
                         const char *owner, const struct secret *key, struct span passphrase,
                         enum keystore_cost cost, struct key_info *ret)
{
    struct key_info info = {.purpose = purpose, .created_ms = env_now_ms(env)};
    if (passphrase.len == 0)
        return ERR_WRONG_PASSPHRASE;
    enum err e = span_to_str(span_str(owner), info.owner, sizeof(info.owner));
    if (e == ERR_OK)
        e = keyfile_public(purpose, key, info.public_key);
    if (e != ERR_OK)
        return e;
    /* Asked early, so that nobody waits for Argon2 to learn it; file_create decides. */
    struct stat st;
    if (lstat(path, &st) == 0)
        return ERR_EXISTS;
    struct buf file;
    buf_init(&file, LIMIT_KEY_FILE);
    e = keyfile_seal(env, &info, key, passphrase, &costs[cost], &file);
    if (e == ERR_OK)
        e = file_create(path, buf_span(&file), 0600);
    buf_fini(&file);
    if (e == ERR_OK)
        *ret = info;
    return e;
}

enum err keystore_create(const char *path, const struct env *env, enum key_purpose purpose,
                         const char *owner, struct span passphrase, enum keystore_cost cost,
                         struct key_info *ret)
{
    if (purpose == KEY_CA)
        return ERR_WRONG_USAGE;
    struct secret *key = NULL;
    enum err e = secret_random(env, 32, &key);
    if (e == ERR_OK)
        e = keystore_import(path, env, purpose, owner, key, passphrase, cost, ret);
    secret_free(key);
    return e;
}

/* Keys and pass phrases that others may read are not secret: refused, so that it gets noticed. */
static enum err check_private(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return ERR_NOT_FOUND;
    if (!S_ISREG(st.st_mode) || (st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
        return ERR_NOT_ALLOWED;
    return ERR_OK;
}

enum err keystore_open(const char *path, enum key_purpose purpose, struct span passphrase,
                       struct key_info *info, struct secret **ret)
{
    struct buf file;
    buf_init(&file, LIMIT_KEY_FILE);
    struct key_info found;
    struct secret *key = NULL;
    enum err e = check_private(path);
    if (e != ERR_OK)
        goto out;
    e = file_read(path, LIMIT_KEY_FILE, &file);
    if (e == ERR_OK)
        e = keyfile_peek(buf_span(&file), &found);
    if (e != ERR_OK)
        goto out;
    if (purpose != 0 && found.purpose != purpose) {
        e = ERR_WRONG_USAGE;
        goto out;
    }
    e = keyfile_open(buf_span(&file), passphrase, &found, &key);
    if (e != ERR_OK)
        goto out;
    *info = found;
    *ret = key;
out:
    buf_fini(&file);
    return e;
}

enum err keystore_peek(const char *path, struct key_info *ret)
{
    struct buf file;
    buf_init(&file, LIMIT_KEY_FILE);
    enum err e = file_read(path, LIMIT_KEY_FILE, &file);
    if (e == ERR_OK)
        e = keyfile_peek(buf_span(&file), ret);
    buf_fini(&file);
    return e;
}

enum err keystore_passphrase(const char *path, struct secret **ret)
{
    struct buf file;
    buf_init(&file, LIMIT_PASSPHRASE + 1);
    enum err e = check_private(path);
    if (e == ERR_OK)
        e = file_read(path, LIMIT_PASSPHRASE + 1, &file);
    if (e != ERR_OK)
        goto out;
    size_t len = 0;
    while (len < file.len && file.data[len] != '\n' && file.data[len] != '\r')
        len++;
    if (len == 0)
        e = ERR_WRONG_PASSPHRASE;
    else if (len > LIMIT_PASSPHRASE)
        e = ERR_TOO_LARGE;
    else
        e = secret_copy(span_of(file.data, len), ret);
out:
    buf_wipe(&file);
    return e;
}

void key_fingerprint(struct span public_key, char out[FINGERPRINT_TEXT])
{
    /* The digest as one big-endian number modulo 10^60, five digits at a time from the right. */
    enum { GROUPS = 12 };
    struct digest d = sha256(public_key);
    unsigned groups[GROUPS];
    for (int g = GROUPS - 1; g >= 0; g--) {
        uint32_t rest = 0;
        for (size_t i = 0; i < sizeof(d.b); i++) {
            uint32_t v = rest << 8 | d.b[i];
            d.b[i] = (uint8_t)(v / 100000);
            rest = v % 100000;
        }
        groups[g] = rest;
    }
    char *at = out;
    for (int g = 0; g < GROUPS; g++) {
        for (int digit = 4; digit >= 0; digit--) {
            at[digit] = (char)('0' + groups[g] % 10);
            groups[g] /= 10;
        }
        at[5] = ' ';
        at += 6;
    }
    at[-1] = '\0';
}
