/* What the parser and the printers of command lines share. */
#ifndef SEALPOST_COMMON_CLI_INTERNAL_H
#define SEALPOST_COMMON_CLI_INTERNAL_H

#include "common/cli.h"
#include "common/limits.h"
#include "common/span.h"

struct cli_given {
    const struct cli_option *option;
    const char *value; /* NULL of a flag */
};

struct cli {
    const struct cli_program *program;
    const struct cli_command *command; /* NULL before it is known */
    const struct cli_option *options[LIMIT_CLI_OPTIONS];
    size_t option_count;
    struct cli_given *given; /* room for given_max */
    size_t given_count;
    size_t given_max;
    const char **operands; /* room for every word of the command line */
    size_t operand_count;
    bool json; /* the words hold --json: a wrong command line is told as JSON, too */
};

/* Every program has these; the two last ones are not shown. */
extern const struct cli_option cli_builtin[];

/* True when the first word of a command of two words is `word`. */
bool cli_in_group(const struct cli_command *c, struct span word);
/* True when its argument is a path. */
bool cli_is_path(const struct cli_option *o);

/* Command NULL: the program; `group` not empty: only its commands of that group. */
void cli_print_help(FILE *to, const struct cli_program *program, const struct cli_command *command,
                    struct span group);
void cli_print_man(FILE *to, const struct cli_program *program);
void cli_print_bash(FILE *to, const struct cli_program *program);

/* Edits (insert, delete, replace, swap neighbours) that make one text of the other; both are cut
 * to 63 bytes. */
unsigned cli_distance(const char *a, const char *b);
/* True when `typed` may well be meant as `name`. */
bool cli_is_near(const char *typed, const char *name);

#endif
