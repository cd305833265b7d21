#include "proto/envelope.h"

#include "proto/pb.h"
#include "tests/lib/leaks.h"
#include "tests/unit/proto/envelope_kit.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(envelope, .fini = leaks_check, .timeout = 240);

static struct kit kit;

/* One thing wrong with an otherwise good, correctly digested and signed envelope of two recipients
 * and two parts, and what decoding says to it. ERR_OK stands for the last value that is allowed. */
struct rule {
    const char *name;
    void (*change)(struct draft *d);
    enum err expected;
};

static void run_rules(const struct rule *rules, size_t n)
{
    kit_init(&kit, 1, 3);
    for (size_t i = 0; i < n; i++) {
        struct draft *d = draft_new(&kit, 2, 2);
        enum err e;

        cr_assert_eq(draft_decode(d), ERR_OK, "the draft itself is good");
        rules[i].change(d);
        e = draft_decode(d);
        cr_assert_eq(e, rules[i].expected, "%s: %s", rules[i].name, err_code(e));
        draft_free(d);
    }
    kit_fini(&kit);
}

/* A change of the draft `d` by a statement. */
#define CHANGE(name, statement)       \
    static void name(struct draft *d) \
    {                                 \
        statement;                    \
    }
#define N(array) (sizeof(array) / sizeof((array)[0]))

#define DAY ((uint64_t)86400000)
CHANGE(version_1, d->header.version = 1)
CHANGE(suite_0, d->header.suite = 0)
CHANGE(suite_2, d->header.suite = 2)
CHANGE(id_absent, d->header.id.len = 0)
CHANGE(id_15, d->header.id.len = 15)
CHANGE(id_17, d->header.id.len = 17)
CHANGE(id_v4, d->id[6] = (uint8_t)(0x40 | (d->id[6] & 0x0f)))
CHANGE(id_variant, d->id[8] = (uint8_t)(0xc0 | (d->id[8] & 0x3f)))
CHANGE(id_other_time, d->header.created_ms++)
CHANGE(created_absent, d->header.created_ms = 0)
CHANGE(expires_absent, d->header.expires_ms = 0)
CHANGE(expires_at_once, d->header.expires_ms = KIT_CREATED_MS)
CHANGE(expires_before, d->header.expires_ms = KIT_CREATED_MS - 1)
CHANGE(expires_next, d->header.expires_ms = KIT_CREATED_MS + 1)
CHANGE(expires_almost_last, d->header.expires_ms = KIT_CREATED_MS + 14 * DAY - 1)
CHANGE(expires_last, d->header.expires_ms = KIT_CREATED_MS + 14 * DAY)
CHANGE(expires_late, d->header.expires_ms = KIT_CREATED_MS + 14 * DAY + 1)
CHANGE(expires_never, d->header.expires_ms = UINT64_MAX)
CHANGE(level_absent, d->header.level = 0)
CHANGE(level_6, d->header.level = 6)
CHANGE(level_1, d->header.level = 1)
CHANGE(level_5, d->header.level = 5)
CHANGE(urgency_absent, d->header.urgency = 0)
CHANGE(urgency_4, d->header.urgency = 4)
CHANGE(urgency_3, d->header.urgency = 3)
CHANGE(directory_absent, d->header.directory_version = 0)
CHANGE(supersedes_good, d->header.supersedes = pb_bytes(span_of(d->supersedes, 16)))
CHANGE(supersedes_15, d->header.supersedes = pb_bytes(span_of(d->supersedes, 15)))
CHANGE(supersedes_17, d->header.supersedes = pb_bytes(span_of(d->supersedes, 17)))
CHANGE(supersedes_v4, supersedes_good(d); d->supersedes[6] = 0x40)
CHANGE(supersedes_itself, d->header.supersedes = d->header.id)
CHANGE(release_good, d->header.release = pb_bytes(span_of(d->release, 32)))
CHANGE(release_31, d->header.release = pb_bytes(span_of(d->release, 31)))
CHANGE(release_33, d->header.release = pb_bytes(span_of(d->release, 33)))
CHANGE(header_unknown_field, d->header_tail = span_str("\xf8\x06\x01"))
CHANGE(header_long_varint, d->header_tail = span_str("\x50\x87\x80\x01"))
CHANGE(header_cut, d->header_tail = span_str("\x6a\x20"))

