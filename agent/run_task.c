/* What officers ask of the commit thread. */
#include "agent/run_internal.h"

#include "common/limits.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define DRAFTS_BYTES (16 * LIMIT_MIB) /* of one common step */
#define OPEN_BYTES ((size_t)1024)

struct task *task_new(enum task_kind kind)
{
    struct task *t = calloc(1, sizeof *t);

    if (t != NULL)
        t->kind = kind;
    return t;
}

void task_discard(struct task *t)
{
    if (t == NULL)
        return;
    job_free(t->job);
    if (t->ticket != NULL)
        ticket_done(t->ticket, ERR_UNAVAILABLE, false, "the agent is stopping", NULL);
    free(t);
}

static uint64_t token_of(const struct ticket *t)
{
    return (uint64_t)(uintptr_t)t;
}

static void wait_for(struct run *r, struct ticket *t)
{
    t->next = r->waiting;
    r->waiting = t;
}

static size_t bytes_of(const struct agent_draft *d)
{
    size_t bytes = LIMIT_KIB + d->summary.len;

    for (size_t i = 0; i < d->n_inline_parts; i++)
        bytes += d->inline_parts[i]->data.len;
    return bytes + d->n_to * 256 + d->n_parts * 64;
}

enum err run_draft(struct run *r, struct ticket *ticket)
{
    struct agent_draft *d = &r->drafts[r->n_drafts++];

    *d = *ticket->draft;
    d->token = token_of(ticket);
    r->draft_bytes += bytes_of(d);
    wait_for(r, ticket);
    return r->n_drafts == LIMIT_BATCH || r->draft_bytes >= DRAFTS_BYTES ? run_flush_drafts(r)
                                                                        : ERR_OK;
}

enum err run_flush_drafts(struct run *r)
{
    struct agent_event event = {.kind = AGENT_DRAFTS, .peer = "", .room = true};
    size_t bytes = r->draft_bytes;

    if (r->n_drafts == 0)
        return ERR_OK;
    event.drafts.items = r->drafts;
    event.drafts.count = r->n_drafts;
    r->n_drafts = 0;
    r->draft_bytes = 0;
    return run_step(r, &event, bytes);
}

enum err run_open(struct run *r, const struct task *task)
{
    struct agent_event event = {.kind = AGENT_OPENED, .peer = ""};

    wait_for(r, task->ticket);
    event.opened.token = token_of(task->ticket);
    event.opened.number = task->number;
    event.opened.officer = task->officer;
    return run_step(r, &event, OPEN_BYTES);
}

enum err run_receipt(struct run *r, const struct task *task)
{
    struct store_txn *txn = r->open ? commit_txn(r->committer) : NULL;
    enum err e = ERR_OK;

    if (!r->open)
        e = store_read_begin(r->options.store, &txn);
    if (e == ERR_OK)
        e = audit_log_receipt(r->options.log, txn, task->number, task->receipt);
    if (!r->open)
        store_read_end(txn);
    ticket_done(task->ticket, e, false, "", NULL);
    return ERR_OK;
}

/* A recipient whose keys are not known: they are asked for, so that the next try succeeds. */
static void want_keys(struct run *r, const struct agent_draft *d)
{
    uint64_t now = env_now_ms(r->options.env);

    for (size_t i = 0; i < d->n_to; i++) {
        struct trust_encryption key;

        if (trust_encryption_key(r->trust, d->to[i], ENVELOPE_SUITE_1, now, &key) ==
            ERR_NEED_DOCUMENTS)
            run_want_documents(r, d->to[i]);
    }
}

void run_result(struct run *r, const struct agent_send *send)
{
    struct ticket **at = &r->waiting;
    struct ticket *t;

    while (*at != NULL && token_of(*at) != send->number)
        at = &(*at)->next;
    if (*at == NULL)
        return;
    t = *at;
    *at = t->next;
    if (t->draft != NULL && send->code == ERR_NEED_DOCUMENTS)
        want_keys(r, t->draft);
    ticket_done(t, send->code, send->is_new, send->rule, &send->id);
}

void run_fail_tickets(struct run *r, enum err why)
{
    while (r->waiting != NULL) {
        struct ticket *t = r->waiting;

        r->waiting = t->next;
        ticket_done(t, why, false, "", NULL);
    }
    r->n_drafts = 0;
    r->draft_bytes = 0;
}
