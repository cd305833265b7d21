#include "proto/pb.h"

#include "common/limits.h"
#include "message_kit.h"
#include "tests/lib/leaks.h"
#include "tests/lib/vectors.h"

#include "documents.pb-c.h"
#include "sample.pb-c.h"
#include "wire.pb-c.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define DEPTHS 3

TestSuite(pb, .fini = leaks_check);

/* A message of the sample schema, what it is decoded as, and what it shows. */
struct sample {
    const char *hex;
    enum err err;
    const char *what;
};

static const struct sample samples[] = {
    {"0801", ERR_OK, "a number"},
    {"08ffffffff0f", ERR_OK, "the largest number of 32 bits"},
    {"10ffffffffffffffffff01", ERR_OK, "the largest number of 64 bits"},
    {"1801", ERR_OK, "true"},
    {"2001", ERR_OK, "an enum value"},
    {"2005", ERR_OK, "an enum value after a gap"},
    {"2a0141", ERR_OK, "a text"},
    {"2a02c3a9", ERR_OK, "a text that is not ASCII"},
    {"2a03efbfbd", ERR_OK, "U+FFFD itself"},
    {"2a04f48fbfbf", ERR_OK, "the last code point"},
    {"320100", ERR_OK, "bytes hold NUL"},
    {"3202ff80", ERR_OK, "bytes need not be text"},
    {"3a00", ERR_OK, "a message without fields"},
    {"42004200", ERR_OK, "two messages in a list"},
    {"4a004a00", ERR_OK, "empty texts in a list"},
    {"52005200", ERR_OK, "empty bytes in a list"},
    {"5a020102", ERR_OK, "packed numbers"},
    {"5a020000", ERR_OK, "packed zeros"},
    {"60016002", ERR_OK, "unpacked numbers"},
    {"60006000", ERR_OK, "unpacked zeros"},
    {"6a03000501", ERR_OK, "packed enum values"},
    {"a201020001", ERR_OK, "packed booleans under a key of two bytes"},

    {"7001", ERR_UNKNOWN_FIELD, "a number between two that are known"},
    {"7200", ERR_UNKNOWN_FIELD, "the same with bytes"},
    {"f80101", ERR_UNKNOWN_FIELD, "a number after the last"},
    {"f801", ERR_UNKNOWN_FIELD, "the same, truncated"},
    {"8801017001", ERR_UNKNOWN_FIELD, "an unknown number out of order"},
    {"f8ffffff0f01", ERR_UNKNOWN_FIELD, "the largest number of a field"},

    {"888000 01", ERR_NON_CANONICAL, "a key of three bytes for one"},
    {"880001", ERR_NON_CANONICAL, "a key of two bytes for one"},
    {"088100", ERR_NON_CANONICAL, "an overlong number"},
    {"10ffffffffffffffff8000", ERR_NON_CANONICAL, "an overlong number of ten bytes"},
    {"2a810041", ERR_NON_CANONICAL, "an overlong length"},
    {"5a028100", ERR_NON_CANONICAL, "an overlong packed number"},
    {"0800", ERR_NON_CANONICAL, "a 32-bit zero"},
    {"1000", ERR_NON_CANONICAL, "a 64-bit zero"},
    {"1800", ERR_NON_CANONICAL, "false"},
    {"2000", ERR_NON_CANONICAL, "the enum's zero"},
    {"2a00", ERR_NON_CANONICAL, "an empty text"},
    {"3200", ERR_NON_CANONICAL, "empty bytes"},
    {"5a00", ERR_NON_CANONICAL, "an empty packed list"},
    {"08010802", ERR_NON_CANONICAL, "a number twice"},
    {"08010801", ERR_NON_CANONICAL, "a number twice, the same"},
    {"2a01412a0141", ERR_NON_CANONICAL, "a text twice"},
    {"3a003a00", ERR_NON_CANONICAL, "a message twice"},
    {"5a01015a0102", ERR_NON_CANONICAL, "a packed list in two pieces"},
    {"10010801", ERR_NON_CANONICAL, "fields out of order"},
    {"4a01415201414a0142", ERR_NON_CANONICAL, "a list in two pieces"},
    {"5801", ERR_NON_CANONICAL, "a packed list, not packed"},
    {"62020102", ERR_NON_CANONICAL, "an unpacked list, packed"},
    {"6801", ERR_NON_CANONICAL, "a list of enum values, not packed"},

    {"088080808010", ERR_MALFORMED, "2^32 where 32 bits are meant"},
    {"5a058080808010", ERR_MALFORMED, "the same, packed"},
    {"10ffffffffffffffffff02", ERR_MALFORMED, "65 bits"},
    {"1080808080808080808080 01", ERR_MALFORMED, "a number of eleven bytes"},
    {"1802", ERR_MALFORMED, "neither true nor false"},
    {"a2010102", ERR_MALFORMED, "the same, packed"},
    {"2002", ERR_MALFORMED, "an enum value in a gap"},
    {"2006", ERR_MALFORMED, "an enum value after the last"},
    {"208080808008", ERR_MALFORMED, "an enum value of 2^31"},
    {"208180808010", ERR_MALFORMED, "an enum value of 2^32 + 1"},
    {"20ffffffffffffffffff01", ERR_MALFORMED, "a negative enum value"},
    {"6a0102", ERR_MALFORMED, "an enum value in a gap, packed"},
    {"08", ERR_MALFORMED, "a key alone"},
    {"0880", ERR_MALFORMED, "half a number"},
    {"88", ERR_MALFORMED, "half a key"},
    {"2a", ERR_MALFORMED, "no length"},
    {"2a0241", ERR_MALFORMED, "a text longer than the message"},
    {"320241", ERR_MALFORMED, "bytes longer than the message"},
    {"3a0208", ERR_MALFORMED, "an inner message longer than the outer"},
    {"5a0201", ERR_MALFORMED, "a packed list longer than the message"},
    {"5a0180", ERR_MALFORMED, "half a packed number"},
    {"2affffffffffffffffff01", ERR_MALFORMED, "a length of 64 bits"},
    {"0a0101", ERR_MALFORMED, "a number as bytes"},
    {"0901000000 00000000", ERR_MALFORMED, "a number as 64 fixed bits"},
    {"0d01000000", ERR_MALFORMED, "a number as 32 fixed bits"},
    {"2801", ERR_MALFORMED, "a text as a number"},
    {"3001", ERR_MALFORMED, "bytes as a number"},
    {"3801", ERR_MALFORMED, "a message as a number"},
    {"3b3c", ERR_MALFORMED, "a message as a group"},
    {"0b0c", ERR_MALFORMED, "a number as a group"},
    {"0c", ERR_MALFORMED, "the end of a group"},
    {"0e", ERR_MALFORMED, "wire type 6"},
    {"0f", ERR_MALFORMED, "wire type 7"},
    {"5d01000000", ERR_MALFORMED, "a packed list as fixed bits"},
    {"0001", ERR_MALFORMED, "field 0"},
    {"808080801000", ERR_MALFORMED, "field 2^29"},
    {"2a0100", ERR_MALFORMED, "NUL as a text"},
    {"2a03410042", ERR_MALFORMED, "NUL inside a text"},
    {"2a02c3a9 00", ERR_MALFORMED, "field 0 after a text"},
    {"2a03c3a900", ERR_MALFORMED, "NUL at the end of a text"},
    {"2a01ff", ERR_MALFORMED, "a byte that UTF-8 lacks"},
    {"2a0180", ERR_MALFORMED, "a continuation alone"},
    {"2a01c3", ERR_MALFORMED, "half a character"},
    {"2a02c341", ERR_MALFORMED, "a character broken off"},
    {"2a02c080", ERR_MALFORMED, "an overlong NUL"},
    {"2a03eda080", ERR_MALFORMED, "a surrogate"},
    {"2a04f4908080", ERR_MALFORMED, "beyond the last code point"},
    {"4a01ff", ERR_MALFORMED, "no UTF-8 in a list"},
    {"4a0100", ERR_MALFORMED, "NUL in a list"},
};

