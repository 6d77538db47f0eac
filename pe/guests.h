/* guests: the engines that were taken out of the configuration, looked after by those that stay.
 *
 * What       engine X beyond snapshot.engines, whose process is gone, is adopted by engine X modulo snapshot.engines:
 *            its claim is taken, its part of the arena becomes a guest of that engine's NAT (nat_host), and is given
 *            back when its last session has ended, or when the configuration names X again.
 * Units      none. Ownership  the engine's; free memory by guests_leave.
 * Calls      the engine's thread, between turns. Errors  none: who cannot be adopted now is tried again.
 * Death      of the host: the claims go with it; its successor adopts again.
 */
#ifndef CORENAT_PE_GUESTS_H
#define CORENAT_PE_GUESTS_H

#include "pe/nat.h"

/* Adopts, ages and gives back as the configuration of `host` says. Cheap when there is nothing to do. */
void guests_tend(struct nat *host, mono_t now);
void guests_leave(struct nat *host);

#endif
