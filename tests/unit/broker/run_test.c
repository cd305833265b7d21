/* The commit thread in this process, over a store whose commits fail when the test says so. */
#include "tests/lib/leaks.h"
#include "tests/unit/broker/puppet.h"

#include "broker/run.h"
#include "common/file.h"
#include "common/shell.h"
#include "peer/inbound.h"
#include "peer/trusting.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

TestSuite(run, .fini = leaks_check, .timeout = 120);

#define COMMITTED SP__OUTCOME__OUTCOME_COMMITTED
#define MAP_FULL (-30792) /* MDB_MAP_FULL: surely nothing was written */

/* tallinn. */
struct centre {
    struct city *city;
    struct store *store;
    struct trusting *trusting;
    struct audit_signer signer;
    struct audit_log *log;
    struct part_dir *part_dir;
    struct inbound *inbound;
    struct run *run;
    struct shell *shell;
    struct partflow *flow;
    struct store_fault fault;
    atomic_int at;     /* enum store_fault_point, or -1 */
    atomic_int number; /* errno of the next commit */
    atomic_int hits;   /* how many commits still meet it */
};

static int hit(void *ctx, enum store_fault_point point)
{
    struct centre *c = ctx;

    if (atomic_load(&c->at) != (int)point || atomic_load(&c->hits) == 0)
        return 0;
    atomic_fetch_sub(&c->hits, 1);
    return atomic_load(&c->number);
}

static void fail_next(struct centre *c, enum store_fault_point point, int number, int hits)
{
    atomic_store(&c->at, (int)point);
    atomic_store(&c->number, number);
    atomic_store(&c->hits, hits);
}

static void *prepare(void *ctx, unsigned worker, const char *peer, struct span message)
{
    struct centre *c = ctx;

    return inbound_prepare(c->inbound, worker, peer, message);
}

static enum err run_batch(void *ctx, struct shell_job *jobs, size_t count, uint64_t *wake_at_ms)
{
    struct centre *c = ctx;

    return run_jobs(c->run, jobs, count, wake_at_ms);
}

static void discard(void *ctx, void *job)
{
    (void)ctx;
    job_free(job);
}

static enum err setup(void *ctx, struct net *net)
{
    struct centre *c = ctx;

    return trusting_setup(c->trusting, net);
}

static void send_frame(void *ctx, const char *peer, struct buf *frame)
{
    struct centre *c = ctx;

    shell_send(c->shell, peer, frame);
}

static bool can_send(void *ctx)
{
    struct centre *c = ctx;

    return shell_can_send(c->shell);
}

static void part_done(void *ctx, const struct digest *sha256, enum err result)
{
    (void)ctx;
    (void)sha256;
    (void)result;
}

static void in_dir(struct centre *c, const char *name, char path[256])
{
    snprintf(path, 256, "%s/tallinn/%s", c->city->dir, name);
}

static void open_store(struct centre *c)
{
    static const uint8_t key[STORE_CHECKSUM_KEY];
    struct store_options options = {.map_bytes = 64 * LIMIT_MIB,
                                    .tables = broker_tables,
                                    .table_count = BROKER_TABLES,
                                    .kind = "broker",
                                    .checksum_key = key,
                                    .fault = &c->fault};
    char path[256];

    in_dir(c, "store", path);
    options.dir = path;
    cr_assert_eq(store_open(&options, NULL, &c->store), ERR_OK);
}

static void open_log(struct centre *c)
{
    char path[256];

    in_dir(c, "signer", path);
    cr_assert_eq(file_make_dir(path, 0700), ERR_OK);
    in_dir(c, "signer/state", path);
    cr_assert_eq(audit_signer_local(FEDERATION_NAME "/tallinn",
                                    federation_broker(c->city->stage.federation, "tallinn")->log,
                                    path, &c->signer),
                 ERR_OK);
    cr_assert_eq(
        audit_log_open(c->store, FEDERATION_NAME, "tallinn", &c->signer, env_system(), &c->log),
        ERR_OK);
    cr_assert_eq(audit_log_checkpoint(c->log), ERR_OK);
}

