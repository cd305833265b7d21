#include "proto/seal.h"

#include "proto/batch_cache.h"
#include "proto/pb.h"
#include "tests/lib/leaks.h"
#include "tests/unit/proto/envelope_kit.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

TestSuite(seal, .fini = leaks_check, .timeout = 240);

#define N(array) (sizeof(array) / sizeof((array)[0]))

static struct kit kit;

static struct envelope *decode(const struct buf *bytes)
{
    struct envelope *e;

    cr_assert_eq(envelope_decode(buf_span(bytes), &e), ERR_OK);
    return e;
}

/* Everything that a recipient does, for every recipient. */
static void open_all(const struct envelope *e)
{
    for (size_t i = 0; i < envelope_recipient_count(e); i++) {
        struct secret *fk;

        cr_assert_eq(open_envelope(e, kit.agencies[i], kit_find, &kit, &fk), ERR_OK);
        cr_assert(secret_equal(fk, kit.file_key));
        secret_free(fk);
    }
}

static void round_trip(size_t n, size_t n_recipients)
{
    static struct buf outs[LIMIT_BATCH];
    struct batch_cache *cache;
    struct wrap_pool *pool;

    cr_assert_eq(wrap_pool_new(&kit.env, &pool), ERR_OK);
    cr_assert_eq(batch_cache_new(4, &cache), ERR_OK);
    kit_seal(&kit, pool, n, n_recipients, outs);
    for (size_t i = 0; i < n; i++) {
        struct envelope *e = decode(&outs[i]);

        cr_assert_eq(envelope_verify(e, &kit.sign_public, NULL), ERR_OK);
        cr_assert_eq(envelope_verify(e, &kit.sign_public, cache), ERR_OK);
        cr_assert_eq(envelope_verify(e, &kit.sign_public, cache), ERR_OK);
        cr_assert_eq(envelope_verify(e, &kit.other_public, cache), ERR_BAD_SIGNATURE);
        open_all(e);
        envelope_free(e);
        buf_fini(&outs[i]);
    }
    batch_cache_free(cache);
    wrap_pool_free(pool);
}

Test(seal, what_is_sealed_alone_or_in_a_batch_opens)
{
    static const size_t sizes[] = {1, 2, 3, 64, LIMIT_BATCH - 1, LIMIT_BATCH};

    kit_init(&kit, 2, 3);
    for (size_t i = 0; i < N(sizes); i++)
        round_trip(sizes[i], 2);
    kit_fini(&kit);
}

Test(seal, as_many_recipients_as_allowed_open)
{
    kit_init(&kit, 2, LIMIT_RECIPIENTS);
    round_trip(1, LIMIT_RECIPIENTS);
    kit_fini(&kit);
}

/* What a draft made by hand says opens with the library, and is what the library seals. */
Test(seal, a_draft_made_from_the_text_opens)
{
    struct draft *d;
    struct envelope *e;

    kit_init(&kit, 2, 3);
    d = draft_new(&kit, 3, 2);
    e = draft_envelope(d);
    cr_assert_eq(envelope_verify(e, &kit.sign_public, NULL), ERR_OK);
    open_all(e);
    cr_assert_eq(open_check_commitment(e, kit.file_key), ERR_OK);
    envelope_free(e);
    draft_free(d);
    kit_fini(&kit);
}

/* Any change is refused by somebody before the file key comes out. */
static enum err accept(struct span bytes)
{
    struct envelope *e;
    enum err err = envelope_decode(bytes, &e);

    if (err != ERR_OK)
        return err;
    err = envelope_verify(e, &kit.sign_public, NULL);
    envelope_free(e);
    return err;
}

static void alter_everything(const struct buf *bytes)
{
    cr_assert_eq(accept(buf_span(bytes)), ERR_OK);
    for (size_t i = 0; i < bytes->len; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            bytes->data[i] ^= (uint8_t)(1u << bit);
            cr_assert_neq(accept(buf_span(bytes)), ERR_OK, "byte %zu bit %u", i, bit);
            bytes->data[i] ^= (uint8_t)(1u << bit);
        }
    }
    for (size_t len = 0; len < bytes->len; len++)
        cr_assert_neq(accept(span_of(bytes->data, len)), ERR_OK, "cut to %zu", len);
    cr_assert_eq(accept(buf_span(bytes)), ERR_OK);
}

