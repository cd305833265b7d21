/* An age file around a part (C2SP age.md): the header is made and read here, in test code only; the
 * payload is made by part_sealer and read by part_opener. See age_oracle.sh.
 *
 *   age_tool identity FILE    writes a fresh identity to FILE, for age, and its bytes to FILE.raw
 *   age_tool seal FILE.raw    plaintext on stdin, age file for that identity on stdout
 *   age_tool open FILE.raw    the other way round; 1 when it is refused */
#include "common/crypto.h"
#include "common/env.h"
#include "common/limits.h"
#include "common/text.h"
#include "proto/part.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define INTRO "age-encryption.org/v1\n"
#define X25519_INFO "age-encryption.org/v1/X25519"
#define ZERO_NONCE ((const uint8_t[AEAD_NONCE]){0})

static void need(enum err e, const char *what)
{
    if (e != ERR_OK) {
        (void)fprintf(stderr, "age_tool: %s: %s\n", what, err_code(e));
        exit(1);
    }
}

static uint32_t bech32_step(uint32_t sum, uint8_t value)
{
    static const uint32_t generator[] = {0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd,
                                         0x2a1462b3};
    uint32_t top = sum >> 25;

    sum = (sum & 0x1ffffff) << 5 ^ value;
    for (unsigned i = 0; i < 5; i++)
        sum ^= (top >> i & 1) != 0 ? generator[i] : 0;
    return sum;
}

/* Bech32 (BIP 173) of 32 bytes, in upper case. */
static void bech32(const char *prefix, const uint8_t bytes[32], struct buf *out)
{
    static const char digits[] = "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L";
    uint8_t values[52 + 6] = {0};
    uint32_t sum = 1;

    for (const char *p = prefix; *p != '\0'; p++)
        sum = bech32_step(sum, (uint8_t)tolower(*p) >> 5);
    sum = bech32_step(sum, 0);
    for (const char *p = prefix; *p != '\0'; p++)
        sum = bech32_step(sum, (uint8_t)tolower(*p) & 31);
    for (unsigned bit = 0; bit < 256; bit++)
        values[bit / 5] |= (uint8_t)((bytes[bit / 8] >> (7 - bit % 8) & 1) << (4 - bit % 5));
    for (unsigned i = 0; i < sizeof(values); i++)
        sum = bech32_step(sum, values[i]);
    for (unsigned i = 0; i < 6; i++)
        values[52 + i] = (uint8_t)((sum ^ 1) >> (5 * (5 - i)) & 31);
    buf_put_str(out, prefix);
    buf_put_u8(out, '1');
    for (unsigned i = 0; i < sizeof(values); i++)
        buf_put_u8(out, (uint8_t)digits[values[i]]);
}

static void write_file(const char *path, struct span bytes)
{
    FILE *f = fopen(path, "wb");

    if (f == NULL || fwrite(bytes.data, 1, bytes.len, f) != bytes.len || fclose(f) != 0)
        need(ERR_IO, path);
}

static void identity(const char *path)
{
    uint8_t key[32];
    char raw[4096];
    struct buf text;

    (void)umask(077);
    env_random(env_system(), key, sizeof(key));
    buf_init(&text, LIMIT_KIB);
    bech32("AGE-SECRET-KEY-", key, &text);
    buf_put_u8(&text, '\n');
    need(text.err, "identity");
    write_file(path, buf_span(&text));
    (void)snprintf(raw, sizeof(raw), "%s.raw", path);
    write_file(raw, span_of(key, sizeof(key)));
    buf_fini(&text);
}

static struct secret *load(const char *path)
{
    uint8_t key[33];
    struct secret *ret;
    FILE *f = fopen(path, "rb");

    if (f == NULL || fread(key, 1, sizeof(key), f) != 32)
        need(ERR_IO, path);
    (void)fclose(f);
    need(secret_copy(span_of(key, 32), &ret), "identity");
    return ret;
}

/* Base64 without padding, as age writes it; of 32 bytes. */
static void put_base64(struct buf *out, const uint8_t bytes[32])
{
    text_put_base64(out, span_of(bytes, 32));
    out->len--;
}

static void get_base64(const char *text, uint8_t bytes[32])
{
    char padded[45];

    if (strlen(text) != 43)
        need(ERR_MALFORMED, "base64");
    (void)snprintf(padded, sizeof(padded), "%s=", text);
    need(text_base64_decode_exact(span_str(padded), 32, bytes), "base64");
}

static void wrap_key(const struct secret *mine, const uint8_t theirs[32], const uint8_t share[32],
                     const uint8_t recipient[32], uint8_t key[32])
{
    uint8_t shared[32], salt[64];

    need(x25519_shared(mine, theirs, shared), "shared secret");
    memcpy(salt, share, 32);
    memcpy(salt + 32, recipient, 32);
    need(hkdf(span_of(shared, 32), span_of(salt, 64), span_str(X25519_INFO), key, 32), "wrap key");
}

/* Of the header up to and with "---". */
static struct digest header_mac(const struct secret *file_key, struct span header)
{
    uint8_t key[32];

