/* Names of the phases, for views: apart, so that showing them needs no state stage. */
#include "state.h"

const char *const state_phase_name[] = {"off", "recovering", "running", "failed", "stopped"};
