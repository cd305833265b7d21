#include "certs/trust.h"

#include "certs/documents.h"
#include "common/file.h"
#include "common/limits.h"
#include "proto/pb.h"
#include "tests/lib/federation.h"
#include "tests/lib/leaks.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct test_env env;
static struct federation *f;
static char dir[] = "/tmp/sealpost-trust-XXXXXX";
static char why[1024];

static void setup(void)
{
    test_env_init(&env, 31);
    cr_assert_eq(federation_new(&env.env, 2, &f), ERR_OK);
    cr_assert_not_null(mkdtemp(dir));
    cr_assert_eq(federation_write(f, dir), ERR_OK);
}

static void teardown(void)
{
    char command[PATH_MAX + 16];
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    cr_assert_eq(system(command), 0);
    federation_free(f);
    leaks_check();
}

TestSuite(trust_load, .init = setup, .fini = teardown);

static const char *path_of(const char *name)
{
    static char path[PATH_MAX];
    cr_assert_eq(file_join(dir, name, path, sizeof(path)), ERR_OK);
    return path;
}

static enum err load(struct span pinned, const struct trust_floor *floor, struct trust **ret)
{
    return trust_load(dir, pinned, floor, env.now_ms, ret, why, sizeof(why));
}

Test(trust_load, a_folder_gives_the_same_as_memory)
{
    struct trust *t = NULL;
    cr_assert_eq(load(buf_span(&f->root), NULL, &t), ERR_OK, "%s", why);
    cr_assert_str_empty(why);
    cr_assert(digest_equal(trust_directory_digest(t), trust_directory_digest(f->trust)));
    for (size_t i = 0; i < f->n_agencies; i++)
        cr_assert(span_equal(trust_documents(t, f->agencies[i].name),
                             trust_documents(f->trust, f->agencies[i].name)));
    trust_free(t);
}

Test(trust_load, what_an_agency_lacks_or_spoils_is_left_out)
{
    struct trust *t = NULL;
    struct ed25519_public key;
    struct federation_agency *lv = federation_agency(f, "LV.POLICE");
    cr_assert_eq(unlink(path_of("agencies/EE.POLICE/statement.dsse")), 0);
    cr_assert_eq(
        file_write_atomic(path_of("agencies/LT.POLICE/chain.pem"), span_str("spoilt"), 0644),
        ERR_OK);
    cr_assert_eq(file_write_atomic(path_of("agencies/EE.CUSTOMS/statement.dsse"),
                                   buf_span(&lv->statement), 0644),
                 ERR_OK);
    cr_assert_eq(unlink(path_of("agencies/LT.CUSTOMS/crl.pem")), 0);
    cr_assert_eq(load(buf_span(&f->root), NULL, &t), ERR_OK);
    cr_assert_null(strstr(why, "EE.POLICE"));
    cr_assert_not_null(strstr(why, "LT.POLICE"), "%s", why);
    cr_assert_not_null(strstr(why, "EE.CUSTOMS: statement: of another agency"), "%s", why);
    cr_assert_eq(trust_documents(t, "EE.POLICE").len, 0);
    cr_assert_eq(trust_documents(t, "LT.POLICE").len, 0);
    cr_assert_eq(trust_documents(t, "EE.CUSTOMS").len, 0);
    cr_assert(trust_documents(t, "LT.CUSTOMS").len > 0);
    cr_assert_eq(trust_signing_key(t, "LV.POLICE", &lv->sign_id, env.now_ms, &key), ERR_OK);
    trust_free(t);
}

Test(trust_load, the_federations_own_documents_must_be_there_and_hold)
{
    struct trust *t = NULL;
    cr_assert_eq(unlink(path_of(FEDERATION_TIMESTAMP)), 0);
    cr_assert_eq(load(buf_span(&f->root), NULL, &t), ERR_OK);
    cr_assert_eq(trust_fresh(t, env.now_ms), ERR_STALE_TIMESTAMP);
    trust_free(t);
    t = NULL;
    cr_assert_eq(unlink(path_of(FEDERATION_ROOT)), 0); /* the pinned one is enough */
    cr_assert_eq(load(buf_span(&f->root), NULL, &t), ERR_OK);
    trust_free(t);
    t = NULL;
    cr_assert_eq(file_write_atomic(path_of(FEDERATION_DIRECTORY), buf_span(&f->root), 0644),
                 ERR_OK);
    cr_assert_eq(load(buf_span(&f->root), NULL, &t), ERR_WRONG_USAGE);
    cr_assert_eq(unlink(path_of(FEDERATION_DIRECTORY)), 0);
    cr_assert_eq(load(buf_span(&f->root), NULL, &t), ERR_NOT_FOUND);
    cr_assert_not_null(strstr(why, FEDERATION_DIRECTORY));
    cr_assert_null(t);
}

/* Root version `v` with the same keys, signed by `n` of them. */
static void make_root(uint64_t v, size_t n, struct buf *out)
{
    struct document d = {0};
    struct why w;
    cr_assert_eq(document_read(DOCUMENT_ROOT, buf_span(&f->root), &d, &w), ERR_OK);
    Sp__Root r = *document_root(&d);
    r.version = v;
    buf_init(out, LIMIT_DOCUMENT);
    cr_assert_eq(document_build_signed(DOCUMENT_ROOT, &r, f->root_keys[0], out, &w), ERR_OK);
    if (n == 2) {
        struct buf more;
        buf_init(&more, LIMIT_DOCUMENT);
        cr_assert_eq(dsse_add_signature(buf_span(out), f->root_keys[1], &more), ERR_OK);
        buf_fini(out);
        *out = more;
    }
    document_fini(&d);
}

static void put(const char *name, const struct buf *bytes)
{
    cr_assert_eq(file_write_atomic(path_of(name), buf_span(bytes), 0644), ERR_OK);
}

Test(trust_load, roots_are_followed_one_by_one)
{
    struct trust *t = NULL;
    struct buf two, three, weak;
    make_root(2, 2, &two);
    make_root(3, 2, &three);
    make_root(2, 1, &weak);
    put(FEDERATION_ROOT, &three);
    cr_assert_eq(load(buf_span(&f->root), NULL, &t), ERR_NOT_FOUND);
    cr_assert_not_null(strstr(why, "root.2.dsse"));
    put("root.2.dsse", &weak);
    cr_assert_eq(load(buf_span(&f->root), NULL, &t), ERR_BAD_SIGNATURE);
    put("root.2.dsse", &three);
    cr_assert_eq(load(buf_span(&f->root), NULL, &t), ERR_NOT_FOUND);
    put("root.2.dsse", &two);
    cr_assert_eq(load(buf_span(&f->root), NULL, &t), ERR_OK, "%s", why);
    cr_assert_eq(trust_versions(t).root_version, 3);
    struct trust_floor floor = trust_versions(t);
    trust_free(t);
    t = NULL;
    put(FEDERATION_ROOT, &two); /* rolled back */
    cr_assert_eq(load(buf_span(&f->root), &floor, &t), ERR_REPLAY);
    cr_assert_eq(load(buf_span(&three), &floor, &t), ERR_OK); /* pinned: newer than the folder */
    trust_free(t);
    buf_fini(&two);
    buf_fini(&three);
    buf_fini(&weak);
}
