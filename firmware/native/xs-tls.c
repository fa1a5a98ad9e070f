/* JavaScript's hands on the TLS engine; xs-natives.h lists them. */
#include "xs-natives.h"

#include <string.h>

#include "key-store.h"
#include "session-seal.h"
#include "tls-engine-internal.h"

/* A DNS name has at most 253 characters, a PSK identity 128. */
#define TEXT_SIZE 256
/* The range of JavaScript's Date. */
#define DATE_MAX_MS 8.64e15

static tls_engine *engine_of(xsMachine *the)
{
    tls_engine *engine = xsmcGetHostDataValidate(xsThis, (void *) xs_tls_engine_destructor);
    if (engine == NULL) {
        xsUnknownError("the TLS engine is closed");
    }
    return engine;
}

/* Copies a string argument out of the heap; empty when it is too long, which no setting accepts. */
static void copy_text(xsMachine *the, int index, char text[TEXT_SIZE])
{
    const char *found = xsmcToString(xsArg(index));
    size_t size = strlen(found);
    memcpy(text, found, size < TEXT_SIZE ? size : 0);
    text[size < TEXT_SIZE ? size : 0] = '\0';
}

/* The bytes of argument `index` from the offset in the argument after it on. They move at the next allocation in the heap. */
static const uint8_t *bytes_from_offset(xsMachine *the, size_t *size)
{
    void *bytes;
    xsUnsignedValue count;
    xsIntegerValue offset = xsmcArgc > 1 ? xsmcToInteger(xsArg(1)) : 0;
    xsmcGetBufferReadable(xsArg(0), &bytes, &count);
    if (offset < 0 || (xsUnsignedValue) offset > count) {
        xsRangeError("the offset is outside the bytes");
    }
    *size = count - (xsUnsignedValue) offset;
    return (const uint8_t *) bytes + offset;
}

static xsIntegerValue integer_or_zero(xsMachine *the, int index)
{
    return xsmcArgc > index && xsmcTest(xsArg(index)) ? xsmcToInteger(xsArg(index)) : 0;
}

void xs_tls_engine_destructor(void *data)
{
    tls_engine_destroy(data);
}

void xs_tls_engine_create(xsMachine *the)
{
    tls_engine *engine = tls_engine_create();
    if (engine == NULL) {
        xsUnknownError("no memory for a TLS engine");
    }
    xsmcSetHostData(xsThis, engine);
}

void xs_tls_engine_close(xsMachine *the)
{
    tls_engine *engine = xsmcGetHostDataValidate(xsThis, (void *) xs_tls_engine_destructor);
    xsmcSetHostData(xsThis, NULL);
    tls_engine_destroy(engine);
}

void xs_tls_engine_add_anchor(xsMachine *the)
{
    void *der;
    xsUnsignedValue size;
    tls_engine *engine = engine_of(the);
    xsmcGetBufferReadable(xsArg(0), &der, &size);
    xsmcSetBoolean(xsResult, tls_engine_add_anchor(engine, der, size));
}

void xs_tls_engine_add_certificate(xsMachine *the)
{
    void *der;
    xsUnsignedValue size;
    tls_engine *engine = engine_of(the);
    xsmcGetBufferReadable(xsArg(0), &der, &size);
    xsmcSetBoolean(xsResult, tls_engine_add_certificate(engine, der, size));
}

void xs_tls_engine_verify_chain(xsMachine *the)
{
    xsmcSetBoolean(xsResult, tls_engine_verify_chain(engine_of(the)));
}

/* Only an empty slot is a missing key: trouble with the storage must not look like a lost credential. */
static bool find_key(tls_engine *engine, const char *slot, key_store_kind kind, uint32_t *key_id)
{
    key_store_status status = key_store_find(slot, kind, key_id);
    switch (status) {
        case KEY_STORE_OK:
            return true;
        case KEY_STORE_MISSING:
        case KEY_STORE_UNKNOWN_SLOT:
            return tls_engine_fail(engine, TLS_FAILURE_KEY_MISSING, 0);
        case KEY_STORE_NO_MEMORY:
            return tls_engine_fail(engine, TLS_FAILURE_NO_MEMORY, 0);
        default:
            return tls_engine_fail(engine, TLS_FAILURE_INTERNAL, 0);
    }
}

