#include "agent/client.h"

#include "common/limits.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct client {
    int fd;
    struct buf out;
    struct buf in;
};

static enum err err_of_connect(int number)
{
    switch (number) {
    case EACCES:
    case EPERM:
        return ERR_NOT_ALLOWED;
    case ENOMEM:
    case EMFILE:
    case ENFILE:
        return ERR_NO_MEMORY;
    default:
        return ERR_UNAVAILABLE;
    }
}

enum err client_connect(const char *socket_path, struct client **ret)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct client *c;
    enum err e = ERR_OK;

    if (strlen(socket_path) >= sizeof address.sun_path)
        return ERR_TOO_LARGE;
    memcpy(address.sun_path, socket_path, strlen(socket_path) + 1);
    c = calloc(1, sizeof *c);
    if (c == NULL)
        return ERR_NO_MEMORY;
    buf_init(&c->out, LIMIT_LOCAL_FRAME + 4);
    buf_init(&c->in, LIMIT_LOCAL_FRAME + 4);
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address) != 0)
        e = err_of_connect(errno);
    if (e != ERR_OK) {
        client_free(c);
        return e;
    }
    *ret = c;
    return ERR_OK;
}

void client_free(struct client *c)
{
    if (c == NULL)
        return;
    if (c->fd >= 0)
        close(c->fd);
    buf_wipe(&c->out);
    buf_wipe(&c->in);
    free(c);
}

enum err client_send(struct client *c, const Sp__Request *request)
{
    struct span left;

    buf_reset(&c->out);
    buf_put_u32be(&c->out, 0);
    pb_encode(request, &c->out);
    if (c->out.err != ERR_OK)
        return c->out.err;
    for (int i = 0; i < 4; i++)
        c->out.data[i] = (uint8_t)((c->out.len - 4) >> (8 * (3 - i)));
    left = buf_span(&c->out);
    while (left.len > 0) {
        ssize_t n = send(c->fd, left.data, left.len, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return ERR_UNAVAILABLE;
        left = span_of(left.data + n, left.len - (size_t)n);
    }
    return ERR_OK;
}

bool client_has_response(struct client *c)
{
    struct pollfd p = {.fd = c->fd, .events = POLLIN};

    return poll(&p, 1, 0) > 0;
}

bool client_is_gone(struct client *c)
{
    uint8_t first;
    ssize_t n;

    do
        n = recv(c->fd, &first, 1, MSG_PEEK);
    while (n < 0 && errno == EINTR);
    return n <= 0;
}

static enum err read_exactly(struct client *c, size_t len)
{
    uint8_t *at = buf_extend(&c->in, len);

    if (at == NULL)
        return c->in.err;
    while (len > 0) {
        ssize_t n = recv(c->fd, at, len, 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return ERR_UNAVAILABLE;
        at += n;
        len -= (size_t)n;
    }
    return ERR_OK;
}

enum err client_receive(struct client *c, struct pb **ret)
{
    struct rd r;
    uint32_t len;
    enum err e;

    buf_reset(&c->in);
    e = read_exactly(c, 4);
    if (e != ERR_OK)
        return e;
    r = rd_of(buf_span(&c->in));
    len = rd_u32be(&r);
    if (len > LIMIT_LOCAL_FRAME)
        return ERR_TOO_LARGE;
    buf_reset(&c->in);
    e = read_exactly(c, len);
    if (e != ERR_OK)
        return e;
    return pb_decode(&sp__response__descriptor, buf_span(&c->in), LIMIT_LOCAL_FRAME, ret);
}