static const struct rule header_rules[] = {
    {"version 1", version_1, ERR_VERSION},
    {"suite 0", suite_0, ERR_VERSION},
    {"suite 2", suite_2, ERR_VERSION},
    {"no id", id_absent, ERR_MALFORMED},
    {"id of 15", id_15, ERR_MALFORMED},
    {"id of 17", id_17, ERR_MALFORMED},
    {"id of version 4", id_v4, ERR_MALFORMED},
    {"id of another variant", id_variant, ERR_MALFORMED},
    {"id of another time", id_other_time, ERR_MALFORMED},
    {"no created", created_absent, ERR_MALFORMED},
    {"no expiry", expires_absent, ERR_MALFORMED},
    {"expires at once", expires_at_once, ERR_MALFORMED},
    {"expires before", expires_before, ERR_MALFORMED},
    {"expires in 1 ms", expires_next, ERR_OK},
    {"expires at 14 days - 1 ms", expires_almost_last, ERR_OK},
    {"expires at 14 days", expires_last, ERR_OK},
    {"expires at 14 days + 1 ms", expires_late, ERR_TOO_LARGE},
    {"never expires", expires_never, ERR_TOO_LARGE},
    {"no level", level_absent, ERR_MALFORMED},
    {"level 6", level_6, ERR_MALFORMED},
    {"level 1", level_1, ERR_OK},
    {"level 5", level_5, ERR_OK},
    {"no urgency", urgency_absent, ERR_MALFORMED},
    {"urgency 4", urgency_4, ERR_MALFORMED},
    {"urgency 3", urgency_3, ERR_OK},
    {"no directory version", directory_absent, ERR_MALFORMED},
    {"supersedes", supersedes_good, ERR_OK},
    {"supersedes of 15", supersedes_15, ERR_MALFORMED},
    {"supersedes of 17", supersedes_17, ERR_MALFORMED},
    {"supersedes of version 4", supersedes_v4, ERR_MALFORMED},
    {"supersedes itself", supersedes_itself, ERR_MALFORMED},
    {"release", release_good, ERR_OK},
    {"release of 31", release_31, ERR_MALFORMED},
    {"release of 33", release_33, ERR_MALFORMED},
    {"unknown field", header_unknown_field, ERR_UNKNOWN_FIELD},
    {"doubled field with a long varint", header_long_varint, ERR_NON_CANONICAL},
    {"cut field", header_cut, ERR_MALFORMED},
};

Test(envelope, header_rules)
{
    run_rules(header_rules, N(header_rules));
}

#define T32 "abcdefghijklmnopqrstuvwxyz-01234"
CHANGE(sender_absent, d->header.sender = NULL)
CHANGE(agency_absent, d->sender.agency = pb_string(""))
CHANGE(agency_lower, d->sender.agency = pb_string("ee.POLICE"))
CHANGE(agency_one_word, d->sender.agency = pb_string("EE"))
CHANGE(agency_longest, d->sender.agency = pb_string("EE.AAAAAAAAAAAAAAAAAAAAAAAA"
                                                    ".AAAAAAAAAAAAAAAAAAAAAAAA"
                                                    ".AAAAAAAAAAAAAAAAAAAAAAAA"))
CHANGE(agency_too_long, d->sender.agency = pb_string("EE.AAAAAAAAAAAAAAAAAAAAAAAAA"))
CHANGE(agent_absent, d->sender.agent = pb_string(""))
CHANGE(agent_32, d->sender.agent = pb_string(T32))
CHANGE(agent_31, d->sender.agent = pb_string(&T32[1]))
CHANGE(agent_33, d->sender.agent = pb_string(T32 "a"))
CHANGE(agent_upper, d->sender.agent = pb_string("Agent"))
CHANGE(agent_dot, d->sender.agent = pb_string("a.b"))
CHANGE(epoch_7, d->sender.epoch.len = 7)
CHANGE(epoch_9, d->sender.epoch.len = 9)
CHANGE(key_id_15, d->sender.key_id.len = 15)
CHANGE(key_id_17, d->sender.key_id.len = 17)
CHANGE(key_id_other, d->key_id[15] ^= 1)

