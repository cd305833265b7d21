/* The agent's state machine. No socket, file, clock, random source, thread, log or global: as
 * broker/core.h, for one agency.
 *
 * Sealing and signing happen in the step, because a stream's next sequence number and the digest of
 * its last envelope are under the signature; what is sealed in one step is signed together. Bulk
 * encryption happens before, in the thread of the officer's connection. */
#ifndef SEALPOST_AGENT_CORE_H
#define SEALPOST_AGENT_CORE_H

#include "audit/commit.h"
#include "audit/receipt.h"
#include "certs/trust.h"
#include "certs/verify.h"
#include "proto/envelope.h"
#include "proto/names.h"
#include "proto/seal.h"

#include "wire.pb-c.h"

#include <stdbool.h>

/* Tables behind the audit log's (docs/DISK-FORMAT.md). Keys "box, number" are 1 + 8 bytes. */
enum agent_table {
    AGENT_STATE = AUDIT_TABLES, /* box, number -> struct mail */
    AGENT_MAIL,                 /* box, number -> sealed file key, Transfer: written once */
    AGENT_SUMMARY,              /* box, number -> what lists show, under the storage key */
    AGENT_ID,                   /* id, 8 bytes of SHA-256(sender) -> box, number */
    AGENT_RECEIPT,              /* number, 8 bytes of the leaf hash -> Receipt (sent mail) */
    AGENT_STREAM,               /* recipient, 00, urgency -> last seq, digest */
    AGENT_SEEN,                 /* sender, 00, agent, 00, epoch, urgency -> last seq, digest */
    AGENT_PENDING,              /* number -> offered, home broker: sent, undecided */
    AGENT_CONTROL,              /* number -> to whom, leaf: until acknowledged */
    AGENT_PART,                 /* SHA-256 -> length: files that a record names */
    AGENT_DOCUMENT,             /* agency -> AgencyDocuments */
    AGENT_META,                 /* name -> value */
    AGENT_TABLES
};
extern const struct store_table agent_tables[AGENT_TABLES];

/* Names in AGENT_META. */
#define AGENT_META_FLOOR "trust-floor"   /* root, directory, timestamp version: u64 each */
#define AGENT_META_DIRECTORY "directory" /* SHA-256 of the one that was logged last */
#define AGENT_META_EPOCH "epoch"         /* 8 random bytes of this store */
#define AGENT_META_MAIL "next-mail"
#define AGENT_META_CONTROL "next-control"

struct agent_core;

struct agent_options {
    const char *agency; /* borrowed, as the next ones */
    const char *agent;  /* name of this agent within the agency */
    uint8_t epoch[8];
    const struct secret *sign; /* Ed25519 */
    struct key_id sign_id;
    const struct env *env; /* randomness for sealing */
    unsigned in_flight_max;
    uint64_t answer_ms;
    uint64_t retry_ms_min;
    uint64_t retry_ms_max;
    unsigned refusals_logged; /* refusals of one peer that get a leaf of their own, per minute */
};
struct agent_options agent_options_default(const char *agency);

/* A draft whose parts are encrypted already. */
struct agent_draft {
    uint64_t token; /* of the local request; comes back in AGENT_LOCAL_RESULT */
    struct uuid id; /* its time is created_ms */
    uint64_t expires_ms;
    const char *const *to; /* sorted, distinct */
    size_t n_to;
    const char *const *handling; /* sorted, distinct */
    size_t n_handling;
    Sp__Level level;
    Sp__Urgency urgency;
    const char *officer;
    const struct secret *file_key;
    const struct envelope_part *parts; /* part 0 is the body */
    size_t n_parts;
    const Sp__InlinePart *const *inline_parts; /* ciphertexts that travel beside the envelope */
    size_t n_inline_parts;
    struct digest content_digest; /* of the draft, to tell a repetition from another draft */
    struct span sealed_key;       /* file key under the storage key */
    struct span summary;          /* under the storage key */
};

