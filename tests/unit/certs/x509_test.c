#include "certs/x509.h"

#include "common/file.h"
#include "common/limits.h"
#include "tests/lib/federation.h"
#include "tests/lib/leaks.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define DAY_MS ((uint64_t)86400000)
#define AGENCY "EE.POLICE"
#define DOMAIN "police.ee.example"

static struct test_env env;
static struct secret *ca_key, *seed;
static struct ed25519_public pub;
static struct buf ca, leaf, crl;
static struct digest spki;
static struct x509_issuer issuer;

static void make_ca(enum x509_algorithm algorithm)
{
    secret_free(ca_key);
    ca_key = NULL;
    buf_reset(&ca);
    cr_assert_eq(x509_key_new(&env.env, algorithm, &ca_key), ERR_OK);
    cr_assert_eq(x509_make_ca(&env.env, ca_key, AGENCY, DOMAIN, 365 * DAY_MS, &ca), ERR_OK);
    cr_assert_eq(x509_spki_digest(buf_span(&ca), &spki), ERR_OK);
    issuer = (struct x509_issuer){.cert = buf_span(&ca), .pkcs8 = ca_key};
}

static enum err make_leaf(const char *agency, const char *domain, uint64_t lifetime)
{
    buf_reset(&leaf);
    return x509_make_leaf(&env.env, &issuer, agency, domain, &pub, lifetime, &leaf);
}

static void setup(void)
{
    cr_assert_eq(secret_process_init(true), ERR_OK);
    test_env_init(&env, 11);
    buf_init(&ca, LIMIT_CERT);
    buf_init(&leaf, LIMIT_CERT);
    buf_init(&crl, LIMIT_CRL);
    cr_assert_eq(secret_random(&env.env, 32, &seed), ERR_OK);
    cr_assert_eq(ed25519_public_of(seed, &pub), ERR_OK);
    make_ca(X509_ALG_ED25519);
    cr_assert_eq(make_leaf(AGENCY, DOMAIN, LIMIT_LEAF_LIFETIME_MS), ERR_OK);
}

static void teardown(void)
{
    secret_free(ca_key);
    secret_free(seed);
    buf_fini(&ca);
    buf_fini(&leaf);
    buf_fini(&crl);
    leaks_check();
}

TestSuite(x509, .init = setup, .fini = teardown);

static struct x509_check check_of(void)
{
    return (struct x509_check){.leaf = buf_span(&leaf),
                               .ca = buf_span(&ca),
                               .ca_spki = &spki,
                               .agency = AGENCY,
                               .trust_domain = DOMAIN,
                               .at_ms = env.now_ms};
}

static enum err check(const struct x509_check *c, const char *words)
{
    struct x509_leaf found;
    struct why why = {0};
    enum err e = x509_check_leaf(c, &found, &why);
    if (words != NULL)
        cr_assert_not_null(strstr(why.text, words), "%s instead of %s", why.text, words);
    return e;
}

Test(x509, a_leaf_of_every_kind_of_ca_holds)
{
    static const enum x509_algorithm algorithms[] = {X509_ALG_P384, X509_ALG_RSA3072,
                                                     X509_ALG_ED25519};
    for (size_t i = 0; i < 3; i++) {
        struct x509_leaf found;
        struct why why;
        make_ca(algorithms[i]);
        cr_assert_eq(make_leaf(AGENCY, DOMAIN, LIMIT_LEAF_LIFETIME_MS), ERR_OK);
        struct x509_check c = check_of();
        cr_assert_eq(x509_check_leaf(&c, &found, &why), ERR_OK, "%s", why.text);
        cr_assert_arr_eq(found.key.b, pub.b, 32);
        cr_assert_eq(found.not_after_ms - found.not_before_ms, LIMIT_LEAF_LIFETIME_MS);
        cr_assert_eq(found.not_before_ms, env.now_ms - LIMIT_SKEW_MS);
    }
}

