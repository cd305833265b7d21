/* --completion bash: a script that needs nothing but bash, from the tables. */
#include "common/cli_internal.h"

#include <string.h>

/* "_sealpost_audit": names of functions have no hyphens. */
static void put_function_name(FILE *to, const char *name)
{
    fputc('_', to);
    for (; *name != '\0'; name++)
        fputc(*name == '-' ? '_' : *name, to);
}

/* Visits the options of a command: its own, the shared and the global ones. */
static void each_option(FILE *to, const struct cli_program *program, const struct cli_command *c,
                        void (*visit)(FILE *to, const struct cli_command *c,
                                      const struct cli_option *o))
{
    const struct cli_option *tables[] = {c != NULL ? c->options : NULL,
                                         c != NULL ? c->shared : NULL, program->options};

    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        for (const struct cli_option *o = tables[i]; o != NULL && o->name != NULL; o++)
            visit(to, c, o);
    }
}

static void put_name(FILE *to, const struct cli_command *c, const struct cli_option *o)
{
    (void)c;
    fprintf(to, " --%s", o->name);
}

/* What may follow an option with an argument. */
static void put_argument(FILE *to, const struct cli_command *c, const struct cli_option *o)
{
    const char *command = c != NULL && c->name != NULL ? c->name : "";

    if (o->argument == NULL)
        return;
    fprintf(to, "    '%s --%s'", command, o->name);
    if (o->letter != 0)
        fprintf(to, "|'%s -%c'", command, o->letter);
    if (o->words == NULL) {
        fprintf(to, ") %sreturn ;;\n",
                cli_is_path(o) ? "COMPREPLY=($(compgen -f -- \"$cur\")); " : "");
        return;
    }
    fputs(") COMPREPLY=($(compgen -W '", to);
    for (size_t i = 0; o->words[i] != NULL; i++)
        fprintf(to, "%s%s", i == 0 ? "" : " ", o->words[i]);
    fputs("' -- \"$cur\")); return ;;\n", to);
}

/* Global options with an argument, whose value is no command. */
static void put_value_options(FILE *to, const struct cli_program *program)
{
    fputs("      --completion", to);
    for (const struct cli_option *o = program->options; o != NULL && o->name != NULL; o++) {
        if (o->argument == NULL)
            continue;
        fprintf(to, "|--%s", o->name);
        if (o->letter != 0)
            fprintf(to, "|-%c", o->letter);
    }
    fputs(") ((i++)) ;;\n", to);
}

/* Finds the command: the first words that are no options, two of them for a group. */
static void put_search(FILE *to, const struct cli_program *program)
{
    fputs("  for ((i = 1; i < COMP_CWORD; i++)); do\n"
          "    case \"${COMP_WORDS[i]}\" in\n",
          to);
    put_value_options(to, program);
    fputs("      -*) ;;\n"
          "      *)\n"
          "        command=\"${COMP_WORDS[i]}\"\n"
          "        case \" $groups \" in\n"
          "          *\" $command \"*)\n"
          "            ((i + 1 < COMP_CWORD)) || { group=$command; command=; break; }\n"
          "            command=\"$command ${COMP_WORDS[i + 1]}\" ;;\n"
          "        esac\n"
          "        break ;;\n"
          "    esac\n"
          "  done\n",
          to);
}

/* The first words; with `groups` only those that have a second. Words may repeat. */
static void put_first_words(FILE *to, const struct cli_program *program, bool groups)
{
    for (const struct cli_command *c = program->commands; c != NULL && c->name != NULL; c++) {
        size_t len = strcspn(c->name, " ");

        if (!groups || c->name[len] != '\0')
            fprintf(to, " %.*s", (int)len, c->name);
    }
}

static void put_words(FILE *to, const struct cli_program *program)
{
    fputs("  if [[ -z $command && $cur != -* ]]; then\n"
          "    case \"$group\" in\n"
          "    '') COMPREPLY=($(compgen -W '",
          to);
    put_first_words(to, program, false);
    fputs("' -- \"$cur\")) ;;\n", to);
    for (const struct cli_command *c = program->commands; c->name != NULL; c++) {
        const char *space = strchr(c->name, ' ');

        if (space != NULL)
            fprintf(to, "    '%.*s') [[ '%s' == \"$cur\"* ]] && COMPREPLY+=('%s') ;;&\n",
                    (int)(space - c->name), c->name, space + 1, space + 1);
    }
    fputs("    esac\n    return\n  fi\n", to);
}

static void put_option_names(FILE *to, const struct cli_program *program,
                             const struct cli_command *c)
{
    fprintf(to, "    '%s') options='--help --version", c->name != NULL ? c->name : "");
    each_option(to, program, c, put_name);
    fputs("' ;;\n", to);
}

void cli_print_bash(FILE *to, const struct cli_program *program)
{
    static const struct cli_command none = {.name = ""};
    const struct cli_command *c;

    fprintf(to, "# bash completion for %s %s\n", program->name, SEALPOST_VERSION);
    put_function_name(to, program->name);
    fputs("() {\n"
          "  local cur=\"${COMP_WORDS[COMP_CWORD]}\" prev=\"${COMP_WORDS[COMP_CWORD-1]}\"\n"
          "  local command= group= options= i groups='",
          to);
    put_first_words(to, program, true);
    fputs("'\n  COMPREPLY=()\n", to);
    if (program->commands != NULL)
        put_search(to, program);
    fputs("  case \"$command $prev\" in\n", to);
    each_option(to, program, program->commands == NULL ? &program->self : &none, put_argument);
    for (c = program->commands; c != NULL && c->name != NULL; c++)
        each_option(to, program, c, put_argument);
    fputs("  esac\n", to);
    if (program->commands != NULL)
        put_words(to, program);
    fputs("  case \"$command\" in\n", to);
    put_option_names(to, program, program->commands == NULL ? &program->self : &none);
    for (c = program->commands; c != NULL && c->name != NULL; c++)
        put_option_names(to, program, c);
    fputs("  esac\n"
          "  if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W \"$options\" -- \"$cur\"))\n"
          "  else COMPREPLY=($(compgen -f -- \"$cur\")); fi\n"
          "}\n"
          "complete -o filenames -F ",
          to);
    put_function_name(to, program->name);
    fprintf(to, " %s\n", program->name);
}
