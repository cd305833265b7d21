/* Golden traces of the core. After a change that is meant: SEALPOST_GOLDEN=write, then read the
 * difference as a reviewer would. */
#include "tests/lib/leaks.h"
#include "tests/unit/broker/stage.h"

#include <criterion/criterion.h>

TestSuite(trace, .fini = leaks_check);

#define ACCEPTED SP__AUDIT_EVENT__AUDIT_EVENT_ACCEPTED
#define DELIVERED SP__AUDIT_EVENT__AUDIT_EVENT_DELIVERED
#define OPENED SP__AUDIT_EVENT__AUDIT_EVENT_OPENED
#define REFUSED SP__AUDIT_EVENT__AUDIT_EVENT_REFUSED
#define EXPIRED SP__AUDIT_EVENT__AUDIT_EVENT_EXPIRED
#define COMMITTED SP__OUTCOME__OUTCOME_COMMITTED
#define NO SP__OUTCOME__OUTCOME_REFUSED
#define RETRY SP__OUTCOME__OUTCOME_RETRY

Test(trace, relay)
{
    struct stage s;
    int m;

    stage_init(&s, "tallinn");
    stage_note(&s, "tallinn, home of the sender: accept, relay, receipts back");
    stage_trust(&s);
    stage_up(&s, "EE.POLICE");
    stage_up(&s, "riga");
    m = stage_mail(&s,
                   &(struct stage_mail){.sender = "EE.POLICE", .to = {"LT.POLICE", "LV.POLICE"}});
    stage_pass(&s, 5);
    stage_submit(&s, "EE.POLICE", m);
    stage_pass(&s, 20);
    stage_answer(
        &s, "riga", 1, COMMITTED, ERR_OK,
        stage_receipt(&s,
                      &(struct stage_statement){
                          ACCEPTED, "riga", {"LT.POLICE", "LV.POLICE"}, "tallinn", 1, ERR_OK, m}));
    stage_ack(&s, "EE.POLICE", 1);
    stage_pass(&s, 20);
    stage_control(
        &s, "riga", "EE.POLICE", 31,
        stage_receipt(&s, &(struct stage_statement){
                              DELIVERED, "LV.POLICE", {"LV.POLICE"}, "riga", 2, ERR_OK, m}));
    stage_control(&s, "riga", "EE.POLICE", 32,
                  stage_receipt(&s, &(struct stage_statement){
                                        ACCEPTED, "vilnius", {"LT.POLICE"}, "riga", 2, ERR_OK, m}));
    stage_control(&s, "riga", "EE.POLICE", 33,
                  stage_receipt(&s, &(struct stage_statement){
                                        OPENED, "LV.POLICE", {"LV.POLICE"}, "", 2, ERR_OK, m}));
    stage_ack(&s, "EE.POLICE", 2);
    stage_ack(&s, "EE.POLICE", 3);
    stage_ack(&s, "EE.POLICE", 4);
    stage_control(
        &s, "riga", "EE.POLICE", 34,
        stage_receipt(&s, &(struct stage_statement){
                              REFUSED, "vilnius", {"LT.POLICE"}, "", 2, ERR_NO_ROUTE, m}));
    stage_ack(&s, "EE.POLICE", 5);
    stage_compare(&s, "relay");
    stage_fini(&s);
}

Test(trace, middle)
{
    struct stage s;
    const struct receipt *home;
    int m;

    stage_init(&s, "riga");
    stage_note(&s, "riga, between: a copy for two goes on to one agency here and one beyond");
    stage_trust(&s);
    stage_up(&s, "tallinn");
    stage_up(&s, "vilnius");
    stage_up(&s, "LV.POLICE");
    m = stage_mail(&s, &(struct stage_mail){.sender = "EE.POLICE",
                                            .to = {"EE.CUSTOMS", "LT.POLICE", "LV.POLICE"}});
    home = stage_receipt(&s, &(struct stage_statement){ACCEPTED,
                                                       "tallinn",
                                                       {"EE.CUSTOMS", "LT.POLICE", "LV.POLICE"},
                                                       "EE.POLICE",
                                                       0,
                                                       ERR_OK,
                                                       m});
    stage_pass(&s, 10);
    stage_transfer(
        &s, "tallinn", m,
        &(struct stage_transfer){.tag = 7, .trail = {home}, .to = {"LT.POLICE", "LV.POLICE"}});
    stage_answer(
        &s, "LV.POLICE", 1, COMMITTED, ERR_OK,
        stage_receipt(&s, &(struct stage_statement){
                              DELIVERED, "LV.POLICE", {"LV.POLICE"}, "riga", 2, ERR_OK, m}));
    stage_answer(&s, "vilnius", 1, COMMITTED, ERR_OK,
                 stage_receipt(&s, &(struct stage_statement){
                                       ACCEPTED, "vilnius", {"LT.POLICE"}, "riga", 2, ERR_OK, m}));
    stage_note(&s, "the same bytes from the same peer have the first answer");
    stage_transfer(
        &s, "tallinn", m,
        &(struct stage_transfer){.tag = 7, .trail = {home}, .to = {"LT.POLICE", "LV.POLICE"}});
    stage_note(&s, "vilnius gives it up: its statement passes");
    stage_control(&s, "vilnius", "EE.POLICE", 90,
                  stage_receipt(&s, &(struct stage_statement){
                                        EXPIRED, "vilnius", {"LT.POLICE"}, "", 2, ERR_EXPIRED, m}));
    stage_compare(&s, "middle");
    stage_fini(&s);
}

