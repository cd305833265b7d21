#include "common/config_internal.h"

#include "common/text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void free_strings(struct config_strings *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
}

static void free_tables(const struct config_field *field, struct config_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        config_free(field->fields, (char *)list->items + i * field->item_size);
    free(list->items);
}

static void free_field(const struct config_field *field, void *place)
{
    switch (field->type) {
    case CONFIG_STRING:
    case CONFIG_PATH:
        free(*(char **)place);
        *(char **)place = NULL;
        break;
    case CONFIG_STRINGS:
    case CONFIG_PATHS:
        free_strings(place);
        *(struct config_strings *)place = (struct config_strings){0};
        break;
    case CONFIG_TABLES:
        free_tables(field, place);
        *(struct config_list *)place = (struct config_list){0};
        break;
    case CONFIG_TABLE:
        config_free(field->fields, place);
        break;
    case CONFIG_U64:
    case CONFIG_SIZE_MIB:
    case CONFIG_DURATION:
        *(uint64_t *)place = 0;
        break;
    case CONFIG_BOOL:
        *(bool *)place = false;
        break;
    case CONFIG_ENUM:
        *(unsigned *)place = 0;
        break;
    case CONFIG_WORDS:
        *(uint32_t *)place = 0;
        break;
    }
}

void config_free(const struct config_field *table, void *out)
{
    for (; table->key != NULL; table++)
        free_field(table, (char *)out + table->offset);
}

/* ---- the reference ---- */

static void print_words(const struct config_field *field, FILE *to)
{
    for (size_t i = 0; field->words[i] != NULL; i++)
        (void)fprintf(to, "%s%s", i == 0 ? "" : " | ", field->words[i]);
}

static void print_range(const struct config_field *field, FILE *to)
{
    if (field->max != 0)
        (void)fprintf(to, ", %" PRIu64 " to %" PRIu64, field->min, field->max);
    else if (field->min != 0)
        (void)fprintf(to, ", at least %" PRIu64, field->min);
}

static void print_durations(const struct config_field *field, FILE *to)
{
    char from[TEXT_DURATION_SIZE];
    char upto[TEXT_DURATION_SIZE];

    text_duration(field->min, from);
    text_duration(field->max, upto);
    if (field->max != 0)
        (void)fprintf(to, ", %s to %s", from, upto);
    else if (field->min != 0)
        (void)fprintf(to, ", at least %s", from);
}

static void print_type(const struct config_field *field, FILE *to)
{
    switch (field->type) {
    case CONFIG_STRING:
        (void)fprintf(to, "text, at most %" PRIu64 " bytes", config_max(field));
        break;
    case CONFIG_PATH:
        (void)fputs("path", to);
        break;
    case CONFIG_U64:
        (void)fputs("number", to);
        print_range(field, to);
        break;
    case CONFIG_SIZE_MIB:
        (void)fputs("size in MiB", to);
        print_range(field, to);
        break;
    case CONFIG_DURATION:
        (void)fputs("duration", to);
        print_durations(field, to);
        break;
    case CONFIG_BOOL:
        (void)fputs("true | false", to);
        break;
    case CONFIG_ENUM:
        print_words(field, to);
        break;
    case CONFIG_WORDS:
        (void)fputs("list of ", to);
        print_words(field, to);
        break;
    case CONFIG_STRINGS:
        (void)fprintf(to, "list of texts, at most %zu", config_items_max(field));
        break;
    case CONFIG_PATHS:
        (void)fprintf(to, "list of paths, at most %zu", config_items_max(field));
        break;
    case CONFIG_TABLE:
        (void)fputs("mapping", to);
        break;
    case CONFIG_TABLES:
        (void)fprintf(to, "list of mappings, at most %zu", config_items_max(field));
        break;
    }
}

static void print_table(const struct config_field *table, int indent, FILE *to)
{
    for (const struct config_field *f = table; f->key != NULL; f++) {
        (void)fprintf(to, "%*s%s: ", indent, "", f->key);
        print_type(f, to);
        if (f->required)
            (void)fputs("; required", to);
        else if (f->fallback != NULL)
            (void)fprintf(to, "; default %s", f->fallback);
        (void)fputc('\n', to);
        if (f->help != NULL)
            (void)fprintf(to, "%*s%s\n", indent + 4, "", f->help);
        if (f->fields != NULL)
            print_table(f->fields, indent + 4, to);
    }
}

void config_print_help(const struct config_field *table, FILE *to)
{
    print_table(table, 0, to);
}
