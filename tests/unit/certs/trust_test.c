#include "certs/trust.h"

#include "certs/documents.h"
#include "certs/issue.h"
#include "certs/x509.h"
#include "common/limits.h"
#include "proto/pb.h"
#include "tests/lib/federation.h"
#include "tests/lib/leaks.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define HOUR_MS ((uint64_t)3600000)
#define DAY_MS (24 * HOUR_MS)

static struct test_env env;
static struct federation *f;
static struct federation_agency *ee;

static void setup(void)
{
    test_env_init(&env, 7);
    cr_assert_eq(federation_new(&env.env, 3, &f), ERR_OK);
    ee = federation_agency(f, "EE.POLICE");
}

static void teardown(void)
{
    federation_free(f);
    leaks_check();
}

TestSuite(trust, .init = setup, .fini = teardown);

static enum err signing(uint64_t at_ms)
{
    struct ed25519_public key;
    return trust_signing_key(f->trust, "EE.POLICE", &ee->sign_id, at_ms, &key);
}

static enum err encrypting(uint64_t at_ms)
{
    struct trust_encryption key;
    return trust_encryption_key(f->trust, "EE.POLICE", 1, at_ms, &key);
}

Test(trust, knows_every_agency_and_broker)
{
    struct ed25519_public key;
    struct trust_encryption enc;
    uint8_t curve[4][32];
    cr_assert_str_eq(trust_federation(f->trust), FEDERATION_NAME);
    cr_assert_eq(trust_fresh(f->trust, env.now_ms), ERR_OK);
    for (size_t i = 0; i < f->n_agencies; i++) {
        struct federation_agency *a = &f->agencies[i];
        cr_assert_eq(trust_signing_key(f->trust, a->name, &a->sign_id, env.now_ms, &key), ERR_OK);
        cr_assert_arr_eq(key.b, a->sign_public.b, 32);
        cr_assert_eq(trust_encryption_key(f->trust, a->name, 1, env.now_ms, &enc), ERR_OK);
        cr_assert_arr_eq(enc.key_id.b, a->encrypt_id[0].b, 16);
        cr_assert(!enc.last_resort);
        cr_assert_eq(trust_encryption_key(f->trust, a->name, 2, env.now_ms, &enc), ERR_VERSION);
        cr_assert_eq(trust_log_key(f->trust, a->name, &key), ERR_OK);
        cr_assert_arr_eq(key.b, a->log_public.b, 32);
        cr_assert_eq(trust_transport_keys(f->trust, a->name, env.now_ms, curve, 4), 1);
        cr_assert_arr_eq(curve[0], a->transport_public, 32);
    }
    for (size_t i = 0; i < f->n_brokers; i++) {
        struct federation_broker *b = &f->brokers[i];
        cr_assert_eq(trust_log_key(f->trust, b->name, &key), ERR_OK);
        cr_assert_arr_eq(key.b, b->log_public.b, 32);
        cr_assert_eq(trust_transport_keys(f->trust, b->name, env.now_ms, curve, 4), 1);
        cr_assert_arr_eq(curve[0], b->transport_public, 32);
    }
    cr_assert_eq(trust_transport_keys(f->trust, "EE.POLICE", env.now_ms, curve, 0), 0);
    cr_assert_eq(trust_transport_keys(f->trust, "nowhere", env.now_ms, curve, 4), 0);
    cr_assert_eq(trust_log_key(f->trust, "nowhere", &key), ERR_UNKNOWN_AGENCY);
    cr_assert_null(trust_agency(f->trust, "EE.POLICES"));
    cr_assert_null(trust_broker(f->trust, "tallin"));
    cr_assert_not_null(trust_code(f->trust, "H3"));
    cr_assert_null(trust_code(f->trust, "H4"));
}

