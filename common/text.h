/* Text forms that people, JSON and files see: hex, base64, times, durations, sizes, names, numbers;
 * and text of strangers made harmless for a terminal.
 *
 * Everything that parses is strict: one text per value, no white space, no sign. Nothing here
 * depends on the locale. */
#ifndef SEALPOST_COMMON_TEXT_H
#define SEALPOST_COMMON_TEXT_H

#include "common/err.h"
#include "common/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Hex in lower case (RFC 4648 section 8 with a-f). `out` has 2 * bytes.len + 1 characters. */
void text_hex(struct span bytes, char *out);
void text_put_hex(struct buf *b, struct span bytes);
/* Exactly 2 * out_len digits 0-9 a-f, else ERR_MALFORMED. */
enum err text_hex_decode(struct span text, size_t out_len, uint8_t *out);

/* Base64 with the standard alphabet and padding (RFC 4648 section 4). */
void text_put_base64(struct buf *b, struct span bytes);
/* Appends the bytes to `out`, which has its maximum. Canonical text only: padding is there, its
 * trailing bits are zero, no white space. ERR_MALFORMED; ERR_TOO_LARGE or ERR_NO_MEMORY from the
 * buffer. On failure nothing is appended. */
enum err text_base64_decode(struct span text, struct buf *out);
/* As above for a value of a known length; ERR_MALFORMED when it is another. */
enum err text_base64_decode_exact(struct span text, size_t out_len, uint8_t *out);

/* Times: RFC 3339 in UTC, milliseconds since 1970 (no leap seconds). */
#define TEXT_TIME_SIZE 25                            /* NUL included */
#define TEXT_TIME_MS_MAX ((uint64_t)253402300799999) /* 9999-12-31T23:59:59.999Z */
/* "2026-11-24T06:10:00.000Z". A time above TEXT_TIME_MS_MAX is written as that. */
void text_time(uint64_t ms, char out[TEXT_TIME_SIZE]);
/* Takes "2026-11-24T06:10:00Z" and fractions of 1 to 9 digits (cut to milliseconds); capital T and
 * Z only, years 1970 to 9999, no leap second. ERR_MALFORMED. */
enum err text_time_parse(struct span text, uint64_t *ms);

/* Durations: decimal digits and one of ms, s, m, h, d: "500ms", "30s", "5m", "2h", "14d". */
#define TEXT_DURATION_SIZE 24 /* NUL included */
/* In the largest unit that divides it; 0 is "0s". */
void text_duration(uint64_t ms, char out[TEXT_DURATION_SIZE]);
/* ERR_MALFORMED, or ERR_TOO_LARGE over UINT64_MAX milliseconds. */
enum err text_duration_parse(struct span text, uint64_t *ms);
/* A point in the past: a time, or a duration before `now_ms` (not before 1970). ERR_MALFORMED,
 * ERR_TOO_LARGE. */
enum err text_since_parse(struct span text, uint64_t now_ms, uint64_t *ms);

/* Sizes for people: "0 B", "1023 B", "1.0 KiB", "1.2 MiB", … "16.0 EiB"; rounded to nearest. */
#define TEXT_SIZE_SIZE 16 /* NUL included */
void text_size(uint64_t bytes, char out[TEXT_SIZE_SIZE]);

/* Decimal digits without sign and leading zeros. ERR_MALFORMED for other text; ERR_TOO_LARGE when
 * outside min to max (inclusive). */
enum err text_u64_parse(struct span text, uint64_t min, uint64_t max, uint64_t *ret);

/* An agency: [A-Z]{2}(\.[A-Z0-9-]{1,24}){1,3}, such as "EE.PPA". */
bool text_is_agency(struct span s);
/* A broker: [a-z][a-z0-9-]{0,31}, such as "tallinn". */
bool text_is_broker(struct span s);
/* Either. */
bool text_is_peer(struct span s);
/* A name of one line, for a case or a file: 1 to `max` bytes of UTF-8 without control characters,
 * line separators and directional overrides (which make names look like others), without '/', and
 * neither "." nor "..". */
bool text_is_name(struct span s, size_t max);

/* The next code point of `s` from `*at` on, which it moves. False at the end. A byte that is not
 * UTF-8 gives U+FFFD and moves by one. */
bool text_utf8_next(struct span s, size_t *at, uint32_t *code_point);
/* Appends one code point; U+FFFD for one that has no UTF-8 form. */
void text_put_utf8(struct buf *b, uint32_t code_point);

/* Text of a stranger, for a terminal: control characters (ESC, C1, DEL), line separators,
 * directional overrides and bytes that are not UTF-8 become U+FFFD. With `lines` newline and tab
 * stay. */
void text_put_safe(struct buf *b, struct span s, bool lines);
/* The same, written to `to`. Write errors show in ferror(). */
void text_print_safe(FILE *to, struct span s, bool lines);

/* Appends `s` as a JSON string with its quotes (RFC 8259 section 7): control characters escaped,
 * bytes that are not UTF-8 as U+FFFD. For the few places that need no JSON library. */
void text_put_json(struct buf *b, struct span s);

#endif
