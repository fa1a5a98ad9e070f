/*
 * TCP clients. One handler a socket, called as handler(event, value):
 *  0 opened; 1 data (ArrayBuffer, at most one Ethernet segment, as lwIP hands them out); 2 room to write again;
 *  3 ended (name of the error, or undefined when the peer closed). Nothing comes after 3, nor after xs_tcp_close.
 * Names are resolved with getaddrinfo, which blocks: good enough for a test host. Of several addresses one after the other is tried until TCP is up,
 * IPv4 first, as on the device.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "xsmc.h"
#include "mc.xs.h"

#include "host.h"

#define SEGMENT_BYTES 1436
/* Segments read in a row before others get their turn. */
#define SEGMENTS_A_TURN 16
/* Of one name. */
#define MOST_ADDRESSES 16

enum { TCP_OPENED = 0, TCP_DATA = 1, TCP_WRITABLE = 2, TCP_ENDED = 3 };

typedef struct tcp_address {
	struct sockaddr_storage address;
	socklen_t size;
	int family;
} tcp_address;

typedef struct tcp_socket {
	struct tcp_socket* next;
	int id;
	int descriptor;
	bool connecting;
	bool paused;
	/* A write took less than all. */
	bool owes_writable;
	bool closed;
	/* Its callback is running: whoever closes it leaves the freeing to socket_ready. */
	bool busy;
	/* Not tried yet, until TCP is up; the list is then freed. */
	tcp_address* addresses;
	size_t address_count;
	size_t next_address;
	/* Why the first address failed, or there was none: reported from the loop, not from xs_tcp_open. */
	const char* error;
	struct host_watch* watch;
	xsMachine* machine;
	xsSlot handler;
} tcp_socket;

static tcp_socket* gx_sockets = NULL;
static int gx_last_socket = 0;

static tcp_socket* find_socket(int id)
{
	tcp_socket* entry = gx_sockets;
	while (entry && entry->id != id)
		entry = entry->next;
	return entry;
}

static void close_socket(xsMachine* the, tcp_socket* entry)
{
	tcp_socket** address = &gx_sockets;
	if (entry->closed)
		return;
	entry->closed = true;
	while (*address != entry)
		address = &(*address)->next;
	*address = entry->next;
	if (entry->watch)
		host_unwatch(entry->watch);
	if (entry->descriptor >= 0)
		close(entry->descriptor);
	free(entry->addresses);
	entry->addresses = NULL;
	xsForget(entry->handler);
}

/* Calls the handler; the socket may be closed when it returns. */
static void report(tcp_socket* entry, int event, const void* data, ssize_t size)
{
	xsMachine* machine = entry->machine;
	xsBeginHost(machine);
	xsmcVars(3);
	xsVar(0) = xsAccess(entry->handler);
	if (event == TCP_ENDED)
		close_socket(the, entry);
	xsmcSetInteger(xsVar(1), event);
	if (event == TCP_DATA)
		xsmcSetArrayBuffer(xsVar(2), (void*)data, (xsIntegerValue)size);
	else if (data)
		xsmcSetString(xsVar(2), (char*)data);
	xsCallFunction2(xsVar(0), xsUndefined, xsVar(1), xsVar(2));
	xsEndHost(machine);
	host_run_jobs(machine);
}

static const char* error_name(int error)
{
	const char* name = strerrorname_np(error);
	return name ? name : "EIO";
}

static void read_available(tcp_socket* entry)
{
	char buffer[SEGMENT_BYTES];
	for (int count = 0; count < SEGMENTS_A_TURN && !entry->closed && !entry->paused; count++) {
		ssize_t size = recv(entry->descriptor, buffer, sizeof(buffer), 0);
		if (size > 0)
			report(entry, TCP_DATA, buffer, size);
		else if (size == 0)
			report(entry, TCP_ENDED, NULL, 0);
		else if (errno == EAGAIN || errno == EINTR)
			return;
		else
			report(entry, TCP_ENDED, error_name(errno), 0);
	}
}

/* One that neither reads nor writes is not watched at all: poll would tell of its peer's end again and again. */
static void watch_socket(tcp_socket* entry)
{
	host_set_events(entry->watch, (short)((entry->paused ? 0 : POLLIN) | (entry->owes_writable ? POLLOUT : 0)));
}

static void socket_ready(void* data, short events);

