#include "common/config.h"

#include "tests/lib/config_sample.h"
#include "tests/lib/leaks.h"

#include <stdio.h>
#include <stdlib.h>

TestSuite(config_value, .fini = leaks_check);

Test(config_value, text_at_its_bounds)
{
    struct settings s;

    bad("agency: E\n", "conf/agent.yaml:1:9: agency must have 2 to 10 bytes, not 1");
    good("agency: EE\n", &s);
    config_free(table, &s);
    good("agency: EE12345678\n", &s);
    config_free(table, &s);
    bad("agency: EE123456789\n", "conf/agent.yaml:1:9: agency must have 2 to 10 bytes, not 11");
    bad("agency:\n", "conf/agent.yaml:1:8: agency has no value");
    bad("agency: ~\n", "conf/agent.yaml:1:9: agency has no value");
    bad("agency: EE\nmotto: null\n", "conf/agent.yaml:2:8: motto has no value");
    good("agency: EE\nmotto: ''\n", &s);
    cr_assert_str_eq(s.motto, "");
    config_free(table, &s);
    bad("agency: EE\nmotto: \"a\\0b\"\n",
        "conf/agent.yaml:2:8: motto holds a control character: \"a\uFFFDb\"");
    bad("agency: EE\nmotto: \"a\\nb\"\n",
        "conf/agent.yaml:2:8: motto holds a control character: \"a\uFFFDb\"");
    bad("agency: EE\nmotto: \"\\x9b\"\n",
        "conf/agent.yaml:2:8: motto holds a control character: \"\uFFFD\"");
    bad("agency: EE\nmotto: [a]\n", "conf/agent.yaml:2:8: motto must be one value");
    bad("agency: EE\nmotto: {a: b}\n", "conf/agent.yaml:2:8: motto must be one value");
    bad("agency: EE\ndata: ''\n", "conf/agent.yaml:2:7: data must have 1 to 4096 bytes, not 0");
}

static void text_of(size_t len, enum err expected)
{
    char *text = calloc(1, len + 32);
    struct settings s;
    size_t at;

    cr_assert_not_null(text);
    at = (size_t)sprintf(text, "agency: EE\nmotto: ");
    memset(text + at, 'm', len);
    cr_assert_eq(parse(text, &s), expected, "%zu", len);
    if (expected == ERR_OK)
        cr_assert_eq(strlen(s.motto), len);
    config_free(table, &s);
    free(text);
}

Test(config_value, text_at_the_common_bound)
{
    text_of(LIMIT_CONFIG_TEXT - 1, ERR_OK);
    text_of(LIMIT_CONFIG_TEXT, ERR_OK);
    text_of(LIMIT_CONFIG_TEXT + 1, ERR_CONFIG);
}

Test(config_value, numbers_at_their_bounds)
{
    struct settings s;

    bad("agency: EE\nworkers: 0\n", "conf/agent.yaml:2:10: workers must be 1 to 64, not \"0\"");
    good("agency: EE\nworkers: 1\n", &s);
    cr_assert_eq(s.workers, 1);
    config_free(table, &s);
    good("agency: EE\nworkers: 64\n", &s);
    config_free(table, &s);
    bad("agency: EE\nworkers: 65\n", "conf/agent.yaml:2:10: workers must be 1 to 64, not \"65\"");
    bad("agency: EE\nworkers: 99999999999999999999\n",
        "conf/agent.yaml:2:10: workers must be 1 to 64, not \"99999999999999999999\"");
    bad("agency: EE\nworkers: -1\n",
        "conf/agent.yaml:2:10: workers must be a whole number, not \"-1\"");
    bad("agency: EE\nworkers: 0x10\n",
        "conf/agent.yaml:2:10: workers must be a whole number, not \"0x10\"");
    bad("agency: EE\nworkers: 010\n",
        "conf/agent.yaml:2:10: workers must be a whole number, not \"010\"");
    bad("agency: EE\nworkers: 1.5\n",
        "conf/agent.yaml:2:10: workers must be a whole number, not \"1.5\"");
    bad("agency: EE\nworkers: '5'\n",
        "conf/agent.yaml:2:10: workers must be a whole number, not \"5\"");
    bad("agency: EE\nworkers:\n", "conf/agent.yaml:2:9: workers must be a whole number, not \"\"");
    bad("agency: EE\nstore_mib: 15\n",
        "conf/agent.yaml:2:12: store_mib must be 16 to 1024, not \"15\"");
    good("agency: EE\nstore_mib: 16\n", &s);
    cr_assert_eq(s.store, 16 * LIMIT_MIB);
    config_free(table, &s);
    bad("agency: EE\nstore_mib: 1025\n",
        "conf/agent.yaml:2:12: store_mib must be 16 to 1024, not \"1025\"");
}

static enum err parse_one(const struct config_field *one, const char *text, uint64_t *ret)
{
    return config_parse("x", text, strlen(text), one, ret, sizeof *ret, &error);
}

