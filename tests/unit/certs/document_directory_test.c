#include "certs/documents.h"

#include "common/limits.h"
#include "tests/lib/federation.h"
#include "tests/lib/leaks.h"

#include <criterion/criterion.h>
#include <string.h>

static struct test_env env;
static struct federation *f;
static struct why why;

static void setup(void)
{
    test_env_init(&env, 41);
    cr_assert_eq(federation_new(&env.env, 3, &f), ERR_OK);
}

static void teardown(void)
{
    federation_free(f);
    leaks_check();
}

TestSuite(document_directory, .init = setup, .fini = teardown);

static ProtobufCBinaryData bytes_of(const void *data, size_t len)
{
    return pb_bytes(span_of(data, len));
}

static const uint8_t zeros[64];

/* Swaps the first two of a list of pointers; the document is read anew for each edit. */
static void swap_first(void *list_at)
{
    void **list = *(void ***)list_at;
    void *first = list[0];
    list[0] = list[1];
    list[1] = first;
}

/* --- directory: each rule has an edit that breaks it and nothing else --- */

static char *texts_h10[] = {(char *)"H1", (char *)"H0"};
static char *texts_h00[] = {(char *)"H0", (char *)"H0"};
static char *texts_h9[] = {(char *)"H9"};
static char *texts_nowhere[] = {(char *)"nowhere"};
static char *texts_twice[] = {(char *)"riga", (char *)"riga"};
static char *texts_agencies[] = {(char *)"LV.POLICE", (char *)"EE.POLICE"};
static Sp__GroupEntry group = {.name = (char *)"borders", .agencies = texts_agencies};
static Sp__GroupEntry *groups[] = {&group};
static Sp__SuiteEntry suites[2];
static Sp__SuiteEntry *suite_list[] = {&suites[0], &suites[1]};

static void put_group(Sp__Directory *d, const char *name, size_t members)
{
    sp__group_entry__init(&group);
    group.name = pb_string(name);
    group.agencies = texts_agencies;
    group.n_agencies = members;
    d->groups = groups;
    d->n_groups = 1;
}

static void put_suites(Sp__Directory *d, Sp__Level a, uint32_t min_a, Sp__Level b, uint32_t min_b)
{
    sp__suite_entry__init(&suites[0]);
    sp__suite_entry__init(&suites[1]);
    suites[0].level = a;
    suites[0].minimum = min_a;
    suites[1].level = b;
    suites[1].minimum = min_b;
    d->suites = suite_list;
    d->n_suites = 2;
}

#define EDIT(name, statement)          \
    static void name(Sp__Directory *d) \
    {                                  \
        statement;                     \
    }