Test(trust, tells_what_is_missing)
{
    struct ed25519_public key;
    struct key_id other = {{1}};
    cr_assert_eq(trust_signing_key(f->trust, "ZZ.NONE", &other, env.now_ms, &key),
                 ERR_UNKNOWN_AGENCY);
    cr_assert_eq(trust_signing_key(f->trust, "EE.POLICE", &other, env.now_ms, &key),
                 ERR_NEED_DOCUMENTS);
    cr_assert_eq(trust_signing_key(f->bare, "EE.POLICE", &ee->sign_id, env.now_ms, &key),
                 ERR_NEED_DOCUMENTS);
    struct trust_encryption enc;
    cr_assert_eq(trust_encryption_key(f->bare, "EE.POLICE", 1, env.now_ms, &enc),
                 ERR_NEED_DOCUMENTS);
    cr_assert_eq(trust_documents(f->bare, "EE.POLICE").len, 0);
    cr_assert_eq(trust_leaf_expires_ms(f->bare, "EE.POLICE"), 0);
}

Test(trust, freshness_ends_with_timestamp_and_directory)
{
    uint64_t expires = trust_timestamp_expires_ms(f->trust);
    cr_assert_eq(expires, env.now_ms + DAY_MS);
    cr_assert_eq(trust_fresh(f->trust, expires - 1), ERR_OK);
    cr_assert_eq(trust_fresh(f->trust, expires), ERR_STALE_TIMESTAMP);
    uint64_t until = trust_directory(f->trust)->expires_ms;
    cr_assert_eq(trust_fresh(f->trust, until - 1), ERR_STALE_TIMESTAMP);
    cr_assert_eq(trust_fresh(f->trust, until), ERR_STALE_DIRECTORY);
}

Test(trust, a_leaf_signs_while_it_lives_and_its_list_is_fresh)
{
    uint64_t end = trust_leaf_expires_ms(f->trust, "EE.POLICE");
    uint64_t start = end - LIMIT_LEAF_LIFETIME_MS;
    cr_assert_eq(signing(start - 1), ERR_EXPIRED);
    cr_assert_eq(signing(start), ERR_OK);
    /* The list was good for 7 days; its bound by the directory counts from thisUpdate. */
    uint64_t list = env.now_ms - LIMIT_SKEW_MS + 7 * DAY_MS;
    cr_assert_eq(signing(list), ERR_OK);
    cr_assert_eq(signing(list + 1), ERR_STALE_CRL);
    test_env_advance(&env, 29 * DAY_MS);
    cr_assert_eq(federation_refresh(f), ERR_OK);
    cr_assert_eq(signing(end), ERR_OK);
    cr_assert_eq(signing(end + 1), ERR_EXPIRED);
}

Test(trust, the_newest_current_key_is_encrypted_to_then_the_last_resort)
{
    struct trust_encryption key;
    uint64_t start = env.now_ms;
    test_env_advance(&env, 8 * DAY_MS);
    cr_assert_eq(federation_refresh(f), ERR_OK);
    cr_assert_eq(trust_encryption_key(f->trust, "EE.POLICE", 1, start + 7 * DAY_MS - 1, &key),
                 ERR_OK);
    /* Two overlap by the clock skew: the later one. */
    cr_assert_arr_eq(key.key_id.b, ee->encrypt_id[1].b, 16);
    cr_assert_eq(trust_encryption_key(f->trust, "EE.POLICE", 1, start + 8 * DAY_MS, &key), ERR_OK);
    cr_assert_arr_eq(key.key_id.b, ee->encrypt_id[1].b, 16);
    cr_assert(!key.last_resort);
    test_env_advance(&env, 14 * DAY_MS);
    cr_assert_eq(federation_refresh(f), ERR_OK);
    cr_assert_eq(trust_encryption_key(f->trust, "EE.POLICE", 1, start + 22 * DAY_MS, &key), ERR_OK);
    cr_assert_arr_eq(key.key_id.b, ee->encrypt_id[3].b, 16);
    cr_assert(key.last_resort);
    cr_assert_eq(encrypting(start + 31 * DAY_MS), ERR_EXPIRED);
}

