#include "proto/seal.h"

#include "common/text.h"
#include "proto/envelope_core.h"
#include "tests/lib/leaks.h"
#include "tests/unit/proto/envelope_kit.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(open, .fini = leaks_check, .timeout = 240);

#define N(array) (sizeof(array) / sizeof((array)[0]))

static struct kit kit;

static struct envelope *decode(const struct buf *bytes)
{
    struct envelope *e;

    cr_assert_eq(envelope_decode(buf_span(bytes), &e), ERR_OK);
    return e;
}

Test(open, two_recipients_are_not_shown_two_texts)
{
    struct secret *other, *fk = NULL;
    struct envelope *e;
    struct draft *d;

    kit_init(&kit, 4, 3);
    cr_assert_eq(secret_random(&kit.env, FILE_KEY, &other), ERR_OK);
    d = draft_new(&kit, 2, 1);
    d->file_keys[1] = other;
    e = draft_envelope(d);
    cr_assert_eq(envelope_verify(e, &kit.sign_public, NULL), ERR_OK);
    cr_assert_eq(open_envelope(e, kit.agencies[1], kit_find, &kit, &fk), ERR_BAD_COMMITMENT);
    cr_assert_null(fk);
    cr_assert_eq(open_check_commitment(e, other), ERR_BAD_COMMITMENT);
    cr_assert_eq(open_envelope(e, kit.agencies[0], kit_find, &kit, &fk), ERR_OK);
    secret_free(fk);
    secret_free(other);
    envelope_free(e);
    draft_free(d);
    kit_fini(&kit);
}

static enum err find_other(void *ctx, const struct key_id *id, const struct secret **ret)
{
    (void)id;
    *ret = ((struct kit *)ctx)->keys[2];
    return ERR_OK;
}

static enum err find_nothing(void *ctx, const struct key_id *id, const struct secret **ret)
{
    (void)ctx;
    (void)id;
    (void)ret;
    return ERR_NOT_FOUND;
}

static enum err find_fails(void *ctx, const struct key_id *id, const struct secret **ret)
{
    (void)ctx;
    (void)id;
    (void)ret;
    return ERR_IO;
}

Test(open, only_a_recipient_with_its_key_opens)
{
    struct secret *fk = NULL;
    struct envelope *e;
    struct draft *d;

    kit_init(&kit, 4, 3);
    d = draft_new(&kit, 2, 1);
    e = draft_envelope(d);
    cr_assert_eq(open_envelope(e, kit.agencies[2], kit_find, &kit, &fk), ERR_NOT_A_RECIPIENT);
    cr_assert_eq(open_envelope(e, KIT_SENDER, kit_find, &kit, &fk), ERR_NOT_A_RECIPIENT);
    cr_assert_eq(open_envelope(e, kit.agencies[0], find_nothing, &kit, &fk), ERR_WRONG_USAGE);
    cr_assert_eq(open_envelope(e, kit.agencies[0], find_fails, &kit, &fk), ERR_IO);
    cr_assert_eq(open_envelope(e, kit.agencies[0], find_other, &kit, &fk), ERR_BAD_COMMITMENT);
    cr_assert_null(fk);
    envelope_free(e);
    draft_free(d);
    kit_fini(&kit);
}

static enum err find_first(void *ctx, const struct key_id *id, const struct secret **ret)
{
    (void)id;
    *ret = ((struct kit *)ctx)->keys[0];
    return ERR_OK;
}

static uint8_t old_enc[32], old_ct[32];

static void old_wrap_now(struct draft *d)
{
    memcpy(d->enc[0], old_enc, 32);
    memcpy(d->ct[0], old_ct, 32);
}

static void old_wrap_of_other_key_now(struct draft *d)
{
    old_wrap_now(d);
    d->wrap_key_id[0][0] ^= 1;
}

/* 256 wraps of one context through one cached receiver, in any order; a wrong key id or key opens
 * nothing for being cached. */
