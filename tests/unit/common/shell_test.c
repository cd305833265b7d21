#include "tests/unit/common/shell_side.h"

#include "tests/lib/leaks.h"

#include <poll.h>

TestSuite(shell, .fini = leaks_check, .timeout = 120);

Test(shell, order_is_kept_with_many_workers)
{
    struct side broker, agent;

    two_sides(&broker, &agent, (struct shell_options){.workers = 7, .batch_max = 16});
    broker.slow_prepare = true;
    send_paced(&agent, &broker, 3000, 100);
    cr_assert_eq(broker.disorder, 0);
    cr_assert_gt(__builtin_popcount(broker.workers_seen), 1);
    cr_assert_leq(broker.batch_most, 16);
    cr_assert_eq(stats_of(&broker).batch_largest, broker.batch_most);
    cr_assert_geq(stats_of(&broker).jobs, 3000);
    cr_assert_eq(broker.ups, 1, "told by the first message");

    /* And the other way, as an answer goes. */
    send_paced(&broker, &agent, 500, 100);
    cr_assert_eq(agent.disorder, 0);
    side_stop(&agent);
    AWAIT_REAL(seen(&broker, &broker.downs) > 0);
    side_stop(&broker);
    cr_assert_eq(jobs_alive, 0);
}

Test(shell, a_slow_commit_pushes_back)
{
    enum { COUNT = 600, LEN = 100 * 1024 };
    struct side broker, agent;
    uint64_t quiet;
    uint64_t taken;

    two_sides(&broker, &agent,
              (struct shell_options){.workers = 2, .inbound_max = 8, .batch_max = 4});
    side_open(&broker, true);
    for (uint64_t i = 0; i < COUNT; i++) {
        AWAIT_REAL(shell_can_send(agent.shell));
        send_number(&agent, "riga", i, LEN);
    }
    /* 60 MB were sent, but the broker holds a batch, its ring, and what the net may hold. */
    taken = UINT64_MAX;
    quiet = 0;
    for (uint64_t end = mono_ms(NULL) + DEADLINE_MS; quiet < 300;) {
        uint64_t now = stats_of(&broker).net.messages_in;
        struct timespec t = {.tv_nsec = 1000000};

        cr_assert_lt(mono_ms(NULL), end);
        quiet = now == taken ? quiet + 1 : 0;
        taken = now;
        (void)nanosleep(&t, NULL);
    }
    cr_assert_leq(taken, 4 + 8 + 1, "%llu", (unsigned long long)taken);
    cr_assert_leq(jobs_alive, 4 + 8);
    cr_assert_eq(broker.messages, 0);
    side_open(&broker, false);
    AWAIT_REAL(seen(&broker, &broker.messages) + stats_of(&agent).dropped_out == COUNT);
    cr_assert_gt(broker.messages, taken);
    side_stop(&agent);
    side_stop(&broker);
    cr_assert_eq(jobs_alive, 0);
}

Test(shell, the_way_out_is_bounded)
{
    enum { LEN = 10000 };
    struct side s;
    struct buf big;
    struct shell_options o = {.workers = 1, .outbound_max = 100000};
    size_t n = 0;

    side_init(&s);
    s.other_name = "x";
    side_make(&s, &o);
    /* Before the start nothing is taken out. */
    while (stats_of(&s).dropped_out == 0) {
        bool half = !shell_can_send(s.shell);

        cr_assert_eq(half, n * LEN >= 50000, "%zu", n);
        send_number(&s, "x", n, LEN);
        n++;
    }
    cr_assert_eq(n, 10, "a message counts for a little more than its bytes");
    for (int i = 0; i < 100000 && stats_of(&s).dropped_out < 10; i++)
        send_number(&s, "x", 0, 0);
    cr_assert_eq(stats_of(&s).dropped_out, 10, "empty ones are bounded too");
    buf_init(&big, 4);
    buf_put_str(&big, "too long");
    shell_send(s.shell, "x", &big);
    cr_assert_eq(stats_of(&s).dropped_out, 11, "a message that was not built is not sent");
    shell_free(s.shell);
    shell_free(NULL);
}

