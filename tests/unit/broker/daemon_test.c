/* The program itself, over its real transport. */
#include "tests/lib/leaks.h"
#include "tests/unit/broker/puppet.h"

#include "common/file.h"
#include "proto/part.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(daemon, .fini = leaks_check, .timeout = 120);

#define ACCEPTED SP__AUDIT_EVENT__AUDIT_EVENT_ACCEPTED
#define DELIVERED SP__AUDIT_EVENT__AUDIT_EVENT_DELIVERED
#define COMMITTED SP__OUTCOME__OUTCOME_COMMITTED

static int mail(struct city *c, const char *from, const char *to)
{
    /* What the stage seals has to be of now. */
    c->stage.env.now_ms = env_now_ms(env_system());
    return stage_mail(&c->stage, &(struct stage_mail){.sender = from, .to = {to}});
}

static void acknowledge(struct puppet *p, uint64_t tag)
{
    Sp__Frame f = SP__FRAME__INIT;

    f.control_acks = &tag;
    f.n_control_acks = 1;
    puppet_send(p, &f);
}

Test(daemon, what_the_command_line_says)
{
    struct city c;
    char out[4096];
    char path[128];

    city_init(&c, "");
    cr_assert_eq(city_run(&c, "--config tallinn/broker.yaml --check", NULL, 0), 0);
    cr_assert_eq(city_run(&c, "--version", out, sizeof out), 0);
    cr_assert_not_null(strstr(out, "sealpost-broker"));
    cr_assert_eq(city_run(&c, "--help", out, sizeof out), 0);
    cr_assert_eq(city_run(&c, "", out, sizeof out), 2);
    cr_assert_eq(city_run(&c, "--config nowhere.yaml --check", out, sizeof out), 3);
    snprintf(path, sizeof path, "%s/bad.yaml", c.dir);
    cr_assert_eq(file_write_atomic(path, span_str("name: tallinn\nmetrics_listen: x\n"), 0644),
                 ERR_OK);
    cr_assert_eq(city_run(&c, "--config bad.yaml --check", out, sizeof out), 3);
    cr_assert_not_null(strstr(out, "bad.yaml:2:1"), "%s", out);
    city_fini(&c);
}

Test(daemon, two_on_one_folder)
{
    struct city c;
    char out[4096];
    char holder[64];

    city_init(&c, "");
    city_start(&c, "tallinn");
    cr_assert_eq(city_run(&c, "--config tallinn/broker.yaml", out, sizeof out), 3);
    snprintf(holder, sizeof holder, "%d sealpost-broker", (int)c.pids[0]);
    cr_assert_not_null(strstr(out, holder), "the holder is named: %s", out);
    cr_assert_eq(city_stop(&c, "tallinn"), 0);
    city_fini(&c);
}

/* From EE.POLICE by tallinn and riga to LV.POLICE, and the receipts back. */
Test(daemon, relay)
{
    struct city c;
    struct puppet ee;
    struct puppet lv;
    struct pb *frame;
    struct pb *again;
    const Sp__Answer *a;
    const Sp__Answer *b;
    const Sp__Transfer *t;
    const Sp__Control *control;
    int m;

    city_init(&c, "");
    city_start(&c, "tallinn");
    city_start(&c, "riga");
    puppet_init(&ee, &c, "EE.POLICE");
    m = mail(&c, "EE.POLICE", "LV.POLICE");
    puppet_submit(&ee, m);
    a = puppet_answer(&ee, (uint64_t)m, &frame);
    cr_assert_eq(a->outcome, COMMITTED, "%s %s", a->code, a->rule);
    puppet_check_receipt(&ee, a->receipt, ACCEPTED, "tallinn", m);

    /* The same again: the same answer to the byte. */
    puppet_submit(&ee, m);
    b = puppet_answer(&ee, (uint64_t)m, &again);
    cr_assert(span_equal(pb_span(a->receipt), pb_span(b->receipt)));
    pb_free(frame);
    pb_free(again);

    puppet_init(&lv, &c, "LV.POLICE");
    t = puppet_transfer(&lv, &frame);
    cr_assert(span_equal(pb_span(t->envelope), buf_span(&c.stage.messages[m].bytes)));
    cr_assert_eq(t->n_parts, 1);
    cr_assert(span_equal(pb_span(t->parts[0]->data), buf_span(&c.stage.messages[m].body)));
    cr_assert_eq(t->n_to, 1);
    cr_assert_str_eq(t->to[0], "LV.POLICE");
    cr_assert_eq(t->n_trail, 2);
    puppet_check_receipt(&lv, t->trail[0], ACCEPTED, "tallinn", m);
    puppet_check_receipt(&lv, t->trail[1], ACCEPTED, "riga", m);
    puppet_deliver(&lv, t->tag, m, 2);
    pb_free(frame);

    control = puppet_control(&ee, ACCEPTED, &frame);
    cr_assert_str_eq(control->to, "EE.POLICE");
    puppet_check_receipt(&ee, control->body, ACCEPTED, "riga", m);
    acknowledge(&ee, control->tag);
    pb_free(frame);
    control = puppet_control(&ee, DELIVERED, &frame);
    puppet_check_receipt(&ee, control->body, DELIVERED, "LV.POLICE", m);
    acknowledge(&ee, control->tag);
    pb_free(frame);
    puppet_fini(&ee);
    puppet_fini(&lv);
    cr_assert_eq(city_stop(&c, "tallinn"), 0);
    cr_assert_eq(city_stop(&c, "riga"), 0);
    city_fini(&c);
}

