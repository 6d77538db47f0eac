/* turns: how long the turns of an engine's loop take.
 *
 * What       counts each turn in the row of its wall-clock time (counters.h: turns_*), and one that took more than a millisecond of
 *            this thread's time as a stall: the engine's, or the kernel's when it was spent in system calls. What the kernel or
 *            a hypervisor gave the processor to meanwhile is neither's doing.
 * Units      nanoseconds, in mono_t and span_t.
 * Ownership  private to the engine's thread. Calls: that thread only.
 * Errors     none.
 * Use        turns_wake(&t, now, cpu()); each turn: turns_count(&t, counters, from, to, io->kernel, cpu);
 * Costs      a comparison a turn. The processor's clock is a system call: it is read once a millisecond, and after a turn that
 *            took long; what was lost since it was last read is taken for that turn's.
 */
#ifndef CORENAT_PE_TURNS_H
#define CORENAT_PE_TURNS_H

#include "shm/engine.h"

struct turns {
	mono_t looked; /* when the processor's clock was read */
	span_t spent;  /* what it showed: the time this thread has had */
	span_t kernel; /* in system calls, when the last turn ended */
};

/* What a thread has had of its processor. */
span_t turns_cpu(void);

/* After sleep, which is no turn's. */
void turns_wake(struct turns *t, mono_t now, span_t spent);

/* `kernel`: what all turns until now have spent in system calls. Returns what the engine's own work took of a stall; 0: it
 * was none. A kernel that does not account the time of interrupts leaves it with the work it interrupted. */
span_t turns_count(struct turns *t, struct actor *actor, mono_t from, mono_t to, span_t kernel, span_t (*cpu)(void));

#endif
