#include "tests/unit/broker/puppet.h"

#include "certs/keystore.h"
#include "common/file.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <ftw.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const names[CITY_BROKERS] = {"tallinn", "riga", "vilnius"};

static size_t place_of(const char *broker)
{
    for (size_t i = 0; i < CITY_BROKERS; i++) {
        if (strcmp(names[i], broker) == 0)
            return i;
    }
    cr_assert_fail("%s is no broker", broker);
    return 0;
}

static uint16_t free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    close(fd);
    return ntohs(address.sin_port);
}

static void set_endpoints(void *ctx, Sp__Directory *d)
{
    static char texts[CITY_BROKERS][64];
    struct city *c = ctx;

    for (size_t i = 0; i < d->n_brokers; i++) {
        size_t at = place_of(d->brokers[i]->name);

        snprintf(texts[at], sizeof texts[at], "tcp://127.0.0.1:%u", c->ports[at]);
        d->brokers[i]->endpoint = texts[at];
    }
}

static void put_file(const char *path, const char *text, mode_t mode)
{
    cr_assert_eq(file_write_atomic(path, span_str(text), mode), ERR_OK, "%s", path);
}

static void put_key(struct city *c, const char *broker, const char *file, enum key_purpose purpose,
                    const struct secret *key)
{
    struct key_info info;
    char path[256];

    snprintf(path, sizeof path, "%s/%s/keys/%s.key", c->dir, broker, file);
    cr_assert_eq(keystore_import(path, env_system(), purpose, broker, key, span_str("pass"),
                                 KEYSTORE_DAEMON, &info),
                 ERR_OK);
}

static void make_broker(struct city *c, size_t i, const char *more)
{
    struct federation_broker *b = federation_broker(c->stage.federation, names[i]);
    char path[256];
    char text[2048];

    snprintf(path, sizeof path, "%s/%s/keys", c->dir, names[i]);
    cr_assert_eq(file_make_dir(path, 0700), ERR_OK);
    snprintf(path, sizeof path, "%s/%s/pass", c->dir, names[i]);
    put_file(path, "pass\n", 0600);
    put_key(c, names[i], "transport", KEY_TRANSPORT, b->transport);
    put_key(c, names[i], "log", KEY_LOG, b->log);
    snprintf(text, sizeof text,
             "name: %s\nfederation: ../federation\nroot: ../root.dsse\npassphrase_file: pass\n"
             "listen: tcp://127.0.0.1:%u\nrefresh: 100ms\n%s",
             names[i], c->ports[i], more);
    snprintf(path, sizeof path, "%s/%s/broker.yaml", c->dir, names[i]);
    put_file(path, text, 0644);
}

void city_publish(struct city *c)
{
    char path[256];

    snprintf(path, sizeof path, "%s/federation", c->dir);
    cr_assert_eq(federation_write(c->stage.federation, path), ERR_OK);
}

