/* What the commit thread tells the threads of officers' connections: results of what they asked
 * for, what has changed in the boxes, and how the agent stands. */
#ifndef SEALPOST_AGENT_BOARD_H
#define SEALPOST_AGENT_BOARD_H

#include "agent/core.h"
#include "agent/record.h"

#include <pthread.h>
#include <stdbool.h>

/* One thing asked of the commit thread, by a thread that waits for it. */
struct ticket {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool done;
    enum err code;
    bool is_new; /* the draft became mail by this; false: it was mail already */
    char rule[AGENT_RULE];
    struct uuid id;
    /* The commit thread's. */
    const struct agent_draft *draft; /* NULL: an opening */
    struct ticket *next;
};
void ticket_init(struct ticket *t, const struct agent_draft *draft);
void ticket_fini(struct ticket *t);
/* Ends the waiting; the ticket is the waiting thread's again. */
void ticket_done(struct ticket *t, enum err code, bool is_new, const char *rule,
                 const struct uuid *id);
void ticket_wait(struct ticket *t);

struct board;
enum err board_new(struct board **ret);
/* Accepts NULL. */
void board_free(struct board *b);

/* Mail (box, number) is new, or its state has changed; already committed. */
struct board_change {
    enum mail_box box;
    uint64_t number;
    bool is_new;
};
#define BOARD_CHANGES 4096 /* remembered */
void board_tell(struct board *b, const struct board_change *change);
/* How many were told so far: where to go on from. */
uint64_t board_told(struct board *b);
/* The changes from `*from` on, at most `max`; moves `*from` behind them. ERR_FULL when some are
 * forgotten already. */
enum err board_read(struct board *b, uint64_t *from, struct board_change *out, size_t max,
                    size_t *n);

/* `event_fd` (eventfd) becomes readable whenever something is told. ERR_FULL at
 * LIMIT_LOCAL_CLIENTS. */
enum err board_subscribe(struct board *b, int event_fd);
void board_unsubscribe(struct board *b, int event_fd);

struct board_facts {
    char home[LIMIT_PEER]; /* that is up; "" when none is */
    uint64_t pending;      /* sent mail that no broker has accepted yet */
    uint64_t inbox;
    uint64_t unopened;
    uint64_t log_size;
    struct digest log_root;
    uint64_t quarantined;
};
void board_set_facts(struct board *b, const struct board_facts *facts);
void board_get_facts(struct board *b, struct board_facts *ret);

#endif
