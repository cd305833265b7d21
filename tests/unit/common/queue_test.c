#include "common/queue.h"
#include "tests/lib/leaks.h"

#include <criterion/criterion.h>

TestSuite(queue, .fini = leaks_check);

struct line {
    struct queue *q;
    struct hop *h;
};

static struct line line_new(void)
{
    struct line l;

    cr_assert_eq(queue_new(&l.q), ERR_OK);
    l.h = queue_hop(l.q, "riga");
    cr_assert_not_null(l.h);
    return l;
}

static struct entry *add(struct line *l, uint64_t number, bool urgent)
{
    struct entry *e;

    cr_assert_eq(queue_add(l->q, l->h, number, 1000000 + number, urgent, false, &e), ERR_OK);
    return e;
}

static struct entry *next_is(struct line *l, uint64_t now_ms, uint64_t number)
{
    struct entry *e = hop_next(l->h, now_ms, 100);

    cr_assert_not_null(e);
    cr_assert_eq(e->number, number, "%llu instead of %llu", (unsigned long long)e->number,
                 (unsigned long long)number);
    return e;
}

Test(queue, hops)
{
    struct line l = line_new();

    cr_assert_eq(queue_hop(l.q, "riga"), l.h);
    cr_assert_null(queue_find_hop(l.q, "vilnius"));
    cr_assert_neq(queue_hop(l.q, "vilnius"), l.h);
    cr_assert_eq(queue_hop_count(l.q), 2);
    cr_assert_eq(queue_hop_at(l.q, 0), l.h);
    queue_free(l.q);
    queue_free(NULL);
}

Test(queue, urgent_first_else_in_order)
{
    struct line l = line_new();
    const uint64_t expected[] = {3, 5, 1, 2, 4};

    for (uint64_t n = 1; n <= 5; n++)
        add(&l, n, n == 3 || n == 5);
    cr_assert_null(hop_next(l.h, 0, 100), "it is down");
    l.h->up = true;
    for (size_t i = 0; i < 5; i++)
        entry_sent(l.q, next_is(&l, 0, expected[i]), 50);
    cr_assert_null(hop_next(l.h, 0, 100));
    cr_assert_eq(l.h->in_flight.count, 5);
    cr_assert_eq(hop_count(l.h), 5);
    queue_free(l.q);
}

Test(queue, window)
{
    struct line l = line_new();

    l.h->up = true;
    for (uint64_t n = 1; n <= 4; n++)
        add(&l, n, false);
    for (size_t window = 1; window <= 3; window++) {
        cr_assert_eq(l.h->in_flight.count, window - 1);
        cr_assert_not_null(hop_next(l.h, 0, window));
        entry_sent(l.q, hop_next(l.h, 0, window), 50);
        cr_assert_null(hop_next(l.h, 0, window), "%zu in flight are enough", window);
    }
    queue_free(l.q);
}

Test(queue, pause)
{
    struct line l = line_new();

    l.h->up = true;
    add(&l, 1, false);
    l.h->paused_until_ms = 500;
    cr_assert_null(hop_next(l.h, 499, 100));
    cr_assert_not_null(hop_next(l.h, 500, 100));
    queue_free(l.q);
}

Test(queue, a_pause_is_a_time_to_wait_for_until_it_is_over)
{
    struct line l = line_new();

    l.h->up = true;
    l.h->paused_until_ms = 500;
    cr_assert_eq(queue_first_pause_end(l.q), UINT64_MAX, "nothing waits");
    add(&l, 1, false);
    cr_assert_eq(queue_first_pause_end(l.q), 500);
    cr_assert_null(hop_next(l.h, 499, 0));
    cr_assert_eq(queue_first_pause_end(l.q), 500);
    cr_assert_null(hop_next(l.h, 500, 0), "the window is full");
    cr_assert_eq(queue_first_pause_end(l.q), UINT64_MAX);
    l.h->paused_until_ms = 600;
    l.h->up = false;
    cr_assert_eq(queue_first_pause_end(l.q), UINT64_MAX, "the peer's return comes first");
    queue_free(l.q);
}

Test(queue, a_peer_comes_and_goes)
{
    struct line l = line_new();

    queue_peer_down(l.q, "nobody");
    cr_assert_eq(queue_hop_count(l.q), 1);
    for (uint64_t n = 1; n <= 3; n++)
        add(&l, n, false);
    cr_assert_null(hop_next(l.h, 0, 100), "not up yet");
    l.h->pauses = 3;
    l.h->paused_until_ms = 500;
    cr_assert_eq(queue_peer_up(l.q, "riga"), ERR_OK);
    cr_assert_eq(l.h->pauses, 0);
    entry_sent(l.q, next_is(&l, 0, 1), 50);
    entry_delay(l.q, next_is(&l, 0, 2), 900);
    queue_peer_down(l.q, "riga");
    cr_assert_eq(l.h->in_flight.count, 0);
    cr_assert_eq(l.h->delayed.count, 1, "backs off also while the peer is gone");
    cr_assert_null(hop_next(l.h, 0, 100));
    cr_assert_eq(queue_peer_up(l.q, "riga"), ERR_OK);
    cr_assert_eq(l.h->delayed.count, 0);
    for (uint64_t n = 1; n <= 3; n++)
        entry_sent(l.q, next_is(&l, 0, n), 50);
    cr_assert_eq(queue_peer_up(l.q, "vilnius"), ERR_OK);
    cr_assert(queue_find_hop(l.q, "vilnius")->up);
    queue_free(l.q);
}

