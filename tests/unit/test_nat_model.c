/* The NAT core against a naive model of NAT, packet by packet: random sequences of all protocols in all directions, with
 * one, two and four engines, for every mapping and filtering behaviour, in bursts of several sizes. A burst's packets are
 * told to the model in their order, which the engines need not keep: what would depend on it does not come together.
 * To narrow a failure: MODEL_SEED=n runs that seed only, MODEL_BURST=n bursts of that size, MODEL_STEPS=n as many steps,
 * MODEL_SKIP=names leaves out kinds of steps, or fragments, MODEL_TRACE=1 prints each packet. */
#include "tests/unit/nat_lab.h"
#include "tests/unit/nat_model.h"

#include <stdlib.h>
#include <string.h>

enum {
	ICMP = 1,
	TCP = 6,
	UDP = 17,
	HOSTS = 5,
	HOST_PORTS = 3,
	SERVERS = 3,
	SERVER_PORTS = 2,
	RECENT = 32, /* packets that came out, to be answered and complained about */
	STEPS = 2500,
	STEP_PACKETS = 8, /* a burst counts as a step more for so many */
#ifdef __SANITIZE_ADDRESS__
	SEEDS = 1, /* each step takes three times as long */
#else
	SEEDS = 2,
#endif
	PARTS_MAX = 6,
	CUT_MAX = 6, /* of a burst: fewer than may wait */
	FRAMES_MAX = BURST_MAX + CUT_MAX * PARTS_MAX,
	ROUTER = 0x08080808,
};

/* Time passes in multiples of QUIET_S; no idle time is near one, so that an engine's sweep, which has a few seconds, never
 * makes a difference. */
enum { QUIET_S = 50, UDP_S = 325, ICMP_S = 75, OPENING_S = 225, ESTABLISHED_S = 1425 };

#define NAT_OPTIONS                                                                                                    \
	"\"udp_timeout_s\":325,\"icmp_timeout_s\":75,\"tcp_opening_timeout_s\":225,\"tcp_closing_timeout_s\":225,"     \
	"\"tcp_established_timeout_s\":1425,\"syn_hold_s\":0,\"refusal\":\"off\",\"icmp_rate\":100000,"                \
	"\"unanswered_timeout_s\":86400,\"unanswered\":65535,"                                                         \
	"\"mapping\":\"%s\",\"filtering\":\"%s\",\"ports\":\"%s\""
/* More than unanswered sessions may take an eighth of. */
#define ROOMY .sessions = 8192
#define POOL_OF_BLOCKS                                                                                                 \
	"[{\"name\":\"main\",\"addresses\":[\"198.51.100.0/"                                                           \
	"30\"],\"block_size\":1024,\"blocks_max\":8,\"block_hold_s\":0}]"

static const char *const scope_name[N_MODEL_SCOPES] = {
	"endpoint-independent", "address-dependent", "address-and-port-dependent"};
/* Ways of choosing ports, and how many ports in a row are one host's. */
static const struct {
	const char *name;
	uint32_t block;
} ways[] = {{"shuffled", 0}, {"ordered", 0}, {"blocks", 1024}};
static const uint8_t protocols[] = {UDP, TCP, ICMP};

/* A packet of a burst, and what the model said of it. Its payload is as long as nobody else's in the burst: by that it is
 * known when it comes out. */
struct shot {
	struct lab_packet said;
	struct model_word word;
	bool first; /* its flow had no session yet */
	bool out;   /* it came out, and how */
	struct lab_packet seen;
};

struct duel {
	struct lab *lab;
	struct model *model;
	struct rnd rnd;
	uint64_t seed;
	unsigned step;
	unsigned burst; /* how many packets may come together */
	unsigned n_shots, n_frames, n_cut, n_parts;
	bool first;  /* of the packet in hand */
	bool closed; /* nothing more may come together with what the burst has */
	struct shot shot[BURST_MAX];
	struct lab_frame *frame; /* [FRAMES_MAX] the burst, as it is given */
	struct lab_frame *came;  /* [BURST_MAX] of each shot */
	struct lab_frame *part;  /* [BURST_MAX] fragments that came out, to be put together */
	struct lab_packet part_said[BURST_MAX];
	uint16_t id; /* of the next packet */
	unsigned n_recent;
	struct lab_frame *recent; /* [RECENT] */
	struct lab_packet said[RECENT];
	struct lab_packet last;                                         /* the packet in hand */
	unsigned passed, dropped, hairpinned, complained, cut, crossed; /* what the run has seen */
	unsigned followed;                                              /* packets beside the first of their flow */
};

