#include "shm/numa.h"

#include <linux/mempolicy.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SMALL_PAGE = 4096 };

/* "0-1,4": what begins at *at, as one range; false at the end. */
static bool next_range(const char **at, unsigned *first, unsigned *last)
{
	int used = 0;

	if (sscanf(*at, " %u%n", first, &used) != 1)
		return false;
	*at += used;
	*last = *first;
	if (**at == '-' && sscanf(*at, "-%u%n", last, &used) == 1)
		*at += used;
	*at += **at == ',';
	return true;
}

void numa_look(struct numa *out, const char *sysfs)
{
	char path[256], line[256] = "";
	unsigned first, last;

	*out = (struct numa){0};
	snprintf(path, sizeof path, "%s/node/has_memory", sysfs);
	FILE *f = fopen(path, "re");
	if (f && !fgets(line, sizeof line, f))
		line[0] = '\0';
	if (f)
		fclose(f);
	for (const char *at = line; next_range(&at, &first, &last);)
		for (unsigned id = first; id <= last && id < NUMA_NODES; id++)
			out->id[out->n++ % NUMA_NODES] = (uint8_t)id;
	if (out->n < 1 || out->n > NUMA_NODES)
		*out = (struct numa){.n = 1};
}

unsigned numa_of_cpu(const struct numa *numa, const char *sysfs, unsigned cpu)
{
	char path[256];

	for (unsigned place = 0; place < numa->n; place++) {
		snprintf(path, sizeof path, "%s/cpu/cpu%u/node%u", sysfs, cpu, numa->id[place]);
		if (access(path, F_OK) == 0)
			return place;
	}
	return 0;
}

/* The kernel takes one bit more than there are. */
static bool set_policy(void *at, uint64_t bytes, int mode, uint64_t nodes)
{
	uint64_t from = ((uintptr_t)at + SMALL_PAGE - 1) & ~(uint64_t)(SMALL_PAGE - 1);
	uint64_t to = ((uintptr_t)at + bytes) & ~(uint64_t)(SMALL_PAGE - 1);

	return from >= to || syscall(SYS_mbind, from, to - from, mode, &nodes, NUMA_NODES + 1, 0) == 0;
}

/* Preferred, not bound: a node that is full must not stop the appliance. */
bool numa_bind(void *at, uint64_t bytes, const struct numa *numa, unsigned place)
{
	return set_policy(at, bytes, MPOL_PREFERRED, 1ull << numa->id[place]);
}

bool numa_interleave(void *at, uint64_t bytes, const struct numa *numa)
{
	uint64_t nodes = 0;

	for (unsigned i = 0; i < numa->n; i++)
		nodes |= 1ull << numa->id[i];
	return set_policy(at, bytes, MPOL_INTERLEAVE, nodes);
}
