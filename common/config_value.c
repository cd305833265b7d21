#include "common/config_internal.h"

#include "common/file.h"
#include "common/text.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define SUBJECT_MAX 64

bool config_is_list(enum config_type type)
{
    return type == CONFIG_WORDS || type == CONFIG_STRINGS || type == CONFIG_PATHS ||
           type == CONFIG_TABLES;
}

size_t config_items_max(const struct config_field *field)
{
    return field->items_max != 0 ? field->items_max : LIMIT_CONFIG_ITEMS;
}

uint64_t config_max(const struct config_field *field)
{
    switch (field->type) {
    case CONFIG_STRING:
    case CONFIG_PATH:
    case CONFIG_STRINGS:
    case CONFIG_PATHS:
        return field->max != 0 ? field->max : LIMIT_CONFIG_TEXT;
    case CONFIG_SIZE_MIB:
        return field->max != 0 ? field->max : UINT64_MAX / LIMIT_MIB;
    default:
        return field->max != 0 ? field->max : UINT64_MAX;
    }
}

static void *place_of(const struct config_field *field, void *out)
{
    return (char *)out + field->offset;
}

static bool has_control(struct span text)
{
    size_t at = 0;
    uint32_t c;

    while (text_utf8_next(text, &at, &c)) {
        if (c < 0x20 || (c >= 0x7f && c < 0xa0))
            return true;
    }
    return false;
}

/* YAML's ways of saying nothing. A text that is really meant to read so is quoted. */
static bool is_null(const struct config_scalar *s)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};

    for (size_t i = 0; i < sizeof nulls / sizeof *nulls; i++) {
        if (!s->quoted && span_equal(s->text, span_str(nulls[i])))
            return true;
    }
    return false;
}

static enum err copy_text(const struct config_source *source, const struct config_field *field,
                          const struct config_scalar *s, char **ret)
{
    bool is_path = field->type == CONFIG_PATH || field->type == CONFIG_PATHS;
    uint64_t min = is_path && field->min == 0 ? 1 : field->min;
    uint64_t max = config_max(field);
    char path[LIMIT_PATH];
    char *copy;

    if (is_null(s))
        return config_fail(source, s->at, (struct span){0}, "%s has no value", field->key);
    if (s->text.len < min || s->text.len > max)
        return config_fail(source, s->at, (struct span){0},
                           "%s must have %" PRIu64 " to %" PRIu64 " bytes, not %zu", field->key,
                           min, max, s->text.len);
    if (!span_is_utf8(s->text) || has_control(s->text))
        return config_fail(source, s->at, s->text, "%s holds a control character:", field->key);
    if (!is_path) {
        copy = strndup((const char *)s->text.data, s->text.len);
    } else {
        char plain[LIMIT_PATH];

        if (span_to_str(s->text, plain, sizeof plain) != ERR_OK ||
            file_join(source->dir, plain, path, sizeof path) != ERR_OK)
            return config_fail(source, s->at, (struct span){0}, "%s is too long for a path",
                               field->key);
        copy = strdup(path);
    }
    if (copy == NULL)
        return ERR_NO_MEMORY;
    *ret = copy;
    return ERR_OK;
}

static enum err parse_number(const struct config_source *source, const struct config_field *field,
                             const struct config_scalar *s, uint64_t *ret)
{
    uint64_t max = config_max(field);
    enum err e = s->quoted ? ERR_MALFORMED : text_u64_parse(s->text, field->min, max, ret);

    if (e == ERR_TOO_LARGE)
        return config_fail(source, s->at, s->text, "%s must be %" PRIu64 " to %" PRIu64 ", not",
                           field->key, field->min, max);
    if (e != ERR_OK)
        return config_fail(source, s->at, s->text, "%s must be a whole number, not", field->key);
    return ERR_OK;
}

static enum err parse_duration(const struct config_source *source, const struct config_field *field,
                               const struct config_scalar *s, uint64_t *ret)
{
    uint64_t max = config_max(field);
    char from[TEXT_DURATION_SIZE];
    char to[TEXT_DURATION_SIZE];
    uint64_t ms = 0;
    enum err e = text_duration_parse(s->text, &ms);

    if (e == ERR_MALFORMED)
        return config_fail(source, s->at, s->text,
                           "%s must be a duration such as 500ms, 30s, 5m, 8h or 14d, not",
                           field->key);
    if (e != ERR_OK || ms < field->min || ms > max) {
        text_duration(field->min, from);
        text_duration(max, to);
        return config_fail(source, s->at, s->text, "%s must be %s to %s, not", field->key, from,
                           to);
    }
    *ret = ms;
    return ERR_OK;
}

