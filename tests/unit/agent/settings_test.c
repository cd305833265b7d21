#include "agent/settings.h"

#include "common/file.h"
#include "common/limits.h"
#include "tests/lib/leaks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char dir[64];
static struct config_error error;

static void make_dir(void)
{
    strcpy(dir, "/tmp/sealpost-settings-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
}

static void remove_dir(void)
{
    char path[128];

    snprintf(path, sizeof path, "%s/a.yaml", dir);
    unlink(path);
    rmdir(dir);
    leaks_check();
}

TestSuite(settings, .init = make_dir, .fini = remove_dir);

#define OFFICER(id, uid) "  - {id: " id ", name: Mari, uid: " uid ", roles: [officer]}\n"
#define HEAD "agency: EE.POLICE\nfederation: f\nroot: r\npassphrase_file: p\n"
#define ONE "officers:\n" OFFICER("tamm", "1000")

static enum err load(const char *text, struct settings *s)
{
    char path[128];

    snprintf(path, sizeof path, "%s/a.yaml", dir);
    cr_assert_eq(file_write_atomic(path, span_str(text), 0600), ERR_OK);
    error.text[0] = '\0';
    return settings_load(path, s, &error);
}

static void good(const char *text)
{
    struct settings s;
    enum err e = load(text, &s);

    cr_assert_eq(e, ERR_OK, "%s\n%s", error.text, text);
    settings_free(&s);
}

/* Refused by a message that names the field and the file, with nothing left behind. */
static void bad(const char *text, const char *says)
{
    static const struct settings zero;
    struct settings s;

    cr_assert_eq(load(text, &s), ERR_CONFIG, "taken: %s", text);
    cr_assert_not_null(strstr(error.text, says), "says: %s", error.text);
    cr_assert_not_null(strstr(error.text, "a.yaml"), "says: %s", error.text);
    cr_assert_eq(memcmp(&s, &zero, sizeof s), 0);
    settings_free(&s);
}

static void field(const char *line, bool fine, const char *says)
{
    char text[8192];

    snprintf(text, sizeof text, HEAD "%s\n" ONE, line);
    if (fine)
        good(text);
    else
        bad(text, says);
}

Test(settings, defaults)
{
    struct settings s;
    char path[128];

    cr_assert_eq(load(HEAD ONE, &s), ERR_OK, "%s", error.text);
    cr_assert_str_eq(s.agency, "EE.POLICE");
    cr_assert_str_eq(s.agent, "main");
    snprintf(path, sizeof path, "%s/agent.sock", dir);
    cr_assert_str_eq(s.socket, path);
    snprintf(path, sizeof path, "%s/data", dir);
    cr_assert_str_eq(s.data, path);
    snprintf(path, sizeof path, "%s/keys", dir);
    cr_assert_str_eq(s.keys, path);
    cr_assert_eq(s.store_bytes, 4096 * LIMIT_MIB);
    cr_assert_eq(s.workers, 0);
    cr_assert_eq(s.refresh_ms, 5000);
    cr_assert(s.sandbox);
    cr_assert_not(s.dumpable);
    cr_assert_eq(s.in_flight_max, 256);
    cr_assert_eq(s.answer_ms, 10000);
    cr_assert_eq(s.retry_ms_min, 100);
    cr_assert_eq(s.retry_ms_max, 30000);
    cr_assert_eq(s.officers.count, 1);
    settings_free(&s);
    settings_free(&s);
}

Test(settings, required)
{
    bad("federation: f\nroot: r\npassphrase_file: p\n" ONE, "agency");
    bad("agency: EE.POLICE\nroot: r\npassphrase_file: p\n" ONE, "federation");
    bad("agency: EE.POLICE\nfederation: f\npassphrase_file: p\n" ONE, "root");
    bad("agency: EE.POLICE\nfederation: f\nroot: r\n" ONE, "passphrase_file");
    bad(HEAD, "officers");
    bad(HEAD "officers: []\n", "officers");
    field("nonsense: 1", false, "nonsense");
}

struct bound {
    const char *line;
    bool good;
};

static void check_bounds(const struct bound *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char key[32];

        snprintf(key, sizeof key, "%.*s", (int)strcspn(b[i].line, ":"), b[i].line);
        field(b[i].line, b[i].good, key);
    }
}

