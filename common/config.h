/* Configuration files: YAML read by one static table per daemon into one struct.
 *
 * The table is the only description: it gives the parser, the checks, the defaults and the
 * reference that --help and the man pages print. A loaded struct is immutable; reloading is loading
 * a second one, and swapping when it is good.
 *
 * The file is UTF-8 without NUL, at most LIMIT_CONFIG bytes, one document whose top is a mapping.
 * Refused with the place of the error: unknown and duplicate keys, missing required keys, wrong
 * types, values out of range, anchors, aliases, tags, and a second document. */
#ifndef SEALPOST_COMMON_CONFIG_H
#define SEALPOST_COMMON_CONFIG_H

#include "common/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* What a field is in the file, and the C type that lies at its offset. */
enum config_type {
    CONFIG_STRING,   /* char *: text without control characters; min/max bound its bytes */
    CONFIG_PATH,     /* char *: as a string; a relative one is taken from the file's directory */
    CONFIG_U64,      /* uint64_t: decimal digits; min/max */
    CONFIG_SIZE_MIB, /* uint64_t in bytes: a count of MiB in the file; min/max in MiB */
    CONFIG_DURATION, /* uint64_t in ms: 500ms, 30s, 5m, 8h or 14d; min/max in ms */
    CONFIG_BOOL,     /* bool: true or false */
    CONFIG_ENUM,     /* unsigned: the index in `words` */
    CONFIG_WORDS,    /* uint32_t: a list of `words` without repeats; bit i stands for words[i] */
    CONFIG_STRINGS,  /* struct config_strings; min/max bound the bytes of each */
    CONFIG_PATHS,    /* struct config_strings, each as CONFIG_PATH */
    CONFIG_TABLE,    /* a struct embedded at the offset, described by `fields`: a mapping */
    CONFIG_TABLES,   /* struct config_list: a list of mappings described by `fields` */
};

struct config_strings {
    char **items;
    size_t count;
};

struct config_list {
    void *items; /* array of `count` structs of `item_size` bytes */
    size_t count;
};

struct config_field {
    const char *key; /* NULL ends the table */
    enum config_type type;
    size_t offset; /* offsetof(struct …, member) */
    bool required;
    /* As it would stand in the file; used when the key is absent. NULL: zero, NULL or empty. Not
     * for lists and tables: an absent CONFIG_TABLE gets the defaults of its fields, and is an error
     * when one of those is required. */
    const char *fallback;
    const char *help;  /* one sentence for the reference */
    uint64_t min, max; /* inclusive; max 0: UINT64_MAX for numbers, LIMIT_CONFIG_TEXT for texts */
    size_t items_max;  /* of a list; 0: LIMIT_CONFIG_ITEMS */
    const char *const *words; /* NULL-terminated, at most 32 for CONFIG_WORDS */
    const struct config_field *fields;
    size_t item_size; /* sizeof of one struct of CONFIG_TABLES */
};

/* Room for one message "FILE:LINE:COLUMN: what is wrong". */
struct config_error {
    char text[1024];
};

/* Reads `path` by `table` into `out`, a zeroed struct that the offsets refer to. On success
 * config_free() owns what hangs below it. On failure `out` is zeroed again (`out_size` bytes) and
 * `error` holds one line for a person. ERR_CONFIG for what the file says or is (also a file that
 * cannot be opened), ERR_NO_MEMORY, ERR_IO. Lines and columns count from 1. */
enum err config_load(const char *path, const struct config_field *table, void *out, size_t out_size,
                     struct config_error *error);
/* As config_load() for a text in memory; `name` stands for FILE, its directory for relative
 * paths. */
enum err config_parse(const char *name, const char *text, size_t text_len,
                      const struct config_field *table, void *out, size_t out_size,
                      struct config_error *error);
/* Frees what a load put below `out` and zeroes the fields; accepts a zeroed struct. */
void config_free(const struct config_field *table, void *out);

/* Prints the reference of the table: per key its type, bounds, default and help; tables indented.
 */
void config_print_help(const struct config_field *table, FILE *to);

#endif
