#include "certs/documents.h"

#include "certs/issue.h"
#include "common/limits.h"
#include "tests/lib/federation.h"
#include "tests/lib/leaks.h"

#include <criterion/criterion.h>
#include <string.h>

static struct test_env env;
static struct federation *f;
static struct why why;

static void setup(void)
{
    test_env_init(&env, 41);
    cr_assert_eq(federation_new(&env.env, 3, &f), ERR_OK);
}

static void teardown(void)
{
    federation_free(f);
    leaks_check();
}

TestSuite(documents, .init = setup, .fini = teardown);

static ProtobufCBinaryData bytes_of(const void *data, size_t len)
{
    return pb_bytes(span_of(data, len));
}

static const uint8_t zeros[64];

/* Swaps the first two of a list of pointers; the document is read anew for each edit. */
static void swap_first(void *list_at)
{
    void **list = *(void ***)list_at;
    void *first = list[0];
    list[0] = list[1];
    list[1] = first;
}

/* --- root --- */

struct root_parts {
    struct document d;
    Sp__Root r;
    Sp__Role root, directory, timestamp;
};

static void root_of(struct root_parts *p)
{
    cr_assert_eq(document_read(DOCUMENT_ROOT, buf_span(&f->root), &p->d, &why), ERR_OK);
    p->r = *document_root(&p->d);
    p->root = *p->r.root;
    p->directory = *p->r.directory;
    p->timestamp = *p->r.timestamp;
    p->r.root = &p->root;
    p->r.directory = &p->directory;
    p->r.timestamp = &p->timestamp;
}

static void root_refused(struct root_parts *p, enum err e, const char *words)
{
    enum err got = root_check(&p->r, &why);
    cr_assert_eq(got, e, "%s: %s", words, err_code(got));
    cr_assert_not_null(strstr(why.text, words), "%s", why.text);
    document_fini(&p->d);
    root_of(p);
}

Test(documents, every_rule_of_the_root_is_held)
{
    struct root_parts p;
    ProtobufCBinaryData unknown[] = {bytes_of(zeros, 16)};
    root_of(&p);
    cr_assert_eq(root_check(&p.r, &why), ERR_OK);
    p.r.version = 0;
    root_refused(&p, ERR_MALFORMED, "versions");
    p.r.federation = pb_string("x");
    root_refused(&p, ERR_MALFORMED, "domain");
    p.r.expires_ms = p.r.issued_ms + LIMIT_ROOT_MS + 1;
    root_refused(&p, ERR_MALFORMED, "so long");
    p.r.n_keys = 0;
    root_refused(&p, ERR_MALFORMED, "keys");
    swap_first(&p.r.keys);
    root_refused(&p, ERR_NON_CANONICAL, "sorted by key id");
    p.r.keys[0]->public_key = p.r.keys[1]->public_key;
    root_refused(&p, ERR_MALFORMED, "not that of its key");
    p.r.keys[0]->public_key = bytes_of(zeros, 31);
    root_refused(&p, ERR_MALFORMED, "32 bytes");
    p.r.keys[0]->holder = pb_string("");
    root_refused(&p, ERR_MALFORMED, "holder");
    p.root.threshold = 0;
    root_refused(&p, ERR_MALFORMED, "the role root needs 0 of 3");
    p.root.threshold = 4;
    root_refused(&p, ERR_MALFORMED, "the role root needs 4 of 3");
    p.directory.threshold = 4;
    root_refused(&p, ERR_MALFORMED, "the role directory");
    p.r.timestamp = NULL;
    root_refused(&p, ERR_MALFORMED, "the role timestamp has no keys");
    p.root.n_key_ids = 0;
    root_refused(&p, ERR_MALFORMED, "the role root has no keys");
    p.timestamp.key_ids = unknown;
    root_refused(&p, ERR_MALFORMED, "not there");
    ProtobufCBinaryData all[] = {p.r.keys[0]->key_id, p.r.keys[1]->key_id, p.r.keys[2]->key_id,
                                 p.r.keys[3]->key_id};
    p.timestamp.key_ids = all;
    p.timestamp.n_key_ids = 4;
    root_refused(&p, ERR_WRONG_USAGE, "one key, one use");
    ProtobufCBinaryData twice[] = {p.root.key_ids[0], p.root.key_ids[0]};
    p.root.key_ids = twice;
    p.root.n_key_ids = 2;
    root_refused(&p, ERR_NON_CANONICAL, "not sorted and distinct");
    p.root.n_key_ids = 2;
    p.directory.n_key_ids = 2;
    root_refused(&p, ERR_NON_CANONICAL, "has no role");
    document_fini(&p.d);
}

