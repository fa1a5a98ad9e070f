/* The settings of a TLS engine, and its start. */
#include "tls-engine-internal.h"

#include <string.h>

#include "mbedtls/version.h"
#if MBEDTLS_VERSION_NUMBER < 0x04000000
#include "mbedtls/psa_util.h"
#endif

#define P256_POINT_SIZE 65
#define MILLISECONDS_PER_SECOND 1000
/* Seven days (RFC 8446 section 4.6.1). */
#define LONGEST_SESSION_S 604800
#define TLS_1_2 0x0303
#define TLS_1_3 0x0304

/*
 * What a device itself has is P-256 throughout, and so is the key exchange. Brokers show what public and company CAs use: P-384 stands here because
 * TLS 1.2 judges a server's key by this list as well.
 */
static const uint16_t groups[] = { MBEDTLS_SSL_IANA_TLS_GROUP_SECP256R1, MBEDTLS_SSL_IANA_TLS_GROUP_SECP384R1, MBEDTLS_SSL_IANA_TLS_GROUP_NONE };
/* In the order of their cost to a device. PKCS #1 v1.5 is for certificates, and for the key exchange of TLS 1.2. */
static const uint16_t signature_algorithms[] = {
    MBEDTLS_TLS1_3_SIG_ECDSA_SECP256R1_SHA256,
    MBEDTLS_TLS1_3_SIG_ECDSA_SECP384R1_SHA384,
    MBEDTLS_TLS1_3_SIG_RSA_PSS_RSAE_SHA256,
    MBEDTLS_TLS1_3_SIG_RSA_PSS_RSAE_SHA384,
    MBEDTLS_TLS1_3_SIG_RSA_PSS_RSAE_SHA512,
    MBEDTLS_TLS1_3_SIG_RSA_PKCS1_SHA256,
    MBEDTLS_TLS1_3_SIG_RSA_PKCS1_SHA384,
    MBEDTLS_TLS1_3_SIG_RSA_PKCS1_SHA512,
    MBEDTLS_TLS1_3_SIG_NONE,
};
/* What may vouch for a broker, or for a certificate of our own; sim/node holds OpenSSL to the same. */
const mbedtls_x509_crt_profile tls_engine_certificate_profile = {
    .allowed_mds = MBEDTLS_X509_ID_FLAG(MBEDTLS_MD_SHA256) | MBEDTLS_X509_ID_FLAG(MBEDTLS_MD_SHA384) | MBEDTLS_X509_ID_FLAG(MBEDTLS_MD_SHA512),
    .allowed_pks = 0xfffffff,
    .allowed_curves = MBEDTLS_X509_ID_FLAG(MBEDTLS_ECP_DP_SECP256R1) | MBEDTLS_X509_ID_FLAG(MBEDTLS_ECP_DP_SECP384R1),
    .rsa_min_bitlen = RSA_BITS_MIN,
};

/*
 * TLS 1.3 first; AES before ChaCha20 because the ESP32 does AES in hardware, 256 bits of it for brokers that insist. All with forward secrecy. No suite
 * of SHA-384 in TLS 1.2: there Mbed TLS signs with the suite's hash, and a device's key signs SHA-256. sim/node has the same list.
 */
static const uint16_t certificate_suites[] = { 0x1301, 0x1303, 0x1302, 0xc02b, 0xcca9, 0xc02f, 0xcca8, 0 };
static const uint16_t psk_suites[] = { 0x1301, 0x1303, 0xccac, 0 };

/* Whether the key is the leaf's; P-256 keys only, whose SubjectPublicKeyInfo ends with the point. */
static bool check_key(tls_engine *engine)
{
    uint8_t point[P256_POINT_SIZE];
    size_t size;
    const mbedtls_x509_buf *leaf = &engine->chain->pk_raw;
    psa_status_t status = psa_export_public_key(engine->key_id, point, sizeof point, &size);
    if (status != PSA_SUCCESS) {
        return tls_engine_fail_key(engine, status);
    }
    if (leaf->len < size || memcmp(leaf->p + leaf->len - size, point, size) != 0) {
        return tls_engine_fail(engine, TLS_FAILURE_KEY_MISMATCH, 0);
    }
    return true;
}

static int wrap_key(mbedtls_pk_context *key, psa_key_id_t id)
{
#if MBEDTLS_VERSION_NUMBER >= 0x04000000
    return mbedtls_pk_wrap_psa(key, id);
#else
    return mbedtls_pk_setup_opaque(key, id);
#endif
}

/* Anchors whose dates hold come first, so that of a root and its renewal (same name, same key) the valid one is found. */
static void order_anchors(tls_engine *engine)
{
    mbedtls_x509_crt *lists[2] = { NULL, NULL };
    mbedtls_x509_crt **ends[2] = { &lists[0], &lists[1] };
    for (mbedtls_x509_crt *anchor = engine->anchors; anchor != NULL; anchor = anchor->next) {
        int which = tls_verify_is_current(anchor, engine->trusted_time_s) ? 0 : 1;
        *ends[which] = anchor;
        ends[which] = &anchor->next;
    }
    *ends[1] = NULL;
    *ends[0] = lists[1];
    engine->anchors = lists[0];
}

