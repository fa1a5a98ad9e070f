#include "key-store.h"

#include <string.h>

#include "mbedtls/build_info.h"
#include "mbedtls/pk.h"
#include "mbedtls/platform_util.h"
#include "mbedtls/x509_csr.h"
#include "out-of-memory.h"
#include "psa/crypto.h"
#if MBEDTLS_VERSION_NUMBER < 0x04000000
#include "mbedtls/psa_util.h"
#endif

/* The slots of the SDK, in the order of their key ids: append only, never reorder. */
static const char *const SLOTS[] = { "key-a", "key-b", "psk", "psk-salted", "tls-session" };
#define SLOT_COUNT (sizeof SLOTS / sizeof *SLOTS)

/* Persistent ids of ours: FIRST_ID + 4 * slot + place in the ring. Any range of PSA's application ids would do. */
#define FIRST_ID 0x00485700u
#define RING 3u

#define NO_PLACE RING
#define COMMON_NAME_MAX 64
#define POINT_SIZE 65

static key_store_status status_of(psa_status_t status)
{
    switch (status) {
        case PSA_SUCCESS:
            return KEY_STORE_OK;
        case PSA_ERROR_INVALID_HANDLE:
        case PSA_ERROR_DOES_NOT_EXIST:
            return KEY_STORE_MISSING;
        case PSA_ERROR_INSUFFICIENT_STORAGE:
            return KEY_STORE_FULL;
        case PSA_ERROR_INSUFFICIENT_MEMORY:
            return KEY_STORE_NO_MEMORY;
        default:
            return KEY_STORE_FAILED;
    }
}

/* What a slot's ring holds: bit n is set when id n holds a readable key; `current` is the place of the valid one, or NO_PLACE. */
typedef struct {
    psa_key_id_t first;
    unsigned present;
    unsigned current;
    psa_key_type_t type;
} ring_state;

static psa_key_id_t id_at(const ring_state *ring, unsigned place)
{
    return ring->first + place % RING;
}

static key_store_status slot_index(const char *slot, unsigned *index)
{
    for (*index = 0; *index < SLOT_COUNT; ++*index) {
        if (strcmp(slot, SLOTS[*index]) == 0) {
            return KEY_STORE_OK;
        }
    }
    return KEY_STORE_UNKNOWN_SLOT;
}

/* A damaged record counts as absent, so that a new key can still be made beside it. */
static key_store_status look(const char *slot, ring_state *ring)
{
    psa_key_type_t types[RING] = { 0 };
    unsigned index;
    key_store_status status = slot_index(slot, &index);
    if (status != KEY_STORE_OK) {
        return status;
    }
    *ring = (ring_state) { .first = FIRST_ID + 4 * index, .current = NO_PLACE };
    for (unsigned place = 0; place < RING; place++) {
        psa_key_attributes_t attributes = PSA_KEY_ATTRIBUTES_INIT;
        psa_status_t found = psa_get_key_attributes(id_at(ring, place), &attributes);
        types[place] = psa_get_key_type(&attributes);
        psa_reset_key_attributes(&attributes);
        if (found == PSA_SUCCESS) {
            ring->present |= 1u << place;
        } else if (status_of(found) != KEY_STORE_MISSING && found != PSA_ERROR_DATA_CORRUPT && found != PSA_ERROR_DATA_INVALID) {
            return status_of(found);
        }
    }
    for (unsigned place = 0; place < RING; place++) {
        bool newest = (ring->present & 1u << (place + 1) % RING) == 0;
        if ((ring->present & 1u << place) != 0 && newest) {
            ring->current = place;
            ring->type = types[place];
        }
    }
    // All three taken: nothing of ours does that, and no order can be told.
    return ring->present != 0 && ring->current == NO_PLACE ? KEY_STORE_FAILED : KEY_STORE_OK;
}

/* Removes what a broken-off replacement left: everything but `keep` (a place, or NO_PLACE to remove all, the oldest first). */
static key_store_status clear_but(ring_state *ring, unsigned keep)
{
    for (unsigned step = 1; step <= RING; step++) {
        unsigned place = (ring->current == NO_PLACE ? step : ring->current + step) % RING;
        if (place == keep || (ring->present & 1u << place) == 0) {
            continue;
        }
        psa_status_t status = psa_destroy_key(id_at(ring, place));
        if (status != PSA_SUCCESS) {
            return status_of(status);
        }
        ring->present &= ~(1u << place);
    }
    return KEY_STORE_OK;
}

key_store_status key_store_open(void)
{
    key_store_status status = status_of(psa_crypto_init());
    for (unsigned index = 0; status == KEY_STORE_OK && index < SLOT_COUNT; index++) {
        ring_state ring;
        status = look(SLOTS[index], &ring);
        if (status == KEY_STORE_OK) {
            status = clear_but(&ring, ring.current);
        }
    }
    return status;
}

