/* The bytes of a key file, apart from the disk (docs/DISK-FORMAT.md, "Key files").
 *
 *   offset size
 *        0    8  "sealpkey"
 *        8    2  format version, 0
 *       10    2  purpose (enum key_purpose)
 *       12    8  created, milliseconds since 1970
 *       20   80  owner, UTF-8, padded with zeros
 *      100   32  public key; zeros for storage and CA keys
 *      132    4  Argon2id passes
 *      136    4  Argon2id memory in KiB
 *      140   16  salt
 *      156   24  nonce
 *      180   32  commitment to the derived key
 *      212    2  length of the ciphertext
 *      214    n  XChaCha20-Poly1305 of the secret; the first 214 bytes are the associated data
 *
 * Integers are big-endian. master = Argon2id(pass phrase, salt), 32 bytes; the encryption key and
 * the commitment are HKDF-Expand(master, "sealpost-key-file-v0 encrypt") and "... commit". The file
 * is key-committing: under another pass phrase the commitment differs, so no file opens under two.
 */
#ifndef SEALPOST_CERTS_KEYFILE_H
#define SEALPOST_CERTS_KEYFILE_H

#include "certs/keystore.h"

struct keyfile_cost {
    uint32_t passes;
    uint32_t memory_kib;
};

/* Appends a key file. ERR_TOO_LARGE for an owner or secret that does not fit. */
enum err keyfile_seal(const struct env *env, const struct key_info *info, const struct secret *key,
                      struct span passphrase, const struct keyfile_cost *cost, struct buf *out);
/* The header alone. ERR_CORRUPT; ERR_FORMAT for a newer version. */
enum err keyfile_peek(struct span bytes, struct key_info *ret);
/* ERR_WRONG_PASSPHRASE when the commitment differs (also after damage to salt, cost or commitment,
 * which cannot be told apart), ERR_CORRUPT for everything else that does not hold. */
enum err keyfile_open(struct span bytes, struct span passphrase, struct key_info *info,
                      struct secret **ret);
/* The public half of a secret of that purpose; zeros where there is none. */
enum err keyfile_public(enum key_purpose purpose, const struct secret *key, uint8_t ret[32]);

#endif
