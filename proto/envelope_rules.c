#include "proto/envelope_rules.h"

#include "common/hpke.h"
#include "common/limits.h"
#include "common/merkle.h"
#include "common/text.h"
#include "proto/envelope_core.h"
#include "proto/part.h"
#include "proto/pb.h"

#include <assert.h>
#include <string.h>

static enum err take(struct span s, void *out, size_t len)
{
    if (s.len != len)
        return ERR_MALFORMED;
    memcpy(out, s.data, len);
    return ERR_OK;
}

#define DIGITS "0123456789"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define LOWER "abcdefghijklmnopqrstuvwxyz"

static bool is_agency(const char *text)
{
    return text_is_agency(span_str(text));
}

/* [a-z0-9-]{1,32} */
static bool is_agent(const char *text)
{
    size_t len = strspn(text, LOWER DIGITS "-");

    return len > 0 && len < LIMIT_AGENT && text[len] == '\0';
}

/* [A-Z][A-Z0-9-]{0,14} */
static bool is_code(const char *text)
{
    size_t len = strspn(text, UPPER DIGITS "-");

    return text[0] >= 'A' && text[0] <= 'Z' && len < LIMIT_CODE && text[len] == '\0';
}

enum err rules_core(const Sp__Core *core, struct envelope_core *ret)
{
    const struct {
        ProtobufCBinaryData from;
        struct digest *to;
    } fields[] = {
        {core->header_digest, &ret->header}, {core->recipients_digest, &ret->recipients},
        {core->wraps_digest, &ret->wraps},   {core->parts_digest, &ret->parts},
        {core->commit, &ret->commit},
    };

    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (take(pb_span(fields[i].from), fields[i].to->b, sizeof(fields[i].to->b)) != ERR_OK)
            return ERR_MALFORMED;
    }
    return ERR_OK;
}

enum err rules_handling(char *const *codes, size_t n)
{
    if (n > LIMIT_HANDLING)
        return ERR_TOO_LARGE;
    if (n == 0)
        return ERR_MALFORMED;
    for (size_t i = 0; i < n; i++) {
        if (!is_code(codes[i]) || (i > 0 && strcmp(codes[i - 1], codes[i]) >= 0))
            return ERR_MALFORMED;
    }
    return ERR_OK;
}

static enum err rules_sender(const Sp__Sender *sender, struct envelope_header *ret)
{
    if (sender == NULL || !is_agency(sender->agency) || !is_agent(sender->agent))
        return ERR_MALFORMED;
    ret->sender = sender->agency;
    ret->agent = sender->agent;
    if (take(pb_span(sender->epoch), ret->epoch, sizeof(ret->epoch)) != ERR_OK)
        return ERR_MALFORMED;
    return take(pb_span(sender->key_id), ret->key_id.b, sizeof(ret->key_id.b));
}

static enum err rules_times(const Sp__Header *h, struct envelope_header *ret)
{
    if (take(pb_span(h->id), ret->id.b, sizeof(ret->id.b)) != ERR_OK || !uuid_is_v7(&ret->id) ||
        uuid_time_ms(&ret->id) != h->created_ms)
        return ERR_MALFORMED;
    if (h->expires_ms <= h->created_ms)
        return ERR_MALFORMED;
    if (h->expires_ms - h->created_ms > LIMIT_EXPIRY_MS)
        return ERR_TOO_LARGE;
    ret->created_ms = h->created_ms;
    ret->expires_ms = h->expires_ms;
    return ERR_OK;
}

/* The fields that may be absent. */
static enum err rules_links(const Sp__Header *h, struct envelope_header *ret)
{
    ret->has_supersedes = h->supersedes.len > 0;
    if (ret->has_supersedes) {
        if (take(pb_span(h->supersedes), ret->supersedes.b, sizeof(ret->supersedes.b)) != ERR_OK ||
            !uuid_is_v7(&ret->supersedes) || uuid_equal(&ret->supersedes, &ret->id))
            return ERR_MALFORMED;
    }
    ret->source = pb_span(h->source);
    if (ret->source.len > LIMIT_SOURCE)
        return ERR_TOO_LARGE;
    ret->release = pb_span(h->release);
    if (ret->release.len != 0 && ret->release.len != sizeof(struct digest))
        return ERR_MALFORMED;
    return ERR_OK;
}

enum err rules_header(const Sp__Header *h, struct envelope_header *ret)
{
    struct envelope_header out = {0};
    enum err e;