Test(seal, every_altered_bit_is_refused)
{
    struct buf outs[3];
    struct wrap_pool *pool;

    kit_init(&kit, 3, 2);
    cr_assert_eq(wrap_pool_new(&kit.env, &pool), ERR_OK);
    kit_seal(&kit, pool, 1, 2, outs);
    alter_everything(&outs[0]);
    buf_fini(&outs[0]);
    kit_seal(&kit, pool, 3, 2, outs);
    for (size_t i = 0; i < 3; i++) {
        alter_everything(&outs[i]);
        buf_fini(&outs[i]);
    }
    wrap_pool_free(pool);
    kit_fini(&kit);
}

/* Davis 2001: recipient 0 opens a message and lets recipient 2 believe that the sender wrote to
 * it. */
static Sp__Wrap stolen_wrap;

static void steal_wrap_now(struct draft *d)
{
    d->wrap[0] = stolen_wrap;
}

static ProtobufCBinaryData old_payload, old_sig;

static void old_signature_now(struct draft *d)
{
    d->envelope.payload = old_payload;
    d->signature.sig = old_sig;
}

static void old_sig_now(struct draft *d)
{
    d->signature.sig = old_sig;
}

/* A draft of the same sender to agency 2 alone, by somebody who knows the file key. */
static struct draft *forward_new(void)
{
    struct draft *d = draft_new(&kit, 1, 1);

    d->recipient[0].agency = kit.agencies[2];
    return d;
}

Test(seal, forwarding_in_the_senders_name_is_refused)
{
    struct draft *original, *forged;
    struct secret *fk = NULL;
    struct envelope *e;
    struct buf bytes, core;

    kit_init(&kit, 5, 3);
    buf_init(&bytes, LIMIT_ENVELOPE);
    buf_init(&core, LIMIT_KIB);
    original = draft_new(&kit, 3, 1);
    e = draft_envelope(original);
    pb_encode(&original->core, &core);
    old_payload = pb_bytes(buf_span(&core));
    old_sig = pb_bytes(span_of(original->sig, 64));

    /* Another recipient list under the sender's core and signature. */
    forged = forward_new();
    forged->change_outer = old_signature_now;
    cr_assert_eq(draft_decode(forged), ERR_BAD_DIGEST);
    /* A new core, the sender's signature. */
    forged->change_outer = old_sig_now;
    draft_encode(forged, &bytes);
    cr_assert_eq(accept(buf_span(&bytes)), ERR_BAD_SIGNATURE);
    draft_free(forged);
    /* Own message, own signature, but the sender's wrap for agency 2: it does not open there. */
    forged = forward_new();
    stolen_wrap = original->wrap[2];
    forged->change_wraps = steal_wrap_now;
    envelope_free(e);
    e = draft_envelope(forged);
    cr_assert_eq(open_envelope(e, kit.agencies[2], kit_find, &kit, &fk), ERR_BAD_COMMITMENT);
    cr_assert_null(fk);
    envelope_free(e);
    draft_free(forged);
    draft_free(original);
    buf_fini(&core);
    buf_fini(&bytes);
    kit_fini(&kit);
}

/* A signature that is good, by a key that the header does not name. */
static void keyid_of_kit_now(struct draft *d)
{
    for (size_t i = 0; i < 16; i++)
        (void)snprintf(d->keyid_text + 2 * i, 3, "%02x", kit.sign_id.b[i]);
}

Test(seal, only_the_key_that_the_header_names_verifies)
{
    struct envelope *e;
    struct draft *d;

    kit_init(&kit, 5, 1);
    d = draft_new(&kit, 1, 1);
    d->sign = kit.other_sign;
    d->change_outer = keyid_of_kit_now;
    e = draft_envelope(d);
    cr_assert_eq(envelope_verify(e, &kit.sign_public, NULL), ERR_BAD_SIGNATURE);
    cr_assert_eq(envelope_verify(e, &kit.other_public, NULL), ERR_BAD_SIGNATURE);
    envelope_free(e);
    draft_free(d);
    kit_fini(&kit);
}