Test(shell, unknown_peers_and_garbage_are_counted)
{
    struct side broker, agent;

    two_sides(&broker, &agent, (struct shell_options){.workers = 2});
    send_number(&agent, "EE.POLICE", 0, 10);
    AWAIT_REAL(stats_of(&agent).dropped_out == 1);
    pthread_mutex_lock(&broker.lock);
    broker.deaf = true;
    pthread_mutex_unlock(&broker.lock);
    for (uint64_t i = 0; i < 5; i++)
        send_number(&agent, "riga", i, 10);
    AWAIT_REAL(stats_of(&broker).dropped_in == 5);
    pthread_mutex_lock(&broker.lock);
    broker.deaf = false;
    pthread_mutex_unlock(&broker.lock);
    send_number(&agent, "riga", 0, 10);
    AWAIT_REAL(seen(&broker, &broker.messages) == 1);
    side_stop(&agent);
    side_stop(&broker);
    cr_assert_eq(jobs_alive, 0);
}

struct poster {
    struct side *side;
    size_t count;
    size_t refused;
};

static void *post_many(void *arg)
{
    struct poster *p = arg;

    for (size_t i = 0; i < p->count; i++) {
        struct job *j = job_make(span_str("posted"));

        if (shell_post_wait(p->side->shell, j) != ERR_OK) {
            job_drop(j);
            p->refused++;
        }
    }
    return NULL;
}

Test(shell, posted_jobs)
{
    struct side s;
    struct poster p[3];
    pthread_t threads[3];
    struct job *j;
    size_t n = 0;

    side_init(&s);
    s.other_name = "x";
    s.closed = true;
    side_start(&s, (struct shell_options){.workers = 1, .batch_max = 1});
    for (;;) {
        enum err e;

        j = job_make(span_str("posted"));
        e = shell_post(s.shell, j);
        if (e == ERR_OK) {
            n++;
            continue;
        }
        cr_assert_eq(e, ERR_FULL);
        job_drop(j);
        break;
    }
    cr_assert_geq(n, 4096);
    cr_assert_leq(n, 4097, "one may be in the hands of run");
    /* Those that may wait do, and all arrive. */
    for (int i = 0; i < 3; i++) {
        p[i] = (struct poster){.side = &s, .count = 1000};
        cr_assert_eq(pthread_create(&threads[i], NULL, post_many, &p[i]), 0);
    }
    side_open(&s, false);
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        cr_assert_eq(p[i].refused, 0);
    }
    AWAIT_REAL(seen(&s, &s.posted) == n + 3000);
    shell_stop(s.shell);
    j = job_make(span_str("too late"));
    cr_assert_eq(shell_post(s.shell, j), ERR_UNAVAILABLE);
    cr_assert_eq(shell_post_wait(s.shell, j), ERR_UNAVAILABLE);
    job_drop(j);
    side_stop(&s);
    cr_assert_eq(jobs_alive, 0);
}

Test(shell, a_stop_frees_those_who_wait)
{
    struct side s;
    struct poster p = {.side = &s, .count = 5000};
    pthread_t thread;

    side_init(&s);
    s.other_name = "x";
    s.closed = true;
    side_start(&s, (struct shell_options){.workers = 1});
    cr_assert_eq(pthread_create(&thread, NULL, post_many, &p), 0);
    AWAIT_REAL(jobs_alive >= 4096);
    shell_stop(s.shell);
    pthread_join(thread, NULL);
    cr_assert_gt(p.refused, 0);
    side_stop(&s);
    cr_assert_eq(jobs_alive, 0, "those that were not run are freed");
}

Test(shell, neither_peers_nor_posts_keep_the_other_out)
{
    struct side broker, agent;
    struct job *j;

    two_sides(&broker, &agent,
              (struct shell_options){.workers = 1, .inbound_max = 64, .batch_max = 4});
    side_open(&broker, true);
    for (uint64_t i = 0; i < 60; i++) {
        AWAIT_REAL(i < stats_of(&broker).net.messages_in + LIMIT_NET_SEND_QUEUE / 4);
        send_number(&agent, "riga", i, 10);
    }
    AWAIT_REAL(stats_of(&broker).net.messages_in >= 60);
    j = job_make(span_str("posted"));
    cr_assert_eq(shell_post(broker.shell, j), ERR_OK);
    side_open(&broker, false);
    AWAIT_REAL(seen(&broker, &broker.messages) == 60 && seen(&broker, &broker.posted) == 1);
    cr_assert_eq(broker.disorder, 0);
    cr_assert_leq(broker.messages_before, 4, "in the second batch at the latest");

    side_open(&broker, true);
    pthread_mutex_lock(&broker.lock);
    broker.messages = 0;
    broker.posted = 0;
    broker.expect = 0;
    pthread_mutex_unlock(&broker.lock);
    for (int i = 0; i < 1000; i++)
        cr_assert_eq(shell_post(broker.shell, job_make(span_str("posted"))), ERR_OK);
    send_number(&agent, "riga", 0, 10);
    AWAIT_REAL(stats_of(&broker).net.messages_in >= 61 && jobs_alive == 1001);
    side_open(&broker, false);
    AWAIT_REAL(seen(&broker, &broker.messages) == 1 && seen(&broker, &broker.posted) == 1000);
    cr_assert_leq(broker.posted_before, 8);
    side_stop(&agent);
    side_stop(&broker);
}

