#include "agent/core_internal.h"
#include "common/record.h"
#include "common/store.h"
#include "proto/pb.h"

#include <string.h>

enum err act_load_mail(struct step *s, enum mail_box box, uint64_t number, struct mail *ret)
{
    uint8_t key[MAIL_KEY];
    struct span value;
    enum err e;

    mail_key(box, number, key);
    e = view_get(s->view, AGENT_STATE, span_of(key, sizeof key), &value);
    return e == ERR_OK ? mail_decode(value, ret) : e;
}

void act_save_mail(struct step *s, uint64_t number, const struct mail *m)
{
    uint8_t key[MAIL_KEY];

    mail_key(m->box, number, key);
    buf_reset(&s->core->scratch);
    mail_encode(m, &s->core->scratch);
    if (s->core->scratch.err != ERR_OK)
        act_fail(s, s->core->scratch.err);
    batch_put(s->core->batch, AGENT_STATE, span_of(key, sizeof key), buf_span(&s->core->scratch));
}

enum err act_find_mail(struct step *s, const struct uuid *id, const char *sender,
                       enum mail_box *box, uint64_t *number, struct mail *ret)
{
    uint8_t key[MAIL_ID_KEY];
    struct span value;
    enum mail_box b;
    uint64_t n;
    enum err e;

    mail_id_key(id, sender, key);
    e = view_get(s->view, AGENT_ID, span_of(key, sizeof key), &value);
    if (e == ERR_OK)
        e = mail_ref_decode(value, &b, &n);
    if (e == ERR_OK)
        e = act_load_mail(s, b, n, ret);
    if (e == ERR_OK) {
        *box = b;
        *number = n;
    }
    return e;
}

static void save_parts(struct step *s, const Sp__Transfer *transfer,
                       const struct envelope_part *parts, size_t n_parts)
{
    for (size_t i = 0; i < n_parts; i++) {
        bool beside = false;
        uint8_t len[8];

        for (size_t j = 0; j < transfer->n_parts; j++)
            beside |= transfer->parts[j]->index == i;
        if (beside)
            continue;
        store_key_u64(parts[i].ct_len, len);
        batch_put(s->core->batch, AGENT_PART, digest_span(&parts[i].sha256),
                  span_of(len, sizeof len));
    }
}

void act_save_new(struct step *s, uint64_t number, const struct mail *m, struct span sealed_key,
                  const Sp__Transfer *transfer, struct span summary,
                  const struct envelope_part *parts, size_t n_parts)
{
    struct agent_core *c = s->core;
    uint8_t key[MAIL_KEY];
    uint8_t id_key[MAIL_ID_KEY];
    uint8_t next[8];

    mail_key(m->box, number, key);
    mail_id_key(&m->id, m->sender, id_key);
    buf_reset(&c->scratch);
    buf_reset(&c->scratch_more);
    pb_encode(transfer, &c->scratch_more);
    mail_bulk_encode(sealed_key, buf_span(&c->scratch_more), &c->scratch);
    if (c->scratch_more.err != ERR_OK)
        act_fail(s, c->scratch_more.err);
    if (c->scratch.err != ERR_OK)
        act_fail(s, c->scratch.err);
    batch_put(c->batch, AGENT_MAIL, span_of(key, sizeof key), buf_span(&c->scratch));
    batch_put(c->batch, AGENT_SUMMARY, span_of(key, sizeof key), summary);
    batch_put(c->batch, AGENT_ID, span_of(id_key, sizeof id_key), span_of(key, sizeof key));
    store_key_u64(c->next_mail, next);
    batch_put(c->batch, AGENT_META, span_str(AGENT_META_MAIL), span_of(next, sizeof next));
    save_parts(s, transfer, parts, n_parts);
    act_save_mail(s, number, m);
}

void act_save_pending(struct step *s, uint64_t number, const char *home, bool offered)
{
    uint8_t key[8];

    store_key_u64(number, key);
    buf_reset(&s->core->scratch);
    buf_put_u8(&s->core->scratch, offered);
    record_put_text(&s->core->scratch, home);
    batch_put(s->core->batch, AGENT_PENDING, span_of(key, sizeof key), buf_span(&s->core->scratch));
}

void act_drop_pending(struct step *s, uint64_t number)
{
    uint8_t key[8];

    store_key_u64(number, key);
    batch_delete(s->core->batch, AGENT_PENDING, span_of(key, sizeof key));
}

