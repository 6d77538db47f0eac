/* rss: makes a veth pair behave like a NIC with receive side scaling.
 *
 * Runs at tc egress of the peer of an appliance's interface: computes the Toeplitz hash a NIC would
 * (source address, destination address, and for TCP and UDP packets that are not fragments both
 * ports), looks the queue up in the indirection table, and writes it where veth takes the receive
 * queue from.
 *
 * Toeplitz is linear: the hash is the XOR of one word per input byte, which depends on the byte's
 * position and value alone. The lab expands the key into these words (corenat_lab/rss.py), so that
 * hashing costs at most twelve loads and tests compare two independent ways to the same number.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define IP_MORE_OR_OFFSET 0x3fff /* more-fragments flag and fragment offset */

enum {
	INPUT_ADDRESSES = 8, /* bytes: source and destination address */
	INPUT_MAX = 12,      /* and both ports */
	TABLE_MAX = 2048,    /* as common/config.h: RSS_TABLE_MAX */
	QUEUE_MAX = 64,
};

struct rss_config {
	__u32 words[INPUT_MAX][256]; /* the key, expanded: by position and value of an input byte */
	__u32 table_mask;            /* entries - 1; entries are a power of two */
	__u8 table[TABLE_MAX];       /* hash to queue */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct rss_config);
} rss_config SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, QUEUE_MAX);
	__type(key, __u32);
	__type(value, __u64);
} rss_packets SEC(".maps");

/* Fills in[] with what is hashed; returns how many bytes, 0 for what is not IPv4. */
static __always_inline int hash_input(struct __sk_buff *skb, __u8 in[INPUT_MAX])
{
	struct iphdr ip;

	if (skb->protocol != bpf_htons(ETH_P_IP))
		return 0;
	if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)))
		return 0;
	__builtin_memcpy(in, &ip.saddr, 4);
	__builtin_memcpy(in + 4, &ip.daddr, 4);
	if (ip.protocol != IPPROTO_TCP && ip.protocol != IPPROTO_UDP)
		return INPUT_ADDRESSES;
	if (ip.frag_off & bpf_htons(IP_MORE_OR_OFFSET))
		return INPUT_ADDRESSES;
	if (bpf_skb_load_bytes(skb, ETH_HLEN + ip.ihl * 4, in + INPUT_ADDRESSES, 4))
		return INPUT_ADDRESSES;
	return INPUT_MAX;
}

static __always_inline __u32 toeplitz(const struct rss_config *c, const __u8 *in, int n)
{
	__u32 hash = 0;

#pragma unroll
	for (int i = 0; i < INPUT_MAX; i++)
		if (i < n)
			hash ^= c->words[i][in[i]];
	return hash;
}

SEC("tc")
int rss(struct __sk_buff *skb)
{
	__u8 in[INPUT_MAX] = {0};
	__u32 key = 0;
	const struct rss_config *c = bpf_map_lookup_elem(&rss_config, &key);

	if (!c)
		return TC_ACT_OK;
	__u32 hash = toeplitz(c, in, hash_input(skb, in));
	__u32 queue = c->table[hash & c->table_mask & (TABLE_MAX - 1)];
	skb->queue_mapping = queue + 1;

	__u64 *packets = bpf_map_lookup_elem(&rss_packets, &queue);
	if (packets)
		(*packets)++;
	return TC_ACT_OK;
}

const char _license[] SEC("license") = "GPL";
