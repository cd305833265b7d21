/* OpenSSL objects behind certs/x509.h. Included by certs/x509_*.c alone. */
#ifndef SEALPOST_CERTS_X509_INTERNAL_H
#define SEALPOST_CERTS_X509_INTERNAL_H

#include "certs/x509.h"

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

/* The objects are the caller's. All bytes must be used up: ERR_MALFORMED. */
enum err x509_parse_cert(struct span der, X509 **ret);
enum err x509_parse_key(const struct secret *pkcs8, EVP_PKEY **ret);

/* The digest to sign with under this key; NULL for Ed25519. */
const EVP_MD *x509_digest_for(const EVP_PKEY *key);

/* Milliseconds since 1970. ERR_MALFORMED for a time that is none or before 1970. */
enum err x509_time_ms(const ASN1_TIME *t, uint64_t *ret);
ASN1_TIME *x509_time_new(uint64_t ms);

/* Right-aligned in zeros. ERR_MALFORMED when negative or over X509_SERIAL bytes. */
enum err x509_serial_bytes(const ASN1_INTEGER *n, uint8_t ret[X509_SERIAL]);

/* An extension by its OpenSSL text form, for certificates, requests and lists. */
struct x509_ext_target {
    X509 *cert; /* one of these is set */
    X509_CRL *crl;
    STACK_OF(X509_EXTENSION) * list;
};
enum err x509_add_ext(const struct x509_ext_target *to, X509V3_CTX *ctx, int nid,
                      const char *value);

/* CN = NAME; O = agency. */
enum err x509_set_subject(X509_NAME *name, const char *agency, const char *role);

/* Forgets OpenSSL's error queue, so that it never grows, and gives `e` back. */
enum err x509_fail(enum err e);

/* True when the names are exactly one URI, `uri`. */
bool x509_san_is(const GENERAL_NAMES *names, struct span uri);

#endif
