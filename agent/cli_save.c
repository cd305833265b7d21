#include "agent/cli_common.h"
#include "common/env.h"
#include "common/file.h"
#include "common/limits.h"
#include "common/table.h"
#include "common/text.h"

#include <string.h>
#include <unistd.h>

/* The part that is being written. */
struct saving {
    struct session *session;
    const char *dir;
    struct file_writer *writer;
    char path[4096];
    char name[LIMIT_FILE_NAME + 1];
    uint64_t done;
    struct progress bar;
    size_t saved;
};

/* A free name in the folder: "a.pdf", "a-2.pdf", "a-3.pdf"; a peer's name never leaves it. */
static enum err choose_path(struct saving *v, const char *name)
{
    const char *dot = strrchr(name, '.');
    size_t stem = dot == NULL || dot == name ? strlen(name) : (size_t)(dot - name);

    if (!text_is_name(span_str(name), LIMIT_FILE_NAME) || strchr(name, '/') != NULL ||
        strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return ERR_MALFORMED;
    snprintf(v->name, sizeof v->name, "%s", name);
    for (int i = 1; i < 1000; i++) {
        char candidate[LIMIT_FILE_NAME + 16];

        if (i == 1)
            snprintf(candidate, sizeof candidate, "%s", name);
        else
            snprintf(candidate, sizeof candidate, "%.*s-%d%s", (int)stem, name, i, name + stem);
        if (file_join(v->dir, candidate, v->path, sizeof v->path) != ERR_OK)
            return ERR_TOO_LARGE;
        if (access(v->path, F_OK) != 0)
            return ERR_OK;
    }
    return ERR_EXISTS;
}

static enum err begin(struct saving *v, const Sp__SavedPart *part)
{
    enum err e = choose_path(v, part->name);

    if (e == ERR_OK)
        e = file_writer_new(v->path, 0600, false, &v->writer);
    if (e == ERR_OK) {
        v->done = 0;
        progress_init(&v->bar, v->name, part->size, true, env_mono_ms(env_system()));
    }
    return e;
}

/* The file gets its name only when the agent says that the whole part was authentic. */
static enum err end(struct saving *v)
{
    enum err e = file_writer_commit(v->writer);
    char size[TEXT_SIZE_SIZE];

    file_writer_free(v->writer);
    v->writer = NULL;
    progress_fini(&v->bar);
    if (e != ERR_OK)
        return e;
    v->saved++;
    text_size(v->done, size);
    if (!v->session->json) {
        text_print_safe(stdout, span_str(v->path), false);
        printf("  %s\n", size);
    }
    return ERR_OK;
}

static enum err take(struct saving *v, const Sp__Response *r)
{
    enum err e = ERR_OK;

    if (r->part != NULL)
        return begin(v, r->part);
    if (r->data == NULL || v->writer == NULL)
        return ERR_OK;
    e = file_writer_put(v->writer, pb_span(r->data->data));
    v->done += r->data->data.len;
    progress_update(&v->bar, v->done, env_mono_ms(env_system()));
    return e == ERR_OK && r->data->last ? end(v) : e;
}

int cmd_save(const struct cli *args)
{
    Sp__SaveRequest save = SP__SAVE_REQUEST__INIT;
    Sp__Request request = SP__REQUEST__INIT;
    struct saving v = {.dir = cli_value(args, "to")};
    const Sp__Response *r;
    struct session s;
    uint64_t part;
    int exit = 0;

    if (cli_u64(args, "part", 0, LIMIT_PARTS - 1, 0, &part) != ERR_OK)
        return err_exit(ERR_USAGE);
    save.id = pb_string(cli_operand(args, 0));
    save.one_part = cli_value(args, "part") != NULL;
    save.part = (uint32_t)part;
    request.save = &save;
    if (access(v.dir, W_OK | X_OK) != 0)
        return cli_fail(stderr, cli_flag(args, "json"), ERR_NOT_FOUND,
                        "the folder %s is not there or cannot be written", v.dir);
    if (!session_open(&s, args, &exit))
        return exit;
    v.session = &s;
    for (r = session_ask(&s, &request, &exit); r != NULL; r = session_next(&s, &exit)) {
        enum err e = take(&v, r);

        if (e != ERR_OK) {
            exit = cli_fail(stderr, s.json, e, "saving into %s", v.dir);
            break;
        }
        if (!r->more)
            break;
    }
    progress_fini(&v.bar);
    file_writer_free(v.writer);
    session_close(&s);
    if (exit == 0 && cli_flag(args, "json"))
        printf("{\"saved\":%zu}\n", v.saved);
    else if (exit == 0 && v.saved == 0)
        printf("nothing to save: the message has no attachments\n");
    return exit;
}
