/* The program itself: start, one exchange over a real broker, and what a crash leaves. */
#include "tests/lib/leaks.h"
#include "tests/unit/agent/village.h"

#include "common/file.h"
#include "common/limits.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

TestSuite(daemon, .fini = leaks_check, .timeout = 120);

static char *customs[] = {(char *)"EE.CUSTOMS", NULL};

Test(daemon, what_the_command_line_says)
{
    struct village v;
    char out[8192];

    village_init(&v);
    cr_assert_eq(village_run(&v, "--config EE.POLICE/agent.yaml --check", NULL, 0), 0);
    cr_assert_eq(village_run(&v, "--version", out, sizeof out), 0);
    cr_assert_not_null(strstr(out, "sealpost-agent"));
    cr_assert_eq(village_run(&v, "--help", out, sizeof out), 0);
    cr_assert_eq(village_run(&v, "", out, sizeof out), 2);
    cr_assert_eq(village_run(&v, "--config nowhere.yaml --check", out, sizeof out), 3);
    village_configure(&v, "EE.POLICE", ALL_ROLES, "metrics_listen: x\n");
    cr_assert_eq(village_run(&v, "--config EE.POLICE/agent.yaml --check", out, sizeof out), 3);
    cr_assert_not_null(strstr(out, "agent.yaml:8:1"), "%s", out);
    village_fini(&v);
}

Test(daemon, a_start_that_cannot_be)
{
    struct village v;
    char path[256];
    char out[8192];

    village_init(&v);
    village_path(&v, "EE.POLICE", "keys/storage.key", path);
    cr_assert_eq(chmod(path, 0644), 0);
    cr_assert_neq(village_run(&v, "--config EE.POLICE/agent.yaml", out, sizeof out), 0);
    cr_assert_not_null(strstr(out, "storage"), "%s", out);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(village_run(&v, "--config EE.POLICE/agent.yaml", out, sizeof out), 3);
    cr_assert_not_null(strstr(out, "there is no storage key file"), "%s", out);
    village_path(&v, "EE.CUSTOMS", "keys/encrypt-1.key", path);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(village_run(&v, "--config EE.CUSTOMS/agent.yaml", out, sizeof out), 3);
    cr_assert_not_null(strstr(out, "there is no encryption key file"), "%s", out);
    village_path(&v, "EE.CUSTOMS", "keys/sign.key", path);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(village_run(&v, "--config EE.CUSTOMS/agent.yaml", out, sizeof out), 3);
    cr_assert_not_null(strstr(out, "key file"), "%s", out);
    village_fini(&v);
}

/* Somebody else's keys: nobody would believe what they sign. */
Test(daemon, keys_that_no_document_lists)
{
    struct village v;
    char out[8192];

    village_init(&v);
    cr_assert_eq(federation_rotate(v.federation, "EE.POLICE"), ERR_OK);
    village_write_federation(&v);
    cr_assert_eq(village_run(&v, "--config EE.POLICE/agent.yaml", out, sizeof out), 3);
    cr_assert_not_null(strstr(out, "list another"), "%s", out);
    village_fini(&v);
}

Test(daemon, two_on_one_folder)
{
    struct village v;
    struct client *c;
    char out[8192];
    char holder[64];

    village_init(&v);
    village_start(&v, "EE.POLICE");
    cr_assert_eq(village_run(&v, "--config EE.POLICE/agent.yaml", out, sizeof out), 3);
    snprintf(holder, sizeof holder, "%d sealpost-agent", (int)v.police);
    cr_assert_not_null(strstr(out, holder), "the holder is named: %s", out);
    /* The second one has not taken the first one's socket away. */
    c = village_visit(&v, "EE.POLICE");
    cr_assert_gt(village_log_size(c), 0);
    client_free(c);
    cr_assert_eq(village_stop(&v, "EE.POLICE"), 0);
    village_fini(&v);
}

Test(daemon, what_lies_at_the_sockets_path)
{
    struct village v;
    struct stat st;
    char path[256];
    char out[8192];

    village_init(&v);
    village_path(&v, "EE.POLICE", "agent.sock", path);
    cr_assert_eq(file_create(path, span_str("mine"), 0600), ERR_OK);
    cr_assert_eq(village_run(&v, "--config EE.POLICE/agent.yaml", out, sizeof out), 3);
    cr_assert_eq(stat(path, &st), 0);
    cr_assert(S_ISREG(st.st_mode), "a file of somebody is not removed");
    cr_assert_eq(unlink(path), 0);
    village_start(&v, "EE.POLICE");
    cr_assert_eq(stat(path, &st), 0);
    cr_assert_eq(st.st_mode & 0777, 0660);
    /* A killed one leaves it; the next one takes it over. */
    village_kill(&v, "EE.POLICE");
    cr_assert_eq(stat(path, &st), 0);
    village_start(&v, "EE.POLICE");
    client_free(village_visit(&v, "EE.POLICE"));
    cr_assert_eq(village_stop(&v, "EE.POLICE"), 0);
    village_fini(&v);
}

