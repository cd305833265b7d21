/* What the commands of `sealpost` share. */
#ifndef SEALPOST_AGENT_CLI_COMMON_H
#define SEALPOST_AGENT_CLI_COMMON_H

#include "agent/client.h"
#include "common/cli.h"

#define AGENT_SOCKET_DEFAULT "/run/sealpost/agent.sock"

/* One command's connection. */
struct session {
    const struct cli *args;
    bool json;
    struct client *client;
    struct pb *response; /* the last one */
};

/* Connects to --agent, SEALPOST_AGENT or the default. On failure the reason was printed and `exit`
 * has the code. */
bool session_open(struct session *s, const struct cli *args, int *exit);
void session_close(struct session *s);
/* Sends a request and takes the first response. On failure, also one that the agent states, the
 * reason was printed and `exit` has the code. */
const Sp__Response *session_ask(struct session *s, const Sp__Request *request, int *exit);
/* The next response; NULL likewise. */
const Sp__Response *session_next(struct session *s, int *exit);

/* Prints a message (generated struct) as one line of JSON. ERR_IO when stdout does not take it. */
enum err print_json(const void *message);
/* Prints a message (generated struct) as one line of JSON; gives the exit code. */
int session_print_json(const struct session *s, const void *message);

/* Of several texts, "A, B, C", safe for a terminal, into `out`. */
void join_texts(char *const *texts, size_t n, char *out, size_t size);
/* "2026-11-24 06:10" in the person's time zone; "-" for 0. */
#define LOCAL_TIME_SIZE 32
void local_time(uint64_t ms, char out[LOCAL_TIME_SIZE]);

int cmd_send(const struct cli *args);
int cmd_reply(const struct cli *args);
int cmd_list(const struct cli *args);
int cmd_show(const struct cli *args);
int cmd_save(const struct cli *args);
int cmd_receipts(const struct cli *args);
int cmd_prove(const struct cli *args);
int cmd_status(const struct cli *args);
int cmd_directory(const struct cli *args);
int cmd_watch(const struct cli *args);

#endif
