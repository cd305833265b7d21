/* A stage for the broker's core: one core over a state in memory, in a federation with real keys
 * and real envelopes. Every event and what came of it is written down as lines that read like a
 * transcript of the protocol, and after every step the promises that always hold are checked: a
 * leaf for each effect and an effect for each leaf, nothing offered before that is durable, and a
 * core made anew from the state has the same queues. */
#ifndef SEALPOST_TESTS_UNIT_BROKER_STAGE_H
#define SEALPOST_TESTS_UNIT_BROKER_STAGE_H

#include "broker/core.h"
#include "tests/lib/federation.h"
#include "tests/lib/memview.h"

#include <stdbool.h>

#define STAGE_MESSAGES 600
#define STAGE_RECEIPTS 4000
#define STAGE_TO 4

/* What is sealed. Zeros are filled in: H0, BPL, normal, created now, expires in 14 days. */
struct stage_mail {
    const char *sender;
    const char *to[STAGE_TO]; /* sorted, NULL after the last */
    const char *handling[3];  /* sorted, NULL after the last */
    Sp__Level level;
    Sp__Urgency urgency;
    int64_t created_ms; /* beside the stage's clock */
    uint64_t lives_ms;
    int same_id_as;    /* number of a message; 0: a new id */
    int source;        /* number of the message that it passes on; 0: none */
    bool file;         /* a second part that does not travel beside the envelope */
    size_t file_bytes; /* the same, and it is really made: that many bytes */
};

struct stage_message {
    struct buf bytes;
    struct envelope *envelope;
    struct buf body; /* ciphertext of part 0 */
    struct buf file; /* of part 1, when it was made */
    struct secret *file_key;
};

struct stage {
    struct test_env env;
    struct federation *federation;
    struct memview *state;
    struct broker_core *core;
    struct broker_options options;
    uint64_t start_ms;
    bool room;
    bool quiet;                                        /* do not write it down */
    struct stage_message messages[STAGE_MESSAGES + 1]; /* from 1 */
    int n_messages;
    struct receipt *receipts[STAGE_RECEIPTS];
    size_t n_receipts;
    struct buf text;
    /* of the last step */
    struct broker_send *sends;
    size_t n_sends;
    size_t n_leaves;
    size_t n_changes;
};

/* `name` is the broker that plays; three brokers as in tests/lib/federation.h. */
void stage_init(struct stage *s, const char *name);
/* The same at another time than that of test_env_init. */
void stage_init_at(struct stage *s, const char *name, uint64_t now_ms);
void stage_fini(struct stage *s);
/* A remark in the transcript. */
[[gnu::format(printf, 2, 3)]] void stage_note(struct stage *s, const char *format, ...);
/* Compares the transcript with tests/sim/golden/broker-NAME.txt, or writes that file when
 * SEALPOST_GOLDEN=write is in the environment. */
void stage_compare(struct stage *s, const char *name);

/* Seals and signs; gives the message's number. */
int stage_mail(struct stage *s, const struct stage_mail *mail);

struct stage_transfer {
    uint64_t tag;
    const struct receipt *trail[LIMIT_HOPS + 1]; /* NULL after the last */
    const char *to[STAGE_TO];                    /* NULL after the last; none: all */
    enum err verdict;                            /* ERR_OK: what verification says */
    uint64_t delay_ms;
    bool incomplete;
};
/* A transfer of message `m` from `peer`. */
void stage_transfer(struct stage *s, const char *peer, int m, const struct stage_transfer *t);
/* A submission with tag = number of the message. */
void stage_submit(struct stage *s, const char *peer, int m);
/* A receipt in the log of `log`, about message `m` and recipients (NULL-terminated). */
struct stage_statement {
    Sp__AuditEvent event;
    const char *log;
    const char *recipients[STAGE_TO];
    const char *from;
    uint32_t hop;
    enum err code;
    int m;
};
const struct receipt *stage_receipt(struct stage *s, const struct stage_statement *statement);
void stage_answer(struct stage *s, const char *peer, uint64_t tag, Sp__Outcome outcome,
                  enum err code, const struct receipt *receipt);
void stage_control(struct stage *s, const char *peer, const char *to, uint64_t tag,
                   const struct receipt *receipt);
void stage_ack(struct stage *s, const char *peer, uint64_t tag);
void stage_documents(struct stage *s, const char *peer, const char *agency, bool news);
void stage_garbage(struct stage *s, const char *peer, uint64_t count);
void stage_up(struct stage *s, const char *peer);
void stage_down(struct stage *s, const char *peer);
void stage_trust(struct stage *s);
/* Moves the clock and ticks. */
void stage_wait(struct stage *s, uint64_t ms);
/* Moves the clock only. */
void stage_pass(struct stage *s, uint64_t ms);
/* Throws the core away and makes a new one from the state. */
void stage_restart(struct stage *s);

/* What the last step sent. NULL when there is no such thing. */
const struct broker_send *stage_sent(const struct stage *s, enum broker_send_kind kind,
                                     const char *peer);
size_t stage_count_sent(const struct stage *s, enum broker_send_kind kind);
/* The last step's only answer. */
const struct broker_send *stage_the_answer(const struct stage *s);
/* Leaves of this event in the whole log. */
size_t stage_leaves(const struct stage *s, Sp__AuditEvent event);

#endif
