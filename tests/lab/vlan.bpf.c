/* vlan: VLANs for the lab, on kernels that make VLAN links and on those that do not.
 *
 * At a trunk's ingress a tag is taken off, and the packet goes on at the port of its VLAN; at a port it gets the tag and
 * leaves by the trunk. The map of the attached program says which of both, and where to.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define VLAN_ID_MASK 0x0fff

struct vlan_way {
	__u32 ifindex; /* 0: goes on as it is */
	__u32 flags;   /* of bpf_redirect */
	__u32 vlan;    /* to put on what has none */
};

/* By the VLAN id a packet has; 0: none. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, VLAN_ID_MASK + 1);
	__type(key, __u32);
	__type(value, struct vlan_way);
} vlan_ways SEC(".maps");

SEC("tc")
int vlan(struct __sk_buff *skb)
{
	__u32 id = skb->vlan_present ? skb->vlan_tci & VLAN_ID_MASK : 0;
	const struct vlan_way *way = bpf_map_lookup_elem(&vlan_ways, &id);

	if (!way || !way->ifindex)
		return TC_ACT_OK;
	if (id ? bpf_skb_vlan_pop(skb) : bpf_skb_vlan_push(skb, bpf_htons(ETH_P_8021Q), way->vlan))
		return TC_ACT_SHOT;
	return bpf_redirect(way->ifindex, way->flags);
}

const char _license[] SEC("license") = "GPL";
