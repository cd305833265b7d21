/* Every bound of the system in one table. docs/PROTOCOL.md repeats the ones that peers see; each
 * has a test at n-1, n and n+1. Sizes are in bytes unless the name says otherwise. */
#ifndef SEALPOST_COMMON_LIMITS_H
#define SEALPOST_COMMON_LIMITS_H

#define LIMIT_KIB ((size_t)1024)
#define LIMIT_MIB (1024 * LIMIT_KIB)

/* Messages. */
#define LIMIT_ENVELOPE (256 * LIMIT_KIB)           /* without parts */
#define LIMIT_PART ((uint64_t)4096 * LIMIT_MIB)    /* plaintext of one part */
#define LIMIT_PARTS 100                            /* body included */
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
#define LIMIT_BODY (LIMIT_TEXT + LIMIT_MIB)        /* encoded content before padding */
#define LIMIT_BODY_PAD_MIN LIMIT_KIB               /* then Padme */
#define LIMIT_EXPIRY_MS ((uint64_t)14 * 86400000)
#define LIMIT_SKEW_MS ((uint64_t)5 * 60000)
#define LIMIT_HOPS 8
#define LIMIT_RELEASE_MS ((uint64_t)30 * 86400000)
#define LIMIT_BATCH 256                            /* envelopes under one signature */
#define LIMIT_WRAP_SEQ 256                         /* wraps of one HPKE context */
#define LIMIT_HANDLING 8                           /* codes on one message */

/* Names. */
#define LIMIT_AGENCY 80                            /* text of an agency name, NUL included */
#define LIMIT_BROKER 33                            /* text of a broker name, NUL included */
#define LIMIT_PEER LIMIT_AGENCY                    /* either */
#define LIMIT_GROUP 64
#define LIMIT_CODE 16                              /* text of a handling code, NUL included */

/* Documents. */
#define LIMIT_DOCUMENT LIMIT_MIB
#define LIMIT_CERT (16 * LIMIT_KIB)
#define LIMIT_CHAIN 4
#define LIMIT_CRL (256 * LIMIT_KIB)
#define LIMIT_SIGNATURES 32
#define LIMIT_AGENCIES 4096
#define LIMIT_BROKERS 256
#define LIMIT_LINKS 64                             /* of one broker */
#define LIMIT_STATEMENT_KEYS 16

/* Wire. */
#define LIMIT_FRAME_UNAUTH (64 * LIMIT_KIB)
#define LIMIT_FRAME (8 * LIMIT_MIB)
#define LIMIT_FRAME_ITEMS 256
#define LIMIT_INLINE_PARTS (128 * LIMIT_KIB)       /* ciphertext that rides beside its envelope */
#define LIMIT_CHUNK (256 * LIMIT_KIB)              /* of a part that travels by itself */
#define LIMIT_CREDIT (8 * LIMIT_CHUNK)             /* unacknowledged bytes of one part */

/* Audit log. */
#define LIMIT_LEAF (64 * LIMIT_KIB)
#define LIMIT_PROOF_PATH 64
#define LIMIT_CHECKPOINT (8 * LIMIT_KIB)

/* Local protocol and configuration. */
#define LIMIT_LOCAL_FRAME (4 * LIMIT_MIB)
#define LIMIT_LOCAL_CLIENTS 64
#define LIMIT_CONFIG LIMIT_MIB
#define LIMIT_OFFICERS 1024
#define LIMIT_LIST 1000                            /* rows of one answer */

/* protobuf decoding: memory that one message may take, as a multiple of its size plus a floor. */
#define LIMIT_DECODE_FACTOR 16
#define LIMIT_DECODE_FLOOR (64 * LIMIT_KIB)
#define LIMIT_DECODE_DEPTH 16

#endif
