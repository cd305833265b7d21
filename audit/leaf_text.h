/* Leaves for people and scripts. */
#ifndef SEALPOST_AUDIT_LEAF_TEXT_H
#define SEALPOST_AUDIT_LEAF_TEXT_H

#include "audit/jsonline.h"
#include "audit/leaf.h"

/* The event's word, such as "accepted"; "unknown" for a number without one. */
const char *leaf_event(const Sp__Leaf *leaf);
/* One sentence without a full stop: what this log states. Names in it come from the leaf: print it
 * with text_print_safe. */
void leaf_sentence(const Sp__Leaf *leaf, struct buf *out);
/* The leaf's fields, into the object that is open. */
void leaf_json(const Sp__Leaf *leaf, struct jsonline *j);
/* `items` with commas between them. */
void leaf_list(char *const *items, size_t n, struct buf *out);
/* "0193…" of an envelope id; "" when there is none. */
#define LEAF_ID_SIZE 37
void leaf_id(const Sp__Leaf *leaf, char out[LEAF_ID_SIZE]);

#endif
