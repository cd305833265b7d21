/* Random walks: a broker between peers that answer, forget, repeat, lie and vanish; restarts at any
 * point. The stage checks what always holds after every step; at the end, when all peers answer,
 * every accepted message must have ended for every recipient and every receipt have gone back. */
#include "tests/lib/leaks.h"
#include "tests/unit/broker/stage.h"

#include "broker/record.h"
#include "common/store.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(walk, .fini = leaks_check);

#define STEPS 220
#define MESSAGES 40

static const char *const peers[] = {"EE.POLICE", "EE.CUSTOMS", "riga"};
#define PEERS (sizeof peers / sizeof peers[0])

struct walk {
    struct stage s;
    uint32_t random;
    bool up[PEERS];
    int of_number[MESSAGES + 1]; /* message of each exchange */
    uint64_t numbers;
    struct {
        size_t peer;
        uint64_t number;
    } asked[4096];
    size_t n_asked;
    struct {
        size_t peer;
        uint64_t number;
    } told[4096]; /* controls */
    size_t n_told;
    uint64_t tag;
};

static uint32_t pick(struct walk *w, uint32_t n)
{
    w->random = w->random * 1664525 + 1013904223;
    return (w->random >> 8) % n;
}

static size_t place(const char *peer)
{
    size_t i = 0;

    while (strcmp(peers[i], peer) != 0)
        i++;
    return i;
}

/* Remembers what the last step sent. */
static void hear(struct walk *w)
{
    for (size_t i = 0; i < w->s.n_sends; i++) {
        const struct broker_send *send = &w->s.sends[i];

        if (send->kind == BROKER_SEND_TRANSFER) {
            cr_assert(w->up[place(send->peer)], "sent to a peer that is down");
            w->asked[w->n_asked % 4096].peer = place(send->peer);
            w->asked[w->n_asked++ % 4096].number = send->number;
        }
        if (send->kind == BROKER_SEND_CONTROL) {
            cr_assert(w->up[place(send->peer)]);
            w->told[w->n_told % 4096].peer = place(send->peer);
            w->told[w->n_told++ % 4096].number = send->number;
        }
    }
}

static void submit_new(struct walk *w)
{
    static const struct stage_mail kinds[] = {
        {.sender = "EE.POLICE", .to = {"EE.CUSTOMS", "LT.POLICE", "LV.POLICE"}},
        {.sender = "EE.POLICE", .to = {"LV.POLICE"}, .urgency = SP__URGENCY__URGENCY_URGENT},
        {.sender = "EE.CUSTOMS", .to = {"EE.POLICE"}, .lives_ms = 30000},
        {.sender = "EE.CUSTOMS", .to = {"LT.CUSTOMS", "LV.CUSTOMS"}, .file = true},
    };
    const struct stage_mail *kind = &kinds[pick(w, 4)];
    size_t before = memview_count(w->s.state, BROKER_SPOOL);
    int m;

    if (w->s.n_messages == MESSAGES)
        return;
    m = stage_mail(&w->s, kind);
    stage_submit(&w->s, kind->sender, m);
    hear(w);
    if (memview_count(w->s.state, BROKER_SPOOL) > before)
        w->of_number[++w->numbers] = m;
}

static void submit_again(struct walk *w)
{
    int m;

    if (w->s.n_messages == 0)
        return;
    m = 1 + (int)pick(w, (uint32_t)w->s.n_messages);
    stage_submit(&w->s, envelope_header(w->s.messages[m].envelope)->sender, m);
    hear(w);
    cr_assert_eq(w->s.n_leaves, 0, "a repetition has no effect");
}

/* Statement that the peer has it. */
static const struct receipt *has_it(struct walk *w, size_t peer, uint64_t number)
{
    struct stage_statement st = {.event = SP__AUDIT_EVENT__AUDIT_EVENT_ACCEPTED,
                                 .log = peers[peer],
                                 .hop = 1,
                                 .m = w->of_number[number]};
    const struct envelope *e = w->s.messages[st.m].envelope;

    if (peer < 2) {
        st.event = SP__AUDIT_EVENT__AUDIT_EVENT_DELIVERED;
        st.recipients[0] = peers[peer];
    } else {
        for (size_t i = 0; i < envelope_recipient_count(e); i++)
            st.recipients[i] = envelope_recipient(e, i)->agency;
    }
    return stage_receipt(&w->s, &st);
}