void mail_leaf(const struct mail *m, Sp__AuditEvent event, size_t only, Sp__Leaf *leaf,
               struct leaf_room *room)
{
    *leaf = (Sp__Leaf)SP__LEAF__INIT;
    leaf->event = event;
    leaf->id = pb_bytes(uuid_bytes(&m->id));
    leaf->envelope = pb_bytes(digest_span(&m->digest));
    leaf->sender = pb_string(m->sender);
    leaf->level = (Sp__Level)m->level;
    leaf->urgency = (Sp__Urgency)m->urgency;
    leaf->created_ms = m->created_ms;
    leaf->expires_ms = m->expires_ms;
    leaf->directory_version = m->directory_version;
    for (size_t i = 0; i < m->n_handling; i++)
        room->codes[i] = pb_string(m->handling[i]);
    leaf->handling = room->codes;
    leaf->n_handling = m->n_handling;
    leaf->recipients = room->recipients;
    for (size_t i = 0; i < m->n_recipients; i++) {
        if (only == ALL_RECIPIENTS || only == i)
            room->recipients[leaf->n_recipients++] = pb_string(m->recipients[i].agency);
    }
}

static enum err rebuild_pending(struct agent_core *c, const struct view *view, uint64_t number,
                                struct span value)
{
    struct rd r = rd_of(value);
    bool offered = rd_u8(&r) == 1;
    char home[LIMIT_PEER];
    uint8_t key[MAIL_KEY];
    struct entry *entry;
    struct hop *h;
    struct mail m;
    enum err e;

    record_get_text(&r, home, sizeof home);
    e = record_end(&r);
    mail_key(MAIL_OUT, number, key);
    if (e == ERR_OK)
        e = view_get(view, AGENT_STATE, span_of(key, sizeof key), &value);
    if (e == ERR_OK)
        e = mail_decode(value, &m);
    if (e != ERR_OK) {
        c->quarantined++;
        return ERR_OK;
    }
    h = queue_hop(c->outgoing, home);
    e = h == NULL ? ERR_NO_MEMORY
                  : queue_add(c->outgoing, h, number, m.expires_ms,
                              m.urgency != SP__URGENCY__URGENCY_NORMAL, offered, &entry);
    mail_fini(&m);
    return e;
}

static enum err rebuild_control(struct agent_core *c, const struct view *view, uint64_t number,
                                struct span value)
{
    struct mail_control control;
    struct entry *entry;
    struct hop *h;

    (void)view;
    if (mail_control_decode(value, &control) != ERR_OK) {
        c->quarantined++;
        return ERR_OK;
    }
    h = queue_hop(c->controls, control.peer);
    return h == NULL ? ERR_NO_MEMORY
                     : queue_add(c->controls, h, number, UINT64_MAX, false, true, &entry);
}

/* Walks a table whose keys are numbers. */
static enum err each_number(struct agent_core *c, const struct view *view, unsigned table,
                            enum err (*visit)(struct agent_core *c, const struct view *view,
                                              uint64_t number, struct span value))
{
    uint8_t from[8] = {0};
    struct span key;
    struct span value;
    enum err e;

    while ((e = view_seek(view, table, span_of(from, sizeof from), &key, &value)) !=
           ERR_NOT_FOUND) {
        uint64_t number;

        if (e != ERR_OK && e != ERR_CORRUPT)
            return e;
        if (store_key_to_u64(key, &number) != ERR_OK)
            return ERR_CORRUPT;
        if (e == ERR_CORRUPT)
            c->quarantined++;
        else if ((e = visit(c, view, number, value)) != ERR_OK)
            return e;
        store_key_u64(number, from);
        if (!record_key_after(from, sizeof from))
            break;
    }
    return ERR_OK;
}

static enum err next_number(const struct view *view, const char *name, uint64_t *ret)
{
    struct span value;
    enum err e = view_get(view, AGENT_META, span_str(name), &value);

    if (e == ERR_NOT_FOUND)
        return ERR_OK;
    return e == ERR_OK ? store_key_to_u64(value, ret) : e;
}

enum err agent_core_rebuild(struct agent_core *c, const struct view *view)
{
    enum err e = next_number(view, AGENT_META_MAIL, &c->next_mail);

    if (e == ERR_OK)
        e = next_number(view, AGENT_META_CONTROL, &c->next_control);
    if (e == ERR_OK)
        e = each_number(c, view, AGENT_PENDING, rebuild_pending);
    if (e == ERR_OK)
        e = each_number(c, view, AGENT_CONTROL, rebuild_control);
    return e;
}
