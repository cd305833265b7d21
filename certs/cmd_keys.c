#include "certs/cmd.h"

#include "certs/issue.h"
#include "certs/key_plan.h"
#include "common/file.h"
#include "common/limits.h"
#include "common/text.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TRANSPORT_MS (365 * CMD_DAY_MS)
#define LAST_RESORT "encrypt-last-resort.key"

struct plan {
    const char *agency;
    const char *keys;
    const char *federation;
    uint64_t now_ms;
    uint64_t serial; /* of the statement that stands; 0: none */
    struct key_slot slots[LIMIT_STATEMENT_KEYS];
    size_t n;
};

static bool is_encrypt_file(const char *name)
{
    size_t len = strlen(name);
    return strncmp(name, "encrypt-", 8) == 0 && len > 4 && strcmp(name + len - 4, ".key") == 0;
}

static enum err add_slot(struct plan *p, const char *file, struct why *why)
{
    char path[PATH_MAX];
    if (p->n == LIMIT_STATEMENT_KEYS)
        return why_set(why, ERR_TOO_LARGE, "over %d encryption keys", LIMIT_STATEMENT_KEYS);
    struct key_slot *s = &p->slots[p->n];
    struct key_info info;
    *s = (struct key_slot){.last_resort = strcmp(file, LAST_RESORT) == 0};
    snprintf(s->file, sizeof(s->file), "%s", file);
    enum err e = cmd_path(path, p->keys, file);
    if (e == ERR_OK)
        e = keystore_peek(path, &info);
    if (e != ERR_OK)
        return why_set(why, e, "%.100s: %s", file, err_meaning(e));
    if (info.purpose != KEY_ENCRYPT || strcmp(info.owner, p->agency) != 0)
        return why_set(why, ERR_WRONG_USAGE, "%.100s: no encryption key of %s", file, p->agency);
    memcpy(s->public_key, info.public_key, sizeof(s->public_key));
    s->created_ms = info.created_ms;
    s->id = key_id_of(KEY_LABEL_SUITE_1, span_of(info.public_key, 32));
    p->n++;
    return ERR_OK;
}

static enum err read_slots(struct plan *p, struct why *why)
{
    DIR *dir = opendir(p->keys);
    if (dir == NULL)
        return why_set(why, ERR_NOT_FOUND, "%.200s: no such folder", p->keys);
    enum err e = ERR_OK;
    p->n = 0;
    for (struct dirent *d; e == ERR_OK && (d = readdir(dir)) != NULL;) {
        if (is_encrypt_file(d->d_name))
            e = add_slot(p, d->d_name, why);
    }
    closedir(dir);
    return e;
}

/* Takes over the times that the standing statement gives to the keys. */
static enum err read_times(struct plan *p, struct why *why)
{
    struct document d = {0};
    char path[PATH_MAX];
    enum err e = cmd_agency_path(path, p->federation, p->agency, FEDERATION_STATEMENT, why);
    if (e == ERR_OK)
        e = cmd_read_document(DOCUMENT_STATEMENT, path, &d, why);
    if (e == ERR_NOT_FOUND)
        return ERR_OK;
    if (e != ERR_OK)
        return e;
    const Sp__Statement *s = document_statement(&d);
    p->serial = s->serial;
    for (size_t i = 0; i < s->n_keys; i++) {
        for (size_t k = 0; k < p->n; k++) {
            struct key_slot *slot = &p->slots[k];
            if (span_equal(pb_span(s->keys[i]->key_id), span_of(slot->id.b, 16))) {
                slot->not_before_ms = s->keys[i]->not_before_ms;
                slot->not_after_ms = s->keys[i]->not_after_ms;
            }
        }
    }
    document_fini(&d);
    return ERR_OK;
}

static enum err read_plan(const struct cli *args, struct plan *p, struct why *why)
{
    *p = (struct plan){.agency = cli_operand(args, 0),
                       .keys = cli_value(args, "keys"),
                       .federation = cli_value(args, "federation"),
                       .now_ms = env_now_ms(env_system())};
    enum err e = read_slots(p, why);
    return e == ERR_OK ? read_times(p, why) : e;
}

