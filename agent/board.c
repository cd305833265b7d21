#include "agent/board.h"

#include "common/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>

struct board {
    pthread_mutex_t lock;
    struct board_change changes[BOARD_CHANGES];
    uint64_t told;
    int fds[LIMIT_LOCAL_CLIENTS];
    size_t n_fds;
    struct board_facts facts;
};

void ticket_init(struct ticket *t, const struct agent_draft *draft)
{
    *t = (struct ticket){.draft = draft};
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->cond, NULL);
}

void ticket_fini(struct ticket *t)
{
    pthread_mutex_destroy(&t->lock);
    pthread_cond_destroy(&t->cond);
}

void ticket_done(struct ticket *t, enum err code, bool is_new, const char *rule,
                 const struct uuid *id)
{
    pthread_mutex_lock(&t->lock);
    t->code = code;
    t->is_new = is_new;
    snprintf(t->rule, sizeof t->rule, "%s", rule);
    if (id != NULL)
        t->id = *id;
    t->done = true;
    pthread_cond_signal(&t->cond);
    pthread_mutex_unlock(&t->lock);
}

void ticket_wait(struct ticket *t)
{
    pthread_mutex_lock(&t->lock);
    while (!t->done)
        pthread_cond_wait(&t->cond, &t->lock);
    pthread_mutex_unlock(&t->lock);
}

enum err board_new(struct board **ret)
{
    struct board *b = calloc(1, sizeof *b);

    if (b == NULL)
        return ERR_NO_MEMORY;
    pthread_mutex_init(&b->lock, NULL);
    *ret = b;
    return ERR_OK;
}

void board_free(struct board *b)
{
    if (b == NULL)
        return;
    pthread_mutex_destroy(&b->lock);
    free(b);
}

void board_tell(struct board *b, const struct board_change *change)
{
    pthread_mutex_lock(&b->lock);
    b->changes[b->told++ % BOARD_CHANGES] = *change;
    for (size_t i = 0; i < b->n_fds; i++)
        (void)eventfd_write(b->fds[i], 1);
    pthread_mutex_unlock(&b->lock);
}

uint64_t board_told(struct board *b)
{
    uint64_t told;

    pthread_mutex_lock(&b->lock);
    told = b->told;
    pthread_mutex_unlock(&b->lock);
    return told;
}

enum err board_read(struct board *b, uint64_t *from, struct board_change *out, size_t max,
                    size_t *n)
{
    enum err e = ERR_OK;
    size_t got = 0;

    pthread_mutex_lock(&b->lock);
    if (b->told - *from > BOARD_CHANGES)
        e = ERR_FULL;
    while (e == ERR_OK && got < max && *from < b->told)
        out[got++] = b->changes[(*from)++ % BOARD_CHANGES];
    pthread_mutex_unlock(&b->lock);
    if (e == ERR_OK)
        *n = got;
    return e;
}

enum err board_subscribe(struct board *b, int event_fd)
{
    enum err e = ERR_FULL;

    pthread_mutex_lock(&b->lock);
    if (b->n_fds < LIMIT_LOCAL_CLIENTS) {
        b->fds[b->n_fds++] = event_fd;
        e = ERR_OK;
    }
    pthread_mutex_unlock(&b->lock);
    return e;
}

void board_unsubscribe(struct board *b, int event_fd)
{
    pthread_mutex_lock(&b->lock);
    for (size_t i = 0; i < b->n_fds; i++) {
        if (b->fds[i] == event_fd) {
            b->fds[i] = b->fds[--b->n_fds];
            break;
        }
    }
    pthread_mutex_unlock(&b->lock);
}

void board_set_facts(struct board *b, const struct board_facts *facts)
{
    pthread_mutex_lock(&b->lock);
    b->facts = *facts;
    pthread_mutex_unlock(&b->lock);
}

void board_get_facts(struct board *b, struct board_facts *ret)
{
    pthread_mutex_lock(&b->lock);
    *ret = b->facts;
    pthread_mutex_unlock(&b->lock);
}
