/* sealpost-certs: identity and key ceremonies. The table of commands. */
#include "certs/authoring.h"
#include "certs/cmd.h"
#include "common/cli.h"

static const char *const purposes[] = {"root", "timestamp", "sign",    "encrypt", "transport",
                                       "log",  "witness",   "storage", NULL};
static const char *const costs[] = {"person", "daemon", NULL};
static const char *const algorithms[] = {"p384", "rsa3072", "ed25519", NULL};

#define OPTION_JSON                                   \
    {                                                 \
        .name = "json", .help = "print facts as JSON" \
    }
#define OPTION_COST                                                                      \
    {                                                                                    \
        .name = "cost", .argument = "CLASS",                                             \
        .help = "cost of opening the key file: person (for root and CA keys) or daemon", \
        .words = costs                                                                   \
    }
#define OPTION_PASSPHRASE                                                                         \
    {                                                                                             \
        .name = "passphrase-file", .argument = "FILE",                                            \
        .help = "pass phrase of the key files; else the file \"passphrase\" beside them, or the " \
                "terminal"                                                                        \
    }
#define OPTION_FEDERATION                                                           \
    {                                                                               \
        .name = "federation", .argument = "DIR", .help = "the federation's folder", \
        .required = true                                                            \
    }
#define OPTION_KEYS                                                                            \
    {                                                                                          \
        .name = "keys", .argument = "DIR", .help = "the daemon's key folder", .required = true \
    }
#define OPTION_KEY                                                                               \
    {                                                                                            \
        .name = "key", .argument = "FILE", .help = "the key file to sign with", .required = true \
    }
#define OPTION_CA_KEY                                                                \
    {                                                                                \
        .name = "ca-key", .argument = "FILE", .help = "key file of the agency's CA", \
        .required = true                                                             \
    }
#define OPTION_DOMAIN                                                        \
    {                                                                        \
        .name = "trust-domain", .argument = "DOMAIN",                        \
        .help = "domain of the agency's certificate names", .required = true \
    }
#define OPTION_VALID(what)                                    \
    {                                                         \
        .name = "valid", .argument = "DURATION", .help = what \
    }
#define OPTION_END \
    {              \
        0          \
    }

static const struct cli_option global_options[] = {OPTION_JSON, OPTION_END};

static const struct cli_option keystore_init_options[] = {
    {.name = "purpose",
     .argument = "PURPOSE",
     .help = "the one use of the key",
     .required = true,
     .words = purposes},
    {.name = "owner", .argument = "NAME", .help = "agency, broker or holder", .required = true},
    {.name = "to", .argument = "FILE", .help = "the key file to make", .required = true},
    OPTION_PASSPHRASE,
    OPTION_COST,
    OPTION_END};

static const struct cli_option root_init_options[] = {
    {.name = "federation",
     .argument = "DOMAIN",
     .help = "domain name of the federation; not with --previous"},
    {.name = "previous", .argument = "FILE", .help = "the root that this one follows"},
    {.name = "key",
     .argument = "FILE",
     .help = "a root key: its file, or HOLDER=PUBLIC-KEY in hex",
     .repeat = true,
     .required = true},
    {.name = "timestamp-key",
     .argument = "FILE",
     .help = "a timestamp key: its file, or HOLDER=PUBLIC-KEY in hex",
     .repeat = true,
     .required = true},
    {.name = "threshold",
     .argument = "N",
     .help = "how many root keys must sign",
     .required = true},
    OPTION_VALID("how long it is good (365d)"),
    {.name = "to", .argument = "FILE", .help = "the document to make", .required = true},
    OPTION_END};

static const struct cli_option root_sign_options[] = {
    OPTION_KEY,
    OPTION_PASSPHRASE,
    {.name = "previous",
     .argument = "FILE",
     .help = "the root that it follows, for keys that only that one has"},
    OPTION_END};

static const struct cli_option previous_options[] = {
    {.name = "previous", .argument = "FILE", .help = "the root that it follows"}, OPTION_END};

static const struct cli_option federation_options[] = {OPTION_FEDERATION, OPTION_END};

static const struct cli_option directory_init_options[] = {
    {.name = "from", .argument = "FILE", .help = "the directory file (YAML)", .required = true},
    OPTION_FEDERATION,
    {.name = "to", .argument = "FILE", .help = "the document to make", .required = true},
    OPTION_END};

static const struct cli_option directory_sign_options[] = {OPTION_FEDERATION, OPTION_KEY,
                                                           OPTION_PASSPHRASE, OPTION_END};

static const struct cli_option directory_publish_options[] = {
    OPTION_FEDERATION,
    {.name = "quorum",
     .argument = "N",
     .help = "witnesses that evidence needs, for the audit policy (0)"},
    OPTION_END};

static const struct cli_option directory_verify_options[] = {
    OPTION_FEDERATION,
    {.name = "root", .argument = "FILE", .help = "the root that you trust already"},
    OPTION_END};

