/* What the layers of the sandbox share. */
#ifndef SEALPOST_COMMON_SANDBOX_INTERNAL_H
#define SEALPOST_COMMON_SANDBOX_INTERNAL_H

#include "common/sandbox.h"

enum err sandbox_landlock(const struct sandbox_rules *rules, struct sandbox_report *report);
enum err sandbox_seccomp(const struct sandbox_rules *rules, struct sandbox_report *report);

#endif
