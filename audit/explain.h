/* One exchange across any number of logs: every leaf about it, in order of time, each with its
 * proof checked and, where it rests on another's receipt, linked to that leaf. */
#ifndef SEALPOST_AUDIT_EXPLAIN_H
#define SEALPOST_AUDIT_EXPLAIN_H

#include "audit/checkpoint.h"
#include "audit/source.h"
#include "common/uuid.h"

#define EXPLAIN_NONE SIZE_MAX

struct explain_step {
    size_t source; /* place in the list of logs */
    uint64_t index;
    const Sp__Leaf *leaf; /* NULL when its record is damaged; then `proof` says so */
    struct digest hash;
    enum err proof; /* ERR_OK, ERR_BAD_PROOF, ERR_BAD_SIGNATURE, ERR_CORRUPT ... */
    bool covered;   /* by a signed checkpoint; else by the head alone */
    uint64_t size;  /* of that checkpoint or head */
    size_t cause;   /* the step that it rests on, EXPLAIN_NONE when no given log holds that */
    struct pb *pb;
};

struct explain {
    struct explain_step *steps;
    size_t n;
    size_t broken; /* steps whose proof does not hold */
};

/* `keys[i]` is that of `sources[i]`, NULL where it is not anchored: then proofs are checked against
 * the checkpoint without its signature. ERR_NOT_FOUND when no log speaks of `id`; ERR_TOO_LARGE
 * over LIMIT_AUDIT_STEPS. Steps borrow nothing from the sources. */
enum err explain_id(struct source *const *sources, const struct note_key *const *keys, size_t n,
                    const struct uuid *id, struct explain *ret);
void explain_fini(struct explain *x);

#endif
