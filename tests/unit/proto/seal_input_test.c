#include "proto/seal.h"

#include "proto/pb.h"
#include "proto/wrap_pool.h"
#include "tests/lib/leaks.h"
#include "tests/unit/proto/envelope_kit.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

TestSuite(seal_input, .fini = leaks_check, .timeout = 240);

#define N(array) (sizeof(array) / sizeof((array)[0]))

static struct kit kit;

/* The same seed gives the same bytes; changing them is changing the format. */
static struct digest golden(size_t n)
{
    static struct buf outs[LIMIT_BATCH];
    struct wrap_pool *pool;
    struct sha256 h;

    kit_init(&kit, 42, 3);
    cr_assert_eq(wrap_pool_new(&kit.env, &pool), ERR_OK);
    kit_seal(&kit, pool, n, 3, outs);
    sha256_init(&h);
    for (size_t i = 0; i < n; i++) {
        sha256_update(&h, buf_span(&outs[i]));
        buf_fini(&outs[i]);
    }
    wrap_pool_free(pool);
    kit_fini(&kit);
    return sha256_final(&h);
}

static void check_golden(size_t n, const char *expected)
{
    struct digest first = golden(n), again = golden(n);
    char hex[65];

    cr_assert(digest_equal(&first, &again));
    for (size_t i = 0; i < 32; i++)
        (void)snprintf(hex + 2 * i, 3, "%02x", first.b[i]);
    cr_assert_str_eq(hex, expected);
}

Test(seal_input, the_bytes_are_pinned)
{
    check_golden(1, "f3e0ed0965f02affd9e2fb24b1bd911f46549c62ce7ea3a21bfeafb81cff5854");
    check_golden(5, "f1a88cd4101989e8146cff354b7386cb377135b1af040c55d54141cc369a49a5");
}

/* What decoding refuses is not sealed. */
Test(seal_input, nothing_is_sealed_that_would_be_refused)
{
    static const uint8_t source[LIMIT_SOURCE + 1];
    struct kit_input *in = malloc(sizeof(*in));
    struct sealed *s = NULL;
    struct wrap_pool *pool;

    kit_init(&kit, 1, KIT_AGENCIES);
    cr_assert_eq(wrap_pool_new(&kit.env, &pool), ERR_OK);
    kit_input(&kit, 2, 2, in);
    in->in.header.suite = 2;
    cr_assert_eq(seal(pool, &in->in, &s), ERR_VERSION);
    kit_input(&kit, 2, 2, in);
    in->in.header.expires_ms = KIT_CREATED_MS + LIMIT_EXPIRY_MS + 1;
    cr_assert_eq(seal(pool, &in->in, &s), ERR_TOO_LARGE);
    kit_input(&kit, 0, 2, in);
    cr_assert_eq(seal(pool, &in->in, &s), ERR_MALFORMED);
    kit_input(&kit, LIMIT_RECIPIENTS + 1, 2, in);
    cr_assert_eq(seal(pool, &in->in, &s), ERR_TOO_LARGE);
    kit_input(&kit, 2, 2, in);
    in->recipients[1].agency = in->recipients[0].agency;
    cr_assert_eq(seal(pool, &in->in, &s), ERR_MALFORMED);
    kit_input(&kit, 2, 0, in);
    cr_assert_eq(seal(pool, &in->in, &s), ERR_MALFORMED);
    kit_input(&kit, 2, LIMIT_PARTS + 1, in);
    cr_assert_eq(seal(pool, &in->in, &s), ERR_TOO_LARGE);
    kit_input(&kit, 2, 2, in);
    in->parts[0].ct_len = part_sealed_len(1000);
    cr_assert_eq(seal(pool, &in->in, &s), ERR_MALFORMED);
    kit_input(&kit, 2, 2, in);
    in->in.header.source = span_of(source, sizeof(source));
    cr_assert_eq(seal(pool, &in->in, &s), ERR_TOO_LARGE);
    cr_assert_null(s);
    sealed_free(NULL);
    wrap_pool_free(pool);
    wrap_pool_free(NULL);
    kit_fini(&kit);
    free(in);
}

