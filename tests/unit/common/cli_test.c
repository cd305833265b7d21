#include "common/cli.h"

#include "common/cli_internal.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const levels[] = {"PUBLIC", "BPL", "SECRET", NULL};

static const struct cli_option globals[] = {
    {.name = "agent", .letter = 'a', .argument = "SOCKET", .help = "the agent's socket"},
    {.name = "json", .help = "print JSON"},
    {0},
};

static const struct cli_option send_options[] = {
    {.name = "to",
     .letter = 't',
     .argument = "AGENCY",
     .help = "who shall get it",
     .repeat = true,
     .required = true},
    {.name = "level", .argument = "LEVEL", .help = "protection level", .words = levels},
    {.name = "wait", .argument = "ACCEPTED|DELIVERED", .help = "wait for it"},
    {.name = "verbose", .letter = 'v', .help = "say more", .repeat = true},
    {.name = "limit", .argument = "N", .help = "how many"},
    {.name = "expires", .argument = "SPAN", .help = "how long"},
    {.name = "since", .argument = "TIME", .help = "from when"},
    {0},
};

static const struct cli_option shared_options[] = {
    {.name = "attach", .argument = "FILE", .help = "a file to go along", .repeat = true},
    {0},
};

/* What the command saw, as text. */
static char seen[65536];

static void see(const struct cli *args, const char *name)
{
    size_t len = strlen(seen);

    for (size_t i = 0; i < cli_count(args, name); i++) {
        const char *value = cli_values(args, name, i);

        len += (size_t)snprintf(seen + len, sizeof(seen) - len, " %s=%s", name,
                                value != NULL ? value : "on");
    }
}

static int run_any(const struct cli *args)
{
    cr_assert_eq(cli_flag(args, "json"), cli_count(args, "json") == 1);
    snprintf(seen, sizeof(seen), "[%s]", cli_command_name(args));
    see(args, "agent");
    see(args, "json");
    for (size_t i = 0; i < cli_operands(args); i++) {
        strcat(seen, " ");
        strcat(seen, cli_operand(args, i));
    }
    cr_assert_null(cli_operand(args, cli_operands(args)));
    return 0;
}

static int run_send(const struct cli *args)
{
    static const char *const names[] = {"to", "level", "wait", "verbose", "attach"};

    run_any(args);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        see(args, names[i]);
    return 6;
}

static int run_limit(const struct cli *args)
{
    uint64_t limit, expires, since;

    if (cli_u64(args, "limit", 1, 1000, 50, &limit) != ERR_OK ||
        cli_duration(args, "expires", 1000, 1209600000, 86400000, &expires) != ERR_OK ||
        cli_since(args, "since", 10000000, 7, &since) != ERR_OK)
        return err_exit(ERR_USAGE);
    snprintf(seen, sizeof(seen), "%lu %lu %lu", (unsigned long)limit, (unsigned long)expires,
             (unsigned long)since);
    return 0;
}

static const struct cli_command commands[] = {
    {.name = "send",
     .help = "seal a message and send it",
     .more = "First paragraph.\n\nSecond paragraph.",
     .options = send_options,
     .shared = shared_options,
     .run = run_send},
    {.name = "show",
     .operands = "ID…",
     .operands_min = 1,
     .operands_max = 2,
     .help = "show a message",
     .run = run_any},
    {.name = "limits", .help = "try numbers", .options = send_options + 4, .run = run_limit},
    {.name = "root init",
     .operands = "[FILE...]",
     .operands_max = CLI_MANY,
     .help = "make a root, which is told in so many words that they do not fit into one line",
     .run = run_any},
    {.name = "root sign", .help = "sign it", .run = run_any},
    {0},
};

static void print_reference(FILE *to)
{
    fputs(".listen  where to listen\n", to);
}

static const struct cli_section sections[] = {
    {.title = "Configuration", .text = "One.\n\nTwo.", .print = print_reference},
    {0},
};

static const struct cli_program program = {
    .name = "sealpost-test",
    .help = "tries command lines",
    .description = "A 'program' with \"quotes\".\n\n.Dots at the start, and back\\slashes.",
    .options = globals,
    .commands = commands,
    .sections = sections,
};

