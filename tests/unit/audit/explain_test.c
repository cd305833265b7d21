#include "audit/explain.h"

#include "audit/leaf_text.h"
#include "tests/lib/leaks.h"
#include "tests/unit/audit/story.h"

#include <criterion/criterion.h>

TestSuite(explain, .fini = leaks_check);

struct opened {
    struct source *sources[STORY_LOGS];
    struct note_key keys[STORY_LOGS];
    const struct note_key *anchored[STORY_LOGS];
};

static void open_all(struct story *s, struct opened *o)
{
    for (int i = 0; i < STORY_LOGS; i++) {
        char why[256] = "";

        cr_assert_eq(source_open(s->logs[i].dir, &o->sources[i], why, sizeof(why)), ERR_OK, "%s",
                     why);
        cr_assert_eq(note_key_make(source_origin(o->sources[i]), NOTE_ED25519, &s->logs[i].public,
                                   &o->keys[i]),
                     ERR_OK);
        o->anchored[i] = &o->keys[i];
    }
}

static void close_all(struct opened *o)
{
    for (int i = 0; i < STORY_LOGS; i++)
        source_free(o->sources[i]);
}

Test(explain, tells_the_story_in_order_with_its_causes)
{
    static const struct {
        size_t source;
        Sp__AuditEvent event;
        size_t cause;
    } want[] = {
        {STORY_SENDER, SP__AUDIT_EVENT__AUDIT_EVENT_SUBMITTED, EXPLAIN_NONE},
        {STORY_HOME, SP__AUDIT_EVENT__AUDIT_EVENT_ACCEPTED, EXPLAIN_NONE},
        {STORY_RELAY, SP__AUDIT_EVENT__AUDIT_EVENT_ACCEPTED, 1},
        {STORY_HOME, SP__AUDIT_EVENT__AUDIT_EVENT_RELAYED, 2},
        {STORY_RECIPIENT, SP__AUDIT_EVENT__AUDIT_EVENT_DELIVERED, 2},
        {STORY_RELAY, SP__AUDIT_EVENT__AUDIT_EVENT_DELIVERED, 4},
        {STORY_HOME, SP__AUDIT_EVENT__AUDIT_EVENT_DELIVERED, 4},
        {STORY_SENDER, SP__AUDIT_EVENT__AUDIT_EVENT_DELIVERED, 4},
        {STORY_RECIPIENT, SP__AUDIT_EVENT__AUDIT_EVENT_OPENED, EXPLAIN_NONE},
    };
    struct explain x;
    struct opened o;
    struct story s;

    story_init(&s, FIXTURE_START_MS);
    story_stop(&s);
    open_all(&s, &o);
    cr_assert_eq(explain_id(o.sources, o.anchored, STORY_LOGS, &s.id, &x), ERR_OK);
    cr_assert_eq(x.n, STORY_RECEIPTS);
    cr_assert_eq(x.broken, 0);
    for (size_t i = 0; i < x.n; i++) {
        cr_assert_eq(x.steps[i].source, want[i].source, "step %zu", i);
        cr_assert_eq(x.steps[i].leaf->event, want[i].event, "step %zu", i);
        cr_assert_eq(x.steps[i].cause, want[i].cause, "step %zu", i);
        cr_assert_eq(x.steps[i].proof, ERR_OK);
        cr_assert(x.steps[i].covered);
    }
    explain_fini(&x);
    close_all(&o);
    story_fini(&s);
}

Test(explain, some_of_the_logs_will_do)
{
    struct explain x;
    struct opened o;
    struct story s;
    struct uuid other;

    story_init(&s, FIXTURE_START_MS);
    story_stop(&s);
    open_all(&s, &o);
    cr_assert_eq(explain_id(&o.sources[STORY_HOME], &o.anchored[STORY_HOME], 1, &s.id, &x), ERR_OK);
    cr_assert_eq(x.n, 3);
    cr_assert_eq(x.steps[1].cause, EXPLAIN_NONE);
    explain_fini(&x);
    other = s.id;
    other.b[15] ^= 1;
    cr_assert_eq(explain_id(o.sources, o.anchored, STORY_LOGS, &other, &x), ERR_NOT_FOUND);
    close_all(&o);
    story_fini(&s);
}

