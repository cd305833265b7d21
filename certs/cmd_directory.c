#include "certs/cmd.h"

#include "certs/authoring.h"
#include "common/file.h"
#include "common/limits.h"
#include "common/text.h"
#include "proto/names.h"

#include <stdio.h>
#include <string.h>

/* Root and the directory that stands; the latter may be missing. */
struct standing {
    struct document root;
    struct document directory;
    bool has_directory;
};

static void standing_fini(struct standing *s)
{
    document_fini(&s->root);
    document_fini(&s->directory);
}

static enum err read_standing(const char *dir, struct standing *s, struct why *why)
{
    enum err e = cmd_read_in(DOCUMENT_ROOT, dir, FEDERATION_ROOT, &s->root, why);
    if (e != ERR_OK)
        return e;
    e = cmd_read_in(DOCUMENT_DIRECTORY, dir, FEDERATION_DIRECTORY, &s->directory, why);
    s->has_directory = e == ERR_OK;
    return e == ERR_NOT_FOUND ? ERR_OK : e;
}

/* Tells a person, on stderr with --json, what the new version changes. */
static void tell_changes(const struct cli *args, const struct standing *s,
                         const Sp__Directory *next)
{
    FILE *to = cli_flag(args, "json") ? stderr : stdout;
    const Sp__Directory *old = s->has_directory ? document_directory(&s->directory) : NULL;
    if (old == NULL)
        fprintf(to, "First directory of %s:\n", next->federation);
    else
        fprintf(to, "Version %llu changes version %llu so:\n", (unsigned long long)next->version,
                (unsigned long long)old->version);
    if (authoring_diff(old, next, to) == 0)
        fprintf(to, "  nothing but its dates\n");
    fputc('\n', to);
}

static enum err put_signatures(struct facts *f, const char *path, const struct document *d,
                               const struct document *root, struct why *why)
{
    const Sp__Directory *dir = document_directory(d);
    const Sp__Root *r = document_root(root);
    struct document_signatures found;
    enum err e = document_count(d, r, r->directory, &found, why);
    if (e != ERR_OK)
        return e;
    facts_text(f, "file", path);
    facts_text(f, "federation", dir->federation);
    facts_number(f, "version", dir->version);
    facts_time(f, "issued", dir->issued_ms);
    facts_time(f, "expires", dir->expires_ms);
    facts_number(f, "threshold", found.threshold);
    facts_number(f, "signatures", found.count);
    facts_flag(f, "complete", found.count >= found.threshold);
    facts_hex(f, "sha256", digest_span(&d->sha256));
    json_object_set_new(f->object, "fingerprint", facts_fingerprint_json(digest_span(&d->sha256)));
    return ERR_OK;
}

static int print_signed(const struct cli *args, const char *path, const struct document *d,
                        const struct document *root, const char *sentence)
{
    struct why why = {0};
    struct facts f;
    facts_init(&f, args);
    enum err e = put_signatures(&f, path, d, root, &why);
    if (e != ERR_OK) {
        json_decref(f.object);
        return cmd_fail(args, e, "%s", why.text);
    }
    return facts_print(&f, "%s", sentence);
}

int cmd_directory_init(const struct cli *args)
{
    struct why why = {0};
    struct config_error error = {0};
    struct standing s = {0};
    struct authoring *a = NULL;
    struct document made = {0};
    struct buf bytes;
    const char *path = cli_value(args, "to");
    buf_init(&bytes, LIMIT_DOCUMENT);
    enum err e = read_standing(cli_value(args, "federation"), &s, &why);
    if (e == ERR_OK) {
        uint64_t version = s.has_directory ? document_directory(&s.directory)->version + 1 : 1;
        e = authoring_load(cli_value(args, "from"), env_system(), version, &a, &error);
        if (e != ERR_OK)
            e = why_set(&why, e, "%.250s", error.text);
    }
    if (e == ERR_OK &&
        strcmp(authoring_directory(a)->federation, document_root(&s.root)->federation) != 0)
        e = why_set(&why, ERR_CONFIG, "the root is of federation %.200s",
                    document_root(&s.root)->federation);
    if (e == ERR_OK)
        e = document_build(DOCUMENT_DIRECTORY, authoring_directory(a), &bytes, &why);
    if (e == ERR_OK)
        e = document_read(DOCUMENT_DIRECTORY, buf_span(&bytes), &made, &why);
    if (e == ERR_OK)
        e = cmd_write(path, buf_span(&bytes), &why);
    if (e == ERR_OK)
        e = cmd_transcript(path, &why, "directory version %llu proposed from %s",
                           (unsigned long long)document_directory(&made)->version,
                           cli_value(args, "from"));
    int exit_code;
    if (e == ERR_OK) {
        tell_changes(args, &s, document_directory(&made));
        exit_code = print_signed(args, path, &made, &s.root,
                                 "Made a directory without signatures. The root's holders sign it "
                                 "with `sealpost-certs directory sign`.");
    } else {
        exit_code = cmd_fail(args, e, "%s", why.text);
    }
    standing_fini(&s);
    authoring_free(a);
    document_fini(&made);
    buf_fini(&bytes);
    return exit_code;
}

