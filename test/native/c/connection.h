/* One connection of the engine over a TCP socket on 127.0.0.1, with what became of it. */
#ifndef HAWSER_TEST_CONNECTION_H
#define HAWSER_TEST_CONNECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "settings.h"
#include "tls-engine.h"

typedef struct {
    /** NULL engine: it could not even be created. */
    bool created;
    tls_state state;
    tls_failure failure;
    tls_info info;
    /** Whether TLS_OPEN was reached, whatever came after. */
    bool opened;
    /** How often bytes were sent before TLS_OPEN: flights. */
    int flights;
    size_t received;
    uint8_t head[64];
    size_t peak_in_handshake, live_after_handshake, peak_after_handshake;
} connection_result;

/** Connects, sends and receives what the settings say, closes and frees. `session` may be NULL. */
connection_result connection_run(const settings *wanted, tls_session *session);

/** Gives the engine what the settings say and starts it. @returns false when the engine refuses */
bool connection_configure(tls_engine *engine, const settings *wanted, tls_session *session);

/** When not NULL: told of every byte that comes from the server, before the engine is. */
extern void (*connection_heard)(const uint8_t *bytes, size_t size);

/** Reads a small file whole. Exits when it cannot. */
size_t read_file(const char *path, uint8_t *bytes, size_t capacity);

#endif
