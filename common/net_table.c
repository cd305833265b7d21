#include "common/net_internal.h"

#include <stdlib.h>
#include <string.h>

static int by_key(const void *a, const void *b)
{
    const struct net_peer *x = a;
    const struct net_peer *y = b;

    return memcmp(x->key, y->key, NET_KEY);
}

static int by_name(const void *a, const void *b)
{
    const struct net_known *const *x = a;
    const struct net_known *const *y = b;

    return strcmp((*x)->name, (*y)->name);
}

const struct net_peer *net_table_find(const struct net *net, const uint8_t key[NET_KEY])
{
    struct net_peer wanted = {0};

    if (net->table_count == 0)
        return NULL;
    memcpy(wanted.key, key, NET_KEY);
    return bsearch(&wanted, net->table, net->table_count, sizeof wanted, by_key);
}

bool net_allowed(const struct net *net, const char *name, const uint8_t key[NET_KEY])
{
    const struct net_peer *row = net_table_find(net, key);

    return row != NULL && strcmp(row->name, name) == 0;
}

static struct net_known *find_in(struct net_known *const *known, size_t count, const char *name)
{
    size_t low = 0;

    while (low < count) {
        size_t middle = low + (count - low) / 2;
        int order = strcmp(known[middle]->name, name);

        if (order == 0)
            return known[middle];
        if (order < 0)
            low = middle + 1;
        else
            count = middle;
    }
    return NULL;
}

struct net_known *net_known_find(const struct net *net, const char *name)
{
    return find_in(net->known, net->known_count, name);
}

bool net_is_up(const struct net *net, const char *peer)
{
    const struct net_known *known = net_known_find(net, peer);

    return known != NULL && known->listed &&
           (known->routed || (known->link != NULL && known->link->state == NET_LINK_UP));
}

void net_known_changed(struct net *net, struct net_known *known, bool renewed)
{
    known->renewed = known->renewed || renewed;
    if (known->queued)
        return;
    known->queued = true;
    known->next = NULL;
    *net->changed_end = known;
    net->changed_end = &known->next;
}

static void count_refusal(struct net_stats *stats, enum net_refusal refusal, uint64_t count)
{
    switch (refusal) {
    case NET_REFUSED_KEY:
        stats->refused_key += count;
        break;
    case NET_REFUSED_REVOKED:
        stats->refused_revoked += count;
        break;
    case NET_REFUSED_HANDSHAKE:
        stats->refused_handshake += count;
        break;
    case NET_REFUSED_MESSAGE:
        stats->refused_message += count;
        break;
    }
}

void net_refuse(struct net *net, enum net_refusal refusal, const uint8_t *key, const char *peer,
                uint64_t count)
{
    struct net_refused wanted = {.refusal = refusal, .has_key = key != NULL, .count = count};
    size_t i;

    count_refusal(&net->stats, refusal, count);
    /* The last rows are kept for the kinds without a key, into which the others then fall. */
    if (net->refused_count >= LIMIT_NET_REFUSALS - NET_REFUSALS)
        wanted.has_key = false;
    if (wanted.has_key) {
        memcpy(wanted.key, key, NET_KEY);
        if (peer != NULL)
            memcpy(wanted.peer, peer, strlen(peer) + 1);
    }
    for (i = 0; i < net->refused_count; i++) {
        const struct net_refused *r = &net->refused[i];

        if (r->refusal == refusal && r->has_key == wanted.has_key &&
            memcmp(r->key, wanted.key, NET_KEY) == 0 && strcmp(r->peer, wanted.peer) == 0) {
            net->refused[i].count += count;
            return;
        }
    }
    net->refused[net->refused_count++] = wanted;
}

/* ---- replacing the table ---- */

static bool name_ok(const char name[LIMIT_PEER])
{
    size_t len = strnlen(name, LIMIT_PEER);

    if (len == 0 || len == LIMIT_PEER)
        return false;
    return strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == len;
}

