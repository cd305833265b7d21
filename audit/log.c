#include "audit/log.h"

#include "audit/checkpoint.h"
#include "audit/leaf.h"
#include "audit/read.h"
#include "audit/tiles.h"
#include "common/limits.h"
#include "proto/pb.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct audit_log {
    struct store *store;
    char origin[NOTE_NAME];
    char name[LIMIT_PEER];
    struct audit_signer signer;
    const struct env *env;

    struct merkle_edge durable;
    struct merkle_edge pending; /* with what the open transaction has appended */
    struct tiles *tiles;
    struct store_txn *txn; /* of the append that runs */
    struct buf bytes;      /* one leaf, or detail with its salt */

    struct buf latest; /* the newest checkpoint; empty when there is none */
    uint64_t latest_size;
    bool latest_saved;
    bool latest_saving; /* by the open transaction */

    bool asked; /* the signer told its last head since the log was opened */
    uint64_t signed_size;
};

static enum err load_tile(void *ctx, unsigned level, uint64_t index, struct span *ret)
{
    return audit_read_tile(ctx, level, index, ret);
}

/* Reading hashes through a transaction, which is begun only when a tile is not at hand. */
struct reader {
    struct audit_log *log;
    struct store_txn *txn;
    bool own;
};

static enum err load_lazily(void *ctx, unsigned level, uint64_t index, struct span *ret)
{
    struct reader *r = ctx;

    if (r->txn == NULL) {
        enum err e = store_read_begin(r->log->store, &r->txn);

        if (e != ERR_OK)
            return e;
        r->own = true;
    }
    return audit_read_tile(r->txn, level, index, ret);
}

static enum err reader_get(void *ctx, unsigned level, uint64_t index, struct digest *ret)
{
    struct reader *r = ctx;

    return tiles_get(r->log->tiles, load_lazily, r, level, index, ret);
}

static void reader_fini(struct reader *r)
{
    if (r->own)
        store_read_end(r->txn);
}

/* A new store: the empty log. */
static enum err log_create(struct audit_log *log)
{
    const struct audit_head head = {.size = 0, .root = merkle_empty_root()};
    uint8_t bytes[AUDIT_HEAD_SIZE];
    struct store_txn *txn;
    enum err e;

    e = store_write_begin(log->store, &txn);
    if (e != ERR_OK)
        return e;
    audit_head_encode(&head, bytes);
    store_put(txn, AUDIT_META, audit_key_head, span_of(bytes, sizeof(bytes)));
    store_put(txn, AUDIT_META, audit_key_origin, span_str(log->origin));
    return store_commit(txn);
}

/* The last leaf is the one in its tile, and nothing stands behind it. */
static enum err check_last_leaf(const struct reader *r, uint64_t size)
{
    uint8_t from[STORE_KEY_U64];
    struct digest stored, computed;
    struct span leaf, key, value;
    enum err e;

    store_key_u64(size, from);
    e = store_seek(r->txn, AUDIT_LEAF, span_of(from, sizeof(from)), &key, &value);
    if (e != ERR_NOT_FOUND)
        return e == ERR_OK ? ERR_CORRUPT : e;
    if (size == 0)
        return ERR_OK;
    e = audit_read_leaf(r->txn, size - 1, &leaf);
    if (e == ERR_NOT_FOUND)
        return ERR_CORRUPT;
    if (e != ERR_OK)
        return e;
    computed = merkle_leaf(leaf);
    e = tiles_get(r->log->tiles, load_tile, r->txn, 0, size - 1, &stored);
    if (e != ERR_OK)
        return e;
    return digest_equal(&stored, &computed) ? ERR_OK : ERR_CORRUPT;
}

/* The newest stored checkpoint is of this log and not ahead of it. */
static enum err load_latest(struct audit_log *log, struct store_txn *txn, const struct digest *root)
{
    struct checkpoint c;
    struct span note;
    uint64_t size;
    enum err e;

    e = audit_read_last_checkpoint(txn, &size, &note);
    if (e == ERR_NOT_FOUND)
        return ERR_OK;
    if (e != ERR_OK)
        return e;
    if (checkpoint_parse(note, &c) != ERR_OK || c.size != size || size > log->durable.size ||
        strcmp(c.origin, log->origin) != 0)
        return ERR_CORRUPT;
    if (size == log->durable.size && !digest_equal(&c.root, root))
        return ERR_CORRUPT;
    buf_put(&log->latest, note);
    log->latest_size = size;
    log->latest_saved = true;
    return log->latest.err;
}

static enum err log_load(struct audit_log *log, struct store_txn *txn)
{
    struct reader r = {.log = log, .txn = txn};
    char origin[NOTE_NAME];
    struct audit_head head;
    struct digest root;
    enum err e;

