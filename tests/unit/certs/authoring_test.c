#include "certs/authoring.h"

#include "certs/directory.h"
#include "certs/x509.h"
#include "common/file.h"
#include "common/limits.h"
#include "proto/pb.h"
#include "tests/lib/federation.h"
#include "tests/lib/leaks.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct test_env env;
static struct federation *f;
static char dir[] = "/tmp/sealpost-authoring-XXXXXX";
static struct config_error error;

static void put(const char *name, const char *text)
{
    char path[PATH_MAX];
    cr_assert_eq(file_join(dir, name, path, sizeof(path)), ERR_OK);
    cr_assert_eq(file_write_atomic(path, span_str(text), 0644), ERR_OK);
}

/* CA of EE.POLICE and public files of riga and tallinn, as they hand them in. */
static void setup(void)
{
    char text[1024];
    struct buf pem;
    test_env_init(&env, 51);
    cr_assert_eq(federation_new(&env.env, 1, &f), ERR_OK);
    cr_assert_not_null(mkdtemp(dir));
    buf_init(&pem, LIMIT_DOCUMENT);
    cr_assert_eq(x509_pem_write(X509_PEM_CERT, buf_span(&f->agencies[1].ca), &pem), ERR_OK);
    put("ca.pem", buf_cstr(&pem));
    buf_fini(&pem);
    for (int i = 1; i <= 2; i++) {
        snprintf(text, sizeof(text),
                 "name: %s\ntransport:\n  - \"%064d\"\nlog: \"%064d\"\nwitness: \"%064d\"\n",
                 i == 1 ? "riga" : "tallinn", i, i + 10, i + 20);
        put(i == 1 ? "riga.yaml" : "tallinn.yaml", text);
    }
}

static void teardown(void)
{
    char command[PATH_MAX + 16];
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    cr_assert_eq(system(command), 0);
    federation_free(f);
    leaks_check();
}

TestSuite(authoring, .init = setup, .fini = teardown);

static enum err load(const char *text, struct authoring **ret)
{
    char path[PATH_MAX];
    put("directory.yaml", text);
    cr_assert_eq(file_join(dir, "directory.yaml", path, sizeof(path)), ERR_OK);
    return authoring_load(path, &env.env, 7, ret, &error);
}

/* Brokers and links out of order, on purpose. */
#define BROKERS                                                                       \
    "brokers:\n"                                                                      \
    "  - {name: tallinn, endpoint: \"tcp://127.0.0.1:4501\", public: tallinn.yaml}\n" \
    "  - {name: riga, endpoint: \"tcp://127.0.0.1:4502\", public: riga.yaml, ceiling: SECRET}\n"
#define HEAD "federation: baltic.example\n"
#define AGENCY                                      \
    "agencies:\n"                                   \
    "  - name: EE.POLICE\n"                         \
    "    names: [\"et=Politsei\", \"en=Police\"]\n" \
    "    trust_domain: police.ee.example\n"         \
    "    ca: ca.pem\n"                              \
    "    homes: [tallinn, riga]\n"
#define LINKS "links:\n  - {between: [tallinn, riga], cost: 3, handling: [H2, H0]}\n"

