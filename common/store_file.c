#include "common/file.h"
#include "common/store_internal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* LMDB takes the number of reader slots from the size of lock.mdb, 64 bytes each and two of head.
 */
#define LOCK_BYTES ((uint64_t)32 * LIMIT_KIB)

/* Layout of a meta page: LMDB 0.9 mdb.c, MDB_page, MDB_db and MDB_meta, on machines with words of
 * 64 bits. Numbers are the machine's own. */
#define META_FLAGS 10
#define META_MAGIC 16
#define META_VERSION 20
#define META_PAGE_BYTES 40
#define META_LAST_PAGE 136
#define META_TXN 144
#define META_BYTES 152
#define PAGE_IS_META 0x08
#define MAGIC 0xBEEFC0DEu
#define DATA_VERSION 1
#define PAGE_MIN 512
#define PAGE_MAX 65536
#define COPY_BYTES (256 * LIMIT_KIB)

static_assert(sizeof(size_t) == 8, "data.mdb depends on the word size");

enum err store_file_read(int fd, uint64_t at, void *out, size_t len)
{
    size_t got = 0;

    while (got < len) {
        ssize_t n = pread(fd, (uint8_t *)out + got, len - got, (off_t)(at + got));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return file_error(errno);
        if (n == 0)
            return ERR_CORRUPT;
        got += (size_t)n;
    }
    return ERR_OK;
}

static uint64_t number(const uint8_t *p, size_t len)
{
    uint16_t u16;
    uint32_t u32;
    uint64_t u64;

    switch (len) {
    case sizeof u16:
        memcpy(&u16, p, sizeof u16);
        return u16;
    case sizeof u32:
        memcpy(&u32, p, sizeof u32);
        return u32;
    default:
        memcpy(&u64, p, sizeof u64);
        return u64;
    }
}

static enum err read_meta(int fd, uint64_t at, uint64_t *page_bytes, uint64_t *last, uint64_t *txn)
{
    uint8_t page[META_BYTES];
    uint64_t size;
    enum err e = store_file_read(fd, at, page, sizeof page);

    if (e != ERR_OK)
        return e;
    size = number(page + META_PAGE_BYTES, 4);
    if ((number(page + META_FLAGS, 2) & PAGE_IS_META) == 0 ||
        number(page + META_MAGIC, 4) != MAGIC || number(page + META_VERSION, 4) != DATA_VERSION ||
        size < PAGE_MIN || size > PAGE_MAX || (size & (size - 1)) != 0)
        return ERR_CORRUPT;
    *page_bytes = size;
    *last = number(page + META_LAST_PAGE, 8);
    *txn = number(page + META_TXN, 8);
    return ERR_OK;
}

enum err store_file_meta(int fd, struct store_meta *ret)
{
    struct stat st;
    uint64_t page[2];
    uint64_t last[2];
    uint64_t txn[2];
    unsigned newest;
    enum err e;

    if (fstat(fd, &st) != 0)
        return file_error(errno);
    e = read_meta(fd, 0, &page[0], &last[0], &txn[0]);
    if (e == ERR_OK)
        e = read_meta(fd, page[0], &page[1], &last[1], &txn[1]);
    if (e != ERR_OK)
        return e;
    newest = txn[0] < txn[1];
    for (unsigned i = 0; i < 2; i++) {
        if (page[i] != page[0] || last[i] < 1 || last[i] >= LIMIT_STORE_MAP / page[0])
            return ERR_CORRUPT;
    }
    if ((uint64_t)st.st_size < (last[newest] + 1) * page[0])
        return ERR_CORRUPT;
    *ret = (struct store_meta){.page_bytes = page[0],
                               .need_bytes = (last[newest] + 1) * page[0],
                               .txn = txn[newest],
                               .newest = newest};
    return ERR_OK;
}

enum err store_file_lock(const char *dir)
{
    char path[LIMIT_PATH];
    enum err e = file_join(dir, STORE_LOCK, path, sizeof path);
    int fd;

    if (e != ERR_OK)
        return e;
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return file_error(errno);
    e = file_preallocate(fd, LOCK_BYTES);
    close(fd);
    return e;
}

static enum err copy_bytes(int in, int out, uint64_t at, uint64_t end)
{
    uint8_t *bytes = malloc(COPY_BYTES);
    enum err e = bytes == NULL ? ERR_NO_MEMORY : ERR_OK;

