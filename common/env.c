#include "common/env.h"

#include <assert.h>
#include <sodium.h>
#include <time.h>

static uint64_t clock_ms(clockid_t clock)
{
    struct timespec t;
    int rc = clock_gettime(clock, &t);

    assert(rc == 0);
    assert(t.tv_sec >= 0);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint64_t system_now_ms(void *ctx)
{
    (void)ctx;
    return clock_ms(CLOCK_REALTIME);
}

/* The clock that condition variables and systemd's watchdog count by. */
static uint64_t system_mono_ms(void *ctx)
{
    (void)ctx;
    return clock_ms(CLOCK_MONOTONIC);
}

static void system_random(void *ctx, void *out, size_t len)
{
    (void)ctx;
    randombytes_buf(out, len);
}

const struct env *env_system(void)
{
    static const struct env system_env = {
        .now_ms = system_now_ms,
        .mono_ms = system_mono_ms,
        .random = system_random,
    };
    int rc = sodium_init();

    assert(rc >= 0);
    return &system_env;
}
