#include "certs/cmd.h"

#include "common/file.h"
#include "common/limits.h"
#include "common/text.h"

#include <string.h>
#include <unistd.h>

static enum x509_algorithm parse_algorithm(const char *word)
{
    if (word != NULL && strcmp(word, "rsa3072") == 0)
        return X509_ALG_RSA3072;
    return word != NULL && strcmp(word, "ed25519") == 0 ? X509_ALG_ED25519 : X509_ALG_P384;
}

static int print_ca(const struct cli *args, const char *path, struct span cert,
                    const char *sentence)
{
    struct digest spki;
    char subject[256];
    uint64_t before, after;
    enum err e = x509_spki_digest(cert, &spki);
    if (e == ERR_OK)
        e = x509_subject(cert, subject, sizeof(subject));
    if (e == ERR_OK)
        e = x509_validity(cert, &before, &after);
    if (e != ERR_OK)
        return cmd_fail(args, e, "%.200s: the certificate cannot be read", path);
    struct facts f;
    facts_init(&f, args);
    facts_text(&f, "file", path);
    facts_text(&f, "subject", subject);
    facts_time(&f, "not_before", before);
    facts_time(&f, "not_after", after);
    facts_hex(&f, "spki_sha256", digest_span(&spki));
    json_object_set_new(f.object, "fingerprint", facts_fingerprint_json(digest_span(&spki)));
    return facts_print(&f, "%s", sentence);
}

int cmd_agency_init(const struct cli *args)
{
    struct why why = {0};
    struct key_info info;
    struct secret *key = NULL;
    struct buf cert;
    char path[PATH_MAX];
    uint64_t lifetime;
    const char *agency = cli_operand(args, 0);
    buf_init(&cert, LIMIT_CERT);
    if (cli_duration(args, "valid", 30 * CMD_DAY_MS, LIMIT_CA_LIFETIME_MS, 3650 * CMD_DAY_MS,
                     &lifetime) != ERR_OK)
        return err_exit(ERR_USAGE);
    enum err e = cmd_agency_path(path, cli_value(args, "federation"), agency, FEDERATION_CA, &why);
    if (e == ERR_OK && access(path, F_OK) == 0)
        e = why_set(&why, ERR_EXISTS, "%.200s: a CA is never overwritten", path);
    if (e == ERR_OK) {
        e = x509_key_new(env_system(), parse_algorithm(cli_value(args, "algorithm")), &key);
        if (e == ERR_OK)
            e = x509_make_ca(env_system(), key, agency, cli_value(args, "trust-domain"), lifetime,
                             &cert);
        if (e != ERR_OK)
            e = why_set(&why, e, "the CA cannot be made: %s", err_meaning(e));
    }
    if (e == ERR_OK)
        e = cmd_create_key(args, cli_value(args, "key"), KEY_CA, agency, key, &info, &why);
    struct span ders[] = {buf_span(&cert)};
    if (e == ERR_OK)
        e = cmd_write_pem(path, X509_PEM_CERT, ders, 1, &why);
    int exit_code = e == ERR_OK ? print_ca(args, path, buf_span(&cert),
                                           "Made the agency's CA. The directory pins its key; "
                                           "compare the fingerprint aloud.")
                                : cmd_fail(args, e, "%s", why.text);
    secret_free(key);
    buf_fini(&cert);
    return exit_code;
}

int cmd_agency_show(const struct cli *args)
{
    struct why why = {0};
    struct buf cert;
    char path[PATH_MAX];
    buf_init(&cert, LIMIT_CERT);
    enum err e = cmd_agency_path(path, cli_value(args, "federation"), cli_operand(args, 0),
                                 FEDERATION_CA, &why);
    if (e == ERR_OK)
        e = cmd_read_pem(path, X509_PEM_CERT, 0, LIMIT_CERT, &cert, &why);
    int exit_code = e == ERR_OK
                        ? print_ca(args, path, buf_span(&cert), "What the CA's certificate says.")
                        : cmd_fail(args, e, "%s", why.text);
    buf_fini(&cert);
    return exit_code;
}

