/* xdp: the XDP programs on the two interfaces, and the pinned maps that tell them what is ours.
 *
 * What       loads, attaches and pins the programs of pe/bpf/ once for all engines of an appliance, and keeps
 *            the prefix maps in step with the configuration. A directory on a bpffs holds the pins:
 *            `link_inside`, `link_outside` (the attachments), `prog_inside`, `prog_outside`, and one per map.
 * Units      packets.
 * Ownership  the pins keep programs, maps and counts alive when engines go: without an engine a queue drops
 *            (fails closed). xdp_remove alone takes them away. xdp_close frees the caller's handle only.
 * Calls      any process with CAP_NET_ADMIN and CAP_BPF. Calls that change something take an exclusive flock on the
 *            directory, so that engines may start, sync and remove at once; they wait for each other.
 * Errors     negative errno, after one log line that says what failed and what would help.
 * Death      of a process half-way: pins and attachment are made in an order that the next xdp_open completes;
 *            the kernel releases the lock.
 * Use        xdp_open(&x, &p); xsk_socket__update_xskmap(s, xdp_socket_map(x, SIDE_INSIDE)); xdp_apply(x, &rules);
 */
#ifndef CORENAT_PE_XDP_H
#define CORENAT_PE_XDP_H

#include "shm/snapshot.h"

struct xdp;

struct xdp_params {
	const char *interface[N_SIDES];
	const char *bpffs; /* directory; made if missing, and a bpffs mounted on it if it is not on one */
	enum xdp_mode mode;
};

/* Attaches what no earlier engine attached, and replaces, without a gap, programs of another build. Refuses, clearly,
 * when a foreign program is there (-EBUSY) or the maps are of another layout (-EPROTO). */
int xdp_open(struct xdp **out, const struct xdp_params *params);
void xdp_close(struct xdp *x);

/* The map that a socket of this side enters itself into; lives as long as x. */
int xdp_socket_map(const struct xdp *x, enum side side);

/* True when the program runs in the driver, false when on socket buffers (generic). */
bool xdp_is_native(const struct xdp *x, enum side side);

/* Which packets are ours. Counts are list lengths. */
struct xdp_rules {
	const struct snapshot_prefix
		*subscribers; /* inside: sources that go to the engine, whatever their tag: realm 0 */
	unsigned n_subscribers;
	const struct snapshot_prefix *local; /* inside: destinations that stay with the kernel */
	unsigned n_local;
	const struct address_range *pool; /* outside: destinations that go to the engine */
	unsigned n_pool;
	const struct snapshot_prefix
		*bypass; /* outside: subscribers' own addresses that go to the engine, unless they are local */
	unsigned n_bypass;
};

/* Makes the maps say exactly this, adding before removing so that no packet of a prefix that stays is ever
 * misjudged. On error the maps hold at least what is common to the old and the new rules. */
int xdp_apply(struct xdp *x, const struct xdp_rules *rules);

/* What became of one queue's packets, both sides together, since the maps were made. */
struct xdp_counts {
	uint64_t redirected;
	uint64_t no_engine;
	uint64_t to_kernel;
};

int xdp_count(struct xdp *x, unsigned queue, struct xdp_counts *out);

/* Detaches the programs and unpins everything: the appliance is being removed. Interfaces that are gone and
 * pins that are missing are no error. */
int xdp_remove(const char *bpffs);

#endif
