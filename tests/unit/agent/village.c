#include "tests/unit/agent/village.h"

#include "certs/keystore.h"
#include "common/file.h"
#include "common/limits.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <ftw.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

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

static void set_endpoint(void *ctx, Sp__Directory *d)
{
    static char text[64];
    const struct village *v = ctx;

    snprintf(text, sizeof text, "tcp://127.0.0.1:%u", v->port);
    d->brokers[0]->endpoint = text;
}

void village_path(const struct village *v, const char *who, const char *name, char out[256])
{
    snprintf(out, 256, "%s/%s/%s", v->dir, who, name);
}

static void put(const struct village *v, const char *who, const char *name, const char *text,
                mode_t mode)
{
    char path[256];

    village_path(v, who, name, path);
    cr_assert_eq(file_write_atomic(path, span_str(text), mode), ERR_OK, "%s", path);
}

static void put_key(const struct village *v, const char *who, const char *name,
                    enum key_purpose purpose, const struct secret *key)
{
    struct key_info info;
    char path[256];

    village_path(v, who, name, path);
    cr_assert_eq(keystore_import(path, env_system(), purpose, who, key, span_str("pass"),
                                 KEYSTORE_DAEMON, &info),
                 ERR_OK);
}

static void make_folder(const struct village *v, const char *who)
{
    char path[256];

    village_path(v, who, "keys", path);
    cr_assert_eq(file_make_dir(path, 0700), ERR_OK);
    put(v, who, "pass", "pass\n", 0600);
}

void village_configure(struct village *v, const char *agency, const char *roles, const char *more)
{
    char text[2048];

    snprintf(text, sizeof text,
             "agency: %s\nfederation: ../federation\nroot: ../root.dsse\npassphrase_file: pass\n"
             "refresh: 100ms\nofficers:\n  - {id: duty, name: Duty Officer, uid: %u, roles: [%s]}\n"
             "%s",
             agency, roles == NULL ? getuid() + 1 : getuid(), roles == NULL ? ALL_ROLES : roles,
             more);
    put(v, agency, "agent.yaml", text, 0644);
}

static void make_agent(struct village *v, const char *agency)
{
    struct federation_agency *a = federation_agency(v->federation, agency);

    make_folder(v, agency);
    put_key(v, agency, "keys/sign.key", KEY_SIGN, a->sign);
    put_key(v, agency, "keys/transport.key", KEY_TRANSPORT, a->transport);
    put_key(v, agency, "keys/log.key", KEY_LOG, a->log);
    put_key(v, agency, "keys/storage.key", KEY_STORAGE, a->storage);
    put_key(v, agency, "keys/encrypt-1.key", KEY_ENCRYPT, a->encrypt[0]);
    village_configure(v, agency, ALL_ROLES, "");
}

static void make_broker(struct village *v)
{
    struct federation_broker *b = federation_broker(v->federation, "tallinn");
    char text[512];

    make_folder(v, "tallinn");
    put_key(v, "tallinn", "keys/transport.key", KEY_TRANSPORT, b->transport);
    put_key(v, "tallinn", "keys/log.key", KEY_LOG, b->log);
    snprintf(text, sizeof text,
             "name: tallinn\nfederation: ../federation\nroot: ../root.dsse\n"
             "passphrase_file: pass\nlisten: tcp://127.0.0.1:%u\nrefresh: 100ms\n",
             v->port);
    put(v, "tallinn", "broker.yaml", text, 0644);
}

void village_write_federation(struct village *v)
{
    char path[256];

    snprintf(path, sizeof path, "%s/federation", v->dir);
    cr_assert_eq(federation_write(v->federation, path), ERR_OK);
}