static bool configure_certificates(tls_engine *engine)
{
    if (engine->anchors == NULL) {
        return tls_engine_fail(engine, TLS_FAILURE_CONFIGURATION, 0);
    }
    order_anchors(engine);
    mbedtls_ssl_conf_ca_chain(&engine->config, engine->anchors, NULL);
    mbedtls_ssl_conf_cert_profile(&engine->config, &tls_engine_certificate_profile);
    if (engine->chain == NULL) {
        return true;
    }
    if (!check_key(engine)) {
        return false;
    }
    int result = wrap_key(&engine->key, engine->key_id);
    if (result == 0) {
        result = mbedtls_ssl_conf_own_cert(&engine->config, engine->chain, &engine->key);
    }
    if (result != 0) {
        tls_engine_fail_with(engine, result);
    }
    return result == 0;
}

/* Suites, and versions no wider than the suites: Mbed TLS offers a version it has no suite for, and then fails in the middle. */
static bool configure_suites(tls_engine *engine, const tls_options *options)
{
    const uint16_t *wanted = options->cipher_suites != NULL ? options->cipher_suites : engine->uses_psk ? psk_suites : certificate_suites;
    uint16_t minimum = options->minimum_version != 0 ? options->minimum_version : TLS_1_2;
    uint16_t maximum = options->maximum_version != 0 ? options->maximum_version : TLS_1_3;
    bool has[2] = { false, false };
    unsigned count = 0;
    for (; *wanted != 0; wanted++) {
        bool is_13 = *wanted >> 8 == 0x13;
        if (count == SUITES_MAX) {
            return tls_engine_fail(engine, TLS_FAILURE_CONFIGURATION, 0);
        }
        if (is_13 ? maximum >= TLS_1_3 : minimum <= TLS_1_2) {
            engine->suites[count++] = *wanted;
            has[is_13] = true;
        }
    }
    if (!has[1] && maximum > TLS_1_2) {
        maximum = TLS_1_2;
    }
    if (!has[0] && minimum < TLS_1_3) {
        minimum = TLS_1_3;
    }
    if (count == 0 || minimum > maximum || minimum < TLS_1_2 || maximum > TLS_1_3) {
        return tls_engine_fail(engine, TLS_FAILURE_CONFIGURATION, 0);
    }
    engine->maximum_version = maximum;
    engine->is_fallback = options->is_fallback;
    mbedtls_ssl_conf_ciphersuites(&engine->config, engine->suites);
    mbedtls_ssl_conf_min_tls_version(&engine->config, (mbedtls_ssl_protocol_version) minimum);
    mbedtls_ssl_conf_max_tls_version(&engine->config, (mbedtls_ssl_protocol_version) maximum);
    return true;
}

static bool configure_fragment(tls_engine *engine, uint16_t maximum_fragment)
{
    static const struct { uint16_t size; unsigned char code; } fragments[] = {
        { 0, MBEDTLS_SSL_MAX_FRAG_LEN_NONE },
        { 512, MBEDTLS_SSL_MAX_FRAG_LEN_512 },
        { 1024, MBEDTLS_SSL_MAX_FRAG_LEN_1024 },
        { 2048, MBEDTLS_SSL_MAX_FRAG_LEN_2048 },
        { 4096, MBEDTLS_SSL_MAX_FRAG_LEN_4096 },
    };
    for (size_t i = 0; i < sizeof fragments / sizeof *fragments; i++) {
        if (fragments[i].size != maximum_fragment) {
            continue;
        }
        engine->asks_fragment = maximum_fragment != 0 && tls_fragment_is_possible(engine->maximum_version);
        if (!engine->asks_fragment || mbedtls_ssl_conf_max_frag_len(&engine->config, fragments[i].code) == 0) {
            return true;
        }
    }
    return tls_engine_fail(engine, TLS_FAILURE_CONFIGURATION, 0);
}

static bool configure_alpn(tls_engine *engine, const char *name)
{
    if (name == NULL) {
        return true;
    }
    size_t size = strlen(name);
    if (size > ALPN_MAX) {
        return tls_engine_fail(engine, TLS_FAILURE_CONFIGURATION, 0);
    }
    // Mbed TLS keeps pointers.
    memcpy(engine->alpn, name, size);
    engine->alpn_list[0] = engine->alpn;
    return mbedtls_ssl_conf_alpn_protocols(&engine->config, engine->alpn_list) == 0 || tls_engine_fail(engine, TLS_FAILURE_CONFIGURATION, 0);
}

