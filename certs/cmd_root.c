#include "certs/cmd.h"

#include "common/file.h"
#include "common/limits.h"
#include "common/text.h"

#include <stdlib.h>
#include <string.h>

struct holder {
    char name[80];
    struct ed25519_public key;
    struct key_id id;
    bool online; /* a timestamp key */
};

struct holders {
    struct holder items[LIMIT_ROOT_KEYS];
    size_t n;
};

static int by_id(const void *a, const void *b)
{
    return memcmp(((const struct holder *)a)->id.b, ((const struct holder *)b)->id.b, 16);
}

/* A key file, or HOLDER=HEX for a key whose file is elsewhere. */
static enum err read_holder(const char *text, bool online, struct holder *ret, struct why *why)
{
    struct key_info info;
    const char *equals = strrchr(text, '=');
    struct span hex = equals == NULL ? span_of(NULL, 0) : span_str(equals + 1);
    ret->online = online;
    if (equals != NULL && text_hex_decode(hex, sizeof(ret->key.b), ret->key.b) == ERR_OK) {
        enum err e =
            span_to_str(span_of(text, (size_t)(equals - text)), ret->name, sizeof(ret->name));
        if (e != ERR_OK)
            return why_set(why, e, "the holder's name is too long");
    } else {
        enum err e = keystore_peek(text, &info);
        if (e != ERR_OK)
            return why_set(why, e, "%.200s: %s", text, err_meaning(e));
        if (info.purpose != (online ? KEY_TIMESTAMP : KEY_ROOT))
            return why_set(why, ERR_WRONG_USAGE, "%.150s: a key of purpose %s, not %s", text,
                           key_purpose_name(info.purpose), online ? "timestamp" : "root");
        memcpy(ret->name, info.owner, sizeof(ret->name));
        memcpy(ret->key.b, info.public_key, sizeof(ret->key.b));
    }
    ret->id = key_id_of(KEY_LABEL_SIGN, span_of(ret->key.b, sizeof(ret->key.b)));
    return ERR_OK;
}

static enum err read_holders(const struct cli *args, const char *option, bool online,
                             struct holders *h, struct why *why)
{
    for (size_t i = 0; i < cli_count(args, option); i++) {
        if (h->n == LIMIT_ROOT_KEYS)
            return why_set(why, ERR_TOO_LARGE, "over %d keys", LIMIT_ROOT_KEYS);
        enum err e = read_holder(cli_values(args, option, i), online, &h->items[h->n], why);
        if (e != ERR_OK)
            return e;
        h->n++;
    }
    return ERR_OK;
}

static enum err build_root(const struct holders *h, const char *federation, uint64_t version,
                           uint32_t threshold, uint64_t lifetime_ms, struct buf *out,
                           struct why *why)
{
    Sp__RootKey keys[LIMIT_ROOT_KEYS];
    Sp__RootKey *list[LIMIT_ROOT_KEYS];
    ProtobufCBinaryData offline[LIMIT_ROOT_KEYS], online[LIMIT_ROOT_KEYS];
    Sp__Role root = SP__ROLE__INIT, timestamp = SP__ROLE__INIT;
    for (size_t i = 0; i < h->n; i++) {
        const struct holder *from = &h->items[i];
        sp__root_key__init(&keys[i]);
        keys[i].key_id = pb_bytes(span_of(from->id.b, sizeof(from->id.b)));
        keys[i].public_key = pb_bytes(span_of(from->key.b, sizeof(from->key.b)));
        keys[i].holder = pb_string(from->name);
        list[i] = &keys[i];
        if (from->online)
            online[timestamp.n_key_ids++] = keys[i].key_id;
        else
            offline[root.n_key_ids++] = keys[i].key_id;
    }
    root.key_ids = offline;
    root.threshold = threshold;
    timestamp.key_ids = online;
    timestamp.threshold = 1;
    Sp__Root r = SP__ROOT__INIT;
    r.version = version;
    r.federation = pb_string(federation);
    r.issued_ms = env_now_ms(env_system());
    r.expires_ms = r.issued_ms + lifetime_ms;
    r.keys = list;
    r.n_keys = h->n;
    r.root = &root;
    r.directory = &root;
    r.timestamp = &timestamp;
    return document_build(DOCUMENT_ROOT, &r, out, why);
}