/* The agent's public key: from its request, which proves that it holds the key, or its key file. */
static enum err read_subject(const struct cli *args, const char *agency, const char *domain,
                             struct ed25519_public *ret, struct why *why)
{
    const char *csr = cli_value(args, "csr"), *keys = cli_value(args, "keys");
    if ((csr == NULL) == (keys == NULL))
        return why_set(why, ERR_USAGE, "give either --csr or --keys");
    if (csr != NULL) {
        struct buf der;
        buf_init(&der, LIMIT_CERT);
        enum err e = cmd_read_pem(csr, X509_PEM_CSR, 0, LIMIT_CERT, &der, why);
        if (e == ERR_OK)
            e = x509_read_csr(buf_span(&der), agency, domain, ret, why);
        buf_fini(&der);
        return e;
    }
    char path[PATH_MAX];
    struct key_info info;
    enum err e = cmd_path(path, keys, "sign.key");
    if (e == ERR_OK)
        e = keystore_peek(path, &info);
    if (e != ERR_OK)
        return why_set(why, e, "%.200s/sign.key: %s", keys, err_meaning(e));
    if (info.purpose != KEY_SIGN || strcmp(info.owner, agency) != 0)
        return why_set(why, ERR_WRONG_USAGE, "%.150s: not the signing key of %s", path, agency);
    memcpy(ret->b, info.public_key, sizeof(ret->b));
    return ERR_OK;
}

static int print_leaf(const struct cli *args, const char *path, const struct x509_leaf *leaf,
                      const char *sentence)
{
    struct facts f;
    facts_init(&f, args);
    facts_text(&f, "file", path);
    facts_text(&f, "agency", cli_operand(args, 0));
    facts_hex(&f, "serial", span_of(leaf->serial, sizeof(leaf->serial)));
    facts_hex(&f, "key_id", span_of(leaf->key_id.b, sizeof(leaf->key_id.b)));
    facts_time(&f, "not_before", leaf->not_before_ms);
    facts_time(&f, "not_after", leaf->not_after_ms);
    facts_key(&f, span_of(leaf->key.b, sizeof(leaf->key.b)));
    return facts_print(&f, "%s", sentence);
}

/* Makes the leaf and puts it into the agency's folder, CA behind it. */
static enum err issue_leaf(const struct cli *args, const char *agency, const char *domain,
                           const struct ed25519_public *subject, uint64_t lifetime,
                           char path[PATH_MAX], struct why *why)
{
    struct key_info info;
    struct secret *key = NULL;
    struct buf ca, leaf;
    char ca_path[PATH_MAX];
    const char *federation = cli_value(args, "federation");
    buf_init(&ca, LIMIT_CERT);
    buf_init(&leaf, LIMIT_CERT);
    enum err e = cmd_agency_path(ca_path, federation, agency, FEDERATION_CA, why);
    if (e == ERR_OK)
        e = cmd_read_pem(ca_path, X509_PEM_CERT, 0, LIMIT_CERT, &ca, why);
    if (e == ERR_OK)
        e = cmd_open_key(args, cli_value(args, "ca-key"), KEY_CA, &info, &key, why);
    if (e == ERR_OK) {
        struct x509_issuer issuer = {.cert = buf_span(&ca), .pkcs8 = key};
        e = x509_make_leaf(env_system(), &issuer, agency, domain, subject, lifetime, &leaf);
        if (e != ERR_OK)
            e = why_set(why, e, "the CA cannot issue this leaf: %s", err_meaning(e));
    }
    if (e == ERR_OK)
        e = cmd_agency_path(path, federation, agency, FEDERATION_CHAIN, why);
    struct span ders[] = {buf_span(&leaf), buf_span(&ca)};
    if (e == ERR_OK)
        e = cmd_write_pem(path, X509_PEM_CERT, ders, 2, why);
    secret_free(key);
    buf_fini(&ca);
    buf_fini(&leaf);
    return e;
}

