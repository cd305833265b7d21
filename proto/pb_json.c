#include "proto/json.h"

#include "common/limits.h"
#include "common/text.h"
#include "proto/names.h"

#include "audit.pb-c.h"
#include "content.pb-c.h"
#include "envelope.pb-c.h"

#include <assert.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define TIME_SUFFIX "_ms"
#define KEY_SIZE 64

/* Enums whose words are in names.h. */
static const struct {
    const ProtobufCEnumDescriptor *descriptor;
    enum name_list list;
} enum_lists[] = {
    {&sp__kind__descriptor, NAME_KIND},         {&sp__completeness__descriptor, NAME_COMPLETENESS},
    {&sp__level__descriptor, NAME_LEVEL},       {&sp__urgency__descriptor, NAME_URGENCY},
    {&sp__audit_event__descriptor, NAME_EVENT},
};

/* Points to the list of `d`; NULL when the schema's own names are used. */
static const enum name_list *list_of(const ProtobufCEnumDescriptor *d)
{
    for (size_t i = 0; i < sizeof(enum_lists) / sizeof(enum_lists[0]); i++) {
        if (enum_lists[i].descriptor == d)
            return &enum_lists[i].list;
    }
    return NULL;
}

static bool ends_with(const char *text, const char *suffix)
{
    size_t len = strlen(text), suffix_len = strlen(suffix);

    return len > suffix_len && strcmp(text + len - suffix_len, suffix) == 0;
}

/* A point in time; spans in milliseconds say so in their names. */
static bool is_time(const ProtobufCFieldDescriptor *f)
{
    return f->type == PROTOBUF_C_TYPE_UINT64 && ends_with(f->name, TIME_SUFFIX) &&
           !ends_with(f->name, "_in" TIME_SUFFIX) && !ends_with(f->name, "_max" TIME_SUFFIX);
}

static bool is_repeated(const ProtobufCFieldDescriptor *f)
{
    return f->label == PROTOBUF_C_LABEL_REPEATED;
}

/* The field's key in JSON. */
static void key_of(const ProtobufCFieldDescriptor *f, char out[KEY_SIZE])
{
    size_t len = strlen(f->name);

    if (is_time(f))
        len -= strlen(TIME_SUFFIX);
    assert(len < KEY_SIZE);
    memcpy(out, f->name, len);
    out[len] = '\0';
}

/* Writing. `at` points to the member in its struct, or to an element of its array. */

static enum err json_of_message(const ProtobufCMessage *message, json_t **ret);

static enum err made(json_t *json, json_t **ret)
{
    if (json == NULL)
        return ERR_NO_MEMORY;
    *ret = json;
    return ERR_OK;
}

static enum err json_of_integer(const ProtobufCFieldDescriptor *f, uint64_t value, json_t **ret)
{
    char text[TEXT_TIME_SIZE];

    if (is_time(f)) {
        if (value == 0)
            return made(json_null(), ret);
        text_time(value, text);
        return made(json_string(text), ret);
    }
    if (value > INT64_MAX)
        return ERR_TOO_LARGE;
    return made(json_integer((json_int_t)value), ret);
}

static enum err json_of_enum(const ProtobufCEnumDescriptor *d, int value, json_t **ret)
{
    const ProtobufCEnumValue *known = protobuf_c_enum_descriptor_get_value(d, value);
    const enum name_list *list = list_of(d);

    if (known == NULL)
        return ERR_MALFORMED;
    if (list == NULL)
        return made(json_string(known->name), ret);
    if (name_of(*list, value) == NULL)
        return made(json_null(), ret);
    return made(json_string(name_of(*list, value)), ret);
}

static enum err json_of_string(const char *text, json_t **ret)
{
    if (!span_is_utf8(span_str(text)))
        return ERR_MALFORMED;
    return made(json_string(text == NULL ? "" : text), ret);
}

static enum err json_of_bytes(struct span bytes, json_t **ret)
{
    struct buf hex;
    enum err e;

    buf_init(&hex, 2 * bytes.len);
    text_put_hex(&hex, bytes);
    e = hex.err;
    if (e == ERR_OK)
        e = made(json_stringn(hex.len == 0 ? "" : (const char *)hex.data, hex.len), ret);
    buf_wipe(&hex);
    return e;
}

static enum err json_of_value(const ProtobufCFieldDescriptor *f, const void *at, json_t **ret)
{
    const ProtobufCMessage *message;

