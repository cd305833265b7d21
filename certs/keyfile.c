#include "certs/keyfile.h"

#include "common/limits.h"

#include <string.h>

#define MAGIC "sealpkey"
#define MAGIC_LEN 8
#define VERSION 0
#define OWNER 80
#define COMMIT 32
#define HEADER 214
#define KEY_LEN 32
#define MEMORY_KIB_MIN 8

/* The header as read, before anything of it is believed. */
struct header {
    struct key_info info;
    struct keyfile_cost cost;
    struct span salt;
    struct span nonce;
    struct span commit;
    struct span ct;
};

struct derived {
    uint8_t encrypt[AEAD_KEY];
    uint8_t commit[COMMIT];
};

static bool purpose_known(uint16_t purpose)
{
    return purpose >= KEY_ROOT && purpose <= KEY_CA;
}

static enum err derive(struct span passphrase, struct span salt, const struct keyfile_cost *cost,
                       struct derived *ret)
{
    uint8_t master[KEY_LEN];
    enum err e = argon2id(passphrase, salt.data, cost->passes, (size_t)cost->memory_kib * LIMIT_KIB,
                          master, sizeof(master));
    if (e != ERR_OK)
        return e;
    struct span prk = span_of(master, sizeof(master));
    e = hkdf_expand(prk, span_str("sealpost-key-file-v0 encrypt"), ret->encrypt,
                    sizeof(ret->encrypt));
    if (e == ERR_OK)
        e = hkdf_expand(prk, span_str("sealpost-key-file-v0 commit"), ret->commit,
                        sizeof(ret->commit));
    crypto_wipe(master, sizeof(master));
    return e;
}

static void put_header(const struct key_info *info, const struct keyfile_cost *cost,
                       struct span salt, struct span nonce, struct span commit, size_t ct_len,
                       struct buf *out)
{
    uint8_t owner[OWNER] = {0};
    memcpy(owner, info->owner, strlen(info->owner));
    buf_put_str(out, MAGIC);
    buf_put_u16be(out, VERSION);
    buf_put_u16be(out, (uint16_t)info->purpose);
    buf_put_u64be(out, info->created_ms);
    buf_put(out, span_of(owner, sizeof(owner)));
    buf_put(out, span_of(info->public_key, sizeof(info->public_key)));
    buf_put_u32be(out, cost->passes);
    buf_put_u32be(out, cost->memory_kib);
    buf_put(out, salt);
    buf_put(out, nonce);
    buf_put(out, commit);
    buf_put_u16be(out, (uint16_t)ct_len);
}

enum err keyfile_seal(const struct env *env, const struct key_info *info, const struct secret *key,
                      struct span passphrase, const struct keyfile_cost *cost, struct buf *out)
{
    size_t ct_len = secret_len(key) + AEAD_TAG;
    if (memchr(info->owner, 0, sizeof(info->owner)) == NULL || HEADER + ct_len > LIMIT_KEY_FILE)
        return ERR_TOO_LARGE;
    uint8_t salt[ARGON2_SALT];
    uint8_t nonce[XCHACHA_NONCE];
    env_random(env, salt, sizeof(salt));
    env_random(env, nonce, sizeof(nonce));

    struct derived keys;
    enum err e = derive(passphrase, span_of(salt, sizeof(salt)), cost, &keys);
    if (e != ERR_OK)
        return e;
    struct buf file;
    buf_init(&file, LIMIT_KEY_FILE);
    put_header(info, cost, span_of(salt, sizeof(salt)), span_of(nonce, sizeof(nonce)),
               span_of(keys.commit, sizeof(keys.commit)), ct_len, &file);
    uint8_t *ct = buf_extend(&file, ct_len);
    e = file.err;
    if (e == ERR_OK)
        e = xchacha20poly1305_seal(keys.encrypt, nonce, span_of(file.data, HEADER),
                                   secret_bytes(key), ct);
    crypto_wipe(&keys, sizeof(keys));
    if (e == ERR_OK) {
        buf_put(out, buf_span(&file));
        e = out->err;
    }
    buf_fini(&file);
    return e;
}

/* The owner is a C string in its field: text, then zeros alone. */
static bool owner_read(struct span field, char out[OWNER])
{
    const uint8_t *end = memchr(field.data, 0, field.len);
    if (end == NULL)
        return false;
    for (const uint8_t *p = end; p < field.data + field.len; p++) {
        if (*p != 0)
            return false;
    }
    memcpy(out, field.data, field.len);
    return span_is_utf8(span_str(out));
}