static const struct cli_program daemon_program = {
    .name = "sealpost-daemon",
    .help = "serves",
    .options = globals,
    .self = {.operands_max = 0, .options = shared_options, .run = run_any},
    .sections = sections,
};

#define WORDS_MAX 16

static char out_text[65536], err_text[65536];

static int catch_stream(int stream, int *saved)
{
    int fd = memfd_create("caught", 0);

    fflush(NULL);
    *saved = dup(stream);
    cr_assert_eq(dup2(fd, stream), stream);
    return fd;
}

static void release_stream(int stream, int saved, int fd, char text[65536])
{
    ssize_t len;

    fflush(NULL);
    len = pread(fd, text, 65535, 0);
    text[len > 0 ? len : 0] = '\0';
    dup2(saved, stream);
    close(saved);
    close(fd);
}

/* Runs a line, whose words are set apart by single spaces, with both streams caught. */
static int run_of(const struct cli_program *p, const char *line)
{
    char words[4096], *argv[WORDS_MAX + 1], *rest = words;
    int argc = 0, out_saved, err_saved, out, err, code;

    snprintf(words, sizeof(words), "%s", line);
    while (rest != NULL && argc < WORDS_MAX)
        argv[argc++] = strsep(&rest, " ");
    argv[argc] = NULL;
    seen[0] = '\0';
    out = catch_stream(STDOUT_FILENO, &out_saved);
    err = catch_stream(STDERR_FILENO, &err_saved);
    code = cli_main(p, argc, argv);
    release_stream(STDERR_FILENO, err_saved, err, err_text);
    release_stream(STDOUT_FILENO, out_saved, out, out_text);
    return code;
}

static int run(const char *line)
{
    return run_of(&program, line);
}

Test(cli, options_stand_before_and_after_operands)
{
    cr_assert_eq(run("p --agent /s show a --json b"), 0);
    cr_assert_str_eq(seen, "[show] agent=/s json=on a b");
    cr_assert_eq(run("p show --agent=/s a"), 0);
    cr_assert_str_eq(seen, "[show] agent=/s a");
    cr_assert_eq(run("p -a/s show -- --json -x"), 0);
    cr_assert_str_eq(seen, "[show] agent=/s --json -x");
    cr_assert_eq(run("p show -"), 0);
    cr_assert_str_eq(seen, "[show] -");
    setenv("POSIXLY_CORRECT", "1", 1);
    cr_assert_eq(run("p show a --json"), 0);
    cr_assert_str_eq(seen, "[show] json=on a");
}

Test(cli, values_are_found_by_name)
{
    cr_assert_eq(run("p send --to A -t B -tC --level=BPL -vv --attach x --attach y -v"), 6);
    cr_assert_str_eq(seen, "[send] to=A to=B to=C level=BPL verbose=on verbose=on verbose=on "
                           "attach=x attach=y");
    cr_assert_eq(run("p send --to= --wai delivered"), 6);
    cr_assert_str_eq(seen, "[send] to= wait=delivered");
    cr_assert_str_eq(err_text, "");
}

Test(cli, groups_of_commands)
{
    cr_assert_eq(run("p --json root init a b c d"), 0);
    cr_assert_str_eq(seen, "[root init] json=on a b c d");
    cr_assert_eq(run("p root sign"), 0);
    cr_assert_str_eq(seen, "[root sign]");
    cr_assert_eq(run("p root"), 2);
    cr_assert_not_null(strstr(err_text, "root init"));
    cr_assert_null(strstr(err_text, "seal a message"));
    cr_assert_eq(run("p root --help"), 0);
    cr_assert_not_null(strstr(out_text, "root sign"));
    cr_assert_eq(run("p root sgin"), 2);
    cr_assert_not_null(strstr(err_text, "no command \"root sgin\"; did you mean \"root sign\"?"));
    cr_assert_eq(run("p root nonsense"), 2);
    cr_assert_not_null(strstr(err_text, "no command \"root nonsense\""));
    cr_assert_null(strstr(err_text, "did you mean"));
    cr_assert_eq(run("p rot init"), 2);
    cr_assert_not_null(strstr(err_text, "did you mean \"root init\"?"));
}

