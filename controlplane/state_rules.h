/* Rules with state, from rulesets to the state stage, which knows no rulesets; and the tests of such rules.
 * Any thread. */
#ifndef SLUICE_STATE_RULES_H
#define SLUICE_STATE_RULES_H

#include "cep.h"
#include "ruleset.h"

/* What the state stage needs of a ruleset that is that of `generation`; borrows from it. */
void state_rules_fill(struct cep_rules *out, const struct ruleset *rs);
/* A cep_rules_get. store: a struct ruleset_store, open as long as stages may ask. */
int state_rules_get(void *store, uint32_t generation, struct cep_rules *out, struct err *err);
/* Runs a rule's test through the engine: the events in the order given, all of this partition. */
extern const struct rule_tester state_rules_tester;

#endif
