#include "certs/cmd.h"

#include "common/file.h"
#include "common/limits.h"
#include "common/text.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

int cmd_fail(const struct cli *args, enum err e, const char *format, ...)
{
    char text[2 * WHY_TEXT];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    bool json = cli_flag(args, "json");
    return cli_fail(json ? stdout : stderr, json, e, "%s", text);
}

enum err cmd_path(char out[PATH_MAX], const char *dir, const char *name)
{
    return file_join(dir, name, out, PATH_MAX);
}

enum err cmd_agency_path(char out[PATH_MAX], const char *federation, const char *agency,
                         const char *name, struct why *why)
{
    char relative[LIMIT_AGENCY + 32], dir[PATH_MAX];
    if (!text_is_agency(span_str(agency)))
        return why_set(why, ERR_USAGE, "%.80s is not an agency's name", agency);
    snprintf(relative, sizeof(relative), FEDERATION_AGENCIES "/%s", agency);
    enum err e = cmd_path(dir, federation, relative);
    if (e == ERR_OK)
        e = file_make_dir(dir, 0755);
    if (e == ERR_OK)
        e = cmd_path(out, dir, name);
    return e == ERR_OK ? e : why_set(why, e, "%.200s: %s", federation, err_meaning(e));
}

/* One line from the terminal without echo, into locked memory. */
static enum err ask_line(const char *prompt, struct secret **ret)
{
    FILE *tty = fopen("/dev/tty", "r+");
    if (tty == NULL)
        return ERR_NOT_FOUND;
    struct termios old, quiet;
    int fd = fileno(tty);
    char line[LIMIT_PASSPHRASE + 2] = "";
    enum err e = ERR_IO;
    if (tcgetattr(fd, &old) != 0)
        goto out;
    quiet = old;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    fprintf(tty, "%s", prompt);
    fflush(tty);
    if (tcsetattr(fd, TCSAFLUSH, &quiet) != 0)
        goto out;
    ssize_t n = read(fd, line, sizeof(line) - 1);
    tcsetattr(fd, TCSAFLUSH, &old);
    fprintf(tty, "\n");
    if (n > 1)
        e = secret_copy(span_of(line, (size_t)n - 1), ret);
    else
        e = ERR_WRONG_PASSPHRASE;
out:
    crypto_wipe(line, sizeof(line));
    fclose(tty);
    return e;
}

static enum err ask(const char *key_path, bool fresh, struct secret **ret, struct why *why)
{
    char prompt[PATH_MAX + 32];
    snprintf(prompt, sizeof(prompt), "Pass phrase for %s: ", key_path);
    struct secret *first = NULL, *again = NULL;
    enum err e = ask_line(prompt, &first);
    if (e == ERR_NOT_FOUND)
        return why_set(why, ERR_USAGE,
                       "no pass phrase: give --passphrase-file, or a file \"" CMD_PASSPHRASE
                       "\" beside the key");
    if (e == ERR_OK && fresh) {
        e = ask_line("Once more: ", &again);
        if (e == ERR_OK && !secret_equal(first, again))
            e = ERR_WRONG_PASSPHRASE;
    }
    secret_free(again);
    if (e != ERR_OK) {
        secret_free(first);
        return why_set(why, e, fresh ? "the pass phrases differ" : "no pass phrase was given");
    }
    *ret = first;
    return ERR_OK;
}

enum err cmd_passphrase(const struct cli *args, const char *key_path, bool fresh,
                        struct secret **ret, struct why *why)
{
    char dir[PATH_MAX], beside[PATH_MAX];
    const char *path = cli_value(args, "passphrase-file");
    if (path == NULL) {
        enum err e = file_parent(key_path, dir, sizeof(dir));
        if (e == ERR_OK)
            e = cmd_path(beside, dir, CMD_PASSPHRASE);
        if (e != ERR_OK)
            return why_set(why, e, "the path is too long");
        if (access(beside, F_OK) != 0)
            return ask(key_path, fresh, ret, why);
        path = beside;
    }
    enum err e = keystore_passphrase(path, ret);
    return e == ERR_OK ? e : why_set(why, e, "%.200s: %s", path, err_meaning(e));
}

enum err cmd_open_key(const struct cli *args, const char *path, enum key_purpose purpose,
                      struct key_info *info, struct secret **ret, struct why *why)
{
    struct secret *pass = NULL;
    enum err e = cmd_passphrase(args, path, false, &pass, why);
    if (e != ERR_OK)
        return e;
    e = keystore_open(path, purpose, secret_bytes(pass), info, ret);
    secret_free(pass);
    return e == ERR_OK ? e : why_set(why, e, "%.200s: %s", path, err_meaning(e));
}

enum err cmd_create_key(const struct cli *args, const char *path, enum key_purpose purpose,
                        const char *owner, const struct secret *import, struct key_info *ret,
                        struct why *why)
{
    struct secret *pass = NULL;
    const char *class = cli_value(args, "cost");
    /* Keys of people are opened by what people can remember, the daemons' by random bytes. */
    bool person =
        class != NULL ? strcmp(class, "person") == 0 : purpose == KEY_ROOT || purpose == KEY_CA;
    enum keystore_cost cost = person ? KEYSTORE_PERSON : KEYSTORE_DAEMON;
    if (access(path, F_OK) == 0)
        return why_set(why, ERR_EXISTS, "%.200s: a key is never overwritten", path);
    enum err e = cmd_passphrase(args, path, true, &pass, why);
    if (e != ERR_OK)
        return e;
    if (import != NULL)
        e = keystore_import(path, env_system(), purpose, owner, import, secret_bytes(pass), cost,
                            ret);
    else
        e = keystore_create(path, env_system(), purpose, owner, secret_bytes(pass), cost, ret);
    secret_free(pass);
    return e == ERR_OK ? e : why_set(why, e, "%.200s: %s", path, err_meaning(e));
}

