#include "agent/cli_common.h"
#include "common/env.h"
#include "common/file.h"
#include "common/limits.h"
#include "common/table.h"
#include "common/text.h"

#include <string.h>

/* Asks, and gives the response; NULL after the reason was printed. */
static const Sp__Response *ask(struct session *s, const struct cli *args,
                               const Sp__Request *request, int *exit)
{
    if (!session_open(s, args, exit))
        return NULL;
    return session_ask(s, request, exit);
}

static int no_answer(const struct session *s)
{
    return cli_fail(stderr, s->json, ERR_MALFORMED, "the agent's answer lacks what was asked for");
}

static int print_receipts(const Sp__ReceiptList *list)
{
    static const struct table_column columns[] = {{"AT", false},  {"EVENT", false}, {"BY", false},
                                                  {"FOR", false}, {"CODE", false},  {"LEAF", true},
                                                  {"OF", true},   {"PROOF", false}, {"LOG", false}};
    struct table *t;
    enum err e = table_new(columns, sizeof columns / sizeof columns[0], &t);

    if (e != ERR_OK)
        return cli_fail(stderr, false, e, NULL);
    for (size_t i = 0; i < list->n_receipts; i++) {
        const Sp__ReceiptView *r = list->receipts[i];
        char text[512];
        char when[LOCAL_TIME_SIZE];

        local_time(r->at_ms, when);
        join_texts(r->recipients, r->n_recipients, text, sizeof text);
        table_cell(t, when);
        table_cell(t, r->event);
        table_cell(t, r->by);
        table_cell(t, text);
        table_cell(t, r->code);
        table_cellf(t, "%llu", (unsigned long long)r->index);
        table_cellf(t, "%llu", (unsigned long long)r->log_size);
        table_cell(t, r->verified ? "holds" : "DOES NOT HOLD");
        table_cell(t, r->log_origin);
    }
    e = table_print(t, stdout);
    table_free(t);
    return e == ERR_OK ? 0 : cli_fail(stderr, false, e, NULL);
}

int cmd_receipts(const struct cli *args)
{
    Sp__ReceiptsRequest receipts = SP__RECEIPTS_REQUEST__INIT;
    Sp__Request request = SP__REQUEST__INIT;
    const Sp__Response *r;
    struct session s = {0};
    bool good = true;
    int exit = 0;

    receipts.id = pb_string(cli_operand(args, 0));
    request.receipts = &receipts;
    r = ask(&s, args, &request, &exit);
    if (r != NULL && r->receipts == NULL) {
        exit = no_answer(&s);
        r = NULL;
    }
    for (size_t i = 0; r != NULL && exit == 0 && i < r->receipts->n_receipts; i++) {
        good &= r->receipts->receipts[i]->verified;
        if (s.json)
            exit = session_print_json(&s, r->receipts->receipts[i]);
    }
    if (r != NULL && exit == 0 && !s.json) {
        if (r->receipts->n_receipts == 0)
            printf("no receipts yet\n");
        else
            exit = print_receipts(r->receipts);
    }
    if (r != NULL && exit == 0 && !good)
        exit = cli_fail(stderr, s.json, ERR_BAD_PROOF, "a receipt does not hold");
    session_close(&s);
    return exit;
}

int cmd_prove(const struct cli *args)
{
    Sp__ProveRequest prove = SP__PROVE_REQUEST__INIT;
    Sp__Request request = SP__REQUEST__INIT;
    const char *path = cli_value(args, "to");
    const Sp__Response *r;
    struct session s = {0};
    int exit = 0;

    prove.id = pb_string(cli_operand(args, 0));
    prove.disclose = cli_flag(args, "disclose");
    request.prove = &prove;
    r = ask(&s, args, &request, &exit);
    if (r != NULL && r->proof == NULL) {
        exit = no_answer(&s);
    } else if (r != NULL) {
        enum err e = file_create(path, pb_span(r->proof->evidence), 0600);

        if (e != ERR_OK)
            exit = cli_fail(stderr, s.json, e, "%s", path);
        else if (s.json)
            printf("{\"bytes\":%zu,\"discloses_content\":%s}\n", r->proof->evidence.len,
                   prove.disclose ? "true" : "false");
        else
            printf("evidence written to %s (%zu bytes)%s\ncheck it with: sealpost-audit check %s "
                   "--root ROOT\n",
                   path, r->proof->evidence.len,
                   prove.disclose ? "; it opens the content to whoever has the ciphertext" : "",
                   path);
    }
    session_close(&s);
    return exit;
}

