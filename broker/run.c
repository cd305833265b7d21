#include "broker/run.h"

#include "broker/run_internal.h"
#include "common/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One commit takes about a 64th of the store and no more than this, so that a transaction and its
 * sends stay small, and no commit goes far beyond the room that was there when it began. */
#define COMMIT_BYTES_MAX (16 * LIMIT_MIB)
#define COMMIT_BYTES_MIN (256 * LIMIT_KIB)
#define COMMIT_EVENTS 4096
#define EVENT_BYTES_MAX (2 * LIMIT_MIB)
#define REPLAY_MS 1000
#define SAVE_MS 1000
#define STATUS_MS 60000
#define SWEEP_MS ((uint64_t)86400000)
#define SWEEP_AGE_MS ((uint64_t)16 * 86400000)

static uint64_t mono(const struct run *r)
{
    return env_mono_ms(r->options.env);
}

static enum err make_core(struct run *r)
{
    return broker_core_new(&r->options.core, commit_view(r->committer),
                           audit_log_size(r->options.log), env_now_ms(r->options.env), &r->core);
}

/* The documents in the store are judged anew: what does not hold any more stays there unused. */
static enum err add_stored_documents(struct run *r)
{
    const struct view *view = commit_view(r->committer);
    uint64_t now = env_now_ms(r->options.env);
    char from[LIMIT_AGENCY + 1] = "";
    struct span key;
    struct span value;
    enum err e;

    while ((e = view_seek(view, BROKER_DOCUMENT, span_of(from, strlen(from)), &key, &value)) !=
           ERR_NOT_FOUND) {
        struct trust *next;
        bool news;

        if (e != ERR_OK && e != ERR_CORRUPT)
            return e;
        if (key.len == 0 || key.len >= LIMIT_AGENCY)
            return ERR_CORRUPT;
        if (e == ERR_OK && trust_add_documents(r->trust, value, now, &news, &next) == ERR_OK) {
            trust_free(r->trust);
            r->trust = next;
        }
        /* The next key in byte order: the same with a byte behind it. */
        memcpy(from, key.data, key.len);
        from[key.len] = '\1';
        from[key.len + 1] = '\0';
    }
    trusting_set(r->options.trusting, r->trust);
    return ERR_OK;
}

static enum err read_epoch(struct run *r)
{
    struct span value;
    enum err e =
        view_get(commit_view(r->committer), BROKER_META, span_str(BROKER_META_EPOCH), &value);

    if (e == ERR_OK && value.len != sizeof r->epoch)
        return ERR_CORRUPT;
    if (e == ERR_OK)
        memcpy(r->epoch, value.data, sizeof r->epoch);
    if (e != ERR_NOT_FOUND)
        return e;
    env_random(r->options.env, r->epoch, sizeof r->epoch);
    store_put(commit_txn(r->committer), BROKER_META, span_str(BROKER_META_EPOCH),
              span_of(r->epoch, sizeof r->epoch));
    return ERR_OK;
}

static void take_frame(void *ctx, const char *peer, struct buf *frame)
{
    struct run *r = ctx;

    shell_send(r->shell, peer, frame);
}

/* Everything that needs the store at the start, in one transaction. */
static enum err load(struct run *r)
{
    enum err why = ERR_OK;
    enum err e = commit_begin(r->committer);

    if (e != ERR_OK)
        return e;
    e = read_epoch(r);
    if (e == ERR_OK)
        e = add_stored_documents(r);
    if (e == ERR_OK)
        e = make_core(r);
    if (e != ERR_OK) {
        commit_abort(r->committer);
        return e;
    }
    return commit_end(r->committer, &why) == COMMIT_DONE ? ERR_OK : why;
}

static size_t commit_bytes(struct store *store)
{
    struct store_usage u;

    if (store_usage(store, &u) != ERR_OK || u.map_bytes / 64 < COMMIT_BYTES_MIN)
        return COMMIT_BYTES_MIN;
    return u.map_bytes / 64 < COMMIT_BYTES_MAX ? (size_t)(u.map_bytes / 64) : COMMIT_BYTES_MAX;
}

enum err run_new(const struct run_options *options, struct run **ret)
{
    struct run *r = calloc(1, sizeof *r);
    struct outbound_ops ops = {.ctx = r, .send = take_frame};
    enum err e;

