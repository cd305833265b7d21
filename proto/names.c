#include "proto/names.h"

#include "audit.pb-c.h"
#include "content.pb-c.h"
#include "envelope.pb-c.h"

#include <stddef.h>
#include <string.h>

struct name {
    int value;
    const char *word;
};

#define NAME_LISTS (NAME_STATE + 1)
#define NAMES_MAX 16

/* Each list ends with a NULL word. */
static const struct name names[NAME_LISTS][NAMES_MAX] = {
    [NAME_KIND] = {{SP__KIND__KIND_REQUEST, "request"},
                   {SP__KIND__KIND_ANSWER, "answer"},
                   {SP__KIND__KIND_INFORMATION, "information"},
                   {SP__KIND__KIND_CLARIFICATION_ASK, "clarification-ask"},
                   {SP__KIND__KIND_CLARIFICATION_REPLY, "clarification-reply"},
                   {SP__KIND__KIND_DELAY_NOTICE, "delay-notice"},
                   {SP__KIND__KIND_REFUSAL, "refusal"},
                   {SP__KIND__KIND_RELEASE_ASK, "release-ask"},
                   {SP__KIND__KIND_RELEASE_DENY, "release-deny"},
                   {SP__KIND__KIND_ALERT, "alert"},
                   {SP__KIND__KIND_ALERT_CANCEL, "alert-cancel"},
                   {SP__KIND__KIND_FEEDBACK, "feedback"}},
    [NAME_COMPLETENESS] = {{SP__COMPLETENESS__COMPLETENESS_FULL, "full"},
                           {SP__COMPLETENESS__COMPLETENESS_PARTIAL, "partial"},
                           {SP__COMPLETENESS__COMPLETENESS_NONE, "none"}},
    [NAME_LEVEL] = {{SP__LEVEL__LEVEL_PUBLIC, "PUBLIC"},
                    {SP__LEVEL__LEVEL_BPL, "BPL"},
                    {SP__LEVEL__LEVEL_RESTRICTED, "RESTRICTED"},
                    {SP__LEVEL__LEVEL_CONFIDENTIAL, "CONFIDENTIAL"},
                    {SP__LEVEL__LEVEL_SECRET, "SECRET"}},
    [NAME_URGENCY] = {{SP__URGENCY__URGENCY_NORMAL, "normal"},
                      {SP__URGENCY__URGENCY_URGENT, "urgent"},
                      {SP__URGENCY__URGENCY_URGENT_DIRECT, "urgent-direct"}},
    [NAME_EVENT] = {{SP__AUDIT_EVENT__AUDIT_EVENT_SUBMITTED, "submitted"},
                    {SP__AUDIT_EVENT__AUDIT_EVENT_ACCEPTED, "accepted"},
                    {SP__AUDIT_EVENT__AUDIT_EVENT_RELAYED, "relayed"},
                    {SP__AUDIT_EVENT__AUDIT_EVENT_DELIVERED, "delivered"},
                    {SP__AUDIT_EVENT__AUDIT_EVENT_OPENED, "opened"},
                    {SP__AUDIT_EVENT__AUDIT_EVENT_REFUSED, "refused"},
                    {SP__AUDIT_EVENT__AUDIT_EVENT_EXPIRED, "expired"},
                    {SP__AUDIT_EVENT__AUDIT_EVENT_RELEASED, "released"},
                    {SP__AUDIT_EVENT__AUDIT_EVENT_RECALLED, "recalled"},
                    {SP__AUDIT_EVENT__AUDIT_EVENT_EXPORTED, "exported"},
                    {SP__AUDIT_EVENT__AUDIT_EVENT_STATEMENT, "statement"},
                    {SP__AUDIT_EVENT__AUDIT_EVENT_DIRECTORY, "directory"},
                    {SP__AUDIT_EVENT__AUDIT_EVENT_ADMINISTRATIVE, "administrative"},
                    {SP__AUDIT_EVENT__AUDIT_EVENT_SUMMARY, "summary"}},
    [NAME_STATE] = {{STATE_QUEUED, "queued"},
                    {STATE_ACCEPTED, "accepted"},
                    {STATE_RELAYED, "relayed"},
                    {STATE_DELIVERED, "delivered"},
                    {STATE_OPENED, "opened"},
                    {STATE_REFUSED, "refused"},
                    {STATE_EXPIRED, "expired"},
                    {STATE_RECALLED, "recalled"},
                    {STATE_UNRESOLVED, "unresolved"}},
};

static const char *const words[NAME_LISTS] = {
    [NAME_KIND] = "request answer information clarification-ask clarification-reply delay-notice "
                  "refusal release-ask release-deny alert alert-cancel feedback",
    [NAME_COMPLETENESS] = "full partial none",
    [NAME_LEVEL] = "PUBLIC BPL RESTRICTED CONFIDENTIAL SECRET",
    [NAME_URGENCY] = "normal urgent urgent-direct",
    [NAME_EVENT] = "submitted accepted relayed delivered opened refused expired released recalled "
                   "exported statement directory administrative summary",
    [NAME_STATE] = "queued accepted relayed delivered opened refused expired recalled unresolved",
};

const char *name_of(enum name_list list, int value)
{
    for (const struct name *n = names[list]; n->word != NULL; n++) {
        if (n->value == value)
            return n->word;
    }
    return NULL;
}

enum err name_parse(enum name_list list, const char *word, int *ret)
{
    for (const struct name *n = names[list]; n->word != NULL; n++) {
        if (strcmp(n->word, word) == 0) {
            *ret = n->value;
            return ERR_OK;
        }
    }
    return ERR_USAGE;
}

const char *name_words(enum name_list list)
{
    return words[list];
}

bool name_is_evaluation(const char *text)
{
    return strlen(text) == 2 && strchr("ABCX", text[0]) != NULL && strchr("1234", text[1]) != NULL;
}
