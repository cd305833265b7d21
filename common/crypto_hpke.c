#include "common/hpke.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define MODE_BASE 0
#define IKM_MIN ((size_t)32)

/* What the key schedule gives (RFC 9180 5.1): the AEAD key, then the base nonce. */
#define KEYS (AEAD_KEY + AEAD_NONCE)

struct hpke_sender {
    struct secret *keys;
    uint8_t enc[HPKE_ENC];
    uint64_t next;
    uint64_t max;
};

struct hpke_receiver {
    struct secret *keys;
};

static const uint8_t kem_suite[5] = {'K', 'E', 'M', 0x00, 0x20};
static const uint8_t hpke_suite[10] = {'H', 'P', 'K', 'E', 0x00, 0x20, 0x00, 0x01, 0x00, 0x03};

static const struct span kem_id = {.data = kem_suite, .len = sizeof(kem_suite)};
static const struct span hpke_id = {.data = hpke_suite, .len = sizeof(hpke_suite)};
static const struct span nothing = {.data = NULL, .len = 0};

static struct span text(const char *s)
{
    return span_of(s, strlen(s));
}

/* RFC 9180 4. */
static struct digest labeled_extract(struct span suite, struct span salt, const char *label,
                                     struct span ikm)
{
    const struct span parts[4] = {text("HPKE-v1"), suite, text(label), ikm};

    return hmac_sha256_parts(salt, parts, 4);
}

/* RFC 9180 4, for outputs of one hash block at most: all that this suite asks for. */
static void labeled_expand(struct span suite, const struct digest *prk, const char *label,
                           struct span info, uint8_t *out, size_t len)
{
    const uint8_t length[2] = {(uint8_t)(len >> 8), (uint8_t)len};
    const uint8_t counter = 1;
    const struct span parts[6] = {span_of(length, 2),  text("HPKE-v1"), suite, text(label), info,
                                  span_of(&counter, 1)};
    struct digest t;

    assert(len <= sizeof(t.b));
    t = hmac_sha256_parts(digest_span(prk), parts, 6);
    memcpy(out, t.b, len);
    crypto_wipe(&t, sizeof(t));
}

enum err hpke_derive_key(struct span ikm, struct secret **ret)
{
    struct secret *seed = NULL;
    struct digest prk;
    enum err e;

    if (ikm.len < IKM_MIN)
        return ERR_MALFORMED;
    e = secret_new(X25519_KEY, &seed);
    if (e != ERR_OK)
        return e;
    prk = labeled_extract(kem_id, nothing, "dkp_prk", ikm);
    labeled_expand(kem_id, &prk, "sk", nothing, secret_data(seed), X25519_KEY);
    crypto_wipe(&prk, sizeof(prk));
    e = x25519_expand(seed, ret);
    secret_free(seed);
    return e;
}

/* ExtractAndExpand (RFC 9180 4.1) and KeySchedule (5.1) with mode_base, where PSK and its id are
 * empty. Wipes `dh`. */
static enum err key_schedule(uint8_t dh[X25519_KEY], const uint8_t enc[HPKE_ENC],
                             const uint8_t public_key[HPKE_PUBLIC], struct span info,
                             struct secret **ret)
{
    uint8_t context[1 + 2 * sizeof(struct digest)] = {MODE_BASE};
    uint8_t kem_context[HPKE_ENC + HPKE_PUBLIC];
    struct digest prk, shared, hash;
    struct secret *keys;
    enum err e = secret_new(KEYS, &keys);

    if (e != ERR_OK) {
        crypto_wipe(dh, X25519_KEY);
        return e;
    }
    memcpy(kem_context, enc, HPKE_ENC);
    memcpy(kem_context + HPKE_ENC, public_key, HPKE_PUBLIC);
    prk = labeled_extract(kem_id, nothing, "eae_prk", span_of(dh, X25519_KEY));
    labeled_expand(kem_id, &prk, "shared_secret", span_of(kem_context, sizeof(kem_context)),
                   shared.b, sizeof(shared.b));

    hash = labeled_extract(hpke_id, nothing, "psk_id_hash", nothing);
    memcpy(context + 1, hash.b, sizeof(hash.b));
    hash = labeled_extract(hpke_id, nothing, "info_hash", info);
    memcpy(context + 1 + sizeof(hash.b), hash.b, sizeof(hash.b));
    prk = labeled_extract(hpke_id, digest_span(&shared), "secret", nothing);
    labeled_expand(hpke_id, &prk, "key", span_of(context, sizeof(context)), secret_data(keys),
                   AEAD_KEY);
    labeled_expand(hpke_id, &prk, "base_nonce", span_of(context, sizeof(context)),
                   secret_data(keys) + AEAD_KEY, AEAD_NONCE);
    crypto_wipe(dh, X25519_KEY);
    crypto_wipe(&prk, sizeof(prk));
    crypto_wipe(&shared, sizeof(shared));
    *ret = keys;
    return ERR_OK;
}

