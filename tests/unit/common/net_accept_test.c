#include "common/net_internal.h"

#include "tests/lib/leaks.h"
#include "tests/lib/net_node.h"

TestSuite(net_accept, .fini = leaks_check);

Test(net_accept, size_at_its_bound)
{
    struct node riga, police;
    struct net_options o;
    uint8_t *bytes = calloc(1, 5000);
    struct span part = {.data = bytes};
    struct span two[2] = {{.data = bytes, .len = 4096}, {.data = bytes, .len = 1}};
    size_t at;

    cr_assert_not_null(bytes);
    node_init(&riga);
    node_init(&police);
    net_free(riga.net);
    o = options_of(&riga);
    o.frame_max = 4096;
    node_start(&riga, &o);
    allow(&riga, "LV.POLICE", &police.keys);
    allow(&police, "riga", &riga.keys);
    cr_assert_eq(net_listen(riga.net, "tcp://127.0.0.1:*", &riga.bound), ERR_OK);
    cr_assert_eq(net_connect(police.net, "riga", riga.bound.endpoint, riga.keys.public), ERR_OK);
    AWAIT(&riga, &police, net_is_up(police.net, "riga"));
    for (part.len = 4095; part.len <= 4096; part.len++) {
        riga.log_len = 0;
        cr_assert_eq(net_send(police.net, "riga", &part, 1), ERR_OK);
        AWAIT(&riga, &police, find(&riga, NET_MESSAGE, "LV.POLICE") != NULL);
        cr_assert_eq(find(&riga, NET_MESSAGE, "LV.POLICE")->len, part.len);
    }
    /* The sender's bound is higher here: the receiver has to defend itself. */
    part.len = 4097;
    at = police.log_len;
    cr_assert_eq(net_send(police.net, "riga", &part, 1), ERR_OK);
    AWAIT(&riga, &police, police.log_len > at && find(&riga, NET_PEER_DOWN, "LV.POLICE"));
    AWAIT(&riga, &police, net_is_up(police.net, "riga"));
    /* Too large only in sum. */
    riga.log_len = 0;
    cr_assert_eq(net_send(police.net, "riga", two, 2), ERR_OK);
    AWAIT(&riga, &police, refusals(&riga, NET_REFUSED_MESSAGE) == 1);
    cr_assert_null(find(&riga, NET_MESSAGE, NULL));
    /* No harm done. */
    police.log_len = 0;
    AWAIT(&riga, &police, find(&police, NET_PEER_UP, "riga") != NULL);
    cr_assert_eq(say(&police, "riga", "small"), ERR_OK);
    AWAIT(&riga, &police, find_text(&riga, "small") != NULL);
    /* And the sender's own bound. */
    two[1].len = 0;
    cr_assert_eq(net_send(riga.net, "LV.POLICE", two, 2), ERR_OK);
    two[1].len = 1;
    cr_assert_eq(net_send(riga.net, "LV.POLICE", two, 2), ERR_TOO_LARGE);
    free(bytes);
    pair_down(&riga, &police);
}

Test(net_accept, no_curve_is_refused)
{
    struct node riga;
    struct stranger s;

    node_init(&riga);
    cr_assert_eq(net_listen(riga.net, "tcp://127.0.0.1:*", &riga.bound), ERR_OK);
    stranger_init(&s, NULL, NULL, NULL, riga.bound.endpoint);
    cr_assert_eq(zmq_send(s.socket, "plain", 5, 0), 5);
    AWAIT(&riga, NULL, refusals(&riga, NET_REFUSED_HANDSHAKE) >= 1);
    cr_assert_null(find(&riga, NET_MESSAGE, NULL));
    stranger_fini(&s);
    node_fini(&riga);
}

