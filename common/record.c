#include "common/record.h"

#include <string.h>

void record_put_text(struct buf *out, const char *text)
{
    size_t len = strlen(text);

    if (len > UINT8_MAX) {
        if (out->err == ERR_OK)
            out->err = ERR_TOO_LARGE;
        return;
    }
    buf_put_u8(out, (uint8_t)len);
    buf_put(out, span_of(text, len));
}

void record_get_text(struct rd *r, char *out, size_t size)
{
    struct span s = rd_bytes(r, rd_u8(r));

    record_check(r, span_to_str(s, out, size) == ERR_OK);
}

void record_get_bytes(struct rd *r, void *out, size_t len)
{
    struct span s = rd_bytes(r, len);

    if (s.len == len && len > 0)
        memcpy(out, s.data, len);
}

void record_get_version(struct rd *r, uint8_t version)
{
    record_check(r, rd_u8(r) == version);
}

void record_check(struct rd *r, bool ok)
{
    if (!ok && r->err == ERR_OK)
        r->err = ERR_MALFORMED;
}

enum err record_end(const struct rd *r)
{
    return rd_end(r) == ERR_OK ? ERR_OK : ERR_CORRUPT;
}

bool record_key_after(uint8_t *key, size_t len)
{
    while (len-- > 0) {
        if (++key[len] != 0)
            return true;
    }
    return false;
}
