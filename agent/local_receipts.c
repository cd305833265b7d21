/* receipts and prove: what was said about a message, and the proof of it. */
#include "agent/local_internal.h"

#include "audit/evidence.h"
#include "audit/receipt.h"
#include "common/file.h"

#include <stdlib.h>
#include <string.h>

/* Receipts of one message, in the order in which they are shown. */
struct pile {
    struct receipt **items;
    size_t n;
    size_t cap;
};

static enum err pile_add(struct pile *p, struct span bytes)
{
    if (p->n == LIMIT_EVIDENCE_RECEIPTS)
        return ERR_FULL;
    if (p->n == p->cap) {
        size_t cap = p->cap == 0 ? 16 : 2 * p->cap;
        struct receipt **grown = realloc(p->items, cap * sizeof *grown);

        if (grown == NULL)
            return ERR_NO_MEMORY;
        p->items = grown;
        p->cap = cap;
    }
    enum err e = receipt_decode(bytes, &p->items[p->n]);

    if (e == ERR_OK)
        p->n++;
    return e;
}

static void pile_fini(struct pile *p)
{
    for (size_t i = 0; i < p->n; i++)
        receipt_free(p->items[i]);
    free(p->items);
}

/* Stored ones: of sent mail what came back, of received mail the trail that it brought. */
static enum err add_stored(struct visitor *v, const struct letter *l, struct pile *p)
{
    struct store_cursor *c = NULL;
    struct store_txn *txn;
    struct span key;
    struct span value;
    uint8_t prefix[8];
    enum err e = ERR_OK;

    for (size_t i = 0; e == ERR_OK && i < l->wire->n_trail; i++)
        e = pile_add(p, pb_span(l->wire->trail[i]));
    if (e == ERR_OK)
        e = store_read_begin(v->options->store, &txn);
    if (e != ERR_OK)
        return e;
    store_key_u64(l->number, prefix);
    e = store_cursor_new(txn, AGENT_RECEIPT, store_prefix(span_of(prefix, sizeof prefix)), &c);
    while (e == ERR_OK && (e = store_cursor_next(c, &key, &value)) == ERR_OK)
        e = pile_add(p, value);
    store_cursor_free(c);
    store_read_end(txn);
    return e == ERR_NOT_FOUND ? ERR_OK : e;
}

/* Those of our own log are made by the commit thread, which owns the log. */
static enum err add_own(struct visitor *v, uint64_t leaf, struct pile *p)
{
    struct task *task = task_new(TASK_RECEIPT);
    struct ticket ticket;
    struct buf bytes;
    enum err e;

    if (task == NULL)
        return ERR_NO_MEMORY;
    buf_init(&bytes, LIMIT_RECEIPT);
    task->number = leaf;
    task->receipt = &bytes;
    ticket_init(&ticket, NULL);
    visitor_post(v, task, &ticket);
    e = ticket.code;
    ticket_fini(&ticket);
    if (e == ERR_OK)
        e = pile_add(p, buf_span(&bytes));
    buf_fini(&bytes);
    return e == ERR_NOT_FOUND ? ERR_OK : e; /* not signed yet */
}

static int by_time(const void *a, const void *b)
{
    const Sp__Leaf *x = receipt_leaf(*(struct receipt *const *)a);
    const Sp__Leaf *y = receipt_leaf(*(struct receipt *const *)b);

    return x->at_ms < y->at_ms ? -1 : x->at_ms > y->at_ms;
}

static enum err gather(struct visitor *v, const struct letter *l, struct pile *p)
{
    enum err e = add_own(v, l->mail.leaf, p);

    if (e == ERR_OK && l->mail.opened_ms != 0)
        e = add_own(v, l->mail.opened_leaf, p);
    if (e == ERR_OK)
        e = add_stored(v, l, p);
    if (e == ERR_OK && p->n > 1)
        qsort(p->items, p->n, sizeof *p->items, by_time);
    return e;
}

static bool holds(const struct trust *trust, const struct receipt *r)
{
    struct ed25519_public key;

    return trust_log_key(trust, receipt_leaf(r)->log, &key) == ERR_OK &&
           receipt_verify(r, trust_federation(trust), &key, NULL) == ERR_OK;
}

static void view(const struct trust *trust, const struct receipt *r, Sp__ReceiptView *ret)
{
    const Sp__Leaf *leaf = receipt_leaf(r);
    const char *event = name_of(NAME_EVENT, (int)leaf->event);

    sp__receipt_view__init(ret);
    ret->event = pb_string(event == NULL ? "" : event);
    ret->by = leaf->log;
    ret->recipients = leaf->recipients;
    ret->n_recipients = leaf->n_recipients;
    ret->at_ms = leaf->at_ms;
    ret->code = leaf->code;
    ret->log_origin = pb_string(receipt_origin(r));
    ret->index = receipt_index(r);
    ret->log_size = receipt_size(r);
    ret->leaf_hash = pb_bytes(digest_span(receipt_leaf_hash(r)));
    ret->verified = holds(trust, r);
}

static enum err respond(struct visitor *v, const struct pile *p)
{
    struct trust *trust = trusting_current(v->options->trusting);
    Sp__ReceiptView *views = calloc(p->n + 1, sizeof *views);
    Sp__ReceiptView **items = calloc(p->n + 1, sizeof(Sp__ReceiptView *));
    Sp__Response response = SP__RESPONSE__INIT;
    Sp__ReceiptList list = SP__RECEIPT_LIST__INIT;
    enum err e = views == NULL || items == NULL ? ERR_NO_MEMORY : ERR_OK;

