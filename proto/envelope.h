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

/* What the signature covers: SHA-256 of each field as received, and the commitment to the file
 * key. */
struct envelope_core {
    struct digest header;
    struct digest recipients;
    struct digest wraps;
    struct digest parts;
    struct digest commit;
};

/* What an onward message says of its source. Its header is decoded under the same rules and has no
 * source of its own (depth 1): a message made from an onward message names the same source again,
 * with more codes. Who signed it is checked with envelope_verify_source. */
struct envelope_source {
    struct digest digest; /* of the source envelope: SHA-256 of its core */
    struct envelope_header header;
    const char *const *handling; /* union of the codes so far, sorted; contains header.handling */
    size_t n_handling;
};

struct envelope;

/* Copies what it keeps. In this order: ERR_TOO_LARGE (LIMIT_ENVELOPE), the strict decoding of the
 * outer message (proto/pb.h), ERR_WRONG_USAGE (payload type), ERR_BAD_DIGEST (a core digest is not
 * that of its field), the strict decoding of each field, then the rules: ERR_VERSION (another
 * version or suite), ERR_TOO_LARGE (over a limit of common/limits.h), ERR_MALFORMED (every other
 * rule). Time is not its business: an expired envelope decodes. */
enum err envelope_decode(struct span bytes, struct envelope **ret);
/* Accepts NULL. */
void envelope_free(struct envelope *e);

/* The bytes as received; what goes to the next hop. */
struct span envelope_bytes(const struct envelope *e);
/* SHA-256(payload): the digest of the envelope everywhere. */
const struct digest *envelope_digest(const struct envelope *e);
const struct envelope_core *envelope_core(const struct envelope *e);
const struct envelope_header *envelope_header(const struct envelope *e);
/* NULL unless the header has a source. */
const struct envelope_source *envelope_source(const struct envelope *e);
size_t envelope_recipient_count(const struct envelope *e);
const struct envelope_recipient *envelope_recipient(const struct envelope *e, size_t i);
/* Index of `agency` among the recipients; ERR_NOT_A_RECIPIENT. */
enum err envelope_find_recipient(const struct envelope *e, const char *agency, size_t *ret);
size_t envelope_part_count(const struct envelope *e);
const struct envelope_part *envelope_part(const struct envelope *e, size_t i);
/* Sum of ct_len over all parts. */
uint64_t envelope_parts_len(const struct envelope *e);

/* Verified batch roots: (public key, size, root, signature). Only what verified goes in, so that
 * the envelopes of a batch cost one signature check together. Holds at most `max` of them, 1 to
 * LIMIT_BATCH_CACHE (ERR_MALFORMED, ERR_TOO_LARGE); a newer one may displace an older one. Belongs
 * to one thread. */
struct batch_cache;
enum err batch_cache_new(size_t max, struct batch_cache **ret);
/* Accepts NULL. */
void batch_cache_free(struct batch_cache *c);

/* The signature over the received bytes, single or batch, by `key`; whether that key may sign is
 * decided elsewhere, for each envelope anew. `cache` may be NULL. ERR_BAD_SIGNATURE, also when
 * `key` is not the one that header.key_id names. */
enum err envelope_verify(const struct envelope *e, const struct ed25519_public *key,
                         struct batch_cache *cache);
/* The same for the source, by the key of the source's header. ERR_NOT_FOUND without a source. */
enum err envelope_verify_source(const struct envelope *e, const struct ed25519_public *key,
                                struct batch_cache *cache);

/* Appends the Source that a message made from `e` carries in its header: core, signature and header
 * of `e` or, when `e` itself is onward, those of its source again. `handling` is the union of all
 * codes so far, sorted and distinct: ERR_HANDLING_ONWARD when one of `e` or of its source is
 * missing. ERR_TOO_LARGE over LIMIT_SOURCE; `out` then is as before. */
enum err envelope_make_source(const struct envelope *e, const char *const *handling,
                              size_t n_handling, struct buf *out);

#endif
