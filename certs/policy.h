/* Policy and routes as one pure function of the signed directory, the same at agent, every broker
 * and recipient. No state, no clock. */
#ifndef SEALPOST_CERTS_POLICY_H
#define SEALPOST_CERTS_POLICY_H

#include "common/err.h"
#include "common/limits.h"

#include "documents.pb-c.h"

#include <stdbool.h>

/* What a message asks of the way. Borrowed. */
struct policy_request {
    const char *sender; /* agency */
    const char *const *handling;
    size_t n_handling;
    Sp__Level level;
};

#define POLICY_RULE 256 /* bytes of the text that names the rule, NUL included */

/* May `sender` send this to `recipient` at all: both known, codes known and allowed to both,
 * H0-like exclusive codes alone, levels under both ceilings and the codes'. Errors: unknown-agency,
 * handling-not-allowed, level-ceiling. `rule` gets the deciding rule in words. */
enum err policy_admits(const Sp__Directory *directory, const struct policy_request *request,
                       const char *recipient, char rule[POLICY_RULE]);

/* May a message with these codes be passed on from a source with those: it keeps every code of the
 * source (`source` is the union that the message states), and none of them forbids passing on
 * without a release. Releases are not known yet, so one that is cited does not help. Errors:
 * handling-onward, release-missing, release-invalid. */
enum err policy_onward(const Sp__Directory *directory, const char *const *handling,
                       size_t n_handling, const char *const *source, size_t n_source,
                       bool has_release, char rule[POLICY_RULE]);

/* The next hop of a copy that stands at broker `at`: the recipient itself when `at` is its home,
 * else the neighbour on the cheapest admissible path to one of its homes (ties: fewer hops, then
 * names in byte order). Links and brokers on the path must allow the codes and the level.
 * ERR_NO_ROUTE with the rule; ERR_LEVEL_CEILING or ERR_HANDLING_NOT_ALLOWED when paths exist and
 * only that forbids all of them. `next` points into the directory. */
enum err policy_next_hop(const Sp__Directory *directory, const struct policy_request *request,
                         const char *at, const char *recipient, const char **next,
                         char rule[POLICY_RULE]);

/* The whole path from a sender's home to a recipient's home, brokers in order, for people. */
enum err policy_path(const Sp__Directory *directory, const struct policy_request *request,
                     const char *recipient, const char **hops, size_t max, size_t *n,
                     char rule[POLICY_RULE]);

#endif
