#include "common/merkle.h"

#include "tests/lib/leaks.h"
#include "tests/lib/vectors.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(merkle, .fini = leaks_check);

#define SIZES 130

/* Leaf hashes and complete subtrees of a small tree, as a log would store them. */
struct stored {
    struct digest nodes[9][LIMIT_BATCH + 1];
    bool there[9][LIMIT_BATCH + 1];
    uint64_t size;    /* a request outside the tree of this size fails */
    unsigned fail_at; /* the n-th request fails; 0: none */
};

static enum err stored_put(void *ctx, unsigned level, uint64_t index, const struct digest *node)
{
    struct stored *s = ctx;

    cr_assert_not(s->there[level][index], "written twice");
    s->nodes[level][index] = *node;
    s->there[level][index] = true;
    return ERR_OK;
}

static enum err stored_get(void *ctx, unsigned level, uint64_t index, struct digest *ret)
{
    struct stored *s = ctx;

    if (s->fail_at > 0 && --s->fail_at == 0)
        return ERR_CORRUPT;
    cr_assert_leq((index + 1) << level, s->size, "asked outside the tree");
    cr_assert(s->there[level][index], "asked for %u/%u", level, (unsigned)index);
    *ret = s->nodes[level][index];
    return ERR_OK;
}

static struct digest leaf_hash(uint64_t i)
{
    return merkle_leaf(span_of(&i, sizeof(i)));
}

/* MTH of RFC 9162 2.1.1, word for word. */
static struct digest naive_root(uint64_t begin, uint64_t end)
{
    uint64_t k = 1;
    struct digest left, right;

    if (begin == end)
        return merkle_empty_root();
    if (end - begin == 1)
        return leaf_hash(begin);
    while (2 * k < end - begin)
        k *= 2;
    left = naive_root(begin, begin + k);
    right = naive_root(begin + k, end);
    return merkle_node(&left, &right);
}

/* SUBPROOF of RFC 9162 2.1.4.1, word for word. */
static size_t naive_subproof(uint64_t m, uint64_t begin, uint64_t end, bool b, struct digest *path)
{
    uint64_t n = end - begin;
    uint64_t k = 1;
    size_t made;

    if (m == n) {
        if (!b)
            path[0] = naive_root(begin, end);
        return b ? 0 : 1;
    }
    while (2 * k < n)
        k *= 2;
    if (m <= k) {
        made = naive_subproof(m, begin, begin + k, b, path);
        path[made] = naive_root(begin + k, end);
    } else {
        made = naive_subproof(m - k, begin + k, end, false, path);
        path[made] = naive_root(begin, begin + k);
    }
    return made + 1;
}

static struct stored *stored_new(uint64_t size, struct digest roots[])
{
    struct stored *s = calloc(1, sizeof(*s));
    struct merkle_edge edge = {0};

    cr_assert_not_null(s);
    s->size = size;
    roots[0] = merkle_edge_root(&edge);
    for (uint64_t i = 0; i < size; i++) {
        struct digest leaf = leaf_hash(i);

        cr_assert_eq(merkle_edge_append(&edge, &leaf, stored_put, s), ERR_OK);
        roots[i + 1] = merkle_edge_root(&edge);
    }
    cr_assert_eq(edge.size, size);
    return s;
}

static void flip(struct digest *d)
{
    d->b[7] ^= 0x10;
}

Test(merkle, roots_are_those_of_the_definition)
{
    struct digest roots[SIZES + 1];
    struct stored *s = stored_new(SIZES, roots);

    for (uint64_t size = 0; size <= SIZES; size++) {
        struct digest naive = naive_root(0, size);
        struct merkle_edge edge;
        struct digest r;

        s->size = size;
        cr_assert(digest_equal(&roots[size], &naive));
        cr_assert_eq(merkle_root(stored_get, s, size, &r), ERR_OK);
        cr_assert(digest_equal(&r, &naive));
        cr_assert_eq(merkle_edge_load(stored_get, s, size, &edge), ERR_OK);
        r = merkle_edge_root(&edge);
        cr_assert(digest_equal(&r, &naive));
        if (size < SIZES) {
            struct digest leaf = leaf_hash(size);

            cr_assert_eq(merkle_edge_append(&edge, &leaf, NULL, NULL), ERR_OK);
            r = merkle_edge_root(&edge);
            cr_assert(digest_equal(&r, &roots[size + 1]));
        }
    }
    free(s);
}

