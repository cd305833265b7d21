#include "common/secret.h"

#include "common/limits.h"
#include "tests/lib/leaks.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

TestSuite(secret, .fini = leaks_check);

static void count_up(void *ctx, void *out, size_t len)
{
    uint8_t *next = ctx;

    for (size_t i = 0; i < len; i++)
        ((uint8_t *)out)[i] = (*next)++;
}

static bool all_zero(struct span s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] != 0)
            return false;
    }
    return true;
}

Test(secret, lengths_outside_the_limit_are_refused)
{
    struct secret *s = NULL;

    cr_assert_eq(secret_new(0, &s), ERR_TOO_LARGE);
    cr_assert_eq(secret_new(LIMIT_SECRET + 1, &s), ERR_TOO_LARGE);
    cr_assert_null(s);
    for (size_t len = 1; len <= 130; len++) {
        cr_assert_eq(secret_new(len, &s), ERR_OK);
        cr_assert_eq(secret_len(s), len);
        secret_free(s);
    }
    cr_assert_eq(secret_new(LIMIT_SECRET - 1, &s), ERR_OK);
    secret_free(s);
    cr_assert_eq(secret_new(LIMIT_SECRET, &s), ERR_OK);
    cr_assert_eq(secret_bytes(s).len, LIMIT_SECRET);
    secret_free(s);
    secret_free(NULL);
}

Test(secret, new_is_zero_although_the_place_was_used)
{
    const size_t lens[] = {1, 16, 32, 63, 64, 65, 4096};

    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        for (int round = 0; round < 3; round++) {
            struct secret *s;

            cr_assert_eq(secret_new(lens[i], &s), ERR_OK);
            cr_assert(all_zero(secret_bytes(s)));
            memset(secret_data(s), 0xa5, lens[i]);
            secret_free(s);
        }
    }
}

Test(secret, free_wipes_the_slot)
{
    struct secret *stay, *go;
    struct span old;

    cr_assert_eq(secret_new(32, &stay), ERR_OK);
    cr_assert_eq(secret_new(32, &go), ERR_OK);
    memset(secret_data(go), 0xa5, 32);
    old = secret_bytes(go);
    secret_free(go);
    /* The page is still mapped, because `stay` lives on it. */
    cr_assert(all_zero(old));
    secret_free(stay);
}

Test(secret, random_takes_its_bytes_from_env)
{
    uint8_t next = 1;
    const struct env env = {.ctx = &next, .random = count_up};
    struct secret *s;

    cr_assert_eq(secret_random(&env, 4, &s), ERR_OK);
    cr_assert_eq(memcmp(secret_bytes(s).data, "\1\2\3\4", 4), 0);
    cr_assert_eq(next, 5);
    secret_free(s);
    cr_assert_eq(secret_random(&env, 0, &s), ERR_TOO_LARGE);
}

Test(secret, equal_compares_length_and_content)
{
    struct secret *a, *b, *c, *d;

    cr_assert_eq(secret_copy(span_of("0123456789abcdef", 16), &a), ERR_OK);
    cr_assert_eq(secret_copy(span_of("0123456789abcdef", 16), &b), ERR_OK);
    cr_assert_eq(secret_copy(span_of("0123456789abcdeF", 16), &c), ERR_OK);
    cr_assert_eq(secret_copy(span_of("0123456789abcdef", 15), &d), ERR_OK);
    cr_assert(secret_equal(a, b));
    cr_assert_not(secret_equal(a, c));
    cr_assert_not(secret_equal(a, d));
    secret_free(a);
    secret_free(b);
    secret_free(c);
    secret_free(d);
    cr_assert_eq(secret_copy(span_of(NULL, 0), &a), ERR_TOO_LARGE);
}

