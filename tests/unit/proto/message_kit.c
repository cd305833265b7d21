#include "message_kit.h"

#include "proto/pb.h"

#include "audit.pb-c.h"
#include "content.pb-c.h"
#include "documents.pb-c.h"
#include "envelope.pb-c.h"
#include "local.pb-c.h"
#include "wire.pb-c.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define LIST_MAX 3
#define DEPTH_MAX 8
#define BYTES_MAX 20

static const ProtobufCMessageDescriptor *const all[] = {
    /* audit */
    &sp__leaf__descriptor, &sp__receipt__descriptor, &sp__evidence__descriptor,
    /* content */
    &sp__content__descriptor, &sp__attachment__descriptor, &sp__entity__descriptor,
    &sp__person__descriptor, &sp__travel_document__descriptor, &sp__vehicle__descriptor,
    &sp__firearm__descriptor, &sp__location__descriptor, &sp__organisation__descriptor,
    &sp__event__descriptor, &sp__item__descriptor,
    /* documents */
    &sp__root_key__descriptor, &sp__role__descriptor, &sp__root__descriptor, &sp__text__descriptor,
    &sp__directory__descriptor, &sp__agency_entry__descriptor, &sp__curve_key__descriptor,
    &sp__broker_entry__descriptor, &sp__link_entry__descriptor, &sp__code_entry__descriptor,
    &sp__group_entry__descriptor, &sp__suite_entry__descriptor, &sp__timestamp__descriptor,
    &sp__encryption_key__descriptor, &sp__statement__descriptor, &sp__agency_documents__descriptor,
    /* envelope */
    &sp__envelope__descriptor, &sp__document__descriptor, &sp__signature__descriptor,
    &sp__batch__descriptor, &sp__core__descriptor, &sp__header__descriptor, &sp__sender__descriptor,
    &sp__source__descriptor, &sp__recipients__descriptor, &sp__recipient__descriptor,
    &sp__wraps__descriptor, &sp__wrap__descriptor, &sp__parts__descriptor, &sp__part__descriptor,
    /* local */
    &sp__request__descriptor, &sp__send_request__descriptor, &sp__draft_attachment__descriptor,
    &sp__data_chunk__descriptor, &sp__list_request__descriptor, &sp__show_request__descriptor,
    &sp__save_request__descriptor, &sp__receipts_request__descriptor,
    &sp__prove_request__descriptor, &sp__status_request__descriptor,
    &sp__directory_request__descriptor, &sp__watch_request__descriptor,
    &sp__wait_request__descriptor, &sp__response__descriptor, &sp__local_error__descriptor,
    &sp__message__descriptor, &sp__message_attachment__descriptor, &sp__recipient_state__descriptor,
    &sp__message_list__descriptor, &sp__saved_part__descriptor, &sp__receipt_list__descriptor,
    &sp__receipt_view__descriptor, &sp__proof__descriptor, &sp__status__descriptor,
    &sp__directory_view__descriptor, &sp__agency_view__descriptor, &sp__watch_event__descriptor,
    &sp__progress__descriptor,
    /* wire */
    &sp__frame__descriptor, &sp__hello__descriptor, &sp__transfer__descriptor,
    &sp__inline_part__descriptor, &sp__answer__descriptor, &sp__control__descriptor,
    &sp__documents_want__descriptor, &sp__part_want__descriptor, &sp__part_chunk__descriptor};

static const char *const texts[] = {"EE.POLICE",        "x",       "Jõgeva",
                                    "Šiauliai",         "Ķekava",  "\"\\/\b\f\n\r\t\x7f",
                                    "\xf0\x9f\x9a\x97", "\x01\x1f"};

const ProtobufCMessageDescriptor *const *message_kit_all(size_t *n)
{
    *n = sizeof(all) / sizeof(all[0]);
    return all;
}

