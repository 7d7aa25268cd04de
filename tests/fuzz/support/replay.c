/*
 * Runs a driver over files instead of under libFuzzer: seeds and findings of the past are tests of
 * every build, with any compiler.
 *
 * usage: DRIVER FILE|FOLDER...; prints the number of inputs. A finding aborts and names the file.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "support/fuzz.h"

#pragma weak LLVMFuzzerInitialize

enum { INPUT_BYTES_MAX = 1 << 20 };

static int replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *input = malloc(INPUT_BYTES_MAX);
    REQUIRE(file && input);
    size_t size = fread(input, 1, INPUT_BYTES_MAX, file);
    fclose(file);
    /* Exactly as long as the input, so that a sanitizer sees a read past its end. */
    uint8_t *exact = malloc(size > 0 ? size : 1);
    REQUIRE(exact);
    memcpy(exact, input, size);
    free(input);
    fprintf(stderr, "%s\n", path);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    return 1;
}

static int replay(const char *path)
{
    struct stat status;
    if (stat(path, &status) != 0) {
        fprintf(stderr, "%s: cannot be read\n", path);
        exit(1);
    }
    if (!S_ISDIR(status.st_mode))
        return replay_file(path);
    struct dirent **entries;
    int count = scandir(path, &entries, NULL, alphasort);
    int inputs = 0;
    for (int i = 0; i < count; i++) {
        char child[4096];
        snprintf(child, sizeof(child), "%s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.')
            inputs += replay(child);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    return inputs;
}

int main(int argc, char **argv)
{
    int inputs = 0;
    if (LLVMFuzzerInitialize)
        LLVMFuzzerInitialize(&argc, &argv);
    /* Every driver takes an empty input. */
    LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    for (int i = 1; i < argc; i++)
        inputs += replay(argv[i]);
    printf("%d\n", inputs);
    return 0;
}
