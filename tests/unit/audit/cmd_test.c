/* The program as people and scripts run it: exit codes, words, JSON. */
#include "common/env.h"
#include "common/text.h"
#include "common/uuid.h"
#include "tests/lib/leaks.h"
#include "tests/unit/audit/story.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdarg.h>
#include <sys/wait.h>

TestSuite(cmd, .fini = leaks_check);

#define OUT_SIZE 262144

/* What a run printed, stdout and stderr together, and its exit code. */
struct ran {
    char *out;
    int code;
};

[[gnu::format(printf, 1, 2)]] static struct ran run(const char *format, ...)
{
    struct ran r = {.out = calloc(1, OUT_SIZE)};
    char line[2048], args[1024];
    va_list list;
    size_t len;
    FILE *f;

    va_start(list, format);
    (void)vsnprintf(args, sizeof(args), format, list);
    va_end(list);
    (void)snprintf(line, sizeof(line), "env -u SEALPOST_ROOT LC_ALL=C.UTF-8 '%s' %s 2>&1",
                   SEALPOST_AUDIT, args);
    f = popen(line, "r");
    cr_assert_not_null(f);
    len = fread(r.out, 1, OUT_SIZE - 1, f);
    r.out[len] = '\0';
    r.code = WEXITSTATUS(pclose(f));
    return r;
}

static void expect(struct ran r, int code, const char *words)
{
    cr_assert_eq(r.code, code, "exit %d, not %d: %s", r.code, code, r.out);
    if (words != NULL)
        cr_assert_not_null(strstr(r.out, words), "\"%s\" is not in: %s", words, r.out);
    free(r.out);
}

static json_t *expect_json(struct ran r, int code)
{
    json_error_t error;
    json_t *j;

    cr_assert_eq(r.code, code, "exit %d, not %d: %s", r.code, code, r.out);
    j = json_loads(r.out, 0, &error);
    cr_assert_not_null(j, "%s: %s", error.text, r.out);
    free(r.out);
    return j;
}

/* Told now, since the program judges documents by the clock of this machine. */
static void begin(struct story *s, char id[UUID_TEXT_SIZE])
{
    story_init(s, env_now_ms(env_system()) - 3600000);
    story_stop(s);
    uuid_format(&s->id, id);
}

Test(cmd, verify)
{
    char id[UUID_TEXT_SIZE];
    struct story s;
    json_t *j;

    begin(&s, id);
    expect(run("verify %s", s.logs[STORY_HOME].dir), 0, "key not anchored");
    expect(run("verify %s --root %s/root.dsse", s.logs[STORY_HOME].dir, s.dir), 0,
           "anchored in the federation root");
    for (int i = 0; i < STORY_LOGS; i++) {
        j = expect_json(run("--json --root %s/root.dsse verify %s", s.dir, s.logs[i].dir), 0);
        cr_assert(json_is_true(json_object_get(j, "holds")));
        cr_assert(json_is_true(json_object_get(j, "anchored")));
        cr_assert_eq(json_integer_value(json_object_get(j, "covered")),
                     json_integer_value(json_object_get(j, "size")));
        cr_assert_eq(json_integer_value(json_object_get(j, "signatures")),
                     json_integer_value(json_object_get(j, "checkpoints")));
        json_decref(j);
    }
    expect(run("verify %s", s.dir), 7, "not a data directory");
    expect(run("verify /nonexistent"), 7, "no such directory");
    expect(run("verify %s --root %s/directory.dsse", s.logs[0].dir, s.dir), 1, NULL);
    expect(run("verify %s --root /nonexistent", s.logs[0].dir), 7, NULL);
    expect(run("verify"), 2, NULL);
    expect(run("reconcile %s %s", s.logs[0].dir, s.logs[1].dir), 2, "reconcile");
    expect(run("report %s --to x.html", s.logs[0].dir), 2, "report");
    story_fini(&s);
}

