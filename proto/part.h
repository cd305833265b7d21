/* Parts: the age v1 payload byte for byte (C2SP age.md, "Payload"), so that a part behind a
 * generated age header decrypts with the age program.
 *
 * part = nonce (16 bytes) || STREAM; key = HKDF-SHA256(ikm = file key, salt = nonce, info =
 * "payload"); ChaCha20-Poly1305 over chunks of 64 KiB, nonce = u88be counter || last-chunk flag.
 * The last chunk may be full or shorter; it is empty only when the whole plaintext is empty. Both
 * directions stream in constant memory. */
#ifndef SEALPOST_PROTO_PART_H
#define SEALPOST_PROTO_PART_H

#include "common/crypto.h"
#include "common/env.h"
#include "common/err.h"
#include "common/secret.h"
#include "common/span.h"

#include <stdbool.h>
#include <stdint.h>

#define PART_NONCE 16
#define PART_CHUNK ((size_t)64 * 1024)
#define PART_TAG 16
#define FILE_KEY 16

/* Length of the ciphertext of `plain` bytes, at most LIMIT_PART of them. */
uint64_t part_sealed_len(uint64_t plain);
/* Length of the plaintext of `sealed` bytes; ERR_MALFORMED when no plaintext seals to that length.
 */
enum err part_plain_len(uint64_t sealed, uint64_t *ret);

/* Encrypts one part. The key is not needed after _new. Output goes to `sink` in pieces; its error
 * ends the part: every later call repeats it. The digest and the length of the whole ciphertext
 * come out at the end. One thread. */
struct part_sealer;
typedef enum err (*part_sink)(void *ctx, struct span bytes);
enum err part_sealer_new(const struct env *env, const struct secret *file_key, part_sink sink,
                         void *ctx, struct part_sealer **ret);
void part_sealer_free(struct part_sealer *s);
/* Any length at a time. ERR_TOO_LARGE over LIMIT_PART in all. */
enum err part_sealer_put(struct part_sealer *s, struct span plain);
/* Closes the stream; only _free may follow. `sha256` and `len` are of the whole ciphertext. */
enum err part_sealer_end(struct part_sealer *s, struct digest *sha256, uint64_t *len);

/* Decrypts one part: ciphertext in, plaintext to `sink` chunk by chunk. Each chunk is authenticated
 * before it goes to the sink, but the part as a whole is good only when part_opener_end says so:
 * the receiver must not release what it was given before that. Any deviation is ERR_BAD_DIGEST;
 * more than LIMIT_PART of plaintext is ERR_TOO_LARGE. Errors stick, the sink's included. `file_key`
 * is borrowed until _free. Memory: two chunks. */
struct part_opener;
enum err part_opener_new(const struct secret *file_key, part_sink sink, void *ctx,
                         struct part_opener **ret);
void part_opener_free(struct part_opener *o);
enum err part_opener_put(struct part_opener *o, struct span sealed);
enum err part_opener_end(struct part_opener *o);

/* Whole parts in memory, for bodies. `sealed` and `plain` are appended to, on success only.
 * Errors: as above, and those of the buffer. */
enum err part_seal(const struct env *env, const struct secret *file_key, struct span plain,
                   struct buf *sealed, struct digest *sha256);
enum err part_open(const struct secret *file_key, struct span sealed, struct buf *plain);

/* The body's padding: u32be length || content || zeros, to at least LIMIT_BODY_PAD_MIN in all and
 * then to Padme (Nikitin et al., PETS 2019: at most 12 % over). Content is at most LIMIT_BODY:
 * asserted by body_padded_len, ERR_TOO_LARGE in out->err from body_pad. body_unpad refuses non-zero
 * or wrongly sized padding with ERR_NON_CANONICAL; what it returns borrows from `padded`. */
size_t body_padded_len(size_t content);
/* True when some content is padded to `padded` bytes: everybody can see that a body is padded. */
bool body_is_padded_len(uint64_t padded);
void body_pad(struct span content, struct buf *out);
enum err body_unpad(struct span padded, struct span *ret);

#endif
