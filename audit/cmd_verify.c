#include "audit/cmd.h"
#include "audit/jsonline.h"
#include "audit/verify.h"
#include "common/env.h"
#include "common/file.h"
#include "common/limits.h"
#include "common/table.h"
#include "common/text.h"
#include "proto/names.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct run {
    const struct cli *args;
    struct anchor *anchor;
    struct source *source;
    struct note_key key;
    const struct note_key *anchored; /* `key` or NULL */
    struct buf since_file;
    struct checkpoint since;
    struct progress progress;
    struct verify_finding *findings;
    size_t n; /* kept, at most LIMIT_AUDIT_FINDINGS */
};

static void keep(void *ctx, const struct verify_finding *f)
{
    struct run *r = ctx;

    if (r->n < LIMIT_AUDIT_FINDINGS)
        r->findings[r->n++] = *f;
}

static void show_progress(void *ctx, uint64_t done, uint64_t total)
{
    struct run *r = ctx;

    (void)total;
    progress_update(&r->progress, done, env_mono_ms(env_system()));
}

/* Reads --since: a checkpoint that somebody kept. */
static int read_since(struct run *r)
{
    const char *path = cli_value(r->args, "since");
    bool json = cli_flag(r->args, "json");
    enum err e;

    if (path == NULL)
        return 0;
    e = file_read(path, LIMIT_CHECKPOINT, &r->since_file);
    if (e == ERR_OK)
        e = checkpoint_parse(buf_span(&r->since_file), &r->since);
    if (e != ERR_OK)
        return cli_fail(stderr, json, e, "%s: no checkpoint that can be read", path);
    if (strcmp(r->since.origin, source_origin(r->source)) != 0)
        return cli_fail(stderr, json, ERR_USAGE, "%s is of another log: %s", path, r->since.origin);
    if (r->anchored == NULL)
        return 0;
    e = checkpoint_verify(buf_span(&r->since_file), r->anchored, &r->since);
    if (e != ERR_OK)
        return cli_fail(stderr, json, e, "%s is not signed by the key of this log", path);
    return 0;
}

static void place_of(const struct verify_finding *f, char *out, size_t size)
{
    const char *code = verify_code(f->what);
    uint64_t last = f->index + f->count - 1;

    if (f->what == VERIFY_TILE_BEYOND || f->what == VERIFY_ID_BEYOND ||
        f->what == VERIFY_DETAIL_BEYOND)
        (void)snprintf(out, size, "%" PRIu64 " records", f->count);
    else if (strncmp(code, "tile", 4) == 0 && f->count == 1)
        (void)snprintf(out, size, "tile %u/%" PRIu64, f->level, f->index);
    else if (strncmp(code, "tile", 4) == 0)
        (void)snprintf(out, size, "tiles %u/%" PRIu64 " to %" PRIu64, f->level, f->index, last);
    else if (f->what == VERIFY_HEAD_ROOT)
        (void)snprintf(out, size, "head of %" PRIu64 " leaves", f->index);
    else if (strncmp(code, "checkpoint", 10) == 0 && f->count > 1)
        (void)snprintf(out, size, "checkpoint of %" PRIu64 " leaves and %" PRIu64 " later ones",
                       f->index, f->count - 1);
    else if (strncmp(code, "checkpoint", 10) == 0 || f->what == VERIFY_SINCE_ROOT)
        (void)snprintf(out, size, "checkpoint of %" PRIu64 " leaves", f->index);
    else if (f->count == 1)
        (void)snprintf(out, size, "leaf %" PRIu64, f->index);
    else
        (void)snprintf(out, size, "leaves %" PRIu64 " to %" PRIu64, f->index, last);
}

static void print_findings(const struct run *r, const struct verify_result *v)
{
    bool told[VERIFY_COUNT] = {false};
    char place[96];

    for (size_t i = 0; i < r->n; i++) {
        const struct verify_finding *f = &r->findings[i];

        place_of(f, place, sizeof(place));
        printf("  %s: %s", place, verify_meaning(f->what));
        if (f->detail != ERR_OK)
            printf(" (%s)", err_code(f->detail));
        printf(" [%s]\n", verify_code(f->what));
        if (!told[f->what])
            printf("    next: %s\n", verify_next(f->what));
        told[f->what] = true;
    }
    if (v->findings > r->n)
        printf("  and %" PRIu64 " more\n", v->findings - r->n);
}

static void print_key(const struct run *r, const struct verify_result *v)
{
    if (r->anchored != NULL) {
        printf("  key          %s+%08x, anchored in the federation root\n",
               source_origin(r->source), r->anchored->hash);
        return;
    }
    printf("  key          key not anchored: internal consistency only (name --root)");
    if (v->key_hash != 0)
        printf("; checkpoints name key %08x", v->key_hash);
    printf("\n");
}

