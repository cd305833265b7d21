#include "broker/core_internal.h"
#include "common/record.h"
#include "common/store.h"
#include "proto/pb.h"

#include <string.h>

#define FORGET_AT_ONCE 64
#define FORGET_EVERY_MS 60000
#define DAY_MS ((uint64_t)86400000)

static struct span number_key(uint64_t number, uint8_t out[8])
{
    store_key_u64(number, out);
    return span_of(out, 8);
}

enum err step_load_exchange(struct step *s, uint64_t number, struct exchange *ret)
{
    uint8_t key[8];
    struct span value;
    enum err e = view_get(s->view, BROKER_EXCHANGE, number_key(number, key), &value);

    return e == ERR_OK ? exchange_decode(value, ret) : e;
}

void step_save_exchange(struct step *s, uint64_t number, const struct exchange *x)
{
    uint8_t key[8];

    buf_reset(&s->core->scratch);
    exchange_encode(x, &s->core->scratch);
    batch_put(s->core->batch, BROKER_EXCHANGE, number_key(number, key),
              buf_span(&s->core->scratch));
}

enum err step_load_dedup(struct step *s, const struct uuid *id, const char *sender,
                         struct dedup *ret)
{
    uint8_t key[DEDUP_KEY];
    struct span value;
    enum err e;

    dedup_key(id, sender, key);
    e = view_get(s->view, BROKER_DEDUP, span_of(key, sizeof key), &value);
    return e == ERR_OK ? dedup_decode(value, ret) : e;
}

void step_save_dedup(struct step *s, const struct uuid *id, const char *sender,
                     const struct dedup *d)
{
    uint8_t key[DEDUP_KEY];

    dedup_key(id, sender, key);
    buf_reset(&s->core->scratch);
    dedup_encode(d, &s->core->scratch);
    batch_put(s->core->batch, BROKER_DEDUP, span_of(key, sizeof key), buf_span(&s->core->scratch));
}

enum err step_find_exchange(struct step *s, struct span id, const char *sender, uint64_t *number,
                            struct exchange *ret)
{
    struct uuid uuid;
    struct dedup d;
    enum err e = uuid_from_bytes(id, &uuid);

    if (e == ERR_OK)
        e = step_load_dedup(s, &uuid, sender, &d);
    if (e == ERR_OK && d.code != ERR_OK)
        e = ERR_NOT_FOUND;
    if (e == ERR_OK)
        e = step_load_exchange(s, d.number, ret);
    if (e == ERR_OK)
        *number = d.number;
    return e;
}

void exchange_leaf(const struct exchange *x, Sp__AuditEvent event, Sp__Leaf *leaf,
                   struct leaf_room *room)
{
    *leaf = (Sp__Leaf)SP__LEAF__INIT;
    leaf->event = event;
    leaf->id = pb_bytes(uuid_bytes(&x->id));
    leaf->envelope = pb_bytes(digest_span(&x->digest));
    leaf->sender = pb_string(x->sender);
    leaf->level = (Sp__Level)x->level;
    leaf->urgency = (Sp__Urgency)x->urgency;
    leaf->created_ms = x->created_ms;
    leaf->expires_ms = x->expires_ms;
    leaf->directory_version = x->directory_version;
    leaf->hop = x->hop;
    for (size_t i = 0; i < x->n_handling; i++)
        room->codes[i] = pb_string(x->handling[i]);
    leaf->handling = room->codes;
    leaf->n_handling = x->n_handling;
    leaf->recipients = room->recipients;
    leaf->n_recipients = 0;
}

bool exchange_is_open(const struct exchange *x)
{
    for (size_t i = 0; i < x->n_recipients; i++) {
        if (x->recipients[i].state == EXCHANGE_QUEUED)
            return true;
    }
    return false;
}

static bool exchange_has_ended(const struct exchange *x)
{
    for (size_t i = 0; i < x->n_recipients; i++) {
        if (x->recipients[i].state <= EXCHANGE_RELAYED)
            return false;
    }
    return true;
}

void step_close_exchange(struct step *s, uint64_t number, const struct exchange *x)
{
    uint64_t due = s->event->now_ms + s->core->options.keep_ms;
    uint8_t key[16];

    /* Receipts for what was relayed may come until well after the expiry. */
    if (!exchange_has_ended(x) && x->expires_ms + 2 * DAY_MS > due)
        due = x->expires_ms + 2 * DAY_MS;
    store_key_u64(due, key);
    store_key_u64(number, key + 8);
    batch_put(s->core->batch, BROKER_DONE, span_of(key, sizeof key), span_of(NULL, 0));
    batch_delete(s->core->batch, BROKER_OPEN, span_of(key + 8, 8));
}