static void check_altered_inclusion(struct digest leaf, uint64_t index, uint64_t size,
                                    struct digest *path, size_t n, struct digest root)
{
    for (size_t k = 0; k < n; k++) {
        flip(&path[k]);
        cr_assert_eq(merkle_verify_inclusion(&leaf, index, size, path, n, &root), ERR_BAD_PROOF);
        flip(&path[k]);
    }
    if (n > 0)
        cr_assert_eq(merkle_verify_inclusion(&leaf, index, size, path, n - 1, &root),
                     ERR_BAD_PROOF);
    path[n] = root;
    cr_assert_eq(merkle_verify_inclusion(&leaf, index, size, path, n + 1, &root), ERR_BAD_PROOF);
    cr_assert_eq(merkle_verify_inclusion(&leaf, size, size, path, n, &root), ERR_BAD_PROOF);
    cr_assert_eq(merkle_verify_inclusion(&leaf, index ^ 1, size, path, n, &root), ERR_BAD_PROOF);
    if (index > 1)
        cr_assert_eq(merkle_verify_inclusion(&leaf, index / 2, size, path, n, &root),
                     ERR_BAD_PROOF);
    flip(&leaf);
    cr_assert_eq(merkle_verify_inclusion(&leaf, index, size, path, n, &root), ERR_BAD_PROOF);
    flip(&leaf);
    flip(&root);
    cr_assert_eq(merkle_verify_inclusion(&leaf, index, size, path, n, &root), ERR_BAD_PROOF);
}

Test(merkle, inclusion_proofs_verify_and_altered_ones_do_not)
{
    struct digest roots[SIZES + 1];
    struct stored *s = stored_new(SIZES, roots);
    unsigned made = 0;

    for (uint64_t size = 1; size <= SIZES; size++) {
        s->size = size;
        for (uint64_t i = 0; i < size; i++) {
            struct digest path[LIMIT_PROOF_PATH + 1];
            struct digest leaf = leaf_hash(i);
            size_t n = 99;

            cr_assert_eq(merkle_prove_inclusion(stored_get, s, i, size, path, &n), ERR_OK);
            cr_assert_eq(n, merkle_path_len(i, size));
            cr_assert_eq(merkle_verify_inclusion(&leaf, i, size, path, n, &roots[size]), ERR_OK);
            check_altered_inclusion(leaf, i, size, path, n, roots[size]);
            made++;
        }
    }
    cr_assert_eq(made, SIZES * (SIZES + 1) / 2);
    free(s);
}

static void check_altered_consistency(uint64_t m, uint64_t n, const struct digest roots[],
                                      struct digest *path, size_t len)
{
    struct digest bad1 = roots[m];
    struct digest bad2 = roots[n];

    for (size_t k = 0; k < len; k++) {
        flip(&path[k]);
        cr_assert_eq(merkle_verify_consistency(m, n, &roots[m], &roots[n], path, len),
                     ERR_BAD_PROOF);
        flip(&path[k]);
    }
    if (len > 0)
        cr_assert_eq(merkle_verify_consistency(m, n, &roots[m], &roots[n], path, len - 1),
                     ERR_BAD_PROOF);
    path[len] = roots[m];
    cr_assert_eq(merkle_verify_consistency(m, n, &roots[m], &roots[n], path, len + 1),
                 ERR_BAD_PROOF);
    flip(&bad1);
    cr_assert_eq(merkle_verify_consistency(m, n, &bad1, &roots[n], path, len), ERR_BAD_PROOF);
    /* Nothing is promised about the newer tree when the older is empty. */
    if (m > 0) {
        flip(&bad2);
        cr_assert_eq(merkle_verify_consistency(m, n, &roots[m], &bad2, path, len), ERR_BAD_PROOF);
        cr_assert_eq(merkle_verify_consistency(m - 1, n, &roots[m], &roots[n], path, len),
                     ERR_BAD_PROOF);
    }
    if (m < n)
        cr_assert_eq(merkle_verify_consistency(n, m, &roots[n], &roots[m], path, len),
                     ERR_BAD_PROOF);
}

