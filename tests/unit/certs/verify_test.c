#include "certs/verify.h"

#include "common/limits.h"
#include "proto/seal.h"
#include "tests/lib/federation.h"
#include "tests/lib/leaks.h"

#include <criterion/criterion.h>
#include <string.h>

static struct test_env env;
static struct federation *f;

static void setup(void)
{
    test_env_init(&env, 21);
    cr_assert_eq(federation_new(&env.env, 3, &f), ERR_OK);
}

static void teardown(void)
{
    federation_free(f);
    leaks_check();
}

TestSuite(verify, .init = setup, .fini = teardown);

/* An envelope from `from` to LT.POLICE, signed by `sign`, that names `key_id`. */
static struct envelope *seal_one(const char *from, const struct secret *sign,
                                 const struct key_id *key_id, uint64_t directory_version)
{
    static const char *const handling[] = {"H0"};
    struct trust_encryption to;
    struct wrap_pool *pool;
    struct sealed *sealed;
    struct secret *file_key;
    struct envelope *e;
    struct buf plain, body, bytes;
    struct envelope_part part = {.kind = SP__PART_KIND__PART_KIND_BODY};
    buf_init(&body, LIMIT_KIB * 4);
    buf_init(&bytes, LIMIT_ENVELOPE);
    cr_assert_eq(trust_encryption_key(f->trust, "LT.POLICE", 1, env.now_ms, &to), ERR_OK);
    cr_assert_eq(secret_random(&env.env, FILE_KEY, &file_key), ERR_OK);
    buf_init(&plain, LIMIT_KIB * 2);
    body_pad(span_str("hello"), &plain);
    cr_assert_eq(part_seal(&env.env, file_key, buf_span(&plain), &body, &part.sha256), ERR_OK);
    buf_fini(&plain);
    part.ct_len = body.len;
    struct seal_recipient recipient = {.agency = "LT.POLICE", .seq = 1, .key_id = to.key_id};
    memcpy(recipient.public_key, to.public_key, sizeof(recipient.public_key));
    struct seal_input in = {
        .header = {.suite = ENVELOPE_SUITE_1,
                   .id = uuid_v7(&env.env, env.now_ms),
                   .created_ms = env.now_ms,
                   .expires_ms = env.now_ms + 3600000,
                   .sender = from,
                   .agent = "main",
                   .key_id = *key_id,
                   .handling = handling,
                   .n_handling = 1,
                   .level = SP__LEVEL__LEVEL_BPL,
                   .urgency = SP__URGENCY__URGENCY_NORMAL,
                   .directory_version = directory_version},
        .recipients = &recipient,
        .n_recipients = 1,
        .parts = &part,
        .n_parts = 1,
        .file_key = file_key,
    };
    memset(in.header.epoch, 5, sizeof(in.header.epoch));
    cr_assert_eq(wrap_pool_new(&env.env, &pool), ERR_OK);
    cr_assert_eq(seal(pool, &in, &sealed), ERR_OK);
    struct buf *outs[] = {&bytes};
    cr_assert_eq(seal_sign((struct sealed *const *)&sealed, 1, sign, outs), ERR_OK);
    cr_assert_eq(envelope_decode(buf_span(&bytes), &e), ERR_OK);
    sealed_free(sealed);
    wrap_pool_free(pool);
    secret_free(file_key);
    buf_fini(&body);
    buf_fini(&bytes);
    return e;
}

static enum err verify_at(const struct trust *t, const struct envelope *e, uint64_t at_ms)
{
    struct verified v = {0};
    enum err err = verify_envelope(t, e, at_ms, NULL, &v);
    cr_assert_eq(v.envelope != NULL, err == ERR_OK);
    if (err == ERR_OK) {
        cr_assert_eq(v.judged_at_ms, at_ms);
        cr_assert_eq(v.directory_version, trust_directory(t)->version);
    }
    return err;
}

