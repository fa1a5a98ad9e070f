/*
 * Where modules come from: files, by path or by a name given with --module; parsed when loaded, or beforehand for `rom`.
 */
#include <errno.h>
#include <unistd.h>

#include "xsAll.h"
#include "xsScript.h"

#include "host.h"

extern void fxRemapIDs(txMachine* the, txByte* codeBuffer, txSize codeSize, txID* theIDs);

typedef struct rom_module {
	struct rom_module* next;
	char* path;
	txScript* script;
} rom_module;

static rom_module* gx_rom = NULL;

static const char* declared_path(const char* name)
{
	for (int index = 0; index < gx_options.module_count; index++) {
		if (!strcmp(gx_options.module_names[index], name))
			return gx_options.module_paths[index];
	}
	return NULL;
}

/* Writes the real path of what `name` means in the module `importer` (NULL: on the command line). */
static bool resolve(const char* name, const char* importer, char real[C_PATH_MAX])
{
	char joined[C_PATH_MAX];
	const char* declared = declared_path(name);
	if (declared)
		return realpath(declared, real) != NULL;
	if (name[0] == '/' || !importer)
		return realpath(name, real) != NULL;
	if (name[0] != '.')
		return false;
	const char* slash = strrchr(importer, '/');
	int folder = slash ? (int)(slash - importer) + 1 : 0;
	if (snprintf(joined, sizeof(joined), "%.*s%s", folder, importer, name) >= (int)sizeof(joined))
		return false;
	return realpath(joined, real) != NULL;
}

txID fxFindModule(txMachine* the, txSlot* realm, txID moduleID, txSlot* slot)
{
	char name[C_PATH_MAX];
	char real[C_PATH_MAX];
	(void)realm;
	fxToStringBuffer(the, slot, name, sizeof(name));
	if (!resolve(name, moduleID == XS_NO_ID ? NULL : fxGetKeyName(the, moduleID), real))
		return XS_NO_ID;
	return fxNewNameC(the, real);
}

static txScript* parse_module(txMachine* the, const char* path, txUnsigned flags)
{
	txParser parser_record;
	txParser* parser = &parser_record;
	txParserJump jump;
	txScript* volatile script = NULL;
	FILE* file = fopen(path, "r");
	if (!file)
		return NULL;
	fxInitializeParser(parser, the, the->parserBufferSize, the->parserTableModulo);
	parser->firstJump = &jump;
	if (c_setjmp(jump.jmp_buf) == 0) {
		txString map = NULL;
		parser->path = fxNewParserSymbol(parser, (txString)path);
		fxParserTree(parser, file, (txGetter)fgetc, flags, &map);
		fxParserHoist(parser);
		fxParserBind(parser);
		script = fxParserCode(parser);
	}
	fclose(file);
#ifdef mxInstrument
	if (the->peakParserSize < parser->total)
		the->peakParserSize = parser->total;
#endif
	fxTerminateParser(parser);
	return script;
}

void fxLoadModule(txMachine* the, txSlot* module, txID moduleID)
{
	const char* path = fxGetKeyName(the, moduleID);
	txScript* script;
	for (rom_module* entry = gx_rom; entry; entry = entry->next) {
		if (!strcmp(entry->path, path)) {
			fxResolveModule(the, module, moduleID, entry->script, C_NULL, C_NULL);
			return;
		}
	}
	script = parse_module(the, path, mxDebugFlag);
	if (script)
		fxResolveModule(the, module, moduleID, script, C_NULL, C_NULL);
}

size_t host_code_step(const void* at)
{
	const txByte* code = at;
	txS1 length = gxCodeSizes[*((const txU1*)code)];
	if (length > 0)
		return (size_t)length;
	if (length == 0)
		return 1 + sizeof(txID);
	if (length == -1)
		return 2 + (size_t)*((const txU1*)(code + 1));
	if (length == -2) {
		txU2 bytes;
		memcpy(&bytes, code + 1, sizeof(bytes));
		return 3 + (size_t)bytes;
	}
	txS4 bytes;
	memcpy(&bytes, code + 1, sizeof(bytes));
	return 5 + (size_t)bytes;
}

