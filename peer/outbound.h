/* The way out: what one commit sends, gathered for each peer into as few frames as fit. Belongs to
 * the commit thread. */
#ifndef SEALPOST_PEER_OUTBOUND_H
#define SEALPOST_PEER_OUTBOUND_H

#include "common/err.h"
#include "common/limits.h"
#include "common/span.h"

#include "wire.pb-c.h"

struct outbound_ops {
    void *ctx;
    /* Takes over the bytes of `frame`. */
    void (*send)(void *ctx, const char *peer, struct buf *frame);
};

struct outbound;
enum err outbound_new(const struct outbound_ops *ops, struct outbound **ret);
void outbound_free(struct outbound *o);

/* Each adds one thing for `peer`; what is pointed to is copied. The first error sticks until
 * outbound_flush, which gives it: ERR_NO_MEMORY. Something that fits into no frame is left out. */
void outbound_hello(struct outbound *o, const char *peer, const Sp__Hello *hello);
void outbound_documents(struct outbound *o, const char *peer, struct span documents);
void outbound_transfer(struct outbound *o, const char *peer, const Sp__Transfer *transfer);
void outbound_answer(struct outbound *o, const char *peer, const Sp__Answer *answer);
void outbound_control(struct outbound *o, const char *peer, const Sp__Control *control);
void outbound_ack(struct outbound *o, const char *peer, uint64_t tag);
void outbound_want(struct outbound *o, const char *peer, const Sp__DocumentsWant *want);
/* Sends everything gathered. */
enum err outbound_flush(struct outbound *o);

#endif
