/* The rules of an envelope's fields, alike for who decodes and who seals, so that nobody can seal
 * what nobody would accept. Each function checks a decoded message and writes what it says; the
 * results borrow from the message.
 *
 * Errors, everywhere: ERR_VERSION for another version or suite, ERR_TOO_LARGE for a count, size or
 * span of time over its limit of common/limits.h, ERR_MALFORMED for any other rule. */
#ifndef SEALPOST_PROTO_ENVELOPE_RULES_H
#define SEALPOST_PROTO_ENVELOPE_RULES_H

#include "proto/envelope.h"

enum err rules_core(const Sp__Core *core, struct envelope_core *ret);
enum err rules_header(const Sp__Header *header, struct envelope_header *ret);
/* `ret` has room for n_items, which the caller has checked against LIMIT_RECIPIENTS (asserted). */
enum err rules_recipients(const Sp__Recipients *recipients, const char *sender,
                          struct envelope_recipient *ret);
/* Completes the recipients, which were checked, by their wraps. */
enum err rules_wraps(const Sp__Wraps *wraps, struct envelope_recipient *recipients, size_t n);
/* `ret` has room for n_items, which the caller has checked against LIMIT_PARTS (asserted). */
enum err rules_parts(const Sp__Parts *parts, struct envelope_part *ret);
/* Form of the signature, and that it names `key_id`; nothing is verified here. */
enum err rules_signature(const Sp__Signature *signature, const struct key_id *key_id);
/* One to LIMIT_HANDLING well-formed codes, sorted and distinct. */
enum err rules_handling(char *const *codes, size_t n);

#endif