static void print_text(const struct run *r, const struct verify_result *v)
{
    char first[TEXT_TIME_SIZE], last[TEXT_TIME_SIZE], root[2 * sizeof(v->head.root.b) + 1];

    text_time(v->first_ms, first);
    text_time(v->last_ms, last);
    text_hex(digest_span(&v->head.root), root);
    cmd_print_line("", span_str(source_origin(r->source)));
    if (v->leaves > 0)
        printf("  leaves       %" PRIu64 ", %s to %s\n", v->leaves, first, last);
    else
        printf("  leaves       0\n");
    printf("  tiles        %" PRIu64 "\n", v->tiles);
    printf("  checkpoints  %" PRIu64, v->checkpoints);
    if (r->anchored != NULL)
        printf(", %" PRIu64 " signatures hold", v->signatures);
    printf("\n");
    print_key(r, v);
    printf("  covered      %" PRIu64 " of %" PRIu64 " leaves stand under a stored checkpoint\n",
           v->covered, v->head.size);
    printf("  ids          %" PRIu64 " entries\n", v->ids);
    printf("  details      %" PRIu64 " match, %" PRIu64 " erased\n", v->details, v->erased);
    if (v->time_breaks > 0)
        printf("  clock        set back %" PRIu64 " times, first at leaf %" PRIu64 "\n",
               v->time_breaks, v->time_break);
    printf("  root         %s\n", root);
    if (v->findings == 0) {
        printf("the log holds\n");
        return;
    }
    printf("THE LOG DOES NOT HOLD: %" PRIu64 " findings\n", v->findings);
    print_findings(r, v);
}

static void json_findings(const struct run *r, struct jsonline *j)
{
    jsonline_array(j, "findings");
    for (size_t i = 0; i < r->n; i++) {
        const struct verify_finding *f = &r->findings[i];

        jsonline_object(j, NULL);
        jsonline_text(j, "code", verify_code(f->what));
        jsonline_text(j, "message", verify_meaning(f->what));
        jsonline_text(j, "next", verify_next(f->what));
        jsonline_u64(j, "level", f->level);
        jsonline_u64(j, "index", f->index);
        jsonline_u64(j, "count", f->count);
        jsonline_text(j, "detail", f->detail != ERR_OK ? err_code(f->detail) : "");
        jsonline_close(j);
    }
    jsonline_close(j);
}

static enum err print_json(const struct run *r, const struct verify_result *v)
{
    struct jsonline j;
    char hash[9];
    enum err e;

    (void)snprintf(hash, sizeof(hash), "%08x", v->key_hash);
    jsonline_init(&j);
    jsonline_text(&j, "source", source_place(r->source));
    jsonline_text(&j, "origin", source_origin(r->source));
    jsonline_bool(&j, "holds", v->findings == 0);
    jsonline_bool(&j, "anchored", r->anchored != NULL);
    jsonline_text(&j, "key", v->key_hash != 0 ? hash : "");
    jsonline_u64(&j, "size", v->head.size);
    jsonline_hex(&j, "root", digest_span(&v->head.root));
    jsonline_u64(&j, "leaves", v->leaves);
    jsonline_u64(&j, "tiles", v->tiles);
    jsonline_u64(&j, "checkpoints", v->checkpoints);
    jsonline_u64(&j, "signatures", v->signatures);
    jsonline_u64(&j, "covered", v->covered);
    jsonline_u64(&j, "ids", v->ids);
    jsonline_u64(&j, "details", v->details);
    jsonline_u64(&j, "erased", v->erased);
    jsonline_u64(&j, "time_breaks", v->time_breaks);
    jsonline_time(&j, "first", v->first_ms);
    jsonline_time(&j, "last", v->last_ms);
    jsonline_object(&j, "events");
    for (int i = 1; i < VERIFY_EVENTS; i++) {
        if (name_of(NAME_EVENT, i) != NULL)
            jsonline_u64(&j, name_of(NAME_EVENT, i), v->events[i]);
    }
    jsonline_close(&j);
    jsonline_u64(&j, "findings_total", v->findings);
    json_findings(r, &j);
    e = jsonline_print(&j, stdout);
    jsonline_fini(&j);
    return e;
}

static int verify_one(struct run *r)
{
    struct verify_options o = {.ctx = r, .found = keep, .progress = show_progress};
    bool json = cli_flag(r->args, "json");
    struct verify_result v;
    enum err e, printed = ERR_OK;

    o.key = r->anchored;
    o.since = cli_value(r->args, "since") != NULL ? &r->since : NULL;
    progress_init(&r->progress, "verifying", source_head(r->source).size, false,
                  env_mono_ms(env_system()));
    e = verify_log(r->source, &o, &v);
    progress_fini(&r->progress);
    if (e != ERR_OK && e != ERR_BAD_PROOF)
        return cli_fail(stderr, json, e, "%s: the check could not be done",
                        source_place(r->source));
    if (json)
        printed = print_json(r, &v);
    else
        print_text(r, &v);
    return err_exit(e != ERR_OK ? e : printed);
}

int cmd_verify(const struct cli *args)
{
    struct run r = {.args = args};
    int code;

    r.findings = calloc(LIMIT_AUDIT_FINDINGS, sizeof(*r.findings));
    if (r.findings == NULL)
        return cli_fail(stderr, cli_flag(args, "json"), ERR_NO_MEMORY, NULL);
    code = cmd_open_anchor(args, &r.anchor);
    if (code == 0)
        code = cmd_open_source(args, cli_operand(args, 0), &r.source);
    if (code == 0)
        code = cmd_log_key(args, r.anchor, source_origin(r.source), &r.key, &r.anchored);
    if (code == 0)
        code = read_since(&r);
    if (code == 0)
        code = verify_one(&r);
    buf_fini(&r.since_file);
    source_free(r.source);
    anchor_free(r.anchor);
    free(r.findings);
    return code;
}
