#include "audit/checkpoint.h"
#include "common/merkle.h"
#include "proto/part.h"
#include "proto/pb.h"
#include "proto/seal.h"
#include "tests/unit/agent/desk_internal.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static size_t count(const char *const *list, size_t max)
{
    size_t n = 0;

    while (n < max && list[n] != NULL)
        n++;
    return n;
}

/* File key, body, and a part that lies elsewhere. */
static void make_parts(struct desk *d, struct desk_message *m)
{
    struct buf body;

    cr_assert_eq(secret_random(&d->env.env, FILE_KEY, &m->file_key), ERR_OK);
    buf_init(&body, LIMIT_BODY);
    buf_init(&m->body, LIMIT_BODY);
    body_pad(span_str("content"), &body);
    m->parts[0].kind = SP__PART_KIND__PART_KIND_BODY;
    cr_assert_eq(
        part_seal(&d->env.env, m->file_key, buf_span(&body), &m->body, &m->parts[0].sha256),
        ERR_OK);
    m->parts[0].ct_len = m->body.len;
    m->parts[1].kind = SP__PART_KIND__PART_KIND_ATTACHMENT;
    m->parts[1].sha256 = sha256(buf_span(&m->body));
    m->parts[1].sha256.b[0] ^= 0xff;
    m->parts[1].ct_len = part_sealed_len(1000000);
    m->inline_part = (Sp__InlinePart)SP__INLINE_PART__INIT;
    m->inline_part.data = pb_bytes(buf_span(&m->body));
    m->inline_parts[0] = &m->inline_part;
    buf_fini(&body);
}

static void make_draft(struct desk_message *m, const struct desk_mail *mail, int number)
{
    int content = mail->same_id_as != 0 && !mail->other ? mail->same_id_as : number;

    m->draft = (struct agent_draft){
        .token = (uint64_t)number,
        .id = m->id,
        .expires_ms =
            uuid_time_ms(&m->id) + (mail->lives_ms != 0 ? mail->lives_ms : LIMIT_EXPIRY_MS),
        .to = m->to,
        .n_to = count(m->to, DESK_TO),
        .handling = m->handling,
        .n_handling = count(m->handling, 3),
        .level = mail->level != 0 ? mail->level : SP__LEVEL__LEVEL_BPL,
        .urgency = mail->urgency != 0 ? mail->urgency : SP__URGENCY__URGENCY_NORMAL,
        .officer = "tamm",
        .file_key = m->file_key,
        .parts = m->parts,
        .n_parts = mail->file ? 2 : 1,
        .inline_parts = m->inline_parts,
        .n_inline_parts = 1,
        .content_digest = sha256(span_of(&content, sizeof content)),
        .sealed_key = span_str("sealed key"),
        .summary = span_str("summary"),
    };
}

static void fill_recipients(struct desk *d, const struct desk_mail *mail, struct seal_recipient *to,
                            size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct trust_encryption key = {0};

        to[i] =
            (struct seal_recipient){.agency = mail->to[i], .seq = mail->seq != 0 ? mail->seq : 1};
        if (mail->after != 0)
            to[i].prev_hash = *envelope_digest(d->messages[mail->after].envelope);
        cr_assert_eq(
            trust_encryption_key(d->federation->trust, mail->to[i], 1, d->env.now_ms, &key),
            ERR_OK);
        to[i].key_id = key.key_id;
        memcpy(to[i].public_key, key.public_key, sizeof to[i].public_key);
    }
}

/* What another agency's agent does. */
static void seal_foreign(struct desk *d, struct desk_message *m, const struct desk_mail *mail)
{
    struct federation_agency *from = federation_agency(d->federation, mail->sender);
    const struct agent_draft *draft = &m->draft;
    struct seal_recipient to[DESK_TO];
    struct seal_input in = {
        .header = {.suite = ENVELOPE_SUITE_1,
                   .id = m->id,
                   .created_ms = uuid_time_ms(&m->id),
                   .expires_ms = draft->expires_ms,
                   .sender = mail->sender,
                   .agent = "main",
                   .epoch = {mail->epoch},
                   .key_id = from->sign_id,
                   .handling = draft->handling,
                   .n_handling = draft->n_handling,
                   .level = draft->level,
                   .urgency = draft->urgency,
                   .directory_version = d->federation->directory_version},
        .recipients = to,
        .n_recipients = draft->n_to,
        .parts = draft->parts,
        .n_parts = draft->n_parts,
        .file_key = m->file_key,
    };
    struct buf *out = &m->bytes;
    struct wrap_pool *pool;
    struct sealed *sealed;

    fill_recipients(d, mail, to, draft->n_to);
    buf_init(&m->bytes, LIMIT_ENVELOPE);
    cr_assert_eq(wrap_pool_new(&d->env.env, &pool), ERR_OK);
    cr_assert_eq(seal(pool, &in, &sealed), ERR_OK);
    cr_assert_eq(seal_sign(&sealed, 1, from->sign, &out), ERR_OK);
    cr_assert_eq(envelope_decode(buf_span(&m->bytes), &m->envelope), ERR_OK);
    sealed_free(sealed);
    wrap_pool_free(pool);
}

