/* The directory file as a struct, and the table that reads it. */
#ifndef SEALPOST_CERTS_AUTHORING_INTERNAL_H
#define SEALPOST_CERTS_AUTHORING_INTERNAL_H

#include "certs/authoring.h"
#include "certs/documents.h"
#include "common/config.h"

#define AUTHORING_EXCLUSIVE 1u
#define AUTHORING_NO_ONWARD 2u
#define AUTHORING_NO_COURT_EXPORT 4u
#define AUTHORING_NEEDS_TEXT 8u
#define AUTHORING_NEEDS_ACKNOWLEDGEMENT 16u
#define AUTHORING_NO_AUTOMATION 32u

struct authoring_agency {
    char *name;
    struct config_strings names;
    char *trust_domain;
    char *ca;
    struct config_strings handling;
    unsigned ceiling; /* level less one */
    struct config_strings homes;
};

struct authoring_broker {
    char *name;
    struct config_strings names;
    char *endpoint;
    char *public_file;
    struct config_strings handling;
    unsigned ceiling;
};

struct authoring_link {
    struct config_strings between;
    struct config_strings handling;
    unsigned ceiling;
    uint64_t cost;
};

struct authoring_code {
    char *code;
    struct config_strings labels;
    uint32_t rules;
    struct config_strings groups;
    unsigned ceiling; /* level; 0: none */
};

struct authoring_group {
    char *name;
    struct config_strings agencies;
};

struct authoring_file {
    char *federation;
    uint64_t valid_ms;
    uint64_t crl_max_ms;
    struct config_list agencies;
    struct config_list brokers;
    struct config_list links;
    struct config_list codes;
    struct config_list groups;
};

extern const struct config_field authoring_fields[];

#endif
