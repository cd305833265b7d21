/* LMDB trusts its pages: a flipped bit in a page's head or a node's length makes it read outside
 * the map, walk in circles, pass records over, or hand a page out twice. So before LMDB sees a file
 * that nobody else is writing, every tree in it is walked here once.
 *
 * Layout: LMDB 0.9 mdb.c, MDB_page, MDB_node, MDB_db. */
#include "common/file.h"
#include "common/store_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_HEAD 16
#define PAGE_FLAGS 10
#define PAGE_LOWER 12
#define PAGE_UPPER 14
#define PAGE_COUNT 12 /* of an overflow page */
#define PAGE_BRANCH 0x01
#define PAGE_LEAF 0x02
#define PAGE_OVERFLOW 0x04

#define NODE_HEAD 8
#define NODE_FLAGS 4
#define NODE_KEY_LEN 6
#define NODE_BIG 0x01
#define NODE_TREE 0x02

#define META_FREE_TREE 40
#define META_MAIN_TREE 88
#define TREE_BYTES 48
#define TREE_FLAGS 4
#define TREE_DEPTH 6
#define TREE_BRANCHES 8
#define TREE_LEAVES 16
#define TREE_OVERFLOWS 24
#define TREE_ENTRIES 32
#define TREE_ROOT 40
#define NO_PAGE UINT64_MAX
/* LMDB's cursors hold no more. */
#define DEPTH_MAX 32

enum kind { FREE_TREE, MAIN_TREE, RECORD_TREE };

struct check {
    int fd;
    uint64_t page_bytes;
    uint64_t pages; /* in use: numbers 0 to pages - 1 */
    uint64_t txn;
    uint8_t *seen; /* a bit for each page */
};

struct tree {
    enum kind kind;
    uint64_t branches;
    uint64_t leaves;
    uint64_t overflows;
    uint64_t entries;
};

struct node {
    struct span key;
    struct span data; /* in a leaf; of a big one, the page number */
    uint64_t size;    /* of the value */
    uint64_t child;   /* in a branch */
    uint16_t flags;
};

static uint16_t u16_at(const uint8_t *p)
{
    uint16_t v;

    memcpy(&v, p, sizeof v);
    return v;
}

static uint32_t u32_at(const uint8_t *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof v);
    return v;
}

static uint64_t u64_at(const uint8_t *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof v);
    return v;
}

/* Each page has one use. */
static enum err claim(struct check *c, uint64_t number, uint64_t count)
{
    if (number < 2 || number >= c->pages || count > c->pages - number)
        return ERR_CORRUPT;
    for (uint64_t i = number; i < number + count; i++) {
        uint8_t bit = (uint8_t)(1u << (i % 8));

        if ((c->seen[i / 8] & bit) != 0)
            return ERR_CORRUPT;
        c->seen[i / 8] |= bit;
    }
    return ERR_OK;
}

static enum err load(struct check *c, uint64_t number, uint8_t *page)
{
    enum err e = claim(c, number, 1);

    if (e == ERR_OK)
        e = store_file_read(c->fd, number * c->page_bytes, page, (size_t)c->page_bytes);
    if (e == ERR_OK && u64_at(page) != number)
        e = ERR_CORRUPT;
    return e;
}

/* Space that LMDB gives the node in its page; 0 when it does not fit. */
static uint64_t read_node(const struct check *c, const uint8_t *page, size_t i, struct node *ret)
{
    uint64_t at = u16_at(page + PAGE_HEAD + 2 * i);
    bool leaf = u16_at(page + PAGE_FLAGS) == PAGE_LEAF;
    uint64_t key_len;
    uint64_t data_len;
    const uint8_t *n = page + at;

    if (at < u16_at(page + PAGE_UPPER) || at > c->page_bytes - NODE_HEAD || at % 2 != 0)
        return 0;
    key_len = u16_at(n + NODE_KEY_LEN);
    *ret = (struct node){.flags = u16_at(n + NODE_FLAGS)};
    ret->size = u16_at(n) | (uint64_t)u16_at(n + 2) << 16;
    ret->child = ret->size | (uint64_t)ret->flags << 32;
    if (leaf && (ret->flags & ~(NODE_BIG | NODE_TREE)) != 0)
        return 0;
    data_len = !leaf ? 0 : (ret->flags & NODE_BIG) != 0 ? sizeof(uint64_t) : ret->size;
    if (key_len > LIMIT_STORE_KEY || (leaf && key_len == 0) ||
        data_len > c->page_bytes - at - NODE_HEAD ||
        key_len > c->page_bytes - at - NODE_HEAD - data_len)
        return 0;
    ret->key = span_of(n + NODE_HEAD, (size_t)key_len);
    ret->data = span_of(n + NODE_HEAD + key_len, (size_t)data_len);
    return (NODE_HEAD + key_len + data_len + 1) / 2 * 2;
}