    if (r == NULL)
        return ERR_NO_MEMORY;
    r->options = *options;
    r->trust = trusting_current(options->trusting);
    r->commit_bytes = commit_bytes(options->store);
    r->status_mono_ms = mono(r) + STATUS_MS;
    r->sweep_mono_ms = mono(r);
    e = committer_new(options->store, options->log, &r->committer);
    if (e == ERR_OK)
        e = outbound_new(&ops, &r->out);
    if (e == ERR_OK)
        e = parts_new(options->parts, &r->parts);
    if (e == ERR_OK)
        e = load(r);
    if (e != ERR_OK) {
        run_free(r);
        return e;
    }
    *ret = r;
    return ERR_OK;
}

void run_free(struct run *r)
{
    if (r == NULL)
        return;
    committer_free(r->committer);
    broker_core_free(r->core);
    parts_free(r->parts);
    outbound_free(r->out);
    trust_free(r->trust);
    for (size_t i = 0; i < r->n_peers; i++)
        free(r->peers[i]);
    free(r->peers);
    free(r->sends);
    free(r->orphans);
    free(r);
}

void run_bind(struct run *r, struct shell *shell, struct partflow *flow)
{
    r->shell = shell;
    r->flow = flow;
    parts_bind(r->parts, flow);
}

struct peer_note *run_peer(struct run *r, const char *name)
{
    struct peer_note **grown;
    struct peer_note *p;

    for (size_t i = 0; i < r->n_peers; i++) {
        if (strcmp(r->peers[i]->name, name) == 0)
            return r->peers[i];
    }
    grown = realloc(r->peers, (r->n_peers + 1) * sizeof *grown);
    if (grown == NULL)
        return NULL;
    r->peers = grown;
    p = calloc(1, sizeof *p);
    if (p == NULL)
        return NULL;
    snprintf(p->name, sizeof p->name, "%s", name);
    r->peers[r->n_peers++] = p;
    return p;
}

enum err run_orphan(struct run *r, const struct digest *sha256)
{
    if (r->n_orphans == r->cap_orphans) {
        size_t cap = r->cap_orphans == 0 ? 64 : 2 * r->cap_orphans;
        struct digest *grown = realloc(r->orphans, cap * sizeof *grown);

        if (grown == NULL)
            return ERR_NO_MEMORY;
        r->orphans = grown;
        r->cap_orphans = cap;
    }
    r->orphans[r->n_orphans++] = *sha256;
    return ERR_OK;
}

static enum err keep_sends(struct run *r, const struct broker_update *u)
{
    if (r->n_sends + u->n_sends > r->cap_sends) {
        size_t cap = 2 * (r->n_sends + u->n_sends);
        struct broker_send *grown = realloc(r->sends, cap * sizeof *grown);

        if (grown == NULL)
            return ERR_NO_MEMORY;
        r->sends = grown;
        r->cap_sends = cap;
    }
    if (u->n_sends > 0)
        memcpy(r->sends + r->n_sends, u->sends, u->n_sends * sizeof *r->sends);
    r->n_sends += u->n_sends;
    return ERR_OK;
}

static enum err begin(struct run *r)
{
    enum err e = commit_begin(r->committer);

    if (e != ERR_OK) {
        log_event(log_error("store-failed"), log_code(e));
        return e;
    }
    r->open = true;
    r->changed = false;
    r->bytes = 0;
    r->events = 0;
    r->room = store_room(r->options.store, 2 * r->commit_bytes + EVENT_BYTES_MAX, STORE_ORDINARY) ==
              ERR_OK;
    return ERR_OK;
}

enum err run_step(struct run *r, struct broker_event *event, size_t bytes)
{
    const struct broker_update *u;
    enum err e = ERR_OK;

