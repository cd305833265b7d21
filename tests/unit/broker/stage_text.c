#include "broker/record.h"
#include "common/file.h"
#include "proto/names.h"
#include "proto/pb.h"
#include "tests/unit/broker/stage_internal.h"

#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

[[gnu::format(printf, 2, 0)]] static void put_line(struct stage *s, const char *format,
                                                   va_list args)
{
    char line[1024];

    if (s->quiet)
        return;
    vsnprintf(line, sizeof line, format, args);
    buf_put_str(&s->text, line);
    buf_put_u8(&s->text, '\n');
    cr_assert_eq(s->text.err, ERR_OK);
}

void stage_line(struct stage *s, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    put_line(s, format, args);
    va_end(args);
}

void stage_note(struct stage *s, const char *format, ...)
{
    va_list args;

    if (s->text.len > 0)
        stage_line(s, "%s", "");
    va_start(args, format);
    put_line(s, format, args);
    va_end(args);
}

const char *stage_time(const struct stage *s)
{
    static char text[32];

    snprintf(text, sizeof text, "t+%.1fs", (double)(s->env.now_ms - s->start_ms) / 1000);
    return text;
}

static char *next_text(size_t size)
{
    static char texts[8][64];
    static unsigned next;

    cr_assert_leq(size, sizeof texts[0]);
    return texts[next++ % 8];
}

const char *stage_label(const struct stage *s, struct span digest)
{
    char *text = next_text(64);

    for (int i = 1; i <= s->n_messages; i++) {
        if (!span_equal(digest_span(envelope_digest(s->messages[i].envelope)), digest))
            continue;
        snprintf(text, 64, "m%d", i);
        return text;
    }
    return "?";
}

static void tell_leaf(struct stage *s, size_t index, struct span bytes)
{
    char names[512] = "";
    struct pb *pb;
    const Sp__Leaf *l;

    cr_assert_eq(pb_decode(&sp__leaf__descriptor, bytes, LIMIT_LEAF, &pb), ERR_OK);
    l = pb_view(pb);
    for (size_t i = 0; i < l->n_recipients; i++)
        snprintf(names + strlen(names), sizeof names - strlen(names), " %s", l->recipients[i]);
    stage_line(s, "    leaf %zu: %s%s%s%s%s%s%s%s%s%s%s", index, name_of(NAME_EVENT, (int)l->event),
               l->envelope.len > 0 ? " " : "",
               l->envelope.len > 0 ? stage_label(s, pb_span(l->envelope)) : "",
               names[0] != '\0' ? " for" : "", names, l->from[0] != '\0' ? ", from " : "", l->from,
               l->to[0] != '\0' ? ", to " : "", l->to, l->code[0] != '\0' ? ", code " : "",
               l->code);
    if (l->count > 0)
        stage_line(s, "        count %llu", (unsigned long long)l->count);
    pb_free(pb);
}

/* A key in a form that does not depend on keys and ids. */
static const char *key_text(const struct stage *s, unsigned table, struct span key)
{
    char *text = next_text(64);
    struct rd r = rd_of(key);

    switch (table) {
    case BROKER_SPOOL:
    case BROKER_EXCHANGE:
    case BROKER_OPEN:
    case BROKER_CONTROL:
        snprintf(text, 64, "%llu", (unsigned long long)rd_u64be(&r));
        return text;
    case BROKER_DONE: {
        double due = ((double)rd_u64be(&r) - (double)s->start_ms) / 3600000;

        snprintf(text, 64, "%llu@t+%.1fh", (unsigned long long)rd_u64be(&r), due);
        return text;
    }
    case BROKER_DOCUMENT:
    case BROKER_META:
        snprintf(text, 64, "%.*s", (int)key.len, (const char *)key.data);
        return text;
    case BROKER_DEDUP:
        for (int i = 1; i <= s->n_messages; i++) {
            struct span id = uuid_bytes(&envelope_header(s->messages[i].envelope)->id);

            if (span_starts_with(key, id)) {
                snprintf(text, 64, "id(m%d)", i);
                return text;
            }
        }
        return "?";
    default:
        return "*";
    }
}