void xs_tls_engine_use_key(xsMachine *the)
{
    char slot[TEXT_SIZE];
    uint32_t key_id;
    tls_engine *engine = engine_of(the);
    copy_text(the, 0, slot);
    xsmcSetBoolean(xsResult, find_key(engine, slot, KEY_STORE_SIGNING_KEY, &key_id) && tls_engine_use_key(engine, key_id));
}

void xs_tls_engine_use_psk(xsMachine *the)
{
    char slot[TEXT_SIZE], identity[TEXT_SIZE];
    uint32_t key_id;
    tls_engine *engine = engine_of(the);
    copy_text(the, 0, slot);
    copy_text(the, 1, identity);
    xsmcSetBoolean(xsResult, find_key(engine, slot, KEY_STORE_PSK, &key_id) &&
                                 tls_engine_use_psk(engine, key_id, (const uint8_t *) identity, strlen(identity)));
}

void xs_tls_engine_start(xsMachine *the)
{
    char server_name[TEXT_SIZE], alpn[TEXT_SIZE] = "";
    tls_engine *engine = engine_of(the);
    double trusted_time_ms = xsmcToNumber(xsArg(1));
    // Anything else is no date, and beyond 64 bits C does not say what becomes of it.
    if (!(trusted_time_ms >= -DATE_MAX_MS && trusted_time_ms <= DATE_MAX_MS)) {
        xsmcSetBoolean(xsResult, tls_engine_fail(engine, TLS_FAILURE_CONFIGURATION, 0));
        return;
    }
    tls_options options = {
        .server_name = server_name,
        .trusted_time_ms = (int64_t) trusted_time_ms,
        .maximum_fragment = (uint16_t) integer_or_zero(the, 3),
        .minimum_version = (uint16_t) integer_or_zero(the, 4),
        .maximum_version = (uint16_t) integer_or_zero(the, 5),
        .is_fallback = xsmcArgc > 6 && xsmcTest(xsArg(6)),
    };
    if (xsmcArgc > 2 && xsmcTest(xsArg(2))) {
        options.session = xsmcGetHostDataValidate(xsArg(2), (void *) xs_tls_session_destructor);
    }
    copy_text(the, 0, server_name);
    if (xsmcArgc > 7 && xsmcTest(xsArg(7))) {
        copy_text(the, 7, alpn);
        options.alpn = alpn;
    }
    xsmcSetBoolean(xsResult, tls_engine_start(engine, &options));
}

void xs_tls_engine_feed(xsMachine *the)
{
    size_t size;
    tls_engine *engine = engine_of(the);
    const uint8_t *bytes = bytes_from_offset(the, &size);
    xsmcSetInteger(xsResult, (xsIntegerValue) tls_engine_feed(engine, bytes, size));
}

void xs_tls_engine_handshake(xsMachine *the)
{
    xsmcSetInteger(xsResult, tls_engine_handshake(engine_of(the)));
}

void xs_tls_engine_pull(xsMachine *the)
{
    tls_engine *engine = engine_of(the);
    size_t size = tls_engine_pending(engine);
    if (size > 0) {
        xsmcSetArrayBuffer(xsResult, NULL, (xsIntegerValue) size);
        tls_engine_pull(engine, xsmcToArrayBuffer(xsResult), size);
    }
}

void xs_tls_engine_read(xsMachine *the)
{
    tls_engine *engine = engine_of(the);
    size_t size = tls_engine_readable(engine);
    if (size > 0) {
        xsmcSetArrayBuffer(xsResult, NULL, (xsIntegerValue) size);
        tls_engine_read(engine, xsmcToArrayBuffer(xsResult), size);
    }
}

