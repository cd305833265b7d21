/* A sentence for a person that goes with an error: which document, which rule. Never NULL text. */
#ifndef SEALPOST_CERTS_WHY_H
#define SEALPOST_CERTS_WHY_H

#include "common/err.h"

#include <stddef.h>

#define WHY_TEXT 256

struct why {
    char text[WHY_TEXT];
};

/* Formats the sentence (cut when too long) and gives `e` back, so that it can be returned at once.
 */
[[gnu::format(printf, 3, 4)]] enum err why_set(struct why *w, enum err e, const char *format, ...);
/* Puts a place such as a file name before the sentence that is there. */
[[gnu::format(printf, 2, 3)]] void why_prefix(struct why *w, const char *format, ...);

#endif
