/* The rules between options of port allocation: blocks, reserved ports, and which rules may share a pool. */
#include "common/config_internal.h"

#include <stdio.h>
#include <string.h>

enum { BLOCK_EXAMPLE_LOW = 256, BLOCK_EXAMPLE_HIGH = 512 };

static bool check_block_sizes(const struct config *c, struct config_error *err)
{
	for (uint32_t i = 0; i < c->n_pools; i++) {
		uint32_t size = c->pools[i].block_size;

		if ((size & (size - 1)) != 0)
			return config_refuse(err, "pools[%u].block_size: %u is not a power of two; give %d or %d, say",
				i, size, BLOCK_EXAMPLE_LOW, BLOCK_EXAMPLE_HIGH);
	}
	return true;
}

/* Ranges that overlap say one port twice, and are most likely a slip. */
static bool check_reserved(const struct config *c, struct config_error *err)
{
	const struct port_range *r = c->nat.reserved;

	for (uint32_t i = 0; i < c->nat.n_reserved; i++)
		for (uint32_t j = 0; j < i; j++)
			if (r[i].first <= r[j].last && r[j].first <= r[i].last)
				return config_refuse(err,
					"nat.reserved_ports[%u]: port %u is in the list already (entry %u); give each "
					"port once",
					i, r[i].first > r[j].first ? r[i].first : r[j].first, j);
	return true;
}

bool config_check_allocation(const struct config *c, struct config_error *err)
{
	return check_block_sizes(c, err) && check_reserved(c, err);
}
