/* Merkle trees with the hashing of RFC 6962 2.1 (unchanged in RFC 9162 2.1): leaf hash
 * SHA-256(00 || leaf), node SHA-256(01 || left || right), SHA-256("") for the empty tree.
 *
 * Proofs are arrays of digests in the order of the RFC. Trees hold at most MERKLE_SIZE_MAX leaves;
 * functions that make something refuse more with ERR_TOO_LARGE, verification with ERR_BAD_PROOF.
 * Nothing here allocates. */
#ifndef SEALPOST_COMMON_MERKLE_H
#define SEALPOST_COMMON_MERKLE_H

#include "common/crypto.h"
#include "common/err.h"
#include "common/limits.h"
#include "common/span.h"

#include <stddef.h>
#include <stdint.h>

#define MERKLE_SIZE_MAX ((uint64_t)INT64_MAX)

struct digest merkle_empty_root(void);
struct digest merkle_leaf(struct span leaf);
/* Of a leaf that is the concatenation of `n` spans, at most MERKLE_PARTS (asserted). */
#define MERKLE_PARTS 7
struct digest merkle_leaf_parts(const struct span *parts, size_t n);
struct digest merkle_node(const struct digest *left, const struct digest *right);

/* Length of the inclusion path of leaf `index` in a tree of `size` > index leaves (RFC 9162
 * 2.1.3.2). */
size_t merkle_path_len(uint64_t index, uint64_t size);

/* The root that an inclusion path leads to. ERR_BAD_PROOF when index >= size or when `n` is not
 * exactly merkle_path_len(). The caller compares or verifies the root. */
enum err merkle_root_from_path(const struct digest *leaf, uint64_t index, uint64_t size,
                               const struct digest *path, size_t n, struct digest *ret);
/* RFC 9162 2.1.3.2. ERR_BAD_PROOF when it does not hold. */
enum err merkle_verify_inclusion(const struct digest *leaf, uint64_t index, uint64_t size,
                                 const struct digest *path, size_t n, const struct digest *root);
/* RFC 9162 2.1.4.2: the tree of size1 is the beginning of that of size2. ERR_BAD_PROOF when it
 * does not hold. Equal sizes need an empty proof and equal roots. The RFC leaves size1 = 0 open:
 * as in C2SP tlog-witness it needs an empty proof and holds for any tree, provided that root1 is
 * the empty root. */
enum err merkle_verify_consistency(uint64_t size1, uint64_t size2, const struct digest *root1,
                                   const struct digest *root2, const struct digest *path, size_t n);

/* Where stored hashes come from: the hash of the complete subtree of 2^level leaves that begins at
 * leaf index * 2^level; level 0 gives leaf hashes. Only subtrees that lie wholly inside the size
 * asked about are requested. Its errors end the call and are passed on. */
typedef enum err (*merkle_get)(void *ctx, unsigned level, uint64_t index, struct digest *ret);

enum err merkle_root(merkle_get get, void *ctx, uint64_t size, struct digest *ret);
/* RFC 9162 2.1.3.1. ERR_NOT_FOUND when index >= size. On failure `path` holds no proof and `n` is
 * unchanged. */
enum err merkle_prove_inclusion(merkle_get get, void *ctx, uint64_t index, uint64_t size,
                                struct digest path[LIMIT_PROOF_PATH], size_t *n);
/* RFC 9162 2.1.4.1. Empty for size1 = 0 and for equal sizes. ERR_NOT_FOUND when size1 > size2. */
enum err merkle_prove_consistency(merkle_get get, void *ctx, uint64_t size1, uint64_t size2,
                                  struct digest path[LIMIT_PROOF_PATH], size_t *n);

/* The right edge of a growing tree: all that appending needs. A zeroed edge is the empty tree; copy
 * it freely. nodes[l] is the complete subtree of 2^l leaves when bit l of size is set. */
struct merkle_edge {
    uint64_t size;
    struct digest nodes[64];
};

/* Takes every subtree that the new leaf completes, level 0 (the leaf hash itself) first: exactly
 * what a merkle_get of the grown tree can be asked for. */
typedef enum err (*merkle_put)(void *ctx, unsigned level, uint64_t index,
                               const struct digest *node);

/* Appends one leaf hash. `put` may be NULL; its error ends the call, and the edge is as before. */
enum err merkle_edge_append(struct merkle_edge *e, const struct digest *leaf, merkle_put put,
                            void *ctx);
struct digest merkle_edge_root(const struct merkle_edge *e);
/* The edge of a stored tree. */
enum err merkle_edge_load(merkle_get get, void *ctx, uint64_t size, struct merkle_edge *ret);

/* A whole small tree in memory, for what is signed together. */
struct merkle_path {
    size_t n;
    struct digest nodes[LIMIT_BATCH_PATH];
};

/* The root of `n` leaf hashes, 1 to LIMIT_BATCH (else ERR_TOO_LARGE), and, unless `paths` is NULL,
 * the inclusion path of each. */
enum err merkle_batch(const struct digest *leaves, size_t n, struct digest *root,
                      struct merkle_path *paths);

#endif
