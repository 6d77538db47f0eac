/* world: three engines over one private arena that crash_step drives, saves and restores.
 *
 * What       all engines live in this process; a reply lands on engine 0 always. So engine 0's sessions are at home and
 *            those of engines 1 and 2 are away, adopted by engine 0.
 * Units      seconds of virtual time.
 * Ownership  the world belongs to its maker. Saved states are the caller's buffers of world_bytes().
 * Calls      one thread. Errors  a check that fails is told by world_fail, which ends the program.
 *
 * Bystanders are sessions that no operation under test touches: one at home, one away, one of TCP. What happens to
 * them when another engine dies is the real question.
 */
#ifndef CORENAT_TESTS_WORLD_H
#define CORENAT_TESTS_WORLD_H

#include "shm/check.h"
#include "tests/crash/traffic.h"

enum { ENGINES = 3, BYSTANDERS = 3, SPANS = 64, ADDRESSES = 2 };

/* Seconds after the bystanders were made or refreshed: idle time is 300 for UDP. */
enum { BEFORE_IDLE = 200, UNTIL_IDLE = 110 };

/* A stretch of the arena that operations under test may change. */
struct span_of_memory {
	uint8_t *at;
	size_t bytes;
};

struct world {
	struct arena *arena;
	struct nat *nat; /* [ENGINES], one block: saved as a whole */
	struct config config;
	mono_t now;
	uint64_t random;
	struct span_of_memory span[SPANS];
	unsigned n_spans;
	struct tuple bystander_reply[BYSTANDERS];
	unsigned number;               /* of the flow under test, where it had to be looked for */
	struct tuple reply;            /* of the last outbound packet that was forwarded */
	struct tuple stranger, answer; /* an inbound flow under test, both ways */
	unsigned answering;            /* the engine its answer lands on */
	const char *scenario;
	long instruction, inner; /* where the operation stands, and the recovery from it; -1: not stepped */
	char death[96];          /* the intent found */
};

struct world *world_make(const struct appliance *look, const char *scenario);
void world_close(struct world *w);

size_t world_bytes(const struct world *w);
void world_save(const struct world *w, uint8_t *to);
void world_restore(struct world *w, const uint8_t *from);
/* True when the arena's spans differ from a saved state. */
bool world_changed(const struct world *w, const uint8_t *since);

/* An engine's process starts (again). */
void world_start(struct world *w, unsigned engine);
void world_pass(struct world *w, uint32_t seconds);
void world_housekeep(struct world *w, unsigned engine);

/* Flow `number`: subscribers, ports and remotes all differ. Flow numbers that are equal modulo 1000 share the inside
 * endpoint. */
struct tuple world_flow(unsigned number);
enum verdict world_out(struct world *w, unsigned engine, unsigned number);
void world_out_new(struct world *w, unsigned engine, unsigned number);
enum verdict world_send(struct world *w, unsigned engine, enum side side, const struct tuple *t, uint8_t tcp_flags);

void world_make_bystanders(struct world *w);
/* Their packets go through, both ways. `alive`: bits of the engines that can be asked. */
void world_ask_bystanders(struct world *w, unsigned alive);
/* Most of an idle time passes for all but them. */
void world_refresh(struct world *w);

/* All that must hold when every engine runs and none is in the middle of a step. */
void world_check(struct world *w, struct check_counts *counts);
/* Lets everything idle out, takes all pages back, and expects nothing to be left. */
void world_drain(struct world *w);

_Noreturn void world_fail(const struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
#define EXPECT(w, what)                                                                                                \
	do {                                                                                                           \
		if (!(what))                                                                                           \
			world_fail(w, "%s:%d: %s", __FILE__, __LINE__, #what);                                         \
	} while (0)

#endif
