#include "agent/opening.h"

#include "common/limits.h"
#include "proto/dsse.h"
#include "proto/pb.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPEN_CONTEXTS 256
#define READ_PIECE ((size_t)64 * 1024)

struct keyring {
    size_t n;
    struct key_id ids[LIMIT_STATEMENT_KEYS];
    struct secret *keys[LIMIT_STATEMENT_KEYS];
};

struct opener {
    struct opener_options options;
    struct open_cache *cache;
};

enum err keyring_new(struct keyring **ret)
{
    struct keyring *k = calloc(1, sizeof *k);

    if (k == NULL)
        return ERR_NO_MEMORY;
    *ret = k;
    return ERR_OK;
}

void keyring_free(struct keyring *k)
{
    if (k == NULL)
        return;
    for (size_t i = 0; i < k->n; i++)
        secret_free(k->keys[i]);
    free(k);
}

enum err keyring_add(struct keyring *k, const struct secret *key)
{
    uint8_t public_key[X25519_KEY];
    enum err e;

    if (k->n == LIMIT_STATEMENT_KEYS)
        return ERR_FULL;
    e = x25519_public_of(key, public_key);
    if (e == ERR_OK)
        e = x25519_expand(key, &k->keys[k->n]);
    if (e == ERR_OK)
        k->ids[k->n++] = key_id_of(KEY_LABEL_SUITE_1, span_of(public_key, sizeof public_key));
    return e;
}

size_t keyring_count(const struct keyring *k)
{
    return k->n;
}

enum err keyring_find(void *keyring, const struct key_id *id, const struct secret **ret)
{
    const struct keyring *k = keyring;

    for (size_t i = 0; i < k->n; i++) {
        if (memcmp(&k->ids[i], id, sizeof *id) == 0) {
            *ret = k->keys[i];
            return ERR_OK;
        }
    }
    return ERR_NOT_FOUND;
}

struct span opening_name(const struct uuid *id, const char *sender, uint8_t out[OPENING_NAME])
{
    size_t len = strlen(sender);

    memcpy(out, id->b, sizeof id->b);
    memcpy(out + sizeof id->b, sender, len);
    return span_of(out, sizeof id->b + len);
}

enum err opener_new(const struct opener_options *options, struct opener **ret)
{
    struct opener *o = calloc(1, sizeof *o);
    enum err e;

    if (o == NULL)
        return ERR_NO_MEMORY;
    o->options = *options;
    e = open_cache_new(OPEN_CONTEXTS, &o->cache);
    if (e != ERR_OK) {
        free(o);
        return e;
    }
    *ret = o;
    return ERR_OK;
}

void opener_free(struct opener *o)
{
    if (o == NULL)
        return;
    open_cache_free(o->cache);
    free(o);
}

void opened_free(struct opened *o)
{
    if (o == NULL)
        return;
    buf_fini(&o->sealed_key);
    buf_fini(&o->summary);
    free(o);
}

static const Sp__InlinePart *inline_part(const Sp__Transfer *wire, size_t index)
{
    for (size_t i = 0; i < wire->n_parts; i++) {
        if (wire->parts[i]->index == index)
            return wire->parts[i];
    }
    return NULL;
}

bool opening_waits(const struct opener *o, const struct envelope *e, const Sp__Transfer *wire)
{
    const struct envelope_part *body = envelope_part(e, 0);

    return inline_part(wire, 0) == NULL &&
           !part_dir_has(o->options.parts, &body->sha256, body->ct_len);
}

static enum err read_file(struct part_dir *parts, const struct envelope_part *part, part_sink sink,
                          void *ctx)
{
    uint8_t *piece = malloc(READ_PIECE);
    uint64_t at = 0;
    enum err e = piece == NULL ? ERR_NO_MEMORY : ERR_OK;

    while (e == ERR_OK && at < part->ct_len) {
        size_t got = 0;

        e = part_dir_read(parts, &part->sha256, at, piece, READ_PIECE, &got);
        if (e == ERR_OK && got == 0)
            e = ERR_IO;
        if (e == ERR_OK)
            e = sink(ctx, span_of(piece, got));
        at += got;
    }
    free(piece);
    return e;
}

enum err opening_read_part(struct part_dir *parts, const struct envelope *e,
                           const Sp__Transfer *wire, size_t index, part_sink sink, void *ctx)
{
    const Sp__InlinePart *beside = inline_part(wire, index);

    if (beside != NULL)
        return sink(ctx, pb_span(beside->data));
    return read_file(parts, envelope_part(e, index), sink, ctx);
}

static enum err to_opener(void *ctx, struct span bytes)
{
    return part_opener_put(ctx, bytes);
}

