/* numa: which memory is near which processor, and how the arena is spread over it.
 *
 * What       machines with several memory nodes: the fixed regions that all engines use are interleaved; what one engine alone uses lies
 *            on its node; pages of the pool are dealt to the nodes in turn (page i: node i % n), and an engine takes its own first.
 *            With one node none of this happens, and no call is made.
 * Units      `place`: which of the machine's nodes with memory, counted from 0; the kernel's number of it is id[place].
 * Ownership  struct numa is the caller's.
 * Calls      any thread. Placing comes before the memory is touched.
 * Errors     numa_look never fails: a machine that says nothing has one node. Placing: false when the kernel refuses, which costs
 *            time on every miss and nothing else.
 * Source     Linux Documentation/admin-guide/mm/numa_memory_policy.rst, mbind(2)
 * Use        numa_look(&numa, NUMA_SYSFS); if (numa.n > 1) numa_bind(at, bytes, &numa, numa_of_cpu(&numa, NUMA_SYSFS, cpu));
 */
#ifndef CORENAT_SHM_NUMA_H
#define CORENAT_SHM_NUMA_H

#include <stdbool.h>
#include <stdint.h>

enum { NUMA_NODES = 64 };
#define NUMA_SYSFS "/sys/devices/system"

struct numa {
	unsigned n;
	uint8_t id[NUMA_NODES];
};

/* `sysfs` is NUMA_SYSFS, or what a test has made to look like it. */
void numa_look(struct numa *out, const char *sysfs);
/* The place of a CPU's node; 0 when it has none with memory. */
unsigned numa_of_cpu(const struct numa *numa, const char *sysfs, unsigned cpu);

/* What lies wholly within: pages of 4 KiB that the span touches only in part stay as they are. */
bool numa_bind(void *at, uint64_t bytes, const struct numa *numa, unsigned place);
bool numa_interleave(void *at, uint64_t bytes, const struct numa *numa);

#endif
