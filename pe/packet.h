/* packet: one frame on its way through an engine.
 *
 * What       where the bytes are, which side they came from, and what was decided about them. The I/O
 *            backend fills data, frame, len and side, the NAT core the rest.
 * Units      len in bytes from the Ethernet header on.
 * Tags       the core works on untagged frames: a VLAN tag of the inside is taken off, and `vlan` remembers it. A
 *            packet sent gets the tag that `vlan` says then; every backend leaves VLAN_TAG_SIZE bytes before data.
 * Ownership  data belongs to the I/O backend; whoever holds the struct may read and write
 *            data[0..len) until it hands the packet back by io send, io drop.
 * Calls      the engine's thread.
 * Errors     none.
 */
#ifndef CORENAT_PE_PACKET_H
#define CORENAT_PE_PACKET_H

#include "common/units.h"
#include "common/verdicts.h"

struct packet {
	uint8_t *data;
	uint64_t frame; /* the backend's own name for the buffer: umem address, or index */
	uint32_t len;

	/* What was decided; side by side, to be written at once. */
	uint8_t out;     /* enum side: where to send it; meaningful when forwarded */
	uint8_t verdict; /* enum verdict */
	uint8_t forward; /* 1: send it; 0: drop it, or hold it when the verdict says that it waits */
	uint8_t waited;  /* it was held as long as may be: decide now */
	uint16_t vlan;   /* 0: none. Received: the tag taken off, which is its realm; forwarded: the tag to put on */
	uint16_t mtu;    /* forwarded: cut it into fragments of at most so many bytes of IPv4, 0: it fits; too big: the
			    MTU that it exceeds */

	uint8_t side; /* enum side: where it was received */
};

enum { BURST_MAX = 64, VLAN_TAG_SIZE = 4 };

#endif