Test(cmd, verify_names_what_does_not_hold)
{
    uint8_t key[STORE_KEY_U64];
    struct store_txn *txn;
    struct story s;
    char id[UUID_TEXT_SIZE];
    json_t *j, *first;

    begin(&s, id);
    fixture_open(&s.logs[STORY_HOME]);
    store_key_u64(5, key);
    cr_assert_eq(store_write_begin(s.logs[STORY_HOME].store, &txn), ERR_OK);
    store_delete(txn, AUDIT_LEAF, span_of(key, sizeof(key)));
    cr_assert_eq(store_commit(txn), ERR_OK);
    fixture_close(&s.logs[STORY_HOME]);
    expect(run("verify %s", s.logs[STORY_HOME].dir), 8, "leaf 5: a leaf is missing");
    j = expect_json(run("verify --json %s", s.logs[STORY_HOME].dir), 8);
    cr_assert(json_is_false(json_object_get(j, "holds")));
    first = json_array_get(json_object_get(j, "findings"), 0);
    cr_assert_str_eq(json_string_value(json_object_get(first, "code")), "leaf-missing");
    cr_assert_eq(json_integer_value(json_object_get(first, "index")), 5);
    cr_assert_gt(strlen(json_string_value(json_object_get(first, "next"))), 10);
    json_decref(j);
    story_fini(&s);
}

Test(cmd, explain)
{
    char id[UUID_TEXT_SIZE];
    struct story s;
    json_t *j;

    begin(&s, id);
    expect(run("explain %s %s %s %s %s --root %s/root.dsse", id, s.logs[0].dir, s.logs[1].dir,
               s.logs[2].dir, s.logs[3].dir, s.dir),
           0, "proof holds: leaf 18 of 19 in baltic.example/tallinn\n");
    expect(run("explain %s %s %s %s %s", id, s.logs[0].dir, s.logs[1].dir, s.logs[2].dir,
               s.logs[3].dir),
           0, "rests on step 3: leaf 19 in baltic.example/riga");
    expect(run("explain %s %s", id, s.logs[1].dir), 0, "which is in none of the given logs");
    j = expect_json(run("--json explain %s %s %s %s %s --root %s/root.dsse", id, s.logs[0].dir,
                        s.logs[1].dir, s.logs[2].dir, s.logs[3].dir, s.dir),
                    0);
    cr_assert_eq(json_array_size(json_object_get(j, "steps")), STORY_RECEIPTS);
    cr_assert(json_is_true(json_object_get(j, "holds")));
    cr_assert_str_eq(json_string_value(json_object_get(
                         json_array_get(json_object_get(j, "recipients"), 0), "state")),
                     "opened");
    json_decref(j);
    expect(run("explain 019c0000-0000-7000-8000-000000000000 %s", s.logs[1].dir), 7, NULL);
    expect(run("explain nonsense %s", s.logs[1].dir), 2, NULL);
    expect(run("explain %s %s %s", id, s.logs[1].dir, s.logs[1].dir), 2, "the same log");
    expect(run("explain %s", id), 2, NULL);
    story_fini(&s);
}

Test(cmd, query)
{
    char id[UUID_TEXT_SIZE];
    struct story s;
    json_t *j;

    begin(&s, id);
    expect(run("query %s --event relayed", s.logs[STORY_HOME].dir), 0, id);
    expect(run("query %s --event relayed --to riga --from EE.POLICE --handling H0",
               s.logs[STORY_HOME].dir),
           0, id);
    expect(run("query %s --event refused", s.logs[STORY_HOME].dir), 1, NULL);
    expect(run("query %s --handling H2", s.logs[STORY_HOME].dir), 1, NULL);
    expect(run("query %s --event relayed --since 1m", s.logs[STORY_HOME].dir), 1, NULL);
    expect(run("query %s --event relayed --since 2h", s.logs[STORY_HOME].dir), 0, id);
    expect(run("query %s --event relayed --until 2h", s.logs[STORY_HOME].dir), 1, NULL);
    expect(run("query %s --event nonsense", s.logs[STORY_HOME].dir), 2, "accepted");
    j = expect_json(run("query --json %s --event relayed", s.logs[STORY_HOME].dir), 0);
    cr_assert_str_eq(json_string_value(json_object_get(j, "id")), id);
    cr_assert_eq(json_integer_value(json_object_get(j, "index")), 19);
    json_decref(j);
    story_fini(&s);
}

