/* corenat-pe: one packet engine, or a replay of captures through the same core. */
#include "common/args.h"
#include "common/log.h"
#include "common/service.h"
#include "pe/live.h"
#include "pe/replay.h"
#include "pe/xdp.h"

enum { STATUS_OK, STATUS_FAILED, STATUS_USAGE };
enum { NO_ENGINE = ENGINE_MAX };

static int live(const struct config *c, unsigned engine)
{
	if (engine >= c->arena.engines) {
		log_error("--engine must be 0 to %u, as arena.engines says, not %u", c->arena.engines - 1, engine);
		return STATUS_USAGE;
	}
	if (service_open("corenat-pe") != 0)
		return STATUS_FAILED;
	return live_run(c, engine) ? STATUS_OK : STATUS_FAILED;
}

static bool is_for_replay(const struct replay_params *r)
{
	for (unsigned side = 0; side < N_SIDES; side++)
		if (r->read[side] || r->write[side])
			return true;
	return r->changes != NULL;
}

int main(int argc, char **argv)
{
	const char *file = NULL;
	unsigned engine = NO_ENGINE, seed = 1;
	bool replay = false, remove = false;
	struct replay_params r = {.seed = 0};
	const struct arg args[] = {{"config", "FILE", "the configuration", .text = &file, .required = true},
		{"engine", "N", "run engine N on queue N of both interfaces", .number = &engine, .max = ENGINE_MAX - 1},
		{"remove-xdp", NULL, "detach and unpin the XDP program, then exit", .flag = &remove},
		{"replay", NULL, "translate captures instead of live traffic", .flag = &replay},
		{"inside", "PCAP", "replay: what arrives inside", .text = &r.read[SIDE_INSIDE]},
		{"outside", "PCAP", "replay: what arrives outside", .text = &r.read[SIDE_OUTSIDE]},
		{"write-inside", "PCAP", "replay: what is sent inside", .text = &r.write[SIDE_INSIDE]},
		{"write-outside", "PCAP", "replay: what is sent outside", .text = &r.write[SIDE_OUTSIDE]},
		{"changes", "FILE", "replay: later configurations, a line each: SECONDS FILE", .text = &r.changes},
		{"seed", "N", "replay: of ports and hashes; the same seed gives the same bytes", .number = &seed,
			.max = UINT32_MAX},
		{0}};
	int status = args_parse(argc, argv, "corenat-pe", "one packet engine", args, NULL);
	struct config c;
	struct config_error err;

	if (status != ARGS_RUN)
		return status;
	log_open("corenat-pe");
	if (!config_load(&c, file, &err)) {
		log_error("%s", err.text);
		return STATUS_USAGE;
	}
	r.seed = seed;
	if (remove)
		return xdp_remove(c.system.bpffs) == 0 ? STATUS_OK : STATUS_FAILED;
	if (replay)
		return replay_run(&c, &r) ? STATUS_OK : STATUS_FAILED;
	if (engine == NO_ENGINE || is_for_replay(&r)) {
		log_error(engine == NO_ENGINE
				  ? "say --engine N, or --replay (see --help)"
				  : "captures and --changes are for --replay; leave them out with --engine");
		return STATUS_USAGE;
	}
	return live(&c, engine);
}