/* Acknowledged, then killed: still there, and delivered once. */
Test(daemon, killed)
{
    struct city c;
    struct puppet ee;
    struct puppet customs;
    struct pb *frame;
    const Sp__Answer *a;
    const Sp__Transfer *t;
    const Sp__Control *control;
    struct buf receipt;
    int m;

    city_init(&c, "");
    city_start(&c, "tallinn");
    puppet_init(&ee, &c, "EE.POLICE");
    m = mail(&c, "EE.POLICE", "EE.CUSTOMS");
    puppet_submit(&ee, m);
    a = puppet_answer(&ee, (uint64_t)m, &frame);
    cr_assert_eq(a->outcome, COMMITTED);
    buf_init(&receipt, LIMIT_RECEIPT);
    buf_put(&receipt, pb_span(a->receipt));
    pb_free(frame);
    city_kill(&c, "tallinn");
    city_start(&c, "tallinn");
    puppet_fini(&ee);
    puppet_init(&ee, &c, "EE.POLICE");
    puppet_submit(&ee, m);
    a = puppet_answer(&ee, (uint64_t)m, &frame);
    cr_assert_eq(a->outcome, COMMITTED);
    cr_assert(span_equal(pb_span(a->receipt), buf_span(&receipt)), "the first answer");
    pb_free(frame);
    puppet_init(&customs, &c, "EE.CUSTOMS");
    t = puppet_transfer(&customs, &frame);
    city_kill(&c, "tallinn");
    puppet_await_down(&customs);
    city_start(&c, "tallinn");
    puppet_fini(&customs);
    puppet_init(&customs, &c, "EE.CUSTOMS");
    pb_free(frame);
    t = puppet_transfer(&customs, &frame);
    puppet_deliver(&customs, t->tag, m, 1);
    pb_free(frame);
    puppet_fini(&ee);
    puppet_init(&ee, &c, "EE.POLICE");
    control = puppet_control(&ee, DELIVERED, &frame);
    puppet_check_receipt(&ee, control->body, DELIVERED, "EE.CUSTOMS", m);
    pb_free(frame);
    buf_fini(&receipt);
    puppet_fini(&ee);
    puppet_fini(&customs);
    cr_assert_eq(city_stop(&c, "tallinn"), 0);
    city_fini(&c);
}

static void submit_altered(struct puppet *p, int m, void (*alter)(Sp__Transfer *t))
{
    struct stage_message *message = &p->city->stage.messages[m];
    Sp__InlinePart body = SP__INLINE_PART__INIT;
    Sp__InlinePart *parts[] = {&body};
    Sp__Transfer t = SP__TRANSFER__INIT;
    Sp__Transfer *transfers[] = {&t};
    Sp__Frame f = SP__FRAME__INIT;

    body.data = pb_bytes(buf_span(&message->body));
    t.tag = 1000 + (uint64_t)m;
    t.envelope = pb_bytes(buf_span(&message->bytes));
    t.parts = parts;
    t.n_parts = 1;
    alter(&t);
    f.transfers = transfers;
    f.n_transfers = 1;
    puppet_send(p, &f);
}

