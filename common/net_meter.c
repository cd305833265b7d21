#include "common/net_internal.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

/* What the kernel may hold beyond what libzmq read, and framing of the parts. */
#define UNREAD_SLACK (8 * LIMIT_MIB)
#define PART_SLACK 64
/* Bytes per second that heartbeats may take: two of some 50 bytes each 5 s, generously. */
#define HEARTBEAT_RATE 64

void net_meter_init(struct net_meter *m, uint64_t now_ms)
{
    *m = (struct net_meter){.seen_ms = now_ms};
}

bool net_meter_read(int fd, struct net_traffic *ret)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof info;

    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0)
        return false;
    *ret = (struct net_traffic){.received = info.tcpi_bytes_received, .sent = info.tcpi_bytes_sent};
    return true;
}

bool net_meter_over(struct net_meter *m, const struct net_options *o, uint64_t received,
                    uint64_t now_ms)
{
    uint64_t most =
        ((uint64_t)o->receive_queue_max + 2) * (o->frame_max + LIMIT_NET_PARTS * PART_SLACK) +
        UNREAD_SLACK;

    m->taken += (now_ms - m->seen_ms) * HEARTBEAT_RATE / 1000;
    m->seen_ms = now_ms;
    if (m->taken > received)
        m->taken = received;
    return received - m->taken > most;
}
