#include "certs/policy.h"

#include "certs/directory.h"
#include "proto/pb.h"
#include "tests/lib/federation.h"
#include "tests/lib/leaks.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct test_env env;
static struct federation *f;

static void setup(void)
{
    test_env_init(&env, 5);
    cr_assert_eq(federation_new(&env.env, 3, &f), ERR_OK);
}

static void teardown(void)
{
    federation_free(f);
    leaks_check();
}

TestSuite(policy, .init = setup, .fini = teardown);

/* --- An independent reckoning: plain loops over the directory, all simple paths. --- */

static bool listed(char *const *list, size_t n, const char *text)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(list[i], text) == 0)
            return true;
    }
    return false;
}

static bool all_listed(char *const *list, size_t n, const struct policy_request *r)
{
    for (size_t i = 0; i < r->n_handling; i++) {
        if (!listed(list, n, r->handling[i]))
            return false;
    }
    return true;
}

static const Sp__AgencyEntry *agency_of(const Sp__Directory *d, const char *name)
{
    for (size_t i = 0; i < d->n_agencies; i++) {
        if (strcmp(d->agencies[i]->name, name) == 0)
            return d->agencies[i];
    }
    return NULL;
}

static bool grouped(const Sp__Directory *d, const Sp__CodeEntry *c, const char *agency)
{
    for (size_t g = 0; g < d->n_groups; g++) {
        if (listed(c->groups, c->n_groups, d->groups[g]->name) &&
            listed(d->groups[g]->agencies, d->groups[g]->n_agencies, agency))
            return true;
    }
    return c->n_groups == 0;
}

static bool brute_admits(const Sp__Directory *d, const struct policy_request *r, const char *to)
{
    const Sp__AgencyEntry *a = agency_of(d, r->sender), *b = agency_of(d, to);
    if (a == NULL || b == NULL || r->level > a->ceiling || r->level > b->ceiling)
        return false;
    if (!all_listed(a->handling, a->n_handling, r) || !all_listed(b->handling, b->n_handling, r))
        return false;
    for (size_t i = 0; i < r->n_handling; i++) {
        for (size_t c = 0; c < d->n_codes; c++) {
            const Sp__CodeEntry *code = d->codes[c];
            if (strcmp(code->code, r->handling[i]) != 0)
                continue;
            if (code->exclusive && r->n_handling > 1)
                return false;
            if (code->ceiling != 0 && r->level > code->ceiling)
                return false;
            if (!grouped(d, code, r->sender) || !grouped(d, code, to))
                return false;
        }
    }
    return true;
}

struct best {
    uint32_t cost;
    size_t hops;
    const char *path[8];
    bool found;
};

/* Depth-first over all simple paths; the better one by cost, hops, then names in order. */
static void walk(const Sp__Directory *d, const struct policy_request *r, const Sp__AgencyEntry *to,
                 const char **path, size_t len, uint32_t cost, struct best *best)
{
    const char *at = path[len - 1];
    const Sp__BrokerEntry *broker = NULL;
    for (size_t i = 0; i < d->n_brokers; i++) {
        if (strcmp(d->brokers[i]->name, at) == 0)
            broker = d->brokers[i];
    }
    if (r->level > broker->ceiling || !all_listed(broker->handling, broker->n_handling, r))
        return;
    if (listed(to->homes, to->n_homes, at)) {
        bool better = !best->found || cost < best->cost || (cost == best->cost && len < best->hops);
        if (best->found && cost == best->cost && len == best->hops) {
            for (size_t i = 0; i < len; i++) {
                int order = strcmp(path[i], best->path[i]);
                if (order != 0) {
                    better = order < 0;
                    break;
                }
            }
        }
        if (better) {
            *best = (struct best){.cost = cost, .hops = len, .found = true};
            memcpy(best->path, path, len * sizeof(*path));
        }
    }
    for (size_t i = 0; i < d->n_links; i++) {
        const Sp__LinkEntry *l = d->links[i];
        const char *next = strcmp(l->a, at) == 0 ? l->b : strcmp(l->b, at) == 0 ? l->a : NULL;
        if (next == NULL || r->level > l->ceiling || !all_listed(l->handling, l->n_handling, r))
            continue;
        bool seen = false;
        for (size_t k = 0; k < len; k++)
            seen |= strcmp(path[k], next) == 0;
        if (!seen) {
            path[len] = next;
            walk(d, r, to, path, len + 1, cost + l->cost, best);
        }
    }
}

