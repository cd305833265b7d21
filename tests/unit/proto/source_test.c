/* The source of an onward message. */
#include "proto/envelope.h"

#include "proto/pb.h"
#include "tests/lib/leaks.h"
#include "tests/unit/proto/envelope_kit.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(source, .fini = leaks_check, .timeout = 240);

#define N(array) (sizeof(array) / sizeof((array)[0]))

static struct kit kit;
static const char *const h1[] = {"H1"};
static const char *const h1_h2[] = {"H1", "H2"};
static const char *const h2[] = {"H2"};

/* An envelope with code H1, alone or in a batch. */
static struct envelope *original(bool in_batch)
{
    struct draft *d = draft_new(&kit, 1, 1);
    struct envelope *e;

    d->in_batch = in_batch;
    d->batch_index = 200;
    d->batch_size = 256;
    e = draft_envelope(d);
    draft_free(d);
    return e;
}

/* An envelope with codes H1, H2 and this source. */
static struct envelope *onward(struct span source)
{
    struct draft *d = draft_new(&kit, 1, 1);
    struct envelope *e;

    d->header.source = pb_bytes(source);
    d->handling[1] = pb_string("H2");
    d->header.n_handling = 2;
    e = draft_envelope(d);
    draft_free(d);
    return e;
}

Test(source, goes_with_the_onward_message_and_verifies)
{
    kit_init(&kit, 1, 1);
    for (int in_batch = 0; in_batch < 2; in_batch++) {
        struct envelope *first = original(in_batch), *second, *third;
        const struct envelope_source *s;
        struct buf source, again;

        buf_init(&source, LIMIT_ENVELOPE);
        buf_init(&again, LIMIT_ENVELOPE);
        cr_assert_eq(envelope_make_source(first, h1, 1, &source), ERR_OK);
        second = onward(buf_span(&source));
        s = envelope_source(second);
        cr_assert_not_null(s);
        cr_assert(digest_equal(&s->digest, envelope_digest(first)));
        cr_assert(uuid_equal(&s->header.id, &envelope_header(first)->id));
        cr_assert_str_eq(s->header.sender, KIT_SENDER);
        cr_assert_eq(s->n_handling, 1);
        cr_assert_eq(envelope_verify_source(second, &kit.sign_public, NULL), ERR_OK);
        cr_assert_eq(envelope_verify_source(second, &kit.other_public, NULL), ERR_BAD_SIGNATURE);
        /* Once more onward: the first source again, with the codes of both. */
        cr_assert_eq(envelope_make_source(second, h1_h2, 2, &again), ERR_OK);
        third = onward(buf_span(&again));
        cr_assert(digest_equal(&envelope_source(third)->digest, envelope_digest(first)));
        cr_assert_eq(envelope_source(third)->n_handling, 2);
        cr_assert_eq(envelope_verify_source(third, &kit.sign_public, NULL), ERR_OK);
        cr_assert_eq(envelope_make_source(second, h1, 1, &again), ERR_HANDLING_ONWARD);
        envelope_free(first);
        envelope_free(second);
        envelope_free(third);
        buf_fini(&source);
        buf_fini(&again);
    }
    kit_fini(&kit);
}

Test(source, is_made_with_all_codes_or_not_at_all)
{
    static const char *const unsorted[] = {"H2", "H1"};
    struct envelope *e;
    struct buf out;

    kit_init(&kit, 1, 1);
    e = original(false);
    buf_init(&out, LIMIT_ENVELOPE);
    buf_put_str(&out, "before");
    cr_assert_eq(envelope_make_source(e, h2, 1, &out), ERR_HANDLING_ONWARD);
    cr_assert_eq(envelope_make_source(e, h2, 0, &out), ERR_MALFORMED);
    cr_assert_eq(envelope_make_source(e, unsorted, 2, &out), ERR_MALFORMED);
    cr_assert_eq(out.len, 6);
    cr_assert_eq(envelope_make_source(e, h1_h2, 2, &out), ERR_OK);
    cr_assert_gt(out.len, 6);
    buf_fini(&out);
    envelope_free(e);
    kit_fini(&kit);
}

/* A message that dropped a code of its source decodes (policy refuses it), but not even then does
 * the code get lost further on. */
Test(source, keeps_a_code_that_a_relay_dropped)
{
    struct envelope *first, *second;
    struct buf source, again;
    struct draft *d;

    kit_init(&kit, 1, 1);
    buf_init(&source, LIMIT_ENVELOPE);
    buf_init(&again, LIMIT_ENVELOPE);
    first = original(false);
    cr_assert_eq(envelope_make_source(first, h1_h2, 2, &source), ERR_OK);
    d = draft_new(&kit, 1, 1);
    d->header.source = pb_bytes(buf_span(&source));
    second = draft_envelope(d);
    cr_assert_eq(envelope_make_source(second, h1, 1, &again), ERR_HANDLING_ONWARD);
    cr_assert_eq(envelope_make_source(second, h1_h2, 2, &again), ERR_OK);
    envelope_free(first);
    envelope_free(second);
    draft_free(d);
    buf_fini(&source);
    buf_fini(&again);
    kit_fini(&kit);
}

/* One thing wrong with a source, in a message that is otherwise right. */
struct forged {
    Sp__Source source;
    Sp__Signature signature;
    char *handling[LIMIT_HANDLING + 1];
    struct buf header; /* another header for it */
    struct buf core;
};

static void no_core(struct forged *f)
{
    f->source.core.len = 0;
}

static void core_cut(struct forged *f)
{
    f->source.core.len--;
}

static void no_signature(struct forged *f)
{
    f->source.signature = NULL;
}

static void sig_cut(struct forged *f)
{
    f->signature.sig.len = 63;
}

