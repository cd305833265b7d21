#include "agent/local.h"

#include "agent/local_internal.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 16
#define ANY_ROLE (ROLE_OFFICER | ROLE_RELEASER | ROLE_AUDITOR | ROLE_ADMINISTRATOR)
#define READERS (ROLE_OFFICER | ROLE_RELEASER)

struct local {
    struct local_options options;
    struct shell *shell;
    int listen_fd;
    int stop_fd;
    bool bound;
    dev_t device; /* of the socket that was bound */
    ino_t inode;
    bool started;
    pthread_t thread;
    pthread_mutex_t lock; /* of the visitors' table */
    struct visitor *visitors[LIMIT_LOCAL_CLIENTS];
    bool stopping;
};

/* Whether a process still listens there: it may have another data folder, so that the lock of
 * ours does not tell. */
static bool is_served(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool served = fd >= 0 && (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 ||
                              errno == EAGAIN);

    if (fd >= 0)
        close(fd);
    return served;
}

/* A socket that somebody left behind; anything else is not ours to remove. */
static enum err clear_path(const struct sockaddr_un *address)
{
    struct stat st;

    if (lstat(address->sun_path, &st) != 0)
        return errno == ENOENT ? ERR_OK : ERR_CONFIG;
    if (!S_ISSOCK(st.st_mode))
        return ERR_CONFIG;
    if (is_served(address))
        return ERR_LOCKED;
    return unlink(address->sun_path) == 0 ? ERR_OK : ERR_CONFIG;
}

/* The path may name another agent's socket by now. */
static bool is_own(const struct local *l)
{
    struct stat st;

    return lstat(l->options.settings->socket, &st) == 0 && st.st_dev == l->device &&
           st.st_ino == l->inode;
}

static enum err bind_socket(struct local *l)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = l->options.settings->socket;
    struct stat st;
    enum err e;

    if (strlen(path) >= sizeof address.sun_path)
        return ERR_CONFIG;
    memcpy(address.sun_path, path, strlen(path) + 1);
    e = clear_path(&address);
    if (e != ERR_OK)
        return e;
    l->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (l->listen_fd < 0)
        return ERR_IO;
    /* Nobody can connect before listen: the mode is right by then. */
    if (bind(l->listen_fd, (struct sockaddr *)&address, sizeof address) != 0)
        return ERR_CONFIG;
    if (lstat(path, &st) != 0)
        return ERR_IO;
    l->device = st.st_dev;
    l->inode = st.st_ino;
    l->bound = true;
    if (chmod(path, 0660) != 0 || listen(l->listen_fd, BACKLOG) != 0)
        return ERR_CONFIG;
    return ERR_OK;
}

enum err local_new(const struct local_options *options, struct local **ret)
{
    struct local *l = calloc(1, sizeof *l);
    enum err e;

    if (l == NULL)
        return ERR_NO_MEMORY;
    l->options = *options;
    l->listen_fd = -1;
    pthread_mutex_init(&l->lock, NULL);
    l->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    e = l->stop_fd < 0 ? ERR_IO : bind_socket(l);
    if (e != ERR_OK) {
        local_free(l);
        return e;
    }
    *ret = l;
    return ERR_OK;
}

/* Framing. */

