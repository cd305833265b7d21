#include "proto/part.h"

#include "common/limits.h"
#include "tests/lib/leaks.h"
#include "tests/lib/vectors.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <sys/resource.h>
#include <zlib.h>

TestSuite(part, .fini = leaks_check, .timeout = 240);

/* Sanitized builds are an order slower and show the same bound. */
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifdef SANITIZED
#define LONG_PART ((uint64_t)128 * LIMIT_MIB)
#else
#define LONG_PART ((uint64_t)1024 * LIMIT_MIB)
#endif
#define RSS_GROWTH_KIB (64 * 1024)

static void count_random(void *ctx, void *out, size_t len)
{
    uint64_t *next = ctx;

    for (size_t i = 0; i < len; i++)
        ((uint8_t *)out)[i] = (uint8_t)((*next)++ * 0x9e3779b97f4a7c15u >> 56);
}

static struct env env_of(uint64_t *counter)
{
    return (struct env){.ctx = counter, .random = count_random};
}

static struct secret *key_of(const char *text)
{
    struct secret *key;

    cr_assert_eq(secret_copy(span_str(text), &key), ERR_OK);
    return key;
}

/* A sink that keeps everything, and fails when `fail_after` pieces went in. */
struct kept {
    struct buf buf;
    size_t pieces;
    size_t fail_after;
};

static enum err keep(void *ctx, struct span bytes)
{
    struct kept *k = ctx;

    if (k->pieces++ == k->fail_after)
        return ERR_DISK_FULL;
    buf_put(&k->buf, bytes);
    return k->buf.err;
}

static void kept_init(struct kept *k)
{
    *k = (struct kept){.fail_after = SIZE_MAX};
    buf_init(&k->buf, 64 * LIMIT_MIB);
}

static enum err open_in_pieces(const struct secret *key, struct span sealed, size_t piece,
                               struct kept *out)
{
    struct part_opener *o;
    enum err e = ERR_OK;

    cr_assert_eq(part_opener_new(key, keep, out, &o), ERR_OK);
    for (size_t at = 0; at < sealed.len && e == ERR_OK; at += piece) {
        size_t n = sealed.len - at < piece ? sealed.len - at : piece;

        e = part_opener_put(o, span_of(sealed.data + at, n));
    }
    if (e == ERR_OK)
        e = part_opener_end(o);
    else
        cr_assert_eq(part_opener_end(o), e, "an error sticks");
    part_opener_free(o);
    return e;
}

/* One file of C2SP/CCTV age/testdata. */
struct vector {
    bool success;
    uint8_t payload_sha256[32];
    struct secret *key;
    struct buf file; /* the age file */
    struct span part;
};

static void inflate_into(struct span in, struct buf *out)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)in.data, .avail_in = (uInt)in.len};
    uint8_t piece[4096];
    int r;

    cr_assert_eq(inflateInit(&z), Z_OK);
    do {
        z.next_out = piece;
        z.avail_out = sizeof(piece);
        r = inflate(&z, Z_NO_FLUSH);
        cr_assert(r == Z_OK || r == Z_STREAM_END);
        buf_put(out, span_of(piece, sizeof(piece) - z.avail_out));
    } while (r != Z_STREAM_END);
    cr_assert_eq(inflateEnd(&z), Z_OK);
    cr_assert_eq(out->err, ERR_OK);
}

/* The rest of the line `name: rest` in `head`, or NULL; owned by the caller. */
static char *head_field(const char *head, const char *name)
{
    size_t len = strlen(name);

    for (const char *line = head; *line != '\0';) {
        const char *end = strchr(line, '\n');

        cr_assert_not_null(end);
        if (strncmp(line, name, len) == 0 && line[len] == ':')
            return strndup(line + len + 2, (size_t)(end - line) - len - 2);
        line = end + 1;
    }
    return NULL;
}

