/* X.509 for agency identity: an agency's CA, its agents' leaves, requests and revocation lists.
 *
 * Certificates are DER in documents and PEM in files; everything here takes and gives DER. OpenSSL
 * stays inside certs/x509_*.c. Results are appended to buffers.
 * Sources: RFC 5280 (profile, name constraints 4.2.1.10, CRLs), RFC 8410 (Ed25519), RFC 2986
 * (requests), RFC 5958 (PKCS#8), SPIFFE-ID and X509-SVID (the one URI SAN). */
#ifndef SEALPOST_CERTS_X509_H
#define SEALPOST_CERTS_X509_H

#include "certs/why.h"
#include "common/crypto.h"
#include "common/env.h"
#include "common/err.h"
#include "common/limits.h"
#include "common/secret.h"
#include "common/span.h"
#include "proto/dsse.h"

#include <stdbool.h>

enum x509_algorithm {
    X509_ALG_P384,
    X509_ALG_RSA3072,
    X509_ALG_ED25519,
};

/* A new private key of a CA as PKCS#8 DER. Ed25519 keys come from `env`, the others from OpenSSL's
 * own generator. */
enum err x509_key_new(const struct env *env, enum x509_algorithm algorithm, struct secret **pkcs8);

/* Appends spiffe://TRUST-DOMAIN/agent/AGENCY. */
void x509_agent_uri(const char *trust_domain, const char *agency, struct buf *out);

/* A self-signed CA: basicConstraints CA, pathLen 0; keyUsage keyCertSign and cRLSign; name
 * constraints that permit URIs of host `trust_domain` alone. Valid from now (less the skew). */
enum err x509_make_ca(const struct env *env, const struct secret *pkcs8, const char *agency,
                      const char *trust_domain, uint64_t lifetime_ms, struct buf *cert);

struct x509_issuer {
    struct span cert; /* DER */
    const struct secret *pkcs8;
};

/* A leaf for an agent's Ed25519 key: one URI SAN, keyUsage digitalSignature, at most
 * LIMIT_LEAF_LIFETIME_MS and not beyond the CA. ERR_WRONG_USAGE when `issuer.cert` is no CA or the
 * key is not its key; ERR_TOO_LARGE for a longer lifetime. */
enum err x509_make_leaf(const struct env *env, const struct x509_issuer *issuer, const char *agency,
                        const char *trust_domain, const struct ed25519_public *key,
                        uint64_t lifetime_ms, struct buf *cert);

/* A request signed by the Ed25519 seed itself, with the SAN as a requested extension. */
enum err x509_make_csr(const struct secret *seed, const char *agency, const char *trust_domain,
                       struct buf *csr);
/* Checks a request: its own signature, an Ed25519 key, and the one SAN that is expected here. */
enum err x509_read_csr(struct span csr, const char *agency, const char *trust_domain,
                       struct ed25519_public *ret, struct why *why);

#define X509_SERIAL 20
struct x509_revoked {
    uint8_t serial[X509_SERIAL]; /* big-endian, right-aligned in zeros */
    uint64_t revoked_ms;
    bool compromise;
    uint64_t invalid_since_ms; /* of a compromise; 0 when the list does not say */
};

/* A list of the whole CA, sorted as given, with CRL number. */
enum err x509_make_crl(const struct env *env, const struct x509_issuer *issuer,
                       const struct x509_revoked *items, size_t n, uint64_t number,
                       uint64_t lifetime_ms, struct buf *crl);

struct x509_crl {
    uint64_t number; /* 0 when the list has none */
    uint64_t this_update_ms;
    uint64_t next_update_ms;
    struct x509_revoked *items; /* sorted by serial */
    size_t n;
};
/* Decodes a list and checks that `ca` signed it. ERR_WRONG_USAGE for delta lists, partial lists,
 * and critical extensions that are not understood; ERR_BAD_SIGNATURE; ERR_STALE_CRL when it has no
 * nextUpdate. Time is not judged here. */
enum err x509_read_crl(struct span crl, struct span ca, struct x509_crl *ret, struct why *why);
void x509_crl_fini(struct x509_crl *crl);
/* NULL when the serial is not listed. */
const struct x509_revoked *x509_crl_find(const struct x509_crl *crl,
                                         const uint8_t serial[X509_SERIAL]);

/* SHA-256 of the certificate's SubjectPublicKeyInfo: what the directory pins. */
enum err x509_spki_digest(struct span cert, struct digest *ret);

struct x509_leaf {
    struct ed25519_public key;
    struct key_id key_id;
    uint8_t serial[X509_SERIAL];
    uint64_t not_before_ms;
    uint64_t not_after_ms; /* inclusive */
};

struct x509_check {
    struct span leaf;
    struct span ca;  /* the issuing CA itself; the trust anchor, self-signed or not */
    struct span crl; /* empty: revocation is judged elsewhere */
    const struct digest *ca_spki;
    const char *agency;
    const char *trust_domain;
    /* When to judge. 0: at the leaf's own notAfter, so that an expired leaf can be kept for what it
     * signed while it lived. */
    uint64_t at_ms;
};

/* Everything that must hold of a leaf: the CA has the pinned key; RFC 5280 path by OpenSSL, strict,
 * at that time, CRL checked when given; exactly one SAN, the expected URI; Ed25519;
 * digitalSignature and not a CA; lifetime within LIMIT_LEAF_LIFETIME_MS. Errors: malformed,
 * too-large, wrong-usage, bad-signature, expired, clock (not yet valid), revoked, stale-crl. */
enum err x509_check_leaf(const struct x509_check *check, struct x509_leaf *ret, struct why *why);

/* PEM (RFC 7468). Labels: X509_PEM_CERT and so on. */
#define X509_PEM_CERT "CERTIFICATE"
#define X509_PEM_CRL "X509 CRL"
#define X509_PEM_CSR "CERTIFICATE REQUEST"
enum err x509_pem_write(const char *label, struct span der, struct buf *out);
/* The `index`-th block, which must have that label. ERR_NOT_FOUND past the last. */
enum err x509_pem_read(const char *label, struct span text, size_t index, size_t max,
                       struct buf *der);

/* The certificate's key when it is Ed25519, else ERR_WRONG_USAGE. Nothing else is judged. */
enum err x509_ed25519_key(struct span cert, struct ed25519_public *ret);
/* A name for people: the subject on one line (RFC 2253), cut to the size. */
enum err x509_subject(struct span cert, char *out, size_t size);
/* Validity of any certificate. */
enum err x509_validity(struct span cert, uint64_t *not_before_ms, uint64_t *not_after_ms);

#endif
