/* The inside of a snapshot. Included by certs/trust*.c alone. */
#ifndef SEALPOST_CERTS_TRUST_INTERNAL_H
#define SEALPOST_CERTS_TRUST_INTERNAL_H

#include "certs/trust.h"
#include "certs/trust_record.h"

/* The documents that all snapshots of one load share. */
struct trust_core {
    atomic_uint refs;
    struct document root;
    struct document directory;
    struct document timestamp;
    bool has_timestamp;
};

struct trust {
    atomic_uint refs;
    struct trust_core *core;
    struct record **records; /* by place in the directory's agencies; NULL: not known */
};

/* A snapshot without agencies' documents; takes over `core` on success. */
enum err trust_new(struct trust_core *core, struct trust **ret);
void trust_core_free(struct trust_core *core);

/* Adds documents to a snapshot that nobody else holds yet. */
enum err trust_put(struct trust *t, struct span agency_documents, uint64_t now_ms, struct why *why);

#endif
