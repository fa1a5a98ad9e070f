/*
 * hawser-xs: a small host that runs a device program on the XS engine under Linux.
 *
 * One process, one machine, one thread: poll(2) drives timers, TCP sockets, standard input and signals; after each callback into
 * JavaScript the promise jobs run until none is left. JavaScript reaches the host through `native("xs_...")`, as device code does.
 */
#ifndef HAWSER_XS_HOST_H
#define HAWSER_XS_HOST_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct xsMachineRecord;
struct sxMachine;

/* How the process ends when it is not the program that ends it. `sim/xs/xs-run.ts` gives them names. */
enum {
	HOST_EXIT_USAGE = 64,
	HOST_EXIT_HEAP_FULL = 81,
	HOST_EXIT_STACK_OVERFLOW = 82,
	HOST_EXIT_KEYS_FULL = 83,
	HOST_EXIT_UNCAUGHT_EXCEPTION = 84,
	HOST_EXIT_UNHANDLED_REJECTION = 85,
	HOST_EXIT_ENGINE_FAILED = 86,
	HOST_EXIT_MODULE_FAILED = 87,
	HOST_EXIT_STORE_GONE = 88,
};

/* What the command line asks for. Sizes of 0 mean: the heap may grow. */
typedef struct {
	long chunk_bytes;
	long slot_count;
	long stack_slots;
	bool clone;
	bool rom;
	bool stress;
	const char* main_module;
	const char** preload;
	int preload_count;
	const char** module_names;
	const char** module_paths;
	int module_count;
	const char* storage_directory;
	const char* keys_directory;
	/* 0: none. */
	int store_descriptor;
	char** arguments;
	int argument_count;
} host_options;

extern host_options gx_options;

/* machine.c */
struct sxMachine* host_create_machine(void);
void host_delete_machine(struct sxMachine* machine);
/* Runs promise jobs until none is left; ends the process on an unhandled rejection. */
void host_run_jobs(void* machine);

/* modules.c */
void host_prepare_rom(struct sxMachine* root);
/* Starts a module; the process ends with HOST_EXIT_MODULE_FAILED when it cannot be loaded or throws while it is evaluated. */
void host_run_module(struct sxMachine* machine, const char* specifier);
void host_free_rom(void);
/* Bytes of the instruction at `code`. */
size_t host_code_step(const void* code);

/* held.c */
/* A callback into JavaScript is over, with all promise jobs that came of it. */
void host_callback_over(struct sxMachine* machine);

/* natives.c */
void host_define_natives(struct sxMachine* machine);

/* ids.c is generated: the ids that native code uses, interned when the machine is made. */
void host_intern_ids(struct xsMachineRecord* machine);

/* loop.c */
typedef void (*host_poll_callback)(void* data, short events);
/* Watches a descriptor; `events` may be changed later, 0 watches for nothing. Returns its entry, valid until host_unwatch. */
struct host_watch;
struct host_watch* host_watch(int descriptor, short events, bool keeps_alive, host_poll_callback callback, void* data);
void host_set_events(struct host_watch* watch, short events);
void host_unwatch(struct host_watch* watch);
double host_monotonic_ms(void);
void host_run_loop(struct xsMachineRecord* machine);
void host_stop_loop(int exit_code);

/* timers.c */
/* Milliseconds until the next timer, rounded up; -1 when there is none. */
int host_next_timer_ms(void);
void host_run_timers(struct xsMachineRecord* machine);
void host_close_timers(struct xsMachineRecord* machine);

/* keys.c */
void host_open_keys(void);

/* text.c */
void host_write_text(FILE* file, const char* text);
/* The caller frees it. */
char* host_read_text(const char* text, size_t size);

/* tcp.c */
void host_close_sockets(struct xsMachineRecord* machine);

#endif
