#include "audit/checkpoint.h"
#include "common/merkle.h"
#include "proto/part.h"
#include "proto/seal.h"
#include "tests/unit/broker/stage_internal.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define DAY_MS ((uint64_t)86400000)

static size_t count(const char *const *list, size_t max)
{
    size_t n = 0;

    while (n < max && list[n] != NULL)
        n++;
    return n;
}

static struct envelope_header header_of(struct stage *s, const struct stage_mail *mail,
                                        const char *const *handling)
{
    struct federation_agency *from = federation_agency(s->federation, mail->sender);
    uint64_t created = (uint64_t)((int64_t)s->env.now_ms + mail->created_ms);
    size_t n = count(handling, 3);
    struct envelope_header h = {
        .suite = ENVELOPE_SUITE_1,
        .created_ms = created,
        .expires_ms = created + (mail->lives_ms != 0 ? mail->lives_ms : LIMIT_EXPIRY_MS),
        .sender = mail->sender,
        .agent = "agent-1",
        .epoch = {1},
        .key_id = from->sign_id,
        .handling = handling,
        .n_handling = n,
        .level = mail->level != 0 ? mail->level : SP__LEVEL__LEVEL_BPL,
        .urgency = mail->urgency != 0 ? mail->urgency : SP__URGENCY__URGENCY_NORMAL,
        .directory_version = s->federation->directory_version,
    };

    h.id = uuid_v7(&s->env.env, created);
    if (mail->same_id_as != 0) {
        const struct envelope_header *same =
            envelope_header(s->messages[mail->same_id_as].envelope);

        h.id = same->id;
        h.created_ms = same->created_ms;
        h.expires_ms = same->expires_ms;
    }
    return h;
}

static void fill_recipients(struct stage *s, const struct stage_mail *mail,
                            struct seal_recipient *to, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct federation_agency *agency = federation_agency(s->federation, mail->to[i]);
        struct trust_encryption key = {0};

        to[i] = (struct seal_recipient){.agency = mail->to[i], .seq = 1};
        /* Whom the directory does not know, the sender encrypts to some key. */
        if (agency == NULL)
            agency = &s->federation->agencies[0];
        cr_assert_eq(
            trust_encryption_key(s->federation->trust, agency->name, 1, s->env.now_ms, &key),
            ERR_OK);
        to[i].key_id = key.key_id;
        memcpy(to[i].public_key, key.public_key, sizeof to[i].public_key);
    }
}

/* The second part: made, or only named. */
static void make_file(struct stage *s, const struct stage_mail *mail, struct stage_message *m,
                      struct envelope_part *part)
{
    struct buf plain;

    if (mail->file_bytes == 0) {
        part->sha256 = sha256(buf_span(&m->body));
        part->sha256.b[0] ^= 0xff;
        part->ct_len = part_sealed_len(1000000);
        return;
    }
    buf_init(&plain, mail->file_bytes);
    buf_init(&m->file, 2 * mail->file_bytes);
    memset(buf_extend(&plain, mail->file_bytes), 'x', mail->file_bytes);
    cr_assert_eq(part_seal(&s->env.env, m->file_key, buf_span(&plain), &m->file, &part->sha256),
                 ERR_OK);
    part->ct_len = m->file.len;
    buf_fini(&plain);
}

