#include "audit/leaf.h"

#include "tests/lib/leaks.h"
#include "tests/unit/audit/fixture.h"

#include <criterion/criterion.h>

TestSuite(leaf, .fini = leaks_check);

/* A leaf that is right, to be spoilt. */
static void sound_leaf(struct fixture_leaf *l)
{
    fixture_leaf(l, 7, SP__AUDIT_EVENT__AUDIT_EVENT_ACCEPTED);
    l->leaf.at_ms = FIXTURE_START_MS;
    l->leaf.log = pb_string("riga");
}

static enum err decode(const Sp__Leaf *leaf)
{
    const Sp__Leaf *ret;
    struct buf b;
    struct pb *pb;
    enum err e;

    buf_init(&b, LIMIT_MIB);
    pb_encode(leaf, &b);
    cr_assert_eq(b.err, ERR_OK);
    e = leaf_decode(buf_span(&b), &pb, &ret);
    if (e == ERR_OK)
        pb_free(pb);
    buf_fini(&b);
    cr_assert_eq(leaf_check(leaf), e, "check and decode differ");
    return e;
}

Test(leaf, sound_leaves_pass)
{
    struct fixture_leaf l;

    sound_leaf(&l);
    cr_assert_eq(decode(&l.leaf), ERR_OK);
    l.leaf.id = l.leaf.envelope = pb_bytes((struct span){0});
    l.leaf.n_recipients = l.leaf.n_handling = 0;
    cr_assert_eq(decode(&l.leaf), ERR_OK);
}

Test(leaf, each_rule_refuses)
{
    static uint8_t bytes[40];
    char *twice[] = {pb_string("LV.POLICE"), pb_string("LV.POLICE")};
    char *unsorted[] = {pb_string("LV.POLICE"), pb_string("EE.POLICE")};
    char *empty[] = {pb_string("")};
    struct fixture_leaf l;

    sound_leaf(&l);
    l.leaf.version = 1;
    cr_assert_eq(decode(&l.leaf), ERR_VERSION);
    sound_leaf(&l);
    l.leaf.event = SP__AUDIT_EVENT__AUDIT_EVENT_UNSPECIFIED;
    cr_assert_eq(decode(&l.leaf), ERR_MALFORMED);
    sound_leaf(&l);
    l.leaf.at_ms = 0;
    cr_assert_eq(decode(&l.leaf), ERR_MALFORMED);
    sound_leaf(&l);
    l.leaf.log = pb_string("");
    cr_assert_eq(decode(&l.leaf), ERR_MALFORMED);
    sound_leaf(&l);
    l.leaf.n_recipients = 2;
    l.leaf.recipients = twice;
    cr_assert_eq(decode(&l.leaf), ERR_MALFORMED);
    l.leaf.recipients = unsorted;
    cr_assert_eq(decode(&l.leaf), ERR_MALFORMED);
    l.leaf.n_recipients = 1;
    l.leaf.recipients = empty;
    cr_assert_eq(decode(&l.leaf), ERR_MALFORMED);
    for (size_t n = 1; n <= 33; n++) {
        sound_leaf(&l);
        l.leaf.id = pb_bytes(span_of(bytes, n));
        cr_assert_eq(decode(&l.leaf), n == 16 ? ERR_OK : ERR_MALFORMED);
        sound_leaf(&l);
        l.leaf.envelope = pb_bytes(span_of(bytes, n));
        cr_assert_eq(decode(&l.leaf), n == 32 ? ERR_OK : ERR_MALFORMED);
        sound_leaf(&l);
        l.leaf.cause = pb_bytes(span_of(bytes, n));
        cr_assert_eq(decode(&l.leaf), n == 32 ? ERR_OK : ERR_MALFORMED);
        sound_leaf(&l);
        l.leaf.detail = pb_bytes(span_of(bytes, n));
        cr_assert_eq(decode(&l.leaf), n == 32 ? ERR_OK : ERR_MALFORMED);
    }
}

Test(leaf, names_and_lists_are_bounded)
{
    static char names[LIMIT_RECIPIENTS + 1][16];
    char *recipients[LIMIT_RECIPIENTS + 1], *handling[LIMIT_HANDLING + 1];
    char text[LIMIT_OFFICER + 1];
    struct fixture_leaf l;

    for (size_t i = 0; i <= LIMIT_RECIPIENTS; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "LT.A%04zu", i);
        recipients[i] = names[i];
        if (i <= LIMIT_HANDLING)
            handling[i] = names[i];
    }
    for (size_t n = LIMIT_RECIPIENTS - 1; n <= LIMIT_RECIPIENTS + 1; n++) {
        sound_leaf(&l);
        l.leaf.n_recipients = n;
        l.leaf.recipients = recipients;
        cr_assert_eq(decode(&l.leaf), n <= LIMIT_RECIPIENTS ? ERR_OK : ERR_MALFORMED);
    }
    for (size_t n = LIMIT_HANDLING - 1; n <= LIMIT_HANDLING + 1; n++) {
        sound_leaf(&l);
        l.leaf.n_handling = n;
        l.leaf.handling = handling;
        cr_assert_eq(decode(&l.leaf), n <= LIMIT_HANDLING ? ERR_OK : ERR_MALFORMED);
    }
    for (size_t n = LIMIT_OFFICER - 2; n <= LIMIT_OFFICER; n++) {
        memset(text, 'o', sizeof(text));
        text[n] = '\0';
        sound_leaf(&l);
        l.leaf.officer = text;
        cr_assert_eq(decode(&l.leaf), n < LIMIT_OFFICER ? ERR_OK : ERR_MALFORMED);
    }
    for (size_t n = LIMIT_PEER - 2; n <= LIMIT_PEER; n++) {
        memset(text, 'p', sizeof(text));
        text[n] = '\0';
        sound_leaf(&l);
        l.leaf.from = text;
        cr_assert_eq(decode(&l.leaf), n < LIMIT_PEER ? ERR_OK : ERR_MALFORMED);
        sound_leaf(&l);
        l.leaf.to = text;
        cr_assert_eq(decode(&l.leaf), n < LIMIT_PEER ? ERR_OK : ERR_MALFORMED);
        sound_leaf(&l);
        l.leaf.sender = text;
        cr_assert_eq(decode(&l.leaf), n < LIMIT_PEER ? ERR_OK : ERR_MALFORMED);
    }
}

/* SHA-256("sealpost-detail-v1" || 00 || salt || detail). */
Test(leaf, the_commitment_is_as_defined)
{
    uint8_t message[19 + LEAF_SALT + 6] = "sealpost-detail-v1", salt[LEAF_SALT];
    struct digest a, b;

    for (size_t i = 0; i < LEAF_SALT; i++)
        message[19 + i] = salt[i] = (uint8_t)i;
    memcpy(message + 19 + LEAF_SALT, "detail", 6);
    a = leaf_commit(salt, span_str("detail"));
    b = sha256(span_of(message, sizeof(message)));
    cr_assert(digest_equal(&a, &b));
    salt[0] = 1;
    b = leaf_commit(salt, span_str("detail"));
    cr_assert_not(digest_equal(&a, &b));
}
