#include "common/text.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void assert_buf(struct buf *b, const char *expected)
{
    cr_assert_str_eq(buf_cstr(b), expected);
    buf_reset(b);
}

Test(text, hex_round_trips_and_is_strict)
{
    static const uint8_t bytes[] = {0x00, 0x9a, 0xff};
    static const char *const bad[] = {"",       "009af",  "009aff0", "009AFF",
                                      "009afg", "00 aff", "0x9aff"};
    char text[7];
    uint8_t back[3];
    struct buf b;

    text_hex(span_of(bytes, 3), text);
    cr_assert_str_eq(text, "009aff");
    cr_assert_eq(text_hex_decode(span_str(text), 3, back), ERR_OK);
    cr_assert_eq(memcmp(back, bytes, 3), 0);
    for (size_t i = 0; i < COUNT(bad); i++)
        cr_assert_eq(text_hex_decode(span_str(bad[i]), 3, back), ERR_MALFORMED, "case %zu", i);
    cr_assert_eq(text_hex_decode(span_str(text), 2, back), ERR_MALFORMED);
    cr_assert_eq(text_hex_decode(span_str(""), 0, back), ERR_OK);
    buf_init(&b, 100);
    text_put_hex(&b, span_of(bytes, 3));
    assert_buf(&b, "009aff");
    buf_fini(&b);
}

/* RFC 4648 section 10. */
Test(text, base64_vectors)
{
    static const char *const cases[][2] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
    };
    struct buf b;

    buf_init(&b, 100);
    for (size_t i = 0; i < COUNT(cases); i++) {
        text_put_base64(&b, span_str(cases[i][0]));
        assert_buf(&b, cases[i][1]);
        cr_assert_eq(text_base64_decode(span_str(cases[i][1]), &b), ERR_OK);
        assert_buf(&b, cases[i][0]);
    }
    text_put_base64(&b, span_of("\xfb\xff\xfe", 3));
    assert_buf(&b, "+//+");
    buf_fini(&b);
}

Test(text, base64_refuses_what_is_not_canonical)
{
    static const char *const bad[] = {
        "Z",    "Zg",   "Zg=",      "Zh==",  "Zm9=",   "Zm+=",   "Zi==",
        "Zo==", "Zm8",  "====",     "=",     "Zg==\n", "Z===",   "Zg=a",
        "Z g=", "-_-_", "Zg==Zg==", "Zm9v=", "Zm9vZ",  "Zm\n9v", "Zg==\0",
    };
    struct buf b;
    uint8_t out[8];

    buf_init(&b, 100);
    for (size_t i = 0; i < COUNT(bad) - 1; i++) {
        cr_assert_eq(text_base64_decode(span_str(bad[i]), &b), ERR_MALFORMED, "case %zu", i);
        cr_assert_eq(b.len, 0);
    }
    cr_assert_eq(text_base64_decode(span_of("Zm9\0", 4), &b), ERR_MALFORMED);
    b.max = 2;
    cr_assert_eq(text_base64_decode(span_str("Zm8="), &b), ERR_OK);
    buf_reset(&b);
    cr_assert_eq(text_base64_decode(span_str("Zm9v"), &b), ERR_TOO_LARGE);
    cr_assert_eq(b.len, 0);
    cr_assert_eq(text_base64_decode_exact(span_str("Zm9v"), 3, out), ERR_OK);
    cr_assert_eq(text_base64_decode_exact(span_str("Zm9v"), 2, out), ERR_MALFORMED);
    cr_assert_eq(text_base64_decode_exact(span_str("Zm9v"), 4, out), ERR_MALFORMED);
    cr_assert_eq(text_base64_decode_exact(span_str("Zh=="), 1, out), ERR_MALFORMED);
    buf_fini(&b);
}

struct time_case {
    uint64_t ms;
    const char *text;
};

/* Milliseconds as `date -u -d TEXT +%s` gives them. */
Test(text, times_both_ways)
{
    static const struct time_case cases[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {951782399999, "2000-02-28T23:59:59.999Z"},
        {951782400000, "2000-02-29T00:00:00.000Z"},
        {951868800000, "2000-03-01T00:00:00.000Z"},
        {1709164800000, "2024-02-29T00:00:00.000Z"},
        {1795500600000, "2026-11-24T06:10:00.000Z"},
        {4107542399000, "2100-02-28T23:59:59.000Z"},
        {4107542400000, "2100-03-01T00:00:00.000Z"},
        {TEXT_TIME_MS_MAX, "9999-12-31T23:59:59.999Z"},
    };
    char text[TEXT_TIME_SIZE];
    uint64_t ms;

    for (size_t i = 0; i < COUNT(cases); i++) {
        text_time(cases[i].ms, text);
        cr_assert_str_eq(text, cases[i].text);
        cr_assert_eq(text_time_parse(span_str(cases[i].text), &ms), ERR_OK);
        cr_assert_eq(ms, cases[i].ms, "%s gave %lu", cases[i].text, (unsigned long)ms);
    }
    text_time(UINT64_MAX, text);
    cr_assert_str_eq(text, "9999-12-31T23:59:59.999Z");
}

