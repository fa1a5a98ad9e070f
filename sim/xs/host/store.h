/* The store that the starting process keeps; see store.c. */
#ifndef HAWSER_XS_STORE_H
#define HAWSER_XS_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum { STORE_GET = 1, STORE_PUT = 2, STORE_DELETE = 3, STORE_LIST = 4, STORE_GET_KEY = 5, STORE_PUT_KEY = 6, STORE_DELETE_KEY = 7 } store_operation;
typedef enum { STORE_OK = 0, STORE_ABSENT = 1, STORE_FAILED = 2 } store_status;

typedef struct {
	store_status status;
	/* The value, the names of a list each ended by a line feed, or what went wrong (starting with the system's name for it); ends with a zero beyond `size`. */
	char* bytes;
	size_t size;
} store_answer;

/* True with --store. */
bool store_there(void);
/* Call before anything is asked. */
void store_open(void);
/* Ends the process when nobody answers. The answer is the caller's, who forgets it. */
store_answer store_ask(store_operation operation, const char* name, const void* value, size_t size);
void store_forget(store_answer* answer);

#endif
