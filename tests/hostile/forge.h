/* Envelopes with one fault each, signed with an agency's real keys where the fault lets them be. */
#ifndef SEALPOST_TESTS_FORGE_H
#define SEALPOST_TESTS_FORGE_H

#include "certs/trust.h"
#include "common/env.h"
#include "common/secret.h"
#include "common/uuid.h"
#include "proto/dsse.h"

struct forge {
    const struct env *env;
    struct trust *trust;
    const char *agency;
    struct secret *sign;
    struct key_id key_id;
};

/* What is sent: the envelope and its one part. */
struct forged {
    struct uuid id;
    struct buf envelope;
    struct buf body;
    uint64_t delay_ms; /* declared with it */
};

/* `fault` is one of forge_faults, or "good". A nil `id` means a fresh one. `to` is sorted. On
 * failure nothing is left to free. ERR_USAGE for a fault that is not known. */
enum err forge_make(const struct forge *f, const char *fault, const struct uuid *id,
                    const char *const *to, size_t n_to, struct forged *ret);
/* Accepts a zeroed one. */
void forged_fini(struct forged *f);

#endif