Test(verify, an_agencys_own_key_verifies_and_what_it_sealed_opens)
{
    struct federation_agency *ee = federation_agency(f, "EE.POLICE");
    struct federation_agency *lt = federation_agency(f, "LT.POLICE");
    struct envelope *e = seal_one("EE.POLICE", ee->sign, &ee->sign_id, 1);
    struct secret *file_key;
    cr_assert_eq(verify_at(f->trust, e, env.now_ms), ERR_OK);
    cr_assert_eq(open_envelope(e, "LT.POLICE", federation_find_encrypt, lt, &file_key), ERR_OK);
    secret_free(file_key);
    cr_assert_eq(verify_at(f->bare, e, env.now_ms), ERR_NEED_DOCUMENTS);
    envelope_free(e);
}

Test(verify, nobody_signs_for_another_agency)
{
    struct federation_agency *ee = federation_agency(f, "EE.POLICE");
    struct federation_agency *lv = federation_agency(f, "LV.POLICE");
    struct envelope *e = seal_one("EE.POLICE", lv->sign, &lv->sign_id, 1);
    cr_assert_eq(verify_at(f->trust, e, env.now_ms), ERR_NEED_DOCUMENTS);
    envelope_free(e);
    /* The log key is no signing key, though it is of the same agency. */
    struct key_id log_id = key_id_of(KEY_LABEL_SIGN, span_of(ee->log_public.b, 32));
    e = seal_one("EE.POLICE", ee->log, &log_id, 1);
    cr_assert_eq(verify_at(f->trust, e, env.now_ms), ERR_NEED_DOCUMENTS);
    envelope_free(e);
    e = seal_one("ZZ.NOBODY", ee->sign, &ee->sign_id, 1);
    cr_assert_eq(verify_at(f->trust, e, env.now_ms), ERR_UNKNOWN_AGENCY);
    envelope_free(e);
}

Test(verify, a_newer_directory_than_ours_is_asked_for_first)
{
    struct federation_agency *ee = federation_agency(f, "EE.POLICE");
    struct envelope *e = seal_one("EE.POLICE", ee->sign, &ee->sign_id, 2);
    cr_assert_eq(verify_at(f->trust, e, env.now_ms), ERR_STALE_DIRECTORY);
    cr_assert_eq(federation_edit(f, NULL, NULL), ERR_OK);
    cr_assert_eq(verify_at(f->trust, e, env.now_ms), ERR_OK);
    envelope_free(e);
}

Test(verify, a_key_is_judged_at_its_time)
{
    struct federation_agency *ee = federation_agency(f, "EE.POLICE");
    struct envelope *e = seal_one("EE.POLICE", ee->sign, &ee->sign_id, 1);
    uint64_t then = env.now_ms;
    test_env_advance(&env, 3600000);
    cr_assert_eq(federation_revoke(f, "EE.POLICE", 0), ERR_OK);
    cr_assert_eq(verify_at(f->trust, e, then), ERR_OK);
    cr_assert_eq(verify_at(f->trust, e, env.now_ms), ERR_REVOKED);
    cr_assert_eq(federation_rotate(f, "EE.POLICE"), ERR_OK);
    cr_assert_eq(verify_at(f->trust, e, then), ERR_OK);
    cr_assert_eq(verify_at(f->trust, e, env.now_ms), ERR_REVOKED);
    envelope_free(e);
}

Test(verify, an_altered_signature_is_refused)
{
    struct federation_agency *ee = federation_agency(f, "EE.POLICE");
    struct envelope *e = seal_one("EE.POLICE", ee->sign, &ee->sign_id, 1), *altered = NULL;
    struct span bytes = envelope_bytes(e);
    struct buf copy;
    size_t refused = 0;
    buf_init(&copy, LIMIT_ENVELOPE);
    for (size_t i = 0; i < bytes.len; i++) {
        buf_reset(&copy);
        buf_put(&copy, bytes);
        copy.data[i] ^= 1;
        if (envelope_decode(buf_span(&copy), &altered) != ERR_OK)
            continue;
        cr_assert_neq(verify_at(f->trust, altered, env.now_ms), ERR_OK, "byte %zu", i);
        envelope_free(altered);
        refused++;
    }
    cr_assert(refused >= 64, "%zu", refused);
    envelope_free(e);
    buf_fini(&copy);
}
