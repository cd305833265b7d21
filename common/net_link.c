#include "common/net_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#define LINK_EVENTS                                                         \
    (ZMQ_EVENT_CONNECTED | ZMQ_EVENT_CLOSED | ZMQ_EVENT_DISCONNECTED |      \
     ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | \
     ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH)
#define LINK_MONITOR_QUEUE 64

/* The link's part of its peer's state; the peer may be gone from the table. */
static void tell(struct net *net, const struct net_link *link, bool renewed)
{
    struct net_known *known = net_known_find(net, link->peer);

    if (known != NULL)
        net_known_changed(net, known, renewed);
}

static void close_socket(struct net_link *link, unsigned linger_ms)
{
    int linger = (int)linger_ms;

    if (link->socket == NULL)
        return;
    net_monitor_free(link->socket, link->monitor);
    (void)zmq_setsockopt(link->socket, ZMQ_LINGER, &linger, sizeof linger);
    (void)zmq_close(link->socket);
    link->socket = NULL;
    link->monitor = NULL;
    link->fd = -1;
}

/* Half the back-off for sure, half by chance, so that peers do not come back in step. */
static void wait_for_retry(struct net *net, struct net_link *link)
{
    uint32_t chance;
    unsigned half = link->backoff_ms / 2;

    close_socket(link, 0);
    env_random(net->options.env, &chance, sizeof chance);
    link->state = NET_LINK_WAITING;
    link->at_ms = net_now_ms(net) + half + chance % (half + 1);
    link->backoff_ms = link->backoff_ms < net->options.reconnect_max_ms / 2
                           ? link->backoff_ms * 2
                           : net->options.reconnect_max_ms;
}

static enum err open_socket(struct net *net, struct net_link *link)
{
    const struct net_options *o = &net->options;
    enum err e = net_socket_new(net, ZMQ_DEALER, link->key, &link->socket);

    if (e != ERR_OK)
        goto out;
    e = net_monitor_new(net, link->socket, LINK_EVENTS, LINK_MONITOR_QUEUE, &link->monitor);
    if (e != ERR_OK)
        goto out;
    if (zmq_connect(link->socket, link->endpoint) != 0) {
        e = errno == EINVAL || errno == EPROTONOSUPPORT ? ERR_CONFIG : ERR_IO;
        goto out;
    }
    link->state = NET_LINK_OPENING;
    /* Some failures, as of name resolution, are not told by any event. */
    link->at_ms = net_now_ms(net) + o->connect_ms + o->handshake_ms + o->reconnect_max_ms;
out:
    if (e != ERR_OK)
        close_socket(link, 0);
    return e;
}

enum err net_link_new(struct net *net, const char *peer, const char *endpoint,
                      const uint8_t key[NET_KEY], struct net_link **ret)
{
    struct net_link *link = calloc(1, sizeof *link);
    enum err e;

    if (link == NULL)
        return ERR_NO_MEMORY;
    memcpy(link->peer, peer, strlen(peer) + 1);
    memcpy(link->endpoint, endpoint, strlen(endpoint) + 1);
    memcpy(link->key, key, NET_KEY);
    link->fd = -1;
    link->backoff_ms = net->options.reconnect_min_ms;
    e = open_socket(net, link);
    if (e == ERR_CONFIG || e == ERR_CRYPTO) {
        free(link);
        return e;
    }
    if (e != ERR_OK)
        wait_for_retry(net, link);
    *ret = link;
    return ERR_OK;
}

void net_link_free(struct net *net, struct net_link *link, unsigned linger_ms)
{
    struct net_known *known;

    if (link == NULL)
        return;
    known = net_known_find(net, link->peer);
    close_socket(link, linger_ms);
    if (known != NULL && known->link == link) {
        known->link = NULL;
        net_known_changed(net, known, false);
    }
    free(link);
}

/* The connection or the attempt is over. What came before is still read (NET_LINK_DRAINING). */
static void lost(struct net *net, struct net_link *link)
{
    enum net_link_state was = link->state;

    if (was != NET_LINK_OPENING && was != NET_LINK_UP)
        return;
    link->state = NET_LINK_DRAINING;
    link->fd = -1;
    if (was == NET_LINK_UP)
        tell(net, link, false);
}