static void handling(struct draft *d, size_t n, const char *first, const char *second)
{
    d->header.n_handling = n;
    d->handling[0] = pb_string(first);
    d->handling[1] = pb_string(second);
}

static void handling_many(struct draft *d, size_t n)
{
    static const char *const codes[] = {"A1", "A2", "A3", "A4", "A5", "A6", "A7", "A8", "A9"};

    d->header.n_handling = n;
    for (size_t i = 0; i < n; i++)
        d->handling[i] = pb_string(codes[i]);
}

CHANGE(handling_none, handling(d, 0, "", ""))
CHANGE(handling_two, handling(d, 2, "H1", "H2"))
CHANGE(handling_unsorted, handling(d, 2, "H2", "H1"))
CHANGE(handling_twice, handling(d, 2, "H1", "H1"))
CHANGE(handling_empty, handling(d, 1, "", ""))
CHANGE(handling_lower, handling(d, 1, "h1", ""))
CHANGE(handling_digit, handling(d, 1, "1H", ""))
CHANGE(handling_space, handling(d, 1, "H 1", ""))
CHANGE(handling_14, handling(d, 1, "A-3456789-1234", ""))
CHANGE(handling_15, handling(d, 1, "A-3456789-12345", ""))
CHANGE(handling_16, handling(d, 1, "A-3456789-123456", ""))
CHANGE(handling_7_codes, handling_many(d, 7))
CHANGE(handling_8_codes, handling_many(d, 8))
CHANGE(handling_9_codes, handling_many(d, 9))

static const struct rule sender_rules[] = {
    {"no sender", sender_absent, ERR_MALFORMED},
    {"no agency", agency_absent, ERR_MALFORMED},
    {"lower-case agency", agency_lower, ERR_MALFORMED},
    {"agency of one word", agency_one_word, ERR_MALFORMED},
    {"longest agency", agency_longest, ERR_OK},
    {"agency word of 25", agency_too_long, ERR_MALFORMED},
    {"no agent", agent_absent, ERR_MALFORMED},
    {"agent of 31", agent_31, ERR_OK},
    {"agent of 32", agent_32, ERR_OK},
    {"agent of 33", agent_33, ERR_MALFORMED},
    {"upper-case agent", agent_upper, ERR_MALFORMED},
    {"agent with a dot", agent_dot, ERR_MALFORMED},
    {"epoch of 7", epoch_7, ERR_MALFORMED},
    {"epoch of 9", epoch_9, ERR_MALFORMED},
    {"key id of 15", key_id_15, ERR_MALFORMED},
    {"key id of 17", key_id_17, ERR_MALFORMED},
    {"key id that is not the signature's", key_id_other, ERR_MALFORMED},
    {"no code", handling_none, ERR_MALFORMED},
    {"two codes", handling_two, ERR_OK},
    {"codes not sorted", handling_unsorted, ERR_MALFORMED},
    {"code twice", handling_twice, ERR_MALFORMED},
    {"empty code", handling_empty, ERR_MALFORMED},
    {"lower-case code", handling_lower, ERR_MALFORMED},
    {"code that begins with a digit", handling_digit, ERR_MALFORMED},
    {"code with a space", handling_space, ERR_MALFORMED},
    {"code of 14", handling_14, ERR_OK},
    {"code of 15", handling_15, ERR_OK},
    {"code of 16", handling_16, ERR_MALFORMED},
    {"7 codes", handling_7_codes, ERR_OK},
    {"8 codes", handling_8_codes, ERR_OK},
    {"9 codes", handling_9_codes, ERR_TOO_LARGE},
};

Test(envelope, sender_and_handling_rules)
{
    run_rules(sender_rules, N(sender_rules));
}