static void vector_body(struct vector *v, struct span body, const char *compressed)
{
    const uint8_t *mac, *end;

    buf_init(&v->file, 64 * LIMIT_MIB);
    if (compressed != NULL)
        inflate_into(body, &v->file);
    else
        buf_put(&v->file, body);
    mac = memmem(v->file.data, v->file.len, "\n--- ", 5);
    cr_assert_not_null(mac);
    end = memchr(mac + 1, '\n', v->file.len - (size_t)(mac + 1 - v->file.data));
    cr_assert_not_null(end);
    v->part = span_of(end + 1, v->file.len - (size_t)(end + 1 - v->file.data));
}

static void vector_load(const char *name, struct vector *v)
{
    char path[4096], *head, *expect, *payload, *key, *compressed;
    static uint8_t raw[LIMIT_MIB];
    const char *blank;
    size_t n;
    FILE *f;

    (void)snprintf(path, sizeof(path), "%s/cctv-age/%s", SEALPOST_VECTORS, name);
    f = fopen(path, "rb");
    cr_assert_not_null(f);
    n = fread(raw, 1, sizeof(raw), f);
    cr_assert(n > 0 && n < sizeof(raw));
    (void)fclose(f);
    blank = memmem(raw, n, "\n\n", 2);
    cr_assert_not_null(blank);
    head = strndup((const char *)raw, (size_t)(blank + 1 - (const char *)raw));
    expect = head_field(head, "expect");
    payload = head_field(head, "payload");
    key = head_field(head, "file key");
    compressed = head_field(head, "compressed");
    v->success = strcmp(expect, "success") == 0;
    if (payload != NULL) {
        struct span digest = vectors_unhex(payload);

        memcpy(v->payload_sha256, digest.data, 32);
        vectors_free(digest);
    }
    struct span key_bytes = vectors_unhex(key);

    cr_assert_eq(secret_copy(key_bytes, &v->key), ERR_OK);
    vectors_free(key_bytes);
    vector_body(v, span_of(blank + 2, n - (size_t)(blank + 2 - (const char *)raw)), compressed);
    free(head);
    free(expect);
    free(payload);
    free(key);
    free(compressed);
}

static void vector_run(const struct vector *v, const char *name, size_t piece)
{
    struct kept out;
    enum err e;

    kept_init(&out);
    e = open_in_pieces(v->key, v->part, piece, &out);
    cr_assert_eq(e, v->success ? ERR_OK : ERR_BAD_DIGEST, "%s by %zu: %s", name, piece,
                 err_code(e));
    if (v->success) {
        struct digest digest = sha256(buf_span(&out.buf));

        cr_assert_arr_eq(digest.b, v->payload_sha256, 32);
    }
    buf_fini(&out.buf);
    buf_init(&out.buf, 64 * LIMIT_MIB);
    cr_assert_eq(part_open(v->key, v->part, &out.buf), e, "%s", name);
    if (v->success) {
        struct digest digest = sha256(buf_span(&out.buf));

        cr_assert_arr_eq(digest.b, v->payload_sha256, 32);
    } else {
        cr_assert_eq(out.buf.len, 0, "nothing of a bad part comes out");
    }
    buf_fini(&out.buf);
}

Test(part, opens_and_refuses_as_the_age_vectors_say)
{
    size_t good = 0, bad = 0;
    struct dirent *entry;
    DIR *dir = opendir(SEALPOST_VECTORS "/cctv-age");

    cr_assert_not_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        struct vector v = {0};

        if (entry->d_name[0] == '.')
            continue;
        vector_load(entry->d_name, &v);
        vector_run(&v, entry->d_name, SIZE_MAX / 2);
        vector_run(&v, entry->d_name, 1009);
        good += v.success;
        bad += !v.success;
        secret_free(v.key);
        buf_fini(&v.file);
    }
    (void)closedir(dir);
    cr_assert_eq(good, 19);
    cr_assert_eq(bad, 20);
}

static void fill(uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(i * 131 + (i >> 8));
}

