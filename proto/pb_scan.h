/* Inside of pb_decode: the walk over the wire format that comes before protobuf-c. */
#ifndef SEALPOST_PROTO_PB_SCAN_H
#define SEALPOST_PROTO_PB_SCAN_H

#include "common/err.h"
#include "common/span.h"

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>

/* What every allocation of decoding is rounded up to. */
#define PB_ALIGN sizeof(uint64_t)

static inline size_t pb_rounded(size_t size)
{
    return (size + PB_ALIGN - 1) / PB_ALIGN * PB_ALIGN;
}

/* Checks every rule of docs/PROTOCOL.md "Encoding rules" without allocating. `need` is how much
 * memory unpacking will take. Errors as pb_decode; ERR_TOO_LARGE also when `need` would exceed
 * `memory_max`. */
enum err pb_scan(const ProtobufCMessageDescriptor *descriptor, struct span bytes, size_t memory_max,
                 size_t *need);

#endif
