/* The broker's state machine. No socket, file, clock, random source, thread, log or global.
 *
 * The shell decodes and verifies, then gives one event at a time; the core reads stored state
 * through a view and answers with an update: changes and leaves for one transaction, and what to
 * send once that is durable. Events are borrowed until broker_step returns; the update belongs to
 * the core until the next step. After a commit that is not known to have happened the shell throws
 * the core away and makes a new one from the store.
 *
 * What it does is described in docs/ARCHITECTURE.md ("One exchange"); records in broker/record.h.
 */
#ifndef SEALPOST_BROKER_CORE_H
#define SEALPOST_BROKER_CORE_H

#include "audit/commit.h"
#include "audit/receipt.h"
#include "certs/trust.h"
#include "certs/verify.h"
#include "proto/envelope.h"

#include "wire.pb-c.h"

#include <stdbool.h>

/* Tables behind the audit log's (docs/DISK-FORMAT.md). */
enum broker_table {
    BROKER_SPOOL = AUDIT_TABLES, /* u64 number -> Transfer as accepted (tag, to and delay empty) */
    BROKER_EXCHANGE,             /* u64 number -> struct exchange */
    BROKER_OPEN,                 /* u64 number -> nothing: this broker still has custody */
    BROKER_DONE,                 /* u64 due_ms, u64 number -> nothing: when it may be forgotten */
    BROKER_DEDUP,                /* id, 8 bytes of SHA-256(sender) -> struct dedup */
    BROKER_CONTROL,              /* u64 number -> struct control: until acknowledged */
    BROKER_PART,                 /* SHA-256 -> u64 length, u64 exchanges that name it */
    BROKER_DOCUMENT,             /* agency -> AgencyDocuments */
    BROKER_META,                 /* name -> value */
    BROKER_TABLES
};
extern const struct store_table broker_tables[BROKER_TABLES];

/* Names in BROKER_META. */
#define BROKER_META_FLOOR "trust-floor"   /* root, directory, timestamp version: u64 each */
#define BROKER_META_DIRECTORY "directory" /* SHA-256 of the one that was logged last */
#define BROKER_META_EPOCH "epoch"         /* 8 random bytes of this store */
#define BROKER_META_EXCHANGE "next-exchange"
#define BROKER_META_CONTROL "next-control"

struct broker_core;

struct broker_options {
    const char *name;       /* of this broker; borrowed */
    uint64_t keep_ms;       /* ended exchanges and their ciphertext are kept this long: 72 h */
    uint64_t queue_max;     /* exchanges waiting for one next hop */
    unsigned in_flight_max; /* transfers to one next hop that are not answered yet */
    uint64_t answer_ms;     /* after that an unanswered transfer is sent again */
    uint64_t retry_ms_min;  /* back-off after a transient answer; doubles */
    uint64_t retry_ms_max;
    unsigned refusals_logged; /* refusals of one peer that get a leaf of their own, per minute */
};
struct broker_options broker_options_default(const char *name);

enum broker_event_kind {
    BROKER_TRANSFER,    /* an envelope; its parts are here, or `incomplete` */
    BROKER_ANSWER,      /* a next hop's answer to our transfer */
    BROKER_CONTROL_IN,  /* a receipt on its way back */
    BROKER_CONTROL_ACK, /* our control is committed there */
    BROKER_DOCUMENTS_IN,
    BROKER_GARBAGE, /* `count` inputs of the peer that did not decode: summary leaf only */
    BROKER_PEER_UP,
    BROKER_PEER_DOWN,
    BROKER_TRUST, /* a new snapshot was adopted */
    BROKER_TICK,  /* only time passed */
};

struct broker_transfer {
    uint64_t tag;
    uint64_t delay_ms;               /* as the sender declared */
    bool incomplete;                 /* some parts are not here yet: nothing is accepted */
    const struct envelope *envelope; /* decoded */
    enum err verdict;                /* of verification; ERR_OK: `verified` holds */
    struct verified verified;
    const Sp__Transfer *wire;
    const struct receipt *const *trail; /* each proven under the key of its log */
    size_t n_trail;
};

