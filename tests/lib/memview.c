#include "tests/lib/memview.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct row {
    struct buf key;
    struct buf value;
    bool damaged;
};

struct table {
    struct row *rows; /* sorted by key */
    size_t n;
    size_t cap;
};

struct kept_leaf {
    struct buf leaf;
    struct buf detail;
};

struct memview {
    struct view view;
    struct table *tables;
    unsigned n_tables;
    struct kept_leaf *leaves;
    size_t n_leaves;
    size_t cap_leaves;
};

static void *grow(void *items, size_t n, size_t *cap, size_t size)
{
    if (n < *cap)
        return items;
    *cap = *cap == 0 ? 16 : 2 * *cap;
    items = realloc(items, *cap * size);
    assert(items != NULL);
    return items;
}

static struct buf copy_of(struct span s)
{
    struct buf b;

    buf_init(&b, s.len > 0 ? s.len : 1);
    buf_put(&b, s);
    assert(b.err == ERR_OK);
    return b;
}

/* Place of the first row with a key >= `key`. */
static size_t lower(const struct table *t, struct span key)
{
    size_t low = 0;
    size_t high = t->n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (span_compare(buf_span(&t->rows[middle].key), key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct row *find(const struct memview *m, unsigned table, struct span key)
{
    struct table *t;
    size_t i;

    assert(table < m->n_tables);
    t = &m->tables[table];
    i = lower(t, key);
    return i < t->n && span_equal(buf_span(&t->rows[i].key), key) ? &t->rows[i] : NULL;
}

static enum err get(void *ctx, unsigned table, struct span key, struct span *ret)
{
    const struct row *row = find(ctx, table, key);

    if (row == NULL)
        return ERR_NOT_FOUND;
    if (row->damaged)
        return ERR_CORRUPT;
    *ret = buf_span(&row->value);
    return ERR_OK;
}

static enum err seek(void *ctx, unsigned table, struct span from, struct span *key,
                     struct span *value)
{
    const struct memview *m = ctx;
    const struct table *t;
    size_t i;

    assert(table < m->n_tables);
    t = &m->tables[table];
    i = lower(t, from);
    if (i == t->n)
        return ERR_NOT_FOUND;
    *key = buf_span(&t->rows[i].key);
    if (t->rows[i].damaged)
        return ERR_CORRUPT;
    *value = buf_span(&t->rows[i].value);
    return ERR_OK;
}

struct memview *memview_new(unsigned tables)
{
    struct memview *m = calloc(1, sizeof *m);

    assert(m != NULL);
    m->view = (struct view){.ctx = m, .get = get, .seek = seek};
    m->tables = calloc(tables, sizeof *m->tables);
    assert(m->tables != NULL);
    m->n_tables = tables;
    return m;
}

void memview_free(struct memview *m)
{
    if (m == NULL)
        return;
    for (unsigned i = 0; i < m->n_tables; i++) {
        for (size_t j = 0; j < m->tables[i].n; j++) {
            buf_fini(&m->tables[i].rows[j].key);
            buf_fini(&m->tables[i].rows[j].value);
        }
        free(m->tables[i].rows);
    }
    for (size_t i = 0; i < m->n_leaves; i++) {
        buf_fini(&m->leaves[i].leaf);
        buf_fini(&m->leaves[i].detail);
    }
    free(m->leaves);
    free(m->tables);
    free(m);
}

const struct view *memview_view(struct memview *m)
{
    return &m->view;
}

static void put(struct memview *m, unsigned table, struct span key, struct span value, bool append)
{
    struct row *row = find(m, table, key);
    struct table *t = &m->tables[table];
    size_t at;

    /* LMDB's bounds. */
    assert(key.len > 0 && key.len <= 511);
    if (append)
        assert(t->n == 0 || span_compare(buf_span(&t->rows[t->n - 1].key), key) < 0);
    if (row != NULL) {
        buf_fini(&row->value);
        row->value = copy_of(value);
        row->damaged = false;
        return;
    }
    at = lower(t, key);
    t->rows = grow(t->rows, t->n, &t->cap, sizeof *t->rows);
    memmove(&t->rows[at + 1], &t->rows[at], (t->n - at) * sizeof *t->rows);
    t->rows[at] = (struct row){.key = copy_of(key), .value = copy_of(value)};
    t->n++;
}

static void delete (struct memview *m, unsigned table, struct span key)
{
    struct row *row = find(m, table, key);
    struct table *t = &m->tables[table];
    size_t at;

    if (row == NULL)
        return;
    at = (size_t)(row - t->rows);
    buf_fini(&row->key);
    buf_fini(&row->value);
    memmove(row, row + 1, (t->n - at - 1) * sizeof *row);
    t->n--;
}

static void add_leaf(struct memview *m, struct batch_leaf leaf)
{
    m->leaves = grow(m->leaves, m->n_leaves, &m->cap_leaves, sizeof *m->leaves);
    m->leaves[m->n_leaves++] =
        (struct kept_leaf){.leaf = copy_of(leaf.leaf), .detail = copy_of(leaf.detail)};
}

void memview_apply(struct memview *m, const struct batch *b)
{
    enum err e = batch_error(b);

    assert(e == ERR_OK);
    for (size_t i = 0; i < batch_change_count(b); i++) {
        struct change c = batch_change_at(b, i);

        if (c.op == CHANGE_DELETE)
            delete (m, c.table, c.key);
        else
            put(m, c.table, c.key, c.value, c.op == CHANGE_APPEND);
    }
    for (size_t i = 0; i < batch_leaf_count(b); i++)
        add_leaf(m, batch_leaf_at(b, i));
}

struct memview *memview_copy(const struct memview *m)
{
    struct memview *copy = memview_new(m->n_tables);

    for (unsigned i = 0; i < m->n_tables; i++) {
        for (size_t j = 0; j < m->tables[i].n; j++) {
            const struct row *row = &m->tables[i].rows[j];

            put(copy, i, buf_span(&row->key), buf_span(&row->value), true);
            copy->tables[i].rows[j].damaged = row->damaged;
        }
    }
    for (size_t i = 0; i < m->n_leaves; i++)
        add_leaf(copy, memview_leaf(m, i));
    return copy;
}

size_t memview_count(const struct memview *m, unsigned table)
{
    assert(table < m->n_tables);
    return m->tables[table].n;
}

size_t memview_leaf_count(const struct memview *m)
{
    return m->n_leaves;
}

struct batch_leaf memview_leaf(const struct memview *m, size_t i)
{
    assert(i < m->n_leaves);
    return (struct batch_leaf){.leaf = buf_span(&m->leaves[i].leaf),
                               .detail = buf_span(&m->leaves[i].detail)};
}

void memview_damage(struct memview *m, unsigned table, struct span key)
{
    struct row *row = find(m, table, key);

    assert(row != NULL);
    row->damaged = true;
}

bool memview_equal(const struct memview *a, const struct memview *b)
{
    if (a->n_tables != b->n_tables || a->n_leaves != b->n_leaves)
        return false;
    for (unsigned i = 0; i < a->n_tables; i++) {
        if (a->tables[i].n != b->tables[i].n)
            return false;
        for (size_t j = 0; j < a->tables[i].n; j++) {
            if (!span_equal(buf_span(&a->tables[i].rows[j].key),
                            buf_span(&b->tables[i].rows[j].key)) ||
                !span_equal(buf_span(&a->tables[i].rows[j].value),
                            buf_span(&b->tables[i].rows[j].value)))
                return false;
        }
    }
    for (size_t i = 0; i < a->n_leaves; i++) {
        if (!span_equal(buf_span(&a->leaves[i].leaf), buf_span(&b->leaves[i].leaf)))
            return false;
    }
    return true;
}
