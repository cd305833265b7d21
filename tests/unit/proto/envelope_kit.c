#include "tests/unit/proto/envelope_kit.h"

#include "common/merkle.h"
#include "proto/pb.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of SHA-256 in counter mode. */
static void kit_random(void *ctx, void *out, size_t len)
{
    struct kit *k = ctx;
    uint8_t *to = out;

    while (len > 0) {
        struct digest block = sha256(span_of(&k->counter, sizeof(k->counter)));
        size_t n = len < sizeof(block.b) ? len : sizeof(block.b);

        k->counter++;
        memcpy(to, block.b, n);
        to += n;
        len -= n;
    }
}

static uint64_t kit_now(void *ctx)
{
    (void)ctx;
    return KIT_CREATED_MS;
}

static struct key_id sign_key(struct kit *k, struct secret **key, struct ed25519_public *public)
{
    cr_assert_eq(secret_random(&k->env, 32, key), ERR_OK);
    cr_assert_eq(ed25519_public_of(*key, public), ERR_OK);
    return key_id_of(KEY_LABEL_SIGN, span_of(public->b, 32));
}

void kit_init(struct kit *k, uint64_t seed, size_t agencies)
{
    memset(k, 0, sizeof(*k));
    cr_assert_eq(secret_process_init(true), ERR_OK);
    k->counter = seed << 32;
    k->env = (struct env){.ctx = k, .now_ms = kit_now, .mono_ms = kit_now, .random = kit_random};
    k->sign_id = sign_key(k, &k->sign, &k->sign_public);
    (void)sign_key(k, &k->other_sign, &k->other_public);
    cr_assert_eq(secret_random(&k->env, FILE_KEY, &k->file_key), ERR_OK);
    for (size_t i = 0; i < agencies; i++) {
        (void)snprintf(k->agencies[i], sizeof(k->agencies[i]), "LT.A%03zu", i);
        cr_assert_eq(secret_random(&k->env, 32, &k->keys[i]), ERR_OK);
        cr_assert_eq(x25519_public_of(k->keys[i], k->publics[i]), ERR_OK);
        k->key_ids[i] = key_id_of(KEY_LABEL_SUITE_1, span_of(k->publics[i], 32));
    }
}

void kit_fini(struct kit *k)
{
    secret_free(k->sign);
    secret_free(k->other_sign);
    secret_free(k->file_key);
    for (size_t i = 0; i < KIT_AGENCIES; i++)
        secret_free(k->keys[i]);
}

enum err kit_find(void *kit, const struct key_id *id, const struct secret **ret)
{
    struct kit *k = kit;

    for (size_t i = 0; i < KIT_AGENCIES; i++) {
        if (k->keys[i] != NULL && memcmp(k->key_ids[i].b, id->b, sizeof(id->b)) == 0) {
            *ret = k->keys[i];
            return ERR_OK;
        }
    }
    return ERR_NOT_FOUND;
}

void kit_input(struct kit *k, size_t n_recipients, size_t n_parts, struct kit_input *ret)
{
    struct envelope_header *h = &ret->in.header;

    memset(ret, 0, sizeof(*ret));
    h->suite = ENVELOPE_SUITE_1;
    h->id = uuid_v7(&k->env, KIT_CREATED_MS);
    h->created_ms = KIT_CREATED_MS;
    h->expires_ms = KIT_CREATED_MS + 86400000;
    h->sender = KIT_SENDER;
    h->agent = "agent-1";
    memcpy(h->epoch, "epoch-01", sizeof(h->epoch));
    h->key_id = k->sign_id;
    ret->handling[0] = "H0";
    h->handling = ret->handling;
    h->n_handling = 1;
    h->level = SP__LEVEL__LEVEL_BPL;
    h->urgency = SP__URGENCY__URGENCY_NORMAL;
    h->directory_version = 7;
    for (size_t i = 0; i < n_recipients; i++) {
        struct seal_recipient *r = &ret->recipients[i];

        r->agency = k->agencies[i];
        r->seq = 1;
        r->key_id = k->key_ids[i];
        memcpy(r->public_key, k->publics[i], 32);
    }
    for (size_t i = 0; i < n_parts; i++) {
        ret->parts[i].kind =
            i == 0 ? SP__PART_KIND__PART_KIND_BODY : SP__PART_KIND__PART_KIND_ATTACHMENT;
        ret->parts[i].ct_len = part_sealed_len(i == 0 ? 1024 : 77 * i);
        ret->parts[i].sha256 = sha256(span_of(&i, sizeof(i)));
    }
    ret->in.recipients = ret->recipients;
    ret->in.n_recipients = n_recipients;
    ret->in.parts = ret->parts;
    ret->in.n_parts = n_parts;
    ret->in.file_key = k->file_key;
}

