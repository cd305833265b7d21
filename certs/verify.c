#include "certs/verify.h"

enum err verify_envelope(const struct trust *t, const struct envelope *e, uint64_t at_ms,
                         struct batch_cache *cache, struct verified *ret)
{
    const struct envelope_header *h = envelope_header(e);
    uint64_t version = trust_directory(t)->version;
    /* Its codes may mean something that we have not heard of. */
    if (h->directory_version > version)
        return ERR_STALE_DIRECTORY;
    struct ed25519_public key;
    enum err err = trust_signing_key(t, h->sender, &h->key_id, at_ms, &key);
    if (err == ERR_OK)
        err = envelope_verify(e, &key, cache);
    if (err != ERR_OK)
        return err;
    *ret = (struct verified){.envelope = e, .judged_at_ms = at_ms, .directory_version = version};
    return ERR_OK;
}
