#include "common/config.h"

#include "tests/lib/config_sample.h"
#include "tests/lib/leaks.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

TestSuite(config, .fini = leaks_check);

Test(config, defaults)
{
    struct settings s;

    good("agency: EE.PPA\n", &s);
    cr_assert_str_eq(s.agency, "EE.PPA");
    cr_assert_str_eq(s.data, "conf/data");
    cr_assert_null(s.motto);
    cr_assert_eq(s.workers, 2);
    cr_assert_eq(s.store, 64 * LIMIT_MIB);
    cr_assert_eq(s.retry_ms, 30000);
    cr_assert(s.strict);
    cr_assert_eq(s.log, LOG_INFO);
    cr_assert_eq(s.brokers.count, 0);
    cr_assert_eq(s.officers.count, 0);
    cr_assert_eq(s.limits.rate, 7);
    config_free(table, &s);
    cr_assert_null(s.agency);
    config_free(table, &s);
}

Test(config, everything)
{
    struct settings s;
    const struct officer *o;

    good("# an agent\n"
         "agency: EE.PPA\n"
         "data: /var/lib/sealpost\n"
         "motto: 'null'\n"
         "workers: 64\n"
         "store_mib: 1024\n"
         "retry: 5m\n"
         "strict: false\n"
         "log: debug\n"
         "brokers: [tallinn, \"riga\"]\n"
         "roots:\n"
         "  - keys/a.pem\n"
         "  - /etc/b.pem\n"
         "limits: {rate: 9, note: 'a: b'}\n"
         "officers:\n"
         "  - {id: mets, name: Mari Mets, uid: 1000, roles: [officer, releaser]}\n"
         "  - id: tamm\n"
         "    name: \"J\\u00fcri Tamm\"\n"
         "    uid: 4294967295\n",
         &s);
    cr_assert_str_eq(s.data, "/var/lib/sealpost");
    cr_assert_str_eq(s.motto, "null");
    cr_assert_eq(s.workers, 64);
    cr_assert_eq(s.store, 1024 * LIMIT_MIB);
    cr_assert_eq(s.retry_ms, 300000);
    cr_assert_not(s.strict);
    cr_assert_eq(s.log, LOG_DEBUG);
    cr_assert_eq(s.brokers.count, 2);
    cr_assert_str_eq(s.brokers.items[1], "riga");
    cr_assert_str_eq(s.roots.items[0], "conf/keys/a.pem");
    cr_assert_str_eq(s.roots.items[1], "/etc/b.pem");
    cr_assert_eq(s.limits.rate, 9);
    cr_assert_str_eq(s.limits.note, "a: b");
    cr_assert_eq(s.officers.count, 2);
    o = s.officers.items;
    cr_assert_str_eq(o[0].id, "mets");
    cr_assert_eq(o[0].uid, 1000);
    cr_assert_eq(o[0].roles, ROLE_OFFICER | ROLE_RELEASER);
    cr_assert_str_eq(o[1].name, "Jüri Tamm");
    cr_assert_eq(o[1].uid, UINT32_MAX);
    cr_assert_eq(o[1].roles, 0);
    config_free(table, &s);
}

Test(config, unknown_and_duplicate_keys)
{
    bad("agency: EE.PPA\n\nworkres: 3\n", "conf/agent.yaml:3:1: unknown key \"workres\"");
    bad("agency: EE.PPA\nofficers:\n  - id: a\n    nam: b\n",
        "conf/agent.yaml:4:5: unknown key \"nam\"");
    bad("agency: EE.PPA\nlimits: {rate: 1, size: 2}\n",
        "conf/agent.yaml:2:19: unknown key \"size\"");
    bad("agency: EE.PPA\nworkers: 3\nworkers: 3\n",
        "conf/agent.yaml:3:1: given twice: \"workers\"");
    bad("agency: EE.PPA\nlimits: {rate: 1, \"rate\": 2}\n",
        "conf/agent.yaml:2:19: given twice: \"rate\"");
    bad("agency: EE.PPA\nlimits: {rate: 1}\nlimits: {}\n",
        "conf/agent.yaml:3:1: given twice: \"limits\"");
    bad("agency: EE.PPA\n? [a]\n: b\n", "conf/agent.yaml:2:3: a key must be one word");
    bad("agency: EE.PPA\n\"a\\e[31m\\0b\": 1\n",
        "conf/agent.yaml:2:1: unknown key \"a\uFFFD[31m\uFFFDb\"");
    bad("agency: EE.PPA\n"
        "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggggggggg: 1\n",
        "conf/agent.yaml:2:1: unknown key "
        "\"aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggg…\"");
}

