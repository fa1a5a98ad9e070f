/* The command line of hawser-xs, and the life of its one machine. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"
#include "store.h"

host_options gx_options;
extern int gx_exit_code;

static const char k_usage[] =
	"usage: hawser-xs [options] MAIN.js [arguments...]\n"
	"  --module NAME=PATH   what `import ... from \"NAME\"` loads (repeatable)\n"
	"  --preload NAME       run this module when the machine is built and keep it in the shared, read-only heap; implies --rom (repeatable)\n"
	"  --clone              built-ins in a shared machine, as in a device's flash\n"
	"  --rom                byte code, literals and names out of the heap, as in a device's flash; implies --clone\n"
	"  --chunks BYTES       fixed chunk heap (default: grows)\n"
	"  --slots COUNT        fixed slot heap (default: grows)\n"
	"  --stack COUNT        JavaScript stack in slots (default 4096)\n"
	"  --storage DIRECTORY  where the program's records live\n"
	"  --keys DIRECTORY     where its keys live\n"
	"  --store DESCRIPTOR   records, and keys in a host built for it, are kept by the process at the other end of this socket\n"
	"  --stress             collect garbage at every allocation (only in a host built for it)\n";

static void fail_usage(const char* message, const char* value)
{
	fprintf(stderr, "hawser-xs: %s%s\n%s", message, value, k_usage);
	exit(HOST_EXIT_USAGE);
}

static long parse_size(const char* name, const char* text)
{
	char* end;
	long value = strtol(text, &end, 10);
	if (*end || end == text || value <= 0 || value > 1L << 30)
		fail_usage("not a size for ", name);
	return value;
}

static void add_module(const char* pair)
{
	const char* equals = strchr(pair, '=');
	if (!equals || equals == pair || !equals[1])
		fail_usage("--module wants NAME=PATH, not ", pair);
	gx_options.module_names[gx_options.module_count] = strndup(pair, (size_t)(equals - pair));
	gx_options.module_paths[gx_options.module_count++] = equals + 1;
}

/* Returns how many arguments the option took. */
static int take_option(const char* name, const char* value)
{
	if (!strcmp(name, "--clone")) {
		gx_options.clone = true;
		return 1;
	}
	if (!strcmp(name, "--rom")) {
		gx_options.rom = gx_options.clone = true;
		return 1;
	}
	if (!strcmp(name, "--stress")) {
		gx_options.stress = true;
		return 1;
	}
	if (!value)
		fail_usage("no value for ", name);
	if (!strcmp(name, "--module"))
		add_module(value);
	else if (!strcmp(name, "--preload")) {
		gx_options.preload[gx_options.preload_count++] = value;
		gx_options.rom = gx_options.clone = true;
	}
	else if (!strcmp(name, "--chunks"))
		gx_options.chunk_bytes = parse_size(name, value);
	else if (!strcmp(name, "--slots"))
		gx_options.slot_count = parse_size(name, value);
	else if (!strcmp(name, "--stack"))
		gx_options.stack_slots = parse_size(name, value);
	else if (!strcmp(name, "--storage"))
		gx_options.storage_directory = value;
	else if (!strcmp(name, "--keys"))
		gx_options.keys_directory = value;
	else if (!strcmp(name, "--store"))
		gx_options.store_descriptor = (int)parse_size(name, value);
	else
		fail_usage("unknown option ", name);
	return 2;
}

static void parse_options(int argc, char* argv[])
{
	int index = 1;
	gx_options.stack_slots = 4096;
	gx_options.preload = calloc((size_t)argc, sizeof(char*));
	gx_options.module_names = calloc((size_t)argc, sizeof(char*));
	gx_options.module_paths = calloc((size_t)argc, sizeof(char*));
	while (index < argc && !strncmp(argv[index], "--", 2))
		index += take_option(argv[index], index + 1 < argc ? argv[index + 1] : NULL);
	if (index >= argc)
		fail_usage("no main module", "");
	gx_options.main_module = argv[index];
	gx_options.arguments = argv + index + 1;
	gx_options.argument_count = argc - index - 1;
}

static void free_options(void)
{
	for (int index = 0; index < gx_options.module_count; index++)
		free((void*)gx_options.module_names[index]);
	free(gx_options.module_names);
	free(gx_options.module_paths);
	free(gx_options.preload);
}

int main(int argc, char* argv[])
{
	struct sxMachine* machine;
	parse_options(argc, argv);
	/* A peer that has gone shows as an error of send(), never as the end of this process. */
	signal(SIGPIPE, SIG_IGN);
	store_open();
	host_open_keys();
	machine = host_create_machine();
	host_run_module(machine, gx_options.main_module);
	host_run_loop((struct xsMachineRecord*)machine);
	host_close_sockets((struct xsMachineRecord*)machine);
	host_close_timers((struct xsMachineRecord*)machine);
	host_delete_machine(machine);
	host_free_rom();
	free_options();
	return gx_exit_code;
}
