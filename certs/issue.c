#include "certs/issue.h"

#include "common/limits.h"

#include <string.h>

static ProtobufCBinaryData bytes_of(const void *data, size_t len)
{
    return pb_bytes(span_of(data, len));
}

enum err issue_statement(const struct env *env, const struct issue_statement *in,
                         const struct secret *sign, struct buf *out, struct why *why)
{
    Sp__EncryptionKey keys[LIMIT_STATEMENT_KEYS];
    Sp__EncryptionKey *list[LIMIT_STATEMENT_KEYS];
    struct key_id ids[LIMIT_STATEMENT_KEYS];
    if (in->n_keys > LIMIT_STATEMENT_KEYS)
        return why_set(why, ERR_TOO_LARGE, "over %d encryption keys", LIMIT_STATEMENT_KEYS);
    for (size_t i = 0; i < in->n_keys; i++) {
        const struct issue_encryption_key *k = &in->keys[i];
        ids[i] = key_id_of(KEY_LABEL_SUITE_1, span_of(k->public_key, sizeof(k->public_key)));
        sp__encryption_key__init(&keys[i]);
        keys[i].suite = 1;
        keys[i].key_id = bytes_of(ids[i].b, sizeof(ids[i].b));
        keys[i].public_key = bytes_of(k->public_key, sizeof(k->public_key));
        keys[i].not_before_ms = k->not_before_ms;
        keys[i].not_after_ms = k->not_after_ms;
        keys[i].last_resort = k->last_resort;
        list[i] = &keys[i];
    }
    uint64_t now = env_now_ms(env);
    Sp__CurveKey transport = SP__CURVE_KEY__INIT;
    Sp__CurveKey *transports[] = {&transport};
    transport.public_key = bytes_of(in->transport, sizeof(in->transport));
    transport.not_before_ms = now - LIMIT_SKEW_MS;
    transport.not_after_ms = now + in->transport_lifetime_ms;
    Sp__Statement s = SP__STATEMENT__INIT;
    s.agency = pb_string(in->agency);
    s.serial = in->serial;
    s.issued_ms = now;
    s.expires_ms = now + in->lifetime_ms;
    s.keys = list;
    s.n_keys = in->n_keys;
    s.transport = transports;
    s.n_transport = 1;
    s.log_key = bytes_of(in->log.b, sizeof(in->log.b));
    return document_build_signed(DOCUMENT_STATEMENT, &s, sign, out, why);
}

enum err issue_timestamp(const struct env *env, uint64_t root_version,
                         const struct document *directory, uint64_t previous, uint64_t lifetime_ms,
                         const struct secret *key, struct buf *out, struct why *why)
{
    const Sp__Directory *d = document_directory(directory);
    uint64_t now = env_now_ms(env);
    uint64_t version = now / 1000;
    Sp__Timestamp t = SP__TIMESTAMP__INIT;
    t.version = version > previous ? version : previous + 1;
    t.federation = d->federation;
    t.issued_ms = now;
    t.expires_ms = now + lifetime_ms;
    t.root_version = root_version;
    t.directory_version = d->version;
    t.directory_sha256 = bytes_of(directory->sha256.b, sizeof(directory->sha256.b));
    return document_build_signed(DOCUMENT_TIMESTAMP, &t, key, out, why);
}

/* Languages in the order of their tags. The English texts follow Europol's handling codes. */
static const char *const languages[CODEBOOK_LANGUAGES] = {"en", "et", "lt", "lv"};

static const struct code_row {
    const char *code;
    bool exclusive, no_court_export, no_onward, needs_text;
    const char *labels[CODEBOOK_LANGUAGES];
} rows[CODEBOOK_CODES] = {
    {.code = "H0",
     .exclusive = true,
     .labels = {"Only for preventing and combating crime",
                "Kasutada üksnes kuritegude ennetamiseks ja nende vastu võitlemiseks",
                "Naudoti tik nusikaltimų prevencijai ir kovai su jais",
                "Izmantot tikai noziegumu novēršanai un apkarošanai"}},
    {.code = "H1",
     .no_court_export = true,
     .labels = {"Not to be disclosed in judicial proceedings without the provider's permission",
                "Mitte avaldada kohtumenetluses ilma andmete esitaja loata",
                "Neatskleisti teismo procese be informacijos teikėjo leidimo",
                "Neizpaust tiesvedībā bez informācijas sniedzēja atļaujas"}},
    {.code = "H2",
     .no_onward = true,
     .labels = {"Not to be disseminated without the provider's permission",
                "Mitte levitada ilma andmete esitaja loata",
                "Neplatinti be informacijos teikėjo leidimo",
                "Neizplatīt bez informācijas sniedzēja atļaujas"}},
    {.code = "H3",
     .needs_text = true,
     .labels = {"Other restrictions, as stated", "Muud piirangud, nagu on märgitud",
                "Kiti apribojimai, kaip nurodyta", "Citi ierobežojumi, kā norādīts"}},
};

void codebook_init(struct codebook *c)
{
    for (size_t i = 0; i < CODEBOOK_CODES; i++) {
        Sp__CodeEntry *e = &c->entries[i];
        sp__code_entry__init(e);
        for (size_t l = 0; l < CODEBOOK_LANGUAGES; l++) {
            sp__text__init(&c->texts[i][l]);
            c->texts[i][l].language = pb_string(languages[l]);
            c->texts[i][l].text = pb_string(rows[i].labels[l]);
            c->labels[i][l] = &c->texts[i][l];
        }
        e->code = pb_string(rows[i].code);
        e->labels = c->labels[i];
        e->n_labels = CODEBOOK_LANGUAGES;
        e->exclusive = rows[i].exclusive;
        e->no_court_export = rows[i].no_court_export;
        e->no_onward = rows[i].no_onward;
        e->needs_text = rows[i].needs_text;
        c->list[i] = e;
    }
}