/* ---- speaking of what went wrong ---- */

static const char *text_of(const struct lab_packet *p)
{
	static char text[4][128];
	static unsigned turn;
	char *t = text[turn++ % 4];

	snprintf(t, sizeof text[0], "%s protocol %u %08x:%u -> %08x:%u%s",
		p->side == SIDE_INSIDE ? "inside" : "outside", p->protocol, p->src.address, p->src.port, p->dst.address,
		p->dst.port, p->error ? " (error)" : "");
	return t;
}

/* The sessions that have to do with the packet's ends. */
static void print_sessions(const struct duel *d)
{
	const struct model *m = d->model;

	for (unsigned i = 0; i < MODEL_MAX; i++) {
		const struct model_session *s = &m->sessions[i];
		const struct model_mapping *map = &m->maps[s->mapping];

		if (!s->used || s->protocol != d->last.protocol ||
			!(lab_same(s->inside, d->last.src) || lab_same(map->nat, d->last.dst)))
			continue;
		print_error("  %08x:%u (%08x:%u) <-> %08x:%u, out %.0f%s, in %.0f%s\n", s->inside.address,
			s->inside.port, map->nat.address, map->nat.port, s->remote.address, s->remote.port, s->last_out,
			s->heard_out ? " heard" : "", s->last_in, s->heard_in ? " heard" : "");
	}
}

static void disagree(const struct duel *d, const struct model_word *w, const char *what)
{
	const struct lab *l = d->lab;

	print_sessions(d);
	fail_msg("seed %llu burst %u step %u, %u engines, mapping %s, filtering %s, t %.0f: %s; sent %s; the model "
		 "says %s to "
		 "%08x:%u on side %d; %u came "
		 "out%s%s",
		(unsigned long long)d->seed, d->burst, d->step, l->engines, scope_name[d->model->mapping],
		scope_name[d->model->filtering], d->model->now, what, text_of(&d->last),
		w->fate == MODEL_DROP   ? "nothing"
		: w->fate == MODEL_PASS ? "it passes"
					: "either",
		w->dst.address, w->dst.port, w->side, l->n_out, l->n_out ? ", the first " : "",
		l->n_out ? text_of(&l->seen[0]) : "");
}

/* ---- sending ---- */

static bool left_out(const char *what)
{
	const char *list = getenv("MODEL_SKIP");

	return list && strstr(list, what);
}

/* ---- a burst ---- */

/* The packet's flow begins in this burst. Where fragments go to another engine they may come before the SYN; and what a
 * fragment begins there is begun once more by the first whole packet, and then idles out by the later of both. */
static bool begins_here(const struct duel *d)
{
	for (unsigned i = 0; i < d->n_shots; i++) {
		const struct lab_packet *p = &d->shot[i].said;

		if (d->shot[i].first && p->protocol == d->last.protocol && lab_same(p->src, d->last.src) &&
			lab_same(p->dst, d->last.dst))
			return true;
	}
	return d->first;
}

/* What is turned round is not, in fragments. */
static bool may_be_cut(const struct duel *d)
{
	bool turned = d->last.side == SIDE_INSIDE && model_in_pool(d->model, d->last.dst.address);

	return !turned && !(d->last.flags & LAB_SYN) && !(d->lab->engines > 1 && begins_here(d)) &&
	       d->n_cut < CUT_MAX && !left_out("fragments");
}

/* Puts the packet in hand among the burst's frames, sometimes in fragments, sometimes in disorder. */
static void load(struct duel *d)
{
	struct lab_frame *part = d->frame + d->n_frames, whole;
	unsigned parts = 1;

	lab_build(&d->last, &whole);
	part[0] = whole;
	if (may_be_cut(d) && rnd_one_in(&d->rnd, 8))
		parts = lab_cut(
			&whole, 24 + 8 * rnd_below(&d->rnd, 3), part, PARTS_MAX); /* a whole header first: RFC 1858 */
	for (unsigned i = parts; i > 1 && rnd_one_in(&d->rnd, 2); i--) {
		unsigned k = rnd_below(&d->rnd, i);
		struct lab_frame swap = part[k];

		part[k] = part[i - 1];
		part[i - 1] = swap;
	}
	d->n_frames += parts;
	d->n_cut += parts > 1;
	d->cut += parts > 1;
}