Test(text, every_day_of_eight_centuries_reads_back)
{
    char text[TEXT_TIME_SIZE];
    uint64_t ms;

    for (uint64_t day = 0; day < 2 * 146097; day++) {
        text_time(day * 86400000 + 1, text);
        cr_assert_eq(text_time_parse(span_str(text), &ms), ERR_OK);
        cr_assert_eq(ms, day * 86400000 + 1);
    }
}

Test(text, times_with_other_fractions)
{
    static const struct time_case cases[] = {
        {1795500600000, "2026-11-24T06:10:00Z"},
        {1795500600500, "2026-11-24T06:10:00.5Z"},
        {1795500600120, "2026-11-24T06:10:00.12Z"},
        {1795500600123, "2026-11-24T06:10:00.123999999Z"},
    };
    static const char *const bad[] = {
        "",
        "2026-11-24",
        "2026-11-24T06:10Z",
        "2026-11-24T06:10:00",
        "2026-11-24T06:10:00.Z",
        "2026-11-24T06:10:00.1234567890Z",
        "2026-11-24T06:10:00.000",
        "2026-11-24T06:10:00.000z",
        "2026-11-24t06:10:00.000Z",
        "2026-11-24 06:10:00.000Z",
        "2026-11-24T06:10:00+00:00",
        "2026-11-24T06:10:00.000Z ",
        "2026-11-24T06:10:00ZZ",
        " 2026-11-24T06:10:00Z",
        "2026-00-24T06:10:00Z",
        "2026-13-24T06:10:00Z",
        "2026-11-00T06:10:00Z",
        "2026-11-31T06:10:00Z",
        "2026-02-29T06:10:00Z",
        "2100-02-29T06:10:00Z",
        "2026-11-24T24:00:00Z",
        "2026-11-24T06:60:00Z",
        "2026-11-24T06:10:60Z",
        "1969-12-31T23:59:59Z",
        "20261-1-24T06:10:00Z",
        "2026-1a-24T06:10:00Z",
        "+026-11-24T06:10:00Z",
    };
    uint64_t ms = 7;

    for (size_t i = 0; i < COUNT(cases); i++) {
        cr_assert_eq(text_time_parse(span_str(cases[i].text), &ms), ERR_OK);
        cr_assert_eq(ms, cases[i].ms);
    }
    ms = 7;
    for (size_t i = 0; i < COUNT(bad); i++)
        cr_assert_eq(text_time_parse(span_str(bad[i]), &ms), ERR_MALFORMED, "%s", bad[i]);
    cr_assert_eq(ms, 7);
}

Test(text, durations_both_ways)
{
    static const struct time_case cases[] = {
        {0, "0s"},       {1, "1ms"},          {30000, "30s"},           {300000, "5m"},
        {7200000, "2h"}, {1209600000, "14d"}, {90061001, "90061001ms"}, {90000, "90s"},
    };
    static const char *const bad[] = {"",   "5",  "s",   "5 m",  "-5m", "+5m",  "05m",
                                      "5M", "5w", "5mm", "1h5m", "5m ", "1.5h", "0x5s"};
    char text[TEXT_DURATION_SIZE];
    uint64_t ms = 7;

    for (size_t i = 0; i < COUNT(cases); i++) {
        text_duration(cases[i].ms, text);
        cr_assert_str_eq(text, cases[i].text);
        cr_assert_eq(text_duration_parse(span_str(cases[i].text), &ms), ERR_OK);
        cr_assert_eq(ms, cases[i].ms);
    }
    ms = 7;
    for (size_t i = 0; i < COUNT(bad); i++)
        cr_assert_eq(text_duration_parse(span_str(bad[i]), &ms), ERR_MALFORMED, "%s", bad[i]);
    cr_assert_eq(ms, 7);
    text_duration(UINT64_MAX, text);
    cr_assert_eq(text_duration_parse(span_str(text), &ms), ERR_OK);
    cr_assert_eq(ms, UINT64_MAX);
    cr_assert_eq(text_duration_parse(span_str("213503982334d"), &ms), ERR_OK);
    cr_assert_eq(text_duration_parse(span_str("213503982335d"), &ms), ERR_TOO_LARGE);
}

