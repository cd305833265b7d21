/* What the files of the core share; nobody else includes it. */
#ifndef SEALPOST_BROKER_CORE_INTERNAL_H
#define SEALPOST_BROKER_CORE_INTERNAL_H

#include "broker/core.h"
#include "broker/record.h"
#include "certs/policy.h"
#include "common/queue.h"

struct broker_core {
    struct broker_options options;
    struct queue *exchanges; /* numbers of exchanges, by next hop */
    struct queue *controls;  /* numbers of controls, by peer */
    uint64_t next_number;    /* of exchange */
    uint64_t next_control;
    uint64_t log_size;    /* index of the next leaf */
    uint64_t next_due_ms; /* of BROKER_DONE, at the latest */
    uint64_t next_prune_ms;
    struct broker_core_stats stats;

    /* The update that is being made. */
    struct batch *batch;
    struct broker_send *sends;
    size_t n_sends;
    size_t cap_sends;
    struct broker_update update;
    struct buf scratch;
    enum err err; /* sticky within a step */
};

/* A step in progress. */
struct step {
    struct broker_core *core;
    const struct view *view;
    const struct broker_event *event;
    const Sp__Directory *directory;
};

/* Appends a send, zeroed but for kind, peer and leaf (NO_LEAF). Never NULL: after an error it
 * points to a dummy, and the step fails. */
struct broker_send *step_send(struct step *s, enum broker_send_kind kind, const char *peer);
/* Adds a leaf and gives its index. at_ms is filled in. */
uint64_t step_leaf(struct step *s, Sp__Leaf *leaf, struct span detail);
/* Remembers the first error. */
void step_fail(struct step *s, enum err e);
/* A record that does not hold is passed over and named (promise of the store: never served). */
void core_quarantine(struct broker_core *c, unsigned table, uint64_t number);
/* For an error of reading record `number`: true when it is damaged or gone, which was counted;
 * other errors fail the step. */
bool step_damaged(struct step *s, enum err e, unsigned table, uint64_t number);

/* core_store.c: records. */
enum err step_load_exchange(struct step *s, uint64_t number, struct exchange *ret);
void step_save_exchange(struct step *s, uint64_t number, const struct exchange *x);
/* By (id, sender) through the dedup table; ERR_NOT_FOUND. */
enum err step_find_exchange(struct step *s, struct span id, const char *sender, uint64_t *number,
                            struct exchange *ret);
void step_save_dedup(struct step *s, const struct uuid *id, const char *sender,
                     const struct dedup *d);
enum err step_load_dedup(struct step *s, const struct uuid *id, const char *sender,
                         struct dedup *ret);
/* Fills a leaf about exchange `x`; strings and spans borrow from it. `codes` holds LIMIT_HANDLING
 * pointers, `recipients` LIMIT_RECIPIENTS. */
struct leaf_room {
    char *codes[LIMIT_HANDLING];
    char *recipients[LIMIT_RECIPIENTS];
};
void exchange_leaf(const struct exchange *x, Sp__AuditEvent event, Sp__Leaf *leaf,
                   struct leaf_room *room);
/* Custody of the last recipient ended: off the list of open ones, to be forgotten later. */
void step_close_exchange(struct step *s, uint64_t number, const struct exchange *x);
bool exchange_is_open(const struct exchange *x);
/* Adds references to the parts of an accepted envelope, or takes them away. */
void step_hold_parts(struct step *s, const struct envelope *e);
/* Forgets what is due and prunes old dedup rows, some at a time. */
void step_forget(struct step *s);
/* Queues one copy for each next hop of the recipients that are still queued. */
enum err core_enqueue(struct broker_core *c, uint64_t number, const struct exchange *x);
enum err core_rebuild(struct broker_core *c, const struct view *view, uint64_t now_ms);

/* core_transfer.c */
void step_transfer(struct step *s);
void step_refusal_summaries(struct step *s);
void step_garbage(struct step *s);
/* core_answer.c */
void step_answer(struct step *s);
void step_exchange_due(struct step *s, struct entry *e);
/* Ends custody of one recipient of `x` (refused or expired) with a statement of our own, which goes
 * back. The caller saves and, when it is no longer open, closes the exchange. */
void step_end_custody(struct step *s, struct exchange *x, struct exchange_recipient *recipient,
                      Sp__AuditEvent event, enum err code, const struct receipt *cause);
/* core_control.c */
bool leaf_names(const Sp__Leaf *leaf, const char *agency);
void step_control(struct step *s);
void step_control_ack(struct step *s);
/* Queues a receipt for the way back of `x`: our leaf, or (leaf NO_LEAF) another's bytes. */
void step_send_back(struct step *s, const struct exchange *x, uint64_t leaf, struct span receipt);
/* core.c: sends what the windows allow. */
void step_pump(struct step *s);

#endif
