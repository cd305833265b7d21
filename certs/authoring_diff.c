#include "certs/authoring.h"

#include "certs/directory.h"
#include "common/limits.h"
#include "common/text.h"
#include "proto/names.h"
#include "proto/pb.h"

#include <string.h>

struct diff {
    FILE *to;
    size_t changes;
};

static bool same_message(const void *a, const void *b)
{
    struct buf x, y;
    buf_init(&x, LIMIT_DOCUMENT);
    buf_init(&y, LIMIT_DOCUMENT);
    pb_encode(a, &x);
    pb_encode(b, &y);
    bool same = x.err == ERR_OK && y.err == ERR_OK && span_equal(buf_span(&x), buf_span(&y));
    buf_fini(&x);
    buf_fini(&y);
    return same;
}

static void line(struct diff *d, char sign, const char *kind, const char *name)
{
    fprintf(d->to, "%c %s %s\n", sign, kind, name);
    d->changes++;
}

static void detail(struct diff *d, const char *what, const char *old, const char *next)
{
    if (strcmp(old, next) != 0)
        fprintf(d->to, "    %s: %s -> %s\n", what, old, next);
}

static void list_text(char *const *list, size_t n, char out[512])
{
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < n && used < 511; i++) {
        int len = snprintf(out + used, 512 - used, "%s%s", i == 0 ? "" : ",", list[i]);
        used += len > 0 ? (size_t)len : 0;
    }
}

static void list_detail(struct diff *d, const char *what, char *const *old, size_t n_old,
                        char *const *next, size_t n_next)
{
    char a[512], b[512];
    list_text(old, n_old, a);
    list_text(next, n_next, b);
    detail(d, what, a, b);
}

static void bytes_detail(struct diff *d, const char *what, ProtobufCBinaryData old,
                         ProtobufCBinaryData next)
{
    char a[65] = "", b[65] = "";
    if (old.len <= 32)
        text_hex(pb_span(old), a);
    if (next.len <= 32)
        text_hex(pb_span(next), b);
    detail(d, what, a, b);
}

static const char *level_text(Sp__Level level)
{
    const char *name = name_of(NAME_LEVEL, (int)level);
    return name == NULL ? "none" : name;
}

static void diff_agency(struct diff *d, const Sp__AgencyEntry *old, const Sp__AgencyEntry *next)
{
    if (same_message(old, next))
        return;
    line(d, '~', "agency", next->name);
    detail(d, "trust domain", old->trust_domain, next->trust_domain);
    bytes_detail(d, "CA key", old->ca_spki, next->ca_spki);
    detail(d, "ceiling", level_text(old->ceiling), level_text(next->ceiling));
    list_detail(d, "handling", old->handling, old->n_handling, next->handling, next->n_handling);
    list_detail(d, "homes", old->homes, old->n_homes, next->homes, next->n_homes);
}

static void diff_agencies(struct diff *d, const Sp__Directory *old, const Sp__Directory *next)
{
    for (size_t i = 0; i < next->n_agencies; i++) {
        const Sp__AgencyEntry *was = directory_agency(old, next->agencies[i]->name);
        if (was == NULL)
            line(d, '+', "agency", next->agencies[i]->name);
        else
            diff_agency(d, was, next->agencies[i]);
    }
    for (size_t i = 0; i < old->n_agencies; i++) {
        if (directory_agency(next, old->agencies[i]->name) == NULL)
            line(d, '-', "agency", old->agencies[i]->name);
    }
}

/* A renewed validity of the same keys is no change that a signer has to weigh. */
static bool same_keys(const Sp__BrokerEntry *a, const Sp__BrokerEntry *b)
{
    if (a->n_keys != b->n_keys)
        return false;
    for (size_t i = 0; i < a->n_keys; i++) {
        if (!span_equal(pb_span(a->keys[i]->public_key), pb_span(b->keys[i]->public_key)))
            return false;
    }
    return true;
}

static void diff_broker(struct diff *d, const Sp__BrokerEntry *old, const Sp__BrokerEntry *next)
{
    Sp__BrokerEntry aligned = *old;
    bool keys = same_keys(old, next);
    if (keys) {
        aligned.keys = next->keys;
        aligned.n_keys = next->n_keys;
    }
    if (same_message(&aligned, next))
        return;
    line(d, '~', "broker", next->name);
    detail(d, "endpoint", old->endpoint, next->endpoint);
    if (!keys)
        fprintf(d->to, "    transport keys change\n");
    bytes_detail(d, "log key", old->log_key, next->log_key);
    bytes_detail(d, "witness key", old->witness_key, next->witness_key);
    detail(d, "ceiling", level_text(old->ceiling), level_text(next->ceiling));
    list_detail(d, "handling", old->handling, old->n_handling, next->handling, next->n_handling);
}

