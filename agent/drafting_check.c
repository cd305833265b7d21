/* From a request to a checked draft and content. */
#include "agent/drafting_internal.h"
#include "common/limits.h"
#include "common/text.h"
#include "proto/names.h"
#include "proto/pb.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY_MS ((uint64_t)86400000)
#define EXPIRES_DEFAULT_MS (14 * DAY_MS)
/* What sizes and digests of attachments may add to a content that was measured without them. */
#define ATTACHMENT_SLACK 64

static enum err word(enum name_list list, const char *text, const char *what, int *ret,
                     char why[CONTENT_RULE])
{
    if (name_parse(list, text, ret) == ERR_OK)
        return ERR_OK;
    snprintf(why, CONTENT_RULE, "the %s is one of: %s", what, name_words(list));
    return ERR_USAGE;
}

static const char *fallback_text(const char *text, const char *fallback)
{
    return text[0] != '\0' ? text : fallback;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorts and drops repetitions. */
static size_t distinct(const char **list, size_t n)
{
    size_t kept = 0;

    if (n > 1)
        qsort(list, n, sizeof *list, by_text);
    for (size_t i = 0; i < n; i++) {
        if (kept == 0 || strcmp(list[kept - 1], list[i]) != 0)
            list[kept++] = list[i];
    }
    return kept;
}

static enum err add_recipient(struct drafting *d, const char *name, char why[CONTENT_RULE])
{
    /* Room for the repetitions that go away later is not needed: they are looked for here. */
    for (size_t i = 0; i < d->draft.n_to; i++) {
        if (strcmp(d->to[i], name) == 0)
            return ERR_OK;
    }
    if (d->draft.n_to == LIMIT_RECIPIENTS)
        return drafting_wrong(why, ERR_TOO_LARGE, "more than 256 recipients");
    d->to[d->draft.n_to++] = name;
    return ERR_OK;
}

/* A group of the directory stands for its members without ourselves. */
static enum err add_group(struct drafting *d, const char *name, char why[CONTENT_RULE])
{
    const Sp__Directory *directory = trust_directory(d->options.trust);
    enum err e = ERR_OK;

    for (size_t i = 0; i < directory->n_groups; i++) {
        const Sp__GroupEntry *g = directory->groups[i];

        if (strcmp(g->name, name) != 0)
            continue;
        for (size_t j = 0; e == ERR_OK && j < g->n_agencies; j++) {
            if (strcmp(g->agencies[j], d->options.agency) != 0)
                e = add_recipient(d, g->agencies[j], why);
        }
        return e;
    }
    snprintf(why, CONTENT_RULE, "the directory has no group @%.64s", name);
    return ERR_UNKNOWN_AGENCY;
}

static enum err take_recipients(struct drafting *d, char why[CONTENT_RULE])
{
    const struct drafting_original *o = d->options.original;
    enum err e = ERR_OK;

    for (size_t i = 0; e == ERR_OK && i < d->request->n_to; i++) {
        const char *name = d->request->to[i];

        if (name[0] == '@') {
            e = add_group(d, name + 1, why);
        } else if (!text_is_agency(span_str(name))) {
            snprintf(why, CONTENT_RULE, "%.100s is not an agency's name", name);
            e = ERR_UNKNOWN_AGENCY;
        } else {
            e = add_recipient(d, name, why);
        }
    }
    for (size_t i = 0; e == ERR_OK && d->request->n_to == 0 && o != NULL && i < o->n_to; i++)
        e = add_recipient(d, o->to[i], why);
    if (e != ERR_OK)
        return e;
    if (d->draft.n_to == 0)
        return drafting_wrong(why, ERR_USAGE, "the message has no recipient");
    for (size_t i = 0; i < d->draft.n_to; i++) {
        if (strcmp(d->to[i], d->options.agency) == 0)
            return drafting_wrong(why, ERR_NOT_ALLOWED, "an agency sends nothing to itself");
        if (trust_agency(d->options.trust, d->to[i]) == NULL) {
            snprintf(why, CONTENT_RULE, "the directory does not list %s", d->to[i]);
            return ERR_UNKNOWN_AGENCY;
        }
    }
    d->draft.n_to = distinct(d->to, d->draft.n_to);
    d->draft.to = d->to;
    return ERR_OK;
}

static enum err take_handling(struct drafting *d, char why[CONTENT_RULE])
{
    size_t n = d->request->n_handling;

    if (n > LIMIT_HANDLING)
        return drafting_wrong(why, ERR_TOO_LARGE, "more than 8 handling codes");
    for (size_t i = 0; i < n; i++) {
        const Sp__CodeEntry *code = trust_code(d->options.trust, d->request->handling[i]);

        if (code == NULL) {
            snprintf(why, CONTENT_RULE, "the directory has no handling code %.32s",
                     d->request->handling[i]);
            return ERR_HANDLING_NOT_ALLOWED;
        }
        d->handling[i] = d->request->handling[i];
    }
    if (n == 0)
        d->handling[n++] = "H0";
    d->draft.n_handling = distinct(d->handling, n);
    d->draft.handling = d->handling;
    for (size_t i = 0; d->draft.n_handling > 1 && i < d->draft.n_handling; i++) {
        const Sp__CodeEntry *code = trust_code(d->options.trust, d->handling[i]);

        if (code != NULL && code->exclusive) {
            snprintf(why, CONTENT_RULE, "%s stands alone", code->code);
            return ERR_HANDLING_NOT_ALLOWED;
        }
    }
    return ERR_OK;
}

/* "Re: " before a subject that does not begin so, cut at a character where it is too long. */
static void take_subject(struct drafting *d)
{
    const struct drafting_original *o = d->options.original;
    const char *subject = d->request->subject;
    const char *prefix = "";
    size_t len;

    if (subject[0] == '\0' && o != NULL) {
        subject = o->subject;
        prefix = strncmp(subject, "Re: ", 4) == 0 ? "" : "Re: ";
    }
    if (prefix[0] == '\0' && subject == d->request->subject) {
        d->content.subject = d->request->subject;
        return;
    }
    len = (size_t)snprintf(d->subject, sizeof d->subject, "%s%s", prefix, subject);
    if (len >= sizeof d->subject) {
        len = sizeof d->subject - 1;
        while (len > 0 && !span_is_utf8(span_of(d->subject, len)))
            len--;
        d->subject[len] = '\0';
    }
    d->content.subject = d->subject;
}

static enum err take_words(struct drafting *d, char why[CONTENT_RULE])
{
    const Sp__SendRequest *q = d->request;
    int value = 0;
    enum err e = word(NAME_KIND, q->kind, "kind", &value, why);

    d->content.kind = (Sp__Kind)value;
    if (e == ERR_OK)
        e = word(NAME_LEVEL, fallback_text(q->level, "BPL"), "level", &value, why);
    d->draft.level = (Sp__Level)value;
    if (e == ERR_OK)
        e = word(NAME_URGENCY, fallback_text(q->urgency, "normal"), "urgency", &value, why);
    d->draft.urgency = (Sp__Urgency)value;
    if (e != ERR_OK)
        return e;
    if (q->completeness[0] == '\0' && d->content.kind != SP__KIND__KIND_ANSWER)
        return ERR_OK;
    e = word(NAME_COMPLETENESS, fallback_text(q->completeness, "full"), "completeness", &value,
             why);
    d->content.completeness = (Sp__Completeness)value;
    return e;
}

static enum err take_span(struct drafting *d, char why[CONTENT_RULE])
{
    if (d->request->expires_in_s > LIMIT_EXPIRY_MS / 1000)
        return drafting_wrong(why, ERR_TOO_LARGE, "a message expires after 14 days at the latest");
    d->expires_in_ms = d->request->expires_in_s * 1000;
    if (d->expires_in_ms == 0)
        d->expires_in_ms = EXPIRES_DEFAULT_MS;
    return ERR_OK;
}

static enum err take_id(struct drafting *d, char why[CONTENT_RULE])
{
    if (d->request->id[0] == '\0')
        return ERR_OK;
    if (uuid_parse(span_str(d->request->id), &d->draft.id) != ERR_OK || !uuid_is_v7(&d->draft.id))
        return drafting_wrong(why, ERR_USAGE, "the id is a UUID of version 7 in lower case");
    return ERR_OK;
}

/* Announced sizes are promises: they are checked again at the end of each attachment. */
static enum err take_attachments(struct drafting *d, char why[CONTENT_RULE])
{
    static const uint8_t no_digest[sizeof(struct digest)];
    uint64_t total = 0;
    uint64_t free_bytes;

    if (d->request->n_attachments > LIMIT_PARTS - 1)
        return drafting_wrong(why, ERR_TOO_LARGE, "more than 99 attachments");
    for (size_t i = 0; i < d->request->n_attachments; i++) {
        const Sp__DraftAttachment *asked = d->request->attachments[i];
        Sp__Attachment *a = &d->attachments[i];

        if (asked->size > LIMIT_PART) {
            snprintf(why, CONTENT_RULE, "%.100s is over 4 GiB", asked->name);
            return ERR_TOO_LARGE;
        }
        sp__attachment__init(a);
        a->name = asked->name;
        a->media_type = pb_string(fallback_text(asked->media_type, "application/octet-stream"));
        a->size = asked->size;
        a->sha256 = pb_bytes(span_of(no_digest, sizeof no_digest));
        d->attachment_list[i] = a;
        total += part_sealed_len(asked->size);
    }
    d->content.attachments = d->attachment_list;
    d->content.n_attachments = d->request->n_attachments;
    if (total > LIMIT_INLINE_PARTS &&
        (part_dir_free_bytes(d->options.parts, &free_bytes) != ERR_OK ||
         free_bytes < LIMIT_STORE_FLOOR || free_bytes - LIMIT_STORE_FLOOR < total))
        return drafting_wrong(why, ERR_DISK_FULL, "no room for the attachments");
    return ERR_OK;
}

static void take_content(struct drafting *d)
{
    const struct drafting_original *o = d->options.original;
    const Sp__SendRequest *q = d->request;
    Sp__Content *c = &d->content;

    c->text = q->text;
    c->officer = pb_string(d->options.officer);
    c->officer_name = pb_string(d->options.officer_name);
    c->handling_text = q->handling_text;
    c->ground = q->ground;
    c->evaluation = q->evaluation;
    c->entities = q->entities;
    c->n_entities = q->n_entities;
    c->case_ = q->case_;
    if (q->case_[0] == '\0' && o != NULL)
        c->case_ = pb_string(o->case_name);
    if (o != NULL) {
        memcpy(d->reply_to, o->id.b, sizeof d->reply_to);
        c->reply_to = pb_bytes(span_of(d->reply_to, sizeof d->reply_to));
    }
}

/* The body travels beside the envelope when it can; the attachments have what it leaves. */
static enum err reserve_body(struct drafting *d, char why[CONTENT_RULE])
{
    struct buf bytes;
    size_t most;
    enum err e;

    buf_init(&bytes, LIMIT_BODY);
    pb_encode(&d->content, &bytes);
    e = bytes.err;
    most = bytes.len + d->content.n_attachments * ATTACHMENT_SLACK;
    buf_wipe(&bytes);
    if (e == ERR_TOO_LARGE || (e == ERR_OK && most > LIMIT_BODY))
        return drafting_wrong(why, ERR_TOO_LARGE, "text and entities together are over 2 MiB");
    if (e != ERR_OK)
        return e;
    d->room = LIMIT_INLINE_PARTS;
    if (part_sealed_len(body_padded_len(most)) <= d->room)
        d->room -= (size_t)part_sealed_len(body_padded_len(most));
    return ERR_OK;
}

enum err drafting_check(struct drafting *d, char why[CONTENT_RULE])
{
    struct content_about about;
    enum err e = take_words(d, why);

    if (e == ERR_OK)
        e = take_id(d, why);
    if (e == ERR_OK)
        e = take_span(d, why);
    if (e == ERR_OK)
        e = take_recipients(d, why);
    if (e == ERR_OK)
        e = take_handling(d, why);
    if (e == ERR_OK)
        e = take_attachments(d, why);
    if (e != ERR_OK)
        return e;
    take_subject(d);
    take_content(d);
    about = drafting_about(d);
    e = content_check(&d->content, &about, d->options.trust, why);
    return e == ERR_OK ? reserve_body(d, why) : e;
}