static void tell_changes(struct stage *s, const struct batch *b)
{
    static const char *const ops[] = {
        [CHANGE_PUT] = "=", [CHANGE_APPEND] = "+", [CHANGE_DELETE] = "-"};
    char line[900] = "";

    for (size_t i = 0; i < batch_change_count(b); i++) {
        struct change c = batch_change_at(b, i);

        if (strlen(line) > 800)
            break;
        snprintf(line + strlen(line), sizeof line - strlen(line), " %s%s(%s)", ops[c.op],
                 broker_tables[c.table].name, key_text(s, c.table, c.key));
    }
    if (line[0] != '\0')
        stage_line(s, "    store:%s", line);
}

static const char *outcome_text(Sp__Outcome o)
{
    switch (o) {
    case SP__OUTCOME__OUTCOME_COMMITTED:
        return "committed";
    case SP__OUTCOME__OUTCOME_REFUSED:
        return "refused";
    default:
        return "retry";
    }
}

static void tell_send(struct stage *s, const struct broker_send *send)
{
    unsigned long long number = send->number;
    char receipt[48] = "";

    if (send->leaf != NO_LEAF)
        snprintf(receipt, sizeof receipt, ", receipt of leaf %llu", (unsigned long long)send->leaf);
    switch (send->kind) {
    case BROKER_SEND_ANSWER:
        stage_line(s, "    -> %s: answer %llu about %s: %s%s%s%s%s%s", send->peer, number,
                   stage_label(s, digest_span(&send->digest)), outcome_text(send->outcome),
                   send->code == ERR_OK ? "" : ", ",
                   send->code == ERR_OK ? "" : err_code(send->code),
                   send->rule[0] == '\0' ? "" : ", ", send->rule, receipt);
        break;
    case BROKER_SEND_TRANSFER:
        stage_line(s, "    -> %s: transfer of exchange %llu", send->peer, number);
        break;
    case BROKER_SEND_CONTROL:
        stage_line(s, "    -> %s: control %llu", send->peer, number);
        break;
    case BROKER_SEND_CONTROL_ACK:
        stage_line(s, "    -> %s: control %llu acknowledged", send->peer, number);
        break;
    case BROKER_SEND_DOCUMENTS:
        stage_line(s, "    -> %s: documents of %s", send->peer,
                   send->agency[0] == '\0' ? "all" : send->agency);
        break;
    case BROKER_NEED_PARTS:
        stage_line(s, "    (fetch the parts of transfer %llu from %s)", number, send->peer);
        break;
    case BROKER_DROP_PART:
        stage_line(s, "    (unlink a part)");
        break;
    case BROKER_END_OFFER:
        stage_line(s, "    (%s may no longer fetch the parts of exchange %llu)", send->peer,
                   number);
        break;
    }
}

void stage_tell(struct stage *s, const struct batch *b)
{
    size_t first = memview_leaf_count(s->state) - batch_leaf_count(b);

    if (s->quiet)
        return;
    for (size_t i = 0; i < batch_leaf_count(b); i++)
        tell_leaf(s, first + i, batch_leaf_at(b, i).leaf);
    tell_changes(s, b);
    for (size_t i = 0; i < s->n_sends; i++)
        tell_send(s, &s->sends[i]);
}

void stage_compare(struct stage *s, const char *name)
{
    const char *mode = getenv("SEALPOST_GOLDEN");
    char path[512];
    struct buf golden;

    snprintf(path, sizeof path, "%s/sim/golden/broker-%s.txt", SEALPOST_TESTS, name);
    if (mode != NULL && strcmp(mode, "write") == 0) {
        cr_assert_eq(file_write_atomic(path, buf_span(&s->text), 0644), ERR_OK);
        return;
    }
    cr_assert_eq(file_read(path, LIMIT_MIB, &golden), ERR_OK, "%s is missing", path);
    cr_assert(span_equal(buf_span(&golden), buf_span(&s->text)), "not as in %s; what came out:\n%s",
              path, buf_cstr(&s->text));
    buf_fini(&golden);
}
