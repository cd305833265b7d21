#include "common/err.h"

#include <criterion/criterion.h>
#include <string.h>

Test(err, every_code_is_distinct_and_explained)
{
    for (int i = 0; i < ERR_COUNT; i++) {
        cr_assert(strlen(err_code((enum err)i)) > 0);
        cr_assert(strlen(err_meaning((enum err)i)) > 0);
        cr_assert(strlen(err_next((enum err)i)) > 0);
        cr_assert_eq(err_from_code(err_code((enum err)i)), (enum err)i);
    }
}

Test(err, unknown_code_from_a_peer_is_malformed)
{
    cr_assert_eq(err_from_code("no-such-code"), ERR_MALFORMED);
}

Test(err, only_ok_exits_with_zero)
{
    for (int i = 0; i < ERR_COUNT; i++)
        cr_assert_eq(err_exit((enum err)i) == 0, i == ERR_OK);
}
