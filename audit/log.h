/* The audit log: an RFC 6962 Merkle tree in the daemon's own LMDB store, written in the transaction
 * of the effect that it records.
 *
 * Tables (docs/DISK-FORMAT.md): leaves by index; C2SP tiles of height 8 (hashes of level L tile N,
 * whole or partial); leaf indices by envelope id; signed checkpoints by size; erasable details by
 * index. Their checksums are plain, so that an auditor needs no key.
 * A log is used by the one thread that writes the store; reading functions take a transaction of
 * either kind and may be called elsewhere with a read transaction. */
#ifndef SEALPOST_AUDIT_LOG_H
#define SEALPOST_AUDIT_LOG_H

#include "common/crypto.h"
#include "common/env.h"
#include "common/err.h"
#include "common/merkle.h"
#include "common/span.h"
#include "common/store.h"

#include <stdbool.h>

#include "audit.pb-c.h"

/* A daemon's table list begins with these, in this order. */
enum audit_table {
    AUDIT_LEAF,
    AUDIT_TILE,
    AUDIT_ID,
    AUDIT_CHECKPOINT,
    AUDIT_DETAIL,
    AUDIT_META,
    AUDIT_TABLES
};
extern const struct store_table audit_tables[AUDIT_TABLES];

/* Signs tree heads: in this process, or another behind a pipe. It must refuse a head that does not
 * extend the last one that it signed (ERR_BAD_PROOF). */
struct audit_signer {
    void *ctx;
    /* `old_size` of 0: the first. The proof leads from the last head that the signer signed; ask
     * for its size with `last`. */
    enum err (*last)(void *ctx, uint64_t *size, struct digest *root);
    enum err (*sign)(void *ctx, uint64_t size, const struct digest *root,
                     const struct digest *proof, size_t proof_len, struct buf *checkpoint);
};

/* The signer in this process: writes and fsyncs {size, root} in its own file `state_path` before it
 * signs, and refuses (ERR_BAD_PROOF) what does not extend it: a smaller size, another root at the
 * same size, a proof that does not hold. `key` (Ed25519 secret) is copied. ERR_CORRUPT for a state
 * file that does not hold, ERR_CONFIG for that of another origin, ERR_LOCKED when another process
 * has it, and the errors of common/file.h. */
enum err audit_signer_local(const char *origin, const struct secret *key, const char *state_path,
                            struct audit_signer *ret);
void audit_signer_local_fini(struct audit_signer *s);

struct audit_log;
/* Opens the log in `store`, checks the head in O(log n) (last leaf against its tile, edges against
 * the stored head) and creates it when the store is new. `name` is the owner (broker or agency),
 * the origin is FEDERATION/NAME. `signer` is borrowed. ERR_CORRUPT, ERR_CONFIG for another origin.
 */
enum err audit_log_open(struct store *store, const char *federation, const char *name,
                        const struct audit_signer *signer, const struct env *env,
                        struct audit_log **ret);
void audit_log_close(struct audit_log *log);
const char *audit_log_origin(const struct audit_log *log);

/* Appends one leaf in `txn`: a copy of `leaf` with version, log name, at_ms (when 0) and the
 * commitment to the detail filled in; it must satisfy audit/leaf.h (ERR_MALFORMED). `detail` may be
 * empty; else it is kept erasable beside the log and the leaf commits to it:
 * SHA-256("sealpost-detail-v1" || 00 || salt || detail) with a fresh salt of 32 bytes. The error is
 * the transaction's sticky one (ERR_TOO_LARGE over LIMIT_LEAF or LIMIT_DETAIL); after it the
 * transaction must be aborted. `index` is the leaf's place. */
void audit_log_append(struct audit_log *log, struct store_txn *txn, const Sp__Leaf *leaf,
                      struct span detail, uint64_t *index);
/* Deletes the detail (and its salt) beside leaf `index`; the tree stays as it is. The caller
 * appends the administrative leaf that says so. ERR_NOT_FOUND when there is none. */
enum err audit_log_erase(struct audit_log *log, struct store_txn *txn, uint64_t index);
/* To be called before store_commit: writes tiles and head of what was appended in this txn, and the
 * newest checkpoint. */
void audit_log_flush(struct audit_log *log, struct store_txn *txn);
/* After a commit that succeeded: the head is durable. After an abort: forget what was appended. */
void audit_log_committed(struct audit_log *log);
void audit_log_aborted(struct audit_log *log);

/* Signs the durable head, if it has grown. Call it after each commit and once after opening; the
 * checkpoint is kept in memory, is served at once, and is written to the store by the next flush
 * (signing is deterministic: after a crash the same head is signed again with the same bytes).
 * ERR_BAD_PROOF when the signer has signed a head that this log does not extend: the store was
 * restored or tampered with, nothing may be signed. */
enum err audit_log_checkpoint(struct audit_log *log);
/* True when the newest checkpoint is not in the store yet: a daemon that idles or stops should
 * commit a transaction with audit_log_flush alone, so that an auditor finds it. */
bool audit_log_unsaved(const struct audit_log *log);
/* Leaves that are durable. */
uint64_t audit_log_size(const struct audit_log *log);
/* Appends the newest checkpoint; ERR_NOT_FOUND when nothing was signed yet. */
enum err audit_log_latest(const struct audit_log *log, struct buf *checkpoint);

/* Appends the receipt for leaf `index`: leaf, path and the first checkpoint that covers it, so that
 * the same question always has the same answer. `txn` began after the last commit. ERR_NOT_FOUND
 * when no checkpoint covers it yet. */
enum err audit_log_receipt(struct audit_log *log, struct store_txn *txn, uint64_t index,
                           struct buf *receipt);

#endif
