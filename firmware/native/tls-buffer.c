/*
 * The input buffer, as large as the record under way. A server may send records of 16 KiB whatever it was asked for, and a certificate message of
 * up to 16 KiB in several records that Mbed TLS puts together in this buffer; a device has no such buffer to spare for the life of a connection.
 * Mbed TLS can be told one size only, so its buffer is changed here, between two records or when the header of one has come: at those
 * moments nothing but the fields below points into it (mbedtls_ssl_fetch_input reads them again after each call of ours).
 */
#include "tls-engine-internal.h"

#include <string.h>

#include "mbedtls/platform_util.h"

#if !defined(MBEDTLS_SSL_VARIABLE_BUFFER_LENGTH) || MBEDTLS_SSL_IN_CONTENT_LEN < 16384
#error "Mbed TLS lacks variable buffers, or records of 16 KiB: see sdkconfig.defaults"
#endif

/* What stands before a record: Mbed TLS keeps the counter of records there. */
#define COUNTER_SIZE 8
#define HEADER_SIZE 5
#define LENGTH_AT 3
/* Between records. Most records of a broker fit, and the header of the next always does. */
#define REST_SIZE 1024
/* A certificate message of 16 KiB in records of 16 KiB, each with its overhead (RFC 8446 section 5.2). */
#define SIZE_LIMIT 18432
#define RECORD_LIMIT (16384 + 256)
#define STEP 256

#define FIELD(name) engine->ssl.MBEDTLS_PRIVATE(name)

static bool resize(tls_engine *engine, size_t size)
{
    uint8_t *old = FIELD(in_buf);
    size_t old_size = FIELD(in_buf_len);
    uint8_t *fresh = mbedtls_calloc(1, size);
    if (fresh == NULL) {
        return false;
    }
    unsigned char **pointers[] = { &FIELD(in_ctr), &FIELD(in_hdr), &FIELD(in_len), &FIELD(in_iv), &FIELD(in_msg) };
    memcpy(fresh, old, size < old_size ? size : old_size);
    for (size_t i = 0; i < sizeof pointers / sizeof *pointers; i++) {
        *pointers[i] = fresh + (*pointers[i] - old);
    }
    FIELD(in_buf) = fresh;
    FIELD(in_buf_len) = size;
    mbedtls_platform_zeroize(old, old_size);
    mbedtls_free(old);
    return true;
}

bool tls_buffer_rest(tls_engine *engine)
{
    bool between = FIELD(in_left) == 0 && FIELD(in_hdr) == FIELD(in_buf) + COUNTER_SIZE;
    return !between || FIELD(in_buf_len) == REST_SIZE || resize(engine, REST_SIZE);
}

/* Makes room for the record that this header announces. @returns 0, or Mbed TLS's error */
static int expect(tls_engine *engine, const uint8_t header[HEADER_SIZE])
{
    size_t start = (size_t) (FIELD(in_hdr) - FIELD(in_buf));
    size_t record = (size_t) header[LENGTH_AT] << 8 | header[LENGTH_AT + 1];
    // Room for the next header too: a message may go on in another record.
    size_t needed = start + HEADER_SIZE + record + HEADER_SIZE;
    if (needed <= FIELD(in_buf_len)) {
        return 0;
    }
    if (record > RECORD_LIMIT) {
        // No TLS, whatever it is.
        return MBEDTLS_ERR_SSL_INVALID_RECORD;
    }
    if (needed > SIZE_LIMIT) {
        // Only a message in several records comes to that, and of those only certificates are so long.
        return MBEDTLS_ERR_SSL_BAD_CERTIFICATE;
    }
    return resize(engine, (needed + STEP - 1) / STEP * STEP) ? 0 : MBEDTLS_ERR_SSL_ALLOC_FAILED;
}

int tls_buffer_receive(tls_engine *engine, unsigned char *bytes, size_t size)
{
    size_t before = FIELD(in_left);
    uint8_t header[HEADER_SIZE];
    if (before >= HEADER_SIZE || before + size != HEADER_SIZE) {
        memcpy(bytes, engine->input + engine->input_start, size);
        return 0;
    }
    memcpy(header, FIELD(in_hdr), before);
    memcpy(header + before, engine->input + engine->input_start, size);
    int result = expect(engine, header);
    if (result == 0) {
        memcpy(FIELD(in_hdr), header, HEADER_SIZE);
    }
    return result;
}
