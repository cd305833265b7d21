#include "audit/leaf_text.h"

#include "common/text.h"
#include "common/uuid.h"
#include "proto/names.h"

#include <inttypes.h>
#include <string.h>

const char *leaf_event(const Sp__Leaf *leaf)
{
    const char *word = name_of(NAME_EVENT, (int)leaf->event);

    return word != NULL ? word : "unknown";
}

void leaf_list(char *const *items, size_t n, struct buf *out)
{
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            buf_put_str(out, ", ");
        buf_put_str(out, items[i]);
    }
}

void leaf_id(const Sp__Leaf *leaf, char out[LEAF_ID_SIZE])
{
    struct uuid id;

    if (uuid_from_bytes(pb_span(leaf->id), &id) == ERR_OK)
        uuid_format(&id, out);
    else
        out[0] = '\0';
}

/* Whether the log's owner speaks of what it did itself, and not of another's receipt. */
static bool is_recipient(const Sp__Leaf *leaf)
{
    for (size_t i = 0; i < leaf->n_recipients; i++) {
        if (strcmp(leaf->recipients[i], leaf->log) == 0)
            return true;
    }
    return false;
}

static void put_recipients(const Sp__Leaf *leaf, const char *before, struct buf *out)
{
    if (leaf->n_recipients == 0)
        return;
    buf_put_str(out, before);
    leaf_list(leaf->recipients, leaf->n_recipients, out);
}

static void put_code(const Sp__Leaf *leaf, struct buf *out)
{
    enum err e = err_from_code(leaf->code);

    if (leaf->code[0] == '\0')
        return;
    buf_printf(out, ": %s", leaf->code);
    if (strcmp(err_code(e), leaf->code) == 0)
        buf_printf(out, " (%s)", err_meaning(e));
}

static void put_at_recipient(const Sp__Leaf *leaf, const char *own, const char *others,
                             struct buf *out)
{
    if (is_recipient(leaf)) {
        buf_printf(out, "%s %s", leaf->log, own);
        return;
    }
    buf_printf(out, "%s holds the receipt that", leaf->log);
    put_recipients(leaf, " ", out);
    buf_printf(out, " %s", others);
}

static void put_peer(const char *before, const char *peer, struct buf *out)
{
    if (peer[0] != '\0')
        buf_printf(out, "%s%s", before, peer);
}

static void put_other(const Sp__Leaf *leaf, struct buf *out)
{
    buf_printf(out, "%s noted: %s", leaf->log, leaf_event(leaf));
    put_recipients(leaf, " for ", out);
    put_peer(" from ", leaf->from, out);
    put_peer(" to ", leaf->to, out);
    if (leaf->count > 0)
        buf_printf(out, ", %" PRIu64 " times", leaf->count);
    put_code(leaf, out);
}

/* A sender's log takes no custody of what it sent: such a leaf rests on a broker's receipt. */
static bool is_sender(const Sp__Leaf *leaf)
{
    return strcmp(leaf->log, leaf->sender) == 0;
}

static void put_accepted(const Sp__Leaf *leaf, struct buf *out)
{
    if (is_sender(leaf)) {
        buf_printf(out, "%s holds the receipt that %s took it into custody", leaf->log, leaf->from);
    } else {
        buf_printf(out, "%s took it into custody", leaf->log);
        put_peer(" from ", leaf->from, out);
    }
    put_recipients(leaf, " for ", out);
}

static void put_relayed(const Sp__Leaf *leaf, struct buf *out)
{
    if (leaf->from[0] != '\0') {
        buf_printf(out, "%s holds the receipt, passed on by %s, that a further broker has it",
                   leaf->log, leaf->from);
        put_recipients(leaf, " for ", out);
        return;
    }
    buf_printf(out, "%s handed it over", leaf->log);
    put_peer(" to ", leaf->to, out);
    put_recipients(leaf, " for ", out);
    buf_put_str(out, " and holds the receipt");
}

