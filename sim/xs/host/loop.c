/* The event loop: poll(2) over watched descriptors, timers and signals. */
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "xsmc.h"
#include "mc.xs.h"

#include "host.h"

struct host_watch {
	struct host_watch* next;
	int descriptor;
	short events;
	bool keeps_alive;
	bool dead;
	host_poll_callback callback;
	void* data;
};

int gx_exit_code = 0;
static bool gx_stopping = false;
static struct host_watch* gx_watches = NULL;

double host_monotonic_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1000.0 + (double)now.tv_nsec / 1e6;
}

struct host_watch* host_watch(int descriptor, short events, bool keeps_alive, host_poll_callback callback, void* data)
{
	struct host_watch* watch = calloc(1, sizeof(struct host_watch));
	watch->descriptor = descriptor;
	watch->events = events;
	watch->keeps_alive = keeps_alive;
	watch->callback = callback;
	watch->data = data;
	watch->next = gx_watches;
	gx_watches = watch;
	return watch;
}

void host_set_events(struct host_watch* watch, short events)
{
	watch->events = events;
}

/* Freed when the loop comes round: its callback may be running. */
void host_unwatch(struct host_watch* watch)
{
	watch->dead = true;
}

void host_stop_loop(int exit_code)
{
	gx_stopping = true;
	gx_exit_code = exit_code;
}

static void sweep_watches(void)
{
	struct host_watch** address = &gx_watches;
	while (*address) {
		struct host_watch* watch = *address;
		if (watch->dead) {
			*address = watch->next;
			free(watch);
		}
		else
			address = &watch->next;
	}
}

static size_t count_watches(bool* alive)
{
	size_t count = 0;
	*alive = false;
	for (struct host_watch* watch = gx_watches; watch; watch = watch->next) {
		count++;
		*alive = *alive || watch->keeps_alive;
	}
	return count;
}

static void fill_descriptors(struct pollfd* descriptors)
{
	for (struct host_watch* watch = gx_watches; watch; watch = watch->next, descriptors++) {
		/* A negative descriptor is skipped by poll: errors of one that waits for nothing would spin. */
		descriptors->fd = watch->events ? watch->descriptor : -1;
		descriptors->events = watch->events;
		descriptors->revents = 0;
	}
}

static void dispatch(xsMachine* machine, const struct pollfd* descriptors, size_t count)
{
	/* New watches are put in front, so the ones that were polled are the last `count`. */
	size_t total = 0;
	struct host_watch* watch;
	for (watch = gx_watches; watch; watch = watch->next)
		total++;
	watch = gx_watches;
	for (; total > count; total--)
		watch = watch->next;
	for (; watch && !gx_stopping; watch = watch->next, descriptors++) {
		if (!watch->dead && descriptors->revents) {
			watch->callback(watch->data, descriptors->revents);
			host_run_jobs(machine);
		}
	}
}

void host_run_loop(xsMachine* machine)
{
	struct pollfd* descriptors = NULL;
	size_t capacity = 0;
	while (!gx_stopping) {
		bool alive;
		sweep_watches();
		size_t count = count_watches(&alive);
		int timeout_ms = host_next_timer_ms();
		if (!alive && timeout_ms < 0)
			break;
		if (count > capacity) {
			capacity = count + 8;
			descriptors = realloc(descriptors, capacity * sizeof(struct pollfd));
		}
		fill_descriptors(descriptors);
		int ready = poll(descriptors, (nfds_t)count, timeout_ms);
		if (ready > 0)
			dispatch(machine, descriptors, count);
		if (!gx_stopping)
			host_run_timers(machine);
	}
	free(descriptors);
}