Test(open, a_cached_context_opens_what_it_should_and_no_more)
{
    static struct buf outs[LIMIT_BATCH];
    struct open_cache *cache = NULL;
    struct wrap_pool *pool;
    struct envelope *e;
    struct draft *d;
    struct secret *fk = NULL;

    cr_assert_eq(open_cache_new(0, &cache), ERR_MALFORMED);
    cr_assert_eq(open_cache_new(LIMIT_OPEN_CACHE + 1, &cache), ERR_TOO_LARGE);
    cr_assert_eq(open_cache_new(LIMIT_OPEN_CACHE, &cache), ERR_OK);
    open_cache_free(cache);
    open_cache_free(NULL);
    kit_init(&kit, 4, 3);
    cr_assert_eq(wrap_pool_new(&kit.env, &pool), ERR_OK);
    cr_assert_eq(open_cache_new(1, &cache), ERR_OK);
    kit_seal(&kit, pool, LIMIT_BATCH, 2, outs);
    for (size_t i = LIMIT_BATCH; i-- > 0;) {
        e = decode(&outs[i]);
        for (size_t j = 0; j < 3; j++) {
            enum err err = open_envelope_cached(cache, e, kit.agencies[j % 2], kit_find, &kit, &fk);

            cr_assert_eq(err, ERR_OK);
            cr_assert(secret_equal(fk, kit.file_key));
            secret_free(fk);
        }
        cr_assert_eq(open_envelope_cached(cache, e, kit.agencies[0], find_nothing, &kit, &fk),
                     ERR_WRONG_USAGE);
        envelope_free(e);
        buf_fini(&outs[i]);
    }
    wrap_pool_free(pool);
    /* The same enc under another key id is another context. */
    d = draft_new(&kit, 1, 1);
    cr_assert_eq(draft_decode(d), ERR_OK);
    memcpy(old_enc, d->enc[0], 32);
    memcpy(old_ct, d->ct[0], 32);
    d->change_wraps = old_wrap_now;
    e = draft_envelope(d);
    cr_assert_eq(open_envelope_cached(cache, e, kit.agencies[0], find_first, &kit, &fk), ERR_OK);
    secret_free(fk);
    fk = NULL;
    envelope_free(e);
    d->change_wraps = old_wrap_of_other_key_now;
    e = draft_envelope(d);
    cr_assert_eq(open_envelope_cached(cache, e, kit.agencies[0], find_first, &kit, &fk),
                 ERR_BAD_COMMITMENT);
    cr_assert_null(fk);
    envelope_free(e);
    draft_free(d);
    open_cache_free(cache);
    kit_fini(&kit);
}

/* Every input of a wrap is bound: the number, the encapsulated key, the key id. */
static void seq_now(struct draft *d)
{
    d->wrap[0].seq = 1;
}

static void enc_now(struct draft *d)
{
    d->enc[0][0] ^= 1;
}

static void enc_zero_now(struct draft *d)
{
    memset(d->enc[0], 0, 32);
}

static void ct_now(struct draft *d)
{
    d->ct[0][31] ^= 1;
}

static void commit_now(struct draft *d)
{
    d->digests[4].b[0] ^= 1;
}

Test(open, a_wrap_that_does_not_hold_is_a_bad_commitment)
{
    void (*const wraps[])(struct draft *) = {seq_now, enc_now, enc_zero_now, ct_now};
    struct secret *fk = NULL;

    kit_init(&kit, 4, 3);
    for (size_t i = 0; i < N(wraps) + 1; i++) {
        struct draft *d = draft_new(&kit, 1, 1);
        struct envelope *e;

        if (i < N(wraps))
            d->change_wraps = wraps[i];
        else
            d->change_core = commit_now;
        e = draft_envelope(d);
        cr_assert_eq(envelope_verify(e, &kit.sign_public, NULL), ERR_OK);
        cr_assert_eq(open_envelope(e, kit.agencies[0], kit_find, &kit, &fk), ERR_BAD_COMMITMENT);
        cr_assert_null(fk);
        envelope_free(e);
        draft_free(d);
    }
    kit_fini(&kit);
}

static void check_hex(struct span bytes, const char *expected)
{
    char hex[80];

    cr_assert_lt(2 * bytes.len, sizeof(hex));
    text_hex(bytes, hex);
    cr_assert_str_eq(hex, expected);
}

/* docs/PROTOCOL.md, "Examples"; computed there by other means. */
Test(open, the_examples_of_the_text_hold)
{
    struct envelope_core core = {0};
    struct key_id key_id;
    uint8_t info[WRAP_INFO];
    struct secret *fk;
    struct digest h, commit;

    memset(core.header.b, 1, 32);
    memset(core.recipients.b, 2, 32);
    memset(core.wraps.b, 3, 32);
    memset(core.parts.b, 4, 32);
    for (uint8_t i = 0; i < sizeof(key_id.b); i++)
        key_id.b[i] = i;
    cr_assert_eq(secret_copy(span_str("YELLOW SUBMARINE"), &fk), ERR_OK);
    h = envelope_wrap_aad(&core);
    check_hex(digest_span(&h), "f818afd37a6dc3bc92fb44731011277006db4efa6e9023cd7468c02335d22a4d");
    envelope_wrap_info(1, &key_id, info);
    check_hex(span_of(info, sizeof(info)),
              "7365616c706f73742d777261702d7631000001000102030405060708090a0b0c0d0e0f");
    cr_assert_eq(envelope_commitment(fk, &core, &commit), ERR_OK);
    check_hex(digest_span(&commit),
              "894baf9c139b306b43890e414466922920ba4e8e65be05f44bfb05a50d5fddc8");
    secret_free(fk);
}
