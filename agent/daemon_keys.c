#include "agent/daemon_keys.h"

#include "common/file.h"
#include "common/limits.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

struct looking {
    const struct settings *settings;
    const struct trust *trust; /* NULL: every key of the purpose will do */
    uint64_t now_ms;
    struct secret *passphrase;
    char *why;
};

/* Also an expired certificate lets an agent receive; that it cannot send is said where it shows. */
static bool is_signer(const struct looking *l, const struct key_info *info)
{
    struct key_id id =
        key_id_of(KEY_LABEL_SIGN, span_of(info->public_key, sizeof info->public_key));
    struct ed25519_public key;
    enum err e = trust_signing_key(l->trust, l->settings->agency, &id, l->now_ms, &key);

    return e != ERR_NEED_DOCUMENTS && e != ERR_UNKNOWN_AGENCY;
}

/* Is this the public half of a key that the agency's documents list. */
static bool is_listed(const struct looking *l, const struct key_info *info)
{
    const char *name = l->settings->agency;
    struct ed25519_public log;
    uint8_t keys[LIMIT_CURVE_KEYS][32];
    size_t n;

    if (l->trust == NULL || info->purpose == KEY_ENCRYPT)
        return true;
    if (info->purpose == KEY_SIGN)
        return is_signer(l, info);
    if (info->purpose == KEY_LOG)
        return trust_log_key(l->trust, name, &log) == ERR_OK &&
               memcmp(log.b, info->public_key, sizeof log.b) == 0;
    n = trust_transport_keys(l->trust, name, l->now_ms, keys, LIMIT_CURVE_KEYS);
    for (size_t i = 0; i < n; i++) {
        if (memcmp(keys[i], info->public_key, sizeof keys[i]) == 0)
            return true;
    }
    return false;
}

/* The next file in the folder with a key for `purpose` that is listed; ERR_NOT_FOUND at the end. */
static enum err next_file(const struct looking *l, DIR *dir, enum key_purpose purpose,
                          char path[LIMIT_PATH], bool *unlisted)
{
    struct dirent *entry;

    while ((entry = readdir(dir)) != NULL) {
        struct key_info info;

        if (entry->d_name[0] == '.' ||
            file_join(l->settings->keys, entry->d_name, path, LIMIT_PATH) != ERR_OK ||
            keystore_peek(path, &info) != ERR_OK || info.purpose != purpose)
            continue;
        if (is_listed(l, &info))
            return ERR_OK;
        *unlisted = true;
    }
    return ERR_NOT_FOUND;
}

static enum err open_file(const struct looking *l, const char *path, enum key_purpose purpose,
                          struct key_info *info, struct secret **ret)
{
    enum err e = keystore_open(path, purpose, secret_bytes(l->passphrase), info, ret);

    if (e != ERR_OK)
        snprintf(l->why, DAEMON_KEYS_WHY, "keys: %s key file: %s", key_purpose_name(purpose),
                 err_meaning(e));
    return e;
}

static enum err open_dir(const struct looking *l, DIR **ret)
{
    *ret = opendir(l->settings->keys);
    if (*ret != NULL)
        return ERR_OK;
    snprintf(l->why, DAEMON_KEYS_WHY, "keys: the folder cannot be read");
    return ERR_CONFIG;
}

static enum err open_one(const struct looking *l, enum key_purpose purpose, struct key_info *info,
                         struct secret **ret)
{
    char path[LIMIT_PATH];
    bool unlisted = false;
    DIR *dir;
    enum err e = open_dir(l, &dir);

    if (e != ERR_OK)
        return e;
    e = next_file(l, dir, purpose, path, &unlisted);
    closedir(dir);
    if (e == ERR_OK)
        return open_file(l, path, purpose, info, ret);
    snprintf(l->why, DAEMON_KEYS_WHY,
             unlisted ? "keys: the agency's documents list another %s key than those for %s"
                      : "keys: there is no %s key file for %s",
             key_purpose_name(purpose), l->settings->agency);
    return ERR_CONFIG;
}