Test(net_accept, a_chosen_routing_id_gains_nothing)
{
    struct node riga, police;
    struct key_pair keys;
    struct net_peer both[2];
    struct stranger s;
    char got[16];

    pair_up(&riga, &police);
    make_keys(&keys);
    both[0] = peer_of("LV.POLICE", &police.keys);
    both[1] = peer_of("LV.CUSTOMS", &keys);
    cr_assert_eq(net_set_peers(riga.net, both, 2), ERR_OK);
    /* A registered but hostile peer takes what it thinks is the other's id. */
    stranger_init(&s, &keys, riga.keys.public, "LV.POLICE", riga.bound.endpoint);
    riga.log_len = 0;
    cr_assert_eq(zmq_send(s.socket, "it is me", 8, 0), 8);
    AWAIT(&riga, &police, refusals(&riga, NET_REFUSED_MESSAGE) >= 1);
    cr_assert_str_eq(find(&riga, NET_REFUSED, NULL)->peer, "LV.CUSTOMS");
    cr_assert_null(find(&riga, NET_MESSAGE, NULL));
    cr_assert_eq(say(&riga, "LV.POLICE", "for you"), ERR_OK);
    AWAIT(&riga, &police, find_text(&police, "for you") != NULL);
    cr_assert_lt(zmq_recv(s.socket, got, sizeof got, ZMQ_DONTWAIT), 0);
    cr_assert_eq(say(&police, "riga", "not blocked"), ERR_OK);
    AWAIT(&riga, &police, find_text(&riga, "not blocked") != NULL);
    stranger_fini(&s);
    pair_down(&riga, &police);
}

Test(net_accept, connections_are_bounded)
{
    enum { MAX = 4 };
    struct node riga;
    struct net_options o;
    struct net_stats stats = {0};
    int fd[MAX + 3];
    size_t closed = 0;

    riga = (struct node){0};
    make_keys(&riga.keys);
    o = options_of(&riga);
    o.connections_max = MAX;
    o.handshake_ms = 60000;
    node_start(&riga, &o);
    cr_assert_eq(net_listen(riga.net, "tcp://127.0.0.1:*", &riga.bound), ERR_OK);
    for (size_t i = 0; i < MAX + 3; i++)
        fd[i] = tcp_to(&riga.bound);
    AWAIT(&riga, NULL, (net_stats(riga.net, &stats), stats.connections_over == 3));
    AWAIT(&riga, NULL, (net_stats(riga.net, &stats), stats.connections == MAX));
    for (uint64_t end = mono_ms(NULL) + DEADLINE_MS; closed < 3;) {
        cr_assert_lt(mono_ms(NULL), end);
        turn(&riga);
        closed = 0;
        for (size_t i = 0; i < MAX + 3; i++)
            closed += is_closed(fd[i]);
    }
    cr_assert_eq(closed, 3);
    for (size_t i = 0; i < MAX + 3; i++)
        (void)close(fd[i]);
    AWAIT(&riga, NULL, (net_stats(riga.net, &stats), stats.connections == 0));
    node_fini(&riga);
}

Test(net_accept, a_flood_before_authentication_is_cut)
{
    struct node riga;
    struct net_options o;
    uint8_t *bytes = calloc(1, LIMIT_MIB);
    uint8_t long_command[9] = {0x06, 0, 0, 0, 0, 0, 0x7f, 0, 0};
    int fd;

    cr_assert_not_null(bytes);
    riga = (struct node){0};
    make_keys(&riga.keys);
    o = options_of(&riga);
    o.handshake_ms = 600000; /* so that only the bound can end it */
    node_start(&riga, &o);
    cr_assert_eq(net_listen(riga.net, "tcp://127.0.0.1:*", &riga.bound), ERR_OK);
    fd = tcp_to(&riga.bound);
    turn(&riga);
    zmtp_greet(fd);
    cr_assert_eq(send(fd, long_command, sizeof long_command, MSG_NOSIGNAL), 9);
    /* Up to the bound it is only slow. */
    cr_assert_eq(send(fd, bytes, LIMIT_FRAME_UNAUTH - 73, MSG_NOSIGNAL),
                 (ssize_t)LIMIT_FRAME_UNAUTH - 73);
    for (uint64_t end = mono_ms(NULL) + 4 * LIMIT_NET_INSPECT_MS; mono_ms(NULL) < end;)
        turn(&riga);
    cr_assert_eq(refusals(&riga, NET_REFUSED_HANDSHAKE), 0);
    cr_assert_eq(send(fd, bytes, 1, MSG_NOSIGNAL), 1);
    AWAIT(&riga, NULL, refusals(&riga, NET_REFUSED_HANDSHAKE) == 1);
    AWAIT(&riga, NULL, is_closed(fd));
    (void)close(fd);
    free(bytes);
    node_fini(&riga);
}

