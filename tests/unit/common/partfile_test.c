#include "common/partfile.h"

#include "common/limits.h"
#include "tests/lib/leaks.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct box {
    char path[64];
    char parts[96];
    struct part_dir *dir;
};

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static void box_open(struct box *b)
{
    cr_assert_eq(part_dir_open(b->parts, &b->dir), ERR_OK);
}

static void box_init(struct box *b)
{
    (void)snprintf(b->path, sizeof b->path, "/tmp/sealpost-parts-XXXXXX");
    cr_assert_not_null(mkdtemp(b->path));
    (void)snprintf(b->parts, sizeof b->parts, "%s/parts", b->path);
    box_open(b);
}

static void box_fini(struct box *b)
{
    part_dir_close(b->dir);
    (void)nftw(b->path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void path_of(const struct box *b, const struct digest *d, const char *suffix, char out[256])
{
    int n = snprintf(out, 256, "%s/", b->parts);

    for (size_t i = 0; i < sizeof d->b; i++)
        n += snprintf(out + n, 256 - (size_t)n, "%02x", d->b[i]);
    (void)snprintf(out + n, 256 - (size_t)n, "%s", suffix);
}

static bool exists(const struct box *b, const struct digest *d, const char *suffix)
{
    char path[256];

    path_of(b, d, suffix, path);
    return access(path, F_OK) == 0;
}

static size_t count_files(const struct box *b)
{
    DIR *dir = opendir(b->parts);
    size_t n = 0;
    const struct dirent *e;

    cr_assert_not_null(dir);
    while ((e = readdir(dir)) != NULL)
        n += e->d_name[0] != '.';
    closedir(dir);
    return n;
}

static void touch(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    cr_assert_not_null(f);
    cr_assert_geq(fputs(text, f), 0);
    cr_assert_eq(fclose(f), 0);
}

/* Bytes that differ everywhere, owned by the caller. */
static struct span sample(size_t len)
{
    uint8_t *p = malloc(len + 1);
    uint32_t x = 12345;

    cr_assert_not_null(p);
    for (size_t i = 0; i < len; i++) {
        x = x * 1664525 + 1013904223;
        p[i] = (uint8_t)(x >> 24);
    }
    return span_of(p, len);
}

static void drop(struct span s)
{
    free((void *)(uintptr_t)s.data);
}

static struct digest write_part(struct box *b, struct span bytes)
{
    struct part_writer *w;
    struct digest d;
    uint64_t len;

    cr_assert_eq(part_writer_new(b->dir, env_system(), &w), ERR_OK);
    for (size_t at = 0; at < bytes.len; at += 1000) {
        size_t n = bytes.len - at < 1000 ? bytes.len - at : 1000;

        cr_assert_eq(part_writer_put(w, span_of(bytes.data + at, n)), ERR_OK);
    }
    cr_assert_eq(part_writer_finish(w, &d, &len), ERR_OK);
    cr_assert_eq(len, bytes.len);
    part_writer_free(w);
    return d;
}

TestSuite(partfile, .fini = leaks_check);

Test(partfile, writing_and_reading)
{
    struct span bytes = sample(5000);
    struct digest want = sha256(bytes), got;
    uint8_t out[6000];
    size_t n;
    struct stat st;
    struct box b;

    box_init(&b);
    cr_assert_eq(stat(b.parts, &st), 0);
    cr_assert_eq(st.st_mode & 07777, 0700);
    cr_assert_not(part_dir_has(b.dir, &want, 5000));
    cr_assert_eq(part_dir_read(b.dir, &want, 0, out, 10, &n), ERR_NOT_FOUND);
    got = write_part(&b, bytes);
    cr_assert(digest_equal(&got, &want));
    cr_assert(part_dir_has(b.dir, &want, 5000));
    cr_assert_not(part_dir_has(b.dir, &want, 4999));
    cr_assert_not(part_dir_has(b.dir, &want, 5001));
    cr_assert_eq(part_dir_read(b.dir, &want, 0, out, sizeof out, &n), ERR_OK);
    cr_assert_eq(n, 5000);
    cr_assert_arr_eq(out, bytes.data, 5000);
    cr_assert_eq(part_dir_read(b.dir, &want, 4990, out, 20, &n), ERR_OK);
    cr_assert_eq(n, 10);
    cr_assert_arr_eq(out, bytes.data + 4990, 10);
    cr_assert_eq(part_dir_read(b.dir, &want, 5000, out, 20, &n), ERR_OK);
    cr_assert_eq(n, 0);
    n = 77;
    cr_assert_eq(part_dir_read(b.dir, &want, UINT64_MAX, out, 20, &n), ERR_IO);
    cr_assert_eq(n, 77, "written only on success");
    cr_assert_eq(part_dir_remove(b.dir, &want), ERR_OK);
    cr_assert_eq(part_dir_remove(b.dir, &want), ERR_OK, "fine when it is not there");
    cr_assert_not(part_dir_has(b.dir, &want, 5000));
    cr_assert_eq(count_files(&b), 0);
    drop(bytes);
    box_fini(&b);
}

Test(partfile, the_same_bytes_are_one_file)
{
    struct span bytes = sample(3000);
    struct part_writer *w[2];
    struct digest d[2];
    uint64_t len;
    struct box b;

    box_init(&b);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(part_writer_new(b.dir, env_system(), &w[i]), ERR_OK);
        cr_assert_eq(part_writer_put(w[i], bytes), ERR_OK);
    }
    cr_assert_eq(count_files(&b), 2);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(part_writer_finish(w[i], &d[i], &len), ERR_OK);
        part_writer_free(w[i]);
    }
    cr_assert(digest_equal(&d[0], &d[1]));
    cr_assert_eq(count_files(&b), 1);
    cr_assert(part_dir_has(b.dir, &d[0], 3000));
    drop(bytes);
    box_fini(&b);
}

