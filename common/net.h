/* Opaque messages between named peers over CURVE-encrypted ZeroMQ. The only user of <zmq.h>.
 *
 * A `struct net` belongs to one thread, the one that made it; only net_wake() may be called from
 * others. It must not be used across fork(): make it after the last fork. Handshakes are judged
 * inside net_wait() and net_next(), so the owner keeps calling them.
 *
 * Who may talk is one table of (name, CURVE public key). A message is attributed by the key that
 * its connection proved, looked up again in the current table for every message; ZeroMQ's routing
 * ids are never trusted. Removing a key cuts its open connections.
 *
 * Delivery is at most once: a message may be lost with its connection, none is altered, doubled,
 * or reordered within one connection. Whoever needs more acknowledges and repeats. */
#ifndef SEALPOST_COMMON_NET_H
#define SEALPOST_COMMON_NET_H

#include "common/env.h"
#include "common/err.h"
#include "common/limits.h"
#include "common/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NET_KEY 32 /* bytes of a CURVE (X25519) key */

struct net;

struct net_options {
    const struct env *env;      /* clock and jitter of the back-off; outlives the net */
    const uint8_t *secret_key;  /* NET_KEY bytes; borrowed until net_free() */
    const uint8_t *public_key;  /* NET_KEY bytes that belong to it; copied */
    size_t frame_max;           /* bytes of one message, all parts together */
    unsigned send_queue_max;    /* messages queued to one peer before ERR_FULL */
    unsigned receive_queue_max; /* messages of one peer held before it is no longer read */
    unsigned connections_max;   /* accepted connections; those above are closed at once; lowered
                                   to what RLIMIT_NOFILE allows less LIMIT_NET_FD_RESERVE */
    unsigned backlog;           /* of listen(2) */
    unsigned linger_ms;         /* time that net_free() may spend on unsent messages */
    unsigned handshake_ms;      /* a connection that has not authenticated by then is closed */
    unsigned heartbeat_ms;      /* interval of pings */
    unsigned heartbeat_dead_ms; /* silence after which a connection is taken for dead */
    unsigned connect_ms;        /* time for a TCP connection to stand */
    unsigned reconnect_min_ms;  /* first back-off; doubles, with jitter of a half */
    unsigned reconnect_max_ms;
};

/* Every number at its default of common/limits.h (LIMIT_NET_…); env and keys NULL. */
struct net_options net_options_default(void);

/* ERR_CRYPTO when libzmq was built without CURVE or a key is refused; ERR_NO_MEMORY; ERR_IO. */
enum err net_new(const struct net_options *options, struct net **ret);
/* Closes everything within linger_ms and a little. Accepts NULL. Events not yet released stay
 * valid. */
void net_free(struct net *net);

/* One row of the table. A name may have several keys, a key has one name. */
struct net_peer {
    char name[LIMIT_PEER]; /* agency or broker, 1 to LIMIT_PEER - 1 bytes of [A-Za-z0-9._-] */
    uint8_t key[NET_KEY];
};

/* Replaces the table (empty at first: nobody may connect) by a copy of `peers`; at most
 * LIMIT_NET_PEERS rows. Connections whose (name, key) is gone are cut before it returns, and
 * NET_PEER_DOWN follows; what they sent and net_next() has not yet given is dropped and counted as
 * refused. ERR_MALFORMED for a bad name or a key with two names, ERR_TOO_LARGE, ERR_NO_MEMORY; the
 * former table then stays. */
enum err net_set_peers(struct net *net, const struct net_peer *peers, size_t count);

struct net_bound {
    char endpoint[LIMIT_ENDPOINT]; /* such as tcp://127.0.0.1:40123 */
};

/* Accepts connections at "tcp://ADDRESS:PORT"; PORT may be `*` for a free one; `ret` tells which.
 * May be called LIMIT_NET_LISTENS times, then ERR_FULL. ERR_CONFIG for an endpoint that is not
 * understood, ERR_IO (with errno) when it cannot be bound. */
enum err net_listen(struct net *net, const char *endpoint, struct net_bound *ret);

/* Keeps a connection to `peer` at "tcp://HOST:PORT", whose server key is `key`: connects, and
 * reconnects with back-off until net_disconnect(). (peer, key) must be in the table, else
 * ERR_REVOKED; when it leaves the table the connection is cut and forgotten as by
 * net_disconnect(). One connection per name: ERR_EXISTS. ERR_FULL beyond LIMIT_NET_LINKS,
 * ERR_CONFIG for an endpoint that is not understood. A HOST that is a name is resolved by the
 * I/O thread, which it blocks: prefer addresses. */