    switch (f->type) {
    case PROTOBUF_C_TYPE_UINT32:
        return json_of_integer(f, *(const uint32_t *)at, ret);
    case PROTOBUF_C_TYPE_UINT64:
        return json_of_integer(f, *(const uint64_t *)at, ret);
    case PROTOBUF_C_TYPE_BOOL:
        return made(json_boolean(*(const protobuf_c_boolean *)at), ret);
    case PROTOBUF_C_TYPE_ENUM:
        return json_of_enum(f->descriptor, *(const int *)at, ret);
    case PROTOBUF_C_TYPE_STRING:
        return json_of_string(*(char *const *)at, ret);
    case PROTOBUF_C_TYPE_BYTES:
        return json_of_bytes(pb_span(*(const ProtobufCBinaryData *)at), ret);
    default:
        assert(f->type == PROTOBUF_C_TYPE_MESSAGE); /* our schemas use no other */
        message = *(ProtobufCMessage *const *)at;
        return message == NULL ? made(json_null(), ret) : json_of_message(message, ret);
    }
}

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

static enum err json_of_list(const ProtobufCFieldDescriptor *f, const uint8_t *message,
                             json_t **ret)
{
    size_t n = *(const size_t *)(message + f->quantifier_offset);
    const uint8_t *elements = *(uint8_t *const *)(message + f->offset);
    json_t *list = json_array();
    enum err e = list == NULL ? ERR_NO_MEMORY : ERR_OK;

    for (size_t i = 0; e == ERR_OK && i < n; i++) {
        json_t *value = NULL;

        e = json_of_value(f, elements + i * element_size(f), &value);
        if (e == ERR_OK && json_array_append_new(list, value) != 0)
            e = ERR_NO_MEMORY;
    }
    if (e != ERR_OK)
        json_decref(list);
    else
        *ret = list;
    return e;
}

static enum err json_of_message(const ProtobufCMessage *message, json_t **ret)
{
    const uint8_t *bytes = (const uint8_t *)message;
    json_t *object = json_object();
    enum err e = object == NULL ? ERR_NO_MEMORY : ERR_OK;

    for (unsigned i = 0; e == ERR_OK && i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &message->descriptor->fields[i];
        char key[KEY_SIZE];
        json_t *value = NULL;

        key_of(f, key);
        e = is_repeated(f) ? json_of_list(f, bytes, &value)
                           : json_of_value(f, bytes + f->offset, &value);
        if (e == ERR_OK && json_object_set_new(object, key, value) != 0)
            e = ERR_NO_MEMORY;
    }
    if (e != ERR_OK)
        json_decref(object);
    else
        *ret = object;
    return e;
}

static int append(const char *text, size_t len, void *out)
{
    struct buf *b = out;

    buf_put(b, span_of(text, len));
    return b->err == ERR_OK ? 0 : -1;
}

enum err json_encode(const void *message, struct buf *out)
{
    json_t *json = NULL;
    size_t before = out->len;
    enum err e = out->err;

    if (e == ERR_OK)
        e = json_of_message(message, &json);
    if (e != ERR_OK)
        return e;
    if (json_dump_callback(json, append, out, JSON_COMPACT) != 0) {
        e = out->err == ERR_OK ? ERR_NO_MEMORY : out->err;
        out->len = before;
    }
    json_decref(json);
    return e;
}

/* Reading: straight to the wire format, in the order of the schema. */

#define WIRE_VARINT 0
#define WIRE_BYTES 2
#define WHY_MAX 512

/* Where the reader is, from the inside out. */
struct place {
    const struct place *up;
    const char *key;
    size_t index;
    bool in_list;
};

struct reader {
    struct buf why;
    unsigned depth;
};

static void put_path(struct buf *b, const struct place *p)
{
    if (p == NULL)
        return;
    put_path(b, p->up);
    if (p->in_list) {
        buf_printf(b, "[%zu]", p->index);
    } else {
        buf_put_str(b, p->up == NULL ? "" : ".");
        text_put_safe(b, span_of(p->key, strnlen(p->key, KEY_SIZE)), false);
    }
}

[[gnu::format(printf, 3, 4)]] static enum err refuse(struct reader *r, const struct place *p,
                                                     const char *format, ...)
{
    char text[WHY_MAX];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    put_path(&r->why, p);
    buf_put_str(&r->why, p == NULL ? "" : ": ");
    buf_put_str(&r->why, text);
    return ERR_MALFORMED;
}

static void put_varint(struct buf *out, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        buf_put_u8(out, (uint8_t)(value | 0x80));
    buf_put_u8(out, (uint8_t)value);
}

static void put_key(struct buf *out, const ProtobufCFieldDescriptor *f, unsigned wire)
{
    put_varint(out, (uint64_t)f->id << 3 | wire);
}

static void put_bytes(struct buf *out, const ProtobufCFieldDescriptor *f, struct span bytes)
{
    put_key(out, f, WIRE_BYTES);
    put_varint(out, bytes.len);
    buf_put(out, bytes);
}

