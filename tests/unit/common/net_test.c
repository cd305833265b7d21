#include "tests/lib/net_node.h"

#include "tests/lib/leaks.h"

#include <pthread.h>
#include <sys/eventfd.h>

TestSuite(net, .fini = leaks_check);

Test(net, exchange_both_ways)
{
    struct node riga, police;
    const struct seen *s;

    pair_up(&riga, &police);
    s = find_text(&riga, "hello");
    cr_assert_str_eq(s->peer, "LV.POLICE");
    cr_assert(s->has_key);
    cr_assert_arr_eq(s->key, police.keys.public, NET_KEY);
    cr_assert_eq(riga.log[0].kind, NET_PEER_UP, "told before the message");
    cr_assert_str_eq(riga.log[0].peer, "LV.POLICE");

    cr_assert_eq(say(&riga, "LV.POLICE", "good day"), ERR_OK);
    AWAIT(&riga, &police, find_text(&police, "good day") != NULL);
    s = find_text(&police, "good day");
    cr_assert_str_eq(s->peer, "riga");
    cr_assert_arr_eq(s->key, riga.keys.public, NET_KEY);

    cr_assert_eq(say(&riga, "EE.POLICE", "anyone?"), ERR_UNAVAILABLE);
    cr_assert_eq(say(&police, "vilnius", "anyone?"), ERR_UNAVAILABLE);
    cr_assert(net_is_up(riga.net, "LV.POLICE"));
    cr_assert_not(net_is_up(riga.net, "EE.POLICE"));
    pair_down(&riga, &police);
}

Test(net, parts_at_their_bound)
{
    struct node riga, police;
    struct span parts[LIMIT_NET_PARTS + 1];
    struct net_stats before, after;

    pair_up(&riga, &police);
    for (size_t i = 0; i <= LIMIT_NET_PARTS; i++)
        parts[i] = span_of("part", i == 3 ? 0 : 4);
    parts[0] = span_of("first-of-many", 13);
    net_stats(police.net, &before);
    cr_assert_eq(net_send(police.net, "riga", parts, LIMIT_NET_PARTS + 1), ERR_TOO_LARGE);
    net_stats(police.net, &after);
    cr_assert_eq(after.messages_out, before.messages_out);
    cr_assert_eq(net_send(police.net, "riga", parts, LIMIT_NET_PARTS), ERR_OK);
    AWAIT(&riga, &police, find_text(&riga, "first-of-many") != NULL);
    cr_assert_eq(find_text(&riga, "first-of-many")->part_count, LIMIT_NET_PARTS);
    pair_down(&riga, &police);
}

Test(net, unknown_key_is_refused_and_counted)
{
    struct node riga, police;
    struct net_stats stats;
    const struct seen *s;

    node_init(&riga);
    node_init(&police);
    allow(&police, "riga", &riga.keys);
    cr_assert_eq(net_listen(riga.net, "tcp://127.0.0.1:*", &riga.bound), ERR_OK);
    cr_assert_eq(net_connect(police.net, "riga", riga.bound.endpoint, riga.keys.public), ERR_OK);
    AWAIT(&riga, &police, refusals(&riga, NET_REFUSED_KEY) >= 2);
    s = find(&riga, NET_REFUSED, "");
    cr_assert_not_null(s);
    cr_assert_eq(s->refusal, NET_REFUSED_KEY);
    cr_assert(s->has_key);
    cr_assert_arr_eq(s->key, police.keys.public, NET_KEY);
    net_stats(riga.net, &stats);
    cr_assert_eq(stats.refused_key, refusals(&riga, NET_REFUSED_KEY));
    cr_assert_eq(stats.refused_handshake, 0, "counted once only");
    net_stats(police.net, &stats);
    cr_assert_geq(stats.connect_refused, 1);
    cr_assert_null(find(&police, NET_PEER_UP, NULL));
    cr_assert_eq(say(&police, "riga", "x"), ERR_UNAVAILABLE);

    /* It comes in as soon as it is registered. */
    allow(&riga, "LV.POLICE", &police.keys);
    AWAIT(&riga, &police, find(&police, NET_PEER_UP, "riga") != NULL);
    cr_assert_eq(say(&police, "riga", "now"), ERR_OK);
    AWAIT(&riga, &police, find_text(&riga, "now") != NULL);
    pair_down(&riga, &police);
}

