/* What stands inside a message (content.proto): the rules that hold for it, the same for a draft
 * and for what was received, and how it is shown. Plaintext: whoever makes a copy wipes it. */
#ifndef SEALPOST_AGENT_CONTENT_H
#define SEALPOST_AGENT_CONTENT_H

#include "certs/trust.h"
#include "common/err.h"
#include "common/limits.h"
#include "common/span.h"
#include "common/uuid.h"
#include "proto/envelope.h"

#include "content.pb-c.h"
#include "local.pb-c.h"

#include <stdbool.h>

#define CONTENT_RULE 256 /* text that names the rule, NUL included */

/* What the envelope says, as far as the content must agree with it. Borrowed. */
struct content_about {
    struct uuid id;
    bool received;
    const char *from;
    const char *const *to;
    size_t n_to;
    const char *const *handling;
    size_t n_handling;
    Sp__Level level;
    Sp__Urgency urgency;
    uint64_t created_ms;
    uint64_t expires_ms;
};

/* Fills `ret` from an envelope; `to` has LIMIT_RECIPIENTS places. Borrows from `e`. */
void content_about_envelope(const struct envelope *e, bool received, const char **to,
                            struct content_about *ret);

/* Every rule of a content: kind, lengths, what codes and urgency demand, evaluation, completeness
 * (of answers and only of them), entities. `rule` says in words which one does not hold.
 * ERR_MALFORMED, ERR_TOO_LARGE, ERR_CODE_TEXT_MISSING. */
enum err content_check(const Sp__Content *c, const struct content_about *about,
                       const struct trust *trust, char rule[CONTENT_RULE]);
/* Its attachments are the envelope's parts behind the body: as many, each of the length that its
 * ciphertext has. ERR_MALFORMED. */
enum err content_check_parts(const Sp__Content *c, const struct envelope *e,
                             char rule[CONTENT_RULE]);
/* A name that a file may have, and a media type; both also for drafts. */
bool content_is_file_name(const char *name);
bool content_is_media_type(const char *text);

/* A message as officers' programs see it. Everything in it is borrowed from what it was made of. */
struct content_view {
    Sp__Message message;
    char id[UUID_TEXT_SIZE];
    char reply_to[UUID_TEXT_SIZE];
    char *to[LIMIT_RECIPIENTS];
    char *handling[LIMIT_HANDLING];
    Sp__MessageAttachment attachments[LIMIT_PARTS];
    Sp__MessageAttachment *attachment_list[LIMIT_PARTS];
};
/* `full`: with text and entities. States and times of its own box are not filled in. */
void content_view(const Sp__Content *c, const struct content_about *about, bool full,
                  struct content_view *ret);

#endif