static enum err copy_rows(const struct net_peer *peers, size_t count, struct net_peer **ret_rows,
                          size_t *ret_count)
{
    struct net_peer *rows = calloc(count + 1, sizeof *rows);
    size_t kept = 0;
    enum err e = ERR_OK;

    if (rows == NULL)
        return ERR_NO_MEMORY;
    for (size_t i = 0; i < count && e == ERR_OK; i++) {
        if (!name_ok(peers[i].name))
            e = ERR_MALFORMED;
        rows[i] = peers[i];
    }
    if (e == ERR_OK)
        qsort(rows, count, sizeof *rows, by_key);
    for (size_t i = 0; i < count && e == ERR_OK; i++) {
        if (kept == 0 || memcmp(rows[kept - 1].key, rows[i].key, NET_KEY) != 0)
            rows[kept++] = rows[i];
        else if (strcmp(rows[kept - 1].name, rows[i].name) != 0)
            e = ERR_MALFORMED;
    }
    if (e != ERR_OK) {
        free(rows);
        return e;
    }
    *ret_rows = rows;
    *ret_count = kept;
    return ERR_OK;
}

/* A state for each name of the rows that has none yet; sorted, without repeats. */
static enum err new_names(const struct net *net, const struct net_peer *rows, size_t count,
                          struct net_known **ret, size_t *ret_count)
{
    size_t added = 0;
    size_t kept = 0;

    for (size_t i = 0; i < count; i++) {
        if (net_known_find(net, rows[i].name) != NULL)
            continue;
        ret[added] = calloc(1, sizeof **ret);
        if (ret[added] == NULL)
            goto out;
        memcpy(ret[added++]->name, rows[i].name, LIMIT_PEER);
    }
    if (added > 0)
        qsort(ret, added, sizeof *ret, by_name);
    for (size_t i = 0; i < added; i++) {
        if (kept > 0 && strcmp(ret[kept - 1]->name, ret[i]->name) == 0)
            free(ret[i]);
        else
            ret[kept++] = ret[i];
    }
    *ret_count = kept;
    return ERR_OK;
out:
    while (added > 0)
        free(ret[--added]);
    return ERR_NO_MEMORY;
}

static void mark_listed(struct net *net)
{
    for (size_t i = 0; i < net->known_count; i++)
        net->known[i]->listed = false;
    for (size_t i = 0; i < net->table_count; i++)
        net_known_find(net, net->table[i].name)->listed = true;
}

/* Names that left the table and of which nothing is left to tell. */
static void forget_unlisted(struct net *net)
{
    size_t kept = 0;

    for (size_t i = 0; i < net->known_count; i++) {
        struct net_known *known = net->known[i];

        if (known->listed || known->told || known->queued)
            net->known[kept++] = known;
        else
            free(known);
    }
    net->known_count = kept;
}

static void cut_unlisted(struct net *net)
{
    net_accept_recheck(net);
    net_cut_unlisted_links(net);
    for (size_t i = 0; i < net->known_count; i++) {
        struct net_known *known = net->known[i];

        if (known->routed && !net_allowed(net, known->name, known->key)) {
            known->routed = false;
            net_known_changed(net, known, false);
        }
    }
    if (net->has_stash && !net_allowed(net, net->stash.peer, net->stash.key)) {
        net_refuse(net, NET_REFUSED_REVOKED, net->stash.key, net->stash.peer, 1);
        net_event_release(&net->stash);
        net->has_stash = false;
    }
}

enum err net_set_peers(struct net *net, const struct net_peer *peers, size_t count)
{
    struct net_peer *rows = NULL;
    size_t row_count = 0;
    struct net_known **known = NULL;
    struct net_known **added = NULL;
    size_t added_count = 0;
    enum err e;

    if (count > LIMIT_NET_PEERS)
        return ERR_TOO_LARGE;
    e = copy_rows(peers, count, &rows, &row_count);
    if (e != ERR_OK)
        return e;
    forget_unlisted(net);
    known = calloc(net->known_count + row_count + 1, sizeof *known);
    added = calloc(row_count + 1, sizeof *added);
    e = known != NULL && added != NULL ? new_names(net, rows, row_count, added, &added_count)
                                       : ERR_NO_MEMORY;
    if (e != ERR_OK) {
        free(rows);
        free(known);
        free(added);
        return e;
    }
    if (net->known_count > 0)
        memcpy(known, net->known, net->known_count * sizeof *known);
    memcpy(known + net->known_count, added, added_count * sizeof *known);
    free(added);
    free(net->known);
    free(net->table);
    net->known = known;
    net->known_count += added_count;
    net->table = rows;
    net->table_count = row_count;
    if (net->known_count > 0)
        qsort(net->known, net->known_count, sizeof *net->known, by_name);
    mark_listed(net);
    cut_unlisted(net);
    return ERR_OK;
}
