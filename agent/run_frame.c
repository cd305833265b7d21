/* From jobs to events of the core. */
#include "agent/run_internal.h"

#include "common/limits.h"

#include <stdlib.h>
#include <string.h>

#define MINUTE_MS 60000
#define EVENT_BYTES ((size_t)1024) /* about what the records of one event take */

static void want_documents(struct run *r, const char *peer, const char *agency,
                           const struct key_id *key_id)
{
    Sp__DocumentsWant want = SP__DOCUMENTS_WANT__INIT;

    want.agency = pb_string(agency);
    if (key_id != NULL)
        want.key_id = pb_bytes(span_of(key_id->b, sizeof key_id->b));
    outbound_want(r->out, peer, &want);
}

void run_want_documents(struct run *r, const char *agency)
{
    for (size_t i = 0; i < r->n_peers; i++) {
        if (r->peers[i]->up)
            want_documents(r, r->peers[i]->name, agency, NULL);
    }
}

enum err run_garbage(struct run *r, const char *peer, enum err code, uint64_t count)
{
    struct agent_event event = {.kind = AGENT_GARBAGE, .peer = peer, .count = count};
    struct peer_note *note = run_peer(r, peer);
    uint64_t minute = env_mono_ms(r->options.env) / MINUTE_MS + 1;

    if (note == NULL)
        return ERR_NO_MEMORY;
    note->garbage += count;
    if (note->minute != minute) {
        log_event(log_warn("refused-input"), log_str("peer", peer[0] == '\0' ? "unknown" : peer),
                  log_code(code), log_u64("count", note->garbage));
        note->minute = minute;
        note->garbage = 0;
    }
    return run_step(r, &event, EVENT_BYTES);
}

/* A refusal without a leaf: nothing proven stands behind it. */
static void answer(struct run *r, const char *peer, uint64_t tag, const struct envelope *e,
                   Sp__Outcome outcome, enum err code)
{
    Sp__Answer a = SP__ANSWER__INIT;

    a.tag = tag;
    if (e != NULL) {
        a.id = pb_bytes(uuid_bytes(&envelope_header(e)->id));
        a.digest = pb_bytes(digest_span(envelope_digest(e)));
    }
    a.outcome = outcome;
    a.code = pb_string(err_code(code));
    outbound_answer(r->out, peer, &a);
}

static size_t parcel_bytes(const struct parcel *p)
{
    size_t bytes = p->wire->envelope.len + EVENT_BYTES;

    for (size_t i = 0; i < p->wire->n_parts; i++)
        bytes += p->wire->parts[i]->data.len;
    for (size_t i = 0; i < p->wire->n_trail; i++)
        bytes += p->wire->trail[i].len;
    return bytes;
}

/* Is there room on the file system for parts of this size. */
static bool has_room(const struct run *r, uint64_t bytes)
{
    uint64_t free_bytes;

    return bytes == 0 ||
           (part_dir_free_bytes(r->options.parts, &free_bytes) == ERR_OK &&
            free_bytes > LIMIT_STORE_FLOOR && free_bytes - LIMIT_STORE_FLOOR >= bytes);
}

/* Parts that came for an envelope which was then not accepted. */
static enum err orphan_files(struct run *r, const struct parcel *p)
{
    enum err e = ERR_OK;

    for (size_t i = 0; e == ERR_OK && i < envelope_part_count(p->envelope); i++) {
        if (parcel_is_file(p, i))
            e = run_orphan(r, &envelope_part(p->envelope, i)->sha256);
    }
    return e;
}

static void fill_incoming(struct agent_event *event, const struct parcel *p)
{
    const struct opened *opened = p->extra;

    event->incoming.tag = p->wire->tag;
    event->incoming.envelope = p->envelope;
    event->incoming.verdict = p->verdict;
    event->incoming.rule = "";
    event->incoming.verified = p->verified;
    event->incoming.wire = p->wire;
    event->incoming.trail = p->receipts;
    event->incoming.n_trail = p->n_trail;
    if (p->verdict != ERR_OK || opened == NULL)
        return;
    event->incoming.verdict = opened->verdict;
    event->incoming.rule = opened->rule;
    event->incoming.sealed_key = buf_span(&opened->sealed_key);
    event->incoming.summary = buf_span(&opened->summary);
}

