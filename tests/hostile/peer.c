/* A peer that does what no sound one does, with an agency's real keys against a live broker.
 *
 *   hostile-peer DIR AGENCY BROKER [--stranger] ACTION…
 *
 * DIR is a demo federation; the agency's own agent must not run. With --stranger the transport key
 * is a fresh one that nobody knows. Actions are done in order on one connection; each prints one
 * line: ACTION OUTCOME CODE ID RECEIPT, where OUTCOME is committed, refused, retry, or none when no
 * answer comes, and RECEIPT the start of its digest.
 *
 *   FAULT:TO[,TO]        an envelope with that fault (forge.h), or good:TO
 *   repeat               the last transfer again
 *   same-id:TO           a good envelope under the id of the last one
 *   not-a-recipient:TO   a good envelope in a transfer for somebody else
 *   save:FILE load:FILE  keep the last transfer; send what was kept
 *   garbage, frame-field, big-frame, hello-version, hello-name
 *   control              waits for a control and prints: control EVENT LOG RECIPIENT CODE
 */
#include "audit/receipt.h"
#include "certs/keystore.h"
#include "common/file.h"
#include "common/limits.h"
#include "common/net.h"
#include "proto/pb.h"
#include "tests/hostile/forge.h"

#include "audit.pb-c.h"
#include "wire.pb-c.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_MS 10000
#define ANSWER_MS 5000
#define TO_MAX 4

struct peer {
    const char *dir;
    const char *agency;
    const char *broker;
    struct forge forge;
    struct secret *transport;
    struct net *net;
    struct forged last;
    uint64_t tag;
    bool has_hello;
};

static void die(const char *what, enum err e)
{
    fprintf(stderr, "hostile-peer: %s: %s\n", what, err_code(e));
    exit(3);
}

static void must(const char *what, enum err e)
{
    if (e != ERR_OK)
        die(what, e);
}

static struct secret *open_key(const struct peer *p, const char *name, enum key_purpose purpose)
{
    char path[LIMIT_PATH];
    struct secret *passphrase = NULL;
    struct secret *key = NULL;
    struct key_info info;

    snprintf(path, sizeof path, "%s/agents/%s/keys/passphrase", p->dir, p->agency);
    must(path, keystore_passphrase(path, &passphrase));
    snprintf(path, sizeof path, "%s/agents/%s/keys/%s", p->dir, p->agency, name);
    must(path, keystore_open(path, purpose, secret_bytes(passphrase), &info, &key));
    secret_free(passphrase);
    return key;
}

static void load_trust(struct peer *p)
{
    struct trust_floor floor = {0};
    char folder[LIMIT_PATH];
    char path[LIMIT_PATH];
    char why[512];
    struct buf root;

    snprintf(folder, sizeof folder, "%s/federation", p->dir);
    snprintf(path, sizeof path, "%s/federation/root.dsse", p->dir);
    must(path, file_read(path, LIMIT_DOCUMENT, &root));
    must(folder, trust_load(folder, buf_span(&root), &floor, env_now_ms(env_system()),
                            &p->forge.trust, why, sizeof why));
    buf_fini(&root);
}

static void open_net(struct peer *p, bool stranger)
{
    struct net_options options = net_options_default();
    uint8_t public_key[NET_KEY];
    struct net_peer row = {0};
    const Sp__BrokerEntry *broker = trust_broker(p->forge.trust, p->broker);

    if (broker == NULL)
        die("broker", ERR_NOT_FOUND);
    if (stranger)
        must("key", secret_random(env_system(), NET_KEY, &p->transport));
    else
        p->transport = open_key(p, "transport.key", KEY_TRANSPORT);
    must("key", x25519_public_of(p->transport, public_key));
    options.env = env_system();
    options.secret_key = secret_bytes(p->transport).data;
    options.public_key = public_key;
    options.frame_max = 16 * LIMIT_MIB;
    must("net", net_new(&options, &p->net));
    snprintf(row.name, sizeof row.name, "%s", p->broker);
    memcpy(row.key, broker->keys[0]->public_key.data, NET_KEY);
    must("net", net_set_peers(p->net, &row, 1));
    must("net", net_connect(p->net, p->broker, broker->endpoint, row.key));
}

