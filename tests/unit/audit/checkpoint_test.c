#include "audit/checkpoint.h"

#include "common/limits.h"
#include "common/merkle.h"
#include "tests/lib/leaks.h"
#include "tests/lib/vectors.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(checkpoint, .fini = leaks_check);

static struct note_key parse_key(const char *vkey)
{
    struct note_key k = {0};

    cr_assert_eq(note_key_parse(vkey, &k), ERR_OK, "%s", vkey);
    return k;
}

/* Of a small file under tests/vectors; free it. */
static struct span read_vector(const char *name)
{
    char path[4096];
    uint8_t *bytes = malloc(65536);
    size_t len;
    FILE *f;

    (void)snprintf(path, sizeof(path), "%s/%s", SEALPOST_VECTORS, name);
    f = fopen(path, "rb");
    cr_assert_not_null(f, "%s", path);
    len = fread(bytes, 1, 65536, f);
    fclose(f);
    return span_of(bytes, len);
}

/* "PRIVATE+KEY+name+hash+base64(type || seed)" */
static struct secret *parse_skey(const char *skey, char name[NOTE_NAME])
{
    const char *begin = skey + strlen("PRIVATE+KEY+");
    const char *plus = strchr(begin, '+');
    struct secret *key;
    struct span raw;

    memcpy(name, begin, (size_t)(plus - begin));
    name[plus - begin] = '\0';
    raw = vectors_unbase64(strchr(plus + 1, '+') + 1);
    cr_assert_eq(raw.len, 33);
    cr_assert_eq(raw.data[0], NOTE_ED25519);
    cr_assert_eq(secret_copy(span_of(raw.data + 1, 32), &key), ERR_OK);
    vectors_free(raw);
    return key;
}

Test(checkpoint, signs_as_published)
{
    json_t *root = vectors_load("c2sp-signed-note/notes.json");
    json_t *one;
    size_t i;

    json_array_foreach(json_object_get(root, "sign"), i, one)
    {
        char name[NOTE_NAME];
        struct secret *key = parse_skey(vectors_text(one, "skey"), name);
        struct buf out;

        buf_init(&out, LIMIT_NOTE);
        cr_assert_eq(note_sign(span_str(vectors_text(one, "text")), name, key, &out), ERR_OK);
        cr_assert(span_equal(buf_span(&out), span_str(vectors_text(one, "note"))));
        buf_fini(&out);
        secret_free(key);
    }
    cr_assert_gt(i, 0);
    json_decref(root);
}

static struct span open_note(const json_t *one, bool *owned)
{
    const char *coded = json_string_value(json_object_get(one, "note_base64"));

    *owned = coded != NULL;
    return coded != NULL ? vectors_unbase64(coded) : span_str(vectors_text(one, "note"));
}

static void check_open(const json_t *one)
{
    const json_t *keys = json_object_get(one, "vkeys");
    bool valid = json_is_true(json_object_get(one, "valid")), owned;
    struct span note = open_note(one, &owned), text = {0};
    size_t good = 0, i;
    json_t *vkey;

    json_array_foreach(keys, i, vkey)
    {
        struct note_key k = parse_key(json_string_value(vkey));

        if (note_verify(note, &k, &text) == ERR_OK)
            good++;
    }
    if (valid) {
        cr_assert_eq(good, json_array_size(json_object_get(one, "verified")));
        cr_assert(note.data[text.len] == '\n' && text.data[text.len - 1] == '\n');
    } else {
        cr_assert_eq(good, 0, "%s", vectors_text(one, "desc"));
    }
    if (owned)
        vectors_free(note);
}

Test(checkpoint, opens_notes_as_published)
{
    json_t *root = vectors_load("c2sp-signed-note/notes.json");
    json_t *one;
    size_t i;

    json_array_foreach(json_object_get(root, "open"), i, one) check_open(one);
    cr_assert_gt(i, 10);
    json_array_foreach(json_object_get(root, "vkey_invalid"), i, one)
    {
        struct note_key k;

        cr_assert_eq(note_key_parse(vectors_text(one, "vkey"), &k), ERR_MALFORMED, "%s",
                     vectors_text(one, "desc"));
    }
    cr_assert_gt(i, 0);
    json_decref(root);
}

