#include "audit/cmd.h"
#include "audit/leaf_text.h"
#include "audit/log.h"
#include "common/env.h"
#include "common/limits.h"
#include "common/table.h"
#include "common/text.h"
#include "proto/names.h"

#include <inttypes.h>
#include <string.h>

static const struct table_column columns[] = {
    {"LEAF", true},      {"AT", false},     {"EVENT", false},
    {"ID", false},       {"SENDER", false}, {"RECIPIENTS", false},
    {"HANDLING", false}, {"LEVEL", false},  {"CODE", false},
};

/* Exit code of a query that finds nothing: the answer is no. */
#define NO_HIT 1

/* What a leaf must be to be shown; NULL and 0 where anything will do. */
struct filter {
    const char *from;
    const char *to;
    const char *handling;
    int event;
    uint64_t since_ms;
    uint64_t until_ms;
};

struct query {
    const struct cli *args;
    struct source *source;
    struct filter filter;
    struct table *table; /* NULL: --json */
    struct jsonline json;
    uint64_t shown;
    uint64_t broken;
};

static bool has(char *const *items, size_t n, const char *wanted)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(items[i], wanted) == 0)
            return true;
    }
    return false;
}

static bool matches(const struct filter *f, const Sp__Leaf *leaf)
{
    if (f->from != NULL && strcmp(leaf->sender, f->from) != 0 && strcmp(leaf->from, f->from) != 0)
        return false;
    if (f->to != NULL && strcmp(leaf->to, f->to) != 0 &&
        !has(leaf->recipients, leaf->n_recipients, f->to))
        return false;
    if (f->handling != NULL && !has(leaf->handling, leaf->n_handling, f->handling))
        return false;
    if (f->event != 0 && (int)leaf->event != f->event)
        return false;
    return leaf->at_ms >= f->since_ms && leaf->at_ms <= f->until_ms;
}

static void add_row(struct query *q, uint64_t index, const Sp__Leaf *leaf)
{
    const char *level = name_of(NAME_LEVEL, (int)leaf->level);
    char at[TEXT_TIME_SIZE], id[LEAF_ID_SIZE];
    struct buf b;

    text_time(leaf->at_ms, at);
    leaf_id(leaf, id);
    buf_init(&b, LIMIT_LEAF);
    table_cellf(q->table, "%" PRIu64, index);
    table_cell(q->table, at);
    table_cell(q->table, leaf_event(leaf));
    table_cell(q->table, id);
    table_cell(q->table, leaf->sender);
    leaf_list(leaf->recipients, leaf->n_recipients, &b);
    table_span(q->table, buf_span(&b));
    buf_reset(&b);
    leaf_list(leaf->handling, leaf->n_handling, &b);
    table_span(q->table, buf_span(&b));
    table_cell(q->table, level);
    table_cell(q->table, leaf->code);
    buf_fini(&b);
}

static enum err show(struct query *q, uint64_t index, const Sp__Leaf *leaf)
{
    q->shown++;
    if (q->table != NULL) {
        add_row(q, index, leaf);
        return ERR_OK;
    }
    jsonline_text(&q->json, "origin", source_origin(q->source));
    jsonline_u64(&q->json, "index", index);
    leaf_json(leaf, &q->json);
    return jsonline_print(&q->json, stdout);
}

static void tell_broken(struct query *q, uint64_t index, const char *what)
{
    q->broken++;
    (void)fprintf(stderr, "leaf %" PRIu64 " %s\n", index, what);
}

/* A leaf that is shown is the one in its tile; whether the tile is right is for verify to say. */
static enum err take(struct query *q, uint64_t index, struct span bytes)
{
    struct digest in_tile, own;
    const Sp__Leaf *leaf;
    struct pb *pb;
    enum err e;

    e = leaf_decode(bytes, &pb, &leaf);
    if (e == ERR_NO_MEMORY)
        return e;
    if (e != ERR_OK) {
        tell_broken(q, index, "does not decode");
        return ERR_OK;
    }
    if (matches(&q->filter, leaf)) {
        own = merkle_leaf(bytes);
        if (source_get(q->source, 0, index, &in_tile) != ERR_OK || !digest_equal(&own, &in_tile))
            tell_broken(q, index, "does not have the hash that its tile holds");
        e = show(q, index, leaf);
    }
    pb_free(pb);
    return e;
}

static enum err walk(struct query *q)
{
    struct store_cursor *cursor;
    struct span key, value;
    enum err e;

    e = store_cursor_new(source_txn(q->source), AUDIT_LEAF, store_all(), &cursor);
    if (e != ERR_OK)
        return e;
    for (;;) {
        uint64_t index = 0;

        e = store_cursor_next(cursor, &key, &value);
        if (e == ERR_NOT_FOUND || (e != ERR_OK && e != ERR_CORRUPT))
            break;
        (void)store_key_to_u64(key, &index);
        if (e == ERR_CORRUPT) {
            tell_broken(q, index, "has a damaged record");
            continue;
        }
        e = take(q, index, value);
        if (e != ERR_OK)
            break;
    }
    store_cursor_free(cursor);
    return e == ERR_NOT_FOUND ? ERR_OK : e;
}

static int read_filter(const struct cli *args, struct filter *f)
{
    const char *event = cli_value(args, "event");
    uint64_t now = env_now_ms(env_system());

    f->from = cli_value(args, "from");
    f->to = cli_value(args, "to");
    f->handling = cli_value(args, "handling");
    if (event != NULL && name_parse(NAME_EVENT, event, &f->event) != ERR_OK)
        return cli_usage(args, "no such event: %s; there are: %s", event, name_words(NAME_EVENT));
    if (cli_since(args, "since", now, 0, &f->since_ms) != ERR_OK ||
        cli_since(args, "until", now, UINT64_MAX, &f->until_ms) != ERR_OK)
        return err_exit(ERR_USAGE);
    return 0;
}

static int run(struct query *q)
{
    bool json = cli_flag(q->args, "json");
    enum err e = ERR_OK;

    if (!json)
        e = table_new(columns, sizeof(columns) / sizeof(columns[0]), &q->table);
    if (e == ERR_OK)
        e = walk(q);
    if (e == ERR_OK && q->table != NULL)
        e = table_print(q->table, stdout);
    if (e != ERR_OK)
        return cli_fail(stderr, json, e, "%s", source_place(q->source));
    if (q->broken > 0)
        return err_exit(ERR_CORRUPT);
    return q->shown > 0 ? 0 : NO_HIT;
}

int cmd_query(const struct cli *args)
{
    struct query q = {.args = args};
    int code = read_filter(args, &q.filter);

    jsonline_init(&q.json);
    if (code == 0)
        code = cmd_open_source(args, cli_operand(args, 0), &q.source);
    if (code == 0)
        code = run(&q);
    table_free(q.table);
    jsonline_fini(&q.json);
    source_free(q.source);
    return code;
}
