/* Envelopes for tests, made twice over: `kit_seal` through proto/seal.h, and `draft` by hand, field
 * by field from the text of docs/PROTOCOL.md, so that what is wrong with a draft is still digested,
 * wrapped, committed to and signed correctly. */
#ifndef SEALPOST_TESTS_ENVELOPE_KIT_H
#define SEALPOST_TESTS_ENVELOPE_KIT_H

#include "common/limits.h"
#include "proto/seal.h"

#include <stdbool.h>

#define KIT_AGENCIES (LIMIT_RECIPIENTS + 1)
#define KIT_CREATED_MS ((uint64_t)1772438400000) /* 2026-03-02T08:00:00Z */
#define KIT_SENDER "EE.POLICE"

/* Keys of one sender and of many recipients, and a reproducible env. */
struct kit {
    struct env env;
    uint64_t counter;
    struct secret *sign;
    struct ed25519_public sign_public;
    struct key_id sign_id;
    struct secret *other_sign; /* of somebody else */
    struct ed25519_public other_public;
    struct secret *file_key;
    char agencies[KIT_AGENCIES][16]; /* sorted */
    struct secret *keys[KIT_AGENCIES];
    uint8_t publics[KIT_AGENCIES][32];
    struct key_id key_ids[KIT_AGENCIES];
};

/* The recipients' keys are made for the first `agencies` only. */
void kit_init(struct kit *k, uint64_t seed, size_t agencies);
void kit_fini(struct kit *k);
/* An open_find_key over the kit's recipients. */
enum err kit_find(void *kit, const struct key_id *id, const struct secret **ret);

/* A valid input for n_recipients and n_parts; its lists live in `in`. */
struct kit_input {
    struct seal_input in;
    const char *handling[LIMIT_HANDLING + 1];
    struct seal_recipient recipients[KIT_AGENCIES];
    struct envelope_part parts[LIMIT_PARTS + 1];
};
void kit_input(struct kit *k, size_t n_recipients, size_t n_parts, struct kit_input *ret);
/* Seals `n` envelopes of `n_recipients` and signs them together; outs are initialised here. */
void kit_seal(struct kit *k, struct wrap_pool *pool, size_t n, size_t n_recipients,
              struct buf *outs);

struct draft {
    struct kit *kit;
    Sp__Sender sender;
    Sp__Header header;
    char *handling[LIMIT_HANDLING + 1];
    Sp__Recipients recipients;
    Sp__Recipient recipient[KIT_AGENCIES];
    Sp__Recipient *recipient_at[KIT_AGENCIES];
    Sp__Wraps wraps;
    Sp__Wrap wrap[KIT_AGENCIES];
    Sp__Wrap *wrap_at[KIT_AGENCIES];
    Sp__Parts parts;
    Sp__Part part[LIMIT_PARTS + 1];
    Sp__Part *part_at[LIMIT_PARTS + 1];
    Sp__Core core;
    Sp__Envelope envelope;
    Sp__Signature signature;
    Sp__Signature *signature_at[2];
    Sp__Batch batch;
    ProtobufCBinaryData path[LIMIT_BATCH_PATH + 1];
    struct digest path_nodes[LIMIT_BATCH_PATH + 1];
    char *keyid;

    uint8_t id[17];
    uint8_t supersedes[17];
    uint8_t release[33];
    uint8_t epoch[9];
    uint8_t key_id[17];
    uint8_t prev_hash[33];
    uint8_t wrap_key_id[KIT_AGENCIES][17];
    uint8_t enc[KIT_AGENCIES][33];
    uint8_t ct[KIT_AGENCIES][33];
    uint8_t sha256[33];
    struct digest digests[5];
    uint8_t sig[65];
    char keyid_text[33];

    const struct secret *sign;         /* the kit's by default */
    const struct secret *file_keys[2]; /* of the first wrap, and of the others */
    /* Bytes appended to the encoded field, still digested and signed. */
    struct span header_tail, recipients_tail, wraps_tail, parts_tail, core_tail, outer_tail;
    /* Called after wraps are made, before they are encoded; after the core is filled; after the
     * signature is made. */
    void (*change_wraps)(struct draft *d);
    void (*change_core)(struct draft *d);
    void (*change_outer)(struct draft *d);
    /* A batch signature with this index and size, signed over the root that leads to. */
    bool in_batch;
    uint32_t batch_index, batch_size;
};

struct draft *draft_new(struct kit *k, size_t n_recipients, size_t n_parts);
void draft_free(struct draft *d);
/* Appends the envelope's bytes. */
void draft_encode(struct draft *d, struct buf *out);
/* What envelope_decode says to the draft; frees nothing. */
enum err draft_decode(struct draft *d);
/* Decodes a draft that must be good. */
struct envelope *draft_envelope(struct draft *d);

#endif
