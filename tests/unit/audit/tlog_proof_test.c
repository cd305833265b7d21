#include "audit/tlog_proof.h"

#include "tests/lib/leaks.h"
#include "tests/lib/vectors.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(tlog_proof, .fini = leaks_check);

#define FOLDER "c2sp-tlog-proof/sigsum-size4-index3"
/* The checkpoint part of a proof that needs no more than its form. */
#define NOTE "o\n1\nHA5HAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n— o AAAAAAA=\n"
#define HASH "HA5HAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"

static char *read_text(const char *name)
{
    char path[4096];
    char *text = calloc(1, 65536);
    FILE *f;

    (void)snprintf(path, sizeof(path), "%s/%s", SEALPOST_VECTORS, name);
    f = fopen(path, "rb");
    cr_assert_not_null(f);
    cr_assert_gt(fread(text, 1, 65535, f), 0);
    fclose(f);
    return text;
}

Test(tlog_proof, published_proof_holds)
{
    json_t *json = vectors_load(FOLDER ".json");
    char *text = read_text(FOLDER ".tlog-proof");
    struct span leaf = vectors_hex(json, "leaf_hex");
    struct digest hash = merkle_leaf(leaf);
    struct note_key key, other;
    struct tlog_proof p;
    struct checkpoint c;
    struct buf extra, again;

    buf_init(&extra, 1024);
    buf_init(&again, LIMIT_TLOG_PROOF);
    cr_assert(tlog_proof_is(span_str(text)));
    cr_assert_eq(tlog_proof_parse(span_str(text), &extra, &p), ERR_OK);
    cr_assert_eq(p.index, 3);
    cr_assert_eq(p.n, 2);
    cr_assert_not(p.has_extra);
    cr_assert_eq(note_key_parse(vectors_text(json, "log_vkey"), &key), ERR_OK);
    cr_assert_eq(tlog_proof_verify(&p, &hash, &key, &c), ERR_OK);
    cr_assert_eq(c.size, 4);
    cr_assert_eq(tlog_proof_verify(&p, &hash, NULL, &c), ERR_OK);
    tlog_proof_format(&p, &again);
    cr_assert(span_equal(buf_span(&again), span_str(text)));

    other = key;
    other.key.b[0] ^= 1;
    cr_assert_eq(tlog_proof_verify(&p, &hash, &other, &c), ERR_BAD_SIGNATURE);
    hash.b[31] ^= 1;
    cr_assert_eq(tlog_proof_verify(&p, &hash, &key, &c), ERR_BAD_PROOF);
    hash.b[31] ^= 1;
    p.index = 2;
    cr_assert_eq(tlog_proof_verify(&p, &hash, &key, &c), ERR_BAD_PROOF);
    p.index = 3;
    p.n = 1;
    cr_assert_eq(tlog_proof_verify(&p, &hash, &key, &c), ERR_BAD_PROOF);
    buf_fini(&extra);
    buf_fini(&again);
    vectors_free(leaf);
    free(text);
    json_decref(json);
}

Test(tlog_proof, extra_data_survives_a_round)
{
    const char *text = "c2sp.org/tlog-proof@v1\nextra AQID\nindex 0\n\n" NOTE;
    struct tlog_proof p;
    struct buf extra, again;

    buf_init(&extra, 1024);
    buf_init(&again, LIMIT_TLOG_PROOF);
    cr_assert_eq(tlog_proof_parse(span_str(text), &extra, &p), ERR_OK);
    cr_assert(p.has_extra);
    cr_assert(span_equal(p.extra, span_of("\1\2\3", 3)));
    tlog_proof_format(&p, &again);
    cr_assert(span_equal(buf_span(&again), span_str(text)));
    buf_fini(&extra);
    buf_fini(&again);
}

Test(tlog_proof, malformed_proofs)
{
    const char *bad[] = {
        "",
        "c2sp.org/tlog-proof@v2\nindex 0\n\n" NOTE,
        "c2sp.org/tlog-proof@v1",
        "c2sp.org/tlog-proof@v1\n",
        "c2sp.org/tlog-proof@v1\n\n" NOTE,
        "c2sp.org/tlog-proof@v1\nindex\n\n" NOTE,
        "c2sp.org/tlog-proof@v1\nindex 00\n\n" NOTE,
        "c2sp.org/tlog-proof@v1\nindex -1\n\n" NOTE,
        "c2sp.org/tlog-proof@v1\nindex 9223372036854775807\n\n" NOTE,
        "c2sp.org/tlog-proof@v1\nindex 0\n" NOTE,
        "c2sp.org/tlog-proof@v1\nindex 0\n" HASH,
        "c2sp.org/tlog-proof@v1\nindex 0\nAAAA\n\n" NOTE,
        "c2sp.org/tlog-proof@v1\nindex 0\nextra AQID\n\n" NOTE,
        "c2sp.org/tlog-proof@v1\nextra AQI\nindex 0\n\n" NOTE,
        "c2sp.org/tlog-proof@v1\nextra AQID\nextra AQID\nindex 0\n\n" NOTE,
        "c2sp.org/tlog-proof@v1\nindex 0\n\n",
        "c2sp.org/tlog-proof@v1\nindex 0\n\no\n1\n" HASH,
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct tlog_proof p;
        struct buf extra;

        buf_init(&extra, 1024);
        cr_assert_eq(tlog_proof_parse(span_str(bad[i]), &extra, &p), ERR_MALFORMED, "case %zu", i);
        buf_fini(&extra);
    }
}

Test(tlog_proof, paths_are_bounded)
{
    for (size_t n = LIMIT_PROOF_PATH - 1; n <= LIMIT_PROOF_PATH + 1; n++) {
        struct tlog_proof p;
        struct buf text, extra;

        buf_init(&text, LIMIT_TLOG_PROOF);
        buf_init(&extra, 1);
        buf_put_str(&text, "c2sp.org/tlog-proof@v1\nindex 0\n");
        for (size_t i = 0; i < n; i++)
            buf_put_str(&text, HASH);
        buf_put_str(&text, "\n" NOTE);
        cr_assert_eq(tlog_proof_parse(buf_span(&text), &extra, &p),
                     n <= LIMIT_PROOF_PATH ? ERR_OK : ERR_MALFORMED);
        buf_fini(&text);
        buf_fini(&extra);
    }
}