/* The packet in hand is to be given with the burst. What the model leaves open is known only when it has come out, or not:
 * nothing comes after it. */
static void deliver(struct duel *d, const struct model_word *w)
{
	struct shot *s = &d->shot[d->n_shots];

	s->out = false;
	s->first = d->first;
	s->said = d->last;
	s->word = *w;
	load(d);
	d->n_shots++;
	d->closed |= w->fate == MODEL_EITHER;
}

/* ---- what came of it ---- */

static const struct model_word unknown = {.fate = MODEL_DROP, .session = -1, .admits = -1};

static void recognize(struct duel *d, const struct lab_frame *f)
{
	struct lab_packet seen;
	const char *wrong = lab_read(f, &seen);
	unsigned number = seen.payload % d->burst;
	struct shot *s = &d->shot[number];

	d->last = s->said;
	if (!wrong && (seen.error || number >= d->n_shots || seen.protocol != s->said.protocol || s->out))
		wrong = "what came out is nothing that was sent, or came twice";
	if (wrong)
		disagree(d, &unknown, wrong);
	s->out = true;
	s->seen = seen;
	d->came[number] = *f;
}

static bool is_part_of(const struct lab_packet *p, const struct lab_packet *first)
{
	return p->fragment & (LAB_MF | LAB_OFFSET) && p->side == first->side && p->protocol == first->protocol &&
	       p->id == first->id && p->src.address == first->src.address && p->dst.address == first->dst.address;
}

/* What came out now: a fragment waits for the others. */
static void gather(struct duel *d)
{
	for (unsigned i = 0; i < d->lab->n_out; i++) {
		const struct lab_packet *p = &d->lab->seen[i];

		if (!(p->fragment & (LAB_MF | LAB_OFFSET))) {
			recognize(d, &d->lab->out[i]);
			continue;
		}
		if (d->n_parts == BURST_MAX)
			disagree(d, &unknown, "more fragments than were sent");
		d->part[d->n_parts] = d->lab->out[i];
		d->part_said[d->n_parts++] = *p;
	}
}

/* Puts together what is of one datagram with the first of the fragments, which leave the heap. */
static void join_first(struct duel *d)
{
	struct lab_frame part[PARTS_MAX], whole;
	const struct lab_packet first = d->part_said[0];
	unsigned parts = 0, left = 0;

	for (unsigned i = 0; i < d->n_parts; i++) {
		if (is_part_of(&d->part_said[i], &first) && parts < PARTS_MAX) {
			part[parts++] = d->part[i];
			continue;
		}
		d->part[left] = d->part[i];
		d->part_said[left++] = d->part_said[i];
	}
	d->n_parts = left;
	if (!lab_join(part, parts, &whole))
		disagree(d, &unknown, "fragments that do not fit together");
	recognize(d, &whole);
}

static void remember(struct duel *d, const struct lab_frame *f, const struct lab_packet *p)
{
	unsigned at = d->n_recent++ % RECENT;

	d->recent[at] = *f;
	d->said[at] = *p;
}

static void compare(struct duel *d, const struct model_word *w, bool out, const struct lab_packet *seen)
{
	if (w->fate != MODEL_EITHER && out != (w->fate == MODEL_PASS))
		disagree(d, w, out ? "passed" : "dropped");
	d->dropped += !out;
	if (!out)
		return;
	d->passed++;
	if (seen->side != w->side)
		disagree(d, w, "the wrong side");
	if (!lab_same(seen->dst, w->dst))
		disagree(d, w, "the wrong destination");
	if (w->src_known && !lab_same(seen->src, w->src))
		disagree(d, w, "the wrong source");
	if (seen->ttl != d->last.ttl - 1)
		disagree(d, w, "the wrong time to live");
	if (seen->payload != d->last.payload || seen->flags != d->last.flags)
		disagree(d, w, "other contents");
	if (d->last.protocol == TCP && (seen->seq != d->last.seq || seen->ack != d->last.ack))
		disagree(d, w, "other numbers");
}