void kit_seal(struct kit *k, struct wrap_pool *pool, size_t n, size_t n_recipients,
              struct buf *outs)
{
    struct sealed *sealed[LIMIT_BATCH];
    struct buf *at[LIMIT_BATCH];
    struct kit_input *in = malloc(sizeof(*in));

    cr_assert(in != NULL && n <= LIMIT_BATCH);
    for (size_t i = 0; i < n; i++) {
        kit_input(k, n_recipients, 2, in);
        cr_assert_eq(seal(pool, &in->in, &sealed[i]), ERR_OK);
        buf_init(&outs[i], LIMIT_ENVELOPE);
        at[i] = &outs[i];
    }
    cr_assert_eq(seal_sign(sealed, n, k->sign, at), ERR_OK);
    for (size_t i = 0; i < n; i++)
        sealed_free(sealed[i]);
    free(in);
}

static ProtobufCBinaryData field(const void *data, size_t len)
{
    return pb_bytes(span_of(data, len));
}

static void draft_header(struct draft *d)
{
    struct uuid id = uuid_v7(&d->kit->env, KIT_CREATED_MS);
    struct uuid earlier = uuid_v7(&d->kit->env, KIT_CREATED_MS - 1000);

    memcpy(d->id, id.b, 16);
    memcpy(d->supersedes, earlier.b, 16);
    memcpy(d->key_id, d->kit->sign_id.b, 16);
    memcpy(d->epoch, "epoch-01", 8);
    d->sender = (Sp__Sender)SP__SENDER__INIT;
    d->sender.agency = pb_string(KIT_SENDER);
    d->sender.agent = pb_string("agent-1");
    d->sender.epoch = field(d->epoch, 8);
    d->sender.key_id = field(d->key_id, 16);
    d->header = (Sp__Header)SP__HEADER__INIT;
    d->header.suite = 1;
    d->header.id = field(d->id, 16);
    d->header.created_ms = KIT_CREATED_MS;
    d->header.expires_ms = KIT_CREATED_MS + 86400000;
    d->header.sender = &d->sender;
    d->handling[0] = pb_string("H1");
    d->header.handling = d->handling;
    d->header.n_handling = 1;
    d->header.level = SP__LEVEL__LEVEL_BPL;
    d->header.urgency = SP__URGENCY__URGENCY_URGENT;
    d->header.directory_version = 7;
}

struct draft *draft_new(struct kit *k, size_t n_recipients, size_t n_parts)
{
    struct draft *d = calloc(1, sizeof(*d));

    cr_assert_not_null(d);
    d->kit = k;
    d->sign = k->sign;
    d->file_keys[0] = k->file_key;
    d->file_keys[1] = k->file_key;
    draft_header(d);
    d->recipients = (Sp__Recipients)SP__RECIPIENTS__INIT;
    d->wraps = (Sp__Wraps)SP__WRAPS__INIT;
    for (size_t i = 0; i < KIT_AGENCIES; i++) {
        d->recipient[i] = (Sp__Recipient)SP__RECIPIENT__INIT;
        d->recipient[i].agency = k->agencies[i];
        d->recipient[i].seq = 1;
        d->recipient[i].prev_hash = field(d->prev_hash, 32);
        d->recipient_at[i] = &d->recipient[i];
        d->wrap_at[i] = &d->wrap[i];
    }
    d->recipients.n_items = n_recipients;
    d->recipients.items = d->recipient_at;
    d->wraps.n_items = n_recipients;
    d->wraps.items = d->wrap_at;
    d->parts = (Sp__Parts)SP__PARTS__INIT;
    for (size_t i = 0; i <= LIMIT_PARTS; i++) {
        d->part[i] = (Sp__Part)SP__PART__INIT;
        d->part[i].index = (uint32_t)i;
        d->part[i].kind =
            i == 0 ? SP__PART_KIND__PART_KIND_BODY : SP__PART_KIND__PART_KIND_ATTACHMENT;
        d->part[i].ct_len = part_sealed_len(i == 0 ? 2048 : 99);
        d->part[i].sha256 = field(d->sha256, 32);
        d->part_at[i] = &d->part[i];
    }
    d->parts.n_items = n_parts;
    d->parts.items = d->part_at;
    return d;
}

