#include "certs/cmd.h"

#include "common/table.h"
#include "common/text.h"

#include <stdarg.h>
#include <string.h>

#define COLUMNS_MAX 8
#define LINE_MAX_TEXT 512

void facts_init(struct facts *f, const struct cli *args)
{
    *f = (struct facts){.json = cli_flag(args, "json"), .object = json_object()};
}

void facts_text(struct facts *f, const char *key, const char *value)
{
    json_object_set_new(f->object, key, json_string(value));
}

void facts_number(struct facts *f, const char *key, uint64_t value)
{
    json_object_set_new(f->object, key, json_integer((json_int_t)value));
}

void facts_flag(struct facts *f, const char *key, bool value)
{
    json_object_set_new(f->object, key, json_boolean(value));
}

json_t *facts_time_json(uint64_t ms)
{
    char text[TEXT_TIME_SIZE];
    text_time(ms, text);
    return json_string(text);
}

json_t *facts_hex_json(struct span bytes)
{
    char text[2 * 64 + 1] = "";
    if (bytes.len <= 64)
        text_hex(bytes, text);
    return json_string(text);
}

json_t *facts_fingerprint_json(struct span public_key)
{
    char text[FINGERPRINT_TEXT];
    key_fingerprint(public_key, text);
    return json_string(text);
}

void facts_time(struct facts *f, const char *key, uint64_t ms)
{
    json_object_set_new(f->object, key, facts_time_json(ms));
}

void facts_hex(struct facts *f, const char *key, struct span bytes)
{
    json_object_set_new(f->object, key, facts_hex_json(bytes));
}

void facts_key(struct facts *f, struct span public_key)
{
    facts_hex(f, "public_key", public_key);
    json_object_set_new(f->object, "fingerprint", facts_fingerprint_json(public_key));
}

void facts_list(struct facts *f, const char *key, json_t *list)
{
    json_object_set_new(f->object, key, list);
}

void facts_texts(struct facts *f, const char *key, char *const *texts, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_string(texts[i]));
    facts_list(f, key, list);
}

/* A value on one line. */
static void value_text(const json_t *value, char out[LINE_MAX_TEXT])
{
    size_t used = 0, i;
    json_t *item;
    out[0] = '\0';
    if (json_is_string(value))
        snprintf(out, LINE_MAX_TEXT, "%s", json_string_value(value));
    else if (json_is_integer(value))
        snprintf(out, LINE_MAX_TEXT, "%lld", (long long)json_integer_value(value));
    else if (json_is_boolean(value))
        snprintf(out, LINE_MAX_TEXT, "%s", json_is_true(value) ? "yes" : "no");
    else if (json_is_array(value)) {
        json_array_foreach(value, i, item)
        {
            if (used < LINE_MAX_TEXT - 1 && json_is_string(item)) {
                int len = snprintf(out + used, LINE_MAX_TEXT - used, "%s%s", i == 0 ? "" : " ",
                                   json_string_value(item));
                used += len > 0 ? (size_t)len : 0;
            }
        }
    }
}

static bool is_table(const json_t *value)
{
    return json_is_array(value) && json_is_object(json_array_get(value, 0));
}

/* Columns are the keys of the first row. */
static void print_table(json_t *rows)
{
    struct table_column columns[COLUMNS_MAX];
    size_t n = 0, i;
    const char *key;
    json_t *value, *row;
    struct table *t = NULL;
    json_object_foreach(json_array_get(rows, 0), key, value)
    {
        if (n < COLUMNS_MAX)
            columns[n++] = (struct table_column){.title = key, .right = json_is_integer(value)};
    }
    if (table_new(columns, n, &t) != ERR_OK)
        return;
    json_array_foreach(rows, i, row)
    {
        for (size_t c = 0; c < n; c++) {
            char text[LINE_MAX_TEXT];
            value_text(json_object_get(row, columns[c].title), text);
            table_cell(t, text);
        }
    }
    if (table_print(t, stdout) != ERR_OK)
        clearerr(stdout);
    table_free(t);
}

static void print_lines(json_t *object)
{
    const char *key;
    json_t *value;
    int width = 0;
    json_object_foreach(object, key, value)
    {
        if (!is_table(value) && (int)strlen(key) > width)
            width = (int)strlen(key);
    }
    json_object_foreach(object, key, value)
    {
        char text[LINE_MAX_TEXT], label[64];
        if (is_table(value))
            continue;
        value_text(value, text);
        snprintf(label, sizeof(label), "%s", key);
        for (char *p = label; *p != '\0'; p++) {
            if (*p == '_')
                *p = ' ';
        }
        printf("  %-*s  ", width, label);
        text_print_safe(stdout, span_str(text[0] == '\0' ? "-" : text), false);
        putchar('\n');
    }
    json_object_foreach(object, key, value)
    {
        if (is_table(value)) {
            printf("\n%s\n", key);
            print_table(value);
        }
    }
}

int facts_print(struct facts *f, const char *sentence, ...)
{
    if (f->json) {
        json_dumpf(f->object, stdout, JSON_COMPACT);
        putchar('\n');
    } else {
        va_list args;
        va_start(args, sentence);
        vprintf(sentence, args);
        va_end(args);
        putchar('\n');
        print_lines(f->object);
    }
    json_decref(f->object);
    f->object = NULL;
    return fflush(stdout) == 0 ? 0 : err_exit(ERR_IO);
}