/* --- thresholds --- */

static void signed_by(const void *payload, enum document_kind kind,
                      const struct secret *const *keys, size_t n, struct document *ret)
{
    struct buf bytes;
    buf_init(&bytes, LIMIT_DOCUMENT);
    cr_assert_eq(document_build(kind, payload, &bytes, &why), ERR_OK, "%s", why.text);
    for (size_t i = 0; i < n; i++) {
        struct buf more;
        buf_init(&more, LIMIT_DOCUMENT);
        cr_assert_eq(dsse_add_signature(buf_span(&bytes), keys[i], &more), ERR_OK);
        buf_fini(&bytes);
        bytes = more;
    }
    cr_assert_eq(document_read(kind, buf_span(&bytes), ret, &why), ERR_OK);
    buf_fini(&bytes);
}

/* The signatures of a document, as protobuf, to be repeated. */
static enum err count_with_repeated_signature(const struct document *d, const Sp__Root *root,
                                              size_t *count)
{
    struct pb *pb = NULL;
    cr_assert_eq(pb_decode(&sp__document__descriptor, buf_span(&d->bytes), LIMIT_DOCUMENT, &pb),
                 ERR_OK);
    Sp__Document copy = *(const Sp__Document *)pb_view(pb);
    Sp__Signature *twice[] = {copy.signatures[0], copy.signatures[0]};
    struct buf bytes;
    struct document again = {0};
    struct document_signatures found = {0};
    copy.signatures = twice;
    copy.n_signatures = 2;
    buf_init(&bytes, LIMIT_DOCUMENT);
    pb_encode(&copy, &bytes);
    enum err e = document_read(DOCUMENT_DIRECTORY, buf_span(&bytes), &again, &why);
    if (e == ERR_OK)
        e = document_count(&again, root, root->directory, &found, &why);
    *count = found.count;
    document_fini(&again);
    buf_fini(&bytes);
    pb_free(pb);
    return e;
}

Test(documents, thresholds_count_distinct_keys_of_the_role)
{
    struct root_parts p;
    struct document base = {0}, d = {0};
    struct document_signatures found;
    size_t count;
    root_of(&p);
    cr_assert_eq(document_read(DOCUMENT_DIRECTORY, buf_span(&f->directory), &base, &why), ERR_OK);
    const Sp__Directory *dir = document_directory(&base);
    const struct secret *keys[] = {f->root_keys[2], f->root_keys[0], f->timestamp_key};

    signed_by(dir, DOCUMENT_DIRECTORY, keys, 0, &d);
    cr_assert_eq(document_signed(&d, &p.r, p.r.directory, &why), ERR_BAD_SIGNATURE);
    document_fini(&d);

    signed_by(dir, DOCUMENT_DIRECTORY, keys, 1, &d);
    cr_assert_eq(document_count(&d, &p.r, p.r.directory, &found, &why), ERR_OK);
    cr_assert_eq(found.count, 1);
    cr_assert_eq(found.threshold, 2);
    cr_assert_eq(document_signed(&d, &p.r, p.r.directory, &why), ERR_BAD_SIGNATURE);
    cr_assert_not_null(strstr(why.text, "1 of 2"));
    /* The same signature again does not make two. */
    if (count_with_repeated_signature(&d, &p.r, &count) == ERR_OK)
        cr_assert_eq(count, 1);
    document_fini(&d);

    signed_by(dir, DOCUMENT_DIRECTORY, keys, 2, &d);
    cr_assert_eq(document_signed(&d, &p.r, p.r.directory, &why), ERR_OK);
    document_fini(&d);

    /* A key of another role does not count. */
    const struct secret *other[] = {f->root_keys[2], f->timestamp_key};
    signed_by(dir, DOCUMENT_DIRECTORY, other, 2, &d);
    cr_assert_eq(document_signed(&d, &p.r, p.r.directory, &why), ERR_BAD_SIGNATURE);
    document_fini(&d);
    document_fini(&base);
    document_fini(&p.d);
}

