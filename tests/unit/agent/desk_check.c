#include "common/store.h"
#include "proto/pb.h"
#include "tests/unit/agent/desk_internal.h"

#include <criterion/criterion.h>
#include <string.h>

struct seen {
    size_t submitted, delivered, opened, statements, directories;
    size_t sent_new, received_new, ids, summaries, controls, documents, directory, streams, seen;
    size_t advanced; /* leaves about what others did with our mail */
    size_t changed;  /* recipients of our mail with another state */
};

static bool get_mail(struct memview *state, struct span key, struct mail *ret)
{
    struct span value;

    if (view_get(memview_view(state), AGENT_STATE, key, &value) != ERR_OK)
        return false;
    return mail_decode(value, ret) == ERR_OK;
}

static enum transport_state state_said(Sp__AuditEvent event)
{
    switch (event) {
    case SP__AUDIT_EVENT__AUDIT_EVENT_ACCEPTED:
        return STATE_ACCEPTED;
    case SP__AUDIT_EVENT__AUDIT_EVENT_RELAYED:
        return STATE_RELAYED;
    case SP__AUDIT_EVENT__AUDIT_EVENT_DELIVERED:
        return STATE_DELIVERED;
    case SP__AUDIT_EVENT__AUDIT_EVENT_OPENED:
        return STATE_OPENED;
    case SP__AUDIT_EVENT__AUDIT_EVENT_REFUSED:
        return STATE_REFUSED;
    case SP__AUDIT_EVENT__AUDIT_EVENT_EXPIRED:
        return STATE_EXPIRED;
    default:
        return 0; /* says nothing about sent mail: equals no state */
    }
}

static bool find_mail(struct memview *state, const Sp__Leaf *l, struct mail *ret)
{
    uint8_t key[MAIL_ID_KEY];
    struct span value;
    struct uuid id;

    cr_assert_eq(uuid_from_bytes(pb_span(l->id), &id), ERR_OK);
    mail_id_key(&id, l->sender, key);
    if (view_get(memview_view(state), AGENT_ID, span_of(key, sizeof key), &value) != ERR_OK)
        return false;
    return get_mail(state, value, ret);
}

/* A leaf about what became of our mail for one recipient: its record says the same. */
static void check_advanced(struct desk *d, const Sp__Leaf *l)
{
    bool found = false;
    struct mail m;

    cr_assert_eq(l->n_recipients, 1);
    cr_assert(find_mail(d->state, l, &m));
    for (size_t i = 0; i < m.n_recipients; i++) {
        if (strcmp(m.recipients[i].agency, l->recipients[0]) != 0)
            continue;
        found = true;
        cr_assert_eq(m.recipients[i].state, state_said(l->event), "leaf and record differ");
        cr_assert_str_eq(l->code,
                         m.recipients[i].code == ERR_OK ? "" : err_code(m.recipients[i].code));
    }
    cr_assert(found);
    mail_fini(&m);
}

/* A refusal of ours is what the answer's receipt is about. */
static void check_refused(struct desk *d, size_t index, const Sp__Leaf *l)
{
    bool answered = false;

    for (size_t i = 0; i < d->n_sends; i++)
        answered |= d->sends[i].kind == AGENT_SEND_ANSWER && d->sends[i].leaf == index &&
                    d->sends[i].outcome == SP__OUTCOME__OUTCOME_REFUSED &&
                    strcmp(err_code(d->sends[i].code), l->code) == 0 &&
                    span_equal(digest_span(&d->sends[i].digest), pb_span(l->envelope));
    cr_assert(answered, "a refusal that nobody is told");
}

static void check_received(struct desk *d, size_t index, const Sp__Leaf *l)
{
    bool opened = l->event == SP__AUDIT_EVENT__AUDIT_EVENT_OPENED;
    struct mail m;

    cr_assert_eq(l->n_recipients, 1);
    cr_assert_str_eq(l->recipients[0], d->options.agency);
    cr_assert(find_mail(d->state, l, &m));
    cr_assert_eq(m.box, MAIL_IN);
    cr_assert_eq(opened ? m.opened_leaf : m.leaf, index);
    mail_fini(&m);
}

static void look_at_leaf(struct desk *d, size_t index, const Sp__Leaf *l, struct seen *n)
{
    bool own = strcmp(l->sender, d->options.agency) == 0;

    cr_assert_eq(l->at_ms, d->env.now_ms);
    switch (l->event) {
    case SP__AUDIT_EVENT__AUDIT_EVENT_SUBMITTED:
        cr_assert(own);
        n->submitted++;
        break;
    case SP__AUDIT_EVENT__AUDIT_EVENT_STATEMENT:
        n->statements++;
        break;
    case SP__AUDIT_EVENT__AUDIT_EVENT_DIRECTORY:
        n->directories++;
        break;
    case SP__AUDIT_EVENT__AUDIT_EVENT_SUMMARY:
        cr_assert_gt(l->count, 0);
        break;
    case SP__AUDIT_EVENT__AUDIT_EVENT_REFUSED:
    case SP__AUDIT_EVENT__AUDIT_EVENT_EXPIRED:
        if (desk_sent(d, AGENT_SEND_ANSWER) != NULL) {
            check_refused(d, index, l);
            break;
        }
        [[fallthrough]];
    default:
        if (own) {
            n->advanced++;
            check_advanced(d, l);
            break;
        }
        n->delivered += l->event == SP__AUDIT_EVENT__AUDIT_EVENT_DELIVERED;
        n->opened += l->event == SP__AUDIT_EVENT__AUDIT_EVENT_OPENED;
        check_received(d, index, l);
    }
}