static const struct cli_option timestamp_sign_options[] = {
    OPTION_FEDERATION,
    OPTION_KEY,
    OPTION_PASSPHRASE,
    OPTION_VALID("how long it is good (24h, which is also the longest)"),
    {.name = "watch", .help = "stay, and sign again in time and when something changed"},
    {.name = "every", .argument = "DURATION", .help = "with --watch: how often (5m)"},
    OPTION_END};

static const struct cli_option agency_init_options[] = {
    OPTION_DOMAIN,
    OPTION_FEDERATION,
    {.name = "key", .argument = "FILE", .help = "the CA's key file to make", .required = true},
    {.name = "algorithm",
     .argument = "ALGORITHM",
     .help = "p384 (the default), rsa3072 or ed25519",
     .words = algorithms},
    OPTION_VALID("how long the CA is good (3650d)"),
    OPTION_PASSPHRASE,
    OPTION_COST,
    OPTION_END};

static const struct cli_option agency_issue_options[] = {
    OPTION_DOMAIN,
    OPTION_FEDERATION,
    OPTION_CA_KEY,
    {.name = "csr", .argument = "FILE", .help = "the agent's request"},
    {.name = "keys", .argument = "DIR", .help = "the agent's key folder, instead of a request"},
    OPTION_VALID("how long the leaf is good (30d, which is also the longest)"),
    OPTION_PASSPHRASE,
    OPTION_END};

static const struct cli_option folder_options[] = {OPTION_KEYS, OPTION_PASSPHRASE, OPTION_COST,
                                                   OPTION_END};

static const struct cli_option agent_csr_options[] = {
    OPTION_KEYS,
    OPTION_DOMAIN,
    {.name = "to", .argument = "FILE", .help = "the request to make", .required = true},
    OPTION_PASSPHRASE,
    OPTION_END};

static const struct cli_option agent_import_options[] = {
    OPTION_DOMAIN,
    OPTION_FEDERATION,
    {.name = "chain", .argument = "FILE", .help = "PEM with the leaf first", .required = true},
    {.name = "ca", .argument = "FILE", .help = "PEM of the CA that issued it", .required = true},
    {.name = "crl", .argument = "FILE", .help = "PEM of its revocation list"},
    OPTION_END};

static const struct cli_option keys_options[] = {OPTION_KEYS, OPTION_FEDERATION, OPTION_PASSPHRASE,
                                                 OPTION_COST, OPTION_END};

static const struct cli_option crl_issue_options[] = {
    OPTION_FEDERATION, OPTION_CA_KEY, OPTION_VALID("until the next one at the latest (7d)"),
    OPTION_PASSPHRASE, OPTION_END};

static const struct cli_option crl_revoke_options[] = {
    OPTION_FEDERATION,
    OPTION_CA_KEY,
    {.name = "serial", .argument = "HEX", .help = "the certificate; else the present leaf"},
    {.name = "trust-domain", .argument = "DOMAIN", .help = "needed for the present leaf"},
    {.name = "compromised-since",
     .argument = "TIME",
     .help = "the key is compromised since then: a time, or a span such as 2h"},
    OPTION_VALID("until the next one at the latest (7d)"),
    OPTION_PASSPHRASE,
    OPTION_END};

static const struct cli_option crl_import_options[] = {
    OPTION_FEDERATION,
    {.name = "crl", .argument = "FILE", .help = "PEM of the list", .required = true},
    OPTION_END};

static const struct cli_option broker_init_options[] = {
    OPTION_KEYS,
    {.name = "to",
     .argument = "FILE",
     .help = "the file of public keys to make, for the directory",
     .required = true},
    OPTION_PASSPHRASE,
    OPTION_COST,
    OPTION_END};

static const struct cli_option broker_show_options[] = {
    OPTION_KEYS,
    {.name = "to", .argument = "FILE", .help = "write the file of public keys again"},
    OPTION_END};

#define ONE(operand) .operands = operand, .operands_min = 1, .operands_max = 1