static void fact(const char *label, const char *value)
{
    printf("%-24s ", label);
    text_print_safe(stdout, span_str(value), false);
    putchar('\n');
}

static void fact_number(const char *label, uint64_t value)
{
    printf("%-24s %llu\n", label, (unsigned long long)value);
}

static void fact_time(const char *label, uint64_t ms)
{
    char text[LOCAL_TIME_SIZE];

    local_time(ms, text);
    fact(label, text);
}

static void print_status(const Sp__Status *t)
{
    char used[TEXT_SIZE_SIZE];
    char size[TEXT_SIZE_SIZE];
    char text[256];
    char *root = text;

    fact("agency", t->agency);
    fact("version", t->version);
    snprintf(text, sizeof text, "%s (%s)", t->broker, t->connected ? "connected" : "not connected");
    fact("home broker", text);
    fact_number("waiting for the broker", t->outbox_pending);
    fact_number("received", t->inbox);
    fact_number("of them not opened", t->unopened);
    fact_number("log size", t->log_size);
    if (t->log_root.len == 32) {
        text_hex(pb_span(t->log_root), root);
        fact("log root", root);
    }
    fact_number("directory version", t->directory_version);
    fact_time("directory expires", t->directory_expires_ms);
    fact_time("timestamp expires", t->timestamp_expires_ms);
    fact_time("certificate expires", t->certificate_expires_ms);
    fact_time("encryption key expires", t->key_expires_ms);
    text_size(t->store_used, used);
    text_size(t->store_size, size);
    snprintf(text, sizeof text, "%s of %s", used, size);
    fact("store", text);
    join_texts(t->roles, t->n_roles, text, sizeof text);
    fact("you", t->officer);
    fact("roles", text);
    for (size_t i = 0; i < t->n_warnings; i++)
        fact("WARNING", t->warnings[i]);
}

int cmd_status(const struct cli *args)
{
    Sp__StatusRequest status = SP__STATUS_REQUEST__INIT;
    Sp__Request request = SP__REQUEST__INIT;
    const Sp__Response *r;
    struct session s = {0};
    int exit = 0;

    request.status = &status;
    r = ask(&s, args, &request, &exit);
    if (r != NULL && r->status == NULL)
        exit = no_answer(&s);
    else if (r != NULL && s.json)
        exit = session_print_json(&s, r->status);
    else if (r != NULL)
        print_status(r->status);
    session_close(&s);
    return exit;
}

static int print_agencies(const Sp__DirectoryView *d)
{
    static const struct table_column columns[] = {{"AGENCY", false},   {"NAME", false},
                                                  {"HANDLING", false}, {"CEILING", false},
                                                  {"HOME", false},     {"KEY UNTIL", false}};
    char when[LOCAL_TIME_SIZE];
    struct table *t;
    enum err e = table_new(columns, sizeof columns / sizeof columns[0], &t);

    if (e != ERR_OK)
        return cli_fail(stderr, false, e, NULL);
    local_time(d->expires_ms, when);
    printf("%s, directory %llu, expires %s\n", d->federation, (unsigned long long)d->version, when);
    for (size_t i = 0; i < d->n_agencies; i++) {
        const Sp__AgencyView *a = d->agencies[i];
        char text[256];

        table_cell(t, a->name);
        table_cell(t, a->title);
        join_texts(a->handling, a->n_handling, text, sizeof text);
        table_cell(t, text);
        table_cell(t, a->ceiling);
        join_texts(a->homes, a->n_homes, text, sizeof text);
        table_cell(t, text);
        local_time(a->key_expires_ms, when);
        table_cell(t, a->key_known ? when : "not known yet");
    }
    e = table_print(t, stdout);
    table_free(t);
    return e == ERR_OK ? 0 : cli_fail(stderr, false, e, NULL);
}

int cmd_directory(const struct cli *args)
{
    Sp__DirectoryRequest directory = SP__DIRECTORY_REQUEST__INIT;
    Sp__Request request = SP__REQUEST__INIT;
    const Sp__Response *r;
    struct session s = {0};
    int exit = 0;

    if (cli_operands(args) > 0)
        directory.agency = pb_string(cli_operand(args, 0));
    request.directory = &directory;
    r = ask(&s, args, &request, &exit);
    if (r != NULL && r->directory == NULL)
        exit = no_answer(&s);
    else if (r != NULL && s.json)
        exit = session_print_json(&s, r->directory);
    else if (r != NULL)
        exit = print_agencies(r->directory);
    session_close(&s);
    return exit;
}
