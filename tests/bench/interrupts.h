/* interrupts: what interrupts.bpf.c keeps, and bench_interrupts reads. */
#ifndef CORENAT_BENCH_INTERRUPTS_H
#define CORENAT_BENCH_INTERRUPTS_H

#include <linux/types.h>

enum { INTERRUPTIONS = 1 << 18, SHORTEST_NS = 50000 };

struct interruption {
	__u64 from, to; /* CLOCK_MONOTONIC ns */
};

/* Written on the processor that the thread is on, but for `thread`. */
struct watched {
	__u32 thread;
	__u32 in_call;
	__u32 depth; /* entries without their exit */
	__u32 kept;  /* beyond INTERRUPTIONS the oldest are overwritten */
	__u64 from;
};

#endif
