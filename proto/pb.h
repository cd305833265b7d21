/* Strict protobuf: the one way in and out for every schema of proto/.
 *
 * protobuf-c alone accepts unknown fields, duplicates, overlong varints, NUL in strings, bad UTF-8
 * and unknown enum values, and can be made to use a multiple of the input in memory. pb_decode
 * refuses all of these: a decoded value is a `struct pb` that only the decoder can make, its view
 * is const, and re-packing it gives the bytes that came in.
 *
 * Outside proto/ the generated structs (Sp__Frame ...) are used in two ways only: as the const view
 * of a decoded value, and as a builder that is filled and handed to pb_encode. The functions of
 * protobuf-c itself are called in proto/pb_*.c only. */
#ifndef SEALPOST_PROTO_PB_H
#define SEALPOST_PROTO_PB_H

#include "common/err.h"
#include "common/span.h"

#include <protobuf-c/protobuf-c.h>

/* A decoded message and the memory that it lives in. Independent of the bytes it came from. */
struct pb;

/* Decodes `bytes` as the message that `descriptor` (sp__frame__descriptor ...) describes.
 * `max` is the cap on bytes.len. Memory is bounded by LIMIT_DECODE_FACTOR * len +
 * LIMIT_DECODE_FLOOR, depth by LIMIT_DECODE_DEPTH (the outermost message is 1).
 * Errors, for the first fault in the order of the bytes:
 *   ERR_TOO_LARGE      over `max`, the memory or the depth
 *   ERR_UNKNOWN_FIELD  a field number that the schema lacks, at any depth
 *   ERR_NON_CANONICAL  an overlong varint, a field out of order or twice, a default on the wire, a
 *                      list of numbers that is packed when the schema says unpacked or conversely
 *   ERR_MALFORMED      everything else: truncated, wrong wire type, a number outside its type, an
 *                      enum value that the schema lacks, bad UTF-8, NUL in a string
 *   ERR_NO_MEMORY      of ours
 * A `bytes` field that holds a message is opaque here: it is decoded by its own call.
 * The caller frees with pb_free. */
enum err pb_decode(const ProtobufCMessageDescriptor *descriptor, struct span bytes, size_t max,
                   struct pb **ret);
/* Wipes and frees; accepts NULL. */
void pb_free(struct pb *p);
/* The message as its generated struct; valid until pb_free. Optional strings are "" when absent. */
const void *pb_view(const struct pb *p);

/* Packs a builder and appends it to `out`. Sets out->err when it does not fit. Strings of a builder
 * are UTF-8 and its lists have no NULL; this is not checked. */
void pb_encode(const void *message, struct buf *out);

/* A bytes field as a span and back. The span borrows; pb_bytes casts const away only because
 * protobuf-c has no const: pack never writes. */
static inline struct span pb_span(ProtobufCBinaryData d)
{
    return (struct span){.data = d.data, .len = d.len};
}
ProtobufCBinaryData pb_bytes(struct span s);
/* Likewise for strings. */
char *pb_string(const char *text);

#endif
