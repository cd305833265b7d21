/* Files: read with a maximum, write so that a reader or a power cut sees the old bytes or the new
 * ones, paths of a configuration, the lock of a data directory.
 *
 * Errors, unless a function says more: ERR_NOT_FOUND; ERR_EXISTS; ERR_NOT_ALLOWED (permissions, a
 * read-only file system, not a regular file or directory); ERR_TOO_LARGE; ERR_DISK_FULL;
 * ERR_NO_MEMORY; ERR_IO for everything else. Directories are synced before a function says
 * ERR_OK. */
#ifndef SEALPOST_COMMON_FILE_H
#define SEALPOST_COMMON_FILE_H

#include "common/err.h"
#include "common/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The error for a value of errno. */
enum err file_error(int number);

/* The whole of a regular file (symbolic links are followed; devices, pipes and directories
 * refused). `ret` need not be initialised; the caller owns it; its max is `max`. ERR_TOO_LARGE when
 * the file has more than `max` bytes. */
enum err file_read(const char *path, size_t max, struct buf *ret);
/* The rest of any descriptor, such as standard input, which stays open. */
enum err file_read_fd(int fd, size_t max, struct buf *ret);

/* Puts `bytes` at `path` with exactly `mode`, replacing what is there: temporary file beside it,
 * fsync, rename, fsync of the directory. On failure the old file stands, unless only the last sync
 * failed: then the new one may be there already. A symbolic link is replaced, not followed. */
enum err file_write_atomic(const char *path, struct span bytes, mode_t mode);
/* The same, but never overwrites: ERR_EXISTS. */
enum err file_create(const char *path, struct span bytes, mode_t mode);

/* The same in pieces, for what does not fit into memory. */
struct file_writer;
/* `replace` false: committing gives ERR_EXISTS when `path` is there (asked here too, early). */
enum err file_writer_new(const char *path, mode_t mode, bool replace, struct file_writer **ret);
/* Sticky: after a failure later calls and the commit give the same error. */
enum err file_writer_put(struct file_writer *w, struct span bytes);
/* Makes it durable and visible. Once. */
enum err file_writer_commit(struct file_writer *w);
/* Removes the temporary file when not committed. Accepts NULL. */
void file_writer_free(struct file_writer *w);

/* Writes all of `bytes` to a descriptor. */
enum err file_write_all(int fd, struct span bytes);
/* fsync of a directory, and of the one that holds `path`. */
enum err file_sync_dir(const char *dir);
enum err file_sync_parent(const char *path);
/* Makes the directory and those above that are missing (mkdir -p), all with `mode` less umask.
 * ERR_OK when it is there; ERR_NOT_ALLOWED when something else has the name. */
enum err file_make_dir(const char *path, mode_t mode);

/* `path` as seen from the directory `base`: absolute paths stay. ERR_TOO_LARGE when `size` (NUL
 * included) does not hold it. */
enum err file_join(const char *base, const char *path, char *out, size_t size);
/* The directory that holds `path`: "." without a '/'. ERR_TOO_LARGE. */
enum err file_parent(const char *path, char *out, size_t size);

/* The lock of a data directory: flock on DIR/lock, which holds "PID PROGRAM" of the owner and goes
 * with the process however that ends. The file stays. */
struct file_lock;
#define FILE_LOCK_HOLDER_SIZE 64
/* ERR_LOCKED when another process has it; then `holder` (when not NULL) says who, such as
 * "4711 sealpost-agent", made of printable ASCII, or "unknown". */
enum err file_lock_dir(const char *dir, const char *program, char holder[FILE_LOCK_HOLDER_SIZE],
                       struct file_lock **ret);
/* Unlocks; accepts NULL. */
void file_lock_free(struct file_lock *lock);

/* Reserves room so that later writes within `size` bytes do not find the disk full.
 * ERR_DISK_FULL. */
enum err file_preallocate(int fd, uint64_t size);

#endif
