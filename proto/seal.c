#include "proto/seal.h"

#include "common/limits.h"
#include "common/merkle.h"
#include "common/text.h"
#include "proto/envelope_core.h"
#include "proto/envelope_rules.h"
#include "proto/pb.h"
#include "proto/wrap_pool.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct sealed {
    struct buf payload;
    struct buf header;
    struct buf recipients;
    struct buf wraps;
    struct buf parts;
    struct digest digest;
    struct key_id key_id; /* of the signer */
};

static ProtobufCBinaryData digest_field(const struct digest *d)
{
    return pb_bytes(digest_span(d));
}

static ProtobufCBinaryData key_id_field(const struct key_id *id)
{
    return pb_bytes(span_of(id->b, sizeof(id->b)));
}

static enum err seal_header(const struct envelope_header *in, struct buf *out)
{
    Sp__Sender sender = SP__SENDER__INIT;
    Sp__Header header = SP__HEADER__INIT;
    struct envelope_header checked;
    enum err e;

    sender.agency = pb_string(in->sender);
    sender.agent = pb_string(in->agent);
    sender.epoch = pb_bytes(span_of(in->epoch, sizeof(in->epoch)));
    sender.key_id = key_id_field(&in->key_id);
    header.suite = in->suite;
    header.id = pb_bytes(uuid_bytes(&in->id));
    header.created_ms = in->created_ms;
    header.expires_ms = in->expires_ms;
    header.sender = &sender;
    header.n_handling = in->n_handling;
    header.handling = (char **)in->handling;
    header.level = in->level;
    header.urgency = in->urgency;
    header.directory_version = in->directory_version;
    if (in->has_supersedes)
        header.supersedes = pb_bytes(uuid_bytes(&in->supersedes));
    header.source = pb_bytes(in->source);
    header.release = pb_bytes(in->release);
    e = rules_header(&header, &checked);
    if (e != ERR_OK)
        return e;
    pb_encode(&header, out);
    return out->err;
}

static enum err seal_recipients(const struct seal_input *in, struct buf *out)
{
    Sp__Recipients list = SP__RECIPIENTS__INIT;
    Sp__Recipient *items = calloc(in->n_recipients, sizeof(items[0]));
    Sp__Recipient **pointers = calloc(in->n_recipients, sizeof(pointers[0]));
    struct envelope_recipient *checked = calloc(in->n_recipients, sizeof(checked[0]));
    enum err e = ERR_NO_MEMORY;

    if (items == NULL || pointers == NULL || checked == NULL)
        goto out;
    for (size_t i = 0; i < in->n_recipients; i++) {
        const struct seal_recipient *r = &in->recipients[i];

        items[i] = (Sp__Recipient)SP__RECIPIENT__INIT;
        items[i].agency = pb_string(r->agency);
        items[i].seq = r->seq;
        items[i].prev_hash = digest_field(&r->prev_hash);
        pointers[i] = &items[i];
    }
    list.n_items = in->n_recipients;
    list.items = pointers;
    e = rules_recipients(&list, in->header.sender, checked);
    if (e != ERR_OK)
        goto out;
    pb_encode(&list, out);
    e = out->err;
out:
    free(checked);
    free(pointers);
    free(items);
    return e;
}

static enum err seal_wraps(struct wrap_pool *pool, const struct seal_input *in,
                           const struct envelope_core *core, struct buf *out)
{
    struct digest aad = envelope_wrap_aad(core);
    Sp__Wraps list = SP__WRAPS__INIT;
    struct wrap *wraps = calloc(in->n_recipients, sizeof(wraps[0]));
    Sp__Wrap *items = calloc(in->n_recipients, sizeof(items[0]));
    Sp__Wrap **pointers = calloc(in->n_recipients, sizeof(pointers[0]));
    enum err e = ERR_NO_MEMORY;

    if (wraps == NULL || items == NULL || pointers == NULL)
        goto out;
    for (size_t i = 0; i < in->n_recipients; i++) {
        const struct seal_recipient *r = &in->recipients[i];

        e = wrap_pool_seal(pool, in->header.suite, r, &aad, in->file_key, &wraps[i]);
        if (e != ERR_OK)
            goto out;
        items[i] = (Sp__Wrap)SP__WRAP__INIT;
        items[i].agency = pb_string(r->agency);
        items[i].key_id = key_id_field(&r->key_id);
        items[i].enc = pb_bytes(span_of(wraps[i].enc, sizeof(wraps[i].enc)));
        items[i].seq = wraps[i].seq;
        items[i].ct = pb_bytes(span_of(wraps[i].ct, sizeof(wraps[i].ct)));
        pointers[i] = &items[i];
    }
    list.n_items = in->n_recipients;
    list.items = pointers;
    pb_encode(&list, out);
    e = out->err;
out:
    free(pointers);
    free(items);
    free(wraps);
    return e;
}