Test(documents, an_altered_signature_of_the_role_is_told)
{
    struct root_parts p;
    struct document d = {0};
    struct buf bytes;
    root_of(&p);
    buf_init(&bytes, LIMIT_DOCUMENT);
    buf_put(&bytes, buf_span(&f->directory));
    /* The last signature ends with its key id (32 digits); before that lies the signature. */
    bytes.data[bytes.len - 40] ^= 1;
    cr_assert_eq(document_read(DOCUMENT_DIRECTORY, buf_span(&bytes), &d, &why), ERR_OK);
    cr_assert_eq(document_signed(&d, &p.r, p.r.directory, &why), ERR_BAD_SIGNATURE);
    document_fini(&d);
    buf_fini(&bytes);
    document_fini(&p.d);
}

Test(documents, a_root_follows_with_both_thresholds)
{
    struct root_parts p;
    struct document next = {0};
    const struct secret *two[] = {f->root_keys[0], f->root_keys[1]};
    root_of(&p);
    cr_assert_eq(root_self_signed(&p.d, &why), ERR_OK);
    p.r.version = 2;
    signed_by(&p.r, DOCUMENT_ROOT, two, 2, &next);
    cr_assert_eq(root_succeeds(&p.d, &next, &why), ERR_OK);
    cr_assert_eq(root_succeeds(&next, &p.d, &why), ERR_REPLAY);
    cr_assert_eq(root_succeeds(&next, &next, &why), ERR_REPLAY);
    document_fini(&next);

    signed_by(&p.r, DOCUMENT_ROOT, two, 1, &next);
    cr_assert_eq(root_succeeds(&p.d, &next, &why), ERR_BAD_SIGNATURE);
    document_fini(&next);

    p.r.version = 3;
    signed_by(&p.r, DOCUMENT_ROOT, two, 2, &next);
    cr_assert_eq(root_succeeds(&p.d, &next, &why), ERR_NOT_FOUND);
    document_fini(&next);

    p.r.version = 2;
    p.r.federation = pb_string("nordic.example");
    signed_by(&p.r, DOCUMENT_ROOT, two, 2, &next);
    cr_assert_eq(root_succeeds(&p.d, &next, &why), ERR_WRONG_USAGE);
    document_fini(&next);

    /* The old keys agree, but the new root asks for three of its own. */
    p.r.federation = pb_string(FEDERATION_NAME);
    p.root.threshold = 3;
    signed_by(&p.r, DOCUMENT_ROOT, two, 2, &next);
    cr_assert_eq(root_succeeds(&p.d, &next, &why), ERR_BAD_SIGNATURE);
    cr_assert_not_null(strstr(why.text, "2 of 3"));
    document_fini(&next);
    document_fini(&p.d);
}

Test(documents, new_keys_alone_do_not_make_the_next_root)
{
    struct document ours = {0}, theirs = {0}, next = {0};
    struct test_env other_env;
    struct federation *other;
    test_env_init(&other_env, 42);
    cr_assert_eq(federation_new(&other_env.env, 1, &other), ERR_OK);
    cr_assert_eq(document_read(DOCUMENT_ROOT, buf_span(&f->root), &ours, &why), ERR_OK);
    cr_assert_eq(document_read(DOCUMENT_ROOT, buf_span(&other->root), &theirs, &why), ERR_OK);
    Sp__Root r = *document_root(&theirs);
    const struct secret *new_keys[] = {other->root_keys[0], other->root_keys[1]};
    r.version = 2;
    signed_by(&r, DOCUMENT_ROOT, new_keys, 2, &next);
    cr_assert_eq(root_self_signed(&next, &why), ERR_OK);
    cr_assert_eq(root_succeeds(&ours, &next, &why), ERR_BAD_SIGNATURE);
    cr_assert_not_null(strstr(why.text, "by the keys of version 1"));
    document_fini(&ours);
    document_fini(&theirs);
    document_fini(&next);
    federation_free(other);
}

