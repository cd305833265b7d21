#include "certs/cmd.h"

#include "common/file.h"
#include "common/limits.h"
#include "common/text.h"

#include <string.h>
#include <unistd.h>

#define PASSPHRASE_BYTES 32

static enum err parse_purpose(const char *word, enum key_purpose *ret)
{
    for (int p = KEY_ROOT; p < KEY_CA; p++) {
        if (strcmp(key_purpose_name((enum key_purpose)p), word) == 0) {
            *ret = (enum key_purpose)p;
            return ERR_OK;
        }
    }
    return ERR_USAGE;
}

static void put_info(struct facts *f, const char *path, const struct key_info *info)
{
    facts_text(f, "file", path);
    facts_text(f, "purpose", key_purpose_name(info->purpose));
    facts_text(f, "owner", info->owner);
    facts_time(f, "created", info->created_ms);
    if (info->purpose != KEY_STORAGE && info->purpose != KEY_CA)
        facts_key(f, span_of(info->public_key, sizeof(info->public_key)));
}

int cmd_keystore_init(const struct cli *args)
{
    struct why why = {0};
    struct key_info info;
    enum key_purpose purpose;
    const char *path = cli_value(args, "to");
    if (parse_purpose(cli_value(args, "purpose"), &purpose) != ERR_OK)
        return cli_usage(args, "--purpose: no such purpose");
    enum err e = cmd_create_key(args, path, purpose, cli_value(args, "owner"), NULL, &info, &why);
    if (e != ERR_OK)
        return cmd_fail(args, e, "%s", why.text);
    struct facts f;
    facts_init(&f, args);
    put_info(&f, path, &info);
    return facts_print(&f, "Made a key. Compare the fingerprint aloud with who shall rely on it.");
}

int cmd_keystore_show(const struct cli *args)
{
    struct key_info info;
    const char *path = cli_operand(args, 0);
    enum err e = keystore_peek(path, &info);
    if (e != ERR_OK)
        return cmd_fail(args, e, "%.200s: %s", path, err_meaning(e));
    struct facts f;
    facts_init(&f, args);
    put_info(&f, path, &info);
    return facts_print(&f, "What the header says; the pass phrase was not asked for.");
}

static enum err make_passphrase(const char *path, struct why *why)
{
    uint8_t bytes[PASSPHRASE_BYTES];
    char line[2 * PASSPHRASE_BYTES + 2];
    env_random(env_system(), bytes, sizeof(bytes));
    text_hex(span_of(bytes, sizeof(bytes)), line);
    crypto_wipe(bytes, sizeof(bytes));
    line[2 * PASSPHRASE_BYTES] = '\n';
    enum err e = file_create(path, span_of(line, 2 * PASSPHRASE_BYTES + 1), 0600);
    crypto_wipe(line, sizeof(line));
    return e == ERR_OK ? e : why_set(why, e, "%.200s: %s", path, err_meaning(e));
}

enum err cmd_keys_folder(const struct cli *args, const char *dir, struct why *why)
{
    char path[PATH_MAX];
    enum err e = file_make_dir(dir, 0700);
    if (e == ERR_OK)
        e = cmd_path(path, dir, CMD_PASSPHRASE);
    if (e != ERR_OK)
        return why_set(why, e, "%.200s: %s", dir, err_meaning(e));
    if (cli_value(args, "passphrase-file") != NULL || access(path, F_OK) == 0)
        return ERR_OK;
    return make_passphrase(path, why);
}

static void list_key(json_t *list, const char *name, const struct key_info *info)
{
    json_t *row = json_object();
    struct span pub = span_of(info->public_key, sizeof(info->public_key));
    bool has_public = info->purpose != KEY_STORAGE;
    json_object_set_new(row, "key", json_string(name));
    json_object_set_new(row, "purpose", json_string(key_purpose_name(info->purpose)));
    json_object_set_new(row, "public_key", has_public ? facts_hex_json(pub) : json_string(""));
    json_object_set_new(row, "fingerprint",
                        has_public ? facts_fingerprint_json(pub) : json_string(""));
    json_array_append_new(list, row);
}

enum err cmd_folder_key(const struct cli *args, const char *dir, const char *name,
                        enum key_purpose purpose, const char *owner, json_t *list, struct why *why)
{
    char file[NAME_MAX], path[PATH_MAX];
    struct key_info info;
    snprintf(file, sizeof(file), "%s.key", name);
    enum err e = cmd_path(path, dir, file);
    if (e != ERR_OK)
        return why_set(why, e, "the path is too long");
    e = cmd_create_key(args, path, purpose, owner, NULL, &info, why);
    if (e == ERR_OK)
        list_key(list, file, &info);
    return e;
}

enum err cmd_folder_encrypt_key(const struct cli *args, const char *dir, const char *owner,
                                json_t *list, struct why *why)
{
    struct secret *key = NULL;
    struct key_info info;
    uint8_t pub[X25519_KEY];
    char hex[9], file[NAME_MAX], path[PATH_MAX];
    enum err e = secret_random(env_system(), X25519_KEY, &key);
    if (e == ERR_OK)
        e = x25519_public_of(key, pub);
    if (e != ERR_OK) {
        secret_free(key);
        return why_set(why, e, "no key could be made");
    }
    struct key_id id = key_id_of(KEY_LABEL_SUITE_1, span_of(pub, sizeof(pub)));
    text_hex(span_of(id.b, 4), hex);
    snprintf(file, sizeof(file), "encrypt-%s.key", hex);
    e = cmd_path(path, dir, file);
    if (e == ERR_OK)
        e = cmd_create_key(args, path, KEY_ENCRYPT, owner, key, &info, why);
    else
        e = why_set(why, e, "the path is too long");
    secret_free(key);
    if (e == ERR_OK)
        list_key(list, file, &info);
    return e;
}
