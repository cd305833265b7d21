/* The federation root that anchors every key: --root FILE, or SEALPOST_ROOT. Log keys come from the
 * federation folder in which the root lies: its directory, and the agencies' statements. */
#ifndef SEALPOST_AUDIT_ANCHOR_H
#define SEALPOST_AUDIT_ANCHOR_H

#include "audit/checkpoint.h"
#include "audit/evidence.h"

struct anchor;

/* `root` NULL: SEALPOST_ROOT; without that nothing is anchored, which is no error. `why` (of
 * `why_size` bytes) gets a line for the person. */
enum err anchor_open(const char *root, struct anchor **ret, char *why, size_t why_size);
void anchor_free(struct anchor *a);
bool anchor_is_set(const struct anchor *a);
/* The key of the log with this origin, borrowed name included. ERR_NOT_FOUND when nothing is
 * anchored; ERR_UNKNOWN_AGENCY for another federation or a name that its directory does not list;
 * ERR_NEED_DOCUMENTS for an agency whose statement is missing. */
enum err anchor_log_key(const struct anchor *a, const char *origin, struct note_key *ret);

/* Keys for a bundle, from its own documents judged at the time that it speaks of, under the
 * anchored root, else under the root in the bundle itself. */
struct anchor_bundle;
enum err anchor_bundle_new(const struct anchor *a, const struct evidence *ev,
                           struct anchor_bundle **ret, char *why, size_t why_size);
void anchor_bundle_free(struct anchor_bundle *b);
struct evidence_keys anchor_bundle_keys(struct anchor_bundle *b);

#endif
