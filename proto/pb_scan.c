#include "proto/pb_scan.h"

#include "common/limits.h"

#include <assert.h>
#include <stdbool.h>

/* Protocol Buffers encoding: key = field number << 3 | wire type. */
#define WIRE_VARINT 0
#define WIRE_BYTES 2
#define WIRE_BITS 3
#define FIELD_NUMBER_MAX (((uint64_t)1 << 29) - 1)
#define VARINT_BYTES_MAX 10

/* protobuf-c notes the fields of a message on its stack, those past the 16th in slabs that double;
 * it bounds a note by 32 bytes. */
#define NOTES_ON_STACK ((size_t)16)
#define NOTE_BYTES ((size_t)32)

struct scan {
    size_t need;
    size_t memory_max;
};

struct cursor {
    const uint8_t *at;
    const uint8_t *end;
};

/* Where the walk over one message is. */
struct place {
    const ProtobufCFieldDescriptor *field;
    unsigned index;  /* of `field` in the descriptor */
    uint64_t number; /* of the field before; 0 at the start */
    bool again;      /* `field` came before */
};

static enum err read_varint(struct cursor *c, uint64_t *ret)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < VARINT_BYTES_MAX; i++) {
        uint8_t byte;

        if (c->at == c->end)
            return ERR_MALFORMED;
        byte = *c->at++;
        if (i == VARINT_BYTES_MAX - 1 && byte > 1)
            return ERR_MALFORMED; /* more than 64 bits */
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            if (byte == 0 && i > 0)
                return ERR_NON_CANONICAL;
            *ret = value;
            return ERR_OK;
        }
    }
    return ERR_MALFORMED;
}

static enum err read_bytes(struct cursor *c, struct span *ret)
{
    uint64_t len;
    enum err e = read_varint(c, &len);

    if (e != ERR_OK)
        return e;
    if (len > (size_t)(c->end - c->at))
        return ERR_MALFORMED;
    *ret = span_of(c->at, (size_t)len);
    c->at += len;
    return ERR_OK;
}

static bool is_scalar(const ProtobufCFieldDescriptor *f)
{
    return f->type != PROTOBUF_C_TYPE_STRING && f->type != PROTOBUF_C_TYPE_BYTES &&
           f->type != PROTOBUF_C_TYPE_MESSAGE;
}

static bool is_repeated(const ProtobufCFieldDescriptor *f)
{
    return f->label == PROTOBUF_C_LABEL_REPEATED;
}

static bool is_packed(const ProtobufCFieldDescriptor *f)
{
    return (f->flags & PROTOBUF_C_FIELD_FLAG_PACKED) != 0;
}

/* Bytes of one element in a repeated field's array. */
static size_t element_size(const ProtobufCFieldDescriptor *f)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_UINT64:
        return sizeof(uint64_t);
    default:
        return sizeof(uint32_t);
    }
}

/* Counts memory; the caller looks at scan_full() once per field. */
static void need_more(struct scan *s, size_t size)
{
    s->need += pb_rounded(size);
}

static bool scan_full(const struct scan *s)
{
    return s->need > s->memory_max;
}

static enum err check_scalar(const ProtobufCFieldDescriptor *f, uint64_t value)
{
    bool holds = false;

    switch (f->type) {
    case PROTOBUF_C_TYPE_UINT32:
        holds = value <= UINT32_MAX;
        break;
    case PROTOBUF_C_TYPE_UINT64:
        holds = true;
        break;
    case PROTOBUF_C_TYPE_BOOL:
        holds = value <= 1;
        break;
    case PROTOBUF_C_TYPE_ENUM:
        holds = value <= INT32_MAX &&
                protobuf_c_enum_descriptor_get_value(f->descriptor, (int)value) != NULL;
        break;
    default:
        assert(f->type == PROTOBUF_C_TYPE_UINT32); /* a type that our schemas do not use */
    }
    return holds ? ERR_OK : ERR_MALFORMED;
}

static enum err check_string(struct span s)
{
    size_t ascii = 0;

    while (ascii < s.len && s.data[ascii] != 0 && s.data[ascii] < 0x80)
        ascii++;
    if (ascii == s.len || span_is_utf8(span_of(s.data + ascii, s.len - ascii)))
        return ERR_OK;
    return ERR_MALFORMED;
}

static enum err scan_packed(struct scan *s, const ProtobufCFieldDescriptor *f, struct cursor *c)
{
    struct cursor inner;
    struct span bytes;
    size_t n = 0;
    enum err e = read_bytes(c, &bytes);

    if (e != ERR_OK)
        return e;
    if (bytes.len == 0)
        return ERR_NON_CANONICAL; /* an empty list is not on the wire */
    inner = (struct cursor){.at = bytes.data, .end = bytes.data + bytes.len};
    for (; inner.at < inner.end; n++) {
        uint64_t value;

        e = read_varint(&inner, &value);
        if (e == ERR_OK)
            e = check_scalar(f, value);
        if (e != ERR_OK)
            return e;
    }
    need_more(s, n * element_size(f));
    return ERR_OK;
}

