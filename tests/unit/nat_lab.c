#include "tests/unit/nat_lab.h"

#include "common/headers.h"
#include "pe/io_replay.h"
#include "pe/miniature.h"

#include <stdlib.h>
#include <string.h>

enum {
	SEED = 11,
	TURNS = 64,       /* of each engine while time passes */
	DRAIN_S = 700000, /* longer than any idle time there is */
	DRAIN_ROUNDS = 6, /* mappings wait for their last session, adopters for their owner's word */
	TEXT = 4096,
	START_S = 1000000,
};

static const struct {
	const char *name, *inside, *outside; /* RSS tables */
	unsigned engines;
} paths[N_LAB_PATHS] = {
	[LAB_ALONE] = {"one engine", "0", "0", 1},
	[LAB_HOME] = {"two engines, replies at home", "0", "0", 2},
	[LAB_AWAY] = {"two engines, replies at the other", "0", "1", 2},
	[LAB_SPREAD] = {"two engines, Toeplitz", "0,1", "0,1,1,0", 2},
	[LAB_FOUR] = {"four engines, Toeplitz", "0,1,2,3", "3,1,0,2", 4},
};

/* ---- configuration ---- */

static void configure(enum lab_path path, const struct lab_setup *setup, struct config *c)
{
	struct config_error err;
	char text[TEXT];

	snprintf(text, sizeof text,
		"{\"arena\":{\"engines\":%u,\"sessions\":%u},"
		"\"inside\":{\"interface\":\"in\",\"prefixes\":%s,\"rss\":{\"table\":[%s]}},"
		"\"outside\":{\"interface\":\"out\",\"rss\":{\"table\":[%s]}},"
		"\"pools\":%s,\"nat\":{%s}%s%s}",
		paths[path].engines, setup->sessions ? setup->sessions : 1024,
		setup->prefixes ? setup->prefixes : "[\"100.64.0.0/10\"]", paths[path].inside, paths[path].outside,
		setup->pools ? setup->pools : "[{\"name\":\"main\",\"addresses\":[\"198.51.100.0/30\"]}]",
		setup->nat ? setup->nat : "", setup->more ? "," : "", setup->more ? setup->more : "");
	if (!config_parse(c, text, strlen(text), &err))
		fail_msg("%s\n%s", err.text, text);
}

static void take_configuration(struct lab *l)
{
	for (unsigned e = 0; e < l->engines; e++) {
		nat_configure(&l->engine[e]->nat);
		nat_load_routes(&l->engine[e]->nat);
	}
}

void lab_configure(struct lab *l, const struct lab_setup *setup)
{
	l->setup = *setup;
	configure(l->path, setup, &l->config);
	assert_true(miniature_fill(l->arena, &l->config));
	take_configuration(l);
}

/* ---- opening and closing ---- */

enum { TAG_AT = 12, TAG = 4 };

/* A frame as it came out, its tag apart. */
static void untag(enum side side, const uint8_t *data, uint32_t len, struct lab_frame *f)
{
	bool tagged = len >= TAG_AT + TAG && data[TAG_AT] == 0x81 && data[TAG_AT + 1] == 0;
	uint32_t from = tagged ? TAG_AT + TAG : TAG_AT;

	f->side = side;
	f->vlan = (uint16_t)(tagged ? data[TAG_AT + 2] << 8 | data[TAG_AT + 3] : 0);
	f->size = (uint16_t)(len - from + TAG_AT);
	memcpy(f->bytes, data, TAG_AT);
	memcpy(f->bytes + TAG_AT, data + from, len - from);
}

/* As it is given: with its tag. Returns the size. */
static uint32_t tag(const struct lab_frame *f, uint8_t *to)
{
	uint32_t from = f->vlan ? TAG_AT + TAG : TAG_AT;
	const uint8_t tag[TAG] = {0x81, 0, (uint8_t)(f->vlan >> 8), (uint8_t)f->vlan};

	memcpy(to, f->bytes, TAG_AT);
	memcpy(to + TAG_AT, tag, TAG);
	memcpy(to + from, f->bytes + TAG_AT, f->size - TAG_AT);
	return f->size - TAG_AT + from;
}

