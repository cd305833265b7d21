#include "common/partfile.h"

#include "common/file.h"
#include "common/limits.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define NAME_WHOLE 64
#define NAME_MAX_LEN 96
#define READ_BLOCK (256 * LIMIT_KIB)

struct part_dir {
    int fd;
};

static enum err err_of_errno(void)
{
    switch (errno) {
    case ENOENT:
        return ERR_NOT_FOUND;
    case ENOSPC:
    case EDQUOT:
        return ERR_DISK_FULL;
    case ENOMEM:
        return ERR_NO_MEMORY;
    default:
        return ERR_IO;
    }
}

static void name_of_part(const struct digest *sha256, const char *suffix, char out[NAME_MAX_LEN])
{
    for (size_t i = 0; i < sizeof sha256->b; i++)
        snprintf(out + 2 * i, 3, "%02x", sha256->b[i]);
    snprintf(out + NAME_WHOLE, NAME_MAX_LEN - NAME_WHOLE, "%s", suffix);
}

/* The digest that a file name stands for; false for other files. */
static bool digest_of_name(const char *name, struct digest *ret, bool *partial)
{
    size_t len = strlen(name);

    if (len != NAME_WHOLE && !(len == NAME_WHOLE + 8 && strcmp(name + NAME_WHOLE, ".partial") == 0))
        return false;
    for (size_t i = 0; i < sizeof ret->b; i++) {
        unsigned byte;

        if (strspn(name + 2 * i, "0123456789abcdef") < 2 || sscanf(name + 2 * i, "%2x", &byte) != 1)
            return false;
        ret->b[i] = (uint8_t)byte;
    }
    *partial = len != NAME_WHOLE;
    return true;
}

