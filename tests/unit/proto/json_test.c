#include "proto/json.h"

#include "common/limits.h"
#include "message_kit.h"
#include "tests/lib/leaks.h"

#include "content.pb-c.h"
#include "envelope.pb-c.h"
#include "local.pb-c.h"
#include "sample.pb-c.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define WHY 256

TestSuite(json, .fini = leaks_check);

static struct span text_span(const char *text)
{
    return span_of(text, strlen(text));
}

static void expect_json(const void *message, const char *expected)
{
    struct buf b;

    buf_init(&b, LIMIT_JSON);
    cr_assert_eq(json_encode(message, &b), ERR_OK);
    cr_assert_str_eq(buf_cstr(&b), expected);
    buf_fini(&b);
}

/* The message that `text` gives, through its bytes. */
static struct pb *read_back(const ProtobufCMessageDescriptor *d, const char *text)
{
    char why[WHY] = "zzz";
    struct pb *p = NULL;
    struct buf b;
    enum err e;

    buf_init(&b, LIMIT_JSON);
    e = json_decode(d, text_span(text), &b, why, sizeof(why));
    cr_assert_eq(e, ERR_OK, "%s", why);
    cr_assert_str_eq(why, "");
    cr_assert_eq(pb_decode(d, buf_span(&b), b.len, &p), ERR_OK);
    buf_fini(&b);
    return p;
}

static const char empty_node[] =
    "{\"small\":0,\"big\":0,\"flag\":false,\"colour\":\"COLOUR_NONE\",\"text\":\"\",\"data\":\"\","
    "\"child\":null,\"nodes\":[],\"texts\":[],\"datas\":[],\"packed\":[],\"unpacked\":[],"
    "\"colours\":[],\"at\":null,\"wait_in_ms\":0,\"wait_max_ms\":0,\"flags\":[]}";

static const char full_node[] =
    "{\"small\":4294967295,\"big\":9223372036854775807,\"flag\":true,\"colour\":\"COLOUR_BLUE\","
    "\"text\":\"J\xc3\xb5geva \\\"\\\\ \\n\",\"data\":\"00ff\",\"child\":null,\"nodes\":[],"
    "\"texts\":[\"a\",\"\"],\"datas\":[\"\",\"07\"],\"packed\":[0,7],\"unpacked\":[7,0],"
    "\"colours\":[\"COLOUR_NONE\",\"COLOUR_RED\"],\"at\":\"2026-11-24T06:10:00.123Z\","
    "\"wait_in_ms\":1500,\"wait_max_ms\":86400000,\"flags\":[false,true]}";

static void fill_node(Spt__Node *n)
{
    static char a[] = "a", empty[] = "", *texts[] = {a, empty};
    static uint8_t seven[] = {7}, data[] = {0, 0xff};
    static ProtobufCBinaryData datas[] = {{0, NULL}, {1, seven}};
    static uint32_t packed[] = {0, 7};
    static uint64_t unpacked[] = {7, 0};
    static Spt__Colour colours[] = {SPT__COLOUR__COLOUR_NONE, SPT__COLOUR__COLOUR_RED};
    static protobuf_c_boolean flags[] = {0, 1};

    *n = (Spt__Node)SPT__NODE__INIT;
    n->small = UINT32_MAX;
    n->big = INT64_MAX;
    n->flag = true;
    n->colour = SPT__COLOUR__COLOUR_BLUE;
    n->text = pb_string("J\xc3\xb5geva \"\\ \n");
    n->data = pb_bytes(span_of(data, 2));
    n->texts = texts;
    n->n_texts = 2;
    n->datas = datas;
    n->n_datas = 2;
    n->packed = packed;
    n->n_packed = 2;
    n->unpacked = unpacked;
    n->n_unpacked = 2;
    n->colours = colours;
    n->n_colours = 2;
    n->flags = flags;
    n->n_flags = 2;
    n->at_ms = 1795500600123; /* date -d 2026-11-24T06:10:00Z +%s */
    n->wait_in_ms = 1500;
    n->wait_max_ms = 86400000;
}

