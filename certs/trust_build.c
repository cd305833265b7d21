#include "certs/trust_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum err follow_roots(const struct trust_input *in, struct document *ret, struct why *why)
{
    struct document root = {0};
    enum err e = document_read(DOCUMENT_ROOT, in->pinned_root, &root, why);
    if (e == ERR_OK)
        e = root_self_signed(&root, why);
    for (size_t i = 0; e == ERR_OK && i < in->n_roots; i++) {
        struct document next = {0};
        e = document_read(DOCUMENT_ROOT, in->roots[i], &next, why);
        if (e == ERR_OK)
            e = root_succeeds(&root, &next, why);
        if (e != ERR_OK) {
            document_fini(&next);
            break;
        }
        document_fini(&root);
        root = next;
    }
    if (e != ERR_OK) {
        document_fini(&root);
        return e;
    }
    *ret = root;
    return ERR_OK;
}

static enum err same_federation(const Sp__Root *root, const char *federation, const char *what,
                                struct why *why)
{
    if (strcmp(root->federation, federation) == 0)
        return ERR_OK;
    return why_set(why, ERR_WRONG_USAGE, "%s: of another federation", what);
}

static enum err read_directory(const struct trust_input *in, uint64_t now_ms,
                               struct trust_core *core, struct why *why)
{
    const Sp__Root *root = document_root(&core->root);
    enum err e = document_read(DOCUMENT_DIRECTORY, in->directory, &core->directory, why);
    if (e != ERR_OK)
        return e;
    const Sp__Directory *d = document_directory(&core->directory);
    e = same_federation(root, d->federation, "directory", why);
    if (e == ERR_OK)
        e = document_signed(&core->directory, root, root->directory, why);
    if (e == ERR_OK && d->issued_ms > now_ms + LIMIT_SKEW_MS)
        e = why_set(why, ERR_CLOCK, "directory: it is issued in the future");
    return e;
}

/* The timestamp says which versions were the newest when it was signed. A directory newer than that
 * stands on its own signatures; an older one is a rollback. */
static enum err match_timestamp(const struct trust_core *core, struct why *why)
{
    const Sp__Timestamp *t = document_timestamp(&core->timestamp);
    const Sp__Directory *d = document_directory(&core->directory);
    if (t->root_version > document_root(&core->root)->version)
        return why_set(why, ERR_REPLAY, "root: the timestamp names a newer version");
    if (t->directory_version > d->version)
        return why_set(why, ERR_REPLAY, "directory: the timestamp names a newer version");
    if (t->directory_version == d->version &&
        !span_equal(pb_span(t->directory_sha256), digest_span(&core->directory.sha256)))
        return why_set(why, ERR_BAD_DIGEST, "directory: not the bytes that the timestamp names");
    return ERR_OK;
}

static enum err read_timestamp(const struct trust_input *in, uint64_t now_ms,
                               struct trust_core *core, struct why *why)
{
    if (in->timestamp.len == 0)
        return ERR_OK;
    const Sp__Root *root = document_root(&core->root);
    enum err e = document_read(DOCUMENT_TIMESTAMP, in->timestamp, &core->timestamp, why);
    if (e != ERR_OK)
        return e;
    core->has_timestamp = true;
    const Sp__Timestamp *t = document_timestamp(&core->timestamp);
    e = same_federation(root, t->federation, "timestamp", why);
    if (e == ERR_OK)
        e = document_signed(&core->timestamp, root, root->timestamp, why);
    if (e == ERR_OK && t->issued_ms > now_ms + LIMIT_SKEW_MS)
        e = why_set(why, ERR_CLOCK, "timestamp: it is issued in the future");
    return e != ERR_OK ? e : match_timestamp(core, why);
}

static enum err check_floor(const struct trust *t, const struct trust_floor *floor, struct why *why)
{
    struct trust_floor have = trust_versions(t);
    const struct {
        const char *what;
        uint64_t have, floor;
    } rows[] = {
        {"root", have.root_version, floor->root_version},
        {"directory", have.directory_version, floor->directory_version},
        {"timestamp", have.timestamp_version, floor->timestamp_version},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rows[i].have < rows[i].floor)
            return why_set(why, ERR_REPLAY, "%s: version %llu, but version %llu was seen before",
                           rows[i].what, (unsigned long long)rows[i].have,
                           (unsigned long long)rows[i].floor);
    }
    return ERR_OK;
}

static enum err build_core(const struct trust_input *in, uint64_t now_ms, struct trust **ret,
                           struct why *why)
{
    struct trust_core *core = calloc(1, sizeof(*core));
    if (core == NULL)
        return why_set(why, ERR_NO_MEMORY, "out of memory");
    atomic_init(&core->refs, 1);
    enum err e = follow_roots(in, &core->root, why);
    if (e == ERR_OK)
        e = read_directory(in, now_ms, core, why);
    if (e == ERR_OK)
        e = read_timestamp(in, now_ms, core, why);
    if (e == ERR_OK)
        e = trust_new(core, ret);
    if (e != ERR_OK)
        trust_core_free(core);
    return e;
}

/* Appends one more sentence, as far as there is room. */
static void add_sentence(char *why, size_t size, const char *text)
{
    size_t used = strlen(why);
    if (used + 1 < size)
        snprintf(why + used, size - used, "%s%s", used == 0 ? "" : "; ", text);
}

enum err trust_build(const struct trust_input *in, const struct trust_floor *floor, uint64_t now_ms,
                     struct trust **ret, char *why, size_t why_size)
{
    struct why w = {0};
    struct trust *t = NULL;
    why[0] = '\0';
    enum err e = build_core(in, now_ms, &t, &w);
    if (e == ERR_OK && floor != NULL)
        e = check_floor(t, floor, &w);
    if (e != ERR_OK) {
        add_sentence(why, why_size, w.text);
        trust_free(t);
        return e;
    }
    for (size_t i = 0; i < in->n_documents; i++) {
        e = trust_put(t, in->documents[i], now_ms, &w);
        if (e == ERR_NO_MEMORY) {
            trust_free(t);
            return e;
        }
        if (e != ERR_OK)
            add_sentence(why, why_size, w.text);
    }
    *ret = t;
    return ERR_OK;
}
