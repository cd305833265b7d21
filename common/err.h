/* Errors: one enum for the whole tree.
 *
 * Every fallible function returns `enum err` and writes its results, the last parameters, only on
 * ERR_OK. Libraries and cores never log; whoever decides what to do about an error logs it once. */
#ifndef SEALPOST_COMMON_ERR_H
#define SEALPOST_COMMON_ERR_H

/* clang-format off */
enum [[nodiscard]] err {
#define X(sym, code, cls, exit, meaning, next) ERR_##sym,
#include "common/errors.def"
#undef X
    ERR_COUNT
};
/* clang-format on */

/* What a failure asks for. */
enum err_class {
    ERR_CLASS_PEER,  /* the other side is at fault: refuse and count */
    ERR_CLASS_RETRY, /* passing: back off and repeat with the same id */
    ERR_CLASS_LOCAL, /* our side: report or stop */
};

/* The code text that people, JSON and the wire see, such as "bad-signature". Never NULL. */
const char *err_code(enum err e);
enum err_class err_class(enum err e);
/* Exit code of a command that ends with `e` (shared table of exit codes: README). */
int err_exit(enum err e);
/* One line: what it means; what to do next. Never NULL. */
const char *err_meaning(enum err e);
const char *err_next(enum err e);
/* The error whose code text is `code`; ERR_MALFORMED for an unknown text, since a peer sent it. */
enum err err_from_code(const char *code);

#endif
