/* The tables that the build generates from the C sources: every `void xs_...(xsMachine *the)` and `void xs_...(void *data)`. */
#ifndef HAWSER_XS_NATIVES_H
#define HAWSER_XS_NATIVES_H

struct xsMachineRecord;
struct sxMachine;

typedef struct {
	const char* name;
	void (*function)(struct xsMachineRecord* the);
} host_native_function;

typedef struct {
	const char* name;
	void (*destructor)(void* data);
} host_native_destructor;

/* Both end with an entry without a name. */
extern const host_native_function gx_native_functions[];
extern const host_native_destructor gx_native_destructors[];

#endif