static void open_trust(struct centre *c)
{
    static char listen[64];
    static char federation[256];
    static char root[256];
    struct trusting_options options = {.env = env_system(),
                                       .name = "tallinn",
                                       .federation = federation,
                                       .root = root,
                                       .listen = listen};
    struct trust_floor floor = {0};
    char why[TRUSTING_WHY];

    snprintf(listen, sizeof listen, "tcp://127.0.0.1:%u", c->city->ports[0]);
    snprintf(federation, sizeof federation, "%s/federation", c->city->dir);
    snprintf(root, sizeof root, "%s/root.dsse", c->city->dir);
    cr_assert_eq(trusting_new(&options, &floor, &c->trusting, why), ERR_OK, "%s", why);
}

static void start_shell(struct centre *c)
{
    struct federation_broker *b = federation_broker(c->city->stage.federation, "tallinn");
    struct shell_ops ops = {
        .ctx = c, .prepare = prepare, .run = run_batch, .discard = discard, .setup = setup};
    struct partflow_ops part_ops = {
        .ctx = c, .send = send_frame, .can_send = can_send, .done = part_done};
    struct shell_options options = {
        .env = env_system(), .net = net_options_default(), .workers = 2};

    options.net.env = env_system();
    options.net.secret_key = secret_bytes(b->transport).data;
    options.net.public_key = b->transport_public;
    cr_assert_eq(shell_new(&options, &ops, &c->shell), ERR_OK);
    cr_assert_eq(partflow_new(c->part_dir, env_system(), &part_ops, &c->flow), ERR_OK);
    run_bind(c->run, c->shell, c->flow);
    cr_assert_eq(shell_start(c->shell), ERR_OK);
}

static void centre_start(struct centre *c, struct city *city)
{
    struct run_options options = {.env = env_system(), .core = broker_options_default("tallinn")};
    char path[256];

    memset(c, 0, sizeof *c);
    c->city = city;
    c->fault = (struct store_fault){.ctx = c, .hit = hit};
    atomic_store(&c->at, -1);
    open_store(c);
    open_trust(c);
    open_log(c);
    in_dir(c, "parts", path);
    cr_assert_eq(part_dir_open(path, &c->part_dir), ERR_OK);
    cr_assert_eq(inbound_new(env_system(), c->trusting, 2, &c->inbound), ERR_OK);
    options.store = c->store;
    options.log = c->log;
    options.trusting = c->trusting;
    options.parts = c->part_dir;
    cr_assert_eq(run_new(&options, &c->run), ERR_OK);
    start_shell(c);
}

/* Gives what stopped it. */
static enum err centre_stop(struct centre *c)
{
    enum err e;

    shell_stop(c->shell);
    e = shell_wait(c->shell);
    partflow_free(c->flow);
    if (e == ERR_OK)
        cr_assert_eq(run_save(c->run), ERR_OK);
    shell_free(c->shell);
    run_free(c->run);
    inbound_free(c->inbound);
    part_dir_close(c->part_dir);
    audit_log_close(c->log);
    audit_signer_local_fini(&c->signer);
    trusting_free(c->trusting);
    store_close(c->store);
    return e;
}

static int mail(struct city *c, const char *to)
{
    c->stage.env.now_ms = env_now_ms(env_system());
    return stage_mail(&c->stage, &(struct stage_mail){.sender = "EE.POLICE", .to = {to}});
}

static void expect_answer(struct puppet *p, int m, Sp__Outcome outcome, const char *code)
{
    struct pb *frame;
    const Sp__Answer *a = puppet_answer(p, (uint64_t)m, &frame);

    cr_assert_eq(a->outcome, outcome, "%s", a->code);
    cr_assert_str_eq(a->code, code);
    cr_assert_eq(a->receipt.len > 0, outcome == COMMITTED, "a receipt of something undone");
    pb_free(frame);
}

/* A commit that finds the disk full: nothing happened, everybody is asked to repeat, and what was
 * there before goes on. */
