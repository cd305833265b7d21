/* Moving large parts between peers, in a thread of its own: chunks with credit, resumed where the
 * receiver stands. The receiver drives: it asks (PartWant: offset, credit), the sender answers with
 * chunks up to the credit, the receiver asks again as bytes become part of its file. A part that is
 * there already is never sent again.
 *
 * A part is served only to a peer for which the owner has opened it (partflow_offer): knowing a
 * digest is not enough. */
#ifndef SEALPOST_PROTO_PARTFLOW_H
#define SEALPOST_PROTO_PARTFLOW_H

#include "common/crypto.h"
#include "common/env.h"
#include "common/err.h"
#include "common/partfile.h"
#include "common/span.h"

#include "wire.pb-c.h"

struct partflow;

struct partflow_ops {
    void *ctx;
    /* Queues an encoded Frame to a peer; takes over the bytes. Any thread. */
    void (*send)(void *ctx, const char *peer, struct buf *frame);
    /* False while the way out is congested: chunks wait. */
    bool (*can_send)(void *ctx);
    /* A wanted part is whole and durable (ERR_OK), or cannot be had: ERR_BAD_DIGEST, ERR_DISK_FULL,
     * ERR_IO, ERR_TIMEOUT (no byte came for PARTFLOW_STALL_MS). Called once for each digest that
     * was wanted, in partflow's thread. */
    void (*done)(void *ctx, const struct digest *sha256, enum err result);
};

#define PARTFLOW_STALL_MS 60000
#define PARTFLOW_WANTS_MAX 1024 /* parts wanted at a time */
#define PARTFLOW_ACTIVE_MAX 8   /* of them, received at a time */
#define PARTFLOW_OFFERS_MAX 4096

/* Starts the thread. `dir` and `env` are borrowed. */
enum err partflow_new(struct part_dir *dir, const struct env *env, const struct partflow_ops *ops,
                      struct partflow **ret);
/* Stops the thread. Accepts NULL. */
void partflow_free(struct partflow *f);

/* All of the following may be called from any thread and do not block on the disk. */

/* Fetch a part from `peer`. Wanting it again (also from another peer) changes the source and starts
 * the time anew. ERR_FULL at PARTFLOW_WANTS_MAX. */
enum err partflow_want(struct partflow *f, const char *peer, const struct digest *sha256,
                       uint64_t len);
/* No longer wanted; `done` is not called. What has come stays on disk. */
void partflow_cancel(struct partflow *f, const struct digest *sha256);
/* `peer` may fetch this part from now on, until partflow_peer_down or partflow_withdraw. ERR_FULL
 * at PARTFLOW_OFFERS_MAX. */
enum err partflow_offer(struct partflow *f, const char *peer, const struct digest *sha256,
                        uint64_t len);
void partflow_withdraw(struct partflow *f, const char *peer, const struct digest *sha256);

/* Input from the wire; the messages are borrowed until the call returns. */
void partflow_on_want(struct partflow *f, const char *peer, const Sp__PartWant *want);
void partflow_on_chunk(struct partflow *f, const char *peer, const Sp__PartChunk *chunk);
/* Wants from this peer wait for partflow_peer_up; what was offered to it is withdrawn. */
void partflow_peer_down(struct partflow *f, const char *peer);
void partflow_peer_up(struct partflow *f, const char *peer);

/* Bytes received so far of a wanted part, for progress; 0 when it is not wanted. */
uint64_t partflow_received(struct partflow *f, const struct digest *sha256);

#endif
