/* Shared between the files of the federation for tests. */
#ifndef SEALPOST_TESTS_FEDERATION_INTERNAL_H
#define SEALPOST_TESTS_FEDERATION_INTERNAL_H

#include "certs/documents.h"
#include "certs/x509.h"
#include "tests/lib/federation.h"

enum err federation_make_crl(struct federation *f, struct federation_agency *a,
                             const struct x509_revoked *items, size_t n);
enum err federation_make_documents(struct federation_agency *a);
enum err federation_make_keys(struct federation *f, struct federation_agency *a);
enum err federation_make_timestamp(struct federation *f);
enum err federation_sign_by_root(struct federation *f, enum document_kind kind, const void *payload,
                                 struct buf *out);
enum err federation_rebuild(struct federation *f);

#endif
