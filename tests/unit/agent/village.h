/* One real broker and the agents of two agencies at it, as processes, in a folder of their own; and
 * officers' programs that speak the local protocol. */
#ifndef SEALPOST_TESTS_UNIT_AGENT_VILLAGE_H
#define SEALPOST_TESTS_UNIT_AGENT_VILLAGE_H

#include "agent/client.h"
#include "common/uuid.h"
#include "tests/lib/federation.h"

#include <stdbool.h>
#include <sys/types.h>

#define VILLAGE_WAIT_MS 30000
#define ALL_ROLES "officer, releaser, auditor, administrator"

struct village {
    struct test_env env; /* stands at the machine's time */
    struct federation *federation;
    char dir[64];
    uint16_t port;
    pid_t broker;
    pid_t police;
    pid_t customs;
};

/* Makes everything for tallinn, EE.POLICE and EE.CUSTOMS; starts nothing. */
void village_init(struct village *v);
void village_fini(struct village *v);
/* Writes the agent's configuration anew: the roles of this process's uid, or none for another
 * uid's; further lines. */
void village_configure(struct village *v, const char *agency, const char *roles, const char *more);
void village_write_federation(struct village *v);

/* `who`: "tallinn", "EE.POLICE" or "EE.CUSTOMS". Starts and waits until it is ready. */
void village_start(struct village *v, const char *who);
/* SIGTERM; gives the exit code. */
int village_stop(struct village *v, const char *who);
void village_kill(struct village *v, const char *who);
/* Runs the agent's program to its end; gives the exit code. `out` may be NULL. */
int village_run(struct village *v, const char *arguments, char *out, size_t size);
bool village_log_has(struct village *v, const char *who, const char *text);
void village_path(const struct village *v, const char *who, const char *name, char out[256]);

/* An officer's program. */
struct client *village_visit(struct village *v, const char *agency);
/* Sends the request and gives the first response; the caller frees `*frame`. */
const Sp__Response *village_ask(struct client *c, const Sp__Request *request, struct pb **frame);
const Sp__Response *village_next(struct client *c, struct pb **frame);
/* Asks and expects this error; gives its message in a static buffer. */
const char *village_refused(struct client *c, const Sp__Request *request, const char *code);

/* A request filled with what every draft needs. */
void village_draft(Sp__SendRequest *q, char **to, const char *subject, const char *text);
/* Sends it with attachments of these bytes; gives the id. */
void village_send(struct client *c, Sp__SendRequest *q, const struct span *attachments, size_t n,
                  char id[UUID_TEXT_SIZE]);
/* Waits until every recipient is in `state` at least; gives the message's state. */
void village_await(struct client *c, const char *id, const char *state, char reached[32]);
/* The id of the newest received message; waits for it. */
void village_newest(struct client *c, const char *subject, char id[UUID_TEXT_SIZE]);
/* The message as show gives it. */
const Sp__Message *village_show(struct client *c, const char *id, struct pb **frame);
/* Leaves in the log, once the directory that was found at the start stands in it. */
uint64_t village_log_size(struct client *c);

/* An id that nothing has. */
#define VILLAGE_NOBODY "01939c1e-7b1f-7c3a-8d4e-0123456789ab"

/* A request of each verb but data and watch, to nothing in particular: send, list, show, save,
 * wait, receipts, prove, status, directory. */
struct village_verbs {
    Sp__SendRequest send;
    Sp__ListRequest list;
    Sp__ShowRequest show;
    Sp__SaveRequest save;
    Sp__ReceiptsRequest receipts;
    Sp__ProveRequest prove;
    Sp__StatusRequest status;
    Sp__DirectoryRequest directory;
    Sp__WaitRequest wait;
    Sp__Request requests[9];
};

void village_fill_verbs(struct village_verbs *a);

/* Starts the broker and both agents; stops what runs and ends the village. */
void village_start_all(struct village *v);
void village_stop_all(struct village *v);

#endif