    for (size_t i = 0; e == ERR_OK && i < p->n; i++) {
        view(trust, p->items[i], &views[i]);
        items[i] = &views[i];
    }
    if (e == ERR_OK) {
        list.receipts = items;
        list.n_receipts = p->n;
        response.receipts = &list;
        visitor_respond(v, &response, false);
    }
    free(views);
    free(items);
    trust_free(trust);
    return e;
}

void local_receipts(struct visitor *v, const Sp__ReceiptsRequest *q)
{
    struct letter l = {0};
    struct pile p = {0};
    enum err e;

    if (!letter_open(v, q->id, &l))
        return;
    e = gather(v, &l, &p);
    if (e == ERR_OK)
        e = respond(v, &p);
    if (e != ERR_OK)
        visitor_error(v, e, NULL);
    pile_fini(&p);
    letter_close(&l);
}

/* Evidence: the parts of a bundle and the memory that they lie in. */
struct bundle {
    Sp__Evidence evidence;
    struct buf root;
    struct buf directory;
    ProtobufCBinaryData documents[LIMIT_RECIPIENTS + 1];
    ProtobufCBinaryData *receipts;
};

static void add_documents(struct bundle *b, struct span documents)
{
    if (documents.len == 0)
        return;
    b->evidence.documents = b->documents;
    b->documents[b->evidence.n_documents++] = pb_bytes(documents);
}

static enum err read_public(struct visitor *v, const char *name, struct buf *ret)
{
    char path[LIMIT_PATH];
    enum err e = file_join(v->options->settings->federation, name, path, sizeof path);

    return e == ERR_OK ? file_read(path, LIMIT_DOCUMENT, ret) : e;
}

static enum err fill(struct visitor *v, const struct letter *l, const struct pile *p, bool disclose,
                     const struct trust *trust, struct bundle *b)
{
    const struct envelope_header *h = envelope_header(l->envelope);
    struct span sender = trust_documents_for(trust, h->sender, &h->key_id);
    enum err e = read_public(v, FEDERATION_ROOT, &b->root);

    if (e == ERR_OK)
        e = read_public(v, FEDERATION_DIRECTORY, &b->directory);
    b->receipts = calloc(p->n + 1, sizeof *b->receipts);
    if (b->receipts == NULL)
        e = ERR_NO_MEMORY;
    if (e != ERR_OK)
        return e;
    sp__evidence__init(&b->evidence);
    b->evidence.envelope = pb_bytes(envelope_bytes(l->envelope));
    for (size_t i = 0; i < p->n; i++)
        b->receipts[b->evidence.n_receipts++] = pb_bytes(receipt_bytes(p->items[i]));
    b->evidence.receipts = b->receipts;
    add_documents(b, sender.len > 0 ? sender : trust_documents(trust, h->sender));
    for (size_t i = 0; i < envelope_recipient_count(l->envelope); i++)
        add_documents(b, trust_documents(trust, envelope_recipient(l->envelope, i)->agency));
    b->evidence.root = pb_bytes(buf_span(&b->root));
    b->evidence.directory = pb_bytes(buf_span(&b->directory));
    if (disclose)
        b->evidence.file_key = pb_bytes(secret_bytes(l->file_key));
    return ERR_OK;
}

static enum err prove(struct visitor *v, const struct letter *l, const struct pile *p,
                      bool disclose)
{
    struct trust *trust = trusting_current(v->options->trusting);
    struct bundle *b = calloc(1, sizeof *b);
    Sp__Response response = SP__RESPONSE__INIT;
    Sp__Proof proof = SP__PROOF__INIT;
    struct buf bytes;
    enum err e = b == NULL ? ERR_NO_MEMORY : fill(v, l, p, disclose, trust, b);

    buf_init(&bytes, LIMIT_EVIDENCE);
    if (e == ERR_OK) {
        pb_encode(&b->evidence, &bytes);
        e = bytes.err;
    }
    if (e == ERR_OK && bytes.len > LIMIT_LOCAL_FRAME - LIMIT_KIB)
        e = ERR_TOO_LARGE;
    if (e == ERR_OK) {
        proof.evidence = pb_bytes(buf_span(&bytes));
        response.proof = &proof;
        visitor_respond(v, &response, false);
    }
    buf_wipe(&bytes);
    if (b != NULL) {
        buf_fini(&b->root);
        buf_fini(&b->directory);
        free(b->receipts);
    }
    free(b);
    trust_free(trust);
    return e;
}

void local_prove(struct visitor *v, const Sp__ProveRequest *q)
{
    struct letter l = {0};
    struct pile p = {0};
    enum err e;

    if (!letter_open(v, q->id, &l))
        return;
    if (q->disclose)
        log_event(log_warn("content-disclosed"), log_uuid("id", &l.mail.id),
                  log_str("officer", v->officer->id));
    e = gather(v, &l, &p);
    if (e == ERR_OK)
        e = prove(v, &l, &p, q->disclose);
    if (e != ERR_OK)
        visitor_error(v, e, NULL);
    pile_fini(&p);
    letter_close(&l);
}
