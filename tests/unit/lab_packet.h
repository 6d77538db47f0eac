/* lab_packet: packets for the NAT laboratory: said, built, read back.
 *
 * What       struct lab_packet says what a packet is; lab_build makes its bytes, lab_read takes bytes apart and proves
 *            every checksum by a sum of its own. Shares nothing with the code under test but the header overlays.
 * Units      host byte order everywhere; sizes in bytes.
 * Ownership  plain values.
 * Calls      any thread. Errors  lab_read: a sentence about what is wrong with the bytes; NULL when they are sound.
 * Use        struct lab_packet p = lab_udp(lab_host(1, 5000), lab_server(1, 53)); lab_build(&p, &frame);
 *
 * An ICMP query's identifier stands as the port of the end that asks, so that swapping the ends answers it.
 */
#ifndef CORENAT_TESTS_LAB_PACKET_H
#define CORENAT_TESTS_LAB_PACKET_H

#include "common/units.h"

#include <stddef.h>

enum {
	LAB_FRAME_BYTES = 9216,
	LAB_ETHERNET = 14,
	LAB_PROTO_GRE = 47,
	LAB_DF = 0x4000, /* fragment: flags and offset in units of 8 bytes, as on the wire */
	LAB_MF = 0x2000,
	LAB_OFFSET = 0x1fff,
	LAB_FIN = 1,
	LAB_SYN = 2,
	LAB_RST = 4,
	LAB_ACK = 16,
	LAB_UNREACHABLE = 3, /* ICMP types */
	LAB_ECHO_REPLY = 0,
	LAB_ECHO = 8,
	LAB_TIME_EXCEEDED = 11,
	LAB_CODE_HOST = 1, /* codes of Destination Unreachable */
	LAB_CODE_PORT = 3,
	LAB_CODE_TOO_BIG = 4,
	LAB_CODE_PROHIBITED = 13,
	LAB_LINK_MTU = 1400, /* what lab_error says in a Fragmentation Needed */
};

#define LAB_HOSTS 0x64400000u   /* 100.64.0.0/10, RFC 6598 */
#define LAB_POOL 0xc6336400u    /* 198.51.100.0/24, RFC 5737 */
#define LAB_SERVERS 0xcb007100u /* 203.0.113.0/24, RFC 5737 */

struct lab_end {
	uint32_t address;
	uint16_t port;
};

/* What an ICMP error says of the packet it is about. */
struct lab_quote {
	struct lab_end src, dst;
	uint16_t id;
	uint8_t protocol, ttl;
};

struct lab_packet {
	enum side side; /* where it is sent, or came out */
	uint16_t vlan;  /* with this tag; 0: none */
	struct lab_end src, dst;
	uint8_t protocol, ttl, tos;
	uint8_t option_words; /* of IPv4 options: no-operations */
	uint16_t id, fragment;
	uint16_t size;    /* of IPv4; lab_build finds it by itself */
	uint16_t payload; /* bytes behind the transport header */
	uint8_t flags;    /* TCP, and what follows */
	uint32_t seq, ack;
	uint16_t mss;       /* 0: no such option */
	uint8_t type, code; /* ICMP */
	uint16_t mtu;       /* of Fragmentation Needed */
	bool no_checksum;   /* UDP without */
	bool error;         /* an ICMP error; quote holds */
	struct lab_quote quote;
};

/* The bytes are without the tag, which is put on when the frame is given. */
struct lab_frame {
	enum side side;
	uint16_t vlan;
	uint16_t size; /* with the Ethernet header */
	uint8_t bytes[LAB_FRAME_BYTES];
};

static inline struct lab_end lab_host(unsigned number, uint16_t port)
{
	return (struct lab_end){LAB_HOSTS + number, port};
}

static inline struct lab_end lab_server(unsigned number, uint16_t port)
{
	return (struct lab_end){LAB_SERVERS + number, port};
}

static inline bool lab_is_inside(uint32_t address)
{
	return (address & 0xffc00000u) == LAB_HOSTS;
}

static inline bool lab_same(struct lab_end x, struct lab_end y)
{
	return x.address == y.address && x.port == y.port;
}

/* Sent from the side where the source's address is at home. */
struct lab_packet lab_udp(struct lab_end src, struct lab_end dst);
struct lab_packet lab_tcp(struct lab_end src, struct lab_end dst, uint8_t flags);
/* An echo request with identifier src.port. */
struct lab_packet lab_ping(struct lab_end src, uint32_t dst);
/* A protocol without ports. */
struct lab_packet lab_portless(uint8_t protocol, uint32_t src, uint32_t dst);
/* What the other end sends back to a packet that came out: ends swapped, echo answered; a TCP segment is an ACK. */
struct lab_packet lab_answer(const struct lab_packet *seen);

void lab_build(const struct lab_packet *p, struct lab_frame *f);
const char *lab_read(const struct lab_frame *f, struct lab_packet *p);

/* What a host or router `from` on the side where `about` came out sends to its source; quotes `quoted` bytes of it from
 * the IPv4 header on, as many as there are. */
void lab_error(
	const struct lab_frame *about, uint32_t from, uint8_t type, uint8_t code, unsigned quoted, struct lab_frame *f);

/* What the ICMP error `f` quotes, against the packet it should be about as its sender sent it: true when all quoted bytes
 * are the same but for TTL, header checksum, and the identification, which is not restored. */
bool lab_quotes(const struct lab_frame *f, const struct lab_frame *sent);

/* Cuts a datagram into fragments of `bytes` bytes of payload each (a multiple of 8); returns how many. */
unsigned lab_cut(const struct lab_frame *whole, unsigned bytes, struct lab_frame *out, unsigned max);
/* Puts fragments together in whatever order; false when some is missing or they are of two datagrams. */
bool lab_join(const struct lab_frame *part, unsigned n, struct lab_frame *whole);

/* Mends the checksum of the IPv4 header, or of what follows it, after a test has changed bytes by hand. */
void lab_mend(struct lab_frame *f);
void lab_mend_transport(struct lab_frame *f);

#endif
