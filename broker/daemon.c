#include "broker/daemon.h"

#include "broker/daemon_keys.h"
#include "broker/run.h"
#include "common/file.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/sandbox.h"
#include "common/secret.h"
#include "peer/inbound.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define STORE_FORMAT 0
#define SIGNER_STATE "signer/state"
#define NET_REFRESH_MS 60000 /* keys become valid and end without news */
#define WORKERS_MAX 64

/* Everything that lives as long as the process, in the order in which it is made. */
struct daemon {
    const struct settings *settings;
    const struct env *env;
    unsigned workers;
    int signals;
    struct file_lock *lock;
    struct store *store;
    struct trusting *trusting;
    struct daemon_keys keys;
    struct audit_signer signer;
    bool signing;
    struct audit_log *log;
    struct part_dir *part_dir;
    struct inbound *inbound;
    struct run *run;
    struct shell *shell;
    struct partflow *flow;
    bool stopping;
};

static void tell(const char *what, const char *why, enum err e)
{
    log_event(log_error("start-failed"), log_str("what", what), log_code(e), log_str("why", why));
}

static enum err fail(const char *what, enum err e)
{
    if (e != ERR_OK)
        tell(what, err_meaning(e), e);
    return e;
}

static enum err join(const struct daemon *d, const char *name, char path[LIMIT_PATH])
{
    return file_join(d->settings->data, name, path, LIMIT_PATH);
}

static enum err take_data_dir(struct daemon *d)
{
    char holder[FILE_LOCK_HOLDER_SIZE];
    char path[LIMIT_PATH];
    enum err e = file_make_dir(d->settings->data, 0700);

    if (e == ERR_OK)
        e = file_lock_dir(d->settings->data, "sealpost-broker", holder, &d->lock);
    if (e == ERR_LOCKED) {
        char why[128];

        snprintf(why, sizeof why, "the data folder is used by %s", holder);
        tell("lock", why, e);
        return e;
    }
    if (e == ERR_OK)
        e = join(d, "signer", path);
    if (e == ERR_OK)
        e = file_make_dir(path, 0700);
    return fail("data", e);
}

static enum err open_store(struct daemon *d)
{
    static const uint8_t plain[STORE_CHECKSUM_KEY];
    char dir[LIMIT_PATH];
    struct store_options options = {
        .dir = dir,
        .map_bytes = d->settings->store_bytes,
        .tables = broker_tables,
        .table_count = BROKER_TABLES,
        .kind = "broker",
        .format = STORE_FORMAT,
        .checksum_key = plain, /* no table is keyed: nothing here is secret */
    };
    struct store_found found;
    enum err e = join(d, "store", dir);

    if (e == ERR_OK)
        e = store_open(&options, &found, &d->store);
    return fail("store", e);
}

/* What must not go back; zeros in a new store. */
static enum err read_floor(struct daemon *d, struct trust_floor *ret)
{
    struct store_txn *txn;
    struct span value;
    enum err e = store_read_begin(d->store, &txn);

    if (e != ERR_OK)
        return fail("store", e);
    e = store_get(txn, BROKER_META, span_str(BROKER_META_FLOOR), &value);
    if (e == ERR_OK) {
        struct rd r = rd_of(value);

        ret->root_version = rd_u64be(&r);
        ret->directory_version = rd_u64be(&r);
        ret->timestamp_version = rd_u64be(&r);
        e = rd_end(&r) == ERR_OK ? ERR_OK : ERR_CORRUPT;
    } else if (e == ERR_NOT_FOUND) {
        e = ERR_OK;
    }
    store_read_end(txn);
    return fail("store", e);
}

static enum err load_trust(struct daemon *d)
{
    const struct settings *s = d->settings;
    struct trusting_options options = {.env = d->env,
                                       .name = s->name,
                                       .federation = s->federation,
                                       .root = s->root,
                                       .listen = s->listen};
    struct trust_floor floor = {0};
    char why[TRUSTING_WHY];
    enum err e = read_floor(d, &floor);

    if (e != ERR_OK)
        return e;
    e = trusting_new(&options, &floor, &d->trusting, why);
    if (e != ERR_OK)
        tell("federation", why, e);
    else if (why[0] != '\0')
        log_event(log_warn("federation"), log_str("why", why));
    return e;
}

static enum err open_keys(struct daemon *d)
{
    struct trust *trust = trusting_current(d->trusting);
    char why[DAEMON_KEYS_WHY] = "";
    enum err e = daemon_keys_open(d->settings, trust, env_now_ms(d->env), &d->keys, why);

    if (e != ERR_OK)
        tell("keys", why, e);
    trust_free(trust);
    return e;
}

static enum err open_log(struct daemon *d)
{
    struct trust *trust = trusting_current(d->trusting);
    char origin[LIMIT_DOMAIN + LIMIT_BROKER];
    char path[LIMIT_PATH];
    enum err e = join(d, SIGNER_STATE, path);

