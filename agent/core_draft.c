#include "agent/core_internal.h"
#include "proto/pb.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where a stream to one agency stands, with what this step has added. */
struct stream {
    char agency[LIMIT_AGENCY];
    Sp__Urgency urgency;
    struct stream_position at;
    bool moved;
};

/* One draft on its way to an envelope. */
struct work {
    const struct agent_draft *draft;
    struct seal_recipient *recipients;
    struct sealed *sealed;
    struct buf envelope;
};

struct sealing {
    struct step *step;
    struct wrap_pool *pool;
    struct stream *streams;
    size_t n_streams;
    size_t cap_streams;
    struct work works[LIMIT_BATCH];
    size_t n_works;
};

static void result(struct step *s, const struct agent_draft *d, enum err code, const char *rule)
{
    struct agent_send *send = act_send(s, AGENT_LOCAL_RESULT, "");

    send->number = d->token;
    send->code = code;
    send->id = d->id;
    snprintf(send->rule, sizeof send->rule, "%s", rule);
}

#define STREAM_KEY (LIMIT_AGENCY + 2)

static struct span stream_key(const char *agency, Sp__Urgency urgency, uint8_t out[STREAM_KEY])
{
    size_t len = strlen(agency);

    memcpy(out, agency, len + 1);
    out[len + 1] = (uint8_t)urgency;
    return span_of(out, len + 2);
}

/* The stream's present place. A place that is not known any more must not be guessed: ERR_CORRUPT.
 */
static enum err stream_of(struct sealing *g, const char *agency, Sp__Urgency urgency,
                          struct stream **ret)
{
    uint8_t key[STREAM_KEY];
    struct span value;
    struct stream *st;
    enum err e;

    for (size_t i = 0; i < g->n_streams; i++) {
        if (g->streams[i].urgency == urgency && strcmp(g->streams[i].agency, agency) == 0) {
            *ret = &g->streams[i];
            return ERR_OK;
        }
    }
    if (g->n_streams == g->cap_streams) {
        size_t cap = g->cap_streams == 0 ? 16 : 2 * g->cap_streams;
        struct stream *grown = realloc(g->streams, cap * sizeof *grown);

        if (grown == NULL)
            return ERR_NO_MEMORY;
        g->streams = grown;
        g->cap_streams = cap;
    }
    st = &g->streams[g->n_streams];
    memset(st, 0, sizeof *st);
    memcpy(st->agency, agency, strlen(agency) + 1);
    st->urgency = urgency;
    e = view_get(g->step->view, AGENT_STREAM, stream_key(agency, urgency, key), &value);
    if (e == ERR_OK)
        e = stream_decode(value, &st->at);
    if (e != ERR_OK && e != ERR_NOT_FOUND)
        return e;
    g->n_streams++;
    *ret = st;
    return ERR_OK;
}

/* The same id was used before: an equal draft is fine and has its answer, another is a replay. */
static bool known_before(struct sealing *g, const struct agent_draft *d)
{
    struct step *s = g->step;
    struct mail m;
    enum mail_box box;
    uint64_t number;
    enum err e = act_find_mail(s, &d->id, s->core->options.agency, &box, &number, &m);

    if (e == ERR_OK) {
        bool equal = digest_equal(&m.content_digest, &d->content_digest);

        mail_fini(&m);
        result(s, d, equal ? ERR_OK : ERR_REPLAY,
               equal ? "" : "this id was used before with another draft");
        return true;
    }
    if (e == ERR_CORRUPT) {
        act_damaged(s, e);
        result(s, d, e, "the record of this id is damaged");
        return true;
    }
    if (e != ERR_NOT_FOUND) {
        act_fail(s, e);
        return true;
    }
    for (size_t i = 0; i < g->n_works; i++) {
        bool equal;

        if (!uuid_equal(&g->works[i].draft->id, &d->id))
            continue;
        /* They are committed together, or neither is. */
        equal = digest_equal(&g->works[i].draft->content_digest, &d->content_digest);
        result(s, d, equal ? ERR_OK : ERR_REPLAY,
               equal ? "" : "this id is being sent with another draft");
        return true;
    }
    return false;
}

/* Everything that can be wrong with a draft, before anything of it takes effect. */
static enum err check(struct sealing *g, struct work *w, char rule[POLICY_RULE])
{
    const struct agent_draft *d = w->draft;
    struct step *s = g->step;
    struct policy_request request = {.sender = s->core->options.agency,
                                     .handling = d->handling,
                                     .n_handling = d->n_handling,
                                     .level = d->level};
    uint64_t now = s->event->now_ms;
    uint64_t created = uuid_time_ms(&d->id);
    enum err e = trust_fresh(s->event->trust, now);

