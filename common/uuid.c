#include "common/uuid.h"

#include "common/text.h"

#include <assert.h>
#include <string.h>

/* Where the hyphens stand in the text. */
static bool is_hyphen_at(size_t i)
{
    return i == 8 || i == 13 || i == 18 || i == 23;
}

struct uuid uuid_v7(const struct env *env, uint64_t ms)
{
    struct uuid id;

    assert(ms <= UUID_MS_MAX);
    env_random(env, id.b, sizeof(id.b));
    for (size_t i = 0; i < 6; i++)
        id.b[i] = (uint8_t)(ms >> (40 - 8 * i));
    id.b[6] = (uint8_t)(0x70 | (id.b[6] & 0x0f));
    id.b[8] = (uint8_t)(0x80 | (id.b[8] & 0x3f));
    return id;
}

bool uuid_is_v7(const struct uuid *id)
{
    return (id->b[6] & 0xf0) == 0x70 && (id->b[8] & 0xc0) == 0x80;
}

uint64_t uuid_time_ms(const struct uuid *id)
{
    uint64_t ms = 0;

    for (size_t i = 0; i < 6; i++)
        ms = ms << 8 | id->b[i];
    return ms;
}

enum err uuid_parse(struct span text, struct uuid *ret)
{
    uint8_t digits[32];
    struct uuid id;
    size_t n = 0;
    enum err e;

    if (text.len != UUID_TEXT_SIZE - 1)
        return ERR_MALFORMED;
    for (size_t i = 0; i < text.len; i++) {
        if (is_hyphen_at(i) != (text.data[i] == '-'))
            return ERR_MALFORMED;
        if (!is_hyphen_at(i))
            digits[n++] = text.data[i];
    }
    e = text_hex_decode(span_of(digits, sizeof(digits)), sizeof(id.b), id.b);
    if (e == ERR_OK)
        *ret = id;
    return e;
}

void uuid_format(const struct uuid *id, char out[UUID_TEXT_SIZE])
{
    char digits[33];
    size_t n = 0;

    text_hex(uuid_bytes(id), digits);
    for (size_t i = 0; i < UUID_TEXT_SIZE - 1; i++)
        out[i] = is_hyphen_at(i) ? '-' : digits[n++];
    out[UUID_TEXT_SIZE - 1] = '\0';
}

enum err uuid_from_bytes(struct span bytes, struct uuid *ret)
{
    if (bytes.len != sizeof(ret->b))
        return ERR_MALFORMED;
    memcpy(ret->b, bytes.data, sizeof(ret->b));
    return ERR_OK;
}

int uuid_compare(const struct uuid *a, const struct uuid *b)
{
    return span_compare(uuid_bytes(a), uuid_bytes(b));
}

bool uuid_equal(const struct uuid *a, const struct uuid *b)
{
    return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

bool uuid_is_nil(const struct uuid *id)
{
    static const struct uuid nil;

    return uuid_equal(id, &nil);
}
