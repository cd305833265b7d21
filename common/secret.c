#include "common/secret.h"

#include "common/limits.h"

#include <assert.h>
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

/* sodium_malloc takes about 26 us and three mappings for each object, more than all other work on a
 * message of a batch together, and the kernel's limit on mappings stops it near 16,000. So short
 * secrets share slabs of one page; the guard pages then lie around the slab. */
#define SLOT ((size_t)64)
#define SLOTS 64

struct slab {
    struct slab *next;
    struct slab *prev;
    uint64_t used; /* a bit for each slot */
    uint8_t *slots;
};

struct secret {
    size_t len;
    uint8_t *data;
    struct slab *slab; /* NULL when data is a sodium_malloc of its own */
};

/* An allocator's state belongs to the process, as malloc's does: the one exception from the rule
 * against mutable globals. The list holds the slabs that have a free slot. */
static pthread_mutex_t pool_lock = PTHREAD_MUTEX_INITIALIZER;
static struct slab *pool;

static void pool_lock_enter(void)
{
    if (pthread_mutex_lock(&pool_lock) != 0)
        abort();
}

static void pool_lock_leave(void)
{
    if (pthread_mutex_unlock(&pool_lock) != 0)
        abort();
}

static void pool_link(struct slab *s)
{
    s->prev = NULL;
    s->next = pool;
    if (pool != NULL)
        pool->prev = s;
    pool = s;
}

static void pool_unlink(struct slab *s)
{
    if (s->prev != NULL)
        s->prev->next = s->next;
    else
        pool = s->next;
    if (s->next != NULL)
        s->next->prev = s->prev;
}

static struct slab *slab_new(void)
{
    struct slab *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return NULL;
    s->slots = sodium_malloc(SLOT * SLOTS);
    if (s->slots == NULL) {
        free(s);
        return NULL;
    }
    memset(s->slots, 0, SLOT * SLOTS);
    return s;
}

static bool slot_take(struct secret *secret)
{
    struct slab *s;

    pool_lock_enter();
    s = pool;
    if (s == NULL) {
        s = slab_new();
        if (s != NULL)
            pool_link(s);
    }
    if (s != NULL) {
        unsigned slot = (unsigned)__builtin_ctzll(~s->used);

        s->used |= (uint64_t)1 << slot;
        if (s->used == UINT64_MAX)
            pool_unlink(s);
        secret->slab = s;
        secret->data = s->slots + slot * SLOT;
    }
    pool_lock_leave();
    return s != NULL;
}

static void slot_give(struct slab *s, uint8_t *data)
{
    struct slab *spare = NULL;
    size_t slot = (size_t)(data - s->slots) / SLOT;

    sodium_memzero(data, SLOT);
    pool_lock_enter();
    assert((s->used >> slot & 1) == 1);
    if (s->used == UINT64_MAX)
        pool_link(s);
    s->used &= ~((uint64_t)1 << slot);
    if (s->used == 0 && (s->next != NULL || s->prev != NULL)) {
        pool_unlink(s);
        spare = s;
    }
    pool_lock_leave();
    if (spare != NULL) {
        sodium_free(spare->slots);
        free(spare);
    }
}

enum err secret_process_init(bool dumpable)
{
    const struct rlimit none = {0, 0};

    if (sodium_init() < 0)
        return ERR_CRYPTO;
    if (dumpable)
        return ERR_OK;
    if (setrlimit(RLIMIT_CORE, &none) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        return ERR_IO;
    return ERR_OK;
}

enum err secret_new(size_t len, struct secret **ret)
{
    struct secret *s;

    if (len == 0 || len > LIMIT_SECRET)
        return ERR_TOO_LARGE;
    if (sodium_init() < 0)
        return ERR_CRYPTO;
    s = calloc(1, sizeof(*s));
    if (s == NULL)
        return ERR_NO_MEMORY;
    s->len = len;
    if (len > SLOT) {
        s->data = sodium_malloc(len);
        if (s->data != NULL)
            memset(s->data, 0, len);
    } else {
        (void)slot_take(s);
    }
    if (s->data == NULL) {
        free(s);
        return ERR_NO_MEMORY;
    }
    *ret = s;
    return ERR_OK;
}

void secret_free(struct secret *s)
{
    if (s == NULL)
        return;
    if (s->slab != NULL)
        slot_give(s->slab, s->data);
    else
        sodium_free(s->data);
    free(s);
}

enum err secret_random(const struct env *env, size_t len, struct secret **ret)
{
    struct secret *s;
    enum err e = secret_new(len, &s);

    if (e != ERR_OK)
        return e;
    env_random(env, s->data, len);
    *ret = s;
    return ERR_OK;
}

enum err secret_copy(struct span bytes, struct secret **ret)
{
    struct secret *s;
    enum err e = secret_new(bytes.len, &s);

    if (e != ERR_OK)
        return e;
    memcpy(s->data, bytes.data, bytes.len);
    *ret = s;
    return ERR_OK;
}

uint8_t *secret_data(struct secret *s)
{
    return s->data;
}

struct span secret_bytes(const struct secret *s)
{
    return (struct span){.data = s->data, .len = s->len};
}

size_t secret_len(const struct secret *s)
{
    return s->len;
}

bool secret_equal(const struct secret *a, const struct secret *b)
{
    return a->len == b->len && sodium_memcmp(a->data, b->data, a->len) == 0;
}

void crypto_wipe(void *bytes, size_t len)
{
    if (len > 0)
        sodium_memzero(bytes, len);
}
