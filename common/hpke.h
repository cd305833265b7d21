/* HPKE (RFC 9180), mode_base, in one suite: DHKEM(X25519, HKDF-SHA256) 0x0020, HKDF-SHA256 0x0001,
 * ChaCha20Poly1305 0x0003. No export, no PSK, no auth mode.
 *
 * A context is owned by one thread, lives in locked memory, is never stored, and is wiped when
 * freed. The sender numbers its messages; the receiver opens them by number in any order, so it
 * keeps no state and cannot detect replay. */
#ifndef SEALPOST_COMMON_HPKE_H
#define SEALPOST_COMMON_HPKE_H

#include "common/crypto.h"
#include "common/env.h"
#include "common/err.h"
#include "common/secret.h"
#include "common/span.h"

#include <stdint.h>

#define HPKE_PUBLIC X25519_KEY
#define HPKE_ENC X25519_KEY
#define HPKE_TAG AEAD_TAG

/* DeriveKeyPair (RFC 9180 7.1.3): a 64-byte X25519 secret (secret || public) from keying material
 * of at least 32 bytes; ERR_MALFORMED when it is shorter. */
enum err hpke_derive_key(struct span ikm, struct secret **ret);

struct hpke_sender;

/* SetupBaseS with a fresh ephemeral key. The context seals `max_seq` messages, seq 0 to
 * max_seq - 1. ERR_MALFORMED when `public_key` is of small order. `info` is borrowed for the call.
 */
enum err hpke_sender_new(const struct env *env, const uint8_t public_key[HPKE_PUBLIC],
                         struct span info, uint64_t max_seq, struct hpke_sender **ret);
/* The same with the ephemeral key derived from `ikm_e`, for published vectors and deterministic
 * tests only: a repeated `ikm_e` repeats nonces. */
enum err hpke_sender_new_from_ikm(struct span ikm_e, const uint8_t public_key[HPKE_PUBLIC],
                                  struct span info, uint64_t max_seq, struct hpke_sender **ret);
/* Wipes; accepts NULL. */
void hpke_sender_free(struct hpke_sender *s);
/* HPKE_ENC bytes, borrowed until free. */
const uint8_t *hpke_sender_enc(const struct hpke_sender *s);
/* Messages that the context can still seal. */
uint64_t hpke_sender_left(const struct hpke_sender *s);
/* Seals under the next seq, which is written to `seq`; `ct` takes plain.len + HPKE_TAG bytes. The
 * seq is taken before sealing and stays used when sealing fails. ERR_FULL when none is left. */
enum err hpke_seal(struct hpke_sender *s, struct span aad, struct span plain, uint8_t *ct,
                   uint64_t *seq);

struct hpke_receiver;

/* SetupBaseR. `key` is an X25519 secret of 32 bytes, or of 64 (x25519_expand), which is faster.
 * ERR_MALFORMED when `enc` is of small order. */
enum err hpke_receiver_new(const struct secret *key, const uint8_t enc[HPKE_ENC], struct span info,
                           struct hpke_receiver **ret);
/* Wipes; accepts NULL. */
void hpke_receiver_free(struct hpke_receiver *r);
/* Opens message `seq`; `plain` takes ct.len - HPKE_TAG bytes. ERR_BAD_DIGEST for anything that was
 * not sealed so, a wrong seq or aad included; `plain` then holds zeros. */
enum err hpke_open(const struct hpke_receiver *r, uint64_t seq, struct span aad, struct span ct,
                   uint8_t *plain);

#endif
