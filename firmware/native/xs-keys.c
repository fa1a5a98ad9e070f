/* JavaScript's hands on the key store; xs-natives.h lists them. */
#include "xs-natives.h"

#include <string.h>

#include "key-store.h"

/* A common name has at most 64 characters, a slot 15; what is longer is cut to nothing, which nothing accepts. */
#define TEXT_SIZE 80
#define RANDOM_MAX 4096

static void copy_text(xsMachine *the, int index, char text[TEXT_SIZE])
{
    const char *found = xsmcToString(xsArg(index));
    size_t size = strlen(found);
    memcpy(text, found, size < TEXT_SIZE ? size : 0);
    text[size < TEXT_SIZE ? size : 0] = '\0';
}

/* Bytes when all went well, else the status. */
static void set_bytes(xsMachine *the, key_store_status status, uint8_t *bytes, size_t size)
{
    if (status == KEY_STORE_OK) {
        xsmcSetArrayBuffer(xsResult, bytes, (xsIntegerValue) size);
    } else {
        xsmcSetInteger(xsResult, status);
    }
}

void xs_keys_open(xsMachine *the)
{
    xsmcSetInteger(xsResult, key_store_open());
}

void xs_keys_generate(xsMachine *the)
{
    char slot[TEXT_SIZE];
    copy_text(the, 0, slot);
    xsmcSetInteger(xsResult, key_store_generate(slot));
}

void xs_keys_csr(xsMachine *the)
{
    char slot[TEXT_SIZE], common_name[TEXT_SIZE];
    uint8_t request[KEY_STORE_CSR_MAX];
    size_t size = 0;
    copy_text(the, 0, slot);
    copy_text(the, 1, common_name);
    key_store_status status = key_store_csr(slot, common_name, request, sizeof request, &size);
    set_bytes(the, status, request, size);
}

void xs_keys_sign(xsMachine *the)
{
    char slot[TEXT_SIZE];
    uint8_t signature[KEY_STORE_SIGNATURE_SIZE];
    void *bytes;
    xsUnsignedValue size;
    copy_text(the, 0, slot);
    xsmcGetBufferReadable(xsArg(1), &bytes, &size);
    set_bytes(the, key_store_sign(slot, bytes, size, signature), signature, sizeof signature);
}

void xs_keys_public_key(xsMachine *the)
{
    char slot[TEXT_SIZE];
    uint8_t key[KEY_STORE_PUBLIC_KEY_SIZE];
    copy_text(the, 0, slot);
    set_bytes(the, key_store_public_key(slot, key), key, sizeof key);
}

void xs_keys_mac(xsMachine *the)
{
    char slot[TEXT_SIZE];
    uint8_t mac[KEY_STORE_MAC_SIZE];
    void *bytes;
    xsUnsignedValue size;
    copy_text(the, 0, slot);
    xsmcGetBufferReadable(xsArg(1), &bytes, &size);
    set_bytes(the, key_store_mac(slot, bytes, size, mac), mac, sizeof mac);
}

void xs_keys_import_psk(xsMachine *the)
{
    char slot[TEXT_SIZE];
    void *bytes;
    xsUnsignedValue size;
    copy_text(the, 0, slot);
    xsmcGetBufferReadable(xsArg(1), &bytes, &size);
    xsmcSetInteger(xsResult, key_store_import_psk(slot, bytes, size));
}

void xs_keys_destroy(xsMachine *the)
{
    char slot[TEXT_SIZE];
    copy_text(the, 0, slot);
    xsmcSetInteger(xsResult, key_store_destroy(slot));
}

void xs_keys_has(xsMachine *the)
{
    char slot[TEXT_SIZE];
    bool has;
    copy_text(the, 0, slot);
    key_store_status status = key_store_has(slot, &has);
    if (status == KEY_STORE_OK) {
        xsmcSetBoolean(xsResult, has);
    } else {
        xsmcSetInteger(xsResult, status);
    }
}

void xs_keys_random(xsMachine *the)
{
    xsIntegerValue size = xsmcToInteger(xsArg(0));
    if (size < 0 || size > RANDOM_MAX) {
        xsRangeError("random bytes: 0 to 4096");
    }
    xsmcSetArrayBuffer(xsResult, NULL, size);
    key_store_status status = key_store_random(xsmcToArrayBuffer(xsResult), (size_t) size);
    if (status != KEY_STORE_OK) {
        xsmcSetInteger(xsResult, status);
    }
}
