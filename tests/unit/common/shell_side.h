/* Two shells on loopback with real keys, and what they were told. */
#ifndef SEALPOST_TESTS_UNIT_COMMON_SHELL_SIDE_H
#define SEALPOST_TESTS_UNIT_COMMON_SHELL_SIDE_H

#include "common/shell.h"

#include "tests/lib/net_node.h"

#include <pthread.h>
#include <stdatomic.h>

#define JOB_TEXT 64

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

#endif
