/* Two shells on loopback with real keys. */
#include "common/shell.h"

#include "tests/lib/leaks.h"
#include "tests/lib/net_node.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#define JOB_TEXT 64
#define JOBS_MAX 20000

struct job {
    char text[JOB_TEXT];
    size_t len;
};

static atomic_long jobs_alive;

static struct job *job_make(struct span text)
{
    struct job *j = calloc(1, sizeof *j);

    if (j == NULL)
        abort();
    j->len = text.len;
    memcpy(j->text, text.data, text.len < JOB_TEXT ? text.len : JOB_TEXT - 1);
    jobs_alive++;
    return j;
}

static void job_drop(struct job *j)
{
    jobs_alive--;
    free(j);
}

/* What the tests see of one shell. Counters are written by its threads under `lock`. */
struct side {
    struct key_pair keys;
    struct key_pair *other;
    const char *other_name;
    const char *connect_to; /* NULL: listens */
    struct net_bound bound;
    struct shell *shell;
    pthread_mutex_t lock;
    pthread_cond_t opened;
    bool closed; /* run waits while it is */
    bool slow_prepare;
    bool deaf; /* prepare gives nothing */
    enum err run_error;
    enum err setup_error;
    uint64_t wake_in_ms; /* asked for once */
    uint64_t woken_ms;
    uint64_t wake_at_ms;
    size_t messages;
    size_t posted;
    size_t messages_before; /* the first posted job */
    size_t posted_before;   /* the first message */
    size_t ups;
    size_t downs;
    size_t refused;
    size_t empty_runs;
    size_t batch_most;
    size_t setups;
    size_t disorder;
    uint64_t expect; /* number of the next message */
    pthread_t net_thread;
    pthread_t run_thread;
    bool wrong_thread;
    unsigned workers_seen;
};

static void *prepare(void *ctx, unsigned worker, const char *peer, struct span message)
{
    struct side *s = ctx;
    bool deaf;

    if (strcmp(peer, s->other_name) != 0)
        abort();
    pthread_mutex_lock(&s->lock);
    s->workers_seen |= 1u << worker;
    deaf = s->deaf;
    pthread_mutex_unlock(&s->lock);
    /* The work takes different times, so that workers overtake each other. */
    if (s->slow_prepare && message.len % 3 == worker % 3) {
        struct timespec t = {.tv_nsec = 1000000};

        (void)nanosleep(&t, NULL);
    }
    return deaf ? NULL : job_make(message);
}

static void count_job(struct side *s, struct shell_job *j)
{
    struct job *job = j->job;

    switch (j->kind) {
    case SHELL_PREPARED:
        if (s->messages++ == 0)
            s->posted_before = s->posted;
        s->disorder += strtoull(job->text, NULL, 10) != s->expect++;
        break;
    case SHELL_POSTED:
        if (s->posted++ == 0)
            s->messages_before = s->messages;
        break;
    case SHELL_PEER_UP:
        s->ups++;
        break;
    case SHELL_PEER_DOWN:
        s->downs++;
        break;
    case SHELL_REFUSED:
        s->refused += j->count;
        break;
    }
    if (job != NULL)
        job_drop(job);
}

static enum err run(void *ctx, struct shell_job *jobs, size_t count, uint64_t *wake_at_ms)
{
    struct side *s = ctx;
    enum err e;

    pthread_mutex_lock(&s->lock);
    while (s->closed)
        pthread_cond_wait(&s->opened, &s->lock);
    for (size_t i = 0; i < count; i++)
        count_job(s, &jobs[i]);
    s->wrong_thread |= s->run_thread != 0 && !pthread_equal(s->run_thread, pthread_self());
    s->run_thread = pthread_self();
    s->empty_runs += count == 0;
    if (count > s->batch_most)
        s->batch_most = count;
    if (s->wake_at_ms != 0 && s->woken_ms == 0 && count == 0)
        s->woken_ms = mono_ms(NULL);
    if (s->wake_in_ms != 0) {
        s->wake_at_ms = mono_ms(NULL) + s->wake_in_ms;
        *wake_at_ms = s->wake_at_ms;
        s->wake_in_ms = 0;
    }
    e = s->run_error;
    pthread_mutex_unlock(&s->lock);
    return e;
}

static void discard(void *ctx, void *job)
{
    (void)ctx;
    job_drop(job);
}

static enum err setup(void *ctx, struct net *net)
{
    struct side *s = ctx;
    enum err e = s->setup_error;
    bool first;

