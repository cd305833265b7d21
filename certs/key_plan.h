/* When each encryption key of an agency is encrypted to, and when it is destroyed: forward secrecy
 * for recipients (DESIGN, identity). Pure: keys and the time go in, times come out.
 *
 * Each key is encrypted to for KEY_PLAN_USE_MS, one after the other; they are published for at
 * least KEY_PLAN_AHEAD_MS ahead; a key is destroyed when no message to it can be on its way any
 * more. The key of last resort is used only when none of the others is current. */
#ifndef SEALPOST_CERTS_KEY_PLAN_H
#define SEALPOST_CERTS_KEY_PLAN_H

#include "common/limits.h"
#include "proto/dsse.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEY_PLAN_DAY_MS ((uint64_t)86400000)
#define KEY_PLAN_USE_MS (7 * KEY_PLAN_DAY_MS)
#define KEY_PLAN_AHEAD_MS (21 * KEY_PLAN_DAY_MS)
#define KEY_PLAN_KEEP_MS (LIMIT_EXPIRY_MS + KEY_PLAN_DAY_MS)

struct key_slot {
    char file[256]; /* name of the key file */
    struct key_id id;
    uint8_t public_key[32];
    uint64_t created_ms;
    uint64_t not_before_ms; /* 0: not planned yet */
    uint64_t not_after_ms;
    bool last_resort;
};

/* Gives times to the slots that have none, the oldest key first, after those that are planned;
 * renews the last resort; sorts by start. */
void key_plan_times(struct key_slot *slots, size_t n, uint64_t now_ms);
/* How many more keys it takes to be published far enough ahead. */
size_t key_plan_missing(const struct key_slot *slots, size_t n, uint64_t now_ms);
/* May its file be destroyed? */
bool key_plan_is_old(const struct key_slot *slot, uint64_t now_ms);

#endif