static struct buf from_hex(const char *hex)
{
    struct buf b;
    unsigned digits = 0, value = 0;

    buf_init(&b, LIMIT_KIB);
    for (; *hex != '\0'; hex++) {
        if (*hex == ' ')
            continue;
        value = value << 4 | (unsigned)vectors_nibble(*hex);
        if (++digits % 2 == 0)
            buf_put_u8(&b, (uint8_t)value);
    }
    cr_assert_eq(digits % 2, 0);
    cr_assert_eq(b.err, ERR_OK);
    return b;
}

/* Wraps `b` into a field of one more message. */
static void wrap(struct buf *b, uint8_t key)
{
    struct buf outer;

    cr_assert_lt(b->len, 0x80);
    buf_init(&outer, LIMIT_KIB);
    buf_put_u8(&outer, key);
    buf_put_u8(&outer, (uint8_t)b->len);
    buf_put(&outer, buf_span(b));
    buf_fini(b);
    *b = outer;
}

static enum err decode(const ProtobufCMessageDescriptor *d, struct span bytes)
{
    struct span copy = message_kit_copy(bytes);
    struct pb *p = NULL;
    enum err e = pb_decode(d, copy, bytes.len, &p);
    struct buf again;

    cr_assert_eq(e == ERR_OK, p != NULL);
    free((void *)(uintptr_t)copy.data);
    if (e == ERR_OK) {
        buf_init(&again, bytes.len);
        pb_encode(pb_view(p), &again);
        cr_assert_eq(again.err, ERR_OK);
        cr_assert(span_equal(buf_span(&again), bytes));
        buf_fini(&again);
    }
    pb_free(p);
    return e;
}

