/* nat_tcp: which TCP resets are believed.
 *
 * What       a reset that whoever knows the addresses and ports could have guessed must not shorten a session's life (RFC
 *            5961 §1, §3 in spirit; RFC 7857 §2.3 asks that it pass). It is held against where the inside is in the two
 *            streams (session.h, "life"): a reset from the outside against what the inside last acknowledged, which is
 *            what its host holds it against, too; one from the inside against what it last sent. Only what comes from
 *            the inside moves these marks, so that nobody outside can prepare his reset by other segments.
 * Units      marks are the top 12 bits of a sequence number: 1 MiB each.
 * Ownership  the packet's bytes are only read; marks: whoever handles the flow's outbound packets.
 * Calls      engines, per packet: one load and one compare for a segment from the inside, nothing for one from the outside.
 * Errors     tcp_reset_fits: false. The reset is forwarded all the same, and is as if it had never been.
 *
 * Price      window scaling is not looked at: what is within 16 MiB fits, so of resets out of the blue 18 in 4,096 are
 *            believed; one from a sender with more than that in flight is not, and its session idles out instead.
 */
#ifndef CORENAT_PE_NAT_TCP_H
#define CORENAT_PE_NAT_TCP_H

#include "common/headers.h"
#include "shm/session.h"

/* How far off a reset may be, in marks: what may be in flight. */
enum { TCP_MARKS_AHEAD = 16, TCP_MARKS_BEHIND = 16 };

static inline uint32_t tcp_mark_of(be32_t number)
{
	return be32_host(number) >> (32 - LIFE_MARK_BITS);
}

/* Notes where a segment from the inside stands. Without ACK it acknowledges nothing. */
static inline void tcp_mark(struct session *s, const struct tcp_header *tcp)
{
	uint32_t is = atomic_load_explicit(&s->life, memory_order_relaxed), marks = LIFE_MARK_MASK << LIFE_SEQ_AT,
		 to = tcp_mark_of(tcp->seq) << LIFE_SEQ_AT;

	if (tcp->flags & TCP_FLAG_ACK) {
		marks = LIFE_MARKS;
		to |= tcp_mark_of(tcp->ack) << LIFE_ACK_AT;
	}
	if ((is & marks) != to && (is & LIFE_LIVES))
		atomic_compare_exchange_strong_explicit(
			&s->life, &is, (is & ~marks) | to, memory_order_relaxed, memory_order_relaxed);
}

/* True when `number` is not further from the mark than that, modulo 2^32. */
static inline bool tcp_is_near(be32_t number, uint32_t life, unsigned at, uint32_t behind, uint32_t ahead)
{
	uint32_t off = tcp_mark_of(number) - (life >> at) + behind;

	return (off & LIFE_MARK_MASK) <= behind + ahead;
}

/* Whether a reset may be meant. */
static inline bool tcp_reset_fits(const struct session *s, enum dir dir, const struct tcp_header *tcp)
{
	uint8_t seen = atomic_load_explicit(&s->tcp, memory_order_acquire); /* marks are written before their bit */
	uint32_t life = atomic_load_explicit(&s->life, memory_order_relaxed);

	if (!(seen & (TCP_OUT_SYN | TCP_OUT_DATA))) /* nothing to hold it against */
		return true;
	if (dir == DIR_OUTBOUND)
		return tcp_is_near(tcp->seq, life, LIFE_SEQ_AT, TCP_MARKS_BEHIND, TCP_MARKS_AHEAD);
	if (seen & TCP_OUT_DATA)
		return tcp_is_near(tcp->seq, life, LIFE_ACK_AT, 1, TCP_MARKS_AHEAD);
	/* To a SYN: it acknowledges that (RFC 9293 §3.10.7.3), or takes back one of its own. */
	if (tcp->flags & TCP_FLAG_ACK)
		return tcp_is_near(tcp->ack, life, LIFE_SEQ_AT, 0, 1);
	return seen & TCP_IN_SYN;
}

#endif
