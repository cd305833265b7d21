#include "proto/part.h"

#include "common/limits.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define SEALED_CHUNK (PART_CHUNK + PART_TAG)

uint64_t part_sealed_len(uint64_t plain)
{
    uint64_t chunks = plain == 0 ? 1 : (plain + PART_CHUNK - 1) / PART_CHUNK;

    return PART_NONCE + plain + chunks * PART_TAG;
}

enum err part_plain_len(uint64_t sealed, uint64_t *ret)
{
    uint64_t stream, chunks, plain;

    if (sealed < PART_NONCE + PART_TAG)
        return ERR_MALFORMED;
    stream = sealed - PART_NONCE;
    chunks = stream / SEALED_CHUNK + (stream % SEALED_CHUNK != 0);
    if (stream < chunks * PART_TAG)
        return ERR_MALFORMED;
    plain = stream - chunks * PART_TAG;
    if (part_sealed_len(plain) != sealed)
        return ERR_MALFORMED;
    *ret = plain;
    return ERR_OK;
}

/* The age payload key; the caller wipes it. */
static enum err payload_key(const struct secret *file_key, const uint8_t nonce[PART_NONCE],
                            uint8_t key[AEAD_KEY])
{
    assert(secret_len(file_key) == FILE_KEY);
    return hkdf(secret_bytes(file_key), span_of(nonce, PART_NONCE), span_str("payload"), key,
                AEAD_KEY);
}

/* STREAM nonce: an 88-bit big-endian counter, then the flag of the last chunk. */
static void chunk_nonce(uint64_t counter, bool last, uint8_t nonce[AEAD_NONCE])
{
    memset(nonce, 0, AEAD_NONCE);
    for (unsigned i = 0; i < sizeof(counter); i++)
        nonce[10 - i] = (uint8_t)(counter >> (8 * i));
    nonce[11] = last ? 1 : 0;
}

struct part_sealer {
    part_sink sink;
    void *ctx;
    struct aead *aead;
    struct sha256 hash;
    uint64_t plain_len;
    uint64_t sealed_len;
    uint64_t counter;
    enum err err; /* sticky: a part with a failure in it is no part */
    bool ended;
    size_t have;
    uint8_t nonce[PART_NONCE];
    uint8_t plain[PART_CHUNK];
    uint8_t sealed[SEALED_CHUNK];
};

enum err part_sealer_new(const struct env *env, const struct secret *file_key, part_sink sink,
                         void *ctx, struct part_sealer **ret)
{
    uint8_t key[AEAD_KEY];
    struct part_sealer *s = calloc(1, sizeof(*s));
    enum err e;

    if (s == NULL)
        return ERR_NO_MEMORY;
    s->sink = sink;
    s->ctx = ctx;
    env_random(env, s->nonce, sizeof(s->nonce));
    sha256_init(&s->hash);
    e = payload_key(file_key, s->nonce, key);
    if (e != ERR_OK)
        goto out;
    e = aead_new(key, &s->aead);
    if (e != ERR_OK)
        goto out;
    *ret = s;
    s = NULL;
out:
    crypto_wipe(key, sizeof(key));
    part_sealer_free(s);
    return e;
}

void part_sealer_free(struct part_sealer *s)
{
    if (s == NULL)
        return;
    aead_free(s->aead);
    crypto_wipe(s->plain, sizeof(s->plain));
    free(s);
}

static enum err sealer_emit(struct part_sealer *s, struct span bytes)
{
    sha256_update(&s->hash, bytes);
    s->sealed_len += bytes.len;
    return s->sink(s->ctx, bytes);
}

static enum err sealer_chunk(struct part_sealer *s, struct span plain, bool last)
{
    uint8_t nonce[AEAD_NONCE];
    enum err e;

