#include "audit/cmd.h"

#include "common/text.h"

#include <string.h>

#define WHY_SIZE 512

int cmd_open_anchor(const struct cli *args, struct anchor **ret)
{
    char why[WHY_SIZE] = "";
    enum err e = anchor_open(cli_value(args, "root"), ret, why, sizeof(why));

    if (e == ERR_OK)
        return 0;
    return cli_fail(stderr, cli_flag(args, "json"), e, "federation root: %s",
                    why[0] != '\0' ? why : err_meaning(e));
}

int cmd_open_source(const struct cli *args, const char *place, struct source **ret)
{
    char why[WHY_SIZE] = "";
    enum err e = source_open(place, ret, why, sizeof(why));

    if (e == ERR_OK)
        return 0;
    return cli_fail(stderr, cli_flag(args, "json"), e, "%s", why);
}

int cmd_log_key(const struct cli *args, const struct anchor *a, const char *origin,
                struct note_key *key, const struct note_key **ret)
{
    enum err e;

    *ret = NULL;
    if (!anchor_is_set(a))
        return 0;
    e = anchor_log_key(a, origin, key);
    if (e != ERR_OK)
        return cli_fail(stderr, cli_flag(args, "json"), e,
                        "the federation folder of the root has no key for the log %s", origin);
    *ret = key;
    return 0;
}

void cmd_print_line(const char *indent, struct span text)
{
    (void)fputs(indent, stdout);
    text_print_safe(stdout, text, false);
    (void)fputc('\n', stdout);
}
