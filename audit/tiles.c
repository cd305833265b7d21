#include "audit/tiles.h"

#include "common/merkle.h"

#include <stdlib.h>
#include <string.h>

/* Nodes of one tile: 256 hashes, 128 above them and so on to the two under the next level's hash.
 */
#define TILE_NODES (2 * TILE_WIDTH - 2)
/* Receipts are asked for a little after their commit, which may have ended one tile and begun the
 * next. */
#define TILE_PLACES 4

struct tile {
    uint64_t index;
    unsigned width;
    struct digest nodes[TILE_NODES];
};

struct tiles {
    /* The tile that grows at each level: what is in it may not be stored yet, so that reading must
     * not push it out. */
    struct tile *growing[TILE_LEVELS];
    struct tile *places[TILE_LEVELS][TILE_PLACES];
};

/* Where a node of the tree lies. */
struct place {
    unsigned level;  /* of the tile */
    unsigned height; /* within it: 0 is a stored hash */
    uint64_t index;  /* of the tile */
    unsigned at;     /* among the nodes of its height */
};

static struct place place_of(unsigned level, uint64_t index)
{
    unsigned height = level % TILE_HEIGHT;
    unsigned shift = TILE_HEIGHT - height;

    return (struct place){.level = level / TILE_HEIGHT,
                          .height = height,
                          .index = index >> shift,
                          .at = (unsigned)(index & ((1u << shift) - 1))};
}

static size_t node_at(unsigned height, unsigned at)
{
    return 2 * TILE_WIDTH - ((2 * TILE_WIDTH) >> height) + at;
}

/* Hashes that a tile must hold for this node to be complete. */
static unsigned width_for(const struct place *p)
{
    return (p->at + 1) << p->height;
}

uint64_t tile_hashes(uint64_t size, unsigned level)
{
    return size >> (TILE_HEIGHT * level);
}

unsigned tile_partial_width(uint64_t size, unsigned level)
{
    return (unsigned)(tile_hashes(size, level) % TILE_WIDTH);
}

enum err tiles_new(struct tiles **ret)
{
    struct tiles *t = calloc(1, sizeof(*t));

    if (t == NULL)
        return ERR_NO_MEMORY;
    *ret = t;
    return ERR_OK;
}

void tiles_free(struct tiles *t)
{
    if (t == NULL)
        return;
    for (size_t l = 0; l < TILE_LEVELS; l++) {
        free(t->growing[l]);
        for (size_t i = 0; i < TILE_PLACES; i++)
            free(t->places[l][i]);
    }
    free(t);
}

static void truncate_tile(struct tile *tile, uint64_t total)
{
    if (tile == NULL)
        return;
    if (tile->index > total / TILE_WIDTH)
        tile->width = 0;
    else if (tile->width > total - tile->index * TILE_WIDTH)
        tile->width = (unsigned)(total - tile->index * TILE_WIDTH);
}

void tiles_truncate(struct tiles *t, uint64_t size)
{
    for (unsigned l = 0; l < TILE_LEVELS; l++) {
        uint64_t total = tile_hashes(size, l);

        truncate_tile(t->growing[l], total);
        for (size_t i = 0; i < TILE_PLACES; i++)
            truncate_tile(t->places[l][i], total);
    }
}

static bool is_tile(const struct tile *tile, uint64_t index)
{
    return tile != NULL && tile->index == index && tile->width > 0;
}

static struct tile *find(const struct tiles *t, unsigned level, uint64_t index)
{
    struct tile *placed = t->places[level][index % TILE_PLACES];

    if (is_tile(t->growing[level], index))
        return t->growing[level];
    return is_tile(placed, index) ? placed : NULL;
}

/* Makes `*place` an empty tile. */
static enum err clear_place(struct tile **place, uint64_t index)
{
    if (*place == NULL)
        *place = malloc(sizeof(**place));
    if (*place == NULL)
        return ERR_NO_MEMORY;
    (*place)->index = index;
    (*place)->width = 0;
    return ERR_OK;
}

static void fill_nodes(struct tile *tile)
{
    for (unsigned height = 1; height < TILE_HEIGHT; height++) {
        unsigned count = tile->width >> height;

        for (unsigned i = 0; i < count; i++) {
            const struct digest *below = &tile->nodes[node_at(height - 1, 2 * i)];

            tile->nodes[node_at(height, i)] = merkle_node(&below[0], &below[1]);
        }
    }
}

static enum err load_tile(struct tile **place, tiles_load load, void *ctx, const struct place *p)
{
    struct span hashes;
    enum err e = load(ctx, p->level, p->index, &hashes);

    if (e != ERR_OK)
        return e == ERR_NOT_FOUND ? ERR_CORRUPT : e;
    if (hashes.len == 0 || hashes.len % sizeof(struct digest) != 0 ||
        hashes.len > TILE_WIDTH * sizeof(struct digest))
        return ERR_CORRUPT;
    e = clear_place(place, p->index);
    if (e != ERR_OK)
        return e;
    memcpy((*place)->nodes, hashes.data, hashes.len);
    (*place)->width = (unsigned)(hashes.len / sizeof(struct digest));
    fill_nodes(*place);
    return ERR_OK;
}

enum err tiles_get(struct tiles *t, tiles_load load, void *ctx, unsigned level, uint64_t index,
                   struct digest *ret)
{
    struct place p = place_of(level, index);
    struct tile **place;
    struct tile *tile;
    enum err e;

    if (p.level >= TILE_LEVELS)
        return ERR_NOT_FOUND;
    tile = find(t, p.level, p.index);
    if (tile == NULL || tile->width < width_for(&p)) {
        place = &t->places[p.level][p.index % TILE_PLACES];
        e = load_tile(place, load, ctx, &p);
        if (e != ERR_OK)
            return e;
        tile = *place;
        if (tile->width < width_for(&p))
            return ERR_CORRUPT;
    }
    *ret = tile->nodes[node_at(p.height, p.at)];
    return ERR_OK;
}

/* The tile that grows ends: it goes where reading looks for it. */
static enum err begin_tile(struct tiles *t, const struct place *p)
{
    struct tile **growing = &t->growing[p->level];

    if (*growing != NULL && (*growing)->width > 0) {
        struct tile **place = &t->places[p->level][(*growing)->index % TILE_PLACES];
        struct tile *old = *place;

        *place = *growing;
        *growing = old;
    }
    return clear_place(growing, p->index);
}

enum err tiles_put(struct tiles *t, tiles_load load, void *ctx, unsigned level, uint64_t index,
                   const struct digest *node)
{
    struct place p = place_of(level, index);
    struct tile *tile;
    enum err e;

    if (p.level >= TILE_LEVELS)
        return ERR_TOO_LARGE;
    if (!is_tile(t->growing[p.level], p.index)) {
        e = p.height == 0 && p.at == 0 ? begin_tile(t, &p)
                                       : load_tile(&t->growing[p.level], load, ctx, &p);
        if (e != ERR_OK)
            return e;
    }
    tile = t->growing[p.level];
    if (p.height == 0) {
        if (tile->width < p.at)
            return ERR_CORRUPT;
        tile->width = p.at + 1;
    } else if (tile->width < width_for(&p)) {
        return ERR_CORRUPT;
    }
    tile->nodes[node_at(p.height, p.at)] = *node;
    return ERR_OK;
}

struct span tiles_hashes(const struct tiles *t, unsigned level, uint64_t index)
{
    const struct tile *tile = level < TILE_LEVELS ? find(t, level, index) : NULL;

    if (tile == NULL)
        return (struct span){0};
    return span_of(tile->nodes, tile->width * sizeof(struct digest));
}
