#include "proto/dsse.h"

#include "common/limits.h"
#include "proto/pb.h"
#include "tests/lib/leaks.h"
#include "tests/lib/vectors.h"

#include "envelope.pb-c.h"

#include <criterion/criterion.h>
#include <string.h>

#define TYPE "application/vnd.sealpost.statement.v1+protobuf"
#define KEYS (LIMIT_SIGNATURES + 1)

static void start(void)
{
    cr_assert_eq(secret_process_init(true), ERR_OK);
}

TestSuite(dsse, .init = start, .fini = leaks_check);

/* RFC 8032 7.1 TEST 1. */
static const char seed_hex[] = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
static const char public_hex[] = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

/* The key whose seed is 32 times `n`. */
static struct secret *key_of(uint8_t n, struct ed25519_public *public_key)
{
    uint8_t seed[ED25519_SEED];
    struct secret *key;

    memset(seed, n, sizeof(seed));
    cr_assert_eq(secret_copy(span_of(seed, sizeof(seed)), &key), ERR_OK);
    cr_assert_eq(ed25519_public_of(key, public_key), ERR_OK);
    return key;
}

static struct span text_span(const char *text)
{
    return span_of(text, strlen(text));
}

static size_t check_pae(const char *list)
{
    json_t *root = vectors_load("dsse/dsse.json"), *v;
    size_t i, n = json_array_size(json_object_get(root, list));

    json_array_foreach(json_object_get(root, list), i, v)
    {
        struct span payload = vectors_unbase64(vectors_text(v, "payload_base64"));
        struct span expected = vectors_unbase64(vectors_text(v, "pae_base64"));
        struct buf b;

        buf_init(&b, expected.len);
        dsse_pae(vectors_text(v, "payload_type"), payload, &b);
        cr_assert_eq(b.err, ERR_OK);
        cr_assert(span_equal(buf_span(&b), expected));
        buf_fini(&b);
        buf_init(&b, expected.len - 1);
        dsse_pae(vectors_text(v, "payload_type"), payload, &b);
        cr_assert_eq(b.err, ERR_TOO_LARGE);
        buf_fini(&b);
        vectors_free(payload);
        vectors_free(expected);
    }
    json_decref(root);
    return n;
}

Test(dsse, encodes_as_the_published_vectors)
{
    cr_assert_eq(check_pae("pae"), 1);
    cr_assert_eq(check_pae("pae_derived"), 2);
}

/* Worked out with another SHA-256 from the definition in dsse.h. */
Test(dsse, key_ids_depend_on_label_and_key)
{
    struct span public_key = vectors_unhex(public_hex);
    struct span sign = vectors_unhex("55e014f4df3aa769379d02420c07db2c");
    struct span suite_1 = vectors_unhex("d4fc7ad07aac502c7caae784ea7ab8a1");
    struct key_id id = key_id_of(KEY_LABEL_SIGN, public_key);

    cr_assert(span_equal(span_of(id.b, sizeof(id.b)), sign));
    id = key_id_of(KEY_LABEL_SUITE_1, public_key);
    cr_assert(span_equal(span_of(id.b, sizeof(id.b)), suite_1));
    vectors_free(public_key);
    vectors_free(sign);
    vectors_free(suite_1);
}

/* The published payload under a published key; signature worked out with another library. */
Test(dsse, signs_the_encoding)
{
    struct span seed = vectors_unhex(seed_hex), public_key = vectors_unhex(public_hex);
    struct span expected =
        vectors_unhex("e031d7dd99f8aa904abc48fb99a13c3bdbbd6e35c49cf2cb9f25d5509d8f5c94"
                      "7c0d22dc2f7403a45bdf24e8f7a41fd23c7b25e898386e8c6c31be8abee60007");
    const Sp__Document *view;
    struct secret *key;
    struct buf b;
    struct pb *p;

    cr_assert_eq(secret_copy(seed, &key), ERR_OK);
    buf_init(&b, LIMIT_KIB);
    dsse_sign("http://example.com/HelloWorld", text_span("hello world"), key, &b);
    cr_assert_eq(b.err, ERR_OK);
    cr_assert_eq(pb_decode(&sp__document__descriptor, buf_span(&b), b.len, &p), ERR_OK);
    view = pb_view(p);
    cr_assert_str_eq(view->payload_type, "http://example.com/HelloWorld");
    cr_assert(span_equal(pb_span(view->payload), text_span("hello world")));
    cr_assert_eq(view->n_signatures, 1);
    cr_assert_str_eq(view->signatures[0]->keyid, "55e014f4df3aa769379d02420c07db2c");
    cr_assert(span_equal(pb_span(view->signatures[0]->sig), expected));
    pb_free(p);
    buf_fini(&b);
    secret_free(key);
    vectors_free(seed);
    vectors_free(public_key);
    vectors_free(expected);
}

