/* The officers' door, verb by verb, at the program itself. */
#include "tests/lib/leaks.h"
#include "tests/unit/agent/village.h"

#include "audit/evidence.h"
#include "common/limits.h"
#include "proto/pb.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

TestSuite(local, .fini = leaks_check, .timeout = 120);

static char *customs[] = {(char *)"EE.CUSTOMS", NULL};

#define NOBODY "01939c1e-7b1f-7c3a-8d4e-0123456789ab"

static void start_all(struct village *v)
{
    village_init(v);
    village_start(v, "tallinn");
    village_start(v, "EE.POLICE");
    village_start(v, "EE.CUSTOMS");
}

static void stop_all(struct village *v)
{
    cr_assert_eq(village_stop(v, "EE.POLICE"), 0);
    if (v->customs != 0)
        cr_assert_eq(village_stop(v, "EE.CUSTOMS"), 0);
    if (v->broker != 0)
        cr_assert_eq(village_stop(v, "tallinn"), 0);
    village_fini(v);
}

/* A request of each verb, to nothing in particular. */
struct verbs {
    Sp__SendRequest send;
    Sp__ListRequest list;
    Sp__ShowRequest show;
    Sp__SaveRequest save;
    Sp__ReceiptsRequest receipts;
    Sp__ProveRequest prove;
    Sp__StatusRequest status;
    Sp__DirectoryRequest directory;
    Sp__WaitRequest wait;
    Sp__Request requests[10];
};

static void fill_verbs(struct verbs *a)
{
    for (size_t i = 0; i < 10; i++)
        sp__request__init(&a->requests[i]);
    village_draft(&a->send, customs, "s", "t");
    sp__list_request__init(&a->list);
    sp__show_request__init(&a->show);
    sp__save_request__init(&a->save);
    sp__receipts_request__init(&a->receipts);
    sp__prove_request__init(&a->prove);
    sp__status_request__init(&a->status);
    sp__directory_request__init(&a->directory);
    sp__wait_request__init(&a->wait);
    a->show.id = a->save.id = a->receipts.id = a->prove.id = a->wait.id = pb_string(NOBODY);
    a->wait.state = pb_string("accepted");
    a->requests[0].send = &a->send;
    a->requests[1].list = &a->list;
    a->requests[2].show = &a->show;
    a->requests[3].save = &a->save;
    a->requests[4].wait = &a->wait;
    a->requests[5].receipts = &a->receipts;
    a->requests[6].prove = &a->prove;
    a->requests[7].status = &a->status;
    a->requests[8].directory = &a->directory;
}

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
    struct verbs a;

    village_init(&v);
    fill_verbs(&a);
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
    struct verbs a;
    struct client *c;
    struct pb *frame;
    const Sp__Response *r;

    village_init(&v);
    fill_verbs(&a);
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
    stop_all(&v);
}

Test(local, verbs_one_at_a_time)
{
    struct village v;
    struct verbs a;
    struct client *c;
    Sp__Request both = SP__REQUEST__INIT;
    Sp__Request none = SP__REQUEST__INIT;
    Sp__Request stray = SP__REQUEST__INIT;
    Sp__DataChunk data = SP__DATA_CHUNK__INIT;

    village_init(&v);
    fill_verbs(&a);
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
    stop_all(&v);
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
    for (;;) {
        c = village_visit(&v, "EE.POLICE");
        if (client_has_response(c)) {
            client_free(c);
            continue;
        }
        usleep(20000);
        if (!client_has_response(c))
            break;
        client_free(c);
    }
    cr_assert_gt(village_log_size(c), 0);
    client_free(c);
    for (size_t i = 1; i < LIMIT_LOCAL_CLIENTS; i++)
        client_free(clients[i]);
    stop_all(&v);
}

