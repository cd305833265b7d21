#include "agent/intake.h"

#include <stdlib.h>

struct intake {
    struct inbound *inbound;
    struct opener **openers;
    unsigned n;
};

enum err intake_new(const struct opener_options *options, struct trusting *trusting,
                    unsigned workers, struct intake **ret)
{
    struct intake *in = calloc(1, sizeof *in);
    enum err e;

    if (in == NULL)
        return ERR_NO_MEMORY;
    in->openers = calloc(workers, sizeof(struct opener *));
    e = in->openers == NULL ? ERR_NO_MEMORY : ERR_OK;
    for (; e == ERR_OK && in->n < workers; in->n++)
        e = opener_new(options, &in->openers[in->n]);
    if (e == ERR_OK)
        e = inbound_new(options->env, trusting, workers, &in->inbound);
    if (e != ERR_OK) {
        intake_free(in);
        return e;
    }
    *ret = in;
    return ERR_OK;
}

void intake_free(struct intake *in)
{
    if (in == NULL)
        return;
    inbound_free(in->inbound);
    for (unsigned i = 0; i < in->n; i++)
        opener_free(in->openers[i]);
    free(in->openers);
    free(in);
}

static void free_opened(void *opened)
{
    opened_free(opened);
}

enum err intake_open(struct opener *opener, struct parcel *p, const struct trust *trust)
{
    if (p->verdict != ERR_OK || p->extra != NULL || opening_waits(opener, p->envelope, p->wire))
        return ERR_OK;
    p->extra = opening_open(opener, p->envelope, p->wire, trust);
    p->extra_free = free_opened;
    return p->extra == NULL ? ERR_NO_MEMORY : ERR_OK;
}

struct job *intake_prepare(struct intake *in, unsigned worker, const char *peer,
                           struct span message)
{
    struct job *job = inbound_prepare(in->inbound, worker, peer, message);

    for (size_t i = 0; job != NULL && i < job->n_items; i++) {
        /* What could not be opened for want of memory is opened by the commit thread. */
        if (job->items[i].kind == INBOUND_TRANSFER)
            (void)intake_open(in->openers[worker], job->items[i].parcel, job->trust);
    }
    return job;
}
