/* A draft from the command line: options, texts, entities and attachments as a SendRequest. */
#ifndef SEALPOST_AGENT_CLI_DRAFT_H
#define SEALPOST_AGENT_CLI_DRAFT_H

#include "common/cli.h"
#include "common/limits.h"
#include "common/span.h"
#include "proto/pb.h"

#include "local.pb-c.h"

struct draft_file {
    int fd;
    const char *name; /* without the path */
    uint64_t size;    /* 0 when not known */
};

struct draft {
    Sp__SendRequest send; /* points into the rest */
    struct buf text;
    struct draft_file files[LIMIT_PARTS];
    size_t n_files;
    Sp__DraftAttachment attachments[LIMIT_PARTS];
    Sp__DraftAttachment *attachment_list[LIMIT_PARTS];
    struct pb *entities[LIMIT_ENTITIES];
    size_t n_entities;
    Sp__Entity *entity_list[LIMIT_ENTITIES];
    char *to[LIMIT_RECIPIENTS];
    char *handling[LIMIT_HANDLING];
};

/* Reads the options of send and reply; opens the attachments. 0, or the exit code after the reason
 * was printed. draft_fini in either case. */
int draft_read(const struct cli *args, const char *reply_to, struct draft *ret);
void draft_fini(struct draft *d);

#endif
