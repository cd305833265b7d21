/* What the verbs of the local protocol share; nobody else includes it. */
#ifndef SEALPOST_AGENT_LOCAL_INTERNAL_H
#define SEALPOST_AGENT_LOCAL_INTERNAL_H

#include "agent/content.h"
#include "agent/local.h"
#include "agent/run.h"
#include "common/limits.h"
#include "common/log.h"
#include "proto/pb.h"

#include "local.pb-c.h"

#include <pthread.h>

struct local;

/* One connection and its thread. */
struct visitor {
    struct local *local;
    const struct local_options *options;
    struct shell *shell;
    const struct officer *officer;
    int fd;
    int event_fd;
    pthread_t thread;
    bool running; /* the thread is to be joined */
    bool ended;   /* and will not take long */
    struct buf in;
    struct buf out;
    uint64_t tag; /* of the request */
    bool gone;    /* the other side does not listen any more */
};

/* The next request; the caller frees. ERR_UNAVAILABLE when the other side has gone; what pb_decode
 * says. */
enum err visitor_receive(struct visitor *v, struct pb **ret);
/* Sends; a failure sets v->gone. `more`: further ones follow. */
void visitor_respond(struct visitor *v, Sp__Response *response, bool more);
/* `why` may be NULL or "": the error's meaning. */
void visitor_error(struct visitor *v, enum err e, const char *why);
/* The same with another next step than the error's own. */
void visitor_error_next(struct visitor *v, enum err e, const char *why, const char *next);
/* Hands a task to the commit thread and waits for the ticket. Takes over the task. */
void visitor_post(struct visitor *v, struct task *task, struct ticket *ticket);
/* Waits until something was told (true), or the other side spoke or went, or `until_mono_ms`. */
bool visitor_wait(struct visitor *v, uint64_t until_mono_ms);

/* Stored mail, read in one short transaction. */

/* By the id's text; of several with this id the one that was first. ERR_NOT_FOUND, ERR_CORRUPT,
 * ERR_USAGE for a text that is no id. */
enum err mailbox_find(struct store_txn *txn, const char *id, uint64_t *number, struct mail *ret);

/* What lists show of one mail. */
struct row {
    struct pb *summary;
    Sp__Message message; /* borrows from the summary and the next three */
    struct mail_recipient *recipients;
    Sp__RecipientState *states;
    Sp__RecipientState **state_list;
};
enum err row_load(struct visitor *v, struct store_txn *txn, uint64_t number, const struct mail *m,
                  struct row *ret);
/* Puts states and times into a message. Frees with row_fini. */
enum err row_states(struct visitor *v, const struct mail *m, struct row *row);
/* Accepts a zeroed row. */
void row_fini(struct row *r);
/* Names a damaged record in the log. */
void row_damaged(const struct mail *m, uint64_t number, enum err e);

/* All of one mail: what opening.h works with. */
struct letter {
    uint64_t number;
    struct mail mail;
    struct pb *transfer;
    const Sp__Transfer *wire;
    struct envelope *envelope;
    struct secret *file_key;
};
/* Finds and reads by the id's text; on failure the visitor has been told and it gives false. */
bool letter_open(struct visitor *v, const char *id, struct letter *ret);
/* Accepts a zeroed letter. */
void letter_close(struct letter *l);
/* An officer sees received mail: the first time that is logged, before anything of it is shown.
 * False: the visitor has been told why not. */
bool letter_opened(struct visitor *v, const struct letter *l);

/* The verbs. */
void local_send(struct visitor *v, const Sp__SendRequest *q);
void local_list(struct visitor *v, const Sp__ListRequest *q);
void local_show(struct visitor *v, const Sp__ShowRequest *q);
void local_save(struct visitor *v, const Sp__SaveRequest *q);
void local_receipts(struct visitor *v, const Sp__ReceiptsRequest *q);
void local_prove(struct visitor *v, const Sp__ProveRequest *q);
void local_status(struct visitor *v);
void local_directory(struct visitor *v, const Sp__DirectoryRequest *q);
void local_watch(struct visitor *v, const Sp__WatchRequest *q);
void local_wait(struct visitor *v, const Sp__WaitRequest *q);

#endif
