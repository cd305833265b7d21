/* Making of the documents that are signed often: key statements and timestamps; and the default
 * code book. Ceremonies for root and directory are in the command. */
#ifndef SEALPOST_CERTS_ISSUE_H
#define SEALPOST_CERTS_ISSUE_H

#include "certs/documents.h"
#include "common/env.h"
#include "common/secret.h"

struct issue_encryption_key {
    uint8_t public_key[32];
    uint64_t not_before_ms;
    uint64_t not_after_ms;
    bool last_resort;
};

struct issue_statement {
    const char *agency;
    uint64_t serial;
    uint64_t lifetime_ms;                    /* at most LIMIT_STATEMENT_MS */
    const struct issue_encryption_key *keys; /* sorted by start */
    size_t n_keys;
    uint8_t transport[32];
    uint64_t transport_lifetime_ms;
    struct ed25519_public log;
};
/* Appends a key statement issued now and signed by `sign` (Ed25519 seed, the leaf's key). */
enum err issue_statement(const struct env *env, const struct issue_statement *in,
                         const struct secret *sign, struct buf *out, struct why *why);

/* Appends a timestamp over the root version and the directory, issued now. Its version follows the
 * clock (seconds) but always exceeds `previous`, so that several signers need no common counter. */
enum err issue_timestamp(const struct env *env, uint64_t root_version,
                         const struct document *directory, uint64_t previous, uint64_t lifetime_ms,
                         const struct secret *key, struct buf *out, struct why *why);

/* The handling codes of Europol (H0 to H3) with their meanings as rules and in words. The entries
 * live in the struct, which must not move after its initialisation. */
#define CODEBOOK_CODES 4
#define CODEBOOK_LANGUAGES 4
struct codebook {
    Sp__CodeEntry entries[CODEBOOK_CODES];
    Sp__CodeEntry *list[CODEBOOK_CODES];
    Sp__Text texts[CODEBOOK_CODES][CODEBOOK_LANGUAGES];
    Sp__Text *labels[CODEBOOK_CODES][CODEBOOK_LANGUAGES];
};
void codebook_init(struct codebook *c);

#endif
