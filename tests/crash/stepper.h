/* stepper: runs an operation one instruction at a time.
 *
 * What       the operation runs in a child process over memory shared with the caller; after each of its instructions
 *            the child stands still and the caller looks. What it sees is what a kill at that instruction leaves: a
 *            process has no other effect on shared memory than its instructions. So one run shows every death.
 * Units      instructions. Ownership  the child is ended before the call returns.
 * Calls      one thread; operations may be stepped inside `at` of another.
 * Errors     -1 and a line on stderr when the operation itself died, or the machine does not let us trace.
 *
 * Stepped over, as one: functions outside the program (the C library's), and those listed in `over`.
 */
#ifndef CORENAT_TESTS_STEPPER_H
#define CORENAT_TESTS_STEPPER_H

#include <stdint.h>

struct stepper {
	void (*operate)(void *context);
	void (*at)(void *context, long instruction); /* after each one; 0: before the first */
	void *context;
	const void *const *over; /* functions, NULL-terminated; NULL: none */
};

/* How many instructions it took. */
long stepper_run(const struct stepper *s);

#endif