/* --- timestamp and statement --- */

Test(documents, every_rule_of_the_timestamp_is_held)
{
    struct document d = {0};
    cr_assert_eq(document_read(DOCUMENT_TIMESTAMP, buf_span(&f->timestamp), &d, &why), ERR_OK);
    const Sp__Timestamp good = *document_timestamp(&d);
    Sp__Timestamp t = good;
    cr_assert_eq(timestamp_check(&t, &why), ERR_OK);
    t.expires_ms = t.issued_ms + LIMIT_TIMESTAMP_MS + 1;
    cr_assert_eq(timestamp_check(&t, &why), ERR_MALFORMED);
    t = good;
    t.root_version = 0;
    cr_assert_eq(timestamp_check(&t, &why), ERR_MALFORMED);
    t = good;
    t.directory_version = 0;
    cr_assert_eq(timestamp_check(&t, &why), ERR_MALFORMED);
    t = good;
    t.directory_sha256.len = 31;
    cr_assert_eq(timestamp_check(&t, &why), ERR_MALFORMED);
    t = good;
    t.revocations_version = 1;
    cr_assert_eq(timestamp_check(&t, &why), ERR_VERSION);
    t = good;
    t.federation = pb_string("");
    cr_assert_eq(timestamp_check(&t, &why), ERR_MALFORMED);
    document_fini(&d);
}

static Sp__Statement statement;
static Sp__EncryptionKey statement_keys[LIMIT_STATEMENT_KEYS + 1];
static Sp__EncryptionKey *statement_list[LIMIT_STATEMENT_KEYS + 1];
static uint8_t statement_public[LIMIT_STATEMENT_KEYS + 1][32];
static struct key_id statement_ids[LIMIT_STATEMENT_KEYS + 1];
static Sp__CurveKey statement_curve;
static Sp__CurveKey *statement_curves[] = {&statement_curve};

static void make_statement(size_t n)
{
    sp__statement__init(&statement);
    sp__curve_key__init(&statement_curve);
    for (size_t i = 0; i < n; i++) {
        statement_public[i][0] = (uint8_t)(i + 1);
        statement_ids[i] = key_id_of(KEY_LABEL_SUITE_1, span_of(statement_public[i], 32));
        sp__encryption_key__init(&statement_keys[i]);
        statement_keys[i].suite = 1;
        statement_keys[i].key_id = bytes_of(statement_ids[i].b, 16);
        statement_keys[i].public_key = bytes_of(statement_public[i], 32);
        statement_keys[i].not_before_ms = 10;
        statement_keys[i].not_after_ms = 20;
        statement_list[i] = &statement_keys[i];
    }
    statement_curve.public_key = bytes_of(zeros, 32);
    statement_curve.not_after_ms = 20;
    statement.agency = pb_string("EE.POLICE");
    statement.serial = 1;
    statement.issued_ms = 10;
    statement.expires_ms = 10 + LIMIT_STATEMENT_MS;
    statement.keys = statement_list;
    statement.n_keys = n;
    statement.transport = statement_curves;
    statement.n_transport = 1;
    statement.log_key = bytes_of(zeros, 32);
}

static void statement_refused(enum err e, const char *words)
{
    enum err got = statement_check(&statement, &why);
    cr_assert_eq(got, e, "%s: %s", words, err_code(got));
    cr_assert_not_null(strstr(why.text, words), "%s", why.text);
    make_statement(2);
}

