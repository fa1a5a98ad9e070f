/* What the machine uses: heap figures (engine built with mxInstrument) and the meter (mxMetering). */
#include "xsAll.h"

#include "host.h"

static void set_figure(txMachine* the, const char* name, txNumber value)
{
	mxPushNumber(value);
	mxPushSlot(mxResult);
	fxSetID(the, fxID(the, (txString)name));
	mxPop();
}

/* xs_collect_garbage() */
void xs_collect_garbage(txMachine* the)
{
	fxCollectGarbage(the);
}

/* xs_meter() -> byte codes run since the machine was made, modulo 2^32. The same on 32 and 64 bits, whatever the heap. */
void xs_meter(txMachine* the)
{
	mxResult->kind = XS_NUMBER_KIND;
	mxResult->value.number = (txNumber)the->meterIndex;
}

/*
 * xs_heap() -> slotBytes, and in use / at most / in all: slots, chunk bytes, stack slots; the names made by the program; collections.
 * Garbage counts until it is collected; what this call itself allocates does not.
 */
void xs_heap(txMachine* the)
{
	const struct { const char* name; txNumber value; } figures[] = {
		{ "slotBytes", (txNumber)sizeof(txSlot) },
		{ "slotsUsed", the->currentHeapCount },
		{ "slotsPeak", the->peakHeapCount },
		{ "slotsTotal", the->maximumHeapCount },
		{ "chunkBytesUsed", the->currentChunksSize },
		{ "chunkBytesPeak", the->peakChunksSize },
		{ "chunkBytesTotal", the->maximumChunksSize },
		{ "stackSlotsPeak", (txNumber)(the->stackTop - the->stackPeak) },
		{ "stackSlotsTotal", (txNumber)(the->stackTop - the->stackBottom) },
		{ "names", (txNumber)(the->keyIndex - the->keyOffset) },
		{ "collections", the->garbageCollectionCount },
	};
	mxPush(mxObjectPrototype);
	fxNewObjectInstance(the);
	mxPullSlot(mxResult);
	for (size_t index = 0; index < sizeof(figures) / sizeof(figures[0]); index++)
		set_figure(the, figures[index].name, figures[index].value);
}
