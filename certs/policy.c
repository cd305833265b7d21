#include "certs/policy.h"

#include "certs/directory.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* What an agency, broker or link allows. */
struct allowance {
    char *const *handling;
    size_t n_handling;
    Sp__Level ceiling;
};

/* Which conditions a search observes; leaving one out tells whether it alone is in the way. */
struct conditions {
    bool level;
    bool handling;
};

#define UNREACHED UINT32_MAX

/* Distance of every broker to the nearest home: least cost, then fewest hops. */
struct distances {
    uint32_t cost[LIMIT_BROKERS];
    uint32_t hops[LIMIT_BROKERS];
};

/* Brokers at the ends of each link, as places in the list. */
struct ends {
    uint16_t a[LIMIT_LINKS_ALL];
    uint16_t b[LIMIT_LINKS_ALL];
};

[[gnu::format(printf, 3, 4)]] static enum err refuse(char rule[POLICY_RULE], enum err e,
                                                     const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(rule, POLICY_RULE, format, args);
    va_end(args);
    return e;
}

static const char *level_name(Sp__Level level)
{
    static const char *const names[] = {"?",          "PUBLIC",       "BPL",
                                        "RESTRICTED", "CONFIDENTIAL", "SECRET"};
    size_t i = (size_t)level;
    return i < sizeof(names) / sizeof(names[0]) ? names[i] : names[0];
}

static struct allowance of_agency(const Sp__AgencyEntry *a)
{
    return (struct allowance){a->handling, a->n_handling, a->ceiling};
}

static struct allowance of_broker(const Sp__BrokerEntry *b)
{
    return (struct allowance){b->handling, b->n_handling, b->ceiling};
}

static struct allowance of_link(const Sp__LinkEntry *l)
{
    return (struct allowance){l->handling, l->n_handling, l->ceiling};
}

/* The first code that is not allowed; NULL when all are. */
static const char *code_missing(const struct allowance *a, const struct policy_request *r)
{
    for (size_t i = 0; i < r->n_handling; i++) {
        if (!directory_list_has(a->handling, a->n_handling, r->handling[i]))
            return r->handling[i];
    }
    return NULL;
}

static bool allows(const struct allowance *a, const struct policy_request *r,
                   const struct conditions *c)
{
    return (!c->level || r->level <= a->ceiling) && (!c->handling || code_missing(a, r) == NULL);
}

/* Is the agency in one of the groups to which the code is kept? */
static bool in_groups(const Sp__Directory *d, const Sp__CodeEntry *code, const char *agency)
{
    for (size_t i = 0; i < code->n_groups; i++) {
        const Sp__GroupEntry *g = directory_group(d, code->groups[i]);
        if (g != NULL && directory_list_has(g->agencies, g->n_agencies, agency))
            return true;
    }
    return code->n_groups == 0;
}

static enum err check_code(const Sp__Directory *d, const struct policy_request *r, const char *name,
                           const char *recipient, char rule[POLICY_RULE])
{
    const Sp__CodeEntry *code = directory_code(d, name);
    if (code == NULL)
        return refuse(rule, ERR_HANDLING_NOT_ALLOWED, "the code book has no code %.16s", name);
    if (code->exclusive && r->n_handling > 1)
        return refuse(rule, ERR_HANDLING_NOT_ALLOWED, "code %s stands alone", name);
    if (!in_groups(d, code, r->sender))
        return refuse(rule, ERR_HANDLING_NOT_ALLOWED, "code %s is kept to groups without %s", name,
                      r->sender);
    if (!in_groups(d, code, recipient))
        return refuse(rule, ERR_HANDLING_NOT_ALLOWED, "code %s is kept to groups without %s", name,
                      recipient);
    if (code->ceiling != SP__LEVEL__LEVEL_UNSPECIFIED && r->level > code->ceiling)
        return refuse(rule, ERR_LEVEL_CEILING, "level %s is above the ceiling %s of code %s",
                      level_name(r->level), level_name(code->ceiling), name);
    return ERR_OK;
}

