/* save: attachments in plaintext, piece by piece. The last piece of a part is marked only when the
 * whole part is authentic, so that the program gives the file its name only then. */
#include "agent/local_internal.h"

#include "agent/opening.h"
#include "proto/part.h"

#include <string.h>

struct saving {
    struct visitor *visitor;
    const struct letter *letter;
    struct sha256 hash;
    uint64_t size;
};

static void send_data(struct visitor *v, struct span bytes, bool last)
{
    Sp__Response response = SP__RESPONSE__INIT;
    Sp__DataChunk data = SP__DATA_CHUNK__INIT;

    data.data = pb_bytes(bytes);
    data.last = last;
    response.data = &data;
    visitor_respond(v, &response, true);
}

static enum err plain(void *ctx, struct span bytes)
{
    struct saving *s = ctx;

    sha256_update(&s->hash, bytes);
    s->size += bytes.len;
    send_data(s->visitor, bytes, false);
    return s->visitor->gone ? ERR_UNAVAILABLE : ERR_OK;
}

static enum err cipher(void *ctx, struct span bytes)
{
    return part_opener_put(ctx, bytes);
}

static void announce(struct visitor *v, uint32_t part, const char *name, uint64_t size)
{
    Sp__Response response = SP__RESPONSE__INIT;
    Sp__SavedPart saved = SP__SAVED_PART__INIT;

    saved.part = part;
    saved.name = pb_string(name);
    saved.size = size;
    response.part = &saved;
    visitor_respond(v, &response, true);
}

static enum err save_attachment(struct saving *s, uint32_t part, const Sp__Attachment *a)
{
    const struct letter *l = s->letter;
    struct part_opener *opener = NULL;
    struct digest sha256;
    enum err e;

    announce(s->visitor, part, a->name, a->size);
    sha256_init(&s->hash);
    s->size = 0;
    e = part_opener_new(l->file_key, plain, s, &opener);
    if (e == ERR_OK)
        e = opening_read_part(s->visitor->options->parts, l->envelope, l->wire, part, cipher,
                              opener);
    if (e == ERR_OK)
        e = part_opener_end(opener);
    part_opener_free(opener);
    sha256 = sha256_final(&s->hash);
    if (e == ERR_OK &&
        (s->size != a->size || !span_equal(digest_span(&sha256), pb_span(a->sha256))))
        e = ERR_BAD_DIGEST;
    if (e == ERR_OK)
        send_data(s->visitor, span_of(NULL, 0), true);
    return e;
}

/* Part 0 as a file is its text. */
static enum err save_text(struct saving *s, const Sp__Content *c)
{
    struct span text = span_str(c->text);

    announce(s->visitor, 0, "message.txt", text.len);
    while (text.len > 0 && !s->visitor->gone) {
        size_t n = text.len < LIMIT_CHUNK ? text.len : LIMIT_CHUNK;

        send_data(s->visitor, span_of(text.data, n), false);
        text = span_of(text.data + n, text.len - n);
    }
    send_data(s->visitor, span_of(NULL, 0), true);
    return ERR_OK;
}

static enum err save(struct saving *s, const Sp__SaveRequest *q, const Sp__Content *c,
                     size_t *saved)
{
    enum err e = ERR_OK;

    if (q->one_part && q->part == 0) {
        *saved = 1;
        return save_text(s, c);
    }
    for (size_t i = 0; e == ERR_OK && !s->visitor->gone && i < c->n_attachments; i++) {
        if (q->one_part && q->part != i + 1)
            continue;
        e = save_attachment(s, (uint32_t)i + 1, c->attachments[i]);
        *saved += e == ERR_OK;
    }
    return e;
}

static void finish(struct visitor *v, size_t saved)
{
    Sp__Response response = SP__RESPONSE__INIT;
    Sp__Progress progress = SP__PROGRESS__INIT;

    progress.stage = pb_string("saved");
    progress.done = saved;
    progress.total = saved;
    response.progress = &progress;
    visitor_respond(v, &response, false);
}

void local_save(struct visitor *v, const Sp__SaveRequest *q)
{
    struct pb *content = NULL;
    struct letter l = {0};
    struct saving s = {.visitor = v, .letter = &l};
    size_t saved = 0;
    enum err e;

    if (!letter_open(v, q->id, &l))
        return;
    e = opening_content(v->options->parts, l.envelope, l.wire, l.file_key, &content);
    if (e == ERR_OK && q->one_part &&
        q->part > ((const Sp__Content *)pb_view(content))->n_attachments) {
        visitor_error(v, ERR_NOT_FOUND, "the message has no such part");
    } else if (e != ERR_OK) {
        row_damaged(&l.mail, l.number, e);
        visitor_error(v, e, NULL);
    } else if (letter_opened(v, &l)) {
        e = save(&s, q, pb_view(content), &saved);
        if (e == ERR_OK) {
            finish(v, saved);
        } else if (!v->gone) {
            row_damaged(&l.mail, l.number, e);
            visitor_error(v, e == ERR_BAD_DIGEST ? ERR_CORRUPT : e,
                          "a part does not open; nothing of it may be used");
        }
    }
    pb_free(content);
    letter_close(&l);
}