/* Every request of every level and set of codes, between all agencies, from every broker. */
static size_t compare_all(const Sp__Directory *d)
{
    static const char *const codes[] = {"H0", "H1", "H2", "H3", "H9"};
    size_t compared = 0, routes = 0;
    for (unsigned set = 0; set < 32; set++) {
        const char *handling[5];
        size_t n = 0;
        for (unsigned b = 0; b < 5; b++) {
            if ((set >> b & 1) != 0)
                handling[n++] = codes[b];
        }
        for (int level = 0; level <= 5; level++) {
            for (size_t s = 0; s < d->n_agencies; s++) {
                for (size_t t = 0; t < d->n_agencies; t++) {
                    struct policy_request r = {.sender = d->agencies[s]->name,
                                               .handling = handling,
                                               .n_handling = n,
                                               .level = (Sp__Level)level};
                    const Sp__AgencyEntry *to = d->agencies[t];
                    char rule[POLICY_RULE];
                    bool admits = n > 0 && level > 0 && brute_admits(d, &r, to->name);
                    enum err e = policy_admits(d, &r, to->name, rule);
                    cr_assert_eq(e == ERR_OK, admits, "set %u level %d %s -> %s: %s", set, level,
                                 r.sender, to->name, err_code(e));
                    for (size_t b = 0; b < d->n_brokers; b++) {
                        const char *next = NULL, *path[8] = {d->brokers[b]->name};
                        struct best best = {0};
                        if (admits)
                            walk(d, &r, to, path, 1, 0, &best);
                        e = policy_next_hop(d, &r, d->brokers[b]->name, to->name, &next, rule);
                        cr_assert_eq(e == ERR_OK, best.found, "set %u level %d %s -> %s at %s: %s",
                                     set, level, r.sender, to->name, d->brokers[b]->name,
                                     err_code(e));
                        if (best.found) {
                            cr_assert_str_eq(next, best.hops == 1 ? to->name : best.path[1]);
                            routes++;
                        } else {
                            cr_assert(strlen(rule) > 0);
                        }
                        compared++;
                    }
                }
            }
        }
    }
    cr_assert(routes > 500, "%zu routes", routes);
    return compared;
}

Test(policy, agrees_with_brute_force_on_the_federation)
{
    cr_assert_eq(compare_all(trust_directory(f->trust)), 32u * 6 * 6 * 6 * 3);
}

/* A harder one: five brokers in a mesh, two homes, codes kept to groups, ceilings of every kind. */
#define MAX 8
struct mesh {
    Sp__Directory d;
    Sp__AgencyEntry agencies[MAX];
    Sp__AgencyEntry *agency_list[MAX];
    Sp__BrokerEntry brokers[MAX];
    Sp__BrokerEntry *broker_list[MAX];
    Sp__LinkEntry links[2 * MAX];
    Sp__LinkEntry *link_list[2 * MAX];
    Sp__CodeEntry codes[MAX];
    Sp__CodeEntry *code_list[MAX];
    Sp__GroupEntry group;
    Sp__GroupEntry *group_list[1];
};

static char *h0[] = {"H0"};
static char *h01[] = {"H0", "H1"};
static char *h0123[] = {"H0", "H1", "H2", "H3"};
static char *home_a[] = {"a"};
static char *home_c[] = {"c"};
static char *home_ed[] = {"e", "d"};
static char *members[] = {"AA.ONE", "CC.TWO"};
static char *groups[] = {"borders"};

static void put_agency(struct mesh *m, char *name, char **homes, size_t n_homes, char **codes,
                       size_t n_codes, Sp__Level ceiling)
{
    Sp__AgencyEntry *a = &m->agencies[m->d.n_agencies];
    sp__agency_entry__init(a);
    a->name = name;
    a->homes = homes;
    a->n_homes = n_homes;
    a->handling = codes;
    a->n_handling = n_codes;
    a->ceiling = ceiling;
    m->agency_list[m->d.n_agencies++] = a;
}

