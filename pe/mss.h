/* mss: lowers the maximum segment size that a SYN announces, so that what answers it fits a narrow link.
 *
 * Units      bytes. Ownership  the segment belongs to the caller. Calls  the engine's thread; pure.
 * Errors     false: nothing was changed (no SYN, no such option, small enough, or options that make no sense).
 * Use        mss_clamp(l4, bytes_of_segment, configured)
 */
#ifndef CORENAT_PE_MSS_H
#define CORENAT_PE_MSS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* `tcp` is a TCP header with `bytes` bytes of segment there. Never raises the value; the checksum is mended by
 * difference. Options are walked as RFC 9293 §3.1 has them, up to the first that does not fit. */
bool mss_clamp(uint8_t *tcp, size_t bytes, uint16_t max);

#endif
