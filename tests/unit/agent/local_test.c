/* The officers' door, verb by verb, at the program itself. */
#include "tests/lib/leaks.h"
#include "tests/unit/agent/village.h"

#include "common/limits.h"
#include "proto/pb.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

TestSuite(local, .fini = leaks_check, .timeout = 120);

static char *customs[] = {(char *)"EE.CUSTOMS", NULL};

/* The code with which a request ends; "" when it is done. */
static void outcome(struct client *c, const Sp__Request *q, char code[64])
{
    struct pb *frame;
    const Sp__Response *r = village_ask(c, q, &frame);

    snprintf(code, 64, "%s", r->error == NULL ? "" : r->error->code);
    pb_free(frame);
}

Test(local, what_each_role_may_do)
{
    /* send, list, show, save, wait, receipts, prove, status, directory */
    const struct {
        const char *role;
        const char *may;
    } rows[] = {
        {"officer", "yyyyyyyyy"},
        {"releaser", "nyyyyyyyy"},
        {"auditor", "nnnnnyyyy"},
        {"administrator", "nnnnnnnyy"},
    };
    struct village v;
    struct village_verbs a;

    village_init(&v);
    village_fill_verbs(&a);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct client *c;

        village_configure(&v, "EE.POLICE", rows[i].role, "");
        village_start(&v, "EE.POLICE");
        c = village_visit(&v, "EE.POLICE");
        for (size_t j = 0; j < 9; j++) {
            char code[64];

            outcome(c, &a.requests[j], code);
            cr_assert_eq(strcmp(code, "not-allowed") != 0, rows[i].may[j] == 'y',
                         "%s, verb %zu: %s", rows[i].role, j, code);
        }
        /* With the file key a proof is the content. */
        a.prove.disclose = true;
        if (strcmp(rows[i].role, "officer") != 0)
            village_refused(c, &a.requests[6], "not-allowed");
        else
            village_refused(c, &a.requests[6], "not-found");
        a.prove.disclose = false;
        client_free(c);
        cr_assert_eq(village_stop(&v, "EE.POLICE"), 0);
    }
    village_fini(&v);
}

Test(local, an_unknown_uid)
{
    struct village v;
    struct village_verbs a;
    struct client *c;
    struct pb *frame;
    const Sp__Response *r;

    village_init(&v);
    village_fill_verbs(&a);
    village_configure(&v, "EE.POLICE", NULL, "");
    village_start(&v, "EE.POLICE");
    c = village_visit(&v, "EE.POLICE");
    r = village_next(c, &frame);
    cr_assert_not_null(r->error);
    cr_assert_str_eq(r->error->code, "not-allowed");
    pb_free(frame);
    cr_assert_eq(client_receive(c, &frame), ERR_UNAVAILABLE);
    client_free(c);
    cr_assert(village_log_has(&v, "EE.POLICE", "event=unknown-uid"));
    cr_assert_eq(village_stop(&v, "EE.POLICE"), 0);
    village_fini(&v);
}

static int raw(struct village *v)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    char path[256];

    village_path(v, "EE.POLICE", "agent.sock", path);
    snprintf(address.sun_path, sizeof address.sun_path, "%.100s", path);
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* Reads one response and expects this error and the end of the connection. */
static void expect_end(int fd, const char *code)
{
    uint8_t bytes[4096];
    const Sp__Response *r;
    struct pb *pb;
    size_t len = 0;
    ssize_t n;

    while ((n = recv(fd, bytes + len, sizeof bytes - len, 0)) > 0)
        len += (size_t)n;
    cr_assert_gt(len, 4);
    cr_assert_eq(pb_decode(&sp__response__descriptor, span_of(bytes + 4, len - 4), len, &pb),
                 ERR_OK);
    r = pb_view(pb);
    cr_assert_not_null(r->error);
    cr_assert_str_eq(r->error->code, code);
    pb_free(pb);
    close(fd);
}

