#include "agent/drafting_internal.h"
#include "agent/opening.h"
#include "common/limits.h"
#include "proto/pb.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum err drafting_wrong(char why[CONTENT_RULE], enum err e, const char *text)
{
    snprintf(why, CONTENT_RULE, "%s", text);
    return e;
}

struct content_about drafting_about(const struct drafting *d)
{
    return (struct content_about){.id = d->draft.id,
                                  .from = d->options.agency,
                                  .to = d->draft.to,
                                  .n_to = d->draft.n_to,
                                  .handling = d->draft.handling,
                                  .n_handling = d->draft.n_handling,
                                  .level = d->draft.level,
                                  .urgency = d->draft.urgency,
                                  .created_ms = uuid_time_ms(&d->draft.id),
                                  .expires_ms = d->draft.expires_ms};
}

enum err drafting_new(const struct drafting_options *options, const Sp__SendRequest *request,
                      struct drafting **ret, char why[CONTENT_RULE])
{
    struct drafting *d = calloc(1, sizeof *d);
    enum err e;

    if (d == NULL)
        return ERR_NO_MEMORY;
    d->options = *options;
    d->request = request;
    d->draft.officer = options->officer;
    sp__content__init(&d->content);
    e = drafting_check(d, why);
    if (e == ERR_OK)
        e = secret_random(options->env, FILE_KEY, &d->file_key);
    if (e != ERR_OK) {
        drafting_free(d);
        return e;
    }
    *ret = d;
    return ERR_OK;
}

void drafting_free(struct drafting *d)
{
    if (d == NULL)
        return;
    for (size_t i = 0; i < LIMIT_PARTS; i++) {
        part_sealer_free(d->parts[i].sealer);
        part_writer_free(d->parts[i].writer);
        buf_fini(&d->parts[i].bytes);
    }
    secret_free(d->file_key);
    buf_fini(&d->sealed_key);
    buf_fini(&d->summary);
    crypto_wipe(d, sizeof *d);
    free(d);
}

void drafting_drop_files(struct drafting *d)
{
    for (size_t i = 0; i < LIMIT_PARTS; i++) {
        /* What cannot be removed now is removed by the daemon's sweep. */
        if (d->parts[i].sealed.ct_len > 0 && d->parts[i].bytes.len == 0)
            (void)part_dir_remove(d->options.parts, &d->parts[i].sealed.sha256);
    }
}

bool drafting_wants_data(const struct drafting *d)
{
    return d->at < d->content.n_attachments || (d->at > 0 && d->parts[d->at].sealer != NULL);
}

static enum err spill(struct drafting *d, struct drafting_part *p)
{
    enum err e = part_writer_new(d->options.parts, d->options.env, &p->writer);

    if (e == ERR_OK)
        e = part_writer_put(p->writer, buf_span(&p->bytes));
    buf_fini(&p->bytes);
    return e;
}

/* Beside the envelope while there is room, then into a file. */
static enum err take_ciphertext(struct drafting *d, struct drafting_part *p, struct span bytes)
{
    enum err e = ERR_OK;

    if (p->writer == NULL && p->bytes.len + bytes.len > d->room)
        e = spill(d, p);
    if (e != ERR_OK)
        return e;
    if (p->writer != NULL)
        return part_writer_put(p->writer, bytes);
    buf_put(&p->bytes, bytes);
    return p->bytes.err;
}

/* The streaming part's ciphertext; body and attachments take turns, so the place tells which. */
static enum err sink(void *ctx, struct span bytes)
{
    struct drafting *d = ctx;

    return take_ciphertext(d, &d->parts[d->at], bytes);
}

static enum err begin_part(struct drafting *d, size_t index)
{
    struct drafting_part *p = &d->parts[index];

    d->at = index;
    buf_init(&p->bytes, LIMIT_INLINE_PARTS);
    sha256_init(&p->hash);
    return part_sealer_new(d->options.env, d->file_key, sink, d, &p->sealer);
}

static enum err end_part(struct drafting *d, Sp__PartKind kind)
{
    struct drafting_part *p = &d->parts[d->at];
    struct digest sha256 = {0};
    uint64_t len;
    enum err e = part_sealer_end(p->sealer, &p->sealed.sha256, &p->sealed.ct_len);

    part_sealer_free(p->sealer);
    p->sealer = NULL;
    p->sealed.kind = kind;
    p->sha256 = sha256_final(&p->hash);
    if (e == ERR_OK && p->writer != NULL) {
        e = part_writer_finish(p->writer, &sha256, &len);
        part_writer_free(p->writer);
        p->writer = NULL;
    } else if (e == ERR_OK) {
        d->room -= p->bytes.len;
        sp__inline_part__init(&p->wire);
        p->wire.index = (uint32_t)d->at;
        p->wire.data = pb_bytes(buf_span(&p->bytes));
    }
    return e;
}

/* The attachment is whole: its content entry says now what it is. */
static enum err end_attachment(struct drafting *d, char why[CONTENT_RULE])
{
    struct drafting_part *p = &d->parts[d->at];
    Sp__Attachment *a = &d->attachments[d->at - 1];
    enum err e = end_part(d, SP__PART_KIND__PART_KIND_ATTACHMENT);

    if (e != ERR_OK)
        return e;
    if (a->size != 0 && a->size != p->size) {
        snprintf(why, CONTENT_RULE, "%.100s has another size than announced", a->name);
        return ERR_MALFORMED;
    }
    a->size = p->size;
    a->sha256 = pb_bytes(digest_span(&p->sha256));
    return ERR_OK;
}

