/* The way in: one Frame from the wire becomes one job, everything decoded and verified, in a worker
 * thread. What is judged here under the snapshot of the moment is judged again by the core under
 * the one of its step. A job owns what its items point to. */
#ifndef SEALPOST_PEER_INBOUND_H
#define SEALPOST_PEER_INBOUND_H

#include "audit/receipt.h"
#include "certs/verify.h"
#include "common/env.h"
#include "peer/trusting.h"
#include "proto/envelope.h"
#include "proto/pb.h"

#include "wire.pb-c.h"

#include <stdbool.h>

/* A receipt and whether it was proven. */
struct proof {
    struct receipt *receipt; /* NULL when it did not decode */
    enum err verdict; /* ERR_OK: proven; ERR_NEED_DOCUMENTS: its log's key is not known yet */
};

/* A transfer whose envelope decoded. It may outlive its frame (parcel_keep). */
struct parcel {
    struct pb *own; /* NULL: `wire` lies in the frame's memory */
    const Sp__Transfer *wire;
    struct envelope *envelope;
    struct proof *trail;
    const struct receipt **receipts; /* of the trail, all proven when the verdict is ERR_OK */
    size_t n_trail;
    enum err verdict;
    struct verified verified;
    void *extra; /* what the owner found out about it; freed with it by `extra_free` */
    void (*extra_free)(void *extra);
};
void parcel_free(struct parcel *p);
/* Makes it independent of its frame. */
enum err parcel_keep(struct parcel *p);
/* True when part `index` does not travel beside the envelope. */
bool parcel_is_file(const struct parcel *p, size_t index);

struct inbound_documents {
    const char *agency;
    struct span bytes; /* AgencyDocuments */
    struct pb *decoded;
    struct trust *before; /* the snapshot that they were added to, and what came out */
    struct trust *after;
    bool news;
};

enum inbound_kind {
    INBOUND_DOCUMENTS,
    INBOUND_TRANSFER,
    INBOUND_REJECT, /* a transfer whose envelope did not decode */
    INBOUND_ANSWER,
    INBOUND_CONTROL,
    INBOUND_ACK,
    INBOUND_WANT,
};

struct inbound_item {
    enum inbound_kind kind;
    union {
        struct inbound_documents documents;
        struct parcel *parcel;
        struct {
            uint64_t tag;
            enum err code;
        } reject;
        struct {
            const Sp__Answer *wire;
            struct proof proof;
        } answer;
        struct {
            const Sp__Control *wire;
            struct proof proof;
        } control;
        uint64_t ack;
        const Sp__DocumentsWant *want;
    };
};

enum job_kind {
    JOB_FRAME,
    JOB_PART,  /* `part` has come, or `code` says why not */
    JOB_TRUST, /* `trust` is to be adopted */
};

struct job {
    enum job_kind kind;
    /* JOB_FRAME: `wire` is NULL when it did not decode, and `code` says why */
    struct pb *frame;
    const Sp__Frame *wire;
    struct inbound_item *items; /* in the order in which they are to be handled */
    size_t n_items;
    struct trust *trust; /* under which everything was judged */
    enum err code;
    struct digest part;
};
void job_free(struct job *j);
/* NULL when out of memory. */
struct job *job_new(enum job_kind kind);

struct inbound;
enum err inbound_new(const struct env *env, struct trusting *trusting, unsigned workers,
                     struct inbound **ret);
void inbound_free(struct inbound *in);
/* For struct shell_ops; `worker` is under the number given to inbound_new. NULL when out of memory.
 */
struct job *inbound_prepare(struct inbound *in, unsigned worker, const char *peer,
                            struct span message);

/* Judges again what waited for documents, under a newer snapshot. */
void inbound_judge_parcel(struct parcel *p, const struct trust *trust, const char *peer,
                          uint64_t now_ms);
void inbound_judge_proof(struct proof *p, const struct trust *trust);

#endif