static enum err scan_scalar(struct scan *s, const ProtobufCFieldDescriptor *f, unsigned wire,
                            struct cursor *c)
{
    uint64_t value;
    enum err e;

    if (is_repeated(f) && (wire == WIRE_BYTES || wire == WIRE_VARINT) &&
        (wire == WIRE_BYTES) != is_packed(f))
        return ERR_NON_CANONICAL; /* the other of the two forms */
    if (is_packed(f) && wire == WIRE_BYTES)
        return scan_packed(s, f, c);
    if (wire != WIRE_VARINT)
        return ERR_MALFORMED;
    e = read_varint(c, &value);
    if (e == ERR_OK)
        e = check_scalar(f, value);
    if (e != ERR_OK)
        return e;
    return value == 0 && !is_repeated(f) ? ERR_NON_CANONICAL : ERR_OK;
}

static enum err scan_message(struct scan *s, const ProtobufCMessageDescriptor *d, struct span bytes,
                             unsigned depth);

static enum err scan_field(struct scan *s, const struct place *p, unsigned wire, struct cursor *c,
                           unsigned depth)
{
    const ProtobufCFieldDescriptor *f = p->field;
    struct span bytes;
    enum err e;

    if (is_repeated(f) && !is_packed(f)) {
        s->need += element_size(f);
        if (!p->again)
            need_more(s, 1); /* rounding of the array */
    }
    if (is_scalar(f))
        return scan_scalar(s, f, wire, c);
    if (wire != WIRE_BYTES)
        return ERR_MALFORMED;
    e = read_bytes(c, &bytes);
    if (e != ERR_OK)
        return e;
    if (f->type == PROTOBUF_C_TYPE_MESSAGE)
        return scan_message(s, f->descriptor, bytes, depth + 1);
    if (bytes.len == 0 && !is_repeated(f))
        return ERR_NON_CANONICAL;
    if (f->type == PROTOBUF_C_TYPE_BYTES) {
        need_more(s, bytes.len);
        return ERR_OK;
    }
    need_more(s, bytes.len + 1);
    return check_string(bytes);
}

/* Moves `p` to the field that `key` names. Fields are sorted by number in the descriptor and come
 * in that order, so that the search goes on from where it was. */
static enum err find_field(const ProtobufCMessageDescriptor *d, uint64_t key, struct place *p)
{
    uint64_t number = key >> WIRE_BITS;
    unsigned i = number < p->number ? 0 : p->index;

    if (number == 0 || number > FIELD_NUMBER_MAX)
        return ERR_MALFORMED;
    while (i < d->n_fields && d->fields[i].id < number)
        i++;
    if (i == d->n_fields || d->fields[i].id != number)
        return ERR_UNKNOWN_FIELD;
    p->field = &d->fields[i];
    p->index = i;
    p->again = number == p->number;
    assert(p->field->label == PROTOBUF_C_LABEL_NONE || is_repeated(p->field));
    if (number < p->number || (p->again && (!is_repeated(p->field) || is_packed(p->field))))
        return ERR_NON_CANONICAL;
    p->number = number;
    return ERR_OK;
}

static size_t notes_bytes(size_t fields)
{
    size_t room = NOTES_ON_STACK, slab = 2 * NOTES_ON_STACK, bytes = 0;

    for (; room < fields; slab *= 2) {
        room += slab;
        bytes += slab * NOTE_BYTES;
    }
    return bytes;
}

static enum err scan_message(struct scan *s, const ProtobufCMessageDescriptor *d, struct span bytes,
                             unsigned depth)
{
    struct place p = {0};
    struct cursor c;
    size_t fields = 0;

    if (depth > LIMIT_DECODE_DEPTH)
        return ERR_TOO_LARGE;
    need_more(s, d->sizeof_message);
    if (bytes.len == 0)
        return scan_full(s) ? ERR_TOO_LARGE : ERR_OK;
    c = (struct cursor){.at = bytes.data, .end = bytes.data + bytes.len};
    for (; c.at < c.end; fields++) {
        uint64_t key;
        enum err e = read_varint(&c, &key);

        if (e == ERR_OK)
            e = find_field(d, key, &p);
        if (e == ERR_OK)
            e = scan_field(s, &p, key & ((1u << WIRE_BITS) - 1), &c, depth);
        if (e != ERR_OK)
            return e;
        if (scan_full(s))
            return ERR_TOO_LARGE;
    }
    s->need += notes_bytes(fields);
    return scan_full(s) ? ERR_TOO_LARGE : ERR_OK;
}

enum err pb_scan(const ProtobufCMessageDescriptor *descriptor, struct span bytes, size_t memory_max,
                 size_t *need)
{
    struct scan s = {.memory_max = memory_max};
    enum err e = scan_message(&s, descriptor, bytes, 1);

    if (e == ERR_OK)
        *need = s.need;
    return e;
}
