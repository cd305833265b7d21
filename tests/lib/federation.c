#include "tests/lib/federation.h"
#include "tests/lib/federation_internal.h"

#include "certs/issue.h"
#include "certs/x509.h"
#include "common/limits.h"
#include "proto/pb.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY_MS ((uint64_t)86400000)
#define CRL_MS (7 * DAY_MS)
#define THRESHOLD 2

static const char *const broker_names[FEDERATION_BROKERS] = {"tallinn", "riga", "vilnius"};

/* In byte order, as a directory lists them. `home` is a place in broker_names. */
static const struct {
    const char *name;
    size_t home;
    const char *trust_domain;
} agency_rows[FEDERATION_AGENCIES_MAX] = {
    {"EE.CUSTOMS", 0, "customs.ee.example"}, {"EE.POLICE", 0, "police.ee.example"},
    {"LT.CUSTOMS", 2, "customs.lt.example"}, {"LT.POLICE", 2, "police.lt.example"},
    {"LV.CUSTOMS", 1, "customs.lv.example"}, {"LV.POLICE", 1, "police.lv.example"},
};

static uint64_t test_now(void *ctx)
{
    return ((struct test_env *)ctx)->now_ms;
}

static uint64_t test_mono(void *ctx)
{
    return ((struct test_env *)ctx)->mono_ms;
}

static void test_random(void *ctx, void *out, size_t len)
{
    struct test_env *t = ctx;
    uint8_t *at = out;
    while (len > 0) {
        uint64_t input[2] = {t->seed, t->counter++};
        struct digest d = sha256(span_of(input, sizeof(input)));
        size_t n = len < sizeof(d.b) ? len : sizeof(d.b);
        memcpy(at, d.b, n);
        at += n;
        len -= n;
    }
}

void test_env_init(struct test_env *t, uint64_t seed)
{
    *t = (struct test_env){
        .env = {.ctx = t, .now_ms = test_now, .mono_ms = test_mono, .random = test_random},
        .now_ms = 1772438400000, /* 2026-03-02T08:00:00Z */
        .mono_ms = 1000,
        .seed = seed,
    };
}

void test_env_advance(struct test_env *t, uint64_t ms)
{
    t->now_ms += ms;
    t->mono_ms += ms;
}

static enum err new_ed25519(const struct env *env, struct secret **key, struct ed25519_public *pub)
{
    enum err e = secret_random(env, ED25519_SEED, key);
    return e != ERR_OK ? e : ed25519_public_of(*key, pub);
}

static enum err new_x25519(const struct env *env, struct secret **key, uint8_t pub[32])
{
    enum err e = secret_random(env, X25519_KEY, key);
    return e != ERR_OK ? e : x25519_public_of(*key, pub);
}

static enum err make_broker(struct federation *f, size_t i)
{
    struct federation_broker *b = &f->brokers[i];
    b->name = broker_names[i];
    snprintf(b->endpoint, sizeof(b->endpoint), "tcp://127.0.0.1:%zu", 4501 + i);
    enum err e = new_x25519(f->env, &b->transport, b->transport_public);
    if (e == ERR_OK)
        e = new_ed25519(f->env, &b->log, &b->log_public);
    return e != ERR_OK ? e : new_ed25519(f->env, &b->witness, &b->witness_public);
}

static struct x509_issuer issuer_of(const struct federation_agency *a)
{
    return (struct x509_issuer){.cert = buf_span(&a->ca), .pkcs8 = a->ca_key};
}

enum err federation_make_crl(struct federation *f, struct federation_agency *a,
                             const struct x509_revoked *items, size_t n)
{
    struct x509_issuer issuer = issuer_of(a);
    buf_reset(&a->crl);
    return x509_make_crl(f->env, &issuer, items, n, ++a->crl_number, CRL_MS, &a->crl);
}

