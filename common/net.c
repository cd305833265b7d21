#include "common/net_internal.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <zmq.h>

/* Sockets of libzmq: each connection has itself and the two ends of its monitor; closed ones linger
 * for a moment. */
#define SOCKETS_MAX (8 * LIMIT_NET_LINKS)
#define POLL_MAX (4 + 2 * LIMIT_NET_LINKS + LIMIT_NET_WATCHED)

struct net_options net_options_default(void)
{
    return (struct net_options){
        .frame_max = LIMIT_FRAME,
        .send_queue_max = LIMIT_NET_SEND_QUEUE,
        .receive_queue_max = LIMIT_NET_RECEIVE_QUEUE,
        .connections_max = LIMIT_NET_CONNECTIONS,
        .backlog = LIMIT_NET_BACKLOG,
        .linger_ms = LIMIT_NET_LINGER_MS,
        .handshake_ms = LIMIT_NET_HANDSHAKE_MS,
        .heartbeat_ms = LIMIT_NET_HEARTBEAT_MS,
        .heartbeat_dead_ms = LIMIT_NET_HEARTBEAT_DEAD_MS,
        .connect_ms = LIMIT_NET_CONNECT_MS,
        .reconnect_min_ms = LIMIT_NET_RECONNECT_MIN_MS,
        .reconnect_max_ms = LIMIT_NET_RECONNECT_MAX_MS,
    };
}

uint64_t net_now_ms(const struct net *net)
{
    return env_mono_ms(net->options.env);
}

enum err net_new(const struct net_options *options, struct net **ret)
{
    struct net *net;
    enum err e = ERR_IO;

    assert(options->env != NULL && options->secret_key != NULL && options->public_key != NULL);
    if (!zmq_has("curve"))
        return ERR_CRYPTO;
    net = calloc(1, sizeof *net);
    if (net == NULL)
        return ERR_NO_MEMORY;
    net->options = *options;
    memcpy(net->public_key, options->public_key, NET_KEY);
    net->options.public_key = net->public_key;
    net->changed_end = &net->changed;
    net->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (net->wake_fd < 0)
        goto out;
    net->context = zmq_ctx_new();
    if (net->context == NULL || zmq_ctx_set(net->context, ZMQ_MAX_SOCKETS, SOCKETS_MAX) != 0)
        goto out;
    e = net_accept_open(net);
out:
    if (e != ERR_OK) {
        net_free(net);
        return e;
    }
    *ret = net;
    return ERR_OK;
}

void net_free(struct net *net)
{
    if (net == NULL)
        return;
    if (net->has_stash)
        net_event_release(&net->stash);
    while (net->link_count > 0)
        net_link_free(net, net->links[--net->link_count], net->options.linger_ms);
    net_accept_close(net);
    while (net->context != NULL && zmq_ctx_term(net->context) != 0 && errno == EINTR)
        continue;
    for (size_t i = 0; i < net->known_count; i++)
        free(net->known[i]);
    free(net->known);
    free(net->table);
    if (net->wake_fd >= 0)
        (void)close(net->wake_fd);
    free(net);
}

/* ---- sending ---- */

enum err net_send(struct net *net, const char *peer, const struct span *parts, size_t count)
{
    struct net_known *known = net_known_find(net, peer);
    size_t bytes = 0;
    enum err e;

    assert(count > 0);
    if (count > LIMIT_NET_PARTS)
        return ERR_TOO_LARGE;
    for (size_t i = 0; i < count; i++) {
        if (parts[i].len > net->options.frame_max - bytes)
            return ERR_TOO_LARGE;
        bytes += parts[i].len;
    }
    if (known == NULL || !known->listed)
        return ERR_UNAVAILABLE;
    if (known->link != NULL && known->link->state == NET_LINK_UP)
        e = net_link_send(known->link, parts, count);
    else if (known->routed)
        e = net_accept_send(net, known, parts, count);
    else
        e = ERR_UNAVAILABLE;
    if (e == ERR_OK) {
        net->stats.messages_out++;
        net->stats.bytes_out += bytes;
    }
    return e;
}

static size_t link_place(const struct net *net, const char *peer)
{
    size_t i = 0;

    while (i < net->link_count && strcmp(net->links[i]->peer, peer) != 0)
        i++;
    return i;
}

static void drop_link(struct net *net, size_t place, unsigned linger_ms)
{
    struct net_link *link = net->links[place];

    net->links[place] = net->links[--net->link_count];
    net_link_free(net, link, linger_ms);
}