    if (!r->open)
        e = begin(r);
    if (e != ERR_OK)
        return e;
    event->now_ms = env_now_ms(r->options.env);
    event->trust = r->trust;
    event->room = event->room && r->room;
    e = broker_step(r->core, commit_view(r->committer), event, &u);
    if (e == ERR_OK)
        e = keep_sends(r, u);
    if (e != ERR_OK) {
        log_event(log_error("step-failed"), log_u64("kind", event->kind), log_code(e));
        return e;
    }
    r->bytes += bytes;
    r->events++;
    if (batch_change_count(u->batch) + batch_leaf_count(u->batch) > 0) {
        r->changed = true;
        if (commit_apply(r->committer, u->batch) != ERR_OK)
            return run_finish(r); /* which says why and goes on if it can */
    }
    return r->bytes >= r->commit_bytes || r->events >= COMMIT_EVENTS ? run_finish(r) : ERR_OK;
}

/* The core has seen what did not happen: a new one is made from what did. */
static enum err recover(struct run *r, enum err why)
{
    enum err e;

    log_event(log_error("commit-failed"), log_code(why), log_u64("events", r->events));
    broker_core_free(r->core);
    r->core = NULL;
    r->replay_mono_ms = mono(r) + REPLAY_MS;
    e = commit_begin(r->committer);
    if (e == ERR_OK) {
        e = make_core(r);
        commit_abort(r->committer);
    }
    if (e == ERR_OK)
        e = run_send_retries(r, why);
    if (e != ERR_OK)
        log_event(log_error("recovery-failed"), log_code(e));
    return e;
}

static void tell_quarantined(struct run *r)
{
    struct broker_core_stats stats;

    broker_core_stats(r->core, &stats);
    if (stats.quarantined != r->quarantined && stats.quarantined > 0)
        log_event(log_error("damaged-record"),
                  log_str("table", broker_tables[stats.quarantined_table].name),
                  log_u64("number", stats.quarantined_number),
                  log_u64("damaged", stats.quarantined));
    r->quarantined = stats.quarantined;
}

enum err run_finish(struct run *r)
{
    enum commit_outcome outcome = COMMIT_DONE;
    enum err why = ERR_OK;
    enum err e;

    if (!r->open)
        return ERR_OK;
    r->open = false;
    if (r->changed)
        outcome = commit_end(r->committer, &why);
    else
        commit_abort(r->committer);
    if (outcome == COMMIT_FAILED && why == ERR_DISK_FULL) {
        e = recover(r, why);
    } else if (outcome == COMMIT_DONE) {
        tell_quarantined(r);
        e = run_send_all(r);
    } else {
        log_event(log_error(outcome == COMMIT_IN_DOUBT ? "commit-in-doubt" : "commit-failed"),
                  log_code(why));
        e = why;
    }
    r->n_sends = 0;
    r->n_orphans = 0;
    if (e == ERR_OK && r->changed)
        r->save_mono_ms = mono(r) + SAVE_MS;
    return e;
}

/* Stores the newest checkpoint when no commit has done it for a while. */
static enum err save(struct run *r)
{
    enum err why = ERR_OK;
    enum err e;

    r->save_mono_ms = 0;
    if (!audit_log_unsaved(r->options.log))
        return ERR_OK;
    e = commit_begin(r->committer);
    if (e != ERR_OK)
        return e;
    switch (commit_end(r->committer, &why)) {
    case COMMIT_DONE:
        return ERR_OK;
    case COMMIT_FAILED:
        return why == ERR_DISK_FULL ? ERR_OK : why; /* the next commit stores it */
    default:
        return why;
    }
}

enum err run_save(struct run *r)
{
    return save(r);
}

static void tell_status(struct run *r)
{
    struct broker_core_stats c;
    struct shell_stats s;
    struct store_usage u = {0};

    broker_core_stats(r->core, &c);
    shell_stats(r->shell, &s);
    if (store_usage(r->options.store, &u) != ERR_OK)
        u = (struct store_usage){0};
    log_event(log_info("status"), log_u64("queued", c.queued), log_u64("in_flight", c.in_flight),
              log_u64("controls", c.controls), log_u64("parked", parts_parked(r->parts)),
              log_u64("accepted", c.accepted), log_u64("relayed", c.relayed),
              log_u64("delivered", c.delivered), log_u64("refused", c.refused),
              log_u64("expired", c.expired), log_u64("log_size", audit_log_size(r->options.log)),
              log_u64("store_used", u.used_bytes), log_u64("connections", s.net.connections),
              log_u64("batches", s.batches), log_u64("batch_largest", s.batch_largest),
              log_u64("dropped_out", s.dropped_out));
}

