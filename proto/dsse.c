#include "proto/dsse.h"

#include "common/limits.h"
#include "common/text.h"
#include "proto/pb.h"

#include "envelope.pb-c.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define KEY_ID_LABEL "sealpost-key-id-v1" /* its NUL is the 00 that follows it */
#define KEY_ID_TEXT (2 * sizeof(struct key_id) + 1)
/* "DSSEv1", two decimal lengths and the spaces between. */
#define PAE_OVERHEAD ((size_t)64)

struct dsse {
    struct pb *pb;
    const Sp__Document *view;
};

struct key_id key_id_of(const char *label, struct span public_key)
{
    size_t len = strlen(label);
    uint8_t len_be[2] = {(uint8_t)(len >> 8), (uint8_t)len};
    const struct span parts[] = {span_of(KEY_ID_LABEL, sizeof(KEY_ID_LABEL)),
                                 span_of(len_be, sizeof(len_be)), span_of(label, len), public_key};
    struct digest digest;
    struct key_id id;

    assert(len <= UINT16_MAX);
    digest = sha256_parts(parts, 4);
    memcpy(id.b, digest.b, sizeof(id.b));
    return id;
}

static void signing_key_id(const struct ed25519_public *key, char out[KEY_ID_TEXT])
{
    struct key_id id = key_id_of(KEY_LABEL_SIGN, span_of(key->b, sizeof(key->b)));

    text_hex(span_of(id.b, sizeof(id.b)), out);
}

void dsse_pae(const char *type, struct span payload, struct buf *out)
{
    buf_printf(out, "DSSEv1 %zu %s %zu ", strlen(type), type, payload.len);
    buf_put(out, payload);
}

static enum err check_signature(const Sp__Signature *s)
{
    struct key_id id;

    if (s->batch != NULL || s->sig.len != ED25519_SIG)
        return ERR_MALFORMED;
    return text_hex_decode(span_str(s->keyid), sizeof(id.b), id.b);
}

enum err dsse_decode(struct span bytes, size_t max, struct dsse **ret)
{
    struct dsse *d = calloc(1, sizeof(*d));
    enum err e;

    if (d == NULL)
        return ERR_NO_MEMORY;
    e = pb_decode(&sp__document__descriptor, bytes, max, &d->pb);
    if (e != ERR_OK)
        goto out;
    d->view = pb_view(d->pb);
    if (d->view->n_signatures > LIMIT_SIGNATURES)
        e = ERR_TOO_LARGE;
    for (size_t i = 0; e == ERR_OK && i < d->view->n_signatures; i++)
        e = check_signature(d->view->signatures[i]);
out:
    if (e != ERR_OK)
        dsse_free(d);
    else
        *ret = d;
    return e;
}

void dsse_free(struct dsse *d)
{
    if (d == NULL)
        return;
    pb_free(d->pb);
    free(d);
}

const char *dsse_type(const struct dsse *d)
{
    return d->view->payload_type;
}

struct span dsse_payload(const struct dsse *d)
{
    return pb_span(d->view->payload);
}

/* Whether `key` has signed: ERR_OK with the answer, or ERR_BAD_SIGNATURE. */
static enum err signed_by(const struct dsse *d, const struct ed25519_public *key, struct span pae,
                          bool *ret)
{
    char id[KEY_ID_TEXT];
    bool found = false;

    signing_key_id(key, id);
    for (size_t i = 0; i < d->view->n_signatures; i++) {
        const Sp__Signature *s = d->view->signatures[i];

        if (strcmp(s->keyid, id) != 0)
            continue;
        if (ed25519_verify(key, pae, pb_span(s->sig)) != ERR_OK)
            return ERR_BAD_SIGNATURE;
        found = true;
    }
    *ret = found;
    return ERR_OK;
}

static bool is_repeated_key(const struct ed25519_public *keys, size_t i)
{
    for (size_t j = 0; j < i; j++) {
        if (memcmp(keys[j].b, keys[i].b, sizeof(keys[i].b)) == 0)
            return true;
    }
    return false;
}

