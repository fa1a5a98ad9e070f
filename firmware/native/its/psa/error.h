/* Where Mbed TLS brings no storage of its own it asks for this name; the error codes are in its own headers. */
#include "psa/crypto_types.h"
#include "psa/crypto_values.h"
