#include "common/net_internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <zmq.h>

#define ZAP_ENDPOINT "inproc://zeromq.zap.01"
#define ZAP_FRAMES 7
#define ZAP_FRAME_MAX 256

#define ROUTER_EVENTS                                                        \
    (ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_ACCEPT_FAILED | ZMQ_EVENT_DISCONNECTED | \
     ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL)

/* What a server has sent before it has accepted the client's key: ZMTP greeting 64, WELCOME 170
 * (RFC 26/CurveZMQ). READY, which follows, makes it more; a refusal (ERROR) does not. */
#define SENT_BEFORE_READY 260
/* ---- ZAP: RFC 27 ---- */

struct zap_request {
    size_t len[ZAP_FRAMES];
    uint8_t frame[ZAP_FRAMES][ZAP_FRAME_MAX];
};

enum { ZAP_VERSION, ZAP_ID, ZAP_DOMAIN, ZAP_ADDRESS, ZAP_IDENTITY, ZAP_MECHANISM, ZAP_KEY };

static bool zap_receive(void *zap, struct zap_request *ret)
{
    size_t count = 0;
    int more = 1;
    size_t more_len = sizeof more;

    memset(ret, 0, sizeof *ret);
    while (more) {
        uint8_t spare[ZAP_FRAME_MAX];
        bool wanted = count < ZAP_FRAMES;
        int len = zmq_recv(zap, wanted ? ret->frame[count] : spare, ZAP_FRAME_MAX, ZMQ_DONTWAIT);

        if (len < 0)
            return false;
        if (wanted)
            ret->len[count] = (size_t)len;
        count++;
        if (zmq_getsockopt(zap, ZMQ_RCVMORE, &more, &more_len) != 0)
            return false;
    }
    if (count != ZAP_FRAMES)
        ret->len[ZAP_KEY] = 0; /* not understood: refused below */
    return true;
}

static bool frame_is(const struct zap_request *r, size_t i, const char *text)
{
    return r->len[i] == strlen(text) && memcmp(r->frame[i], text, r->len[i]) == 0;
}

static void zap_answer(void *zap, const struct zap_request *r, const char *user)
{
    const char *status = user != NULL ? "200" : "400";
    const char *text = user != NULL ? "" : "key not registered";
    size_t id_len = r->len[ZAP_ID] < ZAP_FRAME_MAX ? r->len[ZAP_ID] : ZAP_FRAME_MAX;

    (void)zmq_send(zap, "1.0", 3, ZMQ_SNDMORE);
    (void)zmq_send(zap, r->frame[ZAP_ID], id_len, ZMQ_SNDMORE);
    (void)zmq_send(zap, status, 3, ZMQ_SNDMORE);
    (void)zmq_send(zap, text, strlen(text), ZMQ_SNDMORE);
    (void)zmq_send(zap, user != NULL ? user : "", user != NULL ? strlen(user) : 0, ZMQ_SNDMORE);
    (void)zmq_send(zap, "", 0, 0);
}

/* The User-Id that messages then carry: the name, a slash, the key in hexadecimal. */
static void user_of(const struct net_peer *row, char ret[LIMIT_PEER + 2 * NET_KEY + 1])
{
    size_t len = strlen(row->name);

    memcpy(ret, row->name, len);
    ret[len++] = '/';
    for (size_t i = 0; i < NET_KEY; i++)
        len += (size_t)snprintf(ret + len, 3, "%02x", row->key[i]);
}

