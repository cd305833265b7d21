/* The sealed envelope: decode, verify, and read.
 *
 * Bytes: envelope.proto and docs/PROTOCOL.md. `struct envelope` is a value that only
 * envelope_decode can make: every rule that can be checked without a key or a directory holds for
 * it (caps, strict encoding at every level, header rules, one wrap for each recipient in the same
 * order, digests of the core equal to the fields as received, UUIDv7 time equal to created_ms,
 * sorted and distinct lists). Who signed it, and whether that key may, is decided elsewhere
 * (certs/verify.h). */
#ifndef SEALPOST_PROTO_ENVELOPE_H
#define SEALPOST_PROTO_ENVELOPE_H

#include "common/crypto.h"
#include "common/err.h"
#include "common/span.h"
#include "common/uuid.h"
#include "proto/dsse.h"

#include "envelope.pb-c.h"

#define ENVELOPE_SUITE_1 1

struct envelope_recipient {
    const char *agency;
    uint64_t seq;
    struct digest prev_hash;
    /* its wrap */
    struct key_id key_id;
    struct span enc; /* 32 bytes in suite 1 */
    uint32_t wrap_seq;
    struct span ct; /* 32 bytes */
};

struct envelope_part {
    Sp__PartKind kind;
    uint64_t ct_len;
    struct digest sha256;
};

struct envelope_header {
    uint32_t suite;
    struct uuid id;
    uint64_t created_ms;
    uint64_t expires_ms;
    const char *sender; /* agency */
    const char *agent;
    uint8_t epoch[8];
    struct key_id key_id;
    const char *const *handling; /* sorted */
    size_t n_handling;
    Sp__Level level;
    Sp__Urgency urgency;
    uint64_t directory_version;
    bool has_supersedes;
    struct uuid supersedes;
    struct span source;  /* empty when none */
    struct span release; /* empty, or 32 bytes */
};

struct envelope;

/* Copies what it keeps. Errors: too-large, unknown-field, non-canonical, malformed, version (another
 * version or suite), expired never (time is not its business), bad-digest (a core digest is not that
 * of its field). */
enum err envelope_decode(struct span bytes, struct envelope **ret);
void envelope_free(struct envelope *e);

/* The bytes as received; what goes to the next hop. */
struct span envelope_bytes(const struct envelope *e);
/* SHA-256(payload): the digest of the envelope everywhere. */
const struct digest *envelope_digest(const struct envelope *e);
const struct envelope_header *envelope_header(const struct envelope *e);
size_t envelope_recipient_count(const struct envelope *e);
const struct envelope_recipient *envelope_recipient(const struct envelope *e, size_t i);
/* Index of `agency` among the recipients; ERR_NOT_A_RECIPIENT. */
enum err envelope_find_recipient(const struct envelope *e, const char *agency, size_t *ret);
size_t envelope_part_count(const struct envelope *e);
const struct envelope_part *envelope_part(const struct envelope *e, size_t i);
/* Sum of ct_len over all parts. */
uint64_t envelope_parts_len(const struct envelope *e);

/* The signature over the received bytes, single or batch, by `key`. `cache` may be NULL; it holds
 * verified (public key, size, root, sig) of batches, bounded, and belongs to one thread.
 * ERR_BAD_SIGNATURE. */
struct batch_cache;
enum err batch_cache_new(size_t max, struct batch_cache **ret);
void batch_cache_free(struct batch_cache *c);
enum err envelope_verify(const struct envelope *e, const struct ed25519_public *key,
                         struct batch_cache *cache);

#endif
