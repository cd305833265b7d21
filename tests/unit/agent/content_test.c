#include "agent/content.h"
#include "tests/lib/federation.h"
#include "tests/lib/leaks.h"

#include "proto/pb.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

TestSuite(content, .fini = leaks_check);

/* A federation's directory, and an information without anything special. */
struct sheet {
    struct test_env env;
    struct federation *federation;
    const char *codes[2];
    struct content_about about;
    Sp__Content content;
    Sp__Attachment attachments[LIMIT_PARTS];
    Sp__Attachment *attachment_list[LIMIT_PARTS];
    uint8_t digest[32];
    char rule[CONTENT_RULE];
};

static void sheet_init(struct sheet *s)
{
    memset(s, 0, sizeof *s);
    test_env_init(&s->env, 1);
    cr_assert_eq(federation_new(&s->env.env, 1, &s->federation), ERR_OK);
    s->codes[0] = "H0";
    s->about = (struct content_about){.from = "EE.POLICE",
                                      .handling = s->codes,
                                      .n_handling = 1,
                                      .level = SP__LEVEL__LEVEL_BPL,
                                      .urgency = SP__URGENCY__URGENCY_NORMAL};
    sp__content__init(&s->content);
    s->content.kind = SP__KIND__KIND_INFORMATION;
    s->content.subject = pb_string("Lorry");
    s->content.officer = pb_string("duty");
    s->content.attachments = s->attachment_list;
    for (size_t i = 0; i < LIMIT_PARTS; i++) {
        sp__attachment__init(&s->attachments[i]);
        s->attachments[i].name = pb_string("a.pdf");
        s->attachments[i].media_type = pb_string("application/pdf");
        s->attachments[i].sha256 = pb_bytes(span_of(s->digest, sizeof s->digest));
        s->attachment_list[i] = &s->attachments[i];
    }
}

static void sheet_fini(struct sheet *s)
{
    federation_free(s->federation);
}

static void expect(struct sheet *s, enum err e)
{
    enum err got;

    s->rule[0] = '\0';
    got = content_check(&s->content, &s->about, s->federation->trust, s->rule);
    cr_assert_eq(got, e, "%s instead of %s: %s", err_code(got), err_code(e), s->rule);
    cr_assert_eq(s->rule[0] != '\0', e != ERR_OK, "the rule is named");
}

/* `n` letters. */
static char *letters(size_t n)
{
    char *text = malloc(n + 1);

    memset(text, 'x', n);
    text[n] = '\0';
    return text;
}

/* At a limit of bytes: one more is too much. */
static void expect_limit(struct sheet *s, char **field, size_t max)
{
    char *before = *field;

    for (size_t n = max - 1; n <= max + 1; n++) {
        *field = letters(n);
        expect(s, n <= max ? ERR_OK : ERR_TOO_LARGE);
        free(*field);
    }
    *field = before;
}

Test(content, limits_of_texts)
{
    struct sheet s;

    sheet_init(&s);
    expect(&s, ERR_OK);
    expect_limit(&s, &s.content.subject, LIMIT_SUBJECT);
    expect_limit(&s, &s.content.text, LIMIT_TEXT);
    expect_limit(&s, &s.content.officer, LIMIT_OFFICER - 1);
    expect_limit(&s, &s.content.officer_name, LIMIT_OFFICER - 1);
    expect_limit(&s, &s.content.case_, LIMIT_CASE);
    expect_limit(&s, &s.content.handling_text, LIMIT_HANDLING_TEXT);
    expect_limit(&s, &s.content.ground, LIMIT_GROUND);
    sheet_fini(&s);
}

Test(content, what_must_be_there)
{
    struct sheet s;

    sheet_init(&s);
    s.content.subject = pb_string("");
    expect(&s, ERR_MALFORMED);
    s.content.subject = pb_string("a");
    expect(&s, ERR_OK);
    s.content.officer = pb_string("");
    expect(&s, ERR_MALFORMED);
    s.content.officer = pb_string("o");
    s.content.kind = SP__KIND__KIND_UNSPECIFIED;
    expect(&s, ERR_MALFORMED);
    sheet_fini(&s);
}

