/*
 * The reference of the benchmark's row "bare": a stock libfcgi program with nothing in it. Each of
 * THREADS threads accepts for itself and answers every request with the bytes of ANSWER, which the
 * benchmark fills with an answer of the tokens handler, header lines included.
 *
 * usage: bare ANSWER THREADS, with the listening socket on fd 0
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fcgiapp.h>

enum { ANSWER_BYTES_MAX = 8192, THREADS_LIMIT = 1024 };

static char answer[ANSWER_BYTES_MAX]; /* written before the first thread starts */
static int answer_len;

static void *serve(void *unused)
{
    FCGX_Request request;
    (void)unused;
    FCGX_InitRequest(&request, 0, 0);
    while (FCGX_Accept_r(&request) == 0) {
        FCGX_PutStr(answer, answer_len, request.out);
        FCGX_Finish_r(&request);
    }
    return NULL;
}

static int read_answer(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return -1;
    size_t len = fread(answer, 1, sizeof(answer), file);
    fclose(file);
    answer_len = (int)len;
    return len > 0 && len < sizeof(answer) ? 0 : -1;
}

int main(int argc, char **argv)
{
    long threads = argc == 3 ? strtol(argv[2], NULL, 10) : 0;
    if (threads < 1 || threads > THREADS_LIMIT) {
        fprintf(stderr, "usage: bare ANSWER THREADS (1 to %d)\n", THREADS_LIMIT);
        return 2;
    }
    if (read_answer(argv[1])) {
        fprintf(stderr, "bare: %s: expected a file of 1 to %d bytes\n", argv[1],
                ANSWER_BYTES_MAX - 1);
        return 1;
    }
    if (FCGX_Init())
        return 1;
    /* FCGX_Init takes SIGTERM, and an idle program would then stay. */
    signal(SIGTERM, SIG_DFL);
    for (long i = 1; i < threads; i++) {
        pthread_t thread;
        int problem = pthread_create(&thread, NULL, serve, NULL);
        if (problem) {
            fprintf(stderr, "bare: thread %ld: %s\n", i, strerror(problem));
            return 1;
        }
    }
    serve(NULL);
    return 0;
}