EDIT(d_version, d->version = 0)
EDIT(d_federation, d->federation = pb_string("Baltic.example"))
EDIT(d_one_label, d->federation = pb_string("baltic"))
EDIT(d_expires, d->expires_ms = d->issued_ms)
EDIT(d_long, d->expires_ms = d->issued_ms + LIMIT_DIRECTORY_MS + 1)
EDIT(d_crl_short, d->crl_max_ms = LIMIT_CRL_MS_MIN - 1)
EDIT(d_crl_long, d->crl_max_ms = LIMIT_CRL_MS + 1)
EDIT(d_no_codes, d->n_codes = 0)
EDIT(d_code_name, d->codes[0]->code = pb_string("h0"))
EDIT(d_code_order, swap_first(&d->codes))
EDIT(d_code_group, d->codes[1]->groups = texts_nowhere; d->codes[1]->n_groups = 1)
EDIT(d_label_empty, d->codes[0]->labels[0]->text = pb_string(""))
EDIT(d_label_order, swap_first(&d->codes[0]->labels))
EDIT(d_label_language, d->codes[0]->labels[0]->language = pb_string("e"))
EDIT(d_agency_name, d->agencies[0]->name = pb_string("EE"))
EDIT(d_agency_order, swap_first(&d->agencies))
EDIT(d_agency_twice, d->agencies[1]->name = d->agencies[0]->name)
EDIT(d_domain, d->agencies[0]->trust_domain = pb_string("police_ee.example"))
EDIT(d_spki, d->agencies[0]->ca_spki = bytes_of(zeros, 31))
EDIT(d_agency_ceiling, d->agencies[0]->ceiling = SP__LEVEL__LEVEL_UNSPECIFIED)
EDIT(d_no_home, d->agencies[0]->n_homes = 0)
EDIT(d_home, d->agencies[0]->homes = texts_nowhere)
EDIT(d_home_twice, d->agencies[0]->homes = texts_twice; d->agencies[0]->n_homes = 2)
EDIT(d_no_handling, d->agencies[0]->n_handling = 0)
EDIT(d_handling_order, d->agencies[0]->handling = texts_h10; d->agencies[0]->n_handling = 2)
EDIT(d_handling_twice, d->agencies[0]->handling = texts_h00; d->agencies[0]->n_handling = 2)
EDIT(d_handling_unknown, d->agencies[0]->handling = texts_h9; d->agencies[0]->n_handling = 1)
EDIT(d_no_brokers, d->n_brokers = 0)
EDIT(d_broker_name, d->brokers[0]->name = pb_string("Riga"))
EDIT(d_broker_order, swap_first(&d->brokers))
EDIT(d_endpoint_scheme, d->brokers[0]->endpoint = pb_string("udp://127.0.0.1:1"))
EDIT(d_endpoint_port, d->brokers[0]->endpoint = pb_string("tcp://127.0.0.1:65536"))
EDIT(d_endpoint_any, d->brokers[0]->endpoint = pb_string("tcp://*:4501"))
EDIT(d_endpoint_twice, d->brokers[0]->endpoint = d->brokers[1]->endpoint)
EDIT(d_broker_ceiling, d->brokers[0]->ceiling = SP__LEVEL__LEVEL_UNSPECIFIED)
EDIT(d_no_curve, d->brokers[0]->n_keys = 0)
EDIT(d_curve_len, d->brokers[0]->keys[0]->public_key = bytes_of(zeros, 33))
EDIT(d_curve_never, d->brokers[0]->keys[0]->not_after_ms = d->brokers[0]->keys[0]->not_before_ms)
EDIT(d_curve_long, d->brokers[0]->keys[0]->not_before_ms = 0)
EDIT(d_curve_shared, d->brokers[0]->keys[0]->public_key = d->brokers[1]->keys[0]->public_key)
EDIT(d_log_len, d->brokers[0]->log_key = bytes_of(zeros, 0))
EDIT(d_log_is_witness, d->brokers[0]->log_key = d->brokers[0]->witness_key)
EDIT(d_log_shared, d->brokers[0]->log_key = d->brokers[1]->log_key)
EDIT(d_link_unknown, d->links[0]->b = pb_string("warsaw"))
EDIT(d_link_names, d->links[0]->a = pb_string("tallinn"); d->links[0]->b = pb_string("riga"))
EDIT(d_link_self, d->links[0]->a = d->links[0]->b)
EDIT(d_link_order, swap_first(&d->links))
EDIT(d_link_twice, d->links[1]->b = d->links[0]->b)
EDIT(d_link_cost, d->links[0]->cost = 0)
EDIT(d_link_dear, d->links[0]->cost = LIMIT_LINK_COST + 1)
EDIT(d_link_ceiling, d->links[0]->ceiling = SP__LEVEL__LEVEL_UNSPECIFIED)
EDIT(d_group_name, put_group(d, "Borders", 0))
EDIT(d_group_member, texts_agencies[0] = (char *)"ZZ.NONE"; put_group(d, "borders", 1))
EDIT(d_group_order, texts_agencies[0] = (char *)"LV.POLICE"; put_group(d, "borders", 2))
EDIT(d_suite_zero, put_suites(d, 2, 1, 3, 0))
EDIT(d_suite_order, put_suites(d, 3, 1, 2, 1))
EDIT(d_suite_level, put_suites(d, 0, 1, 2, 1))
EDIT(d_ok_group, texts_agencies[0] = (char *)"LV.POLICE"; put_group(d, "borders", 1))
EDIT(d_ok_suites, put_suites(d, 2, 1, 3, 2))
EDIT(d_ok_limits, d->expires_ms = d->issued_ms + LIMIT_DIRECTORY_MS; d->crl_max_ms = LIMIT_CRL_MS;
     d->links[0]->cost = LIMIT_LINK_COST;
     d->brokers[0]->endpoint = pb_string("tcp://broker.riga.example:65535"))