struct wrong {
    const char *line;
    const char *message;
};

Test(cli, wrong_lines_are_explained_and_end_with_2)
{
    static const struct wrong cases[] = {
        {"p", "Usage: sealpost-test"},
        {"p sned", "sealpost-test: no command \"sned\"; did you mean \"send\"?\n"
                   "Try \"sealpost-test --help\".\n"},
        {"p frobnicate", "no command \"frobnicate\"\n"},
        {"p --jsn show a", "no option --jsn; did you mean --json?"},
        {"p send --tto A", "sealpost-test: send: no option --tto; did you mean --to?\n"
                           "Try \"sealpost-test send --help\".\n"},
        {"p send --nonsense", "no option --nonsense\n"},
        {"p send -x", "no option -x\n"},
        {"p send -vx", "no option -x\n"},
        {"p send --to", "--to needs its AGENCY\n"},
        {"p send -t", "--to needs its AGENCY\n"},
        {"p send --verbose=1", "--verbose takes no value\n"},
        {"p send --ver", "--ver may mean several options"},
        {"p send --to A --level SECRTE", "\"SECRTE\" is none of PUBLIC, BPL, SECRET\n"},
        {"p send --to A --level BPL --level BPL", "--level is given twice\n"},
        {"p send", "--to is missing\n"},
        {"p send --to A operand", "\"operand\" is one word too many\n"},
        {"p show", "ID… is missing\n"},
        {"p show a b c", "\"c\" is one word too many\n"},
        {"p show a -- b c", "\"c\" is one word too many\n"},
        {"p limits --limit 0", "\"0\" is no number from 1 to 1000\n"},
        {"p limits --limit 1001", "\"1001\" is no number"},
        {"p limits --limit x", "\"x\" is no number"},
        {"p limits --expires 999ms", "from 1s to 14d\n"},
        {"p limits --expires 15d", "\"15d\" is no duration"},
        {"p limits --since never", "\"never\" is neither"},
        {"p --completion zsh", "only bash is known"},
        {"p send --to A\x1b[31m x\x1b[m", "\"x\ufffd[m\" is one word too many\n"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cr_assert_eq(run(cases[i].line), 2, "%s", cases[i].line);
        cr_assert_not_null(strstr(err_text, cases[i].message), "%s: %s", cases[i].line, err_text);
        cr_assert_str_eq(out_text, "");
        cr_assert_str_eq(seen, "");
    }
}

Test(cli, values_of_a_kind)
{
    cr_assert_eq(run("p limits"), 0);
    cr_assert_str_eq(seen, "50 86400000 7");
    cr_assert_eq(run("p limits --limit 1 --expires 1s --since 2h"), 0);
    cr_assert_str_eq(seen, "1 1000 2800000");
    cr_assert_eq(run("p limits --limit 1000 --expires 14d"), 0);
    cr_assert_str_eq(seen, "1000 1209600000 7");
}

Test(cli, help_and_version)
{
    cr_assert_eq(run("p --help"), 0);
    cr_assert_str_eq(err_text, "");
    cr_assert_str_eq(
        out_text, "Usage: sealpost-test [OPTION...] COMMAND [ARGUMENT...]\n"
                  "\n"
                  "tries command lines\n"
                  "\n"
                  "Commands:\n"
                  "  send                      seal a message and send it\n"
                  "  show ID…                  show a message\n"
                  "  limits                    try numbers\n"
                  "  root init [FILE...]       make a root, which is told in so many words that\n"
                  "                            they do not fit into one line\n"
                  "  root sign                 sign it\n"
                  "\n"
                  "Options:\n"
                  "  -a, --agent SOCKET        the agent's socket\n"
                  "      --json                print JSON\n"
                  "  -h, --help                print this help\n"
                  "  -V, --version             print the version\n"
                  "\n"
                  "\"sealpost-test COMMAND --help\" tells more about a command.\n");
    cr_assert_eq(run("p send --help --nonsense"), 0);
    cr_assert_not_null(strstr(out_text, "Usage: sealpost-test send [OPTION...]\n\n"
                                        "seal a message and send it\n\n"
                                        "First paragraph.\n\nSecond paragraph.\n\nOptions:\n"));
    cr_assert_not_null(
        strstr(out_text, "  -t, --to AGENCY...        who shall get it (required)\n"));
    cr_assert_not_null(strstr(out_text, "protection level: PUBLIC, BPL, SECRET\n"));
    cr_assert_not_null(strstr(out_text, "--attach FILE..."));
    cr_assert_not_null(strstr(out_text, "      --wait ACCEPTED|DELIVERED\n"
                                        "                            wait for it\n"));
    cr_assert_eq(run("p --version"), 0);
    cr_assert_str_eq(out_text, "sealpost-test " SEALPOST_VERSION "\n");
    cr_assert_eq(run("p send -V"), 0);
    cr_assert_str_eq(out_text, "sealpost-test " SEALPOST_VERSION "\n");
}

Test(cli, a_program_without_commands)
{
    cr_assert_eq(run_of(&daemon_program, "p --attach f --json"), 0);
    cr_assert_str_eq(seen, "[] json=on");
    cr_assert_eq(run_of(&daemon_program, "p operand"), 2);
    cr_assert_not_null(strstr(err_text, "sealpost-daemon: \"operand\" is one word too many\n"
                                        "Try \"sealpost-daemon --help\".\n"));
    cr_assert_eq(run_of(&daemon_program, "p --help"), 0);
    cr_assert_not_null(strstr(out_text, "Usage: sealpost-daemon [OPTION...]\n\nserves\n"));
    cr_assert_not_null(strstr(out_text, "Configuration:\n.listen  where"));
}

Test(cli, the_manual_escapes_what_roff_would_read)
{
    cr_assert_eq(run("p --man"), 0);
    cr_assert_not_null(strstr(out_text, ".TH SEALPOST\\-TEST 1 "));
    cr_assert_not_null(strstr(out_text, "A \\(aqprogram\\(aq with \\(dqquotes\\(dq.\n.PP\n"
                                        "\\&.Dots at the start, and back\\eslashes.\n"));
    cr_assert_not_null(strstr(out_text, ".SS root init\n"));
    cr_assert_not_null(strstr(out_text, "\\fIID\\[u2026]\\fR\n"));
    cr_assert_not_null(strstr(out_text, "\\fB\\-t\\fR, \\fB\\-\\-to\\fR \\fIAGENCY\\fR\n"));
    cr_assert_not_null(strstr(out_text, ".SH CONFIGURATION\n.PP\nOne.\n.PP\nTwo.\n.PP\n.nf\n"
                                        "\\&.listen  where to listen\n.fi\n"));
    cr_assert_eq(run_of(&daemon_program, "p --man"), 0);
    cr_assert_not_null(strstr(out_text, ".TH SEALPOST\\-DAEMON 8 "));
}

/* What bash offers for the line's last word, set apart by spaces; the words are of the line. */
static const char *complete(const char *function, const char *line)
{
    static char offered[4096];
    char name[] = "/tmp/sealpost-completion-XXXXXX", command[8192];
    int fd = mkstemp(name);
    FILE *bash;
    size_t len;

    cr_assert_eq(write(fd, out_text, strlen(out_text)), (ssize_t)strlen(out_text));
    close(fd);
    snprintf(command, sizeof(command),
             "bash --norc -c 'set -u; source %s; COMP_WORDS=(%s); "
             "COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); %s; echo \"${COMPREPLY[*]-}\"' 2>&1",
             name, line, function);
    bash = popen(command, "r");
    cr_assert_not_null(bash);
    len = fread(offered, 1, sizeof(offered) - 1, bash);
    offered[len] = '\0';
    cr_assert_eq(pclose(bash), 0, "%s", offered);
    unlink(name);
    return offered;
}

static void assert_completes(const char *line, const char *expected)
{
    cr_assert_eq(run("p --completion bash"), 0);
    cr_assert_str_eq(complete("_sealpost_test", line), expected, "%s", line);
}

Test(cli, bash_completes)
{
    assert_completes("p s", "send show\n");
    assert_completes("p --agent x s", "send show\n");
    assert_completes("p -", "--help --version --agent --json\n");
    assert_completes("p roo", "root root\n");
    assert_completes("p root i", "init\n");
    assert_completes("p root \"\"", "init sign\n");
    assert_completes("p root init --", "--help --version --agent --json\n");
    assert_completes("p send --level \"\"", "PUBLIC BPL SECRET\n");
    assert_completes("p send --to \"\"", "\n");
    assert_completes("p send --l", "--level --limit\n");
    assert_completes("p send --attach /proc/self/cmdl", "/proc/self/cmdline\n");
    assert_completes("p send -t x /proc/self/cmdl", "/proc/self/cmdline\n");
    assert_completes("p -a /proc/self/cmdl", "/proc/self/cmdline\n");
    cr_assert_eq(run_of(&daemon_program, "p --completion bash"), 0);
    cr_assert_str_eq(complete("_sealpost_daemon", "p --at"), "--attach\n");
    cr_assert_eq(run_of(&daemon_program, "p --completion bash"), 0);
    cr_assert_str_eq(complete("_sealpost_daemon", "p --attach /proc/self/cmdl"),
                     "/proc/self/cmdline\n");
}

Test(cli, distance_counts_slips)
{
    cr_assert_eq(cli_distance("", ""), 0);
    cr_assert_eq(cli_distance("abc", ""), 3);
    cr_assert_eq(cli_distance("", "abc"), 3);
    cr_assert_eq(cli_distance("send", "send"), 0);
    cr_assert_eq(cli_distance("sned", "send"), 1);
    cr_assert_eq(cli_distance("snd", "send"), 1);
    cr_assert_eq(cli_distance("seend", "send"), 1);
    cr_assert_eq(cli_distance("kitten", "sitting"), 3);
    cr_assert(cli_is_near("recieve", "receive"));
    cr_assert_not(cli_is_near("x", "y"));
    cr_assert_not(cli_is_near("abcd", "send"));
}

Test(cli, failures_for_people)
{
    int saved, fd = catch_stream(STDERR_FILENO, &saved), code, code2, code3;

    program_invocation_short_name = (char[]){"sealpost"};
    code = cli_fail(stderr, false, ERR_NO_ROUTE, "no path\nto %s\x1b[m", "LT.POLICE");
    code2 = cli_fail(stderr, false, ERR_QUOTA, NULL);
    code3 = cli_fail_text(stderr, false, ERR_NOT_FOUND, "no such message", "look again");
    release_stream(STDERR_FILENO, saved, fd, err_text);
    cr_assert_eq(code, 1);
    cr_assert_eq(code2, 1);
    cr_assert_eq(code3, 7);
    cr_assert_str_eq(err_text, "sealpost: refused: no-route: no path\ufffdto LT.POLICE\ufffd[m\n"
                               "  next: ask the federation's operator; the message names the rule\n"
                               "sealpost: not now: quota: the quota of this agency is used up\n"
                               "  next: wait until the queue drains, or ask the operator for more\n"
                               "sealpost: not-found: no such message\n"
                               "  next: look again\n");
}

Test(cli, wrong_command_lines_in_json)
{
    static const struct {
        const char *line;
        const char *message;
        const char *next;
    } wrong[] = {
        {"p --json snd", "no command \"snd\"; did you mean \"send\"?",
         "try \"sealpost-test --help\""},
        {"p send --bogus --json", "no option --bogus", "try \"sealpost-test send --help\""},
        {"p send --to A --level x --json", "--level: \"x\" is none of PUBLIC, BPL, SECRET",
         "try \"sealpost-test send --help\""},
    };

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        json_t *json, *error;

        cr_assert_eq(run(wrong[i].line), 2);
        json = json_loads(err_text, 0, NULL);
        cr_assert_not_null(json, "%s", err_text);
        error = json_object_get(json, "error");
        cr_assert_str_eq(json_string_value(json_object_get(error, "code")), "usage");
        cr_assert_str_eq(json_string_value(json_object_get(error, "message")), wrong[i].message);
        cr_assert_str_eq(json_string_value(json_object_get(error, "next")), wrong[i].next);
        json_decref(json);
    }
    /* Behind "--" it is an operand. */
    cr_assert_eq(run("p show -- a b --json"), 2);
    cr_assert_eq(err_text[0], 's', "%s", err_text);
}

