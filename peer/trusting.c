#include "peer/trusting.h"

#include "common/file.h"
#include "common/limits.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER_DEPTH 3

/* Rows of the table of peers, growing. */
struct rows {
    struct net_peer *items;
    size_t count;
    size_t cap;
};

/* A connection that we keep up. */
struct link {
    char peer[LIMIT_PEER];
    char endpoint[LIMIT_ENDPOINT];
    uint8_t key[NET_KEY];
    bool wanted;
};

struct trusting {
    struct trusting_options options;
    struct buf root;

    pthread_mutex_t lock; /* of `current` */
    struct trust *current;

    /* The looking thread's. */
    struct trust_floor floor;
    uint64_t seen; /* fingerprint of the folder */

    /* The net thread's. */
    bool listening;
    struct net_bound bound;
    struct rows rows; /* the table as it was last set */
    struct link links[LIMIT_NET_LINKS];
    size_t n_links;
};

/* A number that changes with any name, size, time or inode beneath the folder; the order in which
 * names are read does not matter. */
static uint64_t fingerprint(int dir_fd, int depth)
{
    static const uint8_t key[CHECKSUM_KEY];
    DIR *dir = fdopendir(dir_fd);
    struct dirent *entry;
    uint64_t sum = 0;

    if (dir == NULL) {
        close(dir_fd);
        return 0;
    }
    while ((entry = readdir(dir)) != NULL) {
        struct stat st;
        struct span parts[2];
        uint64_t what[4];

        if (entry->d_name[0] == '.' || fstatat(dir_fd, entry->d_name, &st, 0) != 0)
            continue;
        what[0] = (uint64_t)st.st_size;
        what[1] = (uint64_t)st.st_mtim.tv_sec;
        what[2] = (uint64_t)st.st_mtim.tv_nsec;
        what[3] = st.st_ino;
        parts[0] = span_str(entry->d_name);
        parts[1] = span_of(what, sizeof what);
        if (S_ISREG(st.st_mode)) {
            sum += checksum64(key, parts, 2);
        } else if (S_ISDIR(st.st_mode) && depth > 1) {
            int fd = openat(dir_fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
            uint64_t beneath = fd < 0 ? 0 : fingerprint(fd, depth - 1);

            parts[1] = span_of(&beneath, sizeof beneath);
            sum += checksum64(key, parts, 2);
        }
    }
    closedir(dir);
    return sum;
}

static uint64_t folder_fingerprint(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd < 0 ? 0 : fingerprint(fd, FOLDER_DEPTH);
}

static enum err load(struct trusting *t, struct trust **ret, char why[TRUSTING_WHY])
{
    struct trust *trust;
    enum err e = trust_load(t->options.federation, buf_span(&t->root), &t->floor,
                            env_now_ms(t->options.env), &trust, why, TRUSTING_WHY);

    if (e != ERR_OK)
        return e;
    t->floor = trust_versions(trust);
    *ret = trust;
    return ERR_OK;
}

static bool is_agency(const struct trusting *t)
{
    return t->options.listen == NULL;
}

static bool is_member(const struct trusting *t)
{
    return is_agency(t) ? trust_agency(t->current, t->options.name) != NULL
                        : trust_broker(t->current, t->options.name) != NULL;
}

enum err trusting_new(const struct trusting_options *options, const struct trust_floor *floor,
                      struct trusting **ret, char why[TRUSTING_WHY])
{
    struct trusting *t = calloc(1, sizeof *t);
    enum err e;

    why[0] = '\0';
    if (t == NULL)
        return ERR_NO_MEMORY;
    pthread_mutex_init(&t->lock, NULL);
    t->options = *options;
    t->floor = *floor;
    e = file_read(options->root, LIMIT_DOCUMENT, &t->root);
    if (e != ERR_OK) {
        snprintf(why, TRUSTING_WHY, "root: %s", err_meaning(e));
        goto out;
    }
    t->seen = folder_fingerprint(options->federation);
    e = load(t, &t->current, why);
    if (e == ERR_OK && !is_member(t)) {
        snprintf(why, TRUSTING_WHY, "the directory does not list %s", options->name);
        e = ERR_CONFIG;
    }
out:
    if (e != ERR_OK) {
        trusting_free(t);
        return e;
    }
    *ret = t;
    return ERR_OK;
}

void trusting_free(struct trusting *t)
{
    if (t == NULL)
        return;
    trust_free(t->current);
    free(t->rows.items);
    buf_fini(&t->root);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

struct trust *trusting_current(struct trusting *t)
{
    struct trust *trust;

    pthread_mutex_lock(&t->lock);
    trust = trust_ref(t->current);
    pthread_mutex_unlock(&t->lock);
    return trust;
}

void trusting_set(struct trusting *t, struct trust *trust)
{
    struct trust *before;

    pthread_mutex_lock(&t->lock);
    before = t->current;
    t->current = trust_ref(trust);
    pthread_mutex_unlock(&t->lock);
    trust_free(before);
}

enum err trusting_look(struct trusting *t, bool force, struct trust **ret, char why[TRUSTING_WHY])
{
    uint64_t now = folder_fingerprint(t->options.federation);

    why[0] = '\0';
    if (now == t->seen && !force)
        return ERR_NOT_FOUND;
    t->seen = now;
    return load(t, ret, why);
}

static enum err add_keys(struct rows *rows, const struct trust *trust, const char *name,
                         uint64_t now_ms)
{
    uint8_t keys[LIMIT_CURVE_KEYS][NET_KEY];
    size_t n = trust_transport_keys(trust, name, now_ms, keys, LIMIT_CURVE_KEYS);

    for (size_t i = 0; i < n && rows->count < LIMIT_NET_PEERS; i++) {
        if (rows->count == rows->cap) {
            size_t cap = rows->cap == 0 ? 64 : 2 * rows->cap;
            struct net_peer *grown = realloc(rows->items, cap * sizeof *grown);

            if (grown == NULL)
                return ERR_NO_MEMORY;
            rows->items = grown;
            rows->cap = cap;
        }
        snprintf(rows->items[rows->count].name, LIMIT_PEER, "%s", name);
        memcpy(rows->items[rows->count].key, keys[i], NET_KEY);
        rows->count++;
    }
    return ERR_OK;
}

/* The other end of a link of ours; NULL when it is not ours. */
static const char *other_end(const Sp__LinkEntry *link, const char *name)
{
    if (strcmp(link->a, name) == 0)
        return link->b;
    return strcmp(link->b, name) == 0 ? link->a : NULL;
}

static bool is_home(const Sp__AgencyEntry *agency, const char *name)
{
    for (size_t i = 0; i < agency->n_homes; i++) {
        if (strcmp(agency->homes[i], name) == 0)
            return true;
    }
    return false;
}

static int by_key(const void *a, const void *b)
{
    const struct net_peer *x = a;
    const struct net_peer *y = b;

    return memcmp(x->key, y->key, NET_KEY);
}

static bool was_row(const struct rows *former, const struct net_peer *row)
{
    for (size_t i = 0; i < former->count; i++) {
        if (memcmp(former->items[i].key, row->key, NET_KEY) == 0)
            return strcmp(former->items[i].name, row->name) == 0;
    }
    return false;
}

/* One key, one name. Statements do not prove that their maker has the key: of several claims the
 * directory's wins (a broker's), then the one that stood before; else it is nobody's. */
static void settle_claims(struct rows *rows, const struct rows *former, const struct trust *trust)
{
    size_t kept = 0;

    if (rows->count > 1)
        qsort(rows->items, rows->count, sizeof rows->items[0], by_key);
    for (size_t i = 0, end; i < rows->count; i = end) {
        const struct net_peer *holder = NULL;
        bool disputed = false;

        for (end = i + 1; end < rows->count && by_key(&rows->items[i], &rows->items[end]) == 0;
             end++)
            disputed |= strcmp(rows->items[i].name, rows->items[end].name) != 0;
        for (size_t j = i; disputed && holder == NULL && j < end; j++) {
            if (trust_broker(trust, rows->items[j].name) != NULL)
                holder = &rows->items[j];
        }
        for (size_t j = i; disputed && holder == NULL && j < end; j++) {
            if (was_row(former, &rows->items[j]))
                holder = &rows->items[j];
        }
        if (!disputed)
            holder = &rows->items[i];
        if (holder != NULL)
            rows->items[kept++] = *holder;
    }
    rows->count = kept;
}

/* Keys of those who may talk to a broker. */
static enum err add_broker_peers(struct rows *rows, const struct trust *trust, const char *name,
                                 uint64_t now_ms)
{
    const Sp__Directory *d = trust_directory(trust);
    enum err e = ERR_OK;

    for (size_t i = 0; e == ERR_OK && i < d->n_links; i++) {
        const char *other = other_end(d->links[i], name);

        if (other != NULL)
            e = add_keys(rows, trust, other, now_ms);
    }
    for (size_t i = 0; e == ERR_OK && i < d->n_agencies; i++) {
        if (is_home(d->agencies[i], name))
            e = add_keys(rows, trust, d->agencies[i]->name, now_ms);
    }
    return e;
}

static enum err add_agency_peers(struct rows *rows, const struct trust *trust, const char *name,
                                 uint64_t now_ms)
{
    const Sp__AgencyEntry *self = trust_agency(trust, name);
    enum err e = ERR_OK;

    for (size_t i = 0; self != NULL && e == ERR_OK && i < self->n_homes; i++)
        e = add_keys(rows, trust, self->homes[i], now_ms);
    return e;
}

static enum err set_peers(struct trusting *t, struct net *net, const struct trust *trust)
{
    uint64_t now = env_now_ms(t->options.env);
    struct rows rows = {0};
    enum err e = is_agency(t) ? add_agency_peers(&rows, trust, t->options.name, now)
                              : add_broker_peers(&rows, trust, t->options.name, now);

    if (e == ERR_OK) {
        settle_claims(&rows, &t->rows, trust);
        e = net_set_peers(net, rows.items, rows.count);
    }
    if (e != ERR_OK) {
        free(rows.items);
        return e;
    }
    free(t->rows.items);
    t->rows = rows;
    return ERR_OK;
}

/* Marks as wanted the connection to `peer`, making it where it is missing or other than it should
 * be. Of two brokers the one whose name sorts first connects. */
static enum err want_link(struct trusting *t, struct net *net, const struct trust *trust,
                          const char *peer)
{
    const Sp__BrokerEntry *broker = trust_broker(trust, peer);
    uint8_t keys[LIMIT_CURVE_KEYS][NET_KEY];
    struct link *link = NULL;
    enum err e;

    if (broker == NULL ||
        trust_transport_keys(trust, peer, env_now_ms(t->options.env), keys, LIMIT_CURVE_KEYS) == 0)
        return ERR_OK;
    for (size_t i = 0; i < t->n_links; i++) {
        if (strcmp(t->links[i].peer, peer) == 0)
            link = &t->links[i];
    }
    if (link != NULL && strcmp(link->endpoint, broker->endpoint) == 0 &&
        memcmp(link->key, keys[0], NET_KEY) == 0) {
        link->wanted = true;
        return ERR_OK;
    }
    if (link == NULL) {
        if (t->n_links == LIMIT_NET_LINKS)
            return ERR_FULL;
        link = &t->links[t->n_links++];
    } else {
        e = net_disconnect(net, peer);
        if (e != ERR_OK && e != ERR_NOT_FOUND)
            return e;
    }
    memset(link, 0, sizeof *link);
    snprintf(link->peer, sizeof link->peer, "%s", peer);
    e = net_connect(net, peer, broker->endpoint, keys[0]);
    if (e == ERR_CONFIG || e == ERR_REVOKED || strlen(broker->endpoint) >= sizeof link->endpoint) {
        link->wanted = false; /* not to be had as the directory has it */
        return ERR_OK;
    }
    snprintf(link->endpoint, sizeof link->endpoint, "%s", broker->endpoint);
    memcpy(link->key, keys[0], NET_KEY);
    link->wanted = true;
    return e;
}

static enum err want_links(struct trusting *t, struct net *net, const struct trust *trust)
{
    const Sp__Directory *d = trust_directory(trust);
    const Sp__AgencyEntry *self = is_agency(t) ? trust_agency(trust, t->options.name) : NULL;
    enum err e = ERR_OK;

    for (size_t i = 0; self != NULL && e == ERR_OK && i < self->n_homes; i++)
        e = want_link(t, net, trust, self->homes[i]);
    for (size_t i = 0; !is_agency(t) && e == ERR_OK && i < d->n_links; i++) {
        if (strcmp(d->links[i]->a, t->options.name) == 0)
            e = want_link(t, net, trust, d->links[i]->b);
    }
    return e;
}

static enum err set_links(struct trusting *t, struct net *net, const struct trust *trust)
{
    size_t kept = 0;
    enum err e = ERR_OK;

    for (size_t i = 0; i < t->n_links; i++)
        t->links[i].wanted = false;
    e = want_links(t, net, trust);
    for (size_t i = 0; e == ERR_OK && i < t->n_links; i++) {
        if (t->links[i].wanted) {
            t->links[kept++] = t->links[i];
            continue;
        }
        e = net_disconnect(net, t->links[i].peer);
        if (e == ERR_NOT_FOUND)
            e = ERR_OK;
    }
    if (e == ERR_OK)
        t->n_links = kept;
    return e;
}

enum err trusting_setup(struct trusting *t, struct net *net)
{
    struct trust *trust = trusting_current(t);
    enum err e = set_peers(t, net, trust);

    if (e == ERR_OK && !is_agency(t) && !t->listening) {
        e = net_listen(net, t->options.listen, &t->bound);
        t->listening = e == ERR_OK;
    }
    if (e == ERR_OK)
        e = set_links(t, net, trust);
    trust_free(trust);
    return e;
}

const char *trusting_endpoint(struct trusting *t)
{
    return t->bound.endpoint;
}