static void look_at_leaves(struct desk *d, const struct batch *b, struct seen *n)
{
    size_t first = memview_leaf_count(d->state) - batch_leaf_count(b);

    for (size_t i = 0; i < batch_leaf_count(b); i++) {
        struct pb *pb;

        cr_assert_eq(pb_decode(&sp__leaf__descriptor, batch_leaf_at(b, i).leaf, LIMIT_LEAF, &pb),
                     ERR_OK);
        look_at_leaf(d, first + i, pb_view(pb), n);
        pb_free(pb);
    }
}

static void look_at_states(struct desk *d, struct memview *before, struct span key, struct seen *n)
{
    struct mail a;
    struct mail b;

    if (!get_mail(before, key, &a))
        return; /* new */
    cr_assert(get_mail(d->state, key, &b));
    cr_assert_eq(a.n_recipients, b.n_recipients);
    for (size_t i = 0; i < a.n_recipients; i++)
        n->changed += a.box == MAIL_OUT && a.recipients[i].state != b.recipients[i].state;
    if (a.box == MAIL_IN)
        cr_assert(a.opened_ms == 0 && b.opened_ms != 0, "received mail changes only by opening");
    cr_assert_eq(a.leaf, b.leaf);
    mail_fini(&a);
    mail_fini(&b);
}

static void check_stream(struct span value)
{
    struct stream_position at;

    cr_assert_eq(stream_decode(value, &at), ERR_OK);
    cr_assert_gt(at.seq, 0, "a stream that nothing was sent in");
}

static void look_at_changes(struct desk *d, struct memview *before, const struct batch *b,
                            struct seen *n)
{
    for (size_t i = 0; i < batch_change_count(b); i++) {
        struct change c = batch_change_at(b, i);

        n->sent_new += c.table == AGENT_MAIL && c.key.data[0] == MAIL_OUT;
        n->received_new += c.table == AGENT_MAIL && c.key.data[0] == MAIL_IN;
        n->ids += c.table == AGENT_ID;
        n->summaries += c.table == AGENT_SUMMARY;
        n->controls += c.table == AGENT_CONTROL && c.op == CHANGE_APPEND;
        n->documents += c.table == AGENT_DOCUMENT;
        n->directory += c.table == AGENT_META && span_equal(c.key, span_str(AGENT_META_DIRECTORY));
        n->streams += c.table == AGENT_STREAM;
        n->seen += c.table == AGENT_SEEN;
        if (c.op == CHANGE_DELETE)
            cr_assert(c.table == AGENT_PENDING || c.table == AGENT_CONTROL);
        if (c.table == AGENT_STATE)
            look_at_states(d, before, c.key, n);
        if (c.table == AGENT_STREAM)
            check_stream(c.value);
    }
}

/* Every answer's leaf is about what was asked. */
static void check_answers(struct desk *d)
{
    for (size_t i = 0; i < d->n_sends; i++) {
        const struct agent_send *send = &d->sends[i];
        struct pb *pb;

        if (send->kind != AGENT_SEND_ANSWER || send->leaf == AGENT_NO_LEAF)
            continue;
        cr_assert_lt(send->leaf, memview_leaf_count(d->state));
        cr_assert_eq(pb_decode(&sp__leaf__descriptor, memview_leaf(d->state, send->leaf).leaf,
                               LIMIT_LEAF, &pb),
                     ERR_OK);
        cr_assert(span_equal(pb_span(((const Sp__Leaf *)pb_view(pb))->envelope),
                             digest_span(&send->digest)));
        pb_free(pb);
    }
}

void desk_check(struct desk *d, struct memview *before, const struct batch *b)
{
    struct seen n = {0};

    look_at_leaves(d, b, &n);
    look_at_changes(d, before, b, &n);
    cr_assert_eq(n.sent_new, n.submitted, "sent mail and its leaf belong together");
    cr_assert_eq(n.received_new, n.delivered, "received mail and its leaf belong together");
    cr_assert_eq(n.ids, n.submitted + n.delivered);
    cr_assert_eq(n.summaries, n.submitted + n.delivered);
    cr_assert_eq(n.controls, n.opened, "a receipt on its way without its leaf");
    cr_assert_eq(n.documents, n.statements);
    cr_assert_eq(n.directory, n.directories);
    cr_assert_leq(n.changed, n.advanced, "a state changed without a leaf");
    cr_assert(n.streams == 0 || n.submitted > 0, "a stream moved without a message");
    cr_assert_leq(n.seen, n.delivered);
    check_answers(d);
}