Test(pb, refuses_at_every_depth_what_is_not_strict)
{
    /* The field `child`, and an element of the list `nodes`. */
    static const uint8_t keys[] = {0x3a, 0x42};

    for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
        for (size_t k = 0; k < sizeof(keys); k++) {
            struct buf b = from_hex(samples[i].hex);

            for (unsigned depth = 0; depth <= DEPTHS; depth++) {
                enum err e = decode(&spt__node__descriptor, buf_span(&b));

                cr_assert_eq(e, samples[i].err, "%s at depth %u: %s", samples[i].what, depth,
                             err_code(e));
                wrap(&b, keys[k]);
            }
            buf_fini(&b);
        }
    }
}

Test(pb, refuses_in_the_frames_and_documents_of_peers)
{
    static const struct {
        const ProtobufCMessageDescriptor *descriptor;
        const char *hex;
        enum err err;
    } cases[] = {
        {&sp__frame__descriptor, "", ERR_OK},
        {&sp__frame__descriptor, "0a00", ERR_OK},
        {&sp__frame__descriptor, "1a021801", ERR_MALFORMED},
        {&sp__frame__descriptor, "1a025001", ERR_UNKNOWN_FIELD},
        {&sp__frame__descriptor, "5001", ERR_UNKNOWN_FIELD},
        {&sp__frame__descriptor, "22022003", ERR_OK},
        {&sp__frame__descriptor, "22022004", ERR_MALFORMED},
        {&sp__frame__descriptor, "1a021a001a00", ERR_OK},
        {&sp__frame__descriptor, "1a0222001a00", ERR_OK},
        {&sp__frame__descriptor, "1a0322 0180", ERR_MALFORMED},
        {&sp__frame__descriptor, "1a0608012a013001", ERR_MALFORMED},
        {&sp__frame__descriptor, "0a000a00", ERR_NON_CANONICAL},
        {&sp__frame__descriptor, "1a041a020800", ERR_NON_CANONICAL},
        {&sp__directory__descriptor, "2a0432023005", ERR_MALFORMED},
        {&sp__directory__descriptor, "2a023005", ERR_OK},
        {&sp__directory__descriptor, "2a023006", ERR_MALFORMED},
        {&sp__directory__descriptor, "2a0412020a00", ERR_NON_CANONICAL},
        {&sp__directory__descriptor, "2a0412021a00", ERR_UNKNOWN_FIELD},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf b = from_hex(cases[i].hex);
        enum err e = decode(cases[i].descriptor, buf_span(&b));

        cr_assert_eq(e, cases[i].err, "%s: %s", cases[i].hex, err_code(e));
        buf_fini(&b);
    }
}

Test(pb, gives_values_that_outlive_the_bytes)
{
    struct buf b = from_hex("0807 2a0341c3a9 320200ff 3a032a0142 4a0158 4a00");
    const Spt__Node *n;
    struct pb *p;

    cr_assert_eq(pb_decode(&spt__node__descriptor, buf_span(&b), b.len, &p), ERR_OK);
    buf_wipe(&b);
    n = pb_view(p);
    cr_assert_eq(n->small, 7);
    cr_assert_str_eq(n->text, "A\xc3\xa9");
    cr_assert(span_equal(pb_span(n->data), span_of("\0\xff", 2)));
    cr_assert_str_eq(n->child->text, "B");
    cr_assert_null(n->child->child);
    cr_assert_eq(n->n_texts, 2);
    cr_assert_str_eq(n->texts[0], "X");
    cr_assert_str_eq(n->texts[1], "");
    cr_assert_eq(n->n_nodes, 0);
    pb_free(p);
}