/* A new mapping may get the very endpoint that its first packet is for, if nobody has that: then it comes back. */
static bool met_itself(const struct shot *s)
{
	const struct model_word *w = &s->word;

	return s->out && w->fate == MODEL_DROP && w->session >= 0 && !w->src_known && s->seen.side == w->side &&
	       lab_same(s->seen.src, s->said.dst) && lab_same(s->seen.dst, s->said.src);
}

static void judge(struct duel *d, struct shot *s)
{
	struct model_word *w = &s->word;

	d->last = s->said;
	if (met_itself(s)) {
		w->fate = MODEL_PASS;
		w->dst = s->said.src;
	}
	if (getenv("MODEL_TRACE"))
		print_message("%u t %.0f: %s%s%s\n", d->step, d->model->now, text_of(&s->said),
			s->out ? " => " : " dropped", s->out ? text_of(&s->seen) : "");
	compare(d, w, s->out, &s->seen);
	if (!s->out)
		return;
	if (w->fate == MODEL_EITHER && w->admits >= 0)
		model_admit(d->model, w, d->last.protocol);
	if (w->session >= 0) {
		model_learn(d->model, w, s->seen.src);
		if (!lab_same(s->seen.src, d->model->maps[d->model->sessions[w->session].mapping].nat))
			disagree(d, w, "another source than the mapping's");
	}
	remember(d, &d->came[s - d->shot], &s->seen);
}

/* Gives the burst, and lets the model hear what came of it. */
static void fire(struct duel *d)
{
	d->n_parts = 0;
	if (d->n_shots)
		lab_send_burst(d->lab, d->frame, d->n_frames);
	if (d->n_shots)
		gather(d);
	for (unsigned wait = 0; d->n_cut && wait < 2; wait++) { /* what another engine keeps until it learns */
		lab_pass(d->lab, 0.05);
		gather(d);
	}
	while (d->n_parts)
		join_first(d);
	for (unsigned i = 0; i < d->n_shots; i++)
		judge(d, &d->shot[i]);
	d->n_shots = d->n_frames = d->n_cut = 0;
	d->closed = false;
}

/* ---- steps ---- */

static struct lab_end any_host(struct duel *d)
{
	return lab_host(1 + rnd_below(&d->rnd, HOSTS), (uint16_t)(5000 + rnd_below(&d->rnd, HOST_PORTS)));
}

static struct lab_end any_server(struct duel *d, uint8_t protocol)
{
	uint16_t port = (uint16_t)(80 + rnd_below(&d->rnd, SERVER_PORTS));

	return lab_server(1 + rnd_below(&d->rnd, SERVERS), protocol == ICMP ? 0 : port);
}

/* One of those that the burst has already, to be followed by another of its flow; NULL: a packet of its own. */
static const struct lab_packet *leader(struct duel *d)
{
	if (!d->n_shots || rnd_one_in(&d->rnd, 2))
		return NULL;
	d->followed++;
	return &d->shot[rnd_below(&d->rnd, d->n_shots)].said;
}

/* A packet of `protocol`; TCP numbers as two ends that agree would have them. */
static void say(struct duel *d, uint8_t protocol, struct lab_end src, struct lab_end dst, enum dir dir, bool first)
{
	struct lab_packet p = protocol == ICMP ? lab_ping(src, dst.address) : lab_udp(src, dst);

	p.protocol = protocol;
	p.dst.port = dst.port;
	p.type = dir == DIR_OUTBOUND ? LAB_ECHO : LAB_ECHO_REPLY;
	p.flags = protocol != TCP ? 0 : first ? LAB_SYN : LAB_ACK;
	p.seq = dir == DIR_OUTBOUND ? 1000 : 2000;
	p.ack = first ? 0 : dir == DIR_OUTBOUND ? 2000 : 1000;
	p.id = ++d->id;
	d->first = first;
	p.payload = (uint16_t)(d->n_shots + d->burst * rnd_below(&d->rnd, BURST_MAX / d->burst));
	p.ttl = (uint8_t)(2 + rnd_below(&d->rnd, 250));
	d->last = p;
}

/* A NAT end that was seen lately, alive or not; false when there was none yet. */
static bool recent_nat(struct duel *d, uint8_t protocol, struct lab_end *nat)
{
	for (unsigned tries = 0; tries < 16 && d->n_recent; tries++) {
		unsigned n = d->n_recent < RECENT ? d->n_recent : RECENT;
		const struct lab_packet *p = &d->said[rnd_below(&d->rnd, n)];

		if (p->protocol != protocol || p->error || !model_in_pool(d->model, p->src.address))
			continue;
		*nat = p->src;
		return true;
	}
	return false;
}