static enum err read_enum(struct reader *r, const struct place *p, const ProtobufCEnumDescriptor *d,
                          const json_t *json, uint64_t *ret)
{
    const enum name_list *list = list_of(d);
    const char *word = json_string_value(json);
    const ProtobufCEnumValue *known;
    int value = 0;

    if (list != NULL) {
        if (!json_is_null(json) && (word == NULL || name_parse(*list, word, &value) != ERR_OK))
            return refuse(r, p, "one of these words is expected: %s", name_words(*list));
    } else {
        known = word == NULL ? NULL : protobuf_c_enum_descriptor_get_value_by_name(d, word);
        if (known == NULL)
            return refuse(r, p, "a name of %s is expected", d->short_name);
        value = known->value;
    }
    assert(value >= 0);
    *ret = (uint64_t)value;
    return ERR_OK;
}

static enum err read_integer(struct reader *r, const struct place *p,
                             const ProtobufCFieldDescriptor *f, const json_t *json, uint64_t *ret)
{
    json_int_t max = f->type == PROTOBUF_C_TYPE_UINT32 ? UINT32_MAX : INT64_MAX;
    json_int_t value = json_integer_value(json);

    if (is_time(f)) {
        *ret = 0;
        if (json_is_null(json))
            return ERR_OK;
        if (!json_is_string(json) ||
            text_time_parse(span_of(json_string_value(json), json_string_length(json)), ret) !=
                ERR_OK)
            return refuse(r, p, "a time such as 2026-11-24T06:10:00.000Z is expected");
        return ERR_OK;
    }
    if (!json_is_integer(json) || value < 0 || value > max)
        return refuse(r, p, "a whole number from 0 to %" JSON_INTEGER_FORMAT " is expected", max);
    *ret = (uint64_t)value;
    return ERR_OK;
}

static enum err read_scalar(struct reader *r, const struct place *p,
                            const ProtobufCFieldDescriptor *f, const json_t *json, uint64_t *ret)
{
    if (f->type == PROTOBUF_C_TYPE_ENUM)
        return read_enum(r, p, f->descriptor, json, ret);
    if (f->type != PROTOBUF_C_TYPE_BOOL)
        return read_integer(r, p, f, json, ret);
    if (!json_is_boolean(json))
        return refuse(r, p, "true or false is expected");
    *ret = json_is_true(json);
    return ERR_OK;
}

static enum err read_hex(struct reader *r, const struct place *p, const ProtobufCFieldDescriptor *f,
                         struct span hex, struct buf *out)
{
    uint8_t *at;

    put_key(out, f, WIRE_BYTES);
    put_varint(out, hex.len / 2);
    at = buf_extend(out, hex.len / 2);
    if (at != NULL && text_hex_decode(hex, hex.len / 2, at) != ERR_OK)
        return refuse(r, p, "bytes in lower-case hex are expected");
    return ERR_OK;
}

static enum err read_message(struct reader *r, const struct place *p,
                             const ProtobufCMessageDescriptor *d, json_t *json, struct buf *out);

static enum err read_inner(struct reader *r, const struct place *p,
                           const ProtobufCFieldDescriptor *f, json_t *json, struct buf *out)
{
    struct buf inner;
    enum err e;

    buf_init(&inner, out->max);
    e = read_message(r, p, f->descriptor, json, &inner);
    if (e == ERR_OK)
        e = inner.err;
    if (e == ERR_OK)
        put_bytes(out, f, buf_span(&inner));
    buf_wipe(&inner);
    return e;
}

/* One value with its key. Defaults are left out, but not from a list. */
static enum err read_value(struct reader *r, const struct place *p,
                           const ProtobufCFieldDescriptor *f, json_t *json, struct buf *out)
{
    bool message = f->type == PROTOBUF_C_TYPE_MESSAGE;
    uint64_t number = 0;
    struct span text;
    enum err e;

    if (message && json_is_null(json) && !is_repeated(f))
        return ERR_OK;
    if (message)
        return read_inner(r, p, f, json, out);
    if (f->type == PROTOBUF_C_TYPE_STRING || f->type == PROTOBUF_C_TYPE_BYTES) {
        if (!json_is_string(json))
            return refuse(r, p, "a text is expected");
        text = span_of(json_string_value(json), json_string_length(json));
        if (text.len == 0 && !is_repeated(f))
            return ERR_OK;
        if (f->type == PROTOBUF_C_TYPE_BYTES)
            return read_hex(r, p, f, text, out);
        put_bytes(out, f, text);
        return ERR_OK;
    }
    e = read_scalar(r, p, f, json, &number);
    if (e == ERR_OK && (number != 0 || is_repeated(f))) {
        put_key(out, f, WIRE_VARINT);
        put_varint(out, number);
    }
    return e;
}