Test(merkle, consistency_proofs_verify_and_altered_ones_do_not)
{
    struct digest roots[SIZES + 1];
    struct stored *s = stored_new(SIZES, roots);
    unsigned made = 0;

    for (uint64_t n = 0; n <= SIZES; n++) {
        s->size = n;
        for (uint64_t m = 0; m <= n; m++) {
            struct digest path[LIMIT_PROOF_PATH + 1];
            struct digest naive[LIMIT_PROOF_PATH];
            size_t len = 99;

            cr_assert_eq(merkle_prove_consistency(stored_get, s, m, n, path, &len), ERR_OK);
            if (m > 0 && m < n) {
                cr_assert_eq(len, naive_subproof(m, 0, n, true, naive));
                cr_assert_eq(memcmp(path, naive, len * sizeof(path[0])), 0);
            } else {
                cr_assert_eq(len, 0);
            }
            cr_assert_eq(merkle_verify_consistency(m, n, &roots[m], &roots[n], path, len), ERR_OK);
            check_altered_consistency(m, n, roots, path, len);
            made++;
        }
    }
    cr_assert_eq(made, (SIZES + 1) * (SIZES + 2) / 2);
    free(s);
}

Test(merkle, a_failing_store_ends_the_proof)
{
    struct digest roots[SIZES + 1];
    struct stored *s = stored_new(SIZES, roots);
    struct digest path[LIMIT_PROOF_PATH];
    struct merkle_edge edge;
    struct digest r;
    size_t n = 99;

    s->fail_at = 1;
    cr_assert_eq(merkle_root(stored_get, s, 100, &r), ERR_CORRUPT);
    s->fail_at = 2;
    cr_assert_eq(merkle_edge_load(stored_get, s, 100, &edge), ERR_CORRUPT);
    s->fail_at = 3;
    cr_assert_eq(merkle_prove_inclusion(stored_get, s, 5, 100, path, &n), ERR_CORRUPT);
    s->fail_at = 1;
    cr_assert_eq(merkle_prove_consistency(stored_get, s, 5, 100, path, &n), ERR_CORRUPT);
    s->fail_at = 4;
    cr_assert_eq(merkle_prove_consistency(stored_get, s, 5, 100, path, &n), ERR_CORRUPT);
    cr_assert_eq(n, 99);
    free(s);
}

static enum err put_fails_at(void *ctx, unsigned level, uint64_t index, const struct digest *node)
{
    (void)index;
    (void)node;
    return level == *(const unsigned *)ctx ? ERR_IO : ERR_OK;
}

Test(merkle, a_failing_put_leaves_the_edge_as_it_was)
{
    struct merkle_edge edge = {0};
    struct merkle_edge before;

    for (uint64_t i = 0; i < 7; i++) {
        struct digest leaf = leaf_hash(i);

        cr_assert_eq(merkle_edge_append(&edge, &leaf, NULL, NULL), ERR_OK);
    }
    before = edge;
    for (unsigned level = 0; level <= 3; level++) {
        struct digest leaf = leaf_hash(7);

        cr_assert_eq(merkle_edge_append(&edge, &leaf, put_fails_at, &level), ERR_IO);
        cr_assert_eq(memcmp(&edge, &before, sizeof(edge)), 0);
    }
}

static enum err get_synthetic(void *ctx, unsigned level, uint64_t index, struct digest *ret)
{
    const uint64_t name[2] = {level, index};

    cr_assert_leq(index + 1, *(const uint64_t *)ctx >> level);
    *ret = sha256(span_of(name, sizeof(name)));
    return ERR_OK;
}

