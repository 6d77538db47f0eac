/* The checker's rules of subscribers: for each one a corruption, found by that rule and no other, with the object named. */
#include "shm/quota.h"
#include "shm/shared_slab.h"
#include "tests/unit/check_box.h"

/* Subscribers 1 to 3; 1 and 2 use engine 0, 3 engine 1. */
struct scene {
	struct box *b;
	char names[64]; /* what the object of the violation must begin with */
};

static struct scene scene_make(void)
{
	struct scene s = {.b = box_open(1024, PORTS)};

	for (unsigned inside = 1; inside <= 3; inside++)
		assert_int_equal(box_out(s.b, inside == 3, tuple_of(L4_UDP, inside, 5000, 1, 53)), VERDICT_fwd_out_new);
	expect_clean(s.b, NULL);
	return s;
}

/* The place of an object in a global table. */
static _Atomic uint64_t *global_place(const struct global_table *t, uint32_t index)
{
	for (uint32_t b = 0; b < t->n; b++)
		for (unsigned i = 0; i < GLOBAL_ENTRIES; i++)
			if ((uint32_t)t->bucket[b].entry[i] == index)
				return &t->bucket[b].entry[i];
	fail_msg("%u is not there", index);
	return NULL;
}

static _Atomic uint64_t *global_room(const struct global_table *t)
{
	for (uint32_t b = 0;; b++)
		for (unsigned i = 0; i < GLOBAL_ENTRIES; i++)
			if (!t->bucket[b].entry[i])
				return &t->bucket[b].entry[i];
}

/* An engine's part of subscriber `inside`. */
static struct subscriber_part *part_of(const struct scene *s, unsigned engine, uint32_t inside)
{
	struct subscriber_key key = {be32_of(SUBSCRIBERS + inside), 0};
	struct subscriber_part *p =
		part_find(s->b->arena, &s->b->nat[engine].subscribers.parts, key, subscriber_hash(s->b->arena, key));

	assert_non_null(p);
	return p;
}

static struct subscriber *subscriber_of(const struct scene *s, unsigned engine, uint32_t inside)
{
	return subscriber_at(s->b->arena, part_of(s, engine, inside)->subscriber);
}

static void name_part(struct scene *s, unsigned engine, uint32_t inside)
{
	snprintf(s->names, sizeof s->names, "part %u (100.64.0.%u", part_index(s->b->arena, part_of(s, engine, inside)),
		inside);
}

static void name_subscriber(struct scene *s, unsigned engine, uint32_t inside)
{
	snprintf(s->names, sizeof s->names, "subscriber %u (100.64.0.%u", part_of(s, engine, inside)->subscriber,
		inside);
}

/* ---- corruptions: one rule each ---- */

/* Ended in spite of its session. */
static void break_session_part(struct scene *s)
{
	assert_true(part_end(&s->b->nat[1].subscribers, part_of(s, 1, 3)));
	snprintf(s->names, sizeof s->names, "session ");
}

static void break_part_listed(struct scene *s)
{
	part_of(s, 0, 1)->engine = 1;
	name_part(s, 0, 1);
}

static void break_part_entry(struct scene *s)
{
	const struct local_table *t = &s->b->nat[1].subscribers.parts;

	for (unsigned i = 0; i < LOCAL_ENTRIES; i++)
		if (!t->bucket[3].entry[i])
			t->bucket[3].entry[i] = local_entry(part_index(s->b->arena, part_of(s, 0, 1)), 0, 7, 0);
	snprintf(s->names, sizeof s->names, "bucket 3 of engine 1's table of parts");
}

/* Two parts that name each other's subscriber. */
static void break_part_subscriber(struct scene *s)
{
	struct subscriber_part *p = part_of(s, 0, 1), *o = part_of(s, 0, 2);
	uint32_t was = p->subscriber;

	p->subscriber = o->subscriber;
	o->subscriber = was;
	name_part(s, 0, 1);
}

static void break_part_used(struct scene *s)
{
	part_of(s, 0, 1)->amount[QUOTA_tcp_ports].used++;
	part_of(s, 0, 1)->amount[QUOTA_tcp_ports].have++;
	subscriber_of(s, 0, 1)->out[QUOTA_tcp_ports]++;
	name_part(s, 0, 1);
}

static void break_part_unanswered(struct scene *s)
{
	part_of(s, 0, 1)->unanswered++;
	name_part(s, 0, 1);
}

static void break_part_within(struct scene *s)
{
	struct part_amount *a = &part_of(s, 0, 1)->amount[QUOTA_sessions];

	subscriber_of(s, 0, 1)->out[QUOTA_sessions] -= a->have - a->used + 1;
	a->have = a->used - 1;
	name_part(s, 0, 1);
}

