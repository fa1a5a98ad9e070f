/*
 * A store kept by the process that started this one, over the descriptor of --store: records and, in a host built for it, keys. Each call is
 * a question and a wait for its answer, so a put is as atomic and durable when it returns as that process makes it.
 *
 * Little-endian. Question: operation (1 byte), length of the name (1), of the value (4), name, value. Answer: 0, or 1 for nothing there, or
 * 2 for failed (1 byte), length (4), then the value or what went wrong. `sim/xs/store-server.ts` is the other side.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host.h"
#include "store.h"

#define HEADER_BYTES 6
#define ANSWER_BYTES 5
#define VALUE_LIMIT (1u << 24)

/* What was told cannot be kept any more: nothing may go on as if it could. */
static void store_gone(void)
{
	fprintf(stderr, "hawser-xs: the process that keeps the store has gone\n");
	_exit(HOST_EXIT_STORE_GONE);
}

static void send_all(const void* bytes, size_t size)
{
	const char* at = bytes;
	while (size) {
		ssize_t written = write(gx_options.store_descriptor, at, size);
		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			store_gone();
		at += written;
		size -= (size_t)written;
	}
}

static void receive_all(void* bytes, size_t size)
{
	char* at = bytes;
	while (size) {
		ssize_t taken = read(gx_options.store_descriptor, at, size);
		if (taken < 0 && errno == EINTR)
			continue;
		if (taken <= 0)
			store_gone();
		at += taken;
		size -= (size_t)taken;
	}
}

static void put_u32(unsigned char* out, uint32_t value)
{
	for (int index = 0; index < 4; index++)
		out[index] = (unsigned char)(value >> (8 * index));
}

static uint32_t get_u32(const unsigned char* bytes)
{
	return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

bool store_there(void)
{
	return gx_options.store_descriptor > 0;
}

void store_open(void)
{
	int flags = store_there() ? fcntl(gx_options.store_descriptor, F_GETFL) : 0;
	if (flags < 0 || (store_there() && fcntl(gx_options.store_descriptor, F_SETFL, flags & ~O_NONBLOCK) < 0)) {
		fprintf(stderr, "hawser-xs: --store is not an open descriptor\n");
		exit(HOST_EXIT_USAGE);
	}
}

store_answer store_ask(store_operation operation, const char* name, const void* value, size_t size)
{
	unsigned char header[HEADER_BYTES] = { (unsigned char)operation, (unsigned char)strlen(name) };
	unsigned char answer[ANSWER_BYTES];
	put_u32(header + 2, (uint32_t)size);
	send_all(header, sizeof(header));
	send_all(name, strlen(name));
	send_all(value, size);
	receive_all(answer, sizeof(answer));
	store_answer result = { .status = (store_status)answer[0], .size = get_u32(answer + 1) };
	/* One byte more: what went wrong is text. */
	if (result.size > VALUE_LIMIT || !(result.bytes = calloc(1, result.size + 1)))
		store_gone();
	receive_all(result.bytes, result.size);
	return result;
}

void store_forget(store_answer* answer)
{
	/* It may have been a key. */
	explicit_bzero(answer->bytes, answer->size);
	free(answer->bytes);
	answer->bytes = NULL;
}