CHANGE(recipient_none, d->recipients.n_items = 0; d->wraps.n_items = 0)
CHANGE(recipient_lower, d->recipient[1].agency = pb_string("LT.a"))
CHANGE(recipient_absent, d->recipient[0].agency = pb_string(""))
CHANGE(recipient_sender, d->recipient[0].agency = pb_string(KIT_SENDER))
CHANGE(recipient_unsorted, d->recipient[1].agency = pb_string("LT.A"))
CHANGE(recipient_twice, d->recipient[1].agency = d->recipient[0].agency)
CHANGE(recipient_seq_0, d->recipient[1].seq = 0)
CHANGE(recipient_seq_2, d->recipient[1].seq = 2)
CHANGE(recipient_seq_last, d->recipient[1].seq = UINT64_MAX)
CHANGE(recipient_prev_31, d->recipient[1].prev_hash.len = 31)
CHANGE(recipient_prev_33, d->recipient[1].prev_hash.len = 33)
CHANGE(recipient_prev_absent, d->recipient[1].prev_hash.len = 0)
CHANGE(recipient_prev_of_first, d->prev_hash[0] = 1)
CHANGE(recipient_prev_of_later, d->prev_hash[0] = 1; d->recipient[0].seq = 2;
       d->recipient[1].seq = 3)
CHANGE(recipients_unknown_field, d->recipients_tail = span_str("\xf8\x06\x01"))
CHANGE(recipients_empty_item, d->recipients_tail = span_of("\x0a\x00", 2))

CHANGE(wraps_fewer, d->wraps.n_items--)
CHANGE(wraps_one_more, d->wraps.n_items++)
CHANGE(wraps_unknown_field, d->wraps_tail = span_str("\xf8\x06\x01"))
CHANGE(swap_now, Sp__Wrap w = d->wrap[0]; d->wrap[0] = d->wrap[1]; d->wrap[1] = w)
CHANGE(wraps_swapped, d->change_wraps = swap_now)
CHANGE(agency_now, d->wrap[1].agency = pb_string("LT.OTHER"))
CHANGE(wrap_agency, d->change_wraps = agency_now)
CHANGE(key_15_now, d->wrap[1].key_id.len = 15)
CHANGE(wrap_key_15, d->change_wraps = key_15_now)
CHANGE(key_17_now, d->wrap[1].key_id.len = 17)
CHANGE(wrap_key_17, d->change_wraps = key_17_now)
CHANGE(enc_31_now, d->wrap[1].enc.len = 31)
CHANGE(wrap_enc_31, d->change_wraps = enc_31_now)
CHANGE(enc_33_now, d->wrap[1].enc.len = 33)
CHANGE(wrap_enc_33, d->change_wraps = enc_33_now)
CHANGE(ct_31_now, d->wrap[1].ct.len = 31)
CHANGE(wrap_ct_31, d->change_wraps = ct_31_now)
CHANGE(ct_33_now, d->wrap[1].ct.len = 33)
CHANGE(wrap_ct_33, d->change_wraps = ct_33_now)
CHANGE(seq_254_now, d->wrap[1].seq = 254)
CHANGE(wrap_seq_254, d->change_wraps = seq_254_now)
CHANGE(seq_255_now, d->wrap[1].seq = 255)
CHANGE(wrap_seq_255, d->change_wraps = seq_255_now)
CHANGE(seq_256_now, d->wrap[1].seq = 256)
CHANGE(wrap_seq_256, d->change_wraps = seq_256_now)

static const struct rule recipient_rules[] = {
    {"no recipient", recipient_none, ERR_MALFORMED},
    {"lower-case recipient", recipient_lower, ERR_MALFORMED},
    {"recipient without a name", recipient_absent, ERR_MALFORMED},
    {"the sender is a recipient", recipient_sender, ERR_MALFORMED},
    {"recipients not sorted", recipient_unsorted, ERR_MALFORMED},
    {"recipient twice", recipient_twice, ERR_MALFORMED},
    {"seq 0", recipient_seq_0, ERR_MALFORMED},
    {"seq 2", recipient_seq_2, ERR_OK},
    {"seq 2^64 - 1", recipient_seq_last, ERR_OK},
    {"previous digest of 31", recipient_prev_31, ERR_MALFORMED},
    {"previous digest of 33", recipient_prev_33, ERR_MALFORMED},
    {"no previous digest", recipient_prev_absent, ERR_MALFORMED},
    {"the first has a previous digest", recipient_prev_of_first, ERR_MALFORMED},
    {"later ones have a previous digest", recipient_prev_of_later, ERR_OK},
    {"unknown field in the recipients", recipients_unknown_field, ERR_UNKNOWN_FIELD},
    {"empty recipient", recipients_empty_item, ERR_MALFORMED},
    {"a wrap too few", wraps_fewer, ERR_MALFORMED},
    {"a wrap too many", wraps_one_more, ERR_MALFORMED},
    {"unknown field in the wraps", wraps_unknown_field, ERR_UNKNOWN_FIELD},
    {"wraps in another order", wraps_swapped, ERR_MALFORMED},
    {"wrap of another agency", wrap_agency, ERR_MALFORMED},
    {"wrap key id of 15", wrap_key_15, ERR_MALFORMED},
    {"wrap key id of 17", wrap_key_17, ERR_MALFORMED},
    {"enc of 31", wrap_enc_31, ERR_MALFORMED},
    {"enc of 33", wrap_enc_33, ERR_MALFORMED},
    {"ct of 31", wrap_ct_31, ERR_MALFORMED},
    {"ct of 33", wrap_ct_33, ERR_MALFORMED},
    {"wrap seq 254", wrap_seq_254, ERR_OK},
    {"wrap seq 255", wrap_seq_255, ERR_OK},
    {"wrap seq 256", wrap_seq_256, ERR_TOO_LARGE},
};