    while (e == ERR_OK && at < end) {
        size_t n = end - at < COPY_BYTES ? (size_t)(end - at) : COPY_BYTES;

        e = store_file_read(in, at, bytes, n);
        if (e == ERR_OK)
            e = file_write_all(out, span_of(bytes, n));
        at += n;
    }
    free(bytes);
    return e;
}

/* Both meta pages of the copy are the newest one of the source. */
static enum err copy_metas(int in, int out, const struct store_meta *meta)
{
    uint8_t page[PAGE_MAX];
    enum err e = store_file_read(in, (uint64_t)meta->newest * meta->page_bytes, page,
                                 (size_t)meta->page_bytes);

    for (uint64_t i = 0; e == ERR_OK && i < 2; i++) {
        memcpy(page, &i, sizeof i);
        e = file_write_all(out, span_of(page, (size_t)meta->page_bytes));
    }
    return e;
}

/* The writer may use pages of state N again from transaction N + 3 on, so the copy of N is whole
 * when N + 1 is the newest after it. */
static enum err copy_once(int in, int out, bool *whole)
{
    struct store_meta before;
    struct store_meta again;
    struct store_meta after;
    enum err e = store_file_meta(in, &before);

    if (e != ERR_OK)
        return e;
    if (ftruncate(out, 0) != 0 || lseek(out, 0, SEEK_SET) != 0)
        return file_error(errno);
    e = copy_metas(in, out, &before);
    if (e == ERR_OK)
        e = store_file_meta(in, &again);
    if (e == ERR_OK)
        e = copy_bytes(in, out, 2 * before.page_bytes, before.need_bytes);
    if (e == ERR_OK)
        e = store_file_meta(in, &after);
    if (e == ERR_OK)
        *whole = again.txn == before.txn && after.txn <= before.txn + 1;
    return e;
}

enum err store_file_copy(const char *path, int out)
{
    bool whole = false;
    enum err e = ERR_OK;
    int in = open(path, O_RDONLY | O_CLOEXEC);

    if (in < 0)
        return file_error(errno);
    for (int i = 0; e == ERR_OK && !whole && i < LIMIT_STORE_COPY_TRIES; i++)
        e = copy_once(in, out, &whole);
    close(in);
    if (e != ERR_OK)
        return e;
    return whole ? ERR_OK : ERR_UNAVAILABLE;
}

enum err store_file_scratch(const char *scratch, int *ret)
{
    char path[LIMIT_PATH];
    int fd;
    int n = snprintf(path, sizeof path, "%s/sealpost-XXXXXX", scratch);

    if (n < 0 || (size_t)n >= sizeof path)
        return ERR_CONFIG;
    fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0)
        return file_error(errno);
    if (unlink(path) != 0) {
        enum err e = file_error(errno);

        close(fd);
        return e;
    }
    *ret = fd;
    return ERR_OK;
}

enum err store_env_copy(MDB_env *env, int fd)
{
    int rc = mdb_env_copyfd2(env, fd, MDB_CP_COMPACT);

    /* Compacting gives up when pages were leaked, which harms nothing else. */
    if (rc == MDB_CORRUPTED) {
        if (ftruncate(fd, 0) != 0 || lseek(fd, 0, SEEK_SET) != 0)
            return file_error(errno);
        rc = mdb_env_copyfd2(env, fd, 0);
    }
    return store_error(rc);
}

enum err store_copy(struct store *s, const char *dir)
{
    char path[LIMIT_PATH];
    char made[LIMIT_PATH];
    int fd = -1;
    enum err e = file_join(dir, STORE_DATA, path, sizeof path);

    if (e == ERR_OK)
        e = file_join(dir, STORE_NEW, made, sizeof made);
    if (e != ERR_OK)
        return e;
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return file_error(errno);
    if (access(path, F_OK) == 0)
        return ERR_EXISTS;
    fd = open(made, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return file_error(errno);
    e = store_env_copy(s->env, fd);
    if (e == ERR_OK && fsync(fd) != 0)
        e = file_error(errno);
    close(fd);
    if (e == ERR_OK && rename(made, path) != 0)
        e = file_error(errno);
    if (e != ERR_OK)
        unlink(made);
    return e == ERR_OK ? file_sync_dir(dir) : e;
}
