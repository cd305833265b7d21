#include "audit/tlog_proof.h"

#include "common/text.h"

#include <inttypes.h>
#include <string.h>

#define HEADER "c2sp.org/tlog-proof@v1"
#define EXTRA "extra "
#define INDEX "index "

bool tlog_proof_is(struct span bytes)
{
    return span_starts_with(bytes, span_str(HEADER "\n"));
}

/* Takes one line off the front; an empty one is a line too. */
static enum err take(struct span *rest, struct span *line)
{
    const uint8_t *end = rest->len > 0 ? memchr(rest->data, '\n', rest->len) : NULL;

    if (end == NULL)
        return ERR_MALFORMED;
    *line = span_of(rest->data, (size_t)(end - rest->data));
    *rest = span_of(end + 1, rest->len - line->len - 1);
    return ERR_OK;
}

static struct span after(struct span line, const char *prefix)
{
    size_t len = strlen(prefix);

    return span_of(line.data + len, line.len - len);
}

static enum err parse_extra(struct span *rest, struct span *line, struct buf *extra,
                            struct tlog_proof *p)
{
    size_t start = extra->len;
    enum err e;

    if (!span_starts_with(*line, span_str(EXTRA)))
        return ERR_OK;
    e = text_base64_decode(after(*line, EXTRA), extra);
    if (e != ERR_OK)
        return e;
    p->has_extra = true;
    p->extra = span_of(extra->data + start, extra->len - start);
    return take(rest, line);
}

static enum err parse_path(struct span *rest, struct tlog_proof *p)
{
    struct span line;

    for (;;) {
        enum err e = take(rest, &line);

        if (e != ERR_OK)
            return e;
        if (line.len == 0)
            return ERR_OK;
        if (p->n == LIMIT_PROOF_PATH)
            return ERR_MALFORMED;
        e = text_base64_decode_exact(line, sizeof(p->path[0].b), p->path[p->n].b);
        if (e != ERR_OK)
            return e;
        p->n++;
    }
}

enum err tlog_proof_parse(struct span text, struct buf *extra, struct tlog_proof *ret)
{
    struct tlog_proof p = {0};
    struct span rest = text, line = {0}, body;
    enum err e;

    if (text.len > LIMIT_TLOG_PROOF)
        return ERR_TOO_LARGE;
    e = take(&rest, &line);
    if (e != ERR_OK)
        return e;
    if (!span_equal(line, span_str(HEADER)))
        return ERR_MALFORMED;
    e = take(&rest, &line);
    if (e == ERR_OK)
        e = parse_extra(&rest, &line, extra, &p);
    if (e != ERR_OK)
        return e;
    if (!span_starts_with(line, span_str(INDEX)))
        return ERR_MALFORMED;
    e = text_u64_parse(after(line, INDEX), 0, MERKLE_SIZE_MAX - 1, &p.index);
    if (e != ERR_OK)
        return ERR_MALFORMED;
    e = parse_path(&rest, &p);
    if (e == ERR_OK)
        e = note_text(rest, &body);
    if (e != ERR_OK)
        return e;
    p.checkpoint = rest;
    *ret = p;
    return ERR_OK;
}

void tlog_proof_format(const struct tlog_proof *p, struct buf *out)
{
    buf_put_str(out, HEADER "\n");
    if (p->has_extra) {
        buf_put_str(out, EXTRA);
        text_put_base64(out, p->extra);
        buf_put_u8(out, '\n');
    }
    buf_printf(out, INDEX "%" PRIu64 "\n", p->index);
    for (size_t i = 0; i < p->n; i++) {
        text_put_base64(out, digest_span(&p->path[i]));
        buf_put_u8(out, '\n');
    }
    buf_put_u8(out, '\n');
    buf_put(out, p->checkpoint);
}

enum err tlog_proof_verify(const struct tlog_proof *p, const struct digest *leaf_hash,
                           const struct note_key *key, struct checkpoint *ret)
{
    struct checkpoint c;
    enum err e;

    if (key != NULL)
        e = checkpoint_verify(p->checkpoint, key, &c);
    else
        e = checkpoint_parse(p->checkpoint, &c);
    if (e != ERR_OK)
        return e;
    e = merkle_verify_inclusion(leaf_hash, p->index, c.size, p->path, p->n, &c.root);
    if (e != ERR_OK)
        return e;
    *ret = c;
    return ERR_OK;
}
