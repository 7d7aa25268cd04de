#include "outbound/http_client.h"

#include <curl/curl.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <string.h>

#include "base/blocking.h"
#include "base/limits.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t handle_key; /* the thread's easy handle */
static bool usable;

static void free_handle(void *handle)
{
    curl_easy_cleanup(handle);
}

/*
 * curl_global_init overlooks it when OpenSSL could not be set up, which is never tried again: a
 * call would then end the process. A context and random numbers are what a connection needs.
 */
static bool tls_usable(void)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    bool there = context && RAND_status() == 1;
    SSL_CTX_free(context);
    return there;
}

static void init_library(void)
{
    usable = tls_usable() && curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK &&
             pthread_key_create(&handle_key, free_handle) == 0;
}

bool http_client_library_init(void)
{
    pthread_once(&once, init_library);
    return usable;
}

static CURL *thread_handle(void)
{
    if (!http_client_library_init())
        return NULL;
    CURL *handle = pthread_getspecific(handle_key);
    if (!handle) {
        handle = curl_easy_init();
        pthread_setspecific(handle_key, handle);
    } else {
        curl_easy_reset(handle);
    }
    return handle;
}

bool http_client_url_allowed(const char *url)
{
    static const char *const LOOPBACK[] = {"http://127.0.0.1", "http://localhost", "http://[::1]"};
    if (strncmp(url, "https://", 8) == 0)
        return url[8] != '\0';
    for (size_t i = 0; i < sizeof(LOOPBACK) / sizeof(LOOPBACK[0]); i++) {
        size_t len = strlen(LOOPBACK[i]);
        if (strncmp(url, LOOPBACK[i], len) != 0)
            continue;
        /*
         * Behind the host only a port and a path, so that 127.0.0.1.example.org is refused, and
         * 127.0.0.1:80@example.org, where what looks like the host is a user's name.
         */
        const char *rest = url + len;
        if (*rest == ':')
            rest += 1 + strspn(rest + 1, "0123456789");
        if (*rest == '/' || *rest == '\0')
            return true;
    }
    return false;
}

static size_t receive(char *data, size_t size, size_t count, void *context)
{
    struct buffer *body = context;
    buffer_append(body, data, size * count);
    /* Taking less than was offered makes libcurl give up. */
    return buffer_error(body) ? 0 : size * count;
}

static struct curl_slist *make_headers(const char *const *headers, bool *ret_failed)
{
    struct curl_slist *list = NULL;
    *ret_failed = false;
    for (; headers && *headers; headers++) {
        struct curl_slist *longer = curl_slist_append(list, *headers);
        if (!longer) {
            curl_slist_free_all(list);
            *ret_failed = true;
            return NULL;
        }
        list = longer;
    }
    return list;
}

/* Returns false when memory is out: without the password, say, it would be another request. */
static bool configure(CURL *handle, const struct http_call *call, struct curl_slist *headers,
                      struct buffer *body)
{
    enum { CONNECT_TIMEOUT_MS = 3000 };
    unsigned failed = 0;
    failed |= curl_easy_setopt(handle, CURLOPT_URL, call->url);
    failed |= curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
    failed |= curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "https,http");
    failed |= curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 0L);
    failed |= curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT_MS);
    failed |= curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, call->timeout_ms);
    failed |= curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers);
    failed |= curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, receive);
    failed |= curl_easy_setopt(handle, CURLOPT_WRITEDATA, body);
    failed |= curl_easy_setopt(handle, CURLOPT_PROXY, "");
    if (call->user_password)
        failed |= curl_easy_setopt(handle, CURLOPT_USERPWD, call->user_password);
    if (strcmp(call->method, "POST") == 0) {
        failed |= curl_easy_setopt(handle, CURLOPT_POST, 1L);
        failed |=
            curl_easy_setopt(handle, CURLOPT_POSTFIELDS, call->body.data ? call->body.data : "");
        failed |= curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE, (long)call->body.len);
    }
    return failed == 0;
}

enum error http_client_call(const struct http_call *call, struct http_answer *ret_answer)
{
    bool failed;
    *ret_answer = (struct http_answer){.status = 0};
    buffer_init(&ret_answer->body, call->answer_bytes_max);
    if (!http_client_url_allowed(call->url))
        return ERROR_INVALID_PARAMETER;
    blocking_begin(); /* making ready for the first call takes a while, too */
    CURL *handle = thread_handle();
    if (!handle)
        return ERROR_NO_MEMORY;
    struct curl_slist *headers = make_headers(call->headers, &failed);
    if (failed)
        return ERROR_NO_MEMORY;
    CURLcode code = configure(handle, call, headers, &ret_answer->body) ? curl_easy_perform(handle)
                                                                        : CURLE_OUT_OF_MEMORY;
    curl_slist_free_all(headers);
    if (code == CURLE_OK) {
        curl_off_t seconds = 0;
        curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &ret_answer->status);
        curl_easy_getinfo(handle, CURLINFO_RETRY_AFTER, &seconds);
        ret_answer->retry_after_ms =
            seconds < RETRY_AFTER_MS_MAX / 1000 ? 1000 * seconds : RETRY_AFTER_MS_MAX;
        return ERROR_OK;
    }
    long sent = 0;
    curl_easy_getinfo(handle, CURLINFO_REQUEST_SIZE, &sent);
    ret_answer->maybe_sent = sent > 0;
    return code == CURLE_OUT_OF_MEMORY ? ERROR_NO_MEMORY : ERROR_OVERLOADED;
}
