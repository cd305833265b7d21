/* Cryptographic primitives: one wrapper, each from the library that is the faster or the only one.
 *
 * libsodium: Ed25519, X25519, XChaCha20-Poly1305, Argon2id, SipHash, short ChaCha20-Poly1305.
 * OpenSSL: SHA-256 and what builds on it (HMAC, HKDF), long ChaCha20-Poly1305.
 * Every function may be called from any thread; objects belong to one thread at a time. Outputs
 * given as arrays are the caller's, who wipes those that are secret (crypto_wipe). */
#ifndef SEALPOST_COMMON_CRYPTO_H
#define SEALPOST_COMMON_CRYPTO_H

#include "common/err.h"
#include "common/secret.h"
#include "common/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* True when the `len` bytes are equal; constant time in the content. */
bool crypto_equal(const void *a, const void *b, size_t len);

/* SHA-256 (FIPS 180-4). Hashing does not fail. */
struct digest {
    uint8_t b[32];
};

/* Constant time, so it also serves for MACs. */
bool digest_equal(const struct digest *a, const struct digest *b);
static inline struct span digest_span(const struct digest *d)
{
    return (struct span){.data = d->b, .len = sizeof(d->b)};
}

struct digest sha256(struct span bytes);
/* Of the concatenation of `n` spans. */
struct digest sha256_parts(const struct span *parts, size_t n);

/* Incremental; embed it, there is nothing to free. Final ends it; init it again to reuse it. */
struct sha256 {
    uint64_t state[14];
};
void sha256_init(struct sha256 *h);
void sha256_update(struct sha256 *h, struct span bytes);
struct digest sha256_final(struct sha256 *h);
/* Wipes the state, for hashes over secrets that end early; accepts NULL. */
void sha256_fini(struct sha256 *h);

/* HMAC-SHA256 (RFC 2104), any key length. Compare with digest_equal. */
struct digest hmac_sha256(struct span key, struct span message);
struct digest hmac_sha256_parts(struct span key, const struct span *parts, size_t n);

/* HKDF-SHA256 (RFC 5869). An empty salt is a string of zeros, as 2.2 says. Expand and hkdf give
 * ERR_TOO_LARGE when `len` exceeds 255 * 32, and then write nothing. */
#define HKDF_MAX ((size_t)255 * 32)
struct digest hkdf_extract(struct span salt, struct span ikm);
enum err hkdf_expand(struct span prk, struct span info, uint8_t *out, size_t len);
enum err hkdf(struct span ikm, struct span salt, struct span info, uint8_t *out, size_t len);

/* Ed25519 (RFC 8032 5.1), as libsodium 1.0.18 verifies it: the cofactorless equation, S below the
 * group order, canonical A, no small-order A or R. tests/vectors/cctv-ed25519 pins the verdicts.
 *
 * A secret key is a secret of 32 bytes (the seed) or of 64 (seed || public), which
 * ed25519_expand() makes and which signs in half the time. */
#define ED25519_SEED ((size_t)32)
#define ED25519_SIG ((size_t)64)
struct ed25519_public {
    uint8_t b[32];
};
enum err ed25519_public_of(const struct secret *key, struct ed25519_public *ret);
enum err ed25519_expand(const struct secret *key, struct secret **ret);
enum err ed25519_sign(const struct secret *key, struct span message, uint8_t sig[ED25519_SIG]);
/* ERR_BAD_SIGNATURE also for a signature of another length than ED25519_SIG. */
enum err ed25519_verify(const struct ed25519_public *key, struct span message, struct span sig);

/* X25519 (RFC 7748). A secret key is a secret of 32 bytes, or of 64 (secret || public) from
 * x25519_expand(), which spares receivers a multiplication. A CURVE key pair is one of these. */
#define X25519_KEY ((size_t)32)
enum err x25519_public_of(const struct secret *key, uint8_t ret[X25519_KEY]);
enum err x25519_expand(const struct secret *key, struct secret **ret);
/* ERR_MALFORMED when the result is all zero (RFC 7748 6.1, RFC 9180 7.1.4); `ret` then is zero. */
enum err x25519_shared(const struct secret *key, const uint8_t theirs[X25519_KEY],
                       uint8_t ret[X25519_KEY]);

/* ChaCha20-Poly1305 (RFC 8439), keyed once and used for many messages: the caller never repeats a
 * nonce under one key. Seal writes in.len + AEAD_TAG bytes, open in.len - AEAD_TAG. `out` is `in`
 * or does not overlap it. Open gives ERR_BAD_DIGEST for anything that was not sealed so, and
 * leaves zeros in `out`. A message is at most AEAD_MAX bytes, else ERR_TOO_LARGE. */
#define AEAD_KEY ((size_t)32)
#define AEAD_NONCE ((size_t)12)
#define AEAD_TAG ((size_t)16)
#define AEAD_MAX ((size_t)1 << 30)
struct aead;
enum err aead_new(const uint8_t key[AEAD_KEY], struct aead **ret);
/* Wipes the key; accepts NULL. */
void aead_free(struct aead *a);
enum err aead_seal(struct aead *a, const uint8_t nonce[AEAD_NONCE], struct span aad, struct span in,
                   uint8_t *out);
enum err aead_open(struct aead *a, const uint8_t nonce[AEAD_NONCE], struct span aad, struct span in,
                   uint8_t *out);

/* The same for a single short message, without an object. */
enum err chacha20poly1305_seal(const uint8_t key[AEAD_KEY], const uint8_t nonce[AEAD_NONCE],
                               struct span aad, struct span in, uint8_t *out);
enum err chacha20poly1305_open(const uint8_t key[AEAD_KEY], const uint8_t nonce[AEAD_NONCE],
                               struct span aad, struct span in, uint8_t *out);

/* XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03): a random nonce of 24 bytes is safe. For what is
 * stored. Errors and buffers as above. */
#define XCHACHA_NONCE ((size_t)24)
enum err xchacha20poly1305_seal(const uint8_t key[AEAD_KEY], const uint8_t nonce[XCHACHA_NONCE],
                                struct span aad, struct span in, uint8_t *out);
enum err xchacha20poly1305_open(const uint8_t key[AEAD_KEY], const uint8_t nonce[XCHACHA_NONCE],
                                struct span aad, struct span in, uint8_t *out);

/* Argon2id version 1.3 (RFC 9106), one lane: `ops` passes over `mem` bytes. Takes a while by
 * design. ERR_TOO_LARGE when ops is outside 1..LIMIT_ARGON2_OPS, mem outside
 * 8 KiB..LIMIT_ARGON2_MEM, or len outside 16..64; ERR_NO_MEMORY. */
#define ARGON2_SALT ((size_t)16)
enum err argon2id(struct span pass, const uint8_t salt[ARGON2_SALT], uint64_t ops, size_t mem,
                  uint8_t *out, size_t len);

/* SipHash-2-4, for checksums of stored records: with a secret key where secrets lie, with zeros
 * where anyone shall be able to check. One part is plain SipHash; of several, it is SipHash over
 * their checksums (u64le each), so that no byte can move from one part to the next.
 * At most CHECKSUM_PARTS parts (asserted). */
#define CHECKSUM_KEY ((size_t)16)
#define CHECKSUM_PARTS 8
uint64_t checksum64(const uint8_t key[CHECKSUM_KEY], const struct span *parts, size_t n);

#endif