Test(settings, numbers_at_their_bounds)
{
    static const struct bound bounds[] = {
        {"store_mib: 15", false},
        {"store_mib: 16", true},
        {"store_mib: 4194304", true},
        {"store_mib: 4194305", false},
        {"workers: 0", true},
        {"workers: 64", true},
        {"workers: 65", false},
        {"workers: -1", false},
        {"refresh: 99ms", false},
        {"refresh: 100ms", true},
        {"refresh: 1h", true},
        {"refresh: 3600001ms", false},
        {"in_flight_max: 0", false},
        {"in_flight_max: 1", true},
        {"in_flight_max: 4096", true},
        {"in_flight_max: 4097", false},
        {"answer: 99ms", false},
        {"answer: 100ms", true},
        {"answer: 1h", true},
        {"answer: 3600001ms", false},
        {"retry_min: 0ms", false},
        {"retry_min: 1ms", true},
        {"retry_min: 30s", true},
        {"retry_max: 99ms", false},
        {"retry_max: 100ms", true},
        {"retry_max: 1h", true},
        {"retry_max: 3600001ms", false},
        {"retry_max: 0ms", false},
        {"sandbox: true", true},
        {"sandbox: maybe", false},
        {"dumpable: false", true},
        {"dumpable: 1", false},
        {"log_level: debug", true},
        {"log_level: loud", false},
    };

    check_bounds(bounds, sizeof bounds / sizeof *bounds);
    field("retry_min: 30001ms", false, "retry_max: below retry_min");
    field("retry_min: 1h\nretry_max: 1h", true, "");
    field("retry_min: 3600001ms\nretry_max: 1h", false, "retry_min");
}

Test(settings, names)
{
    static const struct bound bounds[] = {
        {"agent: a", true},
        {"agent: abcdefghijklmnopqrstuvwxyz-01234", true},
        {"agent: abcdefghijklmnopqrstuvwxyz-012345", false},
        {"agent: \"\"", false},
        {"agent: Main", false},
        {"agent: ma.in", false},
    };

    check_bounds(bounds, sizeof bounds / sizeof *bounds);
    bad("agency: police\nfederation: f\nroot: r\npassphrase_file: p\n" ONE, "agency");
    bad("agency: EE..POLICE\nfederation: f\nroot: r\npassphrase_file: p\n" ONE, "agency");
    bad("agency: \"\"\nfederation: f\nroot: r\npassphrase_file: p\n" ONE, "agency");
}

static void agency(size_t last, bool fine)
{
    static const char a[] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    char text[512];

    snprintf(text, sizeof text,
             "agency: EE.%.24s.%.24s.%.*s\nfederation: f\nroot: r\npassphrase_file: p\n" ONE, a, a,
             (int)last, a);
    if (fine)
        good(text);
    else
        bad(text, "agency");
}

Test(settings, agency_at_its_bound)
{
    agency(23, true);
    agency(24, true);
    agency(25, false);
}

Test(settings, path_of_the_socket)
{
    char line[256];
    char path[128];

    memset(path, 'a', sizeof path);
    path[0] = '/';
    snprintf(line, sizeof line, "socket: %.106s", path);
    field(line, true, "");
    snprintf(line, sizeof line, "socket: %.107s", path);
    field(line, true, "");
    snprintf(line, sizeof line, "socket: %.108s", path);
    field(line, false, "socket: the path is too long");
}

Test(settings, officers_are_distinct)
{
    good(HEAD "officers:\n" OFFICER("tamm", "1000") OFFICER("kask", "1001"));
    bad(HEAD "officers:\n" OFFICER("tamm", "1000") OFFICER("tamm", "1001"), "an id stands there");
    bad(HEAD "officers:\n" OFFICER("tamm", "1000") OFFICER("kask", "1000"), "a uid stands there");
    /* Not only beside each other. */
    bad(HEAD "officers:\n" OFFICER("tamm", "1000") OFFICER("kask", "1001") OFFICER("mets", "1000"),
        "a uid stands there");
}

