/* Spans (borrowed bytes) and buffers (owned bytes with a maximum and a sticky error). */
#ifndef SEALPOST_COMMON_SPAN_H
#define SEALPOST_COMMON_SPAN_H

#include "common/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes that somebody else owns. `data` may be NULL only when `len` is 0. */
struct span {
    const uint8_t *data;
    size_t len;
};

static inline struct span span_of(const void *data, size_t len)
{
    return (struct span){.data = data, .len = len};
}

/* The bytes of a C string without its NUL; `text` may be NULL. */
struct span span_str(const char *text);
bool span_equal(struct span a, struct span b);
/* memcmp order, a proper prefix before the longer one. */
int span_compare(struct span a, struct span b);
bool span_starts_with(struct span s, struct span prefix);
/* Copies `s` and a NUL into `out` of `size` bytes. ERR_TOO_LARGE when it does not fit,
 * ERR_MALFORMED when `s` holds a NUL. */
enum err span_to_str(struct span s, char *out, size_t size);
/* True when `s` is well-formed UTF-8 (RFC 3629) without NUL. */
bool span_is_utf8(struct span s);

/* Owned bytes. A zeroed struct with `max` set is an empty buffer. Appending past `max` or out of
 * memory sets `err` and leaves the bytes as they were; later appends do nothing. Check once. */
struct buf {
    uint8_t *data;
    size_t len;
    size_t cap;
    size_t max; /* upper bound of len, in bytes */
    enum err err;
};

void buf_init(struct buf *b, size_t max);
/* Frees and zeroes; accepts a zeroed struct. */
void buf_fini(struct buf *b);
/* As buf_fini, but wipes the bytes first. For plaintext; keys live in common/secret.h. */
void buf_wipe(struct buf *b);
/* Forgets the bytes and the error, keeps the memory. */
void buf_reset(struct buf *b);
void buf_put(struct buf *b, struct span s);
void buf_put_u8(struct buf *b, uint8_t v);
void buf_put_u16be(struct buf *b, uint16_t v);
void buf_put_u32be(struct buf *b, uint32_t v);
void buf_put_u64be(struct buf *b, uint64_t v);
void buf_put_str(struct buf *b, const char *text);
/* Appends formatted text without the NUL. */
[[gnu::format(printf, 2, 3)]] void buf_printf(struct buf *b, const char *format, ...);
/* `len` bytes at the end to be filled by the caller; NULL after an error. */
uint8_t *buf_extend(struct buf *b, size_t len);
static inline struct span buf_span(const struct buf *b)
{
    return (struct span){.data = b->data, .len = b->len};
}
/* Appends a NUL that len does not count, so that data can be read as a C string. NULL after an
 * error. */
const char *buf_cstr(struct buf *b);

/* Bounded reading with a sticky error: after the first short read every read gives 0 or an empty
 * span; rd_end() tells. A reader borrows the span. */
struct rd {
    const uint8_t *at;
    const uint8_t *end;
    enum err err;
};

struct rd rd_of(struct span s);
uint8_t rd_u8(struct rd *r);
uint16_t rd_u16be(struct rd *r);
uint32_t rd_u32be(struct rd *r);
uint64_t rd_u64be(struct rd *r);
struct span rd_bytes(struct rd *r, size_t len);
static inline size_t rd_left(const struct rd *r)
{
    return (size_t)(r->end - r->at);
}
/* ERR_OK when everything was read and nothing was short; else ERR_MALFORMED. */
enum err rd_end(const struct rd *r);

#endif
