/* Trust: what a daemon believes, as one immutable snapshot.
 *
 * A snapshot holds the federation root, the directory and the timestamp, each verified, and for
 * each agency the X.509 chain, CRL and key statement that were verified against that directory. It
 * is reference-counted and never changes, so any thread may read it; news make a new snapshot.
 * Stored envelopes and stored documents are judged again under the newest one.
 *
 * Sources: TUF specification section 5 (root, roles, thresholds, rollback), RFC 5280 (paths, CRLs),
 * DSSE v1, SPIFFE ID (the one URI SAN). */
#ifndef SEALPOST_CERTS_TRUST_H
#define SEALPOST_CERTS_TRUST_H

#include "common/crypto.h"
#include "common/err.h"
#include "common/limits.h"
#include "common/span.h"
#include "proto/dsse.h"

#include "documents.pb-c.h"

struct trust;

/* Names of the files under a federation folder; AGENCY stands for the agency's name. */
#define FEDERATION_ROOT "root.dsse" /* newest; older ones stand beside it as root.N.dsse */
#define FEDERATION_DIRECTORY "directory.dsse"
#define FEDERATION_TIMESTAMP "timestamp.dsse"
#define FEDERATION_AGENCIES "agencies" /* agencies/AGENCY/ with the next four */
#define FEDERATION_CA "ca.pem"
#define FEDERATION_CHAIN "chain.pem" /* leaf first */
#define FEDERATION_CRL "crl.pem"
#define FEDERATION_STATEMENT "statement.dsse"
#define FEDERATION_POLICY "audit-policy" /* C2SP tlog-policy text */

/* What must not go back: kept by the daemon across restarts and given to the next load. */
struct trust_floor {
    uint64_t root_version;
    uint64_t directory_version;
    uint64_t timestamp_version;
};

/* Reads a federation folder. `pinned_root` is the root document that the operator installed (the
 * chain of roots leads from it, each signed by the threshold of the one before and its own).
 * Expired directory or timestamp do not fail here: trust_fresh says so when it matters.
 * Versions under `floor` are ERR_REPLAY. `why` (of `why_size` bytes) names the file and the rule.
 * Documents of an agency that do not hold are left out and named in `why`, the load succeeds. */
enum err trust_load(const char *federation_dir, struct span pinned_root,
                    const struct trust_floor *floor, uint64_t now_ms, struct trust **ret, char *why,
                    size_t why_size);

/* The same from memory. `roots` are the ones after the pinned, in order; may be none. `timestamp`
 * may be empty: then it counts as stale. `documents` are encoded AgencyDocuments. Everything is
 * copied. */
struct trust_input {
    struct span pinned_root;
    const struct span *roots;
    size_t n_roots;
    struct span directory;
    struct span timestamp;
    const struct span *documents;
    size_t n_documents;
};
enum err trust_build(const struct trust_input *in, const struct trust_floor *floor, uint64_t now_ms,
                     struct trust **ret, char *why, size_t why_size);

struct trust *trust_ref(struct trust *t);
void trust_free(struct trust *t);

struct trust_floor trust_versions(const struct trust *t);
const char *trust_federation(const struct trust *t);
const Sp__Directory *trust_directory(const struct trust *t);
uint64_t trust_timestamp_expires_ms(const struct trust *t);
/* SHA-256 of the directory document, for the audit leaf. */
const struct digest *trust_directory_digest(const struct trust *t);

/* ERR_STALE_DIRECTORY, ERR_STALE_TIMESTAMP: then new submissions are refused, and nothing else. */
enum err trust_fresh(const struct trust *t, uint64_t now_ms);

/* Look-ups; NULL when the directory does not list it. */
const Sp__AgencyEntry *trust_agency(const struct trust *t, const char *name);
const Sp__BrokerEntry *trust_broker(const struct trust *t, const char *name);
const Sp__CodeEntry *trust_code(const struct trust *t, const char *code);

/* Adds or replaces an agency's documents (encoded AgencyDocuments). The chain is the leaf and the
 * CA that issued it, whose SPKI hash the directory pins, with exactly one URI SAN
 * spiffe://TRUST-DOMAIN/agent/NAME; the leaf must be Ed25519 and live at most 30 days; the
 * statement must be signed by the leaf. An older statement than the one held keeps the newer, but
 * its leaf is kept (up to LIMIT_EARLIER_LEAVES) for judging earlier signatures; of two CRLs the
 * newer one stays. Documents are accepted while a CRL is stale or lists the leaf, and for
 * LIMIT_EXPIRED_LEAF_MS after the leaf's end, since they may be about messages accepted before;
 * whether a key may be used is judged when it is asked for. `*ret` is a new snapshot (or a new
 * reference to `t` when nothing changed). Errors: malformed (and the decoder's), unknown-agency,
 * bad-signature, wrong-usage, expired, clock (a leaf of the future). */
enum err trust_add_documents(struct trust *t, struct span agency_documents, uint64_t now_ms,
                             bool *changed, struct trust **ret);
/* The encoded AgencyDocuments as they travel; empty when not known. Borrowed from the snapshot. */
struct span trust_documents(const struct trust *t, const char *agency);
/* The same for an earlier signing key that is still kept; empty when not known. */
struct span trust_documents_for(const struct trust *t, const char *agency, const struct key_id *id);
/* After a reload: `t` and beside it what `from` knows of agencies, judged again under t's
 * directory. What does not hold under it is left out. `*ret` is a new snapshot or reference. */
enum err trust_merge(struct trust *t, const struct trust *from, uint64_t now_ms,
                     struct trust **ret);

/* The key with which `agency` signs envelopes, judged at `at_ms`: the home broker's clock for a new
 * submission, the proven accepted time later. ERR_UNKNOWN_AGENCY; ERR_NEED_DOCUMENTS when no chain
 * with this key is known; ERR_REVOKED; ERR_EXPIRED when the leaf was not valid at that time;
 * ERR_STALE_CRL. A leaf revoked for compromise still counts before its invalidity date, any other
 * before its revocation. */
enum err trust_signing_key(const struct trust *t, const char *agency, const struct key_id *id,
                           uint64_t at_ms, struct ed25519_public *ret);

/* The key to encrypt to now: the current one with the latest start, else the last-resort key.
 * ERR_NEED_DOCUMENTS, ERR_EXPIRED when no key is current, ERR_REVOKED and ERR_STALE_CRL for the
 * leaf that signed the statement. ERR_VERSION for another suite than 1. */
struct trust_encryption {
    struct key_id key_id;
    uint8_t public_key[32];
    uint64_t not_after_ms;
    bool last_resort;
};
enum err trust_encryption_key(const struct trust *t, const char *agency, uint32_t suite,
                              uint64_t now_ms, struct trust_encryption *ret);

/* The key that signs the checkpoints of a broker's or agency's log. */
enum err trust_log_key(const struct trust *t, const char *name, struct ed25519_public *ret);
/* End of validity of the agency's newest leaf; 0 when not known. */
uint64_t trust_leaf_expires_ms(const struct trust *t, const char *agency);

/* Transport keys of `name` (broker: directory; agency: statement) that are good at now_ms, at most
 * `max`; gives how many. None for an agency whose leaf is revoked. An agency's keys stay good while
 * its CRL is stale: staleness refuses submissions, not connections. */
size_t trust_transport_keys(const struct trust *t, const char *name, uint64_t now_ms,
                            uint8_t (*keys)[32], size_t max);

#endif
