#include "common/rss_nic.h"

#include "common/config_internal.h"

#include <linux/ethtool.h>
#include <string.h>

/* What kernels since 6.8 have in the place of the first reserved byte, and the bits of `hfunc`. */
enum {
	TRANSFORM = offsetof(struct ethtool_rxfh, rsvd8),
	HASH_TOEPLITZ = 1 << 0,
	HASH_XOR = 1 << 1,
	HASH_CRC32 = 1 << 2
};

/* ---- the hash function ---- */

static bool take_function(const char *interface, const struct ethtool_rxfh *head, struct config_error *err)
{
	const char *other = head->hfunc & HASH_XOR     ? "XOR"
			    : head->hfunc & HASH_CRC32 ? "CRC32"
						       : "one that is not known";

	if (head->hfunc != HASH_TOEPLITZ)
		return config_refuse(err,
			"%s: its RSS hash function is %s; CoreNAT can follow Toeplitz: `ethtool -X %s hfunc toeplitz`",
			interface, other, interface);
	if (((const uint8_t *)head)[TRANSFORM])
		return config_refuse(err,
			"%s: its RSS hash is made symmetric, which is another function than Toeplitz: `ethtool -X %s "
			"xfrm none`",
			interface, interface);
	return true;
}

/* ---- the key ---- */

/* IPv4 needs the beginning of it. */
static bool take_key(
	struct rss *out, const char *interface, const uint8_t *key, uint32_t size, struct config_error *err)
{
	static const uint8_t nothing[RSS_KEY_LEAST];

	if (size < RSS_KEY_LEAST || memcmp(key, nothing, RSS_KEY_LEAST) == 0)
		return config_refuse(err,
			"%s: its driver shows no RSS key (%u bytes%s); give `rss.key` and `rss.table` as they are, or "
			"mode single",
			interface, size, size < RSS_KEY_LEAST ? "" : ", all zero");
	memset(out->key, 0, sizeof out->key);
	memcpy(out->key, key, size < RSS_KEY_SIZE ? size : RSS_KEY_SIZE);
	out->key_size = size <= 40 ? 40 : RSS_KEY_SIZE;
	return true;
}

/* ---- the table ---- */

/* The shortest one that is it when repeated. */
static uint32_t period_of(const uint32_t *table, uint32_t n)
{
	while (n > 1 && n % 2 == 0 && memcmp(table, table + n / 2, n / 2 * sizeof *table) == 0)
		n /= 2;
	return n;
}

static bool take_table(struct rss *out, const char *interface, unsigned engines, const uint32_t *table, uint32_t n,
	struct config_error *err)
{
	uint32_t period = n > RSS_TABLE_MAX ? period_of(table, n) : n;

	if (n == 0)
		return config_refuse(err,
			"%s: its driver shows no RSS table; give `rss.key` and `rss.table` as they are, or mode single",
			interface);
	if ((n & (n - 1)) || period > RSS_TABLE_MAX)
		return config_refuse(err,
			"%s: its RSS table has %u entries; CoreNAT can follow powers of two, up to %d unless they "
			"repeat themselves",
			interface, n, RSS_TABLE_MAX);
	for (uint32_t i = 0; i < n; i++)
		if (table[i] >= engines)
			return config_refuse(err,
				"%s: entry %u of its RSS table names queue %u, which has no engine (arena.engines: "
				"%u): `ethtool -X "
				"%s equal %u`",
				interface, i, table[i], engines, interface, engines);
	out->table_len = (uint16_t)period;
	for (uint32_t i = 0; i < period; i++)
		out->table[i] = (uint8_t)table[i];
	return true;
}

bool rss_of_nic(struct rss *out, const char *interface, unsigned engines, const void *answer, size_t size,
	struct config_error *err)
{
	const struct ethtool_rxfh *head = answer;

	if (size < sizeof *head ||
		(size - sizeof *head) < (uint64_t)head->indir_size * sizeof(uint32_t) + head->key_size)
		return config_refuse(err, "%s: its driver's answer about RSS is too short", interface);
	const uint8_t *key = (const uint8_t *)(head->rss_config + head->indir_size);

	out->mode = RSS_TOEPLITZ;
	return take_function(interface, head, err) && take_key(out, interface, key, head->key_size, err) &&
	       take_table(out, interface, engines, head->rss_config, head->indir_size, err);
}

/* ---- the fields ---- */

enum { ADDRESSES = RXH_IP_SRC | RXH_IP_DST, PORTS = RXH_L4_B_0_1 | RXH_L4_B_2_3 };

static bool are_followed(uint64_t fields)
{
	return fields == ADDRESSES || fields == (ADDRESSES | PORTS) || fields == RXH_IP_DST;
}

bool rss_fields_of_nic(
	struct rss *out, const char *interface, const uint64_t *tcp, const uint64_t *udp, struct config_error *err)
{
	static const enum rss_ports ports[2][2] = {{RSS_PORTS_NONE, RSS_PORTS_UDP}, {RSS_PORTS_TCP, RSS_PORTS_TCP_UDP}};

	if (!tcp || !udp)
		return true;
	if (!are_followed(*tcp) || !are_followed(*udp) || (*tcp == RXH_IP_DST) != (*udp == RXH_IP_DST))
		return config_refuse(err,
			"%s: it does not hash source and destination address, with or without both ports, or the "
			"destination "
			"alone: `ethtool -N %s rx-flow-hash %s sdfn`",
			interface, interface, are_followed(*tcp) ? "udp4" : "tcp4");
	if (*tcp == RXH_IP_DST)
		out->mode = RSS_DESTINATION;
	out->ports = ports[(*tcp & PORTS) != 0][(*udp & PORTS) != 0];
	return true;
}
