#include "common/config_internal.h"

#include "common/file.h"
#include "common/text.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

/* libyaml's events, one at a time. */
struct reader {
    struct config_source source;
    yaml_parser_t parser;
    yaml_event_t event; /* the current one; owned */
};

static struct config_place place_of(yaml_mark_t mark)
{
    return (struct config_place){.line = mark.line + 1, .column = mark.column + 1};
}

static struct config_place here(const struct reader *r)
{
    return place_of(r->event.start_mark);
}

static enum err refuse_extras(const struct reader *r)
{
    const yaml_char_t *anchor = NULL;
    const yaml_char_t *tag = NULL;

    switch (r->event.type) {
    case YAML_ALIAS_EVENT:
        return config_fail(&r->source, here(r), (struct span){0}, "aliases are not allowed");
    case YAML_SCALAR_EVENT:
        anchor = r->event.data.scalar.anchor;
        tag = r->event.data.scalar.tag;
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = r->event.data.sequence_start.anchor;
        tag = r->event.data.sequence_start.tag;
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = r->event.data.mapping_start.anchor;
        tag = r->event.data.mapping_start.tag;
        break;
    default:
        break;
    }
    if (anchor != NULL)
        return config_fail(&r->source, here(r), (struct span){0}, "anchors are not allowed");
    if (tag != NULL)
        return config_fail(&r->source, here(r), (struct span){0}, "tags are not allowed");
    return ERR_OK;
}

static enum err next(struct reader *r)
{
    yaml_event_delete(&r->event);
    memset(&r->event, 0, sizeof r->event);
    if (yaml_parser_parse(&r->parser, &r->event))
        return refuse_extras(r);
    if (r->parser.error == YAML_MEMORY_ERROR)
        return ERR_NO_MEMORY;
    return config_fail(&r->source, place_of(r->parser.problem_mark), (struct span){0}, "%s",
                       r->parser.problem != NULL ? r->parser.problem : "not YAML");
}

static struct config_scalar scalar_of(const struct reader *r)
{
    return (struct config_scalar){
        .text = span_of(r->event.data.scalar.value, r->event.data.scalar.length),
        .quoted = r->event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE,
        .at = here(r)};
}

static void *below(const struct config_field *field, void *out)
{
    return (char *)out + field->offset;
}

static enum err read_mapping(struct reader *r, const struct config_field *table, void *out);

/* Room for one more mapping at the end of the list, zeroed and counted. */
static enum err add_table(const struct config_field *field, struct config_list *list, void **ret)
{
    char *items = realloc(list->items, (list->count + 1) * field->item_size);

    if (items == NULL)
        return ERR_NO_MEMORY;
    list->items = items;
    *ret = items + list->count * field->item_size;
    memset(*ret, 0, field->item_size);
    list->count++;
    return ERR_OK;
}

static enum err read_item(struct reader *r, const struct config_field *field, void *out)
{
    struct config_scalar scalar;
    void *item = NULL;
    enum err e;

    if (r->event.type == YAML_SCALAR_EVENT) {
        scalar = scalar_of(r);
        return config_add_scalar(&r->source, field, &scalar, out);
    }
    if (r->event.type != YAML_MAPPING_START_EVENT || field->type != CONFIG_TABLES)
        return config_fail(&r->source, here(r), (struct span){0},
                           field->type == CONFIG_TABLES ? "each of %s must be a mapping"
                                                        : "each of %s must be one word or text",
                           field->key);
    e = add_table(field, below(field, out), &item);
    return e == ERR_OK ? read_mapping(r, field->fields, item) : e;
}

static enum err read_list(struct reader *r, const struct config_field *field, void *out)
{
    size_t count = 0;
    enum err e;

    for (e = next(r); e == ERR_OK && r->event.type != YAML_SEQUENCE_END_EVENT; e = next(r)) {
        if (++count > config_items_max(field))
            return config_fail(&r->source, here(r), (struct span){0}, "%s has more than %zu items",
                               field->key, config_items_max(field));
        e = read_item(r, field, out);
        if (e != ERR_OK)
            break;
    }
    return e;
}

