/* port_view: one engine's view of the ports of one address, and its choice among them.
 *
 * What       two bits for each chunk: there is a port to be had here (the chunk is held by this engine, or dealt to it and
 *            unheld), and: something rests here. What the table says of a chunk decides; the view only says where to look.
 *            The former lie in columns (ports.h), with a bit for each column that has any: a home slot with a port is one
 *            word operation away, and its chunk another, however few ports are left.
 *            take looks from a random place on for the first of:
 *              1. a chunk of the view in a slot whose replies come home;
 *              2. an unheld chunk in such a slot;
 *              3. a few chunks of others in such slots;
 *              4. a chunk of the view in any slot;
 *              5. an unheld chunk in any slot, those dealt to others last;
 *              6. any free port, whoever holds its chunk.
 *            So no engine is refused while a port is free, and in steady state none writes what another writes. All but 6 is a
 *            glance: words of the view, whatever the address has. 6 is a look at the whole of it: when it finds nothing it is not
 *            repeated for 20 ms, unless this engine frees a port that its view does not show.
 * Units      chunks by number, see ports.h; seconds; epochs of the hold time.
 * Ownership  a view is an arena object of its engine (SLAB_port_view), and of nobody's interest besides: a successor throws
 *            its predecessor's views away. struct port_rules is the engine's private memory.
 * Calls      the engine's thread.
 * Errors     take: -1 when the address has no free port that the wish allows.
 * Death      nothing to mend: views are made anew from the tables.
 * Source     shares per engine and a common rest: as the design says (ports), the search in another order: an unheld home
 *            chunk comes before a held one that is not home, since holding costs nothing that cannot be taken back.
 */
#ifndef CORENAT_SHM_PORT_VIEW_H
#define CORENAT_SHM_PORT_VIEW_H

#include "shm/ports.h"

/* What is the same for all tables of one order, as the configuration has it. */
struct port_rules {
	struct port_order order;
	struct port_homes homes;
	uint16_t allowed[N_CHUNKS];     /* ports that may be given dynamically */
	uint64_t common[CHUNK_WORDS];   /* bit, in columns: the chunk has such ports, and is dealt to no engine */
	uint64_t dealt[CHUNK_WORDS];    /* bit, in columns: it has, and is dealt to one */
	uint8_t dealt_to[N_CHUNKS / 8]; /* by line of eight chunks: engine + 1, 0: none */
	uint32_t column_bits, row_bits; /* of a chunk's number: its column and its row */
	uint32_t engines;
	uint32_t engine;
	uint32_t hold_s;       /* 0: nothing rests */
	uint32_t hold_percent; /* most of the ports that may rest */
	uint32_t version;      /* of all this: a view of another one is made anew */
};

/* What is wanted. */
struct port_wish {
	uint32_t draw; /* random */
	uint16_t port; /* what peek said of this wish: tried first; 0: it was not asked */
	uint32_t hash; /* RSS hash of the reply without its destination port */
	int8_t odd;    /* 0: an even port, 1: an odd one, -1: any */
	bool low;      /* a port below LOW_PORTS, if there is one */
	bool by_port;  /* the hash depends on the port */
	bool glance;   /* what a look at the whole address would find is not wanted */
};

