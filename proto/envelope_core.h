/* What sealing and opening compute alike: the HPKE inputs of a wrap, and the commitment. */
#ifndef SEALPOST_PROTO_ENVELOPE_CORE_H
#define SEALPOST_PROTO_ENVELOPE_CORE_H

#include "proto/envelope.h"

/* "sealpost-wrap-v1" || 00 || u16be(suite) || key_id */
#define WRAP_INFO 35
#define WRAP_CT 32 /* file key and tag */

void envelope_wrap_info(uint32_t suite, const struct key_id *key_id, uint8_t ret[WRAP_INFO]);
/* H = SHA-256(header_digest || recipients_digest), the associated data of every wrap: a wrap opens
 * only under the header and the recipient list that it was made for. */
struct digest envelope_wrap_aad(const struct envelope_core *core);
/* HMAC-SHA256(HKDF-SHA256(file key, "", "sealpost-commit-v1", 32), the four digests): it binds the
 * envelope to one file key, which the AEAD alone does not. core->commit is not read. */
enum err envelope_commitment(const struct secret *file_key, const struct envelope_core *core,
                             struct digest *ret);

#endif
