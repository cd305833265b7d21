/* watch and wait: told by the commit thread, nothing is polled. */
#include "agent/local_internal.h"

#include <stdlib.h>
#include <string.h>

#define CHANGES_AT_ONCE 64
#define WAIT_MAX_MS ((uint64_t)86400000)

static enum err load(struct visitor *v, enum mail_box box, uint64_t number, struct mail *m,
                     struct row *row)
{
    struct store_txn *txn;
    struct span value;
    uint8_t key[MAIL_KEY];
    enum err e = store_read_begin(v->options->store, &txn);

    if (e != ERR_OK)
        return e;
    mail_key(box, number, key);
    e = store_get(txn, AGENT_STATE, span_of(key, sizeof key), &value);
    if (e == ERR_OK)
        e = mail_decode(value, m);
    if (e == ERR_OK) {
        e = row_load(v, txn, number, m, row);
        if (e != ERR_OK)
            mail_fini(m);
    }
    store_read_end(txn);
    return e;
}

static void tell(struct visitor *v, const struct board_change *c)
{
    Sp__Response response = SP__RESPONSE__INIT;
    Sp__WatchEvent event = SP__WATCH_EVENT__INIT;
    struct row row = {0};
    struct mail m;
    enum err e = load(v, c->box, c->number, &m, &row);

    if (e != ERR_OK) {
        row_damaged(NULL, c->number, e);
        return;
    }
    event.at_ms = c->is_new ? m.at_ms : env_now_ms(v->options->env);
    event.event = pb_string(c->box == MAIL_IN && c->is_new ? "received" : "state");
    event.message = &row.message;
    response.event = &event;
    visitor_respond(v, &response, true);
    row_fini(&row);
    mail_fini(&m);
}

/* Goes through one box from number `*from` on: takes at most `max` mails of since then. `*more`:
 * the end was not reached. */
static enum err scan(struct store_txn *txn, enum mail_box box, uint64_t since_ms, uint64_t *from,
                     struct board_change *out, size_t max, size_t *n, bool *more)
{
    while (*n < max) {
        uint8_t at[MAIL_KEY];
        struct span key;
        struct span value;
        struct mail m;
        struct rd r;
        enum err e;

        mail_key(box, *from, at);
        e = store_seek(txn, AGENT_STATE, span_of(at, sizeof at), &key, &value);
        if (e == ERR_NOT_FOUND)
            return ERR_OK;
        if (e != ERR_OK && e != ERR_CORRUPT)
            return e;
        if (key.len != MAIL_KEY || key.data[0] != box)
            return ERR_OK;
        r = rd_of(span_of(key.data + 1, key.len - 1));
        *from = rd_u64be(&r) + 1;
        if (e == ERR_OK && mail_decode(value, &m) == ERR_OK) {
            if (m.at_ms >= since_ms)
                out[(*n)++] = (struct board_change){box, *from - 1, true};
            mail_fini(&m);
        }
    }
    *more = true;
    return ERR_OK;
}

/* What happened since a time and is still to be seen, each mail once. Some at a time, so that no
 * transaction is held while the other side reads. */
static enum err tell_since(struct visitor *v, uint64_t since_ms)
{
    struct board_change changes[CHANGES_AT_ONCE];
    uint64_t from[2] = {0, 0};
    bool more = true;
    enum err e = ERR_OK;

    while (e == ERR_OK && more && !v->gone) {
        struct store_txn *txn;
        size_t n = 0;

        more = false;
        e = store_read_begin(v->options->store, &txn);
        if (e != ERR_OK)
            return e;
        e = scan(txn, MAIL_OUT, since_ms, &from[0], changes, CHANGES_AT_ONCE / 2, &n, &more);
        if (e == ERR_OK)
            e = scan(txn, MAIL_IN, since_ms, &from[1], changes, CHANGES_AT_ONCE, &n, &more);
        store_read_end(txn);
        for (size_t i = 0; i < n && !v->gone; i++)
            tell(v, &changes[i]);
    }
    return e;
}