Test(x509, a_leaf_is_judged_at_the_time_that_is_given)
{
    struct x509_check c = check_of();
    uint64_t start = env.now_ms - LIMIT_SKEW_MS, end = start + LIMIT_LEAF_LIFETIME_MS;
    c.at_ms = start - 1000;
    cr_assert_eq(check(&c, "not yet valid"), ERR_CLOCK);
    c.at_ms = start;
    cr_assert_eq(check(&c, NULL), ERR_OK);
    c.at_ms = end - 1000;
    cr_assert_eq(check(&c, NULL), ERR_OK);
    c.at_ms = end + 1000;
    cr_assert_eq(check(&c, "expired"), ERR_EXPIRED);
    c.at_ms = 0;
    cr_assert_eq(check(&c, NULL), ERR_OK);
}

Test(x509, names_must_be_exactly_the_agents)
{
    struct x509_check c = check_of();
    c.agency = "EE.POLIC";
    cr_assert_eq(check(&c, "exactly one URI"), ERR_WRONG_USAGE);
    c = check_of();
    c.trust_domain = "customs.ee.example";
    cr_assert_eq(check(&c, "exactly one URI"), ERR_WRONG_USAGE);
}

Test(x509, a_ca_is_held_to_its_name_constraints)
{
    /* Its own software would not do this: the CA issues beyond its domain. */
    cr_assert_eq(make_leaf(AGENCY, "customs.ee.example", DAY_MS), ERR_OK);
    struct x509_check c = check_of();
    c.trust_domain = "customs.ee.example";
    cr_assert_eq(check(&c, "subtree"), ERR_WRONG_USAGE);
    cr_assert_eq(make_leaf(AGENCY, "sub.police.ee.example", DAY_MS), ERR_OK);
    c.leaf = buf_span(&leaf);
    c.trust_domain = "sub.police.ee.example";
    cr_assert_eq(check(&c, "subtree"), ERR_WRONG_USAGE);
}

Test(x509, another_ca_is_refused)
{
    struct digest old = spki;
    struct buf old_ca;
    buf_init(&old_ca, LIMIT_CERT);
    buf_put(&old_ca, buf_span(&ca));
    make_ca(X509_ALG_ED25519);
    struct x509_check c = check_of();
    cr_assert_eq(check(&c, NULL), ERR_BAD_SIGNATURE); /* same name, another key */
    c.ca_spki = &old;
    cr_assert_eq(check(&c, "pins"), ERR_BAD_SIGNATURE);
    c.ca = buf_span(&old_ca);
    cr_assert_eq(check(&c, NULL), ERR_OK);
    c.leaf = buf_span(&old_ca); /* the CA itself for a leaf */
    cr_assert_neq(check(&c, NULL), ERR_OK);
    buf_fini(&old_ca);
}

Test(x509, a_leaf_cannot_issue)
{
    struct x509_issuer bad = {.cert = buf_span(&leaf), .pkcs8 = ca_key};
    struct buf out;
    buf_init(&out, LIMIT_CERT);
    cr_assert_eq(x509_make_leaf(&env.env, &bad, AGENCY, DOMAIN, &pub, DAY_MS, &out),
                 ERR_WRONG_USAGE);
    struct secret *other;
    cr_assert_eq(x509_key_new(&env.env, X509_ALG_ED25519, &other), ERR_OK);
    bad = (struct x509_issuer){.cert = buf_span(&ca), .pkcs8 = other};
    cr_assert_eq(x509_make_leaf(&env.env, &bad, AGENCY, DOMAIN, &pub, DAY_MS, &out),
                 ERR_WRONG_USAGE);
    secret_free(other);
    buf_fini(&out);
}

