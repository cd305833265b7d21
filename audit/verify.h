/* The full check of a log: every leaf decodes and has its hash in its tile, tiles rebuild each
 * other, head and every stored checkpoint are what the leaves give, the index of ids is complete
 * and holds nothing else, details are what leaves commit to. One pass; memory does not grow with
 * the log. */
#ifndef SEALPOST_AUDIT_VERIFY_H
#define SEALPOST_AUDIT_VERIFY_H

#include "audit/checkpoint.h"
#include "audit/source.h"

enum verify_what {
#define X(sym, code, what, next) VERIFY_##sym,
#include "audit/findings.def"
#undef X
    VERIFY_COUNT
};

const char *verify_code(enum verify_what what);
const char *verify_meaning(enum verify_what what);
const char *verify_next(enum verify_what what);

struct verify_finding {
    enum verify_what what;
    unsigned level;  /* of a tile */
    uint64_t index;  /* of the leaf or tile; size of the checkpoint; first of a range */
    uint64_t count;  /* how many in a row, at least 1 */
    enum err detail; /* why, or ERR_OK */
};

struct verify_options {
    const struct note_key *key; /* NULL: not anchored, then signatures are not checked but all must
                                 * name the same key */
    const struct checkpoint *since; /* NULL, or a checkpoint that the log must continue */
    void *ctx;
    void (*found)(void *ctx, const struct verify_finding *f);
    void (*progress)(void *ctx, uint64_t done, uint64_t total); /* NULL: none */
};

#define VERIFY_EVENTS 16 /* AuditEvent, 0 for others */

struct verify_result {
    struct audit_head head;
    uint64_t leaves; /* that stand there and decode */
    uint64_t tiles;
    uint64_t checkpoints;
    uint64_t signatures; /* that hold */
    uint64_t covered;    /* size of the newest checkpoint that holds; the rest is not signed yet */
    uint64_t ids;
    uint64_t details;
    uint64_t erased;      /* leaves whose detail was erased */
    uint64_t time_breaks; /* leaves older than the one before: a clock was set back */
    uint64_t time_break;  /* the first of them */
    uint64_t first_ms;
    uint64_t last_ms;
    uint64_t events[VERIFY_EVENTS];
    uint32_t key_hash; /* that checkpoints name; 0 without checkpoint */
    uint64_t findings;
};

/* ERR_OK when everything holds; ERR_BAD_PROOF when something was found; any other error means that
 * the check could not be done. `ret` is written in the first two cases. */
enum err verify_log(struct source *s, const struct verify_options *options,
                    struct verify_result *ret);

#endif
