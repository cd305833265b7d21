#include "proto/envelope.h"

#include "common/limits.h"
#include "common/merkle.h"
#include "proto/batch_cache.h"
#include "proto/envelope_rules.h"
#include "proto/pb.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* A signed core and who is said to have signed it. */
struct signed_core {
    struct span payload;
    const Sp__Signature *signature;
    const struct key_id *key_id;
};

struct source {
    struct pb *pb;
    struct pb *header_pb;
    struct envelope_source view;
};

struct envelope {
    uint8_t *bytes;
    size_t len;
    /* What the views below borrow from. */
    struct pb *outer;
    struct pb *header_pb;
    struct pb *recipients_pb;
    struct pb *wraps_pb;
    struct digest digest;
    struct envelope_core core;
    struct envelope_header header;
    struct envelope_recipient *recipients;
    size_t n_recipients;
    struct envelope_part *parts;
    size_t n_parts;
    uint64_t parts_len;
    struct source source; /* pb is NULL without one */
};

static enum err decode_core(struct span payload, struct envelope_core *ret)
{
    struct pb *pb;
    enum err e = pb_decode(&sp__core__descriptor, payload, LIMIT_ENVELOPE, &pb);

    if (e != ERR_OK)
        return e;
    e = rules_core(pb_view(pb), ret);
    pb_free(pb);
    return e;
}

static bool has_digest(ProtobufCBinaryData field, const struct digest *digest)
{
    struct digest is = sha256(pb_span(field));

    return digest_equal(&is, digest);
}

static enum err decode_header(struct span bytes, struct pb **pb, struct envelope_header *ret)
{
    enum err e = pb_decode(&sp__header__descriptor, bytes, LIMIT_ENVELOPE, pb);

    return e == ERR_OK ? rules_header(pb_view(*pb), ret) : e;
}

/* True when the sorted list `all` holds every code of the sorted list `some`. */
static bool handling_within(const char *const *some, size_t n_some, const char *const *all,
                            size_t n_all)
{
    size_t j = 0;

    for (size_t i = 0; i < n_some; i++) {
        while (j < n_all && strcmp(all[j], some[i]) < 0)
            j++;
        if (j == n_all || strcmp(all[j], some[i]) != 0)
            return false;
    }
    return true;
}

static enum err decode_source(struct span bytes, struct source *s)
{
    struct envelope_source *view = &s->view;
    struct envelope_core core;
    const Sp__Source *in;
    enum err e = pb_decode(&sp__source__descriptor, bytes, LIMIT_SOURCE, &s->pb);

    if (e != ERR_OK)
        return e;
    in = pb_view(s->pb);
    e = decode_core(pb_span(in->core), &core);
    if (e != ERR_OK)
        return e;
    if (!has_digest(in->header, &core.header))
        return ERR_BAD_DIGEST;
    e = decode_header(pb_span(in->header), &s->header_pb, &view->header);
    if (e != ERR_OK)
        return e;
    if (view->header.source.len > 0 || in->signature == NULL)
        return ERR_MALFORMED;
    e = rules_signature(in->signature, &view->header.key_id);
    if (e != ERR_OK)
        return e;
    e = rules_handling(in->handling, in->n_handling);
    if (e != ERR_OK)
        return e;
    view->digest = sha256(pb_span(in->core));
    view->handling = (const char *const *)in->handling;
    view->n_handling = in->n_handling;
    if (!handling_within(view->header.handling, view->header.n_handling, view->handling,
                         view->n_handling))
        return ERR_MALFORMED;
    return ERR_OK;
}

static enum err decode_recipients(struct envelope *env, const Sp__Envelope *outer)
{
    const Sp__Recipients *recipients;
    enum err e = pb_decode(&sp__recipients__descriptor, pb_span(outer->recipients), LIMIT_ENVELOPE,
                           &env->recipients_pb);

    if (e != ERR_OK)
        return e;
    e = pb_decode(&sp__wraps__descriptor, pb_span(outer->wraps), LIMIT_ENVELOPE, &env->wraps_pb);
    if (e != ERR_OK)
        return e;
    recipients = pb_view(env->recipients_pb);
    if (recipients->n_items > LIMIT_RECIPIENTS)
        return ERR_TOO_LARGE;
    env->n_recipients = recipients->n_items;
    env->recipients = calloc(env->n_recipients + 1, sizeof(env->recipients[0]));
    if (env->recipients == NULL)
        return ERR_NO_MEMORY;
    e = rules_recipients(recipients, env->header.sender, env->recipients);
    if (e != ERR_OK)
        return e;
    return rules_wraps(pb_view(env->wraps_pb), env->recipients, env->n_recipients);
}

