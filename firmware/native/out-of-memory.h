/* Which of Mbed TLS's many error codes mean that the heap is empty. */
#ifndef HAWSER_OUT_OF_MEMORY_H
#define HAWSER_OUT_OF_MEMORY_H

#include <stdbool.h>

#include "mbedtls/ssl.h"
#include "mbedtls/x509.h"
#include "psa/crypto.h"

static inline bool is_out_of_memory(int error)
{
    return error == PSA_ERROR_INSUFFICIENT_MEMORY || error == MBEDTLS_ERR_SSL_ALLOC_FAILED || error == MBEDTLS_ERR_PK_ALLOC_FAILED ||
           error == MBEDTLS_ERR_ASN1_ALLOC_FAILED || error == MBEDTLS_ERR_X509_ALLOC_FAILED ||
           error == MBEDTLS_ERR_X509_ALLOC_FAILED + MBEDTLS_ERR_ASN1_ALLOC_FAILED;
}

#endif
