/* xdp_internal: what pe/xdp.c and pe/xdp_maps.c share. Contract: pe/xdp.h. */
#ifndef CORENAT_PE_XDP_INTERNAL_H
#define CORENAT_PE_XDP_INTERNAL_H

#include "pe/xdp.h"

/* The pinned maps; names are those of pe/bpf/corenat_xdp.bpf.c and of the pins. */
#define XDP_MAPS(M)                                                                                                    \
	M(xsks_inside) /* first: indexed by side */                                                                    \
	M(xsks_outside)                                                                                                \
	M(subscribers)                                                                                                 \
	M(local)                                                                                                       \
	M(pool)                                                                                                        \
	M(bypass)                                                                                                      \
	M(queue_stats)

enum xdp_map {
#define M(name) XDP_MAP_##name,
	XDP_MAPS(M)
#undef M
		N_XDP_MAPS
};

struct xdp {
	char dir[CONFIG_PATH_SIZE];
	int map[N_XDP_MAPS];
	bool native[N_SIDES];
	int n_cpus; /* possible CPUs: values of a per-CPU map */
};

#endif
