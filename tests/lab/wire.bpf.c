/* wire: counts what arrives from the appliance on the outside wire, by the realm of its source
 * address.
 *
 * Runs at tc ingress of the Internet's end of that wire. Packets whose source is a private or
 * shared address (RFC 1918, RFC 6598) have left untranslated: tests assert that there are none.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

enum { WIRE_PUBLIC, WIRE_PRIVATE, WIRE_NOT_IPV4, N_WIRE };

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, N_WIRE);
	__type(key, __u32);
	__type(value, __u64);
} wire_packets SEC(".maps");

static __always_inline int is_private(__u32 a)
{
	return (a & 0xff000000) == 0x0a000000 || /* 10.0.0.0/8 */
	       (a & 0xffc00000) == 0x64400000 || /* 100.64.0.0/10 */
	       (a & 0xfff00000) == 0xac100000 || /* 172.16.0.0/12 */
	       (a & 0xffff0000) == 0xc0a80000;   /* 192.168.0.0/16 */
}

SEC("tc")
int wire(struct __sk_buff *skb)
{
	__u32 realm = WIRE_NOT_IPV4, saddr;

	if (skb->protocol == bpf_htons(ETH_P_IP) &&
		!bpf_skb_load_bytes(skb, ETH_HLEN + __builtin_offsetof(struct iphdr, saddr), &saddr, 4))
		realm = is_private(bpf_ntohl(saddr)) ? WIRE_PRIVATE : WIRE_PUBLIC;

	__u64 *packets = bpf_map_lookup_elem(&wire_packets, &realm);
	if (packets)
		(*packets)++;
	return TC_ACT_OK;
}

const char _license[] SEC("license") = "GPL";
