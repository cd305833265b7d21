#include "proto/pb_scan.h"

#include "common/limits.h"
#include "message_kit.h"
#include "proto/pb.h"
#include "tests/lib/leaks.h"

#include "local.pb-c.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

TestSuite(pb_scan, .fini = leaks_check);

/* What protobuf-c asks for. */
static void *counting_alloc(void *ctx, size_t size)
{
    *(size_t *)ctx += pb_rounded(size);
    return malloc(size);
}

static void counting_free(void *ctx, void *at)
{
    (void)ctx;
    free(at);
}

static size_t used(const ProtobufCMessageDescriptor *d, struct span bytes)
{
    size_t sum = 0;
    ProtobufCAllocator a = {counting_alloc, counting_free, &sum};
    ProtobufCMessage *m = protobuf_c_message_unpack(d, &a, bytes.len, bytes.data);

    cr_assert_not_null(m);
    protobuf_c_message_free_unpacked(m, &a);
    return sum;
}

/* Enough, and at most the rounding of each list too much. */
static void check(const ProtobufCMessageDescriptor *d, struct span bytes)
{
    size_t need = 0, memory = used(d, bytes);

    cr_assert_eq(pb_scan(d, bytes, SIZE_MAX, &need), ERR_OK);
    cr_assert_geq(need, memory, "%s", d->name);
    cr_assert_leq(need, memory + memory / 8 + 64, "%s: %zu for %zu", d->name, need, memory);
    cr_assert_eq(pb_scan(d, bytes, need - 1, &need), ERR_TOO_LARGE);
    cr_assert_eq(pb_scan(d, bytes, need, &need), ERR_OK);
    cr_assert_eq(pb_scan(d, bytes, need + 1, &need), ERR_OK);
}

Test(pb_scan, foretells_the_memory_of_every_message)
{
    struct message_kit *kit = malloc(sizeof(*kit));
    const ProtobufCMessageDescriptor *const *all;
    size_t n;

    cr_assert_not_null(kit);
    all = message_kit_all(&n);
    for (size_t i = 0; i < n; i++) {
        for (uint64_t seed = 0; seed < 20; seed++) {
            struct buf b;

            memset(kit, 0, sizeof(*kit));
            kit->state = seed;
            kit->full = seed < 5;
            buf_init(&b, LIMIT_MIB);
            pb_encode(message_kit_fill(kit, all[i]), &b);
            check(all[i], buf_span(&b));
            buf_fini(&b);
        }
    }
    free(kit);
}

Test(pb_scan, foretells_the_memory_of_long_lists)
{
    /* Around the sizes at which protobuf-c takes another slab for its notes. */
    static const size_t counts[] = {1, 15, 16, 17, 47, 48, 49, 111, 112, 113, 1000};
    char *texts[1000];

    for (size_t i = 0; i < 1000; i++)
        texts[i] = pb_string("EE.POLICE");
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        Sp__SendRequest r = SP__SEND_REQUEST__INIT;
        struct buf b;

        r.to = texts;
        r.n_to = counts[i];
        buf_init(&b, LIMIT_MIB);
        pb_encode(&r, &b);
        check(&sp__send_request__descriptor, buf_span(&b));
        buf_fini(&b);
    }
}
