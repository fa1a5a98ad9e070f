/*
 * A TLS client without IO, over Mbed TLS (3.6 LTS or 4.x) and PSA keys.
 *
 * Bytes from the peer go in through `feed`, bytes for the peer come out of `pull`; whoever owns the socket moves them. The engine has no
 * socket, no timer, no clock, no output and no state outside its object (but PSA's own), so the same file serves the ESP32,
 * Moddable on Linux and the test host.
 *
 * Life: create -> add anchors / certificates / key or PSK -> start -> handshake until TLS_OPEN -> read and write -> close_notify -> destroy.
 *
 * After each `feed` call `handshake` (while TLS_HANDSHAKING) or `read` (while TLS_OPEN), then `pull` until it gives nothing and send
 * that in one go: a flight that leaves in pieces can lose the server's alert to a closed socket. Pull once more after TLS_FAILED: our
 * own alert may be waiting. A socket that fails to send may still deliver an alert: go on feeding until its end.
 *
 * No function throws, aborts or calls back. Keys and pre-shared keys are named by PSA key ids and stay in PSA.
 */
#ifndef HAWSER_TLS_ENGINE_H
#define HAWSER_TLS_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct tls_engine tls_engine;
/** What a server gave to resume by: outlives engines, stays in C, holds secrets. One for each endpoint and credential. */
typedef struct tls_session tls_session;

typedef enum {
    TLS_CONFIGURING = 0,
    TLS_HANDSHAKING = 1,
    /** Application data may flow. In TLS 1.3 the server's verdict on our certificate is still to come. */
    TLS_OPEN = 2,
    /** The peer sent close_notify; what was read before is still valid. */
    TLS_CLOSED = 3,
    /** See tls_engine_failure. Nothing moves any more but `pull`. */
    TLS_FAILED = 4,
} tls_state;

typedef enum {
    TLS_FAILURE_NONE = 0,
    /** The server sent a fatal alert: its number (RFC 8446 section 6.2) is in `alert`. */
    TLS_FAILURE_ALERT = 1,
    /** The server's certificate was refused: why is in `verify_flags`. */
    TLS_FAILURE_VERIFY = 2,
    /** The server broke TLS, or offers nothing this client accepts. */
    TLS_FAILURE_PROTOCOL = 3,
    TLS_FAILURE_NO_MEMORY = 4,
    /** No such PSA key, or not of the kind needed. */
    TLS_FAILURE_KEY_MISSING = 5,
    /** The key is not the one in the leaf certificate. */
    TLS_FAILURE_KEY_MISMATCH = 6,
    /** A certificate or setting of ours is unusable, or a function was called in the wrong state. */
    TLS_FAILURE_CONFIGURATION = 7,
    /** Crypto or random numbers failed on this side. */
    TLS_FAILURE_INTERNAL = 8,
} tls_failure_kind;

/** Why a server's certificate was refused: bits, several may be set. */
enum {
    TLS_VERIFY_EXPIRED = 1,
    TLS_VERIFY_NOT_YET_VALID = 2,
    TLS_VERIFY_NAME_MISMATCH = 4,
    /** No chain from the server's leaf to a trust anchor: unknown CA, self-signed, or an intermediate missing. */
    TLS_VERIFY_CA_UNKNOWN = 8,
    /** Anything else: wrong usage, missing certificate. */
    TLS_VERIFY_INVALID = 16,
    /** A key, a hash or an extension that this engine does not take, or name constraints, which it cannot judge: the rest of the verdict is moot. */
    TLS_VERIFY_UNUSABLE = 32,
};

typedef struct {
    tls_failure_kind kind;
    /** Alert number received, or -1. */
    int alert;
    /**
     * Whether the peer had proved to be the server: the handshake is finished, with a pre-shared key or with a certificate that says that it is one for
     * servers (serverAuth). Before that anybody on the path can send an alert in the clear. Also kept when nothing has failed.
     */
    bool server_proved;
    /** TLS_VERIFY_ bits, else 0. */
    uint32_t verify_flags;
    /** Mbed TLS's or PSA's own code, for diagnostics only; 0 when none. */
    int detail;
} tls_failure;

typedef struct {
    /** DNS name or address in text: verified in the server's certificate. A DNS name is also sent as SNI. A final dot is passed over. Required. */
    const char *server_name;
    /** Milliseconds since the Unix epoch: certificate dates are judged by this and never by the system's clock. */
    int64_t trusted_time_ms;
    /** 0x0303 or 0x0304; 0: both bounds as wide as the cipher suites allow. */
    uint16_t minimum_version;
    uint16_t maximum_version;
    /**
     * With a maximum of 1.2: the second hello to a server that answered one for both versions with 1.2 and a signature of RSA-PSS, which Mbed TLS has
     * in 1.3 only, and which this hello therefore does not offer. A server that knows 1.3 says so even then (RFC 8446 section 4.1.3) and is refused:
     * somebody on the path has forced the first answer.
     */
    bool is_fallback;
    /** IANA numbers, 0-terminated, in order of preference; NULL: the engine's own list (AES-128-GCM, ChaCha20-Poly1305, AES-256-GCM). At most 12. */
    const uint16_t *cipher_suites;
    /**
     * Largest record asked of the server, RFC 6066: 512, 1024, 2048, 4096; 0: not asked. Asked only in a hello that offers TLS 1.2 too; see
     * tls-fragment.c for 1.3. A server that does not mind it costs memory while a larger record is under way (tls-buffer.c).
     */
    uint16_t maximum_fragment;
    /** One ALPN name to offer, or NULL. */
    const char *alpn;
    /** Where to resume from and to store a new ticket, or NULL. Ignored with a PSK. */
    tls_session *session;
} tls_options;

