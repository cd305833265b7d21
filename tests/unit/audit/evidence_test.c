#include "audit/evidence.h"

#include "proto/part.h"
#include "tests/lib/leaks.h"
#include "tests/unit/audit/story.h"

#include <criterion/criterion.h>

TestSuite(evidence, .fini = leaks_check);

static enum err log_key(void *ctx, const char *name, struct ed25519_public *ret)
{
    return trust_log_key(ctx, name, ret);
}

static enum err signing_key(void *ctx, const char *agency, const struct key_id *id, uint64_t at_ms,
                            struct ed25519_public *ret)
{
    return trust_signing_key(ctx, agency, id, at_ms, ret);
}

static struct evidence_keys keys_of(struct story *s)
{
    return (struct evidence_keys){.ctx = s->federation->trust,
                                  .federation = FEDERATION_NAME,
                                  .log_key = log_key,
                                  .signing_key = signing_key};
}

Test(evidence, holds)
{
    struct evidence_verdict v;
    enum err receipts[STORY_RECEIPTS];
    struct evidence *ev;
    struct story s;
    struct buf b;

    story_init(&s, FIXTURE_START_MS);
    for (int disclose = 0; disclose < 2; disclose++) {
        struct evidence_keys keys = keys_of(&s);

        buf_init(&b, LIMIT_EVIDENCE);
        story_evidence(&s, disclose, &b);
        cr_assert_eq(evidence_decode(buf_span(&b), &ev), ERR_OK);
        cr_assert_eq(evidence_receipt_count(ev), STORY_RECEIPTS);
        cr_assert_eq(evidence_judged_at_ms(ev), FIXTURE_START_MS + 500);
        cr_assert_eq(evidence_verify(ev, &keys, &v, receipts), ERR_OK);
        cr_assert_eq(v.signature, ERR_OK);
        cr_assert_eq(v.disclosed, disclose);
        cr_assert_eq(v.receipts_good, STORY_RECEIPTS);
        evidence_free(ev);
        buf_fini(&b);
    }
    evidence_free(NULL);
    story_fini(&s);
}

static void decode_as(struct story *s, void (*alter)(struct story *s, Sp__Evidence *e),
                      enum err want)
{
    struct evidence *ev;
    struct buf b, again;
    Sp__Evidence copy;
    struct pb *pb;
    enum err got;

    buf_init(&b, LIMIT_EVIDENCE);
    buf_init(&again, LIMIT_EVIDENCE);
    story_evidence(s, true, &b);
    cr_assert_eq(pb_decode(&sp__evidence__descriptor, buf_span(&b), LIMIT_EVIDENCE, &pb), ERR_OK);
    copy = *(const Sp__Evidence *)pb_view(pb);
    alter(s, &copy);
    pb_encode(&copy, &again);
    got = evidence_decode(buf_span(&again), &ev);
    cr_assert_eq(got, want, "%s, not %s", err_code(got), err_code(want));
    if (want == ERR_OK)
        evidence_free(ev);
    pb_free(pb);
    buf_fini(&b);
    buf_fini(&again);
}

static void version_one(struct story *s, Sp__Evidence *e)
{
    (void)s;
    e->version = 1;
}

static void short_key(struct story *s, Sp__Evidence *e)
{
    (void)s;
    e->file_key.len = 15;
}

static void no_envelope(struct story *s, Sp__Evidence *e)
{
    (void)s;
    e->envelope.len = 0;
}

static void no_receipts(struct story *s, Sp__Evidence *e)
{
    (void)s;
    e->n_receipts = 0;
}

Test(evidence, malformed_bundles)
{
    struct evidence *ev;
    struct story s;

    story_init(&s, FIXTURE_START_MS);
    decode_as(&s, version_one, ERR_VERSION);
    decode_as(&s, short_key, ERR_MALFORMED);
    decode_as(&s, no_envelope, ERR_WRONG_USAGE); /* no payload type */
    decode_as(&s, no_receipts, ERR_OK);
    cr_assert_eq(evidence_decode(span_of("\xff", 1), &ev), ERR_MALFORMED);
    story_fini(&s);
}

Test(evidence, a_receipt_about_another_envelope_is_refused)
{
    struct evidence *ev;
    struct store_txn *txn;
    struct story s;
    struct buf b;

    story_init(&s, FIXTURE_START_MS);
    buf_reset(&s.receipts[3]);
    cr_assert_eq(store_read_begin(s.logs[STORY_HOME].store, &txn), ERR_OK);
    cr_assert_eq(audit_log_receipt(s.logs[STORY_HOME].log, txn, 2, &s.receipts[3]), ERR_OK);
    store_read_end(txn);
    buf_init(&b, LIMIT_EVIDENCE);
    story_evidence(&s, false, &b);
    cr_assert_eq(evidence_decode(buf_span(&b), &ev), ERR_BAD_PROOF);
    buf_fini(&b);
    story_fini(&s);
}

Test(evidence, what_does_not_hold_is_named)
{
    const uint8_t wrong[FILE_KEY] = {1};
    enum err receipts[STORY_RECEIPTS];
    struct evidence_verdict v;
    struct evidence_keys keys;
    struct evidence *ev;
    struct story s;
    struct buf b;

    story_init(&s, FIXTURE_START_MS);
    keys = keys_of(&s);
    secret_free(s.file_key);
    cr_assert_eq(secret_copy(span_of(wrong, sizeof(wrong)), &s.file_key), ERR_OK);
    buf_init(&b, LIMIT_EVIDENCE);
    story_evidence(&s, true, &b);
    cr_assert_eq(evidence_decode(buf_span(&b), &ev), ERR_OK);
    cr_assert_eq(evidence_verify(ev, &keys, &v, receipts), ERR_BAD_COMMITMENT);
    cr_assert_eq(v.commitment, ERR_BAD_COMMITMENT);
    cr_assert_eq(v.signature, ERR_OK);
    cr_assert_eq(v.receipts_good, STORY_RECEIPTS);

    keys.federation = "other.example";
    cr_assert_neq(evidence_verify(ev, &keys, &v, receipts), ERR_OK);
    cr_assert_eq(v.receipts_good, 0);
    for (size_t i = 0; i < STORY_RECEIPTS; i++)
        cr_assert_eq(receipts[i], ERR_BAD_PROOF);

    /* The federation without the agencies' documents: neither their log keys nor their signing
     * keys. */
    keys = keys_of(&s);
    keys.ctx = s.federation->bare;
    cr_assert_eq(evidence_verify(ev, &keys, &v, receipts), ERR_NEED_DOCUMENTS);
    cr_assert_eq(v.signature, ERR_NEED_DOCUMENTS);
    cr_assert_eq(receipts[0], ERR_NEED_DOCUMENTS);
    cr_assert_eq(receipts[1], ERR_OK);
    evidence_free(ev);
    buf_fini(&b);
    story_fini(&s);
}
