#include "common/span.h"

#include "common/text.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUF_CAP_MIN ((size_t)64)

struct span span_str(const char *text)
{
    return span_of(text, text == NULL ? 0 : strlen(text));
}

bool span_equal(struct span a, struct span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

int span_compare(struct span a, struct span b)
{
    size_t common = a.len < b.len ? a.len : b.len;
    int order = common == 0 ? 0 : memcmp(a.data, b.data, common);

    if (order != 0)
        return order < 0 ? -1 : 1;
    return (a.len > b.len) - (a.len < b.len);
}

bool span_starts_with(struct span s, struct span prefix)
{
    return s.len >= prefix.len && span_equal(span_of(s.data, prefix.len), prefix);
}

enum err span_to_str(struct span s, char *out, size_t size)
{
    if (s.len >= size)
        return ERR_TOO_LARGE;
    if (s.len > 0 && memchr(s.data, 0, s.len) != NULL)
        return ERR_MALFORMED;
    if (s.len > 0)
        memcpy(out, s.data, s.len);
    out[s.len] = '\0';
    return ERR_OK;
}

bool span_is_utf8(struct span s)
{
    size_t at = 0, before = 0;
    uint32_t code_point;

    for (; text_utf8_next(s, &at, &code_point); before = at) {
        /* U+FFFD that is there in good form takes three bytes. */
        if (code_point == 0 || (code_point == 0xfffd && at - before == 1))
            return false;
    }
    return true;
}

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max};
}

void buf_fini(struct buf *b)
{
    free(b->data);
    *b = (struct buf){0};
}

void buf_wipe(struct buf *b)
{
    if (b->data != NULL)
        explicit_bzero(b->data, b->cap);
    buf_fini(b);
}

void buf_reset(struct buf *b)
{
    b->len = 0;
    b->err = ERR_OK;
}

/* Room for `len` more bytes and one for the NUL of buf_cstr(). The old memory is wiped, not handed
 * to realloc, so that a grown buffer leaves no plaintext behind. */
static bool buf_reserve(struct buf *b, size_t len)
{
    size_t need, cap;
    uint8_t *data;

    if (b->err != ERR_OK)
        return false;
    if (len > b->max - b->len || b->len + len == SIZE_MAX) {
        b->err = ERR_TOO_LARGE;
        return false;
    }
    need = b->len + len + 1;
    if (need <= b->cap)
        return true;
    cap = b->cap > b->max / 2 ? b->max + 1 : 2 * b->cap;
    if (cap < need)
        cap = need;
    if (cap < BUF_CAP_MIN && b->max >= BUF_CAP_MIN)
        cap = BUF_CAP_MIN;
    data = malloc(cap);
    if (data == NULL) {
        b->err = ERR_NO_MEMORY;
        return false;
    }
    if (b->data != NULL) {
        memcpy(data, b->data, b->len);
        explicit_bzero(b->data, b->cap);
        free(b->data);
    }
    b->data = data;
    b->cap = cap;
    return true;
}

uint8_t *buf_extend(struct buf *b, size_t len)
{
    uint8_t *at;

    if (!buf_reserve(b, len))
        return NULL;
    at = b->data + b->len;
    b->len += len;
    return at;
}

void buf_put(struct buf *b, struct span s)
{
    uint8_t *at = buf_extend(b, s.len);

    if (at != NULL && s.len > 0)
        memcpy(at, s.data, s.len);
}

void buf_put_u8(struct buf *b, uint8_t v)
{
    buf_put(b, span_of(&v, 1));
}

void buf_put_u16be(struct buf *b, uint16_t v)
{
    uint8_t bytes[2] = {(uint8_t)(v >> 8), (uint8_t)v};

    buf_put(b, span_of(bytes, sizeof(bytes)));
}

void buf_put_u32be(struct buf *b, uint32_t v)
{
    uint8_t bytes[4] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};

    buf_put(b, span_of(bytes, sizeof(bytes)));
}

void buf_put_u64be(struct buf *b, uint64_t v)
{
    uint8_t bytes[8];

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(v >> (56 - 8 * i));
    buf_put(b, span_of(bytes, sizeof(bytes)));
}

void buf_put_str(struct buf *b, const char *text)
{
    buf_put(b, span_str(text));
}

void buf_printf(struct buf *b, const char *format, ...)
{
    va_list args, again;
    int len;

    va_start(args, format);
    va_copy(again, args);
    len = vsnprintf(NULL, 0, format, args);
    assert(len >= 0);
    if (buf_reserve(b, (size_t)len)) {
        len = vsnprintf((char *)b->data + b->len, (size_t)len + 1, format, again);
        assert(len >= 0);
        b->len += (size_t)len;
    }
    va_end(again);
    va_end(args);
}

const char *buf_cstr(struct buf *b)
{
    if (!buf_reserve(b, 0))
        return NULL;
    b->data[b->len] = '\0';
    return (const char *)b->data;
}

struct rd rd_of(struct span s)
{
    /* NULL + 0 is not defined in C: an empty reader gets an address. */
    static const uint8_t nothing[1];
    const uint8_t *at = s.data == NULL ? nothing : s.data;

    return (struct rd){.at = at, .end = at + s.len};
}

struct span rd_bytes(struct rd *r, size_t len)
{
    struct span s = span_of(NULL, 0);

    if (r->err != ERR_OK)
        return s;
    if (len > rd_left(r)) {
        r->err = ERR_MALFORMED;
        return s;
    }
    s = span_of(r->at, len);
    r->at += len;
    return s;
}

static uint64_t rd_be(struct rd *r, size_t len)
{
    struct span s = rd_bytes(r, len);
    uint64_t value = 0;

    for (size_t i = 0; i < s.len; i++)
        value = value << 8 | s.data[i];
    return value;
}

uint8_t rd_u8(struct rd *r)
{
    return (uint8_t)rd_be(r, 1);
}

uint16_t rd_u16be(struct rd *r)
{
    return (uint16_t)rd_be(r, 2);
}

uint32_t rd_u32be(struct rd *r)
{
    return (uint32_t)rd_be(r, 4);
}

uint64_t rd_u64be(struct rd *r)
{
    return rd_be(r, 8);
}

enum err rd_end(const struct rd *r)
{
    return r->err == ERR_OK && r->at == r->end ? ERR_OK : ERR_MALFORMED;
}
