/* What the files of the TLS engine share; nobody else includes it. */
#ifndef HAWSER_TLS_ENGINE_INTERNAL_H
#define HAWSER_TLS_ENGINE_INTERNAL_H

#include "byte-queue.h"
#include "tls-engine.h"

#include "mbedtls/build_info.h"
#include "mbedtls/platform.h"
#include "mbedtls/ssl.h"
#include "mbedtls/x509_crt.h"
#include "psa/crypto.h"

#if !defined(MBEDTLS_SSL_PROTO_TLS1_2) || !defined(MBEDTLS_SSL_PROTO_TLS1_3) || !defined(MBEDTLS_KEY_EXCHANGE_ECDHE_ECDSA_ENABLED) ||                \
    !defined(MBEDTLS_KEY_EXCHANGE_ECDHE_RSA_ENABLED) || !defined(MBEDTLS_KEY_EXCHANGE_ECDHE_PSK_ENABLED) || !defined(MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_PSK_EPHEMERAL_ENABLED) ||             \
    !defined(MBEDTLS_SSL_SESSION_TICKETS) || !defined(MBEDTLS_SSL_ALPN) || !defined(MBEDTLS_SSL_MAX_FRAGMENT_LENGTH)
#error "Mbed TLS lacks TLS 1.2 or 1.3, ECDHE-ECDSA, ECDHE-RSA, ECDHE-PSK, PSK ephemeral, tickets, ALPN or max_fragment_length: see sdkconfig.defaults"
#endif

#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX 4096
#define ALPN_MAX 31
/* RFC 1035 section 2.3.4 */
#define SERVER_NAME_MAX 255
#define SUITES_MAX 12
#define FINGERPRINT_SIZE 32
/* Headers of record and message, version, random. */
#define SERVER_HELLO_HEAD (5 + 4 + 2 + 32)

struct tls_session {
    /** Its owner and the engines that use it: an engine may live longer than its owner's interest. */
    unsigned references;
    uint8_t *saved;
    size_t size;
    /** What the saved session was made with: only a handshake of the same kind may resume it. */
    uint8_t fingerprint[FINGERPRINT_SIZE];
    /** The server's chain was valid until then; later it must be shown and judged again. */
    int64_t valid_until_s;
    /** The trusted time when the connection began that it came from. */
    int64_t made_at_s;
    /** The server's certificate carries serverAuth. */
    bool is_for_servers;
    /** It comes from another run of the program, which had another clock. */
    bool is_unpacked;
};

struct tls_engine {
    tls_state state;
    tls_failure failure;
    mbedtls_ssl_context ssl;
    mbedtls_ssl_config config;
    mbedtls_pk_context key;
    /* Heads of lists, freed as soon as the handshake is over. */
    mbedtls_x509_crt *chain;
    mbedtls_x509_crt *anchors;
    unsigned certificate_count;
    psa_key_id_t key_id;
    bool uses_psk;

    int64_t trusted_time_s;
    /** Whom the server must prove to be: a DNS name without a final dot, or an address of 4 or 16 bytes, which Mbed TLS must neither send nor check. */
    char server_name[SERVER_NAME_MAX + 1];
    uint8_t address[16];
    size_t address_size;
    uint16_t maximum_version;
    bool asks_fragment;
    bool is_fallback;
    int suites[SUITES_MAX + 1];
    char alpn[ALPN_MAX + 1];
    const char *alpn_list[2];

    /** Of the credential, the anchors and the server's name, in the making until `start`. */
    psa_hash_operation_t fingerprint_hash;
    uint8_t fingerprint[FINGERPRINT_SIZE];
    tls_session *session;
    bool offered_session;
    bool saw_certificate;
    /** The server's certificate carries serverAuth. */
    bool is_for_servers;
    bool has_new_ticket;
    bool has_read;
    bool has_closed;
    /** The end of the chain that the server showed, or of the one that the session goes back to. */
    int64_t valid_until_s;
    /** No session that begins with this handshake is resumed later: its longest life, or the end of our own chain. */
    int64_t resumable_until_s;