Test(trace, unroutable)
{
    struct stage s;
    const struct receipt *home;
    int m;

    stage_init(&s, "riga");
    stage_note(&s,
               "riga ends for itself what it cannot pass on: LT.CUSTOMS may not have this level");
    stage_up(&s, "tallinn");
    stage_up(&s, "vilnius");
    m = stage_mail(&s, &(struct stage_mail){.sender = "EE.POLICE",
                                            .to = {"LT.CUSTOMS", "LT.POLICE"},
                                            .level = SP__LEVEL__LEVEL_CONFIDENTIAL});
    home = stage_receipt(
        &s, &(struct stage_statement){
                ACCEPTED, "tallinn", {"LT.CUSTOMS", "LT.POLICE"}, "EE.POLICE", 0, ERR_OK, m});
    stage_transfer(&s, "tallinn", m, &(struct stage_transfer){.tag = 7, .trail = {home}});
    stage_compare(&s, "unroutable");
    stage_fini(&s);
}

Test(trace, direct)
{
    struct stage s;
    int m;

    stage_init(&s, "tallinn");
    stage_note(&s, "tallinn is the home of both; the recipient comes later");
    stage_up(&s, "EE.POLICE");
    m = stage_mail(&s, &(struct stage_mail){.sender = "EE.POLICE", .to = {"EE.CUSTOMS"}});
    stage_submit(&s, "EE.POLICE", m);
    stage_pass(&s, 60000);
    stage_up(&s, "EE.CUSTOMS");
    stage_answer(
        &s, "EE.CUSTOMS", 1, COMMITTED, ERR_OK,
        stage_receipt(&s, &(struct stage_statement){
                              DELIVERED, "EE.CUSTOMS", {"EE.CUSTOMS"}, "tallinn", 1, ERR_OK, m}));
    stage_ack(&s, "EE.POLICE", 1);
    stage_note(&s, "opened, and the receipt twice: the second has no effect but is acknowledged");
    for (int i = 0; i < 2; i++)
        stage_control(
            &s, "EE.CUSTOMS", "EE.POLICE", 5,
            stage_receipt(&s, &(struct stage_statement){
                                  OPENED, "EE.CUSTOMS", {"EE.CUSTOMS"}, "", 1, ERR_OK, m}));
    stage_note(&s, "the recipient refuses another one");
    m = stage_mail(&s, &(struct stage_mail){.sender = "EE.POLICE", .to = {"EE.CUSTOMS"}});
    stage_submit(&s, "EE.POLICE", m);
    stage_answer(&s, "EE.CUSTOMS", 2, NO, ERR_BAD_COMMITMENT, NULL);
    stage_compare(&s, "direct");
    stage_fini(&s);
}

Test(trace, retry)
{
    struct stage s;
    int m[3];

    stage_init(&s, "tallinn");
    s.options.retry_ms_max = 1000;
    stage_restart(&s);
    stage_note(&s, "answers that ask to repeat: back-off, the same number again");
    stage_up(&s, "riga");
    for (int i = 0; i < 3; i++)
        m[i] = stage_mail(&s, &(struct stage_mail){.sender = "EE.POLICE", .to = {"LV.POLICE"}});
    stage_submit(&s, "EE.POLICE", m[0]);
    stage_answer(&s, "riga", 1, RETRY, ERR_CLOCK, NULL);
    stage_note(&s, "about this one only: the others go on");
    stage_submit(&s, "EE.POLICE", m[1]);
    stage_wait(&s, 100);
    stage_answer(&s, "riga", 1, RETRY, ERR_CLOCK, NULL);
    stage_wait(&s, 100);
    stage_wait(&s, 100);
    stage_note(&s, "documents are missing there: they go along");
    stage_answer(&s, "riga", 1, RETRY, ERR_NEED_DOCUMENTS, NULL);
    stage_wait(&s, 400);
    stage_note(&s, "about the peer: nothing is sent to it until the pause ends");
    stage_answer(&s, "riga", 2, RETRY, ERR_DISK_FULL, NULL);
    stage_submit(&s, "EE.POLICE", m[2]);
    stage_wait(&s, 50);
    stage_wait(&s, 50);
    stage_note(&s, "no answer at all");
    stage_wait(&s, 10000);
    stage_note(&s, "committed, but without a proof that holds: custody stays");
    stage_answer(&s, "riga", 1, COMMITTED, ERR_OK, NULL);
    stage_answer(
        &s, "riga", 2, COMMITTED, ERR_OK,
        stage_receipt(&s, &(struct stage_statement){
                              ACCEPTED, "vilnius", {"LV.POLICE"}, "tallinn", 1, ERR_OK, m[1]}));
    stage_answer(
        &s, "riga", 3, COMMITTED, ERR_OK,
        stage_receipt(&s, &(struct stage_statement){
                              ACCEPTED, "riga", {"LV.POLICE"}, "tallinn", 1, ERR_OK, m[1]}));
    stage_compare(&s, "retry");
    stage_fini(&s);
}