Test(authoring, a_file_becomes_a_directory_in_canonical_order)
{
    struct authoring *a = NULL;
    struct digest spki;
    cr_assert_eq(load(HEAD AGENCY BROKERS LINKS, &a), ERR_OK, "%s", error.text);
    const Sp__Directory *d = authoring_directory(a);
    cr_assert_eq(d->version, 7);
    cr_assert_eq(d->issued_ms, env.now_ms);
    cr_assert_eq(d->expires_ms, env.now_ms + 60 * (uint64_t)86400000);
    cr_assert_eq(d->n_brokers, 2);
    cr_assert_str_eq(d->brokers[0]->name, "riga");
    cr_assert_eq(d->brokers[0]->ceiling, SP__LEVEL__LEVEL_SECRET);
    cr_assert_eq(d->brokers[1]->ceiling, SP__LEVEL__LEVEL_RESTRICTED);
    cr_assert_str_eq(d->links[0]->a, "riga");
    cr_assert_str_eq(d->links[0]->b, "tallinn");
    cr_assert_eq(d->links[0]->cost, 3);
    cr_assert_eq(d->links[0]->n_handling, 2);
    cr_assert_str_eq(d->links[0]->handling[0], "H0");
    cr_assert_str_eq(d->links[0]->handling[1], "H2");
    const Sp__AgencyEntry *ee = directory_agency(d, "EE.POLICE");
    cr_assert_str_eq(ee->homes[0], "tallinn"); /* preference stays */
    cr_assert_eq(ee->n_handling, 4);
    cr_assert_str_eq(ee->names[0]->language, "en");
    cr_assert_str_eq(ee->names[0]->text, "Police");
    cr_assert_eq(x509_spki_digest(buf_span(&f->agencies[1].ca), &spki), ERR_OK);
    cr_assert_arr_eq(ee->ca_spki.data, spki.b, 32);
    authoring_free(a);
}

Test(authoring, the_default_code_book_has_the_meanings_of_europol)
{
    struct authoring *a = NULL;
    cr_assert_eq(load(HEAD BROKERS, &a), ERR_OK, "%s", error.text);
    const Sp__Directory *d = authoring_directory(a);
    cr_assert_eq(d->n_codes, 4);
    cr_assert(directory_code(d, "H0")->exclusive);
    cr_assert(directory_code(d, "H1")->no_court_export);
    cr_assert(directory_code(d, "H2")->no_onward);
    cr_assert(directory_code(d, "H3")->needs_text);
    for (size_t i = 0; i < 4; i++)
        cr_assert_eq(d->codes[i]->n_labels, 4);
    authoring_free(a);
}

Test(authoring, a_code_book_of_its_own)
{
    struct authoring *a = NULL;
    cr_assert_eq(load(HEAD AGENCY BROKERS "codes:\n"
                                          "  - code: R2\n"
                                          "    labels: [\"en=Only borders\"]\n"
                                          "    rules: [no-onward, needs-acknowledgement]\n"
                                          "    groups: [borders]\n"
                                          "    ceiling: BPL\n"
                                          "  - {code: R1, rules: [exclusive, no-automation]}\n"
                                          "groups:\n"
                                          "  - {name: borders, agencies: [EE.POLICE]}\n",
                      &a),
                 ERR_OK, "%s", error.text);
    const Sp__Directory *d = authoring_directory(a);
    const Sp__CodeEntry *r1 = directory_code(d, "R1"), *r2 = directory_code(d, "R2");
    cr_assert(r1->exclusive && r1->no_automation && !r1->no_onward && r1->n_groups == 0);
    cr_assert_eq(r1->ceiling, SP__LEVEL__LEVEL_UNSPECIFIED);
    cr_assert(r2->no_onward && r2->needs_acknowledgement && !r2->exclusive && !r2->needs_text);
    cr_assert_str_eq(r2->groups[0], "borders");
    cr_assert_eq(r2->ceiling, SP__LEVEL__LEVEL_BPL);
    cr_assert_eq(directory_agency(d, "EE.POLICE")->n_handling, 2);
    authoring_free(a);
}