Test(config_value, numbers_without_bounds)
{
    static const struct config_field number[] = {{.key = "n", .type = CONFIG_U64}, {0}};
    static const struct config_field size[] = {{.key = "n", .type = CONFIG_SIZE_MIB}, {0}};
    uint64_t n;

    cr_assert_eq(parse_one(number, "n: 18446744073709551615", &n), ERR_OK);
    cr_assert_eq(n, UINT64_MAX);
    cr_assert_eq(parse_one(number, "n: 18446744073709551616", &n), ERR_CONFIG);
    cr_assert_eq(n, 0);
    cr_assert_eq(parse_one(size, "n: 17592186044415", &n), ERR_OK);
    cr_assert_eq(n, UINT64_C(17592186044415) * LIMIT_MIB);
    cr_assert_eq(parse_one(size, "n: 17592186044416", &n), ERR_CONFIG);
}

Test(config_value, durations_at_their_bounds)
{
    struct settings s;

    bad("agency: EE\nretry: 499ms\n",
        "conf/agent.yaml:2:8: retry must be 500ms to 1d, not \"499ms\"");
    good("agency: EE\nretry: 500ms\n", &s);
    cr_assert_eq(s.retry_ms, 500);
    config_free(table, &s);
    good("agency: EE\nretry: 24h\n", &s);
    cr_assert_eq(s.retry_ms, 86400000);
    config_free(table, &s);
    bad("agency: EE\nretry: 86401s\n",
        "conf/agent.yaml:2:8: retry must be 500ms to 1d, not \"86401s\"");
    bad("agency: EE\nretry: 30\n",
        "conf/agent.yaml:2:8: retry must be a duration such as 500ms, 30s, 5m, 8h or 14d, "
        "not \"30\"");
    bad("agency: EE\nretry: 99999999999999999999d\n",
        "conf/agent.yaml:2:8: retry must be 500ms to 1d, not \"99999999999999999999d\"");
}

Test(config_value, words)
{
    struct settings s;

    bad("agency: EE\nstrict: yes\n",
        "conf/agent.yaml:2:9: strict must be true or false, not \"yes\"");
    bad("agency: EE\nstrict: 'true'\n",
        "conf/agent.yaml:2:9: strict must be true or false, not \"true\"");
    bad("agency: EE\nstrict: [true]\n", "conf/agent.yaml:2:9: strict must be one value");
    good("agency: EE\nlog: error\n", &s);
    cr_assert_eq(s.log, LOG_ERROR);
    config_free(table, &s);
    bad("agency: EE\nlog: Error\n",
        "conf/agent.yaml:2:6: log must be one of error, info, debug, not \"Error\"");
    bad("agency: EE\nofficers: [{id: a, name: b, uid: 1, roles: [officer, king]}]\n",
        "conf/agent.yaml:2:54: roles must be one of officer, releaser, auditor, administrator, "
        "not \"king\"");
    bad("agency: EE\nofficers: [{id: a, name: b, uid: 1, roles: [officer, officer]}]\n",
        "conf/agent.yaml:2:54: roles: repeated \"officer\"");
    bad("agency: EE\nofficers: [{id: a, name: b, uid: 1, roles: officer}]\n",
        "conf/agent.yaml:2:44: roles must be a list");
}

Test(config_value, lists_at_their_bounds)
{
    struct settings s;

    good("agency: EE\nbrokers: []\nofficers: []\n", &s);
    cr_assert_eq(s.brokers.count, 0);
    config_free(table, &s);
    good("agency: EE\nbrokers: [a, b, c]\n", &s);
    cr_assert_eq(s.brokers.count, 3);
    config_free(table, &s);
    bad("agency: EE\nbrokers: [a, b, c, d]\n",
        "conf/agent.yaml:2:20: brokers has more than 3 items");
    good("agency: EE\nbrokers: ['12345678']\n", &s);
    config_free(table, &s);
    bad("agency: EE\nbrokers: ['123456789']\n",
        "conf/agent.yaml:2:11: brokers must have 0 to 8 bytes, not 9");
    bad("agency: EE\nbrokers: a\n", "conf/agent.yaml:2:10: brokers must be a list");
    bad("agency: EE\nbrokers: {a: b}\n", "conf/agent.yaml:2:10: brokers must be a list");
    bad("agency: EE\nbrokers: [[a]]\n",
        "conf/agent.yaml:2:11: each of brokers must be one word or text");
    bad("agency: EE\nofficers: [mets]\n",
        "conf/agent.yaml:2:12: each of officers must be a mapping");
    bad("agency: EE\nofficers: [[mets]]\n",
        "conf/agent.yaml:2:12: each of officers must be a mapping");
    bad("agency: EE\nofficers: {id: a}\n", "conf/agent.yaml:2:11: officers must be a list");
    bad("agency: EE\nlimits: [1]\n", "conf/agent.yaml:2:9: limits must be a mapping");
    bad("agency: EE\nlimits: 1\n", "conf/agent.yaml:2:9: limits must be a mapping");
}