Test(config, missing_keys)
{
    bad("workers: 1\n", "conf/agent.yaml:1:1: missing key \"agency\"");
    bad("agency: EE.PPA\nofficers:\n  - id: a\n    uid: 1\n",
        "conf/agent.yaml:3:5: missing key \"name\"");
    bad("{}", "conf/agent.yaml:1:1: missing key \"agency\"");
}

static void officers_of(size_t count, enum err expected)
{
    char text[2048];
    struct settings s;
    size_t at = (size_t)sprintf(text, "agency: EE\nofficers:\n");

    for (size_t i = 0; i < count; i++)
        at += (size_t)sprintf(text + at, "- {id: o%zu, name: N, uid: %zu}\n", i, i);
    cr_assert_eq(parse(text, &s), expected);
    if (expected == ERR_OK)
        cr_assert_eq(s.officers.count, count);
    config_free(table, &s);
}

Test(config, mappings_at_their_bound)
{
    officers_of(3, ERR_OK);
    officers_of(4, ERR_OK);
    officers_of(5, ERR_CONFIG);
    cr_assert_str_eq(error.text, "conf/agent.yaml:7:3: officers has more than 4 items");
}

Test(config, what_yaml_has_besides)
{
    bad("agency: &a EE\n", "conf/agent.yaml:1:9: anchors are not allowed");
    bad("agency: &a EE\nmotto: *a\n", "conf/agent.yaml:1:9: anchors are not allowed");
    bad("agency: *a\n", "conf/agent.yaml:1:9: aliases are not allowed");
    bad("agency: EE\nlimits: &l {rate: 1}\n", "conf/agent.yaml:2:9: anchors are not allowed");
    bad("agency: EE\nbrokers: &l [a]\n", "conf/agent.yaml:2:10: anchors are not allowed");
    bad("agency: !!str EE\n", "conf/agent.yaml:1:9: tags are not allowed");
    bad("agency: EE\nbrokers: !!seq [a]\n", "conf/agent.yaml:2:10: tags are not allowed");
    bad("<<: {agency: EE}\n", "conf/agent.yaml:1:1: unknown key \"<<\"");
    bad("agency: EE\n---\nagency: EF\n", "conf/agent.yaml:2:1: a second document is not allowed");
    bad("", "conf/agent.yaml:1:1: the file is empty");
    bad("# nothing\n", "conf/agent.yaml:2:1: the file is empty");
    bad("[a]\n", "conf/agent.yaml:1:1: the file must be a mapping of keys to values");
    bad("just text\n", "conf/agent.yaml:1:1: the file must be a mapping of keys to values");
}

Test(config, not_yaml)
{
    struct settings s;

    cr_assert_eq(parse("agency: EE\nbrokers: [a\n", &s), ERR_CONFIG);
    cr_assert_eq(strncmp(error.text, "conf/agent.yaml:3:1: ", 21), 0, "%s", error.text);
    cr_assert_eq(parse("agency: EE\n\tlog: info\n", &s), ERR_CONFIG);
    cr_assert_eq(strncmp(error.text, "conf/agent.yaml:2:", 18), 0, "%s", error.text);
    cr_assert_eq(parse("agency: \"EE\n", &s), ERR_CONFIG);
}

static void bytes_refused(const char *text, size_t len, const char *message)
{
    struct settings s;

    cr_assert_eq(config_parse("c.yaml", text, len, table, &s, sizeof s, &error), ERR_CONFIG);
    cr_assert_str_eq(error.text, message);
}

Test(config, only_utf8_without_nul)
{
    bytes_refused("agency: EE\nmotto: a\0b", 21, "c.yaml:2:9: not UTF-8 text");
    bytes_refused("agency: EE\nmotto: \xc3\xbc\xff", 21, "c.yaml:2:9: not UTF-8 text");
    bytes_refused("\xff\xfe"
                  "a\0",
                  4, "c.yaml:1:1: not UTF-8 text");
    bytes_refused("agency: \xed\xa0\x80", 11, "c.yaml:1:9: not UTF-8 text");
}