    pthread_mutex_lock(&s->lock);
    first = s->setups++ == 0;
    if (first)
        s->net_thread = pthread_self();
    s->wrong_thread |= !pthread_equal(s->net_thread, pthread_self());
    pthread_mutex_unlock(&s->lock);
    if (e == ERR_OK && s->other != NULL) {
        struct net_peer p = peer_of(s->other_name, s->other);

        e = net_set_peers(net, &p, 1);
    }
    if (e != ERR_OK || !first)
        return e;
    if (s->connect_to != NULL)
        return net_connect(net, s->other_name, s->connect_to, s->other->public);
    return net_listen(net, "tcp://127.0.0.1:*", &s->bound);
}

static void side_make(struct side *s, struct shell_options *o)
{
    struct shell_ops ops = {
        .ctx = s, .prepare = prepare, .run = run, .discard = discard, .setup = setup};

    o->env = &env;
    o->net = net_options_default();
    o->net.env = &env;
    o->net.public_key = s->keys.public;
    o->net.secret_key = s->keys.secret;
    o->net.reconnect_min_ms = 20;
    o->net.reconnect_max_ms = 200;
    cr_assert_eq(shell_new(o, &ops, &s->shell), ERR_OK);
}

static void side_init(struct side *s)
{
    memset(s, 0, sizeof *s);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->opened, NULL);
    make_keys(&s->keys);
}

static void side_start(struct side *s, struct shell_options o)
{
    side_make(s, &o);
    cr_assert_eq(shell_start(s->shell), ERR_OK);
}

static void side_open(struct side *s, bool closed)
{
    pthread_mutex_lock(&s->lock);
    s->closed = closed;
    pthread_cond_broadcast(&s->opened);
    pthread_mutex_unlock(&s->lock);
}

static void side_stop(struct side *s)
{
    shell_stop(s->shell);
    side_open(s, false);
    cr_assert_eq(shell_wait(s->shell), ERR_OK);
    shell_free(s->shell);
    cr_assert_not(s->wrong_thread, "run and setup have one thread each");
    pthread_cond_destroy(&s->opened);
    pthread_mutex_destroy(&s->lock);
}

static size_t seen(struct side *s, const size_t *count)
{
    size_t n;

    pthread_mutex_lock(&s->lock);
    n = *count;
    pthread_mutex_unlock(&s->lock);
    return n;
}

static struct shell_stats stats_of(struct side *s)
{
    struct shell_stats st;

    shell_stats(s->shell, &st);
    return st;
}

#define AWAIT_REAL(condition)                                        \
    do {                                                             \
        uint64_t end_ = mono_ms(NULL) + DEADLINE_MS;                 \
        struct timespec t_ = {.tv_nsec = 1000000};                   \
        while (!(condition)) {                                       \
            cr_assert_lt(mono_ms(NULL), end_, "never: " #condition); \
            (void)nanosleep(&t_, NULL);                              \
        }                                                            \
    } while (0)

/* `broker` listens, `agent` connects. */
static void two_sides(struct side *broker, struct side *agent, struct shell_options o)
{
    side_init(broker);
    side_init(agent);
    broker->other = &agent->keys;
    broker->other_name = "LV.POLICE";
    agent->other = &broker->keys;
    agent->other_name = "riga";
    side_start(broker, o);
    agent->connect_to = broker->bound.endpoint;
    side_start(agent, (struct shell_options){0});
    AWAIT_REAL(seen(agent, &agent->ups) > 0);
}

static void send_number(struct side *from, const char *to, uint64_t number, size_t len)
{
    struct buf b;
    char head[JOB_TEXT];
    int n = snprintf(head, sizeof head, "%llu ", (unsigned long long)number);

    buf_init(&b, LIMIT_FRAME);
    buf_put(&b, span_of(head, (size_t)n));
    if (len > (size_t)n)
        cr_assert_not_null(buf_extend(&b, len - (size_t)n));
    shell_send(from->shell, to, &b);
    cr_assert_null(b.data, "taken over");
    cr_assert_eq(b.len, 0);
}

/* Sends so that nothing is dropped: libzmq lets go on after half of LIMIT_NET_SEND_QUEUE. */
static void send_paced(struct side *from, struct side *to, uint64_t count, size_t len)
{
    for (uint64_t i = 0; i < count; i++) {
        AWAIT_REAL(i < seen(to, &to->messages) + LIMIT_NET_SEND_QUEUE / 4);
        send_number(from, from->other_name, i, len + i % 3);
    }
    AWAIT_REAL(seen(to, &to->messages) == count);
    cr_assert_eq(stats_of(from).dropped_out, 0);
}

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
