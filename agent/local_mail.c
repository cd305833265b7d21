/* Reading stored mail for the verbs. */
#include "agent/local_internal.h"

#include "agent/opening.h"

#include <stdlib.h>
#include <string.h>

static enum err load_mail(struct store_txn *txn, enum mail_box box, uint64_t number,
                          struct mail *ret)
{
    uint8_t key[MAIL_KEY];
    struct span value;
    enum err e;

    mail_key(box, number, key);
    e = store_get(txn, AGENT_STATE, span_of(key, sizeof key), &value);
    return e == ERR_OK ? mail_decode(value, ret) : e;
}

enum err mailbox_find(struct store_txn *txn, const char *id, uint64_t *number, struct mail *ret)
{
    enum mail_box best_box = MAIL_OUT;
    uint64_t best = UINT64_MAX;
    struct store_cursor *c = NULL;
    struct uuid uuid;
    struct span key;
    struct span value;
    enum err e;

    if (uuid_parse(span_str(id), &uuid) != ERR_OK)
        return ERR_USAGE;
    e = store_cursor_new(txn, AGENT_ID, store_prefix(uuid_bytes(&uuid)), &c);
    if (e != ERR_OK)
        return e;
    while ((e = store_cursor_next(c, &key, &value)) == ERR_OK || e == ERR_CORRUPT) {
        enum mail_box box;
        uint64_t n;

        if (e == ERR_OK && mail_ref_decode(value, &box, &n) == ERR_OK && n < best) {
            best_box = box;
            best = n;
        }
    }
    store_cursor_free(c);
    if (e != ERR_NOT_FOUND)
        return e;
    e = best == UINT64_MAX ? ERR_NOT_FOUND : load_mail(txn, best_box, best, ret);
    if (e == ERR_OK)
        *number = best;
    return e == ERR_NOT_FOUND && best != UINT64_MAX ? ERR_CORRUPT : e;
}

void row_damaged(const struct mail *m, uint64_t number, enum err e)
{
    if (m != NULL)
        log_event(log_error("damaged-record"), log_u64("number", number), log_uuid("id", &m->id),
                  log_code(e));
    else
        log_event(log_error("damaged-record"), log_u64("number", number), log_code(e));
}

static void put_state(Sp__RecipientState *s, const char *agency, enum transport_state state,
                      uint64_t at_ms)
{
    sp__recipient_state__init(s);
    s->agency = pb_string(agency);
    s->state = pb_string(name_of(NAME_STATE, (int)state));
    s->at_ms = at_ms;
}

/* Of received mail only our own state is known. */
static void received_states(struct visitor *v, const struct mail *m, struct row *row)
{
    enum transport_state state = m->opened_ms != 0 ? STATE_OPENED : STATE_DELIVERED;

    put_state(&row->states[0], v->options->settings->agency, state,
              m->opened_ms != 0 ? m->opened_ms : m->at_ms);
    row->state_list[0] = &row->states[0];
    row->message.n_recipients = 1;
    row->message.state = row->states[0].state;
    row->message.received_ms = m->at_ms;
}

static void sent_states(const struct mail *m, uint64_t now, struct row *row)
{
    for (size_t i = 0; i < m->n_recipients; i++) {
        const struct mail_recipient *p = &row->recipients[i];
        Sp__RecipientState *s = &row->states[i];

        put_state(s, p->agency, mail_recipient_state(m, i, now), p->at_ms);
        if (p->code != ERR_OK) {
            s->code = pb_string(err_code(p->code));
            s->reason = pb_string(p->reason[0] != '\0' ? p->reason : err_meaning(p->code));
        }
        row->state_list[i] = s;
    }
    row->message.n_recipients = m->n_recipients;
    row->message.state = pb_string(name_of(NAME_STATE, (int)mail_state(m, now)));
}

enum err row_states(struct visitor *v, const struct mail *m, struct row *row)
{
    row->states = calloc(m->n_recipients, sizeof *row->states);
    row->state_list = calloc(m->n_recipients, sizeof(Sp__RecipientState *));
    row->recipients = calloc(m->n_recipients, sizeof *row->recipients);
    if (row->states == NULL || row->state_list == NULL || row->recipients == NULL)
        return ERR_NO_MEMORY;
    memcpy(row->recipients, m->recipients, m->n_recipients * sizeof *row->recipients);
    row->message.recipients = row->state_list;
    if (m->box == MAIL_IN)
        received_states(v, m, row);
    else
        sent_states(m, env_now_ms(v->options->env), row);
    return ERR_OK;
}

