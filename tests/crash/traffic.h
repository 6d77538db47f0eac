/* traffic: packets and a small appliance for the crash and concurrency tests.
 *
 * What       flows of a small universe as frames, the reply a translated frame would get, and a configuration for N
 *            engines whose tables are as small as the test wants.
 * Units      host byte order in struct tuple; seconds as elsewhere.
 * Ownership  plain values; frames are the caller's.
 * Calls      any thread. Errors  none: a configuration that does not parse is a broken test and aborts.
 * Use        struct tuple t = tuple_of(L4_UDP, 1, 5000, 7, 53); frame_make(&frame, &t, SIDE_INSIDE, 0);
 *            nat_burst(n, &frame.packet, 1, now); reply = frame_reply(&frame);
 */
#ifndef CORENAT_TESTS_TRAFFIC_H
#define CORENAT_TESTS_TRAFFIC_H

#include "common/config.h"
#include "common/headers.h"
#include "pe/nat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FRAME_BYTES = 54, FRAME_ROOM = 96, FIXED_INSIDE = 1000, FIXED_PORT = 80 };
#define SUBSCRIBERS 0x64400000u /* 100.64.0.0/10, RFC 6598 */
#define POOL 0xc6336400u        /* 198.51.100.0/24, RFC 5737 */
#define REMOTES 0xcb007100u     /* 203.0.113.0/24, RFC 5737 */

/* A packet's addresses as it is sent. */
struct tuple {
	uint32_t src, dst;
	uint16_t sport, dport;
	uint8_t l4;
};

struct frame {
	struct packet packet;
	uint8_t bytes[FRAME_ROOM]; /* refused, it may become an ICMP error, which is longer */
};

static const uint8_t protocol_of[N_L4] = {[L4_TCP] = PROTO_TCP, [L4_UDP] = PROTO_UDP, [L4_ICMP] = PROTO_ICMP};

/* Subscriber `inside` to remote `remote`; an echo request has an identifier and no second port. */
static inline struct tuple tuple_of(enum l4 l4, uint32_t inside, uint16_t sport, uint32_t remote, uint16_t dport)
{
	return (struct tuple){SUBSCRIBERS + inside, REMOTES + remote, sport, l4 == L4_ICMP ? 0 : dport, (uint8_t)l4};
}

/* `flags` are a TCP segment's. */
static inline void frame_make(struct frame *f, const struct tuple *t, enum side side, uint8_t flags)
{
	const struct eth_header eth = {.type = be16_of(ETHERTYPE_IPV4)};
	const struct ip4_header ip = {
		.version_ihl = 0x45,
		.total_size = be16_of(FRAME_BYTES - sizeof eth),
		.ttl = 64,
		.protocol = protocol_of[t->l4],
		.src = be32_of(t->src),
		.dst = be32_of(t->dst),
	};
	struct tcp_header tcp = {be16_of(t->sport), be16_of(t->dport), .offset = 5 << 4, .flags = flags};
	const struct icmp_header icmp = {
		.type = side == SIDE_INSIDE ? ICMP_ECHO_REQUEST : ICMP_ECHO_REPLY,
		.id = be16_of(side == SIDE_INSIDE ? t->sport : t->dport),
	};

	if (t->l4 == L4_ICMP)
		memcpy(&tcp, &icmp, sizeof icmp);
	memcpy(f->bytes, &eth, sizeof eth);
	memcpy(f->bytes + sizeof eth, &ip, sizeof ip);
	memcpy(f->bytes + sizeof eth + sizeof ip, &tcp, sizeof tcp);
	f->packet = (struct packet){.data = f->bytes, .len = FRAME_BYTES, .side = (uint8_t)side};
}

/* What the remote would answer to an outbound frame as it was sent on. */
static inline struct tuple frame_reply(const struct frame *f)
{
	struct ip4_header ip;
	struct tcp_header tcp;

	memcpy(&ip, f->bytes + sizeof(struct eth_header), sizeof ip);
	memcpy(&tcp, f->bytes + sizeof(struct eth_header) + sizeof ip, sizeof tcp);
	struct tuple reply = {be32_host(ip.dst), be32_host(ip.src), be16_host(tcp.dst), be16_host(tcp.src), L4_TCP};

	if (ip.protocol == PROTO_UDP)
		reply.l4 = L4_UDP;
	if (ip.protocol == PROTO_ICMP) {
		struct icmp_header icmp;

		memcpy(&icmp, &tcp, sizeof icmp);
		reply = (struct tuple){reply.src, reply.dst, 0, be16_host(icmp.id), L4_ICMP};
	}
	return reply;
}

