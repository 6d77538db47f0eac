/* io_afxdp: packet I/O through AF_XDP sockets, and the XDP program that feeds them.
 *
 * What       one engine's two sockets (its queue of the inside and of the outside interface) over one
 *            shared umem: what comes in on one side goes out on the other without a copy of ours. The pinned XDP
 *            programs and maps, which all engines of the appliance share, are pe/xdp.h.
 * Units      ring sizes in descriptors; frames of 2 KiB, of which a packet can fill 1792 bytes.
 * Ownership  io_afxdp_open's result is closed by ops->close. The program and its maps stay attached and
 *            pinned when engines go: without an engine its queue drops (fails closed).
 * Calls      the engine's thread; xdp_sync may be called by several engines at once (it locks).
 * Errors     NULL / negative errno, after one log line that says what failed and what would help.
 * Frames     each is in exactly one place: the free stack, a side's fill or receive ring, the engine's hands, a
 *            side's transmit or completion ring. flush asserts the sum; sanitizer builds check each move.
 * Use        io = io_afxdp_open(&params); xdp_sync(io, &rules); loop as in pe/io.h; io->ops->close(io);
 */
#ifndef CORENAT_PE_IO_AFXDP_H
#define CORENAT_PE_IO_AFXDP_H

#include "common/config.h"
#include "pe/io.h"
#include "pe/xdp.h"

struct io_afxdp_params {
	const char *interface[N_SIDES];
	const char *bpffs; /* directory on a bpffs, made if missing; the file system is mounted if need be */
	unsigned queue;
	unsigned ring_size; /* descriptors, a power of two */
	enum xdp_mode mode;
	enum zero_copy zero_copy;
	enum busy_poll busy_poll;
	unsigned busy_poll_budget; /* packets; 0: the kernel's */
	bool realms; /* told by VLAN tags: an inside interface that cannot be made to leave them in frames is refused */
};

/* Attaches the program to both interfaces if no earlier engine did (refusing, clearly, when a foreign
 * program is there), makes umem and sockets, and enters the sockets into the maps. Retries EBUSY for two
 * seconds: a predecessor's sockets are released by the kernel a moment after its death. */
struct io *io_afxdp_open(const struct io_afxdp_params *params);

/* How each side runs, for people: "native, copy, need-wakeup", with ", busy-poll 64" where the engine polls the driver. Static storage of the io. */
const char *io_afxdp_describe(const struct io *io, enum side side);

/* Makes the pinned maps say exactly this (pe/xdp.h: xdp_apply). Any engine may call it at any time. */
int xdp_sync(struct io *io, const struct xdp_rules *rules);

#endif
