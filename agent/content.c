#include "agent/content.h"

#include "common/text.h"
#include "proto/names.h"
#include "proto/part.h"
#include "proto/pb.h"

#include <stdio.h>
#include <string.h>

void content_about_envelope(const struct envelope *e, bool received, const char **to,
                            struct content_about *ret)
{
    const struct envelope_header *h = envelope_header(e);

    for (size_t i = 0; i < envelope_recipient_count(e); i++)
        to[i] = envelope_recipient(e, i)->agency;
    *ret = (struct content_about){.id = h->id,
                                  .received = received,
                                  .from = h->sender,
                                  .to = to,
                                  .n_to = envelope_recipient_count(e),
                                  .handling = h->handling,
                                  .n_handling = h->n_handling,
                                  .level = h->level,
                                  .urgency = h->urgency,
                                  .created_ms = h->created_ms,
                                  .expires_ms = h->expires_ms};
}

static enum err broken(char rule[CONTENT_RULE], enum err e, const char *text)
{
    snprintf(rule, CONTENT_RULE, "%s", text);
    return e;
}

/* Text of one line: no control characters, no separators of lines or paragraphs. */
static bool is_line(const char *text)
{
    struct span s = span_str(text);
    size_t at = 0;
    uint32_t c;

    while (text_utf8_next(s, &at, &c)) {
        if (c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029)
            return false;
    }
    return true;
}

bool content_is_file_name(const char *name)
{
    return text_is_name(span_str(name), LIMIT_FILE_NAME);
}

/* type "/" subtype, each a token (RFC 6838 4.2); parameters are not needed here. */
bool content_is_media_type(const char *text)
{
    static const char token[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "!#$&-^_.+";
    size_t type = strspn(text, token);
    size_t subtype = text[type] == '/' ? strspn(text + type + 1, token) : 0;

    return type > 0 && subtype > 0 && text[type + 1 + subtype] == '\0' &&
           strlen(text) <= LIMIT_MEDIA_TYPE;
}

static enum err check_lines(const Sp__Content *c, char rule[CONTENT_RULE])
{
    const struct {
        const char *name;
        const char *text;
        size_t max;
        bool needed;
    } lines[] = {
        {"subject", c->subject, LIMIT_SUBJECT, true},
        {"officer", c->officer, LIMIT_OFFICER - 1, true},
        {"officer's name", c->officer_name, LIMIT_OFFICER - 1, false},
        {"case", c->case_, LIMIT_CASE, false},
    };

    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        enum err e = ERR_OK;

        if (strlen(lines[i].text) > lines[i].max)
            e = ERR_TOO_LARGE;
        else if (!is_line(lines[i].text) || (lines[i].needed && lines[i].text[0] == '\0'))
            e = ERR_MALFORMED;
        if (e == ERR_OK)
            continue;
        snprintf(rule, CONTENT_RULE, "the %s must be one line of %s%zu bytes", lines[i].name,
                 lines[i].needed ? "1 to " : "at most ", lines[i].max);
        return e;
    }
    return ERR_OK;
}

static enum err check_texts(const Sp__Content *c, const struct content_about *about,
                            const struct trust *trust, char rule[CONTENT_RULE])
{
    if (strlen(c->text) > LIMIT_TEXT)
        return broken(rule, ERR_TOO_LARGE, "the text is over 1 MiB");
    if (strlen(c->handling_text) > LIMIT_HANDLING_TEXT)
        return broken(rule, ERR_TOO_LARGE, "the handling text is over 1024 bytes");
    if (strlen(c->ground) > LIMIT_GROUND)
        return broken(rule, ERR_TOO_LARGE, "the ground is over 1024 bytes");
    for (size_t i = 0; i < about->n_handling; i++) {
        const Sp__CodeEntry *code = trust_code(trust, about->handling[i]);

        if (code != NULL && code->needs_text && c->handling_text[0] == '\0') {
            snprintf(rule, CONTENT_RULE, "%s needs its restriction in words", code->code);
            return ERR_CODE_TEXT_MISSING;
        }
    }
    if (about->urgency != SP__URGENCY__URGENCY_NORMAL && c->ground[0] == '\0')
        return broken(rule, ERR_MALFORMED, "an urgent message needs a ground");
    return ERR_OK;
}

static enum err check_words(const Sp__Content *c, char rule[CONTENT_RULE])
{
    bool answer = c->kind == SP__KIND__KIND_ANSWER;

    if (c->kind == SP__KIND__KIND_UNSPECIFIED)
        return broken(rule, ERR_MALFORMED, "the message has no kind");
    if (answer != (c->completeness != SP__COMPLETENESS__COMPLETENESS_UNSPECIFIED))
        return broken(rule, ERR_MALFORMED,
                      answer ? "an answer says whether it is full, partial or none"
                             : "only an answer has a completeness");
    if (c->evaluation[0] != '\0' && !name_is_evaluation(c->evaluation))
        return broken(rule, ERR_MALFORMED,
                      "the evaluation is 4x4: source A B C X, then information 1 2 3 4");
    if (c->reply_to.len != 0) {
        struct uuid id;

        if (uuid_from_bytes(pb_span(c->reply_to), &id) != ERR_OK || !uuid_is_v7(&id))
            return broken(rule, ERR_MALFORMED, "what it replies to is no id of a message");
    }
    return ERR_OK;
}

static enum err check_entities(const Sp__Content *c, char rule[CONTENT_RULE])
{
    struct buf room;
    enum err e = ERR_OK;

