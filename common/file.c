#include "common/file.h"

#include "common/limits.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* First allocation for a descriptor whose size is not known. */
#define READ_CHUNK (64 * LIMIT_KIB)
#define TEMPORARY_NAME ".sealpost-XXXXXX"

struct file_writer {
    int fd;
    mode_t mode;
    bool replace;
    bool committed;
    enum err err;
    char path[LIMIT_PATH];
    char temporary[LIMIT_PATH];
};

struct file_lock {
    int fd;
};

enum err file_error(int number)
{
    switch (number) {
    case ENOENT:
    case ENOTDIR:
        return ERR_NOT_FOUND;
    case EEXIST:
        return ERR_EXISTS;
    case EACCES:
    case EPERM:
    case EROFS:
    case EISDIR:
    case ELOOP:
        return ERR_NOT_ALLOWED;
    case ENOSPC:
    case EDQUOT:
        return ERR_DISK_FULL;
    case EFBIG:
    case ENAMETOOLONG:
        return ERR_TOO_LARGE;
    case ENOMEM:
        return ERR_NO_MEMORY;
    default:
        return ERR_IO;
    }
}

/* Reads to the end into `b`, whose max is one above what the caller takes, so that one byte too
 * many shows. `guess` is what is likely there: with a good one, there is one allocation. */
static enum err read_rest(int fd, size_t guess, struct buf *b)
{
    for (size_t room = guess; b->len < b->max; room = READ_CHUNK) {
        size_t want = room < b->max - b->len ? room : b->max - b->len;
        uint8_t *at = buf_extend(b, want);
        ssize_t got;

        if (at == NULL)
            return b->err;
        do
            got = read(fd, at, want);
        while (got < 0 && errno == EINTR);
        if (got < 0)
            return file_error(errno);
        b->len -= want - (size_t)got;
        if (got == 0)
            return ERR_OK;
    }
    return ERR_OK;
}

static enum err read_all(int fd, size_t guess, size_t max, struct buf *ret)
{
    struct buf b;
    enum err e;

    assert(max < SIZE_MAX);
    buf_init(&b, max + 1);
    e = read_rest(fd, guess, &b);
    if (e == ERR_OK && b.len > max)
        e = ERR_TOO_LARGE;
    if (e == ERR_OK) {
        b.max = max;
        *ret = b;
    } else {
        /* It may be a key file. */
        buf_wipe(&b);
    }
    return e;
}