enum err net_connect(struct net *net, const char *peer, const char *endpoint,
                     const uint8_t key[NET_KEY]);
/* Cuts and forgets; messages already queued are given linger_ms. NET_PEER_DOWN follows if it was
 * up. ERR_NOT_FOUND. */
enum err net_disconnect(struct net *net, const char *peer);

/* Hands one message of 1 to LIMIT_NET_PARTS parts to the transport, by the own connection to
 * `peer` when that is up, else by the latest one on which it spoke. ERR_OK is no acknowledgement.
 * Nothing was sent on: ERR_UNAVAILABLE, not connected; ERR_FULL, its queue is at the bound;
 * ERR_TOO_LARGE, over frame_max or too many parts; ERR_NO_MEMORY. Copies the parts. */
enum err net_send(struct net *net, const char *peer, const struct span *parts, size_t count);
/* True when net_send() to `peer` would not be ERR_UNAVAILABLE for all that is known. */
bool net_is_up(const struct net *net, const char *peer);

enum net_event_kind {
    NET_MESSAGE, /* may come from a peer that is no longer up */
    /* From now on net_send() reaches the peer: an own connection stands, or a message came on an
     * accepted one. It comes again without NET_PEER_DOWN when the peer opened a newer connection;
     * what was handed to the former may be lost. */
    NET_PEER_UP,
    NET_PEER_DOWN,
    NET_REFUSED, /* handshakes or messages refused since the last such event for this key */
};

enum net_refusal {
    NET_REFUSED_KEY,       /* a handshake with a key that is not in the table */
    NET_REFUSED_REVOKED,   /* messages on a connection whose key left the table */
    NET_REFUSED_HANDSHAKE, /* a handshake that broke off: no CURVE, wrong server key, too slow */
    NET_REFUSED_MESSAGE,   /* too many parts or bytes, or a routing id chosen by the peer: the
                              connection was cut */
};

struct net_event {
    enum net_event_kind kind;
    char peer[LIMIT_PEER];              /* "" in NET_REFUSED when no name belongs to it */
    uint8_t key[NET_KEY];               /* the key that the other side proved; see has_key */
    bool has_key;                       /* false where no key is known (broken handshakes) */
    enum net_refusal refusal;           /* NET_REFUSED only */
    uint64_t count;                     /* NET_REFUSED only: how many, at least 1 */
    size_t part_count;                  /* NET_MESSAGE only, at least 1 */
    struct span parts[LIMIT_NET_PARTS]; /* valid until net_event_release() */
    void *held;                         /* what the spans point into; private */
};

/* Blocks until there may be an event, net_wake() was called, a watched fd is readable, or
 * `timeout_ms` passed (-1: no bound): ERR_OK, or ERR_TIMEOUT for the last. Spurious returns
 * happen. ERR_IO is a bug or a machine out of resources. */
enum err net_wait(struct net *net, int timeout_ms);
/* Takes the next event without blocking; false when there is none. A message is owned by `ret`
 * until net_event_release(); it may be moved to another thread and released there. */
[[nodiscard]] bool net_next(struct net *net, struct net_event *ret);
/* Frees what a message holds; accepts every kind and a zeroed event; may be repeated. */
void net_event_release(struct net_event *event);

/* Makes the current or next net_wait() return. From any thread or signal handler. */
void net_wake(struct net *net);
/* net_wait() also returns when `fd` is readable (or hung up), as long as it is watched; the owner
 * of `fd` reads it, and unwatches before it closes it. At most LIMIT_NET_WATCHED: ERR_FULL;
 * ERR_EXISTS. */
enum err net_watch_fd(struct net *net, int fd);
void net_unwatch_fd(struct net *net, int fd);

/* Counters since net_new(); never reset. */
struct net_stats {
    uint64_t messages_in;
    uint64_t messages_out;
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t accepted;    /* TCP connections accepted */
    uint64_t connections; /* accepted ones that are open now */
    uint64_t refused_key; /* as enum net_refusal */
    uint64_t refused_revoked;
    uint64_t refused_handshake; /* incoming */
    uint64_t refused_message;
    uint64_t connections_over; /* closed because of connections_max */
    uint64_t accept_failed;    /* accept(2) failed, as when out of descriptors */
    uint64_t connect_failed;   /* outgoing: no TCP connection */
    uint64_t connect_refused;  /* outgoing: the handshake failed; a wrong server key or an own
                                  key that the other side does not know */
    uint64_t dropped_no_memory;
};

void net_stats(const struct net *net, struct net_stats *ret);

#endif