enum err net_connect(struct net *net, const char *peer, const char *endpoint,
                     const uint8_t key[NET_KEY])
{
    struct net_link *link;
    enum err e;

    if (strncmp(endpoint, "tcp://", 6) != 0 || strlen(endpoint) >= LIMIT_ENDPOINT)
        return ERR_CONFIG;
    if (!net_allowed(net, peer, key))
        return ERR_REVOKED;
    if (link_place(net, peer) < net->link_count)
        return ERR_EXISTS;
    if (net->link_count == LIMIT_NET_LINKS)
        return ERR_FULL;
    e = net_link_new(net, peer, endpoint, key, &link);
    if (e != ERR_OK)
        return e;
    net->links[net->link_count++] = link;
    net_known_find(net, peer)->link = link;
    return ERR_OK;
}

enum err net_disconnect(struct net *net, const char *peer)
{
    size_t place = link_place(net, peer);

    if (place == net->link_count)
        return ERR_NOT_FOUND;
    drop_link(net, place, net->options.linger_ms);
    return ERR_OK;
}

void net_cut_unlisted_links(struct net *net)
{
    size_t i = 0;

    while (i < net->link_count) {
        if (net_allowed(net, net->links[i]->peer, net->links[i]->key))
            i++;
        else
            drop_link(net, i, 0);
    }
}

/* ---- events ---- */

static bool next_change(struct net *net, struct net_event *ret)
{
    while (net->changed != NULL) {
        struct net_known *known = net->changed;
        bool up = net_is_up(net, known->name);
        bool newer = known->renewed;

        net->changed = known->next;
        if (net->changed == NULL)
            net->changed_end = &net->changed;
        known->next = NULL;
        known->queued = false;
        known->renewed = false;
        if (up ? known->told && !newer : !known->told)
            continue;
        known->told = up;
        *ret = (struct net_event){.kind = up ? NET_PEER_UP : NET_PEER_DOWN};
        memcpy(ret->peer, known->name, sizeof ret->peer);
        return true;
    }
    return false;
}

static bool next_refusal(struct net *net, struct net_event *ret)
{
    const struct net_refused *r;

    if (net->refused_count == 0)
        return false;
    r = &net->refused[--net->refused_count];
    *ret = (struct net_event){
        .kind = NET_REFUSED, .refusal = r->refusal, .count = r->count, .has_key = r->has_key};
    memcpy(ret->peer, r->peer, sizeof ret->peer);
    memcpy(ret->key, r->key, NET_KEY);
    return true;
}

static enum net_got receive_any(struct net *net, struct net_event *ret)
{
    enum net_got got = NET_GOT_NOTHING;

    net->router_turn = !net->router_turn;
    if (net->router_turn)
        got = net_accept_receive(net, ret);
    for (size_t i = 0; i < net->link_count && got == NET_GOT_NOTHING; i++) {
        net->link_next = (net->link_next + 1) % net->link_count;
        got = net_link_receive(net, net->links[net->link_next], ret);
    }
    if (got == NET_GOT_NOTHING && !net->router_turn)
        got = net_accept_receive(net, ret);
    return got;
}

static void pump(struct net *net)
{
    net->unpumped = 0;
    net_accept_pump(net);
    for (size_t i = 0; i < net->link_count; i++)
        net_link_pump(net, net->links[i]);
}

static bool next_message(struct net *net, struct net_event *ret)
{
    enum net_got got = NET_GOT_REFUSED;

    if (net->has_stash) {
        *ret = net->stash;
        net->has_stash = false;
        return true;
    }
    for (unsigned i = 0; i < LIMIT_NET_BURST && got == NET_GOT_REFUSED; i++)
        got = receive_any(net, &net->stash);
    if (got != NET_GOT_MESSAGE)
        return false;
    if (next_change(net, ret))
        net->has_stash = true; /* its connection is told first */
    else
        *ret = net->stash;
    return true;
}

bool net_next(struct net *net, struct net_event *ret)
{
    /* Looking at every socket costs more than taking a message: now and then, and when idle. */
    if (++net->unpumped >= LIMIT_NET_BURST)
        pump(net);
    if (next_change(net, ret) || next_message(net, ret))
        return true;
    pump(net);
    return next_change(net, ret) || next_refusal(net, ret);
}