/* A proof that is of the right shape but of another place, tree or size. */
static void check_forged(struct draft *d, enum err expected)
{
    struct buf bytes;

    buf_init(&bytes, LIMIT_ENVELOPE);
    draft_encode(d, &bytes);
    cr_assert_eq(accept(buf_span(&bytes)), expected);
    buf_fini(&bytes);
}

static void index_now(struct draft *d)
{
    d->batch.index ^= 1;
}

static void size_now(struct draft *d)
{
    d->batch.size++;
}

static void path_now(struct draft *d)
{
    d->path_nodes[1].b[7] ^= 1;
}

static void path_swapped_now(struct draft *d)
{
    struct digest first = d->path_nodes[0];

    d->path_nodes[0] = d->path_nodes[1];
    d->path_nodes[1] = first;
}

static void no_batch_now(struct draft *d)
{
    d->signature.batch = NULL;
}

Test(seal, batch_proofs_of_another_place_are_refused)
{
    void (*const changes[])(struct draft *) = {index_now, size_now, path_now, path_swapped_now,
                                               no_batch_now};
    struct draft *d;

    kit_init(&kit, 6, 1);
    d = draft_new(&kit, 1, 1);
    d->in_batch = true;
    d->batch_index = 2;
    d->batch_size = 6; /* as in a tree of 7, leaf 2 has three siblings */
    check_forged(d, ERR_OK);
    for (size_t i = 0; i < N(changes); i++) {
        d->change_outer = changes[i];
        check_forged(d, ERR_BAD_SIGNATURE);
    }
    draft_free(d);
    kit_fini(&kit);
}

Test(seal, the_cache_knows_only_what_verified)
{
    struct batch_root root = {.size = 2}, zero = {0}, other;
    struct batch_cache *cache = NULL;
    struct wrap_pool *pool;
    struct envelope *e;
    struct buf outs[2];

    cr_assert_eq(batch_cache_new(0, &cache), ERR_MALFORMED);
    cr_assert_eq(batch_cache_new(LIMIT_BATCH_CACHE + 1, &cache), ERR_TOO_LARGE);
    cr_assert_eq(batch_cache_new(LIMIT_BATCH_CACHE, &cache), ERR_OK);
    batch_cache_free(cache);
    batch_cache_free(NULL);
    kit_init(&kit, 7, 1);
    cr_assert_eq(wrap_pool_new(&kit.env, &pool), ERR_OK);
    cr_assert_eq(batch_cache_new(1, &cache), ERR_OK);
    cr_assert_not(batch_cache_has(cache, &zero), "an empty slot is no root");
    /* With the root of a batch in the cache, a bad signature over it stays bad. */
    kit_seal(&kit, pool, 2, 1, outs);
    e = decode(&outs[0]);
    cr_assert_eq(envelope_verify(e, &kit.sign_public, cache), ERR_OK);
    envelope_free(e);
    uint8_t *sig = memmem(outs[1].data, outs[1].len, "\x0a\x40", 2);

    cr_assert_not_null(sig);
    sig[2] ^= 1;
    e = decode(&outs[1]);
    cr_assert_eq(envelope_verify(e, &kit.sign_public, cache), ERR_BAD_SIGNATURE);
    cr_assert_eq(envelope_verify(e, &kit.sign_public, cache), ERR_BAD_SIGNATURE);
    envelope_free(e);
    sig[2] ^= 1;
    e = decode(&outs[1]);
    cr_assert_eq(envelope_verify(e, &kit.sign_public, cache), ERR_OK);
    envelope_free(e);
    /* Each of the four must agree; one slot holds the newest. */
    cr_assert_not(batch_cache_has(cache, &root));
    batch_cache_put(cache, &root);
    cr_assert(batch_cache_has(cache, &root));
    for (size_t i = 0; i < 4; i++) {
        other = root;
        *(i == 0   ? &other.key.b[31]
          : i == 1 ? (uint8_t *)&other.size
          : i == 2 ? &other.root.b[31]
                   : &other.sig[63]) ^= 1;
        cr_assert_not(batch_cache_has(cache, &other));
    }
    batch_cache_put(cache, &other);
    cr_assert_not(batch_cache_has(cache, &root));
    cr_assert_not(batch_cache_has(NULL, &root));
    batch_cache_free(cache);
    wrap_pool_free(pool);
    buf_fini(&outs[0]);
    buf_fini(&outs[1]);
    kit_fini(&kit);
}

