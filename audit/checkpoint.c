#include "audit/checkpoint.h"

#include "common/limits.h"
#include "common/merkle.h"
#include "common/text.h"

#include <inttypes.h>
#include <string.h>

/* Takes one non-empty line off the front. */
static enum err take(struct span *rest, struct span *line)
{
    const uint8_t *end = rest->len > 0 ? memchr(rest->data, '\n', rest->len) : NULL;

    if (end == NULL || end == rest->data)
        return ERR_MALFORMED;
    *line = span_of(rest->data, (size_t)(end - rest->data));
    *rest = span_of(end + 1, rest->len - line->len - 1);
    return ERR_OK;
}

/* Extension lines: non-empty, with their newlines. */
static enum err check_extensions(struct span rest)
{
    struct span line;

    while (rest.len > 0) {
        enum err e = take(&rest, &line);

        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

static bool has_blank_line(struct span s)
{
    return s.len >= 2 && memmem(s.data, s.len, "\n\n", 2) != NULL;
}

static bool has_control(struct span s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] < 0x20)
            return true;
    }
    return false;
}

enum err checkpoint_parse(struct span text, struct checkpoint *ret)
{
    struct checkpoint c = {0};
    struct span rest = text, line;
    enum err e;

    if (text.len > LIMIT_CHECKPOINT)
        return ERR_TOO_LARGE;
    if (has_blank_line(text)) {
        e = note_text(text, &rest);
        if (e != ERR_OK)
            return e;
    }
    if (!span_is_utf8(rest))
        return ERR_MALFORMED;
    e = take(&rest, &line);
    if (e != ERR_OK)
        return e;
    if (span_to_str(line, c.origin, sizeof(c.origin)) != ERR_OK || has_control(line))
        return ERR_MALFORMED;
    e = take(&rest, &line);
    if (e == ERR_OK)
        e = text_u64_parse(line, 0, MERKLE_SIZE_MAX, &c.size);
    if (e == ERR_OK)
        e = take(&rest, &line);
    if (e == ERR_OK)
        e = text_base64_decode_exact(line, sizeof(c.root.b), c.root.b);
    if (e == ERR_OK)
        e = check_extensions(rest);
    if (e != ERR_OK)
        return ERR_MALFORMED;
    c.extensions = rest;
    *ret = c;
    return ERR_OK;
}

void checkpoint_format(const char *origin, uint64_t size, const struct digest *root,
                       struct buf *out)
{
    buf_printf(out, "%s\n%" PRIu64 "\n", origin, size);
    text_put_base64(out, digest_span(root));
    buf_put_u8(out, '\n');
}

enum err checkpoint_verify(struct span note, const struct note_key *key, struct checkpoint *ret)
{
    struct checkpoint c;
    struct span text;
    enum err e;

    if (note.len > LIMIT_CHECKPOINT)
        return ERR_TOO_LARGE;
    e = note_verify(note, key, &text);
    if (e != ERR_OK)
        return e;
    e = checkpoint_parse(text, &c);
    if (e != ERR_OK)
        return e;
    if (strcmp(c.origin, key->name) != 0)
        return ERR_BAD_SIGNATURE;
    *ret = c;
    return ERR_OK;
}
