#include "pe/mss.h"

#include "common/csum.h"
#include "common/headers.h"

enum { OPTION_END, OPTION_NOP, OPTION_MSS, OPTION_MSS_SIZE = 4 };

/* A value at an odd place counts with its bytes exchanged: one's complement sums see words at even ones. */
static bool clamp_option(uint8_t *tcp, size_t at, uint16_t max)
{
	uint16_t was, is = htons(max);
	struct tcp_header *header = (struct tcp_header *)tcp;

	memcpy(&was, tcp + at, sizeof was);
	if (ntohs(was) <= max)
		return false;
	memcpy(tcp + at, &is, sizeof is);
	uint16_t delta =
		at % 2 ? csum_delta16(0, __builtin_bswap16(was), __builtin_bswap16(is)) : csum_delta16(0, was, is);
	header->checksum = csum_apply(header->checksum, delta);
	return true;
}

bool mss_clamp(uint8_t *tcp, size_t bytes, uint16_t max)
{
	const struct tcp_header *header = (const struct tcp_header *)tcp;
	bool lowered = false;

	if (bytes < sizeof *header || !(header->flags & TCP_FLAG_SYN))
		return false;
	size_t end = (size_t)(header->offset >> 4) * 4;
	if (end > bytes)
		return false;
	for (size_t at = sizeof *header, size; at < end && tcp[at] != OPTION_END; at += size) {
		unsigned least = tcp[at] == OPTION_NOP ? 1 : 2;

		size = least == 1 ? 1 : at + 1 < end ? tcp[at + 1] : 0;
		if (size < least || at + size > end)
			break;
		if (tcp[at] == OPTION_MSS && size == OPTION_MSS_SIZE)
			lowered |= clamp_option(tcp, at + 2, max);
	}
	return lowered;
}
