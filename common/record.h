/* What all stored records share: a version byte first, texts with a length byte, fixed-size byte
 * strings, and ERR_CORRUPT for anything else. On top of the cursors of common/span.h. */
#ifndef SEALPOST_COMMON_RECORD_H
#define SEALPOST_COMMON_RECORD_H

#include "common/err.h"
#include "common/span.h"

/* u8 length and the bytes; a text over 255 bytes sets out->err to ERR_TOO_LARGE. */
void record_put_text(struct buf *out, const char *text);
/* Into `out` of `size` bytes, NUL included; one that does not fit or holds a NUL sets r->err. */
void record_get_text(struct rd *r, char *out, size_t size);
/* Exactly `len` bytes. */
void record_get_bytes(struct rd *r, void *out, size_t len);
/* Reads the version byte; another one than `version` sets r->err. */
void record_get_version(struct rd *r, uint8_t version);
/* Sets r->err when `ok` is false: a value that no writer makes. */
void record_check(struct rd *r, bool ok);
/* ERR_OK when everything was read and held, else ERR_CORRUPT. */
enum err record_end(const struct rd *r);

/* The key behind `key` (`len` bytes) in byte order, in place; false when there is none. */
bool record_key_after(uint8_t *key, size_t len);

#endif