Test(net_accept, a_stalled_handshake_is_ended)
{
    struct node riga;
    struct net_options o;
    int silent, greeted;

    riga = (struct node){0};
    make_keys(&riga.keys);
    o = options_of(&riga);
    o.handshake_ms = 200;
    node_start(&riga, &o);
    cr_assert_eq(net_listen(riga.net, "tcp://127.0.0.1:*", &riga.bound), ERR_OK);
    silent = tcp_to(&riga.bound);
    greeted = tcp_to(&riga.bound);
    turn(&riga);
    zmtp_greet(greeted);
    AWAIT(&riga, NULL, refusals(&riga, NET_REFUSED_HANDSHAKE) == 2);
    (void)close(silent);
    (void)close(greeted);
    node_fini(&riga);
}

/* A TCP proxy that passes on at most so much per turn, so that the speed of the sender is ours. */
struct way {
    uint8_t bytes[256 * 1024];
    size_t at, len;
    size_t passed;
};

struct proxy {
    int listener, client, server;
    char endpoint[LIMIT_ENDPOINT];
    struct way there, back;
};

static void proxy_init(struct proxy *p, const struct net_bound *server)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t len = sizeof a;

    *p = (struct proxy){.client = -1};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    p->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    cr_assert_eq(bind(p->listener, (struct sockaddr *)&a, sizeof a), 0);
    cr_assert_eq(listen(p->listener, 1), 0);
    cr_assert_eq(getsockname(p->listener, (struct sockaddr *)&a, &len), 0);
    (void)snprintf(p->endpoint, sizeof p->endpoint, "tcp://127.0.0.1:%u", ntohs(a.sin_port));
    p->server = tcp_to(server);
}

static void proxy_fini(struct proxy *p)
{
    (void)close(p->listener);
    (void)close(p->client);
    (void)close(p->server);
}

/* Passes on what fits now. False when a side has closed. */
static bool pass(struct way *w, int from, int to)
{
    ssize_t n;

    if (w->at == w->len) {
        n = recv(from, w->bytes, sizeof w->bytes, MSG_DONTWAIT);
        if (n <= 0)
            return n < 0 && errno == EAGAIN;
        w->at = 0;
        w->len = (size_t)n;
    }
    n = send(to, w->bytes + w->at, w->len - w->at, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0)
        return errno == EAGAIN;
    w->at += (size_t)n;
    w->passed += (size_t)n;
    return true;
}

static bool proxy_turn(struct proxy *p)
{
    if (p->client < 0) {
        p->client = accept4(p->listener, NULL, NULL, SOCK_NONBLOCK);
        return true;
    }
    return pass(&p->there, p->client, p->server) && pass(&p->back, p->server, p->client);
}

Test(net_accept, an_endless_message_is_cut)
{
    enum { PARTS = 4096, PART = 16 * 1024, SLACK = 9 * 1024 * 1024 };
    struct node riga = {0};
    struct net_options o;
    struct key_pair keys;
    struct stranger s;
    struct proxy *p = calloc(1, sizeof *p);
    uint8_t *bytes = calloc(1, PART);
    uint64_t end = mono_ms(NULL) + DEADLINE_MS;

    cr_assert(p != NULL && bytes != NULL);
    make_keys(&riga.keys);
    make_keys(&keys);
    o = options_of(&riga);
    o.frame_max = PART;
    node_start(&riga, &o);
    allow(&riga, "LV.POLICE", &keys);
    cr_assert_eq(net_listen(riga.net, "tcp://127.0.0.1:*", &riga.bound), ERR_OK);
    proxy_init(p, &riga.bound);
    stranger_init(&s, &keys, riga.keys.public, NULL, p->endpoint);
    cr_assert_eq(zmq_send(s.socket, "hello", 5, 0), 5);
    while (find_text(&riga, "hello") == NULL) {
        cr_assert(mono_ms(NULL) < end && proxy_turn(p));
        turn(&riga);
    }
    /* libzmq would keep all of the 64 MiB until the last part. */
    for (size_t i = 0; i < PARTS; i++)
        cr_assert_eq(zmq_send(s.socket, bytes, PART, i + 1 < PARTS ? ZMQ_SNDMORE : 0), PART);
    while (proxy_turn(p)) {
        cr_assert_lt(mono_ms(NULL), end);
        turn(&riga);
    }
    AWAIT(&riga, NULL, find(&riga, NET_PEER_DOWN, "LV.POLICE") != NULL);
    cr_assert_eq(refusals(&riga, NET_REFUSED_MESSAGE), 1);
    cr_assert_geq(p->there.passed, (size_t)8 * 1024 * 1024, "an honest queue is kept");
    cr_assert_lt(p->there.passed, (size_t)PARTS * PART - SLACK);
    stranger_fini(&s);
    proxy_fini(p);
    free(p);
    free(bytes);
    node_fini(&riga);
}

