/* Every bound of the system in one table. docs/PROTOCOL.md repeats the ones that peers see; each
 * has a test at n-1, n and n+1. Sizes are in bytes unless the name says otherwise. */
#ifndef SEALPOST_COMMON_LIMITS_H
#define SEALPOST_COMMON_LIMITS_H

#define LIMIT_KIB ((size_t)1024)
#define LIMIT_MIB (1024 * LIMIT_KIB)

/* Messages. */
#define LIMIT_ENVELOPE (256 * LIMIT_KIB)        /* without parts */
#define LIMIT_PART ((uint64_t)4096 * LIMIT_MIB) /* plaintext of one part */
#define LIMIT_PARTS 100                         /* body included */
#define LIMIT_RECIPIENTS 256
#define LIMIT_SUBJECT 512
#define LIMIT_TEXT LIMIT_MIB
#define LIMIT_FILE_NAME 255
#define LIMIT_MEDIA_TYPE 127
#define LIMIT_CASE 64
#define LIMIT_OFFICER 128
#define LIMIT_HANDLING_TEXT 1024
#define LIMIT_GROUND 1024
#define LIMIT_ENTITIES 256
#define LIMIT_ENTITY (64 * LIMIT_KIB)
#define LIMIT_BODY (LIMIT_TEXT + LIMIT_MIB) /* encoded content before padding */
#define LIMIT_BODY_PAD_MIN LIMIT_KIB        /* then Padme */
#define LIMIT_EXPIRY_MS ((uint64_t)14 * 86400000)
#define LIMIT_SKEW_MS ((uint64_t)5 * 60000)
#define LIMIT_HOPS 8
#define LIMIT_BATCH 256                     /* envelopes under one signature */
#define LIMIT_BATCH_PATH 8                  /* log2 of LIMIT_BATCH */
#define LIMIT_WRAP_SEQ 256                  /* wraps of one HPKE context */
#define LIMIT_HANDLING 8                    /* codes on one message */
#define LIMIT_REASON 256                    /* why something was refused, in words */
#define LIMIT_IDLE_RECEIPTS 64              /* of one sent message, that changed no state */
#define LIMIT_SOURCE (16 * LIMIT_KIB)       /* what an onward message embeds */
#define LIMIT_WRAP_POOL 4096                /* HPKE contexts held at once */
#define LIMIT_BATCH_CACHE ((size_t)1 << 16) /* batch roots of one cache */
#define LIMIT_OPEN_CACHE 1024               /* HPKE contexts that a recipient keeps */

/* Names. */
#define LIMIT_AGENCY 80         /* text of an agency name, NUL included */
#define LIMIT_BROKER 33         /* text of a broker name, NUL included */
#define LIMIT_PEER LIMIT_AGENCY /* either */
#define LIMIT_AGENT 33          /* text of an agent name, NUL included */
#define LIMIT_GROUP 64
#define LIMIT_CODE 16         /* text of a handling code, NUL included */
#define LIMIT_REFUSAL_CODE 32 /* text of a refusal code, NUL included */

