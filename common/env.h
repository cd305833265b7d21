/* Time and randomness, injected: cores and codecs take a `const struct env *` and have no other. */
#ifndef SEALPOST_COMMON_ENV_H
#define SEALPOST_COMMON_ENV_H

#include <stddef.h>
#include <stdint.h>

struct env {
    void *ctx;
    /* Wall clock, milliseconds since 1970-01-01 UTC. */
    uint64_t (*now_ms)(void *ctx);
    /* Clock that never goes back, milliseconds since an arbitrary start. */
    uint64_t (*mono_ms)(void *ctx);
    /* Fills `out` with `len` bytes fit for keys. Does not fail. */
    void (*random)(void *ctx, void *out, size_t len);
};

static inline uint64_t env_now_ms(const struct env *e)
{
    return e->now_ms(e->ctx);
}

static inline uint64_t env_mono_ms(const struct env *e)
{
    return e->mono_ms(e->ctx);
}

static inline void env_random(const struct env *e, void *out, size_t len)
{
    e->random(e->ctx, out, len);
}

/* The machine's clock and libsodium's generator. Lives as long as the process. */
const struct env *env_system(void);

#endif