    if (e == ERR_OK && (created > now + LIMIT_SKEW_MS || created + LIMIT_SKEW_MS < now)) {
        snprintf(rule, POLICY_RULE, "the id is not of the present time");
        e = ERR_CLOCK;
    }
    if (e == ERR_OK && d->expires_ms <= now)
        e = ERR_EXPIRED;
    if (e == ERR_OK && !s->event->room)
        e = ERR_DISK_FULL;
    for (size_t i = 0; e == ERR_OK && i < d->n_to; i++) {
        struct trust_encryption key;
        const char *hops[LIMIT_HOPS];
        size_t n;

        e = policy_admits(s->directory, &request, d->to[i], rule);
        if (e == ERR_OK)
            e = policy_path(s->directory, &request, d->to[i], hops, LIMIT_HOPS, &n, rule);
        if (e == ERR_OK)
            e = trust_encryption_key(s->event->trust, d->to[i], ENVELOPE_SUITE_1, s->event->now_ms,
                                     &key);
        if (e != ERR_OK) {
            if (rule[0] == '\0')
                snprintf(rule, POLICY_RULE, "recipient %s", d->to[i]);
            return e;
        }
        w->recipients[i].agency = d->to[i];
        w->recipients[i].key_id = key.key_id;
        memcpy(w->recipients[i].public_key, key.public_key, sizeof key.public_key);
    }
    return e;
}

/* Gives the draft its places in the streams and seals it. */
static enum err seal_one(struct sealing *g, struct work *w)
{
    const struct agent_draft *d = w->draft;
    struct agent_core *c = g->step->core;
    struct seal_input in = {
        .header = {.suite = ENVELOPE_SUITE_1,
                   .id = d->id,
                   .created_ms = uuid_time_ms(&d->id),
                   .expires_ms = d->expires_ms,
                   .sender = c->options.agency,
                   .agent = c->options.agent,
                   .key_id = c->options.sign_id,
                   .handling = d->handling,
                   .n_handling = d->n_handling,
                   .level = d->level,
                   .urgency = d->urgency,
                   .directory_version = g->step->directory->version},
        .recipients = w->recipients,
        .n_recipients = d->n_to,
        .parts = d->parts,
        .n_parts = d->n_parts,
        .file_key = d->file_key,
    };
    struct stream *st;
    enum err e;

    memcpy(in.header.epoch, c->options.epoch, sizeof in.header.epoch);
    for (size_t i = 0; i < d->n_to; i++) {
        e = stream_of(g, d->to[i], d->urgency, &st);
        if (e != ERR_OK)
            return e;
        /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): without streams none was counted */
        w->recipients[i].seq = st->at.seq + 1;
        w->recipients[i].prev_hash = st->at.digest;
    }
    e = seal(g->pool, &in, &w->sealed);
    for (size_t i = 0; e == ERR_OK && i < d->n_to; i++) {
        e = stream_of(g, d->to[i], d->urgency, &st);
        if (e != ERR_OK)
            return e; /* not possible: they were found above */
        st->moved = true;
        st->at.seq++;
        st->at.digest = *sealed_digest(w->sealed);
    }
    return e;
}

static void take(struct sealing *g, const struct agent_draft *d)
{
    struct work *w = &g->works[g->n_works];
    char rule[POLICY_RULE] = "";
    enum err e = ERR_OK;

    if (known_before(g, d))
        return;
    memset(w, 0, sizeof *w);
    w->draft = d;
    buf_init(&w->envelope, LIMIT_ENVELOPE);
    w->recipients = calloc(d->n_to > 0 ? d->n_to : 1, sizeof *w->recipients);
    if (w->recipients == NULL)
        act_fail(g->step, ERR_NO_MEMORY);
    else
        e = check(g, w, rule);
    if (g->step->core->err == ERR_OK && e == ERR_OK)
        e = seal_one(g, w);
    if (g->step->core->err == ERR_OK && e == ERR_OK) {
        g->n_works++;
        return;
    }
    if (e == ERR_CORRUPT) {
        act_damaged(g->step, e);
        result(g->step, d, e, "the stream to a recipient is damaged");
    } else if (e != ERR_OK && err_class(e) == ERR_CLASS_LOCAL)
        act_fail(g->step, e);
    else if (e != ERR_OK)
        result(g->step, d, e, rule);
    free(w->recipients);
}

static enum err sign_all(struct sealing *g)
{
    struct sealed *sealed[LIMIT_BATCH];
    struct buf *outs[LIMIT_BATCH];

    if (g->n_works == 0)
        return ERR_OK;
    for (size_t i = 0; i < g->n_works; i++) {
        sealed[i] = g->works[i].sealed;
        outs[i] = &g->works[i].envelope;
    }
    return seal_sign(sealed, g->n_works, g->step->core->options.sign, outs);
}

static enum err fill_mail(struct step *s, const struct work *w, struct mail *m)
{
    const struct agent_draft *d = w->draft;
    enum err e = mail_init(m, d->n_to);

