#include "audit/tiles.h"

#include "common/merkle.h"
#include "tests/lib/leaks.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

TestSuite(tiles, .fini = leaks_check);

#define SIZE 70000u

/* Tiles as a store would keep them: the hashes alone. */
struct shelf {
    struct digest *hashes[TILE_LEVELS]; /* of a whole level, one after the other */
    uint64_t size;
    struct tiles *tiles;
    unsigned loads;
};

static enum err shelf_load(void *ctx, unsigned level, uint64_t index, struct span *ret)
{
    struct shelf *s = ctx;
    uint64_t total = tile_hashes(s->size, level), from = index * TILE_WIDTH;

    s->loads++;
    if (from >= total)
        return ERR_NOT_FOUND;
    *ret = span_of(s->hashes[level] + from,
                   (total - from < TILE_WIDTH ? total - from : TILE_WIDTH) * sizeof(struct digest));
    return ERR_OK;
}

static enum err shelf_put(void *ctx, unsigned level, uint64_t index, const struct digest *node)
{
    struct shelf *s = ctx;

    if (level % TILE_HEIGHT == 0)
        s->hashes[level / TILE_HEIGHT][index] = *node;
    return tiles_put(s->tiles, shelf_load, s, level, index, node);
}

static enum err shelf_get(void *ctx, unsigned level, uint64_t index, struct digest *ret)
{
    struct shelf *s = ctx;

    return tiles_get(s->tiles, shelf_load, s, level, index, ret);
}

static void shelf_init(struct shelf *s)
{
    *s = (struct shelf){0};
    for (size_t l = 0; l < TILE_LEVELS; l++)
        s->hashes[l] = calloc((SIZE >> (TILE_HEIGHT * (l < 3 ? l : 3))) + 2, sizeof(struct digest));
    cr_assert_eq(tiles_new(&s->tiles), ERR_OK);
}

static void shelf_fini(struct shelf *s)
{
    for (size_t l = 0; l < TILE_LEVELS; l++)
        free(s->hashes[l]);
    tiles_free(s->tiles);
}

static void grow(struct shelf *s, struct merkle_edge *edge, uint64_t size)
{
    while (edge->size < size) {
        struct digest leaf = merkle_leaf(span_of(&edge->size, sizeof(edge->size)));

        cr_assert_eq(merkle_edge_append(edge, &leaf, shelf_put, s), ERR_OK);
        s->size = edge->size;
    }
}

static void check_proofs(struct shelf *s, const struct merkle_edge *edge, uint64_t step)
{
    struct digest root = merkle_edge_root(edge);

    for (uint64_t i = 0; i < edge->size; i += step) {
        struct digest leaf = merkle_leaf(span_of(&i, sizeof(i)));
        struct digest path[LIMIT_PROOF_PATH];
        size_t n;

        cr_assert_eq(merkle_prove_inclusion(shelf_get, s, i, edge->size, path, &n), ERR_OK);
        cr_assert_eq(merkle_verify_inclusion(&leaf, i, edge->size, path, n, &root), ERR_OK);
    }
}

Test(tiles, widths_as_in_the_specification)
{
    /* tlog-tiles.md "Partial Tiles": a tree of 70,000. */
    cr_assert_eq(tile_hashes(SIZE, 0) / TILE_WIDTH, 273);
    cr_assert_eq(tile_partial_width(SIZE, 0), 112);
    cr_assert_eq(tile_hashes(SIZE, 1) / TILE_WIDTH, 1);
    cr_assert_eq(tile_partial_width(SIZE, 1), 17);
    cr_assert_eq(tile_hashes(SIZE, 2) / TILE_WIDTH, 0);
    cr_assert_eq(tile_partial_width(SIZE, 2), 1);
    cr_assert_eq(tile_partial_width(256, 0), 0);
    cr_assert_eq(tile_partial_width(256, 1), 1);
}

Test(tiles, proofs_of_a_growing_tree)
{
    const uint64_t sizes[] = {1,   2,    255,  256,   257,   511,   512,
                              513, 1023, 1025, 65535, 65536, 65537, SIZE};
    struct merkle_edge edge = {0};
    struct shelf s;

    shelf_init(&s);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        grow(&s, &edge, sizes[i]);
        check_proofs(&s, &edge, 1 + sizes[i] / 61);
    }
    shelf_fini(&s);
}

Test(tiles, the_newest_leaves_need_no_loading)
{
    struct merkle_edge edge = {0};
    struct digest path[LIMIT_PROOF_PATH];
    struct shelf s;
    size_t n;

    shelf_init(&s);
    grow(&s, &edge, 1000);
    s.loads = 0;
    for (uint64_t i = 700; i < 1000; i++)
        cr_assert_eq(merkle_prove_inclusion(shelf_get, &s, i, 1000, path, &n), ERR_OK);
    cr_assert_eq(s.loads, 0);
    shelf_fini(&s);
}

Test(tiles, begins_again_from_what_is_stored)
{
    struct merkle_edge edge = {0}, loaded;
    struct digest before, after;
    struct shelf s;

    shelf_init(&s);
    for (uint64_t size = 250; size < 1300; size += 263) {
        grow(&s, &edge, size);
        tiles_free(s.tiles);
        cr_assert_eq(tiles_new(&s.tiles), ERR_OK);
        cr_assert_eq(merkle_edge_load(shelf_get, &s, size, &loaded), ERR_OK);
        before = merkle_edge_root(&edge);
        after = merkle_edge_root(&loaded);
        cr_assert(digest_equal(&before, &after));
        check_proofs(&s, &edge, 7);
        edge = loaded;
    }
    shelf_fini(&s);
}

Test(tiles, truncation_forgets_what_was_not_committed)
{
    struct merkle_edge edge = {0}, kept;
    struct shelf s;

    shelf_init(&s);
    for (uint64_t size = 200; size < 900; size += 77) {
        grow(&s, &edge, size);
        kept = edge;
        grow(&s, &edge, size + 300);
        tiles_truncate(s.tiles, size);
        s.size = size;
        edge = kept;
        check_proofs(&s, &edge, 5);
    }
    shelf_fini(&s);
}

Test(tiles, damaged_tiles_are_named)
{
    struct merkle_edge edge = {0};
    struct digest node;
    struct shelf s;

    shelf_init(&s);
    grow(&s, &edge, 600);
    tiles_free(s.tiles);
    cr_assert_eq(tiles_new(&s.tiles), ERR_OK);
    s.size = 300;
    cr_assert_eq(shelf_get(&s, 0, 299, &node), ERR_OK);
    cr_assert_eq(shelf_get(&s, 0, 300, &node), ERR_CORRUPT); /* too narrow */
    cr_assert_eq(shelf_get(&s, 0, 512, &node), ERR_CORRUPT); /* not there */
    cr_assert_eq(shelf_get(&s, 2, 75, &node), ERR_CORRUPT);
    cr_assert_eq(shelf_get(&s, TILE_HEIGHT * TILE_LEVELS, 0, &node), ERR_NOT_FOUND);
    shelf_fini(&s);
}