static enum err check_agency(const Sp__AgencyEntry *a, const struct policy_request *r,
                             char rule[POLICY_RULE])
{
    struct allowance allowed = of_agency(a);
    const char *missing = code_missing(&allowed, r);
    if (missing != NULL)
        return refuse(rule, ERR_HANDLING_NOT_ALLOWED, "code %.16s is not allowed to %s", missing,
                      a->name);
    if (r->level > a->ceiling)
        return refuse(rule, ERR_LEVEL_CEILING, "level %s is above the ceiling %s of %s",
                      level_name(r->level), level_name(a->ceiling), a->name);
    return ERR_OK;
}

enum err policy_admits(const Sp__Directory *directory, const struct policy_request *request,
                       const char *recipient, char rule[POLICY_RULE])
{
    const Sp__AgencyEntry *from = directory_agency(directory, request->sender);
    const Sp__AgencyEntry *to = directory_agency(directory, recipient);
    if (from == NULL || to == NULL)
        return refuse(rule, ERR_UNKNOWN_AGENCY, "the directory does not list %.80s",
                      from == NULL ? request->sender : recipient);
    if (request->n_handling == 0 || request->n_handling > LIMIT_HANDLING)
        return refuse(rule, ERR_HANDLING_NOT_ALLOWED, "1 to %d handling codes", LIMIT_HANDLING);
    if (request->level < SP__LEVEL__LEVEL_PUBLIC || request->level > SP__LEVEL__LEVEL_SECRET)
        return refuse(rule, ERR_LEVEL_CEILING, "there is no such protection level");
    for (size_t i = 0; i < request->n_handling; i++) {
        enum err e = check_code(directory, request, request->handling[i], recipient, rule);
        if (e != ERR_OK)
            return e;
    }
    enum err e = check_agency(from, request, rule);
    return e != ERR_OK ? e : check_agency(to, request, rule);
}

static void resolve_ends(const Sp__Directory *d, struct ends *ends)
{
    for (size_t i = 0; i < d->n_links; i++) {
        ends->a[i] = (uint16_t)directory_broker_index(d, d->links[i]->a);
        ends->b[i] = (uint16_t)directory_broker_index(d, d->links[i]->b);
    }
}

static bool better(uint32_t cost, uint32_t hops, uint32_t than_cost, uint32_t than_hops)
{
    return cost < than_cost || (cost == than_cost && hops < than_hops);
}

static void relax(struct distances *dist, size_t to, uint32_t cost, uint32_t hops)
{
    if (better(cost, hops, dist->cost[to], dist->hops[to])) {
        dist->cost[to] = cost;
        dist->hops[to] = hops;
    }
}

/* Dijkstra backwards from the homes, so that each broker finds its next hop from one table. */
static void search(const Sp__Directory *d, const struct ends *ends, const struct policy_request *r,
                   const Sp__AgencyEntry *to, const struct conditions *c, struct distances *dist)
{
    bool allowed[LIMIT_BROKERS];
    bool done[LIMIT_BROKERS] = {false};
    for (size_t i = 0; i < d->n_brokers; i++) {
        struct allowance a = of_broker(d->brokers[i]);
        allowed[i] = allows(&a, r, c);
        dist->cost[i] = dist->hops[i] = UNREACHED;
    }
    for (size_t i = 0; i < to->n_homes; i++) {
        size_t home = directory_broker_index(d, to->homes[i]);
        if (home < d->n_brokers && allowed[home])
            dist->cost[home] = dist->hops[home] = 0;
    }
    for (;;) {
        size_t at = d->n_brokers;
        for (size_t i = 0; i < d->n_brokers; i++) {
            if (!done[i] && dist->cost[i] != UNREACHED &&
                (at == d->n_brokers ||
                 better(dist->cost[i], dist->hops[i], dist->cost[at], dist->hops[at])))
                at = i;
        }
        if (at == d->n_brokers)
            return;
        done[at] = true;
        for (size_t i = 0; i < d->n_links; i++) {
            size_t other = ends->a[i] == at ? ends->b[i] : ends->b[i] == at ? ends->a[i] : at;
            struct allowance a = of_link(d->links[i]);
            if (other != at && allowed[other] && allows(&a, r, c))
                relax(dist, other, dist->cost[at] + d->links[i]->cost, dist->hops[at] + 1);
        }
    }
}

