#include "audit/jsonline.h"

#include "common/limits.h"
#include "common/text.h"

#include <assert.h>
#include <inttypes.h>

/* Integers that every reader of JSON holds exactly (RFC 8259 section 6). */
#define EXACT_MAX ((uint64_t)1 << 53)

static void begin(struct jsonline *j, char open, char close)
{
    assert(j->depth < JSONLINE_DEPTH);
    buf_put_u8(&j->b, (uint8_t)open);
    j->ends[j->depth] = close;
    j->empty[j->depth++] = true;
}

void jsonline_init(struct jsonline *j)
{
    *j = (struct jsonline){0};
    buf_init(&j->b, LIMIT_AUDIT_JSON);
    begin(j, '{', '}');
}

void jsonline_fini(struct jsonline *j)
{
    buf_fini(&j->b);
}

static void put_key(struct jsonline *j, const char *key)
{
    assert(j->depth > 0);
    if (!j->empty[j->depth - 1])
        buf_put_u8(&j->b, ',');
    j->empty[j->depth - 1] = false;
    if (key == NULL)
        return;
    text_put_json(&j->b, span_str(key));
    buf_put_u8(&j->b, ':');
}

void jsonline_object(struct jsonline *j, const char *key)
{
    put_key(j, key);
    begin(j, '{', '}');
}

void jsonline_array(struct jsonline *j, const char *key)
{
    put_key(j, key);
    begin(j, '[', ']');
}

void jsonline_close(struct jsonline *j)
{
    assert(j->depth > 0);
    buf_put_u8(&j->b, (uint8_t)j->ends[--j->depth]);
}

void jsonline_text(struct jsonline *j, const char *key, const char *value)
{
    put_key(j, key);
    text_put_json(&j->b, span_str(value));
}

void jsonline_hex(struct jsonline *j, const char *key, struct span value)
{
    put_key(j, key);
    buf_put_u8(&j->b, '"');
    text_put_hex(&j->b, value);
    buf_put_u8(&j->b, '"');
}

void jsonline_u64(struct jsonline *j, const char *key, uint64_t value)
{
    put_key(j, key);
    buf_printf(&j->b, value <= EXACT_MAX ? "%" PRIu64 : "\"%" PRIu64 "\"", value);
}

void jsonline_bool(struct jsonline *j, const char *key, bool value)
{
    put_key(j, key);
    buf_put_str(&j->b, value ? "true" : "false");
}

void jsonline_time(struct jsonline *j, const char *key, uint64_t ms)
{
    char text[TEXT_TIME_SIZE];

    if (ms == 0) {
        put_key(j, key);
        buf_put_str(&j->b, "null");
        return;
    }
    text_time(ms, text);
    jsonline_text(j, key, text);
}

enum err jsonline_print(struct jsonline *j, FILE *to)
{
    enum err e;

    while (j->depth > 0)
        jsonline_close(j);
    buf_put_u8(&j->b, '\n');
    e = j->b.err;
    if (e == ERR_OK && (fwrite(j->b.data, 1, j->b.len, to) != j->b.len || fflush(to) != 0))
        e = ERR_IO;
    buf_reset(&j->b);
    begin(j, '{', '}');
    return e;
}
