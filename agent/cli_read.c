#include "agent/cli_common.h"
#include "common/env.h"
#include "common/limits.h"
#include "common/table.h"
#include "common/text.h"
#include "proto/json.h"

#include <jansson.h>
#include <string.h>

static const char *peer_of(const Sp__Message *m, char out[256])
{
    if (strcmp(m->direction, "in") == 0)
        snprintf(out, 256, "%s", m->from);
    else
        join_texts(m->to, m->n_to, out, 256);
    return out;
}

static int print_list(const Sp__MessageList *list)
{
    static const struct table_column columns[] = {
        {"", false},        {"CREATED", false},  {"STATE", false}, {"FROM / TO", false},
        {"KIND", false},    {"HANDLING", false}, {"LEVEL", false}, {"CASE", false},
        {"SUBJECT", false}, {"ID", false}};
    struct table *t;
    enum err e = table_new(columns, sizeof columns / sizeof columns[0], &t);

    if (e != ERR_OK)
        return cli_fail(stderr, false, e, NULL);
    for (size_t i = 0; i < list->n_messages; i++) {
        const Sp__Message *m = list->messages[i];
        char text[256];
        char when[LOCAL_TIME_SIZE];

        local_time(m->created_ms, when);
        table_cell(t, m->direction);
        table_cell(t, when);
        table_cell(t, m->state);
        table_cell(t, peer_of(m, text));
        table_cell(t, m->kind);
        join_texts(m->handling, m->n_handling, text, sizeof text);
        table_cell(t, text);
        table_cell(t, m->level);
        table_cell(t, m->case_);
        table_cell(t, m->subject);
        table_cell(t, m->id);
    }
    e = table_print(t, stdout);
    table_free(t);
    return e == ERR_OK ? 0 : cli_fail(stderr, false, e, NULL);
}

int cmd_list(const struct cli *args)
{
    Sp__ListRequest list = SP__LIST_REQUEST__INIT;
    Sp__Request request = SP__REQUEST__INIT;
    const char *box = cli_value(args, "box");
    const char *case_name = cli_value(args, "case");
    const char *state = cli_value(args, "state");
    const Sp__Response *r;
    struct session s;
    uint64_t limit;
    int exit = 0;

    if (cli_u64(args, "limit", 1, LIMIT_LIST, 100, &limit) != ERR_OK ||
        cli_since(args, "since", env_now_ms(env_system()), 0, &list.since_ms) != ERR_OK)
        return err_exit(ERR_USAGE);
    list.box = pb_string(box != NULL ? box : "all");
    list.case_ = pb_string(case_name != NULL ? case_name : "");
    list.state = pb_string(state != NULL ? state : "");
    list.limit = (uint32_t)limit;
    request.list = &list;
    if (!session_open(&s, args, &exit))
        return exit;
    r = session_ask(&s, &request, &exit);
    if (r != NULL && r->messages == NULL) {
        if (!s.json)
            printf("no messages\n");
    } else if (r != NULL && s.json) {
        for (size_t i = 0; exit == 0 && i < r->messages->n_messages; i++)
            exit = session_print_json(&s, r->messages->messages[i]);
    } else if (r != NULL) {
        if (r->messages->n_messages == 0)
            printf("no messages\n");
        else
            exit = print_list(r->messages);
    }
    session_close(&s);
    return exit;
}

static void line(const char *label, const char *value)
{
    if (value[0] == '\0')
        return;
    printf("%-13s ", label);
    text_print_safe(stdout, span_str(value), false);
    putchar('\n');
}

static void line_time(const char *label, uint64_t ms)
{
    char text[LOCAL_TIME_SIZE];

    local_time(ms, text);
    if (ms != 0)
        line(label, text);
}

static void print_recipients(const Sp__Message *m)
{
    for (size_t i = 0; i < m->n_recipients; i++) {
        const Sp__RecipientState *p = m->recipients[i];
        char when[LOCAL_TIME_SIZE];
        char text[512];

        local_time(p->at_ms, when);
        snprintf(text, sizeof text, "%s: %s, %s%s%s%s%s", p->agency, p->state, when,
                 p->code[0] == '\0' ? "" : ", ", p->code, p->reason[0] == '\0' ? "" : ": ",
                 p->reason);
        line(i == 0 ? "state" : "", text);
    }
}

static void print_attachments(const Sp__Message *m)
{
    for (size_t i = 0; i < m->n_attachments; i++) {
        const Sp__MessageAttachment *a = m->attachments[i];
        char size[TEXT_SIZE_SIZE];
        char text[512];

        text_size(a->size, size);
        snprintf(text, sizeof text, "%u: %.255s (%s, %.127s)", a->part, a->name, size,
                 a->media_type);
        line(i == 0 ? "attachments" : "", text);
    }
}