static void took(void *context, enum side side, const uint8_t *data, uint32_t len)
{
	struct lab *l = context;

	/* A packet too many or too large is seen by look_at_output: here an engine is at work. */
	if (l->n_out < LAB_OUT && len <= LAB_FRAME_BYTES)
		untag(side, data, len, &l->out[l->n_out]);
	l->n_out++;
}

static void open_engine(struct lab *l, unsigned number)
{
	struct engine *e = l->engine[number] = calloc(1, sizeof *e);
	struct io *io = io_replay_open(took, l);

	assert_true(e && io);
	engine_init(e, l->arena, number, io, SEED + number, l->now);
}

struct lab *lab_open(enum lab_path path, const struct lab_setup *setup)
{
	struct lab *l = calloc(1, sizeof *l);

	assert_non_null(l);
	l->path = path;
	l->engines = paths[path].engines;
	l->setup = *setup;
	l->now = (mono_t){span_s(START_S).ns};
	l->out = calloc(LAB_OUT, sizeof *l->out);
	l->seen = calloc(LAB_OUT, sizeof *l->seen);
	assert_true(l->out && l->seen);
	configure(path, setup, &l->config);
	for (int side = 0; side < N_SIDES; side++)
		assert_int_equal(steering_init(&l->rss[side], &l->config.net.side[side].rss, l->engines), 0);
	l->arena = miniature_open(&l->config, SEED);
	assert_non_null(l->arena);
	for (unsigned e = 0; e < l->engines; e++)
		open_engine(l, e);
	take_configuration(l);
	lab_check(l, &l->before);
	return l;
}

void lab_close(struct lab *l)
{
	for (unsigned e = 0; e < l->engines; e++) {
		if (l->engine[e])
			l->engine[e]->io->ops->close(l->engine[e]->io);
		free(l->engine[e]);
	}
	arena_close(l->arena);
	free(l->out);
	free(l->seen);
	free(l);
}

/* ---- packets ---- */

/* The engine whose queue the packet lands on: by addresses alone when it shows no ports. */
unsigned lab_engine_of(const struct lab *l, const struct lab_frame *f)
{
	const struct steering *s = &l->rss[f->side];
	const uint8_t *at = f->bytes + LAB_ETHERNET;
	struct ip4_header ip;
	be16_t port[2] = {{0}, {0}};

	memcpy(&ip, at, sizeof ip);
	if (be16_host(ip.fragment) & (LAB_MF | LAB_OFFSET))
		return steering_engine_addresses(s, ip.src, ip.dst);
	memcpy(port, at + (ip.version_ihl & 15u) * 4u, sizeof port);
	return steering_engine(s, ip.protocol, ip.src, ip.dst, port[0], port[1]);
}

/* What holds for every packet that ever comes out. */
static void look_at_output(struct lab *l)
{
	if (l->n_out > LAB_OUT)
		fail_msg("%u packets came out at once", l->n_out);
	for (unsigned i = 0; i < l->n_out; i++) {
		const char *wrong = lab_read(&l->out[i], &l->seen[i]);
		const struct lab_packet *p = &l->seen[i];

		if (wrong)
			fail_msg("packet %u of %u that came out: %s", i + 1, l->n_out, wrong);
		if (p->side == SIDE_OUTSIDE && lab_is_inside(p->src.address) && !l->setup.bypass)
			fail_msg("an inside source came out untranslated");
		if (p->ttl == 0)
			fail_msg("a packet without time to live came out");
	}
}

static void turn(struct lab *l)
{
	for (unsigned e = 0; e < l->engines; e++)
		engine_turn(l->engine[e], l->now);
}

static void give(struct lab *l, unsigned engine, const struct lab_frame *f)
{
	uint8_t given[LAB_FRAME_BYTES + TAG];

	assert_true(io_replay_give(l->engine[engine]->io, f->side, given, tag(f, given)));
}

unsigned lab_send_at(struct lab *l, unsigned engine, const struct lab_frame *f)
{
	l->n_out = 0;
	if (f != &l->sent)
		l->sent = *f;
	give(l, engine, f);
	l->now.ns += 1000;
	turn(l);
	look_at_output(l);
	return l->n_out;
}

unsigned lab_send_frame(struct lab *l, const struct lab_frame *f)
{
	return lab_send_at(l, lab_engine_of(l, f), f);
}

