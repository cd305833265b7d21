#include "audit/anchor.h"

#include "certs/trust.h"
#include "common/env.h"
#include "common/file.h"
#include "common/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct anchor {
    struct buf root;
    struct trust *trust; /* NULL: nothing is anchored */
};

static enum err load(struct anchor *a, const char *root, char *why, size_t why_size)
{
    const struct trust_floor floor = {0};
    char dir[LIMIT_PATH];
    enum err e;

    e = file_parent(root, dir, sizeof(dir));
    if (e == ERR_OK)
        e = file_read(root, LIMIT_DOCUMENT, &a->root);
    if (e != ERR_OK) {
        (void)snprintf(why, why_size, "%s: %s", root, err_meaning(e));
        return e;
    }
    return trust_load(dir, buf_span(&a->root), &floor, env_now_ms(env_system()), &a->trust, why,
                      why_size);
}

enum err anchor_open(const char *root, struct anchor **ret, char *why, size_t why_size)
{
    struct anchor *a = calloc(1, sizeof(*a));
    enum err e = ERR_OK;

    if (a == NULL)
        return ERR_NO_MEMORY;
    if (root == NULL)
        root = getenv("SEALPOST_ROOT");
    if (root != NULL && root[0] != '\0')
        e = load(a, root, why, why_size);
    if (e != ERR_OK) {
        anchor_free(a);
        return e;
    }
    *ret = a;
    return ERR_OK;
}

void anchor_free(struct anchor *a)
{
    if (a == NULL)
        return;
    trust_free(a->trust);
    buf_fini(&a->root);
    free(a);
}

bool anchor_is_set(const struct anchor *a)
{
    return a->trust != NULL;
}

enum err anchor_log_key(const struct anchor *a, const char *origin, struct note_key *ret)
{
    struct ed25519_public key;
    const char *federation;
    size_t len;
    enum err e;

    if (a->trust == NULL)
        return ERR_NOT_FOUND;
    federation = trust_federation(a->trust);
    len = strlen(federation);
    if (strncmp(origin, federation, len) != 0 || origin[len] != '/')
        return ERR_UNKNOWN_AGENCY;
    e = trust_log_key(a->trust, origin + len + 1, &key);
    if (e != ERR_OK)
        return e;
    return note_key_make(origin, NOTE_ED25519, &key, ret);
}

struct anchor_bundle {
    struct trust *trust;
};

static enum err build(const struct anchor *a, const struct evidence *ev,
                      const struct span *documents, struct trust **ret, char *why, size_t why_size)
{
    const Sp__Evidence *v = evidence_view(ev);
    const struct trust_floor floor = {0};
    const struct span own_root = pb_span(v->root);
    struct trust_input in = {
        .pinned_root = own_root,
        .directory = pb_span(v->directory),
        .documents = documents,
        .n_documents = v->n_documents,
    };

    if (a->trust != NULL) {
        in.pinned_root = buf_span(&a->root);
        /* The bundle's root may be a later one than the anchor. */
        if (!span_equal(own_root, in.pinned_root)) {
            in.roots = &own_root;
            in.n_roots = 1;
        }
    }
    return trust_build(&in, &floor, evidence_judged_at_ms(ev), ret, why, why_size);
}

enum err anchor_bundle_new(const struct anchor *a, const struct evidence *ev,
                           struct anchor_bundle **ret, char *why, size_t why_size)
{
    const Sp__Evidence *v = evidence_view(ev);
    struct anchor_bundle *b = calloc(1, sizeof(*b));
    struct span *documents = calloc(v->n_documents + 1, sizeof(*documents));
    enum err e;

    if (b == NULL || documents == NULL) {
        e = ERR_NO_MEMORY;
        goto out;
    }
    for (size_t i = 0; i < v->n_documents; i++)
        documents[i] = pb_span(v->documents[i]);
    e = build(a, ev, documents, &b->trust, why, why_size);
    if (e != ERR_OK)
        goto out;
    *ret = b;
    b = NULL;
out:
    anchor_bundle_free(b);
    free(documents);
    return e;
}

void anchor_bundle_free(struct anchor_bundle *b)
{
    if (b == NULL)
        return;
    trust_free(b->trust);
    free(b);
}

static enum err bundle_log_key(void *ctx, const char *name, struct ed25519_public *ret)
{
    return trust_log_key(((struct anchor_bundle *)ctx)->trust, name, ret);
}

static enum err bundle_signing_key(void *ctx, const char *agency, const struct key_id *id,
                                   uint64_t at_ms, struct ed25519_public *ret)
{
    return trust_signing_key(((struct anchor_bundle *)ctx)->trust, agency, id, at_ms, ret);
}

struct evidence_keys anchor_bundle_keys(struct anchor_bundle *b)
{
    return (struct evidence_keys){
        .ctx = b,
        .federation = trust_federation(b->trust),
        .log_key = bundle_log_key,
        .signing_key = bundle_signing_key,
    };
}