Test(x509, lifetimes_are_bounded)
{
    cr_assert_eq(make_leaf(AGENCY, DOMAIN, LIMIT_LEAF_LIFETIME_MS), ERR_OK);
    cr_assert_eq(make_leaf(AGENCY, DOMAIN, LIMIT_LEAF_LIFETIME_MS + 1), ERR_TOO_LARGE);
    test_env_advance(&env, 336 * DAY_MS); /* the CA ends in 29 days */
    cr_assert_eq(make_leaf(AGENCY, DOMAIN, 29 * DAY_MS), ERR_OK);
    cr_assert_eq(make_leaf(AGENCY, DOMAIN, LIMIT_LEAF_LIFETIME_MS), ERR_EXPIRED);
    struct buf out;
    buf_init(&out, LIMIT_CERT);
    cr_assert_eq(x509_make_ca(&env.env, ca_key, AGENCY, DOMAIN, LIMIT_CA_LIFETIME_MS + 1, &out),
                 ERR_TOO_LARGE);
    cr_assert_eq(x509_make_ca(&env.env, ca_key, "nobody", DOMAIN, DAY_MS, &out), ERR_MALFORMED);
    cr_assert_eq(x509_make_ca(&env.env, ca_key, AGENCY, "a,URI:b", DAY_MS, &out), ERR_MALFORMED);
    buf_fini(&out);
}

Test(x509, bytes_that_are_no_certificate)
{
    struct x509_check c = check_of();
    c.leaf = span_of("x", 1);
    cr_assert_eq(check(&c, NULL), ERR_MALFORMED);
    c.leaf = span_of(NULL, 0);
    cr_assert_eq(check(&c, NULL), ERR_MALFORMED);
    buf_put_u8(&leaf, 0);
    c.leaf = buf_span(&leaf);
    cr_assert_eq(check(&c, NULL), ERR_MALFORMED);
    static uint8_t large[LIMIT_CERT + 1];
    c.leaf = span_of(large, LIMIT_CERT);
    cr_assert_eq(check(&c, NULL), ERR_MALFORMED);
    c.leaf = span_of(large, LIMIT_CERT + 1);
    cr_assert_eq(check(&c, NULL), ERR_TOO_LARGE);
}

Test(x509, every_altered_byte_of_a_leaf_is_noticed)
{
    for (size_t i = 0; i < leaf.len; i++) {
        leaf.data[i] ^= 1;
        struct x509_check c = check_of();
        enum err e = check(&c, NULL);
        cr_assert_neq(e, ERR_OK, "byte %zu", i);
        leaf.data[i] ^= 1;
    }
}

/* --- revocation lists --- */

static struct x509_revoked revoked_leaf(bool compromise, uint64_t since)
{
    struct x509_leaf found;
    struct why why;
    struct x509_check c = check_of();
    cr_assert_eq(x509_check_leaf(&c, &found, &why), ERR_OK);
    struct x509_revoked r = {
        .revoked_ms = env.now_ms, .compromise = compromise, .invalid_since_ms = since};
    memcpy(r.serial, found.serial, sizeof(r.serial));
    return r;
}

static void make_crl(const struct x509_revoked *items, size_t n, uint64_t number)
{
    buf_reset(&crl);
    cr_assert_eq(x509_make_crl(&env.env, &issuer, items, n, number, 7 * DAY_MS, &crl), ERR_OK);
}

Test(x509, openssl_checks_the_list_too)
{
    struct x509_revoked r = revoked_leaf(false, 0);
    make_crl(NULL, 0, 1);
    struct x509_check c = check_of();
    c.crl = buf_span(&crl);
    cr_assert_eq(check(&c, NULL), ERR_OK);
    c.at_ms = env.now_ms + 7 * DAY_MS + 1000;
    cr_assert_eq(check(&c, "CRL has expired"), ERR_STALE_CRL);
    make_crl(&r, 1, 2);
    c = check_of();
    c.crl = buf_span(&crl);
    cr_assert_eq(check(&c, "revoked"), ERR_REVOKED);
    make_ca(X509_ALG_ED25519);
    make_crl(NULL, 0, 3);
    c.crl = buf_span(&crl);
    c.ca = buf_span(&ca);
    cr_assert_eq(make_leaf(AGENCY, DOMAIN, DAY_MS), ERR_OK);
    c.leaf = buf_span(&leaf);
    cr_assert_eq(check(&c, NULL), ERR_OK);
}

