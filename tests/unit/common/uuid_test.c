#include "common/uuid.h"

#include <criterion/criterion.h>
#include <string.h>

/* RFC 9562 appendix A.6. */
#define RFC_TEXT "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"
#define RFC_MS ((uint64_t)0x017f22e279b0)

static void fill_random(void *ctx, void *out, size_t len)
{
    memset(out, *(const int *)ctx, len);
}

static struct env env_with(int *fill)
{
    return (struct env){.ctx = fill, .random = fill_random};
}

Test(uuid, reads_the_example_of_the_rfc)
{
    char text[UUID_TEXT_SIZE];
    struct uuid id;

    cr_assert_eq(uuid_parse(span_str(RFC_TEXT), &id), ERR_OK);
    cr_assert(uuid_is_v7(&id));
    cr_assert_eq(uuid_time_ms(&id), RFC_MS);
    uuid_format(&id, text);
    cr_assert_str_eq(text, RFC_TEXT);
}

Test(uuid, version_7_carries_time_and_random)
{
    int fill = 0xff;
    struct env env = env_with(&fill);
    struct uuid id = uuid_v7(&env, RFC_MS);
    char text[UUID_TEXT_SIZE];

    uuid_format(&id, text);
    cr_assert_str_eq(text, "017f22e2-79b0-7fff-bfff-ffffffffffff");
    fill = 0;
    id = uuid_v7(&env, UUID_MS_MAX);
    uuid_format(&id, text);
    cr_assert_str_eq(text, "ffffffff-ffff-7000-8000-000000000000");
    cr_assert_eq(uuid_time_ms(&id), UUID_MS_MAX);
    id = uuid_v7(&env, 0);
    cr_assert_eq(uuid_time_ms(&id), 0);
    cr_assert(uuid_is_v7(&id));
}

Test(uuid, the_systems_random_does_not_repeat)
{
    struct uuid a = uuid_v7(env_system(), 1), b = uuid_v7(env_system(), 1);

    cr_assert_not(uuid_equal(&a, &b));
    cr_assert(uuid_equal(&a, &a));
    cr_assert_gt(env_now_ms(env_system()), 1700000000000);
    cr_assert_leq(env_mono_ms(env_system()), env_mono_ms(env_system()));
}

Test(uuid, sorts_by_time)
{
    int fill = 0xff;
    struct env env = env_with(&fill);
    struct uuid early = uuid_v7(&env, 255), late;

    fill = 0;
    late = uuid_v7(&env, 256);
    cr_assert_lt(uuid_compare(&early, &late), 0);
    cr_assert_gt(uuid_compare(&late, &early), 0);
    cr_assert_eq(uuid_compare(&late, &late), 0);
}

Test(uuid, refuses_every_other_text)
{
    static const char *const bad[] = {
        "",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398ff",
        "017F22E2-79B0-7CC3-98C4-DC0C0C07398F",
        "017f22e2079b0-7cc3-98c4-dc0c0c07398f",
        "017f22e2-79b0-7cc3-98c4-dc0c0c0739-f",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398g",
        "{17f22e2-79b0-7cc3-98c4-dc0c0c07398}",
        "017f22e279b07cc398c4dc0c0c07398f0000",
        " 17f22e2-79b0-7cc3-98c4-dc0c0c07398f",
    };
    struct uuid id;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_assert_eq(uuid_parse(span_str(bad[i]), &id), ERR_MALFORMED, "case %zu", i);
}

Test(uuid, other_versions_and_variants_are_not_7)
{
    struct uuid id;

    cr_assert_eq(uuid_parse(span_str("017f22e2-79b0-4cc3-98c4-dc0c0c07398f"), &id), ERR_OK);
    cr_assert_not(uuid_is_v7(&id));
    cr_assert_eq(uuid_parse(span_str("017f22e2-79b0-7cc3-18c4-dc0c0c07398f"), &id), ERR_OK);
    cr_assert_not(uuid_is_v7(&id));
    cr_assert_eq(uuid_parse(span_str("017f22e2-79b0-7cc3-d8c4-dc0c0c07398f"), &id), ERR_OK);
    cr_assert_not(uuid_is_v7(&id));
}

Test(uuid, from_bytes_takes_sixteen)
{
    uint8_t bytes[17] = {1, 2, 3};
    struct uuid id, nil = {0};

    cr_assert_eq(uuid_from_bytes(span_of(bytes, 15), &id), ERR_MALFORMED);
    cr_assert_eq(uuid_from_bytes(span_of(bytes, 17), &id), ERR_MALFORMED);
    cr_assert_eq(uuid_from_bytes(span_of(bytes, 16), &id), ERR_OK);
    cr_assert(span_equal(uuid_bytes(&id), span_of(bytes, 16)));
    cr_assert_not(uuid_is_nil(&id));
    cr_assert(uuid_is_nil(&nil));
}
