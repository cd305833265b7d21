/* The limits that stand beside the figures of `./run bench`: what signature checks, hashing, the
 * disk and the transport alone can do on this machine. Prints "name value unit", one line each. */
#include "common/limits.h"
#include "common/crypto.h"
#include "common/env.h"
#include "common/net.h"
#include "common/secret.h"
#include "common/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECONDS_MS 1500
#define MESSAGE 1024

static const struct store_table tables[] = {{"bench", false}};

static void need(enum err e, const char *what)
{
    if (e != ERR_OK) {
        fprintf(stderr, "limits: %s: %s\n", what, err_meaning(e));
        exit(1);
    }
}

static uint64_t now(void)
{
    return env_mono_ms(env_system());
}

static void print_rate(const char *name, uint64_t count, uint64_t since, const char *unit)
{
    printf("%-34s %10.0f %s\n", name, (double)count * 1000 / (double)(now() - since), unit);
    fflush(stdout);
}

static void bench_verify(void)
{
    struct secret *key;
    struct ed25519_public public;
    uint8_t sig[ED25519_SIG];
    struct span message = span_str("a message of ordinary length, as long as a pre-authentication");
    uint64_t start;
    uint64_t n = 0;

    need(secret_random(env_system(), ED25519_SEED, &key), "key");
    need(ed25519_public_of(key, &public), "key");
    need(ed25519_sign(key, message, sig), "sign");
    for (start = now(); now() - start < SECONDS_MS; n += 100) {
        for (int i = 0; i < 100; i++)
            need(ed25519_verify(&public, message, span_of(sig, sizeof sig)), "verify");
    }
    print_rate("ed25519 verify, one core", n, start, "/s");
    secret_free(key);
}

static void bench_hash(void)
{
    uint8_t *block = calloc(1, LIMIT_MIB);
    uint64_t start;
    uint64_t n = 0;

    for (start = now(); now() - start < SECONDS_MS; n++)
        (void)sha256(span_of(block, LIMIT_MIB));
    print_rate("sha-256, one core", n, start, "MiB/s");
    free(block);
}

static void bench_store(const char *dir, unsigned records, const char *name)
{
    struct store_options options = {.dir = dir,
                                    .map_bytes = 512 * LIMIT_MIB,
                                    .tables = tables,
                                    .table_count = 1,
                                    .kind = "bench",
                                    .checksum_key = (const uint8_t *)"0123456789abcdef"};
    static const uint8_t value[MESSAGE];
    static uint64_t key_number;
    struct store *store;
    uint64_t start;
    uint64_t n = 0;

    need(store_open(&options, NULL, &store), "store");
    for (start = now(); now() - start < SECONDS_MS; n++) {
        struct store_txn *txn;

        need(store_write_begin(store, &txn), "begin");
        for (unsigned i = 0; i < records; i++) {
            uint8_t key[STORE_KEY_U64];

            store_key_u64(key_number++, key);
            store_append(txn, 0, span_of(key, sizeof key), span_of(value, sizeof value));
        }
        need(store_commit(txn), "commit");
    }
    print_rate(name, n, start, "commits/s");
    store_close(store);
}

struct end {
    struct net *net;
    struct secret *key;
    uint8_t public[32];
};

static void end_init(struct end *e)
{
    struct net_options options = net_options_default();

    need(secret_random(env_system(), 32, &e->key), "key");
    need(x25519_public_of(e->key, e->public), "key");
    options.env = env_system();
    options.secret_key = secret_bytes(e->key).data;
    options.public_key = e->public;
    need(net_new(&options, &e->net), "net");
}

/* Takes what has come; gives how many messages. */
static uint64_t drain(struct net *net)
{
    struct net_event event;
    uint64_t n = 0;

    while (net_next(net, &event)) {
        n += event.kind == NET_MESSAGE;
        net_event_release(&event);
    }
    return n;
}

static void bench_net(void)
{
    static const uint8_t message[MESSAGE];
    struct span part = span_of(message, sizeof message);
    struct end server;
    struct end client;
    struct net_peer row = {.name = "client"};
    struct net_bound bound;
    uint64_t start;
    uint64_t n = 0;

    end_init(&server);
    end_init(&client);
    memcpy(row.key, client.public, sizeof row.key);
    need(net_set_peers(server.net, &row, 1), "peers");
    need(net_listen(server.net, "tcp://127.0.0.1:*", &bound), "listen");
    memcpy(row.name, "server", 7);
    memcpy(row.key, server.public, sizeof row.key);
    need(net_set_peers(client.net, &row, 1), "peers");
    need(net_connect(client.net, "server", bound.endpoint, server.public), "connect");
    while (!net_is_up(client.net, "server")) {
        (void)net_wait(client.net, 5);
        (void)drain(client.net);
        (void)net_wait(server.net, 5);
        (void)drain(server.net);
    }
    for (start = now(); now() - start < SECONDS_MS;) {
        for (int i = 0; i < 64; i++)
            (void)net_send(client.net, "server", &part, 1);
        (void)drain(client.net);
        (void)net_wait(server.net, 1);
        n += drain(server.net);
    }
    print_rate("curve, 1 KiB, one hop, one thread", n, start, "messages/s");
    net_free(client.net);
    net_free(server.net);
    secret_free(client.key);
    secret_free(server.key);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: limits DIR\n");
        return 2;
    }
    need(secret_process_init(true), "process");
    bench_verify();
    bench_hash();
    bench_store(argv[1], 1, "store, 1 record of 1 KiB a commit");
    bench_store(argv[1], 100, "store, 100 records a commit");
    bench_net();
    return 0;
}