/* More than the kernel's default of 65,530 mappings would allow one by one. */
Test(secret, many_live_at_once_and_none_overlap)
{
    enum { MANY = 30000 };
    struct secret **all = calloc(MANY, sizeof(struct secret *));

    cr_assert_not_null(all);
    for (uint32_t i = 0; i < MANY; i++) {
        cr_assert_eq(secret_new(1 + i % 64, &all[i]), ERR_OK);
        memset(secret_data(all[i]), (int)(i % 251), 1 + i % 64);
    }
    for (uint32_t i = 0; i < MANY; i += 2) {
        secret_free(all[i]);
        cr_assert_eq(secret_new(64, &all[i]), ERR_OK);
        memset(secret_data(all[i]), (int)(i % 251), 64);
    }
    for (uint32_t i = 0; i < MANY; i++) {
        struct span s = secret_bytes(all[i]);

        for (size_t k = 0; k < s.len; k++)
            cr_assert_eq(s.data[k], i % 251);
        secret_free(all[i]);
    }
    free(all);
}

static void *churn(void *arg)
{
    uint8_t mine = *(const uint8_t *)arg;

    for (int i = 0; i < 5000; i++) {
        struct secret *held[9];

        for (size_t k = 0; k < 9; k++) {
            if (secret_new(48, &held[k]) != ERR_OK)
                return "no memory";
            memset(secret_data(held[k]), mine, 48);
        }
        for (size_t k = 0; k < 9; k++) {
            for (size_t b = 0; b < 48; b++) {
                if (secret_bytes(held[k]).data[b] != mine)
                    return "overlap";
            }
            secret_free(held[k]);
        }
    }
    return NULL;
}

Test(secret, threads_do_not_share_a_slot)
{
    uint8_t names[4] = {1, 2, 3, 4};
    pthread_t threads[4];

    for (size_t i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, churn, &names[i]), 0);
    for (size_t i = 0; i < 4; i++) {
        void *wrong;

        cr_assert_eq(pthread_join(threads[i], &wrong), 0);
        cr_assert_null(wrong);
    }
}

Test(secret, process_init_can_leave_dumps_on)
{
    cr_assert_eq(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), 0);
    cr_assert_eq(secret_process_init(true), ERR_OK);
    cr_assert_eq(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 1);
}

Test(secret, process_init_forbids_dumps)
{
    struct rlimit r;

    cr_assert_eq(secret_process_init(false), ERR_OK);
    cr_assert_eq(secret_process_init(false), ERR_OK);
    cr_assert_eq(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 0);
    cr_assert_eq(getrlimit(RLIMIT_CORE, &r), 0);
    cr_assert_eq(r.rlim_cur, 0);
    cr_assert_eq(r.rlim_max, 0);
    /* LeakSanitizer attaches at exit, which this forbids. */
    cr_assert_eq(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), 0);
}

Test(secret, wipe_zeroes)
{
    uint8_t b[5] = {1, 2, 3, 4, 5};

    crypto_wipe(b, 4);
    cr_assert(all_zero(span_of(b, 4)));
    cr_assert_eq(b[4], 5);
    crypto_wipe(NULL, 0);
}

/* The kernel reads for us, so that a guard page gives EFAULT instead of a signal. */
static bool readable(const uint8_t *byte)
{
    int ends[2];
    ssize_t n;

    cr_assert_eq(pipe(ends), 0);
    n = write(ends[1], byte, 1);
    cr_assert(n == 1 || errno == EFAULT);
    (void)close(ends[0]);
    (void)close(ends[1]);
    return n == 1;
}

Test(secret, a_guard_page_lies_behind)
{
    struct secret *longer, *slot;
    const uint8_t *page;

    cr_assert_eq(secret_new(100, &longer), ERR_OK);
    cr_assert(readable(secret_bytes(longer).data + 99));
    cr_assert_not(readable(secret_bytes(longer).data + 100));
    cr_assert_eq(secret_new(64, &slot), ERR_OK);
    page = secret_bytes(slot).data - (uintptr_t)secret_bytes(slot).data % 4096;
    cr_assert(readable(page + 4095));
    cr_assert_not(readable(page + 4096));
    secret_free(longer);
    secret_free(slot);
}