Test(merkle, sizes_are_bounded)
{
    const uint64_t max = MERKLE_SIZE_MAX;
    uint64_t size = max;
    struct digest path[LIMIT_PROOF_PATH];
    struct digest root, leaf;
    struct merkle_edge edge;
    size_t n = 0;

    cr_assert_eq(merkle_root(get_synthetic, &size, max + 1, &root), ERR_TOO_LARGE);
    cr_assert_eq(merkle_root(get_synthetic, &size, max, &root), ERR_OK);
    cr_assert_eq(merkle_prove_inclusion(get_synthetic, &size, 0, max + 1, path, &n), ERR_TOO_LARGE);
    cr_assert_eq(merkle_prove_inclusion(get_synthetic, &size, max, max, path, &n), ERR_NOT_FOUND);
    cr_assert_eq(merkle_prove_inclusion(get_synthetic, &size, max - 1, max, path, &n), ERR_OK);
    cr_assert_eq(get_synthetic(&size, 0, max - 1, &leaf), ERR_OK);
    cr_assert_eq(merkle_verify_inclusion(&leaf, max - 1, max, path, n, &root), ERR_OK);
    cr_assert_eq(merkle_verify_inclusion(&leaf, max - 1, max + 1, path, n, &root), ERR_BAD_PROOF);
    cr_assert_eq(merkle_prove_consistency(get_synthetic, &size, 1, max + 1, path, &n),
                 ERR_TOO_LARGE);
    cr_assert_eq(merkle_prove_consistency(get_synthetic, &size, 3, 2, path, &n), ERR_NOT_FOUND);
    cr_assert_eq(merkle_prove_consistency(get_synthetic, &size, max - 2, max, path, &n), ERR_OK);
    cr_assert_leq(n, LIMIT_PROOF_PATH);
    cr_assert_eq(merkle_verify_consistency(1, max + 1, &leaf, &root, path, n), ERR_BAD_PROOF);
    cr_assert_eq(merkle_edge_load(get_synthetic, &size, max + 1, &edge), ERR_TOO_LARGE);
    cr_assert_eq(merkle_edge_load(get_synthetic, &size, max, &edge), ERR_OK);
    cr_assert_eq(merkle_edge_append(&edge, &leaf, NULL, NULL), ERR_TOO_LARGE);
    edge.size = max - 1;
    cr_assert_eq(merkle_edge_append(&edge, &leaf, NULL, NULL), ERR_OK);
    cr_assert_eq(edge.size, max);
}

Test(merkle, batches_agree_with_the_tree)
{
    struct digest roots[LIMIT_BATCH + 1];
    struct stored *s = stored_new(LIMIT_BATCH, roots);
    struct merkle_path paths[LIMIT_BATCH];

    for (size_t size = 1; size <= LIMIT_BATCH; size++) {
        struct digest root;

        cr_assert_eq(merkle_batch(s->nodes[0], size, &root, paths), ERR_OK);
        cr_assert(digest_equal(&root, &roots[size]));
        for (size_t i = 0; i < size; i++) {
            struct digest r;

            cr_assert_eq(paths[i].n, merkle_path_len(i, size));
            cr_assert_eq(
                merkle_root_from_path(&s->nodes[0][i], i, size, paths[i].nodes, paths[i].n, &r),
                ERR_OK);
            cr_assert(digest_equal(&r, &root));
        }
        cr_assert_eq(merkle_batch(s->nodes[0], size, &root, NULL), ERR_OK);
        cr_assert(digest_equal(&root, &roots[size]));
    }
    cr_assert_eq(merkle_batch(s->nodes[0], 0, &roots[0], NULL), ERR_TOO_LARGE);
    cr_assert_eq(merkle_batch(s->nodes[0], LIMIT_BATCH + 1, &roots[0], NULL), ERR_TOO_LARGE);
    free(s);
}

Test(merkle, leaf_of_parts_is_the_leaf_of_their_concatenation)
{
    const struct span parts[MERKLE_PARTS] = {span_of("ab", 2), span_of(NULL, 0), span_of("c", 1)};
    struct digest whole = merkle_leaf(span_of("abc", 3));
    struct digest pieces = merkle_leaf_parts(parts, MERKLE_PARTS);

    cr_assert(digest_equal(&whole, &pieces));
}

/* Published vectors. */

static struct digest digest_hex(const json_t *o, const char *key)
{
    struct span s = vectors_hex(o, key);
    struct digest d;

    cr_assert_eq(s.len, sizeof(d.b));
    memcpy(d.b, s.data, sizeof(d.b));
    vectors_free(s);
    return d;
}

Test(merkle, hasher_vectors)
{
    json_t *root = vectors_load("rfc6962-merkle/hasher.json");
    struct digest want = digest_hex(root, "empty_root");
    struct digest got = merkle_empty_root();
    unsigned ran = 0;
    json_t *v;
    size_t i;

    cr_assert(digest_equal(&want, &got));
    ran++;
    json_array_foreach(json_object_get(root, "leaf_hash"), i, v)
    {
        struct span leaf = vectors_hex(v, "leaf_hex");

        want = digest_hex(v, "hash");
        got = merkle_leaf(leaf);
        cr_assert(digest_equal(&want, &got));
        vectors_free(leaf);
        ran++;
    }
    /* The one node of the file joins texts shorter than a hash: only its prefix can be checked. */
    json_array_foreach(json_object_get(root, "node_hash"), i, v)
    {
        struct span left = vectors_hex(v, "left_hex");
        struct span right = vectors_hex(v, "right_hex");
        const struct span parts[3] = {span_of("\1", 1), left, right};

        want = digest_hex(v, "hash");
        got = sha256_parts(parts, 3);
        cr_assert(digest_equal(&want, &got));
        vectors_free(left);
        vectors_free(right);
        ran++;
    }
    cr_assert_eq(ran, 4);
    json_decref(root);
}

