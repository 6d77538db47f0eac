#include "pe/replay.h"

#include "common/log.h"
#include "pe/engine.h"
#include "pe/io_replay.h"
#include "pe/miniature.h"
#include "pe/replay_changes.h"
#include "pe/replay_report.h"
#include "pe/vlan.h"

#include <pcap/pcap.h>
#include <stdlib.h>
#include <string.h>

enum { SNAP = 65535, QUIET_TURNS = 64 };

/* One capture being read: its next packet. */
struct source {
	pcap_t *pcap;
	struct pcap_pkthdr *header;
	const uint8_t *data;
	bool ended;
};

struct replay {
	const struct config *config;
	struct arena *arena;
	struct source source[N_SIDES];
	pcap_t *link; /* what pcap_dump_open wants to know about the written files */
	pcap_dumper_t *sink[N_SIDES];
	struct steering steering[N_SIDES];
	struct replay_changes changes;
	struct engine *engine[ENGINE_MAX];
	unsigned engines;
	mono_t now;
	uint64_t packets;
};

/* ---- files ---- */

static void source_next(struct source *s)
{
	if (!s->pcap || pcap_next_ex(s->pcap, &s->header, &s->data) != 1)
		s->ended = true;
}

static bool source_open(struct source *s, const char *path)
{
	char err[PCAP_ERRBUF_SIZE];

	if (path) {
		s->pcap = pcap_open_offline_with_tstamp_precision(path, PCAP_TSTAMP_PRECISION_NANO, err);
		if (!s->pcap) {
			bool named = strncmp(err, path, strlen(path)) == 0; /* by libpcap, for some reasons */
			log_error("cannot read %s%s%s", named ? "" : path, named ? "" : ": ", err);
			return false;
		}
		if (pcap_datalink(s->pcap) != DLT_EN10MB) {
			log_error("%s holds %s frames; replay takes Ethernet", path,
				pcap_datalink_val_to_name(pcap_datalink(s->pcap)));
			return false;
		}
	}
	source_next(s);
	return true;
}

static bool sinks_open(struct replay *r, const char *const path[N_SIDES])
{
	r->link = pcap_open_dead_with_tstamp_precision(DLT_EN10MB, SNAP, PCAP_TSTAMP_PRECISION_NANO);
	for (int side = 0; side < N_SIDES; side++) {
		if (!path[side])
			continue;
		r->sink[side] = pcap_dump_open(r->link, path[side]);
		if (!r->sink[side]) {
			log_error("cannot write %s: %s", path[side], pcap_geterr(r->link));
			return false;
		}
	}
	return true;
}

static void sent(void *context, enum side side, const uint8_t *data, uint32_t len)
{
	struct replay *r = context;
	struct pcap_pkthdr h = {
		.ts = {(time_t)(r->now.ns / 1000000000u), (suseconds_t)(r->now.ns % 1000000000u)},
		.caplen = len,
		.len = len,
	};

	if (r->sink[side])
		pcap_dump((u_char *)r->sink[side], &h, data);
}

/* ---- engines ---- */

static bool engines_open(struct replay *r, uint64_t seed)
{
	r->engines = r->config->arena.engines;
	for (int side = 0; side < N_SIDES; side++)
		steering_init(&r->steering[side], &r->config->net.side[side].rss, r->engines);
	for (unsigned i = 0; i < r->engines; i++) {
		struct engine *e = r->engine[i] = calloc(1, sizeof *e);
		struct io *io = io_replay_open(sent, r);

		if (!e || !io) {
			log_error("no memory for engine %u", i);
			return false;
		}
		engine_init(e, r->arena, i, io, seed + i * 0x9e3779b97f4a7c15u, r->now);
		nat_configure(&e->nat);
		nat_load_routes(&e->nat);
	}
	return true;
}

/* ---- running ---- */

/* NICs hash what is behind a tag. */
static uint32_t tag_size(const uint8_t *data, uint32_t len)
{
	return len >= sizeof(struct eth_header) && vlan_type(((const struct eth_header *)data)->type) ? VLAN_TAG_SIZE
												      : 0;
}

/* The engine whose queue this packet would land on. */
static unsigned receiver(const struct replay *r, enum side side, const uint8_t *data, uint32_t len)
{
	uint32_t l4 = sizeof(struct eth_header) + tag_size(data, len);
	const struct ip4_header *ip = (const struct ip4_header *)(data + l4);
	be16_t port[2] = {{0}, {0}};

	if (len < l4 + sizeof *ip)
		return 0;
	l4 += (ip->version_ihl & 15u) * 4u;
	if ((ip->fragment.net & htons(IP4_FRAGMENT_MASK)) || len < l4 + sizeof port)
		return steering_engine_addresses(&r->steering[side], ip->src, ip->dst);
	memcpy(port, data + l4, sizeof port);
	return steering_engine(&r->steering[side], ip->protocol, ip->src, ip->dst, port[0], port[1]);
}

