/* io: where an engine's packets come from and go to.
 *
 * What       the interface between the engine loop and a packet backend. Two exist: AF_XDP (io_afxdp.h)
 *            and replay (io_replay.h). The NAT core never sees either.
 * Units      packets; milliseconds for wait.
 * Ownership  a frame that rx handed out must come back exactly once, by tx or by drop. The engine may
 *            keep up to IO_HOLD_MAX meanwhile (packets that wait for a next hop).
 * Calls      the engine's thread only. No call blocks but wait. No call but flush and wait makes a system call.
 * Errors     rx returns 0 when nothing is there. tx returns how many leading packets were taken; the rest are
 *            still the caller's, to drop.
 * Use        n = io->ops->rx(io, SIDE_INSIDE, burst, BURST_MAX); core; tx; drop; io->ops->flush(io);
 */
#ifndef CORENAT_PE_IO_H
#define CORENAT_PE_IO_H

#include "pe/packet.h"

enum { IO_HOLD_MAX = 1024 };

struct io;

/* What a backend itself counts; taken into the engine's counters now and then. The first three count since this
 * io was opened: add what they grew by. The xdp_ ones survive engines and count while none is there, since the
 * program's maps were made: an engine stores them as they are. */
struct io_stats {
	uint64_t kicks; /* calls that asked the kernel to transmit */
	uint64_t polls; /* calls that woke or polled reception */
	uint64_t rx_ring_drops;
	uint64_t xdp_no_engine;
	uint64_t xdp_to_kernel;
};

struct io_ops {
	unsigned (*rx)(struct io *io, enum side side, struct packet *burst, unsigned max);
	/* Sends burst[0..n), all of which have out == side. */
	unsigned (*tx)(struct io *io, enum side side, const struct packet *burst, unsigned n);
	void (*drop)(struct io *io, const struct packet *burst, unsigned n);
	/* Empty frames for packets of the engine's own making, as if rx had handed them out: data, and len bytes of
	 * room. Returns how many there were. */
	unsigned (*take)(struct io *io, struct packet *out, unsigned n);
	/* Once per loop turn: kick transmit where the kernel wants it, reclaim completions, refill. */
	void (*flush)(struct io *io);
	/* Sleeps until a packet arrives or the time has passed. */
	void (*wait)(struct io *io, unsigned timeout_ms);
	void (*stats)(struct io *io, struct io_stats *out);
	void (*close)(struct io *io);
};

/* First member of every backend's own struct. */
struct io {
	const struct io_ops *ops;
	span_t kernel; /* spent in flush's system calls since it was opened; */
};

#endif