Test(authoring, what_does_not_hold_is_told)
{
    static const struct {
        const char *text, *words;
    } rows[] = {
        {HEAD, "brokers"},
        {HEAD BROKERS "colour: red\n", "directory.yaml:5:"},
        {"federation: Baltic\n" BROKERS, "domain"},
        {HEAD BROKERS "valid: 91d\n", "valid"},
        {HEAD BROKERS "links:\n  - {between: [riga]}\n", "between"},
        {HEAD BROKERS "links:\n  - {between: [riga, warsaw]}\n", "not listed"},
        {HEAD BROKERS "links:\n  - {between: [riga, riga]}\n", "order"},
        {HEAD AGENCY BROKERS "groups:\n  - {name: x, agencies: [ZZ.NONE]}\n", "member"},
        {HEAD AGENCY "    ceiling: TOP\n" BROKERS, "ceiling"},
        {HEAD AGENCY "    handling: [H4]\n" BROKERS, "H4"},
        {HEAD "agencies:\n  - {name: EE.X, trust_domain: x.example, ca: no.pem, homes: "
              "[riga]}\n" BROKERS,
         "no.pem"},
        {HEAD "agencies:\n  - {name: EE.X, trust_domain: x.example, ca: riga.yaml, homes: "
              "[riga]}\n" BROKERS,
         "no CA certificate"},
        {HEAD "brokers:\n  - {name: vilnius, endpoint: \"tcp://127.0.0.1:1\", public: riga.yaml}\n",
         "of broker riga"},
        {HEAD "brokers:\n  - {name: riga, endpoint: \"tcp://127.0.0.1:1\", public: gone.yaml}\n",
         "gone.yaml"},
        {HEAD "brokers:\n  - {name: riga, endpoint: \"ipc:///x\", public: riga.yaml}\n",
         "tcp://HOST:PORT"},
        {HEAD AGENCY "    names: [Politsei]\n" BROKERS, "names"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct authoring *a = NULL;
        cr_assert_eq(load(rows[i].text, &a), ERR_CONFIG, "row %zu", i);
        cr_assert_null(a);
        cr_assert_not_null(strstr(error.text, rows[i].words), "row %zu: %s", i, error.text);
    }
}

/* --- what changes --- */

static void agency_ceiling(void *ctx, Sp__Directory *d)
{
    (void)ctx;
    d->agencies[0]->ceiling = SP__LEVEL__LEVEL_BPL;
}

static void fewer(void *ctx, Sp__Directory *d)
{
    (void)ctx;
    d->n_agencies--;
    d->codes[3]->needs_text = false;
    d->brokers[0]->endpoint = pb_string("tcp://127.0.0.1:9");
}

static size_t diff(const Sp__Directory *a, const Sp__Directory *b, char *out, size_t size)
{
    FILE *to = fmemopen(out, size, "w");
    cr_assert_not_null(to);
    size_t n = authoring_diff(a, b, to);
    fclose(to);
    return n;
}

Test(authoring, a_signer_sees_what_changes)
{
    char text[4096] = "";
    struct trust *first = trust_ref(f->trust);
    const Sp__Directory *old = trust_directory(first);
    cr_assert_eq(diff(old, old, text, sizeof(text)), 0);
    cr_assert_eq(diff(NULL, old, text, sizeof(text)), 6 + 1 + 4);
    cr_assert_not_null(strstr(text, "+ agency EE.POLICE\n"));
    cr_assert_eq(federation_edit(f, agency_ceiling, NULL), ERR_OK);
    cr_assert_eq(diff(old, trust_directory(f->trust), text, sizeof(text)), 1);
    cr_assert_str_eq(text, "~ agency EE.CUSTOMS\n    ceiling: CONFIDENTIAL -> BPL\n");
    cr_assert_eq(federation_edit(f, fewer, NULL), ERR_OK);
    cr_assert_eq(diff(old, trust_directory(f->trust), text, sizeof(text)), 4);
    cr_assert_not_null(strstr(text, "- agency LV.POLICE\n"));
    cr_assert_not_null(strstr(text, "~ code H3\n"));
    cr_assert_not_null(strstr(text, "endpoint: tcp://127.0.0.1:4501 -> tcp://127.0.0.1:9\n"));
    cr_assert_eq(diff(trust_directory(f->trust), old, text, sizeof(text)), 4);
    cr_assert_not_null(strstr(text, "+ agency LV.POLICE\n"));
    trust_free(first);
}