static void shorten_envelope(Sp__Transfer *t)
{
    t->envelope.len--;
}

static void shorten_part(Sp__Transfer *t)
{
    t->parts[0]->data.len--;
}

static void strange_part(Sp__Transfer *t)
{
    t->parts[0]->index = 7;
}

static void garbage_trail(Sp__Transfer *t)
{
    static ProtobufCBinaryData trail[1];

    trail[0] = pb_bytes(span_str("x"));
    t->trail = trail;
    t->n_trail = 1;
}

/* What is wrong is refused by name, and nobody else suffers from it. */
Test(daemon, hostile_peer)
{
    static const struct {
        void (*alter)(Sp__Transfer *t);
        const char *code;
    } rows[] = {{shorten_envelope, "malformed"},
                {shorten_part, "bad-digest"},
                {strange_part, "malformed"},
                {garbage_trail, "unknown-field"}};
    struct city c;
    struct puppet ee;
    struct puppet customs;
    struct pb *frame;
    Sp__Hello hello = SP__HELLO__INIT;
    Sp__Frame wrong = SP__FRAME__INIT;
    int m;

    city_init(&c, "");
    city_start(&c, "tallinn");
    puppet_init(&ee, &c, "EE.POLICE");
    m = mail(&c, "EE.POLICE", "EE.CUSTOMS");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const Sp__Answer *a;

        submit_altered(&ee, m, rows[i].alter);
        a = puppet_answer(&ee, 1000 + (uint64_t)m, &frame);
        cr_assert_eq(a->outcome, SP__OUTCOME__OUTCOME_REFUSED);
        cr_assert_str_eq(a->code, rows[i].code);
        pb_free(frame);
    }
    puppet_send_bytes(&ee, span_str("no frame at all"));
    hello.name = pb_string("EE.CUSTOMS");
    wrong.hello = &hello;
    puppet_send(&ee, &wrong);
    city_await_log(&c, "tallinn", "event=hello-refused peer=EE.POLICE error=wrong-usage");
    hello.name = pb_string("EE.POLICE");
    hello.version = 1;
    puppet_send(&ee, &wrong);
    puppet_init(&customs, &c, "EE.CUSTOMS");
    m = mail(&c, "EE.CUSTOMS", "EE.POLICE");
    puppet_submit(&customs, m);
    cr_assert_eq(puppet_answer(&customs, (uint64_t)m, &frame)->outcome, COMMITTED);
    pb_free(frame);
    /* And it may mend its ways. */
    m = mail(&c, "EE.POLICE", "EE.CUSTOMS");
    puppet_submit(&ee, m);
    cr_assert_eq(puppet_answer(&ee, (uint64_t)m, &frame)->outcome, COMMITTED);
    pb_free(frame);
    puppet_fini(&ee);
    puppet_fini(&customs);
    cr_assert_eq(city_stop(&c, "tallinn"), 0);
    city_fini(&c);
}

static bool has_chunk_wants(const Sp__Frame *f)
{
    return f->n_part_wants > 0;
}

static bool has_chunks(const Sp__Frame *f)
{
    return f->n_chunks > 0;
}

/* Serves wants until all has been sent. */
static void serve(struct puppet *p, struct span part)
{
    uint64_t sent = 0;

    while (sent < part.len) {
        struct pb *frame;
        const Sp__PartWant *want = puppet_frame(p, has_chunk_wants, &frame)->part_wants[0];
        uint64_t until = want->offset + want->credit;

        for (uint64_t at = sent; at < part.len && at < until; at = sent) {
            Sp__PartChunk chunk = SP__PART_CHUNK__INIT;
            Sp__PartChunk *chunks[] = {&chunk};
            Sp__Frame f = SP__FRAME__INIT;
            uint64_t len = part.len - at < LIMIT_CHUNK ? part.len - at : LIMIT_CHUNK;

            chunk.sha256 = want->sha256;
            chunk.offset = at;
            chunk.data = pb_bytes(span_of(part.data + at, (size_t)len));
            f.chunks = chunks;
            f.n_chunks = 1;
            puppet_send(p, &f);
            sent += len;
        }
        pb_free(frame);
    }
}