/* Steps one transfer; `*taken` when its parcel was parked. */
static enum err step_parcel(struct run *r, const char *peer, struct parcel *p, bool *taken)
{
    enum err e = intake_open(r->opener, p, r->trust);
    uint64_t missing = p->verdict == ERR_OK ? parts_missing(r->parts, p) : 0;
    struct agent_event event = {.kind = AGENT_INCOMING, .peer = peer, .room = has_room(r, missing)};
    size_t first = r->n_sends;
    bool files = p->wire->n_parts < envelope_part_count(p->envelope);

    *taken = false;
    fill_incoming(&event, p);
    event.incoming.incomplete = missing > 0;
    if (e == ERR_OK)
        e = run_step(r, &event, parcel_bytes(p));
    /* A step that filled the transaction has been sent already; it never asks for parts. */
    for (size_t i = first; e == ERR_OK && i < r->n_sends; i++) {
        const struct agent_send *send = &r->sends[i];

        if (send->kind == AGENT_NEED_PARTS) {
            enum err parked = parts_park(r->parts, peer, p);

            *taken = parked == ERR_OK;
            if (parked != ERR_OK)
                answer(r, peer, p->wire->tag, p->envelope, SP__OUTCOME__OUTCOME_RETRY,
                       ERR_UNAVAILABLE);
        } else if (send->kind == AGENT_SEND_ANSWER && send->code == ERR_NEED_DOCUMENTS) {
            want_documents(r, peer, envelope_header(p->envelope)->sender,
                           &envelope_header(p->envelope)->key_id);
        } else if (send->kind == AGENT_SEND_ANSWER && files &&
                   send->outcome == SP__OUTCOME__OUTCOME_REFUSED) {
            e = orphan_files(r, p);
        }
    }
    return e;
}

static enum err on_transfer(struct run *r, const char *peer, const struct job *job,
                            struct inbound_item *item)
{
    bool taken;
    enum err e;

    if (item->parcel->verdict == ERR_NEED_DOCUMENTS && job->trust != r->trust)
        inbound_judge_parcel(item->parcel, r->trust, peer, env_now_ms(r->options.env));
    e = step_parcel(r, peer, item->parcel, &taken);
    if (taken)
        item->parcel = NULL;
    return e;
}

/* Judges again under the present snapshot what lacked its log's key. False: still unknown; then its
 * documents are asked for, and the peer will repeat. */
static bool settle_proof(struct run *r, const char *peer, struct proof *p)
{
    if (p->receipt == NULL || p->verdict != ERR_NEED_DOCUMENTS)
        return true;
    inbound_judge_proof(p, r->trust);
    if (p->verdict != ERR_NEED_DOCUMENTS)
        return true;
    want_documents(r, peer, receipt_leaf(p->receipt)->log, NULL);
    return false;
}

static enum err on_answer(struct run *r, const char *peer, struct inbound_item *item)
{
    const Sp__Answer *wire = item->answer.wire;
    struct proof *proof = &item->answer.proof;
    struct agent_event event = {.kind = AGENT_ANSWER, .peer = peer};
    enum err code = wire->code[0] == '\0' ? ERR_OK : err_from_code(wire->code);

    (void)settle_proof(r, peer, proof);
    if (wire->outcome == SP__OUTCOME__OUTCOME_REFUSED &&
        (code == ERR_OK || err_class(code) == ERR_CLASS_LOCAL))
        code = ERR_MALFORMED;
    event.answer.tag = wire->tag;
    event.answer.outcome = wire->outcome;
    event.answer.code = code;
    event.answer.rule = wire->rule;
    event.answer.receipt =
        proof->receipt != NULL && proof->verdict == ERR_OK ? proof->receipt : NULL;
    /* Decided: its parts need not be served any more. */
    if (wire->outcome == SP__OUTCOME__OUTCOME_REFUSED ||
        (wire->outcome == SP__OUTCOME__OUTCOME_COMMITTED && event.answer.receipt != NULL))
        parts_withdraw(r->parts, peer, wire->tag);
    return run_step(r, &event, EVENT_BYTES + wire->receipt.len);
}

static enum err on_control(struct run *r, const char *peer, struct inbound_item *item)
{
    const Sp__Control *wire = item->control.wire;
    struct proof *proof = &item->control.proof;
    struct agent_event event = {.kind = AGENT_CONTROL_IN, .peer = peer};

    if (!settle_proof(r, peer, proof))
        return ERR_OK;
    event.control.tag = wire->tag;
    event.control.receipt =
        proof->receipt != NULL && proof->verdict == ERR_OK ? proof->receipt : NULL;
    return run_step(r, &event, EVENT_BYTES + wire->body.len);
}

