/* source: makes the frames of `make bench`'s lab in the kernel.
 *
 * Runs over live frames (BPF_F_TEST_XDP_LIVE_FRAMES): each frame it is given it fills and sends to a device of the map,
 * whose veth peer is one of the appliance's interfaces. That costs a tenth of what a packet socket does, so that one
 * CPU offers more than any contender on another can carry. */
#include <linux/bpf.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "tests/bench/source.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct source_state);
} source_state SEC(".maps");

/* By kind: the peers of the inside and the outside interface, in namespaces of their own. */
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, N_SOURCE);
	__type(key, __u32);
	__type(value, __u32);
} source_device SEC(".maps");

static __always_inline __u16 folded(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

static __always_inline __u32 sum_of(__u32 net)
{
	return (net & 0xffff) + (net >> 16);
}

static __always_inline void fill(struct source_frame *f, const struct source_state *s, enum source_kind kind, __u32 src,
	__u32 dst, __u16 sport, __u16 dport)
{
	__u32 addresses;

	*f = s->frame;
	__builtin_memcpy(&f->eth, s->mac[kind], sizeof s->mac[kind]);
	f->ip.saddr = bpf_htonl(src);
	f->ip.daddr = bpf_htonl(dst);
	f->udp.source = bpf_htons(sport);
	f->udp.dest = bpf_htons(dport);
	addresses = sum_of(f->ip.saddr) + sum_of(f->ip.daddr);
	f->ip.check = folded(s->ip_sum + addresses);
	f->udp.check = folded(s->udp_sum + addresses + f->udp.source + f->udp.dest);
	if (!f->udp.check)
		f->udp.check = 0xffff;
}

static __always_inline __u64 choose_flow(const struct source_state *s)
{
	if (s->at_random)
		return (__u64)bpf_get_prandom_u32() * s->flows >> 32;
	return s->made[SOURCE_GOOD] * SOURCE_SCRAMBLE % s->flows;
}

static __always_inline void fill_good(struct source_frame *f, const struct source_state *s)
{
	__u64 flow = choose_flow(s);

	if (s->per_flow)
		flow += s->made[SOURCE_GOOD] / s->per_flow;
	fill(f, s, SOURCE_GOOD, SOURCE_SUBSCRIBERS + flow / SOURCE_PER_SUBSCRIBER, s->remote,
		SOURCE_FIRST_PORT + flow % SOURCE_PER_SUBSCRIBER, SOURCE_DISCARD_PORT);
}

static __always_inline void fill_junk(struct source_frame *f, const struct source_state *s)
{
	__u32 a = bpf_get_prandom_u32(), b = bpf_get_prandom_u32();

	fill(f, s, SOURCE_JUNK, SOURCE_STRANGERS + (a & 0xffffff), s->pool + b % s->pool_addresses, a >> 16,
		1 + (b >> 16) % SOURCE_PORTS);
}

SEC("xdp")
int source(struct xdp_md *ctx)
{
	struct source_frame *f = (void *)(long)ctx->data;
	__u32 zero = 0, kind;
	struct source_state *s = bpf_map_lookup_elem(&source_state, &zero);

	if (!s || (void *)(f + 1) > (void *)(long)ctx->data_end || !s->flows || !s->pool_addresses)
		return XDP_DROP;
	kind = (s->made[SOURCE_GOOD] + s->made[SOURCE_JUNK]) % SOURCE_PERCENT * s->junk_percent % SOURCE_PERCENT <
			       s->junk_percent
		       ? SOURCE_JUNK
		       : SOURCE_GOOD;
	if (kind == SOURCE_GOOD)
		fill_good(f, s);
	else
		fill_junk(f, s);
	s->made[kind]++;
	return bpf_redirect_map(&source_device, kind, 0);
}

const char _license[] SEC("license") = "GPL";