    e = audit_read_head(txn, &head);
    if (e != ERR_OK)
        return e;
    e = audit_read_origin(txn, origin);
    if (e != ERR_OK)
        return ERR_CORRUPT;
    if (strcmp(origin, log->origin) != 0)
        return ERR_CONFIG;
    e = merkle_edge_load(reader_get, &r, head.size, &log->durable);
    if (e != ERR_OK)
        return e;
    root = merkle_edge_root(&log->durable);
    if (!digest_equal(&root, &head.root))
        return ERR_CORRUPT;
    e = check_last_leaf(&r, head.size);
    if (e != ERR_OK)
        return e;
    log->pending = log->durable;
    return load_latest(log, txn, &root);
}

static enum err log_start(struct audit_log *log)
{
    struct store_txn *txn;
    enum err e;

    for (int tries = 0; tries < 2; tries++) {
        e = store_read_begin(log->store, &txn);
        if (e != ERR_OK)
            return e;
        e = log_load(log, txn);
        store_read_end(txn);
        if (e != ERR_NOT_FOUND || tries > 0)
            break;
        e = log_create(log);
        if (e != ERR_OK)
            return e;
    }
    return e == ERR_NOT_FOUND ? ERR_CORRUPT : e;
}

static enum err set_names(struct audit_log *log, const char *federation, const char *name)
{
    const struct ed25519_public none = {0};
    struct note_key ignored;
    int len;

    if (span_to_str(span_str(name), log->name, sizeof(log->name)) != ERR_OK || name[0] == '\0')
        return ERR_CONFIG;
    len = snprintf(log->origin, sizeof(log->origin), "%s/%s", federation, name);
    if (len < 0 || (size_t)len >= sizeof(log->origin))
        return ERR_CONFIG;
    return note_key_make(log->origin, NOTE_ED25519, &none, &ignored) == ERR_OK ? ERR_OK
                                                                               : ERR_CONFIG;
}

enum err audit_log_open(struct store *store, const char *federation, const char *name,
                        const struct audit_signer *signer, const struct env *env,
                        struct audit_log **ret)
{
    struct audit_log *log = calloc(1, sizeof(*log));
    enum err e;

    if (log == NULL)
        return ERR_NO_MEMORY;
    log->store = store;
    log->signer = *signer;
    log->env = env;
    buf_init(&log->bytes, LIMIT_LEAF + LEAF_SALT + LIMIT_DETAIL);
    buf_init(&log->latest, LIMIT_CHECKPOINT);
    e = set_names(log, federation, name);
    if (e == ERR_OK)
        e = tiles_new(&log->tiles);
    if (e == ERR_OK)
        e = log_start(log);
    if (e != ERR_OK)
        goto out;
    *ret = log;
    log = NULL;
out:
    audit_log_close(log);
    return e;
}

void audit_log_close(struct audit_log *log)
{
    if (log == NULL)
        return;
    tiles_free(log->tiles);
    buf_fini(&log->bytes);
    buf_fini(&log->latest);
    free(log);
}

const char *audit_log_origin(const struct audit_log *log)
{
    return log->origin;
}

/* Takes every node that a leaf completes; a tile goes to the store once, when it is full. */
static enum err put_node(void *ctx, unsigned level, uint64_t index, const struct digest *node)
{
    struct audit_log *log = ctx;
    uint8_t key[AUDIT_KEY_TILE];
    enum err e;

    e = tiles_put(log->tiles, load_tile, log->txn, level, index, node);
    if (e != ERR_OK || level % TILE_HEIGHT != 0 || (index + 1) % TILE_WIDTH != 0)
        return e;
    level /= TILE_HEIGHT;
    audit_key_tile(level, index / TILE_WIDTH, key);
    store_put(log->txn, AUDIT_TILE, span_of(key, sizeof(key)),
              tiles_hashes(log->tiles, level, index / TILE_WIDTH));
    return store_txn_error(log->txn);
}

/* Puts salt and detail beside the leaf, and gives the commitment. */
static enum err put_detail(struct audit_log *log, struct store_txn *txn, struct span detail,
                           struct digest *commitment)
{
    uint8_t salt[LEAF_SALT], key[STORE_KEY_U64];

    if (detail.len > LIMIT_DETAIL)
        return ERR_TOO_LARGE;
    env_random(log->env, salt, sizeof(salt));
    *commitment = leaf_commit(salt, detail);
    buf_reset(&log->bytes);
    buf_put(&log->bytes, span_of(salt, sizeof(salt)));
    buf_put(&log->bytes, detail);
    if (log->bytes.err != ERR_OK)
        return log->bytes.err;
    store_key_u64(log->pending.size, key);
    store_append(txn, AUDIT_DETAIL, span_of(key, sizeof(key)), buf_span(&log->bytes));
    return ERR_OK;
}