Test(json, writes_every_key)
{
    Spt__Node n = SPT__NODE__INIT;

    expect_json(&n, empty_node);
    n.text = NULL; /* a builder may leave it out */
    expect_json(&n, empty_node);
}

Test(json, writes_every_type)
{
    Spt__Node n;

    fill_node(&n);
    expect_json(&n, full_node);
}

Test(json, reads_what_it_writes)
{
    struct buf expected, bytes;
    char why[WHY];
    Spt__Node n;

    fill_node(&n);
    buf_init(&expected, LIMIT_KIB);
    pb_encode(&n, &expected);
    buf_init(&bytes, LIMIT_KIB);
    cr_assert_eq(
        json_decode(&spt__node__descriptor, text_span(full_node), &bytes, why, sizeof(why)),
        ERR_OK);
    cr_assert(span_equal(buf_span(&bytes), buf_span(&expected)));
    buf_reset(&bytes);
    cr_assert_eq(
        json_decode(&spt__node__descriptor, text_span(empty_node), &bytes, why, sizeof(why)),
        ERR_OK);
    cr_assert_eq(bytes.len, 0);
    buf_fini(&bytes);
    buf_fini(&expected);
}

Test(json, words_of_names_stand_for_enums)
{
    Sp__Content c = SP__CONTENT__INIT;
    Sp__Header h = SP__HEADER__INIT;
    const Sp__Content *content;
    const Sp__Header *header;
    struct buf b;
    struct pb *p;

    c.kind = SP__KIND__KIND_RELEASE_ASK;
    buf_init(&b, LIMIT_KIB);
    cr_assert_eq(json_encode(&c, &b), ERR_OK);
    cr_assert_not_null(strstr(buf_cstr(&b), "\"kind\":\"release-ask\""));
    cr_assert_not_null(strstr(buf_cstr(&b), "\"completeness\":null"));
    buf_reset(&b);
    h.level = SP__LEVEL__LEVEL_BPL;
    h.urgency = SP__URGENCY__URGENCY_URGENT_DIRECT;
    cr_assert_eq(json_encode(&h, &b), ERR_OK);
    cr_assert_not_null(strstr(buf_cstr(&b), "\"level\":\"BPL\",\"urgency\":\"urgent-direct\""));
    buf_fini(&b);
    p = read_back(&sp__content__descriptor,
                  "{\"completeness\":\"partial\",\"kind\":\"alert-cancel\"}");
    content = pb_view(p);
    cr_assert_eq(content->kind, SP__KIND__KIND_ALERT_CANCEL);
    cr_assert_eq(content->completeness, SP__COMPLETENESS__COMPLETENESS_PARTIAL);
    pb_free(p);
    p = read_back(&sp__header__descriptor, "{\"level\":null,\"urgency\":\"normal\"}");
    header = pb_view(p);
    cr_assert_eq(header->level, SP__LEVEL__LEVEL_UNSPECIFIED);
    cr_assert_eq(header->urgency, SP__URGENCY__URGENCY_NORMAL);
    pb_free(p);
}

Test(json, reads_an_entity_as_an_officer_gives_it)
{
    struct pb *p = read_back(&sp__entity__descriptor,
                             "{\n  \"person\": {\"family_name\": \"T\\u00e4ht\",\n"
                             "    \"given_names\": \"Anna \\ud83d\\ude97\",\n"
                             "    \"aliases\": [\"A\", \"B\"], \"birth_date\": \"1980-02\"}\n}\n");
    const Sp__Entity *e = pb_view(p);

    cr_assert_not_null(e->person);
    cr_assert_null(e->vehicle);
    cr_assert_str_eq(e->person->family_name, "T\xc3\xa4ht");
    cr_assert_str_eq(e->person->given_names, "Anna \xf0\x9f\x9a\x97");
    cr_assert_eq(e->person->n_aliases, 2);
    cr_assert_str_eq(e->person->aliases[1], "B");
    cr_assert_str_eq(e->person->birth_date, "1980-02");
    pb_free(p);
}

