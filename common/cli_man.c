/* --man: the manual page in roff (man(7) macros), from the tables. */
#include "common/cli_internal.h"
#include "common/text.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* One character: what roff would read as its own is escaped, a hyphen stays one for who copies it,
 * and what is not ASCII does not depend on the reader's locale. */
static void put_character(FILE *to, uint32_t c)
{
    static const struct {
        char c;
        const char *roff;
    } special[] = {
        {'\\', "\\e"},  {'-', "\\-"},   {'\'', "\\(aq"}, {'`', "\\(ga"},
        {'~', "\\(ti"}, {'^', "\\(ha"}, {'"', "\\(dq"},
    };

    for (size_t i = 0; i < sizeof(special) / sizeof(special[0]); i++) {
        if (c == (uint32_t)special[i].c) {
            fputs(special[i].roff, to);
            return;
        }
    }
    if (c < 0x80)
        fputc((int)c, to);
    else
        fprintf(to, "\\[u%04X]", c);
}

/* Text inside a line. */
static void put_inline(FILE *to, const char *text)
{
    size_t at = 0;
    uint32_t c;

    while (text_utf8_next(span_str(text), &at, &c))
        put_character(to, c);
}

/* Lines as they are; \& keeps a '.' at the start from being a request. */
static void put_lines(FILE *to, const char *text)
{
    struct span s = span_str(text);
    bool start = true;
    size_t at = 0;
    uint32_t c;

    while (text_utf8_next(s, &at, &c)) {
        if (start && c == '.')
            fputs("\\&", to);
        start = c == '\n';
        put_character(to, c);
    }
    if (!start)
        fputc('\n', to);
}

/* Paragraphs set apart by empty lines. */
static void put_paragraphs(FILE *to, const char *text)
{
    while (*text != '\0') {
        const char *end = strstr(text, "\n\n");
        size_t len = end != NULL ? (size_t)(end - text) : strlen(text);
        char *paragraph = strndup(text, len);

        if (paragraph == NULL)
            return;
        fputs(".PP\n", to);
        put_lines(to, paragraph);
        free(paragraph);
        text += len;
        text += strspn(text, "\n");
    }
}

static void put_upper(FILE *to, const char *text)
{
    for (; *text != '\0'; text++)
        put_character(to, (uint32_t)toupper((unsigned char)*text));
}

static void put_option(FILE *to, const struct cli_option *o)
{
    fputs(".TP\n", to);
    if (o->letter != 0)
        fprintf(to, "\\fB\\-%c\\fR, ", o->letter);
    fputs("\\fB\\-\\-", to);
    put_inline(to, o->name);
    fputs("\\fR", to);
    if (o->argument != NULL) {
        fputs(" \\fI", to);
        put_inline(to, o->argument);
        fputs("\\fR", to);
    }
    fputc('\n', to);
    put_lines(to, o->help);
    for (size_t i = 0; o->words != NULL && o->words[i] != NULL; i++) {
        fputs(i == 0 ? "One of " : ", ", to);
        put_inline(to, o->words[i]);
        fputs(o->words[i + 1] == NULL ? ".\n" : "", to);
    }
    if (o->required)
        fputs("Required.\n", to);
    if (o->repeat)
        fputs("May be given more than once.\n", to);
}

static void put_options(FILE *to, const struct cli_option *table)
{
    for (const struct cli_option *o = table; o != NULL && o->name != NULL; o++) {
        if (table != cli_builtin || o->letter != 0)
            put_option(to, o);
    }
}

static void put_synopsis(FILE *to, const char *name, const char *command, const char *operands)
{
    fputs("\\fB", to);
    put_inline(to, name);
    if (command != NULL) {
        fputc(' ', to);
        put_inline(to, command);
    }
    fputs("\\fR [\\fIOPTION\\fR...]", to);
    if (operands != NULL) {
        fputs(" \\fI", to);
        put_inline(to, operands);
        fputs("\\fR", to);
    }
    fputc('\n', to);
}

static void put_command(FILE *to, const struct cli_program *program, const struct cli_command *c)
{
    fputs(".SS ", to);
    put_inline(to, c->name);
    fputc('\n', to);
    put_synopsis(to, program->name, c->name, c->operands);
    fputs(".PP\n", to);
    put_lines(to, c->help);
    if (c->more != NULL)
        put_paragraphs(to, c->more);
    put_options(to, c->options);
    put_options(to, c->shared);
}

static void put_section(FILE *to, const struct cli_section *s)
{
    char *text = NULL;
    size_t len = 0;
    FILE *kept;

    fputs(".SH ", to);
    put_upper(to, s->title);
    fputc('\n', to);
    if (s->text != NULL)
        put_paragraphs(to, s->text);
    kept = s->print != NULL ? open_memstream(&text, &len) : NULL;
    if (kept == NULL)
        return;
    s->print(kept);
    if (fclose(kept) == 0) {
        fputs(".PP\n.nf\n", to);
        put_lines(to, text);
        fputs(".fi\n", to);
    }
    free(text);
}

void cli_print_man(FILE *to, const struct cli_program *program)
{
    bool daemon = program->commands == NULL;

    fputs(".TH ", to);
    put_upper(to, program->name);
    fprintf(to, " %d \"\" \"Sealpost %s\" \"Sealpost Manual\"\n.SH NAME\n", daemon ? 8 : 1,
            SEALPOST_VERSION);
    put_inline(to, program->name);
    fputs(" \\- ", to);
    put_inline(to, program->help);
    fputs("\n.SH SYNOPSIS\n", to);
    put_synopsis(to, program->name, NULL,
                 daemon ? program->self.operands : "COMMAND [ARGUMENT...]");
    fputs(".SH DESCRIPTION\n", to);
    put_paragraphs(to, program->description != NULL ? program->description : program->help);
    fputs(".SH OPTIONS\n", to);
    if (daemon) {
        put_options(to, program->self.options);
        put_options(to, program->self.shared);
    }
    put_options(to, program->options);
    put_options(to, cli_builtin);
    if (!daemon) {
        fputs(".SH COMMANDS\n", to);
        for (const struct cli_command *c = program->commands; c->name != NULL; c++)
            put_command(to, program, c);
    }
    for (const struct cli_section *s = program->sections; s != NULL && s->title != NULL; s++)
        put_section(to, s);
}
