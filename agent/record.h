/* Records of the agent's tables: bounded, versioned, big-endian (docs/DISK-FORMAT.md). The store
 * adds a checksum to each. */
#ifndef SEALPOST_AGENT_RECORD_H
#define SEALPOST_AGENT_RECORD_H

#include "common/crypto.h"
#include "common/err.h"
#include "common/limits.h"
#include "common/span.h"
#include "common/uuid.h"
#include "proto/names.h"

#include <stdbool.h>

enum mail_box { MAIL_OUT = 1, MAIL_IN = 2 };

struct mail_recipient {
    char agency[LIMIT_AGENCY];
    enum transport_state state;
    uint64_t at_ms;
    enum err code;             /* why refused; ERR_OK otherwise */
    char reason[LIMIT_REASON]; /* in words, "" when none */
};

/* What is known of one message, sent or received, without its content. */
struct mail {
    enum mail_box box;
    struct uuid id;
    struct digest digest;
    char sender[LIMIT_AGENCY];
    uint64_t created_ms;
    uint64_t expires_ms;
    uint64_t at_ms; /* when it was committed here */
    uint64_t directory_version;
    uint64_t leaf;        /* of `submitted` or `delivered` in our log */
    uint64_t opened_ms;   /* received mail: first seen by an officer; 0: not yet */
    uint64_t opened_leaf; /* of `opened`, when it was */
    uint64_t seq;         /* received mail: in its stream */
    bool gap;             /* received mail: it does not follow the last one of its stream */
    uint8_t level;
    uint8_t urgency;
    uint8_t n_handling;
    char handling[LIMIT_HANDLING][LIMIT_CODE];
    struct digest content_digest; /* sent mail: of the draft */
    char officer[LIMIT_OFFICER];  /* sent mail: who sent it */
    char peer[LIMIT_PEER];        /* received mail: the broker that brought it */
    size_t n_recipients;
    struct mail_recipient *recipients; /* all of the envelope's */
};

enum err mail_init(struct mail *m, size_t n_recipients);
void mail_fini(struct mail *m);
void mail_encode(const struct mail *m, struct buf *out);
enum err mail_decode(struct span bytes, struct mail *ret);
/* The least advanced recipient's state; past expiry by a day and without an end: unresolved. */
enum transport_state mail_state(const struct mail *m, uint64_t now_ms);
/* Of one recipient, likewise. */
enum transport_state mail_recipient_state(const struct mail *m, size_t i, uint64_t now_ms);

#define MAIL_KEY 9
void mail_key(enum mail_box box, uint64_t number, uint8_t out[MAIL_KEY]);
#define MAIL_ID_KEY 24
void mail_id_key(const struct uuid *id, const char *sender, uint8_t out[MAIL_ID_KEY]);
/* Value of AGENT_ID. */
enum err mail_ref_decode(struct span bytes, enum mail_box *box, uint64_t *number);

/* Value of AGENT_MAIL: u8 version, u16be length, sealed key, Transfer. */
void mail_bulk_encode(struct span sealed_key, struct span transfer, struct buf *out);
enum err mail_bulk_decode(struct span bytes, struct span *sealed_key, struct span *transfer);

/* Position in a stream: u8 version, u64 seq, digest. */
struct stream_position {
    uint64_t seq;
    struct digest digest;
};
void stream_encode(const struct stream_position *p, struct buf *out);
enum err stream_decode(struct span bytes, struct stream_position *ret);

/* A receipt of our own log on its way to a sender. */
struct mail_control {
    char to[LIMIT_AGENCY];
    char peer[LIMIT_PEER]; /* the broker by which the message came */
    uint64_t leaf;
};
void mail_control_encode(const struct mail_control *c, struct buf *out);
enum err mail_control_decode(struct span bytes, struct mail_control *ret);

#endif