/* The engine whose queue a packet lands on. */
static inline unsigned tuple_engine(const struct steering *s, const struct tuple *t)
{
	return steering_engine(
		s, protocol_of[t->l4], be32_of(t->src), be32_of(t->dst), be16_of(t->sport), be16_of(t->dport));
}

struct appliance {
	unsigned engines;
	uint32_t sessions;    /* what tables are sized for; may be smaller than the option's least */
	uint32_t subscribers; /* the same; 0: 256 */
	uint32_t addresses;   /* of the pool */
	uint16_t ports;       /* of each address */
	uint16_t block;       /* ports of a block; 0: no blocks */
	uint32_t idle_s;      /* of every class; 0: as by default */
	enum behaviour filtering;
	bool fixed;       /* a static mapping: FIXED_INSIDE and FIXED_PORT to the pool's first address, same port */
	bool varied;      /* restricted TCP; UDP mappings to port 81 depend on the remote address */
	bool mixed;       /* with `varied`: UDP to port 80 has port blocks, of two addresses of their own */
	bool single;      /* all replies land on engine 0; else by Toeplitz */
	const char *name; /* of the arena */
};

static inline void appliance_config(const struct appliance *w, struct config *c)
{
	struct config_error err;
	static const char rules[] = "{\"name\":\"tcp\",\"protocol\":\"tcp\",\"type\":\"restricted\"},"
				    "{\"name\":\"81\",\"protocol\":\"udp\",\"port_first\":81,\"port_last\":81,"
				    "\"mapping\":\"address-dependent\",\"filtering\":\"endpoint-independent\"}";
	static const char in_blocks[] = "{\"name\":\"80\",\"protocol\":\"udp\",\"port_first\":80,\"port_last\":80,"
					"\"pool\":\"blocks\",\"ports\":\"blocks\"},";
	static const char block_pool[] = ",{\"name\":\"blocks\",\"addresses\":[\"198.51.100.64-198.51.100.65\"],"
					 "\"block_size\":64}";
	char text[2048], table[4 * ENGINE_MAX] = "", blocks[96] = "";
	unsigned first = w->block || w->mixed ? 2048 : 2000;
	unsigned entries = 1;

	while (entries < w->engines)
		entries *= 2;
	for (unsigned i = 0; i < entries; i++)
		snprintf(table + strlen(table), sizeof table - strlen(table), "%s%u", i ? "," : "", i % w->engines);
	if (w->block)
		snprintf(blocks, sizeof blocks, ",\"block_size\":%u", w->block);
	snprintf(text, sizeof text,
		"{\"arena\":{\"name\":\"%s\",\"engines\":%u},"
		"\"inside\":{\"interface\":\"in\",\"prefixes\":[\"100.64.0.0/10\"],\"rss\":{\"table\":[%s]}},"
		"\"outside\":{\"interface\":\"out\",\"rss\":{\"mode\":\"%s\",\"table\":[%s]}},"
		"\"pools\":[{\"name\":\"main\",\"addresses\":[\"198.51.100.0-198.51.100.%u\"]%s}%s],\"rules\":[%s%s],"
		"\"nat\":{\"ports\":\"%s\",\"port_first\":%u,\"port_last\":%u}}",
		w->name ? w->name : "/corenat-test", w->engines, table, w->single ? "single" : "toeplitz",
		w->single ? "0" : table, w->addresses - 1, blocks, w->mixed ? block_pool : "",
		w->mixed ? in_blocks : "", w->varied ? rules : "", w->block ? "blocks" : "shuffled", first,
		first - 1 + w->ports);
	if (!config_parse(c, text, strlen(text), &err)) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
	c->arena.sessions = w->sessions;
	c->arena.subscribers = w->subscribers ? w->subscribers : 256;
	c->nat.filtering = w->filtering;
	if (w->fixed)
		c->statics[c->n_statics++] = (struct config_static){
			STATIC_UDP, SUBSCRIBERS + FIXED_INSIDE, POOL, FIXED_PORT, FIXED_PORT, 1, ""};
	if (w->idle_s) {
		c->nat.udp_timeout_s = c->nat.icmp_timeout_s = w->idle_s;
		c->nat.tcp_opening_timeout_s = c->nat.tcp_closing_timeout_s = w->idle_s;
		c->nat.tcp_established_timeout_s = 2 * w->idle_s;
	}
	if (w->idle_s && w->mixed) {
		c->nat.subscriber_idle_s = 2 * w->idle_s;
		c->pools[1].block_hold_s = w->idle_s;
		c->nat.hold_s = 1;
	}
}

#endif
