/* --help, from the tables. */
#include "common/cli_internal.h"

#include "common/table.h"

#include <string.h>

/* Where explanations begin, and where lines end. */
#define HELP_COLUMN 28
#define LINE_WIDTH 79

bool cli_in_group(const struct cli_command *c, struct span word)
{
    return word.len > 0 && span_starts_with(span_str(c->name), word) && c->name[word.len] == ' ';
}

bool cli_is_path(const struct cli_option *o)
{
    static const char *const paths[] = {"FILE", "DIR", "SOCKET", "FILE|-"};

    for (size_t i = 0; o->argument != NULL && i < sizeof(paths) / sizeof(paths[0]); i++) {
        if (strcmp(o->argument, paths[i]) == 0)
            return true;
    }
    return false;
}

/* Words from column `at` on, broken at LINE_WIDTH and indented to `indent`; a newline of the text
 * is a space, an empty line stays one. */
static void print_wrapped(FILE *to, const char *text, size_t indent, size_t at)
{
    bool first = true;

    while (*text != '\0') {
        size_t gap = strspn(text, " \n"), len = strcspn(text + gap, " \n"), width;
        bool paragraph = memmem(text, gap, "\n\n", 2) != NULL;

        text += gap;
        width = table_width(span_of(text, len));
        if (len == 0)
            break;
        if (!first && (paragraph || at + 1 + width > LINE_WIDTH)) {
            fprintf(to, "\n%s%*s", paragraph ? "\n" : "", (int)indent, "");
            at = indent;
        } else if (!first) {
            fputc(' ', to);
            at++;
        }
        fprintf(to, "%.*s", (int)len, text);
        at += width;
        text += len;
        first = false;
    }
    fputc('\n', to);
}

/* "  LABEL      explanation", with the explanation on a line of its own below a long label. */
static void print_entry(FILE *to, const char *label, const char *help)
{
    size_t width = table_width(span_str(label)) + 2;

    fprintf(to, "  %s", label);
    if (width + 2 > HELP_COLUMN) {
        fputc('\n', to);
        width = 0;
    }
    fprintf(to, "%*s", (int)(HELP_COLUMN - width), "");
    print_wrapped(to, help, HELP_COLUMN, HELP_COLUMN);
}

static void print_option(FILE *to, const struct cli_option *o)
{
    struct buf label, help;
    char letter[5] = "    ";

    buf_init(&label, LIMIT_CLI_MESSAGE);
    buf_init(&help, LIMIT_CLI_MESSAGE);
    if (o->letter != 0) {
        letter[0] = '-';
        letter[1] = o->letter;
        letter[2] = ',';
    }
    buf_printf(&label, "%s--%s%s%s%s", letter, o->name, o->argument != NULL ? " " : "",
               o->argument != NULL ? o->argument : "", o->repeat ? "..." : "");
    buf_put_str(&help, o->help);
    if (o->required)
        buf_put_str(&help, " (required)");
    for (size_t i = 0; o->words != NULL && o->words[i] != NULL; i++)
        buf_printf(&help, "%s%s", i == 0 ? ": " : ", ", o->words[i]);
    if (buf_cstr(&label) != NULL && buf_cstr(&help) != NULL)
        print_entry(to, buf_cstr(&label), buf_cstr(&help));
    buf_fini(&label);
    buf_fini(&help);
}

/* One table; hidden options, which have no letter among the built-in ones, are left out. */
static void print_options(FILE *to, const struct cli_option *table)
{
    for (const struct cli_option *o = table; o != NULL && o->name != NULL; o++) {
        if (table != cli_builtin || o->letter != 0)
            print_option(to, o);
    }
}

static void print_commands(FILE *to, const struct cli_program *program, struct span group)
{
    for (const struct cli_command *c = program->commands; c->name != NULL; c++) {
        struct buf label;

        if (group.len > 0 && !cli_in_group(c, group))
            continue;
        buf_init(&label, LIMIT_CLI_MESSAGE);
        buf_printf(&label, "%s%s%s", c->name, c->operands != NULL ? " " : "",
                   c->operands != NULL ? c->operands : "");
        if (buf_cstr(&label) != NULL)
            print_entry(to, buf_cstr(&label), c->help);
        buf_fini(&label);
    }
}

static void print_command_help(FILE *to, const struct cli_program *program,
                               const struct cli_command *c)
{
    bool daemon = program->commands == NULL;

    fprintf(to, "Usage: %s%s%s [OPTION...]%s%s\n\n", program->name, daemon ? "" : " ",
            daemon ? "" : c->name, c->operands != NULL ? " " : "",
            c->operands != NULL ? c->operands : "");
    print_wrapped(to, daemon ? program->help : c->help, 0, 0);
    if (c->more != NULL) {
        fputc('\n', to);
        print_wrapped(to, c->more, 0, 0);
    }
    fprintf(to, "\nOptions:\n");
    print_options(to, c->options);
    print_options(to, c->shared);
    print_options(to, program->options);
    print_options(to, cli_builtin);
}

void cli_print_help(FILE *to, const struct cli_program *program, const struct cli_command *command,
                    struct span group)
{
    if (command != NULL) {
        print_command_help(to, program, command);
    } else {
        fprintf(to, "Usage: %s [OPTION...] %.*s%sCOMMAND [ARGUMENT...]\n\n", program->name,
                (int)group.len, group.len > 0 ? (const char *)group.data : "",
                group.len > 0 ? " " : "");
        print_wrapped(to, program->help, 0, 0);
        fprintf(to, "\nCommands:\n");
        print_commands(to, program, group);
        fprintf(to, "\nOptions:\n");
        print_options(to, program->options);
        print_options(to, cli_builtin);
        fprintf(to, "\n\"%s COMMAND --help\" tells more about a command.\n", program->name);
    }
    /* The reference of a configuration file belongs to the help of a daemon. */
    for (const struct cli_section *s = program->sections;
         program->commands == NULL && s != NULL && s->title != NULL; s++) {
        if (s->print != NULL) {
            fprintf(to, "\n%s:\n", s->title);
            s->print(to);
        }
    }
}
