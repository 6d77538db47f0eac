/* headers: Ethernet, IPv4, TCP, UDP, ICMP as they lie on the wire (RFC 791, 9293, 768, 792).
 *
 * Units      every multi-byte field in network order. Ownership: overlays on packet bytes, no alignment assumed.
 */
#ifndef CORENAT_HEADERS_H
#define CORENAT_HEADERS_H

#include "common/units.h"

enum {
	ETHERTYPE_IPV4 = 0x0800,
	ETHERTYPE_VLAN = 0x8100,         /* IEEE 802.1Q: customer */
	ETHERTYPE_SERVICE_VLAN = 0x88a8, /* 802.1ad: the outer one of two */
	VLAN_ID_MASK = 0x0fff,           /* of vlan_tag.control */
	PROTO_ICMP = 1,
	PROTO_TCP = 6,
	PROTO_UDP = 17,
	PROTO_DCCP = 33,
	PROTO_UDPLITE = 136,
	IP4_DF = 0x4000,
	IP4_MF = 0x2000,
	IP4_OFFSET_MASK = 0x1fff,   /* in units of 8 bytes */
	IP4_FRAGMENT_MASK = 0x3fff, /* offset and more-fragments: not zero is a fragment */
	TCP_FLAG_FIN = 1,
	TCP_FLAG_SYN = 2,
	TCP_FLAG_RST = 4,
	TCP_FLAG_ACK = 16,
	ICMP_ECHO_REPLY = 0,
	ICMP_ECHO_REQUEST = 8,
	ICMP_TYPE_UNREACHABLE = 3,
	ICMP_TYPE_SOURCE_QUENCH = 4,
	ICMP_TYPE_TIME_EXCEEDED = 11,
	ICMP_TYPE_PARAMETER = 12,
	ICMP_CODE_TOO_BIG = 4, /* of unreachable: fragmentation needed and DF set; next-hop MTU where `sequence` lies */
};

struct eth_header {
	uint8_t dst[6], src[6];
	be16_t type;
} __attribute__((packed));

/* Between the addresses and the type of what it marks. */
struct vlan_tag {
	be16_t type, control;
} __attribute__((packed));

struct ip4_header {
	uint8_t version_ihl, tos;
	be16_t total_size, id, fragment;
	uint8_t ttl, protocol;
	uint16_t checksum;
	be32_t src, dst;
} __attribute__((packed));

struct udp_header {
	be16_t src, dst, size;
	uint16_t checksum;
} __attribute__((packed));

struct tcp_header {
	be16_t src, dst;
	be32_t seq, ack;
	uint8_t offset, flags;
	be16_t window;
	uint16_t checksum;
	be16_t urgent;
} __attribute__((packed));

struct icmp_header {
	uint8_t type, code;
	uint16_t checksum;
	be16_t id, sequence;
} __attribute__((packed));

_Static_assert(sizeof(struct vlan_tag) == 4 && sizeof(struct eth_header) == 14 && sizeof(struct ip4_header) == 20,
	"wire format");
_Static_assert(sizeof(struct tcp_header) == 20 && sizeof(struct udp_header) == 8, "wire format");

#endif
