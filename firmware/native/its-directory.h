/*
 * PSA Internal Trusted Storage as files of a directory, for hosts with a file system (never on the ESP32, where it is NVS).
 * Build Mbed TLS with MBEDTLS_PSA_CRYPTO_STORAGE_C and without MBEDTLS_PSA_ITS_FILE_C, and link its-directory.c.
 */
#ifndef HAWSER_ITS_DIRECTORY_H
#define HAWSER_ITS_DIRECTORY_H

#include <stdbool.h>

/**
 * Where the keys of this process live; made with mode 0700 when absent. Call before key_store_open.
 * Each record is written beside, synced, renamed, and the directory synced. @returns false when it cannot be made or the path is too long.
 */
bool its_directory_set(const char *path);

#endif