static void configure_modes(tls_engine *engine)
{
    bool resumes = engine->session != NULL;
    mbedtls_ssl_conf_groups(&engine->config, groups);
    mbedtls_ssl_conf_sig_algs(&engine->config, signature_algorithms);
    mbedtls_ssl_conf_verify(&engine->config, tls_verify_certificate, engine);
    // With a PSK a certificate's mode is offered too, or OpenSSL answers an unknown identity with "missing extension" instead of a refusal.
    // A server that takes it fails: without anchors no certificate is accepted.
    mbedtls_ssl_conf_tls13_key_exchange_modes(&engine->config, MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_EPHEMERAL |
        (engine->uses_psk || resumes ? MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_PSK_EPHEMERAL : 0));
    mbedtls_ssl_conf_session_tickets(&engine->config, resumes);
#if defined(MBEDTLS_SSL_RENEGOTIATION)
    // The credentials are gone after the handshake; there is no second one.
    mbedtls_ssl_conf_renegotiation(&engine->config, MBEDTLS_SSL_RENEGOTIATION_DISABLED);
#endif
#if MBEDTLS_VERSION_NUMBER >= 0x03060100 && MBEDTLS_VERSION_NUMBER < 0x04000000
    mbedtls_ssl_conf_tls13_enable_signal_new_session_tickets(&engine->config, resumes);
#endif
#if MBEDTLS_VERSION_NUMBER < 0x04000000
    mbedtls_ssl_conf_rng(&engine->config, mbedtls_psa_get_random, MBEDTLS_PSA_RANDOM_STATE);
#endif
}

/* Keeps the name; its final dot only says that it is complete (RFC 6066 section 3 sends none, RFC 9525 compares none). */
static bool keep_server_name(tls_engine *engine, const char *name)
{
    size_t size = strlen(name);
    if (size > 0 && name[size - 1] == '.') {
        size--;
    }
    if (size == 0 || size > SERVER_NAME_MAX) {
        return tls_engine_fail(engine, TLS_FAILURE_CONFIGURATION, 0);
    }
    memcpy(engine->server_name, name, size);
    engine->address_size = tls_address_parse(engine->server_name, engine->address);
    return true;
}

static bool finish_fingerprint(tls_engine *engine, const tls_options *options)
{
    size_t size;
    const char *alpn = options->alpn != NULL ? options->alpn : "";
    const uint16_t versions[2] = { options->minimum_version, options->maximum_version };
    if (!tls_session_mix(engine, TLS_FIELD_VERSIONS, versions, sizeof versions) ||
        !tls_session_mix(engine, TLS_FIELD_SERVER_NAME, engine->server_name, strlen(engine->server_name)) ||
        !tls_session_mix(engine, TLS_FIELD_ALPN, alpn, strlen(alpn))) {
        return false;
    }
    psa_status_t status = psa_hash_finish(&engine->fingerprint_hash, engine->fingerprint, FINGERPRINT_SIZE, &size);
    if (status != PSA_SUCCESS) {
        tls_engine_fail_with(engine, status);
    }
    return status == PSA_SUCCESS;
}

/* A resumed handshake shows no certificate: ours, too, must be shown again in time. */
static void limit_resumption(tls_engine *engine)
{
    engine->resumable_until_s = engine->trusted_time_s + LONGEST_SESSION_S;
    for (const mbedtls_x509_crt *own = engine->chain; own != NULL; own = own->next) {
        int64_t end_s = tls_verify_end_s(own);
        if (end_s < engine->resumable_until_s) {
            engine->resumable_until_s = end_s;
        }
    }
}

bool tls_engine_start(tls_engine *engine, const tls_options *options)
{
    if (engine->state != TLS_CONFIGURING || options->server_name == NULL || options->server_name[0] == '\0') {
        return engine->state != TLS_FAILED && tls_engine_fail(engine, TLS_FAILURE_CONFIGURATION, 0);
    }
    // A chain and its key belong together, and a PSK stands alone.
    if ((engine->chain != NULL) != (engine->key_id != 0) || (engine->uses_psk && engine->chain != NULL)) {
        return tls_engine_fail(engine, TLS_FAILURE_CONFIGURATION, 0);
    }
    engine->trusted_time_s = options->trusted_time_ms / MILLISECONDS_PER_SECOND;
    engine->session = engine->uses_psk ? NULL : tls_session_retain(options->session);
    limit_resumption(engine);
    configure_modes(engine);
    if (!keep_server_name(engine, options->server_name) || (!engine->uses_psk && !configure_certificates(engine)) || !configure_suites(engine, options) ||
        !configure_fragment(engine, options->maximum_fragment) || !configure_alpn(engine, options->alpn) ||
        !finish_fingerprint(engine, options)) {
        return false;
    }
    int result = mbedtls_ssl_setup(&engine->ssl, &engine->config);
    if (result == 0 && !tls_buffer_rest(engine)) {
        result = MBEDTLS_ERR_SSL_ALLOC_FAILED;
    }
    if (result == 0) {
        // An address is only checked (tls-verify.c): RFC 6066 allows none in SNI.
        result = mbedtls_ssl_set_hostname(&engine->ssl, engine->address_size > 0 ? NULL : engine->server_name);
    }
    if (result != 0) {
        tls_engine_fail_with(engine, result);
        return false;
    }
    mbedtls_ssl_set_bio(&engine->ssl, engine, tls_flow_send, tls_flow_receive, NULL);
    tls_session_offer(engine);
    engine->state = TLS_HANDSHAKING;
    return tls_engine_handshake(engine) == TLS_HANDSHAKING;
}