static bool is_signer(const Sp__Root *root, const struct key_info *info)
{
    struct key_id id = key_id_of(KEY_LABEL_SIGN, span_of(info->public_key, 32));
    for (size_t i = 0; i < root->directory->n_key_ids; i++) {
        if (span_equal(pb_span(root->directory->key_ids[i]), span_of(id.b, sizeof(id.b))))
            return true;
    }
    return false;
}

int cmd_directory_sign(const struct cli *args)
{
    struct why why = {0};
    struct standing s = {0};
    struct document d = {0}, made = {0};
    struct key_info info;
    struct secret *key = NULL;
    struct buf bytes;
    const char *path = cli_operand(args, 0);
    buf_init(&bytes, LIMIT_DOCUMENT);
    enum err e = read_standing(cli_value(args, "federation"), &s, &why);
    if (e == ERR_OK)
        e = cmd_read_document(DOCUMENT_DIRECTORY, path, &d, &why);
    if (e == ERR_OK)
        tell_changes(args, &s, document_directory(&d));
    if (e == ERR_OK)
        e = cmd_open_key(args, cli_value(args, "key"), KEY_ROOT, &info, &key, &why);
    if (e == ERR_OK && !is_signer(document_root(&s.root), &info))
        e = why_set(&why, ERR_WRONG_USAGE, "the root does not let %s sign directories", info.owner);
    if (e == ERR_OK) {
        e = dsse_add_signature(buf_span(&d.bytes), key, &bytes);
        if (e != ERR_OK)
            e = why_set(&why, e,
                        e == ERR_EXISTS ? "this key has signed it already" : "it cannot be signed");
    }
    if (e == ERR_OK)
        e = document_read(DOCUMENT_DIRECTORY, buf_span(&bytes), &made, &why);
    if (e == ERR_OK)
        e = cmd_write(path, buf_span(&bytes), &why);
    if (e == ERR_OK)
        e = cmd_transcript(path, &why, "directory version %llu signed by %s",
                           (unsigned long long)document_directory(&made)->version, info.owner);
    int exit_code = e == ERR_OK ? print_signed(args, path, &made, &s.root, "Signed the directory.")
                                : cmd_fail(args, e, "%s", why.text);
    secret_free(key);
    standing_fini(&s);
    document_fini(&d);
    document_fini(&made);
    buf_fini(&bytes);
    return exit_code;
}

/* One line of verifier key text (C2SP signed-note.md): NAME+HASH+BASE64(type || key). */
static void put_vkey(struct buf *out, const char *name, uint8_t type, struct span key)
{
    const struct span parts[] = {span_str(name), span_of("\n", 1), span_of(&type, 1), key};
    struct digest hash = sha256_parts(parts, sizeof(parts) / sizeof(parts[0]));
    uint8_t raw[33];
    raw[0] = type;
    memcpy(raw + 1, key.data, 32);
    buf_printf(out, "%s+", name);
    text_put_hex(out, span_of(hash.b, 4));
    buf_put_u8(out, '+');
    text_put_base64(out, span_of(raw, sizeof(raw)));
}