Test(text, since_is_a_time_or_a_duration_ago)
{
    uint64_t ms;

    cr_assert_eq(text_since_parse(span_str("2h"), 10000000, &ms), ERR_OK);
    cr_assert_eq(ms, 2800000);
    cr_assert_eq(text_since_parse(span_str("14d"), 10000000, &ms), ERR_OK);
    cr_assert_eq(ms, 0);
    cr_assert_eq(text_since_parse(span_str("2026-11-24T06:10:00Z"), 5, &ms), ERR_OK);
    cr_assert_eq(ms, 1795500600000);
    cr_assert_eq(text_since_parse(span_of(NULL, 0), 5, &ms), ERR_MALFORMED);
    cr_assert_eq(text_since_parse(span_str("yesterday"), 5, &ms), ERR_MALFORMED);
}

struct size_case {
    uint64_t bytes;
    const char *text;
};

Test(text, sizes_for_people)
{
    static const struct size_case cases[] = {
        {0, "0 B"},
        {1023, "1023 B"},
        {1024, "1.0 KiB"},
        {1075, "1.0 KiB"},
        {1076, "1.1 KiB"},
        {1258291, "1.2 MiB"},
        {1048524, "1023.9 KiB"},
        {1048525, "1.0 MiB"},
        {1048575, "1.0 MiB"},
        {1048576, "1.0 MiB"},
        {(uint64_t)4 << 30, "4.0 GiB"},
        {(uint64_t)1 << 60, "1.0 EiB"},
        {UINT64_MAX, "16.0 EiB"},
    };
    char text[TEXT_SIZE_SIZE];

    for (size_t i = 0; i < COUNT(cases); i++) {
        text_size(cases[i].bytes, text);
        cr_assert_str_eq(text, cases[i].text);
    }
}

Test(text, numbers_are_strict_and_bounded)
{
    static const char *const bad[] = {"",   " 1",  "1 ",  "+1",  "-1", "01",
                                      "00", "0x1", "1e3", "1.0", "a"};
    uint64_t v = 7;

    for (size_t i = 0; i < COUNT(bad); i++)
        cr_assert_eq(text_u64_parse(span_str(bad[i]), 0, UINT64_MAX, &v), ERR_MALFORMED);
    cr_assert_eq(text_u64_parse(span_str("18446744073709551616"), 0, UINT64_MAX, &v),
                 ERR_TOO_LARGE);
    cr_assert_eq(text_u64_parse(span_str("99999999999999999999999"), 0, UINT64_MAX, &v),
                 ERR_TOO_LARGE);
    cr_assert_eq(text_u64_parse(span_str("9"), 10, 20, &v), ERR_TOO_LARGE);
    cr_assert_eq(text_u64_parse(span_str("21"), 10, 20, &v), ERR_TOO_LARGE);
    cr_assert_eq(v, 7);
    cr_assert_eq(text_u64_parse(span_str("10"), 10, 20, &v), ERR_OK);
    cr_assert_eq(v, 10);
    cr_assert_eq(text_u64_parse(span_str("20"), 10, 20, &v), ERR_OK);
    cr_assert_eq(text_u64_parse(span_str("0"), 0, 0, &v), ERR_OK);
    cr_assert_eq(v, 0);
    cr_assert_eq(text_u64_parse(span_str("18446744073709551615"), 0, UINT64_MAX, &v), ERR_OK);
    cr_assert_eq(v, UINT64_MAX);
}

Test(text, agency_names)
{
    static const char *const good[] = {
        "EE.PPA", "EE.P", "EE.1-2", "LV.POLICE.RIGA.X", "EE.-", "EE.ABCDEFGHIJKLMNOPQRSTUVWX",
    };
    static const char *const bad[] = {
        "",
        "E",
        "EE",
        "EE.",
        "E.PPA",
        "EEE.PPA",
        "ee.ppa",
        "EE.ppa",
        "EE..PPA",
        "EE.PPA.",
        "EE.A.B.C.D",
        "EE.PP A",
        "E1.PPA",
        ".PPA",
        "EE.PPÄ",
        "EE.PPA\n",
        "EE.ABCDEFGHIJKLMNOPQRSTUVWXY",
        "EE-PPA",
    };

    for (size_t i = 0; i < COUNT(good); i++)
        cr_assert(text_is_agency(span_str(good[i])), "%s", good[i]);
    for (size_t i = 0; i < COUNT(bad); i++)
        cr_assert_not(text_is_agency(span_str(bad[i])), "%s", bad[i]);
    cr_assert_not(text_is_agency(span_of("EE.PPA", 7)));
    cr_assert(text_is_peer(span_str("EE.PPA")));
    cr_assert(text_is_peer(span_str("riga")));
    cr_assert_not(text_is_peer(span_str("Riga")));
}