void local_watch(struct visitor *v, const Sp__WatchRequest *q)
{
    struct board_change changes[CHANGES_AT_ONCE];
    uint64_t from = board_told(v->options->board);
    enum err e = q->since_ms == 0 ? ERR_OK : tell_since(v, q->since_ms);

    while (e == ERR_OK && !v->gone) {
        size_t n = 0;

        e = board_read(v->options->board, &from, changes, CHANGES_AT_ONCE, &n);
        for (size_t i = 0; e == ERR_OK && i < n && !v->gone; i++)
            tell(v, &changes[i]);
        /* Whatever the other side says ends the watching; so does its leaving. */
        if (e == ERR_OK && n == 0 && !visitor_wait(v, UINT64_MAX))
            return;
    }
    if (!v->gone)
        visitor_error(v, e,
                      e == ERR_FULL ? "more has happened than could be told; watch again" : "");
}

static bool is_decided(const struct mail *m, uint64_t now, enum transport_state wanted)
{
    for (size_t i = 0; i < m->n_recipients; i++) {
        if (mail_recipient_state(m, i, now) < wanted)
            return false;
    }
    return true;
}

static enum err find(struct visitor *v, const char *id, uint64_t *number, struct mail *m)
{
    struct store_txn *txn;
    enum err e = store_read_begin(v->options->store, &txn);

    if (e == ERR_OK) {
        e = mailbox_find(txn, id, number, m);
        store_read_end(txn);
    }
    return e;
}

/* Looks again whenever this message changed, until all recipients are decided or time is up. */
static enum err wait_until(struct visitor *v, uint64_t number, enum transport_state wanted,
                           uint64_t until_mono_ms, struct mail *m, struct row *row)
{
    for (;;) {
        /* Before the look: what changes during it wakes the wait. */
        uint64_t from = board_told(v->options->board);
        enum err e = load(v, MAIL_OUT, number, m, row);

        if (e != ERR_OK)
            return e;
        if (is_decided(m, env_now_ms(v->options->env), wanted) ||
            env_mono_ms(v->options->env) >= until_mono_ms)
            return ERR_OK;
        row_fini(row);
        mail_fini(m);
        while (board_told(v->options->board) == from) {
            if (visitor_wait(v, until_mono_ms))
                continue;
            if (env_mono_ms(v->options->env) < until_mono_ms)
                return ERR_UNAVAILABLE; /* the other side has gone, or asks for something else */
            break;
        }
    }
}

void local_wait(struct visitor *v, const Sp__WaitRequest *q)
{
    uint64_t timeout_ms = q->timeout_in_ms < WAIT_MAX_MS ? q->timeout_in_ms : WAIT_MAX_MS;
    uint64_t until = env_mono_ms(v->options->env) + timeout_ms;
    Sp__Response response = SP__RESPONSE__INIT;
    struct row row = {0};
    uint64_t number = 0;
    struct mail m = {0};
    int wanted = 0;
    enum err e = name_parse(NAME_STATE, q->state, &wanted);

    if (e != ERR_OK || (wanted != STATE_ACCEPTED && wanted != STATE_DELIVERED)) {
        visitor_error(v, ERR_USAGE, "wait for accepted or delivered");
        return;
    }
    e = find(v, q->id, &number, &m);
    if (e == ERR_OK && m.box != MAIL_OUT)
        e = ERR_USAGE;
    mail_fini(&m);
    if (e != ERR_OK) {
        visitor_error(v, e,
                      e == ERR_NOT_FOUND ? "no message has this id"
                      : e == ERR_USAGE   ? "only for a message that was sent from here"
                                         : "");
        return;
    }
    e = wait_until(v, number, (enum transport_state)wanted, until, &m, &row);
    if (e == ERR_OK) {
        response.message = &row.message;
        visitor_respond(v, &response, false);
        row_fini(&row);
        mail_fini(&m);
    } else if (e != ERR_UNAVAILABLE) {
        visitor_error(v, e, NULL);
    }
}
