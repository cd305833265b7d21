/* What the files of partflow share. Private to proto/partflow*.c.
 *
 * partflow.c      the thread and its inputs
 * partflow_in.c   parts that we fetch
 * partflow_out.c  parts that peers fetch from us
 *
 * The functions of the last two run in the thread. */
#ifndef SEALPOST_PROTO_PARTFLOW_INTERNAL_H
#define SEALPOST_PROTO_PARTFLOW_INTERNAL_H

#include "common/limits.h"
#include "proto/partflow.h"
#include "proto/pb.h"

#include <pthread.h>
#include <stdbool.h>

enum partflow_input_kind {
    INPUT_WANT_LOCAL,
    INPUT_CANCEL,
    INPUT_OFFER,
    INPUT_WITHDRAW,
    INPUT_WANT,
    INPUT_CHUNK,
    INPUT_DOWN,
    INPUT_UP,
};

struct partflow_input {
    struct partflow_input *next;
    enum partflow_input_kind kind;
    char peer[LIMIT_PEER];
    struct digest sha256;
    uint64_t len;
    uint64_t offset;
    uint64_t credit;
    struct buf data;
};

/* A part that we fetch. */
struct partflow_want {
    struct partflow_want *next;
    char peer[LIMIT_PEER];
    struct digest sha256;
    uint64_t len;
    uint64_t received; /* read under the lock by partflow_received */
    uint64_t granted;  /* the peer may send up to here; 0: it was not asked yet */
    uint64_t gap_at;   /* where a gap was told to the peer; UINT64_MAX: nowhere */
    uint64_t asked_ms;
    uint64_t progress_ms;
    bool peer_up;
    struct part_receiver *receiver; /* NULL while it waits for its turn */
};

/* A part that a peer may fetch, and how far it is. */
struct partflow_offer {
    struct partflow_offer *next;
    char peer[LIMIT_PEER];
    struct digest sha256;
    uint64_t len;
    uint64_t asked;  /* offset of its last want; UINT64_MAX: none yet */
    uint64_t offset; /* next to be sent */
    uint64_t until;
};

struct partflow {
    struct part_dir *dir;
    const struct env *env;
    struct partflow_ops ops;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct partflow_input *first;
    struct partflow_input **last;
    size_t input_bytes;
    bool stopping;
    size_t n_wants;                /* also those still in the inputs */
    size_t n_offers;               /* likewise */
    struct partflow_want *wants;   /* changed by the thread, under the lock */
    struct partflow_offer *offers; /* the thread's own */
    uint8_t *block;
};

/* ---- partflow_in.c ---- */

struct partflow_want *partflow_find_want(struct partflow *f, const struct digest *sha256);
/* Without telling anybody. */
void partflow_remove_want(struct partflow *f, struct partflow_want *gone);
void partflow_take_want(struct partflow *f, const struct partflow_input *in);
void partflow_take_chunk(struct partflow *f, const struct partflow_input *in);
void partflow_wants_of_peer(struct partflow *f, const char *peer, bool up);
/* Gives waiting wants their turn. */
void partflow_activate(struct partflow *f);
/* Asks again where nothing moves, gives up what has stalled. */
void partflow_watch_time(struct partflow *f);

/* ---- partflow_out.c ---- */

void partflow_take_offer(struct partflow *f, const struct partflow_input *in);
void partflow_take_ask(struct partflow *f, const struct partflow_input *in);
/* Removes the offers to `peer`, all (NULL) or the one of this digest. */
void partflow_remove_offers(struct partflow *f, const char *peer, const struct digest *sha256);
/* One chunk of each part that has credit: nobody waits for another's end. True when more could be
 * sent. */
bool partflow_serve(struct partflow *f, bool *congested);

#endif