/* Sent while nobody is there, delivered when the others come, opened once, over a crash of each. */
Test(daemon, an_exchange)
{
    struct village v;
    Sp__SendRequest q;
    struct client *c;
    const Sp__Message *m;
    struct pb *frame;
    char id[UUID_TEXT_SIZE];
    char again[UUID_TEXT_SIZE];
    char state[32];
    uint64_t size;

    village_init(&v);
    village_start(&v, "EE.POLICE");
    c = village_visit(&v, "EE.POLICE");
    village_draft(&q, customs, "Lorry", "000 ZZZ");
    village_send(c, &q, NULL, 0, id);
    client_free(c);
    village_kill(&v, "EE.POLICE");

    village_start(&v, "tallinn");
    village_start(&v, "EE.POLICE");
    c = village_visit(&v, "EE.POLICE");
    village_await(c, id, "accepted", state);
    cr_assert_str_eq(state, "accepted");
    village_start(&v, "EE.CUSTOMS");
    village_await(c, id, "delivered", state);
    cr_assert_str_eq(state, "delivered");
    /* Its sender's show is no opening. */
    m = village_show(c, id, &frame);
    cr_assert_str_eq(m->text, "000 ZZZ");
    cr_assert_str_eq(m->direction, "out");
    cr_assert_str_eq(m->state, "delivered");
    pb_free(frame);
    client_free(c);

    village_kill(&v, "EE.CUSTOMS");
    village_start(&v, "EE.CUSTOMS");
    c = village_visit(&v, "EE.CUSTOMS");
    village_newest(c, "Lorry", again);
    cr_assert_str_eq(again, id);
    size = village_log_size(c);
    for (int i = 0; i < 2; i++) {
        m = village_show(c, id, &frame);
        cr_assert_str_eq(m->text, "000 ZZZ");
        cr_assert_str_eq(m->officer, "Duty Officer");
        cr_assert_str_eq(m->from, "EE.POLICE");
        cr_assert_str_eq(m->state, "opened");
        cr_assert_neq(m->received_ms, 0);
        pb_free(frame);
        cr_assert_eq(village_log_size(c), size + 1, "it is opened once");
    }
    client_free(c);
    cr_assert_eq(village_stop(&v, "EE.CUSTOMS"), 0);
    cr_assert_eq(village_stop(&v, "EE.POLICE"), 0);
    cr_assert_eq(village_stop(&v, "tallinn"), 0);
    village_fini(&v);
}

/* A program that waits does not keep the agent from stopping. */
Test(daemon, stop_with_visitors)
{
    struct village v;
    Sp__Request request = SP__REQUEST__INIT;
    Sp__WatchRequest watch = SP__WATCH_REQUEST__INIT;
    struct client *watching;
    struct client *idle;
    struct pb *frame;

    village_init(&v);
    village_start(&v, "EE.POLICE");
    idle = village_visit(&v, "EE.POLICE");
    watching = village_visit(&v, "EE.POLICE");
    request.watch = &watch;
    cr_assert_eq(client_send(watching, &request), ERR_OK);
    cr_assert_gt(village_log_size(idle), 0);
    cr_assert_eq(village_stop(&v, "EE.POLICE"), 0);
    cr_assert_eq(client_receive(watching, &frame), ERR_UNAVAILABLE);
    client_free(watching);
    client_free(idle);
    village_fini(&v);
}

/* Another data folder, so that no lock is in the way. */
Test(daemon, a_second_agent_takes_no_socket_that_is_served)
{
    struct village v;
    struct client *c;
    char out[8192];

    village_init(&v);
    village_start(&v, "EE.POLICE");
    village_configure(&v, "EE.POLICE", ALL_ROLES, "data: other\n");
    cr_assert_eq(village_run(&v, "--config EE.POLICE/agent.yaml", out, sizeof out), 3);
    cr_assert_not_null(strstr(out, "error=locked"), "%s", out);
    c = village_visit(&v, "EE.POLICE");
    cr_assert_gt(village_log_size(c), 0);
    client_free(c);
    cr_assert_eq(village_stop(&v, "EE.POLICE"), 0);
    village_fini(&v);
}