Test(local, send_and_repeat)
{
    static const char id[] = NOBODY;
    struct village v;
    Sp__SendRequest q;
    Sp__Request request = SP__REQUEST__INIT;
    struct client *c;
    struct uuid fresh;
    char text[UUID_TEXT_SIZE];
    char first[UUID_TEXT_SIZE];
    char second[UUID_TEXT_SIZE];
    uint64_t size;
    const struct span attachment = span_str("some bytes");

    village_init(&v);
    village_start(&v, "EE.POLICE");
    c = village_visit(&v, "EE.POLICE");
    fresh = uuid_v7(env_system(), env_now_ms(env_system()));
    uuid_format(&fresh, text);
    village_draft(&q, customs, "Once", "and only once");
    q.id = text;
    village_send(c, &q, &attachment, 1, first);
    cr_assert_str_eq(first, text);
    size = village_log_size(c);
    village_send(c, &q, &attachment, 1, second);
    cr_assert_str_eq(second, text);
    cr_assert_eq(village_log_size(c), size, "an equal draft has no second effect");
    q.n_attachments = 0;
    request.send = &q;
    village_refused(c, &request, "replay");
    q.id = pb_string(id); /* long ago */
    village_refused(c, &request, "clock");
    cr_assert_eq(village_log_size(c), size);
    client_free(c);
    stop_all(&v);
}

Test(local, attachments_large_and_small)
{
    static const size_t sizes[] = {0, 1, 100 * 1024, 300 * 1024, 3 * 1024 * 1024 + 1};
    const size_t n = sizeof sizes / sizeof sizes[0];
    struct span attachments[sizeof sizes / sizeof sizes[0]];
    struct village v;
    Sp__SendRequest q;
    Sp__Request request = SP__REQUEST__INIT;
    Sp__SaveRequest save = SP__SAVE_REQUEST__INIT;
    const Sp__Response *r;
    struct client *c;
    struct pb *frame;
    struct buf got;
    char id[UUID_TEXT_SIZE];
    char state[32];
    size_t part = 0;
    uint8_t *bytes = malloc(sizes[n - 1]);

    for (size_t i = 0; i < sizes[n - 1]; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 251);
    for (size_t i = 0; i < n; i++)
        attachments[i] = span_of(bytes, sizes[i]);
    start_all(&v);
    c = village_visit(&v, "EE.POLICE");
    village_draft(&q, customs, "Files", "five of them");
    village_send(c, &q, attachments, n, id);
    village_await(c, id, "delivered", state);
    cr_assert_str_eq(state, "delivered");
    client_free(c);

    c = village_visit(&v, "EE.CUSTOMS");
    save.id = id;
    request.save = &save;
    buf_init(&got, sizes[n - 1]);
    for (r = village_ask(c, &request, &frame);; r = village_next(c, &frame)) {
        bool more = r->more;

        cr_assert_null(r->error);
        if (r->part != NULL) {
            cr_assert_eq(r->part->part, part + 1);
            cr_assert_eq(r->part->size, sizes[part]);
            buf_reset(&got);
        } else if (r->data != NULL) {
            buf_put(&got, pb_span(r->data->data));
            if (r->data->last) {
                cr_assert(span_equal(buf_span(&got), attachments[part]), "part %zu", part + 1);
                part++;
            }
        }
        pb_free(frame);
        if (!more)
            break;
    }
    cr_assert_eq(part, n);

    /* One part alone; the body as a file; one that is not there. */
    save.one_part = true;
    save.part = 0;
    r = village_ask(c, &request, &frame);
    cr_assert_str_eq(r->part->name, "message.txt");
    pb_free(frame);
    r = village_next(c, &frame);
    cr_assert(span_equal(pb_span(r->data->data), span_str("five of them")));
    while (r->more) {
        pb_free(frame);
        r = village_next(c, &frame);
    }
    pb_free(frame);
    save.part = (uint32_t)n + 1;
    village_refused(c, &request, "not-found");
    client_free(c);
    buf_fini(&got);
    free(bytes);
    stop_all(&v);
}

