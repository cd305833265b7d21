#include "audit/cmd.h"
#include "audit/jsonline.h"
#include "audit/leaf_text.h"
#include "audit/log.h"
#include "audit/tlog_proof.h"
#include "common/file.h"
#include "common/limits.h"
#include "common/text.h"
#include "common/uuid.h"

#include <inttypes.h>

struct run {
    const struct cli *args;
    struct anchor *anchor;
    struct source *source;
    struct note_key key;
    const struct note_key *anchored;
    uint64_t index;
};

/* The one leaf about --id; more than one: they are listed, so that --index can be given. */
static int find_id(struct run *r, const char *text)
{
    struct store_cursor *cursor;
    struct span key, ignored;
    uint64_t found[LIMIT_RECIPIENTS];
    struct uuid id;
    size_t n = 0;
    enum err e;

    if (uuid_parse(span_str(text), &id) != ERR_OK)
        return cli_usage(r->args, "%s is no id of a message", text);
    e = store_cursor_new(source_txn(r->source), AUDIT_ID, store_prefix(uuid_bytes(&id)), &cursor);
    while (e == ERR_OK && n < LIMIT_RECIPIENTS) {
        struct rd rd;

        e = store_cursor_next(cursor, &key, &ignored);
        if (e != ERR_OK)
            break;
        rd = rd_of(key);
        (void)rd_bytes(&rd, sizeof(id.b));
        found[n++] = rd_u64be(&rd);
    }
    store_cursor_free(cursor);
    if (e != ERR_OK && e != ERR_NOT_FOUND)
        return cli_fail(stderr, cli_flag(r->args, "json"), e, NULL);
    if (n == 0)
        return cli_fail(stderr, cli_flag(r->args, "json"), ERR_NOT_FOUND, "%s does not speak of %s",
                        source_origin(r->source), text);
    if (n > 1) {
        (void)fprintf(stderr, "leaves about %s:", text);
        for (size_t i = 0; i < n; i++)
            (void)fprintf(stderr, " %" PRIu64, found[i]);
        (void)fprintf(stderr, "\n");
        return cli_usage(r->args, "choose one of them with --index");
    }
    r->index = found[0];
    return 0;
}

static int choose(struct run *r)
{
    const char *id = cli_value(r->args, "id");
    bool by_index = cli_value(r->args, "index") != NULL;

    if ((id != NULL) == by_index)
        return cli_usage(r->args, "say either --id or --index");
    if (id != NULL)
        return find_id(r, id);
    if (cli_u64(r->args, "index", 0, MERKLE_SIZE_MAX - 1, 0, &r->index) != ERR_OK)
        return err_exit(ERR_USAGE);
    return 0;
}

/* Leaf, path and the first checkpoint over it: the same question has the same answer. */
static enum err make(struct run *r, struct buf *out)
{
    struct tlog_proof p = {.index = r->index, .has_extra = true};
    struct checkpoint c;
    struct digest hash;
    uint64_t size;
    enum err e;

    e = audit_read_leaf(source_txn(r->source), r->index, &p.extra);
    if (e == ERR_OK)
        e = audit_read_checkpoint(source_txn(r->source), r->index + 1, &size, &p.checkpoint);
    if (e == ERR_OK)
        e = merkle_prove_inclusion(source_get, r->source, r->index, size, p.path, &p.n);
    if (e != ERR_OK)
        return e;
    hash = merkle_leaf(p.extra);
    e = tlog_proof_verify(&p, &hash, r->anchored, &c);
    if (e != ERR_OK)
        return e;
    tlog_proof_format(&p, out);
    return out->err;
}

static int prove(struct run *r)
{
    bool json = cli_flag(r->args, "json");
    const char *path = cli_value(r->args, "to");
    struct jsonline j;
    struct buf b;
    enum err e;

    buf_init(&b, LIMIT_TLOG_PROOF);
    e = make(r, &b);
    if (e == ERR_NOT_FOUND) {
        buf_fini(&b);
        return cli_fail(stderr, json, e, "leaf %" PRIu64 " is not under a stored checkpoint of %s",
                        r->index, source_origin(r->source));
    }
    if (e == ERR_OK)
        e = file_create(path, buf_span(&b), 0644);
    buf_fini(&b);
    if (e != ERR_OK)
        return cli_fail(stderr, json, e, "leaf %" PRIu64 " of %s to %s: %s", r->index,
                        source_origin(r->source), path, err_meaning(e));
    if (!json) {
        printf("%s: proof of leaf %" PRIu64 " in %s%s\n", path, r->index, source_origin(r->source),
               r->anchored != NULL ? "" : " (key not anchored)");
        return 0;
    }
    jsonline_init(&j);
    jsonline_text(&j, "file", path);
    jsonline_text(&j, "origin", source_origin(r->source));
    jsonline_u64(&j, "index", r->index);
    jsonline_bool(&j, "anchored", r->anchored != NULL);
    e = jsonline_print(&j, stdout);
    jsonline_fini(&j);
    return err_exit(e);
}

int cmd_prove(const struct cli *args)
{
    struct run r = {.args = args};
    int code = cmd_open_anchor(args, &r.anchor);

    if (code == 0)
        code = cmd_open_source(args, cli_operand(args, 0), &r.source);
    if (code == 0)
        code = cmd_log_key(args, r.anchor, source_origin(r.source), &r.key, &r.anchored);
    if (code == 0)
        code = choose(&r);
    if (code == 0)
        code = prove(&r);
    source_free(r.source);
    anchor_free(r.anchor);
    return code;
}
