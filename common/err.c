#include "common/err.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

struct err_row {
    const char *code;
    enum err_class class;
    int exit;
    const char *meaning;
    const char *next;
};

static const struct err_row rows[ERR_COUNT] = {
#define X(sym, code, cls, exit, meaning, next) \
    [ERR_##sym] = {code, ERR_CLASS_##cls, exit, meaning, next},
#include "common/errors.def"
#undef X
};

static const struct err_row *row_of(enum err e)
{
    assert((size_t)e < ERR_COUNT);
    return &rows[e];
}

const char *err_code(enum err e)
{
    return row_of(e)->code;
}

enum err_class err_class(enum err e)
{
    return row_of(e)->class;
}

int err_exit(enum err e)
{
    return row_of(e)->exit;
}

const char *err_meaning(enum err e)
{
    return row_of(e)->meaning;
}

const char *err_next(enum err e)
{
    return row_of(e)->next;
}

enum err err_from_code(const char *code)
{
    for (size_t i = 0; i < ERR_COUNT; i++) {
        if (strcmp(rows[i].code, code) == 0)
            return (enum err)i;
    }
    return ERR_MALFORMED;
}