static enum err make_statement(struct federation *f, struct federation_agency *a)
{
    uint64_t now = env_now_ms(f->env);
    /* The last resort starts with the first key: the list is sorted by start. */
    static const size_t order[FEDERATION_ENCRYPT_KEYS] = {0, 3, 1, 2};
    struct issue_encryption_key keys[FEDERATION_ENCRYPT_KEYS];
    for (size_t i = 0; i < FEDERATION_ENCRYPT_KEYS; i++) {
        size_t k = order[i];
        bool last_resort = k == FEDERATION_ENCRYPT_KEYS - 1;
        uint64_t start = last_resort ? now : now + k * 7 * DAY_MS;
        keys[i] = (struct issue_encryption_key){
            .not_before_ms = start - LIMIT_SKEW_MS,
            .not_after_ms = last_resort ? now + LIMIT_STATEMENT_MS : start + 7 * DAY_MS,
            .last_resort = last_resort,
        };
        enum err e = x25519_public_of(a->encrypt[k], keys[i].public_key);
        if (e != ERR_OK)
            return e;
        a->encrypt_id[k] = key_id_of(KEY_LABEL_SUITE_1, span_of(keys[i].public_key, 32));
    }
    struct issue_statement in = {
        .agency = a->name,
        .serial = ++a->serial,
        .lifetime_ms = LIMIT_STATEMENT_MS,
        .keys = keys,
        .n_keys = FEDERATION_ENCRYPT_KEYS,
        .transport_lifetime_ms = 365 * DAY_MS,
        .log = a->log_public,
    };
    memcpy(in.transport, a->transport_public, sizeof(in.transport));
    struct why why;
    buf_reset(&a->statement);
    return issue_statement(f->env, &in, a->sign, &a->statement, &why);
}

static enum err make_leaf(struct federation *f, struct federation_agency *a)
{
    struct x509_issuer issuer = issuer_of(a);
    buf_reset(&a->leaf);
    a->sign_id = key_id_of(KEY_LABEL_SIGN, span_of(a->sign_public.b, sizeof(a->sign_public.b)));
    return x509_make_leaf(f->env, &issuer, a->name, a->trust_domain, &a->sign_public,
                          LIMIT_LEAF_LIFETIME_MS, &a->leaf);
}

enum err federation_make_documents(struct federation_agency *a)
{
    ProtobufCBinaryData chain[] = {pb_bytes(buf_span(&a->leaf)), pb_bytes(buf_span(&a->ca))};
    Sp__AgencyDocuments d = SP__AGENCY_DOCUMENTS__INIT;
    d.agency = pb_string(a->name);
    d.chain = chain;
    d.n_chain = 2;
    d.crl = pb_bytes(buf_span(&a->crl));
    d.statement = pb_bytes(buf_span(&a->statement));
    buf_reset(&a->documents);
    pb_encode(&d, &a->documents);
    return a->documents.err;
}

/* The keys that a rotation replaces. */
enum err federation_make_keys(struct federation *f, struct federation_agency *a)
{
    secret_free(a->sign);
    a->sign = NULL;
    enum err e = new_ed25519(f->env, &a->sign, &a->sign_public);
    for (size_t i = 0; e == ERR_OK && i < FEDERATION_ENCRYPT_KEYS; i++) {
        secret_free(a->encrypt[i]);
        a->encrypt[i] = NULL;
        e = secret_random(f->env, X25519_KEY, &a->encrypt[i]);
    }
    if (e == ERR_OK)
        e = make_leaf(f, a);
    return e != ERR_OK ? e : make_statement(f, a);
}