enum err cmd_read_document(enum document_kind kind, const char *path, struct document *ret,
                           struct why *why)
{
    struct buf bytes;
    buf_init(&bytes, LIMIT_DOCUMENT);
    enum err e = file_read(path, LIMIT_DOCUMENT, &bytes);
    if (e != ERR_OK)
        return why_set(why, e, "%.200s: %s", path, err_meaning(e));
    e = document_read(kind, buf_span(&bytes), ret, why);
    buf_fini(&bytes);
    return e;
}

enum err cmd_read_in(enum document_kind kind, const char *dir, const char *name,
                     struct document *ret, struct why *why)
{
    char path[PATH_MAX];
    enum err e = cmd_path(path, dir, name);
    return e == ERR_OK ? cmd_read_document(kind, path, ret, why)
                       : why_set(why, e, "the path is too long");
}

enum err cmd_read_pem(const char *path, const char *label, size_t index, size_t max,
                      struct buf *der, struct why *why)
{
    struct buf pem;
    buf_init(&pem, LIMIT_DOCUMENT);
    enum err e = file_read(path, LIMIT_DOCUMENT, &pem);
    if (e != ERR_OK)
        return why_set(why, e, "%.200s: %s", path, err_meaning(e));
    e = x509_pem_read(label, buf_span(&pem), index, max, der);
    buf_fini(&pem);
    /* The file is there: that it holds nothing is damage, not absence. */
    if (e == ERR_NOT_FOUND)
        e = ERR_MALFORMED;
    return e == ERR_OK ? e
                       : why_set(why, e, "%.180s: PEM block %zu is no %s", path, index + 1, label);
}

enum err cmd_write(const char *path, struct span bytes, struct why *why)
{
    enum err e = file_write_atomic(path, bytes, 0644);
    return e == ERR_OK ? e : why_set(why, e, "%.200s: %s", path, err_meaning(e));
}

enum err cmd_write_pem(const char *path, const char *label, const struct span *ders, size_t n,
                       struct why *why)
{
    struct buf pem;
    buf_init(&pem, LIMIT_DOCUMENT);
    enum err e = ERR_OK;
    for (size_t i = 0; e == ERR_OK && i < n; i++)
        e = x509_pem_write(label, ders[i], &pem);
    e = e == ERR_OK ? cmd_write(path, buf_span(&pem), why) : why_set(why, e, "no PEM");
    buf_fini(&pem);
    return e;
}

enum err cmd_transcript(const char *path, struct why *why, const char *format, ...)
{
    char file[PATH_MAX], now[TEXT_TIME_SIZE];
    int len = snprintf(file, sizeof(file), "%s.transcript", path);
    FILE *to = len > 0 && (size_t)len < sizeof(file) ? fopen(file, "a") : NULL;
    if (to == NULL)
        return why_set(why, ERR_IO, "%.200s.transcript cannot be written", path);
    text_time(env_now_ms(env_system()), now);
    fprintf(to, "%s ", now);
    va_list args;
    va_start(args, format);
    vfprintf(to, format, args);
    va_end(args);
    fputc('\n', to);
    return fclose(to) == 0 ? ERR_OK
                           : why_set(why, ERR_IO, "%.200s.transcript was not written", path);
}

enum err cmd_check_leaf(const char *federation, const char *agency, const char *trust_domain,
                        bool crl, struct x509_leaf *ret, struct why *why)
{
    struct buf leaf, ca, list;
    char path[PATH_MAX];
    struct digest spki;
    buf_init(&leaf, LIMIT_CERT);
    buf_init(&ca, LIMIT_CERT);
    buf_init(&list, LIMIT_CRL);
    enum err e = cmd_agency_path(path, federation, agency, FEDERATION_CHAIN, why);
    if (e == ERR_OK)
        e = cmd_read_pem(path, X509_PEM_CERT, 0, LIMIT_CERT, &leaf, why);
    if (e == ERR_OK)
        e = cmd_agency_path(path, federation, agency, FEDERATION_CA, why);
    if (e == ERR_OK)
        e = cmd_read_pem(path, X509_PEM_CERT, 0, LIMIT_CERT, &ca, why);
    if (e == ERR_OK && crl)
        e = cmd_agency_path(path, federation, agency, FEDERATION_CRL, why);
    if (e == ERR_OK && crl)
        e = cmd_read_pem(path, X509_PEM_CRL, 0, LIMIT_CRL, &list, why);
    if (e == ERR_OK)
        e = x509_spki_digest(buf_span(&ca), &spki);
    if (e == ERR_OK) {
        struct x509_check check = {.leaf = buf_span(&leaf),
                                   .ca = buf_span(&ca),
                                   .crl = buf_span(&list),
                                   .ca_spki = &spki,
                                   .agency = agency,
                                   .trust_domain = trust_domain,
                                   .at_ms = env_now_ms(env_system())};
        e = x509_check_leaf(&check, ret, why);
    }
    buf_fini(&leaf);
    buf_fini(&ca);
    buf_fini(&list);
    return e;
}
