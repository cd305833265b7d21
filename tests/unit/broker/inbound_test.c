/* What a worker makes of a frame. Here and not beside its source's other tests because it needs
 * real envelopes and receipts. */
#include "peer/inbound.h"

#include "common/file.h"
#include "tests/lib/leaks.h"
#include "tests/unit/broker/puppet.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(inbound, .fini = leaks_check, .timeout = 120);

#define ACCEPTED SP__AUDIT_EVENT__AUDIT_EVENT_ACCEPTED

struct desk {
    struct city city;
    struct trusting *trusting;
    struct inbound *in;
    char federation[128];
    char root[128];
};

static void desk_init(struct desk *d)
{
    struct trust_floor floor = {0};
    struct trusting_options options = {.env = env_system(), .name = "tallinn"};
    char why[TRUSTING_WHY];

    city_init(&d->city, "");
    snprintf(d->federation, sizeof d->federation, "%s/federation", d->city.dir);
    snprintf(d->root, sizeof d->root, "%s/root.dsse", d->city.dir);
    options.federation = d->federation;
    options.root = d->root;
    options.listen = "tcp://127.0.0.1:*";
    cr_assert_eq(trusting_new(&options, &floor, &d->trusting, why), ERR_OK, "%s", why);
    cr_assert_eq(inbound_new(env_system(), d->trusting, 1, &d->in), ERR_OK);
}

static void desk_fini(struct desk *d)
{
    inbound_free(d->in);
    trusting_free(d->trusting);
    city_fini(&d->city);
}

static struct job *prepare(struct desk *d, const char *peer, const Sp__Frame *f)
{
    struct buf bytes;
    struct job *job;

    buf_init(&bytes, LIMIT_FRAME);
    pb_encode(f, &bytes);
    cr_assert_eq(bytes.err, ERR_OK);
    job = inbound_prepare(d->in, 0, peer, buf_span(&bytes));
    cr_assert_not_null(job);
    /* The job owns what it points to. */
    memset(bytes.data, 0xff, bytes.len);
    buf_fini(&bytes);
    return job;
}

static int mail(struct desk *d, const char *from)
{
    return stage_mail(&d->city.stage, &(struct stage_mail){.sender = from, .to = {"LV.POLICE"}});
}

/* A transfer builder of message `m` with its body beside it. */
struct builder {
    Sp__InlinePart body;
    Sp__InlinePart *parts[2];
    Sp__Transfer t;
};

static Sp__Transfer *build(struct desk *d, int m, struct builder *b)
{
    struct stage_message *message = &d->city.stage.messages[m];

    *b = (struct builder){.body = SP__INLINE_PART__INIT, .t = SP__TRANSFER__INIT};
    b->body.data = pb_bytes(buf_span(&message->body));
    b->parts[0] = &b->body;
    b->t.tag = 5;
    b->t.envelope = pb_bytes(buf_span(&message->bytes));
    b->t.parts = b->parts;
    b->t.n_parts = 1;
    return &b->t;
}

static struct job *prepare_one(struct desk *d, const char *peer, Sp__Transfer *t)
{
    Sp__Transfer *transfers[] = {t};
    Sp__Frame f = SP__FRAME__INIT;

    f.transfers = transfers;
    f.n_transfers = 1;
    return prepare(d, peer, &f);
}

static void expect_verdict(struct desk *d, const char *peer, Sp__Transfer *t, enum err verdict)
{
    struct job *job = prepare_one(d, peer, t);

    cr_assert_eq(job->n_items, 1);
    cr_assert_eq(job->items[0].kind, INBOUND_TRANSFER);
    cr_assert_eq(job->items[0].parcel->verdict, verdict, "%s instead of %s",
                 err_code(job->items[0].parcel->verdict), err_code(verdict));
    job_free(job);
}

static void expect_reject(struct desk *d, Sp__Transfer *t, enum err code)
{
    struct job *job = prepare_one(d, "EE.POLICE", t);

    cr_assert_eq(job->items[0].kind, INBOUND_REJECT);
    cr_assert_eq(job->items[0].reject.tag, t->tag);
    cr_assert_eq(job->items[0].reject.code, code, "%s", err_code(job->items[0].reject.code));
    job_free(job);
}

