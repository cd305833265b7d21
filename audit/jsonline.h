/* JSON for --json: one object on one line. Numbers above 2^53 are written as strings, as the
 * interface says. Errors stick to the buffer and show when the line is printed. */
#ifndef SEALPOST_AUDIT_JSONLINE_H
#define SEALPOST_AUDIT_JSONLINE_H

#include "common/span.h"

#include <stdio.h>

#define JSONLINE_DEPTH 8

struct jsonline {
    struct buf b;
    unsigned depth;
    bool empty[JSONLINE_DEPTH]; /* nothing in it yet, by depth */
    char ends[JSONLINE_DEPTH];
};

/* Begins with the object open. */
void jsonline_init(struct jsonline *j);
void jsonline_fini(struct jsonline *j);
/* `key` is NULL inside arrays, here and below. */
void jsonline_object(struct jsonline *j, const char *key);
void jsonline_array(struct jsonline *j, const char *key);
void jsonline_close(struct jsonline *j);
void jsonline_text(struct jsonline *j, const char *key, const char *value);
void jsonline_hex(struct jsonline *j, const char *key, struct span value);
void jsonline_u64(struct jsonline *j, const char *key, uint64_t value);
void jsonline_bool(struct jsonline *j, const char *key, bool value);
/* RFC 3339; null for 0. */
void jsonline_time(struct jsonline *j, const char *key, uint64_t ms);
/* Closes what is open, prints the line, and begins the next. ERR_IO when writing fails. */
enum err jsonline_print(struct jsonline *j, FILE *to);

#endif