static bool role_has(const Sp__Role *role, struct span id)
{
    for (size_t i = 0; i < role->n_key_ids; i++) {
        if (span_equal(pb_span(role->key_ids[i]), id))
            return true;
    }
    return false;
}

static enum err put_root(struct facts *f, const char *path, const struct document *d,
                         struct why *why)
{
    const Sp__Root *r = document_root(d);
    struct document_signatures found;
    enum err e = document_count(d, r, r->root, &found, why);
    if (e != ERR_OK)
        return e;
    facts_text(f, "file", path);
    facts_text(f, "federation", r->federation);
    facts_number(f, "version", r->version);
    facts_time(f, "issued", r->issued_ms);
    facts_time(f, "expires", r->expires_ms);
    facts_number(f, "threshold", r->root->threshold);
    facts_number(f, "signatures", found.count);
    facts_flag(f, "complete", found.count >= found.threshold);
    facts_hex(f, "sha256", digest_span(&d->sha256));
    json_t *keys = json_array();
    for (size_t i = 0; i < r->n_keys; i++) {
        const Sp__RootKey *k = r->keys[i];
        json_t *row = json_object();
        bool online = role_has(r->timestamp, pb_span(k->key_id));
        json_object_set_new(row, "holder", json_string(k->holder));
        json_object_set_new(row, "role", json_string(online ? "timestamp" : "root, directory"));
        json_object_set_new(row, "key_id", facts_hex_json(pb_span(k->key_id)));
        json_object_set_new(row, "fingerprint", facts_fingerprint_json(pb_span(k->public_key)));
        json_array_append_new(keys, row);
    }
    facts_list(f, "keys", keys);
    return ERR_OK;
}

static int print_root(const struct cli *args, const char *path, const struct document *d,
                      const char *sentence)
{
    struct why why = {0};
    struct facts f;
    facts_init(&f, args);
    enum err e = put_root(&f, path, d, &why);
    if (e != ERR_OK) {
        json_decref(f.object);
        return cmd_fail(args, e, "%s", why.text);
    }
    return facts_print(&f, "%s", sentence);
}

/* Federation and version of a new root: given, or those that follow --previous. */
static enum err next_root(const struct cli *args, struct document *previous,
                          const char **federation, uint64_t *version, struct why *why)
{
    const char *path = cli_value(args, "previous");
    *federation = cli_value(args, "federation");
    *version = 1;
    if (path == NULL)
        return *federation != NULL ? ERR_OK
                                   : why_set(why, ERR_USAGE, "give --federation or --previous");
    enum err e = cmd_read_document(DOCUMENT_ROOT, path, previous, why);
    if (e != ERR_OK)
        return e;
    *federation = document_root(previous)->federation;
    *version = document_root(previous)->version + 1;
    return ERR_OK;
}

