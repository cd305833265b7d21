#include "proto/envelope_core.h"

#include "proto/part.h"

#include <assert.h>
#include <string.h>

#define WRAP_LABEL "sealpost-wrap-v1" /* its NUL is the 00 that follows it */
#define COMMIT_LABEL "sealpost-commit-v1"

void envelope_wrap_info(uint32_t suite, const struct key_id *key_id, uint8_t ret[WRAP_INFO])
{
    size_t label = sizeof(WRAP_LABEL);

    assert(suite <= UINT16_MAX);
    memcpy(ret, WRAP_LABEL, label);
    ret[label] = (uint8_t)(suite >> 8);
    ret[label + 1] = (uint8_t)suite;
    memcpy(ret + label + 2, key_id->b, sizeof(key_id->b));
}

struct digest envelope_wrap_aad(const struct envelope_core *core)
{
    const struct span parts[] = {digest_span(&core->header), digest_span(&core->recipients)};

    return sha256_parts(parts, 2);
}

enum err envelope_commitment(const struct secret *file_key, const struct envelope_core *core,
                             struct digest *ret)
{
    const struct span parts[] = {digest_span(&core->header), digest_span(&core->recipients),
                                 digest_span(&core->wraps), digest_span(&core->parts)};
    uint8_t key[32];
    enum err e;

    assert(secret_len(file_key) == FILE_KEY);
    e = hkdf(secret_bytes(file_key), (struct span){0}, span_str(COMMIT_LABEL), key, sizeof(key));
    if (e == ERR_OK)
        *ret = hmac_sha256_parts(span_of(key, sizeof(key)), parts, 4);
    crypto_wipe(key, sizeof(key));
    return e;
}
