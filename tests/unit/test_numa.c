/* Memory nodes: what a machine says of itself, where the arena's parts are put, and whose pages an engine takes. */
#include "shm/arena_spread.h"
#include "shm/slab.h"

#include <linux/mempolicy.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

static char sysfs[] = "/tmp/corenat-numa-XXXXXX";

static void write_text(const char *name, const char *text)
{
	char path[128];

	snprintf(path, sizeof path, "%s/%s", sysfs, name);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void make(const char *name)
{
	char path[128];

	snprintf(path, sizeof path, "%s/%s", sysfs, name);
	assert_int_equal(mkdir(path, 0700), 0);
}

/* Nodes 0 and 2 with memory, 1 with none; CPUs 0 and 1 on node 0, 2 on node 1, 3 on node 2. */
static int set_up(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(sysfs));
	make("node");
	write_text("node/has_memory", "0,2\n");
	make("cpu");
	for (const char *const *d = (const char *const[]){"cpu/cpu0", "cpu/cpu0/node0", "cpu/cpu1", "cpu/cpu1/node0",
		     "cpu/cpu2", "cpu/cpu2/node1", "cpu/cpu3", "cpu/cpu3/node2", NULL};
		*d; d++)
		make(*d);
	return 0;
}

static int tear_down(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof command, "rm -r %s", sysfs);
	return system(command);
}

static void test_topology(void **state)
{
	struct numa numa;

	(void)state;
	numa_look(&numa, sysfs);
	assert_int_equal(numa.n, 2);
	assert_int_equal(numa.id[0], 0);
	assert_int_equal(numa.id[1], 2);
	assert_int_equal(numa_of_cpu(&numa, sysfs, 1), 0);
	assert_int_equal(numa_of_cpu(&numa, sysfs, 3), 1);
	assert_int_equal(numa_of_cpu(&numa, sysfs, 2), 0); /* its node has no memory */
	assert_int_equal(numa_of_cpu(&numa, sysfs, 9), 0); /* no such CPU */
	write_text("node/has_memory", "0-3,8,10-11\n");
	numa_look(&numa, sysfs);
	assert_int_equal(numa.n, 7);
	assert_int_equal(numa.id[3], 3);
	assert_int_equal(numa.id[4], 8);
	assert_int_equal(numa.id[6], 11);
	write_text("node/has_memory", "\n");
	numa_look(&numa, sysfs);
	assert_int_equal(numa.n, 1);
	numa_look(&numa, "/nowhere");
	assert_int_equal(numa.n, 1);
	write_text("node/has_memory", "0,2\n");
}

/* The policy of an address, its first node in *node. */
static int policy_at(void *at, unsigned *node)
{
	unsigned long nodes = 0;
	int mode = -1;

	if (syscall(SYS_get_mempolicy, &mode, &nodes, NUMA_NODES + 1, at, MPOL_F_ADDR) != 0)
		return -1;
	*node = nodes ? (unsigned)__builtin_ctzl(nodes) : NUMA_NODES;
	return mode;
}

static struct arena_geometry geometry_of(unsigned engines, struct config *c)
{
	*c = (struct config){.arena = {.engines = engines, .sessions = 1 << 17, .subscribers = 1024},
		.engine = {.cpus = {0, 3}, .n_cpus = 2}};
	return arena_plan(c);
}

/* Two places that are both this machine's node 0, since that is what there is: the kernel is asked all the same. */
static void test_spread(void **state)
{
	struct numa twice = {.n = 2, .id = {0, 0}}, one = {.n = 1};
	struct arena_error err;
	struct config c;
	struct arena_geometry g = geometry_of(2, &c);
	struct arena *a = arena_open_private(&g, 1, &err);
	unsigned node;

	(void)state;
	assert_non_null(a);
	const struct arena_span *span = a->header->region;
	assert_int_equal(arena_spread(a->base, &g, span, &c, &one, sysfs), 1);
	if (policy_at(a->base, &node) < 0)
		skip(); /* a kernel without nodes */
	assert_int_equal(policy_at(a->base, &node), MPOL_DEFAULT);
	assert_int_equal(arena_spread(a->base, &g, span, &c, &twice, sysfs), 2);
	assert_int_equal(policy_at(a->base, &node), MPOL_INTERLEAVE);
	assert_int_equal(policy_at(a->base + span[ARENA_sessions].offset, &node), MPOL_INTERLEAVE);
	assert_int_equal(policy_at(a->base + span[ARENA_locals].offset + 8192, &node), MPOL_PREFERRED);
	assert_int_equal(policy_at(a->base + span[ARENA_pages].offset + ARENA_PAGE, &node), MPOL_PREFERRED);
	assert_int_equal(node, 0);
	arena_close(a);
}

static unsigned taken_of(const struct arena *a, unsigned node)
{
	const struct page *p = arena_region(a, ARENA_page_map);
	unsigned n = 0;

	for (uint32_t i = 0; i < a->header->geometry.pages; i++)
		n += i % 2 == node && (uint32_t)atomic_load(&p[i].owner) != 0;
	return n;
}

/* An engine takes its own node's pages while there are any, and then the others': none is refused. */
static void test_near_pages_first(void **state)
{
	struct arena_error err;
	struct config c;
	struct arena_geometry g = geometry_of(2, &c);
	struct arena *a = arena_open_private(&g, 1, &err);
	struct slab s = {0};

	(void)state;
	assert_non_null(a);
	a->nodes = 2;
	a->node = 1;
	unsigned half = a->header->geometry.pages / 2, objects = 0;
	while (taken_of(a, 0) == 0 && slab_take(a, &s, 0, SLAB_session))
		objects++;
	assert_int_equal(taken_of(a, 1), half);
	assert_int_equal(taken_of(a, 0), 1);
	assert_int_equal(objects, half * slab_per_page(SLAB_session) + 1);
	while (slab_take(a, &s, 0, SLAB_session))
		objects++;
	assert_int_equal(objects, a->header->geometry.pages * slab_per_page(SLAB_session));
	arena_close(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_topology),
		cmocka_unit_test(test_spread),
		cmocka_unit_test(test_near_pages_first),
	};

	return cmocka_run_group_tests_name("numa", tests, set_up, tear_down);
}
