#include "certs/trust_internal.h"

#include "common/file.h"
#include "common/text.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROOTS_MAX 1024 /* versions between the pinned root and the newest */

/* What was read, to be judged by trust_build. */
struct folder {
    struct buf roots[ROOTS_MAX];
    size_t n_roots;
    struct buf directory;
    struct buf timestamp;
    struct buf *documents;
    size_t n_documents;
};

static void folder_free(struct folder *f)
{
    if (f == NULL)
        return;
    for (size_t i = 0; i < f->n_roots; i++)
        buf_fini(&f->roots[i]);
    for (size_t i = 0; i < f->n_documents; i++)
        buf_fini(&f->documents[i]);
    free(f->documents);
    buf_fini(&f->directory);
    buf_fini(&f->timestamp);
    free(f);
}

static enum err read_in(const char *dir, const char *name, size_t max, struct buf *ret,
                        struct why *why)
{
    char path[PATH_MAX];
    enum err e = file_join(dir, name, path, sizeof(path));
    if (e == ERR_OK)
        e = file_read(path, max, ret);
    return e == ERR_OK ? e : why_set(why, e, "%s: %s", name, err_meaning(e));
}

static enum err root_version(struct span bytes, uint64_t *ret, struct why *why)
{
    struct document d = {0};
    enum err e = document_read(DOCUMENT_ROOT, bytes, &d, why);
    if (e == ERR_OK)
        *ret = document_root(&d)->version;
    document_fini(&d);
    return e;
}

/* The roots that lead from the pinned one to the newest. A folder may hold an older newest root
 * than the one that is pinned: then the pinned one is the newest. */
static enum err read_roots(const char *dir, struct span pinned, struct folder *f, struct why *why)
{
    struct buf newest;
    buf_init(&newest, LIMIT_DOCUMENT);
    uint64_t from, to;
    enum err e = root_version(pinned, &from, why);
    if (e != ERR_OK) {
        why_prefix(why, "pinned root");
        return e;
    }
    e = read_in(dir, FEDERATION_ROOT, LIMIT_DOCUMENT, &newest, why);
    if (e == ERR_NOT_FOUND)
        return ERR_OK;
    if (e == ERR_OK)
        e = root_version(buf_span(&newest), &to, why);
    if (e == ERR_OK && to > from + ROOTS_MAX)
        e = why_set(why, ERR_TOO_LARGE, "too many roots between the pinned one and the newest");
    for (uint64_t v = from + 1; e == ERR_OK && v < to; v++) {
        char name[64];
        snprintf(name, sizeof(name), "root.%llu.dsse", (unsigned long long)v);
        e = read_in(dir, name, LIMIT_DOCUMENT, &f->roots[f->n_roots], why);
        if (e == ERR_OK)
            f->n_roots++;
    }
    if (e == ERR_OK && to > from)
        f->roots[f->n_roots++] = newest;
    else
        buf_fini(&newest);
    return e;
}

static enum err read_pem(const char *dir, const char *name, const char *label, size_t max,
                         struct buf *der, struct why *why)
{
    struct buf pem;
    buf_init(&pem, LIMIT_DOCUMENT);
    enum err e = read_in(dir, name, LIMIT_DOCUMENT, &pem, why);
    if (e != ERR_OK)
        return e;
    e = x509_pem_read(label, buf_span(&pem), 0, max, der);
    buf_fini(&pem);
    /* The file is there: that it holds nothing is damage, not absence. */
    if (e == ERR_NOT_FOUND)
        e = ERR_MALFORMED;
    return e == ERR_OK ? e : why_set(why, e, "%s: no PEM block %s that can be read", name, label);
}

/* Composes an agency's documents from its folder. ERR_NOT_FOUND when it has none yet. */
static enum err read_agency(const char *dir, const char *agency, struct buf *ret, struct why *why)
{
    struct buf leaf, ca, crl, statement;
    buf_init(&leaf, LIMIT_CERT);
    buf_init(&ca, LIMIT_CERT);
    buf_init(&crl, LIMIT_CRL);
    buf_init(&statement, LIMIT_DOCUMENT);
    enum err e = read_in(dir, FEDERATION_STATEMENT, LIMIT_DOCUMENT, &statement, why);
    if (e == ERR_OK)
        e = read_pem(dir, FEDERATION_CHAIN, X509_PEM_CERT, LIMIT_CERT, &leaf, why);
    if (e == ERR_OK)
        e = read_pem(dir, FEDERATION_CA, X509_PEM_CERT, LIMIT_CERT, &ca, why);
    if (e == ERR_OK) {
        e = read_pem(dir, FEDERATION_CRL, X509_PEM_CRL, LIMIT_CRL, &crl, why);
        if (e == ERR_NOT_FOUND)
            e = ERR_OK;
    }
    if (e == ERR_OK) {
        ProtobufCBinaryData chain[] = {pb_bytes(buf_span(&leaf)), pb_bytes(buf_span(&ca))};
        Sp__AgencyDocuments d = SP__AGENCY_DOCUMENTS__INIT;
        d.agency = pb_string(agency);
        d.chain = chain;
        d.n_chain = 2;
        d.crl = pb_bytes(buf_span(&crl));
        d.statement = pb_bytes(buf_span(&statement));
        pb_encode(&d, ret);
        e = ret->err;
    }
    buf_fini(&leaf);
    buf_fini(&ca);
    buf_fini(&crl);
    buf_fini(&statement);
    return e;
}

