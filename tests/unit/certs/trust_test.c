#include "certs/trust.h"

#include "certs/documents.h"
#include "certs/issue.h"
#include "certs/x509.h"
#include "common/limits.h"
#include "proto/pb.h"
#include "tests/lib/federation.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define DAY_MS ((uint64_t)86400000)

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
}

TestSuite(trust, .init = setup, .fini = teardown);

static struct trust_input input_of(void)
{
    return (struct trust_input){
        .pinned_root = buf_span(&f->root),
        .directory = buf_span(&f->directory),
        .timestamp = buf_span(&f->timestamp),
    };
}

Test(trust, the_federation_stands)
{
    struct ed25519_public key;
    struct trust_encryption enc;
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
    }
    (void)input_of;
}