    if (h->version != 0 || h->suite != ENVELOPE_SUITE_1)
        return ERR_VERSION;
    out.suite = h->suite;
    e = rules_times(h, &out);
    if (e != ERR_OK)
        return e;
    e = rules_sender(h->sender, &out);
    if (e != ERR_OK)
        return e;
    e = rules_handling(h->handling, h->n_handling);
    if (e != ERR_OK)
        return e;
    out.handling = (const char *const *)h->handling;
    out.n_handling = h->n_handling;
    if (h->level < SP__LEVEL__LEVEL_PUBLIC || h->level > SP__LEVEL__LEVEL_SECRET ||
        h->urgency < SP__URGENCY__URGENCY_NORMAL ||
        h->urgency > SP__URGENCY__URGENCY_URGENT_DIRECT || h->directory_version == 0)
        return ERR_MALFORMED;
    out.level = h->level;
    out.urgency = h->urgency;
    out.directory_version = h->directory_version;
    e = rules_links(h, &out);
    if (e != ERR_OK)
        return e;
    *ret = out;
    return ERR_OK;
}

enum err rules_recipients(const Sp__Recipients *recipients, const char *sender,
                          struct envelope_recipient *ret)
{
    static const struct digest none;

    assert(recipients->n_items <= LIMIT_RECIPIENTS);
    if (recipients->n_items == 0)
        return ERR_MALFORMED;
    for (size_t i = 0; i < recipients->n_items; i++) {
        const Sp__Recipient *r = recipients->items[i];

        if (!is_agency(r->agency) || strcmp(r->agency, sender) == 0)
            return ERR_MALFORMED;
        if (i > 0 && strcmp(ret[i - 1].agency, r->agency) >= 0)
            return ERR_MALFORMED;
        if (r->seq == 0 ||
            take(pb_span(r->prev_hash), ret[i].prev_hash.b, sizeof(ret[i].prev_hash.b)) != ERR_OK)
            return ERR_MALFORMED;
        if (r->seq == 1 && !digest_equal(&ret[i].prev_hash, &none))
            return ERR_MALFORMED;
        ret[i].agency = r->agency;
        ret[i].seq = r->seq;
    }
    return ERR_OK;
}

enum err rules_wraps(const Sp__Wraps *wraps, struct envelope_recipient *recipients, size_t n)
{
    if (wraps->n_items != n)
        return ERR_MALFORMED;
    for (size_t i = 0; i < n; i++) {
        const Sp__Wrap *w = wraps->items[i];
        struct envelope_recipient *r = &recipients[i];

        if (strcmp(w->agency, r->agency) != 0 ||
            take(pb_span(w->key_id), r->key_id.b, sizeof(r->key_id.b)) != ERR_OK)
            return ERR_MALFORMED;
        if (w->enc.len != HPKE_ENC || w->ct.len != WRAP_CT)
            return ERR_MALFORMED;
        if (w->seq >= LIMIT_WRAP_SEQ)
            return ERR_TOO_LARGE;
        r->enc = pb_span(w->enc);
        r->wrap_seq = w->seq;
        r->ct = pb_span(w->ct);
    }
    return ERR_OK;
}

enum err rules_parts(const Sp__Parts *parts, struct envelope_part *ret)
{
    assert(parts->n_items <= LIMIT_PARTS);
    if (parts->n_items == 0)
        return ERR_MALFORMED;
    for (size_t i = 0; i < parts->n_items; i++) {
        const Sp__Part *p = parts->items[i];
        Sp__PartKind kind =
            i == 0 ? SP__PART_KIND__PART_KIND_BODY : SP__PART_KIND__PART_KIND_ATTACHMENT;
        uint64_t plain;

        if (p->index != i || p->kind != kind || part_plain_len(p->ct_len, &plain) != ERR_OK ||
            take(pb_span(p->sha256), ret[i].sha256.b, sizeof(ret[i].sha256.b)) != ERR_OK)
            return ERR_MALFORMED;
        /* A recipient opens the body in memory, so it has its own limit. */
        if (plain > (i == 0 ? body_padded_len(LIMIT_BODY) : LIMIT_PART))
            return ERR_TOO_LARGE;
        if (i == 0 && !body_is_padded_len(plain))
            return ERR_MALFORMED;
        ret[i].kind = p->kind;
        ret[i].ct_len = p->ct_len;
    }
    return ERR_OK;
}

static enum err rules_batch(const Sp__Batch *b)
{
    if (b->size > LIMIT_BATCH)
        return ERR_TOO_LARGE;
    if (b->size < 2 || b->index >= b->size || b->n_path != merkle_path_len(b->index, b->size))
        return ERR_MALFORMED;
    for (size_t i = 0; i < b->n_path; i++) {
        if (b->path[i].len != sizeof(struct digest))
            return ERR_MALFORMED;
    }
    return ERR_OK;
}

enum err rules_signature(const Sp__Signature *signature, const struct key_id *key_id)
{
    char hex[2 * sizeof(key_id->b) + 1];

    text_hex(span_of(key_id->b, sizeof(key_id->b)), hex);
    if (signature->sig.len != ED25519_SIG || strcmp(signature->keyid, hex) != 0)
        return ERR_MALFORMED;
    return signature->batch == NULL ? ERR_OK : rules_batch(signature->batch);
}