void xs_tls_engine_write(xsMachine *the)
{
    size_t size;
    tls_engine *engine = engine_of(the);
    const uint8_t *bytes = bytes_from_offset(the, &size);
    xsmcSetInteger(xsResult, (xsIntegerValue) tls_engine_write(engine, bytes, size));
}

void xs_tls_engine_close_notify(xsMachine *the)
{
    tls_engine_close_notify(engine_of(the));
}

void xs_tls_engine_state(xsMachine *the)
{
    xsmcSetInteger(xsResult, tls_engine_state(engine_of(the)));
}

void xs_tls_engine_failure(xsMachine *the)
{
    xsmcSetInteger(xsResult, tls_engine_failure(engine_of(the)).kind);
}

void xs_tls_engine_alert(xsMachine *the)
{
    xsmcSetInteger(xsResult, tls_engine_failure(engine_of(the)).alert);
}

void xs_tls_engine_server_proved(xsMachine *the)
{
    xsmcSetBoolean(xsResult, tls_engine_failure(engine_of(the)).server_proved);
}

void xs_tls_engine_verify_flags(xsMachine *the)
{
    xsmcSetInteger(xsResult, (xsIntegerValue) tls_engine_failure(engine_of(the)).verify_flags);
}

void xs_tls_engine_detail(xsMachine *the)
{
    xsmcSetInteger(xsResult, tls_engine_failure(engine_of(the)).detail);
}

void xs_tls_engine_version(xsMachine *the)
{
    xsmcSetInteger(xsResult, tls_engine_info(engine_of(the)).version);
}

void xs_tls_engine_cipher_suite(xsMachine *the)
{
    xsmcSetInteger(xsResult, tls_engine_info(engine_of(the)).cipher_suite);
}

void xs_tls_engine_resumed(xsMachine *the)
{
    xsmcSetBoolean(xsResult, tls_engine_info(engine_of(the)).resumed);
}

void xs_tls_session_destructor(void *data)
{
    tls_session_destroy(data);
}

static tls_session *session_of(xsMachine *the)
{
    tls_session *session = xsmcGetHostDataValidate(xsThis, (void *) xs_tls_session_destructor);
    if (session == NULL) {
        xsUnknownError("the TLS session was never made");
    }
    return session;
}

void xs_tls_session_create(xsMachine *the)
{
    tls_session *session = tls_session_create();
    if (session == NULL) {
        xsUnknownError("no memory for a TLS session");
    }
    xsmcSetHostData(xsThis, session);
}

void xs_tls_session_clear(xsMachine *the)
{
    tls_session_clear(session_of(the));
}

void xs_tls_session_is_empty(xsMachine *the)
{
    xsmcSetBoolean(xsResult, tls_session_is_empty(session_of(the)));
}

void xs_tls_session_seal(xsMachine *the)
{
    char slot[TEXT_SIZE];
    void *binding;
    xsUnsignedValue binding_size;
    tls_session *session = session_of(the);
    size_t size = session_sealed_size(session);
    copy_text(the, 0, slot);
    if (size == 0) {
        return;
    }
    xsmcSetArrayBuffer(xsResult, NULL, (xsIntegerValue) size);
    // Not before: what was allocated may have moved the argument's bytes.
    xsmcGetBufferReadable(xsArg(1), &binding, &binding_size);
    if (!session_seal(session, slot, binding, binding_size, xsmcToArrayBuffer(xsResult))) {
        xsmcSetUndefined(xsResult);
    }
}

void xs_tls_session_unseal(xsMachine *the)
{
    char slot[TEXT_SIZE];
    void *binding, *sealed;
    xsUnsignedValue binding_size, size;
    tls_session *session = session_of(the);
    copy_text(the, 0, slot);
    xsmcGetBufferReadable(xsArg(1), &binding, &binding_size);
    xsmcGetBufferReadable(xsArg(2), &sealed, &size);
    xsmcSetBoolean(xsResult, session_unseal(session, slot, binding, binding_size, sealed, size));
}
