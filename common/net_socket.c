#include "common/net_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

/* What CURVE adds to one part (RFC 26/CurveZMQ, MESSAGE command): the command's name 8, nonce 8,
 * authenticator 16, flags 1; and ZMTP's frame header (RFC 37): 2, or 9 from 256 bytes on. */
#define CURVE_PART 33
#define ZMTP_SHORT 2
#define ZMTP_LONG 9
#define ZMTP_SHORT_MAX 255

struct net_held {
    size_t count;
    zmq_msg_t parts[LIMIT_NET_PARTS];
};

static bool set_int(void *socket, int option, int value)
{
    return zmq_setsockopt(socket, option, &value, sizeof value) == 0;
}

static bool set_bounds(const struct net_options *o, void *socket)
{
    int64_t part_max = (int64_t)o->frame_max + CURVE_PART;

    return zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &part_max, sizeof part_max) == 0 &&
           set_int(socket, ZMQ_SNDHWM, (int)o->send_queue_max) &&
           set_int(socket, ZMQ_RCVHWM, (int)o->receive_queue_max) &&
           set_int(socket, ZMQ_BACKLOG, (int)o->backlog) &&
           set_int(socket, ZMQ_LINGER, (int)o->linger_ms) &&
           set_int(socket, ZMQ_HANDSHAKE_IVL, (int)o->handshake_ms) &&
           set_int(socket, ZMQ_HEARTBEAT_IVL, (int)o->heartbeat_ms) &&
           set_int(socket, ZMQ_HEARTBEAT_TIMEOUT, (int)o->heartbeat_dead_ms) &&
           set_int(socket, ZMQ_HEARTBEAT_TTL, (int)o->heartbeat_dead_ms) &&
           set_int(socket, ZMQ_CONNECT_TIMEOUT, (int)o->connect_ms) &&
           set_int(socket, ZMQ_TCP_KEEPALIVE, 1) && set_int(socket, ZMQ_TCP_KEEPALIVE_IDLE, 30) &&
           set_int(socket, ZMQ_TCP_KEEPALIVE_INTVL, 10) &&
           set_int(socket, ZMQ_TCP_KEEPALIVE_CNT, 3) && set_int(socket, ZMQ_IPV6, 1) &&
           set_int(socket, ZMQ_IMMEDIATE, 1) &&
           /* A handshake that fails ends libzmq's own reconnecting: net_link.c does it instead. */
           set_int(socket, ZMQ_RECONNECT_IVL, -1);
}

static bool set_curve(const struct net *net, void *socket, const uint8_t *server_key)
{
    const uint8_t *secret = net->options.secret_key;

    if (zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, secret, NET_KEY) != 0)
        return false;
    if (server_key == NULL) {
        /* libzmq would admit everybody if there were no ZAP socket: net_new() makes it first. */
        assert(net->zap != NULL);
        return set_int(socket, ZMQ_CURVE_SERVER, 1) &&
               zmq_setsockopt(socket, ZMQ_ZAP_DOMAIN, NET_ZAP_DOMAIN, strlen(NET_ZAP_DOMAIN)) == 0;
    }
    return zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, net->public_key, NET_KEY) == 0 &&
           zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, server_key, NET_KEY) == 0;
}

enum err net_socket_new(struct net *net, int type, const uint8_t *server_key, void **ret)
{
    void *socket = zmq_socket(net->context, type);

    if (socket == NULL)
        return errno == ENOMEM ? ERR_NO_MEMORY : ERR_IO;
    if (!set_bounds(&net->options, socket)) {
        (void)zmq_close(socket);
        return ERR_IO;
    }
    if (!set_curve(net, socket, server_key)) {
        (void)zmq_close(socket);
        return ERR_CRYPTO;
    }
    *ret = socket;
    return ERR_OK;
}

enum err net_monitor_new(struct net *net, void *socket, int events, int queue_max, void **ret)
{
    char name[64];
    void *monitor;

    (void)snprintf(name, sizeof name, "inproc://monitor-%u", net->monitors++);
    if (zmq_socket_monitor(socket, name, events) != 0)
        return ERR_IO;
    monitor = zmq_socket(net->context, ZMQ_PAIR);
    if (monitor == NULL || !set_int(monitor, ZMQ_LINGER, 0) ||
        !set_int(monitor, ZMQ_RCVHWM, queue_max) || zmq_connect(monitor, name) != 0) {
        (void)zmq_socket_monitor(socket, NULL, 0);
        if (monitor != NULL)
            (void)zmq_close(monitor);
        return ERR_IO;
    }
    *ret = monitor;
    return ERR_OK;
}

void net_monitor_free(void *socket, void *monitor)
{
    struct net_monitor_event event;

    if (monitor == NULL)
        return;
    /* The I/O thread waits for room in a full queue, and stopping waits for the I/O thread. */
    while (net_monitor_next(monitor, &event))
        continue;
    (void)zmq_socket_monitor(socket, NULL, 0);
    (void)zmq_close(monitor);
}

bool net_monitor_next(void *monitor, struct net_monitor_event *ret)
{
    uint8_t first[6];
    uint8_t rest[LIMIT_ENDPOINT];
    uint16_t kind;
    int more = 0;
    size_t more_len = sizeof more;
    int len = zmq_recv(monitor, first, sizeof first, ZMQ_DONTWAIT);

    if (len < 0)
        return false;
    if (zmq_getsockopt(monitor, ZMQ_RCVMORE, &more, &more_len) == 0 && more)
        (void)zmq_recv(monitor, rest, sizeof rest, ZMQ_DONTWAIT);
    if (len != (int)sizeof first) {
        *ret = (struct net_monitor_event){0};
        return true;
    }
    /* Host byte order: zmq_socket_monitor(3). */
    memcpy(&kind, first, sizeof kind);
    memcpy(&ret->value, first + sizeof kind, sizeof ret->value);
    ret->kind = kind;
    return true;
}