static bool read_exactly(struct visitor *v, size_t len)
{
    uint8_t *at = buf_extend(&v->in, len);

    while (at != NULL && len > 0) {
        ssize_t n = recv(v->fd, at, len, 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        at += n;
        len -= (size_t)n;
    }
    return at != NULL;
}

enum err visitor_receive(struct visitor *v, struct pb **ret)
{
    struct rd r;
    uint32_t len;

    buf_reset(&v->in);
    if (!read_exactly(v, 4))
        return ERR_UNAVAILABLE;
    r = rd_of(buf_span(&v->in));
    len = rd_u32be(&r);
    if (len > LIMIT_LOCAL_FRAME)
        return ERR_TOO_LARGE;
    buf_reset(&v->in);
    if (!read_exactly(v, len))
        return ERR_UNAVAILABLE;
    return pb_decode(&sp__request__descriptor, buf_span(&v->in), LIMIT_LOCAL_FRAME, ret);
}

void visitor_respond(struct visitor *v, Sp__Response *response, bool more)
{
    struct span left;

    response->tag = v->tag;
    response->more = more;
    buf_reset(&v->out);
    buf_put_u32be(&v->out, 0);
    pb_encode(response, &v->out);
    if (v->out.err != ERR_OK) {
        log_event(log_error("response-failed"), log_code(v->out.err));
        v->gone = true;
        return;
    }
    for (int i = 0; i < 4; i++)
        v->out.data[i] = (uint8_t)((v->out.len - 4) >> (8 * (3 - i)));
    left = buf_span(&v->out);
    while (!v->gone && left.len > 0) {
        ssize_t n = send(v->fd, left.data, left.len, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            v->gone = true;
        else
            left = span_of(left.data + n, left.len - (size_t)n);
    }
}

void visitor_error(struct visitor *v, enum err e, const char *why)
{
    visitor_error_next(v, e, why, err_next(e));
}

void visitor_error_next(struct visitor *v, enum err e, const char *why, const char *next)
{
    Sp__Response response = SP__RESPONSE__INIT;
    Sp__LocalError error = SP__LOCAL_ERROR__INIT;

    error.code = pb_string(err_code(e));
    error.message = pb_string(why != NULL && why[0] != '\0' ? why : err_meaning(e));
    error.next = pb_string(next);
    response.error = &error;
    visitor_respond(v, &response, false);
}

void visitor_post(struct visitor *v, struct task *task, struct ticket *ticket)
{
    task->ticket = ticket;
    if (shell_post_wait(v->shell, task) != ERR_OK)
        task_discard(task); /* ends the waiting, too */
    ticket_wait(ticket);
}

bool visitor_wait(struct visitor *v, uint64_t until_mono_ms)
{
    struct pollfd fds[] = {{.fd = v->fd, .events = POLLIN}, {.fd = v->event_fd, .events = POLLIN}};
    uint64_t now = env_mono_ms(v->options->env);
    uint64_t wait = until_mono_ms > now ? until_mono_ms - now : 0;
    eventfd_t told;
    int n = poll(fds, 2,
                 until_mono_ms == UINT64_MAX ? -1
                 : wait > INT32_MAX          ? INT32_MAX
                                             : (int)wait);

    if (n < 0 && errno == EINTR)
        return true;
    if (n <= 0 || fds[0].revents != 0)
        return false;
    return eventfd_read(v->event_fd, &told) == 0;
}

/* Requests. */

static size_t count_verbs(const Sp__Request *q)
{
    return (size_t)(q->send != NULL) + (q->data != NULL) + (q->list != NULL) + (q->show != NULL) +
           (q->save != NULL) + (q->receipts != NULL) + (q->prove != NULL) + (q->status != NULL) +
           (q->directory != NULL) + (q->watch != NULL) + (q->wait != NULL);
}

static uint32_t roles_for(const Sp__Request *q)
{
    if (q->send != NULL)
        return ROLE_OFFICER;
    if (q->status != NULL || q->directory != NULL)
        return ANY_ROLE;
    if (q->receipts != NULL)
        return READERS | ROLE_AUDITOR;
    if (q->prove != NULL) /* with the file key it is the content */
        return q->prove->disclose ? ROLE_OFFICER : READERS | ROLE_AUDITOR;
    return READERS;
}

static void answer(struct visitor *v, const Sp__Request *q)
{
    if (q->send != NULL)
        local_send(v, q->send);
    else if (q->list != NULL)
        local_list(v, q->list);
    else if (q->show != NULL)
        local_show(v, q->show);
    else if (q->save != NULL)
        local_save(v, q->save);
    else if (q->receipts != NULL)
        local_receipts(v, q->receipts);
    else if (q->prove != NULL)
        local_prove(v, q->prove);
    else if (q->status != NULL)
        local_status(v);
    else if (q->directory != NULL)
        local_directory(v, q->directory);
    else if (q->watch != NULL)
        local_watch(v, q->watch);
    else
        local_wait(v, q->wait);
}

static void handle(struct visitor *v, const Sp__Request *q)
{
    v->tag = q->tag;
    if (count_verbs(q) != 1) {
        visitor_error(v, ERR_MALFORMED, "a request has exactly one verb");
    } else if (q->data != NULL) {
        /* Under way when its send was refused already. */
        return;
    } else if (q->acting_officer[0] != '\0') {
        visitor_error(v, ERR_NOT_ALLOWED, "only a gateway says for whom it asks");
    } else if ((v->officer->roles & roles_for(q)) == 0) {
        log_event(log_warn("not-allowed"), log_str("officer", v->officer->id));
        visitor_error(v, ERR_NOT_ALLOWED, "your roles do not allow this");
    } else {
        answer(v, q);
    }
}

static void serve(struct visitor *v)
{
    while (!v->gone) {
        struct pb *request = NULL;
        enum err e = visitor_receive(v, &request);

        if (e == ERR_UNAVAILABLE)
            return;
        if (e != ERR_OK) {
            /* What follows in the stream cannot be trusted to be a frame. */
            visitor_error(v, e, NULL);
            return;
        }
        handle(v, pb_view(request));
        pb_free(request);
        /* Texts that were sent or shown do not lie about until the next request. */
        buf_wipe(&v->in);
        buf_wipe(&v->out);
        buf_init(&v->in, LIMIT_LOCAL_FRAME + 4);
        buf_init(&v->out, LIMIT_LOCAL_FRAME + 4);
    }
}

static const struct officer *identify(const struct local *l, int fd, uid_t *uid)
{
    struct ucred who;
    socklen_t len = sizeof who;

    *uid = (uid_t)-1;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) != 0)
        return NULL;
    *uid = who.uid;
    return settings_officer(l->options.settings, who.uid);
}

