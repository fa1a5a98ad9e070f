/*
 * Resumption. A resumed handshake shows no certificate, so a session is bound to what it was made with (credential, anchors, server
 * name) and to the dates of the chains that were judged then; and however often it is resumed, it ends seven days later.
 */
#include "tls-engine-internal.h"

#include <string.h>

#include "mbedtls/platform_util.h"
#include "mbedtls/version.h"

/* Of a packed session: this layout, whether the server's certificate is one for servers, until when, since when, of what. Times: big endian. */
#define PACKED_VERSION 1
#define PACKED_HEAD (2 + 8 + 8 + FINGERPRINT_SIZE)

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
    session->is_unpacked = false;
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

static void write_time(uint8_t bytes[8], int64_t seconds)
{
    for (int i = 7; i >= 0; i--, seconds >>= 8) {
        bytes[i] = (uint8_t) seconds;
    }
}

static int64_t read_time(const uint8_t bytes[8])
{
    uint64_t seconds = 0;
    for (int i = 0; i < 8; i++) {
        seconds = seconds << 8 | bytes[i];
    }
    return (int64_t) seconds;
}

size_t tls_session_packed_size(const tls_session *session)
{
    return session->saved == NULL ? 0 : PACKED_HEAD + session->size;
}

bool tls_session_pack(const tls_session *session, uint8_t *bytes)
{
    if (session->saved == NULL) {
        return false;
    }
    bytes[0] = PACKED_VERSION;
    bytes[1] = session->is_for_servers;
    write_time(bytes + 2, session->valid_until_s);
    write_time(bytes + 10, session->made_at_s);
    memcpy(bytes + 18, session->fingerprint, FINGERPRINT_SIZE);
    memcpy(bytes + PACKED_HEAD, session->saved, session->size);
    return true;
}

bool tls_session_unpack(tls_session *session, const uint8_t *bytes, size_t size)
{
    tls_session_clear(session);
    if (size <= PACKED_HEAD || size > PACKED_HEAD + TLS_ENGINE_SESSION_LIMIT || bytes[0] != PACKED_VERSION || bytes[1] > 1) {
        return false;
    }
    session->saved = mbedtls_calloc(1, size - PACKED_HEAD);
    if (session->saved == NULL) {
        return false;
    }
    session->size = size - PACKED_HEAD;
    session->is_for_servers = bytes[1];
    session->valid_until_s = read_time(bytes + 2);
    session->made_at_s = read_time(bytes + 10);
    session->is_unpacked = true;
    memcpy(session->fingerprint, bytes + 18, FINGERPRINT_SIZE);
    memcpy(session->saved, bytes + PACKED_HEAD, session->size);
    return true;
}

/*
 * A ticket's age is told to the server by Mbed TLS's clock, which began anew: by that clock the session would come from the future, and Mbed TLS
 * would not offer it. By trusted time it is at least as old as this.
 */
static void translate_age(const tls_engine *engine, const tls_session *stored, mbedtls_ssl_session *session)
{
#if defined(MBEDTLS_HAVE_TIME)
    int64_t age_s = engine->trusted_time_s - stored->made_at_s;
    if (session->MBEDTLS_PRIVATE(tls_version) == MBEDTLS_SSL_VERSION_TLS1_3) {
        session->MBEDTLS_PRIVATE(ticket_reception_time) = mbedtls_ms_time() - (age_s > 0 ? age_s * 1000 : 0);
    }
#else
    (void) engine, (void) stored, (void) session;
#endif
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
    bool is_loaded = fits && mbedtls_ssl_session_load(&session, stored->saved, stored->size) == 0;
    if (is_loaded && stored->is_unpacked) {
        translate_age(engine, stored, &session);
    }
    if (is_loaded && mbedtls_ssl_set_session(&engine->ssl, &session) == 0) {
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
            engine->session->valid_until_s =
                engine->valid_until_s < engine->resumable_until_s ? engine->valid_until_s : engine->resumable_until_s;
            engine->session->made_at_s = engine->trusted_time_s;
            engine->session->is_for_servers = engine->is_for_servers;
            memcpy(engine->session->fingerprint, engine->fingerprint, FINGERPRINT_SIZE);
        }
    }
    mbedtls_ssl_session_free(&session);
}