Test(local, drafts_that_are_wrong)
{
    struct village v;
    Sp__SendRequest q;
    Sp__Request request = SP__REQUEST__INIT;
    struct client *c;
    uint64_t size;
    char *nobody[] = {(char *)"EE.NOBODY", NULL};

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
    q.reply_to = pb_string(NOBODY);
    village_refused(c, &request, "not-found");
    cr_assert_eq(village_log_size(c), size, "nothing happened");
    client_free(c);
    stop_all(&v);
}

Test(local, reply)
{
    struct village v;
    Sp__SendRequest q;
    struct client *ee;
    struct client *cu;
    const Sp__Message *m;
    struct pb *frame;
    char id[UUID_TEXT_SIZE];
    char answer[UUID_TEXT_SIZE];

    start_all(&v);
    ee = village_visit(&v, "EE.POLICE");
    cu = village_visit(&v, "EE.CUSTOMS");
    village_draft(&q, customs, "Whose lorry?", "000 ZZZ");
    q.case_ = pb_string("EE-1");
    q.kind = pb_string("request");
    village_send(ee, &q, NULL, 0, id);
    village_newest(cu, "Whose lorry?", id);
    village_draft(&q, NULL, "", "Mine");
    q.kind = pb_string("answer");
    q.reply_to = id;
    village_send(cu, &q, NULL, 0, answer);
    village_newest(ee, "Re: Whose lorry?", answer);
    m = village_show(ee, answer, &frame);
    cr_assert_str_eq(m->case_, "EE-1");
    cr_assert_str_eq(m->reply_to, id);
    cr_assert_str_eq(m->kind, "answer");
    cr_assert_str_eq(m->completeness, "full");
    cr_assert_str_eq(m->text, "Mine");
    cr_assert_eq(m->n_to, 1);
    cr_assert_str_eq(m->to[0], "EE.POLICE");
    pb_free(frame);
    client_free(ee);
    client_free(cu);
    stop_all(&v);
}

static size_t count(struct client *c, const char *box, const char *case_name, const char *state,
                    uint64_t since_ms, uint32_t limit)
{
    Sp__Request request = SP__REQUEST__INIT;
    Sp__ListRequest list = SP__LIST_REQUEST__INIT;
    const Sp__Response *r;
    struct pb *frame;
    size_t n;

    list.box = pb_string(box);
    list.case_ = pb_string(case_name);
    list.state = pb_string(state);
    list.since_ms = since_ms;
    list.limit = limit;
    request.list = &list;
    r = village_ask(c, &request, &frame);
    cr_assert_not_null(r->messages);
    n = r->messages->n_messages;
    for (size_t i = 0; i < n; i++) {
        cr_assert_str_empty(r->messages->messages[i]->text, "a list shows no text");
        if (i > 0)
            cr_assert_geq(r->messages->messages[i - 1]->created_ms,
                          r->messages->messages[i]->created_ms, "the newest comes first");
    }
    pb_free(frame);
    return n;
}

Test(local, lists)
{
    struct village v;
    struct verbs a;
    Sp__SendRequest q;
    struct client *c;
    char id[UUID_TEXT_SIZE];
    uint64_t later;

    village_init(&v);
    fill_verbs(&a);
    village_start(&v, "EE.POLICE");
    c = village_visit(&v, "EE.POLICE");
    for (int i = 0; i < 5; i++) {
        village_draft(&q, customs, "s", "t");
        q.case_ = pb_string(i < 2 ? "EE-1" : "EE-2");
        village_send(c, &q, NULL, 0, id);
    }
    later = env_now_ms(env_system()) + 60000;
    cr_assert_eq(count(c, "", "", "", 0, 0), 5);
    cr_assert_eq(count(c, "all", "", "", 0, 4), 4);
    cr_assert_eq(count(c, "out", "", "", 0, LIMIT_LIST), 5);
    cr_assert_eq(count(c, "in", "", "", 0, 0), 0);
    cr_assert_eq(count(c, "all", "EE-1", "", 0, 0), 2);
    cr_assert_eq(count(c, "all", "EE-2", "", 0, 0), 3);
    cr_assert_eq(count(c, "all", "EE", "", 0, 0), 0);
    cr_assert_eq(count(c, "all", "", "queued", 0, 0), 5);
    cr_assert_eq(count(c, "all", "", "delivered", 0, 0), 0);
    cr_assert_eq(count(c, "all", "", "", later, 0), 0);
    a.list.box = pb_string("attic");
    village_refused(c, &a.requests[1], "usage");
    a.list.box = pb_string("in");
    a.list.limit = LIMIT_LIST + 1;
    village_refused(c, &a.requests[1], "usage");
    a.list.limit = 1;
    a.list.state = pb_string("lost");
    village_refused(c, &a.requests[1], "usage");
    client_free(c);
    stop_all(&v);
}

