/* The way in of the agent's workers: peer/inbound.h, and then every envelope that is proven and
 * whole enough is opened. */
#ifndef SEALPOST_AGENT_INTAKE_H
#define SEALPOST_AGENT_INTAKE_H

#include "agent/opening.h"
#include "peer/inbound.h"

struct intake;
/* The options' texts and objects are borrowed. */
enum err intake_new(const struct opener_options *options, struct trusting *trusting,
                    unsigned workers, struct intake **ret);
/* Accepts NULL. */
void intake_free(struct intake *in);
/* NULL when out of memory. */
struct job *intake_prepare(struct intake *in, unsigned worker, const char *peer,
                           struct span message);

/* Opens the parcel if it is proven, can be, and was not; the result lies in parcel->extra (struct
 * opened). ERR_NO_MEMORY. */
enum err intake_open(struct opener *opener, struct parcel *p, const struct trust *trust);

#endif
