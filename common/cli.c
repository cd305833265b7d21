#include "common/cli.h"

#include "common/cli_internal.h"
#include "common/text.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <locale.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Values that getopt_long gives: letters as they are, long options from here on. */
#define LONG_BASE 256
/* An operand in its place, as the '-' in front of the letters asks for. */
#define IN_PLACE 1

/* What is left to do after a word was looked at. */
enum verdict { GO_ON, DONE, WRONG };

const struct cli_option cli_builtin[] = {
    {.name = "help", .letter = 'h', .help = "print this help"},
    {.name = "version", .letter = 'V', .help = "print the version"},
    {.name = "completion", .argument = "SHELL", .help = "print completions for bash"},
    {.name = "man", .help = "print the manual page, roff source"},
    {0},
};

struct parser {
    struct option longs[LIMIT_CLI_OPTIONS + 1];
    char letters[2 * LIMIT_CLI_OPTIONS + 3];
};

static void add_options(struct cli *args, const struct cli_option *table)
{
    for (const struct cli_option *o = table; o != NULL && o->name != NULL; o++) {
        assert(args->option_count < LIMIT_CLI_OPTIONS);
        args->options[args->option_count++] = o;
    }
}

/* `order` is '+' to stop at the first operand or '-' to get operands in their place. */
static void parser_init(struct parser *p, const struct cli *args, char order)
{
    size_t n = 0;

    *p = (struct parser){0};
    p->letters[n++] = order;
    p->letters[n++] = ':';
    for (size_t i = 0; i < args->option_count; i++) {
        const struct cli_option *o = args->options[i];

        p->longs[i].name = o->name;
        p->longs[i].has_arg = o->argument != NULL ? required_argument : no_argument;
        p->longs[i].val = LONG_BASE + (int)i;
        if (o->letter == 0)
            continue;
        p->letters[n++] = o->letter;
        if (o->argument != NULL)
            p->letters[n++] = ':';
    }
    opterr = 0;
    optind = 0;
}

static const struct cli_option *option_of(const struct cli *args, int code)
{
    if (code >= LONG_BASE)
        return args->options[code - LONG_BASE];
    for (size_t i = 0; i < args->option_count; i++) {
        if (args->options[i]->letter == code)
            return args->options[i];
    }
    return NULL;
}

/* The option that a mistyped "--name=value" may mean; NULL when nothing is near. */
static const struct cli_option *nearest_option(const struct cli *args, const char *typed)
{
    const struct cli_option *best = NULL;

    for (size_t i = 0; i < args->option_count; i++) {
        const char *name = args->options[i]->name;

        if (cli_is_near(typed, name) &&
            (best == NULL || cli_distance(typed, name) < cli_distance(typed, best->name)))
            best = args->options[i];
    }
    return best;
}

static enum verdict unknown_long(const struct cli *args, const char *word)
{
    char typed[64];
    size_t len = strcspn(word + 2, "="), matches = 0;
    const struct cli_option *near;

    snprintf(typed, sizeof(typed), "%.*s", len < 63 ? (int)len : 63, word + 2);
    for (size_t i = 0; i < args->option_count; i++)
        matches += strncmp(args->options[i]->name, typed, strlen(typed)) == 0;
    near = nearest_option(args, typed);
    if (matches > 1)
        cli_usage(args, "--%s may mean several options: write it out", typed);
    else if (near != NULL)
        cli_usage(args, "no option --%s; did you mean --%s?", typed, near->name);
    else
        cli_usage(args, "no option --%s", typed);
    return WRONG;
}

/* Says what getopt_long meant with ':' or '?'. */
static enum verdict explain(const struct cli *args, int code, const char *word)
{
    const struct cli_option *o = optopt != 0 ? option_of(args, optopt) : NULL;

    if (code == ':' && o != NULL)
        cli_usage(args, "--%s needs its %s", o->name, o->argument);
    else if (o != NULL)
        cli_usage(args, "--%s takes no value", o->name);
    else if (strncmp(word, "--", 2) == 0)
        return unknown_long(args, word);
    else
        cli_usage(args, "no option -%c", optopt);
    return WRONG;
}

static enum verdict check_word(const struct cli *args, const struct cli_option *o,
                               const char *value)
{
    struct buf allowed;

    if (o->words == NULL)
        return GO_ON;
    buf_init(&allowed, LIMIT_CLI_MESSAGE);
    for (size_t i = 0; o->words[i] != NULL; i++) {
        if (strcmp(o->words[i], value) == 0) {
            buf_fini(&allowed);
            return GO_ON;
        }
        buf_printf(&allowed, "%s%s", i == 0 ? "" : ", ", o->words[i]);
    }
    if (buf_cstr(&allowed) != NULL)
        cli_usage(args, "--%s: \"%s\" is none of %s", o->name, value, buf_cstr(&allowed));
    buf_fini(&allowed);
    return WRONG;
}

