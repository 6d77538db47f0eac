/* fragment: cutting an IPv4 packet that is too large; fragments that wait for their first one, and who comes first there.
 *
 * Units      bytes; mtu in bytes of IPv4; counts in fragments; mono_t; seconds of CLOCK_MONOTONIC.
 * Ownership  split reads the packet and writes the buffers its caller provides. Waits and pairs belong to one engine;
 *            private memory; all zero is empty. A packet that waits is theirs until it is let go.
 * Calls      the engine's thread; pure. wait, let_go, note, is_known take the same time whatever waits.
 * Errors     split: 0, see there. wait: the packet comes back.
 * Use        out[i] = (struct packet){.data = buffer, .len = room}; n = fragment_split(p, mtu, out, 8);
 *            if (fragment_wait(&w, &h, class, source, limits, &gone)) drop(&gone);
 */
#ifndef CORENAT_PE_FRAGMENT_H
#define CORENAT_PE_FRAGMENT_H

#include "common/headers.h"
#include "pe/packet.h"

/* Cuts the IPv4 packet of a frame, itself whole or a fragment, into fragments of at most `mtu` bytes, in order (RFC 791
 * §3.2, RFC 4787 REQ-13a). out[i].data is a buffer of out[i].len bytes; of each one written, len becomes the frame's,
 * side, out, vlan, verdict and forward those of `p`; frame stays. A packet that is small enough is one fragment, a copy.
 * Returns how many: 0 when it needs more than `max` or larger buffers, may not be cut (DF), or is no sound packet (a
 * wrong header checksum, offsets beyond what IPv4 can say). Buffers may then have been written to. */
unsigned fragment_split(const struct packet *p, uint16_t mtu, struct packet *out, unsigned max);

/* A packet that waits: for its next hop's Ethernet address, for the first fragment, for who opens the connection. */
struct held {
	struct packet packet;
	mono_t until;
};

/* ---- pairs of addresses that were seen to send each other datagrams in fragments ---- */

/* By two sets of bits of a seeded hash, of which the older one is emptied when it is due: a pair is remembered for one to
 * two times FRAGMENT_PAIR_S. Nothing makes it grow; when it is full of pairs that somebody made up, it tells no one
 * apart any more. */
enum { FRAGMENT_PAIR_BITS = 1 << 16, FRAGMENT_PAIR_S = 300 };

struct fragment_pairs {
	uint64_t bits[2][FRAGMENT_PAIR_BITS / 64];
	uint32_t since_s; /* when bits[0] was begun */
};

/* Of a fragment's addresses, as it arrived, and the realm it is in. */
uint64_t fragment_pair_hash(be32_t src, be32_t dst, uint16_t realm, uint64_t seed);
void fragment_pair_note(struct fragment_pairs *t, uint64_t hash, uint32_t now_s);
bool fragment_pair_is_known(const struct fragment_pairs *t, uint64_t hash);

/* ---- waiting ---- */

/* Who is known, by its pair of addresses, and who is not. */
enum fragment_class { FRAGMENT_UNKNOWN, FRAGMENT_KNOWN, N_FRAGMENT_CLASSES };

/* Sources share counters by a seeded hash: nobody can choose whom to share with. */
enum { FRAGMENT_WAITS = 512, FRAGMENT_COUNTERS = 2048 };

struct fragment_limits {
	uint32_t all, per_source;
};

/* Oldest first; places are counted from 1, 0: none. */
struct fragment_list {
	uint16_t first, last, n;
};

struct fragment_link {
	uint16_t before, after;
};

struct fragment_waits {
	struct held held[FRAGMENT_WAITS];
	struct fragment_link in_class[FRAGMENT_WAITS], in_source[FRAGMENT_WAITS];
	uint16_t source[FRAGMENT_WAITS]; /* its counter */
	uint8_t class[FRAGMENT_WAITS];
	struct fragment_list of_class[N_FRAGMENT_CLASSES], of_source[FRAGMENT_COUNTERS];
	struct fragment_list free; /* places that were used */
	uint16_t used;             /* places beyond these were never */
	uint16_t n;
};

/* The counter of a packet's source: the address, and the realm it is in. */
unsigned fragment_counter(const struct packet *p, uint64_t seed);

/* Takes a packet in. It may cost another its place: the oldest of its source, when that has all it may; else, when all
 * places are taken, the oldest of its own class, if that has half of them, or of the other class, which then has more. So a
 * flood by one source costs nobody else anything; one by many shortens how long others wait, and who is known keeps half
 * of the places against who is not. True: *gone does not wait (any more): the one that made room, or, no place being
 * allowed at all, this one. */
bool fragment_wait(struct fragment_waits *w, const struct held *h, enum fragment_class class, unsigned counter,
	struct fragment_limits limits, struct packet *gone);

/* The places in use, those who are known first, of each class the oldest first: 0: no more. `at` 0 begins. The next
 * one may be asked for before `at` is let go, not after. */
unsigned fragment_next(const struct fragment_waits *w, unsigned at);
static inline struct held *fragment_at(struct fragment_waits *w, unsigned at)
{
	return &w->held[at - 1];
}
/* The packet is the caller's from here on. */
struct packet fragment_let_go(struct fragment_waits *w, unsigned at);

#endif
