#include "audit/cmd.h"

static const struct cli_option global_options[] = {
    {.name = "root",
     .argument = "FILE",
     .help = "the federation root that anchors every key; else SEALPOST_ROOT"},
    {.name = "json", .help = "print JSON: one object, or one object per line for lists"},
    {0},
};

static const struct cli_option verify_options[] = {
    {.name = "since", .argument = "FILE", .help = "a checkpoint that the log must continue"},
    {0},
};

static const struct cli_option query_options[] = {
    {.name = "from", .argument = "NAME", .help = "sent by this agency, or come from this peer"},
    {.name = "to", .argument = "NAME", .help = "for this agency, or gone to this peer"},
    {.name = "handling", .argument = "CODE", .help = "with this handling code, such as H2"},
    {.name = "event", .argument = "EVENT", .help = "of this kind, such as accepted"},
    {.name = "since", .argument = "TIME", .help = "not before this time, or this long ago"},
    {.name = "until", .argument = "TIME", .help = "not after this time, or this long ago"},
    {0},
};

static const struct cli_option prove_options[] = {
    {.name = "id", .argument = "ID", .help = "the leaf about this message"},
    {.name = "index", .argument = "N", .help = "the leaf at this place"},
    {.name = "to", .argument = "FILE", .help = "where the proof goes", .required = true},
    {0},
};

static const struct cli_option export_options[] = {
    {.name = "to", .argument = "DIR", .help = "where the tiles go", .required = true},
    {0},
};

static const struct cli_command commands[] = {
    {.name = "verify",
     .operands = "SOURCE",
     .operands_min = 1,
     .operands_max = 1,
     .help = "check a whole log: leaves, tiles, roots, checkpoints",
     .more = "Every leaf decodes and has its hash in its tile, tiles and head rebuild from the "
             "leaves, every stored checkpoint is one that the log grew through and is signed, the "
             "index of ids is complete and holds nothing else, details match what leaves commit to "
             "or were erased. What does not hold is listed, with what to do; then the exit code is "
             "8.",
     .options = verify_options,
     .run = cmd_verify},
    {.name = "explain",
     .operands = "ID SOURCE…",
     .operands_min = 2,
     .operands_max = CLI_MANY,
     .help = "tell one exchange, hop by hop, in words, with the proof of each step",
     .more = "Give the logs of all that took part: a step that rests on another's receipt names "
             "the leaf in that log.",
     .run = cmd_explain},
    {.name = "query",
     .operands = "SOURCE",
     .operands_min = 1,
     .operands_max = 1,
     .help = "list the leaves that match",
     .options = query_options,
     .run = cmd_query},
    {.name = "prove",
     .operands = "SOURCE",
     .operands_min = 1,
     .operands_max = 1,
     .help = "write the offline proof of one leaf (C2SP tlog-proof)",
     .more = "The proof carries the leaf as its extra data, so that nothing else is needed to "
             "check it.",
     .options = prove_options,
     .run = cmd_prove},
    {.name = "check",
     .operands = "FILE",
     .operands_min = 1,
     .operands_max = 1,
     .help = "check a proof or an evidence bundle, offline",
     .run = cmd_check},
    {.name = "consistency",
     .operands = "OLD NEW",
     .operands_min = 2,
     .operands_max = 2,
     .help = "check that a log continues what it was",
     .more = "Each is a data directory or a checkpoint that was kept. At least one must be a data "
             "directory unless the sizes are equal.",
     .run = cmd_consistency},
    {.name = "export",
     .operands = "SOURCE",
     .operands_min = 1,
     .operands_max = 1,
     .help = "write the log as tiles (C2SP tlog-tiles)",
     .options = export_options,
     .run = cmd_export},
    {0},
};

static const struct cli_section sections[] = {
    {.title = "SOURCES",
     .text = "A SOURCE is a daemon's data directory. It is read only; a live one is read as of one "
             "moment, through a consistent copy when its files belong to another user."},
    {.title = "KEYS",
     .text = "With --root, log keys come from the federation folder in which the root lies: from "
             "its directory for brokers, from the key statements for agencies. Without it the "
             "answer says \"key not anchored\" and speaks of internal consistency only."},
    {.title = "EXIT STATUS",
     .text = "0 it holds. 1 no: refused, invalid, no hit. 2 usage. 3 configuration. 4 not allowed. "
             "5 unreachable. 7 not found. 8 integrity failure: a proof, log or record does not "
             "hold."},
    {0},
};

const struct cli_program cmd_program = {
    .name = "sealpost-audit",
    .help = "check the audit logs of a federation",
    .description = "Checks audit logs offline and without changing anything: whole logs, single "
                   "exchanges across any number of logs, proofs and evidence that others give.",
    .options = global_options,
    .commands = commands,
    .sections = sections,
};
