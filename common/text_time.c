#include "common/text.h"

#include <stdio.h>
#include <string.h>

#define MS_PER_SECOND ((uint64_t)1000)
#define MS_PER_MINUTE (60 * MS_PER_SECOND)
#define MS_PER_HOUR (60 * MS_PER_MINUTE)
#define MS_PER_DAY (24 * MS_PER_HOUR)
/* Days from 0000-03-01 to 1970-01-01 in the proleptic Gregorian calendar. */
#define DAYS_TO_1970 719468

struct duration_unit {
    const char *name;
    uint64_t ms;
};

static const struct duration_unit units[] = {
    {"d", MS_PER_DAY}, {"h", MS_PER_HOUR}, {"m", MS_PER_MINUTE}, {"s", MS_PER_SECOND}, {"ms", 1},
};

#define UNITS (sizeof(units) / sizeof(units[0]))

struct date {
    unsigned year;
    unsigned month; /* from 1 */
    unsigned day;   /* from 1 */
};

/* The year is counted from March, so that the leap day is its last day and months follow one
 * formula: 153 days for each five of them. */
static uint64_t days_of_date(struct date d)
{
    unsigned year = d.month < 3 ? d.year - 1 : d.year;
    unsigned month = d.month < 3 ? d.month + 9 : d.month - 3;
    uint64_t days = (uint64_t)year * 365 + year / 4 - year / 100 + year / 400;

    return days + (153 * month + 2) / 5 + d.day - 1 - DAYS_TO_1970;
}

static struct date date_of_days(uint64_t days_since_1970)
{
    uint64_t days = days_since_1970 + DAYS_TO_1970;
    uint64_t era = days / 146097; /* of 400 years */
    unsigned day = (unsigned)(days % 146097);
    unsigned year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    unsigned day_of_year = day - (365 * year + year / 4 - year / 100);
    unsigned month = (5 * day_of_year + 2) / 153;
    struct date d = {
        .year = (unsigned)(era * 400) + year,
        .month = month < 10 ? month + 3 : month - 9,
        .day = day_of_year - (153 * month + 2) / 5 + 1,
    };

    if (d.month < 3)
        d.year++;
    return d;
}

static unsigned days_in_month(unsigned year, unsigned month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

    return month == 2 && leap ? 29U : days[month - 1];
}

void text_time(uint64_t ms, char out[TEXT_TIME_SIZE])
{
    uint64_t t = ms > TEXT_TIME_MS_MAX ? TEXT_TIME_MS_MAX : ms;
    struct date d = date_of_days(t / MS_PER_DAY);
    unsigned of_day = (unsigned)(t % MS_PER_DAY);
    char text[64];

    snprintf(text, sizeof(text), "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ", d.year, d.month, d.day,
             of_day / (unsigned)MS_PER_HOUR, of_day / (unsigned)MS_PER_MINUTE % 60,
             of_day / (unsigned)MS_PER_SECOND % 60, of_day % 1000);
    memcpy(out, text, TEXT_TIME_SIZE);
}

/* Reads `len` digits and, when `after` is not NUL, the character that has to follow. */
static unsigned read_digits(struct rd *r, size_t len, char after)
{
    struct span digits = rd_bytes(r, len);
    unsigned value = 0;

    for (size_t i = 0; i < digits.len; i++) {
        if (digits.data[i] < '0' || digits.data[i] > '9')
            r->err = ERR_MALFORMED;
        value = value * 10 + (digits.data[i] & 15U);
    }
    if (after != '\0' && rd_u8(r) != (uint8_t)after)
        r->err = ERR_MALFORMED;
    return value;
}

/* The fraction after its point, up to and with the 'Z', in milliseconds. */
static unsigned read_fraction(struct rd *r)
{
    unsigned ms = 0, count = 0;
    uint8_t c;

    for (c = rd_u8(r); c >= '0' && c <= '9'; c = rd_u8(r)) {
        count++;
        if (count <= 3)
            ms = ms * 10 + (c & 15U);
    }
    for (unsigned i = count; i < 3; i++)
        ms *= 10;
    if (count < 1 || count > 9 || c != 'Z')
        r->err = ERR_MALFORMED;
    return ms;
}

