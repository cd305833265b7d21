#include "audit/cmd.h"
#include "common/secret.h"

int main(int argc, char **argv)
{
    enum err e = secret_process_init(true);

    if (e != ERR_OK)
        return cli_fail(stderr, false, e, NULL);
    return cli_main(&cmd_program, argc, argv);
}