/* The newest checkpoint of a daemon that was killed is not in its store. */
Test(explain, leaves_without_a_stored_checkpoint_are_told_apart)
{
    struct explain x;
    struct opened o;
    struct story s;

    story_init(&s, FIXTURE_START_MS);
    open_all(&s, &o);
    cr_assert_eq(explain_id(o.sources, o.anchored, STORY_LOGS, &s.id, &x), ERR_OK);
    cr_assert_eq(x.broken, 0);
    cr_assert(x.steps[0].covered);
    cr_assert_not(x.steps[8].covered);
    cr_assert_eq(x.steps[8].proof, ERR_OK);
    explain_fini(&x);
    close_all(&o);
    story_fini(&s);
}

Test(explain, altered_leaves_and_other_keys_are_named)
{
    uint8_t key[STORE_KEY_U64];
    struct store_txn *txn;
    struct span value;
    struct explain x;
    struct opened o;
    struct story s;
    struct buf copy;

    story_init(&s, FIXTURE_START_MS);
    /* tallinn's acceptance: leaf 18. Its officer is changed: it decodes still. */
    buf_init(&copy, LIMIT_LEAF);
    store_key_u64(18, key);
    cr_assert_eq(store_write_begin(s.logs[STORY_HOME].store, &txn), ERR_OK);
    cr_assert_eq(store_get(txn, AUDIT_LEAF, span_of(key, sizeof(key)), &value), ERR_OK);
    buf_put(&copy, value);
    *(char *)memmem(copy.data, copy.len, "EE.POLICE", 9) = 'F';
    store_put(txn, AUDIT_LEAF, span_of(key, sizeof(key)), buf_span(&copy));
    cr_assert_eq(store_commit(txn), ERR_OK);
    buf_fini(&copy);
    story_stop(&s);
    open_all(&s, &o);
    o.keys[STORY_RELAY].key.b[3] ^= 1;
    cr_assert_eq(explain_id(o.sources, o.anchored, STORY_LOGS, &s.id, &x), ERR_OK);
    cr_assert_eq(x.n, STORY_RECEIPTS);
    cr_assert_eq(x.broken, 3);
    cr_assert_eq(x.steps[1].proof, ERR_BAD_PROOF);
    cr_assert_eq(x.steps[2].proof, ERR_BAD_SIGNATURE);
    cr_assert_eq(x.steps[5].proof, ERR_BAD_SIGNATURE);
    cr_assert_eq(x.steps[2].cause, EXPLAIN_NONE, "it rests on a leaf that is no more");
    explain_fini(&x);
    close_all(&o);
    story_fini(&s);
}

Test(explain, sentences)
{
    struct fixture_leaf l;
    struct buf b;

    buf_init(&b, LIMIT_LEAF);
    fixture_leaf(&l, 1, SP__AUDIT_EVENT__AUDIT_EVENT_REFUSED);
    l.leaf.log = pb_string("riga");
    l.leaf.from = pb_string("tallinn");
    l.leaf.code = pb_string("no-route");
    leaf_sentence(&l.leaf, &b);
    cr_assert_str_eq(buf_cstr(&b),
                     "riga refused it from tallinn for LV.POLICE: no-route (no permitted "
                     "path to a recipient)");
    buf_reset(&b);
    fixture_leaf(&l, 1, SP__AUDIT_EVENT__AUDIT_EVENT_OPENED);
    l.leaf.log = pb_string("LV.POLICE");
    l.leaf.officer = pb_string("anna");
    leaf_sentence(&l.leaf, &b);
    cr_assert_str_eq(buf_cstr(&b),
                     "LV.POLICE showed it to an officer for the first time, officer anna");
    buf_reset(&b);
    l.leaf.log = pb_string("tallinn");
    l.leaf.officer = pb_string("");
    leaf_sentence(&l.leaf, &b);
    cr_assert_str_eq(buf_cstr(&b), "tallinn holds the receipt that LV.POLICE has read it");
    buf_fini(&b);
}
