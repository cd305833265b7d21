/* What the files of the commit thread share; nobody else includes it. */
#ifndef SEALPOST_BROKER_RUN_INTERNAL_H
#define SEALPOST_BROKER_RUN_INTERNAL_H

#include "broker/run.h"
#include "common/log.h"
#include "peer/inbound.h"
#include "peer/outbound.h"
#include "peer/parts.h"

/* A peer as this thread knows it. */
struct peer_note {
    char name[LIMIT_PEER];
    bool up;
    bool refused_hello; /* of another version or name: nothing of it is handled */
    uint64_t minute;    /* of the last line about garbage */
    uint64_t garbage;   /* since then */
};

struct run {
    struct run_options options;
    struct shell *shell;
    struct partflow *flow;
    struct committer *committer;
    struct broker_core *core;
    struct parts *parts;
    struct outbound *out;
    struct trust *trust;
    uint8_t epoch[8];
    size_t commit_bytes; /* about what one commit may take */

    /* The transaction that is open. */
    bool open;
    bool changed;
    bool room;
    size_t bytes;
    size_t events;
    struct broker_send *sends;
    size_t n_sends;
    size_t cap_sends;

    struct digest *orphans; /* parts that no record may name any more */
    size_t n_orphans;
    size_t cap_orphans;

    struct peer_note **peers;
    size_t n_peers;

    uint64_t replay_mono_ms; /* when the peers are told to a rebuilt core; 0: done */
    uint64_t save_mono_ms;   /* when the newest checkpoint is stored at the latest; 0: it is */
    uint64_t status_mono_ms; /* of the next status line */
    uint64_t sweep_mono_ms;  /* of the next look for parts that nobody names */
    uint64_t quarantined;    /* told so far */
};

/* run.c: one event into the open transaction. `bytes` is about what it writes. */
enum err run_step(struct run *r, struct broker_event *event, size_t bytes);
/* Ends the open transaction and sends. */
enum err run_finish(struct run *r);
/* NULL when out of memory. */
struct peer_note *run_peer(struct run *r, const char *name);
/* Remembers parts that may have to be unlinked. */
enum err run_orphan(struct run *r, const struct digest *sha256);

/* run_frame.c: everything in one job. Frees it. */
enum err run_job(struct run *r, const char *peer, struct job *job);
enum err run_peer_up(struct run *r, const char *peer);
enum err run_peer_down(struct run *r, const char *peer);
/* `count` inputs of the peer that did not decode or were refused by the transport. */
enum err run_garbage(struct run *r, const char *peer, enum err code, uint64_t count);
/* Steps what waited for its parts and waits no longer. */
enum err run_parcels(struct run *r);

/* run_send.c: what the committed transaction sends. */
enum err run_send_all(struct run *r);
/* Instead of it, after a commit that failed: nothing was decided. */
enum err run_send_retries(struct run *r, enum err why);

#endif
