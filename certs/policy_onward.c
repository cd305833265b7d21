#include "certs/directory.h"
#include "certs/policy.h"

#include <stdio.h>
#include <string.h>

enum err policy_onward(const Sp__Directory *directory, const char *const *handling,
                       size_t n_handling, const char *const *source, size_t n_source,
                       bool has_release, char rule[POLICY_RULE])
{
    for (size_t i = 0; i < n_source; i++) {
        bool kept = false;

        for (size_t j = 0; j < n_handling; j++)
            kept |= strcmp(handling[j], source[i]) == 0;
        if (!kept) {
            snprintf(rule, POLICY_RULE, "the source's code %.16s is not kept", source[i]);
            return ERR_HANDLING_ONWARD;
        }
    }
    for (size_t i = 0; i < n_source; i++) {
        const Sp__CodeEntry *code = directory_code(directory, source[i]);

        if (code == NULL || !code->no_onward)
            continue;
        snprintf(rule, POLICY_RULE, "code %.16s asks for the originator's release", source[i]);
        return has_release ? ERR_RELEASE_INVALID : ERR_RELEASE_MISSING;
    }
    return ERR_OK;
}
