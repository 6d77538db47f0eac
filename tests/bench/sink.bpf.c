/* sink: the far end of `make bench`'s lab: counts the generator's packets as they arrive, and drops them.
 *
 * As an XDP program, so that receiving costs the same little for every contender. Translated and untranslated
 * sources (RFC 6598) are told apart: a contender that does not translate does not win. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define DISCARD_PORT 9 /* RFC 863; what bench_sender sends to */

enum { SINK_TRANSLATED, SINK_UNTRANSLATED, N_SINK };

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, N_SINK);
	__type(key, __u32);
	__type(value, __u64);
} sink_packets SEC(".maps");

struct headers {
	struct ethhdr eth;
	struct iphdr ip;
	struct udphdr udp;
} __attribute__((packed));

SEC("xdp")
int sink(struct xdp_md *ctx)
{
	struct headers *h = (void *)(long)ctx->data;

	if ((void *)(h + 1) > (void *)(long)ctx->data_end || h->eth.h_proto != bpf_htons(ETH_P_IP) ||
		h->ip.protocol != IPPROTO_UDP || h->udp.dest != bpf_htons(DISCARD_PORT))
		return XDP_PASS;
	__u32 which =
		(h->ip.saddr & bpf_htonl(0xffc00000)) == bpf_htonl(0x64400000) ? SINK_UNTRANSLATED : SINK_TRANSLATED;
	__u64 *packets = bpf_map_lookup_elem(&sink_packets, &which);
	if (packets)
		(*packets)++;
	return XDP_DROP;
}

const char _license[] SEC("license") = "GPL";
