#include "agent/board.h"
#include "tests/lib/leaks.h"

#include "common/limits.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

TestSuite(board, .fini = leaks_check, .timeout = 60);

static void tell(struct board *b, uint64_t number)
{
    struct board_change change = {.box = MAIL_IN, .number = number, .is_new = true};

    board_tell(b, &change);
}

Test(board, changes_in_order)
{
    struct board_change got[4];
    struct board *b;
    uint64_t from;
    size_t n = 0;

    cr_assert_eq(board_new(&b), ERR_OK);
    tell(b, 1);
    from = board_told(b);
    cr_assert_eq(from, 1);
    cr_assert_eq(board_read(b, &from, got, 4, &n), ERR_OK);
    cr_assert_eq(n, 0);
    for (uint64_t i = 2; i <= 7; i++)
        tell(b, i);
    cr_assert_eq(board_read(b, &from, got, 4, &n), ERR_OK);
    cr_assert_eq(n, 4);
    cr_assert_eq(got[0].number, 2);
    cr_assert_eq(got[3].number, 5);
    cr_assert(got[0].is_new);
    cr_assert_eq(board_read(b, &from, got, 4, &n), ERR_OK);
    cr_assert_eq(n, 2);
    cr_assert_eq(got[1].number, 7);
    cr_assert_eq(from, 7);
    board_free(b);
}

Test(board, who_falls_behind_is_told)
{
    struct board_change got[1];
    struct board *b;
    uint64_t from = 0;
    uint64_t late;
    size_t n = 9;

    cr_assert_eq(board_new(&b), ERR_OK);
    for (uint64_t i = 1; i <= BOARD_CHANGES; i++)
        tell(b, i);
    late = from;
    cr_assert_eq(board_read(b, &late, got, 1, &n), ERR_OK);
    cr_assert_eq(got[0].number, 1);
    tell(b, BOARD_CHANGES + 1);
    n = 9;
    cr_assert_eq(board_read(b, &from, got, 1, &n), ERR_FULL);
    cr_assert_eq(n, 9);
    cr_assert_eq(from, 0);
    from = 1;
    cr_assert_eq(board_read(b, &from, got, 1, &n), ERR_OK);
    cr_assert_eq(got[0].number, 2);
    board_free(b);
}

static bool is_told(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return poll(&p, 1, 0) == 1;
}

Test(board, subscribers_are_woken)
{
    int fds[LIMIT_LOCAL_CLIENTS + 1];
    struct board *b;
    eventfd_t value;

    cr_assert_eq(board_new(&b), ERR_OK);
    for (size_t i = 0; i <= LIMIT_LOCAL_CLIENTS; i++) {
        fds[i] = eventfd(0, EFD_NONBLOCK);
        cr_assert_eq(board_subscribe(b, fds[i]), i < LIMIT_LOCAL_CLIENTS ? ERR_OK : ERR_FULL);
    }
    tell(b, 1);
    for (size_t i = 0; i <= LIMIT_LOCAL_CLIENTS; i++)
        cr_assert_eq(is_told(fds[i]), i < LIMIT_LOCAL_CLIENTS);
    cr_assert_eq(eventfd_read(fds[0], &value), 0);
    cr_assert_eq(eventfd_read(fds[1], &value), 0);
    board_unsubscribe(b, fds[0]);
    tell(b, 2);
    cr_assert_not(is_told(fds[0]));
    cr_assert(is_told(fds[1]));
    cr_assert_eq(board_subscribe(b, fds[LIMIT_LOCAL_CLIENTS]), ERR_OK);
    for (size_t i = 0; i <= LIMIT_LOCAL_CLIENTS; i++)
        close(fds[i]);
    board_free(b);
}

Test(board, facts)
{
    struct board_facts facts = {.home = "tallinn", .pending = 3, .inbox = 9};
    struct board_facts got;
    struct board *b;

    cr_assert_eq(board_new(&b), ERR_OK);
    board_get_facts(b, &got);
    cr_assert_eq(got.inbox, 0);
    board_set_facts(b, &facts);
    board_get_facts(b, &got);
    cr_assert_str_eq(got.home, "tallinn");
    cr_assert_eq(got.pending, 3);
    cr_assert_eq(got.inbox, 9);
    board_free(b);
}

static void *end_it(void *arg)
{
    struct uuid id = {.b = {7}};

    ticket_done(arg, ERR_REPLAY, true, "why", &id);
    return NULL;
}

Test(board, tickets)
{
    struct ticket t;
    pthread_t thread;

    ticket_init(&t, NULL);
    cr_assert_eq(pthread_create(&thread, NULL, end_it, &t), 0);
    ticket_wait(&t);
    cr_assert_eq(t.code, ERR_REPLAY);
    cr_assert(t.is_new);
    cr_assert_str_eq(t.rule, "why");
    cr_assert_eq(t.id.b[0], 7);
    ticket_wait(&t);
    pthread_join(thread, NULL);
    ticket_fini(&t);
}
