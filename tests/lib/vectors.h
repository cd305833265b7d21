/* Reading published vectors: JSON files under tests/vectors, hex and base64 texts inside them.
 * A file or a text that is not as expected fails the test. Buffers are malloc'ed so that the
 * address sanitizer sees every byte read past them. */
#ifndef SEALPOST_TESTS_LIB_VECTORS_H
#define SEALPOST_TESTS_LIB_VECTORS_H

#include "common/span.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Owned by the caller: json_decref(). */
[[maybe_unused]] static json_t *vectors_load(const char *path)
{
    char full[4096];
    json_error_t error;
    json_t *root;

    (void)snprintf(full, sizeof(full), "%s/%s", SEALPOST_VECTORS, path);
    root = json_load_file(full, 0, &error);
    cr_assert_not_null(root, "%s: %s", full, error.text);
    return root;
}

[[maybe_unused]] static int vectors_nibble(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = c == '\0' ? NULL : strchr(digits, c);

    cr_assert_not_null(at, "not a hex digit: %d", c);
    return (int)(at - digits);
}

/* Owned bytes of a lower-case hex text: free((void *)span.data). */
[[maybe_unused]] static struct span vectors_unhex(const char *hex)
{
    size_t len = strlen(hex) / 2;
    uint8_t *out = malloc(len > 0 ? len : 1);

    cr_assert_not_null(out);
    cr_assert_eq(strlen(hex) % 2, 0);
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)(vectors_nibble(hex[2 * i]) << 4 | vectors_nibble(hex[2 * i + 1]));
    return span_of(out, len);
}

[[maybe_unused]] static const char *vectors_text(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));

    cr_assert_not_null(s, "no text %s", key);
    return s;
}

[[maybe_unused]] static struct span vectors_hex(const json_t *object, const char *key)
{
    return vectors_unhex(vectors_text(object, key));
}

/* Owned bytes of a base64 text (RFC 4648 4). */
[[maybe_unused]] static struct span vectors_unbase64(const char *s)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t *out = malloc(strlen(s) + 1);
    uint32_t bits = 0;
    unsigned held = 0;
    size_t len = 0;

    cr_assert_not_null(out);
    for (; *s != '\0' && *s != '='; s++) {
        const char *at = strchr(digits, *s);

        cr_assert_not_null(at);
        bits = bits << 6 | (uint32_t)(at - digits);
        held += 6;
        if (held >= 8) {
            held -= 8;
            out[len++] = (uint8_t)(bits >> held);
        }
    }
    return span_of(out, len);
}

[[maybe_unused]] static void vectors_free(struct span s)
{
    free((void *)(uintptr_t)s.data);
}

/* A Wycheproof file: calls `run` for every test, which returns whether it could be run, and gives
 * the number of those. "acceptable" counts as valid. */
typedef bool (*vectors_run)(const json_t *group, const json_t *test, bool valid);

[[maybe_unused]] static unsigned vectors_wycheproof(const char *path, vectors_run run)
{
    json_t *root = vectors_load(path);
    json_int_t stated = json_integer_value(json_object_get(root, "numberOfTests"));
    json_t *group, *test;
    json_int_t seen = 0;
    unsigned ran = 0;
    size_t i, k;

    json_array_foreach(json_object_get(root, "testGroups"), i, group)
    {
        json_array_foreach(json_object_get(group, "tests"), k, test)
        {
            bool valid = strcmp(vectors_text(test, "result"), "invalid") != 0;

            ran += run(group, test, valid) ? 1 : 0;
            seen++;
        }
    }
    cr_assert_eq(seen, stated);
    json_decref(root);
    return ran;
}

#endif