static enum err header_read(struct span bytes, struct header *ret)
{
    struct rd r = rd_of(bytes);
    struct header h = {0};
    struct span magic = rd_bytes(&r, MAGIC_LEN);
    if (!span_equal(magic, span_str(MAGIC)))
        return ERR_CORRUPT;
    if (rd_u16be(&r) != VERSION)
        return r.err != ERR_OK ? ERR_CORRUPT : ERR_FORMAT;
    uint16_t purpose = rd_u16be(&r);
    h.info.created_ms = rd_u64be(&r);
    struct span owner = rd_bytes(&r, OWNER);
    struct span public_key = rd_bytes(&r, sizeof(h.info.public_key));
    h.cost.passes = rd_u32be(&r);
    h.cost.memory_kib = rd_u32be(&r);
    h.salt = rd_bytes(&r, ARGON2_SALT);
    h.nonce = rd_bytes(&r, XCHACHA_NONCE);
    h.commit = rd_bytes(&r, COMMIT);
    h.ct = rd_bytes(&r, rd_u16be(&r));
    if (rd_end(&r) != ERR_OK || !purpose_known(purpose) || !owner_read(owner, h.info.owner))
        return ERR_CORRUPT;
    /* Bounded before they are used: a file must not make us spend an hour or all memory. */
    if (h.cost.passes < 1 || h.cost.passes > LIMIT_ARGON2_OPS ||
        h.cost.memory_kib < MEMORY_KIB_MIN || h.cost.memory_kib > LIMIT_ARGON2_MEM / LIMIT_KIB)
        return ERR_CORRUPT;
    if (h.ct.len <= AEAD_TAG || bytes.len > LIMIT_KEY_FILE)
        return ERR_CORRUPT;
    h.info.purpose = (enum key_purpose)purpose;
    memcpy(h.info.public_key, public_key.data, public_key.len);
    *ret = h;
    return ERR_OK;
}

enum err keyfile_peek(struct span bytes, struct key_info *ret)
{
    struct header h;
    enum err e = header_read(bytes, &h);
    if (e == ERR_OK)
        *ret = h.info;
    return e;
}

enum err keyfile_public(enum key_purpose purpose, const struct secret *key, uint8_t ret[32])
{
    memset(ret, 0, KEY_LEN);
    if (purpose == KEY_CA)
        return ERR_OK;
    if (secret_len(key) != KEY_LEN)
        return ERR_CORRUPT;
    if (purpose == KEY_STORAGE)
        return ERR_OK;
    if (purpose == KEY_ENCRYPT || purpose == KEY_TRANSPORT)
        return x25519_public_of(key, ret);
    struct ed25519_public pub;
    enum err e = ed25519_public_of(key, &pub);
    if (e == ERR_OK)
        memcpy(ret, pub.b, sizeof(pub.b));
    return e;
}

static enum err decrypt(const struct header *h, struct span bytes, const uint8_t key[AEAD_KEY],
                        struct secret **ret)
{
    struct secret *plain = NULL;
    uint8_t pub[KEY_LEN];
    enum err e = secret_new(h->ct.len - AEAD_TAG, &plain);
    if (e != ERR_OK)
        return e;
    if (xchacha20poly1305_open(key, h->nonce.data, span_of(bytes.data, HEADER), h->ct,
                               secret_data(plain)) != ERR_OK) {
        e = ERR_CORRUPT;
        goto out;
    }
    e = keyfile_public(h->info.purpose, plain, pub);
    if (e == ERR_OK && memcmp(pub, h->info.public_key, sizeof(pub)) != 0)
        e = ERR_CORRUPT;
    if (e != ERR_OK)
        goto out;
    *ret = plain;
    plain = NULL;
out:
    secret_free(plain);
    return e;
}

enum err keyfile_open(struct span bytes, struct span passphrase, struct key_info *info,
                      struct secret **ret)
{
    struct header h;
    enum err e = header_read(bytes, &h);
    if (e != ERR_OK)
        return e;
    struct derived keys;
    e = derive(passphrase, h.salt, &h.cost, &keys);
    if (e != ERR_OK)
        return e;
    struct secret *key = NULL;
    if (!crypto_equal(keys.commit, h.commit.data, COMMIT))
        e = ERR_WRONG_PASSPHRASE;
    else
        e = decrypt(&h, bytes, keys.encrypt, &key);
    crypto_wipe(&keys, sizeof(keys));
    if (e == ERR_OK) {
        *info = h.info;
        *ret = key;
    }
    return e;
}
