/* Signed notes and checkpoints (C2SP signed-note.md, tlog-checkpoint.md), byte for byte. */
#ifndef SEALPOST_AUDIT_CHECKPOINT_H
#define SEALPOST_AUDIT_CHECKPOINT_H

#include "common/crypto.h"
#include "common/err.h"
#include "common/secret.h"
#include "common/span.h"

#define NOTE_NAME 256 /* bytes of a key name, NUL included */

struct note_key {
    char name[NOTE_NAME];
    uint32_t hash; /* first 4 bytes of SHA-256(name || 0A || type || key) */
    uint8_t type;  /* 1: Ed25519; 4: timestamped cosignature */
    struct ed25519_public key;
};

/* Verifier key text "name+hash+base64". */
enum err note_key_parse(const char *vkey, struct note_key *ret);
enum err note_key_make(const char *name, uint8_t type, const struct ed25519_public *key,
                       struct note_key *ret);
void note_key_format(const struct note_key *k, struct buf *out);

/* Signs `text` (must end in a newline, hold no control characters) and appends text and signature. */
enum err note_sign(struct span text, const char *name, const struct secret *key, struct buf *out);
/* Checks that `key` has signed the note; other signatures are passed over. `text` borrows. */
enum err note_verify(struct span note, const struct note_key *key, struct span *text);

struct checkpoint {
    char origin[NOTE_NAME];
    uint64_t size;
    struct digest root;
    struct span extensions; /* further lines, borrowed */
};
/* Parses the text of a note, or a whole note. No leading zeros, canonical base64. */
enum err checkpoint_parse(struct span text, struct checkpoint *ret);
void checkpoint_format(const char *origin, uint64_t size, const struct digest *root,
                       struct buf *out);

#endif
