/* snapshot: the configuration as engines use it.
 *
 * What       an immutable compilation of struct config with the port tables of its addresses. Two slots; the arena
 *            header's config_generation names the one in force by its low bit.
 * Units      seconds, host-order addresses in ranges, wire order in addresses[].
 * Ownership  mgmtd writes the slot not in force; engines copy the one in force into private memory.
 * Calls      compile, commit: mgmtd (or the process that owns a private arena). read, acknowledge: engines.
 * Errors     compile: false and a sentence. commit: -EBUSY while a living engine still uses the generation before.
 *
 * Publish    fill the spare slot, then config_generation + 1 (release).
 * Read       generation (acquire), copy, acquire fence, generation again: changed => try again.
 * Retire     a slot is written again only when every living engine has acknowledged the generation that replaced it.
 * Death      mgmtd dying while it fills the spare slot: nobody reads it. An engine dying unacknowledged holds nobody up.
 */
#ifndef CORENAT_SHM_SNAPSHOT_H
#define CORENAT_SHM_SNAPSHOT_H

#include "shm/engine.h"
#include "shm/ports.h"

struct snapshot_address {
	be32_t address;
	uint32_t ports; /* port table's slab index */
};

enum { SNAPSHOT_RANGES_MAX = CONFIG_POOLS_MAX * CONFIG_RANGES_MAX };

/* Which idle time applies; kept in four bits of a local table entry. */
enum timeout_class { TIMEOUT_UDP, TIMEOUT_ICMP, TIMEOUT_TCP_TRANSITORY, TIMEOUT_TCP_ESTABLISHED, N_TIMEOUTS };

struct snapshot {
	uint32_t generation;
	uint32_t engines; /* that run; those of the arena beyond are adopted by these */
	uint32_t n_prefixes;
	uint32_t n_addresses;
	uint32_t n_ranges;
	uint32_t timeout_s[N_TIMEOUTS];
	uint16_t port_first, port_last;
	struct rss rss[N_SIDES];
	struct prefix prefixes[CONFIG_PREFIXES_MAX];
	struct address_range ranges[SNAPSHOT_RANGES_MAX]; /* of all pools: what the XDP program must know */
	struct snapshot_address addresses[CONFIG_ADDRESSES_MAX];
};

/* Finds or makes the port table of each address: those of an address that was in force before keep their bits. */
bool snapshot_compile(struct arena *a, const struct config *c, struct snapshot *out, struct config_error *err);

/* Puts it in force and returns its generation, or -EBUSY. */
int64_t snapshot_commit(struct arena *a, const struct snapshot *s);

/* True when a generation newer than `seen` is in force: one load, for the loop. */
static inline bool snapshot_news(const struct arena *a, uint32_t seen)
{
	return atomic_load_explicit(&a->header->config_generation, memory_order_acquire) != seen;
}

/* Copies what is in force; false when nothing ever was. */
bool snapshot_read(const struct arena *a, struct snapshot *out);

#endif
