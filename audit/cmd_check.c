#include "audit/cmd.h"
#include "audit/jsonline.h"
#include "audit/leaf_text.h"
#include "audit/tlog_proof.h"
#include "common/file.h"
#include "common/limits.h"
#include "common/text.h"
#include "proto/envelope.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct run {
    const struct cli *args;
    struct anchor *anchor;
    const char *path;
    struct buf file;
};

/* A leaf in words, when the proof carries one of ours. */
static void print_leaf(const Sp__Leaf *leaf)
{
    char at[TEXT_TIME_SIZE], id[LEAF_ID_SIZE];
    struct buf b;

    text_time(leaf->at_ms, at);
    leaf_id(leaf, id);
    buf_init(&b, LIMIT_MIB);
    buf_printf(&b, "%s  ", at);
    leaf_sentence(leaf, &b);
    if (id[0] != '\0')
        buf_printf(&b, "; exchange %s", id);
    cmd_print_line("  ", buf_span(&b));
    buf_fini(&b);
}

static int tell_proof(const struct run *r, const struct tlog_proof *p, const struct checkpoint *c,
                      bool anchored)
{
    const Sp__Leaf *leaf = NULL;
    struct pb *pb = NULL;
    struct jsonline j;
    enum err e;

    e = leaf_decode(p->extra, &pb, &leaf);
    if (e != ERR_OK)
        leaf = NULL;
    if (!cli_flag(r->args, "json")) {
        printf("proof holds: leaf %" PRIu64 " of %" PRIu64 " in ", p->index, c->size);
        text_print_safe(stdout, span_str(c->origin), false);
        printf("%s\n", anchored ? ", signed by its log" : " (key not anchored: name --root)");
        if (leaf != NULL)
            print_leaf(leaf);
        pb_free(pb);
        return 0;
    }
    jsonline_init(&j);
    jsonline_text(&j, "kind", "tlog-proof");
    jsonline_bool(&j, "holds", true);
    jsonline_bool(&j, "anchored", anchored);
    jsonline_text(&j, "origin", c->origin);
    jsonline_u64(&j, "index", p->index);
    jsonline_u64(&j, "size", c->size);
    if (leaf != NULL) {
        jsonline_object(&j, "leaf");
        leaf_json(leaf, &j);
        jsonline_close(&j);
    }
    e = jsonline_print(&j, stdout);
    jsonline_fini(&j);
    pb_free(pb);
    return err_exit(e);
}

static int check_proof(struct run *r)
{
    bool json = cli_flag(r->args, "json");
    const struct note_key *anchored = NULL;
    struct note_key key;
    struct tlog_proof p;
    struct checkpoint c;
    struct digest hash;
    struct buf extra;
    int code = 0;
    enum err e;

    buf_init(&extra, LIMIT_TLOG_PROOF);
    e = tlog_proof_parse(buf_span(&r->file), &extra, &p);
    if (e == ERR_OK)
        e = checkpoint_parse(p.checkpoint, &c);
    if (e == ERR_OK && !p.has_extra)
        code = cli_fail(stderr, json, ERR_MALFORMED, "%s does not carry the leaf", r->path);
    else if (e != ERR_OK)
        code = cli_fail(stderr, json, e, "%s", r->path);
    if (code == 0)
        code = cmd_log_key(r->args, r->anchor, c.origin, &key, &anchored);
    if (code == 0) {
        hash = merkle_leaf(p.extra);
        e = tlog_proof_verify(&p, &hash, anchored, &c);
        code = e == ERR_OK ? tell_proof(r, &p, &c, anchored != NULL)
                           : cli_fail(stderr, json, ERR_BAD_PROOF, "%s: %s", r->path,
                                      e == ERR_BAD_SIGNATURE
                                          ? "the checkpoint is not signed by its log"
                                          : "the path does not lead to the checkpoint's root");
    }
    buf_fini(&extra);
    return code;
}

static void print_evidence(const struct run *r, const struct evidence *ev,
                           const struct evidence_verdict *v, const enum err *receipts)
{
    const struct envelope_header *h = envelope_header(evidence_envelope(ev));
    char id[UUID_TEXT_SIZE], hex[2 * sizeof(struct digest) + 1];

    uuid_format(&h->id, id);
    text_hex(digest_span(envelope_digest(evidence_envelope(ev))), hex);
    printf("evidence about exchange %s from %s\n", id, h->sender);
    printf("  envelope %s\n", hex);
    printf("  root: %s\n", anchor_is_set(r->anchor)
                               ? "the one given"
                               : "KEY NOT ANCHORED: the bundle's own (name --root)");
    printf("  signature: %s\n", v->signature == ERR_OK ? "the sender's key signed the envelope"
                                                       : err_meaning(v->signature));
    if (v->disclosed)
        printf("  file key: %s\n", v->commitment == ERR_OK ? "matches the sender's commitment"
                                                           : err_meaning(v->commitment));
    else
        printf("  file key: not disclosed\n");
    for (size_t i = 0; i < evidence_receipt_count(ev); i++) {
        const struct receipt *one = evidence_receipt(ev, i);

        print_leaf(receipt_leaf(one));
        if (receipts[i] == ERR_OK)
            printf("    proof holds: ");
        else
            printf("    DOES NOT HOLD (%s): ", err_code(receipts[i]));
        printf("leaf %" PRIu64 " of %" PRIu64 " in ", receipt_index(one), receipt_size(one));
        text_print_safe(stdout, span_str(receipt_origin(one)), false);
        printf("\n");
    }
}

