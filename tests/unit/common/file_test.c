#include "common/file.h"

#include "common/limits.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Stand before the C library's, to fail when asked. */
static int rename_error, sync_error;

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    errno = rename_error;
    return rename_error != 0 ? -1 : (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
}

int fsync(int fd)
{
    errno = sync_error;
    return sync_error != 0 ? -1 : (int)syscall(SYS_fsync, fd);
}

/* A fresh directory, which is the working directory of the test's process. */
static char room[64];

static void enter_room(void)
{
    snprintf(room, sizeof(room), "/tmp/sealpost-file-XXXXXX");
    cr_assert_not_null(mkdtemp(room));
    cr_assert_eq(chdir(room), 0);
}

static void leave_room(void)
{
    char command[128];

    cr_assert_eq(chdir("/"), 0);
    snprintf(command, sizeof(command), "rm -rf '%s'", room);
    cr_assert_eq(system(command), 0);
}

TestSuite(file, .init = enter_room, .fini = leave_room);

static void assert_content(const char *path, const char *expected)
{
    struct buf b;

    cr_assert_eq(file_read(path, 1000, &b), ERR_OK);
    cr_assert(span_equal(buf_span(&b), span_str(expected)));
    buf_fini(&b);
}

static size_t entries(const char *dir)
{
    DIR *d = opendir(dir);
    size_t n = 0;

    cr_assert_not_null(d);
    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n - 2;
}

static unsigned mode_of(const char *path)
{
    struct stat st;

    cr_assert_eq(stat(path, &st), 0);
    return (unsigned)st.st_mode & 07777;
}

Test(file, reads_up_to_the_maximum)
{
    struct buf b = {.max = 7};

    cr_assert_eq(file_create("f", span_str("12345"), 0600), ERR_OK);
    cr_assert_eq(file_read("f", 4, &b), ERR_TOO_LARGE);
    cr_assert_eq(b.max, 7);
    cr_assert_eq(file_read("f", 5, &b), ERR_OK);
    cr_assert(span_equal(buf_span(&b), span_str("12345")));
    cr_assert_eq(b.max, 5);
    buf_fini(&b);
    cr_assert_eq(file_read("f", 6, &b), ERR_OK);
    cr_assert_eq(b.len, 5);
    buf_fini(&b);
    cr_assert_eq(file_create("empty", span_of(NULL, 0), 0600), ERR_OK);
    cr_assert_eq(file_read("empty", 0, &b), ERR_OK);
    cr_assert_eq(b.len, 0);
    buf_fini(&b);
}

Test(file, reads_regular_files_only)
{
    struct buf b;

    cr_assert_eq(file_read("missing", 10, &b), ERR_NOT_FOUND);
    cr_assert_eq(file_read(".", 10, &b), ERR_NOT_ALLOWED);
    cr_assert_eq(file_read("/dev/zero", 10, &b), ERR_NOT_ALLOWED);
    cr_assert_eq(mkfifo("pipe", 0600), 0);
    cr_assert_eq(file_read("pipe", 10, &b), ERR_NOT_ALLOWED);
    cr_assert_eq(symlink("loop", "loop"), 0);
    cr_assert_eq(file_read("loop", 10, &b), ERR_NOT_ALLOWED);
    cr_assert_eq(file_create("f", span_str("x"), 0600), ERR_OK);
    cr_assert_eq(file_read("f/g", 10, &b), ERR_NOT_FOUND);
    cr_assert_eq(symlink("f", "link"), 0);
    assert_content("link", "x");
}

Test(file, reads_a_pipe_to_its_end)
{
    uint8_t *big = malloc(200000);
    struct buf b;
    int fds[2];
    pid_t child;

    memset(big, 5, 200000);
    for (size_t max = 199999; max <= 200001; max++) {
        cr_assert_eq(pipe(fds), 0);
        child = fork();
        if (child == 0) {
            signal(SIGPIPE, SIG_IGN);
            close(fds[0]);
            _exit(file_write_all(fds[1], span_of(big, 200000)) == ERR_OK ? 0 : 1);
        }
        close(fds[1]);
        if (max < 200000) {
            cr_assert_eq(file_read_fd(fds[0], max, &b), ERR_TOO_LARGE);
        } else {
            cr_assert_eq(file_read_fd(fds[0], max, &b), ERR_OK);
            cr_assert(span_equal(buf_span(&b), span_of(big, 200000)));
            buf_fini(&b);
        }
        close(fds[0]);
        cr_assert_eq(waitpid(child, NULL, 0), child);
    }
    free(big);
}

Test(file, a_write_replaces_and_sets_the_mode)
{
    umask(077);
    cr_assert_eq(file_write_atomic("f", span_str("one"), 0644), ERR_OK);
    cr_assert_eq(mode_of("f"), 0644);
    cr_assert_eq(file_write_atomic("f", span_str("two"), 0600), ERR_OK);
    cr_assert_eq(mode_of("f"), 0600);
    assert_content("f", "two");
    cr_assert_eq(entries("."), 1);
}

