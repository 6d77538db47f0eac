/* counters: the one table of what an engine counts besides verdicts.
 *
 * What       name, kind, unit and help of each counter; from it come the enum, the mailbox record, JSON,
 *            Prometheus, sqlite column and dashboard label. Adding a counter is adding a row.
 * Units      the `unit` column. Kinds: SUM grows for ever, GAUGE goes up and down; across engines both add.
 * Ownership  constants. The values live in the engine block: one writer (the engine), any reader.
 * Calls      any process, any thread.
 * Errors     none.
 * Use        counter_add(&block->counters, COUNTER_sessions_created, 1);
 */
#ifndef CORENAT_COUNTERS_H
#define CORENAT_COUNTERS_H

#define COUNTERS(C)                                                                                                    \
	C(rx_inside_packets, SUM, "packets", "Packets taken from the inside interface")                                \
	C(rx_inside_bytes, SUM, "bytes", "Bytes taken from the inside interface")                                      \
	C(rx_outside_packets, SUM, "packets", "Packets taken from the outside interface")                              \
	C(rx_outside_bytes, SUM, "bytes", "Bytes taken from the outside interface")                                    \
	C(tx_inside_packets, SUM, "packets", "Packets sent on the inside interface")                                   \
	C(tx_inside_bytes, SUM, "bytes", "Bytes sent on the inside interface")                                         \
	C(tx_outside_packets, SUM, "packets", "Packets sent on the outside interface")                                 \
	C(tx_outside_bytes, SUM, "bytes", "Bytes sent on the outside interface")                                       \
	C(sessions, GAUGE, "sessions", "Sessions this engine owns now")                                                \
	C(sessions_created, SUM, "sessions", "Sessions created")                                                       \
	C(sessions_ended, SUM, "sessions", "Sessions that idled out or were cleared")                                  \
	C(sessions_cleared, SUM, "sessions", "Sessions ended because somebody asked, among those ended")               \
	C(sessions_adopted, SUM, "sessions", "Other engines' sessions taken into the own table")                       \
	C(sessions_unanswered, GAUGE, "sessions", "Own sessions begun from outside that nobody inside has answered")   \
	C(mappings, GAUGE, "mappings", "Mappings this engine owns now")                                                \
	C(mappings_created, SUM, "mappings", "Mappings created, one port each")                                        \
	C(replies_home, SUM, "sessions", "Sessions whose replies land on the creating engine")                         \
	C(replies_away, SUM, "sessions", "Sessions whose replies land on another engine")                              \
	C(blocks_made, SUM, "blocks", "Port blocks given to subscribers")                                              \
	C(blocks_returned, SUM, "blocks", "Port blocks given back")                                                    \
	C(pages, GAUGE, "pages", "Arena pages of 2 MiB this engine owns")                                              \
	C(bursts, SUM, "bursts", "Receive bursts that held at least one packet")                                       \
	C(idle_waits, SUM, "waits", "Times the engine slept because nothing arrived")                                  \
	C(kicks, SUM, "calls", "System calls that asked the kernel to transmit")                                       \
	C(polls, SUM, "calls", "System calls that woke or polled reception")                                           \
	C(rx_ring_drops, SUM, "packets", "Packets the kernel dropped: receive or fill ring full")                      \
	C(xdp_no_engine, SUM, "packets", "Packets dropped on this queue while no engine was there")                    \
	C(xdp_to_kernel, SUM, "packets", "Packets of this queue given to the kernel")                                  \
	C(held_packets, GAUGE, "packets", "Packets that wait for a next hop")                                          \
	C(icmp_sent, SUM, "packets", "ICMP errors sent about packets refused here")                                    \
	C(icmp_withheld, SUM, "packets", "ICMP errors not sent, their rate being reached")                             \
	C(sweeps, SUM, "passes", "Complete aging passes over the engine's tables")                                     \
	C(turns_50us, SUM, "turns", "Turns of the engine's loop that took up to 50 microseconds")                      \
	C(turns_100us, SUM, "turns", "Turns of more than that, up to 100 microseconds")                                \
	C(turns_200us, SUM, "turns", "Turns of more than that, up to 200 microseconds")                                \
	C(turns_500us, SUM, "turns", "Turns of more than that, up to 500 microseconds")                                \
	C(turns_1ms, SUM, "turns", "Turns of more than that, up to a millisecond")                                     \
	C(turns_longer, SUM, "turns", "Turns of more than a millisecond, whoever had the processor")                   \
	C(stalls, SUM, "turns", "Turns of which the engine's own work took more than a millisecond")                   \
	C(stalls_in_calls, SUM, "turns", "Turns of which its system calls did, and the engine's own work did not")

enum counter_kind { COUNTER_SUM, COUNTER_GAUGE };

enum counter {
#define C(id, kind, unit, help) COUNTER_##id,
	COUNTERS(C)
#undef C
		N_COUNTERS
};

struct counter_info {
	const char *name;
	enum counter_kind kind;
	const char *unit;
	const char *help;
};

extern const struct counter_info counter_info[N_COUNTERS];

#endif
