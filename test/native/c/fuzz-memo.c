/*
 * P-256 remembered: while replaying, an operation seen before with the same inputs gives the same result without the arithmetic, which would
 * take most of the time. Linked with --wrap for each function here.
 */
#include <stdbool.h>
#include <string.h>

#include "fuzz-crypto.h"
#include "psa/crypto.h"

#define ENTRIES 16384u
/* An entry lies in one of so many places. */
#define PLACES 4u
#define RESULT_MAX 72u
/* Of the signatures that nobody made, one in so many is really verified. */
#define FORGERIES_TRIED 16u
#define PERSISTENT_MAX 0x3fffffffu

typedef enum { GENERATE, EXPORT_PUBLIC, AGREE, SIGN, VERIFY } operation;

typedef struct {
    uint64_t key;
    psa_status_t status;
    size_t size;
    /** From a recording as it is: never forgotten. */
    bool genuine;
    uint8_t result[RESULT_MAX];
} memo;

static memo memos[ENTRIES];
static bool learned;

void fuzz_memo_learned(void)
{
    learned = true;
}

psa_status_t __real_psa_generate_key(const psa_key_attributes_t *attributes, mbedtls_svc_key_id_t *key);
psa_status_t __wrap_psa_generate_key(const psa_key_attributes_t *attributes, mbedtls_svc_key_id_t *key);
psa_status_t __real_psa_export_public_key(mbedtls_svc_key_id_t key, uint8_t *data, size_t data_size, size_t *data_length);
psa_status_t __wrap_psa_export_public_key(mbedtls_svc_key_id_t key, uint8_t *data, size_t data_size, size_t *data_length);
psa_status_t __real_psa_raw_key_agreement(psa_algorithm_t alg, mbedtls_svc_key_id_t key, const uint8_t *peer, size_t peer_length, uint8_t *output,
                                          size_t output_size, size_t *output_length);
psa_status_t __wrap_psa_raw_key_agreement(psa_algorithm_t alg, mbedtls_svc_key_id_t key, const uint8_t *peer, size_t peer_length, uint8_t *output,
                                          size_t output_size, size_t *output_length);
psa_status_t __real_psa_sign_hash(mbedtls_svc_key_id_t key, psa_algorithm_t alg, const uint8_t *hash, size_t hash_length, uint8_t *signature,
                                  size_t signature_size, size_t *signature_length);
psa_status_t __wrap_psa_sign_hash(mbedtls_svc_key_id_t key, psa_algorithm_t alg, const uint8_t *hash, size_t hash_length, uint8_t *signature,
                                  size_t signature_size, size_t *signature_length);
psa_status_t __real_psa_verify_hash(mbedtls_svc_key_id_t key, psa_algorithm_t alg, const uint8_t *hash, size_t hash_length,
                                    const uint8_t *signature, size_t signature_length);
psa_status_t __wrap_psa_verify_hash(mbedtls_svc_key_id_t key, psa_algorithm_t alg, const uint8_t *hash, size_t hash_length,
                                    const uint8_t *signature, size_t signature_length);

static uint64_t mix(uint64_t key, const void *bytes, size_t size)
{
    for (const uint8_t *at = bytes; size > 0; at++, size--) {
        key = (key ^ *at) * 0x100000001b3u;
    }
    return (key ^ size) * 0x100000001b3u;
}

/* A device key is told by its id; the engine's ephemeral key, whose id is a new one each time, is the same in each run of a recording. */
static uint64_t start(operation which, mbedtls_svc_key_id_t key, psa_algorithm_t alg)
{
    uint32_t id = key <= PERSISTENT_MAX ? key : 0;
    uint64_t scope = fuzz_crypto_scope;
    return mix(mix(mix(mix(0xcbf29ce484222325u, &which, sizeof which), &id, sizeof id), &alg, sizeof alg), &scope, sizeof scope) | 1;
}

/* @returns the entry with this key, or else one that may be used for it */
static memo *find(uint64_t key)
{
    memo *usable = NULL;
    for (uint64_t place = 0; place < PLACES; place++) {
        memo *entry = &memos[((key >> 20) + place) % ENTRIES];
        if (entry->key == key) {
            return entry;
        }
        if (usable == NULL && !entry->genuine) {
            usable = entry;
        }
    }
    return usable;
}

