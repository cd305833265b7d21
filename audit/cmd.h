/* The commands of sealpost-audit, and what they share. Each gives the exit code. */
#ifndef SEALPOST_AUDIT_CMD_H
#define SEALPOST_AUDIT_CMD_H

#include "audit/anchor.h"
#include "audit/source.h"
#include "common/cli.h"

int cmd_verify(const struct cli *args);
int cmd_explain(const struct cli *args);
int cmd_query(const struct cli *args);
int cmd_prove(const struct cli *args);
int cmd_check(const struct cli *args);
int cmd_consistency(const struct cli *args);
int cmd_export(const struct cli *args);

extern const struct cli_program cmd_program;

/* Anchor and one log, opened as the command line says. On failure it was told and the exit code is
 * given; 0 otherwise. */
int cmd_open_anchor(const struct cli *args, struct anchor **ret);
int cmd_open_source(const struct cli *args, const char *place, struct source **ret);
/* The key of that log into `key`; `*ret` is it, or NULL when nothing is anchored. */
int cmd_log_key(const struct cli *args, const struct anchor *a, const char *origin,
                struct note_key *key, const struct note_key **ret);
/* Prints untrusted text as one line. */
void cmd_print_line(const char *indent, struct span text);

#endif
