#include "agent/cli_common.h"
#include "agent/cli_draft.h"
#include "common/env.h"
#include "common/limits.h"
#include "common/table.h"
#include "common/text.h"
#include "proto/names.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Sends one attachment's bytes; stops early, `*whole` false, when the agent has answered already.
 */
static enum err stream_attachment(struct session *s, const struct draft_file *f, bool *whole)
{
    uint8_t *block = malloc(LIMIT_CHUNK);
    struct progress bar;
    uint64_t sent = 0;
    enum err e = block == NULL ? ERR_NO_MEMORY : ERR_OK;
    bool last = false;

    progress_init(&bar, f->name, f->size, true, env_mono_ms(env_system()));
    while (e == ERR_OK && !last && !client_has_response(s->client)) {
        Sp__DataChunk chunk = SP__DATA_CHUNK__INIT;
        Sp__Request request = SP__REQUEST__INIT;
        ssize_t n = read(f->fd, block, LIMIT_CHUNK);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            e = ERR_IO;
            break;
        }
        last = n == 0;
        chunk.data = pb_bytes(span_of(block, (size_t)n));
        chunk.last = last;
        request.data = &chunk;
        e = client_send(s->client, &request);
        sent += (uint64_t)n;
        progress_update(&bar, sent, env_mono_ms(env_system()));
    }
    progress_fini(&bar);
    free(block);
    *whole = last;
    return e;
}

/* The agent has all of it and went away before it answered: it may have committed. */
static int outcome_unknown(const struct session *s, const struct draft *d)
{
    bool named = d->send.id[0] != '\0';
    char next[LIMIT_CLI_MESSAGE / 8];

    snprintf(next, sizeof next,
             named ? "repeat with --id %s: it is sent once"
                   : "look for it with `sealpost list --box out` before sending it again%s",
             named ? d->send.id : "");
    return cli_fail_text(stderr, s->json, ERR_PENDING,
                         "the agent has gone away; the message may be committed or not", next);
}

/* The message is committed: that its id cannot be written makes it no failure that is safe to
 * repeat. */
static int id_unwritten(const struct session *s, const char *id)
{
    clearerr(stdout);
    return cli_fail(stderr, s->json, ERR_PENDING,
                    "message %s is committed, but standard output cannot be written", id);
}

static const Sp__Message *submit(struct session *s, struct draft *d, int *exit)
{
    Sp__Request request = SP__REQUEST__INIT;
    const Sp__Response *r;
    bool whole = true;
    enum err e;

    request.send = &d->send;
    e = client_send(s->client, &request);
    for (size_t i = 0; e == ERR_OK && whole && i < d->n_files; i++) {
        e = stream_attachment(s, &d->files[i], &whole);
        if (e == ERR_IO) {
            *exit = cli_fail(stderr, s->json, e, "reading %s; nothing was sent", d->files[i].name);
            return NULL;
        }
    }
    if (e != ERR_OK && !(e == ERR_UNAVAILABLE && client_has_response(s->client))) {
        *exit = cli_fail(stderr, s->json, e, NULL);
        return NULL;
    }
    if (e == ERR_OK && whole && client_is_gone(s->client)) {
        *exit = outcome_unknown(s, d);
        return NULL;
    }
    r = session_next(s, exit);
    if (r == NULL)
        return NULL;
    if (r->message == NULL) {
        *exit = cli_fail(stderr, s->json, ERR_MALFORMED, "the agent's answer has no message");
        return NULL;
    }
    return r->message;
}

/* Judges the states after the wait: 0 all there, 1 someone refused, 6 not known yet. */
static int judge(const struct session *s, const Sp__Message *m, enum transport_state wanted)
{
    bool refused = false;
    bool waiting = false;

    for (size_t i = 0; i < m->n_recipients; i++) {
        const Sp__RecipientState *p = m->recipients[i];
        int state;

        if (name_parse(NAME_STATE, p->state, &state) != ERR_OK)
            state = STATE_UNRESOLVED;
        if (state >= STATE_REFUSED && state <= STATE_RECALLED) {
            refused = true;
            if (!s->json)
                cli_fail(stderr, false, p->code[0] == '\0' ? ERR_EXPIRED : err_from_code(p->code),
                         "%s: %s%s%s", p->agency, p->state, p->reason[0] == '\0' ? "" : ": ",
                         p->reason);
        } else if (state < (int)wanted || state == STATE_UNRESOLVED) {
            waiting = true;
            if (!s->json)
                fprintf(stderr, "sealpost: %s: %s so far\n", p->agency, p->state);
        }
    }
    return refused ? err_exit(ERR_EXPIRED) : waiting ? err_exit(ERR_PENDING) : 0;
}

/* The last response to a wait; NULL when the agent has gone or cannot say. */
static const Sp__Response *ask_outcome(struct session *s, const Sp__Request *request)
{
    enum err e = client_send(s->client, request);
    const Sp__Response *r = NULL;

    while (e == ERR_OK) {
        pb_free(s->response);
        s->response = NULL;
        e = client_receive(s->client, &s->response);
        if (e != ERR_OK)
            return NULL;
        r = pb_view(s->response);
        if (!r->more)
            return r->message != NULL ? r : NULL;
    }
    return NULL;
}

static int wait_for(struct session *s, const char *id, const char *word, uint64_t timeout_ms)
{
    Sp__WaitRequest wait = SP__WAIT_REQUEST__INIT;
    Sp__Request request = SP__REQUEST__INIT;
    const Sp__Response *r;
    int wanted = STATE_DELIVERED;
    int exit;

    wait.id = pb_string(id);
    wait.state = pb_string(word);
    wait.timeout_in_ms = timeout_ms;
    request.wait = &wait;
    r = ask_outcome(s, &request);
    /* The message is committed: losing the agent now leaves only the outcome unknown. */
    if (r == NULL || name_parse(NAME_STATE, word, &wanted) != ERR_OK)
        return cli_fail(stderr, s->json, ERR_PENDING,
                        "the agent has gone away; message %s is committed", id);
    exit = judge(s, r->message, (enum transport_state)wanted);
    if (s->json && print_json(r->message) != ERR_OK)
        return id_unwritten(s, id);
    return exit;
}

static int run(const struct cli *args, const char *reply_to)
{
    const char *wait = cli_value(args, "wait");
    struct session s = {0};
    struct draft d = {0};
    const Sp__Message *m;
    uint64_t timeout_ms;
    char id[64];
    int exit = 0;

    if (cli_duration(args, "timeout", 0, UINT32_MAX, 30000, &timeout_ms) != ERR_OK)
        return err_exit(ERR_USAGE);
    exit = draft_read(args, reply_to, &d);
    if (exit != 0 || !session_open(&s, args, &exit))
        goto out;
    m = submit(&s, &d, &exit);
    if (m == NULL)
        goto out;
    snprintf(id, sizeof id, "%s", m->id);
    if (!s.json && (printf("%s\n", id) < 0 || fflush(stdout) != 0))
        exit = id_unwritten(&s, id);
    else if (wait != NULL)
        exit = wait_for(&s, id, wait, timeout_ms);
    else if (s.json && print_json(m) != ERR_OK)
        exit = id_unwritten(&s, id);
out:
    session_close(&s);
    draft_fini(&d);
    return exit;
}

int cmd_send(const struct cli *args)
{
    return run(args, NULL);
}

int cmd_reply(const struct cli *args)
{
    return run(args, cli_operand(args, 0));
}