/* What a packet that is turned round meets depends on whether the other has spoken already: both do not come together. */
static bool comes_between(const struct duel *d, uint8_t protocol, struct lab_end host, struct lab_end remote)
{
	bool turned = model_in_pool(d->model, remote.address);

	for (unsigned i = 0; i < d->n_shots; i++) {
		const struct lab_packet *p = &d->shot[i].said;
		bool was_turned = model_in_pool(d->model, p->dst.address);

		if (p->protocol != protocol || (lab_same(p->src, host) && lab_same(p->dst, remote)))
			continue;
		if ((turned && was_turned) || (turned && model_is_of(d->model, protocol, remote, p->src)) ||
			(was_turned && model_is_of(d->model, protocol, p->dst, host)))
			return true;
	}
	return false;
}

static void hairpin(struct duel *d, uint8_t protocol, struct lab_end host, struct lab_end nat)
{
	const struct model_session *own = model_find_outbound(d->model, protocol, host, nat);
	struct lab_end shown;
	bool shows = model_shows(d->model, protocol, host, nat, &shown);

	if ((shows && model_conflicts(d->model, protocol, shown, nat)) || (!shows && d->n_shots))
		return;
	/* A connection whose SYN was refused is begun again. */
	bool first = !own || !shows || !model_find_inbound(d->model, protocol, shown, nat);
	say(d, protocol, host, nat, DIR_OUTBOUND, first);
	struct model_word w = model_outbound(d->model, protocol, host, nat);
	d->hairpinned += w.fate == MODEL_PASS;
	deliver(d, &w);
	d->closed |= !shows;
}

static void outbound(struct duel *d, uint8_t protocol, struct lab_end host, struct lab_end remote)
{
	if (comes_between(d, protocol, host, remote))
		return;
	if (model_in_pool(d->model, remote.address)) {
		hairpin(d, protocol, host, remote);
		return;
	}
	say(d, protocol, host, remote, DIR_OUTBOUND, !model_find_outbound(d->model, protocol, host, remote));
	struct model_word w = model_outbound(d->model, protocol, host, remote);
	deliver(d, &w);
}

static void step_hairpin(struct duel *d)
{
	uint8_t protocol = rnd_one_in(&d->rnd, 2) ? UDP : TCP;
	struct lab_end host = any_host(d), nat;

	if (recent_nat(d, protocol, &nat) && !model_is_of(d->model, protocol, nat, host))
		outbound(d, protocol, host, nat);
}

static void step_outbound(struct duel *d)
{
	const struct lab_packet *before = leader(d);
	uint8_t protocol = protocols[rnd_below(&d->rnd, 3)];

	if (before)
		outbound(d, before->protocol, before->src, before->dst);
	else if (d->n_shots && rnd_one_in(&d->rnd, 8) && !left_out("hairpin"))
		step_hairpin(d);
	else
		outbound(d, protocol, any_host(d), any_server(d, protocol));
}

/* To a NAT end, from a server it spoke with, or from one it did not. An echo answers the server that was asked. */
static void step_inbound(struct duel *d)
{
	const struct lab_packet *before = leader(d);
	uint8_t protocol = before ? before->protocol : protocols[rnd_below(&d->rnd, 3)];
	struct lab_end nat, server = before ? before->src : any_server(d, protocol);

	if (before)
		nat = before->dst;
	else if (!recent_nat(d, protocol, &nat))
		return;
	if (!before && rnd_one_in(&d->rnd, 10) && !model_has_unseen(d->model, protocol))
		nat.port ^= 1;
	bool first = !model_find_inbound(d->model, protocol, server, nat);
	if (model_conflicts(d->model, protocol, server, nat) ||
		(protocol == ICMP && first && !before && !rnd_one_in(&d->rnd, 4)))
		return;
	say(d, protocol, server, nat, DIR_INBOUND, first);
	struct model_word w = model_inbound(d->model, protocol, server, nat);
	d->crossed += first && w.fate == MODEL_PASS;
	deliver(d, &w);
}