Test(pb, absent_texts_are_empty)
{
    const Sp__Hello *hello;
    struct pb *p;

    cr_assert_eq(pb_decode(&sp__hello__descriptor, span_of(NULL, 0), 0, &p), ERR_OK);
    hello = pb_view(p);
    cr_assert_str_eq(hello->name, "");
    cr_assert_str_eq(hello->software, "");
    cr_assert_eq(hello->epoch.len, 0);
    pb_free(p);
    pb_free(NULL);
}

Test(pb, caps_the_length)
{
    struct buf b = from_hex("2a0341 4141");
    struct pb *p = NULL;

    cr_assert_eq(pb_decode(&spt__node__descriptor, buf_span(&b), b.len - 1, &p), ERR_TOO_LARGE);
    cr_assert_null(p);
    cr_assert_eq(pb_decode(&spt__node__descriptor, buf_span(&b), b.len, &p), ERR_OK);
    pb_free(p);
    cr_assert_eq(pb_decode(&spt__node__descriptor, buf_span(&b), b.len + 1, &p), ERR_OK);
    pb_free(p);
    buf_fini(&b);
}

Test(pb, bounds_the_depth)
{
    static const uint8_t keys[] = {0x3a, 0x42};

    for (size_t k = 0; k < sizeof(keys); k++) {
        struct buf b = from_hex("");

        for (unsigned depth = 1; depth <= LIMIT_DECODE_DEPTH; depth++) {
            cr_assert_eq(decode(&spt__node__descriptor, buf_span(&b)), ERR_OK);
            wrap(&b, keys[k]);
        }
        cr_assert_eq(decode(&spt__node__descriptor, buf_span(&b)), ERR_TOO_LARGE);
        wrap(&b, keys[k]);
        cr_assert_eq(decode(&spt__node__descriptor, buf_span(&b)), ERR_TOO_LARGE);
        buf_fini(&b);
    }
}

/* `n` times the two bytes of an empty element. */
static struct span empties(uint8_t key, size_t n)
{
    uint8_t *data = malloc(2 * n);

    cr_assert_not_null(data);
    for (size_t i = 0; i < n; i++) {
        data[2 * i] = key;
        data[2 * i + 1] = 0;
    }
    return span_of(data, 2 * n);
}

static enum err decode_empties(const ProtobufCMessageDescriptor *d, uint8_t key, size_t n)
{
    struct span bytes = empties(key, n);
    enum err e = decode(d, bytes);

    free((void *)(uintptr_t)bytes.data);
    return e;
}

Test(pb, bounds_the_memory)
{
    /* What an empty message costs at least: its struct and the pointer to it. */
    size_t each = sizeof(Sp__Transfer) + sizeof(void *), ok = 1, refused = LIMIT_MIB / 2;

    cr_assert_eq(decode_empties(&sp__frame__descriptor, 0x1a, refused), ERR_TOO_LARGE);
    cr_assert_eq(decode_empties(&sp__frame__descriptor, 0x12, refused), ERR_TOO_LARGE);
    cr_assert_eq(decode_empties(&spt__node__descriptor, 0x4a, refused), ERR_TOO_LARGE);
    while (refused - ok > 1) {
        size_t n = (ok + refused) / 2;

        if (decode_empties(&sp__frame__descriptor, 0x1a, n) == ERR_OK)
            ok = n;
        else
            refused = n;
    }
    cr_assert_eq(decode_empties(&sp__frame__descriptor, 0x1a, ok), ERR_OK);
    cr_assert_eq(decode_empties(&sp__frame__descriptor, 0x1a, refused), ERR_TOO_LARGE);
    cr_assert_leq(ok * each, LIMIT_DECODE_FACTOR * 2 * ok + LIMIT_DECODE_FLOOR);
    /* An ordinary frame has room. */
    cr_assert_geq(ok, LIMIT_FRAME_ITEMS);
}

Test(pb, a_large_frame_of_real_sizes_has_room)
{
    struct span envelope = empties(0, 512);
    Sp__Transfer transfers[LIMIT_FRAME_ITEMS], *list[LIMIT_FRAME_ITEMS];
    Sp__Frame frame = SP__FRAME__INIT;
    struct buf b;

    for (size_t i = 0; i < LIMIT_FRAME_ITEMS; i++) {
        transfers[i] = (Sp__Transfer)SP__TRANSFER__INIT;
        transfers[i].tag = i + 1;
        transfers[i].envelope = pb_bytes(envelope);
        list[i] = &transfers[i];
    }
    frame.transfers = list;
    frame.n_transfers = LIMIT_FRAME_ITEMS;
    buf_init(&b, LIMIT_FRAME);
    pb_encode(&frame, &b);
    cr_assert_eq(decode(&sp__frame__descriptor, buf_span(&b)), ERR_OK);
    buf_fini(&b);
    free((void *)(uintptr_t)envelope.data);
}

