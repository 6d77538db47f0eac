/* Pinholes: mappings with a lifetime, opened on request (shm/pinhole.h), on the five paths of the laboratory. */
#include "shm/pinhole.h"
#include "tests/unit/nat_lab.h"

#include <string.h>

enum { TCP = 6, UDP = 17, MODEL_STEPS = 80, MODEL_SEEDS = 2, MODEL_HOSTS = 6 };

#define ONE "[{\"name\":\"main\",\"addresses\":[\"198.51.100.0\"]}]"

/* ---- asking ---- */

static struct pinhole_answer ask(struct lab *l, unsigned engine, const struct pinhole_request *r)
{
	int64_t number = pinhole_post(l->arena, engine, r);
	struct pinhole_answer a;

	assert_true(number > 0);
	lab_pass(l, 0.01);
	assert_true(pinhole_answer(l->arena, engine, (uint32_t)number, &a));
	return a;
}

static struct pinhole_request request(uint8_t protocol, struct lab_end inside, struct lab_end nat, uint32_t lifetime_s)
{
	return (struct pinhole_request){.inside = be32_of(inside.address),
		.inside_port = be16_of(inside.port),
		.nat = be32_of(nat.address),
		.nat_port = be16_of(nat.port),
		.l4 = protocol == TCP ? L4_TCP : L4_UDP,
		.action = PINHOLE_OPEN,
		.lifetime_s = lifetime_s};
}

static struct lab_end end_of(const struct pinhole_answer *a)
{
	return (struct lab_end){be32_host(a->nat), be16_host(a->nat_port)};
}

/* By the engine that would be asked for it. */
static unsigned engine_for(const struct lab *l, struct lab_end inside)
{
	return inside.port % l->engines;
}

static struct pinhole_answer open_one(struct lab *l, uint8_t protocol, struct lab_end inside, uint32_t lifetime_s)
{
	struct pinhole_request r = request(protocol, inside, (struct lab_end){0, 0}, lifetime_s);
	struct pinhole_answer a = ask(l, engine_for(l, inside), &r);

	assert_int_equal(a.result, PINHOLE_OK);
	return a;
}

static enum pinhole_result again(struct lab *l, struct lab_end inside, const struct pinhole_answer *was,
	enum pinhole_action action, uint32_t lifetime_s)
{
	struct pinhole_request r = {
		.action = action, .lifetime_s = lifetime_s, .index = was->index, .generation = was->generation};

	return (enum pinhole_result)ask(l, engine_for(l, inside), &r).result;
}

static enum pinhole_result wants(struct lab *l, struct lab_end inside, struct lab_end nat)
{
	struct pinhole_request r = request(UDP, inside, nat, 600);

	return (enum pinhole_result)ask(l, engine_for(l, inside), &r).result;
}

static struct lab_end mapped(struct lab *l, struct lab_end inside, struct lab_end server)
{
	struct lab_packet p = lab_udp(inside, server);

	return lab_ok(l, &p).src;
}

/* ---- what it is ---- */

/* Anybody gets in and is answered by the same endpoint, at any time while it lives, idle or not; and nobody afterwards. */
static void test_pinhole_life(struct lab *l)
{
	for (unsigned i = 0; i < 2; i++) {
		uint8_t protocol = i ? TCP : UDP;
		struct lab_end host = lab_host(1 + i, (uint16_t)(6881 + i));
		struct pinhole_answer a = open_one(l, protocol, host, 86400);
		struct lab_end nat = end_of(&a);

		lab_pass(l, 86000);
		assert_true(lab_reaches(l, protocol, lab_server(7, 7), nat));
		assert_true(lab_same(l->seen[0].dst, host));
		struct lab_packet back = lab_answer(&l->seen[0]);
		back.flags = protocol == TCP ? LAB_RST | LAB_ACK : 0;
		assert_true(lab_same(lab_ok(l, &back).src, nat));
		lab_pass(l, 390); /* the flow above ends meanwhile */
		assert_true(lab_reaches(l, protocol, lab_server(8, 8), nat));
		lab_pass(l, 10 + LAB_SWEEP_S);
		assert_false(lab_reaches(l, protocol, lab_server(9, 9), nat));
	}
}

