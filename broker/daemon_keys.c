#include "broker/daemon_keys.h"

#include "common/file.h"
#include "common/limits.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

/* Is this the public half of a key that the directory lists for the broker. */
static bool is_listed(const struct trust *trust, const char *name, const struct key_info *info,
                      uint64_t now_ms)
{
    struct ed25519_public log;
    uint8_t keys[LIMIT_CURVE_KEYS][32];
    size_t n;

    if (info->purpose == KEY_LOG)
        return trust_log_key(trust, name, &log) == ERR_OK &&
               memcmp(log.b, info->public_key, sizeof log.b) == 0;
    n = trust_transport_keys(trust, name, now_ms, keys, LIMIT_CURVE_KEYS);
    for (size_t i = 0; i < n; i++) {
        if (memcmp(keys[i], info->public_key, sizeof keys[i]) == 0)
            return true;
    }
    return false;
}

/* The file in `dir` with a key for `purpose` that the directory lists. */
static enum err find(const char *dir, enum key_purpose purpose, const struct trust *trust,
                     const char *name, uint64_t now_ms, char *path, size_t size,
                     char why[DAEMON_KEYS_WHY])
{
    DIR *d = opendir(dir);
    struct dirent *entry;
    bool unlisted = false;

    if (d == NULL) {
        snprintf(why, DAEMON_KEYS_WHY, "keys: the folder cannot be read");
        return ERR_CONFIG;
    }
    while ((entry = readdir(d)) != NULL) {
        struct key_info info;

        if (entry->d_name[0] == '.' || file_join(dir, entry->d_name, path, size) != ERR_OK ||
            keystore_peek(path, &info) != ERR_OK || info.purpose != purpose)
            continue;
        if (is_listed(trust, name, &info, now_ms)) {
            closedir(d);
            return ERR_OK;
        }
        unlisted = true;
    }
    closedir(d);
    snprintf(why, DAEMON_KEYS_WHY,
             unlisted ? "keys: the directory lists another %s key for %s"
                      : "keys: there is no %s key file for %s",
             key_purpose_name(purpose), name);
    return ERR_CONFIG;
}

static enum err open_key(const struct settings *s, enum key_purpose purpose,
                         const struct trust *trust, const struct secret *passphrase,
                         uint64_t now_ms, struct secret **ret, char why[DAEMON_KEYS_WHY])
{
    char path[LIMIT_PATH];
    struct key_info info;
    enum err e = find(s->keys, purpose, trust, s->name, now_ms, path, sizeof path, why);

    if (e != ERR_OK)
        return e;
    e = keystore_open(path, purpose, secret_bytes(passphrase), &info, ret);
    if (e != ERR_OK)
        snprintf(why, DAEMON_KEYS_WHY, "keys: %s key file: %s", key_purpose_name(purpose),
                 err_meaning(e));
    return e;
}

enum err daemon_keys_open(const struct settings *s, const struct trust *trust, uint64_t now_ms,
                          struct daemon_keys *ret, char why[DAEMON_KEYS_WHY])
{
    struct daemon_keys keys = {0};
    struct secret *passphrase = NULL;
    enum err e = keystore_passphrase(s->passphrase_file, &passphrase);

    if (e != ERR_OK)
        snprintf(why, DAEMON_KEYS_WHY, "passphrase_file: %s", err_meaning(e));
    if (e == ERR_OK)
        e = open_key(s, KEY_TRANSPORT, trust, passphrase, now_ms, &keys.transport, why);
    if (e == ERR_OK)
        e = open_key(s, KEY_LOG, trust, passphrase, now_ms, &keys.log, why);
    if (e == ERR_OK)
        e = x25519_public_of(keys.transport, keys.transport_public);
    secret_free(passphrase);
    if (e != ERR_OK) {
        daemon_keys_fini(&keys);
        return e;
    }
    *ret = keys;
    return ERR_OK;
}

void daemon_keys_fini(struct daemon_keys *k)
{
    secret_free(k->transport);
    secret_free(k->log);
    *k = (struct daemon_keys){0};
}