/* Documents. */
#define LIMIT_DOCUMENT LIMIT_MIB
#define LIMIT_CERT (16 * LIMIT_KIB)
#define LIMIT_CRL (256 * LIMIT_KIB)
#define LIMIT_SIGNATURES 32
#define LIMIT_AGENCIES 4096
#define LIMIT_BROKERS 256
#define LIMIT_LINKS 64 /* of one broker */
#define LIMIT_STATEMENT_KEYS 16
#define LIMIT_DOMAIN 254 /* text of a DNS name, NUL included */
#define LIMIT_ROOT_KEYS 16
#define LIMIT_CURVE_KEYS 4 /* of one broker or statement */
#define LIMIT_CODES 32
#define LIMIT_GROUPS 256
#define LIMIT_HOMES 4
#define LIMIT_TEXTS 32  /* languages of one name */
#define LIMIT_LABEL 256 /* one name in one language */
#define LIMIT_LINK_COST 65535
#define LIMIT_LINKS_ALL (LIMIT_BROKERS * LIMIT_LINKS / 2)
#define LIMIT_ROOT_MS ((uint64_t)731 * 86400000)
#define LIMIT_DIRECTORY_MS ((uint64_t)90 * 86400000)
#define LIMIT_TIMESTAMP_MS ((uint64_t)86400000)
#define LIMIT_STATEMENT_MS ((uint64_t)40 * 86400000)
#define LIMIT_CURVE_KEY_MS ((uint64_t)731 * 86400000)
#define LIMIT_CRL_MS_MIN ((uint64_t)3600000) /* the directory's bound on a CRL's age */
#define LIMIT_CRL_MS ((uint64_t)31 * 86400000)
#define LIMIT_CRL_ENTRIES 4096
#define LIMIT_LEAF_LIFETIME_MS ((uint64_t)30 * 86400000)
#define LIMIT_EXPIRED_LEAF_MS ((uint64_t)16 * 86400000) /* kept for what it signed before */
#define LIMIT_CA_LIFETIME_MS ((uint64_t)3653 * 86400000)
#define LIMIT_EARLIER_LEAVES 4 /* of one agency, beside the newest */

/* Wire. */
#define LIMIT_FRAME_UNAUTH (64 * LIMIT_KIB)
#define LIMIT_FRAME (8 * LIMIT_MIB)
#define LIMIT_FRAME_ITEMS 256
#define LIMIT_INLINE_PARTS (128 * LIMIT_KIB) /* ciphertext that rides beside its envelope */
#define LIMIT_CHUNK (256 * LIMIT_KIB)        /* of a part that travels by itself */
#define LIMIT_CREDIT (4 * LIMIT_CHUNK)       /* unacknowledged bytes of one part */

/* Transport. */
#define LIMIT_ENDPOINT 300 /* text of an endpoint, NUL included */
#define LIMIT_NET_PARTS 16 /* of one message */
#define LIMIT_NET_PEERS (2 * (LIMIT_AGENCIES + LIMIT_BROKERS)) /* keys that may connect */
#define LIMIT_NET_LINKS (LIMIT_LINKS + 16) /* own connections; during a change both stand */
#define LIMIT_NET_WATCHED 16
#define LIMIT_NET_LISTENS 8      /* endpoints that one net listens at */
#define LIMIT_NET_BURST 64       /* messages taken before others are seen */
#define LIMIT_NET_MONITOR 4096   /* events of libzmq not yet read */
#define LIMIT_NET_FD_RESERVE 256 /* descriptors kept from accepted connections */
#define LIMIT_NET_REFUSALS 64    /* keys told apart in unreported refusals */
#define LIMIT_NET_CONNECTIONS 8192
#define LIMIT_NET_BACKLOG 1024
#define LIMIT_NET_SEND_QUEUE 64 /* messages of one peer */
#define LIMIT_NET_RECEIVE_QUEUE 8
#define LIMIT_NET_LINGER_MS 200
#define LIMIT_NET_HANDSHAKE_MS 3000
#define LIMIT_NET_HEARTBEAT_MS 5000
#define LIMIT_NET_HEARTBEAT_DEAD_MS 15000
#define LIMIT_NET_CONNECT_MS 5000
#define LIMIT_NET_RECONNECT_MIN_MS 100
#define LIMIT_NET_RECONNECT_MAX_MS 5000
#define LIMIT_NET_INSPECT_MS 100 /* between looks at what is held unread */