Test(local, ids_that_are_not_there)
{
    struct village v;
    struct verbs a;
    struct client *c;

    village_init(&v);
    fill_verbs(&a);
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
    stop_all(&v);
}

Test(local, status_and_directory)
{
    struct village v;
    struct verbs a;
    struct client *c;
    const Sp__Response *r;
    struct pb *frame;

    village_init(&v);
    fill_verbs(&a);
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
    stop_all(&v);
}

static const char *const events[] = {"submitted", "accepted", "delivered", "opened"};

Test(local, receipts_and_proof)
{
    struct village v;
    struct verbs a;
    Sp__SendRequest q;
    struct client *ee;
    struct client *cu;
    const Sp__Response *r;
    struct evidence *ev;
    struct pb *frame;
    char id[UUID_TEXT_SIZE];
    size_t n = 0;

    start_all(&v);
    fill_verbs(&a);
    ee = village_visit(&v, "EE.POLICE");
    cu = village_visit(&v, "EE.CUSTOMS");
    village_draft(&q, customs, "Proof", "of everything");
    village_send(ee, &q, NULL, 0, id);
    village_newest(cu, "Proof", id);
    village_show(cu, id, &frame);
    pb_free(frame);
    a.receipts.id = a.prove.id = id;
    while (n < 4) {
        r = village_ask(ee, &a.requests[5], &frame);
        n = r->receipts->n_receipts;
        cr_assert_leq(n, 4);
        for (size_t i = 0; i < n; i++) {
            cr_assert(r->receipts->receipts[i]->verified);
            if (n == 4)
                cr_assert_str_eq(r->receipts->receipts[i]->event, events[i]);
        }
        pb_free(frame);
        usleep(10000);
    }
    /* The recipient has the trail and its own. */
    r = village_ask(cu, &a.requests[5], &frame);
    cr_assert_eq(r->receipts->n_receipts, 3);
    for (size_t i = 0; i < 3; i++) {
        cr_assert_str_eq(r->receipts->receipts[i]->event, events[i + 1]);
        cr_assert(r->receipts->receipts[i]->verified);
    }
    pb_free(frame);
    for (int disclose = 0; disclose < 2; disclose++) {
        a.prove.disclose = disclose == 1;
        r = village_ask(ee, &a.requests[6], &frame);
        cr_assert_eq(evidence_decode(pb_span(r->proof->evidence), &ev), ERR_OK);
        cr_assert_eq(evidence_receipt_count(ev), 4);
        cr_assert_eq(evidence_view(ev)->n_documents, 2);
        cr_assert_eq(evidence_view(ev)->file_key.len, disclose == 1 ? 16 : 0);
        cr_assert(span_equal(pb_span(evidence_view(ev)->root), buf_span(&v.federation->root)));
        evidence_free(ev);
        pb_free(frame);
    }
    cr_assert(village_log_has(&v, "EE.POLICE", "event=content-disclosed"));
    client_free(ee);
    client_free(cu);
    stop_all(&v);
}

