#include "certs/documents.h"

#include "common/limits.h"

#include <string.h>

struct kind_row {
    const char *type;
    const char *name;
    const ProtobufCMessageDescriptor *descriptor;
};

static const struct kind_row kinds[] = {
    [DOCUMENT_ROOT] = {DSSE_TYPE_ROOT, "root", &sp__root__descriptor},
    [DOCUMENT_DIRECTORY] = {DSSE_TYPE_DIRECTORY, "directory", &sp__directory__descriptor},
    [DOCUMENT_TIMESTAMP] = {DSSE_TYPE_TIMESTAMP, "timestamp", &sp__timestamp__descriptor},
    [DOCUMENT_STATEMENT] = {DSSE_TYPE_STATEMENT, "statement", &sp__statement__descriptor},
};

static enum err check_payload(enum document_kind kind, const void *payload, struct why *why)
{
    switch (kind) {
    case DOCUMENT_ROOT:
        return root_check(payload, why);
    case DOCUMENT_DIRECTORY:
        return directory_check(payload, why);
    case DOCUMENT_TIMESTAMP:
        return timestamp_check(payload, why);
    case DOCUMENT_STATEMENT:
        return statement_check(payload, why);
    }
    return ERR_MALFORMED;
}

enum err document_read(enum document_kind kind, struct span bytes, struct document *ret,
                       struct why *why)
{
    const struct kind_row *row = &kinds[kind];
    struct document d = {.kind = kind};
    buf_init(&d.bytes, LIMIT_DOCUMENT);
    buf_put(&d.bytes, bytes);
    enum err e = d.bytes.err;
    if (e == ERR_OK)
        e = dsse_decode(buf_span(&d.bytes), LIMIT_DOCUMENT, &d.dsse);
    if (e != ERR_OK) {
        e = why_set(why, e, "%s: the signed document does not decode", row->name);
        goto out;
    }
    if (strcmp(dsse_type(d.dsse), row->type) != 0) {
        e = why_set(why, ERR_WRONG_USAGE, "%s: a document of another kind", row->name);
        goto out;
    }
    e = pb_decode(row->descriptor, dsse_payload(d.dsse), LIMIT_DOCUMENT, &d.pb);
    if (e != ERR_OK) {
        e = why_set(why, e, "%s: the payload does not decode", row->name);
        goto out;
    }
    e = check_payload(kind, pb_view(d.pb), why);
    if (e != ERR_OK) {
        why_prefix(why, "%s", row->name);
        goto out;
    }
    d.sha256 = sha256(buf_span(&d.bytes));
    *ret = d;
    return ERR_OK;
out:
    document_fini(&d);
    return e;
}

void document_fini(struct document *d)
{
    if (d == NULL)
        return;
    pb_free(d->pb);
    dsse_free(d->dsse);
    buf_fini(&d->bytes);
    memset(d, 0, sizeof(*d));
}

/* The public keys of a role. A checked root has them all and few enough. */
static size_t role_keys(const Sp__Root *root, const Sp__Role *role,
                        struct ed25519_public keys[LIMIT_ROOT_KEYS])
{
    size_t n = 0;
    for (size_t i = 0; i < role->n_key_ids; i++) {
        for (size_t k = 0; k < root->n_keys; k++) {
            if (span_equal(pb_span(root->keys[k]->key_id), pb_span(role->key_ids[i])))
                memcpy(keys[n++].b, root->keys[k]->public_key.data, sizeof(keys[0].b));
        }
    }
    return n;
}

enum err document_count(const struct document *d, const Sp__Root *root, const Sp__Role *role,
                        struct document_signatures *ret, struct why *why)
{
    struct ed25519_public keys[LIMIT_ROOT_KEYS];
    struct document_signatures found = {.threshold = role->threshold};
    size_t n = role_keys(root, role, keys);
    enum err e = dsse_count(d->dsse, kinds[d->kind].type, keys, n, &found.count);
    if (e != ERR_OK)
        return why_set(why, e, "%s: a signature does not verify", kinds[d->kind].name);
    *ret = found;
    return ERR_OK;
}

enum err document_signed(const struct document *d, const Sp__Root *root, const Sp__Role *role,
                         struct why *why)
{
    struct document_signatures found;
    enum err e = document_count(d, root, role, &found, why);
    if (e != ERR_OK)
        return e;
    if (found.threshold == 0 || found.count < found.threshold)
        return why_set(why, ERR_BAD_SIGNATURE, "%s: %zu of %zu signatures that it needs",
                       kinds[d->kind].name, found.count, found.threshold);
    return ERR_OK;
}

enum err root_self_signed(const struct document *root, struct why *why)
{
    const Sp__Root *r = document_root(root);
    return document_signed(root, r, r->root, why);
}

enum err root_succeeds(const struct document *from, const struct document *to, struct why *why)
{
    const Sp__Root *a = document_root(from);
    const Sp__Root *b = document_root(to);
    if (strcmp(a->federation, b->federation) != 0)
        return why_set(why, ERR_WRONG_USAGE, "root: of another federation");
    if (b->version <= a->version)
        return why_set(why, ERR_REPLAY, "root: version %llu does not follow version %llu",
                       (unsigned long long)b->version, (unsigned long long)a->version);
    if (b->version != a->version + 1)
        return why_set(why, ERR_NOT_FOUND, "root: version %llu is missing",
                       (unsigned long long)a->version + 1);
    enum err e = document_signed(to, a, a->root, why);
    if (e != ERR_OK) {
        why_prefix(why, "by the keys of version %llu", (unsigned long long)a->version);
        return e;
    }
    return root_self_signed(to, why);
}

static enum err encode(enum document_kind kind, const void *payload, struct buf *out,
                       struct why *why)
{
    enum err e = check_payload(kind, payload, why);
    if (e != ERR_OK)
        return e;
    pb_encode(payload, out);
    return out->err == ERR_OK ? ERR_OK : why_set(why, out->err, "it is too large");
}

enum err document_build(enum document_kind kind, const void *payload, struct buf *out,
                        struct why *why)
{
    struct buf bytes;
    buf_init(&bytes, LIMIT_DOCUMENT);
    enum err e = encode(kind, payload, &bytes, why);
    if (e == ERR_OK) {
        dsse_unsigned(kinds[kind].type, buf_span(&bytes), out);
        e = out->err;
    }
    buf_fini(&bytes);
    return e;
}

enum err document_build_signed(enum document_kind kind, const void *payload,
                               const struct secret *key, struct buf *out, struct why *why)
{
    struct buf bytes;
    buf_init(&bytes, LIMIT_DOCUMENT);
    enum err e = encode(kind, payload, &bytes, why);
    if (e == ERR_OK) {
        dsse_sign(kinds[kind].type, buf_span(&bytes), key, out);
        e = out->err;
    }
    buf_fini(&bytes);
    return e;
}