Test(partfile, unfinished_writers_leave_nothing)
{
    struct part_writer *w;
    char path[256];
    struct box b;

    box_init(&b);
    cr_assert_eq(part_writer_new(b.dir, env_system(), &w), ERR_OK);
    cr_assert_eq(part_writer_put(w, span_str("half")), ERR_OK);
    cr_assert_eq(count_files(&b), 1);
    part_writer_free(w);
    cr_assert_eq(count_files(&b), 0);
    part_writer_free(NULL);

    /* What a kill leaves is removed at the next start; strangers' files stay. */
    (void)snprintf(path, sizeof path, "%s/new-0123456789abcdef", b.parts);
    touch(path, "half");
    (void)snprintf(path, sizeof path, "%s/notes.txt", b.parts);
    touch(path, "not ours");
    part_dir_close(b.dir);
    box_open(&b);
    cr_assert_eq(count_files(&b), 1);
    cr_assert_eq(access(path, F_OK), 0);
    box_fini(&b);
}

Test(partfile, an_empty_part)
{
    struct digest d, empty = sha256(span_of(NULL, 0));
    struct part_receiver *r;
    struct box b;

    box_init(&b);
    d = write_part(&b, span_of(NULL, 0));
    cr_assert(digest_equal(&d, &empty));
    cr_assert(part_dir_has(b.dir, &d, 0));
    cr_assert_eq(part_dir_remove(b.dir, &d), ERR_OK);
    cr_assert_eq(part_receiver_new(b.dir, &d, 0, &r), ERR_OK);
    cr_assert_eq(part_receiver_put(r, 0, span_str("x")), ERR_TOO_LARGE);
    cr_assert_eq(part_receiver_finish(r), ERR_OK);
    part_receiver_free(r);
    cr_assert(part_dir_has(b.dir, &d, 0));
    box_fini(&b);
}

