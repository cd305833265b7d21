#include "audit/log.h"

#include "audit/checkpoint.h"
#include "common/file.h"
#include "common/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/* The state file holds two slots that are written in turn, so that a torn write leaves the one
 * before, whose head is the last one whose signature can have left. A slot:
 * magic[16] origin[32] sequence[8] size[8] root[32] SHA-256 over these[32]. */
#define SLOT_COUNT 2
#define SLOT_AT 4096 /* one to a page: a torn page cannot hit both */
#define SLOT_BODY (16 + 32 + 8 + 8 + 32)
#define SLOT_SIZE (SLOT_BODY + 32)

static const char slot_magic[16] = "sealpost-signer";

struct signer_local {
    char origin[NOTE_NAME];
    struct digest origin_digest;
    struct secret *key; /* expanded */
    int fd;
    uint64_t sequence;
    uint64_t size;
    struct digest root;
    enum err broken; /* after a failed write the file's content is not known */
};

static void slot_encode(const struct signer_local *s, struct buf *out)
{
    struct digest sum;

    buf_put(out, span_of(slot_magic, sizeof(slot_magic)));
    buf_put(out, digest_span(&s->origin_digest));
    buf_put_u64be(out, s->sequence);
    buf_put_u64be(out, s->size);
    buf_put(out, digest_span(&s->root));
    sum = sha256(buf_span(out));
    buf_put(out, digest_span(&sum));
}

/* ERR_NOT_FOUND for an empty slot, ERR_CORRUPT for one that does not hold. */
static enum err slot_decode(struct span slot, struct signer_local *s)
{
    struct span body = span_of(slot.data, SLOT_BODY);
    struct digest sum = sha256(body), zero = {0};
    struct rd r = rd_of(slot);
    struct span magic = rd_bytes(&r, sizeof(slot_magic));
    struct span origin = rd_bytes(&r, sizeof(s->origin_digest.b));
    uint64_t sequence = rd_u64be(&r), size = rd_u64be(&r);
    struct span root = rd_bytes(&r, sizeof(s->root.b));

    if (span_equal(root, digest_span(&zero)) && sequence == 0)
        return ERR_NOT_FOUND;
    if (!span_equal(rd_bytes(&r, sizeof(sum.b)), digest_span(&sum)) ||
        !span_equal(magic, span_of(slot_magic, sizeof(slot_magic))))
        return ERR_CORRUPT;
    if (!span_equal(origin, digest_span(&s->origin_digest)))
        return ERR_CONFIG;
    s->sequence = sequence;
    s->size = size;
    memcpy(s->root.b, root.data, sizeof(s->root.b));
    return ERR_OK;
}

static enum err state_create(const struct signer_local *s, const char *path)
{
    struct buf file;
    uint8_t *rest;
    enum err e;

    buf_init(&file, SLOT_COUNT * SLOT_AT);
    slot_encode(s, &file);
    rest = buf_extend(&file, SLOT_COUNT * SLOT_AT - file.len);
    if (rest != NULL)
        memset(rest, 0, SLOT_COUNT * SLOT_AT - SLOT_SIZE);
    e = file.err;
    if (e == ERR_OK)
        e = file_create(path, buf_span(&file), 0600);
    buf_fini(&file);
    return e == ERR_EXISTS ? ERR_OK : e;
}

static enum err state_load(struct signer_local *s)
{
    uint8_t file[SLOT_COUNT * SLOT_AT];
    struct signer_local best = {0};
    bool found = false;

    if (pread(s->fd, file, sizeof(file), 0) != (ssize_t)sizeof(file))
        return ERR_CORRUPT;
    for (size_t i = 0; i < SLOT_COUNT; i++) {
        struct signer_local one = *s;
        enum err e = slot_decode(span_of(file + i * SLOT_AT, SLOT_SIZE), &one);

        if (e == ERR_CONFIG)
            return e;
        if (e != ERR_OK || (found && one.sequence < best.sequence))
            continue;
        best = one;
        found = true;
    }
    if (!found)
        return ERR_CORRUPT;
    *s = best;
    return ERR_OK;
}

static enum err state_store(struct signer_local *s, uint64_t size, const struct digest *root)
{
    struct signer_local next = *s;
    struct buf slot;
    off_t at;
    enum err e;

    next.sequence++;
    next.size = size;
    next.root = *root;
    at = (off_t)(next.sequence % SLOT_COUNT * SLOT_AT);
    buf_init(&slot, SLOT_SIZE);
    slot_encode(&next, &slot);
    e = slot.err;
    if (e == ERR_OK &&
        (pwrite(s->fd, slot.data, slot.len, at) != (ssize_t)slot.len || fdatasync(s->fd) != 0)) {
        e = ERR_IO;
        s->broken = e;
    }
    if (e == ERR_OK)
        *s = next;
    buf_fini(&slot);
    return e;
}

static enum err local_last(void *ctx, uint64_t *size, struct digest *root)
{
    const struct signer_local *s = ctx;

    if (s->broken != ERR_OK)
        return s->broken;
    *size = s->size;
    *root = s->root;
    return ERR_OK;
}

static enum err local_sign(void *ctx, uint64_t size, const struct digest *root,
                           const struct digest *proof, size_t proof_len, struct buf *checkpoint)
{
    struct signer_local *s = ctx;
    struct buf text;
    enum err e;

    if (s->broken != ERR_OK)
        return s->broken;
    if (size < s->size)
        return ERR_BAD_PROOF;
    e = merkle_verify_consistency(s->size, size, &s->root, root, proof, proof_len);
    if (e != ERR_OK)
        return e;
    if (size > s->size) {
        e = state_store(s, size, root);
        if (e != ERR_OK)
            return e;
    }
    buf_init(&text, LIMIT_CHECKPOINT);
    checkpoint_format(s->origin, size, root, &text);
    e = text.err;
    if (e == ERR_OK)
        e = note_sign(buf_span(&text), s->origin, s->key, checkpoint);
    buf_fini(&text);
    return e;
}

static void local_free(struct signer_local *s)
{
    if (s == NULL)
        return;
    secret_free(s->key);
    if (s->fd >= 0)
        close(s->fd);
    free(s);
}

static enum err state_open(struct signer_local *s, const char *path)
{
    enum err e = state_create(s, path);

    if (e != ERR_OK)
        return e;
    s->fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (s->fd < 0)
        return file_error(errno);
    if (flock(s->fd, LOCK_EX | LOCK_NB) != 0)
        return errno == EWOULDBLOCK ? ERR_LOCKED : ERR_IO;
    return state_load(s);
}

enum err audit_signer_local(const char *origin, const struct secret *key, const char *state_path,
                            struct audit_signer *ret)
{
    struct signer_local *s = calloc(1, sizeof(*s));
    enum err e;

    if (s == NULL)
        return ERR_NO_MEMORY;
    s->fd = -1;
    s->root = merkle_empty_root();
    s->origin_digest = sha256(span_str(origin));
    e = span_to_str(span_str(origin), s->origin, sizeof(s->origin));
    if (e == ERR_OK)
        e = ed25519_expand(key, &s->key);
    if (e == ERR_OK)
        e = state_open(s, state_path);
    if (e != ERR_OK)
        goto out;
    *ret = (struct audit_signer){.ctx = s, .last = local_last, .sign = local_sign};
    s = NULL;
out:
    local_free(s);
    return e;
}

void audit_signer_local_fini(struct audit_signer *s)
{
    if (s == NULL || s->ctx == NULL)
        return;
    local_free(s->ctx);
    *s = (struct audit_signer){0};
}
