/* How bytes move through a TLS engine, and what becomes of errors. */
#include "tls-engine-internal.h"

#include <string.h>

#include "out-of-memory.h"

/* More waiting output than any flight of ours has; only a peer that provokes answers and never reads gets there. */
#define OUTPUT_HARD_LIMIT (2 * TLS_ENGINE_OUTPUT_LIMIT + MBEDTLS_SSL_OUT_CONTENT_LEN)
#define ALERT_DESCRIPTION 1
#define MEMORY_PROBE_SIZE 6144

static int last_alert(const mbedtls_ssl_context *ssl)
{
#if MBEDTLS_VERSION_NUMBER >= 0x04010000
    return mbedtls_ssl_get_fatal_alert(ssl);
#else
    // No accessor before 4.1: the alert's two bytes are still the current message.
    return ssl->MBEDTLS_PRIVATE(in_msg)[ALERT_DESCRIPTION];
#endif
}

/* The module of an error is in its upper bits, a cause may be in the lower ones (mbedtls/error.h). */
static int module_of(int error)
{
    return -(-error & 0xff80);
}

/* What no peer can provoke: storage, random numbers, hardware, memory that changed by itself. */
static bool is_own_trouble(int error)
{
    return error == MBEDTLS_ERR_SSL_INTERNAL_ERROR || error == PSA_ERROR_STORAGE_FAILURE || error == PSA_ERROR_DATA_CORRUPT ||
           error == PSA_ERROR_DATA_INVALID || error == PSA_ERROR_HARDWARE_FAILURE || error == PSA_ERROR_COMMUNICATION_FAILURE ||
           error == PSA_ERROR_INSUFFICIENT_ENTROPY || error == PSA_ERROR_CORRUPTION_DETECTED || error == PSA_ERROR_BAD_STATE;
}

/*
 * Whether the heap is so empty that a check may have failed for that alone: Mbed TLS reports a signature it had no memory to verify like one
 * that is wrong, and a heap that does not have this much at a stretch is no place for a handshake.
 */
static bool is_memory_short(void)
{
    void *probe = mbedtls_calloc(1, MEMORY_PROBE_SIZE);
    mbedtls_free(probe);
    return probe == NULL;
}

bool tls_engine_fail(tls_engine *engine, tls_failure_kind kind, int detail)
{
    engine->state = TLS_FAILED;
    engine->failure.kind = kind;
    engine->failure.detail = detail;
    return false;
}

void tls_engine_fail_with(tls_engine *engine, int error)
{
    tls_failure_kind kind = TLS_FAILURE_PROTOCOL;
    if (is_out_of_memory(error)) {
        kind = TLS_FAILURE_NO_MEMORY;
    } else if (error == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE) {
        kind = TLS_FAILURE_ALERT;
        engine->failure.alert = last_alert(&engine->ssl);
    } else if (error == MBEDTLS_ERR_X509_CERT_VERIFY_FAILED) {
        kind = TLS_FAILURE_VERIFY;
        engine->failure.verify_flags = tls_verify_flags(mbedtls_ssl_get_verify_result(&engine->ssl));
    } else if (error == MBEDTLS_ERR_SSL_BAD_CERTIFICATE || error == MBEDTLS_ERR_PK_INVALID_PUBKEY || (module_of(error) <= -0x2000 && module_of(error) > -0x3000)) {
        // A certificate that cannot even be read: the range of X.509 errors, and keys of no size or kind that there is.
        kind = TLS_FAILURE_VERIFY;
        engine->failure.verify_flags = TLS_VERIFY_INVALID;
    } else if (is_own_trouble(error)) {
        kind = TLS_FAILURE_INTERNAL;
    }
    bool is_verdict = kind == TLS_FAILURE_ALERT || kind == TLS_FAILURE_NO_MEMORY;
    tls_engine_fail(engine, !is_verdict && is_memory_short() ? TLS_FAILURE_NO_MEMORY : kind, error);
}

int tls_flow_send(void *context, const unsigned char *bytes, size_t size)
{
    tls_engine *engine = context;
    return byte_queue_push(&engine->output, bytes, size, OUTPUT_HARD_LIMIT) ? (int) size : MBEDTLS_ERR_SSL_ALLOC_FAILED;
}

