#include "peer/outbound.h"

#include "proto/pb.h"
#include "tests/lib/leaks.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

TestSuite(outbound, .fini = leaks_check);

#define FRAMES 64

/* What was sent, decoded strictly: what a peer would not understand fails here. */
struct sent {
    struct outbound *o;
    size_t n;
    char peers[FRAMES][LIMIT_PEER];
    struct pb *frames[FRAMES];
};

static void take(void *ctx, const char *peer, struct buf *frame)
{
    struct sent *s = ctx;

    cr_assert_lt(s->n, (size_t)FRAMES);
    cr_assert_leq(frame->len, LIMIT_FRAME);
    strcpy(s->peers[s->n], peer);
    cr_assert_eq(pb_decode(&sp__frame__descriptor, buf_span(frame), LIMIT_FRAME, &s->frames[s->n]),
                 ERR_OK);
    s->n++;
    buf_fini(frame);
}

static const Sp__Frame *frame_at(const struct sent *s, size_t i)
{
    cr_assert_lt(i, s->n);
    return pb_view(s->frames[i]);
}

static void sent_init(struct sent *s)
{
    struct outbound_ops ops = {.ctx = s, .send = take};

    memset(s, 0, sizeof *s);
    cr_assert_eq(outbound_new(&ops, &s->o), ERR_OK);
}

static void sent_fini(struct sent *s)
{
    for (size_t i = 0; i < s->n; i++)
        pb_free(s->frames[i]);
    outbound_free(s->o);
}

static void answer(struct sent *s, const char *peer, uint64_t tag)
{
    Sp__Answer a = SP__ANSWER__INIT;

    a.tag = tag;
    a.outcome = SP__OUTCOME__OUTCOME_COMMITTED;
    outbound_answer(s->o, peer, &a);
}

static void transfer(struct sent *s, const char *peer, uint64_t tag, size_t len)
{
    Sp__Transfer t = SP__TRANSFER__INIT;
    uint8_t *bytes = calloc(1, len);

    t.tag = tag;
    t.envelope = pb_bytes(span_of(bytes, len));
    outbound_transfer(s->o, peer, &t);
    free(bytes);
}

Test(outbound, everything_in_one_frame)
{
    struct sent s;
    Sp__Hello hello = SP__HELLO__INIT;
    Sp__Control control = SP__CONTROL__INIT;
    Sp__DocumentsWant want = SP__DOCUMENTS_WANT__INIT;
    const Sp__Frame *f;

    sent_init(&s);
    want.agency = pb_string("EE.POLICE");
    control.kind = SP__CONTROL_KIND__CONTROL_KIND_RECEIPT;
    control.tag = 9;
    hello.name = pb_string("tallinn");
    /* In any order. */
    outbound_ack(s.o, "riga", 1);
    outbound_want(s.o, "riga", &want);
    answer(&s, "riga", 2);
    outbound_control(s.o, "riga", &control);
    transfer(&s, "riga", 3, 10);
    outbound_ack(s.o, "riga", UINT64_MAX);
    outbound_documents(s.o, "riga", span_str("documents"));
    transfer(&s, "riga", 4, 10);
    outbound_hello(s.o, "riga", &hello);
    cr_assert_eq(s.n, 0, "nothing leaves before the flush");
    cr_assert_eq(outbound_flush(s.o), ERR_OK);
    cr_assert_eq(s.n, 1);
    f = frame_at(&s, 0);
    cr_assert_str_eq(f->hello->name, "tallinn");
    cr_assert_eq(f->n_documents, 1);
    cr_assert_eq(f->n_transfers, 2);
    cr_assert_eq(f->transfers[0]->tag, 3);
    cr_assert_eq(f->transfers[1]->tag, 4);
    cr_assert_eq(f->n_answers, 1);
    cr_assert_eq(f->n_controls, 1);
    cr_assert_eq(f->n_control_acks, 2);
    cr_assert_eq(f->control_acks[1], UINT64_MAX);
    cr_assert_str_eq(f->documents_wants[0]->agency, "EE.POLICE");
    sent_fini(&s);
}

