/* What the files of the net share. Private to common/net*.c.
 *
 * net.c         events, waiting, sending
 * net_table.c   the table of keys, the state of each peer, refusals not yet told
 * net_accept.c  the listening side: authentication, accepted connections, what they hold unread
 * net_link.c    own connections and their back-off
 * net_meter.c   memory that a connection takes up
 * net_socket.c  libzmq sockets: options, monitors, messages */
#ifndef SEALPOST_COMMON_NET_INTERNAL_H
#define SEALPOST_COMMON_NET_INTERNAL_H

#include "common/net.h"

/* Bytes of an automatic routing id of libzmq: a zero and a 32-bit number. */
#define NET_ROUTING_ID 5
#define NET_ZAP_DOMAIN "sealpost"
#define NET_REFUSALS 4 /* kinds of enum net_refusal */

struct net_refused {
    enum net_refusal refusal;
    bool has_key;
    uint8_t key[NET_KEY];
    char peer[LIMIT_PEER];
    uint64_t count;
};

/* One name: of the table, or gone from it while the owner still has to be told. */
struct net_known {
    char name[LIMIT_PEER];
    bool listed;
    bool told;    /* up, as far as the owner was told */
    bool renewed; /* a newer connection since it was told */
    bool queued;  /* in net->changed */
    struct net_known *next;
    struct net_link *link; /* the own connection, or NULL */
    bool routed;           /* reachable through an accepted connection: */
    int fd;
    uint64_t serial;
    uint8_t key[NET_KEY];
    uint8_t routing_id[NET_ROUTING_ID];
};

/* How much of what a connection received is still unread in our memory. libzmq bounds the size of a
 * part and the number of finished messages, but neither the parts of an unfinished message nor,
 * below the size of a part, what is sent before authentication. The kernel knows what came in; what
 * was read is counted here. */
struct net_meter {
    uint64_t taken;   /* bytes that were read, as on the wire */
    uint64_t seen_ms; /* until here heartbeats are accounted for */
};

struct net_traffic {
    uint64_t received; /* bytes, as the kernel counts */
    uint64_t sent;
};

enum net_link_state { NET_LINK_WAITING, NET_LINK_OPENING, NET_LINK_UP, NET_LINK_DRAINING };

/* One own connection. */
struct net_link {
    char peer[LIMIT_PEER];
    char endpoint[LIMIT_ENDPOINT];
    uint8_t key[NET_KEY];
    enum net_link_state state;
    void *socket;  /* NULL while waiting */
    void *monitor; /* of the socket */
    int fd;        /* -1 while there is none */
    struct net_meter meter;
    uint64_t inspect_at_ms;
    uint64_t at_ms; /* waiting: when to try again; opening: when to give up */
    unsigned backoff_ms;
};

/* One accepted connection, found by its descriptor. */
struct net_accepted {
    bool open;
    bool bound;      /* a message told whose it is */
    bool cut;        /* shut down by us; the end is not told yet */
    uint64_t serial; /* counts accepted connections */
    struct net_meter meter;
    uint8_t routing_id[NET_ROUTING_ID];
    uint8_t key[NET_KEY];
    char peer[LIMIT_PEER];
};

struct net {
    struct net_options options;
    uint8_t public_key[NET_KEY];
    void *context;
    void *zap;
    void *router; /* NULL before the first net_listen() */
    void *router_monitor;
    unsigned monitors; /* for their names */
    int wake_fd;
    bool woken;

    struct net_peer *table; /* sorted by key */
    size_t table_count;
    struct net_known **known; /* sorted by name */
    size_t known_count;
    struct net_known *changed; /* whose state the owner has to be told, in order */
    struct net_known **changed_end;

    struct net_link *links[LIMIT_NET_LINKS];
    size_t link_count;
    size_t link_next; /* turn of the own connections, so that none starves */

    struct net_accepted *accepted; /* indexed by descriptor */
    size_t accepted_cap;
    uint64_t serial;
    uint64_t inspect_at_ms;
    uint16_t ports[LIMIT_NET_LISTENS];
    size_t port_count;

    struct net_refused refused[LIMIT_NET_REFUSALS];
    size_t refused_count;
    bool has_stash; /* a message that waits for its NET_PEER_UP */
    bool router_turn;
    unsigned unpumped; /* events taken since the sockets beside the messages were looked at */
    struct net_event stash;

    int watched[LIMIT_NET_WATCHED];
    size_t watched_count;
    struct net_stats stats;
};

/* net.c */
uint64_t net_now_ms(const struct net *net);
/* Forgets own connections whose (name, key) is not in the table. */
void net_cut_unlisted_links(struct net *net);

