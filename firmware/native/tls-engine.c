/* The life of a TLS engine, and what it shows and trusts. Settings and the start are in tls-configure.c, moving bytes in tls-flow.c. */
#include "tls-engine-internal.h"

#include "mbedtls/platform_util.h"
#include "out-of-memory.h"

#define PSK_IDENTITY_MAX 128
#define PSK_MAX 64

tls_engine *tls_engine_create(void)
{
    tls_engine *engine = mbedtls_calloc(1, sizeof *engine);
    if (engine == NULL) {
        return NULL;
    }
    engine->failure.alert = -1;
    mbedtls_ssl_init(&engine->ssl);
    mbedtls_ssl_config_init(&engine->config);
    mbedtls_pk_init(&engine->key);
    int result = psa_crypto_init();
    if (result == 0) {
        result = psa_hash_setup(&engine->fingerprint_hash, PSA_ALG_SHA_256);
    }
    if (result == 0) {
        result = mbedtls_ssl_config_defaults(&engine->config, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT);
    }
    if (result != 0) {
        tls_engine_fail_with(engine, result);
    }
    return engine;
}

static void free_list(mbedtls_x509_crt **head)
{
    if (*head != NULL) {
        mbedtls_x509_crt_free(*head);
        mbedtls_free(*head);
        *head = NULL;
    }
}

void tls_engine_free_credentials(tls_engine *engine)
{
    // The configuration goes on pointing at the lists, but only a handshake follows those pointers.
    free_list(&engine->chain);
    free_list(&engine->anchors);
    mbedtls_pk_free(&engine->key);
    mbedtls_pk_init(&engine->key);
}

void tls_engine_destroy(tls_engine *engine)
{
    if (engine == NULL) {
        return;
    }
    mbedtls_ssl_free(&engine->ssl);
    mbedtls_ssl_config_free(&engine->config);
    tls_session_destroy(engine->session);
    tls_engine_free_credentials(engine);
    psa_hash_abort(&engine->fingerprint_hash);
    byte_queue_free(&engine->output);
    mbedtls_platform_zeroize(engine, sizeof *engine);
    mbedtls_free(engine);
}

bool tls_engine_fail_key(tls_engine *engine, int status)
{
    bool missing = status == PSA_SUCCESS || status == PSA_ERROR_INVALID_HANDLE || status == PSA_ERROR_DOES_NOT_EXIST;
    if (missing) {
        tls_engine_fail(engine, TLS_FAILURE_KEY_MISSING, status);
    } else {
        tls_engine_fail_with(engine, status);
    }
    return false;
}

static bool is_configuring(tls_engine *engine)
{
    return engine->state == TLS_CONFIGURING || (engine->state != TLS_FAILED && tls_engine_fail(engine, TLS_FAILURE_CONFIGURATION, 0));
}

/* Appends a certificate to a list, each in memory of its own so that the list can be reordered. */
static bool add_to(tls_engine *engine, mbedtls_x509_crt **head, const uint8_t *der, size_t size)
{
    if (!is_configuring(engine)) {
        return false;
    }
    if (++engine->certificate_count > 2 * TLS_ENGINE_MAX_CERTIFICATES) {
        return tls_engine_fail(engine, TLS_FAILURE_CONFIGURATION, 0);
    }
    mbedtls_x509_crt *certificate = mbedtls_calloc(1, sizeof *certificate);
    if (certificate == NULL) {
        return tls_engine_fail(engine, TLS_FAILURE_NO_MEMORY, 0);
    }
    mbedtls_x509_crt_init(certificate);
    int result = mbedtls_x509_crt_parse_der(certificate, der, size);
    if (result != 0) {
        free_list(&certificate);
        return tls_engine_fail(engine, is_out_of_memory(result) ? TLS_FAILURE_NO_MEMORY : TLS_FAILURE_CONFIGURATION, result);
    }
    while (*head != NULL) {
        head = &(*head)->next;
    }
    *head = certificate;
    return true;
}

bool tls_engine_add_anchor(tls_engine *engine, const uint8_t *der, size_t size)
{
    return add_to(engine, &engine->anchors, der, size) && tls_session_mix(engine, TLS_FIELD_ANCHOR, der, size);
}

bool tls_engine_add_certificate(tls_engine *engine, const uint8_t *der, size_t size)
{
    return add_to(engine, &engine->chain, der, size) && tls_session_mix(engine, TLS_FIELD_CERTIFICATE, der, size);
}

bool tls_engine_use_key(tls_engine *engine, uint32_t key_id)
{
    if (!is_configuring(engine)) {
        return false;
    }
    if (key_id == 0) {
        return tls_engine_fail(engine, TLS_FAILURE_KEY_MISSING, 0);
    }
    engine->key_id = key_id;
    return tls_session_mix(engine, TLS_FIELD_KEY, &key_id, sizeof key_id);
}

/*
 * Gives Mbed TLS the key's bytes: its TLS 1.3 client (3.6 and 4.x) computes the binder from raw bytes only, an opaque PSK ends in a wrong
 * binder. They stay in C and are wiped with the configuration.
 */
static int configure_psk(tls_engine *engine, psa_key_id_t key_id, const uint8_t *identity, size_t identity_size)
{
    uint8_t key[PSK_MAX];
    size_t size = 0;
    int result = psa_export_key(key_id, key, sizeof key, &size);
    if (result == 0) {
        result = mbedtls_ssl_conf_psk(&engine->config, key, size, identity, identity_size);
    }
    mbedtls_platform_zeroize(key, sizeof key);
    return result;
}

bool tls_engine_use_psk(tls_engine *engine, uint32_t key_id, const uint8_t *identity, size_t identity_size)
{
    if (!is_configuring(engine)) {
        return false;
    }
    if (engine->uses_psk || identity_size == 0 || identity_size > PSK_IDENTITY_MAX) {
        return tls_engine_fail(engine, TLS_FAILURE_CONFIGURATION, 0);
    }
    psa_key_attributes_t attributes = PSA_KEY_ATTRIBUTES_INIT;
    psa_status_t status = psa_get_key_attributes(key_id, &attributes);
    bool is_psk = psa_get_key_type(&attributes) == PSA_KEY_TYPE_DERIVE;
    psa_reset_key_attributes(&attributes);
    if (status != PSA_SUCCESS || !is_psk) {
        return tls_engine_fail_key(engine, status);
    }
    int result = configure_psk(engine, key_id, identity, identity_size);
    if (result != 0) {
        tls_engine_fail_with(engine, result);
        return false;
    }
    engine->uses_psk = true;
    return true;
}
