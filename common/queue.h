/* What waits for a next hop, in memory: one small entry for each (exchange, next hop). Bytes stay
 * in the store. Urgent before normal, else in the order of acceptance; at most `in_flight_max`
 * copies of a hop are unanswered at a time. */
#ifndef SEALPOST_COMMON_QUEUE_H
#define SEALPOST_COMMON_QUEUE_H

#include "common/err.h"
#include "common/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum entry_state {
    ENTRY_WAITING,   /* may be sent as soon as there is room in the window */
    ENTRY_DELAYED,   /* backs off until retry_ms */
    ENTRY_IN_FLIGHT, /* sent; repeated at retry_ms */
};

struct entry {
    uint64_t number; /* of the record that it stands for */
    uint64_t expires_ms;
    uint64_t retry_ms; /* when delayed or in flight */
    uint32_t attempts; /* transient answers in a row */
    enum entry_state state;
    bool urgent;
    bool offered;
    struct hop *hop;
    struct entry *prev, *next; /* in its list */
    size_t heap_at;            /* place in the heap of times */
};

struct entry_list {
    struct entry *first, *last;
    size_t count;
};

struct hop {
    char name[LIMIT_PEER];
    bool up;
    uint64_t paused_until_ms; /* it said that it can take nothing now */
    uint32_t pauses;          /* in a row; the owner sets it to 0 at an answer that decides */
    struct entry_list urgent, normal, delayed, in_flight;
    /* Refusals of this peer in the present minute. */
    uint64_t minute;
    uint32_t refusals;
    uint64_t suppressed;
};

struct queue;

enum err queue_new(struct queue **ret);
void queue_free(struct queue *q);
/* The hop of this name, made when it is new. NULL when out of memory. */
struct hop *queue_hop(struct queue *q, const char *name);
/* NULL when there is none. */
struct hop *queue_find_hop(const struct queue *q, const char *name);
size_t queue_hop_count(const struct queue *q);
struct hop *queue_hop_at(const struct queue *q, size_t i);
size_t hop_count(const struct hop *h);
/* A connection stands: nothing is paused, and what the former one carried, or what backed off,
 * waits again. ERR_NO_MEMORY. */
enum err queue_peer_up(struct queue *q, const char *name);
/* It broke: what was in flight waits again. */
void queue_peer_down(struct queue *q, const char *name);

/* Adds a waiting entry. Numbers grow: this one is above all that were added for the hop.
 * ERR_NO_MEMORY. */
enum err queue_add(struct queue *q, struct hop *h, uint64_t number, uint64_t expires_ms,
                   bool urgent, bool offered, struct entry **ret);
void queue_remove(struct queue *q, struct entry *e);
/* The entry with this number among those that are in flight, delayed, or wait to be sent again;
 * NULL when there is none. Entries that were never offered are not looked at. */
struct entry *hop_find(const struct hop *h, uint64_t number);

/* The next entry that may be sent to `h` now; NULL when it is down, paused, the window is full, or
 * nothing waits. Ends a pause that is over. */
struct entry *hop_next(struct hop *h, uint64_t now_ms, size_t window);
void entry_sent(struct queue *q, struct entry *e, uint64_t retry_ms);
/* Back off until `retry_ms`. */
void entry_delay(struct queue *q, struct entry *e, uint64_t retry_ms);
/* Back into its line, by its number. */
void entry_wait(struct queue *q, struct entry *e);
/* The hop answered that it cannot take `e` now, for the reason `code`. When it can take nothing at
 * all the hop pauses; other codes are about this entry, and hold up nothing else. The wait doubles
 * with each answer of this kind in a row, from `min_ms` to `max_ms`. */
void entry_back_off(struct queue *q, struct entry *e, enum err code, uint64_t now_ms,
                    uint64_t min_ms, uint64_t max_ms);

/* The entry whose time (expiry while not in flight, retry otherwise) comes first, if that is at or
 * before now. */
struct entry *queue_due(const struct queue *q, uint64_t now_ms);
/* The time of the first; UINT64_MAX when empty. */
uint64_t queue_first_due(const struct queue *q);
/* When the first pause ends behind which something waits (it has no entry's time); UINT64_MAX when
 * there is none. */
uint64_t queue_first_pause_end(const struct queue *q);
/* After `expires_ms` was changed. */
void queue_touch(struct queue *q, struct entry *e);

#endif
