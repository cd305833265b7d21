/* Two nets in one thread, clients of ZeroMQ and TCP that are not ours, and waiting by events. */
#ifndef SEALPOST_TESTS_LIB_NET_NODE_H
#define SEALPOST_TESTS_LIB_NET_NODE_H

#include "common/net.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#define DEADLINE_MS 20000
#define LOG_MAX 4096

[[maybe_unused]] static uint64_t mono_ms(void *ctx)
{
    struct timespec t;

    (void)ctx;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

[[maybe_unused]] static void fill(void *ctx, void *out, size_t len)
{
    (void)ctx;
    cr_assert_eq(getrandom(out, len, 0), (ssize_t)len);
}

static const struct env env = {.now_ms = mono_ms, .mono_ms = mono_ms, .random = fill};

struct key_pair {
    uint8_t public[NET_KEY];
    uint8_t secret[NET_KEY];
};

struct seen {
    enum net_event_kind kind;
    enum net_refusal refusal;
    char peer[LIMIT_PEER];
    uint8_t key[NET_KEY];
    bool has_key;
    uint64_t count;
    size_t part_count;
    size_t len; /* of the first part */
    char text[64];
};

/* A net and what it told. */
struct node {
    struct key_pair keys;
    struct net *net;
    struct net_bound bound;
    struct seen *log;
    size_t log_len;
};

[[maybe_unused]] static void make_keys(struct key_pair *keys)
{
    char public[41];
    char secret[41];

    cr_assert_eq(zmq_curve_keypair(public, secret), 0);
    cr_assert_not_null(zmq_z85_decode(keys->public, public));
    cr_assert_not_null(zmq_z85_decode(keys->secret, secret));
}

[[maybe_unused]] static struct net_options options_of(struct node *n)
{
    struct net_options o = net_options_default();

    o.env = &env;
    o.public_key = n->keys.public;
    o.secret_key = n->keys.secret;
    o.reconnect_min_ms = 20;
    o.reconnect_max_ms = 200;
    return o;
}

[[maybe_unused]] static void node_start(struct node *n, const struct net_options *o)
{
    cr_assert_eq(net_new(o, &n->net), ERR_OK);
    if (n->log == NULL)
        n->log = calloc(LOG_MAX, sizeof *n->log);
    cr_assert_not_null(n->log);
}

[[maybe_unused]] static void node_init(struct node *n)
{
    struct net_options o;

    *n = (struct node){0};
    make_keys(&n->keys);
    o = options_of(n);
    node_start(n, &o);
}

[[maybe_unused]] static void node_fini(struct node *n)
{
    uint64_t before = mono_ms(NULL);

    net_free(n->net);
    cr_assert_lt(mono_ms(NULL) - before, 5000, "net_free() is bounded");
    free(n->log);
}

[[maybe_unused]] static struct net_peer peer_of(const char *name, const struct key_pair *keys)
{
    struct net_peer p = {0};

    (void)snprintf(p.name, sizeof p.name, "%s", name);
    memcpy(p.key, keys->public, NET_KEY);
    return p;
}

[[maybe_unused]] static void allow(struct node *n, const char *name, const struct key_pair *keys)
{
    struct net_peer p = peer_of(name, keys);

    cr_assert_eq(net_set_peers(n->net, &p, 1), ERR_OK);
}

[[maybe_unused]] static void note(struct node *n, struct net_event *event)
{
    struct seen *s = &n->log[n->log_len++];

    cr_assert_lt(n->log_len, LOG_MAX);
    *s = (struct seen){.kind = event->kind,
                       .refusal = event->refusal,
                       .has_key = event->has_key,
                       .count = event->count,
                       .part_count = event->part_count};
    memcpy(s->peer, event->peer, sizeof s->peer);
    memcpy(s->key, event->key, NET_KEY);
    if (event->kind == NET_MESSAGE) {
        s->len = event->parts[0].len;
        memcpy(s->text, event->parts[0].data, s->len < 63 ? s->len : 63);
    }
    net_event_release(event);
}

/* One short round of waiting and taking all events. */
[[maybe_unused]] static void turn(struct node *n)
{
    struct net_event event;
    enum err e = net_wait(n->net, 2);

    cr_assert(e == ERR_OK || e == ERR_TIMEOUT);
    while (net_next(n->net, &event))
        note(n, &event);
}

[[maybe_unused]] static const struct seen *find(const struct node *n, enum net_event_kind kind,
                                                const char *peer)
{
    for (size_t i = 0; i < n->log_len; i++) {
        if (n->log[i].kind == kind && (peer == NULL || strcmp(n->log[i].peer, peer) == 0))
            return &n->log[i];
    }
    return NULL;
}

[[maybe_unused]] static const struct seen *find_text(const struct node *n, const char *text)
{
    for (size_t i = 0; i < n->log_len; i++) {
        if (n->log[i].kind == NET_MESSAGE && strcmp(n->log[i].text, text) == 0)
            return &n->log[i];
    }
    return NULL;
}

[[maybe_unused]] static uint64_t refusals(const struct node *n, enum net_refusal refusal)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < n->log_len; i++) {
        if (n->log[i].kind == NET_REFUSED && n->log[i].refusal == refusal)
            sum += n->log[i].count;
    }
    return sum;
}