static enum err seal_parts(const struct seal_input *in, struct buf *out)
{
    Sp__Parts list = SP__PARTS__INIT;
    Sp__Part items[LIMIT_PARTS];
    Sp__Part *pointers[LIMIT_PARTS];
    struct envelope_part checked[LIMIT_PARTS];
    enum err e;

    if (in->n_parts > LIMIT_PARTS)
        return ERR_TOO_LARGE;
    for (size_t i = 0; i < in->n_parts; i++) {
        items[i] = (Sp__Part)SP__PART__INIT;
        items[i].index = (uint32_t)i;
        items[i].kind = in->parts[i].kind;
        items[i].ct_len = in->parts[i].ct_len;
        items[i].sha256 = digest_field(&in->parts[i].sha256);
        pointers[i] = &items[i];
    }
    list.n_items = in->n_parts;
    list.items = pointers;
    e = rules_parts(&list, checked);
    if (e != ERR_OK)
        return e;
    pb_encode(&list, out);
    return out->err;
}

static enum err seal_core(const struct secret *file_key, struct envelope_core *core,
                          struct sealed *s)
{
    Sp__Core message = SP__CORE__INIT;
    enum err e;

    core->wraps = sha256(buf_span(&s->wraps));
    core->parts = sha256(buf_span(&s->parts));
    e = envelope_commitment(file_key, core, &core->commit);
    if (e != ERR_OK)
        return e;
    message.header_digest = digest_field(&core->header);
    message.recipients_digest = digest_field(&core->recipients);
    message.wraps_digest = digest_field(&core->wraps);
    message.parts_digest = digest_field(&core->parts);
    message.commit = digest_field(&core->commit);
    pb_encode(&message, &s->payload);
    return s->payload.err;
}

enum err seal(struct wrap_pool *pool, const struct seal_input *in, struct sealed **ret)
{
    struct envelope_core core;
    struct sealed *s;
    enum err e = ERR_NO_MEMORY;

    /* Before the counts become allocations. */
    if (in->n_recipients == 0)
        return ERR_MALFORMED;
    if (in->n_recipients > LIMIT_RECIPIENTS)
        return ERR_TOO_LARGE;
    s = calloc(1, sizeof(*s));
    if (s == NULL)
        goto out;
    buf_init(&s->payload, LIMIT_ENVELOPE);
    buf_init(&s->header, LIMIT_ENVELOPE);
    buf_init(&s->recipients, LIMIT_ENVELOPE);
    buf_init(&s->wraps, LIMIT_ENVELOPE);
    buf_init(&s->parts, LIMIT_ENVELOPE);
    /* Everything that can be refused comes before the wraps, which use up numbers. */
    e = seal_header(&in->header, &s->header);
    if (e != ERR_OK)
        goto out;
    e = seal_recipients(in, &s->recipients);
    if (e != ERR_OK)
        goto out;
    e = seal_parts(in, &s->parts);
    if (e != ERR_OK)
        goto out;
    core.header = sha256(buf_span(&s->header));
    core.recipients = sha256(buf_span(&s->recipients));
    e = seal_wraps(pool, in, &core, &s->wraps);
    if (e != ERR_OK)
        goto out;
    e = seal_core(in->file_key, &core, s);
    if (e != ERR_OK)
        goto out;
    s->digest = sha256(buf_span(&s->payload));
    s->key_id = in->header.key_id;
    *ret = s;
    s = NULL;
out:
    sealed_free(s);
    return e;
}

void sealed_free(struct sealed *s)
{
    if (s == NULL)
        return;
    buf_fini(&s->payload);
    buf_fini(&s->header);
    buf_fini(&s->recipients);
    buf_fini(&s->wraps);
    buf_fini(&s->parts);
    free(s);
}

const struct digest *sealed_digest(const struct sealed *s)
{
    return &s->digest;
}

/* Appends the whole envelope, or nothing. */
static enum err sealed_put(const struct sealed *s, Sp__Signature *signature, struct buf *out)
{
    Sp__Envelope envelope = SP__ENVELOPE__INIT;
    size_t before = out->len;

    envelope.payload = pb_bytes(buf_span(&s->payload));
    envelope.payload_type = pb_string(DSSE_TYPE_ENVELOPE);
    envelope.n_signatures = 1;
    envelope.signatures = &signature;
    envelope.header = pb_bytes(buf_span(&s->header));
    envelope.recipients = pb_bytes(buf_span(&s->recipients));
    envelope.wraps = pb_bytes(buf_span(&s->wraps));
    envelope.parts = pb_bytes(buf_span(&s->parts));
    pb_encode(&envelope, out);
    /* The limits of what it is made of leave it well below. */
    assert(out->len - before <= LIMIT_ENVELOPE);
    return out->err;
}

struct signer {
    const struct secret *key;
    char keyid[2 * sizeof(struct key_id) + 1];
    uint8_t sig[ED25519_SIG];
};

