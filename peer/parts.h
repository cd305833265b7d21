/* Transfers that wait for their large parts, and large parts that next hops may fetch. Belongs to
 * the commit thread. */
#ifndef SEALPOST_PEER_PARTS_H
#define SEALPOST_PEER_PARTS_H

#include "common/partfile.h"
#include "peer/inbound.h"
#include "proto/partflow.h"

#include <stdbool.h>

#define PARKED_MAX 512                    /* transfers that wait */
#define PARKED_OF_PEER_MAX 128            /* of them, of one peer */
#define PARKED_BYTES_MAX (64 * LIMIT_MIB) /* of envelopes, in memory */

struct parts;
/* Borrows `dir`. */
enum err parts_new(struct part_dir *dir, struct parts **ret);
/* Accepts NULL. */
void parts_free(struct parts *p);
/* Before anything else is asked of it; borrowed. */
void parts_bind(struct parts *p, struct partflow *flow);

/* Bytes of the parcel's parts that are not here; 0: it is complete. */
uint64_t parts_missing(const struct parts *p, const struct parcel *parcel);

/* Takes over the parcel and asks `peer` for what is missing. The same envelope of the same peer
 * replaces the one that waits. ERR_UNAVAILABLE at a bound: the caller keeps the parcel. */
enum err parts_park(struct parts *p, const char *peer, struct parcel *parcel);
/* Part `sha256` has come (ERR_OK), or cannot be had. */
void parts_came(struct parts *p, const struct digest *sha256, enum err result);
/* The next parcel that waits no longer, the caller's from now on: complete (`result` ERR_OK) or
 * not to be had. False when there is none. */
bool parts_next(struct parts *p, char peer[LIMIT_PEER], struct parcel **parcel, enum err *result);
/* Forgets what waits for this peer and what it may fetch: it will send and ask again. */
void parts_peer_down(struct parts *p, const char *peer);
size_t parts_parked(const struct parts *p);

/* Lets `peer` fetch the file parts of the envelope that it is sent as `number`. */
enum err parts_offer(struct parts *p, const char *peer, uint64_t number, const struct envelope *e,
                     const Sp__Transfer *wire);
/* `peer` has answered `number`. */
void parts_withdraw(struct parts *p, const char *peer, uint64_t number);

#endif