static enum err make_agency(struct federation *f, size_t i)
{
    struct federation_agency *a = &f->agencies[i];
    size_t home = agency_rows[i].home;
    a->name = agency_rows[i].name;
    a->home = broker_names[home < f->n_brokers ? home : f->n_brokers - 1];
    snprintf(a->trust_domain, sizeof(a->trust_domain), "%s", agency_rows[i].trust_domain);
    buf_init(&a->ca, LIMIT_CERT);
    buf_init(&a->leaf, LIMIT_CERT);
    buf_init(&a->crl, LIMIT_CRL);
    buf_init(&a->statement, LIMIT_DOCUMENT);
    buf_init(&a->documents, LIMIT_DOCUMENT);
    enum err e = x509_key_new(f->env, X509_ALG_ED25519, &a->ca_key);
    if (e == ERR_OK)
        e = x509_make_ca(f->env, a->ca_key, a->name, a->trust_domain, LIMIT_CA_LIFETIME_MS, &a->ca);
    if (e == ERR_OK)
        e = new_x25519(f->env, &a->transport, a->transport_public);
    if (e == ERR_OK)
        e = new_ed25519(f->env, &a->log, &a->log_public);
    if (e == ERR_OK)
        e = secret_random(f->env, 32, &a->storage);
    if (e == ERR_OK)
        e = federation_make_crl(f, a, NULL, 0);
    if (e == ERR_OK)
        e = federation_make_keys(f, a);
    return e != ERR_OK ? e : federation_make_documents(a);
}

static int by_key_id(const void *a, const void *b)
{
    return memcmp(((const Sp__RootKey *)a)->key_id.data, ((const Sp__RootKey *)b)->key_id.data, 16);
}

static enum err sign_more(struct buf *document, const struct secret *key)
{
    struct buf more;
    buf_init(&more, LIMIT_DOCUMENT);
    enum err e = dsse_add_signature(buf_span(document), key, &more);
    if (e == ERR_OK) {
        buf_fini(document);
        *document = more;
    } else {
        buf_fini(&more);
    }
    return e;
}

/* Signed by as many root keys as the threshold asks for. */
enum err federation_sign_by_root(struct federation *f, enum document_kind kind, const void *payload,
                                 struct buf *out)
{
    struct why why;
    buf_reset(out);
    enum err e = document_build_signed(kind, payload, f->root_keys[0], out, &why);
    for (size_t i = 1; e == ERR_OK && i < THRESHOLD; i++)
        e = sign_more(out, f->root_keys[i]);
    return e;
}

static enum err make_root(struct federation *f)
{
    enum { KEYS = 4 };
    static const char *const holders[KEYS] = {"first", "second", "third", "timestamp service"};
    Sp__RootKey keys[KEYS];
    Sp__RootKey *list[KEYS];
    struct ed25519_public pub[KEYS];
    struct key_id ids[KEYS];
    ProtobufCBinaryData offline[KEYS], online[1];
    struct key_id timestamp_id = {0};
    for (size_t i = 0; i < KEYS; i++) {
        struct secret **key = i < 3 ? &f->root_keys[i] : &f->timestamp_key;
        enum err e = new_ed25519(f->env, key, &pub[i]);
        if (e != ERR_OK)
            return e;
        ids[i] = key_id_of(KEY_LABEL_SIGN, span_of(pub[i].b, sizeof(pub[i].b)));
        sp__root_key__init(&keys[i]);
        keys[i].key_id = pb_bytes(span_of(ids[i].b, sizeof(ids[i].b)));
        keys[i].public_key = pb_bytes(span_of(pub[i].b, sizeof(pub[i].b)));
        keys[i].holder = pb_string(holders[i]);
    }
    timestamp_id = ids[3];
    qsort(keys, KEYS, sizeof(keys[0]), by_key_id);
    size_t n = 0;
    for (size_t i = 0; i < KEYS; i++) {
        list[i] = &keys[i];
        if (memcmp(keys[i].key_id.data, timestamp_id.b, sizeof(timestamp_id.b)) == 0)
            online[0] = keys[i].key_id;
        else
            offline[n++] = keys[i].key_id;
    }
    Sp__Role root = SP__ROLE__INIT, timestamp = SP__ROLE__INIT;
    root.key_ids = offline;
    root.n_key_ids = n;
    root.threshold = THRESHOLD;
    timestamp.key_ids = online;
    timestamp.n_key_ids = 1;
    timestamp.threshold = 1;
    Sp__Root r = SP__ROOT__INIT;
    r.version = 1;
    r.federation = pb_string(FEDERATION_NAME);
    r.issued_ms = env_now_ms(f->env);
    r.expires_ms = r.issued_ms + 365 * DAY_MS;
    r.keys = list;
    r.n_keys = KEYS;
    r.root = &root;
    r.directory = &root;
    r.timestamp = &timestamp;
    return federation_sign_by_root(f, DOCUMENT_ROOT, &r, &f->root);
}

