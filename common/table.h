/* Output for a person: aligned columns, and a progress bar for what takes longer than a second. */
#ifndef SEALPOST_COMMON_TABLE_H
#define SEALPOST_COMMON_TABLE_H

#include "common/err.h"
#include "common/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* True when `to` is a terminal that may be styled: NO_COLOR unset or empty, TERM not "dumb". */
bool table_is_styled(FILE *to);
/* Columns that a UTF-8 text takes on a terminal (wcwidth); bytes that are not UTF-8 take one. */
size_t table_width(struct span text);

struct table_column {
    const char *title;
    bool right; /* numbers: aligned to the right */
};

/* A table is filled cell by cell, row by row. Sticky: out of memory, and over LIMIT_TABLE_BYTES of
 * text (ERR_TOO_LARGE), show when it is printed. Cells are made safe for a terminal
 * (text_put_safe); NULL and "" are shown as "-". */
struct table;
/* `columns` is borrowed and outlives the table; 1 to LIMIT_TABLE_COLUMNS. */
enum err table_new(const struct table_column *columns, size_t count, struct table **ret);
void table_free(struct table *t);
void table_cell(struct table *t, const char *text);
void table_span(struct table *t, struct span text);
[[gnu::format(printf, 2, 3)]] void table_cellf(struct table *t, const char *format, ...);
/* Prints the header (bold on a terminal, see above) and all rows; the row that is begun must be
 * full. Without rows it prints nothing. ERR_IO when writing fails. */
enum err table_print(const struct table *t, FILE *to);

/* A line on stderr that is redrawn, when stderr is a terminal, from one second after the start on
 * and at most ten times a second. */
struct progress {
    const char *label;
    uint64_t total; /* 0: not known */
    bool bytes;     /* show counts as sizes */
    bool shown;
    bool active;
    uint64_t start_ms;
    uint64_t drawn_ms;
};
/* `label` is borrowed; `mono_ms` is env_mono_ms() here and below. */
void progress_init(struct progress *p, const char *label, uint64_t total, bool bytes,
                   uint64_t mono_ms);
void progress_update(struct progress *p, uint64_t done, uint64_t mono_ms);
/* Clears the line. Accepts a zeroed struct. */
void progress_fini(struct progress *p);
/* The text of the line, without control characters; `elapsed_ms` since the start. For tests, and
 * for who draws elsewhere. */
#define PROGRESS_SIZE 128
void progress_format(const struct progress *p, uint64_t done, uint64_t elapsed_ms,
                     char out[PROGRESS_SIZE]);

#endif
