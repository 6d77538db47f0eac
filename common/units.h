/* units: one-member types for everything that has a unit or a byte order.
 *
 * What       times, addresses, ports and ids as types of their own, so that the compiler refuses
 *            ns where ms is meant and network order where host order is meant (style, habit 7).
 * Units      mono_t and span_t are nanoseconds of CLOCK_MONOTONIC (or of virtual time in replay).
 *            be32_t and be16_t hold network byte order exactly as on the wire.
 * Ownership  plain values.
 * Calls      any process, any thread.
 * Errors     none.
 * Use        if (mono_due(now, mono_after(seen, span_s(300)))) expire();
 */
#ifndef CORENAT_UNITS_H
#define CORENAT_UNITS_H

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdint.h>

#define CACHE_LINE 64u
#define ENGINE_MAX 64u /* engines one arena can name; adopter sets are 64-bit masks */

typedef struct {
	uint64_t ns;
} mono_t; /* a point in time */

typedef struct {
	uint64_t ns;
} span_t; /* a length of time */

typedef struct {
	uint32_t net;
} be32_t; /* an IPv4 address as on the wire */

typedef struct {
	uint16_t net;
} be16_t; /* a port, or an ICMP query identifier, as on the wire */

/* Which address realm a packet came from or goes to (RFC 2663 §2). Also the index of its interface. */
enum side { SIDE_INSIDE, SIDE_OUTSIDE, N_SIDES };

/* Which way a flow's packet travels: outbound is inside to outside. */
enum dir { DIR_OUTBOUND, DIR_INBOUND, N_DIRS };

static inline span_t span_ns(uint64_t ns)
{
	return (span_t){ns};
}

static inline span_t span_us(uint64_t us)
{
	return (span_t){us * 1000u};
}

static inline span_t span_ms(uint64_t ms)
{
	return (span_t){ms * 1000000u};
}

static inline span_t span_s(uint64_t s)
{
	return (span_t){s * 1000000000u};
}

static inline mono_t mono_after(mono_t t, span_t d)
{
	return (mono_t){t.ns + d.ns};
}

/* Time from `earlier` to `now`; zero when the clock of the writer of `earlier` is ahead. */
static inline span_t mono_since(mono_t now, mono_t earlier)
{
	return (span_t){now.ns > earlier.ns ? now.ns - earlier.ns : 0};
}

static inline bool mono_due(mono_t now, mono_t t)
{
	return now.ns >= t.ns;
}

static inline uint32_t be32_host(be32_t v)
{
	return ntohl(v.net);
}

static inline be32_t be32_of(uint32_t host)
{
	return (be32_t){htonl(host)};
}

static inline uint16_t be16_host(be16_t v)
{
	return ntohs(v.net);
}

static inline be16_t be16_of(uint16_t host)
{
	return (be16_t){htons(host)};
}

#endif
