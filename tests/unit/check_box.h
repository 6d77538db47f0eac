/* check_box: a small appliance for the checker's tests: two engines over a private arena, packets given by hand.
 *
 * What       struct box, packets out and in, time that passes, and what the checker says.
 * Units      seconds of virtual time. Ownership  the test closes the box.
 * Calls      one thread; test_live drives each engine from its own.
 * Errors     a failed check ends the test.
 */
#ifndef CORENAT_TESTS_CHECK_BOX_H
#define CORENAT_TESTS_CHECK_BOX_H

#include "pe/nat.h"
#include "shm/check.h"
#include "tests/crash/traffic.h"
#include "tests/unit/rnd.h"

enum { ENGINES = 2, ADDRESSES = 2, PORTS = 8, SAID_MAX = 64 };

struct box {
	struct arena *arena;
	struct config config;
	struct nat nat[ENGINES];
	struct steering outside;
	mono_t now;
	struct tuple reply; /* of the last packet that was forwarded from the inside */
};

struct box *box_open(uint32_t sessions, uint16_t ports);
void box_close(struct box *b);

enum verdict box_give(struct box *b, unsigned engine, enum side side, const struct tuple *t, uint8_t flags);
enum verdict box_out(struct box *b, unsigned engine, struct tuple t);
/* The reply to the last packet out, at the engine where it lands. */
enum verdict box_in(struct box *b);
void box_pass(struct box *b, uint32_t seconds);

struct said {
	unsigned n, of[N_CHECK_RULES];
	char object[SAID_MAX][CHECK_TEXT];
	char last[4 * CHECK_TEXT];
};

struct said box_ask(const struct box *b, enum check_mode mode, struct check_counts *counts);
void box_clean_at(const struct box *b, struct check_counts *counts, const char *file, int line);
#define expect_clean(b, counts) box_clean_at(b, counts, __FILE__, __LINE__)

#endif