static const struct {
    const char *text;
    const char *why; /* how it begins */
} wrong[] = {
    {"{\"x\":1}", "x: Node has no such key"},
    {"{\"child\":{\"x\":1}}", "child.x: Node has no such key"},
    {"{\"at_ms\":1}", "at_ms: Node has no such key"},
    {"{\"Small\":1}", "Small: Node has no such key"},
    {"{\"small\":-1}", "small: a whole number from 0 to 4294967295 is expected"},
    {"{\"small\":4294967296}", "small: a whole number"},
    {"{\"small\":1.0}", "small: a whole number"},
    {"{\"small\":1e3}", "small: a whole number"},
    {"{\"small\":\"1\"}", "small: a whole number"},
    {"{\"small\":true}", "small: a whole number"},
    {"{\"small\":null}", "small: a whole number"},
    {"{\"big\":-1}", "big: a whole number from 0 to 9223372036854775807 is expected"},
    {"{\"big\":9223372036854775808}", "line 1, column "},
    {"{\"wait_in_ms\":\"2026-11-24T06:10:00Z\"}", "wait_in_ms: a whole number"},
    {"{\"wait_max_ms\":null}", "wait_max_ms: a whole number"},
    {"{\"flag\":1}", "flag: true or false is expected"},
    {"{\"flag\":\"true\"}", "flag: true or false is expected"},
    {"{\"flag\":null}", "flag: true or false is expected"},
    {"{\"colour\":1}", "colour: a name of Colour is expected"},
    {"{\"colour\":\"RED\"}", "colour: a name of Colour is expected"},
    {"{\"colour\":null}", "colour: a name of Colour is expected"},
    {"{\"text\":1}", "text: a text is expected"},
    {"{\"text\":null}", "text: a text is expected"},
    {"{\"data\":\"0\"}", "data: bytes in lower-case hex are expected"},
    {"{\"data\":\"0A\"}", "data: bytes in lower-case hex are expected"},
    {"{\"data\":\"zz\"}", "data: bytes in lower-case hex are expected"},
    {"{\"data\":[0]}", "data: a text is expected"},
    {"{\"at\":0}", "at: a time such as"},
    {"{\"at\":\"\"}", "at: a time such as"},
    {"{\"at\":\"2026-11-24\"}", "at: a time such as"},
    {"{\"at\":\"2026-11-24T06:10:00+02:00\"}", "at: a time such as"},
    {"{\"child\":[]}", "child: an object (Node) is expected"},
    {"{\"child\":\"\"}", "child: an object (Node) is expected"},
    {"{\"nodes\":{}}", "nodes: a list is expected"},
    {"{\"nodes\":null}", "nodes: a list is expected"},
    {"{\"nodes\":[{},null]}", "nodes[1]: an object (Node) is expected"},
    {"{\"nodes\":[{},{\"texts\":[\"a\",2]}]}", "nodes[1].texts[1]: a text is expected"},
    {"{\"datas\":[\"00\",\"0\"]}", "datas[1]: bytes in lower-case hex are expected"},
    {"{\"packed\":[1,-1]}", "packed[1]: a whole number from 0 to 4294967295 is expected"},
    {"{\"packed\":1}", "packed: a list is expected"},
    {"{\"unpacked\":[1,\"\"]}", "unpacked[1]: a whole number"},
    {"{\"colours\":[\"COLOUR_RED\",\"red\"]}", "colours[1]: a name of Colour is expected"},
    {"{\"flags\":[0]}", "flags[0]: true or false is expected"},
    {"{\"small\":1,\"small\":1}", "line 1, column "},
    {"{\"text\":\"\\u0000\"}", "line 1, column "},
    {"{\"text\":\"\\ud800\"}", "line 1, column "},
    {"{\"text\":\"\\udc00\"}", "line 1, column "},
    {"{\"text\":\"\xff\"}", "line 1, column "},
    {"{\"text\":\"\xed\xa0\x80\"}", "line 1, column "},
    {"{\"text\":\"a\nb\"}", "line 1, column "},
    {"{\"te\\u0000xt\":\"\"}", "line 1, column "},
    {"{\"small\":01}", "line 1, column "},
    {"{\"small\":NaN}", "line 1, column "},
    {"{\"small\":1,}", "line 1, column "},
    {"{'small':1}", "line 1, column "},
    {"{\n\n \"small\" 1}", "line 3, column "},
    {"{} {}", "line 1, column "},
    {"{} x", "line 1, column "},
    {"", "line 1, column "},
    {"{", "line 1, column "},
    {"\xef\xbb\xbf{}", "line 1, column "},
    {"[]", "an object (Node) is expected"},
    {"1", "line 1, column "},
};

