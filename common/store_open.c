#include "common/file.h"
#include "common/store_internal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define SCRATCH "/var/tmp"
#define FD_PATH 32

static_assert(STORE_CHECKSUM_KEY == CHECKSUM_KEY, "one checksum");

static bool name_fits(const char *name, size_t size)
{
    return name != NULL && name[0] != '\0' && strnlen(name, size) < size;
}

static enum err check_options(const struct store_options *o)
{
    if (o->dir == NULL || o->dir[0] == '\0' || !name_fits(o->kind, STORE_KIND_SIZE) ||
        o->table_count > LIMIT_STORE_TABLES || (o->snapshot && !o->read_only))
        return ERR_CONFIG;
    if (!o->read_only && (o->map_bytes < LIMIT_STORE_MAP_MIN || o->map_bytes > LIMIT_STORE_MAP))
        return ERR_CONFIG;
    for (unsigned i = 0; i < o->table_count; i++) {
        if (!name_fits(o->tables[i].name, LIMIT_STORE_NAME) ||
            strcmp(o->tables[i].name, STORE_OWN_NAME) == 0)
            return ERR_CONFIG;
        if (o->tables[i].keyed && o->checksum_key == NULL && !o->read_only)
            return ERR_CONFIG;
        for (unsigned j = 0; j < i; j++) {
            if (strcmp(o->tables[i].name, o->tables[j].name) == 0)
                return ERR_CONFIG;
        }
    }
    return ERR_OK;
}

static enum err store_new(const struct store_options *o, struct store **ret)
{
    struct store *s = calloc(1, sizeof *s);
    enum err e = ERR_OK;

    if (s == NULL)
        return ERR_NO_MEMORY;
    s->lock_fd = -1;
    s->data_fd = -1;
    s->pid = getpid();
    s->read_only = o->read_only;
    s->disk_floor = o->disk_floor == 0 ? LIMIT_STORE_FLOOR : o->disk_floor;
    s->table_count = o->table_count;
    pthread_mutex_init(&s->extend, NULL);
    memcpy(s->own.name, STORE_OWN_NAME, sizeof STORE_OWN_NAME);
    for (unsigned i = 0; i < o->table_count; i++) {
        memcpy(s->tables[i].name, o->tables[i].name, strlen(o->tables[i].name) + 1);
        s->tables[i].keyed = o->tables[i].keyed;
    }
    if (o->checksum_key != NULL)
        e = secret_copy(span_of(o->checksum_key, STORE_CHECKSUM_KEY), &s->key);
    if (e != ERR_OK) {
        store_close(s);
        return e;
    }
    *ret = s;
    return ERR_OK;
}

void store_close(struct store *s)
{
    if (s == NULL)
        return;
    assert(atomic_load(&s->transactions) == 0);
    if (s->env != NULL)
        mdb_env_close(s->env);
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    secret_free(s->key);
    pthread_mutex_destroy(&s->extend);
    free(s);
}

static enum err open_env(const char *path, uint64_t map_bytes, unsigned flags, MDB_env **ret)
{
    MDB_env *env;
    int rc = mdb_env_create(&env);

    if (rc != 0)
        return store_error(rc);
    rc = mdb_env_set_maxdbs(env, LIMIT_STORE_TABLES + 1);
    if (rc == 0 && map_bytes != 0)
        rc = mdb_env_set_mapsize(env, map_bytes);
    if (rc == 0)
        rc = mdb_env_open(env, path, flags | MDB_NOTLS | MDB_NORDAHEAD, 0600);
    if (rc != 0) {
        mdb_env_close(env);
        return store_error(rc);
    }
    *ret = env;
    return ERR_OK;
}

/* After the environment is open. */
static enum err adopt(struct store *s, struct store_meta meta)
{
    int rc = mdb_env_get_fd(s->env, &s->data_fd);

    s->page_bytes = meta.page_bytes;
    return store_error(rc);
}