Test(queue, back_off_doubles_to_its_bound)
{
    static const uint64_t want[] = {100, 200, 400, 800, 1000, 1000};
    struct line l = line_new();
    struct entry *one = add(&l, 1, false);

    l.h->up = true;
    add(&l, 2, false);
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        entry_back_off(l.q, one, ERR_UNAVAILABLE, 50, 100, 1000);
        cr_assert_eq(one->retry_ms, 50 + want[i], "%zu", i);
        next_is(&l, 50, 2);
    }
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        entry_back_off(l.q, one, i % 2 == 0 ? ERR_DISK_FULL : ERR_AUDIT_UNAVAILABLE, 50, 100, 1000);
        cr_assert_eq(l.h->paused_until_ms, 50 + want[i], "the whole hop, %zu", i);
        cr_assert_null(hop_next(l.h, 50, 100));
    }
    queue_free(l.q);
}

/* Whatever the order in which waits end, the older goes first. */
Test(queue, returns_in_order)
{
    struct line l = line_new();
    struct entry *e[6];

    l.h->up = true;
    for (uint64_t n = 1; n <= 5; n++)
        e[n] = add(&l, n, false);
    for (size_t n = 1; n <= 4; n++)
        entry_sent(l.q, e[n], 50);
    entry_delay(l.q, e[2], 70);
    entry_wait(l.q, e[3]);
    entry_wait(l.q, e[1]);
    entry_wait(l.q, e[4]);
    entry_wait(l.q, e[2]);
    for (uint64_t n = 1; n <= 5; n++)
        entry_sent(l.q, next_is(&l, 100, n), 200);
    queue_free(l.q);
}

Test(queue, times)
{
    struct line l = line_new();
    struct entry *e[4];

    cr_assert_eq(queue_first_due(l.q), UINT64_MAX);
    cr_assert_null(queue_due(l.q, UINT64_MAX));
    for (uint64_t n = 1; n <= 3; n++)
        e[n] = add(&l, n, false);
    cr_assert_eq(queue_first_due(l.q), 1000001, "waiting: the expiry");
    cr_assert_null(queue_due(l.q, 1000000));
    cr_assert_eq(queue_due(l.q, 1000001), e[1]);
    entry_sent(l.q, e[3], 2000000);
    e[3]->expires_ms = 10;
    queue_touch(l.q, e[3]);
    cr_assert_eq(queue_first_due(l.q), 1000001, "in flight: its repetition, not its expiry");
    entry_delay(l.q, e[3], 5);
    cr_assert_eq(queue_first_due(l.q), 5, "delayed: whichever comes first");
    entry_delay(l.q, e[3], 50);
    cr_assert_eq(queue_first_due(l.q), 10);
    queue_remove(l.q, e[3]);
    cr_assert_eq(queue_first_due(l.q), 1000001);
    queue_free(l.q);
}

/* The heap against a plain search, over many changes. */
Test(queue, heap_agrees_with_a_search)
{
    struct line l = line_new();
    struct entry *e[300] = {0};
    uint32_t random = 12345;

    l.h->up = true;
    for (uint64_t n = 0; n < 300; n++) {
        cr_assert_eq(queue_add(l.q, l.h, n, 1000 + (n * 7919) % 5000, n % 3 == 0, false, &e[n]),
                     ERR_OK);
    }
    for (int turn = 0; turn < 5000; turn++) {
        uint64_t first = UINT64_MAX;
        size_t i;

        random = random * 1664525 + 1013904223;
        i = (random >> 8) % 300;
        if (e[i] != NULL) {
            switch ((random >> 4) % 8) {
            case 0:
            case 1:
                entry_sent(l.q, e[i], (random >> 12) % 9000);
                break;
            case 2:
            case 3:
                entry_delay(l.q, e[i], (random >> 12) % 9000);
                break;
            case 4:
            case 5:
            case 6:
                entry_wait(l.q, e[i]);
                break;
            default:
                if (turn > 2000) {
                    queue_remove(l.q, e[i]);
                    e[i] = NULL;
                }
            }
        }
        for (size_t j = 0; j < 300; j++) {
            uint64_t due;

            if (e[j] == NULL)
                continue;
            due = e[j]->state == ENTRY_IN_FLIGHT ? e[j]->retry_ms : e[j]->expires_ms;
            if (e[j]->state == ENTRY_DELAYED && e[j]->retry_ms < due)
                due = e[j]->retry_ms;
            if (due < first)
                first = due;
        }
        cr_assert_eq(queue_first_due(l.q), first);
    }
    queue_free(l.q);
}

/* Answers are looked for among what was offered only. */
Test(queue, find)
{
    struct line l = line_new();
    struct entry *e[6];

    l.h->up = true;
    for (uint64_t n = 1; n <= 5; n++)
        e[n] = add(&l, n, n == 2);
    cr_assert_null(hop_find(l.h, 1), "never offered");
    for (size_t n = 1; n <= 4; n++)
        entry_sent(l.q, e[n], 50);
    cr_assert_eq(hop_find(l.h, 4), e[4]);
    entry_delay(l.q, e[4], 60);
    cr_assert_eq(hop_find(l.h, 4), e[4], "delayed");
    entry_wait(l.q, e[3]);
    entry_wait(l.q, e[2]);
    entry_wait(l.q, e[1]);
    for (uint64_t n = 1; n <= 3; n++)
        cr_assert_eq(hop_find(l.h, n), e[n], "to be sent again");
    cr_assert_null(hop_find(l.h, 5));
    cr_assert_null(hop_find(l.h, 6));
    queue_free(l.q);
}
