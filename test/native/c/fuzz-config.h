/*
 * Mbed TLS as the fuzzer wants it: random numbers and time come from the fuzzer, so that a recorded server fits again and again, and P-256 is
 * quick. The rest is the device's.
 */
#ifndef HAWSER_FUZZ_CONFIG_H
#define HAWSER_FUZZ_CONFIG_H

#include "mbedtls-config.h"

#undef MBEDTLS_ENTROPY_C
#undef MBEDTLS_CTR_DRBG_C
#undef MBEDTLS_AES_FEWER_TABLES
#undef MBEDTLS_ECP_WINDOW_SIZE
#undef MBEDTLS_ECP_FIXED_POINT_OPTIM
#define MBEDTLS_ECP_WINDOW_SIZE 6
#define MBEDTLS_ECP_FIXED_POINT_OPTIM 1
#define MBEDTLS_PSA_CRYPTO_EXTERNAL_RNG
#define MBEDTLS_PLATFORM_MS_TIME_ALT
#define MBEDTLS_PLATFORM_TIME_MACRO(pointer) ((void) (pointer), (time_t) 1700000000)

#endif
