#include "common/text.h"

static const char hex_digits[] = "0123456789abcdef";
static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_upper(uint8_t c)
{
    return c >= 'A' && c <= 'Z';
}

static bool is_lower(uint8_t c)
{
    return c >= 'a' && c <= 'z';
}

void text_hex(struct span bytes, char *out)
{
    for (size_t i = 0; i < bytes.len; i++) {
        *out++ = hex_digits[bytes.data[i] >> 4];
        *out++ = hex_digits[bytes.data[i] & 15];
    }
    *out = '\0';
}

void text_put_hex(struct buf *b, struct span bytes)
{
    for (size_t i = 0; i < bytes.len; i++) {
        buf_put_u8(b, (uint8_t)hex_digits[bytes.data[i] >> 4]);
        buf_put_u8(b, (uint8_t)hex_digits[bytes.data[i] & 15]);
    }
}

/* The value of a digit, 16 for something else. */
static unsigned hex_value(uint8_t c)
{
    if (is_digit(c))
        return (unsigned)(c - '0');
    return c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10) : 16;
}

enum err text_hex_decode(struct span text, size_t out_len, uint8_t *out)
{
    if (text.len % 2 != 0 || text.len / 2 != out_len)
        return ERR_MALFORMED;
    for (size_t i = 0; i < text.len; i++) {
        if (hex_value(text.data[i]) > 15)
            return ERR_MALFORMED;
    }
    for (size_t i = 0; i < out_len; i++)
        out[i] = (uint8_t)(hex_value(text.data[2 * i]) << 4 | hex_value(text.data[2 * i + 1]));
    return ERR_OK;
}

void text_put_base64(struct buf *b, struct span bytes)
{
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t left = bytes.len - i;
        uint32_t group = (uint32_t)bytes.data[i] << 16;

        if (left > 1)
            group |= (uint32_t)bytes.data[i + 1] << 8;
        if (left > 2)
            group |= bytes.data[i + 2];
        buf_put_u8(b, (uint8_t)base64_digits[group >> 18]);
        buf_put_u8(b, (uint8_t)base64_digits[group >> 12 & 63]);
        buf_put_u8(b, left > 1 ? (uint8_t)base64_digits[group >> 6 & 63] : '=');
        buf_put_u8(b, left > 2 ? (uint8_t)base64_digits[group & 63] : '=');
    }
}

/* The value of a digit, 64 for something else. */
static unsigned base64_value(uint8_t c)
{
    if (is_upper(c))
        return (unsigned)(c - 'A');
    if (is_lower(c))
        return (unsigned)(c - 'a' + 26);
    if (is_digit(c))
        return (unsigned)(c - '0' + 52);
    return c == '+' ? 62 : c == '/' ? 63 : 64;
}

/* Bytes that a canonical text stands for. */
static enum err base64_length(struct span text, size_t *ret)
{
    size_t padding = 0, digits;

    if (text.len % 4 != 0)
        return ERR_MALFORMED;
    while (padding < 2 && padding < text.len && text.data[text.len - 1 - padding] == '=')
        padding++;
    digits = text.len - padding;
    for (size_t i = 0; i < digits; i++) {
        if (base64_value(text.data[i]) > 63)
            return ERR_MALFORMED;
    }
    /* The bits of the last digit that no byte takes. */
    if (padding > 0 && (base64_value(text.data[digits - 1]) & (padding == 1 ? 3U : 15U)) != 0)
        return ERR_MALFORMED;
    *ret = text.len / 4 * 3 - padding;
    return ERR_OK;
}

static void base64_bytes(struct span text, size_t out_len, uint8_t *out)
{
    uint32_t bits = 0;
    unsigned have = 0;

    for (size_t i = 0, n = 0; n < out_len; i++) {
        bits = bits << 6 | base64_value(text.data[i]);
        have += 6;
        if (have >= 8) {
            have -= 8;
            out[n++] = (uint8_t)(bits >> have);
        }
    }
}

enum err text_base64_decode(struct span text, struct buf *out)
{
    size_t len;
    uint8_t *at;
    enum err e = base64_length(text, &len);

    if (e != ERR_OK)
        return e;
    at = buf_extend(out, len);
    if (at == NULL)
        return out->err;
    base64_bytes(text, len, at);
    return ERR_OK;
}

enum err text_base64_decode_exact(struct span text, size_t out_len, uint8_t *out)
{
    size_t len;
    enum err e = base64_length(text, &len);

    if (e != ERR_OK)
        return e;
    if (len != out_len)
        return ERR_MALFORMED;
    base64_bytes(text, len, out);
    return ERR_OK;
}

enum err text_u64_parse(struct span text, uint64_t min, uint64_t max, uint64_t *ret)
{
    uint64_t value = 0;
    bool over = false;

    if (text.len == 0 || (text.len > 1 && text.data[0] == '0'))
        return ERR_MALFORMED;
    for (size_t i = 0; i < text.len; i++) {
        if (!is_digit(text.data[i]))
            return ERR_MALFORMED;
        over |= __builtin_mul_overflow(value, 10U, &value);
        over |= __builtin_add_overflow(value, (uint64_t)(text.data[i] - '0'), &value);
    }
    if (over || value < min || value > max)
        return ERR_TOO_LARGE;
    *ret = value;
    return ERR_OK;
}

/* [A-Z0-9-]{1,24}, up to the next '.' or the end; gives its length, 0 when it is not one. */
static size_t agency_label(struct span s)
{
    size_t n = 0;

    while (n < s.len && s.data[n] != '.') {
        if (!is_upper(s.data[n]) && !is_digit(s.data[n]) && s.data[n] != '-')
            return 0;
        n++;
    }
    return n <= 24 ? n : 0;
}