static void break_subscriber_listed(struct scene *s)
{
	*global_place(&s->b->nat[0].subscribers.table, part_of(s, 0, 1)->subscriber) = 0;
	name_subscriber(s, 0, 1);
}

static void break_subscriber_entry(struct scene *s)
{
	*global_room(&s->b->nat[0].subscribers.table) = 1ull << 32 | 1;
	snprintf(s->names, sizeof s->names, "bucket 0 of the subscriber table");
}

static void same_subscriber(void *object, void *context)
{
	struct subscriber *x = object;

	memset(&x->inside, 0, sizeof *x - offsetof(struct subscriber, inside));
	x->inside = *(be32_t *)context;
}

static void break_subscriber_unique(struct scene *s)
{
	struct global_table *t = &s->b->nat[0].subscribers.table;
	struct subscriber_key key = {be32_of(SUBSCRIBERS + 1), 0};
	uint32_t i = shared_make(s->b->arena, ACTOR_MGMTD, SLAB_subscriber, same_subscriber, &key.inside);
	struct global_pair pair;

	assert_true(i && global_lock(t, subscriber_hash(s->b->arena, key), &pair));
	assert_true(global_insert(t, &pair, i));
	global_unlock(t, &pair);
	snprintf(s->names, sizeof s->names, "subscriber ");
}

static void break_subscriber_parts(struct scene *s)
{
	subscriber_of(s, 0, 1)->parts |= 1ull << 5;
	name_subscriber(s, 0, 1);
}

static void break_quota_sum(struct scene *s)
{
	subscriber_of(s, 0, 2)->out[QUOTA_udp_ports]++;
	name_subscriber(s, 0, 2);
}

static void clear_record(void *object, void *context)
{
	struct subscriber_record *r = object;

	memset(&r->link, 0, sizeof *r - offsetof(struct subscriber_record, link));
}

static void break_record_owner(struct scene *s)
{
	assert_true(shared_make(s->b->arena, ACTOR_MGMTD, SLAB_record, clear_record, NULL));
	snprintf(s->names, sizeof s->names, "records of subscribers");
}

static void break_lock_held_subscriber(struct scene *s)
{
	subscriber_of(s, 0, 1)->lock = 2;
	name_subscriber(s, 0, 1);
}

static void break_intent_open_subscriber(struct scene *s)
{
	s->b->nat[1].actor->intent.subscriber = 1ull << 48 | 5;
	snprintf(s->names, sizeof s->names, "engine 1");
}

/* ---- each corruption is found, by its rule alone ---- */

#define BREAK(r) .name = #r, .rule = CHECK_##r, .corrupt = break_##r
#define BREAK_TOO(r, how) .name = #r " " #how, .rule = CHECK_##r, .corrupt = break_##r##_##how

static const struct corruption {
	const char *name;
	enum check_rule rule;
	void (*corrupt)(struct scene *s);
} corruptions[] = {
	{BREAK(session_part)},
	{BREAK(part_listed)},
	{BREAK(part_entry)},
	{BREAK(part_subscriber)},
	{BREAK(part_used)},
	{BREAK(part_unanswered)},
	{BREAK(part_within)},
	{BREAK(subscriber_listed)},
	{BREAK(subscriber_entry)},
	{BREAK(subscriber_unique)},
	{BREAK(subscriber_parts)},
	{BREAK(quota_sum)},
	{BREAK(record_owner)},
	{BREAK_TOO(lock_held, subscriber)},
	{BREAK_TOO(intent_open, subscriber)},
};

static bool is_named(const struct said *s, const char *name)
{
	for (unsigned i = 0; i < s->n && i < SAID_MAX; i++)
		if (strncmp(s->object[i], name, strlen(name)) == 0)
			return true;
	return false;
}

static void test_each_rule(void **state)
{
	bool tried[N_CHECK_RULES] = {false};

	(void)state;
	for (unsigned i = 0; i < sizeof corruptions / sizeof corruptions[0]; i++) {
		const struct corruption *how = &corruptions[i];
		struct scene s = scene_make();

		how->corrupt(&s);
		struct said said = box_ask(s.b, CHECK_EXACT, NULL);

		if (!said.of[how->rule] || said.n != said.of[how->rule] || !is_named(&said, s.names))
			fail_msg("%s: %u found, %u in all, the last: %s; wanted \"%s\"", how->name, said.of[how->rule],
				said.n, said.last, s.names);
		print_message("%s\n", said.last);
		box_close(s.b);
		tried[how->rule] = true;
	}
	for (int r = CHECK_session_part; r <= CHECK_record_owner; r++)
		if (!tried[r])
			fail_msg("no corruption for %s", check_rule_info[r].name);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_each_rule)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