static void flip(const char *path, const char *at)
{
    char *text = calloc(1, OUT_SIZE);
    FILE *f = fopen(path, "r+");
    char *p;

    cr_assert_not_null(f);
    cr_assert_gt(fread(text, 1, OUT_SIZE - 1, f), 0);
    p = strstr(text, at);
    cr_assert_not_null(p);
    p += strlen(at);
    *p = *p == 'A' ? 'B' : 'A';
    rewind(f);
    cr_assert_eq(fwrite(text, 1, strlen(text), f), strlen(text));
    fclose(f);
    free(text);
}

Test(cmd, prove_and_check)
{
    char id[UUID_TEXT_SIZE], proof[128];
    struct story s;
    json_t *j;

    begin(&s, id);
    (void)snprintf(proof, sizeof(proof), "%s/p.tlog-proof", s.dir);
    expect(run("prove %s --index 18 --to %s", s.logs[STORY_HOME].dir, proof), 0,
           "key not anchored");
    expect(run("prove %s --index 18 --to %s", s.logs[STORY_HOME].dir, proof), 1, "exists");
    expect(run("check %s", proof), 0, "key not anchored");
    expect(run("check %s --root %s/root.dsse", proof, s.dir), 0,
           "proof holds: leaf 18 of 19 in baltic.example/tallinn, signed by its log");
    j = expect_json(run("--json check %s", proof), 0);
    cr_assert_str_eq(json_string_value(json_object_get(json_object_get(j, "leaf"), "event")),
                     "accepted");
    json_decref(j);
    flip(proof, "extra EAI");
    expect(run("check %s", proof), 8, "does not");
    (void)remove(proof);
    expect(run("prove %s --id %s --to %s", s.logs[STORY_HOME].dir, id, proof), 2, "18 19 20");
    expect(run("prove %s --index 999 --to %s", s.logs[STORY_HOME].dir, proof), 7, NULL);
    expect(run("prove %s --to %s", s.logs[STORY_HOME].dir, proof), 2, NULL);
    expect(run("check %s/root.dsse", s.dir), 1, "neither a proof nor an evidence bundle");
    story_fini(&s);
}

static void write_file(const char *path, struct span bytes)
{
    FILE *f = fopen(path, "wb");

    cr_assert_not_null(f);
    cr_assert_eq(fwrite(bytes.data, 1, bytes.len, f), bytes.len);
    fclose(f);
}

Test(cmd, check_evidence)
{
    char id[UUID_TEXT_SIZE], path[128];
    struct story s, other;
    struct buf b;
    json_t *j;

    begin(&s, id);
    (void)snprintf(path, sizeof(path), "%s/evidence", s.dir);
    buf_init(&b, LIMIT_EVIDENCE);
    story_evidence(&s, true, &b);
    write_file(path, buf_span(&b));
    expect(run("check %s --root %s/root.dsse", path, s.dir), 0, "the evidence holds: 9 receipts");
    expect(run("check %s", path), 0, "KEY NOT ANCHORED");
    j = expect_json(run("--json check %s --root %s/root.dsse", path, s.dir), 0);
    cr_assert(json_is_true(json_object_get(j, "holds")));
    cr_assert(json_is_true(json_object_get(j, "disclosed")));
    json_decref(j);
    /* Under the root of another federation, whose keys are others. */
    story_init(&other, env_now_ms(env_system()) - 7200000);
    other.env.counter += 1000;
    federation_free(other.federation);
    test_env_init(&other.env, 2);
    other.env.now_ms = env_now_ms(env_system());
    cr_assert_eq(federation_new(&other.env.env, 3, &other.federation), ERR_OK);
    (void)nftw(other.dir, fixture_remove, 16, FTW_DEPTH | FTW_PHYS);
    cr_assert_eq(mkdir(other.dir, 0700), 0);
    cr_assert_eq(federation_write(other.federation, other.dir), ERR_OK);
    expect(run("check %s --root %s/root.dsse", path, other.dir), 8, "do not hold");
    story_fini(&other);

    /* Another file key than the one that was committed to. */
    b.data[b.len - 1] ^= 1;
    write_file(path, buf_span(&b));
    expect(run("check %s --root %s/root.dsse", path, s.dir), 8, "THE EVIDENCE DOES NOT HOLD");
    buf_fini(&b);
    story_fini(&s);
}

