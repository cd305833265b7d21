/* DSSE v1: pre-authentication encoding and single signatures, for documents and envelopes.
 * Source: secure-systems-lab/dsse protocol.md v1.0.2. */
#ifndef SEALPOST_PROTO_DSSE_H
#define SEALPOST_PROTO_DSSE_H

#include "common/crypto.h"
#include "common/err.h"
#include "common/span.h"

#define DSSE_TYPE_ENVELOPE "application/vnd.sealpost.envelope.v1+protobuf"
#define DSSE_TYPE_BATCH "application/vnd.sealpost.batch.v1"
#define DSSE_TYPE_ROOT "application/vnd.sealpost.root.v1+protobuf"
#define DSSE_TYPE_DIRECTORY "application/vnd.sealpost.directory.v1+protobuf"
#define DSSE_TYPE_TIMESTAMP "application/vnd.sealpost.timestamp.v1+protobuf"
#define DSSE_TYPE_STATEMENT "application/vnd.sealpost.statement.v1+protobuf"

/* 16-byte key id: the first 16 bytes of SHA-256 over "sealpost-key-id-v1" || 00 || u16be(label
 * length)
 * || label || public key; label "ed25519" for signing keys, "suite-0001" for encryption keys of
 * suite 1, so that no key can pass for one of another use. */
struct key_id {
    uint8_t b[16];
};
struct key_id key_id_of(const char *label, struct span public_key);
#define KEY_LABEL_SIGN "ed25519"
#define KEY_LABEL_SUITE_1 "suite-0001"

/* Appends PAE(type, payload) to `out`. */
void dsse_pae(const char *type, struct span payload, struct buf *out);

/* A signed document, decoded. Type and payload borrow from it. Any number of signatures up to
 * LIMIT_SIGNATURES, none included; each is 64 bytes under a key id of 32 lower-case hex digits.
 * Errors: as pb_decode; ERR_TOO_LARGE for too many signatures; ERR_MALFORMED for one of another
 * shape, and for one that carries a batch: that form is for envelopes. */
struct dsse;
enum err dsse_decode(struct span bytes, size_t max, struct dsse **ret);
/* Accepts NULL. */
void dsse_free(struct dsse *d);
const char *dsse_type(const struct dsse *d);
struct span dsse_payload(const struct dsse *d);
/* How many of `keys` (distinct by public key, n of them) have signed it: a key that signs twice
 * counts once, signatures of unknown keys do not count, a wrong signature under a known key id is
 * ERR_BAD_SIGNATURE. ERR_WRONG_USAGE when the payload type is not `type`; ERR_NO_MEMORY. */
enum err dsse_count(const struct dsse *d, const char *type, const struct ed25519_public *keys,
                    size_t n, size_t *ret);

/* Appends a document signed by one key (Ed25519 secret, seed or expanded). Sets out->err when it
 * does not fit or when signing fails (ERR_CRYPTO). */
void dsse_sign(const char *type, struct span payload, const struct secret *key, struct buf *out);
/* Appends `document` (at most LIMIT_DOCUMENT) with one signature more; those that it has are kept
 * and not checked. ERR_EXISTS when the key has signed already, ERR_TOO_LARGE when there are
 * LIMIT_SIGNATURES; else the errors of dsse_decode, of signing and of `out`. */
enum err dsse_add_signature(struct span document, const struct secret *key, struct buf *out);
/* Appends a document without signatures, for signing elsewhere. */
void dsse_unsigned(const char *type, struct span payload, struct buf *out);

#endif
