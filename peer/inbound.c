#include "peer/inbound.h"

#include "common/limits.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_ROOTS 4096
#define CHECKPOINTS 1024

struct worker {
    struct batch_cache *roots;
    struct receipt_cache *checkpoints;
};

struct inbound {
    const struct env *env;
    struct trusting *trusting;
    unsigned n_workers;
    struct worker *workers;
};

/* What is judged with. */
struct judge {
    const struct trust *trust;
    const char *peer;
    uint64_t now_ms;
    struct worker *worker; /* NULL: without caches */
};

static void proof_fini(struct proof *p)
{
    receipt_free(p->receipt);
    p->receipt = NULL;
}

void parcel_free(struct parcel *p)
{
    if (p == NULL)
        return;
    for (size_t i = 0; i < p->n_trail; i++)
        proof_fini(&p->trail[i]);
    free(p->trail);
    free(p->receipts);
    envelope_free(p->envelope);
    pb_free(p->own);
    if (p->extra_free != NULL)
        p->extra_free(p->extra);
    free(p);
}

enum err parcel_keep(struct parcel *p)
{
    struct buf bytes;
    enum err e;

    if (p->own != NULL)
        return ERR_OK;
    buf_init(&bytes, LIMIT_FRAME);
    pb_encode(p->wire, &bytes);
    e = bytes.err;
    if (e == ERR_OK)
        e = pb_decode(&sp__transfer__descriptor, buf_span(&bytes), LIMIT_FRAME, &p->own);
    if (e == ERR_OK)
        p->wire = pb_view(p->own);
    buf_fini(&bytes);
    return e;
}

bool parcel_is_file(const struct parcel *p, size_t index)
{
    for (size_t i = 0; i < p->wire->n_parts; i++) {
        if (p->wire->parts[i]->index == index)
            return false;
    }
    return true;
}

static void item_fini(struct inbound_item *item)
{
    switch (item->kind) {
    case INBOUND_DOCUMENTS:
        pb_free(item->documents.decoded);
        trust_free(item->documents.before);
        trust_free(item->documents.after);
        break;
    case INBOUND_TRANSFER:
        parcel_free(item->parcel);
        break;
    case INBOUND_ANSWER:
        proof_fini(&item->answer.proof);
        break;
    case INBOUND_CONTROL:
        proof_fini(&item->control.proof);
        break;
    case INBOUND_REJECT:
    case INBOUND_ACK:
    case INBOUND_WANT:
        break;
    }
}

struct job *job_new(enum job_kind kind)
{
    struct job *j = calloc(1, sizeof *j);

    if (j != NULL)
        j->kind = kind;
    return j;
}

void job_free(struct job *j)
{
    if (j == NULL)
        return;
    for (size_t i = 0; i < j->n_items; i++)
        item_fini(&j->items[i]);
    free(j->items);
    trust_free(j->trust);
    pb_free(j->frame);
    free(j);
}

enum err inbound_new(const struct env *env, struct trusting *trusting, unsigned workers,
                     struct inbound **ret)
{
    struct inbound *in = calloc(1, sizeof *in);
    enum err e = ERR_OK;

    if (in == NULL)
        return ERR_NO_MEMORY;
    in->env = env;
    in->trusting = trusting;
    in->workers = calloc(workers, sizeof *in->workers);
    if (in->workers == NULL)
        e = ERR_NO_MEMORY;
    else
        in->n_workers = workers;
    for (unsigned i = 0; e == ERR_OK && i < workers; i++) {
        e = batch_cache_new(BATCH_ROOTS, &in->workers[i].roots);
        if (e == ERR_OK)
            e = receipt_cache_new(CHECKPOINTS, &in->workers[i].checkpoints);
    }
    if (e != ERR_OK) {
        inbound_free(in);
        return e;
    }
    *ret = in;
    return ERR_OK;
}

void inbound_free(struct inbound *in)
{
    if (in == NULL)
        return;
    for (unsigned i = 0; i < in->n_workers; i++) {
        batch_cache_free(in->workers[i].roots);
        receipt_cache_free(in->workers[i].checkpoints);
    }
    free(in->workers);
    free(in);
}

/* What a peer sent is never a fault of ours, except when memory is short. */
static enum err blame(enum err e)
{
    if (e == ERR_NO_MEMORY)
        return ERR_UNAVAILABLE;
    return err_class(e) == ERR_CLASS_LOCAL && e != ERR_OK ? ERR_BAD_SIGNATURE : e;
}