Test(net, wrong_server_key_is_told)
{
    struct node riga, police;
    struct key_pair other;
    struct net_stats stats;

    node_init(&riga);
    node_init(&police);
    make_keys(&other);
    allow(&riga, "LV.POLICE", &police.keys);
    allow(&police, "riga", &other);
    cr_assert_eq(net_listen(riga.net, "tcp://127.0.0.1:*", &riga.bound), ERR_OK);
    cr_assert_eq(net_connect(police.net, "riga", riga.bound.endpoint, other.public), ERR_OK);
    AWAIT(&riga, &police, refusals(&riga, NET_REFUSED_HANDSHAKE) >= 2);
    cr_assert_null(find(&riga, NET_PEER_UP, NULL));
    net_stats(police.net, &stats);
    cr_assert_geq(stats.connect_refused, 1);
    cr_assert_eq(stats.messages_out, 0);
    pair_down(&riga, &police);
}

Test(net, removed_key_is_cut)
{
    struct node riga, police;
    struct stranger s;
    size_t sent = 0;

    pair_up(&riga, &police);
    /* A second key of the same peer, on a client that we control. */
    node_fini(&police);
    node_init(&police);
    AWAIT(&riga, &police, find(&riga, NET_PEER_DOWN, "LV.POLICE") != NULL);
    allow(&riga, "LV.POLICE", &police.keys);
    stranger_init(&s, &police.keys, riga.keys.public, NULL, riga.bound.endpoint);
    riga.log_len = 0;
    cr_assert_eq(zmq_send(s.socket, "before", 6, 0), 6);
    AWAIT(&riga, &police, find_text(&riga, "before") != NULL);

    /* Messages on the way when the key is removed are dropped, and the connection ends. */
    for (int i = 0; i < 200; i++)
        sent += zmq_send(s.socket, "during", 6, ZMQ_DONTWAIT) == 6;
    cr_assert_gt(sent, 0);
    riga.log_len = 0;
    cr_assert_eq(net_set_peers(riga.net, NULL, 0), ERR_OK);
    cr_assert_eq(say(&riga, "LV.POLICE", "secret"), ERR_UNAVAILABLE);
    AWAIT(&riga, &police, find(&riga, NET_PEER_DOWN, "LV.POLICE") != NULL);
    /* It tries again and meets the handshake. */
    AWAIT(&riga, &police, refusals(&riga, NET_REFUSED_KEY) >= 1);
    cr_assert_null(find(&riga, NET_MESSAGE, NULL));
    cr_assert_null(find(&riga, NET_PEER_UP, NULL));
    stranger_fini(&s);
    pair_down(&riga, &police);
}

Test(net, message_of_a_removed_key_is_refused_by_name)
{
    struct node riga, police;
    struct net_event event;
    struct net_peer other;
    struct key_pair keys;

    /* The connection has not spoken yet, so that it cannot be found when its key is removed. */
    node_init(&riga);
    node_init(&police);
    allow(&riga, "LV.POLICE", &police.keys);
    allow(&police, "riga", &riga.keys);
    cr_assert_eq(net_listen(riga.net, "tcp://127.0.0.1:*", &riga.bound), ERR_OK);
    cr_assert_eq(net_connect(police.net, "riga", riga.bound.endpoint, riga.keys.public), ERR_OK);
    AWAIT(&riga, &police, net_is_up(police.net, "riga"));
    /* The name stays, with another key: the key decides. */
    make_keys(&keys);
    other = peer_of("LV.POLICE", &keys);
    cr_assert_eq(net_set_peers(riga.net, &other, 1), ERR_OK);
    cr_assert_eq(say(&police, "riga", "late"), ERR_OK);
    AWAIT(&riga, &police, refusals(&riga, NET_REFUSED_REVOKED) == 1);
    cr_assert_str_eq(find(&riga, NET_REFUSED, "LV.POLICE")->peer, "LV.POLICE");
    cr_assert_arr_eq(find(&riga, NET_REFUSED, "LV.POLICE")->key, police.keys.public, NET_KEY);
    cr_assert_null(find(&riga, NET_MESSAGE, NULL));
    AWAIT(&riga, &police, find(&police, NET_PEER_DOWN, "riga") != NULL);
    cr_assert_not(net_next(riga.net, &event) && event.kind == NET_MESSAGE);
    pair_down(&riga, &police);
}