enum err text_time_parse(struct span text, uint64_t *ms)
{
    struct rd r = rd_of(text);
    struct date d;
    unsigned hour, minute, second, fraction = 0;
    uint8_t mark;

    d.year = read_digits(&r, 4, '-');
    d.month = read_digits(&r, 2, '-');
    d.day = read_digits(&r, 2, 'T');
    hour = read_digits(&r, 2, ':');
    minute = read_digits(&r, 2, ':');
    second = read_digits(&r, 2, '\0');
    mark = rd_u8(&r);
    if (mark == '.')
        fraction = read_fraction(&r);
    else if (mark != 'Z')
        return ERR_MALFORMED;
    if (rd_end(&r) != ERR_OK || d.year < 1970 || d.month < 1 || d.month > 12 || d.day < 1 ||
        d.day > days_in_month(d.year, d.month) || hour > 23 || minute > 59 || second > 59)
        return ERR_MALFORMED;
    *ms = days_of_date(d) * MS_PER_DAY + hour * MS_PER_HOUR + minute * MS_PER_MINUTE +
          second * MS_PER_SECOND + fraction;
    return ERR_OK;
}

void text_duration(uint64_t ms, char out[TEXT_DURATION_SIZE])
{
    size_t i = 0;

    while (ms % units[i].ms != 0)
        i++;
    if (ms == 0)
        snprintf(out, TEXT_DURATION_SIZE, "0s");
    else
        snprintf(out, TEXT_DURATION_SIZE, "%llu%s", (unsigned long long)(ms / units[i].ms),
                 units[i].name);
}

enum err text_duration_parse(struct span text, uint64_t *ms)
{
    size_t digits = 0;
    uint64_t count;
    enum err e;

    if (text.len == 0)
        return ERR_MALFORMED;
    while (digits < text.len && text.data[digits] >= '0' && text.data[digits] <= '9')
        digits++;
    for (size_t i = 0; i < UNITS; i++) {
        struct span unit = span_of(text.data + digits, text.len - digits);

        if (!span_equal(unit, span_str(units[i].name)))
            continue;
        e = text_u64_parse(span_of(text.data, digits), 0, UINT64_MAX / units[i].ms, &count);
        if (e == ERR_OK)
            *ms = count * units[i].ms;
        return e;
    }
    return ERR_MALFORMED;
}

enum err text_since_parse(struct span text, uint64_t now_ms, uint64_t *ms)
{
    uint64_t ago;
    enum err e;

    if (text_time_parse(text, ms) == ERR_OK)
        return ERR_OK;
    e = text_duration_parse(text, &ago);
    if (e == ERR_OK)
        *ms = ago < now_ms ? now_ms - ago : 0;
    return e;
}

void text_size(uint64_t bytes, char out[TEXT_SIZE_SIZE])
{
    static const char prefixes[] = "KMGTPE";
    uint64_t tenths, unit = 1024;
    size_t i = 0;

    if (bytes < 1024) {
        snprintf(out, TEXT_SIZE_SIZE, "%u B", (unsigned)bytes);
        return;
    }
    while (bytes / unit >= 1024 && i < sizeof(prefixes) - 2) {
        unit *= 1024;
        i++;
    }
    tenths = bytes / unit * 10 + (bytes % unit * 10 + unit / 2) / unit;
    /* 1023.96 MiB rounds to 1.0 GiB, not to 1024.0 MiB. */
    if (tenths >= 10240 && i < sizeof(prefixes) - 2) {
        tenths = 10;
        i++;
    }
    snprintf(out, TEXT_SIZE_SIZE, "%u.%u %ciB", (unsigned)(tenths / 10), (unsigned)(tenths % 10),
             prefixes[i]);
}