Test(checkpoint, malformed_notes_have_their_code)
{
    const struct {
        const char *note;
        enum err e;
    } cases[] = {
        {"", ERR_MALFORMED},
        {"\n", ERR_MALFORMED},
        {"\n\n", ERR_MALFORMED},
        {"a\n\n", ERR_MALFORMED},
        {"a\n\n\n", ERR_MALFORMED},
        {"a\n\n— n AAAAAAA=", ERR_MALFORMED},   /* last newline missing */
        {"a\n\n— n AAAAAA==\n", ERR_MALFORMED}, /* key id alone */
        {"a\n\n— n AAAAAAB=\n", ERR_MALFORMED}, /* trailing bits */
        {"a\n\n— n  AAAAAAA=\n", ERR_MALFORMED},
        {"a\n\n—  AAAAAAA=\n", ERR_MALFORMED},
        {"a\n\n- n AAAAAAA=\n", ERR_MALFORMED},
        {"a\n\n— n+m AAAAAAA=\n", ERR_MALFORMED},
        {"a\n\n— n\xc2\xa0m AAAAAAA=\n", ERR_MALFORMED},     /* no-break space */
        {"a\n\n— n\xe2\x80\x83m AAAAAAA=\n", ERR_MALFORMED}, /* em space */
        {"a\n\n— n\xe3\x80\x80m AAAAAAA=\n", ERR_MALFORMED}, /* ideographic space */
        {"a\tb\n\n— n AAAAAAA=\n", ERR_MALFORMED},
        {"a\r\n\n— n AAAAAAA=\n", ERR_MALFORMED},
        {"a\xff\n\n— n AAAAAAA=\n", ERR_MALFORMED},
        {"a\n\n— n AAAAAAA=\n", ERR_OK},
        {"a\n\nb\n\n— n AAAAAAA=\n", ERR_OK}, /* the last blank line parts them */
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct span text;

        cr_assert_eq(note_text(span_str(cases[i].note), &text), cases[i].e, "case %zu", i);
    }
}

Test(checkpoint, signatures_are_bounded)
{
    for (size_t n = LIMIT_NOTE_SIGNATURES - 1; n <= LIMIT_NOTE_SIGNATURES + 1; n++) {
        struct buf note;
        struct span text;

        buf_init(&note, LIMIT_NOTE);
        buf_put_str(&note, "a\n\n");
        for (size_t i = 0; i < n; i++)
            buf_put_str(&note, "— n AAAAAAA=\n");
        cr_assert_eq(note_text(buf_span(&note), &text),
                     n <= LIMIT_NOTE_SIGNATURES ? ERR_OK : ERR_TOO_LARGE);
        buf_fini(&note);
    }
}

Test(checkpoint, notes_are_bounded)
{
    const uint8_t seed[32] = {7};
    struct secret *key;

    cr_assert_eq(secret_copy(span_of(seed, sizeof(seed)), &key), ERR_OK);
    for (size_t n = LIMIT_NOTE - 1; n <= LIMIT_NOTE + 1; n++) {
        struct buf text, out;
        uint8_t *p;

        buf_init(&text, LIMIT_NOTE + 1);
        buf_init(&out, 2 * LIMIT_NOTE);
        p = buf_extend(&text, n);
        memset(p, 'a', n);
        p[n - 1] = '\n';
        cr_assert_eq(note_sign(buf_span(&text), "n", key, &out),
                     n <= LIMIT_NOTE ? ERR_OK : ERR_TOO_LARGE);
        buf_fini(&text);
        buf_fini(&out);
    }
    secret_free(key);
}

