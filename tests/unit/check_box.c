#include "tests/unit/check_box.h"

#include "pe/miniature.h"

enum { SEED = 7, IDLE_S = 60 };

/* ---- the box ---- */

struct box *box_open(uint32_t sessions, uint16_t ports)
{
	const struct appliance look = {
		.engines = ENGINES, .sessions = sessions, .addresses = ADDRESSES, .ports = ports, .idle_s = IDLE_S};
	struct box *b = calloc(1, sizeof *b);

	assert_non_null(b);
	appliance_config(&look, &b->config);
	b->config.nat.udp_timeout_s = IDLE_S;
	b->arena = miniature_open(&b->config, SEED);
	assert_non_null(b->arena);
	assert_int_equal(steering_init(&b->outside, &b->config.net.side[SIDE_OUTSIDE].rss, ENGINES), 0);
	b->now = (mono_t){1000000000000u};
	for (unsigned e = 0; e < ENGINES; e++) {
		nat_init(&b->nat[e], b->arena, e, e + 1, b->now);
		nat_configure(&b->nat[e]);
		nat_load_routes(&b->nat[e]);
	}
	return b;
}

void box_close(struct box *b)
{
	arena_close(b->arena);
	free(b);
}

enum verdict box_give(struct box *b, unsigned engine, enum side side, const struct tuple *t, uint8_t flags)
{
	struct frame f;

	frame_make(&f, t, side, flags);
	nat_burst(&b->nat[engine], &f.packet, 1, b->now);
	if (f.packet.forward && side == SIDE_INSIDE)
		b->reply = frame_reply(&f);
	return f.packet.verdict;
}

enum verdict box_out(struct box *b, unsigned engine, struct tuple t)
{
	return box_give(b, engine, SIDE_INSIDE, &t, TCP_FLAG_SYN);
}

enum verdict box_in(struct box *b)
{
	return box_give(b, tuple_engine(&b->outside, &b->reply), SIDE_OUTSIDE, &b->reply, TCP_FLAG_SYN | TCP_FLAG_ACK);
}

void box_pass(struct box *b, uint32_t seconds)
{
	b->now = mono_after(b->now, span_s(seconds));
	for (unsigned turn = 0; turn < 64; turn++) {
		b->now = mono_after(b->now, span_ms(100));
		for (unsigned e = 0; e < ENGINES; e++)
			nat_housekeep(&b->nat[e], b->now);
	}
}

/* ---- what the checker says ---- */

static void note(void *context, const struct check_violation *v)
{
	struct said *s = context;

	assert_true(v->rule < N_CHECK_RULES);
	assert_true(v->object.text[0] && v->fact[0].text[0] && v->fact[1].text[0]);
	if (s->n < SAID_MAX)
		snprintf(s->object[s->n], CHECK_TEXT, "%s", v->object.text);
	s->n++;
	s->of[v->rule]++;
	snprintf(s->last, sizeof s->last, "%s: %s: %s; but %s", check_rule_info[v->rule].name, v->object.text,
		v->fact[0].text, v->fact[1].text);
}

struct said box_ask(const struct box *b, enum check_mode mode, struct check_counts *counts)
{
	struct said s = {.n = 0};
	int64_t n = check_arena(b->arena, mode, note, &s, counts);

	assert_int_equal(n, s.n);
	return s;
}

void box_clean_at(const struct box *b, struct check_counts *counts, const char *file, int line)
{
	struct said s = box_ask(b, CHECK_EXACT, counts);

	if (s.n)
		fail_msg("%s:%d: %u violations, the last: %s", file, line, s.n, s.last);
}
