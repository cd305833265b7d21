/* Command lines: one table per program gives the parser (getopt_long), --help, --version, the
 * manual page (--man, roff source) and shell completion (--completion bash).
 *
 * Options may stand before or after operands; global ones also before the command; "--" ends them.
 * A wrong command line is told on stderr and ends with exit code 2. Everything in a table is a
 * literal or lives as long as the process. */
#ifndef SEALPOST_COMMON_CLI_H
#define SEALPOST_COMMON_CLI_H

#include "common/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct cli;

struct cli_option {
    const char *name;     /* long name without "--"; NULL ends a table */
    char letter;          /* short form, or 0 */
    const char *argument; /* such as "AGENCY"; NULL: a flag. FILE, DIR, SOCKET complete as paths */
    const char *help;     /* one sentence, lower case, no full stop */
    bool repeat;          /* may be given more than once */
    bool required;
    const char *const *words; /* NULL, or the values allowed, NULL-terminated */
};

struct cli_command {
    const char *name;     /* "send", or two words "root init"; NULL ends the table */
    const char *operands; /* synopsis such as "SOURCE…"; NULL: none */
    unsigned operands_min;
    unsigned operands_max; /* CLI_MANY: no bound but LIMIT_CLI_ARGUMENTS */
    const char *help;      /* one line, lower case, no full stop */
    const char *more;      /* further paragraphs for the command's --help and the manual, or NULL */
    const struct cli_option *options;   /* NULL: none */
    const struct cli_option *shared;    /* a second table, shared with other commands; or NULL */
    int (*run)(const struct cli *args); /* gives the exit code */
};

#define CLI_MANY UINT32_MAX

/* A part of the manual. Paragraphs are set apart by empty lines; `print` writes text that is kept
 * as it is (the reference of a configuration file, from config_print_help). Either may be NULL. */
struct cli_section {
    const char *title; /* such as "EXIT STATUS"; NULL ends the table */
    const char *text;
    void (*print)(FILE *to);
};

struct cli_program {
    const char *name;                 /* "sealpost-audit" */
    const char *help;                 /* one line, lower case, no full stop */
    const char *description;          /* paragraphs set apart by empty lines */
    const struct cli_option *options; /* global ones; NULL: none */
    /* Sub-commands, or NULL for a program without: then `self` has operands, options and run; its
     * name and help are not looked at. */
    const struct cli_command *commands;
    struct cli_command self;
    const struct cli_section *sections; /* NULL: none */
};

/* Parses and runs the command; gives the exit code for main() to return. Sets LC_CTYPE from the
 * environment. */
int cli_main(const struct cli_program *program, int argc, char **argv);

/* What was given. Asking for a name that is in neither table of the command nor among the global
 * options is a bug (assertion). All borrowed from argv. */
const char *cli_value(const struct cli *args, const char *name); /* NULL: not given */
bool cli_flag(const struct cli *args, const char *name);
/* Of a repeatable option: how often, and the i-th value (i < count). */
size_t cli_count(const struct cli *args, const char *name);
const char *cli_values(const struct cli *args, const char *name, size_t i);
size_t cli_operands(const struct cli *args);
const char *cli_operand(const struct cli *args, size_t i); /* NULL beyond the last */
/* The command that runs, "send" or "root init"; "" for a program without commands. */
const char *cli_command_name(const struct cli *args);

/* Values of a kind; `fallback` when the option was not given. On ERR_USAGE the reason was printed:
 * return err_exit(ERR_USAGE). Durations in milliseconds. */
enum err cli_u64(const struct cli *args, const char *name, uint64_t min, uint64_t max,
                 uint64_t fallback, uint64_t *ret);
enum err cli_duration(const struct cli *args, const char *name, uint64_t min, uint64_t max,
                      uint64_t fallback, uint64_t *ret);
/* RFC 3339, or a duration before `now_ms`. */
enum err cli_since(const struct cli *args, const char *name, uint64_t now_ms, uint64_t fallback,
                   uint64_t *ret);

/* Tells a person or a script why a command ends and gives err_exit(e): "sealpost: refused:
 * no-route: MESSAGE" and "  next: …" or, as JSON, {"error":{"code","message","next"}} on one line.
 * `format` may be NULL: the error's meaning. The text is made safe for a terminal. */
[[gnu::format(printf, 4, 5)]] int cli_fail(FILE *to, bool json, enum err e, const char *format,
                                           ...);
/* The same with another next step than the error's own. */
int cli_fail_text(FILE *to, bool json, enum err e, const char *message, const char *next);
/* A wrong use that only the command can see: prints the text and the hint at --help, or both as
 * JSON when the program has --json and it was given; gives 2. */
[[gnu::format(printf, 2, 3)]] int cli_usage(const struct cli *args, const char *format, ...);

#endif
