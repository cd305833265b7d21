#include "audit/checkpoint.h"
#include "audit/log.h"

#include "tests/lib/leaks.h"
#include "tests/unit/audit/fixture.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/stat.h>

TestSuite(signer, .fini = leaks_check);

#define ORIGIN "baltic.example/riga"
#define SIZE 20

/* A small tree, its roots and proofs. */
struct tree {
    struct digest nodes[8][SIZE + 1];
    struct digest roots[SIZE + 1];
};

static enum err tree_put(void *ctx, unsigned level, uint64_t index, const struct digest *node)
{
    ((struct tree *)ctx)->nodes[level][index] = *node;
    return ERR_OK;
}

static enum err tree_get(void *ctx, unsigned level, uint64_t index, struct digest *ret)
{
    *ret = ((struct tree *)ctx)->nodes[level][index];
    return ERR_OK;
}

static void tree_init(struct tree *t, uint8_t salt)
{
    struct merkle_edge edge = {0};

    t->roots[0] = merkle_empty_root();
    for (uint8_t i = 0; i < SIZE; i++) {
        const uint8_t bytes[2] = {salt, i};
        struct digest leaf = merkle_leaf(span_of(bytes, sizeof(bytes)));

        cr_assert_eq(merkle_edge_append(&edge, &leaf, tree_put, t), ERR_OK);
        t->roots[i + 1] = merkle_edge_root(&edge);
    }
}

static enum err sign(struct audit_signer *s, struct tree *t, uint64_t from, uint64_t to,
                     struct buf *out)
{
    struct digest proof[LIMIT_PROOF_PATH];
    size_t n = 0;

    if (from <= to)
        cr_assert_eq(merkle_prove_consistency(tree_get, t, from, to, proof, &n), ERR_OK);
    return s->sign(s->ctx, to, &t->roots[to], proof, n, out);
}

static void open_signer(struct fixture *f, struct audit_signer *s)
{
    cr_assert_eq(audit_signer_local(ORIGIN, f->key, f->state, s), ERR_OK);
}

Test(signer, signs_what_extends)
{
    struct audit_signer s;
    struct digest root;
    struct checkpoint c;
    struct note_key key;
    struct fixture f;
    struct tree t;
    uint64_t size;

    fixture_prepare(&f, "riga", 1);
    tree_init(&t, 0);
    open_signer(&f, &s);
    cr_assert_eq(note_key_make(ORIGIN, NOTE_ED25519, &f.public, &key), ERR_OK);
    for (uint64_t from = 0; from < SIZE; from += 3) {
        uint64_t to = from + 3 < SIZE ? from + 3 : SIZE;
        struct buf b;

        buf_init(&b, LIMIT_CHECKPOINT);
        cr_assert_eq(s.last(s.ctx, &size, &root), ERR_OK);
        cr_assert_eq(size, from);
        cr_assert(digest_equal(&root, &t.roots[from]));
        cr_assert_eq(sign(&s, &t, from, to, &b), ERR_OK);
        cr_assert_eq(checkpoint_verify(buf_span(&b), &key, &c), ERR_OK);
        cr_assert_eq(c.size, to);
        cr_assert(digest_equal(&c.root, &t.roots[to]));
        buf_fini(&b);
        /* The state is on disk before the signature leaves. */
        audit_signer_local_fini(&s);
        open_signer(&f, &s);
    }
    audit_signer_local_fini(&s);
    fixture_fini(&f);
}

Test(signer, refuses_what_does_not_extend)
{
    struct audit_signer s;
    struct fixture f;
    struct tree t, other;
    struct buf b, again;
    struct digest root;
    uint64_t size;

    fixture_prepare(&f, "riga", 1);
    tree_init(&t, 0);
    tree_init(&other, 1);
    open_signer(&f, &s);
    buf_init(&b, LIMIT_CHECKPOINT);
    buf_init(&again, LIMIT_CHECKPOINT);
    cr_assert_eq(sign(&s, &t, 0, 10, &b), ERR_OK);
    cr_assert_eq(sign(&s, &t, 0, 9, &again), ERR_BAD_PROOF);       /* smaller */
    cr_assert_eq(sign(&s, &other, 10, 10, &again), ERR_BAD_PROOF); /* same size, other root */
    cr_assert_eq(sign(&s, &other, 10, 15, &again), ERR_BAD_PROOF); /* other history */
    cr_assert_eq(sign(&s, &t, 9, 15, &again), ERR_BAD_PROOF);      /* proof from elsewhere */
    cr_assert_eq(sign(&s, &t, 0, 15, &again), ERR_BAD_PROOF);      /* no proof */
    cr_assert_eq(again.len, 0);
    cr_assert_eq(s.last(s.ctx, &size, &root), ERR_OK);
    cr_assert_eq(size, 10);
    /* The same head again: the same bytes. */
    cr_assert_eq(sign(&s, &t, 10, 10, &again), ERR_OK);
    cr_assert(span_equal(buf_span(&b), buf_span(&again)));
    cr_assert_eq(sign(&s, &t, 10, 15, &b), ERR_OK);
    buf_fini(&b);
    buf_fini(&again);
    audit_signer_local_fini(&s);
    fixture_fini(&f);
}

Test(signer, the_state_has_one_owner)
{
    struct audit_signer s, second;
    struct stat st;
    struct fixture f;

    fixture_prepare(&f, "riga", 1);
    open_signer(&f, &s);
    cr_assert_eq(audit_signer_local(ORIGIN, f.key, f.state, &second), ERR_LOCKED);
    cr_assert_eq(stat(f.state, &st), 0);
    cr_assert_eq(st.st_mode & 0777, 0600);
    audit_signer_local_fini(&s);
    cr_assert_eq(audit_signer_local("baltic.example/tallinn", f.key, f.state, &second), ERR_CONFIG);
    open_signer(&f, &s);
    audit_signer_local_fini(&s);
    audit_signer_local_fini(&s);
    audit_signer_local_fini(NULL);
    fixture_fini(&f);
}

static void damage(const char *path, off_t at)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    uint8_t byte;

    cr_assert_geq(fd, 0);
    cr_assert_eq(pread(fd, &byte, 1, at), 1);
    byte ^= 1;
    cr_assert_eq(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

/* A write that was torn leaves the state before it; that one's signature never left. */
Test(signer, survives_a_torn_write)
{
    struct audit_signer s;
    struct digest root;
    struct fixture f;
    struct tree t;
    struct buf b;
    uint64_t size;

    fixture_prepare(&f, "riga", 1);
    tree_init(&t, 0);
    buf_init(&b, LIMIT_MIB);
    open_signer(&f, &s);
    cr_assert_eq(sign(&s, &t, 0, 5, &b), ERR_OK);
    cr_assert_eq(sign(&s, &t, 5, 9, &b), ERR_OK);
    audit_signer_local_fini(&s);
    damage(f.state, 60); /* the second write is in the first slot */
    open_signer(&f, &s);
    cr_assert_eq(s.last(s.ctx, &size, &root), ERR_OK);
    cr_assert_eq(size, 5);
    audit_signer_local_fini(&s);
    damage(f.state, 4096 + 60);
    cr_assert_eq(audit_signer_local(ORIGIN, f.key, f.state, &s), ERR_CORRUPT);
    cr_assert_eq(truncate(f.state, 100), 0);
    cr_assert_eq(audit_signer_local(ORIGIN, f.key, f.state, &s), ERR_CORRUPT);
    buf_fini(&b);
    fixture_fini(&f);
}
