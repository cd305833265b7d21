#include "agent/cli_draft.h"

#include "common/file.h"
#include "common/text.h"
#include "proto/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct {
    const char *suffix;
    const char *type;
} media_types[] = {
    {".pdf", "application/pdf"},
    {".jpg", "image/jpeg"},
    {".jpeg", "image/jpeg"},
    {".png", "image/png"},
    {".gif", "image/gif"},
    {".tif", "image/tiff"},
    {".tiff", "image/tiff"},
    {".txt", "text/plain"},
    {".csv", "text/csv"},
    {".html", "text/html"},
    {".xml", "application/xml"},
    {".json", "application/json"},
    {".zip", "application/zip"},
    {".eml", "message/rfc822"},
    {".mp3", "audio/mpeg"},
    {".mp4", "video/mp4"},
    {".doc", "application/msword"},
    {".docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"},
    {".xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"},
};

static const char *media_type_of(const char *name)
{
    size_t len = strlen(name);

    for (size_t i = 0; i < sizeof media_types / sizeof media_types[0]; i++) {
        size_t suffix = strlen(media_types[i].suffix);

        if (len > suffix && strcasecmp(name + len - suffix, media_types[i].suffix) == 0)
            return media_types[i].type;
    }
    return "application/octet-stream";
}

static const char *value_or(const struct cli *args, const char *name, const char *fallback)
{
    const char *value = cli_value(args, name);

    return value != NULL ? value : fallback;
}

/* Splits every value of a repeatable option at commas. */
static int split(const struct cli *args, const char *option, char **list, size_t max, size_t *n)
{
    for (size_t i = 0; i < cli_count(args, option); i++) {
        const char *at = cli_values(args, option, i);

        for (;;) {
            size_t len = strcspn(at, ",");
            char *word;

            if (len == 0)
                return cli_usage(args, "--%s: an empty name between commas", option);
            if (*n == max)
                return cli_usage(args, "--%s: more than %zu", option, max);
            word = strndup(at, len);
            if (word == NULL)
                return cli_fail(stderr, cli_flag(args, "json"), ERR_NO_MEMORY, NULL);
            list[(*n)++] = word;
            if (at[len] == '\0')
                break;
            at += len + 1;
        }
    }
    return 0;
}

/* Pipes are welcome here, such as a shell's <(command). */
static enum err read_text_file(const char *path, struct buf *ret)
{
    enum err e;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

    if (fd < 0)
        return file_error(errno);
    e = file_read_fd(fd, LIMIT_TEXT, ret);
    close(fd);
    return e;
}

static int read_text(const struct cli *args, struct draft *d)
{
    const char *text = cli_value(args, "text");
    const char *path = cli_value(args, "text-file");
    enum err e = ERR_OK;

    buf_init(&d->text, LIMIT_TEXT + 1);
    if (text != NULL && path != NULL)
        return cli_usage(args, "give --text or --text-file, not both");
    if (text == NULL && path == NULL)
        return cli_usage(args, "--text or --text-file is needed");
    if (text != NULL)
        buf_put_str(&d->text, text);
    else if (strcmp(path, "-") == 0)
        e = file_read_fd(STDIN_FILENO, LIMIT_TEXT, &d->text);
    else
        e = read_text_file(path, &d->text);
    if (e == ERR_OK)
        e = d->text.err;
    if (e == ERR_TOO_LARGE)
        return cli_fail(stderr, cli_flag(args, "json"), e,
                        "the text is over 1 MiB; send it as an attachment");
    if (e != ERR_OK) {
        char why[LIMIT_JSON_WHY];

        snprintf(why, sizeof why, "the text file %s cannot be read", path != NULL ? path : "");
        return cli_fail_text(stderr, cli_flag(args, "json"), e, why,
                             "check its name and your permission to read it");
    }
    if (!span_is_utf8(buf_span(&d->text)))
        return cli_fail_text(stderr, cli_flag(args, "json"), ERR_MALFORMED,
                             "the text is not UTF-8, or holds a NUL",
                             "convert it, or send it as an attachment");
    d->send.text = (char *)(uintptr_t)buf_cstr(&d->text);
    return d->send.text == NULL ? cli_fail(stderr, false, ERR_NO_MEMORY, NULL) : 0;
}

static int read_entities(const struct cli *args, struct draft *d)
{
    size_t n = cli_count(args, "entity");

    if (n > LIMIT_ENTITIES)
        return cli_usage(args, "--entity: more than %d", LIMIT_ENTITIES);
    for (size_t i = 0; i < n; i++) {
        const char *path = cli_values(args, "entity", i);
        struct buf text = {0};
        struct buf bytes;
        char why[LIMIT_JSON_WHY] = "";
        enum err e;

        buf_init(&text, LIMIT_ENTITY);
        buf_init(&bytes, LIMIT_ENTITY);
        e = file_read(path, LIMIT_ENTITY, &text);
        if (e == ERR_OK)
            e = json_decode(&sp__entity__descriptor, buf_span(&text), &bytes, why, sizeof why);
        if (e == ERR_OK)
            e = pb_decode(&sp__entity__descriptor, buf_span(&bytes), LIMIT_ENTITY, &d->entities[i]);
        buf_wipe(&text);
        buf_wipe(&bytes);
        if (e != ERR_OK) {
            char message[2 * LIMIT_JSON_WHY];

            snprintf(message, sizeof message, "%s: %s", path,
                     why[0] != '\0' ? why : err_meaning(e));
            return cli_fail_text(stderr, cli_flag(args, "json"), e, message,
                                 e == ERR_NOT_FOUND ? err_next(e) : "correct the entity's file");
        }
        d->n_entities++;
        d->entity_list[i] = (Sp__Entity *)(uintptr_t)pb_view(d->entities[i]);
    }
    d->send.entities = d->entity_list;
    d->send.n_entities = n;
    return 0;
}