static void diff_brokers(struct diff *d, const Sp__Directory *old, const Sp__Directory *next)
{
    for (size_t i = 0; i < next->n_brokers; i++) {
        const Sp__BrokerEntry *was = directory_broker(old, next->brokers[i]->name);
        if (was == NULL)
            line(d, '+', "broker", next->brokers[i]->name);
        else
            diff_broker(d, was, next->brokers[i]);
    }
    for (size_t i = 0; i < old->n_brokers; i++) {
        if (directory_broker(next, old->brokers[i]->name) == NULL)
            line(d, '-', "broker", old->brokers[i]->name);
    }
}

static const Sp__LinkEntry *find_link(const Sp__Directory *d, const Sp__LinkEntry *l)
{
    for (size_t i = 0; i < d->n_links; i++) {
        if (strcmp(d->links[i]->a, l->a) == 0 && strcmp(d->links[i]->b, l->b) == 0)
            return d->links[i];
    }
    return NULL;
}

static void link_line(struct diff *d, char sign, const Sp__LinkEntry *l)
{
    char name[2 * LIMIT_BROKER + 4];
    snprintf(name, sizeof(name), "%s - %s", l->a, l->b);
    line(d, sign, "link", name);
}

static void diff_links(struct diff *d, const Sp__Directory *old, const Sp__Directory *next)
{
    for (size_t i = 0; i < next->n_links; i++) {
        const Sp__LinkEntry *l = next->links[i];
        const Sp__LinkEntry *was = find_link(old, l);
        if (was == NULL) {
            link_line(d, '+', l);
        } else if (!same_message(was, l)) {
            link_line(d, '~', l);
            detail(d, "ceiling", level_text(was->ceiling), level_text(l->ceiling));
            list_detail(d, "handling", was->handling, was->n_handling, l->handling, l->n_handling);
            if (was->cost != l->cost)
                fprintf(d->to, "    cost: %u -> %u\n", was->cost, l->cost);
        }
    }
    for (size_t i = 0; i < old->n_links; i++) {
        if (find_link(next, old->links[i]) == NULL)
            link_line(d, '-', old->links[i]);
    }
}

static void diff_codes(struct diff *d, const Sp__Directory *old, const Sp__Directory *next)
{
    for (size_t i = 0; i < next->n_codes; i++) {
        const Sp__CodeEntry *was = directory_code(old, next->codes[i]->code);
        if (was == NULL || !same_message(was, next->codes[i]))
            line(d, was == NULL ? '+' : '~', "code", next->codes[i]->code);
    }
    for (size_t i = 0; i < old->n_codes; i++) {
        if (directory_code(next, old->codes[i]->code) == NULL)
            line(d, '-', "code", old->codes[i]->code);
    }
}

static void diff_groups(struct diff *d, const Sp__Directory *old, const Sp__Directory *next)
{
    for (size_t i = 0; i < next->n_groups; i++) {
        const Sp__GroupEntry *was = directory_group(old, next->groups[i]->name);
        if (was == NULL || !same_message(was, next->groups[i]))
            line(d, was == NULL ? '+' : '~', "group", next->groups[i]->name);
    }
    for (size_t i = 0; i < old->n_groups; i++) {
        if (directory_group(next, old->groups[i]->name) == NULL)
            line(d, '-', "group", old->groups[i]->name);
    }
}

size_t authoring_diff(const Sp__Directory *old, const Sp__Directory *next, FILE *to)
{
    struct diff d = {.to = to};
    Sp__Directory none = SP__DIRECTORY__INIT;
    if (old == NULL)
        old = &none;
    diff_agencies(&d, old, next);
    diff_brokers(&d, old, next);
    diff_links(&d, old, next);
    diff_codes(&d, old, next);
    diff_groups(&d, old, next);
    if (old != &none && old->crl_max_ms != next->crl_max_ms) {
        fprintf(to, "~ longest life of a revocation list\n");
        d.changes++;
    }
    return d.changes;
}
