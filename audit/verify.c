#include "audit/verify.h"

#include "audit/log.h"
#include "audit/tiles.h"
#include "common/limits.h"

#include <assert.h>
#include <string.h>

/* Leaves between two reports of progress. */
#define PROGRESS_STEP 4096

static const struct {
    const char *code;
    const char *meaning;
    const char *next;
} words[VERIFY_COUNT] = {
#define X(sym, code, what, next) {code, what, next},
#include "audit/findings.def"
#undef X
};

const char *verify_code(enum verify_what what)
{
    assert(what < VERIFY_COUNT);
    return words[what].code;
}

const char *verify_meaning(enum verify_what what)
{
    assert(what < VERIFY_COUNT);
    return words[what].meaning;
}

const char *verify_next(enum verify_what what)
{
    assert(what < VERIFY_COUNT);
    return words[what].next;
}

/* A record of a table walked in order, read ahead by one. */
struct ahead {
    struct store_cursor *cursor;
    bool there;
    uint64_t at;
    struct span value;
    enum err err; /* ERR_OK or ERR_CORRUPT */
};

/* The tile that is looked at, of one level. */
struct level {
    bool loaded;
    uint64_t index;
    struct span hashes;
};

struct verify {
    struct source *source;
    const struct verify_options *o;
    struct verify_result r;
    struct store_txn *txn;
    struct merkle_edge edge;
    struct level levels[TILE_LEVELS];
    struct ahead leaf;
    struct ahead checkpoint;
    struct verify_finding run;  /* not yet reported: what follows in a row joins it */
    struct verify_finding root; /* the first checkpoint that the leaves do not give, and how many */
    bool cut;                   /* a hash is in no tile and no leaf: no roots from here on */
    enum err err;               /* the check cannot go on */
};

static void tell(struct verify *v, const struct verify_finding *f)
{
    v->r.findings++;
    v->o->found(v->o->ctx, f);
}

static void flush_run(struct verify *v)
{
    if (v->run.count > 0)
        tell(v, &v->run);
    v->run.count = 0;
}

static void report(struct verify *v, enum verify_what what, unsigned level, uint64_t index,
                   enum err detail)
{
    struct verify_finding *run = &v->run;

    if (run->count > 0 && run->what == what && run->level == level && run->detail == detail &&
        run->index + run->count == index) {
        run->count++;
        return;
    }
    flush_run(v);
    *run = (struct verify_finding){
        .what = what, .level = level, .index = index, .count = 1, .detail = detail};
}

static void report_many(struct verify *v, enum verify_what what, uint64_t index, uint64_t count)
{
    const struct verify_finding f = {.what = what, .index = index, .count = count};

    flush_run(v);
    if (count > 0)
        tell(v, &f);
}

/* Errors of single records are findings; anything else ends the check. */
static bool goes_on(struct verify *v, enum err e)
{
    if (e != ERR_OK && e != ERR_NOT_FOUND && e != ERR_CORRUPT)
        v->err = e;
    return v->err == ERR_OK;
}

static void step(struct verify *v, struct ahead *a)
{
    struct span key;

    a->err = store_cursor_next(a->cursor, &key, &a->value);
    a->there = a->err != ERR_NOT_FOUND && goes_on(v, a->err);
    if (!a->there)
        return;
    /* A key of another length stands for no leaf; the counts at the end show it. */
    if (store_key_to_u64(key, &a->at) != ERR_OK)
        a->at = UINT64_MAX;
}

static void load_level(struct verify *v, unsigned level, uint64_t tile)
{
    struct level *l = &v->levels[level];
    uint64_t width = tile_hashes(v->r.head.size, level) - tile * TILE_WIDTH;
    enum err e;

    *l = (struct level){.loaded = true, .index = tile};
    e = audit_read_tile(v->txn, level, tile, &l->hashes);
    if (!goes_on(v, e))
        return;
    if (e != ERR_NOT_FOUND)
        v->r.tiles++;
    if (e != ERR_OK) {
        report(v, VERIFY_TILE_MISSING, level, tile, e);
        return;
    }
    if (width > TILE_WIDTH)
        width = TILE_WIDTH;
    if (l->hashes.len != width * sizeof(struct digest))
        report(v, VERIFY_TILE_WIDTH, level, tile, ERR_OK);
}

/* The hash that a tile holds; false when it does not. */
static bool tile_hash(struct verify *v, unsigned level, uint64_t index, struct digest *ret)
{
    struct level *l = &v->levels[level];
    size_t at = (size_t)(index % TILE_WIDTH) * sizeof(*ret);

    if (!l->loaded || l->index != index / TILE_WIDTH)
        load_level(v, level, index / TILE_WIDTH);
    if (at + sizeof(*ret) > l->hashes.len)
        return false;
    memcpy(ret->b, l->hashes.data + at, sizeof(ret->b));
    return true;
}