static enum err read_value(struct reader *r, const struct config_field *field, void *out)
{
    struct config_scalar scalar;

    switch (r->event.type) {
    case YAML_SCALAR_EVENT:
        scalar = scalar_of(r);
        return config_put_scalar(&r->source, field, &scalar, out);
    case YAML_SEQUENCE_START_EVENT:
        if (!config_is_list(field->type))
            break;
        return read_list(r, field, out);
    case YAML_MAPPING_START_EVENT:
        if (field->type != CONFIG_TABLE)
            break;
        return read_mapping(r, field->fields, below(field, out));
    default:
        break;
    }
    return config_fail(&r->source, here(r), (struct span){0}, "%s must be %s", field->key,
                       config_is_list(field->type)   ? "a list"
                       : field->type == CONFIG_TABLE ? "a mapping"
                                                     : "one value");
}

/* The field of the key that is the current event, marked as seen. */
static enum err read_key(struct reader *r, const struct config_field *table,
                         bool seen[LIMIT_CONFIG_FIELDS], const struct config_field **ret)
{
    struct config_scalar key;

    if (r->event.type != YAML_SCALAR_EVENT)
        return config_fail(&r->source, here(r), (struct span){0}, "a key must be one word");
    key = scalar_of(r);
    for (size_t i = 0; table[i].key != NULL; i++) {
        if (!span_equal(key.text, span_str(table[i].key)))
            continue;
        if (seen[i])
            return config_fail(&r->source, key.at, key.text, "given twice:");
        seen[i] = true;
        *ret = &table[i];
        return ERR_OK;
    }
    return config_fail(&r->source, key.at, key.text, "unknown key");
}

/* Defaults of what was not given. */
static enum err fill_rest(const struct reader *r, const struct config_field *table,
                          const bool seen[LIMIT_CONFIG_FIELDS], struct config_place at, void *out)
{
    static const bool none[LIMIT_CONFIG_FIELDS];
    enum err e = ERR_OK;

    for (size_t i = 0; table[i].key != NULL && e == ERR_OK; i++) {
        const struct config_field *field = &table[i];

        if (seen[i])
            continue;
        if (field->required)
            return config_fail(&r->source, at, span_str(field->key), "missing key");
        if (field->type == CONFIG_TABLE) {
            e = fill_rest(r, field->fields, none, at, below(field, out));
        } else if (field->fallback != NULL) {
            struct config_scalar scalar = {.text = span_str(field->fallback),
                                           .quoted = field->type == CONFIG_STRING};

            assert(!config_is_list(field->type));
            e = config_put_scalar(&r->source, field, &scalar, out);
            assert(e != ERR_CONFIG); /* a default that its own field refuses */
        }
    }
    return e;
}

/* Reads from the current event, the start of a mapping, to its end. */
static enum err read_mapping(struct reader *r, const struct config_field *table, void *out)
{
    struct config_place start = here(r);
    bool seen[LIMIT_CONFIG_FIELDS] = {false};
    enum err e;

    for (e = next(r); e == ERR_OK && r->event.type != YAML_MAPPING_END_EVENT; e = next(r)) {
        const struct config_field *field = NULL;

        e = read_key(r, table, seen, &field);
        if (e == ERR_OK)
            e = next(r);
        if (e == ERR_OK)
            e = read_value(r, field, out);
        if (e != ERR_OK)
            break;
    }
    return e == ERR_OK ? fill_rest(r, table, seen, start, out) : e;
}

static enum err expect(struct reader *r, yaml_event_type_t type, const char *otherwise)
{
    enum err e = next(r);

    if (e != ERR_OK || r->event.type == type)
        return e;
    return config_fail(&r->source, here(r), (struct span){0}, "%s", otherwise);
}

static enum err read_stream(struct reader *r, const struct config_field *table, void *out)
{
    enum err e = expect(r, YAML_STREAM_START_EVENT, "not YAML");

