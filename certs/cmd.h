/* What the commands of sealpost-certs share. Each command group is one file cmd_*.c with its
 * functions; certs_main.c holds the table. */
#ifndef SEALPOST_CERTS_CMD_H
#define SEALPOST_CERTS_CMD_H

#include "certs/documents.h"
#include "certs/keystore.h"
#include "certs/trust.h"
#include "certs/why.h"
#include "certs/x509.h"
#include "common/cli.h"
#include "common/env.h"

#include <jansson.h>
#include <limits.h>

#define CMD_DAY_MS ((uint64_t)86400000)
#define CMD_PASSPHRASE "passphrase" /* beside the keys that it opens */

/* Tells why and gives the exit code; as JSON on stdout with --json. */
[[gnu::format(printf, 3, 4)]] int cmd_fail(const struct cli *args, enum err e, const char *format,
                                           ...);

/* DIR/NAME; ERR_TOO_LARGE when it does not fit. */
enum err cmd_path(char out[PATH_MAX], const char *dir, const char *name);
/* The agency's folder in the federation's, made when it is missing; and a file in it. */
enum err cmd_agency_path(char out[PATH_MAX], const char *federation, const char *agency,
                         const char *name, struct why *why);

/* The pass phrase for a key file: --passphrase-file, else the file "passphrase" beside the key,
 * else asked for on the terminal (twice for a new key). */
enum err cmd_passphrase(const struct cli *args, const char *key_path, bool fresh,
                        struct secret **ret, struct why *why);
/* Opens a key file with it. */
enum err cmd_open_key(const struct cli *args, const char *path, enum key_purpose purpose,
                      struct key_info *info, struct secret **ret, struct why *why);
/* Makes a key file; `import` NULL: a fresh key. The cost is --cost, else as the purpose asks. */
enum err cmd_create_key(const struct cli *args, const char *path, enum key_purpose purpose,
                        const char *owner, const struct secret *import, struct key_info *ret,
                        struct why *why);

/* Documents and certificates in files. */
enum err cmd_read_document(enum document_kind kind, const char *path, struct document *ret,
                           struct why *why);
enum err cmd_read_in(enum document_kind kind, const char *dir, const char *name,
                     struct document *ret, struct why *why);
enum err cmd_read_pem(const char *path, const char *label, size_t index, size_t max,
                      struct buf *der, struct why *why);
enum err cmd_write_pem(const char *path, const char *label, const struct span *ders, size_t n,
                       struct why *why);
/* Replaces a public file atomically. */
enum err cmd_write(const char *path, struct span bytes, struct why *why);

/* Appends "TIME text" to PATH.transcript. */
[[gnu::format(printf, 3, 4)]] enum err cmd_transcript(const char *path, struct why *why,
                                                      const char *format, ...);

/* Facts to print: in JSON one object; for a person a sentence, aligned lines, and tables for lists.
 */
struct facts {
    bool json;
    json_t *object;
};
void facts_init(struct facts *f, const struct cli *args);
void facts_text(struct facts *f, const char *key, const char *value);
void facts_number(struct facts *f, const char *key, uint64_t value);
void facts_flag(struct facts *f, const char *key, bool value);
void facts_time(struct facts *f, const char *key, uint64_t ms);
void facts_hex(struct facts *f, const char *key, struct span bytes);
/* The public key in hex and the fingerprint to compare aloud, under "public_key", "fingerprint". */
void facts_key(struct facts *f, struct span public_key);
/* Takes over `list`: an array of texts or of flat objects. */
void facts_list(struct facts *f, const char *key, json_t *list);
void facts_texts(struct facts *f, const char *key, char *const *texts, size_t n);
/* Prints and frees. Gives 0, or the exit code of a failed write. */
[[gnu::format(printf, 2, 3)]] int facts_print(struct facts *f, const char *sentence, ...);
json_t *facts_time_json(uint64_t ms);
json_t *facts_hex_json(struct span bytes);
json_t *facts_fingerprint_json(struct span public_key);

/* The commands. */
int cmd_keystore_init(const struct cli *args);
int cmd_keystore_show(const struct cli *args);
int cmd_root_init(const struct cli *args);
int cmd_root_sign(const struct cli *args);
int cmd_root_publish(const struct cli *args);
int cmd_root_show(const struct cli *args);
int cmd_root_verify(const struct cli *args);
int cmd_directory_init(const struct cli *args);
int cmd_directory_sign(const struct cli *args);
int cmd_directory_publish(const struct cli *args);
int cmd_directory_show(const struct cli *args);
int cmd_directory_verify(const struct cli *args);
int cmd_timestamp_sign(const struct cli *args);
int cmd_timestamp_show(const struct cli *args);
int cmd_agency_init(const struct cli *args);
int cmd_agency_issue(const struct cli *args);
int cmd_agency_show(const struct cli *args);
int cmd_agent_init(const struct cli *args);
int cmd_agent_csr(const struct cli *args);
int cmd_agent_import(const struct cli *args);
int cmd_keys_issue(const struct cli *args);
int cmd_keys_rotate(const struct cli *args);
int cmd_keys_show(const struct cli *args);
int cmd_crl_issue(const struct cli *args);
int cmd_crl_revoke(const struct cli *args);
int cmd_crl_import(const struct cli *args);
int cmd_crl_show(const struct cli *args);
int cmd_broker_init(const struct cli *args);
int cmd_broker_show(const struct cli *args);

/* Shared between groups. */
/* A daemon's key folder: makes it (0700) and, without --passphrase-file, a random pass phrase file.
 */
enum err cmd_keys_folder(const struct cli *args, const char *dir, struct why *why);
/* Makes DIR/NAME.key and adds its public key to `list`. */
enum err cmd_folder_key(const struct cli *args, const char *dir, const char *name,
                        enum key_purpose purpose, const char *owner, json_t *list, struct why *why);
/* An encryption key, named by its key id. */
enum err cmd_folder_encrypt_key(const struct cli *args, const char *dir, const char *owner,
                                json_t *list, struct why *why);
/* Everything about the leaf in an agency's folder, judged now; `crl` decides whether its list must
 * be there and good. */
enum err cmd_check_leaf(const char *federation, const char *agency, const char *trust_domain,
                        bool crl, struct x509_leaf *ret, struct why *why);

#endif
