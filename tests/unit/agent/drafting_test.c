#include "agent/drafting.h"
#include "tests/lib/federation.h"
#include "tests/lib/leaks.h"

#include "agent/opening.h"
#include "common/limits.h"
#include "proto/pb.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(drafting, .fini = leaks_check, .timeout = 60);

struct table {
    struct test_env env;
    struct federation *federation;
    struct vault *vault;
    char dir[64];
    struct part_dir *parts;
    struct drafting_original original;
    struct drafting_options options;
    Sp__SendRequest q;
    char *to[LIMIT_RECIPIENTS + 2];
    char *codes[LIMIT_HANDLING + 2];
    Sp__DraftAttachment attachments[LIMIT_PARTS];
    Sp__DraftAttachment *list[LIMIT_PARTS];
    struct drafting *d;
    const struct agent_draft *draft;
    char why[CONTENT_RULE];
};

static void table_init(struct table *t)
{
    memset(t, 0, sizeof *t);
    test_env_init(&t->env, 5);
    cr_assert_eq(federation_new(&t->env.env, 3, &t->federation), ERR_OK);
    snprintf(t->dir, sizeof t->dir, "/tmp/sealpost-drafting-XXXXXX");
    cr_assert_not_null(mkdtemp(t->dir));
    cr_assert_eq(part_dir_open(t->dir, &t->parts), ERR_OK);
    cr_assert_eq(vault_new(federation_agency(t->federation, "EE.POLICE")->storage, &t->vault),
                 ERR_OK);
    t->options = (struct drafting_options){.env = &t->env.env,
                                           .vault = t->vault,
                                           .parts = t->parts,
                                           .trust = t->federation->trust,
                                           .agency = "EE.POLICE",
                                           .officer = "duty",
                                           .officer_name = "Duty Officer"};
    sp__send_request__init(&t->q);
    t->to[0] = pb_string("LV.POLICE");
    t->q.to = t->to;
    t->q.n_to = 1;
    t->q.handling = t->codes;
    t->q.kind = pb_string("information");
    t->q.subject = pb_string("Lorry");
    t->q.text = pb_string("000 ZZZ");
    for (size_t i = 0; i < LIMIT_PARTS; i++) {
        sp__draft_attachment__init(&t->attachments[i]);
        t->attachments[i].name = pb_string("a.bin");
        t->list[i] = &t->attachments[i];
    }
    t->q.attachments = t->list;
}