static enum err to_buf(void *ctx, struct span bytes)
{
    struct buf *b = ctx;

    buf_put(b, bytes);
    return b->err;
}

/* The padded body in plaintext. */
static enum err open_body(struct part_dir *parts, const struct envelope *e,
                          const Sp__Transfer *wire, const struct secret *file_key,
                          struct buf *plain)
{
    struct part_opener *opener = NULL;
    uint64_t len;
    enum err err = part_plain_len(envelope_part(e, 0)->ct_len, &len);

    if (err == ERR_OK && len > body_padded_len(LIMIT_BODY))
        err = ERR_TOO_LARGE;
    if (err == ERR_OK && !body_is_padded_len(len))
        err = ERR_NON_CANONICAL;
    if (err == ERR_OK) {
        buf_init(plain, (size_t)len);
        err = part_opener_new(file_key, to_buf, plain, &opener);
    }
    if (err == ERR_OK)
        err = opening_read_part(parts, e, wire, 0, to_opener, opener);
    if (err == ERR_OK)
        err = part_opener_end(opener);
    part_opener_free(opener);
    return err;
}

static enum err decode_body(struct part_dir *parts, const struct envelope *e,
                            const Sp__Transfer *wire, const struct secret *file_key,
                            struct pb **ret)
{
    struct buf plain = {0};
    struct span content;
    enum err err = open_body(parts, e, wire, file_key, &plain);

    if (err == ERR_OK)
        err = body_unpad(buf_span(&plain), &content);
    if (err == ERR_OK)
        err = pb_decode(&sp__content__descriptor, content, LIMIT_BODY, ret);
    buf_wipe(&plain);
    return err;
}

enum err opening_content(struct part_dir *parts, const struct envelope *e, const Sp__Transfer *wire,
                         const struct secret *file_key, struct pb **ret)
{
    enum err err = decode_body(parts, e, wire, file_key, ret);

    return err != ERR_OK && err_class(err) == ERR_CLASS_PEER ? ERR_CORRUPT : err;
}

static enum err keep(struct opener *o, const struct content_about *about, const Sp__Content *c,
                     const struct secret *file_key, struct opened *ret)
{
    struct content_view *view = malloc(sizeof *view);
    uint8_t room[OPENING_NAME];
    struct span name = opening_name(&about->id, about->from, room);
    struct buf plain;
    enum err e;

    if (view == NULL)
        return ERR_NO_MEMORY;
    content_view(c, about, false, view);
    buf_init(&plain, LIMIT_MIB);
    buf_init(&ret->summary, LIMIT_MIB);
    buf_init(&ret->sealed_key, 256);
    pb_encode(&view->message, &plain);
    e = plain.err;
    if (e == ERR_OK)
        e = vault_seal(o->options.vault, o->options.env, name, buf_span(&plain), &ret->summary);
    if (e == ERR_OK)
        e = vault_seal_key(o->options.vault, o->options.env, name, file_key, &ret->sealed_key);
    buf_wipe(&plain);
    crypto_wipe(view, sizeof *view);
    free(view);
    return e;
}

static enum err open_all(struct opener *o, const struct envelope *e, const Sp__Transfer *wire,
                         const struct trust *trust, struct opened *ret)
{
    const char *to[LIMIT_RECIPIENTS];
    struct secret *file_key = NULL;
    struct content_about about;
    struct pb *content = NULL;
    enum err err;

    content_about_envelope(e, true, to, &about);
    err = open_envelope_cached(o->cache, e, o->options.agency, keyring_find, o->options.keyring,
                               &file_key);
    if (err == ERR_OK)
        err = decode_body(o->options.parts, e, wire, file_key, &content);
    if (err == ERR_OK)
        err = content_check(pb_view(content), &about, trust, ret->rule);
    if (err == ERR_OK)
        err = content_check_parts(pb_view(content), e, ret->rule);
    if (err == ERR_OK)
        err = keep(o, &about, pb_view(content), file_key, ret);
    pb_free(content);
    secret_free(file_key);
    return err;
}

struct opened *opening_open(struct opener *o, const struct envelope *e, const Sp__Transfer *wire,
                            const struct trust *trust)
{
    struct opened *opened = calloc(1, sizeof *opened);

    if (opened == NULL)
        return NULL;
    opened->verdict = open_all(o, e, wire, trust, opened);
    /* A fault of ours is none of the sender: it is to be tried again. */
    if (opened->verdict != ERR_OK && err_class(opened->verdict) == ERR_CLASS_LOCAL)
        opened->verdict = ERR_UNAVAILABLE;
    return opened;
}