/* What the leaves complete must stand in the tiles of the levels above. */
static enum err check_node(void *ctx, unsigned level, uint64_t index, const struct digest *node)
{
    struct verify *v = ctx;
    struct digest stored;

    if (level == 0 || level % TILE_HEIGHT != 0 || v->cut)
        return ERR_OK;
    if (tile_hash(v, level / TILE_HEIGHT, index, &stored) && !digest_equal(&stored, node))
        report(v, VERIFY_TILE_HASH, level / TILE_HEIGHT, index / TILE_WIDTH, ERR_OK);
    return ERR_OK;
}

static void check_id(struct verify *v, uint64_t index, struct span id)
{
    uint8_t key[AUDIT_KEY_ID];
    struct span ignored;
    enum err e;

    if (id.len == 0)
        return;
    audit_key_id(id, index, key);
    e = store_get(v->txn, AUDIT_ID, span_of(key, sizeof(key)), &ignored);
    if (!goes_on(v, e))
        return;
    if (e == ERR_NOT_FOUND)
        report(v, VERIFY_ID_MISSING, 0, index, e);
    else
        v->r.ids++;
}

static void check_detail(struct verify *v, uint64_t index, struct span commitment)
{
    struct span salt, detail;
    struct digest d;
    enum err e;

    if (commitment.len == 0)
        return;
    e = audit_read_detail(v->txn, index, &salt, &detail);
    if (!goes_on(v, e))
        return;
    if (e == ERR_NOT_FOUND) {
        v->r.erased++;
        return;
    }
    v->r.details++;
    if (e == ERR_OK) {
        d = leaf_commit(salt.data, detail);
        if (span_equal(digest_span(&d), commitment))
            return;
    }
    report(v, VERIFY_DETAIL_MISMATCH, 0, index, e);
}

static void check_time(struct verify *v, uint64_t index, uint64_t at_ms)
{
    if (v->r.leaves == 0)
        v->r.first_ms = at_ms;
    else if (at_ms < v->r.last_ms && v->r.time_breaks++ == 0)
        v->r.time_break = index;
    v->r.last_ms = at_ms;
}

static void check_content(struct verify *v, uint64_t index, struct span bytes)
{
    const Sp__Leaf *leaf;
    struct pb *pb;
    enum err e = leaf_decode(bytes, &pb, &leaf);

    if (e == ERR_NO_MEMORY) {
        v->err = e;
        return;
    }
    if (e != ERR_OK) {
        report(v, VERIFY_LEAF_FORM, 0, index, e);
        return;
    }
    if (strcmp(leaf->log, source_name(v->source)) != 0)
        report(v, VERIFY_LEAF_LOG, 0, index, ERR_OK);
    check_time(v, index, leaf->at_ms);
    check_id(v, index, pb_span(leaf->id));
    check_detail(v, index, pb_span(leaf->detail));
    v->r.events[(unsigned)leaf->event < VERIFY_EVENTS ? (unsigned)leaf->event : 0]++;
    v->r.leaves++;
    pb_free(pb);
}

/* Leaf `index` and its hash in the tile. Where they differ the tree goes on with the tile's, so
 * that the roots tell which of the two was altered. */
static void check_leaf(struct verify *v, uint64_t index)
{
    bool there = v->leaf.there && v->leaf.at == index;
    struct digest in_tile, own;
    bool has_tile = tile_hash(v, 0, index, &in_tile), has_own = false;

    if (!there) {
        report(v, VERIFY_LEAF_MISSING, 0, index, ERR_NOT_FOUND);
    } else if (v->leaf.err != ERR_OK) {
        report(v, VERIFY_LEAF_RECORD, 0, index, v->leaf.err);
    } else {
        own = merkle_leaf(v->leaf.value);
        has_own = true;
        if (has_tile && !digest_equal(&own, &in_tile))
            report(v, VERIFY_LEAF_HASH, 0, index, ERR_OK);
        check_content(v, index, v->leaf.value);
    }
    if (there)
        step(v, &v->leaf);
    if (!has_tile && !has_own) {
        v->cut = true;
        in_tile = (struct digest){0};
    }
    if (v->err == ERR_OK)
        v->err =
            merkle_edge_append(&v->edge, has_tile || !has_own ? &in_tile : &own, check_node, v);
}

static void check_signature(struct verify *v, uint64_t size, struct span note)
{
    struct checkpoint c;
    uint32_t hash;
    enum err e;

    if (note_hash_of(note, source_origin(v->source), &hash) != ERR_OK) {
        report(v, VERIFY_CHECKPOINT_SIGNATURE, 0, size, ERR_BAD_SIGNATURE);
        return;
    }
    if (v->o->key == NULL) {
        if (v->r.key_hash != 0 && hash != v->r.key_hash)
            report(v, VERIFY_CHECKPOINT_KEY, 0, size, ERR_OK);
        v->r.key_hash = hash;
        v->r.covered = size;
        return;
    }
    e = checkpoint_verify(note, v->o->key, &c);
    v->r.key_hash = hash;
    if (e != ERR_OK) {
        report(v, VERIFY_CHECKPOINT_SIGNATURE, 0, size, e);
        return;
    }
    v->r.signatures++;
    v->r.covered = size;
}

