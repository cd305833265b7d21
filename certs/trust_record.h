/* What is known of one agency: immutable, shared between snapshots by reference counts. */
#ifndef SEALPOST_CERTS_TRUST_RECORD_H
#define SEALPOST_CERTS_TRUST_RECORD_H

#include "certs/documents.h"
#include "certs/why.h"
#include "certs/x509.h"
#include "common/limits.h"

#include "documents.pb-c.h"

#include <stdatomic.h>

/* One verified leaf and the statement that it signed. */
struct held {
    atomic_uint refs;
    struct x509_leaf leaf;
    struct digest leaf_sha256; /* of its DER */
    struct document statement;
    struct buf documents; /* AgencyDocuments as received */
};

/* One verified revocation list. */
struct held_crl {
    atomic_uint refs;
    struct buf der;
    struct x509_crl list;
    uint64_t good_until_ms; /* nextUpdate, or earlier by the directory's bound */
};

struct record {
    atomic_uint refs;
    struct held *newest;
    struct held *earlier[LIMIT_EARLIER_LEAVES]; /* latest end first */
    size_t n_earlier;
    struct held_crl *crl; /* NULL: none was ever given */
    struct buf documents; /* AgencyDocuments: newest leaf and statement, newest list */
};

/* Verifies encoded AgencyDocuments under the directory entry `agency`; `crl_max_ms` is the
 * directory's. Both results are new references; `crl` is NULL when there is none. */
enum err record_judge(const Sp__AgencyEntry *agency, uint64_t crl_max_ms,
                      const Sp__AgencyDocuments *documents, struct span encoded, uint64_t now_ms,
                      struct held **held, struct held_crl **crl, struct why *why);

/* `old` (may be NULL) and beside it what was judged; `*changed` false: `*ret` is not written. */
enum err record_merge(const struct record *old, struct held *held, struct held_crl *crl,
                      bool *changed, struct record **ret);

struct record *record_ref(struct record *r);
void record_free(struct record *r);
void held_free(struct held *h);
void held_crl_free(struct held_crl *c);

/* May the leaf be relied on for something of that time? ERR_EXPIRED, ERR_REVOKED, ERR_STALE_CRL. */
enum err record_leaf_good(const struct record *r, const struct held *h, uint64_t at_ms);
/* Does the newest list name the leaf at all, whatever its dates? */
bool record_leaf_listed(const struct record *r, const struct held *h);

#endif