/* Makes or imports (when `key` is not NULL) a key under a free id of the ring, then removes the one before it. */
static key_store_status replace(const char *slot, psa_key_attributes_t *attributes, const uint8_t *key, size_t size)
{
    ring_state ring;
    key_store_status status = look(slot, &ring);
    if (status == KEY_STORE_OK) {
        status = clear_but(&ring, ring.current);
    }
    if (status != KEY_STORE_OK) {
        return status;
    }
    psa_status_t made = PSA_ERROR_ALREADY_EXISTS;
    unsigned start = ring.current == NO_PLACE ? 0 : ring.current + 1;
    // The id after the current one is free, unless a damaged record sits there: then the one after that serves.
    for (unsigned step = 0; made == PSA_ERROR_ALREADY_EXISTS && step < RING; step++) {
        psa_key_id_t id;
        psa_set_key_id(attributes, id_at(&ring, start + step));
        made = key == NULL ? psa_generate_key(attributes, &id) : psa_import_key(attributes, key, size, &id);
    }
    return made == PSA_SUCCESS ? clear_but(&ring, NO_PLACE) : status_of(made);
}

key_store_status key_store_generate(const char *slot)
{
    psa_key_attributes_t attributes = PSA_KEY_ATTRIBUTES_INIT;
    psa_set_key_lifetime(&attributes, PSA_KEY_LIFETIME_PERSISTENT);
    psa_set_key_type(&attributes, PSA_KEY_TYPE_ECC_KEY_PAIR(PSA_ECC_FAMILY_SECP_R1));
    psa_set_key_bits(&attributes, 256);
    psa_set_key_algorithm(&attributes, PSA_ALG_ECDSA(PSA_ALG_SHA_256));
    psa_set_key_usage_flags(&attributes, PSA_KEY_USAGE_SIGN_HASH | PSA_KEY_USAGE_SIGN_MESSAGE);
    return replace(slot, &attributes, NULL, 0);
}

key_store_status key_store_import_psk(const char *slot, const uint8_t *key, size_t size)
{
    if (size < KEY_STORE_PSK_MIN || size > KEY_STORE_PSK_MAX) {
        return KEY_STORE_BAD_ARGUMENT;
    }
    psa_key_attributes_t attributes = PSA_KEY_ATTRIBUTES_INIT;
    psa_set_key_lifetime(&attributes, PSA_KEY_LIFETIME_PERSISTENT);
    psa_set_key_type(&attributes, PSA_KEY_TYPE_DERIVE);
    psa_set_key_algorithm(&attributes, PSA_ALG_TLS12_PSK_TO_MS(PSA_ALG_SHA_256));
    // The TLS engine needs the bytes (see tls-engine.c), so PSA must allow that; nothing hands them to JavaScript.
    psa_set_key_usage_flags(&attributes, PSA_KEY_USAGE_DERIVE | PSA_KEY_USAGE_EXPORT);
    return replace(slot, &attributes, key, size);
}

key_store_status key_store_find(const char *slot, key_store_kind kind, uint32_t *key_id)
{
    ring_state ring;
    key_store_status status = look(slot, &ring);
    if (status != KEY_STORE_OK) {
        return status;
    }
    bool fits = kind == KEY_STORE_PSK ? ring.type == PSA_KEY_TYPE_DERIVE : PSA_KEY_TYPE_IS_ECC_KEY_PAIR(ring.type);
    if (ring.current == NO_PLACE || !fits) {
        return KEY_STORE_MISSING;
    }
    *key_id = id_at(&ring, ring.current);
    return KEY_STORE_OK;
}

key_store_status key_store_has(const char *slot, bool *has)
{
    ring_state ring;
    key_store_status status = look(slot, &ring);
    *has = status == KEY_STORE_OK && ring.current != NO_PLACE;
    return status;
}

key_store_status key_store_destroy(const char *slot)
{
    ring_state ring;
    key_store_status status = look(slot, &ring);
    return status == KEY_STORE_OK ? clear_but(&ring, NO_PLACE) : status;
}

key_store_status key_store_sign(const char *slot, const uint8_t *bytes, size_t size, uint8_t out[KEY_STORE_SIGNATURE_SIZE])
{
    uint32_t id;
    size_t length;
    key_store_status status = key_store_find(slot, KEY_STORE_SIGNING_KEY, &id);
    if (status != KEY_STORE_OK) {
        return status;
    }
    return status_of(psa_sign_message(id, PSA_ALG_ECDSA(PSA_ALG_SHA_256), bytes, size, out, KEY_STORE_SIGNATURE_SIZE, &length));
}

