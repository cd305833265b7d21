/* Signed notes and checkpoints (C2SP signed-note.md, tlog-checkpoint.md, tlog-cosignature.md), byte
 * for byte. */
#ifndef SEALPOST_AUDIT_CHECKPOINT_H
#define SEALPOST_AUDIT_CHECKPOINT_H

#include "common/crypto.h"
#include "common/err.h"
#include "common/secret.h"
#include "common/span.h"

#define NOTE_NAME 256 /* bytes of a key name, NUL included */

/* Types of keys (signed-note.md "Signature types"). */
#define NOTE_ED25519 1     /* over the text */
#define NOTE_COSIGNATURE 4 /* timestamped, by a witness (tlog-cosignature.md) */

struct note_key {
    char name[NOTE_NAME];
    uint32_t hash; /* first 4 bytes of SHA-256(name || 0A || type || key) */
    uint8_t type;
    struct ed25519_public key;
};

/* Verifier key text "name+hash+base64". ERR_MALFORMED for another type, another hash than that of
 * the key, or a name that no key may have. */
enum err note_key_parse(const char *vkey, struct note_key *ret);
/* ERR_MALFORMED for a name that is empty, too long, not UTF-8, or holds a space, a control
 * character or a plus sign. */
enum err note_key_make(const char *name, uint8_t type, const struct ed25519_public *key,
                       struct note_key *ret);
void note_key_format(const struct note_key *k, struct buf *out);

/* Signs `text` (must end in a newline, UTF-8 without control characters, at most LIMIT_NOTE) as
 * NOTE_ED25519 and appends text and signature. Deterministic. */
enum err note_sign(struct span text, const char *name, const struct secret *key, struct buf *out);
/* Checks that `key` has signed the note; signatures of other keys are passed over. `text` borrows
 * from the note, its last newline included. Errors: ERR_TOO_LARGE (LIMIT_NOTE,
 * LIMIT_NOTE_SIGNATURES), ERR_MALFORMED, ERR_BAD_SIGNATURE when it has not signed or any of its
 * signatures does not hold. */
enum err note_verify(struct span note, const struct note_key *key, struct span *text);
/* As note_verify for a key of type NOTE_COSIGNATURE; `time_s` is the witness's time, seconds since
 * 1970, the latest when it signed more than once. */
enum err note_verify_cosignature(struct span note, const struct note_key *key, struct span *text,
                                 uint64_t *time_s);
/* The key hash that the first signature under `name` carries, checked for its form alone.
 * ERR_NOT_FOUND when there is none. */
enum err note_hash_of(struct span note, const char *name, uint32_t *ret);
/* The text alone, with every rule of the format checked and no signature. */
enum err note_text(struct span note, struct span *text);

struct checkpoint {
    char origin[NOTE_NAME];
    uint64_t size;
    struct digest root;
    struct span extensions; /* further lines with their newlines, borrowed; empty when none */
};
/* Parses the text of a note, or a whole note. No leading zeros, canonical base64, size at most
 * MERKLE_SIZE_MAX. ERR_MALFORMED, ERR_TOO_LARGE over LIMIT_CHECKPOINT. */
enum err checkpoint_parse(struct span text, struct checkpoint *ret);
/* Appends the text; sign it with note_sign under the name `origin`. */
void checkpoint_format(const char *origin, uint64_t size, const struct digest *root,
                       struct buf *out);
/* A checkpoint that `key` has signed, whose origin is the key's name; else ERR_BAD_SIGNATURE. */
enum err checkpoint_verify(struct span note, const struct note_key *key, struct checkpoint *ret);

#endif