Test(json, refuses_and_says_where_and_why)
{
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct span text = message_kit_copy(text_span(wrong[i].text));
        char why[WHY] = "";
        struct buf b;
        enum err e;

        buf_init(&b, LIMIT_KIB);
        buf_put_u8(&b, 7);
        e = json_decode(&spt__node__descriptor, text, &b, why, sizeof(why));
        cr_assert_eq(e, ERR_MALFORMED, "%s: %s", wrong[i].text, err_code(e));
        cr_assert_eq(strncmp(why, wrong[i].why, strlen(wrong[i].why)), 0, "%s: %s", wrong[i].text,
                     why);
        cr_assert_eq(b.len, 1);
        cr_assert_eq(b.err, ERR_OK);
        buf_fini(&b);
        free((void *)(uintptr_t)text.data);
    }
}

Test(json, says_which_words_there_are)
{
    char why[WHY] = "";
    struct buf b;

    buf_init(&b, LIMIT_KIB);
    cr_assert_eq(json_decode(&sp__content__descriptor, text_span("{\"completeness\":\"FULL\"}"), &b,
                             why, sizeof(why)),
                 ERR_MALFORMED);
    cr_assert_str_eq(why, "completeness: one of these words is expected: full partial none");
    cr_assert_eq(
        json_decode(&sp__content__descriptor, text_span("{\"kind\":1}"), &b, why, sizeof(why)),
        ERR_MALFORMED);
    buf_fini(&b);
}

Test(json, why_is_fit_for_a_terminal_and_cut_between_characters)
{
    static const char text[] = "{\"\\u001b[31m\xc3\xb5\xc3\xb5\":1}";
    static const char expected[] = "\xef\xbf\xbd[31m\xc3\xb5\xc3\xb5: Node has no such key";
    struct buf b;

    buf_init(&b, LIMIT_KIB);
    for (size_t size = 0; size <= sizeof(expected) + 1; size++) {
        char why[sizeof(expected) + 1];
        size_t len;

        memset(why, 'z', sizeof(why));
        cr_assert_eq(json_decode(&spt__node__descriptor, text_span(text), &b, why, size),
                     ERR_MALFORMED);
        if (size == 0) {
            cr_assert_eq(why[0], 'z');
            continue;
        }
        len = strlen(why);
        cr_assert_lt(len, size);
        cr_assert_eq(strncmp(why, expected, len), 0);
        cr_assert(span_is_utf8(text_span(why)));
        cr_assert_geq(len + 3, size < sizeof(expected) ? size : sizeof(expected));
    }
    cr_assert_eq(json_decode(&spt__node__descriptor, text_span(text), &b, NULL, 0), ERR_MALFORMED);
    buf_fini(&b);
}

Test(json, every_message_comes_back)
{
    struct message_kit *kit = malloc(sizeof(*kit));
    const ProtobufCMessageDescriptor *const *all;
    size_t n;

    cr_assert_not_null(kit);
    all = message_kit_all(&n);
    for (size_t i = 0; i < n; i++) {
        for (uint64_t seed = 100; seed < 120; seed++) {
            struct buf bytes, json, again;
            const void *message;
            char why[WHY];

            memset(kit, 0, sizeof(*kit));
            kit->state = seed;
            kit->json = true;
            kit->full = seed < 105;
            message = message_kit_fill(kit, all[i]);
            buf_init(&bytes, LIMIT_MIB);
            buf_init(&json, LIMIT_MIB);
            buf_init(&again, LIMIT_MIB);
            pb_encode(message, &bytes);
            cr_assert_eq(json_encode(message, &json), ERR_OK);
            cr_assert_null(json.len == 0 ? NULL : memchr(json.data, '\n', json.len));
            cr_assert_eq(json_decode(all[i], buf_span(&json), &again, why, sizeof(why)), ERR_OK,
                         "%s: %s", all[i]->name, why);
            cr_assert(span_equal(buf_span(&bytes), buf_span(&again)), "%s", all[i]->name);
            buf_fini(&bytes);
            buf_fini(&json);
            buf_fini(&again);
        }
    }
    free(kit);
}

