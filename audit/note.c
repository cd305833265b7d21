#include "audit/checkpoint.h"
#include "common/limits.h"
#include "common/text.h"

#include <string.h>

/* "— ": em dash and space. */
static const uint8_t dash[] = {0xe2, 0x80, 0x94, 0x20};

/* Bytes of key hash, and of the time in a cosignature. */
#define NOTE_HASH 4
#define NOTE_TIME 8

/* One line, taken off the front of `rest`, without its newline. False at the end, or when the last
 * line lacks its newline. */
static bool take_line(struct span *rest, struct span *line)
{
    const uint8_t *end = rest->len > 0 ? memchr(rest->data, '\n', rest->len) : NULL;

    if (end == NULL)
        return false;
    *line = span_of(rest->data, (size_t)(end - rest->data));
    rest->data = end + 1;
    rest->len -= line->len + 1;
    return true;
}

/* Length of the Unicode white space (property White_Space) at `s`, 0 when there is none. */
static size_t space_len(struct span s)
{
    const uint8_t *p = s.data;
    uint32_t cp;

    if (s.len >= 1 && (p[0] == ' ' || (p[0] >= '\t' && p[0] <= '\r')))
        return 1;
    if (s.len >= 2 && p[0] == 0xc2 && (p[1] == 0x85 || p[1] == 0xa0))
        return 2;
    if (s.len < 3 || (p[0] & 0xf0) != 0xe0)
        return 0;
    cp = ((uint32_t)(p[0] & 0x0f) << 12) | ((uint32_t)(p[1] & 0x3f) << 6) | (p[2] & 0x3f);
    if (cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200a) || cp == 0x2028 || cp == 0x2029 ||
        cp == 0x202f || cp == 0x205f || cp == 0x3000)
        return 3;
    return 0;
}

static bool name_is_valid(struct span name)
{
    if (name.len == 0 || name.len >= NOTE_NAME || !span_is_utf8(name))
        return false;
    for (size_t i = 0; i < name.len; i++) {
        if (name.data[i] < 0x20 || name.data[i] == '+' ||
            space_len(span_of(name.data + i, name.len - i)) > 0)
            return false;
    }
    return true;
}

static bool text_is_valid(struct span text)
{
    if (text.len == 0 || text.data[text.len - 1] != '\n' || !span_is_utf8(text))
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < 0x20 && text.data[i] != '\n')
            return false;
    }
    return true;
}

static uint32_t key_hash(const char *name, uint8_t type, const struct ed25519_public *key)
{
    const uint8_t between[] = {'\n', type};
    const struct span parts[] = {span_str(name), span_of(between, sizeof(between)),
                                 span_of(key->b, sizeof(key->b))};
    struct digest d = sha256_parts(parts, 3);
    struct rd r = rd_of(digest_span(&d));

    return rd_u32be(&r);
}

enum err note_key_make(const char *name, uint8_t type, const struct ed25519_public *key,
                       struct note_key *ret)
{
    struct note_key k = {.type = type, .key = *key};

    if ((type != NOTE_ED25519 && type != NOTE_COSIGNATURE) || !name_is_valid(span_str(name)))
        return ERR_MALFORMED;
    memcpy(k.name, name, strlen(name));
    k.hash = key_hash(name, type, key);
    *ret = k;
    return ERR_OK;
}

enum err note_key_parse(const char *vkey, struct note_key *ret)
{
    const char *plus = strchr(vkey, '+');
    const char *second = plus != NULL ? strchr(plus + 1, '+') : NULL;
    uint8_t hash[NOTE_HASH];
    uint8_t key[1 + 32];
    char name[NOTE_NAME];
    struct ed25519_public public;
    struct note_key k;
    struct rd r;
    enum err e;

