/*
 * Resumption. A resumed handshake shows no certificate, so a session is bound to what it was made with (credential, anchors, server
 * name) and to the dates of the chain that was judged then.
 */
#include "tls-engine-internal.h"

#include <string.h>

#include "mbedtls/platform_util.h"

tls_session *tls_session_create(void)
{
    return tls_session_retain(mbedtls_calloc(1, sizeof(tls_session)));
}

tls_session *tls_session_retain(tls_session *session)
{
    if (session != NULL) {
        session->references++;
    }
    return session;
}

void tls_session_clear(tls_session *session)
{
    if (session->saved != NULL) {
        mbedtls_platform_zeroize(session->saved, session->size);
        mbedtls_free(session->saved);
    }
    session->saved = NULL;
    session->size = 0;
}

void tls_session_destroy(tls_session *session)
{
    if (session != NULL && --session->references == 0) {
        tls_session_clear(session);
        mbedtls_free(session);
    }
}

bool tls_session_is_empty(const tls_session *session)
{
    return session->saved == NULL;
}

bool tls_session_mix(tls_engine *engine, tls_field field, const void *bytes, size_t size)
{
    const uint8_t header[5] = { (uint8_t) field, (uint8_t) (size >> 24), (uint8_t) (size >> 16), (uint8_t) (size >> 8), (uint8_t) size };
    psa_status_t status = psa_hash_update(&engine->fingerprint_hash, header, sizeof header);
    if (status == PSA_SUCCESS) {
        status = psa_hash_update(&engine->fingerprint_hash, bytes, size);
    }
    if (status != PSA_SUCCESS) {
        tls_engine_fail_with(engine, status);
    }
    return status == PSA_SUCCESS;
}

void tls_session_offer(tls_engine *engine)
{
    tls_session *stored = engine->session;
    if (stored == NULL || stored->saved == NULL) {
        return;
    }
    mbedtls_ssl_session session;
    mbedtls_ssl_session_init(&session);
    bool fits = memcmp(stored->fingerprint, engine->fingerprint, FINGERPRINT_SIZE) == 0 && engine->trusted_time_s <= stored->valid_until_s;
    // A stored session that cannot be used, for whatever reason, leads to a full handshake.
    if (fits && mbedtls_ssl_session_load(&session, stored->saved, stored->size) == 0 && mbedtls_ssl_set_session(&engine->ssl, &session) == 0) {
        engine->offered_session = true;
        engine->valid_until_s = stored->valid_until_s;
        engine->is_for_servers = stored->is_for_servers;
    }
    mbedtls_ssl_session_free(&session);
    // A ticket is used once (RFC 8446 appendix C.4); and one that makes a server fail must not do so again.
    tls_session_clear(stored);
}

/* Serialises a session into fresh memory. @returns NULL when it cannot or is too long */
static uint8_t *serialise(const mbedtls_ssl_session *session, size_t *size)
{
    uint8_t none;
    // The first call, into nothing, tells the length.
    int result = mbedtls_ssl_session_save(session, &none, 0, size);
    if (result != MBEDTLS_ERR_SSL_BUFFER_TOO_SMALL || *size > TLS_ENGINE_SESSION_LIMIT) {
        return NULL;
    }
    uint8_t *saved = mbedtls_calloc(1, *size);
    if (saved != NULL && mbedtls_ssl_session_save(session, saved, *size, size) != 0) {
        mbedtls_platform_zeroize(saved, *size);
        mbedtls_free(saved);
        return NULL;
    }
    return saved;
}

void tls_session_take(tls_engine *engine)
{
    if (engine->session == NULL || engine->uses_psk) {
        return;
    }
    mbedtls_ssl_session session;
    mbedtls_ssl_session_init(&session);
    if (mbedtls_ssl_get_session(&engine->ssl, &session) == 0) {
        size_t size = 0;
        uint8_t *saved = serialise(&session, &size);
        if (saved != NULL) {
            tls_session_clear(engine->session);
            engine->session->saved = saved;
            engine->session->size = size;
            engine->session->valid_until_s = engine->valid_until_s;
            engine->session->is_for_servers = engine->is_for_servers;
            memcpy(engine->session->fingerprint, engine->fingerprint, FINGERPRINT_SIZE);
        }
    }
    mbedtls_ssl_session_free(&session);
}
