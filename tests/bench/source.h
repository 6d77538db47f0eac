/* source: what the lab's generator (bench_sender.c) and its program in the kernel (source.bpf.c) share.
 *
 * What       the program makes frames of two kinds: good ones, of so many subscribers' flows, towards the appliance's inside
 *            interface, and junk, from anywhere to any port of the NAT addresses, towards its outside interface.
 * Units      addresses in host order; frames of 60 bytes, 64 on the wire.
 * Ownership  one state in a map of one entry; the generator writes it while the program does not run.
 * Calls      one CPU at a time runs the program. Errors: none.
 * Use        fill a source_state, store it, run the program over live frames, read `made` back.
 */
#ifndef CORENAT_TESTS_BENCH_SOURCE_H
#define CORENAT_TESTS_BENCH_SOURCE_H

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/types.h>
#include <linux/udp.h>

#define SOURCE_SUBSCRIBERS 0x64410000u /* 100.65.0.0, RFC 6598 */
#define SOURCE_STRANGERS 0x08000000u   /* junk's: not where good packets go */
#define SOURCE_SCRAMBLE 2654435761u    /* prime: all flows in turn, each once, but not in order */
#define SOURCE_DISCARD_PORT 9          /* RFC 863 */

enum {
	SOURCE_FRAME = 60,          /* bytes */
	SOURCE_PER_SUBSCRIBER = 64, /* flows */
	SOURCE_FIRST_PORT = 20000,
	SOURCE_PORTS = 65535,
	SOURCE_PERCENT = 100,
};

enum source_kind { SOURCE_GOOD, SOURCE_JUNK, N_SOURCE };

struct source_frame {
	struct ethhdr eth;
	struct iphdr ip;
	struct udphdr udp;
	__u8 payload[18];
} __attribute__((packed));

struct source_state {
	__u64 made[N_SOURCE];             /* so far; the good ones' number chooses the flow, unless chance does */
	__u32 flows;                      /* so many at a time; after so many the first comes again */
	__u32 per_flow;                   /* good packets after which a new flow takes an old one's place; 0: never */
	__u32 at_random;                  /* flows are drawn, anew in each run; else they come in turn */
	__u32 junk_percent;               /* of all frames */
	__u32 pool, pool_addresses;       /* where junk goes: so many from this on */
	__u32 remote;                     /* where good ones go */
	__u32 ip_sum, udp_sum;            /* of what is the same in all frames */
	__u8 mac[N_SOURCE][2 * ETH_ALEN]; /* destination and source */
	struct source_frame frame;        /* what is the same in all frames */
};

#endif
