/* quoted: the packet inside an ICMP error, and its translation.
 *
 * What       reads what an error quotes (RFC 792), says which session it is about, and rewrites both the error and the
 *            quote as RFC 5508 §4.2 wants. The quote travelled the other way than the error does: one that comes from
 *            outside quotes what we sent there, NAT to remote, so the session's inbound key is the quote's with its ends
 *            exchanged; likewise from inside.
 * Units      offsets in bytes from the Ethernet header; addresses and ports as on the wire.
 * Ownership  plain values; parse reads the packet's bytes, rewrite changes them in place, never their number.
 * Calls      the engine's thread; pure.
 * Errors     a verdict: why the error is not to be translated (RFC 5508 REQ-3). N_VERDICTS: it can be.
 * Use        if (quoted_parse(&q, p) == N_VERDICTS && (s = find(q.key)))
 *                    quoted_rewrite(p, &q, s->remote...);
 *
 * Never looked at: the quoted transport checksum (it may lie outside the quote), and what RFC 4884 puts behind the quote.
 * To rewrite the quote's other end as well (hairpinning), parse the result again as if it came from the other side.
 */
#ifndef CORENAT_PE_QUOTED_H
#define CORENAT_PE_QUOTED_H

#include "pe/flow.h"

struct quoted {
	struct flow_key key; /* the session's, in the direction the error travels; without ports in a later fragment */
	be32_t src, dst;
	be16_t sport, dport; /* as flow_parse has them: an echo's identifier belongs to who asked, a portless protocol's
			      * number to our end; the other one is 0 */
	uint16_t icmp_at;    /* the error's ICMP header */
	uint16_t ip_at;      /* the quoted IPv4 header */
	uint16_t l4_at;      /* what follows it */
	uint16_t end;        /* of the quoted packet's bytes: checksums beyond are not mended */
	be16_t id;           /* of the quoted datagram */
	uint8_t l4;          /* enum l4 */
	uint8_t protocol;    /* as in the quoted IPv4 header */
	uint8_t dir;         /* enum dir, of the error */
	uint8_t port_at;     /* where our end's port lies, from l4_at on; FLOW_NO_PORT: nowhere */
	bool later_fragment; /* of TCP, UDP or ICMP: no transport header, so no ports */
	bool has_checksum;   /* in its transport header, that translating it changes */
};

/* True for the types that quote a packet and concern its session. Redirects do not: they are for the next hop. */
bool icmp_is_error(uint8_t type);

/* The packet holds a whole IPv4 packet, not a fragment, whatever it carries. */
enum verdict quoted_parse(struct quoted *q, const struct packet *p);

/* Sets our end of the quote (its source when the error came from outside, else its destination) to `address` and, where
 * it has one, `port`; the error's own addresses to `outer_src` and `outer_dst`, and every checksum this concerns, by
 * difference. The TTL is the caller's. `q` is what quoted_parse said of these very bytes. */
void quoted_rewrite(
	struct packet *p, const struct quoted *q, be32_t outer_src, be32_t outer_dst, be32_t address, be16_t port);

#endif