Test(seal_input, every_optional_field_comes_back)
{
    struct kit_input *in = malloc(sizeof(*in));
    struct buf out, *outs = &out;
    struct digest release = sha256(span_str("release"));
    struct wrap_pool *pool;
    struct sealed *s;
    struct envelope *e;

    kit_init(&kit, 1, 2);
    cr_assert_eq(wrap_pool_new(&kit.env, &pool), ERR_OK);
    kit_input(&kit, 2, LIMIT_PARTS, in);
    in->in.header.has_supersedes = true;
    in->in.header.supersedes = uuid_v7(&kit.env, KIT_CREATED_MS - 1);
    in->in.header.release = digest_span(&release);
    in->handling[0] = "H1";
    in->handling[1] = "H2";
    in->in.header.n_handling = 2;
    in->recipients[1].seq = 3;
    in->recipients[1].prev_hash = release;
    cr_assert_eq(seal(pool, &in->in, &s), ERR_OK);
    buf_init(&out, LIMIT_ENVELOPE);
    cr_assert_eq(seal_sign(&s, 1, kit.sign, &outs), ERR_OK);
    cr_assert_eq(envelope_decode(buf_span(&out), &e), ERR_OK);
    cr_assert(uuid_equal(&envelope_header(e)->supersedes, &in->in.header.supersedes));
    cr_assert(span_equal(envelope_header(e)->release, digest_span(&release)));
    cr_assert_eq(envelope_header(e)->n_handling, 2);
    cr_assert_eq(envelope_part_count(e), LIMIT_PARTS);
    cr_assert_eq(envelope_part(e, 99)->ct_len, in->parts[99].ct_len);
    cr_assert(digest_equal(&envelope_part(e, 99)->sha256, &in->parts[99].sha256));
    cr_assert_eq(envelope_recipient(e, 1)->seq, 3);
    cr_assert(digest_equal(&envelope_recipient(e, 1)->prev_hash, &release));
    envelope_free(e);
    sealed_free(s);
    buf_fini(&out);
    wrap_pool_free(pool);
    kit_fini(&kit);
    free(in);
}

Test(seal_input, signing_takes_one_to_256_of_its_own_key_or_nothing)
{
    static struct sealed *all[LIMIT_BATCH + 1];
    static struct buf out[LIMIT_BATCH + 1], *outs[LIMIT_BATCH + 1];
    struct kit_input *in = malloc(sizeof(*in));
    struct wrap_pool *pool;

    kit_init(&kit, 1, 1);
    cr_assert_eq(wrap_pool_new(&kit.env, &pool), ERR_OK);
    kit_input(&kit, 1, 1, in);
    for (size_t i = 0; i <= LIMIT_BATCH; i++) {
        cr_assert_eq(seal(pool, &in->in, &all[i]), ERR_OK);
        buf_init(&out[i], LIMIT_ENVELOPE);
        outs[i] = &out[i];
    }
    cr_assert_eq(seal_sign(all, 0, kit.sign, outs), ERR_MALFORMED);
    cr_assert_eq(seal_sign(all, LIMIT_BATCH + 1, kit.sign, outs), ERR_TOO_LARGE);
    cr_assert_eq(seal_sign(all, 1, kit.other_sign, outs), ERR_WRONG_USAGE);
    cr_assert_eq(seal_sign(all, 2, kit.other_sign, outs), ERR_WRONG_USAGE);
    /* The third buffer is too small: the first two stay as they were. */
    buf_put_str(&out[0], "before");
    out[2].max = 100;
    cr_assert_eq(seal_sign(all, 3, kit.sign, outs), ERR_TOO_LARGE);
    cr_assert_eq(out[0].len, 6);
    cr_assert_eq(out[1].len, 0);
    cr_assert_eq(out[2].len, 0);
    cr_assert_eq(seal_sign(all, 2, kit.sign, outs), ERR_OK);
    cr_assert_gt(out[0].len, 6);
    for (size_t i = 0; i <= LIMIT_BATCH; i++) {
        sealed_free(all[i]);
        buf_fini(&out[i]);
    }
    wrap_pool_free(pool);
    kit_fini(&kit);
    free(in);
}

/* More keys than the pool holds at once: it starts anew, and every wrap is that of a fresh or
 * properly counted context. */
Test(seal_input, the_pool_is_bounded)
{
    enum { KEYS = LIMIT_WRAP_POOL + 2 };
    struct digest aad = sha256(span_str("aad"));
    struct seal_recipient to = {.agency = "LT.A"}, first;
    struct wrap_pool *pool;
    struct wrap wrap;

    kit_init(&kit, 1, 0);
    cr_assert_eq(wrap_pool_new(&kit.env, &pool), ERR_OK);
    for (size_t i = 0; i < KEYS; i++) {
        struct secret *key;

        cr_assert_eq(secret_random(&kit.env, 32, &key), ERR_OK);
        cr_assert_eq(x25519_public_of(key, to.public_key), ERR_OK);
        secret_free(key);
        to.key_id = key_id_of(KEY_LABEL_SUITE_1, span_of(to.public_key, 32));
        cr_assert_eq(wrap_pool_seal(pool, 1, &to, &aad, kit.file_key, &wrap), ERR_OK);
        cr_assert_eq(wrap.seq, 0);
        if (i == 0)
            first = to;
        if (i == LIMIT_WRAP_POOL - 1) {
            cr_assert_eq(wrap_pool_seal(pool, 1, &first, &aad, kit.file_key, &wrap), ERR_OK);
            cr_assert_eq(wrap.seq, 1, "all of them are held");
        }
    }
    cr_assert_eq(wrap_pool_seal(pool, 1, &first, &aad, kit.file_key, &wrap), ERR_OK);
    cr_assert_eq(wrap.seq, 0, "it started anew");
    wrap_pool_free(pool);
    kit_fini(&kit);
}