unsigned lab_send_burst(struct lab *l, const struct lab_frame *f, unsigned n)
{
	l->n_out = 0;
	for (unsigned i = 0; i < n; i++)
		give(l, lab_engine_of(l, &f[i]), &f[i]);
	l->now.ns += 1000;
	for (unsigned i = 0; i < n; i += BURST_MAX)
		turn(l);
	look_at_output(l);
	return l->n_out;
}

unsigned lab_send(struct lab *l, const struct lab_packet *p)
{
	lab_build(p, &l->sent);
	return lab_send_frame(l, &l->sent);
}

static void pass_evenly(struct lab *l, uint64_t all)
{
	mono_t from = l->now;

	for (unsigned i = 1; i <= TURNS; i++) {
		l->now = mono_after(from, span_ns(all / TURNS * i + all % TURNS * i / TURNS));
		turn(l);
	}
}

/* The last stretch in small steps: what has become due then has been swept at the end. */
unsigned lab_pass(struct lab *l, double seconds)
{
	double last = seconds < LAB_SWEEP_S ? seconds : LAB_SWEEP_S;

	l->n_out = 0;
	if (seconds > last)
		pass_evenly(l, (uint64_t)((seconds - last) * 1e9));
	pass_evenly(l, (uint64_t)(last * 1e9));
	look_at_output(l);
	return l->n_out;
}

uint64_t lab_verdicts(const struct lab *l, enum verdict v)
{
	uint64_t sum = 0;

	for (unsigned e = 0; e < l->engines; e++)
		sum += counter_get(&actor_of(l->arena, e)->verdicts[v]);
	return sum;
}

uint64_t lab_counted(const struct lab *l, enum counter c)
{
	uint64_t sum = 0;

	for (unsigned e = 0; e < l->engines; e++)
		sum += counter_get(&actor_of(l->arena, e)->counters[c]);
	return sum;
}

/* ---- expecting ---- */

/* Which verdicts the last packet got, for messages. */
static const char *why(struct lab *l, const uint64_t *before)
{
	static char text[256];

	text[0] = 0;
	for (int v = 0; v < N_VERDICTS; v++)
		if (lab_verdicts(l, v) != before[v])
			snprintf(text + strlen(text), sizeof text - strlen(text), " %s", verdict_info[v].name);
	return text;
}

static unsigned send_counted(struct lab *l, const struct lab_packet *p, uint64_t *before)
{
	for (int v = 0; v < N_VERDICTS; v++)
		before[v] = lab_verdicts(l, v);
	return lab_send(l, p);
}

struct lab_packet lab_ok_at(struct lab *l, const struct lab_packet *p, const char *file, int line)
{
	uint64_t before[N_VERDICTS];
	unsigned n = send_counted(l, p, before);

	if (n != 1 || l->seen[0].error != p->error)
		fail_msg("%s:%d: %u packets came out%s, not the one:%s", file, line, n,
			n && l->seen[0].error ? ", an ICMP error" : "", why(l, before));
	return l->seen[0];
}

void lab_none_at(struct lab *l, const struct lab_packet *p, const char *file, int line)
{
	uint64_t before[N_VERDICTS];
	unsigned n = send_counted(l, p, before);

	if (n)
		fail_msg("%s:%d: %u packets came out%s:%s", file, line, n, l->seen[0].error ? ", an ICMP error" : "",
			why(l, before));
}

struct lab_packet lab_refused_at(struct lab *l, const struct lab_packet *p, const char *file, int line)
{
	uint64_t before[N_VERDICTS];
	unsigned n = send_counted(l, p, before);

	if (n != 1 || !l->seen[0].error)
		fail_msg("%s:%d: %u packets came out, not one ICMP error:%s", file, line, n, why(l, before));
	const struct lab_packet *e = &l->seen[0];
	if (e->side != p->side || e->dst.address != p->src.address || e->vlan != p->vlan ||
		!lab_quotes(&l->out[0], &l->sent))
		fail_msg("%s:%d: the ICMP error is not for the sender, or about another packet", file, line);
	return *e;
}

struct lab_end lab_mapped(struct lab *l, unsigned host, uint16_t port)
{
	struct lab_packet p = lab_udp(lab_host(host, port), lab_server(1 + port % 5, 53));

	return lab_ok(l, &p).src;
}

struct lab_end lab_mapped_tcp(struct lab *l, unsigned host, uint16_t port)
{
	struct lab_packet p = lab_tcp(lab_host(host, port), lab_server(1 + port % 5, 80), LAB_SYN);

