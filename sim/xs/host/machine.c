/*
 * The machine: its heap, the shared machine behind it, and how it ends.
 *
 * Three grades of nearness to a device, whose linker puts into flash all that does not change:
 *  plain    everything in one growing heap;
 *  clone    the built-ins in a shared root machine, the program in a clone of it;
 *  rom      also byte code, literals, names and preloaded modules in the shared part.
 */
#include <unistd.h>

#include "xsAll.h"
#include "xsScript.h"

#include "host.h"

static txMachine* gx_root = NULL;
static bool gx_jobs_pending = false;
static txSlot gx_rejection_handler;
static bool gx_has_rejection_handler = false;

/*
 * A device's built-ins are frozen, so code that assigns `this.name` in an Error subclass throws there. Deep, but for the global object.
 */
static char k_freeze_builtins[] =
	"for (const name of Object.getOwnPropertyNames(globalThis)) {"
	"	const value = globalThis[name];"
	"	if (value !== globalThis && value !== null && (typeof value === 'object' || typeof value === 'function')) Object.freeze(value, true);"
	"}"
	"for (const hidden of [function* () {}, async function () {}, async function* () {}, [][Symbol.iterator](), ''[Symbol.iterator](),"
	"	new Map().entries(), new Set().entries()])"
	"	for (let it = Object.getPrototypeOf(hidden); it; it = Object.getPrototypeOf(it)) Object.freeze(it, true);";

/* With its stack where it has one. In a frame of its own: the one that threw is in any state. */
static void print_exception(txMachine* the)
{
	fxBeginHost(the);
	mxTry(the) {
		mxPush(mxException);
		if (mxIsReference(the->stack)) {
			mxDub();
			fxGetID(the, mxID(_stack));
			if (the->stack->kind != XS_STRING_KIND && the->stack->kind != XS_STRING_X_KIND)
				mxPop();
		}
		host_write_text(stderr, fxToString(the, the->stack));
		fputc('\n', stderr);
	}
	mxCatch(the) {
		fprintf(stderr, "(and its description threw)\n");
	}
}

void fxAbort(txMachine* the, int status)
{
	static const struct { int status; int exit_code; const char* message; } k_ends[] = {
		{ XS_STACK_OVERFLOW_EXIT, HOST_EXIT_STACK_OVERFLOW, "stack overflow" },
		{ XS_NOT_ENOUGH_MEMORY_EXIT, HOST_EXIT_HEAP_FULL, "heap full" },
		{ XS_NO_MORE_KEYS_EXIT, HOST_EXIT_KEYS_FULL, "no room for more names" },
		{ XS_UNHANDLED_EXCEPTION_EXIT, HOST_EXIT_UNCAUGHT_EXCEPTION, "uncaught exception" },
		{ XS_UNHANDLED_REJECTION_EXIT, HOST_EXIT_UNHANDLED_REJECTION, "unhandled rejection" },
	};
	int exit_code = HOST_EXIT_ENGINE_FAILED;
	const char* message = "engine failure";
	for (size_t index = 0; index < sizeof(k_ends) / sizeof(k_ends[0]); index++) {
		if (k_ends[index].status == status) {
			exit_code = k_ends[index].exit_code;
			message = k_ends[index].message;
		}
	}
	fprintf(stderr, "hawser-xs: %s\n", message);
	if (exit_code == HOST_EXIT_UNCAUGHT_EXCEPTION || exit_code == HOST_EXIT_UNHANDLED_REJECTION)
		print_exception(the);
	fflush(stdout);
	fflush(stderr);
	/* Not exit(): the heap is in any state, nothing may run in it any more. */
	_exit(exit_code);
}

void fxQueuePromiseJobs(txMachine* the)
{
	(void)the;
	gx_jobs_pending = true;
}

/* xs_on_rejection(handler): handler(reason) for each rejection that is unhandled once no job is left. */
void xs_on_rejection(txMachine* the)
{
	gx_rejection_handler.kind = mxArgv(0)->kind;
	gx_rejection_handler.value = mxArgv(0)->value;
	if (!gx_has_rejection_handler)
		fxRemember(the, &gx_rejection_handler);
	gx_has_rejection_handler = true;
}

static void run_pending_jobs(txMachine* the)
{
	while (gx_jobs_pending) {
		gx_jobs_pending = false;
		fxRunPromiseJobs(the);
	}
}

/*
 * Takes the unhandled rejections off the engine's list, whose items are pairs of promise and reason, and reports them. All in one frame:
 * when the outermost frame ends, the engine ends the process for each that is still there and whose promise was collected.
 */
static void report_rejections(txMachine* machine)
{
	txMachine* the = fxBeginHost(machine);
	mxTry(the) {
		txSlot* promise;
		while ((promise = mxUnhandledPromises.value.reference->next)) {
			mxPushUndefined();
			mxPush(gx_rejection_handler);
			mxCall();
			mxPushSlot(promise->next);
			mxUnhandledPromises.value.reference->next = promise->next->next;
			mxRunCount(1);
			mxPop();
		}
	}
	mxCatch(the) {
		fxAbort(the, XS_UNHANDLED_EXCEPTION_EXIT);
	}
	fxEndHost(the);
}

void host_run_jobs(void* machine)
{
	txMachine* the = machine;
	run_pending_jobs(the);
	while (gx_has_rejection_handler && mxUnhandledPromises.value.reference->next) {
		report_rejections(the);
		run_pending_jobs(the);
	}
	fxEndJob(the);
	/* At once, not when the promise is collected: a rejection nobody handles ends the process, as an exception does. */
	fxCheckUnhandledRejections(the, 1);
	host_callback_over(the);
}

