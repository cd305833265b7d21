/* Real brokers as processes, and agencies played by the test over the real transport. Envelopes and
 * receipts come from a stage whose clock stands at the machine's time. */
#ifndef SEALPOST_TESTS_UNIT_BROKER_PUPPET_H
#define SEALPOST_TESTS_UNIT_BROKER_PUPPET_H

#include "common/net.h"
#include "proto/pb.h"
#include "tests/unit/broker/stage.h"

#include "wire.pb-c.h"

#include <sys/types.h>

#define PUPPET_WAIT_MS 30000
#define CITY_BROKERS 3

/* A folder with a federation and the brokers' configurations. */
struct city {
    struct stage stage;
    char dir[64];
    uint16_t ports[CITY_BROKERS]; /* as federation_broker orders them: tallinn, riga, vilnius */
    pid_t pids[CITY_BROKERS];
};

/* `more` is appended to each configuration file; may be "". */
void city_init(struct city *c, const char *more);
void city_fini(struct city *c);
/* Writes the federation folder again, as it is now. */
void city_publish(struct city *c);
/* Starts a broker and waits until it says that it is ready. */
void city_start(struct city *c, const char *broker);
/* SIGTERM; gives the exit code. */
int city_stop(struct city *c, const char *broker);
void city_kill(struct city *c, const char *broker);
/* Runs the program to its end; gives the exit code. `out` may be NULL. */
int city_run(struct city *c, const char *arguments, char *out, size_t size);
/* True when the broker's log has this text. */
bool city_log_has(struct city *c, const char *broker, const char *text);
void city_await_log(struct city *c, const char *broker, const char *text);

/* An agency that says what the test lets it say. */
struct puppet {
    struct city *city;
    struct federation_agency *agency;
    const char *broker;
    struct net *net;
    struct pb *frames[64]; /* received and not looked at */
    size_t n_frames;
    bool up;
};
/* Connects to its home and waits until the connection stands. */
void puppet_init(struct puppet *p, struct city *c, const char *agency);
void puppet_fini(struct puppet *p);
void puppet_send(struct puppet *p, const Sp__Frame *frame);
void puppet_send_bytes(struct puppet *p, struct span bytes);
/* Lets time pass for the transport. */
void puppet_turn(struct puppet *p);
/* Waits for the connection to end. */
void puppet_await_down(struct puppet *p);

/* A copy of the next thing of this kind; waits, and fails the test when it does not come. What
 * stands in frames beside it is dropped, other frames are kept for the next question. The frame is
 * the caller's: pb_free. */
const Sp__Answer *puppet_answer(struct puppet *p, uint64_t tag, struct pb **frame);
const Sp__Transfer *puppet_transfer(struct puppet *p, struct pb **frame);
const Sp__Control *puppet_control(struct puppet *p, Sp__AuditEvent event, struct pb **frame);
const Sp__Frame *puppet_frame(struct puppet *p, bool (*is_it)(const Sp__Frame *f),
                              struct pb **frame);
/* True when nothing of this kind comes for `ms`. */
bool puppet_is_quiet(struct puppet *p, bool (*is_it)(const Sp__Frame *f), uint64_t ms);

/* Submits message `m` of the stage; tag is the number. */
void puppet_submit(struct puppet *p, int m);
/* Answers a transfer: delivered, with the receipt of the agency's log. */
void puppet_deliver(struct puppet *p, uint64_t tag, int m, uint32_t hop);
/* The receipt holds under the key of its log, and is this event about message `m`. */
void puppet_check_receipt(struct puppet *p, ProtobufCBinaryData bytes, Sp__AuditEvent event,
                          const char *log, int m);

#endif
