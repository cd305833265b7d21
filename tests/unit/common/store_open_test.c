/* A writer in another process: killed, stopped, read from outside. */
#include "tests/unit/common/store_fixture.h"

#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>

TestSuite(store_open, .fini = leaks_check);

/* Commits records 0, 1, 2 … of three sizes and tells the number of each one that was
 * acknowledged. Never returns. */
static void write_for_ever(const struct box *b, int acknowledged)
{
    struct store *s;
    char big[30000];

    memset(big, 'w', sizeof big);
    if (store_open(&b->options, NULL, &s) != ERR_OK)
        _exit(1);
    for (uint64_t n = 0;; n++) {
        struct store_txn *txn;
        uint8_t key[STORE_KEY_U64];

        if (store_write_begin(s, &txn) != ERR_OK)
            _exit(2);
        store_key_u64(n, key);
        store_append(txn, PLAIN, span_of(key, sizeof key), span_of(big, 10 + n % 3 * 10000));
        store_put(txn, KEYED, text("newest"), span_of(key, sizeof key));
        if (store_commit(txn) != ERR_OK || write(acknowledged, &n, sizeof n) != sizeof n)
            _exit(3);
    }
}

static pid_t start_writer(const struct box *b, int *acknowledged)
{
    int ends[2];
    pid_t child;

    cr_assert_eq(pipe(ends), 0);
    child = fork();
    cr_assert_geq(child, 0);
    if (child == 0)
        write_for_ever(b, ends[1]);
    close(ends[1]);
    *acknowledged = ends[0];
    return child;
}

static void await(int acknowledged, uint64_t number)
{
    uint64_t n;

    do
        cr_assert_eq(read(acknowledged, &n, sizeof n), sizeof n);
    while (n < number);
}

/* Every record up to the newest is there, whole, and none behind it. */
static uint64_t check_writers_records(struct store *s)
{
    struct store_txn *txn;
    struct store_cursor *c;
    struct span k;
    struct span v;
    uint64_t newest = 0;
    uint64_t number = 0;
    uint64_t want = 0;
    enum err e;

    cr_assert_eq(store_read_begin(s, &txn), ERR_OK);
    cr_assert_eq(store_get(txn, KEYED, text("newest"), &v), ERR_OK);
    cr_assert_eq(store_key_to_u64(v, &newest), ERR_OK);
    cr_assert_eq(store_cursor_new(txn, PLAIN, store_all(), &c), ERR_OK);
    for (e = store_cursor_first(c, &k, &v); e == ERR_OK; e = store_cursor_next(c, &k, &v)) {
        cr_assert_eq(store_key_to_u64(k, &number), ERR_OK);
        cr_assert_eq(number, want++);
        cr_assert_eq(v.len, 10 + number % 3 * 10000);
    }
    cr_assert_eq(e, ERR_NOT_FOUND);
    cr_assert_eq(want, newest + 1);
    store_cursor_free(c);
    store_read_end(txn);
    return newest;
}

Test(store_open, a_killed_writer_leaves_what_it_acknowledged)
{
    for (uint64_t round = 0; round < 8; round++) {
        struct box b;
        uint64_t n = 0;
        uint64_t last = 0;
        int acknowledged;
        int status;
        pid_t child;

        box_init(&b);
        child = start_writer(&b, &acknowledged);
        await(acknowledged, 5 * round);
        cr_assert_eq(kill(child, SIGKILL), 0);
        cr_assert_eq(waitpid(child, &status, 0), child);
        cr_assert(WIFSIGNALED(status), "writer ended with %d", WEXITSTATUS(status));
        last = 5 * round;
        while (read(acknowledged, &n, sizeof n) == sizeof n)
            last = n;
        close(acknowledged);
        box_open(&b);
        n = check_writers_records(b.store);
        cr_assert(n == last || n == last + 1, "%lu of %lu", (unsigned long)n, (unsigned long)last);
        cr_assert_eq(put_one(b.store, PLAIN, "zzzzzzzzz", "goes on"), ERR_OK);
        box_fini(&b);
    }
}

Test(store_open, a_live_store_is_read_in_place_and_through_copies)
{
    struct box b;
    struct store_options o;
    int acknowledged;
    int status;
    uint64_t before = 0;
    pid_t child;

    box_init(&b);
    b.options.map_bytes = 1024 * LIMIT_MIB;
    child = start_writer(&b, &acknowledged);
    await(acknowledged, 3);
    o = b.options;
    o.read_only = true;
    o.scratch = "/tmp";
    for (int i = 0; i < 6; i++) {
        uint64_t now;

        o.snapshot = i % 2 == 1;
        cr_assert_eq(store_open(&o, NULL, &b.store), ERR_OK);
        now = check_writers_records(b.store);
        cr_assert_geq(now, before);
        before = now;
        box_close(&b);
        await(acknowledged, now + 1);
    }
    cr_assert_eq(kill(child, SIGKILL), 0);
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status));
    close(acknowledged);
    box_fini(&b);
}