static void freeze_builtins(txMachine* machine)
{
	txMachine* the = fxBeginHost(machine);
	mxTry(the) {
		txSlot* realm = mxModuleInstanceInternal(mxProgram.value.reference)->value.module.realm;
		txStringCStream stream = { k_freeze_builtins, 0, (txSize)sizeof(k_freeze_builtins) - 1 };
		txScript* script = fxParseScript(the, &stream, fxStringCGetter, mxProgramFlag | mxStrictFlag);
		fxRunScript(the, script, mxRealmGlobal(realm), C_NULL, mxRealmClosures(realm)->value.reference, C_NULL, mxProgram.value.reference);
		mxPop();
	}
	mxCatch(the) {
		fxAbort(the, XS_UNHANDLED_EXCEPTION_EXIT);
	}
	fxEndHost(the);
}

/*
 * A clone copies values out of shared slots. Chunks that stay with the root must not be moved by the clone's collector, so their slots
 * become the kinds that the collector leaves alone: what a device's linker writes into flash.
 */
static void petrify_slot(txSlot* slot)
{
	switch (slot->kind) {
	case XS_STRING_KIND: slot->kind = XS_STRING_X_KIND; break;
	case XS_KEY_KIND: slot->kind = XS_KEY_X_KIND; break;
	case XS_BIGINT_KIND: slot->kind = XS_BIGINT_X_KIND; break;
	case XS_CODE_KIND: slot->kind = XS_CODE_X_KIND; break;
	case XS_ARRAY_BUFFER_KIND:
	case XS_DATE_KIND:
	case XS_MAP_KIND:
	case XS_SET_KIND:
	case XS_WEAK_MAP_KIND:
	case XS_WEAK_SET_KIND:
		/* In flash these cannot change: writing to them throws. */
		slot->flag |= XS_DONT_SET_FLAG;
		break;
	case XS_ARRAY_KIND: {
		txSlot* item = slot->value.array.address;
		if (item) {
			txIndex length = (txIndex)((((txChunk*)(((txByte*)item) - sizeof(txChunk)))->size) / sizeof(txSlot));
			while (length--)
				petrify_slot(item++);
		}
		break;
	}
	default: break;
	}
}

static void petrify_machine(txMachine* root)
{
	for (txSlot* heap = root->firstHeap; heap; heap = heap->next) {
		txSlot* limit = heap->value.reference;
		for (txSlot* slot = heap + 1; slot < limit; slot++)
			petrify_slot(slot);
	}
	for (txSlot* slot = root->stack; slot < root->stackTop; slot++)
		petrify_slot(slot);
}

static txCreation growing_creation(void)
{
	txCreation creation = {
		.initialChunkSize = 256 * 1024, .incrementalChunkSize = 64 * 1024,
		.initialHeapCount = 16 * 1024, .incrementalHeapCount = 8 * 1024,
		.stackCount = 4096,
		.initialKeyCount = 2048, .incrementalKeyCount = 512,
		.nameModulo = 1993, .symbolModulo = 127,
		.parserBufferSize = 256 * 1024, .parserTableModulo = 1993,
		.staticSize = 0,
	};
	return creation;
}

static txCreation program_creation(void)
{
	txCreation creation = growing_creation();
	creation.stackCount = (txSize)gx_options.stack_slots;
	if (gx_options.clone) {
		/* Names of the program that are not in the shared machine; a device has few. */
		creation.initialKeyCount = 64;
		creation.incrementalKeyCount = 64;
	}
	if (gx_options.chunk_bytes) {
		creation.initialChunkSize = (txSize)gx_options.chunk_bytes;
		creation.incrementalChunkSize = 0;
	}
	if (gx_options.slot_count) {
		creation.initialHeapCount = (txSize)gx_options.slot_count;
		creation.incrementalHeapCount = 0;
	}
	return creation;
}

static void prepare_machine(txMachine* machine)
{
	fxBeginHost(machine);
	host_intern_ids((struct xsMachineRecord*)machine);
	host_define_natives(machine);
	fxEndHost(machine);
	freeze_builtins(machine);
}

#if mxStress
extern int gxStress;
#endif

/* The engine starts a stressed machine unstressed, so that building it does not take minutes. */
static void start_stress(void)
{
#if mxStress
	gxStress = gx_options.stress;
#endif
}

static txMachine* clone_machine(txCreation* creation)
{
	if (gx_options.rom)
		host_prepare_rom(gx_root);
	for (int index = 0; index < gx_options.preload_count; index++)
		host_run_module(gx_root, gx_options.preload[index]);
	fxShareMachine(gx_root);
	petrify_machine(gx_root);
	return fxCloneMachine(creation, gx_root, (txString)"hawser", NULL);
}

txMachine* host_create_machine(void)
{
	txCreation root_creation = growing_creation();
	txCreation creation = program_creation();
	txMachine* machine = fxCreateMachine(gx_options.clone ? &root_creation : &creation, (txString)"hawser", NULL, XS_NO_ID);
	if (machine)
		prepare_machine(machine);
	if (machine && gx_options.clone) {
		gx_root = machine;
		machine = clone_machine(&creation);
	}
	if (!machine) {
		fprintf(stderr, "hawser-xs: the machine could not be made\n");
		_exit(HOST_EXIT_HEAP_FULL);
	}
	start_stress();
	return machine;
}

void host_delete_machine(txMachine* machine)
{
	fxDeleteMachine(machine);
	if (gx_root)
		fxDeleteMachine(gx_root);
	gx_root = NULL;
}