Test(inbound, garbage)
{
    struct desk d;
    struct job *job;

    desk_init(&d);
    job = inbound_prepare(d.in, 0, "EE.POLICE", span_str("\x0f garbage"));
    cr_assert_null(job->wire);
    cr_assert_neq(job->code, ERR_OK);
    cr_assert_eq(job->n_items, 0);
    job_free(job);
    /* An empty frame is well-formed and says nothing. */
    job = inbound_prepare(d.in, 0, "EE.POLICE", span_of(NULL, 0));
    cr_assert_not_null(job->wire);
    cr_assert_eq(job->n_items, 0);
    job_free(job);
    desk_fini(&d);
}

Test(inbound, items_of_a_frame)
{
    uint64_t acks[LIMIT_FRAME_ITEMS + 1] = {0};
    struct desk d;

    desk_init(&d);
    for (size_t n = LIMIT_FRAME_ITEMS - 1; n <= LIMIT_FRAME_ITEMS + 1; n++) {
        Sp__Frame f = SP__FRAME__INIT;
        struct job *job;

        f.control_acks = acks;
        f.n_control_acks = n;
        job = prepare(&d, "EE.POLICE", &f);
        cr_assert_eq(job->code, n <= LIMIT_FRAME_ITEMS ? ERR_OK : ERR_TOO_LARGE);
        cr_assert_eq(job->n_items, n <= LIMIT_FRAME_ITEMS ? n : 0);
        cr_assert_eq(job->wire == NULL, n > LIMIT_FRAME_ITEMS);
        job_free(job);
    }
    desk_fini(&d);
}

Test(inbound, a_good_one)
{
    struct desk d;
    struct builder b;
    struct job *job;
    int m;

    desk_init(&d);
    m = mail(&d, "EE.POLICE");
    job = prepare_one(&d, "EE.POLICE", build(&d, m, &b));
    cr_assert_eq(job->items[0].parcel->verdict, ERR_OK);
    cr_assert_eq(job->items[0].parcel->verified.envelope, job->items[0].parcel->envelope);
    cr_assert(!parcel_is_file(job->items[0].parcel, 0));
    cr_assert(parcel_is_file(job->items[0].parcel, 1));
    job_free(job);
    desk_fini(&d);
}

Test(inbound, parts_beside)
{
    struct desk d;
    struct builder b;
    Sp__InlinePart second = SP__INLINE_PART__INIT;
    uint8_t *large = calloc(1, LIMIT_INLINE_PARTS + 1);
    int m;

    desk_init(&d);
    m = mail(&d, "EE.POLICE");
    build(&d, m, &b);
    b.body.data.data[3] ^= 1;
    expect_verdict(&d, "EE.POLICE", &b.t, ERR_BAD_DIGEST);
    b.body.data.data[3] ^= 1;
    b.body.data.len--;
    expect_verdict(&d, "EE.POLICE", &b.t, ERR_BAD_DIGEST);
    build(&d, m, &b)->parts[0]->index = 1;
    expect_verdict(&d, "EE.POLICE", &b.t, ERR_MALFORMED);
    /* The same part twice. */
    build(&d, m, &b);
    second = b.body;
    b.parts[1] = &second;
    b.t.n_parts = 2;
    expect_verdict(&d, "EE.POLICE", &b.t, ERR_MALFORMED);
    /* More than may travel beside. */
    build(&d, m, &b);
    b.body.data = pb_bytes(span_of(large, LIMIT_INLINE_PARTS));
    expect_verdict(&d, "EE.POLICE", &b.t, ERR_BAD_DIGEST);
    b.body.data = pb_bytes(span_of(large, LIMIT_INLINE_PARTS + 1));
    expect_verdict(&d, "EE.POLICE", &b.t, ERR_TOO_LARGE);
    /* None beside: all are files. */
    build(&d, m, &b)->n_parts = 0;
    expect_verdict(&d, "EE.POLICE", &b.t, ERR_OK);
    free(large);
    desk_fini(&d);
}

