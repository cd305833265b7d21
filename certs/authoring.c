#include "certs/authoring.h"

#include "certs/authoring_internal.h"
#include "certs/issue.h"
#include "certs/x509.h"
#include "common/file.h"
#include "common/limits.h"
#include "common/text.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define PIECES_MAX 65536 /* allocations of one directory */
#define KEY_LEN 32

/* What one load allocated; freed as a whole. */
struct authoring {
    struct authoring_file file;
    Sp__Directory d;
    struct codebook codebook;
    void **pieces;
    size_t n_pieces;
    struct config_error *error;
};

[[gnu::format(printf, 2, 3)]] static enum err say(struct authoring *a, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(a->error->text, sizeof(a->error->text), format, args);
    va_end(args);
    return ERR_CONFIG;
}

/* Zeroed memory that lives as long as `a`; NULL when there is none. */
static void *take(struct authoring *a, size_t n, size_t size)
{
    if (a->n_pieces == PIECES_MAX)
        return NULL;
    void *p = calloc(n == 0 ? 1 : n, size);
    if (p != NULL)
        a->pieces[a->n_pieces++] = p;
    return p;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* A sorted copy of a list; the texts stay the file's. */
static enum err sorted(struct authoring *a, const struct config_strings *from, char ***ret,
                       size_t *n)
{
    char **list = take(a, from->count, sizeof(*list));
    if (list == NULL)
        return ERR_NO_MEMORY;
    if (from->count > 0)
        memcpy(list, from->items, from->count * sizeof(*list));
    qsort(list, from->count, sizeof(*list), by_text);
    *ret = list;
    *n = from->count;
    return ERR_OK;
}

static int by_language(const void *a, const void *b)
{
    return strcmp((*(Sp__Text *const *)a)->language, (*(Sp__Text *const *)b)->language);
}

/* "et=Politsei" for each language. */
static enum err texts(struct authoring *a, const struct config_strings *from, Sp__Text ***ret,
                      size_t *n)
{
    Sp__Text **list = take(a, from->count, sizeof(*list));
    Sp__Text *items = take(a, from->count, sizeof(*items));
    if (list == NULL || items == NULL)
        return ERR_NO_MEMORY;
    for (size_t i = 0; i < from->count; i++) {
        char *equals = strchr(from->items[i], '=');
        if (equals == NULL)
            return say(a, "\"%.64s\" is not LANGUAGE=TEXT", from->items[i]);
        *equals = '\0';
        sp__text__init(&items[i]);
        items[i].language = from->items[i];
        items[i].text = equals + 1;
        list[i] = &items[i];
    }
    qsort(list, from->count, sizeof(*list), by_language);
    *ret = list;
    *n = from->count;
    return ERR_OK;
}

/* The codes that are allowed; all when the file says nothing. */
static enum err handling(struct authoring *a, const struct config_strings *from, char ***ret,
                         size_t *n)
{
    if (from->count > 0)
        return sorted(a, from, ret, n);
    char **list = take(a, a->d.n_codes, sizeof(*list));
    if (list == NULL)
        return ERR_NO_MEMORY;
    for (size_t i = 0; i < a->d.n_codes; i++)
        list[i] = a->d.codes[i]->code;
    *ret = list;
    *n = a->d.n_codes;
    return ERR_OK;
}

static int by_code(const void *a, const void *b)
{
    return strcmp((*(Sp__CodeEntry *const *)a)->code, (*(Sp__CodeEntry *const *)b)->code);
}

static enum err put_codes(struct authoring *a)
{
    size_t n = a->file.codes.count;
    if (n == 0) {
        codebook_init(&a->codebook);
        a->d.codes = a->codebook.list;
        a->d.n_codes = CODEBOOK_CODES;
        return ERR_OK;
    }
    const struct authoring_code *from = a->file.codes.items;
    Sp__CodeEntry *items = take(a, n, sizeof(*items));
    a->d.codes = take(a, n, sizeof(*a->d.codes));
    if (items == NULL || a->d.codes == NULL)
        return ERR_NO_MEMORY;
    for (size_t i = 0; i < n; i++) {
        Sp__CodeEntry *c = &items[i];
        sp__code_entry__init(c);
        c->code = from[i].code;
        c->exclusive = (from[i].rules & AUTHORING_EXCLUSIVE) != 0;
        c->no_onward = (from[i].rules & AUTHORING_NO_ONWARD) != 0;
        c->no_court_export = (from[i].rules & AUTHORING_NO_COURT_EXPORT) != 0;
        c->needs_text = (from[i].rules & AUTHORING_NEEDS_TEXT) != 0;
        c->needs_acknowledgement = (from[i].rules & AUTHORING_NEEDS_ACKNOWLEDGEMENT) != 0;
        c->no_automation = (from[i].rules & AUTHORING_NO_AUTOMATION) != 0;
        c->ceiling = (Sp__Level)from[i].ceiling;
        enum err e = texts(a, &from[i].labels, &c->labels, &c->n_labels);
        if (e == ERR_OK)
            e = sorted(a, &from[i].groups, &c->groups, &c->n_groups);
        if (e != ERR_OK)
            return e;
        a->d.codes[i] = c;
    }
    a->d.n_codes = n;
    qsort(a->d.codes, n, sizeof(*a->d.codes), by_code);
    return ERR_OK;
}

static enum err ca_digest(struct authoring *a, const char *agency, const char *path,
                          ProtobufCBinaryData *ret)
{
    struct buf pem, der;
    buf_init(&pem, LIMIT_DOCUMENT);
    buf_init(&der, LIMIT_CERT);
    struct digest *spki = take(a, 1, sizeof(*spki));
    enum err e = spki == NULL ? ERR_NO_MEMORY : file_read(path, LIMIT_DOCUMENT, &pem);
    if (e == ERR_OK)
        e = x509_pem_read(X509_PEM_CERT, buf_span(&pem), 0, LIMIT_CERT, &der);
    if (e == ERR_OK)
        e = x509_spki_digest(buf_span(&der), spki);
    buf_fini(&pem);
    buf_fini(&der);
    if (e != ERR_OK)
        return say(a, "%s: %.200s: no CA certificate: %s", agency, path, err_meaning(e));
    *ret = pb_bytes(digest_span(spki));
    return ERR_OK;
}

static int by_agency(const void *a, const void *b)
{
    return strcmp((*(Sp__AgencyEntry *const *)a)->name, (*(Sp__AgencyEntry *const *)b)->name);
}

static enum err put_agencies(struct authoring *a)
{
    size_t n = a->file.agencies.count;
    const struct authoring_agency *from = a->file.agencies.items;
    Sp__AgencyEntry *items = take(a, n, sizeof(*items));
    a->d.agencies = take(a, n, sizeof(*a->d.agencies));
    if (items == NULL || a->d.agencies == NULL)
        return ERR_NO_MEMORY;
    for (size_t i = 0; i < n; i++) {
        Sp__AgencyEntry *e = &items[i];
        sp__agency_entry__init(e);
        e->name = from[i].name;
        e->trust_domain = from[i].trust_domain;
        e->ceiling = (Sp__Level)(from[i].ceiling + 1);
        e->homes = from[i].homes.items;
        e->n_homes = from[i].homes.count;
        enum err err = texts(a, &from[i].names, &e->names, &e->n_names);
        if (err == ERR_OK)
            err = handling(a, &from[i].handling, &e->handling, &e->n_handling);
        if (err == ERR_OK)
            err = ca_digest(a, from[i].name, from[i].ca, &e->ca_spki);
        if (err != ERR_OK)
            return err;
        a->d.agencies[i] = e;
    }
    a->d.n_agencies = n;
    qsort(a->d.agencies, n, sizeof(*a->d.agencies), by_agency);
    return ERR_OK;
}

static enum err hex_key(struct authoring *a, const char *broker, const char *hex,
                        ProtobufCBinaryData *ret)
{
    uint8_t *key = take(a, 1, KEY_LEN);
    if (key == NULL)
        return ERR_NO_MEMORY;
    if (text_hex_decode(span_str(hex), KEY_LEN, key) != ERR_OK)
        return say(a, "%s: a public key is not 64 hex digits", broker);
    *ret = pb_bytes(span_of(key, KEY_LEN));
    return ERR_OK;
}

static enum err put_broker_keys(struct authoring *a, const struct broker_public *p,
                                Sp__BrokerEntry *e)
{
    size_t n = p->transport.count;
    Sp__CurveKey *keys = take(a, n, sizeof(*keys));
    e->keys = take(a, n, sizeof(*e->keys));
    if (keys == NULL || e->keys == NULL)
        return ERR_NO_MEMORY;
    for (size_t i = 0; i < n; i++) {
        sp__curve_key__init(&keys[i]);
        enum err err = hex_key(a, e->name, p->transport.items[i], &keys[i].public_key);
        if (err != ERR_OK)
            return err;
        /* Good while the directory is, and a little longer for those who still hold an old one. */
        keys[i].not_before_ms = a->d.issued_ms - LIMIT_SKEW_MS;
        keys[i].not_after_ms = a->d.issued_ms + 2 * LIMIT_DIRECTORY_MS;
        e->keys[i] = &keys[i];
    }
    e->n_keys = n;
    enum err err = hex_key(a, e->name, p->log, &e->log_key);
    return err != ERR_OK ? err : hex_key(a, e->name, p->witness, &e->witness_key);
}

static int by_broker(const void *a, const void *b)
{
    return strcmp((*(Sp__BrokerEntry *const *)a)->name, (*(Sp__BrokerEntry *const *)b)->name);
}

static enum err put_broker(struct authoring *a, const struct authoring_broker *from,
                           Sp__BrokerEntry *e)
{
    struct broker_public p = {0};
    sp__broker_entry__init(e);
    e->name = from->name;
    e->endpoint = from->endpoint;
    e->ceiling = (Sp__Level)(from->ceiling + 1);
    enum err err = broker_public_load(from->public_file, &p, a->error);
    if (err != ERR_OK)
        return err;
    if (strcmp(p.name, from->name) != 0)
        err = say(a, "%s: %.200s is of broker %.64s", from->name, from->public_file, p.name);
    if (err == ERR_OK)
        err = put_broker_keys(a, &p, e);
    broker_public_free(&p);
    if (err == ERR_OK)
        err = texts(a, &from->names, &e->names, &e->n_names);
    return err != ERR_OK ? err : handling(a, &from->handling, &e->handling, &e->n_handling);
}

static enum err put_brokers(struct authoring *a)
{
    size_t n = a->file.brokers.count;
    const struct authoring_broker *from = a->file.brokers.items;
    Sp__BrokerEntry *items = take(a, n, sizeof(*items));
    a->d.brokers = take(a, n, sizeof(*a->d.brokers));
    if (items == NULL || a->d.brokers == NULL)
        return ERR_NO_MEMORY;
    for (size_t i = 0; i < n; i++) {
        enum err e = put_broker(a, &from[i], &items[i]);
        if (e != ERR_OK)
            return e;
        a->d.brokers[i] = &items[i];
    }
    a->d.n_brokers = n;
    qsort(a->d.brokers, n, sizeof(*a->d.brokers), by_broker);
    return ERR_OK;
}

static int by_link(const void *a, const void *b)
{
    const Sp__LinkEntry *x = *(Sp__LinkEntry *const *)a;
    const Sp__LinkEntry *y = *(Sp__LinkEntry *const *)b;
    int order = strcmp(x->a, y->a);
    return order != 0 ? order : strcmp(x->b, y->b);
}

static enum err put_links(struct authoring *a)
{
    size_t n = a->file.links.count;
    const struct authoring_link *from = a->file.links.items;
    Sp__LinkEntry *items = take(a, n, sizeof(*items));
    a->d.links = take(a, n, sizeof(*a->d.links));
    if (items == NULL || a->d.links == NULL)
        return ERR_NO_MEMORY;
    for (size_t i = 0; i < n; i++) {
        Sp__LinkEntry *l = &items[i];
        if (from[i].between.count != 2)
            return say(a, "link %zu: it is between two brokers", i + 1);
        char *const *ends = from[i].between.items;
        bool in_order = strcmp(ends[0], ends[1]) < 0;
        sp__link_entry__init(l);
        l->a = ends[in_order ? 0 : 1];
        l->b = ends[in_order ? 1 : 0];
        l->ceiling = (Sp__Level)(from[i].ceiling + 1);
        l->cost = (uint32_t)from[i].cost;
        enum err e = handling(a, &from[i].handling, &l->handling, &l->n_handling);
        if (e != ERR_OK)
            return e;
        a->d.links[i] = l;
    }
    a->d.n_links = n;
    qsort(a->d.links, n, sizeof(*a->d.links), by_link);
    return ERR_OK;
}

static int by_group(const void *a, const void *b)
{
    return strcmp((*(Sp__GroupEntry *const *)a)->name, (*(Sp__GroupEntry *const *)b)->name);
}

static enum err put_groups(struct authoring *a)
{
    size_t n = a->file.groups.count;
    const struct authoring_group *from = a->file.groups.items;
    Sp__GroupEntry *items = take(a, n, sizeof(*items));
    a->d.groups = take(a, n, sizeof(*a->d.groups));
    if (items == NULL || a->d.groups == NULL)
        return ERR_NO_MEMORY;
    for (size_t i = 0; i < n; i++) {
        sp__group_entry__init(&items[i]);
        items[i].name = from[i].name;
        enum err e = sorted(a, &from[i].agencies, &items[i].agencies, &items[i].n_agencies);
        if (e != ERR_OK)
            return e;
        a->d.groups[i] = &items[i];
    }
    a->d.n_groups = n;
    qsort(a->d.groups, n, sizeof(*a->d.groups), by_group);
    return ERR_OK;
}

static enum err build(struct authoring *a, const char *path, const struct env *env,
                      uint64_t version)
{
    struct why why;
    sp__directory__init(&a->d);
    a->d.version = version;
    a->d.federation = a->file.federation;
    a->d.issued_ms = env_now_ms(env);
    a->d.expires_ms = a->d.issued_ms + a->file.valid_ms;
    a->d.crl_max_ms = a->file.crl_max_ms;
    enum err e = put_codes(a);
    if (e == ERR_OK)
        e = put_brokers(a);
    if (e == ERR_OK)
        e = put_agencies(a);
    if (e == ERR_OK)
        e = put_groups(a);
    if (e == ERR_OK)
        e = put_links(a);
    if (e == ERR_OK && directory_check(&a->d, &why) != ERR_OK)
        e = say(a, "%.200s: %s", path, why.text);
    if (e == ERR_NO_MEMORY)
        snprintf(a->error->text, sizeof(a->error->text), "out of memory");
    return e;
}

enum err authoring_load(const char *path, const struct env *env, uint64_t version,
                        struct authoring **ret, struct config_error *error)
{
    struct authoring *a = calloc(1, sizeof(*a));
    if (a == NULL)
        return ERR_NO_MEMORY;
    a->error = error;
    a->pieces = calloc(PIECES_MAX, sizeof(*a->pieces));
    enum err e = a->pieces == NULL
                     ? ERR_NO_MEMORY
                     : config_load(path, authoring_fields, &a->file, sizeof(a->file), error);
    if (e == ERR_OK)
        e = build(a, path, env, version);
    if (e != ERR_OK) {
        authoring_free(a);
        return e;
    }
    *ret = a;
    return ERR_OK;
}

void authoring_free(struct authoring *a)
{
    if (a == NULL)
        return;
    for (size_t i = 0; i < a->n_pieces; i++)
        free(a->pieces[i]);
    free(a->pieces);
    config_free(authoring_fields, &a->file);
    free(a);
}

const Sp__Directory *authoring_directory(const struct authoring *a)
{
    return &a->d;
}