int tls_flow_receive(void *context, unsigned char *bytes, size_t capacity)
{
    (void) bytes;
    tls_engine *engine = context;
    size_t size = engine->input_size < capacity ? engine->input_size : capacity;
    engine->is_starved = size == 0;
    if (!tls_buffer_rest(engine)) {
        return MBEDTLS_ERR_SSL_ALLOC_FAILED;
    }
    if (size == 0) {
        return MBEDTLS_ERR_SSL_WANT_READ;
    }
    // The buffer may just have moved.
    int result = tls_buffer_receive(engine, engine->ssl.MBEDTLS_PRIVATE(in_hdr) + engine->ssl.MBEDTLS_PRIVATE(in_left), size);
    if (result != 0) {
        return result;
    }
    engine->input_start += size;
    engine->input_size -= size;
    return (int) size;
}

size_t tls_engine_feed(tls_engine *engine, const uint8_t *bytes, size_t size)
{
    if (engine->state != TLS_HANDSHAKING && engine->state != TLS_OPEN) {
        // Nobody will look at it: taken, so that the caller's loop ends.
        return size;
    }
    if (engine->input_start > 0) {
        memmove(engine->input, engine->input + engine->input_start, engine->input_size);
        engine->input_start = 0;
    }
    size_t room = sizeof engine->input - engine->input_size;
    size_t taken = size < room ? size : room;
    if (engine->hello_size < sizeof engine->hello) {
        size_t left = sizeof engine->hello - engine->hello_size;
        size_t part = taken < left ? taken : left;
        memcpy(engine->hello + engine->hello_size, bytes, part);
        engine->hello_size += part;
    }
    if (taken > 0) {
        memcpy(engine->input + engine->input_size, bytes, taken);
        engine->input_size += taken;
    }
    return taken;
}

/*
 * What a call into Mbed TLS came to, when it was no success. @returns whether to call again at once: WANT_READ may also mean that a message
 * already here waits for the next call (a ticket of TLS 1.3), so only an empty input ends the round.
 */
static bool settle(tls_engine *engine, int result)
{
    if (result == MBEDTLS_ERR_SSL_WANT_READ) {
        return !engine->is_starved;
    }
    if (result == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET) {
        engine->has_new_ticket = true;
        return true;
    }
    if (result == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY) {
        engine->state = TLS_CLOSED;
    } else {
        tls_engine_fail_with(engine, result);
    }
    return false;
}

/* It was judged, and nobody asks for it again: up to 16 KiB that Mbed TLS would keep with the session, and store with a ticket of TLS 1.2. */
static void forget_server_certificate(tls_engine *engine)
{
    mbedtls_ssl_session *session = engine->ssl.MBEDTLS_PRIVATE(session);
    mbedtls_x509_crt *shown = session == NULL ? NULL : session->MBEDTLS_PRIVATE(peer_cert);
    if (shown != NULL) {
        mbedtls_x509_crt_free(shown);
        mbedtls_free(shown);
        session->MBEDTLS_PRIVATE(peer_cert) = NULL;
    }
}

/*
 * Whether the server could have had TLS 1.3: RFC 8446 section 4.1.3 has it say so at the end of its random, which it has signed. A hello that cannot be
 * found counts as one that says so.
 */
static bool was_forced(const tls_engine *engine)
{
    static const uint8_t MARK[] = { 'D', 'O', 'W', 'N', 'G', 'R', 'D', 1 };
    bool is_hello = engine->hello_size == sizeof engine->hello && engine->hello[0] == MBEDTLS_SSL_MSG_HANDSHAKE && engine->hello[5] == MBEDTLS_SSL_HS_SERVER_HELLO;
    return !is_hello || memcmp(engine->hello + SERVER_HELLO_HEAD - sizeof MARK, MARK, sizeof MARK) == 0;
}

/* A last look at who answered: Mbed TLS has checked all this, but everything rests on it. */
static void finish_handshake(tls_engine *engine)
{
    if (engine->is_fallback && was_forced(engine)) {
        tls_engine_fail(engine, TLS_FAILURE_PROTOCOL, MBEDTLS_ERR_SSL_BAD_PROTOCOL_VERSION);
        return;
    }
    bool proved = engine->uses_psk ? !engine->saw_certificate : engine->saw_certificate || engine->offered_session;
    if (proved) {
        engine->state = TLS_OPEN;
        engine->failure.server_proved = engine->uses_psk || engine->is_for_servers;
        forget_server_certificate(engine);
    } else {
        tls_engine_fail(engine, TLS_FAILURE_INTERNAL, 0);
    }
}

