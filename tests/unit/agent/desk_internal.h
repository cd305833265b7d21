/* What the files of the desk share. */
#ifndef SEALPOST_TESTS_UNIT_AGENT_DESK_INTERNAL_H
#define SEALPOST_TESTS_UNIT_AGENT_DESK_INTERNAL_H

#include "tests/unit/agent/desk.h"

[[gnu::format(printf, 2, 3)]] void desk_line(struct desk *d, const char *format, ...);
/* "t+1.5s" since the start. */
const char *desk_time(const struct desk *d);
/* "m3" for an envelope's digest, "?" when no message has it. Good until the next eight calls. */
const char *desk_label(const struct desk *d, struct span digest);
/* Writes down what the step put into the log, changed, and wants sent. */
void desk_tell(struct desk *d, const struct batch *b);
/* One step; what it sends is kept in the desk. Errors other than `expected` fail the test. */
void desk_step(struct desk *d, struct agent_event *event);
enum err desk_try(struct desk *d, struct agent_event *event);
/* Fails unless every change has its leaf and every leaf its change. */
void desk_check(struct desk *d, struct memview *before, const struct batch *b);

#endif
