#include "certs/trust_internal.h"

#include "certs/directory.h"

#include <stdlib.h>
#include <string.h>

static size_t agency_count(const struct trust *t)
{
    return document_directory(&t->core->directory)->n_agencies;
}

void trust_core_free(struct trust_core *core)
{
    if (core == NULL || atomic_fetch_sub_explicit(&core->refs, 1, memory_order_acq_rel) != 1)
        return;
    document_fini(&core->root);
    document_fini(&core->directory);
    document_fini(&core->timestamp);
    free(core);
}

enum err trust_new(struct trust_core *core, struct trust **ret)
{
    struct trust *t = calloc(1, sizeof(*t));
    if (t == NULL)
        return ERR_NO_MEMORY;
    size_t n = document_directory(&core->directory)->n_agencies;
    t->records = calloc(n == 0 ? 1 : n, sizeof(struct record *));
    if (t->records == NULL) {
        free(t);
        return ERR_NO_MEMORY;
    }
    atomic_init(&t->refs, 1);
    t->core = core;
    *ret = t;
    return ERR_OK;
}

struct trust *trust_ref(struct trust *t)
{
    if (t != NULL)
        atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
    return t;
}

void trust_free(struct trust *t)
{
    if (t == NULL || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < agency_count(t); i++)
        record_free(t->records[i]);
    free(t->records);
    trust_core_free(t->core);
    free(t);
}

/* Another snapshot with the same content, to be changed by its maker. */
static enum err trust_copy(const struct trust *t, struct trust **ret)
{
    atomic_fetch_add_explicit(&t->core->refs, 1, memory_order_relaxed);
    struct trust *copy = NULL;
    enum err e = trust_new(t->core, &copy);
    if (e != ERR_OK) {
        trust_core_free(t->core);
        return e;
    }
    for (size_t i = 0; i < agency_count(t); i++)
        copy->records[i] = record_ref(t->records[i]);
    *ret = copy;
    return ERR_OK;
}

/* Judges documents and merges them with what is held: place and new record, when there is news. */
static enum err judge(const struct trust *t, struct span bytes, uint64_t now_ms, size_t *place,
                      bool *changed, struct record **ret, struct why *why)
{
    const Sp__Directory *d = document_directory(&t->core->directory);
    struct pb *pb = NULL;
    struct held *held = NULL;
    struct held_crl *crl = NULL;
    enum err e = pb_decode(&sp__agency_documents__descriptor, bytes, LIMIT_DOCUMENT, &pb);
    if (e != ERR_OK)
        return why_set(why, e, "an agency's documents do not decode");
    const Sp__AgencyDocuments *docs = pb_view(pb);
    size_t i = directory_agency_index(d, docs->agency);
    if (i == d->n_agencies) {
        e = why_set(why, ERR_UNKNOWN_AGENCY, "documents of an agency that is not listed");
        goto out;
    }
    e = record_judge(d->agencies[i], d->crl_max_ms, docs, bytes, now_ms, &held, &crl, why);
    if (e != ERR_OK) {
        why_prefix(why, "%s", d->agencies[i]->name);
        goto out;
    }
    e = record_merge(t->records[i], held, crl, changed, ret);
    if (e == ERR_OK)
        *place = i;
out:
    held_free(held);
    held_crl_free(crl);
    pb_free(pb);
    return e;
}

enum err trust_put(struct trust *t, struct span agency_documents, uint64_t now_ms, struct why *why)
{
    size_t place;
    bool changed;
    struct record *record = NULL;
    enum err e = judge(t, agency_documents, now_ms, &place, &changed, &record, why);
    if (e == ERR_OK && changed) {
        record_free(t->records[place]);
        t->records[place] = record;
    }
    return e;
}

enum err trust_add_documents(struct trust *t, struct span agency_documents, uint64_t now_ms,
                             bool *changed, struct trust **ret)
{
    struct why why;
    size_t place;
    bool news;
    struct record *record = NULL;
    enum err e = judge(t, agency_documents, now_ms, &place, &news, &record, &why);
    if (e != ERR_OK)
        return e;
    struct trust *copy = NULL;
    if (!news) {
        copy = trust_ref(t);
    } else {
        e = trust_copy(t, &copy);
        if (e != ERR_OK) {
            record_free(record);
            return e;
        }
        record_free(copy->records[place]);
        copy->records[place] = record;
    }
    *changed = news;
    *ret = copy;
    return ERR_OK;
}

enum err trust_merge(struct trust *t, const struct trust *from, uint64_t now_ms, struct trust **ret)
{
    struct trust *copy = NULL;
    struct why why;
    enum err e = trust_copy(t, &copy);
    for (size_t i = 0; e == ERR_OK && i < agency_count(from); i++) {
        const struct record *r = from->records[i];
        if (r == NULL)
            continue;
        /* What no longer holds is left out; only our own failures end it. */
        e = trust_put(copy, buf_span(&r->documents), now_ms, &why);
        for (size_t k = 0; e != ERR_NO_MEMORY && k < r->n_earlier; k++)
            e = trust_put(copy, buf_span(&r->earlier[k]->documents), now_ms, &why);
        if (e != ERR_NO_MEMORY)
            e = ERR_OK;
    }
    if (e != ERR_OK) {
        trust_free(copy);
        return e;
    }
    *ret = copy;
    return ERR_OK;
}

struct trust_floor trust_versions(const struct trust *t)
{
    return (struct trust_floor){
        .root_version = document_root(&t->core->root)->version,
        .directory_version = document_directory(&t->core->directory)->version,
        .timestamp_version =
            t->core->has_timestamp ? document_timestamp(&t->core->timestamp)->version : 0,
    };
}

const char *trust_federation(const struct trust *t)
{
    return document_root(&t->core->root)->federation;
}

const Sp__Directory *trust_directory(const struct trust *t)
{
    return document_directory(&t->core->directory);
}

uint64_t trust_timestamp_expires_ms(const struct trust *t)
{
    return t->core->has_timestamp ? document_timestamp(&t->core->timestamp)->expires_ms : 0;
}

const struct digest *trust_directory_digest(const struct trust *t)
{
    return &t->core->directory.sha256;
}

enum err trust_fresh(const struct trust *t, uint64_t now_ms)
{
    if (document_root(&t->core->root)->expires_ms <= now_ms ||
        trust_directory(t)->expires_ms <= now_ms)
        return ERR_STALE_DIRECTORY;
    return trust_timestamp_expires_ms(t) <= now_ms ? ERR_STALE_TIMESTAMP : ERR_OK;
}

const Sp__AgencyEntry *trust_agency(const struct trust *t, const char *name)
{
    return directory_agency(trust_directory(t), name);
}

const Sp__BrokerEntry *trust_broker(const struct trust *t, const char *name)
{
    return directory_broker(trust_directory(t), name);
}

const Sp__CodeEntry *trust_code(const struct trust *t, const char *code)
{
    return directory_code(trust_directory(t), code);
}