static void put_broker(struct mesh *m, char *name, char **codes, size_t n_codes, Sp__Level ceiling)
{
    Sp__BrokerEntry *b = &m->brokers[m->d.n_brokers];
    sp__broker_entry__init(b);
    b->name = name;
    b->handling = codes;
    b->n_handling = n_codes;
    b->ceiling = ceiling;
    m->broker_list[m->d.n_brokers++] = b;
}

static void put_link(struct mesh *m, char *a, char *b, uint32_t cost, char **codes, size_t n_codes,
                     Sp__Level ceiling)
{
    Sp__LinkEntry *l = &m->links[m->d.n_links];
    sp__link_entry__init(l);
    l->a = a;
    l->b = b;
    l->cost = cost;
    l->handling = codes;
    l->n_handling = n_codes;
    l->ceiling = ceiling;
    m->link_list[m->d.n_links++] = l;
}

static void put_code(struct mesh *m, char *code, bool exclusive, bool grouped_code,
                     Sp__Level ceiling)
{
    Sp__CodeEntry *c = &m->codes[m->d.n_codes];
    sp__code_entry__init(c);
    c->code = code;
    c->exclusive = exclusive;
    c->ceiling = ceiling;
    if (grouped_code) {
        c->groups = groups;
        c->n_groups = 1;
    }
    m->code_list[m->d.n_codes++] = c;
}

static void make_mesh(struct mesh *m)
{
    memset(m, 0, sizeof(*m));
    sp__directory__init(&m->d);
    put_code(m, "H0", true, false, SP__LEVEL__LEVEL_UNSPECIFIED);
    put_code(m, "H1", false, false, SP__LEVEL__LEVEL_CONFIDENTIAL);
    put_code(m, "H2", false, false, SP__LEVEL__LEVEL_UNSPECIFIED);
    put_code(m, "H3", false, true, SP__LEVEL__LEVEL_UNSPECIFIED);
    put_agency(m, "AA.ONE", home_a, 1, h0123, 4, SP__LEVEL__LEVEL_SECRET);
    put_agency(m, "CC.ONE", home_c, 1, h0123, 4, SP__LEVEL__LEVEL_SECRET);
    put_agency(m, "CC.TWO", home_c, 1, h01, 2, SP__LEVEL__LEVEL_BPL);
    put_agency(m, "ED.ONE", home_ed, 2, h0123, 4, SP__LEVEL__LEVEL_SECRET);
    put_broker(m, "a", h0123, 4, SP__LEVEL__LEVEL_SECRET);
    put_broker(m, "b", h01, 2, SP__LEVEL__LEVEL_SECRET);
    put_broker(m, "c", h0123, 4, SP__LEVEL__LEVEL_SECRET);
    put_broker(m, "d", h0123, 4, SP__LEVEL__LEVEL_CONFIDENTIAL);
    put_broker(m, "e", h0123, 4, SP__LEVEL__LEVEL_SECRET);
    /* a to c: by b (2), by d (2, the tie that b wins by name), straight (5); secret only straight.
     */
    put_link(m, "a", "b", 1, h01, 2, SP__LEVEL__LEVEL_CONFIDENTIAL);
    put_link(m, "a", "c", 5, h0123, 4, SP__LEVEL__LEVEL_SECRET);
    put_link(m, "a", "d", 1, h0123, 4, SP__LEVEL__LEVEL_CONFIDENTIAL);
    put_link(m, "b", "c", 1, h0123, 4, SP__LEVEL__LEVEL_SECRET);
    put_link(m, "b", "e", 2, h0, 1, SP__LEVEL__LEVEL_SECRET);
    put_link(m, "c", "d", 1, h0123, 4, SP__LEVEL__LEVEL_SECRET);
    put_link(m, "c", "e", 4, h0123, 4, SP__LEVEL__LEVEL_RESTRICTED);
    sp__group_entry__init(&m->group);
    m->group.name = groups[0];
    m->group.agencies = members;
    m->group.n_agencies = 2;
    m->group_list[0] = &m->group;
    m->d.agencies = m->agency_list;
    m->d.brokers = m->broker_list;
    m->d.links = m->link_list;
    m->d.codes = m->code_list;
    m->d.groups = m->group_list;
    m->d.n_groups = 1;
}