/* Changes the references of one part; unlinks it after the commit when none is left. */
static void hold_part(struct step *s, const struct digest *sha256, uint64_t len, bool hold)
{
    struct span key = digest_span(sha256);
    struct span value;
    uint64_t references = 0;
    uint8_t record[16];
    enum err e = view_get(s->view, BROKER_PART, key, &value);

    if (e == ERR_OK && value.len == sizeof record) {
        struct rd r = rd_of(value);

        (void)rd_u64be(&r);
        references = rd_u64be(&r);
    } else if (e != ERR_NOT_FOUND) {
        step_fail(s, e == ERR_OK ? ERR_CORRUPT : e);
        return;
    }
    references = hold ? references + 1 : references > 0 ? references - 1 : 0;
    if (references == 0) {
        batch_delete(s->core->batch, BROKER_PART, key);
        step_send(s, BROKER_DROP_PART, "")->digest = *sha256;
        return;
    }
    store_key_u64(len, record);
    store_key_u64(references, record + 8);
    batch_put(s->core->batch, BROKER_PART, key, span_of(record, sizeof record));
}

/* Parts that travel beside their envelope lie in the spool record. */
static bool is_file(const Sp__Transfer *t, size_t index)
{
    for (size_t i = 0; i < t->n_parts; i++) {
        if (t->parts[i]->index == index)
            return false;
    }
    return true;
}

static bool named_before(const struct envelope *e, size_t index)
{
    for (size_t i = 0; i < index; i++) {
        if (digest_equal(&envelope_part(e, i)->sha256, &envelope_part(e, index)->sha256))
            return true;
    }
    return false;
}

static void hold_parts(struct step *s, const struct envelope *e, const Sp__Transfer *t, bool hold)
{
    for (size_t i = 0; i < envelope_part_count(e); i++) {
        const struct envelope_part *p = envelope_part(e, i);

        if (is_file(t, i) && !named_before(e, i))
            hold_part(s, &p->sha256, p->ct_len, hold);
    }
}

void step_hold_parts(struct step *s, const struct envelope *e)
{
    hold_parts(s, e, s->event->transfer.wire, true);
}

static void release_parts(struct step *s, uint64_t number, struct span spool)
{
    struct envelope *e = NULL;
    struct pb *pb;
    enum err err = pb_decode(&sp__transfer__descriptor, spool, LIMIT_FRAME, &pb);

    if (err == ERR_OK) {
        const Sp__Transfer *t = pb_view(pb);

        err = envelope_decode(pb_span(t->envelope), &e);
        if (err == ERR_OK)
            hold_parts(s, e, t, false);
        envelope_free(e);
        pb_free(pb);
    }
    if (err != ERR_OK)
        core_quarantine(s->core, BROKER_SPOOL, number);
}

static void forget_exchange(struct step *s, struct span done_key)
{
    struct span number = span_of(done_key.data + 8, 8);
    struct rd r = rd_of(number);
    struct span spool;

    if (view_get(s->view, BROKER_SPOOL, number, &spool) == ERR_OK)
        release_parts(s, rd_u64be(&r), spool);
    batch_delete(s->core->batch, BROKER_SPOOL, number);
    batch_delete(s->core->batch, BROKER_EXCHANGE, number);
    batch_delete(s->core->batch, BROKER_DONE, done_key);
}

static void forget_done(struct step *s)
{
    uint64_t now = s->event->now_ms;
    uint8_t from[16] = {0};
    struct span key;
    struct span value;

    s->core->next_due_ms = now + FORGET_EVERY_MS;
    for (int i = 0; i < FORGET_AT_ONCE; i++) {
        struct rd r;

        if (view_seek(s->view, BROKER_DONE, span_of(from, sizeof from), &key, &value) != ERR_OK ||
            key.len != sizeof from)
            return;
        r = rd_of(key);
        if (rd_u64be(&r) > now)
            return;
        memcpy(from, key.data, sizeof from);
        forget_exchange(s, span_of(from, sizeof from));
        if (!record_key_after(from, sizeof from))
            return;
    }
    s->core->next_due_ms = now; /* more is due */
}

/* Rows are needed as long as their envelope could be accepted: ids carry their time. */
static void prune_dedup(struct step *s)
{
    uint64_t now = s->event->now_ms;
    uint8_t from[DEDUP_KEY] = {0};
    struct span key;
    struct span value;
    struct uuid id;

    s->core->next_prune_ms = now + FORGET_EVERY_MS;
    for (int i = 0; i < FORGET_AT_ONCE; i++) {
        if (view_seek(s->view, BROKER_DEDUP, span_of(from, sizeof from), &key, &value) != ERR_OK ||
            key.len != sizeof from)
            return;
        memcpy(id.b, key.data, sizeof id.b);
        if (uuid_time_ms(&id) + LIMIT_EXPIRY_MS + 3 * DAY_MS > now)
            return;
        memcpy(from, key.data, sizeof from);
        batch_delete(s->core->batch, BROKER_DEDUP, span_of(from, sizeof from));
        if (!record_key_after(from, sizeof from))
            return;
    }
    s->core->next_prune_ms = now;
}