Test(local, watch)
{
    struct village v;
    Sp__SendRequest q;
    Sp__Request request = SP__REQUEST__INIT;
    Sp__WatchRequest watch = SP__WATCH_REQUEST__INIT;
    struct client *watching;
    struct client *c;
    const Sp__Response *r;
    struct pb *frame;
    char id[UUID_TEXT_SIZE];
    char more[UUID_TEXT_SIZE];
    uint64_t size;

    start_all(&v);
    watching = village_visit(&v, "EE.CUSTOMS");
    c = village_visit(&v, "EE.CUSTOMS");
    request.watch = &watch;
    cr_assert_eq(client_send(watching, &request), ERR_OK);
    client_free(c);
    c = village_visit(&v, "EE.POLICE");
    village_draft(&q, customs, "Look", "here");
    village_send(c, &q, NULL, 0, id);
    r = village_next(watching, &frame);
    cr_assert(r->more);
    cr_assert_str_eq(r->event->event, "received");
    cr_assert_str_eq(r->event->message->id, id);
    cr_assert_str_eq(r->event->message->subject, "Look");
    cr_assert_str_empty(r->event->message->text);
    cr_assert_str_eq(r->event->message->state, "delivered");
    pb_free(frame);
    client_free(c);
    c = village_visit(&v, "EE.CUSTOMS");
    size = village_log_size(c);
    village_show(c, id, &frame);
    pb_free(frame);
    r = village_next(watching, &frame);
    cr_assert_str_eq(r->event->event, "state");
    cr_assert_str_eq(r->event->message->state, "opened");
    pb_free(frame);
    cr_assert_eq(village_log_size(c), size + 1, "watching opens nothing");
    client_free(watching);

    /* What was before, and what comes then. */
    village_draft(&q, (char *[]){(char *)"EE.POLICE", NULL}, "Seen", "t");
    village_send(c, &q, NULL, 0, more);
    watching = village_visit(&v, "EE.CUSTOMS");
    watch.since_ms = 1;
    r = village_ask(watching, &request, &frame);
    cr_assert_str_eq(r->event->message->id, more);
    cr_assert_str_eq(r->event->event, "state");
    pb_free(frame);
    r = village_next(watching, &frame);
    cr_assert_str_eq(r->event->message->id, id);
    cr_assert_str_eq(r->event->event, "received");
    pb_free(frame);
    client_free(watching);
    client_free(c);
    stop_all(&v);
}

Test(local, wait_until_time_is_up)
{
    struct village v;
    struct verbs a;
    Sp__SendRequest q;
    struct client *c;
    struct client *other;
    const Sp__Response *r;
    struct pb *frame;
    char id[UUID_TEXT_SIZE];
    char state[32];
    uint64_t before;

    village_init(&v);
    fill_verbs(&a);
    village_start(&v, "EE.POLICE");
    c = village_visit(&v, "EE.POLICE");
    village_draft(&q, customs, "s", "t");
    village_send(c, &q, NULL, 0, id);
    a.wait.id = id;
    a.wait.timeout_in_ms = 0;
    r = village_ask(c, &a.requests[4], &frame);
    cr_assert_str_eq(r->message->state, "queued");
    pb_free(frame);
    before = env_mono_ms(env_system());
    a.wait.timeout_in_ms = 300;
    r = village_ask(c, &a.requests[4], &frame);
    cr_assert_str_eq(r->message->state, "queued");
    cr_assert_geq(env_mono_ms(env_system()) - before, 300);
    pb_free(frame);
    /* A change wakes it long before its time; a program that has gone is noticed. */
    a.wait.timeout_in_ms = 600000;
    other = village_visit(&v, "EE.POLICE");
    cr_assert_eq(client_send(other, &a.requests[4]), ERR_OK);
    client_free(other);
    cr_assert_eq(client_send(c, &a.requests[4]), ERR_OK);
    village_start(&v, "tallinn");
    r = village_next(c, &frame);
    cr_assert_str_eq(r->message->state, "accepted");
    pb_free(frame);
    village_await(c, id, "accepted", state);
    client_free(c);
    stop_all(&v);
}
