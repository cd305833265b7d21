/* Opening of what was received: the recipient's half of proto/seal.h, from a verified envelope to
 * a checked content and what is kept of it at rest. Also the reading of it again later. */
#ifndef SEALPOST_AGENT_OPENING_H
#define SEALPOST_AGENT_OPENING_H

#include "agent/content.h"
#include "agent/vault.h"
#include "certs/keystore.h"
#include "common/partfile.h"
#include "proto/pb.h"
#include "proto/seal.h"

#include "wire.pb-c.h"

/* The agency's decryption keys. Filled at the start, then read by any thread. */
struct keyring;
enum err keyring_new(struct keyring **ret);
/* Accepts NULL. */
void keyring_free(struct keyring *k);
/* Adds an X25519 secret of 32 bytes; keeps its own, expanded copy. ERR_FULL at
 * LIMIT_STATEMENT_KEYS. */
enum err keyring_add(struct keyring *k, const struct secret *key);
size_t keyring_count(const struct keyring *k);
/* An `open_find_key`: `keyring` is the struct keyring. */
enum err keyring_find(void *keyring, const struct key_id *id, const struct secret **ret);

/* What file keys and summaries in the vault are sealed under: envelope id || sender. */
#define OPENING_NAME (16 + LIMIT_AGENCY)
struct span opening_name(const struct uuid *id, const char *sender, uint8_t out[OPENING_NAME]);

/* One for each thread. Everything is borrowed. */
struct opener;
struct opener_options {
    const struct env *env;
    const char *agency;
    struct keyring *keyring;
    const struct vault *vault;
    struct part_dir *parts;
};
enum err opener_new(const struct opener_options *options, struct opener **ret);
/* Accepts NULL. */
void opener_free(struct opener *o);

/* How an envelope opened. `verdict` is of class PEER or RETRY, never LOCAL. */
struct opened {
    enum err verdict;
    char rule[CONTENT_RULE];
    struct buf sealed_key; /* for the vault */
    struct buf summary;    /* a Message without text and entities, likewise */
};
/* Accepts NULL. */
void opened_free(struct opened *o);

/* True when the body lies in a file that is not here: it cannot be opened yet. */
bool opening_waits(const struct opener *o, const struct envelope *e, const Sp__Transfer *wire);
/* Opens a verified envelope. NULL only when out of memory. */
struct opened *opening_open(struct opener *o, const struct envelope *e, const Sp__Transfer *wire,
                            const struct trust *trust);

/* The ciphertext of part `index`, beside the envelope or in a file, to `sink` in pieces.
 * ERR_NOT_FOUND, ERR_IO, and what the sink says. */
enum err opening_read_part(struct part_dir *parts, const struct envelope *e,
                           const Sp__Transfer *wire, size_t index, part_sink sink, void *ctx);
/* The content of one's own stored mail, sent or received. The caller frees (which wipes). Errors:
 * ERR_CORRUPT when it does not open, ERR_NOT_FOUND, ERR_IO, ERR_NO_MEMORY. */
enum err opening_content(struct part_dir *parts, const struct envelope *e, const Sp__Transfer *wire,
                         const struct secret *file_key, struct pb **ret);

#endif