int stage_mail(struct stage *s, const struct stage_mail *mail)
{
    static const char *const plain[] = {"H0", NULL, NULL};
    const char *const *handling = mail->handling[0] != NULL ? mail->handling : plain;
    struct stage_message *m = &s->messages[++s->n_messages];
    struct seal_recipient to[STAGE_TO];
    struct envelope_part parts[2] = {{.kind = SP__PART_KIND__PART_KIND_BODY},
                                     {.kind = SP__PART_KIND__PART_KIND_ATTACHMENT}};
    struct seal_input in = {
        .recipients = to, .parts = parts, .n_parts = mail->file || mail->file_bytes > 0 ? 2 : 1};
    struct wrap_pool *pool;
    struct sealed *sealed;
    struct buf *out = &m->bytes;
    struct buf source;
    struct buf body;

    cr_assert_leq(s->n_messages, STAGE_MESSAGES);
    in.header = header_of(s, mail, handling);
    buf_init(&source, LIMIT_SOURCE);
    if (mail->source != 0) {
        const struct envelope *e = s->messages[mail->source].envelope;
        const struct envelope_header *h = envelope_header(e);

        cr_assert_eq(envelope_make_source(e, h->handling, h->n_handling, &source), ERR_OK);
        in.header.source = buf_span(&source);
    }
    in.n_recipients = count(mail->to, STAGE_TO);
    fill_recipients(s, mail, to, in.n_recipients);
    cr_assert_eq(secret_random(&s->env.env, FILE_KEY, &m->file_key), ERR_OK);
    in.file_key = m->file_key;
    buf_init(&body, LIMIT_BODY);
    buf_init(&m->body, LIMIT_BODY);
    buf_init(&m->bytes, LIMIT_ENVELOPE);
    body_pad(span_str("content"), &body);
    cr_assert_eq(part_seal(&s->env.env, m->file_key, buf_span(&body), &m->body, &parts[0].sha256),
                 ERR_OK);
    parts[0].ct_len = m->body.len;
    make_file(s, mail, m, &parts[1]);
    cr_assert_eq(wrap_pool_new(&s->env.env, &pool), ERR_OK);
    cr_assert_eq(seal(pool, &in, &sealed), ERR_OK);
    cr_assert_eq(seal_sign(&sealed, 1, federation_agency(s->federation, mail->sender)->sign, &out),
                 ERR_OK);
    cr_assert_eq(envelope_decode(buf_span(&m->bytes), &m->envelope), ERR_OK);
    sealed_free(sealed);
    wrap_pool_free(pool);
    buf_fini(&body);
    buf_fini(&source);
    return s->n_messages;
}

static const struct secret *log_key(struct stage *s, const char *log)
{
    struct federation_broker *b = federation_broker(s->federation, log);

    return b != NULL ? b->log : federation_agency(s->federation, log)->log;
}

/* A log of one leaf. */
static void encode_receipt(struct stage *s, const char *log, struct span leaf, struct buf *out)
{
    Sp__Receipt receipt = SP__RECEIPT__INIT;
    struct digest root = merkle_leaf(leaf);
    char origin[128];
    struct buf text;
    struct buf note;

    snprintf(origin, sizeof origin, "%s/%s", FEDERATION_NAME, log);
    buf_init(&text, LIMIT_CHECKPOINT);
    buf_init(&note, LIMIT_CHECKPOINT);
    checkpoint_format(origin, 1, &root, &text);
    cr_assert_eq(note_sign(buf_span(&text), origin, log_key(s, log), &note), ERR_OK);
    receipt.leaf = pb_bytes(leaf);
    receipt.checkpoint = pb_bytes(buf_span(&note));
    pb_encode(&receipt, out);
    cr_assert_eq(out->err, ERR_OK);
    buf_fini(&text);
    buf_fini(&note);
}

const struct receipt *stage_receipt(struct stage *s, const struct stage_statement *statement)
{
    const struct envelope *e = s->messages[statement->m].envelope;
    const struct envelope_header *h = envelope_header(e);
    Sp__Leaf leaf = SP__LEAF__INIT;
    char *recipients[STAGE_TO];
    struct buf bytes;
    struct buf out;

    leaf.event = statement->event;
    leaf.at_ms = s->env.now_ms;
    leaf.log = pb_string(statement->log);
    leaf.id = pb_bytes(uuid_bytes(&h->id));
    leaf.envelope = pb_bytes(digest_span(envelope_digest(e)));
    leaf.sender = pb_string(h->sender);
    leaf.recipients = recipients;
    leaf.n_recipients = count(statement->recipients, STAGE_TO);
    for (size_t i = 0; i < leaf.n_recipients; i++)
        recipients[i] = pb_string(statement->recipients[i]);
    leaf.from = pb_string(statement->from != NULL ? statement->from : "");
    leaf.hop = statement->hop;
    leaf.code = pb_string(statement->code == ERR_OK ? "" : err_code(statement->code));
    buf_init(&bytes, LIMIT_LEAF);
    buf_init(&out, LIMIT_RECEIPT);
    pb_encode(&leaf, &bytes);
    encode_receipt(s, statement->log, buf_span(&bytes), &out);
    cr_assert_lt(s->n_receipts, STAGE_RECEIPTS);
    cr_assert_eq(receipt_decode(buf_span(&out), &s->receipts[s->n_receipts]), ERR_OK);
    buf_fini(&bytes);
    buf_fini(&out);
    return s->receipts[s->n_receipts++];
}