static void say(int fd, const void *bytes, size_t len)
{
    cr_assert_eq(send(fd, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
}

Test(local, frames_that_are_none)
{
    const uint32_t over = LIMIT_LOCAL_FRAME + 1;
    const uint8_t too_long[] = {(uint8_t)(over >> 24), (uint8_t)(over >> 16), (uint8_t)(over >> 8),
                                (uint8_t)over};
    const uint8_t unknown[] = {0, 0, 0, 3, 0xf8, 0x07, 1};
    const uint8_t zero_tag[] = {0, 0, 0, 2, 8, 0};
    const uint8_t cut[] = {0, 0, 0, 2, 0x2a, 9};
    const uint8_t half[] = {0, 0, 0, 9, 8};
    struct village v;
    struct client *c;
    int fd;

    village_init(&v);
    village_start(&v, "EE.POLICE");
    fd = raw(&v);
    say(fd, too_long, sizeof too_long);
    expect_end(fd, "too-large");
    fd = raw(&v);
    say(fd, unknown, sizeof unknown);
    expect_end(fd, "unknown-field");
    fd = raw(&v);
    say(fd, zero_tag, sizeof zero_tag);
    expect_end(fd, "non-canonical");
    fd = raw(&v);
    say(fd, cut, sizeof cut);
    expect_end(fd, "malformed");
    fd = raw(&v);
    say(fd, half, sizeof half);
    close(fd);
    /* Everybody else is served as before. */
    c = village_visit(&v, "EE.POLICE");
    cr_assert_gt(village_log_size(c), 0);
    client_free(c);
    village_stop_all(&v);
}

Test(local, verbs_one_at_a_time)
{
    struct village v;
    struct village_verbs a;
    struct client *c;
    Sp__Request both = SP__REQUEST__INIT;
    Sp__Request none = SP__REQUEST__INIT;
    Sp__Request stray = SP__REQUEST__INIT;
    Sp__DataChunk data = SP__DATA_CHUNK__INIT;

    village_init(&v);
    village_fill_verbs(&a);
    village_start(&v, "EE.POLICE");
    c = village_visit(&v, "EE.POLICE");
    both.status = &a.status;
    both.list = &a.list;
    village_refused(c, &both, "malformed");
    village_refused(c, &none, "malformed");
    a.requests[7].acting_officer = pb_string("somebody");
    village_refused(c, &a.requests[7], "not-allowed");
    /* Bytes behind a refused draft are passed over. */
    stray.data = &data;
    cr_assert_eq(client_send(c, &stray), ERR_OK);
    cr_assert_gt(village_log_size(c), 0);
    client_free(c);
    village_stop_all(&v);
}

/* Whether the agent answers this visitor, or turns it away as one too many. */
static bool is_served(struct client *c)
{
    Sp__StatusRequest status = SP__STATUS_REQUEST__INIT;
    Sp__Request request = SP__REQUEST__INIT;
    struct pb *frame = NULL;
    bool served;

    request.status = &status;
    (void)client_send(c, &request); /* fails when it was closed on us */
    served = client_receive(c, &frame) == ERR_OK &&
             ((const Sp__Response *)pb_view(frame))->status != NULL;
    pb_free(frame);
    return served;
}

Test(local, places)
{
    struct client *clients[LIMIT_LOCAL_CLIENTS];
    struct village v;
    struct client *c;
    struct pb *frame;
    const Sp__Response *r;

    village_init(&v);
    village_start(&v, "EE.POLICE");
    for (size_t i = 0; i < LIMIT_LOCAL_CLIENTS; i++) {
        clients[i] = village_visit(&v, "EE.POLICE");
        cr_assert_gt(village_log_size(clients[i]), 0);
    }
    c = village_visit(&v, "EE.POLICE");
    r = village_next(c, &frame);
    cr_assert_not_null(r->error);
    cr_assert_str_eq(r->error->code, "full");
    pb_free(frame);
    client_free(c);
    /* One leaves: its place is free as soon as its thread has noticed. */
    client_free(clients[0]);
    while (!is_served(c = village_visit(&v, "EE.POLICE")))
        client_free(c);
    cr_assert_gt(village_log_size(c), 0);
    client_free(c);
    for (size_t i = 1; i < LIMIT_LOCAL_CLIENTS; i++)
        client_free(clients[i]);
    village_stop_all(&v);
}

Test(local, drafts_that_are_wrong)
{
    struct village v;
    Sp__SendRequest q;
    Sp__Request request = SP__REQUEST__INIT;
    struct client *c;
    uint64_t size;
    char *nobody[] = {(char *)"EE.VILLAGE_NOBODY", NULL};

    village_init(&v);
    village_start(&v, "EE.POLICE");
    c = village_visit(&v, "EE.POLICE");
    size = village_log_size(c);
    request.send = &q;
    village_draft(&q, nobody, "s", "t");
    village_refused(c, &request, "unknown-agency");
    village_draft(&q, customs, "", "t");
    village_refused(c, &request, "malformed");
    village_draft(&q, customs, "s", "t");
    q.kind = pb_string("gossip");
    village_refused(c, &request, "usage");
    village_draft(&q, customs, "s", "t");
    q.level = pb_string("SECRET");
    village_refused(c, &request, "level-ceiling");
    village_draft(&q, customs, "s", "t");
    q.reply_to = pb_string(VILLAGE_NOBODY);
    village_refused(c, &request, "not-found");
    cr_assert_eq(village_log_size(c), size, "nothing happened");
    client_free(c);
    village_stop_all(&v);
}

Test(local, ids_that_are_not_there)
{
    struct village v;
    struct village_verbs a;
    struct client *c;

    village_init(&v);
    village_fill_verbs(&a);
    village_start(&v, "EE.POLICE");
    c = village_visit(&v, "EE.POLICE");
    for (size_t i = 2; i < 7; i++)
        village_refused(c, &a.requests[i], "not-found");
    a.show.id = pb_string("one");
    village_refused(c, &a.requests[2], "usage");
    a.wait.state = pb_string("opened");
    village_refused(c, &a.requests[4], "usage");
    a.directory.agency = pb_string("XX.NONE");
    village_refused(c, &a.requests[8], "not-found");
    client_free(c);
    village_stop_all(&v);
}

Test(local, status_and_directory)
{
    struct village v;
    struct village_verbs a;
    struct client *c;
    const Sp__Response *r;
    struct pb *frame;

    village_init(&v);
    village_fill_verbs(&a);
    village_start(&v, "EE.POLICE");
    c = village_visit(&v, "EE.POLICE");
    r = village_ask(c, &a.requests[7], &frame);
    cr_assert_str_eq(r->status->agency, "EE.POLICE");
    cr_assert_str_eq(r->status->officer, "duty");
    cr_assert_eq(r->status->n_roles, 4);
    cr_assert_str_eq(r->status->broker, "tallinn");
    cr_assert_not(r->status->connected);
    cr_assert_eq(r->status->log_root.len, 32);
    cr_assert_eq(r->status->directory_version, v.federation->directory_version);
    cr_assert_gt(r->status->certificate_expires_ms, v.env.now_ms);
    cr_assert_gt(r->status->key_expires_ms, v.env.now_ms);
    cr_assert_gt(r->status->n_warnings, 0, "no broker is there");
    pb_free(frame);
    r = village_ask(c, &a.requests[8], &frame);
    cr_assert_str_eq(r->directory->federation, FEDERATION_NAME);
    cr_assert_eq(r->directory->n_agencies, FEDERATION_AGENCIES_MAX);
    pb_free(frame);
    a.directory.agency = pb_string("LT.CUSTOMS");
    r = village_ask(c, &a.requests[8], &frame);
    cr_assert_eq(r->directory->n_agencies, 1);
    cr_assert_str_eq(r->directory->agencies[0]->ceiling, "RESTRICTED");
    cr_assert(r->directory->agencies[0]->key_known);
    pb_free(frame);
    client_free(c);
    village_stop_all(&v);
}
