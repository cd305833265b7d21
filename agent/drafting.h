/* From an officer's request to a draft that the core can seal: what is asked is checked, the
 * attachments are encrypted as they stream in, and the body behind them. Belongs to the thread of
 * one connection. Memory is bounded whatever the attachments' size: what does not fit beside the
 * envelope (LIMIT_INLINE_PARTS) goes to part files. */
#ifndef SEALPOST_AGENT_DRAFTING_H
#define SEALPOST_AGENT_DRAFTING_H

#include "agent/content.h"
#include "agent/core.h"
#include "agent/vault.h"
#include "common/partfile.h"

#include "local.pb-c.h"

/* What a reply takes over from the message that it answers. */
struct drafting_original {
    struct uuid id;
    const char *const *to; /* whom the answer goes to when the draft names nobody */
    size_t n_to;
    const char *case_name;
    const char *subject;
};

struct drafting_options {
    const struct env *env;
    const struct vault *vault;
    struct part_dir *parts;
    const struct trust *trust;
    const char *agency;
    const char *officer; /* id */
    const char *officer_name;
    const struct drafting_original *original; /* NULL: no reply */
};

struct drafting;
/* Checks the request; what is wrong is in `why`. Defaults: H0, BPL, normal, 14 days; an answer is
 * full; a reply goes to the original's sender with its case and "Re: " its subject. Groups
 * ("@NAME") stand for their members. `options` and `request` are borrowed until drafting_free.
 * Errors: malformed, too-large, unknown-agency, code-text-missing, expired (a span of more than 14
 * days), disk-full (for the announced sizes), and local ones. */
enum err drafting_new(const struct drafting_options *options, const Sp__SendRequest *request,
                      struct drafting **ret, char why[CONTENT_RULE]);
/* Accepts NULL. */
void drafting_free(struct drafting *d);
/* Removes the part files of a draft that did not become mail: nobody else can have made the same
 * ciphertexts. */
void drafting_drop_files(struct drafting *d);

/* True while attachment bytes are missing. */
bool drafting_wants_data(const struct drafting *d);
/* The next bytes, attachment by attachment; `last` closes one. */
enum err drafting_put(struct drafting *d, struct span data, bool last, char why[CONTENT_RULE]);

/* When no data is wanted: the draft, borrowed until drafting_free. Its token is not set. */
enum err drafting_finish(struct drafting *d, const struct agent_draft **ret,
                         char why[CONTENT_RULE]);

#endif
