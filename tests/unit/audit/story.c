#include "tests/unit/audit/story.h"

#include "audit/receipt.h"
#include "proto/part.h"
#include "proto/seal.h"

static void seal_message(struct story *s)
{
    struct federation_agency *ee = federation_agency(s->federation, "EE.POLICE");
    const char *handling[] = {"H0"};
    struct seal_recipient to = {.agency = "LV.POLICE", .seq = 1};
    struct envelope_part part = {.kind = SP__PART_KIND__PART_KIND_BODY};
    struct seal_input in = {.recipients = &to, .n_recipients = 1, .parts = &part, .n_parts = 1};
    struct trust_encryption key;
    struct wrap_pool *pool;
    struct sealed *sealed;
    struct buf plain, ct, *out = &s->envelope;

    cr_assert_eq(trust_encryption_key(s->federation->trust, "LV.POLICE", 1, s->env.now_ms, &key),
                 ERR_OK);
    to.key_id = key.key_id;
    memcpy(to.public_key, key.public_key, sizeof(to.public_key));
    cr_assert_eq(secret_random(&s->env.env, FILE_KEY, &s->file_key), ERR_OK);
    in.file_key = s->file_key;
    s->id = uuid_v7(&s->env.env, s->env.now_ms);
    in.header = (struct envelope_header){.suite = ENVELOPE_SUITE_1,
                                         .id = s->id,
                                         .created_ms = s->env.now_ms,
                                         .expires_ms = s->env.now_ms + 86400000,
                                         .sender = "EE.POLICE",
                                         .agent = "agent-1",
                                         .epoch = {1},
                                         .key_id = ee->sign_id,
                                         .handling = handling,
                                         .n_handling = 1,
                                         .level = SP__LEVEL__LEVEL_BPL,
                                         .urgency = SP__URGENCY__URGENCY_NORMAL,
                                         .directory_version = s->federation->directory_version};
    buf_init(&plain, LIMIT_BODY);
    buf_init(&ct, LIMIT_BODY);
    body_pad(span_str("content"), &plain);
    cr_assert_eq(part_seal(&s->env.env, s->file_key, buf_span(&plain), &ct, &part.sha256), ERR_OK);
    part.ct_len = ct.len;
    cr_assert_eq(wrap_pool_new(&s->env.env, &pool), ERR_OK);
    cr_assert_eq(seal(pool, &in, &sealed), ERR_OK);
    s->digest = *sealed_digest(sealed);
    cr_assert_eq(seal_sign(&sealed, 1, ee->sign, &out), ERR_OK);
    sealed_free(sealed);
    wrap_pool_free(pool);
    buf_fini(&plain);
    buf_fini(&ct);
}

/* One leaf and its receipt. Gives the leaf's hash, for those that rest on it. */
static struct digest happen(struct story *s, int log, Sp__AuditEvent event, const char *from,
                            const char *to, uint32_t hop, const struct digest *cause)
{
    struct fixture *f = &s->logs[log];
    struct buf *b = &s->receipts[s->n];
    struct fixture_leaf l;
    struct store_txn *txn;
    struct receipt *r;
    struct digest hash;
    uint64_t index;

    test_env_advance(&s->env, 250);
    f->clock.now_ms = s->env.now_ms;
    fixture_leaf(&l, 0, event);
    l.leaf.id = pb_bytes(uuid_bytes(&s->id));
    l.leaf.envelope = pb_bytes(digest_span(&s->digest));
    l.leaf.created_ms = uuid_time_ms(&s->id);
    l.leaf.expires_ms = l.leaf.created_ms + 86400000;
    l.leaf.from = pb_string(from);
    l.leaf.to = pb_string(to);
    l.leaf.hop = hop;
    if (event == SP__AUDIT_EVENT__AUDIT_EVENT_OPENED)
        l.leaf.officer = pb_string("inspector-7");
    if (cause != NULL)
        l.leaf.cause = pb_bytes(digest_span(cause));
    cr_assert_eq(store_write_begin(f->store, &txn), ERR_OK);
    audit_log_append(f->log, txn, &l.leaf, (struct span){0}, &index);
    audit_log_flush(f->log, txn);
    cr_assert_eq(store_commit(txn), ERR_OK);
    audit_log_committed(f->log);
    cr_assert_eq(audit_log_checkpoint(f->log), ERR_OK);

    buf_init(b, LIMIT_RECEIPT);
    cr_assert_eq(store_read_begin(f->store, &txn), ERR_OK);
    cr_assert_eq(audit_log_receipt(f->log, txn, index, b), ERR_OK);
    store_read_end(txn);
    cr_assert_eq(receipt_decode(buf_span(b), &r), ERR_OK);
    hash = *receipt_leaf_hash(r);
    receipt_free(r);
    s->n++;
    return hash;
}