static struct dsse *decoded(const struct buf *b)
{
    struct dsse *d = NULL;

    cr_assert_eq(dsse_decode(buf_span(b), LIMIT_DOCUMENT, &d), ERR_OK);
    return d;
}

/* A document signed by the keys from..to. */
static void signed_by(struct buf *b, unsigned from, unsigned to)
{
    buf_init(b, LIMIT_DOCUMENT);
    dsse_unsigned(TYPE, text_span("payload"), b);
    for (unsigned i = from; i <= to; i++) {
        struct ed25519_public public_key;
        struct secret *key = key_of((uint8_t)i, &public_key);
        struct buf more;

        buf_init(&more, LIMIT_DOCUMENT);
        cr_assert_eq(dsse_add_signature(buf_span(b), key, &more), ERR_OK);
        buf_fini(b);
        *b = more;
        secret_free(key);
    }
}

Test(dsse, counts_distinct_keys)
{
    struct ed25519_public keys[4];
    struct buf b;
    struct dsse *d;
    size_t n = 77;

    for (uint8_t i = 0; i < 4; i++)
        secret_free(key_of((uint8_t)(i + 1), &keys[i]));
    signed_by(&b, 1, 3);
    d = decoded(&b);
    cr_assert_str_eq(dsse_type(d), TYPE);
    cr_assert(span_equal(dsse_payload(d), text_span("payload")));
    cr_assert_eq(dsse_count(d, TYPE, keys, 4, &n), ERR_OK);
    cr_assert_eq(n, 3);
    cr_assert_eq(dsse_count(d, TYPE, keys + 2, 2, &n), ERR_OK);
    cr_assert_eq(n, 1);
    cr_assert_eq(dsse_count(d, TYPE, keys + 3, 1, &n), ERR_OK);
    cr_assert_eq(n, 0);
    cr_assert_eq(dsse_count(d, TYPE, keys, 0, &n), ERR_OK);
    cr_assert_eq(n, 0);
    keys[1] = keys[0]; /* a role that lists a key twice */
    cr_assert_eq(dsse_count(d, TYPE, keys, 2, &n), ERR_OK);
    cr_assert_eq(n, 1);
    n = 77;
    cr_assert_eq(dsse_count(d, DSSE_TYPE_ROOT, keys, 4, &n), ERR_WRONG_USAGE);
    cr_assert_eq(n, 77);
    dsse_free(d);
    dsse_free(NULL);
    buf_fini(&b);
}

/* A document with signatures as given. */
static void rebuild(const char *type, const char *payload, Sp__Signature **signatures, size_t n,
                    struct buf *to)
{
    Sp__Document document = SP__DOCUMENT__INIT;

    document.payload = pb_bytes(text_span(payload));
    document.payload_type = pb_string(type);
    document.signatures = signatures;
    document.n_signatures = n;
    buf_init(to, LIMIT_DOCUMENT);
    pb_encode(&document, to);
    cr_assert_eq(to->err, ERR_OK);
}

Test(dsse, a_key_that_signs_twice_counts_once)
{
    struct ed25519_public key;
    const Sp__Document *view;
    struct buf b, twice;
    Sp__Signature *list[2];
    struct dsse *d;
    struct pb *p;
    size_t n;

    secret_free(key_of(1, &key));
    signed_by(&b, 1, 1);
    cr_assert_eq(pb_decode(&sp__document__descriptor, buf_span(&b), b.len, &p), ERR_OK);
    view = pb_view(p);
    list[0] = list[1] = view->signatures[0];
    rebuild(TYPE, "payload", list, 2, &twice);
    d = decoded(&twice);
    cr_assert_eq(dsse_count(d, TYPE, &key, 1, &n), ERR_OK);
    cr_assert_eq(n, 1);
    dsse_free(d);
    pb_free(p);
    buf_fini(&b);
    buf_fini(&twice);
}