Test(partfile, receiving_with_resumption)
{
    size_t len = 600 * LIMIT_KIB + 3; /* more than one block of hashing */
    struct span bytes = sample(len);
    struct digest d = sha256(bytes);
    struct part_receiver *r;
    size_t half = 300 * LIMIT_KIB + 1;
    struct box b;

    box_init(&b);
    cr_assert_eq(part_receiver_new(b.dir, &d, len, &r), ERR_OK);
    cr_assert_eq(part_receiver_offset(r), 0);
    cr_assert_eq(part_receiver_len(r), len);
    cr_assert_eq(part_receiver_put(r, 1, span_of(bytes.data, 10)), ERR_MALFORMED);
    cr_assert_eq(part_receiver_put(r, 0, span_of(bytes.data, half)), ERR_OK);
    cr_assert_eq(part_receiver_put(r, 0, span_of(bytes.data, half)), ERR_MALFORMED);
    cr_assert_eq(part_receiver_put(r, half - 1, span_of(bytes.data, 10)), ERR_MALFORMED);
    cr_assert_eq(part_receiver_offset(r), half);
    cr_assert_eq(part_receiver_finish(r), ERR_BAD_DIGEST, "not all is there");
    part_receiver_free(r);
    cr_assert(exists(&b, &d, ".partial"), "what came stays");
    cr_assert_not(part_dir_has(b.dir, &d, half));

    part_dir_close(b.dir);
    box_open(&b);
    cr_assert_eq(part_receiver_new(b.dir, &d, len, &r), ERR_OK);
    cr_assert_eq(part_receiver_offset(r), half);
    cr_assert_eq(part_receiver_put(r, half, span_of(bytes.data + half, len - half)), ERR_OK);
    cr_assert_eq(part_receiver_put(r, len, span_of(bytes.data, 1)), ERR_TOO_LARGE);
    cr_assert_eq(part_receiver_finish(r), ERR_OK);
    part_receiver_free(r);
    part_receiver_free(NULL);
    cr_assert(part_dir_has(b.dir, &d, len));
    cr_assert_not(exists(&b, &d, ".partial"));
    cr_assert_eq(count_files(&b), 1);
    drop(bytes);
    box_fini(&b);
}

Test(partfile, over_the_length_by_one_byte)
{
    struct span bytes = sample(101);
    struct digest d = sha256(span_of(bytes.data, 100));
    struct part_receiver *r;
    struct box b;

    box_init(&b);
    cr_assert_eq(part_receiver_new(b.dir, &d, 100, &r), ERR_OK);
    cr_assert_eq(part_receiver_put(r, 0, bytes), ERR_TOO_LARGE);
    cr_assert_eq(part_receiver_offset(r), 0);
    cr_assert_eq(part_receiver_put(r, 0, span_of(bytes.data, 99)), ERR_OK);
    cr_assert_eq(part_receiver_put(r, 99, span_of(bytes.data + 99, 2)), ERR_TOO_LARGE);
    cr_assert_eq(part_receiver_put(r, 99, span_of(bytes.data + 99, 1)), ERR_OK);
    cr_assert_eq(part_receiver_finish(r), ERR_OK);
    part_receiver_free(r);
    drop(bytes);
    box_fini(&b);
}

Test(partfile, wrong_bytes_are_thrown_away)
{
    struct span bytes = sample(100);
    struct digest d = sha256(bytes);
    struct part_receiver *r;
    char path[256];
    struct box b;

    box_init(&b);
    cr_assert_eq(part_receiver_new(b.dir, &d, 100, &r), ERR_OK);
    cr_assert_eq(part_receiver_put(r, 0, span_of(bytes.data, 99)), ERR_OK);
    cr_assert_eq(part_receiver_put(r, 99, span_str("!")), ERR_OK);
    cr_assert_eq(part_receiver_finish(r), ERR_BAD_DIGEST);
    part_receiver_free(r);
    cr_assert_eq(count_files(&b), 0);

    /* Likewise when the damage came between two receivers. */
    path_of(&b, &d, ".partial", path);
    touch(path, "damaged");
    cr_assert_eq(part_receiver_new(b.dir, &d, 100, &r), ERR_OK);
    cr_assert_eq(part_receiver_offset(r), 7);
    cr_assert_eq(part_receiver_put(r, 7, span_of(bytes.data + 7, 93)), ERR_OK);
    cr_assert_eq(part_receiver_finish(r), ERR_BAD_DIGEST);
    part_receiver_free(r);
    cr_assert_eq(count_files(&b), 0);

    /* A partial file that is too long is no start. */
    touch(path, "more than it may be");
    cr_assert_eq(part_receiver_new(b.dir, &d, 18, &r), ERR_OK);
    cr_assert_eq(part_receiver_offset(r), 0);
    part_receiver_free(r);
    touch(path, "as much as it may b");
    cr_assert_eq(part_receiver_new(b.dir, &d, 19, &r), ERR_OK);
    cr_assert_eq(part_receiver_offset(r), 19);
    part_receiver_free(r);
    drop(bytes);
    box_fini(&b);
}