static void round_trip(size_t len, size_t piece)
{
    struct secret *key = key_of("YELLOW SUBMARINE");
    uint8_t *plain = malloc(len + 1);
    struct kept sealed, opened;
    struct part_sealer *s;
    struct digest digest, all;
    uint64_t counter = 1, sealed_len, plain_len;
    struct env env = env_of(&counter);

    fill(plain, len);
    kept_init(&sealed);
    kept_init(&opened);
    cr_assert_eq(part_sealer_new(&env, key, keep, &sealed, &s), ERR_OK);
    for (size_t at = 0; at < len; at += piece) {
        size_t n = len - at < piece ? len - at : piece;

        cr_assert_eq(part_sealer_put(s, span_of(plain + at, n)), ERR_OK);
    }
    cr_assert_eq(part_sealer_end(s, &digest, &sealed_len), ERR_OK);
    part_sealer_free(s);
    cr_assert_eq(sealed_len, sealed.buf.len);
    cr_assert_eq(sealed_len, part_sealed_len(len));
    cr_assert_eq(part_plain_len(sealed_len, &plain_len), ERR_OK);
    cr_assert_eq(plain_len, len);
    all = sha256(buf_span(&sealed.buf));
    cr_assert(digest_equal(&digest, &all));
    cr_assert_eq(open_in_pieces(key, buf_span(&sealed.buf), piece + 3, &opened), ERR_OK);
    cr_assert(span_equal(buf_span(&opened.buf), span_of(plain, len)));
    buf_reset(&opened.buf);
    cr_assert_eq(part_open(key, buf_span(&sealed.buf), &opened.buf), ERR_OK);
    cr_assert(span_equal(buf_span(&opened.buf), span_of(plain, len)));
    /* The same nonce: sealing in memory gives the same bytes. */
    counter = 1;
    buf_reset(&opened.buf);
    cr_assert_eq(part_seal(&env, key, span_of(plain, len), &opened.buf, &all), ERR_OK);
    cr_assert(span_equal(buf_span(&opened.buf), buf_span(&sealed.buf)));
    cr_assert(digest_equal(&digest, &all));
    buf_fini(&sealed.buf);
    buf_fini(&opened.buf);
    free(plain);
    secret_free(key);
}

Test(part, any_length_in_any_pieces_comes_back)
{
    static const size_t lengths[] = {0,
                                     1,
                                     15,
                                     1024,
                                     PART_CHUNK - 1,
                                     PART_CHUNK,
                                     PART_CHUNK + 1,
                                     2 * PART_CHUNK - 1,
                                     2 * PART_CHUNK,
                                     2 * PART_CHUNK + 1,
                                     5 * PART_CHUNK + 77};
    static const size_t pieces[] = {997, PART_CHUNK - 1, PART_CHUNK, PART_CHUNK + 1,
                                    10 * PART_CHUNK};

    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        for (size_t j = 0; j < sizeof(pieces) / sizeof(pieces[0]); j++)
            round_trip(lengths[i], pieces[j]);
    }
}

Test(part, lengths_are_those_of_the_format)
{
    uint64_t plain = 0, sealed, seen = 0;

    cr_assert_eq(part_sealed_len(0), 32);
    cr_assert_eq(part_sealed_len(1), 33);
    cr_assert_eq(part_sealed_len(PART_CHUNK), 32 + PART_CHUNK);
    cr_assert_eq(part_sealed_len(PART_CHUNK + 1), 48 + PART_CHUNK + 1);
    /* Every length up to three chunks either is that of one plaintext or is refused. */
    for (sealed = 0; sealed <= part_sealed_len(3 * PART_CHUNK); sealed++) {
        if (sealed == part_sealed_len(seen)) {
            cr_assert_eq(part_plain_len(sealed, &plain), ERR_OK);
            cr_assert_eq(plain, seen);
            seen++;
        } else {
            cr_assert_eq(part_plain_len(sealed, &plain), ERR_MALFORMED);
        }
    }
    cr_assert_eq(seen, 3 * PART_CHUNK + 1);
    cr_assert_eq(part_plain_len(part_sealed_len(LIMIT_PART), &plain), ERR_OK);
    cr_assert_eq(plain, LIMIT_PART);
    cr_assert_eq(part_plain_len(UINT64_MAX, &plain), ERR_OK);
    cr_assert_gt(plain, LIMIT_PART);
}

static enum err drop(void *ctx, struct span bytes)
{
    *(uint64_t *)ctx += bytes.len;
    return ERR_OK;
}

