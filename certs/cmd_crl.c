#include "certs/cmd.h"

#include "common/file.h"
#include "common/limits.h"
#include "common/text.h"

#include <stdlib.h>
#include <string.h>

/* The agency's CA and the list that stands. */
struct standing {
    struct buf ca;
    struct x509_crl list; /* empty, number 0, when there is none */
    char path[PATH_MAX];
};

static void standing_fini(struct standing *s)
{
    buf_fini(&s->ca);
    x509_crl_fini(&s->list);
}

static enum err read_standing(const char *federation, const char *agency, struct standing *s,
                              struct why *why)
{
    char path[PATH_MAX];
    struct buf der;
    buf_init(&s->ca, LIMIT_CERT);
    buf_init(&der, LIMIT_CRL);
    enum err e = cmd_agency_path(path, federation, agency, FEDERATION_CA, why);
    if (e == ERR_OK)
        e = cmd_read_pem(path, X509_PEM_CERT, 0, LIMIT_CERT, &s->ca, why);
    if (e == ERR_OK)
        e = cmd_agency_path(s->path, federation, agency, FEDERATION_CRL, why);
    if (e != ERR_OK)
        return e;
    e = cmd_read_pem(s->path, X509_PEM_CRL, 0, LIMIT_CRL, &der, why);
    if (e == ERR_NOT_FOUND)
        return ERR_OK;
    if (e == ERR_OK)
        e = x509_read_crl(buf_span(&der), buf_span(&s->ca), &s->list, why);
    buf_fini(&der);
    return e;
}

static int print_list(const struct cli *args, const char *path, const struct x509_crl *list,
                      const char *sentence)
{
    struct facts f;
    facts_init(&f, args);
    facts_text(&f, "file", path);
    facts_text(&f, "agency", cli_operand(args, 0));
    facts_number(&f, "number", list->number);
    facts_time(&f, "this_update", list->this_update_ms);
    facts_time(&f, "next_update", list->next_update_ms);
    json_t *rows = json_array();
    for (size_t i = 0; i < list->n; i++) {
        const struct x509_revoked *r = &list->items[i];
        json_t *row = json_object();
        json_object_set_new(row, "serial", facts_hex_json(span_of(r->serial, X509_SERIAL)));
        json_object_set_new(row, "revoked", facts_time_json(r->revoked_ms));
        json_object_set_new(row, "compromise", json_boolean(r->compromise));
        json_object_set_new(row, "invalid_since",
                            r->invalid_since_ms == 0 ? json_string("")
                                                     : facts_time_json(r->invalid_since_ms));
        json_array_append_new(rows, row);
    }
    facts_list(&f, "revoked", rows);
    return facts_print(&f, "%s", sentence);
}

/* Signs a list of what stands and, when given, one more; replaces the file; reads it back. */
static enum err issue(const struct cli *args, struct standing *s, const struct x509_revoked *more,
                      struct why *why)
{
    struct key_info info;
    struct secret *key = NULL;
    struct buf der;
    uint64_t lifetime;
    if (cli_duration(args, "valid", LIMIT_CRL_MS_MIN, LIMIT_CRL_MS, 7 * CMD_DAY_MS, &lifetime) !=
        ERR_OK)
        return why_set(why, ERR_USAGE, "--valid is 1 hour to 31 days");
    struct x509_revoked *items = calloc(s->list.n + 1, sizeof(*items));
    size_t n = s->list.n;
    buf_init(&der, LIMIT_CRL);
    if (items == NULL)
        return why_set(why, ERR_NO_MEMORY, "out of memory");
    if (n > 0)
        memcpy(items, s->list.items, n * sizeof(*items));
    if (more != NULL)
        items[n++] = *more;
    enum err e = cmd_open_key(args, cli_value(args, "ca-key"), KEY_CA, &info, &key, why);
    if (e == ERR_OK) {
        struct x509_issuer issuer = {.cert = buf_span(&s->ca), .pkcs8 = key};
        e = x509_make_crl(env_system(), &issuer, items, n, s->list.number + 1, lifetime, &der);
        if (e != ERR_OK)
            e = why_set(why, e, "the CA cannot sign the list: %s", err_meaning(e));
    }
    struct span ders[] = {buf_span(&der)};
    if (e == ERR_OK)
        e = cmd_write_pem(s->path, X509_PEM_CRL, ders, 1, why);
    x509_crl_fini(&s->list);
    if (e == ERR_OK)
        e = x509_read_crl(buf_span(&der), buf_span(&s->ca), &s->list, why);
    secret_free(key);
    buf_fini(&der);
    free(items);
    return e;
}