enum err drafting_put(struct drafting *d, struct span data, bool last, char why[CONTENT_RULE])
{
    struct drafting_part *p;
    enum err e = ERR_OK;

    if (!drafting_wants_data(d))
        return drafting_wrong(why, ERR_MALFORMED, "more data than attachments");
    if (data.len > LIMIT_CHUNK)
        return drafting_wrong(why, ERR_TOO_LARGE, "a piece of data is over 256 KiB");
    if (d->at == 0 || d->parts[d->at].sealer == NULL)
        e = begin_part(d, d->at + 1);
    if (e != ERR_OK)
        return e;
    p = &d->parts[d->at];
    sha256_update(&p->hash, data);
    p->size += data.len;
    e = part_sealer_put(p->sealer, data);
    if (e == ERR_TOO_LARGE)
        return drafting_wrong(why, e, "an attachment is over 4 GiB");
    return e == ERR_OK && last ? end_attachment(d, why) : e;
}

/* Body, padded and encrypted like every part. */
static enum err seal_body(struct drafting *d)
{
    struct buf content;
    struct buf padded;
    enum err e;

    buf_init(&content, LIMIT_BODY);
    buf_init(&padded, body_padded_len(LIMIT_BODY));
    pb_encode(&d->content, &content);
    if (content.err == ERR_OK)
        body_pad(buf_span(&content), &padded);
    e = content.err != ERR_OK ? content.err : padded.err;
    /* What was kept free for it when the attachments had their share. */
    d->room = LIMIT_INLINE_PARTS;
    for (size_t i = 1; i <= d->content.n_attachments; i++)
        d->room -= d->parts[i].bytes.len;
    if (e == ERR_OK)
        e = begin_part(d, 0);
    if (e == ERR_OK)
        e = part_sealer_put(d->parts[0].sealer, buf_span(&padded));
    if (e == ERR_OK)
        e = end_part(d, SP__PART_KIND__PART_KIND_BODY);
    buf_wipe(&content);
    buf_wipe(&padded);
    return e;
}

static void put_text(struct buf *b, const char *text)
{
    buf_put_u32be(b, (uint32_t)strlen(text));
    buf_put_str(b, text);
}

/* Two drafts are equal when an officer asked for the same: everything but id and time. Under a key
 * of the vault, so that what lies in the store confirms no guess of a text. */
static enum err digest_content(struct drafting *d)
{
    struct buf b;
    enum err e;

    buf_init(&b, LIMIT_BODY + LIMIT_MIB);
    buf_put_u32be(&b, (uint32_t)d->draft.n_to);
    for (size_t i = 0; i < d->draft.n_to; i++)
        put_text(&b, d->draft.to[i]);
    buf_put_u32be(&b, (uint32_t)d->draft.n_handling);
    for (size_t i = 0; i < d->draft.n_handling; i++)
        put_text(&b, d->draft.handling[i]);
    buf_put_u8(&b, (uint8_t)d->draft.level);
    buf_put_u8(&b, (uint8_t)d->draft.urgency);
    buf_put_u64be(&b, d->expires_in_ms);
    pb_encode(&d->content, &b);
    e = b.err;
    if (e == ERR_OK)
        d->draft.content_digest = vault_token(d->options.vault, buf_span(&b));
    buf_wipe(&b);
    return e;
}

static enum err keep(struct drafting *d)
{
    struct content_about about = drafting_about(d);
    struct content_view *view = malloc(sizeof *view);
    uint8_t room[OPENING_NAME];
    struct span name = opening_name(&d->draft.id, d->options.agency, room);
    struct buf plain;
    enum err e;

    if (view == NULL)
        return ERR_NO_MEMORY;
    content_view(&d->content, &about, false, view);
    buf_init(&plain, LIMIT_MIB);
    buf_init(&d->summary, LIMIT_MIB);
    buf_init(&d->sealed_key, 256);
    pb_encode(&view->message, &plain);
    e = plain.err;
    if (e == ERR_OK)
        e = vault_seal(d->options.vault, d->options.env, name, buf_span(&plain), &d->summary);
    if (e == ERR_OK)
        e = vault_seal_key(d->options.vault, d->options.env, name, d->file_key, &d->sealed_key);
    buf_wipe(&plain);
    crypto_wipe(view, sizeof *view);
    free(view);
    return e;
}

static void collect(struct drafting *d)
{
    d->draft.n_parts = d->content.n_attachments + 1;
    for (size_t i = 0; i < d->draft.n_parts; i++) {
        d->sealed[i] = d->parts[i].sealed;
        if (d->parts[i].bytes.len > 0)
            d->inline_parts[d->draft.n_inline_parts++] = &d->parts[i].wire;
    }
    d->draft.parts = d->sealed;
    d->draft.inline_parts = d->inline_parts;
    d->draft.file_key = d->file_key;
    d->draft.sealed_key = buf_span(&d->sealed_key);
    d->draft.summary = buf_span(&d->summary);
}

enum err drafting_finish(struct drafting *d, const struct agent_draft **ret, char why[CONTENT_RULE])
{
    enum err e;

    if (drafting_wants_data(d))
        return drafting_wrong(why, ERR_MALFORMED, "an attachment is missing");
    if (d->request->id[0] == '\0')
        d->draft.id = uuid_v7(d->options.env, env_now_ms(d->options.env));
    d->draft.expires_ms = uuid_time_ms(&d->draft.id) + d->expires_in_ms;
    e = seal_body(d);
    if (e == ERR_OK)
        e = digest_content(d);
    if (e == ERR_OK)
        e = keep(d);
    if (e != ERR_OK)
        return e;
    collect(d);
    *ret = &d->draft;
    return ERR_OK;
}
