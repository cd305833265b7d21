#include "common/table.h"

#include "common/limits.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pty.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static const struct table_column columns[] = {
    {"AGENCY", false}, {"SIZE", true}, {"SUBJECT", false}};

static char *print_to_memory(const struct table *t)
{
    char *text = NULL;
    size_t len = 0;
    FILE *to = open_memstream(&text, &len);

    cr_assert_eq(table_print(t, to), ERR_OK);
    fclose(to);
    return text;
}

Test(table, columns_are_aligned_by_display_width)
{
    struct table *t;
    char *text;

    cr_assert_eq(table_new(columns, 3, &t), ERR_OK);
    text = print_to_memory(t);
    cr_assert_str_eq(text, "");
    free(text);
    table_cell(t, "EE.PPA");
    table_cellf(t, "%d B", 12);
    table_cell(t, "Päring");
    table_cell(t, "日本");
    table_cell(t, NULL);
    table_span(t, span_str("x\x1b[31m\n"));
    table_cell(t, "e\u0301e\u0301");
    table_cell(t, "1000000 B");
    table_cell(t, "");
    text = print_to_memory(t);
    cr_assert_str_eq(text, "AGENCY       SIZE  SUBJECT\n"
                           "EE.PPA       12 B  Päring\n"
                           "日本            -  x\ufffd[31m\ufffd\n"
                           "e\u0301e\u0301      1000000 B  -\n");
    free(text);
    table_free(t);
    table_free(NULL);
}

Test(table, width_does_not_depend_on_the_locale)
{
    cr_assert_eq(table_width(span_str("")), 0);
    cr_assert_eq(table_width(span_str("abc")), 3);
    cr_assert_eq(table_width(span_str("äöü")), 3);
    cr_assert_eq(table_width(span_str("日本")), 4);
    cr_assert_eq(table_width(span_str("e\u0301")), 1);
    cr_assert_eq(table_width(span_str("\xff\xfe")), 2);
}

Test(table, text_is_bounded)
{
    size_t len = LIMIT_TABLE_BYTES - 1;
    char *big = malloc(len + 1);
    struct table *t;
    FILE *to = fopen("/dev/null", "we");

    memset(big, 'x', len + 1);
    cr_assert_eq(table_new(columns, 1, &t), ERR_OK);
    table_span(t, span_of(big, len));
    cr_assert_eq(table_print(t, to), ERR_OK);
    table_free(t);
    cr_assert_eq(table_new(columns, 1, &t), ERR_OK);
    table_span(t, span_of(big, len + 1));
    cr_assert_eq(table_print(t, to), ERR_TOO_LARGE);
    table_free(t);
    free(big);
    fclose(to);
}

Test(table, lost_output_is_told)
{
    struct table *t;
    FILE *full = fopen("/dev/full", "we");

    cr_assert_eq(table_new(columns, 1, &t), ERR_OK);
    table_cell(t, "x");
    cr_assert_eq(table_print(t, full), ERR_IO);
    fclose(full);
    table_free(t);
}

/* A pseudo terminal whose output is not altered. */
static void open_terminal(int *master, int *slave)
{
    struct termios raw;

    cr_assert_eq(openpty(master, slave, NULL, NULL, NULL), 0);
    cr_assert_eq(tcgetattr(*slave, &raw), 0);
    cfmakeraw(&raw);
    cr_assert_eq(tcsetattr(*slave, TCSANOW, &raw), 0);
    cr_assert_eq(fcntl(*master, F_SETFL, O_NONBLOCK), 0);
}

static const char *read_terminal(int master)
{
    static char text[4096];
    ssize_t len = read(master, text, sizeof(text) - 1);

    text[len > 0 ? len : 0] = '\0';
    return text;
}

Test(table, the_header_is_bold_on_a_terminal_only)
{
    int master, slave;
    struct table *t;
    FILE *to;

    open_terminal(&master, &slave);
    to = fdopen(slave, "w");
    cr_assert_eq(table_new(columns, 1, &t), ERR_OK);
    table_cell(t, "x");
    setenv("TERM", "xterm", 1);
    unsetenv("NO_COLOR");
    cr_assert_eq(table_print(t, to), ERR_OK);
    cr_assert_str_eq(read_terminal(master), "\x1b[1mAGENCY\x1b[0m\nx\n");
    setenv("NO_COLOR", "", 1);
    cr_assert(table_is_styled(to));
    setenv("NO_COLOR", "1", 1);
    cr_assert_eq(table_print(t, to), ERR_OK);
    cr_assert_str_eq(read_terminal(master), "AGENCY\nx\n");
    unsetenv("NO_COLOR");
    setenv("TERM", "dumb", 1);
    cr_assert_not(table_is_styled(to));
    table_free(t);
    fclose(to);
    close(master);
}

Test(progress, is_drawn_late_and_seldom_on_a_terminal)
{
    int master, slave, saved = dup(STDERR_FILENO);
    struct progress p;
    char first[4096], second[4096], third[4096], last[4096];

    open_terminal(&master, &slave);
    setenv("TERM", "xterm", 1);
    dup2(slave, STDERR_FILENO);
    progress_init(&p, "save", 100, false, 5000);
    progress_update(&p, 10, 5999);
    strcpy(first, read_terminal(master));
    progress_update(&p, 20, 6000);
    strcpy(second, read_terminal(master));
    progress_update(&p, 30, 6099);
    strcpy(third, read_terminal(master));
    progress_update(&p, 40, 6100);
    cr_assert_str_neq(read_terminal(master), "");
    progress_fini(&p);
    strcpy(last, read_terminal(master));
    progress_update(&p, 50, 9000);
    dup2(saved, STDERR_FILENO);
    cr_assert_str_eq(read_terminal(master), "");
    cr_assert_str_eq(first, "");
    cr_assert_str_eq(second, "\r\x1b[Ksave [####                ]  20 %  20 of 100  4s left");
    cr_assert_str_eq(third, "");
    cr_assert_str_eq(last, "\r\x1b[K");
    close(slave);
    close(master);
    close(saved);
}

Test(progress, is_silent_without_a_terminal)
{
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC), saved = dup(STDERR_FILENO);
    struct progress p, none = {0};

    dup2(null, STDERR_FILENO);
    progress_init(&p, "save", 100, false, 0);
    progress_update(&p, 10, 5000);
    dup2(saved, STDERR_FILENO);
    cr_assert_not(p.shown);
    progress_fini(&p);
    progress_fini(&none);
    close(null);
    close(saved);
}

Test(progress, shows_sizes_and_its_end)
{
    struct progress p = {.label = "check", .total = 4 << 20, .bytes = true};
    char text[PROGRESS_SIZE];

    progress_format(&p, 0, 0, text);
    cr_assert_str_eq(text, "check [                    ]   0 %  0 B of 4.0 MiB");
    progress_format(&p, 4 << 20, 8000, text);
    cr_assert_str_eq(text, "check [####################] 100 %  4.0 MiB of 4.0 MiB  0s left");
    progress_format(&p, 5 << 20, 8000, text);
    cr_assert_not_null(strstr(text, "100 %"));
    p.total = 0;
    progress_format(&p, 1 << 20, 8999, text);
    cr_assert_str_eq(text, "check  1.0 MiB  8s");
    p = (struct progress){.label = "a label that is longer than the room that there is for labels",
                          .total = UINT64_MAX,
                          .bytes = false};
    progress_format(&p, 1, UINT64_MAX / 1000, text);
    cr_assert_lt(strlen(text), PROGRESS_SIZE);
}