static enum err put_leaf(struct audit_log *log, struct store_txn *txn, const Sp__Leaf *leaf)
{
    uint8_t key[STORE_KEY_U64], id_key[AUDIT_KEY_ID];
    struct digest hash;
    enum err e;

    e = leaf_check(leaf);
    if (e != ERR_OK)
        return e;
    buf_reset(&log->bytes);
    pb_encode(leaf, &log->bytes);
    if (log->bytes.err != ERR_OK || log->bytes.len > LIMIT_LEAF)
        return log->bytes.err != ERR_OK ? log->bytes.err : ERR_TOO_LARGE;
    store_key_u64(log->pending.size, key);
    store_append(txn, AUDIT_LEAF, span_of(key, sizeof(key)), buf_span(&log->bytes));
    if (leaf->id.len > 0) {
        audit_key_id(pb_span(leaf->id), log->pending.size, id_key);
        store_put(txn, AUDIT_ID, span_of(id_key, sizeof(id_key)), (struct span){0});
    }
    hash = merkle_leaf(buf_span(&log->bytes));
    log->txn = txn;
    e = merkle_edge_append(&log->pending, &hash, put_node, log);
    log->txn = NULL;
    return e;
}

void audit_log_append(struct audit_log *log, struct store_txn *txn, const Sp__Leaf *leaf,
                      struct span detail, uint64_t *index)
{
    Sp__Leaf l = *leaf;
    uint64_t at = log->pending.size;
    struct digest commitment;
    enum err e = ERR_OK;

    if (store_txn_error(txn) != ERR_OK)
        return;
    l.version = 0;
    l.log = pb_string(log->name);
    l.detail = (ProtobufCBinaryData){0};
    if (l.at_ms == 0)
        l.at_ms = env_now_ms(log->env);
    if (detail.len > 0) {
        e = put_detail(log, txn, detail, &commitment);
        l.detail = pb_bytes(digest_span(&commitment));
    }
    if (e == ERR_OK)
        e = put_leaf(log, txn, &l);
    if (e == ERR_OK)
        e = store_txn_error(txn);
    if (e == ERR_OK)
        *index = at;
    else
        store_fail(txn, e);
}

enum err audit_log_erase(struct audit_log *log, struct store_txn *txn, uint64_t index)
{
    uint8_t key[STORE_KEY_U64];
    struct span value;
    enum err e;

    if (index >= log->pending.size)
        return ERR_NOT_FOUND;
    store_key_u64(index, key);
    e = store_get(txn, AUDIT_DETAIL, span_of(key, sizeof(key)), &value);
    if (e != ERR_OK)
        return e;
    store_delete(txn, AUDIT_DETAIL, span_of(key, sizeof(key)));
    return ERR_OK;
}

static void flush_tiles(struct audit_log *log, struct store_txn *txn)
{
    for (unsigned level = 0; level < TILE_LEVELS; level++) {
        uint64_t hashes = tile_hashes(log->pending.size, level);
        uint8_t key[AUDIT_KEY_TILE];
        struct span tile;

        if (hashes == tile_hashes(log->durable.size, level))
            return;
        if (hashes % TILE_WIDTH == 0)
            continue;
        tile = tiles_hashes(log->tiles, level, hashes / TILE_WIDTH);
        assert(tile.len == hashes % TILE_WIDTH * sizeof(struct digest));
        audit_key_tile(level, hashes / TILE_WIDTH, key);
        store_put(txn, AUDIT_TILE, span_of(key, sizeof(key)), tile);
    }
}

void audit_log_flush(struct audit_log *log, struct store_txn *txn)
{
    struct audit_head head = {.size = log->pending.size};
    uint8_t bytes[AUDIT_HEAD_SIZE], key[STORE_KEY_U64];

    if (store_txn_error(txn) != ERR_OK)
        return;
    if (audit_log_unsaved(log) && !log->latest_saving) {
        store_key_u64(log->latest_size, key);
        store_append(txn, AUDIT_CHECKPOINT, span_of(key, sizeof(key)), buf_span(&log->latest));
        log->latest_saving = true;
    }
    if (log->pending.size == log->durable.size)
        return;
    flush_tiles(log, txn);
    head.root = merkle_edge_root(&log->pending);
    audit_head_encode(&head, bytes);
    store_put(txn, AUDIT_META, audit_key_head, span_of(bytes, sizeof(bytes)));
}

void audit_log_committed(struct audit_log *log)
{
    log->durable = log->pending;
    log->latest_saved = log->latest_saved || log->latest_saving;
    log->latest_saving = false;
}

void audit_log_aborted(struct audit_log *log)
{
    log->pending = log->durable;
    log->latest_saving = false;
    tiles_truncate(log->tiles, log->durable.size);
}