/* Begins with the next address that takes connect() at all; false when there is none left. */
static bool try_next_address(tcp_socket* entry)
{
	const int on = 1;
	while (entry->next_address < entry->address_count) {
		const tcp_address* next = &entry->addresses[entry->next_address++];
		int descriptor = socket(next->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (descriptor >= 0) {
			setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
			if (connect(descriptor, (const struct sockaddr*)&next->address, next->size) == 0 || errno == EINPROGRESS) {
				entry->descriptor = descriptor;
				entry->watch = host_watch(descriptor, POLLOUT, true, socket_ready, entry);
				return true;
			}
		}
		if (!entry->error)
			entry->error = error_name(errno);
		if (descriptor >= 0)
			close(descriptor);
	}
	return false;
}

static void finish_connect(tcp_socket* entry)
{
	int error = 0;
	socklen_t size = sizeof(error);
	getsockopt(entry->descriptor, SOL_SOCKET, SO_ERROR, &error, &size);
	if (error) {
		if (!entry->error)
			entry->error = error_name(error);
		host_unwatch(entry->watch);
		close(entry->descriptor);
		entry->watch = NULL;
		entry->descriptor = -1;
		if (!try_next_address(entry))
			report(entry, TCP_ENDED, entry->error, 0);
		return;
	}
	entry->connecting = false;
	free(entry->addresses);
	entry->addresses = NULL;
	watch_socket(entry);
	report(entry, TCP_OPENED, NULL, 0);
}

static void socket_ready(void* data, short events)
{
	tcp_socket* entry = data;
	entry->busy = true;
	if (entry->connecting && !entry->addresses)
		report(entry, TCP_ENDED, entry->error, 0);
	else if (entry->connecting)
		finish_connect(entry);
	else {
		/* What the peer sent before it reset or closed is read first: an alert may be in it. */
		if (events & (POLLIN | POLLHUP | POLLERR))
			read_available(entry);
		if (!entry->closed && (events & POLLOUT)) {
			entry->owes_writable = false;
			watch_socket(entry);
			report(entry, TCP_WRITABLE, NULL, 0);
		}
	}
	entry->busy = false;
	if (entry->closed)
		free(entry);
}

/* Appends a name's addresses of one family. */
static void add_addresses(tcp_socket* entry, const char* host, const char* port, int family)
{
	struct addrinfo hints = { .ai_family = family, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
	struct addrinfo* found = NULL;
	if (getaddrinfo(host, port, &hints, &found))
		return;
	for (struct addrinfo* each = found; each && entry->address_count < MOST_ADDRESSES; each = each->ai_next) {
		tcp_address* next = &entry->addresses[entry->address_count++];
		memcpy(&next->address, each->ai_addr, each->ai_addrlen);
		next->size = each->ai_addrlen;
		next->family = each->ai_family;
	}
	freeaddrinfo(found);
}

/* The first `turn` addresses, modulo how many there are, go behind the others. */
static void rotate_addresses(tcp_socket* entry, unsigned int turn)
{
	size_t count = entry->address_count;
	tcp_address* rotated = calloc(MOST_ADDRESSES, sizeof(tcp_address));
	for (size_t index = 0; index < count; index++)
		rotated[index] = entry->addresses[(index + turn % count) % count];
	free(entry->addresses);
	entry->addresses = rotated;
}

/* xs_tcp_open(host, port, handler, turn) -> id; begins with the name's address number `turn`; never throws for what the network does. */
void xs_tcp_open(xsMachine* the)
{
	char host[256];
	char port[16];
	tcp_socket* entry;
	xsmcToStringBuffer(xsArg(0), host, sizeof(host));
	snprintf(port, sizeof(port), "%d", (int)xsmcToInteger(xsArg(1)));
	entry = calloc(1, sizeof(tcp_socket));
	entry->id = ++gx_last_socket;
	entry->descriptor = -1;
	entry->connecting = true;
	entry->machine = the;
	entry->handler = xsArg(2);
	xsRemember(entry->handler);
	entry->addresses = calloc(MOST_ADDRESSES, sizeof(tcp_address));
	add_addresses(entry, host, port, AF_INET);
	add_addresses(entry, host, port, AF_INET6);
	if (entry->address_count == 0)
		entry->error = "ENOTFOUND";
	else
		rotate_addresses(entry, xsmcArgc > 3 ? (unsigned int)xsmcToInteger(xsArg(3)) : 0);
	if (!try_next_address(entry)) {
		free(entry->addresses);
		entry->addresses = NULL;
		entry->descriptor = open("/dev/null", O_RDWR | O_CLOEXEC);
		entry->watch = host_watch(entry->descriptor, POLLOUT, true, socket_ready, entry);
	}
	entry->next = gx_sockets;
	gx_sockets = entry;
	xsmcSetInteger(xsResult, entry->id);
}

/* xs_tcp_write(id, bytes) -> how many bytes the system took; when it is less, event 2 follows. 0 for a socket that has ended. */
void xs_tcp_write(xsMachine* the)
{
	tcp_socket* entry = find_socket(xsmcToInteger(xsArg(0)));
	void* data;
	xsUnsignedValue size;
	ssize_t sent = 0;
	if (entry && !entry->connecting) {
		xsmcGetBufferReadable(xsArg(1), &data, &size);
		sent = send(entry->descriptor, data, size, MSG_NOSIGNAL);
		if (sent < 0)
			/* A full buffer, or an error that reading will report after what is still to be read. */
			sent = errno == EAGAIN || errno == EINTR ? 0 : (ssize_t)size;
		if ((xsUnsignedValue)sent < size) {
			entry->owes_writable = true;
			watch_socket(entry);
		}
	}
	xsmcSetInteger(xsResult, (xsIntegerValue)sent);
}

/* xs_tcp_pause(id, paused): while paused nothing is read, so that the peer's window fills; its end is not seen before that either. */
void xs_tcp_pause(xsMachine* the)
{
	tcp_socket* entry = find_socket(xsmcToInteger(xsArg(0)));
	if (!entry)
		return;
	entry->paused = xsmcTest(xsArg(1));
	if (!entry->connecting)
		watch_socket(entry);
}

/* xs_tcp_close(id): nothing is reported any more. */
void xs_tcp_close(xsMachine* the)
{
	tcp_socket* entry = find_socket(xsmcToInteger(xsArg(0)));
	if (!entry)
		return;
	close_socket(the, entry);
	if (!entry->busy)
		free(entry);
}

void host_close_sockets(xsMachine* machine)
{
	while (gx_sockets) {
		tcp_socket* entry = gx_sockets;
		close_socket(machine, entry);
		free(entry);
	}
}