/* Fetches a part as a recipient does. */
static void fetch(struct puppet *p, const struct envelope_part *part, struct buf *out)
{
    Sp__PartWant want = SP__PART_WANT__INIT;
    Sp__PartWant *wants[] = {&want};
    Sp__Frame f = SP__FRAME__INIT;

    want.sha256 = pb_bytes(digest_span(&part->sha256));
    want.credit = (uint32_t)LIMIT_CREDIT;
    f.part_wants = wants;
    f.n_part_wants = 1;
    puppet_send(p, &f);
    while (out->len < part->ct_len) {
        struct pb *frame;
        const Sp__PartChunk *chunk = puppet_frame(p, has_chunks, &frame)->chunks[0];

        /* The last wants extend nothing, so that the broker goes back: what came is passed over. */
        if (chunk->offset == out->len) {
            buf_put(out, pb_span(chunk->data));
            want.offset = out->len;
            puppet_send(p, &f);
        }
        pb_free(frame);
    }
}

/* A part of 3 MB goes by itself: EE.POLICE -> tallinn -> riga -> LV.POLICE. */
Test(daemon, large_part)
{
    struct city c;
    struct puppet ee;
    struct puppet lv;
    struct pb *frame;
    const Sp__Transfer *t;
    const struct envelope *e;
    struct buf fetched;
    int m;

    city_init(&c, "");
    city_start(&c, "tallinn");
    city_start(&c, "riga");
    puppet_init(&ee, &c, "EE.POLICE");
    puppet_init(&lv, &c, "LV.POLICE");
    c.stage.env.now_ms = env_now_ms(env_system());
    m = stage_mail(
        &c.stage,
        &(struct stage_mail){.sender = "EE.POLICE", .to = {"LV.POLICE"}, .file_bytes = 3000000});
    e = c.stage.messages[m].envelope;
    puppet_submit(&ee, m);
    serve(&ee, buf_span(&c.stage.messages[m].file));
    cr_assert_eq(puppet_answer(&ee, (uint64_t)m, &frame)->outcome, COMMITTED);
    pb_free(frame);
    t = puppet_transfer(&lv, &frame);
    cr_assert_eq(t->n_parts, 1);
    buf_init(&fetched, 4000000);
    fetch(&lv, envelope_part(e, 1), &fetched);
    cr_assert(span_equal(buf_span(&fetched), buf_span(&c.stage.messages[m].file)));
    buf_fini(&fetched);
    puppet_deliver(&lv, t->tag, m, 2);
    pb_free(frame);
    (void)puppet_control(&ee, DELIVERED, &frame);
    pb_free(frame);
    puppet_fini(&ee);
    puppet_fini(&lv);
    cr_assert_eq(city_stop(&c, "tallinn"), 0);
    cr_assert_eq(city_stop(&c, "riga"), 0);
    city_fini(&c);
}

static bool has_documents_wants(const Sp__Frame *f)
{
    return f->n_documents_wants > 0;
}