void city_init(struct city *c, const char *more)
{
    char path[256];

    memset(c, 0, sizeof *c);
    stage_init_at(&c->stage, "tallinn", env_now_ms(env_system()));
    c->stage.quiet = true;
    snprintf(c->dir, sizeof c->dir, "/tmp/sealpost-broker-XXXXXX");
    cr_assert_not_null(mkdtemp(c->dir));
    for (size_t i = 0; i < CITY_BROKERS; i++)
        c->ports[i] = free_port();
    cr_assert_eq(federation_edit(c->stage.federation, set_endpoints, c), ERR_OK);
    city_publish(c);
    snprintf(path, sizeof path, "%s/root.dsse", c->dir);
    cr_assert_eq(file_write_atomic(path, buf_span(&c->stage.federation->root), 0644), ERR_OK);
    for (size_t i = 0; i < CITY_BROKERS; i++)
        make_broker(c, i, more);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

void city_fini(struct city *c)
{
    for (size_t i = 0; i < CITY_BROKERS; i++) {
        if (c->pids[i] != 0)
            city_kill(c, names[i]);
    }
    (void)nftw(c->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    stage_fini(&c->stage);
}

/* The child's output goes to files beside its configuration. */
static pid_t spawn(struct city *c, size_t i)
{
    char config[256];
    char out[256];
    char err[256];
    pid_t pid;

    snprintf(config, sizeof config, "%s/%s/broker.yaml", c->dir, names[i]);
    snprintf(out, sizeof out, "%s/%s/out", c->dir, names[i]);
    snprintf(err, sizeof err, "%s/%s/err", c->dir, names[i]);
    (void)remove(out);
    pid = fork();
    if (pid == 0) {
        /* A test that fails does not get to its end. */
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (freopen(out, "w", stdout) == NULL || freopen(err, "a", stderr) == NULL)
            _exit(99);
        (void)unsetenv("NOTIFY_SOCKET");
        execl(SEALPOST_BROKER, "sealpost-broker", "--config", config, (char *)NULL);
        _exit(99);
    }
    cr_assert_gt(pid, 0);
    return pid;
}

static bool file_has(const char *path, const char *text)
{
    struct buf b = {0};
    bool yes;

    if (file_read(path, 16 * LIMIT_MIB, &b) != ERR_OK)
        return false;
    yes = b.len > 0 && strstr(buf_cstr(&b), text) != NULL;
    buf_fini(&b);
    return yes;
}

static void pause_ms(unsigned ms)
{
    usleep(ms * 1000);
}

void city_start(struct city *c, const char *broker)
{
    size_t i = place_of(broker);
    char out[256];
    uint64_t until = env_mono_ms(env_system()) + PUPPET_WAIT_MS;

    c->pids[i] = spawn(c, i);
    snprintf(out, sizeof out, "%s/%s/out", c->dir, broker);
    while (!file_has(out, "ready\n")) {
        int status;

        cr_assert_eq(waitpid(c->pids[i], &status, WNOHANG), 0, "%s ended at the start", broker);
        cr_assert_lt(env_mono_ms(env_system()), until, "%s is not ready", broker);
        pause_ms(10);
    }
}

int city_stop(struct city *c, const char *broker)
{
    size_t i = place_of(broker);
    int status;

    cr_assert_eq(kill(c->pids[i], SIGTERM), 0);
    cr_assert_eq(waitpid(c->pids[i], &status, 0), c->pids[i]);
    c->pids[i] = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void city_kill(struct city *c, const char *broker)
{
    size_t i = place_of(broker);
    int status;

    cr_assert_eq(kill(c->pids[i], SIGKILL), 0);
    cr_assert_eq(waitpid(c->pids[i], &status, 0), c->pids[i]);
    c->pids[i] = 0;
}

int city_run(struct city *c, const char *arguments, char *out, size_t size)
{
    char line[1024];
    char rest[4096];
    size_t len;
    FILE *f;

    snprintf(line, sizeof line, "cd '%s' && exec '%s' %s 2>&1", c->dir, SEALPOST_BROKER, arguments);
    f = popen(line, "r");
    cr_assert_not_null(f);
    if (out == NULL) {
        out = rest;
        size = sizeof rest;
    }
    len = fread(out, 1, size - 1, f);
    out[len] = '\0';
    return WEXITSTATUS(pclose(f));
}

bool city_log_has(struct city *c, const char *broker, const char *text)
{
    char path[256];

    snprintf(path, sizeof path, "%s/%s/err", c->dir, broker);
    return file_has(path, text);
}

void city_await_log(struct city *c, const char *broker, const char *text)
{
    uint64_t until = env_mono_ms(env_system()) + PUPPET_WAIT_MS;

    while (!city_log_has(c, broker, text)) {
        cr_assert_lt(env_mono_ms(env_system()), until, "%s does not say %s", broker, text);
        pause_ms(10);
    }
}

void puppet_init(struct puppet *p, struct city *c, const char *agency)
{
    struct net_options options = net_options_default();
    struct federation_broker *b;
    uint64_t until = env_mono_ms(env_system()) + PUPPET_WAIT_MS;
    struct net_peer peer = {0};
    char endpoint[64];

    memset(p, 0, sizeof *p);
    p->city = c;
    p->agency = federation_agency(c->stage.federation, agency);
    p->broker = p->agency->home;
    b = federation_broker(c->stage.federation, p->broker);
    options.env = env_system();
    options.secret_key = secret_bytes(p->agency->transport).data;
    options.public_key = p->agency->transport_public;
    cr_assert_eq(net_new(&options, &p->net), ERR_OK);
    snprintf(peer.name, sizeof peer.name, "%s", p->broker);
    memcpy(peer.key, b->transport_public, sizeof peer.key);
    cr_assert_eq(net_set_peers(p->net, &peer, 1), ERR_OK);
    snprintf(endpoint, sizeof endpoint, "tcp://127.0.0.1:%u", c->ports[place_of(p->broker)]);
    cr_assert_eq(net_connect(p->net, p->broker, endpoint, peer.key), ERR_OK);
    while (!p->up) {
        cr_assert_lt(env_mono_ms(env_system()), until, "no connection to %s", p->broker);
        puppet_turn(p);
    }
    /* The broker knows of an accepted connection when it hears of it. */
    puppet_send(p, &(Sp__Frame)SP__FRAME__INIT);
}

void puppet_fini(struct puppet *p)
{
    for (size_t i = 0; i < p->n_frames; i++)
        pb_free(p->frames[i]);
    net_free(p->net);
    memset(p, 0, sizeof *p);
}

void puppet_send_bytes(struct puppet *p, struct span bytes)
{
    cr_assert_eq(net_send(p->net, p->broker, &bytes, 1), ERR_OK);
}

void puppet_send(struct puppet *p, const Sp__Frame *frame)
{
    Sp__Frame copy = *frame;
    Sp__Hello hello = SP__HELLO__INIT;
    struct buf bytes;

    hello.name = pb_string(p->agency->name);
    if (copy.hello == NULL)
        copy.hello = &hello;
    buf_init(&bytes, LIMIT_FRAME);
    pb_encode(&copy, &bytes);
    puppet_send_bytes(p, buf_span(&bytes));
    buf_fini(&bytes);
}

static void take(struct puppet *p, struct net_event *event)
{
    if (event->kind == NET_PEER_UP)
        p->up = true;
    if (event->kind == NET_PEER_DOWN)
        p->up = false;
    if (event->kind != NET_MESSAGE)
        return;
    cr_assert_lt(p->n_frames, sizeof p->frames / sizeof p->frames[0]);
    cr_assert_eq(
        pb_decode(&sp__frame__descriptor, event->parts[0], LIMIT_FRAME, &p->frames[p->n_frames++]),
        ERR_OK, "the broker's frame does not decode");
}

void puppet_turn(struct puppet *p)
{
    struct net_event event;

    (void)!net_wait(p->net, 20);
    while (net_next(p->net, &event)) {
        take(p, &event);
        net_event_release(&event);
    }
}

void puppet_await_down(struct puppet *p)
{
    uint64_t until = env_mono_ms(env_system()) + PUPPET_WAIT_MS;

    while (p->up) {
        cr_assert_lt(env_mono_ms(env_system()), until, "the connection stays");
        puppet_turn(p);
    }
}

static struct pb *find_frame(struct puppet *p, bool (*is_it)(const Sp__Frame *f))
{
    for (size_t i = 0; i < p->n_frames; i++) {
        struct pb *pb = p->frames[i];

        if (!is_it(pb_view(pb)))
            continue;
        memmove(&p->frames[i], &p->frames[i + 1], (p->n_frames - i - 1) * sizeof p->frames[0]);
        p->n_frames--;
        return pb;
    }
    return NULL;
}

const Sp__Frame *puppet_frame(struct puppet *p, bool (*is_it)(const Sp__Frame *f),
                              struct pb **frame)
{
    uint64_t until = env_mono_ms(env_system()) + PUPPET_WAIT_MS;

    while ((*frame = find_frame(p, is_it)) == NULL) {
        cr_assert_lt(env_mono_ms(env_system()), until, "%s waits in vain", p->agency->name);
        puppet_turn(p);
    }
    return pb_view(*frame);
}

bool puppet_is_quiet(struct puppet *p, bool (*is_it)(const Sp__Frame *f), uint64_t ms)
{
    uint64_t until = env_mono_ms(env_system()) + ms;

    while (env_mono_ms(env_system()) < until) {
        puppet_turn(p);
        for (size_t i = 0; i < p->n_frames; i++) {
            if (is_it(pb_view(p->frames[i])))
                return false;
        }
    }
    return true;
}

static bool has_answers(const Sp__Frame *f)
{
    return f->n_answers > 0;
}

static bool has_transfers(const Sp__Frame *f)
{
    return f->n_transfers > 0;
}

static bool has_controls(const Sp__Frame *f)
{
    return f->n_controls > 0;
}

const Sp__Answer *puppet_answer(struct puppet *p, uint64_t tag, struct pb **frame)
{
    for (;;) {
        const Sp__Frame *f = puppet_frame(p, has_answers, frame);

        for (size_t i = 0; i < f->n_answers; i++) {
            if (f->answers[i]->tag == tag)
                return f->answers[i];
        }
        pb_free(*frame);
    }
}

const Sp__Transfer *puppet_transfer(struct puppet *p, struct pb **frame)
{
    return puppet_frame(p, has_transfers, frame)->transfers[0];
}

const Sp__Control *puppet_control(struct puppet *p, Sp__AuditEvent event, struct pb **frame)
{
    for (;;) {
        const Sp__Frame *f = puppet_frame(p, has_controls, frame);

        for (size_t i = 0; i < f->n_controls; i++) {
            struct receipt *r;
            bool found;

            cr_assert_eq(receipt_decode(pb_span(f->controls[i]->body), &r), ERR_OK);
            found = receipt_leaf(r)->event == event;
            receipt_free(r);
            if (found)
                return f->controls[i];
        }
        pb_free(*frame);
    }
}

void puppet_submit(struct puppet *p, int m)
{
    struct stage_message *message = &p->city->stage.messages[m];
    Sp__InlinePart body = SP__INLINE_PART__INIT;
    Sp__InlinePart *parts[] = {&body};
    Sp__Transfer t = SP__TRANSFER__INIT;
    Sp__Transfer *transfers[] = {&t};
    Sp__Frame f = SP__FRAME__INIT;

    body.data = pb_bytes(buf_span(&message->body));
    t.tag = (uint64_t)m;
    t.envelope = pb_bytes(buf_span(&message->bytes));
    t.parts = parts;
    t.n_parts = 1;
    f.transfers = transfers;
    f.n_transfers = 1;
    puppet_send(p, &f);
}

void puppet_deliver(struct puppet *p, uint64_t tag, int m, uint32_t hop)
{
    struct stage_statement s = {.event = SP__AUDIT_EVENT__AUDIT_EVENT_DELIVERED,
                                .log = p->agency->name,
                                .recipients = {p->agency->name},
                                .from = p->broker,
                                .hop = hop,
                                .m = m};
    const struct receipt *receipt = stage_receipt(&p->city->stage, &s);
    const struct envelope *e = p->city->stage.messages[m].envelope;
    Sp__Answer a = SP__ANSWER__INIT;
    Sp__Answer *answers[] = {&a};
    Sp__Frame f = SP__FRAME__INIT;

    a.tag = tag;
    a.id = pb_bytes(uuid_bytes(&envelope_header(e)->id));
    a.digest = pb_bytes(digest_span(envelope_digest(e)));
    a.outcome = SP__OUTCOME__OUTCOME_COMMITTED;
    a.receipt = pb_bytes(receipt_bytes(receipt));
    f.answers = answers;
    f.n_answers = 1;
    puppet_send(p, &f);
}

void puppet_check_receipt(struct puppet *p, ProtobufCBinaryData bytes, Sp__AuditEvent event,
                          const char *log, int m)
{
    struct federation *f = p->city->stage.federation;
    const struct envelope *e = p->city->stage.messages[m].envelope;
    struct ed25519_public key;
    struct receipt *r;

    cr_assert_eq(receipt_decode(pb_span(bytes), &r), ERR_OK);
    cr_assert_str_eq(receipt_leaf(r)->log, log);
    cr_assert_eq(receipt_leaf(r)->event, event);
    cr_assert(span_equal(pb_span(receipt_leaf(r)->envelope), digest_span(envelope_digest(e))));
    cr_assert_eq(trust_log_key(f->trust, log, &key), ERR_OK);
    cr_assert_eq(receipt_verify(r, FEDERATION_NAME, &key, NULL), ERR_OK);
    receipt_free(r);
}
