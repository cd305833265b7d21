/* Evidence: one envelope and every receipt about it, checkable with the federation root alone
 * (audit.proto, message Evidence). Certificates are not judged here: where keys come from is the
 * caller's business, who holds the root. */
#ifndef SEALPOST_AUDIT_EVIDENCE_H
#define SEALPOST_AUDIT_EVIDENCE_H

#include "audit/receipt.h"
#include "proto/envelope.h"

#include <stdbool.h>

struct evidence;

/* Decodes the bundle, its envelope and its receipts strictly. All receipts must speak of this
 * envelope (id and digest), else ERR_BAD_PROOF. Errors: ERR_TOO_LARGE (LIMIT_EVIDENCE,
 * LIMIT_EVIDENCE_RECEIPTS), the decoders'. */
enum err evidence_decode(struct span bytes, struct evidence **ret);
void evidence_free(struct evidence *ev);

const Sp__Evidence *evidence_view(const struct evidence *ev);
const struct envelope *evidence_envelope(const struct evidence *ev);
size_t evidence_receipt_count(const struct evidence *ev);
const struct receipt *evidence_receipt(const struct evidence *ev, size_t i);
/* When the sender's key is judged: the time of the first broker's acceptance (hop 0), else the
 * envelope's own. To be believed once its receipt is verified. */
uint64_t evidence_judged_at_ms(const struct evidence *ev);

/* Keys under the root. Errors as trust_log_key and trust_signing_key (certs/trust.h). */
struct evidence_keys {
    void *ctx;
    const char *federation;
    enum err (*log_key)(void *ctx, const char *name, struct ed25519_public *ret);
    enum err (*signing_key)(void *ctx, const char *agency, const struct key_id *id, uint64_t at_ms,
                            struct ed25519_public *ret);
};

struct evidence_verdict {
    enum err signature; /* of the envelope, by the sender's key */
    bool disclosed;
    enum err commitment; /* ERR_OK when not disclosed */
    size_t receipts_good;
};
/* Checks everything and tells each. `receipts` (NULL, or one place for each receipt) gets the
 * verdict on each. ERR_OK when all hold; else the first that does not. */
enum err evidence_verify(const struct evidence *ev, const struct evidence_keys *keys,
                         struct evidence_verdict *verdict, enum err *receipts);

#endif
