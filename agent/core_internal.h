/* What the files of the core share; nobody else includes it. */
#ifndef SEALPOST_AGENT_CORE_INTERNAL_H
#define SEALPOST_AGENT_CORE_INTERNAL_H

#include "agent/core.h"
#include "agent/record.h"
#include "certs/policy.h"
#include "common/queue.h"

struct agent_core {
    struct agent_options options;
    struct queue *outgoing; /* numbers of sent mail, by home broker */
    struct queue *controls; /* numbers of controls, by broker */
    uint64_t next_mail;     /* numbers are shared by both boxes */
    uint64_t next_control;
    uint64_t log_size;
    uint64_t quarantined;

    /* The update that is being made. */
    struct batch *batch;
    struct agent_send *sends;
    size_t n_sends;
    size_t cap_sends;
    struct agent_update update;
    struct buf scratch;
    struct buf scratch_more;
    enum err err; /* sticky within a step */
};

struct step {
    struct agent_core *core;
    const struct view *view;
    const struct agent_event *event;
    const Sp__Directory *directory;
};

/* Appends a send, zeroed but for kind, peer and leaf. After an error the step fails. */
struct agent_send *act_send(struct step *s, enum agent_send_kind kind, const char *peer);
uint64_t act_leaf(struct step *s, Sp__Leaf *leaf);
void act_fail(struct step *s, enum err e);
/* For an error of reading a record: true when it is damaged or gone, which is counted (it is never
 * served, and stands in nobody's way); other errors fail the step. */
bool act_damaged(struct step *s, enum err e);
void act_changed(struct step *s, enum mail_box box, uint64_t number, bool is_new);

/* core_store.c */
enum err act_load_mail(struct step *s, enum mail_box box, uint64_t number, struct mail *ret);
void act_save_mail(struct step *s, uint64_t number, const struct mail *m);
/* By (id, sender); ERR_NOT_FOUND. */
enum err act_find_mail(struct step *s, const struct uuid *id, const char *sender,
                       enum mail_box *box, uint64_t *number, struct mail *ret);
/* What is written once: bulk, summary, id, names of part files. */
void act_save_new(struct step *s, uint64_t number, const struct mail *m, struct span sealed_key,
                  const Sp__Transfer *transfer, struct span summary,
                  const struct envelope_part *parts, size_t n_parts);
void act_save_pending(struct step *s, uint64_t number, const char *home, bool offered);
void act_drop_pending(struct step *s, uint64_t number);
/* Fills a leaf about `m` and all its recipients, or the one at `only`. Borrows. */
struct leaf_room {
    char *codes[LIMIT_HANDLING];
    char *recipients[LIMIT_RECIPIENTS];
};
#define ALL_RECIPIENTS SIZE_MAX
void mail_leaf(const struct mail *m, Sp__AuditEvent event, size_t only, Sp__Leaf *leaf,
               struct leaf_room *room);
enum err agent_core_rebuild(struct agent_core *c, const struct view *view);

/* core_draft.c */
void act_drafts(struct step *s);
/* core_sent.c */
void act_answer(struct step *s);
void act_control(struct step *s);
void act_outgoing_due(struct step *s, struct entry *e);
/* core_received.c */
#define AGENT_MINUTE_MS 60000
void act_garbage(struct step *s);
/* What was only counted gets one leaf for each peer and minute. */
void act_refusal_summaries(struct step *s);
void act_incoming(struct step *s);
void act_opened(struct step *s);
void act_control_ack(struct step *s);

#endif