Test(checkpoint, refuses_to_sign_what_is_no_text)
{
    const uint8_t seed[32] = {7};
    const char *bad[] = {"", "a", "a\nb", "a\tb\n", "\xff\n"};
    const char *bad_names[] = {"", "a b", "a+b", "a\nb"};
    struct secret *key;
    struct buf out;

    cr_assert_eq(secret_copy(span_of(seed, sizeof(seed)), &key), ERR_OK);
    buf_init(&out, LIMIT_NOTE);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_assert_eq(note_sign(span_str(bad[i]), "n", key, &out), ERR_MALFORMED);
    for (size_t i = 0; i < sizeof(bad_names) / sizeof(bad_names[0]); i++)
        cr_assert_eq(note_sign(span_str("a\n"), bad_names[i], key, &out), ERR_MALFORMED);
    cr_assert_eq(out.len, 0);
    buf_fini(&out);
    secret_free(key);
}

Test(checkpoint, key_names_are_bounded)
{
    const struct ed25519_public public = {0};
    char name[NOTE_NAME + 2];
    struct note_key k;

    memset(name, 'a', sizeof(name));
    name[NOTE_NAME - 1] = '\0';
    cr_assert_eq(note_key_make(name, NOTE_ED25519, &public, &k), ERR_OK);
    name[NOTE_NAME - 1] = 'a';
    name[NOTE_NAME] = '\0';
    cr_assert_eq(note_key_make(name, NOTE_ED25519, &public, &k), ERR_MALFORMED);
    cr_assert_eq(note_key_make("a", 2, &public, &k), ERR_MALFORMED);
}

Test(checkpoint, verifier_keys_survive_a_round)
{
    json_t *root = vectors_load("c2sp-tlog-checkpoint/checkpoints.json");
    json_t *one;
    size_t i;

    json_array_foreach(json_object_get(root, "cosignature_vkeys"), i, one)
    {
        const char *vkey = vectors_text(one, "vkey");
        struct note_key k = parse_key(vkey);
        struct buf out;

        cr_assert_eq(k.type, json_integer_value(json_object_get(one, "type")));
        buf_init(&out, 1024);
        note_key_format(&k, &out);
        cr_assert(span_equal(buf_span(&out), span_str(vkey)));
        buf_fini(&out);
    }
    cr_assert_gt(i, 0);
    json_decref(root);
}

Test(checkpoint, published_checkpoints)
{
    json_t *root = vectors_load("c2sp-tlog-checkpoint/checkpoints.json");
    json_t *one;
    size_t i;

    json_array_foreach(json_object_get(root, "valid"), i, one)
    {
        struct note_key k = parse_key(vectors_text(one, "vkey"));
        struct span note = span_str(vectors_text(one, "checkpoint"));
        struct span seed = vectors_hex(one, "seed_hex");
        struct checkpoint c;
        struct secret *key;
        struct buf text, out;

        cr_assert_eq(checkpoint_verify(note, &k, &c), ERR_OK);
        cr_assert_eq(c.size, 10);
        cr_assert_eq(c.extensions.len, 0);
        cr_assert_eq(secret_copy(seed, &key), ERR_OK);
        buf_init(&text, LIMIT_CHECKPOINT);
        buf_init(&out, LIMIT_CHECKPOINT);
        checkpoint_format(c.origin, c.size, &c.root, &text);
        cr_assert_eq(note_sign(buf_span(&text), c.origin, key, &out), ERR_OK);
        cr_assert(span_equal(buf_span(&out), note), "signing again gives other bytes");
        buf_fini(&text);
        buf_fini(&out);
        secret_free(key);
        vectors_free(seed);
    }
    cr_assert_gt(i, 0);
    json_array_foreach(json_object_get(root, "invalid"), i, one)
    {
        struct note_key k = parse_key(vectors_text(one, "vkey"));
        struct checkpoint c;

        cr_assert_neq(checkpoint_verify(span_str(vectors_text(one, "checkpoint")), &k, &c), ERR_OK,
                      "%s", vectors_text(one, "desc"));
    }
    cr_assert_gt(i, 0);
    json_decref(root);
}

