#include "audit/cmd.h"
#include "audit/explain.h"
#include "audit/jsonline.h"
#include "audit/leaf_text.h"
#include "common/limits.h"
#include "common/text.h"
#include "proto/names.h"

#include <inttypes.h>
#include <string.h>

struct run {
    const struct cli *args;
    struct anchor *anchor;
    size_t n;
    struct source *sources[LIMIT_AUDIT_SOURCES];
    struct note_key keys[LIMIT_AUDIT_SOURCES];
    const struct note_key *anchored[LIMIT_AUDIT_SOURCES];
    struct uuid id;
    struct explain x;
};

static int open_sources(struct run *r)
{
    size_t count = cli_operands(r->args) - 1;

    if (count > LIMIT_AUDIT_SOURCES)
        return cli_usage(r->args, "more than %d logs", LIMIT_AUDIT_SOURCES);
    for (; r->n < count; r->n++) {
        struct source **s = &r->sources[r->n];
        int code = cmd_open_source(r->args, cli_operand(r->args, r->n + 1), s);

        if (code != 0)
            return code;
        code =
            cmd_log_key(r->args, r->anchor, source_origin(*s), &r->keys[r->n], &r->anchored[r->n]);
        for (size_t i = 0; i < r->n && code == 0; i++) {
            if (strcmp(source_origin(r->sources[i]), source_origin(*s)) == 0)
                code = cli_usage(r->args, "%s and %s are the same log, %s",
                                 source_place(r->sources[i]), source_place(*s), source_origin(*s));
        }
        if (code != 0) {
            source_free(*s);
            return code;
        }
    }
    return 0;
}

/* The first leaf that could be read: it speaks for the exchange. */
static const struct explain_step *first_leaf(const struct explain *x)
{
    for (size_t i = 0; i < x->n; i++) {
        if (x->steps[i].leaf != NULL)
            return &x->steps[i];
    }
    return NULL;
}

/* A log that speaks of other bytes under the same id. */
static bool other_envelope(const struct explain *x, const Sp__Leaf *leaf)
{
    const struct explain_step *first = first_leaf(x);

    return leaf->envelope.len > 0 && first->leaf->envelope.len > 0 &&
           !span_equal(pb_span(first->leaf->envelope), pb_span(leaf->envelope));
}

static void print_head(const struct run *r)
{
    const struct explain_step *first = first_leaf(&r->x);
    char id[UUID_TEXT_SIZE], created[TEXT_TIME_SIZE], expires[TEXT_TIME_SIZE];
    const Sp__Leaf *leaf;
    struct buf b;

    uuid_format(&r->id, id);
    printf("exchange %s", id);
    if (first == NULL) {
        printf("\n");
        return;
    }
    leaf = first->leaf;
    text_time(leaf->created_ms, created);
    text_time(leaf->expires_ms, expires);
    buf_init(&b, LIMIT_LEAF);
    buf_printf(&b, " from %s to ", leaf->sender);
    leaf_list(leaf->recipients, leaf->n_recipients, &b);
    cmd_print_line("", buf_span(&b));
    buf_reset(&b);
    leaf_list(leaf->handling, leaf->n_handling, &b);
    buf_printf(&b, ", %s, %s; created %s, expires %s",
               name_of(NAME_LEVEL, (int)leaf->level) != NULL ? name_of(NAME_LEVEL, (int)leaf->level)
                                                             : "no level",
               name_of(NAME_URGENCY, (int)leaf->urgency) != NULL
                   ? name_of(NAME_URGENCY, (int)leaf->urgency)
                   : "no urgency",
               created, expires);
    cmd_print_line("", buf_span(&b));
    buf_reset(&b);
    buf_put_str(&b, "envelope ");
    text_put_hex(&b, pb_span(leaf->envelope));
    cmd_print_line("", buf_span(&b));
    buf_fini(&b);
}

static void put_proof(const struct run *r, const struct explain_step *step, struct buf *b)
{
    const char *origin = source_origin(r->sources[step->source]);

    if (step->proof != ERR_OK) {
        buf_printf(b, "PROOF DOES NOT HOLD (%s): leaf %" PRIu64 " in %s", err_code(step->proof),
                   step->index, origin);
        return;
    }
    if (step->covered)
        buf_printf(b, "proof holds: leaf %" PRIu64 " of %" PRIu64 " in %s", step->index, step->size,
                   origin);
    else
        buf_printf(b,
                   "stands in the log: leaf %" PRIu64 " of %" PRIu64
                   " in %s, no stored checkpoint covers it yet",
                   step->index, step->size, origin);
    if (r->anchored[step->source] == NULL)
        buf_put_str(b, " (key not anchored)");
}