/* One change each; every one must be seen. */
Test(dsse, sees_what_was_altered)
{
    static const struct {
        const char *type, *payload;
        size_t bit; /* of the signature */
        enum err err;
    } cases[] = {
        {TYPE, "payload", SIZE_MAX, ERR_OK},
        {TYPE, "Payload", SIZE_MAX, ERR_BAD_SIGNATURE},
        {TYPE, "payload ", SIZE_MAX, ERR_BAD_SIGNATURE},
        {TYPE "x", "payload", SIZE_MAX, ERR_BAD_SIGNATURE},
        {TYPE, "payload", 0, ERR_BAD_SIGNATURE},
        {TYPE, "payload", 511, ERR_BAD_SIGNATURE},
    };
    struct ed25519_public keys[2];
    const Sp__Document *view;
    struct buf b, other;
    struct pb *p;

    secret_free(key_of(1, &keys[0]));
    secret_free(key_of(2, &keys[1]));
    signed_by(&b, 1, 1);
    cr_assert_eq(pb_decode(&sp__document__descriptor, buf_span(&b), b.len, &p), ERR_OK);
    view = pb_view(p);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        Sp__Signature s = *view->signatures[0], *list[] = {&s};
        uint8_t sig[ED25519_SIG];
        struct dsse *d;
        size_t n = 77;

        memcpy(sig, s.sig.data, sizeof(sig));
        if (cases[i].bit != SIZE_MAX)
            sig[cases[i].bit / 8] ^= (uint8_t)(1 << cases[i].bit % 8);
        s.sig = pb_bytes(span_of(sig, sizeof(sig)));
        rebuild(cases[i].type, cases[i].payload, list, 1, &other);
        d = decoded(&other);
        cr_assert_eq(dsse_count(d, cases[i].type, keys, 1, &n), cases[i].err);
        cr_assert_eq(n, cases[i].err == ERR_OK ? 1 : 77);
        /* To those who do not know the key, the signature means nothing. */
        cr_assert_eq(dsse_count(d, cases[i].type, keys + 1, 1, &n), ERR_OK);
        cr_assert_eq(n, 0);
        dsse_free(d);
        buf_fini(&other);
    }
    pb_free(p);
    buf_fini(&b);
}

Test(dsse, refuses_signatures_of_another_shape)
{
    static const struct {
        size_t sig_len;
        const char *key_id;
        bool batch;
        enum err err;
    } cases[] = {
        {64, "55e014f4df3aa769379d02420c07db2c", false, ERR_OK},
        {63, "55e014f4df3aa769379d02420c07db2c", false, ERR_MALFORMED},
        {65, "55e014f4df3aa769379d02420c07db2c", false, ERR_MALFORMED},
        {0, "55e014f4df3aa769379d02420c07db2c", false, ERR_MALFORMED},
        {64, "55e014f4df3aa769379d02420c07db2", false, ERR_MALFORMED},
        {64, "55e014f4df3aa769379d02420c07db2c0", false, ERR_MALFORMED},
        {64, "55E014f4df3aa769379d02420c07db2c", false, ERR_MALFORMED},
        {64, "55e014f4df3aa769379d02420c07db2g", false, ERR_MALFORMED},
        {64, "", false, ERR_MALFORMED},
        {64, "55e014f4df3aa769379d02420c07db2c", true, ERR_MALFORMED},
    };
    static const uint8_t sig[65];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        Sp__Signature s = SP__SIGNATURE__INIT, *list[] = {&s};
        Sp__Batch batch = SP__BATCH__INIT;
        struct dsse *d = NULL;
        struct buf b;

        s.sig = pb_bytes(span_of(sig, cases[i].sig_len));
        s.keyid = pb_string(cases[i].key_id);
        s.batch = cases[i].batch ? &batch : NULL;
        rebuild(TYPE, "payload", list, 1, &b);
        cr_assert_eq(dsse_decode(buf_span(&b), b.len, &d), cases[i].err, "case %zu", i);
        cr_assert_eq(d != NULL, cases[i].err == ERR_OK);
        dsse_free(d);
        buf_fini(&b);
    }
}

