#include "certs/documents.h"

#include "certs/directory.h"
#include "common/limits.h"
#include "common/text.h"

#include <string.h>

#define KEY_LEN 32

static bool level_ok(Sp__Level level)
{
    return level >= SP__LEVEL__LEVEL_PUBLIC && level <= SP__LEVEL__LEVEL_SECRET;
}

static enum err check_texts(Sp__Text *const *texts, size_t n, const char *of, struct why *why)
{
    if (n > LIMIT_TEXTS)
        return why_set(why, ERR_TOO_LARGE, "%s: too many languages", of);
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(texts[i]->language);
        if (len < 2 || len > 16 || !text_is_name(span_str(texts[i]->language), 16))
            return why_set(why, ERR_MALFORMED, "%s: a language is not a BCP 47 tag", of);
        if (strlen(texts[i]->text) >= LIMIT_LABEL || texts[i]->text[0] == '\0')
            return why_set(why, ERR_MALFORMED, "%s: a name is empty or too long", of);
        if (i > 0 && strcmp(texts[i - 1]->language, texts[i]->language) >= 0)
            return why_set(why, ERR_NON_CANONICAL, "%s: languages are not sorted and distinct", of);
    }
    return ERR_OK;
}

static enum err check_handling(const Sp__Directory *d, char *const *codes, size_t n, const char *of,
                               struct why *why)
{
    if (n == 0)
        return why_set(why, ERR_MALFORMED, "%s: no handling codes are allowed", of);
    for (size_t i = 0; i < n; i++) {
        if (directory_code(d, codes[i]) == NULL)
            return why_set(why, ERR_MALFORMED, "%s: the code book lacks %.16s", of, codes[i]);
        if (i > 0 && strcmp(codes[i - 1], codes[i]) >= 0)
            return why_set(why, ERR_NON_CANONICAL, "%s: codes are not sorted and distinct", of);
    }
    return ERR_OK;
}

static enum err check_groups(const Sp__Directory *d, struct why *why)
{
    if (d->n_groups > LIMIT_GROUPS)
        return why_set(why, ERR_TOO_LARGE, "over %d groups", LIMIT_GROUPS);
    for (size_t i = 0; i < d->n_groups; i++) {
        const Sp__GroupEntry *g = d->groups[i];
        if (!name_is_group(g->name))
            return why_set(why, ERR_MALFORMED, "group %zu: the name is not well-formed", i + 1);
        if (i > 0 && strcmp(d->groups[i - 1]->name, g->name) >= 0)
            return why_set(why, ERR_NON_CANONICAL, "groups are not sorted and distinct");
        for (size_t m = 0; m < g->n_agencies; m++) {
            if (directory_agency(d, g->agencies[m]) == NULL)
                return why_set(why, ERR_UNKNOWN_AGENCY, "group %s: a member is not listed",
                               g->name);
            if (m > 0 && strcmp(g->agencies[m - 1], g->agencies[m]) >= 0)
                return why_set(why, ERR_NON_CANONICAL, "group %s: not sorted and distinct",
                               g->name);
        }
    }
    return ERR_OK;
}

