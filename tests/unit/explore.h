/* explore: every interleaving of a few small threads over the real code.
 *
 * What       the code under test is compiled with its atomic operations replaced (explore_atomics.h): before each one the
 *            thread hands over to a scheduler, which in the end has tried every order, and, where asked to, the death of
 *            a thread before any of its operations. Orders that lead to a state seen before are cut short, so the
 *            search ends; it is exhaustive for sequentially consistent memory. What weaker orders could do is the
 *            business of the thread sanitizer.
 * Units      none. Ownership  the world belongs to the caller. Calls  one thread, one exploration at a time.
 * Errors     explore returns false after printing the schedule that failed.
 */
#ifndef CORENAT_TESTS_EXPLORE_H
#define CORENAT_TESTS_EXPLORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { EXPLORE_THREADS = 3 };

struct explore_world {
	unsigned threads;    /* 1..EXPLORE_THREADS */
	bool deaths;         /* thread 0 may die before any of its operations */
	void (*reset)(void); /* the state every schedule starts from */
	void (*run)(unsigned thread);
	uint64_t (*state)(void);               /* hash of all that is shared */
	const char *(*wrong)(bool first_died); /* at the end of a schedule: what is wrong, or NULL */
};

struct explore_result {
	uint64_t schedules, states;
};

bool explore(const struct explore_world *w, struct explore_result *out);

/* What the replaced operations call. */
void explore_point(void);         /* before an operation: others may run */
void explore_saw(uint64_t value); /* what it returned: part of the thread's state */
void explore_pause(void);         /* in a spin loop: nothing to do until the state changes */

#endif