/* @returns whether the result is known and was copied out */
static bool recall(uint64_t key, uint8_t *output, size_t capacity, size_t *length, psa_status_t *status)
{
    memo *found = find(key);
    if (!fuzz_crypto_replays() || found == NULL || found->key != key || (output != NULL && found->size > capacity)) {
        return false;
    }
    *status = found->status;
    if (output != NULL) {
        memcpy(output, found->result, found->size);
        *length = found->size;
    }
    return true;
}

static psa_status_t keep(uint64_t key, const uint8_t *result, size_t size, psa_status_t status)
{
    memo *entry = find(key);
    size_t kept = status == PSA_SUCCESS ? size : 0;
    if (fuzz_crypto_replays() && entry != NULL && kept <= RESULT_MAX) {
        entry->key = key;
        entry->genuine = !learned;
        entry->status = status;
        entry->size = kept;
        if (kept > 0) {
            memcpy(entry->result, result, kept);
        }
    }
    return status;
}

psa_status_t __wrap_psa_generate_key(const psa_key_attributes_t *attributes, mbedtls_svc_key_id_t *key)
{
    uint64_t memo_key = start(GENERATE, 0, 0);
    uint8_t private_key[RESULT_MAX];
    size_t size = 0;
    psa_status_t status;
    if (recall(memo_key, private_key, sizeof private_key, &size, &status)) {
        return psa_import_key(attributes, private_key, size, key);
    }
    psa_key_attributes_t open = *attributes;
    psa_set_key_usage_flags(&open, psa_get_key_usage_flags(attributes) | PSA_KEY_USAGE_EXPORT);
    status = __real_psa_generate_key(&open, key);
    if (status == PSA_SUCCESS && psa_export_key(*key, private_key, sizeof private_key, &size) == PSA_SUCCESS) {
        keep(memo_key, private_key, size, status);
    }
    return status;
}

psa_status_t __wrap_psa_export_public_key(mbedtls_svc_key_id_t key, uint8_t *data, size_t data_size, size_t *data_length)
{
    uint64_t memo_key = start(EXPORT_PUBLIC, key, 0);
    psa_status_t status;
    if (recall(memo_key, data, data_size, data_length, &status)) {
        return status;
    }
    status = __real_psa_export_public_key(key, data, data_size, data_length);
    return keep(memo_key, data, *data_length, status);
}

psa_status_t __wrap_psa_raw_key_agreement(psa_algorithm_t alg, mbedtls_svc_key_id_t key, const uint8_t *peer, size_t peer_length, uint8_t *output,
                                          size_t output_size, size_t *output_length)
{
    uint64_t memo_key = mix(start(AGREE, key, alg), peer, peer_length);
    psa_status_t status;
    if (recall(memo_key, output, output_size, output_length, &status)) {
        return status;
    }
    status = __real_psa_raw_key_agreement(alg, key, peer, peer_length, output, output_size, output_length);
    return keep(memo_key, output, *output_length, status);
}

psa_status_t __wrap_psa_sign_hash(mbedtls_svc_key_id_t key, psa_algorithm_t alg, const uint8_t *hash, size_t hash_length, uint8_t *signature,
                                  size_t signature_size, size_t *signature_length)
{
    uint64_t memo_key = mix(start(SIGN, key, alg), hash, hash_length);
    psa_status_t status;
    if (recall(memo_key, signature, signature_size, signature_length, &status)) {
        return status;
    }
    status = __real_psa_sign_hash(key, alg, hash, hash_length, signature, signature_size, signature_length);
    return keep(memo_key, signature, *signature_length, status);
}

psa_status_t __wrap_psa_verify_hash(mbedtls_svc_key_id_t key, psa_algorithm_t alg, const uint8_t *hash, size_t hash_length,
                                    const uint8_t *signature, size_t signature_length)
{
    uint64_t memo_key = mix(mix(start(VERIFY, key, alg), hash, hash_length), signature, signature_length);
    psa_status_t status;
    if (recall(memo_key, NULL, 0, NULL, &status)) {
        return status;
    }
    // What holds is known from the recordings; the arithmetic that finds out that nothing else does took a third of the time.
    if (learned && (memo_key >> 8) % FORGERIES_TRIED != 0) {
        return PSA_ERROR_INVALID_SIGNATURE;
    }
    return keep(memo_key, NULL, 0, __real_psa_verify_hash(key, alg, hash, hash_length, signature, signature_length));
}
