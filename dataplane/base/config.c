/* The table of config.def as struct config: defaults, YAML, assignments. Start-up only. */
#include "config.h"