static Sp__Signature signature_of(struct signer *signer)
{
    Sp__Signature signature = SP__SIGNATURE__INIT;

    signature.sig = pb_bytes(span_of(signer->sig, sizeof(signer->sig)));
    signature.keyid = signer->keyid;
    return signature;
}

static enum err sign_single(const struct sealed *s, struct signer *signer, struct buf *out)
{
    struct buf pae;
    enum err e;

    buf_init(&pae, LIMIT_KIB);
    dsse_pae(DSSE_TYPE_ENVELOPE, buf_span(&s->payload), &pae);
    e = pae.err;
    if (e == ERR_OK)
        e = ed25519_sign(signer->key, buf_span(&pae), signer->sig);
    if (e == ERR_OK) {
        Sp__Signature signature = signature_of(signer);

        e = sealed_put(s, &signature, out);
    }
    buf_fini(&pae);
    return e;
}

/* What a batch needs beside the envelopes; too large for a stack. */
struct batch {
    struct digest leaves[LIMIT_BATCH];
    struct merkle_path paths[LIMIT_BATCH];
    struct digest root;
};

static enum err batch_sign(struct batch *b, struct sealed *const *envelopes, size_t n,
                           struct signer *signer)
{
    struct buf message, pae;
    enum err e;

    buf_init(&message, LIMIT_KIB);
    buf_init(&pae, LIMIT_KIB);
    for (size_t i = 0; i < n; i++) {
        buf_reset(&pae);
        dsse_pae(DSSE_TYPE_ENVELOPE, buf_span(&envelopes[i]->payload), &pae);
        e = pae.err;
        if (e != ERR_OK)
            goto out;
        b->leaves[i] = merkle_leaf(buf_span(&pae));
    }
    e = merkle_batch(b->leaves, n, &b->root, b->paths);
    if (e != ERR_OK)
        goto out;
    buf_put_u64be(&message, n);
    buf_put(&message, digest_span(&b->root));
    buf_reset(&pae);
    dsse_pae(DSSE_TYPE_BATCH, buf_span(&message), &pae);
    e = message.err != ERR_OK ? message.err : pae.err;
    if (e == ERR_OK)
        e = ed25519_sign(signer->key, buf_span(&pae), signer->sig);
out:
    buf_fini(&pae);
    buf_fini(&message);
    return e;
}

static enum err batch_put(struct batch *b, size_t index, size_t n, const struct sealed *s,
                          struct signer *signer, struct buf *out)
{
    ProtobufCBinaryData path[LIMIT_BATCH_PATH];
    Sp__Signature signature = signature_of(signer);
    Sp__Batch batch = SP__BATCH__INIT;

    batch.index = (uint32_t)index;
    batch.size = (uint32_t)n;
    batch.n_path = b->paths[index].n;
    batch.path = path;
    for (size_t i = 0; i < batch.n_path; i++)
        path[i] = digest_field(&b->paths[index].nodes[i]);
    signature.batch = &batch;
    return sealed_put(s, &signature, out);
}

static enum err sign_batch(struct sealed *const *envelopes, size_t n, struct signer *signer,
                           struct buf *const *outs)
{
    size_t before[LIMIT_BATCH];
    struct batch *b = calloc(1, sizeof(*b));
    size_t done = 0;
    enum err e;

    if (b == NULL)
        return ERR_NO_MEMORY;
    e = batch_sign(b, envelopes, n, signer);
    while (e == ERR_OK && done < n) {
        before[done] = outs[done]->len;
        e = batch_put(b, done, n, envelopes[done], signer, outs[done]);
        if (e == ERR_OK)
            done++;
    }
    while (e != ERR_OK && done > 0) {
        done--;
        outs[done]->len = before[done];
    }
    free(b);
    return e;
}

enum err seal_sign(struct sealed *const *envelopes, size_t n, const struct secret *key,
                   struct buf *const *outs)
{
    struct signer signer = {.key = key};
    struct ed25519_public public_key;
    struct key_id id;
    enum err e;

    if (n == 0)
        return ERR_MALFORMED;
    if (n > LIMIT_BATCH)
        return ERR_TOO_LARGE;
    e = ed25519_public_of(key, &public_key);
    if (e != ERR_OK)
        return e;
    id = key_id_of(KEY_LABEL_SIGN, span_of(public_key.b, sizeof(public_key.b)));
    for (size_t i = 0; i < n; i++) {
        if (memcmp(envelopes[i]->key_id.b, id.b, sizeof(id.b)) != 0)
            return ERR_WRONG_USAGE;
    }
    text_hex(span_of(id.b, sizeof(id.b)), signer.keyid);
    if (n == 1)
        return sign_single(envelopes[0], &signer, outs[0]);
    return sign_batch(envelopes, n, &signer, outs);
}