    if (s->counter == 0) {
        e = sealer_emit(s, span_of(s->nonce, sizeof(s->nonce)));
        if (e != ERR_OK)
            return e;
    }
    chunk_nonce(s->counter++, last, nonce);
    e = aead_seal(s->aead, nonce, (struct span){0}, plain, s->sealed);
    if (e != ERR_OK)
        return e;
    return sealer_emit(s, span_of(s->sealed, plain.len + PART_TAG));
}

/* Seals every chunk that is known not to be the last one and keeps the rest. */
static enum err sealer_take(struct part_sealer *s, struct span plain)
{
    enum err e;

    while (plain.len > 0) {
        size_t take;

        if (s->have == PART_CHUNK) {
            e = sealer_chunk(s, span_of(s->plain, PART_CHUNK), false);
            if (e != ERR_OK)
                return e;
            s->have = 0;
        }
        if (s->have == 0 && plain.len > PART_CHUNK) {
            e = sealer_chunk(s, span_of(plain.data, PART_CHUNK), false);
            if (e != ERR_OK)
                return e;
            plain = span_of(plain.data + PART_CHUNK, plain.len - PART_CHUNK);
            continue;
        }
        take = PART_CHUNK - s->have < plain.len ? PART_CHUNK - s->have : plain.len;
        memcpy(s->plain + s->have, plain.data, take);
        s->have += take;
        plain = span_of(plain.data + take, plain.len - take);
    }
    return ERR_OK;
}

enum err part_sealer_put(struct part_sealer *s, struct span plain)
{
    assert(!s->ended);
    if (s->err != ERR_OK)
        return s->err;
    if (plain.len > LIMIT_PART - s->plain_len) {
        s->err = ERR_TOO_LARGE;
        return s->err;
    }
    s->plain_len += plain.len;
    s->err = sealer_take(s, plain);
    return s->err;
}

enum err part_sealer_end(struct part_sealer *s, struct digest *sha256, uint64_t *len)
{
    assert(!s->ended);
    s->ended = true;
    if (s->err != ERR_OK)
        return s->err;
    s->err = sealer_chunk(s, span_of(s->plain, s->have), true);
    if (s->err != ERR_OK)
        return s->err;
    *sha256 = sha256_final(&s->hash);
    *len = s->sealed_len;
    return ERR_OK;
}

struct part_opener {
    part_sink sink;
    void *ctx;
    const struct secret *file_key;
    struct aead *aead; /* NULL until the nonce is there */
    uint64_t plain_len;
    uint64_t counter;
    enum err err;
    bool ended;
    size_t have;
    uint8_t nonce[PART_NONCE];
    size_t nonce_len;
    uint8_t sealed[SEALED_CHUNK];
    uint8_t plain[PART_CHUNK];
};

enum err part_opener_new(const struct secret *file_key, part_sink sink, void *ctx,
                         struct part_opener **ret)
{
    struct part_opener *o;

    assert(secret_len(file_key) == FILE_KEY);
    o = calloc(1, sizeof(*o));
    if (o == NULL)
        return ERR_NO_MEMORY;
    o->sink = sink;
    o->ctx = ctx;
    o->file_key = file_key;
    *ret = o;
    return ERR_OK;
}

void part_opener_free(struct part_opener *o)
{
    if (o == NULL)
        return;
    aead_free(o->aead);
    crypto_wipe(o->plain, sizeof(o->plain));
    free(o);
}

static enum err opener_start(struct part_opener *o, struct span *sealed)
{
    uint8_t key[AEAD_KEY];
    size_t want = PART_NONCE - o->nonce_len;
    size_t take = want < sealed->len ? want : sealed->len;
    enum err e;

    memcpy(o->nonce + o->nonce_len, sealed->data, take);
    o->nonce_len += take;
    *sealed = span_of(sealed->data + take, sealed->len - take);
    if (o->nonce_len < PART_NONCE)
        return ERR_OK;
    e = payload_key(o->file_key, o->nonce, key);
    if (e == ERR_OK)
        e = aead_new(key, &o->aead);
    crypto_wipe(key, sizeof(key));
    return e;
}

