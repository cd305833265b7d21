/* Messages of every schema, filled with random values through the descriptors. */
#ifndef SEALPOST_TESTS_UNIT_PROTO_MESSAGE_KIT_H
#define SEALPOST_TESTS_UNIT_PROTO_MESSAGE_KIT_H

#include "common/span.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Every message of proto/; the count is in `n`. */
const ProtobufCMessageDescriptor *const *message_kit_all(size_t *n);

/* Where the values come from and live. */
struct message_kit {
    uint64_t state; /* the seed; any */
    bool full;      /* every field is there, else about half */
    bool json;      /* only values that JSON takes unchanged */
    size_t used;
    uint64_t memory[1 << 15];
};

/* A builder in the kit's memory. Fails the test when that is too small. */
const void *message_kit_fill(struct message_kit *kit, const ProtobufCMessageDescriptor *d);
/* A Frame and a Directory with something in every field, encoded. */
void message_kit_frame(struct buf *out);
void message_kit_directory(struct buf *out);

/* A copy that the address sanitizer watches the ends of; free() its data. */
struct span message_kit_copy(struct span s);

#endif