Test(content, one_line_is_one_line)
{
    static const char *const bad[] = {"a\nb",      "\x1b[31m",       "a\x7f",
                                      "a\xc2\x85", "a\xe2\x80\xa8z", "a\tb"};
    struct sheet s;

    sheet_init(&s);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        s.content.subject = pb_string(bad[i]);
        expect(&s, ERR_MALFORMED);
        s.content.subject = pb_string("a");
        s.content.case_ = pb_string(bad[i]);
        expect(&s, ERR_MALFORMED);
        s.content.case_ = pb_string("");
        s.content.officer_name = pb_string(bad[i]);
        expect(&s, ERR_MALFORMED);
        s.content.officer_name = pb_string("");
        s.content.text = pb_string(bad[i]);
        expect(&s, ERR_OK);
        s.content.text = pb_string("");
    }
    s.content.subject = pb_string("J\xc3\xb5gi / Se\xc5\xa1upe \xd7\xa9");
    expect(&s, ERR_OK);
    sheet_fini(&s);
}

Test(content, codes_and_urgency)
{
    struct sheet s;

    sheet_init(&s);
    s.codes[0] = "H1";
    s.codes[1] = "H3";
    s.about.n_handling = 2;
    expect(&s, ERR_CODE_TEXT_MISSING);
    cr_assert_not_null(strstr(s.rule, "H3"));
    s.content.handling_text = pb_string("only by hand");
    expect(&s, ERR_OK);
    s.about.n_handling = 1;
    s.content.handling_text = pb_string("");
    expect(&s, ERR_OK);
    for (int u = SP__URGENCY__URGENCY_URGENT; u <= SP__URGENCY__URGENCY_URGENT_DIRECT; u++) {
        s.about.urgency = (Sp__Urgency)u;
        s.content.ground = pb_string("");
        expect(&s, ERR_MALFORMED);
        s.content.ground = pb_string("danger to life");
        expect(&s, ERR_OK);
    }
    sheet_fini(&s);
}

Test(content, words)
{
    struct sheet s;
    uint8_t id[17] = {1, 2, 3, 4, 5, 6, 0x70, 8, 0x80};

    sheet_init(&s);
    s.content.completeness = SP__COMPLETENESS__COMPLETENESS_FULL;
    expect(&s, ERR_MALFORMED);
    s.content.kind = SP__KIND__KIND_ANSWER;
    expect(&s, ERR_OK);
    s.content.completeness = SP__COMPLETENESS__COMPLETENESS_UNSPECIFIED;
    expect(&s, ERR_MALFORMED);
    s.content.kind = SP__KIND__KIND_FEEDBACK;
    s.content.evaluation = pb_string("A1");
    expect(&s, ERR_OK);
    s.content.evaluation = pb_string("D1");
    expect(&s, ERR_MALFORMED);
    s.content.evaluation = pb_string("");
    s.content.reply_to = pb_bytes(span_of(id, 16));
    expect(&s, ERR_OK);
    s.content.reply_to = pb_bytes(span_of(id, 15));
    expect(&s, ERR_MALFORMED);
    s.content.reply_to = pb_bytes(span_of(id, 17));
    expect(&s, ERR_MALFORMED);
    id[6] = 0x40;
    s.content.reply_to = pb_bytes(span_of(id, 16));
    expect(&s, ERR_MALFORMED);
    sheet_fini(&s);
}

Test(content, attachments)
{
    struct sheet s;

    sheet_init(&s);
    for (size_t n = LIMIT_PARTS - 2; n <= LIMIT_PARTS; n++) {
        s.content.n_attachments = n;
        expect(&s, n < LIMIT_PARTS ? ERR_OK : ERR_TOO_LARGE);
    }
    s.content.n_attachments = 2;
    for (uint64_t size = LIMIT_PART - 1; size <= LIMIT_PART + 1; size++) {
        s.attachments[1].size = size;
        expect(&s, size <= LIMIT_PART ? ERR_OK : ERR_TOO_LARGE);
    }
    s.attachments[1].size = 0;
    s.attachments[1].sha256.len = 31;
    expect(&s, ERR_MALFORMED);
    s.attachments[1].sha256.len = 32;
    expect_limit(&s, &s.attachments[1].name, LIMIT_FILE_NAME);
    s.attachments[1].name = pb_string("../../etc/passwd");
    expect(&s, ERR_MALFORMED);
    s.attachments[1].name = pb_string("");
    expect(&s, ERR_MALFORMED);
    s.attachments[1].name = pb_string("..");
    expect(&s, ERR_MALFORMED);
    s.attachments[1].name = pb_string("cod\xe2\x80\xae.exe");
    expect(&s, ERR_MALFORMED);
    sheet_fini(&s);
}

