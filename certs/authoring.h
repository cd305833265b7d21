/* A directory as people write it: a YAML file of names, and beside it the public files that
 * agencies and brokers hand in. docs/DIRECTORY-FILE.md is printed from the same table. */
#ifndef SEALPOST_CERTS_AUTHORING_H
#define SEALPOST_CERTS_AUTHORING_H

#include "certs/why.h"
#include "common/config.h"
#include "common/env.h"
#include "common/err.h"

#include "documents.pb-c.h"

#include <stdio.h>

struct authoring;

/* Reads `path` and the files that it names (relative to it) and builds a directory of that version,
 * issued now: lists sorted, defaults filled in (all codes allowed, Europol's code book). It has
 * passed directory_check. ERR_CONFIG with file and line in `error`, or the rule that does not hold.
 */
enum err authoring_load(const char *path, const struct env *env, uint64_t version,
                        struct authoring **ret, struct config_error *error);
void authoring_free(struct authoring *a);
/* Borrowed. */
const Sp__Directory *authoring_directory(const struct authoring *a);

/* The reference of the file's keys. */
void authoring_print_help(FILE *to);

/* Says line by line what `next` changes; `old` may be NULL. Gives the number of changes. */
size_t authoring_diff(const Sp__Directory *old, const Sp__Directory *next, FILE *to);

/* What a broker hands in: public.yaml. */
struct broker_public {
    char *name;
    struct config_strings transport; /* hex */
    char *log;
    char *witness;
};
enum err broker_public_load(const char *path, struct broker_public *ret,
                            struct config_error *error);
void broker_public_free(struct broker_public *p);

#endif
