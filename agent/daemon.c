#include "agent/daemon.h"

#include "agent/daemon_keys.h"
#include "agent/intake.h"
#include "agent/local.h"
#include "agent/run.h"
#include "agent/vault.h"
#include "common/file.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/sandbox.h"
#include "common/secret.h"

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
    struct intake *intake;
    struct vault *vault;
    struct board *board;
    struct local *local;
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
        e = file_lock_dir(d->settings->data, "sealpost-agent", holder, &d->lock);
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

/* Content at rest and the store's checksums rest on the storage key. */
static enum err open_vault(struct daemon *d)
{
    char why[DAEMON_KEYS_WHY] = "";
    enum err e = daemon_keys_storage(d->settings, &d->keys, why);

    if (e != ERR_OK) {
        tell("keys", why, e);
        return e;
    }
    return fail("vault", vault_new(d->keys.storage, &d->vault));
}

static enum err open_store(struct daemon *d)
{
    char dir[LIMIT_PATH];
    struct store_options options = {
        .dir = dir,
        .map_bytes = d->settings->store_bytes,
        .tables = agent_tables,
        .table_count = AGENT_TABLES,
        .kind = "agent",
        .format = STORE_FORMAT,
        .checksum_key = vault_checksum_key(d->vault),
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
    e = store_get(txn, AGENT_META, span_str(AGENT_META_FLOOR), &value);
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
    struct trusting_options options = {
        .env = d->env, .name = s->agency, .federation = s->federation, .root = s->root};
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
    char origin[LIMIT_DOMAIN + LIMIT_AGENCY];
    char path[LIMIT_PATH];
    enum err e = join(d, SIGNER_STATE, path);

    snprintf(origin, sizeof origin, "%s/%s", trust_federation(trust), d->settings->agency);
    if (e == ERR_OK)
        e = audit_signer_local(origin, d->keys.log, path, &d->signer);
    d->signing = e == ERR_OK;
    if (e == ERR_OK)
        e = audit_log_open(d->store, trust_federation(trust), d->settings->agency, &d->signer,
                           d->env, &d->log);
    if (e == ERR_OK)
        e = audit_log_checkpoint(d->log);
    trust_free(trust);
    return fail("log", e);
}

/* Everything that reaches the commit thread is a task. */
static struct task *peer_task(struct job *job)
{
    struct task *task = job == NULL ? NULL : task_new(TASK_PEER);

    if (task == NULL)
        job_free(job);
    else
        task->job = job;
    return task;
}

static void *prepare(void *ctx, unsigned worker, const char *peer, struct span message)
{
    struct daemon *d = ctx;

    return peer_task(intake_prepare(d->intake, worker, peer, message));
}

static enum err run_batch(void *ctx, struct shell_job *jobs, size_t count, uint64_t *wake_at_ms)
{
    struct daemon *d = ctx;

    return run_jobs(d->run, jobs, count, wake_at_ms);
}

static void discard(void *ctx, void *job)
{
    (void)ctx;
    task_discard(job);
}

static enum err setup(void *ctx, struct net *net)
{
    struct daemon *d = ctx;
    enum err e = trusting_setup(d->trusting, net);

    if (e != ERR_OK)
        log_event(log_error("network-failed"), log_code(e));
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

static void post(struct daemon *d, struct job *job)
{
    struct task *task = peer_task(job);

    if (task != NULL && shell_post_wait(d->shell, task) != ERR_OK)
        task_discard(task);
}

static void part_done(void *ctx, const struct digest *sha256, enum err result)
{
    struct job *job = job_new(JOB_PART);

    if (job == NULL)
        return; /* the peer repeats its transfer, and the part is here then */
    job->part = *sha256;
    job->code = result;
    post(ctx, job);
}

static struct agent_options core_options(const struct daemon *d)
{
    struct agent_options o = agent_options_default(d->settings->agency);

    o.agent = d->settings->agent;
    o.sign = d->keys.sign;
    o.sign_id = d->keys.sign_id;
    o.env = d->env;
    o.in_flight_max = (unsigned)d->settings->in_flight_max;
    o.answer_ms = d->settings->answer_ms;
    o.retry_ms_min = d->settings->retry_ms_min;
    o.retry_ms_max = d->settings->retry_ms_max;
    return o;
}

static enum err make_local(struct daemon *d)
{
    struct local_options options = {.env = d->env,
                                    .settings = d->settings,
                                    .store = d->store,
                                    .trusting = d->trusting,
                                    .parts = d->part_dir,
                                    .vault = d->vault,
                                    .board = d->board};

    return local_new(&options, &d->local);
}

static enum err make_parts(struct daemon *d)
{
    struct run_options options = {.env = d->env,
                                  .core = core_options(d),
                                  .opener = {.env = d->env,
                                             .agency = d->settings->agency,
                                             .keyring = d->keys.keyring,
                                             .vault = d->vault},
                                  .store = d->store,
                                  .log = d->log,
                                  .trusting = d->trusting};
    char path[LIMIT_PATH];
    enum err e = join(d, "parts", path);

    if (e == ERR_OK)
        e = part_dir_open(path, &d->part_dir);
    if (e == ERR_OK)
        e = board_new(&d->board);
    options.parts = d->part_dir;
    options.opener.parts = d->part_dir;
    options.board = d->board;
    if (e == ERR_OK)
        e = intake_new(&options.opener, d->trusting, d->workers, &d->intake);
    if (e == ERR_OK)
        e = run_new(&options, &d->run);
    if (e != ERR_OK)
        return fail("core", e);
    e = make_local(d);
    if (e == ERR_LOCKED) {
        tell("socket", "another agent serves this socket", e);
        return e;
    }
    return fail("socket", e);
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
    e = shell_start(d->shell);
    if (e == ERR_OK)
        e = local_start(d->local, d->shell);
    return fail("threads", e);
}

static enum err start(struct daemon *d)
{
    enum err e = secret_process_init(d->settings->dumpable);

    if (e != ERR_OK)
        return fail("process", e);
    e = take_data_dir(d);
    if (e == ERR_OK)
        e = open_vault(d);
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
    if (job != NULL) {
        job->trust = trust;
        post(d, job);
    } else {
        trust_free(trust);
    }
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
    local_stop(d->local);
    if (d->run != NULL && *result == ERR_OK)
        *result = run_save(d->run);
    shell_free(d->shell);
    local_free(d->local);
    run_free(d->run);
    intake_free(d->intake);
    board_free(d->board);
    part_dir_close(d->part_dir);
    audit_log_close(d->log);
    if (d->signing)
        audit_signer_local_fini(&d->signer);
    trusting_free(d->trusting);
    store_close(d->store);
    vault_free(d->vault);
    daemon_keys_fini(&d->keys);
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

    log_init("sealpost-agent", (enum log_level)settings->log_level);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    d.signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    e = d.signals < 0 ? fail("signals", ERR_IO) : start(&d);
    if (e == ERR_OK) {
        log_event(log_info("serving"), log_str("name", settings->agency),
                  log_str("socket", settings->socket), log_u64("log_size", audit_log_size(d.log)));
        look(&d, true);
        log_ready();
        e = watch(&d);
        notify_stopping();
    }
    stop(&d, &e);
    log_event(e == ERR_OK ? log_info("stopped") : log_error("stopped"), log_code(e));
    return err_exit(e);
}