void draft_free(struct draft *d)
{
    free(d);
}

static void draft_field(const void *message, struct span tail, struct buf *out)
{
    buf_init(out, 2 * LIMIT_ENVELOPE);
    pb_encode(message, out);
    buf_put(out, tail);
    cr_assert_eq(out->err, ERR_OK);
}

/* One fresh HPKE context for each wrap, seq 0. */
static void draft_wraps(struct draft *d)
{
    const struct span digests[] = {digest_span(&d->digests[0]), digest_span(&d->digests[1])};
    struct digest h = sha256_parts(digests, 2);

    for (size_t i = 0; i < d->wraps.n_items; i++) {
        struct hpke_sender *s;
        struct buf info;
        uint64_t seq;

        memcpy(d->wrap_key_id[i], d->kit->key_ids[i].b, 16);
        buf_init(&info, 64);
        buf_put_str(&info, "sealpost-wrap-v1");
        buf_put_u8(&info, 0);
        buf_put_u16be(&info, 1);
        buf_put(&info, span_of(d->kit->key_ids[i].b, 16));
        cr_assert_eq(hpke_sender_new(&d->kit->env, d->kit->publics[i], buf_span(&info), 1, &s),
                     ERR_OK);
        cr_assert_eq(
            hpke_seal(s, digest_span(&h), secret_bytes(d->file_keys[i > 0]), d->ct[i], &seq),
            ERR_OK);
        memcpy(d->enc[i], hpke_sender_enc(s), 32);
        hpke_sender_free(s);
        buf_fini(&info);
        d->wrap[i] = (Sp__Wrap)SP__WRAP__INIT;
        d->wrap[i].agency = d->recipient[i].agency;
        d->wrap[i].key_id = field(d->wrap_key_id[i], 16);
        d->wrap[i].enc = field(d->enc[i], 32);
        d->wrap[i].ct = field(d->ct[i], 32);
    }
}

static void draft_core(struct draft *d)
{
    struct span digests[4];
    uint8_t key[32];

    for (size_t i = 0; i < 4; i++)
        digests[i] = digest_span(&d->digests[i]);
    cr_assert_eq(hkdf(secret_bytes(d->file_keys[0]), (struct span){0},
                      span_str("sealpost-commit-v1"), key, sizeof(key)),
                 ERR_OK);
    d->digests[4] = hmac_sha256_parts(span_of(key, sizeof(key)), digests, 4);
    d->core = (Sp__Core)SP__CORE__INIT;
    d->core.header_digest = field(d->digests[0].b, 32);
    d->core.recipients_digest = field(d->digests[1].b, 32);
    d->core.wraps_digest = field(d->digests[2].b, 32);
    d->core.parts_digest = field(d->digests[3].b, 32);
    d->core.commit = field(d->digests[4].b, 32);
}

/* The root over `pae` at the place that the draft states; siblings are made up. */
static void draft_batch(struct draft *d, struct span pae, struct buf *message)
{
    struct digest leaf = merkle_leaf(pae), root = leaf;
    size_t n = d->batch_index < d->batch_size ? merkle_path_len(d->batch_index, d->batch_size) : 1;

    d->batch = (Sp__Batch)SP__BATCH__INIT;
    d->batch.index = d->batch_index;
    d->batch.size = d->batch_size;
    d->batch.n_path = n;
    d->batch.path = d->path;
    for (size_t i = 0; i < n; i++) {
        d->path_nodes[i] = sha256(span_of(&i, sizeof(i)));
        d->path[i] = field(d->path_nodes[i].b, 32);
    }
    if (d->batch_index < d->batch_size)
        cr_assert_eq(
            merkle_root_from_path(&leaf, d->batch_index, d->batch_size, d->path_nodes, n, &root),
            ERR_OK);
    buf_put_u64be(message, d->batch_size);
    buf_put(message, digest_span(&root));
    d->signature.batch = &d->batch;
}