/* Looks at a file before LMDB maps it; at all of it when nobody else writes it. */
static enum err check_file(const char *path, bool still, struct store_meta *ret)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    enum err e;

    if (fd < 0)
        return file_error(errno);
    e = store_file_meta(fd, ret);
    if (e == ERR_OK && still)
        e = store_file_check(fd, ret);
    close(fd);
    return e;
}

static enum err open_tables(struct store *s, MDB_txn *txn, unsigned flags)
{
    int rc = mdb_dbi_open(txn, s->own.name, flags, &s->own.dbi);

    if (rc != 0)
        return rc == MDB_NOTFOUND ? ERR_CORRUPT : store_error(rc);
    s->own.present = true;
    for (unsigned i = 0; i < s->table_count; i++) {
        rc = mdb_dbi_open(txn, s->tables[i].name, flags, &s->tables[i].dbi);
        if (rc != 0 && rc != MDB_NOTFOUND)
            return store_error(rc);
        s->tables[i].present = rc == 0;
    }
    return ERR_OK;
}

/* The own record lies in a page of the file, whose number stands at its head: so page 0 is found.
 */
static void find_map(struct store *s, struct span record)
{
    uintptr_t page = (uintptr_t)record.data / s->page_bytes * s->page_bytes;
    uint64_t number;

    if (s->page_bytes != (uint64_t)sysconf(_SC_PAGESIZE))
        return;
    memcpy(&number, (const void *)page, sizeof number);
    s->map_at = page - (uintptr_t)(number * s->page_bytes);
}

static enum err read_own(struct store_txn *txn, struct store_found *found, bool *has_key_check)
{
    struct store *s = txn->store;
    struct span part = span_str(STORE_OWN_KEY_CHECK);
    struct span value;
    uint8_t sum[STORE_SUM];
    struct rd r;
    enum err e = store_map_get(txn, &s->own, span_str(STORE_OWN_FORMAT), &value);

    if (e != ERR_OK)
        return e == ERR_NOT_FOUND ? ERR_CORRUPT : e;
    find_map(s, value);
    r = rd_of(value);
    found->format = rd_u32be(&r);
    e = store_map_get(txn, &s->own, span_str(STORE_OWN_KIND), &value);
    if (rd_end(&r) != ERR_OK || e == ERR_NOT_FOUND)
        return ERR_CORRUPT;
    if (e == ERR_OK)
        e = span_to_str(value, found->kind, sizeof found->kind) == ERR_OK ? ERR_OK : ERR_CORRUPT;
    if (e != ERR_OK)
        return e;
    e = store_map_get(txn, &s->own, span_str(STORE_OWN_KEY_CHECK), &value);
    *has_key_check = e == ERR_OK;
    if (e == ERR_NOT_FOUND)
        return ERR_OK;
    if (e != ERR_OK || s->key == NULL)
        return e;
    store_key_u64(checksum64(secret_bytes(s->key).data, &part, 1), sum);
    return span_equal(value, span_of(sum, sizeof sum)) ? ERR_OK : ERR_CONFIG;
}

static void put_key_check(struct store_txn *txn)
{
    struct span part = span_str(STORE_OWN_KEY_CHECK);
    uint8_t sum[STORE_SUM];

    store_key_u64(checksum64(secret_bytes(txn->store->key).data, &part, 1), sum);
    store_map_put(txn, &txn->store->own, part, span_of(sum, sizeof sum), 0);
}