/* What the host sends leaves by it, too, and outlives it. */
static void test_pinhole_outbound(struct lab *l)
{
	struct lab_end host = lab_host(1, 6881);
	struct pinhole_answer a = open_one(l, UDP, host, 120);

	assert_true(lab_same(mapped(l, host, lab_server(1, 53)), end_of(&a)));
	lab_pass(l, 119);
	assert_true(lab_same(mapped(l, host, lab_server(2, 53)), end_of(&a)));
	lab_pass(l, 10);
	assert_true(lab_same(mapped(l, host, lab_server(3, 53)), end_of(&a)));
	assert_true(lab_reaches(l, UDP, lab_server(9, 9), end_of(&a))); /* as the host's own mapping has it */
}

static void test_pinhole_renew(struct lab *l)
{
	struct lab_end host = lab_host(1, 6881);
	struct pinhole_answer a = open_one(l, UDP, host, 120);

	for (unsigned i = 0; i < 5; i++) {
		lab_pass(l, 110);
		assert_int_equal(again(l, host, &a, PINHOLE_RENEW, 120), PINHOLE_OK);
	}
	assert_true(lab_reaches(l, UDP, lab_server(9, 9), end_of(&a)));
	lab_pass(l, 121);
	assert_int_equal(again(l, host, &a, PINHOLE_RENEW, 120), PINHOLE_GONE);
	assert_false(lab_reaches(l, UDP, lab_server(8, 8), end_of(&a)));
}

static void test_pinhole_close(struct lab *l)
{
	struct lab_end host = lab_host(1, 6881);
	struct pinhole_answer a = open_one(l, UDP, host, 600);
	struct check_counts counts;

	lab_check(l, &counts);
	assert_int_equal(counts.pinholes, 1);
	assert_int_equal(counts.ports[PORTS_OTHER], 1);
	assert_int_equal(again(l, host, &a, PINHOLE_CLOSE, 0), PINHOLE_OK);
	assert_false(lab_reaches(l, UDP, lab_server(9, 9), end_of(&a)));
	assert_int_equal(again(l, host, &a, PINHOLE_CLOSE, 0), PINHOLE_GONE);
	lab_check(l, &counts);
	assert_int_equal(counts.pinholes, 0);
	assert_int_equal(counts.ports[PORTS_OTHER], 0);
}

/* A flow that came in by it goes on, and does not keep it open for others. */
static void test_pinhole_closed_in_use(struct lab *l)
{
	struct lab_end host = lab_host(1, 6881);
	struct pinhole_answer a = open_one(l, UDP, host, 600);
	struct lab_packet in = lab_udp(lab_server(9, 9), end_of(&a)), seen = lab_ok(l, &in), back = lab_answer(&seen);

	lab_ok(l, &back);
	assert_int_equal(again(l, host, &a, PINHOLE_CLOSE, 0), PINHOLE_OK);
	for (unsigned i = 0; i < 4; i++) {
		assert_false(lab_reaches(l, UDP, lab_server(8, 8), end_of(&a)));
		assert_true(lab_same(lab_ok(l, &back).src, end_of(&a)));
		lab_ok(l, &in);
		lab_pass(l, 200);
	}
}

/* ---- which endpoint ---- */

static void test_pinhole_wanted(struct lab *l)
{
	const struct lab_end nat = {LAB_POOL, 4444}, fixed = {LAB_POOL, 5000};
	struct lab_end host = lab_host(1, 6881), other = lab_host(2, 6881);
	struct pinhole_request r = request(UDP, host, nat, 600);
	struct pinhole_answer a = ask(l, engine_for(l, host), &r);

	assert_int_equal(a.result, PINHOLE_OK);
	assert_true(lab_same(end_of(&a), nat));
	assert_int_equal(wants(l, other, nat), PINHOLE_NO_PORT);
	assert_int_equal(wants(l, other, fixed), PINHOLE_NO_PORT);
	assert_int_equal(wants(l, other, (struct lab_end){LAB_POOL + 9, 4445}), PINHOLE_NO_PORT);
	assert_int_equal(wants(l, other, (struct lab_end){LAB_POOL, 80}), PINHOLE_NO_PORT); /* outside what there is */
	assert_int_equal(wants(l, other, (struct lab_end){0, 4445}), PINHOLE_OK);
	assert_int_equal(wants(l, lab_host(3, 1), (struct lab_end){LAB_POOL, 0}), PINHOLE_OK);
}