    snprintf(origin, sizeof origin, "%s/%s", trust_federation(trust), d->settings->name);
    if (e == ERR_OK)
        e = audit_signer_local(origin, d->keys.log, path, &d->signer);
    d->signing = e == ERR_OK;
    if (e == ERR_OK)
        e = audit_log_open(d->store, trust_federation(trust), d->settings->name, &d->signer, d->env,
                           &d->log);
    if (e == ERR_OK)
        e = audit_log_checkpoint(d->log);
    trust_free(trust);
    return fail("log", e);
}

static void *prepare(void *ctx, unsigned worker, const char *peer, struct span message)
{
    struct daemon *d = ctx;

    return inbound_prepare(d->inbound, worker, peer, message);
}

static enum err run_batch(void *ctx, struct shell_job *jobs, size_t count, uint64_t *wake_at_ms)
{
    struct daemon *d = ctx;

    return run_jobs(d->run, jobs, count, wake_at_ms);
}

static void discard(void *ctx, void *job)
{
    (void)ctx;
    job_free(job);
}

static enum err setup(void *ctx, struct net *net)
{
    struct daemon *d = ctx;
    enum err e = trusting_setup(d->trusting, net);

    if (e != ERR_OK)
        log_event(log_error("network-failed"), log_code(e), log_str("listen", d->settings->listen));
    return e;
}

static void send_frame(void *ctx, const char *peer, struct buf *frame)
{
    struct daemon *d = ctx;

    shell_send(d->shell, peer, frame);
}

static bool can_send(void *ctx)
{
    struct daemon *d = ctx;

    return shell_can_send(d->shell);
}

static void part_done(void *ctx, const struct digest *sha256, enum err result)
{
    struct daemon *d = ctx;
    struct job *job = job_new(JOB_PART);

    if (job == NULL)
        return; /* the peer repeats its transfer, and the part is here then */
    job->part = *sha256;
    job->code = result;
    if (shell_post_wait(d->shell, job) != ERR_OK)
        job_free(job);
}

static enum err make_parts(struct daemon *d)
{
    struct run_options options = {.env = d->env,
                                  .core = settings_options(d->settings),
                                  .store = d->store,
                                  .log = d->log,
                                  .trusting = d->trusting};
    char path[LIMIT_PATH];
    enum err e = join(d, "parts", path);

    if (e == ERR_OK)
        e = part_dir_open(path, &d->part_dir);
    options.parts = d->part_dir;
    if (e == ERR_OK)
        e = inbound_new(d->env, d->trusting, d->workers, &d->inbound);
    if (e == ERR_OK)
        e = run_new(&options, &d->run);
    return fail("core", e);
}

static enum err enter_sandbox(struct daemon *d)
{
    const char *read_only[] = {d->settings->federation};
    const char *read_write[] = {d->settings->data};
    struct sandbox_rules rules = {.read_only = read_only,
                                  .read_only_count = 1,
                                  .read_write = read_write,
                                  .read_write_count = 1,
                                  .drop_capabilities = true};
    struct sandbox_report report;
    char text[SANDBOX_TEXT];
    enum err e;

    if (!d->settings->sandbox) {
        log_event(log_warn("sandbox"), log_str("layers", "off"));
        return ERR_OK;
    }
    e = sandbox_apply(&rules, &report);
    if (e != ERR_OK)
        return fail("sandbox", e);
    sandbox_report_text(&report, text);
    log_event(log_info("sandbox"), log_str("layers", text));
    return ERR_OK;
}

static enum err start_threads(struct daemon *d)
{
    struct shell_ops ops = {
        .ctx = d, .prepare = prepare, .run = run_batch, .discard = discard, .setup = setup};
    struct partflow_ops part_ops = {
        .ctx = d, .send = send_frame, .can_send = can_send, .done = part_done};
    struct shell_options options = {
        .env = d->env, .net = net_options_default(), .workers = d->workers};
    enum err e;

    options.net.env = d->env;
    options.net.secret_key = secret_bytes(d->keys.transport).data;
    options.net.public_key = d->keys.transport_public;
    e = shell_new(&options, &ops, &d->shell);
    if (e == ERR_OK)
        e = partflow_new(d->part_dir, d->env, &part_ops, &d->flow);
    if (e != ERR_OK)
        return fail("threads", e);
    run_bind(d->run, d->shell, d->flow);
    return fail("threads", shell_start(d->shell));
}

static enum err start(struct daemon *d)
{
    enum err e = secret_process_init(d->settings->dumpable);

    if (e != ERR_OK)
        return fail("process", e);
    e = take_data_dir(d);
    if (e == ERR_OK)
        e = open_store(d);
    if (e == ERR_OK)
        e = load_trust(d);
    if (e == ERR_OK)
        e = open_keys(d);
    if (e == ERR_OK)
        e = open_log(d);
    if (e == ERR_OK)
        e = make_parts(d);
    if (e == ERR_OK)
        e = enter_sandbox(d);
    return e == ERR_OK ? start_threads(d) : e;
}