void net_event_release(struct net_event *event)
{
    net_held_free(event->held);
    event->held = NULL;
    event->part_count = 0;
}

/* ---- waiting ---- */

void net_wake(struct net *net)
{
    const uint64_t one = 1;

    /* Fails only when the counter is full, which wakes as well. */
    if (write(net->wake_fd, &one, sizeof one) < 0)
        return;
}

enum err net_watch_fd(struct net *net, int fd)
{
    for (size_t i = 0; i < net->watched_count; i++) {
        if (net->watched[i] == fd)
            return ERR_EXISTS;
    }
    if (net->watched_count == LIMIT_NET_WATCHED)
        return ERR_FULL;
    net->watched[net->watched_count++] = fd;
    return ERR_OK;
}

void net_unwatch_fd(struct net *net, int fd)
{
    for (size_t i = 0; i < net->watched_count; i++) {
        if (net->watched[i] != fd)
            continue;
        net->watched[i] = net->watched[--net->watched_count];
        return;
    }
}

static size_t add_item(zmq_pollitem_t *items, size_t count, void *socket, int fd)
{
    if (socket == NULL && fd < 0)
        return count;
    items[count] = (zmq_pollitem_t){.socket = socket, .fd = fd, .events = ZMQ_POLLIN};
    return count + 1;
}

/* Fills the poll set: first what concerns the net alone, from `ret` on what the owner waits for. */
static size_t poll_set(const struct net *net, zmq_pollitem_t *items, size_t *ret)
{
    size_t n = add_item(items, 0, net->zap, -1);

    n = add_item(items, n, net->router_monitor, -1);
    for (size_t i = 0; i < net->link_count; i++)
        n = add_item(items, n, net->links[i]->monitor, -1);
    *ret = n;
    n = add_item(items, n, NULL, net->wake_fd);
    n = add_item(items, n, net->router, -1);
    for (size_t i = 0; i < net->link_count; i++)
        n = add_item(items, n, net->links[i]->socket, -1);
    for (size_t i = 0; i < net->watched_count; i++)
        n = add_item(items, n, NULL, net->watched[i]);
    return n;
}

static int sooner(int a, int b)
{
    if (a < 0 || b < 0)
        return a < 0 ? b : a;
    return a < b ? a : b;
}

static int due_ms(const struct net *net)
{
    int due = net_accept_due_ms(net);

    for (size_t i = 0; i < net->link_count; i++)
        due = sooner(due, net_link_due_ms(net, net->links[i]));
    return due;
}

static bool draining(const struct net *net)
{
    for (size_t i = 0; i < net->link_count; i++) {
        if (net->links[i]->state == NET_LINK_DRAINING)
            return true;
    }
    return false;
}

/* One round: true in `ret` when the owner has to look. */
static enum err wait_once(struct net *net, int timeout_ms, bool *ret)
{
    zmq_pollitem_t items[POLL_MAX];
    size_t owners = 0;
    size_t count = poll_set(net, items, &owners);
    uint64_t wakes;

    if (zmq_poll(items, (int)count, sooner(timeout_ms, due_ms(net))) < 0)
        return errno == EINTR ? ERR_OK : ERR_IO;
    if (items[owners].revents != 0 && read(net->wake_fd, &wakes, sizeof wakes) < 0)
        return ERR_IO;
    for (size_t i = owners; i < count && !*ret; i++)
        *ret = items[i].revents != 0;
    return ERR_OK;
}

enum err net_wait(struct net *net, int timeout_ms)
{
    uint64_t end = net_now_ms(net) + (timeout_ms > 0 ? (uint64_t)timeout_ms : 0);
    bool ready = false;

    for (;;) {
        uint64_t now;
        int left = timeout_ms;
        enum err e;

        pump(net);
        if (net->changed != NULL || net->has_stash || net->refused_count > 0 || draining(net))
            return ERR_OK;
        now = net_now_ms(net);
        if (timeout_ms > 0)
            left = end > now ? (int)(end - now) : 0;
        e = wait_once(net, left, &ready);
        if (e != ERR_OK || ready)
            return e;
        if (timeout_ms >= 0 && net_now_ms(net) >= end)
            break;
    }
    pump(net);
    return net->changed != NULL || net->refused_count > 0 ? ERR_OK : ERR_TIMEOUT;
}

void net_stats(const struct net *net, struct net_stats *ret)
{
    *ret = net->stats;
}