enum agent_event_kind {
    AGENT_DRAFTS,     /* all drafts of one commit */
    AGENT_ANSWER,     /* the home broker's answer to a submission */
    AGENT_INCOMING,   /* an envelope for us; its parts are here, or `incomplete` */
    AGENT_CONTROL_IN, /* a receipt for something that we sent */
    AGENT_CONTROL_ACK,
    AGENT_OPENED, /* an officer has seen a received message */
    AGENT_DOCUMENTS_IN,
    AGENT_PEER_UP,
    AGENT_PEER_DOWN,
    AGENT_TRUST,   /* a new snapshot was adopted */
    AGENT_GARBAGE, /* `count` inputs of the peer that did not decode: summary leaf only */
    AGENT_TICK,
};

struct agent_incoming {
    uint64_t tag;
    bool incomplete; /* some parts are not here yet: nothing is accepted */
    const struct envelope *envelope;
    enum err verdict; /* of verification and opening */
    const char *rule; /* why, in words; may be "" */
    struct verified verified;
    const Sp__Transfer *wire;
    const struct receipt *const *trail; /* proven */
    size_t n_trail;
    struct span sealed_key;
    struct span summary;
};

struct agent_event {
    enum agent_event_kind kind;
    uint64_t now_ms;
    const struct trust *trust;
    const char *peer; /* broker, or "" */
    bool room;
    union {
        struct {
            const struct agent_draft *items;
            size_t count; /* 1 to LIMIT_BATCH */
        } drafts;
        struct {
            uint64_t tag;
            Sp__Outcome outcome;
            enum err code;
            const char *rule;
            const struct receipt *receipt; /* proven, or NULL */
        } answer;
        struct agent_incoming incoming;
        struct {
            uint64_t tag;
            const struct receipt *receipt; /* proven, or NULL */
        } control;
        struct {
            uint64_t token;  /* comes back in AGENT_LOCAL_RESULT */
            uint64_t number; /* in the inbox */
            const char *officer;
        } opened;
        struct {
            const char *agency;
            struct span bytes;
            bool news;
        } documents;
        uint64_t control_tag;
        uint64_t count;
    };
};

enum agent_send_kind {
    AGENT_SEND_TRANSFER, /* sent mail `number` to `peer` */
    AGENT_SEND_ANSWER,
    AGENT_NEED_PARTS,       /* it would be accepted if its parts were here: fetch, then again */
    AGENT_SEND_CONTROL,     /* control `number` to `peer` */
    AGENT_SEND_CONTROL_ACK, /* `number` is the tag */
    AGENT_SEND_DOCUMENTS,   /* our own, to `peer` */
    AGENT_LOCAL_RESULT,     /* of the draft or opening `number` (token): code, rule, id */
    AGENT_LOCAL_CHANGED,    /* mail (box, number) is new or its state has changed */
};

#define AGENT_RULE 256
#define AGENT_NO_LEAF UINT64_MAX

struct agent_send {
    enum agent_send_kind kind;
    char peer[LIMIT_PEER];
    uint64_t number;
    uint8_t box;   /* enum mail_box */
    bool is_new;   /* LOCAL_CHANGED: it was not there before; LOCAL_RESULT: the draft is mail now */
    uint64_t leaf; /* whose receipt goes along; AGENT_NO_LEAF: none */
    struct uuid id;
    struct digest digest;
    Sp__Outcome outcome;
    enum err code;
    char rule[AGENT_RULE];
};

struct agent_update {
    const struct batch *batch;
    const struct agent_send *sends;
    size_t n_sends;
};

enum err agent_core_new(const struct agent_options *options, const struct view *view,
                        uint64_t log_size, struct agent_core **ret);
void agent_core_free(struct agent_core *c);
/* As broker_step. What is wrong with a draft or a peer is in the update; errors here are local. */
enum err agent_step(struct agent_core *c, const struct view *view, const struct agent_event *event,
                    const struct agent_update **ret);
uint64_t agent_core_wake_at(const struct agent_core *c);
/* Sent mail that no broker has accepted yet. */
uint64_t agent_core_pending(const struct agent_core *c);
/* The broker that is up and preferred; "" when none is. */
const char *agent_core_home(const struct agent_core *c);
/* Records that did not hold, since the core was made. */
uint64_t agent_core_quarantined(const struct agent_core *c);

#endif
