/*
 * A TLS session as bytes that may lie anywhere: sealed with AES-256-GCM under a key of the key store, to what it belongs to. What is inside
 * never leaves C. When a session is kept, and that it is offered once, is decided in `sdk/sleep/kept-tls-session.ts`.
 *
 * Layout: version 1 (1 byte), nonce (12), ciphertext, tag (16).
 */
#ifndef HAWSER_SESSION_SEAL_H
#define HAWSER_SESSION_SEAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tls-engine.h"

/** How many bytes `seal` writes; 0 when the session is empty. */
size_t session_sealed_size(const tls_session *session);
/**
 * @param slot of the key store: a secret of 32 bytes, stored as a pre-shared key
 * @param binding what the session belongs to: it opens for nothing else
 * @param sealed `session_sealed_size` bytes
 * @returns false when there is nothing to seal, no key, or no memory
 */
bool session_seal(const tls_session *session, const char *slot, const uint8_t *binding, size_t binding_size, uint8_t *sealed);
/** Opens into `session`. @returns false, and the session empty, when a byte, the key or the binding is another */
bool session_unseal(tls_session *session, const char *slot, const uint8_t *binding, size_t binding_size, const uint8_t *sealed, size_t size);

#endif