static void put_cause(const struct run *r, const struct explain_step *step, struct buf *b)
{
    if (step->leaf == NULL || step->leaf->cause.len == 0)
        return;
    if (step->cause != EXPLAIN_NONE) {
        const struct explain_step *cause = &r->x.steps[step->cause];

        buf_printf(b, "rests on step %zu: leaf %" PRIu64 " in %s", step->cause + 1, cause->index,
                   source_origin(r->sources[cause->source]));
        return;
    }
    buf_put_str(b, "rests on ");
    text_put_hex(b, pb_span(step->leaf->cause));
    buf_put_str(b, ", which is in none of the given logs");
}

static void print_step(const struct run *r, size_t i)
{
    const struct explain_step *step = &r->x.steps[i];
    char at[TEXT_TIME_SIZE] = "(time unknown)          ";
    struct buf b;

    buf_init(&b, LIMIT_MIB);
    if (step->leaf != NULL) {
        text_time(step->leaf->at_ms, at);
        leaf_sentence(step->leaf, &b);
        if (other_envelope(&r->x, step->leaf)) {
            buf_put_str(&b, "; THIS SPEAKS OF OTHER BYTES under the same id: envelope ");
            text_put_hex(&b, pb_span(step->leaf->envelope));
        }
    } else {
        buf_printf(&b, "the record of leaf %" PRIu64 " in %s is damaged", step->index,
                   source_origin(r->sources[step->source]));
    }
    printf("%3zu. %s  ", i + 1, at);
    cmd_print_line("", buf_span(&b));
    buf_reset(&b);
    put_proof(r, step, &b);
    cmd_print_line("     ", buf_span(&b));
    buf_reset(&b);
    put_cause(r, step, &b);
    if (b.len > 0)
        cmd_print_line("     ", buf_span(&b));
    buf_fini(&b);
}

/* Where an exchange has come for one recipient: the furthest event, in the order of the states. */
static int rank(const Sp__Leaf *leaf)
{
    switch (leaf->event) {
    case SP__AUDIT_EVENT__AUDIT_EVENT_SUBMITTED:
        return 1;
    case SP__AUDIT_EVENT__AUDIT_EVENT_ACCEPTED:
        return 2;
    case SP__AUDIT_EVENT__AUDIT_EVENT_RELAYED:
        return 3;
    case SP__AUDIT_EVENT__AUDIT_EVENT_REFUSED:
    case SP__AUDIT_EVENT__AUDIT_EVENT_EXPIRED:
    case SP__AUDIT_EVENT__AUDIT_EVENT_RECALLED:
        return 4;
    case SP__AUDIT_EVENT__AUDIT_EVENT_DELIVERED:
        return 5;
    case SP__AUDIT_EVENT__AUDIT_EVENT_OPENED:
        return 6;
    default:
        return 0;
    }
}

static const Sp__Leaf *furthest(const struct explain *x, const char *agency)
{
    const Sp__Leaf *best = NULL;

    for (size_t i = 0; i < x->n; i++) {
        const Sp__Leaf *leaf = x->steps[i].leaf;

        if (leaf == NULL || rank(leaf) == 0 || other_envelope(x, leaf))
            continue;
        for (size_t k = 0; k < leaf->n_recipients; k++) {
            if (strcmp(leaf->recipients[k], agency) == 0 &&
                (best == NULL || rank(leaf) > rank(best)))
                best = leaf;
        }
    }
    return best;
}

/* Calls `each` for every recipient that some leaf names, once, in order of its first mention. */
static void each_recipient(const struct run *r, struct jsonline *j,
                           void (*each)(const char *agency, const Sp__Leaf *leaf,
                                        struct jsonline *j))
{
    const struct explain *x = &r->x;

    for (size_t i = 0; i < x->n; i++) {
        const Sp__Leaf *leaf = x->steps[i].leaf;

        for (size_t k = 0; leaf != NULL && k < leaf->n_recipients; k++) {
            const char *agency = leaf->recipients[k];
            const Sp__Leaf *best = furthest(x, agency);
            bool seen = false;

            for (size_t p = 0; p < i && !seen; p++) {
                const Sp__Leaf *before = x->steps[p].leaf;

                for (size_t q = 0; before != NULL && q < before->n_recipients && !seen; q++)
                    seen = strcmp(before->recipients[q], agency) == 0;
            }
            if (!seen && best != NULL)
                each(agency, best, j);
        }
    }
}

