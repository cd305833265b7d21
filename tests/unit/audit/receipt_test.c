#include "audit/receipt.h"

#include "audit/checkpoint.h"
#include "tests/lib/leaks.h"
#include "tests/unit/audit/fixture.h"

#include <criterion/criterion.h>

TestSuite(receipt, .fini = leaks_check);

struct sample {
    struct fixture f;
    struct buf bytes; /* the receipt of leaf 5 of 11 */
};

static void sample_init(struct sample *s)
{
    struct store_txn *txn;

    fixture_init(&s->f, "riga", 1);
    fixture_commit(&s->f, 0, 11);
    buf_init(&s->bytes, LIMIT_RECEIPT);
    cr_assert_eq(store_read_begin(s->f.store, &txn), ERR_OK);
    cr_assert_eq(audit_log_receipt(s->f.log, txn, 5, &s->bytes), ERR_OK);
    store_read_end(txn);
}

static void sample_fini(struct sample *s)
{
    buf_fini(&s->bytes);
    fixture_fini(&s->f);
}

Test(receipt, says_what_it_holds)
{
    struct sample s;
    struct receipt *r;

    sample_init(&s);
    cr_assert_eq(receipt_decode(buf_span(&s.bytes), &r), ERR_OK);
    cr_assert(span_equal(receipt_bytes(r), buf_span(&s.bytes)));
    cr_assert_eq(receipt_index(r), 5);
    cr_assert_eq(receipt_size(r), 11);
    cr_assert_str_eq(receipt_origin(r), "baltic.example/riga");
    cr_assert_eq(receipt_leaf(r)->event, SP__AUDIT_EVENT__AUDIT_EVENT_ACCEPTED);
    cr_assert_eq(receipt_verify(r, FIXTURE_FEDERATION, &s.f.public, NULL), ERR_OK);
    receipt_free(r);
    receipt_free(NULL);
    sample_fini(&s);
}

Test(receipt, of_another_federation_log_or_key_is_refused)
{
    struct ed25519_public other;
    struct sample s;
    struct receipt *r;

    sample_init(&s);
    cr_assert_eq(receipt_decode(buf_span(&s.bytes), &r), ERR_OK);
    cr_assert_eq(receipt_verify(r, "other.example", &s.f.public, NULL), ERR_BAD_PROOF);
    cr_assert_eq(receipt_verify(r, "baltic.exampl", &s.f.public, NULL), ERR_BAD_PROOF);
    other = s.f.public;
    other.b[0] ^= 1;
    cr_assert_eq(receipt_verify(r, FIXTURE_FEDERATION, &other, NULL), ERR_BAD_SIGNATURE);
    receipt_free(r);
    sample_fini(&s);
}

/* Builds a receipt that differs in one field. */
static enum err altered(const struct sample *s, void (*alter)(Sp__Receipt *r), enum err *verdict)
{
    const Sp__Receipt *view;
    Sp__Receipt copy;
    struct receipt *r;
    struct pb *pb;
    struct buf b;
    enum err e;

    cr_assert_eq(pb_decode(&sp__receipt__descriptor, buf_span(&s->bytes), LIMIT_RECEIPT, &pb),
                 ERR_OK);
    view = pb_view(pb);
    copy = *view;
    alter(&copy);
    buf_init(&b, LIMIT_RECEIPT);
    pb_encode(&copy, &b);
    cr_assert_eq(b.err, ERR_OK);
    e = receipt_decode(buf_span(&b), &r);
    if (e == ERR_OK) {
        *verdict = receipt_verify(r, FIXTURE_FEDERATION, &s->f.public, NULL);
        receipt_free(r);
    }
    buf_fini(&b);
    pb_free(pb);
    return e;
}

static void shorten_path(Sp__Receipt *r)
{
    r->n_path--;
}

static void cut_hash(Sp__Receipt *r)
{
    r->path[1].len = 31;
}

static void empty_leaf(Sp__Receipt *r)
{
    r->leaf.len = 0;
}

static void cut_leaf(Sp__Receipt *r)
{
    r->leaf.len--;
}

