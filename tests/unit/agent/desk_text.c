#include "common/file.h"
#include "proto/names.h"
#include "proto/pb.h"
#include "tests/unit/agent/desk_internal.h"

#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

[[gnu::format(printf, 2, 0)]] static void put_line(struct desk *d, const char *format, va_list args)
{
    char line[1024];

    if (d->quiet)
        return;
    vsnprintf(line, sizeof line, format, args);
    buf_put_str(&d->text, line);
    buf_put_u8(&d->text, '\n');
    cr_assert_eq(d->text.err, ERR_OK);
}

void desk_line(struct desk *d, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    put_line(d, format, args);
    va_end(args);
}

void desk_note(struct desk *d, const char *format, ...)
{
    va_list args;

    if (d->text.len > 0)
        desk_line(d, "%s", "");
    va_start(args, format);
    put_line(d, format, args);
    va_end(args);
}

const char *desk_time(const struct desk *d)
{
    static char text[32];

    snprintf(text, sizeof text, "t+%.1fs", (double)(d->env.now_ms - d->start_ms) / 1000);
    return text;
}

static char *next_text(void)
{
    static char texts[8][64];
    static unsigned next;

    return texts[next++ % 8];
}

const char *desk_label(const struct desk *d, struct span digest)
{
    char *text = next_text();

    for (int i = 1; i <= d->n_messages; i++) {
        if (d->messages[i].envelope == NULL ||
            !span_equal(digest_span(envelope_digest(d->messages[i].envelope)), digest))
            continue;
        snprintf(text, 64, "m%d", i);
        return text;
    }
    return "?";
}

static void tell_leaf(struct desk *d, size_t index, struct span bytes)
{
    char names[512] = "";
    struct pb *pb;
    const Sp__Leaf *l;

    cr_assert_eq(pb_decode(&sp__leaf__descriptor, bytes, LIMIT_LEAF, &pb), ERR_OK);
    l = pb_view(pb);
    for (size_t i = 0; i < l->n_recipients; i++)
        snprintf(names + strlen(names), sizeof names - strlen(names), " %s", l->recipients[i]);
    desk_line(d, "    leaf %zu: %s%s%s%s%s%s%s%s%s%s%s", index, name_of(NAME_EVENT, (int)l->event),
              l->envelope.len > 0 ? " " : "",
              l->envelope.len > 0 ? desk_label(d, pb_span(l->envelope)) : "",
              names[0] != '\0' ? " for" : "", names, l->from[0] != '\0' ? ", from " : "", l->from,
              l->officer[0] != '\0' ? ", by " : "", l->officer, l->code[0] != '\0' ? ", code " : "",
              l->code);
    if (l->count > 0)
        desk_line(d, "        count %llu", (unsigned long long)l->count);
    pb_free(pb);
}

static const char *id_text(const struct desk *d, struct span key)
{
    char *text = next_text();

    for (int i = 1; i <= d->n_messages; i++) {
        if (!span_starts_with(key, uuid_bytes(&d->messages[i].id)))
            continue;
        snprintf(text, 64, "m%d", i);
        return text;
    }
    return "?";
}

/* A key in a form that does not depend on keys and ids. */
static const char *key_text(const struct desk *d, unsigned table, struct span key)
{
    struct rd r = rd_of(key);
    char *text = next_text();

    switch (table) {
    case AGENT_STATE:
    case AGENT_MAIL:
    case AGENT_SUMMARY:
        snprintf(text, 64, "%s ", rd_u8(&r) == MAIL_OUT ? "sent" : "received");
        snprintf(text + strlen(text), 64 - strlen(text), "%llu", (unsigned long long)rd_u64be(&r));
        return text;
    case AGENT_PENDING:
    case AGENT_CONTROL:
    case AGENT_RECEIPT:
        snprintf(text, 64, "%llu", (unsigned long long)rd_u64be(&r));
        return text;
    case AGENT_DOCUMENT:
    case AGENT_META:
    case AGENT_STREAM:
    case AGENT_SEEN:
        snprintf(text, 64, "%.*s", (int)key.len, (const char *)key.data);
        return text;
    case AGENT_ID:
        return id_text(d, key);
    default:
        return "*";
    }
}

