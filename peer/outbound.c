#include "peer/outbound.h"

#include "proto/pb.h"

#include <stdlib.h>
#include <string.h>

/* A list of messages in a Frame is the concatenation of Frames with one element each, so each kind
 * has its bytes, and a frame is those in the order of the fields. Only acknowledgements are packed
 * numbers. */
enum field {
    FIELD_HELLO,
    FIELD_DOCUMENTS,
    FIELD_TRANSFERS,
    FIELD_ANSWERS,
    FIELD_CONTROLS,
    FIELD_ACKS,
    FIELD_WANTS,
    FIELDS
};

#define ACKS_BYTES (LIMIT_FRAME_ITEMS * 10 + 16)
#define FRAME_SLACK LIMIT_KIB

struct gathered {
    char peer[LIMIT_PEER];
    struct buf fields[FIELDS];
    uint64_t acks[LIMIT_FRAME_ITEMS];
    size_t n_acks;
    size_t items;
    size_t bytes;
};

struct outbound {
    struct outbound_ops ops;
    struct gathered **peers; /* those in use come first */
    size_t n_used;
    size_t n_peers;
    struct gathered *last;
    struct buf one;
    enum err err;
};

enum err outbound_new(const struct outbound_ops *ops, struct outbound **ret)
{
    struct outbound *o = calloc(1, sizeof *o);

    if (o == NULL)
        return ERR_NO_MEMORY;
    o->ops = *ops;
    buf_init(&o->one, LIMIT_FRAME);
    *ret = o;
    return ERR_OK;
}

static void gathered_free(struct gathered *g)
{
    for (size_t i = 0; i < FIELDS; i++)
        buf_fini(&g->fields[i]);
    free(g);
}

void outbound_free(struct outbound *o)
{
    if (o == NULL)
        return;
    for (size_t i = 0; i < o->n_peers; i++)
        gathered_free(o->peers[i]);
    free(o->peers);
    buf_fini(&o->one);
    free(o);
}

static void fail(struct outbound *o, enum err e)
{
    if (o->err == ERR_OK)
        o->err = e;
}

static struct gathered *new_peer(struct outbound *o)
{
    struct gathered *g;

    if (o->n_used == o->n_peers) {
        struct gathered **grown = realloc(o->peers, (o->n_peers + 1) * sizeof *grown);

        if (grown == NULL)
            return NULL;
        o->peers = grown;
        g = calloc(1, sizeof *g);
        if (g == NULL)
            return NULL;
        o->peers[o->n_peers++] = g;
    }
    return o->peers[o->n_used++];
}

static struct gathered *find_peer(struct outbound *o, const char *peer)
{
    struct gathered *g = o->last;

    if (g != NULL && strcmp(g->peer, peer) == 0)
        return g;
    for (size_t i = 0; i < o->n_used; i++) {
        if (strcmp(o->peers[i]->peer, peer) == 0)
            return o->last = o->peers[i];
    }
    g = new_peer(o);
    if (g == NULL) {
        fail(o, ERR_NO_MEMORY);
        return NULL;
    }
    for (size_t i = 0; i < FIELDS; i++)
        buf_init(&g->fields[i], LIMIT_FRAME);
    memcpy(g->peer, peer, strlen(peer) + 1);
    g->n_acks = g->items = g->bytes = 0;
    return o->last = g;
}

static void send_frame(struct outbound *o, struct gathered *g)
{
    struct buf frame;

    if (g->n_acks > 0) {
        Sp__Frame acks = SP__FRAME__INIT;

        acks.control_acks = g->acks;
        acks.n_control_acks = g->n_acks;
        pb_encode(&acks, &g->fields[FIELD_ACKS]);
    }
    buf_init(&frame, LIMIT_FRAME);
    for (size_t i = 0; i < FIELDS; i++) {
        if (g->fields[i].err != ERR_OK)
            fail(o, g->fields[i].err);
        buf_put(&frame, buf_span(&g->fields[i]));
        buf_reset(&g->fields[i]);
    }
    if (frame.err != ERR_OK)
        fail(o, frame.err);
    else if (frame.len > 0)
        o->ops.send(o->ops.ctx, g->peer, &frame);
    buf_fini(&frame);
    g->n_acks = g->items = g->bytes = 0;
}