void village_init(struct village *v)
{
    char path[256];

    memset(v, 0, sizeof *v);
    test_env_init(&v->env, 7);
    v->env.now_ms = env_now_ms(env_system());
    v->port = free_port();
    cr_assert_eq(federation_new(&v->env.env, 1, &v->federation), ERR_OK);
    cr_assert_eq(federation_edit(v->federation, set_endpoint, v), ERR_OK);
    snprintf(v->dir, sizeof v->dir, "/tmp/sealpost-agent-XXXXXX");
    cr_assert_not_null(mkdtemp(v->dir));
    village_write_federation(v);
    snprintf(path, sizeof path, "%s/root.dsse", v->dir);
    cr_assert_eq(file_write_atomic(path, buf_span(&v->federation->root), 0644), ERR_OK);
    make_broker(v);
    make_agent(v, "EE.POLICE");
    make_agent(v, "EE.CUSTOMS");
}

static pid_t *pid_of(struct village *v, const char *who)
{
    if (strcmp(who, "tallinn") == 0)
        return &v->broker;
    return strcmp(who, "EE.POLICE") == 0 ? &v->police : &v->customs;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

void village_fini(struct village *v)
{
    const char *const all[] = {"tallinn", "EE.POLICE", "EE.CUSTOMS"};

    for (size_t i = 0; i < 3; i++) {
        if (*pid_of(v, all[i]) != 0)
            village_kill(v, all[i]);
    }
    (void)nftw(v->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    federation_free(v->federation);
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

bool village_log_has(struct village *v, const char *who, const char *text)
{
    char path[256];

    village_path(v, who, "err", path);
    return file_has(path, text);
}

/* The child's output goes to files beside its configuration. */
static pid_t spawn(struct village *v, const char *who)
{
    bool broker = strcmp(who, "tallinn") == 0;
    const char *program = broker ? SEALPOST_BROKER : SEALPOST_AGENT;
    char config[256];
    char out[256];
    char err[256];
    pid_t pid;

    village_path(v, who, broker ? "broker.yaml" : "agent.yaml", config);
    village_path(v, who, "out", out);
    village_path(v, who, "err", err);
    (void)remove(out);
    pid = fork();
    if (pid == 0) {
        if (freopen(out, "w", stdout) == NULL || freopen(err, "a", stderr) == NULL)
            _exit(99);
        (void)unsetenv("NOTIFY_SOCKET");
        execl(program, program, "--config", config, (char *)NULL);
        _exit(99);
    }
    cr_assert_gt(pid, 0);
    return pid;
}

void village_start(struct village *v, const char *who)
{
    uint64_t until = env_mono_ms(env_system()) + VILLAGE_WAIT_MS;
    pid_t *pid = pid_of(v, who);
    char out[256];

    *pid = spawn(v, who);
    village_path(v, who, "out", out);
    while (!file_has(out, "ready\n")) {
        int status;

        cr_assert_eq(waitpid(*pid, &status, WNOHANG), 0, "%s ended at the start", who);
        cr_assert_lt(env_mono_ms(env_system()), until, "%s is not ready", who);
        usleep(10000);
    }
}

static int await_end(struct village *v, const char *who, int number)
{
    pid_t *pid = pid_of(v, who);
    int status;

    cr_assert_eq(kill(*pid, number), 0);
    cr_assert_eq(waitpid(*pid, &status, 0), *pid);
    *pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int village_stop(struct village *v, const char *who)
{
    return await_end(v, who, SIGTERM);
}

void village_kill(struct village *v, const char *who)
{
    await_end(v, who, SIGKILL);
}

int village_run(struct village *v, const char *arguments, char *out, size_t size)
{
    char line[1024];
    char rest[4096];
    size_t len;
    FILE *f;

    snprintf(line, sizeof line, "cd '%s' && exec '%s' %s 2>&1", v->dir, SEALPOST_AGENT, arguments);
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

struct client *village_visit(struct village *v, const char *agency)
{
    struct client *c;
    char path[256];

    village_path(v, agency, "agent.sock", path);
    cr_assert_eq(client_connect(path, &c), ERR_OK);
    return c;
}

const Sp__Response *village_next(struct client *c, struct pb **frame)
{
    enum err e = client_receive(c, frame);

    cr_assert_eq(e, ERR_OK, "%s", err_code(e));
    return pb_view(*frame);
}

const Sp__Response *village_ask(struct client *c, const Sp__Request *request, struct pb **frame)
{
    const Sp__Response *r;

    cr_assert_eq(client_send(c, request), ERR_OK);
    r = village_next(c, frame);
    cr_assert_eq(r->tag, request->tag);
    return r;
}

const char *village_refused(struct client *c, const Sp__Request *request, const char *code)
{
    static char message[512];
    struct pb *frame;
    const Sp__Response *r = village_ask(c, request, &frame);

    cr_assert_not_null(r->error, "%s was expected", code);
    cr_assert_str_eq(r->error->code, code, "%s: %s", r->error->code, r->error->message);
    cr_assert_neq(r->error->message[0], '\0');
    cr_assert_neq(r->error->next[0], '\0');
    cr_assert_not(r->more);
    snprintf(message, sizeof message, "%s", r->error->message);
    pb_free(frame);
    return message;
}

void village_draft(Sp__SendRequest *q, char **to, const char *subject, const char *text)
{
    sp__send_request__init(q);
    q->to = to;
    for (q->n_to = 0; to != NULL && to[q->n_to] != NULL;)
        q->n_to++;
    q->kind = pb_string("information");
    q->subject = pb_string(subject);
    q->text = pb_string(text);
}

static void send_attachment(struct client *c, struct span bytes)
{
    for (;;) {
        Sp__Request request = SP__REQUEST__INIT;
        Sp__DataChunk data = SP__DATA_CHUNK__INIT;
        size_t n = bytes.len < LIMIT_CHUNK ? bytes.len : LIMIT_CHUNK;

        data.data = pb_bytes(span_of(bytes.data, n));
        data.last = n == bytes.len;
        request.data = &data;
        cr_assert_eq(client_send(c, &request), ERR_OK);
        if (data.last)
            return;
        bytes = span_of(bytes.data + n, bytes.len - n);
    }
}

void village_send(struct client *c, Sp__SendRequest *q, const struct span *attachments, size_t n,
                  char id[UUID_TEXT_SIZE])
{
    static Sp__DraftAttachment items[LIMIT_PARTS];
    static Sp__DraftAttachment *list[LIMIT_PARTS];
    static char names[LIMIT_PARTS][16];
    Sp__Request request = SP__REQUEST__INIT;
    const Sp__Response *r;
    struct pb *frame;

    for (size_t i = 0; i < n; i++) {
        sp__draft_attachment__init(&items[i]);
        snprintf(names[i], sizeof names[i], "part-%zu.bin", i + 1);
        items[i].name = names[i];
        items[i].size = attachments[i].len;
        list[i] = &items[i];
    }
    q->attachments = list;
    q->n_attachments = n;
    request.tag = 1;
    request.send = q;
    cr_assert_eq(client_send(c, &request), ERR_OK);
    for (size_t i = 0; i < n; i++)
        send_attachment(c, attachments[i]);
    r = village_next(c, &frame);
    cr_assert_null(r->error, "%s: %s", r->error == NULL ? "" : r->error->code,
                   r->error == NULL ? "" : r->error->message);
    cr_assert_not_null(r->message);
    snprintf(id, UUID_TEXT_SIZE, "%s", r->message->id);
    pb_free(frame);
}

void village_await(struct client *c, const char *id, const char *state, char reached[32])
{
    Sp__Request request = SP__REQUEST__INIT;
    Sp__WaitRequest wait = SP__WAIT_REQUEST__INIT;
    const Sp__Response *r;
    struct pb *frame;

    wait.id = pb_string(id);
    wait.state = pb_string(state);
    wait.timeout_in_ms = VILLAGE_WAIT_MS;
    request.wait = &wait;
    r = village_ask(c, &request, &frame);
    cr_assert_not_null(r->message);
    snprintf(reached, 32, "%s", r->message->state);
    pb_free(frame);
}

static bool find_newest(struct client *c, const char *subject, char id[UUID_TEXT_SIZE])
{
    Sp__Request request = SP__REQUEST__INIT;
    Sp__ListRequest list = SP__LIST_REQUEST__INIT;
    const Sp__Response *r;
    struct pb *frame;
    bool found = false;

    list.box = pb_string("in");
    request.list = &list;
    r = village_ask(c, &request, &frame);
    cr_assert_not_null(r->messages);
    for (size_t i = 0; !found && i < r->messages->n_messages; i++) {
        found = strcmp(r->messages->messages[i]->subject, subject) == 0;
        if (found)
            snprintf(id, UUID_TEXT_SIZE, "%s", r->messages->messages[i]->id);
    }
    pb_free(frame);
    return found;
}

void village_newest(struct client *c, const char *subject, char id[UUID_TEXT_SIZE])
{
    uint64_t until = env_mono_ms(env_system()) + VILLAGE_WAIT_MS;

    while (!find_newest(c, subject, id)) {
        cr_assert_lt(env_mono_ms(env_system()), until, "%s does not come", subject);
        usleep(10000);
    }
}

const Sp__Message *village_show(struct client *c, const char *id, struct pb **frame)
{
    Sp__Request request = SP__REQUEST__INIT;
    Sp__ShowRequest show = SP__SHOW_REQUEST__INIT;
    const Sp__Response *r;

    show.id = pb_string(id);
    request.show = &show;
    r = village_ask(c, &request, frame);
    cr_assert_null(r->error, "%s", r->error == NULL ? "" : r->error->message);
    cr_assert_not_null(r->message);
    return r->message;
}

uint64_t village_log_size(struct client *c)
{
    Sp__Request request = SP__REQUEST__INIT;
    Sp__StatusRequest status = SP__STATUS_REQUEST__INIT;
    struct pb *frame;
    uint64_t size;

    request.status = &status;
    do {
        size = village_ask(c, &request, &frame)->status->log_size;
        pb_free(frame);
        usleep(size == 0 ? 10000 : 0);
    } while (size == 0);
    return size;
}

void village_fill_verbs(struct village_verbs *a)
{
    static char *customs[] = {(char *)"EE.CUSTOMS", NULL};

    for (size_t i = 0; i < 9; i++)
        sp__request__init(&a->requests[i]);
    village_draft(&a->send, customs, "s", "t");
    sp__list_request__init(&a->list);
    sp__show_request__init(&a->show);
    sp__save_request__init(&a->save);
    sp__receipts_request__init(&a->receipts);
    sp__prove_request__init(&a->prove);
    sp__status_request__init(&a->status);
    sp__directory_request__init(&a->directory);
    sp__wait_request__init(&a->wait);
    a->show.id = a->save.id = a->receipts.id = a->prove.id = a->wait.id = pb_string(VILLAGE_NOBODY);
    a->wait.state = pb_string("accepted");
    a->requests[0].send = &a->send;
    a->requests[1].list = &a->list;
    a->requests[2].show = &a->show;
    a->requests[3].save = &a->save;
    a->requests[4].wait = &a->wait;
    a->requests[5].receipts = &a->receipts;
    a->requests[6].prove = &a->prove;
    a->requests[7].status = &a->status;
    a->requests[8].directory = &a->directory;
}

void village_start_all(struct village *v)
{
    village_init(v);
    village_start(v, "tallinn");
    village_start(v, "EE.POLICE");
    village_start(v, "EE.CUSTOMS");
}

void village_stop_all(struct village *v)
{
    const char *const all[] = {"EE.POLICE", "EE.CUSTOMS", "tallinn"};

    for (size_t i = 0; i < 3; i++) {
        if (*pid_of(v, all[i]) != 0)
            cr_assert_eq(village_stop(v, all[i]), 0, "%s", all[i]);
    }
    village_fini(v);
}
