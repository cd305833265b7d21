/* Sealing and opening of envelopes, exactly as docs/PROTOCOL.md. Built only on published parts:
 * HPKE base (RFC 9180), age payload, DSSE, Ed25519, HMAC/HKDF-SHA256. Streams, keys and time come
 * from the caller; nothing here does I/O. */
#ifndef SEALPOST_PROTO_SEAL_H
#define SEALPOST_PROTO_SEAL_H

#include "common/env.h"
#include "common/hpke.h"
#include "common/secret.h"
#include "proto/envelope.h"
#include "proto/part.h"

/* One recipient's place in its stream and the key to encrypt to. */
struct seal_recipient {
    const char *agency;
    uint64_t seq;
    struct digest prev_hash;
    struct key_id key_id;
    uint8_t public_key[32];
};

struct seal_input {
    struct envelope_header header;           /* suite 1; handling sorted; id's time is created_ms */
    const struct seal_recipient *recipients; /* sorted by agency, distinct */
    size_t n_recipients;
    const struct envelope_part *parts; /* part 0 is the body */
    size_t n_parts;
    const struct secret *file_key;
};

/* HPKE contexts of one commit: one for each recipient key, so that what is committed together
 * shares encapsulations. Owned by one thread, never stored; freeing wipes it. A context that
 * reached LIMIT_WRAP_SEQ or failed is replaced by a fresh one; a pool of LIMIT_WRAP_POOL contexts
 * drops them all before the next. `env` outlives the pool. */
struct wrap_pool;
enum err wrap_pool_new(const struct env *env, struct wrap_pool **ret);
void wrap_pool_free(struct wrap_pool *p);

/* Everything but the signature: a sealed, unsigned envelope. Nothing of `in` is borrowed
 * afterwards. What envelope_decode would refuse is refused here with the same error and takes
 * nothing from the pool. ERR_WRONG_USAGE when a recipient's key id is not that of its public key.
 */
struct sealed;
enum err seal(struct wrap_pool *pool, const struct seal_input *in, struct sealed **ret);
/* Accepts NULL. */
void sealed_free(struct sealed *s);
const struct digest *sealed_digest(const struct sealed *s);

/* Signs `n` sealed envelopes at once (1 to LIMIT_BATCH): n = 1 gives a single signature, more a
 * batch. All must carry the key id of `key`, else ERR_WRONG_USAGE. Appends envelope i's bytes to
 * outs[i], which are distinct; on failure to none of them. */
enum err seal_sign(struct sealed *const *envelopes, size_t n, const struct secret *key,
                   struct buf *const *outs);

/* The recipient's side. `find` gives the X25519 secret key for a key id (borrowed), or
 * ERR_NOT_FOUND. Unwraps the file key for `agency` and checks the commitment in constant time.
 * Errors: not-a-recipient; wrong-usage when the key id is not ours; bad-commitment when the wrap
 * does not open or the commitment does not hold. */
typedef enum err (*open_find_key)(void *ctx, const struct key_id *id, const struct secret **ret);
enum err open_envelope(const struct envelope *e, const char *agency, open_find_key find, void *ctx,
                       struct secret **file_key);
/* HPKE contexts of the recipient's side, so that the wraps of one sender context cost one
 * Diffie-Hellman together. Holds at most `max` of them, 1 to LIMIT_OPEN_CACHE (ERR_MALFORMED,
 * ERR_TOO_LARGE); a newer one may displace an older one. Owned by one thread, never stored; freeing
 * wipes it. Free it before a decryption key is destroyed: what it holds opens what that key opened.
 */
struct open_cache;
enum err open_cache_new(size_t max, struct open_cache **ret);
/* Accepts NULL. */
void open_cache_free(struct open_cache *c);
/* As open_envelope. `cache` may be NULL. `find` is asked in any case. */
enum err open_envelope_cached(struct open_cache *cache, const struct envelope *e,
                              const char *agency, open_find_key find, void *ctx,
                              struct secret **file_key);
/* Checks the commitment alone, for evidence in which the file key is disclosed. ERR_BAD_COMMITMENT.
 */
enum err open_check_commitment(const struct envelope *e, const struct secret *file_key);

#endif
