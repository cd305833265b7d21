#include "common/table.h"

#include "common/limits.h"
#include "common/text.h"

#include <assert.h>
#include <locale.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

#define GAP "  "
#define BOLD "\033[1m"
#define PLAIN "\033[0m"

struct table {
    const struct table_column *columns;
    size_t count;
    struct buf cells; /* texts, each with its NUL */
    size_t cell_count;
    size_t widths[LIMIT_TABLE_COLUMNS];
};

bool table_is_styled(FILE *to)
{
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

    if (no_color != NULL && no_color[0] != '\0')
        return false;
    if (term == NULL || strcmp(term, "dumb") == 0)
        return false;
    return isatty(fileno(to)) == 1;
}

static size_t unicode_width(struct span text)
{
    /* Widths are those of Unicode whatever the process's locale is. */
    locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    locale_t before = utf8 != (locale_t)0 ? uselocale(utf8) : (locale_t)0;
    size_t at = 0, width = 0;
    uint32_t c;

    while (text_utf8_next(text, &at, &c)) {
        int columns = wcwidth((wchar_t)c);

        width += columns < 0 ? 1 : (size_t)columns;
    }
    if (utf8 != (locale_t)0) {
        uselocale(before);
        freelocale(utf8);
    }
    return width;
}

static bool is_ascii(struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < 0x20 || text.data[i] > 0x7e)
            return false;
    }
    return true;
}

size_t table_width(struct span text)
{
    if (is_ascii(text))
        return text.len;
    return unicode_width(text);
}

enum err table_new(const struct table_column *columns, size_t count, struct table **ret)
{
    struct table *t;

    assert(count >= 1);
    assert(count <= LIMIT_TABLE_COLUMNS);
    t = calloc(1, sizeof(*t));
    if (t == NULL)
        return ERR_NO_MEMORY;
    t->columns = columns;
    t->count = count;
    buf_init(&t->cells, LIMIT_TABLE_BYTES);
    for (size_t i = 0; i < count; i++)
        t->widths[i] = table_width(span_str(columns[i].title));
    *ret = t;
    return ERR_OK;
}

void table_free(struct table *t)
{
    if (t == NULL)
        return;
    buf_fini(&t->cells);
    free(t);
}

void table_span(struct table *t, struct span text)
{
    size_t column = t->cell_count % t->count, start = t->cells.len, width;

    text_put_safe(&t->cells, text.len > 0 ? text : span_str("-"), false);
    if (t->cells.err == ERR_OK) {
        width = table_width(span_of(t->cells.data + start, t->cells.len - start));
        if (width > t->widths[column])
            t->widths[column] = width;
    }
    buf_put_u8(&t->cells, 0);
    t->cell_count++;
}

void table_cell(struct table *t, const char *text)
{
    table_span(t, span_str(text));
}

void table_cellf(struct table *t, const char *format, ...)
{
    va_list args;
    char *text = NULL;
    int len;

    va_start(args, format);
    len = vasprintf(&text, format, args);
    va_end(args);
    if (len < 0) {
        t->cells.err = ERR_NO_MEMORY;
        return;
    }
    table_span(t, span_of(text, (size_t)len));
    free(text);
}

/* The last column is not filled up, so that no line ends in spaces. */
static void print_cell(const struct table *t, size_t column, const char *text, FILE *to)
{
    int fill = (int)(t->widths[column] - table_width(span_str(text)));
    bool last = column + 1 == t->count;

    if (t->columns[column].right)
        fprintf(to, "%*s%s", fill, "", text);
    else
        fprintf(to, "%s%*s", text, last ? 0 : fill, "");
    fputs(last ? "" : GAP, to);
}

enum err table_print(const struct table *t, FILE *to)
{
    bool styled = table_is_styled(to);
    const char *text = (const char *)t->cells.data;

    assert(t->cell_count % t->count == 0);
    if (t->cells.err != ERR_OK)
        return t->cells.err;
    if (t->cell_count == 0)
        return ERR_OK;
    fputs(styled ? BOLD : "", to);
    for (size_t i = 0; i < t->count; i++)
        print_cell(t, i, t->columns[i].title, to);
    fputs(styled ? PLAIN "\n" : "\n", to);
    for (size_t i = 0; i < t->cell_count; i++) {
        print_cell(t, i % t->count, text, to);
        if ((i + 1) % t->count == 0)
            fputc('\n', to);
        text += strlen(text) + 1;
    }
    return fflush(to) == 0 && !ferror(to) ? ERR_OK : ERR_IO;
}
