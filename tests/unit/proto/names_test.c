#include "proto/names.h"

#include "tests/lib/leaks.h"

#include "audit.pb-c.h"
#include "content.pb-c.h"
#include "envelope.pb-c.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

TestSuite(names, .fini = leaks_check);

#define WORD_SIZE 64

static const enum name_list lists[] = {NAME_KIND,    NAME_COMPLETENESS, NAME_LEVEL,
                                       NAME_URGENCY, NAME_EVENT,        NAME_STATE};

/* Walks the words of a list; checks each and gives their number. */
static size_t count_words(enum name_list list)
{
    const char *at = name_words(list);
    size_t n = 0;

    while (*at != '\0') {
        char word[WORD_SIZE];
        int value = 0;

        cr_assert_eq(sscanf(at, "%63s", word), 1);
        cr_assert_eq(name_parse(list, word, &value), ERR_OK, "%s", word);
        cr_assert_str_eq(name_of(list, value), word);
        n++;
        at += strlen(word);
        cr_assert(*at == '\0' || (*at == ' ' && at[1] != '\0'));
        at += *at == ' ';
    }
    return n;
}

/* The schema's KIND_RELEASE_ASK as the word release-ask. */
static void word_of(const ProtobufCEnumDescriptor *d, unsigned i, bool upper, char out[WORD_SIZE])
{
    /* The zero is PREFIX_UNSPECIFIED. */
    size_t prefix = strlen(d->values[0].name) - strlen("UNSPECIFIED");
    const char *name = d->values[i].name + prefix;

    for (; *name != '\0'; name++)
        *out++ = *name == '_' ? '-' : upper ? *name : (char)tolower(*name);
    *out = '\0';
}

Test(names, has_every_value_of_the_schemas_and_no_other)
{
    static const struct {
        enum name_list list;
        const ProtobufCEnumDescriptor *descriptor;
    } enums[] = {
        {NAME_KIND, &sp__kind__descriptor},
        {NAME_COMPLETENESS, &sp__completeness__descriptor},
        {NAME_LEVEL, &sp__level__descriptor},
        {NAME_URGENCY, &sp__urgency__descriptor},
        {NAME_EVENT, &sp__audit_event__descriptor},
    };

    for (size_t i = 0; i < sizeof(enums) / sizeof(enums[0]); i++) {
        const ProtobufCEnumDescriptor *d = enums[i].descriptor;

        cr_assert_eq(count_words(enums[i].list), d->n_values - 1, "%s", d->name);
        for (unsigned v = 1; v < d->n_values; v++) {
            char word[WORD_SIZE];

            word_of(d, v, enums[i].list == NAME_LEVEL, word);
            cr_assert_str_eq(name_of(enums[i].list, d->values[v].value), word);
        }
    }
}

Test(names, has_every_transport_state_in_order_of_advance)
{
    cr_assert_eq(count_words(NAME_STATE), STATE_UNRESOLVED);
    cr_assert_str_eq(name_words(NAME_STATE), "queued accepted relayed delivered opened refused "
                                             "expired recalled unresolved");
    cr_assert_str_eq(name_of(NAME_STATE, STATE_QUEUED), "queued");
    cr_assert_str_eq(name_of(NAME_STATE, STATE_UNRESOLVED), "unresolved");
}

Test(names, refuses_words_and_values_outside_a_list)
{
    static const char *const wrong[] = {"",        "Request",       "bpl",         " normal",
                                        "normal ", "urgent_direct", "unspecified", "nothing"};

    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        int value = -7;

        for (size_t k = 0; k < sizeof(wrong) / sizeof(wrong[0]); k++)
            cr_assert_eq(name_parse(lists[i], wrong[k], &value), ERR_USAGE);
        cr_assert_eq(value, -7);
        cr_assert_null(name_of(lists[i], 0));
        cr_assert_null(name_of(lists[i], -1));
        cr_assert_null(name_of(lists[i], 100));
    }
}

Test(names, knows_the_sixteen_evaluations)
{
    size_t n = 0;

    for (int a = 1; a < 128; a++) {
        for (int b = 1; b < 128; b++) {
            char text[] = {(char)a, (char)b, '\0'};

            n += name_is_evaluation(text);
        }
    }
    cr_assert_eq(n, 16);
    cr_assert(name_is_evaluation("A1"));
    cr_assert(name_is_evaluation("X4"));
    cr_assert_not(name_is_evaluation(""));
    cr_assert_not(name_is_evaluation("A"));
    cr_assert_not(name_is_evaluation("A11"));
    cr_assert_not(name_is_evaluation("1A"));
}