key_store_status key_store_public_key(const char *slot, uint8_t out[KEY_STORE_PUBLIC_KEY_SIZE])
{
    // RFC 5480: SEQUENCE { SEQUENCE { id-ecPublicKey, prime256v1 }, BIT STRING { uncompressed point } }
    static const uint8_t prefix[] = { 0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01,
                                      0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00 };
    uint32_t id;
    size_t length;
    key_store_status status = key_store_find(slot, KEY_STORE_SIGNING_KEY, &id);
    if (status != KEY_STORE_OK) {
        return status;
    }
    memcpy(out, prefix, sizeof prefix);
    return status_of(psa_export_public_key(id, out + sizeof prefix, POINT_SIZE, &length));
}

key_store_status key_store_mac(const char *slot, const uint8_t *bytes, size_t size, uint8_t out[KEY_STORE_MAC_SIZE])
{
    uint8_t key[KEY_STORE_PSK_MAX];
    size_t key_size = 0;
    size_t length;
    uint32_t id;
    psa_key_id_t made = PSA_KEY_ID_NULL;
    key_store_status status = key_store_find(slot, KEY_STORE_PSK, &id);
    if (status != KEY_STORE_OK) {
        return status;
    }
    // A stored key has one algorithm, and this one's is that of TLS: a copy in RAM has the other.
    psa_status_t result = psa_export_key(id, key, sizeof key, &key_size);
    if (result == PSA_SUCCESS) {
        psa_key_attributes_t attributes = PSA_KEY_ATTRIBUTES_INIT;
        psa_set_key_type(&attributes, PSA_KEY_TYPE_HMAC);
        psa_set_key_algorithm(&attributes, PSA_ALG_HMAC(PSA_ALG_SHA_256));
        psa_set_key_usage_flags(&attributes, PSA_KEY_USAGE_SIGN_MESSAGE);
        result = psa_import_key(&attributes, key, key_size, &made);
    }
    mbedtls_platform_zeroize(key, sizeof key);
    if (result == PSA_SUCCESS) {
        result = psa_mac_compute(made, PSA_ALG_HMAC(PSA_ALG_SHA_256), bytes, size, out, KEY_STORE_MAC_SIZE, &length);
        psa_destroy_key(made);
    }
    return status_of(result);
}

/* Only what a device id may have, so that nothing in it means anything to the parser of distinguished names. */
static bool is_common_name(const char *name)
{
    size_t length = strlen(name);
    return length > 0 && length <= COMMON_NAME_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == length;
}

static int wrap_key(mbedtls_pk_context *key, uint32_t id)
{
#if MBEDTLS_VERSION_NUMBER >= 0x04000000
    return mbedtls_pk_wrap_psa(key, id);
#else
    return mbedtls_pk_setup_opaque(key, id);
#endif
}

/* The request is written at the end of the buffer. @returns its length, or an error below 0 */
static int write_request(mbedtls_x509write_csr *request, uint8_t *out, size_t capacity)
{
#if MBEDTLS_VERSION_NUMBER >= 0x04000000
    return mbedtls_x509write_csr_der(request, out, capacity);
#else
    return mbedtls_x509write_csr_der(request, out, capacity, mbedtls_psa_get_random, MBEDTLS_PSA_RANDOM_STATE);
#endif
}

key_store_status key_store_csr(const char *slot, const char *common_name, uint8_t *out, size_t capacity, size_t *size)
{
    char subject[3 + COMMON_NAME_MAX + 1] = "CN=";
    uint32_t id;
    if (!is_common_name(common_name)) {
        return KEY_STORE_BAD_ARGUMENT;
    }
    key_store_status status = key_store_find(slot, KEY_STORE_SIGNING_KEY, &id);
    if (status != KEY_STORE_OK) {
        return status;
    }
    strcat(subject, common_name);

    mbedtls_pk_context key;
    mbedtls_x509write_csr request;
    mbedtls_pk_init(&key);
    mbedtls_x509write_csr_init(&request);
    mbedtls_x509write_csr_set_md_alg(&request, MBEDTLS_MD_SHA256);
    int result = wrap_key(&key, id);
    if (result == 0) {
        mbedtls_x509write_csr_set_key(&request, &key);
        result = mbedtls_x509write_csr_set_subject_name(&request, subject);
    }
    if (result == 0) {
        result = write_request(&request, out, capacity);
    }
    mbedtls_x509write_csr_free(&request);
    mbedtls_pk_free(&key);
    if (is_out_of_memory(result)) {
        return KEY_STORE_NO_MEMORY;
    }
    if (result <= 0) {
        return capacity < KEY_STORE_CSR_MAX ? KEY_STORE_BAD_ARGUMENT : KEY_STORE_FAILED;
    }
    *size = (size_t) result;
    memmove(out, out + capacity - *size, *size);
    return KEY_STORE_OK;
}

key_store_status key_store_random(uint8_t *out, size_t size)
{
    return status_of(psa_generate_random(out, size));
}
