#include "agent/record.h"

#include "tests/lib/leaks.h"

#include <stdlib.h>
#include <string.h>

TestSuite(record, .fini = leaks_check);

/* A copy of its own size, so that the address sanitizer sees every byte read past it. */
static struct span exact(struct span s)
{
    uint8_t *copy = malloc(s.len > 0 ? s.len : 1);

    cr_assert_not_null(copy);
    if (s.len > 0)
        memcpy(copy, s.data, s.len);
    return span_of(copy, s.len);
}

static void drop(struct span s)
{
    free((void *)(uintptr_t)s.data);
}

static void fill(char *out, size_t size)
{
    memset(out, 'a', size - 1);
    out[size - 1] = '\0';
}

static struct mail sample(size_t n_recipients)
{
    struct mail m;

    cr_assert_eq(mail_init(&m, n_recipients), ERR_OK);
    m.box = MAIL_OUT;
    memset(m.id.b, 0x11, sizeof m.id.b);
    memset(m.digest.b, 0x22, sizeof m.digest.b);
    strcpy(m.sender, "EE.POLICE");
    m.created_ms = 1;
    m.expires_ms = 2;
    m.at_ms = 3;
    m.directory_version = 4;
    m.leaf = 5;
    m.opened_ms = 6;
    m.opened_leaf = 7;
    m.seq = 8;
    m.gap = true;
    m.level = 2;
    m.urgency = 1;
    m.n_handling = 2;
    strcpy(m.handling[0], "H1");
    strcpy(m.handling[1], "H3");
    memset(m.content_digest.b, 0x33, sizeof m.content_digest.b);
    strcpy(m.officer, "tamm");
    strcpy(m.peer, "tallinn");
    for (size_t i = 0; i < n_recipients; i++) {
        strcpy(m.recipients[i].agency, "LT.POLICE");
        m.recipients[i].state = STATE_QUEUED;
        m.recipients[i].at_ms = 9 + i;
        m.recipients[i].code = i % 2 == 0 ? ERR_OK : ERR_NO_ROUTE;
        strcpy(m.recipients[i].reason, i % 2 == 0 ? "" : "no way");
    }
    return m;
}

static struct span encoded(const struct mail *m)
{
    struct span s;
    struct buf out;

    buf_init(&out, LIMIT_MIB);
    mail_encode(m, &out);
    cr_assert_eq(out.err, ERR_OK);
    s = exact(buf_span(&out));
    buf_fini(&out);
    return s;
}

static void check_same(const struct mail *a, const struct mail *b)
{
    cr_assert_eq(a->box, b->box);
    cr_assert(uuid_equal(&a->id, &b->id));
    cr_assert(digest_equal(&a->digest, &b->digest));
    cr_assert_str_eq(a->sender, b->sender);
    cr_assert_eq(a->created_ms, b->created_ms);
    cr_assert_eq(a->expires_ms, b->expires_ms);
    cr_assert_eq(a->at_ms, b->at_ms);
    cr_assert_eq(a->directory_version, b->directory_version);
    cr_assert_eq(a->leaf, b->leaf);
    cr_assert_eq(a->opened_ms, b->opened_ms);
    cr_assert_eq(a->opened_leaf, b->opened_leaf);
    cr_assert_eq(a->seq, b->seq);
    cr_assert_eq(a->gap, b->gap);
    cr_assert_eq(a->level, b->level);
    cr_assert_eq(a->urgency, b->urgency);
    cr_assert_eq(a->n_handling, b->n_handling);
    for (size_t i = 0; i < a->n_handling; i++)
        cr_assert_str_eq(a->handling[i], b->handling[i]);
    cr_assert(digest_equal(&a->content_digest, &b->content_digest));
    cr_assert_str_eq(a->officer, b->officer);
    cr_assert_str_eq(a->peer, b->peer);
    cr_assert_eq(a->n_recipients, b->n_recipients);
    for (size_t i = 0; i < a->n_recipients; i++) {
        cr_assert_str_eq(a->recipients[i].agency, b->recipients[i].agency);
        cr_assert_eq(a->recipients[i].state, b->recipients[i].state);
        cr_assert_eq(a->recipients[i].at_ms, b->recipients[i].at_ms);
        cr_assert_eq(a->recipients[i].code, b->recipients[i].code);
        cr_assert_str_eq(a->recipients[i].reason, b->recipients[i].reason);
    }
}

