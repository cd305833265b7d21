/* What the files of drafting share; nobody else includes it. */
#ifndef SEALPOST_AGENT_DRAFTING_INTERNAL_H
#define SEALPOST_AGENT_DRAFTING_INTERNAL_H

#include "agent/drafting.h"
#include "proto/part.h"

#define SUBJECT_ROOM (LIMIT_SUBJECT + 1)

/* One attachment, or the body at place 0. */
struct drafting_part {
    struct envelope_part sealed;
    uint64_t size; /* of the plaintext so far */
    struct sha256 hash;
    struct digest sha256;
    struct part_sealer *sealer;
    struct part_writer *writer; /* NULL: its bytes lie in `bytes` */
    struct buf bytes;
    Sp__InlinePart wire;
};

struct drafting {
    struct drafting_options options;
    const Sp__SendRequest *request;
    uint64_t expires_in_ms;
    struct agent_draft draft;

    const char *to[LIMIT_RECIPIENTS];
    const char *handling[LIMIT_HANDLING];
    char subject[SUBJECT_ROOM];
    uint8_t reply_to[16];

    Sp__Content content;
    Sp__Attachment attachments[LIMIT_PARTS];
    Sp__Attachment *attachment_list[LIMIT_PARTS];

    struct secret *file_key;
    size_t room; /* ciphertext that may still travel beside the envelope */
    struct drafting_part parts[LIMIT_PARTS];
    struct envelope_part sealed[LIMIT_PARTS];
    const Sp__InlinePart *inline_parts[LIMIT_PARTS];
    size_t at; /* attachment that is streaming, from 1; 0: none was begun */
    struct buf sealed_key;
    struct buf summary;
};

/* Says why and gives `e`. */
enum err drafting_wrong(char why[CONTENT_RULE], enum err e, const char *text);
struct content_about drafting_about(const struct drafting *d);
/* drafting_check.c: everything that can be said of the request before its attachments come; fills
 * draft and content. */
enum err drafting_check(struct drafting *d, char why[CONTENT_RULE]);

#endif
