#include "audit/cmd.h"
#include "audit/jsonline.h"
#include "audit/tiles.h"
#include "common/env.h"
#include "common/file.h"
#include "common/limits.h"
#include "common/table.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

/* C2SP tlog-tiles.md: DIR/checkpoint, DIR/tile/<L>/<N>[.p/<W>], DIR/tile/entries/<N>[.p/<W>]. */
struct run {
    const struct cli *args;
    struct source *source;
    const char *dir;
    uint64_t size; /* of the checkpoint that is exported */
    uint64_t files;
    struct progress progress;
};

/* <N> in groups of three digits, all but the last with an x before: 1234067 is x001/x234/067. */
static void number_path(uint64_t n, char *out, size_t size)
{
    char groups[8][8];
    size_t count = 0, at = 0;

    do {
        (void)snprintf(groups[count], sizeof(groups[0]), "%03u", (unsigned)(n % 1000));
        n /= 1000;
        count++;
    } while (n > 0);
    out[0] = '\0';
    while (count > 0) {
        count--;
        at += (size_t)snprintf(out + at, size - at, count > 0 ? "x%s/" : "%s", groups[count]);
    }
}

/* Puts one file into the tree; what is there already stays, since it never changes. */
static enum err put_file(struct run *r, const char *kind, uint64_t n, unsigned width,
                         struct span bytes)
{
    char number[64], path[LIMIT_PATH], parent[LIMIT_PATH], partial[16] = "";
    int len;
    enum err e;

    number_path(n, number, sizeof(number));
    if (width < TILE_WIDTH)
        (void)snprintf(partial, sizeof(partial), ".p/%u", width);
    len = snprintf(path, sizeof(path), "%s/tile/%s/%s%s", r->dir, kind, number, partial);
    if (len < 0 || (size_t)len >= sizeof(path))
        return ERR_TOO_LARGE;
    e = file_parent(path, parent, sizeof(parent));
    if (e == ERR_OK)
        e = file_make_dir(parent, 0755);
    if (e == ERR_OK)
        e = file_create(path, bytes, 0644);
    r->files++;
    return e == ERR_EXISTS ? ERR_OK : e;
}

static enum err put_tile(struct run *r, unsigned level, uint64_t n, unsigned width)
{
    char kind[8];
    struct span hashes;
    enum err e;

    e = audit_read_tile(source_txn(r->source), level, n, &hashes);
    if (e != ERR_OK)
        return e == ERR_NOT_FOUND ? ERR_CORRUPT : e;
    if (hashes.len < width * sizeof(struct digest))
        return ERR_CORRUPT;
    (void)snprintf(kind, sizeof(kind), "%u", level);
    return put_file(r, kind, n, width, span_of(hashes.data, width * sizeof(struct digest)));
}

/* An entry bundle: u16be length and entry, for each. */
static enum err put_bundle(struct run *r, uint64_t n, unsigned width)
{
    struct buf b;
    enum err e = ERR_OK;

    buf_init(&b, TILE_WIDTH * (LIMIT_LEAF + 2));
    for (unsigned i = 0; i < width && e == ERR_OK; i++) {
        struct span leaf;

        e = audit_read_leaf(source_txn(r->source), n * TILE_WIDTH + i, &leaf);
        if (e != ERR_OK)
            break;
        if (leaf.len > LIMIT_LEAF) {
            e = ERR_TOO_LARGE;
            break;
        }
        buf_put_u16be(&b, (uint16_t)leaf.len);
        buf_put(&b, leaf);
        e = b.err;
    }
    if (e == ERR_OK)
        e = put_file(r, "entries", n, width, buf_span(&b));
    buf_fini(&b);
    return e == ERR_NOT_FOUND ? ERR_CORRUPT : e;
}

static enum err put_level(struct run *r, unsigned level)
{
    uint64_t hashes = tile_hashes(r->size, level);

    for (uint64_t n = 0; n * TILE_WIDTH < hashes; n++) {
        uint64_t left = hashes - n * TILE_WIDTH;
        unsigned width = left < TILE_WIDTH ? (unsigned)left : TILE_WIDTH;
        enum err e = put_tile(r, level, n, width);

        if (e == ERR_OK && level == 0)
            e = put_bundle(r, n, width);
        if (e != ERR_OK)
            return e;
        progress_update(&r->progress, r->files, env_mono_ms(env_system()));
    }
    return ERR_OK;
}

static enum err put_all(struct run *r)
{
    char path[LIMIT_PATH];
    struct span note;
    enum err e;

    e = audit_read_last_checkpoint(source_txn(r->source), &r->size, &note);
    if (e != ERR_OK)
        return e;
    e = file_make_dir(r->dir, 0755);
    for (unsigned level = 0; level < TILE_LEVELS && e == ERR_OK; level++)
        e = put_level(r, level);
    /* Last, so that whoever reads it finds everything that it speaks of. */
    if (e == ERR_OK)
        e = file_join(r->dir, "checkpoint", path, sizeof(path));
    if (e == ERR_OK)
        e = file_write_atomic(path, note, 0644);
    return e;
}

int cmd_export(const struct cli *args)
{
    struct run r = {.args = args, .dir = cli_value(args, "to")};
    bool json = cli_flag(args, "json");
    struct jsonline j;
    int code = cmd_open_source(args, cli_operand(args, 0), &r.source);
    enum err e;

    if (code != 0)
        return code;
    progress_init(&r.progress, "exporting", 0, false, env_mono_ms(env_system()));
    e = put_all(&r);
    progress_fini(&r.progress);
    if (e == ERR_NOT_FOUND) {
        code = cli_fail(stderr, json, e, "%s has no stored checkpoint", source_origin(r.source));
    } else if (e != ERR_OK) {
        code = cli_fail(stderr, json, e, "%s to %s: %s", source_origin(r.source), r.dir,
                        err_meaning(e));
    } else if (!json) {
        printf("%s: %" PRIu64 " leaves of %s in %" PRIu64 " files and checkpoint\n", r.dir, r.size,
               source_origin(r.source), r.files);
    } else {
        jsonline_init(&j);
        jsonline_text(&j, "to", r.dir);
        jsonline_text(&j, "origin", source_origin(r.source));
        jsonline_u64(&j, "size", r.size);
        jsonline_u64(&j, "files", r.files);
        code = err_exit(jsonline_print(&j, stdout));
        jsonline_fini(&j);
    }
    source_free(r.source);
    return code;
}
