/* sealpost-agent: opens what it needs, gives up what it does not, and runs until it is told to
 * stop. */
#include "agent/daemon.h"
#include "agent/settings.h"
#include "common/cli.h"

#include <stdio.h>

static int run(const struct cli *args)
{
    const char *path = cli_value(args, "config");
    struct config_error error;
    struct settings settings;
    enum err e;
    int code;

    if (path == NULL)
        return cli_usage(args, "--config FILE is needed");
    e = settings_load(path, &settings, &error);
    if (e != ERR_OK) {
        fprintf(stderr, "sealpost-agent: %s\n", error.text);
        return err_exit(e == ERR_NO_MEMORY ? e : ERR_CONFIG);
    }
    code = cli_flag(args, "check") ? 0 : daemon_run(&settings);
    settings_free(&settings);
    return code;
}

static void print_reference(FILE *to)
{
    config_print_help(settings_table, to);
}

static const struct cli_option options[] = {
    {.name = "config", .letter = 'c', .argument = "FILE", .help = "configuration file (YAML)"},
    {.name = "check", .help = "check the configuration file and exit"},
    {0},
};

static const struct cli_section sections[] = {
    {.title = "CONFIGURATION", .print = print_reference},
    {.title = "SIGNALS",
     .text = "SIGTERM and SIGINT end the agent after the commit under way. SIGHUP reads the "
             "federation folder again at once."},
    {.title = "EXIT STATUS",
     .text = "0 stopped as asked. 2 usage. 3 configuration, or another process has the data "
             "folder. 5 the disk or the network failed. 8 a record or the log does not hold."},
    {0},
};

static const struct cli_program program = {
    .name = "sealpost-agent",
    .help = "hold an agency's keys and mail",
    .description =
        "An agent seals and signs what its agency's officers send, opens and keeps what they "
        "receive, and records every step in its audit log. Officers reach it through a Unix "
        "socket with sealpost(1); who they are is known by their uid. It connects to the home "
        "broker that the federation's directory names and listens to nobody else.",
    .self = {.options = options, .run = run},
    .sections = sections,
};

int main(int argc, char **argv)
{
    return cli_main(&program, argc, argv);
}