static enum err opener_chunk(struct part_opener *o, struct span sealed, bool last)
{
    uint8_t nonce[AEAD_NONCE];
    size_t plain;
    enum err e;

    if (sealed.len < PART_TAG)
        return ERR_BAD_DIGEST;
    plain = sealed.len - PART_TAG;
    if (plain == 0 && o->counter > 0)
        return ERR_BAD_DIGEST;
    if (plain > LIMIT_PART - o->plain_len)
        return ERR_TOO_LARGE;
    chunk_nonce(o->counter++, last, nonce);
    e = aead_open(o->aead, nonce, (struct span){0}, sealed, o->plain);
    if (e != ERR_OK)
        return e;
    o->plain_len += plain;
    return plain == 0 ? ERR_OK : o->sink(o->ctx, span_of(o->plain, plain));
}

/* Opens every chunk that is followed by more bytes, so is not the last one, and keeps the rest. */
static enum err opener_take(struct part_opener *o, struct span sealed)
{
    enum err e;

    while (sealed.len > 0) {
        size_t take;

        if (o->have == SEALED_CHUNK) {
            e = opener_chunk(o, span_of(o->sealed, SEALED_CHUNK), false);
            if (e != ERR_OK)
                return e;
            o->have = 0;
        }
        if (o->have == 0 && sealed.len > SEALED_CHUNK) {
            e = opener_chunk(o, span_of(sealed.data, SEALED_CHUNK), false);
            if (e != ERR_OK)
                return e;
            sealed = span_of(sealed.data + SEALED_CHUNK, sealed.len - SEALED_CHUNK);
            continue;
        }
        take = SEALED_CHUNK - o->have < sealed.len ? SEALED_CHUNK - o->have : sealed.len;
        memcpy(o->sealed + o->have, sealed.data, take);
        o->have += take;
        sealed = span_of(sealed.data + take, sealed.len - take);
    }
    return ERR_OK;
}

enum err part_opener_put(struct part_opener *o, struct span sealed)
{
    assert(!o->ended);
    if (o->err == ERR_OK && o->aead == NULL && sealed.len > 0)
        o->err = opener_start(o, &sealed);
    if (o->err == ERR_OK)
        o->err = opener_take(o, sealed);
    return o->err;
}

enum err part_opener_end(struct part_opener *o)
{
    assert(!o->ended);
    o->ended = true;
    /* Without a whole nonce nothing is held, and that is too short for a chunk. */
    if (o->err == ERR_OK)
        o->err = opener_chunk(o, span_of(o->sealed, o->have), true);
    return o->err;
}

/* Seals or opens all chunks of a part that is in memory. A single chunk, the common body, does not
 * pay for a keyed object. */
static enum err whole(bool seal, const uint8_t key[AEAD_KEY], struct span in, uint8_t *out)
{
    size_t chunk = seal ? PART_CHUNK : SEALED_CHUNK;
    struct aead *aead = NULL;
    uint8_t nonce[AEAD_NONCE];
    enum err e;

    if (in.len <= chunk) {
        chunk_nonce(0, true, nonce);
        return seal ? chacha20poly1305_seal(key, nonce, (struct span){0}, in, out)
                    : chacha20poly1305_open(key, nonce, (struct span){0}, in, out);
    }
    e = aead_new(key, &aead);
    for (uint64_t i = 0; e == ERR_OK && in.len > 0; i++) {
        struct span piece = span_of(in.data, in.len < chunk ? in.len : chunk);

        chunk_nonce(i, piece.len == in.len, nonce);
        e = seal ? aead_seal(aead, nonce, (struct span){0}, piece, out)
                 : aead_open(aead, nonce, (struct span){0}, piece, out);
        out += seal ? piece.len + PART_TAG : piece.len - PART_TAG;
        in = span_of(in.data + piece.len, in.len - piece.len);
    }
    aead_free(aead);
    return e;
}