static enum err read_packed(struct reader *r, const struct place *p,
                            const ProtobufCFieldDescriptor *f, json_t *json, struct buf *out)
{
    struct place at = {.up = p, .in_list = true};
    struct buf inner;
    json_t *element;
    enum err e = ERR_OK;

    buf_init(&inner, out->max);
    json_array_foreach(json, at.index, element)
    {
        uint64_t number = 0;

        e = read_scalar(r, &at, f, element, &number);
        if (e != ERR_OK)
            break;
        put_varint(&inner, number);
    }
    if (e == ERR_OK)
        e = inner.err;
    if (e == ERR_OK && inner.len > 0)
        put_bytes(out, f, buf_span(&inner));
    buf_wipe(&inner);
    return e;
}

static enum err read_list(struct reader *r, const struct place *p,
                          const ProtobufCFieldDescriptor *f, json_t *json, struct buf *out)
{
    struct place at = {.up = p, .in_list = true};
    json_t *element;

    if (!json_is_array(json))
        return refuse(r, p, "a list is expected");
    if ((f->flags & PROTOBUF_C_FIELD_FLAG_PACKED) != 0)
        return read_packed(r, p, f, json, out);
    json_array_foreach(json, at.index, element)
    {
        enum err e = read_value(r, &at, f, element, out);

        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

static enum err check_keys(struct reader *r, const struct place *p,
                           const ProtobufCMessageDescriptor *d, json_t *object)
{
    const char *key;
    json_t *value;

    json_object_foreach(object, key, value)
    {
        struct place at = {.up = p, .key = key};
        bool known = false;

        for (unsigned i = 0; i < d->n_fields && !known; i++) {
            char name[KEY_SIZE];

            key_of(&d->fields[i], name);
            known = strcmp(name, key) == 0;
        }
        if (!known)
            return refuse(r, &at, "%s has no such key", d->short_name);
    }
    return ERR_OK;
}

static enum err read_message(struct reader *r, const struct place *p,
                             const ProtobufCMessageDescriptor *d, json_t *json, struct buf *out)
{
    enum err e;

    if (!json_is_object(json))
        return refuse(r, p, "an object (%s) is expected", d->short_name);
    if (r->depth == LIMIT_DECODE_DEPTH)
        return refuse(r, p, "nested too deeply");
    r->depth++;
    e = check_keys(r, p, d, json);
    for (unsigned i = 0; e == ERR_OK && i < d->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &d->fields[i];
        char key[KEY_SIZE];
        struct place at = {.up = p, .key = key};
        json_t *value;

        key_of(f, key);
        value = json_object_get(json, key);
        if (value == NULL)
            continue;
        e = is_repeated(f) ? read_list(r, &at, f, value, out) : read_value(r, &at, f, value, out);
    }
    r->depth--;
    return e;
}

static enum err decode(struct reader *r, const ProtobufCMessageDescriptor *d, struct span text,
                       struct buf *out)
{
    json_error_t error;
    struct buf bytes;
    json_t *json;
    enum err e;

    json = json_loadb(text.len == 0 ? "" : (const char *)text.data, text.len,
                      JSON_REJECT_DUPLICATES, &error);
    if (json == NULL && json_error_code(&error) == json_error_out_of_memory)
        return ERR_NO_MEMORY;
    if (json == NULL) {
        buf_printf(&r->why, "line %d, column %d: ", error.line, error.column);
        text_put_safe(&r->why, span_str(error.text), false);
        return ERR_MALFORMED;
    }
    buf_init(&bytes, out->max);
    e = read_message(r, NULL, d, json, &bytes);
    if (e == ERR_OK)
        e = bytes.err;
    if (e == ERR_OK)
        buf_put(out, buf_span(&bytes));
    if (e == ERR_OK)
        e = out->err;
    if (e == ERR_TOO_LARGE)
        buf_put_str(&r->why, "too much for this message");
    buf_wipe(&bytes);
    json_decref(json);
    return e;
}

/* As much of `why` as fits, cut between characters. */
static void tell(const struct buf *why, char *to, size_t size)
{
    size_t len = why->len < size ? why->len : size - 1;

    if (len < why->len) {
        while (len > 0 && (why->data[len] & 0xc0) == 0x80)
            len--;
    }
    if (len > 0)
        memcpy(to, why->data, len);
    to[len] = '\0';
}

enum err json_decode(const ProtobufCMessageDescriptor *descriptor, struct span text,
                     struct buf *out, char *why, size_t why_size)
{
    struct reader r = {0};
    enum err e;

    buf_init(&r.why, LIMIT_JSON_WHY);
    if (text.len > LIMIT_JSON) {
        buf_printf(&r.why, "longer than %zu bytes", LIMIT_JSON);
        e = ERR_TOO_LARGE;
    } else {
        e = decode(&r, descriptor, text, out);
    }
    if (why_size > 0)
        tell(&r.why, why, why_size);
    buf_fini(&r.why);
    return e;
}