Test(partfile, a_link_is_not_followed)
{
    struct digest d = sha256(span_str("secret"));
    struct part_receiver *r;
    char path[256], other[128];
    uint8_t out[8];
    size_t n;
    struct box b;

    box_init(&b);
    (void)snprintf(other, sizeof other, "%s/other", b.path);
    touch(other, "secret");
    path_of(&b, &d, ".partial", path);
    cr_assert_eq(symlink(other, path), 0);
    cr_assert_eq(part_receiver_new(b.dir, &d, 6, &r), ERR_IO);
    path_of(&b, &d, "", path);
    cr_assert_eq(symlink(other, path), 0);
    cr_assert_not(part_dir_has(b.dir, &d, 6));
    cr_assert_eq(part_dir_read(b.dir, &d, 0, out, sizeof out, &n), ERR_IO);
    cr_assert_eq(part_dir_remove(b.dir, &d), ERR_OK);
    cr_assert_eq(access(other, F_OK), 0);
    box_fini(&b);
}

static void age(const char *path, time_t seconds)
{
    struct timespec t[2] = {{.tv_sec = seconds}, {.tv_sec = seconds}};

    cr_assert_eq(utimensat(AT_FDCWD, path, t, AT_SYMLINK_NOFOLLOW), 0);
}

static bool is_wanted(void *ctx, const struct digest *sha256)
{
    return digest_equal(ctx, sha256);
}

Test(partfile, sweeping)
{
    struct digest keep = sha256(span_str("keep")), gone = sha256(span_str("gone")),
                  young = sha256(span_str("young"));
    static const char *const strangers[] = {
        "notes.txt",
        "ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef0123456789",
        "abcdef0123456789abcdef0123456789abcdef0123456789abcdef012345678",
        "abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789.partia",
        "abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789.partial2",
        "abcdef0123456789abcdef0123456789abcdef0123456789abcdef012345678g"};
    const struct digest *all[] = {&keep, &gone, &young};
    char path[256];
    struct box b;

    box_init(&b);
    for (size_t i = 0; i < 3; i++) {
        path_of(&b, all[i], "", path);
        touch(path, "x");
        age(path, all[i] == &young ? 2000 : 1999);
        path_of(&b, all[i], ".partial", path);
        touch(path, "x");
        age(path, all[i] == &young ? 2000 : 1999);
    }
    for (size_t i = 0; i < sizeof strangers / sizeof *strangers; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", b.parts, strangers[i]);
        touch(path, "x");
        age(path, 1);
    }
    cr_assert_eq(part_dir_sweep(b.dir, 2000000, is_wanted, &keep), ERR_OK);
    cr_assert(exists(&b, &keep, ""));
    cr_assert_not(exists(&b, &keep, ".partial"), "nobody resumed it");
    cr_assert_not(exists(&b, &gone, ""));
    cr_assert_not(exists(&b, &gone, ".partial"));
    cr_assert(exists(&b, &young, ""));
    cr_assert(exists(&b, &young, ".partial"));
    cr_assert_eq(count_files(&b), 3 + sizeof strangers / sizeof *strangers);
    box_fini(&b);
}

