#include "proto/batch_cache.h"

#include "common/limits.h"

#include <stdlib.h>
#include <string.h>

/* Direct-mapped by the root, which is a hash: a collision costs one signature check. */
struct batch_cache {
    size_t max;
    struct slot {
        bool used;
        struct batch_root root;
    } slots[];
};

enum err batch_cache_new(size_t max, struct batch_cache **ret)
{
    struct batch_cache *c;

    if (max == 0)
        return ERR_MALFORMED;
    if (max > LIMIT_BATCH_CACHE)
        return ERR_TOO_LARGE;
    c = calloc(1, sizeof(*c) + max * sizeof(c->slots[0]));
    if (c == NULL)
        return ERR_NO_MEMORY;
    c->max = max;
    *ret = c;
    return ERR_OK;
}

void batch_cache_free(struct batch_cache *c)
{
    free(c);
}

static size_t slot_of(const struct batch_cache *c, const struct batch_root *root)
{
    uint64_t hash;

    memcpy(&hash, root->root.b, sizeof(hash));
    return hash % c->max;
}

static bool same(const struct batch_root *a, const struct batch_root *b)
{
    return memcmp(a->key.b, b->key.b, sizeof(a->key.b)) == 0 && a->size == b->size &&
           memcmp(a->root.b, b->root.b, sizeof(a->root.b)) == 0 &&
           memcmp(a->sig, b->sig, sizeof(a->sig)) == 0;
}

bool batch_cache_has(const struct batch_cache *c, const struct batch_root *root)
{
    const struct slot *slot;

    if (c == NULL)
        return false;
    slot = &c->slots[slot_of(c, root)];
    return slot->used && same(&slot->root, root);
}

void batch_cache_put(struct batch_cache *c, const struct batch_root *root)
{
    struct slot *slot;

    if (c == NULL)
        return;
    slot = &c->slots[slot_of(c, root)];
    slot->used = true;
    slot->root = *root;
}