Test(trace, order)
{
    struct stage s;
    int m;

    stage_init(&s, "tallinn");
    s.options.in_flight_max = 3;
    stage_restart(&s);
    stage_note(&s, "urgent before normal, else in order; a window of three");
    for (int i = 0; i < 5; i++) {
        m = stage_mail(&s,
                       &(struct stage_mail){.sender = "EE.POLICE",
                                            .to = {"LV.POLICE"},
                                            .urgency = i == 3 ? SP__URGENCY__URGENCY_URGENT : 0});
        stage_submit(&s, "EE.POLICE", m);
    }
    stage_up(&s, "riga");
    stage_note(&s, "the connection is lost: sent again in the same order");
    stage_down(&s, "riga");
    stage_up(&s, "riga");
    stage_note(&s, "a restart: the same again");
    stage_restart(&s);
    stage_up(&s, "riga");
    stage_compare(&s, "order");
    stage_fini(&s);
}

Test(trace, expiry)
{
    struct stage s;
    int m;

    stage_init(&s, "tallinn");
    stage_note(&s, "never offered: the broker ends it and says so");
    stage_up(&s, "EE.POLICE");
    m = stage_mail(
        &s, &(struct stage_mail){.sender = "EE.POLICE", .to = {"EE.CUSTOMS"}, .lives_ms = 60000});
    stage_submit(&s, "EE.POLICE", m);
    stage_wait(&s, 59999);
    stage_wait(&s, 1);
    stage_note(&s, "offered and not answered: in doubt, only the hop can end it");
    stage_up(&s, "EE.CUSTOMS");
    m = stage_mail(
        &s, &(struct stage_mail){.sender = "EE.POLICE", .to = {"EE.CUSTOMS"}, .lives_ms = 60000});
    stage_submit(&s, "EE.POLICE", m);
    stage_down(&s, "EE.CUSTOMS");
    stage_wait(&s, 60000);
    stage_wait(&s, 3600000);
    stage_up(&s, "EE.CUSTOMS");
    stage_answer(&s, "EE.CUSTOMS", 2, NO, ERR_EXPIRED, NULL);
    stage_compare(&s, "expiry");
    stage_fini(&s);
}

Test(trace, parts)
{
    struct stage s;
    int m;

    stage_init(&s, "tallinn");
    s.options.keep_ms = 3600000;
    stage_restart(&s);
    stage_note(&s, "a part that does not travel beside its envelope is fetched first");
    stage_up(&s, "EE.CUSTOMS");
    m = stage_mail(&s,
                   &(struct stage_mail){.sender = "EE.POLICE", .to = {"EE.CUSTOMS"}, .file = true});
    stage_transfer(&s, "EE.POLICE", m, &(struct stage_transfer){.tag = 1, .incomplete = true});
    stage_transfer(&s, "EE.POLICE", m, &(struct stage_transfer){.tag = 1});
    stage_answer(
        &s, "EE.CUSTOMS", 1, COMMITTED, ERR_OK,
        stage_receipt(&s, &(struct stage_statement){
                              DELIVERED, "EE.CUSTOMS", {"EE.CUSTOMS"}, "tallinn", 1, ERR_OK, m}));
    stage_note(&s, "forgotten after its time, and the file with it");
    stage_wait(&s, 3599999);
    stage_wait(&s, 60001);
    stage_compare(&s, "parts");
    stage_fini(&s);
}

Test(trace, documents)
{
    struct stage s;

    stage_init(&s, "tallinn");
    stage_note(&s, "news of an agency are stored, logged and passed on");
    stage_up(&s, "EE.POLICE");
    stage_up(&s, "riga");
    stage_documents(&s, "EE.POLICE", "EE.POLICE", true);
    stage_documents(&s, "riga", "EE.POLICE", false);
    stage_note(&s, "a directory is logged once");
    stage_trust(&s);
    stage_trust(&s);
    cr_assert_eq(federation_edit(s.federation, NULL, NULL), ERR_OK);
    stage_trust(&s);
    stage_compare(&s, "documents");
    stage_fini(&s);
}