Test(trust, a_revoked_leaf_signs_nothing_after_and_is_not_encrypted_to)
{
    uint8_t curve[1][32];
    uint64_t before = env.now_ms;
    test_env_advance(&env, HOUR_MS);
    cr_assert_eq(federation_revoke(f, "EE.POLICE", 0), ERR_OK);
    cr_assert_eq(signing(before), ERR_OK);
    cr_assert_eq(signing(env.now_ms - 1), ERR_OK);
    cr_assert_eq(signing(env.now_ms), ERR_REVOKED);
    cr_assert_eq(encrypting(before), ERR_REVOKED);
    cr_assert_eq(trust_transport_keys(f->trust, "EE.POLICE", env.now_ms, curve, 1), 0);
    cr_assert_eq(trust_transport_keys(f->trust, "EE.CUSTOMS", env.now_ms, curve, 1), 1);
}

Test(trust, a_compromise_reaches_back_to_its_invalidity_date)
{
    uint64_t since = env.now_ms + HOUR_MS;
    test_env_advance(&env, 5 * HOUR_MS);
    cr_assert_eq(federation_revoke(f, "EE.POLICE", since), ERR_OK);
    cr_assert_eq(signing(since - 1), ERR_OK);
    cr_assert_eq(signing(since), ERR_REVOKED);
    cr_assert_eq(signing(env.now_ms), ERR_REVOKED);
}

Test(trust, a_revocation_cannot_be_taken_back_with_an_older_list)
{
    struct trust *t = NULL;
    bool changed = true;
    struct buf old;
    buf_init(&old, LIMIT_DOCUMENT);
    buf_put(&old, buf_span(&ee->documents));
    test_env_advance(&env, HOUR_MS);
    cr_assert_eq(federation_revoke(f, "EE.POLICE", 0), ERR_OK);
    cr_assert_eq(trust_add_documents(f->trust, buf_span(&old), env.now_ms, &changed, &t), ERR_OK);
    cr_assert(!changed);
    cr_assert_eq(t, f->trust);
    struct ed25519_public key;
    cr_assert_eq(trust_signing_key(t, "EE.POLICE", &ee->sign_id, env.now_ms, &key), ERR_REVOKED);
    trust_free(t);
    buf_fini(&old);
}

Test(trust, a_list_alone_is_news_and_the_old_snapshot_stays_as_it_was)
{
    struct trust *before = trust_ref(f->trust), *t = NULL;
    bool changed = false;
    struct ed25519_public key;
    test_env_advance(&env, HOUR_MS);
    cr_assert_eq(federation_revoke(f, "EE.POLICE", 0), ERR_OK);
    cr_assert_eq(trust_add_documents(before, buf_span(&ee->documents), env.now_ms, &changed, &t),
                 ERR_OK);
    cr_assert(changed);
    cr_assert_eq(trust_signing_key(t, "EE.POLICE", &ee->sign_id, env.now_ms, &key), ERR_REVOKED);
    cr_assert_eq(trust_signing_key(before, "EE.POLICE", &ee->sign_id, env.now_ms, &key), ERR_OK);
    cr_assert(span_equal(trust_documents(t, "EE.POLICE"), buf_span(&ee->documents)));
    trust_free(t);
    trust_free(before);
}

Test(trust, earlier_leaves_are_kept_for_what_they_signed)
{
    struct key_id ids[LIMIT_EARLIER_LEAVES + 2];
    struct ed25519_public key;
    uint64_t times[LIMIT_EARLIER_LEAVES + 2];
    for (size_t i = 0; i < LIMIT_EARLIER_LEAVES + 2; i++) {
        ids[i] = ee->sign_id;
        times[i] = env.now_ms;
        test_env_advance(&env, DAY_MS);
        cr_assert_eq(federation_rotate(f, "EE.POLICE"), ERR_OK);
    }
    for (size_t i = 0; i < LIMIT_EARLIER_LEAVES + 2; i++) {
        bool kept = i >= 2;
        cr_assert_eq(trust_signing_key(f->trust, "EE.POLICE", &ids[i], times[i], &key),
                     kept ? ERR_OK : ERR_NEED_DOCUMENTS, "leaf %zu", i);
        cr_assert_eq(trust_documents_for(f->trust, "EE.POLICE", &ids[i]).len > 0, kept);
    }
    cr_assert_eq(signing(env.now_ms), ERR_OK);
    cr_assert(span_equal(trust_documents_for(f->trust, "EE.POLICE", &ee->sign_id),
                         trust_documents(f->trust, "EE.POLICE")));
}