/* The first directory; later ones are edited copies of the one before. */
struct builder {
    Sp__Directory d;
    struct codebook codes;
    char *handling[CODEBOOK_CODES];
    Sp__AgencyEntry agencies[FEDERATION_AGENCIES_MAX];
    Sp__AgencyEntry *agency_list[FEDERATION_AGENCIES_MAX];
    Sp__Text names[FEDERATION_AGENCIES_MAX];
    Sp__Text *name_list[FEDERATION_AGENCIES_MAX];
    char *homes[FEDERATION_AGENCIES_MAX];
    struct digest spki[FEDERATION_AGENCIES_MAX];
    Sp__BrokerEntry brokers[FEDERATION_BROKERS];
    Sp__BrokerEntry *broker_list[FEDERATION_BROKERS];
    Sp__CurveKey curve[FEDERATION_BROKERS];
    Sp__CurveKey *curve_list[FEDERATION_BROKERS];
    Sp__LinkEntry links[FEDERATION_BROKERS];
    Sp__LinkEntry *link_list[FEDERATION_BROKERS];
};

static enum err put_agency(struct federation *f, struct builder *b, size_t i)
{
    struct federation_agency *a = &f->agencies[i];
    Sp__AgencyEntry *entry = &b->agencies[i];
    enum err e = x509_spki_digest(buf_span(&a->ca), &b->spki[i]);
    sp__text__init(&b->names[i]);
    b->names[i].language = pb_string("en");
    b->names[i].text = pb_string(a->name);
    b->name_list[i] = &b->names[i];
    b->homes[i] = pb_string(a->home);
    sp__agency_entry__init(entry);
    entry->name = pb_string(a->name);
    entry->names = &b->name_list[i];
    entry->n_names = 1;
    entry->trust_domain = a->trust_domain;
    entry->ca_spki = pb_bytes(digest_span(&b->spki[i]));
    entry->handling = b->handling;
    entry->n_handling = CODEBOOK_CODES;
    entry->ceiling = strcmp(a->name, "LT.CUSTOMS") == 0 ? SP__LEVEL__LEVEL_RESTRICTED
                                                        : SP__LEVEL__LEVEL_CONFIDENTIAL;
    entry->homes = &b->homes[i];
    entry->n_homes = 1;
    b->agency_list[i] = entry;
    return e;
}

static void put_broker(struct federation *f, struct builder *b, struct federation_broker *from,
                       size_t i)
{
    uint64_t now = env_now_ms(f->env);
    Sp__BrokerEntry *entry = &b->brokers[i];
    sp__curve_key__init(&b->curve[i]);
    b->curve[i].public_key = pb_bytes(span_of(from->transport_public, 32));
    b->curve[i].not_before_ms = now - DAY_MS;
    b->curve[i].not_after_ms = now + 365 * DAY_MS;
    b->curve_list[i] = &b->curve[i];
    sp__broker_entry__init(entry);
    entry->name = pb_string(from->name);
    entry->endpoint = from->endpoint;
    entry->keys = &b->curve_list[i];
    entry->n_keys = 1;
    entry->log_key = pb_bytes(span_of(from->log_public.b, 32));
    entry->witness_key = pb_bytes(span_of(from->witness_public.b, 32));
    entry->handling = b->handling;
    entry->n_handling = CODEBOOK_CODES;
    entry->ceiling = SP__LEVEL__LEVEL_CONFIDENTIAL;
    b->broker_list[i] = entry;
}

