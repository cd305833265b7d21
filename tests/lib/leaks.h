/* Criterion exits with 0 although LeakSanitizer found a leak inside a test, so every suite ends
 * with a check of its own: `TestSuite(name, .fini = leaks_check);`. */
#ifndef SEALPOST_TESTS_LIB_LEAKS_H
#define SEALPOST_TESTS_LIB_LEAKS_H

#include <criterion/criterion.h>

/* There only under the address sanitizer. */
[[gnu::weak]] int __lsan_do_recoverable_leak_check(void);

[[maybe_unused]] static void leaks_check(void)
{
    if (__lsan_do_recoverable_leak_check != NULL)
        cr_assert_eq(__lsan_do_recoverable_leak_check(), 0);
}

#endif
