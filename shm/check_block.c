/* Port blocks: what subscribers list against what port tables are labelled with. */
#include "shm/check_internal.h"

#include "shm/blocks.h"

static struct check_text who_text(const struct check *c, uint32_t index)
{
	char ip[INET_ADDRSTRLEN];
	be32_t inside = PEEK(subscriber_at(c->a, index)->inside);

	inet_ntop(AF_INET, &inside, ip, sizeof ip);
	return check_textf("subscriber %u (%s, realm %u)", index, ip, PEEK(subscriber_at(c->a, index)->realm));
}

static struct check_text block_text(struct block b)
{
	return check_textf(
		"%u ports from %u on of port table %u, since second %u", b.ports, b.first, b.table, b.since_s);
}

static struct check_text granule_text(const struct port_use *use, unsigned granule)
{
	return check_textf("ports %s to %u",
		check_endpoint_text(use->address, be16_of((uint16_t)(granule * GRANULE_PORTS))).text,
		granule * GRANULE_PORTS + GRANULE_PORTS - 1);
}

static bool is_live(const struct check *c, uint32_t index)
{
	return check_known(c, SLAB_subscriber, index) && slab_live(subscriber_at(c->a, index));
}

/* Whatever moves in the list between two looks makes its violations different ones. */
static uint64_t tenant(const struct subscriber *s)
{
	uint64_t mix = PEEK(s->generation);

	for (unsigned i = 0; i < SUBSCRIBER_BLOCKS; i++)
		mix = mix * 31 + block_listed(s, i);
	return mix;
}

static bool is_plain(const struct port_use *use)
{
	return port_position(&use->order, 1) == 1 && use->order.slot_bits == 0;
}

static uint32_t label_of(const struct check *c, const struct port_use *use, unsigned granule)
{
	return block_owner(port_table_at(c->a, use->index), (uint16_t)(granule * GRANULE_PORTS));
}

/* ---- what is listed ---- */

static void note_granule(struct check *c, uint32_t index, struct port_use *use, struct block b, unsigned granule)
{
	uint64_t who = tenant(subscriber_at(c->a, index));
	uint32_t label = label_of(c, use, granule), *claimed = &use->claimed[granule];

	if (*claimed)
		check_violated(c, CHECK_block_overlap, who, who_text(c, index),
			check_textf("it lists %s", block_text(b).text),
			check_textf("%s are in another block, of subscriber %u", granule_text(use, granule).text,
				*claimed));
	else if (label != index)
		check_violated(c, CHECK_block_listed, who, who_text(c, index),
			check_textf("it lists %s", block_text(b).text),
			check_textf("%s are labelled with subscriber %u", granule_text(use, granule).text, label));
	*claimed = index;
}

static void check_listed(struct check *c, uint32_t index, uint64_t word)
{
	struct block b = block_of_word(word);
	struct port_use *use = check_port_table(c, b.table);

	c->counts->blocks++;
	if (!use || !is_plain(use) || b.ports > BLOCK_PORTS_MAX || b.first % b.ports != 0) {
		check_violated(c, CHECK_block_listed, tenant(subscriber_at(c->a, index)), who_text(c, index),
			check_textf("it lists %s", block_text(b).text),
			use ? check_textf("that is no block of a table in plain order")
			    : check_textf("there is no such table"));
		return;
	}
	if (!use->claimed)
		use->claimed = check_alloc(c, N_GRANULES, sizeof *use->claimed);
	for (unsigned g = b.first / GRANULE_PORTS; use->claimed && g <= block_last(b) / GRANULE_PORTS; g++)
		note_granule(c, index, use, b, g);
}

void check_block_list(struct check *c, uint32_t index)
{
	const struct subscriber *s = subscriber_at(c->a, index);

	for (unsigned i = 0; i < SUBSCRIBER_BLOCKS; i++) {
		uint64_t word = block_listed(s, i);

		if (word)
			check_listed(c, index, word);
	}
}

/* ---- what is labelled ---- */

/* While its subscriber is locked a block may be half made. */
static bool may_be_in_the_making(const struct check *c, uint32_t label)
{
	return is_live(c, label) && atomic_load_explicit(&subscriber_at(c->a, label)->lock, memory_order_relaxed) != 0;
}

static unsigned granule_of_chunk(unsigned chunk)
{
	return (chunk < ORDER_CHUNKS ? chunk : chunk - ORDER_CHUNKS) * CHUNK_PORTS / GRANULE_PORTS;
}

/* In plain order the low ports' places among the others are empty. */
static void check_chunks(struct check *c, const struct port_use *use)
{
	const struct port_table *t = port_table_at(c->a, use->index);

	for (unsigned i = 0; i < N_PORT_SETS * N_CHUNKS; i++) {
		unsigned chunk = i % N_CHUNKS, granule = granule_of_chunk(chunk);
		bool held = chunk_holder(chunk_read(t, i / N_CHUNKS, chunk)) == CHUNK_BLOCK;
		bool empty = chunk < LOW_PORTS / CHUNK_PORTS;
		uint32_t label = label_of(c, use, granule);

		if (held == (label != 0 && !empty) || may_be_in_the_making(c, label))
			continue;
		check_violated(c, CHECK_block_chunk, t->generation,
			check_textf("chunk %u (set %u) of port table %u", chunk, i / N_CHUNKS, use->index),
			check_textf("%s", held ? "a block holds it" : "no block holds it"),
			check_textf("%s are labelled with subscriber %u", granule_text(use, granule).text, label));
	}
}

static void check_granule(struct check *c, const struct port_use *use, unsigned granule)
{
	const struct port_table *t = port_table_at(c->a, use->index);
	uint32_t label = label_of(c, use, granule), claimed = use->claimed ? use->claimed[granule] : 0;
	bool hint = atomic_load_explicit(&t->block[granule / 64], memory_order_relaxed) >> granule % 64 & 1;

	if (may_be_in_the_making(c, label))
		return;
	c->counts->granules += label != 0;
	if (hint != (label != 0))
		check_violated(c, CHECK_block_hint, t->generation, granule_text(use, granule),
			check_textf("the hint says that they are %s", hint ? "labelled" : "free"),
			check_textf("they are labelled with subscriber %u", label));
	if (!label || label == claimed)
		return;
	check_violated(c, CHECK_block_labelled,
		t->generation + (is_live(c, label) ? tenant(subscriber_at(c->a, label)) : 0),
		granule_text(use, granule), check_textf("they are labelled with subscriber %u", label),
		is_live(c, label) ? check_textf("that lists no block there") : check_textf("no live one is there"));
}

void check_blocks(struct check *c)
{
	for (uint32_t i = 0; i < c->n_ports; i++) {
		for (unsigned g = 0; g < N_GRANULES; g++)
			check_granule(c, &c->port[i], g);
		check_chunks(c, &c->port[i]);
	}
}

/* ---- who carries what ---- */

void check_block_port(struct check *c, uint32_t index, const struct session *s, const struct port_use *use)
{
	uint32_t label = block_owner(port_table_at(c->a, use->index), be16_host(s->nat_port));

	if (!label || !is_live(c, label))
		return; /* check_blocks says so */
	const struct subscriber *of = subscriber_at(c->a, label);
	if (PEEK(of->inside).net != s->inside.net || PEEK(of->realm) != s->realm)
		check_violated(c, CHECK_block_port, s->generation, check_session_text(c, index, s),
			check_textf("it carries %s", check_endpoint_text(s->nat, s->nat_port).text),
			check_textf("that is in a block of %s", who_text(c, label).text));
}
