#include "common/table.h"
#include "common/text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIRST_MS 1000
#define EVERY_MS 100
#define BAR_WIDTH 20

void progress_init(struct progress *p, const char *label, uint64_t total, bool bytes,
                   uint64_t mono_ms)
{
    const char *term = getenv("TERM");

    *p = (struct progress){
        .label = label,
        .total = total,
        .bytes = bytes,
        .active = isatty(STDERR_FILENO) == 1 && (term == NULL || strcmp(term, "dumb") != 0),
        .start_ms = mono_ms,
    };
}

static void format_count(const struct progress *p, uint64_t count, char out[TEXT_SIZE_SIZE + 8])
{
    if (p->bytes)
        text_size(count, out);
    else
        snprintf(out, TEXT_SIZE_SIZE + 8, "%" PRIu64, count);
}

/* "label [#####     ]  25 %  1.0 MiB of 4.0 MiB  12s left" */
void progress_format(const struct progress *p, uint64_t done, uint64_t elapsed_ms,
                     char out[PROGRESS_SIZE])
{
    char count[TEXT_SIZE_SIZE + 8], total[TEXT_SIZE_SIZE + 8], bar[BAR_WIDTH + 1], left[32] = "";
    double part;

    format_count(p, done, count);
    if (p->total == 0) {
        snprintf(out, PROGRESS_SIZE, "%.40s  %s  %" PRIu64 "s", p->label, count, elapsed_ms / 1000);
        return;
    }
    part = done >= p->total ? 1.0 : (double)done / (double)p->total;
    for (size_t i = 0; i < BAR_WIDTH; i++)
        bar[i] = (double)i < part * BAR_WIDTH ? '#' : ' ';
    bar[BAR_WIDTH] = '\0';
    format_count(p, p->total, total);
    if (part > 0.0)
        snprintf(left, sizeof(left), "  %.0fs left",
                 (double)elapsed_ms / 1000.0 * (1.0 - part) / part);
    snprintf(out, PROGRESS_SIZE, "%.40s [%s] %3u %%  %s of %s%s", p->label, bar,
             (unsigned)(part * 100.0), count, total, left);
}

void progress_update(struct progress *p, uint64_t done, uint64_t mono_ms)
{
    char line[PROGRESS_SIZE];

    if (!p->active || mono_ms - p->start_ms < FIRST_MS)
        return;
    if (p->shown && mono_ms - p->drawn_ms < EVERY_MS)
        return;
    progress_format(p, done, mono_ms - p->start_ms, line);
    fprintf(stderr, "\r\033[K%s", line);
    fflush(stderr);
    p->shown = true;
    p->drawn_ms = mono_ms;
}

void progress_fini(struct progress *p)
{
    if (p->shown) {
        fputs("\r\033[K", stderr);
        fflush(stderr);
    }
    p->active = false;
    p->shown = false;
}