static void sized(size_t size, enum err expected)
{
    char *text = malloc(size);
    struct settings s;

    cr_assert_not_null(text);
    memset(text, '\n', size);
    memcpy(text, "agency: EE", 10);
    cr_assert_eq(config_parse("c.yaml", text, size, table, &s, sizeof s, &error), expected);
    config_free(table, &s);
    free(text);
}

Test(config, size_at_its_bound)
{
    sized(LIMIT_CONFIG - 1, ERR_OK);
    sized(LIMIT_CONFIG, ERR_OK);
    sized(LIMIT_CONFIG + 1, ERR_CONFIG);
    cr_assert_str_eq(error.text, "c.yaml: more than 1048576 bytes");
}

Test(config, nested_deeply)
{
    char *text = calloc(1, 200000);
    struct settings s;

    cr_assert_not_null(text);
    memcpy(text, "agency: ", 8);
    memset(text + 8, '[', 100000);
    cr_assert_eq(parse(text, &s), ERR_CONFIG);
    cr_assert_str_eq(error.text, "conf/agent.yaml:1:9: agency must be one value");
    free(text);
}

/* A file in a directory of its own; the path in `path`. */
static void make_file(char path[64], const char *text)
{
    char dir[] = "/tmp/sealpost-config-XXXXXX";
    FILE *f;

    cr_assert_not_null(mkdtemp(dir));
    (void)snprintf(path, 64, "%s/c.yaml", dir);
    f = fopen(path, "w");
    cr_assert_not_null(f);
    cr_assert_geq(fputs(text, f), 0);
    cr_assert_eq(fclose(f), 0);
}

static void remove_file(char *path)
{
    cr_assert_eq(unlink(path), 0);
    *strrchr(path, '/') = '\0';
    cr_assert_eq(rmdir(path), 0);
}

Test(config, load_from_a_file)
{
    char path[64];
    char expected[128];
    struct settings s;

    make_file(path, "agency: EE\ndata: d/e\n");
    cr_assert_eq(config_load(path, table, &s, sizeof s, &error), ERR_OK);
    (void)snprintf(expected, sizeof expected, "%.*s/d/e", (int)(strrchr(path, '/') - path), path);
    cr_assert_str_eq(s.data, expected, "from the file's directory, wherever we are");
    config_free(table, &s);
    remove_file(path);
    (void)snprintf(expected, sizeof expected, "%s: no such file", path);
    cr_assert_eq(config_load(path, table, &s, sizeof s, &error), ERR_CONFIG);
    cr_assert_str_eq(error.text, expected);
    cr_assert_eq(config_load("/tmp", table, &s, sizeof s, &error), ERR_CONFIG);
    cr_assert_str_eq(error.text, "/tmp: no permission to read, or not a regular file");
}

Test(config, load_names_the_line)
{
    char path[64];
    char expected[128];
    struct settings s;

    make_file(path, "agency: EE\n\n  \nlgo: info\n");
    cr_assert_eq(config_load(path, table, &s, sizeof s, &error), ERR_CONFIG);
    (void)snprintf(expected, sizeof expected, "%s:4:1: unknown key \"lgo\"", path);
    cr_assert_str_eq(error.text, expected);
    remove_file(path);
}

Test(config, help_lists_every_field)
{
    static const char expected[] =
        "agency: text, at most 10 bytes; required\n"
        "    Name of the agency.\n"
        "data: path; default data\n"
        "motto: text, at most 4096 bytes\n"
        "workers: number, 1 to 64; default 2\n"
        "store_mib: size in MiB, 16 to 1024; default 64\n"
        "retry: duration, 500ms to 1d; default 30s\n"
        "strict: true | false; default true\n"
        "log: error | info | debug; default info\n"
        "brokers: list of texts, at most 3\n"
        "roots: list of paths, at most 1024\n"
        "officers: list of mappings, at most 4\n"
        "    id: text, at most 128 bytes; required\n"
        "        Short name.\n"
        "    name: text, at most 4096 bytes; required\n"
        "    uid: number, 0 to 4294967295; required\n"
        "    roles: list of officer | releaser | auditor | administrator\n"
        "limits: mapping\n"
        "    rate: number, 0 to 9; default 7\n"
        "    note: text, at most 4096 bytes\n";
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);

    cr_assert_not_null(f);
    config_print_help(table, f);
    cr_assert_eq(fclose(f), 0);
    cr_assert_str_eq(text, expected);
    free(text);
}