Test(x509, a_list_comes_back_as_it_was_made)
{
    struct x509_revoked items[] = {revoked_leaf(true, env.now_ms - DAY_MS),
                                   {.serial = {0}, .revoked_ms = env.now_ms}};
    items[1].serial[X509_SERIAL - 1] = 9;
    make_crl(items, 2, 41);
    struct x509_crl found;
    struct why why;
    cr_assert_eq(x509_read_crl(buf_span(&crl), buf_span(&ca), &found, &why), ERR_OK);
    cr_assert_eq(found.number, 41);
    cr_assert_eq(found.n, 2);
    cr_assert_eq(found.this_update_ms, env.now_ms - LIMIT_SKEW_MS);
    cr_assert_eq(found.next_update_ms, env.now_ms + 7 * DAY_MS);
    const struct x509_revoked *r = x509_crl_find(&found, items[0].serial);
    cr_assert_not_null(r);
    cr_assert(r->compromise);
    cr_assert_eq(r->invalid_since_ms, env.now_ms - DAY_MS);
    r = x509_crl_find(&found, items[1].serial);
    cr_assert_not_null(r);
    cr_assert(!r->compromise);
    cr_assert_eq(r->revoked_ms, env.now_ms);
    items[1].serial[0] = 1;
    cr_assert_null(x509_crl_find(&found, items[1].serial));
    x509_crl_fini(&found);
}

Test(x509, a_list_of_another_ca_or_with_altered_bytes_is_refused)
{
    struct x509_crl found;
    struct why why;
    make_crl(NULL, 0, 1);
    for (size_t i = 0; i < crl.len; i++) {
        crl.data[i] ^= 1;
        cr_assert_neq(x509_read_crl(buf_span(&crl), buf_span(&ca), &found, &why), ERR_OK,
                      "byte %zu", i);
        crl.data[i] ^= 1;
    }
    make_ca(X509_ALG_ED25519);
    cr_assert_eq(x509_read_crl(buf_span(&crl), buf_span(&ca), &found, &why), ERR_BAD_SIGNATURE);
}

Test(x509, entries_of_a_list_are_bounded)
{
    static struct x509_revoked items[LIMIT_CRL_ENTRIES + 1];
    struct x509_crl found;
    struct why why;
    for (size_t i = 0; i <= LIMIT_CRL_ENTRIES; i++) {
        items[i] = (struct x509_revoked){.revoked_ms = env.now_ms};
        items[i].serial[X509_SERIAL - 2] = (uint8_t)(i >> 8);
        items[i].serial[X509_SERIAL - 1] = (uint8_t)(i + 1);
    }
    make_crl(items, LIMIT_CRL_ENTRIES, 1);
    cr_assert_eq(x509_read_crl(buf_span(&crl), buf_span(&ca), &found, &why), ERR_OK, "%s",
                 why.text);
    cr_assert_eq(found.n, LIMIT_CRL_ENTRIES);
    x509_crl_fini(&found);
    buf_reset(&crl);
    cr_assert_eq(x509_make_crl(&env.env, &issuer, items, LIMIT_CRL_ENTRIES + 1, 1, DAY_MS, &crl),
                 ERR_TOO_LARGE);
}

/* --- requests and PEM --- */

Test(x509, a_request_proves_its_key_and_its_name)
{
    struct buf csr;
    struct ed25519_public found;
    struct why why;
    buf_init(&csr, LIMIT_CERT);
    cr_assert_eq(x509_make_csr(seed, AGENCY, DOMAIN, &csr), ERR_OK);
    cr_assert_eq(x509_read_csr(buf_span(&csr), AGENCY, DOMAIN, &found, &why), ERR_OK);
    cr_assert_arr_eq(found.b, pub.b, 32);
    cr_assert_eq(x509_read_csr(buf_span(&csr), "EE.CUSTOMS", DOMAIN, &found, &why),
                 ERR_WRONG_USAGE);
    cr_assert_eq(x509_read_csr(buf_span(&csr), AGENCY, "x.example", &found, &why), ERR_WRONG_USAGE);
    cr_assert_eq(x509_read_csr(buf_span(&leaf), AGENCY, DOMAIN, &found, &why), ERR_MALFORMED);
    for (size_t i = 0; i < csr.len; i++) {
        csr.data[i] ^= 1;
        cr_assert_neq(x509_read_csr(buf_span(&csr), AGENCY, DOMAIN, &found, &why), ERR_OK,
                      "byte %zu", i);
        csr.data[i] ^= 1;
    }
    buf_fini(&csr);
}

