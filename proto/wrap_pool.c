#include "proto/wrap_pool.h"

#include "common/limits.h"

#include "proto/envelope_core.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* One recipient key; a hash table by key id, which is a hash already. */
struct context {
    bool used;
    struct key_id key_id;
    uint8_t public_key[HPKE_PUBLIC];
    struct hpke_sender *sender; /* NULL after a failure */
};

#define TABLE_MIN 16

struct wrap_pool {
    const struct env *env;
    struct context *table;
    size_t size; /* a power of two, at least twice `count` */
    size_t count;
};

enum err wrap_pool_new(const struct env *env, struct wrap_pool **ret)
{
    struct wrap_pool *p = calloc(1, sizeof(*p));

    if (p == NULL)
        return ERR_NO_MEMORY;
    p->env = env;
    p->size = TABLE_MIN;
    p->table = calloc(p->size, sizeof(p->table[0]));
    if (p->table == NULL) {
        free(p);
        return ERR_NO_MEMORY;
    }
    *ret = p;
    return ERR_OK;
}

static void pool_clear(struct wrap_pool *p)
{
    for (size_t i = 0; i < p->size; i++)
        hpke_sender_free(p->table[i].sender);
    memset(p->table, 0, p->size * sizeof(p->table[0]));
    p->count = 0;
}

void wrap_pool_free(struct wrap_pool *p)
{
    if (p == NULL)
        return;
    pool_clear(p);
    free(p->table);
    free(p);
}

/* The entry of the key, or the free one where it belongs. */
static struct context *pool_slot(struct context *table, size_t size, const struct key_id *key_id,
                                 const uint8_t public_key[HPKE_PUBLIC])
{
    uint64_t hash;
    size_t i;

    memcpy(&hash, key_id->b, sizeof(hash));
    for (i = hash & (size - 1); table[i].used; i = (i + 1) & (size - 1)) {
        if (memcmp(table[i].key_id.b, key_id->b, sizeof(key_id->b)) == 0 &&
            memcmp(table[i].public_key, public_key, HPKE_PUBLIC) == 0)
            break;
    }
    return &table[i];
}

/* Room for one more. At its bound the pool starts anew: a fresh context is always valid. */
static enum err pool_room(struct wrap_pool *p)
{
    struct context *bigger;
    size_t size = 2 * p->size;

    if (p->count >= LIMIT_WRAP_POOL) {
        pool_clear(p);
        return ERR_OK;
    }
    if (2 * (p->count + 1) <= p->size)
        return ERR_OK;
    bigger = calloc(size, sizeof(bigger[0]));
    if (bigger == NULL)
        return ERR_NO_MEMORY;
    for (size_t i = 0; i < p->size; i++) {
        const struct context *c = &p->table[i];

        if (c->used)
            *pool_slot(bigger, size, &c->key_id, c->public_key) = *c;
    }
    free(p->table);
    p->table = bigger;
    p->size = size;
    return ERR_OK;
}

static enum err pool_find(struct wrap_pool *p, const struct seal_recipient *to,
                          struct context **ret)
{
    struct context *c = pool_slot(p->table, p->size, &to->key_id, to->public_key);
    struct key_id id;
    enum err e;

    if (!c->used) {
        id = key_id_of(KEY_LABEL_SUITE_1, span_of(to->public_key, HPKE_PUBLIC));
        if (memcmp(id.b, to->key_id.b, sizeof(id.b)) != 0)
            return ERR_WRONG_USAGE;
        e = pool_room(p);
        if (e != ERR_OK)
            return e;
        c = pool_slot(p->table, p->size, &to->key_id, to->public_key);
        c->used = true;
        c->key_id = to->key_id;
        memcpy(c->public_key, to->public_key, HPKE_PUBLIC);
        p->count++;
    }
    *ret = c;
    return ERR_OK;
}

static void context_drop(struct context *c)
{
    hpke_sender_free(c->sender);
    c->sender = NULL;
}

enum err wrap_pool_seal(struct wrap_pool *p, uint32_t suite, const struct seal_recipient *to,
                        const struct digest *aad, const struct secret *file_key, struct wrap *ret)
{
    struct context *c;
    uint8_t info[WRAP_INFO];
    struct wrap out;
    uint64_t seq;
    enum err e;

    assert(suite == ENVELOPE_SUITE_1);
    e = pool_find(p, to, &c);
    if (e != ERR_OK)
        return e;
    if (c->sender != NULL && hpke_sender_left(c->sender) == 0)
        context_drop(c);
    if (c->sender == NULL) {
        envelope_wrap_info(suite, &to->key_id, info);
        e = hpke_sender_new(p->env, to->public_key, span_of(info, sizeof(info)), LIMIT_WRAP_SEQ,
                            &c->sender);
        if (e != ERR_OK)
            return e;
    }
    memcpy(out.enc, hpke_sender_enc(c->sender), sizeof(out.enc));
    e = hpke_seal(c->sender, digest_span(aad), secret_bytes(file_key), out.ct, &seq);
    if (e != ERR_OK) {
        context_drop(c);
        return e;
    }
    out.seq = (uint32_t)seq;
    *ret = out;
    return ERR_OK;
}