enum err file_read(const char *path, size_t max, struct buf *ret)
{
    struct stat st;
    enum err e = ERR_OK;
    /* Not blocking: opening a pipe without a writer would wait. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    if (fd < 0)
        return errno == ENXIO ? ERR_NOT_ALLOWED : file_error(errno);
    if (fstat(fd, &st) != 0)
        e = file_error(errno);
    else if (!S_ISREG(st.st_mode))
        e = ERR_NOT_ALLOWED;
    else if ((uintmax_t)st.st_size > max)
        e = ERR_TOO_LARGE;
    if (e == ERR_OK)
        e = read_all(fd, (size_t)st.st_size + 1, max, ret);
    close(fd);
    return e;
}

enum err file_read_fd(int fd, size_t max, struct buf *ret)
{
    return read_all(fd, READ_CHUNK, max, ret);
}

enum err file_write_all(int fd, struct span bytes)
{
    while (bytes.len > 0) {
        ssize_t put = write(fd, bytes.data, bytes.len);

        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return put < 0 ? file_error(errno) : ERR_IO;
        bytes.data += put;
        bytes.len -= (size_t)put;
    }
    return ERR_OK;
}

enum err file_sync_dir(const char *dir)
{
    enum err e = ERR_OK;
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return file_error(errno);
    if (fsync(fd) != 0)
        e = file_error(errno);
    close(fd);
    return e;
}

enum err file_parent(const char *path, char *out, size_t size)
{
    const char *slash = strrchr(path, '/');

    if (slash == NULL)
        return span_to_str(span_str("."), out, size);
    while (slash > path && slash[-1] == '/')
        slash--;
    return span_to_str(span_of(path, slash == path ? 1 : (size_t)(slash - path)), out, size);
}

enum err file_sync_parent(const char *path)
{
    char dir[LIMIT_PATH];
    enum err e = file_parent(path, dir, sizeof(dir));

    return e == ERR_OK ? file_sync_dir(dir) : e;
}

enum err file_join(const char *base, const char *path, char *out, size_t size)
{
    size_t base_len = strlen(base);
    bool plain = path[0] == '/' || base_len == 0;
    bool slash = !plain && base[base_len - 1] != '/';
    int len = snprintf(out, size, "%s%s%s", plain ? "" : base, slash ? "/" : "", path);

    return len >= 0 && (size_t)len < size ? ERR_OK : ERR_TOO_LARGE;
}

enum err file_writer_new(const char *path, mode_t mode, bool replace, struct file_writer **ret)
{
    struct file_writer *w = calloc(1, sizeof(*w));
    char dir[LIMIT_PATH];
    enum err e;

    if (w == NULL)
        return ERR_NO_MEMORY;
    w->fd = -1;
    w->mode = mode;
    w->replace = replace;
    e = span_to_str(span_str(path), w->path, sizeof(w->path));
    if (e == ERR_OK)
        e = file_parent(path, dir, sizeof(dir));
    if (e == ERR_OK)
        e = file_join(dir, TEMPORARY_NAME, w->temporary, sizeof(w->temporary));
    if (e == ERR_OK && !replace && faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        e = ERR_EXISTS;
    if (e != ERR_OK)
        goto out;
    w->fd = mkostemp(w->temporary, O_CLOEXEC);
    if (w->fd < 0)
        e = file_error(errno);
out:
    if (e == ERR_OK)
        *ret = w;
    else
        file_writer_free(w);
    return e;
}

enum err file_writer_put(struct file_writer *w, struct span bytes)
{
    if (w->err == ERR_OK)
        w->err = file_write_all(w->fd, bytes);
    return w->err;
}

/* Gives the temporary file its name. Without replacing, the kernel refuses in the same step when
 * the name is taken; file systems that cannot do that have links. */
static enum err give_name(struct file_writer *w)
{
    if (w->replace)
        return rename(w->temporary, w->path) == 0 ? ERR_OK : file_error(errno);
    if (renameat2(AT_FDCWD, w->temporary, AT_FDCWD, w->path, RENAME_NOREPLACE) == 0)
        return ERR_OK;
    if (errno != EINVAL && errno != ENOSYS)
        return file_error(errno);
    if (link(w->temporary, w->path) != 0)
        return file_error(errno);
    unlink(w->temporary);
    return ERR_OK;
}

enum err file_writer_commit(struct file_writer *w)
{
    if (w->err == ERR_OK && fchmod(w->fd, w->mode) != 0)
        w->err = file_error(errno);
    if (w->err == ERR_OK && fsync(w->fd) != 0)
        w->err = file_error(errno);
    if (w->err == ERR_OK)
        w->err = give_name(w);
    if (w->err != ERR_OK)
        return w->err;
    w->committed = true;
    w->err = file_sync_parent(w->path);
    return w->err;
}

void file_writer_free(struct file_writer *w)
{
    if (w == NULL)
        return;
    if (w->fd >= 0) {
        close(w->fd);
        if (!w->committed)
            unlink(w->temporary);
    }
    free(w);
}

static enum err write_file(const char *path, struct span bytes, mode_t mode, bool replace)
{
    struct file_writer *w;
    enum err e = file_writer_new(path, mode, replace, &w);

