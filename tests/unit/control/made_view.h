/* A view with made-up but balanced numbers: what the counters of a small quiescent daemon would be. */
#ifndef SLUICE_TEST_MADE_VIEW_H
#define SLUICE_TEST_MADE_VIEW_H

#include "view.h"

/* Fills v, whose arrays view_free() ends. cfg is borrowed. */
void made_view(struct view *v, struct config *cfg);
/* Adds the output log of a state stage with a sink that reads it. */
void made_output(struct view *v);
/* Adds the state stage itself, of one definition; after made_output(). */
void made_state(struct view *v);

#endif