static void check_round_trip(const struct mail *m)
{
    struct span bytes = encoded(m);
    struct span again;
    struct mail got;

    cr_assert_eq(mail_decode(bytes, &got), ERR_OK);
    check_same(m, &got);
    again = encoded(&got);
    cr_assert(span_equal(bytes, again));
    drop(again);
    drop(bytes);
    mail_fini(&got);
}

Test(record, mail_round_trip)
{
    static const size_t counts[] = {1, 2, LIMIT_RECIPIENTS - 1, LIMIT_RECIPIENTS};

    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        struct mail m = sample(counts[i]);

        check_round_trip(&m);
        m.box = MAIL_IN;
        m.gap = false;
        m.n_handling = 0;
        m.officer[0] = '\0';
        m.peer[0] = '\0';
        check_round_trip(&m);
        mail_fini(&m);
    }
}

Test(record, mail_with_every_text_at_its_bound)
{
    struct mail m = sample(1);

    fill(m.sender, sizeof m.sender);
    fill(m.officer, sizeof m.officer);
    fill(m.peer, sizeof m.peer);
    fill(m.recipients[0].agency, sizeof m.recipients[0].agency);
    fill(m.recipients[0].reason, sizeof m.recipients[0].reason);
    m.n_handling = LIMIT_HANDLING;
    for (size_t i = 0; i < LIMIT_HANDLING; i++)
        fill(m.handling[i], sizeof m.handling[i]);
    m.created_ms = m.expires_ms = m.at_ms = m.leaf = m.seq = UINT64_MAX;
    check_round_trip(&m);
    mail_fini(&m);
}

Test(record, mail_with_every_state_and_error)
{
    struct mail m = sample(1);

    for (int state = STATE_QUEUED; state <= STATE_UNRESOLVED; state++) {
        m.recipients[0].state = (enum transport_state)state;
        check_round_trip(&m);
    }
    for (int e = ERR_OK; e < ERR_COUNT; e++) {
        m.recipients[0].code = (enum err)e;
        check_round_trip(&m);
    }
    mail_fini(&m);
}

Test(record, number_of_recipients)
{
    struct mail m;

    cr_assert_eq(mail_init(&m, 0), ERR_MALFORMED);
    mail_fini(&m);
    cr_assert_eq(mail_init(&m, LIMIT_RECIPIENTS + 1), ERR_MALFORMED);
    mail_fini(&m);
    mail_fini(NULL);
}

/* Either it is refused, or the altered bytes are themselves a record. */
static bool refused_or_canonical(struct span bytes)
{
    struct span again;
    struct mail got;
    enum err e = mail_decode(bytes, &got);

    if (e != ERR_OK) {
        cr_assert_eq(e, ERR_CORRUPT);
        return true;
    }
    again = encoded(&got);
    cr_assert(span_equal(bytes, again), "decoded, but its bytes are others");
    drop(again);
    mail_fini(&got);
    return false;
}

Test(record, mail_altered_at_every_byte)
{
    static const uint8_t flips[] = {0x01, 0x02, 0x20, 0x80, 0xff};
    struct mail m = sample(3);
    struct span bytes = encoded(&m);
    size_t refused = 0;

    for (size_t i = 0; i < bytes.len; i++) {
        for (size_t k = 0; k < sizeof flips; k++) {
            struct span altered = exact(bytes);

            ((uint8_t *)(uintptr_t)altered.data)[i] ^= flips[k];
            refused += refused_or_canonical(altered);
            drop(altered);
        }
    }
    cr_assert_gt(refused, 100);
    drop(bytes);
    mail_fini(&m);
}

Test(record, mail_cut_and_longer)
{
    struct mail m = sample(2);
    struct span bytes = encoded(&m);
    struct buf longer;
    struct mail got;

    for (size_t len = 0; len < bytes.len; len++) {
        struct span cut = exact(span_of(bytes.data, len));

        cr_assert_eq(mail_decode(cut, &got), ERR_CORRUPT, "%zu of %zu bytes", len, bytes.len);
        drop(cut);
    }
    buf_init(&longer, LIMIT_MIB);
    buf_put(&longer, bytes);
    buf_put_u8(&longer, 0);
    cr_assert_eq(mail_decode(buf_span(&longer), &got), ERR_CORRUPT);
    buf_fini(&longer);
    drop(bytes);
    mail_fini(&m);
}

