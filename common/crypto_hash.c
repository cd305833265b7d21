/* The low-level SHA-256 of OpenSSL: its state can be embedded, it cannot fail, and on the 64 bytes
 * of a Merkle node it takes 0.10 us against 0.12 us of a reused EVP context, 0.40 us of SHA256()
 * and 0.39 us of libsodium. OpenSSL 3 marks it deprecated in favour of EVP but keeps it. HMAC is
 * built on it here because OpenSSL's takes 1.1 us and libsodium's 0.85 us for what takes 0.35 us
 * so. */
#define OPENSSL_SUPPRESS_DEPRECATED

#include "common/crypto.h"

#include <assert.h>
#include <openssl/sha.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK ((size_t)64)

static_assert(sizeof(SHA256_CTX) <= sizeof(struct sha256), "struct sha256 holds the state");
static_assert(_Alignof(SHA256_CTX) <= _Alignof(struct sha256), "struct sha256 is aligned for it");

static SHA256_CTX *state_of(struct sha256 *h)
{
    return (SHA256_CTX *)(void *)h->state;
}

/* A hash that did not run leaves nothing safe to do. */
static void must(int ok)
{
    if (ok != 1)
        abort();
}

bool crypto_equal(const void *a, const void *b, size_t len)
{
    return len == 0 || sodium_memcmp(a, b, len) == 0;
}

bool digest_equal(const struct digest *a, const struct digest *b)
{
    return sodium_memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

void sha256_init(struct sha256 *h)
{
    must(SHA256_Init(state_of(h)));
}

void sha256_update(struct sha256 *h, struct span bytes)
{
    if (bytes.len > 0)
        must(SHA256_Update(state_of(h), bytes.data, bytes.len));
}

struct digest sha256_final(struct sha256 *h)
{
    struct digest d;

    must(SHA256_Final(d.b, state_of(h)));
    return d;
}

void sha256_fini(struct sha256 *h)
{
    if (h != NULL)
        crypto_wipe(h, sizeof(*h));
}

struct digest sha256_parts(const struct span *parts, size_t n)
{
    struct sha256 h;

    sha256_init(&h);
    for (size_t i = 0; i < n; i++)
        sha256_update(&h, parts[i]);
    return sha256_final(&h);
}

struct digest sha256(struct span bytes)
{
    return sha256_parts(&bytes, 1);
}

static void hash_padded_key(struct sha256 *h, const uint8_t key[BLOCK], uint8_t pad)
{
    uint8_t block[BLOCK];

    for (size_t i = 0; i < BLOCK; i++)
        block[i] = key[i] ^ pad;
    sha256_init(h);
    sha256_update(h, span_of(block, sizeof(block)));
    crypto_wipe(block, sizeof(block));
}

struct digest hmac_sha256_parts(struct span key, const struct span *parts, size_t n)
{
    uint8_t padded[BLOCK] = {0};
    struct digest d;
    struct sha256 h;

    if (key.len > BLOCK) {
        d = sha256(key);
        memcpy(padded, d.b, sizeof(d.b));
    } else if (key.len > 0) {
        memcpy(padded, key.data, key.len);
    }
    hash_padded_key(&h, padded, 0x36);
    for (size_t i = 0; i < n; i++)
        sha256_update(&h, parts[i]);
    d = sha256_final(&h);
    hash_padded_key(&h, padded, 0x5c);
    sha256_update(&h, digest_span(&d));
    d = sha256_final(&h);
    crypto_wipe(padded, sizeof(padded));
    sha256_fini(&h);
    return d;
}

struct digest hmac_sha256(struct span key, struct span message)
{
    return hmac_sha256_parts(key, &message, 1);
}

struct digest hkdf_extract(struct span salt, struct span ikm)
{
    return hmac_sha256(salt, ikm);
}

enum err hkdf_expand(struct span prk, struct span info, uint8_t *out, size_t len)
{
    struct digest t;
    size_t t_len = 0;
    uint8_t counter = 1;

    if (len > HKDF_MAX)
        return ERR_TOO_LARGE;
    for (size_t done = 0; done < len; done += t_len, counter++) {
        const struct span parts[3] = {span_of(t.b, t_len), info, span_of(&counter, 1)};
        size_t left = len - done;

        t = hmac_sha256_parts(prk, parts, 3);
        t_len = sizeof(t.b);
        memcpy(out + done, t.b, left < t_len ? left : t_len);
    }
    crypto_wipe(&t, sizeof(t));
    return ERR_OK;
}

enum err hkdf(struct span ikm, struct span salt, struct span info, uint8_t *out, size_t len)
{
    struct digest prk = hkdf_extract(salt, ikm);
    enum err e = hkdf_expand(digest_span(&prk), info, out, len);

    crypto_wipe(&prk, sizeof(prk));
    return e;
}
