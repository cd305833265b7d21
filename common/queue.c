#include "common/queue.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct queue {
    struct hop **hops;
    size_t n_hops;
    struct entry **heap; /* binary heap by due time */
    size_t n_heap;
    size_t cap_heap;
};

enum err queue_new(struct queue **ret)
{
    struct queue *q = calloc(1, sizeof *q);

    if (q == NULL)
        return ERR_NO_MEMORY;
    *ret = q;
    return ERR_OK;
}

void queue_free(struct queue *q)
{
    if (q == NULL)
        return;
    for (size_t i = 0; i < q->n_heap; i++)
        free(q->heap[i]);
    for (size_t i = 0; i < q->n_hops; i++)
        free(q->hops[i]);
    free(q->heap);
    free(q->hops);
    free(q);
}

struct hop *queue_find_hop(const struct queue *q, const char *name)
{
    for (size_t i = 0; i < q->n_hops; i++) {
        if (strcmp(q->hops[i]->name, name) == 0)
            return q->hops[i];
    }
    return NULL;
}

struct hop *queue_hop(struct queue *q, const char *name)
{
    struct hop *h = queue_find_hop(q, name);
    struct hop **grown;

    if (h != NULL)
        return h;
    grown = realloc(q->hops, (q->n_hops + 1) * sizeof *grown);
    if (grown == NULL)
        return NULL;
    q->hops = grown;
    h = calloc(1, sizeof *h);
    if (h == NULL)
        return NULL;
    assert(strlen(name) < sizeof h->name);
    memcpy(h->name, name, strlen(name) + 1);
    q->hops[q->n_hops++] = h;
    return h;
}

size_t queue_hop_count(const struct queue *q)
{
    return q->n_hops;
}

struct hop *queue_hop_at(const struct queue *q, size_t i)
{
    assert(i < q->n_hops);
    return q->hops[i];
}

size_t hop_count(const struct hop *h)
{
    return h->urgent.count + h->normal.count + h->delayed.count + h->in_flight.count;
}

enum err queue_peer_up(struct queue *q, const char *name)
{
    struct hop *h = queue_hop(q, name);

    if (h == NULL)
        return ERR_NO_MEMORY;
    h->up = true;
    h->paused_until_ms = 0;
    h->pauses = 0;
    while (h->in_flight.last != NULL)
        entry_wait(q, h->in_flight.last);
    while (h->delayed.last != NULL)
        entry_wait(q, h->delayed.last);
    return ERR_OK;
}

void queue_peer_down(struct queue *q, const char *name)
{
    struct hop *h = queue_find_hop(q, name);

    if (h == NULL)
        return;
    h->up = false;
    while (h->in_flight.last != NULL)
        entry_wait(q, h->in_flight.last);
}

static uint64_t due_of(const struct entry *e)
{
    /* In flight, the hand-over is in doubt: expiry has to wait for the answer. */
    if (e->state == ENTRY_IN_FLIGHT)
        return e->retry_ms;
    if (e->state == ENTRY_DELAYED && e->retry_ms < e->expires_ms)
        return e->retry_ms;
    return e->expires_ms;
}

static void heap_set(struct queue *q, size_t i, struct entry *e)
{
    q->heap[i] = e;
    e->heap_at = i;
}

