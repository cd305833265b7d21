/* A complete small federation for tests, in memory: keys, certificates, statements, root,
 * directory, timestamp, and the trust snapshot over them. No Argon2, no files, everything derived
 * from the `env` that is given, so that the same seed gives the same bytes.
 *
 *   struct test_env env;
 *   test_env_init(&env, 1);
 *   struct federation *f;
 *   cr_assert_eq(federation_new(&env.env, 3, &f), ERR_OK);
 *   struct federation_agency *ee = federation_agency(f, "EE.POLICE");
 *   ... sign with ee->sign, encrypt to trust_encryption_key(f->trust, "LT.POLICE", 1, now, &key),
 *   open with federation_find_encrypt(ee, ...), judge with f->trust ...
 *   federation_free(f);
 *
 * Brokers: tallinn, riga, vilnius; links tallinn-riga and riga-vilnius. Agencies: EE.POLICE and
 * EE.CUSTOMS at tallinn, LV.* at riga, LT.* at vilnius; with fewer brokers the others' agencies
 * move to the last one that there is. Code book H0 to H3, allowed to all; every ceiling is
 * CONFIDENTIAL, but that of LT.CUSTOMS is RESTRICTED. Root: 2 of 3. Endpoints are
 * tcp://127.0.0.1:PORT with ports of no meaning: see federation_edit.
 *
 * Each change signs new documents at the env's present time and puts a new snapshot into f->trust;
 * whoever holds the old one keeps it with trust_ref. Link with: federation_test_dep. */
#ifndef SEALPOST_TESTS_FEDERATION_H
#define SEALPOST_TESTS_FEDERATION_H

#include "certs/trust.h"
#include "common/crypto.h"
#include "common/env.h"
#include "common/secret.h"
#include "common/span.h"
#include "proto/dsse.h"

#include <stdbool.h>

/* A clock that moves only when told, and reproducible "random" bytes. */
struct test_env {
    struct env env; /* hand out &t.env */
    uint64_t now_ms;
    uint64_t mono_ms;
    uint64_t seed;
    uint64_t counter;
};
/* Starts at 2026-03-02T08:00:00Z. */
void test_env_init(struct test_env *t, uint64_t seed);
void test_env_advance(struct test_env *t, uint64_t ms);

#define FEDERATION_NAME "baltic.example"
#define FEDERATION_BROKERS 3
#define FEDERATION_AGENCIES_MAX 6
#define FEDERATION_ENCRYPT_KEYS                                      \
    4 /* three of 7 days each, one after the other; then last resort \
       */

struct federation_broker {
    const char *name;
    char endpoint[64];
    struct secret *transport; /* X25519, 32 bytes */
    uint8_t transport_public[32];
    struct secret *log; /* Ed25519 seed, 32 bytes; so all signing keys here */
    struct ed25519_public log_public;
    struct secret *witness;
    struct ed25519_public witness_public;
};

struct federation_agency {
    const char *name;
    const char *home;
    char trust_domain[64]; /* such as ee-police.example */
    struct secret *sign;
    struct ed25519_public sign_public;
    struct key_id sign_id;
    struct secret *encrypt[FEDERATION_ENCRYPT_KEYS]; /* X25519, 32 bytes */
    struct key_id encrypt_id[FEDERATION_ENCRYPT_KEYS];
    struct secret *transport;
    uint8_t transport_public[32];
    struct secret *log;
    struct ed25519_public log_public;
    struct secret *storage; /* 32 bytes */
    /* Documents; DER, and encoded Documents. */
    struct secret *ca_key; /* PKCS#8 */
    struct buf ca;
    struct buf leaf;
    struct buf crl;
    struct buf statement;
    struct buf documents; /* encoded AgencyDocuments, as they travel */
    uint64_t serial;      /* of the statement */
    uint64_t crl_number;
};

struct federation {
    const struct env *env;
    size_t n_brokers;
    size_t n_agencies;
    struct federation_broker brokers[FEDERATION_BROKERS];
    struct federation_agency agencies[FEDERATION_AGENCIES_MAX];
    struct secret *root_keys[3];
    struct secret *timestamp_key;
    uint64_t directory_version;
    struct buf root; /* Documents */
    struct buf directory;
    struct buf timestamp;
    struct trust *trust; /* knows the documents of every agency */
    struct trust *bare;  /* the same without the agencies' documents */
};

/* `brokers`: 1 to 3. `env` is borrowed until federation_free. */
enum err federation_new(const struct env *env, size_t brokers, struct federation **ret);
void federation_free(struct federation *f);

/* NULL when there is none. */
struct federation_agency *federation_agency(struct federation *f, const char *name);
struct federation_broker *federation_broker(struct federation *f, const char *name);
/* An `open_find_key` (proto/seal.h): pass the struct federation_agency as ctx. */
enum err federation_find_encrypt(void *agency, const struct key_id *id, const struct secret **ret);

/* Signs a new timestamp (24 hours) and fresh CRLs (7 days) at the present time. */
enum err federation_refresh(struct federation *f);
/* A new directory version; `edit` (may be NULL) changes the builder before it is signed: entries
 * may be altered in place, texts replaced with ones that outlive the call, counts made smaller. */
enum err federation_edit(struct federation *f, void (*edit)(void *ctx, Sp__Directory *d),
                         void *ctx);
/* A new leaf key, leaf, encryption keys and statement for one agency. The old secrets are freed. */
enum err federation_rotate(struct federation *f, const char *agency);
/* Revokes the agency's leaf in a new CRL, for compromise since `since_ms` (0: not compromise, from
 * now on). */
enum err federation_revoke(struct federation *f, const char *agency, uint64_t since_ms);
/* Writes everything public as a federation folder (names of trust.h) for trust_load and daemons. */
enum err federation_write(const struct federation *f, const char *dir);

#endif