struct broker_answer {
    uint64_t tag;
    Sp__Outcome outcome;
    enum err code;
    const char *rule;
    const struct receipt *receipt; /* proven; NULL when there is none or it does not hold */
};

struct broker_control {
    uint64_t tag;
    const char *to;
    const struct receipt *receipt; /* proven; NULL when it does not hold */
};

struct broker_documents {
    const char *agency;
    struct span bytes; /* AgencyDocuments, verified */
    bool news;         /* they changed the snapshot */
};

struct broker_event {
    enum broker_event_kind kind;
    uint64_t now_ms; /* wall clock */
    const struct trust *trust;
    const char *peer; /* "" for TRUST and TICK */
    bool room;        /* the disk has room for ordinary writes */
    union {
        struct broker_transfer transfer;
        struct broker_answer answer;
        struct broker_control control;
        struct broker_documents documents;
        uint64_t control_tag;
        uint64_t count;
    };
};

enum broker_send_kind {
    BROKER_SEND_ANSWER,
    BROKER_NEED_PARTS,       /* it would be accepted if its parts were here: fetch, then again */
    BROKER_SEND_TRANSFER,    /* exchange `number` to `peer`: read spool and exchange */
    BROKER_SEND_CONTROL,     /* control `number` to `peer` */
    BROKER_SEND_CONTROL_ACK, /* `number` is the tag */
    BROKER_SEND_DOCUMENTS,   /* of `agency`, or of all when it is "" */
    BROKER_DROP_PART,        /* unlink the part `digest`, if it is not in BROKER_PART */
    BROKER_END_OFFER,        /* `peer` has decided about exchange `number` */
};

#define BROKER_RULE 256
#define NO_LEAF UINT64_MAX

struct broker_send {
    enum broker_send_kind kind;
    char peer[LIMIT_PEER];
    uint64_t number;
    uint64_t leaf; /* index of the leaf whose receipt goes along; NO_LEAF: none */
    /* answers */
    struct uuid id;
    struct digest digest;
    Sp__Outcome outcome;
    enum err code;
    char rule[BROKER_RULE];
    char agency[LIMIT_AGENCY];
};

struct broker_update {
    const struct batch *batch;
    const struct broker_send *sends;
    size_t n_sends;
};

/* Rebuilds queues from the store. `log_size` is the number of leaves in the log. ERR_CORRUPT names
 * nothing here: records that do not hold are passed over and counted (broker_core_quarantined). */
enum err broker_core_new(const struct broker_options *options, const struct view *view,
                         uint64_t log_size, uint64_t now_ms, struct broker_core **ret);
void broker_core_free(struct broker_core *c);

/* One step. Errors are local (no memory, a corrupt record that stands in the way): the shell aborts
 * the transaction and stops. What a peer did wrong is no error here but part of the update. */
enum err broker_step(struct broker_core *c, const struct view *view,
                     const struct broker_event *event, const struct broker_update **ret);

/* When BROKER_TICK is wanted at the latest (wall clock, ms). */
uint64_t broker_core_wake_at(const struct broker_core *c);

struct broker_core_stats {
    uint64_t queued; /* copies waiting for a next hop */
    uint64_t in_flight;
    uint64_t controls;                                       /* waiting for an acknowledgement */
    uint64_t accepted, relayed, delivered, refused, expired; /* since the core was made */
    uint64_t quarantined;                                    /* records that did not hold */
    unsigned quarantined_table;                              /* of the last one */
    uint64_t quarantined_number;
};
void broker_core_stats(const struct broker_core *c, struct broker_core_stats *ret);
/* Copies that wait for `peer`. */
uint64_t broker_core_queued(const struct broker_core *c, const char *peer);

#endif
