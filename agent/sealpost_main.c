#include "agent/cli_common.h"
#include "common/limits.h"

static const char *const kinds[] = {
    "request",      "answer",   "information", "clarification-ask", "clarification-reply",
    "delay-notice", "refusal",  "release-ask", "release-deny",      "alert",
    "alert-cancel", "feedback", NULL};
static const char *const levels[] = {"PUBLIC", "BPL", "RESTRICTED", "CONFIDENTIAL", "SECRET", NULL};
static const char *const urgencies[] = {"normal", "urgent", "urgent-direct", NULL};
static const char *const completeness[] = {"full", "partial", "none", NULL};
static const char *const waits[] = {"accepted", "delivered", NULL};
static const char *const boxes[] = {"in", "out", "all", NULL};
static const char *const states[] = {"queued",  "accepted", "relayed",  "delivered",  "opened",
                                     "refused", "expired",  "recalled", "unresolved", NULL};

static const struct cli_option global_options[] = {
    {.name = "agent",
     .argument = "SOCKET",
     .help = "socket of the agent (SEALPOST_AGENT; default " AGENT_SOCKET_DEFAULT ")"},
    {.name = "json", .help = "print facts and errors as JSON"},
    {.name = NULL},
};

#define DRAFT_OPTIONS                                                                             \
    {.name = "text", .argument = "TEXT", .help = "the message"},                                  \
        {.name = "text-file", .argument = "FILE", .help = "read the message; - is stdin"},        \
        {.name = "handling",                                                                      \
         .argument = "CODES",                                                                     \
         .help = "handling codes, H0 (default) or any of H1,H2,H3",                               \
         .repeat = true},                                                                         \
        {.name = "handling-text", .argument = "TEXT", .help = "the restriction, with H3"},        \
        {.name = "level",                                                                         \
         .argument = "LEVEL",                                                                     \
         .help = "protection level (default BPL)",                                                \
         .words = levels},                                                                        \
        {.name = "urgency",                                                                       \
         .argument = "URGENCY",                                                                   \
         .help = "how soon an answer is due (default normal)",                                    \
         .words = urgencies},                                                                     \
        {.name = "ground", .argument = "TEXT", .help = "why it is urgent; needed when it is"},    \
        {.name = "evaluation", .argument = "A1", .help = "4x4: source A B C X, then 1 2 3 4"},    \
        {.name = "completeness",                                                                  \
         .argument = "WORD",                                                                      \
         .help = "of an answer (default full)",                                                   \
         .words = completeness},                                                                  \
        {.name = "case", .argument = "CASE", .help = "case that it belongs to"},                  \
        {.name = "entity",                                                                        \
         .argument = "FILE",                                                                      \
         .help = "a person, vehicle or other entity as JSON",                                     \
         .repeat = true},                                                                         \
        {.name = "attach", .argument = "FILE", .help = "attach a file", .repeat = true},          \
        {.name = "expires", .argument = "SPAN", .help = "give up after (default and most 14d)"},  \
        {.name = "id", .argument = "UUID", .help = "id of the message, to repeat a send safely"}, \
        {.name = "wait",                                                                          \
         .argument = "STATE",                                                                     \
         .help = "wait until every recipient is there",                                           \
         .words = waits},                                                                         \
    {                                                                                             \
        .name = "timeout", .argument = "SPAN", .help = "how long to wait (default 30s)"           \
    }

static const struct cli_option send_options[] = {
    {.name = "to",
     .argument = "AGENCY",
     .help = "recipients, with commas or given again",
     .repeat = true,
     .required = true},
    {.name = "kind",
     .argument = "KIND",
     .help = "what kind of message",
     .required = true,
     .words = kinds},
    {.name = "subject", .argument = "TEXT", .help = "subject", .required = true},
    DRAFT_OPTIONS,
    {.name = NULL},
};

