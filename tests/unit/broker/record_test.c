#include "broker/record.h"
#include "tests/lib/leaks.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(record, .fini = leaks_check);

/* Every field another value, texts as long as they may be. */
static void fill(struct exchange *x, size_t n)
{
    cr_assert_eq(exchange_init(x, n), ERR_OK);
    memset(x->id.b, 1, sizeof x->id.b);
    memset(x->digest.b, 2, sizeof x->digest.b);
    memset(x->from, 'f', sizeof x->from - 1);
    memset(x->sender, 's', sizeof x->sender - 1);
    x->accepted_ms = 3;
    x->created_ms = UINT64_MAX;
    x->expires_ms = 5;
    x->directory_version = 6;
    x->leaf = 7;
    x->level = 8;
    x->urgency = 9;
    x->hop = 10;
    x->files = true;
    x->n_handling = LIMIT_HANDLING;
    for (size_t i = 0; i < LIMIT_HANDLING; i++)
        snprintf(x->handling[i], sizeof x->handling[i], "H%zu", i);
    for (size_t i = 0; i < n; i++) {
        snprintf(x->recipients[i].agency, LIMIT_AGENCY, "EE.A%zu", i);
        snprintf(x->recipients[i].next, LIMIT_PEER, "hop%zu", i);
        x->recipients[i].state = EXCHANGE_QUEUED + i % 6;
        x->recipients[i].offered = i % 2 == 1;
    }
}

static void note_many(struct exchange *x, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct digest d = sha256(span_of(&i, sizeof i));

        cr_assert(exchange_note(x, &d));
        cr_assert(!exchange_note(x, &d), "the second time");
    }
}

static void encode(const struct exchange *x, struct buf *out)
{
    buf_init(out, LIMIT_MIB);
    exchange_encode(x, out);
    cr_assert_eq(out->err, ERR_OK);
}

Test(record, exchange_comes_back)
{
    const size_t sizes[] = {1, 2, LIMIT_RECIPIENTS};

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct exchange x;
        struct exchange y;
        struct buf a;
        struct buf b;

        fill(&x, sizes[i]);
        note_many(&x, i == 0 ? 0 : EXCHANGE_SEEN);
        encode(&x, &a);
        cr_assert_eq(exchange_decode(buf_span(&a), &y), ERR_OK);
        encode(&y, &b);
        cr_assert(span_equal(buf_span(&a), buf_span(&b)));
        cr_assert_str_eq(y.from, x.from);
        cr_assert_str_eq(y.sender, x.sender);
        cr_assert_eq(y.created_ms, UINT64_MAX);
        cr_assert_eq(y.n_recipients, sizes[i]);
        cr_assert_eq(y.recipients[sizes[i] - 1].state, x.recipients[sizes[i] - 1].state);
        cr_assert(y.files);
        exchange_fini(&x);
        exchange_fini(&y);
        buf_fini(&a);
        buf_fini(&b);
    }
}

Test(record, exchange_bounds)
{
    struct exchange x;

    cr_assert_eq(exchange_init(&x, 0), ERR_MALFORMED);
    cr_assert_eq(exchange_init(&x, LIMIT_RECIPIENTS + 1), ERR_MALFORMED);
    exchange_fini(&x);
    exchange_fini(NULL);
}

/* Every record cut short, or longer, is corrupt; memory beyond the bytes is never read. */
static void cut(struct span whole, enum err (*decode)(struct span))
{
    for (size_t len = 0; len < whole.len; len++) {
        uint8_t *copy = malloc(len > 0 ? len : 1);

        memcpy(copy, whole.data, len);
        cr_assert_eq(decode(span_of(copy, len)), ERR_CORRUPT, "%zu of %zu bytes", len, whole.len);
        free(copy);
    }
}

static enum err decode_exchange(struct span bytes)
{
    struct exchange x;
    enum err e = exchange_decode(bytes, &x);

    if (e == ERR_OK)
        exchange_fini(&x);
    return e;
}

static enum err decode_dedup(struct span bytes)
{
    struct dedup d;

    return dedup_decode(bytes, &d);
}

Test(record, cut_short)
{
    struct dedup d = {.peer = "tallinn", .code = ERR_NO_ROUTE, .number = 1, .leaf = 2};
    struct exchange x;
    struct buf b;

    fill(&x, 3);
    note_many(&x, 2);
    encode(&x, &b);
    cut(buf_span(&b), decode_exchange);
    buf_put_u8(&b, 0);
    cr_assert_eq(decode_exchange(buf_span(&b)), ERR_CORRUPT, "a byte too many");
    buf_reset(&b);
    dedup_encode(&d, &b);
    cut(buf_span(&b), decode_dedup);
    buf_put_u8(&b, 0);
    cr_assert_eq(decode_dedup(buf_span(&b)), ERR_CORRUPT);
    buf_fini(&b);
    exchange_fini(&x);
}