Test(policy, agrees_with_brute_force_on_a_mesh)
{
    struct mesh m;
    make_mesh(&m);
    cr_assert_eq(compare_all(&m.d), 32u * 6 * 4 * 4 * 5);
}

static enum err hop(const Sp__Directory *d, const char *from, const char *to, const char *at,
                    char **codes, size_t n, Sp__Level level, const char **next)
{
    static char rule[POLICY_RULE];
    struct policy_request r = {
        .sender = from, .handling = (const char *const *)codes, .n_handling = n, .level = level};
    return policy_next_hop(d, &r, at, to, next, rule);
}

Test(policy, names_what_forbids_every_way)
{
    struct mesh m;
    const char *next;
    make_mesh(&m);
    /* e is reached by b with H0 alone, by c up to RESTRICTED. */
    cr_assert_eq(hop(&m.d, "AA.ONE", "ED.ONE", "a", h0, 1, SP__LEVEL__LEVEL_CONFIDENTIAL, &next),
                 ERR_OK);
    cr_assert_str_eq(next, "d");
    m.agencies[3].n_homes = 1; /* only e */
    m.links[4].ceiling = SP__LEVEL__LEVEL_CONFIDENTIAL;
    cr_assert_eq(hop(&m.d, "AA.ONE", "ED.ONE", "a", h0, 1, SP__LEVEL__LEVEL_CONFIDENTIAL, &next),
                 ERR_OK);
    cr_assert_str_eq(next, "b");
    cr_assert_eq(hop(&m.d, "AA.ONE", "ED.ONE", "a", h0, 1, SP__LEVEL__LEVEL_SECRET, &next),
                 ERR_LEVEL_CEILING);
    cr_assert_eq(
        hop(&m.d, "AA.ONE", "ED.ONE", "a", h01 + 1, 1, SP__LEVEL__LEVEL_CONFIDENTIAL, &next),
        ERR_LEVEL_CEILING);
    m.links[6].handling = h0;
    m.links[6].n_handling = 1;
    cr_assert_eq(hop(&m.d, "AA.ONE", "ED.ONE", "a", h01 + 1, 1, SP__LEVEL__LEVEL_BPL, &next),
                 ERR_HANDLING_NOT_ALLOWED);
    cr_assert_eq(hop(&m.d, "AA.ONE", "ED.ONE", "a", h0123 + 2, 1, SP__LEVEL__LEVEL_SECRET, &next),
                 ERR_NO_ROUTE);
    m.d.n_links = 4;
    cr_assert_eq(hop(&m.d, "AA.ONE", "ED.ONE", "a", h0, 1, SP__LEVEL__LEVEL_BPL, &next),
                 ERR_NO_ROUTE);
    cr_assert_eq(hop(&m.d, "AA.ONE", "ED.ONE", "z", h0, 1, SP__LEVEL__LEVEL_BPL, &next),
                 ERR_UNKNOWN_AGENCY);
    cr_assert_eq(hop(&m.d, "AA.ONE", "ZZ.ONE", "a", h0, 1, SP__LEVEL__LEVEL_BPL, &next),
                 ERR_UNKNOWN_AGENCY);
}