    if (e != ERR_OK)
        return e;
    e = file_writer_put(w, bytes);
    if (e == ERR_OK)
        e = file_writer_commit(w);
    file_writer_free(w);
    return e;
}

enum err file_write_atomic(const char *path, struct span bytes, mode_t mode)
{
    return write_file(path, bytes, mode, true);
}

enum err file_create(const char *path, struct span bytes, mode_t mode)
{
    return write_file(path, bytes, mode, false);
}

/* One directory whose parent is there. */
static enum err make_one(const char *path, mode_t mode)
{
    struct stat st;

    if (mkdir(path, mode) == 0)
        return file_sync_parent(path);
    if (errno != EEXIST)
        return file_error(errno);
    if (stat(path, &st) != 0)
        return file_error(errno);
    return S_ISDIR(st.st_mode) ? ERR_OK : ERR_NOT_ALLOWED;
}

enum err file_make_dir(const char *path, mode_t mode)
{
    char part[LIMIT_PATH];
    enum err e = span_to_str(span_str(path), part, sizeof(part));

    if (e != ERR_OK)
        return e;
    if (part[0] == '\0')
        return ERR_NOT_FOUND;
    for (char *at = part + 1; *at != '\0'; at++) {
        if (*at != '/' || at[-1] == '/')
            continue;
        *at = '\0';
        e = make_one(part, mode);
        if (e != ERR_OK)
            return e;
        *at = '/';
    }
    /* "a/b/" ends with the directory that the loop made. */
    return part[strlen(part) - 1] == '/' ? ERR_OK : make_one(part, mode);
}

/* What the owner wrote, in printable ASCII: another uid may have written it. */
static void read_holder(int fd, char holder[FILE_LOCK_HOLDER_SIZE])
{
    ssize_t len = pread(fd, holder, FILE_LOCK_HOLDER_SIZE - 1, 0);
    size_t n = 0;

    while (len > 0 && n < (size_t)len && holder[n] >= ' ' && holder[n] <= '~')
        n++;
    holder[n] = '\0';
    if (n == 0)
        snprintf(holder, FILE_LOCK_HOLDER_SIZE, "unknown");
}

static enum err write_holder(int fd, const char *program)
{
    char text[FILE_LOCK_HOLDER_SIZE];
    int len = snprintf(text, sizeof(text), "%ld %s\n", (long)getpid(), program);

    if (len < 0)
        return ERR_IO;
    if ((size_t)len >= sizeof(text))
        len = (int)sizeof(text) - 1;
    if (ftruncate(fd, 0) != 0)
        return file_error(errno);
    return file_write_all(fd, span_of(text, (size_t)len));
}

enum err file_lock_dir(const char *dir, const char *program, char holder[FILE_LOCK_HOLDER_SIZE],
                       struct file_lock **ret)
{
    char path[LIMIT_PATH];
    struct file_lock *lock;
    enum err e = file_join(dir, "lock", path, sizeof(path));

    if (e != ERR_OK)
        return e;
    lock = calloc(1, sizeof(*lock));
    if (lock == NULL)
        return ERR_NO_MEMORY;
    lock->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock->fd < 0) {
        e = file_error(errno);
    } else if (flock(lock->fd, LOCK_EX | LOCK_NB) != 0) {
        e = errno == EWOULDBLOCK ? ERR_LOCKED : file_error(errno);
        if (e == ERR_LOCKED && holder != NULL)
            read_holder(lock->fd, holder);
    } else {
        e = write_holder(lock->fd, program);
    }
    if (e == ERR_OK)
        *ret = lock;
    else
        file_lock_free(lock);
    return e;
}

void file_lock_free(struct file_lock *lock)
{
    if (lock == NULL)
        return;
    if (lock->fd >= 0)
        close(lock->fd);
    free(lock);
}

enum err file_preallocate(int fd, uint64_t size)
{
    int number;

    if (size == 0)
        return ERR_OK;
    if (size > INT64_MAX)
        return ERR_TOO_LARGE;
    do
        number = posix_fallocate(fd, 0, (off_t)size);
    while (number == EINTR);
    return number == 0 ? ERR_OK : file_error(number);
}
