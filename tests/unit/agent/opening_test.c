/* Drafting and opening face each other: what one makes the other must take, and nothing else. */
#include "agent/drafting.h"
#include "agent/opening.h"
#include "tests/lib/federation.h"
#include "tests/lib/leaks.h"

#include "common/limits.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(opening, .fini = leaks_check, .timeout = 60);

/* EE.POLICE seals, LV.POLICE opens. */
struct bench {
    struct test_env env;
    struct federation *federation;
    struct federation_agency *sender;
    struct federation_agency *recipient;
    struct keyring *keyring;
    struct vault *vault;
    struct opener *opener;
    char dir[64];
    struct part_dir *parts;
    struct secret *file_key;
    /* What is sealed by seal_content. */
    Sp__Content content;
    const char *codes[2];
    size_t n_codes;
    size_t extra_parts;
    uint64_t extra_len;
    bool bad_padding;
    struct envelope *envelope;
    Sp__Transfer transfer;
    Sp__InlinePart body;
    Sp__InlinePart *list[1];
    struct buf sealed;
};

static void bench_init(struct bench *b)
{
    struct opener_options options;

    memset(b, 0, sizeof *b);
    test_env_init(&b->env, 3);
    cr_assert_eq(federation_new(&b->env.env, 3, &b->federation), ERR_OK);
    b->sender = federation_agency(b->federation, "EE.POLICE");
    b->recipient = federation_agency(b->federation, "LV.POLICE");
    snprintf(b->dir, sizeof b->dir, "/tmp/sealpost-opening-XXXXXX");
    cr_assert_not_null(mkdtemp(b->dir));
    cr_assert_eq(part_dir_open(b->dir, &b->parts), ERR_OK);
    cr_assert_eq(vault_new(b->recipient->storage, &b->vault), ERR_OK);
    cr_assert_eq(keyring_new(&b->keyring), ERR_OK);
    cr_assert_eq(keyring_add(b->keyring, b->recipient->encrypt[0]), ERR_OK);
    options = (struct opener_options){.env = &b->env.env,
                                      .agency = "LV.POLICE",
                                      .keyring = b->keyring,
                                      .vault = b->vault,
                                      .parts = b->parts};
    cr_assert_eq(opener_new(&options, &b->opener), ERR_OK);
    cr_assert_eq(secret_random(&b->env.env, FILE_KEY, &b->file_key), ERR_OK);
    sp__content__init(&b->content);
    b->content.kind = SP__KIND__KIND_INFORMATION;
    b->content.subject = pb_string("Lorry");
    b->content.text = pb_string("000 ZZZ");
    b->content.officer = pb_string("duty");
    b->codes[0] = "H0";
    b->n_codes = 1;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static void forget_envelope(struct bench *b)
{
    envelope_free(b->envelope);
    b->envelope = NULL;
    buf_fini(&b->sealed);
}

static void bench_fini(struct bench *b)
{
    forget_envelope(b);
    secret_free(b->file_key);
    opener_free(b->opener);
    keyring_free(b->keyring);
    vault_free(b->vault);
    part_dir_close(b->parts);
    (void)nftw(b->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    federation_free(b->federation);
}

/* Seals an envelope over these parts. */
static void seal_parts(struct bench *b, const struct envelope_part *parts, size_t n)
{
    struct trust_encryption key;
    struct seal_recipient to = {.agency = "LV.POLICE", .seq = 1};
    struct seal_input in = {.recipients = &to, .n_recipients = 1, .parts = parts, .n_parts = n};
    struct wrap_pool *pool;
    struct sealed *sealed;
    struct buf bytes;
    struct buf *outs[] = {&bytes};

    cr_assert_eq(trust_encryption_key(b->federation->trust, "LV.POLICE", 1, b->env.now_ms, &key),
                 ERR_OK);
    to.key_id = key.key_id;
    memcpy(to.public_key, key.public_key, sizeof to.public_key);
    in.header = (struct envelope_header){.suite = 1,
                                         .id = uuid_v7(&b->env.env, b->env.now_ms),
                                         .created_ms = b->env.now_ms,
                                         .expires_ms = b->env.now_ms + 1000,
                                         .sender = "EE.POLICE",
                                         .agent = "main",
                                         .key_id = b->sender->sign_id,
                                         .handling = b->codes,
                                         .n_handling = b->n_codes,
                                         .level = SP__LEVEL__LEVEL_BPL,
                                         .urgency = SP__URGENCY__URGENCY_NORMAL,
                                         .directory_version = 1};
    in.file_key = b->file_key;
    cr_assert_eq(wrap_pool_new(&b->env.env, &pool), ERR_OK);
    cr_assert_eq(seal(pool, &in, &sealed), ERR_OK);
    buf_init(&bytes, LIMIT_ENVELOPE);
    cr_assert_eq(seal_sign(&sealed, 1, b->sender->sign, outs), ERR_OK);
    cr_assert_eq(envelope_decode(buf_span(&bytes), &b->envelope), ERR_OK);
    buf_fini(&bytes);
    sealed_free(sealed);
    wrap_pool_free(pool);
}

static void seal_plain(struct bench *b, struct span padded)
{
    struct envelope_part parts[3] = {{.kind = SP__PART_KIND__PART_KIND_BODY}};

    forget_envelope(b);
    buf_init(&b->sealed, 2 * LIMIT_BODY);
    cr_assert_eq(part_seal(&b->env.env, b->file_key, padded, &b->sealed, &parts[0].sha256), ERR_OK);
    parts[0].ct_len = b->sealed.len;
    for (size_t i = 1; i <= b->extra_parts; i++)
        parts[i] = (struct envelope_part){.kind = SP__PART_KIND__PART_KIND_ATTACHMENT,
                                          .ct_len = part_sealed_len(b->extra_len)};
    seal_parts(b, parts, 1 + b->extra_parts);
    sp__transfer__init(&b->transfer);
    sp__inline_part__init(&b->body);
    b->body.data = pb_bytes(buf_span(&b->sealed));
    b->list[0] = &b->body;
    b->transfer.envelope = pb_bytes(envelope_bytes(b->envelope));
    b->transfer.parts = b->list;
    b->transfer.n_parts = 1;
}

static void seal_bytes(struct bench *b, struct span content)
{
    struct buf padded;

    buf_init(&padded, 2 * LIMIT_BODY);
    body_pad(content, &padded);
    if (b->bad_padding)
        padded.data[padded.len - 1] = 1;
    seal_plain(b, buf_span(&padded));
    buf_fini(&padded);
}

static void seal_content(struct bench *b)
{
    struct buf bytes;

    buf_init(&bytes, LIMIT_BODY);
    pb_encode(&b->content, &bytes);
    cr_assert_eq(bytes.err, ERR_OK);
    seal_bytes(b, buf_span(&bytes));
    buf_fini(&bytes);
}

static void expect(struct bench *b, enum err e)
{
    struct opened *o = opening_open(b->opener, b->envelope, &b->transfer, b->federation->trust);

    cr_assert_not_null(o);
    cr_assert_eq(o->verdict, e, "%s instead of %s: %s", err_code(o->verdict), err_code(e), o->rule);
    opened_free(o);
}

Test(opening, what_is_kept)
{
    struct bench b;
    uint8_t room[OPENING_NAME];
    struct opened *o;
    struct secret *key;
    struct span name;
    struct buf plain;
    struct pb *summary;
    struct pb *content;
    const Sp__Message *m;

    bench_init(&b);
    b.content.case_ = pb_string("EE-1");
    seal_content(&b);
    o = opening_open(b.opener, b.envelope, &b.transfer, b.federation->trust);
    cr_assert_eq(o->verdict, ERR_OK, "%s", o->rule);
    name = opening_name(&envelope_header(b.envelope)->id, "EE.POLICE", room);
    cr_assert_eq(vault_open_key(b.vault, name, buf_span(&o->sealed_key), &key), ERR_OK);
    cr_assert(secret_equal(key, b.file_key));
    buf_init(&plain, LIMIT_MIB);
    cr_assert_eq(vault_open(b.vault, name, buf_span(&o->summary), &plain), ERR_OK);
    cr_assert_eq(pb_decode(&sp__message__descriptor, buf_span(&plain), LIMIT_MIB, &summary),
                 ERR_OK);
    m = pb_view(summary);
    cr_assert_str_eq(m->subject, "Lorry");
    cr_assert_str_eq(m->case_, "EE-1");
    cr_assert_str_eq(m->from, "EE.POLICE");
    cr_assert_str_eq(m->direction, "in");
    cr_assert_str_empty(m->text, "a summary has no text");
    /* The content again, as an officer reads it. */
    cr_assert_eq(opening_content(b.parts, b.envelope, &b.transfer, key, &content), ERR_OK);
    cr_assert_str_eq(((const Sp__Content *)pb_view(content))->text, "000 ZZZ");
    pb_free(content);
    b.body.data.data[20] ^= 1;
    cr_assert_eq(opening_content(b.parts, b.envelope, &b.transfer, key, &content), ERR_CORRUPT);
    pb_free(summary);
    buf_fini(&plain);
    secret_free(key);
    opened_free(o);
    bench_fini(&b);
}

Test(opening, what_does_not_open)
{
    struct bench b;
    struct secret *right;
    uint8_t room[1024] = {0};

    bench_init(&b);
    seal_content(&b);
    expect(&b, ERR_OK);
    b.body.data.data[17] ^= 1;
    expect(&b, ERR_BAD_DIGEST);
    b.body.data.data[17] ^= 1;
    b.body.data.len--;
    expect(&b, ERR_BAD_DIGEST);
    b.bad_padding = true;
    seal_content(&b);
    expect(&b, ERR_NON_CANONICAL);
    b.bad_padding = false;
    seal_bytes(&b, span_str("\x0a\x09"));
    expect(&b, ERR_MALFORMED);
    seal_plain(&b, span_of(room, 1024)); /* padding around nothing: a content without a kind */
    expect(&b, ERR_MALFORMED);
    /* The body was sealed under another key than the one that was wrapped. */
    right = b.file_key;
    cr_assert_eq(secret_random(&b.env.env, FILE_KEY, &b.file_key), ERR_OK);
    seal_content(&b);
    {
        struct buf other;
        struct digest sha256;
        struct buf padded;

        buf_init(&padded, LIMIT_BODY);
        buf_init(&other, LIMIT_BODY);
        body_pad(span_str(""), &padded);
        cr_assert_eq(part_seal(&b.env.env, right, buf_span(&padded), &other, &sha256), ERR_OK);
        b.body.data = pb_bytes(buf_span(&other));
        expect(&b, ERR_BAD_DIGEST);
        buf_fini(&padded);
        buf_fini(&other);
    }
    secret_free(right);
    bench_fini(&b);
}

Test(opening, content_that_breaks_a_rule)
{
    struct bench b;
    Sp__Attachment a = SP__ATTACHMENT__INIT;
    Sp__Attachment *list[] = {&a};
    uint8_t digest[32] = {0};

    bench_init(&b);
    b.content.subject = pb_string("");
    seal_content(&b);
    expect(&b, ERR_MALFORMED);
    b.content.subject = pb_string("s");
    b.codes[0] = "H3";
    seal_content(&b);
    expect(&b, ERR_CODE_TEXT_MISSING);
    b.codes[0] = "H0";
    /* Attachments are the parts, one by one. */
    b.extra_parts = 1;
    b.extra_len = 5;
    seal_content(&b);
    expect(&b, ERR_MALFORMED);
    a.name = pb_string("a");
    a.media_type = pb_string("text/plain");
    a.sha256 = pb_bytes(span_of(digest, sizeof digest));
    a.size = 5;
    b.content.attachments = list;
    b.content.n_attachments = 1;
    seal_content(&b);
    expect(&b, ERR_OK);
    a.size = 4;
    seal_content(&b);
    expect(&b, ERR_MALFORMED);
    b.extra_parts = 0;
    a.size = 5;
    seal_content(&b);
    expect(&b, ERR_MALFORMED);
    bench_fini(&b);
}

Test(opening, keys_that_are_gone)
{
    struct bench b;
    struct opener_options options;
    struct opener *other;
    struct keyring *empty;
    struct opened *o;

    bench_init(&b);
    seal_content(&b);
    cr_assert_eq(keyring_new(&empty), ERR_OK);
    options = (struct opener_options){.env = &b.env.env,
                                      .agency = "LV.POLICE",
                                      .keyring = empty,
                                      .vault = b.vault,
                                      .parts = b.parts};
    cr_assert_eq(opener_new(&options, &other), ERR_OK);
    o = opening_open(other, b.envelope, &b.transfer, b.federation->trust);
    cr_assert_eq(o->verdict, ERR_WRONG_USAGE);
    opened_free(o);
    opener_free(other);
    options.keyring = b.keyring;
    options.agency = "LV.CUSTOMS";
    cr_assert_eq(opener_new(&options, &other), ERR_OK);
    o = opening_open(other, b.envelope, &b.transfer, b.federation->trust);
    cr_assert_eq(o->verdict, ERR_NOT_A_RECIPIENT);
    opened_free(o);
    opener_free(other);
    keyring_free(empty);
    bench_fini(&b);
}

Test(opening, keyring)
{
    struct test_env env;
    struct keyring *k;
    struct secret *key;
    const struct secret *found;
    struct key_id id = {0};

    test_env_init(&env, 1);
    cr_assert_eq(keyring_new(&k), ERR_OK);
    cr_assert_eq(keyring_find(k, &id, &found), ERR_NOT_FOUND);
    for (size_t i = 0; i <= LIMIT_STATEMENT_KEYS; i++) {
        cr_assert_eq(secret_random(&env.env, 32, &key), ERR_OK);
        cr_assert_eq(keyring_add(k, key), i < LIMIT_STATEMENT_KEYS ? ERR_OK : ERR_FULL);
        cr_assert_eq(keyring_count(k), i < LIMIT_STATEMENT_KEYS ? i + 1 : i);
        if (i < LIMIT_STATEMENT_KEYS) {
            uint8_t public_key[32];

            cr_assert_eq(x25519_public_of(key, public_key), ERR_OK);
            id = key_id_of(KEY_LABEL_SUITE_1, span_of(public_key, 32));
            cr_assert_eq(keyring_find(k, &id, &found), ERR_OK);
        }
        secret_free(key);
    }
    keyring_free(k);
    keyring_free(NULL);
}

/* A body in a file: not to be opened before it is there. */
Test(opening, a_large_body)
{
    struct bench b;
    char *text = malloc(400000);
    struct part_writer *w;
    struct digest sha256;
    uint64_t len;

    memset(text, 'x', 399999);
    text[399999] = '\0';
    bench_init(&b);
    b.content.text = text;
    seal_content(&b);
    b.transfer.n_parts = 0;
    cr_assert(opening_waits(b.opener, b.envelope, &b.transfer));
    expect(&b, ERR_UNAVAILABLE);
    cr_assert_eq(part_writer_new(b.parts, &b.env.env, &w), ERR_OK);
    cr_assert_eq(part_writer_put(w, buf_span(&b.sealed)), ERR_OK);
    cr_assert_eq(part_writer_finish(w, &sha256, &len), ERR_OK);
    part_writer_free(w);
    cr_assert_not(opening_waits(b.opener, b.envelope, &b.transfer));
    expect(&b, ERR_OK);
    free(text);
    bench_fini(&b);
}
