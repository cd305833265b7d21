#include "agent/vault.h"

#include "common/limits.h"

#include <stdlib.h>
#include <string.h>

#define VAULT_KEY 32

/* One key for each use: a sealed summary can never pass for a sealed file key. */
struct vault {
    struct secret *content;
    struct secret *keys;
    struct secret *checksum;
    struct secret *tokens;
};

static enum err derive(const struct secret *storage, const char *use, size_t len,
                       struct secret **ret)
{
    struct secret *key;
    enum err e = secret_new(len, &key);

    if (e != ERR_OK)
        return e;
    e = hkdf(secret_bytes(storage), span_of(NULL, 0), span_str(use), secret_data(key), len);
    if (e != ERR_OK) {
        secret_free(key);
        return e;
    }
    *ret = key;
    return ERR_OK;
}

enum err vault_new(const struct secret *storage, struct vault **ret)
{
    struct vault *v;
    enum err e;

    if (secret_len(storage) != VAULT_KEY)
        return ERR_WRONG_USAGE;
    v = calloc(1, sizeof *v);
    if (v == NULL)
        return ERR_NO_MEMORY;
    e = derive(storage, "sealpost-vault-content-v1", VAULT_KEY, &v->content);
    if (e == ERR_OK)
        e = derive(storage, "sealpost-vault-keys-v1", VAULT_KEY, &v->keys);
    if (e == ERR_OK)
        e = derive(storage, "sealpost-vault-checksum-v1", CHECKSUM_KEY, &v->checksum);
    if (e == ERR_OK)
        e = derive(storage, "sealpost-vault-tokens-v1", VAULT_KEY, &v->tokens);
    if (e != ERR_OK) {
        vault_free(v);
        return e;
    }
    *ret = v;
    return ERR_OK;
}

void vault_free(struct vault *v)
{
    if (v == NULL)
        return;
    secret_free(v->content);
    secret_free(v->keys);
    secret_free(v->checksum);
    secret_free(v->tokens);
    free(v);
}

const uint8_t *vault_checksum_key(const struct vault *v)
{
    return secret_bytes(v->checksum).data;
}

struct digest vault_token(const struct vault *v, struct span text)
{
    return hmac_sha256(secret_bytes(v->tokens), text);
}

static enum err seal(const struct secret *key, const struct env *env, struct span name,
                     struct span plain, struct buf *sealed)
{
    size_t before = sealed->len;
    uint8_t *out = buf_extend(sealed, plain.len + VAULT_OVERHEAD);
    enum err e;

    if (out == NULL)
        return sealed->err;
    env_random(env, out, XCHACHA_NONCE);
    e = xchacha20poly1305_seal(secret_bytes(key).data, out, name, plain, out + XCHACHA_NONCE);
    if (e != ERR_OK)
        sealed->len = before;
    return e;
}

/* Writes sealed.len - VAULT_OVERHEAD bytes to `out`. */
static enum err open_sealed(const struct secret *key, struct span name, struct span sealed,
                            uint8_t *out)
{
    struct span ct = span_of(sealed.data + XCHACHA_NONCE, sealed.len - XCHACHA_NONCE);
    enum err e = xchacha20poly1305_open(secret_bytes(key).data, sealed.data, name, ct, out);

    return e == ERR_OK || e == ERR_NO_MEMORY ? e : ERR_CORRUPT;
}

enum err vault_seal(const struct vault *v, const struct env *env, struct span name,
                    struct span plain, struct buf *sealed)
{
    return seal(v->content, env, name, plain, sealed);
}

enum err vault_open(const struct vault *v, struct span name, struct span sealed, struct buf *plain)
{
    size_t before = plain->len;
    uint8_t *out;
    enum err e;

    if (sealed.len < VAULT_OVERHEAD)
        return ERR_CORRUPT;
    out = buf_extend(plain, sealed.len - VAULT_OVERHEAD);
    if (out == NULL)
        return plain->err;
    e = open_sealed(v->content, name, sealed, out);
    if (e != ERR_OK)
        plain->len = before;
    return e;
}

enum err vault_seal_key(const struct vault *v, const struct env *env, struct span name,
                        const struct secret *key, struct buf *sealed)
{
    return seal(v->keys, env, name, secret_bytes(key), sealed);
}

enum err vault_open_key(const struct vault *v, struct span name, struct span sealed,
                        struct secret **ret)
{
    struct secret *key;
    enum err e;

    if (sealed.len <= VAULT_OVERHEAD)
        return ERR_CORRUPT;
    e = secret_new(sealed.len - VAULT_OVERHEAD, &key);
    if (e != ERR_OK)
        return e == ERR_TOO_LARGE ? ERR_CORRUPT : e;
    e = open_sealed(v->keys, name, sealed, secret_data(key));
    if (e != ERR_OK) {
        secret_free(key);
        return e;
    }
    *ret = key;
    return ERR_OK;
}