Test(content, media_types)
{
    static const char *const good[] = {"text/plain", "application/vnd.ms-excel", "image/svg+xml"};
    static const char *const bad[] = {"",         "text",       "/plain",  "text/",
                                      "text/a b", "text/a;b=c", "text//a", "text/a\n"};
    char *text = letters(LIMIT_MEDIA_TYPE + 1);

    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        cr_assert(content_is_media_type(good[i]), "%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_assert_not(content_is_media_type(bad[i]), "%s", bad[i]);
    text[1] = '/';
    cr_assert_not(content_is_media_type(text));
    text[LIMIT_MEDIA_TYPE] = '\0';
    cr_assert(content_is_media_type(text));
    free(text);
}

Test(content, entities)
{
    static Sp__Entity items[LIMIT_ENTITIES + 1];
    static Sp__Entity *list[LIMIT_ENTITIES + 1];
    Sp__Vehicle vehicle = SP__VEHICLE__INIT;
    Sp__Item item = SP__ITEM__INIT;
    struct sheet s;

    sheet_init(&s);
    for (size_t i = 0; i <= LIMIT_ENTITIES; i++) {
        sp__entity__init(&items[i]);
        items[i].vehicle = &vehicle;
        list[i] = &items[i];
    }
    s.content.entities = list;
    for (size_t n = LIMIT_ENTITIES - 1; n <= LIMIT_ENTITIES + 1; n++) {
        s.content.n_entities = n;
        expect(&s, n <= LIMIT_ENTITIES ? ERR_OK : ERR_TOO_LARGE);
    }
    s.content.n_entities = 1;
    items[0].item = &item;
    expect(&s, ERR_MALFORMED);
    items[0].item = NULL;
    items[0].vehicle = NULL;
    expect(&s, ERR_MALFORMED);
    items[0].vehicle = &vehicle;
    /* The field's key and length, and the entity's, take 8 bytes here. */
    expect_limit(&s, &vehicle.remarks, LIMIT_ENTITY - 8);
    sheet_fini(&s);
}

Test(content, view)
{
    static struct content_view view;
    const char *to[] = {"LT.POLICE", "LV.POLICE"};
    struct sheet s;
    uint8_t id[16] = {0};

    sheet_init(&s);
    s.about.to = to;
    s.about.n_to = 2;
    s.about.created_ms = 5;
    s.about.expires_ms = 6;
    s.content.text = pb_string("the text");
    s.content.officer_name = pb_string("Duty Officer");
    s.content.reply_to = pb_bytes(span_of(id, 16));
    s.content.n_attachments = 1;
    s.attachments[0].size = 77;
    content_view(&s.content, &s.about, false, &view);
    cr_assert_str_eq(view.message.direction, "out");
    cr_assert_str_eq(view.message.kind, "information");
    cr_assert_str_eq(view.message.level, "BPL");
    cr_assert_str_eq(view.message.urgency, "normal");
    cr_assert_str_eq(view.message.officer, "Duty Officer");
    cr_assert_str_eq(view.message.reply_to, "00000000-0000-0000-0000-000000000000");
    cr_assert_str_empty(view.message.text);
    cr_assert_eq(view.message.n_to, 2);
    cr_assert_str_eq(view.message.to[1], "LV.POLICE");
    cr_assert_eq(view.message.n_attachments, 1);
    cr_assert_eq(view.message.attachments[0]->part, 1);
    cr_assert_eq(view.message.attachments[0]->size, 77);
    cr_assert_eq(view.message.created_ms, 5);
    cr_assert_eq(view.message.expires_ms, 6);
    s.about.received = true;
    s.content.officer_name = pb_string("");
    content_view(&s.content, &s.about, true, &view);
    cr_assert_str_eq(view.message.direction, "in");
    cr_assert_str_eq(view.message.officer, "duty");
    cr_assert_str_eq(view.message.text, "the text");
    sheet_fini(&s);
}
