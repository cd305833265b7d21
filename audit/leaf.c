#include "audit/leaf.h"

#include "common/limits.h"

#include <string.h>

/* The label with its NUL, which is the 00 of the definition. */
static const char commit_label[] = "sealpost-detail-v1";

static bool length_is(ProtobufCBinaryData d, size_t len)
{
    return d.len == 0 || d.len == len;
}

static bool fits(const char *text, size_t size)
{
    return strlen(text) < size;
}

static bool list_is_ordered(char *const *items, size_t n, size_t max, size_t size)
{
    if (n > max)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (items[i][0] == '\0' || !fits(items[i], size))
            return false;
        if (i > 0 && strcmp(items[i - 1], items[i]) >= 0)
            return false;
    }
    return true;
}

enum err leaf_check(const Sp__Leaf *leaf)
{
    if (leaf->version != 0)
        return ERR_VERSION;
    if (leaf->event == SP__AUDIT_EVENT__AUDIT_EVENT_UNSPECIFIED || leaf->at_ms == 0 ||
        leaf->log[0] == '\0')
        return ERR_MALFORMED;
    if (!length_is(leaf->id, 16) || !length_is(leaf->envelope, 32) || !length_is(leaf->cause, 32) ||
        !length_is(leaf->detail, 32))
        return ERR_MALFORMED;
    if (!fits(leaf->log, LIMIT_PEER) || !fits(leaf->sender, LIMIT_AGENCY) ||
        !fits(leaf->from, LIMIT_PEER) || !fits(leaf->to, LIMIT_PEER) ||
        !fits(leaf->officer, LIMIT_OFFICER) || !fits(leaf->code, LIMIT_REFUSAL_CODE))
        return ERR_MALFORMED;
    if (!list_is_ordered(leaf->recipients, leaf->n_recipients, LIMIT_RECIPIENTS, LIMIT_AGENCY) ||
        !list_is_ordered(leaf->handling, leaf->n_handling, LIMIT_HANDLING, LIMIT_CODE))
        return ERR_MALFORMED;
    return ERR_OK;
}

enum err leaf_decode(struct span bytes, struct pb **pb, const Sp__Leaf **ret)
{
    struct pb *decoded;
    const Sp__Leaf *leaf;
    enum err e;

    e = pb_decode(&sp__leaf__descriptor, bytes, LIMIT_LEAF, &decoded);
    if (e != ERR_OK)
        return e;
    leaf = pb_view(decoded);
    e = leaf_check(leaf);
    if (e != ERR_OK) {
        pb_free(decoded);
        return e;
    }
    *pb = decoded;
    *ret = leaf;
    return ERR_OK;
}

struct digest leaf_commit(const uint8_t salt[LEAF_SALT], struct span detail)
{
    const struct span parts[] = {span_of(commit_label, sizeof(commit_label)),
                                 span_of(salt, LEAF_SALT), detail};

    return sha256_parts(parts, 3);
}