static enum err json_evidence(const struct run *r, const struct evidence *ev,
                              const struct evidence_verdict *v, const enum err *receipts)
{
    const struct envelope_header *h = envelope_header(evidence_envelope(ev));
    char id[UUID_TEXT_SIZE];
    struct jsonline j;
    enum err e;

    uuid_format(&h->id, id);
    jsonline_init(&j);
    jsonline_text(&j, "kind", "evidence");
    jsonline_bool(&j, "holds",
                  v->signature == ERR_OK && v->commitment == ERR_OK &&
                      v->receipts_good == evidence_receipt_count(ev));
    jsonline_bool(&j, "anchored", anchor_is_set(r->anchor));
    jsonline_text(&j, "id", id);
    jsonline_text(&j, "sender", h->sender);
    jsonline_hex(&j, "envelope", digest_span(envelope_digest(evidence_envelope(ev))));
    jsonline_text(&j, "signature", err_code(v->signature));
    jsonline_bool(&j, "disclosed", v->disclosed);
    jsonline_text(&j, "commitment", err_code(v->commitment));
    jsonline_array(&j, "receipts");
    for (size_t i = 0; i < evidence_receipt_count(ev); i++) {
        const struct receipt *one = evidence_receipt(ev, i);

        jsonline_object(&j, NULL);
        jsonline_text(&j, "code", err_code(receipts[i]));
        jsonline_text(&j, "origin", receipt_origin(one));
        jsonline_u64(&j, "index", receipt_index(one));
        jsonline_u64(&j, "size", receipt_size(one));
        leaf_json(receipt_leaf(one), &j);
        jsonline_close(&j);
    }
    jsonline_close(&j);
    e = jsonline_print(&j, stdout);
    jsonline_fini(&j);
    return e;
}

static int judge(struct run *r, const struct evidence *ev, struct anchor_bundle *bundle)
{
    const struct evidence_keys keys = anchor_bundle_keys(bundle);
    size_t n = evidence_receipt_count(ev);
    enum err *receipts = calloc(n + 1, sizeof(*receipts));
    bool json = cli_flag(r->args, "json");
    struct evidence_verdict v;
    enum err e, printed = ERR_OK;

    if (receipts == NULL)
        return cli_fail(stderr, json, ERR_NO_MEMORY, NULL);
    e = evidence_verify(ev, &keys, &v, receipts);
    if (json)
        printed = json_evidence(r, ev, &v, receipts);
    else
        print_evidence(r, ev, &v, receipts);
    free(receipts);
    if (e != ERR_OK) {
        if (!json)
            printf("THE EVIDENCE DOES NOT HOLD\n");
        return err_exit(ERR_BAD_PROOF);
    }
    if (!json)
        printf("the evidence holds: %zu receipts\n", n);
    return err_exit(printed);
}

static int check_evidence(struct run *r)
{
    bool json = cli_flag(r->args, "json");
    struct anchor_bundle *bundle = NULL;
    struct evidence *ev;
    char why[512] = "";
    int code;
    enum err e;

    e = evidence_decode(buf_span(&r->file), &ev);
    if (e != ERR_OK) {
        snprintf(why, sizeof(why), "%s is neither a proof nor an evidence bundle", r->path);
        /* How the bytes fail to decode helps nobody who holds the wrong or a cut file. */
        return cli_fail_text(stderr, json, err_class(e) == ERR_CLASS_PEER ? ERR_MALFORMED : e, why,
                             "name the file that `sealpost prove` or `sealpost-audit prove` wrote; "
                             "if it is that one, it was damaged: ask for it again");
    }
    e = anchor_bundle_new(r->anchor, ev, &bundle, why, sizeof(why));
    if (e != ERR_OK)
        code = cli_fail(stderr, json, ERR_BAD_PROOF, "%s: its root and directory do not hold: %s",
                        r->path, why[0] != '\0' ? why : err_meaning(e));
    else
        code = judge(r, ev, bundle);
    anchor_bundle_free(bundle);
    evidence_free(ev);
    return code;
}

int cmd_check(const struct cli *args)
{
    struct run r = {.args = args, .path = cli_operand(args, 0)};
    bool json = cli_flag(args, "json");
    int code = cmd_open_anchor(args, &r.anchor);
    enum err e;

    if (code != 0)
        return code;
    e = file_read(r.path, LIMIT_EVIDENCE, &r.file);
    if (e != ERR_OK)
        code = cli_fail(stderr, json, e, "%s: %s", r.path, err_meaning(e));
    else if (tlog_proof_is(buf_span(&r.file)))
        code = check_proof(&r);
    else
        code = check_evidence(&r);
    buf_fini(&r.file);
    anchor_free(r.anchor);
    return code;
}