Test(trust, an_older_statement_keeps_the_newer_but_its_leaf_is_known)
{
    struct trust *bare = trust_ref(f->bare), *one = NULL, *two = NULL;
    struct key_id old_id = ee->sign_id;
    struct ed25519_public key;
    struct trust_encryption enc;
    bool changed;
    struct buf old;
    buf_init(&old, LIMIT_DOCUMENT);
    buf_put(&old, buf_span(&ee->documents));
    test_env_advance(&env, HOUR_MS);
    cr_assert_eq(federation_rotate(f, "EE.POLICE"), ERR_OK);
    cr_assert_eq(trust_add_documents(bare, buf_span(&ee->documents), env.now_ms, &changed, &one),
                 ERR_OK);
    cr_assert_eq(trust_add_documents(one, buf_span(&old), env.now_ms, &changed, &two), ERR_OK);
    cr_assert(changed);
    cr_assert_eq(trust_signing_key(two, "EE.POLICE", &old_id, env.now_ms, &key), ERR_OK);
    cr_assert_eq(trust_signing_key(one, "EE.POLICE", &old_id, env.now_ms, &key),
                 ERR_NEED_DOCUMENTS);
    cr_assert_eq(trust_encryption_key(two, "EE.POLICE", 1, env.now_ms, &enc), ERR_OK);
    cr_assert_arr_eq(enc.key_id.b, ee->encrypt_id[0].b, 16);
    trust_free(bare);
    trust_free(one);
    trust_free(two);
    buf_fini(&old);
}

Test(trust, an_expired_leaf_is_taken_for_a_while)
{
    struct trust *t = NULL;
    bool changed;
    uint64_t end = trust_leaf_expires_ms(f->trust, "EE.POLICE");
    struct span docs = buf_span(&ee->documents);
    cr_assert_eq(trust_add_documents(f->bare, docs, end + LIMIT_EXPIRED_LEAF_MS, &changed, &t),
                 ERR_OK);
    struct ed25519_public key;
    cr_assert_eq(trust_signing_key(t, "EE.POLICE", &ee->sign_id, env.now_ms, &key), ERR_OK);
    cr_assert_eq(trust_signing_key(t, "EE.POLICE", &ee->sign_id, end + 1, &key), ERR_EXPIRED);
    trust_free(t);
    cr_assert_eq(trust_add_documents(f->bare, docs, end + LIMIT_EXPIRED_LEAF_MS + 1, &changed, &t),
                 ERR_EXPIRED);
    cr_assert_eq(trust_add_documents(
                     f->bare, docs, end - LIMIT_LEAF_LIFETIME_MS - LIMIT_SKEW_MS - 1, &changed, &t),
                 ERR_CLOCK);
}

/* --- documents that do not hold --- */

struct edit {
    struct span chain[3];
    size_t n_chain;
    struct span crl;
    struct span statement;
    const char *agency;
};

static struct edit edit_of(struct federation_agency *a)
{
    return (struct edit){.chain = {buf_span(&a->leaf), buf_span(&a->ca)},
                         .n_chain = 2,
                         .crl = buf_span(&a->crl),
                         .statement = buf_span(&a->statement),
                         .agency = a->name};
}

