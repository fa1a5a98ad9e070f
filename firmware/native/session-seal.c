#include "session-seal.h"

#include "key-store.h"
#include "mbedtls/platform.h"
#include "mbedtls/platform_util.h"
#include "psa/crypto.h"

#define SEAL_VERSION 1
#define KEY_SIZE 32
#define NONCE_SIZE 12
#define TAG_SIZE 16
#define OVERHEAD (1 + NONCE_SIZE + TAG_SIZE)

/* The slot's secret as a key for this alone: stored keys have one algorithm. @returns PSA_KEY_ID_NULL when there is none of this size */
static psa_key_id_t open_key(const char *slot, psa_key_usage_t usage)
{
    uint8_t secret[KEY_STORE_PSK_MAX];
    size_t size = 0;
    uint32_t stored;
    psa_key_id_t key = PSA_KEY_ID_NULL;
    psa_key_attributes_t attributes = PSA_KEY_ATTRIBUTES_INIT;
    if (key_store_find(slot, KEY_STORE_PSK, &stored) == KEY_STORE_OK && psa_export_key(stored, secret, sizeof secret, &size) == PSA_SUCCESS &&
        size == KEY_SIZE) {
        psa_set_key_type(&attributes, PSA_KEY_TYPE_AES);
        psa_set_key_algorithm(&attributes, PSA_ALG_GCM);
        psa_set_key_usage_flags(&attributes, usage);
        if (psa_import_key(&attributes, secret, size, &key) != PSA_SUCCESS) {
            key = PSA_KEY_ID_NULL;
        }
    }
    mbedtls_platform_zeroize(secret, sizeof secret);
    return key;
}

size_t session_sealed_size(const tls_session *session)
{
    size_t size = tls_session_packed_size(session);
    return size == 0 ? 0 : size + OVERHEAD;
}

bool session_seal(const tls_session *session, const char *slot, const uint8_t *binding, size_t binding_size, uint8_t *sealed)
{
    size_t size = tls_session_packed_size(session);
    size_t written = 0;
    uint8_t *packed = size == 0 ? NULL : mbedtls_calloc(1, size);
    psa_key_id_t key = packed == NULL ? PSA_KEY_ID_NULL : open_key(slot, PSA_KEY_USAGE_ENCRYPT);
    bool done = false;
    if (key != PSA_KEY_ID_NULL) {
        sealed[0] = SEAL_VERSION;
        done = tls_session_pack(session, packed) && psa_generate_random(sealed + 1, NONCE_SIZE) == PSA_SUCCESS &&
               psa_aead_encrypt(key, PSA_ALG_GCM, sealed + 1, NONCE_SIZE, binding, binding_size, packed, size, sealed + 1 + NONCE_SIZE,
                                size + TAG_SIZE, &written) == PSA_SUCCESS;
        psa_destroy_key(key);
    }
    if (packed != NULL) {
        mbedtls_platform_zeroize(packed, size);
        mbedtls_free(packed);
    }
    return done;
}

bool session_unseal(tls_session *session, const char *slot, const uint8_t *binding, size_t binding_size, const uint8_t *sealed, size_t size)
{
    tls_session_clear(session);
    if (size <= OVERHEAD || sealed[0] != SEAL_VERSION) {
        return false;
    }
    size_t capacity = size - OVERHEAD;
    size_t written = 0;
    uint8_t *packed = mbedtls_calloc(1, capacity);
    psa_key_id_t key = packed == NULL ? PSA_KEY_ID_NULL : open_key(slot, PSA_KEY_USAGE_DECRYPT);
    bool done = false;
    if (key != PSA_KEY_ID_NULL) {
        done = psa_aead_decrypt(key, PSA_ALG_GCM, sealed + 1, NONCE_SIZE, binding, binding_size, sealed + 1 + NONCE_SIZE, capacity + TAG_SIZE,
                                packed, capacity, &written) == PSA_SUCCESS &&
               tls_session_unpack(session, packed, written);
        psa_destroy_key(key);
    }
    if (packed != NULL) {
        mbedtls_platform_zeroize(packed, capacity);
        mbedtls_free(packed);
    }
    return done;
}
