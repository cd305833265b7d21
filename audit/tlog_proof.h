/* Offline proofs as text (C2SP tlog-proof.md): an entry's index, its inclusion path and the signed
 * checkpoint. The opaque extra data hold the leaf, so that a proof needs nothing beside it. */
#ifndef SEALPOST_AUDIT_TLOG_PROOF_H
#define SEALPOST_AUDIT_TLOG_PROOF_H

#include "audit/checkpoint.h"
#include "common/limits.h"
#include "common/merkle.h"

#include <stdbool.h>

struct tlog_proof {
    bool has_extra;
    struct span extra;
    uint64_t index;
    size_t n;
    struct digest path[LIMIT_PROOF_PATH];
    struct span checkpoint; /* the whole note */
};

/* True when `bytes` begin as such a proof does. */
bool tlog_proof_is(struct span bytes);
/* Parses strictly. The checkpoint borrows from `text`, the extra data from `extra`, which is
 * initialised by the caller and appended to. ERR_MALFORMED, ERR_TOO_LARGE (LIMIT_TLOG_PROOF). */
enum err tlog_proof_parse(struct span text, struct buf *extra, struct tlog_proof *ret);
void tlog_proof_format(const struct tlog_proof *p, struct buf *out);

/* Does the path lead from `leaf_hash` to the checkpoint's root, and did `key` sign it? `key` NULL:
 * the path alone. ERR_BAD_PROOF, ERR_BAD_SIGNATURE, ERR_MALFORMED. */
enum err tlog_proof_verify(const struct tlog_proof *p, const struct digest *leaf_hash,
                           const struct note_key *key, struct checkpoint *ret);

#endif
