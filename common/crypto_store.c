/* What protects stored things: pass phrases and checksums of records. */
#include "common/crypto.h"
#include "common/limits.h"

#include <assert.h>
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>

#define ARGON2_OUT_MIN ((size_t)16)
#define ARGON2_OUT_MAX ((size_t)64)

static_assert(crypto_pwhash_argon2id_SALTBYTES == ARGON2_SALT, "Argon2id salt");
static_assert(crypto_shorthash_siphash24_KEYBYTES == CHECKSUM_KEY, "SipHash key");
static_assert(crypto_shorthash_siphash24_BYTES == 8, "SipHash-2-4-64");

enum err argon2id(struct span pass, const uint8_t salt[ARGON2_SALT], uint64_t ops, size_t mem,
                  uint8_t *out, size_t len)
{
    if (ops < crypto_pwhash_argon2id_OPSLIMIT_MIN || ops > LIMIT_ARGON2_OPS ||
        mem < crypto_pwhash_argon2id_MEMLIMIT_MIN || mem > LIMIT_ARGON2_MEM ||
        len < ARGON2_OUT_MIN || len > ARGON2_OUT_MAX || pass.len > LIMIT_SECRET)
        return ERR_TOO_LARGE;
    errno = 0;
    if (crypto_pwhash_argon2id(out, len, pass.len == 0 ? "" : (const char *)pass.data, pass.len,
                               salt, ops, mem, crypto_pwhash_argon2id_ALG_ARGON2ID13) != 0)
        return errno == ENOMEM ? ERR_NO_MEMORY : ERR_CRYPTO;
    return ERR_OK;
}

static uint64_t siphash(const uint8_t key[CHECKSUM_KEY], struct span s)
{
    uint8_t b[8];
    uint64_t v = 0;

    if (crypto_shorthash_siphash24(b, s.data, s.len, key) != 0)
        abort();
    for (size_t i = 0; i < sizeof(b); i++)
        v |= (uint64_t)b[i] << (8 * i);
    return v;
}

static void put_u64le(uint8_t *out, uint64_t v)
{
    for (size_t i = 0; i < 8; i++)
        out[i] = (uint8_t)(v >> (8 * i));
}

uint64_t checksum64(const uint8_t key[CHECKSUM_KEY], const struct span *parts, size_t n)
{
    uint8_t sums[CHECKSUM_PARTS * 8];

    assert(n <= CHECKSUM_PARTS);
    if (n == 1)
        return siphash(key, parts[0]);
    for (size_t i = 0; i < n; i++)
        put_u64le(sums + 8 * i, siphash(key, parts[i]));
    return siphash(key, span_of(sums, 8 * n));
}
