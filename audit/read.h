/* The records of a log as they lie in the store (docs/DISK-FORMAT.md), read through a transaction
 * of either kind. Spans are borrowed until the transaction ends or its next change.
 *
 *   audit-leaf        u64 index                    -> leaf
 *   audit-tile        u8 level, u64 index          -> 1 to 256 hashes
 *   audit-id          envelope id (16), u64 index  -> nothing
 *   audit-checkpoint  u64 size                     -> signed note
 *   audit-detail      u64 index                    -> salt (32), detail; deleted when erased
 *   audit-meta        "head"                       -> u64 size, root (32)
 *                     "origin"                     -> text */
#ifndef SEALPOST_AUDIT_READ_H
#define SEALPOST_AUDIT_READ_H

#include "audit/checkpoint.h"
#include "audit/leaf.h"
#include "common/store.h"

#define AUDIT_KEY_TILE ((size_t)9)
#define AUDIT_KEY_ID ((size_t)24)
#define AUDIT_HEAD_SIZE ((size_t)40)
extern const struct span audit_key_head;
extern const struct span audit_key_origin;

void audit_key_tile(unsigned level, uint64_t index, uint8_t out[AUDIT_KEY_TILE]);
void audit_key_id(struct span id, uint64_t index, uint8_t out[AUDIT_KEY_ID]);

struct audit_head {
    uint64_t size;
    struct digest root;
};
void audit_head_encode(const struct audit_head *head, uint8_t out[AUDIT_HEAD_SIZE]);

/* Errors of all: ERR_NOT_FOUND, ERR_CORRUPT. */
enum err audit_read_head(struct store_txn *txn, struct audit_head *ret);
enum err audit_read_origin(struct store_txn *txn, char ret[NOTE_NAME]);
enum err audit_read_leaf(struct store_txn *txn, uint64_t index, struct span *ret);
enum err audit_read_tile(struct store_txn *txn, unsigned level, uint64_t index, struct span *ret);
/* The first stored checkpoint of at least `size` leaves. */
enum err audit_read_checkpoint(struct store_txn *txn, uint64_t size, uint64_t *found,
                               struct span *note);
/* The stored checkpoint of most leaves. */
enum err audit_read_last_checkpoint(struct store_txn *txn, uint64_t *size, struct span *note);
enum err audit_read_detail(struct store_txn *txn, uint64_t index, struct span *salt,
                           struct span *detail);

#endif
