#include "proto/pb.h"

#include "common/limits.h"
#include "common/secret.h"
#include "proto/pb_scan.h"

#include <stdlib.h>
#include <string.h>

/* What did not fit into the first block. */
struct block {
    struct block *next;
    size_t size; /* of bytes */
    uint64_t bytes[];
};

struct pb {
    ProtobufCMessage *view;
    struct block *more;
    size_t allowed; /* bytes that may still be asked for */
    size_t left;    /* free bytes at the end of `bytes` */
    size_t size;    /* of bytes */
    enum err err;   /* why an allocation failed */
    uint64_t bytes[];
};

static void *arena_alloc(void *ctx, size_t size)
{
    struct pb *p = ctx;
    struct block *b;

    if (size > p->allowed || pb_rounded(size) > p->allowed) {
        p->err = ERR_TOO_LARGE;
        return NULL;
    }
    size = pb_rounded(size);
    p->allowed -= size;
    if (size <= p->left) {
        p->left -= size;
        return (uint8_t *)p->bytes + (p->size - p->left - size);
    }
    b = malloc(sizeof(*b) + size);
    if (b == NULL) {
        p->err = ERR_NO_MEMORY;
        return NULL;
    }
    b->size = size;
    b->next = p->more;
    p->more = b;
    return b->bytes;
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
    p = malloc(sizeof(*p) + need);
    if (p == NULL)
        return ERR_NO_MEMORY;
    *p = (struct pb){.allowed = memory_max, .left = need, .size = need, .err = ERR_MALFORMED};
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
    while (p->more != NULL) {
        struct block *b = p->more;

        p->more = b->next;
        crypto_wipe(b->bytes, b->size);
        free(b);
    }
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