/* libzmq looks at the commands of its I/O threads only now and then while sending; asking for the
 * events makes it look. */
static void look_again(void *socket)
{
    int events;
    size_t len = sizeof events;

    (void)zmq_getsockopt(socket, ZMQ_EVENTS, &events, &len);
}

static bool make_part(zmq_msg_t *msg, struct span s)
{
    if (zmq_msg_init_size(msg, s.len) != 0)
        return false;
    if (s.len > 0)
        memcpy(zmq_msg_data(msg), s.data, s.len);
    return true;
}

static enum err send_made(void *socket, zmq_msg_t *msg, bool first, bool last)
{
    int flags = ZMQ_DONTWAIT | (last ? 0 : ZMQ_SNDMORE);

    if (zmq_msg_send(msg, socket, flags) >= 0)
        return ERR_OK;
    if (errno == EAGAIN && first) {
        look_again(socket);
        if (zmq_msg_send(msg, socket, flags) >= 0)
            return ERR_OK;
    }
    /* Once the first part is taken, only the end of the connection stops the others; libzmq then
     * takes the whole message back. */
    return errno == EAGAIN && first ? ERR_FULL : ERR_UNAVAILABLE;
}

enum err net_socket_send(void *socket, struct span prefix, const struct span *parts, size_t count)
{
    zmq_msg_t made[LIMIT_NET_PARTS + 1];
    size_t made_count = 0;
    enum err e = ERR_OK;

    assert(count > 0 && count <= LIMIT_NET_PARTS);
    /* All memory first: a message once begun cannot be left unfinished. */
    if (prefix.len > 0 && !make_part(&made[made_count++], prefix))
        return ERR_NO_MEMORY;
    for (size_t i = 0; i < count && e == ERR_OK; i++) {
        if (make_part(&made[made_count], parts[i]))
            made_count++;
        else
            e = ERR_NO_MEMORY;
    }
    for (size_t i = 0; i < made_count && e == ERR_OK; i++)
        e = send_made(socket, &made[i], i == 0, i + 1 == made_count);
    for (size_t i = 0; i < made_count; i++)
        (void)zmq_msg_close(&made[i]); /* empty when it was sent */
    return e;
}

static void count_part(struct net_incoming *in, size_t len)
{
    size_t framed = len + CURVE_PART;

    in->total++;
    in->bytes += len;
    in->wire_bytes += framed + (framed > ZMTP_SHORT_MAX ? ZMTP_LONG : ZMTP_SHORT);
}

static bool take_prefix(void *socket, uint8_t *prefix, size_t *prefix_len, bool *more)
{
    zmq_msg_t msg;
    size_t len;

    (void)zmq_msg_init(&msg);
    if (zmq_msg_recv(&msg, socket, ZMQ_DONTWAIT) < 0) {
        (void)zmq_msg_close(&msg);
        return false;
    }
    len = zmq_msg_size(&msg);
    memcpy(prefix, zmq_msg_data(&msg), len < *prefix_len ? len : *prefix_len);
    *prefix_len = len;
    *more = zmq_msg_more(&msg);
    (void)zmq_msg_close(&msg);
    return true;
}

bool net_incoming_take(void *socket, bool skip_first, uint8_t *prefix, size_t *prefix_len,
                       struct net_incoming *ret)
{
    struct net_incoming in = {0};
    bool more = true;

    if (skip_first && !take_prefix(socket, prefix, prefix_len, &more))
        return false;
    while (more) {
        zmq_msg_t msg;

        (void)zmq_msg_init(&msg);
        if (zmq_msg_recv(&msg, socket, ZMQ_DONTWAIT) < 0) {
            (void)zmq_msg_close(&msg);
            break;
        }
        more = zmq_msg_more(&msg);
        if (in.total == 0)
            in.held = calloc(1, sizeof *in.held);
        count_part(&in, zmq_msg_size(&msg));
        if (in.held != NULL && in.held->count < LIMIT_NET_PARTS) {
            (void)zmq_msg_init(&in.held->parts[in.held->count]);
            (void)zmq_msg_move(&in.held->parts[in.held->count++], &msg);
        }
        (void)zmq_msg_close(&msg);
    }
    if (in.total == 0 && !skip_first)
        return false;
    *ret = in;
    return true;
}

const char *net_held_property(const struct net_held *held, const char *name)
{
    return held->count > 0 ? zmq_msg_gets(&held->parts[0], name) : NULL;
}

int net_held_fd(const struct net_held *held)
{
    return held->count > 0 ? zmq_msg_get(&held->parts[0], ZMQ_SRCFD) : -1;
}

void net_held_give(struct net_held *held, struct net_event *event)
{
    event->kind = NET_MESSAGE;
    event->held = held;
    event->part_count = held->count;
    for (size_t i = 0; i < held->count; i++)
        event->parts[i] = span_of(zmq_msg_data(&held->parts[i]), zmq_msg_size(&held->parts[i]));
}

void net_held_free(struct net_held *held)
{
    if (held == NULL)
        return;
    for (size_t i = 0; i < held->count; i++)
        (void)zmq_msg_close(&held->parts[i]);
    free(held);
}