static enum err write_all(int fd, struct span bytes, uint64_t offset)
{
    while (bytes.len > 0) {
        ssize_t n = pwrite(fd, bytes.data, bytes.len, (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n == 0 ? ERR_IO : err_of_errno();
        bytes = span_of(bytes.data + n, bytes.len - (size_t)n);
        offset += (uint64_t)n;
    }
    return ERR_OK;
}

/* A listing of its own, which the caller closes; NULL with errno. */
static DIR *list(struct part_dir *d)
{
    int fd = openat(d->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);

    if (dir == NULL && fd >= 0)
        close(fd);
    return dir;
}

static void remove_unfinished(struct part_dir *d)
{
    DIR *dir = list(d);
    struct dirent *entry;

    if (dir == NULL)
        return;
    while ((entry = readdir(dir)) != NULL) {
        if (strncmp(entry->d_name, "new-", 4) == 0)
            unlinkat(d->fd, entry->d_name, 0);
    }
    closedir(dir);
}

enum err part_dir_open(const char *path, struct part_dir **ret)
{
    struct part_dir *d;
    enum err e;
    int fd;

    if (mkdir(path, 0700) == 0) {
        e = file_sync_parent(path);
        if (e != ERR_OK)
            return e;
    } else if (errno != EEXIST) {
        return err_of_errno();
    }
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_of_errno();
    d = calloc(1, sizeof *d);
    if (d == NULL) {
        close(fd);
        return ERR_NO_MEMORY;
    }
    d->fd = fd;
    remove_unfinished(d);
    *ret = d;
    return ERR_OK;
}

void part_dir_close(struct part_dir *d)
{
    if (d == NULL)
        return;
    close(d->fd);
    free(d);
}

bool part_dir_has(struct part_dir *d, const struct digest *sha256, uint64_t len)
{
    char name[NAME_MAX_LEN];
    struct stat st;

    name_of_part(sha256, "", name);
    return fstatat(d->fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
           (uint64_t)st.st_size == len;
}

enum err part_dir_read(struct part_dir *d, const struct digest *sha256, uint64_t offset,
                       uint8_t *out, size_t len, size_t *got)
{
    char name[NAME_MAX_LEN];
    enum err e = ERR_OK;
    size_t have = 0;
    int fd;

    name_of_part(sha256, "", name);
    fd = openat(d->fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return err_of_errno();
    while (have < len) {
        ssize_t n = pread(fd, out + have, len - have, (off_t)(offset + have));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            e = err_of_errno();
        if (n <= 0)
            break;
        have += (size_t)n;
    }
    close(fd);
    if (e == ERR_OK)
        *got = have;
    return e;
}

enum err part_dir_remove(struct part_dir *d, const struct digest *sha256)
{
    static const char *const suffixes[] = {"", ".partial"};
    char name[NAME_MAX_LEN];

    for (size_t i = 0; i < 2; i++) {
        name_of_part(sha256, suffixes[i], name);
        if (unlinkat(d->fd, name, 0) != 0 && errno != ENOENT)
            return err_of_errno();
    }
    return ERR_OK;
}

enum err part_dir_sweep(struct part_dir *d, uint64_t older_ms,
                        bool (*wanted)(void *ctx, const struct digest *sha256), void *ctx)
{
    DIR *dir = list(d);
    struct dirent *entry;

    if (dir == NULL)
        return err_of_errno();
    while ((entry = readdir(dir)) != NULL) {
        struct digest sha256;
        struct stat st;
        bool partial;

        if (!digest_of_name(entry->d_name, &sha256, &partial) ||
            fstatat(d->fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        if ((uint64_t)st.st_mtim.tv_sec * 1000 >= older_ms)
            continue;
        if (partial || !wanted(ctx, &sha256))
            unlinkat(d->fd, entry->d_name, 0);
    }
    closedir(dir);
    return ERR_OK;
}

enum err part_dir_free_bytes(struct part_dir *d, uint64_t *ret)
{
    struct statvfs v;

    if (fstatvfs(d->fd, &v) != 0)
        return err_of_errno();
    *ret = (uint64_t)v.f_bavail * v.f_frsize;
    return ERR_OK;
}

/* Makes the bytes of `fd` durable under the part's name. */
static enum err publish(struct part_dir *d, int fd, const char *from, const struct digest *sha256)
{
    char name[NAME_MAX_LEN];

    name_of_part(sha256, "", name);
    if (fdatasync(fd) != 0 || renameat(d->fd, from, d->fd, name) != 0 || fsync(d->fd) != 0)
        return err_of_errno();
    return ERR_OK;
}

struct part_writer {
    struct part_dir *dir;
    int fd;
    char name[NAME_MAX_LEN];
    struct sha256 hash;
    uint64_t len;
    bool finished;
};

enum err part_writer_new(struct part_dir *d, const struct env *env, struct part_writer **ret)
{
    struct part_writer *w = calloc(1, sizeof *w);
    uint64_t tag;

    if (w == NULL)
        return ERR_NO_MEMORY;
    env_random(env, &tag, sizeof tag);
    snprintf(w->name, sizeof w->name, "new-%016llx", (unsigned long long)tag);
    w->dir = d;
    w->fd = openat(d->fd, w->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (w->fd < 0) {
        enum err e = err_of_errno();

        free(w);
        return e;
    }
    sha256_init(&w->hash);
    *ret = w;
    return ERR_OK;
}

void part_writer_free(struct part_writer *w)
{
    if (w == NULL)
        return;
    close(w->fd);
    if (!w->finished)
        unlinkat(w->dir->fd, w->name, 0);
    free(w);
}

enum err part_writer_put(struct part_writer *w, struct span bytes)
{
    enum err e = write_all(w->fd, bytes, w->len);

    if (e != ERR_OK)
        return e;
    sha256_update(&w->hash, bytes);
    w->len += bytes.len;
    return ERR_OK;
}

enum err part_writer_finish(struct part_writer *w, struct digest *sha256, uint64_t *len)
{
    struct digest digest = sha256_final(&w->hash);
    enum err e = publish(w->dir, w->fd, w->name, &digest);

    if (e != ERR_OK)
        return e;
    w->finished = true;
    *sha256 = digest;
    *len = w->len;
    return ERR_OK;
}

struct part_receiver {
    struct part_dir *dir;
    int fd;
    char name[NAME_MAX_LEN];
    struct digest sha256;
    struct sha256 hash; /* over the first `offset` bytes */
    uint64_t offset;
    uint64_t len;
};

/* Hashes what an earlier receiver left, so that the digest covers every byte. */
static enum err hash_resumed(struct part_receiver *r, uint64_t size)
{
    uint8_t *block = malloc(READ_BLOCK);
    enum err e = ERR_OK;

    if (block == NULL)
        return ERR_NO_MEMORY;
    while (e == ERR_OK && r->offset < size) {
        ssize_t n = pread(r->fd, block, READ_BLOCK, (off_t)r->offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            e = ERR_IO;
        } else {
            sha256_update(&r->hash, span_of(block, (size_t)n));
            r->offset += (uint64_t)n;
        }
    }
    free(block);
    return e;
}

enum err part_receiver_new(struct part_dir *d, const struct digest *sha256, uint64_t len,
                           struct part_receiver **ret)
{
    struct part_receiver *r = calloc(1, sizeof *r);
    struct stat st;
    enum err e = ERR_OK;

    if (r == NULL)
        return ERR_NO_MEMORY;
    r->dir = d;
    r->sha256 = *sha256;
    r->len = len;
    sha256_init(&r->hash);
    name_of_part(sha256, ".partial", r->name);
    r->fd = openat(d->fd, r->name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (r->fd < 0) {
        e = err_of_errno();
        free(r);
        return e;
    }
    if (fstat(r->fd, &st) != 0)
        e = err_of_errno();
    /* Longer than it may be: not ours to trust, begin anew. */
    else if ((uint64_t)st.st_size > len)
        e = ftruncate(r->fd, 0) == 0 ? ERR_OK : err_of_errno();
    else
        e = hash_resumed(r, (uint64_t)st.st_size);
    if (e != ERR_OK) {
        part_receiver_free(r);
        return e;
    }
    *ret = r;
    return ERR_OK;
}

void part_receiver_free(struct part_receiver *r)
{
    if (r == NULL)
        return;
    close(r->fd);
    free(r);
}

uint64_t part_receiver_offset(const struct part_receiver *r)
{
    return r->offset;
}

uint64_t part_receiver_len(const struct part_receiver *r)
{
    return r->len;
}

enum err part_receiver_put(struct part_receiver *r, uint64_t offset, struct span bytes)
{
    enum err e;

    if (offset != r->offset)
        return ERR_MALFORMED;
    if (bytes.len > r->len - r->offset)
        return ERR_TOO_LARGE;
    e = write_all(r->fd, bytes, offset);
    if (e != ERR_OK)
        return e;
    sha256_update(&r->hash, bytes);
    r->offset += bytes.len;
    return ERR_OK;
}

enum err part_receiver_finish(struct part_receiver *r)
{
    struct digest digest;

    if (r->offset != r->len)
        return ERR_BAD_DIGEST;
    digest = sha256_final(&r->hash);
    if (!digest_equal(&digest, &r->sha256)) {
        unlinkat(r->dir->fd, r->name, 0);
        return ERR_BAD_DIGEST;
    }
    return publish(r->dir, r->fd, r->name, &r->sha256);
}