static enum verdict take_builtin(const struct cli *args, const struct cli_option *o,
                                 const char *value)
{
    if (o == &cli_builtin[0]) {
        cli_print_help(stdout, args->program, args->command, span_of(NULL, 0));
    } else if (o == &cli_builtin[1]) {
        printf("%s %s\n", args->program->name, SEALPOST_VERSION);
    } else if (o == &cli_builtin[3]) {
        cli_print_man(stdout, args->program);
    } else if (strcmp(value, "bash") == 0) {
        cli_print_bash(stdout, args->program);
    } else {
        cli_usage(args, "--completion: only bash is known");
        return WRONG;
    }
    return DONE;
}

static bool is_builtin(const struct cli_option *o)
{
    for (size_t i = 0; cli_builtin[i].name != NULL; i++) {
        if (o == &cli_builtin[i])
            return true;
    }
    return false;
}

static size_t count_given(const struct cli *args, const struct cli_option *o)
{
    size_t n = 0;

    for (size_t i = 0; i < args->given_count; i++)
        n += args->given[i].option == o;
    return n;
}

static enum verdict take_option(struct cli *args, const struct cli_option *o, const char *value)
{
    if (is_builtin(o))
        return take_builtin(args, o, value);
    if (!o->repeat && count_given(args, o) > 0) {
        cli_usage(args, "--%s is given twice", o->name);
        return WRONG;
    }
    if (args->given_count == args->given_max) {
        cli_usage(args, "too many options");
        return WRONG;
    }
    if (value != NULL && check_word(args, o, value) != GO_ON)
        return WRONG;
    args->given[args->given_count++] = (struct cli_given){.option = o, .value = value};
    return GO_ON;
}

/* Goes through `argv` from its second word on; `*end` is the index of the first word not looked
 * at: the first operand when `order` is '+'. */
static enum verdict parse(struct cli *args, int argc, char **argv, char order, int *end)
{
    struct parser p;
    enum verdict v = GO_ON;

    parser_init(&p, args, order);
    while (v == GO_ON) {
        /* A cluster of letters stays at its word until its last letter. */
        int word = optind == 0 ? 1 : optind;
        int code = getopt_long(argc, argv, p.letters, p.longs, NULL);

        if (code == -1)
            break;
        if (code == IN_PLACE)
            args->operands[args->operand_count++] = optarg;
        else if (code == ':' || code == '?')
            v = explain(args, code, argv[word]);
        else
            v = take_option(args, option_of(args, code), optarg);
    }
    *end = optind;
    return v;
}

static enum verdict check_complete(const struct cli *args)
{
    const struct cli_command *c = args->command;

    for (size_t i = 0; i < args->option_count; i++) {
        if (args->options[i]->required && count_given(args, args->options[i]) == 0) {
            cli_usage(args, "--%s is missing", args->options[i]->name);
            return WRONG;
        }
    }
    if (args->operand_count < c->operands_min)
        cli_usage(args, "%s is missing", c->operands);
    else if (args->operand_count > c->operands_max)
        cli_usage(args, "\"%s\" is one word too many", args->operands[c->operands_max]);
    else
        return GO_ON;
    return WRONG;
}

static int run_command(struct cli *args, const struct cli_command *command, int argc, char **argv)
{
    enum verdict v;
    int end, code;

    args->command = command;
    add_options(args, command->options);
    add_options(args, command->shared);
    v = parse(args, argc, argv, '-', &end);
    /* Behind "--" everything is an operand. */
    while (v == GO_ON && end < argc)
        args->operands[args->operand_count++] = argv[end++];
    if (v == GO_ON)
        v = check_complete(args);
    if (v != GO_ON)
        return v == DONE ? 0 : err_exit(ERR_USAGE);
    code = command->run(args);
    /* What already failed says why itself. */
    if ((fflush(stdout) != 0 || ferror(stdout)) && code == 0)
        return cli_fail(stderr, args->json, ERR_IO, "standard output cannot be written");
    return code;
}

/* The command that the words mean, by one or two of them; `*used` tells. */
static const struct cli_command *find_command(const struct cli_program *program, int count,
                                              char **words, int *used)
{
    for (const struct cli_command *c = program->commands; c->name != NULL; c++) {
        struct span group = span_str(words[0]);

        *used = 2;
        if (count > 1 && cli_in_group(c, group) && strcmp(c->name + group.len + 1, words[1]) == 0)
            return c;
    }
    for (const struct cli_command *c = program->commands; c->name != NULL; c++) {
        *used = 1;
        if (strcmp(c->name, words[0]) == 0)
            return c;
    }
    return NULL;
}

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