static enum err add(const struct edit *edit)
{
    struct trust *t = NULL;
    struct buf bytes;
    ProtobufCBinaryData chain[3];
    bool changed;
    Sp__AgencyDocuments d = SP__AGENCY_DOCUMENTS__INIT;
    for (size_t i = 0; i < edit->n_chain; i++)
        chain[i] = pb_bytes(edit->chain[i]);
    d.agency = pb_string(edit->agency);
    d.chain = chain;
    d.n_chain = edit->n_chain;
    d.crl = pb_bytes(edit->crl);
    d.statement = pb_bytes(edit->statement);
    buf_init(&bytes, LIMIT_DOCUMENT);
    pb_encode(&d, &bytes);
    cr_assert_eq(bytes.err, ERR_OK);
    enum err e = trust_add_documents(f->bare, buf_span(&bytes), env.now_ms, &changed, &t);
    trust_free(t);
    buf_fini(&bytes);
    return e;
}

Test(trust, documents_must_belong_together)
{
    struct federation_agency *lv = federation_agency(f, "LV.POLICE");
    struct edit d = edit_of(ee);
    cr_assert_eq(add(&d), ERR_OK);
    d.agency = "ZZ.NONE";
    cr_assert_eq(add(&d), ERR_UNKNOWN_AGENCY);
    d.agency = "LV.POLICE"; /* another CA is pinned */
    cr_assert_eq(add(&d), ERR_BAD_SIGNATURE);
    d = edit_of(ee);
    d.chain[0] = buf_span(&lv->leaf);
    cr_assert_neq(add(&d), ERR_OK);
    d = edit_of(ee);
    d.chain[1] = buf_span(&lv->ca);
    cr_assert_eq(add(&d), ERR_BAD_SIGNATURE);
    d = edit_of(ee);
    d.statement = buf_span(&lv->statement);
    cr_assert_eq(add(&d), ERR_WRONG_USAGE);
    d = edit_of(ee);
    d.statement = buf_span(&f->directory);
    cr_assert_eq(add(&d), ERR_WRONG_USAGE);
    d = edit_of(ee);
    d.crl = buf_span(&lv->crl);
    cr_assert_eq(add(&d), ERR_BAD_SIGNATURE);
    d = edit_of(ee);
    d.crl = span_of(NULL, 0);
    cr_assert_eq(add(&d), ERR_OK);
    d.n_chain = 1;
    cr_assert_eq(add(&d), ERR_MALFORMED);
    d.n_chain = 3;
    d.chain[2] = buf_span(&ee->ca);
    cr_assert_eq(add(&d), ERR_MALFORMED);
}

Test(trust, without_a_list_no_key_is_used)
{
    struct trust *t = NULL;
    bool changed;
    struct ed25519_public key;
    struct trust_encryption enc;
    buf_reset(&ee->crl);
    ProtobufCBinaryData chain[] = {pb_bytes(buf_span(&ee->leaf)), pb_bytes(buf_span(&ee->ca))};
    Sp__AgencyDocuments d = SP__AGENCY_DOCUMENTS__INIT;
    struct buf bytes;
    d.agency = pb_string(ee->name);
    d.chain = chain;
    d.n_chain = 2;
    d.statement = pb_bytes(buf_span(&ee->statement));
    buf_init(&bytes, LIMIT_DOCUMENT);
    pb_encode(&d, &bytes);
    cr_assert_eq(trust_add_documents(f->bare, buf_span(&bytes), env.now_ms, &changed, &t), ERR_OK);
    cr_assert_eq(trust_signing_key(t, "EE.POLICE", &ee->sign_id, env.now_ms, &key), ERR_STALE_CRL);
    cr_assert_eq(trust_encryption_key(t, "EE.POLICE", 1, env.now_ms, &enc), ERR_STALE_CRL);
    trust_free(t);
    buf_fini(&bytes);
}