static void officer(const char *text, bool fine, const char *says)
{
    char all[1024];

    snprintf(all, sizeof all, HEAD "officers:\n  - %s\n", text);
    if (fine)
        good(all);
    else
        bad(all, says);
}

Test(settings, fields_of_an_officer)
{
    officer("{id: a, name: b, uid: 0, roles: [officer]}", true, "");
    officer("{id: a, name: b, uid: 4294967294, roles: [officer, releaser, auditor]}", true, "");
    officer("{id: a, name: b, uid: 4294967295, roles: [officer]}", false, "uid");
    officer("{id: a, name: b, uid: 1, roles: [boss]}", false, "boss");
    officer("{id: a, name: b, uid: 1, roles: [officer, officer]}", false, "officer");
    officer("{id: a, name: b, uid: 1}", false, "roles");
    officer("{id: a, name: b, roles: [officer]}", false, "uid");
    officer("{id: a, uid: 1, roles: [officer]}", false, "name");
    officer("{name: b, uid: 1, roles: [officer]}", false, "id");
    officer("{id: \"\", name: b, uid: 1, roles: [officer]}", false, "id");
    officer("{id: a, name: \"\", uid: 1, roles: [officer]}", false, "name");
}

Test(settings, texts_of_an_officer_at_their_bound)
{
    char text[512];
    char name[LIMIT_OFFICER + 1];

    memset(name, 'a', sizeof name);
    for (int len = LIMIT_OFFICER - 2; len <= LIMIT_OFFICER; len++) {
        snprintf(text, sizeof text, "{id: %.*s, name: b, uid: 1, roles: [officer]}", len, name);
        officer(text, len < LIMIT_OFFICER, "id");
        snprintf(text, sizeof text, "{id: b, name: %.*s, uid: 1, roles: [officer]}", len, name);
        officer(text, len < LIMIT_OFFICER, "name");
    }
}

static void check_many(size_t n)
{
    size_t size = 256 + 96 * n;
    char *text = malloc(size);
    size_t len;

    cr_assert_not_null(text);
    len = (size_t)snprintf(text, size, HEAD "officers:\n");
    for (size_t i = 0; i < n; i++)
        len += (size_t)snprintf(text + len, size - len,
                                "  - {id: o%zu, name: n, uid: %zu, roles: [officer]}\n", i, i);
    if (n <= LIMIT_OFFICERS)
        good(text);
    else
        bad(text, "officers");
    free(text);
}

Test(settings, number_of_officers)
{
    check_many(LIMIT_OFFICERS - 1);
    check_many(LIMIT_OFFICERS);
    check_many(LIMIT_OFFICERS + 1);
}

Test(settings, officer_by_uid)
{
    struct settings s;
    const struct officer *o;

    cr_assert_eq(load(HEAD "officers:\n" OFFICER(
                          "tamm", "1000") "  - {id: kask, name: Jaan, uid: 1001,"
                                          " roles: [auditor, administrator, releaser]}\n",
                      &s),
                 ERR_OK);
    o = settings_officer(&s, 1001);
    cr_assert_not_null(o);
    cr_assert_str_eq(o->id, "kask");
    cr_assert_str_eq(o->name, "Jaan");
    cr_assert_eq(o->roles, ROLE_AUDITOR | ROLE_ADMINISTRATOR | ROLE_RELEASER);
    o = settings_officer(&s, 1000);
    cr_assert_eq(o->roles, ROLE_OFFICER);
    cr_assert_null(settings_officer(&s, 0));
    cr_assert_null(settings_officer(&s, 1002));
    settings_free(&s);
}

Test(settings, no_file)
{
    struct settings s;

    cr_assert_eq(settings_load("/nonexistent/a.yaml", &s, &error), ERR_CONFIG);
    cr_assert_not_null(strstr(error.text, "a.yaml"));
    settings_free(&s);
}