    if (second == NULL || second - plus != 1 + 2 * NOTE_HASH)
        return ERR_MALFORMED;
    e = span_to_str(span_of(vkey, (size_t)(plus - vkey)), name, sizeof(name));
    if (e != ERR_OK)
        return ERR_MALFORMED;
    e = text_hex_decode(span_of(plus + 1, 2 * NOTE_HASH), sizeof(hash), hash);
    if (e == ERR_OK)
        e = text_base64_decode_exact(span_str(second + 1), sizeof(key), key);
    if (e != ERR_OK)
        return e;
    memcpy(public.b, key + 1, sizeof(public.b));
    e = note_key_make(name, key[0], &public, &k);
    if (e != ERR_OK)
        return e;
    r = rd_of(span_of(hash, sizeof(hash)));
    if (rd_u32be(&r) != k.hash)
        return ERR_MALFORMED;
    *ret = k;
    return ERR_OK;
}

void note_key_format(const struct note_key *k, struct buf *out)
{
    uint8_t key[1 + sizeof(k->key.b)];

    key[0] = k->type;
    memcpy(key + 1, k->key.b, sizeof(k->key.b));
    buf_printf(out, "%s+%08x+", k->name, k->hash);
    text_put_base64(out, span_of(key, sizeof(key)));
}

enum err note_sign(struct span text, const char *name, const struct secret *key, struct buf *out)
{
    uint8_t blob[NOTE_HASH + ED25519_SIG];
    struct ed25519_public public;
    struct note_key k;
    enum err e;

    if (text.len > LIMIT_NOTE)
        return ERR_TOO_LARGE;
    if (!text_is_valid(text))
        return ERR_MALFORMED;
    e = ed25519_public_of(key, &public);
    if (e != ERR_OK)
        return e;
    e = note_key_make(name, NOTE_ED25519, &public, &k);
    if (e != ERR_OK)
        return e;
    for (size_t i = 0; i < NOTE_HASH; i++)
        blob[i] = (uint8_t)(k.hash >> (24 - 8 * i));
    e = ed25519_sign(key, text, blob + NOTE_HASH);
    if (e != ERR_OK)
        return e;
    buf_put(out, text);
    buf_put_u8(out, '\n');
    buf_put(out, span_of(dash, sizeof(dash)));
    buf_printf(out, "%s ", name);
    text_put_base64(out, span_of(blob, sizeof(blob)));
    buf_put_u8(out, '\n');
    return out->err;
}

/* The text, and the signature lines after the last blank line. */
static enum err note_split(struct span note, struct span *text, struct span *lines)
{
    size_t at;

    if (note.len > LIMIT_NOTE)
        return ERR_TOO_LARGE;
    if (note.len < 3 || !text_is_valid(note))
        return ERR_MALFORMED;
    for (at = note.len - 1; at > 0; at--) {
        if (note.data[at] == '\n' && note.data[at - 1] == '\n')
            break;
    }
    if (at == 0 || at + 1 == note.len)
        return ERR_MALFORMED;
    *text = span_of(note.data, at);
    *lines = span_of(note.data + at + 1, note.len - at - 1);
    return ERR_OK;
}

struct note_line {
    struct span name;
    uint32_t hash;
    struct span sig; /* in `blob` */
    struct buf blob;
};

static enum err line_parse(struct span line, struct note_line *ret)
{
    const uint8_t *space;
    struct span coded;
    struct rd r;
    enum err e;

    if (!span_starts_with(line, span_of(dash, sizeof(dash))))
        return ERR_MALFORMED;
    line = span_of(line.data + sizeof(dash), line.len - sizeof(dash));
    space = line.len > 0 ? memchr(line.data, ' ', line.len) : NULL;
    if (space == NULL)
        return ERR_MALFORMED;
    ret->name = span_of(line.data, (size_t)(space - line.data));
    coded = span_of(space + 1, line.len - ret->name.len - 1);
    if (!name_is_valid(ret->name))
        return ERR_MALFORMED;
    buf_reset(&ret->blob);
    e = text_base64_decode(coded, &ret->blob);
    if (e != ERR_OK)
        return e;
    if (ret->blob.len <= NOTE_HASH)
        return ERR_MALFORMED;
    r = rd_of(buf_span(&ret->blob));
    ret->hash = rd_u32be(&r);
    ret->sig = span_of(r.at, rd_left(&r));
    return ERR_OK;
}