static void heap_sift(struct queue *q, size_t i)
{
    struct entry *e = q->heap[i];
    uint64_t due = due_of(e);

    while (i > 0 && due < due_of(q->heap[(i - 1) / 2])) {
        heap_set(q, i, q->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    for (;;) {
        size_t child = 2 * i + 1;

        if (child >= q->n_heap)
            break;
        if (child + 1 < q->n_heap && due_of(q->heap[child + 1]) < due_of(q->heap[child]))
            child++;
        if (due <= due_of(q->heap[child]))
            break;
        heap_set(q, i, q->heap[child]);
        i = child;
    }
    heap_set(q, i, e);
}

static struct entry_list *list_of(struct entry *e)
{
    switch (e->state) {
    case ENTRY_WAITING:
        return e->urgent ? &e->hop->urgent : &e->hop->normal;
    case ENTRY_DELAYED:
        return &e->hop->delayed;
    default:
        return &e->hop->in_flight;
    }
}

static void list_remove(struct entry *e)
{
    struct entry_list *l = list_of(e);

    *(e->prev != NULL ? &e->prev->next : &l->first) = e->next;
    *(e->next != NULL ? &e->next->prev : &l->last) = e->prev;
    e->prev = e->next = NULL;
    l->count--;
}

/* Behind `before`; NULL: first. */
static void list_insert(struct entry *e, struct entry *before)
{
    struct entry_list *l = list_of(e);

    e->prev = before;
    e->next = before != NULL ? before->next : l->first;
    *(e->prev != NULL ? &e->prev->next : &l->first) = e;
    *(e->next != NULL ? &e->next->prev : &l->last) = e;
    l->count++;
}

/* What was offered comes back in the order of numbers, whichever ends its wait first, so that a hop
 * gets the older first. Only entries that came back before are passed over. */
static void list_return(struct entry *e)
{
    struct entry *before = NULL;
    struct entry *next = list_of(e)->first;

    while (next != NULL && next->number < e->number) {
        before = next;
        next = next->next;
    }
    list_insert(e, before);
}

static void move(struct queue *q, struct entry *e, enum entry_state state)
{
    list_remove(e);
    e->state = state;
    if (state == ENTRY_WAITING)
        list_return(e);
    else
        list_insert(e, list_of(e)->last);
    heap_sift(q, e->heap_at);
}

enum err queue_add(struct queue *q, struct hop *h, uint64_t number, uint64_t expires_ms,
                   bool urgent, bool offered, struct entry **ret)
{
    struct entry *e;

    if (q->n_heap == q->cap_heap) {
        size_t cap = q->cap_heap == 0 ? 256 : 2 * q->cap_heap;
        struct entry **grown = realloc(q->heap, cap * sizeof *grown);

        if (grown == NULL)
            return ERR_NO_MEMORY;
        q->heap = grown;
        q->cap_heap = cap;
    }
    e = calloc(1, sizeof *e);
    if (e == NULL)
        return ERR_NO_MEMORY;
    e->number = number;
    e->expires_ms = expires_ms;
    e->urgent = urgent;
    e->offered = offered;
    e->hop = h;
    list_insert(e, list_of(e)->last);
    heap_set(q, q->n_heap++, e);
    heap_sift(q, e->heap_at);
    *ret = e;
    return ERR_OK;
}

void queue_remove(struct queue *q, struct entry *e)
{
    size_t i = e->heap_at;
    struct entry *last = q->heap[--q->n_heap];

    list_remove(e);
    if (last != e) {
        heap_set(q, i, last);
        heap_sift(q, i);
    }
    free(e);
}

static struct entry *list_find(const struct entry_list *l, uint64_t number)
{
    for (struct entry *e = l->first; e != NULL; e = e->next) {
        if (e->number == number)
            return e;
    }
    return NULL;
}

/* What was offered stands before what never was. */
static struct entry *find_offered(const struct entry_list *l, uint64_t number)
{
    for (struct entry *e = l->first; e != NULL && e->offered; e = e->next) {
        if (e->number == number)
            return e;
    }
    return NULL;
}

struct entry *hop_find(const struct hop *h, uint64_t number)
{
    struct entry *e = list_find(&h->in_flight, number);

    if (e == NULL)
        e = find_offered(&h->urgent, number);
    if (e == NULL)
        e = find_offered(&h->normal, number);
    return e == NULL ? list_find(&h->delayed, number) : e;
}

struct entry *hop_next(struct hop *h, uint64_t now_ms, size_t window)
{
    if (now_ms >= h->paused_until_ms)
        h->paused_until_ms = 0;
    if (!h->up || h->paused_until_ms != 0 || h->in_flight.count >= window)
        return NULL;
    return h->urgent.first != NULL ? h->urgent.first : h->normal.first;
}

void entry_sent(struct queue *q, struct entry *e, uint64_t retry_ms)
{
    e->retry_ms = retry_ms;
    e->offered = true;
    move(q, e, ENTRY_IN_FLIGHT);
}

void entry_delay(struct queue *q, struct entry *e, uint64_t retry_ms)
{
    e->retry_ms = retry_ms;
    move(q, e, ENTRY_DELAYED);
}

void entry_wait(struct queue *q, struct entry *e)
{
    move(q, e, ENTRY_WAITING);
}

static uint64_t back_off_ms(uint64_t min_ms, uint64_t max_ms, uint32_t attempts)
{
    uint64_t ms = min_ms;

    while (attempts-- > 1 && ms < max_ms)
        ms *= 2;
    return ms < max_ms ? ms : max_ms;
}

void entry_back_off(struct queue *q, struct entry *e, enum err code, uint64_t now_ms,
                    uint64_t min_ms, uint64_t max_ms)
{
    e->attempts++;
    if (code == ERR_DISK_FULL || code == ERR_AUDIT_UNAVAILABLE) {
        e->hop->paused_until_ms = now_ms + back_off_ms(min_ms, max_ms, ++e->hop->pauses);
        entry_wait(q, e);
    } else {
        entry_delay(q, e, now_ms + back_off_ms(min_ms, max_ms, e->attempts));
    }
}

struct entry *queue_due(const struct queue *q, uint64_t now_ms)
{
    return q->n_heap > 0 && due_of(q->heap[0]) <= now_ms ? q->heap[0] : NULL;
}

uint64_t queue_first_due(const struct queue *q)
{
    return q->n_heap > 0 ? due_of(q->heap[0]) : UINT64_MAX;
}

uint64_t queue_first_pause_end(const struct queue *q)
{
    uint64_t first = UINT64_MAX;

    for (size_t i = 0; i < q->n_hops; i++) {
        const struct hop *h = q->hops[i];

        if (h->up && h->paused_until_ms != 0 && h->urgent.count + h->normal.count > 0 &&
            h->paused_until_ms < first)
            first = h->paused_until_ms;
    }
    return first;
}

void queue_touch(struct queue *q, struct entry *e)
{
    heap_sift(q, e->heap_at);
}
