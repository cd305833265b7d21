/* Secrets: bytes in locked memory between guard pages (libsodium's sodium_malloc), wiped when
 * freed.
 *
 * The type is opaque so that no secret can be printed, copied by assignment or compared with
 * memcmp by accident. A secret has one owner; several threads may read it at the same time. */
#ifndef SEALPOST_COMMON_SECRET_H
#define SEALPOST_COMMON_SECRET_H

#include "common/env.h"
#include "common/err.h"
#include "common/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Once at the start of every process, before threads: readies libsodium and, unless `dumpable`,
 * forbids core dumps and attaching by the same uid (PR_SET_DUMPABLE, RLIMIT_CORE). Only tests that
 * scan a dump leave it on. May be called again. ERR_CRYPTO, or ERR_IO when the kernel refuses. */
enum err secret_process_init(bool dumpable);

struct secret;

/* `len` zero bytes, 1 to LIMIT_SECRET. ERR_TOO_LARGE outside that, ERR_NO_MEMORY. */
enum err secret_new(size_t len, struct secret **ret);
/* Wipes and frees; accepts NULL. */
void secret_free(struct secret *s);
/* `len` fresh random bytes. */
enum err secret_random(const struct env *env, size_t len, struct secret **ret);
/* A copy of the bytes, which the caller still has to wipe at their old place. */
enum err secret_copy(struct span bytes, struct secret **ret);

/* To be written by the owner, before anybody else reads. Never NULL. */
uint8_t *secret_data(struct secret *s);
/* Borrowed until secret_free(). */
struct span secret_bytes(const struct secret *s);
size_t secret_len(const struct secret *s);
/* Constant time for equal lengths; the lengths themselves are not secret. */
bool secret_equal(const struct secret *a, const struct secret *b);

/* Zeroes memory in a way that the compiler does not remove. For keys that pass over the stack. */
void crypto_wipe(void *bytes, size_t len);

#endif
