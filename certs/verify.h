/* Verification of an envelope against a snapshot: may this key sign for this agency at that time,
 * and did it sign these bytes. What comes out is a type that only this function makes. */
#ifndef SEALPOST_CERTS_VERIFY_H
#define SEALPOST_CERTS_VERIFY_H

#include "certs/trust.h"
#include "proto/envelope.h"

struct verified {
    const struct envelope *envelope;
    uint64_t judged_at_ms;
    uint64_t directory_version; /* of the snapshot it was verified under */
};

/* `at_ms`: see trust_signing_key. Errors: unknown-agency, need-documents, revoked, expired,
 * stale-crl, bad-signature. A header that cites a newer directory than ours is ERR_STALE_DIRECTORY.
 */
enum err verify_envelope(const struct trust *t, const struct envelope *e, uint64_t at_ms,
                         struct batch_cache *cache, struct verified *ret);

#endif