int cmd_crl_issue(const struct cli *args)
{
    struct why why = {0};
    struct standing s = {0};
    enum err e = read_standing(cli_value(args, "federation"), cli_operand(args, 0), &s, &why);
    if (e == ERR_OK)
        e = issue(args, &s, NULL, &why);
    int exit_code = e == ERR_OK ? print_list(args, s.path, &s.list, "Signed the revocation list.")
                                : cmd_fail(args, e, "%s", why.text);
    standing_fini(&s);
    return exit_code;
}

/* The serial that is given, or that of the agency's present leaf. */
static enum err read_serial(const struct cli *args, uint8_t ret[X509_SERIAL], struct why *why)
{
    const char *text = cli_value(args, "serial"), *domain = cli_value(args, "trust-domain");
    struct x509_leaf leaf;
    if (text != NULL && text_hex_decode(span_str(text), X509_SERIAL, ret) != ERR_OK)
        return why_set(why, ERR_USAGE, "--serial is 40 hex digits, as `agency issue` prints them");
    if (text != NULL)
        return ERR_OK;
    if (domain == NULL)
        return why_set(why, ERR_USAGE, "give --serial, or --trust-domain for the present leaf");
    enum err e = cmd_check_leaf(cli_value(args, "federation"), cli_operand(args, 0), domain, false,
                                &leaf, why);
    if (e == ERR_OK)
        memcpy(ret, leaf.serial, X509_SERIAL);
    return e;
}

int cmd_crl_revoke(const struct cli *args)
{
    struct why why = {0};
    struct standing s = {0};
    uint64_t now = env_now_ms(env_system());
    struct x509_revoked item = {.revoked_ms = now,
                                .compromise = cli_value(args, "compromised-since") != NULL};
    if (cli_since(args, "compromised-since", now, 0, &item.invalid_since_ms) != ERR_OK)
        return err_exit(ERR_USAGE);
    enum err e = read_serial(args, item.serial, &why);
    if (e == ERR_OK)
        e = read_standing(cli_value(args, "federation"), cli_operand(args, 0), &s, &why);
    if (e == ERR_OK && x509_crl_find(&s.list, item.serial) != NULL)
        e = why_set(&why, ERR_EXISTS, "the list names this serial already");
    if (e == ERR_OK)
        e = issue(args, &s, &item, &why);
    int exit_code = e == ERR_OK ? print_list(args, s.path, &s.list,
                                             "Revoked. It takes effect where the list arrives.")
                                : cmd_fail(args, e, "%s", why.text);
    standing_fini(&s);
    return exit_code;
}

/* A list from the agency's own PKI: signed by the CA that stands here, and not older. */
int cmd_crl_import(const struct cli *args)
{
    struct why why = {0};
    struct standing s = {0};
    struct x509_crl next = {0};
    struct buf der;
    buf_init(&der, LIMIT_CRL);
    enum err e = read_standing(cli_value(args, "federation"), cli_operand(args, 0), &s, &why);
    if (e == ERR_OK)
        e = cmd_read_pem(cli_value(args, "crl"), X509_PEM_CRL, 0, LIMIT_CRL, &der, &why);
    if (e == ERR_OK)
        e = x509_read_crl(buf_span(&der), buf_span(&s.ca), &next, &why);
    if (e == ERR_OK && next.this_update_ms < s.list.this_update_ms)
        e = why_set(&why, ERR_REPLAY, "the list that stands is newer");
    if (e == ERR_OK && next.next_update_ms <= env_now_ms(env_system()))
        e = why_set(&why, ERR_STALE_CRL, "the list is past its nextUpdate");
    struct span ders[] = {buf_span(&der)};
    if (e == ERR_OK)
        e = cmd_write_pem(s.path, X509_PEM_CRL, ders, 1, &why);
    int exit_code = e == ERR_OK ? print_list(args, s.path, &next, "Took over the revocation list.")
                                : cmd_fail(args, e, "%s", why.text);
    x509_crl_fini(&next);
    buf_fini(&der);
    standing_fini(&s);
    return exit_code;
}

int cmd_crl_show(const struct cli *args)
{
    struct why why = {0};
    struct standing s = {0};
    enum err e = read_standing(cli_value(args, "federation"), cli_operand(args, 0), &s, &why);
    if (e == ERR_OK && s.list.this_update_ms == 0)
        e = why_set(&why, ERR_NOT_FOUND, "%.200s: there is no revocation list", s.path);
    int exit_code = e == ERR_OK
                        ? print_list(args, s.path, &s.list, "What the revocation list says.")
                        : cmd_fail(args, e, "%s", why.text);
    standing_fini(&s);
    return exit_code;
}
