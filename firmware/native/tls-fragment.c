/*
 * Small records in TLS 1.3. A server of OpenSSL answers max_fragment_length (RFC 6066) in TLS 1.3's EncryptedExtensions, and Mbed TLS, which
 * sends the extension whenever its hello offers 1.2 too, takes the answer for one to a question never asked and gives up (seen with 3.6.6).
 * Noting the extension as sent is all that is missing, and only Mbed TLS's internal header can do that. Where the header is out of reach
 * small records are asked for in TLS 1.2 only (HAWSER_WITHOUT_MBEDTLS_INTERNALS has the same effect).
 */
#if defined(__has_include) && !defined(HAWSER_WITHOUT_MBEDTLS_INTERNALS)
#if __has_include("ssl_misc.h")
#define MBEDTLS_ALLOW_PRIVATE_ACCESS
#include "ssl_misc.h"
#define HAS_INTERNALS 1
#endif
#endif

#include "tls-engine-internal.h"

bool tls_fragment_is_possible(uint16_t maximum_version)
{
#ifdef HAS_INTERNALS
    (void) maximum_version;
    return true;
#else
    return maximum_version <= MBEDTLS_SSL_VERSION_TLS1_2;
#endif
}

void tls_fragment_expect_answer(tls_engine *engine)
{
#ifdef HAS_INTERNALS
    mbedtls_ssl_handshake_params *handshake = engine->ssl.MBEDTLS_PRIVATE(handshake);
    if (engine->asks_fragment && handshake != NULL) {
        handshake->sent_extensions |= MBEDTLS_SSL_EXT_MASK(MAX_FRAGMENT_LENGTH);
    }
#else
    (void) engine;
#endif
}
