#include "tests/hostile/forge.h"

#include "common/limits.h"
#include "proto/envelope_core.h"
#include "proto/part.h"
#include "proto/pb.h"
#include "proto/seal.h"

#include "content.pb-c.h"
#include "envelope.pb-c.h"

#include <string.h>

#define HOUR_MS ((uint64_t)3600000)
#define RECIPIENTS_MAX 4

static bool is(const char *fault, const char *name)
{
    return strcmp(fault, name) == 0;
}

/* Faults that sealing itself does not refuse, since they are against policy or the clock. */
static void header_fault(const char *fault, uint64_t now, struct envelope_header *h,
                         const char **code, uint64_t *delay_ms)
{
    if (is(fault, "clock"))
        h->created_ms = now + HOUR_MS;
    if (is(fault, "expired"))
        h->created_ms = now - 2 * HOUR_MS;
    h->expires_ms = h->created_ms + HOUR_MS;
    if (is(fault, "expired"))
        *delay_ms = 2 * HOUR_MS;
    if (is(fault, "level-ceiling"))
        h->level = SP__LEVEL__LEVEL_SECRET;
    if (is(fault, "handling-not-allowed"))
        *code = "Z9";
}

static enum err seal_body(const struct forge *f, const struct secret *file_key, struct buf *out,
                          struct envelope_part *part)
{
    Sp__Content content = SP__CONTENT__INIT;
    struct buf plain;
    struct buf padded;
    enum err e;

    buf_init(&plain, LIMIT_BODY);
    buf_init(&padded, 2 * LIMIT_BODY);
    content.kind = SP__KIND__KIND_INFORMATION;
    content.subject = pb_string("from a hostile peer");
    content.text = pb_string("text");
    content.officer = pb_string("nobody");
    pb_encode(&content, &plain);
    body_pad(buf_span(&plain), &padded);
    e = plain.err != ERR_OK ? plain.err : padded.err;
    if (e == ERR_OK)
        e = part_seal(f->env, file_key, buf_span(&padded), out, &part->sha256);
    part->kind = SP__PART_KIND__PART_KIND_BODY;
    part->ct_len = out->len;
    buf_wipe(&plain);
    buf_wipe(&padded);
    return e;
}

static enum err recipients_of(const struct forge *f, const char *fault, const char *const *to,
                              size_t n, struct seal_recipient *ret)
{
    for (size_t i = 0; i < n; i++) {
        struct trust_encryption key;
        enum err e = trust_encryption_key(f->trust, to[i], 1, env_now_ms(f->env), &key);

        ret[i] = (struct seal_recipient){.agency = to[i], .seq = 1};
        if (e != ERR_OK && is(fault, "unknown-agency")) {
            /* Nobody's key: the point of the generator. */
            memset(key.public_key, 0, sizeof key.public_key);
            key.public_key[0] = 9;
            key.key_id = key_id_of(KEY_LABEL_SUITE_1, span_of(key.public_key, 32));
            e = ERR_OK;
        }
        if (e != ERR_OK)
            return e;
        ret[i].key_id = key.key_id;
        memcpy(ret[i].public_key, key.public_key, 32);
    }
    return ERR_OK;
}

static enum err seal_signed(const struct forge *f, const struct seal_input *in, struct buf *out)
{
    struct wrap_pool *pool = NULL;
    struct sealed *sealed = NULL;
    enum err e = wrap_pool_new(f->env, &pool);

    if (e == ERR_OK)
        e = seal(pool, in, &sealed);
    if (e == ERR_OK)
        e = seal_sign(&sealed, 1, f->sign, &out);
    sealed_free(sealed);
    wrap_pool_free(pool);
    return e;
}

/* Everything of an envelope laid open, to be changed and put together again. */
struct open {
    struct pb *outer;
    struct pb *core_pb;
    struct pb *header_pb;
    struct pb *wraps_pb;
    Sp__Envelope envelope;
    Sp__Header header;
    struct buf header_bytes;
    struct buf wraps_bytes;
    struct envelope_core core;
};

static enum err lay_open(struct span bytes, struct open *o)
{
    enum err e;

    buf_init(&o->header_bytes, LIMIT_ENVELOPE);
    buf_init(&o->wraps_bytes, LIMIT_ENVELOPE);
    e = pb_decode(&sp__envelope__descriptor, bytes, LIMIT_ENVELOPE, &o->outer);
    if (e != ERR_OK)
        return e;
    o->envelope = *(const Sp__Envelope *)pb_view(o->outer);
    e = pb_decode(&sp__core__descriptor, pb_span(o->envelope.payload), LIMIT_ENVELOPE, &o->core_pb);
    if (e == ERR_OK)
        e = pb_decode(&sp__header__descriptor, pb_span(o->envelope.header), LIMIT_ENVELOPE,
                      &o->header_pb);
    if (e == ERR_OK)
        e = pb_decode(&sp__wraps__descriptor, pb_span(o->envelope.wraps), LIMIT_ENVELOPE,
                      &o->wraps_pb);
    if (e == ERR_OK)
        o->header = *(const Sp__Header *)pb_view(o->header_pb);
    return e;
}