	return lab_ok(l, &p).src;
}

void lab_unmapped(struct lab *l, unsigned host, uint16_t port, enum verdict why)
{
	struct lab_packet p = lab_udp(lab_host(host, port), lab_server(1, 53));
	uint64_t before = lab_verdicts(l, why);
	struct lab_packet e = lab_refused(l, &p);

	assert_int_equal(lab_verdicts(l, why), before + 1);
	assert_int_equal(e.type, LAB_UNREACHABLE);
	assert_int_equal(e.code, LAB_CODE_HOST);
}

bool lab_reaches(struct lab *l, uint8_t protocol, struct lab_end from, struct lab_end to)
{
	struct lab_packet p = lab_udp(from, to);

	p.protocol = protocol;
	p.flags = LAB_SYN; /* the only segment that may open a connection from outside */
	p.type = LAB_ECHO_REPLY;
	lab_send(l, &p);
	for (unsigned i = 0; i < l->n_out; i++)
		if (l->seen[i].side == SIDE_INSIDE && !l->seen[i].error)
			return true;
	return false;
}

/* ---- the end of a test ---- */

static void say(void *context, const struct check_violation *v)
{
	(void)context;
	print_error(
		"%s: %s: %s; %s\n", check_rule_info[v->rule].name, v->object.text, v->fact[0].text, v->fact[1].text);
}

void lab_check(struct lab *l, struct check_counts *counts)
{
	int64_t violations = check_arena(l->arena, CHECK_EXACT, say, NULL, counts);

	if (violations)
		fail_msg("the checker finds %lld violations", (long long)violations);
}

void lab_drain(struct lab *l)
{
	struct check_counts left;

	lab_check(l, &left);
	for (unsigned i = 0; i < DRAIN_ROUNDS; i++)
		lab_pass(l, DRAIN_S);
	lab_check(l, &left);
	assert_int_equal(left.sessions, l->before.sessions);
	assert_int_equal(left.mappings, l->before.mappings);
	assert_int_equal(left.references, l->before.references);
	assert_int_equal(left.adoptions, 0);
	assert_int_equal(left.local_entries + left.global_entries + left.mapping_entries,
		l->before.local_entries + l->before.global_entries + l->before.mapping_entries);
	for (int set = 0; set < N_PORT_SETS; set++)
		assert_int_equal(left.ports[set], l->before.ports[set]);
	for (unsigned e = 0; e < l->engines; e++)
		assert_int_equal(l->engine[e]->n_held + l->engine[e]->fragments.n, 0);
}

/* ---- running ---- */

struct run {
	const struct lab_test *test;
	struct lab *lab;
	char name[128];
	enum lab_path path;
};

static void run_one(void **state)
{
	struct run *r = *state;

	if (r->test->not_yet && !getenv("NAT_LAB_ONLY"))
		skip();
	r->lab = lab_open(r->path, &r->test->setup);
	r->test->body(r->lab);
	lab_drain(r->lab);
}

static int close_test(void **state)
{
	struct run *r = *state;

	if (r->lab)
		lab_close(r->lab);
	r->lab = NULL;
	return 0;
}

int lab_main(const struct lab_test *tests, unsigned n)
{
	const char *only = getenv("NAT_LAB_ONLY");
	struct run *run = calloc((size_t)n * N_LAB_PATHS, sizeof *run);
	struct CMUnitTest *unit = calloc((size_t)n * N_LAB_PATHS, sizeof *unit);
	unsigned count = 0;

	if (!run || !unit)
		abort();
	for (unsigned i = 0; i < n * N_LAB_PATHS; i++) {
		const struct lab_test *t = &tests[i / N_LAB_PATHS];
		struct run *r = &run[count];

		if (only && !strstr(t->name, only))
			continue;
		*r = (struct run){.test = t, .path = i % N_LAB_PATHS};
		snprintf(r->name, sizeof r->name, "%s, %s", t->name, paths[r->path].name);
		unit[count++] = (struct CMUnitTest){
			.name = r->name, .test_func = run_one, .teardown_func = close_test, .initial_state = r};
	}
	int failed = _cmocka_run_group_tests("NAT laboratory", unit, count, NULL, NULL);
	free(unit);
	free(run);
	return failed;
}