/* A statement by somebody else than the leaf, with everything else in order. */
static enum err add_statement(const struct secret *sign, const char *agency)
{
    struct buf bytes;
    struct why why;
    struct issue_encryption_key key = {.not_before_ms = env.now_ms,
                                       .not_after_ms = env.now_ms + DAY_MS};
    struct issue_statement in = {.agency = agency,
                                 .serial = 9,
                                 .lifetime_ms = DAY_MS,
                                 .keys = &key,
                                 .n_keys = 1,
                                 .transport_lifetime_ms = DAY_MS};
    memset(key.public_key, 7, sizeof(key.public_key));
    memset(in.transport, 8, sizeof(in.transport));
    buf_init(&bytes, LIMIT_DOCUMENT);
    cr_assert_eq(issue_statement(&env.env, &in, sign, &bytes, &why), ERR_OK);
    struct edit d = edit_of(ee);
    d.statement = buf_span(&bytes);
    enum err e = add(&d);
    buf_fini(&bytes);
    return e;
}

Test(trust, a_statement_is_signed_by_the_leaf_alone)
{
    cr_assert_eq(add_statement(ee->sign, "EE.POLICE"), ERR_OK);
    cr_assert_eq(add_statement(ee->log, "EE.POLICE"), ERR_BAD_SIGNATURE);
    cr_assert_eq(add_statement(f->root_keys[0], "EE.POLICE"), ERR_BAD_SIGNATURE);
    cr_assert_eq(add_statement(ee->sign, "EE.CUSTOMS"), ERR_WRONG_USAGE);
}

Test(trust, every_altered_byte_of_an_agencys_documents_is_refused_or_harmless)
{
    struct buf bytes;
    bool changed;
    buf_init(&bytes, LIMIT_DOCUMENT);
    buf_put(&bytes, buf_span(&ee->documents));
    size_t harmless = 0;
    size_t ca_at =
        (size_t)((const uint8_t *)memmem(bytes.data, bytes.len, ee->ca.data, ee->ca.len) -
                 bytes.data);
    for (size_t i = 0; i < bytes.len; i += 3) {
        struct trust *t = NULL;
        bytes.data[i] ^= 0x10;
        enum err e = trust_add_documents(f->bare, buf_span(&bytes), env.now_ms, &changed, &t);
        if (e == ERR_OK) {
            /* Of the CA only the key is pinned; its names may differ, what it signed may not. */
            struct ed25519_public key;
            cr_assert(i > ca_at && i < ca_at + ee->ca.len, "byte %zu", i);
            cr_assert_eq(trust_signing_key(t, "EE.POLICE", &ee->sign_id, env.now_ms, &key), ERR_OK);
            cr_assert_arr_eq(key.b, ee->sign_public.b, 32);
            harmless++;
        } else {
            cr_assert_neq(err_class(e), ERR_CLASS_LOCAL, "byte %zu: %s", i, err_code(e));
        }
        trust_free(t);
        bytes.data[i] ^= 0x10;
    }
    cr_assert(harmless < 40, "%zu", harmless);
    buf_fini(&bytes);
}

/* --- a new directory --- */

static void drop_first_agency(void *ctx, Sp__Directory *d)
{
    (void)ctx;
    d->agencies++;
    d->n_agencies--;
}

static void move_trust_domain(void *ctx, Sp__Directory *d)
{
    (void)ctx;
    d->agencies[0]->trust_domain = pb_string("elsewhere.example");
}

Test(trust, merging_judges_again_under_the_new_directory)
{
    struct ed25519_public key;
    struct federation_agency *first = federation_agency(f, "EE.CUSTOMS");
    cr_assert_eq(federation_edit(f, move_trust_domain, NULL), ERR_OK);
    cr_assert_eq(trust_versions(f->trust).directory_version, 2);
    cr_assert_eq(trust_signing_key(f->trust, "EE.CUSTOMS", &first->sign_id, env.now_ms, &key),
                 ERR_NEED_DOCUMENTS);
    cr_assert_eq(signing(env.now_ms), ERR_OK);
    cr_assert_eq(federation_edit(f, drop_first_agency, NULL), ERR_OK);
    cr_assert_eq(trust_signing_key(f->trust, "EE.CUSTOMS", &first->sign_id, env.now_ms, &key),
                 ERR_UNKNOWN_AGENCY);
    cr_assert_eq(signing(env.now_ms), ERR_OK);
}

/* --- building --- */

