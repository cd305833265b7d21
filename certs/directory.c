#include "certs/directory.h"

#include <string.h>

/* Binary search over an array of pointers to structs; `name_of` gives the key of one. An unsorted
 * list (while it is being checked) is merely not searched well. */
static size_t search(const void *list, size_t n, const char *(*name_of)(const void *list, size_t i),
                     const char *name)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = strcmp(name_of(list, mid), name);
        if (order == 0)
            return mid;
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return n;
}

static const char *agency_name(const void *list, size_t i)
{
    return ((Sp__AgencyEntry *const *)list)[i]->name;
}

static const char *broker_name(const void *list, size_t i)
{
    return ((Sp__BrokerEntry *const *)list)[i]->name;
}

static const char *code_name(const void *list, size_t i)
{
    return ((Sp__CodeEntry *const *)list)[i]->code;
}

static const char *group_name(const void *list, size_t i)
{
    return ((Sp__GroupEntry *const *)list)[i]->name;
}

static const char *text_at(const void *list, size_t i)
{
    return ((char *const *)list)[i];
}

size_t directory_agency_index(const Sp__Directory *d, const char *name)
{
    return search(d->agencies, d->n_agencies, agency_name, name);
}

size_t directory_broker_index(const Sp__Directory *d, const char *name)
{
    return search(d->brokers, d->n_brokers, broker_name, name);
}

const Sp__AgencyEntry *directory_agency(const Sp__Directory *d, const char *name)
{
    size_t i = directory_agency_index(d, name);
    return i < d->n_agencies ? d->agencies[i] : NULL;
}

const Sp__BrokerEntry *directory_broker(const Sp__Directory *d, const char *name)
{
    size_t i = directory_broker_index(d, name);
    return i < d->n_brokers ? d->brokers[i] : NULL;
}

const Sp__CodeEntry *directory_code(const Sp__Directory *d, const char *code)
{
    size_t i = search(d->codes, d->n_codes, code_name, code);
    return i < d->n_codes ? d->codes[i] : NULL;
}

const Sp__GroupEntry *directory_group(const Sp__Directory *d, const char *name)
{
    size_t i = search(d->groups, d->n_groups, group_name, name);
    return i < d->n_groups ? d->groups[i] : NULL;
}

bool directory_list_has(char *const *list, size_t n, const char *text)
{
    return search(list, n, text_at, text) < n;
}
