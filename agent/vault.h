/* Content at rest: small texts and file keys under the agency's storage key, which lives in a key
 * file and never in LMDB.
 *
 * sealed = nonce (24 random bytes) || XChaCha20-Poly1305(key of the use, plain), the record's key
 * as associated data, so that a sealed value cannot be moved to another record. The keys of the
 * uses are derived from the storage key by HKDF-SHA256 (docs/DISK-FORMAT.md). */
#ifndef SEALPOST_AGENT_VAULT_H
#define SEALPOST_AGENT_VAULT_H

#include "common/crypto.h"
#include "common/env.h"
#include "common/err.h"
#include "common/secret.h"
#include "common/span.h"

struct vault;

/* `storage` has 32 bytes; borrowed only for the call. */
enum err vault_new(const struct secret *storage, struct vault **ret);
void vault_free(struct vault *v);
/* CHECKSUM_KEY bytes for the store's keyed checksums; borrowed. */
const uint8_t *vault_checksum_key(const struct vault *v);

#define VAULT_OVERHEAD 40
/* Appends the sealed bytes. `name` is what they belong to, such as an envelope's digest. */
enum err vault_seal(const struct vault *v, const struct env *env, struct span name,
                    struct span plain, struct buf *sealed);
/* Appends the plain bytes. ERR_CORRUPT when they are not what was sealed under this name. */
enum err vault_open(const struct vault *v, struct span name, struct span sealed, struct buf *plain);
/* A keyed digest, to tell equal texts without keeping anything from which they could be guessed. */
struct digest vault_token(const struct vault *v, struct span text);
/* File keys, which never lie outside secret memory. */
enum err vault_seal_key(const struct vault *v, const struct env *env, struct span name,
                        const struct secret *key, struct buf *sealed);
enum err vault_open_key(const struct vault *v, struct span name, struct span sealed,
                        struct secret **ret);

#endif
