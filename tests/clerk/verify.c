/*
 * This verifier's verdict on many tokens, to be compared with @clerk/backend's:
 *   verify PEM_FILE ISSUER PARTIES < LINES
 * A line is a time in seconds since 1970, a blank and the token in hexadecimal. For each it prints
 * "ok SUBJECT" or "refused". An empty ISSUER or PARTIES is not checked.
 */
#include <stdio.h>
#include <stdlib.h>

#include "auth/session_token.h"

enum { LINE_BYTES_MAX = 4 * MIB };

static void die(const char *message)
{
    fprintf(stderr, "verify: %s\n", message);
    exit(1);
}

static struct key_set *read_keys(const char *path)
{
    char pem[PEM_BYTES_MAX];
    struct key_set *keys = NULL;
    FILE *file = fopen(path, "r");
    if (!file)
        die("cannot read the PEM file");
    size_t len = fread(pem, 1, sizeof(pem), file);
    fclose(file);
    if (key_set_from_pem((struct text){pem, len}, &keys))
        die("not a PEM public key");
    return keys;
}

static char digit(char hex)
{
    return (char)(hex <= '9' ? hex - '0' : hex - 'a' + 10);
}

/* The token of a line, on the heap and of the exact size, so that a read past its end is seen. */
static struct text decode(const char *hex)
{
    size_t len = strspn(hex, "0123456789abcdef") / 2;
    char *bytes = malloc(len ? len : 1);
    if (!bytes)
        die("out of memory");
    for (size_t i = 0; i < len; i++)
        bytes[i] = (char)(digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]));
    return (struct text){bytes, len};
}

int main(int argc, char **argv)
{
    if (argc != 4)
        die("expected PEM_FILE ISSUER PARTIES");
    struct key_set *keys = read_keys(argv[1]);
    struct session_policy policy = {text_from(argv[2]), text_from(argv[3])};
    char *line = malloc(LINE_BYTES_MAX);
    if (!line)
        die("out of memory");
    while (fgets(line, LINE_BYTES_MAX, stdin)) {
        struct session_claims claims;
        char *rest;
        int64_t now = strtoll(line, &rest, 10);
        struct text token = decode(rest + (*rest == ' '));
        enum error err = session_token_verify(token, keys, &policy, now, &claims);
        if (err == ERROR_OK)
            printf("ok %s\n", claims.subject);
        else
            printf("refused\n");
        free((char *)token.data);
    }
    free(line);
    key_set_free(keys);
    return 0;
}