static void tell(struct story *s)
{
    struct digest home, relay, delivered;

    (void)happen(s, STORY_SENDER, SP__AUDIT_EVENT__AUDIT_EVENT_SUBMITTED, "", "", 0, NULL);
    home = happen(s, STORY_HOME, SP__AUDIT_EVENT__AUDIT_EVENT_ACCEPTED, "EE.POLICE", "", 0, NULL);
    relay = happen(s, STORY_RELAY, SP__AUDIT_EVENT__AUDIT_EVENT_ACCEPTED, "tallinn", "", 1, &home);
    (void)happen(s, STORY_HOME, SP__AUDIT_EVENT__AUDIT_EVENT_RELAYED, "", "riga", 0, &relay);
    delivered =
        happen(s, STORY_RECIPIENT, SP__AUDIT_EVENT__AUDIT_EVENT_DELIVERED, "riga", "", 2, &relay);
    (void)happen(s, STORY_RELAY, SP__AUDIT_EVENT__AUDIT_EVENT_DELIVERED, "LV.POLICE", "", 1,
                 &delivered);
    (void)happen(s, STORY_HOME, SP__AUDIT_EVENT__AUDIT_EVENT_DELIVERED, "riga", "", 0, &delivered);
    (void)happen(s, STORY_SENDER, SP__AUDIT_EVENT__AUDIT_EVENT_DELIVERED, "tallinn", "", 0,
                 &delivered);
    (void)happen(s, STORY_RECIPIENT, SP__AUDIT_EVENT__AUDIT_EVENT_OPENED, "", "", 2, NULL);
}

void story_init(struct story *s, uint64_t now_ms)
{
    static const char *const names[STORY_LOGS] = {"EE.POLICE", "tallinn", "riga", "LV.POLICE"};

    *s = (struct story){0};
    cr_assert_eq(secret_process_init(true), ERR_OK);
    test_env_init(&s->env, 1);
    s->env.now_ms = now_ms;
    cr_assert_eq(federation_new(&s->env.env, 3, &s->federation), ERR_OK);
    (void)snprintf(s->dir, sizeof(s->dir), "/tmp/sealpost-federation-XXXXXX");
    cr_assert_not_null(mkdtemp(s->dir));
    cr_assert_eq(federation_write(s->federation, s->dir), ERR_OK);
    buf_init(&s->envelope, LIMIT_ENVELOPE);
    seal_message(s);
    for (int i = 0; i < STORY_LOGS; i++) {
        struct federation_broker *broker = federation_broker(s->federation, names[i]);
        const struct secret *key =
            broker != NULL ? broker->log : federation_agency(s->federation, names[i])->log;

        fixture_prepare(&s->logs[i], names[i], 1);
        fixture_use_key(&s->logs[i], key);
        s->logs[i].clock.now_ms = now_ms - 60000;
        fixture_open(&s->logs[i]);
        fixture_commit(&s->logs[i], 1000, 17 + (uint32_t)i);
    }
    tell(s);
}

void story_stop(struct story *s)
{
    for (int i = 0; i < STORY_LOGS; i++) {
        fixture_save(&s->logs[i]);
        fixture_close(&s->logs[i]);
    }
}

void story_fini(struct story *s)
{
    for (int i = 0; i < STORY_LOGS; i++)
        fixture_fini(&s->logs[i]);
    for (size_t i = 0; i < s->n; i++)
        buf_fini(&s->receipts[i]);
    buf_fini(&s->envelope);
    secret_free(s->file_key);
    federation_free(s->federation);
    (void)nftw(s->dir, fixture_remove, 16, FTW_DEPTH | FTW_PHYS);
}

void story_evidence(struct story *s, bool disclose, struct buf *out)
{
    struct federation *f = s->federation;
    Sp__Evidence builder = SP__EVIDENCE__INIT;
    ProtobufCBinaryData receipts[STORY_RECEIPTS], documents[2];

    for (size_t i = 0; i < s->n; i++)
        receipts[i] = pb_bytes(buf_span(&s->receipts[i]));
    documents[0] = pb_bytes(buf_span(&federation_agency(f, "EE.POLICE")->documents));
    documents[1] = pb_bytes(buf_span(&federation_agency(f, "LV.POLICE")->documents));
    builder.envelope = pb_bytes(buf_span(&s->envelope));
    builder.n_receipts = s->n;
    builder.receipts = receipts;
    builder.n_documents = 2;
    builder.documents = documents;
    builder.root = pb_bytes(buf_span(&f->root));
    builder.directory = pb_bytes(buf_span(&f->directory));
    if (disclose)
        builder.file_key = pb_bytes(secret_bytes(s->file_key));
    pb_encode(&builder, out);
    cr_assert_eq(out->err, ERR_OK);
}
