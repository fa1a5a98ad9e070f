/*
 * The program's records: with --store kept by the process behind it (store.c), else one file a key in --storage, named `r-<key>`.
 * A put writes beside, syncs, renames and syncs the directory, so it is atomic and durable when it returns; a temporary file left by a
 * kill is ignored and overwritten.
 */
/* At 32 bits, ext4 gives positions in a directory that a smaller offset cannot hold: QEMU passes them on, and listing would end there. */
#define _FILE_OFFSET_BITS 64
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "xsmc.h"
#include "mc.xs.h"

#include "host.h"
#include "store.h"

#define KEY_CHARACTERS 15
#define REASON_BYTES 200

/* Throws an error whose message starts with the system's name for it. */
static void fail(xsMachine* the, const char* what)
{
	const char* name = strerrorname_np(errno);
	xsUnknownError("%s: %s", name ? name : "EIO", what);
}

static void key_file(xsMachine* the, char prefix, char name[KEY_CHARACTERS + 3])
{
	char key[64];
	xsmcToStringBuffer(xsArg(0), key, sizeof(key));
	size_t length = strlen(key);
	if (length < 1 || length > KEY_CHARACTERS || strspn(key, "abcdefghijklmnopqrstuvwxyz0123456789._-") != length)
		xsUnknownError("EINVAL: a key has 1 to 15 characters of a-z 0-9 . _ -");
	snprintf(name, KEY_CHARACTERS + 3, "%c-%.15s", prefix, key);
}

/* Throws what went wrong in the store. */
static store_answer ask_store(xsMachine* the, store_operation operation, const char* key, const void* bytes, size_t size)
{
	store_answer answer = store_ask(operation, key, bytes, size);
	if (answer.status == STORE_FAILED) {
		char reason[REASON_BYTES];
		snprintf(reason, sizeof(reason), "%s", answer.bytes);
		store_forget(&answer);
		xsUnknownError("%s", reason);
	}
	return answer;
}

static int open_directory(xsMachine* the)
{
	if (!gx_options.storage_directory)
		xsUnknownError("ENOENT: the host runs without --storage");
	int directory = open(gx_options.storage_directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (directory < 0)
		fail(the, "the storage directory");
	return directory;
}

/* xs_storage_get(key) -> ArrayBuffer or undefined */
void xs_storage_get(xsMachine* the)
{
	char name[KEY_CHARACTERS + 3];
	struct stat status;
	key_file(the, 'r', name);
	if (store_there()) {
		store_answer answer = ask_store(the, STORE_GET, name + 2, NULL, 0);
		if (answer.status == STORE_OK)
			xsmcSetArrayBuffer(xsResult, answer.bytes, (xsIntegerValue)answer.size);
		store_forget(&answer);
		return;
	}
	int directory = open_directory(the);
	int file = openat(directory, name, O_RDONLY | O_CLOEXEC);
	int error = errno;
	close(directory);
	if (file < 0) {
		errno = error;
		if (error != ENOENT)
			fail(the, name);
		return;
	}
	char* bytes = NULL;
	bool whole = fstat(file, &status) == 0 && (bytes = malloc((size_t)status.st_size + 1)) && read(file, bytes, (size_t)status.st_size) == status.st_size;
	error = errno;
	close(file);
	if (whole)
		xsmcSetArrayBuffer(xsResult, bytes, (xsIntegerValue)status.st_size);
	free(bytes);
	errno = error;
	if (!whole)
		fail(the, name);
}

static bool write_all(int file, const char* bytes, size_t size)
{
	while (size) {
		ssize_t written = write(file, bytes, size);
		if (written < 0)
			return false;
		bytes += written;
		size -= (size_t)written;
	}
	return fsync(file) == 0;
}

/* xs_storage_put(key, bytes) */
void xs_storage_put(xsMachine* the)
{
	char name[KEY_CHARACTERS + 3];
	char temporary[KEY_CHARACTERS + 3];
	void* bytes;
	xsUnsignedValue size;
	key_file(the, 'r', name);
	key_file(the, 't', temporary);
	xsmcGetBufferReadable(xsArg(1), &bytes, &size);
	if (store_there()) {
		store_answer answer = ask_store(the, STORE_PUT, name + 2, bytes, size);
		store_forget(&answer);
		return;
	}
	int directory = open_directory(the);
	int file = openat(directory, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	bool done = file >= 0 && write_all(file, bytes, size) && renameat(directory, temporary, directory, name) == 0 && fsync(directory) == 0;
	int error = errno;
	if (file >= 0)
		close(file);
	close(directory);
	errno = error;
	if (!done)
		fail(the, name);
}

/* xs_storage_delete(key): nothing happens when it is absent. */
void xs_storage_delete(xsMachine* the)
{
	char name[KEY_CHARACTERS + 3];
	key_file(the, 'r', name);
	if (store_there()) {
		store_answer answer = ask_store(the, STORE_DELETE, name + 2, NULL, 0);
		store_forget(&answer);
		return;
	}
	int directory = open_directory(the);
	bool done = (unlinkat(directory, name, 0) == 0 || errno == ENOENT) && fsync(directory) == 0;
	int error = errno;
	close(directory);
	errno = error;
	if (!done)
		fail(the, name);
}

/* xs_storage_list() -> array of all keys, in no order */
void xs_storage_list(xsMachine* the)
{
	struct dirent* item;
	xsIndex count = 0;
	xsmcVars(1);
	xsmcSetNewArray(xsResult, 0);
	if (store_there()) {
		store_answer answer = ask_store(the, STORE_LIST, "", NULL, 0);
		for (char* name = answer.bytes, *end; (end = strchr(name, '\n')); name = end + 1) {
			*end = 0;
			xsmcSetString(xsVar(0), name);
			xsmcSetIndex(xsResult, count++, xsVar(0));
		}
		store_forget(&answer);
		return;
	}
	DIR* directory = fdopendir(open_directory(the));
	while (errno = 0, (item = readdir(directory))) {
		if (item->d_name[0] != 'r' || item->d_name[1] != '-')
			continue;
		xsmcSetString(xsVar(0), item->d_name + 2);
		xsmcSetIndex(xsResult, count++, xsVar(0));
	}
	int error = errno;
	closedir(directory);
	errno = error;
	if (error)
		fail(the, "the list of records");
}
