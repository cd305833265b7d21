/* A desk for the agent's core: one core over a state in memory, in a federation with real keys and
 * real envelopes. Every event and what came of it is written down as lines that read like a
 * transcript of the protocol, and after every step the promises that always hold are checked: a
 * leaf for each effect and an effect for each leaf, nothing sent that is not durable, and a core
 * made anew from the state has the same queues. */
#ifndef SEALPOST_TESTS_UNIT_AGENT_DESK_H
#define SEALPOST_TESTS_UNIT_AGENT_DESK_H

#include "agent/core.h"
#include "agent/record.h"
#include "tests/lib/federation.h"
#include "tests/lib/memview.h"

#include <stdbool.h>

#define DESK_MESSAGES 600
#define DESK_RECEIPTS 1000
#define DESK_TO 4

/* A draft of our own, or a message that another agency seals. Zeros are filled in: H0, BPL, normal,
 * created now, expires in 14 days. */
struct desk_mail {
    const char *sender;      /* NULL: a draft of our own */
    const char *to[DESK_TO]; /* sorted, NULL after the last */
    const char *handling[3]; /* sorted, NULL after the last */
    Sp__Level level;
    Sp__Urgency urgency;
    int64_t created_ms; /* beside the desk's clock */
    uint64_t lives_ms;
    int same_id_as; /* number of a message; 0: a new id */
    bool other;     /* another content than that message has */
    bool file;      /* a second part that does not travel beside the envelope */
    /* of others */
    uint64_t seq; /* in the stream to us; 0: 1 */
    int after;    /* number of the message before it in the stream; 0: none */
    uint8_t epoch;
};

struct desk_message {
    struct uuid id;
    struct envelope *envelope; /* NULL: a draft that was not sealed */
    struct buf bytes;
    struct buf body; /* ciphertext of part 0 */
    struct secret *file_key;
    struct envelope_part parts[2];
    Sp__InlinePart inline_part;
    const Sp__InlinePart *inline_parts[1];
    const char *to[DESK_TO];
    const char *handling[3];
    struct agent_draft draft; /* token = number of the message */
};

struct desk {
    struct test_env env;
    struct federation *federation;
    struct federation_agency *self;
    const struct trust *trust; /* NULL: the federation's */
    struct memview *state;
    struct agent_core *core;
    struct agent_options options;
    uint64_t start_ms;
    bool room;
    bool quiet;     /* do not write it down */
    bool damaged;   /* a record was damaged: queues and state may differ */
    int restart_at; /* the step after which the core is made anew; 0: none */
    int steps;
    struct desk_message messages[DESK_MESSAGES + 1]; /* from 1 */
    int n_messages;
    struct receipt *receipts[DESK_RECEIPTS];
    size_t n_receipts;
    struct buf text;
    /* of the last step */
    struct agent_send *sends;
    size_t n_sends;
    size_t n_leaves;
    size_t n_changes;
};

/* EE.POLICE and LT.CUSTOMS are what tests play; three brokers as in tests/lib/federation.h. */
struct desk *desk_new(const char *agency);
void desk_free(struct desk *d);
/* A remark in the transcript. */
[[gnu::format(printf, 2, 3)]] void desk_note(struct desk *d, const char *format, ...);
/* Compares the transcript with tests/sim/golden/agent_NAME.txt, or writes that file when
 * SEALPOST_GOLDEN=write is in the environment. */
void desk_compare(struct desk *d, const char *name);

/* Prepares a draft, or seals and signs for another agency; gives the message's number. */
int desk_mail(struct desk *d, const struct desk_mail *mail);
/* Drafts `first` to `first + n - 1` in one step. */
void desk_send(struct desk *d, int first, size_t n);
/* Prepares one draft and sends it. */
int desk_send_one(struct desk *d, const struct desk_mail *mail);

struct desk_statement {
    Sp__AuditEvent event;
    const char *log;
    const char *recipients[DESK_TO];
    const char *from;
    uint32_t hop;
    enum err code;
    int m;
};
/* A receipt in the log of `log`, about message `m` and recipients (NULL-terminated). */
const struct receipt *desk_receipt(struct desk *d, const struct desk_statement *statement);

struct desk_incoming {
    uint64_t tag;
    const struct receipt *trail[LIMIT_HOPS + 1]; /* NULL after the last */
    enum err verdict;                            /* ERR_OK: what verification and opening say */
    bool incomplete;
};
enum err desk_try_incoming(struct desk *d, const char *peer, int m, const struct desk_incoming *in);
void desk_incoming(struct desk *d, const char *peer, int m, const struct desk_incoming *in);
/* As it comes from `log`, its home, by way of `log` alone. */
void desk_deliver(struct desk *d, const char *broker, int m, uint64_t tag);
void desk_answer(struct desk *d, const char *peer, uint64_t tag, Sp__Outcome outcome, enum err code,
                 const struct receipt *receipt);
/* The home broker accepts mail `number`, which is message `m`. */
void desk_accept(struct desk *d, uint64_t number, int m);
void desk_control(struct desk *d, const char *peer, uint64_t tag, const struct receipt *receipt);
void desk_ack(struct desk *d, const char *peer, uint64_t tag);
void desk_open(struct desk *d, uint64_t number);
void desk_documents(struct desk *d, const char *peer, const char *agency, bool news);
void desk_garbage(struct desk *d, const char *peer, uint64_t count);
void desk_up(struct desk *d, const char *peer);
void desk_down(struct desk *d, const char *peer);
void desk_trust(struct desk *d);
/* Moves the clock and ticks. */
void desk_wait(struct desk *d, uint64_t ms);
/* Moves the clock only. */
void desk_pass(struct desk *d, uint64_t ms);
/* Throws the core away and makes a new one from the state. */
void desk_restart(struct desk *d);

/* What the last step sent. NULL when there is no such thing. */
const struct agent_send *desk_sent(const struct desk *d, enum agent_send_kind kind);
size_t desk_count_sent(const struct desk *d, enum agent_send_kind kind);
/* The last step's answer to tag or token `number`, of which there is exactly one. */
const struct agent_send *desk_the_answer(const struct desk *d);
const struct agent_send *desk_result(const struct desk *d, uint64_t token);
/* Fails unless the last step changed nothing and left no leaf. */
void desk_nothing(const struct desk *d);
/* Leaves of this event in the whole log. */
size_t desk_leaves(const struct desk *d, Sp__AuditEvent event);
/* The record; the caller ends it with mail_fini. */
struct mail desk_record(struct desk *d, enum mail_box box, uint64_t number);
enum transport_state desk_state(struct desk *d, uint64_t number, size_t recipient);

#endif