static void *visitor_main(void *arg)
{
    struct visitor *v = arg;
    uid_t uid;

    v->officer = identify(v->local, v->fd, &uid);
    if (v->officer == NULL) {
        log_event(log_warn("unknown-uid"), log_u64("uid", uid));
        visitor_error(v, ERR_NOT_ALLOWED, "this agent knows no officer with your uid");
    } else if (v->event_fd < 0 || board_subscribe(v->options->board, v->event_fd) != ERR_OK) {
        visitor_error(v, ERR_NO_MEMORY, NULL);
    } else {
        serve(v);
        board_unsubscribe(v->options->board, v->event_fd);
    }
    shutdown(v->fd, SHUT_RDWR);
    pthread_mutex_lock(&v->local->lock);
    v->ended = true;
    pthread_mutex_unlock(&v->local->lock);
    return NULL;
}

static void visitor_free(struct visitor *v)
{
    if (v->running)
        pthread_join(v->thread, NULL);
    close(v->fd);
    if (v->event_fd >= 0)
        close(v->event_fd);
    buf_wipe(&v->in);
    buf_wipe(&v->out);
    free(v);
}

/* A free place in the table; those whose threads have ended are cleared away. */
static struct visitor **find_place(struct local *l)
{
    struct visitor **place = NULL;

    for (size_t i = 0; i < LIMIT_LOCAL_CLIENTS; i++) {
        struct visitor *v = l->visitors[i];
        bool ended;

        pthread_mutex_lock(&l->lock);
        ended = v != NULL && v->ended;
        pthread_mutex_unlock(&l->lock);
        if (ended) {
            visitor_free(v);
            l->visitors[i] = NULL;
        }
        if (l->visitors[i] == NULL && place == NULL)
            place = &l->visitors[i];
    }
    return place;
}

/* No place: said in a frame that fits into any socket's buffer. */
static void turn_away(int fd)
{
    struct visitor v = {.fd = fd};

    log_event(log_warn("too-many-programs"), log_u64("max", LIMIT_LOCAL_CLIENTS));
    buf_init(&v.out, LIMIT_KIB);
    visitor_error(&v, ERR_FULL, "too many programs use this agent at the same time");
    buf_fini(&v.out);
    close(fd);
}

static void admit(struct local *l, int fd)
{
    struct visitor **place = find_place(l);
    struct visitor *v = place == NULL ? NULL : calloc(1, sizeof *v);

    if (v == NULL) {
        turn_away(fd);
        return;
    }
    v->local = l;
    v->options = &l->options;
    v->shell = l->shell;
    v->fd = fd;
    v->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    buf_init(&v->in, LIMIT_LOCAL_FRAME + 4);
    buf_init(&v->out, LIMIT_LOCAL_FRAME + 4);
    if (pthread_create(&v->thread, NULL, visitor_main, v) != 0) {
        visitor_free(v);
        return;
    }
    v->running = true;
    *place = v;
}

static void *accept_main(void *arg)
{
    struct local *l = arg;

    for (;;) {
        struct pollfd fds[] = {{.fd = l->listen_fd, .events = POLLIN},
                               {.fd = l->stop_fd, .events = POLLIN}};
        int fd;

        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return NULL;
        if (fds[1].revents != 0)
            return NULL;
        fd = accept4(l->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            admit(l, fd);
        else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
            (void)poll(&fds[1], 1, 100); /* until somebody has left */
    }
}

enum err local_start(struct local *l, struct shell *shell)
{
    l->shell = shell;
    if (pthread_create(&l->thread, NULL, accept_main, l) != 0)
        return ERR_NO_MEMORY;
    l->started = true;
    return ERR_OK;
}

void local_stop(struct local *l)
{
    if (l == NULL || !l->started)
        return;
    (void)eventfd_write(l->stop_fd, 1);
    pthread_join(l->thread, NULL);
    l->started = false;
    for (size_t i = 0; i < LIMIT_LOCAL_CLIENTS; i++) {
        if (l->visitors[i] != NULL)
            shutdown(l->visitors[i]->fd, SHUT_RDWR);
    }
    for (size_t i = 0; i < LIMIT_LOCAL_CLIENTS; i++) {
        if (l->visitors[i] != NULL)
            visitor_free(l->visitors[i]);
        l->visitors[i] = NULL;
    }
}

void local_free(struct local *l)
{
    if (l == NULL)
        return;
    local_stop(l);
    if (l->bound && is_own(l))
        unlink(l->options.settings->socket);
    if (l->listen_fd >= 0)
        close(l->listen_fd);
    if (l->stop_fd >= 0)
        close(l->stop_fd);
    pthread_mutex_destroy(&l->lock);
    free(l);
}