/* Refused, since no host here has an address of its own; who is inside may be told. */
static void step_portless(struct duel *d)
{
	const struct model_word nothing = {.fate = MODEL_DROP, .session = -1, .admits = -1};
	bool inside = rnd_one_in(&d->rnd, 2);
	uint32_t host = any_host(d).address, server = any_server(d, UDP).address;

	d->last = inside ? lab_portless(LAB_PROTO_GRE, host, server)
			 : lab_portless(LAB_PROTO_GRE, server, d->model->pool_first);
	lab_send(d->lab, &d->last);
	if (d->lab->n_out && !(inside && d->lab->seen[0].error && d->lab->seen[0].dst.address == host))
		disagree(d, &nothing, "passed");
}

/* What should become of an ICMP error about `p`, which came out lately: the way back of its session, while it lives. */
static struct model_word word_about(struct duel *d, const struct lab_packet *p)
{
	struct model_word w = {.fate = MODEL_DROP, .session = -1, .admits = -1};
	const struct model_session *to, *from;

	if (p->side == SIDE_OUTSIDE) {
		to = model_find_inbound(d->model, p->protocol, p->dst, p->src);
		if (to)
			w = (struct model_word){
				.fate = MODEL_PASS, .side = SIDE_INSIDE, .dst = {to->inside.address, 0}};
		return w;
	}
	to = model_find_outbound(d->model, p->protocol, p->dst, p->src);
	if (!to || !d->model->maps[to->mapping].seen)
		return w;
	w = (struct model_word){.fate = MODEL_PASS, .side = SIDE_OUTSIDE, .dst = {p->src.address, 0}};
	if (!model_in_pool(d->model, p->src.address))
		return w;
	/* It came by hairpin: on to the host behind the source. */
	from = model_find_inbound(d->model, p->protocol, d->model->maps[to->mapping].nat, p->src);
	w.side = SIDE_INSIDE;
	if (from)
		w.dst.address = from->inside.address;
	else
		w.fate = MODEL_DROP;
	return w;
}

static void step_error(struct duel *d)
{
	unsigned n = d->n_recent < RECENT ? d->n_recent : RECENT;

	if (!n)
		return;
	unsigned at = rnd_below(&d->rnd, n);
	const struct lab_packet *p = &d->said[at];
	uint32_t from = p->side == SIDE_INSIDE ? p->dst.address : ROUTER;
	struct lab_frame error;

	if (p->error)
		return;
	struct model_word w = word_about(d, p);
	lab_error(&d->recent[at], from, LAB_UNREACHABLE, (uint8_t)rnd_below(&d->rnd, 4), 28 + rnd_below(&d->rnd, 40),
		&error);
	assert_null(lab_read(&error, &d->last));
	unsigned out = lab_send_frame(d->lab, &error);
	if (out != (w.fate == MODEL_PASS))
		disagree(d, &w, out ? "passed" : "dropped");
	d->complained += out;
	if (out && (d->lab->seen[0].side != w.side || d->lab->seen[0].dst.address != w.dst.address))
		disagree(d, &w, "the error went astray");
}

static void step_time(struct duel *d)
{
	unsigned steps = rnd_one_in(&d->rnd, 8) ? 8 + rnd_below(&d->rnd, 30) : 1 + rnd_below(&d->rnd, 3);

	lab_pass(d->lab, (double)steps * QUIET_S);
	if (d->lab->n_out)
		fail_msg("seed %llu step %u: %u packets came out by themselves", (unsigned long long)d->seed, d->step,
			d->lab->n_out);
	model_age(d->model, d->model->now + steps * QUIET_S);
}

/* What a step may be, and how often; whether it fills a burst. */
static const struct {
	const char *name;
	void (*run)(struct duel *d);
	unsigned weight;
	bool fills;
} kinds[] = {
	{"outbound", step_outbound, 40, true},
	{"inbound", step_inbound, 30, true},
	{"hairpin", step_hairpin, 10, false},
	{"error", step_error, 15, false},
	{"portless", step_portless, 2, false},
	{"time", step_time, 3, false},
};

static void step(struct duel *d)
{
	unsigned pick = rnd_below(&d->rnd, 100), i = 0;

	d->step++;
	while (pick >= kinds[i].weight)
		pick -= kinds[i++].weight;
	if (left_out(kinds[i].name))
		return;
	for (unsigned n = 0; n < (kinds[i].fills ? d->burst : 1) && !d->closed; n++)
		kinds[i].run(d);
	d->step += d->n_shots / STEP_PACKETS;
	fire(d);
}

