#include "common/crypto.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

#define EXPANDED ((size_t)64)

static_assert(crypto_sign_SECRETKEYBYTES == EXPANDED, "libsodium's key is seed || public");
static_assert(crypto_sign_SEEDBYTES == ED25519_SEED, "a seed is the RFC 8032 secret key");
static_assert(crypto_sign_BYTES == ED25519_SIG, "signatures are R || S");
static_assert(crypto_scalarmult_BYTES == X25519_KEY, "shared secrets are as long as keys");

static const uint8_t *key_bytes(const struct secret *key)
{
    struct span s = secret_bytes(key);

    assert(s.len == ED25519_SEED || s.len == EXPANDED);
    return s.data;
}

static bool is_expanded(const struct secret *key)
{
    return secret_len(key) == EXPANDED;
}

enum err ed25519_public_of(const struct secret *key, struct ed25519_public *ret)
{
    const uint8_t *bytes = key_bytes(key);
    uint8_t expanded[EXPANDED];
    struct ed25519_public public;
    int failed;

    if (is_expanded(key)) {
        memcpy(ret->b, bytes + ED25519_SEED, sizeof(ret->b));
        return ERR_OK;
    }
    failed = crypto_sign_seed_keypair(public.b, expanded, bytes);
    crypto_wipe(expanded, sizeof(expanded));
    if (failed != 0)
        return ERR_CRYPTO;
    *ret = public;
    return ERR_OK;
}

enum err ed25519_expand(const struct secret *key, struct secret **ret)
{
    struct ed25519_public public;
    struct secret *s;
    enum err e = ed25519_public_of(key, &public);

    if (e != ERR_OK)
        return e;
    e = secret_new(EXPANDED, &s);
    if (e != ERR_OK)
        return e;
    memcpy(secret_data(s), key_bytes(key), ED25519_SEED);
    memcpy(secret_data(s) + ED25519_SEED, public.b, sizeof(public.b));
    *ret = s;
    return ERR_OK;
}

enum err ed25519_sign(const struct secret *key, struct span message, uint8_t sig[ED25519_SIG])
{
    const uint8_t *bytes = key_bytes(key);
    uint8_t expanded[EXPANDED];
    struct ed25519_public public;
    uint8_t made[ED25519_SIG];
    int failed;

    if (is_expanded(key)) {
        failed = crypto_sign_detached(made, NULL, message.data, message.len, bytes);
    } else {
        failed = crypto_sign_seed_keypair(public.b, expanded, bytes);
        if (failed == 0)
            failed = crypto_sign_detached(made, NULL, message.data, message.len, expanded);
        crypto_wipe(expanded, sizeof(expanded));
    }
    if (failed != 0)
        return ERR_CRYPTO;
    memcpy(sig, made, sizeof(made));
    return ERR_OK;
}

enum err ed25519_verify(const struct ed25519_public *key, struct span message, struct span sig)
{
    if (sig.len != ED25519_SIG)
        return ERR_BAD_SIGNATURE;
    if (crypto_sign_verify_detached(sig.data, message.data, message.len, key->b) != 0)
        return ERR_BAD_SIGNATURE;
    return ERR_OK;
}

enum err x25519_public_of(const struct secret *key, uint8_t ret[X25519_KEY])
{
    const uint8_t *bytes = key_bytes(key);
    uint8_t public[X25519_KEY];

    if (is_expanded(key)) {
        memcpy(ret, bytes + X25519_KEY, X25519_KEY);
        return ERR_OK;
    }
    if (crypto_scalarmult_base(public, bytes) != 0)
        return ERR_CRYPTO;
    memcpy(ret, public, sizeof(public));
    return ERR_OK;
}

enum err x25519_expand(const struct secret *key, struct secret **ret)
{
    uint8_t public[X25519_KEY];
    struct secret *s;
    enum err e = x25519_public_of(key, public);

    if (e != ERR_OK)
        return e;
    e = secret_new(EXPANDED, &s);
    if (e != ERR_OK)
        return e;
    memcpy(secret_data(s), key_bytes(key), X25519_KEY);
    memcpy(secret_data(s) + X25519_KEY, public, sizeof(public));
    *ret = s;
    return ERR_OK;
}

enum err x25519_shared(const struct secret *key, const uint8_t theirs[X25519_KEY],
                       uint8_t ret[X25519_KEY])
{
    if (crypto_scalarmult(ret, key_bytes(key), theirs) != 0) {
        memset(ret, 0, X25519_KEY);
        return ERR_MALFORMED;
    }
    return ERR_OK;
}
