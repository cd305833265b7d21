#include "common/crypto.h"

#include <assert.h>
#include <openssl/evp.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

/* Below this length libsodium without a context is faster than making an OpenSSL context, above it
 * OpenSSL reaches twice its rate. */
#define SHORT ((size_t)2048)

static_assert(crypto_aead_chacha20poly1305_ietf_KEYBYTES == AEAD_KEY, "RFC 8439 key");
static_assert(crypto_aead_chacha20poly1305_ietf_NPUBBYTES == AEAD_NONCE, "RFC 8439 nonce");
static_assert(crypto_aead_chacha20poly1305_ietf_ABYTES == AEAD_TAG, "RFC 8439 tag");
static_assert(crypto_aead_xchacha20poly1305_ietf_NPUBBYTES == XCHACHA_NONCE, "XChaCha nonce");

/* The OpenSSL context, which holds a second copy of the key on the heap and wipes it when freed, is
 * made by the first message that is long enough. */
struct aead {
    struct secret *key;
    EVP_CIPHER_CTX *bulk;
};

enum err aead_new(const uint8_t key[AEAD_KEY], struct aead **ret)
{
    struct aead *a = calloc(1, sizeof(*a));
    enum err e;

    if (a == NULL)
        return ERR_NO_MEMORY;
    e = secret_copy(span_of(key, AEAD_KEY), &a->key);
    if (e != ERR_OK) {
        free(a);
        return e;
    }
    *ret = a;
    return ERR_OK;
}

void aead_free(struct aead *a)
{
    if (a == NULL)
        return;
    secret_free(a->key);
    EVP_CIPHER_CTX_free(a->bulk);
    free(a);
}

static enum err bulk_ready(struct aead *a)
{
    EVP_CIPHER_CTX *c;

    if (a->bulk != NULL)
        return ERR_OK;
    c = EVP_CIPHER_CTX_new();
    if (c == NULL)
        return ERR_NO_MEMORY;
    if (EVP_CipherInit_ex(c, EVP_chacha20_poly1305(), NULL, secret_bytes(a->key).data, NULL, 1) !=
        1) {
        EVP_CIPHER_CTX_free(c);
        return ERR_CRYPTO;
    }
    a->bulk = c;
    return ERR_OK;
}

/* Everything but the tag, in either direction. */
static bool bulk_run(EVP_CIPHER_CTX *c, const uint8_t *nonce, struct span aad, struct span in,
                     uint8_t *out, bool seal)
{
    int n = 0;

    if (EVP_CipherInit_ex(c, NULL, NULL, NULL, nonce, seal ? 1 : 0) != 1)
        return false;
    if (aad.len > 0 && EVP_CipherUpdate(c, NULL, &n, aad.data, (int)aad.len) != 1)
        return false;
    if (in.len == 0)
        return true;
    return EVP_CipherUpdate(c, out, &n, in.data, (int)in.len) == 1 && (size_t)n == in.len;
}

static bool bulk_seal(EVP_CIPHER_CTX *c, const uint8_t *nonce, struct span aad, struct span in,
                      uint8_t *out)
{
    uint8_t none[EVP_MAX_BLOCK_LENGTH];
    int n = 0;

    return bulk_run(c, nonce, aad, in, out, true) && EVP_CipherFinal_ex(c, none, &n) == 1 &&
           n == 0 &&
           EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, (int)AEAD_TAG, out + in.len) == 1;
}

static bool bulk_open(EVP_CIPHER_CTX *c, const uint8_t *nonce, struct span aad, struct span in,
                      const uint8_t *tag_in, uint8_t *out)
{
    uint8_t none[EVP_MAX_BLOCK_LENGTH];
    uint8_t tag[AEAD_TAG];
    int n = 0;

    memcpy(tag, tag_in, sizeof(tag));
    return bulk_run(c, nonce, aad, in, out, false) &&
           EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, (int)sizeof(tag), tag) == 1 &&
           EVP_CipherFinal_ex(c, none, &n) == 1 && n == 0;
}