Test(net, own_connection_follows_the_table)
{
    struct node riga, police;
    struct key_pair other;

    pair_up(&riga, &police);
    make_keys(&other);
    allow(&police, "riga", &other);
    AWAIT(&riga, &police, find(&police, NET_PEER_DOWN, "riga") != NULL);
    AWAIT(&riga, &police, find(&riga, NET_PEER_DOWN, "LV.POLICE") != NULL);
    cr_assert_eq(say(&police, "riga", "x"), ERR_UNAVAILABLE);
    cr_assert_eq(net_disconnect(police.net, "riga"), ERR_NOT_FOUND);
    cr_assert_eq(net_connect(police.net, "riga", riga.bound.endpoint, riga.keys.public),
                 ERR_REVOKED);
    pair_down(&riga, &police);
}

Test(net, two_keys_of_one_name)
{
    struct node riga, police;
    struct key_pair next;
    struct stranger s;
    struct net_peer both[2];
    char got[16] = {0};
    int wait_ms = 50;

    pair_up(&riga, &police);
    make_keys(&next);
    both[0] = peer_of("LV.POLICE", &next);
    both[1] = peer_of("LV.POLICE", &police.keys);
    cr_assert_eq(net_set_peers(riga.net, both, 2), ERR_OK);
    riga.log_len = 0;
    stranger_init(&s, &next, riga.keys.public, NULL, riga.bound.endpoint);
    cr_assert_eq(zmq_send(s.socket, "new key", 7, 0), 7);
    AWAIT(&riga, &police, find_text(&riga, "new key") != NULL);
    cr_assert_arr_eq(find_text(&riga, "new key")->key, next.public, NET_KEY);
    cr_assert_not_null(find(&riga, NET_PEER_UP, "LV.POLICE"), "a newer connection is told");

    /* The former connection still speaks, answers go to the newest. */
    cr_assert_eq(say(&police, "riga", "old key"), ERR_OK);
    AWAIT(&riga, &police, find_text(&riga, "old key") != NULL);
    cr_assert_eq(say(&riga, "LV.POLICE", "answer"), ERR_OK);
    cr_assert_eq(zmq_setsockopt(s.socket, ZMQ_RCVTIMEO, &wait_ms, sizeof wait_ms), 0);
    AWAIT(&riga, &police, zmq_recv(s.socket, got, sizeof got, 0) == 6);
    cr_assert_str_eq(got, "answer");

    /* The new key goes: the old one is still good. */
    cr_assert_eq(net_set_peers(riga.net, both + 1, 1), ERR_OK);
    cr_assert_eq(say(&police, "riga", "still here"), ERR_OK);
    AWAIT(&riga, &police, find_text(&riga, "still here") != NULL);
    cr_assert_eq(say(&riga, "LV.POLICE", "welcome"), ERR_OK);
    AWAIT(&riga, &police, find_text(&police, "welcome") != NULL);
    stranger_fini(&s);
    pair_down(&riga, &police);
}

Test(net, reconnects_after_the_server_restarts)
{
    struct node riga, police;
    struct net_options o;
    char endpoint[LIMIT_ENDPOINT];

    pair_up(&riga, &police);
    memcpy(endpoint, riga.bound.endpoint, sizeof endpoint);
    net_free(riga.net);
    riga.net = NULL;
    AWAIT(&police, NULL, find(&police, NET_PEER_DOWN, "riga") != NULL);
    cr_assert_eq(say(&police, "riga", "lost?"), ERR_UNAVAILABLE, "nothing queues for the dead");

    police.log_len = 0;
    riga.log_len = 0;
    o = options_of(&riga);
    node_start(&riga, &o);
    allow(&riga, "LV.POLICE", &police.keys);
    cr_assert_eq(net_listen(riga.net, endpoint, &riga.bound), ERR_OK);
    AWAIT(&riga, &police, find(&police, NET_PEER_UP, "riga") != NULL);
    cr_assert_eq(say(&police, "riga", "again"), ERR_OK);
    AWAIT(&riga, &police, find_text(&riga, "again") != NULL);
    cr_assert_null(find_text(&riga, "lost?"));
    pair_down(&riga, &police);
}

Test(net, backs_off_from_a_dead_server)
{
    struct node riga, police;
    struct net_stats stats = {0};
    uint64_t start, passed;

    pair_up(&riga, &police);
    net_free(riga.net);
    riga.net = NULL;
    AWAIT(&police, NULL, find(&police, NET_PEER_DOWN, "riga") != NULL);
    start = mono_ms(NULL);
    AWAIT(&police, NULL, (net_stats(police.net, &stats), stats.connect_failed >= 8));
    /* 20, 40, 80, 160, then 200 ms each, of which half is left to chance. */
    passed = mono_ms(NULL) - start;
    cr_assert_geq(passed, 10 + 20 + 40 + 80 + 3 * 100 - 20);
    cr_assert_eq(police.log[police.log_len - 1].kind, NET_PEER_DOWN, "told once");
    pair_down(&riga, &police);
}