/* No command has this name: shows what the group has, or offers the nearest. */
static int unknown_command(const struct cli *args, int count, char **words)
{
    char typed[2][64]; /* as one word and as two */
    const struct cli_command *best = NULL;
    bool asked = count > 1 && is_help(words[1]), group = false;
    unsigned best_distance = 0;

    snprintf(typed[0], sizeof(typed[0]), "%s", words[0]);
    snprintf(typed[1], sizeof(typed[1]), "%s%s%s", words[0], count > 1 ? " " : "",
             count > 1 ? words[1] : "");
    for (const struct cli_command *c = args->program->commands; c->name != NULL; c++) {
        const char *t = typed[strchr(c->name, ' ') != NULL];
        unsigned distance = cli_distance(t, c->name);

        group |= cli_in_group(c, span_str(words[0]));
        if (cli_is_near(t, c->name) && (best == NULL || distance < best_distance)) {
            best = c;
            best_distance = distance;
        }
    }
    if (group && (count == 1 || asked)) {
        cli_print_help(asked ? stdout : stderr, args->program, NULL, span_str(words[0]));
        return asked ? 0 : err_exit(ERR_USAGE);
    }
    if (best == NULL)
        return cli_usage(args, "no command \"%s\"", typed[group]);
    return cli_usage(args, "no command \"%s\"; did you mean \"%s\"?",
                     typed[strchr(best->name, ' ') != NULL], best->name);
}

static int run_program(struct cli *args, int argc, char **argv)
{
    const struct cli_command *command;
    enum verdict v;
    int at, used;

    add_options(args, cli_builtin);
    add_options(args, args->program->options);
    if (args->program->commands == NULL)
        return run_command(args, &args->program->self, argc, argv);
    v = parse(args, argc, argv, '+', &at);
    if (v != GO_ON)
        return v == DONE ? 0 : err_exit(ERR_USAGE);
    if (at >= argc) {
        cli_print_help(stderr, args->program, NULL, span_of(NULL, 0));
        return err_exit(ERR_USAGE);
    }
    command = find_command(args->program, argc - at, argv + at, &used);
    if (command == NULL)
        return unknown_command(args, argc - at, argv + at);
    return run_command(args, command, argc - at - used + 1, argv + at + used - 1);
}

/* Asked of the words as they are: the parser may stop in front of it. */
static bool wants_json(const struct cli_program *program, int argc, char **argv)
{
    bool known = false;

    for (const struct cli_option *o = program->options; o != NULL && o->name != NULL; o++)
        known |= strcmp(o->name, "json") == 0;
    for (int i = 1; known && i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--json") == 0)
            return true;
    }
    return false;
}

/* A standard stream that came closed would give its number to the next file or socket, and what is
 * printed would go there. Reading from and writing to these fails. */
static void occupy_streams(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
            (void)open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
    }
}

int cli_main(const struct cli_program *program, int argc, char **argv)
{
    struct cli args = {.program = program};
    int code;

    occupy_streams();
    setlocale(LC_CTYPE, "");
    if (argc < 1 || argc > LIMIT_CLI_ARGUMENTS)
        return cli_usage(&args, "more than %d words", LIMIT_CLI_ARGUMENTS);
    args.json = wants_json(program, argc, argv);
    /* Flags may share a word, so that there can be more of them than words. */
    args.given_max = (size_t)argc + LIMIT_CLI_OPTIONS;
    args.given = calloc(args.given_max, sizeof(*args.given));
    args.operands = calloc((size_t)argc, sizeof(*args.operands));
    if (args.given == NULL || args.operands == NULL)
        code = cli_fail(stderr, false, ERR_NO_MEMORY, NULL);
    else
        code = run_program(&args, argc, argv);
    free(args.given);
    free(args.operands);
    return code;
}

static const struct cli_option *option_named(const struct cli *args, const char *name)
{
    const struct cli_option *found = NULL;

    for (size_t i = 0; i < args->option_count && found == NULL; i++) {
        if (strcmp(args->options[i]->name, name) == 0)
            found = args->options[i];
    }
    assert(found != NULL);
    return found;
}

size_t cli_count(const struct cli *args, const char *name)
{
    return count_given(args, option_named(args, name));
}

const char *cli_values(const struct cli *args, const char *name, size_t i)
{
    const struct cli_option *o = option_named(args, name);
    size_t n = 0;

    for (size_t k = 0; k < args->given_count; k++) {
        if (args->given[k].option == o && n++ == i)
            return args->given[k].value;
    }
    return NULL;
}

const char *cli_value(const struct cli *args, const char *name)
{
    return cli_values(args, name, 0);
}

bool cli_flag(const struct cli *args, const char *name)
{
    return cli_count(args, name) > 0;
}

size_t cli_operands(const struct cli *args)
{
    return args->operand_count;
}

const char *cli_operand(const struct cli *args, size_t i)
{
    return i < args->operand_count ? args->operands[i] : NULL;
}

const char *cli_command_name(const struct cli *args)
{
    return args->program->commands == NULL ? "" : args->command->name;
}