Test(file, a_create_never_overwrites)
{
    struct file_writer *w;

    cr_assert_eq(file_create("f", span_str("one"), 0400), ERR_OK);
    cr_assert_eq(mode_of("f"), 0400);
    cr_assert_eq(file_create("f", span_str("two"), 0400), ERR_EXISTS);
    assert_content("f", "one");
    cr_assert_eq(symlink("nowhere", "dangling"), 0);
    cr_assert_eq(file_create("dangling", span_str("two"), 0400), ERR_EXISTS);
    /* It comes between the first look and the commit. */
    cr_assert_eq(file_writer_new("g", 0600, false, &w), ERR_OK);
    cr_assert_eq(file_create("g", span_str("first"), 0600), ERR_OK);
    cr_assert_eq(file_writer_put(w, span_str("second")), ERR_OK);
    cr_assert_eq(file_writer_commit(w), ERR_EXISTS);
    cr_assert_eq(file_writer_put(w, span_str("more")), ERR_EXISTS);
    file_writer_free(w);
    assert_content("g", "first");
    cr_assert_eq(entries("."), 3);
}

Test(file, a_writer_that_is_dropped_leaves_nothing)
{
    struct file_writer *w;

    cr_assert_eq(file_write_atomic("f", span_str("old"), 0600), ERR_OK);
    cr_assert_eq(file_writer_new("f", 0600, true, &w), ERR_OK);
    cr_assert_eq(file_writer_put(w, span_str("half")), ERR_OK);
    cr_assert_eq(entries("."), 2);
    file_writer_free(w);
    file_writer_free(NULL);
    assert_content("f", "old");
    cr_assert_eq(entries("."), 1);
}

Test(file, failures_of_writing_are_told)
{
    struct span x = span_str("x");
    int full;

    cr_assert_eq(file_write_atomic("no/f", x, 0600), ERR_NOT_FOUND);
    cr_assert_eq(mkdir("dir", 0700), 0);
    cr_assert_eq(file_write_atomic("dir", x, 0600), ERR_NOT_ALLOWED);
    cr_assert_eq(entries("."), 1);
    full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    cr_assert_geq(full, 0);
    cr_assert_eq(file_write_all(full, x), ERR_DISK_FULL);
    close(full);
    cr_assert_eq(file_write_all(-1, x), ERR_IO);
}

Test(file, a_file_system_without_exclusive_renaming_gets_links)
{
    rename_error = EINVAL;
    cr_assert_eq(file_create("f", span_str("one"), 0600), ERR_OK);
    assert_content("f", "one");
    cr_assert_eq(entries("."), 1);
    cr_assert_eq(unlink("f"), 0);
    cr_assert_eq(symlink("nowhere", "f"), 0);
    cr_assert_eq(file_create("f", span_str("two"), 0600), ERR_EXISTS);
    rename_error = ENOSPC;
    cr_assert_eq(file_create("g", span_str("two"), 0600), ERR_DISK_FULL);
    cr_assert_eq(entries("."), 1);
}

Test(file, a_failed_sync_is_a_failed_write)
{
    cr_assert_eq(file_write_atomic("f", span_str("old"), 0600), ERR_OK);
    sync_error = EIO;
    cr_assert_eq(file_write_atomic("f", span_str("new"), 0600), ERR_IO);
    cr_assert_eq(file_create("g", span_str("new"), 0600), ERR_IO);
    cr_assert_eq(file_sync_dir("."), ERR_IO);
    cr_assert_eq(file_make_dir("d", 0700), ERR_IO);
    cr_assert_eq(rmdir("d"), 0);
    assert_content("f", "old");
    cr_assert_eq(entries("."), 1);
}

Test(file, errors_have_their_code)
{
    cr_assert_eq(file_error(ENOENT), ERR_NOT_FOUND);
    cr_assert_eq(file_error(EEXIST), ERR_EXISTS);
    cr_assert_eq(file_error(EACCES), ERR_NOT_ALLOWED);
    cr_assert_eq(file_error(EPERM), ERR_NOT_ALLOWED);
    cr_assert_eq(file_error(EROFS), ERR_NOT_ALLOWED);
    cr_assert_eq(file_error(ENOSPC), ERR_DISK_FULL);
    cr_assert_eq(file_error(EDQUOT), ERR_DISK_FULL);
    cr_assert_eq(file_error(ENAMETOOLONG), ERR_TOO_LARGE);
    cr_assert_eq(file_error(ENOMEM), ERR_NO_MEMORY);
    cr_assert_eq(file_error(EIO), ERR_IO);
}

