/* status and directory: facts about the agent and its federation. */
#include "agent/local_internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define WARNINGS_MAX 12
#define WARNING_SIZE 160
#define DAY_MS ((uint64_t)86400000)

struct facts {
    Sp__Status status;
    char texts[WARNINGS_MAX][WARNING_SIZE];
    char *warnings[WARNINGS_MAX];
    char *roles[4];
};

[[gnu::format(printf, 2, 3)]] static void warn(struct facts *f, const char *format, ...)
{
    va_list args;
    size_t n = f->status.n_warnings;

    if (n == WARNINGS_MAX)
        return;
    va_start(args, format);
    vsnprintf(f->texts[n], WARNING_SIZE, format, args);
    va_end(args);
    f->warnings[n] = f->texts[n];
    f->status.warnings = f->warnings;
    f->status.n_warnings++;
}

static void fill_roles(const struct officer *o, struct facts *f)
{
    static const char *const names[] = {"officer", "releaser", "auditor", "administrator"};

    for (size_t i = 0; i < 4; i++) {
        if ((o->roles & (1u << i)) != 0)
            f->roles[f->status.n_roles++] = pb_string(names[i]);
    }
    f->status.roles = f->roles;
    f->status.officer = o->id;
}

static void fill_trust(struct visitor *v, const struct trust *trust, uint64_t now, struct facts *f)
{
    const char *agency = v->options->settings->agency;
    struct trust_encryption key;
    Sp__Status *s = &f->status;
    enum err e = trust_fresh(trust, now);

    s->directory_version = trust_directory(trust)->version;
    s->directory_expires_ms = trust_directory(trust)->expires_ms;
    s->timestamp_expires_ms = trust_timestamp_expires_ms(trust);
    s->certificate_expires_ms = trust_leaf_expires_ms(trust, agency);
    if (e != ERR_OK)
        warn(f, "%s: nothing new can be sent", err_meaning(e));
    if (s->certificate_expires_ms < now + 3 * DAY_MS)
        warn(f, "the certificate of this agency %s",
             s->certificate_expires_ms <= now ? "has expired" : "expires within 3 days");
    e = trust_encryption_key(trust, agency, ENVELOPE_SUITE_1, now, &key);
    if (e == ERR_OK) {
        s->key_expires_ms = key.not_after_ms;
        if (key.last_resort)
            warn(f, "only the last-resort key is current: publish new encryption keys");
    } else {
        warn(f, "nobody can encrypt to this agency: %s", err_meaning(e));
    }
}

static void fill_store(struct visitor *v, struct facts *f)
{
    struct store_usage u;

    if (store_usage(v->options->store, &u) != ERR_OK)
        return;
    f->status.store_used = u.used_bytes;
    f->status.store_size = u.map_bytes;
    if (u.used_bytes / LIMIT_STORE_ORDINARY >= u.map_bytes / 100)
        warn(f, "the store is full: nothing new is taken");
}

void local_status(struct visitor *v)
{
    struct trust *trust = trusting_current(v->options->trusting);
    const char *agency = v->options->settings->agency;
    const Sp__AgencyEntry *self = trust_agency(trust, agency);
    uint64_t now = env_now_ms(v->options->env);
    Sp__Response response = SP__RESPONSE__INIT;
    struct facts f = {0};
    struct board_facts board;

    board_get_facts(v->options->board, &board);
    sp__status__init(&f.status);
    f.status.agency = pb_string(agency);
    f.status.version = pb_string(SEALPOST_VERSION);
    f.status.connected = board.home[0] != '\0';
    if (f.status.connected)
        f.status.broker = board.home;
    else if (self != NULL && self->n_homes > 0)
        f.status.broker = self->homes[0];
    if (!f.status.connected)
        warn(&f, "no home broker is connected");
    f.status.outbox_pending = board.pending;
    f.status.inbox = board.inbox;
    f.status.unopened = board.unopened;
    f.status.log_size = board.log_size;
    f.status.log_root = pb_bytes(digest_span(&board.log_root));
    if (board.quarantined > 0)
        warn(&f, "%" PRIu64 " damaged records are quarantined: see the daemon's log",
             board.quarantined);
    fill_trust(v, trust, now, &f);
    fill_store(v, &f);
    fill_roles(v->officer, &f);
    response.status = &f.status;
    visitor_respond(v, &response, false);
    trust_free(trust);
}

/* The name in English, else the first. */
static const char *title_of(const Sp__AgencyEntry *a)
{
    for (size_t i = 0; i < a->n_names; i++) {
        if (strcmp(a->names[i]->language, "en") == 0)
            return a->names[i]->text;
    }
    return a->n_names > 0 ? a->names[0]->text : "";
}

static void view_agency(const struct trust *trust, uint64_t now, const Sp__AgencyEntry *a,
                        Sp__AgencyView *ret)
{
    struct trust_encryption key;
    const char *level = name_of(NAME_LEVEL, (int)a->ceiling);

    sp__agency_view__init(ret);
    ret->name = a->name;
    ret->title = pb_string(title_of(a));
    ret->handling = a->handling;
    ret->n_handling = a->n_handling;
    ret->ceiling = pb_string(level == NULL ? "" : level);
    ret->homes = a->homes;
    ret->n_homes = a->n_homes;
    ret->key_known = trust_encryption_key(trust, a->name, ENVELOPE_SUITE_1, now, &key) == ERR_OK;
    if (ret->key_known)
        ret->key_expires_ms = key.not_after_ms;
}

void local_directory(struct visitor *v, const Sp__DirectoryRequest *q)
{
    struct trust *trust = trusting_current(v->options->trusting);
    const Sp__Directory *d = trust_directory(trust);
    uint64_t now = env_now_ms(v->options->env);
    Sp__AgencyView *views = calloc(d->n_agencies + 1, sizeof *views);
    Sp__AgencyView **items = calloc(d->n_agencies + 1, sizeof(Sp__AgencyView *));
    Sp__Response response = SP__RESPONSE__INIT;
    Sp__DirectoryView view = SP__DIRECTORY_VIEW__INIT;

    for (size_t i = 0; views != NULL && items != NULL && i < d->n_agencies; i++) {
        Sp__AgencyView *to = &views[view.n_agencies];

        if (q->agency[0] != '\0' && strcmp(q->agency, d->agencies[i]->name) != 0)
            continue;
        view_agency(trust, now, d->agencies[i], to);
        items[view.n_agencies++] = to;
    }
    view.version = d->version;
    view.federation = d->federation;
    view.expires_ms = d->expires_ms;
    view.agencies = items;
    response.directory = &view;
    if (views == NULL || items == NULL)
        visitor_error(v, ERR_NO_MEMORY, NULL);
    else if (q->agency[0] != '\0' && view.n_agencies == 0)
        visitor_error(v, ERR_NOT_FOUND, "the directory does not list this agency");
    else
        visitor_respond(v, &response, false);
    free(views);
    free(items);
    trust_free(trust);
}