/* A key that the broker has not heard of: it asks, gets, and accepts. It keeps it, too. */
Test(daemon, documents_with_the_mail)
{
    struct city c;
    struct puppet ee;
    struct pb *frame;
    const Sp__Answer *a;
    const Sp__Frame *f;
    Sp__Frame documents = SP__FRAME__INIT;
    ProtobufCBinaryData bytes;
    int m;

    city_init(&c, "");
    city_start(&c, "tallinn");
    puppet_init(&ee, &c, "EE.POLICE");
    cr_assert_eq(federation_rotate(c.stage.federation, "EE.POLICE"), ERR_OK);
    m = mail(&c, "EE.POLICE", "LV.POLICE");
    puppet_submit(&ee, m);
    a = puppet_answer(&ee, (uint64_t)m, &frame);
    cr_assert_eq(a->outcome, SP__OUTCOME__OUTCOME_RETRY);
    cr_assert_str_eq(a->code, "need-documents");
    f = pb_view(frame);
    cr_assert(has_documents_wants(f), "asked for in the same frame");
    cr_assert_str_eq(f->documents_wants[0]->agency, "EE.POLICE");
    pb_free(frame);
    bytes = pb_bytes(buf_span(&ee.agency->documents));
    documents.documents = &bytes;
    documents.n_documents = 1;
    puppet_send(&ee, &documents);
    puppet_submit(&ee, m);
    a = puppet_answer(&ee, (uint64_t)m, &frame);
    cr_assert_eq(a->outcome, COMMITTED, "%s", a->code);
    pb_free(frame);
    puppet_fini(&ee);
    cr_assert_eq(city_stop(&c, "tallinn"), 0);
    city_start(&c, "tallinn");
    puppet_init(&ee, &c, "EE.POLICE");
    m = mail(&c, "EE.POLICE", "LV.POLICE");
    puppet_submit(&ee, m);
    a = puppet_answer(&ee, (uint64_t)m, &frame);
    cr_assert_eq(a->outcome, COMMITTED, "%s", a->code);
    pb_free(frame);
    puppet_fini(&ee);
    cr_assert_eq(city_stop(&c, "tallinn"), 0);
    city_fini(&c);
}

/* A revocation in the folder ends the agency's connection, and the other's stays. */
Test(daemon, revoked_while_connected)
{
    struct city c;
    struct puppet ee;
    struct puppet customs;
    struct pb *frame;
    uint64_t before;
    int m;

    city_init(&c, "");
    city_start(&c, "tallinn");
    puppet_init(&ee, &c, "EE.POLICE");
    puppet_init(&customs, &c, "EE.CUSTOMS");
    m = mail(&c, "EE.POLICE", "EE.CUSTOMS");
    puppet_submit(&ee, m);
    cr_assert_eq(puppet_answer(&ee, (uint64_t)m, &frame)->outcome, COMMITTED);
    pb_free(frame);
    c.stage.env.now_ms = env_now_ms(env_system());
    cr_assert_eq(federation_revoke(c.stage.federation, "EE.POLICE", 0), ERR_OK);
    city_publish(&c);
    before = env_mono_ms(env_system());
    puppet_await_down(&ee);
    cr_assert_lt(env_mono_ms(env_system()) - before, 5000, "within 5 s of holding the document");
    m = mail(&c, "EE.CUSTOMS", "LV.POLICE");
    puppet_submit(&customs, m);
    cr_assert_eq(puppet_answer(&customs, (uint64_t)m, &frame)->outcome, COMMITTED);
    pb_free(frame);
    puppet_fini(&ee);
    puppet_fini(&customs);
    cr_assert_eq(city_stop(&c, "tallinn"), 0);
    city_fini(&c);
}

/* Many at once: one answer for each, each with its receipt, in one commit or several. */
Test(daemon, many)
{
    struct city c;
    struct puppet ee;
    bool answered[201] = {0};
    int left = 200;

    city_init(&c, "");
    city_start(&c, "tallinn");
    puppet_init(&ee, &c, "EE.POLICE");
    for (int i = 0; i < 200; i++)
        puppet_submit(&ee, mail(&c, "EE.POLICE", i % 2 == 0 ? "EE.CUSTOMS" : "LT.POLICE"));
    while (left > 0) {
        struct pb *frame;
        const Sp__Answer *a = NULL;
        const Sp__Frame *f;

        a = puppet_answer(&ee, (uint64_t)(201 - left), &frame);
        cr_assert_eq(a->outcome, COMMITTED, "%s", a->code);
        f = pb_view(frame);
        for (size_t i = 0; i < f->n_answers; i++) {
            uint64_t tag = f->answers[i]->tag;

            cr_assert(tag >= 1 && tag <= 200 && !answered[tag]);
            answered[tag] = true;
            puppet_check_receipt(&ee, f->answers[i]->receipt, ACCEPTED, "tallinn", (int)tag);
            left--;
        }
        pb_free(frame);
    }
    puppet_fini(&ee);
    cr_assert_eq(city_stop(&c, "tallinn"), 0);
    city_fini(&c);
}