/* One recipient's record with the count of recipients that is claimed. */
static enum err decode_claiming(uint16_t count)
{
    struct mail m = sample(1);
    struct span bytes = encoded(&m);
    /* Behind the count: agency, state, time, code "ok", reason "". */
    size_t tail = 1 + strlen("LT.POLICE") + 1 + 8 + 3 + 1;
    uint8_t *at = (uint8_t *)(uintptr_t)bytes.data + bytes.len - tail - 2;
    struct mail got;
    enum err e;

    cr_assert_eq(at[0], 0);
    cr_assert_eq(at[1], 1);
    at[0] = (uint8_t)(count >> 8);
    at[1] = (uint8_t)count;
    e = mail_decode(bytes, &got);
    if (e == ERR_OK)
        mail_fini(&got);
    drop(bytes);
    mail_fini(&m);
    return e;
}

Test(record, mail_with_another_count)
{
    cr_assert_eq(decode_claiming(1), ERR_OK);
    cr_assert_eq(decode_claiming(0), ERR_CORRUPT);
    cr_assert_eq(decode_claiming(2), ERR_CORRUPT);
    cr_assert_eq(decode_claiming(LIMIT_RECIPIENTS + 1), ERR_CORRUPT);
    cr_assert_eq(decode_claiming(UINT16_MAX), ERR_CORRUPT);
}

Test(record, state_of_a_message)
{
    struct mail m = sample(3);

    m.expires_ms = 1000;
    m.recipients[0].state = STATE_OPENED;
    m.recipients[1].state = STATE_RELAYED;
    m.recipients[2].state = STATE_DELIVERED;
    cr_assert_eq(mail_state(&m, 500), STATE_RELAYED);
    m.recipients[2].state = STATE_REFUSED;
    cr_assert_eq(mail_state(&m, 500), STATE_REFUSED);
    m.recipients[1].state = STATE_EXPIRED;
    cr_assert_eq(mail_state(&m, 500), STATE_REFUSED);
    m.recipients[2].state = STATE_OPENED;
    cr_assert_eq(mail_state(&m, 500), STATE_EXPIRED);
    m.recipients[1].state = STATE_OPENED;
    cr_assert_eq(mail_state(&m, 500), STATE_OPENED);
    mail_fini(&m);
}

Test(record, unresolved_a_day_after_expiry)
{
    struct mail m = sample(1);
    uint64_t day = 86400000;

    m.expires_ms = 1000;
    m.recipients[0].state = STATE_ACCEPTED;
    cr_assert_eq(mail_state(&m, 1000 + day), STATE_ACCEPTED);
    cr_assert_eq(mail_state(&m, 1001 + day), STATE_UNRESOLVED);
    m.recipients[0].state = STATE_DELIVERED;
    cr_assert_eq(mail_state(&m, 1001 + day), STATE_DELIVERED);
    m.recipients[0].state = STATE_EXPIRED;
    cr_assert_eq(mail_state(&m, 1001 + day), STATE_EXPIRED);
    m.box = MAIL_IN;
    m.recipients[0].state = STATE_ACCEPTED;
    cr_assert_eq(mail_state(&m, 1001 + day), STATE_ACCEPTED);
    mail_fini(&m);
}

Test(record, keys_sort_by_box_and_number)
{
    uint8_t a[MAIL_KEY];
    uint8_t b[MAIL_KEY];
    uint8_t c[MAIL_KEY];
    enum mail_box box;
    uint64_t number;

    mail_key(MAIL_OUT, 255, a);
    mail_key(MAIL_OUT, 256, b);
    mail_key(MAIL_IN, 1, c);
    cr_assert_lt(memcmp(a, b, MAIL_KEY), 0);
    cr_assert_lt(memcmp(b, c, MAIL_KEY), 0);
    cr_assert_eq(mail_ref_decode(span_of(b, MAIL_KEY), &box, &number), ERR_OK);
    cr_assert_eq(box, MAIL_OUT);
    cr_assert_eq(number, 256);
    cr_assert_eq(mail_ref_decode(span_of(b, MAIL_KEY - 1), &box, &number), ERR_CORRUPT);
    b[0] = 0;
    cr_assert_eq(mail_ref_decode(span_of(b, MAIL_KEY), &box, &number), ERR_CORRUPT);
    b[0] = 3;
    cr_assert_eq(mail_ref_decode(span_of(b, MAIL_KEY), &box, &number), ERR_CORRUPT);
}