/* Room for one more item of `bytes`. */
static void make_room(struct outbound *o, struct gathered *g, size_t bytes)
{
    if (g->items == LIMIT_FRAME_ITEMS || g->bytes + bytes + ACKS_BYTES + FRAME_SLACK > LIMIT_FRAME)
        send_frame(o, g);
    g->items++;
    g->bytes += bytes;
}

static void add(struct outbound *o, const char *peer, enum field field, const Sp__Frame *one)
{
    struct gathered *g = find_peer(o, peer);

    if (g == NULL)
        return;
    buf_reset(&o->one);
    pb_encode(one, &o->one);
    if (o->one.err == ERR_NO_MEMORY)
        fail(o, ERR_NO_MEMORY);
    if (o->one.err != ERR_OK || o->one.len + ACKS_BYTES + FRAME_SLACK > LIMIT_FRAME)
        return;
    make_room(o, g, o->one.len);
    buf_put(&g->fields[field], buf_span(&o->one));
}

void outbound_hello(struct outbound *o, const char *peer, const Sp__Hello *hello)
{
    Sp__Frame f = SP__FRAME__INIT;
    Sp__Hello copy = *hello;

    f.hello = &copy;
    add(o, peer, FIELD_HELLO, &f);
}

void outbound_documents(struct outbound *o, const char *peer, struct span documents)
{
    Sp__Frame f = SP__FRAME__INIT;
    ProtobufCBinaryData bytes = pb_bytes(documents);

    f.documents = &bytes;
    f.n_documents = 1;
    add(o, peer, FIELD_DOCUMENTS, &f);
}

void outbound_transfer(struct outbound *o, const char *peer, const Sp__Transfer *transfer)
{
    Sp__Frame f = SP__FRAME__INIT;
    Sp__Transfer copy = *transfer;
    Sp__Transfer *list[] = {&copy};

    f.transfers = list;
    f.n_transfers = 1;
    add(o, peer, FIELD_TRANSFERS, &f);
}

void outbound_answer(struct outbound *o, const char *peer, const Sp__Answer *answer)
{
    Sp__Frame f = SP__FRAME__INIT;
    Sp__Answer copy = *answer;
    Sp__Answer *list[] = {&copy};

    f.answers = list;
    f.n_answers = 1;
    add(o, peer, FIELD_ANSWERS, &f);
}

void outbound_control(struct outbound *o, const char *peer, const Sp__Control *control)
{
    Sp__Frame f = SP__FRAME__INIT;
    Sp__Control copy = *control;
    Sp__Control *list[] = {&copy};

    f.controls = list;
    f.n_controls = 1;
    add(o, peer, FIELD_CONTROLS, &f);
}

void outbound_ack(struct outbound *o, const char *peer, uint64_t tag)
{
    struct gathered *g = find_peer(o, peer);

    if (g == NULL)
        return;
    make_room(o, g, 0);
    g->acks[g->n_acks++] = tag;
}

void outbound_want(struct outbound *o, const char *peer, const Sp__DocumentsWant *want)
{
    Sp__Frame f = SP__FRAME__INIT;
    Sp__DocumentsWant copy = *want;
    Sp__DocumentsWant *list[] = {&copy};

    f.documents_wants = list;
    f.n_documents_wants = 1;
    add(o, peer, FIELD_WANTS, &f);
}

enum err outbound_flush(struct outbound *o)
{
    enum err e;

    for (size_t i = 0; i < o->n_used; i++) {
        if (o->err == ERR_OK)
            send_frame(o, o->peers[i]);
        for (size_t j = 0; j < FIELDS; j++)
            buf_fini(&o->peers[i]->fields[j]);
    }
    o->n_used = 0;
    o->last = NULL;
    e = o->err;
    o->err = ERR_OK;
    return e;
}