Test(inbound, what_does_not_decode)
{
    char *to[LIMIT_RECIPIENTS + 1];
    ProtobufCBinaryData trail[LIMIT_HOPS + 1];
    struct desk d;
    struct builder b;
    int m;

    desk_init(&d);
    m = mail(&d, "EE.POLICE");
    build(&d, m, &b)->envelope.len--;
    expect_reject(&d, &b.t, ERR_MALFORMED);
    build(&d, m, &b)->envelope = pb_bytes(span_of(NULL, 0));
    expect_reject(&d, &b.t, ERR_WRONG_USAGE);
    build(&d, m, &b);
    for (size_t i = 0; i <= LIMIT_RECIPIENTS; i++)
        to[i] = pb_string("LV.POLICE");
    b.t.to = to;
    b.t.n_to = LIMIT_RECIPIENTS + 1;
    expect_reject(&d, &b.t, ERR_TOO_LARGE);
    build(&d, m, &b);
    for (size_t i = 0; i <= LIMIT_HOPS; i++)
        trail[i] = pb_bytes(span_str("x"));
    b.t.trail = trail;
    b.t.n_trail = LIMIT_HOPS + 1;
    expect_reject(&d, &b.t, ERR_HOP_LIMIT);
    b.t.n_trail = LIMIT_HOPS;
    expect_verdict(&d, "tallinn", &b.t, ERR_UNKNOWN_FIELD);
    desk_fini(&d);
}

Test(inbound, a_signature_that_does_not_hold)
{
    struct desk d;
    struct builder b;
    struct buf bytes;
    struct envelope *e;
    int m;

    desk_init(&d);
    m = mail(&d, "EE.POLICE");
    build(&d, m, &b);
    buf_init(&bytes, LIMIT_ENVELOPE);
    buf_put(&bytes, pb_span(b.t.envelope));
    /* Some byte of the signature: alter until it still decodes. */
    for (size_t i = 0; i < bytes.len; i++) {
        struct job *job;
        enum err verdict;

        bytes.data[i] ^= 1;
        if (envelope_decode(buf_span(&bytes), &e) == ERR_OK) {
            envelope_free(e);
            b.t.envelope = pb_bytes(buf_span(&bytes));
            job = prepare_one(&d, "EE.POLICE", &b.t);
            verdict = job->items[0].parcel->verdict;
            cr_assert(verdict == ERR_BAD_SIGNATURE || verdict == ERR_NEED_DOCUMENTS, "byte %zu: %s",
                      i, err_code(verdict));
            job_free(job);
        }
        bytes.data[i] ^= 1;
    }
    buf_fini(&bytes);
    desk_fini(&d);
}

/* Relays are judged at the time that the home broker's receipt proves; receipts must hold. */
Test(inbound, trail)
{
    ProtobufCBinaryData trail[1];
    struct desk d;
    struct builder b;
    const struct receipt *r;
    struct buf altered;
    int m;

    desk_init(&d);
    m = mail(&d, "LV.CUSTOMS");
    r = stage_receipt(&d.city.stage,
                      &(struct stage_statement){
                          .event = ACCEPTED, .log = "riga", .recipients = {"LV.POLICE"}, .m = m});
    build(&d, m, &b);
    trail[0] = pb_bytes(receipt_bytes(r));
    b.t.trail = trail;
    b.t.n_trail = 1;
    expect_verdict(&d, "riga", &b.t, ERR_OK);
    buf_init(&altered, LIMIT_RECEIPT);
    buf_put(&altered, receipt_bytes(r));
    trail[0] = pb_bytes(buf_span(&altered));
    /* A byte of the signature in base64, near the end. */
    altered.data[altered.len - 10] = altered.data[altered.len - 10] == 'A' ? 'B' : 'A';
    expect_verdict(&d, "riga", &b.t, ERR_BAD_SIGNATURE);
    buf_fini(&altered);
    desk_fini(&d);
}

/* Documents of the same frame count for its transfers; a parcel judged too early is judged again.
 */