/* 300 seals to one key: 256 of the first context, 44 of the second, no pair twice. */
Test(seal, no_number_of_a_context_is_used_twice)
{
    enum { SEALS = 300 };
    static uint8_t pairs[SEALS][36];
    struct kit_input *in = malloc(sizeof(*in));
    struct wrap_pool *pool;
    size_t contexts = 0;

    kit_init(&kit, 8, 2);
    cr_assert_eq(wrap_pool_new(&kit.env, &pool), ERR_OK);
    for (size_t i = 0; i < SEALS; i++) {
        struct buf out, *outs = &out;
        struct sealed *s;
        struct envelope *e;

        kit_input(&kit, 1, 1, in);
        cr_assert_eq(seal(pool, &in->in, &s), ERR_OK);
        buf_init(&out, LIMIT_ENVELOPE);
        cr_assert_eq(seal_sign(&s, 1, kit.sign, &outs), ERR_OK);
        e = decode(&out);
        cr_assert(digest_equal(envelope_digest(e), sealed_digest(s)));
        open_all(e);
        const struct envelope_recipient *r = envelope_recipient(e, 0);

        cr_assert_eq(r->wrap_seq, i % LIMIT_WRAP_SEQ);
        contexts += r->wrap_seq == 0;
        memcpy(pairs[i], r->enc.data, 32);
        memcpy(pairs[i] + 32, &r->wrap_seq, 4);
        for (size_t j = 0; j < i; j++)
            cr_assert_arr_neq(pairs[j], pairs[i], 36);
        envelope_free(e);
        sealed_free(s);
        buf_fini(&out);
    }
    cr_assert_eq(contexts, 2);
    wrap_pool_free(pool);
    kit_fini(&kit);
    free(in);
}

static uint32_t next_seq(struct wrap_pool *pool)
{
    struct buf out;
    struct envelope *e;
    uint32_t seq;

    kit_seal(&kit, pool, 1, 1, &out);
    e = decode(&out);
    seq = envelope_recipient(e, 0)->wrap_seq;
    envelope_free(e);
    buf_fini(&out);
    return seq;
}

Test(seal, a_failed_seal_burns_what_it_took_and_no_more)
{
    struct kit_input *in = malloc(sizeof(*in));
    struct sealed *s = NULL;
    struct wrap_pool *pool;

    kit_init(&kit, 9, 2);
    cr_assert_eq(wrap_pool_new(&kit.env, &pool), ERR_OK);
    cr_assert_eq(next_seq(pool), 0);
    kit_input(&kit, 2, 1, in);
    in->in.header.directory_version = 0;
    cr_assert_eq(seal(pool, &in->in, &s), ERR_MALFORMED);
    cr_assert_eq(next_seq(pool), 1, "a refused input takes nothing");
    /* The first wrap is made before the second recipient's key is found to be wrong. */
    kit_input(&kit, 2, 1, in);
    in->recipients[1].key_id.b[3] ^= 1;
    cr_assert_eq(seal(pool, &in->in, &s), ERR_WRONG_USAGE);
    cr_assert_eq(next_seq(pool), 3);
    /* A key on which no secret can be agreed. */
    kit_input(&kit, 2, 1, in);
    memset(in->recipients[1].public_key, 0, 32);
    in->recipients[1].key_id =
        key_id_of(KEY_LABEL_SUITE_1, span_of(in->recipients[1].public_key, 32));
    cr_assert_eq(seal(pool, &in->in, &s), ERR_MALFORMED);
    cr_assert_eq(seal(pool, &in->in, &s), ERR_MALFORMED, "and it stays so");
    cr_assert_eq(next_seq(pool), 6);
    cr_assert_null(s);
    wrap_pool_free(pool);
    kit_fini(&kit);
    free(in);
}