static void judge_proof(const struct judge *j, struct proof *p)
{
    struct ed25519_public key;

    if (p->receipt == NULL)
        return;
    p->verdict = trust_log_key(j->trust, receipt_leaf(p->receipt)->log, &key);
    if (p->verdict == ERR_OK)
        p->verdict = receipt_verify(p->receipt, trust_federation(j->trust), &key,
                                    j->worker == NULL ? NULL : j->worker->checkpoints);
    p->verdict = blame(p->verdict);
}

static void make_proof(const struct judge *j, struct span bytes, struct proof *p)
{
    p->verdict = blame(receipt_decode(bytes, &p->receipt));
    judge_proof(j, p);
}

void inbound_judge_proof(struct proof *p, const struct trust *trust)
{
    struct judge j = {.trust = trust};

    judge_proof(&j, p);
}

static enum err check_inline(const struct parcel *p)
{
    const Sp__Transfer *t = p->wire;
    size_t total = 0;

    for (size_t i = 0; i < t->n_parts; i++) {
        const Sp__InlinePart *part = t->parts[i];
        const struct envelope_part *promised;
        struct digest digest;

        if (part->index >= envelope_part_count(p->envelope) ||
            (i > 0 && part->index <= t->parts[i - 1]->index))
            return ERR_MALFORMED;
        promised = envelope_part(p->envelope, part->index);
        total += part->data.len;
        if (total > LIMIT_INLINE_PARTS)
            return ERR_TOO_LARGE;
        digest = sha256(pb_span(part->data));
        if (part->data.len != promised->ct_len || !digest_equal(&digest, &promised->sha256))
            return ERR_BAD_DIGEST;
    }
    return ERR_OK;
}

/* Order: the trail, since it tells when the key is judged; the signature; the parts, which the
 * signature names. */
static enum err judge_parcel(const struct judge *j, struct parcel *p)
{
    bool relayed = trust_broker(j->trust, j->peer) != NULL;
    uint64_t at_ms = j->now_ms;
    enum err e = ERR_OK;

    for (size_t i = 0; i < p->n_trail; i++) {
        if (p->trail[i].verdict != ERR_OK && p->trail[i].receipt != NULL)
            judge_proof(j, &p->trail[i]);
        if (p->trail[i].verdict != ERR_OK)
            return p->trail[i].verdict;
    }
    if (relayed && p->n_trail > 0)
        at_ms = receipt_leaf(p->receipts[0])->at_ms;
    e = verify_envelope(j->trust, p->envelope, at_ms, j->worker == NULL ? NULL : j->worker->roots,
                        &p->verified);
    return e == ERR_OK ? check_inline(p) : blame(e);
}

void inbound_judge_parcel(struct parcel *p, const struct trust *trust, const char *peer,
                          uint64_t now_ms)
{
    struct judge j = {.trust = trust, .peer = peer, .now_ms = now_ms};

    p->verdict = judge_parcel(&j, p);
}

static enum err read_trail(const struct judge *j, struct parcel *p)
{
    size_t n = p->wire->n_trail;

    if (n == 0)
        return ERR_OK;
    p->trail = calloc(n, sizeof *p->trail);
    p->receipts = calloc(n, sizeof *p->receipts);
    if (p->trail == NULL || p->receipts == NULL)
        return ERR_NO_MEMORY;
    p->n_trail = n;
    for (size_t i = 0; i < n; i++) {
        make_proof(j, pb_span(p->wire->trail[i]), &p->trail[i]);
        p->receipts[i] = p->trail[i].receipt;
    }
    return ERR_OK;
}

static enum err make_parcel(const struct judge *j, const Sp__Transfer *wire, struct parcel **ret)
{
    struct parcel *p = calloc(1, sizeof *p);
    enum err e;

    if (p == NULL)
        return ERR_NO_MEMORY;
    p->wire = wire;
    e = wire->n_trail > LIMIT_HOPS ? ERR_HOP_LIMIT : ERR_OK;
    if (e == ERR_OK && wire->n_to > LIMIT_RECIPIENTS)
        e = ERR_TOO_LARGE;
    if (e == ERR_OK)
        e = envelope_decode(pb_span(wire->envelope), &p->envelope);
    if (e == ERR_OK)
        e = read_trail(j, p);
    if (e != ERR_OK) {
        parcel_free(p);
        return e;
    }
    p->verdict = judge_parcel(j, p);
    *ret = p;
    return ERR_OK;
}