/* tlog-cosignature.md "Format": what a witness signs. */
static enum err verify_cosignature(struct span text, const struct note_key *key, struct span sig,
                                   uint64_t *time_s)
{
    struct rd r = rd_of(sig);
    struct buf message;
    uint64_t t = rd_u64be(&r);
    enum err e;

    if (r.err != ERR_OK)
        return ERR_BAD_SIGNATURE;
    buf_init(&message, LIMIT_NOTE + 64);
    buf_printf(&message, "cosignature/v1\ntime %llu\n", (unsigned long long)t);
    buf_put(&message, text);
    e = message.err;
    if (e == ERR_OK)
        e = ed25519_verify(&key->key, buf_span(&message), span_of(r.at, rd_left(&r)));
    if (e == ERR_OK && t > *time_s)
        *time_s = t;
    buf_fini(&message);
    return e;
}

static enum err verify_line(const struct note_line *line, struct span text,
                            const struct note_key *key, uint64_t *time_s)
{
    if (key->type == NOTE_COSIGNATURE)
        return verify_cosignature(text, key, line->sig, time_s);
    return ed25519_verify(&key->key, text, line->sig);
}

/* Walks the signature lines; `key` NULL: their form alone. */
static enum err note_check(struct span note, const struct note_key *key, struct span *text,
                           uint64_t *time_s)
{
    struct note_line parsed = {0};
    struct span body, lines, line;
    size_t count = 0, good = 0;
    uint64_t latest = 0;
    enum err e;

    buf_init(&parsed.blob, LIMIT_NOTE_SIGNATURE);
    e = note_split(note, &body, &lines);
    while (e == ERR_OK && take_line(&lines, &line)) {
        e = ++count > LIMIT_NOTE_SIGNATURES ? ERR_TOO_LARGE : line_parse(line, &parsed);
        if (e != ERR_OK || key == NULL || parsed.hash != key->hash ||
            !span_equal(parsed.name, span_str(key->name)))
            continue;
        e = verify_line(&parsed, body, key, &latest);
        good++;
    }
    if (e == ERR_OK && key != NULL && good == 0)
        e = ERR_BAD_SIGNATURE;
    if (e == ERR_OK) {
        *text = body;
        if (time_s != NULL)
            *time_s = latest;
    }
    buf_fini(&parsed.blob);
    return e;
}

enum err note_hash_of(struct span note, const char *name, uint32_t *ret)
{
    struct note_line parsed = {0};
    struct span body, lines, line;
    bool found = false;
    enum err e;

    buf_init(&parsed.blob, LIMIT_NOTE_SIGNATURE);
    e = note_split(note, &body, &lines);
    while (e == ERR_OK && !found && take_line(&lines, &line)) {
        e = line_parse(line, &parsed);
        found = e == ERR_OK && span_equal(parsed.name, span_str(name));
    }
    if (found)
        *ret = parsed.hash;
    else if (e == ERR_OK)
        e = ERR_NOT_FOUND;
    buf_fini(&parsed.blob);
    return e;
}

enum err note_text(struct span note, struct span *text)
{
    return note_check(note, NULL, text, NULL);
}

enum err note_verify(struct span note, const struct note_key *key, struct span *text)
{
    return note_check(note, key, text, NULL);
}

enum err note_verify_cosignature(struct span note, const struct note_key *key, struct span *text,
                                 uint64_t *time_s)
{
    if (key->type != NOTE_COSIGNATURE)
        return ERR_WRONG_USAGE;
    return note_check(note, key, text, time_s);
}