static void turn(struct replay *r, unsigned engine)
{
	engine_turn(r->engine[engine], r->now);
	replay_report_events(r->arena, engine);
}

/* Lets the time until `to` pass in steps, so that aging gets its turns. */
static void pass_time(struct replay *r, mono_t to)
{
	uint64_t step = mono_since(to, r->now).ns / QUIET_TURNS;

	for (int quiet = 0; quiet < QUIET_TURNS && step; quiet++) {
		r->now.ns += step;
		for (unsigned i = 0; i < r->engines; i++)
			turn(r, i);
	}
	r->now = to;
}

/* Lets the time until `to` pass, and puts in force what comes into force meanwhile: all engines take it at once. */
static bool pass_changes(struct replay *r, mono_t to)
{
	const struct replay_change *c;

	while ((c = replay_change_due(&r->changes, to))) {
		if (c->at.ns > r->now.ns)
			pass_time(r, c->at);
		if (!miniature_fill(r->arena, &c->config))
			return false;
		for (unsigned i = 0; i < r->engines; i++) {
			nat_configure(&r->engine[i]->nat);
			nat_load_routes(&r->engine[i]->nat);
		}
	}
	pass_time(r, to);
	return true;
}

static mono_t time_of(const struct source *s)
{
	return (mono_t){(uint64_t)s->header->ts.tv_sec * 1000000000u + (uint64_t)s->header->ts.tv_usec};
}

/* The side whose next packet is due first; inside when they tie. N_SIDES at the end. */
static enum side earliest(const struct replay *r)
{
	const struct source *in = &r->source[SIDE_INSIDE], *out = &r->source[SIDE_OUTSIDE];

	if (in->ended)
		return out->ended ? N_SIDES : SIDE_OUTSIDE;
	return !out->ended && time_of(out).ns < time_of(in).ns ? SIDE_OUTSIDE : SIDE_INSIDE;
}

static bool run(struct replay *r)
{
	enum side side;

	while ((side = earliest(r)) != N_SIDES) {
		struct source *s = &r->source[side];
		unsigned e = receiver(r, side, s->data, s->header->caplen);

		if (!pass_changes(r, time_of(s)))
			return false;
		if (!io_replay_give(r->engine[e]->io, side, s->data, s->header->caplen)) {
			log_error("packet %llu is larger than %d bytes", (unsigned long long)r->packets + 1,
				REPLAY_FRAME_BYTES);
			return false;
		}
		turn(r, e);
		r->packets++;
		source_next(s);
	}
	return true;
}

static void finish(struct replay *r)
{
	for (unsigned i = 0; i < r->engines; i++) {
		if (r->engine[i] && r->engine[i]->io)
			r->engine[i]->io->ops->close(r->engine[i]->io);
		free(r->engine[i]);
	}
	for (int side = 0; side < N_SIDES; side++) {
		if (r->source[side].pcap)
			pcap_close(r->source[side].pcap);
		if (r->sink[side])
			pcap_dump_close(r->sink[side]);
	}
	if (r->link)
		pcap_close(r->link);
	replay_changes_free(&r->changes);
	arena_close(r->arena);
}

static bool changes_open(struct replay *r, const char *path)
{
	struct config_error err;

	if (!path || replay_changes_load(&r->changes, path, r->config, &err))
		return true;
	log_error("%s", err.text);
	return false;
}

bool replay_run(const struct config *c, const struct replay_params *params)
{
	struct replay r = {.config = c};
	bool ok = changes_open(&r, params->changes) && source_open(&r.source[SIDE_INSIDE], params->read[SIDE_INSIDE]) &&
		  source_open(&r.source[SIDE_OUTSIDE], params->read[SIDE_OUTSIDE]) && sinks_open(&r, params->write) &&
		  (r.arena = miniature_open(c, params->seed));

	if (ok) {
		enum side first = earliest(&r);

		r.now = first == N_SIDES ? (mono_t){0} : time_of(&r.source[first]);
		ok = engines_open(&r, params->seed) && run(&r);
		if (ok)
			replay_report_sums(r.arena, r.packets);
	}
	finish(&r);
	return ok;
}
