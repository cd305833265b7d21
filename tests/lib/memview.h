/* Stored state in memory, for cores without a store: tables as sorted maps behind a `struct view`,
 * to which batches are applied. What a store would refuse (an append out of order) fails the test
 * that links it: assertions. Also keeps the leaves in their order. Link with: memview_test_dep. */
#ifndef SEALPOST_TESTS_MEMVIEW_H
#define SEALPOST_TESTS_MEMVIEW_H

#include "audit/commit.h"

#include <stdbool.h>

struct memview;
/* Aborts when out of memory, as every function here. */
struct memview *memview_new(unsigned tables);
void memview_free(struct memview *m);
/* An independent copy: what a power cut leaves. */
struct memview *memview_copy(const struct memview *m);
const struct view *memview_view(struct memview *m);
void memview_apply(struct memview *m, const struct batch *b);

size_t memview_count(const struct memview *m, unsigned table);
size_t memview_leaf_count(const struct memview *m);
/* The encoded Leaf (without version and log) and its detail. Borrowed. */
struct batch_leaf memview_leaf(const struct memview *m, size_t i);

/* From now on reading this record is ERR_CORRUPT. */
void memview_damage(struct memview *m, unsigned table, struct span key);
bool memview_equal(const struct memview *a, const struct memview *b);

#endif