    need(hkdf(secret_bytes(file_key), (struct span){0}, span_str("header"), key, 32), "header key");
    return hmac_sha256(span_of(key, 32), header);
}

static enum err to_stdout(void *ctx, struct span bytes)
{
    (void)ctx;
    return fwrite(bytes.data, 1, bytes.len, stdout) == bytes.len ? ERR_OK : ERR_IO;
}

static void put_header(const struct secret *key, const struct secret *file_key)
{
    uint8_t recipient[32], share[32], wrap[32], body[32];
    struct secret *ephemeral;
    struct digest mac;
    struct buf header;

    need(secret_random(env_system(), 32, &ephemeral), "ephemeral key");
    need(x25519_public_of(key, recipient), "recipient");
    need(x25519_public_of(ephemeral, share), "share");
    wrap_key(ephemeral, recipient, share, recipient, wrap);
    need(chacha20poly1305_seal(wrap, ZERO_NONCE, (struct span){0}, secret_bytes(file_key), body),
         "wrap");
    buf_init(&header, LIMIT_KIB);
    buf_put_str(&header, INTRO "-> X25519 ");
    put_base64(&header, share);
    buf_put_u8(&header, '\n');
    put_base64(&header, body);
    buf_put_str(&header, "\n---");
    mac = header_mac(file_key, buf_span(&header));
    buf_put_u8(&header, ' ');
    put_base64(&header, mac.b);
    buf_put_u8(&header, '\n');
    need(header.err, "header");
    need(to_stdout(NULL, buf_span(&header)), "stdout");
    buf_fini(&header);
    secret_free(ephemeral);
}

static void seal_stdin(const struct secret *key)
{
    static uint8_t piece[100000];
    struct part_sealer *s;
    struct secret *file_key;
    struct digest digest;
    uint64_t len;
    size_t n;

    need(secret_random(env_system(), FILE_KEY, &file_key), "file key");
    put_header(key, file_key);
    need(part_sealer_new(env_system(), file_key, to_stdout, NULL, &s), "part");
    while ((n = fread(piece, 1, sizeof(piece), stdin)) > 0)
        need(part_sealer_put(s, span_of(piece, n)), "part");
    need(part_sealer_end(s, &digest, &len), "part");
    part_sealer_free(s);
    secret_free(file_key);
}

/* Reads one line of the header, without its newline, and appends it with one to `header`. */
static void get_line(struct buf *header, char line[128])
{
    if (fgets(line, 128, stdin) == NULL || strchr(line, '\n') == NULL)
        need(ERR_MALFORMED, "header");
    buf_put_str(header, line);
    *strchr(line, '\n') = '\0';
}

/* The header of a file for one X25519 recipient. */
static struct secret *get_header(const struct secret *key)
{
    uint8_t recipient[32], share[32], wrap[32], body[32], mac[32];
    struct secret *file_key;
    struct digest expected;
    struct buf header;
    char line[128];

    buf_init(&header, LIMIT_KIB);
    get_line(&header, line);
    get_line(&header, line);
    if (!span_starts_with(buf_span(&header), span_str(INTRO "-> X25519 ")))
        need(ERR_MALFORMED, "header");
    get_base64(line + 10, share);
    get_line(&header, line);
    get_base64(line, body);
    get_line(&header, line);
    if (strncmp(line, "--- ", 4) != 0)
        need(ERR_MALFORMED, "header");
    get_base64(line + 4, mac);
    need(x25519_public_of(key, recipient), "recipient");
    wrap_key(key, share, share, recipient, wrap);
    need(secret_new(FILE_KEY, &file_key), "file key");
    need(chacha20poly1305_open(wrap, ZERO_NONCE, (struct span){0}, span_of(body, 32),
                               secret_data(file_key)),
         "wrap");
    expected = header_mac(file_key, span_of(header.data, header.len - strlen(line) - 1 + 3));
    need(crypto_equal(expected.b, mac, 32) ? ERR_OK : ERR_BAD_DIGEST, "header MAC");
    buf_fini(&header);
    return file_key;
}

static void open_stdin(const struct secret *key)
{
    static uint8_t piece[100000];
    struct secret *file_key = get_header(key);
    struct part_opener *o;
    size_t n;

    need(part_opener_new(file_key, to_stdout, NULL, &o), "part");
    while ((n = fread(piece, 1, sizeof(piece), stdin)) > 0)
        need(part_opener_put(o, span_of(piece, n)), "part");
    need(part_opener_end(o), "part");
    part_opener_free(o);
    secret_free(file_key);
}

int main(int argc, char **argv)
{
    struct secret *key;

    need(secret_process_init(true), "start");
    if (argc == 3 && strcmp(argv[1], "identity") == 0) {
        identity(argv[2]);
        return 0;
    }
    if (argc != 3 || (strcmp(argv[1], "seal") != 0 && strcmp(argv[1], "open") != 0)) {
        (void)fprintf(stderr, "usage: age_tool identity|seal|open FILE\n");
        return 2;
    }
    key = load(argv[2]);
    if (strcmp(argv[1], "seal") == 0)
        seal_stdin(key);
    else
        open_stdin(key);
    secret_free(key);
    return fflush(stdout) == 0 ? 0 : 1;
}