/* Functions and strings of this code are used where they lie instead of being copied into the heap: what a device's linker does. */
static void use_code_in_place(txByte* code, txSize size)
{
	txByte* p = code;
	txByte* limit = code + size;
	while (p < limit) {
		size_t step = host_code_step(p);
		switch (*((txU1*)p)) {
		case XS_CODE_CODE_1: *((txU1*)p) = XS_CODE_CODE_ARCHIVE_1; break;
		case XS_CODE_CODE_2: *((txU1*)p) = XS_CODE_CODE_ARCHIVE_2; break;
		case XS_CODE_CODE_4: *((txU1*)p) = XS_CODE_CODE_ARCHIVE_4; break;
		case XS_CODE_STRING_1: *((txU1*)p) = XS_CODE_STRING_ARCHIVE_1; break;
		case XS_CODE_STRING_2: *((txU1*)p) = XS_CODE_STRING_ARCHIVE_2; break;
		case XS_CODE_STRING_4: *((txU1*)p) = XS_CODE_STRING_ARCHIVE_4; break;
		default: break;
		}
		p += step;
	}
}

/* Gives the script the root machine's ids for its names, so that running it makes none in the clone. */
static void link_names(txMachine* the, txScript* script)
{
	txByte* p = script->symbolsBuffer;
	txID count;
	mxDecodeID(p, count);
	txID* ids = calloc(count, sizeof(txID));
	ids[0] = XS_NO_ID;
	for (txID index = 1; index < count; index++) {
		ids[index] = fxNewNameC(the, (txString)p);
		p += strlen((char*)p) + 1;
	}
	fxRemapIDs(the, script->codeBuffer, script->codeSize, ids);
	free(ids);
	c_free(script->symbolsBuffer);
	script->symbolsBuffer = NULL;
	script->symbolsSize = 0;
}

static void fail_module(const char* specifier, const char* reason)
{
	fprintf(stderr, "hawser-xs: module %s: %s\n", specifier, reason);
	_exit(HOST_EXIT_MODULE_FAILED);
}

static void add_rom_module(txMachine* the, const char* specifier)
{
	char real[C_PATH_MAX];
	if (!resolve(specifier, NULL, real))
		fail_module(specifier, strerror(errno));
	rom_module* entry = calloc(1, sizeof(rom_module));
	entry->path = strdup(real);
	entry->script = parse_module(the, real, 0);
	if (!entry->script)
		fail_module(specifier, "could not be parsed");
	fxNewNameC(the, real);
	link_names(the, entry->script);
	use_code_in_place(entry->script->codeBuffer, entry->script->codeSize);
	entry->next = gx_rom;
	gx_rom = entry;
}

void host_prepare_rom(txMachine* root)
{
	fxBeginHost(root);
	for (int index = 0; index < gx_options.module_count; index++)
		add_rom_module(root, gx_options.module_names[index]);
	add_rom_module(root, gx_options.main_module);
	fxEndHost(root);
}

void host_free_rom(void)
{
	while (gx_rom) {
		rom_module* entry = gx_rom;
		gx_rom = entry->next;
		fxDeleteScript(entry->script);
		free(entry->path);
		free(entry);
	}
}

static void module_fulfilled(txMachine* the)
{
	(void)the;
}

static void module_rejected(txMachine* the)
{
	mxException = *mxArgv(0);
	fxAbort(the, XS_UNHANDLED_EXCEPTION_EXIT);
}

void host_run_module(txMachine* machine, const char* specifier)
{
	char real[C_PATH_MAX];
	if (!resolve(specifier, NULL, real))
		fail_module(specifier, strerror(errno));
	txMachine* the = fxBeginHost(machine);
	mxTry(the) {
		txSlot* realm = mxModuleInstanceInternal(mxProgram.value.reference)->value.module.realm;
		mxPushStringC(real);
		fxRunImport(the, realm, XS_NO_ID);
		mxDub();
		fxGetID(the, mxID(_then));
		mxCall();
		fxNewHostFunction(the, module_fulfilled, 1, XS_NO_ID, XS_NO_ID);
		fxNewHostFunction(the, module_rejected, 1, XS_NO_ID, XS_NO_ID);
		mxRunCount(2);
		mxPop();
	}
	mxCatch(the) {
		fxAbort(the, XS_UNHANDLED_EXCEPTION_EXIT);
	}
	fxEndHost(the);
	host_run_jobs(machine);
}