Test(policy, names_the_rule_that_decides)
{
    static const struct {
        const char *from, *to;
        const char *codes[3];
        size_t n;
        Sp__Level level;
        enum err e;
        const char *words;
    } rows[] = {
        {"ZZ.X", "CC.ONE", {"H0"}, 1, 2, ERR_UNKNOWN_AGENCY, "ZZ.X"},
        {"AA.ONE", "CC.ONE", {"H0", "H1"}, 2, 2, ERR_HANDLING_NOT_ALLOWED, "H0 stands alone"},
        {"AA.ONE", "CC.ONE", {"H7"}, 1, 2, ERR_HANDLING_NOT_ALLOWED, "no code H7"},
        {"AA.ONE", "CC.TWO", {"H2"}, 1, 2, ERR_HANDLING_NOT_ALLOWED, "H2 is not allowed to CC.TWO"},
        {"AA.ONE", "CC.ONE", {"H3"}, 1, 2, ERR_HANDLING_NOT_ALLOWED, "groups without CC.ONE"},
        {"CC.ONE", "AA.ONE", {"H3"}, 1, 2, ERR_HANDLING_NOT_ALLOWED, "groups without CC.ONE"},
        {"AA.ONE", "CC.ONE", {"H1"}, 1, 5, ERR_LEVEL_CEILING, "ceiling CONFIDENTIAL of code H1"},
        {"AA.ONE", "CC.TWO", {"H0"}, 1, 3, ERR_LEVEL_CEILING, "ceiling BPL of CC.TWO"},
        {"CC.TWO", "AA.ONE", {"H0"}, 1, 3, ERR_LEVEL_CEILING, "ceiling BPL of CC.TWO"},
        {"AA.ONE", "CC.ONE", {NULL}, 0, 2, ERR_HANDLING_NOT_ALLOWED, "1 to 8"},
    };
    struct mesh m;
    make_mesh(&m);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char rule[POLICY_RULE];
        struct policy_request r = {.sender = rows[i].from,
                                   .handling = rows[i].codes,
                                   .n_handling = rows[i].n,
                                   .level = rows[i].level};
        cr_assert_eq(policy_admits(&m.d, &r, rows[i].to, rule), rows[i].e, "row %zu", i);
        cr_assert_not_null(strstr(rule, rows[i].words), "row %zu: %s", i, rule);
    }
}

Test(policy, bounds_the_number_of_codes_and_the_length_of_the_way)
{
    struct mesh m;
    const char *codes[LIMIT_HANDLING + 1];
    char rule[POLICY_RULE];
    make_mesh(&m);
    for (size_t i = 0; i <= LIMIT_HANDLING; i++)
        codes[i] = "H1";
    struct policy_request r = {.sender = "AA.ONE", .handling = codes, .level = 2};
    r.n_handling = LIMIT_HANDLING;
    cr_assert_eq(policy_admits(&m.d, &r, "CC.ONE", rule), ERR_OK);
    r.n_handling = LIMIT_HANDLING + 1;
    cr_assert_eq(policy_admits(&m.d, &r, "CC.ONE", rule), ERR_HANDLING_NOT_ALLOWED);

    /* A chain a, b, … of LIMIT_HOPS brokers, and one more. */
    static char names[LIMIT_HOPS + 1][2];
    Sp__BrokerEntry brokers[LIMIT_HOPS + 1];
    Sp__BrokerEntry *broker_list[LIMIT_HOPS + 1];
    Sp__LinkEntry links[LIMIT_HOPS];
    Sp__LinkEntry *link_list[LIMIT_HOPS];
    for (size_t i = 0; i <= LIMIT_HOPS; i++) {
        names[i][0] = (char)('a' + i);
        sp__broker_entry__init(&brokers[i]);
        brokers[i] = m.brokers[0];
        brokers[i].name = names[i];
        broker_list[i] = &brokers[i];
        if (i > 0) {
            links[i - 1] = m.links[1];
            links[i - 1].a = names[i - 1];
            links[i - 1].b = names[i];
            link_list[i - 1] = &links[i - 1];
        }
    }
    m.d.brokers = broker_list;
    m.d.n_brokers = LIMIT_HOPS + 1;
    m.d.links = link_list;
    m.d.n_links = LIMIT_HOPS;
    char *home[1];
    const char *next, *path[LIMIT_HOPS];
    size_t n;
    m.agencies[1].homes = home;
    home[0] = names[LIMIT_HOPS - 1];
    r.n_handling = 1;
    cr_assert_eq(policy_next_hop(&m.d, &r, "a", "CC.ONE", &next, rule), ERR_OK);
    cr_assert_eq(policy_path(&m.d, &r, "CC.ONE", path, LIMIT_HOPS, &n, rule), ERR_OK);
    cr_assert_eq(n, LIMIT_HOPS);
    cr_assert_str_eq(path[0], "a");
    cr_assert_str_eq(path[n - 1], names[LIMIT_HOPS - 1]);
    cr_assert_eq(policy_path(&m.d, &r, "CC.ONE", path, LIMIT_HOPS - 1, &n, rule), ERR_NO_ROUTE);
    home[0] = names[LIMIT_HOPS];
    cr_assert_eq(policy_next_hop(&m.d, &r, "a", "CC.ONE", &next, rule), ERR_NO_ROUTE);
}
