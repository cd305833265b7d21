#include "audit/source.h"

#include "audit/log.h"
#include "audit/tiles.h"
#include "common/file.h"
#include "common/limits.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct source {
    char *place;
    char origin[NOTE_NAME];
    const char *name;
    struct audit_head head;
    struct store *store;
    struct store_txn *txn;
    struct tiles *tiles;
};

/* Where a store may lie under what a person names. */
static const char *const beneath[] = {".", "store", "data/store", "data"};

static enum err find_store(const char *place, char *dir, size_t size)
{
    struct stat st;

    for (size_t i = 0; i < sizeof(beneath) / sizeof(beneath[0]); i++) {
        char file[LIMIT_PATH];
        enum err e = file_join(place, beneath[i], dir, size);

        if (e == ERR_OK)
            e = file_join(dir, "data.mdb", file, sizeof(file));
        if (e != ERR_OK)
            return e;
        if (stat(file, &st) == 0) {
            if (S_ISREG(st.st_mode))
                return ERR_OK;
        } else if (errno == EACCES) {
            return ERR_NOT_ALLOWED;
        }
    }
    return ERR_NOT_FOUND;
}

/* Any daemon's store: the tables of the log are the same in all, and stand first. */
static enum err open_store(const char *dir, struct store **ret)
{
    struct store_options o = {
        .dir = dir,
        .map_bytes = LIMIT_STORE_MAP_MIN,
        .tables = audit_tables,
        .table_count = AUDIT_TABLES,
        .kind = "audit",
        .format = UINT32_MAX,
        .read_only = true,
    };
    struct store_found found = {0};
    char kind[STORE_KIND_SIZE];
    enum err e = store_open(&o, &found, ret);

    if (e != ERR_CONFIG || found.kind[0] == '\0' || strcmp(found.kind, o.kind) == 0)
        return e;
    memcpy(kind, found.kind, sizeof(kind));
    o.kind = kind;
    return store_open(&o, NULL, ret);
}

static enum err read_log(struct source *s)
{
    const char *slash;
    enum err e;

    e = store_read_begin(s->store, &s->txn);
    if (e != ERR_OK)
        return e;
    e = audit_read_head(s->txn, &s->head);
    if (e == ERR_OK)
        e = audit_read_origin(s->txn, s->origin);
    if (e != ERR_OK)
        return e == ERR_NOT_FOUND ? ERR_CORRUPT : e;
    slash = strrchr(s->origin, '/');
    if (slash == NULL)
        return ERR_CORRUPT;
    s->name = slash + 1;
    return ERR_OK;
}

static void explain_failure(const char *place, enum err e, char *why, size_t why_size)
{
    struct stat st;

    if (strncmp(place, "http://", 7) == 0 || strncmp(place, "https://", 8) == 0)
        (void)snprintf(why, why_size, "%s: not a data directory: this version reads no HTTP",
                       place);
    else if (e == ERR_NOT_ALLOWED)
        (void)snprintf(why, why_size, "%s: no permission to read it", place);
    else if (stat(place, &st) != 0)
        (void)snprintf(why, why_size, "%s: no such directory", place);
    else if (e == ERR_NOT_FOUND)
        (void)snprintf(why, why_size, "%s: not a data directory (no data.mdb in it)", place);
    else if (e == ERR_CORRUPT)
        (void)snprintf(why, why_size, "%s: holds no audit log that can be read", place);
    else
        (void)snprintf(why, why_size, "%s: %s", place, err_meaning(e));
}

enum err source_open(const char *place, struct source **ret, char *why, size_t why_size)
{
    struct source *s = calloc(1, sizeof(*s));
    char dir[LIMIT_PATH];
    enum err e;

    if (s == NULL)
        return ERR_NO_MEMORY;
    s->place = strdup(place);
    e = s->place == NULL ? ERR_NO_MEMORY : tiles_new(&s->tiles);
    if (e == ERR_OK)
        e = find_store(place, dir, sizeof(dir));
    if (e == ERR_OK)
        e = open_store(dir, &s->store);
    if (e == ERR_OK)
        e = read_log(s);
    if (e != ERR_OK) {
        explain_failure(place, e, why, why_size);
        goto out;
    }
    *ret = s;
    s = NULL;
out:
    source_free(s);
    return e;
}

void source_free(struct source *s)
{
    if (s == NULL)
        return;
    store_abort(s->txn);
    store_close(s->store);
    tiles_free(s->tiles);
    free(s->place);
    free(s);
}

const char *source_place(const struct source *s)
{
    return s->place;
}

const char *source_origin(const struct source *s)
{
    return s->origin;
}

const char *source_name(const struct source *s)
{
    return s->name;
}

struct audit_head source_head(const struct source *s)
{
    return s->head;
}

struct store_txn *source_txn(const struct source *s)
{
    return s->txn;
}

static enum err load_tile(void *ctx, unsigned level, uint64_t index, struct span *ret)
{
    return audit_read_tile(ctx, level, index, ret);
}

enum err source_get(void *ctx, unsigned level, uint64_t index, struct digest *ret)
{
    struct source *s = ctx;

    return tiles_get(s->tiles, load_tile, s->txn, level, index, ret);
}

enum err source_check_leaf(struct source *s, const struct digest *leaf_hash, uint64_t index,
                           uint64_t size, const struct digest *root)
{
    struct digest path[LIMIT_PROOF_PATH];
    size_t n;
    enum err e;

    e = merkle_prove_inclusion(source_get, s, index, size, path, &n);
    if (e != ERR_OK)
        return e == ERR_CORRUPT ? ERR_BAD_PROOF : e;
    return merkle_verify_inclusion(leaf_hash, index, size, path, n, root);
}