struct wanted {
    struct run *run;
    struct store_txn *txn;
};

static bool part_is_named(void *ctx, const struct digest *sha256)
{
    const struct wanted *w = ctx;
    struct span value;

    /* Kept also when it cannot be asked. */
    return store_get(w->txn, BROKER_PART, digest_span(sha256), &value) != ERR_NOT_FOUND;
}

/* What a crash or a refusal left behind. */
static void sweep(struct run *r)
{
    struct wanted w = {.run = r};
    uint64_t now = env_now_ms(r->options.env);
    enum err e = store_read_begin(r->options.store, &w.txn);

    if (e == ERR_OK) {
        e = part_dir_sweep(r->options.parts, now > SWEEP_AGE_MS ? now - SWEEP_AGE_MS : 0,
                           part_is_named, &w);
        store_read_end(w.txn);
    }
    if (e != ERR_OK)
        log_event(log_warn("sweep-failed"), log_code(e));
}

static enum err tell_peers(struct run *r)
{
    enum err e = ERR_OK;

    r->replay_mono_ms = 0;
    for (size_t i = 0; e == ERR_OK && i < r->n_peers && r->replay_mono_ms == 0; i++) {
        struct broker_event event = {.kind = BROKER_PEER_UP, .peer = r->peers[i]->name};

        if (r->peers[i]->up)
            e = run_step(r, &event, 0);
    }
    return e;
}

/* What is to be done at its time. */
static enum err on_time(struct run *r)
{
    uint64_t now = mono(r);
    enum err e = ERR_OK;

    if (r->replay_mono_ms != 0 && now >= r->replay_mono_ms)
        e = tell_peers(r);
    if (e == ERR_OK && env_now_ms(r->options.env) >= broker_core_wake_at(r->core)) {
        struct broker_event event = {.kind = BROKER_TICK, .peer = ""};

        e = run_step(r, &event, 0);
    }
    if (e == ERR_OK && !r->open && r->save_mono_ms != 0 && now >= r->save_mono_ms)
        e = save(r);
    if (now >= r->status_mono_ms) {
        r->status_mono_ms = now + STATUS_MS;
        tell_status(r);
    }
    if (now >= r->sweep_mono_ms) {
        r->sweep_mono_ms = now + SWEEP_MS;
        sweep(r);
    }
    return e;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* On the clock that never goes back; the wall clock may be set, so the core is asked again each
 * minute at the latest. */
static uint64_t wake_at(const struct run *r)
{
    uint64_t now = env_now_ms(r->options.env);
    uint64_t due = broker_core_wake_at(r->core);
    uint64_t wait = due > now ? due - now : 0;
    uint64_t at = mono(r) + (wait > STATUS_MS ? STATUS_MS : wait);

    at = earlier(at, earlier(r->status_mono_ms, r->sweep_mono_ms));
    if (r->replay_mono_ms != 0)
        at = earlier(at, r->replay_mono_ms);
    if (r->save_mono_ms != 0)
        at = earlier(at, r->save_mono_ms);
    return at;
}

enum err run_jobs(void *ctx, struct shell_job *jobs, size_t count, uint64_t *wake_at_ms)
{
    struct run *r = ctx;
    enum err e = ERR_OK;

    for (size_t i = 0; i < count; i++) {
        struct shell_job *j = &jobs[i];

        if (e != ERR_OK) {
            job_free(j->job);
            continue;
        }
        switch (j->kind) {
        case SHELL_PREPARED:
        case SHELL_POSTED:
            e = run_job(r, j->peer, j->job);
            break;
        case SHELL_PEER_UP:
            e = run_peer_up(r, j->peer);
            break;
        case SHELL_PEER_DOWN:
            e = run_peer_down(r, j->peer);
            break;
        case SHELL_REFUSED:
            e = run_garbage(r, j->peer, ERR_NOT_ALLOWED, j->count);
            break;
        }
    }
    if (e == ERR_OK)
        e = run_parcels(r);
    if (e == ERR_OK)
        e = on_time(r);
    if (e == ERR_OK)
        e = run_finish(r);
    if (e == ERR_OK)
        *wake_at_ms = wake_at(r);
    return e;
}