static void zap_pump(struct net *net)
{
    struct zap_request request;

    while (zap_receive(net->zap, &request)) {
        bool understood = frame_is(&request, ZAP_VERSION, "1.0") &&
                          frame_is(&request, ZAP_DOMAIN, NET_ZAP_DOMAIN) &&
                          frame_is(&request, ZAP_MECHANISM, "CURVE") &&
                          request.len[ZAP_KEY] == NET_KEY;
        const uint8_t *key = request.frame[ZAP_KEY];
        const struct net_peer *row = understood ? net_table_find(net, key) : NULL;
        char user[LIMIT_PEER + 2 * NET_KEY + 1];

        if (row == NULL) {
            zap_answer(net->zap, &request, NULL);
            net_refuse(net, NET_REFUSED_KEY, understood ? key : NULL, NULL, 1);
            continue;
        }
        user_of(row, user);
        zap_answer(net->zap, &request, user);
    }
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Splits what user_of() made. */
static bool parse_user(const char *user, char name[LIMIT_PEER], uint8_t key[NET_KEY])
{
    const char *slash = user != NULL ? strchr(user, '/') : NULL;
    size_t len;

    if (slash == NULL || strlen(slash + 1) != 2 * (size_t)NET_KEY)
        return false;
    len = (size_t)(slash - user);
    if (len == 0 || len >= LIMIT_PEER)
        return false;
    for (size_t i = 0; i < NET_KEY; i++) {
        int high = hex_digit(slash[1 + 2 * i]);
        int low = hex_digit(slash[2 + 2 * i]);

        if (high < 0 || low < 0)
            return false;
        key[i] = (uint8_t)(high << 4 | low);
    }
    memcpy(name, user, len);
    name[len] = '\0';
    return true;
}

/* ---- accepted connections ---- */

static struct net_accepted *accepted_of(const struct net *net, int fd)
{
    return fd >= 0 && (size_t)fd < net->accepted_cap ? &net->accepted[fd] : NULL;
}

/* True when `fd` is a connection to one of our ports: the descriptor may have been closed and used
 * for something else since its event was read. */
static bool is_ours(const struct net *net, int fd)
{
    struct sockaddr_storage a = {0};
    socklen_t len = sizeof a;
    uint16_t port;

    if (getsockname(fd, (struct sockaddr *)&a, &len) != 0)
        return false;
    if (a.ss_family == AF_INET)
        port = ntohs(((const struct sockaddr_in *)(const void *)&a)->sin_port);
    else if (a.ss_family == AF_INET6)
        port = ntohs(((const struct sockaddr_in6 *)(const void *)&a)->sin6_port);
    else
        return false;
    for (size_t i = 0; i < net->port_count; i++) {
        if (net->ports[i] == port)
            return true;
    }
    return false;
}

/* libzmq has no call to end one connection of a ROUTER. Shutting the descriptor down makes its I/O
 * thread close it as if the peer had; at worst, when the number was reused for another connection
 * in this instant, that one has to reconnect. */
static void cut(struct net *net, int fd)
{
    struct net_accepted *a = accepted_of(net, fd);

    if (a == NULL || !a->open || a->cut || !is_ours(net, fd))
        return;
    a->cut = true;
    (void)shutdown(fd, SHUT_RDWR);
}

static void on_disconnected(struct net *net, int fd)
{
    struct net_accepted *a = accepted_of(net, fd);
    struct net_known *known;

    if (a == NULL || !a->open)
        return;
    a->open = false;
    net->stats.connections--;
    if (!a->bound)
        return;
    known = net_known_find(net, a->peer);
    if (known != NULL && known->routed && known->serial == a->serial) {
        known->routed = false;
        net_known_changed(net, known, false);
    }
}

static bool grow(struct net *net, int fd)
{
    size_t cap = net->accepted_cap > 0 ? net->accepted_cap : 64;
    struct net_accepted *more;

    if ((size_t)fd < net->accepted_cap)
        return true;
    while (cap <= (size_t)fd)
        cap *= 2;
    more = realloc(net->accepted, cap * sizeof *more);
    if (more == NULL)
        return false;
    memset(more + net->accepted_cap, 0, (cap - net->accepted_cap) * sizeof *more);
    net->accepted = more;
    net->accepted_cap = cap;
    return true;
}

static void on_accepted(struct net *net, int fd)
{
    struct net_accepted *a;

    net->stats.accepted++;
    if (fd < 0)
        return;
    on_disconnected(net, fd);
    if (!grow(net, fd)) {
        net->stats.dropped_no_memory++;
        if (is_ours(net, fd))
            (void)shutdown(fd, SHUT_RDWR);
        return;
    }
    a = &net->accepted[fd];
    *a = (struct net_accepted){.open = true, .serial = ++net->serial};
    net_meter_init(&a->meter, net_now_ms(net));
    net->stats.connections++;
    if (net->stats.connections > net->options.connections_max) {
        net->stats.connections_over++;
        cut(net, fd);
    }
}

static void monitor_pump(struct net *net)
{
    struct net_monitor_event event;

    while (net_monitor_next(net->router_monitor, &event)) {
        switch (event.kind) {
        case ZMQ_EVENT_ACCEPTED:
            on_accepted(net, (int)event.value);
            break;
        case ZMQ_EVENT_DISCONNECTED:
            on_disconnected(net, (int)event.value);
            break;
        case ZMQ_EVENT_ACCEPT_FAILED:
            net->stats.accept_failed++;
            break;
        case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
        case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
            net_refuse(net, NET_REFUSED_HANDSHAKE, NULL, NULL, 1);
            break;
        default:
            break;
        }
    }
}

/* True when the connection takes more memory than it may. */
static bool holds_too_much(const struct net *net, int fd, struct net_accepted *a, uint64_t now)
{
    struct net_traffic traffic;

    if (!net_meter_read(fd, &traffic))
        return false;
    if (!a->bound && traffic.sent <= SENT_BEFORE_READY)
        return traffic.received > LIMIT_FRAME_UNAUTH;
    return net_meter_over(&a->meter, &net->options, traffic.received, now);
}

static void inspect(struct net *net)
{
    uint64_t now = net_now_ms(net);

    if (net->stats.connections == 0 || now < net->inspect_at_ms)
        return;
    net->inspect_at_ms = now + LIMIT_NET_INSPECT_MS;
    for (size_t i = 0; i < net->accepted_cap; i++) {
        struct net_accepted *a = &net->accepted[i];
        int fd = (int)i;

        if (!a->open || a->cut || !is_ours(net, fd) || !holds_too_much(net, fd, a, now))
            continue;
        if (a->bound)
            net_refuse(net, NET_REFUSED_MESSAGE, a->key, a->peer, 1);
        cut(net, fd);
    }
}

void net_accept_pump(struct net *net)
{
    zap_pump(net);
    if (net->router == NULL)
        return;
    monitor_pump(net);
    inspect(net);
}

int net_accept_due_ms(const struct net *net)
{
    uint64_t now = net_now_ms(net);

    if (net->stats.connections == 0)
        return -1;
    return net->inspect_at_ms > now ? (int)(net->inspect_at_ms - now) : 0;
}

void net_accept_recheck(struct net *net)
{
    if (net->router == NULL)
        return;
    monitor_pump(net);
    for (size_t i = 0; i < net->accepted_cap; i++) {
        const struct net_accepted *a = &net->accepted[i];

        if (a->open && a->bound && !net_allowed(net, a->peer, a->key))
            cut(net, (int)i);
    }
}

/* ---- messages ---- */

/* Notes that the connection `fd` is `event`'s peer, and that the peer is reached there when it is
 * its newest connection. */
static void bind_route(struct net *net, int fd, const struct net_event *event,
                       const uint8_t routing_id[NET_ROUTING_ID], size_t wire_bytes)
{
    struct net_accepted *a = accepted_of(net, fd);
    struct net_known *known = net_known_find(net, event->peer);
    bool same =
        a != NULL && a->open && a->bound && memcmp(a->routing_id, routing_id, NET_ROUTING_ID) == 0;

    if (!same) {
        /* All that the monitor has to say about connections before this message was said before it
         * could be received; read it, so that `fd` is not taken for a former connection. */
        monitor_pump(net);
        a = accepted_of(net, fd);
        if (a == NULL || !a->open)
            return;
        a->bound = true;
        memcpy(a->peer, event->peer, sizeof a->peer);
        memcpy(a->key, event->key, NET_KEY);
        memcpy(a->routing_id, routing_id, NET_ROUTING_ID);
    }
    a->meter.taken += wire_bytes;
    if (known == NULL || (known->routed && known->serial >= a->serial))
        return;
    known->routed = true;
    known->fd = fd;
    known->serial = a->serial;
    memcpy(known->key, event->key, NET_KEY);
    memcpy(known->routing_id, routing_id, NET_ROUTING_ID);
    net_known_changed(net, known, true);
}

enum net_got net_accept_receive(struct net *net, struct net_event *ret)
{
    struct net_event event = {0};
    uint8_t id[NET_ROUTING_ID];
    size_t id_len = sizeof id;
    struct net_incoming in;
    int fd;

    if (net->router == NULL || !net_incoming_take(net->router, true, id, &id_len, &in))
        return NET_GOT_NOTHING;
    if (in.held == NULL) {
        net->stats.dropped_no_memory++;
        return NET_GOT_REFUSED;
    }
    fd = net_held_fd(in.held);
    event.has_key = parse_user(net_held_property(in.held, "User-Id"), event.peer, event.key);
    if (!event.has_key || !net_allowed(net, event.peer, event.key)) {
        net_refuse(net, NET_REFUSED_REVOKED, event.has_key ? event.key : NULL, event.peer, 1);
        goto refused;
    }
    /* Our side never chooses a routing id, so whoever does wants something. */
    if (id_len != sizeof id || id[0] != 0 || in.total > LIMIT_NET_PARTS ||
        in.bytes > net->options.frame_max) {
        net_refuse(net, NET_REFUSED_MESSAGE, event.key, event.peer, 1);
        goto refused;
    }
    bind_route(net, fd, &event, id, in.wire_bytes);
    net_held_give(in.held, &event);
    net->stats.messages_in++;
    net->stats.bytes_in += in.bytes;
    *ret = event;
    return NET_GOT_MESSAGE;
refused:
    net_held_free(in.held);
    monitor_pump(net);
    cut(net, fd);
    return NET_GOT_REFUSED;
}

enum err net_accept_send(struct net *net, struct net_known *known, const struct span *parts,
                         size_t count)
{
    enum err e =
        net_socket_send(net->router, span_of(known->routing_id, NET_ROUTING_ID), parts, count);

    if (e == ERR_UNAVAILABLE) {
        known->routed = false;
        net_known_changed(net, known, false);
    }
    return e;
}

/* ---- opening ---- */

static void bound_connections(struct net *net)
{
    struct rlimit limit;
    rlim_t most;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return;
    most = limit.rlim_cur > 2 * LIMIT_NET_FD_RESERVE ? limit.rlim_cur - LIMIT_NET_FD_RESERVE
                                                     : limit.rlim_cur / 2;
    if (net->options.connections_max > most)
        net->options.connections_max = (unsigned)most;
}

static enum err open_router(struct net *net)
{
    int on = 1;
    enum err e = net_socket_new(net, ZMQ_ROUTER, NULL, &net->router);

    if (e != ERR_OK)
        return e;
    if (zmq_setsockopt(net->router, ZMQ_ROUTER_MANDATORY, &on, sizeof on) != 0)
        e = ERR_IO;
    else
        e = net_monitor_new(net, net->router, ROUTER_EVENTS, LIMIT_NET_MONITOR,
                            &net->router_monitor);
    if (e != ERR_OK) {
        (void)zmq_close(net->router);
        net->router = NULL;
    }
    return e;
}

enum err net_accept_open(struct net *net)
{
    int linger = 0;

    bound_connections(net);
    net->zap = zmq_socket(net->context, ZMQ_REP);
    if (net->zap == NULL)
        return ERR_IO;
    if (zmq_setsockopt(net->zap, ZMQ_LINGER, &linger, sizeof linger) != 0 ||
        zmq_bind(net->zap, ZAP_ENDPOINT) != 0)
        return ERR_IO;
    return ERR_OK;
}

void net_accept_close(struct net *net)
{
    int linger = (int)net->options.linger_ms;

    if (net->router != NULL) {
        net_monitor_free(net->router, net->router_monitor);
        (void)zmq_setsockopt(net->router, ZMQ_LINGER, &linger, sizeof linger);
        (void)zmq_close(net->router);
    }
    if (net->zap != NULL)
        (void)zmq_close(net->zap);
    free(net->accepted);
}

enum err net_listen(struct net *net, const char *endpoint, struct net_bound *ret)
{
    struct net_bound bound = {0};
    size_t len = sizeof bound.endpoint;
    const char *port;
    enum err e;

    if (strncmp(endpoint, "tcp://", 6) != 0 || strlen(endpoint) >= LIMIT_ENDPOINT)
        return ERR_CONFIG;
    if (net->port_count == LIMIT_NET_LISTENS)
        return ERR_FULL;
    if (net->router == NULL) {
        e = open_router(net);
        if (e != ERR_OK)
            return e;
    }
    if (zmq_bind(net->router, endpoint) != 0)
        return errno == EINVAL || errno == ENODEV ? ERR_CONFIG : ERR_IO;
    if (zmq_getsockopt(net->router, ZMQ_LAST_ENDPOINT, bound.endpoint, &len) != 0)
        return ERR_IO;
    port = strrchr(bound.endpoint, ':');
    net->ports[net->port_count++] = port != NULL ? (uint16_t)strtoul(port + 1, NULL, 10) : 0;
    *ret = bound;
    return ERR_OK;
}