/* Runs both nodes until the condition holds; `b` may be NULL. */
#define AWAIT(a, b, condition)                                          \
    do {                                                                \
        uint64_t end_ = mono_ms(NULL) + DEADLINE_MS;                    \
        struct node *other_ = (b);                                      \
        while (!(condition)) {                                          \
            cr_assert_lt(mono_ms(NULL), end_, "never: %s", #condition); \
            turn(a);                                                    \
            if (other_ != NULL)                                         \
                turn(other_);                                           \
        }                                                               \
    } while (0)

[[maybe_unused]] static enum err say(struct node *n, const char *peer, const char *text)
{
    struct span part = span_of(text, strlen(text));

    return net_send(n->net, peer, &part, 1);
}

/* `riga` listens, `police` connects; both know each other and are up. */
[[maybe_unused]] static void pair_up(struct node *riga, struct node *police)
{
    node_init(riga);
    node_init(police);
    allow(riga, "LV.POLICE", &police->keys);
    allow(police, "riga", &riga->keys);
    cr_assert_eq(net_listen(riga->net, "tcp://127.0.0.1:*", &riga->bound), ERR_OK);
    cr_assert_eq(net_connect(police->net, "riga", riga->bound.endpoint, riga->keys.public), ERR_OK);
    AWAIT(riga, police, find(police, NET_PEER_UP, "riga") != NULL);
    cr_assert_eq(say(police, "riga", "hello"), ERR_OK);
    AWAIT(riga, police, find_text(riga, "hello") != NULL);
}

[[maybe_unused]] static void pair_down(struct node *riga, struct node *police)
{
    node_fini(police);
    node_fini(riga);
}

/* A ZeroMQ client that is not ours. */
struct stranger {
    void *context;
    void *socket;
};

[[maybe_unused]] static void stranger_init(struct stranger *s, const struct key_pair *keys,
                                           const uint8_t *server, const char *routing_id,
                                           const char *endpoint)
{
    int linger = 0;

    s->context = zmq_ctx_new();
    s->socket = zmq_socket(s->context, ZMQ_DEALER);
    cr_assert_eq(zmq_setsockopt(s->socket, ZMQ_LINGER, &linger, sizeof linger), 0);
    if (keys != NULL) {
        cr_assert_eq(zmq_setsockopt(s->socket, ZMQ_CURVE_PUBLICKEY, keys->public, NET_KEY), 0);
        cr_assert_eq(zmq_setsockopt(s->socket, ZMQ_CURVE_SECRETKEY, keys->secret, NET_KEY), 0);
        cr_assert_eq(zmq_setsockopt(s->socket, ZMQ_CURVE_SERVERKEY, server, NET_KEY), 0);
    }
    if (routing_id != NULL)
        cr_assert_eq(zmq_setsockopt(s->socket, ZMQ_ROUTING_ID, routing_id, strlen(routing_id)), 0);
    cr_assert_eq(zmq_connect(s->socket, endpoint), 0);
}

[[maybe_unused]] static void stranger_fini(struct stranger *s)
{
    (void)zmq_close(s->socket);
    (void)zmq_ctx_term(s->context);
}

[[maybe_unused]] static uint16_t port_of(const struct net_bound *bound)
{
    return (uint16_t)strtoul(strrchr(bound->endpoint, ':') + 1, NULL, 10);
}

[[maybe_unused]] static int tcp_to(const struct net_bound *bound)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port_of(bound))};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    cr_assert_geq(fd, 0);
    cr_assert(connect(fd, (struct sockaddr *)&a, sizeof a) == 0 || errno == EINPROGRESS);
    return fd;
}

[[maybe_unused]] static bool is_closed(int fd)
{
    char byte[512];
    ssize_t n = recv(fd, byte, sizeof byte, MSG_DONTWAIT);

    return n == 0 || (n < 0 && errno != EAGAIN);
}

/* ZMTP 3 greeting (RFC 37) that asks for CURVE. */
[[maybe_unused]] static void zmtp_greet(int fd)
{
    uint8_t greeting[64] = {0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0};

    memcpy(greeting + 12, "CURVE", 5);
    cr_assert_eq(send(fd, greeting, sizeof greeting, MSG_NOSIGNAL), (ssize_t)sizeof greeting);
}

#endif
