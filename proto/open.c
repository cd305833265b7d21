#include "common/hpke.h"
#include "proto/envelope_core.h"
#include "proto/seal.h"

#include <assert.h>

static enum err unwrap(const struct envelope *e, const struct envelope_recipient *to,
                       const struct secret *key, struct secret **ret)
{
    struct digest aad = envelope_wrap_aad(envelope_core(e));
    struct hpke_receiver *receiver = NULL;
    struct secret *file_key = NULL;
    uint8_t info[WRAP_INFO];
    enum err err;

    assert(to->enc.len == HPKE_ENC && to->ct.len == WRAP_CT);
    envelope_wrap_info(envelope_header(e)->suite, &to->key_id, info);
    err = hpke_receiver_new(key, to->enc.data, span_of(info, sizeof(info)), &receiver);
    if (err != ERR_OK)
        goto out;
    err = secret_new(FILE_KEY, &file_key);
    if (err != ERR_OK)
        goto out;
    err = hpke_open(receiver, to->wrap_seq, digest_span(&aad), to->ct, secret_data(file_key));
    if (err != ERR_OK)
        goto out;
    *ret = file_key;
    file_key = NULL;
out:
    hpke_receiver_free(receiver);
    secret_free(file_key);
    /* A wrap that does not open is the sender's doing, as a commitment that does not hold. */
    return err == ERR_BAD_DIGEST || err == ERR_MALFORMED ? ERR_BAD_COMMITMENT : err;
}

enum err open_check_commitment(const struct envelope *e, const struct secret *file_key)
{
    const struct envelope_core *core = envelope_core(e);
    struct digest commit;
    enum err err = envelope_commitment(file_key, core, &commit);

    if (err != ERR_OK)
        return err;
    return digest_equal(&commit, &core->commit) ? ERR_OK : ERR_BAD_COMMITMENT;
}

enum err open_envelope(const struct envelope *e, const char *agency, open_find_key find, void *ctx,
                       struct secret **ret)
{
    const struct envelope_recipient *to;
    const struct secret *key;
    struct secret *file_key = NULL;
    size_t i;
    enum err err;

    err = envelope_find_recipient(e, agency, &i);
    if (err != ERR_OK)
        return err;
    to = envelope_recipient(e, i);
    err = find(ctx, &to->key_id, &key);
    if (err != ERR_OK)
        return err == ERR_NOT_FOUND ? ERR_WRONG_USAGE : err;
    err = unwrap(e, to, key, &file_key);
    if (err != ERR_OK)
        return err;
    err = open_check_commitment(e, file_key);
    if (err != ERR_OK) {
        secret_free(file_key);
        return err;
    }
    *ret = file_key;
    return ERR_OK;
}