/* Without the reader table, as another uid: the writer is stopped anywhere in its work, then runs.
 */
Test(store_open, a_live_store_is_copied_without_its_reader_table)
{
    struct box b;
    struct store_options o;
    char path[128];
    int acknowledged;
    int status;
    pid_t child;

    box_init(&b);
    b.options.map_bytes = 1024 * LIMIT_MIB;
    child = start_writer(&b, &acknowledged);
    await(acknowledged, 3);
    box_path(&b, "lock.mdb", path);
    cr_assert_eq(unlink(path), 0);
    o = b.options;
    o.read_only = true;
    o.scratch = "/tmp";
    for (uint64_t round = 0; round < 8; round++) {
        enum err e;

        cr_assert_eq(kill(child, SIGSTOP), 0);
        cr_assert_eq(waitpid(child, &status, WUNTRACED), child);
        box_close(&b);
        cr_assert_eq(store_open(&o, NULL, &b.store), ERR_OK);
        cr_assert_geq(check_writers_records(b.store), round);
        cr_assert_eq(kill(child, SIGCONT), 0);
        box_close(&b);
        e = store_open(&o, NULL, &b.store);
        cr_assert(e == ERR_OK || e == ERR_UNAVAILABLE, "%s", err_code(e));
        if (e == ERR_OK)
            check_writers_records(b.store);
        await(acknowledged, 3 + round);
    }
    cr_assert_eq(kill(child, SIGKILL), 0);
    cr_assert_eq(waitpid(child, &status, 0), child);
    close(acknowledged);
    box_fini(&b);
}

/* A file system of `size` that only this process and its children see; false where it cannot be
 * made. */
static bool mount_small(const char *dir, const char *size)
{
    return unshare(geteuid() == 0 ? CLONE_NEWNS : CLONE_NEWUSER | CLONE_NEWNS) == 0 &&
           mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("none", dir, "tmpfs", 0, size) == 0;
}

static enum err put_number(struct store *s, uint64_t n, size_t len)
{
    static uint8_t value[9000];
    uint8_t key[STORE_KEY_U64];
    struct store_txn *txn;
    enum err e = store_write_begin(s, &txn);

    if (e != ERR_OK)
        return e;
    store_key_u64(n, key);
    if (len > 0)
        store_put(txn, PLAIN, span_of(key, sizeof key), span_of(value, len));
    else
        store_delete(txn, PLAIN, span_of(key, sizeof key));
    return store_commit(txn);
}

/* Fills the disk again and again with records of this length and deletes them. */
static void fill_disk(struct store *s, size_t len)
{
    uint64_t n = 0;
    enum err e;

    while ((e = put_number(s, n, len)) == ERR_OK)
        n++;
    cr_assert_eq(e, ERR_DISK_FULL, "%s", err_code(e));
    cr_assert_gt(n, 100);
    cr_assert_eq(store_room(s, 100000, STORE_ORDINARY), ERR_DISK_FULL);
    for (uint64_t i = 0; i < n; i++)
        cr_assert_eq(put_number(s, i, 0), ERR_OK, "delete %u of %u", (unsigned)i, (unsigned)n);
    cr_assert_eq(store_room(s, 100000, STORE_RESERVE), ERR_OK);
}

Test(store_open, a_full_disk_refuses_and_deletes_go_on)
{
    struct box b;

    box_init(&b);
    if (!mount_small(b.dir, "size=12m")) {
        const char *all = getenv("SEALPOST_REQUIRE_ALL");

        cr_assert(all == NULL || strcmp(all, "1") != 0);
        rmdir(b.dir);
        cr_skip_test("cannot mount");
    }
    b.options.map_bytes = 64 * LIMIT_MIB;
    box_open(&b);
    for (int round = 0; round < 3; round++) {
        fill_disk(b.store, round == 1 ? 9000 : 1500);
        if (round == 1) {
            box_close(&b);
            box_open(&b);
        }
    }
    box_close(&b);
    cr_assert_eq(umount(b.dir), 0);
    /* Not even room to make it. */
    cr_assert_eq(mount("none", b.dir, "tmpfs", 0, "size=512k"), 0);
    cr_assert_eq(store_open(&b.options, NULL, &b.store), ERR_DISK_FULL);
    cr_assert_eq(umount(b.dir), 0);
    box_fini(&b);
}