/* Reads what there is; tells whether something is missing that a writer makes. */
static enum err look(struct store *s, const struct store_options *o, struct store_found *found,
                     bool *missing)
{
    struct store_txn *txn;
    bool has_key_check = false;
    enum err e = store_read_begin(s, &txn);

    if (e != ERR_OK)
        return e;
    e = open_tables(s, txn->mdb, 0);
    if (e == ERR_OK)
        e = read_own(txn, found, &has_key_check);
    if (e == ERR_OK && strcmp(found->kind, o->kind) != 0)
        e = ERR_CONFIG;
    if (e == ERR_OK && found->format > o->format)
        e = ERR_FORMAT;
    *missing = s->key != NULL && !has_key_check;
    for (unsigned i = 0; i < s->table_count; i++)
        *missing = *missing || !s->tables[i].present;
    /* Ends it so that the tables stay open: aborting would close them. */
    if (e == ERR_OK) {
        e = store_error(mdb_txn_commit(txn->mdb));
        atomic_fetch_sub(&s->transactions, 1);
        free(txn);
        return e;
    }
    store_abort(txn);
    return e;
}

static enum err complete(struct store *s)
{
    struct store_txn *txn;
    enum err e = store_write_begin(s, &txn);

    if (e != ERR_OK)
        return e;
    e = open_tables(s, txn->mdb, MDB_CREATE);
    if (e != ERR_OK)
        store_fail(txn, e);
    else if (s->key != NULL)
        put_key_check(txn);
    return store_commit(txn);
}

/* The first state, in a file of another name. */
static enum err make_file(const struct store_options *o, const char *path)
{
    struct store *s;
    struct store_txn *txn;
    struct store_meta meta;
    enum err e = store_new(o, &s);

    if (e != ERR_OK)
        return e;
    e = open_env(path, LIMIT_STORE_MAP_MIN, MDB_NOSUBDIR | MDB_NOLOCK, &s->env);
    if (e == ERR_OK)
        e = check_file(path, true, &meta);
    if (e == ERR_OK)
        e = adopt(s, meta);
    if (e == ERR_OK)
        e = store_extend(s, LIMIT_STORE_MAP_MIN, 0);
    if (e == ERR_OK)
        e = store_write_begin(s, &txn);
    if (e == ERR_OK) {
        store_fail(txn, open_tables(s, txn->mdb, MDB_CREATE));
        store_set_format(txn, o->format);
        store_map_put(txn, &s->own, span_str(STORE_OWN_KIND), span_str(o->kind), 0);
        if (s->key != NULL)
            put_key_check(txn);
        e = store_commit(txn);
    }
    if (e == ERR_OK && fsync(s->data_fd) != 0)
        e = file_error(errno);
    store_close(s);
    return e == ERR_IN_DOUBT ? ERR_IO : e;
}

static enum err make(const struct store_options *o, const char *path)
{
    char made[LIMIT_PATH];
    enum err e = file_join(o->dir, STORE_NEW, made, sizeof made);

    if (e == ERR_OK)
        e = make_file(o, made);
    if (e == ERR_OK && rename(made, path) != 0)
        e = file_error(errno);
    if (e == ERR_OK)
        return file_sync_dir(o->dir);
    unlink(made);
    return e;
}

static enum err lock_dir(struct store *s, const char *dir)
{
    s->lock_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->lock_fd < 0)
        return file_error(errno);
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return ERR_OK;
    return errno == EWOULDBLOCK ? ERR_LOCKED : file_error(errno);
}

static enum err make_if_missing(struct store *s, const struct store_options *o, const char *path,
                                struct store_found *found)
{
    char made[LIMIT_PATH];
    enum err e = file_join(o->dir, STORE_NEW, made, sizeof made);

    if (e == ERR_OK && mkdir(o->dir, 0700) == 0)
        e = file_sync_parent(o->dir);
    else if (e == ERR_OK && errno != EEXIST)
        e = file_error(errno);
    if (e == ERR_OK)
        e = lock_dir(s, o->dir);
    if (e != ERR_OK)
        return e;
    if (unlink(made) != 0 && errno != ENOENT)
        return file_error(errno);
    if (access(path, F_OK) == 0)
        return ERR_OK;
    e = make(o, path);
    found->created = e == ERR_OK;
    return e;
}

static enum err open_writable(struct store *s, const struct store_options *o, const char *path,
                              struct store_found *found)
{
    struct store_meta meta;
    bool missing;
    enum err e = make_if_missing(s, o, path, found);

