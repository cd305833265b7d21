/* One exchange, told by four logs: EE.POLICE sends, tallinn and riga carry, LV.POLICE receives and
 * opens. Each log is signed by the key that the federation lists for it. */
#ifndef SEALPOST_TESTS_UNIT_AUDIT_STORY_H
#define SEALPOST_TESTS_UNIT_AUDIT_STORY_H

#include "proto/envelope.h"
#include "tests/lib/federation.h"
#include "tests/unit/audit/fixture.h"

enum { STORY_SENDER, STORY_HOME, STORY_RELAY, STORY_RECIPIENT, STORY_LOGS };
#define STORY_RECEIPTS 9

struct story {
    struct test_env env;
    struct federation *federation;
    struct fixture logs[STORY_LOGS];
    struct secret *file_key;
    struct uuid id;
    struct digest digest;
    struct buf envelope;
    struct buf receipts[STORY_RECEIPTS]; /* in order of time */
    size_t n;
    char dir[64]; /* the federation folder */
};

/* `now_ms`: when it happens. Some other leaves stand in every log before it. */
void story_init(struct story *s, uint64_t now_ms);
void story_fini(struct story *s);
/* Puts every checkpoint into its store and closes the logs, as daemons do that stop. */
void story_stop(struct story *s);
/* Everything about it as an encoded Evidence. */
void story_evidence(struct story *s, bool disclose, struct buf *out);

#endif