/* A host that speaks already keeps its endpoint; if another one is wanted, no. */
static void test_pinhole_joins(struct lab *l)
{
	struct lab_end host = lab_host(1, 6881), nat = mapped(l, host, lab_server(1, 53)), other = nat;

	other.port ^= 1;
	assert_int_equal(wants(l, host, other), PINHOLE_MAPPED);
	struct pinhole_answer a = open_one(l, UDP, host, 86400);
	assert_true(lab_same(end_of(&a), nat));
	lab_pass(l, 2000);
	assert_true(lab_reaches(l, UDP, lab_server(9, 9), nat));
	assert_true(lab_same(mapped(l, host, lab_server(1, 53)), nat));
	assert_int_equal(wants(l, host, nat), PINHOLE_OK); /* a second one: the last to end counts */
	assert_int_equal(again(l, host, &a, PINHOLE_CLOSE, 0), PINHOLE_OK);
	assert_true(lab_reaches(l, UDP, lab_server(8, 8), nat));
}

static void test_pinhole_refused(struct lab *l)
{
	assert_int_equal(
		wants(l, (struct lab_end){LAB_SERVERS + 1, 1}, (struct lab_end){0, 0}), PINHOLE_NOT_SUBSCRIBER);
	assert_int_equal(wants(l, lab_host(77, 1), (struct lab_end){0, 0}), PINHOLE_NOT_BY_RULE);
	assert_int_equal(wants(l, lab_host(5, 5000), (struct lab_end){0, 0}), PINHOLE_STATIC);
	for (uint16_t i = 0; i < 8; i++)
		open_one(l, UDP, lab_host(20u + i, 1), 600);
	assert_int_equal(wants(l, lab_host(40, 1), (struct lab_end){0, 0}), PINHOLE_NO_PORT);
	lab_pass(l, 601);
	assert_int_equal(wants(l, lab_host(40, 1), (struct lab_end){0, 0}), PINHOLE_OK);
}

/* Where hosts let in only whom they wrote to, a pinhole is open to anybody, and leaves nothing open behind. */
static void test_pinhole_strict(struct lab *l)
{
	struct lab_end host = lab_host(1, 6881), nat = mapped(l, host, lab_server(1, 53));

	assert_false(lab_reaches(l, UDP, lab_server(9, 9), nat));
	struct pinhole_answer a = open_one(l, UDP, host, 120);
	assert_true(lab_same(end_of(&a), nat));
	assert_true(lab_reaches(l, UDP, lab_server(9, 9), nat));
	struct lab_end first = lab_host(2, 6881); /* the pinhole first */
	struct pinhole_answer b = open_one(l, UDP, first, 120);
	assert_true(lab_same(mapped(l, first, lab_server(1, 53)), end_of(&b)));
	lab_pass(l, 121);
	mapped(l, host, lab_server(1, 53));
	mapped(l, first, lab_server(1, 53));
	assert_false(lab_reaches(l, UDP, lab_server(8, 8), nat));
	assert_false(lab_reaches(l, UDP, lab_server(8, 8), end_of(&b)));
	assert_true(lab_reaches(l, UDP, lab_server(1, 53), nat));
}

/* ---- who dies ---- */

/* Engines come and go; what was open is open still, for the rest of its time. */
static void test_pinhole_restart(struct lab *l)
{
	struct lab_end host[3];
	struct pinhole_answer a[3];

	for (uint16_t i = 0; i < 3; i++) {
		host[i] = lab_host(1u + i, (uint16_t)(6000 + i));
		a[i] = open_one(l, UDP, host[i], i == 2 ? 1200 : 600);
	}
	mapped(l, host[1], lab_server(1, 53)); /* one uses a pinhole's mapping meanwhile */
	for (unsigned e = 0; e < l->engines; e++) {
		struct nat *n = &l->engine[e]->nat;

		nat_init(n, l->arena, e, 99 + e, l->now);
		assert_true(nat_configure(n));
		nat_load_routes(n);
	}
	for (unsigned i = 0; i < 3; i++)
		assert_true(lab_reaches(l, UDP, lab_server(9, 9), end_of(&a[i])));
	assert_int_equal(again(l, host[0], &a[0], PINHOLE_RENEW, 1200), PINHOLE_OK);
	lab_pass(l, 1000);
	assert_true(lab_reaches(l, UDP, lab_server(8, 8), end_of(&a[0])));
	assert_false(lab_reaches(l, UDP, lab_server(8, 8), end_of(&a[1])));
	assert_true(lab_reaches(l, UDP, lab_server(8, 8), end_of(&a[2])));
}

/* ---- against a model ---- */

