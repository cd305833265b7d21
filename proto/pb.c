#include "proto/pb.h"

#include "common/limits.h"
#include "common/secret.h"
#include "proto/pb_scan.h"

#include <stdlib.h>
#include <string.h>

struct pb {
    ProtobufCMessage *view;
    size_t size; /* of bytes */
    size_t used;
    enum err err; /* what it means when protobuf-c does not unpack */
    uint64_t bytes[];
};

/* The walk has counted what protobuf-c will ask for, so that this does not run out. */
static void *arena_alloc(void *ctx, size_t size)
{
    struct pb *p = ctx;
    uint8_t *at = (uint8_t *)p->bytes + p->used;

    if (size > p->size - p->used) {
        p->err = ERR_NO_MEMORY;
        return NULL;
    }
    p->used += pb_rounded(size);
    return at;
}

/* Everything is freed at once by pb_free. */
static void arena_free(void *ctx, void *at)
{
    (void)ctx;
    (void)at;
}

/* A buffer that protobuf-c packs into and that compares instead of keeping. */
struct comparison {
    ProtobufCBuffer base;
    struct span rest;
    bool same;
};

static void comparison_append(ProtobufCBuffer *buffer, size_t len, const uint8_t *data)
{
    struct comparison *c = (struct comparison *)buffer;

    if (len == 0 || !c->same)
        return;
    c->same = len <= c->rest.len && memcmp(c->rest.data, data, len) == 0;
    if (c->same)
        c->rest = span_of(c->rest.data + len, c->rest.len - len);
}

static bool packs_to(const ProtobufCMessage *message, struct span bytes)
{
    struct comparison c = {.base = {.append = comparison_append}, .rest = bytes, .same = true};

    protobuf_c_message_pack_to_buffer(message, &c.base);
    return c.same && c.rest.len == 0;
}

enum err pb_decode(const ProtobufCMessageDescriptor *descriptor, struct span bytes, size_t max,
                   struct pb **ret)
{
    size_t memory_max, need = 0;
    ProtobufCAllocator allocator = {.alloc = arena_alloc, .free = arena_free};
    struct pb *p;
    enum err e;

    if (bytes.len > max)
        return ERR_TOO_LARGE;
    memory_max = LIMIT_DECODE_FACTOR * bytes.len + LIMIT_DECODE_FLOOR;
    e = pb_scan(descriptor, bytes, memory_max, &need);
    if (e != ERR_OK)
        return e;
    p = malloc(sizeof(*p) + pb_rounded(need));
    if (p == NULL)
        return ERR_NO_MEMORY;
    *p = (struct pb){.size = pb_rounded(need), .err = ERR_MALFORMED};
    allocator.allocator_data = p;
    p->view = protobuf_c_message_unpack(descriptor, &allocator, bytes.len, bytes.data);
    e = p->view == NULL ? p->err : ERR_OK;
    if (e == ERR_OK && !packs_to(p->view, bytes))
        e = ERR_NON_CANONICAL;
    if (e != ERR_OK)
        pb_free(p);
    else
        *ret = p;
    return e;
}

void pb_free(struct pb *p)
{
    if (p == NULL)
        return;
    /* What was decoded may be plaintext. */
    crypto_wipe(p->bytes, p->size);
    free(p);
}

const void *pb_view(const struct pb *p)
{
    return p->view;
}

void pb_encode(const void *message, struct buf *out)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *at = len == 0 ? NULL : buf_extend(out, len);

    if (at != NULL)
        protobuf_c_message_pack(message, at);
}

ProtobufCBinaryData pb_bytes(struct span s)
{
    return (ProtobufCBinaryData){.len = s.len, .data = (uint8_t *)(uintptr_t)s.data};
}

char *pb_string(const char *text)
{
    return (char *)(uintptr_t)text;
}
