/* send: a draft, its attachments, and the new message as it stands in the outbox. */
#include "agent/local_internal.h"

#include "agent/drafting.h"

#include <stdlib.h>
#include <string.h>

/* What a reply takes over, with the memory that it lies in. */
struct origin {
    struct drafting_original original;
    struct mail mail;
    struct row row;
    const char *to[LIMIT_RECIPIENTS];
};

static void origin_fini(struct origin *o)
{
    mail_fini(&o->mail);
    row_fini(&o->row);
}

/* The answer goes to the sender; to one's own message it goes where that went. */
static enum err find_origin(struct visitor *v, const char *id, struct origin *o)
{
    struct store_txn *txn;
    uint64_t number;
    enum err e = store_read_begin(v->options->store, &txn);

    if (e != ERR_OK)
        return e;
    e = mailbox_find(txn, id, &number, &o->mail);
    if (e == ERR_OK)
        e = row_load(v, txn, number, &o->mail, &o->row);
    store_read_end(txn);
    if (e != ERR_OK)
        return e;
    o->original.id = o->mail.id;
    o->original.case_name = o->row.message.case_;
    o->original.subject = o->row.message.subject;
    if (o->mail.box == MAIL_IN) {
        o->to[o->original.n_to++] = o->mail.sender;
    } else {
        for (size_t i = 0; i < o->mail.n_recipients; i++)
            o->to[o->original.n_to++] = o->mail.recipients[i].agency;
    }
    o->original.to = o->to;
    return ERR_OK;
}

static enum err stream(struct visitor *v, struct drafting *d, char why[CONTENT_RULE])
{
    enum err e = ERR_OK;

    while (e == ERR_OK && drafting_wants_data(d)) {
        const Sp__Request *q;
        struct pb *request = NULL;

        e = visitor_receive(v, &request);
        if (e != ERR_OK) {
            v->gone = e == ERR_UNAVAILABLE;
            return e;
        }
        q = pb_view(request);
        if (q->data == NULL) {
            snprintf(why, CONTENT_RULE, "the bytes of an attachment are missing");
            e = ERR_MALFORMED;
        } else {
            e = drafting_put(d, pb_span(q->data->data), q->data->last, why);
        }
        pb_free(request);
    }
    return e;
}

/* Hands the draft to the commit thread; `*is_new` when it became mail by this. */
static enum err commit(struct visitor *v, const struct agent_draft *draft, struct uuid *id,
                       bool *is_new, char why[CONTENT_RULE])
{
    struct task *task = task_new(TASK_DRAFT);
    struct ticket ticket;
    enum err e;

    if (task == NULL)
        return ERR_NO_MEMORY;
    ticket_init(&ticket, draft);
    visitor_post(v, task, &ticket);
    e = ticket.code;
    *is_new = ticket.is_new;
    *id = ticket.id;
    snprintf(why, CONTENT_RULE, "%s", ticket.rule);
    ticket_fini(&ticket);
    return e;
}

static void show_sent(struct visitor *v, const struct uuid *id)
{
    Sp__Response response = SP__RESPONSE__INIT;
    char text[UUID_TEXT_SIZE];
    struct store_txn *txn;
    struct mail m = {0};
    struct row row = {0};
    uint64_t number = 0;
    enum err e = store_read_begin(v->options->store, &txn);

    uuid_format(id, text);
    if (e == ERR_OK) {
        e = mailbox_find(txn, text, &number, &m);
        if (e == ERR_OK)
            e = row_load(v, txn, number, &m, &row);
        store_read_end(txn);
    }
    if (e == ERR_OK) {
        response.message = &row.message;
        visitor_respond(v, &response, false);
    } else {
        visitor_error(v, e, NULL);
    }
    row_fini(&row);
    mail_fini(&m);
}

/* The table's words are for what comes from other software; a draft is a person's. */
static const char *next_step(enum err e)
{
    switch (e) {
    case ERR_MALFORMED:
        return "correct it and send it again";
    case ERR_CLOCK:
        return "leave the id out, or make it now; else the operator sets the clock right";
    case ERR_NOT_ALLOWED:
        return "send it to another agency";
    default:
        return err_next(e);
    }
}

static void send_with(struct visitor *v, const Sp__SendRequest *q, const struct trust *trust,
                      const struct origin *o)
{
    const struct settings *s = v->options->settings;
    struct drafting_options options = {.env = v->options->env,
                                       .vault = v->options->vault,
                                       .parts = v->options->parts,
                                       .trust = trust,
                                       .agency = s->agency,
                                       .officer = v->officer->id,
                                       .officer_name = v->officer->name,
                                       .original = o == NULL ? NULL : &o->original};
    const struct agent_draft *draft;
    char why[CONTENT_RULE] = "";
    struct drafting *d = NULL;
    bool is_new = false;
    struct uuid id;
    enum err e = drafting_new(&options, q, &d, why);

    if (e == ERR_OK)
        e = stream(v, d, why);
    if (e == ERR_OK)
        e = drafting_finish(d, &draft, why);
    if (e == ERR_OK)
        e = commit(v, draft, &id, &is_new, why);
    if (d != NULL && !is_new && e != ERR_IN_DOUBT)
        drafting_drop_files(d);
    drafting_free(d);
    if (v->gone)
        return;
    if (e == ERR_OK)
        show_sent(v, &id);
    else
        visitor_error_next(v, e, why, next_step(e));
}

void local_send(struct visitor *v, const Sp__SendRequest *q)
{
    struct trust *trust = trusting_current(v->options->trusting);
    struct origin *o = NULL;
    enum err e = ERR_OK;

    if (q->reply_to[0] != '\0') {
        o = calloc(1, sizeof *o);
        e = o == NULL ? ERR_NO_MEMORY : find_origin(v, q->reply_to, o);
    }
    if (e == ERR_OK)
        send_with(v, q, trust, o);
    else
        visitor_error(v, e, e == ERR_NOT_FOUND ? "the message that this answers is not here" : "");
    if (o != NULL)
        origin_fini(o);
    free(o);
    trust_free(trust);
}