/* Takes the next event of the kind that is waited for; false when `until` has passed. */
static bool next_event(struct peer *p, uint64_t until, struct net_event *ret)
{
    while (!net_next(p->net, ret)) {
        uint64_t now = env_mono_ms(env_system());

        if (now >= until)
            return false;
        if (net_wait(p->net, (int)(until - now)) == ERR_IO)
            die("net", ERR_IO);
    }
    return true;
}

/* True when the connection stands; false when it is refused or nothing comes of it. */
static bool connected(struct peer *p)
{
    uint64_t until = env_mono_ms(env_system()) + CONNECT_MS;
    struct net_stats stats = {0};
    struct net_event event;

    while (stats.connect_refused == 0 && env_mono_ms(env_system()) < until) {
        if (next_event(p, env_mono_ms(env_system()) + 50, &event)) {
            bool up = event.kind == NET_PEER_UP;

            net_event_release(&event);
            if (up)
                return true;
        }
        net_stats(p->net, &stats);
    }
    return false;
}

static void send_bytes(struct peer *p, struct span bytes)
{
    must("send", net_send(p->net, p->broker, &bytes, 1));
}

/* With the greeting and the own documents before the first one, as every peer does. */
static void send_frame(struct peer *p, Sp__Frame *frame, const Sp__Hello *other)
{
    static const uint8_t epoch[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    ProtobufCBinaryData documents = pb_bytes(trust_documents(p->forge.trust, p->agency));
    Sp__Hello hello = SP__HELLO__INIT;
    struct buf bytes;

    hello.name = pb_string(p->agency);
    hello.software = pb_string("hostile");
    hello.epoch = pb_bytes(span_of(epoch, sizeof epoch));
    hello.directory_version = trust_versions(p->forge.trust).directory_version;
    if (other != NULL) {
        hello.version = other->version;
        hello.name = other->name;
    }
    if (!p->has_hello || other != NULL) {
        frame->hello = &hello;
        frame->n_documents = documents.len > 0;
        frame->documents = &documents;
        p->has_hello = true;
    }
    buf_init(&bytes, 16 * LIMIT_MIB);
    pb_encode(frame, &bytes);
    must("frame", bytes.err);
    send_bytes(p, buf_span(&bytes));
    buf_fini(&bytes);
}

static void acknowledge(struct peer *p, const Sp__Frame *frame)
{
    Sp__Frame ack = SP__FRAME__INIT;
    uint64_t tags[LIMIT_FRAME_ITEMS];

    if (frame->n_controls == 0)
        return;
    for (size_t i = 0; i < frame->n_controls; i++)
        tags[i] = frame->controls[i]->tag;
    ack.control_acks = tags;
    ack.n_control_acks = frame->n_controls;
    send_frame(p, &ack, NULL);
}

static void print_answer(const char *action, const Sp__Answer *a)
{
    static const char *const outcomes[] = {"-", "committed", "refused", "retry"};
    char receipt[17] = "-";
    char id[UUID_TEXT_SIZE] = "-";
    struct uuid uuid;

    if (a == NULL) {
        printf("%s none - - -\n", action);
        return;
    }
    if (a->id.len == 16 && uuid_from_bytes(pb_span(a->id), &uuid) == ERR_OK)
        uuid_format(&uuid, id);
    if (a->receipt.len > 0) {
        struct digest d = sha256(pb_span(a->receipt));

        for (size_t i = 0; i < 8; i++)
            snprintf(receipt + 2 * i, 3, "%02x", d.b[i]);
    }
    printf("%s %s %s %s %s\n", action, outcomes[a->outcome], a->code[0] == '\0' ? "-" : a->code, id,
           receipt);
}

static void print_control(const Sp__Control *c)
{
    static const char *const events[] = {"-",         "submitted", "accepted", "relayed",
                                         "delivered", "opened",    "refused",  "expired"};
    struct receipt *r = NULL;
    const Sp__Leaf *leaf;

    must("receipt", receipt_decode(pb_span(c->body), &r));
    leaf = receipt_leaf(r);
    printf("control %s %s %s %s\n",
           (size_t)leaf->event < sizeof events / sizeof events[0] ? events[leaf->event] : "other",
           leaf->log, leaf->n_recipients > 0 ? leaf->recipients[0] : "-",
           leaf->code[0] == '\0' ? "-" : leaf->code);
    receipt_free(r);
}

/* Reads frames until the answer with the last tag (`action`), or a control (NULL), has come. */
static void await(struct peer *p, const char *action)
{
    uint64_t until = env_mono_ms(env_system()) + ANSWER_MS;
    struct net_event event;
    bool done = false;

    while (!done && next_event(p, until, &event)) {
        struct pb *pb = NULL;
        const Sp__Frame *frame;

        if (event.kind == NET_PEER_DOWN)
            p->has_hello = false;
        if (event.kind == NET_MESSAGE &&
            pb_decode(&sp__frame__descriptor, event.parts[0], LIMIT_FRAME, &pb) == ERR_OK) {
            frame = pb_view(pb);
            acknowledge(p, frame);
            for (size_t i = 0; i < frame->n_controls; i++) {
                print_control(frame->controls[i]);
                done |= action == NULL;
            }
            for (size_t i = 0; action != NULL && !done && i < frame->n_answers; i++) {
                if (frame->answers[i]->tag == p->tag) {
                    print_answer(action, frame->answers[i]);
                    done = true;
                }
            }
            pb_free(pb);
        }
        net_event_release(&event);
    }
    if (!done && action != NULL)
        print_answer(action, NULL);
    else if (!done)
        printf("control none - - -\n");
}

static void transfer(struct peer *p, const char *action, const char *only_for)
{
    char *to[1] = {pb_string(only_for)};
    Sp__InlinePart part = SP__INLINE_PART__INIT;
    Sp__InlinePart *parts[1] = {&part};
    Sp__Transfer t = SP__TRANSFER__INIT;
    Sp__Transfer *transfers[1] = {&t};
    Sp__Frame frame = SP__FRAME__INIT;

    t.tag = ++p->tag;
    t.envelope = pb_bytes(buf_span(&p->last.envelope));
    t.delay_in_ms = p->last.delay_ms;
    part.data = pb_bytes(buf_span(&p->last.body));
    t.parts = parts;
    t.n_parts = 1;
    t.to = to;
    t.n_to = only_for != NULL;
    frame.transfers = transfers;
    frame.n_transfers = 1;
    send_frame(p, &frame, NULL);
    await(p, action);
}

static void forge_and_send(struct peer *p, const char *action, const char *fault, char *list)
{
    struct uuid id = {0};
    const char *to[TO_MAX];
    const char *only_for = NULL;
    size_t n = 0;
    char *rest = NULL;

    for (char *one = strtok_r(list, ",", &rest); one != NULL && n < TO_MAX;
         one = strtok_r(NULL, ",", &rest))
        to[n++] = one;
    if (strcmp(fault, "same-id") == 0) {
        id = p->last.id;
        fault = "good";
    }
    if (strcmp(fault, "not-a-recipient") == 0) {
        only_for = "LV.CUSTOMS";
        fault = "good";
    }
    forged_fini(&p->last);
    must(fault, forge_make(&p->forge, fault, &id, to, n, &p->last));
    transfer(p, action, only_for);
}

static void keep(const struct peer *p, const char *path)
{
    struct buf b;

    buf_init(&b, 4 * LIMIT_MIB);
    buf_put_u32be(&b, (uint32_t)p->last.envelope.len);
    buf_put(&b, buf_span(&p->last.envelope));
    buf_put(&b, buf_span(&p->last.body));
    must(path, b.err != ERR_OK ? b.err : file_create(path, buf_span(&b), 0600));
    buf_fini(&b);
}

static void send_kept(struct peer *p, const char *action, const char *path)
{
    struct buf b;
    struct rd r;
    uint32_t length;

    must(path, file_read(path, 4 * LIMIT_MIB, &b));
    r = rd_of(buf_span(&b));
    length = rd_u32be(&r);
    forged_fini(&p->last);
    buf_init(&p->last.envelope, 4 * LIMIT_MIB);
    buf_init(&p->last.body, 4 * LIMIT_MIB);
    buf_put(&p->last.envelope, rd_bytes(&r, length));
    buf_put(&p->last.body, rd_bytes(&r, rd_left(&r)));
    must(path, rd_end(&r));
    buf_fini(&b);
    transfer(p, action, NULL);
}

/* Frames that are none. The answer to them is silence, and service for what comes after. */
static void send_odd(struct peer *p, const char *action)
{
    Sp__Frame frame = SP__FRAME__INIT;
    Sp__Hello hello = SP__HELLO__INIT;
    struct buf b;

    buf_init(&b, 16 * LIMIT_MIB);
    hello.name = pb_string(p->agency);
    if (strcmp(action, "garbage") == 0) {
        env_random(env_system(), buf_extend(&b, 3000), 3000);
        send_bytes(p, buf_span(&b));
    } else if (strcmp(action, "frame-field") == 0) {
        buf_put(&b, span_of("\xA0\x06\x01", 3));
        send_bytes(p, buf_span(&b));
    } else if (strcmp(action, "big-frame") == 0) {
        memset(buf_extend(&b, LIMIT_FRAME + 1), 0, LIMIT_FRAME + 1);
        send_bytes(p, buf_span(&b));
    } else if (strcmp(action, "hello-version") == 0) {
        hello.version = 7;
        send_frame(p, &frame, &hello);
    } else if (strcmp(action, "hello-name") == 0) {
        hello.name = pb_string("LT.POLICE");
        send_frame(p, &frame, &hello);
    } else {
        die(action, ERR_USAGE);
    }
    buf_fini(&b);
    printf("%s sent - - -\n", action);
}

static void act(struct peer *p, const char *action)
{
    char *copy = strdup(action);
    char *argument = copy == NULL ? NULL : strchr(copy, ':');

    if (copy == NULL)
        die("memory", ERR_NO_MEMORY);
    if (argument != NULL)
        *argument++ = '\0';
    if (strcmp(copy, "repeat") == 0)
        transfer(p, copy, NULL);
    else if (strcmp(copy, "control") == 0)
        await(p, NULL);
    else if (argument == NULL)
        send_odd(p, copy);
    else if (strcmp(copy, "save") == 0)
        keep(p, argument);
    else if (strcmp(copy, "load") == 0)
        send_kept(p, copy, argument);
    else
        forge_and_send(p, copy, copy, argument);
    fflush(stdout);
    free(copy);
}

int main(int argc, char **argv)
{
    bool stranger = argc > 4 && strcmp(argv[4], "--stranger") == 0;
    struct peer p = {0};
    struct ed25519_public public_key;

    if (argc < 4) {
        fprintf(stderr, "usage: hostile-peer DIR AGENCY BROKER [--stranger] ACTION...\n");
        return 2;
    }
    must("start", secret_process_init(false));
    p.dir = argv[1];
    p.agency = argv[2];
    p.broker = argv[3];
    p.forge.env = env_system();
    p.forge.agency = p.agency;
    load_trust(&p);
    p.forge.sign = open_key(&p, "sign.key", KEY_SIGN);
    must("key", ed25519_public_of(p.forge.sign, &public_key));
    p.forge.key_id = key_id_of(KEY_LABEL_SIGN, span_of(public_key.b, sizeof public_key.b));
    open_net(&p, stranger);
    printf("connection %s - - -\n", connected(&p) ? "up" : "refused");
    fflush(stdout);
    for (int i = stranger ? 5 : 4; i < argc; i++)
        act(&p, argv[i]);
    forged_fini(&p.last);
    net_free(p.net);
    secret_free(p.transport);
    secret_free(p.forge.sign);
    trust_free(p.forge.trust);
    return 0;
}