Test(envelope, recipient_and_wrap_rules)
{
    run_rules(recipient_rules, N(recipient_rules));
}

CHANGE(part_none, d->parts.n_items = 0)
CHANGE(part_99, d->parts.n_items = 99)
CHANGE(part_100, d->parts.n_items = 100)
CHANGE(part_101, d->parts.n_items = 101)
CHANGE(part_gap, d->part[1].index = 2)
CHANGE(part_index_twice, d->part[1].index = 0)
CHANGE(part_from_1, d->part[0].index = 1; d->part[1].index = 2)
CHANGE(part_no_body, d->part[0].kind = SP__PART_KIND__PART_KIND_ATTACHMENT)
CHANGE(part_two_bodies, d->part[1].kind = SP__PART_KIND__PART_KIND_BODY;
       d->part[1].ct_len = d->part[0].ct_len)
CHANGE(part_no_kind, d->part[1].kind = 0)
CHANGE(part_other_kind, d->part[1].kind = 3)
CHANGE(part_no_length, d->part[1].ct_len = 0)
CHANGE(part_31, d->part[1].ct_len = 31)
CHANGE(part_empty, d->part[1].ct_len = 32)
CHANGE(part_between, d->part[1].ct_len = 16 + 65536 + 16 + 16)
CHANGE(part_almost_longest, d->part[1].ct_len = part_sealed_len(LIMIT_PART - 1))
CHANGE(part_longest, d->part[1].ct_len = part_sealed_len(LIMIT_PART))
CHANGE(part_too_long, d->part[1].ct_len = part_sealed_len(LIMIT_PART + 1))
CHANGE(part_sha_31, d->part[1].sha256.len = 31)
CHANGE(part_sha_33, d->part[1].sha256.len = 33)
CHANGE(body_bare, d->part[0].ct_len = part_sealed_len(1000))
CHANGE(body_between, d->part[0].ct_len = part_sealed_len(1025))
CHANGE(body_empty, d->part[0].ct_len = part_sealed_len(0))
CHANGE(body_shortest, d->part[0].ct_len = part_sealed_len(1024))
CHANGE(body_longest, d->part[0].ct_len = part_sealed_len(body_padded_len(LIMIT_BODY)))
CHANGE(body_too_long, d->part[0].ct_len = part_sealed_len(body_padded_len(LIMIT_BODY) + 65536))
CHANGE(parts_unknown_field, d->parts_tail = span_str("\xf8\x06\x01"))