int cmd_agency_issue(const struct cli *args)
{
    struct why why = {0};
    struct ed25519_public subject;
    struct x509_leaf leaf;
    char path[PATH_MAX];
    uint64_t lifetime;
    const char *agency = cli_operand(args, 0), *domain = cli_value(args, "trust-domain");
    if (cli_duration(args, "valid", 3600000, LIMIT_LEAF_LIFETIME_MS, LIMIT_LEAF_LIFETIME_MS,
                     &lifetime) != ERR_OK)
        return err_exit(ERR_USAGE);
    enum err e = read_subject(args, agency, domain, &subject, &why);
    if (e == ERR_OK)
        e = issue_leaf(args, agency, domain, &subject, lifetime, path, &why);
    if (e == ERR_OK)
        e = cmd_check_leaf(cli_value(args, "federation"), agency, domain, false, &leaf, &why);
    return e == ERR_OK ? print_leaf(args, path, &leaf, "Issued the agent's certificate.")
                       : cmd_fail(args, e, "%s", why.text);
}

/* Copies one PEM block after the other, judged, from an agency's own PKI. */
static enum err import_files(const struct cli *args, const char *federation, const char *agency,
                             struct why *why)
{
    struct buf leaf, ca, crl;
    char path[PATH_MAX];
    struct digest spki;
    struct x509_leaf found;
    const char *list = cli_value(args, "crl");
    buf_init(&leaf, LIMIT_CERT);
    buf_init(&ca, LIMIT_CERT);
    buf_init(&crl, LIMIT_CRL);
    enum err e = cmd_read_pem(cli_value(args, "chain"), X509_PEM_CERT, 0, LIMIT_CERT, &leaf, why);
    if (e == ERR_OK)
        e = cmd_read_pem(cli_value(args, "ca"), X509_PEM_CERT, 0, LIMIT_CERT, &ca, why);
    if (e == ERR_OK && list != NULL)
        e = cmd_read_pem(list, X509_PEM_CRL, 0, LIMIT_CRL, &crl, why);
    if (e == ERR_OK)
        e = x509_spki_digest(buf_span(&ca), &spki);
    if (e == ERR_OK) {
        struct x509_check check = {.leaf = buf_span(&leaf),
                                   .ca = buf_span(&ca),
                                   .crl = buf_span(&crl),
                                   .ca_spki = &spki,
                                   .agency = agency,
                                   .trust_domain = cli_value(args, "trust-domain"),
                                   .at_ms = env_now_ms(env_system())};
        e = x509_check_leaf(&check, &found, why);
    }
    struct span chain[] = {buf_span(&leaf), buf_span(&ca)};
    struct span lists[] = {buf_span(&crl)};
    if (e == ERR_OK)
        e = cmd_agency_path(path, federation, agency, FEDERATION_CA, why);
    if (e == ERR_OK)
        e = cmd_write_pem(path, X509_PEM_CERT, chain + 1, 1, why);
    if (e == ERR_OK && list != NULL)
        e = cmd_agency_path(path, federation, agency, FEDERATION_CRL, why);
    if (e == ERR_OK && list != NULL)
        e = cmd_write_pem(path, X509_PEM_CRL, lists, 1, why);
    if (e == ERR_OK)
        e = cmd_agency_path(path, federation, agency, FEDERATION_CHAIN, why);
    if (e == ERR_OK)
        e = cmd_write_pem(path, X509_PEM_CERT, chain, 2, why);
    buf_fini(&leaf);
    buf_fini(&ca);
    buf_fini(&crl);
    return e;
}

int cmd_agent_import(const struct cli *args)
{
    struct why why = {0};
    struct x509_leaf leaf;
    char path[PATH_MAX];
    const char *agency = cli_operand(args, 0), *federation = cli_value(args, "federation");
    enum err e = import_files(args, federation, agency, &why);
    if (e == ERR_OK)
        e = cmd_check_leaf(federation, agency, cli_value(args, "trust-domain"),
                           cli_value(args, "crl") != NULL, &leaf, &why);
    if (e == ERR_OK)
        e = cmd_agency_path(path, federation, agency, FEDERATION_CHAIN, &why);
    return e == ERR_OK ? print_leaf(args, path, &leaf, "Took over the certificate.")
                       : cmd_fail(args, e, "%s", why.text);
}