/* The leaf in the agency's folder must be that of the key that signs. */
static enum err check_leaf_key(const struct plan *p, const struct key_info *sign, struct why *why)
{
    struct buf leaf;
    char path[PATH_MAX];
    struct ed25519_public key;
    buf_init(&leaf, LIMIT_CERT);
    enum err e = cmd_agency_path(path, p->federation, p->agency, FEDERATION_CHAIN, why);
    if (e == ERR_OK)
        e = cmd_read_pem(path, X509_PEM_CERT, 0, LIMIT_CERT, &leaf, why);
    if (e == ERR_OK && (x509_ed25519_key(buf_span(&leaf), &key) != ERR_OK ||
                        memcmp(key.b, sign->public_key, sizeof(key.b)) != 0))
        e = why_set(why, ERR_WRONG_USAGE, "the certificate is not that of sign.key: issue one");
    buf_fini(&leaf);
    return e;
}

static enum err peek(const struct plan *p, const char *file, enum key_purpose purpose,
                     struct key_info *ret, struct why *why)
{
    char path[PATH_MAX];
    enum err e = cmd_path(path, p->keys, file);
    if (e == ERR_OK)
        e = keystore_peek(path, ret);
    if (e != ERR_OK)
        return why_set(why, e, "%.100s: %s", file, err_meaning(e));
    return ret->purpose == purpose ? ERR_OK
                                   : why_set(why, ERR_WRONG_USAGE, "%.100s: of purpose %s", file,
                                             key_purpose_name(ret->purpose));
}

static enum err sign_plan(const struct cli *args, const struct plan *p, struct buf *out,
                          struct why *why)
{
    struct issue_encryption_key keys[LIMIT_STATEMENT_KEYS];
    struct key_info transport, log, sign;
    struct secret *key = NULL;
    char path[PATH_MAX];
    struct issue_statement in = {
        .agency = p->agency,
        .serial = p->now_ms > p->serial ? p->now_ms : p->serial + 1,
        .lifetime_ms = LIMIT_STATEMENT_MS,
        .keys = keys,
        .transport_lifetime_ms = TRANSPORT_MS,
    };
    for (size_t i = 0; i < p->n; i++) {
        const struct key_slot *s = &p->slots[i];
        struct issue_encryption_key *k = &keys[in.n_keys++];
        memcpy(k->public_key, s->public_key, sizeof(k->public_key));
        k->not_before_ms = s->not_before_ms;
        k->not_after_ms = s->not_after_ms;
        k->last_resort = s->last_resort;
    }
    enum err e = peek(p, "transport.key", KEY_TRANSPORT, &transport, why);
    if (e == ERR_OK)
        e = peek(p, "log.key", KEY_LOG, &log, why);
    if (e == ERR_OK)
        e = cmd_path(path, p->keys, "sign.key");
    if (e == ERR_OK)
        e = cmd_open_key(args, path, KEY_SIGN, &sign, &key, why);
    if (e == ERR_OK)
        e = check_leaf_key(p, &sign, why);
    if (e == ERR_OK) {
        memcpy(in.transport, transport.public_key, sizeof(in.transport));
        memcpy(in.log.b, log.public_key, sizeof(in.log.b));
        e = issue_statement(env_system(), &in, key, out, why);
    }
    secret_free(key);
    return e;
}

