#include "certs/cmd.h"

#include "common/file.h"
#include "common/limits.h"
#include "common/text.h"

#include <string.h>

#define ENCRYPT_KEYS 3 /* of 7 days each: published for 21 days ahead */

struct folder_row {
    const char *name;
    enum key_purpose purpose;
};

static const struct folder_row agent_keys[] = {
    {"sign", KEY_SIGN},           {"encrypt-last-resort", KEY_ENCRYPT},
    {"transport", KEY_TRANSPORT}, {"log", KEY_LOG},
    {"storage", KEY_STORAGE},
};

static const struct folder_row broker_keys[] = {
    {"transport", KEY_TRANSPORT},
    {"log", KEY_LOG},
    {"witness", KEY_WITNESS},
};

static enum err make_folder(const struct cli *args, const char *dir, const char *owner,
                            const struct folder_row *rows, size_t n, json_t *list, struct why *why)
{
    enum err e = cmd_keys_folder(args, dir, why);
    for (size_t i = 0; e == ERR_OK && i < n; i++)
        e = cmd_folder_key(args, dir, rows[i].name, rows[i].purpose, owner, list, why);
    return e;
}

static int print_folder(const struct cli *args, const char *dir, const char *owner, json_t *list,
                        const char *sentence)
{
    struct facts f;
    facts_init(&f, args);
    facts_text(&f, "folder", dir);
    facts_text(&f, "owner", owner);
    facts_list(&f, "keys", list);
    return facts_print(&f, "%s", sentence);
}

int cmd_agent_init(const struct cli *args)
{
    struct why why = {0};
    const char *agency = cli_operand(args, 0), *dir = cli_value(args, "keys");
    if (!text_is_agency(span_str(agency)))
        return cli_usage(args, "%.80s is not an agency's name", agency);
    json_t *list = json_array();
    enum err e = make_folder(args, dir, agency, agent_keys,
                             sizeof(agent_keys) / sizeof(agent_keys[0]), list, &why);
    for (size_t i = 0; e == ERR_OK && i < ENCRYPT_KEYS; i++)
        e = cmd_folder_encrypt_key(args, dir, agency, list, &why);
    if (e != ERR_OK) {
        json_decref(list);
        return cmd_fail(args, e, "%s", why.text);
    }
    return print_folder(args, dir, agency, list, "Made the agent's keys.");
}

int cmd_agent_csr(const struct cli *args)
{
    struct why why = {0};
    struct key_info info;
    struct secret *key = NULL;
    struct buf csr;
    char path[PATH_MAX];
    const char *agency = cli_operand(args, 0), *to = cli_value(args, "to");
    buf_init(&csr, LIMIT_CERT);
    enum err e = cmd_path(path, cli_value(args, "keys"), "sign.key");
    if (e == ERR_OK)
        e = cmd_open_key(args, path, KEY_SIGN, &info, &key, &why);
    if (e == ERR_OK && strcmp(info.owner, agency) != 0)
        e = why_set(&why, ERR_WRONG_USAGE, "%.150s: a key of %s", path, info.owner);
    if (e == ERR_OK) {
        e = x509_make_csr(key, agency, cli_value(args, "trust-domain"), &csr);
        if (e != ERR_OK)
            e = why_set(&why, e, "the request cannot be made: %s", err_meaning(e));
    }
    struct span ders[] = {buf_span(&csr)};
    if (e == ERR_OK)
        e = cmd_write_pem(to, X509_PEM_CSR, ders, 1, &why);
    secret_free(key);
    buf_fini(&csr);
    if (e != ERR_OK)
        return cmd_fail(args, e, "%s", why.text);
    struct facts f;
    facts_init(&f, args);
    facts_text(&f, "file", to);
    facts_text(&f, "agency", agency);
    facts_key(&f, span_of(info.public_key, sizeof(info.public_key)));
    return facts_print(&f, "Made a request for the agency's CA. Compare the fingerprint aloud.");
}

