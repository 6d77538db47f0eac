/* steering: which engine receives a packet.
 *
 * What       the model of one interface's RSS: Toeplitz hash, then indirection table. Queue N is
 *            engine N.
 * Units      engines by number.
 * Ownership  a plain value without pointers (about 14 KiB): it may lie in shared memory and be copied.
 * Calls      steering_init: whoever compiles a configuration. The rest is pure, any thread, and has no
 *            branch that depends on the packet but the one for its protocol.
 * Errors     steering_init: -EINVAL when the table's length is not a power of two up to RSS_TABLE_MAX
 *            or an entry names no engine; a checked configuration never does.
 * Use        engine = steering_engine(&s[SIDE_OUTSIDE], IPPROTO_UDP, remote, nat, rport, nport);
 */
#ifndef CORENAT_STEERING_H
#define CORENAT_STEERING_H

#include "common/config.h"
#include "common/toeplitz.h"

#include <netinet/in.h>

struct steering {
	struct toeplitz hash;
	uint32_t sources;             /* all ones: source addresses count; 0: mode destination */
	bool tcp, udp;                /* their ports count */
	uint32_t mask;                /* table length - 1 */
	uint8_t table[RSS_TABLE_MAX]; /* engine of each entry; mode single: one entry, 0 */
};

int steering_init(struct steering *s, const struct rss *rss, unsigned engines);

/* By addresses alone: ICMP, fragments, every protocol but TCP and UDP. */
static inline unsigned steering_engine_addresses(const struct steering *s, be32_t src, be32_t dst)
{
	src.net &= s->sources;
	return s->table[toeplitz_addresses(&s->hash, src, dst) & s->mask];
}

/* Whether a packet's queue depends on its ports. */
static inline bool steering_by_ports(const struct steering *s, uint8_t proto)
{
	return (proto == IPPROTO_TCP && s->tcp) || (proto == IPPROTO_UDP && s->udp);
}

/* Fields as in the packet that arrives. Fragments: steering_engine_addresses. */
static inline unsigned steering_engine(
	const struct steering *s, uint8_t proto, be32_t src, be32_t dst, be16_t sport, be16_t dport)
{
	src.net &= s->sources;
	uint32_t hash = toeplitz_addresses(&s->hash, src, dst);

	if (steering_by_ports(s, proto))
		hash ^= toeplitz_ports(&s->hash, sport, dport);
	return s->table[hash & s->mask];
}

#endif
