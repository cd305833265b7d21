/* Key files and the signing interface.
 *
 * A key file is one private key under a pass phrase: Argon2id (RFC 9106) and XChaCha20-Poly1305,
 * the header authenticated as associated data, key-committing (a hash of the derived key stands in
 * the header), mode 0600, never overwritten, written atomically. Layout: docs/DISK-FORMAT.md. One
 * key, one use: the purpose stands in the header and is checked when it is opened. */
#ifndef SEALPOST_CERTS_KEYSTORE_H
#define SEALPOST_CERTS_KEYSTORE_H

#include "common/crypto.h"
#include "common/env.h"
#include "common/err.h"
#include "common/secret.h"

enum key_purpose {
    KEY_ROOT = 1,  /* Ed25519: root and directory */
    KEY_TIMESTAMP, /* Ed25519 */
    KEY_SIGN,      /* Ed25519: envelopes and key statements (the X.509 leaf) */
    KEY_ENCRYPT,   /* X25519 */
    KEY_TRANSPORT, /* X25519: CURVE */
    KEY_LOG,       /* Ed25519: checkpoints */
    KEY_WITNESS,   /* Ed25519: cosignatures */
    KEY_STORAGE,   /* 32 random bytes: content at rest */
    KEY_CA,        /* PKCS#8 DER of an agency CA made here */
};

const char *key_purpose_name(enum key_purpose p);

struct key_info {
    enum key_purpose purpose;
    char owner[80];         /* agency, broker or holder */
    uint8_t public_key[32]; /* zeros for storage and CA keys */
    uint64_t created_ms;
};

/* Argon2id cost classes. Daemons open their files with a random pass phrase, people with their own.
 */
enum keystore_cost {
    KEYSTORE_DAEMON, /* 64 MiB, 2 passes */
    KEYSTORE_PERSON, /* 256 MiB, 4 passes */
};

/* Makes a new key file. ERR_EXISTS when the file is there. */
enum err keystore_create(const char *path, const struct env *env, enum key_purpose purpose,
                         const char *owner, struct span passphrase, enum keystore_cost cost,
                         struct key_info *ret);
/* The same for a secret that exists (KEY_CA). */
enum err keystore_import(const char *path, const struct env *env, enum key_purpose purpose,
                         const char *owner, const struct secret *key, struct span passphrase,
                         enum keystore_cost cost, struct key_info *ret);
/* Opens it. ERR_WRONG_PASSPHRASE, ERR_WRONG_USAGE for another purpose (0: any), ERR_CORRUPT,
 * ERR_NOT_ALLOWED when others may read the file. The caller frees the secret. */
enum err keystore_open(const char *path, enum key_purpose purpose, struct span passphrase,
                       struct key_info *info, struct secret **ret);
/* Reads the header alone: no pass phrase, nothing authenticated. */
enum err keystore_peek(const char *path, struct key_info *ret);
/* A pass phrase file: its first line, at most 1 KiB; refused when others may read it. */
enum err keystore_passphrase(const char *path, struct secret **ret);

/* Twelve groups of five digits over SHA-256(public key), to read aloud and compare. */
#define FINGERPRINT_TEXT 72
void key_fingerprint(struct span public_key, char out[FINGERPRINT_TEXT]);

#endif