/* What the signer signed last must be a beginning of this log: nothing else can be proven, and a
 * head beyond ours says that the store was restored. */
static enum err ask_signer(struct audit_log *log)
{
    struct digest root, own;
    uint64_t size;
    enum err e;

    if (log->asked)
        return ERR_OK;
    e = log->signer.last(log->signer.ctx, &size, &root);
    if (e != ERR_OK)
        return e;
    if (size > log->durable.size)
        return ERR_BAD_PROOF;
    own = merkle_edge_root(&log->durable);
    if (size == log->durable.size && !digest_equal(&root, &own))
        return ERR_BAD_PROOF;
    log->signed_size = size;
    log->asked = true;
    return ERR_OK;
}

/* What came from the signer, which may be another process, says what it was asked for. */
static enum err check_signed(const struct audit_log *log, const struct digest *root,
                             struct span note)
{
    struct checkpoint c;

    if (checkpoint_parse(note, &c) != ERR_OK || strcmp(c.origin, log->origin) != 0 ||
        c.size != log->durable.size || !digest_equal(&c.root, root))
        return ERR_BAD_PROOF;
    return ERR_OK;
}

static enum err sign_head(struct audit_log *log)
{
    struct digest proof[LIMIT_PROOF_PATH];
    struct digest root = merkle_edge_root(&log->durable);
    struct reader r = {.log = log};
    struct buf note;
    size_t n;
    enum err e;

    buf_init(&note, LIMIT_CHECKPOINT);
    e = merkle_prove_consistency(reader_get, &r, log->signed_size, log->durable.size, proof, &n);
    reader_fini(&r);
    if (e != ERR_OK)
        goto out;
    e = log->signer.sign(log->signer.ctx, log->durable.size, &root, proof, n, &note);
    if (e == ERR_OK)
        e = check_signed(log, &root, buf_span(&note));
    if (e != ERR_OK) {
        /* Whether it has signed is not known. */
        log->asked = false;
        goto out;
    }
    buf_fini(&log->latest);
    log->latest = note;
    buf_init(&note, 0);
    log->latest_size = log->durable.size;
    log->latest_saved = false;
    log->signed_size = log->durable.size;
out:
    buf_fini(&note);
    return e;
}

enum err audit_log_checkpoint(struct audit_log *log)
{
    enum err e = ask_signer(log);

    if (e != ERR_OK)
        return e;
    if (log->latest_size == log->durable.size)
        return ERR_OK;
    return sign_head(log);
}

bool audit_log_unsaved(const struct audit_log *log)
{
    return log->latest.len > 0 && !log->latest_saved;
}

uint64_t audit_log_size(const struct audit_log *log)
{
    return log->durable.size;
}

enum err audit_log_latest(const struct audit_log *log, struct buf *checkpoint)
{
    if (log->latest.len == 0)
        return ERR_NOT_FOUND;
    buf_put(checkpoint, buf_span(&log->latest));
    return checkpoint->err;
}

/* The first checkpoint over leaf `index`; the newest may not be stored yet. */
static enum err covering(const struct audit_log *log, struct store_txn *txn, uint64_t index,
                         uint64_t *size, struct span *note)
{
    enum err e = audit_read_checkpoint(txn, index + 1, size, note);

    if (e != ERR_NOT_FOUND)
        return e;
    if (log->latest_size <= index)
        return ERR_NOT_FOUND;
    *size = log->latest_size;
    *note = buf_span(&log->latest);
    return ERR_OK;
}

enum err audit_log_receipt(struct audit_log *log, struct store_txn *txn, uint64_t index,
                           struct buf *receipt)
{
    ProtobufCBinaryData fields[LIMIT_PROOF_PATH];
    struct digest path[LIMIT_PROOF_PATH];
    struct reader r = {.log = log, .txn = txn};
    Sp__Receipt builder = SP__RECEIPT__INIT;
    struct span leaf, note;
    uint64_t size;
    size_t n;
    enum err e;

    if (index >= log->durable.size)
        return ERR_NOT_FOUND;
    e = covering(log, txn, index, &size, &note);
    if (e == ERR_OK)
        e = merkle_prove_inclusion(reader_get, &r, index, size, path, &n);
    if (e == ERR_OK)
        e = audit_read_leaf(txn, index, &leaf);
    if (e != ERR_OK)
        return e;
    for (size_t i = 0; i < n; i++)
        fields[i] = pb_bytes(digest_span(&path[i]));
    builder.leaf = pb_bytes(leaf);
    builder.index = index;
    builder.n_path = n;
    builder.path = fields;
    builder.checkpoint = pb_bytes(note);
    pb_encode(&builder, receipt);
    return receipt->err;
}