static const struct rule part_rules[] = {
    {"no part", part_none, ERR_MALFORMED},
    {"99 parts", part_99, ERR_OK},
    {"100 parts", part_100, ERR_OK},
    {"101 parts", part_101, ERR_TOO_LARGE},
    {"gap in the index", part_gap, ERR_MALFORMED},
    {"index twice", part_index_twice, ERR_MALFORMED},
    {"index from 1", part_from_1, ERR_MALFORMED},
    {"part 0 is no body", part_no_body, ERR_MALFORMED},
    {"two bodies", part_two_bodies, ERR_MALFORMED},
    {"no kind", part_no_kind, ERR_MALFORMED},
    {"unknown kind", part_other_kind, ERR_MALFORMED},
    {"no length", part_no_length, ERR_MALFORMED},
    {"length 31", part_31, ERR_MALFORMED},
    {"empty attachment", part_empty, ERR_OK},
    {"length that nothing seals to", part_between, ERR_MALFORMED},
    {"attachment of the limit - 1", part_almost_longest, ERR_OK},
    {"attachment of the limit", part_longest, ERR_OK},
    {"attachment of the limit + 1", part_too_long, ERR_TOO_LARGE},
    {"digest of 31", part_sha_31, ERR_MALFORMED},
    {"digest of 33", part_sha_33, ERR_MALFORMED},
    {"body of 1000", body_bare, ERR_MALFORMED},
    {"body of 1025", body_between, ERR_MALFORMED},
    {"empty body", body_empty, ERR_MALFORMED},
    {"shortest body", body_shortest, ERR_OK},
    {"longest body", body_longest, ERR_OK},
    {"body over its limit", body_too_long, ERR_TOO_LARGE},
    {"unknown field in the parts", parts_unknown_field, ERR_UNKNOWN_FIELD},
};

Test(envelope, part_rules)
{
    run_rules(part_rules, N(part_rules));
}

CHANGE(two_now, d->envelope.n_signatures = 2)
CHANGE(signatures_two, d->change_outer = two_now)
CHANGE(none_now, d->envelope.n_signatures = 0)
CHANGE(signatures_none, d->change_outer = none_now)
CHANGE(sig_63_now, d->signature.sig.len = 63)
CHANGE(sig_63, d->change_outer = sig_63_now)
CHANGE(sig_65_now, d->signature.sig.len = 65)
CHANGE(sig_65, d->change_outer = sig_65_now)
CHANGE(keyid_upper_now, for (char *p = d->keyid_text; *p != '\0'; p++) *p &= *p > '9' ? 0x5f : 0x7f)
CHANGE(keyid_upper, d->change_outer = keyid_upper_now)
CHANGE(keyid_short_now, d->keyid_text[31] = '\0')
CHANGE(keyid_short, d->change_outer = keyid_short_now)
CHANGE(keyid_none_now, d->keyid_text[0] = '\0')
CHANGE(keyid_none, d->change_outer = keyid_none_now)
CHANGE(signed_by_another, d->sign = d->kit->other_sign)
CHANGE(type_now, d->envelope.payload_type = pb_string(DSSE_TYPE_STATEMENT))
CHANGE(type_other, d->change_outer = type_now)
CHANGE(type_none_now, d->envelope.payload_type = pb_string(""))
CHANGE(type_none, d->change_outer = type_none_now)
CHANGE(core_31_now, d->core.commit.len = 31)
CHANGE(core_31, d->change_core = core_31_now)
CHANGE(core_none_now, d->core.commit.len = 0)
CHANGE(core_none, d->change_core = core_none_now)
CHANGE(core_0_now, d->digests[0].b[0] ^= 1)
CHANGE(core_header, d->change_core = core_0_now)
CHANGE(core_1_now, d->digests[1].b[31] ^= 1)
CHANGE(core_recipients, d->change_core = core_1_now)
CHANGE(core_2_now, d->digests[2].b[0] ^= 0x80)
CHANGE(core_wraps, d->change_core = core_2_now)
CHANGE(core_3_now, d->digests[3].b[31] ^= 0x80)
CHANGE(core_parts, d->change_core = core_3_now)
CHANGE(core_unknown_field, d->core_tail = span_str("\x32\x01\x61"))
CHANGE(outer_unknown_field, d->outer_tail = span_str("\xa2\x01\x01\x61"))
CHANGE(outer_twice, d->outer_tail = span_of("\x9a\x01\x00", 3))

static void batch(struct draft *d, uint32_t index, uint32_t size)
{
    d->in_batch = true;
    d->batch_index = index;
    d->batch_size = size;
}