static enum err decode_parts(struct envelope *env, const Sp__Envelope *outer)
{
    struct pb *pb;
    const Sp__Parts *parts;
    enum err e = pb_decode(&sp__parts__descriptor, pb_span(outer->parts), LIMIT_ENVELOPE, &pb);

    if (e != ERR_OK)
        return e;
    parts = pb_view(pb);
    e = ERR_TOO_LARGE;
    if (parts->n_items > LIMIT_PARTS)
        goto out;
    e = ERR_NO_MEMORY;
    env->n_parts = parts->n_items;
    env->parts = calloc(env->n_parts + 1, sizeof(env->parts[0]));
    if (env->parts == NULL)
        goto out;
    e = rules_parts(parts, env->parts);
    for (size_t i = 0; e == ERR_OK && i < env->n_parts; i++)
        env->parts_len += env->parts[i].ct_len;
out:
    pb_free(pb);
    return e;
}

static enum err decode_outer(struct envelope *env, const Sp__Envelope *outer)
{
    enum err e;

    if (strcmp(outer->payload_type, DSSE_TYPE_ENVELOPE) != 0)
        return ERR_WRONG_USAGE;
    e = decode_core(pb_span(outer->payload), &env->core);
    if (e != ERR_OK)
        return e;
    if (!has_digest(outer->header, &env->core.header) ||
        !has_digest(outer->recipients, &env->core.recipients) ||
        !has_digest(outer->wraps, &env->core.wraps) || !has_digest(outer->parts, &env->core.parts))
        return ERR_BAD_DIGEST;
    env->digest = sha256(pb_span(outer->payload));
    e = decode_header(pb_span(outer->header), &env->header_pb, &env->header);
    if (e != ERR_OK)
        return e;
    if (outer->n_signatures != 1)
        return ERR_MALFORMED;
    e = rules_signature(outer->signatures[0], &env->header.key_id);
    if (e != ERR_OK)
        return e;
    e = decode_recipients(env, outer);
    if (e != ERR_OK)
        return e;
    e = decode_parts(env, outer);
    if (e != ERR_OK)
        return e;
    return env->header.source.len > 0 ? decode_source(env->header.source, &env->source) : ERR_OK;
}

enum err envelope_decode(struct span bytes, struct envelope **ret)
{
    struct envelope *env = calloc(1, sizeof(*env));
    enum err e = ERR_NO_MEMORY;

    if (env == NULL)
        goto out;
    e = pb_decode(&sp__envelope__descriptor, bytes, LIMIT_ENVELOPE, &env->outer);
    if (e != ERR_OK)
        goto out;
    e = decode_outer(env, pb_view(env->outer));
    if (e != ERR_OK)
        goto out;
    e = ERR_NO_MEMORY;
    env->bytes = malloc(bytes.len);
    if (env->bytes == NULL)
        goto out;
    memcpy(env->bytes, bytes.data, bytes.len);
    env->len = bytes.len;
    *ret = env;
    return ERR_OK;
out:
    envelope_free(env);
    return e;
}

void envelope_free(struct envelope *e)
{
    if (e == NULL)
        return;
    pb_free(e->source.header_pb);
    pb_free(e->source.pb);
    pb_free(e->wraps_pb);
    pb_free(e->recipients_pb);
    pb_free(e->header_pb);
    pb_free(e->outer);
    free(e->recipients);
    free(e->parts);
    free(e->bytes);
    free(e);
}

struct span envelope_bytes(const struct envelope *e)
{
    return span_of(e->bytes, e->len);
}

const struct digest *envelope_digest(const struct envelope *e)
{
    return &e->digest;
}

const struct envelope_core *envelope_core(const struct envelope *e)
{
    return &e->core;
}

const struct envelope_header *envelope_header(const struct envelope *e)
{
    return &e->header;
}

const struct envelope_source *envelope_source(const struct envelope *e)
{
    return e->source.pb == NULL ? NULL : &e->source.view;
}

size_t envelope_recipient_count(const struct envelope *e)
{
    return e->n_recipients;
}

const struct envelope_recipient *envelope_recipient(const struct envelope *e, size_t i)
{
    assert(i < e->n_recipients);
    return &e->recipients[i];
}

enum err envelope_find_recipient(const struct envelope *e, const char *agency, size_t *ret)
{
    for (size_t i = 0; i < e->n_recipients; i++) {
        if (strcmp(e->recipients[i].agency, agency) == 0) {
            *ret = i;
            return ERR_OK;
        }
    }
    return ERR_NOT_A_RECIPIENT;
}

size_t envelope_part_count(const struct envelope *e)
{
    return e->n_parts;
}

const struct envelope_part *envelope_part(const struct envelope *e, size_t i)
{
    assert(i < e->n_parts);
    return &e->parts[i];
}

uint64_t envelope_parts_len(const struct envelope *e)
{
    return e->parts_len;
}