static void on_event(struct net *net, struct net_link *link, const struct net_monitor_event *event)
{
    switch (event->kind) {
    case ZMQ_EVENT_CONNECTED:
        link->fd = (int)event->value;
        net_meter_init(&link->meter, net_now_ms(net));
        break;
    case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
        if (link->state != NET_LINK_OPENING)
            break;
        link->state = NET_LINK_UP;
        link->backoff_ms = net->options.reconnect_min_ms;
        tell(net, link, true);
        break;
    case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
    case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
    case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
        if (link->state == NET_LINK_OPENING)
            net->stats.connect_refused++;
        lost(net, link);
        break;
    case ZMQ_EVENT_CLOSED:
        if (link->state == NET_LINK_OPENING)
            net->stats.connect_failed++;
        lost(net, link);
        break;
    case ZMQ_EVENT_DISCONNECTED:
        lost(net, link);
        break;
    default:
        break;
    }
}

/* A server that floods, or that talks on without proving its key, is cut. */
static void inspect(struct net *net, struct net_link *link)
{
    uint64_t now = net_now_ms(net);
    struct net_traffic traffic;
    bool over;

    if (link->fd < 0 || now < link->inspect_at_ms)
        return;
    link->inspect_at_ms = now + LIMIT_NET_INSPECT_MS;
    if (!net_meter_read(link->fd, &traffic))
        return;
    over = link->state == NET_LINK_UP
               ? net_meter_over(&link->meter, &net->options, traffic.received, now)
               : traffic.received > LIMIT_FRAME_UNAUTH;
    if (!over)
        return;
    net_refuse(net, NET_REFUSED_MESSAGE, link->key, link->peer, 1);
    lost(net, link);
    wait_for_retry(net, link);
}

void net_link_pump(struct net *net, struct net_link *link)
{
    struct net_monitor_event event;

    if (link->state == NET_LINK_WAITING) {
        if (net_now_ms(net) >= link->at_ms && open_socket(net, link) != ERR_OK)
            wait_for_retry(net, link);
        return;
    }
    while (net_monitor_next(link->monitor, &event))
        on_event(net, link, &event);
    if (link->state == NET_LINK_OPENING && net_now_ms(net) >= link->at_ms) {
        net->stats.connect_failed++;
        wait_for_retry(net, link);
    }
    inspect(net, link);
}

int net_link_due_ms(const struct net *net, const struct net_link *link)
{
    uint64_t now = net_now_ms(net);

    uint64_t at = link->at_ms;

    if (link->fd >= 0 && (link->state == NET_LINK_UP || link->inspect_at_ms < at))
        at = link->inspect_at_ms;
    if (link->state == NET_LINK_DRAINING || at <= now)
        return 0;
    return (int)(at - now);
}

enum net_got net_link_receive(struct net *net, struct net_link *link, struct net_event *ret)
{
    struct net_incoming in;

    if (link->state == NET_LINK_WAITING)
        return NET_GOT_NOTHING;
    if (!net_incoming_take(link->socket, false, NULL, NULL, &in)) {
        if (link->state == NET_LINK_DRAINING)
            wait_for_retry(net, link);
        return NET_GOT_NOTHING;
    }
    /* That the handshake succeeded was told before the message came. */
    if (link->state == NET_LINK_OPENING)
        net_link_pump(net, link);
    link->meter.taken += in.wire_bytes;
    if (in.held == NULL) {
        net->stats.dropped_no_memory++;
        return NET_GOT_REFUSED;
    }
    if (in.total > LIMIT_NET_PARTS || in.bytes > net->options.frame_max) {
        net_held_free(in.held);
        net_refuse(net, NET_REFUSED_MESSAGE, link->key, link->peer, 1);
        lost(net, link);
        wait_for_retry(net, link);
        return NET_GOT_REFUSED;
    }
    *ret = (struct net_event){.has_key = true};
    memcpy(ret->peer, link->peer, sizeof ret->peer);
    memcpy(ret->key, link->key, NET_KEY);
    net_held_give(in.held, ret);
    net->stats.messages_in++;
    net->stats.bytes_in += in.bytes;
    return NET_GOT_MESSAGE;
}

enum err net_link_send(struct net_link *link, const struct span *parts, size_t count)
{
    assert(link->state == NET_LINK_UP);
    return net_socket_send(link->socket, (struct span){0}, parts, count);
}