static size_t count_good(struct buf *b, size_t at, uint8_t first)
{
    uint8_t before = b->data[at];
    size_t good = 0;

    for (unsigned v = first; v < 256; v++) {
        b->data[at] = (uint8_t)v;
        good += decode_exchange(buf_span(b)) == ERR_OK;
    }
    b->data[at] = before;
    return good;
}

/* Values that no writer makes. */
Test(record, altered)
{
    struct exchange x;
    struct buf b;
    size_t files;

    fill(&x, 1);
    encode(&x, &b);
    cr_assert_eq(count_good(&b, b.len - 1, 0), 2, "offered is 0 or 1");
    cr_assert_eq(count_good(&b, b.len - 2, 0), 6, "six states");
    cr_assert_eq(count_good(&b, 0, 0), 1, "one version");
    files = 1 + 16 + 32 + LIMIT_PEER + LIMIT_AGENCY + 5 * 8 + 3;
    cr_assert_eq(count_good(&b, files, 0), 2, "files is 0 or 1");
    cr_assert_eq(count_good(&b, files + 1, LIMIT_HANDLING + 1), 0, "too many codes");
    buf_fini(&b);
    exchange_fini(&x);
}

Test(record, any_byte_altered_is_survived)
{
    struct exchange x;
    struct buf b;

    fill(&x, 2);
    note_many(&x, 1);
    encode(&x, &b);
    for (size_t i = 0; i < b.len; i++)
        (void)count_good(&b, i, 0);
    buf_fini(&b);
    exchange_fini(&x);
}

/* The oldest receipt gives way. */
Test(record, receipts_remembered)
{
    struct exchange x;
    unsigned first = 0;
    unsigned second = 1;
    struct digest d = sha256(span_of(&first, sizeof first));
    struct digest e = sha256(span_of(&second, sizeof second));

    fill(&x, 1);
    note_many(&x, EXCHANGE_SEEN);
    cr_assert(!exchange_note(&x, &d));
    note_many(&x, 0);
    second = 1000;
    cr_assert(exchange_note(&x, &(struct digest){{9}}));
    cr_assert_eq(x.n_seen, EXCHANGE_SEEN);
    cr_assert(!exchange_note(&x, &e), "the second is still there");
    cr_assert(exchange_note(&x, &d), "the first has given way");
    exchange_fini(&x);
}

Test(record, dedup_comes_back)
{
    const enum err codes[] = {ERR_OK, ERR_NO_ROUTE, ERR_REPLAY, ERR_LEVEL_CEILING, ERR_EXPIRED};

    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        struct dedup d = {.peer = "EE.POLICE", .code = codes[i], .number = 5, .leaf = UINT64_MAX};
        struct dedup back;
        struct buf b;

        memset(d.digest.b, 7, sizeof d.digest.b);
        buf_init(&b, 1024);
        dedup_encode(&d, &b);
        cr_assert_eq(dedup_decode(buf_span(&b), &back), ERR_OK);
        cr_assert(digest_equal(&d.digest, &back.digest));
        cr_assert_str_eq(back.peer, "EE.POLICE");
        cr_assert_eq(back.code, codes[i]);
        cr_assert_eq(back.number, 5);
        cr_assert_eq(back.leaf, UINT64_MAX);
        buf_fini(&b);
    }
}

Test(record, dedup_key_sorts_by_time_and_tells_senders_apart)
{
    struct uuid early = {{1}};
    struct uuid late = {{2}};
    uint8_t a[DEDUP_KEY];
    uint8_t b[DEDUP_KEY];

    dedup_key(&early, "LV.POLICE", a);
    dedup_key(&late, "EE.POLICE", b);
    cr_assert_lt(memcmp(a, b, sizeof a), 0);
    dedup_key(&early, "EE.POLICE", b);
    cr_assert_neq(memcmp(a, b, sizeof a), 0);
}

Test(record, control_comes_back)
{
    struct control c = {.peer = "riga", .to = "EE.POLICE", .leaf = UINT64_MAX};
    struct control back;
    struct buf b;

    c.receipt = span_str("receipt");
    buf_init(&b, 1024);
    control_encode(&c, &b);
    cr_assert_eq(control_decode(buf_span(&b), &back), ERR_OK);
    cr_assert_str_eq(back.peer, "riga");
    cr_assert_str_eq(back.to, "EE.POLICE");
    cr_assert_eq(back.leaf, UINT64_MAX);
    cr_assert(span_equal(back.receipt, c.receipt));
    for (size_t len = 0; len + c.receipt.len < b.len; len++)
        cr_assert_eq(control_decode(span_of(b.data, len), &back), ERR_CORRUPT);
    b.data[0] = 1;
    cr_assert_eq(control_decode(buf_span(&b), &back), ERR_CORRUPT);
    buf_fini(&b);
}
