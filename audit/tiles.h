/* Tiles of a log in memory (C2SP tlog-tiles.md "Merkle Tree"): a tile of level L and index N holds
 * up to 256 consecutive hashes of subtrees of 256^L leaves. Stored are those hashes alone; here the
 * nodes between them and the next level are kept too, since proofs ask for them again and again. */
#ifndef SEALPOST_AUDIT_TILES_H
#define SEALPOST_AUDIT_TILES_H

#include "common/crypto.h"
#include "common/err.h"
#include "common/span.h"

#include <stdint.h>

#define TILE_HEIGHT 8
#define TILE_WIDTH 256u
#define TILE_LEVELS 8 /* 63 bits of size, 8 to a level */

/* Width of the tile that holds the last hash of level `level` in a tree of `size` leaves: 1 to 255
 * when it is partial, 0 when there is none or it is full. */
unsigned tile_partial_width(uint64_t size, unsigned level);
/* Hashes of that level in a tree of `size` leaves. */
uint64_t tile_hashes(uint64_t size, unsigned level);

/* Gives the stored hashes of a tile, a multiple of 32 bytes up to 8 KiB, borrowed until the next
 * call. ERR_NOT_FOUND when it is not there. */
typedef enum err (*tiles_load)(void *ctx, unsigned level, uint64_t index, struct span *ret);

/* A few tiles of each level. One thread. */
struct tiles;
enum err tiles_new(struct tiles **ret);
void tiles_free(struct tiles *t);
/* Forgets everything beyond the first `size` leaves. */
void tiles_truncate(struct tiles *t, uint64_t size);

/* Node `index` of level `level` of the tree, as merkle_get. Tiles that are missing here are loaded.
 * ERR_CORRUPT for a tile that is not stored, or narrower than the node needs. */
enum err tiles_get(struct tiles *t, tiles_load load, void *ctx, unsigned level, uint64_t index,
                   struct digest *ret);
/* A node of a growing tree, as merkle_put. A tile must be stored, where `load` finds it, once it is
 * full; until then it is kept here. The tile that a new hash belongs to is loaded when it is
 * missing. */
enum err tiles_put(struct tiles *t, tiles_load load, void *ctx, unsigned level, uint64_t index,
                   const struct digest *node);
/* The hashes of a tile that is here, to be stored; empty when it is not. Borrowed until the next
 * call. */
struct span tiles_hashes(const struct tiles *t, unsigned level, uint64_t index);

#endif
