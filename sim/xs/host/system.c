/* The process: its arguments and end, its three streams, its signals, its clocks and its random numbers. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "xsmc.h"
#include "mc.xs.h"

#include "host.h"

/* A line longer than this on standard input is cut into pieces: the protocol has none so long. */
#define LINE_BYTES 65536

typedef struct line_reader {
	/* All stay reachable from here until the process ends. */
	struct line_reader* next;
	struct host_watch* watch;
	int descriptor;
	xsMachine* machine;
	xsSlot handler;
	size_t size;
	char line[LINE_BYTES];
} line_reader;

static line_reader* gx_readers = NULL;

static line_reader* new_reader(xsMachine* the, const xsSlot* handler)
{
	line_reader* reader = calloc(1, sizeof(line_reader));
	reader->machine = the;
	reader->handler = *handler;
	xsRemember(reader->handler);
	reader->next = gx_readers;
	gx_readers = reader;
	return reader;
}

/* xs_arguments() -> array of strings: what followed the main module on the command line. */
void xs_arguments(xsMachine* the)
{
	xsmcVars(1);
	xsmcSetNewArray(xsResult, 0);
	for (int index = 0; index < gx_options.argument_count; index++) {
		char* text = host_read_text(gx_options.arguments[index], strlen(gx_options.arguments[index]));
		xsmcSetString(xsVar(0), text);
		free(text);
		xsmcSetIndex(xsResult, (xsIndex)index, xsVar(0));
	}
}

/* xs_exit(code): the loop stops once the running callback has returned. */
void xs_exit(xsMachine* the)
{
	host_stop_loop(xsmcToInteger(xsArg(0)));
}

static void write_line(xsMachine* the, FILE* file)
{
	host_write_text(file, xsmcToString(xsArg(0)));
	fputc('\n', file);
	fflush(file);
}

/* xs_print(text): one line on standard output. */
void xs_print(xsMachine* the)
{
	write_line(the, stdout);
}

/* xs_log(text): one line on standard error. */
void xs_log(xsMachine* the)
{
	write_line(the, stderr);
}

/* xs_monotonic_ms() -> number */
void xs_monotonic_ms(xsMachine* the)
{
	xsmcSetNumber(xsResult, host_monotonic_ms());
}

/* xs_wall_ms() -> number */
void xs_wall_ms(xsMachine* the)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	xsmcSetNumber(xsResult, (double)now.tv_sec * 1000.0 + (double)(now.tv_nsec / 1000000));
}

/* xs_random(sizeBytes) -> ArrayBuffer from getrandom(2) */
void xs_random(xsMachine* the)
{
	int size = xsmcToInteger(xsArg(0));
	unsigned char bytes[256];
	if (size < 0)
		xsRangeError("a negative number of random bytes");
	xsmcSetArrayBuffer(xsResult, NULL, size);
	for (int offset = 0; offset < size; offset += (int)sizeof(bytes)) {
		int part = size - offset < (int)sizeof(bytes) ? size - offset : (int)sizeof(bytes);
		/* Up to 256 bytes come whole (getrandom(2)). */
		if (getrandom(bytes, (size_t)part, 0) != part)
			xsUnknownError("getrandom: %s", strerror(errno));
		xsmcSetArrayBufferData(xsResult, offset, bytes, part);
	}
}

static void call_with_text(xsMachine* machine, xsSlot* handler, const char* text)
{
	xsBeginHost(machine);
	xsmcVars(2);
	xsVar(0) = xsAccess(*handler);
	if (text)
		xsmcSetString(xsVar(1), (char*)text);
	xsCallFunction1(xsVar(0), xsUndefined, xsVar(1));
	xsEndHost(machine);
	host_run_jobs(machine);
}

static void emit_lines(line_reader* reader)
{
	char* newline;
	while ((newline = memchr(reader->line, '\n', reader->size)) || reader->size == LINE_BYTES) {
		size_t length = newline ? (size_t)(newline - reader->line) : reader->size;
		char* text = host_read_text(reader->line, length);
		size_t taken = newline ? length + 1 : length;
		memmove(reader->line, reader->line + taken, reader->size - taken);
		reader->size -= taken;
		call_with_text(reader->machine, &reader->handler, text);
		free(text);
	}
}

static void input_ready(void* data, short events)
{
	line_reader* reader = data;
	ssize_t size = read(STDIN_FILENO, reader->line + reader->size, LINE_BYTES - reader->size);
	(void)events;
	if (size < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (size > 0) {
		reader->size += (size_t)size;
		emit_lines(reader);
		return;
	}
	host_unwatch(reader->watch);
	if (reader->size) {
		char* text = host_read_text(reader->line, reader->size);
		call_with_text(reader->machine, &reader->handler, text);
		free(text);
	}
	call_with_text(reader->machine, &reader->handler, NULL);
}

/* xs_on_line(handler): handler(line) for each line of standard input, handler() at its end. Keeps the process alive until then. */
void xs_on_line(xsMachine* the)
{
	line_reader* reader = new_reader(the, &xsArg(0));
	reader->watch = host_watch(STDIN_FILENO, POLLIN, true, input_ready, reader);
}

static void signal_ready(void* data, short events)
{
	line_reader* reader = data;
	struct signalfd_siginfo info;
	(void)events;
	if (read(reader->descriptor, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	call_with_text(reader->machine, &reader->handler, info.ssi_signo == SIGUSR1 ? "SIGUSR1" : info.ssi_signo == SIGTERM ? "SIGTERM" : "SIGINT");
}

/* xs_on_signal(handler): handler(name) on SIGUSR1, SIGTERM and SIGINT, which then do not end the process by themselves. */
void xs_on_signal(xsMachine* the)
{
	sigset_t signals;
	line_reader* reader = new_reader(the, &xsArg(0));
	sigemptyset(&signals);
	sigaddset(&signals, SIGUSR1);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	reader->descriptor = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
	reader->watch = host_watch(reader->descriptor, POLLIN, false, signal_ready, reader);
}
