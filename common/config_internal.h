/* What the files of the configuration share. Private to common/config*.c. */
#ifndef SEALPOST_COMMON_CONFIG_INTERNAL_H
#define SEALPOST_COMMON_CONFIG_INTERNAL_H

#include "common/config.h"
#include "common/limits.h"
#include "common/span.h"

/* A place in the file; counts from 1. Line 0: no place. */
struct config_place {
    size_t line;
    size_t column;
};

struct config_source {
    const char *name;
    char dir[LIMIT_PATH]; /* that relative paths start from */
    struct config_error *error;
};

/* A scalar as it stands in the file, or a default. */
struct config_scalar {
    struct span text;
    bool quoted;
    struct config_place at;
};

/* ERR_CONFIG, with "NAME:LINE:COLUMN: message" left in the source's error; `subject` (empty: none)
 * follows the message in quotes, shortened and made harmless. */
[[gnu::format(printf, 4, 5)]] enum err config_fail(const struct config_source *source,
                                                   struct config_place at, struct span subject,
                                                   const char *format, ...);

/* True when the type is a list. */
bool config_is_list(enum config_type type);
size_t config_items_max(const struct config_field *field);
/* The upper bound of numbers in the unit of the file, of texts in bytes. */
uint64_t config_max(const struct config_field *field);

/* Puts one scalar at the field's place below `out`. ERR_CONFIG, ERR_NO_MEMORY. */
enum err config_put_scalar(const struct config_source *source, const struct config_field *field,
                           const struct config_scalar *scalar, void *out);
/* Adds one scalar to the field's list of strings, paths or words below `out`. */
enum err config_add_scalar(const struct config_source *source, const struct config_field *field,
                           const struct config_scalar *scalar, void *out);

#endif