Test(outbound, each_peer_has_its_own)
{
    struct sent s;

    sent_init(&s);
    answer(&s, "riga", 1);
    answer(&s, "vilnius", 2);
    answer(&s, "riga", 3);
    cr_assert_eq(outbound_flush(s.o), ERR_OK);
    cr_assert_eq(s.n, 2);
    cr_assert_str_eq(s.peers[0], "riga");
    cr_assert_eq(frame_at(&s, 0)->n_answers, 2);
    cr_assert_str_eq(s.peers[1], "vilnius");
    cr_assert_eq(frame_at(&s, 1)->answers[0]->tag, 2);
    /* And nothing stays for the next commit. */
    cr_assert_eq(outbound_flush(s.o), ERR_OK);
    cr_assert_eq(s.n, 2);
    answer(&s, "vilnius", 4);
    cr_assert_eq(outbound_flush(s.o), ERR_OK);
    cr_assert_eq(s.n, 3);
    cr_assert_eq(frame_at(&s, 2)->n_answers, 1);
    sent_fini(&s);
}

static size_t count(const Sp__Frame *f)
{
    return f->n_documents + f->n_transfers + f->n_answers + f->n_controls + f->n_control_acks +
           f->n_documents_wants;
}

Test(outbound, items_of_a_frame)
{
    const size_t sizes[] = {LIMIT_FRAME_ITEMS - 1, LIMIT_FRAME_ITEMS, LIMIT_FRAME_ITEMS + 1};

    for (size_t i = 0; i < 3; i++) {
        struct sent s;
        size_t n = 0;
        uint64_t tag = 0;

        sent_init(&s);
        for (uint64_t j = 0; j < sizes[i]; j++) {
            if (j % 2 == 0)
                answer(&s, "riga", j);
            else
                outbound_ack(s.o, "riga", j);
        }
        cr_assert_eq(outbound_flush(s.o), ERR_OK);
        cr_assert_eq(s.n, sizes[i] > LIMIT_FRAME_ITEMS ? 2 : 1);
        for (size_t j = 0; j < s.n; j++) {
            cr_assert_leq(count(frame_at(&s, j)), LIMIT_FRAME_ITEMS);
            n += count(frame_at(&s, j));
            for (size_t k = 0; k < frame_at(&s, j)->n_answers; k++, tag += 2)
                cr_assert_eq(frame_at(&s, j)->answers[k]->tag, tag);
        }
        cr_assert_eq(n, sizes[i]);
        sent_fini(&s);
    }
}

Test(outbound, acknowledgements_alone)
{
    struct sent s;
    size_t n = 0;

    sent_init(&s);
    for (uint64_t i = 0; i < 1000; i++)
        outbound_ack(s.o, "riga", UINT64_MAX - i);
    cr_assert_eq(outbound_flush(s.o), ERR_OK);
    cr_assert_eq(s.n, 4);
    for (size_t i = 0; i < s.n; i++) {
        for (size_t j = 0; j < frame_at(&s, i)->n_control_acks; j++)
            cr_assert_eq(frame_at(&s, i)->control_acks[j], UINT64_MAX - n++);
    }
    cr_assert_eq(n, 1000);
    sent_fini(&s);
}

Test(outbound, bytes_of_a_frame)
{
    struct sent s;
    uint64_t tag = 0;

    sent_init(&s);
    for (uint64_t i = 0; i < 30; i++)
        transfer(&s, "riga", i + 1, LIMIT_MIB);
    cr_assert_eq(outbound_flush(s.o), ERR_OK);
    cr_assert_geq(s.n, (size_t)4);
    cr_assert_leq(s.n, (size_t)5, "as few frames as fit");
    for (size_t i = 0; i < s.n; i++) {
        for (size_t j = 0; j < frame_at(&s, i)->n_transfers; j++)
            cr_assert_eq(frame_at(&s, i)->transfers[j]->tag, ++tag);
    }
    cr_assert_eq(tag, 30);
    sent_fini(&s);
}

/* What fits into no frame is left out; the others go. */
Test(outbound, too_large)
{
    struct sent s;

    sent_init(&s);
    transfer(&s, "riga", 1, LIMIT_FRAME);
    transfer(&s, "riga", 2, 10);
    transfer(&s, "riga", 3, LIMIT_FRAME + 10);
    cr_assert_eq(outbound_flush(s.o), ERR_OK);
    cr_assert_eq(s.n, 1);
    cr_assert_eq(frame_at(&s, 0)->n_transfers, 1);
    cr_assert_eq(frame_at(&s, 0)->transfers[0]->tag, 2);
    sent_fini(&s);
}