/* C2SP tlog-policy: the brokers' logs and witnesses, and how many witnesses evidence needs. */
static enum err write_policy(const char *dir, const Sp__Directory *d, uint64_t quorum,
                             struct why *why)
{
    struct buf text;
    char path[PATH_MAX], name[LIMIT_DOMAIN + LIMIT_BROKER + 16];
    buf_init(&text, LIMIT_DOCUMENT);
    for (size_t i = 0; i < d->n_brokers; i++) {
        const Sp__BrokerEntry *b = d->brokers[i];
        snprintf(name, sizeof(name), "%s/%s", d->federation, b->name);
        buf_put_str(&text, "log ");
        put_vkey(&text, name, 1, pb_span(b->log_key));
        buf_printf(&text, "\nwitness %s ", b->name);
        snprintf(name, sizeof(name), "%s/%s/witness", d->federation, b->name);
        put_vkey(&text, name, 4, pb_span(b->witness_key));
        buf_put_u8(&text, '\n');
    }
    if (quorum == 0) {
        buf_put_str(&text, "quorum none\n");
    } else {
        buf_printf(&text, "group brokers %llu", (unsigned long long)quorum);
        for (size_t i = 0; i < d->n_brokers; i++)
            buf_printf(&text, " %s", d->brokers[i]->name);
        buf_put_str(&text, "\nquorum brokers\n");
    }
    enum err e = text.err;
    if (e == ERR_OK)
        e = cmd_path(path, dir, FEDERATION_POLICY);
    e = e == ERR_OK ? cmd_write(path, buf_span(&text), why) : why_set(why, e, "no audit policy");
    buf_fini(&text);
    return e;
}

int cmd_directory_publish(const struct cli *args)
{
    struct why why = {0};
    struct standing s = {0};
    struct document d = {0};
    char path[PATH_MAX];
    uint64_t quorum;
    const char *dir = cli_value(args, "federation");
    if (cli_u64(args, "quorum", 0, LIMIT_BROKERS, 0, &quorum) != ERR_OK)
        return err_exit(ERR_USAGE);
    enum err e = read_standing(dir, &s, &why);
    if (e == ERR_OK)
        e = cmd_read_document(DOCUMENT_DIRECTORY, cli_operand(args, 0), &d, &why);
    if (e == ERR_OK)
        e = document_signed(&d, document_root(&s.root), document_root(&s.root)->directory, &why);
    if (e == ERR_OK &&
        strcmp(document_directory(&d)->federation, document_root(&s.root)->federation) != 0)
        e = why_set(&why, ERR_WRONG_USAGE, "the directory is of another federation");
    if (e == ERR_OK && s.has_directory &&
        document_directory(&d)->version <= document_directory(&s.directory)->version)
        e = why_set(&why, ERR_REPLAY, "version %llu does not follow version %llu",
                    (unsigned long long)document_directory(&d)->version,
                    (unsigned long long)document_directory(&s.directory)->version);
    if (e == ERR_OK)
        e = cmd_path(path, dir, FEDERATION_DIRECTORY);
    if (e == ERR_OK)
        e = cmd_write(path, buf_span(&d.bytes), &why);
    if (e == ERR_OK)
        e = write_policy(dir, document_directory(&d), quorum, &why);
    if (e == ERR_OK)
        e = cmd_transcript(path, &why, "directory version %llu published",
                           (unsigned long long)document_directory(&d)->version);
    int exit_code = e == ERR_OK ? print_signed(args, path, &d, &s.root,
                                               "Published the directory. The timestamp service "
                                               "signs over it next.")
                                : cmd_fail(args, e, "%s", why.text);
    standing_fini(&s);
    document_fini(&d);
    return exit_code;
}

static json_t *agency_rows(const Sp__Directory *d)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < d->n_agencies; i++) {
        const Sp__AgencyEntry *a = d->agencies[i];
        json_t *row = json_object(), *homes = json_array(), *codes = json_array();
        for (size_t k = 0; k < a->n_homes; k++)
            json_array_append_new(homes, json_string(a->homes[k]));
        for (size_t k = 0; k < a->n_handling; k++)
            json_array_append_new(codes, json_string(a->handling[k]));
        json_object_set_new(row, "name", json_string(a->name));
        json_object_set_new(row, "homes", homes);
        json_object_set_new(row, "handling", codes);
        json_object_set_new(row, "ceiling", json_string(name_of(NAME_LEVEL, (int)a->ceiling)));
        json_object_set_new(row, "trust_domain", json_string(a->trust_domain));
        json_object_set_new(row, "ca_sha256", facts_hex_json(pb_span(a->ca_spki)));
        json_array_append_new(rows, row);
    }
    return rows;
}

static json_t *broker_rows(const Sp__Directory *d)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < d->n_brokers; i++) {
        const Sp__BrokerEntry *b = d->brokers[i];
        json_t *row = json_object();
        json_object_set_new(row, "name", json_string(b->name));
        json_object_set_new(row, "endpoint", json_string(b->endpoint));
        json_object_set_new(row, "ceiling", json_string(name_of(NAME_LEVEL, (int)b->ceiling)));
        json_object_set_new(row, "transport", facts_hex_json(pb_span(b->keys[0]->public_key)));
        json_object_set_new(row, "log", facts_hex_json(pb_span(b->log_key)));
        json_object_set_new(row, "witness", facts_hex_json(pb_span(b->witness_key)));
        json_array_append_new(rows, row);
    }
    return rows;
}