/* Legend  [G] slab generation  [F] while free  [O] owner engine only */
struct port_view {
	_Atomic uint32_t generation;          /*   0 [G] */
	uint32_t link;                        /*   4 [F] */
	uint32_t table;                       /*   8 [O] slab index */
	uint32_t version;                     /*  12 [O] of the rules it was made by */
	uint64_t empty_until_ns[N_PORT_SETS]; /*  16 [O] a look found nothing: not again before; 0: it may */
	uint32_t rest_at;                     /*  32 [O] word of `rests` that is looked through next */
	uint8_t luck[N_PORT_SETS];            /*  36 [O] with other engines' chunks, lately */
	uint8_t news;                         /*    38 [O] bit: of that set a glance may find more than before */
	uint8_t reserved;                     /*    39 */
	uint64_t maybe_dealt[N_PORT_SETS];    /*    40 [O] bit: that word of the table's `unheld` may have dealt ones */
	uint32_t calm[N_PORT_SETS];           /*    56 [O] that may go to rest before more rest than may */
	uint64_t some[N_PORT_SETS][COLUMN_WORDS];  /*    64 [O] bit: that column of `has` is not 0 */
	uint64_t maybe[N_PORT_SETS][COLUMN_WORDS]; /*   576 [O] bit: that column of `unheld` may have ones not dealt */
	uint64_t has[N_PORT_SETS][CHUNK_WORDS];    /* 1,088 [O] bit, in columns: the chunk has a port to be had */
	uint64_t rests[N_PORT_SETS][CHUNK_WORDS];  /* 2,128 [O] bit: something rests there */
	uint64_t reserved3[4];
};
_Static_assert(sizeof(struct port_view) == 3200, "its row in SLAB_CLASSES");

static inline struct port_view *port_view_at(const struct arena *a, uint32_t index)
{
	return slab_pointer(a, SLAB_port_view, index);
}

/* Fetches what port_view_put looks at and changes for a port of this chunk. Inlined come what may (local_prefetch). */
__attribute__((always_inline)) static inline void port_view_fetch(
	const struct port_view *v, const struct port_rules *r, enum port_set set, unsigned chunk)
{
	__builtin_prefetch(v, 1);
	__builtin_prefetch(&v->has[set][chunk_bit(r->column_bits, chunk) / 64], 1);
	__builtin_prefetch(&v->rests[set][chunk / 64], 1);
}

/* The hold-down epoch now. */
static inline uint8_t port_epoch(uint32_t hold_s, uint32_t now_s)
{
	return (uint8_t)(now_s / (hold_s ? hold_s : 1));
}

/* Deals the percentage of all chunks to the rules' engines: lines of eight, which are a cache line, in turn, so that every
 * engine gets some of every slot, all over the range of ports. Needs order, allowed, engine and engines. */
void port_deal(struct port_rules *r, uint32_t percent);

/* Makes the view say what the table says. */
void port_view_make(
	struct port_view *v, struct port_table *t, uint32_t table, const struct port_rules *r, uint32_t now_s);

/* Whether a look at the whole address may find what none has found before. */
static inline bool port_view_is_unseen(const struct port_view *v, enum port_set set)
{
	return v->empty_until_ns[set] == 0;
}

/* Whether a glance may find more than the last time this was asked. */
static inline bool port_view_has_news(struct port_view *v, enum port_set set)
{
	uint8_t news = v->news;

	v->news = news & (uint8_t) ~(1u << set);
	return news >> set & 1;
}

/* A free port for the wish. The intent is set as by chunk_take. */
int port_view_take(struct port_view *v, struct port_table *t, const struct port_rules *r, const struct port_bar *bar,
	enum port_set set, const struct port_wish *w, mono_t now, _Atomic uint64_t *intent);

/* The port that peek found, as take would: false when it is no longer to be had. Nothing may be barred. The intent is the
 * caller's to end when that is all it tries. */
bool port_view_take_one(struct port_view *v, struct port_table *t, const struct port_rules *r, enum port_set set,
	uint16_t port, uint32_t now_s, _Atomic uint64_t *intent);

/* Gives a port back, to rest or at once; false when it was not taken. `v` may be NULL. */
bool port_view_put(struct port_view *v, struct port_table *t, const struct port_rules *r, enum port_set set,
	uint16_t port, bool rest, uint32_t now_s);

/* Looks at up to `words` words of chunks in which something rested: what may be taken again is to be had again. */
void port_view_wake(
	struct port_view *v, struct port_table *t, const struct port_rules *r, unsigned words, uint32_t now_s);

#endif