static enum err sender_setup(const struct secret *ephemeral, const uint8_t public_key[HPKE_PUBLIC],
                             struct span info, uint64_t max_seq, struct hpke_sender **ret)
{
    uint8_t dh[X25519_KEY];
    struct hpke_sender *s = calloc(1, sizeof(*s));
    enum err e;

    if (s == NULL)
        return ERR_NO_MEMORY;
    s->max = max_seq;
    e = x25519_public_of(ephemeral, s->enc);
    if (e != ERR_OK)
        goto out;
    e = x25519_shared(ephemeral, public_key, dh);
    if (e != ERR_OK)
        goto out;
    e = key_schedule(dh, s->enc, public_key, info, &s->keys);
out:
    if (e == ERR_OK)
        *ret = s;
    else
        hpke_sender_free(s);
    return e;
}

enum err hpke_sender_new(const struct env *env, const uint8_t public_key[HPKE_PUBLIC],
                         struct span info, uint64_t max_seq, struct hpke_sender **ret)
{
    struct secret *ephemeral;
    enum err e = secret_random(env, X25519_KEY, &ephemeral);

    if (e != ERR_OK)
        return e;
    e = sender_setup(ephemeral, public_key, info, max_seq, ret);
    secret_free(ephemeral);
    return e;
}

enum err hpke_sender_new_from_ikm(struct span ikm_e, const uint8_t public_key[HPKE_PUBLIC],
                                  struct span info, uint64_t max_seq, struct hpke_sender **ret)
{
    struct secret *ephemeral;
    enum err e = hpke_derive_key(ikm_e, &ephemeral);

    if (e != ERR_OK)
        return e;
    e = sender_setup(ephemeral, public_key, info, max_seq, ret);
    secret_free(ephemeral);
    return e;
}

void hpke_sender_free(struct hpke_sender *s)
{
    if (s == NULL)
        return;
    secret_free(s->keys);
    free(s);
}

const uint8_t *hpke_sender_enc(const struct hpke_sender *s)
{
    return s->enc;
}

uint64_t hpke_sender_left(const struct hpke_sender *s)
{
    return s->max - s->next;
}

/* ComputeNonce (RFC 9180 5.2). */
static void nonce_of(const struct secret *keys, uint64_t seq, uint8_t ret[AEAD_NONCE])
{
    memcpy(ret, secret_bytes(keys).data + AEAD_KEY, AEAD_NONCE);
    for (size_t i = 0; i < 8; i++)
        ret[AEAD_NONCE - 1 - i] ^= (uint8_t)(seq >> (8 * i));
}

enum err hpke_seal(struct hpke_sender *s, struct span aad, struct span plain, uint8_t *ct,
                   uint64_t *seq)
{
    uint8_t nonce[AEAD_NONCE];
    uint64_t mine;
    enum err e;

    if (s->next >= s->max)
        return ERR_FULL;
    mine = s->next++;
    nonce_of(s->keys, mine, nonce);
    e = chacha20poly1305_seal(secret_bytes(s->keys).data, nonce, aad, plain, ct);
    crypto_wipe(nonce, sizeof(nonce));
    if (e == ERR_OK)
        *seq = mine;
    return e;
}

enum err hpke_receiver_new(const struct secret *key, const uint8_t enc[HPKE_ENC], struct span info,
                           struct hpke_receiver **ret)
{
    uint8_t public_key[HPKE_PUBLIC];
    uint8_t dh[X25519_KEY];
    struct hpke_receiver *r = calloc(1, sizeof(*r));
    enum err e;

    if (r == NULL)
        return ERR_NO_MEMORY;
    e = x25519_public_of(key, public_key);
    if (e != ERR_OK)
        goto out;
    e = x25519_shared(key, enc, dh);
    if (e != ERR_OK)
        goto out;
    e = key_schedule(dh, enc, public_key, info, &r->keys);
out:
    if (e == ERR_OK)
        *ret = r;
    else
        hpke_receiver_free(r);
    return e;
}

void hpke_receiver_free(struct hpke_receiver *r)
{
    if (r == NULL)
        return;
    secret_free(r->keys);
    free(r);
}

enum err hpke_open(const struct hpke_receiver *r, uint64_t seq, struct span aad, struct span ct,
                   uint8_t *plain)
{
    uint8_t nonce[AEAD_NONCE];
    enum err e;

    nonce_of(r->keys, seq, nonce);
    e = chacha20poly1305_open(secret_bytes(r->keys).data, nonce, aad, ct, plain);
    crypto_wipe(nonce, sizeof(nonce));
    return e;
}
