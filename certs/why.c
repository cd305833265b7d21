#include "certs/why.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum err why_set(struct why *w, enum err e, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(w->text, sizeof(w->text), format, args);
    va_end(args);
    return e;
}

void why_prefix(struct why *w, const char *format, ...)
{
    char place[WHY_TEXT];
    va_list args;
    va_start(args, format);
    vsnprintf(place, sizeof(place), format, args);
    va_end(args);
    char rest[WHY_TEXT];
    memcpy(rest, w->text, sizeof(rest));
    int room = (int)sizeof(w->text) - 1 - (int)strlen(place) - 2;
    if (room < 0)
        room = 0;
    snprintf(w->text, sizeof(w->text), "%.200s: %.*s", place, room, rest);
}