    if (e == ERR_OK)
        e = check_file(path, true, &meta);
    if (e == ERR_OK)
        e = store_file_lock(o->dir);
    if (e == ERR_OK)
        e = open_env(o->dir, o->map_bytes, 0, &s->env);
    if (e == ERR_OK)
        e = adopt(s, meta);
    if (e == ERR_OK)
        e = look(s, o, found, &missing);
    if (e != ERR_OK)
        return e;
    /* A full disk does not keep it from opening: deletes must go on. */
    e = store_extend(s, LIMIT_STORE_AHEAD, 0);
    if (e != ERR_OK && e != ERR_DISK_FULL)
        return e;
    return missing ? complete(s) : ERR_OK;
}

static bool reader_table_opens(const char *dir)
{
    char path[LIMIT_PATH];

    /* By asking, since closing a descriptor of that file would drop this process's locks on it. */
    return file_join(dir, STORE_LOCK, path, sizeof path) == ERR_OK &&
           faccessat(AT_FDCWD, path, R_OK | W_OK, AT_EACCESS) == 0;
}

static enum err fill_copy(const char *dir, const char *path, int fd)
{
    MDB_env *env;
    enum err e;

    if (!reader_table_opens(dir))
        return store_file_copy(path, fd);
    e = open_env(dir, 0, MDB_RDONLY, &env);
    if (e != ERR_OK)
        return e;
    e = store_env_copy(env, fd);
    mdb_env_close(env);
    return e;
}

static enum err open_copy(struct store *s, const struct store_options *o, const char *path)
{
    char copy[FD_PATH];
    struct store_meta meta;
    int fd;
    enum err e = store_file_scratch(o->scratch == NULL ? SCRATCH : o->scratch, &fd);

    if (e != ERR_OK)
        return e;
    snprintf(copy, sizeof copy, "/proc/self/fd/%d", fd);
    e = fill_copy(o->dir, path, fd);
    if (e == ERR_OK)
        e = store_file_meta(fd, &meta);
    if (e == ERR_OK)
        e = store_file_check(fd, &meta);
    if (e == ERR_OK)
        e = open_env(copy, 0, MDB_RDONLY | MDB_NOSUBDIR | MDB_NOLOCK, &s->env);
    close(fd);
    return e == ERR_OK ? adopt(s, meta) : e;
}

static enum err open_read_only(struct store *s, const struct store_options *o, const char *path,
                               struct store_found *found)
{
    struct store_meta meta;
    bool missing;
    enum err e = check_file(path, false, &meta);

    if (e != ERR_OK)
        return e;
    if (o->snapshot || !reader_table_opens(o->dir)) {
        e = open_copy(s, o, path);
    } else {
        e = open_env(o->dir, 0, MDB_RDONLY, &s->env);
        if (e == ERR_OK)
            e = adopt(s, meta);
    }
    return e == ERR_OK ? look(s, o, found, &missing) : e;
}

enum err store_open(const struct store_options *options, struct store_found *found,
                    struct store **ret)
{
    char path[LIMIT_PATH];
    struct store_found own = {0};
    struct store *s;
    enum err e = check_options(options);

    if (found != NULL && e == ERR_CONFIG)
        *found = own;
    if (e == ERR_OK)
        e = file_join(options->dir, STORE_DATA, path, sizeof path);
    if (e == ERR_OK)
        e = store_new(options, &s);
    if (e != ERR_OK)
        return e;
    e = options->read_only ? open_read_only(s, options, path, &own)
                           : open_writable(s, options, path, &own);
    if (found != NULL && (e == ERR_OK || e == ERR_CONFIG || e == ERR_FORMAT))
        *found = own;
    if (e != ERR_OK) {
        store_close(s);
        return e;
    }
    /* The seam is for the caller's own commits. */
    s->fault = options->fault;
    *ret = s;
    return ERR_OK;
}