Test(net_accept, unread_bytes_at_their_bound)
{
    struct net_options o = net_options_default();
    struct net_meter m;
    uint64_t most;

    o.receive_queue_max = 8;
    o.frame_max = LIMIT_MIB;
    most = 10 * (LIMIT_MIB + LIMIT_NET_PARTS * 64) + 8 * LIMIT_MIB;
    net_meter_init(&m, 1000);
    cr_assert_not(net_meter_over(&m, &o, most - 1, 1000));
    cr_assert_not(net_meter_over(&m, &o, most, 1000));
    cr_assert(net_meter_over(&m, &o, most + 1, 1000));
    m.taken = 500;
    cr_assert_not(net_meter_over(&m, &o, most + 500, 1000));
    cr_assert(net_meter_over(&m, &o, most + 501, 1000));
    /* Heartbeats are never taken as messages: 64 bytes a second are given to them. */
    cr_assert_not(net_meter_over(&m, &o, most + 500 + 640, 11000));
    cr_assert(net_meter_over(&m, &o, most + 500 + 641, 11000));
    /* An idle connection saves nothing up. */
    cr_assert_not(net_meter_over(&m, &o, 2000, 100000000));
    cr_assert(net_meter_over(&m, &o, 2000 + most + 1, 100000000));
}

Test(net_accept, too_many_parts_are_refused)
{
    struct node riga, police;
    struct stranger s;

    node_init(&riga);
    node_init(&police);
    allow(&riga, "LV.POLICE", &police.keys);
    cr_assert_eq(net_listen(riga.net, "tcp://127.0.0.1:*", &riga.bound), ERR_OK);
    stranger_init(&s, &police.keys, riga.keys.public, NULL, riga.bound.endpoint);
    for (int i = 0; i <= LIMIT_NET_PARTS; i++)
        cr_assert_eq(zmq_send(s.socket, "p", 1, i < LIMIT_NET_PARTS ? ZMQ_SNDMORE : 0), 1);
    AWAIT(&riga, NULL, refusals(&riga, NET_REFUSED_MESSAGE) == 1);
    cr_assert_null(find(&riga, NET_MESSAGE, NULL));
    stranger_fini(&s);
    pair_down(&riga, &police);
}

Test(net_accept, refusals_are_merged_beyond_the_bound)
{
    enum { CLIENTS = LIMIT_NET_REFUSALS + 6 };
    struct node riga;
    struct stranger s[CLIENTS];
    struct net_stats stats = {0};
    struct net_event event;
    uint64_t sum = 0;
    size_t events = 0;
    bool merged = false;

    node_init(&riga);
    cr_assert_eq(net_listen(riga.net, "tcp://127.0.0.1:*", &riga.bound), ERR_OK);
    for (size_t i = 0; i < CLIENTS; i++) {
        struct key_pair keys;

        make_keys(&keys);
        stranger_init(&s[i], &keys, riga.keys.public, NULL, riga.bound.endpoint);
    }
    /* Handshakes are answered while nobody takes the events. */
    for (uint64_t end = mono_ms(NULL) + DEADLINE_MS; stats.refused_key < CLIENTS;) {
        cr_assert_lt(mono_ms(NULL), end);
        (void)!net_wait(riga.net, 1);
        net_stats(riga.net, &stats);
    }
    while (net_next(riga.net, &event)) {
        if (event.kind != NET_REFUSED || event.refusal != NET_REFUSED_KEY)
            continue;
        sum += event.count;
        events++;
        merged = merged || !event.has_key;
    }
    net_stats(riga.net, &stats);
    cr_assert_eq(sum, stats.refused_key, "none is lost");
    cr_assert_leq(events, LIMIT_NET_REFUSALS);
    cr_assert(merged);
    for (size_t i = 0; i < CLIENTS; i++)
        stranger_fini(&s[i]);
    node_fini(&riga);
}