static void keyid_other(struct forged *f)
{
    f->signature.keyid = pb_string("00000000000000000000000000000000");
}

static void no_header(struct forged *f)
{
    f->source.header.len = 0;
}

static void header_other(struct forged *f)
{
    f->header.data[f->header.len - 1] ^= 1;
    f->source.header = pb_bytes(buf_span(&f->header));
}

static void no_codes(struct forged *f)
{
    f->source.n_handling = 0;
}

static void codes_lack_its_own(struct forged *f)
{
    f->handling[0] = pb_string("H3");
}

static void codes_unsorted(struct forged *f)
{
    f->handling[1] = pb_string("H0");
    f->source.n_handling = 2;
}

static void codes_too_many(struct forged *f)
{
    for (size_t i = 0; i <= LIMIT_HANDLING; i++)
        f->handling[i] = pb_string("H1");
    f->source.n_handling = LIMIT_HANDLING + 1;
}

static void more_codes(struct forged *f)
{
    f->handling[1] = pb_string("H2");
    f->source.n_handling = 2;
}

static enum err onward_decode(const Sp__Source *source, struct span tail)
{
    struct draft *d = draft_new(&kit, 1, 1);
    struct buf bytes;
    enum err e;

    buf_init(&bytes, LIMIT_ENVELOPE);
    pb_encode(source, &bytes);
    buf_put(&bytes, tail);
    d->header.source = pb_bytes(buf_span(&bytes));
    e = draft_decode(d);
    buf_fini(&bytes);
    draft_free(d);
    return e;
}

static void forged_init(struct forged *f, struct draft *d, struct buf *bytes)
{
    memset(f, 0, sizeof(*f));
    draft_encode(d, bytes);
    buf_init(&f->header, LIMIT_ENVELOPE);
    buf_init(&f->core, LIMIT_ENVELOPE);
    pb_encode(&d->header, &f->header);
    pb_encode(&d->core, &f->core);
    f->source = (Sp__Source)SP__SOURCE__INIT;
    f->source.core = pb_bytes(buf_span(&f->core));
    f->source.header = pb_bytes(buf_span(&f->header));
    f->source.signature = &f->signature;
    f->signature = d->signature;
    f->source.handling = f->handling;
    f->source.n_handling = 1;
    f->handling[0] = pb_string("H1");
}

static void forged_fini(struct forged *f)
{
    buf_fini(&f->header);
    buf_fini(&f->core);
}

Test(source, rules)
{
    static const struct {
        void (*change)(struct forged *f);
        enum err expected;
    } rules[] = {
        {NULL, ERR_OK},
        {no_core, ERR_MALFORMED},
        {core_cut, ERR_MALFORMED},
        {no_signature, ERR_MALFORMED},
        {sig_cut, ERR_MALFORMED},
        {keyid_other, ERR_MALFORMED},
        {no_header, ERR_BAD_DIGEST},
        {header_other, ERR_BAD_DIGEST},
        {no_codes, ERR_MALFORMED},
        {codes_lack_its_own, ERR_MALFORMED},
        {codes_unsorted, ERR_MALFORMED},
        {codes_too_many, ERR_TOO_LARGE},
        {more_codes, ERR_OK},
    };
    struct draft *d;

    kit_init(&kit, 1, 1);
    d = draft_new(&kit, 1, 1);
    for (size_t i = 0; i < N(rules); i++) {
        struct forged f;
        struct buf bytes;
        enum err e;

        buf_init(&bytes, LIMIT_ENVELOPE);
        forged_init(&f, d, &bytes);
        if (rules[i].change != NULL)
            rules[i].change(&f);
        e = onward_decode(&f.source, (struct span){0});
        cr_assert_eq(e, rules[i].expected, "rule %zu: %s", i, err_code(e));
        cr_assert_eq(onward_decode(&f.source, span_str("\xf8\x06\x01")), ERR_UNKNOWN_FIELD);
        forged_fini(&f);
        buf_fini(&bytes);
    }
    draft_free(d);
    kit_fini(&kit);
}

/* A source that is onward itself, and one whose header breaks a rule. */
Test(source, is_no_onward_message_and_keeps_the_header_rules)
{
    struct envelope *first;
    struct draft *d;
    struct forged f;
    struct buf bytes, source;

    kit_init(&kit, 1, 1);
    first = original(false);
    buf_init(&source, LIMIT_ENVELOPE);
    cr_assert_eq(envelope_make_source(first, h1, 1, &source), ERR_OK);
    for (int i = 0; i < 2; i++) {
        d = draft_new(&kit, 1, 1);
        if (i == 0)
            d->header.source = pb_bytes(buf_span(&source));
        else
            d->header.suite = 3;
        buf_init(&bytes, LIMIT_ENVELOPE);
        forged_init(&f, d, &bytes);
        cr_assert_eq(onward_decode(&f.source, (struct span){0}),
                     i == 0 ? ERR_MALFORMED : ERR_VERSION);
        forged_fini(&f);
        buf_fini(&bytes);
        draft_free(d);
    }
    buf_fini(&source);
    envelope_free(first);
    kit_fini(&kit);
}

/* No valid source comes near the limit; at it, another rule refuses. */
Test(source, is_bounded)
{
    static uint8_t bytes[LIMIT_SOURCE + 1];
    struct draft *d;

    kit_init(&kit, 1, 1);
    d = draft_new(&kit, 1, 1);
    d->header.source = pb_bytes(span_of(bytes, LIMIT_SOURCE));
    cr_assert_eq(draft_decode(d), ERR_MALFORMED);
    d->header.source = pb_bytes(span_of(bytes, LIMIT_SOURCE + 1));
    cr_assert_eq(draft_decode(d), ERR_TOO_LARGE);
    draft_free(d);
    kit_fini(&kit);
}