void row_fini(struct row *r)
{
    pb_free(r->summary);
    free(r->states);
    free(r->state_list);
    free(r->recipients);
    *r = (struct row){0};
}

enum err row_load(struct visitor *v, struct store_txn *txn, uint64_t number, const struct mail *m,
                  struct row *ret)
{
    uint8_t room[OPENING_NAME];
    uint8_t key[MAIL_KEY];
    struct row row = {0};
    struct buf plain;
    struct span value;
    enum err e;

    buf_init(&plain, LIMIT_MIB);
    mail_key(m->box, number, key);
    e = store_get(txn, AGENT_SUMMARY, span_of(key, sizeof key), &value);
    if (e == ERR_OK)
        e = vault_open(v->options->vault, opening_name(&m->id, m->sender, room), value, &plain);
    if (e == ERR_OK)
        e = pb_decode(&sp__message__descriptor, buf_span(&plain), LIMIT_MIB, &row.summary);
    if (e == ERR_OK) {
        row.message = *(const Sp__Message *)pb_view(row.summary);
        e = row_states(v, m, &row);
    }
    buf_wipe(&plain);
    if (e != ERR_OK) {
        row_fini(&row);
        return e == ERR_NO_MEMORY ? e : ERR_CORRUPT;
    }
    *ret = row;
    return ERR_OK;
}

static enum err read_letter(struct visitor *v, struct store_txn *txn, const char *id,
                            struct letter *l)
{
    uint8_t room[OPENING_NAME];
    uint8_t key[MAIL_KEY];
    struct span sealed_key;
    struct span transfer;
    struct span value;
    enum err e = mailbox_find(txn, id, &l->number, &l->mail);

    if (e != ERR_OK)
        return e;
    mail_key(l->mail.box, l->number, key);
    e = store_get(txn, AGENT_MAIL, span_of(key, sizeof key), &value);
    if (e == ERR_OK)
        e = mail_bulk_decode(value, &sealed_key, &transfer);
    if (e == ERR_OK)
        e = vault_open_key(v->options->vault, opening_name(&l->mail.id, l->mail.sender, room),
                           sealed_key, &l->file_key);
    if (e == ERR_OK)
        e = pb_decode(&sp__transfer__descriptor, transfer, LIMIT_FRAME, &l->transfer);
    if (e == ERR_OK) {
        l->wire = pb_view(l->transfer);
        e = envelope_decode(pb_span(l->wire->envelope), &l->envelope);
    }
    /* It was whole when it was stored. */
    return e == ERR_OK || e == ERR_NO_MEMORY ? e : ERR_CORRUPT;
}

bool letter_open(struct visitor *v, const char *id, struct letter *ret)
{
    struct letter l = {0};
    struct store_txn *txn;
    enum err e = store_read_begin(v->options->store, &txn);

    if (e == ERR_OK) {
        e = read_letter(v, txn, id, &l);
        store_read_end(txn);
    }
    if (e == ERR_CORRUPT)
        row_damaged(l.mail.n_recipients > 0 ? &l.mail : NULL, l.number, e);
    if (e != ERR_OK) {
        letter_close(&l);
        visitor_error(v, e,
                      e == ERR_NOT_FOUND ? "no message has this id"
                      : e == ERR_USAGE   ? "that is no id of a message"
                                         : NULL);
        return false;
    }
    *ret = l;
    return true;
}

void letter_close(struct letter *l)
{
    mail_fini(&l->mail);
    secret_free(l->file_key);
    envelope_free(l->envelope);
    pb_free(l->transfer);
    *l = (struct letter){0};
}

bool letter_opened(struct visitor *v, const struct letter *l)
{
    struct ticket ticket;
    struct task *task;
    enum err e;

    if (l->mail.box == MAIL_OUT || l->mail.opened_ms != 0)
        return true;
    task = task_new(TASK_OPEN);
    if (task == NULL) {
        visitor_error(v, ERR_NO_MEMORY, NULL);
        return false;
    }
    ticket_init(&ticket, NULL);
    task->number = l->number;
    snprintf(task->officer, sizeof task->officer, "%s", v->officer->id);
    visitor_post(v, task, &ticket);
    e = ticket.code;
    ticket_fini(&ticket);
    if (e != ERR_OK)
        visitor_error(v, e, "opening could not be recorded");
    return e == ERR_OK;
}