Test(record, ids_of_two_senders_are_apart)
{
    struct uuid id = {{1, 2, 3}};
    uint8_t a[MAIL_ID_KEY];
    uint8_t b[MAIL_ID_KEY];

    mail_id_key(&id, "EE.POLICE", a);
    mail_id_key(&id, "LV.POLICE", b);
    cr_assert_eq(memcmp(a, id.b, sizeof id.b), 0);
    cr_assert_eq(memcmp(b, id.b, sizeof id.b), 0);
    cr_assert_neq(memcmp(a, b, sizeof a), 0);
}

Test(record, bulk)
{
    struct span key;
    struct span transfer;
    struct buf out;

    buf_init(&out, 1024);
    mail_bulk_encode(span_str("sealed key"), span_str("transfer"), &out);
    cr_assert_eq(mail_bulk_decode(buf_span(&out), &key, &transfer), ERR_OK);
    cr_assert(span_equal(key, span_str("sealed key")));
    cr_assert(span_equal(transfer, span_str("transfer")));
    for (size_t len = 0; len < 3 + strlen("sealed key"); len++) {
        struct span cut = exact(span_of(out.data, len));

        cr_assert_eq(mail_bulk_decode(cut, &key, &transfer), ERR_CORRUPT);
        drop(cut);
    }
    out.data[0] = 1;
    cr_assert_eq(mail_bulk_decode(buf_span(&out), &key, &transfer), ERR_CORRUPT);
    buf_fini(&out);
}

Test(record, stream_altered_cut_and_longer)
{
    struct stream_position p = {.seq = 0x0102030405060708};
    struct stream_position got;
    struct buf out;

    memset(p.digest.b, 0x5a, sizeof p.digest.b);
    buf_init(&out, 64);
    stream_encode(&p, &out);
    cr_assert_eq(stream_decode(buf_span(&out), &got), ERR_OK);
    cr_assert_eq(got.seq, p.seq);
    cr_assert(digest_equal(&got.digest, &p.digest));
    for (size_t len = 0; len < out.len; len++) {
        struct span cut = exact(span_of(out.data, len));

        cr_assert_eq(stream_decode(cut, &got), ERR_CORRUPT);
        drop(cut);
    }
    buf_put_u8(&out, 0);
    cr_assert_eq(stream_decode(buf_span(&out), &got), ERR_CORRUPT);
    out.len--;
    out.data[0] = 1;
    cr_assert_eq(stream_decode(buf_span(&out), &got), ERR_CORRUPT);
    buf_fini(&out);
}

Test(record, control_round_trip_and_altered)
{
    struct mail_control c = {.leaf = 77};
    struct mail_control got;
    struct buf out;

    fill(c.to, sizeof c.to);
    fill(c.peer, sizeof c.peer);
    buf_init(&out, 512);
    mail_control_encode(&c, &out);
    cr_assert_eq(mail_control_decode(buf_span(&out), &got), ERR_OK);
    cr_assert_str_eq(got.to, c.to);
    cr_assert_str_eq(got.peer, c.peer);
    cr_assert_eq(got.leaf, 77);
    for (size_t i = 0; i < out.len; i++) {
        struct span altered = exact(buf_span(&out));
        struct buf again;

        ((uint8_t *)(uintptr_t)altered.data)[i] ^= 0x61; /* a becomes NUL */
        buf_init(&again, 512);
        if (mail_control_decode(altered, &got) == ERR_OK) {
            mail_control_encode(&got, &again);
            cr_assert(span_equal(buf_span(&again), altered));
        }
        buf_fini(&again);
        drop(altered);
    }
    buf_fini(&out);
}
