/* Timers: one callback each, in order of time and, within the same millisecond, of asking. */
#include <limits.h>
#include <math.h>
#include <stdlib.h>

#include "xsmc.h"
#include "mc.xs.h"

#include "host.h"

typedef struct timer {
	struct timer* next;
	int id;
	double due_ms;
	xsMachine* machine;
	xsSlot callback;
} timer;

static timer* gx_timers = NULL;
static int gx_last_id = 0;

int host_next_timer_ms(void)
{
	if (!gx_timers)
		return -1;
	double rest = ceil(gx_timers->due_ms - host_monotonic_ms());
	return rest <= 0 ? 0 : rest > INT_MAX ? INT_MAX : (int)rest;
}

static timer* unlink_first(void)
{
	timer* first = gx_timers;
	gx_timers = first->next;
	return first;
}

static void run_timer(xsMachine* machine, timer* due)
{
	xsBeginHost(machine);
	xsmcVars(1);
	xsVar(0) = xsAccess(due->callback);
	xsForget(due->callback);
	free(due);
	xsCallFunction0(xsVar(0), xsUndefined);
	xsEndHost(machine);
	host_run_jobs(machine);
}

void host_run_timers(xsMachine* machine)
{
	/* Only what was due at the start: a timer that sets another one for now must not keep sockets waiting. */
	double now = host_monotonic_ms();
	int last_id = gx_last_id;
	while (gx_timers && gx_timers->due_ms <= now && gx_timers->id <= last_id)
		run_timer(machine, unlink_first());
}

void host_close_timers(xsMachine* machine)
{
	xsMachine* the = machine;
	while (gx_timers) {
		timer* first = unlink_first();
		xsForget(first->callback);
		free(first);
	}
}

/* xs_timer_set(delayMs, callback) -> id */
void xs_timer_set(xsMachine* the)
{
	double delay_ms = xsmcToNumber(xsArg(0));
	timer** address = &gx_timers;
	timer* entry = calloc(1, sizeof(timer));
	entry->id = ++gx_last_id;
	entry->due_ms = host_monotonic_ms() + (delay_ms > 0 ? delay_ms : 0);
	entry->callback = xsArg(1);
	xsRemember(entry->callback);
	while (*address && (*address)->due_ms <= entry->due_ms)
		address = &(*address)->next;
	entry->next = *address;
	*address = entry;
	xsmcSetInteger(xsResult, entry->id);
}

/* xs_timer_clear(id): nothing happens when it has run or was cleared. */
void xs_timer_clear(xsMachine* the)
{
	int id = xsmcToInteger(xsArg(0));
	for (timer** address = &gx_timers; *address; address = &(*address)->next) {
		timer* entry = *address;
		if (entry->id == id) {
			*address = entry->next;
			xsForget(entry->callback);
			free(entry);
			return;
		}
	}
}
