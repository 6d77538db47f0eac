/* icmp_error: the ICMP error that answers a packet, made in the packet's own frame.
 *
 * What       RFC 792 messages as a router sends them: when one may be sent at all (RFC 1122 §3.2.2, RFC 1812 §4.3.2.7),
 *            how much of the packet it quotes (RFC 1812 §4.3.2.3: up to 576 bytes in all), and how many may be sent
 *            (§4.3.2.8).
 * Units      bytes; mtu in bytes of IPv4; rate in errors per second.
 * Ownership  the caller holds the packet, and its frame has ICMP_ERROR_ROOM bytes from p->data on: every backend's has.
 * Calls      the engine's thread; pure.
 * Errors     false: none may be sent about this packet; nothing was changed.
 * Use        if (icmp_budget_take(&budget, rate, now) && icmp_error_make(p, 11, 0, 0, own)) send(p);
 *
 * The packet must still be as it was received: its sender has to know it again.
 */
#ifndef CORENAT_PE_ICMP_ERROR_H
#define CORENAT_PE_ICMP_ERROR_H

#include "common/headers.h"
#include "pe/packet.h"

enum {
	ICMP_ERROR_SIZE_MAX = 576, /* of IPv4 */
	ICMP_ERROR_ROOM = sizeof(struct eth_header) + ICMP_ERROR_SIZE_MAX,
};

/* Turns a received packet into the error for its sender, to leave where it came from: p->len, p->out and p->forward are
 * set, the verdict is the caller's. `mtu` is said when the code is ICMP_CODE_TOO_BIG. */
bool icmp_error_make(struct packet *p, uint8_t type, uint8_t code, uint16_t mtu, be32_t source);

/* A bucket that holds one second's worth: the rate in the long run, at most twice the rate within any second. All zero
 * is a full one. The rate may differ with each call. */
struct icmp_budget {
	uint64_t spent; /* what time has not paid back yet, in billionths of an error */
	mono_t last;
};

bool icmp_budget_take(struct icmp_budget *b, uint32_t rate, mono_t now);

#endif