static enum err read_public(const char *dir, const char *name, enum key_purpose purpose,
                            struct key_info *ret, struct why *why)
{
    char path[PATH_MAX], file[32];
    snprintf(file, sizeof(file), "%s.key", name);
    enum err e = cmd_path(path, dir, file);
    if (e == ERR_OK)
        e = keystore_peek(path, ret);
    if (e != ERR_OK)
        return why_set(why, e, "%.150s/%s: %s", dir, file, err_meaning(e));
    if (ret->purpose != purpose)
        return why_set(why, ERR_WRONG_USAGE, "%.150s/%s: a key of purpose %s", dir, file,
                       key_purpose_name(ret->purpose));
    return ERR_OK;
}

/* The fragment that the directory's author names under `public`. */
static enum err write_public(const char *path, const char *name, const struct key_info *keys,
                             struct why *why)
{
    struct buf text;
    buf_init(&text, LIMIT_CONFIG);
    buf_printf(&text, "# Public keys of broker %s, for the directory.\nname: %s\ntransport:\n  - ",
               name, name);
    buf_put_u8(&text, '"');
    text_put_hex(&text, span_of(keys[0].public_key, 32));
    buf_put_str(&text, "\"\nlog: \"");
    text_put_hex(&text, span_of(keys[1].public_key, 32));
    buf_put_str(&text, "\"\nwitness: \"");
    text_put_hex(&text, span_of(keys[2].public_key, 32));
    buf_put_str(&text, "\"\n");
    enum err e = text.err;
    e = e == ERR_OK ? cmd_write(path, buf_span(&text), why) : why_set(why, e, "no public file");
    buf_fini(&text);
    return e;
}

static enum err read_broker(const char *dir, struct key_info keys[3], struct why *why)
{
    enum err e = ERR_OK;
    for (size_t i = 0; e == ERR_OK && i < 3; i++)
        e = read_public(dir, broker_keys[i].name, broker_keys[i].purpose, &keys[i], why);
    return e;
}

int cmd_broker_init(const struct cli *args)
{
    struct why why = {0};
    struct key_info keys[3];
    const char *name = cli_operand(args, 0), *dir = cli_value(args, "keys");
    if (!text_is_broker(span_str(name)))
        return cli_usage(args, "%.80s is not a broker's name", name);
    json_t *list = json_array();
    enum err e = make_folder(args, dir, name, broker_keys,
                             sizeof(broker_keys) / sizeof(broker_keys[0]), list, &why);
    if (e == ERR_OK)
        e = read_broker(dir, keys, &why);
    if (e == ERR_OK)
        e = write_public(cli_value(args, "to"), name, keys, &why);
    if (e != ERR_OK) {
        json_decref(list);
        return cmd_fail(args, e, "%s", why.text);
    }
    return print_folder(args, dir, name, list,
                        "Made the broker's keys and its public file for the directory.");
}

int cmd_broker_show(const struct cli *args)
{
    struct why why = {0};
    struct key_info keys[3];
    const char *dir = cli_value(args, "keys"), *to = cli_value(args, "to");
    enum err e = read_broker(dir, keys, &why);
    if (e == ERR_OK && to != NULL)
        e = write_public(to, keys[0].owner, keys, &why);
    if (e != ERR_OK)
        return cmd_fail(args, e, "%s", why.text);
    json_t *list = json_array();
    for (size_t i = 0; i < 3; i++) {
        json_t *row = json_object();
        struct span pub = span_of(keys[i].public_key, 32);
        json_object_set_new(row, "key", json_string(broker_keys[i].name));
        json_object_set_new(row, "public_key", facts_hex_json(pub));
        json_object_set_new(row, "fingerprint", facts_fingerprint_json(pub));
        json_array_append_new(list, row);
    }
    return print_folder(args, dir, keys[0].owner, list, "The broker's keys.");
}