Test(cli, a_closed_standard_output_is_told)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        char *argv[] = {(char *)"p", (char *)"--version", NULL};

        close(STDOUT_FILENO);
        (void)cli_main(&program, 2, argv);
        /* No later file gets its number, and writing there fails. */
        _exit(open("/dev/null", O_RDWR) > STDERR_FILENO && fflush(stdout) != 0 ? 0 : 1);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert_eq(status, 0);
}

Test(cli, failures_in_json_hold_any_text)
{
    char text[300], longer[30000];
    json_t *json, *error;
    int saved, fd = catch_stream(STDERR_FILENO, &saved);

    for (size_t i = 0; i < 255; i++)
        text[i] = (char)(i + 1);
    text[255] = '\0';
    (void)cli_fail(stderr, true, ERR_REPLAY, "%s", text);
    release_stream(STDERR_FILENO, saved, fd, err_text);
    json = json_loads(err_text, 0, NULL);
    cr_assert_not_null(json, "%s", err_text);
    error = json_object_get(json, "error");
    cr_assert_str_eq(json_string_value(json_object_get(error, "code")), "replay");
    cr_assert_eq(strncmp(json_string_value(json_object_get(error, "message")), text, 127), 0);
    cr_assert_str_eq(json_string_value(json_object_get(error, "next")), err_next(ERR_REPLAY));
    cr_assert_eq(json_object_size(error), 3);
    json_decref(json);
    fd = catch_stream(STDERR_FILENO, &saved);
    memset(longer, 'x', sizeof(longer));
    longer[sizeof(longer) - 1] = '\0';
    (void)cli_fail_text(stderr, true, ERR_REPLAY, longer, "");
    release_stream(STDERR_FILENO, saved, fd, err_text);
    json = json_loads(err_text, 0, NULL);
    cr_assert_str_eq(json_string_value(json_object_get(json_object_get(json, "error"), "message")),
                     err_meaning(ERR_REPLAY));
    json_decref(json);
}