Test(x509, pem_blocks_are_read_by_place_and_label)
{
    struct buf pem, der;
    buf_init(&pem, LIMIT_DOCUMENT);
    buf_init(&der, LIMIT_CERT);
    cr_assert_eq(x509_pem_write(X509_PEM_CERT, buf_span(&leaf), &pem), ERR_OK);
    cr_assert_eq(x509_pem_write(X509_PEM_CERT, buf_span(&ca), &pem), ERR_OK);
    cr_assert_eq(x509_pem_read(X509_PEM_CERT, buf_span(&pem), 1, LIMIT_CERT, &der), ERR_OK);
    cr_assert(span_equal(buf_span(&der), buf_span(&ca)));
    buf_reset(&der);
    cr_assert_eq(x509_pem_read(X509_PEM_CERT, buf_span(&pem), 2, LIMIT_CERT, &der), ERR_NOT_FOUND);
    cr_assert_eq(x509_pem_read(X509_PEM_CRL, buf_span(&pem), 0, LIMIT_CERT, &der), ERR_MALFORMED);
    cr_assert_eq(x509_pem_read(X509_PEM_CERT, buf_span(&pem), 0, leaf.len, &der), ERR_OK);
    cr_assert_eq(x509_pem_read(X509_PEM_CERT, buf_span(&pem), 0, leaf.len - 1, &der),
                 ERR_TOO_LARGE);
    buf_fini(&pem);
    buf_fini(&der);
}

/* --- certificates that stock OpenSSL made, each breaking one rule --- */

static void read_vector(const char *name, struct buf *der)
{
    char path[PATH_MAX];
    struct buf pem;
    snprintf(path, sizeof(path), SEALPOST_VECTORS "/x509/%s.pem", name);
    cr_assert_eq(file_read(path, LIMIT_DOCUMENT, &pem), ERR_OK, "%s", path);
    buf_reset(der);
    cr_assert_eq(x509_pem_read(X509_PEM_CERT, buf_span(&pem), 0, LIMIT_CERT, der), ERR_OK);
    buf_fini(&pem);
}

Test(x509, leaves_of_another_ca_are_held_to_every_rule)
{
    static const struct {
        const char *name;
        enum err e;
        const char *words;
    } rows[] = {
        {"good", ERR_OK, NULL},
        {"long", ERR_WRONG_USAGE, "longer than 30 days"},
        {"two-uris", ERR_WRONG_USAGE, "exactly one URI"},
        {"uri-and-dns", ERR_WRONG_USAGE, "exactly one URI"},
        {"no-name", ERR_WRONG_USAGE, "exactly one URI"},
        {"dns-alone", ERR_WRONG_USAGE, "exactly one URI"},
        {"upper-case", ERR_WRONG_USAGE, "exactly one URI"},
        {"p256", ERR_WRONG_USAGE, "not Ed25519"},
        {"no-usage", ERR_WRONG_USAGE, "lacks digitalSignature"},
        {"other-usage", ERR_WRONG_USAGE, "lacks digitalSignature"},
        {"signs-lists", ERR_WRONG_USAGE, "allows signing certificates"},
        {"email", ERR_WRONG_USAGE, "purpose"},
        {"unknown-critical", ERR_WRONG_USAGE, "unhandled critical"},
        {"sha1", ERR_WRONG_USAGE, "too weak"},
        {"ca-itself", ERR_WRONG_USAGE, "it is a CA"},
    };
    uint64_t before, after;
    read_vector("ca", &ca);
    cr_assert_eq(x509_spki_digest(buf_span(&ca), &spki), ERR_OK);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        read_vector(rows[i].name, &leaf);
        cr_assert_eq(x509_validity(buf_span(&leaf), &before, &after), ERR_OK);
        struct x509_check c = check_of();
        c.agency = "LT.POLICE";
        c.trust_domain = "police.lt.example";
        c.at_ms = before + 1000;
        enum err e = check(&c, rows[i].words);
        cr_assert_eq(e, rows[i].e, "%s: %s", rows[i].name, err_code(e));
    }
}