Test(shell, wakes_when_asked)
{
    struct side s;
    uint64_t woken, at;

    side_init(&s);
    s.other_name = "x";
    s.wake_in_ms = 150;
    side_start(&s, (struct shell_options){.workers = 1});
    AWAIT_REAL(seen(&s, &s.empty_runs) >= 2);
    pthread_mutex_lock(&s.lock);
    woken = s.woken_ms;
    at = s.wake_at_ms;
    pthread_mutex_unlock(&s.lock);
    cr_assert_geq(woken, at, "not before");
    cr_assert_leq(woken, at + 2000);
    side_stop(&s);
    cr_assert_eq(s.empty_runs, 2, "once at the start, once as asked");
}

Test(shell, a_stop_under_load_frees_everything)
{
    for (int round = 0; round < 5; round++) {
        struct side broker, agent;

        two_sides(&broker, &agent,
                  (struct shell_options){.workers = 3, .inbound_max = 32, .batch_max = 4});
        broker.slow_prepare = true;
        if (round % 2 == 1)
            side_open(&broker, true);
        for (uint64_t i = 0; i < 200; i++) {
            struct job *j = job_make(span_str("posted"));

            send_number(&agent, "riga", i, 2000);
            if (shell_post(broker.shell, j) != ERR_OK)
                job_drop(j);
        }
        AWAIT_REAL(stats_of(&broker).net.messages_in > 5);
        side_stop(&broker);
        side_stop(&agent);
        cr_assert_eq(jobs_alive, 0);
    }
}

Test(shell, an_error_of_run_stops_it)
{
    struct pollfd p = {.events = POLLIN};
    struct side s;
    struct job *j = job_make(span_str("last"));

    side_init(&s);
    s.other_name = "x";
    side_start(&s, (struct shell_options){.workers = 2});
    p.fd = shell_stopped_fd(s.shell);
    cr_assert_eq(poll(&p, 1, 0), 0);
    AWAIT_REAL(seen(&s, &s.empty_runs) == 1);
    pthread_mutex_lock(&s.lock);
    s.run_error = ERR_IN_DOUBT;
    pthread_mutex_unlock(&s.lock);
    cr_assert_eq(shell_post(s.shell, j), ERR_OK);
    cr_assert_eq(poll(&p, 1, DEADLINE_MS), 1);
    shell_stop(s.shell);
    cr_assert_eq(shell_wait(s.shell), ERR_IN_DOUBT, "the first reason stays");
    shell_free(s.shell);
    cr_assert_eq(jobs_alive, 0);
}

Test(shell, an_error_of_setup_is_told_at_the_start)
{
    struct shell_options o = {.workers = 2};
    struct side s;

    side_init(&s);
    s.other_name = "x";
    s.setup_error = ERR_CONFIG;
    side_make(&s, &o);
    cr_assert_eq(shell_start(s.shell), ERR_CONFIG);
    shell_free(s.shell);
}

Test(shell, reloading_cuts_who_is_gone)
{
    struct side broker, agent;
    struct key_pair others;

    two_sides(&broker, &agent, (struct shell_options){.workers = 2});
    send_paced(&agent, &broker, 1, 10);
    make_keys(&others);
    pthread_mutex_lock(&broker.lock);
    broker.other = &others;
    pthread_mutex_unlock(&broker.lock);
    shell_reload(broker.shell);
    AWAIT_REAL(seen(&broker, &broker.setups) == 2);
    AWAIT_REAL(seen(&broker, &broker.downs) == 1);
    AWAIT_REAL(seen(&broker, &broker.refused) > 0);
    cr_assert_eq(broker.messages, 1);

    /* A setup that fails while it runs stops it. */
    broker.setup_error = ERR_NO_MEMORY;
    shell_reload(broker.shell);
    cr_assert_eq(shell_wait(broker.shell), ERR_NO_MEMORY);
    shell_free(broker.shell);
    side_stop(&agent);
    cr_assert_eq(jobs_alive, 0);
}
