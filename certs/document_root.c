#include "certs/documents.h"

#include "common/limits.h"
#include "common/text.h"

#include <string.h>

#define KEY_ID 16
#define KEY_LEN 32

static bool label_ok(const char *s, size_t max, bool (*first)(char), bool (*rest)(char))
{
    size_t len = strlen(s);
    if (len == 0 || len > max || !first(s[0]))
        return false;
    for (size_t i = 1; i < len; i++) {
        if (!rest(s[i]))
            return false;
    }
    return true;
}

static bool is_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_lower_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || is_digit(c);
}

static bool is_code_rest(char c)
{
    return is_upper(c) || is_digit(c) || c == '-';
}

static bool is_lower_rest(char c)
{
    return is_lower_or_digit(c) || c == '-';
}

bool name_is_code(const char *text)
{
    return label_ok(text, LIMIT_CODE - 1, is_upper, is_code_rest);
}

bool name_is_group(const char *text)
{
    return label_ok(text, LIMIT_GROUP - 1, is_lower_or_digit, is_lower_rest);
}

bool name_is_domain(const char *text)
{
    size_t len = strlen(text);
    if (len == 0 || len >= LIMIT_DOMAIN)
        return false;
    size_t labels = 0;
    for (const char *at = text;;) {
        size_t n = strcspn(at, ".");
        if (n == 0 || n > 63 || at[0] == '-' || at[n - 1] == '-')
            return false;
        for (size_t i = 0; i < n; i++) {
            if (!is_lower_rest(at[i]))
                return false;
        }
        labels++;
        if (at[n] == '\0')
            return labels >= 2;
        at += n + 1;
    }
}

static enum err check_head(uint64_t version, const char *federation, uint64_t issued_ms,
                           uint64_t expires_ms, uint64_t lifetime_max, struct why *why)
{
    if (version == 0)
        return why_set(why, ERR_MALFORMED, "versions count from 1");
    if (!name_is_domain(federation))
        return why_set(why, ERR_MALFORMED, "the federation is not a domain name");
    if (issued_ms == 0 || expires_ms <= issued_ms || expires_ms > TEXT_TIME_MS_MAX)
        return why_set(why, ERR_MALFORMED, "it must expire after it is issued");
    if (expires_ms - issued_ms > lifetime_max)
        return why_set(why, ERR_MALFORMED, "it may not be valid for so long");
    return ERR_OK;
}

static const Sp__RootKey *find_key(const Sp__Root *r, struct span id)
{
    for (size_t i = 0; i < r->n_keys; i++) {
        if (span_equal(pb_span(r->keys[i]->key_id), id))
            return r->keys[i];
    }
    return NULL;
}

static enum err check_keys(const Sp__Root *r, struct why *why)
{
    if (r->n_keys == 0 || r->n_keys > LIMIT_ROOT_KEYS)
        return why_set(why, ERR_MALFORMED, "it must have 1 to %d keys", LIMIT_ROOT_KEYS);
    for (size_t i = 0; i < r->n_keys; i++) {
        const Sp__RootKey *k = r->keys[i];
        struct span id = pb_span(k->key_id);
        if (k->public_key.len != KEY_LEN)
            return why_set(why, ERR_MALFORMED, "a public key has not 32 bytes");
        struct key_id want = key_id_of(KEY_LABEL_SIGN, pb_span(k->public_key));
        if (!span_equal(id, span_of(want.b, sizeof(want.b))))
            return why_set(why, ERR_MALFORMED, "a key id is not that of its key");
        if (i > 0 && span_compare(pb_span(r->keys[i - 1]->key_id), id) >= 0)
            return why_set(why, ERR_NON_CANONICAL, "keys are not sorted by key id and distinct");
        if (!text_is_name(span_str(k->holder), LIMIT_OFFICER))
            return why_set(why, ERR_MALFORMED, "a key has no holder");
    }
    return ERR_OK;
}

static enum err check_role(const Sp__Root *r, const Sp__Role *role, const char *name, bool needed,
                           struct why *why)
{
    if (role == NULL || role->n_key_ids == 0) {
        if (needed || (role != NULL && role->threshold != 0))
            return why_set(why, ERR_MALFORMED, "the role %s has no keys", name);
        return ERR_OK;
    }
    for (size_t i = 0; i < role->n_key_ids; i++) {
        struct span id = pb_span(role->key_ids[i]);
        if (i > 0 && span_compare(pb_span(role->key_ids[i - 1]), id) >= 0)
            return why_set(why, ERR_NON_CANONICAL, "the role %s is not sorted and distinct", name);
        if (find_key(r, id) == NULL)
            return why_set(why, ERR_MALFORMED, "the role %s names a key that is not there", name);
    }
    if (role->threshold == 0 || role->threshold > role->n_key_ids)
        return why_set(why, ERR_MALFORMED, "the role %s needs %u of %zu signatures", name,
                       role->threshold, role->n_key_ids);
    return ERR_OK;
}

static bool role_has(const Sp__Role *role, struct span id)
{
    for (size_t i = 0; role != NULL && i < role->n_key_ids; i++) {
        if (span_equal(pb_span(role->key_ids[i]), id))
            return true;
    }
    return false;
}