static enum err open_keyring(const struct looking *l, struct keyring *k)
{
    bool unlisted = false;
    char path[LIMIT_PATH];
    DIR *dir;
    enum err e = open_dir(l, &dir);

    if (e != ERR_OK)
        return e;
    while ((e = next_file(l, dir, KEY_ENCRYPT, path, &unlisted)) == ERR_OK) {
        struct secret *key = NULL;
        struct key_info info;

        e = open_file(l, path, KEY_ENCRYPT, &info, &key);
        if (e == ERR_OK)
            e = keyring_add(k, key);
        if (e == ERR_FULL)
            snprintf(l->why, DAEMON_KEYS_WHY, "keys: more than %d encryption keys",
                     LIMIT_STATEMENT_KEYS);
        secret_free(key);
        if (e != ERR_OK)
            break;
    }
    closedir(dir);
    if (e == ERR_NOT_FOUND && keyring_count(k) == 0) {
        snprintf(l->why, DAEMON_KEYS_WHY, "keys: there is no encryption key file");
        return ERR_CONFIG;
    }
    return e == ERR_NOT_FOUND ? ERR_OK : e;
}

static enum err begin(struct looking *l)
{
    enum err e = keystore_passphrase(l->settings->passphrase_file, &l->passphrase);

    if (e != ERR_OK)
        snprintf(l->why, DAEMON_KEYS_WHY, "passphrase_file: %s", err_meaning(e));
    return e;
}

enum err daemon_keys_storage(const struct settings *s, struct daemon_keys *keys,
                             char why[DAEMON_KEYS_WHY])
{
    struct looking l = {.settings = s, .why = why};
    struct key_info info;
    enum err e = begin(&l);

    if (e == ERR_OK)
        e = open_one(&l, KEY_STORAGE, &info, &keys->storage);
    secret_free(l.passphrase);
    return e;
}

static enum err open_sign(const struct looking *l, struct daemon_keys *keys)
{
    struct secret *seed = NULL;
    struct key_info info;
    enum err e = open_one(l, KEY_SIGN, &info, &seed);

    if (e == ERR_OK)
        e = ed25519_expand(seed, &keys->sign);
    if (e == ERR_OK)
        keys->sign_id = key_id_of(KEY_LABEL_SIGN, span_of(info.public_key, sizeof info.public_key));
    secret_free(seed);
    return e;
}

enum err daemon_keys_open(const struct settings *s, const struct trust *trust, uint64_t now_ms,
                          struct daemon_keys *keys, char why[DAEMON_KEYS_WHY])
{
    struct looking l = {.settings = s, .trust = trust, .now_ms = now_ms, .why = why};
    struct daemon_keys more = {0};
    struct key_info info;
    enum err e = begin(&l);

    if (e == ERR_OK)
        e = open_sign(&l, &more);
    if (e == ERR_OK)
        e = open_one(&l, KEY_TRANSPORT, &info, &more.transport);
    if (e == ERR_OK)
        e = open_one(&l, KEY_LOG, &info, &more.log);
    if (e == ERR_OK)
        e = x25519_public_of(more.transport, more.transport_public);
    if (e == ERR_OK)
        e = keyring_new(&more.keyring);
    if (e == ERR_OK)
        e = open_keyring(&l, more.keyring);
    secret_free(l.passphrase);
    if (e != ERR_OK) {
        daemon_keys_fini(&more);
        return e;
    }
    more.storage = keys->storage;
    *keys = more;
    return ERR_OK;
}

void daemon_keys_fini(struct daemon_keys *k)
{
    secret_free(k->sign);
    secret_free(k->transport);
    secret_free(k->log);
    secret_free(k->storage);
    keyring_free(k->keyring);
    *k = (struct daemon_keys){0};
}