bool text_is_agency(struct span s)
{
    size_t at = 2, labels = 0;

    if (s.len < 2 || !is_upper(s.data[0]) || !is_upper(s.data[1]))
        return false;
    while (at < s.len) {
        size_t n;

        if (s.data[at] != '.' || ++labels > 3)
            return false;
        at++;
        n = agency_label(span_of(s.data + at, s.len - at));
        if (n == 0)
            return false;
        at += n;
    }
    return labels > 0;
}

bool text_is_broker(struct span s)
{
    if (s.len < 1 || s.len > 32 || !is_lower(s.data[0]))
        return false;
    for (size_t i = 1; i < s.len; i++) {
        if (!is_lower(s.data[i]) && !is_digit(s.data[i]) && s.data[i] != '-')
            return false;
    }
    return true;
}

bool text_is_peer(struct span s)
{
    return text_is_agency(s) || text_is_broker(s);
}

/* Control characters (C0, DEL, C1), the line and paragraph separator, and the directional
 * embeddings, overrides and isolates (UAX 9): they move or hide what stands around them. */
static bool is_unsafe(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c <= 0x9f) || (c >= 0x2028 && c <= 0x202e) ||
           (c >= 0x2066 && c <= 0x2069);
}

bool text_is_name(struct span s, size_t max)
{
    size_t at = 0;
    uint32_t c;

    if (s.len == 0 || s.len > max || !span_is_utf8(s))
        return false;
    if (span_equal(s, span_str(".")) || span_equal(s, span_str("..")))
        return false;
    while (text_utf8_next(s, &at, &c)) {
        if (is_unsafe(c) || c == '/')
            return false;
    }
    return true;
}

/* Length of the well-formed sequence at `p` (RFC 3629 section 4), 0 when there is none. The second
 * byte's range keeps out overlong forms, surrogates and what lies above U+10FFFF. */
static size_t utf8_length(const uint8_t *p, size_t left)
{
    uint8_t low = 0x80, high = 0xbf;
    size_t len;

    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4)
        return 0;
    len = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (p[0] == 0xe0)
        low = 0xa0;
    else if (p[0] == 0xed)
        high = 0x9f;
    else if (p[0] == 0xf0)
        low = 0x90;
    else if (p[0] == 0xf4)
        high = 0x8f;
    if (left < len || p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    }
    return len;
}

bool text_utf8_next(struct span s, size_t *at, uint32_t *code_point)
{
    static const uint8_t lead_bits[5] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    const uint8_t *p;
    uint32_t value;
    size_t len;

    if (*at >= s.len)
        return false;
    p = s.data + *at;
    len = utf8_length(p, s.len - *at);
    if (len == 0) {
        *at += 1;
        *code_point = 0xfffd;
        return true;
    }
    value = p[0] & lead_bits[len];
    for (size_t i = 1; i < len; i++)
        value = value << 6 | (p[i] & 0x3f);
    *at += len;
    *code_point = value;
    return true;
}

void text_put_utf8(struct buf *b, uint32_t code_point)
{
    uint32_t c = code_point;

    if (c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        c = 0xfffd;
    if (c < 0x80) {
        buf_put_u8(b, (uint8_t)c);
    } else if (c < 0x800) {
        uint8_t two[] = {(uint8_t)(0xc0 | c >> 6), (uint8_t)(0x80 | (c & 63))};

        buf_put(b, span_of(two, sizeof(two)));
    } else if (c < 0x10000) {
        uint8_t three[] = {(uint8_t)(0xe0 | c >> 12), (uint8_t)(0x80 | (c >> 6 & 63)),
                           (uint8_t)(0x80 | (c & 63))};

        buf_put(b, span_of(three, sizeof(three)));
    } else {
        uint8_t four[] = {(uint8_t)(0xf0 | c >> 18), (uint8_t)(0x80 | (c >> 12 & 63)),
                          (uint8_t)(0x80 | (c >> 6 & 63)), (uint8_t)(0x80 | (c & 63))};

        buf_put(b, span_of(four, sizeof(four)));
    }
}

void text_put_safe(struct buf *b, struct span s, bool lines)
{
    size_t at = 0;
    uint32_t c;

    while (text_utf8_next(s, &at, &c)) {
        bool kept = lines && (c == '\n' || c == '\t');

        text_put_utf8(b, is_unsafe(c) && !kept ? 0xfffd : c);
    }
}

void text_print_safe(FILE *to, struct span s, bool lines)
{
    size_t at = 0;
    uint32_t c;

    /* One character at a time: a text of any length needs no memory. */
    while (text_utf8_next(s, &at, &c)) {
        bool kept = lines && (c == '\n' || c == '\t');
        uint8_t bytes[8];
        struct buf b = {.data = bytes, .cap = sizeof(bytes), .max = sizeof(bytes) - 1};

        text_put_utf8(&b, is_unsafe(c) && !kept ? 0xfffd : c);
        fwrite(b.data, 1, b.len, to);
    }
}

void text_put_json(struct buf *b, struct span s)
{
    size_t at = 0;
    uint32_t c;

    buf_put_u8(b, '"');
    while (text_utf8_next(s, &at, &c)) {
        if (c == '"' || c == '\\') {
            buf_put_u8(b, '\\');
            buf_put_u8(b, (uint8_t)c);
        } else if (c == '\n') {
            buf_put_str(b, "\\n");
        } else if (c == '\t') {
            buf_put_str(b, "\\t");
        } else if (is_unsafe(c)) {
            buf_printf(b, "\\u%04x", c);
        } else {
            text_put_utf8(b, c);
        }
    }
    buf_put_u8(b, '"');
}