Test(inbound, documents_first)
{
    struct desk d;
    struct builder b;
    Sp__Transfer *transfers[] = {&b.t};
    Sp__Frame f = SP__FRAME__INIT;
    ProtobufCBinaryData documents[2];
    struct job *job;
    struct job *early;
    int m;

    desk_init(&d);
    d.city.stage.env.now_ms = env_now_ms(env_system());
    cr_assert_eq(federation_rotate(d.city.stage.federation, "EE.POLICE"), ERR_OK);
    m = mail(&d, "EE.POLICE");
    early = prepare_one(&d, "EE.POLICE", build(&d, m, &b));
    cr_assert_eq(early->items[0].parcel->verdict, ERR_NEED_DOCUMENTS);
    documents[0] = pb_bytes(span_str("no documents"));
    documents[1] =
        pb_bytes(buf_span(&federation_agency(d.city.stage.federation, "EE.POLICE")->documents));
    f.documents = documents;
    f.n_documents = 2;
    f.transfers = transfers;
    f.n_transfers = 1;
    job = prepare(&d, "EE.POLICE", &f);
    cr_assert_eq(job->n_items, 2, "those that do not hold are passed over");
    cr_assert_eq(job->items[0].kind, INBOUND_DOCUMENTS);
    cr_assert_str_eq(job->items[0].documents.agency, "EE.POLICE");
    cr_assert(job->items[0].documents.news);
    cr_assert_eq(job->items[1].parcel->verdict, ERR_OK);
    inbound_judge_parcel(early->items[0].parcel, job->trust, "EE.POLICE", env_now_ms(env_system()));
    cr_assert_eq(early->items[0].parcel->verdict, ERR_OK);
    job_free(early);
    job_free(job);
    desk_fini(&d);
}

/* A parcel that waits for its parts outlives its frame. */
Test(inbound, parcel_kept)
{
    struct desk d;
    struct builder b;
    struct job *job;
    struct parcel *p;
    int m;

    desk_init(&d);
    m = mail(&d, "EE.POLICE");
    job = prepare_one(&d, "EE.POLICE", build(&d, m, &b));
    p = job->items[0].parcel;
    job->items[0].parcel = NULL;
    cr_assert_eq(parcel_keep(p), ERR_OK);
    cr_assert_eq(parcel_keep(p), ERR_OK);
    job_free(job);
    cr_assert(span_equal(pb_span(p->wire->envelope), buf_span(&d.city.stage.messages[m].bytes)));
    cr_assert_eq(p->wire->tag, 5);
    parcel_free(p);
    parcel_free(NULL);
    job_free(NULL);
    desk_fini(&d);
}

Test(inbound, answers_and_controls)
{
    Sp__Answer with = SP__ANSWER__INIT;
    Sp__Answer without = SP__ANSWER__INIT;
    Sp__Answer *answers[] = {&with, &without};
    Sp__Control good = SP__CONTROL__INIT;
    Sp__Control bad = SP__CONTROL__INIT;
    Sp__Control other = SP__CONTROL__INIT;
    Sp__Control *controls[] = {&good, &bad, &other};
    Sp__Frame f = SP__FRAME__INIT;
    const struct receipt *r;
    struct desk d;
    struct job *job;
    int m;

    desk_init(&d);
    m = mail(&d, "EE.POLICE");
    r = stage_receipt(&d.city.stage,
                      &(struct stage_statement){
                          .event = ACCEPTED, .log = "riga", .recipients = {"LV.POLICE"}, .m = m});
    with.receipt = pb_bytes(receipt_bytes(r));
    good.kind = bad.kind = SP__CONTROL_KIND__CONTROL_KIND_RECEIPT;
    good.body = pb_bytes(receipt_bytes(r));
    bad.body = pb_bytes(span_str("x"));
    other.kind = SP__CONTROL_KIND__CONTROL_KIND_RECALL;
    other.body = pb_bytes(receipt_bytes(r));
    f.answers = answers;
    f.n_answers = 2;
    f.controls = controls;
    f.n_controls = 3;
    job = prepare(&d, "riga", &f);
    cr_assert_eq(job->n_items, 5);
    cr_assert_not_null(job->items[0].answer.proof.receipt);
    cr_assert_eq(job->items[0].answer.proof.verdict, ERR_OK);
    cr_assert_null(job->items[1].answer.proof.receipt);
    cr_assert_eq(job->items[2].control.proof.verdict, ERR_OK);
    cr_assert_null(job->items[3].control.proof.receipt);
    cr_assert_null(job->items[4].control.proof.receipt, "other kinds are no receipts");
    job_free(job);
    desk_fini(&d);
}