static enum err build(const struct trust_input *in, const struct trust_floor *floor, char *why)
{
    struct trust *t = NULL;
    enum err e = trust_build(in, floor, env.now_ms, &t, why, 256);
    trust_free(t);
    return e;
}

static struct trust_input input_of(void)
{
    return (struct trust_input){
        .pinned_root = buf_span(&f->root),
        .directory = buf_span(&f->directory),
        .timestamp = buf_span(&f->timestamp),
    };
}

Test(trust, versions_do_not_go_back)
{
    char why[256];
    struct trust_input in = input_of();
    struct trust_floor floor = trust_versions(f->trust);
    cr_assert_eq(build(&in, &floor, why), ERR_OK);
    floor.root_version++;
    cr_assert_eq(build(&in, &floor, why), ERR_REPLAY);
    cr_assert_not_null(strstr(why, "root"));
    floor = trust_versions(f->trust);
    floor.directory_version++;
    cr_assert_eq(build(&in, &floor, why), ERR_REPLAY);
    cr_assert_not_null(strstr(why, "directory"));
    floor = trust_versions(f->trust);
    floor.timestamp_version++;
    cr_assert_eq(build(&in, &floor, why), ERR_REPLAY);
    cr_assert_not_null(strstr(why, "timestamp"));
}

Test(trust, an_older_directory_than_the_timestamp_names_is_a_rollback)
{
    char why[256];
    struct buf old;
    buf_init(&old, LIMIT_DOCUMENT);
    buf_put(&old, buf_span(&f->directory));
    cr_assert_eq(federation_edit(f, NULL, NULL), ERR_OK);
    struct trust_input in = input_of();
    in.directory = buf_span(&old);
    cr_assert_eq(build(&in, NULL, why), ERR_REPLAY);
    in.timestamp = span_of(NULL, 0);
    cr_assert_eq(build(&in, NULL, why), ERR_OK);
    buf_fini(&old);
}

Test(trust, the_timestamp_names_the_very_bytes)
{
    char why[256];
    struct buf more;
    buf_init(&more, LIMIT_DOCUMENT);
    cr_assert_eq(dsse_add_signature(buf_span(&f->directory), f->root_keys[2], &more), ERR_OK);
    struct trust_input in = input_of();
    in.directory = buf_span(&more);
    cr_assert_eq(build(&in, NULL, why), ERR_BAD_DIGEST);
    buf_fini(&more);
}

Test(trust, a_directory_newer_than_the_timestamp_stands_on_its_signatures)
{
    char why[256];
    struct buf old;
    buf_init(&old, LIMIT_DOCUMENT);
    buf_put(&old, buf_span(&f->timestamp));
    cr_assert_eq(federation_edit(f, NULL, NULL), ERR_OK);
    struct trust_input in = input_of();
    in.timestamp = buf_span(&old);
    cr_assert_eq(build(&in, NULL, why), ERR_OK);
    buf_fini(&old);
}

Test(trust, documents_of_the_wrong_kind_or_of_the_future_are_refused)
{
    char why[256];
    struct trust_input in = input_of();
    in.directory = buf_span(&f->timestamp);
    cr_assert_eq(build(&in, NULL, why), ERR_WRONG_USAGE);
    in = input_of();
    in.timestamp = buf_span(&f->directory);
    cr_assert_eq(build(&in, NULL, why), ERR_WRONG_USAGE);
    in = input_of();
    in.pinned_root = buf_span(&f->directory);
    cr_assert_eq(build(&in, NULL, why), ERR_WRONG_USAGE);
    in = input_of();
    in.directory = span_of("\n", 1); /* a field that is cut off */
    cr_assert_eq(build(&in, NULL, why), ERR_MALFORMED);
    in = input_of();
    env.now_ms -= LIMIT_SKEW_MS;
    cr_assert_eq(build(&in, NULL, why), ERR_OK);
    env.now_ms -= 1;
    cr_assert_eq(build(&in, NULL, why), ERR_CLOCK);
}