/* The nodes fill the page from `upper` to its end without gap or overlap. */
static enum err check_page(const struct check *c, const uint8_t *page, uint64_t flags, size_t *ret)
{
    uint64_t low = u16_at(page + PAGE_LOWER);
    uint64_t high = u16_at(page + PAGE_UPPER);
    uint64_t used = 0;
    struct node node;

    if (u16_at(page + PAGE_FLAGS) != flags || low < PAGE_HEAD + 2 || low % 2 != 0 || low > high ||
        high > c->page_bytes)
        return ERR_CORRUPT;
    for (size_t i = 0; i < (low - PAGE_HEAD) / 2; i++) {
        uint64_t size = read_node(c, page, i, &node);

        if (size == 0)
            return ERR_CORRUPT;
        used += size;
    }
    if (used != c->page_bytes - high)
        return ERR_CORRUPT;
    *ret = (size_t)(low - PAGE_HEAD) / 2;
    return ERR_OK;
}

static int compare(const struct tree *t, struct span a, struct span b)
{
    if (t->kind != FREE_TREE || a.len != sizeof(uint64_t) || b.len != sizeof(uint64_t))
        return span_compare(a, b);
    return (u64_at(a.data) > u64_at(b.data)) - (u64_at(a.data) < u64_at(b.data));
}

/* One transaction's freed pages: their count, then their numbers. */
static enum err check_freed(struct check *c, struct span key, struct span list)
{
    uint64_t count;

    if (key.len != sizeof(uint64_t) || u64_at(key.data) > c->txn || list.len < sizeof count)
        return ERR_CORRUPT;
    count = u64_at(list.data);
    if (count > list.len / sizeof count - 1)
        return ERR_CORRUPT;
    for (uint64_t i = 1; i <= count; i++) {
        uint64_t number = u64_at(list.data + i * sizeof number);

        /* Descending, as LMDB's lists are. */
        if (i > 1 && number >= u64_at(list.data + (i - 1) * sizeof number))
            return ERR_CORRUPT;
        if (claim(c, number, 1) != ERR_OK)
            return ERR_CORRUPT;
    }
    return ERR_OK;
}

/* Pages in a row that hold one value. Of records only the head is looked at: the rest has the
 * checksum. */
static enum err check_big(struct check *c, struct tree *t, const struct node *node)
{
    uint64_t number = u64_at(node->data.data);
    uint64_t need = (PAGE_HEAD + node->size + c->page_bytes - 1) / c->page_bytes;
    uint8_t head[PAGE_HEAD];
    uint8_t *bytes;
    uint64_t count;
    enum err e;

    if (number >= c->pages)
        return ERR_CORRUPT;
    e = store_file_read(c->fd, number * c->page_bytes, head, sizeof head);
    if (e != ERR_OK)
        return e;
    count = u32_at(head + PAGE_COUNT);
    if (u64_at(head) != number || u16_at(head + PAGE_FLAGS) != PAGE_OVERFLOW || count < need)
        return ERR_CORRUPT;
    e = claim(c, number, count);
    t->overflows += count;
    if (e != ERR_OK || t->kind != FREE_TREE)
        return e;
    bytes = malloc((size_t)node->size + 1);
    if (bytes == NULL)
        return ERR_NO_MEMORY;
    e = store_file_read(c->fd, number * c->page_bytes + PAGE_HEAD, bytes, (size_t)node->size);
    if (e == ERR_OK)
        e = check_freed(c, node->key, span_of(bytes, (size_t)node->size));
    free(bytes);
    return e;
}