/* Audit log. */
#define LIMIT_LEAF (64 * LIMIT_KIB - 1) /* entry bundles count with two bytes */
#define LIMIT_DETAIL (64 * LIMIT_KIB)   /* erasable, beside a leaf */
#define LIMIT_PROOF_PATH 64
#define LIMIT_NOTE (128 * LIMIT_KIB) /* a signed note of any kind */
#define LIMIT_NOTE_SIGNATURES 100
#define LIMIT_NOTE_SIGNATURE (8 * LIMIT_KIB) /* post-quantum ones have 5 kB */
#define LIMIT_CHECKPOINT (8 * LIMIT_KIB)
#define LIMIT_RECEIPT (80 * LIMIT_KIB) /* leaf, path, checkpoint */
#define LIMIT_RECEIPT_CACHE 4096       /* verified checkpoints remembered */
#define LIMIT_EVIDENCE (16 * LIMIT_MIB)
#define LIMIT_EVIDENCE_RECEIPTS 4096
#define LIMIT_TLOG_PROOF (256 * LIMIT_KIB) /* text, the leaf in it */
#define LIMIT_AUDIT_SOURCES 64             /* logs that one command reads */
#define LIMIT_AUDIT_FINDINGS 1000          /* told one by one; the rest is counted */
#define LIMIT_AUDIT_STEPS 65536            /* leaves of one exchange over all logs */
#define LIMIT_AUDIT_JSON (64 * LIMIT_MIB)  /* one line of output */

/* Store. */
#define LIMIT_STORE_TABLES 64
#define LIMIT_STORE_NAME 32 /* text of a table's name, NUL included */
#define LIMIT_STORE_KEY 511
#define LIMIT_STORE_VALUE (16 * LIMIT_MIB)
#define LIMIT_STORE_MAP_MIN LIMIT_MIB
#define LIMIT_STORE_MAP ((uint64_t)4 << 40)
#define LIMIT_STORE_FLOOR (64 * LIMIT_MIB) /* of the file system, left to others */
#define LIMIT_STORE_AHEAD (8 * LIMIT_MIB)  /* allocated beyond what is used */
#define LIMIT_STORE_ORDINARY 80            /* per cent of the map */
#define LIMIT_STORE_RESERVE 95
#define LIMIT_STORE_COPY_TRIES 16 /* when the writer overtakes */

/* Sandbox. */
#define LIMIT_SANDBOX_PATHS 64 /* in each list */
#define LIMIT_SANDBOX_PORTS 256

/* Keys. */
#define LIMIT_SECRET LIMIT_MIB /* one secret in locked memory */
#define LIMIT_KEY_FILE (16 * LIMIT_KIB)
#define LIMIT_PASSPHRASE LIMIT_KIB
#define LIMIT_ARGON2_OPS 16 /* passes */
#define LIMIT_ARGON2_MEM (256 * LIMIT_MIB)

/* Local protocol and configuration. */
#define LIMIT_LOCAL_FRAME (4 * LIMIT_MIB)
#define LIMIT_LOCAL_CLIENTS 64
#define LIMIT_CONFIG LIMIT_MIB
#define LIMIT_CONFIG_TEXT 4096  /* bytes of one string */
#define LIMIT_CONFIG_ITEMS 1024 /* of one list */
#define LIMIT_CONFIG_FIELDS 64  /* keys of one mapping */
#define LIMIT_OFFICERS 1024
#define LIMIT_LIST 1000 /* rows of one answer */

/* Programs. */
#define LIMIT_PATH 4096                    /* text of a path, NUL included */
#define LIMIT_LOG_FIELDS 24                /* of one event, its head not counted */
#define LIMIT_LOG_VALUE 512                /* bytes of one value as written */
#define LIMIT_LOG_LINE 4096                /* bytes of one line, newline included */
#define LIMIT_CLI_OPTIONS 64               /* of one command, global ones included */
#define LIMIT_CLI_ARGUMENTS 4096           /* words on a command line */
#define LIMIT_CLI_MESSAGE (16 * LIMIT_KIB) /* bytes of one error text */
#define LIMIT_TABLE_COLUMNS 16
#define LIMIT_TABLE_BYTES (64 * LIMIT_MIB) /* text of all cells */

/* protobuf decoding: memory that one message may take, as a multiple of its size plus a floor. */
#define LIMIT_DECODE_FACTOR 16
#define LIMIT_DECODE_FLOOR (64 * LIMIT_KIB)
#define LIMIT_DECODE_DEPTH 16
#define LIMIT_JSON (4 * LIMIT_MIB) /* text that is read as one message */
#define LIMIT_JSON_WHY LIMIT_KIB   /* why it was not */

#endif