static void adopt(struct run *r, struct trust *next)
{
    trust_free(r->trust);
    r->trust = next;
    trusting_set(r->options.trusting, next);
}

static enum err on_documents(struct run *r, const char *peer, struct inbound_item *item)
{
    struct inbound_documents *d = &item->documents;
    struct agent_event event = {.kind = AGENT_DOCUMENTS_IN, .peer = peer};
    struct trust *next = NULL;
    bool news = d->news;

    if (d->before == r->trust)
        next = trust_ref(d->after);
    else if (trust_add_documents(r->trust, d->bytes, env_now_ms(r->options.env), &news, &next) !=
             ERR_OK)
        return ERR_OK;
    if (!news) {
        trust_free(next);
        return ERR_OK;
    }
    adopt(r, next);
    shell_reload(r->shell);
    log_event(log_info("documents"), log_str("agency", d->agency), log_str("peer", peer));
    event.documents.agency = d->agency;
    event.documents.bytes = d->bytes;
    event.documents.news = true;
    return run_step(r, &event, EVENT_BYTES + d->bytes.len);
}

static void on_want(struct run *r, const char *peer, const Sp__DocumentsWant *want)
{
    struct span bytes = span_of(NULL, 0);

    if (want->key_id.len == sizeof(struct key_id)) {
        struct key_id id;

        memcpy(id.b, want->key_id.data, sizeof id.b);
        bytes = trust_documents_for(r->trust, want->agency, &id);
    }
    if (bytes.len == 0)
        bytes = trust_documents(r->trust, want->agency);
    if (bytes.len > 0)
        outbound_documents(r->out, peer, bytes);
}

static enum err on_item(struct run *r, const char *peer, const struct job *job,
                        struct inbound_item *item)
{
    struct agent_event event = {.kind = AGENT_CONTROL_ACK, .peer = peer};

    switch (item->kind) {
    case INBOUND_DOCUMENTS:
        return on_documents(r, peer, item);
    case INBOUND_TRANSFER:
        return on_transfer(r, peer, job, item);
    case INBOUND_REJECT:
        answer(r, peer, item->reject.tag, NULL,
               err_class(item->reject.code) == ERR_CLASS_RETRY ? SP__OUTCOME__OUTCOME_RETRY
                                                               : SP__OUTCOME__OUTCOME_REFUSED,
               item->reject.code);
        return run_garbage(r, peer, item->reject.code, 1);
    case INBOUND_ANSWER:
        return on_answer(r, peer, item);
    case INBOUND_CONTROL:
        return on_control(r, peer, item);
    case INBOUND_ACK:
        event.control_tag = item->ack;
        return run_step(r, &event, EVENT_BYTES);
    case INBOUND_WANT:
        on_want(r, peer, item->want);
        return ERR_OK;
    }
    return ERR_OK;
}

/* False when nothing of this peer is to be handled, from now on or still. */
static bool check_hello(const struct run *r, struct peer_note *note, const Sp__Hello *hello)
{
    (void)r;
    if (hello != NULL) {
        bool refused = hello->version != 0 || strcmp(hello->name, note->name) != 0;

        if (refused && !note->refused_hello)
            log_event(log_warn("hello-refused"), log_str("peer", note->name),
                      log_code(hello->version != 0 ? ERR_VERSION : ERR_WRONG_USAGE),
                      log_u64("version", hello->version));
        note->refused_hello = refused;
    }
    return !note->refused_hello;
}

static enum err on_frame(struct run *r, const char *peer, struct job *job)
{
    struct peer_note *note = run_peer(r, peer);
    enum err e = ERR_OK;

    if (note == NULL)
        return ERR_NO_MEMORY;
    if (job->wire == NULL)
        return run_garbage(r, peer, job->code, 1);
    if (!check_hello(r, note, job->wire->hello))
        return run_garbage(r, peer, ERR_VERSION, 1);
    for (size_t i = 0; i < job->wire->n_part_wants; i++)
        partflow_on_want(r->flow, peer, job->wire->part_wants[i]);
    for (size_t i = 0; i < job->wire->n_chunks; i++)
        partflow_on_chunk(r->flow, peer, job->wire->chunks[i]);
    for (size_t i = 0; e == ERR_OK && i < job->n_items; i++)
        e = on_item(r, peer, job, &job->items[i]);
    return e;
}