enum err dsse_count(const struct dsse *d, const char *type, const struct ed25519_public *keys,
                    size_t n, size_t *ret)
{
    struct span payload = dsse_payload(d);
    struct buf pae;
    size_t count = 0;
    enum err e;

    if (strcmp(dsse_type(d), type) != 0)
        return ERR_WRONG_USAGE;
    buf_init(&pae, payload.len + strlen(type) + PAE_OVERHEAD);
    dsse_pae(type, payload, &pae);
    e = pae.err;
    for (size_t i = 0; e == ERR_OK && i < n; i++) {
        bool found = false;

        if (is_repeated_key(keys, i))
            continue;
        e = signed_by(d, &keys[i], buf_span(&pae), &found);
        count += found;
    }
    buf_fini(&pae);
    if (e == ERR_OK)
        *ret = count;
    return e;
}

/* A signature and the memory that its message points to. */
struct signature {
    Sp__Signature view;
    uint8_t sig[ED25519_SIG];
    char key_id[KEY_ID_TEXT];
};

/* `s` stays where it is: its view points into it. */
static enum err sign(const char *type, struct span payload, const struct secret *key,
                     struct signature *s)
{
    struct ed25519_public public_key;
    struct buf pae;
    enum err e = ed25519_public_of(key, &public_key);

    if (e != ERR_OK)
        return e;
    signing_key_id(&public_key, s->key_id);
    buf_init(&pae, payload.len + strlen(type) + PAE_OVERHEAD);
    dsse_pae(type, payload, &pae);
    e = pae.err;
    if (e == ERR_OK)
        e = ed25519_sign(key, buf_span(&pae), s->sig);
    buf_fini(&pae);
    s->view = (Sp__Signature)SP__SIGNATURE__INIT;
    s->view.sig = pb_bytes(span_of(s->sig, sizeof(s->sig)));
    s->view.keyid = s->key_id;
    return e;
}

static void encode(const char *type, struct span payload, Sp__Signature **signatures, size_t n,
                   struct buf *out)
{
    Sp__Document document = SP__DOCUMENT__INIT;

    document.payload = pb_bytes(payload);
    document.payload_type = pb_string(type);
    document.signatures = signatures;
    document.n_signatures = n;
    pb_encode(&document, out);
}

void dsse_unsigned(const char *type, struct span payload, struct buf *out)
{
    encode(type, payload, NULL, 0, out);
}

void dsse_sign(const char *type, struct span payload, const struct secret *key, struct buf *out)
{
    struct signature s;
    Sp__Signature *signatures[] = {&s.view};
    enum err e = sign(type, payload, key, &s);

    if (e == ERR_OK)
        encode(type, payload, signatures, 1, out);
    else if (out->err == ERR_OK)
        out->err = e;
}

enum err dsse_add_signature(struct span document, const struct secret *key, struct buf *out)
{
    Sp__Signature *signatures[LIMIT_SIGNATURES];
    struct signature s;
    struct dsse *d = NULL;
    size_t n;
    enum err e = dsse_decode(document, LIMIT_DOCUMENT, &d);

    if (e != ERR_OK)
        return e;
    e = sign(dsse_type(d), dsse_payload(d), key, &s);
    if (e != ERR_OK)
        goto out;
    n = d->view->n_signatures;
    for (size_t i = 0; e == ERR_OK && i < n; i++) {
        signatures[i] = d->view->signatures[i];
        if (strcmp(signatures[i]->keyid, s.key_id) == 0)
            e = ERR_EXISTS;
    }
    if (e == ERR_OK && n == LIMIT_SIGNATURES)
        e = ERR_TOO_LARGE;
    if (e != ERR_OK)
        goto out;
    signatures[n] = &s.view;
    encode(dsse_type(d), dsse_payload(d), signatures, n + 1, out);
    e = out->err;
out:
    dsse_free(d);
    return e;
}
