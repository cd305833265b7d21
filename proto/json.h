/* JSON through the descriptors: one mapping for --json, the local API and files that people give.
 *
 * Names are the schema's. A uint64 field `x_ms` is "x", an RFC 3339 UTC text with milliseconds;
 * other integers are numbers; bytes are lower-case hex; enums are the words of names.h where they
 * are listed there. Empty strings and empty lists are written, absent messages are null, a time of
 * 0 is null, so that a reader finds every key. */
#ifndef SEALPOST_PROTO_JSON_H
#define SEALPOST_PROTO_JSON_H

#include "common/err.h"
#include "common/span.h"
#include "proto/pb.h"

/* Appends the JSON text of a message (generated struct), on one line, no newline. */
enum err json_encode(const void *message, struct buf *out);

/* Reads JSON text as a message of `descriptor` and appends its canonical protobuf bytes. Unknown or
 * duplicate keys, wrong types, out-of-range numbers, lone surrogates, NUL and trailing text are
 * ERR_MALFORMED; `why` (of `why_size` bytes) gets a line for the person. */
enum err json_decode(const ProtobufCMessageDescriptor *descriptor, struct span text,
                     struct buf *out, char *why, size_t why_size);

#endif
