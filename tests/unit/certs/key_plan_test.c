#include "certs/key_plan.h"

#include "common/limits.h"
#include "tests/lib/leaks.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(key_plan, .fini = leaks_check);

#define START ((uint64_t)1772438400000)

static struct key_slot slots[64];
static size_t n;
static uint8_t made;

static void add(uint64_t now, bool last_resort)
{
    slots[n] = (struct key_slot){.created_ms = now, .last_resort = last_resort};
    slots[n++].id.b[0] = ++made;
}

/* What `keys rotate` does. Gives how many keys were destroyed. */
static size_t rotate(uint64_t now)
{
    size_t kept = 0, destroyed = 0;
    for (size_t i = 0; i < n; i++) {
        if (key_plan_is_old(&slots[i], now))
            destroyed++;
        else
            slots[kept++] = slots[i];
    }
    n = kept;
    for (size_t missing = key_plan_missing(slots, n, now); missing > 0; missing--)
        add(now, false);
    key_plan_times(slots, n, now);
    return destroyed;
}

static size_t current(uint64_t at)
{
    size_t found = 0;
    for (size_t i = 0; i < n; i++)
        found +=
            !slots[i].last_resort && slots[i].not_before_ms <= at && at < slots[i].not_after_ms;
    return found;
}

Test(key_plan, three_first_keys_cover_21_days_one_after_the_other)
{
    add(START, true);
    for (int i = 0; i < 3; i++)
        add(START, false);
    cr_assert_eq(key_plan_missing(slots, n, START), 0);
    key_plan_times(slots, n, START);
    cr_assert_eq(n, 4);
    for (size_t i = 1; i < n; i++)
        cr_assert(slots[i - 1].not_before_ms <= slots[i].not_before_ms);
    for (uint64_t day = 0; day < 21; day++)
        cr_assert_eq(current(START + day * KEY_PLAN_DAY_MS + 1000), 1, "day %d", (int)day);
    cr_assert_eq(current(START + 21 * KEY_PLAN_DAY_MS), 0);
}

Test(key_plan, rotating_every_day_keeps_one_key_current_and_destroys_in_time)
{
    size_t destroyed = 0;
    add(START, true);
    for (uint64_t day = 0; day < 200; day++) {
        uint64_t now = START + day * KEY_PLAN_DAY_MS;
        destroyed += rotate(now);
        cr_assert(n <= LIMIT_STATEMENT_KEYS, "day %d: %zu keys", (int)day, n);
        for (uint64_t ahead = 0; ahead < 21; ahead++)
            cr_assert_eq(current(now + ahead * KEY_PLAN_DAY_MS + 1000), 1);
        for (size_t i = 0; i < n; i++) {
            if (slots[i].last_resort)
                continue;
            /* Used for 7 days; there for as long as a message may be on its way, and no longer. */
            cr_assert(slots[i].not_after_ms - slots[i].not_before_ms <=
                      KEY_PLAN_USE_MS + LIMIT_SKEW_MS);
            cr_assert(slots[i].not_after_ms + KEY_PLAN_KEEP_MS >= now);
        }
    }
    cr_assert(destroyed >= 24 && destroyed <= 28, "%zu", destroyed);
}

Test(key_plan, a_key_is_kept_to_the_last_moment_that_a_message_may_come)
{
    struct key_slot s = {.not_before_ms = START, .not_after_ms = START + KEY_PLAN_USE_MS};
    uint64_t last = s.not_after_ms + LIMIT_EXPIRY_MS + KEY_PLAN_DAY_MS;
    cr_assert(!key_plan_is_old(&s, last));
    cr_assert(key_plan_is_old(&s, last + 1));
    s.last_resort = true;
    cr_assert(!key_plan_is_old(&s, last + 1));
    cr_assert(!key_plan_is_old(&(struct key_slot){0}, last + 1));
}

Test(key_plan, after_a_long_pause_new_keys_start_at_once)
{
    add(START, true);
    rotate(START);
    uint64_t later = START + 100 * KEY_PLAN_DAY_MS;
    cr_assert_eq(rotate(later), 3);
    cr_assert_eq(n, 4);
    cr_assert_eq(current(later), 1);
    cr_assert_eq(current(later + 20 * KEY_PLAN_DAY_MS), 1);
}