/* Hands a newly loaded snapshot to the commit thread. */
static void look(struct daemon *d, bool force)
{
    char why[TRUSTING_WHY];
    struct trust *trust;
    struct job *job;
    enum err e = trusting_look(d->trusting, force, &trust, why);

    if (e == ERR_NOT_FOUND)
        return;
    if (e != ERR_OK || why[0] != '\0')
        log_event(log_warn("federation"), log_code(e), log_str("why", why));
    if (e != ERR_OK)
        return;
    job = job_new(JOB_TRUST);
    if (job != NULL)
        job->trust = trust;
    else
        trust_free(trust);
    if (job != NULL && shell_post_wait(d->shell, job) != ERR_OK)
        job_free(job);
}

static void on_signal(struct daemon *d)
{
    struct signalfd_siginfo info;

    if (read(d->signals, &info, sizeof info) != (ssize_t)sizeof info)
        return;
    if (info.ssi_signo == SIGHUP) {
        notify_reloading();
        look(d, true);
        notify_reloaded();
    } else {
        log_event(log_info("stopping"), log_u64("signal", info.ssi_signo));
        d->stopping = true;
    }
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* The main thread: signals, the federation folder, the watchdog. Ends when a thread of the shell
 * has given up, or at a signal. */
static enum err watch(struct daemon *d)
{
    uint64_t watchdog_ms = notify_watchdog_ms();
    uint64_t look_at = env_mono_ms(d->env) + d->settings->refresh_ms;
    uint64_t net_at = env_mono_ms(d->env) + NET_REFRESH_MS;
    uint64_t watchdog_at = watchdog_ms == 0 ? UINT64_MAX : env_mono_ms(d->env);

    while (!d->stopping) {
        struct pollfd fds[] = {{.fd = d->signals, .events = POLLIN},
                               {.fd = shell_stopped_fd(d->shell), .events = POLLIN}};
        uint64_t now = env_mono_ms(d->env);
        uint64_t next = earlier(look_at, earlier(net_at, watchdog_at));

        if (poll(fds, 2, next > now ? (int)(next - now) : 0) < 0 && errno != EINTR)
            return ERR_IO;
        if ((fds[1].revents & POLLIN) != 0)
            break;
        if ((fds[0].revents & POLLIN) != 0)
            on_signal(d);
        now = env_mono_ms(d->env);
        if (now >= watchdog_at) {
            notify_watchdog();
            watchdog_at = now + watchdog_ms;
        }
        if (now >= look_at) {
            look(d, false);
            look_at = env_mono_ms(d->env) + d->settings->refresh_ms;
        }
        if (now >= net_at) {
            shell_reload(d->shell);
            net_at = now + NET_REFRESH_MS;
        }
    }
    return ERR_OK;
}

static void stop(struct daemon *d, enum err *result)
{
    enum err e;

    if (d->shell != NULL) {
        shell_stop(d->shell);
        e = shell_wait(d->shell);
        if (*result == ERR_OK)
            *result = e;
    }
    partflow_free(d->flow);
    if (d->run != NULL && *result == ERR_OK)
        *result = run_save(d->run);
    shell_free(d->shell);
    run_free(d->run);
    inbound_free(d->inbound);
    part_dir_close(d->part_dir);
    audit_log_close(d->log);
    if (d->signing)
        audit_signer_local_fini(&d->signer);
    daemon_keys_fini(&d->keys);
    trusting_free(d->trusting);
    store_close(d->store);
    file_lock_free(d->lock);
    if (d->signals >= 0)
        close(d->signals);
}

static unsigned worker_count(const struct settings *s)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);

    if (s->workers != 0)
        return (unsigned)s->workers;
    return processors < 1 ? 1 : processors > WORKERS_MAX ? WORKERS_MAX : (unsigned)processors;
}

int daemon_run(const struct settings *settings)
{
    struct daemon d = {.settings = settings,
                       .env = env_system(),
                       .workers = worker_count(settings),
                       .signals = -1};
    sigset_t set;
    enum err e;

    log_init("sealpost-broker", (enum log_level)settings->log_level);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    d.signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    e = d.signals < 0 ? fail("signals", ERR_IO) : start(&d);
    if (e == ERR_OK) {
        log_event(log_info("serving"), log_str("name", settings->name),
                  log_str("listen", trusting_endpoint(d.trusting)),
                  log_u64("log_size", audit_log_size(d.log)));
        look(&d, true);
        log_ready();
        e = watch(&d);
        notify_stopping();
    }
    stop(&d, &e);
    log_event(e == ERR_OK ? log_info("stopped") : log_error("stopped"), log_code(e));
    return err_exit(e);
}