struct owned {
	bool open;
	struct pinhole_answer a;
	double until;
};

static void one_step(struct lab *l, struct rnd *rnd, struct owned *h, double *now, unsigned host)
{
	struct lab_end inside = lab_host(1 + host, (uint16_t)(6000 + host));
	uint32_t lifetime_s = 120 + rnd_below(rnd, 300);

	if (!h->open) {
		h->a = open_one(l, host & 1 ? TCP : UDP, inside, lifetime_s);
		h->open = true;
		h->until = *now + lifetime_s;
	} else if (rnd_one_in(rnd, 3)) {
		assert_int_equal(again(l, inside, &h->a, PINHOLE_CLOSE, 0), PINHOLE_OK);
		h->open = false;
	} else {
		assert_int_equal(again(l, inside, &h->a, PINHOLE_RENEW, lifetime_s), PINHOLE_OK);
		h->until = *now + lifetime_s;
	}
	*now += 0.01; /* that asking took */
}

/* Whole seconds are what the appliance counts: what is within one of its end is not asked for. */
static void pass(struct lab *l, struct rnd *rnd, struct owned held[MODEL_HOSTS], double *now)
{
	double seconds = 1 + rnd_below(rnd, 60);

	for (unsigned i = 0; i < MODEL_HOSTS; i++)
		if (held[i].open && held[i].until > *now + seconds - 2 && held[i].until < *now + seconds + 2)
			seconds += 5;
	lab_pass(l, seconds);
	*now += seconds;
	for (unsigned i = 0; i < MODEL_HOSTS; i++)
		held[i].open = held[i].open && held[i].until > *now;
}

static void compare(struct lab *l, const struct owned held[MODEL_HOSTS])
{
	struct check_counts counts;
	unsigned open = 0;

	lab_pass(l, 0);
	lab_check(l, &counts);
	for (unsigned i = 0; i < MODEL_HOSTS; i++)
		open += held[i].open;
	assert_int_equal(counts.pinholes, open);
	assert_int_equal(counts.ports[PORTS_TCP] + counts.ports[PORTS_OTHER], open);
	for (unsigned i = 0; i < MODEL_HOSTS; i++)
		for (unsigned j = 0; j < i; j++)
			assert_false(held[i].open && held[j].open && (i & 1) == (j & 1) &&
				     lab_same(end_of(&held[i].a), end_of(&held[j].a)));
}

static void test_pinhole_model(struct lab *l)
{
	for (uint64_t seed = 1; seed <= MODEL_SEEDS; seed++) {
		struct owned held[MODEL_HOSTS] = {{.open = false}};
		struct rnd rnd = {seed};
		double now = 0;

		for (unsigned step = 0; step < MODEL_STEPS; step++) {
			unsigned host = rnd_below(&rnd, MODEL_HOSTS);

			if (rnd_one_in(&rnd, 4))
				pass(l, &rnd, held, &now);
			else if (!held[host].open || held[host].until > now + 2)
				one_step(l, &rnd, &held[host], &now, host);
			compare(l, held);
		}
		lab_drain(l);
	}
}

#define STRICT "\"filtering\":\"address-and-port-dependent\""
#define FIXED                                                                                                          \
	"\"static\":[{\"protocol\":\"udp\",\"inside\":\"100.64.0.5\",\"inside_port\":5000,\"nat\":\"198.51.100.0\","   \
	"\"nat_port\":5000}]"
#define REFUSED FIXED ",\"rules\":[{\"name\":\"no\",\"inside\":[\"100.64.0.77/32\"],\"action\":\"drop\"}]"

int main(void)
{
	static const struct lab_test tests[] = {
		LAB_TEST(test_pinhole_life),
		LAB_TEST(test_pinhole_outbound),
		LAB_TEST(test_pinhole_renew),
		LAB_TEST(test_pinhole_close),
		LAB_TEST(test_pinhole_closed_in_use),
		LAB_TEST(test_pinhole_wanted, .pools = ONE, .more = FIXED),
		LAB_TEST(test_pinhole_joins),
		LAB_TEST(test_pinhole_refused, .nat = "\"port_first\":2000,\"port_last\":2007", .pools = ONE,
			.more = REFUSED),
		LAB_TEST(test_pinhole_strict, .nat = STRICT),
		LAB_TEST(test_pinhole_restart),
		LAB_TEST(test_pinhole_model),
	};

	return LAB_TESTS(tests);
}