static void drop(struct table *t)
{
    drafting_free(t->d);
    t->d = NULL;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static void table_fini(struct table *t)
{
    drop(t);
    vault_free(t->vault);
    part_dir_close(t->parts);
    (void)nftw(t->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    federation_free(t->federation);
}

static void refused(struct table *t, enum err e)
{
    enum err got;

    drop(t);
    t->why[0] = '\0';
    got = drafting_new(&t->options, &t->q, &t->d, t->why);
    cr_assert_eq(got, e, "%s instead of %s: %s", err_code(got), err_code(e), t->why);
    cr_assert_neq(t->why[0], '\0', "%s without a word", err_code(e));
    t->d = NULL;
}

static void begin(struct table *t)
{
    enum err e;

    drop(t);
    e = drafting_new(&t->options, &t->q, &t->d, t->why);
    cr_assert_eq(e, ERR_OK, "%s: %s", err_code(e), t->why);
}

static void finish(struct table *t)
{
    cr_assert_eq(drafting_finish(t->d, &t->draft, t->why), ERR_OK, "%s", t->why);
}

static void make(struct table *t)
{
    begin(t);
    cr_assert_not(drafting_wants_data(t->d));
    finish(t);
}

/* What recipients will read. The caller frees `*pb`. */
static const Sp__Content *content_of(const struct table *t, struct pb **pb)
{
    struct buf plain;
    struct span content;

    cr_assert_geq(t->draft->n_inline_parts, 1);
    cr_assert_eq(t->draft->inline_parts[0]->index, 0);
    buf_init(&plain, 4 * LIMIT_BODY);
    cr_assert_eq(part_open(t->draft->file_key, pb_span(t->draft->inline_parts[0]->data), &plain),
                 ERR_OK);
    cr_assert_eq(body_unpad(buf_span(&plain), &content), ERR_OK);
    cr_assert_eq(pb_decode(&sp__content__descriptor, content, LIMIT_BODY, pb), ERR_OK);
    buf_fini(&plain);
    return pb_view(*pb);
}

static size_t files(const struct table *t)
{
    DIR *dir = opendir(t->dir);
    struct dirent *entry;
    size_t n = 0;

    while ((entry = readdir(dir)) != NULL)
        n += entry->d_name[0] != '.';
    closedir(dir);
    return n;
}

Test(drafting, defaults)
{
    struct table t;
    const Sp__Content *c;
    struct pb *pb;

    table_init(&t);
    make(&t);
    cr_assert_eq(t.draft->n_handling, 1);
    cr_assert_str_eq(t.draft->handling[0], "H0");
    cr_assert_eq(t.draft->level, SP__LEVEL__LEVEL_BPL);
    cr_assert_eq(t.draft->urgency, SP__URGENCY__URGENCY_NORMAL);
    cr_assert_eq(uuid_time_ms(&t.draft->id), t.env.now_ms);
    cr_assert_eq(t.draft->expires_ms, t.env.now_ms + LIMIT_EXPIRY_MS);
    cr_assert_eq(t.draft->n_parts, 1);
    cr_assert_str_eq(t.draft->officer, "duty");
    c = content_of(&t, &pb);
    cr_assert_eq(c->kind, SP__KIND__KIND_INFORMATION);
    cr_assert_str_eq(c->officer_name, "Duty Officer");
    cr_assert_str_empty(c->evaluation, "an evaluation is never defaulted");
    cr_assert_eq(c->completeness, SP__COMPLETENESS__COMPLETENESS_UNSPECIFIED);
    pb_free(pb);
    t.q.kind = pb_string("answer");
    make(&t);
    c = content_of(&t, &pb);
    cr_assert_eq(c->completeness, SP__COMPLETENESS__COMPLETENESS_FULL);
    pb_free(pb);
    table_fini(&t);
}

Test(drafting, words)
{
    struct table t;

    table_init(&t);
    t.q.kind = pb_string("");
    refused(&t, ERR_USAGE);
    cr_assert_not_null(strstr(t.why, "information"), "the words are told: %s", t.why);
    t.q.kind = pb_string("Information");
    refused(&t, ERR_USAGE);
    t.q.kind = pb_string("information");
    t.q.level = pb_string("secret");
    refused(&t, ERR_USAGE);
    t.q.level = pb_string("SECRET");
    make(&t); /* ceilings are the core's business */
    t.q.urgency = pb_string("soon");
    refused(&t, ERR_USAGE);
    t.q.urgency = pb_string("urgent");
    refused(&t, ERR_MALFORMED);
    t.q.ground = pb_string("danger to life");
    make(&t);
    t.q.completeness = pb_string("full");
    refused(&t, ERR_MALFORMED);
    t.q.kind = pb_string("answer");
    make(&t);
    t.q.completeness = pb_string("half");
    refused(&t, ERR_USAGE);
    t.q.completeness = pb_string("none");
    t.q.evaluation = pb_string("E1");
    refused(&t, ERR_MALFORMED);
    t.q.evaluation = pb_string("X4");
    make(&t);
    table_fini(&t);
}

Test(drafting, ids_and_spans)
{
    struct table t;
    char text[UUID_TEXT_SIZE];
    struct uuid id;

    table_init(&t);
    t.q.id = pb_string("1");
    refused(&t, ERR_USAGE);
    t.q.id = pb_string("6ba7b810-9dad-11d1-80b4-00c04fd430c8"); /* version 1 */
    refused(&t, ERR_USAGE);
    id = uuid_v7(&t.env.env, 12345);
    uuid_format(&id, text);
    t.q.id = text;
    t.q.expires_in_s = 60;
    make(&t);
    cr_assert(uuid_equal(&t.draft->id, &id));
    cr_assert_eq(t.draft->expires_ms, 12345 + 60000);
    for (uint64_t s = LIMIT_EXPIRY_MS / 1000 - 1; s <= LIMIT_EXPIRY_MS / 1000 + 1; s++) {
        t.q.expires_in_s = s;
        if (s > LIMIT_EXPIRY_MS / 1000)
            refused(&t, ERR_TOO_LARGE);
        else
            make(&t);
    }
    table_fini(&t);
}

Test(drafting, recipients)
{
    struct table t;

    table_init(&t);
    t.q.n_to = 0;
    refused(&t, ERR_USAGE);
    t.q.n_to = 3;
    t.to[0] = pb_string("LV.POLICE");
    t.to[1] = pb_string("LT.POLICE");
    t.to[2] = pb_string("LV.POLICE");
    make(&t);
    cr_assert_eq(t.draft->n_to, 2, "sorted and once");
    cr_assert_str_eq(t.draft->to[0], "LT.POLICE");
    cr_assert_str_eq(t.draft->to[1], "LV.POLICE");
    t.to[1] = pb_string("EE.POLICE");
    refused(&t, ERR_NOT_ALLOWED);
    t.to[1] = pb_string("lv.police");
    refused(&t, ERR_UNKNOWN_AGENCY);
    t.to[1] = pb_string("LV.COASTGUARD");
    refused(&t, ERR_UNKNOWN_AGENCY);
    cr_assert_not_null(strstr(t.why, "LV.COASTGUARD"));
    t.to[1] = pb_string("@nobody");
    refused(&t, ERR_UNKNOWN_AGENCY);
    cr_assert_not_null(strstr(t.why, "@nobody"));
    table_fini(&t);
}

static void add_group(void *ctx, Sp__Directory *d)
{
    static char *members[] = {(char *)"EE.POLICE", (char *)"LT.CUSTOMS", (char *)"LV.CUSTOMS"};
    static Sp__GroupEntry group;
    static Sp__GroupEntry *groups[] = {&group};

    (void)ctx;
    sp__group_entry__init(&group);
    group.name = pb_string("north");
    group.agencies = members;
    group.n_agencies = 3;
    d->groups = groups;
    d->n_groups = 1;
}

Test(drafting, groups)
{
    struct table t;

    table_init(&t);
    cr_assert_eq(federation_edit(t.federation, add_group, NULL), ERR_OK);
    t.options.trust = t.federation->trust;
    t.to[0] = pb_string("@north");
    t.to[1] = pb_string("LV.CUSTOMS");
    t.q.n_to = 2;
    make(&t);
    cr_assert_eq(t.draft->n_to, 2, "its members, once, without ourselves");
    cr_assert_str_eq(t.draft->to[0], "LT.CUSTOMS");
    cr_assert_str_eq(t.draft->to[1], "LV.CUSTOMS");
    table_fini(&t);
}

Test(drafting, too_many_recipients)
{
    static char names[LIMIT_RECIPIENTS + 1][16];
    struct table t;

    table_init(&t);
    for (size_t i = 0; i <= LIMIT_RECIPIENTS; i++) {
        snprintf(names[i], sizeof names[i], "LV.A%zu", i);
        t.to[i] = names[i];
    }
    t.q.n_to = LIMIT_RECIPIENTS + 1;
    refused(&t, ERR_TOO_LARGE);
    t.q.n_to = LIMIT_RECIPIENTS;
    refused(&t, ERR_UNKNOWN_AGENCY); /* not for their number */
    table_fini(&t);
}

Test(drafting, handling)
{
    struct table t;

    table_init(&t);
    t.codes[0] = pb_string("H2");
    t.codes[1] = pb_string("H1");
    t.codes[2] = pb_string("H2");
    t.q.n_handling = 3;
    make(&t);
    cr_assert_eq(t.draft->n_handling, 2);
    cr_assert_str_eq(t.draft->handling[0], "H1");
    t.codes[2] = pb_string("H0");
    refused(&t, ERR_HANDLING_NOT_ALLOWED);
    cr_assert_not_null(strstr(t.why, "H0"));
    t.codes[2] = pb_string("H9");
    refused(&t, ERR_HANDLING_NOT_ALLOWED);
    t.codes[2] = pb_string("H3");
    refused(&t, ERR_CODE_TEXT_MISSING);
    t.q.handling_text = pb_string("by hand only");
    make(&t);
    for (size_t i = 0; i <= LIMIT_HANDLING; i++)
        t.codes[i] = pb_string("H1");
    t.q.n_handling = LIMIT_HANDLING;
    make(&t);
    t.q.n_handling = LIMIT_HANDLING + 1;
    refused(&t, ERR_TOO_LARGE);
    table_fini(&t);
}

Test(drafting, reply)
{
    static const char *const sender[] = {"LT.POLICE"};
    char long_subject[LIMIT_SUBJECT + 1];
    struct table t;
    const Sp__Content *c;
    struct pb *pb;

    table_init(&t);
    t.original = (struct drafting_original){.id = uuid_v7(&t.env.env, t.env.now_ms),
                                            .to = sender,
                                            .n_to = 1,
                                            .case_name = "LT-7",
                                            .subject = "Whose lorry?"};
    t.options.original = &t.original;
    t.q.kind = pb_string("answer");
    t.q.n_to = 0;
    t.q.subject = pb_string("");
    make(&t);
    cr_assert_eq(t.draft->n_to, 1);
    cr_assert_str_eq(t.draft->to[0], "LT.POLICE");
    c = content_of(&t, &pb);
    cr_assert_str_eq(c->subject, "Re: Whose lorry?");
    cr_assert_str_eq(c->case_, "LT-7");
    cr_assert(span_equal(pb_span(c->reply_to), uuid_bytes(&t.original.id)));
    pb_free(pb);
    /* Not twice, and cut at a character. */
    t.original.subject = "Re: Whose lorry?";
    make(&t);
    c = content_of(&t, &pb);
    cr_assert_str_eq(c->subject, "Re: Whose lorry?");
    pb_free(pb);
    for (size_t i = 0; i < LIMIT_SUBJECT; i += 2)
        memcpy(long_subject + i, "\xc3\xb5", 2);
    long_subject[0] = long_subject[1] = 'x';
    long_subject[LIMIT_SUBJECT - 1] = '\0';
    long_subject[LIMIT_SUBJECT - 2] = 'x';
    t.original.subject = long_subject;
    make(&t);
    c = content_of(&t, &pb);
    cr_assert_leq(strlen(c->subject), LIMIT_SUBJECT);
    cr_assert_geq(strlen(c->subject), LIMIT_SUBJECT - 1);
    pb_free(pb);
    /* What the officer says goes before. */
    t.q.n_to = 1;
    t.q.subject = pb_string("Other");
    t.q.case_ = pb_string("EE-1");
    make(&t);
    cr_assert_str_eq(t.draft->to[0], "LV.POLICE");
    c = content_of(&t, &pb);
    cr_assert_str_eq(c->subject, "Other");
    cr_assert_str_eq(c->case_, "EE-1");
    pb_free(pb);
    table_fini(&t);
}

static void put_all(struct table *t, size_t len, uint8_t fill)
{
    uint8_t *bytes = malloc(LIMIT_CHUNK);

    memset(bytes, fill, LIMIT_CHUNK);
    for (;;) {
        size_t n = len < LIMIT_CHUNK ? len : LIMIT_CHUNK;

        len -= n;
        cr_assert_eq(drafting_put(t->d, span_of(bytes, n), len == 0, t->why), ERR_OK, "%s", t->why);
        if (len == 0)
            break;
    }
    free(bytes);
}

/* Opens part `i` of the draft and checks its length and bytes. */
static void check_part(struct table *t, size_t i, size_t len, uint8_t fill)
{
    const struct envelope_part *part = &t->draft->parts[i];
    struct buf sealed;
    struct buf plain;

    buf_init(&sealed, part->ct_len);
    buf_init(&plain, len + 1);
    for (size_t j = 0; j < t->draft->n_inline_parts; j++) {
        if (t->draft->inline_parts[j]->index == i)
            buf_put(&sealed, pb_span(t->draft->inline_parts[j]->data));
    }
    while (sealed.len < part->ct_len) {
        uint8_t bytes[4096];
        size_t got;

        cr_assert_eq(part_dir_read(t->parts, &part->sha256, sealed.len, bytes, sizeof bytes, &got),
                     ERR_OK);
        buf_put(&sealed, span_of(bytes, got));
    }
    cr_assert_eq(part_open(t->draft->file_key, buf_span(&sealed), &plain), ERR_OK);
    cr_assert_eq(plain.len, len);
    for (size_t j = 0; j < len; j++)
        cr_assert_eq(plain.data[j], fill);
    buf_fini(&sealed);
    buf_fini(&plain);
}

Test(drafting, attachments_beside_and_in_files)
{
    static const size_t sizes[] = {0, 1000, 100000, 40000, 700000, 2000};
    const size_t n = sizeof sizes / sizeof sizes[0];
    struct table t;
    const Sp__Content *c;
    struct pb *pb;
    size_t beside = 0;

    table_init(&t);
    t.q.n_attachments = n;
    begin(&t);
    for (size_t i = 0; i < n; i++) {
        cr_assert(drafting_wants_data(t.d));
        cr_assert_eq(drafting_finish(t.d, &t.draft, t.why), ERR_MALFORMED);
        put_all(&t, sizes[i], (uint8_t)i);
    }
    cr_assert_not(drafting_wants_data(t.d));
    cr_assert_eq(drafting_put(t.d, span_str("x"), true, t.why), ERR_MALFORMED);
    finish(&t);
    cr_assert_eq(t.draft->n_parts, n + 1);
    for (size_t j = 0; j < t.draft->n_inline_parts; j++) {
        beside += t.draft->inline_parts[j]->data.len;
        cr_assert(j == 0 || t.draft->inline_parts[j - 1]->index < t.draft->inline_parts[j]->index);
    }
    cr_assert_leq(beside, LIMIT_INLINE_PARTS);
    cr_assert_eq(t.draft->n_inline_parts, 5, "what fits goes beside: 0, 1000, 100000 and 2000");
    cr_assert_eq(files(&t), 2);
    c = content_of(&t, &pb);
    cr_assert_eq(c->n_attachments, n);
    for (size_t i = 0; i < n; i++) {
        check_part(&t, i + 1, sizes[i], (uint8_t)i);
        cr_assert_eq(c->attachments[i]->size, sizes[i]);
        cr_assert_str_eq(c->attachments[i]->media_type, "application/octet-stream");
    }
    pb_free(pb);
    drafting_drop_files(t.d);
    cr_assert_eq(files(&t), 0, "a draft that came to nothing leaves nothing");
    table_fini(&t);
}

Test(drafting, attachments_that_are_wrong)
{
    static uint8_t piece[LIMIT_CHUNK + 1];
    struct table t;

    table_init(&t);
    t.q.n_attachments = 1;
    t.attachments[0].size = 3;
    begin(&t);
    cr_assert_eq(drafting_put(t.d, span_str("four"), true, t.why), ERR_MALFORMED);
    cr_assert_not_null(strstr(t.why, "a.bin"));
    begin(&t);
    cr_assert_eq(drafting_put(t.d, span_of(piece, LIMIT_CHUNK + 1), false, t.why), ERR_TOO_LARGE);
    t.attachments[0].size = LIMIT_PART + 1;
    refused(&t, ERR_TOO_LARGE);
    t.attachments[0].name = pb_string("a/b");
    t.attachments[0].size = 0;
    refused(&t, ERR_MALFORMED);
    t.attachments[0].name = pb_string("b");
    t.attachments[0].media_type = pb_string("text");
    refused(&t, ERR_MALFORMED);
    t.attachments[0].media_type = pb_string("");
    t.q.n_attachments = LIMIT_PARTS;
    refused(&t, ERR_TOO_LARGE);
    t.q.n_attachments = LIMIT_PARTS - 1;
    begin(&t);
    /* Half an attachment: nothing is left of it. */
    cr_assert_eq(drafting_put(t.d, span_of(piece, LIMIT_CHUNK), false, t.why), ERR_OK);
    drop(&t);
    cr_assert_eq(files(&t), 0);
    table_fini(&t);
}

/* A body over the bound of what travels beside goes to a file, and the attachments have the room.
 */
Test(drafting, a_large_text)
{
    char *text = malloc(LIMIT_TEXT + 2);
    struct table t;

    memset(text, 'x', LIMIT_TEXT + 1);
    table_init(&t);
    t.q.text = text;
    text[LIMIT_TEXT + 1] = '\0';
    refused(&t, ERR_TOO_LARGE);
    text[LIMIT_TEXT] = '\0';
    t.q.n_attachments = 1;
    begin(&t);
    put_all(&t, 120000, 9);
    finish(&t);
    cr_assert_eq(t.draft->n_inline_parts, 1);
    cr_assert_eq(t.draft->inline_parts[0]->index, 1);
    cr_assert_eq(files(&t), 1);
    check_part(&t, 1, 120000, 9);
    free(text);
    table_fini(&t);
}

Test(drafting, equal_drafts)
{
    struct digest first;
    struct table t;
    struct vault *other;
    struct secret *storage;

    table_init(&t);
    t.q.n_attachments = 1;
    begin(&t);
    put_all(&t, 10, 1);
    finish(&t);
    first = t.draft->content_digest;
    test_env_advance(&t.env, 5000);
    begin(&t);
    put_all(&t, 10, 1);
    finish(&t);
    cr_assert(digest_equal(&first, &t.draft->content_digest), "time and keys make no difference");
    begin(&t);
    put_all(&t, 10, 2);
    finish(&t);
    cr_assert_not(digest_equal(&first, &t.draft->content_digest), "an attachment does");
    t.options.officer = "another";
    begin(&t);
    put_all(&t, 10, 1);
    finish(&t);
    cr_assert_not(digest_equal(&first, &t.draft->content_digest), "the officer does");
    t.options.officer = "duty";
    t.q.expires_in_s = 60;
    begin(&t);
    put_all(&t, 10, 1);
    finish(&t);
    cr_assert_not(digest_equal(&first, &t.draft->content_digest), "the expiry does");
    t.q.expires_in_s = 0;
    /* Without the storage key nobody can try texts against it. */
    cr_assert_eq(secret_random(&t.env.env, 32, &storage), ERR_OK);
    cr_assert_eq(vault_new(storage, &other), ERR_OK);
    t.options.vault = other;
    begin(&t);
    put_all(&t, 10, 1);
    finish(&t);
    cr_assert_not(digest_equal(&first, &t.draft->content_digest));
    vault_free(other);
    secret_free(storage);
    table_fini(&t);
}