Test(documents, every_rule_of_the_statement_is_held)
{
    make_statement(LIMIT_STATEMENT_KEYS);
    cr_assert_eq(statement_check(&statement, &why), ERR_OK);
    make_statement(LIMIT_STATEMENT_KEYS + 1);
    statement_refused(ERR_MALFORMED, "encryption keys");
    statement.n_keys = 0;
    statement_refused(ERR_MALFORMED, "encryption keys");
    statement.agency = pb_string("riga");
    statement_refused(ERR_MALFORMED, "agency");
    statement.serial = 0;
    statement_refused(ERR_MALFORMED, "serials");
    statement.expires_ms++;
    statement_refused(ERR_MALFORMED, "validity");
    statement_keys[1].suite = 2;
    statement_refused(ERR_VERSION, "suite 2");
    statement_keys[1].key_id = statement_keys[0].key_id;
    statement_refused(ERR_MALFORMED, "not that of its key");
    statement_list[1] = &statement_keys[0];
    statement_refused(ERR_NON_CANONICAL, "there twice");
    statement_keys[0].not_after_ms = 10;
    statement_refused(ERR_MALFORMED, "never valid");
    statement_keys[0].not_before_ms = 11;
    statement_refused(ERR_NON_CANONICAL, "sorted by start");
    statement_keys[0].last_resort = statement_keys[1].last_resort = true;
    statement_refused(ERR_MALFORMED, "last resort");
    statement.n_transport = 0;
    statement_refused(ERR_MALFORMED, "transport keys");
    statement_curve.public_key = statement_keys[0].public_key;
    statement_refused(ERR_WRONG_USAGE, "transport and encryption");
    statement.log_key.len = 31;
    statement_refused(ERR_MALFORMED, "log key");
}

Test(documents, names)
{
    static const struct {
        bool (*is)(const char *);
        const char *text;
        bool ok;
    } rows[] = {
        {name_is_code, "H0", true},
        {name_is_code, "", false},
        {name_is_code, "0H", false},
        {name_is_code, "H-12345678901234", false},
        {name_is_code, "H-1234567890123", true},
        {name_is_group, "b", true},
        {name_is_group, "-b", false},
        {name_is_group, "B", false},
        {name_is_domain, "a.b", true},
        {name_is_domain, "a", false},
        {name_is_domain, "a..b", false},
        {name_is_domain, ".a.b", false},
        {name_is_domain, "a.b.", false},
        {name_is_domain, "-a.b", false},
        {name_is_domain, "a-.b", false},
        {name_is_domain, "A.b", false},
        {name_is_domain, "a_b.c", false},
        {name_is_domain, "a.b/c", false},
        {name_is_domain, "a.b\n", false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        cr_assert_eq(rows[i].is(rows[i].text), rows[i].ok, "\"%s\"", rows[i].text);
    char label[66 + 3];
    memset(label, 'a', sizeof(label));
    memcpy(label + 63, ".b", 3);
    cr_assert(name_is_domain(label));
    memset(label, 'a', sizeof(label));
    memcpy(label + 64, ".b", 3);
    cr_assert(!name_is_domain(label));
}

Test(documents, the_timestamps_version_follows_the_clock_and_never_goes_back)
{
    struct document directory = {0}, made = {0};
    struct buf bytes;
    buf_init(&bytes, LIMIT_DOCUMENT);
    cr_assert_eq(document_read(DOCUMENT_DIRECTORY, buf_span(&f->directory), &directory, &why),
                 ERR_OK);
    const uint64_t previous[] = {0, env.now_ms / 1000, env.now_ms};
    const uint64_t want[] = {env.now_ms / 1000, env.now_ms / 1000 + 1, env.now_ms + 1};
    for (size_t i = 0; i < 3; i++) {
        buf_reset(&bytes);
        cr_assert_eq(issue_timestamp(&env.env, 1, &directory, previous[i], 1000, f->timestamp_key,
                                     &bytes, &why),
                     ERR_OK);
        cr_assert_eq(document_read(DOCUMENT_TIMESTAMP, buf_span(&bytes), &made, &why), ERR_OK);
        cr_assert_eq(document_timestamp(&made)->version, want[i]);
        document_fini(&made);
    }
    document_fini(&directory);
    buf_fini(&bytes);
}