static const struct cli_command commands[] = {
    {.name = "keystore init",
     .help = "make a key file",
     .options = keystore_init_options,
     .run = cmd_keystore_init},
    {.name = "keystore show",
     ONE("FILE"),
     .help = "say whose key it is and for what, without opening it",
     .run = cmd_keystore_show},
    {.name = "root init",
     .help = "propose a federation root",
     .options = root_init_options,
     .run = cmd_root_init},
    {.name = "root sign",
     ONE("FILE"),
     .help = "add a signature to a root, in any order",
     .options = root_sign_options,
     .run = cmd_root_sign},
    {.name = "root publish",
     ONE("FILE"),
     .help = "put a complete root into the federation's folder",
     .options = federation_options,
     .run = cmd_root_publish},
    {.name = "root show", ONE("FILE"), .help = "print a root", .run = cmd_root_show},
    {.name = "root verify",
     ONE("FILE"),
     .help = "check a root's signatures and that it follows the one before",
     .options = previous_options,
     .run = cmd_root_verify},
    {.name = "directory init",
     .help = "propose a directory from a directory file",
     .options = directory_init_options,
     .run = cmd_directory_init},
    {.name = "directory sign",
     ONE("FILE"),
     .help = "show what a directory changes and add a signature, in any order",
     .options = directory_sign_options,
     .run = cmd_directory_sign},
    {.name = "directory publish",
     ONE("FILE"),
     .help = "put a complete directory into the federation's folder",
     .options = directory_publish_options,
     .run = cmd_directory_publish},
    {.name = "directory show", ONE("FILE"), .help = "print a directory", .run = cmd_directory_show},
    {.name = "directory verify",
     .help = "check everything in the federation's folder",
     .options = directory_verify_options,
     .run = cmd_directory_verify},
    {.name = "timestamp sign",
     .help = "sign the timestamp, once or as a service",
     .options = timestamp_sign_options,
     .run = cmd_timestamp_sign},
    {.name = "timestamp show",
     .help = "print the timestamp",
     .options = federation_options,
     .run = cmd_timestamp_show},
    {.name = "agency init",
     ONE("AGENCY"),
     .help = "make an agency's CA",
     .options = agency_init_options,
     .run = cmd_agency_init},
    {.name = "agency issue",
     ONE("AGENCY"),
     .help = "issue the certificate of an agency's agent",
     .options = agency_issue_options,
     .run = cmd_agency_issue},
    {.name = "agency show",
     ONE("AGENCY"),
     .help = "print an agency's CA",
     .options = federation_options,
     .run = cmd_agency_show},
    {.name = "agent init",
     ONE("AGENCY"),
     .help = "make an agent's keys",
     .options = folder_options,
     .run = cmd_agent_init},
    {.name = "agent csr",
     ONE("AGENCY"),
     .help = "make a certificate request, for a CA of the agency's own",
     .options = agent_csr_options,
     .run = cmd_agent_csr},
    {.name = "agent import",
     ONE("AGENCY"),
     .help = "take over a certificate that such a CA issued",
     .options = agent_import_options,
     .run = cmd_agent_import},
    {.name = "keys issue",
     ONE("AGENCY"),
     .help = "sign the key statement of an agent",
     .options = keys_options,
     .run = cmd_keys_issue},
    {.name = "keys rotate",
     ONE("AGENCY"),
     .help = "destroy old encryption keys, make new ones, sign the statement",
     .options = keys_options,
     .run = cmd_keys_rotate},
    {.name = "keys show",
     ONE("AGENCY"),
     .help = "print a key statement",
     .options = federation_options,
     .run = cmd_keys_show},
    {.name = "crl issue",
     ONE("AGENCY"),
     .help = "renew a CA's revocation list",
     .options = crl_issue_options,
     .run = cmd_crl_issue},
    {.name = "crl revoke",
     ONE("AGENCY"),
     .help = "revoke a certificate",
     .options = crl_revoke_options,
     .run = cmd_crl_revoke},
    {.name = "crl import",
     ONE("AGENCY"),
     .help = "take over a revocation list of the agency's own CA",
     .options = crl_import_options,
     .run = cmd_crl_import},
    {.name = "crl show",
     ONE("AGENCY"),
     .help = "print a revocation list",
     .options = federation_options,
     .run = cmd_crl_show},
    {.name = "broker init",
     ONE("BROKER"),
     .help = "make a broker's keys",
     .options = broker_init_options,
     .run = cmd_broker_init},
    {.name = "broker show",
     .help = "print a broker's public keys",
     .options = broker_show_options,
     .run = cmd_broker_show},
    {0},
};

static const struct cli_section sections[] = {
    {.title = "DIRECTORY FILE",
     .text = "The keys of the YAML file that `directory init` reads. Paths are relative to it.",
     .print = authoring_print_help},
    {.title = "FILES",
     .text = "A key folder holds sign.key, encrypt-*.key, transport.key, log.key, storage.key "
             "(agent) or transport.key, log.key, witness.key (broker), and the file passphrase "
             "that opens them.\n\n"
             "The federation's folder holds root.dsse, directory.dsse, timestamp.dsse, "
             "audit-policy, and agencies/AGENCY/ with ca.pem, chain.pem, crl.pem and "
             "statement.dsse. Each ceremony appends to a file that ends in .transcript."},
    {0},
};

int main(int argc, char **argv)
{
    static const struct cli_program program = {
        .name = "sealpost-certs",
        .help = "identity and key ceremonies of a Sealpost federation",
        .description =
            "Makes and checks what identity rests on: key files, the federation's root, the "
            "directory of agencies and brokers, the timestamp, agencies' CAs and certificates, "
            "revocation lists, and key statements.\n\n"
            "Keys are never overwritten. Documents are replaced as a whole. Fingerprints are "
            "meant to be read aloud and compared.",
        .options = global_options,
        .commands = commands,
        .sections = sections,
    };
    enum err e = secret_process_init(false);
    if (e != ERR_OK)
        return cli_fail(stderr, false, e, NULL);
    return cli_main(&program, argc, argv);
}