static void put_end(const Sp__Leaf *leaf, const char *own, const char *others, struct buf *out)
{
    if (is_sender(leaf) && leaf->from[0] != '\0') {
        buf_printf(out, "%s holds the statement that it %s", leaf->log, others);
        put_recipients(leaf, " for ", out);
    } else {
        buf_printf(out, "%s %s", leaf->log, own);
        put_peer(" from ", leaf->from, out);
        put_recipients(leaf, " for ", out);
    }
    put_code(leaf, out);
}

void leaf_sentence(const Sp__Leaf *leaf, struct buf *out)
{
    switch (leaf->event) {
    case SP__AUDIT_EVENT__AUDIT_EVENT_SUBMITTED:
        buf_printf(out, "%s sealed and signed it and put it into its outbox", leaf->log);
        put_recipients(leaf, " for ", out);
        break;
    case SP__AUDIT_EVENT__AUDIT_EVENT_ACCEPTED:
        put_accepted(leaf, out);
        break;
    case SP__AUDIT_EVENT__AUDIT_EVENT_RELAYED:
        put_relayed(leaf, out);
        break;
    case SP__AUDIT_EVENT__AUDIT_EVENT_DELIVERED:
        put_at_recipient(leaf, "verified and opened it and stored it in its inbox",
                         "has it in its inbox", out);
        break;
    case SP__AUDIT_EVENT__AUDIT_EVENT_OPENED:
        put_at_recipient(leaf, "showed it to an officer for the first time", "has read it", out);
        break;
    case SP__AUDIT_EVENT__AUDIT_EVENT_REFUSED:
        put_end(leaf, "refused it", "was refused", out);
        break;
    case SP__AUDIT_EVENT__AUDIT_EVENT_EXPIRED:
        put_end(leaf, "let it expire", "expired", out);
        break;
    default:
        put_other(leaf, out);
        break;
    }
    if (leaf->officer[0] != '\0')
        buf_printf(out, ", officer %s", leaf->officer);
}

static void json_list(struct jsonline *j, const char *key, char *const *items, size_t n)
{
    jsonline_array(j, key);
    for (size_t i = 0; i < n; i++)
        jsonline_text(j, NULL, items[i]);
    jsonline_close(j);
}

static const char *word_of(enum name_list list, int value)
{
    const char *word = name_of(list, value);

    return word != NULL ? word : "";
}

void leaf_json(const Sp__Leaf *leaf, struct jsonline *j)
{
    char id[LEAF_ID_SIZE];

    leaf_id(leaf, id);
    jsonline_text(j, "event", leaf_event(leaf));
    jsonline_time(j, "at", leaf->at_ms);
    jsonline_text(j, "log", leaf->log);
    jsonline_text(j, "id", id);
    jsonline_hex(j, "envelope", pb_span(leaf->envelope));
    jsonline_text(j, "sender", leaf->sender);
    json_list(j, "recipients", leaf->recipients, leaf->n_recipients);
    json_list(j, "handling", leaf->handling, leaf->n_handling);
    jsonline_text(j, "level", word_of(NAME_LEVEL, (int)leaf->level));
    jsonline_text(j, "urgency", word_of(NAME_URGENCY, (int)leaf->urgency));
    jsonline_time(j, "created", leaf->created_ms);
    jsonline_time(j, "expires", leaf->expires_ms);
    jsonline_u64(j, "directory_version", leaf->directory_version);
    jsonline_text(j, "from", leaf->from);
    jsonline_text(j, "to", leaf->to);
    jsonline_u64(j, "hop", leaf->hop);
    jsonline_text(j, "code", leaf->code);
    jsonline_text(j, "officer", leaf->officer);
    jsonline_hex(j, "cause", pb_span(leaf->cause));
    jsonline_hex(j, "detail", pb_span(leaf->detail));
    jsonline_u64(j, "count", leaf->count);
}