static void put_link(struct builder *b, size_t i, const char *from, const char *to)
{
    sp__link_entry__init(&b->links[i]);
    b->links[i].a = pb_string(from);
    b->links[i].b = pb_string(to);
    b->links[i].handling = b->handling;
    b->links[i].n_handling = CODEBOOK_CODES;
    b->links[i].ceiling = SP__LEVEL__LEVEL_CONFIDENTIAL;
    b->links[i].cost = 1;
    b->link_list[i] = &b->links[i];
}

static enum err make_directory(struct federation *f)
{
    struct builder *b = calloc(1, sizeof(*b));
    if (b == NULL)
        return ERR_NO_MEMORY;
    enum err e = ERR_OK;
    codebook_init(&b->codes);
    for (size_t i = 0; i < CODEBOOK_CODES; i++)
        b->handling[i] = b->codes.entries[i].code;
    for (size_t i = 0; e == ERR_OK && i < f->n_agencies; i++)
        e = put_agency(f, b, i);
    /* By name: riga, tallinn, vilnius. */
    static const size_t order[] = {1, 0, 2};
    size_t n = 0;
    for (size_t i = 0; i < FEDERATION_BROKERS; i++) {
        if (order[i] < f->n_brokers)
            put_broker(f, b, &f->brokers[order[i]], n++);
    }
    if (f->n_brokers > 1)
        put_link(b, 0, "riga", "tallinn");
    if (f->n_brokers > 2)
        put_link(b, 1, "riga", "vilnius");
    sp__directory__init(&b->d);
    b->d.version = ++f->directory_version;
    b->d.federation = pb_string(FEDERATION_NAME);
    b->d.issued_ms = env_now_ms(f->env);
    b->d.expires_ms = b->d.issued_ms + LIMIT_DIRECTORY_MS;
    b->d.agencies = b->agency_list;
    b->d.n_agencies = f->n_agencies;
    b->d.brokers = b->broker_list;
    b->d.n_brokers = n;
    b->d.links = b->link_list;
    b->d.n_links = f->n_brokers - 1;
    b->d.codes = b->codes.list;
    b->d.n_codes = CODEBOOK_CODES;
    b->d.crl_max_ms = CRL_MS;
    if (e == ERR_OK)
        e = federation_sign_by_root(f, DOCUMENT_DIRECTORY, &b->d, &f->directory);
    free(b);
    return e;
}

enum err federation_make_timestamp(struct federation *f)
{
    struct document directory = {0};
    struct why why;
    enum err e = document_read(DOCUMENT_DIRECTORY, buf_span(&f->directory), &directory, &why);
    if (e != ERR_OK)
        return e;
    buf_reset(&f->timestamp);
    e = issue_timestamp(f->env, 1, &directory, 0, LIMIT_TIMESTAMP_MS, f->timestamp_key,
                        &f->timestamp, &why);
    document_fini(&directory);
    return e;
}

static enum err build(struct federation *f, size_t n_documents, struct trust **ret)
{
    char why[512];
    struct span documents[FEDERATION_AGENCIES_MAX];
    for (size_t i = 0; i < f->n_agencies; i++)
        documents[i] = buf_span(&f->agencies[i].documents);
    struct trust_input in = {
        .pinned_root = buf_span(&f->root),
        .directory = buf_span(&f->directory),
        .timestamp = buf_span(&f->timestamp),
        .documents = documents,
        .n_documents = n_documents,
    };
    return trust_build(&in, NULL, env_now_ms(f->env), ret, why, sizeof(why));
}

