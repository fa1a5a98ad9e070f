/*
 * Included before every C file of an ESP32 build (manifest.json): ours see Mbed TLS as ESP-IDF configures it. Its own build system gives these
 * definitions to its components; Moddable's makefile does not know them.
 */
#ifndef HAWSER_MBEDTLS_SETTINGS_H
#define HAWSER_MBEDTLS_SETTINGS_H

#include "sdkconfig.h"

#define MBEDTLS_CONFIG_FILE "mbedtls/esp_config.h"
#define TF_PSA_CRYPTO_USER_CONFIG_FILE "mbedtls/esp_config.h"
/* CMake sets it where the nvs_flash component is there; with it PSA keeps its persistent keys in NVS. */
#define ESP_PSA_ITS_AVAILABLE

/* Without these the firmware would build and then fail in the field. */
#if !defined(CONFIG_MBEDTLS_X509_CSR_WRITE_C) || !defined(CONFIG_MBEDTLS_HAVE_TIME_DATE) || !defined(CONFIG_MBEDTLS_SSL_PROTO_TLS1_3) || !defined(CONFIG_MBEDTLS_PSK_MODES)
#error "hawser: set SDKCONFIGPATH to a folder with hawser's sdkconfig.defaults (docs/firmware.md, step 4)"
#endif

#endif