static void lay_away(struct open *o)
{
    buf_fini(&o->header_bytes);
    buf_fini(&o->wraps_bytes);
    pb_free(o->outer);
    pb_free(o->core_pb);
    pb_free(o->header_pb);
    pb_free(o->wraps_pb);
}

/* Digests, commitment and signature over what the fields are now. */
static enum err put_together(const struct forge *f, const struct secret *file_key, struct open *o,
                             struct buf *out)
{
    Sp__Signature signature = SP__SIGNATURE__INIT;
    Sp__Signature *signatures = &signature;
    Sp__Core core = SP__CORE__INIT;
    uint8_t sig[ED25519_SIG];
    struct buf payload;
    struct buf pae;
    enum err e;

    buf_init(&payload, LIMIT_ENVELOPE);
    buf_init(&pae, LIMIT_ENVELOPE);
    o->core.header = sha256(pb_span(o->envelope.header));
    o->core.recipients = sha256(pb_span(o->envelope.recipients));
    o->core.wraps = sha256(pb_span(o->envelope.wraps));
    o->core.parts = sha256(pb_span(o->envelope.parts));
    e = envelope_commitment(file_key, &o->core, &o->core.commit);
    core.header_digest = pb_bytes(digest_span(&o->core.header));
    core.recipients_digest = pb_bytes(digest_span(&o->core.recipients));
    core.wraps_digest = pb_bytes(digest_span(&o->core.wraps));
    core.parts_digest = pb_bytes(digest_span(&o->core.parts));
    core.commit = pb_bytes(digest_span(&o->core.commit));
    pb_encode(&core, &payload);
    dsse_pae(o->envelope.payload_type, buf_span(&payload), &pae);
    if (e == ERR_OK)
        e = ed25519_sign(f->sign, buf_span(&pae), sig);
    signature.sig = pb_bytes(span_of(sig, sizeof sig));
    signature.keyid = o->envelope.signatures[0]->keyid;
    o->envelope.payload = pb_bytes(buf_span(&payload));
    o->envelope.signatures = &signatures;
    buf_reset(out);
    pb_encode(&o->envelope, out);
    buf_fini(&payload);
    buf_fini(&pae);
    return e != ERR_OK ? e : out->err;
}

/* The last recipient gets another file key than the one that the envelope commits to. */
static enum err another_key(const struct forge *f, const struct seal_recipient *r, struct open *o)
{
    Sp__Wraps wraps = *(const Sp__Wraps *)pb_view(o->wraps_pb);
    Sp__Wrap *wrap = wraps.items[wraps.n_items - 1];
    struct hpke_sender *sender = NULL;
    struct secret *other = NULL;
    uint8_t info[WRAP_INFO];
    uint8_t ct[WRAP_CT];
    struct digest aad;
    uint64_t seq = 0;
    enum err e = secret_random(f->env, FILE_KEY, &other);

    o->core.header = sha256(pb_span(o->envelope.header));
    o->core.recipients = sha256(pb_span(o->envelope.recipients));
    aad = envelope_wrap_aad(&o->core);
    envelope_wrap_info(1, &r->key_id, info);
    if (e == ERR_OK)
        e = hpke_sender_new(f->env, r->public_key, span_of(info, sizeof info), 1, &sender);
    if (e == ERR_OK)
        e = hpke_seal(sender, digest_span(&aad), secret_bytes(other), ct, &seq);
    if (e == ERR_OK) {
        wrap->enc = pb_bytes(span_of(hpke_sender_enc(sender), HPKE_ENC));
        wrap->ct = pb_bytes(span_of(ct, sizeof ct));
        wrap->seq = (uint32_t)seq;
        pb_encode(&wraps, &o->wraps_bytes);
        o->envelope.wraps = pb_bytes(buf_span(&o->wraps_bytes));
        /* What the message points to ends here. */
        wrap->enc = pb_bytes(span_of(NULL, 0));
        wrap->ct = pb_bytes(span_of(NULL, 0));
    }
    hpke_sender_free(sender);
    secret_free(other);
    return e;
}

/* Faults that sealing refuses: the fields are changed and signed again. */
static enum err resign(const struct forge *f, const char *fault, const struct secret *file_key,
                       const struct seal_recipient *last, struct buf *out)
{
    struct open o = {0};
    enum err e = lay_open(buf_span(out), &o);

    if (e != ERR_OK)
        goto out;
    if (is(fault, "too-large"))
        o.header.expires_ms = o.header.created_ms + LIMIT_EXPIRY_MS + 1;
    if (is(fault, "version"))
        o.header.suite = 2;
    if (is(fault, "wrong-usage"))
        o.envelope.payload_type = pb_string(DSSE_TYPE_STATEMENT);
    if (is(fault, "bad-commitment"))
        e = another_key(f, last, &o);
    pb_encode(&o.header, &o.header_bytes);
    o.envelope.header = pb_bytes(buf_span(&o.header_bytes));
    if (e == ERR_OK)
        e = put_together(f, file_key, &o, out);
out:
    lay_away(&o);
    return e;
}