void step_forget(struct step *s)
{
    if (s->event->now_ms >= s->core->next_due_ms)
        forget_done(s);
    if (s->event->now_ms >= s->core->next_prune_ms)
        prune_dedup(s);
}

enum err core_enqueue(struct broker_core *c, uint64_t number, const struct exchange *x)
{
    for (size_t i = 0; i < x->n_recipients; i++) {
        const struct exchange_recipient *p = &x->recipients[i];
        struct hop *h;
        struct entry *e;
        bool before = false;
        enum err err;

        for (size_t j = 0; j < i; j++)
            before |= x->recipients[j].state == EXCHANGE_QUEUED &&
                      strcmp(x->recipients[j].next, p->next) == 0;
        if (p->state != EXCHANGE_QUEUED || before)
            continue;
        h = queue_hop(c->exchanges, p->next);
        if (h == NULL)
            return ERR_NO_MEMORY;
        err = queue_add(c->exchanges, h, number, x->expires_ms,
                        x->urgency != SP__URGENCY__URGENCY_NORMAL, p->offered, &e);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

static enum err rebuild_exchanges(struct broker_core *c, const struct view *view)
{
    uint8_t from[8] = {0};
    uint8_t number_bytes[8];
    struct span key;
    struct span value;
    enum err e;

    while ((e = view_seek(view, BROKER_OPEN, span_of(from, sizeof from), &key, &value)) !=
           ERR_NOT_FOUND) {
        struct exchange x;
        struct rd r;
        uint64_t number;

        if (e != ERR_OK && e != ERR_CORRUPT)
            return e;
        r = rd_of(key);
        number = rd_u64be(&r);
        store_key_u64(number, number_bytes);
        e = view_get(view, BROKER_EXCHANGE, span_of(number_bytes, 8), &value);
        if (e == ERR_OK)
            e = exchange_decode(value, &x);
        if (e == ERR_OK) {
            e = core_enqueue(c, number, &x);
            exchange_fini(&x);
            if (e != ERR_OK)
                return e;
        } else {
            core_quarantine(c, BROKER_EXCHANGE, number);
        }
        memcpy(from, number_bytes, sizeof from);
        if (!record_key_after(from, sizeof from))
            break;
    }
    return ERR_OK;
}

static enum err rebuild_controls(struct broker_core *c, const struct view *view)
{
    uint8_t from[8] = {0};
    struct span key;
    struct span value;
    enum err e;

    while ((e = view_seek(view, BROKER_CONTROL, span_of(from, sizeof from), &key, &value)) !=
           ERR_NOT_FOUND) {
        struct control control;
        struct entry *entry;
        struct hop *h;
        struct rd r;
        uint64_t number;

        if (e != ERR_OK && e != ERR_CORRUPT)
            return e;
        r = rd_of(key);
        number = rd_u64be(&r);
        if (e == ERR_OK && control_decode(value, &control) == ERR_OK) {
            h = queue_hop(c->controls, control.peer);
            if (h == NULL)
                return ERR_NO_MEMORY;
            e = queue_add(c->controls, h, number, UINT64_MAX, false, false, &entry);
            if (e != ERR_OK)
                return e;
        } else {
            core_quarantine(c, BROKER_CONTROL, number);
        }
        store_key_u64(number, from);
        if (!record_key_after(from, sizeof from))
            break;
    }
    return ERR_OK;
}

/* The number after the last one in `table` and the meta counter `name`: numbers are never used
 * again, also when the last records were deleted. */
static enum err next_number(const struct view *view, const char *name, uint64_t *ret)
{
    struct span value;
    enum err e = view_get(view, BROKER_META, span_str(name), &value);
    struct rd r;

    if (e == ERR_NOT_FOUND)
        return ERR_OK;
    if (e != ERR_OK)
        return e;
    r = rd_of(value);
    *ret = rd_u64be(&r);
    return rd_end(&r) == ERR_OK ? ERR_OK : ERR_CORRUPT;
}

enum err core_rebuild(struct broker_core *c, const struct view *view, uint64_t now_ms)
{
    enum err e = next_number(view, BROKER_META_EXCHANGE, &c->next_number);

    (void)now_ms;
    if (e == ERR_OK)
        e = next_number(view, BROKER_META_CONTROL, &c->next_control);
    if (e == ERR_OK)
        e = rebuild_exchanges(c, view);
    if (e == ERR_OK)
        e = rebuild_controls(c, view);
    return e;
}