static void tell_changes(struct desk *d, const struct batch *b)
{
    static const char *const ops[] = {
        [CHANGE_PUT] = "=", [CHANGE_APPEND] = "+", [CHANGE_DELETE] = "-"};
    char line[900] = "";

    for (size_t i = 0; i < batch_change_count(b); i++) {
        struct change c = batch_change_at(b, i);

        if (strlen(line) > 780)
            break;
        snprintf(line + strlen(line), sizeof line - strlen(line), " %s%s(%s)", ops[c.op],
                 agent_tables[c.table].name, key_text(d, c.table, c.key));
    }
    if (line[0] != '\0')
        desk_line(d, "    store:%s", line);
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

static void tell_changed(struct desk *d, const struct agent_send *send)
{
    struct mail m = desk_record(d, (enum mail_box)send->box, send->number);
    char states[512] = "";

    for (size_t i = 0; i < m.n_recipients; i++) {
        if (m.box == MAIL_IN && strcmp(m.recipients[i].agency, d->options.agency) != 0)
            continue;
        snprintf(states + strlen(states), sizeof states - strlen(states), " %s=%s",
                 m.recipients[i].agency, name_of(NAME_STATE, (int)m.recipients[i].state));
    }
    desk_line(d, "    officers see: %s mail %llu%s:%s%s", m.box == MAIL_OUT ? "sent" : "received",
              (unsigned long long)send->number, send->is_new ? ", new" : "", states,
              m.gap ? ", something is missing before it" : "");
    mail_fini(&m);
}

static void tell_send(struct desk *d, const struct agent_send *send)
{
    unsigned long long number = send->number;
    char receipt[48] = "";

    if (send->leaf != AGENT_NO_LEAF)
        snprintf(receipt, sizeof receipt, ", receipt of leaf %llu", (unsigned long long)send->leaf);
    switch (send->kind) {
    case AGENT_SEND_ANSWER:
        desk_line(d, "    -> %s: answer %llu about %s: %s%s%s%s%s%s", send->peer, number,
                  desk_label(d, digest_span(&send->digest)), outcome_text(send->outcome),
                  send->code == ERR_OK ? "" : ", ",
                  send->code == ERR_OK ? "" : err_code(send->code),
                  send->rule[0] == '\0' ? "" : ", ", send->rule, receipt);
        break;
    case AGENT_SEND_TRANSFER:
        desk_line(d, "    -> %s: transfer of sent mail %llu", send->peer, number);
        break;
    case AGENT_SEND_CONTROL:
        desk_line(d, "    -> %s: control %llu", send->peer, number);
        break;
    case AGENT_SEND_CONTROL_ACK:
        desk_line(d, "    -> %s: control %llu acknowledged", send->peer, number);
        break;
    case AGENT_SEND_DOCUMENTS:
        desk_line(d, "    -> %s: our documents", send->peer);
        break;
    case AGENT_NEED_PARTS:
        desk_line(d, "    (fetch the parts of transfer %llu from %s)", number, send->peer);
        break;
    case AGENT_LOCAL_RESULT:
        desk_line(d, "    officer gets: %llu %s%s%s", number, err_code(send->code),
                  send->rule[0] == '\0' ? "" : ", ", send->rule);
        break;
    case AGENT_LOCAL_CHANGED:
        tell_changed(d, send);
        break;
    }
}

/* Drafts that were sealed now are messages. */
static void learn(struct desk *d)
{
    for (int i = 1; i <= d->n_messages; i++) {
        struct desk_message *m = &d->messages[i];
        uint8_t key[MAIL_ID_KEY];
        struct span sealed_key;
        struct span value;
        struct span wire;
        struct pb *pb;

        if (m->envelope != NULL)
            continue;
        mail_id_key(&m->id, d->options.agency, key);
        if (view_get(memview_view(d->state), AGENT_ID, span_of(key, sizeof key), &value) != ERR_OK)
            continue;
        if (view_get(memview_view(d->state), AGENT_MAIL, value, &value) != ERR_OK)
            continue;
        cr_assert_eq(mail_bulk_decode(value, &sealed_key, &wire), ERR_OK);
        cr_assert(span_equal(sealed_key, span_str("sealed key")));
        cr_assert_eq(pb_decode(&sp__transfer__descriptor, wire, LIMIT_FRAME, &pb), ERR_OK);
        cr_assert_eq(
            envelope_decode(pb_span(((const Sp__Transfer *)pb_view(pb))->envelope), &m->envelope),
            ERR_OK);
        pb_free(pb);
    }
}

void desk_tell(struct desk *d, const struct batch *b)
{
    size_t first = memview_leaf_count(d->state) - batch_leaf_count(b);

    learn(d);
    if (d->quiet)
        return;
    for (size_t i = 0; i < batch_leaf_count(b); i++)
        tell_leaf(d, first + i, batch_leaf_at(b, i).leaf);
    tell_changes(d, b);
    for (size_t i = 0; i < d->n_sends; i++)
        tell_send(d, &d->sends[i]);
}

void desk_compare(struct desk *d, const char *name)
{
    const char *mode = getenv("SEALPOST_GOLDEN");
    char path[512];
    struct buf golden;

    snprintf(path, sizeof path, "%s/sim/golden/agent_%s.txt", SEALPOST_TESTS, name);
    if (mode != NULL && strcmp(mode, "write") == 0) {
        cr_assert_eq(file_write_atomic(path, buf_span(&d->text), 0644), ERR_OK);
        return;
    }
    cr_assert_eq(file_read(path, LIMIT_MIB, &golden), ERR_OK, "%s is missing", path);
    cr_assert(span_equal(buf_span(&golden), buf_span(&d->text)), "not as in %s; what came out:\n%s",
              path, buf_cstr(&d->text));
    buf_fini(&golden);
}