/* The limit is on the sum; what was put before does not have to be sealed 4 GiB long. */
Test(part, more_than_the_limit_is_refused)
{
    struct secret *key = key_of("YELLOW SUBMARINE");
    static const uint8_t some[1] = {0};
    uint64_t counter = 1, len = 0;
    struct env env = env_of(&counter);
    struct part_sealer *s;
    struct digest digest;

    cr_assert_eq(part_sealer_new(&env, key, drop, &len, &s), ERR_OK);
    cr_assert_eq(part_sealer_put(s, span_of(some, 1)), ERR_OK);
    cr_assert_eq(part_sealer_put(s, span_of(some, (size_t)LIMIT_PART)), ERR_TOO_LARGE);
    cr_assert_eq(part_sealer_put(s, span_of(some, 1)), ERR_TOO_LARGE, "an error sticks");
    cr_assert_eq(part_sealer_end(s, &digest, &len), ERR_TOO_LARGE);
    part_sealer_free(s);
    secret_free(key);
}

Test(part, every_altered_byte_is_refused)
{
    struct secret *key = key_of("YELLOW SUBMARINE");
    uint64_t counter = 1;
    struct env env = env_of(&counter);
    uint8_t plain[300];
    struct buf sealed, opened;
    struct digest digest;

    fill(plain, sizeof(plain));
    buf_init(&sealed, LIMIT_MIB);
    buf_init(&opened, LIMIT_MIB);
    buf_put_str(&opened, "kept");
    cr_assert_eq(part_seal(&env, key, span_of(plain, sizeof(plain)), &sealed, &digest), ERR_OK);
    for (size_t i = 0; i < sealed.len; i++) {
        sealed.data[i] ^= 0x40;
        cr_assert_eq(part_open(key, buf_span(&sealed), &opened), ERR_BAD_DIGEST, "byte %zu", i);
        sealed.data[i] ^= 0x40;
    }
    for (size_t len = 0; len < sealed.len; len++)
        cr_assert_eq(part_open(key, span_of(sealed.data, len), &opened), ERR_BAD_DIGEST);
    cr_assert_eq(opened.len, 4);
    cr_assert_eq(part_open(key, buf_span(&sealed), &opened), ERR_OK);
    cr_assert_eq(opened.len, 4 + sizeof(plain));
    buf_fini(&sealed);
    buf_fini(&opened);
    secret_free(key);
}

/* Whole chunks dropped, doubled and exchanged keep every tag valid but the order not. */
Test(part, chunks_do_not_move)
{
    enum { CHUNKS = 4 };
    static const int orders[][CHUNKS] = {{1, 0, 2, 3}, {0, 2, 1, 3},  {0, 1, 3, -1},
                                         {0, 1, 1, 3}, {0, 1, 2, -1}, {3, -1, -1, -1}};
    struct secret *key = key_of("YELLOW SUBMARINE");
    size_t chunk = PART_CHUNK + PART_TAG;
    uint64_t counter = 1;
    struct env env = env_of(&counter);
    uint8_t *plain = malloc(CHUNKS * PART_CHUNK);
    struct buf sealed, moved;
    struct digest digest;

    fill(plain, CHUNKS * PART_CHUNK);
    buf_init(&sealed, LIMIT_MIB);
    buf_init(&moved, LIMIT_MIB);
    cr_assert_eq(part_seal(&env, key, span_of(plain, CHUNKS * PART_CHUNK), &sealed, &digest),
                 ERR_OK);
    for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
        struct kept out;

        buf_reset(&moved);
        buf_put(&moved, span_of(sealed.data, PART_NONCE));
        for (size_t j = 0; j < CHUNKS && orders[i][j] >= 0; j++)
            buf_put(&moved,
                    span_of(sealed.data + PART_NONCE + (size_t)orders[i][j] * chunk, chunk));
        kept_init(&out);
        cr_assert_eq(open_in_pieces(key, buf_span(&moved), 4096, &out), ERR_BAD_DIGEST);
        buf_fini(&out.buf);
    }
    buf_fini(&sealed);
    buf_fini(&moved);
    free(plain);
    secret_free(key);
}

