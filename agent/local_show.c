/* show: one message with its text. Of received mail that is the opening. */
#include "agent/local_internal.h"

#include "agent/opening.h"

#include <stdlib.h>

static void show(struct visitor *v, struct letter *l, const Sp__Content *content)
{
    struct content_view *view = malloc(sizeof *view);
    Sp__Response response = SP__RESPONSE__INIT;
    const char *to[LIMIT_RECIPIENTS];
    struct content_about about;
    struct row row = {0};
    enum err e = view == NULL ? ERR_NO_MEMORY : ERR_OK;

    if (e == ERR_OK) {
        content_about_envelope(l->envelope, l->mail.box == MAIL_IN, to, &about);
        content_view(content, &about, true, view);
        row.message = view->message;
        e = row_states(v, &l->mail, &row);
    }
    if (e == ERR_OK) {
        response.message = &row.message;
        visitor_respond(v, &response, false);
    } else {
        visitor_error(v, e, NULL);
    }
    row_fini(&row);
    if (view != NULL)
        crypto_wipe(view, sizeof *view);
    free(view);
}

/* The state after an opening, which this one may have been. */
static void reload(struct visitor *v, const char *id, struct letter *l)
{
    struct store_txn *txn;
    struct mail now;
    uint64_t number;

    if (store_read_begin(v->options->store, &txn) != ERR_OK)
        return;
    if (mailbox_find(txn, id, &number, &now) == ERR_OK) {
        mail_fini(&l->mail);
        l->mail = now;
    }
    store_read_end(txn);
}

void local_show(struct visitor *v, const Sp__ShowRequest *q)
{
    struct pb *content = NULL;
    struct letter l = {0};
    enum err e;

    if (!letter_open(v, q->id, &l))
        return;
    e = opening_content(v->options->parts, l.envelope, l.wire, l.file_key, &content);
    if (e != ERR_OK) {
        row_damaged(&l.mail, l.number, e);
        visitor_error(v, e, NULL);
    } else if (letter_opened(v, &l)) {
        reload(v, q->id, &l);
        show(v, &l, pb_view(content));
    }
    pb_free(content);
    letter_close(&l);
}