/* One value of an entity; what is empty is passed over. */
static void put_value(struct buf *out, const char *key, json_t *value)
{
    size_t i;
    json_t *item;

    if (json_is_string(value) && json_string_length(value) > 0) {
        buf_printf(out, "%s%s ", out->len > 0 ? ", " : "", key);
        text_put_safe(out, span_str(json_string_value(value)), false);
    }
    json_array_foreach(value, i, item)
    {
        put_value(out, key, item);
    }
}

/* "vehicle: registration 000 ZZZ, country EST": the one kind that it is, its fields by name. */
static void print_entity(const Sp__Entity *entity)
{
    struct buf text;
    struct buf line_text;
    const char *kind;
    json_t *root = NULL;
    json_t *fields;

    buf_init(&text, LIMIT_JSON);
    buf_init(&line_text, LIMIT_JSON);
    if (json_encode(entity, &text) == ERR_OK)
        root = json_loadb((const char *)text.data, text.len, 0, NULL);
    json_object_foreach(root, kind, fields)
    {
        const char *key;
        json_t *value;

        if (!json_is_object(fields))
            continue;
        json_object_foreach(fields, key, value)
        {
            put_value(&line_text, key, value);
        }
        if (buf_cstr(&line_text) != NULL)
            printf("%-13s %s\n", kind, buf_cstr(&line_text));
    }
    json_decref(root);
    buf_wipe(&text);
    buf_wipe(&line_text);
}

static void print_message(const Sp__Message *m)
{
    char text[1024];

    line("id", m->id);
    line("from", m->from);
    join_texts(m->to, m->n_to, text, sizeof text);
    line("to", text);
    line("officer", m->officer);
    line("kind", m->kind);
    line("completeness", m->completeness);
    join_texts(m->handling, m->n_handling, text, sizeof text);
    line("handling", text);
    line("restriction", m->handling_text);
    line("level", m->level);
    line("urgency", m->urgency);
    line("ground", m->ground);
    line("evaluation", m->evaluation);
    line("case", m->case_);
    line("reply to", m->reply_to);
    line_time("created", m->created_ms);
    line_time("received", m->received_ms);
    line_time("expires", m->expires_ms);
    print_recipients(m);
    print_attachments(m);
    line("subject", m->subject);
    putchar('\n');
    text_print_safe(stdout, span_str(m->text), true);
    putchar('\n');
    for (size_t i = 0; i < m->n_entities; i++)
        print_entity(m->entities[i]);
}

int cmd_show(const struct cli *args)
{
    Sp__ShowRequest show = SP__SHOW_REQUEST__INIT;
    Sp__Request request = SP__REQUEST__INIT;
    const Sp__Response *r;
    struct session s;
    int exit = 0;

    show.id = pb_string(cli_operand(args, 0));
    request.show = &show;
    if (!session_open(&s, args, &exit))
        return exit;
    r = session_ask(&s, &request, &exit);
    if (r != NULL && r->message == NULL)
        exit = cli_fail(stderr, s.json, ERR_MALFORMED, "the agent's answer has no message");
    else if (r != NULL && s.json)
        exit = session_print_json(&s, r->message);
    else if (r != NULL)
        print_message(r->message);
    session_close(&s);
    return exit;
}

int cmd_watch(const struct cli *args)
{
    Sp__WatchRequest watch = SP__WATCH_REQUEST__INIT;
    Sp__Request request = SP__REQUEST__INIT;
    const Sp__Response *r;
    struct session s;
    int exit = 0;

    request.watch = &watch;
    if (!session_open(&s, args, &exit))
        return exit;
    for (r = session_ask(&s, &request, &exit); r != NULL; r = session_next(&s, &exit)) {
        const Sp__WatchEvent *event = r->event;
        char when[LOCAL_TIME_SIZE];
        char text[256];

        if (event == NULL)
            continue;
        if (s.json) {
            exit = session_print_json(&s, event);
            if (exit != 0)
                break;
            continue;
        }
        local_time(event->at_ms, when);
        printf("%s  %-8s", when, event->event);
        if (event->message != NULL) {
            printf("  %-10s  %s  ", event->message->state, event->message->id);
            text_print_safe(stdout, span_str(peer_of(event->message, text)), false);
            printf("  ");
            text_print_safe(stdout, span_str(event->message->subject), false);
        }
        putchar('\n');
        fflush(stdout);
    }
    session_close(&s);
    return exit;
}