static void print_recipient(const char *agency, const Sp__Leaf *leaf, struct jsonline *j)
{
    char at[TEXT_TIME_SIZE];
    struct buf b;

    (void)j;
    text_time(leaf->at_ms, at);
    buf_init(&b, LIMIT_LEAF);
    buf_printf(&b, "%s: %s %s, by the log of %s", agency, leaf_event(leaf), at, leaf->log);
    if (leaf->code[0] != '\0')
        buf_printf(&b, " (%s)", leaf->code);
    cmd_print_line("", buf_span(&b));
    buf_fini(&b);
}

static void json_recipient(const char *agency, const Sp__Leaf *leaf, struct jsonline *j)
{
    jsonline_object(j, NULL);
    jsonline_text(j, "agency", agency);
    jsonline_text(j, "state", leaf_event(leaf));
    jsonline_time(j, "at", leaf->at_ms);
    jsonline_text(j, "log", leaf->log);
    jsonline_text(j, "code", leaf->code);
    jsonline_close(j);
}

static void print_text(const struct run *r)
{
    print_head(r);
    printf("\n");
    for (size_t i = 0; i < r->x.n; i++)
        print_step(r, i);
    printf("\n");
    each_recipient(r, NULL, print_recipient);
    if (r->x.broken == 0)
        printf("all %zu proofs hold\n", r->x.n);
    else
        printf("%zu OF %zu PROOFS DO NOT HOLD: run sealpost-audit verify on those logs\n",
               r->x.broken, r->x.n);
}

static void json_step(const struct run *r, size_t i, struct jsonline *j)
{
    const struct explain_step *step = &r->x.steps[i];

    jsonline_object(j, NULL);
    jsonline_text(j, "origin", source_origin(r->sources[step->source]));
    jsonline_u64(j, "index", step->index);
    jsonline_hex(j, "leaf_hash", digest_span(&step->hash));
    jsonline_object(j, "proof");
    jsonline_bool(j, "holds", step->proof == ERR_OK);
    jsonline_text(j, "code", err_code(step->proof));
    jsonline_bool(j, "covered", step->covered);
    jsonline_bool(j, "anchored", r->anchored[step->source] != NULL);
    jsonline_u64(j, "size", step->size);
    jsonline_close(j);
    if (step->cause != EXPLAIN_NONE)
        jsonline_u64(j, "cause_step", step->cause + 1);
    if (step->leaf != NULL) {
        jsonline_object(j, "leaf");
        leaf_json(step->leaf, j);
        jsonline_close(j);
    }
    jsonline_close(j);
}

static enum err print_json(const struct run *r)
{
    char id[UUID_TEXT_SIZE];
    struct jsonline j;
    enum err e;

    uuid_format(&r->id, id);
    jsonline_init(&j);
    jsonline_text(&j, "id", id);
    jsonline_bool(&j, "holds", r->x.broken == 0);
    jsonline_array(&j, "steps");
    for (size_t i = 0; i < r->x.n; i++)
        json_step(r, i, &j);
    jsonline_close(&j);
    jsonline_array(&j, "recipients");
    each_recipient(r, &j, json_recipient);
    jsonline_close(&j);
    e = jsonline_print(&j, stdout);
    jsonline_fini(&j);
    return e;
}

static int explain(struct run *r)
{
    bool json = cli_flag(r->args, "json");
    enum err e;

    e = explain_id(r->sources, r->anchored, r->n, &r->id, &r->x);
    if (e == ERR_NOT_FOUND)
        return cli_fail(stderr, json, e, "none of the given logs speaks of %s",
                        cli_operand(r->args, 0));
    if (e != ERR_OK)
        return cli_fail(stderr, json, e, NULL);
    if (json)
        e = print_json(r);
    else
        print_text(r);
    if (r->x.broken > 0)
        e = ERR_BAD_PROOF;
    explain_fini(&r->x);
    return err_exit(e);
}

int cmd_explain(const struct cli *args)
{
    struct run r = {.args = args};
    int code;

    if (uuid_parse(span_str(cli_operand(args, 0)), &r.id) != ERR_OK)
        return cli_usage(args, "%s is no id of a message", cli_operand(args, 0));
    code = cmd_open_anchor(args, &r.anchor);
    if (code == 0)
        code = open_sources(&r);
    if (code == 0)
        code = explain(&r);
    for (size_t i = 0; i < r.n; i++)
        source_free(r.sources[i]);
    anchor_free(r.anchor);
    return code;
}