/* Our own documents have changed: the brokers that are up get them at once. */
static void send_own_documents(struct run *r, const struct trust *before)
{
    const char *agency = r->options.core.agency;
    struct span own = trust_documents(r->trust, agency);

    if (own.len == 0 || span_equal(own, trust_documents(before, agency)))
        return;
    for (size_t i = 0; i < r->n_peers; i++) {
        if (r->peers[i]->up)
            outbound_documents(r->out, r->peers[i]->name, own);
    }
}

/* A snapshot from the federation folder, and beside it what came by mail. */
static enum err on_trust(struct run *r, const struct job *job)
{
    struct agent_event event = {.kind = AGENT_TRUST, .peer = ""};
    struct trust *before = trust_ref(r->trust);
    struct trust_floor versions;
    struct trust *next;
    enum err e = trust_merge(job->trust, r->trust, env_now_ms(r->options.env), &next);

    if (e == ERR_OK) {
        adopt(r, next);
        send_own_documents(r, before);
        shell_reload(r->shell);
        versions = trust_versions(next);
        log_event(log_info("trust-adopted"), log_u64("root", versions.root_version),
                  log_u64("directory", versions.directory_version),
                  log_u64("timestamp", versions.timestamp_version));
    }
    trust_free(before);
    if (e != ERR_OK) {
        log_event(log_warn("trust-refused"), log_code(e));
        return ERR_OK;
    }
    return run_step(r, &event, EVENT_BYTES);
}

enum err run_job(struct run *r, const char *peer, struct job *job)
{
    enum err e = ERR_OK;

    switch (job->kind) {
    case JOB_FRAME:
        e = on_frame(r, peer, job);
        break;
    case JOB_PART:
        parts_came(r->parts, &job->part, job->code);
        break;
    case JOB_TRUST:
        e = on_trust(r, job);
        break;
    }
    job_free(job);
    return e;
}

/* The code with which a part that cannot be had is answered. */
static enum err code_of(enum err e)
{
    return err_class(e) == ERR_CLASS_LOCAL ? ERR_UNAVAILABLE : e;
}

enum err run_parcels(struct run *r)
{
    char peer[LIMIT_PEER];
    struct parcel *p;
    enum err result;
    enum err e = ERR_OK;

    while (e == ERR_OK && parts_next(r->parts, peer, &p, &result)) {
        bool taken = false;

        if (result == ERR_BAD_DIGEST) {
            p->verdict = ERR_BAD_DIGEST;
        } else if (result != ERR_OK) {
            answer(r, peer, p->wire->tag, p->envelope, SP__OUTCOME__OUTCOME_RETRY, code_of(result));
            parcel_free(p);
            continue;
        }
        e = step_parcel(r, peer, p, &taken);
        if (!taken)
            parcel_free(p);
    }
    /* Answers alone open no transaction. */
    if (e == ERR_OK && !r->open)
        e = outbound_flush(r->out);
    return e;
}

static void say_hello(struct run *r, const char *peer)
{
    Sp__Hello hello = SP__HELLO__INIT;

    hello.version = 0;
    hello.name = pb_string(r->options.core.agency);
    hello.software = pb_string("sealpost " SEALPOST_VERSION);
    hello.epoch = pb_bytes(span_of(r->options.core.epoch, sizeof r->options.core.epoch));
    hello.directory_version = trust_directory(r->trust)->version;
    hello.log_size = audit_log_size(r->options.log);
    outbound_hello(r->out, peer, &hello);
}

enum err run_peer_up(struct run *r, const char *peer)
{
    struct agent_event event = {.kind = AGENT_PEER_UP, .peer = peer};
    struct peer_note *note = run_peer(r, peer);

    if (note == NULL)
        return ERR_NO_MEMORY;
    note->up = true;
    note->refused_hello = false;
    log_event(log_info("peer-up"), log_str("peer", peer));
    say_hello(r, peer);
    partflow_peer_up(r->flow, peer);
    return run_step(r, &event, EVENT_BYTES);
}

enum err run_peer_down(struct run *r, const char *peer)
{
    struct agent_event event = {.kind = AGENT_PEER_DOWN, .peer = peer};
    struct peer_note *note = run_peer(r, peer);

    if (note == NULL)
        return ERR_NO_MEMORY;
    note->up = false;
    log_event(log_info("peer-down"), log_str("peer", peer));
    partflow_peer_down(r->flow, peer);
    parts_peer_down(r->parts, peer);
    return run_step(r, &event, EVENT_BYTES);
}
