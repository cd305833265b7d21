#include "common/hpke.h"
#include "common/limits.h"
#include "proto/envelope_core.h"
#include "proto/seal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Direct-mapped by enc: a collision costs one Diffie-Hellman. */
struct open_cache {
    size_t max;
    struct open_slot {
        struct key_id key_id;
        uint8_t enc[HPKE_ENC];
        struct hpke_receiver *receiver; /* NULL when empty */
    } slots[];
};

enum err open_cache_new(size_t max, struct open_cache **ret)
{
    struct open_cache *c;

    if (max == 0)
        return ERR_MALFORMED;
    if (max > LIMIT_OPEN_CACHE)
        return ERR_TOO_LARGE;
    c = calloc(1, sizeof(*c) + max * sizeof(c->slots[0]));
    if (c == NULL)
        return ERR_NO_MEMORY;
    c->max = max;
    *ret = c;
    return ERR_OK;
}

void open_cache_free(struct open_cache *c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; i < c->max; i++)
        hpke_receiver_free(c->slots[i].receiver);
    free(c);
}

/* The context of a wrap: in `slot` afterwards, whatever was there before. */
static enum err receiver_of(struct open_slot *slot, uint32_t suite,
                            const struct envelope_recipient *to, const struct secret *key)
{
    struct hpke_receiver *receiver;
    uint8_t info[WRAP_INFO];
    enum err e;

    if (slot->receiver != NULL && memcmp(slot->enc, to->enc.data, HPKE_ENC) == 0 &&
        memcmp(slot->key_id.b, to->key_id.b, sizeof(slot->key_id.b)) == 0)
        return ERR_OK;
    envelope_wrap_info(suite, &to->key_id, info);
    e = hpke_receiver_new(key, to->enc.data, span_of(info, sizeof(info)), &receiver);
    if (e != ERR_OK)
        return e;
    hpke_receiver_free(slot->receiver);
    slot->receiver = receiver;
    slot->key_id = to->key_id;
    memcpy(slot->enc, to->enc.data, HPKE_ENC);
    return ERR_OK;
}

static struct open_slot *slot_of(struct open_cache *cache, const struct envelope_recipient *to)
{
    uint64_t hash;

    memcpy(&hash, to->enc.data, sizeof(hash));
    return &cache->slots[hash % cache->max];
}

static enum err unwrap(struct open_cache *cache, const struct envelope *e,
                       const struct envelope_recipient *to, const struct secret *key,
                       struct secret **ret)
{
    struct digest aad = envelope_wrap_aad(envelope_core(e));
    struct open_slot alone = {0};
    struct open_slot *slot;
    struct secret *file_key = NULL;
    enum err err;

    assert(to->enc.len == HPKE_ENC && to->ct.len == WRAP_CT);
    slot = cache == NULL ? &alone : slot_of(cache, to);
    err = receiver_of(slot, envelope_header(e)->suite, to, key);
    if (err != ERR_OK)
        goto out;
    err = secret_new(FILE_KEY, &file_key);
    if (err != ERR_OK)
        goto out;
    err = hpke_open(slot->receiver, to->wrap_seq, digest_span(&aad), to->ct, secret_data(file_key));
    if (err != ERR_OK)
        goto out;
    *ret = file_key;
    file_key = NULL;
out:
    hpke_receiver_free(alone.receiver);
    secret_free(file_key);
    /* A wrap that does not open is the sender's doing, as a commitment that does not hold. */
    return err == ERR_BAD_DIGEST || err == ERR_MALFORMED ? ERR_BAD_COMMITMENT : err;
}

enum err open_check_commitment(const struct envelope *e, const struct secret *file_key)
{
    const struct envelope_core *core = envelope_core(e);
    struct digest commit;
    enum err err = envelope_commitment(file_key, core, &commit);

    if (err != ERR_OK)
        return err;
    return digest_equal(&commit, &core->commit) ? ERR_OK : ERR_BAD_COMMITMENT;
}

enum err open_envelope_cached(struct open_cache *cache, const struct envelope *e,
                              const char *agency, open_find_key find, void *ctx,
                              struct secret **ret)
{
    const struct envelope_recipient *to;
    const struct secret *key;
    struct secret *file_key = NULL;
    size_t i;
    enum err err;

    err = envelope_find_recipient(e, agency, &i);
    if (err != ERR_OK)
        return err;
    to = envelope_recipient(e, i);
    err = find(ctx, &to->key_id, &key);
    if (err != ERR_OK)
        return err == ERR_NOT_FOUND ? ERR_WRONG_USAGE : err;
    err = unwrap(cache, e, to, key, &file_key);
    if (err != ERR_OK)
        return err;
    err = open_check_commitment(e, file_key);
    if (err != ERR_OK) {
        secret_free(file_key);
        return err;
    }
    *ret = file_key;
    return ERR_OK;
}

enum err open_envelope(const struct envelope *e, const char *agency, open_find_key find, void *ctx,
                       struct secret **ret)
{
    return open_envelope_cached(NULL, e, agency, find, ctx, ret);
}
