/* Large ciphertexts as files named by their SHA-256 in one folder.
 *
 * DIR/<64 hex>          whole, digest checked, synced; never changed
 * DIR/<64 hex>.partial  what has come so far; a transfer resumes at its length
 * DIR/new-*             being made here; removed at start
 *
 * A file gets its name only after its bytes are durable, so a record that is committed after
 * part_writer_finish or part_receiver_finish names bytes that survive a power cut. Crash cases: a
 * partial file stays and is resumed or, when nobody wants it, removed by part_dir_sweep; a whole
 * file that no record names likewise. Functions may be called from any thread; one receiver for
 * each digest at a time. */
#ifndef SEALPOST_COMMON_PARTFILE_H
#define SEALPOST_COMMON_PARTFILE_H

#include "common/crypto.h"
#include "common/env.h"
#include "common/err.h"
#include "common/span.h"

#include <stdbool.h>

struct part_dir;
/* Makes DIR (0700) when it is not there, removes unfinished new files. */
enum err part_dir_open(const char *path, struct part_dir **ret);
void part_dir_close(struct part_dir *d);

/* True when the whole part of this length is there. */
bool part_dir_has(struct part_dir *d, const struct digest *sha256, uint64_t len);
/* Reads up to `len` bytes at `offset` of a whole part; `got` may be less at its end.
 * ERR_NOT_FOUND, ERR_IO. */
enum err part_dir_read(struct part_dir *d, const struct digest *sha256, uint64_t offset,
                       uint8_t *out, size_t len, size_t *got);
/* Unlinks a whole or partial part; fine when it is not there. */
enum err part_dir_remove(struct part_dir *d, const struct digest *sha256);
/* Removes partial files not touched since `older_ms` (wall clock), and whole ones for which
 * `wanted` says false, of that age. */
enum err part_dir_sweep(struct part_dir *d, uint64_t older_ms,
                        bool (*wanted)(void *ctx, const struct digest *sha256), void *ctx);
/* Free bytes of the file system, for the reserve. */
enum err part_dir_free_bytes(struct part_dir *d, uint64_t *ret);

/* Makes a part whose digest comes out at the end. */
struct part_writer;
enum err part_writer_new(struct part_dir *d, const struct env *env, struct part_writer **ret);
/* Unfinished bytes are removed. Accepts NULL. */
void part_writer_free(struct part_writer *w);
enum err part_writer_put(struct part_writer *w, struct span bytes);
/* Syncs and names it. The same bytes twice are one file. */
enum err part_writer_finish(struct part_writer *w, struct digest *sha256, uint64_t *len);

/* Receives a part whose digest and length are known, resuming what is there. */
struct part_receiver;
enum err part_receiver_new(struct part_dir *d, const struct digest *sha256, uint64_t len,
                           struct part_receiver **ret);
/* What has come stays for a later receiver. Accepts NULL. */
void part_receiver_free(struct part_receiver *r);
/* The next byte that is wanted. */
uint64_t part_receiver_offset(const struct part_receiver *r);
uint64_t part_receiver_len(const struct part_receiver *r);
/* `offset` must be part_receiver_offset (else ERR_MALFORMED); ERR_TOO_LARGE past the length;
 * ERR_DISK_FULL, ERR_IO. */
enum err part_receiver_put(struct part_receiver *r, uint64_t offset, struct span bytes);
/* When all has come: checks the digest, syncs, names it. ERR_BAD_DIGEST removes what was received.
 */
enum err part_receiver_finish(struct part_receiver *r);

#endif
