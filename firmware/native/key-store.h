/*
 * Keys in named slots over PSA's persistent storage: NVS on the ESP32 (encrypted with CONFIG_NVS_ENCRYPTION), a directory on Linux
 * (its-directory.c). Private keys and pre-shared keys go in or are made here and never come out.
 *
 * A slot is a fixed small table's entry (key-store.c), so a name that is not in it is an error and never a new key.
 *
 * Power cuts: PSA cannot replace a key under one id, so each slot owns three ids in a ring. A replacement is written whole under the
 * next id (PSA's creation of a persistent key is atomic), and only then the old one is destroyed. At most two ids of a ring are ever taken,
 * and the successor of the other is the newer: `key_store_open` removes the older. So a cut leaves either the old key or the
 * new one, never none.
 */
#ifndef HAWSER_KEY_STORE_H
#define HAWSER_KEY_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
    KEY_STORE_OK = 0,
    /** The slot is empty, or holds a key of the other kind. */
    KEY_STORE_MISSING = 1,
    /** No such slot in the table. */
    KEY_STORE_UNKNOWN_SLOT = 2,
    /** A length or name out of range, or an output buffer too small. */
    KEY_STORE_BAD_ARGUMENT = 3,
    KEY_STORE_FULL = 4,
    KEY_STORE_NO_MEMORY = 5,
    /** Storage, crypto or random numbers failed, or what is stored is damaged. */
    KEY_STORE_FAILED = 6,
} key_store_status;

typedef enum { KEY_STORE_SIGNING_KEY, KEY_STORE_PSK } key_store_kind;

#define KEY_STORE_CSR_MAX 512
#define KEY_STORE_PUBLIC_KEY_SIZE 91
#define KEY_STORE_SIGNATURE_SIZE 64
#define KEY_STORE_MAC_SIZE 32
#define KEY_STORE_PSK_MIN 16
#define KEY_STORE_PSK_MAX 64

/** Starts PSA and finishes replacements that a power cut broke off. Call once before all others. */
key_store_status key_store_open(void);

/** A new P-256 key pair in the slot, replacing what was there. */
key_store_status key_store_generate(const char *slot);
/** PKCS#10 (DER) with subject CN=common_name (1..64 of `[A-Za-z0-9._-]`), signed with ECDSA-SHA256. `*size` gets its length. */
key_store_status key_store_csr(const char *slot, const char *common_name, uint8_t *out, size_t capacity, size_t *size);
/** ECDSA-SHA256 over the bytes: r || s. */
key_store_status key_store_sign(const char *slot, const uint8_t *bytes, size_t size, uint8_t out[KEY_STORE_SIGNATURE_SIZE]);
/** The public key as DER SubjectPublicKeyInfo. */
key_store_status key_store_public_key(const char *slot, uint8_t out[KEY_STORE_PUBLIC_KEY_SIZE]);
/** HMAC-SHA256 over the bytes with a pre-shared key. */
key_store_status key_store_mac(const char *slot, const uint8_t *bytes, size_t size, uint8_t out[KEY_STORE_MAC_SIZE]);
/** Stores a pre-shared key of 16..64 bytes, replacing what was there. */
key_store_status key_store_import_psk(const char *slot, const uint8_t *key, size_t size);
/** Empties the slot; fine when it is empty. */
key_store_status key_store_destroy(const char *slot);
/** Whether the slot holds a key of either kind. */
key_store_status key_store_has(const char *slot, bool *has);
/** The PSA key id behind a slot, for tls_engine_use_key and tls_engine_use_psk. */
key_store_status key_store_find(const char *slot, key_store_kind kind, uint32_t *key_id);
/** Cryptographically strong random bytes. */
key_store_status key_store_random(uint8_t *out, size_t size);

#endif