enum err aead_seal(struct aead *a, const uint8_t nonce[AEAD_NONCE], struct span aad, struct span in,
                   uint8_t *out)
{
    enum err e;

    if (in.len > AEAD_MAX || aad.len > AEAD_MAX)
        return ERR_TOO_LARGE;
    if (a->bulk == NULL && in.len < SHORT)
        return chacha20poly1305_seal(secret_bytes(a->key).data, nonce, aad, in, out);
    e = bulk_ready(a);
    if (e != ERR_OK)
        return e;
    return bulk_seal(a->bulk, nonce, aad, in, out) ? ERR_OK : ERR_CRYPTO;
}

enum err aead_open(struct aead *a, const uint8_t nonce[AEAD_NONCE], struct span aad, struct span in,
                   uint8_t *out)
{
    struct span body;
    enum err e;

    if (in.len > AEAD_MAX + AEAD_TAG || aad.len > AEAD_MAX)
        return ERR_TOO_LARGE;
    if (in.len < AEAD_TAG)
        return ERR_BAD_DIGEST;
    if (a->bulk == NULL && in.len < SHORT)
        return chacha20poly1305_open(secret_bytes(a->key).data, nonce, aad, in, out);
    e = bulk_ready(a);
    if (e != ERR_OK)
        return e;
    body = span_of(in.data, in.len - AEAD_TAG);
    if (bulk_open(a->bulk, nonce, aad, body, in.data + body.len, out))
        return ERR_OK;
    crypto_wipe(out, body.len);
    return ERR_BAD_DIGEST;
}

enum err chacha20poly1305_seal(const uint8_t key[AEAD_KEY], const uint8_t nonce[AEAD_NONCE],
                               struct span aad, struct span in, uint8_t *out)
{
    if (in.len > AEAD_MAX || aad.len > AEAD_MAX)
        return ERR_TOO_LARGE;
    if (crypto_aead_chacha20poly1305_ietf_encrypt(out, NULL, in.data, in.len, aad.data, aad.len,
                                                  NULL, nonce, key) != 0)
        return ERR_CRYPTO;
    return ERR_OK;
}

enum err chacha20poly1305_open(const uint8_t key[AEAD_KEY], const uint8_t nonce[AEAD_NONCE],
                               struct span aad, struct span in, uint8_t *out)
{
    if (in.len > AEAD_MAX + AEAD_TAG || aad.len > AEAD_MAX)
        return ERR_TOO_LARGE;
    if (in.len < AEAD_TAG)
        return ERR_BAD_DIGEST;
    if (crypto_aead_chacha20poly1305_ietf_decrypt(out, NULL, NULL, in.data, in.len, aad.data,
                                                  aad.len, nonce, key) != 0) {
        crypto_wipe(out, in.len - AEAD_TAG);
        return ERR_BAD_DIGEST;
    }
    return ERR_OK;
}

enum err xchacha20poly1305_seal(const uint8_t key[AEAD_KEY], const uint8_t nonce[XCHACHA_NONCE],
                                struct span aad, struct span in, uint8_t *out)
{
    if (in.len > AEAD_MAX || aad.len > AEAD_MAX)
        return ERR_TOO_LARGE;
    if (crypto_aead_xchacha20poly1305_ietf_encrypt(out, NULL, in.data, in.len, aad.data, aad.len,
                                                   NULL, nonce, key) != 0)
        return ERR_CRYPTO;
    return ERR_OK;
}

enum err xchacha20poly1305_open(const uint8_t key[AEAD_KEY], const uint8_t nonce[XCHACHA_NONCE],
                                struct span aad, struct span in, uint8_t *out)
{
    if (in.len > AEAD_MAX + AEAD_TAG || aad.len > AEAD_MAX)
        return ERR_TOO_LARGE;
    if (in.len < AEAD_TAG)
        return ERR_BAD_DIGEST;
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(out, NULL, NULL, in.data, in.len, aad.data,
                                                   aad.len, nonce, key) != 0) {
        crypto_wipe(out, in.len - AEAD_TAG);
        return ERR_BAD_DIGEST;
    }
    return ERR_OK;
}