enum err part_seal(const struct env *env, const struct secret *file_key, struct span plain,
                   struct buf *sealed, struct digest *sha256_ret)
{
    uint8_t key[AEAD_KEY];
    size_t before = sealed->len;
    uint8_t *out;
    enum err e;

    if (plain.len > LIMIT_PART)
        return ERR_TOO_LARGE;
    out = buf_extend(sealed, (size_t)part_sealed_len(plain.len));
    if (out == NULL)
        return sealed->err;
    env_random(env, out, PART_NONCE);
    e = payload_key(file_key, out, key);
    if (e == ERR_OK)
        e = whole(true, key, plain, out + PART_NONCE);
    crypto_wipe(key, sizeof(key));
    if (e != ERR_OK) {
        sealed->len = before;
        return e;
    }
    *sha256_ret = sha256(span_of(out, sealed->len - before));
    return ERR_OK;
}

enum err part_open(const struct secret *file_key, struct span sealed, struct buf *plain)
{
    uint8_t key[AEAD_KEY];
    size_t before = plain->len;
    uint64_t len;
    uint8_t *out;
    enum err e;

    if (part_plain_len(sealed.len, &len) != ERR_OK)
        return ERR_BAD_DIGEST;
    if (len > LIMIT_PART)
        return ERR_TOO_LARGE;
    out = buf_extend(plain, (size_t)len);
    if (out == NULL && plain->err != ERR_OK)
        return plain->err;
    e = payload_key(file_key, sealed.data, key);
    if (e == ERR_OK)
        e = whole(false, key, span_of(sealed.data + PART_NONCE, sealed.len - PART_NONCE), out);
    crypto_wipe(key, sizeof(key));
    if (e != ERR_OK) {
        if (len > 0)
            crypto_wipe(out, (size_t)len);
        plain->len = before;
    }
    return e;
}

/* Padme (Nikitin et al., PETS 2019, algorithm 1): keeps as many leading bits of the length as its
 * exponent has, so that the length tells O(log log L) bits. */
static size_t padme(size_t len)
{
    unsigned exponent = 63 - (unsigned)__builtin_clzll(len);
    unsigned kept = 64 - (unsigned)__builtin_clzll(exponent);
    size_t mask = ((size_t)1 << (exponent - kept)) - 1;

    return (len + mask) & ~mask;
}

#define BODY_PREFIX 4

size_t body_padded_len(size_t content)
{
    size_t len = content + BODY_PREFIX;

    assert(content <= LIMIT_BODY);
    return padme(len < LIMIT_BODY_PAD_MIN ? LIMIT_BODY_PAD_MIN : len);
}

bool body_is_padded_len(uint64_t padded)
{
    return padded >= LIMIT_BODY_PAD_MIN && padded <= body_padded_len(LIMIT_BODY) &&
           padme((size_t)padded) == padded;
}

void body_pad(struct span content, struct buf *out)
{
    size_t padding;
    uint8_t *zeros;

    if (content.len > LIMIT_BODY) {
        if (out->err == ERR_OK)
            out->err = ERR_TOO_LARGE;
        return;
    }
    padding = body_padded_len(content.len) - BODY_PREFIX - content.len;
    buf_put_u32be(out, (uint32_t)content.len);
    buf_put(out, content);
    zeros = buf_extend(out, padding);
    if (zeros != NULL)
        memset(zeros, 0, padding);
}

enum err body_unpad(struct span padded, struct span *ret)
{
    struct rd r = rd_of(padded);
    size_t len = rd_u32be(&r);
    struct span content;
    uint8_t sum = 0;

    if (len > LIMIT_BODY)
        return ERR_NON_CANONICAL;
    content = rd_bytes(&r, len);
    if (r.err != ERR_OK || padded.len != body_padded_len(len))
        return ERR_NON_CANONICAL;
    for (const uint8_t *p = r.at; p < r.end; p++)
        sum |= *p;
    if (sum != 0)
        return ERR_NON_CANONICAL;
    *ret = content;
    return ERR_OK;
}