/* The neighbour on the best way; names break ties, since brokers are sorted by name. */
static size_t best_neighbour(const Sp__Directory *d, const struct ends *ends,
                             const struct policy_request *r, const struct conditions *c,
                             const struct distances *dist, size_t at)
{
    size_t best = d->n_brokers;
    uint32_t best_cost = UNREACHED, best_hops = UNREACHED;
    for (size_t i = 0; i < d->n_links; i++) {
        size_t other = ends->a[i] == at ? ends->b[i] : ends->b[i] == at ? ends->a[i] : at;
        struct allowance a = of_link(d->links[i]);
        if (other == at || dist->cost[other] == UNREACHED || !allows(&a, r, c))
            continue;
        uint32_t cost = dist->cost[other] + d->links[i]->cost;
        uint32_t hops = dist->hops[other] + 1;
        if (better(cost, hops, best_cost, best_hops) ||
            (cost == best_cost && hops == best_hops && other < best)) {
            best = other;
            best_cost = cost;
            best_hops = hops;
        }
    }
    return best;
}

/* Why there is no way: what would there be if one condition were left out? */
static enum err explain(const Sp__Directory *d, const struct ends *ends,
                        const struct policy_request *r, const Sp__AgencyEntry *to, size_t at,
                        char rule[POLICY_RULE])
{
    static const struct {
        struct conditions c;
        enum err e;
        const char *words;
    } cases[] = {
        {{.level = false, .handling = true},
         ERR_LEVEL_CEILING,
         "has a ceiling below the message's level"},
        {{.level = true, .handling = false},
         ERR_HANDLING_NOT_ALLOWED,
         "lacks one of the message's handling codes"},
        {{.level = false, .handling = false},
         ERR_NO_ROUTE,
         "lacks the level and one of the handling codes"},
    };
    struct distances dist;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        search(d, ends, r, to, &cases[i].c, &dist);
        if (dist.cost[at] != UNREACHED)
            return refuse(rule, cases[i].e, "every way from %s to %s %s", d->brokers[at]->name,
                          to->name, cases[i].words);
    }
    return refuse(rule, ERR_NO_ROUTE, "no links lead from %s to a home of %s", d->brokers[at]->name,
                  to->name);
}

enum err policy_next_hop(const Sp__Directory *directory, const struct policy_request *request,
                         const char *at, const char *recipient, const char **next,
                         char rule[POLICY_RULE])
{
    static const struct conditions all = {.level = true, .handling = true};
    enum err e = policy_admits(directory, request, recipient, rule);
    if (e != ERR_OK)
        return e;
    const Sp__AgencyEntry *to = directory_agency(directory, recipient);
    size_t here = directory_broker_index(directory, at);
    if (here == directory->n_brokers)
        return refuse(rule, ERR_UNKNOWN_AGENCY, "the directory does not list %.32s", at);
    struct ends ends;
    struct distances dist;
    resolve_ends(directory, &ends);
    search(directory, &ends, request, to, &all, &dist);
    if (dist.cost[here] == UNREACHED)
        return explain(directory, &ends, request, to, here, rule);
    if (dist.hops[here] >= LIMIT_HOPS)
        return refuse(rule, ERR_NO_ROUTE, "the way from %s to %s is over %d brokers long", at,
                      recipient, LIMIT_HOPS);
    if (dist.cost[here] == 0) {
        *next = to->name;
        return ERR_OK;
    }
    size_t neighbour = best_neighbour(directory, &ends, request, &all, &dist, here);
    *next = directory->brokers[neighbour]->name;
    return ERR_OK;
}

enum err policy_path(const Sp__Directory *directory, const struct policy_request *request,
                     const char *recipient, const char **hops, size_t max, size_t *n,
                     char rule[POLICY_RULE])
{
    const Sp__AgencyEntry *from = directory_agency(directory, request->sender);
    const Sp__AgencyEntry *to = directory_agency(directory, recipient);
    if (from == NULL || to == NULL)
        return refuse(rule, ERR_UNKNOWN_AGENCY, "the directory does not list %.80s",
                      from == NULL ? request->sender : recipient);
    const char *at = from->homes[0];
    size_t count = 0;
    while (at != to->name) {
        if (count == max)
            return refuse(rule, ERR_NO_ROUTE, "the way is over %zu brokers long", max);
        hops[count++] = at;
        enum err e = policy_next_hop(directory, request, at, recipient, &at, rule);
        if (e != ERR_OK)
            return e;
    }
    *n = count;
    return ERR_OK;
}