static void check_checkpoint(struct verify *v)
{
    const struct ahead *a = &v->checkpoint;
    struct checkpoint c;
    struct digest root;

    v->r.checkpoints++;
    if (a->err != ERR_OK || checkpoint_parse(a->value, &c) != ERR_OK || c.size != a->at ||
        strcmp(c.origin, source_origin(v->source)) != 0) {
        report(v, VERIFY_CHECKPOINT_FORM, 0, a->at, a->err);
        return;
    }
    root = merkle_edge_root(&v->edge);
    if (v->cut || !digest_equal(&root, &c.root)) {
        if (v->root.count++ == 0)
            v->root.index = c.size;
        return;
    }
    check_signature(v, c.size, a->value);
}

static void check_since(struct verify *v)
{
    const struct checkpoint *since = v->o->since;
    struct digest root;

    if (since == NULL || since->size != v->edge.size)
        return;
    root = merkle_edge_root(&v->edge);
    if (v->cut || !digest_equal(&root, &since->root))
        report(v, VERIFY_SINCE_ROOT, 0, since->size, ERR_BAD_PROOF);
}

/* Everything that speaks of the tree of the leaves so far. */
static void check_size(struct verify *v)
{
    check_since(v);
    while (v->err == ERR_OK && v->checkpoint.there && v->checkpoint.at <= v->edge.size) {
        check_checkpoint(v);
        step(v, &v->checkpoint);
    }
}

static uint64_t count_rest(struct verify *v, struct ahead *a)
{
    uint64_t n = 0;

    while (v->err == ERR_OK && a->there) {
        n++;
        step(v, a);
    }
    return n;
}

/* Records of a table beyond those that were met. */
static uint64_t beyond(struct verify *v, unsigned table, uint64_t met)
{
    uint64_t count = 0;

    (void)goes_on(v, store_count(v->txn, table, &count));
    return count > met ? count - met : 0;
}

static void check_end(struct verify *v)
{
    const uint64_t size = v->r.head.size;
    struct digest root = merkle_edge_root(&v->edge);
    uint64_t first;

    if (v->cut || !digest_equal(&root, &v->r.head.root))
        report(v, VERIFY_HEAD_ROOT, 0, size, ERR_BAD_PROOF);
    if (v->root.count > 0)
        report_many(v, VERIFY_CHECKPOINT_ROOT, v->root.index, v->root.count);
    report_many(v, VERIFY_LEAF_BEYOND, size, count_rest(v, &v->leaf));
    first = v->checkpoint.at;
    report_many(v, VERIFY_CHECKPOINT_BEYOND, first, count_rest(v, &v->checkpoint));
    report_many(v, VERIFY_TILE_BEYOND, 0, beyond(v, AUDIT_TILE, v->r.tiles));
    report_many(v, VERIFY_ID_BEYOND, 0, beyond(v, AUDIT_ID, v->r.ids));
    report_many(v, VERIFY_DETAIL_BEYOND, 0, beyond(v, AUDIT_DETAIL, v->r.details));
    if (v->o->since != NULL && v->o->since->size > size)
        report_many(v, VERIFY_SINCE_ROOT, v->o->since->size, 1);
}

static void walk(struct verify *v)
{
    const uint64_t size = v->r.head.size;

    step(v, &v->leaf);
    step(v, &v->checkpoint);
    check_size(v);
    for (uint64_t i = 0; i < size && v->err == ERR_OK; i++) {
        check_leaf(v, i);
        check_size(v);
        if (v->o->progress != NULL && i % PROGRESS_STEP == 0)
            v->o->progress(v->o->ctx, i, size);
    }
    if (v->err == ERR_OK)
        check_end(v);
    flush_run(v);
}

enum err verify_log(struct source *s, const struct verify_options *options,
                    struct verify_result *ret)
{
    struct verify v = {.source = s, .o = options, .txn = source_txn(s)};

    v.r.head = source_head(s);
    v.root.what = VERIFY_CHECKPOINT_ROOT;
    v.err = store_cursor_new(v.txn, AUDIT_LEAF, store_all(), &v.leaf.cursor);
    if (v.err == ERR_OK)
        v.err = store_cursor_new(v.txn, AUDIT_CHECKPOINT, store_all(), &v.checkpoint.cursor);
    if (v.err == ERR_OK)
        walk(&v);
    store_cursor_free(v.leaf.cursor);
    store_cursor_free(v.checkpoint.cursor);
    if (v.err != ERR_OK)
        return v.err;
    *ret = v.r;
    return v.r.findings == 0 ? ERR_OK : ERR_BAD_PROOF;
}
