#include "tests/lib/federation.h"
#include "tests/lib/federation_internal.h"

#include "certs/documents.h"
#include "certs/x509.h"
#include "common/file.h"
#include "common/limits.h"
#include "proto/pb.h"

#include <limits.h>
#include <stdio.h>

/* The list so far, read back from the list itself. */
static enum err old_list(struct federation_agency *a, struct x509_crl *ret)
{
    struct why why;
    return x509_read_crl(buf_span(&a->crl), buf_span(&a->ca), ret, &why);
}

enum err federation_refresh(struct federation *f)
{
    enum err e = ERR_OK;
    for (size_t i = 0; e == ERR_OK && i < f->n_agencies; i++) {
        struct federation_agency *a = &f->agencies[i];
        struct x509_crl old = {0};
        e = old_list(a, &old);
        if (e == ERR_OK)
            e = federation_make_crl(f, a, old.items, old.n);
        x509_crl_fini(&old);
        if (e == ERR_OK)
            e = federation_make_documents(a);
    }
    if (e == ERR_OK)
        e = federation_make_timestamp(f);
    return e != ERR_OK ? e : federation_rebuild(f);
}

enum err federation_edit(struct federation *f, void (*edit)(void *ctx, Sp__Directory *d), void *ctx)
{
    struct dsse *dsse = NULL;
    struct pb *pb = NULL;
    enum err e = dsse_decode(buf_span(&f->directory), LIMIT_DOCUMENT, &dsse);
    if (e == ERR_OK)
        e = pb_decode(&sp__directory__descriptor, dsse_payload(dsse), LIMIT_DOCUMENT, &pb);
    if (e != ERR_OK)
        goto out;
    /* A decoded value is const to everybody but its maker; this copy is ours alone. */
    Sp__Directory d = *(const Sp__Directory *)pb_view(pb);
    d.version = ++f->directory_version;
    d.issued_ms = env_now_ms(f->env);
    d.expires_ms = d.issued_ms + LIMIT_DIRECTORY_MS;
    if (edit != NULL)
        edit(ctx, &d);
    e = federation_sign_by_root(f, DOCUMENT_DIRECTORY, &d, &f->directory);
    if (e == ERR_OK)
        e = federation_make_timestamp(f);
    if (e == ERR_OK)
        e = federation_rebuild(f);
out:
    pb_free(pb);
    dsse_free(dsse);
    return e;
}

enum err federation_rotate(struct federation *f, const char *agency)
{
    struct federation_agency *a = federation_agency(f, agency);
    if (a == NULL)
        return ERR_UNKNOWN_AGENCY;
    enum err e = federation_make_keys(f, a);
    if (e == ERR_OK)
        e = federation_make_documents(a);
    return e != ERR_OK ? e : federation_rebuild(f);
}

enum err federation_revoke(struct federation *f, const char *agency, uint64_t since_ms)
{
    struct federation_agency *a = federation_agency(f, agency);
    if (a == NULL)
        return ERR_UNKNOWN_AGENCY;
    struct x509_revoked items[64];
    struct x509_crl old = {0};
    struct x509_leaf leaf;
    struct why why;
    struct digest spki;
    enum err e = x509_spki_digest(buf_span(&a->ca), &spki);
    if (e == ERR_OK) {
        struct x509_check check = {.leaf = buf_span(&a->leaf),
                                   .ca = buf_span(&a->ca),
                                   .ca_spki = &spki,
                                   .agency = a->name,
                                   .trust_domain = a->trust_domain};
        e = x509_check_leaf(&check, &leaf, &why);
    }
    if (e == ERR_OK)
        e = old_list(a, &old);
    size_t n = 0;
    for (; e == ERR_OK && n < old.n && n < 63; n++)
        items[n] = old.items[n];
    x509_crl_fini(&old);
    if (e != ERR_OK)
        return e;
    items[n] = (struct x509_revoked){.revoked_ms = env_now_ms(f->env),
                                     .compromise = since_ms != 0,
                                     .invalid_since_ms = since_ms};
    for (size_t i = 0; i < X509_SERIAL; i++)
        items[n].serial[i] = leaf.serial[i];
    e = federation_make_crl(f, a, items, n + 1);
    if (e == ERR_OK)
        e = federation_make_documents(a);
    return e != ERR_OK ? e : federation_rebuild(f);
}

static enum err write_file(const char *dir, const char *name, struct span bytes)
{
    char path[PATH_MAX];
    enum err e = file_join(dir, name, path, sizeof(path));
    return e != ERR_OK ? e : file_write_atomic(path, bytes, 0644);
}

static enum err write_pem(const char *dir, const char *name, const char *label, struct span first,
                          struct span second)
{
    struct buf pem;
    buf_init(&pem, LIMIT_DOCUMENT);
    enum err e = x509_pem_write(label, first, &pem);
    if (e == ERR_OK && second.len > 0)
        e = x509_pem_write(label, second, &pem);
    if (e == ERR_OK)
        e = write_file(dir, name, buf_span(&pem));
    buf_fini(&pem);
    return e;
}

static enum err write_agency(const struct federation_agency *a, const char *dir)
{
    char name[128], path[PATH_MAX];
    snprintf(name, sizeof(name), FEDERATION_AGENCIES "/%s", a->name);
    enum err e = file_join(dir, name, path, sizeof(path));
    if (e == ERR_OK)
        e = file_make_dir(path, 0755);
    if (e == ERR_OK)
        e = write_pem(path, FEDERATION_CA, X509_PEM_CERT, buf_span(&a->ca), span_of(NULL, 0));
    if (e == ERR_OK)
        e = write_pem(path, FEDERATION_CHAIN, X509_PEM_CERT, buf_span(&a->leaf), buf_span(&a->ca));
    if (e == ERR_OK)
        e = write_pem(path, FEDERATION_CRL, X509_PEM_CRL, buf_span(&a->crl), span_of(NULL, 0));
    return e != ERR_OK ? e : write_file(path, FEDERATION_STATEMENT, buf_span(&a->statement));
}

enum err federation_write(const struct federation *f, const char *dir)
{
    enum err e = file_make_dir(dir, 0755);
    if (e == ERR_OK)
        e = write_file(dir, FEDERATION_ROOT, buf_span(&f->root));
    if (e == ERR_OK)
        e = write_file(dir, FEDERATION_DIRECTORY, buf_span(&f->directory));
    if (e == ERR_OK)
        e = write_file(dir, FEDERATION_TIMESTAMP, buf_span(&f->timestamp));
    for (size_t i = 0; e == ERR_OK && i < f->n_agencies; i++)
        e = write_agency(&f->agencies[i], dir);
    return e;
}
