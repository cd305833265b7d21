/* Records of the broker's tables: bounded, versioned, big-endian (docs/DISK-FORMAT.md). The store
 * adds a checksum to each. A decoded record owns its memory. */
#ifndef SEALPOST_BROKER_RECORD_H
#define SEALPOST_BROKER_RECORD_H

#include "common/crypto.h"
#include "common/err.h"
#include "common/limits.h"
#include "common/span.h"
#include "common/uuid.h"

#include <stdbool.h>

/* State of one recipient at this broker. */
enum exchange_state {
    EXCHANGE_QUEUED = 1, /* custody is here */
    EXCHANGE_RELAYED,    /* custody passed to the next broker */
    EXCHANGE_DELIVERED,
    EXCHANGE_OPENED,
    EXCHANGE_REFUSED,
    EXCHANGE_EXPIRED,
};

struct exchange_recipient {
    char agency[LIMIT_AGENCY];
    char next[LIMIT_PEER]; /* next hop */
    enum exchange_state state;
    bool offered; /* was sent to the next hop at least once: the hand-over may be in doubt */
};

#define EXCHANGE_SEEN 32 /* receipts remembered, so that a repeated one has no second effect */

/* One envelope in this broker's custody, or formerly so. */
struct exchange {
    struct uuid id;
    struct digest digest;
    char from[LIMIT_PEER];
    char sender[LIMIT_AGENCY];
    uint64_t accepted_ms; /* here */
    uint64_t created_ms;
    uint64_t expires_ms;
    uint64_t directory_version;
    uint64_t leaf; /* of acceptance */
    uint8_t level;
    uint8_t urgency;
    uint8_t hop; /* brokers before this one */
    bool files;  /* some of its parts are files */
    uint8_t n_handling;
    char handling[LIMIT_HANDLING][LIMIT_CODE];
    uint8_t n_seen;
    uint8_t seen[EXCHANGE_SEEN][8]; /* first bytes of leaf hashes; the oldest gives way */
    size_t n_recipients;            /* those that this copy is for */
    struct exchange_recipient *recipients;
};

enum err exchange_init(struct exchange *x, size_t n_recipients);
void exchange_fini(struct exchange *x);
void exchange_encode(const struct exchange *x, struct buf *out);
/* ERR_CORRUPT for anything that exchange_encode would not write. */
enum err exchange_decode(struct span bytes, struct exchange *ret);
/* True the first time that a receipt with this leaf hash is seen, and remembers it. */
bool exchange_note(struct exchange *x, const struct digest *leaf_hash);

/* What was decided about (sender, id). */
struct dedup {
    struct digest digest;
    char peer[LIMIT_PEER];
    enum err code;   /* ERR_OK: accepted */
    uint64_t number; /* exchange, when accepted */
    uint64_t leaf;   /* of acceptance or refusal; UINT64_MAX: none */
};
void dedup_encode(const struct dedup *d, struct buf *out);
enum err dedup_decode(struct span bytes, struct dedup *ret);
#define DEDUP_KEY 24
void dedup_key(const struct uuid *id, const char *sender, uint8_t out[DEDUP_KEY]);

/* A receipt on its way back: one of our own log (by leaf index), or another's bytes. */
struct control {
    char peer[LIMIT_PEER]; /* who it goes to next */
    char to[LIMIT_AGENCY]; /* whom it is for */
    uint64_t leaf;         /* UINT64_MAX: `receipt` holds it */
    struct span receipt;   /* borrows */
};
void control_encode(const struct control *c, struct buf *out);
enum err control_decode(struct span bytes, struct control *ret);

#endif
