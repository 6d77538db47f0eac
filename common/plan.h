/* plan: how many NAT addresses it takes, and what is refused with fewer: arithmetic, before anything is configured.
 *
 * What       From subscribers and their ports in use: addresses, subscribers per address, refusals and log volume, for
 *            port blocks of a size, for deterministic NAT and for ports given one by one.
 * Units      ports, seconds, shares of 1. "Ports" are those of one protocol's table, the fuller one.
 * Ownership  plain values.
 * Calls      pure; any thread. A row of small blocks takes some tens of milliseconds.
 * Errors     plan_check: a sentence, or NULL when the input makes sense; the rest wants such an input.
 * Use        if (!plan_check(&in)) { plan_blocks(&in, 512, &row); printf("%.0f\n", row.addresses); }
 *
 * Model      New ports of a subscriber come as a Poisson stream and are held for an exponential time of mean
 *            lifetime_s, independently (M/M/infinity). Subscribers differ: the mean of each is gamma distributed with
 *            shape `dispersion`, so that ports in use at once, over all subscribers, are negative binomial: mean m,
 *            variance m + m^2/dispersion. Small dispersion is a heavy tail; infinite is Poisson, all alike.
 *            m is sessions * peak where refusals are counted, and sessions, the day's mean, for the log.
 *            A subscriber with x ports has ceil(x / block size) blocks (older blocks are filled first), up to
 *            blocks_max; one that falls empty stays his for hold_s. For the first block that is exact; for further ones
 *            the chance of having had one within hold_s is bounded from above by the chance now plus the mean number
 *            of up-crossings (Markov's inequality), so that addresses are rather too many than too few.
 *            Subscribers are spread evenly over addresses, and stay on theirs (paired pooling).
 * Sources    Erlang's loss formula for what a limit refuses; E[a e^-a a^n/n!] = (n+1) P(n+1)/... for up-crossings
 *            (balance of M/M/infinity); RFC 6888, RFC 7422 for the modes.
 */
#ifndef CORENAT_PLAN_H
#define CORENAT_PLAN_H

struct plan_input {
	double subscribers;
	double sessions;   /* ports in use at once per subscriber, mean over all subscribers and the day */
	double peak;       /* busy hour over the day's mean */
	double dispersion; /* shape of the gamma distribution of subscribers' means */
	double lifetime_s; /* how long a port is held, mean */
	double hold_s;     /* how long a freed port, or an empty block, rests */
	double hold_share; /* of an address's ports: most that may rest (ports given one by one) */
	unsigned ports_per_address;
	unsigned blocks_max;
	double target;    /* an address may be out of ports or blocks with this probability */
	double addresses; /* 0: as many as the target takes */
};

enum plan_mode { PLAN_BLOCKS, PLAN_DETERMINISTIC, PLAN_SESSIONS };

struct plan_row {
	enum plan_mode mode;
	unsigned ports;       /* of a block; of a subscriber, deterministic; 0: one by one */
	double most;          /* ports a subscriber may have at once */
	double beyond;        /* probability that a subscriber would need more */
	double refused_limit; /* share of sessions refused for that */
	double blocks;        /* of a subscriber, mean; those that rest included */
	double per_address;   /* subscribers on an address: the sharing ratio */
	double addresses;
	double runs_out;     /* probability that an address has no free port or block */
	double any_runs_out; /* that any of them has none */
	double refused_pool; /* share of blocks, or ports, refused for that */
	double log_per_day;  /* events: begin and end of each block, or of each session */
};

/* What is wrong with the input, as a sentence; NULL: nothing. */
const char *plan_check(const struct plan_input *in);

void plan_blocks(const struct plan_input *in, unsigned block_size, struct plan_row *row);
void plan_deterministic(const struct plan_input *in, unsigned ports, struct plan_row *row);
void plan_sessions(const struct plan_input *in, struct plan_row *row);

/* ---- the parts, for whoever wants to see them ---- */

/* P(X = n) and P(X > n) of the negative binomial distribution with this mean and dispersion k. */
double plan_probability(double mean, double k, double n);
double plan_above(double mean, double k, double n);
/* Share of sessions that a limit of `most` refuses. */
double plan_lost(double mean, double k, unsigned most);
/* Blocks taken per second by one subscriber: times that one is needed that he has not. */
double plan_block_rate(
	double mean, double k, double lifetime_s, double hold_s, unsigned block_size, unsigned blocks_max);

#endif
