/* Memory given back: pages filled with sessions of one engine serve as port tables, then for another engine, and again. */
#include "shm/check.h"
#include "shm/ports.h"
#include "shm/shared_slab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PAGES = 6, OBJECTS_MAX = PAGES * ARENA_PAGE / sizeof(struct session), ROUNDS = 3 };

static void say(void *context, const struct check_violation *v)
{
	(void)context;
	print_error("%s: %s: %s, but %s\n", v->object.text, check_rule_info[v->rule].name, v->fact[0].text,
		v->fact[1].text);
}

static void build_table(void *object, void *context)
{
	struct port_table *t = object;

	memset((uint8_t *)t + sizeof(struct slab_object), 0, sizeof *t - sizeof(struct slab_object));
	t->address = be32_of((*(uint32_t *)context)++);
}

static uint32_t free_pages(const struct arena *a)
{
	const struct page *p = arena_region(a, ARENA_page_map);
	uint32_t n = 0;

	for (uint32_t i = 0; i < a->header->geometry.pages; i++)
		n += (uint32_t)atomic_load(&p[i].owner) == 0;
	return n;
}

static uint32_t fill_with_sessions(struct arena *a, unsigned engine, uint32_t *index)
{
	struct slab *s = &actor_of(a, engine)->slab[SLAB_session];
	uint32_t n = 0;

	while ((index[n] = slab_take(a, s, engine, SLAB_session)) != 0)
		n++;
	for (uint32_t i = 0; i < n; i++)
		slab_put(a, s, SLAB_session, index[i]);
	slab_give_back(a, s);
	return n;
}

static uint32_t fill_with_port_tables(struct arena *a, uint32_t *index)
{
	uint32_t n = 0, host = 0xc6336400u;

	while ((index[n] = shared_make(a, ACTOR_MGMTD, SLAB_port_table, build_table, &host)) != 0)
		n++;
	for (uint32_t i = 0; i < n; i++)
		assert_true(shared_drop(a, ACTOR_MGMTD, SLAB_port_table, index[i]));
	slab_give_back(a, &actor_of(a, ACTOR_SHARED)->slab[SLAB_port_table]);
	return n;
}

static void test_pages_serve_every_use_in_turn(void **state)
{
	const struct arena_geometry g = {.engines = 2,
		.sessions = 64,
		.pages = PAGES,
		.local_buckets = 8,
		.global_buckets = 8,
		.mapping_buckets = 8};
	uint32_t *index = calloc(OBJECTS_MAX + 1, sizeof *index);
	struct arena_error err;
	struct arena *a = arena_open_private(&g, 1, &err);
	struct check_counts counts;

	(void)state;
	assert_non_null(a);
	assert_non_null(index);
	for (int round = 0; round < ROUNDS; round++) {
		assert_int_equal(fill_with_sessions(a, 0, index), OBJECTS_MAX);
		assert_int_equal(free_pages(a), PAGES);
		assert_int_equal(fill_with_port_tables(a, index), PAGES * slab_per_page(SLAB_port_table));
		assert_int_equal(free_pages(a), PAGES);
		assert_int_equal(fill_with_sessions(a, 1, index), OBJECTS_MAX);
		assert_int_equal(free_pages(a), PAGES);
		assert_int_equal(check_arena(a, CHECK_EXACT, say, NULL, &counts), 0);
	}
	free(index);
	arena_close(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_pages_serve_every_use_in_turn)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
