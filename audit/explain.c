#include "audit/explain.h"

#include "audit/log.h"
#include "common/limits.h"

#include <stdlib.h>
#include <string.h>

static enum err add_step(struct explain *x, size_t *cap, struct explain_step **ret)
{
    if (x->n == LIMIT_AUDIT_STEPS)
        return ERR_TOO_LARGE;
    if (x->n == *cap) {
        size_t more = *cap > 0 ? 2 * *cap : 16;
        struct explain_step *grown = reallocarray(x->steps, more, sizeof(*grown));

        if (grown == NULL)
            return ERR_NO_MEMORY;
        x->steps = grown;
        *cap = more;
    }
    *ret = &x->steps[x->n++];
    **ret = (struct explain_step){.cause = EXPLAIN_NONE};
    return ERR_OK;
}

/* The checkpoint that covers the leaf, its signature when there is a key; else the head. */
static enum err find_tree(struct source *s, const struct note_key *key, struct explain_step *step,
                          struct digest *root)
{
    struct audit_head head = source_head(s);
    struct checkpoint c;
    struct span note;
    enum err e;

    e = audit_read_checkpoint(source_txn(s), step->index + 1, &step->size, &note);
    if (e == ERR_NOT_FOUND) {
        step->size = head.size;
        *root = head.root;
        return step->index < head.size ? ERR_OK : ERR_BAD_PROOF;
    }
    if (e != ERR_OK)
        return e;
    step->covered = true;
    e = key != NULL ? checkpoint_verify(note, key, &c) : checkpoint_parse(note, &c);
    if (e != ERR_OK)
        return e;
    if (c.size != step->size || strcmp(c.origin, source_origin(s)) != 0)
        return ERR_BAD_PROOF;
    *root = c.root;
    return ERR_OK;
}

static enum err check_step(struct source *s, const struct note_key *key, const struct uuid *id,
                           struct explain_step *step)
{
    struct digest root;
    struct span bytes;
    enum err e;

    e = audit_read_leaf(source_txn(s), step->index, &bytes);
    if (e == ERR_OK)
        e = leaf_decode(bytes, &step->pb, &step->leaf);
    if (e != ERR_OK)
        return e == ERR_NOT_FOUND ? ERR_CORRUPT : e;
    step->hash = merkle_leaf(bytes);
    if (!span_equal(pb_span(step->leaf->id), uuid_bytes(id)))
        return ERR_BAD_PROOF;
    e = find_tree(s, key, step, &root);
    if (e != ERR_OK)
        return e;
    return source_check_leaf(s, &step->hash, step->index, step->size, &root);
}

static enum err gather(struct source *s, size_t place, const struct note_key *key,
                       const struct uuid *id, struct explain *x, size_t *cap)
{
    struct store_cursor *cursor;
    struct span found, ignored;
    enum err e;

    e = store_cursor_new(source_txn(s), AUDIT_ID, store_prefix(uuid_bytes(id)), &cursor);
    if (e != ERR_OK)
        return e;
    while ((e = store_cursor_next(cursor, &found, &ignored)) == ERR_OK) {
        struct explain_step *step;
        struct rd r = rd_of(found);

        (void)rd_bytes(&r, sizeof(id->b));
        e = add_step(x, cap, &step);
        if (e != ERR_OK)
            break;
        step->source = place;
        step->index = rd_u64be(&r);
        step->proof = check_step(s, key, id, step);
        if (step->proof == ERR_NO_MEMORY || step->proof == ERR_IO) {
            e = step->proof;
            break;
        }
        if (step->proof != ERR_OK)
            x->broken++;
    }
    store_cursor_free(cursor);
    return e == ERR_NOT_FOUND ? ERR_OK : e;
}

/* By time; what happened in the same millisecond in the order in which events follow each other. */
static int compare_steps(const void *a, const void *b)
{
    const struct explain_step *x = a, *y = b;
    uint64_t x_ms = x->leaf != NULL ? x->leaf->at_ms : UINT64_MAX;
    uint64_t y_ms = y->leaf != NULL ? y->leaf->at_ms : UINT64_MAX;

    if (x_ms != y_ms)
        return x_ms < y_ms ? -1 : 1;
    if (x->leaf != NULL && y->leaf != NULL) {
        if (x->leaf->event != y->leaf->event)
            return x->leaf->event < y->leaf->event ? -1 : 1;
        if (x->leaf->hop != y->leaf->hop)
            return x->leaf->hop < y->leaf->hop ? -1 : 1;
    }
    if (x->source != y->source)
        return x->source < y->source ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static int compare_hashes(const void *a, const void *b)
{
    const struct explain_step *const *x = a, *const *y = b;

    return memcmp((*x)->hash.b, (*y)->hash.b, sizeof((*x)->hash.b));
}

static enum err link_causes(struct explain *x)
{
    struct explain_step **by_hash = calloc(x->n, sizeof(struct explain_step *));

    if (by_hash == NULL)
        return ERR_NO_MEMORY;
    for (size_t i = 0; i < x->n; i++)
        by_hash[i] = &x->steps[i];
    qsort(by_hash, x->n, sizeof(struct explain_step *), compare_hashes);
    for (size_t i = 0; i < x->n; i++) {
        const Sp__Leaf *leaf = x->steps[i].leaf;
        struct explain_step wanted;
        const struct explain_step *key = &wanted, **at;

        if (leaf == NULL || leaf->cause.len != sizeof(wanted.hash.b))
            continue;
        memcpy(wanted.hash.b, leaf->cause.data, sizeof(wanted.hash.b));
        at = bsearch(&key, by_hash, x->n, sizeof(struct explain_step *), compare_hashes);
        if (at != NULL)
            x->steps[i].cause = (size_t)(*at - x->steps);
    }
    free(by_hash);
    return ERR_OK;
}

enum err explain_id(struct source *const *sources, const struct note_key *const *keys, size_t n,
                    const struct uuid *id, struct explain *ret)
{
    struct explain x = {0};
    size_t cap = 0;
    enum err e = ERR_OK;

    for (size_t i = 0; i < n && e == ERR_OK; i++)
        e = gather(sources[i], i, keys[i], id, &x, &cap);
    if (e == ERR_OK && x.n == 0)
        e = ERR_NOT_FOUND;
    if (e == ERR_OK) {
        qsort(x.steps, x.n, sizeof(*x.steps), compare_steps);
        e = link_causes(&x);
    }
    if (e != ERR_OK) {
        explain_fini(&x);
        return e;
    }
    *ret = x;
    return ERR_OK;
}

void explain_fini(struct explain *x)
{
    for (size_t i = 0; i < x->n; i++)
        pb_free(x->steps[i].pb);
    free(x->steps);
    *x = (struct explain){0};
}