static const struct cli_option reply_options[] = {
    {.name = "to",
     .argument = "AGENCY",
     .help = "recipients (default: the sender)",
     .repeat = true},
    {.name = "kind",
     .argument = "KIND",
     .help = "what kind of message (default answer)",
     .words = kinds},
    {.name = "subject", .argument = "TEXT", .help = "subject (default: Re: and the original's)"},
    DRAFT_OPTIONS,
    {.name = NULL},
};

static const struct cli_option list_options[] = {
    {.name = "box", .argument = "BOX", .help = "received, sent, or all (default)", .words = boxes},
    {.name = "case", .argument = "CASE", .help = "only of this case"},
    {.name = "state", .argument = "STATE", .help = "only in this state", .words = states},
    {.name = "since", .argument = "TIME", .help = "RFC 3339 time, or a span such as 2h"},
    {.name = "limit", .argument = "N", .help = "at most N messages (default 100)"},
    {.name = NULL},
};

static const struct cli_option save_options[] = {
    {.name = "to", .argument = "DIR", .help = "folder to save into", .required = true},
    {.name = "part", .argument = "N", .help = "only part N; 0 is the text"},
    {.name = NULL},
};

static const struct cli_option prove_options[] = {
    {.name = "to", .argument = "FILE", .help = "file for the evidence", .required = true},
    {.name = "disclose", .help = "put the key in that opens the content"},
    {.name = NULL},
};

static const struct cli_command commands[] = {
    {.name = "send",
     .help = "send a message",
     .more = "Prints the new message's id. Without --wait it ends as soon as the agent has the "
             "message on its disk; with it, 0 says that all recipients have it, 1 that one was "
             "refused, 6 that the time ran out.",
     .options = send_options,
     .run = cmd_send},
    {.name = "reply",
     .operands = "ID",
     .operands_min = 1,
     .operands_max = 1,
     .help = "answer a message; takes its sender, case and subject",
     .options = reply_options,
     .run = cmd_reply},
    {.name = "list",
     .help = "list messages, the newest first; opens none",
     .options = list_options,
     .run = cmd_list},
    {.name = "show",
     .operands = "ID",
     .operands_min = 1,
     .operands_max = 1,
     .help = "open a message",
     .more = "The first time that a received message is opened its sender gets a receipt.",
     .run = cmd_show},
    {.name = "save",
     .operands = "ID",
     .operands_min = 1,
     .operands_max = 1,
     .help = "save the attachments of a message, or with --part 0 its text; overwrites nothing",
     .options = save_options,
     .run = cmd_save},
    {.name = "receipts",
     .operands = "ID",
     .operands_min = 1,
     .operands_max = 1,
     .help = "list the receipts of a message, each checked",
     .run = cmd_receipts},
    {.name = "prove",
     .operands = "ID",
     .operands_min = 1,
     .operands_max = 1,
     .help = "write evidence that anybody can check with the federation's root alone",
     .options = prove_options,
     .run = cmd_prove},
    {.name = "status", .help = "state of the agent, and what needs attention", .run = cmd_status},
    {.name = "directory",
     .operands = "[AGENCY]",
     .operands_max = 1,
     .help = "list the agencies that can be written to",
     .run = cmd_directory},
    {.name = "watch", .help = "follow what comes and changes, until interrupted", .run = cmd_watch},
    {.name = NULL},
};

static const struct cli_section sections[] = {
    {.title = "EXIT STATUS",
     .text = "0 done; 1 refused; 2 usage; 3 configuration; 4 not allowed here; 5 nothing was "
             "committed, safe to repeat; 6 committed, the outcome is not known yet; 7 not found; 8 "
             "a proof or record does not hold."},
    {.title = NULL},
};

static const struct cli_program program = {
    .name = "sealpost",
    .help = "exchange case messages with other agencies",
    .description =
        "Talks to the agency's agent, which seals and signs. Nothing leaves this machine "
        "unsealed.",
    .options = global_options,
    .commands = commands,
    .sections = sections,
};

int main(int argc, char **argv)
{
    return cli_main(&program, argc, argv);
}