enum err root_check(const Sp__Root *r, struct why *why)
{
    enum err e =
        check_head(r->version, r->federation, r->issued_ms, r->expires_ms, LIMIT_ROOT_MS, why);
    if (e == ERR_OK)
        e = check_keys(r, why);
    if (e == ERR_OK)
        e = check_role(r, r->root, "root", true, why);
    if (e == ERR_OK)
        e = check_role(r, r->directory, "directory", true, why);
    if (e == ERR_OK)
        e = check_role(r, r->timestamp, "timestamp", true, why);
    if (e == ERR_OK)
        e = check_role(r, r->revocations, "revocations", false, why);
    if (e != ERR_OK)
        return e;
    for (size_t i = 0; i < r->n_keys; i++) {
        struct span id = pb_span(r->keys[i]->key_id);
        bool offline = role_has(r->root, id) || role_has(r->directory, id);
        bool online = role_has(r->timestamp, id) || role_has(r->revocations, id);
        if (offline && online)
            return why_set(why, ERR_WRONG_USAGE,
                           "a key serves offline roles and online ones: one key, one use");
        if (!offline && !online)
            return why_set(why, ERR_NON_CANONICAL, "a key has no role");
    }
    return ERR_OK;
}

enum err timestamp_check(const Sp__Timestamp *t, struct why *why)
{
    enum err e =
        check_head(t->version, t->federation, t->issued_ms, t->expires_ms, LIMIT_TIMESTAMP_MS, why);
    if (e != ERR_OK)
        return e;
    if (t->root_version == 0 || t->directory_version == 0)
        return why_set(why, ERR_MALFORMED, "versions count from 1");
    if (t->directory_sha256.len != sizeof(struct digest))
        return why_set(why, ERR_MALFORMED, "the directory's digest has not 32 bytes");
    /* Lists of the duty officers come with a later version; passing one over would be unsafe. */
    if (t->revocations_version != 0 || t->revocations_sha256.len != 0)
        return why_set(why, ERR_VERSION, "it names a revocation list, which is not known here");
    return ERR_OK;
}

static enum err check_encryption_keys(const Sp__Statement *s, struct why *why)
{
    if (s->n_keys == 0 || s->n_keys > LIMIT_STATEMENT_KEYS)
        return why_set(why, ERR_MALFORMED, "it must have 1 to %d encryption keys",
                       LIMIT_STATEMENT_KEYS);
    size_t last_resorts = 0;
    for (size_t i = 0; i < s->n_keys; i++) {
        const Sp__EncryptionKey *k = s->keys[i];
        struct span pub = pb_span(k->public_key);
        if (k->suite != 1)
            return why_set(why, ERR_VERSION, "suite %u is not known here", k->suite);
        struct key_id want = key_id_of(KEY_LABEL_SUITE_1, pub);
        if (pub.len != KEY_LEN || !span_equal(pb_span(k->key_id), span_of(want.b, sizeof(want.b))))
            return why_set(why, ERR_MALFORMED, "a key id is not that of its key");
        if (k->not_before_ms == 0 || k->not_after_ms <= k->not_before_ms)
            return why_set(why, ERR_MALFORMED, "an encryption key is never valid");
        last_resorts += k->last_resort ? 1 : 0;
        for (size_t j = 0; j < i; j++) {
            if (span_equal(pb_span(s->keys[j]->key_id), pb_span(k->key_id)))
                return why_set(why, ERR_NON_CANONICAL, "an encryption key is there twice");
        }
        if (i > 0 && s->keys[i - 1]->not_before_ms > k->not_before_ms)
            return why_set(why, ERR_NON_CANONICAL, "encryption keys are not sorted by start");
    }
    if (last_resorts > 1)
        return why_set(why, ERR_MALFORMED, "more than one key of last resort");
    return ERR_OK;
}

enum err statement_check(const Sp__Statement *s, struct why *why)
{
    if (!text_is_agency(span_str(s->agency)))
        return why_set(why, ERR_MALFORMED, "the agency's name is not well-formed");
    if (s->serial == 0)
        return why_set(why, ERR_MALFORMED, "serials count from 1");
    if (s->issued_ms == 0 || s->expires_ms <= s->issued_ms ||
        s->expires_ms - s->issued_ms > LIMIT_STATEMENT_MS)
        return why_set(why, ERR_MALFORMED, "the statement's validity is not possible");
    enum err e = check_encryption_keys(s, why);
    if (e != ERR_OK)
        return e;
    if (s->n_transport == 0 || s->n_transport > LIMIT_CURVE_KEYS)
        return why_set(why, ERR_MALFORMED, "it must have 1 to %d transport keys", LIMIT_CURVE_KEYS);
    for (size_t i = 0; i < s->n_transport; i++) {
        const Sp__CurveKey *k = s->transport[i];
        if (k->public_key.len != KEY_LEN || k->not_after_ms <= k->not_before_ms)
            return why_set(why, ERR_MALFORMED, "a transport key is not well-formed");
        for (size_t j = 0; j < s->n_keys; j++) {
            if (span_equal(pb_span(k->public_key), pb_span(s->keys[j]->public_key)))
                return why_set(why, ERR_WRONG_USAGE, "one key for transport and encryption");
        }
    }
    if (s->log_key.len != KEY_LEN)
        return why_set(why, ERR_MALFORMED, "the log key has not 32 bytes");
    return ERR_OK;
}