static enum err parse_bool(const struct config_source *source, const struct config_field *field,
                           const struct config_scalar *s, bool *ret)
{
    if (!s->quoted && span_equal(s->text, span_str("true")))
        *ret = true;
    else if (!s->quoted && span_equal(s->text, span_str("false")))
        *ret = false;
    else
        return config_fail(source, s->at, s->text, "%s must be true or false, not", field->key);
    return ERR_OK;
}

static void list_words(const char *const *words, struct buf *b)
{
    for (size_t i = 0; words[i] != NULL; i++)
        buf_printf(b, "%s%s", i == 0 ? "" : ", ", words[i]);
}

static enum err parse_word(const struct config_source *source, const struct config_field *field,
                           const struct config_scalar *s, unsigned *ret)
{
    struct buf b;
    const char *all;
    enum err e;

    for (unsigned i = 0; field->words[i] != NULL; i++) {
        if (!span_equal(s->text, span_str(field->words[i])))
            continue;
        *ret = i;
        return ERR_OK;
    }
    buf_init(&b, LIMIT_CONFIG_TEXT);
    list_words(field->words, &b);
    all = buf_cstr(&b);
    e = all == NULL
            ? ERR_NO_MEMORY
            : config_fail(source, s->at, s->text, "%s must be one of %s, not", field->key, all);
    buf_fini(&b);
    return e;
}

enum err config_put_scalar(const struct config_source *source, const struct config_field *field,
                           const struct config_scalar *s, void *out)
{
    void *place = place_of(field, out);
    enum err e;

    switch (field->type) {
    case CONFIG_STRING:
    case CONFIG_PATH:
        return copy_text(source, field, s, place);
    case CONFIG_U64:
        return parse_number(source, field, s, place);
    case CONFIG_SIZE_MIB:
        e = parse_number(source, field, s, place);
        if (e == ERR_OK)
            *(uint64_t *)place *= LIMIT_MIB;
        return e;
    case CONFIG_DURATION:
        return parse_duration(source, field, s, place);
    case CONFIG_BOOL:
        return parse_bool(source, field, s, place);
    case CONFIG_ENUM:
        return parse_word(source, field, s, place);
    default:
        return config_fail(
            source, s->at, (struct span){0},
            config_is_list(field->type) ? "%s must be a list" : "%s must be a mapping", field->key);
    }
}

static enum err add_string(const struct config_source *source, const struct config_field *field,
                           const struct config_scalar *s, struct config_strings *list)
{
    char **items = realloc(list->items, (list->count + 1) * sizeof *items);
    enum err e;

    if (items == NULL)
        return ERR_NO_MEMORY;
    list->items = items;
    e = copy_text(source, field, s, &items[list->count]);
    if (e == ERR_OK)
        list->count++;
    return e;
}

static enum err add_word(const struct config_source *source, const struct config_field *field,
                         const struct config_scalar *s, uint32_t *set)
{
    unsigned word = 0;
    enum err e = parse_word(source, field, s, &word);

    if (e != ERR_OK)
        return e;
    assert(word < 32);
    if (*set & UINT32_C(1) << word)
        return config_fail(source, s->at, s->text, "%s: repeated", field->key);
    *set |= UINT32_C(1) << word;
    return ERR_OK;
}

enum err config_add_scalar(const struct config_source *source, const struct config_field *field,
                           const struct config_scalar *s, void *out)
{
    void *place = place_of(field, out);

    if (field->type == CONFIG_WORDS)
        return add_word(source, field, s, place);
    if (field->type == CONFIG_TABLES)
        return config_fail(source, s->at, (struct span){0}, "each of %s must be a mapping",
                           field->key);
    return add_string(source, field, s, place);
}

static void put_subject(struct buf *b, struct span subject)
{
    bool cut = subject.len > SUBJECT_MAX;

    if (subject.data == NULL)
        return;
    if (cut)
        subject.len = SUBJECT_MAX;
    buf_put_str(b, " \"");
    text_put_safe(b, subject, false);
    buf_put_str(b, cut ? "…\"" : "\"");
}

enum err config_fail(const struct config_source *source, struct config_place at,
                     struct span subject, const char *format, ...)
{
    char message[512];
    struct buf b;
    size_t len;
    va_list args;

    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    buf_init(&b, 2 * LIMIT_PATH);
    text_put_safe(&b, span_str(source->name), false);
    if (at.line > 0)
        buf_printf(&b, ":%zu:%zu", at.line, at.column);
    buf_printf(&b, ": %s", message);
    put_subject(&b, subject);
    if (b.err == ERR_OK) {
        len = b.len < sizeof source->error->text ? b.len : sizeof source->error->text - 1;
        memcpy(source->error->text, b.data, len);
        source->error->text[len] = '\0';
    }
    buf_fini(&b);
    return ERR_CONFIG;
}