static int print_statement(const struct cli *args, const char *path, const struct document *d,
                           const char *sentence)
{
    const Sp__Statement *s = document_statement(d);
    struct facts f;
    facts_init(&f, args);
    facts_text(&f, "file", path);
    facts_text(&f, "agency", s->agency);
    json_object_set_new(f.object, "serial", json_sprintf("%llu", (unsigned long long)s->serial));
    facts_time(&f, "issued", s->issued_ms);
    facts_time(&f, "expires", s->expires_ms);
    facts_hex(&f, "transport", pb_span(s->transport[0]->public_key));
    facts_hex(&f, "log", pb_span(s->log_key));
    facts_hex(&f, "sha256", digest_span(&d->sha256));
    json_object_set_new(f.object, "fingerprint", facts_fingerprint_json(digest_span(&d->sha256)));
    json_t *rows = json_array();
    for (size_t i = 0; i < s->n_keys; i++) {
        const Sp__EncryptionKey *k = s->keys[i];
        json_t *row = json_object();
        json_object_set_new(row, "key_id", facts_hex_json(pb_span(k->key_id)));
        json_object_set_new(row, "not_before", facts_time_json(k->not_before_ms));
        json_object_set_new(row, "not_after", facts_time_json(k->not_after_ms));
        json_object_set_new(row, "last_resort", json_boolean(k->last_resort));
        json_array_append_new(rows, row);
    }
    facts_list(&f, "keys", rows);
    return facts_print(&f, "%s", sentence);
}

static int issue(const struct cli *args, struct plan *p, const char *sentence)
{
    struct why why = {0};
    struct document made = {0};
    struct buf bytes;
    char path[PATH_MAX];
    buf_init(&bytes, LIMIT_DOCUMENT);
    key_plan_times(p->slots, p->n, p->now_ms);
    enum err e = sign_plan(args, p, &bytes, &why);
    if (e == ERR_OK)
        e = document_read(DOCUMENT_STATEMENT, buf_span(&bytes), &made, &why);
    if (e == ERR_OK)
        e = cmd_agency_path(path, p->federation, p->agency, FEDERATION_STATEMENT, &why);
    if (e == ERR_OK)
        e = cmd_write(path, buf_span(&bytes), &why);
    int exit_code = e == ERR_OK ? print_statement(args, path, &made, sentence)
                                : cmd_fail(args, e, "%s", why.text);
    document_fini(&made);
    buf_fini(&bytes);
    return exit_code;
}

int cmd_keys_issue(const struct cli *args)
{
    struct why why = {0};
    struct plan p;
    enum err e = read_plan(args, &p, &why);
    return e == ERR_OK ? issue(args, &p, "Signed the key statement.")
                       : cmd_fail(args, e, "%s", why.text);
}

/* Destroys keys that no message on its way can need any more. */
static enum err destroy_old(struct plan *p, struct why *why)
{
    size_t kept = 0;
    for (size_t i = 0; i < p->n; i++) {
        struct key_slot *s = &p->slots[i];
        char path[PATH_MAX];
        if (key_plan_is_old(s, p->now_ms)) {
            enum err e = cmd_path(path, p->keys, s->file);
            if (e != ERR_OK || unlink(path) != 0)
                return why_set(why, ERR_IO, "%.100s cannot be removed", s->file);
        } else {
            p->slots[kept++] = *s;
        }
    }
    p->n = kept;
    return ERR_OK;
}

int cmd_keys_rotate(const struct cli *args)
{
    struct why why = {0};
    struct plan p;
    json_t *list = json_array();
    enum err e = read_plan(args, &p, &why);
    if (e == ERR_OK)
        e = destroy_old(&p, &why);
    size_t missing = e == ERR_OK ? key_plan_missing(p.slots, p.n, p.now_ms) : 0;
    for (size_t i = 0; e == ERR_OK && i < missing; i++)
        e = cmd_folder_encrypt_key(args, p.keys, p.agency, list, &why);
    json_decref(list);
    if (e == ERR_OK)
        e = read_plan(args, &p, &why);
    return e == ERR_OK ? issue(args, &p, "Rotated the encryption keys and signed their statement.")
                       : cmd_fail(args, e, "%s", why.text);
}

int cmd_keys_show(const struct cli *args)
{
    struct why why = {0};
    struct document d = {0};
    char path[PATH_MAX];
    enum err e = cmd_agency_path(path, cli_value(args, "federation"), cli_operand(args, 0),
                                 FEDERATION_STATEMENT, &why);
    if (e == ERR_OK)
        e = cmd_read_document(DOCUMENT_STATEMENT, path, &d, &why);
    int exit_code = e == ERR_OK ? print_statement(args, path, &d, "What the key statement says.")
                                : cmd_fail(args, e, "%s", why.text);
    document_fini(&d);
    return exit_code;
}
