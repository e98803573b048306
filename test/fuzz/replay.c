/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Runs a fuzz target over a corpus, once, without libFuzzer.
 *
 * What the fuzzers once found stays found: this way every compiler and every
 * sanitizer sees the committed corpus in an ordinary test run. The arguments
 * are folders, whose files are run in name order; an empty corpus is a
 * failure, because a test that tests nothing must not pass.
 */

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* libFuzzer's own default: nothing longer is ever generated without -max_len. */
enum { INPUT_MAX = 1 << 20 };

static int run_file(const char *path)
{
    /* An allocation of the exact size lets ASan see a read past the input. */
    uint8_t *data;
    size_t size;
    FILE *file;

    file = fopen(path, "rb");
    if (!file) {
        perror(path);
        return -1;
    }
    data = malloc(INPUT_MAX);
    if (!data)
        abort();
    size = fread(data, 1, INPUT_MAX, file);
    fclose(file);
    if (size > 0) {
        data = realloc(data, size);
        if (!data)
            abort();
    }
    /* Before the run, so that a crash's last line names its input. */
    printf("%s (%zu bytes)\n", path, size);
    fflush(stdout);
    LLVMFuzzerTestOneInput(data, size);
    free(data);
    return 0;
}

static int is_input(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int run_folder(const char *path, int *count)
{
    struct dirent **entries;
    char *name;
    int n, r = 0;

    n = scandir(path, &entries, is_input, alphasort);
    if (n < 0) {
        perror(path);
        return -1;
    }
    for (int i = 0; i < n; i++) {
        if (asprintf(&name, "%s/%s", path, entries[i]->d_name) < 0)
            abort();
        if (run_file(name) < 0)
            r = -1;
        else
            (*count)++;
        free(name);
        free(entries[i]);
    }
    free(entries);
    return r;
}

int main(int argc, char **argv)
{
    int count = 0, r = 0;

    for (int i = 1; i < argc; i++)
        if (run_folder(argv[i], &count) < 0)
            r = 1;
    if (count == 0) {
        fprintf(stderr, "no input was run\n");
        r = 1;
    }
    return r;
}