static struct inbound_item *add_item(struct job *job, enum inbound_kind kind)
{
    struct inbound_item *item = &job->items[job->n_items++];

    item->kind = kind;
    return item;
}

/* Documents that do not hold are left out: the peer may have older rules or an older directory. */
static void add_documents(struct job *job, struct judge *j, struct span bytes)
{
    struct inbound_documents d = {.bytes = bytes};
    enum err e = pb_decode(&sp__agency_documents__descriptor, bytes, LIMIT_DOCUMENT, &d.decoded);

    if (e == ERR_OK)
        e = trust_add_documents(job->trust, bytes, j->now_ms, &d.news, &d.after);
    if (e != ERR_OK) {
        pb_free(d.decoded);
        return;
    }
    d.agency = ((const Sp__AgencyDocuments *)pb_view(d.decoded))->agency;
    d.before = job->trust;
    job->trust = trust_ref(d.after);
    j->trust = job->trust;
    add_item(job, INBOUND_DOCUMENTS)->documents = d;
}

static void add_transfer(struct job *job, const struct judge *j, const Sp__Transfer *wire)
{
    struct parcel *p = NULL;
    enum err e = make_parcel(j, wire, &p);
    struct inbound_item *item;

    if (e == ERR_OK) {
        add_item(job, INBOUND_TRANSFER)->parcel = p;
        return;
    }
    item = add_item(job, INBOUND_REJECT);
    item->reject.tag = wire->tag;
    item->reject.code = blame(e);
}

static void fill(struct job *job, struct judge *j)
{
    const Sp__Frame *f = job->wire;
    struct inbound_item *item;

    for (size_t i = 0; i < f->n_documents; i++)
        add_documents(job, j, pb_span(f->documents[i]));
    for (size_t i = 0; i < f->n_answers; i++) {
        item = add_item(job, INBOUND_ANSWER);
        item->answer.wire = f->answers[i];
        if (f->answers[i]->receipt.len > 0)
            make_proof(j, pb_span(f->answers[i]->receipt), &item->answer.proof);
    }
    for (size_t i = 0; i < f->n_transfers; i++)
        add_transfer(job, j, f->transfers[i]);
    for (size_t i = 0; i < f->n_controls; i++) {
        item = add_item(job, INBOUND_CONTROL);
        item->control.wire = f->controls[i];
        if (f->controls[i]->kind == SP__CONTROL_KIND__CONTROL_KIND_RECEIPT)
            make_proof(j, pb_span(f->controls[i]->body), &item->control.proof);
    }
    for (size_t i = 0; i < f->n_control_acks; i++)
        add_item(job, INBOUND_ACK)->ack = f->control_acks[i];
    for (size_t i = 0; i < f->n_documents_wants; i++)
        add_item(job, INBOUND_WANT)->want = f->documents_wants[i];
}

static size_t count_items(const Sp__Frame *f)
{
    return f->n_documents + f->n_transfers + f->n_answers + f->n_controls + f->n_control_acks +
           f->n_documents_wants;
}

struct job *inbound_prepare(struct inbound *in, unsigned worker, const char *peer,
                            struct span message)
{
    struct judge j = {.peer = peer, .now_ms = env_now_ms(in->env), .worker = &in->workers[worker]};
    struct job *job = job_new(JOB_FRAME);
    size_t n;

    assert(worker < in->n_workers);
    if (job == NULL)
        return NULL;
    job->code = pb_decode(&sp__frame__descriptor, message, LIMIT_FRAME, &job->frame);
    if (job->code != ERR_OK)
        return job;
    job->wire = pb_view(job->frame);
    n = count_items(job->wire);
    if (n > LIMIT_FRAME_ITEMS) {
        job->code = ERR_TOO_LARGE;
        job->wire = NULL;
        return job;
    }
    job->items = calloc(n + 1, sizeof *job->items);
    if (job->items == NULL) {
        job_free(job);
        return NULL;
    }
    job->trust = trusting_current(in->trusting);
    j.trust = job->trust;
    fill(job, &j);
    return job;
}
