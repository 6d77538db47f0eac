/* corenat_xdp: what the XDP program and user space agree on: map layouts and sizes.
 *
 * What       keys, values and capacities of the pinned maps. A change here makes another set of maps: engines
 *            of the older build refuse it, and the other way round.
 * Units      addresses in network order; counts in packets.
 * Ownership  the maps belong to the appliance; see pe/xdp.h.
 * Calls      included by the BPF program and by pe/xdp*.c only.
 * Errors     none.
 */
#ifndef CORENAT_PE_BPF_CORENAT_XDP_H
#define CORENAT_PE_BPF_CORENAT_XDP_H

#include <linux/types.h>

enum {
	XDP_QUEUES = 64, /* queues a side can have: ENGINE_MAX, a power of two */
	XDP_INSIDE = 0,  /* enum side */
	XDP_OUTSIDE = 1,

	/* Twice what the configuration allows: a sync adds the new before it removes the old. */
	XDP_SUBSCRIBERS_MAX = 2 * 1088,
	XDP_LOCAL_MAX = 2 * 8192, /* ROUTES_MAX */
	XDP_POOL_MAX = 2 * 4096,
	XDP_BYPASS_MAX = 2 * (64 + 512), /* NAT_BYPASS_PREFIXES */
};

/* Key of the longest-prefix maps. */
struct xdp_prefix {
	__u32 len;   /* bits: 32 of the realm, and 0..32 of the address */
	__u32 realm; /* VLAN id; only of `local`: the others have 0 */
	__u32 addr;  /* network order, host bits zero */
};

/* Value of queue_stats, per CPU; its index is side * XDP_QUEUES + queue. */
struct xdp_queue_stats {
	__u64 redirected; /* given to the engine's socket */
	__u64 no_engine;  /* dropped: no engine on this queue */
	__u64 to_kernel;
};

#endif
