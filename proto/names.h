/* The words of the schemas as people type and read them. Every list is closed: an unknown word is
 * ERR_USAGE, so that the caller can say which words there are. */
#ifndef SEALPOST_PROTO_NAMES_H
#define SEALPOST_PROTO_NAMES_H

#include "common/err.h"

#include <stdbool.h>

/* Kinds of words. `value` is the number in the schema. */
enum name_list {
    NAME_KIND,         /* request answer information ... */
    NAME_COMPLETENESS, /* full partial none */
    NAME_LEVEL,        /* PUBLIC BPL RESTRICTED CONFIDENTIAL SECRET */
    NAME_URGENCY,      /* normal urgent urgent-direct */
    NAME_EVENT,        /* submitted accepted relayed delivered opened refused ... */
    NAME_STATE,        /* transport states, see enum transport_state */
};

/* State of one recipient, in the order of advance. */
enum transport_state {
    STATE_QUEUED = 1,
    STATE_ACCEPTED,
    STATE_RELAYED,
    STATE_DELIVERED,
    STATE_OPENED,
    STATE_REFUSED,
    STATE_EXPIRED,
    STATE_RECALLED,
    STATE_UNRESOLVED,
};

/* The word for `value`; NULL when the list has none, as for 0 (unspecified). */
const char *name_of(enum name_list list, int value);
/* The value of `word`; ERR_USAGE when unknown. */
enum err name_parse(enum name_list list, const char *word, int *ret);
/* All words of a list, separated by one space, for help texts. */
const char *name_words(enum name_list list);
/* True for a 4x4 evaluation: source A B C X, information 1 2 3 4. */
bool name_is_evaluation(const char *text);

#endif