static void draft_sign(struct draft *d, struct span payload)
{
    struct ed25519_public public;
    struct buf pae, message;
    struct key_id id;

    buf_init(&pae, 2 * LIMIT_ENVELOPE);
    buf_init(&message, LIMIT_KIB);
    d->signature = (Sp__Signature)SP__SIGNATURE__INIT;
    dsse_pae("application/vnd.sealpost.envelope.v1+protobuf", payload, &pae);
    if (d->in_batch) {
        draft_batch(d, buf_span(&pae), &message);
        buf_reset(&pae);
        dsse_pae("application/vnd.sealpost.batch.v1", buf_span(&message), &pae);
    }
    cr_assert_eq(pae.err, ERR_OK);
    cr_assert_eq(ed25519_sign(d->sign, buf_span(&pae), d->sig), ERR_OK);
    cr_assert_eq(ed25519_public_of(d->sign, &public), ERR_OK);
    id = key_id_of("ed25519", span_of(public.b, 32));
    for (size_t i = 0; i < 16; i++)
        (void)snprintf(d->keyid_text + 2 * i, 3, "%02x", id.b[i]);
    d->signature.sig = field(d->sig, 64);
    d->signature.keyid = d->keyid_text;
    buf_fini(&pae);
    buf_fini(&message);
}

void draft_encode(struct draft *d, struct buf *out)
{
    struct buf header, recipients, wraps, parts, core;

    draft_field(&d->header, d->header_tail, &header);
    draft_field(&d->recipients, d->recipients_tail, &recipients);
    draft_field(&d->parts, d->parts_tail, &parts);
    d->digests[0] = sha256(buf_span(&header));
    d->digests[1] = sha256(buf_span(&recipients));
    d->digests[3] = sha256(buf_span(&parts));
    draft_wraps(d);
    if (d->change_wraps != NULL)
        d->change_wraps(d);
    draft_field(&d->wraps, d->wraps_tail, &wraps);
    d->digests[2] = sha256(buf_span(&wraps));
    draft_core(d);
    if (d->change_core != NULL)
        d->change_core(d);
    draft_field(&d->core, d->core_tail, &core);
    draft_sign(d, buf_span(&core));
    d->envelope = (Sp__Envelope)SP__ENVELOPE__INIT;
    d->envelope.payload = pb_bytes(buf_span(&core));
    d->envelope.payload_type = pb_string("application/vnd.sealpost.envelope.v1+protobuf");
    d->signature_at[0] = &d->signature;
    d->signature_at[1] = &d->signature;
    d->envelope.signatures = d->signature_at;
    d->envelope.n_signatures = 1;
    d->envelope.header = pb_bytes(buf_span(&header));
    d->envelope.recipients = pb_bytes(buf_span(&recipients));
    d->envelope.wraps = pb_bytes(buf_span(&wraps));
    d->envelope.parts = pb_bytes(buf_span(&parts));
    if (d->change_outer != NULL)
        d->change_outer(d);
    pb_encode(&d->envelope, out);
    buf_put(out, d->outer_tail);
    cr_assert_eq(out->err, ERR_OK);
    buf_fini(&header);
    buf_fini(&recipients);
    buf_fini(&wraps);
    buf_fini(&parts);
    buf_fini(&core);
}

enum err draft_decode(struct draft *d)
{
    struct envelope *e = NULL;
    struct buf bytes;
    enum err err;

    buf_init(&bytes, 4 * LIMIT_ENVELOPE);
    draft_encode(d, &bytes);
    err = envelope_decode(buf_span(&bytes), &e);
    if (err == ERR_OK) {
        const struct ed25519_public *key =
            d->sign == d->kit->sign ? &d->kit->sign_public : &d->kit->other_public;

        cr_assert_eq(envelope_verify(e, key, NULL), ERR_OK);
        cr_assert(span_equal(envelope_bytes(e), buf_span(&bytes)));
    }
    envelope_free(e);
    buf_fini(&bytes);
    return err;
}

struct envelope *draft_envelope(struct draft *d)
{
    struct envelope *e;
    struct buf bytes;

    buf_init(&bytes, LIMIT_ENVELOPE);
    draft_encode(d, &bytes);
    cr_assert_eq(envelope_decode(buf_span(&bytes), &e), ERR_OK);
    buf_fini(&bytes);
    return e;
}
