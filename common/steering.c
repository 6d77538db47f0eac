/* Compiles an interface's RSS for steering.h. */
#include "common/steering.h"

#include <errno.h>
#include <string.h>

int steering_init(struct steering *s, const struct rss *rss, unsigned engines)
{
	memset(s, 0, sizeof(*s));
	toeplitz_init(&s->hash, rss->key, rss->key_size);
	s->sources = UINT32_MAX;
	if (rss->mode == RSS_SINGLE || rss->mode == RSS_NIC) /* not read: a replay has no interface */
		return 0;
	if (rss->mode == RSS_DESTINATION)
		s->sources = 0;
	s->tcp = rss_hashes_ports(rss, IPPROTO_TCP);
	s->udp = rss_hashes_ports(rss, IPPROTO_UDP);
	if (rss->table_len == 0 || rss->table_len > RSS_TABLE_MAX || (rss->table_len & (rss->table_len - 1)) != 0)
		return -EINVAL;
	for (unsigned i = 0; i < rss->table_len; i++) {
		if (rss->table[i] >= engines)
			return -EINVAL;
		s->table[i] = rss->table[i];
	}
	s->mask = rss->table_len - 1u;
	return 0;
}