/* ---- runs ---- */

static unsigned number_from(const char *name, unsigned otherwise)
{
	const char *text = getenv(name);

	return text ? (unsigned)strtoul(text, NULL, 10) : otherwise;
}

static void prepare(struct duel *d, enum model_scope mapping, enum model_scope filtering, unsigned way)
{
	char nat[512];

	snprintf(nat, sizeof nat, NAT_OPTIONS, scope_name[mapping], scope_name[filtering], ways[way].name);
	lab_configure(d->lab, &(struct lab_setup){.nat = nat, .pools = POOL_OF_BLOCKS});
	d->model = calloc(1, sizeof *d->model);
	d->recent = calloc(RECENT + FRAMES_MAX + 2 * BURST_MAX, sizeof *d->recent);
	assert_true(d->model && d->recent);
	d->frame = d->recent + RECENT;
	d->came = d->frame + FRAMES_MAX;
	d->part = d->came + BURST_MAX;
	model_init(d->model, mapping, filtering);
	d->model->udp_s = UDP_S;
	d->model->icmp_s = ICMP_S;
	d->model->opening_s = OPENING_S;
	d->model->established_s = ESTABLISHED_S;
	d->model->pool_first = LAB_POOL;
	d->model->pool_last = LAB_POOL + 3;
	d->model->port_first = d->lab->config.nat.port_first;
	d->model->block = ways[way].block;
}

static void duel(struct lab *l, enum model_scope mapping, enum model_scope filtering, unsigned burst, unsigned way,
	uint64_t seed)
{
	struct duel d = {.lab = l, .seed = seed, .burst = burst, .rnd = {seed}};
	unsigned steps = number_from("MODEL_STEPS", STEPS);
	struct check_counts counts;

	prepare(&d, mapping, filtering, way);
	for (d.step = 0; d.step < steps;)
		step(&d);
	lab_check(l, &counts);
	if (!getenv("MODEL_SKIP") && steps >= STEPS) { /* the run met what it is for */
		assert_true(d.passed > steps / 10 && d.dropped > 0 && d.complained > 0 && d.cut > 0);
		assert_true(d.hairpinned > 0 || filtering != ANYBODY);
		assert_true(d.crossed > 0 || filtering == SAME_ENDPOINT);
		assert_true(d.followed > 0 || burst == 1);
	}
	free(d.model);
	free(d.recent);
}

static void every_duel(struct lab *l, unsigned burst, unsigned way, uint64_t seeds)
{
	unsigned only = number_from("MODEL_SEED", 0);

	if (number_from("MODEL_BURST", burst) != burst)
		return;
	for (enum model_scope mapping = 0; mapping < N_MODEL_SCOPES; mapping++) {
		for (enum model_scope filtering = 0; filtering < N_MODEL_SCOPES; filtering++) {
			for (uint64_t seed = only ? only : 1; seed <= (only ? only : seeds); seed++) {
				duel(l, mapping, filtering, burst, way, seed);
				lab_drain(l);
			}
		}
	}
}

static void test_model_bursts_of_1(struct lab *l)
{
	every_duel(l, 1, 0, SEEDS);
}

static void test_model_bursts_of_7(struct lab *l)
{
	every_duel(l, 7, 0, SEEDS);
}

static void test_model_bursts_of_32(struct lab *l)
{
	every_duel(l, 32, 0, SEEDS);
}

static void test_model_bursts_of_64(struct lab *l)
{
	every_duel(l, BURST_MAX, 0, SEEDS);
}

/* Which port it is makes no difference to anything else. */
static void test_model_ordered(struct lab *l)
{
	every_duel(l, 7, 1, 1);
}

static void test_model_blocks(struct lab *l)
{
	every_duel(l, 1, 2, 1);
}

int main(void)
{
	static const struct lab_test tests[] = {
		LAB_TEST(test_model_bursts_of_1, ROOMY),
		LAB_TEST(test_model_bursts_of_7, ROOMY),
		LAB_TEST(test_model_bursts_of_32, ROOMY),
		LAB_TEST(test_model_bursts_of_64, ROOMY),
		LAB_TEST(test_model_ordered, ROOMY),
		LAB_TEST(test_model_blocks, ROOMY),
	};

	return LAB_TESTS(tests);
}
