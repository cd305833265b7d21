/* UUIDs, version 7 (RFC 9562 section 5.7): 48 bits of milliseconds, then 74 random bits, so that
 * ids of one sender sort by time. */
#ifndef SEALPOST_COMMON_UUID_H
#define SEALPOST_COMMON_UUID_H

#include "common/env.h"
#include "common/err.h"
#include "common/span.h"

#include <stdbool.h>
#include <stdint.h>

struct uuid {
    uint8_t b[16];
};

#define UUID_TEXT_SIZE 37 /* NUL included */
#define UUID_MS_MAX (((uint64_t)1 << 48) - 1)

/* A fresh id of the time `ms`, at most UUID_MS_MAX. */
struct uuid uuid_v7(const struct env *env, uint64_t ms);
/* Version 7 and the variant of RFC 9562. */
bool uuid_is_v7(const struct uuid *id);
/* The milliseconds since 1970 that a version 7 id carries. */
uint64_t uuid_time_ms(const struct uuid *id);

/* Text "01939c1e-7b1f-7c3a-8d4e-0123456789ab": lower case, hyphenated; any version.
 * ERR_MALFORMED. */
enum err uuid_parse(struct span text, struct uuid *ret);
void uuid_format(const struct uuid *id, char out[UUID_TEXT_SIZE]);
/* From 16 bytes; ERR_MALFORMED for another length. */
enum err uuid_from_bytes(struct span bytes, struct uuid *ret);
/* Borrows the bytes of `id`. */
static inline struct span uuid_bytes(const struct uuid *id)
{
    return span_of(id->b, sizeof(id->b));
}

/* Byte order: for version 7 by time. */
int uuid_compare(const struct uuid *a, const struct uuid *b);
bool uuid_equal(const struct uuid *a, const struct uuid *b);
/* All bytes zero: the nil id, which stands for "none". */
bool uuid_is_nil(const struct uuid *id);

#endif
