/* The agent as a process: from settings to exit code. */
#ifndef SEALPOST_AGENT_DAEMON_H
#define SEALPOST_AGENT_DAEMON_H

#include "agent/settings.h"

/* Runs until SIGTERM, SIGINT or an error; gives the exit code. Blocks all signals of the process
 * and reads them itself. Once per process. */
int daemon_run(const struct settings *settings);

#endif