tls_state tls_engine_handshake(tls_engine *engine)
{
    if (engine->state != TLS_HANDSHAKING) {
        return engine->state;
    }
    int result;
    do {
        tls_fragment_expect_answer(engine);
        result = mbedtls_ssl_handshake(&engine->ssl);
    } while (result != 0 && settle(engine, result));
    if (result == 0) {
        finish_handshake(engine);
    }
    if (engine->state != TLS_HANDSHAKING) {
        tls_engine_free_credentials(engine);
    }
    return engine->state;
}

size_t tls_engine_pending(const tls_engine *engine)
{
    return engine->output.size;
}

size_t tls_engine_pull(tls_engine *engine, uint8_t *bytes, size_t capacity)
{
    return byte_queue_pull(&engine->output, bytes, capacity);
}

/* In TLS 1.2 the ticket came in the handshake and in 1.3 after it; it is kept once the server has sent data and so accepted us. */
static void take_session(tls_engine *engine)
{
    bool first = !engine->has_read;
    engine->has_read = true;
    if (engine->has_new_ticket || (first && mbedtls_ssl_get_version_number(&engine->ssl) == MBEDTLS_SSL_VERSION_TLS1_2)) {
        engine->has_new_ticket = false;
        tls_session_take(engine);
    }
}

size_t tls_engine_readable(tls_engine *engine)
{
    size_t available = mbedtls_ssl_get_bytes_avail(&engine->ssl);
    for (bool again = true; available == 0 && again && engine->state == TLS_OPEN;) {
        int result = mbedtls_ssl_read(&engine->ssl, NULL, 0);
        again = result == 0 || settle(engine, result);
        available = mbedtls_ssl_get_bytes_avail(&engine->ssl);
    }
    if (available > 0 && engine->state == TLS_OPEN) {
        take_session(engine);
    }
    return available;
}

size_t tls_engine_read(tls_engine *engine, uint8_t *bytes, size_t capacity)
{
    size_t available = tls_engine_readable(engine);
    size_t size = available < capacity ? available : capacity;
    if (size == 0) {
        return 0;
    }
    int result = mbedtls_ssl_read(&engine->ssl, bytes, size);
    if (result < 0) {
        settle(engine, result);
        return 0;
    }
    return (size_t) result;
}

size_t tls_engine_write(tls_engine *engine, const uint8_t *bytes, size_t size)
{
    size_t taken = 0;
    while (engine->state == TLS_OPEN && taken < size && engine->output.size < TLS_ENGINE_OUTPUT_LIMIT) {
        // tls_flow_send takes all or fails, so that no half-sent record stays behind that would have to be written again.
        int result = mbedtls_ssl_write(&engine->ssl, bytes + taken, size - taken);
        if (result < 0) {
            settle(engine, result);
        } else {
            taken += (size_t) result;
        }
    }
    return taken;
}

void tls_engine_close_notify(tls_engine *engine)
{
    if ((engine->state == TLS_OPEN || engine->state == TLS_CLOSED) && !engine->has_closed) {
        engine->has_closed = true;
        // Best effort: when even this fails the socket's end says the same.
        mbedtls_ssl_close_notify(&engine->ssl);
    }
}

tls_state tls_engine_state(const tls_engine *engine)
{
    return engine->state;
}

tls_failure tls_engine_failure(const tls_engine *engine)
{
    return engine->failure;
}

tls_info tls_engine_info(const tls_engine *engine)
{
    return (tls_info) {
        .version = (uint16_t) mbedtls_ssl_get_version_number(&engine->ssl),
        .cipher_suite = (uint16_t) mbedtls_ssl_get_ciphersuite_id_from_ssl(&engine->ssl),
        .resumed = engine->offered_session && !engine->saw_certificate,
        .alpn_accepted = mbedtls_ssl_get_alpn_protocol(&engine->ssl) != NULL,
    };
}
