/* Receipts: one leaf, the proof that it stands in its log, and the signed checkpoint over it. */
#ifndef SEALPOST_AUDIT_RECEIPT_H
#define SEALPOST_AUDIT_RECEIPT_H

#include "common/crypto.h"
#include "common/err.h"
#include "common/span.h"
#include "proto/pb.h"

#include "audit.pb-c.h"

struct receipt;

/* Decodes receipt and leaf strictly, without a key. */
enum err receipt_decode(struct span bytes, struct receipt **ret);
void receipt_free(struct receipt *r);
struct span receipt_bytes(const struct receipt *r);
const Sp__Leaf *receipt_leaf(const struct receipt *r);
const struct digest *receipt_leaf_hash(const struct receipt *r);
uint64_t receipt_index(const struct receipt *r);
uint64_t receipt_size(const struct receipt *r); /* of the log at its checkpoint */
struct span receipt_checkpoint(const struct receipt *r);
const char *receipt_origin(const struct receipt *r);

/* Does the proof hold, and did `key` sign the checkpoint of origin FEDERATION/leaf.log? One
 * signature covers a commit: `cache` (may be NULL; one thread) remembers verified checkpoints,
 * bounded. ERR_BAD_PROOF, ERR_BAD_SIGNATURE. */
struct receipt_cache;
enum err receipt_cache_new(size_t max, struct receipt_cache **ret);
void receipt_cache_free(struct receipt_cache *c);
enum err receipt_verify(const struct receipt *r, const char *federation,
                        const struct ed25519_public *key, struct receipt_cache *cache);

#endif