Test(cli, output_that_is_lost_is_a_failure)
{
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC), saved, code, err_saved, err;
    char *argv[] = {(char[]){"p"}, (char[]){"show"}, (char[]){"a"}, NULL};

    fflush(NULL);
    saved = dup(STDOUT_FILENO);
    dup2(full, STDOUT_FILENO);
    err = catch_stream(STDERR_FILENO, &err_saved);
    printf("result\n");
    code = cli_main(&program, 3, argv);
    release_stream(STDERR_FILENO, err_saved, err, err_text);
    dup2(saved, STDOUT_FILENO);
    clearerr(stdout);
    cr_assert_eq(code, err_exit(ERR_IO));
    cr_assert_not_null(strstr(err_text, "standard output cannot be written"));
    close(saved);
    close(full);
}

/* The line "p send -t A -vvv..." with so many flags in one word. */
static int run_flags(size_t flags)
{
    char line[256] = "p send -tA -";

    memset(line + strlen(line), 'v', flags);
    return run(line);
}

Test(cli, options_in_one_word_are_bounded)
{
    /* One for each word, and LIMIT_CLI_OPTIONS; --to takes one. */
    cr_assert_eq(run_flags(LIMIT_CLI_OPTIONS + 3), 6);
    cr_assert_eq(run_flags(LIMIT_CLI_OPTIONS + 4), 2);
    cr_assert_not_null(strstr(err_text, "too many options"));
}

Test(cli, words_are_bounded)
{
    char **argv = calloc(LIMIT_CLI_ARGUMENTS + 2, sizeof(*argv));
    int saved, fd = catch_stream(STDERR_FILENO, &saved), at, over;

    for (int i = 0; i <= LIMIT_CLI_ARGUMENTS; i++)
        argv[i] = (char[]){"x"};
    argv[1] = (char[]){"root"};
    argv[2] = (char[]){"init"};
    at = cli_main(&program, LIMIT_CLI_ARGUMENTS, argv);
    over = cli_main(&program, LIMIT_CLI_ARGUMENTS + 1, argv);
    release_stream(STDERR_FILENO, saved, fd, err_text);
    cr_assert_eq(at, 0);
    cr_assert_eq(over, 2);
    free(argv);
}