/* The checkpoint that a log has stored last, as a file. */
static void keep_checkpoint(struct fixture *f, const char *path)
{
    struct buf b;

    fixture_open(f);
    buf_init(&b, LIMIT_CHECKPOINT);
    cr_assert_eq(audit_log_latest(f->log, &b), ERR_OK);
    write_file(path, buf_span(&b));
    buf_fini(&b);
    fixture_close(f);
}

Test(cmd, consistency)
{
    char id[UUID_TEXT_SIZE], old[128], new[128];
    struct fixture *f;
    struct story s;
    json_t *j;

    begin(&s, id);
    f = &s.logs[STORY_HOME];
    (void)snprintf(old, sizeof(old), "%s/old", s.dir);
    (void)snprintf(new, sizeof(new), "%s/new", s.dir);
    keep_checkpoint(f, old);
    fixture_open(f);
    fixture_commit(f, 2000, 300);
    fixture_save(f);
    fixture_close(f);
    keep_checkpoint(f, new);
    expect(run("consistency %s %s", old, f->dir), 0, "321 leaves continue the 21 of before");
    expect(run("consistency %s %s --root %s/root.dsse", old, f->dir, s.dir), 0, NULL);
    expect(run("verify %s --since %s --root %s/root.dsse", f->dir, old, s.dir), 0, "holds");
    expect(run("consistency %s %s", new, f->dir), 0, NULL);
    expect(run("consistency %s %s", f->dir, new), 0, NULL);
    expect(run("consistency %s %s", f->dir, f->dir), 0, NULL);
    expect(run("consistency %s %s", new, new), 0, NULL);
    expect(run("consistency %s %s", old, new), 2, "data directory");
    expect(run("consistency %s %s", new, old), 8, "set back");
    expect(run("consistency %s %s", old, s.logs[STORY_RELAY].dir), 2, "two logs");
    expect(run("consistency /nonexistent %s", f->dir), 7, NULL);
    j = expect_json(run("--json consistency %s %s", old, f->dir), 0);
    cr_assert_eq(json_integer_value(json_object_get(j, "new_size")), 321);
    json_decref(j);
    flip(old, "\n21\n");
    expect(run("consistency %s %s", old, f->dir), 8, "rewritten");
    expect(run("consistency %s %s --root %s/root.dsse", old, f->dir, s.dir), 8, "not signed");
    expect(run("verify %s --since %s", f->dir, old), 8, "since-root");
    story_fini(&s);
}

Test(cmd, export)
{
    char id[UUID_TEXT_SIZE], to[128], path[256];
    struct fixture *f;
    struct story s;

    begin(&s, id);
    f = &s.logs[STORY_HOME];
    fixture_open(f);
    fixture_commit(f, 2000, 300);
    fixture_save(f);
    fixture_close(f);
    (void)snprintf(to, sizeof(to), "%s/export", s.dir);
    expect(run("export %s --to %s", f->dir, to), 0, "321 leaves");
    expect(run("export %s --to %s", f->dir, to), 0, "321 leaves");
    static const char *const files[] = {"checkpoint",       "tile/0/000",
                                        "tile/0/001.p/65",  "tile/1/000.p/1",
                                        "tile/entries/000", "tile/entries/001.p/65"};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", to, files[i]);
        cr_assert_eq(access(path, R_OK), 0, "%s", path);
    }
    story_fini(&s);
}

Test(cmd, help_is_there)
{
    expect(run("--help"), 0, "explain ID SOURCE");
    expect(run("verify --help"), 0, "--since");
    expect(run("--version"), 0, SEALPOST_VERSION);
    expect(run("--man"), 0, "EXIT STATUS");
}
