/* list: the newest mail of one box or both, without opening anything. */
#include "agent/local_internal.h"

#include <stdlib.h>
#include <string.h>

#define LIST_DEFAULT 100
#define LIST_BYTES (LIMIT_LOCAL_FRAME - 256 * LIMIT_KIB)

struct listing {
    struct visitor *visitor;
    struct store_txn *txn;
    const Sp__ListRequest *request;
    int state; /* 0: any */
    size_t limit;
    struct row *rows;
    Sp__Message **messages;
    size_t n;
    size_t bytes;
};

/* One box, newest first. */
struct place {
    struct store_cursor *cursor;
    bool there;
    enum mail_box box;
    uint64_t number;
    struct span value;
    enum err held; /* of the record */
};

static void step(struct place *p)
{
    struct span key;
    enum err e = store_cursor_prev(p->cursor, &key, &p->value);

    p->there = (e == ERR_OK || e == ERR_CORRUPT) && key.len == MAIL_KEY;
    p->held = e;
    if (p->there) {
        struct rd r = rd_of(span_of(key.data + 1, key.len - 1));

        p->number = rd_u64be(&r);
    }
}

static enum err start(struct listing *l, struct place *p, enum mail_box box)
{
    uint8_t prefix = (uint8_t)box;
    enum err e =
        store_cursor_new(l->txn, AGENT_STATE, store_prefix(span_of(&prefix, 1)), &p->cursor);

    p->box = box;
    if (e == ERR_OK)
        step(p);
    return e;
}

/* Takes it when it is asked for. */
static enum err consider(struct listing *l, const struct place *p)
{
    const Sp__ListRequest *q = l->request;
    struct row row = {0};
    struct mail m;
    enum err e = p->held == ERR_OK ? mail_decode(p->value, &m) : p->held;

    if (e != ERR_OK) {
        row_damaged(NULL, p->number, e);
        return e == ERR_NO_MEMORY ? e : ERR_OK;
    }
    if (m.at_ms >= q->since_ms)
        e = row_load(l->visitor, l->txn, p->number, &m, &row);
    if (e == ERR_CORRUPT)
        row_damaged(&m, p->number, e);
    mail_fini(&m);
    if (e != ERR_OK || row.summary == NULL)
        return e == ERR_NO_MEMORY ? e : ERR_OK;
    if ((q->case_[0] != '\0' && strcmp(q->case_, row.message.case_) != 0) ||
        (l->state != 0 && strcmp(row.message.state, name_of(NAME_STATE, l->state)) != 0)) {
        row_fini(&row);
        return ERR_OK;
    }
    l->rows[l->n] = row;
    l->messages[l->n] = &l->rows[l->n].message;
    l->n++;
    return ERR_OK;
}

/* A list must fit into one frame: measured by encoding it. */
static bool fits(struct listing *l)
{
    struct buf one;

    buf_init(&one, LIMIT_LOCAL_FRAME);
    pb_encode(l->messages[l->n - 1], &one);
    l->bytes += one.len + 8;
    buf_wipe(&one);
    return l->bytes < LIST_BYTES;
}

static enum err collect(struct listing *l, bool in, bool out)
{
    struct place places[2] = {0};
    enum err e = ERR_OK;

    if (in)
        e = start(l, &places[0], MAIL_IN);
    if (e == ERR_OK && out)
        e = start(l, &places[1], MAIL_OUT);
    while (e == ERR_OK && l->n < l->limit && (places[0].there || places[1].there)) {
        bool first = places[0].there && (!places[1].there || places[0].number > places[1].number);
        struct place *p = &places[first ? 0 : 1];
        size_t before = l->n;

        e = consider(l, p);
        if (e == ERR_OK && l->n > before && !fits(l)) {
            row_fini(&l->rows[--l->n]);
            break;
        }
        if (e == ERR_OK)
            step(p);
    }
    store_cursor_free(places[0].cursor);
    store_cursor_free(places[1].cursor);
    return e;
}

static enum err parse(struct listing *l, bool *in, bool *out)
{
    const Sp__ListRequest *q = l->request;
    bool all = q->box[0] == '\0' || strcmp(q->box, "all") == 0;

    *in = all || strcmp(q->box, "in") == 0;
    *out = all || strcmp(q->box, "out") == 0;
    if ((!*in && !*out) || q->limit > LIMIT_LIST)
        return ERR_USAGE;
    l->limit = q->limit == 0 ? LIST_DEFAULT : q->limit;
    return q->state[0] == '\0' ? ERR_OK : name_parse(NAME_STATE, q->state, &l->state);
}

void local_list(struct visitor *v, const Sp__ListRequest *q)
{
    struct listing l = {.visitor = v, .request = q};
    Sp__Response response = SP__RESPONSE__INIT;
    Sp__MessageList list = SP__MESSAGE_LIST__INIT;
    bool in, out;
    enum err e = parse(&l, &in, &out);

    if (e != ERR_OK) {
        visitor_error(v, e, "box is in, out or all; limit at most 1000; state a state's word");
        return;
    }
    l.rows = calloc(l.limit, sizeof *l.rows);
    l.messages = calloc(l.limit, sizeof(Sp__Message *));
    if (l.rows == NULL || l.messages == NULL)
        e = ERR_NO_MEMORY;
    if (e == ERR_OK)
        e = store_read_begin(v->options->store, &l.txn);
    if (e == ERR_OK) {
        e = collect(&l, in, out);
        store_read_end(l.txn);
    }
    list.messages = l.messages;
    list.n_messages = l.n;
    response.messages = &list;
    if (e == ERR_OK)
        visitor_respond(v, &response, false);
    else
        visitor_error(v, e, NULL);
    for (size_t i = 0; l.rows != NULL && i < l.n; i++)
        row_fini(&l.rows[i]);
    free(l.rows);
    free(l.messages);
}
