/* config: the appliance's configuration, parsed, checked, printed.
 *
 * What       one JSON document, validated against the one option table in options.h, becomes a plain
 *            struct. Parse, check, print and apply are separate steps (style, habit 26).
 * Units      in the field's name; addresses in host order where arithmetic on them is meant (ranges).
 * Ownership  struct config is a plain value with no pointers: copy it freely.
 * Calls      pure; any thread of mgmtd, corenat-pe (geometry, replay), aggregator.
 * Errors     false, with one sentence in `struct config_error` that names the option, what was wrong
 *            and what would be right. The target is then left as it was.
 * Use        struct config c; struct config_error e;
 *            if (!config_parse(&c, text, len, &e)) die("%s", e.text);
 */
#ifndef CORENAT_CONFIG_H
#define CORENAT_CONFIG_H

#include "common/units.h"

#include <stddef.h>

enum {
	CONFIG_NAME_SIZE = 32,       /* interface and pool names with their terminating zero */
	CONFIG_PATH_SIZE = 108,      /* fits sun_path */
	CONFIG_PREFIXES_MAX = 64,    /* subscriber prefixes */
	CONFIG_POOLS_MAX = 16,       /* pools */
	CONFIG_RANGES_MAX = 64,      /* ranges of one pool; need not be contiguous (RFC 6888 REQ-3) */
	CONFIG_ADDRESSES_MAX = 4096, /* NAT addresses of all pools together */
	RSS_KEY_SIZE = 52,           /* bytes; 40 is usual, some NICs take 52 */
	RSS_TABLE_MAX = 2048,        /* entries of the indirection table */
};

struct prefix {
	uint32_t addr; /* host order, host bits zero */
	uint8_t len;   /* 0..32 */
};

struct address_range {
	uint32_t first, last; /* host order, inclusive */
};

/* How a NIC spreads packets over its queues; queue N is engine N (architecture: steering). */
enum rss_mode {
	RSS_SINGLE,   /* everything to queue 0 */
	RSS_TOEPLITZ, /* Toeplitz over source and destination address, and ports for TCP and UDP */
};

struct rss {
	enum rss_mode mode;
	uint8_t key[RSS_KEY_SIZE];
	uint16_t key_size;            /* bytes; 40 or 52 */
	uint16_t table_len;           /* entries, a power of two, 1..RSS_TABLE_MAX */
	uint8_t table[RSS_TABLE_MAX]; /* queue of each entry */
};

struct config_interface {
	char name[CONFIG_NAME_SIZE];
	struct rss rss;
};

struct config_pool {
	char name[CONFIG_NAME_SIZE];
	struct address_range ranges[CONFIG_RANGES_MAX];
	uint32_t n_ranges;
};

enum huge_pages { HUGE_AUTO, HUGE_REQUIRED, HUGE_OFF };
enum xdp_mode { XDP_MODE_AUTO, XDP_MODE_NATIVE, XDP_MODE_GENERIC };
enum zero_copy { ZERO_COPY_AUTO, ZERO_COPY_ON, ZERO_COPY_OFF };

struct config {
	struct {
		char name[CONFIG_NAME_SIZE]; /* POSIX shared-memory name, "/corenat" */
		uint32_t engines;            /* 1..ENGINE_MAX; one queue and one core each */
		uint32_t sessions;           /* capacity the arena is sized for, all engines together */
		enum huge_pages huge_pages;
	} arena;
	struct {
		enum xdp_mode xdp;
		enum zero_copy zero_copy;
		uint32_t ring_size;       /* descriptors of each ring; a power of two */
		uint8_t cpus[ENGINE_MAX]; /* CPU of engine N; n_cpus 0 means engine N on CPU N */
		uint32_t n_cpus;
	} engine;
	struct {
		struct config_interface side[N_SIDES];       /* "inside" and "outside" in the document */
		struct prefix prefixes[CONFIG_PREFIXES_MAX]; /* inside.prefixes: the subscribers */
		uint32_t n_prefixes;
	} net;
	struct config_pool pools[CONFIG_POOLS_MAX];
	uint32_t n_pools;
	struct {
		uint32_t udp_timeout_s;             /* RFC 4787 REQ-5 */
		uint32_t tcp_established_timeout_s; /* RFC 5382 REQ-5 */
		uint32_t tcp_transitory_timeout_s;  /* RFC 5382 REQ-5 */
		uint32_t icmp_timeout_s;            /* RFC 5508 REQ-2 */
		uint16_t port_first, port_last;     /* ports mappings may use, host order */
	} nat;
	struct {
		char runtime_dir[CONFIG_PATH_SIZE]; /* aggregator socket */
		char bpffs[CONFIG_PATH_SIZE];       /* where XDP program and maps are pinned */
	} system;
	struct {
		char listen[64]; /* address:port, loopback only without TLS */
		char web_dir[CONFIG_PATH_SIZE];
	} api;
	struct {
		char file[CONFIG_PATH_SIZE];
		uint32_t keep_s;
	} history;
	struct {
		uint32_t interval_ms; /* how often the aggregator asks */
	} statistics;
};

struct config_error {
	char text[512];
};

/* Parses JSON text of `size` bytes. Unknown and duplicate keys, wrong types, values out of range
 * and contradictions between options are errors. Options that are absent get their defaults. */
bool config_parse(struct config *out, const char *text, size_t size, struct config_error *err);

/* Reads and parses a file. */
bool config_load(struct config *out, const char *path, struct config_error *err);

/* The effective configuration as JSON with every option, malloced, for the caller to free. Parsing
 * it again gives the same struct, byte for byte. */
char *config_print(const struct config *c);

/* The option table itself as JSON (path, type, default, bounds, unit, live or restart, help);
 * malloced. */
char *config_schema_print(void);

/* NAT addresses of all pools together. */
uint32_t config_address_count(const struct config *c);

#endif
