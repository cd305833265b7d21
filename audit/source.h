/* A log to be audited: the SOURCE of the command line. Read only; nothing in it is changed or
 * waited for. What is read belongs to one moment, that of the opening. */
#ifndef SEALPOST_AUDIT_SOURCE_H
#define SEALPOST_AUDIT_SOURCE_H

#include "audit/read.h"
#include "common/merkle.h"
#include "common/store.h"

#include <stddef.h>

struct source;

/* Opens a daemon's data directory: `place` itself, or `store` in it, or `data/store` in it,
 * whichever holds the store. A live one of another uid is read through a consistent copy. `why` (of
 * `why_size` bytes) gets a line for the person. ERR_NOT_FOUND when nothing is there or it is no
 * data directory; ERR_CORRUPT when it holds no log that can be read; the errors of store_open. */
enum err source_open(const char *place, struct source **ret, char *why, size_t why_size);
void source_free(struct source *s);

const char *source_place(const struct source *s);  /* as given */
const char *source_origin(const struct source *s); /* FEDERATION/NAME */
const char *source_name(const struct source *s);   /* NAME: the broker or agency whose log it is */
struct audit_head source_head(const struct source *s);
/* For audit/read.h and cursors. */
struct store_txn *source_txn(const struct source *s);

/* As merkle_get; `ctx` is a struct source. */
enum err source_get(void *ctx, unsigned level, uint64_t index, struct digest *ret);

/* Is `leaf_hash` leaf `index` of the tree that checkpoint `c` states? Hashes alone; the signature
 * is the caller's business. ERR_BAD_PROOF. */
enum err source_check_leaf(struct source *s, const struct digest *leaf_hash, uint64_t index,
                           uint64_t size, const struct digest *root);

#endif
