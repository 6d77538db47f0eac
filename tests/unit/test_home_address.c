/* Where packets are spread by their destination address alone, the NAT address is chosen so that replies come home. */
#include "pe/miniature.h"
#include "tests/unit/check_box.h"

enum { SUBSCRIBERS_TRIED = 200, POOL_ADDRESSES = 16 };

struct scene {
	struct config config;
	struct arena *arena;
	struct nat *nat; /* of each engine */
	struct steering outside;
	mono_t now;
};

static struct scene *scene_open(enum pooling pooling)
{
	const struct appliance look = {
		.engines = ENGINES, .sessions = 4096, .addresses = POOL_ADDRESSES, .ports = 2000, .idle_s = 60};
	struct scene *s = calloc(1, sizeof *s);

	assert_non_null(s);
	appliance_config(&look, &s->config);
	s->config.arena.subscribers = 1024;
	s->config.nat.pooling = pooling;
	s->config.nat.mapping = ADDRESS_AND_PORT_DEPENDENT;
	s->config.net.side[SIDE_OUTSIDE].rss.mode = RSS_DESTINATION;
	s->arena = miniature_open(&s->config, 5);
	assert_non_null(s->arena);
	assert_int_equal(steering_init(&s->outside, &s->config.net.side[SIDE_OUTSIDE].rss, ENGINES), 0);
	s->nat = calloc(ENGINES, sizeof *s->nat);
	assert_non_null(s->nat);
	s->now = (mono_t){1000000000000u};
	for (unsigned e = 0; e < ENGINES; e++) {
		nat_init(&s->nat[e], s->arena, e, e + 1, s->now);
		nat_configure(&s->nat[e]);
		nat_load_routes(&s->nat[e]);
	}
	return s;
}

static void scene_close(struct scene *s)
{
	arena_close(s->arena);
	free(s->nat);
	free(s);
}

/* The engine that the reply of a new flow lands on. */
static unsigned lands(struct scene *s, unsigned engine, unsigned inside, unsigned remote)
{
	struct tuple t = tuple_of(L4_UDP, inside, 5000, remote, 53);
	struct frame f;

	frame_make(&f, &t, SIDE_INSIDE, 0);
	nat_burst(&s->nat[engine], &f.packet, 1, s->now);
	assert_int_equal(f.packet.verdict, VERDICT_fwd_out_new);
	struct tuple reply = frame_reply(&f);
	return tuple_engine(&s->outside, &reply);
}

static void come_home(enum pooling pooling)
{
	struct scene *s = scene_open(pooling);

	for (unsigned inside = 1; inside <= SUBSCRIBERS_TRIED; inside++)
		for (unsigned remote = 1; remote <= 4; remote++)
			assert_int_equal(lands(s, inside % ENGINES, inside, remote), inside % ENGINES);
	scene_close(s);
}

static void test_paired(void **state)
{
	come_home(POOLING_PAIRED);
}

static void test_arbitrary(void **state)
{
	come_home(POOLING_ARBITRARY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paired),
		cmocka_unit_test(test_arbitrary),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
