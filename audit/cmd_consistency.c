#include "audit/cmd.h"
#include "audit/jsonline.h"
#include "common/file.h"
#include "common/limits.h"
#include "common/text.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

/* One side: a kept checkpoint, or a log, which speaks by its head and can prove things. */
struct side {
    const char *place;
    struct source *source; /* NULL: a checkpoint file */
    struct buf file;
    struct checkpoint c; /* of a log: what its head states */
};

struct run {
    const struct cli *args;
    struct anchor *anchor;
    struct side old;
    struct side new;
    struct note_key key;
    const struct note_key *anchored;
};

static int open_file(struct run *r, struct side *s)
{
    bool json = cli_flag(r->args, "json");
    enum err e = file_read(s->place, LIMIT_CHECKPOINT, &s->file);

    if (e == ERR_OK)
        e = checkpoint_parse(buf_span(&s->file), &s->c);
    if (e != ERR_OK)
        return cli_fail(stderr, json, e, "%s: neither a data directory nor a checkpoint", s->place);
    return 0;
}

static int open_side(struct run *r, struct side *s, const char *place)
{
    struct stat st;
    int code;

    s->place = place;
    if (stat(place, &st) == 0 && !S_ISDIR(st.st_mode))
        return open_file(r, s);
    code = cmd_open_source(r->args, place, &s->source);
    if (code != 0)
        return code;
    (void)span_to_str(span_str(source_origin(s->source)), s->c.origin, sizeof(s->c.origin));
    s->c.size = source_head(s->source).size;
    s->c.root = source_head(s->source).root;
    return 0;
}

/* A kept checkpoint is signed by the log's key, when that is anchored. */
static enum err check_signature(const struct run *r, const struct side *s)
{
    struct checkpoint ignored;

    if (s->source != NULL || r->anchored == NULL)
        return ERR_OK;
    return checkpoint_verify(buf_span(&s->file), r->anchored, &ignored);
}

/* Does the tree of `log` give what `s` states? */
static enum err check_root(struct source *log, const struct side *s)
{
    struct digest root;
    enum err e;

    if (source_head(log).size < s->c.size)
        return ERR_BAD_PROOF;
    e = merkle_root(source_get, log, s->c.size, &root);
    if (e != ERR_OK)
        return e;
    return digest_equal(&root, &s->c.root) ? ERR_OK : ERR_BAD_PROOF;
}

/* An RFC 9162 proof from the one to the other, made from the tiles and verified. */
static enum err check_proof(struct source *log, const struct checkpoint *old,
                            const struct checkpoint *new)
{
    struct digest path[LIMIT_PROOF_PATH];
    size_t n;
    enum err e;

    e = merkle_prove_consistency(source_get, log, old->size, new->size, path, &n);
    if (e != ERR_OK)
        return e;
    return merkle_verify_consistency(old->size, new->size, &old->root, &new->root, path, n);
}

static enum err compare(const struct run *r, const char **why)
{
    const struct checkpoint *old = &r->old.c, *new = &r->new.c;
    struct source *log = r->new.source != NULL ? r->new.source : r->old.source;
    enum err e;

    *why = "a checkpoint is not signed by the log's key";
    e = check_signature(r, &r->old);
    if (e == ERR_OK)
        e = check_signature(r, &r->new);
    if (e != ERR_OK)
        return e;
    if (old->size > new->size) {
        *why = "the log was set back: the old state has more leaves";
        return ERR_BAD_PROOF;
    }
    if (old->size == new->size) {
        *why = "two roots for the same size: keep both, together they prove misconduct";
        return digest_equal(&old->root, &new->root) ? ERR_OK : ERR_BAD_PROOF;
    }
    if (log == NULL) {
        *why = "two checkpoints of different sizes: give the log's data directory as NEW";
        return ERR_USAGE;
    }
    *why = "the log does not give a root that it stated: it was rewritten";
    e = check_root(log, &r->new);
    if (e == ERR_OK)
        e = check_root(log, &r->old);
    if (e == ERR_OK)
        e = check_proof(log, old, new);
    return e;
}

static int tell(const struct run *r)
{
    const struct checkpoint *old = &r->old.c, *new = &r->new.c;
    struct jsonline j;
    enum err e;

    if (!cli_flag(r->args, "json")) {
        printf("%s: %" PRIu64 " leaves continue the %" PRIu64 " of before%s\n", new->origin,
               new->size, old->size, r->anchored != NULL ? "" : " (key not anchored: name --root)");
        return 0;
    }
    jsonline_init(&j);
    jsonline_text(&j, "origin", new->origin);
    jsonline_bool(&j, "consistent", true);
    jsonline_bool(&j, "anchored", r->anchored != NULL);
    jsonline_u64(&j, "old_size", old->size);
    jsonline_u64(&j, "new_size", new->size);
    jsonline_hex(&j, "old_root", digest_span(&old->root));
    jsonline_hex(&j, "new_root", digest_span(&new->root));
    e = jsonline_print(&j, stdout);
    jsonline_fini(&j);
    return err_exit(e);
}

static int run(struct run *r)
{
    bool json = cli_flag(r->args, "json");
    const char *why;
    int code;
    enum err e;

    if (strcmp(r->old.c.origin, r->new.c.origin) != 0)
        return cli_fail(stderr, json, ERR_USAGE, "two logs: %s and %s", r->old.c.origin,
                        r->new.c.origin);
    code = cmd_log_key(r->args, r->anchor, r->new.c.origin, &r->key, &r->anchored);
    if (code != 0)
        return code;
    e = compare(r, &why);
    if (e == ERR_OK)
        return tell(r);
    if (e == ERR_CORRUPT || e == ERR_BAD_SIGNATURE)
        e = ERR_BAD_PROOF;
    return cli_fail(stderr, json, e, "%s: from %" PRIu64 " to %" PRIu64 " leaves: %s",
                    r->new.c.origin, r->old.c.size, r->new.c.size, why);
}

int cmd_consistency(const struct cli *args)
{
    struct run r = {.args = args};
    int code = cmd_open_anchor(args, &r.anchor);

    if (code == 0)
        code = open_side(&r, &r.old, cli_operand(args, 0));
    if (code == 0)
        code = open_side(&r, &r.new, cli_operand(args, 1));
    if (code == 0)
        code = run(&r);
    source_free(r.old.source);
    source_free(r.new.source);
    buf_fini(&r.old.file);
    buf_fini(&r.new.file);
    anchor_free(r.anchor);
    return code;
}
