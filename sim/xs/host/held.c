/*
 * Watches how long one callback into JavaScript holds the engine. The engine asks now and then in its own loops and calls (mxMetering),
 * where a function may be called as from any other place. The time is the processor's, so that a busy machine is no fault of the program.
 */
#include <time.h>

#include "xsAll.h"

#include "host.h"

/* Byte codes between two looks at the clock: less than a millisecond. */
#define STEP 20000

static txSlot gx_handler;
static bool gx_watching = false;
static double gx_limit_ms = 0;
/* Of the callback that runs: when the engine first asked in it (0: not yet), and whether the handler was told. */
static double gx_began_ms = 0;
static bool gx_told = false;

static double processor_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1000.0 + (double)now.tv_nsec / 1e6;
}

/* handler(), or handler(took_ms) */
static void tell(txMachine* machine, const double* took_ms)
{
	txMachine* the = fxBeginHost(machine);
	mxTry(the) {
		mxPushUndefined();
		mxPush(gx_handler);
		mxCall();
		if (took_ms)
			mxPushNumber(*took_ms);
		mxRunCount(took_ms ? 1 : 0);
		mxPop();
	}
	mxCatch(the) {
		fxAbort(the, XS_UNHANDLED_EXCEPTION_EXIT);
	}
	fxEndHost(the);
}

static txBoolean asked(txMachine* the, txU4 index)
{
	double now_ms = processor_ms();
	(void)index;
	if (gx_began_ms == 0)
		gx_began_ms = now_ms;
	else if (!gx_told && now_ms - gx_began_ms > gx_limit_ms) {
		gx_told = true;
		tell(the, NULL);
	}
	return 1;
}

void host_callback_over(txMachine* machine)
{
	double took_ms = gx_told ? processor_ms() - gx_began_ms : 0;
	gx_began_ms = 0;
	if (!gx_told)
		return;
	gx_told = false;
	tell(machine, &took_ms);
}

/* xs_on_held(limitMs, handler): handler() within a callback that takes longer, and handler(tookMs) when it is over. */
void xs_on_held(txMachine* the)
{
	gx_limit_ms = fxToNumber(the, mxArgv(0));
	gx_handler.kind = mxArgv(1)->kind;
	gx_handler.value = mxArgv(1)->value;
	if (!gx_watching)
		fxRemember(the, &gx_handler);
	gx_watching = true;
	fxBeginMetering(the, asked, STEP);
}
