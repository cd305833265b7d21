/* JSON through the descriptors: one mapping for --json, the local API and files that people give.
 *
 * Names are the schema's. A uint64 field `x_ms` is "x", an RFC 3339 UTC text with milliseconds;
 * but `x_in_ms` and `x_max_ms` are spans. Spans and all other integers are numbers; bytes are
 * lower-case hex; bool is true or false; enums are the words of names.h where they are listed
 * there, else the schema's names. Empty strings and empty lists are written; absent messages, a
 * time of 0 and an unspecified enum of names.h are null: a reader finds every key, in the order
 * of the schema's numbers. */
#ifndef SEALPOST_PROTO_JSON_H
#define SEALPOST_PROTO_JSON_H

#include "common/err.h"
#include "common/span.h"
#include "proto/pb.h"

/* Appends the JSON text of a message (generated struct), on one line, no newline. ERR_TOO_LARGE for
 * an integer of 2^63 and above or when it does not fit; ERR_MALFORMED when a builder holds a string
 * that is not UTF-8 or an enum value that the schema lacks; ERR_NO_MEMORY. On failure nothing is
 * appended. */
enum err json_encode(const void *message, struct buf *out);

/* Reads JSON text as a message of `descriptor` and appends its canonical protobuf bytes. Keys may
 * be missing; null is taken where json_encode writes it. Unknown or duplicate keys, wrong types,
 * numbers with a fraction, a sign or out of range, lone surrogates, NUL and trailing text are
 * ERR_MALFORMED; a text over LIMIT_JSON or more bytes than `out` takes are ERR_TOO_LARGE;
 * ERR_NO_MEMORY. `why` (of `why_size` bytes) then gets a line for the person: where, and what is
 * expected. It is fit for a terminal, and empty on success. On failure nothing is appended. */
enum err json_decode(const ProtobufCMessageDescriptor *descriptor, struct span text,
                     struct buf *out, char *why, size_t why_size);

#endif