Test(part, the_error_of_a_sink_comes_back_and_sticks)
{
    struct secret *key = key_of("YELLOW SUBMARINE");
    size_t len = 3 * PART_CHUNK;
    uint8_t *plain = calloc(1, len);
    uint64_t counter = 1, out_len;
    struct env env = env_of(&counter);
    struct digest digest;
    struct kept sealed, out;

    kept_init(&sealed);
    cr_assert_eq(part_seal(&env, key, span_of(plain, len), &sealed.buf, &digest), ERR_OK);
    /* Pieces of a sealer: the nonce and three chunks. */
    for (size_t i = 0; i < 4; i++) {
        struct part_sealer *s;
        enum err e;

        kept_init(&out);
        out.fail_after = i;
        cr_assert_eq(part_sealer_new(&env, key, keep, &out, &s), ERR_OK);
        e = part_sealer_put(s, span_of(plain, len));
        cr_assert_eq(e, i < 3 ? ERR_DISK_FULL : ERR_OK);
        cr_assert_eq(part_sealer_end(s, &digest, &out_len), ERR_DISK_FULL);
        part_sealer_free(s);
        buf_fini(&out.buf);
    }
    for (size_t i = 0; i < 3; i++) {
        kept_init(&out);
        out.fail_after = i;
        cr_assert_eq(open_in_pieces(key, buf_span(&sealed.buf), 8192, &out), ERR_DISK_FULL);
        buf_fini(&out.buf);
    }
    part_sealer_free(NULL);
    part_opener_free(NULL);
    buf_fini(&sealed.buf);
    free(plain);
    secret_free(key);
}

/* Sealing straight into opening: nothing of a long part is held anywhere. */
struct pipe {
    struct part_opener *opener;
    const uint8_t *pattern;
    size_t pattern_len;
    uint64_t at;
    bool equal;
};

static enum err pipe_open(void *ctx, struct span bytes)
{
    return part_opener_put(((struct pipe *)ctx)->opener, bytes);
}

static enum err pipe_compare(void *ctx, struct span bytes)
{
    struct pipe *p = ctx;

    while (bytes.len > 0) {
        size_t at = (size_t)(p->at % p->pattern_len);
        size_t n = p->pattern_len - at < bytes.len ? p->pattern_len - at : bytes.len;

        p->equal = p->equal && memcmp(p->pattern + at, bytes.data, n) == 0;
        p->at += n;
        bytes = span_of(bytes.data + n, bytes.len - n);
    }
    return ERR_OK;
}

static long rss_max_kib(void)
{
    struct rusage usage;

    cr_assert_eq(getrusage(RUSAGE_SELF, &usage), 0);
    return usage.ru_maxrss;
}

Test(part, a_long_part_needs_little_memory)
{
    struct secret *key = key_of("YELLOW SUBMARINE");
    size_t pattern_len = LIMIT_MIB - 13;
    uint8_t *pattern = malloc(pattern_len);
    struct pipe p = {.pattern = pattern, .pattern_len = pattern_len, .equal = true};
    uint64_t counter = 1, len;
    struct env env = env_of(&counter);
    struct part_sealer *s;
    struct digest digest;
    long before;

    fill(pattern, pattern_len);
    before = rss_max_kib();
    cr_assert_eq(part_opener_new(key, pipe_compare, &p, &p.opener), ERR_OK);
    cr_assert_eq(part_sealer_new(&env, key, pipe_open, &p, &s), ERR_OK);
    for (uint64_t done = 0; done < LONG_PART;) {
        uint64_t left = LONG_PART - done;
        size_t n = left < pattern_len ? (size_t)left : pattern_len;

        cr_assert_eq(part_sealer_put(s, span_of(pattern, n)), ERR_OK);
        done += n;
    }
    cr_assert_eq(part_sealer_end(s, &digest, &len), ERR_OK);
    cr_assert_eq(part_opener_end(p.opener), ERR_OK);
    cr_assert_eq(len, part_sealed_len(LONG_PART));
    cr_assert_eq(p.at, LONG_PART);
    cr_assert(p.equal);
    cr_assert_lt(rss_max_kib() - before, RSS_GROWTH_KIB);
    part_sealer_free(s);
    part_opener_free(p.opener);
    free(pattern);
    secret_free(key);
}
