#include "certs/cmd.h"

#include "certs/issue.h"
#include "common/file.h"
#include "common/limits.h"
#include "common/log.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

/* What one run of the service works with. */
struct service {
    const char *dir;
    const char *key_path;
    struct secret *key;
    uint64_t lifetime_ms;
    struct document made; /* the newest timestamp */
};

static enum err check_signer(const Sp__Root *root, const struct secret *key, struct why *why)
{
    struct ed25519_public pub;
    enum err e = ed25519_public_of(key, &pub);
    if (e != ERR_OK)
        return why_set(why, e, "the key has no public half");
    struct key_id id = key_id_of(KEY_LABEL_SIGN, span_of(pub.b, sizeof(pub.b)));
    for (size_t i = 0; i < root->timestamp->n_key_ids; i++) {
        if (span_equal(pb_span(root->timestamp->key_ids[i]), span_of(id.b, sizeof(id.b))))
            return ERR_OK;
    }
    return why_set(why, ERR_WRONG_USAGE, "the root does not let this key sign timestamps");
}

/* The version of the timestamp that stands; 0 when there is none. One that does not decode is an
 * error: something is wrong with the folder, and a person should look. */
static enum err standing_version(const char *dir, uint64_t *ret, struct why *why)
{
    struct document d = {0};
    enum err e = cmd_read_in(DOCUMENT_TIMESTAMP, dir, FEDERATION_TIMESTAMP, &d, why);
    *ret = 0;
    if (e == ERR_NOT_FOUND)
        return ERR_OK;
    if (e == ERR_OK)
        *ret = document_timestamp(&d)->version;
    document_fini(&d);
    return e;
}

static enum err sign_once(struct service *s, struct why *why)
{
    struct document root = {0}, directory = {0}, made = {0};
    struct buf bytes;
    char path[PATH_MAX];
    uint64_t previous;
    buf_init(&bytes, LIMIT_DOCUMENT);
    enum err e = cmd_read_in(DOCUMENT_ROOT, s->dir, FEDERATION_ROOT, &root, why);
    if (e == ERR_OK)
        e = cmd_read_in(DOCUMENT_DIRECTORY, s->dir, FEDERATION_DIRECTORY, &directory, why);
    if (e == ERR_OK)
        e = document_signed(&directory, document_root(&root), document_root(&root)->directory, why);
    if (e == ERR_OK)
        e = check_signer(document_root(&root), s->key, why);
    if (e == ERR_OK)
        e = standing_version(s->dir, &previous, why);
    if (e == ERR_OK)
        e = issue_timestamp(env_system(), document_root(&root)->version, &directory, previous,
                            s->lifetime_ms, s->key, &bytes, why);
    if (e == ERR_OK)
        e = document_read(DOCUMENT_TIMESTAMP, buf_span(&bytes), &made, why);
    if (e == ERR_OK)
        e = cmd_path(path, s->dir, FEDERATION_TIMESTAMP);
    if (e == ERR_OK)
        e = cmd_write(path, buf_span(&bytes), why);
    if (e == ERR_OK) {
        document_fini(&s->made);
        s->made = made;
    } else {
        document_fini(&made);
    }
    document_fini(&root);
    document_fini(&directory);
    buf_fini(&bytes);
    return e;
}

/* Changes when a file is replaced. */
static uint64_t stamp_of(const char *dir, const char *name)
{
    char path[PATH_MAX];
    struct stat st;
    if (cmd_path(path, dir, name) != ERR_OK || stat(path, &st) != 0)
        return 0;
    return (uint64_t)st.st_ino ^ (uint64_t)st.st_mtim.tv_sec << 20 ^ (uint64_t)st.st_mtim.tv_nsec;
}

static uint64_t stamp(const char *dir)
{
    return stamp_of(dir, FEDERATION_ROOT) * 31 + stamp_of(dir, FEDERATION_DIRECTORY);
}

/* True when a signal asks to stop; waits at most a second. */
static bool asked_to_stop(const sigset_t *signals)
{
    const struct timespec second = {.tv_sec = 1};
    return sigtimedwait(signals, NULL, &second) > 0;
}

static int watch(struct service *s, uint64_t every_ms)
{
    const struct env *env = env_system();
    struct why why = {0};
    sigset_t signals;
    uint64_t seen = stamp(s->dir), signed_at = env_mono_ms(env);
    bool failing = false;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    log_init("sealpost-certs", LOG_AT_INFO);
    log_ready();
    while (!asked_to_stop(&signals)) {
        uint64_t now_stamp = stamp(s->dir), now = env_mono_ms(env);
        if (now_stamp == seen && now - signed_at < every_ms && !failing)
            continue;
        enum err e = sign_once(s, &why);
        /* Told when it begins and when it ends, not at every try. */
        if (e != ERR_OK && !failing)
            log_event(log_error("timestamp-failed"), log_code(e), log_str("why", why.text));
        else if (e == ERR_OK && failing)
            log_event(log_info("timestamp-recovered"));
        failing = e != ERR_OK;
        if (!failing) {
            seen = now_stamp;
            signed_at = now;
        }
    }
    return 0;
}

static int print_timestamp(const struct cli *args, const char *dir, const struct document *d,
                           const char *sentence)
{
    const Sp__Timestamp *t = document_timestamp(d);
    struct facts f;
    facts_init(&f, args);
    facts_text(&f, "federation", t->federation);
    facts_text(&f, "folder", dir);
    facts_number(&f, "version", t->version);
    facts_time(&f, "issued", t->issued_ms);
    facts_time(&f, "expires", t->expires_ms);
    facts_number(&f, "root_version", t->root_version);
    facts_number(&f, "directory_version", t->directory_version);
    facts_hex(&f, "directory_sha256", pb_span(t->directory_sha256));
    return facts_print(&f, "%s", sentence);
}

int cmd_timestamp_sign(const struct cli *args)
{
    struct why why = {0};
    struct key_info info;
    uint64_t every;
    struct service s = {.dir = cli_value(args, "federation"), .key_path = cli_value(args, "key")};
    if (cli_duration(args, "valid", 60000, LIMIT_TIMESTAMP_MS, LIMIT_TIMESTAMP_MS,
                     &s.lifetime_ms) != ERR_OK ||
        cli_duration(args, "every", 1000, LIMIT_TIMESTAMP_MS, 300000, &every) != ERR_OK)
        return err_exit(ERR_USAGE);
    enum err e = cmd_open_key(args, s.key_path, KEY_TIMESTAMP, &info, &s.key, &why);
    if (e == ERR_OK)
        e = sign_once(&s, &why);
    int exit_code;
    if (e != ERR_OK)
        exit_code = cmd_fail(args, e, "%s", why.text);
    else if (cli_flag(args, "watch"))
        exit_code = watch(&s, every);
    else
        exit_code = print_timestamp(args, s.dir, &s.made, "Signed the timestamp.");
    secret_free(s.key);
    document_fini(&s.made);
    return exit_code;
}

int cmd_timestamp_show(const struct cli *args)
{
    struct why why = {0};
    struct document d = {0};
    const char *dir = cli_value(args, "federation");
    enum err e = cmd_read_in(DOCUMENT_TIMESTAMP, dir, FEDERATION_TIMESTAMP, &d, &why);
    int exit_code = e == ERR_OK ? print_timestamp(args, dir, &d, "What the timestamp says.")
                                : cmd_fail(args, e, "%s", why.text);
    document_fini(&d);
    return exit_code;
}
