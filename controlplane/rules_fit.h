/* What rules ask of the configuration: for the daemon, which refuses or warns, and for `rules check`, which
 * tells before. Any thread. */
#ifndef SLUICE_RULES_FIT_H
#define SLUICE_RULES_FIT_H

#include "config.h"
#include "ruleset.h"

/* -EINVAL with "file:line: rule id: ..." if the rule sends events to a topic of ours: positions would be lost
 * among them, and the others have readers that expect something else. */
int rules_fit_route(const struct config *cfg, const struct rule_info *rule, struct err *err);
/* What is no error, but not what the rule says: it has expired, or asks for what is switched off. NULL:
 * nothing. After ruleset_expire(). */
const char *rules_fit_warning(const struct config *cfg, const struct rule_info *rule);

#endif
