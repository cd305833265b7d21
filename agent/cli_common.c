#include "agent/cli_common.h"

#include "common/limits.h"
#include "common/text.h"
#include "proto/json.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *socket_path(const struct cli *args)
{
    const char *path = cli_value(args, "agent");

    if (path == NULL)
        path = getenv("SEALPOST_AGENT");
    return path == NULL || path[0] == '\0' ? AGENT_SOCKET_DEFAULT : path;
}

bool session_open(struct session *s, const struct cli *args, int *exit)
{
    const char *path = socket_path(args);
    enum err e;

    memset(s, 0, sizeof *s);
    s->args = args;
    s->json = cli_flag(args, "json");
    e = client_connect(path, &s->client);
    if (e == ERR_OK)
        return true;
    if (e == ERR_UNAVAILABLE)
        *exit = cli_fail_text(stderr, s->json, e, "no agent answers at its socket",
                              "check that sealpost-agent runs, and name its socket with --agent or "
                              "SEALPOST_AGENT; nothing was sent, it is safe to repeat");
    else if (e == ERR_TOO_LARGE)
        *exit = cli_fail_text(stderr, s->json, ERR_CONFIG,
                              "the path is too long for a Unix socket (at most 107 bytes)",
                              "name the agent's socket with --agent or SEALPOST_AGENT");
    else
        *exit = cli_fail(stderr, s->json, e, "the agent's socket %s", path);
    return false;
}

void session_close(struct session *s)
{
    pb_free(s->response);
    client_free(s->client);
    memset(s, 0, sizeof *s);
}

/* The agent's own words for why it did not do it. */
static int stated_failure(const struct session *s, const Sp__LocalError *error)
{
    return cli_fail_text(stderr, s->json, err_from_code(error->code), error->message, error->next);
}

const Sp__Response *session_next(struct session *s, int *exit)
{
    const Sp__Response *r;
    enum err e;

    pb_free(s->response);
    s->response = NULL;
    e = client_receive(s->client, &s->response);
    if (e != ERR_OK) {
        *exit =
            cli_fail(stderr, s->json, e, e == ERR_UNAVAILABLE ? "the agent has gone away" : NULL);
        return NULL;
    }
    r = pb_view(s->response);
    if (r->error != NULL) {
        *exit = stated_failure(s, r->error);
        return NULL;
    }
    return r;
}

const Sp__Response *session_ask(struct session *s, const Sp__Request *request, int *exit)
{
    enum err e = client_send(s->client, request);

    /* The agent may have said why before it closed the connection. */
    if (e != ERR_OK && !(e == ERR_UNAVAILABLE && client_has_response(s->client))) {
        *exit = cli_fail(stderr, s->json, e, NULL);
        return NULL;
    }
    return session_next(s, exit);
}

enum err print_json(const void *message)
{
    struct buf text;
    enum err e;

    buf_init(&text, LIMIT_JSON);
    e = json_encode(message, &text);
    if (e == ERR_OK && (printf("%s\n", buf_cstr(&text)) < 0 || fflush(stdout) != 0))
        e = ERR_IO;
    buf_wipe(&text);
    return e;
}

int session_print_json(const struct session *s, const void *message)
{
    enum err e = print_json(message);

    return e == ERR_OK ? 0
                       : cli_fail(stderr, s->json, e,
                                  e == ERR_IO ? "standard output cannot be written" : NULL);
}

void join_texts(char *const *texts, size_t n, char *out, size_t size)
{
    struct buf b;

    buf_init(&b, LIMIT_MIB);
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            buf_put_str(&b, ", ");
        text_put_safe(&b, span_str(texts[i]), false);
    }
    snprintf(out, size, "%s", b.err == ERR_OK && b.len > 0 ? buf_cstr(&b) : "");
    buf_fini(&b);
}

void local_time(uint64_t ms, char out[LOCAL_TIME_SIZE])
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;

    if (ms == 0 || localtime_r(&seconds, &tm) == NULL ||
        strftime(out, LOCAL_TIME_SIZE, "%Y-%m-%d %H:%M:%S", &tm) == 0)
        memcpy(out, "-", 2);
}