static enum err check_codes(const Sp__Directory *d, struct why *why)
{
    if (d->n_codes == 0 || d->n_codes > LIMIT_CODES)
        return why_set(why, ERR_MALFORMED, "the code book must have 1 to %d codes", LIMIT_CODES);
    for (size_t i = 0; i < d->n_codes; i++) {
        const Sp__CodeEntry *c = d->codes[i];
        if (!name_is_code(c->code))
            return why_set(why, ERR_MALFORMED, "code %zu: the name is not well-formed", i + 1);
        if (i > 0 && strcmp(d->codes[i - 1]->code, c->code) >= 0)
            return why_set(why, ERR_NON_CANONICAL, "codes are not sorted and distinct");
        for (size_t g = 0; g < c->n_groups; g++) {
            if (directory_group(d, c->groups[g]) == NULL)
                return why_set(why, ERR_MALFORMED, "code %s: a group is not listed", c->code);
            if (g > 0 && strcmp(c->groups[g - 1], c->groups[g]) >= 0)
                return why_set(why, ERR_NON_CANONICAL, "code %s: groups are not sorted", c->code);
        }
        enum err e = check_texts(c->labels, c->n_labels, c->code, why);
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

static enum err check_agency(const Sp__Directory *d, const Sp__AgencyEntry *a, struct why *why)
{
    if (!name_is_domain(a->trust_domain))
        return why_set(why, ERR_MALFORMED, "%s: the trust domain is not a domain name", a->name);
    if (a->ca_spki.len != sizeof(struct digest))
        return why_set(why, ERR_MALFORMED, "%s: the CA's digest has not 32 bytes", a->name);
    if (!level_ok(a->ceiling))
        return why_set(why, ERR_MALFORMED, "%s: no ceiling", a->name);
    if (a->n_homes == 0 || a->n_homes > LIMIT_HOMES)
        return why_set(why, ERR_MALFORMED, "%s: it must have 1 to %d homes", a->name, LIMIT_HOMES);
    for (size_t i = 0; i < a->n_homes; i++) {
        if (directory_broker(d, a->homes[i]) == NULL)
            return why_set(why, ERR_UNKNOWN_AGENCY, "%s: the home %.32s is not listed", a->name,
                           a->homes[i]);
        for (size_t j = 0; j < i; j++) {
            if (strcmp(a->homes[i], a->homes[j]) == 0)
                return why_set(why, ERR_NON_CANONICAL, "%s: a home is there twice", a->name);
        }
    }
    enum err e = check_handling(d, a->handling, a->n_handling, a->name, why);
    return e != ERR_OK ? e : check_texts(a->names, a->n_names, a->name, why);
}

static enum err check_agencies(const Sp__Directory *d, struct why *why)
{
    if (d->n_agencies > LIMIT_AGENCIES)
        return why_set(why, ERR_TOO_LARGE, "over %d agencies", LIMIT_AGENCIES);
    for (size_t i = 0; i < d->n_agencies; i++) {
        const Sp__AgencyEntry *a = d->agencies[i];
        if (!text_is_agency(span_str(a->name)))
            return why_set(why, ERR_MALFORMED, "agency %zu: the name is not well-formed", i + 1);
        if (i > 0 && strcmp(d->agencies[i - 1]->name, a->name) >= 0)
            return why_set(why, ERR_NON_CANONICAL, "agencies are not sorted and distinct");
        enum err e = check_agency(d, a, why);
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

/* tcp://host:port */
static bool endpoint_ok(const char *endpoint)
{
    const char *scheme = "tcp://";
    if (strlen(endpoint) >= LIMIT_ENDPOINT || strncmp(endpoint, scheme, strlen(scheme)) != 0)
        return false;
    const char *host = endpoint + strlen(scheme);
    const char *colon = strrchr(host, ':');
    uint64_t port;
    if (colon == NULL || colon == host)
        return false;
    for (const char *p = host; p < colon; p++) {
        if (*p <= ' ' || *p == '/' || *p == '*' || (unsigned char)*p >= 0x7f)
            return false;
    }
    return text_u64_parse(span_str(colon + 1), 1, 65535, &port) == ERR_OK;
}

static enum err check_broker_keys(const Sp__BrokerEntry *b, struct why *why)
{
    if (b->n_keys == 0 || b->n_keys > LIMIT_CURVE_KEYS)
        return why_set(why, ERR_MALFORMED, "%s: it must have 1 to %d transport keys", b->name,
                       LIMIT_CURVE_KEYS);
    for (size_t i = 0; i < b->n_keys; i++) {
        const Sp__CurveKey *k = b->keys[i];
        if (k->public_key.len != KEY_LEN)
            return why_set(why, ERR_MALFORMED, "%s: a transport key has not 32 bytes", b->name);
        if (k->not_after_ms <= k->not_before_ms ||
            k->not_after_ms - k->not_before_ms > LIMIT_CURVE_KEY_MS)
            return why_set(why, ERR_MALFORMED, "%s: a transport key's validity", b->name);
        for (size_t j = 0; j < i; j++) {
            if (span_equal(pb_span(b->keys[j]->public_key), pb_span(k->public_key)))
                return why_set(why, ERR_NON_CANONICAL, "%s: a key is there twice", b->name);
        }
    }
    if (b->log_key.len != KEY_LEN || b->witness_key.len != KEY_LEN)
        return why_set(why, ERR_MALFORMED, "%s: log and witness key have 32 bytes", b->name);
    if (span_equal(pb_span(b->log_key), pb_span(b->witness_key)))
        return why_set(why, ERR_WRONG_USAGE, "%s: one key for log and witness", b->name);
    return ERR_OK;
}

/* Keys identify brokers: no two may share one. */
static enum err check_broker_distinct(const Sp__Directory *d, size_t i, struct why *why)
{
    const Sp__BrokerEntry *b = d->brokers[i];
    for (size_t o = 0; o < i; o++) {
        const Sp__BrokerEntry *other = d->brokers[o];
        bool same = span_equal(pb_span(b->log_key), pb_span(other->log_key)) ||
                    span_equal(pb_span(b->witness_key), pb_span(other->witness_key)) ||
                    strcmp(b->endpoint, other->endpoint) == 0;
        for (size_t k = 0; k < b->n_keys; k++) {
            for (size_t m = 0; m < other->n_keys; m++)
                same |= span_equal(pb_span(b->keys[k]->public_key),
                                   pb_span(other->keys[m]->public_key));
        }
        if (same)
            return why_set(why, ERR_WRONG_USAGE, "%s and %s share a key or an endpoint",
                           other->name, b->name);
    }
    return ERR_OK;
}

static enum err check_brokers(const Sp__Directory *d, struct why *why)
{
    if (d->n_brokers == 0 || d->n_brokers > LIMIT_BROKERS)
        return why_set(why, ERR_MALFORMED, "it must have 1 to %d brokers", LIMIT_BROKERS);
    for (size_t i = 0; i < d->n_brokers; i++) {
        const Sp__BrokerEntry *b = d->brokers[i];
        if (!text_is_broker(span_str(b->name)))
            return why_set(why, ERR_MALFORMED, "broker %zu: the name is not well-formed", i + 1);
        if (i > 0 && strcmp(d->brokers[i - 1]->name, b->name) >= 0)
            return why_set(why, ERR_NON_CANONICAL, "brokers are not sorted and distinct");
        if (!endpoint_ok(b->endpoint))
            return why_set(why, ERR_MALFORMED, "%s: the endpoint is not tcp://HOST:PORT", b->name);
        if (!level_ok(b->ceiling))
            return why_set(why, ERR_MALFORMED, "%s: no ceiling", b->name);
        enum err e = check_broker_keys(b, why);
        if (e == ERR_OK)
            e = check_broker_distinct(d, i, why);
        if (e == ERR_OK)
            e = check_handling(d, b->handling, b->n_handling, b->name, why);
        if (e == ERR_OK)
            e = check_texts(b->names, b->n_names, b->name, why);
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

static size_t links_of(const Sp__Directory *d, const char *broker)
{
    size_t n = 0;
    for (size_t i = 0; i < d->n_links; i++) {
        if (strcmp(d->links[i]->a, broker) == 0 || strcmp(d->links[i]->b, broker) == 0)
            n++;
    }
    return n;
}

static enum err check_links(const Sp__Directory *d, struct why *why)
{
    if (d->n_links > LIMIT_LINKS_ALL)
        return why_set(why, ERR_TOO_LARGE, "too many links");
    for (size_t i = 0; i < d->n_links; i++) {
        const Sp__LinkEntry *l = d->links[i];
        if (directory_broker(d, l->a) == NULL || directory_broker(d, l->b) == NULL)
            return why_set(why, ERR_UNKNOWN_AGENCY, "link %.32s - %.32s: a broker is not listed",
                           l->a, l->b);
        if (strcmp(l->a, l->b) >= 0)
            return why_set(why, ERR_NON_CANONICAL, "link %s - %s: names are not in order", l->a,
                           l->b);
        if (i > 0) {
            int order = strcmp(d->links[i - 1]->a, l->a);
            if (order > 0 || (order == 0 && strcmp(d->links[i - 1]->b, l->b) >= 0))
                return why_set(why, ERR_NON_CANONICAL, "links are not sorted and distinct");
        }
        if (!level_ok(l->ceiling) || l->cost == 0 || l->cost > LIMIT_LINK_COST)
            return why_set(why, ERR_MALFORMED, "link %s - %s: ceiling or cost", l->a, l->b);
        enum err e = check_handling(d, l->handling, l->n_handling, l->a, why);
        if (e != ERR_OK)
            return e;
    }
    for (size_t i = 0; i < d->n_brokers; i++) {
        if (links_of(d, d->brokers[i]->name) > LIMIT_LINKS)
            return why_set(why, ERR_TOO_LARGE, "%s: over %d links", d->brokers[i]->name,
                           LIMIT_LINKS);
    }
    return ERR_OK;
}

static enum err check_suites(const Sp__Directory *d, struct why *why)
{
    for (size_t i = 0; i < d->n_suites; i++) {
        const Sp__SuiteEntry *s = d->suites[i];
        if (!level_ok(s->level) || s->minimum == 0 || s->minimum > UINT16_MAX)
            return why_set(why, ERR_MALFORMED, "a minimum suite is not possible");
        if (i > 0 && d->suites[i - 1]->level >= s->level)
            return why_set(why, ERR_NON_CANONICAL, "suites are not sorted by level and distinct");
    }
    return ERR_OK;
}

static enum err check_head(const Sp__Directory *d, struct why *why)
{
    if (d->version == 0)
        return why_set(why, ERR_MALFORMED, "versions count from 1");
    if (!name_is_domain(d->federation))
        return why_set(why, ERR_MALFORMED, "the federation is not a domain name");
    if (d->issued_ms == 0 || d->expires_ms <= d->issued_ms ||
        d->expires_ms - d->issued_ms > LIMIT_DIRECTORY_MS)
        return why_set(why, ERR_MALFORMED, "it must expire within 90 days of its issue");
    if (d->crl_max_ms < LIMIT_CRL_MS_MIN || d->crl_max_ms > LIMIT_CRL_MS)
        return why_set(why, ERR_MALFORMED, "a revocation list may be good for 1 hour to 31 days");
    return ERR_OK;
}

enum err directory_check(const Sp__Directory *d, struct why *why)
{
    enum err e = check_head(d, why);
    if (e == ERR_OK)
        e = check_codes(d, why);
    if (e == ERR_OK)
        e = check_brokers(d, why);
    if (e == ERR_OK)
        e = check_agencies(d, why);
    if (e == ERR_OK)
        e = check_groups(d, why);
    if (e == ERR_OK)
        e = check_links(d, why);
    if (e == ERR_OK)
        e = check_suites(d, why);
    return e;
}