    if (e == ERR_OK)
        e = expect(r, YAML_DOCUMENT_START_EVENT, "the file is empty");
    if (e == ERR_OK)
        e = expect(r, YAML_MAPPING_START_EVENT, "the file must be a mapping of keys to values");
    if (e == ERR_OK)
        e = read_mapping(r, table, out);
    if (e == ERR_OK)
        e = expect(r, YAML_DOCUMENT_END_EVENT, "nothing may follow the mapping");
    if (e == ERR_OK)
        e = expect(r, YAML_STREAM_END_EVENT, "a second document is not allowed");
    return e;
}

/* The first byte that cannot be: NUL, or not UTF-8. */
static enum err check_bytes(const struct config_source *source, struct span text)
{
    struct config_place at = {1, 1};
    size_t from = 0;

    if (span_is_utf8(text))
        return ERR_OK;
    while (from < text.len) {
        size_t to = from;
        uint32_t c = 0;

        (void)text_utf8_next(text, &to, &c);
        if (!span_is_utf8(span_of(text.data + from, to - from)))
            break;
        from = to;
        at.column = c == '\n' ? 1 : at.column + 1;
        at.line += c == '\n';
    }
    return config_fail(source, at, (struct span){0}, "not UTF-8 text");
}

static size_t table_len(const struct config_field *table)
{
    size_t count = 0;

    while (table[count].key != NULL)
        count++;
    return count;
}

static void check_table(const struct config_field *table)
{
    size_t count = table_len(table);

    assert(count <= LIMIT_CONFIG_FIELDS);
    for (size_t i = 0; i < count; i++) {
        if (table[i].fields != NULL)
            check_table(table[i].fields);
    }
}

enum err config_parse(const char *name, const char *text, size_t text_len,
                      const struct config_field *table, void *out, size_t out_size,
                      struct config_error *error)
{
    struct reader r = {.source = {.name = name, .error = error}};
    struct config_place nowhere = {0};
    enum err e;

    check_table(table);
    *error = (struct config_error){"out of memory"};
    memset(out, 0, out_size);
    if (file_parent(name, r.source.dir, sizeof r.source.dir) != ERR_OK)
        return config_fail(&r.source, nowhere, (struct span){0}, "the path is too long");
    if (text_len > LIMIT_CONFIG)
        return config_fail(&r.source, nowhere, (struct span){0}, "more than %zu bytes",
                           LIMIT_CONFIG);
    e = check_bytes(&r.source, span_of(text, text_len));
    if (e != ERR_OK)
        return e;
    if (!yaml_parser_initialize(&r.parser))
        return ERR_NO_MEMORY;
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, text_len);
    e = read_stream(&r, table, out);
    yaml_event_delete(&r.event);
    yaml_parser_delete(&r.parser);
    if (e != ERR_OK) {
        config_free(table, out);
        memset(out, 0, out_size);
    } else {
        error->text[0] = '\0';
    }
    return e;
}

enum err config_load(const char *path, const struct config_field *table, void *out, size_t out_size,
                     struct config_error *error)
{
    struct config_source source = {.name = path, .error = error};
    struct config_place nowhere = {0};
    struct buf b;
    enum err e = file_read(path, LIMIT_CONFIG, &b);

    memset(out, 0, out_size);
    switch (e) {
    case ERR_OK:
        e = config_parse(path, (const char *)b.data, b.len, table, out, out_size, error);
        buf_fini(&b);
        return e;
    case ERR_TOO_LARGE:
        return config_fail(&source, nowhere, (struct span){0}, "more than %zu bytes", LIMIT_CONFIG);
    case ERR_NOT_FOUND:
        return config_fail(&source, nowhere, (struct span){0}, "no such file");
    case ERR_NOT_ALLOWED:
        return config_fail(&source, nowhere, (struct span){0},
                           "no permission to read, or not a regular file");
    default:
        (void)!config_fail(&source, nowhere, (struct span){0}, "%s", err_meaning(e));
        return e;
    }
}
