/* rss: how a NIC spreads packets over its queues, as the configuration says it; queue N is engine N (architecture: steering).
 *
 * What       the key, the fields that are hashed, and the indirection table. steering.h makes it answer questions.
 * Units      queues by number.
 * Ownership  a plain value.
 * Calls      pure; any thread.
 * Errors     none: config_check has seen it.
 */
#ifndef CORENAT_RSS_H
#define CORENAT_RSS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	RSS_KEY_SIZE = 52,    /* bytes; 40 is usual, some NICs take 52 */
	RSS_TABLE_MAX = 2048, /* entries of the indirection table */
};

enum rss_mode {
	RSS_SINGLE,      /* everything to queue 0 */
	RSS_TOEPLITZ,    /* Toeplitz over source and destination address, and the ports of RSS_PORTS_* */
	RSS_DESTINATION, /* Toeplitz over the destination address alone */
	RSS_NIC,         /* what the interface's driver says; mgmtd makes it one of the others before anybody is told */
};

/* Of which protocols' packets the ports are hashed, too (ethtool -n DEV rx-flow-hash). */
enum rss_ports { RSS_PORTS_TCP_UDP, RSS_PORTS_TCP, RSS_PORTS_UDP, RSS_PORTS_NONE };

struct rss {
	enum rss_mode mode;
	enum rss_ports ports; /* mode Toeplitz only */
	uint8_t key[RSS_KEY_SIZE];
	uint16_t key_size;            /* bytes; 40 or 52 */
	uint16_t table_len;           /* entries, a power of two, 1..RSS_TABLE_MAX */
	uint8_t table[RSS_TABLE_MAX]; /* queue of each entry */
};

/* Whether an interface's hash has the ports of that protocol in it. */
static inline bool rss_hashes_ports(const struct rss *rss, uint8_t proto)
{
	return rss->mode == RSS_TOEPLITZ &&
	       (rss->ports == RSS_PORTS_TCP_UDP ||
		       rss->ports == (proto == IPPROTO_TCP ? RSS_PORTS_TCP : RSS_PORTS_UDP));
}

#endif
