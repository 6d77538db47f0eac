/* rss_nic: an interface's RSS as its driver says it, made what steering.h can follow.
 *
 * What       reads the answers of the ethtool calls ETHTOOL_GRSSH (hash function, key, indirection table) and ETHTOOL_GRXFH
 *            (hashed fields). Asking is mgmtd/nic.h's; here are bytes only.
 * Units      queues by number; sizes in bytes.
 * Ownership  values. Calls  pure; any thread.
 * Errors     false, and a sentence that begins with the interface's name and says what to do: another hash function than
 *            Toeplitz, a queue without an engine, a table or a key that cannot be followed.
 * Use        rss_of_nic(&rss, "eth0", 4, answer, size, &err) && rss_fields_of_nic(&rss, "eth0", &tcp, &udp, &err)
 * Source     linux/ethtool.h. Microsoft, "RSS hashing types": of the key, IPv4 uses the first 16 bytes (32 and 96 bits).
 */
#ifndef CORENAT_RSS_NIC_H
#define CORENAT_RSS_NIC_H

#include "common/config.h"

#include <stddef.h>

enum { RSS_KEY_LEAST = 16 };

/* Key and table, into a zeroed or a configured `out`; mode Toeplitz. A table longer than CoreNAT's that repeats itself is
 * taken as one period of it. */
bool rss_of_nic(struct rss *out, const char *interface, unsigned engines, const void *answer, size_t size,
	struct config_error *err);

/* Which fields of TCP and UDP over IPv4 it hashes (RXH_*); NULL: the driver does not say, and `out` stays as configured. */
bool rss_fields_of_nic(
	struct rss *out, const char *interface, const uint64_t *tcp, const uint64_t *udp, struct config_error *err);

#endif