Test(dsse, decodes_strictly_and_within_its_cap)
{
    static const uint8_t field_9[] = {0x48, 0x01};
    struct dsse *d = NULL;
    struct buf b;

    signed_by(&b, 1, 1);
    cr_assert_eq(dsse_decode(buf_span(&b), b.len - 1, &d), ERR_TOO_LARGE);
    cr_assert_eq(dsse_decode(span_of(b.data, b.len - 1), b.len, &d), ERR_MALFORMED);
    buf_put(&b, span_of(field_9, sizeof(field_9)));
    cr_assert_eq(dsse_decode(buf_span(&b), b.len, &d), ERR_UNKNOWN_FIELD);
    cr_assert_null(d);
    buf_fini(&b);
}

Test(dsse, bounds_the_signatures)
{
    struct ed25519_public public_key, keys[LIMIT_SIGNATURES];
    struct secret *key = key_of(KEYS, &public_key);
    Sp__Signature s[KEYS], *list[KEYS];
    char ids[KEYS][33];
    static const uint8_t sig[64];
    struct buf b, more;
    struct dsse *d;
    size_t n;

    for (size_t i = 0; i < LIMIT_SIGNATURES; i++)
        secret_free(key_of((uint8_t)(i + 1), &keys[i]));
    signed_by(&b, 1, LIMIT_SIGNATURES - 1);
    d = decoded(&b);
    dsse_free(d);
    buf_fini(&b);
    signed_by(&b, 1, LIMIT_SIGNATURES);
    d = decoded(&b);
    cr_assert_eq(dsse_count(d, TYPE, keys, LIMIT_SIGNATURES, &n), ERR_OK);
    cr_assert_eq(n, LIMIT_SIGNATURES);
    dsse_free(d);
    buf_init(&more, LIMIT_DOCUMENT);
    cr_assert_eq(dsse_add_signature(buf_span(&b), key, &more), ERR_TOO_LARGE);
    cr_assert_eq(more.len, 0);
    buf_fini(&b);
    for (size_t i = 0; i < KEYS; i++) {
        snprintf(ids[i], sizeof(ids[i]), "%032zx", i);
        s[i] = (Sp__Signature)SP__SIGNATURE__INIT;
        s[i].sig = pb_bytes(span_of(sig, sizeof(sig)));
        s[i].keyid = ids[i];
        list[i] = &s[i];
    }
    rebuild(TYPE, "payload", list, KEYS, &b);
    d = NULL;
    cr_assert_eq(dsse_decode(buf_span(&b), b.len, &d), ERR_TOO_LARGE);
    cr_assert_null(d);
    buf_fini(&b);
    secret_free(key);
}

Test(dsse, adds_a_key_only_once_and_keeps_the_others)
{
    struct ed25519_public keys[2];
    struct secret *first = key_of(1, &keys[0]), *second = key_of(2, &keys[1]), *expanded;
    struct buf b, more, small;
    struct dsse *d;
    size_t n;

    buf_init(&b, LIMIT_DOCUMENT);
    cr_assert_eq(ed25519_expand(first, &expanded), ERR_OK);
    dsse_sign(TYPE, text_span("payload"), expanded, &b);
    buf_init(&more, LIMIT_DOCUMENT);
    cr_assert_eq(dsse_add_signature(buf_span(&b), first, &more), ERR_EXISTS);
    cr_assert_eq(more.len, 0);
    cr_assert_eq(dsse_add_signature(buf_span(&b), second, &more), ERR_OK);
    d = decoded(&more);
    cr_assert_eq(dsse_count(d, TYPE, keys, 2, &n), ERR_OK);
    cr_assert_eq(n, 2);
    dsse_free(d);
    buf_init(&small, more.len - 1);
    cr_assert_eq(dsse_add_signature(buf_span(&b), second, &small), ERR_TOO_LARGE);
    buf_fini(&small);
    buf_init(&small, b.len - 1);
    dsse_sign(TYPE, text_span("payload"), first, &small);
    cr_assert_eq(small.err, ERR_TOO_LARGE);
    buf_fini(&small);
    cr_assert_eq(dsse_add_signature(text_span("no document"), second, &b), ERR_UNKNOWN_FIELD);
    buf_fini(&b);
    buf_fini(&more);
    secret_free(first);
    secret_free(second);
    secret_free(expanded);
}
