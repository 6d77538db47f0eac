/* The XDP programs: which packets go to the engine of their queue, and which to the kernel.
 *
 * Inside, what a subscriber sends, of whatever realm, goes to the engine, unless it is for the appliance itself or for a
 * group. The appliance has addresses of its own in each realm, which is the VLAN id.
 * Outside, what is for a NAT address goes to the engine, and what is for a subscriber's own address that a rule exempts
 * from translation. Everything else is the kernel's.
 *
 * Fails closed: without an engine the packet is dropped and counted, and what cannot be judged on the inside
 * (headers cut short, more than two VLAN tags) goes to the engine too, which drops it with a verdict. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "pe/bpf/corenat_xdp.h"

#define VLAN_TAGS_MAX 2

#define PREFIX_MAP(name, size)                                                                                         \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_LPM_TRIE);                                                                   \
		__uint(map_flags, BPF_F_NO_PREALLOC);                                                                  \
		__uint(max_entries, size);                                                                             \
		__type(key, struct xdp_prefix);                                                                        \
		__type(value, __u32);                                                                                  \
		__uint(pinning, LIBBPF_PIN_BY_NAME);                                                                   \
	} name SEC(".maps")

#define SOCKET_MAP(name)                                                                                               \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_XSKMAP);                                                                     \
		__uint(max_entries, XDP_QUEUES);                                                                       \
		__type(key, __u32);                                                                                    \
		__type(value, __u32);                                                                                  \
		__uint(pinning, LIBBPF_PIN_BY_NAME);                                                                   \
	} name SEC(".maps")

PREFIX_MAP(subscribers, XDP_SUBSCRIBERS_MAX);
PREFIX_MAP(local, XDP_LOCAL_MAX);
PREFIX_MAP(pool, XDP_POOL_MAX);
PREFIX_MAP(bypass, XDP_BYPASS_MAX);
SOCKET_MAP(xsks_inside);
SOCKET_MAP(xsks_outside);

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2 * XDP_QUEUES);
	__type(key, __u32);
	__type(value, struct xdp_queue_stats);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} queue_stats SEC(".maps");

enum kind { KIND_IPV4, KIND_OTHER, KIND_ODD };

struct vlan_tag {
	__be16 tci;
	__be16 type;
};

#define VLAN_ID_MASK 0x0fff

/* Finds the IPv4 header behind up to two VLAN tags, and the id in the first. KIND_ODD: it may be IPv4, but cannot be read. */
static __always_inline enum kind find_ipv4(struct xdp_md *ctx, struct iphdr **out, __u32 *realm)
{
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = (void *)(long)ctx->data;
	void *at = eth + 1;
	__be16 type;

	if (at > end)
		return KIND_ODD;
	type = eth->h_proto;
	*realm = 0;
	for (int i = 0; i <= VLAN_TAGS_MAX; i++) {
		struct vlan_tag *tag = at;

		if (type != bpf_htons(ETH_P_8021Q) && type != bpf_htons(ETH_P_8021AD))
			break;
		if (i == VLAN_TAGS_MAX || (void *)(tag + 1) > end)
			return KIND_ODD;
		if (i == 0)
			*realm = bpf_ntohs(tag->tci) & VLAN_ID_MASK;
		type = tag->type;
		at = tag + 1;
	}
	if (type != bpf_htons(ETH_P_IP))
		return KIND_OTHER;
	*out = at;
	return (void *)(*out + 1) > end ? KIND_ODD : KIND_IPV4;
}

static __always_inline bool listed(void *prefixes, __u32 realm, __be32 addr)
{
	struct xdp_prefix key = {.len = 64, .realm = realm, .addr = addr};

	return bpf_map_lookup_elem(prefixes, &key) != 0;
}

/* Queues past XDP_QUEUES, which no engine serves, are counted with the queue they fold onto. */
static __always_inline struct xdp_queue_stats *stats_of(struct xdp_md *ctx, __u32 side)
{
	__u32 index = side * XDP_QUEUES + (ctx->rx_queue_index & (XDP_QUEUES - 1));

	return bpf_map_lookup_elem(&queue_stats, &index);
}

static __always_inline int to_kernel(struct xdp_md *ctx, __u32 side)
{
	struct xdp_queue_stats *stats = stats_of(ctx, side);

	if (stats)
		stats->to_kernel++;
	return XDP_PASS;
}

static __always_inline int to_engine(struct xdp_md *ctx, __u32 side, void *sockets)
{
	struct xdp_queue_stats *stats = stats_of(ctx, side);
	__u32 queue = ctx->rx_queue_index;

	if (!bpf_map_lookup_elem(sockets, &queue)) {
		if (stats)
			stats->no_engine++;
		return XDP_DROP;
	}
	if (stats)
		stats->redirected++;
	return bpf_redirect_map(sockets, queue, XDP_DROP);
}

/* A frame to a group is the kernel's (DHCP, routing protocols), whatever IP address it carries: the kernel
 * never forwards what it did not get addressed to its own MAC. */
static __always_inline bool for_group(struct xdp_md *ctx, const struct iphdr *ip)
{
	struct ethhdr *eth = (void *)(long)ctx->data;

	if ((void *)(eth + 1) > (void *)(long)ctx->data_end)
		return false;
	return (eth->h_dest[0] & 1) || (ip->daddr & bpf_htonl(0xf0000000)) == bpf_htonl(0xe0000000) ||
	       ip->daddr == bpf_htonl(0xffffffff);
}

/* The appliance's own addresses. A NAT address is never one, though it may be configured on an interface
 * (hairpinning); nor does a packet with IP options count: a source route would have the kernel forward it. */
static __always_inline bool for_appliance(const struct iphdr *ip, __u32 realm)
{
	return ip->ihl == 5 && listed(&local, realm, ip->daddr) && !listed(&pool, 0, ip->daddr);
}

SEC("xdp")
int corenat_inside(struct xdp_md *ctx)
{
	struct iphdr *ip;
	__u32 realm;

	switch (find_ipv4(ctx, &ip, &realm)) {
	case KIND_OTHER:
		return to_kernel(ctx, XDP_INSIDE);
	case KIND_ODD:
		return to_engine(ctx, XDP_INSIDE, &xsks_inside);
	case KIND_IPV4:
		break;
	}
	if (!listed(&subscribers, 0, ip->saddr) || for_group(ctx, ip) || for_appliance(ip, realm))
		return to_kernel(ctx, XDP_INSIDE);
	return to_engine(ctx, XDP_INSIDE, &xsks_inside);
}

SEC("xdp")
int corenat_outside(struct xdp_md *ctx)
{
	struct iphdr *ip;
	__u32 realm;

	if (find_ipv4(ctx, &ip, &realm) != KIND_IPV4)
		return to_kernel(ctx, XDP_OUTSIDE);
	if (!listed(&pool, 0, ip->daddr) && (!listed(&bypass, 0, ip->daddr) || for_appliance(ip, 0)))
		return to_kernel(ctx, XDP_OUTSIDE);
	return to_engine(ctx, XDP_OUTSIDE, &xsks_outside);
}