CHANGE(batch_0_of_1, batch(d, 0, 1))
CHANGE(batch_0_of_0, batch(d, 0, 0))
CHANGE(batch_1_of_2, batch(d, 1, 2))
CHANGE(batch_2_of_2, batch(d, 2, 2))
CHANGE(batch_254_of_255, batch(d, 254, 255))
CHANGE(batch_255_of_256, batch(d, 255, 256))
CHANGE(batch_0_of_257, batch(d, 0, 257))
CHANGE(batch_256_of_257, batch(d, 256, 257))
CHANGE(path_less_now, d->batch.n_path--)
CHANGE(path_short, batch(d, 1, 5); d->change_outer = path_less_now)
CHANGE(path_more_now, d->path[d->batch.n_path++] = d->path[0])
CHANGE(path_long, batch(d, 1, 5); d->change_outer = path_more_now)
CHANGE(path_31_now, d->path[0].len = 31)
CHANGE(path_31, batch(d, 1, 5); d->change_outer = path_31_now)
CHANGE(path_0_now, d->path[0].len = 0)
CHANGE(path_0, batch(d, 1, 5); d->change_outer = path_0_now)

static const struct rule signature_rules[] = {
    {"two signatures", signatures_two, ERR_MALFORMED},
    {"no signature", signatures_none, ERR_MALFORMED},
    {"signature of 63", sig_63, ERR_MALFORMED},
    {"signature of 65", sig_65, ERR_MALFORMED},
    {"upper-case key id", keyid_upper, ERR_MALFORMED},
    {"short key id", keyid_short, ERR_MALFORMED},
    {"no key id", keyid_none, ERR_MALFORMED},
    {"signed by another key", signed_by_another, ERR_MALFORMED},
    {"another payload type", type_other, ERR_WRONG_USAGE},
    {"no payload type", type_none, ERR_WRONG_USAGE},
    {"commitment of 31", core_31, ERR_MALFORMED},
    {"no commitment", core_none, ERR_MALFORMED},
    {"other digest of the header", core_header, ERR_BAD_DIGEST},
    {"other digest of the recipients", core_recipients, ERR_BAD_DIGEST},
    {"other digest of the wraps", core_wraps, ERR_BAD_DIGEST},
    {"other digest of the parts", core_parts, ERR_BAD_DIGEST},
    {"unknown field in the core", core_unknown_field, ERR_UNKNOWN_FIELD},
    {"unknown field in the envelope", outer_unknown_field, ERR_UNKNOWN_FIELD},
    {"field twice in the envelope", outer_twice, ERR_NON_CANONICAL},
    {"batch of one", batch_0_of_1, ERR_MALFORMED},
    {"batch of none", batch_0_of_0, ERR_MALFORMED},
    {"1 of 2", batch_1_of_2, ERR_OK},
    {"2 of 2", batch_2_of_2, ERR_MALFORMED},
    {"254 of 255", batch_254_of_255, ERR_OK},
    {"255 of 256", batch_255_of_256, ERR_OK},
    {"0 of 257", batch_0_of_257, ERR_TOO_LARGE},
    {"256 of 257", batch_256_of_257, ERR_TOO_LARGE},
    {"path too short", path_short, ERR_MALFORMED},
    {"path too long", path_long, ERR_MALFORMED},
    {"path node of 31", path_31, ERR_MALFORMED},
    {"path node of 0", path_0, ERR_MALFORMED},
};

Test(envelope, signature_core_and_batch_rules)
{
    run_rules(signature_rules, N(signature_rules));
}

Test(envelope, recipients_up_to_their_limit)
{
    static const struct {
        size_t n;
        enum err expected;
    } cases[] = {{LIMIT_RECIPIENTS - 1, ERR_OK},
                 {LIMIT_RECIPIENTS, ERR_OK},
                 {LIMIT_RECIPIENTS + 1, ERR_TOO_LARGE}};

    kit_init(&kit, 1, KIT_AGENCIES);
    for (size_t i = 0; i < N(cases); i++) {
        struct draft *d = draft_new(&kit, cases[i].n, 1);

        cr_assert_eq(draft_decode(d), cases[i].expected);
        draft_free(d);
    }
    kit_fini(&kit);
}

/* No envelope that keeps the other limits comes near this one, so what is at the limit is refused
 * for another reason. */