static void index_beyond(Sp__Receipt *r)
{
    r->index = 11;
}

static void no_checkpoint(Sp__Receipt *r)
{
    r->checkpoint.len = 0;
}

static void neighbour(Sp__Receipt *r)
{
    r->index = 4;
}

static void flip_hash(Sp__Receipt *r)
{
    r->path[2].data[7] ^= 1;
}

static void swap_hashes(Sp__Receipt *r)
{
    ProtobufCBinaryData first = r->path[0];

    r->path[0] = r->path[1];
    r->path[1] = first;
}

static void flip_signature(Sp__Receipt *r)
{
    r->checkpoint.data[r->checkpoint.len - 10] ^= 1;
}

Test(receipt, every_alteration_is_refused)
{
    static const struct {
        void (*alter)(Sp__Receipt *r);
        enum err decode;
        enum err verify;
    } cases[] = {
        {shorten_path, ERR_MALFORMED, ERR_OK}, {cut_hash, ERR_MALFORMED, ERR_OK},
        {empty_leaf, ERR_MALFORMED, ERR_OK},   {cut_leaf, ERR_MALFORMED, ERR_OK},
        {index_beyond, ERR_MALFORMED, ERR_OK}, {no_checkpoint, ERR_MALFORMED, ERR_OK},
        {neighbour, ERR_OK, ERR_BAD_PROOF},    {flip_hash, ERR_OK, ERR_BAD_PROOF},
        {swap_hashes, ERR_OK, ERR_BAD_PROOF},
    };
    struct sample s;

    sample_init(&s);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        enum err verdict = ERR_OK;

        cr_assert_eq(altered(&s, cases[i].alter, &verdict), cases[i].decode, "case %zu", i);
        cr_assert_eq(verdict, cases[i].verify, "case %zu", i);
    }
    {
        enum err verdict = ERR_OK;
        enum err e = altered(&s, flip_signature, &verdict);

        cr_assert(e != ERR_OK || verdict == ERR_BAD_SIGNATURE);
    }
    sample_fini(&s);
}

Test(receipt, sizes_are_bounded)
{
    uint8_t *bytes = calloc(1, LIMIT_RECEIPT + 1);
    struct receipt *r;

    cr_assert_eq(receipt_decode(span_of(bytes, LIMIT_RECEIPT + 1), &r), ERR_TOO_LARGE);
    cr_assert_neq(receipt_decode(span_of(bytes, LIMIT_RECEIPT), &r), ERR_TOO_LARGE);
    cr_assert_eq(receipt_decode((struct span){0}, &r), ERR_MALFORMED);
    free(bytes);
}

/* A cache never makes a bad receipt good, whatever it has seen. */
Test(receipt, the_cache_changes_no_verdict)
{
    struct receipt_cache *cache;
    struct ed25519_public other;
    struct sample s;
    struct receipt *r;

    cr_assert_eq(receipt_cache_new(0, &cache), ERR_TOO_LARGE);
    cr_assert_eq(receipt_cache_new(LIMIT_RECEIPT_CACHE + 1, &cache), ERR_TOO_LARGE);
    cr_assert_eq(receipt_cache_new(LIMIT_RECEIPT_CACHE, &cache), ERR_OK);
    receipt_cache_free(cache);
    cr_assert_eq(receipt_cache_new(1, &cache), ERR_OK);
    sample_init(&s);
    other = s.f.public;
    other.b[5] ^= 4;
    cr_assert_eq(receipt_decode(buf_span(&s.bytes), &r), ERR_OK);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(receipt_verify(r, FIXTURE_FEDERATION, &s.f.public, cache), ERR_OK);
        cr_assert_eq(receipt_verify(r, FIXTURE_FEDERATION, &other, cache), ERR_BAD_SIGNATURE);
        cr_assert_eq(receipt_verify(r, "other.example", &s.f.public, cache), ERR_BAD_PROOF);
    }
    receipt_free(r);
    receipt_cache_free(cache);
    receipt_cache_free(NULL);
    sample_fini(&s);
}
