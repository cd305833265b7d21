/* The signed documents of identity: rules of their content, signatures and thresholds.
 *
 * A `struct document` comes out of document_read alone: the envelope (DSSE) and the payload decode
 * strictly and every rule that needs nothing but the payload holds: names well-formed, lists sorted
 * and distinct, versions from 1, references inside the document resolved, thresholds possible.
 * Who signed it is asked separately. Sources: TUF specification 1.0.33 (4.3, 5.3), DSSE v1. */
#ifndef SEALPOST_CERTS_DOCUMENTS_H
#define SEALPOST_CERTS_DOCUMENTS_H

#include "certs/why.h"
#include "common/crypto.h"
#include "common/err.h"
#include "common/span.h"
#include "proto/dsse.h"
#include "proto/pb.h"

#include "documents.pb-c.h"

enum document_kind {
    DOCUMENT_ROOT,
    DOCUMENT_DIRECTORY,
    DOCUMENT_TIMESTAMP,
    DOCUMENT_STATEMENT,
};

struct document {
    enum document_kind kind;
    struct buf bytes;     /* as received */
    struct digest sha256; /* of the bytes */
    struct dsse *dsse;
    struct pb *pb;
};

/* Copies what it keeps. Errors: too-large, malformed, unknown-field, non-canonical, version,
 * wrong-usage (a document of another kind), unknown-agency (a reference that leads nowhere). */
enum err document_read(enum document_kind kind, struct span bytes, struct document *ret,
                       struct why *why);
void document_fini(struct document *d);

static inline const Sp__Root *document_root(const struct document *d)
{
    return (const Sp__Root *)pb_view(d->pb);
}
static inline const Sp__Directory *document_directory(const struct document *d)
{
    return (const Sp__Directory *)pb_view(d->pb);
}
static inline const Sp__Timestamp *document_timestamp(const struct document *d)
{
    return (const Sp__Timestamp *)pb_view(d->pb);
}
static inline const Sp__Statement *document_statement(const struct document *d)
{
    return (const Sp__Statement *)pb_view(d->pb);
}

/* The rules of a payload alone, for whoever builds one. */
enum err root_check(const Sp__Root *r, struct why *why);
enum err directory_check(const Sp__Directory *d, struct why *why);
enum err timestamp_check(const Sp__Timestamp *t, struct why *why);
enum err statement_check(const Sp__Statement *s, struct why *why);

/* How many distinct keys of a role have signed it, and how many must. ERR_BAD_SIGNATURE when one
 * that claims to be the role's does not verify. */
struct document_signatures {
    size_t count;
    size_t threshold;
};
enum err document_count(const struct document *d, const Sp__Root *root, const Sp__Role *role,
                        struct document_signatures *ret, struct why *why);
/* ERR_OK when the threshold is met, else ERR_BAD_SIGNATURE. */
enum err document_signed(const struct document *d, const Sp__Root *root, const Sp__Role *role,
                         struct why *why);
/* The successor rule: version + 1, same federation, signed by both thresholds. */
enum err root_succeeds(const struct document *from, const struct document *to, struct why *why);
/* A root that stands alone: signed by its own threshold. */
enum err root_self_signed(const struct document *root, struct why *why);

/* Encodes a payload that passed its check into an unsigned Document. */
enum err document_build(enum document_kind kind, const void *payload, struct buf *out,
                        struct why *why);
/* The same, signed by `key` (Ed25519 seed). */
enum err document_build_signed(enum document_kind kind, const void *payload,
                               const struct secret *key, struct buf *out, struct why *why);

/* A lower-case DNS name of at least two labels, as trust domains and federations have. */
bool name_is_domain(const char *text);
/* A handling code: [A-Z][A-Z0-9-]{0,14}. */
bool name_is_code(const char *text);
/* A group: [a-z0-9][a-z0-9-]{0,62}. */
bool name_is_group(const char *text);

#endif
