#include "base/digest.h"

#include <assert.h>
#include <openssl/evp.h>
#include <pthread.h>

/*
 * EVP_Digest looks the algorithm up and makes a context each time, which takes ten times as long as
 * the digest of a short text. So it is looked up once, and each thread keeps a context.
 */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static EVP_MD *sha256;
static pthread_key_t context_key; /* the thread's context */

static void free_context(void *context)
{
    EVP_MD_CTX_free(context);
}

static void look_up(void)
{
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    int rc = pthread_key_create(&context_key, free_context);
    assert(sha256 && rc == 0);
}

static EVP_MD_CTX *thread_context(void)
{
    EVP_MD_CTX *context = pthread_getspecific(context_key);
    if (!context) {
        context = EVP_MD_CTX_new();
        pthread_setspecific(context_key, context);
    }
    return context;
}

void digest_sha256(struct text data, unsigned char ret_digest[static DIGEST_BYTES])
{
    unsigned int len = 0;
    pthread_once(&once, look_up);
    EVP_MD_CTX *context = thread_context();
    int ok = context && EVP_DigestInit_ex(context, sha256, NULL) &&
             EVP_DigestUpdate(context, data.data, data.len) &&
             EVP_DigestFinal_ex(context, ret_digest, &len);
    assert(ok && len == DIGEST_BYTES);
}