/* Accepts one connection on a port of its own. */
static int listen_at(char endpoint[64])
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    cr_assert_eq(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    cr_assert_eq(listen(fd, 4), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    (void)snprintf(endpoint, 64, "tcp://127.0.0.1:%u", ntohs(a.sin_port));
    return fd;
}

Test(net, a_server_that_floods_is_cut)
{
    struct node police;
    struct net_options o;
    struct key_pair server;
    uint8_t *bytes = calloc(1, LIMIT_FRAME_UNAUTH);
    uint8_t long_command[9] = {0x06, 0, 0, 0, 0, 0, 0x7f, 0, 0};
    char endpoint[64];
    int listener = listen_at(endpoint);
    int fd = -1;

    cr_assert_not_null(bytes);
    police = (struct node){0};
    make_keys(&police.keys);
    make_keys(&server);
    o = options_of(&police);
    o.handshake_ms = 600000; /* so that only the bound can end it */
    node_start(&police, &o);
    allow(&police, "riga", &server);
    cr_assert_eq(net_connect(police.net, "riga", endpoint, server.public), ERR_OK);
    AWAIT(&police, NULL, (fd = accept(listener, NULL, NULL)) >= 0);
    zmtp_greet(fd);
    cr_assert_eq(send(fd, long_command, sizeof long_command, MSG_NOSIGNAL), 9);
    cr_assert_eq(send(fd, bytes, LIMIT_FRAME_UNAUTH - 73, MSG_NOSIGNAL),
                 (ssize_t)LIMIT_FRAME_UNAUTH - 73);
    for (uint64_t end = mono_ms(NULL) + 4 * LIMIT_NET_INSPECT_MS; mono_ms(NULL) < end;)
        turn(&police);
    cr_assert_eq(police.log_len, 0, "up to the bound it is only slow");
    cr_assert_eq(send(fd, bytes, 1, MSG_NOSIGNAL), 1);
    AWAIT(&police, NULL, refusals(&police, NET_REFUSED_MESSAGE) == 1);
    cr_assert_str_eq(find(&police, NET_REFUSED, NULL)->peer, "riga");
    AWAIT(&police, NULL, is_closed(fd));
    (void)close(fd);
    (void)close(listener);
    free(bytes);
    node_fini(&police);
}

Test(net, disconnect)
{
    struct node riga, police;

    pair_up(&riga, &police);
    cr_assert_eq(net_connect(police.net, "riga", riga.bound.endpoint, riga.keys.public),
                 ERR_EXISTS);
    cr_assert_eq(net_disconnect(police.net, "riga"), ERR_OK);
    cr_assert_eq(net_disconnect(police.net, "riga"), ERR_NOT_FOUND);
    AWAIT(&riga, &police, find(&police, NET_PEER_DOWN, "riga") != NULL);
    AWAIT(&riga, &police, find(&riga, NET_PEER_DOWN, "LV.POLICE") != NULL);
    cr_assert_eq(say(&riga, "LV.POLICE", "x"), ERR_UNAVAILABLE);
    pair_down(&riga, &police);
}

Test(net, high_water_mark_gives_full)
{
    struct node riga, police;
    uint8_t *bytes = calloc(1, 256 * LIMIT_KIB);
    struct span part = span_of(bytes, 256 * LIMIT_KIB);
    size_t sent = 0;
    size_t got = 0;
    enum err e = ERR_OK;

    cr_assert_not_null(bytes);
    pair_up(&riga, &police);
    /* Riga does not read: its queue, the kernel's buffers and our queue fill up. */
    while (e == ERR_OK) {
        e = net_send(police.net, "riga", &part, 1);
        sent += e == ERR_OK;
        cr_assert_lt(sent, 100000);
    }
    cr_assert_eq(e, ERR_FULL);
    cr_assert_geq(sent, LIMIT_NET_SEND_QUEUE - 1); /* a former message may count */
    cr_assert(net_is_up(police.net, "riga"));
    /* Nothing of what was taken is lost, and there is room again. */
    riga.log_len = 0;
    AWAIT(&riga, &police, riga.log_len >= sent);
    for (size_t i = 0; i < riga.log_len; i++)
        got += riga.log[i].kind == NET_MESSAGE;
    cr_assert_eq(got, sent);
    cr_assert_eq(say(&police, "riga", "room"), ERR_OK);
    AWAIT(&riga, &police, find_text(&riga, "room") != NULL);
    free(bytes);
    pair_down(&riga, &police);
}

Test(net, a_full_peer_delays_nobody)
{
    struct node riga, police, customs;
    struct net_peer both[2];
    uint8_t *bytes = calloc(1, 256 * LIMIT_KIB);
    struct span part = span_of(bytes, 256 * LIMIT_KIB);
    enum err e = ERR_OK;

    pair_up(&riga, &police);
    node_init(&customs);
    both[0] = peer_of("LV.POLICE", &police.keys);
    both[1] = peer_of("LV.CUSTOMS", &customs.keys);
    cr_assert_eq(net_set_peers(riga.net, both, 2), ERR_OK);
    allow(&customs, "riga", &riga.keys);
    cr_assert_eq(net_connect(customs.net, "riga", riga.bound.endpoint, riga.keys.public), ERR_OK);
    AWAIT(&riga, &customs, net_is_up(customs.net, "riga"));
    cr_assert_eq(say(&customs, "riga", "here"), ERR_OK);
    AWAIT(&riga, &customs, find_text(&riga, "here") != NULL);
    for (size_t i = 0; e == ERR_OK && i < 100000; i++)
        e = net_send(riga.net, "LV.POLICE", &part, 1);
    cr_assert_eq(e, ERR_FULL);
    cr_assert_eq(say(&riga, "LV.CUSTOMS", "for you"), ERR_OK);
    AWAIT(&riga, &customs, find_text(&customs, "for you") != NULL);
    free(bytes);
    node_fini(&customs);
    pair_down(&riga, &police);
}

static void *wake_soon(void *net)
{
    net_wake(net);
    return NULL;
}

Test(net, wake_from_another_thread)
{
    struct node riga;
    pthread_t thread;
    uint64_t before = mono_ms(NULL);

    node_init(&riga);
    cr_assert_eq(net_wait(riga.net, 0), ERR_TIMEOUT);
    cr_assert_eq(pthread_create(&thread, NULL, wake_soon, riga.net), 0);
    cr_assert_eq(net_wait(riga.net, DEADLINE_MS), ERR_OK);
    cr_assert_lt(mono_ms(NULL) - before, DEADLINE_MS / 2);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert_eq(net_wait(riga.net, 10), ERR_TIMEOUT, "a wake is used up");
    node_fini(&riga);
}

Test(net, watched_descriptor_wakes)
{
    struct node riga;
    int fd[LIMIT_NET_WATCHED + 1];
    uint64_t one = 1;

    node_init(&riga);
    for (size_t i = 0; i <= LIMIT_NET_WATCHED; i++) {
        fd[i] = eventfd(0, EFD_NONBLOCK);
        cr_assert_eq(net_watch_fd(riga.net, fd[i]), i < LIMIT_NET_WATCHED ? ERR_OK : ERR_FULL);
    }
    cr_assert_eq(net_watch_fd(riga.net, fd[0]), ERR_EXISTS);
    cr_assert_eq(net_wait(riga.net, 0), ERR_TIMEOUT);
    cr_assert_eq(write(fd[5], &one, sizeof one), (ssize_t)sizeof one);
    cr_assert_eq(net_wait(riga.net, DEADLINE_MS), ERR_OK);
    net_unwatch_fd(riga.net, fd[5]);
    cr_assert_eq(net_wait(riga.net, 0), ERR_TIMEOUT);
    for (size_t i = 0; i <= LIMIT_NET_WATCHED; i++)
        (void)close(fd[i]);
    net_unwatch_fd(riga.net, fd[5]);
    node_fini(&riga);
}

Test(net, table_rules)
{
    struct node riga;
    struct key_pair a;
    struct net_peer rows[2];
    struct net_peer *many = calloc(LIMIT_NET_PEERS + 1, sizeof *many);

    cr_assert_not_null(many);
    node_init(&riga);
    make_keys(&a);
    rows[0] = peer_of("LV.POLICE", &a);
    rows[1] = peer_of("LV.POLICE", &a);
    cr_assert_eq(net_set_peers(riga.net, rows, 2), ERR_OK, "a repeated row is one row");
    rows[1] = peer_of("LV.CUSTOMS", &a);
    cr_assert_eq(net_set_peers(riga.net, rows, 2), ERR_MALFORMED);
    cr_assert_eq(net_connect(riga.net, "LV.POLICE", "tcp://127.0.0.1:9", a.public), ERR_OK,
                 "the former table stays");
    rows[0] = peer_of("", &a);
    cr_assert_eq(net_set_peers(riga.net, rows, 1), ERR_MALFORMED);
    rows[0] = peer_of("a/b", &a);
    cr_assert_eq(net_set_peers(riga.net, rows, 1), ERR_MALFORMED);
    memset(rows[0].name, 'A', LIMIT_PEER);
    cr_assert_eq(net_set_peers(riga.net, rows, 1), ERR_MALFORMED);
    rows[0].name[LIMIT_PEER - 1] = '\0';
    cr_assert_eq(net_set_peers(riga.net, rows, 1), ERR_OK);
    for (size_t i = 0; i <= LIMIT_NET_PEERS; i++) {
        (void)snprintf(many[i].name, LIMIT_PEER, "p%zu", i);
        memcpy(many[i].key, &i, sizeof i);
    }
    cr_assert_eq(net_set_peers(riga.net, many, LIMIT_NET_PEERS + 1), ERR_TOO_LARGE);
    cr_assert_eq(net_set_peers(riga.net, many, LIMIT_NET_PEERS), ERR_OK);
    cr_assert_eq(net_set_peers(riga.net, many, LIMIT_NET_PEERS - 1), ERR_OK);
    free(many);
    node_fini(&riga);
}

Test(net, endpoints_not_understood)
{
    struct node riga, police;
    struct net_bound bound;
    char endpoint[LIMIT_ENDPOINT + 1] = "tcp://";

    node_init(&riga);
    node_init(&police);
    allow(&riga, "LV.POLICE", &police.keys);
    cr_assert_eq(net_listen(riga.net, "ipc:///tmp/x", &bound), ERR_CONFIG);
    cr_assert_eq(net_listen(riga.net, "tcp://127.0.0.1", &bound), ERR_CONFIG);
    cr_assert_eq(net_connect(riga.net, "LV.POLICE", "127.0.0.1:1", police.keys.public), ERR_CONFIG);
    cr_assert_eq(net_connect(riga.net, "LV.POLICE", "tcp://127.0.0.1", police.keys.public),
                 ERR_CONFIG);
    memset(endpoint + 6, '1', LIMIT_ENDPOINT - 6);
    cr_assert_eq(net_connect(riga.net, "LV.POLICE", endpoint, police.keys.public), ERR_CONFIG);
    cr_assert_eq(net_listen(riga.net, endpoint, &bound), ERR_CONFIG);
    /* Taken already. */
    cr_assert_eq(net_listen(riga.net, "tcp://127.0.0.1:*", &riga.bound), ERR_OK);
    cr_assert_eq(net_listen(police.net, riga.bound.endpoint, &bound), ERR_IO);
    for (size_t i = 1; i < LIMIT_NET_LISTENS; i++)
        cr_assert_eq(net_listen(riga.net, "tcp://127.0.0.1:*", &bound), ERR_OK);
    cr_assert_eq(net_listen(riga.net, "tcp://127.0.0.1:*", &bound), ERR_FULL);
    pair_down(&riga, &police);
}

static void *release(void *event)
{
    net_event_release(event);
    return NULL;
}

Test(net, a_message_outlives_its_net_on_another_thread)
{
    struct node riga, police;
    struct net_event event = {0};
    pthread_t thread;
    char text[] = "longer than what libzmq keeps inside of its message";
    uint64_t end = mono_ms(NULL) + DEADLINE_MS;

    pair_up(&riga, &police);
    cr_assert_eq(say(&police, "riga", text), ERR_OK);
    while (!net_next(riga.net, &event) || event.kind != NET_MESSAGE)
        cr_assert_lt(mono_ms(NULL), end);
    pair_down(&riga, &police);
    cr_assert_eq(event.parts[0].len, strlen(text));
    cr_assert_arr_eq(event.parts[0].data, text, strlen(text));
    cr_assert_eq(pthread_create(&thread, NULL, release, &event), 0);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    net_event_release(&event);
}

Test(net, free_accepts_nothing)
{
    struct net_event event = {0};

    net_free(NULL);
    net_event_release(&event);
}