/* net_table.c */
/* The row of `key`, or NULL. */
const struct net_peer *net_table_find(const struct net *net, const uint8_t key[NET_KEY]);
/* True when the table allows `key` under `name`. */
bool net_allowed(const struct net *net, const char *name, const uint8_t key[NET_KEY]);
struct net_known *net_known_find(const struct net *net, const char *name);
/* Its reachability may have changed; `renewed`: through a newer connection. */
void net_known_changed(struct net *net, struct net_known *known, bool renewed);
/* Counts a refusal and queues it for the owner; `key` and `peer` may be NULL. */
void net_refuse(struct net *net, enum net_refusal refusal, const uint8_t *key, const char *peer,
                uint64_t count);

/* net_accept.c */
enum err net_accept_open(struct net *net);
void net_accept_close(struct net *net);
/* Answers handshakes, follows connections, looks at what they hold. */
void net_accept_pump(struct net *net);
/* Milliseconds until net_accept_pump() has something to do by itself; -1 for never. */
int net_accept_due_ms(const struct net *net);
enum net_got { NET_GOT_NOTHING, NET_GOT_MESSAGE, NET_GOT_REFUSED };
enum net_got net_accept_receive(struct net *net, struct net_event *ret);
enum err net_accept_send(struct net *net, struct net_known *known, const struct span *parts,
                         size_t count);
/* Cuts the connections whose key is not in the table any more. */
void net_accept_recheck(struct net *net);

/* net_link.c */
enum err net_link_new(struct net *net, const char *peer, const char *endpoint,
                      const uint8_t key[NET_KEY], struct net_link **ret);
void net_link_free(struct net *net, struct net_link *link, unsigned linger_ms);
void net_link_pump(struct net *net, struct net_link *link);
int net_link_due_ms(const struct net *net, const struct net_link *link);
enum net_got net_link_receive(struct net *net, struct net_link *link, struct net_event *ret);
enum err net_link_send(struct net_link *link, const struct span *parts, size_t count);

/* net_meter.c */
void net_meter_init(struct net_meter *m, uint64_t now_ms);
/* False when `fd` is no TCP connection. */
bool net_meter_read(int fd, struct net_traffic *ret);
/* True when more is unread than an honest peer can have sent: its queue and what the kernel holds.
 */
bool net_meter_over(struct net_meter *m, const struct net_options *o, uint64_t received,
                    uint64_t now_ms);

/* net_socket.c */
/* A socket of ZeroMQ type `type` with the bounds and heartbeats of the options and CURVE: as
 * server when `server_key` is NULL. ERR_NO_MEMORY, ERR_CRYPTO, ERR_IO. */
enum err net_socket_new(struct net *net, int type, const uint8_t *server_key, void **ret);
/* The reading end of the socket's monitor for `events`. */
enum err net_monitor_new(struct net *net, void *socket, int events, int queue_max, void **ret);
/* Stops the monitor, before its socket is closed. */
void net_monitor_free(void *socket, void *monitor);
struct net_monitor_event {
    unsigned kind; /* ZMQ_EVENT_… */
    uint32_t value;
};
bool net_monitor_next(void *monitor, struct net_monitor_event *ret);
/* Sends without blocking, all or nothing; `prefix` (may be empty) goes before as a part.
 * ERR_FULL, ERR_UNAVAILABLE, ERR_NO_MEMORY. */
enum err net_socket_send(void *socket, struct span prefix, const struct span *parts, size_t count);

/* A message as it came, in one piece on the heap. */
struct net_held;
struct net_incoming {
    struct net_held *held; /* NULL when out of memory: the message was dropped */
    size_t total;          /* parts and bytes, also those that were dropped */
    size_t bytes;
    size_t wire_bytes; /* with the framing of ZMTP and CURVE */
};
/* Takes one message without blocking, false when there is none. At most LIMIT_NET_PARTS parts are
 * held, the others dropped. With `skip_first` the first part is given in `prefix` instead (at
 * most *prefix_len bytes of it; its true length is returned there). */
bool net_incoming_take(void *socket, bool skip_first, uint8_t *prefix, size_t *prefix_len,
                       struct net_incoming *ret);
/* A property that the handshake gave to the connection that the message came on, or NULL. */
const char *net_held_property(const struct net_held *held, const char *name);
/* The descriptor of that connection, or -1. */
int net_held_fd(const struct net_held *held);
/* Sets kind, parts and held of `event`, which then owns `held`. */
void net_held_give(struct net_held *held, struct net_event *event);
void net_held_free(struct net_held *held);

#endif