    /** The first bytes that came: a ServerHello in the clear, up to the end of its random. */
    uint8_t hello[SERVER_HELLO_HEAD];
    size_t hello_size;

    byte_queue output;
    /** Mbed TLS asked for bytes and there were none. */
    bool is_starved;
    size_t input_start;
    size_t input_size;
    uint8_t input[TLS_ENGINE_INPUT_LIMIT];
};

/** Fails the engine with an error of Mbed TLS or PSA, classified. */
void tls_engine_fail_with(tls_engine *engine, int error);
/** Fails the engine for a reason of our own. @returns false, for callers that say so in turn */
bool tls_engine_fail(tls_engine *engine, tls_failure_kind kind, int detail);
/** Fails the engine over a PSA key that could not be used: missing, or PSA's own trouble. PSA_SUCCESS means a key of the wrong kind. */
bool tls_engine_fail_key(tls_engine *engine, int status);
/** What only the handshake needed. */
void tls_engine_free_credentials(tls_engine *engine);

/** Mbed TLS's callbacks for bytes; `context` is the engine. */
int tls_flow_send(void *context, const unsigned char *bytes, size_t size);
int tls_flow_receive(void *context, unsigned char *bytes, size_t capacity);

/** Whether small records may be asked for when the hello offers versions up to this one. */
bool tls_fragment_is_possible(uint16_t maximum_version);
/** Before each step of the handshake: the server may answer that it sends small records. */
void tls_fragment_expect_answer(tls_engine *engine);

/** Which keys and hashes may vouch for a certificate. */
extern const mbedtls_x509_crt_profile tls_engine_certificate_profile;

/** Mbed TLS's callback for each certificate of the server's chain; `context` is the engine. */
int tls_verify_certificate(void *context, mbedtls_x509_crt *certificate, int depth, uint32_t *flags);
/** TLS_VERIFY_ bits for Mbed TLS's flags. */
uint32_t tls_verify_flags(uint32_t flags);
/** Seconds since the epoch at which a certificate ends. */
int64_t tls_verify_end_s(const mbedtls_x509_crt *certificate);
/** Whether a certificate's dates hold at the trusted time. */
bool tls_verify_is_current(const mbedtls_x509_crt *certificate, int64_t trusted_time_s);
/** Reads the text of an IPv4 or IPv6 address. @returns its size, 4 or 16 bytes; 0 when it is none */
size_t tls_address_parse(const char *text, uint8_t address[16]);
/** Whether a DNS name of a certificate, which may begin with "*.", stands for the name (RFC 9525 section 6.3). Neither ends with a dot. */
bool tls_name_matches(const uint8_t *pattern, size_t pattern_size, const char *name);

/** Between two records: gives back what the last one needed. @returns false when there is no memory */
bool tls_buffer_rest(tls_engine *engine);
/** Moves `size` bytes of our input to where Mbed TLS wants them, or would after the buffer grew. @returns 0, or Mbed TLS's error */
int tls_buffer_receive(tls_engine *engine, unsigned char *bytes, size_t size);

/** The fields of a fingerprint: each is hashed with its kind and length, so that no two configurations read the same. */
typedef enum {
    TLS_FIELD_ANCHOR = 1,
    TLS_FIELD_CERTIFICATE,
    TLS_FIELD_KEY,
    TLS_FIELD_VERSIONS,
    TLS_FIELD_SERVER_NAME,
    TLS_FIELD_ALPN,
} tls_field;

/** Adds a field to the fingerprint in the making. */
bool tls_session_mix(tls_engine *engine, tls_field field, const void *bytes, size_t size);
/** One more user of a session; `tls_session_destroy` undoes it. NULL is fine. */
tls_session *tls_session_retain(tls_session *session);
/** Gives the stored session to the handshake to come, if it fits and is still good; it is then no longer stored. */
void tls_session_offer(tls_engine *engine);
/** Stores what the server gave, once that proved good; a session that cannot be stored is no failure. */
void tls_session_take(tls_engine *engine);

#endif