/* Some probes carry texts of other lengths, which our types cannot and so refuse. So that the rest
 * of the probe runs, a hash stands for them: texts of one role stay equal, others differ. */
static struct digest digest_base64(const json_t *text, const char *role)
{
    struct span s = vectors_unbase64(json_string_value(text));
    const struct span marked[2] = {span_of(role, strlen(role)), s};
    struct digest d = sha256_parts(marked, 2);

    if (s.len == sizeof(d.b))
        memcpy(d.b, s.data, sizeof(d.b));
    vectors_free(s);
    return d;
}

static size_t read_proof(const json_t *v, struct digest *path)
{
    const json_t *hashes = json_object_get(v, "proof");
    size_t n = json_array_size(hashes);

    cr_assert_leq(n, LIMIT_PROOF_PATH);
    for (size_t i = 0; i < n; i++)
        path[i] = digest_base64(json_array_get(hashes, i), "path");
    return n;
}

/* Integers come as reals, since jansson refuses the file's 2^64 - 1; every other one is small. */
static json_t *load_probes(const char *path)
{
    char full[4096];
    json_t *root;

    (void)snprintf(full, sizeof(full), "%s/%s", SEALPOST_VECTORS, path);
    root = json_load_file(full, JSON_DECODE_INT_AS_REAL, NULL);
    cr_assert_not_null(root);
    return root;
}

static uint64_t number(const json_t *v, const char *key)
{
    const json_t *n = json_object_get(v, key);
    double d = json_number_value(n);

    cr_assert(json_is_number(n));
    return d > 1e15 ? UINT64_MAX : (uint64_t)d;
}

Test(merkle, inclusion_vectors)
{
    json_t *root = load_probes("rfc6962-merkle/inclusion.json");
    unsigned good = 0, bad = 0;
    json_t *v;
    size_t i;

    json_array_foreach(root, i, v)
    {
        bool want_err = json_is_true(json_object_get(v, "wantErr"));
        struct digest leaf = digest_base64(json_object_get(v, "leafHash"), "leaf");
        struct digest want = digest_base64(json_object_get(v, "root"), "root");
        struct digest path[LIMIT_PROOF_PATH];
        size_t n = read_proof(v, path);
        enum err e = merkle_verify_inclusion(&leaf, number(v, "leafIdx"), number(v, "treeSize"),
                                             path, n, &want);

        cr_assert_eq(e, want_err ? ERR_BAD_PROOF : ERR_OK, "%s", vectors_text(v, "file"));
        if (want_err)
            bad++;
        else
            good++;
    }
    cr_assert_eq(good, 6);
    cr_assert_eq(bad, 92);
    json_decref(root);
}

/* The library that the file comes from refuses every proof about an empty tree as useless; see
 * merkle.h. */
static bool is_policy(const json_t *v)
{
    return strcmp(vectors_text(v, "file"),
                  "consistency/additional/size1-is-zero-and-size2-is-not-zero.json") == 0;
}

Test(merkle, consistency_vectors)
{
    json_t *root = load_probes("rfc6962-merkle/consistency.json");
    unsigned good = 0, bad = 0, policy = 0;
    json_t *v;
    size_t i;

    json_array_foreach(root, i, v)
    {
        bool want_err = json_is_true(json_object_get(v, "wantErr"));
        struct digest root1 = digest_base64(json_object_get(v, "root1"), "root");
        struct digest root2 = digest_base64(json_object_get(v, "root2"), "root");
        struct digest path[LIMIT_PROOF_PATH];
        size_t n = read_proof(v, path);
        enum err e = merkle_verify_consistency(number(v, "size1"), number(v, "size2"), &root1,
                                               &root2, path, n);

        if (is_policy(v)) {
            cr_assert_eq(e, ERR_OK);
            policy++;
            continue;
        }
        cr_assert_eq(e, want_err ? ERR_BAD_PROOF : ERR_OK, "%s", vectors_text(v, "file"));
        if (want_err)
            bad++;
        else
            good++;
    }
    cr_assert_eq(good, 6);
    cr_assert_eq(bad, 91);
    cr_assert_eq(policy, 1);
    json_decref(root);
}