static int open_attachments(const struct cli *args, struct draft *d)
{
    size_t n = cli_count(args, "attach");

    if (n > LIMIT_PARTS - 1)
        return cli_usage(args, "--attach: more than %d", LIMIT_PARTS - 1);
    for (size_t i = 0; i < n; i++) {
        const char *path = cli_values(args, "attach", i);
        const char *slash = strrchr(path, '/');
        struct draft_file *f = &d->files[i];
        struct stat st;

        f->fd = open(path, O_RDONLY | O_CLOEXEC);
        if (f->fd < 0 || fstat(f->fd, &st) != 0)
            return cli_fail(stderr, cli_flag(args, "json"), ERR_NOT_FOUND,
                            "the attachment %s cannot be read", path);
        d->n_files++;
        if (S_ISDIR(st.st_mode))
            return cli_usage(args, "--attach %s: that is a folder; pack it into one file", path);
        f->size = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
        if (f->size > LIMIT_PART)
            return cli_fail(stderr, cli_flag(args, "json"), ERR_TOO_LARGE,
                            "%s is over 4 GiB; split it", path);
        f->name = slash != NULL ? slash + 1 : path;
        sp__draft_attachment__init(&d->attachments[i]);
        d->attachments[i].name = pb_string(f->name);
        d->attachments[i].media_type = pb_string(media_type_of(f->name));
        d->attachments[i].size = f->size;
        d->attachment_list[i] = &d->attachments[i];
    }
    d->send.attachments = d->attachment_list;
    d->send.n_attachments = n;
    return 0;
}

static int not_utf8(const struct cli *args, const char *option)
{
    char why[64];

    snprintf(why, sizeof why, "--%s is not UTF-8", option);
    return cli_fail_text(stderr, cli_flag(args, "json"), ERR_MALFORMED, why,
                         "check the language setting (LANG) of the terminal, or rename the file");
}

/* The agent takes no request with bytes that are no text, and could not say which ones. */
static int check_texts(const struct cli *args, const struct draft *d)
{
    static const char *const options[] = {"subject", "handling-text", "ground", "case",
                                          "evaluation"};

    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        if (!span_is_utf8(span_str(value_or(args, options[i], ""))))
            return not_utf8(args, options[i]);
    }
    for (size_t i = 0; i < d->n_files; i++) {
        if (!span_is_utf8(span_str(d->files[i].name)))
            return not_utf8(args, "attach");
    }
    return 0;
}

int draft_read(const struct cli *args, const char *reply_to, struct draft *ret)
{
    Sp__SendRequest *send = &ret->send;
    uint64_t expires_ms;
    int exit;

    sp__send_request__init(send);
    if (cli_duration(args, "expires", 1000, LIMIT_EXPIRY_MS, LIMIT_EXPIRY_MS, &expires_ms) !=
        ERR_OK)
        return err_exit(ERR_USAGE);
    send->id = pb_string(value_or(args, "id", ""));
    send->kind = pb_string(value_or(args, "kind", reply_to != NULL ? "answer" : ""));
    send->subject = pb_string(value_or(args, "subject", ""));
    send->handling_text = pb_string(value_or(args, "handling-text", ""));
    send->level = pb_string(value_or(args, "level", ""));
    send->urgency = pb_string(value_or(args, "urgency", ""));
    send->ground = pb_string(value_or(args, "ground", ""));
    send->evaluation = pb_string(value_or(args, "evaluation", ""));
    send->completeness = pb_string(value_or(args, "completeness", ""));
    send->case_ = pb_string(value_or(args, "case", ""));
    send->reply_to = pb_string(reply_to != NULL ? reply_to : "");
    send->expires_in_s = expires_ms / 1000;
    exit = split(args, "to", ret->to, LIMIT_RECIPIENTS, &send->n_to);
    send->to = ret->to;
    if (exit == 0)
        exit = split(args, "handling", ret->handling, LIMIT_HANDLING, &send->n_handling);
    send->handling = ret->handling;
    if (exit == 0)
        exit = read_text(args, ret);
    if (exit == 0)
        exit = read_entities(args, ret);
    if (exit == 0)
        exit = open_attachments(args, ret);
    if (exit == 0)
        exit = check_texts(args, ret);
    return exit;
}

void draft_fini(struct draft *d)
{
    for (size_t i = 0; i < d->n_files; i++)
        close(d->files[i].fd);
    for (size_t i = 0; i < d->n_entities; i++)
        pb_free(d->entities[i]);
    for (size_t i = 0; i < d->send.n_to; i++)
        free(d->to[i]);
    for (size_t i = 0; i < d->send.n_handling; i++)
        free(d->handling[i]);
    buf_wipe(&d->text);
}