static enum err verify_batch(const Sp__Signature *s, struct span pae,
                             const struct ed25519_public *key, struct batch_cache *cache)
{
    struct batch_root root = {.key = *key, .size = s->batch->size};
    struct digest leaf = merkle_leaf(pae);
    struct digest path[LIMIT_BATCH_PATH];
    struct buf message, signed_bytes;
    enum err e;

    assert(s->batch->n_path <= LIMIT_BATCH_PATH && s->sig.len == sizeof(root.sig));
    for (size_t i = 0; i < s->batch->n_path; i++)
        memcpy(path[i].b, s->batch->path[i].data, sizeof(path[i].b));
    e = merkle_root_from_path(&leaf, s->batch->index, s->batch->size, path, s->batch->n_path,
                              &root.root);
    if (e != ERR_OK)
        return ERR_BAD_SIGNATURE;
    memcpy(root.sig, s->sig.data, sizeof(root.sig));
    if (batch_cache_has(cache, &root))
        return ERR_OK;
    buf_init(&message, LIMIT_KIB);
    buf_init(&signed_bytes, LIMIT_KIB);
    buf_put_u64be(&message, root.size);
    buf_put(&message, digest_span(&root.root));
    dsse_pae(DSSE_TYPE_BATCH, buf_span(&message), &signed_bytes);
    e = message.err != ERR_OK ? message.err : signed_bytes.err;
    if (e == ERR_OK)
        e = ed25519_verify(key, buf_span(&signed_bytes), pb_span(s->sig));
    if (e == ERR_OK)
        batch_cache_put(cache, &root);
    buf_fini(&message);
    buf_fini(&signed_bytes);
    return e;
}

static enum err verify_core(const struct signed_core *s, const struct ed25519_public *key,
                            struct batch_cache *cache)
{
    struct key_id id = key_id_of(KEY_LABEL_SIGN, span_of(key->b, sizeof(key->b)));
    struct buf pae;
    enum err e;

    if (memcmp(id.b, s->key_id->b, sizeof(id.b)) != 0)
        return ERR_BAD_SIGNATURE;
    buf_init(&pae, LIMIT_KIB);
    dsse_pae(DSSE_TYPE_ENVELOPE, s->payload, &pae);
    if (pae.err != ERR_OK)
        e = pae.err;
    else if (s->signature->batch != NULL)
        e = verify_batch(s->signature, buf_span(&pae), key, cache);
    else
        e = ed25519_verify(key, buf_span(&pae), pb_span(s->signature->sig));
    buf_fini(&pae);
    return e;
}

enum err envelope_verify(const struct envelope *e, const struct ed25519_public *key,
                         struct batch_cache *cache)
{
    const Sp__Envelope *outer = pb_view(e->outer);
    const struct signed_core s = {
        .payload = pb_span(outer->payload),
        .signature = outer->signatures[0],
        .key_id = &e->header.key_id,
    };

    return verify_core(&s, key, cache);
}

enum err envelope_verify_source(const struct envelope *e, const struct ed25519_public *key,
                                struct batch_cache *cache)
{
    const Sp__Source *source;
    struct signed_core s;

    if (e->source.pb == NULL)
        return ERR_NOT_FOUND;
    source = pb_view(e->source.pb);
    s = (struct signed_core){
        .payload = pb_span(source->core),
        .signature = source->signature,
        .key_id = &e->source.view.header.key_id,
    };
    return verify_core(&s, key, cache);
}

enum err envelope_make_source(const struct envelope *e, const char *const *handling,
                              size_t n_handling, struct buf *out)
{
    const Sp__Envelope *outer = pb_view(e->outer);
    const struct envelope_source *earlier = envelope_source(e);
    Sp__Source source = SP__SOURCE__INIT;
    size_t before = out->len;
    enum err err;

    err = rules_handling((char *const *)handling, n_handling);
    if (err != ERR_OK)
        return err;
    if (!handling_within(e->header.handling, e->header.n_handling, handling, n_handling))
        return ERR_HANDLING_ONWARD;
    if (earlier != NULL) {
        const Sp__Source *in = pb_view(e->source.pb);

        if (!handling_within(earlier->handling, earlier->n_handling, handling, n_handling))
            return ERR_HANDLING_ONWARD;
        source.core = in->core;
        source.signature = in->signature;
        source.header = in->header;
    } else {
        source.core = outer->payload;
        source.signature = outer->signatures[0];
        source.header = outer->header;
    }
    source.n_handling = n_handling;
    source.handling = (char **)handling;
    pb_encode(&source, out);
    if (out->err != ERR_OK)
        return out->err;
    if (out->len - before > LIMIT_SOURCE) {
        out->len = before;
        return ERR_TOO_LARGE;
    }
    return ERR_OK;
}