Test(pb, encodes_up_to_the_buffers_maximum)
{
    Spt__Node node = SPT__NODE__INIT;
    struct buf b;

    node.text = pb_string("AAA");
    for (size_t max = 4; max <= 6; max++) {
        buf_init(&b, max);
        pb_encode(&node, &b);
        cr_assert_eq(b.err, max < 5 ? ERR_TOO_LARGE : ERR_OK);
        cr_assert_eq(b.len, max < 5 ? 0 : 5);
        buf_fini(&b);
    }
    buf_init(&b, 0);
    node.text = NULL;
    pb_encode(&node, &b);
    cr_assert_eq(b.err, ERR_OK);
    cr_assert_eq(b.len, 0);
    buf_fini(&b);
}

Test(pb, every_message_comes_back)
{
    struct message_kit *kit = malloc(sizeof(*kit));
    const ProtobufCMessageDescriptor *const *all;
    size_t n;

    cr_assert_not_null(kit);
    all = message_kit_all(&n);
    for (size_t i = 0; i < n; i++) {
        for (uint64_t seed = 0; seed < 40; seed++) {
            struct buf b;

            memset(kit, 0, sizeof(*kit));
            kit->state = seed;
            kit->full = seed < 10;
            buf_init(&b, LIMIT_MIB);
            pb_encode(message_kit_fill(kit, all[i]), &b);
            cr_assert_eq(b.err, ERR_OK);
            cr_assert_eq(decode(all[i], buf_span(&b)), ERR_OK, "%s, seed %d", all[i]->name,
                         (int)seed);
            buf_fini(&b);
        }
    }
    free(kit);
}

static void count_messages(const char *schema, size_t *count)
{
    char path[4096], line[256];
    FILE *f;

    snprintf(path, sizeof(path), "%s/../proto/%s.proto", SEALPOST_TESTS, schema);
    f = fopen(path, "r");
    cr_assert_not_null(f);
    while (fgets(line, sizeof(line), f) != NULL)
        *count += strncmp(line, "message ", 8) == 0;
    cr_assert_eq(fclose(f), 0);
}

Test(pb, the_list_of_messages_is_complete)
{
    static const char *const schemas[] = {"audit",    "content", "documents",
                                          "envelope", "local",   "wire"};
    const ProtobufCMessageDescriptor *const *all;
    size_t n, count = 0;

    for (size_t i = 0; i < sizeof(schemas) / sizeof(schemas[0]); i++)
        count_messages(schemas[i], &count);
    all = message_kit_all(&n);
    cr_assert_eq(n, count);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < i; k++)
            cr_assert_neq(all[i], all[k]);
    }
}

/* Decodes every mutation; both outcomes must come up. */
struct tally {
    size_t decoded;
    size_t refused;
};

static void count(struct tally *t, const ProtobufCMessageDescriptor *d, struct span bytes)
{
    if (decode(d, bytes) == ERR_OK)
        t->decoded++;
    else
        t->refused++;
}

static void mutate(const ProtobufCMessageDescriptor *d, struct buf *b)
{
    struct tally bytes = {0}, cuts = {0};

    cr_assert_eq(decode(d, buf_span(b)), ERR_OK);
    for (size_t i = 0; i < b->len; i++) {
        uint8_t original = b->data[i];

        for (unsigned v = 1; v < 256; v++) {
            b->data[i] = (uint8_t)(original ^ v);
            count(&bytes, d, buf_span(b));
        }
        b->data[i] = original;
        count(&cuts, d, span_of(b->data, i));
        count(&cuts, d, span_of(b->data + i, b->len - i));
    }
    cr_assert_eq(bytes.decoded + bytes.refused, 255 * b->len);
    cr_assert_gt(bytes.decoded, b->len);
    cr_assert_gt(bytes.refused, b->len);
    cr_assert_gt(cuts.decoded, 0);
    cr_assert_gt(cuts.refused, b->len);
    buf_fini(b);
}

Test(pb, any_changed_byte_of_a_frame_is_refused_or_comes_back)
{
    struct buf b;

    buf_init(&b, LIMIT_KIB);
    message_kit_frame(&b);
    mutate(&sp__frame__descriptor, &b);
}

Test(pb, any_changed_byte_of_a_directory_is_refused_or_comes_back)
{
    struct buf b;

    buf_init(&b, 2 * LIMIT_KIB);
    message_kit_directory(&b);
    mutate(&sp__directory__descriptor, &b);
}
