/* The agent's local protocol as a program sees it: one connection over the Unix socket, requests
 * out, responses in (proto/local.proto). One thread. */
#ifndef SEALPOST_AGENT_CLIENT_H
#define SEALPOST_AGENT_CLIENT_H

#include "common/err.h"
#include "common/span.h"
#include "proto/pb.h"

#include "local.pb-c.h"

#include <stdbool.h>

struct client;

/* ERR_UNAVAILABLE when nobody listens there, ERR_NOT_ALLOWED when the socket may not be used,
 * ERR_TOO_LARGE for a path that no socket can have. */
enum err client_connect(const char *socket, struct client **ret);
void client_free(struct client *c);

/* Sends one request. ERR_UNAVAILABLE when the agent has gone, ERR_TOO_LARGE. */
enum err client_send(struct client *c, const Sp__Request *request);
/* True when a response is waiting: the agent may answer before everything was sent. */
bool client_has_response(struct client *c);
/* Waits until a response comes, false, or the agent goes without one. */
bool client_is_gone(struct client *c);
/* Waits for one response: a decoded Response, freed with pb_free. ERR_UNAVAILABLE when the agent
 * has gone; what pb_decode says about bytes that are no response. */
enum err client_receive(struct client *c, struct pb **ret);

#endif