#define ROOT44 "HA5HAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

Test(checkpoint, malformed_checkpoints)
{
    const char *bad[] = {
        "",
        "o\n",
        "o\n1\n",
        "\n1\n" ROOT44 "\n",
        "o\n\n" ROOT44 "\n",
        "o\n01\n" ROOT44 "\n",
        "o\n+1\n" ROOT44 "\n",
        "o\n1 \n" ROOT44 "\n",
        "o\n-1\n" ROOT44 "\n",
        "o\n0x1\n" ROOT44 "\n",
        "o\n9223372036854775808\n" ROOT44 "\n",
        "o\n18446744073709551617\n" ROOT44 "\n",
        "o\n1\nHA5HAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=\n",
        "o\n1\nHA5HAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n",
        "o\n1\nHA5HAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n",
        "o\n1\n" ROOT44,
        "o\n1\n" ROOT44 "\n\n",
        "o\n1\n" ROOT44 "\nx",
        "o\tp\n1\n" ROOT44 "\n",
    };
    const char *good[] = {
        "o\n0\n" ROOT44 "\n",
        "o\n9223372036854775807\n" ROOT44 "\n",
        "o with spaces\n1\n" ROOT44 "\nmore\nand more\n",
    };
    struct checkpoint c;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_assert_eq(checkpoint_parse(span_str(bad[i]), &c), ERR_MALFORMED, "case %zu", i);
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        cr_assert_eq(checkpoint_parse(span_str(good[i]), &c), ERR_OK, "case %zu", i);
    cr_assert(span_equal(c.extensions, span_str("more\nand more\n")));
}

Test(checkpoint, origins_and_checkpoints_are_bounded)
{
    struct checkpoint c;

    for (size_t n = NOTE_NAME - 2; n <= NOTE_NAME; n++) {
        struct buf b;

        buf_init(&b, LIMIT_CHECKPOINT);
        memset(buf_extend(&b, n), 'o', n);
        buf_put_str(&b, "\n1\n" ROOT44 "\n");
        cr_assert_eq(checkpoint_parse(buf_span(&b), &c), n < NOTE_NAME ? ERR_OK : ERR_MALFORMED);
        buf_fini(&b);
    }
    for (size_t n = LIMIT_CHECKPOINT - 1; n <= LIMIT_CHECKPOINT + 1; n++) {
        struct buf b;
        size_t rest;

        buf_init(&b, LIMIT_CHECKPOINT + 1);
        buf_put_str(&b, "o\n1\n" ROOT44 "\n");
        rest = n - b.len;
        memset(buf_extend(&b, rest), 'x', rest);
        b.data[n - 1] = '\n';
        cr_assert_eq(checkpoint_parse(buf_span(&b), &c),
                     n <= LIMIT_CHECKPOINT ? ERR_OK : ERR_TOO_LARGE);
        buf_fini(&b);
    }
}

Test(checkpoint, origin_must_be_the_keys_name)
{
    const uint8_t seed[32] = {9};
    struct ed25519_public public;
    struct checkpoint c;
    struct secret *key;
    struct note_key k;
    struct buf text, note;

    cr_assert_eq(secret_copy(span_of(seed, sizeof(seed)), &key), ERR_OK);
    cr_assert_eq(ed25519_public_of(key, &public), ERR_OK);
    cr_assert_eq(note_key_make("example.com/a", NOTE_ED25519, &public, &k), ERR_OK);
    buf_init(&text, LIMIT_CHECKPOINT);
    buf_init(&note, LIMIT_CHECKPOINT);
    checkpoint_format("example.com/b", 1, &(struct digest){{1}}, &text);
    cr_assert_eq(note_sign(buf_span(&text), "example.com/a", key, &note), ERR_OK);
    cr_assert_eq(checkpoint_verify(buf_span(&note), &k, &c), ERR_BAD_SIGNATURE);
    buf_fini(&text);
    buf_fini(&note);
    secret_free(key);
}