static void flip(struct buf *b, const void *what, size_t len)
{
    for (size_t i = 0; i + len <= b->len; i++) {
        if (memcmp(b->data + i, what, len) == 0) {
            b->data[i] ^= 1;
            return;
        }
    }
}

/* Faults in the bytes that are sent, without the keys. */
static enum err alter(const char *fault, struct forged *m)
{
    static const uint8_t unknown[] = {0xA0, 0x06, 0x01}; /* field 100, a number */
    struct open o = {0};
    enum err e = lay_open(buf_span(&m->envelope), &o);

    if (e == ERR_OK && is(fault, "bad-signature"))
        flip(&m->envelope, o.envelope.signatures[0]->sig.data, ED25519_SIG);
    if (e == ERR_OK && is(fault, "bad-digest"))
        flip(&m->envelope, o.header.id.data, sizeof m->id);
    if (e == ERR_OK && is(fault, "altered-part"))
        m->body.data[m->body.len / 2] ^= 1;
    if (is(fault, "unknown-field"))
        buf_put(&m->envelope, span_of(unknown, sizeof unknown));
    if (is(fault, "non-canonical"))
        buf_put(&m->envelope, span_of("\x9A\x01\x00", 3)); /* field 19 again, and empty */
    if (is(fault, "malformed"))
        m->envelope.len -= 7;
    if (is(fault, "big-envelope") && buf_extend(&m->envelope, LIMIT_ENVELOPE + 1) == NULL)
        e = ERR_NO_MEMORY;
    lay_away(&o);
    return e;
}

static bool is_known(const char *fault)
{
    static const char *const faults[] = {
        "good",           "clock",       "expired",      "level-ceiling", "handling-not-allowed",
        "unknown-agency", "too-large",   "version",      "wrong-usage",   "bad-commitment",
        "bad-signature",  "bad-digest",  "altered-part", "unknown-field", "non-canonical",
        "malformed",      "big-envelope"};

    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        if (is(fault, faults[i]))
            return true;
    }
    return false;
}

enum err forge_make(const struct forge *f, const char *fault, const struct uuid *id,
                    const char *const *to, size_t n_to, struct forged *ret)
{
    static const char *const resigned[] = {"too-large", "version", "wrong-usage", "bad-commitment"};
    struct seal_recipient recipients[RECIPIENTS_MAX];
    uint64_t now = env_now_ms(f->env);
    const char *code = "H0";
    struct envelope_part part = {0};
    struct seal_input in = {
        .recipients = recipients, .n_recipients = n_to, .parts = &part, .n_parts = 1};
    struct secret *file_key = NULL;
    enum err e = is_known(fault) && n_to > 0 && n_to <= RECIPIENTS_MAX ? ERR_OK : ERR_USAGE;

    *ret = (struct forged){0};
    buf_init(&ret->envelope, 4 * LIMIT_ENVELOPE);
    buf_init(&ret->body, 2 * LIMIT_BODY);
    in.header =
        (struct envelope_header){.suite = ENVELOPE_SUITE_1,
                                 .created_ms = now,
                                 .sender = f->agency,
                                 .agent = "hostile",
                                 .key_id = f->key_id,
                                 .handling = &code,
                                 .n_handling = 1,
                                 .level = SP__LEVEL__LEVEL_BPL,
                                 .urgency = SP__URGENCY__URGENCY_NORMAL,
                                 .directory_version = trust_versions(f->trust).directory_version};
    header_fault(fault, now, &in.header, &code, &ret->delay_ms);
    env_random(f->env, in.header.epoch, sizeof in.header.epoch);
    in.header.id = uuid_is_nil(id) ? uuid_v7(f->env, in.header.created_ms) : *id;
    if (!uuid_is_nil(id))
        in.header.created_ms = uuid_time_ms(id);
    ret->id = in.header.id;
    if (e == ERR_OK)
        e = secret_random(f->env, FILE_KEY, &file_key);
    in.file_key = file_key;
    if (e == ERR_OK)
        e = seal_body(f, file_key, &ret->body, &part);
    if (e == ERR_OK)
        e = recipients_of(f, fault, to, n_to, recipients);
    if (e == ERR_OK)
        e = seal_signed(f, &in, &ret->envelope);
    for (size_t i = 0; e == ERR_OK && i < sizeof resigned / sizeof resigned[0]; i++) {
        if (is(fault, resigned[i]))
            e = resign(f, fault, file_key, &recipients[n_to - 1], &ret->envelope);
    }
    if (e == ERR_OK)
        e = alter(fault, ret);
    secret_free(file_key);
    if (e != ERR_OK)
        forged_fini(ret);
    return e;
}

void forged_fini(struct forged *f)
{
    buf_fini(&f->envelope);
    buf_fini(&f->body);
    *f = (struct forged){0};
}