static enum err check_tree(struct check *c, enum kind kind, const uint8_t *record);

static enum err check_leaf_node(struct check *c, struct tree *t, const struct node *node)
{
    t->entries++;
    if (t->kind == MAIN_TREE) {
        if (node->flags != NODE_TREE || node->data.len != TREE_BYTES)
            return ERR_CORRUPT;
        return check_tree(c, RECORD_TREE, node->data.data);
    }
    if ((node->flags & NODE_TREE) != 0)
        return ERR_CORRUPT;
    if ((node->flags & NODE_BIG) != 0)
        return check_big(c, t, node);
    return t->kind == FREE_TREE ? check_freed(c, node->key, node->data) : ERR_OK;
}

/* Keys of the page and all beneath lie in low <= key < high; an empty bound is none. */
static enum err walk(struct check *c, struct tree *t, uint64_t number, unsigned depth,
                     struct span low, struct span high)
{
    uint8_t *page = malloc((size_t)c->page_bytes);
    enum err e = page == NULL ? ERR_NO_MEMORY : load(c, number, page);
    size_t n = 0;
    struct node node;
    struct node next;

    if (e == ERR_OK)
        e = check_page(c, page, depth == 1 ? PAGE_LEAF : PAGE_BRANCH, &n);
    if (depth == 1)
        t->leaves++;
    else
        t->branches++;
    for (size_t i = 0; e == ERR_OK && i < n; i++) {
        read_node(c, page, i, &node);
        /* The first key of a branch is not looked at by LMDB and may be anything. */
        if (depth > 1 && i == 0)
            node.key = low;
        next.key = high;
        if (i + 1 < n)
            read_node(c, page, i + 1, &next);
        if ((low.len > 0 && compare(t, node.key, low) < 0) ||
            (next.key.len > 0 && compare(t, node.key, next.key) >= 0))
            e = ERR_CORRUPT;
        else if (depth > 1)
            e = walk(c, t, node.child, depth - 1, node.key, next.key);
        else
            e = check_leaf_node(c, t, &node);
    }
    free(page);
    return e;
}

/* `record` is what LMDB notes about a tree; that of the free list shares its flags with the
 * environment. */
static enum err check_tree(struct check *c, enum kind kind, const uint8_t *record)
{
    struct tree t = {.kind = kind};
    unsigned depth = u16_at(record + TREE_DEPTH);
    uint64_t root = u64_at(record + TREE_ROOT);
    enum err e = ERR_OK;

    if ((kind != FREE_TREE && u16_at(record + TREE_FLAGS) != 0) || depth > DEPTH_MAX ||
        (depth == 0) != (root == NO_PAGE))
        return ERR_CORRUPT;
    if (depth > 0)
        e = walk(c, &t, root, depth, span_of(NULL, 0), span_of(NULL, 0));
    if (e != ERR_OK)
        return e;
    return t.branches == u64_at(record + TREE_BRANCHES) &&
                   t.leaves == u64_at(record + TREE_LEAVES) &&
                   t.overflows == u64_at(record + TREE_OVERFLOWS) &&
                   t.entries == u64_at(record + TREE_ENTRIES)
               ? ERR_OK
               : ERR_CORRUPT;
}

enum err store_file_check(int fd, const struct store_meta *meta)
{
    struct check c = {.fd = fd,
                      .page_bytes = meta->page_bytes,
                      .pages = meta->need_bytes / meta->page_bytes,
                      .txn = meta->txn};
    uint8_t head[META_MAIN_TREE + TREE_BYTES];
    enum err e = store_file_read(fd, (uint64_t)meta->newest * meta->page_bytes, head, sizeof head);

    if (e != ERR_OK)
        return e;
    c.seen = calloc(1, (size_t)(c.pages / 8 + 1));
    if (c.seen == NULL)
        return ERR_NO_MEMORY;
    e = check_tree(&c, FREE_TREE, head + META_FREE_TREE);
    if (e == ERR_OK)
        e = check_tree(&c, MAIN_TREE, head + META_MAIN_TREE);
    free(c.seen);
    return e;
}
