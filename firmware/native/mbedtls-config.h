/*
 * Mbed TLS 3.6 for the XS host and the native tests: what ESP-IDF's Kconfig gives a lean device, so that heap figures mean something.
 * The settings that decide memory are at the top; their Kconfig names are beside them. On the ESP32 sdkconfig.defaults rules, not this file.
 */
#ifndef HAWSER_MBEDTLS_CONFIG_H
#define HAWSER_MBEDTLS_CONFIG_H

/* Memory */
#define MBEDTLS_SSL_IN_CONTENT_LEN 16384       /* CONFIG_MBEDTLS_SSL_IN_CONTENT_LEN: the most; tls-buffer.c holds what is needed */
#define MBEDTLS_SSL_OUT_CONTENT_LEN 4096       /* CONFIG_MBEDTLS_SSL_OUT_CONTENT_LEN */
#define MBEDTLS_SSL_VARIABLE_BUFFER_LENGTH     /* CONFIG_MBEDTLS_SSL_VARIABLE_BUFFER_LENGTH: buffers shrink to the negotiated fragment */
#define MBEDTLS_SSL_MAX_FRAGMENT_LENGTH
#define MBEDTLS_ECP_WINDOW_SIZE 2              /* the ESP32 multiplies in hardware; more is speed for heap */
#define MBEDTLS_ECP_FIXED_POINT_OPTIM 0        /* CONFIG_MBEDTLS_ECP_FIXED_POINT_OPTIM=n */
#define MBEDTLS_MPI_WINDOW_SIZE 2
#define MBEDTLS_MPI_MAX_SIZE 512               /* RSA 4096 is the largest number there is */
#define MBEDTLS_AES_FEWER_TABLES
#define MBEDTLS_AES_ROM_TABLES                 /* CONFIG_MBEDTLS_AES_... : tables in flash */
#define MBEDTLS_PSA_KEY_SLOT_COUNT 16
#define MBEDTLS_SSL_KEEP_PEER_CERTIFICATE      /* CONFIG_MBEDTLS_SSL_KEEP_PEER_CERTIFICATE: TLS 1.3 insists */

/* Platform: every allocation goes through functions that can be counted or made to fail. */
#define MBEDTLS_PLATFORM_C
#define MBEDTLS_PLATFORM_MEMORY
#define MBEDTLS_HAVE_ASM
#define MBEDTLS_HAVE_TIME
#define MBEDTLS_HAVE_TIME_DATE                 /* CONFIG_MBEDTLS_HAVE_TIME_DATE: the engine overrules its verdicts with trusted time */

/* PSA */
#define MBEDTLS_PSA_CRYPTO_C
#define MBEDTLS_PSA_CRYPTO_STORAGE_C           /* over its-directory.c here, over NVS on the ESP32 */
#define MBEDTLS_USE_PSA_CRYPTO
#define MBEDTLS_ENTROPY_C
#define MBEDTLS_CTR_DRBG_C

/* Primitives */
#define MBEDTLS_AES_C
#define MBEDTLS_GCM_C
#define MBEDTLS_CHACHA20_C
#define MBEDTLS_POLY1305_C
#define MBEDTLS_CHACHAPOLY_C
#define MBEDTLS_CIPHER_C
#define MBEDTLS_SHA224_C
#define MBEDTLS_SHA1_C                         /* only to read roots that signed themselves with it: nothing is verified by it */
#define MBEDTLS_SHA256_C
#define MBEDTLS_SHA384_C
#define MBEDTLS_SHA512_C
#define MBEDTLS_SHA512_SMALLER                 /* CONFIG_MBEDTLS_SHA512_C; the ESP32 has hardware */
#define MBEDTLS_MD_C
#define MBEDTLS_HKDF_C
#define MBEDTLS_BIGNUM_C
#define MBEDTLS_ECP_C
#define MBEDTLS_ECP_DP_SECP256R1_ENABLED
#define MBEDTLS_ECP_DP_SECP384R1_ENABLED       /* of brokers' certificates, as is RSA: a device's own are P-256 */
#define MBEDTLS_ECP_NIST_OPTIM
#define MBEDTLS_ECDH_C
#define MBEDTLS_ECDSA_C
#define MBEDTLS_RSA_C
#define MBEDTLS_PKCS1_V15
#define MBEDTLS_PKCS1_V21
#define MBEDTLS_X509_RSASSA_PSS_SUPPORT

/* X.509: reads chains, writes requests */
#define MBEDTLS_ASN1_PARSE_C
#define MBEDTLS_ASN1_WRITE_C
#define MBEDTLS_OID_C
#define MBEDTLS_PK_C
#define MBEDTLS_PK_PARSE_C
#define MBEDTLS_PK_WRITE_C
#define MBEDTLS_X509_USE_C
#define MBEDTLS_X509_CRT_PARSE_C
#define MBEDTLS_X509_CREATE_C
#define MBEDTLS_X509_CSR_WRITE_C

/* TLS: client only */
#define MBEDTLS_SSL_TLS_C
#define MBEDTLS_SSL_CLI_C
#define MBEDTLS_SSL_PROTO_TLS1_2
#define MBEDTLS_SSL_PROTO_TLS1_3
#define MBEDTLS_SSL_TLS1_3_COMPATIBILITY_MODE
#define MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_EPHEMERAL_ENABLED
#define MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_PSK_EPHEMERAL_ENABLED
#define MBEDTLS_KEY_EXCHANGE_ECDHE_ECDSA_ENABLED
#define MBEDTLS_KEY_EXCHANGE_ECDHE_RSA_ENABLED
#define MBEDTLS_KEY_EXCHANGE_ECDHE_PSK_ENABLED
#define MBEDTLS_SSL_EXTENDED_MASTER_SECRET
#define MBEDTLS_SSL_SESSION_TICKETS
#define MBEDTLS_SSL_SERVER_NAME_INDICATION
#define MBEDTLS_SSL_ALPN

#endif