    if (e != ERR_OK)
        return e;
    m->box = MAIL_OUT;
    m->id = d->id;
    m->digest = *sealed_digest(w->sealed);
    snprintf(m->sender, sizeof m->sender, "%s", s->core->options.agency);
    m->created_ms = uuid_time_ms(&d->id);
    m->expires_ms = d->expires_ms;
    m->at_ms = s->event->now_ms;
    m->directory_version = s->directory->version;
    m->level = (uint8_t)d->level;
    m->urgency = (uint8_t)d->urgency;
    m->n_handling = (uint8_t)d->n_handling;
    for (size_t i = 0; i < d->n_handling; i++)
        snprintf(m->handling[i], sizeof m->handling[i], "%s", d->handling[i]);
    m->content_digest = d->content_digest;
    snprintf(m->officer, sizeof m->officer, "%s", d->officer);
    for (size_t i = 0; i < d->n_to; i++) {
        snprintf(m->recipients[i].agency, sizeof m->recipients[i].agency, "%s", d->to[i]);
        m->recipients[i].state = STATE_QUEUED;
        m->recipients[i].at_ms = s->event->now_ms;
    }
    return ERR_OK;
}

/* Outbox record with the exact bytes, leaf, and a place in the line to the home broker. */
static void commit_one(struct step *s, const struct work *w)
{
    const Sp__AgencyEntry *self = trust_agency(s->event->trust, s->core->options.agency);
    const struct agent_draft *d = w->draft;
    uint64_t number = s->core->next_mail++;
    Sp__Transfer transfer = SP__TRANSFER__INIT;
    struct leaf_room room;
    struct entry *entry;
    struct hop *home;
    struct mail m;
    Sp__Leaf leaf;
    enum err e = fill_mail(s, w, &m);

    if (e != ERR_OK) {
        act_fail(s, e);
        return;
    }
    mail_leaf(&m, SP__AUDIT_EVENT__AUDIT_EVENT_SUBMITTED, ALL_RECIPIENTS, &leaf, &room);
    leaf.officer = pb_string(d->officer);
    m.leaf = act_leaf(s, &leaf);
    transfer.envelope = pb_bytes(buf_span(&w->envelope));
    transfer.parts = (Sp__InlinePart **)(uintptr_t)d->inline_parts;
    transfer.n_parts = d->n_inline_parts;
    act_save_new(s, number, &m, d->sealed_key, &transfer, d->summary, d->parts, d->n_parts);
    /* policy_path held, so that the directory lists us with a home. */
    home = queue_hop(s->core->outgoing, self->homes[0]);
    e = home == NULL ? ERR_NO_MEMORY
                     : queue_add(s->core->outgoing, home, number, m.expires_ms,
                                 d->urgency != SP__URGENCY__URGENCY_NORMAL, false, &entry);
    act_fail(s, e);
    act_save_pending(s, number, self->homes[0], false);
    result(s, d, ERR_OK, "");
    s->core->sends[s->core->n_sends - 1].is_new = true;
    act_changed(s, MAIL_OUT, number, true);
    mail_fini(&m);
}

static void save_streams(struct sealing *g)
{
    struct agent_core *c = g->step->core;

    for (size_t i = 0; i < g->n_streams; i++) {
        uint8_t key[STREAM_KEY];

        if (!g->streams[i].moved)
            continue; /* looked up for a draft that was refused then */
        buf_reset(&c->scratch);
        stream_encode(&g->streams[i].at, &c->scratch);
        batch_put(c->batch, AGENT_STREAM,
                  stream_key(g->streams[i].agency, g->streams[i].urgency, key),
                  buf_span(&c->scratch));
    }
}

void act_drafts(struct step *s)
{
    struct sealing *g = calloc(1, sizeof *g);
    enum err e = ERR_NO_MEMORY;

    if (g != NULL) {
        g->step = s;
        e = wrap_pool_new(s->core->options.env, &g->pool);
    }
    for (size_t i = 0; e == ERR_OK && s->core->err == ERR_OK && i < s->event->drafts.count; i++)
        take(g, &s->event->drafts.items[i]);
    if (e == ERR_OK && s->core->err == ERR_OK)
        e = sign_all(g);
    for (size_t i = 0; e == ERR_OK && s->core->err == ERR_OK && i < g->n_works; i++)
        commit_one(s, &g->works[i]);
    if (e == ERR_OK && s->core->err == ERR_OK)
        save_streams(g);
    act_fail(s, e);
    if (g == NULL)
        return;
    for (size_t i = 0; i < g->n_works; i++) {
        sealed_free(g->works[i].sealed);
        buf_fini(&g->works[i].envelope);
        free(g->works[i].recipients);
    }
    wrap_pool_free(g->pool);
    free(g->streams);
    free(g);
}