int cmd_root_init(const struct cli *args)
{
    struct why why = {0};
    struct holders h = {0};
    struct document previous = {0}, made = {0};
    struct buf bytes;
    uint64_t threshold, lifetime, version;
    const char *federation, *path = cli_value(args, "to");
    buf_init(&bytes, LIMIT_DOCUMENT);
    if (cli_u64(args, "threshold", 1, LIMIT_ROOT_KEYS, 1, &threshold) != ERR_OK ||
        cli_duration(args, "valid", CMD_DAY_MS, LIMIT_ROOT_MS, 365 * CMD_DAY_MS, &lifetime) !=
            ERR_OK)
        return err_exit(ERR_USAGE);
    enum err e = read_holders(args, "key", false, &h, &why);
    if (e == ERR_OK)
        e = read_holders(args, "timestamp-key", true, &h, &why);
    if (e == ERR_OK)
        e = next_root(args, &previous, &federation, &version, &why);
    qsort(h.items, h.n, sizeof(h.items[0]), by_id);
    if (e == ERR_OK)
        e = build_root(&h, federation, version, (uint32_t)threshold, lifetime, &bytes, &why);
    if (e == ERR_OK)
        e = document_read(DOCUMENT_ROOT, buf_span(&bytes), &made, &why);
    if (e == ERR_OK) {
        e = file_create(path, buf_span(&bytes), 0644);
        if (e != ERR_OK)
            e = why_set(&why, e, "%.200s: %s", path, err_meaning(e));
    }
    if (e == ERR_OK)
        e = cmd_transcript(path, &why, "root version %llu of %s proposed with %zu keys",
                           (unsigned long long)version, federation, h.n);
    int exit_code = e == ERR_OK ? print_root(args, path, &made,
                                             "Made a root without signatures. Its holders sign it "
                                             "with `sealpost-certs root sign`.")
                                : cmd_fail(args, e, "%s", why.text);
    document_fini(&previous);
    document_fini(&made);
    buf_fini(&bytes);
    return exit_code;
}

static enum err add_signature(struct document *d, const struct secret *key, const char *path,
                              struct why *why)
{
    struct buf signed_bytes;
    struct document next = {0};
    buf_init(&signed_bytes, LIMIT_DOCUMENT);
    enum err e = dsse_add_signature(buf_span(&d->bytes), key, &signed_bytes);
    if (e != ERR_OK)
        e = why_set(why, e,
                    e == ERR_EXISTS ? "this key has signed it already" : "it cannot be signed");
    if (e == ERR_OK)
        e = document_read(d->kind, buf_span(&signed_bytes), &next, why);
    if (e == ERR_OK)
        e = cmd_write(path, buf_span(&signed_bytes), why);
    if (e == ERR_OK) {
        document_fini(d);
        *d = next;
    } else {
        document_fini(&next);
    }
    buf_fini(&signed_bytes);
    return e;
}

int cmd_root_sign(const struct cli *args)
{
    struct why why = {0};
    struct document d = {0}, previous = {0};
    struct key_info info;
    struct secret *key = NULL;
    const char *path = cli_operand(args, 0), *before = cli_value(args, "previous");
    enum err e = cmd_read_document(DOCUMENT_ROOT, path, &d, &why);
    if (e == ERR_OK && before != NULL)
        e = cmd_read_document(DOCUMENT_ROOT, before, &previous, &why);
    if (e == ERR_OK)
        e = cmd_open_key(args, cli_value(args, "key"), KEY_ROOT, &info, &key, &why);
    if (e == ERR_OK) {
        struct key_id id = key_id_of(KEY_LABEL_SIGN, span_of(info.public_key, 32));
        struct span bytes = span_of(id.b, sizeof(id.b));
        if (!role_has(document_root(&d)->root, bytes) &&
            (before == NULL || !role_has(document_root(&previous)->root, bytes)))
            e = why_set(&why, ERR_WRONG_USAGE, "the key of %s is no root key of it", info.owner);
    }
    if (e == ERR_OK)
        e = add_signature(&d, key, path, &why);
    if (e == ERR_OK)
        e = cmd_transcript(path, &why, "root version %llu signed by %s",
                           (unsigned long long)document_root(&d)->version, info.owner);
    int exit_code = e == ERR_OK ? print_root(args, path, &d, "Signed the root.")
                                : cmd_fail(args, e, "%s", why.text);
    secret_free(key);
    document_fini(&d);
    document_fini(&previous);
    return exit_code;
}

/* Keeps the root that stands under its version's name. */
static enum err keep_old(const char *dir, const struct document *old, struct why *why)
{
    char name[64], path[PATH_MAX];
    snprintf(name, sizeof(name), "root.%llu.dsse", (unsigned long long)document_root(old)->version);
    enum err e = cmd_path(path, dir, name);
    return e == ERR_OK ? cmd_write(path, buf_span(&old->bytes), why)
                       : why_set(why, e, "the path is too long");
}

