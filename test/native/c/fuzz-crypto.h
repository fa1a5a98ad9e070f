/*
 * What stands between the engine and cryptography while fuzzing (linked with --wrap=psa_aead_encrypt,--wrap=psa_aead_decrypt).
 * While recording, records are decrypted for real and their plaintext is kept; while replaying, a record "decrypts" to its own bytes, so that
 * mutations reach the parsers behind the encryption and no tag stops them.
 */
#ifndef HAWSER_FUZZ_CRYPTO_H
#define HAWSER_FUZZ_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Starts the engine's random numbers anew: every run draws the same. */
void fuzz_crypto_reset(void);
/** From now on the fuzzer's own decryption: bytes as they are. */
void fuzz_crypto_replay(void);
bool fuzz_crypto_replays(void);
/** Which recording is replayed: what fuzz-memo.c remembers of the engine's own keys holds for one only. */
extern unsigned fuzz_crypto_scope;
/** The recordings have been replayed as they are: from now on nothing else carries a genuine signature. */
void fuzz_memo_learned(void);
/** While recording: told of each record decrypted. */
extern void (*fuzz_crypto_decrypted)(const uint8_t *ciphertext, size_t ciphertext_size, const uint8_t *plaintext, size_t size);

#endif
