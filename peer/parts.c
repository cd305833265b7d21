#include "peer/parts.h"

#include "common/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct parked {
    struct parked *next;
    char peer[LIMIT_PEER];
    struct parcel *parcel;
    struct digest *missing;
    size_t n_missing;
    size_t bytes;
    enum err result; /* not ERR_OK: over */
};

struct offered {
    struct offered *next;
    char peer[LIMIT_PEER];
    uint64_t number;
    size_t n;
    struct digest sha256[];
};

struct parts {
    struct part_dir *dir;
    struct partflow *flow;
    struct parked *parked;
    size_t n_parked;
    size_t bytes;
    struct offered *offered;
};

enum err parts_new(struct part_dir *dir, struct parts **ret)
{
    struct parts *p = calloc(1, sizeof *p);

    if (p == NULL)
        return ERR_NO_MEMORY;
    p->dir = dir;
    *ret = p;
    return ERR_OK;
}

static void parked_free(struct parked *w)
{
    if (w == NULL)
        return;
    parcel_free(w->parcel);
    free(w->missing);
    free(w);
}

void parts_free(struct parts *p)
{
    if (p == NULL)
        return;
    while (p->parked != NULL) {
        struct parked *w = p->parked;

        p->parked = w->next;
        parked_free(w);
    }
    while (p->offered != NULL) {
        struct offered *o = p->offered;

        p->offered = o->next;
        free(o);
    }
    free(p);
}

void parts_bind(struct parts *p, struct partflow *flow)
{
    p->flow = flow;
}

static bool is_missing(const struct parts *p, const struct parcel *parcel, size_t i)
{
    const struct envelope_part *part = envelope_part(parcel->envelope, i);

    return parcel_is_file(parcel, i) && !part_dir_has(p->dir, &part->sha256, part->ct_len);
}

uint64_t parts_missing(const struct parts *p, const struct parcel *parcel)
{
    size_t n = envelope_part_count(parcel->envelope);
    uint64_t bytes = 0;

    /* The usual case costs no look at the disk. */
    if (parcel->wire->n_parts == n)
        return 0;
    for (size_t i = 0; i < n; i++) {
        if (is_missing(p, parcel, i))
            bytes += envelope_part(parcel->envelope, i)->ct_len;
    }
    return bytes;
}

static struct parked *take_parked(struct parts *p, struct parked **at)
{
    struct parked *w = *at;

    *at = w->next;
    w->next = NULL;
    p->n_parked--;
    p->bytes -= w->bytes;
    return w;
}

static bool is_wanted(const struct parts *p, const struct digest *sha256)
{
    for (const struct parked *w = p->parked; w != NULL; w = w->next) {
        for (size_t i = 0; i < w->n_missing; i++) {
            if (digest_equal(&w->missing[i], sha256))
                return true;
        }
    }
    return false;
}

/* The same envelope from the same peer, which is to be replaced. */
static void drop_former(struct parts *p, const char *peer, const struct digest *digest)
{
    struct parked **at = &p->parked;

    while (*at != NULL) {
        if (strcmp((*at)->peer, peer) == 0 &&
            digest_equal(envelope_digest((*at)->parcel->envelope), digest))
            parked_free(take_parked(p, at));
        else
            at = &(*at)->next;
    }
}

static bool at_bound(const struct parts *p, const char *peer, size_t bytes)
{
    size_t of_peer = 0;

    for (const struct parked *w = p->parked; w != NULL; w = w->next)
        of_peer += strcmp(w->peer, peer) == 0;
    return p->n_parked >= PARKED_MAX || of_peer >= PARKED_OF_PEER_MAX ||
           p->bytes + bytes > PARKED_BYTES_MAX;
}

static enum err ask(struct parts *p, struct parked *w)
{
    const struct envelope *e = w->parcel->envelope;
    enum err err = ERR_OK;

    for (size_t i = 0; err == ERR_OK && i < envelope_part_count(e); i++) {
        const struct envelope_part *part = envelope_part(e, i);
        bool before = false;

        if (!is_missing(p, w->parcel, i))
            continue;
        for (size_t j = 0; j < w->n_missing; j++)
            before |= digest_equal(&w->missing[j], &part->sha256);
        if (before)
            continue;
        err = partflow_want(p->flow, w->peer, &part->sha256, part->ct_len);
        if (err == ERR_OK)
            w->missing[w->n_missing++] = part->sha256;
    }
    return err;
}

/* Ends the fetching of what nobody waits for any more. */
static void cancel(struct parts *p, const struct parked *w)
{
    for (size_t i = 0; i < w->n_missing; i++) {
        if (!is_wanted(p, &w->missing[i]))
            partflow_cancel(p->flow, &w->missing[i]);
    }
}

