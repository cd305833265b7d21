#include "certs/key_plan.h"

#include <stdlib.h>
#include <string.h>

static uint64_t planned_until(const struct key_slot *slots, size_t n)
{
    uint64_t until = 0;
    for (size_t i = 0; i < n; i++) {
        if (!slots[i].last_resort && slots[i].not_after_ms > until)
            until = slots[i].not_after_ms;
    }
    return until;
}

static int by_age(const void *a, const void *b)
{
    const struct key_slot *x = a, *y = b;
    if (x->created_ms != y->created_ms)
        return x->created_ms < y->created_ms ? -1 : 1;
    return memcmp(x->id.b, y->id.b, sizeof(x->id.b));
}

static int by_start(const void *a, const void *b)
{
    const struct key_slot *x = a, *y = b;
    if (x->not_before_ms != y->not_before_ms)
        return x->not_before_ms < y->not_before_ms ? -1 : 1;
    return memcmp(x->id.b, y->id.b, sizeof(x->id.b));
}

void key_plan_times(struct key_slot *slots, size_t n, uint64_t now_ms)
{
    qsort(slots, n, sizeof(slots[0]), by_age);
    for (size_t i = 0; i < n; i++) {
        struct key_slot *s = &slots[i];
        if (s->last_resort) {
            if (s->not_before_ms == 0)
                s->not_before_ms = now_ms - LIMIT_SKEW_MS;
            s->not_after_ms = now_ms + LIMIT_STATEMENT_MS;
        } else if (s->not_before_ms == 0) {
            uint64_t until = planned_until(slots, n);
            bool gap = until < now_ms;
            s->not_before_ms = gap ? now_ms - LIMIT_SKEW_MS : until;
            s->not_after_ms = (gap ? now_ms : until) + KEY_PLAN_USE_MS;
        }
    }
    qsort(slots, n, sizeof(slots[0]), by_start);
}

size_t key_plan_missing(const struct key_slot *slots, size_t n, uint64_t now_ms)
{
    uint64_t until = planned_until(slots, n), want = now_ms + KEY_PLAN_AHEAD_MS;
    if (until < now_ms)
        until = now_ms;
    for (size_t i = 0; i < n; i++) {
        if (!slots[i].last_resort && slots[i].not_before_ms == 0)
            until += KEY_PLAN_USE_MS;
    }
    if (until >= want)
        return 0;
    return (size_t)((want - until + KEY_PLAN_USE_MS - 1) / KEY_PLAN_USE_MS);
}

bool key_plan_is_old(const struct key_slot *slot, uint64_t now_ms)
{
    return !slot->last_resort && slot->not_after_ms != 0 &&
           slot->not_after_ms + KEY_PLAN_KEEP_MS < now_ms;
}
