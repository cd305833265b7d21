#include "common/merkle.h"

#include <assert.h>
#include <string.h>

struct digest merkle_empty_root(void)
{
    return sha256(span_of(NULL, 0));
}

struct digest merkle_leaf_parts(const struct span *parts, size_t n)
{
    static const uint8_t prefix = 0;
    struct span all[1 + MERKLE_PARTS] = {span_of(&prefix, 1)};

    assert(n <= MERKLE_PARTS);
    for (size_t i = 0; i < n; i++)
        all[1 + i] = parts[i];
    return sha256_parts(all, 1 + n);
}

struct digest merkle_leaf(struct span leaf)
{
    return merkle_leaf_parts(&leaf, 1);
}

struct digest merkle_node(const struct digest *left, const struct digest *right)
{
    uint8_t bytes[1 + 2 * sizeof(struct digest)] = {1};

    memcpy(bytes + 1, left->b, sizeof(left->b));
    memcpy(bytes + 1 + sizeof(left->b), right->b, sizeof(right->b));
    return sha256(span_of(bytes, sizeof(bytes)));
}

static unsigned bit_length(uint64_t v)
{
    return v == 0 ? 0 : 64 - (unsigned)__builtin_clzll(v);
}

size_t merkle_path_len(uint64_t index, uint64_t size)
{
    unsigned inner;

    assert(index < size && size <= MERKLE_SIZE_MAX);
    inner = bit_length(index ^ (size - 1));
    return inner + (size_t)__builtin_popcountll(index >> inner);
}

enum err merkle_root_from_path(const struct digest *leaf, uint64_t index, uint64_t size,
                               const struct digest *path, size_t n, struct digest *ret)
{
    struct digest r = *leaf;
    uint64_t fn = index;
    uint64_t sn;

    if (size > MERKLE_SIZE_MAX || index >= size || n != merkle_path_len(index, size))
        return ERR_BAD_PROOF;
    sn = size - 1;
    for (size_t i = 0; i < n; i++) {
        if ((fn & 1) == 1 || fn == sn) {
            r = merkle_node(&path[i], &r);
            while ((fn & 1) == 0 && fn != 0) {
                fn >>= 1;
                sn >>= 1;
            }
        } else {
            r = merkle_node(&r, &path[i]);
        }
        fn >>= 1;
        sn >>= 1;
    }
    *ret = r;
    return ERR_OK;
}

enum err merkle_verify_inclusion(const struct digest *leaf, uint64_t index, uint64_t size,
                                 const struct digest *path, size_t n, const struct digest *root)
{
    struct digest r;
    enum err e = merkle_root_from_path(leaf, index, size, path, n, &r);

    if (e != ERR_OK)
        return e;
    return digest_equal(&r, root) ? ERR_OK : ERR_BAD_PROOF;
}

/* RFC 9162 2.1.4.2 steps 3 to 6 for 0 < size1 < size2. */
static bool consistency_holds(uint64_t size1, uint64_t size2, const struct digest *root1,
                              const struct digest *root2, const struct digest *path, size_t n)
{
    uint64_t fn = size1 - 1;
    uint64_t sn = size2 - 1;
    bool complete = (size1 & (size1 - 1)) == 0;
    struct digest fr, sr;

    if (!complete && n == 0)
        return false;
    while ((fn & 1) == 1) {
        fn >>= 1;
        sn >>= 1;
    }
    fr = sr = complete ? *root1 : path[0];
    for (size_t i = complete ? 0 : 1; i < n; i++) {
        if (sn == 0)
            return false;
        if ((fn & 1) == 1 || fn == sn) {
            fr = merkle_node(&path[i], &fr);
            sr = merkle_node(&path[i], &sr);
            while ((fn & 1) == 0 && fn != 0) {
                fn >>= 1;
                sn >>= 1;
            }
        } else {
            sr = merkle_node(&sr, &path[i]);
        }
        fn >>= 1;
        sn >>= 1;
    }
    return sn == 0 && digest_equal(&fr, root1) && digest_equal(&sr, root2);
}

enum err merkle_verify_consistency(uint64_t size1, uint64_t size2, const struct digest *root1,
                                   const struct digest *root2, const struct digest *path, size_t n)
{
    struct digest empty;
    bool holds;

    if (size2 > MERKLE_SIZE_MAX || size1 > size2)
        return ERR_BAD_PROOF;
    if (size1 == size2 && (n != 0 || !digest_equal(root1, root2)))
        return ERR_BAD_PROOF;
    if (size1 == 0) {
        empty = merkle_empty_root();
        holds = n == 0 && digest_equal(root1, &empty);
    } else {
        holds = size1 == size2 || consistency_holds(size1, size2, root1, root2, path, n);
    }
    return holds ? ERR_OK : ERR_BAD_PROOF;
}

/* The root of the leaves [begin, begin + count), count > 0, which the tree holds as complete
 * subtrees, the largest first. */
static enum err range_root(merkle_get get, void *ctx, uint64_t begin, uint64_t count,
                           struct digest *ret)
{
    struct digest r, node;
    uint64_t at = begin + count;
    bool first = true;

    for (unsigned level = 0; count >> level != 0; level++) {
        enum err e;

        if ((count >> level & 1) == 0)
            continue;
        at -= (uint64_t)1 << level;
        e = get(ctx, level, at >> level, &node);
        if (e != ERR_OK)
            return e;
        r = first ? node : merkle_node(&node, &r);
        first = false;
    }
    *ret = r;
    return ERR_OK;
}