typedef struct {
    /** 0x0303 or 0x0304 */
    uint16_t version;
    /** IANA number of the cipher suite. */
    uint16_t cipher_suite;
    bool resumed;
    /** Whether the server took the offered ALPN name. */
    bool alpn_accepted;
} tls_info;

/** NULL when memory is short. Starts PSA when nobody has. */
tls_engine *tls_engine_create(void);
/** Wipes and frees everything of the engine; NULL is fine. */
void tls_engine_destroy(tls_engine *engine);

/* While TLS_CONFIGURING. All return false and fail the engine when they cannot. Bytes are copied. */

/** A trust anchor, DER. At least one is needed unless a PSK is used. At most TLS_ENGINE_MAX_CERTIFICATES. */
bool tls_engine_add_anchor(tls_engine *engine, const uint8_t *der, size_t size);
/** Our chain, DER, leaf first. */
bool tls_engine_add_certificate(tls_engine *engine, const uint8_t *der, size_t size);
/** Whether our chain leads to a trust anchor by signatures, names and rights, whatever its dates. Changes nothing; no `start` needs to follow. */
bool tls_engine_verify_chain(tls_engine *engine);
/** The PSA key of the leaf certificate (P-256, ECDSA-SHA256). Checked against the leaf at start. */
bool tls_engine_use_key(tls_engine *engine, uint32_t key_id);
/** A pre-shared key in PSA and its identity (1..128 bytes): psk_dhe_ke in TLS 1.3, ECDHE-PSK in 1.2, and no certificate of either side. */
bool tls_engine_use_psk(tls_engine *engine, uint32_t key_id, const uint8_t *identity, size_t identity_size);
/** Checks the configuration and makes the first flight ready to pull. */
bool tls_engine_start(tls_engine *engine, const tls_options *options);

/** Takes bytes from the peer. @returns how many were taken; fewer than `size` when full: handshake or read, then feed the rest. */
size_t tls_engine_feed(tls_engine *engine, const uint8_t *bytes, size_t size);
/** Goes as far as the bytes fed allow. */
tls_state tls_engine_handshake(tls_engine *engine);
/** Bytes waiting to be pulled. */
size_t tls_engine_pending(const tls_engine *engine);
/** Moves out bytes for the peer. @returns how many, 0 when none. Works in every state. */
size_t tls_engine_pull(tls_engine *engine, uint8_t *bytes, size_t capacity);
/** Decrypts at most one more record when nothing is left over. @returns plaintext bytes that `read` can give now; 0: feed more, or see the state. */
size_t tls_engine_readable(tls_engine *engine);
/** @returns bytes read, 0 when none: feed more, or see the state. */
size_t tls_engine_read(tls_engine *engine, uint8_t *bytes, size_t capacity);
/** Encrypts. @returns bytes taken; fewer than `size` when TLS_ENGINE_OUTPUT_LIMIT bytes wait: pull, then write the rest. */
size_t tls_engine_write(tls_engine *engine, const uint8_t *bytes, size_t size);
/** Queues close_notify (once, only while TLS_OPEN or TLS_CLOSED). */
void tls_engine_close_notify(tls_engine *engine);

tls_state tls_engine_state(const tls_engine *engine);
tls_failure tls_engine_failure(const tls_engine *engine);
/** Meaningful from TLS_OPEN on. */
tls_info tls_engine_info(const tls_engine *engine);

/** An empty session; NULL when memory is short. */
tls_session *tls_session_create(void);
/** Gives it up: wiped and freed when no engine uses it either. NULL is fine. */
void tls_session_destroy(tls_session *session);
/** Forgets what is stored: the next handshake is a full one. */
void tls_session_clear(tls_session *session);
bool tls_session_is_empty(const tls_session *session);
/** How many bytes `pack` writes; 0 when there is nothing to keep. */
size_t tls_session_packed_size(const tls_session *session);
/**
 * Writes what another run of the program may resume by, `packed_size` bytes in the clear: they hold secrets and have to be sealed
 * (session-seal.h). @returns false when it is empty
 */
bool tls_session_pack(const tls_session *session, uint8_t *bytes);
/** Takes in what `pack` wrote, in place of what is stored. @returns false, and empty, when these are no such bytes */
bool tls_session_unpack(tls_session *session, const uint8_t *bytes, size_t size);

#define TLS_ENGINE_MAX_CERTIFICATES 8
/** Most bytes that one `feed` leaves unprocessed. */
#define TLS_ENGINE_INPUT_LIMIT 1024
/** `write` stops taking bytes when this many wait to be pulled. */
#define TLS_ENGINE_OUTPUT_LIMIT 4096
/** A longer session is not kept. */
#define TLS_ENGINE_SESSION_LIMIT 3072

#endif