static void answer(struct walk *w, bool well)
{
    static const enum err retry[] = {ERR_CLOCK, ERR_DISK_FULL, ERR_NEED_DOCUMENTS, ERR_QUOTA};
    uint32_t how = well ? 0 : pick(w, 8);
    size_t i;

    if (w->n_asked == 0)
        return;
    i = pick(w, (uint32_t)(w->n_asked < 4096 ? w->n_asked : 4096));
    if (well)
        i = (--w->n_asked) % 4096;
    if (how < 3)
        stage_answer(&w->s, peers[w->asked[i].peer], w->asked[i].number,
                     SP__OUTCOME__OUTCOME_COMMITTED, ERR_OK,
                     has_it(w, w->asked[i].peer, w->asked[i].number));
    else if (how < 4)
        stage_answer(&w->s, peers[w->asked[i].peer], w->asked[i].number,
                     SP__OUTCOME__OUTCOME_REFUSED, ERR_NO_ROUTE, NULL);
    else if (how < 5)
        stage_answer(&w->s, peers[w->asked[i].peer], w->asked[i].number,
                     SP__OUTCOME__OUTCOME_COMMITTED, ERR_OK, NULL);
    else
        stage_answer(&w->s, peers[w->asked[i].peer], w->asked[i].number, SP__OUTCOME__OUTCOME_RETRY,
                     retry[pick(w, 4)], NULL);
    hear(w);
}

static void acknowledge(struct walk *w, bool last)
{
    size_t i;

    if (w->n_told == 0)
        return;
    i = last ? --w->n_told % 4096 : pick(w, (uint32_t)(w->n_told < 4096 ? w->n_told : 4096));
    stage_ack(&w->s, peers[w->told[i].peer], w->told[i].number);
    hear(w);
}

static void speak(struct walk *w)
{
    struct stage_statement st = {.event = SP__AUDIT_EVENT__AUDIT_EVENT_DELIVERED, .hop = 2};
    const struct envelope *e;

    if (w->numbers == 0)
        return;
    st.m = w->of_number[1 + pick(w, (uint32_t)w->numbers)];
    e = w->s.messages[st.m].envelope;
    st.recipients[0] =
        envelope_recipient(e, pick(w, (uint32_t)envelope_recipient_count(e)))->agency;
    st.log = st.recipients[0];
    if (pick(w, 3) == 0) {
        st.event = SP__AUDIT_EVENT__AUDIT_EVENT_REFUSED;
        st.log = "vilnius";
        st.code = ERR_EXPIRED;
    }
    stage_control(&w->s, "riga", envelope_header(e)->sender, ++w->tag, stage_receipt(&w->s, &st));
    hear(w);
}

static void toggle(struct walk *w, size_t peer, bool up)
{
    w->up[peer] = up;
    if (up)
        stage_up(&w->s, peers[peer]);
    else
        stage_down(&w->s, peers[peer]);
    hear(w);
}

static void restart(struct walk *w)
{
    stage_restart(&w->s);
    for (size_t i = 0; i < PEERS; i++) {
        if (w->up[i])
            toggle(w, i, true);
    }
}

static void turn(struct walk *w)
{
    uint32_t what = pick(w, 20);

    if (what < 4)
        submit_new(w);
    else if (what < 5)
        submit_again(w);
    else if (what < 10)
        answer(w, false);
    else if (what < 12)
        acknowledge(w, false);
    else if (what < 14)
        speak(w);
    else if (what < 16)
        toggle(w, pick(w, PEERS), pick(w, 3) > 0);
    else if (what < 17)
        restart(w);
    else {
        stage_wait(&w->s, pick(w, 12000));
        hear(w);
    }
}

/* Everybody answers well until nothing is left. */
static void settle(struct walk *w)
{
    struct broker_core_stats stats;

    for (size_t i = 0; i < PEERS; i++)
        toggle(w, i, true);
    for (int i = 0; i < 2000; i++) {
        broker_core_stats(w->s.core, &stats);
        if (stats.queued == 0 && stats.controls == 0)
            return;
        if (w->n_asked > 0)
            answer(w, true);
        else if (w->n_told > 0)
            acknowledge(w, true);
        else {
            stage_wait(&w->s, 11000);
            hear(w);
        }
    }
    cr_assert_fail("%llu queued and %llu controls do not end", (unsigned long long)stats.queued,
                   (unsigned long long)stats.controls);
}

static void check_end(struct walk *w)
{
    cr_assert_eq(memview_count(w->s.state, BROKER_OPEN), 0);
    cr_assert_eq(memview_count(w->s.state, BROKER_CONTROL), 0);
    cr_assert_eq(memview_count(w->s.state, BROKER_SPOOL), memview_count(w->s.state, BROKER_DONE),
                 "everything ended will be forgotten");
    cr_assert_eq(stage_leaves(&w->s, SP__AUDIT_EVENT__AUDIT_EVENT_ACCEPTED), w->numbers);
}

static void walk(uint32_t seed)
{
    struct walk *w = calloc(1, sizeof *w);

    fprintf(stderr, "# seed %u\n", seed);
    w->random = seed;
    stage_init(&w->s, "tallinn");
    w->s.quiet = true;
    for (int i = 0; i < STEPS; i++)
        turn(w);
    settle(w);
    check_end(w);
    stage_fini(&w->s);
    free(w);
}

Test(walk, seeds)
{
    for (uint32_t seed = 1; seed <= 12; seed++)
        walk(seed);
}
