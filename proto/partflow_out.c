#include "proto/partflow_internal.h"

#include <stdlib.h>
#include <string.h>

static struct partflow_offer *find_offer(struct partflow *f, const char *peer,
                                         const struct digest *sha256)
{
    struct partflow_offer *o = f->offers;

    while (o != NULL && (!digest_equal(&o->sha256, sha256) || strcmp(o->peer, peer) != 0))
        o = o->next;
    return o;
}

static void forget_one(struct partflow *f)
{
    pthread_mutex_lock(&f->lock);
    f->n_offers--;
    pthread_mutex_unlock(&f->lock);
}

void partflow_take_offer(struct partflow *f, const struct partflow_input *in)
{
    struct partflow_offer *o = NULL;

    if (find_offer(f, in->peer, &in->sha256) == NULL)
        o = calloc(1, sizeof *o);
    if (o == NULL) {
        /* There already; or no memory: the peer's want is repeated with the transfer. */
        forget_one(f);
        return;
    }
    memcpy(o->peer, in->peer, sizeof o->peer);
    o->sha256 = in->sha256;
    o->len = in->len;
    o->asked = UINT64_MAX;
    o->next = f->offers;
    f->offers = o;
}

void partflow_take_ask(struct partflow *f, const struct partflow_input *in)
{
    struct partflow_offer *o = find_offer(f, in->peer, &in->sha256);
    uint64_t until;

    if (o == NULL || in->offset > o->len)
        return;
    until = in->credit > o->len - in->offset ? o->len : in->offset + in->credit;
    /* A want that gives no more than the one before asks for a repetition from its offset on; one
     * that does lets the sender go on from where it is. */
    if (o->asked == UINT64_MAX || in->offset <= o->asked || in->offset > o->offset ||
        until <= o->until)
        o->offset = in->offset;
    o->asked = in->offset;
    o->until = until;
}

void partflow_remove_offers(struct partflow *f, const char *peer, const struct digest *sha256)
{
    struct partflow_offer **at = &f->offers;

    while (*at != NULL) {
        struct partflow_offer *o = *at;

        if (strcmp(o->peer, peer) == 0 && (sha256 == NULL || digest_equal(&o->sha256, sha256))) {
            *at = o->next;
            free(o);
            forget_one(f);
        } else {
            at = &o->next;
        }
    }
}

static void send_chunk(struct partflow *f, struct partflow_offer *o)
{
    Sp__PartChunk chunk = SP__PART_CHUNK__INIT;
    Sp__PartChunk *chunks[] = {&chunk};
    Sp__Frame frame = SP__FRAME__INIT;
    uint64_t left = o->until - o->offset;
    size_t want = left < LIMIT_CHUNK ? (size_t)left : LIMIT_CHUNK;
    struct buf out;
    size_t got;

    if (part_dir_read(f->dir, &o->sha256, o->offset, f->block, want, &got) != ERR_OK || got == 0) {
        o->until = o->offset; /* gone: the peer's wait ends with its time-out */
        return;
    }
    chunk.sha256 = pb_bytes(digest_span(&o->sha256));
    chunk.offset = o->offset;
    chunk.data = pb_bytes(span_of(f->block, got));
    frame.chunks = chunks;
    frame.n_chunks = 1;
    buf_init(&out, LIMIT_FRAME);
    pb_encode(&frame, &out);
    f->ops.send(f->ops.ctx, o->peer, &out);
    o->offset += got;
}

/* Makes `o` the first: whoever met the congestion goes on when it is over. */
static void rotate(struct partflow *f, struct partflow_offer *o)
{
    struct partflow_offer **last = &f->offers;
    struct partflow_offer **before = NULL;

    if (o == f->offers)
        return;
    for (; *last != NULL; last = &(*last)->next) {
        if (*last == o)
            before = last;
    }
    *last = f->offers;
    *before = NULL;
    f->offers = o;
}

bool partflow_serve(struct partflow *f, bool *congested)
{
    bool more = false;

    *congested = false;
    for (struct partflow_offer *o = f->offers; o != NULL; o = o->next) {
        if (o->offset >= o->until)
            continue;
        if (!f->ops.can_send(f->ops.ctx)) {
            rotate(f, o);
            *congested = true;
            return true;
        }
        send_chunk(f, o);
        more |= o->offset < o->until;
    }
    return more;
}