static const struct directory_row {
    const char *name;
    void (*edit)(Sp__Directory *d);
    enum err e;
    const char *words;
} directory_rows[] = {
    {"version", d_version, ERR_MALFORMED, "versions"},
    {"federation", d_federation, ERR_MALFORMED, "domain"},
    {"one label", d_one_label, ERR_MALFORMED, "domain"},
    {"expires", d_expires, ERR_MALFORMED, "expire"},
    {"long", d_long, ERR_MALFORMED, "90 days"},
    {"crl short", d_crl_short, ERR_MALFORMED, "revocation list"},
    {"crl long", d_crl_long, ERR_MALFORMED, "revocation list"},
    {"no codes", d_no_codes, ERR_MALFORMED, "code book"},
    {"code name", d_code_name, ERR_MALFORMED, "code 1"},
    {"code order", d_code_order, ERR_NON_CANONICAL, "codes are not sorted"},
    {"code group", d_code_group, ERR_MALFORMED, "group is not listed"},
    {"label empty", d_label_empty, ERR_MALFORMED, "name is empty"},
    {"label order", d_label_order, ERR_NON_CANONICAL, "languages"},
    {"label language", d_label_language, ERR_MALFORMED, "BCP 47"},
    {"agency name", d_agency_name, ERR_MALFORMED, "agency 1"},
    {"agency order", d_agency_order, ERR_NON_CANONICAL, "agencies are not sorted"},
    {"agency twice", d_agency_twice, ERR_NON_CANONICAL, "agencies are not sorted"},
    {"domain", d_domain, ERR_MALFORMED, "trust domain"},
    {"spki", d_spki, ERR_MALFORMED, "CA's digest"},
    {"agency ceiling", d_agency_ceiling, ERR_MALFORMED, "no ceiling"},
    {"no home", d_no_home, ERR_MALFORMED, "homes"},
    {"home", d_home, ERR_UNKNOWN_AGENCY, "nowhere is not listed"},
    {"home twice", d_home_twice, ERR_NON_CANONICAL, "home is there twice"},
    {"no handling", d_no_handling, ERR_MALFORMED, "no handling codes"},
    {"handling order", d_handling_order, ERR_NON_CANONICAL, "codes are not sorted"},
    {"handling twice", d_handling_twice, ERR_NON_CANONICAL, "codes are not sorted"},
    {"handling unknown", d_handling_unknown, ERR_MALFORMED, "lacks H9"},
    {"no brokers", d_no_brokers, ERR_MALFORMED, "brokers"},
    {"broker name", d_broker_name, ERR_MALFORMED, "broker 1"},
    {"broker order", d_broker_order, ERR_NON_CANONICAL, "brokers are not sorted"},
    {"endpoint scheme", d_endpoint_scheme, ERR_MALFORMED, "tcp://"},
    {"endpoint port", d_endpoint_port, ERR_MALFORMED, "tcp://"},
    {"endpoint any", d_endpoint_any, ERR_MALFORMED, "tcp://"},
    {"endpoint twice", d_endpoint_twice, ERR_WRONG_USAGE, "share"},
    {"broker ceiling", d_broker_ceiling, ERR_MALFORMED, "no ceiling"},
    {"no curve key", d_no_curve, ERR_MALFORMED, "transport keys"},
    {"curve length", d_curve_len, ERR_MALFORMED, "32 bytes"},
    {"curve never", d_curve_never, ERR_MALFORMED, "validity"},
    {"curve long", d_curve_long, ERR_MALFORMED, "validity"},
    {"curve shared", d_curve_shared, ERR_WRONG_USAGE, "share"},
    {"log length", d_log_len, ERR_MALFORMED, "32 bytes"},
    {"log is witness", d_log_is_witness, ERR_WRONG_USAGE, "one key for log"},
    {"log shared", d_log_shared, ERR_WRONG_USAGE, "share"},
    {"link unknown", d_link_unknown, ERR_UNKNOWN_AGENCY, "not listed"},
    {"link names", d_link_names, ERR_NON_CANONICAL, "names are not in order"},
    {"link self", d_link_self, ERR_NON_CANONICAL, "names are not in order"},
    {"link order", d_link_order, ERR_NON_CANONICAL, "links are not sorted"},
    {"link twice", d_link_twice, ERR_NON_CANONICAL, "links are not sorted"},
    {"link cost", d_link_cost, ERR_MALFORMED, "ceiling or cost"},
    {"link dear", d_link_dear, ERR_MALFORMED, "ceiling or cost"},
    {"link ceiling", d_link_ceiling, ERR_MALFORMED, "ceiling or cost"},
    {"group name", d_group_name, ERR_MALFORMED, "group 1"},
    {"group member", d_group_member, ERR_UNKNOWN_AGENCY, "member"},
    {"group order", d_group_order, ERR_NON_CANONICAL, "borders"},
    {"suite zero", d_suite_zero, ERR_MALFORMED, "suite"},
    {"suite order", d_suite_order, ERR_NON_CANONICAL, "suites"},
    {"suite level", d_suite_level, ERR_MALFORMED, "suite"},
    {"a group", d_ok_group, ERR_OK, NULL},
    {"suites", d_ok_suites, ERR_OK, NULL},
    {"at the limits", d_ok_limits, ERR_OK, NULL},
};

Test(document_directory, every_rule_is_held)
{
    for (size_t i = 0; i < sizeof(directory_rows) / sizeof(directory_rows[0]); i++) {
        const struct directory_row *row = &directory_rows[i];
        struct document d = {0};
        cr_assert_eq(document_read(DOCUMENT_DIRECTORY, buf_span(&f->directory), &d, &why), ERR_OK);
        Sp__Directory copy = *document_directory(&d);
        row->edit(&copy);
        enum err e = directory_check(&copy, &why);
        cr_assert_eq(e, row->e, "%s: %s", row->name, err_code(e));
        if (row->words != NULL)
            cr_assert_not_null(strstr(why.text, row->words), "%s: %s", row->name, why.text);
        document_fini(&d);
    }
}