Test(partfile, a_killed_receiver_is_resumed)
{
    size_t len = 8 * LIMIT_MIB;
    struct span bytes = sample(len);
    struct digest d = sha256(bytes);
    struct part_receiver *r;
    struct box b;
    uint64_t at;
    int pipes[2];
    int status;
    char go;
    pid_t pid;

    box_init(&b);
    cr_assert_eq(pipe(pipes), 0);
    pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        if (part_receiver_new(b.dir, &d, len, &r) != ERR_OK)
            _exit(1);
        for (size_t i = 0; i < len; i += 4096) {
            if (part_receiver_put(r, i, span_of(bytes.data + i, 4096)) != ERR_OK)
                _exit(2);
            if (i == LIMIT_MIB && write(pipes[1], "x", 1) != 1)
                _exit(3);
        }
        pause();
    }
    cr_assert_eq(read(pipes[0], &go, 1), 1);
    cr_assert_eq(kill(pid, SIGKILL), 0);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFSIGNALED(status));
    close(pipes[0]);
    close(pipes[1]);

    part_dir_close(b.dir);
    box_open(&b);
    cr_assert_eq(part_receiver_new(b.dir, &d, len, &r), ERR_OK);
    at = part_receiver_offset(r);
    cr_assert_gt(at, LIMIT_MIB);
    cr_assert_leq(at, len);
    cr_assert_eq(part_receiver_put(r, at, span_of(bytes.data + at, len - at)), ERR_OK);
    cr_assert_eq(part_receiver_finish(r), ERR_OK);
    part_receiver_free(r);
    cr_assert(part_dir_has(b.dir, &d, len));
    drop(bytes);
    box_fini(&b);
}

/* A file may not grow over this: writing meets an error in the middle. */
static void limit_files(rlim_t bytes)
{
    struct rlimit l;

    (void)signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &l), 0);
    l.rlim_cur = bytes;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &l), 0);
}

Test(partfile, errors_of_the_disk)
{
    struct span bytes = sample(5000);
    struct digest d = sha256(bytes), got;
    struct part_receiver *r;
    struct part_writer *w;
    uint64_t len;
    struct box b;

    box_init(&b);
    cr_assert_eq(part_receiver_new(b.dir, &d, 5000, &r), ERR_OK);
    cr_assert_eq(part_writer_new(b.dir, env_system(), &w), ERR_OK);
    limit_files(4096);
    cr_assert_eq(part_receiver_put(r, 0, bytes), ERR_IO);
    cr_assert_eq(part_receiver_offset(r), 0, "only whole puts count");
    cr_assert_eq(part_writer_put(w, bytes), ERR_IO);
    limit_files(RLIM_INFINITY);
    /* Both go on where they were. */
    cr_assert_eq(part_receiver_put(r, 0, bytes), ERR_OK);
    cr_assert_eq(part_receiver_finish(r), ERR_OK);
    cr_assert_eq(part_writer_put(w, bytes), ERR_OK);
    cr_assert_eq(part_writer_finish(w, &got, &len), ERR_OK);
    cr_assert(digest_equal(&got, &d));
    cr_assert_eq(len, 5000);
    part_receiver_free(r);
    part_writer_free(w);
    cr_assert_eq(count_files(&b), 1);
    drop(bytes);
    box_fini(&b);
}

Test(partfile, opening)
{
    struct part_dir *dir;
    char path[128];
    uint64_t bytes = 0;
    struct box b;

    box_init(&b);
    cr_assert_eq(part_dir_free_bytes(b.dir, &bytes), ERR_OK);
    cr_assert_gt(bytes, 0);
    (void)snprintf(path, sizeof path, "%s/none/parts", b.path);
    cr_assert_eq(part_dir_open(path, &dir), ERR_NOT_FOUND);
    (void)snprintf(path, sizeof path, "%s/file", b.path);
    touch(path, "x");
    cr_assert_eq(part_dir_open(path, &dir), ERR_IO);
    part_dir_close(NULL);
    box_fini(&b);
}
