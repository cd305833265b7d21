#include "audit/receipt.h"

#include "audit/checkpoint.h"
#include "audit/leaf.h"
#include "common/limits.h"
#include "common/merkle.h"

#include <stdlib.h>
#include <string.h>

struct receipt {
    uint8_t *bytes;
    size_t len;
    struct pb *pb; /* of the receipt */
    const Sp__Receipt *view;
    struct pb *leaf_pb;
    const Sp__Leaf *leaf;
    struct digest leaf_hash;
    struct checkpoint checkpoint;
    size_t n;
    struct digest path[LIMIT_PROOF_PATH];
};

/* The fields that need no key: leaf, path, checkpoint. */
static enum err receipt_read(struct receipt *r)
{
    const Sp__Receipt *v = r->view;
    enum err e;

    if (v->n_path > LIMIT_PROOF_PATH)
        return ERR_MALFORMED;
    for (size_t i = 0; i < v->n_path; i++) {
        if (v->path[i].len != sizeof(r->path[i].b))
            return ERR_MALFORMED;
        memcpy(r->path[i].b, v->path[i].data, sizeof(r->path[i].b));
    }
    r->n = v->n_path;
    e = leaf_decode(pb_span(v->leaf), &r->leaf_pb, &r->leaf);
    if (e != ERR_OK)
        return e;
    r->leaf_hash = merkle_leaf(pb_span(v->leaf));
    e = checkpoint_parse(pb_span(v->checkpoint), &r->checkpoint);
    if (e != ERR_OK)
        return e;
    if (v->index >= r->checkpoint.size || r->n != merkle_path_len(v->index, r->checkpoint.size))
        return ERR_MALFORMED;
    return ERR_OK;
}

enum err receipt_decode(struct span bytes, struct receipt **ret)
{
    struct receipt *r;
    enum err e;

    if (bytes.len == 0)
        return ERR_MALFORMED;
    if (bytes.len > LIMIT_RECEIPT)
        return ERR_TOO_LARGE;
    r = calloc(1, sizeof(*r));
    if (r == NULL)
        return ERR_NO_MEMORY;
    r->bytes = malloc(bytes.len);
    if (r->bytes == NULL) {
        e = ERR_NO_MEMORY;
        goto out;
    }
    memcpy(r->bytes, bytes.data, bytes.len);
    r->len = bytes.len;
    e = pb_decode(&sp__receipt__descriptor, bytes, LIMIT_RECEIPT, &r->pb);
    if (e != ERR_OK)
        goto out;
    r->view = pb_view(r->pb);
    e = receipt_read(r);
    if (e != ERR_OK)
        goto out;
    *ret = r;
    r = NULL;
out:
    receipt_free(r);
    return e;
}

void receipt_free(struct receipt *r)
{
    if (r == NULL)
        return;
    pb_free(r->leaf_pb);
    pb_free(r->pb);
    free(r->bytes);
    free(r);
}

struct span receipt_bytes(const struct receipt *r)
{
    return span_of(r->bytes, r->len);
}

const Sp__Leaf *receipt_leaf(const struct receipt *r)
{
    return r->leaf;
}

const struct digest *receipt_leaf_hash(const struct receipt *r)
{
    return &r->leaf_hash;
}

uint64_t receipt_index(const struct receipt *r)
{
    return r->view->index;
}

uint64_t receipt_size(const struct receipt *r)
{
    return r->checkpoint.size;
}

struct span receipt_checkpoint(const struct receipt *r)
{
    return pb_span(r->view->checkpoint);
}

const char *receipt_origin(const struct receipt *r)
{
    return r->checkpoint.origin;
}

/* Direct-mapped: a checkpoint that falls on a used place takes it over, so that the cache neither
 * grows nor can be filled up by a stranger's notes to keep good ones out. */
struct receipt_cache {
    size_t max;
    struct digest slots[]; /* of key, origin and checkpoint that verified; zeros: free */
};

enum err receipt_cache_new(size_t max, struct receipt_cache **ret)
{
    struct receipt_cache *c;

    if (max == 0 || max > LIMIT_RECEIPT_CACHE)
        return ERR_TOO_LARGE;
    c = calloc(1, sizeof(*c) + max * sizeof(c->slots[0]));
    if (c == NULL)
        return ERR_NO_MEMORY;
    c->max = max;
    *ret = c;
    return ERR_OK;
}

void receipt_cache_free(struct receipt_cache *c)
{
    free(c);
}

static struct digest *cache_slot(struct receipt_cache *c, const struct digest *name)
{
    struct rd r = rd_of(digest_span(name));

    return &c->slots[rd_u64be(&r) % c->max];
}

static enum err verify_checkpoint(const struct receipt *r, const struct ed25519_public *key,
                                  struct receipt_cache *cache)
{
    const struct span note = receipt_checkpoint(r);
    const struct span parts[] = {span_of(key->b, sizeof(key->b)), note};
    struct digest *slot = NULL;
    struct digest name;
    struct note_key k;
    struct checkpoint ignored;
    enum err e;

    /* The origin is the note's first line, so key and note are all that the verdict rests on. */
    if (cache != NULL) {
        name = sha256_parts(parts, 2);
        slot = cache_slot(cache, &name);
        if (digest_equal(slot, &name))
            return ERR_OK;
    }
    e = note_key_make(r->checkpoint.origin, NOTE_ED25519, key, &k);
    if (e != ERR_OK)
        return e;
    e = checkpoint_verify(note, &k, &ignored);
    if (e == ERR_OK && slot != NULL)
        *slot = name;
    return e;
}

enum err receipt_verify(const struct receipt *r, const char *federation,
                        const struct ed25519_public *key, struct receipt_cache *cache)
{
    const char *origin = r->checkpoint.origin;
    size_t len = strlen(federation);
    enum err e;

    if (strncmp(origin, federation, len) != 0 || origin[len] != '/' ||
        strcmp(origin + len + 1, r->leaf->log) != 0)
        return ERR_BAD_PROOF;
    /* Hashes before the signature: they cost less. */
    e = merkle_verify_inclusion(&r->leaf_hash, r->view->index, r->checkpoint.size, r->path, r->n,
                                &r->checkpoint.root);
    if (e != ERR_OK)
        return e;
    return verify_checkpoint(r, key, cache);
}