/* splitmix64 (public domain, Vigna 2015). */
static uint64_t next(struct message_kit *kit)
{
    uint64_t z = kit->state += 0x9e3779b97f4a7c15;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static void *take(struct message_kit *kit, size_t size)
{
    uint64_t *at = kit->memory + kit->used;

    kit->used += (size + sizeof(uint64_t) - 1) / sizeof(uint64_t);
    cr_assert_leq(kit->used, sizeof(kit->memory) / sizeof(kit->memory[0]));
    return at;
}

static uint64_t number(struct message_kit *kit, uint64_t max)
{
    uint64_t value = next(kit) >> next(kit) % 64;

    return value == 0 ? 1 : value > max ? max : value;
}

static ProtobufCBinaryData some_bytes(struct message_kit *kit)
{
    ProtobufCBinaryData d = {.len = 1 + next(kit) % BYTES_MAX};

    d.data = take(kit, d.len);
    for (size_t i = 0; i < d.len; i++)
        d.data[i] = (uint8_t)next(kit);
    return d;
}

static ProtobufCMessage *fill(struct message_kit *kit, const ProtobufCMessageDescriptor *d,
                              unsigned depth);

static void put_value(struct message_kit *kit, const ProtobufCFieldDescriptor *f, void *at,
                      unsigned depth)
{
    const ProtobufCEnumDescriptor *e = f->descriptor;

    switch (f->type) {
    case PROTOBUF_C_TYPE_UINT32:
        *(uint32_t *)at = (uint32_t)number(kit, UINT32_MAX);
        break;
    case PROTOBUF_C_TYPE_UINT64: /* in JSON a time up to the year 9999 */
        *(uint64_t *)at = number(kit, kit->json ? (uint64_t)1 << 47 : UINT64_MAX);
        break;
    case PROTOBUF_C_TYPE_BOOL:
        *(protobuf_c_boolean *)at = true;
        break;
    case PROTOBUF_C_TYPE_ENUM:
        *(int *)at = e->values[1 + next(kit) % (e->n_values - 1)].value;
        break;
    case PROTOBUF_C_TYPE_STRING:
        *(char **)at = pb_string(texts[next(kit) % (sizeof(texts) / sizeof(texts[0]))]);
        break;
    case PROTOBUF_C_TYPE_BYTES:
        *(ProtobufCBinaryData *)at = some_bytes(kit);
        break;
    default:
        cr_assert_eq(f->type, PROTOBUF_C_TYPE_MESSAGE);
        *(ProtobufCMessage **)at = fill(kit, f->descriptor, depth + 1);
    }
}

static size_t element_size(const ProtobufCFieldDescriptor *f)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_BOOL:
    case PROTOBUF_C_TYPE_ENUM:
        return sizeof(uint32_t);
    default:
        return sizeof(uint64_t);
    }
}

static ProtobufCMessage *fill(struct message_kit *kit, const ProtobufCMessageDescriptor *d,
                              unsigned depth)
{
    uint8_t *message = take(kit, d->sizeof_message);

    d->message_init((ProtobufCMessage *)(void *)message);
    for (unsigned i = 0; i < d->n_fields && depth < DEPTH_MAX; i++) {
        const ProtobufCFieldDescriptor *f = &d->fields[i];
        size_t n = 1 + next(kit) % LIST_MAX;
        uint8_t *list;

        if (!kit->full && next(kit) % 2 == 0)
            continue;
        if (f->label != PROTOBUF_C_LABEL_REPEATED) {
            put_value(kit, f, message + f->offset, depth);
            continue;
        }
        list = take(kit, n * element_size(f));
        for (size_t k = 0; k < n; k++)
            put_value(kit, f, list + k * element_size(f), depth);
        *(uint8_t **)(message + f->offset) = list;
        *(size_t *)(message + f->quantifier_offset) = n;
    }
    return (ProtobufCMessage *)(void *)message;
}

const void *message_kit_fill(struct message_kit *kit, const ProtobufCMessageDescriptor *d)
{
    kit->used = 0;
    return fill(kit, d, 1);
}

static void encode_full(const ProtobufCMessageDescriptor *d, struct buf *out)
{
    struct message_kit *kit = calloc(1, sizeof(*kit));

    cr_assert_not_null(kit);
    kit->full = true;
    pb_encode(message_kit_fill(kit, d), out);
    cr_assert_eq(out->err, ERR_OK);
    free(kit);
}

void message_kit_frame(struct buf *out)
{
    encode_full(&sp__frame__descriptor, out);
}

void message_kit_directory(struct buf *out)
{
    encode_full(&sp__directory__descriptor, out);
}

struct span message_kit_copy(struct span s)
{
    uint8_t *data = malloc(s.len == 0 ? 1 : s.len);

    cr_assert_not_null(data);
    if (s.len > 0)
        memcpy(data, s.data, s.len);
    return span_of(data, s.len);
}
