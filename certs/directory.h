/* Look-ups in a directory whose lists are sorted by name. NULL when it is not listed. */
#ifndef SEALPOST_CERTS_DIRECTORY_H
#define SEALPOST_CERTS_DIRECTORY_H

#include "documents.pb-c.h"

#include <stdbool.h>
#include <stddef.h>

const Sp__AgencyEntry *directory_agency(const Sp__Directory *d, const char *name);
const Sp__BrokerEntry *directory_broker(const Sp__Directory *d, const char *name);
const Sp__CodeEntry *directory_code(const Sp__Directory *d, const char *code);
const Sp__GroupEntry *directory_group(const Sp__Directory *d, const char *name);
/* Places in the lists; the count of the list when it is not there. */
size_t directory_agency_index(const Sp__Directory *d, const char *name);
size_t directory_broker_index(const Sp__Directory *d, const char *name);
/* Is `text` among the `n` sorted texts? */
bool directory_list_has(char *const *list, size_t n, const char *text);

#endif