Test(run, disk_full_at_the_commit)
{
    struct city city;
    struct centre c;
    struct puppet ee;
    struct puppet customs;
    struct pb *frame;
    const Sp__Transfer *t;
    uint64_t leaves;
    int first;
    int second;

    city_init(&city, "");
    centre_start(&c, &city);
    puppet_init(&ee, &city, "EE.POLICE");
    first = mail(&city, "EE.CUSTOMS");
    puppet_submit(&ee, first);
    expect_answer(&ee, first, COMMITTED, "");
    leaves = audit_log_size(c.log);
    second = mail(&city, "EE.CUSTOMS");
    fail_next(&c, STORE_FAULT_BEFORE_COMMIT, MAP_FULL, 1);
    puppet_submit(&ee, second);
    expect_answer(&ee, second, SP__OUTCOME__OUTCOME_RETRY, "disk-full");
    cr_assert_eq(audit_log_size(c.log), leaves);
    puppet_submit(&ee, second);
    expect_answer(&ee, second, COMMITTED, "");

    /* The core was made anew: both are still there, in order. */
    puppet_init(&customs, &city, "EE.CUSTOMS");
    t = puppet_transfer(&customs, &frame);
    cr_assert(span_equal(pb_span(t->envelope), buf_span(&city.stage.messages[first].bytes)));
    puppet_deliver(&customs, t->tag, first, 1);
    pb_free(frame);
    /* EE.POLICE was connected all the time: its receipt comes without a reconnection. */
    (void)puppet_control(&ee, SP__AUDIT_EVENT__AUDIT_EVENT_DELIVERED, &frame);
    pb_free(frame);
    puppet_fini(&ee);
    puppet_fini(&customs);
    cr_assert_eq(centre_stop(&c), ERR_OK);
    city_fini(&city);
}

Test(run, disk_full_for_a_while)
{
    struct city city;
    struct centre c;
    struct puppet ee;
    int m;

    city_init(&city, "");
    centre_start(&c, &city);
    puppet_init(&ee, &city, "EE.POLICE");
    m = mail(&city, "EE.CUSTOMS");
    fail_next(&c, STORE_FAULT_BEFORE_COMMIT, MAP_FULL, 5);
    for (int i = 0; atomic_load(&c.hits) > 0; i++) {
        cr_assert_lt(i, 100);
        puppet_submit(&ee, m);
        expect_answer(&ee, m, SP__OUTCOME__OUTCOME_RETRY, "disk-full");
    }
    puppet_submit(&ee, m);
    expect_answer(&ee, m, COMMITTED, "");
    puppet_fini(&ee);
    cr_assert_eq(centre_stop(&c), ERR_OK);
    city_fini(&city);
}

static bool has_answers(const Sp__Frame *f)
{
    return f->n_answers > 0;
}

static void stops(enum store_fault_point point, bool happened)
{
    struct city city;
    struct centre c;
    struct puppet ee;
    uint64_t leaves;
    int m;

    city_init(&city, "");
    centre_start(&c, &city);
    puppet_init(&ee, &city, "EE.POLICE");
    m = mail(&city, "EE.CUSTOMS");
    puppet_submit(&ee, m);
    expect_answer(&ee, m, COMMITTED, "");
    m = mail(&city, "EE.CUSTOMS");
    leaves = audit_log_size(c.log);
    fail_next(&c, point, EIO, 1);
    puppet_submit(&ee, m);
    puppet_await_down(&ee);
    cr_assert(puppet_is_quiet(&ee, has_answers, 1), "nothing may be said after it");
    puppet_fini(&ee);
    cr_assert_eq(centre_stop(&c), ERR_IN_DOUBT);

    centre_start(&c, &city);
    cr_assert_eq(audit_log_size(c.log), happened ? leaves + 1 : leaves, "the disk knows");
    puppet_init(&ee, &city, "EE.POLICE");
    puppet_submit(&ee, m);
    expect_answer(&ee, m, COMMITTED, "");
    cr_assert_eq(audit_log_size(c.log), leaves + 1, "one effect, one leaf");
    puppet_fini(&ee);
    cr_assert_eq(centre_stop(&c), ERR_OK);
    city_fini(&city);
}

Test(run, commit_lost)
{
    stops(STORE_FAULT_BEFORE_COMMIT, false);
}

Test(run, commit_durable_and_nobody_told)
{
    stops(STORE_FAULT_AFTER_COMMIT, true);
}