enum err parts_park(struct parts *p, const char *peer, struct parcel *parcel)
{
    size_t bytes = 2 * envelope_bytes(parcel->envelope).len + 2 * LIMIT_INLINE_PARTS;
    struct parked *w;
    enum err e;

    drop_former(p, peer, envelope_digest(parcel->envelope));
    if (at_bound(p, peer, bytes))
        return ERR_UNAVAILABLE;
    w = calloc(1, sizeof *w);
    if (w == NULL)
        return ERR_NO_MEMORY;
    w->missing = calloc(envelope_part_count(parcel->envelope), sizeof *w->missing);
    e = w->missing == NULL ? ERR_NO_MEMORY : parcel_keep(parcel);
    snprintf(w->peer, sizeof w->peer, "%s", peer);
    w->bytes = bytes;
    w->parcel = parcel;
    if (e == ERR_OK)
        e = ask(p, w);
    if (e != ERR_OK) {
        cancel(p, w);
        w->parcel = NULL;
        parked_free(w);
        return e == ERR_FULL ? ERR_UNAVAILABLE : e;
    }
    w->next = p->parked;
    p->parked = w;
    p->n_parked++;
    p->bytes += bytes;
    return ERR_OK;
}

void parts_came(struct parts *p, const struct digest *sha256, enum err result)
{
    for (struct parked *w = p->parked; w != NULL; w = w->next) {
        for (size_t i = 0; i < w->n_missing; i++) {
            if (!digest_equal(&w->missing[i], sha256))
                continue;
            w->missing[i] = w->missing[--w->n_missing];
            if (result != ERR_OK)
                w->result = result;
            break;
        }
    }
}

bool parts_next(struct parts *p, char peer[LIMIT_PEER], struct parcel **parcel, enum err *result)
{
    struct parked **at = &p->parked;
    struct parked *w;

    while (*at != NULL && (*at)->result == ERR_OK && (*at)->n_missing > 0)
        at = &(*at)->next;
    if (*at == NULL)
        return false;
    w = take_parked(p, at);
    cancel(p, w);
    memcpy(peer, w->peer, sizeof w->peer);
    *parcel = w->parcel;
    *result = w->result;
    w->parcel = NULL;
    parked_free(w);
    return true;
}

void parts_peer_down(struct parts *p, const char *peer)
{
    struct parked **at = &p->parked;
    struct offered **o = &p->offered;

    while (*at != NULL) {
        if (strcmp((*at)->peer, peer) == 0) {
            struct parked *w = take_parked(p, at);

            cancel(p, w);
            parked_free(w);
        } else {
            at = &(*at)->next;
        }
    }
    while (*o != NULL) {
        if (strcmp((*o)->peer, peer) == 0) {
            struct offered *gone = *o;

            *o = gone->next;
            free(gone);
        } else {
            o = &(*o)->next;
        }
    }
}

size_t parts_parked(const struct parts *p)
{
    return p->n_parked;
}

static bool travels_beside(const Sp__Transfer *t, size_t index)
{
    for (size_t i = 0; i < t->n_parts; i++) {
        if (t->parts[i]->index == index)
            return true;
    }
    return false;
}

enum err parts_offer(struct parts *p, const char *peer, uint64_t number, const struct envelope *e,
                     const Sp__Transfer *wire)
{
    size_t n = envelope_part_count(e);
    struct offered *o;
    enum err err = ERR_OK;

    for (o = p->offered; o != NULL; o = o->next) {
        if (o->number == number && strcmp(o->peer, peer) == 0)
            return ERR_OK;
    }
    o = calloc(1, sizeof *o + n * sizeof o->sha256[0]);
    if (o == NULL)
        return ERR_NO_MEMORY;
    snprintf(o->peer, sizeof o->peer, "%s", peer);
    o->number = number;
    for (size_t i = 0; err == ERR_OK && i < n; i++) {
        const struct envelope_part *part = envelope_part(e, i);

        if (travels_beside(wire, i))
            continue;
        err = partflow_offer(p->flow, peer, &part->sha256, part->ct_len);
        o->sha256[o->n++] = part->sha256;
    }
    o->next = p->offered;
    p->offered = o;
    return err;
}

void parts_withdraw(struct parts *p, const char *peer, uint64_t number)
{
    struct offered **at = &p->offered;

    while (*at != NULL) {
        struct offered *o = *at;

        if (o->number != number || strcmp(o->peer, peer) != 0) {
            at = &o->next;
            continue;
        }
        for (size_t i = 0; i < o->n; i++)
            partflow_withdraw(p->flow, peer, &o->sha256[i]);
        *at = o->next;
        free(o);
        return;
    }
}