Test(envelope, bytes_over_the_limit_are_not_looked_at)
{
    static uint8_t bytes[LIMIT_ENVELOPE + 1];
    struct envelope *e = NULL;
    size_t payload = LIMIT_ENVELOPE - 4;

    bytes[0] = 0x0a;
    bytes[1] = (uint8_t)(0x80 | (payload & 0x7f));
    bytes[2] = (uint8_t)(0x80 | (payload >> 7 & 0x7f));
    bytes[3] = (uint8_t)(payload >> 14);
    cr_assert_eq(envelope_decode(span_of(bytes, LIMIT_ENVELOPE), &e), ERR_WRONG_USAGE);
    payload++;
    bytes[1] = (uint8_t)(0x80 | (payload & 0x7f));
    cr_assert_eq(envelope_decode(span_of(bytes, LIMIT_ENVELOPE + 1), &e), ERR_TOO_LARGE);
    cr_assert_eq(envelope_decode(span_of(NULL, 0), &e), ERR_WRONG_USAGE);
    cr_assert_null(e);
    envelope_free(NULL);
}

Test(envelope, shows_what_was_sealed)
{
    struct draft *d;
    struct envelope *e;
    struct digest digest;
    size_t i;

    kit_init(&kit, 1, 3);
    d = draft_new(&kit, 3, 4);
    handling_two(d);
    supersedes_good(d);
    release_good(d);
    recipient_prev_of_later(d);
    d->recipient[2].seq = 9;
    e = draft_envelope(d);
    const struct envelope_header *h = envelope_header(e);

    cr_assert_eq(h->suite, 1);
    cr_assert_arr_eq(h->id.b, d->id, 16);
    cr_assert_eq(h->created_ms, KIT_CREATED_MS);
    cr_assert_eq(h->expires_ms, KIT_CREATED_MS + DAY);
    cr_assert_str_eq(h->sender, KIT_SENDER);
    cr_assert_str_eq(h->agent, "agent-1");
    cr_assert_arr_eq(h->epoch, "epoch-01", 8);
    cr_assert_arr_eq(h->key_id.b, kit.sign_id.b, 16);
    cr_assert_eq(h->n_handling, 2);
    cr_assert_str_eq(h->handling[1], "H2");
    cr_assert_eq(h->level, SP__LEVEL__LEVEL_BPL);
    cr_assert_eq(h->urgency, SP__URGENCY__URGENCY_URGENT);
    cr_assert_eq(h->directory_version, 7);
    cr_assert(h->has_supersedes);
    cr_assert_arr_eq(h->supersedes.b, d->supersedes, 16);
    cr_assert_eq(h->release.len, 32);
    cr_assert_eq(h->source.len, 0);
    cr_assert_null(envelope_source(e));
    cr_assert_eq(envelope_verify_source(e, &kit.sign_public, NULL), ERR_NOT_FOUND);
    cr_assert_eq(envelope_recipient_count(e), 3);
    cr_assert_eq(envelope_find_recipient(e, "LT.A002", &i), ERR_OK);
    cr_assert_eq(i, 2);
    cr_assert_eq(envelope_recipient(e, i)->seq, 9);
    cr_assert_arr_eq(envelope_recipient(e, i)->prev_hash.b, d->prev_hash, 32);
    cr_assert_arr_eq(envelope_recipient(e, i)->key_id.b, kit.key_ids[2].b, 16);
    cr_assert_arr_eq(envelope_recipient(e, i)->enc.data, d->enc[2], 32);
    cr_assert_eq(envelope_find_recipient(e, KIT_SENDER, &i), ERR_NOT_A_RECIPIENT);
    cr_assert_eq(envelope_part_count(e), 4);
    cr_assert_eq(envelope_part(e, 3)->kind, SP__PART_KIND__PART_KIND_ATTACHMENT);
    cr_assert_eq(envelope_parts_len(e), part_sealed_len(2048) + 3 * part_sealed_len(99));
    cr_assert(digest_equal(&envelope_core(e)->commit, &d->digests[4]));
    struct buf core;

    buf_init(&core, LIMIT_KIB);
    pb_encode(&d->core, &core);
    digest = sha256(buf_span(&core));
    cr_assert(digest_equal(envelope_digest(e), &digest));
    buf_fini(&core);
    envelope_free(e);
    draft_free(d);
    kit_fini(&kit);
}
