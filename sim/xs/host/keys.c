/* Where the native key store keeps its keys: `--keys`. Only in a host that is built with it, and not with `--store` for keys (its-store.c). */
#if defined(HAWSER_NATIVE_KEYS) && !defined(HAWSER_STORE_KEYS)
#include <stdio.h>
#include <stdlib.h>

#include "its-directory.h"

#include "host.h"

void host_open_keys(void)
{
	if (gx_options.keys_directory && !its_directory_set(gx_options.keys_directory)) {
		fprintf(stderr, "hawser-xs: the directory for keys cannot be used: %s\n", gx_options.keys_directory);
		exit(HOST_EXIT_USAGE);
	}
}
#else
#include "host.h"

void host_open_keys(void)
{
	/* Nothing to open. */
}
#endif