/* New snapshots; what the old one knew beside them (earlier leaves) is carried over. */
enum err federation_rebuild(struct federation *f)
{
    struct trust *bare = NULL, *fresh = NULL, *merged = NULL;
    enum err e = build(f, 0, &bare);
    if (e == ERR_OK)
        e = build(f, f->n_agencies, &fresh);
    if (e == ERR_OK && f->trust != NULL)
        e = trust_merge(fresh, f->trust, env_now_ms(f->env), &merged);
    else if (e == ERR_OK)
        merged = trust_ref(fresh);
    trust_free(fresh);
    if (e != ERR_OK) {
        trust_free(bare);
        return e;
    }
    trust_free(f->trust);
    trust_free(f->bare);
    f->trust = merged;
    f->bare = bare;
    return ERR_OK;
}

enum err federation_new(const struct env *env, size_t brokers, struct federation **ret)
{
    if (brokers < 1 || brokers > FEDERATION_BROKERS)
        return ERR_USAGE;
    struct federation *f = calloc(1, sizeof(*f));
    if (f == NULL)
        return ERR_NO_MEMORY;
    f->env = env;
    f->n_brokers = brokers;
    f->n_agencies = FEDERATION_AGENCIES_MAX;
    buf_init(&f->root, LIMIT_DOCUMENT);
    buf_init(&f->directory, LIMIT_DOCUMENT);
    buf_init(&f->timestamp, LIMIT_DOCUMENT);
    enum err e = secret_process_init(true);
    if (e == ERR_OK)
        e = make_root(f);
    for (size_t i = 0; e == ERR_OK && i < brokers; i++)
        e = make_broker(f, i);
    for (size_t i = 0; e == ERR_OK && i < f->n_agencies; i++)
        e = make_agency(f, i);
    if (e == ERR_OK)
        e = make_directory(f);
    if (e == ERR_OK)
        e = federation_make_timestamp(f);
    if (e == ERR_OK)
        e = federation_rebuild(f);
    if (e != ERR_OK) {
        federation_free(f);
        return e;
    }
    *ret = f;
    return ERR_OK;
}

static void agency_fini(struct federation_agency *a)
{
    secret_free(a->sign);
    for (size_t i = 0; i < FEDERATION_ENCRYPT_KEYS; i++)
        secret_free(a->encrypt[i]);
    secret_free(a->transport);
    secret_free(a->log);
    secret_free(a->storage);
    secret_free(a->ca_key);
    buf_fini(&a->ca);
    buf_fini(&a->leaf);
    buf_fini(&a->crl);
    buf_fini(&a->statement);
    buf_fini(&a->documents);
}

void federation_free(struct federation *f)
{
    if (f == NULL)
        return;
    for (size_t i = 0; i < f->n_brokers; i++) {
        secret_free(f->brokers[i].transport);
        secret_free(f->brokers[i].log);
        secret_free(f->brokers[i].witness);
    }
    for (size_t i = 0; i < f->n_agencies; i++)
        agency_fini(&f->agencies[i]);
    for (size_t i = 0; i < 3; i++)
        secret_free(f->root_keys[i]);
    secret_free(f->timestamp_key);
    buf_fini(&f->root);
    buf_fini(&f->directory);
    buf_fini(&f->timestamp);
    trust_free(f->trust);
    trust_free(f->bare);
    free(f);
}

struct federation_agency *federation_agency(struct federation *f, const char *name)
{
    for (size_t i = 0; i < f->n_agencies; i++) {
        if (strcmp(f->agencies[i].name, name) == 0)
            return &f->agencies[i];
    }
    return NULL;
}

struct federation_broker *federation_broker(struct federation *f, const char *name)
{
    for (size_t i = 0; i < f->n_brokers; i++) {
        if (strcmp(f->brokers[i].name, name) == 0)
            return &f->brokers[i];
    }
    return NULL;
}

enum err federation_find_encrypt(void *agency, const struct key_id *id, const struct secret **ret)
{
    const struct federation_agency *a = agency;
    for (size_t i = 0; i < FEDERATION_ENCRYPT_KEYS; i++) {
        if (memcmp(a->encrypt_id[i].b, id->b, sizeof(id->b)) == 0) {
            *ret = a->encrypt[i];
            return ERR_OK;
        }
    }
    return ERR_NOT_FOUND;
}