Test(text, broker_names)
{
    char name[34];

    memset(name, 'a', sizeof(name));
    cr_assert(text_is_broker(span_of(name, 1)));
    cr_assert(text_is_broker(span_of(name, 32)));
    cr_assert_not(text_is_broker(span_of(name, 33)));
    cr_assert(text_is_broker(span_str("riga-2")));
    cr_assert_not(text_is_broker(span_str("")));
    cr_assert_not(text_is_broker(span_str("2riga")));
    cr_assert_not(text_is_broker(span_str("-riga")));
    cr_assert_not(text_is_broker(span_str("rIga")));
    cr_assert_not(text_is_broker(span_str("riga.lv")));
    cr_assert_not(text_is_broker(span_str("riga_1")));
}

Test(text, names_of_files_and_cases)
{
    static const char *const good[] = {"a",      "...",  ".hidden",     "Ülevaade 2026.pdf",
                                       "слежка", "a\\b", "زا\u200c.txt"};
    static const char *const bad[] = {"",     ".",        "..",       "a/b",       "/",
                                      "a\n",  "\x1b[31m", "a\x7f",    "a\xc2\x85", "a\u202eb",
                                      "\xff", "a\u2066b", "a\u2028b", "a\tb",      "a\xc2\x9b!"};

    for (size_t i = 0; i < COUNT(good); i++)
        cr_assert(text_is_name(span_str(good[i]), 255), "%s", good[i]);
    for (size_t i = 0; i < COUNT(bad); i++)
        cr_assert_not(text_is_name(span_str(bad[i]), 255), "case %zu", i);
    cr_assert_not(text_is_name(span_of("a\0b", 3), 255));
    cr_assert(text_is_name(span_str("abc"), 3));
    cr_assert_not(text_is_name(span_str("abcd"), 3));
}

Test(text, strangers_text_cannot_steer_a_terminal)
{
    static const char hostile[] = "a\x1b]0;x\x07"
                                  "b\r\u202e\xc2\x9b\xff\n\tä";
    struct buf b;
    char *printed = NULL;
    size_t printed_len = 0;
    FILE *to;

    buf_init(&b, 1000);
    text_put_safe(&b, span_str(hostile), false);
    assert_buf(&b, "a\ufffd]0;x\ufffd"
                   "b\ufffd\ufffd\ufffd\ufffd\ufffd\ufffdä");
    text_put_safe(&b, span_str(hostile), true);
    cr_assert_str_eq(buf_cstr(&b), "a\ufffd]0;x\ufffd"
                                   "b\ufffd\ufffd\ufffd\ufffd\n\tä");
    to = open_memstream(&printed, &printed_len);
    text_print_safe(to, span_str(hostile), true);
    fclose(to);
    cr_assert(span_equal(span_of(printed, printed_len), buf_span(&b)));
    free(printed);
    buf_fini(&b);
}

Test(text, utf8_goes_both_ways)
{
    static const uint32_t points[] = {1,      0x7f,   0x80,   0x7ff,   0x800,
                                      0xd7ff, 0xe000, 0xffff, 0x10000, 0x10ffff};
    struct buf b;
    size_t at = 0;
    uint32_t c;

    buf_init(&b, 100);
    for (size_t i = 0; i < COUNT(points); i++)
        text_put_utf8(&b, points[i]);
    for (size_t i = 0; i < COUNT(points); i++) {
        cr_assert(text_utf8_next(buf_span(&b), &at, &c));
        cr_assert_eq(c, points[i]);
    }
    cr_assert_not(text_utf8_next(buf_span(&b), &at, &c));
    buf_reset(&b);
    text_put_utf8(&b, 0xd800);
    text_put_utf8(&b, 0x110000);
    assert_buf(&b, "\ufffd\ufffd");
    buf_fini(&b);
}

Test(text, json_strings)
{
    struct buf b;

    buf_init(&b, 1000);
    text_put_json(&b, span_of("a\"\\\n\t\x01\x7f\0ä\xff", 11));
    assert_buf(&b, "\"a\\\"\\\\\\n\\t\\u0001\\u007f\\u0000ä\ufffd\"");
    text_put_json(&b, span_str(NULL));
    assert_buf(&b, "\"\"");
    buf_fini(&b);
}