    if (c->n_entities > LIMIT_ENTITIES)
        return broken(rule, ERR_TOO_LARGE, "more than 256 entities");
    buf_init(&room, LIMIT_ENTITY);
    for (size_t i = 0; e == ERR_OK && i < c->n_entities; i++) {
        const Sp__Entity *n = c->entities[i];
        int fields = (n->person != NULL) + (n->document != NULL) + (n->vehicle != NULL) +
                     (n->firearm != NULL) + (n->location != NULL) + (n->organisation != NULL) +
                     (n->event != NULL) + (n->item != NULL);

        if (fields != 1) {
            e = broken(rule, ERR_MALFORMED, "an entity must be exactly one thing");
            break;
        }
        buf_reset(&room);
        pb_encode(n, &room);
        e = room.err;
        if (e == ERR_TOO_LARGE)
            e = broken(rule, e, "an entity is over 64 KiB");
    }
    buf_wipe(&room);
    return e;
}

static enum err check_attachments(const Sp__Content *c, char rule[CONTENT_RULE])
{
    if (c->n_attachments > LIMIT_PARTS - 1)
        return broken(rule, ERR_TOO_LARGE, "more than 99 attachments");
    for (size_t i = 0; i < c->n_attachments; i++) {
        const Sp__Attachment *a = c->attachments[i];

        if (!content_is_file_name(a->name))
            return broken(rule, strlen(a->name) > LIMIT_FILE_NAME ? ERR_TOO_LARGE : ERR_MALFORMED,
                          "an attachment's name is no file name of 1 to 255 bytes");
        if (!content_is_media_type(a->media_type))
            return broken(rule, ERR_MALFORMED, "an attachment's media type is not of that form");
        if (a->size > LIMIT_PART)
            return broken(rule, ERR_TOO_LARGE, "an attachment is over 4 GiB");
        if (a->sha256.len != sizeof(struct digest))
            return broken(rule, ERR_MALFORMED, "an attachment lacks its digest");
    }
    return ERR_OK;
}

enum err content_check(const Sp__Content *c, const struct content_about *about,
                       const struct trust *trust, char rule[CONTENT_RULE])
{
    enum err e = check_words(c, rule);

    if (e == ERR_OK)
        e = check_lines(c, rule);
    if (e == ERR_OK)
        e = check_texts(c, about, trust, rule);
    if (e == ERR_OK)
        e = check_attachments(c, rule);
    return e == ERR_OK ? check_entities(c, rule) : e;
}

enum err content_check_parts(const Sp__Content *c, const struct envelope *e,
                             char rule[CONTENT_RULE])
{
    if (c->n_attachments + 1 != envelope_part_count(e))
        return broken(rule, ERR_MALFORMED, "the content lists other attachments than the envelope");
    for (size_t i = 0; i < c->n_attachments; i++) {
        if (part_sealed_len(c->attachments[i]->size) != envelope_part(e, i + 1)->ct_len)
            return broken(rule, ERR_MALFORMED, "an attachment has another size than its part");
    }
    return ERR_OK;
}

static const char *word(enum name_list list, int value)
{
    const char *name = name_of(list, value);

    return name == NULL ? "" : name;
}

void content_view(const Sp__Content *c, const struct content_about *about, bool full,
                  struct content_view *ret)
{
    Sp__Message *m = &ret->message;

    sp__message__init(m);
    uuid_format(&about->id, ret->id);
    m->id = ret->id;
    m->direction = pb_string(about->received ? "in" : "out");
    m->from = pb_string(about->from);
    for (size_t i = 0; i < about->n_to; i++)
        ret->to[i] = pb_string(about->to[i]);
    m->to = ret->to;
    m->n_to = about->n_to;
    for (size_t i = 0; i < about->n_handling; i++)
        ret->handling[i] = pb_string(about->handling[i]);
    m->handling = ret->handling;
    m->n_handling = about->n_handling;
    m->level = pb_string(word(NAME_LEVEL, (int)about->level));
    m->urgency = pb_string(word(NAME_URGENCY, (int)about->urgency));
    m->created_ms = about->created_ms;
    m->expires_ms = about->expires_ms;
    m->kind = pb_string(word(NAME_KIND, (int)c->kind));
    m->handling_text = c->handling_text;
    m->ground = c->ground;
    m->evaluation = c->evaluation;
    m->case_ = c->case_;
    m->subject = c->subject;
    m->officer = c->officer_name[0] != '\0' ? c->officer_name : c->officer;
    m->completeness = pb_string(word(NAME_COMPLETENESS, (int)c->completeness));
    if (c->reply_to.len == sizeof(struct uuid)) {
        struct uuid id;

        memcpy(id.b, c->reply_to.data, sizeof id.b);
        uuid_format(&id, ret->reply_to);
        m->reply_to = ret->reply_to;
    }
    for (size_t i = 0; i < c->n_attachments; i++) {
        Sp__MessageAttachment *a = &ret->attachments[i];

        sp__message_attachment__init(a);
        a->part = (uint32_t)i + 1;
        a->name = c->attachments[i]->name;
        a->media_type = c->attachments[i]->media_type;
        a->size = c->attachments[i]->size;
        a->sha256 = c->attachments[i]->sha256;
        ret->attachment_list[i] = a;
    }
    m->attachments = ret->attachment_list;
    m->n_attachments = c->n_attachments;
    if (full) {
        m->text = c->text;
        m->entities = c->entities;
        m->n_entities = c->n_entities;
    }
}