/* The agencies of a directory whose rules hold; who signed it is judged later. */
static enum err read_agencies(const char *dir, struct folder *f, char *notes, size_t notes_size,
                              struct why *why)
{
    struct document directory = {0};
    enum err e = document_read(DOCUMENT_DIRECTORY, buf_span(&f->directory), &directory, why);
    if (e != ERR_OK)
        return e;
    const Sp__Directory *d = document_directory(&directory);
    f->documents = calloc(d->n_agencies + 1, sizeof(*f->documents));
    if (f->documents == NULL)
        e = ERR_NO_MEMORY;
    for (size_t i = 0; e == ERR_OK && i < d->n_agencies; i++) {
        char name[PATH_MAX], path[PATH_MAX];
        snprintf(name, sizeof(name), FEDERATION_AGENCIES "/%s", d->agencies[i]->name);
        e = file_join(dir, name, path, sizeof(path));
        struct buf *docs = &f->documents[f->n_documents];
        buf_init(docs, LIMIT_DOCUMENT);
        if (e == ERR_OK)
            e = read_agency(path, d->agencies[i]->name, docs, why);
        if (e == ERR_OK)
            f->n_documents++;
        else
            buf_fini(docs);
        if (e != ERR_OK && e != ERR_NOT_FOUND) {
            size_t used = strlen(notes);
            snprintf(notes + used, notes_size - used, "%s%s: %s", used == 0 ? "" : "; ",
                     d->agencies[i]->name, why->text);
        }
        if (e != ERR_NO_MEMORY)
            e = ERR_OK;
    }
    document_fini(&directory);
    return e;
}

static enum err read_folder(const char *dir, struct span pinned, struct folder *f, char *notes,
                            size_t notes_size, struct why *why)
{
    enum err e = read_roots(dir, pinned, f, why);
    if (e == ERR_OK)
        e = read_in(dir, FEDERATION_DIRECTORY, LIMIT_DOCUMENT, &f->directory, why);
    if (e != ERR_OK)
        return e;
    e = read_in(dir, FEDERATION_TIMESTAMP, LIMIT_DOCUMENT, &f->timestamp, why);
    if (e != ERR_OK && e != ERR_NOT_FOUND)
        return e;
    return read_agencies(dir, f, notes, notes_size, why);
}

static enum err build(const struct folder *f, struct span pinned, const struct trust_floor *floor,
                      uint64_t now_ms, struct trust **ret, char *why, size_t why_size)
{
    struct span *documents = calloc(f->n_documents + 1, sizeof(*documents));
    struct span *roots = calloc(f->n_roots + 1, sizeof(*roots));
    enum err e = ERR_NO_MEMORY;
    if (documents == NULL || roots == NULL)
        goto out;
    for (size_t i = 0; i < f->n_documents; i++)
        documents[i] = buf_span(&f->documents[i]);
    for (size_t i = 0; i < f->n_roots; i++)
        roots[i] = buf_span(&f->roots[i]);
    struct trust_input in = {
        .pinned_root = pinned,
        .roots = roots,
        .n_roots = f->n_roots,
        .directory = buf_span(&f->directory),
        .timestamp = buf_span(&f->timestamp),
        .documents = documents,
        .n_documents = f->n_documents,
    };
    e = trust_build(&in, floor, now_ms, ret, why, why_size);
out:
    free(documents);
    free(roots);
    return e;
}

enum err trust_load(const char *federation_dir, struct span pinned_root,
                    const struct trust_floor *floor, uint64_t now_ms, struct trust **ret, char *why,
                    size_t why_size)
{
    struct why w = {0};
    char notes[1024] = "";
    struct folder *f = calloc(1, sizeof(*f));
    why[0] = '\0';
    if (f == NULL)
        return ERR_NO_MEMORY;
    enum err e = read_folder(federation_dir, pinned_root, f, notes, sizeof(notes), &w);
    if (e != ERR_OK)
        snprintf(why, why_size, "%s", w.text);
    else
        e = build(f, pinned_root, floor, now_ms, ret, why, why_size);
    folder_free(f);
    if (e != ERR_OK || notes[0] == '\0')
        return e;
    size_t used = strlen(why);
    if (used + 1 < why_size)
        snprintf(why + used, why_size - used, "%s%s", used == 0 ? "" : "; ", notes);
    return e;
}