Test(json, encode_refuses_what_json_cannot_say)
{
    Spt__Node n = SPT__NODE__INIT;
    Sp__Part part = SP__PART__INIT;
    struct buf b;

    buf_init(&b, LIMIT_KIB);
    n.big = (uint64_t)INT64_MAX + 1;
    cr_assert_eq(json_encode(&n, &b), ERR_TOO_LARGE);
    n.big = 0;
    n.text = pb_string("\xff");
    cr_assert_eq(json_encode(&n, &b), ERR_MALFORMED);
    part.kind = 99;
    cr_assert_eq(json_encode(&part, &b), ERR_MALFORMED);
    cr_assert_eq(b.len, 0);
    cr_assert_eq(b.err, ERR_OK);
    buf_fini(&b);
}

Test(json, encode_fits_or_appends_nothing)
{
    Spt__Node n;

    fill_node(&n);
    for (size_t max = strlen(full_node); max <= strlen(full_node) + 2; max++) {
        bool fits = max > strlen(full_node); /* one byte is there already */
        struct buf b;

        buf_init(&b, max);
        buf_put_u8(&b, 'x');
        cr_assert_eq(json_encode(&n, &b), fits ? ERR_OK : ERR_TOO_LARGE);
        cr_assert_eq(b.len, fits ? strlen(full_node) + 1 : 1);
        buf_fini(&b);
    }
}

Test(json, decode_fits_or_appends_nothing)
{
    for (size_t max = 5; max <= 7; max++) {
        char why[WHY] = "";
        struct buf b;

        buf_init(&b, max);
        buf_put_u8(&b, 'x');
        cr_assert_eq(json_decode(&spt__node__descriptor, text_span("{\"text\":\"AAA\"}"), &b, why,
                                 sizeof(why)),
                     max < 6 ? ERR_TOO_LARGE : ERR_OK);
        cr_assert_eq(b.len, max < 6 ? 1 : 6);
        cr_assert_eq(why[0] == '\0', max >= 6);
        buf_fini(&b);
    }
}

Test(json, decode_bounds_text_and_depth)
{
    char *text = malloc(LIMIT_JSON + 1), why[WHY];
    struct buf b;

    cr_assert_not_null(text);
    memset(text, ' ', LIMIT_JSON + 1);
    text[0] = '{';
    text[1] = '}';
    buf_init(&b, LIMIT_KIB);
    for (size_t len = LIMIT_JSON - 1; len <= LIMIT_JSON + 1; len++) {
        cr_assert_eq(json_decode(&spt__node__descriptor, span_of(text, len), &b, why, sizeof(why)),
                     len > LIMIT_JSON ? ERR_TOO_LARGE : ERR_OK);
        cr_assert_eq(why[0] == '\0', len <= LIMIT_JSON);
    }
    for (unsigned depth = LIMIT_DECODE_DEPTH - 1; depth <= LIMIT_DECODE_DEPTH + 1; depth++) {
        struct buf nested;

        buf_init(&nested, LIMIT_KIB);
        for (unsigned i = 1; i < depth; i++)
            buf_put_str(&nested, "{\"child\":");
        buf_put_str(&nested, "{}");
        for (unsigned i = 1; i < depth; i++)
            buf_put_u8(&nested, '}');
        cr_assert_eq(json_decode(&spt__node__descriptor, buf_span(&nested), &b, why, sizeof(why)),
                     depth > LIMIT_DECODE_DEPTH ? ERR_MALFORMED : ERR_OK);
        buf_fini(&nested);
    }
    buf_fini(&b);
    /* Brackets without end. */
    memset(text, '[', LIMIT_JSON);
    buf_init(&b, LIMIT_KIB);
    cr_assert_eq(
        json_decode(&spt__node__descriptor, span_of(text, LIMIT_JSON), &b, why, sizeof(why)),
        ERR_MALFORMED);
    buf_fini(&b);
    free(text);
}
