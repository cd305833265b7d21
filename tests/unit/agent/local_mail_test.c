/* Mail through the officers' door: sent, repeated, answered, saved, proven, watched. */
#include "tests/lib/leaks.h"
#include "tests/unit/agent/village.h"

#include "audit/evidence.h"
#include "common/limits.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

TestSuite(local_mail, .fini = leaks_check, .timeout = 120);

static char *customs[] = {(char *)"EE.CUSTOMS", NULL};

Test(local_mail, send_and_repeat)
{
    static const char id[] = VILLAGE_NOBODY;
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
    village_stop_all(&v);
}

/* Saves all parts and compares them with what was sent. */
static void check_saved(struct client *c, const char *id, const struct span *attachments, size_t n)
{
    Sp__Request request = SP__REQUEST__INIT;
    Sp__SaveRequest save = SP__SAVE_REQUEST__INIT;
    const Sp__Response *r;
    struct pb *frame;
    struct buf got;
    size_t part = 0;

    save.id = pb_string(id);
    request.save = &save;
    buf_init(&got, LIMIT_STORE_VALUE);
    for (r = village_ask(c, &request, &frame);; r = village_next(c, &frame)) {
        bool more = r->more;

        cr_assert_null(r->error);
        if (r->part != NULL) {
            cr_assert_eq(r->part->part, part + 1);
            cr_assert_eq(r->part->size, attachments[part].len);
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
    buf_fini(&got);
}

/* One part alone: the body as a file, and one that is not there. */
static void check_one_part(struct client *c, const char *id, const char *text, size_t n)
{
    Sp__Request request = SP__REQUEST__INIT;
    Sp__SaveRequest save = SP__SAVE_REQUEST__INIT;
    const Sp__Response *r;
    struct pb *frame;

    save.id = pb_string(id);
    save.one_part = true;
    request.save = &save;
    r = village_ask(c, &request, &frame);
    cr_assert_str_eq(r->part->name, "message.txt");
    pb_free(frame);
    r = village_next(c, &frame);
    cr_assert(span_equal(pb_span(r->data->data), span_str(text)));
    while (r->more) {
        pb_free(frame);
        r = village_next(c, &frame);
    }
    pb_free(frame);
    save.part = (uint32_t)n + 1;
    village_refused(c, &request, "not-found");
}

Test(local_mail, attachments_large_and_small)
{
    static const size_t sizes[] = {0, 1, 100 * 1024, 300 * 1024, 3 * 1024 * 1024 + 1};
    const size_t n = sizeof sizes / sizeof sizes[0];
    struct span attachments[sizeof sizes / sizeof sizes[0]];
    struct village v;
    Sp__SendRequest q;
    struct client *c;
    char id[UUID_TEXT_SIZE];
    char state[32];
    uint8_t *bytes = malloc(sizes[n - 1]);

    for (size_t i = 0; i < sizes[n - 1]; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 251);
    for (size_t i = 0; i < n; i++)
        attachments[i] = span_of(bytes, sizes[i]);
    village_start_all(&v);
    c = village_visit(&v, "EE.POLICE");
    village_draft(&q, customs, "Files", "five of them");
    village_send(c, &q, attachments, n, id);
    village_await(c, id, "delivered", state);
    cr_assert_str_eq(state, "delivered");
    client_free(c);
    c = village_visit(&v, "EE.CUSTOMS");
    check_saved(c, id, attachments, n);
    check_one_part(c, id, "five of them", n);
    client_free(c);
    free(bytes);
    village_stop_all(&v);
}

Test(local_mail, reply)
{
    struct village v;
    Sp__SendRequest q;
    struct client *ee;
    struct client *cu;
    const Sp__Message *m;
    struct pb *frame;
    char id[UUID_TEXT_SIZE];
    char answer[UUID_TEXT_SIZE];

    village_start_all(&v);
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
    village_stop_all(&v);
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

Test(local_mail, lists)
{
    struct village v;
    struct village_verbs a;
    Sp__SendRequest q;
    struct client *c;
    char id[UUID_TEXT_SIZE];
    uint64_t later;

    village_init(&v);
    village_fill_verbs(&a);
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
    village_stop_all(&v);
}

static const char *const events[] = {"submitted", "accepted", "delivered", "opened"};

Test(local_mail, receipts_and_proof)
{
    struct village v;
    struct village_verbs a;
    Sp__SendRequest q;
    struct client *ee;
    struct client *cu;
    const Sp__Response *r;
    struct evidence *ev;
    struct pb *frame;
    char id[UUID_TEXT_SIZE];
    size_t n = 0;

    village_start_all(&v);
    village_fill_verbs(&a);
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
    village_stop_all(&v);
}

Test(local_mail, watch)
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

    village_start_all(&v);
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
    village_stop_all(&v);
}

Test(local_mail, wait_until_time_is_up)
{
    struct village v;
    struct village_verbs a;
    Sp__SendRequest q;
    struct client *c;
    struct client *other;
    const Sp__Response *r;
    struct pb *frame;
    char id[UUID_TEXT_SIZE];
    char state[32];
    uint64_t before;

    village_init(&v);
    village_fill_verbs(&a);
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
    village_stop_all(&v);
}