static json_t *link_rows(const Sp__Directory *d)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < d->n_links; i++) {
        const Sp__LinkEntry *l = d->links[i];
        json_t *row = json_object();
        json_object_set_new(row, "a", json_string(l->a));
        json_object_set_new(row, "b", json_string(l->b));
        json_object_set_new(row, "ceiling", json_string(name_of(NAME_LEVEL, (int)l->ceiling)));
        json_object_set_new(row, "cost", json_integer(l->cost));
        json_array_append_new(rows, row);
    }
    return rows;
}

int cmd_directory_show(const struct cli *args)
{
    struct why why = {0};
    struct document d = {0};
    const char *path = cli_operand(args, 0);
    enum err e = cmd_read_document(DOCUMENT_DIRECTORY, path, &d, &why);
    if (e != ERR_OK)
        return cmd_fail(args, e, "%s", why.text);
    const Sp__Directory *dir = document_directory(&d);
    struct facts f;
    facts_init(&f, args);
    facts_text(&f, "file", path);
    facts_text(&f, "federation", dir->federation);
    facts_number(&f, "version", dir->version);
    facts_time(&f, "issued", dir->issued_ms);
    facts_time(&f, "expires", dir->expires_ms);
    facts_hex(&f, "sha256", digest_span(&d.sha256));
    facts_list(&f, "agencies", agency_rows(dir));
    facts_list(&f, "brokers", broker_rows(dir));
    facts_list(&f, "links", link_rows(dir));
    document_fini(&d);
    return facts_print(&f, "What the directory says; signatures: `sealpost-certs directory "
                           "verify`.");
}

int cmd_directory_verify(const struct cli *args)
{
    struct trust *t = NULL;
    struct buf root;
    char path[PATH_MAX], why[2048] = "";
    const char *dir = cli_value(args, "federation"), *pinned = cli_value(args, "root");
    uint64_t now = env_now_ms(env_system());
    buf_init(&root, LIMIT_DOCUMENT);
    enum err e = cmd_path(path, dir, FEDERATION_ROOT);
    if (e == ERR_OK)
        e = file_read(pinned != NULL ? pinned : path, LIMIT_DOCUMENT, &root);
    if (e != ERR_OK)
        return cmd_fail(args, e, "%.200s: %s", pinned != NULL ? pinned : path, err_meaning(e));
    e = trust_load(dir, buf_span(&root), NULL, now, &t, why, sizeof(why));
    if (e == ERR_OK && why[0] == '\0')
        e = trust_fresh(t, now);
    else if (e == ERR_OK)
        e = ERR_BAD_SIGNATURE;
    buf_fini(&root);
    if (e != ERR_OK) {
        trust_free(t);
        return cmd_fail(args, e, "%.400s", why[0] != '\0' ? why : err_meaning(e));
    }
    const Sp__Directory *d = trust_directory(t);
    struct facts f;
    facts_init(&f, args);
    facts_text(&f, "federation", trust_federation(t));
    facts_number(&f, "root_version", trust_versions(t).root_version);
    facts_number(&f, "directory_version", d->version);
    facts_time(&f, "directory_expires", d->expires_ms);
    facts_time(&f, "timestamp_expires", trust_timestamp_expires_ms(t));
    json_t *rows = json_array();
    for (size_t i = 0; i < d->n_agencies; i++) {
        struct trust_encryption key = {0};
        enum err good = trust_encryption_key(t, d->agencies[i]->name, 1, now, &key);
        json_t *row = json_object();
        json_object_set_new(row, "agency", json_string(d->agencies[i]->name));
        json_object_set_new(row, "state", json_string(err_code(good)));
        json_object_set_new(row, "leaf_expires",
                            facts_time_json(trust_leaf_expires_ms(t, d->agencies[i]->name)));
        json_object_set_new(row, "key_expires", facts_time_json(key.not_after_ms));
        json_array_append_new(rows, row);
    }
    facts_list(&f, "agencies", rows);
    trust_free(t);
    return facts_print(&f, pinned != NULL ? "Everything holds, from the pinned root on."
                                          : "Everything holds, but the root was not pinned "
                                            "(--root).");
}
