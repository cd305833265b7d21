/* Golden traces of the core. After a change that is meant: SEALPOST_GOLDEN=write, then read the
 * difference as a reviewer would. And: a restart at any point changes nothing. */
#include "tests/lib/leaks.h"
#include "tests/unit/agent/desk.h"

#include <criterion/criterion.h>

TestSuite(trace, .fini = leaks_check);

#define ACCEPTED SP__AUDIT_EVENT__AUDIT_EVENT_ACCEPTED
#define DELIVERED SP__AUDIT_EVENT__AUDIT_EVENT_DELIVERED
#define OPENED SP__AUDIT_EVENT__AUDIT_EVENT_OPENED
#define REFUSED SP__AUDIT_EVENT__AUDIT_EVENT_REFUSED
#define NO SP__OUTCOME__OUTCOME_REFUSED
#define RETRY SP__OUTCOME__OUTCOME_RETRY

static const struct receipt *said(struct desk *d, Sp__AuditEvent event, const char *log,
                                  uint32_t hop, int m)
{
    return desk_receipt(
        d, &(struct desk_statement){.event = event,
                                    .log = log,
                                    .hop = hop,
                                    .code = event == REFUSED ? ERR_BAD_COMMITMENT : ERR_OK,
                                    .m = m});
}

/* What LV.POLICE says is for itself; LT.POLICE lies further away. */
static void send_story(struct desk *d)
{
    int m;

    desk_note(d, "sent, accepted, relayed, delivered, opened");
    desk_up(d, "tallinn");
    m = desk_send_one(d, &(struct desk_mail){.to = {"LT.POLICE", "LV.POLICE"}});
    desk_pass(d, 20);
    desk_accept(d, 1, m);
    desk_pass(d, 20);
    desk_control(d, "tallinn", 11, said(d, ACCEPTED, "riga", 1, m));
    desk_control(d, "tallinn", 12, said(d, DELIVERED, "LV.POLICE", 0, m));
    desk_pass(d, 60000);
    desk_control(d, "tallinn", 13, said(d, OPENED, "LV.POLICE", 0, m));
    desk_control(d, "tallinn", 13, said(d, OPENED, "LV.POLICE", 0, m));
    desk_control(d, "tallinn", 14, said(d, DELIVERED, "LT.POLICE", 0, m));
}

static void receive_story(struct desk *d)
{
    int a = desk_mail(d, &(struct desk_mail){.sender = "EE.CUSTOMS", .to = {"EE.POLICE"}});
    int b = desk_mail(
        d, &(struct desk_mail){.sender = "EE.CUSTOMS", .to = {"EE.POLICE"}, .seq = 3, .after = a});
    const struct receipt *r = said(d, ACCEPTED, "tallinn", 0, a);

    desk_note(d, "received, the same again, opened, and its receipt acknowledged");
    desk_up(d, "tallinn");
    desk_incoming(d, "tallinn", a, &(struct desk_incoming){.tag = 1, .trail = {r}});
    desk_incoming(d, "tallinn", a, &(struct desk_incoming){.tag = 2, .trail = {r}});
    desk_pass(d, 3000);
    desk_open(d, 1);
    desk_open(d, 1);
    desk_wait(d, 10000);
    desk_ack(d, "tallinn", 1);
    desk_note(d, "one that came before it is missing");
    desk_deliver(d, "tallinn", b, 3);
}

static void refusal_story(struct desk *d)
{
    int a;
    int b;
    int twin;

    desk_note(d, "drafts that cannot be sent");
    desk_up(d, "tallinn");
    desk_send_one(d, &(struct desk_mail){.to = {"PL.POLICE"}});
    desk_send_one(d, &(struct desk_mail){.to = {"LV.POLICE"}, .level = SP__LEVEL__LEVEL_SECRET});
    desk_note(d, "the broker has no room, then refuses; the recipient refuses another one");
    a = desk_send_one(d, &(struct desk_mail){.to = {"LV.POLICE"}});
    desk_answer(d, "tallinn", 1, RETRY, ERR_DISK_FULL, NULL);
    desk_wait(d, 100);
    desk_answer(d, "tallinn", 1, NO, ERR_NO_ROUTE, said(d, REFUSED, "tallinn", 0, a));
    b = desk_send_one(d, &(struct desk_mail){.to = {"LV.POLICE"}});
    desk_accept(d, 2, b);
    desk_control(d, "tallinn", 5, said(d, REFUSED, "LV.POLICE", 0, b));
    desk_note(d, "we refuse: no trail, and other bytes under an id");
    a = desk_mail(d, &(struct desk_mail){.sender = "EE.CUSTOMS", .to = {"EE.POLICE"}});
    twin = desk_mail(
        d, &(struct desk_mail){.sender = "EE.CUSTOMS", .to = {"EE.POLICE"}, .same_id_as = a});
    desk_incoming(d, "tallinn", a, &(struct desk_incoming){.tag = 6});
    desk_deliver(d, "tallinn", a, 7);
    desk_deliver(d, "tallinn", twin, 8);
}

static void restart_story(struct desk *d)
{
    int m = desk_mail(d, &(struct desk_mail){.sender = "EE.CUSTOMS", .to = {"EE.POLICE"}});

    desk_note(d, "sent while nobody is there; restart; offered; restart; the same again");
    desk_send_one(d, &(struct desk_mail){.to = {"LV.POLICE"}});
    desk_restart(d);
    desk_up(d, "tallinn");
    desk_restart(d);
    desk_up(d, "tallinn");
    desk_accept(d, 1, 2);
    desk_note(d, "received; restart; opened; restart; the receipt goes on");
    desk_deliver(d, "tallinn", m, 1);
    desk_restart(d);
    desk_deliver(d, "tallinn", m, 1);
    desk_open(d, 2);
    desk_restart(d);
    desk_up(d, "tallinn");
    desk_ack(d, "tallinn", 1);
    desk_note(d, "the stream goes on where it was");
    desk_send_one(d, &(struct desk_mail){.to = {"LV.POLICE"}});
}

typedef void (*story)(struct desk *d);

static void check_story(const char *name, story play)
{
    struct desk *d = desk_new("EE.POLICE");

    play(d);
    desk_compare(d, name);
    desk_free(d);
}

Test(trace, send)
{
    check_story("send", send_story);
}

Test(trace, receive)
{
    check_story("receive", receive_story);
}

Test(trace, refusal)
{
    check_story("refusal", refusal_story);
}

Test(trace, restart)
{
    check_story("restart", restart_story);
}

/* With the core made anew after each step in turn, the state in the end is the same. */
static void check_restarts(story play)
{
    struct desk *plain = desk_new("EE.POLICE");
    int at = 0;
    int steps;

    play(plain);
    steps = plain->steps;
    cr_assert_geq(steps, 8);
    while (++at <= steps) {
        struct desk *d = desk_new("EE.POLICE");

        d->restart_at = at;
        d->quiet = true;
        play(d);
        cr_assert_gt(d->steps, steps, "no restart took place");
        cr_assert(memview_equal(plain->state, d->state), "other state with a restart at %d", at);
        desk_free(d);
    }
    desk_free(plain);
}

Test(trace, send_with_a_restart_at_every_point)
{
    check_restarts(send_story);
}

Test(trace, receive_with_a_restart_at_every_point)
{
    check_restarts(receive_story);
}

Test(trace, refusal_with_a_restart_at_every_point)
{
    check_restarts(refusal_story);
}