Test(file, directories_are_made_down_to_the_last)
{
    char longer[LIMIT_PATH + 1];

    umask(0);
    cr_assert_eq(file_make_dir("a/b//c/", 0750), ERR_OK);
    cr_assert_eq(mode_of("a"), 0750);
    cr_assert_eq(mode_of("a/b/c"), 0750);
    cr_assert_eq(file_make_dir("a/b/c", 0700), ERR_OK);
    cr_assert_eq(mode_of("a/b/c"), 0750);
    cr_assert_eq(file_make_dir("/", 0700), ERR_OK);
    cr_assert_eq(file_make_dir("", 0700), ERR_NOT_FOUND);
    cr_assert_eq(file_create("a/f", span_str(""), 0600), ERR_OK);
    cr_assert_eq(file_make_dir("a/f", 0700), ERR_NOT_ALLOWED);
    cr_assert_eq(file_make_dir("a/f/g", 0700), ERR_NOT_ALLOWED);
    memset(longer, 'x', sizeof(longer));
    longer[LIMIT_PATH] = '\0';
    cr_assert_eq(file_make_dir(longer, 0700), ERR_TOO_LARGE);
}

Test(file, paths_join_within_bounds)
{
    char out[8];

    cr_assert_eq(file_join("/etc", "abc", out, 8), ERR_TOO_LARGE);
    cr_assert_eq(file_join("/etc", "ab", out, 8), ERR_OK);
    cr_assert_str_eq(out, "/etc/ab");
    cr_assert_eq(file_join("/etc/", "ab", out, 8), ERR_OK);
    cr_assert_str_eq(out, "/etc/ab");
    cr_assert_eq(file_join("/etc", "/x", out, 8), ERR_OK);
    cr_assert_str_eq(out, "/x");
    cr_assert_eq(file_join("", "x", out, 8), ERR_OK);
    cr_assert_str_eq(out, "x");
    cr_assert_eq(file_parent("file", out, 8), ERR_OK);
    cr_assert_str_eq(out, ".");
    cr_assert_eq(file_parent("/file", out, 8), ERR_OK);
    cr_assert_str_eq(out, "/");
    cr_assert_eq(file_parent("a/b//c", out, 8), ERR_OK);
    cr_assert_str_eq(out, "a/b");
    cr_assert_eq(file_parent("1234567/x", out, 8), ERR_OK);
    cr_assert_eq(file_parent("12345678/x", out, 8), ERR_TOO_LARGE);
}

Test(file, a_lock_names_its_holder_and_goes_with_it)
{
    char holder[FILE_LOCK_HOLDER_SIZE], expected[FILE_LOCK_HOLDER_SIZE];
    struct file_lock *lock, *second;
    int ready[2], go[2];
    pid_t child;
    char c;

    cr_assert_eq(pipe(ready), 0);
    cr_assert_eq(pipe(go), 0);
    child = fork();
    if (child == 0) {
        close(go[1]);
        if (file_lock_dir(".", "sealpost-test", NULL, &lock) != ERR_OK ||
            write(ready[1], "r", 1) != 1)
            _exit(1);
        /* Until the parent closes its end. */
        _exit(read(go[0], &c, 1) == 0 ? 0 : 1);
    }
    cr_assert_eq(read(ready[0], &c, 1), 1);
    cr_assert_eq(file_lock_dir(".", "other", holder, &second), ERR_LOCKED);
    snprintf(expected, sizeof(expected), "%ld sealpost-test", (long)child);
    cr_assert_str_eq(holder, expected);
    cr_assert_eq(file_lock_dir(".", "other", NULL, &second), ERR_LOCKED);
    close(go[1]);
    cr_assert_eq(waitpid(child, NULL, 0), child);
    cr_assert_eq(file_lock_dir(".",
                               "a name that is too long for the room that a holder has, by far",
                               holder, &lock),
                 ERR_OK);
    cr_assert_eq(file_lock_dir(".", "other", holder, &second), ERR_LOCKED);
    cr_assert_not_null(strstr(holder, " a name that is"));
    file_lock_free(lock);
    cr_assert_eq(file_lock_dir(".", "x", holder, &lock), ERR_OK);
    file_lock_free(lock);
    file_lock_free(NULL);
    cr_assert_eq(file_lock_dir("no", "x", holder, &lock), ERR_NOT_FOUND);
}

Test(file, a_holder_that_wrote_garbage_is_unknown)
{
    char holder[FILE_LOCK_HOLDER_SIZE];
    struct file_lock *lock, *second;
    int fd;

    cr_assert_eq(file_lock_dir(".", "x", holder, &lock), ERR_OK);
    fd = open("lock", O_WRONLY | O_TRUNC | O_CLOEXEC);
    cr_assert_eq(write(fd, "\x1b[2J", 4), 4);
    close(fd);
    cr_assert_eq(file_lock_dir(".", "y", holder, &second), ERR_LOCKED);
    cr_assert_str_eq(holder, "unknown");
    file_lock_free(lock);
}

Test(file, preallocation_makes_room)
{
    struct stat st;
    int fd = open("f", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    cr_assert_eq(file_preallocate(fd, 0), ERR_OK);
    cr_assert_eq(file_preallocate(fd, 100000), ERR_OK);
    cr_assert_eq(fstat(fd, &st), 0);
    cr_assert_eq(st.st_size, 100000);
    cr_assert_geq(st.st_blocks * 512, 100000);
    cr_assert_eq(file_preallocate(fd, UINT64_MAX), ERR_TOO_LARGE);
    cr_assert_neq(file_preallocate(fd, (uint64_t)1 << 60), ERR_OK);
    close(fd);
}
