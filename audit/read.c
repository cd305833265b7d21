#include "audit/read.h"

#include "audit/log.h"

#include <string.h>

const struct store_table audit_tables[AUDIT_TABLES] = {
    [AUDIT_LEAF] = {.name = "audit-leaf"},     [AUDIT_TILE] = {.name = "audit-tile"},
    [AUDIT_ID] = {.name = "audit-id"},         [AUDIT_CHECKPOINT] = {.name = "audit-checkpoint"},
    [AUDIT_DETAIL] = {.name = "audit-detail"}, [AUDIT_META] = {.name = "audit-meta"},
};

const struct span audit_key_head = {.data = (const uint8_t *)"head", .len = 4};
const struct span audit_key_origin = {.data = (const uint8_t *)"origin", .len = 6};

void audit_key_tile(unsigned level, uint64_t index, uint8_t out[AUDIT_KEY_TILE])
{
    out[0] = (uint8_t)level;
    store_key_u64(index, out + 1);
}

void audit_key_id(struct span id, uint64_t index, uint8_t out[AUDIT_KEY_ID])
{
    memcpy(out, id.data, AUDIT_KEY_ID - STORE_KEY_U64);
    store_key_u64(index, out + AUDIT_KEY_ID - STORE_KEY_U64);
}

void audit_head_encode(const struct audit_head *head, uint8_t out[AUDIT_HEAD_SIZE])
{
    store_key_u64(head->size, out);
    memcpy(out + STORE_KEY_U64, head->root.b, sizeof(head->root.b));
}

enum err audit_read_head(struct store_txn *txn, struct audit_head *ret)
{
    struct audit_head head;
    struct span value, root;
    struct rd r;
    enum err e;

    e = store_get(txn, AUDIT_META, audit_key_head, &value);
    if (e != ERR_OK)
        return e;
    r = rd_of(value);
    head.size = rd_u64be(&r);
    root = rd_bytes(&r, sizeof(head.root.b));
    if (rd_end(&r) != ERR_OK || head.size > MERKLE_SIZE_MAX)
        return ERR_CORRUPT;
    memcpy(head.root.b, root.data, sizeof(head.root.b));
    *ret = head;
    return ERR_OK;
}

enum err audit_read_origin(struct store_txn *txn, char ret[NOTE_NAME])
{
    struct span value;
    enum err e;

    e = store_get(txn, AUDIT_META, audit_key_origin, &value);
    if (e != ERR_OK)
        return e;
    return span_to_str(value, ret, NOTE_NAME) == ERR_OK ? ERR_OK : ERR_CORRUPT;
}

enum err audit_read_leaf(struct store_txn *txn, uint64_t index, struct span *ret)
{
    uint8_t key[STORE_KEY_U64];

    store_key_u64(index, key);
    return store_get(txn, AUDIT_LEAF, span_of(key, sizeof(key)), ret);
}

enum err audit_read_tile(struct store_txn *txn, unsigned level, uint64_t index, struct span *ret)
{
    uint8_t key[AUDIT_KEY_TILE];

    audit_key_tile(level, index, key);
    return store_get(txn, AUDIT_TILE, span_of(key, sizeof(key)), ret);
}

enum err audit_read_checkpoint(struct store_txn *txn, uint64_t size, uint64_t *found,
                               struct span *note)
{
    uint8_t from[STORE_KEY_U64];
    struct span key, value;
    uint64_t at;
    enum err e;

    store_key_u64(size, from);
    e = store_seek(txn, AUDIT_CHECKPOINT, span_of(from, sizeof(from)), &key, &value);
    if (e == ERR_OK)
        e = store_key_to_u64(key, &at);
    if (e != ERR_OK)
        return e;
    *found = at;
    *note = value;
    return ERR_OK;
}

enum err audit_read_last_checkpoint(struct store_txn *txn, uint64_t *size, struct span *note)
{
    struct store_cursor *cursor;
    struct span key, value;
    uint64_t at;
    enum err e;

    e = store_cursor_new(txn, AUDIT_CHECKPOINT, store_all(), &cursor);
    if (e != ERR_OK)
        return e;
    e = store_cursor_last(cursor, &key, &value);
    if (e == ERR_OK)
        e = store_key_to_u64(key, &at);
    if (e == ERR_OK) {
        *size = at;
        *note = value;
    }
    store_cursor_free(cursor);
    return e;
}

enum err audit_read_detail(struct store_txn *txn, uint64_t index, struct span *salt,
                           struct span *detail)
{
    uint8_t key[STORE_KEY_U64];
    struct span value;
    enum err e;

    store_key_u64(index, key);
    e = store_get(txn, AUDIT_DETAIL, span_of(key, sizeof(key)), &value);
    if (e != ERR_OK)
        return e;
    if (value.len < LEAF_SALT)
        return ERR_CORRUPT;
    *salt = span_of(value.data, LEAF_SALT);
    *detail = span_of(value.data + LEAF_SALT, value.len - LEAF_SALT);
    return ERR_OK;
}