enum err merkle_root(merkle_get get, void *ctx, uint64_t size, struct digest *ret)
{
    if (size > MERKLE_SIZE_MAX)
        return ERR_TOO_LARGE;
    if (size == 0) {
        *ret = merkle_empty_root();
        return ERR_OK;
    }
    return range_root(get, ctx, 0, size, ret);
}

/* Appends the siblings on the way from node (level, index) to the root. A node on the right edge
 * without a sibling at its level stands for itself one level up. */
static enum err path_up(merkle_get get, void *ctx, unsigned level, uint64_t index, uint64_t size,
                        struct digest path[LIMIT_PROOF_PATH], size_t *n)
{
    uint64_t last = (size - 1) >> level;

    for (; last > 0; level++, index >>= 1, last >>= 1) {
        uint64_t sibling = index ^ 1;
        uint64_t begin = sibling << level;
        uint64_t count = (uint64_t)1 << level;
        enum err e;

        if (sibling > last)
            continue;
        if (count > size - begin)
            count = size - begin;
        assert(*n < LIMIT_PROOF_PATH);
        e = range_root(get, ctx, begin, count, &path[*n]);
        if (e != ERR_OK)
            return e;
        *n += 1;
    }
    return ERR_OK;
}

enum err merkle_prove_inclusion(merkle_get get, void *ctx, uint64_t index, uint64_t size,
                                struct digest path[LIMIT_PROOF_PATH], size_t *n)
{
    size_t made = 0;
    enum err e;

    if (size > MERKLE_SIZE_MAX)
        return ERR_TOO_LARGE;
    if (index >= size)
        return ERR_NOT_FOUND;
    e = path_up(get, ctx, 0, index, size, path, &made);
    if (e == ERR_OK)
        *n = made;
    return e;
}

enum err merkle_prove_consistency(merkle_get get, void *ctx, uint64_t size1, uint64_t size2,
                                  struct digest path[LIMIT_PROOF_PATH], size_t *n)
{
    unsigned level;
    uint64_t index;
    size_t made = 0;
    enum err e;

    if (size2 > MERKLE_SIZE_MAX)
        return ERR_TOO_LARGE;
    if (size1 > size2)
        return ERR_NOT_FOUND;
    if (size1 == 0 || size1 == size2) {
        *n = 0;
        return ERR_OK;
    }
    /* The proof begins at the last complete subtree of the old tree; when that is the whole old
     * tree, the verifier has its hash already (SUBPROOF with b = true). */
    level = (unsigned)__builtin_ctzll(size1);
    index = (size1 >> level) - 1;
    if (index != 0) {
        e = get(ctx, level, index, &path[made]);
        if (e != ERR_OK)
            return e;
        made++;
    }
    e = path_up(get, ctx, level, index, size2, path, &made);
    if (e == ERR_OK)
        *n = made;
    return e;
}

enum err merkle_edge_append(struct merkle_edge *e, const struct digest *leaf, merkle_put put,
                            void *ctx)
{
    struct digest node = *leaf;
    unsigned level = 0;

    if (e->size >= MERKLE_SIZE_MAX)
        return ERR_TOO_LARGE;
    for (;;) {
        if (put != NULL) {
            enum err failed = put(ctx, level, e->size >> level, &node);

            if (failed != ERR_OK)
                return failed;
        }
        if ((e->size >> level & 1) == 0)
            break;
        node = merkle_node(&e->nodes[level], &node);
        level++;
    }
    e->nodes[level] = node;
    e->size++;
    return ERR_OK;
}

struct digest merkle_edge_root(const struct merkle_edge *e)
{
    struct digest r = merkle_empty_root();
    bool first = true;

    for (unsigned level = 0; e->size >> level != 0; level++) {
        if ((e->size >> level & 1) == 0)
            continue;
        r = first ? e->nodes[level] : merkle_node(&e->nodes[level], &r);
        first = false;
    }
    return r;
}

enum err merkle_edge_load(merkle_get get, void *ctx, uint64_t size, struct merkle_edge *ret)
{
    struct merkle_edge edge = {.size = size};

    if (size > MERKLE_SIZE_MAX)
        return ERR_TOO_LARGE;
    for (unsigned level = 0; size >> level != 0; level++) {
        enum err e;

        if ((size >> level & 1) == 0)
            continue;
        e = get(ctx, level, (size >> level) - 1, &edge.nodes[level]);
        if (e != ERR_OK)
            return e;
    }
    *ret = edge;
    return ERR_OK;
}

enum err merkle_batch(const struct digest *leaves, size_t n, struct digest *root,
                      struct merkle_path *paths)
{
    struct digest row[LIMIT_BATCH];
    unsigned level = 0;

    if (n == 0 || n > LIMIT_BATCH)
        return ERR_TOO_LARGE;
    memcpy(row, leaves, n * sizeof(row[0]));
    for (size_t i = 0; paths != NULL && i < n; i++)
        paths[i].n = 0;
    for (size_t count = n; count > 1; count = (count + 1) / 2, level++) {
        for (size_t i = 0; paths != NULL && i < n; i++) {
            size_t sibling = (i >> level) ^ 1;

            if (sibling < count)
                paths[i].nodes[paths[i].n++] = row[sibling];
        }
        /* Pairing level by level and passing an odd last node up unchanged gives the tree of the
         * RFC, which splits at the largest power of two. */
        for (size_t i = 0; i < count / 2; i++)
            row[i] = merkle_node(&row[2 * i], &row[2 * i + 1]);
        if ((count & 1) == 1)
            row[count / 2] = row[count - 1];
    }
    *root = row[0];
    return ERR_OK;
}
