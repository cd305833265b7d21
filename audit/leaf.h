/* Leaves: what every leaf of every log has to satisfy (proto/audit.proto), beyond strict encoding.
 */
#ifndef SEALPOST_AUDIT_LEAF_H
#define SEALPOST_AUDIT_LEAF_H

#include "common/crypto.h"
#include "common/err.h"
#include "common/span.h"
#include "proto/pb.h"

#include "audit.pb-c.h"

/* Decodes a leaf; the caller frees with pb_free. Beyond pb_decode's errors: ERR_VERSION for a
 * version other than 0; ERR_MALFORMED for a missing event, log or time, for an id, digest, cause or
 * commitment of another length than 16 or 32 (or none), a name over its limit, lists that are not
 * sorted and distinct, and more recipients or codes than a message may have. */
enum err leaf_decode(struct span bytes, struct pb **pb, const Sp__Leaf **ret);

/* The same rules for a leaf that is to be encoded. */
enum err leaf_check(const Sp__Leaf *leaf);

/* The salted commitment to a detail: SHA-256("sealpost-detail-v1" || 00 || salt || detail). */
#define LEAF_SALT 32
struct digest leaf_commit(const uint8_t salt[LEAF_SALT], struct span detail);

#endif