int desk_mail(struct desk *d, const struct desk_mail *mail)
{
    struct desk_message *m = &d->messages[++d->n_messages];
    uint64_t created = (uint64_t)((int64_t)d->env.now_ms + mail->created_ms);

    cr_assert_leq(d->n_messages, DESK_MESSAGES);
    memcpy(m->to, mail->to, sizeof m->to);
    memcpy(m->handling, mail->handling, sizeof m->handling);
    if (m->handling[0] == NULL)
        m->handling[0] = "H0";
    m->id =
        mail->same_id_as != 0 ? d->messages[mail->same_id_as].id : uuid_v7(&d->env.env, created);
    make_parts(d, m);
    make_draft(m, mail, d->n_messages);
    if (mail->sender != NULL)
        seal_foreign(d, m, mail);
    return d->n_messages;
}

static const struct secret *log_key(struct desk *d, const char *log)
{
    struct federation_broker *b = federation_broker(d->federation, log);

    return b != NULL ? b->log : federation_agency(d->federation, log)->log;
}

/* A log of one leaf. */
static void encode_receipt(struct desk *d, const char *log, struct span leaf, struct buf *out)
{
    Sp__Receipt receipt = SP__RECEIPT__INIT;
    struct digest root = merkle_leaf(leaf);
    char origin[160];
    struct buf text;
    struct buf note;

    snprintf(origin, sizeof origin, "%s/%s", FEDERATION_NAME, log);
    buf_init(&text, LIMIT_CHECKPOINT);
    buf_init(&note, LIMIT_CHECKPOINT);
    checkpoint_format(origin, 1, &root, &text);
    cr_assert_eq(note_sign(buf_span(&text), origin, log_key(d, log), &note), ERR_OK);
    receipt.leaf = pb_bytes(leaf);
    receipt.checkpoint = pb_bytes(buf_span(&note));
    pb_encode(&receipt, out);
    cr_assert_eq(out->err, ERR_OK);
    buf_fini(&text);
    buf_fini(&note);
}

/* Without a list of recipients: all of the message. */
static size_t list_recipients(const struct desk_message *m, const struct desk_statement *statement,
                              char *out[DESK_TO])
{
    const char *const *list = statement->recipients[0] != NULL ? statement->recipients : m->to;
    size_t n = count(list, DESK_TO);

    for (size_t i = 0; i < n; i++)
        out[i] = pb_string(list[i]);
    return n;
}

const struct receipt *desk_receipt(struct desk *d, const struct desk_statement *statement)
{
    const struct desk_message *m = &d->messages[statement->m];
    Sp__Leaf leaf = SP__LEAF__INIT;
    char *recipients[DESK_TO];
    struct buf bytes;
    struct buf out;

    cr_assert_not_null(m->envelope, "m%d is not sealed", statement->m);
    leaf.event = statement->event;
    leaf.at_ms = d->env.now_ms;
    leaf.log = pb_string(statement->log);
    leaf.id = pb_bytes(uuid_bytes(&m->id));
    leaf.envelope = pb_bytes(digest_span(envelope_digest(m->envelope)));
    leaf.sender = pb_string(envelope_header(m->envelope)->sender);
    leaf.recipients = recipients;
    leaf.n_recipients = list_recipients(m, statement, recipients);
    leaf.from = pb_string(statement->from != NULL ? statement->from : "");
    leaf.hop = statement->hop;
    leaf.code = pb_string(statement->code == ERR_OK ? "" : err_code(statement->code));
    buf_init(&bytes, LIMIT_LEAF);
    buf_init(&out, LIMIT_RECEIPT);
    pb_encode(&leaf, &bytes);
    encode_receipt(d, statement->log, buf_span(&bytes), &out);
    cr_assert_lt(d->n_receipts, DESK_RECEIPTS);
    cr_assert_eq(receipt_decode(buf_span(&out), &d->receipts[d->n_receipts]), ERR_OK);
    buf_fini(&bytes);
    buf_fini(&out);
    return d->receipts[d->n_receipts++];
}
