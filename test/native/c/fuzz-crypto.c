#include "fuzz-crypto.h"

#include <string.h>

#include "mbedtls/platform_time.h"
#include "psa/crypto.h"

#define TAG_SIZE 16
#define RECORD_MAX 20000

void (*fuzz_crypto_decrypted)(const uint8_t *ciphertext, size_t ciphertext_size, const uint8_t *plaintext, size_t size);

unsigned fuzz_crypto_scope;

static bool replays;
static uint64_t state;

void fuzz_crypto_reset(void)
{
    state = 0x9e3779b97f4a7c15u;
}

void fuzz_crypto_replay(void)
{
    replays = true;
}

bool fuzz_crypto_replays(void)
{
    return replays;
}

psa_status_t mbedtls_psa_external_get_random(mbedtls_psa_external_random_context_t *context, uint8_t *output, size_t output_size,
                                             size_t *output_length)
{
    (void) context;
    for (size_t i = 0; i < output_size; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        output[i] = (uint8_t) (state >> 32);
    }
    *output_length = output_size;
    return PSA_SUCCESS;
}

mbedtls_ms_time_t mbedtls_ms_time(void)
{
    return 1;
}

psa_status_t __real_psa_aead_encrypt(mbedtls_svc_key_id_t key, psa_algorithm_t alg, const uint8_t *nonce, size_t nonce_length,
                                     const uint8_t *additional, size_t additional_length, const uint8_t *plaintext, size_t plaintext_length,
                                     uint8_t *ciphertext, size_t ciphertext_size, size_t *ciphertext_length);
psa_status_t __wrap_psa_aead_encrypt(mbedtls_svc_key_id_t key, psa_algorithm_t alg, const uint8_t *nonce, size_t nonce_length,
                                     const uint8_t *additional, size_t additional_length, const uint8_t *plaintext, size_t plaintext_length,
                                     uint8_t *ciphertext, size_t ciphertext_size, size_t *ciphertext_length);
psa_status_t __real_psa_aead_decrypt(mbedtls_svc_key_id_t key, psa_algorithm_t alg, const uint8_t *nonce, size_t nonce_length,
                                     const uint8_t *additional, size_t additional_length, const uint8_t *ciphertext, size_t ciphertext_length,
                                     uint8_t *plaintext, size_t plaintext_size, size_t *plaintext_length);
psa_status_t __wrap_psa_aead_decrypt(mbedtls_svc_key_id_t key, psa_algorithm_t alg, const uint8_t *nonce, size_t nonce_length,
                                     const uint8_t *additional, size_t additional_length, const uint8_t *ciphertext, size_t ciphertext_length,
                                     uint8_t *plaintext, size_t plaintext_size, size_t *plaintext_length);

psa_status_t __wrap_psa_aead_encrypt(mbedtls_svc_key_id_t key, psa_algorithm_t alg, const uint8_t *nonce, size_t nonce_length,
                                     const uint8_t *additional, size_t additional_length, const uint8_t *plaintext, size_t plaintext_length,
                                     uint8_t *ciphertext, size_t ciphertext_size, size_t *ciphertext_length)
{
    if (!replays) {
        return __real_psa_aead_encrypt(key, alg, nonce, nonce_length, additional, additional_length, plaintext, plaintext_length, ciphertext,
                                       ciphertext_size, ciphertext_length);
    }
    if (ciphertext_size < plaintext_length + TAG_SIZE) {
        return PSA_ERROR_BUFFER_TOO_SMALL;
    }
    memmove(ciphertext, plaintext, plaintext_length);
    memset(ciphertext + plaintext_length, 0, TAG_SIZE);
    *ciphertext_length = plaintext_length + TAG_SIZE;
    return PSA_SUCCESS;
}

psa_status_t __wrap_psa_aead_decrypt(mbedtls_svc_key_id_t key, psa_algorithm_t alg, const uint8_t *nonce, size_t nonce_length,
                                     const uint8_t *additional, size_t additional_length, const uint8_t *ciphertext, size_t ciphertext_length,
                                     uint8_t *plaintext, size_t plaintext_size, size_t *plaintext_length)
{
    uint8_t before[RECORD_MAX];
    if (ciphertext_length < TAG_SIZE || ciphertext_length > sizeof before || plaintext_size < ciphertext_length - TAG_SIZE) {
        return PSA_ERROR_INVALID_ARGUMENT;
    }
    if (replays) {
        *plaintext_length = ciphertext_length - TAG_SIZE;
        memmove(plaintext, ciphertext, *plaintext_length);
        return PSA_SUCCESS;
    }
    // Decryption works in place.
    memcpy(before, ciphertext, ciphertext_length);
    psa_status_t status = __real_psa_aead_decrypt(key, alg, nonce, nonce_length, additional, additional_length, ciphertext, ciphertext_length,
                                                  plaintext, plaintext_size, plaintext_length);
    if (status == PSA_SUCCESS && fuzz_crypto_decrypted != NULL) {
        fuzz_crypto_decrypted(before, ciphertext_length, plaintext, *plaintext_length);
    }
    return status;
}