/* Does the directory that stands have enough signatures of the new root's keys? If not, daemons
 * keep what they have until it is signed again. */
static bool directory_holds(const char *dir, const struct document *root)
{
    struct document d = {0};
    struct why why;
    enum err e = cmd_read_in(DOCUMENT_DIRECTORY, dir, FEDERATION_DIRECTORY, &d, &why);
    if (e == ERR_OK)
        e = document_signed(&d, document_root(root), document_root(root)->directory, &why);
    document_fini(&d);
    return e == ERR_OK || e == ERR_NOT_FOUND;
}

static int print_published(const struct cli *args, const char *dir, const char *path,
                           const struct document *d)
{
    struct why why = {0};
    struct facts f;
    facts_init(&f, args);
    enum err e = put_root(&f, path, d, &why);
    if (e != ERR_OK) {
        json_decref(f.object);
        return cmd_fail(args, e, "%s", why.text);
    }
    bool holds = directory_holds(dir, d);
    facts_flag(&f, "directory_holds", holds);
    return facts_print(&f, "%s",
                       holds
                           ? "Published the root."
                           : "Published the root. The directory needs signatures of its keys now: "
                             "`sealpost-certs directory sign`.");
}

int cmd_root_publish(const struct cli *args)
{
    struct why why = {0};
    struct document d = {0}, old = {0};
    char path[PATH_MAX];
    const char *dir = cli_value(args, "federation");
    enum err e = cmd_read_document(DOCUMENT_ROOT, cli_operand(args, 0), &d, &why);
    if (e == ERR_OK)
        e = file_make_dir(dir, 0755);
    if (e == ERR_OK)
        e = cmd_path(path, dir, FEDERATION_ROOT);
    if (e != ERR_OK)
        goto out;
    e = cmd_read_document(DOCUMENT_ROOT, path, &old, &why);
    if (e == ERR_OK) {
        e = root_succeeds(&old, &d, &why);
        if (e == ERR_OK)
            e = keep_old(dir, &old, &why);
    } else if (e == ERR_NOT_FOUND) {
        e = root_self_signed(&d, &why);
    }
    if (e == ERR_OK)
        e = cmd_write(path, buf_span(&d.bytes), &why);
    if (e == ERR_OK)
        e = cmd_transcript(path, &why, "root version %llu published",
                           (unsigned long long)document_root(&d)->version);
out:
    document_fini(&old);
    int exit_code = e == ERR_OK ? print_published(args, dir, path, &d)
                                : cmd_fail(args, e, "%s", why.text[0] != '\0' ? why.text : dir);
    document_fini(&d);
    return exit_code;
}

int cmd_root_show(const struct cli *args)
{
    struct why why = {0};
    struct document d = {0};
    enum err e = cmd_read_document(DOCUMENT_ROOT, cli_operand(args, 0), &d, &why);
    int exit_code = e == ERR_OK ? print_root(args, cli_operand(args, 0), &d, "What the root says.")
                                : cmd_fail(args, e, "%s", why.text);
    document_fini(&d);
    return exit_code;
}

int cmd_root_verify(const struct cli *args)
{
    struct why why = {0};
    struct document d = {0}, previous = {0};
    const char *path = cli_operand(args, 0), *before = cli_value(args, "previous");
    enum err e = cmd_read_document(DOCUMENT_ROOT, path, &d, &why);
    if (e == ERR_OK && before != NULL)
        e = cmd_read_document(DOCUMENT_ROOT, before, &previous, &why);
    if (e == ERR_OK)
        e = before != NULL ? root_succeeds(&previous, &d, &why) : root_self_signed(&d, &why);
    if (e == ERR_OK && document_root(&d)->expires_ms <= env_now_ms(env_system()))
        e = why_set(&why, ERR_EXPIRED, "the root is past its expiry");
    int exit_code = e == ERR_OK ? print_root(args, path, &d, "The root holds.")
                                : cmd_fail(args, e, "%s", why.text);
    document_fini(&d);
    document_fini(&previous);
    return exit_code;
}
