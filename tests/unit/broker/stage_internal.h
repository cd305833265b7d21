/* What the files of the stage share. */
#ifndef SEALPOST_TESTS_UNIT_BROKER_STAGE_INTERNAL_H
#define SEALPOST_TESTS_UNIT_BROKER_STAGE_INTERNAL_H

#include "tests/unit/broker/stage.h"

[[gnu::format(printf, 2, 3)]] void stage_line(struct stage *s, const char *format, ...);
/* "t+1.5s" since the start. */
const char *stage_time(const struct stage *s);
/* "m3" for an envelope's digest, "?" when no message has it. Good until the next eight calls. */
const char *stage_label(const struct stage *s, struct span digest);
/* Writes down what the step put into the log, changed, and wants sent. */
void stage_tell(struct stage *s, const struct batch *b);

#endif