Test(checkpoint, cosignature_as_published)
{
    json_t *root = vectors_load("c2sp-tlog-cosignature/cosigned-checkpoint.json");
    struct note_key log = parse_key(vectors_text(root, "log_vkey"));
    struct note_key witness = parse_key(vectors_text(root, "witness_vkey"));
    struct span note = span_str(vectors_text(root, "checkpoint")), text;
    struct checkpoint c;
    char *changed;
    uint64_t time_s = 0;

    cr_assert_eq(checkpoint_verify(note, &log, &c), ERR_OK);
    cr_assert_eq(c.size, 4);
    cr_assert_eq(note_verify_cosignature(note, &witness, &text, &time_s), ERR_OK);
    cr_assert_eq((json_int_t)time_s, json_integer_value(json_object_get(root, "timestamp")));
    cr_assert_eq(note_verify_cosignature(note, &log, &text, &time_s), ERR_WRONG_USAGE);
    /* Another size under the same signatures. */
    changed = strdup(vectors_text(root, "checkpoint"));
    *strchr(changed, '\n') = ' ';
    *strchr(changed, '\n') = ' ';
    cr_assert_eq(note_verify_cosignature(span_str(changed), &witness, &text, &time_s),
                 ERR_BAD_SIGNATURE);
    free(changed);
    json_decref(root);
}

/* Edge of the first `size` leaves of the published log, from its entry bundle. */
static struct digest bundle_root(struct span bundle, uint64_t size, struct digest *leaves)
{
    struct merkle_edge edge = {0};
    struct rd r = rd_of(bundle);

    for (uint64_t i = 0; i < size; i++) {
        struct span entry = rd_bytes(&r, rd_u16be(&r));

        leaves[i] = merkle_leaf(entry);
        cr_assert_eq(merkle_edge_append(&edge, &leaves[i], NULL, NULL), ERR_OK);
    }
    cr_assert_eq(rd_end(&r), ERR_OK);
    return merkle_edge_root(&edge);
}

Test(checkpoint, every_checkpoint_and_tile_of_the_tessera_log_gives_its_root)
{
    struct span vkey = read_vector("c2sp-tlog-tiles/tessera-log.vkey");
    char key_text[256];
    struct note_key k;

    while (vkey.len > 0 && vkey.data[vkey.len - 1] == '\n')
        vkey.len--;
    cr_assert_eq(span_to_str(vkey, key_text, sizeof(key_text)), ERR_OK);
    k = parse_key(key_text);
    for (uint64_t size = 0; size <= 15; size++) {
        struct digest leaves[16], root;
        struct span note, tile = {0}, bundle = {0};
        struct checkpoint c;
        char name[128];

        (void)snprintf(name, sizeof(name), "c2sp-tlog-tiles/tessera-log/checkpoint.%u",
                       (unsigned)size);
        note = read_vector(name);
        cr_assert_eq(checkpoint_verify(note, &k, &c), ERR_OK, "%s", name);
        cr_assert_eq(c.size, size);
        if (size > 0) {
            (void)snprintf(name, sizeof(name), "c2sp-tlog-tiles/tessera-log/tile/0/000.p/%u",
                           (unsigned)size);
            tile = read_vector(name);
            (void)snprintf(name, sizeof(name), "c2sp-tlog-tiles/tessera-log/tile/entries/000.p/%u",
                           (unsigned)size);
            bundle = read_vector(name);
        }
        root = bundle_root(bundle, size, leaves);
        cr_assert(digest_equal(&root, &c.root), "size %u", (unsigned)size);
        cr_assert(span_equal(tile, span_of(leaves, size * sizeof(leaves[0]))));
        vectors_free(note);
        vectors_free(tile);
        vectors_free(bundle);
    }
    vectors_free(span_of(vkey.data, 0));
}
